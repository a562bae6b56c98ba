/* Convolution of an image with a point spread function (PSF), and its exact adjoint.
 *
 *   data[y,x] = sum_ij psf[i,j] sky[y - i + ci, x - j + cj]
 *
 * (ci, cj) is the PSF's origin: light of a star at pixel (y, x) is the PSF with that pixel on (y, x). What the sky is
 * beyond the image is the edge's choice:
 *   open      unknown: the sky is modelled on a frame that is larger by the PSF on all sides, and data are what the
 *             image saw of it (Bertero & Boccacci 2005, A&A 437, 369). No light is invented, none is lost.
 *   zero      nothing
 *   mirror    d c b a | a b c d | d c b a
 *   nearest   a a a a | a b c d | d d d d
 *   periodic  a b c d | a b c d | a b c d
 * All are exact for a PSF of any size, also one larger than the image.
 *
 * A convolver belongs to one thread at a time. Arrays need no alignment.
 */
#ifndef LM_OPERATORS_CORE_CONVOLVE_H
#define LM_OPERATORS_CORE_CONVOLVE_H

#include "operators/core/fft.h"

typedef enum lm_edge { LM_EDGE_OPEN, LM_EDGE_ZERO, LM_EDGE_MIRROR, LM_EDGE_NEAREST, LM_EDGE_PERIODIC } lm_edge;
extern const char *const lm_edge_names[]; /* in that order, then NULL */

typedef enum lm_psf_centre {
    LM_PSF_MIDDLE,  /* pixel (h-1)/2, (w-1)/2, rounded down: as scipy's "same" */
    LM_PSF_PEAK,    /* the brightest pixel; the first of equals */
    LM_PSF_CENTROID /* the pixel nearest to the centre of light */
} lm_psf_centre;
extern const char *const lm_psf_centre_names[];

typedef struct lm_psf {
    double *at; /* [h][w], ours */
    size_t h, w;
    size_t cy, cx;   /* the origin */
    double sum;      /* of the pixels as they were given */
    size_t negative; /* how many pixels were below zero */
} lm_psf;

/* A copy of a PSF's pixels, checked, with its origin. normalise: divided by their sum. LM_EINPUT: a pixel is not finite,
 * or the sum is not positive. Free with lm_psf_done, also after a failure. */
lm_status lm_psf_init(lm_psf *psf, const double *pixels, size_t h, size_t w, lm_psf_centre centre, bool normalise,
                      lm_error *err);
void lm_psf_done(lm_psf *psf);
/* Sets negative pixels to zero and keeps the sum. */
void lm_psf_clip(lm_psf *psf);

typedef struct lm_convolver {
    lm_edge edge;
    bool single;   /* which of _f32 and _f64 it serves */
    size_t h, w;   /* data */
    size_t sh, sw; /* sky: the same, but for an open edge, where it is h + psf.h - 1, w + psf.w - 1 */
    size_t oy, ox; /* where the data's first pixel lies in the sky */
    /* the rest is private */
    size_t eh, ew;         /* the sky with its continuation, as it is put on the grid */
    size_t gy, gx;         /* where the data's first pixel lies on the grid */
    size_t n1, n2;         /* the grid */
    size_t *map_y, *map_x; /* [eh], [ew]: which sky pixel continues here; NULL: itself */
    lm_fft *fft;
    void *kernel, *spectrum;            /* [n1][stride] complex */
    void *sky_row, *data_row, *out_row; /* [n2]; the first two stay zero beyond their pixels */
    void *fold;                         /* [sh][sw], where pixels have several continuations */
} lm_convolver;

/* For data of h x w pixels. LM_EINPUT: no pixels, or too many. */
lm_status lm_convolver_new(const lm_psf *psf, size_t h, size_t w, lm_edge edge, bool single, lm_convolver **ret,
                           lm_error *err);
lm_convolver *lm_convolver_free(lm_convolver *convolver);
LM_OWNABLE(lm_convolver, lm_convolver_free)

/* data [h][w] = psf * sky [sh][sw] */
void lm_convolve_f64(lm_convolver *convolver, const double *sky, double *data);
void lm_convolve_f32(lm_convolver *convolver, const float *sky, float *data);
/* sky [sh][sw] = the adjoint on data [h][w]: <convolve(x), y> = <x, adjoint(y)> */
void lm_convolve_adjoint_f64(lm_convolver *convolver, const double *data, double *sky);
void lm_convolve_adjoint_f32(lm_convolver *convolver, const float *data, float *sky);

/* The same in steps, for loops that work on a row while it is in cache:
 *   load(sky); for y < h: row = blurred(y), use its w pixels; [put(y, row)];
 *   back();    for y < sh in order: row = adjoint(y), use its sw pixels.
 * A row lives until the next call. After load(), every row is taken once and then put once, before back(). */
void lm_convolver_load_f64(lm_convolver *convolver, const double *sky);
void lm_convolver_load_f32(lm_convolver *convolver, const float *sky);
const double *lm_convolver_blurred_f64(lm_convolver *convolver, size_t y);
const float *lm_convolver_blurred_f32(lm_convolver *convolver, size_t y);
double *lm_convolver_buffer_f64(lm_convolver *convolver); /* w pixels to fill for put() */
float *lm_convolver_buffer_f32(lm_convolver *convolver);
void lm_convolver_put_f64(lm_convolver *convolver, size_t y); /* the buffer as row y of the adjoint's data */
void lm_convolver_put_f32(lm_convolver *convolver, size_t y);
void lm_convolver_back_f64(lm_convolver *convolver);
void lm_convolver_back_f32(lm_convolver *convolver);
const double *lm_convolver_adjoint_f64(lm_convolver *convolver, size_t y);
const float *lm_convolver_adjoint_f32(lm_convolver *convolver, size_t y);

#endif
