/* Tile-compressed images (FITS standard 4.0, section 10): where the tiles are, what scales them, and where they go.
 *
 * A tile's bytes are decoded to raw big-endian pixels of ZBITPIX (or to quantised integers, which become floating point
 * numbers), and these go through the same conversion as the pixels of a plain image. The decoders are in _fits_codecs.c.
 */
#include "operators/io/_fits.h"
#include "operators/io/_fits_codecs.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { N_DITHER = 10000, ZERO_PIXEL = -2147483646 };

typedef enum { RICE, GZIP_1, GZIP_2, PLIO, HCOMPRESS, NOCOMPRESS } codec;
typedef enum { NO_DITHER, DITHER_1, DITHER_2 } dithering;

/* A column of the table that holds the tiles; `type` 0: there is none. */
typedef struct {
    char type;     /* P or Q: points into the heap; otherwise of a single number */
    char elements; /* of P and Q */
    uint64_t at;   /* byte in the row */
} slot;

typedef struct {
    const lm_fits *fits;
    const lm_hdu *hdu;
    const uint8_t *data; /* rows, gap, heap */
    uint64_t heap;
    codec codec;
    unsigned rice_block, rice_bytes;
    bool quantised;
    dithering dither;
    int64_t seed; /* ZDITHER0 */
    double scale, zero;
    bool has_blank;
    int64_t blank;
    slot compressed, gzipped, plain, scales, zeros, blanks;
    uint64_t tile[LM_MAX_DIMS]; /* lengths, slowest first */
    size_t tile_pixels;         /* of a whole one */
    int32_t *integers;          /* scratch for one tile */
    uint8_t *raw, *spare;
    void *out;
    const float *random;
} tiles;

static lm_status fail(const tiles *t, const char *what, lm_error *err)
{
    return LM_FAIL(err, LM_EINPUT, "\"%s\", HDU %zu: %s", lm_fits_path(t->fits), t->hdu->number, what);
}

static int64_t integer(const lm_cards *cards, const char *name, int64_t otherwise)
{
    const lm_card *card = lm_cards_find(cards, name);
    return card && card->value.kind == LM_KIND_INT ? card->value.integer : otherwise;
}

static const char *text(const lm_cards *cards, const char *name)
{
    const lm_card *card = lm_cards_find(cards, name);
    return card && card->value.kind == LM_KIND_TEXT ? card->value.text : "";
}

/* The value of the codec's parameter of that name (ZNAMEi, ZVALi). */
static int64_t setting(const lm_cards *cards, const char *name, int64_t otherwise)
{
    for (int i = 1; i <= 99; i++) {
        char key[24];
        snprintf(key, sizeof key, "ZNAME%d", i);
        if (!lm_cards_find(cards, key)) break;
        if (strcasecmp(text(cards, key), name) != 0) continue;
        snprintf(key, sizeof key, "ZVAL%d", i);
        return integer(cards, key, otherwise);
    }
    return otherwise;
}

/* ---- what the header says --------------------------------------------------------------------------------------- */

static lm_status read_columns(tiles *t, const lm_cards *cards, lm_error *err)
{
    static const char *const names[] = {
        "COMPRESSED_DATA", "GZIP_COMPRESSED_DATA", "UNCOMPRESSED_DATA", "ZSCALE", "ZZERO", "ZBLANK"};
    slot *const slots[] = {&t->compressed, &t->gzipped, &t->plain, &t->scales, &t->zeros, &t->blanks};
    int64_t n = integer(cards, "TFIELDS", 0);
    uint64_t at = 0;
    for (int64_t i = 1; i <= n && i <= 999; i++) {
        char key[16], *end;
        snprintf(key, sizeof key, "TFORM%d", (int)i);
        const char *form = text(cards, key);
        uint64_t repeat = form[0] >= '0' && form[0] <= '9' ? strtoull(form, &end, 10) : 1;
        const char *type = form + strspn(form, "0123456789");
        uint64_t size = lm_fits_type_size(*type);
        if (!size || repeat > t->hdu->row_bytes || repeat * size > t->hdu->row_bytes - at)
            return LM_FAIL(err, LM_EINPUT,
                           "\"%s\", HDU %zu: TFORM%d = \"%s\" does not fit in a row of %" PRIu64 " bytes",
                           lm_fits_path(t->fits), t->hdu->number, (int)i, form, t->hdu->row_bytes);
        snprintf(key, sizeof key, "TTYPE%d", (int)i);
        for (size_t k = 0; repeat && k < sizeof slots / sizeof *slots; k++)
            if (strcasecmp(text(cards, key), names[k]) == 0)
                *slots[k] = (slot){*type, *type == 'P' || *type == 'Q' ? type[1] : 0, at};
        at += repeat * size;
    }
    return LM_OK;
}

static lm_status read_codec(tiles *t, const lm_cards *cards, lm_error *err)
{
    static const struct {
        const char *name;
        codec codec;
    } codecs[] = {{"RICE_1", RICE}, {"RICE_ONE", RICE},         {"GZIP_1", GZIP_1},        {"GZIP_2", GZIP_2},
                  {"PLIO_1", PLIO}, {"HCOMPRESS_1", HCOMPRESS}, {"NOCOMPRESS", NOCOMPRESS}};
    const char *name = text(cards, "ZCMPTYPE");
    size_t i = 0, n = sizeof codecs / sizeof *codecs;
    while (i < n && strcmp(codecs[i].name, name) != 0) i++;
    if (i == n)
        return LM_FAIL(err, LM_EINPUT, "\"%s\", HDU %zu: cannot be decompressed: no codec is called \"%s\"",
                       lm_fits_path(t->fits), t->hdu->number, name);
    t->codec = codecs[i].codec;
    int64_t block = setting(cards, "BLOCKSIZE", 32), bytes = setting(cards, "BYTEPIX", 4);
    if (block < 1 || block > 1 << 20 || (bytes != 1 && bytes != 2 && bytes != 4))
        return fail(t, "cannot be decompressed: wrong settings of RICE_1", err);
    t->rice_block = (unsigned)block;
    t->rice_bytes = (unsigned)bytes;
    return LM_OK;
}

static void read_quantisation(tiles *t, const lm_cards *cards)
{
    const lm_card *scale = lm_cards_find(cards, "ZSCALE"), *zero = lm_cards_find(cards, "ZZERO");
    const lm_card *blank = lm_cards_find(cards, "ZBLANK");
    const char *method = text(cards, "ZQUANTIZ");
    t->quantised = t->hdu->bitpix < 0 && strcmp(method, "NONE") != 0 && (t->scales.type || scale);
    t->scale = scale ? lm_value_real(scale->value) : 1;
    t->zero = zero ? lm_value_real(zero->value) : 0;
    t->has_blank = blank && blank->value.kind == LM_KIND_INT;
    if (t->has_blank) t->blank = blank->value.integer;
    t->dither = !strcmp(method, "SUBTRACTIVE_DITHER_1")   ? DITHER_1
                : !strcmp(method, "SUBTRACTIVE_DITHER_2") ? DITHER_2
                                                          : NO_DITHER;
    t->seed = integer(cards, "ZDITHER0", 1);
    if (t->seed < 1 || t->seed > N_DITHER) t->seed = 1;
}

/* Tiles are at most as large as the image, and there is a row for each. */
static lm_status read_tiling(tiles *t, const lm_cards *cards, lm_error *err)
{
    const lm_hdu *hdu = t->hdu;
    uint64_t rows = 1, pixels = 1;
    for (unsigned i = 0; i < hdu->naxis; i++) {
        char name[16];
        unsigned axis = hdu->naxis - 1 - i;
        uint64_t length = hdu->shape[axis];
        snprintf(name, sizeof name, "ZTILE%u", i + 1);
        int64_t tile = integer(cards, name, i == 0 ? (int64_t)length : 1);
        if (tile < 1)
            return LM_FAIL(err, LM_EINPUT, "\"%s\", HDU %zu: %s = %" PRId64 " is not the length of a tile",
                           lm_fits_path(t->fits), hdu->number, name, tile);
        t->tile[axis] = (uint64_t)tile < length ? (uint64_t)tile : length;
        rows *= (length + t->tile[axis] - 1) / t->tile[axis]; /* at most the number of pixels: cannot overflow */
        pixels *= t->tile[axis];
    }
    if (rows != hdu->rows)
        return LM_FAIL(err, LM_EINPUT, "\"%s\", HDU %zu: %" PRIu64 " tiles, but a table of %" PRIu64 " rows",
                       lm_fits_path(t->fits), hdu->number, rows, hdu->rows);
    if (pixels > UINT32_MAX / 8) return fail(t, "a tile of more than 2^29 pixels", err);
    t->tile_pixels = (size_t)pixels;
    return LM_OK;
}

/* The numbers that CFITSIO and the standard (appendix I) add to quantised pixels: Park and Miller's generator. */
static void make_random(float *random)
{
    double seed = 1;
    for (int i = 0; i < N_DITHER; i++) {
        double next = 16807 * seed;
        seed = next - 2147483647.0 * floor(next / 2147483647.0);
        random[i] = (float)(seed / 2147483647.0);
    }
}

/* ---- one tile --------------------------------------------------------------------------------------------------- */

static uint64_t big_endian(const uint8_t *p, size_t n)
{
    uint64_t value = 0;
    while (n--) value = value << 8 | *p++;
    return value;
}

/* The bytes in the heap that a row's descriptor points to. *ret_n 0: none. */
static lm_status heap_bytes(const tiles *t, const slot *from, uint64_t row, const uint8_t **ret, size_t *ret_n,
                            lm_error *err)
{
    *ret = NULL;
    *ret_n = 0;
    if (!from->type) return LM_OK;
    uint64_t width = from->type == 'P' ? 4 : from->type == 'Q' ? 8 : 0, size = lm_fits_type_size(from->elements);
    if (!width || !size) return fail(t, "a column of tiles that is not of variable length", err);
    const uint8_t *p = t->data + row * t->hdu->row_bytes + from->at;
    uint64_t n = big_endian(p, width), at = big_endian(p + width, width);
    uint64_t heap = t->hdu->data_bytes - t->heap;
    if (n > heap / size || at > heap - n * size)
        return LM_FAIL(err, LM_EINPUT,
                       "\"%s\", HDU %zu: cannot be decompressed: tile %" PRIu64 " lies outside the data",
                       lm_fits_path(t->fits), t->hdu->number, row + 1);
    *ret = t->data + t->heap + at;
    *ret_n = (size_t)(n * size);
    return LM_OK;
}

static double column_number(const tiles *t, const slot *from, uint64_t row, double otherwise)
{
    if (!from->type) return otherwise;
    const uint8_t *p = t->data + row * t->hdu->row_bytes + from->at;
    uint64_t bits = big_endian(p, (size_t)lm_fits_type_size(from->type));
    uint32_t low = (uint32_t)bits;
    float single;
    double value;
    switch (from->type) {
    case 'D': memcpy(&value, &bits, 8); return value;
    case 'E': memcpy(&single, &low, 4); return (double)single;
    case 'B': return (double)bits;
    case 'I': return (double)(int16_t)low;
    case 'J': return (double)(int32_t)low;
    case 'K': return (double)(int64_t)bits;
    default: return otherwise;
    }
}

/* t->raw (n pixels of `size` bytes, big-endian) to t->integers. */
static void raw_to_integers(tiles *t, size_t size, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t value = big_endian(t->raw + i * size, size);
        t->integers[i] = size == 1 ? (int32_t)value : size == 2 ? (int16_t)value : (int32_t)value;
    }
}

static void integers_to_raw(tiles *t, size_t size, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t value = (uint64_t)(int64_t)t->integers[i];
        for (size_t k = 0; k < size; k++) t->raw[i * size + k] = (uint8_t)(value >> (8 * (size - 1 - k)));
    }
}

/* Decodes to t->integers, or to t->raw (*ret_size bytes a pixel); *ret_size 0: integers. */
static lm_decoded decode(tiles *t, const uint8_t *in, size_t n_in, size_t n, size_t *ret_size)
{
    size_t got = 0;
    *ret_size = 0;
    switch (t->codec) {
    case RICE: return lm_rice_decode(in, n_in, t->rice_block, t->rice_bytes, n, t->integers) ? LM_DECODED : LM_BROKEN;
    case PLIO: return lm_plio_decode(in, n_in / 2, n, t->integers) ? LM_DECODED : LM_BROKEN;
    case HCOMPRESS: return lm_hcompress_decode(in, n_in, n, t->integers);
    case NOCOMPRESS:
        if (n_in > 8 * n) return LM_BROKEN;
        memcpy(t->raw, in, n_in);
        got = n_in;
        break;
    case GZIP_1:
    case GZIP_2: {
        lm_decoded how = lm_gzip_decode(in, n_in, t->codec == GZIP_1 ? t->raw : t->spare, 8 * n, &got);
        if (how != LM_DECODED) return how;
        break;
    }
    }
    if (got % n || (got != n && got != 2 * n && got != 4 * n && got != 8 * n)) return LM_BROKEN;
    *ret_size = got / n;
    if (t->codec == GZIP_2) lm_unshuffle(t->spare, *ret_size, n, t->raw);
    return LM_DECODED;
}

/* Quantised integers to floating point numbers of the image, into t->out. */
static void dequantise(const tiles *t, uint64_t row, size_t n, const lm_scaling *scaling)
{
    double scale = column_number(t, &t->scales, row, t->scale), zero = column_number(t, &t->zeros, row, t->zero);
    double blank = column_number(t, &t->blanks, row, t->has_blank ? (double)t->blank : (double)NAN);
    size_t start = (size_t)((row + (uint64_t)t->seed - 1) % N_DITHER);
    size_t at = (size_t)(t->random[start] * 500);
    for (size_t i = 0; i < n; i++) {
        double value, raw = t->integers[i];
        if (raw == blank) value = (double)NAN;
        else if (t->dither == DITHER_2 && t->integers[i] == ZERO_PIXEL) value = 0;
        else if (t->dither == NO_DITHER) value = raw * scale + zero;
        else value = (raw - (double)t->random[at] + 0.5) * scale + zero;
        if (++at == N_DITHER) {
            start = start + 1 == N_DITHER ? 0 : start + 1;
            at = (size_t)(t->random[start] * 500);
        }
        value = value * scaling->scale + scaling->zero;
        if (scaling->dtype == LM_F32) ((float *)t->out)[i] = (float)value;
        else ((double *)t->out)[i] = value;
    }
}

static lm_status cannot(const tiles *t, uint64_t row, const char *why, lm_error *err)
{
    return LM_FAIL(err, LM_EINPUT, "\"%s\", HDU %zu: cannot be decompressed: tile %" PRIu64 " of %" PRIu64 " %s",
                   lm_fits_path(t->fits), t->hdu->number, row + 1, t->hdu->rows, why);
}

/* The tile's n pixels in the tensor's dtype, into t->out. */
static lm_status read_tile(tiles *t, uint64_t row, size_t n, const lm_scaling *scaling, lm_error *err)
{
    const uint8_t *in;
    size_t n_in, size = 0, want = (size_t)abs(t->hdu->bitpix) / 8;
    bool quantised = t->quantised;
    LM_TRY(heap_bytes(t, &t->compressed, row, &in, &n_in, err));
    if (n_in) {
        lm_decoded how = decode(t, in, n_in, n, &size);
        if (how == LM_NO_MEMORY) return LM_NOMEM(err);
        if (how == LM_BROKEN) return cannot(t, row, "is damaged", err);
    } else {
        LM_TRY(heap_bytes(t, &t->gzipped, row, &in, &n_in, err));
        size_t got = 0;
        if (n_in) {
            lm_decoded how = lm_gzip_decode(in, n_in, t->raw, 8 * n, &got);
            if (how == LM_NO_MEMORY) return LM_NOMEM(err);
            if (how == LM_BROKEN) return cannot(t, row, "is damaged", err);
        } else {
            LM_TRY(heap_bytes(t, &t->plain, row, &in, &n_in, err));
            if (!n_in) return cannot(t, row, "has no data", err);
            if ((got = n_in) <= 8 * n) memcpy(t->raw, in, n_in);
        }
        if (got != want * n) return cannot(t, row, "has the wrong length", err);
        size = want;
        quantised = false; /* kept as it was where quantising would lose too much */
    }
    if (quantised) {
        if (size == 8) return cannot(t, row, "has quantised numbers of 8 bytes", err);
        if (size) raw_to_integers(t, size, n);
        dequantise(t, row, n, scaling);
        return LM_OK;
    }
    if (t->hdu->bitpix < 0 && size != want) return cannot(t, row, "has no ZSCALE", err);
    if (t->hdu->bitpix == 64 && size != want) return cannot(t, row, "has no integers of 64 bits", err);
    if (size != want) {
        if (size == 8) return cannot(t, row, "has the wrong length", err);
        if (size) raw_to_integers(t, size, n);
        /* PLIO holds no negative numbers: CFITSIO, which writes these files, puts unsigned 16-bit pixels in as they are,
         * although BZERO then says 32768 */
        if (t->codec == PLIO && t->hdu->bitpix == 16 && scaling->zero == 0x1p15)
            for (size_t i = 0; i < n; i++) t->integers[i] -= 1 << 15;
        integers_to_raw(t, want, n);
    }
    lm_fits_convert(t->raw, t->hdu->bitpix, scaling, n, t->out);
    return LM_OK;
}

/* ---- all tiles -------------------------------------------------------------------------------------------------- */

/* Copies t->out, a tile of these lengths, to its place. */
static void place(const tiles *t, const uint64_t *begin, const uint64_t *length, lm_tensor *tensor)
{
    unsigned last = tensor->ndim - 1;
    size_t size = lm_dtype_size(tensor->dtype), line = (size_t)length[last] * size;
    const uint8_t *from = t->out;
    uint64_t at[LM_MAX_DIMS] = {0};
    for (;;) {
        size_t offset = 0;
        for (unsigned i = 0; i <= last; i++) offset = offset * tensor->shape[i] + (size_t)(begin[i] + at[i]);
        memcpy((uint8_t *)tensor->data + offset * size, from, line);
        from += line;
        unsigned axis = last;
        while (axis--) {
            if (++at[axis] < length[axis]) break;
            at[axis] = 0;
        }
        if (axis == UINT_MAX) return;
    }
}

static lm_status read_all(tiles *t, const lm_scaling *scaling, lm_tensor *tensor, lm_error *err)
{
    uint64_t begin[LM_MAX_DIMS] = {0}, length[LM_MAX_DIMS];
    for (uint64_t row = 0; row < t->hdu->rows; row++) {
        size_t n = 1;
        for (unsigned i = 0; i < tensor->ndim; i++) {
            uint64_t rest = t->hdu->shape[i] - begin[i];
            length[i] = rest < t->tile[i] ? rest : t->tile[i];
            n *= (size_t)length[i];
        }
        LM_TRY(read_tile(t, row, n, scaling, err));
        place(t, begin, length, tensor);
        for (unsigned axis = tensor->ndim; axis--;) {
            if ((begin[axis] += t->tile[axis]) < t->hdu->shape[axis]) break;
            begin[axis] = 0;
        }
    }
    return LM_OK;
}

lm_status lm_fits_tiles(lm_fits *fits, const lm_hdu *hdu, const lm_cards *cards, const lm_scaling *scaling,
                        lm_tensor *tensor, lm_error *err)
{
    tiles t = {.fits = fits, .hdu = hdu};
    LM_TRY(read_tiling(&t, cards, err));
    LM_TRY(read_codec(&t, cards, err));
    LM_TRY(read_columns(&t, cards, err));
    read_quantisation(&t, cards);
    int64_t heap = integer(cards, "THEAP", (int64_t)(hdu->row_bytes * hdu->rows));
    if (heap < (int64_t)(hdu->row_bytes * hdu->rows) || (uint64_t)heap > hdu->data_bytes)
        return fail(&t, "THEAP lies outside the data", err);
    t.heap = (uint64_t)heap;
    if (hdu->data_bytes > SIZE_MAX / 2) return fail(&t, "too large for memory", err);
    LM_OWN(lm_memory) data = lm_alloc_raw((size_t)hdu->data_bytes + 1);
    LM_OWN(lm_memory) integers = lm_alloc_raw(t.tile_pixels * sizeof(int32_t));
    LM_OWN(lm_memory) raw = lm_alloc_raw(t.tile_pixels * 8);
    LM_OWN(lm_memory) spare = lm_alloc_raw(t.tile_pixels * 8);
    LM_OWN(lm_memory) out = lm_alloc_raw(t.tile_pixels * 8);
    LM_OWN(lm_memory) random = lm_alloc_raw(N_DITHER * sizeof(float));
    if (!data || !integers || !raw || !spare || !out || !random) return LM_NOMEM(err);
    make_random(random);
    t.data = data;
    t.integers = integers;
    t.raw = raw;
    t.spare = spare;
    t.out = out;
    t.random = random;
    LM_TRY(lm_fits_read(fits, hdu->data_at, data, (size_t)hdu->data_bytes, err));
    return read_all(&t, scaling, tensor, err);
}
