/* Cholesky factors of symmetric positive definite matrices: dense through LAPACK, sparse through AMD and CHOLMOD
 * (supernodal).
 *
 * A sparse matrix is its lower half by columns, rows ascending, the diagonal first. A dense one is [n][n], of which the
 * lower half (row >= column, row-major) is read. Both give ln|A|, solutions, draws from N(0, A^-1), and those elements
 * of A^-1 that a trace with a sparse matrix needs, the diagonal among them, without the rest (Takahashi, Fagan & Chin
 * 1973; Erisman & Tinney 1975).
 */
#ifndef LM_CORE_CHOLESKY_H
#define LM_CORE_CHOLESKY_H

#include "runtime/alloc.h"
#include "runtime/error.h"

#include <stdbool.h>
#include <stddef.h>

/* The lower half of a sparse symmetric matrix, by columns. */
typedef struct lm_symmetric {
    size_t n;
    int *start; /* [n + 1] */
    int *row;
    double *value;
    size_t room; /* elements that row and value hold */
} lm_symmetric;

/* Starts zeroed; what it held is lost. Room for n columns and `elements` elements. */
lm_status lm_symmetric_room(lm_symmetric *matrix, size_t n, size_t elements, lm_error *err);
void lm_symmetric_done(lm_symmetric *matrix);
/* ret [n] = matrix v */
void lm_symmetric_apply(const lm_symmetric *matrix, const double *v, double *ret);

/* For a few unknowns, in place, without an object. a [n][n]: its lower half becomes L, A = L L^T; false: not positive definite. */
bool lm_lower_factor(size_t n, double *a);
/* The lower half of A^-1 from that of L. */
bool lm_lower_inverse(size_t n, double *factor);

typedef struct lm_cholesky lm_cholesky;

/* A place for factors, used again and again. One thread at a time. */
lm_status lm_cholesky_new(lm_cholesky **ret, lm_error *err);
lm_cholesky *lm_cholesky_free(lm_cholesky *cholesky);
LM_OWNABLE(lm_cholesky, lm_cholesky_free)

/* Factors a matrix, which is not kept. `what` names it in the message of LM_EINPUT: it is not positive definite.
 * analyse: order the columns of a sparse matrix and count the work, as a number of multiplications; the next factor may
 * follow only for the same pattern. */
lm_status lm_cholesky_analyse(lm_cholesky *cholesky, const lm_symmetric *matrix, double *ret_work, lm_error *err);
lm_status lm_cholesky_sparse(lm_cholesky *cholesky, const lm_symmetric *matrix, const char *what, lm_error *err);
/* Takes a pointer to the lower half in place: `matrix` is the caller's, is overwritten and must live as long as the
 * factor is used. */
lm_status lm_cholesky_dense(lm_cholesky *cholesky, double *matrix, size_t n, const char *what, lm_error *err);

double lm_cholesky_ln_det(const lm_cholesky *cholesky);
/* x [m][n]: m right-hand sides become solutions. */
lm_status lm_cholesky_solve(lm_cholesky *cholesky, double *x, size_t m, lm_error *err);
/* x [n]: n independent normal numbers become a draw from N(0, A^-1). */
lm_status lm_cholesky_draw(lm_cholesky *cholesky, double *x, lm_error *err);
/* x [n] becomes R x, where A^-1 = R^T R, and what draw() does is x to R^T x. */
lm_status lm_cholesky_whiten(lm_cholesky *cholesky, double *x, lm_error *err);
/* Elements of the inverse: its diagonal into diagonal [n] (NULL: not wanted), and Tr(A^-1 H) for H sparse, with a
 * pattern inside A's, or full [n][n]; both NULL: not wanted. LM_EBUG: a sparse factor is asked for a full trace. */
lm_status lm_cholesky_inverse(lm_cholesky *cholesky, double *diagonal, const lm_symmetric *sparse, const double *full,
                              double *ret_trace, lm_error *err);

#endif
