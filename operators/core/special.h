/* Special functions for tests of hypotheses: tails of chi-square and Kolmogorov-Smirnov, as logarithms where they can be
 * smaller than any double. All are pure, and NaN in gives NaN out.
 */
#ifndef LM_CORE_SPECIAL_H
#define LM_CORE_SPECIAL_H

#include <stddef.h>

/* log Q(a, x): the regularised upper incomplete gamma function, a > 0, x >= 0. Finite for every finite x: series below
 * a + 1, continued fraction above (Abramowitz & Stegun 6.5.29, 6.5.31). Relative error of Q about 1e-15 (a + 10). */
double lm_log_gamma_q(double a, double x);

/* log of P(X >= chi2) for X of a chi-square distribution with dof > 0 degrees of freedom. */
double lm_log_chi2_tail(double chi2, double dof);

/* The chi-square whose upper tail has this logarithm: the inverse of lm_log_chi2_tail in its first argument. log_p <= 0;
 * 0 gives 0, -infinity gives infinity. */
double lm_chi2_from_log_tail(double log_p, double dof);

/* One-sample Kolmogorov-Smirnov statistic of n values against the uniform law on [0, 1]: the largest distance between the
 * two distribution functions. Sorts u. */
double lm_ks_uniform(double *u, size_t n);

/* P(D_n >= d) for that statistic. Exact for n <= 500 (Marsaglia, Tsang & Wang 2003) and, in effect, for every n in the tail
 * (twice the one-sided law, Miller 1956); the Pelz-Good expansion in between, good to 1e-6. The choice of methods is that
 * of Simard & L'Ecuyer (2011). */
double lm_ks_tail(double d, size_t n);

#endif
