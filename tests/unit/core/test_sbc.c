/* Ranks among draws against plain counting, and tests of uniformity against exact values and against what uniform numbers do. */
#include "operators/core/sbc.h"

#include "operators/core/special.h"
#include "runtime/random.h"
#include "tests/test.h"

#include <float.h>

/* ---- one simulation ------------------------------------------------------------------------------------------------- */

TEST(sbc_count_equals_a_plain_loop)
{
    enum { M = 41, D = 3 };
    lm_digest key = lm_digest_of("count", 5);
    lm_random random = lm_random_stream(&key, 0);
    double draws[M * D], truth[D] = {0.5, 100, -3};
    for (size_t i = 0; i < M; i++) {
        draws[i * D] = lm_random_normal(&random);
        draws[i * D + 1] = 100 + 1e-9 * lm_random_normal(&random);  /* narrow and far from 0 */
        draws[i * D + 2] = (double)lm_random_below(&random, 5) - 5; /* on a grid */
    }
    lm_sbc_tally tally[D];
    CHECK(lm_sbc_count(draws, M, D, truth, tally));
    for (size_t k = 0; k < D; k++) {
        size_t below = 0, equal = 0;
        long double sum = 0, square = 0;
        for (size_t i = 0; i < M; i++) {
            below += draws[i * D + k] < truth[k];
            equal += draws[i * D + k] == truth[k];
            sum += (long double)draws[i * D + k] - (long double)truth[k];
        }
        for (size_t i = 0; i < M; i++) {
            long double e = (long double)draws[i * D + k] - (long double)truth[k] - sum / M;
            square += e * e;
        }
        EQUAL_INT(tally[k].below, below);
        EQUAL_INT(tally[k].equal, equal);
        NEAR(tally[k].offset, (double)(sum / M), REL(1e-13)); /* 41 roundings */
        NEAR(tally[k].variance, (double)(square / (M - 1)), REL(1e-13));
        NEAR(lm_sbc_z(&tally[k]), (double)(-sum / M / sqrtl(square / (M - 1))), REL(1e-13));
    }
    EQUAL_INT(tally[2].equal > 0, 1);
}

TEST(sbc_count_refuses_what_is_not_finite)
{
    lm_sbc_tally tally[2];
    for (int bad = 0; bad < 3; bad++) {
        double value = bad == 0 ? (double)NAN : bad == 1 ? (double)INFINITY : -(double)INFINITY;
        CHECK(!lm_sbc_count((double[]){1, 2, 3, value}, 2, 2, (double[]){0, 0}, tally));
        CHECK(!lm_sbc_count((double[]){1, 2, 3, 4}, 2, 2, (double[]){0, value}, tally));
    }
    /* no spread, or too much of it: the rank stands, z is unknown */
    CHECK(lm_sbc_count((double[]){2, 2, 2}, 3, 1, (double[]){1}, tally));
    EQUAL_INT(tally->below, 0);
    CHECK(tally->variance == 0 && isnan(lm_sbc_z(tally)));
    CHECK(lm_sbc_count((double[]){1}, 1, 1, (double[]){2}, tally));
    EQUAL_INT(tally->below, 1);
    CHECK(isnan(tally->variance) && isnan(lm_sbc_z(tally)));
    CHECK(lm_sbc_count((double[]){DBL_MAX, -DBL_MAX}, 2, 1, (double[]){DBL_MAX}, tally));
    EQUAL_INT(tally->below, 1);
    EQUAL_INT(tally->equal, 1);
    CHECK(isnan(lm_sbc_z(tally)));
}

TEST(sbc_rank_is_in_its_step)
{
    for (size_t below = 0; below <= 4; below++)
        for (size_t equal = 0; below + equal <= 4; equal++) {
            lm_sbc_tally tally = {.below = below, .equal = equal};
            NEAR(lm_sbc_rank(&tally, 4, 0), (double)below / 5, ABS(1e-16));
            NEAR(lm_sbc_rank(&tally, 4, 0.5), ((double)below + 0.5 * (double)(equal + 1)) / 5, ABS(1e-15));
        }
    lm_sbc_tally top = {.below = 1000000};
    CHECK(lm_sbc_rank(&top, 1000000, 1 - 0x1p-53) < 1);
}

/* ---- bins, and the smallest of many --------------------------------------------------------------------------------- */

TEST(sbc_histogram_counts_all)
{
    double counts[4];
    const double u[] = {0, 0.2499, 0.25, 0.5, 0.74, 0.75, 0.99, 1 - 0x1p-53};
    double p = lm_sbc_histogram(u, 8, 4, counts);
    const double expected[] = {2, 1, 2, 3};
    NEAR_ARRAY(counts, expected, 4, ABS(0));
    /* chi2 = (0 + 1 + 0 + 1)/2 = 1 with three degrees of freedom: erfc(sqrt(1/2)) + sqrt(2/pi) e^(-1/2) */
    NEAR(p, erfc(sqrt(0.5)) + sqrt(2 / 3.14159265358979323846) * exp(-0.5), REL(1e-12));
    CHECK(lm_sbc_histogram(u, 8, 1, counts) == 1 && counts[0] == 8);
    CHECK(isnan(lm_sbc_histogram(u, 0, 4, counts)) && counts[0] == 0);
}

TEST(smallest_p_of_many)
{
    NEAR(lm_p_of_smallest(0.3, 1), 0.3, REL(1e-15));
    NEAR(lm_p_of_smallest(0.5, 3), 0.875, REL(1e-15));
    NEAR(lm_p_of_smallest(1e-30, 7), 7e-30, REL(1e-14)); /* no cancellation */
    CHECK(lm_p_of_smallest(0, 5) == 0 && lm_p_of_smallest(1, 5) == 1);
    CHECK(isnan(lm_p_of_smallest(NAN, 2)) && isnan(lm_p_of_smallest(-0.1, 2)));
}

/* ---- the binomial law ----------------------------------------------------------------------------------------------- */

TEST(binomial_below_equals_the_sum)
{
    static const size_t sizes[] = {1, 2, 10, 33};
    static const double chances[] = {0.01, 0.3, 0.5, 0.97};
    for (size_t s = 0; s < 4; s++)
        for (size_t c = 0; c < 4; c++) {
            size_t n = sizes[s];
            long double p = (long double)chances[c], sum = 0;
            for (size_t k = 0; k <= n; k++) {
                long double term = 1;
                for (size_t i = 1; i <= k; i++) term *= (long double)(n - k + i) / (long double)i * p;
                for (size_t i = k; i < n; i++) term *= 1 - p;
                sum += term;
                NEAR(lm_binomial_below(k, n, chances[c]), (double)sum,
                     REL(1e-12)); /* of e^x, |x| < 200: 200 * 1e-16 * 30 */
            }
        }
    CHECK(lm_binomial_below(5, 3, 0.2) == 1);
    CHECK(isnan(lm_binomial_below(1, 3, 0)) && isnan(lm_binomial_below(1, 3, NAN)));
    /* far tails keep their digits: P(X <= 0) = q^n, P(X <= 1) = q^n + n p q^(n-1) */
    NEAR(lm_binomial_below(0, 1000, 0.3), pow(0.7, 1000), REL(1e-11));
    NEAR(lm_binomial_below(1, 1000, 0.3), pow(0.7, 1000) + 300 * pow(0.7, 999), REL(1e-11));
    NEAR(lm_binomial_below(500000, 1000001, 0.5), 0.5, REL(1e-9)); /* its median, by symmetry */
}

TEST(binomial_low_is_the_quantile)
{
    for (size_t n = 0; n < 40; n += 3)
        for (double tail = 0; tail < 0.6; tail += 0.021) {
            size_t low = lm_binomial_low(n, 0.3, tail);
            CHECK(low <= n && (low == n || lm_binomial_below(low, n, 0.3) > tail));
            CHECK(low == 0 || !(lm_binomial_below(low - 1, n, 0.3) > tail));
        }
    /* the tolerances of 20 bins and 1000 simulations at 99 %: each bin alone, and all of them (Talts et al. 2018 plot the first) */
    EQUAL_INT(lm_binomial_low(1000, 0.05, 0.005), 33);
    EQUAL_INT(1000 - lm_binomial_low(1000, 0.95, 0.005), 69);
    EQUAL_INT(lm_binomial_low(1000, 0.05, 0.005 / 20), 28);
    EQUAL_INT(1000 - lm_binomial_low(1000, 0.95, 0.005 / 20), 76);
}

/* ---- the band ------------------------------------------------------------------------------------------------------- */

/* Values of an independent program: binomial increments (as the paper has them, no Poisson numbers), tails by plain sums. */
TEST(ecdf_band_meets_an_independent_program)
{
    static const struct {
        size_t n, points;
        double level, covered, low[4], high[4]; /* at 1, K/4, K/2, K - 1 */
    } cases[] = {{10, 10, 0.95, 0.9603562427999994, {0, 0, 1, 6}, {4, 5, 9, 10}},
                 {50, 20, 0.95, 0.9518248098896955, {0, 5, 16, 43}, {7, 21, 34, 50}},
                 {100, 100, 0.95, 0.9505329848224848, {0, 13, 36, 95}, {5, 38, 64, 100}},
                 {200, 50, 0.99, 0.9900902609480984, {0, 29, 76, 188}, {12, 69, 124, 200}},
                 {7, 3, 0.9, 0.909465020576132, {0, 0, 0, 3}, {4, 0, 4, 7}}};
    for (size_t c = 0; c < 5; c++) {
        double low[128], high[128], covered;
        lm_error err = {0};
        size_t K = cases[c].points, at[] = {1, K / 4, K / 2, K - 1};
        OK(lm_ecdf_band(cases[c].n, K, cases[c].level, low, high, &covered, &err), &err);
        NEAR(covered, cases[c].covered, ABS(1e-11)); /* both sum thousands of positive terms */
        for (size_t i = 0; i < 4; i++) {
            CHECK(low[at[i]] == cases[c].low[i]);
            CHECK(high[at[i]] == cases[c].high[i]);
        }
        CHECK(low[0] == 0 && high[0] == 0);
        CHECK(low[K] == (double)cases[c].n && high[K] == (double)cases[c].n);
    }
}

static void uniform_numbers(const lm_digest *key, uint64_t stream, double *u, size_t n)
{
    lm_random random = lm_random_stream(key, stream);
    for (size_t i = 0; i < n; i++) u[i] = lm_random_uniform(&random);
}

/* The promise itself: of 20,000 sets of uniform numbers, as many stay inside as `covered` says. */
TEST(ecdf_band_holds_uniform_numbers)
{
    enum { N = 60, K = 30, TRIES = 20000 };
    double low[K + 1], high[K + 1], covered, u[N], counts[K + 1];
    lm_error err = {0};
    OK(lm_ecdf_band(N, K, 0.9, low, high, &covered, &err), &err);
    CHECK(covered >= 0.9 && covered < 0.91);
    lm_digest key = lm_digest_of("band", 4);
    size_t inside = 0;
    for (uint64_t t = 0; t < TRIES; t++) {
        uniform_numbers(&key, t, u, N);
        lm_ecdf_counts(u, N, K, counts);
        bool in = true;
        for (size_t k = 0; k <= K; k++) in = in && counts[k] >= low[k] && counts[k] <= high[k];
        inside += in;
    }
    NEAR((double)inside / TRIES, covered, ABS(4 * 0.3 / sqrt(TRIES))); /* four standard deviations */
}

TEST(ecdf_band_of_few_and_of_many)
{
    double low[101], high[101], covered;
    lm_error err = {0};
    OK(lm_ecdf_band(1, 4, 0.95, low, high, &covered, &err), &err);
    for (size_t k = 1; k < 4; k++) CHECK(low[k] == 0 && high[k] == 1);
    NEAR(covered, 1, ABS(1e-12));
    OK(lm_ecdf_band(0, 4, 0.95, low, high, &covered, &err), &err);
    CHECK(high[4] == 0);
    OK(lm_ecdf_band(5, 1, 0.95, low, high, &covered, &err), &err);
    CHECK(low[0] == 0 && low[1] == 5 && high[1] == 5);
    NEAR(covered, 1, ABS(1e-12));
    /* many: between the pointwise interval (1.96 sd) and that of Bonferroni (3.48 sd), and symmetric */
    OK(lm_ecdf_band(20000, 100, 0.95, low, high, &covered, &err), &err);
    NEAR(covered, 0.95, ABS(1e-3));
    CHECK(covered >= 0.95);
    for (size_t k = 1; k < 100; k++) {
        double sd = sqrt(20000 * (double)k / 100 * (1 - (double)k / 100)), wide = (high[k] - low[k]) / 2 / sd;
        CHECK(wide > 2.5 && wide < 3.4);
        CHECK(low[k] + high[100 - k] == 20000);
    }
    /* too many to be exact: the level is that of 2^17 */
    OK(lm_ecdf_band(300000, 10, 0.95, low, high, &covered, &err), &err);
    CHECK(isnan(covered));
    double sd = sqrt(300000 * 0.25), wide = (high[5] - low[5]) / 2 / sd;
    CHECK(wide > 2.2 && wide < 2.8);
}

TEST(ecdf_counts_are_strict)
{
    double counts[11], plain[11];
    const double u[] = {0, 0.1, 0.1 * 3, 0.3, 0.7, 0.7 - 1e-16, 1 - 0x1p-53, 0.5};
    lm_ecdf_counts(u, 8, 10, counts);
    for (size_t k = 0; k <= 10; k++) {
        plain[k] = 0;
        for (size_t i = 0; i < 8; i++) plain[k] += u[i] < (double)k / 10;
    }
    NEAR_ARRAY(counts, plain, 11, ABS(0));
}

TEST(ecdf_p_meets_an_independent_program)
{
    double p;
    lm_error err = {0};
    OK(lm_ecdf_p((double[]){0, 1, 6, 13, 18, 20}, 20, 5, &p, &err), &err);
    NEAR(p, 0.29075554345126076, REL(1e-10));
    OK(lm_ecdf_p((double[]){0, 9, 12, 15, 17, 20}, 20, 5, &p, &err), &err);
    NEAR(p, 0.034877500295938946, REL(1e-10));
    OK(lm_ecdf_p((double[]){0, 0, 1, 4, 10, 19, 28, 37, 40}, 40, 8, &p, &err), &err);
    NEAR(p, 0.0005889687407988342, REL(1e-10));
    /* all in the first tenth, of a chance of 0.1^100: an upper bound of ten times two tails, and no zero */
    double counts[11] = {0};
    for (size_t k = 1; k <= 10; k++) counts[k] = 100;
    OK(lm_ecdf_p(counts, 100, 10, &p, &err), &err);
    NEAR(p, 2e-100 * 10, REL(1e-6));
    OK(lm_ecdf_p(counts, 0, 10, &p, &err), &err);
    CHECK(p == 1);
}

/* Not below its level more often than it says; and about as often, as far as whole numbers go. */
TEST(ecdf_p_is_uniform)
{
    enum { N = 100, K = 100, TRIES = 1000 };
    double u[N], counts[K + 1], p[TRIES];
    lm_error err = {0};
    lm_digest key = lm_digest_of("p", 1);
    for (uint64_t t = 0; t < TRIES; t++) {
        uniform_numbers(&key, t, u, N);
        lm_ecdf_counts(u, N, K, counts);
        OK(lm_ecdf_p(counts, N, K, &p[t], &err), &err);
    }
    static const double levels[] = {0.01, 0.05, 0.2, 0.5, 0.8};
    for (size_t l = 0; l < 5; l++) {
        double below = 0, a = levels[l];
        for (size_t t = 0; t < TRIES; t++) below += p[t] <= a;
        NEAR(below / TRIES, a, ABS(4 * sqrt(a * (1 - a) / TRIES) + 0.01 * a)); /* four sd, and steps of a per cent */
    }
}
