/* The normal equations of blurred images: W = P^T C_N^-1 P between the pixels that cast rays, made once for a data set,
 * and F = L^T W L of each lens model.
 *
 * W_ij is not zero only where the PSF carries light of both pixels into one: its upper half is kept, in rows of pixels
 * that follow each other. F costs one multiplication for each element of W and each source pixel that the second of its
 * pixels sees.
 */
#ifndef LM_CORE_LENSING_BLUR_NORMAL_H
#define LM_CORE_LENSING_BLUR_NORMAL_H

#include "operators/core/cholesky.h"
#include "operators/core/convolve.h"
#include "operators/core/lensing/source_grid.h"

enum {
    LM_BLUR_LANES = 4
}; /* pixels that follow each other, worked on at once: they share data with nearly the same ones */

typedef struct lm_blur_run {
    int first, n; /* pixels first .. first + n - 1 */
    size_t at;    /* of the first one's elements */
} lm_blur_run;

typedef struct lm_blur_normal {
    size_t n, rows;   /* pixels; runs of a block of lanes, one a row of pixels */
    lm_blur_run *run; /* [blocks][rows] */
    double *element;  /* [run.n][lanes] of each run; of the upper half, those of the diagonal halved */
    size_t n_elements;
} lm_blur_normal;

/* Where things are: pixel i of n lies at (row[i], column[i]) of the sky, rows first and columns inside them ascending;
 * data pixel (y, x) of h x w at (y + oy, x + ox). */
typedef struct lm_blur_layout {
    size_t n;
    const size_t *row, *column;
    size_t h, w, oy, ox;
} lm_blur_layout;

/* How many elements W takes. */
size_t lm_blur_normal_size(const lm_blur_layout *layout, const lm_psf *psf);
/* precision [h][w]: 1/sigma^2, 0 where a pixel takes no part. psf NULL: none. Starts zeroed. LM_EMEMORY alone. */
lm_status lm_blur_normal_make(lm_blur_normal *blur, const lm_blur_layout *layout, const lm_psf *psf,
                              const double *precision, lm_error *err);
void lm_blur_normal_done(lm_blur_normal *blur);

/* F and H on the elements that either of them has, so that A = F + lambda H is one pass. Starts zeroed. */
typedef struct lm_normal {
    lm_symmetric A; /* the pattern, and room for values */
    double *F, *H;  /* as A.value */
    /* private */
    size_t room;
    lm_lensing flipped; /* L^T by rows */
    size_t *t_start, *t_runs, *m_start, *fill;
    int *t_column, *m_column, *m_row;
    double *t_value, *m_value, *sum;
    size_t t_room, m_room, rows_room, columns_room;
} lm_normal;

/* Forms F = L^T W L, and lays H beside it (NULL: H is zero). LM_EINPUT: too many elements. */
lm_status lm_normal_make(lm_normal *normal, const lm_blur_normal *blur, const lm_lensing *lensing,
                         const lm_symmetric *H, lm_error *err);
void lm_normal_done(lm_normal *normal);
/* A.value = F + lambda H */
void lm_normal_sum(lm_normal *normal, double lambda);
/* full [n][n], lower half (both: also the upper one) = F */
void lm_normal_spread(const lm_normal *normal, const double *value, bool both, double *full);

#endif
