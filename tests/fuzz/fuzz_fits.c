/* Any bytes as a FITS file: every HDU that its headers promise, its cards, its pixels and its table, or a reason why not. */
#include "operators/io/_fits.h"
#include "operators/io/_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void said_why(lm_status status, const lm_error *err)
{
    if (status && !*err->text) abort();
}

/* The first table, its cells and its tensors. Tables are opened by name: the bytes go into a file of no folder. */
static void read_table(const uint8_t *data, size_t size)
{
    enum { MOST = 4096 };
    lm_error err = {0};
    LM_OWN(lm_table) table = NULL;
    char path[64];
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0) return;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    lm_status status = write(fd, data, size) == (ssize_t)size ? lm_table_open(path, NULL, &table, &err) : LM_OK;
    said_why(status, &err);
    size_t columns = table ? lm_table_columns(table) : 0, cells = 0;
    for (size_t row = 0; columns && row < lm_table_rows(table) && cells < MOST; row++) {
        for (size_t i = 0; i < columns; i++, cells++) {
            const lm_column *column = lm_table_column(table, i);
            lm_value value;
            LM_OWN(lm_tensor) tensor = NULL;
            lm_error_clear(&err);
            if (column->scalar) said_why(lm_table_cell(table, row, i, &value, &err), &err);
            lm_error_clear(&err);
            said_why(lm_table_tensor(table, row, column->name, &tensor, &err), &err);
        }
    }
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_table(data, size);
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
