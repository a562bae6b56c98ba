#include "operators/io/_fits_codecs.h"

#include "runtime/alloc.h"

#include <string.h>
#include <zlib.h>

/* ---- bits, the most significant first --------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *in;
    size_t n, at;
    uint64_t buffer; /* the low `left` bits are still to be read */
    unsigned left;
    bool over; /* more was asked for than there is */
} bits;

/* Up to 32 bits. */
static inline uint32_t take(bits *b, unsigned count)
{
    while (b->left < count) {
        if (b->at == b->n) {
            b->over = true;
            return 0;
        }
        b->buffer = b->buffer << 8 | b->in[b->at++];
        b->left += 8;
    }
    b->left -= count;
    return (uint32_t)(b->buffer >> b->left & ((UINT64_C(1) << count) - 1));
}

/* The number of zeros before the next one, which is taken too. */
static inline uint32_t take_zeros(bits *b)
{
    uint32_t zeros = 0;
    for (;;) {
        uint64_t rest = b->left ? b->buffer & ((UINT64_C(1) << b->left) - 1) : 0;
        if (rest) {
            unsigned top = 63 - (unsigned)__builtin_clzll(rest);
            zeros += b->left - 1 - top;
            b->left = top;
            return zeros;
        }
        zeros += b->left;
        if (b->at == b->n) {
            b->over = true;
            return zeros;
        }
        b->buffer = b->in[b->at++];
        b->left = 8;
    }
}

/* ---- Rice ------------------------------------------------------------------------------------------------------- */

/* R. L. White and P. Greenfield's variant: each block begins with the number of low bits that are stored as they are. */
bool lm_rice_decode(const uint8_t *in, size_t n_in, unsigned block, unsigned bytes, size_t n, int32_t *to)
{
    if ((bytes != 1 && bytes != 2 && bytes != 4) || !block || n_in < bytes) return false;
    unsigned width = 8 * bytes, length_bits = bytes == 1 ? 3 : bytes == 2 ? 4 : 5;
    unsigned verbatim = bytes == 1 ? 6 : bytes == 2 ? 14 : 25;
    bits b = {.in = in, .n = n_in};
    uint32_t last = take(&b, width);
    for (size_t i = 0; i < n;) {
        size_t end = n - i < block ? n : i + block;
        uint32_t low = take(&b, length_bits);
        for (; i < end; i++) {
            uint32_t code = 0;
            if (low == verbatim + 1) {
                code = take(&b, width);
            } else if (low) {
                uint32_t high = take_zeros(&b);
                code = high << (low - 1) | (low > 1 ? take(&b, low - 1) : 0);
            }
            if (b.over || low > verbatim + 1) return false;
            last += code & 1 ? ~(code >> 1) : code >> 1;
            to[i] = bytes == 1 ? (uint8_t)last : bytes == 2 ? (int16_t)last : (int32_t)last;
        }
    }
    return true;
}

/* ---- PLIO ------------------------------------------------------------------------------------------------------- */

static int32_t word(const uint8_t *in, size_t i)
{
    return (int16_t)(uint16_t)(in[2 * i] << 8 | in[2 * i + 1]);
}

static void fill(int32_t *to, size_t n, int32_t value)
{
    for (size_t i = 0; i < n; i++) to[i] = value;
}

/* IRAF's line lists: runs of zeros and of one high value, and instructions that change that value. */
bool lm_plio_decode(const uint8_t *in, size_t n_in, size_t n, int32_t *to)
{
    if (n_in < 3) return false;
    size_t length, at;
    if (word(in, 2) > 0) { /* the old header, of three words */
        length = (size_t)word(in, 2);
        at = 3;
    } else {
        if (n_in < 5 || word(in, 1) < 0 || word(in, 3) < 0 || word(in, 4) < 0) return false;
        length = ((size_t)word(in, 4) << 15) + (size_t)word(in, 3);
        at = (size_t)word(in, 1);
    }
    if (length > n_in) return false;
    size_t x = 0;
    int64_t high = 1;
    for (; at < length && x < n; at++) {
        unsigned code = (unsigned)word(in, at) >> 12 & 15;
        int32_t data = word(in, at) & 4095;
        size_t run = (size_t)data < n - x ? (size_t)data : n - x;
        switch (code) {
        case 0:
        case 5: /* zeros; with 5 the last one is high */
            fill(to + x, run, 0);
            x += run;
            if (code == 5 && run && run == (size_t)data) to[x - 1] = (int32_t)high;
            break;
        case 4:
            fill(to + x, run, (int32_t)high);
            x += run;
            break;
        case 1:
            if (++at >= length) return false;
            high = ((int64_t)word(in, at) << 12) + data;
            break;
        case 2: high += data; break;
        case 3: high -= data; break;
        case 6:
        case 7: /* one pixel */
            high += code == 6 ? data : -data;
            to[x++] = (int32_t)high;
            break;
        default: return false;
        }
        if (high > INT32_MAX || high < INT32_MIN) return false;
    }
    fill(to + x, n - x, 0);
    return true;
}

/* ---- HCOMPRESS -------------------------------------------------------------------------------------------------- */

enum { MAX_PLANES = 36, MAX_SCALE = 1 << 22 };

static unsigned log2_above(size_t n)
{
    unsigned log2 = 0;
    while ((size_t)1 << log2 < n) log2++;
    return log2;
}

/* A four-bit quadrant in its Huffman code. */
static unsigned quadrant(bits *b)
{
    static const uint8_t fourth[] = {3, 5, 10, 12, 15}, fifth[] = {6, 7, 9, 11, 13};
    unsigned c = take(b, 3);
    if (c < 4) return 1u << c;
    c = c << 1 | take(b, 1);
    if (c < 13) return fourth[c - 8];
    c = c << 1 | take(b, 1);
    if (c < 31) return fifth[c - 26];
    c = c << 1 | take(b, 1);
    return c == 62 ? 0 : 14;
}

/* The bit that a quadrant has for pixel (i, j): its rows and columns count from the top left, the highest bit. */
static inline unsigned bit_of(const uint8_t *quadrants, size_t width, size_t i, size_t j)
{
    return quadrants[i / 2 * width + j / 2] >> (3 - (2 * (i & 1) + (j & 1))) & 1;
}

/* Reads bit planes of an nx x ny corner of `a`, whose rows are `stride` apart. Two scratch planes of quadrants. */
static bool read_planes(bits *b, int64_t *a, size_t stride, size_t nx, size_t ny, unsigned planes, uint8_t *one,
                        uint8_t *other)
{
    unsigned levels = log2_above(nx > ny ? nx : ny);
    size_t half_x = (nx + 1) / 2, half_y = (ny + 1) / 2;
    if (!nx || !ny) return true;
    for (unsigned plane = planes; plane--;) {
        unsigned how = take(b, 4);
        uint8_t *now = one, *next = other;
        if (how == 0) {
            for (size_t i = 0; i < half_x * half_y; i++) now[i] = (uint8_t)take(b, 4);
        } else if (how == 15) {
            size_t width = 1;
            now[0] = (uint8_t)quadrant(b);
            for (unsigned k = 1; k < levels; k++) {
                unsigned shift = levels - k;
                size_t x = (nx + ((size_t)1 << shift) - 1) >> shift, y = (ny + ((size_t)1 << shift) - 1) >> shift;
                for (size_t i = x; i--;)
                    for (size_t j = y; j--;) next[i * y + j] = bit_of(now, width, i, j) ? (uint8_t)quadrant(b) : 0;
                uint8_t *swap = now;
                now = next;
                next = swap;
                width = y;
                if (b->over) return false;
            }
        } else {
            return false;
        }
        if (b->over) return false;
        for (size_t i = 0; i < nx; i++)
            for (size_t j = 0; j < ny; j++) a[i * stride + j] |= (int64_t)bit_of(now, half_y, i, j) << plane;
    }
    return true;
}

/* The first half of a line to its even places, the second to its odd ones. */
static void interleave(int64_t *a, size_t n, size_t stride, int64_t *scratch)
{
    size_t half = (n + 1) / 2;
    for (size_t i = half; i < n; i++) scratch[i - half] = a[i * stride];
    for (size_t i = half; i-- > 1;) a[2 * i * stride] = a[i * stride];
    for (size_t i = half; i < n; i++) a[(2 * (i - half) + 1) * stride] = scratch[i - half];
}

/* To the nearest multiple of `bit`, a power of two; halves away from zero. */
static inline int64_t round_to(int64_t value, int64_t bit)
{
    int64_t half = bit >> 1;
    return (value + (value >= 0 || !half ? half : half - 1)) & -bit;
}

/* The inverse H-transform: sums and differences of 2 x 2 pixels, from the largest scale down. */
static void inverse(int64_t *a, size_t nx, size_t ny, int64_t *scratch)
{
    unsigned levels = log2_above(nx > ny ? nx : ny);
    if (!levels) return; /* a single pixel */
    int64_t bit0 = INT64_C(1) << (levels - 1), bit1 = bit0 << 1;
    a[0] = round_to(a[0], bit0 << 2);
    for (unsigned k = levels; k--;) {
        size_t x = (nx + ((size_t)1 << k) - 1) >> k, y = (ny + ((size_t)1 << k) - 1) >> k;
        unsigned shift = k == 0 ? 2 : 1;
        for (size_t i = 0; i < x; i++) interleave(a + i * ny, y, 1, scratch);
        for (size_t j = 0; j < y; j++) interleave(a + j, x, ny, scratch);
        size_t i = 0;
        for (; i + 1 < x; i += 2) {
            int64_t *p = a + i * ny, *q = p + ny;
            size_t j = 0;
            for (; j + 1 < y; j += 2, p += 2, q += 2) {
                int64_t h0 = p[0], hx = round_to(q[0], bit1), hy = round_to(p[1], bit1);
                int64_t hc = round_to(q[1], bit0), low0 = hc & bit0;
                hx += hx >= 0 ? -low0 : low0; /* they were rounded away from zero */
                hy += hy >= 0 ? -low0 : low0;
                int64_t low1 = (hc ^ hx ^ hy) & bit1;
                h0 += h0 >= 0 ? low0 - low1 : low0 ? low0 - low1 : low1;
                q[1] = (h0 + hx + hy + hc) >> shift;
                q[0] = (h0 + hx - hy - hc) >> shift;
                p[1] = (h0 - hx + hy - hc) >> shift;
                p[0] = (h0 - hx - hy + hc) >> shift;
            }
            if (j < y) {
                int64_t h0 = p[0], hx = round_to(q[0], bit1), low1 = hx & bit1;
                h0 += h0 >= 0 ? -low1 : low1;
                q[0] = (h0 + hx) >> shift;
                p[0] = (h0 - hx) >> shift;
            }
        }
        if (i < x) {
            int64_t *p = a + i * ny;
            size_t j = 0;
            for (; j + 1 < y; j += 2, p += 2) {
                int64_t h0 = p[0], hy = round_to(p[1], bit1), low1 = hy & bit1;
                h0 += h0 >= 0 ? -low1 : low1;
                p[1] = (h0 + hy) >> shift;
                p[0] = (h0 - hy) >> shift;
            }
            if (j < y) p[0] >>= shift;
        }
        bit1 = bit0;
        bit0 >>= 1;
    }
}

static bool decode_planes(bits *b, int64_t *a, size_t nx, size_t ny, const uint8_t planes[3], uint8_t *one,
                          uint8_t *other)
{
    size_t x = (nx + 1) / 2, y = (ny + 1) / 2;
    bool good = read_planes(b, a, ny, x, y, planes[0], one, other) &&
                read_planes(b, a + y, ny, x, ny / 2, planes[1], one, other) &&
                read_planes(b, a + ny * x, ny, nx / 2, y, planes[1], one, other) &&
                read_planes(b, a + ny * x + y, ny, nx / 2, ny / 2, planes[2], one, other) && take(b, 4) == 0;
    b->left = 0; /* signs begin with a byte of their own */
    for (size_t i = 0; i < nx * ny && good && !b->over; i++)
        if (a[i] && take(b, 1)) a[i] = -a[i];
    return good && !b->over;
}

lm_decoded lm_hcompress_decode(const uint8_t *in, size_t n_in, size_t n, int32_t *to)
{
    enum { HEAD = 25 };
    if (n_in < HEAD || in[0] != 0xdd || in[1] != 0x99) return LM_BROKEN;
    bits b = {.in = in + 2, .n = n_in - 2};
    size_t nx = take(&b, 32), ny = take(&b, 32);
    uint32_t scale = take(&b, 32);
    uint64_t high = take(&b, 32);
    int64_t sum = (int64_t)(high << 32 | take(&b, 32));
    const uint8_t *planes = in + HEAD - 3;
    b = (bits){.in = in + HEAD, .n = n_in - HEAD};
    if (!nx || !ny || nx > n || ny > n || nx * ny != n || scale > MAX_SCALE) return LM_BROKEN;
    if (sum > INT64_C(1) << 56 || sum < -(INT64_C(1) << 56)) return LM_BROKEN;
    for (int i = 0; i < 3; i++)
        if (planes[i] > MAX_PLANES) return LM_BROKEN;
    LM_OWN(lm_memory) pixels = lm_alloc(n, sizeof(int64_t));
    LM_OWN(lm_memory) scratch = lm_alloc(nx > ny ? nx : ny, sizeof(int64_t));
    LM_OWN(lm_memory) quadrants = lm_alloc(2, (nx / 2 + 1) * (ny / 2 + 1));
    if (!pixels || !scratch || !quadrants) return LM_NO_MEMORY;
    int64_t *a = pixels;
    if (!decode_planes(&b, a, nx, ny, planes, quadrants, (uint8_t *)quadrants + (nx / 2 + 1) * (ny / 2 + 1)))
        return LM_BROKEN;
    a[0] = sum;
    if (scale > 1)
        for (size_t i = 0; i < n; i++)
            if (__builtin_mul_overflow(a[i], (int64_t)scale, &a[i]) || a[i] > INT64_C(1) << 59 ||
                a[i] < -(INT64_C(1) << 59))
                return LM_BROKEN;
    inverse(a, nx, ny, scratch);
    for (size_t i = 0; i < n; i++) to[i] = (int32_t)a[i];
    return LM_DECODED;
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

lm_decoded lm_gzip_decode(const uint8_t *in, size_t n_in, uint8_t *to, size_t room, size_t *ret_n)
{
    z_stream z = {.zalloc = zlib_alloc, .zfree = zlib_free};
    if (n_in > UINT32_MAX || room > UINT32_MAX) return LM_BROKEN;
    if (inflateInit2(&z, 15 + 32) != Z_OK) return LM_NO_MEMORY;
    z.next_in = (Bytef *)(uintptr_t)in;
    z.avail_in = (unsigned)n_in;
    z.next_out = to;
    z.avail_out = (unsigned)room;
    int status = inflate(&z, Z_FINISH);
    *ret_n = room - z.avail_out;
    inflateEnd(&z);
    return status == Z_STREAM_END ? LM_DECODED : status == Z_MEM_ERROR ? LM_NO_MEMORY : LM_BROKEN;
}

void lm_unshuffle(const uint8_t *from, size_t size, size_t n, uint8_t *to)
{
    for (size_t byte = 0; byte < size; byte++)
        for (size_t i = 0; i < n; i++) to[i * size + byte] = *from++;
}
