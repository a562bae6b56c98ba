/* Functions without branches, against the C library in long double. */
#include "tests/test.h"

#include "operators/core/vector_math.h"

#include <float.h>

enum { N = 200000 };

/* The error of `got` in units of the last place of `want`, or thereabouts. */
static double units(double got, long double want)
{
    return (double)(fabsl((long double)got - want) / (fmaxl(fabsl(want), DBL_MIN) * (long double)DBL_EPSILON));
}

/* A number from low to high that has no pattern. */
static double spread(size_t i, double low, double high)
{
    double turn = (double)i * 0.61803398874989484820;
    return low + (high - low) * (turn - floor(turn));
}

static void within(const char *name, double x, double got, long double want, double most)
{
    if (!(units(got, want) <= most)) FAIL("%s(%.17g) is %.17g, %g units off", name, x, got, units(got, want));
}

TEST(values_equal_the_c_librarys)
{
    if (LDBL_MANT_DIG <= DBL_MANT_DIG) SKIP("long double is double here");
    for (size_t i = 0; i < N; i++) {
        double x = spread(i, -708, 709), near = spread(i, -1, 1);
        within("exp", x, lm_flat_exp(x), expl(x), 1);
        within("exp", near, lm_flat_exp(near), expl(near), 1);
        double wide = exp(spread(i, -700, 700)), small = exp(spread(i, -40, 4)), around = spread(i, 0.5, 2);
        within("log", wide, lm_flat_log(wide), logl(wide), 1);
        within("log", around, lm_flat_log(around), logl(around), 1);
        within("log1p", small, lm_flat_log1p(small), log1pl(small), 1.5);
        within("log1p", -near / 2, lm_flat_log1p(-near / 2), log1pl(-near / 2), 1.5);
        within("atan", wide, lm_flat_atan2(wide, 1), atanl(wide), 1.5);
        within("atan", around, lm_flat_atan2(around, 1), atanl(around), 1.5);
        within("atan", small, lm_flat_atan2(3 * small, 3), atanl(3 * small / 3.0L), 2);
        double part = spread(i, 0, 1);
        within("atanh", part, lm_flat_atanh2(part, 1, (double)((1 - (long double)part) * (1 + (long double)part))),
               atanhl(part), 6);
    }
}

TEST(values_at_their_ends)
{
    CHECK(lm_flat_exp(0) == 1 && lm_flat_log(1) == 0 && lm_flat_log1p(0) == 0 && lm_flat_atan2(0, 1) == 0);
    CHECK(lm_flat_atanh2(0, 1, 1) == 0);
    CHECK(lm_flat_exp(-1e9) == 0 && lm_flat_exp(-INFINITY) == 0);
    CHECK(isinf(lm_flat_exp(1e9)) && isinf(lm_flat_exp(INFINITY)));
    NEAR(lm_flat_exp(-744), exp(-744), ABS(5e-324)); /* subnormal */
    NEAR(lm_flat_exp(709.7), exp(709.7), REL(3e-16));
    CHECK(isnan(lm_flat_exp(NAN)) && isnan(lm_flat_log(NAN)) && isnan(lm_flat_log1p(NAN)) &&
          isnan(lm_flat_pow(NAN, 2)));
    CHECK(isnan(lm_flat_atan2(NAN, 1)) && isnan(lm_flat_atanh2(NAN, 1, 1)));
    NEAR(lm_flat_log(DBL_MIN), log(DBL_MIN), REL(3e-16));
    NEAR(lm_flat_log(DBL_MAX), log(DBL_MAX), REL(3e-16));
}

/* Arrays of any length give what single numbers do, bit by bit. */
TEST(arrays_equal_single_values)
{
    double x[67], e[67], l[67], p[67];
    for (size_t i = 0; i < 67; i++) x[i] = exp(spread(i, -20, 5));
    for (size_t n = 0; n <= 67; n++) {
        lm_vector_exp(n, x, e);
        lm_vector_log(n, x, l);
        lm_vector_pow(n, x, 0.37, p);
        for (size_t i = 0; i < n; i++) {
            double one[3] = {lm_flat_exp(x[i]), lm_flat_log(x[i]), lm_flat_pow(x[i], 0.37)};
            CHECK(e[i] == one[0] && l[i] == one[1] && p[i] == one[2]);
            NEAR(p[i], pow(x[i], 0.37), REL(5e-15)); /* |p log x| times the rounding of the logarithm */
        }
    }
}
