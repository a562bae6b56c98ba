/* Priors of a source: what is known of it before the data. s ~ N(0, (lambda H)^-1); this makes H and ln|H|.
 *
 *   zeroth     H = 1
 *   gradient   s^T H s = sum over neighbours of (s_i - s_j)^2
 *   curvature  s^T H s = sum over x and y of (s_left - 2 s + s_right)^2            Suyu et al. 2006, Dye & Warren 2005
 *   a Gaussian process: H = C^-1, C_ij the correlation of two unknowns at the distance d, 1 at d = 0
 *     exponential           exp(-d/l)
 *     squared_exponential   exp(-d^2/2l^2)
 *     matern32, matern52    (1 + r) exp(-r), r = sqrt(3) d/l; (1 + r + r^2/3) exp(-r), r = sqrt(5) d/l
 *     power                 power spectrum P(k) as k^-n, regular grids alone; periodic on twice the grid's sides, its
 *                           mean as strong as its longest wave
 *
 * Gradient and curvature hold the source to zero beyond the grid (a missing neighbour is 0), which makes H positive
 * definite. The gradient has one term a neighbour on the right and above: the left and lower borders are free. On
 * triangles they are the finite-element forms: K_ij = integral of grad phi_i . grad phi_j, which is scale free and on a
 * square grid the sum above (Pinkall & Polthier 1993, Exp. Math. 2, 15), and K M^-1 K with the lumped mass M in units
 * of its mean (Botsch & Sorkine 2008, IEEE TVCG 14, 213); each end of a side of the hull is held to zero with half the
 * strength of a neighbour.
 *
 * C gets `jitter` on its diagonal: a squared exponential cannot be inverted in double precision without.
 */
#ifndef LM_CORE_LENSING_REGULARISATION_H
#define LM_CORE_LENSING_REGULARISATION_H

#include "operators/core/cholesky.h"
#include "operators/core/lensing/source_grid.h"

typedef enum lm_prior_kind {
    LM_PRIOR_ZEROTH,
    LM_PRIOR_GRADIENT,
    LM_PRIOR_CURVATURE,
    LM_PRIOR_EXPONENTIAL,
    LM_PRIOR_SQUARED_EXPONENTIAL,
    LM_PRIOR_MATERN32,
    LM_PRIOR_MATERN52,
    LM_PRIOR_POWER
} lm_prior_kind;
extern const char *const lm_prior_kind_names[]; /* in that order, then NULL */

typedef struct lm_prior {
    lm_prior_kind kind;
    double length; /* arcsec, of a Gaussian process but `power` */
    double slope;  /* n of `power`, 0 to 10 */
    double jitter; /* 0: 1e-8 */
} lm_prior;

enum { LM_PRIOR_DENSE_MOST = 12000 }; /* unknowns of a Gaussian process: H is a full matrix */

typedef struct lm_regularisation {
    size_t n;
    double ln_H;
    lm_symmetric H; /* sparse, or: */
    double *dense;  /* [n][n], both halves; NULL: sparse */
    /* private: what it was made for */
    lm_prior prior;
    size_t h, w;
    double pixel;
    bool reusable;
} lm_regularisation;

/* LM_EINPUT: a length or slope that cannot be. */
lm_status lm_prior_check(const lm_prior *prior, const lm_source_shape *shape, lm_error *err);
/* H of a prior on a grid. Starts zeroed; made again only where grid or prior differ. LM_EINPUT: not positive definite,
 * or too many unknowns. */
lm_status lm_regularisation_make(lm_regularisation *reg, const lm_prior *prior, const lm_source_grid *grid,
                                 lm_error *err);
void lm_regularisation_done(lm_regularisation *reg);
/* ret [n] = H v */
void lm_regularisation_apply(const lm_regularisation *reg, const double *v, double *ret);

#endif
