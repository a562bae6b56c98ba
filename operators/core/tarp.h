/* TARP: tests of accuracy with random points (Lemos, Coogan, Hezaveh & Perreault-Levasseur 2023, arXiv:2302.03026).
 *
 * For one simulation with true parameters t, posterior draws p_1..p_M and a reference point r that knows nothing of t but
 * the data, f is the fraction of draws strictly closer to r than t is. If the posterior is right, f is uniform over many
 * simulations. The expected coverage ECP(alpha) is the fraction of simulations with f < alpha.
 *
 * Arrays are row-major: draws [n_samples, dims], everything else [dims].
 */
#ifndef LM_CORE_TARP_H
#define LM_CORE_TARP_H

#include "operators/core/draw.h"
#include "runtime/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum lm_tarp_distance { LM_TARP_EUCLIDEAN, LM_TARP_MANHATTAN } lm_tarp_distance;

/* How distances are measured: parameter k is divided by width[k], which makes ranges of unlike parameters alike. */
typedef struct lm_tarp_space {
    size_t dims;
    lm_tarp_distance distance;
    double *low, *high; /* [dims] the range of each parameter's true values */
    double *width;      /* [dims] high - low + 1e-10, or 1 where distances are not normalised */
    double *weight;     /* [padded] 1/width^2 (Euclidean) or 1/width (Manhattan), then zeros */
    double *point;      /* scratch [padded]: the reference point */
    double *row;        /* scratch [padded]: a row that nothing may be read behind */
    size_t padded;      /* dims, rounded up to whole vectors */
} lm_tarp_space;

/* truth is [n_sims, dims]; n_sims >= 1, dims >= 1. normalise: put every parameter on the range of its true values. */
lm_status lm_tarp_space_init(lm_tarp_space *space, const double *truth, size_t n_sims, size_t dims, bool normalise,
                             lm_tarp_distance distance, lm_error *err);
void lm_tarp_space_done(lm_tarp_space *space);

typedef struct lm_tarp_rank {
    size_t closer, equal; /* number of draws strictly closer to the reference than the truth; and exactly as far */
    bool finite; /* false: a draw, the truth or the reference is not a finite number, or a distance overflows */
} lm_tarp_rank;

/* reference is in the units of the parameters. Not for two threads with one space. */
lm_tarp_rank lm_tarp_count(lm_tarp_space *space, const double *draws, size_t n_samples, const double *truth,
                           const double *reference);

/* The curve over n fractions: alpha[k] = k/bins and ecp[k] = the fraction of f < alpha[k], for k = 0..bins; ecp[bins] = 1.
 * Equal to the cumulative sum of numpy.histogram(f, bins, range=(0, 1)). Both have bins + 1 elements. */
void lm_tarp_curve(const double *f, size_t n, size_t bins, double *alpha, double *ecp);

/* Area to the curve: sum over alpha > 1/2 of (ECP - alpha) / bins. Negative: too narrow, or biased; positive: too wide. */
double lm_tarp_atc(const double *alpha, const double *ecp, size_t bins);

/* Resamples the simulations n_boot times. sd, low and high (bins + 1 each): standard deviation and the central interval
 * that holds the fraction `level` of the resampled curves at each alpha (quantiles as numpy's default). */
lm_status lm_tarp_bootstrap(const double *f, size_t n, size_t bins, size_t n_boot, double level, lm_draw_below *below,
                            void *random, double *sd, double *low, double *high, lm_error *err);

#endif
