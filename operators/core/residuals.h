/* What is left of an image when its model is taken off: how large it is, and whether it is noise. */
#ifndef LM_OPERATORS_CORE_RESIDUALS_H
#define LM_OPERATORS_CORE_RESIDUALS_H

#include <stddef.h>
#include <stdint.h>

typedef struct lm_residual_summary {
    size_t used;         /* pixels */
    double mean;         /* unit of the residual */
    double chi2;         /* sum of residual^2 / variance; NaN if no variance is known */
    double chi2_reduced; /* chi2 / used */
    double whiteness;    /* Q / its degrees of freedom; 1 for white noise */
    double whiteness_p;  /* chance that white noise has a larger Q */
} lm_residual_summary;

/* residual [h][w]; usable [h][w]: 0 = leave out; variance: NULL, or [h][w], > 0 where usable.
 *
 * Whiteness: with e = residual / sigma less its mean (sigma = 1 if no variance is known), over all pairs of usable pixels
 * that are k = (dy, dx) apart
 *     r_k = (sum of e_i e_i+k over n_k pairs) / (sum of e_i^2),    Q = sum over k of N^2/n_k r_k^2,   N usable pixels
 * for the 12 different lags up to 2 pixels along each axis (k and -k are one): the Ljung-Box statistic in two dimensions.
 * For white noise Q follows chi-square with 12 degrees of freedom (fewer where a lag has no pairs). Q does not depend on the
 * variance's scale. NaN if the residual is constant. */
void lm_residual_summarise(const double *residual, const double *variance, const uint8_t *usable, size_t h, size_t w,
                           lm_residual_summary *ret);

#endif
