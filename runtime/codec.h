/* Records and tensors in their stored form: protobuf, as schemas/lensmill.proto says.
 *
 * A tensor up to LM_INLINE_TENSOR bytes lies inside its record's message; a larger one is a message of its own, named by
 * its digest, whose payload starts at a multiple of 64 bytes where the store maps it and is never copied on the way.
 */
#ifndef LM_RUNTIME_CODEC_H
#define LM_RUNTIME_CODEC_H

#include "runtime/arena.h"
#include "runtime/record.h"

#include <stdbool.h>

enum { LM_FORMAT = 1, LM_INLINE_TENSOR = 4096, LM_TENSOR_PREFIX = 1024 };

typedef struct lm_bytes {
    const uint8_t *data;
    size_t size;
} lm_bytes;

/* What stands before the payload in a tensor's stored form. prefix has room for LM_TENSOR_PREFIX bytes; LM_EINPUT if unit
 * and axis names are longer than that. */
lm_status lm_tensor_prefix(const lm_tensor *tensor, uint8_t *prefix, size_t *ret_size, lm_error *err);
/* The digest of the stored form; computed once a tensor, by whichever thread comes first. */
lm_status lm_tensor_digest(lm_tensor *tensor, lm_digest *ret, lm_error *err);
/* A tensor over its stored form, without a copy: release(owner) when it goes. The payload is checked against the shape. */
lm_status lm_tensor_decode(lm_bytes stored, void (*release)(void *owner), void *owner, lm_tensor **ret, lm_error *err);
/* A tensor that lies in the store: dtype and shape are known, data is NULL. */
lm_status lm_tensor_absent(lm_dtype dtype, unsigned ndim, const size_t *shape, const lm_digest *digest, lm_tensor **ret,
                           lm_error *err);
static inline bool lm_tensor_is_absent(const lm_tensor *tensor)
{
    return !tensor->data;
}

/* The stored form of a record; in the arena. whole: every tensor inline (for pipes), else large ones by digest. */
lm_status lm_record_encode(const lm_record *record, bool whole, lm_arena *arena, lm_bytes *ret, lm_error *err);
/* The record of a stored form; its large tensors are absent. Any bytes are safe: LM_EINPUT says what is wrong. */
lm_status lm_record_decode(lm_bytes stored, lm_record **ret, lm_error *err);

#endif
