/* Samplers against densities whose moments are known, and convergence against ArviZ, emcee and the theory of AR(1). */
#include "tests/test.h"

#include "operators/core/sampling.h"
#include "operators/core/special.h"
#include "runtime/alloc.h"
#include "runtime/random.h"

#include <float.h>

static double uniform(void *random)
{
    return lm_random_uniform(random);
}
static double normal(void *random)
{
    return lm_random_normal(random);
}
static uint64_t below(void *random, uint64_t n)
{
    return lm_random_below(random, n);
}

/* The numbers of step k of a chain. */
typedef struct luck {
    lm_digest key;
    lm_random random;
    lm_draw draw;
} luck;

static void luck_init(luck *l, const char *name)
{
    l->key = lm_digest_of(name, strlen(name));
    l->draw = (lm_draw){uniform, normal, below, &l->random};
}

static const lm_draw *luck_of(luck *l, size_t step)
{
    l->random = lm_random_stream(&l->key, step);
    return &l->draw;
}

/* ---- densities ---- */

/* x_i = s_i y_i + i, y an AR(1) series of unit variance: cov(y_i, y_j) = r^|i - j|, widths s_i from 0.01 to 100 */
typedef struct gauss {
    size_t dim;
    double r;
} gauss;

static double width_of(const gauss *g, size_t i)
{
    return pow(10, 4 * (double)i / (double)(g->dim - 1) - 2);
}

static double gauss_density(void *arg, const double *x, double *slope)
{
    const gauss *g = arg;
    double sum = 0, before = 0, tight = 1 / (1 - g->r * g->r);
    if (slope) memset(slope, 0, g->dim * sizeof *slope);
    for (size_t i = 0; i < g->dim; i++) {
        double y = (x[i] - (double)i) / width_of(g, i), e = i == 0 ? y : y - g->r * before;
        double w = i == 0 ? 1 : tight;
        sum += w * e * e;
        if (slope) {
            slope[i] -= w * e / width_of(g, i);
            if (i > 0) slope[i - 1] += w * e * g->r / width_of(g, i - 1);
        }
        before = y;
    }
    return -sum / 2;
}

/* x ~ N(0, 1), y ~ N(x^2, 1/2^2) */
static double banana(void *arg, const double *x, double *slope)
{
    (void)arg;
    double e = x[1] - x[0] * x[0];
    if (slope) {
        slope[0] = -x[0] + 8 * e * x[0];
        slope[1] = -4 * e;
    }
    return -x[0] * x[0] / 2 - 2 * e * e;
}

/* v ~ N(0, 1), five x ~ N(0, e^v) */
static double funnel(void *arg, const double *x, double *slope)
{
    (void)arg;
    double v = x[0], sum = 0, e = exp(-v);
    for (size_t i = 1; i < 6; i++) sum += x[i] * x[i];
    if (slope) {
        slope[0] = -v - 2.5 + sum * e / 2;
        for (size_t i = 1; i < 6; i++) slope[i] = -x[i] * e;
    }
    return -v * v / 2 - 2.5 * v - sum * e / 2;
}

/* e^-x for x > 0, and y uniform from 0 to 1; the slopes beyond are no numbers */
static double walls(void *arg, const double *x, double *slope)
{
    (void)arg;
    bool in = x[0] > 0 && x[1] > 0 && x[1] < 1;
    if (slope) {
        slope[0] = in ? -1 : (double)NAN;
        slope[1] = in ? 0 : (double)NAN;
    }
    return in ? -x[0] : -(double)INFINITY;
}

/* The mean of q against what it should be, by its Monte-Carlo error: sd / sqrt(ESS). */
static void check_mean(const char *what, const double *q, size_t chains, size_t n, double want)
{
    lm_error err = {0};
    double mean = 0, variance = 0, ess = lm_ess_bulk(q, chains, n, &err), rhat = lm_rhat(q, chains, n, &err);
    for (size_t i = 0; i < chains * n; i++) mean += q[i] / (double)(chains * n);
    for (size_t i = 0; i < chains * n; i++) variance += (q[i] - mean) * (q[i] - mean) / (double)(chains * n);
    double error = sqrt(variance / ess);
    if (!(rhat < 1.02 && ess > 300)) FAIL("%s: R-hat %g, %g effective draws", what, rhat, ess);
    /* fixed seeds; 4.5: chance 7e-6 for each of about a hundred checks */
    if (!(fabs(mean - want) < 4.5 * error)) FAIL("%s: mean %g +- %g, not %g", what, mean, error, want);
}

/* ---- ensemble ---- */

/* kept [walkers][steps] of each coordinate: q[i] points to coordinate i */
static double *run_ensemble(const lm_target *target, const char *name, size_t walkers, size_t burn, size_t steps,
                            size_t thin, const double *start)
{
    size_t dim = target->dim;
    lm_ensemble *state = lm_alloc_raw(lm_ensemble_size(walkers, dim));
    double *kept = lm_alloc(dim * walkers * steps, sizeof *kept);
    CHECK(state && kept);
    lm_error err;
    luck l;
    luck_init(&l, name);
    OK(lm_ensemble_start(state, target, walkers, start, &err), &err);
    for (size_t s = 0; s < burn + steps * thin; s++) {
        lm_ensemble_step(state, target, luck_of(&l, s));
        if (s < burn || (s - burn) % thin) continue;
        for (size_t k = 0; k < walkers; k++)
            for (size_t i = 0; i < dim; i++)
                kept[(i * walkers + k) * steps + (s - burn) / thin] = lm_ensemble_x(state, k)[i];
    }
    EQUAL_INT(state->steps, burn + steps * thin);
    double rate = (double)state->accepted / (double)(walkers * state->steps);
    CHECK(rate > 0.2 && rate < 0.9);
    lm_free(state);
    return kept;
}

TEST(ensemble_finds_a_gaussian)
{
    enum { DIM = 4, WALKERS = 40, STEPS = 1500 };
    gauss g = {DIM, 0.6};
    lm_target target = {DIM, gauss_density, &g};
    double start[WALKERS * DIM];
    luck l;
    luck_init(&l, "starts");
    (void)luck_of(&l, 0);
    for (size_t k = 0; k < WALKERS * DIM; k++) /* everywhere but in the right place */
        start[k] = (double)(k % DIM) + width_of(&g, k % DIM) * (3 + lm_draw_normal(&l.draw));
    double *q = run_ensemble(&target, "gauss", WALKERS, 800, STEPS, 5, start);
    static double product[WALKERS * STEPS];
    for (size_t i = 0; i < DIM; i++) {
        /* walkers are one chain each for R-hat: many and short, so that the longest pieces are those of the ensemble as a whole */
        check_mean("mean", q + i * WALKERS * STEPS, WALKERS, STEPS, (double)i);
        for (size_t j = 0; j <= i; j++) {
            for (size_t k = 0; k < WALKERS * STEPS; k++)
                product[k] = (q[i * WALKERS * STEPS + k] - (double)i) / width_of(&g, i) *
                             (q[j * WALKERS * STEPS + k] - (double)j) / width_of(&g, j);
            check_mean("covariance", product, WALKERS, STEPS, pow(g.r, (double)(i - j)));
        }
    }
    lm_free(q);
}

TEST(ensemble_keeps_within_walls)
{
    enum { WALKERS = 20, STEPS = 2000 };
    lm_target target = {2, walls, NULL};
    double start[WALKERS * 2];
    for (size_t k = 0; k < WALKERS; k++) {
        start[2 * k] = 0.1 + (double)k / 10;
        start[2 * k + 1] = 0.01 + (double)(k * 7 % WALKERS) / 21;
    }
    double *q = run_ensemble(&target, "walls", WALKERS, 300, STEPS, 4, start);
    for (size_t k = 0; k < WALKERS * STEPS; k++)
        CHECK(q[k] > 0 && q[WALKERS * STEPS + k] > 0 && q[WALKERS * STEPS + k] < 1);
    check_mean("x", q, WALKERS, STEPS, 1);
    check_mean("y", q + WALKERS * STEPS, WALKERS, STEPS, 0.5);
    for (size_t k = 0; k < WALKERS * STEPS; k++) q[k] = q[k] > M_LN2; /* the median */
    check_mean("x above its median", q, WALKERS, STEPS, 0.5);
    lm_free(q);
}

/* A power of two times the coordinates leaves every bit of a mantissa as it was: the same walk, however stretched the density. */
static double stretched(void *arg, const double *x, double *slope)
{
    (void)slope;
    return banana(arg, (double[]){x[0] / 1024, x[1] * 4096}, NULL);
}

TEST(ensemble_is_affine_invariant)
{
    enum { WALKERS = 8, SIZE = sizeof(lm_ensemble) + (WALKERS * 3 + 2) * sizeof(double) };
    EQUAL_INT(lm_ensemble_size(WALKERS, 2), SIZE);
    double start[WALKERS * 2], wide[WALKERS * 2];
    for (size_t k = 0; k < WALKERS * 2; k++) {
        start[k] = sin((double)k * 3.3);
        wide[k] = k % 2 ? start[k] / 4096 : start[k] * 1024;
    }
    lm_target plain = {2, banana, NULL}, other = {2, stretched, NULL};
    lm_ensemble *a = lm_alloc_raw(SIZE), *b = lm_alloc_raw(SIZE);
    CHECK(a && b);
    lm_error err;
    OK(lm_ensemble_start(a, &plain, WALKERS, start, &err), &err);
    OK(lm_ensemble_start(b, &other, WALKERS, wide, &err), &err);
    luck l;
    luck_init(&l, "affine");
    for (size_t s = 0; s < 200; s++) {
        lm_ensemble_step(a, &plain, luck_of(&l, s));
        lm_ensemble_step(b, &other, luck_of(&l, s));
    }
    for (size_t k = 0; k < WALKERS; k++) {
        CHECK(lm_ensemble_x(b, k)[0] == 1024 * lm_ensemble_x(a, k)[0]);
        CHECK(lm_ensemble_x(b, k)[1] == lm_ensemble_x(a, k)[1] / 4096);
        CHECK(lm_ensemble_log_density(a, k) == banana(NULL, lm_ensemble_x(a, k), NULL));
    }
    CHECK(a->accepted == b->accepted && a->accepted > 400);
    lm_free(a);
    lm_free(b);
}

TEST(ensemble_goes_on_bit_by_bit)
{
    enum { WALKERS = 12 };
    gauss g = {3, 0.5};
    lm_target target = {3, gauss_density, &g};
    double start[WALKERS * 3];
    for (size_t k = 0; k < WALKERS * 3; k++) start[k] = cos((double)k * 1.7) * 0.1;
    size_t size = lm_ensemble_size(WALKERS, 3);
    lm_ensemble *a = lm_alloc_raw(size), *b = lm_alloc_raw(size), *moved = lm_alloc_raw(size);
    CHECK(a && b && moved);
    memset(a, 0x55, size); /* what was there before is of no matter */
    memset(b, 0xaa, size);
    lm_error err;
    OK(lm_ensemble_start(a, &target, WALKERS, start, &err), &err);
    OK(lm_ensemble_start(b, &target, WALKERS, start, &err), &err);
    luck l;
    luck_init(&l, "continue");
    for (size_t s = 0; s < 100; s++) lm_ensemble_step(a, &target, luck_of(&l, s));
    for (size_t s = 0; s < 50; s++) lm_ensemble_step(b, &target, luck_of(&l, s));
    memcpy(moved, b, size);
    memset(b, 0xff, size);
    for (size_t s = 50; s < 100; s++) lm_ensemble_step(moved, &target, luck_of(&l, s));
    CHECK(memcmp(a, moved, size) == 0);
    lm_free(a);
    lm_free(b);
    lm_free(moved);
}

TEST(ensemble_refuses)
{
    lm_target target = {2, walls, NULL};
    lm_ensemble *state = lm_alloc_raw(lm_ensemble_size(8, 2));
    CHECK(state);
    double x[16];
    for (size_t k = 0; k < 16; k++) x[k] = 0.1 + 0.05 * (double)k;
    lm_error err;
    OK(lm_ensemble_start(state, &target, 8, x, &err), &err);
    CHECK(lm_ensemble_start(state, &target, 7, x, &err) == LM_EINPUT);
    CONTAINS(err.text, "7 walkers in 2 dimensions");
    CHECK(lm_ensemble_start(state, &target, 4, x, &err) == LM_EINPUT);
    CONTAINS(err.text, "at least 6");
    x[10] = -1;
    CHECK(lm_ensemble_start(state, &target, 8, x, &err) == LM_EINPUT);
    CONTAINS(err.text, "walker 5 of 8");
    x[10] = NAN;
    CHECK(lm_ensemble_start(state, &target, 8, x, &err) == LM_EINPUT);
    CONTAINS(err.text, "walker 5 starts at nan in coordinate 0");
    for (size_t k = 0; k < 8; k++) x[2 * k + 1] = 0.5;
    CHECK(lm_ensemble_start(state, &target, 8, x, &err) == LM_EINPUT);
    CONTAINS(err.text, "all 8 walkers start at 0.5 in coordinate 1");
    CHECK(lm_ensemble_start(state, &(lm_target){0, walls, NULL}, 8, x, &err) == LM_EINPUT);
    EQUAL_INT(lm_ensemble_size(SIZE_MAX / 2, 100), SIZE_MAX); /* no allocation is as large */
    lm_free(state);
}

/* ---- NUTS ---- */

/* [dim][chains][n]; the report of the last chain, with the gradients after its warm-up alone */
static double *run_nuts(const lm_target *target, const char *name, size_t chains, size_t warmup, size_t n,
                        double accept, const double *start, lm_nuts_report *report)
{
    size_t dim = target->dim;
    lm_nuts *state = lm_alloc_raw(lm_nuts_size(dim));
    double *kept = lm_alloc(dim * chains * n, sizeof *kept);
    CHECK(state && kept);
    luck l;
    luck_init(&l, name);
    size_t warm = 0;
    for (size_t c = 0; c < chains; c++) {
        lm_error err;
        OK(lm_nuts_start(state, target, start, NULL, warmup, accept, &err), &err);
        for (size_t s = 0; s < warmup + n; s++) {
            if (s == warmup) warm = lm_nuts_told(state).gradients;
            lm_nuts_step(state, target, luck_of(&l, c << 32 | s));
            if (s < warmup) continue;
            CHECK(lm_nuts_log_density(state) == target->log_density(target->arg, lm_nuts_x(state), NULL));
            for (size_t i = 0; i < dim; i++) kept[(i * chains + c) * n + s - warmup] = lm_nuts_x(state)[i];
        }
    }
    *report = lm_nuts_told(state);
    EQUAL_INT(report->steps, warmup + n);
    report->gradients -= warm;
    lm_free(state);
    return kept;
}

TEST(nuts_finds_a_gaussian)
{
    enum { DIM = 10, CHAINS = 4, N = 1500 };
    gauss g = {DIM, 0.7};
    lm_target target = {DIM, gauss_density, &g};
    double start[DIM];
    for (size_t i = 0; i < DIM; i++) start[i] = (double)i + 4 * width_of(&g, i) * (i % 2 ? 1 : -1);
    lm_nuts_report report;
    double *q = run_nuts(&target, "gauss", CHAINS, 800, N, 0.8, start, &report);
    static double product[CHAINS * N];
    for (size_t i = 0; i < DIM; i++) {
        check_mean("mean", q + i * CHAINS * N, CHAINS, N, (double)i);
        for (size_t j = 0; j <= i; j++) {
            for (size_t k = 0; k < CHAINS * N; k++)
                product[k] = (q[i * CHAINS * N + k] - (double)i) / width_of(&g, i) *
                             (q[j * CHAINS * N + k] - (double)j) / width_of(&g, j);
            check_mean("covariance", product, CHAINS, N, pow(g.r, (double)(i - j)));
        }
    }
    /* widths that differ by 10^4 have been learnt: a trajectory is some leaps long, and as many as asked for are accepted */
    CHECK(report.divergent == 0 && report.deepest == 0);
    CHECK(report.gradients < 20 * N);
    NEAR(report.accept, 0.85, ABS(0.1)); /* a little above, as the mean of ln(step) over 50 steps is a careful one */
    CHECK(report.step_size > 0.2 && report.step_size < 1.5);
    lm_free(q);
}

TEST(nuts_follows_a_banana)
{
    enum { CHAINS = 4, N = 3000 };
    lm_nuts_report report;
    double *q = run_nuts(&(lm_target){2, banana, NULL}, "banana", CHAINS, 500, N, 0.98, (double[]){0.3, -0.2}, &report);
    double *x = q, *y = q + CHAINS * N;
    check_mean("x", x, CHAINS, N, 0);
    check_mean("y", y, CHAINS, N, 1);
    static double square[CHAINS * N];
    for (size_t k = 0; k < CHAINS * N; k++) square[k] = x[k] * x[k];
    check_mean("x^2", square, CHAINS, N, 1);
    for (size_t k = 0; k < CHAINS * N; k++) square[k] = (y[k] - 1) * (y[k] - 1);
    check_mean("var y", square, CHAINS, N, 2.25); /* var x^2 + 1/4 */
    for (size_t k = 0; k < CHAINS * N; k++) square[k] = (y[k] - x[k] * x[k]) * (y[k] - x[k] * x[k]);
    check_mean("width", square, CHAINS, N, 0.25);
    lm_free(q);
}

TEST(nuts_goes_down_a_funnel)
{
    enum { CHAINS = 4, N = 3000 };
    double start[6] = {0.1, 0.2, -0.3, 0.4, 0.5, -0.6};
    lm_nuts_report report;
    double *q = run_nuts(&(lm_target){6, funnel, NULL}, "funnel", CHAINS, 800, N, 0.95, start, &report);
    check_mean("v", q, CHAINS, N, 0);
    static double part[CHAINS * N];
    for (size_t k = 0; k < CHAINS * N; k++) part[k] = q[k] * q[k];
    check_mean("v^2", part, CHAINS, N, 1);
    for (size_t k = 0; k < CHAINS * N; k++) part[k] = q[k] < -1.2815515655446004; /* a tenth, in the neck */
    check_mean("neck", part, CHAINS, N, 0.1);
    lm_free(q);
}

/* Trajectories end at a wall, and are counted as divergent; what remains is still the right density. */
TEST(nuts_keeps_within_walls)
{
    enum { CHAINS = 4, N = 6000 };
    lm_nuts_report report;
    double *q = run_nuts(&(lm_target){2, walls, NULL}, "walls", CHAINS, 500, N, 0.8, (double[]){0.5, 0.5}, &report);
    for (size_t k = 0; k < CHAINS * N; k++) CHECK(q[k] > 0 && q[CHAINS * N + k] > 0 && q[CHAINS * N + k] < 1);
    check_mean("x", q, CHAINS, N, 1);
    check_mean("y", q + CHAINS * N, CHAINS, N, 0.5);
    CHECK(report.divergent > 100);
    for (size_t k = 0; k < CHAINS * N; k++) q[k] = q[k] > M_LN2;
    check_mean("x above its median", q, CHAINS, N, 0.5);
    lm_free(q);
}

/* With steps so long that H errs by much, all rests on the weights of the points and on turns that are seen alike from both ends:
 * a = x0 + x1 logistic, b = x0 - x1 normal; curvatures are bounded, so that coarse steps stick nowhere. */
static double logistic(void *arg, const double *x, double *slope)
{
    (void)arg;
    double a = x[0] + x[1], b = x[0] - x[1], t = tanh(a / 2);
    if (slope) {
        slope[0] = -t - b;
        slope[1] = -t + b;
    }
    return -2 * (fabs(a) / 2 + log1p(exp(-fabs(a)))) - b * b / 2;
}

TEST(nuts_is_right_with_coarse_steps)
{
    enum { CHAINS = 2, N = 150000 };
    lm_nuts_report report;
    double *q = run_nuts(&(lm_target){2, logistic, NULL}, "coarse", CHAINS, 300, N, 0.3, (double[]){0.1, 0.1}, &report);
    CHECK(report.accept < 0.7);
    double *part = lm_alloc(CHAINS * N, sizeof *part);
    CHECK(part);
    for (size_t k = 0; k < CHAINS * N; k++) part[k] = fabs(q[k] + q[CHAINS * N + k]) < 0.5;
    check_mean("a near 0", part, CHAINS, N, tanh(0.25));
    for (size_t k = 0; k < CHAINS * N; k++) part[k] = pow(q[k] + q[CHAINS * N + k], 2);
    check_mean("a^2", part, CHAINS, N, M_PI * M_PI / 3);
    for (size_t k = 0; k < CHAINS * N; k++) part[k] = pow(q[k] - q[CHAINS * N + k], 2);
    check_mean("b^2", part, CHAINS, N, 1);
    for (size_t k = 0; k < CHAINS * N; k++) part[k] = fabs(q[k] - q[CHAINS * N + k]) < 0.3;
    check_mean("b near 0", part, CHAINS, N, erf(0.3 * M_SQRT1_2));
    for (size_t k = 0; k < CHAINS * N; k++) part[k] = q[k] > q[CHAINS * N + k];
    check_mean("b above 0", part, CHAINS, N, 0.5);
    lm_free(part);
    lm_free(q);
}

TEST(nuts_draws_follow_the_density)
{
    enum { N = 4000, THIN = 10 };
    gauss g = {2, 0.9};
    lm_nuts_report report;
    double *q = run_nuts(&(lm_target){2, gauss_density, &g}, "ks", 1, 400, N, 0.8, (double[]){0, 1}, &report);
    double u[N / THIN];
    for (size_t i = 0; i < 2; i++) { /* every tenth draw is as good as independent */
        for (size_t k = 0; k < N / THIN; k++)
            u[k] = 0.5 * erfc(-(q[i * N + k * THIN] - (double)i) / width_of(&g, i) * M_SQRT1_2);
        CHECK(lm_ks_tail(lm_ks_uniform(u, N / THIN), N / THIN) > 1e-3); /* fixed seed */
    }
    lm_free(q);
}

/* At every place in the warm-up and after it: in the windows, at their ends, and where a step size is looked for. */
TEST(nuts_goes_on_bit_by_bit)
{
    gauss g = {3, 0.5};
    lm_target target = {3, gauss_density, &g};
    size_t size = lm_nuts_size(3);
    lm_nuts *a = lm_alloc_raw(size), *b = lm_alloc_raw(size), *moved = lm_alloc_raw(size);
    CHECK(a && b && moved);
    memset(a, 0x55, size);
    memset(b, 0xaa, size);
    lm_error err;
    double start[3] = {0, 1, 2}, scale[3] = {0.1, 1, 10};
    luck l;
    luck_init(&l, "continue");
    OK(lm_nuts_start(b, &target, start, scale, 160, 0.8, &err), &err);
    for (size_t s = 0; s < 240; s++) {
        OK(lm_nuts_start(a, &target, start, scale, 160, 0.8, &err), &err);
        memcpy(moved, b, size); /* every step in a new place */
        memset(b, 0xff, size);
        lm_nuts *hold = b;
        b = moved;
        moved = hold;
        lm_nuts_step(b, &target, luck_of(&l, s));
    }
    OK(lm_nuts_start(a, &target, start, scale, 160, 0.8, &err), &err);
    for (size_t s = 0; s < 240; s++) lm_nuts_step(a, &target, luck_of(&l, s));
    CHECK(memcmp(a, b, size) == 0);
    CHECK(lm_nuts_x(a)[0] != start[0]);
    lm_free(a);
    lm_free(b);
    lm_free(moved);
}

static double flat(void *arg, const double *x, double *slope)
{
    (void)arg, (void)x;
    if (slope) slope[0] = 0;
    return 0;
}
static double needle(void *arg, const double *x, double *slope) /* possible in one point */
{
    (void)arg;
    if (slope) slope[0] = 0;
    return x[0] == 1 ? 0 : (double)NAN;
}
static double no_slope(void *arg, const double *x, double *slope)
{
    (void)arg;
    if (slope) slope[0] = NAN;
    return -x[0] * x[0];
}
static double huge(void *arg, const double *x, double *slope) /* overflows: +infinity is no density */
{
    (void)arg;
    if (slope) slope[0] = 1e300 * x[0];
    return x[0] < 1 ? -x[0] : 1e300 * x[0] * 1e10;
}

/* Densities that nobody should have: every step ends, and the chain is where the density is possible. */
TEST(nuts_survives)
{
    lm_log_density *const bad[] = {flat, needle, huge};
    lm_nuts *state = lm_alloc_raw(lm_nuts_size(1));
    CHECK(state);
    luck l;
    luck_init(&l, "survive");
    for (size_t b = 0; b < 3; b++) {
        lm_target target = {1, bad[b], NULL};
        lm_error err;
        OK(lm_nuts_start(state, &target, (double[]){b == 2 ? 0.5 : 1}, NULL, 30, 0.8, &err), &err);
        for (size_t s = 0; s < 60; s++) {
            lm_nuts_step(state, &target, luck_of(&l, s));
            CHECK(isfinite(lm_nuts_x(state)[0]) && isfinite(lm_nuts_log_density(state)));
        }
        lm_nuts_report report = lm_nuts_told(state);
        CHECK(report.step_size > 0 && isfinite(report.step_size) && report.accept >= 0 && report.accept <= 1);
        if (b == 1) CHECK(lm_nuts_x(state)[0] == 1);
    }
    lm_free(state);
}

TEST(nuts_refuses)
{
    lm_nuts *state = lm_alloc_raw(lm_nuts_size(2));
    CHECK(state);
    lm_error err;
    lm_target target = {2, walls, NULL};
    CHECK(lm_nuts_start(state, &target, (double[]){-1, 0.5}, NULL, 10, 0.8, &err) == LM_EINPUT);
    CONTAINS(err.text, "the density is 0");
    CHECK(lm_nuts_start(state, &target, (double[]){1, NAN}, NULL, 10, 0.8, &err) == LM_EINPUT);
    CONTAINS(err.text, "nan in coordinate 1");
    CHECK(lm_nuts_start(state, &target, (double[]){1, 0.5}, NULL, 10, 1, &err) == LM_EINPUT);
    CONTAINS(err.text, "acceptance of 1");
    CHECK(lm_nuts_start(state, &target, (double[]){1, 0.5}, (double[]){1, 0}, 10, 0.8, &err) == LM_EINPUT);
    CONTAINS(err.text, "scale of coordinate 1");
    CHECK(lm_nuts_start(state, &(lm_target){1, no_slope, NULL}, (double[]){1}, NULL, 10, 0.8, &err) == LM_EINPUT);
    CONTAINS(err.text, "slope in coordinate 0 is nan");
    CHECK(lm_nuts_start(state, &(lm_target){0, flat, NULL}, NULL, NULL, 10, 0.8, &err) == LM_EINPUT);
    EQUAL_INT(lm_nuts_size(SIZE_MAX / 16), SIZE_MAX);
    lm_free(state);
}

/* ---- convergence ---- */

/* AR(1) of sums of twelve uniforms, with nothing but exact operations: other programs make the same numbers. kind 1: cubed; 2: rounded
 * down to whole numbers. */
static double *series(size_t chains, size_t n, double rho, double shift, int kind, uint64_t seed)
{
    double *x = lm_alloc(chains * n, sizeof *x);
    CHECK(x);
    for (size_t c = 0; c < chains; c++) {
        double y = 0;
        for (size_t i = 0; i < n; i++) {
            double e = 0;
            for (int k = 0; k < 12; k++) {
                seed = seed * 6364136223846793005u + 1442695040888963407u;
                e += (double)(seed >> 11) * 0x1p-53;
            }
            y = rho * y + (e - 6);
            double v = y + shift * (double)c;
            x[c * n + i] = kind == 1 ? v * v * v : kind == 2 ? floor(v) : v;
        }
    }
    return x;
}

/* ArviZ 0.23.4 (_rhat_rank, _ess_bulk, _ess_tail; R-hat of a single chain from its two halves) and emcee 3.1.6 (integrated_time, c = 5),
 * for chains that series() makes */
static const struct {
    size_t chains, n;
    double rho, shift;
    int kind;
    uint64_t seed;
    double rhat, ess_bulk, ess_tail, tau;
} known[] = {
    {4, 250, 0.5, 0, 0, 1, 1.006961716614581, 329.8708813085767, 452.9773607800293, 2.702549417771599},
    {2, 101, 0.9, 0, 0, 2, 1.179274923344761, 8.644830471429877, 87.44226334490524, 6.063518373999675},
    {1, 40, -0.4, 0, 0, 3, 0.9771604171065467, 62.9353471735918, 44.6796002351558, 0.03925639313611873},
    {4, 200, 0.3, 0.5, 0, 4, 1.15586406457805, 20.8714305408392, 309.7886336438854, 1.767322900137331},
    {3, 300, 0.7, 0, 1, 5, 1.007207306340258, 176.8876447977707, 324.7152077699337, 3.280154184094541},
    {4, 150, 0.2, 0, 2, 6, 1.000059845005612, 378.0028535577913, 460.2705655091821, 1.531307191074945},
    {2, 4, 0.0, 0, 0, 7, 1.462882904319874, 7.224719895935548, 7.224719895935548, 0.3486600824815906},
    {1, 9, 0.0, 0, 0, 8, 1.205245666816484, 7.224719895935548, 7.224719895935548, 0.1320316744574788},
    {8, 1000, 0.95, 0, 0, 9, 1.028548146627193, 230.7740367336071, 516.129071356081, 27.14046894262259},
    {2, 400, -0.8, 0, 0, 10, 0.9996135888033749, 2322.471989593555, 417.5412258623295, -0.6111517072070374},
};

TEST(convergence_meets_arviz_and_emcee)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t chains = known[i].chains, n = known[i].n;
        double *x = series(chains, n, known[i].rho, known[i].shift, known[i].kind, known[i].seed);
        lm_error err = {0};
        NEAR(lm_rhat(x, chains, n, &err), known[i].rhat, REL(1e-12)); /* rounding of sums */
        NEAR(lm_ess_bulk(x, chains, n, &err), known[i].ess_bulk, REL(1e-10));
        NEAR(lm_ess_tail(x, chains, n, &err), known[i].ess_tail, REL(1e-10));
        double *steps = lm_alloc(chains * n, sizeof *steps); /* [n][walkers] */
        CHECK(steps);
        for (size_t k = 0; k < chains * n; k++) steps[k % n * chains + k / n] = x[k];
        bool trusted;
        double tau = lm_autocorrelation_time(steps, n, chains, &trusted, &err);
        NEAR(tau, fmax(known[i].tau, 1), REL(1e-10)); /* emcee goes below 1, and below 0 */
        CHECK(trusted == ((double)n >= 50 * tau));
        lm_free(steps);
        lm_free(x);
    }
}

/* ESS = N (1 - rho) / (1 + rho), tau = (1 + rho) / (1 - rho) */
TEST(convergence_meets_the_theory_of_ar1)
{
    enum { CHAINS = 4, N = 40000 };
    static const double rho[] = {-0.3, 0, 0.3, 0.7, 0.9};
    for (size_t i = 0; i < 5; i++) {
        double *x = series(CHAINS, N, rho[i], 0, 0, 77 + i), want = CHAINS * N * (1 - rho[i]) / (1 + rho[i]);
        lm_error err;
        NEAR(lm_ess_bulk(x, CHAINS, N, &err), want, REL(0.06)); /* the noise of the window: 4 % for rho = 0.9 */
        NEAR(lm_rhat(x, CHAINS, N, &err), 1, ABS(2e-3));
        double *steps = lm_alloc(CHAINS * N, sizeof *steps);
        CHECK(steps);
        for (size_t k = 0; k < CHAINS * N; k++) steps[k % N * CHAINS + k / N] = x[k];
        bool trusted;
        NEAR(lm_autocorrelation_time(steps, N, CHAINS, &trusted, &err), fmax(1, (1 + rho[i]) / (1 - rho[i])),
             REL(0.06));
        CHECK(trusted);
        lm_free(steps);
        lm_free(x);
    }
}

/* Chains that agree in their means but not in their widths: only the folded R-hat sees it. */
TEST(convergence_sees_what_is_wrong)
{
    enum { N = 500 };
    lm_error err;
    double *x = series(4, N, 0, 0, 0, 5);
    CHECK(lm_rhat(x, 4, N, &err) < 1.01);
    for (size_t i = 0; i < N; i++) x[i] *= 4;
    CHECK(lm_rhat(x, 4, N, &err) > 1.1);
    for (size_t i = 0; i < N; i++) x[i] = x[i] / 4 + 2; /* one chain elsewhere */
    CHECK(lm_rhat(x, 4, N, &err) > 1.1 && lm_ess_bulk(x, 4, N, &err) < 100);
    for (size_t c = 0; c < 4; c++)
        for (size_t i = 0; i < N; i++) x[c * N + i] += 0.005 * (double)i; /* all drift alike: the halves differ */
    CHECK(lm_rhat(x, 4, N, &err) > 1.1);
    for (size_t k = 0; k < 4 * N; k++) x[k] = (double)(k / N); /* four chains that stick */
    CHECK(lm_rhat(x, 4, N, &err) > 1e6 && lm_ess_bulk(x, 4, N, &err) < 8);
    bool trusted = true;
    CHECK(lm_autocorrelation_time(x, N, 4, &trusted, &err) > 2 && !trusted);
    for (size_t k = 0; k < 4 * N; k++) x[k] = (double)(k % 4); /* four walkers that stick */
    trusted = true;
    NEAR(lm_autocorrelation_time(x, N, 4, &trusted, &err), 2 * N - 1, REL(1e-12));
    CHECK(!trusted);
    lm_free(x);
}

TEST(convergence_refuses)
{
    double x[] = {1, 2, 3, 4, 5, 7, 6, NAN};
    lm_error err = {0};
    bool trusted;
    CHECK(isnan(lm_rhat(x, 1, 3, &err)));
    CONTAINS(err.text, "at least 4 draws");
    CHECK(isnan(lm_ess_bulk(x, 2, 4, &err)));
    CONTAINS(err.text, "draw 3 of chain 1 is nan");
    CHECK(isnan(lm_ess_tail(x, 2, 4, &err)) && isnan(lm_rhat(x, 0, 4, &err)) && isnan(lm_rhat(x, 2, 4, NULL)));
    CHECK(isnan(lm_autocorrelation_time(x, 4, 2, &trusted, &err)) && !trusted);
    CONTAINS(err.text, "walker 1 is at nan in step 3");
    CHECK(isnan(lm_autocorrelation_time(x, 3, 2, &trusted, &err)) &&
          isnan(lm_autocorrelation_time(x, 4, 0, &trusted, &err)));
    double same[8] = {2, 2, 2, 2, 2, 2, 2, 2};
    CHECK(isnan(lm_rhat(same, 2, 4, &err)));
    CONTAINS(err.text, "all draws are 2");
    double middle[5] = {1, 1, 5, 1, 1}; /* the halves do not see the draw between them */
    err.text[0] = 0;
    CHECK(isnan(lm_rhat(middle, 1, 5, &err)));
    CONTAINS(err.text, "too equal");
    CHECK(isfinite(lm_rhat(x, 1, 7, &err)) && isfinite(lm_ess_bulk(x, 1, 7, &err)) &&
          isfinite(lm_ess_tail(x, 1, 7, &err)));
}

TEST(convergence_survives_without_memory)
{
    double *x = series(2, 20, 0.5, 0, 0, 5);
    bool trusted;
    for (int f = 0; f < 4; f++) {
        uint64_t fail = 1;
        for (;; fail++) {
            lm_error err = {0};
            lm_alloc_fail_at(fail);
            double got = f == 0   ? lm_rhat(x, 2, 20, &err)
                         : f == 1 ? lm_ess_bulk(x, 2, 20, &err)
                         : f == 2 ? lm_ess_tail(x, 2, 20, &err)
                                  : lm_autocorrelation_time(x, 20, 2, &trusted, &err);
            bool fired = lm_alloc_count() >= fail;
            lm_alloc_fail_at(0);
            if (!fired) {
                CHECK(isfinite(got));
                break;
            }
            CHECK(isnan(got) && err.status == LM_EMEMORY);
        }
        CHECK(fail > 2);
    }
    lm_free(x);
}
