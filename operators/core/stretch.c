#include "operators/core/stretch.h"

#include <math.h>

const char *const lm_stretch_names[] = {"linear", "asinh", "log", "sqrt", NULL};

static const double asinh_knee = 0.1; /* where the curve turns from linear to logarithmic, as a part of the range */
static const double log_range = 1000;

/* Puts the k-th smallest at place k, nothing larger before it and nothing smaller after it: Hoare's selection with the
 * middle of three as pivot. */
static double select_nth(double *v, size_t n, size_t k)
{
    size_t low = 0, high = n - 1;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        double a = v[low], b = v[middle], c = v[high];
        double pivot = fmax(fmin(a, b), fmin(fmax(a, b), c));
        size_t i = low, j = high;
        while (i <= j) {
            while (v[i] < pivot) i++;
            while (v[j] > pivot) j--;
            if (i > j) break;
            double swap = v[i];
            v[i++] = v[j];
            v[j] = swap;
            if (j == 0) break;
            j--;
        }
        if (k <= j && j < high) high = j;
        else if (k >= i) low = i;
        else break; /* between the two parts lie copies of the pivot */
    }
    return v[k];
}

double lm_quantile_inplace(double *values, size_t n, double q)
{
    if (n == 0) return NAN;
    double place = q * (double)(n - 1);
    size_t k = (size_t)place;
    if (k > n - 1) k = n - 1;
    double below = select_nth(values, n, k), part = place - (double)k;
    if (k + 1 == n || !(part > 0)) return below;
    double above = values[k + 1];
    for (size_t i = k + 2; i < n; i++) above = fmin(above, values[i]);
    return below + part * (above - below);
}

bool lm_limits_percentile(const double *values, size_t n, double low, double high, double *scratch, lm_limits *ret)
{
    size_t finite = 0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(values[i])) scratch[finite++] = values[i];
    *ret = (lm_limits){0, 1};
    if (!finite) return false;
    *ret = (lm_limits){.low = lm_quantile_inplace(scratch, finite, low / 100),
                       .high = lm_quantile_inplace(scratch, finite, high / 100)};
    return true;
}

bool lm_limits_symmetric(const double *values, size_t n, double high, double *scratch, lm_limits *ret)
{
    size_t finite = 0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(values[i])) scratch[finite++] = fabs(values[i]);
    *ret = (lm_limits){0, 1};
    if (!finite) return false;
    double a = lm_quantile_inplace(scratch, finite, high / 100);
    *ret = (lm_limits){-a, a};
    return true;
}

double lm_stretch_shade(lm_stretch stretch, lm_limits limits, double value)
{
    if (isnan(value)) return NAN;
    if (limits.low == limits.high && value == limits.low) return 0.5;
    if (value <= limits.low) return 0;
    if (value >= limits.high) return 1;
    /* halves, so that the range of the largest numbers does not overflow */
    double t = (value / 2 - limits.low / 2) / (limits.high / 2 - limits.low / 2);
    switch (stretch) {
    case LM_STRETCH_ASINH: return asinh(t / asinh_knee) / asinh(1 / asinh_knee);
    case LM_STRETCH_LOG: return log1p(log_range * t) / log1p(log_range);
    case LM_STRETCH_SQRT: return sqrt(t);
    case LM_STRETCH_LINEAR: break;
    }
    return t;
}

double lm_stretch_value(lm_stretch stretch, lm_limits limits, double t)
{
    switch (stretch) {
    case LM_STRETCH_ASINH: t = asinh_knee * sinh(t * asinh(1 / asinh_knee)); break;
    case LM_STRETCH_LOG: t = expm1(t * log1p(log_range)) / log_range; break;
    case LM_STRETCH_SQRT: t = t * t; break;
    case LM_STRETCH_LINEAR: break;
    }
    return (1 - t) * limits.low + t * limits.high;
}
