/* The parameter `mask:` of operators that fit images: which pixels take part.
 *
 * {annulus: [inner, outer], centre: [x, y], exclude: TENSOR, include: TENSOR}; all that is given must hold. Without `exclude` it is
 * the tensor "mask", not 0 where a pixel is bad, if the record has one.
 */
#ifndef LM_OPERATORS_LENS_MASK_H
#define LM_OPERATORS_LENS_MASK_H

#include "operators/core/lensing/render.h"
#include "runtime/operator.h"

/* For check(): names, and the values that are there already. NULL: the parameter is not given. */
lm_status lm_mask_check(const json_t *tree, lm_error *err);
/* ret [h][w]: 1 where a pixel takes part, scratch memory of the step; tensors are those of port "in". LM_EINPUT: a
 * tensor is not there, or has another shape. */
lm_status lm_mask_read(const json_t *tree, lm_step *step, const lm_frame *frame, unsigned char **ret, lm_error *err);

#define LM_MASK_SCHEMA                                                                                                 \
    "{\"type\": \"object\", \"additionalProperties\": false, \"properties\": {\"annulus\": {\"type\": \"array\", "     \
    "\"items\": {\"type\": \"number\"}, \"minItems\": 2, \"maxItems\": 2}, \"centre\": {\"type\": \"array\", "         \
    "\"items\": {\"type\": \"number\"}, \"minItems\": 2, \"maxItems\": 2}, \"exclude\": {\"type\": \"string\"}, "      \
    "\"include\": {\"type\": \"string\"}}}"
#define LM_MASK_DOC                                                                                                    \
    "which pixels are fitted: {annulus: [inner, outer]} in arcsec around `centre: [x, y]` (the middle), {exclude: "    \
    "TENSOR} where that tensor is not 0, {include: TENSOR} where it is; several hold together. Without exclude: "      \
    "the tensor \"mask\", not 0 where a pixel is bad, if the record has one"

#endif
