/* Probability distributions of one number: what a prior is made of. Draws by the inverse of the cumulative distribution, densities,
 * and the slopes that gradient samplers need.
 *
 *   fixed       always a
 *   uniform     between a and b
 *   loguniform  ln x uniform between ln a and ln b, 0 < a < b
 *   normal      mean a, standard deviation b
 *   lognormal   ln x normal: mean a and standard deviation b of ln x
 *   power       density x^a between min and max, 0 <= min < max; a = -1 is loguniform
 *   table       one of the n values of a sample, each with its weight
 *
 * All but fixed and table are cut to [min, max] (-INFINITY, INFINITY: not cut) and normalised over what is left; both ends belong to it.
 * Everything here is pure and may be called from any thread. NaN in gives NaN out (a density: -INFINITY).
 */
#ifndef LM_CORE_DISTRIBUTION_H
#define LM_CORE_DISTRIBUTION_H

#include "runtime/error.h"

#include <stddef.h>

typedef enum lm_distribution_kind {
    LM_DISTRIBUTION_FIXED,
    LM_DISTRIBUTION_UNIFORM,
    LM_DISTRIBUTION_LOGUNIFORM,
    LM_DISTRIBUTION_NORMAL,
    LM_DISTRIBUTION_LOGNORMAL,
    LM_DISTRIBUTION_POWER,
    LM_DISTRIBUTION_TABLE,
    LM_DISTRIBUTION_KINDS
} lm_distribution_kind;
extern const char *const lm_distribution_names[]; /* in that order, then NULL */

typedef struct lm_distribution {
    lm_distribution_kind kind;
    double a, b;
    double min, max;
    const double *value, *weight; /* of a table [n], borrowed; weight NULL: all alike */
    size_t n;
} lm_distribution;

/* LM_EINPUT says which number is wrong; a cut that leaves no probability is one. The functions below want one that has passed. */
lm_status lm_distribution_check(const lm_distribution *d, lm_error *err);
/* x of which a fraction u of the probability lies below, 0 <= u < 1: within 1e-12 of the scale of x also where a normal is cut many
 * standard deviations out. Where the lower end is -INFINITY, or the density there is 0 or infinite, u = 0 is taken as 2^-54, so that a
 * draw is always a finite number of finite density. Of a table: the smallest value up to which there is more than u of the weight, in
 * any order; one pass over the table where the values ascend, about ln n passes otherwise. */
double lm_distribution_quantile(const lm_distribution *d, double u);
/* The fraction that lies below x (of a fixed value or a table: strictly below): the inverse of the above. */
double lm_distribution_below(const lm_distribution *d, double x);
/* ln of the normalised density; -INFINITY outside, and at 0 for a power that is 0 or infinite there. Of a fixed value or a table: 0
 * where x is one of the values (of a weight above 0). */
double lm_distribution_log_density(const lm_distribution *d, double x);
/* Its derivative with respect to x; 0 outside, and for a fixed value or a table. */
double lm_distribution_slope(const lm_distribution *d, double x);

#endif
