/* Simulation-based calibration: where the truth ranks among the draws of its posterior, a parameter at a time.
 *
 * Talts, Betancourt, Simpson, Vehtari & Gelman 2018 (arXiv:1804.06788): if the truth comes from the prior, and the M draws from the
 * posterior of data that were simulated with it, the truth is exchangeable with the draws, and its rank among them uniform. Spread over
 * its step, and over draws that equal the truth, the rank is a number u that is exactly uniform on [0, 1) for any M. What is left is to
 * ask whether many u are uniform: Kolmogorov-Smirnov (special.h), chi-square over bins, and the whole empirical distribution with a
 * band that holds all of it at once: Saeilynoja, Buerkner & Vehtari 2022 (Statistics and Computing 32, 32; arXiv:2103.10522).
 *
 * Arrays are row-major: draws [n_draws, dims]. Everything is pure and may run in any thread.
 */
#ifndef LM_CORE_SBC_H
#define LM_CORE_SBC_H

#include "runtime/error.h"

#include <stdbool.h>
#include <stddef.h>

/* One parameter of one simulation. */
typedef struct lm_sbc_tally {
    size_t below, equal; /* number of draws smaller than the truth, and equal to it */
    double offset;       /* mean of the draws, minus the truth */
    double
        variance; /* of the draws, with n_draws - 1; NaN for one draw. May overflow to infinity, and the offset with it */
} lm_sbc_tally;

/* Tallies of all parameters [dims]. false: a draw or a true value is not a finite number, and `ret` is of no use. */
bool lm_sbc_count(const double *draws, size_t n_draws, size_t dims, const double *truth, lm_sbc_tally *ret);

/* u = (below + U (equal + 1))/(n_draws + 1) for U = uniform in [0, 1): in [0, 1), also after rounding. */
double lm_sbc_rank(const lm_sbc_tally *tally, size_t n_draws, double uniform);

/* (truth - mean)/sd of the draws; NaN where they have no spread. Over simulations with right posteriors the mean is 0; the variance is
 * (1 + 1/M)(M - 1)/(M - 3) for Gaussian posteriors and M draws, which is 1 for many. */
double lm_sbc_z(const lm_sbc_tally *tally);

/* Counts [bins] of n values in [0, 1) in equal bins, and their p value: P(X >= chi2), dof = bins - 1, for n/bins expected in each. 1 for
 * one bin; NaN for no values. Good to a few per cent where 5 or more are expected in each bin. */
double lm_sbc_histogram(const double *u, size_t n, size_t bins, double *counts);

/* P(X <= k) for X binomial: n trials of probability p in (0, 1). A sum of positive terms: a tail has its own relative accuracy, 1e-9
 * for n to 1e6. */
double lm_binomial_below(size_t k, size_t n, double p);
/* The smallest k with P(X <= k) > tail: at least that many, but with probability `tail` at most. 0 <= tail < 1. */
size_t lm_binomial_low(size_t n, double p, double tail);

/* A band for the counts R_k = #{u < k/points}, k = 0 .. points, of n uniform numbers: all of low[k] <= R_k <= high[k] hold with a
 * probability of at least `level` (0 < level < 1), and at each k alone with the same one, as near as whole numbers allow: the widest
 * binomial intervals that keep the promise. Exact: increments of R are Poisson numbers that are conditioned on their sum, so that the
 * probability is a product of matrices (no simulation); above 2^17 values the pointwise level is that of 2^17.
 * low, high: points + 1 counts. ret_covered: the probability itself, NaN above 2^17. LM_EMEMORY alone. */
lm_status lm_ecdf_band(size_t n, size_t points, double level, double *low, double *high, double *ret_covered,
                       lm_error *err);

/* How odd are counts [points + 1] of n values? The smallest of the two-sided binomial tails over all points is compared with its own
 * distribution: the chance that uniform numbers have one as small. Exact to 1e-9; below 1e-8, an upper bound. More sensitive than
 * Kolmogorov-Smirnov near the ends of [0, 1], where too narrow posteriors put their ranks. 1 for n = 0. LM_EMEMORY alone. */
lm_status lm_ecdf_p(const double *counts, size_t n, size_t points, double *ret, lm_error *err);
/* Those counts, of n values in any order: [points + 1]. */
void lm_ecdf_counts(const double *u, size_t n, size_t points, double *ret);

/* The p value of the smallest of `tests` p values, for independent ones: 1 - (1 - p)^tests (Sidak 1967). Whatever their dependence, a
 * result below a has a chance of at most -ln(1 - a): 2.6 % more than a = 0.05. */
double lm_p_of_smallest(double p, size_t tests);

#endif
