/* Light profiles: tables, checks, and loops over positions.
 *
 * Positions are turned onto a light's own axes in blocks; a kind knows nothing but those. Comparisons that bound a
 * number are written so that NaN stays: `v < low ? low : v`. The turn mixes coordinates: where one is NaN, both are.
 */
#include "operators/core/lensing/light.h"

#include "operators/core/clones.h"
#include "operators/core/vector_math.h"

#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { BLOCK = 128, LANES = 8 }; /* positions at a time; shapelets hold 2 (LM_SHAPELETS_MOST + 1) numbers for each */
#define FAR 1e140                /* arcsec: nothing shines out there, and squares still are numbers */
#define LEAST 1e-290 /* of a squared radius, in units of the profile's: its powers and its inverse still are numbers */
#define DARK 1e3     /* exp(-DARK) is 0 */
#define ROOT_ROOT_PI 1.331335363800389712798

/* ret = max(a x^2 + b y^2, least) */
LM_CLONES_WIDE static void squared_radius(size_t n, const double *restrict x, const double *restrict y, double a,
                                          double b, double least, double *restrict ret)
{
    for (size_t k = 0; k < n; k++) {
        double z = a * x[k] * x[k] + b * y[k] * y[k];
        ret[k] = z < least ? least : z;
    }
}

/* Sersic, in z = (R/R_e)^2: I = I_e exp(b - v), v = b z^(1/2n), so dI/dz = -I v / (2 n z). */
enum { I_E, R_E, N, Q, R_MIN };
enum { FORM, RADIUS };
enum { INTERMEDIATE, MAJOR };

double lm_sersic_b(double n, lm_sersic_form form)
{
    if (form == LM_SERSIC_LINEAR) return 1.9992 * n - 0.3271;
    double r = 1 / n;
    return 2 * n - 1.0 / 3 + r * (4.0 / 405 + r * (46.0 / 25515 + r * (131.0 / 1148175 - r * 2194697 / 30690717750)));
}

/* db/dn */
static double sersic_b_slope(double n, lm_sersic_form form)
{
    if (form == LM_SERSIC_LINEAR) return 1.9992;
    double r = 1 / n;
    return 2 - r * r * (4.0 / 405 + r * (92.0 / 25515 + r * (393.0 / 1148175 - r * 4 * 2194697 / 30690717750)));
}

typedef struct {
    double I_e, n, b;
    double x2, y2; /* z = x2 x'^2 + y2 y'^2 */
    double least;  /* of z */
} sersic;

static sersic sersic_of(const lm_light *light)
{
    const double *p = light->param;
    double q = p[Q], R2 = p[R_E] * p[R_E] * (light->option[RADIUS] == MAJOR ? q : 1);
    return (sersic){.I_e = p[I_E],
                    .n = p[N],
                    .b = lm_sersic_b(p[N], (lm_sersic_form)light->option[FORM]),
                    .x2 = q / R2,
                    .y2 = 1 / (q * R2),
                    .least = fmax(p[R_MIN] * p[R_MIN] / R2, LEAST)};
}

/* v at one z, bounded so that its product with a brightness of 0 is 0. */
static double sersic_v(const sersic *s, double z)
{
    double v = s->b * pow(z, 1 / (2 * s->n)), most = s->b + DARK;
    return v > most ? most : v;
}

/* z^(1/2n): square roots, for the discs and bulges that are most of all, or by the logarithm. */
LM_CLONES_WIDE static void sersic_power(double n, size_t count, double *z)
{
    int roots = n == 1 ? 1 : n == 2 ? 2 : n == 4 ? 3 : 0;
    double power = 1 / (2 * n);
    for (int r = 0; r < roots; r++)
        for (size_t k = 0; k < count; k++) z[k] = sqrt(z[k]);
    for (size_t k = 0; !roots && k < count; k++) z[k] = lm_flat_pow(z[k], power);
}

LM_CLONES_WIDE static void sersic_brightness(const sersic *s, size_t n, const double *restrict power,
                                             double *restrict ret)
{
    const double b = s->b, most = s->b + DARK, I_e = s->I_e;
    for (size_t k = 0; k < n; k++) {
        double v = b * power[k];
        ret[k] = I_e * lm_flat_exp(b - (v > most ? most : v));
    }
}

static void sersic_value(const lm_light *light, size_t n, const double *x, const double *y, double *ret)
{
    sersic s = sersic_of(light);
    double z[BLOCK], value[BLOCK];
    squared_radius(n, x, y, s.x2, s.y2, s.least, z);
    size_t whole = n;
    for (; whole % LANES != 0; whole++) z[whole] = 1; /* what does not fill a vector would be done one by one */
    sersic_power(s.n, whole, z);
    sersic_brightness(&s, whole, z, value);
    memcpy(ret, value, n * sizeof *ret);
}

static void sersic_slope(const lm_light *light, size_t n, const double *x, const double *y, double *value, double *by_x,
                         double *by_y)
{
    sersic s = sersic_of(light);
    double z[BLOCK];
    squared_radius(n, x, y, s.x2, s.y2, s.least, z);
    for (size_t k = 0; k < n; k++) {
        double v = sersic_v(&s, z[k]);
        value[k] = s.I_e * exp(s.b - v);
        double by_z = z[k] <= s.least ? 0 : -value[k] * v / (2 * s.n * z[k]);
        by_x[k] = by_z * 2 * s.x2 * x[k];
        by_y[k] = by_z * 2 * s.y2 * y[k];
    }
}

static void sersic_by(const lm_light *light, size_t index, size_t n, const double *x, const double *y, double *ret)
{
    const double *p = light->param;
    sersic s = sersic_of(light);
    double slope = sersic_b_slope(s.n, (lm_sersic_form)light->option[FORM]);
    double from_radius = light->option[RADIUS] == MAJOR ? 1 / (2 * s.n * p[Q]) : 0;
    double z[BLOCK];
    squared_radius(n, x, y, s.x2, s.y2, s.least, z);
    for (size_t k = 0; k < n; k++) {
        bool flat = z[k] <= s.least;
        double v = sersic_v(&s, z[k]), one = exp(s.b - v), I = s.I_e * one;
        switch (index) {
        case I_E: ret[k] = one; break;
        case R_E: ret[k] = I * v / (s.n * p[R_E]); break;
        case N: ret[k] = I * (slope * (1 - v / s.b) + v * log(z[k]) / (2 * s.n * s.n)); break;
        case Q:
            ret[k] = I * v * from_radius;
            if (!flat) ret[k] -= I * v / (2 * s.n * z[k]) * (s.x2 * x[k] * x[k] - s.y2 * y[k] * y[k]) / p[Q];
            break;
        case R_MIN: ret[k] = flat && p[R_MIN] > 0 ? -I * v / (s.n * p[R_MIN]) : 0 * z[k]; break;
        default: break;
        }
    }
}

/* 2 pi n R_e^2 I_e e^b b^(-2n) Gamma(2n) */
static double sersic_flux(const lm_light *light)
{
    sersic s = sersic_of(light);
    int sign;
    double R2 = 1 / sqrt(s.x2 * s.y2);
    return 2 * M_PI * s.n * R2 * s.I_e * exp(s.b - 2 * s.n * log(s.b) + lgamma_r(2 * s.n, &sign));
}

/* Gaussian, in z = (R/sigma)^2: I = flux / (2 pi sigma^2) exp(-z/2), dI/dz = -I/2. */
enum { FLUX, SIGMA, GAUSSIAN_Q };

typedef struct {
    double peak, x2, y2;
} gaussian;

static gaussian gaussian_of(const lm_light *light)
{
    const double *p = light->param;
    double s2 = p[SIGMA] * p[SIGMA], q = p[GAUSSIAN_Q];
    return (gaussian){p[FLUX] / (2 * M_PI * s2), q / s2, 1 / (q * s2)};
}

static void gaussian_value(const lm_light *light, size_t n, const double *x, const double *y, double *ret)
{
    gaussian g = gaussian_of(light);
    double z[BLOCK];
    squared_radius(n, x, y, g.x2 / -2, g.y2 / -2, -DARK, z);
    lm_vector_exp(n, z, ret);
    for (size_t k = 0; k < n; k++) ret[k] *= g.peak;
}

static void gaussian_slope(const lm_light *light, size_t n, const double *x, const double *y, double *value,
                           double *by_x, double *by_y)
{
    gaussian g = gaussian_of(light);
    gaussian_value(light, n, x, y, value);
    for (size_t k = 0; k < n; k++) {
        by_x[k] = -value[k] * g.x2 * x[k];
        by_y[k] = -value[k] * g.y2 * y[k];
    }
}

static void gaussian_by(const lm_light *light, size_t index, size_t n, const double *x, const double *y, double *ret)
{
    gaussian g = gaussian_of(light);
    lm_light unit = *light;
    if (index == FLUX) unit.param[FLUX] = 1;
    gaussian_value(&unit, n, x, y, ret);
    for (size_t k = 0; k < n; k++) {
        double along = g.x2 * x[k] * x[k], across = g.y2 * y[k] * y[k];
        if (index == SIGMA) ret[k] *= (along + across - 2) / light->param[SIGMA];
        if (index == GAUSSIAN_Q) ret[k] *= (across - along) / (2 * light->param[GAUSSIAN_Q]);
    }
}

static double gaussian_flux(const lm_light *light)
{
    return light->param[FLUX];
}

/* Shapelets: coefficient n1, n2 is element N(N+1)/2 + n2, N = n1 + n2. */
enum { N_MAX, BETA };
enum { ORTHONORMAL, BARE };

static size_t coefficient(size_t n1, size_t n2)
{
    return (n1 + n2) * (n1 + n2 + 1) / 2 + n2;
}

/* phi_0 .. phi_most: phi_j+1 = sqrt(2/(j+1)) u phi_j - sqrt(j/(j+1)) phi_j-1, stable upwards where a solution
 * oscillates and where it grows, and phi grows with j until it oscillates. */
LM_CLONES static void hermite(size_t n, const double *restrict u, size_t most, double (*restrict phi)[BLOCK])
{
    for (size_t k = 0; k < n; k++) phi[0][k] = exp(-u[k] * u[k] / 2) / ROOT_ROOT_PI;
    if (most > 0)
        for (size_t k = 0; k < n; k++) phi[1][k] = M_SQRT2 * u[k] * phi[0][k];
    for (size_t j = 1; j < most; j++) {
        double up = sqrt(2 / (double)(j + 1)), down = sqrt((double)j / (double)(j + 1));
        for (size_t k = 0; k < n; k++) phi[j + 1][k] = up * u[k] * phi[j][k] - down * phi[j - 1][k];
    }
}

/* phi_j' = sqrt(2j) phi_j-1 - u phi_j, times a constant, added to ret */
static inline void add_hermite_slope(size_t n, const double *restrict u, size_t j, double (*restrict phi)[BLOCK],
                                     double c, double *restrict ret)
{
    for (size_t k = 0; k < n; k++) ret[k] -= c * u[k] * phi[j][k];
    if (j == 0) return;
    double down = c * sqrt(2 * (double)j);
    for (size_t k = 0; k < n; k++) ret[k] += down * phi[j - 1][k];
}

/* value = sum c phi_n1(u) phi_n2(v), and its derivatives by u and v; by_u NULL: only the value */
LM_CLONES static void shapelets_sum(const double *restrict c, size_t most, size_t n, const double *restrict u,
                                    const double *restrict v, double *restrict value, double *restrict by_u,
                                    double *restrict by_v)
{
    double phi_u[LM_SHAPELETS_MOST + 1][BLOCK], phi_v[LM_SHAPELETS_MOST + 1][BLOCK];
    hermite(n, u, most, phi_u);
    hermite(n, v, most, phi_v);
    for (size_t k = 0; k < n; k++) value[k] = 0;
    for (size_t k = 0; by_u && k < n; k++) by_u[k] = by_v[k] = 0;
    for (size_t n1 = 0; n1 <= most; n1++) {
        double row[BLOCK] = {0}, row_by_v[BLOCK] = {0}, by_u_1[BLOCK] = {0};
        for (size_t n2 = 0; n1 + n2 <= most; n2++) {
            double factor = c[coefficient(n1, n2)];
            for (size_t k = 0; k < n; k++) row[k] += factor * phi_v[n2][k];
            if (by_u) add_hermite_slope(n, v, n2, phi_v, factor, row_by_v);
        }
        for (size_t k = 0; k < n; k++) value[k] += phi_u[n1][k] * row[k];
        if (!by_u) continue;
        add_hermite_slope(n, u, n1, phi_u, 1, by_u_1);
        for (size_t k = 0; k < n; k++) {
            by_u[k] += by_u_1[k] * row[k];
            by_v[k] += phi_u[n1][k] * row_by_v[k];
        }
    }
}

static double shapelets_norm(const lm_light *light)
{
    return light->option[0] == BARE ? 1 : 1 / light->param[BETA];
}

static void shapelets_value(const lm_light *light, size_t n, const double *x, const double *y, double *ret)
{
    double u[BLOCK] = {0}, v[BLOCK] = {0}, beta = light->param[BETA], norm = shapelets_norm(light);
    for (size_t k = 0; k < n; k++) u[k] = x[k] / beta;
    for (size_t k = 0; k < n; k++) v[k] = y[k] / beta;
    shapelets_sum(light->array, (size_t)light->param[N_MAX], n, u, v, ret, NULL, NULL);
    for (size_t k = 0; k < n; k++) ret[k] *= norm;
}

static void shapelets_slope(const lm_light *light, size_t n, const double *x, const double *y, double *value,
                            double *by_x, double *by_y)
{
    double u[BLOCK] = {0}, v[BLOCK] = {0}, beta = light->param[BETA], norm = shapelets_norm(light);
    for (size_t k = 0; k < n; k++) u[k] = x[k] / beta;
    for (size_t k = 0; k < n; k++) v[k] = y[k] / beta;
    shapelets_sum(light->array, (size_t)light->param[N_MAX], n, u, v, value, by_x, by_y);
    for (size_t k = 0; k < n; k++) {
        value[k] *= norm;
        by_x[k] *= norm / beta;
        by_y[k] *= norm / beta;
    }
}

static void shapelets_by(const lm_light *light, size_t index, size_t n, const double *x, const double *y, double *ret)
{
    double beta = light->param[BETA], norm = shapelets_norm(light);
    if (index == N_MAX) {
        for (size_t k = 0; k < n; k++) ret[k] = 0 * (x[k] + y[k]);
    } else if (index == BETA) {
        double value[BLOCK], by_x[BLOCK], by_y[BLOCK], power = light->option[0] == BARE ? 0 : 1;
        shapelets_slope(light, n, x, y, value, by_x, by_y);
        for (size_t k = 0; k < n; k++) ret[k] = -(power * value[k] + x[k] * by_x[k] + y[k] * by_y[k]) / beta;
    } else {
        size_t element = index - light->kind->n_params, order = 0;
        while ((order + 1) * (order + 2) / 2 <= element) order++;
        size_t n2 = element - order * (order + 1) / 2, n1 = order - n2;
        double u[BLOCK] = {0}, v[BLOCK] = {0}, phi[LM_SHAPELETS_MOST + 1][BLOCK];
        for (size_t k = 0; k < n; k++) u[k] = x[k] / beta;
        for (size_t k = 0; k < n; k++) v[k] = y[k] / beta;
        hermite(n, u, n1, phi);
        for (size_t k = 0; k < n; k++) ret[k] = norm * phi[n1][k];
        hermite(n, v, n2, phi);
        for (size_t k = 0; k < n; k++) ret[k] *= phi[n2][k];
    }
}

/* The integral of phi_j is sqrt(2) pi^(1/4) for j = 0, 0 for odd j, and sqrt((j-1)/j) times that of phi_j-2. */
static double shapelets_flux(const lm_light *light)
{
    size_t most = (size_t)light->param[N_MAX];
    double integral[LM_SHAPELETS_MOST + 1] = {M_SQRT2 * ROOT_ROOT_PI}, sum = 0, beta = light->param[BETA];
    for (size_t j = 2; j <= most; j += 2) integral[j] = sqrt((double)(j - 1) / (double)j) * integral[j - 2];
    for (size_t n1 = 0; n1 <= most; n1 += 2)
        for (size_t n2 = 0; n1 + n2 <= most; n2 += 2)
            sum += light->array[coefficient(n1, n2)] * integral[n1] * integral[n2];
    return sum * beta * beta * shapelets_norm(light);
}

/* Pixels: a sum over TAPS x TAPS pixels around each position, in pixel units u, v from the centre of pixel [0][0]. */
enum { AMP, SCALE };
enum { BILINEAR, BICUBIC };
enum { TAPS = 4 };

typedef struct {
    int at[TAPS][BLOCK];        /* index along the axis, inside the image */
    double weight[TAPS][BLOCK]; /* 0 for pixels outside */
    double slope[TAPS][BLOCK];  /* of the weight, by u */
} taps;

/* Weights of the pixels i, i + 1 (bilinear) or i - 1 .. i + 2 (bicubic) at i + t. */
static inline void weigh(size_t n, const double *restrict t_, bool cubic, taps *restrict ret)
{
    for (size_t k = 0; cubic && k < n; k++) {
        double t = t_[k];
        ret->weight[0][k] = ((2 - t) * t - 1) * t / 2;
        ret->weight[1][k] = ((3 * t - 5) * t * t + 2) / 2;
        ret->weight[2][k] = ((4 - 3 * t) * t + 1) * t / 2;
        ret->weight[3][k] = (t - 1) * t * t / 2;
        ret->slope[0][k] = ((4 - 3 * t) * t - 1) / 2;
        ret->slope[1][k] = (9 * t - 10) * t / 2;
        ret->slope[2][k] = ((8 - 9 * t) * t + 1) / 2;
        ret->slope[3][k] = (3 * t - 2) * t / 2;
    }
    for (size_t k = 0; !cubic && k < n; k++) {
        double t = t_[k];
        ret->weight[0][k] = 1 - t;
        ret->weight[1][k] = t;
        ret->slope[0][k] = -1;
        ret->slope[1][k] = 1;
    }
}

LM_CLONES static void taps_of(size_t n, const double *restrict u, int pixels, bool cubic, taps *restrict ret)
{
    size_t count = cubic ? 4 : 2;
    int first[BLOCK] = {0};
    double t[BLOCK] = {0}, low = -4, high = pixels + 3; /* no light at either, nor beyond */
    for (size_t k = 0; k < n; k++) {
        double a = u[k] < low ? low : u[k];
        t[k] = a > high ? high : a;
    }
    for (size_t k = 0; k < n; k++) first[k] = (int)((t[k] >= low ? t[k] : low) - low) - 4; /* floor; NaN stays in t */
    for (size_t k = 0; k < n; k++) t[k] -= first[k];
    weigh(n, t, cubic, ret);
    for (size_t b = 0; b < count; b++)
        for (size_t k = 0; k < n; k++) {
            int i = first[k] + (int)b - (cubic ? 1 : 0);
            int inside = (i >= 0) & (i < pixels);
            ret->at[b][k] = inside * i;
            ret->weight[b][k] *= inside;
            ret->slope[b][k] *= inside;
        }
}

/* ret = sum over taps of along[a] across[b] image[rows[b]][columns[a]] */
LM_CLONES static void gather(const double *restrict image, int width, bool cubic, size_t n,
                             int (*restrict columns)[BLOCK], double (*restrict along)[BLOCK],
                             int (*restrict rows)[BLOCK], double (*restrict across)[BLOCK], double *restrict ret)
{
    size_t count = cubic ? 4 : 2;
    for (size_t k = 0; k < n; k++) ret[k] = 0;
    for (size_t b = 0; b < count; b++)
        for (size_t a = 0; a < count; a++)
            for (size_t k = 0; k < n; k++)
                ret[k] += along[a][k] * across[b][k] * image[rows[b][k] * width + columns[a][k]];
}

/* Value and derivatives by u and v; by_u NULL: only the value. Without `amp`. */
static void pixels_sum(const lm_light *light, size_t n, const double *x, const double *y, double *value, double *by_u,
                       double *by_v)
{
    bool cubic = light->option[0] == BICUBIC;
    double u[BLOCK] = {0}, v[BLOCK] = {0}, scale = light->param[SCALE];
    for (size_t k = 0; k < n; k++) u[k] = x[k] / scale + (double)(light->w - 1) / 2;
    for (size_t k = 0; k < n; k++) v[k] = y[k] / scale + (double)(light->h - 1) / 2;
    taps tu, tv;
    int width = (int)light->w;
    taps_of(n, u, width, cubic, &tu);
    taps_of(n, v, (int)light->h, cubic, &tv);
    gather(light->array, width, cubic, n, tu.at, tu.weight, tv.at, tv.weight, value);
    if (!by_u) return;
    gather(light->array, width, cubic, n, tu.at, tu.slope, tv.at, tv.weight, by_u);
    gather(light->array, width, cubic, n, tu.at, tu.weight, tv.at, tv.slope, by_v);
}

static void pixels_value(const lm_light *light, size_t n, const double *x, const double *y, double *ret)
{
    pixels_sum(light, n, x, y, ret, NULL, NULL);
    for (size_t k = 0; k < n; k++) ret[k] *= light->param[AMP];
}

static void pixels_slope(const lm_light *light, size_t n, const double *x, const double *y, double *value, double *by_x,
                         double *by_y)
{
    pixels_sum(light, n, x, y, value, by_x, by_y);
    double amp = light->param[AMP], per_arcsec = amp / light->param[SCALE];
    for (size_t k = 0; k < n; k++) {
        value[k] *= amp;
        by_x[k] *= per_arcsec;
        by_y[k] *= per_arcsec;
    }
}

/* What a pixel gives at distance d from it, along one axis. */
static double share(double d, bool cubic)
{
    d = fabs(d);
    if (!cubic) return d >= 1 ? 0 : 1 - d;
    if (d >= 2) return 0;
    return d >= 1 ? ((2.5 - 0.5 * d) * d - 4) * d + 2 : (1.5 * d - 2.5) * d * d + 1;
}

static void pixels_by(const lm_light *light, size_t index, size_t n, const double *x, const double *y, double *ret)
{
    double amp = light->param[AMP], scale = light->param[SCALE];
    if (index == AMP) {
        pixels_sum(light, n, x, y, ret, NULL, NULL);
    } else if (index == SCALE) {
        double value[BLOCK], by_x[BLOCK], by_y[BLOCK];
        pixels_slope(light, n, x, y, value, by_x, by_y);
        for (size_t k = 0; k < n; k++) ret[k] = -(x[k] * by_x[k] + y[k] * by_y[k]) / scale;
    } else {
        bool cubic = light->option[0] == BICUBIC;
        size_t element = index - light->kind->n_params;
        double column = (double)(element % light->w) - (double)(light->w - 1) / 2;
        double row = (double)(element / light->w) - (double)(light->h - 1) / 2;
        for (size_t k = 0; k < n; k++)
            ret[k] = amp * share(x[k] / scale - column, cubic) * share(y[k] / scale - row, cubic);
    }
}

/* Either kernel integrates to one pixel's area. */
static double pixels_flux(const lm_light *light)
{
    double sum = 0, scale = light->param[SCALE];
    for (size_t i = 0; i < light->h * light->w; i++) sum += light->array[i];
    return light->param[AMP] * sum * scale * scale;
}

static const char *const sersic_forms[] = {"series", "linear", NULL};
static const char *const radii[] = {"intermediate", "major", NULL};
static const char *const norms[] = {"orthonormal", "bare", NULL};
static const char *const interpolations[] = {"bilinear", "bicubic", NULL};

#define BRIGHTNESS "e-/s/arcsec^2"
#define LENGTH(name_, doc_) name_, NAN, 1e-8, 1e5, "arcsec", doc_
#define AMOUNT(name_, otherwise_, unit_, doc_) name_, otherwise_, -1e100, 1e100, unit_, doc_
#define RATIO "q", 1, 0.01, 1, "", "axis ratio, minor over major"
#define ANGLE(doc_) "phi", 0, -1e3, 1e3, "rad", doc_
#define CENTRE(name_) name_, 0, -1e4, 1e4, "arcsec", "centre"
#define MAJOR_AXIS "of the major axis, counter-clockwise from +x"
#define OWN_X "of its x axis, counter-clockwise from +x"

static const lm_light_kind_info kind_sersic = {
    .name = "sersic",
    .doc = "Sersic profile: n = 1 an exponential disc, n = 4 de Vaucouleurs",
    .n_params = 8,
    .params = {{AMOUNT("I_e", NAN, BRIGHTNESS, "brightness at R_e")},
               {LENGTH("R_e", "radius that holds half of the light")},
               {"n", NAN, 0.2, 50, "", "index: how peaked the centre and how long the wings"},
               {RATIO},
               {"R_min", 0, 0, 1e5, "arcsec",
                "flat within this radius, which tames the cusp; 0: nowhere. lenstronomy: 1e-4"},
               {ANGLE(MAJOR_AXIS)},
               {CENTRE("x")},
               {CENTRE("y")}},
    .n_options = 2,
    .options = {{"b_n", sersic_forms, "relation of b and n: series, or the straight line of lenstronomy and COOLEST"},
                {"radius", radii,
                 "R_e as sqrt(a b) of the half-light ellipse, or on its major axis, as caustics has it"}},
    .value = sersic_value,
    .slope = sersic_slope,
    .by = sersic_by,
    .flux = sersic_flux,
};

static const lm_light_kind_info kind_gaussian = {
    .name = "gaussian",
    .doc = "elliptical Gaussian",
    .n_params = 6,
    .params = {{AMOUNT("flux", NAN, "e-/s", "total flux")},
               {LENGTH("sigma", "standard deviation, sqrt(q) times that along the major axis")},
               {RATIO},
               {ANGLE(MAJOR_AXIS)},
               {CENTRE("x")},
               {CENTRE("y")}},
    .value = gaussian_value,
    .slope = gaussian_slope,
    .by = gaussian_by,
    .flux = gaussian_flux,
};

static const lm_light_kind_info kind_shapelets = {
    .name = "shapelets",
    .doc = "Gaussian times Hermite polynomials, up to an order",
    .n_params = 5,
    .params = {{"n_max", NAN, 0, LM_SHAPELETS_MOST, "", "highest order, a whole number"},
               {LENGTH("beta", "standard deviation of the Gaussian")},
               {ANGLE(OWN_X)},
               {CENTRE("x")},
               {CENTRE("y")}},
    .n_options = 1,
    .options = {{"norm", norms, "orthonormal functions, or without their 1/beta, as lenstronomy has them"}},
    .array =
        {"coefficients", "(n_max+1)(n_max+2)/2", "e-/s/arcsec",
         "by order n1 + n2, and by n2 within one: (0,0), (1,0), (0,1), (2,0), ...; of norm \"bare\": e-/s/arcsec^2"},
    .value = shapelets_value,
    .slope = shapelets_slope,
    .by = shapelets_by,
    .flux = shapelets_flux,
};

static const lm_light_kind_info kind_pixels = {
    .name = "pixels",
    .doc = "an image, interpolated; nothing outside",
    .n_params = 5,
    .params = {{AMOUNT("amp", 1, "", "factor of the image")},
               {LENGTH("scale", "size of a pixel")},
               {ANGLE(OWN_X)},
               {CENTRE("x")},
               {CENTRE("y")}},
    .n_options = 1,
    .options = {{"interpolation", interpolations, "bilinear never overshoots; bicubic has a continuous gradient"}},
    .array = {"image", "ny nx", BRIGHTNESS, "brightness at the centres of pixels, lowest row first"},
    .value = pixels_value,
    .slope = pixels_slope,
    .by = pixels_by,
    .flux = pixels_flux,
};

const lm_light_kind_info *const lm_light_kinds[] = {&kind_sersic, &kind_gaussian, &kind_shapelets, &kind_pixels, NULL};

const lm_light_kind_info *lm_light_kind_of(const char *name)
{
    const lm_light_kind_info *const *kind = lm_light_kinds;
    while (*kind && strcmp((*kind)->name, name) != 0) kind++;
    return *kind;
}

int lm_light_param_of(const lm_light_kind_info *kind, const char *name)
{
    for (unsigned i = 0; i < kind->n_params; i++)
        if (strcmp(kind->params[i].name, name) == 0) return (int)i;
    return -1;
}

int lm_light_option_of(const lm_light_kind_info *kind, const char *name)
{
    for (unsigned i = 0; i < kind->n_options; i++)
        if (strcmp(kind->options[i].name, name) == 0) return (int)i;
    return -1;
}

int lm_light_word_of(const lm_light_option *option, const char *word)
{
    for (int i = 0; option->words[i]; i++)
        if (strcmp(option->words[i], word) == 0) return i;
    return -1;
}

lm_light lm_light_of(const lm_light_kind_info *kind)
{
    lm_light light = {.kind = kind};
    for (unsigned i = 0; i < kind->n_params; i++) light.param[i] = kind->params[i].otherwise;
    return light;
}

static lm_status check_array(const lm_light *light, lm_error *err)
{
    const lm_light_kind_info *kind = light->kind;
    if (!light->array || !light->h || !light->w)
        return LM_FAIL(err, LM_EINPUT, "light \"%s\" needs \"%s\" [%s]: %s", kind->name, kind->array.name,
                       kind->array.shape, kind->array.doc);
    if (light->h > INT_MAX / light->w)
        return LM_FAIL(err, LM_EINPUT, "\"%s\" of light \"%s\" is too large: %zu x %zu", kind->array.name, kind->name,
                       light->h, light->w);
    if (kind == &kind_shapelets) {
        double n_max = light->param[N_MAX];
        if (n_max != floor(n_max))
            return LM_FAIL(err, LM_EINPUT, "\"n_max\" of light \"shapelets\" is %g, and must be a whole number", n_max);
        size_t most = (size_t)n_max, want = (most + 1) * (most + 2) / 2;
        if (light->h != 1 || light->w != want)
            return LM_FAIL(err, LM_EINPUT, "light \"shapelets\" with \"n_max\" %zu needs %zu coefficients, and has %zu",
                           most, want, light->h * light->w);
    }
    for (size_t i = 0; i < light->h * light->w; i++)
        if (!isfinite(light->array[i]))
            return LM_FAIL(err, LM_EINPUT, "\"%s\" of light \"%s\" is not finite at row %zu, column %zu",
                           kind->array.name, kind->name, i / light->w, i % light->w);
    return LM_OK;
}

lm_status lm_light_check(const lm_light *light, lm_error *err)
{
    const lm_light_kind_info *kind = light->kind;
    for (unsigned i = 0; i < kind->n_params; i++) {
        const lm_light_param *p = &kind->params[i];
        double v = light->param[i];
        if (isnan(v)) return LM_FAIL(err, LM_EINPUT, "light \"%s\" needs \"%s\": %s", kind->name, p->name, p->doc);
        if (!(v >= p->min && v <= p->max))
            return LM_FAIL(err, LM_EINPUT, "\"%s\" of light \"%s\" is %g, and must be from %g to %g", p->name,
                           kind->name, v, p->min, p->max);
    }
    for (unsigned i = 0; i < kind->n_options; i++) {
        int words = 0;
        while (kind->options[i].words[words]) words++;
        if (light->option[i] < 0 || light->option[i] >= words)
            return LM_FAIL(err, LM_EINPUT, "option \"%s\" of light \"%s\" is none of its words", kind->options[i].name,
                           kind->name);
    }
    return kind->array.name ? check_array(light, err) : LM_OK;
}

/* Where a light stands, and how it is turned. */
typedef struct {
    double x, y, c, s;
} frame;

static frame frame_of(const lm_light *light)
{
    const double *last = light->param + light->kind->n_params - 3;
    return (frame){last[1], last[2], cos(last[0]), sin(last[0])};
}

static size_t at_most(size_t n)
{
    return n < BLOCK ? n : BLOCK;
}

/* Positions along the light's own axes, from its centre. */
LM_CLONES_WIDE static void turn(const frame *f, size_t n, const double *restrict x, const double *restrict y,
                                double *restrict own_x, double *restrict own_y)
{
    for (size_t k = 0; k < n; k++) {
        double dx = x[k] - f->x, dy = y[k] - f->y, u = f->c * dx + f->s * dy, v = f->c * dy - f->s * dx;
        u = u < -FAR ? -FAR : u;
        v = v < -FAR ? -FAR : v;
        own_x[k] = u > FAR ? FAR : u;
        own_y[k] = v > FAR ? FAR : v;
    }
}

void lm_light_add(const lm_light *light, size_t n, const double *x, const double *y, double *ret)
{
    frame f = frame_of(light);
    for (size_t i = 0; i < n; i += BLOCK) {
        size_t m = at_most(n - i);
        double u[BLOCK], v[BLOCK], value[BLOCK];
        turn(&f, m, x + i, y + i, u, v);
        light->kind->value(light, m, u, v, value);
        for (size_t k = 0; k < m; k++) ret[i + k] += value[k];
    }
}

void lm_light_gradient(const lm_light *light, size_t n, const double *x, const double *y, double *by_x, double *by_y)
{
    frame f = frame_of(light);
    for (size_t i = 0; i < n; i += BLOCK) {
        size_t m = at_most(n - i);
        double u[BLOCK], v[BLOCK], value[BLOCK], by_u[BLOCK], by_v[BLOCK];
        turn(&f, m, x + i, y + i, u, v);
        light->kind->slope(light, m, u, v, value, by_u, by_v);
        for (size_t k = 0; k < m; k++) {
            by_x[i + k] = f.c * by_u[k] - f.s * by_v[k];
            by_y[i + k] = f.s * by_u[k] + f.c * by_v[k];
        }
    }
}

void lm_light_by(const lm_light *light, size_t index, size_t n, const double *x, const double *y, double *ret)
{
    frame f = frame_of(light);
    size_t phi = light->kind->n_params - 3;
    bool own = index < phi || index >= light->kind->n_params;
    for (size_t i = 0; i < n; i += BLOCK) {
        size_t m = at_most(n - i);
        double u[BLOCK], v[BLOCK], value[BLOCK], by_u[BLOCK], by_v[BLOCK];
        turn(&f, m, x + i, y + i, u, v);
        if (own) {
            light->kind->by(light, index, m, u, v, ret + i);
            continue;
        }
        light->kind->slope(light, m, u, v, value, by_u, by_v);
        for (size_t k = 0; k < m; k++)
            ret[i + k] = index == phi       ? v[k] * by_u[k] - u[k] * by_v[k]
                         : index == phi + 1 ? f.s * by_v[k] - f.c * by_u[k]
                                            : -f.s * by_u[k] - f.c * by_v[k];
    }
}

double lm_light_flux(const lm_light *light)
{
    return light->kind->flux(light);
}
