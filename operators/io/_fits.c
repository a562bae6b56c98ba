#include "operators/io/_fits.h"

#include "operators/io/_unpack.h"
#include "runtime/text.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = LM_FITS_BLOCK, CARD = LM_FITS_CARD, MAX_HEADER = 64 << 20, MAX_HDUS = 1 << 24 };

struct lm_fits {
    char *path;
    int fd;               /* of a plain file; -1 otherwise */
    uint64_t size;        /* of a plain file or of memory */
    struct stat opened;   /* of a file, when it was opened */
    const uint8_t *bytes; /* memory; NULL otherwise */
    lm_unpack *unpack;    /* NULL: not compressed */
    lm_hdu *hdus;         /* those found so far */
    size_t n_hdus, cap_hdus;
    bool all;     /* no HDU follows */
    char *header; /* the header read last */
    size_t header_bytes, cap_header;
};

/* ---- bytes ------------------------------------------------------------------------------------------------------ */

static lm_status fail_io(const lm_fits *f, const char *what, lm_error *err)
{
    return LM_FAIL(err, LM_EIO, "cannot %s \"%s\": %s", what, f->path, strerror(errno));
}

static lm_status read_fd(const lm_fits *f, uint64_t at, void *to, size_t n, lm_error *err)
{
    uint8_t *p = to;
    while (n) {
        ssize_t got = pread(f->fd, p, n < (1u << 30) ? n : 1u << 30, (off_t)at);
        if (got < 0) {
            if (errno == EINTR) continue;
            return fail_io(f, "read", err);
        }
        if (got == 0) return LM_FAIL(err, LM_EINPUT, "\"%s\" is truncated: it ends at byte %" PRIu64, f->path, at);
        p += got;
        at += (uint64_t)got;
        n -= (size_t)got;
    }
    return LM_OK;
}

/* The length as far as it is known: all of it, or what is unpacked. */
static uint64_t known(const lm_fits *f)
{
    uint64_t n = f->size;
    if (f->unpack) lm_unpack_peek(f->unpack, &n);
    return n;
}

lm_status lm_fits_reaches(lm_fits *f, uint64_t upto, bool *ret, lm_error *err)
{
    if (f->unpack) LM_TRY_IN(lm_unpack_reach(f->unpack, upto, err), err, "\"%s\"", f->path);
    *ret = known(f) >= upto;
    return LM_OK;
}

lm_status lm_fits_read(lm_fits *f, uint64_t at, void *to, size_t n, lm_error *err)
{
    bool there = false;
    if (at > UINT64_MAX - n) return LM_FAIL(err, LM_EINPUT, "\"%s\" has no byte %" PRIu64, f->path, at);
    LM_TRY(lm_fits_reaches(f, at + n, &there, err));
    if (!there)
        return LM_FAIL(err, LM_EINPUT, "\"%s\" is truncated: bytes up to %" PRIu64 " are wanted, it has %" PRIu64,
                       f->path, at + n, known(f));
    if (f->fd >= 0 && !f->unpack) return read_fd(f, at, to, n, err);
    uint64_t have = 0;
    const uint8_t *from = f->unpack ? lm_unpack_peek(f->unpack, &have) : f->bytes;
    if (n) memcpy(to, from + at, n);
    return LM_OK;
}

void lm_swap(void *data, size_t size, size_t n)
{
    if (size == 2) {
        uint16_t *p = data;
        for (size_t i = 0; i < n; i++) p[i] = __builtin_bswap16(p[i]);
    } else if (size == 4) {
        uint32_t *p = data;
        for (size_t i = 0; i < n; i++) p[i] = __builtin_bswap32(p[i]);
    } else if (size == 8) {
        uint64_t *p = data;
        for (size_t i = 0; i < n; i++) p[i] = __builtin_bswap64(p[i]);
    }
}

/* ---- cards ------------------------------------------------------------------------------------------------------ */

/* One card, taken apart. */
typedef struct {
    char name[CARD + 1], text[CARD + 1], comment[CARD + 1];
    lm_value value;       /* text: see `text` */
    bool has_value, open; /* open: a string that ends in '&' and may go on in a CONTINUE card */
} raw_card;

/* Copies printable ASCII; anything else becomes '?'. Trailing blanks go. */
static void copy_clean(char *to, const char *from, size_t n)
{
    for (size_t i = 0; i < n; i++) to[i] = from[i] >= 0x20 && from[i] < 0x7f ? from[i] : '?';
    while (n && to[n - 1] == ' ') n--;
    to[n] = 0;
}

/* A number, T or F; text of anything else. */
static lm_value parse_token(char *token)
{
    if (!token[0]) return lm_null();
    if (!token[1] && (token[0] == 'T' || token[0] == 'F')) return lm_bool(token[0] == 'T');
    if (strspn(token, "+-0123456789.EeDd") != strlen(token)) return lm_text_value(token);
    char *end;
    errno = 0;
    long long integer = strtoll(token, &end, 10);
    if (!*end && end != token && !errno) return lm_int(integer);
    char number[CARD + 1];
    snprintf(number, sizeof number, "%s", token);
    for (char *p = number; *p; p++)
        if (*p == 'D' || *p == 'd') *p = 'E';
    double real = strtod(number, &end);
    return *end || end == number ? lm_text_value(token) : lm_real(real);
}

static void parse_value(const char *c, size_t n, raw_card *ret)
{
    size_t i = 0;
    while (i < n && c[i] == ' ') i++;
    ret->has_value = true;
    ret->value = lm_null();
    if (i < n && c[i] == '\'') {
        size_t length = 0;
        for (i++; i < n; i++) {
            if (c[i] == '\'') {
                if (i + 1 < n && c[i + 1] == '\'') i++;
                else break;
            }
            ret->text[length++] = c[i];
        }
        copy_clean(ret->text, ret->text, length);
        length = strlen(ret->text);
        ret->value = lm_text_value(ret->text);
        ret->open = length && ret->text[length - 1] == '&';
        i++; /* the closing quote */
    } else {
        size_t end = i;
        while (end < n && c[end] != '/') end++;
        copy_clean(ret->text, c + i, end - i);
        ret->value = parse_token(ret->text);
        i = end;
    }
    while (i < n && c[i] != '/') i++;
    if (i < n) {
        for (i++; i < n && c[i] == ' ';) i++;
        copy_clean(ret->comment, c + i, n - i);
    }
}

static void parse_card(const char *c, raw_card *ret)
{
    ret->has_value = ret->open = false;
    ret->name[0] = ret->text[0] = ret->comment[0] = 0;
    const char *equals;
    if (memcmp(c, "HIERARCH ", 9) == 0 && (equals = memchr(c + 9, '=', CARD - 9))) {
        const char *start = c + 9;
        while (*start == ' ') start++;
        copy_clean(ret->name, start, (size_t)(equals - start));
        if (ret->name[0]) parse_value(equals + 1, (size_t)(c + CARD - equals - 1), ret);
        return;
    }
    copy_clean(ret->name, c, 8);
    if (strcmp(ret->name, "CONTINUE") == 0) parse_value(c + 8, CARD - 8, ret);
    else if (c[8] == '=' && ret->name[0]) parse_value(c + 9, CARD - 9, ret);
}

static bool numbered(const char *name, const char *stem)
{
    size_t n = strlen(stem);
    if (strncmp(name, stem, n) != 0 || !name[n]) return false;
    return strspn(name + n, "0123456789") == strlen(name + n);
}

bool lm_card_is_structural(const char *name)
{
    static const char *const names[] = {
        "SIMPLE",   "XTENSION", "BITPIX",   "NAXIS",    "EXTEND",   "PCOUNT",   "GCOUNT",   "GROUPS",
        "BSCALE",   "BZERO",    "BLANK",    "BUNIT",    "END",      "TFIELDS",  "THEAP",    "EXTNAME",
        "EXTVER",   "EXTLEVEL", "INHERIT",  "LONGSTRN", "CHECKSUM", "DATASUM",  "ZHECKSUM", "ZDATASUM",
        "ZIMAGE",   "ZTABLE",   "ZCMPTYPE", "ZBITPIX",  "ZNAXIS",   "ZQUANTIZ", "ZDITHER0", "ZSIMPLE",
        "ZEXTEND",  "ZTENSION", "ZPCOUNT",  "ZGCOUNT",  "ZBLANK",   "ZMASKCMP", "ZSCALE",   "ZZERO",
        "ZTILELEN", "ZNAXIS1",  "CONTINUE", "COMMENT",  "HISTORY",  "PTYPE",    "",         NULL};
    static const char *const stems[] = {"NAXIS", "TTYPE", "TFORM", "TUNIT", "TDIM",  "TNULL", "TSCAL",
                                        "TZERO", "TDISP", "TBCOL", "ZTILE", "ZNAME", "ZVAL",  "ZNAXIS",
                                        "PTYPE", "PSCAL", "PZERO", "ZFORM", "ZCTYP", NULL};
    for (size_t i = 0; names[i]; i++)
        if (strcmp(name, names[i]) == 0) return true;
    for (size_t i = 0; stems[i]; i++)
        if (numbered(name, stems[i])) return true;
    return false;
}

/* ---- structure -------------------------------------------------------------------------------------------------- */

/* Reads the header that begins at `at` into f->header, up to its END card. */
static lm_status read_header(lm_fits *f, uint64_t at, size_t number, lm_error *err)
{
    size_t n = 0;
    for (;;) {
        bool there = false;
        LM_TRY(lm_fits_reaches(f, at + n + BLOCK, &there, err));
        const char *fault = f->unpack ? lm_unpack_fault(f->unpack) : NULL;
        if (!there || n + BLOCK > MAX_HEADER)
            return LM_FAIL(err, LM_EINPUT,
                           "\"%s\", HDU %zu: truncated: the header has no END card in %" PRIu64 " bytes%s%s", f->path,
                           number, there ? (uint64_t)n : known(f) - at, fault ? "; " : "", fault ? fault : "");
        if (f->cap_header < n + BLOCK) {
            size_t capacity = f->cap_header ? 2 * f->cap_header : 4 * BLOCK;
            char *grown = lm_realloc(f->header, capacity, 1);
            if (!grown) return LM_NOMEM(err);
            f->header = grown;
            f->cap_header = capacity;
        }
        char *block = f->header + n;
        LM_TRY(lm_fits_read(f, at + n, block, BLOCK, err));
        for (size_t i = 0; i < BLOCK; i += CARD) {
            if (memcmp(block + i, "END     ", 8) == 0) {
                f->header_bytes = n + i;
                return LM_OK;
            }
        }
        n += BLOCK;
    }
}

/* The last card of that name in f->header; NULL: none. */
static const char *find_card(const lm_fits *f, const char *name)
{
    char padded[8];
    size_t length = strlen(name);
    memset(padded, ' ', sizeof padded);
    memcpy(padded, name, length < 8 ? length : 8);
    for (size_t i = 0; i < f->header_bytes; i += CARD)
        if (memcmp(f->header + i, padded, 8) == 0 && f->header[i + 8] == '=') return f->header + i;
    return NULL;
}

static lm_status want_int(const lm_fits *f, const lm_hdu *hdu, const char *name, int64_t low, int64_t high,
                          int64_t otherwise, int64_t *ret, lm_error *err)
{
    const char *card = find_card(f, name);
    raw_card raw;
    if (!card) {
        if (otherwise < low)
            return LM_FAIL(err, LM_EINPUT, "\"%s\", HDU %zu: the header has no %s", f->path, hdu->number, name);
        *ret = otherwise;
        return LM_OK;
    }
    parse_card(card, &raw);
    if (raw.value.kind == LM_KIND_REAL && raw.value.real == floor(raw.value.real) && fabs(raw.value.real) < 9e15)
        raw.value = lm_int((int64_t)raw.value.real);
    if (raw.value.kind != LM_KIND_INT || raw.value.integer < low || raw.value.integer > high) {
        char text[CARD + 1];
        copy_clean(text, card, CARD);
        return LM_FAIL(err, LM_EINPUT,
                       "\"%s\", HDU %zu: the card \"%s\" is not a whole number from %" PRId64 " to %" PRId64, f->path,
                       hdu->number, text, low, high);
    }
    *ret = raw.value.integer;
    return LM_OK;
}

static bool is_true(const lm_fits *f, const char *name)
{
    const char *card = find_card(f, name);
    raw_card raw;
    if (!card) return false;
    parse_card(card, &raw);
    return raw.value.kind == LM_KIND_BOOL && raw.value.boolean;
}

static void text_of(const lm_fits *f, const char *name, char *to, size_t size)
{
    const char *card = find_card(f, name);
    raw_card raw;
    to[0] = 0;
    if (!card) return;
    parse_card(card, &raw);
    if (raw.value.kind == LM_KIND_TEXT) snprintf(to, size, "%s", raw.text);
}

static lm_status too_large(const lm_fits *f, const lm_hdu *hdu, lm_error *err)
{
    return LM_FAIL(err, LM_EINPUT, "\"%s\", HDU %zu: the header promises more than 2^63 bytes of data", f->path,
                   hdu->number);
}

/* BITPIX and the axes under these names; *ret_count is the product of the axes. */
static lm_status read_axes(const lm_fits *f, lm_hdu *hdu, const char *bitpix, const char *naxis, unsigned first,
                           uint64_t *ret_count, lm_error *err)
{
    int64_t value = 0, count = 0;
    LM_TRY(want_int(f, hdu, bitpix, -64, 64, -65, &value, err));
    if (value != 8 && value != 16 && value != 32 && value != 64 && value != -32 && value != -64)
        return LM_FAIL(err, LM_EINPUT, "\"%s\", HDU %zu: %s = %" PRId64 " is none of 8, 16, 32, 64, -32, -64", f->path,
                       hdu->number, bitpix, value);
    LM_TRY(want_int(f, hdu, naxis, 0, LM_FITS_MAX_AXES, -1, &count, err));
    hdu->bitpix = (int)value;
    hdu->naxis = (unsigned)count;
    hdu->empty = count == 0;
    uint64_t product = count ? 1 : 0, dims[LM_MAX_DIMS] = {0};
    bool overflow = false;
    for (unsigned i = 0; i < hdu->naxis; i++) {
        char name[16];
        int64_t length = 0;
        snprintf(name, sizeof name, "%s%u", naxis, i + 1);
        LM_TRY(want_int(f, hdu, name, 0, INT64_MAX, -1, &length, err));
        if (i < LM_MAX_DIMS) dims[i] = (uint64_t)length;
        if (length == 0) hdu->empty = true;
        if (i < first) continue;
        if (length && product > (uint64_t)(INT64_MAX / 8) / (uint64_t)length) {
            overflow = true;
            product = 1;
        }
        product *= (uint64_t)length;
    }
    if (overflow && !hdu->empty) return too_large(f, hdu, err);
    if (hdu->naxis <= LM_MAX_DIMS)
        for (unsigned i = 0; i < hdu->naxis; i++) hdu->shape[i] = dims[hdu->naxis - 1 - i];
    *ret_count = product;
    return LM_OK;
}

/* What f->header says. */
static lm_status read_structure(const lm_fits *f, lm_hdu *hdu, lm_error *err)
{
    char type[CARD + 1];
    text_of(f, "XTENSION", type, sizeof type);
    if (hdu->number == 0) {
        raw_card simple;
        parse_card(f->header, &simple);
        if (simple.value.kind == LM_KIND_BOOL && !simple.value.boolean)
            return LM_FAIL(err, LM_EINPUT,
                           "\"%s\": SIMPLE = F: the file says of itself that it does not follow the FITS standard",
                           f->path);
        hdu->kind = is_true(f, "GROUPS") ? LM_HDU_GROUPS : LM_HDU_IMAGE;
    } else {
        hdu->kind = !strcmp(type, "IMAGE") || !strcmp(type, "IUEIMAGE")      ? LM_HDU_IMAGE
                    : !strcmp(type, "BINTABLE") || !strcmp(type, "A3DTABLE") ? LM_HDU_BINTABLE
                    : !strcmp(type, "TABLE")                                 ? LM_HDU_ASCII
                                                                             : LM_HDU_OTHER;
    }
    uint64_t count = 0;
    bool groups = hdu->kind == LM_HDU_GROUPS;
    LM_TRY(read_axes(f, hdu, "BITPIX", "NAXIS", groups ? 1 : 0, &count, err));
    int64_t pcount = 0, gcount = 1;
    if (hdu->number > 0 || groups) {
        LM_TRY(want_int(f, hdu, "PCOUNT", 0, INT64_MAX, 0, &pcount, err));
        LM_TRY(want_int(f, hdu, "GCOUNT", 0, INT64_MAX, 1, &gcount, err));
    }
    uint64_t size = (uint64_t)abs(hdu->bitpix) / 8, elements, all;
    if (__builtin_add_overflow(count, (uint64_t)pcount, &elements) ||
        __builtin_mul_overflow(elements, (uint64_t)gcount, &elements) || __builtin_mul_overflow(elements, size, &all) ||
        all > INT64_MAX - hdu->data_at - BLOCK)
        return too_large(f, hdu, err);
    hdu->data_bytes = all;
    text_of(f, "EXTNAME", hdu->name, sizeof hdu->name);
    if (hdu->kind == LM_HDU_BINTABLE || hdu->kind == LM_HDU_ASCII) {
        if (hdu->naxis != 2 || hdu->bitpix != 8)
            return LM_FAIL(err, LM_EINPUT, "\"%s\", HDU %zu: a table with BITPIX = %d and NAXIS = %u, not 8 and 2",
                           f->path, hdu->number, hdu->bitpix, hdu->naxis);
        hdu->row_bytes = hdu->shape[1];
        hdu->rows = hdu->shape[0];
        if (hdu->kind == LM_HDU_BINTABLE && is_true(f, "ZIMAGE")) {
            hdu->kind = LM_HDU_TILES;
            LM_TRY(read_axes(f, hdu, "ZBITPIX", "ZNAXIS", 0, &count, err));
        }
    }
    return LM_OK;
}

/* Finds one more HDU; sets f->all if there is none. */
static lm_status next_hdu(lm_fits *f, lm_error *err)
{
    uint64_t at = 0;
    if (f->n_hdus) {
        const lm_hdu *last = &f->hdus[f->n_hdus - 1];
        at = last->data_at + (last->data_bytes + BLOCK - 1) / BLOCK * BLOCK;
        char begin[9] = {0};
        bool there = false;
        LM_TRY(lm_fits_reaches(f, at + CARD, &there, err));
        if (there) LM_TRY(lm_fits_read(f, at, begin, 8, err));
        if (strcmp(begin, "XTENSION") != 0 || f->n_hdus == MAX_HDUS) { /* the end, or bytes that follow the last HDU */
            f->all = true;
            return LM_OK;
        }
    }
    if (!lm_grow(&f->hdus, f->n_hdus, &f->cap_hdus, sizeof *f->hdus)) return LM_NOMEM(err);
    LM_TRY(read_header(f, at, f->n_hdus, err));
    lm_hdu hdu = {.number = f->n_hdus, .header_at = at};
    hdu.data_at = at + (f->header_bytes + CARD + BLOCK - 1) / BLOCK * BLOCK;
    LM_TRY(read_structure(f, &hdu, err));
    f->hdus[f->n_hdus++] = hdu;
    return LM_OK;
}

static lm_status begin(lm_fits *f, lm_error *err)
{
    char start[10] = {0};
    bool there = false;
    LM_TRY(lm_fits_reaches(f, 1, &there, err));
    const char *fault = f->unpack ? lm_unpack_fault(f->unpack) : NULL;
    if (!there)
        return LM_FAIL(err, LM_EINPUT, "\"%s\" is empty%s%s", f->path, fault ? ": its " : "", fault ? fault : "");
    LM_TRY(lm_fits_reaches(f, 9, &there, err));
    if (there) LM_TRY(lm_fits_read(f, 0, start, 9, err));
    if (strncmp(start, "SIMPLE  =", 9) != 0) {
        char clean[10];
        copy_clean(clean, start, strnlen(start, 9));
        return LM_FAIL(err, LM_EINPUT, "\"%s\" is not a FITS file: it begins with \"%s\", not with \"SIMPLE  =\"",
                       f->path, clean);
    }
    return next_hdu(f, err);
}

static lm_status open_unpacked(lm_fits *f, lm_error *err)
{
    if (f->size > SIZE_MAX / 2) return LM_FAIL(err, LM_EINPUT, "\"%s\" is too large to be unpacked in memory", f->path);
    uint8_t *packed = lm_alloc_raw((size_t)f->size);
    if (!packed) return LM_NOMEM(err);
    lm_status status = lm_fits_read(f, 0, packed, (size_t)f->size, err);
    if (status) {
        lm_free(packed);
        return status;
    }
    LM_TRY_IN(lm_unpack_new(packed, (size_t)f->size, &f->unpack, err), err, "\"%s\"", f->path);
    return LM_OK;
}

static lm_status open_rest(lm_fits *f, lm_error *err)
{
    uint8_t magic[4] = {0};
    size_t n = f->size < 4 ? (size_t)f->size : 4;
    LM_TRY(lm_fits_read(f, 0, magic, n, err));
    if (lm_unpack_kind(magic, n)) LM_TRY(open_unpacked(f, err));
    return begin(f, err);
}

lm_status lm_fits_open(const char *path, lm_fits **ret, lm_error *err)
{
    LM_OWN(lm_fits) f = lm_alloc(1, sizeof *f);
    if (!f) return LM_NOMEM(err);
    f->fd = -1;
    f->path = lm_strdup(path);
    if (!f->path) return LM_NOMEM(err);
    f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a named pipe must not make us wait */
    if (f->fd < 0) return fail_io(f, "open", err);
    struct stat st;
    if (fstat(f->fd, &st) < 0) return fail_io(f, "read", err);
    if (!S_ISREG(st.st_mode)) return LM_FAIL(err, LM_EINPUT, "\"%s\" is not a regular file", path);
    f->size = (uint64_t)st.st_size;
    f->opened = st;
    LM_TRY(open_rest(f, err));
    *ret = lm_take(f);
    return LM_OK;
}

lm_status lm_fits_open_bytes(const char *name, const void *bytes, size_t n, lm_fits **ret, lm_error *err)
{
    LM_OWN(lm_fits) f = lm_alloc(1, sizeof *f);
    if (!f) return LM_NOMEM(err);
    f->fd = -1;
    f->bytes = bytes;
    f->size = n;
    f->path = lm_strdup(name);
    if (!f->path) return LM_NOMEM(err);
    LM_TRY(open_rest(f, err));
    *ret = lm_take(f);
    return LM_OK;
}

lm_fits *lm_fits_close(lm_fits *f)
{
    if (!f) return NULL;
    if (f->fd >= 0) close(f->fd);
    lm_unpack_free(f->unpack);
    lm_free(f->path);
    lm_free(f->hdus);
    lm_free(f->header);
    return lm_free(f);
}

const char *lm_fits_path(const lm_fits *f)
{
    return f->path;
}

bool lm_fits_is_current(const lm_fits *f)
{
    struct stat now;
    const struct stat *then = &f->opened;
    if (f->fd < 0 || f->unpack || stat(f->path, &now) < 0) return false;
    return now.st_dev == then->st_dev && now.st_ino == then->st_ino && now.st_size == then->st_size &&
           now.st_mtim.tv_sec == then->st_mtim.tv_sec && now.st_mtim.tv_nsec == then->st_mtim.tv_nsec;
}

/* ---- HDUs ------------------------------------------------------------------------------------------------------- */

/* Sets *ret_there if the HDU exists. */
static lm_status reach_hdu(lm_fits *f, size_t number, bool *ret_there, lm_error *err)
{
    while (f->n_hdus <= number && !f->all) LM_TRY(next_hdu(f, err));
    *ret_there = number < f->n_hdus;
    return LM_OK;
}

/* A data unit that is cut short hides what came after it: say so rather than "there is no HDU 3". */
static lm_status complete_last(lm_fits *f, lm_error *err)
{
    return f->n_hdus ? lm_fits_complete(f, &f->hdus[f->n_hdus - 1], err) : LM_OK;
}

lm_status lm_fits_count(lm_fits *f, size_t *ret, lm_error *err)
{
    while (!f->all) LM_TRY(next_hdu(f, err));
    LM_TRY(complete_last(f, err));
    *ret = f->n_hdus;
    return LM_OK;
}

lm_status lm_fits_hdu(lm_fits *f, size_t number, lm_hdu *ret, lm_error *err)
{
    bool there = false;
    LM_TRY(reach_hdu(f, number, &there, err));
    if (!there) {
        LM_TRY(complete_last(f, err));
        return LM_FAIL_HINT(err, LM_EINPUT, "HDUs are counted from 0, the primary.",
                            "\"%s\" has no HDU %zu: it has %zu", f->path, number, f->n_hdus);
    }
    *ret = f->hdus[number];
    return LM_OK;
}

lm_status lm_fits_find(lm_fits *f, const char *name, lm_hdu *ret, lm_error *err)
{
    lm_nearest nearest;
    lm_nearest_init(&nearest, name);
    for (size_t i = 0;; i++) {
        bool there = false;
        LM_TRY(reach_hdu(f, i, &there, err));
        if (!there) break;
        if (strcasecmp(f->hdus[i].name, name) == 0 || (i == 0 && !f->hdus[0].name[0] && !strcasecmp(name, "PRIMARY"))) {
            *ret = f->hdus[i];
            return LM_OK;
        }
        if (f->hdus[i].name[0]) lm_nearest_offer(&nearest, f->hdus[i].name);
    }
    LM_TRY(complete_last(f, err));
    char hint[160] = "";
    if (nearest.best) snprintf(hint, sizeof hint, "Did you mean \"%s\"?", nearest.best);
    return LM_FAIL_HINT(err, LM_EINPUT, hint[0] ? hint : NULL, "\"%s\" has no HDU with EXTNAME \"%s\" among its %zu",
                        f->path, name, f->n_hdus);
}

lm_status lm_fits_first(lm_fits *f, lm_hdu *ret, lm_error *err)
{
    size_t tables = 0;
    for (size_t i = 0;; i++) {
        bool there = false;
        LM_TRY(reach_hdu(f, i, &there, err));
        if (!there) break;
        const lm_hdu *hdu = &f->hdus[i];
        if (hdu->kind == LM_HDU_GROUPS)
            return LM_FAIL_HINT(err, LM_EINPUT, "Visibilities in UVFITS are read by \"uvfits.read\".",
                                "\"%s\", HDU %zu: random groups, not an image", f->path, i);
        if ((hdu->kind == LM_HDU_IMAGE || hdu->kind == LM_HDU_TILES) && !hdu->empty) {
            *ret = *hdu;
            return LM_OK;
        }
        tables += hdu->kind == LM_HDU_BINTABLE || hdu->kind == LM_HDU_ASCII;
    }
    LM_TRY(complete_last(f, err));
    return LM_FAIL(err, LM_EINPUT, "\"%s\" has no HDU with pixels: %zu HDU%s, %zu of them table%s", f->path, f->n_hdus,
                   f->n_hdus == 1 ? "" : "s", tables, tables == 1 ? "" : "s");
}

lm_status lm_fits_first_table(lm_fits *f, lm_hdu *ret, lm_error *err)
{
    for (size_t i = 0;; i++) {
        bool there = false;
        LM_TRY(reach_hdu(f, i, &there, err));
        if (!there) break;
        if (f->hdus[i].kind == LM_HDU_BINTABLE || f->hdus[i].kind == LM_HDU_ASCII) {
            *ret = f->hdus[i];
            return LM_OK;
        }
    }
    LM_TRY(complete_last(f, err));
    return LM_FAIL(err, LM_EINPUT, "\"%s\" has no table among its %zu HDUs", f->path, f->n_hdus);
}

lm_status lm_fits_select(lm_fits *f, const char *what, lm_hdu *ret, lm_error *err)
{
    if (strcmp(what, "first") == 0) return lm_fits_first(f, ret, err);
    if (what[0] && strspn(what, "0123456789") == strlen(what) && strlen(what) < 10)
        return lm_fits_hdu(f, (size_t)strtoul(what, NULL, 10), ret, err);
    return lm_fits_find(f, what, ret, err);
}

lm_status lm_fits_complete(lm_fits *f, const lm_hdu *hdu, lm_error *err)
{
    bool there = false;
    uint64_t end = hdu->data_at + hdu->data_bytes;
    LM_TRY(lm_fits_reaches(f, end, &there, err));
    if (there) return LM_OK;
    const char *fault = f->unpack ? lm_unpack_fault(f->unpack) : NULL;
    return LM_FAIL(err, LM_EINPUT,
                   "\"%s\", HDU %zu: truncated: the header promises %" PRIu64 " bytes, the file has %" PRIu64 "%s%s",
                   f->path, hdu->number, end, known(f), fault ? "; " : "", fault ? fault : "");
}

/* ---- all cards of a header -------------------------------------------------------------------------------------- */

static bool add_line(lm_text *to, const char *card)
{
    char line[CARD + 1];
    copy_clean(line, card + 8, CARD - 8);
    if (to->length) lm_text_char(to, '\n');
    lm_text_add(to, line);
    return !to->failed;
}

/* A string that goes on in CONTINUE cards; *i is moved to the last of them. */
static const char *long_string(const lm_fits *f, size_t *i, raw_card *raw, lm_arena *arena)
{
    lm_text text;
    lm_text_init(&text);
    lm_text_add(&text, raw->text);
    while (raw->open && *i + CARD < f->header_bytes && memcmp(f->header + *i + CARD, "CONTINUE", 8) == 0) {
        raw_card more;
        parse_card(f->header + *i + CARD, &more);
        if (more.value.kind != LM_KIND_TEXT) break;
        text.chars[--text.length] = 0; /* the '&' */
        lm_text_add(&text, more.text);
        if (more.comment[0]) memcpy(raw->comment, more.comment, sizeof raw->comment);
        raw->open = more.open;
        *i += CARD;
    }
    char *result = text.failed ? NULL : lm_arena_strdup(arena, lm_text_peek(&text));
    lm_text_done(&text);
    return result;
}

static lm_status collect(const lm_fits *f, lm_arena *arena, lm_cards *cards, lm_text *history, lm_text *comment,
                         lm_error *err)
{
    for (size_t i = 0; i < f->header_bytes; i += CARD) {
        const char *card = f->header + i;
        if (memcmp(card, "HISTORY ", 8) == 0 || memcmp(card, "COMMENT ", 8) == 0) {
            if (!add_line(card[0] == 'H' ? history : comment, card)) return LM_NOMEM(err);
            continue;
        }
        raw_card raw;
        parse_card(card, &raw);
        if (!raw.has_value || !strcmp(raw.name, "CONTINUE")) continue;
        lm_card *to = &cards->at[cards->n++];
        to->value = raw.value;
        if (raw.value.kind == LM_KIND_TEXT) {
            to->value.text = raw.open ? long_string(f, &i, &raw, arena) : lm_arena_strdup(arena, raw.text);
            if (!to->value.text) return LM_NOMEM(err);
        }
        to->name = lm_arena_strdup(arena, raw.name);
        to->comment = raw.comment[0] ? lm_arena_strdup(arena, raw.comment) : NULL;
        if (!to->name || (raw.comment[0] && !to->comment)) return LM_NOMEM(err);
    }
    cards->history = history->length ? lm_arena_strdup(arena, history->chars) : NULL;
    cards->comment = comment->length ? lm_arena_strdup(arena, comment->chars) : NULL;
    return (history->length && !cards->history) || (comment->length && !cards->comment) ? LM_NOMEM(err) : LM_OK;
}

lm_status lm_fits_cards(lm_fits *f, const lm_hdu *hdu, lm_arena *arena, lm_cards *ret, lm_error *err)
{
    LM_TRY(read_header(f, hdu->header_at, hdu->number, err));
    lm_cards cards = {.at = lm_arena_alloc(arena, f->header_bytes / CARD + 1, sizeof *cards.at)};
    if (!cards.at) return LM_NOMEM(err);
    lm_text history, comment;
    lm_text_init(&history);
    lm_text_init(&comment);
    lm_status status = collect(f, arena, &cards, &history, &comment, err);
    lm_text_done(&history);
    lm_text_done(&comment);
    if (!status) *ret = cards;
    return status;
}

const lm_card *lm_cards_find(const lm_cards *cards, const char *name)
{
    for (size_t i = 0; i < cards->n; i++)
        if (strcmp(cards->at[i].name, name) == 0) return &cards->at[i];
    return NULL;
}
