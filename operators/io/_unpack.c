#include "operators/io/_unpack.h"

#include <bzlib.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

enum { PIECE = 1 << 16, LZW_CODES = 1 << 16 };

typedef enum { GZIP, BZIP2, LZW } packing;

/* Unix compress: codes of 9 to 16 bits, least significant bit first, in groups of eight codes. */
typedef struct {
    uint16_t prefix[LZW_CODES];
    uint8_t suffix[LZW_CODES];
    uint8_t stack[LZW_CODES + 1];
    unsigned max_bits, bits, last; /* last: the highest code that has a meaning */
    bool has_clear, started;
    uint32_t buffer;
    unsigned left;     /* bits in buffer */
    size_t group;      /* where the present group of codes began */
    unsigned previous; /* code */
    uint8_t first;     /* the first byte of the previous code's string */
} lzw;

struct lm_unpack {
    packing kind;
    uint8_t *in;
    size_t n_in, at;
    uint8_t *out;
    size_t have, capacity;
    bool ended, no_memory;
    char fault[96];
    z_stream gzip;
    bz_stream bzip2;
    lzw *lzw;
    bool opened;
};

const char *lm_unpack_kind(const uint8_t *bytes, size_t n)
{
    if (n >= 3 && bytes[0] == 0x1f && bytes[1] == 0x8b) return "gzip";
    if (n >= 3 && bytes[0] == 0x1f && bytes[1] == 0x9d) return "compress";
    if (n >= 4 && memcmp(bytes, "BZh", 3) == 0 && bytes[3] >= '1' && bytes[3] <= '9') return "bzip2";
    return NULL;
}

static void *gzip_alloc(void *opaque, unsigned n, unsigned size)
{
    (void)opaque;
    return lm_alloc(n, size);
}
static void gzip_free(void *opaque, void *p)
{
    (void)opaque;
    lm_free(p);
}
static void *bzip2_alloc(void *opaque, int n, int size)
{
    (void)opaque;
    return lm_alloc((size_t)n, (size_t)size);
}

lm_status lm_unpack_new(uint8_t *take, size_t n, lm_unpack **ret, lm_error *err)
{
    LM_OWN(lm_unpack) u = lm_alloc(1, sizeof *u);
    if (!u) {
        lm_free(take);
        return LM_NOMEM(err);
    }
    u->in = take;
    u->n_in = n;
    const char *kind = lm_unpack_kind(take, n);
    if (!kind) return LM_FAIL(err, LM_EINPUT, "not a gzip, bzip2 or compress file");
    u->kind = kind[0] == 'g' ? GZIP : kind[0] == 'b' ? BZIP2 : LZW;
    if (u->kind == GZIP) {
        u->gzip.zalloc = gzip_alloc;
        u->gzip.zfree = gzip_free;
        if (inflateInit2(&u->gzip, 15 + 16) != Z_OK) return LM_NOMEM(err);
    } else if (u->kind == BZIP2) {
        u->bzip2.bzalloc = bzip2_alloc;
        u->bzip2.bzfree = gzip_free;
        if (BZ2_bzDecompressInit(&u->bzip2, 0, 0) != BZ_OK) return LM_NOMEM(err);
    } else {
        u->lzw = lm_alloc(1, sizeof *u->lzw);
        if (!u->lzw) return LM_NOMEM(err);
        u->lzw->max_bits = take[2] & 0x1f;
        u->lzw->has_clear = take[2] & 0x80;
        u->at = 3;
        if (u->lzw->max_bits < 9 || u->lzw->max_bits > 16 || (take[2] & 0x60))
            return LM_FAIL(err, LM_EINPUT, "compress file with codes of %u bits: only 9 to 16 exist", u->lzw->max_bits);
        if (u->lzw->max_bits == 9) u->lzw->max_bits = 10; /* compress itself does so */
        u->lzw->bits = 9;
        u->lzw->last = u->lzw->has_clear ? 256 : 255;
        u->lzw->group = u->at;
    }
    u->opened = true;
    *ret = lm_take(u);
    return LM_OK;
}

lm_unpack *lm_unpack_free(lm_unpack *u)
{
    if (!u) return NULL;
    if (u->opened && u->kind == GZIP) inflateEnd(&u->gzip);
    if (u->opened && u->kind == BZIP2) BZ2_bzDecompressEnd(&u->bzip2);
    lm_free(u->lzw);
    lm_free(u->in);
    lm_free(u->out);
    return lm_free(u);
}

static bool room(lm_unpack *u, size_t more)
{
    if (u->capacity - u->have >= more) return true;
    size_t capacity = u->capacity ? u->capacity : PIECE;
    while (capacity - u->have < more) {
        if (capacity > SIZE_MAX / 2) return false;
        capacity *= 2;
    }
    uint8_t *out = lm_realloc(u->out, capacity, 1);
    if (!out) return false;
    u->out = out;
    u->capacity = capacity;
    return true;
}

static void broken(lm_unpack *u, const char *what)
{
    static const char *const names[] = {"gzip", "bzip2", "compress"};
    u->ended = true;
    snprintf(u->fault, sizeof u->fault, "%s stream %s at byte %zu of %zu", names[u->kind], what, u->at, u->n_in);
}

static void gzip_more(lm_unpack *u, size_t piece)
{
    z_stream *z = &u->gzip;
    size_t left = u->n_in - u->at;
    z->next_in = u->in + u->at;
    z->avail_in = left > PIECE * 16 ? PIECE * 16 : (unsigned)left;
    z->next_out = u->out + u->have;
    z->avail_out = (unsigned)piece;
    unsigned given = z->avail_in;
    int status = inflate(z, Z_NO_FLUSH);
    u->at += given - z->avail_in;
    u->have += piece - z->avail_out;
    if (status == Z_STREAM_END) {
        /* another member may follow; padding is no member */
        if (u->n_in - u->at >= 3 && lm_unpack_kind(u->in + u->at, u->n_in - u->at) && u->in[u->at + 1] == 0x8b)
            inflateReset(z);
        else u->ended = true;
    } else if (status == Z_BUF_ERROR || (status == Z_OK && u->at == u->n_in && z->avail_out > 0)) {
        if (u->at == u->n_in) broken(u, "is cut off");
    } else if (status == Z_MEM_ERROR) {
        u->no_memory = true;
    } else if (status != Z_OK) {
        broken(u, "is damaged");
    }
}

static void bzip2_more(lm_unpack *u, size_t piece)
{
    bz_stream *z = &u->bzip2;
    size_t left = u->n_in - u->at;
    z->next_in = (char *)(u->in + u->at);
    z->avail_in = left > PIECE * 16 ? PIECE * 16 : (unsigned)left;
    z->next_out = (char *)(u->out + u->have);
    z->avail_out = (unsigned)piece;
    unsigned given = z->avail_in;
    int status = BZ2_bzDecompress(z);
    u->at += given - z->avail_in;
    u->have += piece - z->avail_out;
    if (status == BZ_STREAM_END) {
        u->ended = true;
        const char *next = lm_unpack_kind(u->in + u->at, u->n_in - u->at);
        if (next && next[0] == 'b') { /* another stream follows */
            BZ2_bzDecompressEnd(z);
            memset(z, 0, sizeof *z);
            z->bzalloc = bzip2_alloc;
            z->bzfree = gzip_free;
            u->opened = BZ2_bzDecompressInit(z, 0, 0) == BZ_OK;
            u->ended = !u->opened;
            u->no_memory = !u->opened;
        }
    } else if (status == BZ_OK) {
        if (u->at == u->n_in && z->avail_out > 0) broken(u, "is cut off");
    } else if (status == BZ_MEM_ERROR) {
        u->no_memory = true;
    } else {
        broken(u, "is damaged");
    }
}

/* Codes change their width at the end of a group of eight codes only: skips what is left of the present group. */
static bool lzw_next_group(lm_unpack *u)
{
    lzw *z = u->lzw;
    size_t over = (u->at - z->group) % z->bits;
    if (over && z->bits - over > u->n_in - u->at) return false;
    if (over) u->at += z->bits - over;
    z->group = u->at;
    z->buffer = 0;
    z->left = 0;
    return true;
}

/* One code. Needs room for LZW_CODES + 1 bytes. */
static void lzw_more(lm_unpack *u)
{
    lzw *z = u->lzw;
    if (z->last >= (1u << z->bits) - 1 && z->bits < z->max_bits) {
        if (!lzw_next_group(u)) {
            u->ended = true;
            return;
        }
        z->bits++;
    }
    while (z->left < z->bits) {
        if (u->at == u->n_in) { /* what is left is padding, unless it holds bits */
            u->ended = true;
            if (z->buffer) broken(u, "is cut off");
            return;
        }
        z->buffer |= (uint32_t)u->in[u->at++] << z->left;
        z->left += 8;
    }
    unsigned code = z->buffer & ((1u << z->bits) - 1), wanted = code;
    z->buffer >>= z->bits;
    z->left -= z->bits;
    if (!z->started) {
        if (code > 255) {
            broken(u, "is damaged");
            return;
        }
        z->started = true;
        z->previous = code;
        z->first = (uint8_t)code;
        u->out[u->have++] = (uint8_t)code;
        return;
    }
    if (code == 256 && z->has_clear) {
        if (!lzw_next_group(u)) u->ended = true;
        z->bits = 9;
        z->last = 255;
        return;
    }
    size_t depth = 0;
    if (code >
        z->last) { /* the one code that may be used before it is complete: the previous string and its first byte */
        if (code != z->last + 1 || z->previous > z->last) {
            broken(u, "is damaged");
            return;
        }
        z->stack[depth++] = z->first;
        code = z->previous;
    }
    for (; code >= 256 && depth < LZW_CODES; code = z->prefix[code]) z->stack[depth++] = z->suffix[code];
    z->stack[depth++] = (uint8_t)code;
    z->first = (uint8_t)code;
    if (z->last < (1u << z->bits) - 1) {
        z->last++;
        z->prefix[z->last] = (uint16_t)z->previous;
        z->suffix[z->last] = z->first;
    }
    z->previous = wanted;
    while (depth) u->out[u->have++] = z->stack[--depth];
}

lm_status lm_unpack_reach(lm_unpack *u, uint64_t upto, lm_error *err)
{
    while (!u->ended && u->have < upto) {
        size_t piece = u->kind == LZW ? LZW_CODES + 1 : PIECE;
        if (!room(u, piece)) return LM_NOMEM(err);
        if (u->kind == GZIP) gzip_more(u, piece);
        else if (u->kind == BZIP2) bzip2_more(u, piece);
        else lzw_more(u);
        if (u->no_memory) {
            broken(u, "met the end of memory");
            return LM_NOMEM(err);
        }
    }
    return LM_OK;
}

const uint8_t *lm_unpack_peek(const lm_unpack *u, uint64_t *ret_n)
{
    *ret_n = u->have;
    return u->out;
}

const char *lm_unpack_fault(const lm_unpack *u)
{
    return u->fault[0] ? u->fault : NULL;
}
