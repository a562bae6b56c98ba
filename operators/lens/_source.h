/* The parameter `source:` of a source on a grid: its shape and its prior. */
#ifndef LM_OPERATORS_LENS_SOURCE_H
#define LM_OPERATORS_LENS_SOURCE_H

#include "operators/core/lensing/inversion.h"
#include "runtime/operator.h"

/* Fills in source and prior of *ret, and the size of a picture of it in ret_h, ret_w. LM_EINPUT names what is wrong. */
lm_status lm_source_read(const json_t *tree, lm_inverter_model *ret, size_t *ret_h, size_t *ret_w, lm_error *err);

#define LM_SOURCE_SCHEMA                                                                                               \
    "{\"type\": \"object\", \"additionalProperties\": false, \"properties\": {\"type\": {\"enum\": [\"pixels\"]}, "    \
    "\"grid\": {\"enum\": [\"regular\", \"delaunay\"]}, \"shape\": {\"type\": \"array\", \"items\": {\"type\": "       \
    "\"integer\", \"minimum\": 1}, \"minItems\": 2, \"maxItems\": 2}, \"pixel\": {\"type\": \"number\", "              \
    "\"exclusiveMinimum\": 0}, \"centre\": {\"type\": \"array\", \"items\": {\"type\": \"number\"}, \"minItems\": 2, " \
    "\"maxItems\": 2}, \"margin\": {\"type\": \"number\", \"minimum\": 0}, \"trim\": {\"type\": \"number\", "          \
    "\"minimum\": 0, \"maximum\": 0.4}, \"n\": {\"type\": \"integer\", \"minimum\": 3}, \"brightness\": {\"type\": "   \
    "\"number\", \"minimum\": 0}, \"floor\": {\"type\": \"number\", \"minimum\": 0}, \"prior\": {\"type\": "           \
    "\"string\"}, \"length\": {\"type\": \"number\", \"exclusiveMinimum\": 0}, \"slope\": {\"type\": \"number\"}, "    \
    "\"jitter\": {\"type\": \"number\"}}}"
#define LM_SOURCE_DOC                                                                                                  \
    "the source's unknowns and what is known of them before: {shape: [rows, columns]} of a regular grid, fitted to "   \
    "the traced rays with a `margin` (1 pixel) after the share `trim` (0.03) of rays was left out on each side "       \
    "(those "                                                                                                          \
    "near the centre of a lens come from far out), or with "                                                           \
    "`pixel` in arcsec and `centre: [x, y]`; or {grid: delaunay, n: 1500}, vertices at the traced positions of n "     \
    "image pixels, more of them where the image is bright with `brightness` (0) above 0 and `floor` (0.01); `shape` "  \
    "is then that of its picture. prior: zeroth, gradient, curvature, or exponential, squared_exponential, matern32, " \
    "matern52 with a `length` in arcsec, or power with a `slope`: P(k) as k^-slope"

#endif
