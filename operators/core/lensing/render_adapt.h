/* What an adaptive renderer adds to a uniform one: see render.h for what it promises. Private to render.c. */
#ifndef LM_CORE_LENSING_RENDER_ADAPT_H
#define LM_CORE_LENSING_RENDER_ADAPT_H

#include "operators/core/lensing/render.h"

#include <stdbool.h>

/* How many rows of w samples are traced together: enough that what a component makes ready does not count. */
size_t lm_at_once(size_t w);
/* Brightness at n positions; bx, by: where they lie in the source plane, untouched if there is no source. */
void lm_scene_sample(const lm_scene *scene, size_t n, const double *x, const double *y, double *bx, double *by,
                     double *ret);

typedef struct lm_adapt lm_adapt;
/* The frame has been checked. psf NULL: none. */
lm_status lm_adapt_new(const lm_frame *frame, const lm_psf *psf, double tolerance, lm_adapt **ret, lm_error *err);
lm_adapt *lm_adapt_free(lm_adapt *adapt);
LM_OWNABLE(lm_adapt, lm_adapt_free)
size_t lm_adapt_refined(const lm_adapt *adapt);

/* ret [h][w] is the image. True: without the corrections of refined pixels, which are many; they are left in fine [fh][fw], samples
 * whose first of the frame is at (oy, ox), for the caller to blur and add. */
bool lm_adapt_render(lm_adapt *adapt, const lm_scene *scene, double *ret, double *fine, size_t fh, size_t fw, size_t oy,
                     size_t ox);

#endif
