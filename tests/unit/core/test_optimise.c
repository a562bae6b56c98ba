/* Maxima that are known: narrow valleys, many hills, walls and bounds. */
#include "tests/test.h"

#include "operators/core/optimise.h"
#include "runtime/alloc.h"
#include "runtime/random.h"

/* -(100 (x1 - x0^2)^2 + (1 - x0)^2) and so on along the coordinates; the top is 0 at 1, 1, ... */
typedef struct valley {
    size_t dim, count;
} valley;

static double rosenbrock(void *arg, const double *x, double *slope)
{
    valley *v = arg;
    v->count++;
    double sum = 0;
    if (slope) memset(slope, 0, v->dim * sizeof *slope);
    for (size_t i = 0; i + 1 < v->dim; i++) {
        double e = x[i + 1] - x[i] * x[i], o = 1 - x[i];
        sum += 100 * e * e + o * o;
        if (slope) {
            slope[i] += 400 * e * x[i] + 2 * o;
            slope[i + 1] -= 200 * e;
        }
    }
    return -sum;
}

/* Rastrigin's hills: a top of 0 at (0.3, 0.3, ...), and a lower one next to every whole number from there */
static double hills(void *arg, const double *x, double *slope)
{
    size_t dim = *(size_t *)arg;
    double sum = 0;
    for (size_t i = 0; i < dim; i++) {
        double y = x[i] - 0.3;
        sum += y * y + 3 * (1 - cos(2 * M_PI * y));
        if (slope) slope[i] = -2 * y - 6 * M_PI * sin(2 * M_PI * y);
    }
    return -sum;
}

/* A Gaussian hill behind walls: nothing but NaN outside of the unit disc, with the top at the rim */
static double disc(void *arg, const double *x, double *slope)
{
    (void)arg;
    bool in = x[0] * x[0] + x[1] * x[1] < 1;
    if (slope) {
        slope[0] = in ? -50 * (x[0] - 0.4) : (double)NAN;
        slope[1] = in ? -50 * (x[1] - 0.5) : (double)NAN;
    }
    return in ? -25 * ((x[0] - 0.4) * (x[0] - 0.4) + (x[1] - 0.5) * (x[1] - 0.5)) : (double)NAN;
}

/* Wider by far in one coordinate than in the other, with no bounds at all */
static double unequal(void *arg, const double *x, double *slope)
{
    (void)arg;
    double a = (x[0] - 3e5) / 1e5, b = (x[1] + 2e-4) / 1e-4;
    if (slope) {
        slope[0] = -a / 1e5;
        slope[1] = -b / 1e-4;
    }
    return -(a * a + b * b) / 2 - 7;
}

static double line(void *arg, const double *x, double *slope)
{
    (void)arg;
    if (slope) slope[0] = -4 * pow(x[0] - 0.7, 3);
    return -pow(x[0] - 0.7, 4);
}

static lm_optimise_options options_of(lm_optimise_method method, const double *lower, const double *upper)
{
    return (lm_optimise_options){
        .method = method, .lower = lower, .upper = upper, .tolerance = 1e-6, .max_evaluations = 20000};
}

TEST(optimise_walks_down_a_valley)
{
    static const double lower[] = {-3, -3, -3}, upper[] = {2, 4, 4};
    for (int m = 0; m < LM_OPTIMISE_METHODS; m++)
        for (size_t dim = 2; dim <= 3; dim++) {
            valley v = {dim, 0};
            lm_target target = {dim, rosenbrock, &v};
            lm_optimise_options o = options_of((lm_optimise_method)m, lower, upper);
            lm_error err;
            double x[3], value = NAN;
            lm_optimise_report report;
            OK(lm_optimise(&target, &o, (double[]){-1.2, 1, 1.5}, x, &value, &report, &err), &err);
            if (!(value > -1e-3 && value <= 0)) FAIL("%s, dim %zu: %g", lm_optimise_names[m], dim, value);
            for (size_t i = 0; i < dim; i++) NEAR(x[i], 1, ABS(0.1)); /* the valley's floor rises by 1e-3 over 0.06 */
            CHECK(report.evaluations == v.count && v.count <= 20000);
            CHECK(report.converged || m == LM_OPTIMISE_SUBPLEX); /* which still creeps on */
            CHECK(value == rosenbrock(&v, x, NULL));
        }
}

TEST(optimise_stays_in_the_box)
{
    static const double lower[] = {-3, 0.2}, upper[] = {0.5, 4}; /* the top is where x0 = 0.5, x1 = 0.25 */
    for (int m = 0; m < LM_OPTIMISE_METHODS; m++) {
        valley v = {2, 0};
        lm_target target = {2, rosenbrock, &v};
        lm_optimise_options o = options_of((lm_optimise_method)m, lower, upper);
        lm_error err;
        double x[2] = {0.1, 9}, value; /* outside: from the edge */
        OK(lm_optimise(&target, &o, x, x, &value, NULL, &err), &err);
        NEAR(value, -0.25, ABS(2e-4)); /* -(1 - 0.5)^2, less a few tolerances along the narrow floor */
        CHECK(x[0] <= 0.5 && x[1] >= 0.2);
    }
}

TEST(optimise_with_walls)
{
    static const double lower[] = {-2, -2}, upper[] = {2, 2};
    for (int m = 0; m < LM_OPTIMISE_METHODS; m++) {
        lm_target target = {2, disc, NULL};
        lm_optimise_options o = options_of((lm_optimise_method)m, lower, upper);
        lm_error err;
        double x[2], value;
        OK(lm_optimise(&target, &o, (double[]){-0.6, -0.7}, x, &value, NULL, &err), &err);
        if (!(value > -1e-4)) FAIL("%s: %g at %g, %g", lm_optimise_names[m], value, x[0], x[1]);
        if (m == LM_OPTIMISE_DIRECT) { /* finds its own start */
            OK(lm_optimise(&target, &o, (double[]){-1.6, -1.7}, x, &value, NULL, &err), &err);
            CHECK(value > -1e-4);
        } else {
            value = 5;
            CHECK(lm_optimise(&target, &o, (double[]){-1.6, -1.7}, x, &value, NULL, &err) == LM_EINPUT);
            CONTAINS(err.text, "at the start");
            CHECK(value == 5);
        }
    }
}

TEST(optimise_without_bounds)
{
    for (int m = 0; m < LM_OPTIMISE_DIRECT; m++) {
        lm_target target = {2, unequal, NULL};
        lm_optimise_options o = options_of((lm_optimise_method)m, NULL, NULL);
        lm_error err;
        double x[2], value;
        OK(lm_optimise(&target, &o, (double[]){1e5, -1e-5}, x, &value, NULL, &err), &err);
        NEAR(value, -7, ABS(1e-5)); /* ten tolerances */
        NEAR(x[0], 3e5, ABS(1e3));  /* ln p falls by 5e-5 */
        NEAR(x[1], -2e-4, ABS(1e-6));
    }
}

TEST(optimise_one_coordinate)
{
    for (int m = 0; m < LM_OPTIMISE_METHODS; m++) {
        lm_target target = {1, line, NULL};
        lm_optimise_options o = options_of((lm_optimise_method)m, (double[]){0}, (double[]){3});
        lm_error err;
        double x = 2.5, value;
        OK(lm_optimise(&target, &o, &x, &x, &value, NULL, &err), &err);
        NEAR(x, 0.7, ABS(0.1)); /* flat: 1e-4 at that distance */
    }
}

/* From most starts one hill is climbed, and it is the wrong one; of many starts the best finds the right one. */
TEST(optimise_many_starts_find_the_highest_hill)
{
    enum { DIM = 2, N = 200 };
    size_t dim = DIM, hit = 0;
    static double lower[] = {-4, -4}, upper[] = {4, 4}, starts[N * DIM], x[N * DIM], value[N];
    lm_target target = {DIM, hills, &dim};
    lm_digest key = lm_digest_of("starts", 6);
    lm_random random = lm_random_stream(&key, 0);
    for (size_t k = 0; k < N * DIM; k++) starts[k] = -4 + 8 * lm_random_uniform(&random);
    lm_error err;
    lm_optimise_options o = options_of(LM_OPTIMISE_LBFGS, lower, upper);
    for (size_t k = 0; k < 40; k++) {
        OK(lm_optimise(&target, &o, starts + k * DIM, x, value, NULL, &err), &err);
        hit += value[0] > -1e-3;
    }
    CHECK(hit <= 6); /* one start in 64 is on that hill, and a line search may jump to it */
    for (int m = 0; m < LM_OPTIMISE_DIRECT; m++) {
        o = options_of((lm_optimise_method)m, lower, upper);
        o.max_evaluations = 30000;
        lm_optimise_report report;
        OK(lm_optimise_many(&target, &o, starts, N, x, value, &report, &err), &err);
        if (!(value[0] > -1e-3)) FAIL("%s: %g", lm_optimise_names[m], value[0]);
        for (size_t i = 0; i < DIM; i++) NEAR(x[i], 0.3, ABS(0.01)); /* ln p falls by 6e-3 */
        for (size_t k = 0; k < N; k++) {
            CHECK(k == 0 || value[k] <= value[k - 1]);
            CHECK(value[k] == hills(&dim, x + k * DIM, NULL));
        }
        CHECK(report.evaluations <= 30000 && report.converged);
    }
}

TEST(optimise_many_is_repeatable_and_keeps_its_budget)
{
    enum { N = 37 };
    static const double lower[] = {-1, -1}, upper[] = {1, 1};
    double starts[N * 2], x[N * 2], y[N * 2], a[N], b[N];
    size_t impossible = 0;
    for (size_t k = 0; k < N; k++) {
        starts[2 * k] = sin((double)k);
        starts[2 * k + 1] = cos((double)(k * k));
        impossible += !(starts[2 * k] * starts[2 * k] + starts[2 * k + 1] * starts[2 * k + 1] < 1);
    }
    CHECK(impossible > 3 && impossible < 30);
    lm_target target = {2, disc, NULL};
    static const size_t budgets[] = {37, 38, 60, 200, 5000};
    for (size_t t = 0; t < 5; t++) {
        lm_optimise_options o = options_of(LM_OPTIMISE_SUBPLEX, lower, upper);
        o.max_evaluations = budgets[t];
        lm_error err;
        lm_optimise_report report;
        OK(lm_optimise_many(&target, &o, starts, N, x, a, &report, &err), &err);
        OK(lm_optimise_many(&target, &o, starts, N, y, b, NULL, &err), &err);
        CHECK(memcmp(x, y, sizeof x) == 0 && memcmp(a, b, sizeof a) == 0);
        CHECK(report.evaluations <= budgets[t]);
        for (size_t k = 0; k < N; k++) CHECK(isinf(a[k]) ? k >= N - impossible : k < N - impossible);
        if (t == 4) CHECK(a[0] > -1e-4 && report.converged);
        if (t == 0) CHECK(!report.converged);
    }
}

typedef struct asked {
    size_t count, stop_at;
} asked;

static bool stop(void *arg)
{
    asked *a = arg;
    return ++a->count == a->stop_at;
}

TEST(optimise_stops_when_told)
{
    static const double lower[] = {-3, -3}, upper[] = {2, 4};
    for (int m = 0; m < LM_OPTIMISE_METHODS; m++)
        for (size_t at = 1; at < 30; at += 7) {
            valley v = {2, 0};
            asked a = {0, at};
            lm_target target = {2, rosenbrock, &v};
            lm_optimise_options o = options_of((lm_optimise_method)m, lower, upper);
            o.stopped = stop;
            o.arg = &a;
            lm_error err;
            double x[4], value[2];
            CHECK(lm_optimise(&target, &o, (double[]){-1, 1}, x, value, NULL, &err) == LM_ECANCEL);
            EQUAL_INT(v.count, at - 1); /* nothing was asked after that */
            if (m == LM_OPTIMISE_DIRECT) continue;
            a.count = v.count = 0;
            CHECK(lm_optimise_many(&target, &o, (double[]){-1, 1, 0, 0}, 2, x, value, NULL, &err) == LM_ECANCEL);
            EQUAL_INT(v.count, at - 1);
        }
}

TEST(optimise_ends_with_its_budget)
{
    static const double lower[] = {-3, -3}, upper[] = {2, 4};
    for (int m = 0; m < LM_OPTIMISE_METHODS; m++)
        for (size_t most = 1; most < 40; most++) {
            valley v = {2, 0};
            lm_target target = {2, rosenbrock, &v};
            lm_optimise_options o = options_of((lm_optimise_method)m, lower, upper);
            o.max_evaluations = most;
            lm_error err;
            double x[2], value;
            lm_optimise_report report;
            OK(lm_optimise(&target, &o, (double[]){-1.2, 1}, x, &value, &report, &err), &err);
            CHECK(v.count <= most && report.evaluations == v.count && (most > 20 || !report.converged));
            CHECK(value >= rosenbrock(&v, (double[]){-1.2, 1}, NULL)); /* never worse than the start */
        }
}

static double nowhere(void *arg, const double *x, double *slope)
{
    (void)arg, (void)x;
    if (slope) slope[0] = slope[1] = 0;
    return -(double)INFINITY;
}

TEST(optimise_refuses)
{
    valley v = {2, 0};
    lm_target target = {2, rosenbrock, &v};
    double lower[] = {0, 0}, upper[] = {1, 0}, x[2], value;
    lm_error err;
    lm_optimise_options o = options_of(LM_OPTIMISE_BOBYQA, lower, upper);
    CHECK(lm_optimise(&target, &o, (double[]){0, 0}, x, &value, NULL, &err) == LM_EINPUT);
    CONTAINS(err.text, "coordinate 1 goes from 0 to 0");
    upper[1] = NAN;
    CHECK(lm_optimise(&target, &o, (double[]){0, 0}, x, &value, NULL, &err) == LM_EINPUT);
    upper[1] = INFINITY;
    o.method = LM_OPTIMISE_DIRECT;
    CHECK(lm_optimise(&target, &o, (double[]){0, 0}, x, &value, NULL, &err) == LM_EINPUT);
    CONTAINS(err.text, "searches a box");
    upper[1] = 1;
    CHECK(lm_optimise(&(lm_target){2, nowhere, NULL}, &o, (double[]){0, 0}, x, &value, NULL, &err) == LM_EINPUT);
    CONTAINS(err.text, "wherever it was tried");
    CHECK(lm_optimise_many(&target, &o, (double[]){0, 0}, 1, x, &value, NULL, &err) == LM_EINPUT);
    o.method = LM_OPTIMISE_LBFGS;
    CHECK(lm_optimise_many(&(lm_target){2, nowhere, NULL}, &o, (double[]){0, 0}, 1, x, &value, NULL, &err) ==
          LM_EINPUT);
    CONTAINS(err.text, "all 1 starts");
    CHECK(lm_optimise_many(&target, &o, (double[]){0, 0}, 0, x, &value, NULL, &err) == LM_EINPUT);
    CHECK(lm_optimise_many(&target, &o, (double[]){0, NAN}, 1, x, &value, NULL, &err) == LM_EINPUT);
    CONTAINS(err.text, "start 0 is nan in coordinate 1");
    CHECK(lm_optimise(&target, &o, (double[]){0, INFINITY}, x, &value, NULL, &err) == LM_EINPUT);
    o.tolerance = 0;
    CHECK(lm_optimise(&target, &o, (double[]){0, 0}, x, &value, NULL, &err) == LM_EINPUT);
    o.tolerance = NAN;
    CHECK(lm_optimise(&target, &o, (double[]){0, 0}, x, &value, NULL, &err) == LM_EINPUT);
    o.tolerance = 1;
    o.max_evaluations = 0;
    CHECK(lm_optimise(&target, &o, (double[]){0, 0}, x, &value, NULL, &err) == LM_EINPUT);
    o.max_evaluations = 1;
    CHECK(lm_optimise_many(&target, &o, (double[]){0, 0, 1, 1}, 2, x, &value, NULL, &err) == LM_EINPUT);
    CONTAINS(err.text, "do not suffice");
    o.method = LM_OPTIMISE_METHODS;
    CHECK(lm_optimise(&target, &o, (double[]){0, 0}, x, &value, NULL, &err) == LM_EINPUT);
    o.method = LM_OPTIMISE_MMA;
    CHECK(lm_optimise(&(lm_target){0, rosenbrock, &v}, &o, x, x, &value, NULL, &err) == LM_EINPUT);
    EQUAL_TEXT(lm_optimise_names[LM_OPTIMISE_DIRECT], "direct");
    CHECK(lm_optimise_names[LM_OPTIMISE_METHODS] == NULL);
}

TEST(optimise_survives_without_memory)
{
    valley v = {2, 0};
    lm_target target = {2, rosenbrock, &v};
    lm_optimise_options o = options_of(LM_OPTIMISE_BOBYQA, NULL, NULL);
    for (uint64_t fail = 1;; fail++) {
        double x[4], value[2];
        lm_error err = {0};
        lm_alloc_fail_at(fail);
        lm_status status = lm_optimise_many(&target, &o, (double[]){0, 0, 1.2, 1}, 2, x, value, NULL, &err);
        bool fired = lm_alloc_count() >= fail;
        lm_alloc_fail_at(0);
        if (!fired) {
            OK(status, &err);
            CHECK(fail == 4);
            break;
        }
        CHECK(status == LM_EMEMORY);
    }
}
