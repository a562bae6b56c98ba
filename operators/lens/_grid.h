/* The parameter `grid:` of the lens operators: where pixels are. */
#ifndef LM_OPERATORS_LENS_GRID_H
#define LM_OPERATORS_LENS_GRID_H

#include "operators/core/lensing/render.h"
#include "runtime/operator.h"

/* {shape: [rows, columns], pixel: arcsec, offset: [x, y]}; `sub` becomes 1. LM_EINPUT says what is wrong. */
lm_status lm_grid_read(const json_t *tree, lm_frame *ret, lm_error *err);
/* x of each column [w] and y of each row [h], the centres of pixels. */
void lm_grid_axes(const lm_frame *frame, double *x, double *y);

/* Is the PSF of the record on port "in" given on pixels of this size (arcsec)? What made it says so in the attribute "psf_pixel"; without one it is
 * taken to be. LM_EINPUT tells both sizes. */
lm_status lm_psf_pixel_check(lm_step *step, double pixel, lm_error *err);

#define LM_GRID_SCHEMA                                                                                                 \
    "{\"type\": \"object\", \"required\": [\"shape\", \"pixel\"], \"additionalProperties\": false, \"properties\": "   \
    "{\"shape\": {\"type\": \"array\", \"items\": {\"type\": \"integer\", \"minimum\": 1}, \"minItems\": 2, "          \
    "\"maxItems\": 2}, \"pixel\": {\"type\": \"number\", \"exclusiveMinimum\": 0}, \"offset\": {\"type\": \"array\", " \
    "\"items\": {\"type\": \"number\"}, \"minItems\": 2, \"maxItems\": 2}}}"
#define LM_GRID_DOC                                                                                                    \
    "the pixels: {shape: [rows, columns], pixel: arcsec, offset: [x, y]}. Their centres are at x = (column - "         \
    "(columns - 1)/2) pixel + offset x, and y the same of rows; the first row is the lowest y"

#endif
