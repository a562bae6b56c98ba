/* Markov chains: samplers of a density that is known up to a constant, and the tests that tell whether they have converged.
 *
 * A sampler's whole state is one flat block of memory without pointers, so that it can be saved at any step and goes on bit by bit
 * as if it had never stopped (on the same kind of machine): the random numbers of step k are those of the stream that the caller gives
 * for k. The caller owns the block and its alignment, that of a double; what was in it before the start is of no matter.
 * Nothing is allocated in a step, and chains with blocks of their own may run in different threads.
 */
#ifndef LM_CORE_SAMPLING_H
#define LM_CORE_SAMPLING_H

#include "operators/core/draw.h"
#include "runtime/error.h"

#include <stdbool.h>
#include <stddef.h>

/* ln p(x) up to a constant; -INFINITY (or NaN) where x is impossible, and what else is no finite number is taken so. gradient [dim]: also
 * its slope; NULL: not wanted. Samplers assume that the same x gives the same bits. */
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
    double at[];         /* [walkers][dim] positions, then [walkers] ln p, then room for one position */
} lm_ensemble;

size_t lm_ensemble_size(size_t walkers, size_t dim); /* bytes of the state; SIZE_MAX: more than there can be */
/* state: lm_ensemble_size bytes. x [walkers][dim]: where they start; each must be possible, and they must differ in each coordinate:
 * LM_EINPUT names the walker or the coordinate that is wrong. */
lm_status lm_ensemble_start(lm_ensemble *state, const lm_target *target, size_t walkers, const double *x,
                            lm_error *err);
/* One move of every walker: first one half against the other, then the other way round. */
void lm_ensemble_step(lm_ensemble *state, const lm_target *target, const lm_draw *draw);
double *lm_ensemble_x(lm_ensemble *state, size_t walker); /* [dim] */
double lm_ensemble_log_density(const lm_ensemble *state, size_t walker);

/* ---- NUTS: the no-U-turn sampler (Hoffman & Gelman 2014, JMLR 15, 1593), multinomial (Betancourt 2017, arXiv:1701.02434), with dual
 * averaging of the step and a diagonal mass matrix learnt over windows of the warm-up; gradients from the target ----
 * The warm-up is Stan's: 75 steps for the step size, windows of 25, 50, 100, ... steps that each give a mass matrix, 50 steps for the
 * final step size; shorter ones in proportion, and no mass matrix below 20 steps. Without any warm-up the step size is the one that is
 * found at the start. A trajectory has at most 2^10 - 1 leaps. It is divergent, and ends, where H is off by more than 1000: also at a wall
 * beyond which ln p is -INFINITY. There its slope need not be told. A few walls cost efficiency, not correctness. */

typedef struct lm_nuts lm_nuts;
size_t lm_nuts_size(size_t dim); /* bytes of the state, about 800 a dimension; SIZE_MAX: more than there can be */
/* warmup: steps that adapt. scale [dim]: about how wide the density is; NULL: 1. accept: mean acceptance to aim at, 0.8 or more;
 * it comes out a little above. LM_EINPUT: the start is impossible, or has no finite slope. */
lm_status lm_nuts_start(lm_nuts *state, const lm_target *target, const double *x, const double *scale, size_t warmup,
                        double accept, lm_error *err);
void lm_nuts_step(lm_nuts *state, const lm_target *target, const lm_draw *draw);
const double *lm_nuts_x(const lm_nuts *state); /* [dim] */
double lm_nuts_log_density(const lm_nuts *state);
typedef struct lm_nuts_report {
    size_t steps, divergent, deepest, gradients; /* divergent and deepest (tree at its limit) after the warm-up */
    double step_size, accept; /* accept: mean over the trajectories after the warm-up; during it, of the last one */
} lm_nuts_report;
lm_nuts_report lm_nuts_told(const lm_nuts *state);

/* ---- convergence (Vehtari, Gelman, Simpson, Carpenter & Buerkner 2021, Bayesian Analysis 16, 667) of one quantity ----
 * draws [chains][n]: whole chains, each is split in two. NaN, with the reason in err (which may be NULL): no chain, fewer than 4 draws a
 * chain, one that is not finite, all equal; or no memory (LM_EMEMORY). As a rule R-hat should be below 1.01 and both effective sizes
 * above 100 a chain. */

double lm_rhat(const double *draws, size_t chains, size_t n,
               lm_error *err); /* rank-normalised split R-hat, the larger of bulk and folded */
double lm_ess_bulk(const double *draws, size_t chains, size_t n, lm_error *err);
double lm_ess_tail(const double *draws, size_t chains, size_t n,
                   lm_error *err); /* the smaller of the 5 % and 95 % quantiles' */
/* Integrated autocorrelation time in steps of an ensemble's quantity, draws [n][walkers]: the mean autocorrelation function of the walkers,
 * window M >= 5 tau (Sokal; Goodman & Weare); at least 1. A walker that never moves counts as correlated at all lags.
 * *ret_trusted: n >= 50 tau; false: tau is a lower limit. NaN as above, with *ret_trusted false. */
double lm_autocorrelation_time(const double *draws, size_t n, size_t walkers, bool *ret_trusted, lm_error *err);

#endif
