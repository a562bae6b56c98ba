#include "operators/io/_fits_out.h"

#include "operators/io/_fits.h"
#include "runtime/text.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = LM_FITS_BLOCK, CARD = LM_FITS_CARD, CHUNK = 1 << 16 };

/* ---- headers ---------------------------------------------------------------------------------------------------- */

void lm_header_init(lm_header *h)
{
    *h = (lm_header){0};
}

void lm_header_done(lm_header *h)
{
    lm_free(h->cards);
    lm_header_init(h);
}

/* A card of these characters, filled with blanks. */
static void push(lm_header *h, const char *text)
{
    size_t length = strlen(text);
    if (h->n == h->capacity) {
        size_t capacity = h->capacity ? 2 * h->capacity : 72;
        char *grown = lm_realloc(h->cards, capacity, CARD);
        if (!grown) {
            h->failed = true;
            return;
        }
        h->cards = grown;
        h->capacity = capacity;
    }
    char *card = h->cards + h->n++ * CARD;
    memset(card, ' ', CARD);
    for (size_t i = 0; i < length && i < CARD; i++) card[i] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
}

static bool is_keyword(const char *name)
{
    size_t n = strlen(name);
    return n && n <= 8 && strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == n;
}

/* A name after HIERARCH: printable, without '=', blanks only inside. */
static bool is_long_name(const char *name)
{
    size_t n = strlen(name);
    if (!n || n > 50 || name[0] == ' ' || name[n - 1] == ' ') return false;
    for (size_t i = 0; i < n; i++)
        if (name[i] < 0x20 || name[i] >= 0x7f || name[i] == '=') return false;
    return true;
}

static void number_text(lm_value value, char to[40])
{
    to[0] = 0;
    if (value.kind == LM_KIND_BOOL) strcpy(to, value.boolean ? "T" : "F");
    if (value.kind == LM_KIND_INT) snprintf(to, 40, "%" PRId64, value.integer);
    if (value.kind == LM_KIND_REAL && isfinite(value.real)) {
        lm_text_real(to, value.real);
        for (char *c = to; *c; c++) *c = (char)toupper((unsigned char)*c);
        if (!strpbrk(to, ".E")) strcat(to, ".0");
    }
}

/* As much of the comment as fits on the card that ends a value. */
static void push_with_comment(lm_header *h, char *line, const char *comment)
{
    size_t length = strlen(line);
    if (comment && comment[0] && length + 4 <= CARD) snprintf(line + length, CARD + 1 - length, " / %s", comment);
    push(h, line);
}

/* A text: 'it''s', on as many cards as it needs. */
static void add_text(lm_header *h, const char *start, const char *text, const char *comment)
{
    char line[CARD + 80];
    size_t n = (size_t)snprintf(line, CARD, "%s'", start), opened = n;
    for (const char *c = text; *c; c++) {
        size_t need = *c == '\'' ? 2 : 1;
        if (n + need + (c[1] ? 2 : 1) > CARD) { /* room for the '&' and the closing quote */
            line[n++] = '&';
            line[n++] = '\'';
            line[n] = 0;
            push(h, line);
            n = opened = (size_t)snprintf(line, CARD, "CONTINUE  '");
        }
        line[n++] = *c == '\n' || *c == '\t' ? ' ' : *c;
        if (need == 2) line[n++] = '\'';
    }
    while (n < opened + 8 && opened + 8 < CARD) line[n++] = ' ';
    line[n++] = '\'';
    while (n < 30) line[n++] = ' ';
    line[n] = 0;
    push_with_comment(h, line, comment);
}

bool lm_header_add(lm_header *h, const char *name, lm_value value, const char *comment)
{
    char start[CARD], number[40], line[CARD + 80];
    if (is_keyword(name)) snprintf(start, sizeof start, "%-8s= ", name);
    else if (is_long_name(name)) snprintf(start, sizeof start, "HIERARCH %s = ", name);
    else return false;
    if (value.kind == LM_KIND_TEXT) {
        add_text(h, start, value.text, comment);
        return true;
    }
    number_text(value, number);
    snprintf(line, sizeof line, is_keyword(name) ? "%s%20s" : "%s%s", start, number);
    if (strlen(line) > CARD) return false;
    push_with_comment(h, line, comment);
    return true;
}

void lm_header_lines(lm_header *h, const char *name, const char *text)
{
    for (const char *line = text; line;) {
        const char *end = strchr(line, '\n');
        size_t length = end ? (size_t)(end - line) : strlen(line);
        do {
            size_t part = length < CARD - 8 ? length : CARD - 8;
            char card[CARD + 1];
            snprintf(card, sizeof card, "%-8s%.*s", name, (int)part, line);
            push(h, card);
            line += part;
            length -= part;
        } while (length);
        line = end ? end + 1 : NULL;
    }
}

int lm_fits_bitpix(lm_dtype dtype)
{
    switch (dtype) {
    case LM_I16:
    case LM_U16: return 16;
    case LM_I32:
    case LM_U32: return 32;
    case LM_I64: return 64;
    case LM_F32:
    case LM_C64: return -32;
    case LM_F64:
    case LM_C128: return -64;
    default: return 8;
    }
}

unsigned lm_fits_axes(const lm_tensor *tensor, int64_t axes[LM_MAX_DIMS + 2])
{
    unsigned n = 0;
    if (tensor->dtype == LM_C64 || tensor->dtype == LM_C128) axes[n++] = 2;
    for (unsigned i = tensor->ndim; i--;) axes[n++] = (int64_t)tensor->shape[i];
    if (!n) axes[n++] = 1;
    return n;
}

void lm_header_tensor(lm_header *h, const lm_tensor *tensor, const char *name)
{
    char upper[CARD];
    snprintf(upper, sizeof upper, "%s", name);
    for (char *c = upper; *c; c++) *c = (char)toupper((unsigned char)*c);
    lm_header_add(h, "EXTNAME", lm_text_value(upper), "name of the tensor");
    if (tensor->dtype == LM_U16) lm_header_add(h, "BZERO", lm_int(1 << 15), "unsigned integers");
    if (tensor->dtype == LM_U32) lm_header_add(h, "BZERO", lm_int(INT64_C(1) << 31), "unsigned integers");
    if (tensor->unit && tensor->unit[0]) lm_header_add(h, "BUNIT", lm_text_value(tensor->unit), "unit of a pixel");
}

void lm_header_image(lm_header *h, bool primary, const lm_tensor *tensor, const char *name)
{
    int64_t axes[LM_MAX_DIMS + 2];
    unsigned n = tensor ? lm_fits_axes(tensor, axes) : 0;
    if (primary) lm_header_add(h, "SIMPLE", lm_bool(true), "conforms to the FITS standard");
    else lm_header_add(h, "XTENSION", lm_text_value("IMAGE"), "image extension");
    lm_header_add(h, "BITPIX", lm_int(tensor ? lm_fits_bitpix(tensor->dtype) : 8), "type of a pixel");
    lm_header_add(h, "NAXIS", lm_int(n), "number of axes");
    for (unsigned i = 0; i < n; i++) {
        char axis[16];
        snprintf(axis, sizeof axis, "NAXIS%u", i + 1);
        lm_header_add(h, axis, lm_int(axes[i]), NULL);
    }
    if (primary) {
        lm_header_add(h, "EXTEND", lm_bool(true), NULL);
    } else {
        lm_header_add(h, "PCOUNT", lm_int(0), NULL);
        lm_header_add(h, "GCOUNT", lm_int(1), NULL);
    }
    if (tensor && name) lm_header_tensor(h, tensor, name);
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

struct lm_fits_out {
    char *path;
    int fd;
    lm_header header;       /* of the HDU that is being written */
    uint64_t header_at, at; /* at: where the next byte goes */
    uint64_t data_at;
    uint64_t sum;  /* of the data, in 32-bit words, not yet folded */
    uint32_t word; /* bytes that do not fill one yet */
};

lm_status lm_fits_out_open(const char *path, lm_fits_out **ret, lm_error *err)
{
    LM_OWN(lm_fits_out) out = lm_alloc(1, sizeof *out);
    if (!out) return LM_NOMEM(err);
    out->fd = -1;
    lm_header_init(&out->header);
    out->path = lm_strdup(path);
    if (!out->path) return LM_NOMEM(err);
    out->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (out->fd < 0) return LM_FAIL(err, LM_EIO, "cannot create \"%s\": %s", path, strerror(errno));
    *ret = lm_take(out);
    return LM_OK;
}

lm_fits_out *lm_fits_out_close(lm_fits_out *out)
{
    if (!out) return NULL;
    if (out->fd >= 0) close(out->fd);
    lm_header_done(&out->header);
    lm_free(out->path);
    return lm_free(out);
}

static lm_status put(lm_fits_out *out, uint64_t at, const void *bytes, size_t n, lm_error *err)
{
    for (const uint8_t *p = bytes; n;) {
        ssize_t done = pwrite(out->fd, p, n, (off_t)at);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return LM_FAIL(err, LM_EIO, "cannot write \"%s\": %s", out->path, strerror(errno));
        p += done;
        at += (uint64_t)done;
        n -= (size_t)done;
    }
    return LM_OK;
}

static size_t padded(size_t n)
{
    return (n + BLOCK - 1) / BLOCK * BLOCK;
}

lm_status lm_fits_out_begin(lm_fits_out *out, lm_header *header, lm_error *err)
{
    if (header->failed) return LM_NOMEM(err);
    lm_header_done(&out->header);
    out->header = *header;
    lm_header_init(header);
    out->header_at = out->at;
    out->data_at = out->at = out->header_at + padded((out->header.n + 3) * CARD); /* DATASUM, CHECKSUM, END */
    out->sum = 0;
    out->word = 0;
    return LM_OK;
}

/* Adds big-endian 32-bit words to a sum that wraps around its carry (FITS standard, appendix J). */
static void add_sum(lm_fits_out *out, const uint8_t *p, size_t n)
{
    uint64_t at = out->at - out->data_at;
    for (; n && at % 4; n--, at++) {
        out->word = out->word << 8 | *p++;
        if (at % 4 == 3) {
            out->sum += out->word;
            out->word = 0;
        }
    }
    uint64_t sum = 0;
    for (; n >= 4; n -= 4, p += 4, at += 4) {
        uint32_t word;
        memcpy(&word, p, 4);
        sum += __builtin_bswap32(word);
    }
    out->sum = (out->sum & UINT32_MAX) + (out->sum >> 32) + sum;
    for (; n; n--) out->word = out->word << 8 | *p++;
}

static uint32_t fold(uint64_t sum)
{
    while (sum >> 32) sum = (sum & UINT32_MAX) + (sum >> 32);
    return (uint32_t)sum;
}

lm_status lm_fits_out_bytes(lm_fits_out *out, const void *bytes, size_t n, lm_error *err)
{
    LM_TRY(put(out, out->at, bytes, n, err));
    add_sum(out, bytes, n);
    out->at += n;
    return LM_OK;
}

void lm_fits_pixels(lm_dtype dtype, uint8_t *bytes, size_t n)
{
    size_t size = (size_t)abs(lm_fits_bitpix(dtype)) / 8;
    if (dtype == LM_U16)
        for (size_t i = 0; i < n; i += 2) bytes[i + 1] ^= 0x80;
    if (dtype == LM_U32)
        for (size_t i = 0; i < n; i += 4) bytes[i + 3] ^= 0x80;
    lm_swap(bytes, size, n / size);
}

lm_status lm_fits_out_tensor(lm_fits_out *out, const lm_tensor *tensor, lm_error *err)
{
    _Alignas(8) uint8_t chunk[CHUNK];
    const uint8_t *from = tensor->data;
    for (size_t left = tensor->bytes; left;) {
        size_t n = left < CHUNK ? left : CHUNK;
        memcpy(chunk, from, n);
        lm_fits_pixels(tensor->dtype, chunk, n);
        LM_TRY(lm_fits_out_bytes(out, chunk, n, err));
        from += n;
        left -= n;
    }
    return LM_OK;
}

/* The 16 characters whose sum with the rest of the HDU is all ones. */
static void encode(uint32_t complement, char to[17])
{
    char plain[16];
    for (int i = 0; i < 4; i++) {
        unsigned byte = complement >> (24 - 8 * i) & 0xff;
        unsigned c[4] = {byte / 4 + '0' + byte % 4, byte / 4 + '0', byte / 4 + '0', byte / 4 + '0'};
        for (bool again = true; again;) { /* letters and digits only: what one gets, its neighbour gives */
            again = false;
            for (int k = 0; k < 4; k += 2) {
                while ((c[k] >= 0x3a && c[k] <= 0x40) || (c[k] >= 0x5b && c[k] <= 0x60) ||
                       (c[k + 1] >= 0x3a && c[k + 1] <= 0x40) || (c[k + 1] >= 0x5b && c[k + 1] <= 0x60)) {
                    c[k]++;
                    c[k + 1]--;
                    again = true;
                }
            }
        }
        for (int k = 0; k < 4; k++) plain[4 * k + i] = (char)c[k];
    }
    to[0] = plain[15]; /* the card's value begins at byte 3 of a word */
    memcpy(to + 1, plain, 15);
    to[16] = 0;
}

static uint64_t header_sum(const lm_header *h, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i += 4) {
        uint32_t word = 0x20202020;
        if (i < h->n * CARD) memcpy(&word, h->cards + i, 4);
        sum += __builtin_bswap32(word);
    }
    return sum;
}

lm_status lm_fits_out_end(lm_fits_out *out, lm_error *err)
{
    static const uint8_t zeros[BLOCK];
    size_t n = (size_t)(out->at - out->data_at);
    LM_TRY(lm_fits_out_bytes(out, zeros, padded(n) - n, err));
    lm_header *h = &out->header;
    char text[24];
    uint32_t data = fold(out->sum);
    snprintf(text, sizeof text, "%" PRIu32, data);
    lm_header_add(h, "DATASUM", lm_text_value(text), "sum of the data");
    lm_header_add(h, "CHECKSUM", lm_text_value("0000000000000000"), "sum of the HDU is all ones");
    push(h, "END");
    if (h->failed) return LM_NOMEM(err);
    size_t length = padded(h->n * CARD);
    encode(~fold(fold(header_sum(h, length)) + (uint64_t)data), text);
    memcpy(h->cards + (h->n - 2) * CARD + 11, text, 16); /* behind "CHECKSUM= '" */
    LM_TRY(put(out, out->header_at, h->cards, h->n * CARD, err));
    char blanks[BLOCK];
    memset(blanks, ' ', sizeof blanks);
    return put(out, out->header_at + h->n * CARD, blanks, length - h->n * CARD, err);
}
