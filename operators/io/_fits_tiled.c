/* Writing tile-compressed images (FITS standard 4.0, section 10): RICE_1 and GZIP_2, always without loss. */
#include "operators/io/_fits.h"
#include "operators/io/_fits_out.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { TILE_PIXELS = 8192, RICE_BLOCK = 32 };

bool lm_tiled_can(const lm_tensor *tensor)
{
    return tensor->dtype != LM_I64 && tensor->bytes > 0;
}

void lm_tiled_done(lm_tiled *t)
{
    t->heap = lm_free(t->heap);
    t->lengths = lm_free(t->lengths);
}

static bool room(lm_tiled *t, size_t more)
{
    if (t->capacity - t->heap_bytes >= more) return true;
    size_t capacity = t->capacity ? t->capacity : 1 << 16;
    while (capacity - t->heap_bytes < more) capacity *= 2;
    uint8_t *grown = lm_realloc(t->heap, capacity, 1);
    if (!grown) return false;
    t->heap = grown;
    t->capacity = capacity;
    return true;
}

/* ---- Rice ------------------------------------------------------------------------------------------------------- */

typedef struct {
    uint8_t *to;
    uint64_t buffer;
    unsigned left; /* bits in it */
} bits;

static void put(bits *b, uint32_t value, unsigned count)
{
    b->buffer = b->buffer << count | (value & ((UINT64_C(1) << count) - 1));
    for (b->left += count; b->left >= 8; b->left -= 8) *b->to++ = (uint8_t)(b->buffer >> (b->left - 8));
}

static uint32_t pixel(const uint8_t *p, size_t size)
{
    return size == 1   ? p[0]
           : size == 2 ? (uint32_t)p[0] << 8 | p[1]
                       : (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Differences of neighbours, zigzag (0, -1, 1, -2, ...), each block with the number of low bits that makes it short. Writes
 * at most n * (size + 1) + 16 bytes. */
static size_t rice(const uint8_t *in, size_t size, size_t n, uint8_t *to)
{
    unsigned width = (unsigned)(8 * size), length_bits = size == 1 ? 3 : size == 2 ? 4 : 5;
    unsigned verbatim = size == 1 ? 6 : size == 2 ? 14 : 25;
    uint32_t mask = (uint32_t)((UINT64_C(1) << width) - 1), last = pixel(in, size);
    bits b = {.to = to};
    put(&b, last, width);
    for (size_t i = 0; i < n;) {
        size_t count = n - i < RICE_BLOCK ? n - i : RICE_BLOCK;
        uint32_t codes[RICE_BLOCK];
        uint64_t sum = 0;
        for (size_t k = 0; k < count; k++, i++) {
            uint32_t next = pixel(in + i * size, size), step = (next - last) & mask;
            bool negative = step >> (width - 1);
            codes[k] = (negative ? ~(step << 1) : step << 1) & mask;
            sum += codes[k];
            last = next;
        }
        unsigned low = 0;
        uint64_t half = count / 2 + 1;
        for (uint64_t mean = (sum > half ? sum - half : 0) / count / 2; mean; mean >>= 1) low++;
        if (low >= verbatim) {
            put(&b, verbatim + 1, length_bits);
            for (size_t k = 0; k < count; k++) put(&b, codes[k], width);
        } else if (!sum) {
            put(&b, 0, length_bits);
        } else {
            put(&b, low + 1, length_bits);
            for (size_t k = 0; k < count; k++) {
                uint32_t zeros = codes[k] >> low;
                for (; zeros >= 16; zeros -= 16) put(&b, 0, 16);
                put(&b, 1, zeros + 1);
                if (low) put(&b, codes[k], low);
            }
        }
    }
    if (b.left) put(&b, 0, 8 - b.left);
    return (size_t)(b.to - to);
}

/* ---- gzip ------------------------------------------------------------------------------------------------------- */

static void *zlib_alloc(void *opaque, unsigned n, unsigned size)
{
    (void)opaque;
    return lm_alloc(n, size);
}
static void zlib_free(void *opaque, void *p)
{
    (void)opaque;
    lm_free(p);
}

/* The bytes of all pixels, the most significant ones first, as a gzip stream without time. 0 without memory. */
static size_t shuffle_and_gzip(const uint8_t *in, size_t size, size_t n, uint8_t *shuffled, uint8_t *to,
                               size_t room_bytes)
{
    for (size_t byte = 0; byte < size; byte++)
        for (size_t i = 0; i < n; i++) shuffled[byte * n + i] = in[i * size + byte];
    z_stream z = {.zalloc = zlib_alloc, .zfree = zlib_free};
    if (deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) return 0;
    z.next_in = shuffled;
    z.avail_in = (unsigned)(n * size);
    z.next_out = to;
    z.avail_out = (unsigned)room_bytes;
    int status = deflate(&z, Z_FINISH);
    size_t length = room_bytes - z.avail_out;
    deflateEnd(&z);
    return status == Z_STREAM_END ? length : 0;
}

/* ---- tiles ------------------------------------------------------------------------------------------------------ */

lm_status lm_tiled_make(const lm_tensor *tensor, bool want_rice, lm_tiled *ret, lm_error *err)
{
    int64_t axes[LM_MAX_DIMS + 2];
    unsigned n_axes = lm_fits_axes(tensor, axes);
    int bitpix = lm_fits_bitpix(tensor->dtype);
    size_t size = (size_t)abs(bitpix) / 8, width = (size_t)axes[0], height = n_axes > 1 ? (size_t)axes[1] : 1;
    size_t planes = tensor->bytes / size / width / height;
    if (width > UINT32_MAX / 16) return LM_FAIL(err, LM_EINPUT, "rows of %zu pixels are too long for tiles", width);
    ret->rice = want_rice && bitpix > 0;
    ret->rows = width < TILE_PIXELS ? TILE_PIXELS / width : 1;
    if (ret->rows > height) ret->rows = height;
    size_t per_plane = (height + ret->rows - 1) / ret->rows, pixels = ret->rows * width;
    ret->n = planes * per_plane;
    ret->lengths = lm_alloc(ret->n, sizeof *ret->lengths);
    LM_OWN(lm_memory) raw = lm_alloc_data(pixels * size);
    LM_OWN(lm_memory) shuffled = lm_alloc_raw(pixels * size);
    if (!ret->lengths || !raw || !shuffled) return LM_NOMEM(err);
    size_t most = pixels * (size + 1) + pixels * size / 100 + 128;
    const uint8_t *from = tensor->data;
    for (size_t i = 0; i < ret->n; i++) {
        size_t rows = i % per_plane == per_plane - 1 ? height - (per_plane - 1) * ret->rows : ret->rows;
        size_t n = rows * width;
        if (!room(ret, most)) return LM_NOMEM(err);
        memcpy(raw, from, n * size);
        from += n * size;
        lm_fits_pixels(tensor->dtype, raw, n * size);
        uint8_t *to = ret->heap + ret->heap_bytes;
        size_t length = ret->rice ? rice(raw, size, n, to) : shuffle_and_gzip(raw, size, n, shuffled, to, most);
        if (!length) return LM_NOMEM(err);
        ret->lengths[i] = length;
        ret->heap_bytes += length;
        if (length > ret->most) ret->most = length;
    }
    return LM_OK;
}

static void add_numbered(lm_header *h, const char *stem, unsigned number, lm_value value)
{
    char name[24];
    snprintf(name, sizeof name, "%s%u", stem, number);
    lm_header_add(h, name, value, NULL);
}

/* Descriptors of 32 bits while they reach. */
static bool large(const lm_tiled *t)
{
    return t->heap_bytes > INT32_MAX;
}

void lm_header_tiled(lm_header *h, const lm_tensor *tensor, const lm_tiled *t, const char *name)
{
    int64_t axes[LM_MAX_DIMS + 2];
    unsigned n = lm_fits_axes(tensor, axes);
    int bitpix = lm_fits_bitpix(tensor->dtype);
    char form[40];
    snprintf(form, sizeof form, "1%cB(%zu)", large(t) ? 'Q' : 'P', t->most);
    lm_header_add(h, "XTENSION", lm_text_value("BINTABLE"), "tile-compressed image");
    lm_header_add(h, "BITPIX", lm_int(8), NULL);
    lm_header_add(h, "NAXIS", lm_int(2), NULL);
    lm_header_add(h, "NAXIS1", lm_int(large(t) ? 16 : 8), NULL);
    lm_header_add(h, "NAXIS2", lm_int((int64_t)t->n), "tiles");
    lm_header_add(h, "PCOUNT", lm_int((int64_t)t->heap_bytes), "compressed bytes");
    lm_header_add(h, "GCOUNT", lm_int(1), NULL);
    lm_header_add(h, "TFIELDS", lm_int(1), NULL);
    lm_header_add(h, "TTYPE1", lm_text_value("COMPRESSED_DATA"), NULL);
    lm_header_add(h, "TFORM1", lm_text_value(form), NULL);
    lm_header_add(h, "ZIMAGE", lm_bool(true), NULL);
    lm_header_add(h, "ZTENSION", lm_text_value("IMAGE"), NULL);
    lm_header_add(h, "ZBITPIX", lm_int(bitpix), "type of a pixel");
    lm_header_add(h, "ZNAXIS", lm_int(n), "number of axes");
    for (unsigned i = 0; i < n; i++) add_numbered(h, "ZNAXIS", i + 1, lm_int(axes[i]));
    lm_header_add(h, "ZPCOUNT", lm_int(0), NULL);
    lm_header_add(h, "ZGCOUNT", lm_int(1), NULL);
    for (unsigned i = 0; i < n; i++)
        add_numbered(h, "ZTILE", i + 1, lm_int(i == 0 ? axes[0] : i == 1 ? (int64_t)t->rows : 1));
    lm_header_add(h, "ZCMPTYPE", lm_text_value(t->rice ? "RICE_1" : "GZIP_2"), NULL);
    if (t->rice) {
        lm_header_add(h, "ZNAME1", lm_text_value("BLOCKSIZE"), NULL);
        lm_header_add(h, "ZVAL1", lm_int(RICE_BLOCK), NULL);
        lm_header_add(h, "ZNAME2", lm_text_value("BYTEPIX"), NULL);
        lm_header_add(h, "ZVAL2", lm_int(bitpix / 8), NULL);
    }
    if (bitpix < 0) lm_header_add(h, "ZQUANTIZ", lm_text_value("NONE"), "no loss");
    lm_header_tensor(h, tensor, name);
}

lm_status lm_fits_out_tiled(lm_fits_out *out, const lm_tiled *t, lm_error *err)
{
    uint64_t at = 0;
    for (size_t i = 0; i < t->n; i++) {
        uint32_t small[2] = {(uint32_t)t->lengths[i], (uint32_t)at};
        uint64_t wide[2] = {t->lengths[i], at};
        lm_swap(small, 4, 2);
        lm_swap(wide, 8, 2);
        LM_TRY(large(t) ? lm_fits_out_bytes(out, wide, sizeof wide, err)
                        : lm_fits_out_bytes(out, small, sizeof small, err));
        at += t->lengths[i];
    }
    return lm_fits_out_bytes(out, t->heap, t->heap_bytes, err);
}
