/* Deconvolution of an image by a known point spread function: Richardson-Lucy and Wiener.
 *
 * Images are row-major [h][w] doubles, in any unit U of brightness a pixel; variances are in U^2. A pixel that is not
 * finite, or that the mask marks, is unknown: its value changes nothing.
 */
#ifndef LM_OPERATORS_CORE_DECONVOLVE_H
#define LM_OPERATORS_CORE_DECONVOLVE_H

#include "operators/core/convolve.h"

#include <stdint.h>

typedef struct lm_blurred_image {
    const double *pixels;
    const uint8_t *mask; /* NULL, or [h][w]: not 0 = bad pixel */
    size_t h, w;
    const double *variance; /* of the noise that is not the light's own (read-out, sky): NULL, 1 number, or [h][w] */
    size_t n_variance;      /* 0, 1, or h * w; a pixel whose variance is not finite is bad */
} lm_blurred_image;

/* 1 for each pixel that can be used, else 0; returns their number. */
size_t lm_image_usable(const lm_blurred_image *image, uint8_t *ret);

/* An estimate of the noise's variance from the image itself: the median absolute value of the Laplacian difference
 * [1 -2 1; -2 4 -2; 1 -2 1] (Immerkaer 1996), over 6 * 0.6745. For white noise; correlated (drizzled) noise comes out too
 * low. NaN below 3 x 3 usable pixels. */
lm_status lm_noise_variance(const double *pixels, const uint8_t *usable, size_t h, size_t w, double *ret,
                            lm_error *err);

typedef enum lm_lucy_method { LM_LUCY_PLAIN, LM_LUCY_DAMPED, LM_LUCY_TOTAL_VARIATION } lm_lucy_method;
typedef enum lm_lucy_start {
    LM_LUCY_MEAN, /* the mean of the usable pixels everywhere */
    LM_LUCY_FLAT, /* 0.5 everywhere, whatever the unit */
    LM_LUCY_IMAGE /* the image, lifted to a hundredth of its mean; the mean where it is unknown */
} lm_lucy_start;

typedef struct lm_lucy_options {
    size_t iterations;
    lm_edge edge;
    lm_lucy_method method;
    lm_lucy_start start;
    double gain;      /* photons (electrons) in a unit of the image; NaN: 5 / sqrt(variance), or 1 without a variance */
    double threshold; /* damped: T, in sigma */
    double lambda;    /* total variation: weight, < 0.25 */
    double filter_epsilon;      /* pixels whose blurred model is below are left out of the update; 0: none */
    double tolerance;           /* stop when an iteration changes less than this part of the light; 0: never */
    bool keep_flux;             /* rescale each model, so that usable pixels see as much light as the image has */
    bool single;                /* work in float */
    bool (*stopped)(void *arg); /* asked before each iteration; NULL: nobody wants to stop */
    void *arg;
} lm_lucy_options;

typedef struct lm_lucy_result {
    size_t iterations; /* done */
    double gain;       /* used */
    size_t used;       /* pixels */
    size_t clipped;    /* pixels that the pedestal did not lift to zero, and that were taken as zero */
} lm_lucy_result;

/* Maximises the likelihood of   gain * (image + b) ~ Poisson(gain * (psf * model + b)),   b = gain * variance
 * (the shifted Poisson of Snyder et al. 1995: sky and read-out noise of a variance V photons^2 act as V photons of
 * background) by
 *     model <- model * H^T[w (image + b) / (H model + b)] / H^T[w]
 * with w = 0 on unusable pixels. Edge `zero` divides by H^T[w] / H^T[1] instead: without a mask this is 1, as
 * scikit-image has it. The PSF should not be negative (lm_psf_clip).
 *   model      [h][w], out
 *   surround   [h][w], out, or NULL: light in the image that the model has beyond the image (open edge; else zeros)
 * LM_EINPUT: no usable pixel, or a negative variance. LM_ECANCEL: stopped. Both outputs are then undefined. */
lm_status lm_richardson_lucy(const lm_blurred_image *image, const lm_psf *psf, const lm_lucy_options *options,
                             double *model, double *surround, lm_lucy_result *ret, lm_error *err);

typedef enum lm_wiener_method {
    LM_WIENER_LAPLACIAN, /* filter conj(H) / (|H|^2 + balance |L|^2), L the transform of [0 -1 0; -1 4 -1; 0 -1 0] */
    LM_WIENER_NOISE /* filter conj(H) S / (|H|^2 S + N): S the signal's power in rings of frequency, N the noise's */
} lm_wiener_method;

typedef struct lm_wiener_options {
    lm_wiener_method method;
    double balance;  /* laplacian */
    double variance; /* noise: per pixel */
    bool mirror;     /* continue the image by mirroring, rather than periodically */
} lm_wiener_options;

/* Unusable pixels are first filled in with the PSF-weighted mean of the usable ones around them.
 *   model      [h][w], out; may be negative
 * LM_EINPUT: no usable pixel. */
lm_status lm_wiener(const lm_blurred_image *image, const lm_psf *psf, const lm_wiener_options *options, double *model,
                    lm_error *err);

#endif
