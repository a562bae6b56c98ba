/* Least squares without negative values: the conditions of Karush, Kuhn and Tucker, which are enough for a convex
 * problem. */
#include "tests/test.h"

#include "operators/core/nnls.h"
#include "runtime/random.h"

#include <math.h>
#include <string.h>

enum { MOST = 120 };

/* A = B^T B + shift, B [m][n] of random numbers, positive ones only where all is alike. */
static void make_problem(size_t n, size_t m, bool alike, double shift, uint8_t seed, double *A, double *b)
{
    static double B[MOST * MOST], d[MOST];
    lm_digest key = {{seed}};
    lm_random random = lm_random_stream(&key, 0);
    for (size_t i = 0; i < m; i++) {
        d[i] = lm_random_normal(&random);
        for (size_t j = 0; j < n; j++)
            B[i * n + j] = alike ? 1 + 0.1 * lm_random_uniform(&random) : lm_random_normal(&random);
    }
    for (size_t i = 0; i < n; i++) {
        b[i] = 0;
        for (size_t k = 0; k < m; k++) b[i] += B[k * n + i] * d[k];
        for (size_t j = 0; j < n; j++) {
            A[i * n + j] = i == j ? shift : 0;
            for (size_t k = 0; k < m; k++) A[i * n + j] += B[k * n + i] * B[k * n + j];
        }
    }
}

static void meet_conditions(size_t n, const double *A, const double *b, const double *x)
{
    double largest = 0;
    size_t zeros = 0;
    for (size_t i = 0; i < n; i++) largest = fmax(largest, fabs(b[i]));
    for (size_t i = 0; i < n; i++) {
        double gradient = -b[i];
        for (size_t j = 0; j < n; j++) gradient += A[i * n + j] * x[j];
        CHECK(x[i] >= 0);
        zeros += x[i] == 0;
        if (x[i] > 0) NEAR(gradient, 0, ABS(1e-10 * largest));
        else CHECK(gradient >= -1e-10 * largest);
    }
    CHECK(zeros > 0); /* or the test would say nothing */
}

TEST(solutions_meet_the_conditions)
{
    static double A[MOST * MOST], b[MOST], x[MOST];
    lm_error err = {0};
    for (uint8_t seed = 1; seed < 60; seed++) {
        size_t n = 10 + (size_t)seed % 100;
        bool alike = seed % 3 == 0;
        make_problem(n, MOST, alike, alike ? 1e-2 : 1e-6, seed, A, b);
        lm_nnls found;
        memset(x, 0, sizeof x);
        if (seed % 2)
            for (size_t i = 0; i < n; i++) x[i] = b[i]; /* any start will do */
        OK(lm_nnls_solve(n, A, b, 1e-12, x, &found, &err), &err);
        meet_conditions(n, A, b, x);
        CHECK(found.rounds >= 1 && found.rounds <= n + 100);
        lm_nnls again; /* from the solution itself: nothing to change */
        OK(lm_nnls_solve(n, A, b, 1e-12, x, &again, &err), &err);
        EQUAL_INT(again.rounds, 1);
        EQUAL_INT(again.positive, found.positive);
    }
}

TEST(without_negative_values_nothing_changes)
{
    double A[4] = {2, 0.5, 0.5, 1}, b[2] = {3, 2}, x[2] = {0, 0};
    lm_nnls found;
    lm_error err = {0};
    OK(lm_nnls_solve(2, A, b, 1e-12, x, &found, &err), &err);
    NEAR(x[0], (3 - 0.5 * 2) / (2 - 0.25), REL(1e-14));
    NEAR(x[1], (2 * 2 - 0.5 * 3) / (2 - 0.25), REL(1e-14));
    double c[2] = {-1, -2}, y[2] = {1, 1};
    OK(lm_nnls_solve(2, A, c, 1e-12, y, &found, &err), &err); /* all at zero */
    NEAR(y[0] + y[1], 0, ABS(0));
    EQUAL_INT(found.positive, 0);
    OK(lm_nnls_solve(0, NULL, NULL, 1e-12, NULL, &found, &err), &err);
}

TEST(what_has_no_solution_is_told)
{
    double A[4] = {1, 2, 2, 1}, b[2] = {1, 1}, x[2] = {1, 1};
    lm_nnls found;
    lm_error err = {0};
    EQUAL_INT(lm_nnls_solve(2, A, b, 1e-12, x, &found, &err), LM_EINPUT);
    CONTAINS(err.text, "not positive definite");
    b[1] = NAN;
    EQUAL_INT(lm_nnls_solve(2, A, b, 1e-12, x, &found, &err), LM_EINPUT);
}

TEST(each_failing_allocation_is_survived)
{
    double A[4] = {2, 0.5, 0.5, 1}, b[2] = {3, 2};
    for (uint64_t n = 1;; n++) {
        double x[2] = {0, 0};
        lm_nnls found;
        lm_error err = {0};
        lm_alloc_fail_at(n);
        lm_status status = lm_nnls_solve(2, A, b, 1e-12, x, &found, &err);
        bool done = lm_alloc_count() < n;
        lm_alloc_fail_at(0);
        if (done) {
            EQUAL_INT(status, LM_OK);
            break;
        }
        EQUAL_INT(status, LM_EMEMORY);
    }
}
