/* PNG: pixels to the bytes of a file. The bytes depend on the pixels and on the versions of libpng and zlib alone: no date,
 * no name. */
#ifndef LM_PLOT_PNG_H
#define LM_PLOT_PNG_H

#include "runtime/error.h"
#include "runtime/text.h"

#include <stdint.h>

/* Appends a PNG of width x height pixels to ret. rgb: rows from the top, three bytes a pixel.
 * dots_per_inch tells programs how large to print it; 0: says nothing. Fails for lack of memory, or for a picture that is
 * empty or larger than 2^31 - 1 bytes. */
lm_status lm_png_encode(const uint8_t *rgb, size_t width, size_t height, double dots_per_inch, lm_text *ret,
                        lm_error *err);

#endif
