/* What the operators that know about a PSF share: their inputs, and the attributes by which a deconvolution tells
 * compare.residuals how its model is to be blurred. */
#ifndef LM_OPERATORS_DECONVOLVE_INPUTS_H
#define LM_OPERATORS_DECONVOLVE_INPUTS_H

#include "operators/core/deconvolve.h"
#include "runtime/operator.h"

/* Attributes of a deconvolved record. */
#define LM_PSF_EDGE "psf_edge"             /* text: lm_edge_names */
#define LM_PSF_CENTRE "psf_centre"         /* text: lm_psf_centre_names */
#define LM_PSF_NORMALISED "psf_normalised" /* bool */
#define LM_NOISE_GAIN "noise_gain"         /* real: photons a unit; absent if photon noise was not modelled */

typedef struct lm_deconvolve_inputs {
    lm_blurred_image image; /* arrays live as the step does, or as `scalar` */
    const double *psf;
    size_t psf_h, psf_w;
    lm_dtype dtype;  /* of the image */
    double scalar;   /* the variance, where it is one number */
    double variance; /* of a typical pixel: as given, the mean of the tensor, or estimated; NaN: unknown */
    bool given;      /* the variance was given */
} lm_deconvolve_inputs;

/* Reads the tensors image, psf, mask and variance, and the parameter `variance` (which the tensor overrides where it is
 * unset). *ret must not be moved: image.variance may point into it. */
lm_status lm_deconvolve_read(lm_step *step, lm_deconvolve_inputs *ret, lm_error *err);

/* Makes the output tensor `name` (float or double) of the image's shape from doubles. */
lm_status lm_deconvolve_write(lm_step *step, const lm_deconvolve_inputs *inputs, const char *name, bool single,
                              const double *pixels, lm_error *err);

/* Sets iterations, variance and the PSF attributes. gain NaN: photon noise was not modelled. */
lm_status lm_deconvolve_describe(lm_step *step, const lm_deconvolve_inputs *inputs, size_t iterations, double gain,
                                 lm_edge edge, lm_psf_centre centre, bool normalised, lm_error *err);

#endif
