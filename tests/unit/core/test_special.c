/* Tails of chi-square and of Kolmogorov-Smirnov, against independent evaluations and against each other. */
#include "tests/test.h"

#include "operators/core/special.h"
#include "runtime/random.h"

/* mpmath, 60 digits: log of gammainc(dof/2, chi2/2, inf, regularized=True) */
static const struct {
    double chi2, dof, log_q;
} tails[] = {
    {1e-08, 1, -0.0000797916392154834985},
    {0.1, 1, -0.285245531169676851},
    {3.84, 1, -2.99486222718002728},
    {0.001, 2, -0.00050000000000000001},
    {61.0487144908036, 49, -2.15500080784433351},
    {99.0, 99, -0.73168654807270467},
    {142.6, 99, -5.90622411789033491},
    {577.0, 99, -156.196348359568628},
    {100000.0, 99, -49617.8570655759297},
    {10000000.0, 99, -4999394.50727230678},
    {20.0, 99, -4.16758081828653775e-19},
    {1.0, 99, -1.79342967948800802e-79},
    {900.0, 999, -0.0114440469375325411},
    {9500.0, 10000, -0.000164399677245246859},
    {10500.0, 10000, -8.30229406017173561},
    {30000.0, 10000, -4512.80940559436378},
};
enum { TAILS = sizeof tails / sizeof *tails };

TEST(chi2_tail_meets_mpmath)
{
    for (size_t i = 0; i < TAILS; i++) {
        double got = lm_log_chi2_tail(tails[i].chi2, tails[i].dof);
        /* x^a e^-x / Gamma(a) is the difference of numbers of the size of a log a, which limits it */
        double a = tails[i].dof / 2, scale = fmax(tails[i].chi2 / 2, a * log(a + 2));
        double tolerance = fmin(fabs(tails[i].log_q), 1) * 4e-16 * (scale + 100);
        if (!(fabs(got - tails[i].log_q) <= tolerance))
            FAIL("chi2 %g, dof %g: %.17g, not %.17g", tails[i].chi2, tails[i].dof, got, tails[i].log_q);
    }
    CHECK(lm_log_chi2_tail(0, 5) == 0);
    CHECK(isinf(lm_log_chi2_tail(INFINITY, 5)));
    CHECK(isnan(lm_log_chi2_tail(-1, 5)));
    CHECK(isnan(lm_log_chi2_tail(NAN, 5)));
    CHECK(isnan(lm_log_chi2_tail(1, 0)));
}

/* With two degrees of freedom the law is exponential: log Q = -chi2/2, exactly, also where exp() underflows. */
TEST(chi2_tail_of_two_degrees_is_exponential)
{
    for (double x = 1e-6; x < 1e8; x *= 3) NEAR(lm_log_chi2_tail(x, 2), -x / 2, REL(1e-14));
}

TEST(chi2_inverse)
{
    for (size_t i = 0; i < TAILS; i++) {
        double back = lm_chi2_from_log_tail(tails[i].log_q, tails[i].dof);
        NEAR(back, tails[i].chi2, REL(1e-12)); /* the tail's own error, divided by its slope */
    }
    CHECK(lm_chi2_from_log_tail(0, 99) == 0);
    CHECK(isinf(lm_chi2_from_log_tail(-INFINITY, 99)));
    CHECK(isnan(lm_chi2_from_log_tail(0.1, 99)));
    CHECK(isfinite(lm_chi2_from_log_tail(-1e6, 99))); /* p = 10^-434294 */
    double before = 0;                                /* rises as the chance falls */
    for (double log_p = -1e-300; log_p > -1e7; log_p *= 10) {
        double x = lm_chi2_from_log_tail(log_p, 7);
        CHECK(x > before);
        NEAR(lm_log_chi2_tail(x, 7), log_p, REL(1e-12));
        before = x;
    }
}

/* scipy 1.x, kolmogn by Durbin's matrix (n <= 500) and for n = 1, 2 closed forms */
TEST(ks_tail_small_n)
{
    static const struct {
        size_t n;
        double d, p;
    } cases[] = {
        {1, 0.7, 0.6},
        {2, 0.4, 0.82},
        {5, 0.35, 0.46975},
        {10, 0.2, 0.74871904},
        {20, 0.274, 0.08100099656430149},
        {100, 0.06, 0.8428847956274117},
        {100, 0.161, 0.009875178945519454},
        {140, 0.07, 0.47762282879465895},
        {300, 0.093, 0.010414501966128408},
        {500, 0.04, 0.3902510163264031},
        {500, 0.02, 0.9859871785432572},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        NEAR(lm_ks_tail(cases[i].d, cases[i].n), cases[i].p, ABS(2e-12)); /* n d^2 >= 4: within e^-24 of exact */
    CHECK(lm_ks_tail(1, 10) == 0);
    CHECK(lm_ks_tail(0.05, 10) == 1);
    CHECK(isnan(lm_ks_tail(NAN, 10)));
}

TEST(ks_tail_large_n)
{
    NEAR(lm_ks_tail(0.051, 1000), 0.01062303873366814, ABS(1e-8));
    NEAR(lm_ks_tail(0.03, 1000), 0.3226902143914636, ABS(1e-7));
    NEAR(lm_ks_tail(0.0163, 10000), 0.009738034669724812, ABS(1e-8));
    NEAR(lm_ks_tail(0.004, 100000), 0.08130148920222469, ABS(1e-7));
    NEAR(lm_ks_tail(0.2, 1000), 1.5528629204250538e-35, REL(1e-9)); /* lgamma(1000), twice */
}

/* Where one method takes over from another, the two must agree. */
TEST(ks_tail_is_continuous)
{
    static const size_t n[] = {30, 200, 500, 501, 2000};
    for (size_t i = 0; i < sizeof n / sizeof *n; i++) {
        double before = 1;
        for (double z = 0.3; z < 2.6; z += 0.002) {
            double p = lm_ks_tail(z / sqrt((double)n[i]), n[i]);
            CHECK(p <= before + 1e-6);
            CHECK(before - p < 5e-3); /* the density is below 1.7 */
            before = p;
        }
    }
    for (double z = 0.4; z < 1.9; z += 0.05) { /* matrix at 500, series at 501 */
        double exact = lm_ks_tail(z / sqrt(500.0), 500), series = lm_ks_tail(z / sqrt(501.0), 501);
        NEAR(series, exact, ABS(1e-4)); /* the law itself moves by 5e-5 between 500 and 501 */
    }
}

TEST(ks_statistic)
{
    double u[] = {0.9, 0.1, 0.35, 0.6};
    NEAR(lm_ks_uniform(u, 4), 0.15, ABS(1e-15)); /* at 0.35 and 0.9: 0.5 - 0.35, 0.9 - 0.75 */
    double one[] = {0.3};
    NEAR(lm_ks_uniform(one, 1), 0.7, ABS(1e-15));
    double bad[] = {0.3, NAN};
    CHECK(isnan(lm_ks_uniform(bad, 2)));
    CHECK(isnan(lm_ks_uniform(one, 0)));
}

/* p values of uniform numbers are uniform: half of 400 below 1/2, and a tenth below 0.1. */
TEST(ks_p_is_uniform_under_the_null)
{
    enum { TRIALS = 400, N = 150 };
    lm_digest key = lm_digest_of("ks", 2);
    double p[TRIALS];
    for (uint64_t t = 0; t < TRIALS; t++) {
        lm_random random = lm_random_stream(&key, t);
        double u[N];
        for (size_t i = 0; i < N; i++) u[i] = lm_random_uniform(&random);
        p[t] = lm_ks_tail(lm_ks_uniform(u, N), N);
    }
    CHECK(lm_ks_tail(lm_ks_uniform(p, TRIALS), TRIALS) > 1e-4); /* fixed seed: fails never, or always */
}
