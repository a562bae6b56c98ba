/* Frames on a pipe: a length (4 bytes, little-endian), then so many bytes. The parser is fed with chunks as they come and
 * never trusts a length: memory grows with what has arrived. */
#ifndef LM_RUNTIME_FRAMES_H
#define LM_RUNTIME_FRAMES_H

#include "runtime/alloc.h"
#include "runtime/error.h"

#include <stdbool.h>
#include <stdint.h>

/* The most that a protobuf message can be. */
enum { LM_FRAME_LIMIT = INT32_MAX };

typedef struct lm_frames {
    uint8_t head[4];
    unsigned n_head; /* bytes of the length that have come */
    uint32_t size;   /* of the frame under way; valid when n_head == 4 */
    uint8_t *body;   /* what has come of it; owned */
    size_t have, capacity;
} lm_frames;

void lm_frames_init(lm_frames *frames);
void lm_frames_done(lm_frames *frames);
/* Takes bytes from the front of a chunk (moving *bytes and *n on) up to the end of a frame. *ret_complete: a frame is whole, it
 * is frames->body with frames->size bytes until lm_frames_next(). LM_EINPUT: a length past the limit; LM_EMEMORY. */
lm_status lm_frames_feed(lm_frames *frames, const uint8_t **bytes, size_t *n, bool *ret_complete, lm_error *err);
/* Forgets the complete frame; the next one may begin. */
void lm_frames_next(lm_frames *frames);
/* Is the stream between two frames? */
static inline bool lm_frames_at_rest(const lm_frames *frames)
{
    return frames->n_head == 0;
}

#endif
