/* Chi-square and whiteness of residuals whose statistics are known. */
#include "operators/core/residuals.h"
#include "runtime/alloc.h"
#include "tests/test.h"

enum { H = 60, W = 50, N = H * W };

static uint64_t random_state = 11;
static double uniform(void)
{
    random_state = random_state * 6364136223846793005U + 1442695040888963407U;
    return ((double)(random_state >> 11) + 0.5) / 9007199254740992.0;
}
static double normal(void)
{
    return sqrt(-2 * log(uniform())) * cos(2 * M_PI * uniform());
}

typedef struct {
    double residual[N], variance[N];
    uint8_t usable[N];
} fields;

static fields *white(double sigma)
{
    fields *f = lm_alloc(1, sizeof *f);
    CHECK(f);
    for (size_t i = 0; i < N; i++) {
        f->residual[i] = sigma * normal();
        f->variance[i] = sigma * sigma;
        f->usable[i] = 1;
    }
    return f;
}

TEST(residuals_of_white_noise)
{
    /* 200 fields: Q follows chi-square with 12 degrees of freedom, p is uniform */
    double mean_q = 0, mean_p = 0, square_p = 0, mean_chi2 = 0;
    size_t low = 0;
    for (size_t k = 0; k < 200; k++) {
        fields *f = white(0.3);
        lm_residual_summary s;
        if (k % 2) /* holes make no difference */
            for (size_t i = 0; i < N; i++) f->usable[i] = i % 5 != 0;
        lm_residual_summarise(f->residual, f->variance, f->usable, H, W, &s);
        EQUAL_INT(s.used, k % 2 ? N - N / 5 : N);
        mean_q += s.whiteness / 200;
        mean_p += s.whiteness_p / 200;
        square_p += s.whiteness_p * s.whiteness_p / 200;
        mean_chi2 += s.chi2_reduced / 200;
        low += s.whiteness_p < 0.05;
        lm_free(f);
    }
    NEAR(mean_q, 1, ABS(0.1));                              /* sqrt(2/12/200) = 0.029 */
    NEAR(mean_p, 0.5, ABS(0.08));                           /* sqrt(1/12/200) = 0.020 */
    NEAR(square_p - mean_p * mean_p, 1 / 12.0, ABS(0.025)); /* the variance of a uniform number */
    CHECK(low >= 2 && low <= 22);                           /* 10 +- 3.1 */
    NEAR(mean_chi2, 1, ABS(0.01));                          /* sqrt(2/2700/200) = 0.002 */
}

TEST(residuals_with_structure_are_not_white)
{
    lm_residual_summary s, scaled;
    fields *f = white(1);
    for (size_t i = 0; i < N; i++) f->residual[i] += 0.7 * sin((double)(i % W) / 3);
    lm_residual_summarise(f->residual, f->variance, f->usable, H, W, &s);
    CHECK(s.whiteness > 20 && s.whiteness_p < 1e-10);
    NEAR(s.chi2_reduced, 1 + 0.7 * 0.7 / 2, ABS(0.1)); /* sqrt(2/3000) = 0.026, and more by the wave */
    for (size_t i = 0; i < N; i++) f->variance[i] = 100;
    lm_residual_summarise(f->residual, f->variance, f->usable, H, W, &scaled);
    NEAR(scaled.whiteness, s.whiteness, REL(1e-12)); /* rounding */
    NEAR(scaled.chi2, s.chi2 / 100, REL(1e-12));
    lm_free(f);
}

TEST(residuals_by_hand)
{
    /* 1 x 3 pixels 1, 2, 6 about their mean 3: r_1 = (2 - 3)/14, r_2 = -6/14; Q = 9/2 r_1^2 + 9/1 r_2^2, 2 lags */
    const double residual[3] = {1, 2, 6}, variance[3] = {1, 4, 9};
    const uint8_t usable[3] = {1, 1, 1};
    lm_residual_summary s;
    lm_residual_summarise(residual, NULL, usable, 1, 3, &s);
    NEAR(s.mean, 3, REL(1e-15));
    CHECK(isnan(s.chi2) && isnan(s.chi2_reduced));
    double q = 4.5 / 196 + 9 * 36.0 / 196;
    NEAR(s.whiteness, q / 2, REL(1e-14));         /* rounding */
    NEAR(s.whiteness_p, exp(-q / 2), REL(1e-13)); /* chi-square with 2 degrees of freedom */
    lm_residual_summarise(residual, variance, usable, 1, 3, &s);
    NEAR(s.chi2, 1 + 1 + 4, REL(1e-15));
    NEAR(s.chi2_reduced, 2, REL(1e-15));
}

TEST(residuals_without_information)
{
    const double zeros[4] = {0, 0, 0, 0}, threes[4] = {3, 3, 3, 3}, ones[4] = {1, 1, 1, 1};
    const uint8_t all[4] = {1, 1, 1, 1}, none[4] = {0, 0, 0, 0};
    lm_residual_summary s;
    lm_residual_summarise(zeros, ones, all, 2, 2, &s);
    CHECK(s.chi2_reduced == 0 && isnan(s.whiteness));
    lm_residual_summarise(threes, ones, all, 2, 2, &s);
    CHECK(s.chi2_reduced == 9 && isnan(s.whiteness) && isnan(s.whiteness_p));
    lm_residual_summarise(threes, ones, none, 2, 2, &s);
    CHECK(s.used == 0 && isnan(s.chi2_reduced) && isnan(s.mean));
}
