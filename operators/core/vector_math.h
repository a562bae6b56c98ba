/* Elementary functions without branches, for loops that a compiler turns into vector instructions.
 *
 * Each works on one double. A branch of a library function becomes a choice between two values here, so a loop over an array
 * runs at the speed of the arithmetic. Errors, measured by test_vector_math against the C library, in units of the last place:
 * below 1 for exp and log, below 2 for log1p and atan2, below 6 for atanh2. The reductions and coefficients of log and atan are those of
 * fdlibm (Sun Microsystems 1993); exp is its Taylor series on |r| <= ln(2)/2.
 *
 * For files compiled with -fno-math-errno -fno-trapping-math (see CMakeLists.txt), without which loops stay scalar. All
 * operations are rounded one by one: a result is the same bits on any processor and in any place of a vector.
 */
#ifndef LM_CORE_VECTOR_MATH_H
#define LM_CORE_VECTOR_MATH_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t lm_flat_bits(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double lm_flat_double(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* (atanh(s) - s) / s * 2 for s^2 = z, |s| <= 0.1716 */
static inline double lm_flat_atanh_tail(double z)
{
    double w = z * z;
    double even = 6.666666666666735130e-01 +
                  w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01));
    double odd = 3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01);
    return z * (even + z * odd);
}

/* x = 2^k m with m from sqrt(1/2) to sqrt(2); x positive and normal */
static inline double lm_flat_split(double x, double *ret_k)
{
    const uint64_t half = 0x3fe6a09e667f3bcd; /* sqrt(1/2) */
    uint64_t bits = lm_flat_bits(x) + (0x3ff0000000000000 - half);
    *ret_k = lm_flat_double((bits >> 52) | 0x4330000000000000) - (4503599627370496.0 + 1023);
    return lm_flat_double((bits & 0x000fffffffffffff) + half);
}

static const double lm_ln2_high = 6.93147180369123816490e-01, lm_ln2_low = 1.90821492927058770002e-10;

/* log(x). x positive, normal and finite; NaN gives NaN, anything else a number that means nothing. */
static inline double lm_flat_log(double x)
{
    double k, f = lm_flat_split(x, &k) - 1, s = f / (2 + f), half = 0.5 * f * f;
    double value = k * lm_ln2_high - ((half - (s * (half + lm_flat_atanh_tail(s * s)) + k * lm_ln2_low)) - f);
    return x != x ? x : value;
}

/* log(1 + f), also where f is small. f > -1 and finite. */
static inline double lm_flat_log1p(double f)
{
    double y = 1 + f;
    return lm_flat_log(y) + (f - (y - 1)) / y;
}

/* exp(x); 0 below -745, infinite above 709.8. */
static inline double lm_flat_exp(double x)
{
    const double magic = 6755399441055744.0; /* 1.5 2^52: adding it rounds to an integer, in the low bits */
    double in = x < -746 ? -746 : x > 710 ? 710 : x;
    double shifted = in * 1.44269504088896340736 + magic, k = shifted - magic;
    double r = (in - k * lm_ln2_high) - k * lm_ln2_low, r2 = r * r, r4 = r2 * r2;
    double low = (1.0 / 6 + r * (1.0 / 24)) + r2 * (1.0 / 120 + r * (1.0 / 720));
    double high = (1.0 / 5040 + r * (1.0 / 40320)) + r2 * (1.0 / 362880 + r * (1.0 / 3628800)) +
                  r4 * (1.0 / 39916800 + r * (1.0 / 479001600) + r2 * (1.0 / 6227020800));
    double e = 1 + (r + (r2 * 0.5 + r2 * r * (low + r4 * high)));
    /* 2^k as a product of two normal numbers; k is an integer from -1077 to 1025 in the low bits of `shifted` */
    uint64_t whole = (lm_flat_bits(shifted) + 4096) & 0xffff, first = whole / 2, second = whole - first;
    double scaled = e * lm_flat_double((first - 2048 + 1023) << 52) * lm_flat_double((second - 2048 + 1023) << 52);
    return x != x ? x : scaled;
}

/* x^p; x as for log. The relative error grows with |p log x|. */
static inline double lm_flat_pow(double x, double p)
{
    return lm_flat_exp(p * lm_flat_log(x));
}

/* atan(a/d), a >= 0, d > 0 */
static inline double lm_flat_atan2(double a, double d)
{
    const double tangent = 0.41421356237309503; /* of pi/8 */
    double low = a * tangent > d ? -d : a > tangent * d ? a - d : a;
    double under = a * tangent > d ? a : a > tangent * d ? a + d : d;
    double from = a * tangent > d ? M_PI_2 : a > tangent * d ? M_PI_4 : 0;
    double rest = a * tangent > d ? 6.123233995736765886e-17 : a > tangent * d ? 3.061616997868382943e-17 : 0;
    double t = low / under, z = t * t, w = z * z;
    double even = 3.33333333333329318027e-01 +
                  w * (1.42857142725034663711e-01 +
                       w * (9.09088713343650656196e-02 +
                            w * (6.66107313738753120669e-02 +
                                 w * (4.97687799461593236017e-02 + w * 1.62858201153657823623e-02))));
    double odd =
        -1.99999999998764832476e-01 +
        w * (-1.11111104054623557880e-01 +
             w * (-7.69187620504482999495e-02 + w * (-5.83357013379057348645e-02 + w * -3.65315727442169155270e-02)));
    return from - ((t * (z * (even + z * odd)) - rest) - t);
}

/* atanh(a/d), 0 <= a < d, where left = d^2 - a^2 is known better than by that difference */
static inline double lm_flat_atanh2(double a, double d, double left)
{
    const double small = 0.17157287525380990; /* log's series holds up to there: no power of two is to be split off */
    double sum = d + a, first = (a < small * d ? a : sum * sum) / (a < small * d ? d : left), k;
    double m = lm_flat_split(a < small * d ? 1 : first, &k), f = m - 1, s = a < small * d ? first : f / (2 + f);
    double tail = lm_flat_atanh_tail(s * s), half = 0.5 * f * f;
    double log_first = k * lm_ln2_high - ((half - (s * (half + tail) + k * lm_ln2_low)) - f);
    double value = a < small * d ? s + 0.5 * s * tail : 0.5 * log_first;
    return a != a ? a : value;
}

/* Whole arrays [n], apart from each other. */
void lm_vector_exp(size_t n, const double *restrict x, double *restrict ret);
void lm_vector_log(size_t n, const double *restrict x, double *restrict ret);
/* x^p for x > 0, normal and finite; NaN gives NaN. */
void lm_vector_pow(size_t n, const double *restrict x, double p, double *restrict ret);

#endif
