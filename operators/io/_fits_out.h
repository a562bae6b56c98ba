/* Writing FITS files whose bytes depend on what is written alone: no clock time, no name of a machine.
 *
 *   lm_fits_out_open, then for each HDU: a header, lm_fits_out_begin, its data, lm_fits_out_end; lm_fits_out_close
 *
 * Each HDU gets DATASUM and CHECKSUM (with comments that hold no date).
 */
#ifndef LM_OPERATORS_IO_FITS_OUT_H
#define LM_OPERATORS_IO_FITS_OUT_H

#include "runtime/record.h"

#include <stdbool.h>

/* A header under construction. After a failed allocation it stays as it was and `failed` is set. */
typedef struct lm_header {
    char *cards; /* 80 characters each */
    size_t n, capacity;
    bool failed;
} lm_header;

void lm_header_init(lm_header *header);
void lm_header_done(lm_header *header);
/* A card. Names that FITS does not know (lower case, more than 8 characters) become HIERARCH cards, long texts go on in
 * CONTINUE cards, NaN and infinities become undefined values, characters that FITS does not allow become '?'. A comment
 * that does not fit is cut. Returns false if the name cannot be written. */
bool lm_header_add(lm_header *header, const char *name, lm_value value, const char *comment);
/* HISTORY or COMMENT cards: a line each, longer ones broken after 72 characters. */
void lm_header_lines(lm_header *header, const char *name, const char *text);
/* SIMPLE or XTENSION, BITPIX, NAXIS, ... of an image like the tensor (NULL: no data). `primary` or an extension; EXTNAME is
 * `name` in upper case if not NULL; BUNIT; BZERO of unsigned integers. A single number is an image of one pixel; complex
 * numbers get a fastest axis of two. */
void lm_header_image(lm_header *header, bool primary, const lm_tensor *tensor, const char *name);

typedef struct lm_fits_out lm_fits_out;
lm_status lm_fits_out_open(const char *path, lm_fits_out **ret, lm_error *err);
lm_fits_out *lm_fits_out_close(lm_fits_out *out);
LM_OWNABLE(lm_fits_out, lm_fits_out_close)

/* Takes the cards of the header (without END), which is then empty again. */
lm_status lm_fits_out_begin(lm_fits_out *out, lm_header *header, lm_error *err);
lm_status lm_fits_out_bytes(lm_fits_out *out, const void *bytes, size_t n, lm_error *err); /* as they are */
lm_status lm_fits_out_tensor(lm_fits_out *out, const lm_tensor *tensor, lm_error *err);    /* as big-endian pixels */
lm_status lm_fits_out_end(lm_fits_out *out, lm_error *err);

/* An image compressed in tiles of whole rows: integers with Rice or gzip, floating point numbers with gzip. No pixel
 * changes, not even a NaN. */
typedef struct lm_tiled {
    uint8_t *heap;
    size_t heap_bytes, capacity;
    size_t *lengths; /* of each tile */
    size_t n, most;  /* tiles; the longest of them in bytes */
    size_t rows;     /* of the image in a tile */
    bool rice;
} lm_tiled;

/* Can the tensor's dtype be kept in tiles? Not 64-bit integers, which no codec holds, nor an image without pixels. */
bool lm_tiled_can(const lm_tensor *tensor);
/* `rice`: Rice where the pixels are integers. lm_tiled_done() in any case. */
lm_status lm_tiled_make(const lm_tensor *tensor, bool rice, lm_tiled *ret, lm_error *err);
void lm_tiled_done(lm_tiled *tiled);
/* As lm_header_image() for an extension. */
void lm_header_tiled(lm_header *header, const lm_tensor *tensor, const lm_tiled *tiled, const char *name);
/* Between lm_fits_out_begin() and lm_fits_out_end(). */
lm_status lm_fits_out_tiled(lm_fits_out *out, const lm_tiled *tiled, lm_error *err);

/* BITPIX of a tensor's pixels, and the axes of its image, fastest first; returns their number (at most LM_MAX_DIMS + 1). */
int lm_fits_bitpix(lm_dtype dtype);
unsigned lm_fits_axes(const lm_tensor *tensor, int64_t axes[LM_MAX_DIMS + 2]);
/* n bytes of a tensor's data, whole elements, as big-endian pixels, in place. */
void lm_fits_pixels(lm_dtype dtype, uint8_t *bytes, size_t n);
/* EXTNAME, BZERO and BUNIT of a tensor. */
void lm_header_tensor(lm_header *header, const lm_tensor *tensor, const char *name);

#endif
