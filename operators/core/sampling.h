/* Markov chains: samplers of a density that is known up to a constant, and the tests that tell whether they have converged.
 *
 * A sampler's whole state is one flat block of memory without pointers, so that it can be saved at any step and goes on bit by bit
 * as if it had never stopped: the random numbers of step k are those of the stream that the caller gives for k.
 */
#ifndef LM_CORE_SAMPLING_H
#define LM_CORE_SAMPLING_H

#include "operators/core/draw.h"
#include "runtime/error.h"

#include <stdbool.h>
#include <stddef.h>

/* ln p(x) up to a constant; -INFINITY (or NaN) where x is impossible. gradient [dim]: also its slope; NULL: not wanted. */
typedef double lm_log_density(void *arg, const double *x, double *gradient);

typedef struct lm_target {
    size_t dim;
    lm_log_density *log_density;
    void *arg;
} lm_target;

/* ---- ensemble: the affine-invariant stretch move (Goodman & Weare 2010, CAMCoS 5, 65), a = 2 ---- */

typedef struct lm_ensemble {
    size_t walkers, dim; /* walkers: even, at least 2 dim + 2 */
    size_t steps;        /* made so far */
    size_t accepted;     /* moves, over all walkers and steps */
    double at[];         /* [walkers][dim] positions, then [walkers] ln p */
} lm_ensemble;

size_t lm_ensemble_size(size_t walkers, size_t dim); /* bytes of the state */
/* state: lm_ensemble_size bytes. x [walkers][dim]: where they start; each must be possible: LM_EINPUT names one that is not. */
lm_status lm_ensemble_start(lm_ensemble *state, const lm_target *target, size_t walkers, const double *x,
                            lm_error *err);
/* One move of every walker: first one half against the other, then the other way round. */
void lm_ensemble_step(lm_ensemble *state, const lm_target *target, const lm_draw *draw);
double *lm_ensemble_x(lm_ensemble *state, size_t walker); /* [dim] */
double lm_ensemble_log_density(const lm_ensemble *state, size_t walker);

/* ---- NUTS: the no-U-turn sampler (Hoffman & Gelman 2014, JMLR 15, 1593), multinomial (Betancourt 2017, arXiv:1701.02434), with dual
 * averaging of the step and a diagonal mass matrix learnt over windows of the warm-up; gradients from the target ---- */

typedef struct lm_nuts lm_nuts;
size_t lm_nuts_size(size_t dim);
/* warmup: steps that adapt. scale [dim]: about how wide the density is; NULL: 1. */
lm_status lm_nuts_start(lm_nuts *state, const lm_target *target, const double *x, const double *scale, size_t warmup,
                        double accept, lm_error *err);
void lm_nuts_step(lm_nuts *state, const lm_target *target, const lm_draw *draw);
const double *lm_nuts_x(const lm_nuts *state); /* [dim] */
double lm_nuts_log_density(const lm_nuts *state);
typedef struct lm_nuts_report {
    size_t steps, divergent, deepest, gradients; /* divergent and deepest (tree at its limit) after the warm-up */
    double step_size, accept;
} lm_nuts_report;
lm_nuts_report lm_nuts_told(const lm_nuts *state);

/* ---- convergence (Vehtari, Gelman, Simpson, Carpenter & Buerkner 2021, Bayesian Analysis 16, 667) of one quantity ----
 * draws [chains][n]: whole chains, each is split in two. NaN: fewer than 4 draws a chain, or one is not finite. */

double lm_rhat(const double *draws, size_t chains, size_t n,
               lm_error *err); /* rank-normalised split R-hat, the larger of bulk and folded */
double lm_ess_bulk(const double *draws, size_t chains, size_t n, lm_error *err);
double lm_ess_tail(const double *draws, size_t chains, size_t n,
                   lm_error *err); /* the smaller of the 5 % and 95 % quantiles' */
/* Integrated autocorrelation time in steps of an ensemble's quantity, draws [n][walkers]: the mean autocorrelation function of the walkers,
 * window M >= 5 tau (Sokal; Goodman & Weare). *ret_trusted: n >= 50 tau. */
double lm_autocorrelation_time(const double *draws, size_t n, size_t walkers, bool *ret_trusted, lm_error *err);

#endif
