/* Tails of chi-square and Kolmogorov-Smirnov. */
#include "operators/core/special.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* log of x^a e^-x / Gamma(a) */
static double log_front(double a, double x)
{
    int sign;
    return a * log(x) - x - lgamma_r(a, &sign);
}

/* P(a, x) for x < a + 1: x^a e^-x / Gamma(a) sum_n x^n / (a (a+1) ... (a+n)) */
static double gamma_p_series(double a, double x)
{
    double term = 1 / a, sum = term;
    for (double n = 1; term > sum * 1e-17 && n < 1e7; n++) sum += term *= x / (a + n);
    return exp(log_front(a, x)) * sum;
}

/* log Q(a, x) for x >= a + 1: Lentz's evaluation of 1/(x+1-a- 1(1-a)/(x+3-a- 2(2-a)/(x+5-a- ...))) */
static double log_gamma_q_fraction(double a, double x)
{
    double b = x + 1 - a, c = 1 / DBL_MIN, d = 1 / b, f = d;
    for (double i = 1; i < 1e7; i++) {
        double an = -i * (i - a);
        b += 2;
        d = an * d + b;
        if (fabs(d) < DBL_MIN) d = DBL_MIN;
        c = b + an / c;
        if (fabs(c) < DBL_MIN) c = DBL_MIN;
        d = 1 / d;
        f *= d * c;
        if (fabs(d * c - 1) < 1e-16) break;
    }
    return log_front(a, x) + log(f);
}

double lm_log_gamma_q(double a, double x)
{
    if (!(a > 0) || !(x >= 0)) return NAN;
    if (x == 0) return 0;
    if (isinf(x)) return -INFINITY;
    return x < a + 1 ? log1p(-gamma_p_series(a, x)) : log_gamma_q_fraction(a, x);
}

double lm_log_chi2_tail(double chi2, double dof)
{
    return lm_log_gamma_q(dof / 2, chi2 / 2);
}

/* Newton's method for x = chi2/2 in a bracket, on log Q where Q is small and on log P where P is: both are concave, so the
 * steps do not run away. */
double lm_chi2_from_log_tail(double log_p, double dof)
{
    double a = dof / 2;
    if (!(a > 0) || !(log_p <= 0)) return NAN;
    if (log_p == 0) return 0;
    if (isinf(log_p)) return INFINITY;
    bool lower = log_p > -0.5; /* P = 1 - Q is the smaller one */
    double goal = lower ? log(-expm1(log_p)) : log_p;
    double low = 0, high = a + 1;
    while (lm_log_gamma_q(a, high) > log_p) {
        low = high;
        high *= 2;
        if (isinf(high)) return INFINITY;
    }
    /* first guess: Wilson-Hilferty would do; near 0, P = x^a / Gamma(a+1) */
    double x = (low + high) / 2;
    if (lower) {
        int sign;
        double small = exp((goal + lgamma_r(a + 1, &sign)) / a);
        if (small > low && small < high) x = small;
    }
    for (int i = 0; i < 200; i++) {
        double value, slope; /* of log Q or log P, by x */
        if (lower) {
            double p = x < a + 1 ? gamma_p_series(a, x) : -expm1(log_gamma_q_fraction(a, x));
            value = log(p);
            slope = exp(log_front(a, x) - value) / x;
        } else {
            value = lm_log_gamma_q(a, x);
            slope = -exp(log_front(a, x) - value) / x;
        }
        bool above = lower ? value > goal : value < goal; /* the root is below x */
        if (above) high = x;
        else low = x;
        double next = x - (value - goal) / slope;
        if (fabs(next - x) <= 1e-15 * x) return 2 * next;
        if (!(next > low && next < high)) next = (low + high) / 2;
        x = next;
    }
    return 2 * x;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double lm_ks_uniform(double *u, size_t n)
{
    if (n == 0) return NAN;
    qsort(u, n, sizeof *u, by_value);
    double d = 0;
    for (size_t i = 0; i < n; i++) {
        double below = u[i] - (double)i / (double)n, above = (double)(i + 1) / (double)n - u[i];
        if (isnan(u[i])) return NAN;
        d = fmax(d, fmax(below, above));
    }
    return d;
}

/* P(D_n < d) by the power of a matrix (Marsaglia, Tsang & Wang 2003). With d = (k - h)/n, k whole and 0 <= h < 1, it is
 * n!/n^n times the k,k element of H^n, where H is m by m, m = 2k - 1. */
enum { KS_EXACT = 500, KS_MATRIX = 91 }; /* n d^2 < 4 and n <= 500 make m at most 2 ceil(2 sqrt 500) - 1 = 89 */
typedef struct {
    double at[KS_MATRIX][KS_MATRIX];
    int exponent; /* the matrix stands for at * 2^exponent */
} ks_matrix;

static void ks_multiply(const ks_matrix *a, const ks_matrix *b, size_t m, ks_matrix *ret)
{
    for (size_t i = 0; i < m; i++) {
        double row[KS_MATRIX] = {0};
        for (size_t k = 0; k < m; k++)
            for (size_t j = 0; j < m; j++) row[j] += a->at[i][k] * b->at[k][j];
        memcpy(ret->at[i], row, m * sizeof *row);
    }
    ret->exponent = a->exponent + b->exponent;
    int e;
    /* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): m is 1 or more */
    (void)frexp(ret->at[m / 2][m / 2], &e);
    if (e > 400 || e < -400) {
        for (size_t i = 0; i < m; i++)
            for (size_t j = 0; j < m; j++) ret->at[i][j] = ldexp(ret->at[i][j], -e);
        ret->exponent += e;
    }
}

static double ks_cdf_exact(double d, size_t n)
{
    double nd = (double)n * d;
    size_t k = (size_t)nd + 1, m = 2 * k - 1;
    double h = (double)k - nd;
    ks_matrix square = {.exponent = 0}, power = {.exponent = 0}, product;
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < m && j <= i + 1; j++) square.at[i][j] = 1;
    for (size_t i = 0; i < m; i++) {
        square.at[i][0] -= pow(h, (double)(i + 1));
        square.at[m - 1][i] -= pow(h, (double)(m - i));
    }
    if (2 * h > 1) square.at[m - 1][0] += pow(2 * h - 1, (double)m);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < m && j <= i + 1; j++)
            for (size_t g = 2; g <= i + 1 - j; g++) square.at[i][j] /= (double)g;
    for (size_t i = 0; i < m; i++) power.at[i][i] = 1;
    for (size_t left = n; left; left >>= 1) {
        if (left & 1) {
            ks_multiply(&power, &square, m, &product);
            power = product;
        }
        if (left > 1) {
            ks_multiply(&square, &square, m, &product);
            square = product;
        }
    }
    double p = power.at[k - 1][k - 1];
    for (size_t i = 1; i <= n; i++) {
        p *= (double)i / (double)n;
        if (p < 1e-200) {
            p = ldexp(p, 512);
            power.exponent -= 512;
        }
    }
    return ldexp(p, power.exponent);
}

/* P(D_n < d) = K0 + K1/sqrt n + K2/n + K3/n^1.5 at z = sqrt(n) d (Pelz & Good 1976, in Simard & L'Ecuyer's form). */
static double ks_cdf_series(double d, size_t n)
{
    double root = sqrt((double)n), z = root * d, z2 = z * z, z4 = z2 * z2, z6 = z4 * z2;
    double k0 = 0, k1 = 0, k2 = 0, k3 = 0, c = M_PI * M_PI / (2 * z2);
    for (int k = 0; k < 40; k++) { /* sums over all whole numbers, folded on k >= 0 */
        double q = M_PI * M_PI * (k + 0.5) * (k + 0.5), e = exp(-c * (k + 0.5) * (k + 0.5));
        k0 += e;
        k1 += 2 * (q - z2) * e;
        k2 += 2 * (6 * z6 + 2 * z4 + q * (2 * z4 - 5 * z2) + q * q * (1 - 2 * z2)) * e;
        k3 += 2 *
              (q * q * q * (5 - 30 * z2) + q * q * (212 * z4 - 60 * z2) + q * (135 * z4 - 96 * z6) - 30 * z6 -
               90 * z4 * z4) *
              e;
    }
    double s2 = 0, s3 = 0;
    for (int k = 1; k < 40; k++) {
        double q = M_PI * M_PI * k * k, e = exp(-c * k * k);
        s2 += 2 * q * e;
        s3 += 2 * (3 * q * z2 - q * q) * e;
    }
    double half = sqrt(M_PI / 2);
    k0 *= 2 * half / z;
    k1 *= half / (6 * z4);
    k2 = half * (k2 / (72 * z6 * z) - s2 / (36 * z2 * z));
    k3 = half * (k3 / (6480 * z6 * z4) + s3 / (216 * z6));
    return k0 + (k1 + (k2 + k3 / root) / root) / root;
}

/* P(D+_n >= d) (Smirnov; Birnbaum & Tingey 1951): d sum_j C(n,j) (d + j/n)^(j-1) (1 - d - j/n)^(n-j), all terms positive */
static double ks_one_sided(double d, size_t n)
{
    int sign;
    double sum = 0, log_n1 = lgamma_r((double)n + 1, &sign);
    for (size_t j = 0; j <= n; j++) {
        double up = d + (double)j / (double)n, down = 1 - up;
        if (down <= 0) {
            if (j == n && down == 0) sum += 1 / up; /* 0^0; reached only for d = 0 */
            break;
        }
        double log_choose = log_n1 - lgamma_r((double)j + 1, &sign) - lgamma_r((double)(n - j) + 1, &sign);
        sum += exp(log_choose + ((double)j - 1) * log(up) + (double)(n - j) * log(down));
    }
    return d * sum;
}

double lm_ks_tail(double d, size_t n)
{
    if (isnan(d) || n == 0) return NAN;
    double nd = (double)n * d, nd2 = nd * d;
    if (nd <= 0.5) return 1; /* no sample is nearer than 1/(2n) */
    if (d >= 1) return 0;
    if (nd2 >= (n <= KS_EXACT ? 4 : 2.2)) return fmin(1, 2 * ks_one_sided(d, n));
    double below = n <= KS_EXACT ? ks_cdf_exact(d, n) : ks_cdf_series(d, n);
    return fmin(1, fmax(0, 1 - below));
}
