/* How well a parametric model explains an image: the likelihood of a lens, a source made of light profiles and the lens galaxy's light,
 * with the amplitudes of linear components marginalised, and its exact gradient.
 *
 *   d = P (M a + m) + n,   n ~ N(0, C_N)
 *   A = M^T P^T C_N^-1 P M,   a = A^-1 M^T P^T C_N^-1 (d - P m)
 *   ln L = -chi2(a)/2 - ln|2 pi C_N|/2 - ln|A|/2 + k/2 ln 2 pi
 *
 * M holds the k linear components at unit amplitude, m the others; the last two terms are those of amplitudes with a flat prior.
 * Without linear components this is the usual Gaussian likelihood. A pixel's brightness is the mean over sub x sub rays, and the point
 * spread function (PSF) is given on pixels: it holds the pixel's response. Light beyond the mask and the frame is blurred into them.
 */
#ifndef LM_CORE_LENSING_FIT_H
#define LM_CORE_LENSING_FIT_H

#include "operators/core/convolve.h"
#include "operators/core/lensing/light.h"
#include "operators/core/lensing/mass.h"
#include "operators/core/lensing/render.h"

#include <stdbool.h>

/* A pixel takes part where mask (NULL: everywhere) is not 0, image and noise are finite and noise is positive. */
typedef struct lm_fit_data {
    lm_frame frame;            /* frame.sub: rays along a pixel's side, averaged */
    const double *image;       /* [h][w], mean surface brightness */
    const double *noise;       /* [h][w], standard deviation */
    const unsigned char *mask; /* [h][w], or NULL */
    const lm_psf *psf;         /* on the image's pixels, NULL: none */
} lm_fit_data;

typedef struct lm_fit_light {
    lm_light light;
    bool lensed; /* behind the masses */
    int linear;  /* the index of the parameter that is an amplitude and is to be found; -1: none, all are given */
} lm_fit_light;

typedef struct lm_fit_scene {
    const lm_mass *masses;
    size_t n_masses;
    const lm_fit_light *lights;
    size_t n_lights;
} lm_fit_scene;

enum { LM_FIT_LIGHTS = 32 };

typedef struct lm_fit_result {
    double ln_likelihood, chi2;
    double amplitude[LM_FIT_LIGHTS]; /* of the linear components, in their order; 1 for the others */
} lm_fit_result;

/* d ln L by each parameter: mass [n_masses][LM_MASS_MOST], light [n_lights][LM_LIGHT_PARAMS]. Only what a mask asks for is set: bit k of
 * want_mass[i] and want_light[i] is parameter k. */
typedef struct lm_fit_gradient {
    const unsigned *want_mass, *want_light;
    double (*mass)[LM_MASS_MOST];
    double (*light)[LM_LIGHT_PARAMS];
} lm_fit_gradient;

typedef struct lm_fit lm_fit;

/* Copies everything. LM_EINPUT: no pixel takes part, or too many. */
lm_status lm_fit_new(const lm_fit_data *data, lm_fit **ret, lm_error *err);
lm_fit *lm_fit_free(lm_fit *fit);
LM_OWNABLE(lm_fit, lm_fit_free)
size_t lm_fit_pixels(const lm_fit *fit); /* that take part */

/* All components must have passed their checks. gradient: NULL, or what is wanted. LM_EINPUT: linear components that depend on one
 * another, or are dark; a likelihood that is no number. One thread at a time. */
lm_status lm_fit_evaluate(lm_fit *fit, const lm_fit_scene *scene, lm_fit_result *ret, const lm_fit_gradient *gradient,
                          lm_error *err);
/* What the data say of several parameters together: F = J^T C_N^-1 J, J the derivative of the blurred model by the parameters that the
 * masks ask for (of masses first, then of lights, each in order), after what the linear amplitudes could make up for is taken out
 * (variable projection, Kaufman 1975, BIT 15, 49). n: how many there are; ret [n][n]. */
lm_status lm_fit_fisher(lm_fit *fit, const lm_fit_scene *scene, const unsigned *want_mass, const unsigned *want_light,
                        size_t n, double *ret, lm_error *err);
/* The blurred images of the lights, each alone: unit amplitude where it is linear. ret [n_lights][h][w], 0 outside the mask. */
lm_status lm_fit_columns(lm_fit *fit, const lm_fit_scene *scene, double *ret, lm_error *err);

#endif
