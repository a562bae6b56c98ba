/* Least squares without negative values. See nnls.h. */
#include "operators/core/nnls.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

enum { PATIENCE = 10 }; /* rounds without progress in which blocks still change sides */

typedef struct {
    size_t n;
    const double *A, *b;
    double *matrix, *part; /* of the unknowns that are free */
    double *x, *slack;     /* slack: the gradient A x - b */
    size_t *free;
    unsigned char *side; /* 1: free, 0: held at zero */
    double low_x, low_slack;
} pivoting;

/* Solves for the free unknowns, and finds the gradient of the others. */
static lm_status solve_free(pivoting *p, lm_cholesky *cholesky, size_t *ret_m, lm_error *err)
{
    size_t n = p->n, m = 0;
    for (size_t i = 0; i < n; i++)
        if (p->side[i]) p->free[m++] = i;
    for (size_t a = 0; a < m; a++) {
        const double *row = p->A + p->free[a] * n;
        for (size_t c = 0; c <= a; c++) p->matrix[a * m + c] = row[p->free[c]];
        p->part[a] = p->b[p->free[a]];
    }
    LM_TRY(lm_cholesky_dense(cholesky, p->matrix, m, "the matrix of the positive unknowns", err));
    LM_TRY(lm_cholesky_solve(cholesky, p->part, 1, err));
    memset(p->x, 0, n * sizeof *p->x);
    for (size_t a = 0; a < m; a++) p->x[p->free[a]] = p->part[a];
    cblas_dcopy((int)n, p->b, 1, p->slack, 1);
    cblas_dgemv(CblasRowMajor, CblasNoTrans, (int)n, (int)n, 1, p->A, (int)n, p->x, 1, -1, p->slack, 1);
    *ret_m = m;
    return LM_OK;
}

static bool wrong(const pivoting *p, size_t i)
{
    return p->side[i] ? !(p->x[i] >= p->low_x) : !(p->slack[i] >= p->low_slack);
}

/* Starts from the signs of x. */
static lm_status pivot(pivoting *p, lm_cholesky *cholesky, lm_nnls *ret, lm_error *err)
{
    size_t n = p->n, fewest = n + 1, m = 0;
    unsigned left = PATIENCE;
    for (size_t i = 0; i < n; i++) p->side[i] = p->x[i] > 0;
    for (unsigned round = 1;; round++) {
        LM_TRY(solve_free(p, cholesky, &m, err));
        size_t bad = 0, last = 0;
        for (size_t i = 0; i < n; i++)
            if (wrong(p, i)) {
                bad++;
                last = i;
            }
        if (bad == 0) {
            *ret = (lm_nnls){round, m};
            return LM_OK;
        }
        if (round > n + 100)
            return LM_FAIL_HINT(err, LM_EINPUT, "A stronger prior makes the unknowns less alike.",
                                "no solution without negative values was found in %u rounds", round);
        if (bad < fewest) {
            fewest = bad;
            left = PATIENCE;
        } else if (left > 0) left--;
        if (left == 0) { /* Murty's rule: the last one alone */
            p->side[last] ^= 1;
            continue;
        }
        for (size_t i = 0; i < n; i++)
            if (wrong(p, i)) p->side[i] ^= 1;
    }
}

lm_status lm_nnls_solve(size_t n, const double *A, const double *b, double tolerance, double *x, lm_nnls *ret,
                        lm_error *err)
{
    if (n == 0) {
        *ret = (lm_nnls){0};
        return LM_OK;
    }
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(b[i]) || !isfinite(A[i * n + i]))
            return LM_FAIL(err, LM_EINPUT, "unknown %zu of a least-squares problem is no number", i);
        if (fabs(b[i]) > largest) largest = fabs(b[i]);
    }
    LM_OWN(lm_cholesky) cholesky = NULL;
    LM_TRY(lm_cholesky_new(&cholesky, err));
    LM_OWN(lm_memory) matrix = lm_alloc_data(n * n * sizeof(double));
    LM_OWN(lm_memory) work = lm_alloc_data(3 * n * sizeof(double));
    LM_OWN(lm_memory) lists = lm_alloc_data(n * (sizeof(size_t) + 1));
    if (!matrix || !work || !lists) return LM_NOMEM(err);
    pivoting p = {
        .n = n, .A = A, .b = b, .matrix = matrix, .part = work, .free = lists, .low_slack = -tolerance * largest};
    p.x = p.part + n;
    p.slack = p.x + n;
    p.side = (unsigned char *)(p.free + n);
    memcpy(p.x, x, n * sizeof *x);
    lm_nnls got;
    LM_TRY(pivot(&p, cholesky, &got, err));
    for (size_t i = 0; i < n; i++) x[i] = p.x[i] > 0 ? p.x[i] : 0;
    *ret = got;
    return LM_OK;
}
