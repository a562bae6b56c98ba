/* Cholesky factors, dense and sparse: against each other, and against what defines them. */
#include "tests/test.h"

#include "operators/core/cholesky.h"
#include "runtime/random.h"

#include <math.h>
#include <string.h>

enum { SIDE = 13, N = SIDE * SIDE };

/* A five-point operator on a grid with a positive diagonal and a few far couplings: its factor fills in. full [N][N],
 * both halves. */
static void make_matrix(lm_symmetric *m, double *full, double shift)
{
    lm_error err = {0};
    lm_digest key = {{3}};
    lm_random random = lm_random_stream(&key, 0);
    memset(full, 0, N * N * sizeof *full);
    for (size_t i = 0; i < N; i++) {
        full[i * N + i] = 4.5 + lm_random_uniform(&random) + shift;
        size_t others[3] = {i + 1, i + SIDE, (i * 7 + 3) % N};
        for (size_t k = 0; k < 3; k++)
            if (others[k] < N && others[k] > i && (k < 2 || i % 9 == 0))
                full[i * N + others[k]] = full[others[k] * N + i] = -lm_random_uniform(&random);
    }
    OK(lm_symmetric_room(m, N, N * 5, &err), &err);
    int used = 0;
    for (size_t j = 0; j < N; j++) {
        m->start[j] = used;
        for (size_t i = j; i < N; i++)
            if (i == j || full[i * N + j] != 0) {
                m->row[used] = (int)i;
                m->value[used++] = full[i * N + j];
            }
    }
    m->start[N] = used;
}

typedef struct {
    lm_symmetric m;
    double full[N * N], factor[N * N];
    lm_cholesky *sparse, *dense;
} both;

static both *open_both(double shift)
{
    both *b = lm_alloc(1, sizeof *b);
    CHECK(b);
    lm_error err = {0};
    make_matrix(&b->m, b->full, shift);
    memcpy(b->factor, b->full, sizeof b->factor);
    OK(lm_cholesky_new(&b->sparse, &err), &err);
    OK(lm_cholesky_new(&b->dense, &err), &err);
    OK(lm_cholesky_sparse(b->sparse, &b->m, "a test", &err), &err);
    OK(lm_cholesky_dense(b->dense, b->factor, N, "a test", &err), &err);
    return b;
}

static void close_both(both *b)
{
    lm_symmetric_done(&b->m);
    lm_cholesky_free(b->sparse);
    lm_cholesky_free(b->dense);
    lm_free(b);
}

static void fill(double *x, size_t n, uint8_t seed)
{
    lm_digest key = {{seed}};
    lm_random random = lm_random_stream(&key, 1);
    for (size_t i = 0; i < n; i++) x[i] = lm_random_normal(&random);
}

static void multiply(const double *full, const double *x, double *ret)
{
    for (size_t i = 0; i < N; i++) {
        ret[i] = 0;
        for (size_t j = 0; j < N; j++) ret[i] += full[i * N + j] * x[j];
    }
}

TEST(both_factors_solve_and_agree)
{
    both *b = open_both(0);
    lm_error err = {0};
    static double x[3 * N], y[3 * N], back[N];
    fill(x, 3 * N, 5);
    memcpy(y, x, sizeof y);
    static double rhs[3 * N];
    memcpy(rhs, x, sizeof rhs);
    OK(lm_cholesky_solve(b->sparse, x, 3, &err), &err);
    OK(lm_cholesky_solve(b->dense, y, 3, &err), &err);
    NEAR_ARRAY(x, y, 3 * N, REL(1e-13)); /* condition about 10 */
    for (size_t k = 0; k < 3; k++) {
        multiply(b->full, x + k * N, back);
        NEAR_ARRAY(back, rhs + k * N, N, REL(1e-13));
    }
    lm_symmetric_apply(&b->m, x, back);
    NEAR_ARRAY(back, rhs, N, REL(1e-13));
    NEAR(lm_cholesky_ln_det(b->sparse), lm_cholesky_ln_det(b->dense), REL(1e-14));
    close_both(b);
}

/* ln|A| of A = t + s grows by ln of the eigenvalues: for a diagonal matrix it is known. */
TEST(a_diagonal_matrix_has_a_known_determinant)
{
    lm_error err = {0};
    LM_OWN(lm_cholesky) c = NULL;
    OK(lm_cholesky_new(&c, &err), &err);
    double full[16] = {4, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0.25, 0, 0, 0, 0, 1e-3};
    OK(lm_cholesky_dense(c, full, 4, "a test", &err), &err);
    NEAR(lm_cholesky_ln_det(c), log(4 * 9 * 0.25 * 1e-3), REL(1e-15));
    OK(lm_cholesky_dense(c, full, 0, "a test", &err), &err);
    NEAR(lm_cholesky_ln_det(c), 0, ABS(0));
    OK(lm_cholesky_solve(c, full, 1, &err), &err);
}

/* x from unit vectors: the sum of their outer products is the inverse. whiten() is the transpose of draw(). */
TEST(draws_have_the_inverse_as_covariance)
{
    both *b = open_both(0);
    lm_error err = {0};
    static double covariance[N * N], x[N], u[N], v[N], w[N];
    for (int which = 0; which < 2; which++) {
        lm_cholesky *c = which ? b->dense : b->sparse;
        memset(covariance, 0, sizeof covariance);
        for (size_t k = 0; k < N; k++) {
            memset(x, 0, sizeof x);
            x[k] = 1;
            OK(lm_cholesky_draw(c, x, &err), &err);
            for (size_t i = 0; i < N; i++)
                for (size_t j = 0; j < N; j++) covariance[i * N + j] += x[i] * x[j];
        }
        for (size_t k = 0; k < N; k += 17) {
            memset(x, 0, sizeof x);
            x[k] = 1;
            OK(lm_cholesky_solve(c, x, 1, &err), &err);
            NEAR_ARRAY(covariance + k * N, x, N, REL(1e-13));
        }
        fill(u, N, 8);
        fill(v, N, 9);
        memcpy(w, u, sizeof w);
        memcpy(x, v, sizeof x);
        OK(lm_cholesky_draw(c, w, &err), &err);
        OK(lm_cholesky_whiten(c, x, &err), &err);
        double left = 0, right = 0;
        for (size_t i = 0; i < N; i++) {
            left += v[i] * w[i];
            right += x[i] * u[i];
        }
        NEAR(left, right, REL(1e-12));
    }
    close_both(b);
}

TEST(elements_of_the_inverse_are_those_of_solutions)
{
    both *b = open_both(0);
    lm_error err = {0};
    static double diagonal[N], want[N], x[N], full[N * N];
    double trace = 0, traces[3];
    /* H has A's pattern, with values of its own */
    lm_symmetric H = {0};
    OK(lm_symmetric_room(&H, N, (size_t)b->m.start[N], &err), &err);
    memcpy(H.start, b->m.start, (N + 1) * sizeof(int));
    memcpy(H.row, b->m.row, (size_t)b->m.start[N] * sizeof(int));
    fill(H.value, (size_t)b->m.start[N], 11);
    for (size_t j = 0; j < N; j++)
        for (int e = H.start[j]; e < H.start[j + 1]; e++)
            full[(size_t)H.row[e] * N + j] = full[j * N + (size_t)H.row[e]] = H.value[e];
    for (size_t k = 0; k < N; k++) {
        memset(x, 0, sizeof x);
        x[k] = 1;
        OK(lm_cholesky_solve(b->dense, x, 1, &err), &err);
        want[k] = x[k];
        for (size_t i = 0; i < N; i++) trace += x[i] * full[i * N + k];
    }
    OK(lm_cholesky_inverse(b->sparse, diagonal, &H, NULL, &traces[0], &err), &err);
    NEAR_ARRAY(diagonal, want, N, REL(1e-13));
    OK(lm_cholesky_inverse(b->dense, diagonal, &H, NULL, &traces[1], &err), &err);
    NEAR_ARRAY(diagonal, want, N, REL(1e-13));
    OK(lm_cholesky_inverse(b->dense, diagonal, NULL, full, &traces[2], &err), &err);
    NEAR_ARRAY(diagonal, want, N, REL(1e-13));
    for (size_t i = 0; i < 3; i++) NEAR(traces[i], trace, ABS(1e-12 * N));
    EQUAL_INT(lm_cholesky_inverse(b->sparse, NULL, NULL, full, &trace, &err), LM_EBUG);
    lm_symmetric_done(&H);
    close_both(b);
}

TEST(what_is_not_positive_definite_is_told)
{
    both *b = open_both(0);
    lm_error err = {0};
    for (int e = 0; e < b->m.start[N]; e++) b->m.value[e] = -b->m.value[e];
    EQUAL_INT(lm_cholesky_sparse(b->sparse, &b->m, "the matrix of a test", &err), LM_EINPUT);
    CONTAINS(err.text, "the matrix of a test, a matrix of 169 x 169, is not positive definite");
    for (int e = 0; e < b->m.start[N]; e++) b->m.value[e] = NAN;
    EQUAL_INT(lm_cholesky_sparse(b->sparse, &b->m, "x", &err), LM_EINPUT);
    EQUAL_INT(lm_cholesky_solve(b->sparse, b->factor, 1, &err), LM_EBUG); /* there is none */
    b->full[5 * N + 5] = -1;
    EQUAL_INT(lm_cholesky_dense(b->dense, b->full, N, "x", &err), LM_EINPUT);
    CONTAINS(err.text, "its factor ends at column 6");
    for (size_t i = 0; i < N * N; i++) b->full[i] = NAN;
    EQUAL_INT(lm_cholesky_dense(b->dense, b->full, N, "x", &err), LM_EINPUT);
    close_both(b);
}
