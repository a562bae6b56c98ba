/* TARP's counts and curves, against plain loops. */
#include "tests/test.h"

#include "operators/core/tarp.h"
#include "runtime/random.h"

static uint64_t below(void *random, uint64_t n)
{
    return lm_random_below(random, n);
}

TEST(tarp_count_equals_a_plain_loop)
{
    static const size_t dims_of[] = {1, 2, 3, 7, 10, 33, 1500};
    for (size_t c = 0; c < 7 * 4; c++) {
        size_t d = dims_of[c / 4], m = 1000 / d + 3;
        bool normalise = c & 1, manhattan = c & 2;
        lm_digest key = lm_digest_of(&c, sizeof c);
        lm_random random = lm_random_stream(&key, 0);
        double *draws = lm_alloc(m + 2, d * sizeof *draws), *truth = lm_alloc(4, d * sizeof *truth);
        CHECK(draws && truth);
        for (size_t i = 0; i < m * d; i++) draws[i] = 100 + 3 * lm_random_normal(&random);
        for (size_t i = 0; i < 4 * d; i++) truth[i] = 100 + 3 * lm_random_normal(&random);
        double *reference = truth + 3 * d;
        lm_tarp_space space;
        lm_error err = {0};
        OK(lm_tarp_space_init(&space, truth, 3, d, normalise, manhattan ? LM_TARP_MANHATTAN : LM_TARP_EUCLIDEAN, &err),
           &err);
        memcpy(draws + m * d, truth + d, d * sizeof *draws); /* one draw is the truth itself, and one the reference */
        memcpy(draws + (m + 1) * d, reference, d * sizeof *draws);
        lm_tarp_rank rank = lm_tarp_count(&space, draws, m + 2, truth + d, reference);
        size_t closer = 0;
        long double far = 0;
        for (size_t k = 0; k < d; k++) {
            long double low = fmin(truth[k], fmin(truth[d + k], truth[2 * d + k]));
            long double high = fmax(truth[k], fmax(truth[d + k], truth[2 * d + k]));
            CHECK(space.low[k] == (double)low && space.high[k] == (double)high);
            NEAR(space.width[k], normalise ? (double)(high - low) + 1e-10 : 1, REL(1e-15));
        }
        for (size_t i = 0; i <= m + 2; i++) { /* the truth first */
            const double *x = i == 0 ? truth + d : draws + (i - 1) * d;
            long double sum = 0;
            for (size_t k = 0; k < d; k++) {
                long double e = ((long double)x[k] - (long double)reference[k]) / (long double)space.width[k];
                sum += manhattan ? fabsl(e) : e * e;
            }
            if (i == 0) far = sum;
            else closer += sum < far;
        }
        EQUAL_INT(rank.closer, closer);
        EQUAL_INT(rank.equal, 1);
        CHECK(rank.finite);
        draws[5 % (m * d)] = NAN;
        CHECK(!lm_tarp_count(&space, draws, m + 2, truth + d, reference).finite);
        lm_tarp_space_done(&space);
        lm_free(draws);
        lm_free(truth);
    }
}

/* A parameter that is the same in every simulation has no range: 1e-10 stands for it, as in the reference package. */
TEST(tarp_space_of_a_constant)
{
    lm_tarp_space space;
    lm_error err = {0};
    OK(lm_tarp_space_init(&space, (double[]){1, 5, 2, 5}, 2, 2, true, LM_TARP_EUCLIDEAN, &err), &err);
    CHECK(space.width[0] == 1 + 1e-10 && space.width[1] == 1e-10);
    lm_tarp_rank rank = lm_tarp_count(&space, (double[]){1.5, 5, 1.2, 5}, 2, (double[]){1, 5}, (double[]){1.6, 5});
    CHECK(rank.finite && rank.closer == 2);
    lm_tarp_space_done(&space);
}

/* Edges are those of numpy.linspace: 3 * 0.05 is above 0.15, so that 0.15 lies in the bin below it; 1 lies in the last. */
TEST(tarp_curve_edges)
{
    double alpha[21], ecp[21];
    lm_tarp_curve((double[]){0, 0.15, 0.5, 1}, 4, 20, alpha, ecp);
    CHECK(alpha[0] == 0 && alpha[3] == 3 * 0.05 && alpha[20] == 1);
    CHECK(ecp[0] == 0 && ecp[1] == 0.25);
    CHECK(ecp[2] == 0.25 && ecp[3] == 0.5);   /* 15/100 < 3 * 0.05 in doubles */
    CHECK(ecp[10] == 0.5 && ecp[11] == 0.75); /* 0.5 is not below 0.5 */
    CHECK(ecp[19] == 0.75 && ecp[20] == 1);
    for (size_t bins = 1; bins < 40; bins++) { /* by definition, for every fraction of 60 */
        double f[61], a[41], e[41];
        for (size_t i = 0; i <= 60; i++) f[i] = (double)i / 60;
        lm_tarp_curve(f, 61, bins, a, e);
        for (size_t k = 0; k < bins; k++) {
            size_t below = 0;
            for (size_t i = 0; i <= 60; i++) below += f[i] < a[k];
            NEAR(e[k], (double)below / 61, ABS(1e-15));
        }
        CHECK(e[bins] == 1);
    }
}

TEST(tarp_atc_of_known_curves)
{
    double alpha[101], ecp[101];
    for (size_t k = 0; k <= 100; k++) {
        alpha[k] = (double)k / 100;
        ecp[k] = alpha[k] * alpha[k];
    }
    /* integral of a^2 - a from 1/2 to 1: 7/24 - 3/8 = -1/12, by a sum of right ends: off by (f(1) - f(1/2))/200 */
    NEAR(lm_tarp_atc(alpha, ecp, 100), -1.0 / 12 + 0.25 / 200, ABS(1e-5));
}

TEST(tarp_bootstrap_of_equal_fractions)
{
    double f[] = {0.3, 0.3, 0.3}, sd[5], low[5], high[5];
    lm_digest key = lm_digest_of("b", 1);
    lm_random random = lm_random_stream(&key, 0);
    lm_error err = {0};
    OK(lm_tarp_bootstrap(f, 3, 4, 50, 0.9, below, &random, sd, low, high, &err), &err);
    static const double want[] = {0, 0, 1, 1, 1};
    for (size_t k = 0; k < 5; k++) CHECK(sd[k] == 0 && low[k] == want[k] && high[k] == want[k]);
}
