/* Decoders of the codecs of tile-compressed FITS images (FITS standard 4.0, section 10.4).
 *
 * Every decoder checks its input's length and its output's; broken input gives false (LM_BROKEN), never a read
 * or write outside.
 */
#ifndef LM_OPERATORS_IO_FITS_CODECS_H
#define LM_OPERATORS_IO_FITS_CODECS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { LM_BROKEN, LM_DECODED, LM_NO_MEMORY } lm_decoded;

/* RICE_1: blocks of `block` differences of pixels of `bytes` = 1, 2 or 4 bytes. Bytes come out as 0 to 255, others signed. */
bool lm_rice_decode(const uint8_t *in, size_t n_in, unsigned block, unsigned bytes, size_t n, int32_t *to);
/* PLIO_1: n_in 16-bit words, big-endian; masks of 0 to 2^24. */
bool lm_plio_decode(const uint8_t *in, size_t n_in, size_t n, int32_t *to);
/* HCOMPRESS_1: the H-transform of R. L. White, without the optional smoothing. */
lm_decoded lm_hcompress_decode(const uint8_t *in, size_t n_in, size_t n, int32_t *to);
/* gzip: at most `room` bytes; *ret_n is how many there are. */
lm_decoded lm_gzip_decode(const uint8_t *in, size_t n_in, uint8_t *to, size_t room, size_t *ret_n);
/* GZIP_2: gathers the bytes of n elements of `size` bytes that were sorted by significance. */
void lm_unshuffle(const uint8_t *from, size_t size, size_t n, uint8_t *to);

#endif
