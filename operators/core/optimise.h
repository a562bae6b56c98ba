/* The largest value of a density: where a fit begins, or all of it.
 *
 * Local methods go uphill from a start. They are NLopt's, in coordinates of one size (a box has the width 1), and begun anew from where
 * they stop until that gains less than the tolerance, since each of them may stop too early:
 *
 *   bobyqa    quadratic models in a region of trust, no slopes (Powell 2009): the fewest values for a smooth density
 *   subplex   simplices in subspaces, no slopes (Rowan 1990): bears noise and steps, but creeps
 *             along a narrow valley
 *   lbfgs     limited-memory variable metric, slopes (Nocedal 1980): for many coordinates
 *   mma       moving asymptotes, slopes (Svanberg 2002): careful next to bounds
 *
 * and one searches a finite box as a whole, with half of the values, before bobyqa goes on from the best place:
 *
 *   direct    division of rectangles, biased to local search (Gablonsky & Kelley 2001); up to about six coordinates
 *
 * Nothing is random. Each call has its own state, so that threads may call at the same time if the density can be asked so. A place of
 * density 0, NaN or infinite, or (where slopes are wanted) of a slope that is none, counts as worse than all others.
 */
#ifndef LM_CORE_OPTIMISE_H
#define LM_CORE_OPTIMISE_H

#include "operators/core/sampling.h"
#include "runtime/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum lm_optimise_method {
    LM_OPTIMISE_BOBYQA,
    LM_OPTIMISE_SUBPLEX,
    LM_OPTIMISE_LBFGS,
    LM_OPTIMISE_MMA,
    LM_OPTIMISE_DIRECT,
    LM_OPTIMISE_METHODS
} lm_optimise_method;
extern const char *const lm_optimise_names[]; /* in that order, then NULL */

typedef struct lm_optimise_options {
    lm_optimise_method method;
    const double *lower, *upper; /* [dim] each, borrowed; NULL or infinite: no bound */
    double tolerance;       /* stop where starting again gains less, in ln p; 0.01 is far below what data can tell */
    size_t max_evaluations; /* values of the density at most, over all starts */
    bool (*stopped)(void *arg); /* asked before each value; true ends it with LM_ECANCEL. NULL: never */
    void *arg;
} lm_optimise_options;

typedef struct lm_optimise_report {
    size_t evaluations;
    bool converged; /* false: max_evaluations came first */
} lm_optimise_report;

/* From x0 [dim] (moved into the box if it lies outside) to x [dim], with ln p in *ret_value; x may be x0. The result is never worse than
 * the start. LM_EINPUT: the box is empty, or the density is 0 at the start (not asked of direct, which fails if it is so wherever it
 * looks). report may be NULL. */
lm_status lm_optimise(const lm_target *target, const lm_optimise_options *options, const double *x0, double *x,
                      double *ret_value, lm_optimise_report *report, lm_error *err);

/* From n starts [n][dim]: all are tried, then in each round the better half goes on with twice the values each, and the last one until it
 * has converged or all values are spent. x [n][dim] and value [n]: the ends, the best one first; of equals, the one that
 * came first in starts. A start of density 0 ends where it began, last, with -INFINITY; LM_EINPUT if all are so. Not with direct.
 * report, which may be NULL, tells whether the best has converged. */
lm_status lm_optimise_many(const lm_target *target, const lm_optimise_options *options, const double *starts, size_t n,
                           double *x, double *value, lm_optimise_report *report, lm_error *err);

#endif
