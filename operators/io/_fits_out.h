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
/* Into memory: lm_fits_out_take() hands the bytes over. */
lm_status lm_fits_out_memory(lm_fits_out **ret, lm_error *err);
lm_fits_out *lm_fits_out_close(lm_fits_out *out);
LM_OWNABLE(lm_fits_out, lm_fits_out_close)
uint8_t *lm_fits_out_take(lm_fits_out *out, size_t *ret_n);

/* Takes the cards of the header (without END), which is then empty again. */
lm_status lm_fits_out_begin(lm_fits_out *out, lm_header *header, lm_error *err);
lm_status lm_fits_out_bytes(lm_fits_out *out, const void *bytes, size_t n, lm_error *err); /* as they are */
lm_status lm_fits_out_tensor(lm_fits_out *out, const lm_tensor *tensor, lm_error *err);    /* as big-endian pixels */
lm_status lm_fits_out_end(lm_fits_out *out, lm_error *err);

/* Rewrites a FITS file in memory with its image extensions compressed in tiles: integers with `codec` ("rice" or "gzip"),
 * floating point numbers with gzip, so that no pixel changes; integers of 64 bits are copied. *ret_bytes is freed with lm_free. */
lm_status lm_fits_compress(const uint8_t *bytes, size_t n, const char *codec, uint8_t **ret_bytes, size_t *ret_n,
                           lm_error *err);

#endif
