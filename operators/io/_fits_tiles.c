/* Tile-compressed images (RICE_1, GZIP_1, GZIP_2, HCOMPRESS_1, PLIO_1, NOCOMPRESS): decompressed by CFITSIO.
 *
 * CFITSIO gets the one HDU as a file in memory, so that no file name of a user meets its extended file name syntax, two
 * threads never share a file, and a file that is compressed as a whole is served too. What CFITSIO trusts in a header is
 * checked here first.
 */
#include "operators/io/_fits.h"

#include <fitsio.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* CFITSIO keeps a table of open files and a stack of messages for the whole process. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The newest messages of CFITSIO, joined; they are forgotten there. */
static void messages(int status, char *to, size_t size)
{
    char line[FLEN_ERRMSG], text[FLEN_STATUS];
    fits_get_errstatus(status, text);
    size_t n = (size_t)snprintf(to, size, "%s", text);
    while (fits_read_errmsg(line))
        if (n < size) n += (size_t)snprintf(to + n, size - n, "; %s", line);
}

static lm_status broken(const lm_fits *fits, const lm_hdu *hdu, int status, lm_error *err)
{
    char text[400];
    pthread_mutex_lock(&lock);
    messages(status, text, sizeof text);
    pthread_mutex_unlock(&lock);
    return LM_FAIL(err, LM_EINPUT, "\"%s\", HDU %zu: cannot be decompressed: %s", lm_fits_path(fits), hdu->number,
                   text);
}

static int64_t integer(const lm_cards *cards, const char *name, int64_t otherwise)
{
    const lm_card *card = lm_cards_find(cards, name);
    return card && card->value.kind == LM_KIND_INT ? card->value.integer : otherwise;
}

/* Tiles are at most as large as the image, and there is a row for each. */
static lm_status check_tiles(const lm_fits *fits, const lm_hdu *hdu, const lm_cards *cards, lm_error *err)
{
    uint64_t tiles = 1, pixels = 1;
    for (unsigned i = 0; i < hdu->naxis; i++) {
        char name[16];
        uint64_t length = hdu->shape[hdu->naxis - 1 - i];
        snprintf(name, sizeof name, "ZTILE%u", i + 1);
        int64_t tile = integer(cards, name, i == 0 ? (int64_t)length : 1);
        if (tile < 1)
            return LM_FAIL(err, LM_EINPUT, "\"%s\", HDU %zu: %s = %" PRId64 " is not the length of a tile",
                           lm_fits_path(fits), hdu->number, name, tile);
        if ((uint64_t)tile > length) tile = (int64_t)length;
        tiles *= (length + (uint64_t)tile - 1) / (uint64_t)tile; /* at most the number of pixels: cannot overflow */
        pixels *= (uint64_t)tile;
    }
    if (tiles != hdu->rows)
        return LM_FAIL(err, LM_EINPUT, "\"%s\", HDU %zu: %" PRIu64 " tiles, but a table of %" PRIu64 " rows",
                       lm_fits_path(fits), hdu->number, tiles, hdu->rows);
    if (pixels > INT32_MAX / 8)
        return LM_FAIL(err, LM_EINPUT, "\"%s\", HDU %zu: a tile of %" PRIu64 " pixels is too large", lm_fits_path(fits),
                       hdu->number, pixels);
    return LM_OK;
}

static void card(char *to, const char *text)
{
    size_t n = strlen(text);
    memset(to, ' ', LM_FITS_CARD);
    memcpy(to, text, n < LM_FITS_CARD ? n : LM_FITS_CARD);
}

static int type_of(lm_dtype dtype)
{
    switch (dtype) {
    case LM_U8: return TBYTE;
    case LM_I16: return TSHORT;
    case LM_U16: return TUSHORT;
    case LM_I32: return TINT;
    case LM_U32: return TUINT;
    case LM_I64: return TLONGLONG;
    case LM_F32: return TFLOAT;
    default: return TDOUBLE;
    }
}

static int decompress(void *bytes, size_t n, lm_tensor *tensor)
{
    fitsfile *file = NULL;
    int status = 0, any = 0;
    float nan_f = NAN;
    double nan_d = NAN;
    void *blank = tensor->dtype == LM_F32 ? (void *)&nan_f : tensor->dtype == LM_F64 ? (void *)&nan_d : NULL;
    pthread_mutex_lock(&lock);
    fits_open_memfile(&file, "lensmill", READONLY, &bytes, &n, 0, NULL, &status);
    pthread_mutex_unlock(&lock);
    if (status) return status;
    fits_movabs_hdu(file, 2, NULL, &status);
    fits_read_img(file, type_of(tensor->dtype), 1, (LONGLONG)lm_tensor_count(tensor), blank, tensor->data, &any,
                  &status);
    int closed = 0;
    pthread_mutex_lock(&lock);
    fits_close_file(file, &closed);
    pthread_mutex_unlock(&lock);
    return status;
}

lm_status lm_fits_tiles(lm_fits *fits, const lm_hdu *hdu, const lm_cards *cards, const lm_scaling *scaling,
                        lm_tensor *tensor, lm_error *err)
{
    (void)scaling; /* CFITSIO applies it, to the same rules */
    LM_TRY(check_tiles(fits, hdu, cards, err));
    uint64_t header = hdu->data_at - hdu->header_at;
    uint64_t padded = (hdu->data_bytes + LM_FITS_BLOCK - 1) / LM_FITS_BLOCK * LM_FITS_BLOCK;
    if (header + padded > SIZE_MAX / 2)
        return LM_FAIL(err, LM_EINPUT, "\"%s\", HDU %zu: too large for memory", lm_fits_path(fits), hdu->number);
    size_t n = LM_FITS_BLOCK + (size_t)(header + padded);
    LM_OWN(lm_chars) bytes = lm_alloc_raw(n);
    if (!bytes) return LM_NOMEM(err);
    static const char *const primary[] = {"SIMPLE  =                    T", "BITPIX  =                    8",
                                          "NAXIS   =                    0", "EXTEND  =                    T", "END"};
    memset(bytes, ' ', LM_FITS_BLOCK);
    for (size_t i = 0; i < sizeof primary / sizeof *primary; i++) card(bytes + i * LM_FITS_CARD, primary[i]);
    memset(bytes + n - LM_FITS_BLOCK, 0, LM_FITS_BLOCK);
    LM_TRY(lm_fits_read(fits, hdu->header_at, bytes + LM_FITS_BLOCK, (size_t)(header + hdu->data_bytes), err));
    int status = decompress(bytes, n, tensor);
    return status ? broken(fits, hdu, status, err) : LM_OK;
}
