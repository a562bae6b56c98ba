/* The pixels of a FITS image as a tensor. See README.md for the rules of dtype. */
#include "operators/io/_fits.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CHUNK = 32768 };

static double number(const lm_cards *cards, const char *name, double otherwise)
{
    const lm_card *card = lm_cards_find(cards, name);
    double value = card ? lm_value_real(card->value) : otherwise;
    return isfinite(value) ? value : otherwise;
}

/* A float32 has 24 bits: are neighbouring raw integers still different numbers after scaling? */
static bool float_is_enough(int bitpix, double scale, double zero)
{
    double raw = bitpix == 8 ? 255 : 32768;
    return fabs(scale) >= (fabs(zero) + raw * fabs(scale)) * 0x1p-23;
}

void lm_fits_scaling(const lm_cards *cards, int bitpix, lm_scaling *ret)
{
    lm_scaling s = {.scale = number(cards, "BSCALE", 1), .zero = number(cards, "BZERO", 0)};
    const lm_card *blank = bitpix > 0 ? lm_cards_find(cards, "BLANK") : NULL;
    if (!blank && bitpix > 0) blank = lm_cards_find(cards, "ZBLANK");
    s.has_blank = blank && blank->value.kind == LM_KIND_INT;
    if (s.has_blank) s.blank = blank->value.integer;
    bool plain = s.scale == 1 && s.zero == 0;
    if (bitpix == -32) {
        s.dtype = LM_F32;
    } else if (bitpix == -64) {
        s.dtype = LM_F64;
    } else if (s.has_blank || !plain) {
        s.dtype = bitpix > 16 || !float_is_enough(bitpix, s.scale, s.zero) ? LM_F64 : LM_F32;
        if (!s.has_blank && s.scale == 1) { /* the conventions for unsigned and signed integers */
            if (bitpix == 8 && s.zero == -128) {
                s.dtype = LM_I16; /* there is no int8 here */
            } else if (bitpix == 16 && s.zero == 0x1p15) {
                s.dtype = LM_U16;
                s.flip = UINT64_C(1) << 15;
            } else if (bitpix == 32 && s.zero == 0x1p31) {
                s.dtype = LM_U32;
                s.flip = UINT64_C(1) << 31;
            }
        }
    } else {
        s.dtype = bitpix == 8 ? LM_U8 : bitpix == 16 ? LM_I16 : bitpix == 32 ? LM_I32 : LM_I64;
    }
    *ret = s;
}

/* Raw pixels as they are: only their byte order is ours to change. */
static bool as_they_are(int bitpix, const lm_scaling *s)
{
    if (bitpix < 0) return s->scale == 1 && s->zero == 0;
    return s->dtype != LM_F32 && s->dtype != LM_F64 && !(bitpix == 8 && s->dtype == LM_I16);
}

static void flip(void *data, int bitpix, const lm_scaling *s, size_t n)
{
    if (!s->flip) return;
    if (bitpix == 16) {
        uint16_t *p = data;
        for (size_t i = 0; i < n; i++) p[i] ^= (uint16_t)s->flip;
    } else {
        uint32_t *p = data;
        for (size_t i = 0; i < n; i++) p[i] ^= (uint32_t)s->flip;
    }
}

/* One raw pixel in this machine's order. */
static inline double pixel(const uint8_t *from, int bitpix, const lm_scaling *s)
{
    int64_t raw;
    double value;
    if (bitpix == 8) {
        raw = *from;
    } else if (bitpix == 16) {
        uint16_t bits;
        memcpy(&bits, from, 2);
        raw = (int16_t)__builtin_bswap16(bits);
    } else if (bitpix == 32 || bitpix == -32) {
        uint32_t bits;
        memcpy(&bits, from, 4);
        bits = __builtin_bswap32(bits);
        if (bitpix < 0) {
            float real;
            memcpy(&real, &bits, 4);
            return (double)real * s->scale + s->zero;
        }
        raw = (int32_t)bits;
    } else {
        uint64_t bits;
        memcpy(&bits, from, 8);
        bits = __builtin_bswap64(bits);
        if (bitpix < 0) {
            memcpy(&value, &bits, 8);
            return value * s->scale + s->zero;
        }
        raw = (int64_t)bits;
    }
    if (s->has_blank && raw == s->blank) return NAN;
    return (double)raw * s->scale + s->zero;
}

static inline __attribute__((always_inline)) void convert(const uint8_t *from, int bitpix, const lm_scaling *s,
                                                          size_t n, void *to)
{
    size_t size = (size_t)(bitpix < 0 ? -bitpix : bitpix) / 8;
    if (s->dtype == LM_F32) {
        float *p = to;
        for (size_t i = 0; i < n; i++) p[i] = (float)pixel(from + i * size, bitpix, s);
    } else {
        double *p = to;
        for (size_t i = 0; i < n; i++) p[i] = pixel(from + i * size, bitpix, s);
    }
}

void lm_fits_convert(const uint8_t *from, int bitpix, const lm_scaling *s, size_t n, void *to)
{
    size_t size = (size_t)(bitpix < 0 ? -bitpix : bitpix) / 8;
    if (as_they_are(bitpix, s)) {
        memcpy(to, from, n * size);
        lm_swap(to, size, n);
        flip(to, bitpix, s, n);
    } else if (s->dtype == LM_I16) {
        int16_t *p = to;
        for (size_t i = 0; i < n; i++) p[i] = (int16_t)(from[i] - 128);
    } else if (bitpix == 8) {
        convert(from, 8, s, n, to);
    } else if (bitpix == 16) {
        convert(from, 16, s, n, to);
    } else if (bitpix == 32) {
        convert(from, 32, s, n, to);
    } else if (bitpix == 64) {
        convert(from, 64, s, n, to);
    } else if (bitpix == -32) {
        convert(from, -32, s, n, to);
    } else {
        convert(from, -64, s, n, to);
    }
}

static lm_status read_pixels(lm_fits *fits, const lm_hdu *hdu, const lm_scaling *s, lm_tensor *tensor, lm_error *err)
{
    size_t n = lm_tensor_count(tensor), size = (size_t)(hdu->bitpix < 0 ? -hdu->bitpix : hdu->bitpix) / 8;
    if (as_they_are(hdu->bitpix, s)) {
        LM_TRY(lm_fits_read(fits, hdu->data_at, tensor->data, n * size, err));
        lm_swap(tensor->data, size, n);
        flip(tensor->data, hdu->bitpix, s, n);
        return LM_OK;
    }
    uint8_t chunk[CHUNK];
    /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): BITPIX is at least 8: lm_fits_open() checked it */
    size_t step = CHUNK / size, width = lm_dtype_size(tensor->dtype);
    for (size_t i = 0; i < n; i += step) {
        size_t part = n - i < step ? n - i : step;
        LM_TRY(lm_fits_read(fits, hdu->data_at + i * size, chunk, part * size, err));
        lm_fits_convert(chunk, hdu->bitpix, s, part, (uint8_t *)tensor->data + i * width);
    }
    return LM_OK;
}

static lm_status no_image(const lm_fits *fits, const lm_hdu *hdu, lm_error *err)
{
    const char *path = lm_fits_path(fits);
    size_t i = hdu->number;
    if (hdu->kind == LM_HDU_GROUPS)
        return LM_FAIL_HINT(err, LM_EINPUT, "Visibilities in UVFITS are read by \"uvfits.read\".",
                            "\"%s\", HDU %zu: random groups, not an image", path, i);
    if (hdu->kind == LM_HDU_BINTABLE || hdu->kind == LM_HDU_ASCII)
        return LM_FAIL(err, LM_EINPUT, "\"%s\", HDU %zu: a table, not an image", path, i);
    if (hdu->kind == LM_HDU_OTHER)
        return LM_FAIL(err, LM_EINPUT, "\"%s\", HDU %zu: an extension that is neither image nor table", path, i);
    if (hdu->naxis > LM_MAX_DIMS)
        return LM_FAIL(err, LM_EINPUT, "\"%s\", HDU %zu: an image of %u axes: at most %d can be read", path, i,
                       hdu->naxis, LM_MAX_DIMS);
    return LM_FAIL(err, LM_EINPUT, "\"%s\", HDU %zu: has no pixels%s", path, i,
                   hdu->naxis ? ": an axis has length 0" : " (NAXIS = 0)");
}

static lm_status read_image(lm_fits *fits, const lm_hdu *hdu, lm_arena *arena, lm_tensor **ret, lm_error *err)
{
    lm_cards cards;
    LM_TRY(lm_fits_cards(fits, hdu, arena, &cards, err));
    lm_scaling scaling;
    lm_fits_scaling(&cards, hdu->bitpix, &scaling);
    size_t shape[LM_MAX_DIMS];
    for (unsigned i = 0; i < hdu->naxis; i++) shape[i] = (size_t)hdu->shape[i];
    LM_OWN(lm_tensor) tensor = NULL;
    if (hdu->kind == LM_HDU_IMAGE) {
        LM_TRY(lm_tensor_new(scaling.dtype, hdu->naxis, shape, &tensor, err));
        LM_TRY(read_pixels(fits, hdu, &scaling, tensor, err));
    } else {
        uint64_t count = 1;
        for (unsigned i = 0; i < hdu->naxis; i++) count *= hdu->shape[i];
        /* No codec reaches this but for areas of one value: more would be memory for a header that lies. */
        uint64_t most = (UINT64_C(1) << 24) + 4096 * hdu->data_bytes;
        if (count > most)
            return LM_FAIL(err, LM_EINPUT,
                           "\"%s\", HDU %zu: %" PRIu64 " pixels cannot come out of %" PRIu64 " compressed bytes",
                           lm_fits_path(fits), hdu->number, count, hdu->data_bytes);
        LM_TRY(lm_tensor_new(scaling.dtype, hdu->naxis, shape, &tensor, err));
        LM_TRY(lm_fits_tiles(fits, hdu, &cards, &scaling, tensor, err));
    }
    const lm_card *unit = lm_cards_find(&cards, "BUNIT");
    if (unit && unit->value.kind == LM_KIND_TEXT && unit->value.text[0])
        LM_TRY(lm_tensor_set_unit(tensor, unit->value.text, err));
    *ret = lm_take(tensor);
    return LM_OK;
}

lm_status lm_fits_image(lm_fits *fits, const lm_hdu *hdu, lm_tensor **ret, lm_error *err)
{
    if ((hdu->kind != LM_HDU_IMAGE && hdu->kind != LM_HDU_TILES) || hdu->empty || hdu->naxis > LM_MAX_DIMS)
        return no_image(fits, hdu, err);
    LM_TRY(lm_fits_complete(fits, hdu, err)); /* before memory is taken for it */
    lm_arena arena;
    lm_arena_init(&arena);
    lm_status status = read_image(fits, hdu, &arena, ret, err);
    lm_arena_done(&arena);
    return status;
}
