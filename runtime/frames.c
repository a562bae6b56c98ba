#include "runtime/frames.h"

#include <string.h>

enum { FIRST = 4096, KEPT = 1 << 20 };

void lm_frames_init(lm_frames *frames)
{
    *frames = (lm_frames){0};
}

void lm_frames_done(lm_frames *frames)
{
    lm_free(frames->body);
    *frames = (lm_frames){0};
}

void lm_frames_next(lm_frames *frames)
{
    frames->n_head = 0;
    frames->size = 0;
    frames->have = 0;
    if (frames->capacity > KEPT) { /* one large message must not hold its memory for the rest of a run */
        frames->body = lm_free(frames->body);
        frames->capacity = 0;
    }
}

/* Room for more bytes of a frame: doubled, but never past its size. */
static lm_status reserve(lm_frames *frames, size_t more, lm_error *err)
{
    size_t need = frames->have + more;
    if (need <= frames->capacity) return LM_OK;
    size_t capacity = frames->capacity ? 2 * frames->capacity : FIRST;
    if (capacity < need) capacity = need;
    if (capacity > frames->size && frames->size >= need) capacity = frames->size;
    uint8_t *grown = lm_realloc(frames->body, capacity, 1);
    if (!grown) return LM_NOMEM(err);
    frames->body = grown;
    frames->capacity = capacity;
    return LM_OK;
}

lm_status lm_frames_feed(lm_frames *frames, const uint8_t **bytes, size_t *n, bool *ret_complete, lm_error *err)
{
    while (frames->n_head < 4 && *n) {
        frames->head[frames->n_head++] = *(*bytes)++;
        --*n;
        if (frames->n_head < 4) continue;
        const uint8_t *h = frames->head;
        frames->size = (uint32_t)h[0] | (uint32_t)h[1] << 8 | (uint32_t)h[2] << 16 | (uint32_t)h[3] << 24;
        if (frames->size > LM_FRAME_LIMIT)
            return LM_FAIL(err, LM_EINPUT, "a message claims to have %u bytes, more than 2 GiB", frames->size);
    }
    if (frames->n_head < 4) {
        *ret_complete = false;
        return LM_OK;
    }
    size_t part = frames->size - frames->have;
    if (part > *n) part = *n;
    if (part) {
        LM_TRY(reserve(frames, part, err));
        memcpy(frames->body + frames->have, *bytes, part);
        frames->have += part;
        *bytes += part;
        *n -= part;
    }
    *ret_complete = frames->have == frames->size;
    return LM_OK;
}
