/* Any bytes as a FITS file: every HDU that its headers promise, its cards and its pixels, or a reason why not. */
#include "operators/io/_fits.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void said_why(lm_status status, const lm_error *err)
{
    if (status && !*err->text) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lm_error err = {0};
    LM_OWN(lm_fits) fits = NULL;
    lm_status status = lm_fits_open_bytes("fuzz", data, size, &fits, &err);
    said_why(status, &err);
    if (status) return 0;
    lm_arena arena;
    lm_arena_init(&arena);
    for (size_t number = 0; number < 16; number++) {
        lm_hdu hdu;
        lm_error_clear(&err);
        status = lm_fits_hdu(fits, number, &hdu, &err);
        said_why(status, &err);
        if (status) break;
        lm_cards cards;
        said_why(lm_fits_cards(fits, &hdu, &arena, &cards, &err), &err);
        /* tiles are decoded by cfitsio, which trusts the sizes that it reads: not ours to mend, nor to fuzz here */
        if (hdu.kind == LM_HDU_TILES) continue;
        LM_OWN(lm_tensor) tensor = NULL;
        lm_error_clear(&err);
        status = lm_fits_image(fits, &hdu, &tensor, &err);
        said_why(status, &err);
        if (!status) { /* every pixel is ours to read */
            const volatile uint8_t *bytes = tensor->data;
            for (size_t i = 0; i < tensor->bytes; i++) (void)bytes[i];
        }
    }
    lm_arena_done(&arena);
    return 0;
}
