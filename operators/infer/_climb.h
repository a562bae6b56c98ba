/* Where chains start: the maximum of a posterior, and the Gaussian that touches it there. */
#ifndef LM_OPERATORS_INFER_CLIMB_H
#define LM_OPERATORS_INFER_CLIMB_H

#include "operators/infer/_posterior.h"

/* A Gaussian in z: mean, and the Cholesky factor R of its inverse covariance R R^T (lower, [n][n]). */
typedef struct lm_laplace {
    size_t n;
    double ln_p; /* at the mean */
    double z[LM_FREE_MOST];
    double root[LM_FREE_MOST * LM_FREE_MOST];
} lm_laplace;

/* z = mean + R^-T w: a draw of the Gaussian where w [n] is standard normal. */
void lm_laplace_at(const lm_laplace *g, const double *w, double *z);

/* Standard deviations [n]. */
void lm_laplace_widths(const lm_laplace *g, double *ret);
/* root of a covariance [n][n], which is overwritten; g->n is set. Where it is not positive definite its diagonal alone is taken. */
void lm_laplace_of_covariance(lm_laplace *g, double *covariance);

/* Climbs from g->z by at most `rounds` steps of Levenberg and Marquardt (Marquardt 1963), with exact slopes and the Fisher matrix; a
 * parametric source alone. ret_done: it is at the top. Sets ln_p and root. fisher [n][n] is scratch. LM_EINPUT: the start is impossible. */
lm_status lm_laplace_climb(lm_laplace *g, lm_posterior *p, unsigned rounds, double *fisher, bool *ret_done,
                           lm_error *err);

#endif
