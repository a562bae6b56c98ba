/* A PNG encoder (RFC 2083) with its own compressor (RFC 1950, RFC 1951: matches found through hash chains, fixed Huffman
 * codes). Pictures here are flat areas and repeated pixels, of which matches take most; and with no library in between,
 * the same pixels give the same bytes on every machine, so that receipts and tests may compare files.
 */
#include "operators/plot/_png.h"

#include <math.h>
#include <string.h>

enum { WINDOW = 32768, HASH_BITS = 15, SHORTEST = 3, LONGEST = 258, CHAIN = 48 };

typedef struct bits {
    lm_text *to;
    uint32_t held; /* bits not yet written, lowest first */
    unsigned n;
} bits;

static void put_bits(bits *b, uint32_t value, unsigned n)
{
    b->held |= value << b->n;
    b->n += n;
    while (b->n >= 8) {
        lm_text_char(b->to, (char)(b->held & 255));
        b->held >>= 8;
        b->n -= 8;
    }
}

/* Huffman codes go highest bit first. */
static void put_code(bits *b, uint32_t code, unsigned n)
{
    uint32_t turned = 0;
    for (unsigned i = 0; i < n; i++) turned |= (code >> i & 1) << (n - 1 - i);
    put_bits(b, turned, n);
}

/* A literal byte, the end (256), or a length symbol, in the fixed code of RFC 1951, 3.2.6. */
static void put_symbol(bits *b, unsigned symbol)
{
    if (symbol < 144) put_code(b, 0x30 + symbol, 8);
    else if (symbol < 256) put_code(b, 0x190 + symbol - 144, 9);
    else if (symbol < 280) put_code(b, symbol - 256, 7);
    else put_code(b, 0xC0 + symbol - 280, 8);
}

/* Lengths and distances share one scheme: classes of 2^extra values, `per` classes for each number of extra bits. */
static void split(unsigned value, unsigned per_log2, unsigned *symbol, unsigned *extra, unsigned *rest)
{
    unsigned top = 0;
    while (value >> (top + 1)) top++;
    *extra = top > per_log2 ? top - per_log2 : 0;
    unsigned lead = value >> *extra; /* its leading 1 and the next per_log2 bits */
    *symbol = (*extra << per_log2) + lead;
    *rest = value & ((1u << *extra) - 1);
}

static void put_match(bits *b, unsigned length, unsigned distance)
{
    unsigned symbol, extra, rest;
    if (length == LONGEST) {
        put_symbol(b, 285);
    } else {
        split(length - SHORTEST, 2, &symbol, &extra, &rest);
        put_symbol(b, 257 + symbol);
        put_bits(b, rest, extra);
    }
    split(distance - 1, 1, &symbol, &extra, &rest);
    put_code(b, symbol, 5);
    put_bits(b, rest, extra);
}

static uint32_t hash(const uint8_t *p)
{
    uint32_t three = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
    return (three * 2654435761u) >> (32 - HASH_BITS);
}

/* chains: (1 << HASH_BITS) heads, then WINDOW links; places count from 1, 0 is none. */
static void deflate(const uint8_t *from, size_t n, uint32_t *chains, lm_text *to)
{
    uint32_t *head = chains, *link = chains + (1 << HASH_BITS);
    bits b = {.to = to};
    put_bits(&b, 1, 1); /* the last block */
    put_bits(&b, 1, 2); /* fixed codes */
    for (size_t i = 0; i < n;) {
        size_t best = 0, best_at = 0, most = n - i < LONGEST ? n - i : LONGEST;
        if (most >= SHORTEST) {
            size_t at = head[hash(from + i)];
            for (int tries = CHAIN; at && i - (at - 1) < WINDOW && tries; tries--) {
                const uint8_t *old = from + at - 1;
                if (old[best] == from[i + best]) { /* or it cannot be longer */
                    size_t length = 0;
                    while (length < most && old[length] == from[i + length]) length++;
                    if (length > best) best = length, best_at = at - 1;
                    if (best == most) break;
                }
                at = link[(at - 1) % WINDOW];
            }
        }
        size_t step = best >= SHORTEST ? best : 1;
        if (best >= SHORTEST) put_match(&b, (unsigned)best, (unsigned)(i - best_at));
        else put_symbol(&b, from[i]);
        for (size_t end = i + step; i < end; i++) {
            if (n - i < SHORTEST) continue;
            uint32_t h = hash(from + i);
            link[i % WINDOW] = head[h];
            head[h] = (uint32_t)(i + 1);
        }
    }
    put_symbol(&b, 256);
    put_bits(&b, 0, 7); /* fills the last byte */
}

static uint32_t adler32(const uint8_t *p, size_t n)
{
    uint32_t a = 1, b = 0;
    for (size_t i = 0; i < n; i++) {
        a = (a + p[i]) % 65521;
        b = (b + a) % 65521;
    }
    return b << 16 | a;
}

static uint32_t crc32(const uint8_t *p, size_t n)
{
    uint32_t table[256], crc = ~0u;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int k = 0; k < 8; k++) table[i] = table[i] & 1 ? 0xEDB88320u ^ table[i] >> 1 : table[i] >> 1;
    }
    for (size_t i = 0; i < n; i++) crc = table[(crc ^ p[i]) & 255] ^ crc >> 8;
    return ~crc;
}

static void put_u32(lm_text *to, uint32_t value)
{
    const char bytes[4] = {(char)(value >> 24), (char)(value >> 16), (char)(value >> 8), (char)value};
    lm_text_add_n(to, bytes, 4);
}

/* Begins a chunk; end_chunk() fills in its length and adds the check sum. Returns where it begins. */
static size_t begin_chunk(lm_text *to, const char type[5])
{
    size_t start = to->length;
    put_u32(to, 0);
    lm_text_add_n(to, type, 4);
    return start;
}

static void end_chunk(lm_text *to, size_t start)
{
    if (to->failed) return;
    uint32_t length = (uint32_t)(to->length - start - 8);
    uint32_t crc = crc32((const uint8_t *)to->chars + start + 4, length + 4);
    for (int i = 0; i < 4; i++) to->chars[start + (size_t)i] = (char)(length >> (24 - 8 * i));
    put_u32(to, crc);
}

/* One row in the filter (0 none, 1 sub, 2 up) whose bytes, as signed numbers, are smallest: the usual guess at which
 * compresses best. above: the row before, or NULL. */
static void filter_row(uint8_t *to, const uint8_t *row, const uint8_t *above, size_t n)
{
    unsigned long sums[3] = {0};
    for (size_t i = 0; i < n; i++) {
        uint8_t left = i < 3 ? 0 : row[i - 3], up = above ? above[i] : 0;
        sums[0] += row[i] < 128 ? row[i] : 256u - row[i];
        uint8_t sub = (uint8_t)(row[i] - left), over = (uint8_t)(row[i] - up);
        sums[1] += sub < 128 ? sub : 256u - sub;
        sums[2] += over < 128 ? over : 256u - over;
    }
    int best = sums[1] < sums[0] ? 1 : 0;
    if (sums[2] <= sums[best]) best = 2;
    *to++ = (uint8_t)best;
    for (size_t i = 0; i < n; i++) {
        uint8_t guess = best == 1 ? (i < 3 ? 0 : row[i - 3]) : best == 2 && above ? above[i] : 0;
        to[i] = (uint8_t)(row[i] - guess);
    }
}

lm_status lm_png_encode(const uint8_t *rgb, size_t width, size_t height, double dots_per_inch, lm_text *ret,
                        lm_error *err)
{
    if (!width || !height || width > INT32_MAX / 3 - 1 || height > INT32_MAX / (3 * width + 1))
        return LM_FAIL(err, LM_EINPUT, "no PNG can hold a picture of %zu x %zu pixels", width, height);
    size_t row = 3 * width, n = height * (row + 1);
    LM_OWN(lm_memory) filtered_bytes = lm_alloc_raw(n);
    LM_OWN(lm_memory) chains = lm_alloc((1 << HASH_BITS) + WINDOW, sizeof(uint32_t));
    if (!filtered_bytes || !chains) return LM_NOMEM(err);
    uint8_t *filtered = filtered_bytes;
    for (size_t y = 0; y < height; y++)
        filter_row(filtered + y * (row + 1), rgb + y * row, y ? rgb + (y - 1) * row : NULL, row);

    lm_text_add_n(ret, "\x89PNG\r\n\x1a\n", 8);
    size_t chunk = begin_chunk(ret, "IHDR");
    put_u32(ret, (uint32_t)width);
    put_u32(ret, (uint32_t)height);
    lm_text_add_n(ret, "\x08\x02\0\0\0", 5); /* 8 bits, red green blue, deflate, filters by row, not interlaced */
    end_chunk(ret, chunk);
    if (dots_per_inch > 0) {
        uint32_t per_metre = (uint32_t)lround(dots_per_inch / 0.0254);
        chunk = begin_chunk(ret, "pHYs");
        put_u32(ret, per_metre);
        put_u32(ret, per_metre);
        lm_text_char(ret, 1); /* the unit is the metre */
        end_chunk(ret, chunk);
    }
    chunk = begin_chunk(ret, "IDAT");
    lm_text_add_n(ret, "\x78\x9c", 2); /* deflate, a window of 32 KiB */
    deflate(filtered, n, chains, ret);
    put_u32(ret, adler32(filtered, n));
    end_chunk(ret, chunk);
    chunk = begin_chunk(ret, "IEND");
    end_chunk(ret, chunk);
    return ret->failed ? LM_NOMEM(err) : LM_OK;
}
