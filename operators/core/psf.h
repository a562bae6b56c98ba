/* Point spread functions (PSFs) from closed forms, and stars that lie between pixels.
 *
 * A profile is a function of R^2 = q x'^2 + y'^2/q, x' along the position angle phi (radians from +x,
 * counter-clockwise, of the major axis), and has a light of 1; q <= 1 is minor over major axis.
 *
 *   gaussian  exp(-4 ln 2 R^2/fwhm^2)
 *   moffat    (1 + R^2/a^2)^-beta,  a = fwhm/(2 sqrt(2^(1/beta) - 1))   (Moffat 1969, A&A 3, 455)
 *
 * On pixels it is averaged over each of them, by enough points that a narrow one keeps its place and its width.
 * Lengths are in one unit (arcsec). Images are [h][w], row 0 the lowest.
 */
#ifndef LM_CORE_PSF_H
#define LM_CORE_PSF_H

#include "runtime/error.h"

#include <stddef.h>

typedef enum lm_psf_kind { LM_PSF_GAUSSIAN, LM_PSF_MOFFAT } lm_psf_kind;

typedef struct lm_psf_profile {
    lm_psf_kind kind;
    double fwhm; /* on the intermediate axis */
    double beta; /* of a Moffat profile, > 1 */
    double q, phi;
} lm_psf_profile;

/* LM_EINPUT names the value that is out of its range. */
lm_status lm_psf_profile_check(const lm_psf_profile *profile, lm_error *err);
/* The radius on the major axis beyond which lies that part of the light (0 < beyond < 1). */
double lm_psf_profile_radius(const lm_psf_profile *profile, double beyond);
/* On n x n pixels (n odd) of side `pixel`, with its centre at (x, y) from the middle of the middle pixel. The pixels'
 * sum is 1. */
void lm_psf_profile_fill(const lm_psf_profile *profile, double pixel, double x, double y, size_t n, double *ret);

/* A PSF [h][w] moved by (x, y) pixels, 0 <= x, y < 1, onto [h + 3][w + 3]; its origin moves by one pixel besides. By
 * cubic convolution with a = -1/2 (Keys 1981): sum, centre and width (first and second moments) are kept, and what is
 * moved by 0 stays the same. */
void lm_psf_move(const double *psf, size_t h, size_t w, double x, double y, double *ret);

/* Adds flux times a PSF [kh][kw] to an image `to` [h][w] of pixels of sub x sub samples: the PSF's first pixel lies
 * on the sample (row, column), which may be outside; what falls outside is lost. */
void lm_psf_stamp(const double *psf, size_t kh, size_t kw, ptrdiff_t row, ptrdiff_t column, unsigned sub, double flux,
                  size_t h, size_t w, double *to);

#endif
