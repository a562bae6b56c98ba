/* Images of lenses: y = B P L x. Light from a source plane is seen through the deflection of a lens, light of the lens plane as it
 * is; both are blurred by a point spread function (PSF) and averaged over pixels.
 *
 * A pixel's value is its mean surface brightness, per arcsec^2: its flux is that times pixel^2. Each pixel is sampled at the
 * centres of sub x sub equal parts; the PSF is given on these parts and applied there, before the mean is taken. Light that lies
 * beyond the frame by up to the PSF's size is rendered too and blurred into it.
 *
 * An adaptive renderer gives what samples without number would give: the mean brightness of each part, blurred. It takes one sample
 * a pixel where polynomials of degree 5 through these samples carry the light between them, and many where they do not:
 *   - where their error, judged by sixth differences, exceeds tolerance times the brightest sample;
 *   - around the centre of each light, traced back through the lens, whose cusp may fall between samples;
 *   - around the centre of each mass that stands where light is.
 * Both are linear in the samples: polynomials, PSF and mean together are one convolution of the coarse samples, and what the
 * finer ones differ by is added by itself. Light that shows in no sample and has no centre there (a small detail of an image used as
 * a source, a ring around a mass much smaller than a pixel) is missed.
 */
#ifndef LM_CORE_LENSING_RENDER_H
#define LM_CORE_LENSING_RENDER_H

#include "operators/core/convolve.h"
#include "operators/core/lensing/light.h"
#include "operators/core/lensing/mass.h"

/* Pixel (row j, column i) is centred on (x + (i - (w - 1)/2) pixel, y + (j - (h - 1)/2) pixel): row 0 is the lowest. */
typedef struct lm_frame {
    size_t h, w;
    double pixel; /* arcsec */
    double x, y;  /* arcsec: the middle of the frame */
    unsigned sub; /* samples along a pixel's side, 1 or more */
} lm_frame;

/* What there is to be seen. All components must have passed their checks. */
typedef struct lm_scene {
    const lm_mass *masses; /* one plane, reduced to the source's redshift */
    size_t n_masses;
    const lm_light *source; /* behind it */
    size_t n_source;
    const lm_light *light; /* in front: not lensed */
    size_t n_light;
} lm_scene;

typedef struct lm_renderer lm_renderer;

/* For many scenes in one frame. psf: on parts of pixel / sub, NULL: none; it is copied. LM_EINPUT: no pixels, or too many. */
lm_status lm_renderer_new(const lm_frame *frame, const lm_psf *psf, lm_renderer **ret, lm_error *err);
/* The same, adaptive. tolerance: of a part's mean brightness before the PSF, relative to the brightest sample, in (0, 1); 1e-3 is
 * finer than 4 x 4 samples everywhere. LM_EINPUT also: a tolerance outside that. */
lm_status lm_renderer_new_adaptive(const lm_frame *frame, const lm_psf *psf, double tolerance, lm_renderer **ret,
                                   lm_error *err);
lm_renderer *lm_renderer_free(lm_renderer *renderer);
LM_OWNABLE(lm_renderer, lm_renderer_free)

/* ret [h][w] is overwritten. One thread at a time. */
void lm_render(lm_renderer *renderer, const lm_scene *scene, double *ret);

/* Of the last image of an adaptive renderer: how many pixels took more than one sample. 0: not adaptive. */
size_t lm_renderer_refined(const lm_renderer *renderer);

#endif
