#include "operators/io/_table.h"

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

enum { MAX_COLUMNS = 999 };

typedef struct {
    lm_column column;       /* first: lm_table_column() hands it out */
    char type;              /* letter of TFORM; 'c' in a CSV file */
    uint64_t at;            /* byte in the row */
    uint64_t repeat, width; /* elements; bytes of the whole field */
    double scale, zero;
    bool has_null;
    int64_t null;
    const char *null_text, *dim;
} field;

struct lm_table {
    lm_arena arena;
    char *path;
    size_t number; /* HDU */
    bool binary;
    field *fields;
    size_t n_fields, n_rows;
    uint8_t *bytes; /* rows of a FITS table, or the text of a CSV file */
    uint64_t row_bytes;
    char **cells; /* of a CSV file: all cells, row by row */
    size_t n_cells, cap_cells;
    struct {
        size_t first, n, line;
    } * lines;
    size_t n_lines, cap_lines;
    char *text; /* of the last text cell */
    size_t cap_text;
};

size_t lm_table_rows(const lm_table *t)
{
    return t->n_rows;
}
size_t lm_table_columns(const lm_table *t)
{
    return t->n_fields;
}
const lm_column *lm_table_column(const lm_table *t, size_t column)
{
    return &t->fields[column].column;
}

lm_table *lm_table_close(lm_table *t)
{
    if (!t) return NULL;
    lm_arena_done(&t->arena);
    lm_free(t->path);
    lm_free(t->bytes);
    lm_free(t->cells);
    lm_free(t->lines);
    lm_free(t->text);
    return lm_free(t);
}

/* ---- FITS ------------------------------------------------------------------------------------------------------- */

static const lm_card *card_of(const lm_cards *cards, const char *stem, size_t number)
{
    char name[32];
    snprintf(name, sizeof name, "%s%zu", stem, number);
    return lm_cards_find(cards, name);
}

static const char *text_of(const lm_cards *cards, const char *stem, size_t number)
{
    const lm_card *card = card_of(cards, stem, number);
    return card && card->value.kind == LM_KIND_TEXT && card->value.text[0] ? card->value.text : NULL;
}

static double real_of(const lm_cards *cards, const char *stem, size_t number, double otherwise)
{
    const lm_card *card = card_of(cards, stem, number);
    double value = card ? lm_value_real(card->value) : otherwise;
    return isfinite(value) ? value : otherwise;
}

static lm_status bad_form(const lm_table *t, size_t i, const char *form, lm_error *err)
{
    return LM_FAIL(err, LM_EINPUT, "\"%s\", HDU %zu, column %zu: TFORM%zu = \"%s\" is no format of a column", t->path,
                   t->number, i + 1, i + 1, form ? form : "");
}

static bool is_integer_type(char type)
{
    return type == 'B' || type == 'I' || type == 'J' || type == 'K';
}

/* Integers stay integers if they are only shifted, and by a whole number. */
static bool shifted_only(const field *f)
{
    return f->scale == 1 && f->zero == floor(f->zero) && fabs(f->zero) <= 0x1p63;
}

static lm_kind kind_of(const field *f)
{
    if (f->type == 'A') return LM_KIND_TEXT;
    if (f->type == 'L') return LM_KIND_BOOL;
    return is_integer_type(f->type) && shifted_only(f) ? LM_KIND_INT : LM_KIND_REAL;
}

static lm_status binary_field(lm_table *t, const lm_cards *cards, size_t i, uint64_t *at, lm_error *err)
{
    field *f = &t->fields[i];
    const char *form = text_of(cards, "TFORM", i + 1);
    if (!form) return bad_form(t, i, form, err);
    char *end = (char *)(uintptr_t)form;
    errno = 0;
    f->repeat = isdigit((unsigned char)form[0]) ? strtoull(form, &end, 10) : 1;
    f->type = *end;
    if (errno || f->repeat > t->row_bytes * 8) return bad_form(t, i, form, err);
    if (f->type == 'X') f->width = (f->repeat + 7) / 8;
    else if (lm_fits_type_size(f->type)) f->width = f->repeat * lm_fits_type_size(f->type);
    else return bad_form(t, i, form, err);
    f->at = *at;
    *at += f->width;
    if (*at > t->row_bytes)
        return LM_FAIL(err, LM_EINPUT,
                       "\"%s\", HDU %zu: column %zu ends at byte %" PRIu64 " of rows of %" PRIu64 " bytes", t->path,
                       t->number, i + 1, *at, t->row_bytes);
    if (f->type == 'A')
        f->column.scalar = !end[1] || strtoull(end + 1, NULL, 10) >= f->repeat || !isdigit((unsigned char)end[1]);
    else f->column.scalar = f->repeat == 1 && !strchr("XPQCM", f->type);
    f->dim = text_of(cards, "TDIM", i + 1);
    if (f->type == 'A' && f->dim) f->column.scalar = false;
    return LM_OK;
}

static lm_status ascii_field(lm_table *t, const lm_cards *cards, size_t i, lm_error *err)
{
    field *f = &t->fields[i];
    const char *form = text_of(cards, "TFORM", i + 1);
    const lm_card *begin = card_of(cards, "TBCOL", i + 1);
    if (!form || !strchr("AIFED", form[0])) return bad_form(t, i, form, err);
    f->type = form[0] == 'A' ? 'A' : form[0] == 'I' ? 'K' : 'D';
    f->width = strtoull(form + 1, NULL, 10);
    int64_t at = begin && begin->value.kind == LM_KIND_INT ? begin->value.integer : 0;
    if (at < 1 || (uint64_t)at > t->row_bytes || f->width > t->row_bytes - (uint64_t)at + 1)
        return LM_FAIL(err, LM_EINPUT, "\"%s\", HDU %zu: column %zu lies outside rows of %" PRIu64 " bytes", t->path,
                       t->number, i + 1, t->row_bytes);
    f->at = (uint64_t)at - 1;
    f->repeat = 1;
    f->column.scalar = true;
    f->null_text = text_of(cards, "TNULL", i + 1);
    return LM_OK;
}

static lm_status read_fields(lm_table *t, const lm_cards *cards, lm_error *err)
{
    const lm_card *count = lm_cards_find(cards, "TFIELDS");
    if (!count || count->value.kind != LM_KIND_INT || count->value.integer < 0 || count->value.integer > MAX_COLUMNS)
        return LM_FAIL(err, LM_EINPUT, "\"%s\", HDU %zu: TFIELDS is missing or not from 0 to %d", t->path, t->number,
                       MAX_COLUMNS);
    t->n_fields = (size_t)count->value.integer;
    t->fields = lm_arena_alloc(&t->arena, t->n_fields, sizeof *t->fields);
    if (!t->fields) return LM_NOMEM(err);
    uint64_t at = 0;
    for (size_t i = 0; i < t->n_fields; i++) {
        field *f = &t->fields[i];
        LM_TRY(t->binary ? binary_field(t, cards, i, &at, err) : ascii_field(t, cards, i, err));
        f->scale = real_of(cards, "TSCAL", i + 1, 1);
        f->zero = real_of(cards, "TZERO", i + 1, 0);
        const lm_card *null = card_of(cards, "TNULL", i + 1);
        f->has_null = t->binary && null && null->value.kind == LM_KIND_INT;
        if (f->has_null) f->null = null->value.integer;
        f->column.kind = kind_of(f);
        f->column.unit = text_of(cards, "TUNIT", i + 1);
        f->column.name = text_of(cards, "TTYPE", i + 1);
        if (!f->column.name) f->column.name = lm_arena_printf(&t->arena, "column%zu", i + 1);
        if (!f->column.name) return LM_NOMEM(err);
    }
    return LM_OK;
}

static lm_status open_fits(lm_table *t, const char *hdu_name, lm_error *err)
{
    LM_OWN(lm_fits) fits = NULL;
    lm_hdu hdu;
    lm_cards cards;
    LM_TRY(lm_fits_open(t->path, &fits, err));
    LM_TRY(hdu_name ? lm_fits_select(fits, hdu_name, &hdu, err) : lm_fits_first_table(fits, &hdu, err));
    if (hdu.kind != LM_HDU_BINTABLE && hdu.kind != LM_HDU_ASCII)
        return LM_FAIL(err, LM_EINPUT, "\"%s\", HDU %zu: not a table", t->path, hdu.number);
    LM_TRY(lm_fits_complete(fits, &hdu, err));
    LM_TRY(lm_fits_cards(fits, &hdu, &t->arena, &cards, err));
    const lm_card *packed = lm_cards_find(&cards, "ZTABLE");
    if (packed && packed->value.kind == LM_KIND_BOOL && packed->value.boolean)
        return LM_FAIL_HINT(err, LM_EINPUT, "Unpack it with funpack.", "\"%s\", HDU %zu: a compressed table", t->path,
                            hdu.number);
    t->number = hdu.number;
    t->binary = hdu.kind == LM_HDU_BINTABLE;
    t->row_bytes = hdu.row_bytes;
    t->n_rows = (size_t)hdu.rows;
    LM_TRY(read_fields(t, &cards, err));
    size_t n = (size_t)(hdu.row_bytes * hdu.rows); /* at most data_bytes, which the file has */
    if (hdu.row_bytes == 0) t->n_rows = 0;
    t->bytes = lm_alloc_raw(n + 1);
    if (!t->bytes) return LM_NOMEM(err);
    return lm_fits_read(fits, hdu.data_at, t->bytes, n, err);
}

static int64_t raw_integer(char type, const uint8_t *p)
{
    uint16_t a;
    uint32_t b;
    uint64_t c;
    switch (type) {
    case 'B': return *p;
    case 'I': memcpy(&a, p, 2); return (int16_t)__builtin_bswap16(a);
    case 'J': memcpy(&b, p, 4); return (int32_t)__builtin_bswap32(b);
    default: memcpy(&c, p, 8); return (int64_t)__builtin_bswap64(c);
    }
}

static double raw_real(char type, const uint8_t *p)
{
    if (type == 'E') {
        uint32_t bits;
        float value;
        memcpy(&bits, p, 4);
        bits = __builtin_bswap32(bits);
        memcpy(&value, &bits, 4);
        return (double)value;
    }
    uint64_t bits;
    double value;
    memcpy(&bits, p, 8);
    bits = __builtin_bswap64(bits);
    memcpy(&value, &bits, 8);
    return value;
}

/* One element of a binary table as a number; NaN: undefined. */
static double element(const field *f, const uint8_t *p)
{
    if (f->type == 'E' || f->type == 'D') return raw_real(f->type, p) * f->scale + f->zero;
    if (f->type == 'L') return *p == 'T' ? 1 : *p == 'F' ? 0 : (double)NAN;
    int64_t raw = raw_integer(f->type, p);
    if (f->has_null && raw == f->null) return (double)NAN;
    return (double)raw * f->scale + f->zero;
}

/* The cell's text, cleaned: up to the first zero byte, without trailing blanks. */
static lm_status keep_text(lm_table *t, const uint8_t *from, size_t n, lm_error *err)
{
    if (t->cap_text < n + 1) {
        char *grown = lm_realloc(t->text, n + 1, 1);
        if (!grown) return LM_NOMEM(err);
        t->text = grown;
        t->cap_text = n + 1;
    }
    size_t length = 0;
    for (; length < n && from[length]; length++)
        t->text[length] = from[length] >= 0x20 && from[length] < 0x7f ? (char)from[length] : '?';
    while (length && t->text[length - 1] == ' ') length--;
    t->text[length] = 0;
    return LM_OK;
}

static lm_status binary_cell(lm_table *t, const field *f, const uint8_t *p, lm_value *ret, lm_error *err)
{
    *ret = lm_null();
    if (f->type == 'A') {
        LM_TRY(keep_text(t, p, (size_t)f->width, err));
        *ret = lm_text_value(t->text);
    } else if (f->type == 'L') {
        if (*p == 'T' || *p == 'F') *ret = lm_bool(*p == 'T');
    } else if (f->column.kind == LM_KIND_INT) {
        int64_t raw = raw_integer(f->type, p), value = 0;
        if (f->has_null && raw == f->null) return LM_OK;
        bool fits;
        if (f->zero == 0x1p63) { /* unsigned 64-bit numbers */
            value = (int64_t)((uint64_t)raw ^ (UINT64_C(1) << 63));
            fits = value >= 0;
        } else {
            fits = !__builtin_add_overflow(raw, (int64_t)f->zero, &value);
        }
        *ret = fits ? lm_int(value) : lm_real((double)raw + f->zero);
    } else {
        double value = element(f, p);
        if (!isnan(value)) *ret = lm_real(value);
    }
    return LM_OK;
}

static lm_status bad_cell(const lm_table *t, size_t row, const field *f, const char *what, lm_error *err)
{
    return LM_FAIL(err, LM_EINPUT, "\"%s\", row %zu, column \"%s\": \"%s\" is not a number", t->path, row + 1,
                   f->column.name, what);
}

static lm_status ascii_cell(lm_table *t, size_t row, const field *f, const uint8_t *p, lm_value *ret, lm_error *err)
{
    LM_TRY(keep_text(t, p, (size_t)f->width, err));
    char *text = t->text, *end;
    while (*text == ' ') text++;
    *ret = lm_null();
    if (f->null_text && strcmp(text, f->null_text) == 0) return LM_OK;
    if (f->type == 'A') {
        *ret = lm_text_value(t->text);
        return LM_OK;
    }
    if (!*text) return LM_OK;
    if (f->column.kind == LM_KIND_INT) {
        errno = 0;
        long long value = strtoll(text, &end, 10);
        if (*end || errno || (f->zero != 0 && __builtin_add_overflow(value, (long long)f->zero, &value)))
            return bad_cell(t, row, f, text, err);
        *ret = lm_int(value);
        return LM_OK;
    }
    for (char *c = text; *c; c++)
        if (*c == 'D' || *c == 'd') *c = 'E';
    double value = strtod(text, &end);
    if (*end) return bad_cell(t, row, f, text, err);
    if (!isnan(value)) *ret = lm_real(value * f->scale + f->zero);
    return LM_OK;
}

/* ---- CSV -------------------------------------------------------------------------------------------------------- */

static lm_status load(lm_table *t, size_t *ret_n, lm_error *err)
{
    int fd = open(t->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0) return LM_FAIL(err, LM_EIO, "cannot open \"%s\": %s", t->path, strerror(errno));
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return LM_FAIL(err, LM_EINPUT, "\"%s\" is not a regular file", t->path);
    }
    size_t n = (size_t)st.st_size, have = 0;
    t->bytes = lm_alloc_raw(n + 1);
    while (t->bytes && have < n) {
        ssize_t got = read(fd, t->bytes + have, n - have);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        have += (size_t)got;
    }
    int why = errno;
    close(fd);
    if (!t->bytes) return LM_NOMEM(err);
    if (have < n) return LM_FAIL(err, LM_EIO, "cannot read \"%s\": %s", t->path, strerror(why));
    t->bytes[n] = 0;
    *ret_n = n;
    return LM_OK;
}

static lm_status add_cell(lm_table *t, char *cell, lm_error *err)
{
    if (!lm_grow(&t->cells, t->n_cells, &t->cap_cells, sizeof *t->cells)) return LM_NOMEM(err);
    t->cells[t->n_cells++] = cell;
    return LM_OK;
}

/* One cell from *p on, unquoted in place. Returns the character that ended it: the separator, '\n' or 0. */
static char take_cell(char **p, char separator, size_t *line, char **ret_cell, bool *ret_open)
{
    char *from = *p, *to = *p;
    *ret_cell = to;
    if (*from == '"') {
        for (from++; *from; from++) {
            if (*from == '"') {
                if (from[1] != '"') break;
                from++;
            }
            *line += *from == '\n';
            *to++ = *from;
        }
        if (!*from) {
            *ret_open = true;
            *to = 0;
            *p = from;
            return 0;
        }
        from++;
    }
    while (*from && *from != separator && *from != '\n') *to++ = *from++;
    char end = *from;
    if (end == '\n' && to > *ret_cell && to[-1] == '\r') to--;
    *to = 0;
    *p = end ? from + 1 : from;
    return end;
}

static lm_status split(lm_table *t, size_t n, char separator, lm_error *err)
{
    char *p = (char *)t->bytes;
    size_t line = 1;
    if (memchr(p, 0, n)) return LM_FAIL(err, LM_EINPUT, "\"%s\" is not a text file: it holds zero bytes", t->path);
    if (strncmp(p, "\xef\xbb\xbf", 3) == 0) p += 3; /* a byte order mark */
    while (*p) {
        if (*p == '#' || *p == '\n' || (*p == '\r' && p[1] == '\n')) {
            p += strcspn(p, "\n");
            if (*p) p++;
            line++;
            continue;
        }
        if (!lm_grow(&t->lines, t->n_lines, &t->cap_lines, sizeof *t->lines)) return LM_NOMEM(err);
        size_t first = t->n_cells, began = line;
        bool unclosed = false;
        for (char end = separator; end == separator;) {
            char *cell;
            end = take_cell(&p, separator, &line, &cell, &unclosed);
            if (unclosed)
                return LM_FAIL(err, LM_EINPUT, "\"%s\", line %zu: a quote that is not closed", t->path, began);
            LM_TRY(add_cell(t, cell, err));
        }
        line++;
        t->lines[t->n_lines].first = first;
        t->lines[t->n_lines].n = t->n_cells - first;
        t->lines[t->n_lines++].line = began;
    }
    if (!t->n_lines) return LM_FAIL(err, LM_EINPUT, "\"%s\" is empty: it has no line of column names", t->path);
    return LM_OK;
}

static bool is_int(const char *text, int64_t *ret)
{
    char *end;
    errno = 0;
    *ret = strtoll(text, &end, 10);
    return end != text && !*end && !errno && !isspace((unsigned char)*text);
}

static bool is_real(const char *text, double *ret)
{
    char *end;
    if (strpbrk(text, "xXpP(")) return false; /* hexadecimal */
    *ret = strtod(text, &end);
    return end != text && !*end && !isspace((unsigned char)*text);
}

static bool is_bool(const char *text, bool *ret)
{
    *ret = !strcasecmp(text, "true");
    return *ret || !strcasecmp(text, "false");
}

static lm_kind guess(const lm_table *t, size_t column)
{
    bool integers = true, reals = true, booleans = true, any = false, b;
    int64_t i;
    double r;
    for (size_t row = 1; row < t->n_lines; row++) {
        if (column >= t->lines[row].n) continue;
        const char *cell = t->cells[t->lines[row].first + column];
        if (!*cell) continue;
        any = true;
        integers = integers && is_int(cell, &i);
        reals = reals && is_real(cell, &r);
        booleans = booleans && is_bool(cell, &b);
        if (!integers && !reals && !booleans) break;
    }
    return !any ? LM_KIND_TEXT : integers ? LM_KIND_INT : reals ? LM_KIND_REAL : booleans ? LM_KIND_BOOL : LM_KIND_TEXT;
}

static lm_status open_csv(lm_table *t, char separator, lm_error *err)
{
    size_t n = 0;
    LM_TRY(load(t, &n, err));
    LM_TRY(split(t, n, separator, err));
    t->n_fields = t->lines[0].n;
    t->n_rows = t->n_lines - 1;
    t->fields = lm_arena_alloc(&t->arena, t->n_fields, sizeof *t->fields);
    if (!t->fields) return LM_NOMEM(err);
    for (size_t i = 0; i < t->n_fields; i++) {
        char *name = t->cells[i];
        while (*name == ' ') name++;
        for (size_t k = strlen(name); k && name[k - 1] == ' ';) name[--k] = 0;
        if (!*name)
            return LM_FAIL(err, LM_EINPUT, "\"%s\", line %zu: column %zu has no name", t->path, t->lines[0].line,
                           i + 1);
        t->fields[i] = (field){.column = {name, NULL, guess(t, i), true}, .type = 'c'};
    }
    return LM_OK;
}

static lm_status csv_cell(lm_table *t, size_t row, const field *f, size_t column, lm_value *ret, lm_error *err)
{
    size_t n = t->lines[row + 1].n;
    if (n != t->n_fields)
        return LM_FAIL(err, LM_EINPUT, "\"%s\", line %zu: %zu cells, but %zu columns", t->path, t->lines[row + 1].line,
                       n, t->n_fields);
    const char *cell = t->cells[t->lines[row + 1].first + column];
    int64_t i;
    double r;
    bool b;
    *ret = lm_null();
    if (!*cell) return LM_OK;
    if (f->column.kind == LM_KIND_INT && is_int(cell, &i)) *ret = lm_int(i);
    if (f->column.kind == LM_KIND_REAL && is_real(cell, &r) && !isnan(r)) *ret = lm_real(r);
    if (f->column.kind == LM_KIND_BOOL && is_bool(cell, &b)) *ret = lm_bool(b);
    if (f->column.kind == LM_KIND_TEXT) *ret = lm_text_value(cell);
    return LM_OK;
}

/* ---- both ------------------------------------------------------------------------------------------------------- */

lm_status lm_table_open(const char *path, const char *hdu, lm_table **ret, lm_error *err)
{
    LM_OWN(lm_table) t = lm_alloc(1, sizeof *t);
    if (!t) return LM_NOMEM(err);
    lm_arena_init(&t->arena);
    t->path = lm_strdup(path);
    if (!t->path) return LM_NOMEM(err);
    size_t n = strlen(path);
    const char *ending = n > 4 ? path + n - 4 : "";
    if (strcasecmp(ending, ".csv") == 0) LM_TRY(open_csv(t, ',', err));
    else if (strcasecmp(ending, ".tsv") == 0) LM_TRY(open_csv(t, '\t', err));
    else LM_TRY(open_fits(t, hdu, err));
    *ret = lm_take(t);
    return LM_OK;
}

lm_status lm_table_cell(lm_table *t, size_t row, size_t column, lm_value *ret, lm_error *err)
{
    const field *f = &t->fields[column];
    if (f->type == 'c') return csv_cell(t, row, f, column, ret, err);
    const uint8_t *p = t->bytes + row * t->row_bytes + f->at;
    return t->binary ? binary_cell(t, f, p, ret, err) : ascii_cell(t, row, f, p, ret, err);
}

/* TDIM: "(51,65)", fastest first. One axis of all elements if there is none, or it does not fit. */
static unsigned dims(const field *f, size_t shape[LM_MAX_DIMS])
{
    size_t lengths[LM_MAX_DIMS], product = 1;
    unsigned n = 0;
    const char *p = f->dim;
    if (p && *p == '(') {
        do {
            char *end;
            lengths[n] = (size_t)strtoull(p + 1, &end, 10);
            if (end == p + 1 || !lengths[n] || product > f->repeat / lengths[n]) break;
            product *= lengths[n++];
            p = end;
        } while (*p == ',' && n < LM_MAX_DIMS);
        if (*p == ')' && product == f->repeat) {
            for (unsigned i = 0; i < n; i++) shape[i] = lengths[n - 1 - i];
            return n;
        }
    }
    shape[0] = (size_t)f->repeat;
    return f->repeat == 1 ? 0 : 1;
}

lm_status lm_table_tensor(lm_table *t, size_t row, const char *column, lm_tensor **ret, lm_error *err)
{
    lm_nearest nearest;
    lm_nearest_init(&nearest, column);
    const field *f = NULL;
    for (size_t i = 0; i < t->n_fields; i++) {
        if (strcmp(t->fields[i].column.name, column) == 0) f = &t->fields[i];
        lm_nearest_offer(&nearest, t->fields[i].column.name);
    }
    if (!f) {
        char hint[160] = "";
        if (nearest.best) snprintf(hint, sizeof hint, "Did you mean \"%s\"?", nearest.best);
        return LM_FAIL_HINT(err, LM_EINPUT, hint[0] ? hint : NULL, "\"%s\" has no column \"%s\"", t->path, column);
    }
    if (!t->binary || !strchr("LBIJKED", f->type) || row >= t->n_rows)
        return LM_FAIL(err, LM_EINPUT,
                       "\"%s\", row %zu, column \"%s\": only numbers of a FITS binary table make a tensor", t->path,
                       row + 1, column);
    bool integers = is_integer_type(f->type) && f->scale == 1 && f->zero == 0 && !f->has_null;
    lm_dtype dtype = f->type == 'E' ? LM_F32 : LM_F64;
    if (integers) dtype = f->type == 'B' ? LM_U8 : f->type == 'I' ? LM_I16 : f->type == 'J' ? LM_I32 : LM_I64;
    size_t shape[LM_MAX_DIMS], size = lm_fits_type_size(f->type);
    unsigned ndim = dims(f, shape);
    LM_OWN(lm_tensor) tensor = NULL;
    LM_TRY(lm_tensor_new(dtype, ndim, shape, &tensor, err));
    const uint8_t *p = t->bytes + row * t->row_bytes + f->at;
    for (uint64_t i = 0; i < f->repeat; i++, p += size) {
        if (dtype == LM_F32) ((float *)tensor->data)[i] = (float)element(f, p);
        else if (dtype == LM_F64) ((double *)tensor->data)[i] = element(f, p);
        else memcpy((uint8_t *)tensor->data + i * size, p, size);
    }
    if (integers) lm_swap(tensor->data, size, (size_t)f->repeat);
    if (f->column.unit) LM_TRY(lm_tensor_set_unit(tensor, f->column.unit, err));
    *ret = lm_take(tensor);
    return LM_OK;
}
