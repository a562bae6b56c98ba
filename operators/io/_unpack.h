/* Unpacking a compressed file (gzip, bzip2, Unix compress) piece by piece, so that only what is asked for is decoded.
 *
 * A file that unpacks to far more than it promises costs no more memory than its reader asks for. Memory goes through
 * runtime/alloc.h. Not thread safe: one reader, one unpacker.
 */
#ifndef LM_OPERATORS_IO_UNPACK_H
#define LM_OPERATORS_IO_UNPACK_H

#include "runtime/alloc.h"
#include "runtime/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct lm_unpack lm_unpack;

/* "gzip", "bzip2" or "compress" if the bytes begin as such a file does, or NULL. */
const char *lm_unpack_kind(const uint8_t *bytes, size_t n);

/* Takes over `bytes` (n of them, from lm_alloc_raw), also on failure. */
lm_status lm_unpack_new(uint8_t *take, size_t n, lm_unpack **ret, lm_error *err);
lm_unpack *lm_unpack_free(lm_unpack *unpack);
LM_OWNABLE(lm_unpack, lm_unpack_free)

/* Decodes until at least `upto` bytes are there, or the stream ends or breaks. LM_EMEMORY only. */
lm_status lm_unpack_reach(lm_unpack *unpack, uint64_t upto, lm_error *err);
/* What is decoded so far; the pointer is good until the next lm_unpack_reach(). */
const uint8_t *lm_unpack_peek(const lm_unpack *unpack, uint64_t *ret_n);
/* What is wrong with the stream ("gzip stream is cut off after 32762 bytes"), or NULL. */
const char *lm_unpack_fault(const lm_unpack *unpack);

#endif
