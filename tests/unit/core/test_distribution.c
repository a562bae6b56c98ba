/* Distributions of one number: quantiles against 60 and more digits, densities against quadrature, slopes against differences. */
#include "tests/test.h"

#include "operators/core/distribution.h"
#include "operators/core/special.h"
#include "runtime/random.h"

#include <float.h>
#include <gsl/gsl_errno.h>
#include <gsl/gsl_integration.h>

#define D(...) ((lm_distribution){__VA_ARGS__})
#define CUT(low, high) .min = (low), .max = (high)
#define UNCUT CUT(-INFINITY, INFINITY)

/* Every kind with a density, plain, cut and at its limits. */
static const lm_distribution smooth[] = {
    {.kind = LM_DISTRIBUTION_UNIFORM, .a = -2, .b = 5, UNCUT},
    {.kind = LM_DISTRIBUTION_UNIFORM, .a = -2, .b = 5, CUT(-1, 9)},
    {.kind = LM_DISTRIBUTION_LOGUNIFORM, .a = 1e-3, .b = 20, UNCUT},
    {.kind = LM_DISTRIBUTION_LOGUNIFORM, .a = 1e-3, .b = 20, CUT(0.5, 7)},
    {.kind = LM_DISTRIBUTION_LOGUNIFORM, .a = 5, .b = 5 * (1 + 1e-7), UNCUT},
    {.kind = LM_DISTRIBUTION_NORMAL, .a = 1.5, .b = 0.3, UNCUT},
    {.kind = LM_DISTRIBUTION_NORMAL, .a = 1.5, .b = 0.3, CUT(1, INFINITY)},
    {.kind = LM_DISTRIBUTION_NORMAL, .a = 1.5, .b = 0.3, CUT(-INFINITY, 1.9)},
    {.kind = LM_DISTRIBUTION_NORMAL, .a = 0, .b = 1, CUT(8, INFINITY)},
    {.kind = LM_DISTRIBUTION_NORMAL, .a = 0, .b = 1, CUT(-INFINITY, -8)},
    {.kind = LM_DISTRIBUTION_NORMAL, .a = 0, .b = 1, CUT(-9, -8)},
    {.kind = LM_DISTRIBUTION_NORMAL, .a = 0, .b = 1, CUT(60, 61)},
    {.kind = LM_DISTRIBUTION_NORMAL, .a = 0, .b = 1, CUT(1e5, INFINITY)},
    {.kind = LM_DISTRIBUTION_NORMAL, .a = 0, .b = 1e3, CUT(-0.5, 1.5)},
    {.kind = LM_DISTRIBUTION_NORMAL, .a = 0, .b = 1, CUT(0, INFINITY)},
    {.kind = LM_DISTRIBUTION_NORMAL, .a = 0, .b = 10, CUT(5, 6)},
    {.kind = LM_DISTRIBUTION_LOGNORMAL, .a = 0.2, .b = 0.7, UNCUT},
    {.kind = LM_DISTRIBUTION_LOGNORMAL, .a = 0.2, .b = 0.7, CUT(0, 3)},
    {.kind = LM_DISTRIBUTION_LOGNORMAL, .a = 0.2, .b = 0.1, CUT(3, 9)},
    {.kind = LM_DISTRIBUTION_POWER, .a = 2, CUT(0, 4)},
    {.kind = LM_DISTRIBUTION_POWER, .a = -0.5, CUT(0, 4)},
    {.kind = LM_DISTRIBUTION_POWER, .a = 0, CUT(0, 4)},
    {.kind = LM_DISTRIBUTION_POWER, .a = -1.9, CUT(1e-3, 1e2)},
    {.kind = LM_DISTRIBUTION_POWER, .a = -1, CUT(1e-3, 1e2)},
    {.kind = LM_DISTRIBUTION_POWER, .a = -1 + 1e-9, CUT(1e-3, 1e2)},
    {.kind = LM_DISTRIBUTION_POWER, .a = -2.5, CUT(2, INFINITY)},
    {.kind = LM_DISTRIBUTION_POWER, .a = 700, CUT(1e-3, 1e2)},
    {.kind = LM_DISTRIBUTION_POWER, .a = -700, CUT(1e-3, 1e2)},
    {.kind = LM_DISTRIBUTION_POWER, .a = 1.5, CUT(1, 1 + 1e-8)},
};
enum { SMOOTH = sizeof smooth / sizeof *smooth };

static const char *name_of(size_t i)
{
    static char text[100];
    const lm_distribution *d = smooth + i;
    snprintf(text, sizeof text, "%s(%g, %g) in [%g, %g]", lm_distribution_names[d->kind], d->a, d->b, d->min, d->max);
    return text;
}

/* mpmath, 1300 digits, by bisection: the u-quantile x of a normal (mean, standard deviation) in [min, max], and ln of the density at
 * the double nearest to x. */
static const struct {
    double mean, sd, min, max, u, x, log_density;
} normals[] = {
    {0.0, 1.0, -INFINITY, INFINITY, 1e-15, -7.9413453261709967713, -32.451421327953641921},
    {0.0, 1.0, -INFINITY, INFINITY, 0.3, -0.52440051270804081597, -1.0564364820689007605},
    {0.0, 1.0, -INFINITY, INFINITY, 0.5000000009313226, 2.3344794983332981399e-9, -0.91893853320467274451},
    {0.0, 1.0, -INFINITY, INFINITY, 0.9999999999999991, 7.9560381254815309622, -32.568209860262512184},
    {2.0, 0.5, -INFINITY, INFINITY, 0.25, 1.6627551249019591284, -0.45325956420451370799},
    {0.0, 1.0, 8.0, INFINITY, 0.0, 8.0, 2.0944986267098771537},
    {0.0, 1.0, 8.0, INFINITY, 1e-09, 8.0000000001231319633, 2.0944986257248233374},
    {0.0, 1.0, 8.0, INFINITY, 0.5, 8.0849110073915441024, 1.4116056279894071014},
    {0.0, 1.0, 8.0, INFINITY, 0.9999999999999991, 11.515274986745114415, -32.206280383468963822},
    {0.0, 1.0, 8.0, 9.0, 0.9, 8.2786090370115515315, -0.17300373361219589682},
    {0.0, 1.0, -INFINITY, -8.0, 0.5, -8.0849110073915441024, 1.4116056279894071014},
    {0.0, 1.0, -INFINITY, -8.0, 1e-12, -10.893038042514783425, -25.23464027112727565},
    {0.0, 1.0, -9.0, -8.0, 0.999999999999, -8.0000000000001231069, 2.0946800602314948265},
    {0.0, 1.0, 40.0, INFINITY, 0.5, 40.017314126764651106, 2.9967885204701911393},
    {0.0, 1.0, -50.0, -45.0, 0.1, -45.051114325417138747, 1.5057047278450331341},
    {1.0, 2.0, -3.0, 4.0, 0.999, 3.9860145096164207147, -2.6327966944856021569},
    {0.0, 1.0, -1e-08, 3e-08, 0.6, 1.3999999999999995244e-8, 17.034386382832474934},
    {0.0, 1.0, 0.0, 2.0, 0.01, 0.011963165483147424389, -0.17929499901652585379},
    {0.0, 1.0, -20.0, 1.0, 1e-10, -6.387818440684451483, -21.148296969755393578},
    {3.0, 0.001, 4.0, INFINITY, 0.5, 4.0000006931462471895, 13.122365070669846548},
    {0.0, 1.0, 5.0, 5.0001, 0.25, 5.0000249953128515255, 9.2104653863516641192},
    {0.0, 1.0, 0.3, 0.6, 0.7, 0.50550026619098495572, 1.1804449387811886691},
    {0.0, 1.0, 2.0, 30.0, 0.9999999999990905, 7.5565746348992007809, -25.686664305923638108},
};

TEST(distribution_normal_quantiles_meet_mpmath)
{
    for (size_t i = 0; i < sizeof normals / sizeof *normals; i++) {
        lm_distribution d = {
            LM_DISTRIBUTION_NORMAL, normals[i].mean, normals[i].sd, normals[i].min, normals[i].max, NULL, NULL, 0};
        lm_error err;
        OK(lm_distribution_check(&d, &err), &err);
        NEAR(lm_distribution_quantile(&d, normals[i].u), normals[i].x, REL(1e-13)); /* some ulps; 1e-12 is promised */
        /* the density moves by z * width for a rounding of x: at 1000 standard deviations 1e-16 * 4e3 * 1e3 */
        NEAR(lm_distribution_log_density(&d, normals[i].x), normals[i].log_density, ABS(i == 19 ? 1e-9 : 2e-13));
    }
}

TEST(distribution_names)
{
    EQUAL_TEXT(lm_distribution_names[LM_DISTRIBUTION_FIXED], "fixed");
    EQUAL_TEXT(lm_distribution_names[LM_DISTRIBUTION_TABLE], "table");
    CHECK(lm_distribution_names[LM_DISTRIBUTION_KINDS] == NULL);
}

TEST(distribution_quantile_and_below_are_inverse)
{
    static const double us[] = {1e-12, 1e-6, 0.01, 0.3, 0.5, 0.7, 0.99, 1 - 0x1p-20};
    for (size_t i = 0; i < SMOOTH; i++) {
        lm_error err;
        OK(lm_distribution_check(smooth + i, &err), &err);
        double before = -INFINITY;
        for (size_t k = 0; k < sizeof us / sizeof *us; k++) {
            double x = lm_distribution_quantile(smooth + i, us[k]), u = lm_distribution_below(smooth + i, x);
            if (!(x > before)) FAIL("%s: the quantiles do not rise at u = %g", name_of(i), us[k]);
            before = x;
            /* x has rounded by |x| eps: so much more probability, relative to what either side holds */
            double slack = exp(lm_distribution_log_density(smooth + i, x)) * fabs(x) * 4 * DBL_EPSILON + 1e-13 * us[k];
            if (!(fabs(u - us[k]) <= slack)) FAIL("%s: below(quantile(%g)) = %.17g", name_of(i), us[k], u);
            double back = lm_distribution_quantile(smooth + i, u);
            if (!(fabs(back - x) <= 1e-12 * fabs(x) + DBL_MIN)) /* u rounds too: 1e-16 / density at u near 1 */
                if (!(fabs(back - x) <= 4 * DBL_EPSILON * u / exp(lm_distribution_log_density(smooth + i, x))))
                    FAIL("%s: quantile(below(%.17g)) = %.17g", name_of(i), x, back);
        }
    }
}

static double density(double x, void *d)
{
    return exp(lm_distribution_log_density(d, x));
}

static double integral(const lm_distribution *d, double from, double to)
{
    enum { LIMIT = 2000 };
    gsl_integration_workspace *space = gsl_integration_workspace_alloc(LIMIT);
    gsl_function f = {density, (void *)(uintptr_t)d};
    double value = NAN, error;
    gsl_error_handler_t *old =
        gsl_set_error_handler_off(); /* roundoff reached at the tolerance: the value is checked */
    (void)gsl_integration_qags(&f, from, to, 0, 1e-11, LIMIT, space, &value, &error);
    gsl_set_error_handler(old);
    gsl_integration_workspace_free(space);
    return value;
}

/* From quantile to quantile the density holds what the quantiles say, and all of it is 1. */
TEST(distribution_density_integrates)
{
    static const double us[] = {0, 1e-9, 1e-7, 1e-5, 1e-3, 0.1, 0.5, 0.8, 0.999, 1 - 1e-6, 1 - 0x1p-42};
    enum { N = sizeof us / sizeof *us };
    for (size_t i = 0; i < SMOOTH; i++) {
        const lm_distribution *d = smooth + i;
        double sum = 0, all = 0, low = lm_distribution_quantile(d, 0);
        for (size_t k = 1; k < N; k++) {
            double high = lm_distribution_quantile(d, us[k]), part = integral(d, low, high);
            /* the ends round: where 1e5 standard deviations away the density is as narrow as 1e-10 of x */
            double slack = 1e-9 * (us[k] - us[k - 1]) +
                           density(low, (void *)(uintptr_t)d) * fabs(low) * 4 * DBL_EPSILON +
                           density(high, (void *)(uintptr_t)d) * fabs(high) * 4 * DBL_EPSILON;
            slack += 0x1p-54; /* u = 0 of an open end */
            if (!(fabs(part - (us[k] - us[k - 1])) <= slack))
                FAIL("%s: %.12g between u = %g and %g", name_of(i), part, us[k - 1], us[k]);
            sum += part;
            all += slack;
            low = high;
        }
        NEAR(sum, 1, ABS(all));
    }
}

TEST(distribution_slope_is_the_derivative)
{
    for (size_t i = 0; i < SMOOTH; i++)
        for (double u = 0.05; u < 1; u += 0.15) {
            const lm_distribution *d = smooth + i;
            double x = lm_distribution_quantile(d, u);
            double width = lm_distribution_quantile(d, u + 0.02) - lm_distribution_quantile(d, u - 0.02),
                   h = width / 1000;
            double up = x + h, down = x - h, span = up - down; /* as they round */
            double difference = (lm_distribution_log_density(d, up) - lm_distribution_log_density(d, down)) / span;
            double slope = lm_distribution_slope(d, x);
            /* second order: h^2 / 6 third derivatives; rounding of ln p and of its argument over the span */
            double noise = (20 * DBL_EPSILON * (1 + fabs(lm_distribution_log_density(d, x)))) / span +
                           4 * DBL_EPSILON * fabs(x * slope) / span;
            if (!(fabs(slope - difference) <= 1e-4 * fabs(slope) + 1e-7 / width + noise))
                FAIL("%s: slope %.10g, by differences %.10g", name_of(i), slope, difference);
        }
}

TEST(distribution_ends)
{
    for (size_t i = 0; i < SMOOTH; i++) {
        const lm_distribution *d = smooth + i;
        double first = lm_distribution_quantile(d, 0), last = lm_distribution_quantile(d, 1 - 0x1p-53);
        if (!(isfinite(first) && isfinite(last) && first < last))
            FAIL("%s: draws from %g to %g", name_of(i), first, last);
        if (!isfinite(lm_distribution_log_density(d, first)) || !isfinite(lm_distribution_log_density(d, last)))
            FAIL("%s: a draw with the density %g, %g", name_of(i), density(first, (void *)(uintptr_t)d),
                 density(last, (void *)(uintptr_t)d));
        CHECK(first >= d->min && last <= d->max);
        bool uniform = d->kind == LM_DISTRIBUTION_UNIFORM || d->kind == LM_DISTRIBUTION_LOGUNIFORM;
        double low = uniform ? fmax(d->a, d->min) : d->min, high = uniform ? fmin(d->b, d->max) : d->max;
        if (d->kind == LM_DISTRIBUTION_LOGNORMAL) low = fmax(low, 0);
        if (isfinite(low) && low != 0) NEAR(first, low, REL(1e-14)); /* through logarithms */
        if (isfinite(low)) {
            CHECK(isinf(lm_distribution_log_density(d, nextafter(low, -INFINITY))));
            CHECK(lm_distribution_slope(d, low - 1) == 0 && lm_distribution_below(d, low - 1) == 0);
            CHECK(lm_distribution_below(d, low) == 0);
        }
        if (isfinite(high)) {
            CHECK(isinf(lm_distribution_log_density(d, nextafter(high, INFINITY))));
            CHECK(lm_distribution_slope(d, high + 1) == 0 && lm_distribution_below(d, high + 1) == 1);
            CHECK(lm_distribution_below(d, high) == 1);
        }
        CHECK(isnan(lm_distribution_quantile(d, NAN)) && isnan(lm_distribution_below(d, NAN)));
        CHECK(isinf(lm_distribution_log_density(d, NAN)) && lm_distribution_log_density(d, NAN) < 0);
        CHECK(isinf(lm_distribution_log_density(d, INFINITY)) && lm_distribution_slope(d, NAN) == 0);
        CHECK(lm_distribution_below(d, -INFINITY) == 0 && lm_distribution_below(d, INFINITY) == 1);
    }
}

/* In closed form. */
TEST(distribution_closed_forms)
{
    lm_distribution d = {.kind = LM_DISTRIBUTION_POWER, .a = 2, CUT(0, 4)};
    NEAR(lm_distribution_quantile(&d, 0.125), 2, REL(1e-15));
    NEAR(lm_distribution_log_density(&d, 2), log(3.0 * 4 / 64), REL(1e-15));
    d = D(.kind = LM_DISTRIBUTION_POWER, .a = -3, CUT(1, INFINITY));
    NEAR(lm_distribution_quantile(&d, 0.75), 2, REL(1e-15));
    d = D(.kind = LM_DISTRIBUTION_LOGUNIFORM, .a = 1e-4, .b = 1e4, UNCUT);
    NEAR(lm_distribution_quantile(&d, 0.5), 1, REL(2e-15));                    /* exp of 9.2 */
    d = D(.kind = LM_DISTRIBUTION_LOGUNIFORM, .a = 1e-300, .b = 1e300, UNCUT); /* the ratio is no double */
    NEAR(lm_distribution_quantile(&d, 0.75), 1e150, REL(1e-13));
    NEAR(lm_distribution_below(&d, 1e-150), 0.25, REL(1e-15));
    d = D(.kind = LM_DISTRIBUTION_LOGNORMAL, .a = log(3), .b = 0.5, UNCUT);
    NEAR(lm_distribution_quantile(&d, 0.5), 3, REL(1e-15));
    NEAR(lm_distribution_log_density(&d, 3), -log(3 * 0.5 * sqrt(2 * M_PI)), REL(1e-15));
    /* far out in a tail a normal is an exponential of the rate z: the first order in 1 / z^2 = 1e-12 is left out */
    d = D(.kind = LM_DISTRIBUTION_NORMAL, .a = 0, .b = 1, CUT(1e6, INFINITY));
    NEAR((lm_distribution_quantile(&d, 0.5) - 1e6) * 1e6, M_LN2, ABS(2e-4)); /* x rounds by 1e-10 */
    NEAR(lm_distribution_log_density(&d, 1e6), log(1e6), REL(1e-12));
}

TEST(distribution_draws_follow_it)
{
    enum { N = 2000 };
    double u[N];
    for (size_t i = 0; i < SMOOTH; i++) {
        if (smooth[i].a == 1e5 || i == 4 || i == 28) continue; /* narrow: few doubles, ties */
        lm_digest key = lm_digest_of(&i, sizeof i);
        lm_random random = lm_random_stream(&key, 0);
        for (size_t k = 0; k < N; k++)
            u[k] = lm_distribution_below(smooth + i, lm_distribution_quantile(smooth + i, lm_random_uniform(&random)));
        if (!(lm_ks_tail(lm_ks_uniform(u, N), N) > 1e-4)) FAIL("%s", name_of(i)); /* fixed seeds */
    }
}

TEST(distribution_fixed)
{
    lm_distribution d = {.kind = LM_DISTRIBUTION_FIXED, .a = 3};
    lm_error err;
    OK(lm_distribution_check(&d, &err), &err);
    CHECK(lm_distribution_quantile(&d, 0) == 3 && lm_distribution_quantile(&d, 0.99) == 3);
    CHECK(lm_distribution_log_density(&d, 3) == 0 && isinf(lm_distribution_log_density(&d, 3.1)));
    CHECK(lm_distribution_below(&d, 3) == 0 && lm_distribution_below(&d, 3.1) == 1);
    CHECK(lm_distribution_slope(&d, 3) == 0);
}

TEST(distribution_table)
{
    static const double ascending[] = {-1, 0.5, 0.5, 2, 7}, mixed[] = {2, 0.5, 7, -1, 0.5};
    static const double weights[] = {1, 2, 2, 0, 5}, mixed_weights[] = {0, 2, 5, 1, 2};
    lm_distribution a = {.kind = LM_DISTRIBUTION_TABLE, .value = ascending, .n = 5}, b = a;
    b.value = mixed;
    lm_error err;
    for (int weighted = 0; weighted < 2; weighted++) {
        if (weighted) {
            a.weight = weights;
            b.weight = mixed_weights;
        }
        OK(lm_distribution_check(&a, &err), &err);
        OK(lm_distribution_check(&b, &err), &err);
        for (double u = 0; u < 1; u += 0.013) CHECK(lm_distribution_quantile(&a, u) == lm_distribution_quantile(&b, u));
        for (size_t i = 0; i < 5; i++) {
            if (weighted && weights[i] == 0) continue;
            double u = lm_distribution_below(&a, ascending[i]);
            CHECK(u == lm_distribution_below(&b, ascending[i]));
            CHECK(lm_distribution_quantile(&a, u) == ascending[i] &&
                  lm_distribution_log_density(&a, ascending[i]) == 0);
        }
    }
    CHECK(lm_distribution_quantile(&a, 0.0999) == -1 && lm_distribution_quantile(&a, 0.1) == 0.5);
    CHECK(lm_distribution_quantile(&a, 0.4999) == 0.5 && lm_distribution_quantile(&a, 0.5) == 7);
    CHECK(lm_distribution_quantile(&a, 1 - 0x1p-53) == 7);
    CHECK(isinf(lm_distribution_log_density(&a, 2)) && isinf(lm_distribution_log_density(&a, 1)));
    CHECK(lm_distribution_below(&a, 100) == 1 && lm_distribution_slope(&a, 0.5) == 0);
}

/* Sevenths and the like have weights that round: the way there and back still meets every value, in any order. */
TEST(distribution_table_round_trip)
{
    enum { N = 997 };
    static double value[N], weight[N], sorted[N];
    for (size_t i = 0; i < N; i++) {
        value[i] = (double)(i * 331 % N) / 7;
        weight[i] = 1 / (1.0 + (double)(i % 13));
        sorted[i] = (double)i / 7;
    }
    lm_distribution d = {.kind = LM_DISTRIBUTION_TABLE, .value = value, .weight = weight, .n = N};
    lm_distribution plain = {.kind = LM_DISTRIBUTION_TABLE, .value = sorted, .n = N};
    for (size_t i = 0; i < N; i++) {
        CHECK(lm_distribution_quantile(&d, lm_distribution_below(&d, value[i])) == value[i]);
        CHECK(lm_distribution_quantile(&plain, lm_distribution_below(&plain, sorted[i])) == sorted[i]);
    }
}

TEST(distribution_refuses)
{
    static const double values[] = {1, NAN}, weights[] = {-1, 1}, none[] = {0, 0}, good[] = {1, 2};
    const struct {
        lm_distribution d;
        const char *says;
    } bad[] = {
        {{.kind = LM_DISTRIBUTION_KINDS}, "no kind"},
        {{.kind = LM_DISTRIBUTION_FIXED, .a = NAN}, "a = nan"},
        {{.kind = LM_DISTRIBUTION_UNIFORM, .a = 1, .b = 1, UNCUT}, "from 1 to 1"},
        {{.kind = LM_DISTRIBUTION_UNIFORM, .a = 2, .b = 1, UNCUT}, "from 2 to 1"},
        {{.kind = LM_DISTRIBUTION_UNIFORM, .a = 0, .b = INFINITY, UNCUT}, "b = inf"},
        {{.kind = LM_DISTRIBUTION_UNIFORM, .a = -1e308, .b = 1e308, UNCUT}, "too wide"},
        {{.kind = LM_DISTRIBUTION_UNIFORM, .a = 0, .b = 1, CUT(1, 2)}, "leaves nothing"},
        {{.kind = LM_DISTRIBUTION_UNIFORM, .a = 0, .b = 1, CUT(0.5, 0.5)}, "from min = 0.5 to max = 0.5"},
        {{.kind = LM_DISTRIBUTION_UNIFORM, .a = 0, .b = 1, CUT(NAN, 1)}, "min = nan"},
        {{.kind = LM_DISTRIBUTION_LOGUNIFORM, .a = 0, .b = 1, UNCUT}, "begins at 0"},
        {{.kind = LM_DISTRIBUTION_LOGUNIFORM, .a = 1, .b = 2, CUT(3, 4)}, "leaves nothing"},
        {{.kind = LM_DISTRIBUTION_NORMAL, .a = 0, .b = 0, UNCUT}, "standard deviation b = 0"},
        {{.kind = LM_DISTRIBUTION_NORMAL, .a = 0, .b = -1, UNCUT}, "standard deviation b = -1"},
        {{.kind = LM_DISTRIBUTION_NORMAL, .a = NAN, .b = 1, UNCUT}, "a = nan"},
        {{.kind = LM_DISTRIBUTION_NORMAL, .a = 0, .b = 1, CUT(2, 1)}, "from min = 2 to max = 1"},
        {{.kind = LM_DISTRIBUTION_NORMAL, .a = 0, .b = 1e-300, CUT(1e10, INFINITY)}, "leaves nothing"},
        {{.kind = LM_DISTRIBUTION_NORMAL, .a = 0, .b = 1e-300, CUT(-INFINITY, -1e10)}, "leaves nothing"},
        {{.kind = LM_DISTRIBUTION_NORMAL, .a = 0, .b = 1, CUT(INFINITY, INFINITY)}, "min = inf"},
        {{.kind = LM_DISTRIBUTION_LOGNORMAL, .a = 0, .b = 1, CUT(-2, 0)}, "leaves nothing"},
        {{.kind = LM_DISTRIBUTION_LOGNORMAL, .a = 0, .b = -2, UNCUT}, "standard deviation"},
        {{.kind = LM_DISTRIBUTION_POWER, .a = 1, UNCUT}, "min = -inf"},
        {{.kind = LM_DISTRIBUTION_POWER, .a = -1, CUT(0, 1)}, "no finite integral"},
        {{.kind = LM_DISTRIBUTION_POWER, .a = -1, CUT(1, INFINITY)}, "no finite integral"},
        {{.kind = LM_DISTRIBUTION_TABLE}, "empty"},
        {{.kind = LM_DISTRIBUTION_TABLE, .value = values, .n = 2}, "value 1"},
        {{.kind = LM_DISTRIBUTION_TABLE, .value = good, .weight = weights, .n = 2}, "weight 0"},
        {{.kind = LM_DISTRIBUTION_TABLE, .value = good, .weight = none, .n = 2}, "sum 0"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lm_error err = {0};
        if (lm_distribution_check(&bad[i].d, &err) != LM_EINPUT) FAIL("case %zu passes", i);
        CONTAINS(err.text, bad[i].says);
    }
}
