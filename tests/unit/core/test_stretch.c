/* Limits and shades against their definitions, evaluated directly. */
#include "operators/core/stretch.h"
#include "runtime/alloc.h"
#include "tests/test.h"

#include <float.h>

static double noise(unsigned i)
{
    return sin(12.9898 * i) * 43758.5453 - floor(sin(12.9898 * i) * 43758.5453);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double by_sorting(const double *values, size_t n, double q)
{
    static double sorted[4096];
    memcpy(sorted, values, n * sizeof *values);
    qsort(sorted, n, sizeof *sorted, by_value);
    double place = q * (double)(n - 1);
    size_t k = (size_t)floor(place);
    return k + 1 < n ? sorted[k] + (place - (double)k) * (sorted[k + 1] - sorted[k]) : sorted[n - 1];
}

TEST(quantiles_are_those_of_the_sorted_values)
{
    static double values[4096], work[4096];
    static const double levels[] = {0, 0.001, 0.1, 0.25, 1.0 / 3, 0.5, 0.77, 0.995, 1};
    for (size_t n = 1; n < 4096; n = n * 3 / 2 + 1)
        for (int kind = 0; kind < 4; kind++) {
            for (size_t i = 0; i < n; i++) {
                double random = noise((unsigned)i + 7 * (unsigned)kind);
                values[i] = kind == 0 ? random : kind == 1 ? floor(5 * random) : kind == 2 ? (double)i : -(double)i;
            }
            for (size_t l = 0; l < sizeof levels / sizeof *levels; l++) {
                memcpy(work, values, n * sizeof *values);
                /* the same two order statistics and the same line between them: rounding of one product */
                NEAR(lm_quantile_inplace(work, n, levels[l]), by_sorting(values, n, levels[l]), REL(1e-15));
            }
        }
}

TEST(quantile_of_numpy_examples)
{
    double a[] = {15, 20, 35, 40, 50}, b[] = {10, 7, 4, 3, 2, 1};
    NEAR(lm_quantile_inplace(a, 5, 0.4), 29.0, ABS(1e-14)); /* numpy.percentile([15, 20, 35, 40, 50], 40) */
    NEAR(lm_quantile_inplace(b, 6, 0.5), 3.5, ABS(0));      /* the example of numpy.percentile's page */
    CHECK(isnan(lm_quantile_inplace(b, 0, 0.5)));
}

TEST(limits_leave_out_what_is_not_finite)
{
    double values[] = {NAN, 3, INFINITY, 1, 2, -INFINITY, 5, 4, NAN}, scratch[9];
    lm_limits limits;
    CHECK(lm_limits_percentile(values, 9, 0, 100, scratch, &limits));
    NEAR(limits.low, 1, ABS(0));
    NEAR(limits.high, 5, ABS(0));
    CHECK(lm_limits_percentile(values, 9, 25, 50, scratch, &limits));
    NEAR(limits.low, 2, ABS(0));
    NEAR(limits.high, 3, ABS(0));
}

TEST(limits_of_nothing)
{
    double values[] = {NAN, INFINITY, -INFINITY}, scratch[3];
    lm_limits limits = {7, 7};
    CHECK(!lm_limits_percentile(values, 3, 1, 99, scratch, &limits));
    NEAR(limits.low, 0, ABS(0));
    NEAR(limits.high, 1, ABS(0));
    CHECK(!lm_limits_percentile(values, 0, 1, 99, scratch, &limits));
    CHECK(!lm_limits_symmetric(values, 3, 99, scratch, &limits));
    NEAR(limits.high, 1, ABS(0));
}

TEST(symmetric_limits_follow_the_larger_side)
{
    double values[] = {-4, 1, 2, NAN, 0, 3}, scratch[6];
    lm_limits limits;
    CHECK(lm_limits_symmetric(values, 6, 100, scratch, &limits));
    NEAR(limits.low, -4, ABS(0));
    NEAR(limits.high, 4, ABS(0));
    CHECK(lm_limits_symmetric(values, 6, 50, scratch, &limits));
    NEAR(limits.high, 2, ABS(0)); /* median of 0 1 2 3 4 */
}

TEST(shades_by_definition)
{
    lm_limits limits = {-2, 6};
    for (double v = -1.9; v < 6; v += 0.37) {
        double t = (v + 2) / 8;
        /* two evaluations of the same formula: a few roundings */
        NEAR(lm_stretch_shade(LM_STRETCH_LINEAR, limits, v), t, ABS(1e-15));
        NEAR(lm_stretch_shade(LM_STRETCH_SQRT, limits, v), sqrt(t), ABS(1e-15));
        NEAR(lm_stretch_shade(LM_STRETCH_ASINH, limits, v), asinh(t / 0.1) / asinh(1 / 0.1), ABS(1e-15));
        NEAR(lm_stretch_shade(LM_STRETCH_LOG, limits, v), log(1000 * t + 1) / log(1000 + 1), ABS(1e-14));
    }
}

TEST(shades_at_and_beyond_the_ends)
{
    lm_limits limits = {-2, 6}, constant = {3, 3};
    for (int s = LM_STRETCH_LINEAR; s <= LM_STRETCH_SQRT; s++) {
        lm_stretch stretch = (lm_stretch)s;
        NEAR(lm_stretch_shade(stretch, limits, -2), 0, ABS(0));
        NEAR(lm_stretch_shade(stretch, limits, -INFINITY), 0, ABS(0));
        NEAR(lm_stretch_shade(stretch, limits, 6), 1, ABS(0));
        NEAR(lm_stretch_shade(stretch, limits, INFINITY), 1, ABS(0));
        CHECK(isnan(lm_stretch_shade(stretch, limits, NAN)));
        NEAR(lm_stretch_shade(stretch, constant, 3), 0.5, ABS(0));
        NEAR(lm_stretch_shade(stretch, constant, 2), 0, ABS(0));
        NEAR(lm_stretch_shade(stretch, constant, 4), 1, ABS(0));
    }
    NEAR(lm_stretch_shade(LM_STRETCH_LINEAR, (lm_limits){-DBL_MAX, DBL_MAX}, 0), 0.5, ABS(0));
}

TEST(value_undoes_shade)
{
    lm_limits limits = {-0.003, 0.2};
    for (int s = LM_STRETCH_LINEAR; s <= LM_STRETCH_SQRT; s++)
        for (double t = 0; t <= 1; t += 0.0625) /* exp and log of a factor 1001 lose three digits of sixteen */
            NEAR(lm_stretch_shade((lm_stretch)s, limits, lm_stretch_value((lm_stretch)s, limits, t)), t, ABS(1e-11));
}

TEST(names_follow_the_enum)
{
    EQUAL_TEXT(lm_stretch_names[LM_STRETCH_LINEAR], "linear");
    EQUAL_TEXT(lm_stretch_names[LM_STRETCH_ASINH], "asinh");
    EQUAL_TEXT(lm_stretch_names[LM_STRETCH_LOG], "log");
    EQUAL_TEXT(lm_stretch_names[LM_STRETCH_SQRT], "sqrt");
    CHECK(!lm_stretch_names[LM_STRETCH_SQRT + 1]);
}
