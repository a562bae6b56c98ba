/* Blurring of a sky that goes on beyond the image: an open convolver (see convolve.h), or for a PSF that is the product of a
 * column and a row, as a Gaussian is, two passes of sums where these are faster than transforms. Both give the same to rounding.
 */
#ifndef LM_CORE_LENSING_BLUR_H
#define LM_CORE_LENSING_BLUR_H

#include "operators/core/convolve.h"

typedef struct lm_blur {
    size_t h, w;   /* image */
    size_t sh, sw; /* sky: h + psf.h - 1, w + psf.w - 1 */
    size_t oy, ox; /* where the image's first pixel lies in the sky */
    /* the rest is private */
    lm_convolver *convolver; /* NULL: passes */
    size_t ph, pw;
    double *taps; /* [ph] of the column, then [pw] of the row, both turned round */
    double *row;  /* [sw] */
} lm_blur;

/* For images of h x w pixels. The PSF is copied. LM_EINPUT: no pixels, or too many. */
lm_status lm_blur_new(const lm_psf *psf, size_t h, size_t w, lm_blur **ret, lm_error *err);
lm_blur *lm_blur_free(lm_blur *blur);
LM_OWNABLE(lm_blur, lm_blur_free)

/* image [h][w] = psf * sky [sh][sw]. One thread at a time. */
void lm_blur_apply(lm_blur *blur, const double *sky, double *image);

#endif
