/* Any bytes as a stored record or tensor: refused with a reason, or a record that has one stored form. */
#include "runtime/codec.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_record(lm_bytes stored)
{
    LM_OWN(lm_record) record = NULL;
    lm_error err = {0};
    if (lm_record_decode(stored, &record, &err)) {
        if (!*err.text) abort(); /* refused without saying why */
        return;
    }
    lm_arena arena;
    lm_arena_init(&arena);
    lm_bytes once, twice;
    LM_OWN(lm_record) back = NULL;
    if (lm_record_encode(record, false, &arena, &once, &err)) goto out; /* names too long to store */
    if (lm_record_decode(once, &back, &err)) abort();                   /* what we wrote, we read */
    if (lm_record_encode(back, false, &arena, &twice, &err)) abort();
    if (once.size != twice.size || memcmp(once.data, twice.data, once.size) != 0) abort();
out:
    lm_arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_record((lm_bytes){data, size});
    lm_tensor *tensor = NULL;
    lm_error err = {0};
    if (!lm_tensor_decode((lm_bytes){data, size}, NULL, NULL, &tensor, &err)) {
        /* every byte of the payload is ours to read */
        const volatile uint8_t *bytes = tensor->data;
        for (size_t i = 0, n = tensor->bytes; i < n; i++) (void)bytes[i];
        lm_tensor_unref(tensor);
    }
    return 0;
}
