/* From pixel values to shades: where black and white lie, and the curve between them.
 *
 * Shades are numbers t in [0, 1]. The curves are those that astronomical viewers agree on (here in the form that astropy
 * documents), so that a picture of lensmill looks like the same picture elsewhere.
 */
#ifndef LM_CORE_STRETCH_H
#define LM_CORE_STRETCH_H

#include <stdbool.h>
#include <stddef.h>

typedef enum lm_stretch {
    LM_STRETCH_LINEAR, /* t */
    LM_STRETCH_ASINH,  /* asinh(t / 0.1) / asinh(1 / 0.1): linear for the faint, logarithmic for the bright */
    LM_STRETCH_LOG,    /* log(1000 t + 1) / log(1001) */
    LM_STRETCH_SQRT,   /* sqrt(t) */
} lm_stretch;
extern const char *const lm_stretch_names[]; /* in the order of the enum, then NULL */

/* The values at which a picture turns black and white. */
typedef struct lm_limits {
    double low, high;
} lm_limits;

/* The q-th quantile, 0 <= q <= 1, of n values without NaN: the order statistics at q (n - 1), with linear interpolation
 * between neighbours (Hyndman & Fan 1996, type 7; numpy's default). Reorders the values; expected time O(n).
 * n = 0: NaN. */
double lm_quantile_inplace(double *values, size_t n, double q);

/* The percentiles low and high, 0 <= low <= high <= 100, of the finite values. `scratch` has room for n values.
 * Returns false, and limits of 0 and 1, if no value is finite. */
bool lm_limits_percentile(const double *values, size_t n, double low, double high, double *scratch, lm_limits *ret);
/* Limits -a and a, where a is the given percentile of |value|: for residuals. As above. */
bool lm_limits_symmetric(const double *values, size_t n, double high, double *scratch, lm_limits *ret);

/* The shade of a value: 0 at low and below, 1 at high and above; infinities lie below and above; NaN stays NaN.
 * Where low = high, whatever equals them is 0.5. */
double lm_stretch_shade(lm_stretch stretch, lm_limits limits, double value);
/* The value that has shade t: the inverse, for the ticks of a colour bar. */
double lm_stretch_value(lm_stretch stretch, lm_limits limits, double t);

#endif
