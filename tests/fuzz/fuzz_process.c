/* Any bytes as what a program writes to its standard output: the first byte says in what pieces they come. The parser must
 * find the same frames whatever the pieces, hold no more memory than has arrived, and each frame must be refused with a
 * reason or become a record. */
#include "runtime/frames.h"
#include "runtime/process.h"
#include "runtime/step.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* How a stream ends: frames seen, a sum over their bytes, and how. */
typedef struct {
    size_t frames;
    uint64_t sum;
    lm_status status;
    bool at_rest;
} ending;

static lm_status skip(const void *self, lm_step *step, lm_error *err)
{
    (void)self, (void)step, (void)err;
    return LM_OK;
}
static const lm_operator op = {.name = "fuzz", .version = 1, .summary = "x", .step = skip};

static void answer(const lm_frames *frames)
{
    lm_record *in = NULL;
    lm_error err = {0};
    if (lm_record_new("in", &in, &err)) abort();
    lm_step step;
    lm_step_init(&step);
    lm_step_begin(&step, &op, NULL, NULL, "fuzz");
    step.inputs[0].record = in;
    step.id = "in";
    if (lm_process_answer(&step, frames->body, frames->size, &err) && !*err.text) abort();
    lm_step_done(&step);
    lm_record_unref(in);
}

static ending parse(const uint8_t *data, size_t size, size_t piece, bool decode)
{
    lm_frames frames;
    lm_frames_init(&frames);
    ending end = {0};
    lm_error err = {0};
    for (size_t at = 0; at < size && !end.status;) {
        size_t n = size - at < piece ? size - at : piece;
        const uint8_t *bytes = data + at;
        at += n;
        while (!end.status) {
            bool complete = false;
            end.status = lm_frames_feed(&frames, &bytes, &n, &complete, &err);
            if (frames.capacity > 2 * size + 8192) abort(); /* memory from a claim */
            if (end.status && !*err.text) abort();
            if (end.status || !complete) break;
            end.frames++;
            for (size_t i = 0; i < frames.size; i++) end.sum = end.sum * 31 + frames.body[i];
            if (decode) answer(&frames);
            lm_frames_next(&frames);
        }
        if (!end.status && n) abort(); /* an incomplete frame takes the whole piece */
    }
    end.at_rest = lm_frames_at_rest(&frames);
    lm_frames_done(&frames);
    return end;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size) return 0;
    size_t piece = data[0] + (size_t)1;
    ending whole = parse(data + 1, size - 1, size, true), parts = parse(data + 1, size - 1, piece, false);
    if (whole.frames != parts.frames || whole.sum != parts.sum || whole.status != parts.status ||
        whole.at_rest != parts.at_rest)
        abort();
    return 0;
}
