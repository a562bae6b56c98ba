/* Least squares without negative values: the x >= 0 that makes x^T A x / 2 - b^T x smallest, A symmetric positive
 * definite.
 *
 * Block principal pivoting on the normal equations (Portugal, Judice & Vicente 1994, Math. Comp. 63, 625): all unknowns
 * of the wrong sign change sides at once, and one by one (Murty's rule) after too many rounds without progress, which
 * always ends. A round costs a Cholesky factor of the unknowns that are not held at zero.
 */
#ifndef LM_CORE_NNLS_H
#define LM_CORE_NNLS_H

#include "operators/core/cholesky.h"

typedef struct lm_nnls {
    unsigned rounds; /* factors that were made */
    size_t positive; /* unknowns that are not held at zero */
} lm_nnls;

/* A [n][n], both halves, is kept. x [n]: on entry the unknowns above zero are where the search starts (an unconstrained
 * solution, the last one's, or all zero); on return the solution, with exact zeros. Optimal to `tolerance` in units of
 * the largest |b|: gradient >= -tolerance max|b| where x is 0. LM_EINPUT: not positive definite, or no end in n + 100
 * rounds. */
lm_status lm_nnls_solve(size_t n, const double *A, const double *b, double tolerance, double *x, lm_nnls *ret,
                        lm_error *err);

#endif
