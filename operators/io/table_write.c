/* table.write: attributes and vectors of many records as one table.
 *
 * A column is the id, an attribute, or a tensor of at most one axis. A record gives one row; if one of its columns is a
 * vector, a row an element, where all its vectors have one length and single values are repeated. A column's type is the
 * narrowest that holds all its values: boolean, integer, real, text.
 */
#include "operators/io/_fits_out.h"
#include "operators/io/_paths.h"
#include "runtime/arena.h"
#include "runtime/operator.h"
#include "runtime/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

typedef struct {
    const char *path;
    lm_texts columns;
} table_write;

static const lm_param params[] = {
    LM_PATH(table_write, path, NULL, .required = true, .output = true, .per_record = true,
            .doc = "file to write; its ending says how: .fits (binary table), .csv or .tsv"),
    LM_TEXTS(
        table_write, columns, "[]",
        .doc =
            "columns in order: id, attributes, and tensors of at most one axis; if not given, id and all attributes"),
    {0}};

static const lm_port ports[] = {{"in", LM_PORT_GATHER, "records, a row each", false}, {0}};

enum { CHUNK = 1 << 16 };

typedef enum { FITS, CSV, TSV, UNKNOWN } format;

static format format_of(const char *path)
{
    if (lm_path_is_fits(path) && strcasecmp(path + strlen(path) - 3, ".gz") != 0) {
        const char *dot = strrchr(path, '.');
        if (!strcasecmp(dot, ".fits") || !strcasecmp(dot, ".fit") || !strcasecmp(dot, ".fts")) return FITS;
    }
    size_t n = strlen(path);
    if (n > 4 && !strcasecmp(path + n - 4, ".csv")) return CSV;
    if (n > 4 && !strcasecmp(path + n - 4, ".tsv")) return TSV;
    return UNKNOWN;
}

static lm_status check(const void *self, lm_error *err)
{
    const table_write *s = self;
    if (s->path && format_of(s->path) == UNKNOWN)
        return LM_FAIL_HINT(err, LM_EGRAPH, "End it in .fits, .csv or .tsv.",
                            "\"path\": the ending of \"%s\" does not say what kind of table is meant", s->path);
    for (size_t i = 0; i < s->columns.n; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(s->columns.at[i], s->columns.at[k]) == 0)
                return LM_FAIL(err, LM_EGRAPH, "\"columns\" names \"%s\" twice", s->columns.at[i]);
    return LM_OK;
}

/* ---- collecting ------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *name, *unit; /* unit NULL: none */
    lm_kind kind;            /* LM_KIND_NULL: no value yet */
    lm_value *values;
    size_t n, capacity; /* fewer than rows: the rest is undefined */
    size_t width;       /* of the longest text */
    bool found, undefined;
} column;

typedef struct {
    lm_arena arena; /* names, units and texts */
    column *columns;
    size_t n, capacity;
    size_t rows;
    bool open; /* further attributes become columns */
} table;

static void table_done(table *t)
{
    for (size_t i = 0; i < t->n; i++) lm_free(t->columns[i].values);
    lm_free(t->columns);
    lm_arena_done(&t->arena);
}

static lm_status add_column(table *t, const char *name, lm_error *err)
{
    if (!lm_grow(&t->columns, t->n, &t->capacity, sizeof *t->columns)) return LM_NOMEM(err);
    column c = {.name = lm_arena_strdup(&t->arena, name)};
    if (!c.name) return LM_NOMEM(err);
    t->columns[t->n++] = c;
    return LM_OK;
}

static lm_kind wider(lm_kind a, lm_kind b)
{
    if (a == LM_KIND_NULL || b == LM_KIND_NULL || a == b) return a == LM_KIND_NULL ? b : a;
    if (a == LM_KIND_TEXT || b == LM_KIND_TEXT) return LM_KIND_TEXT;
    return a == LM_KIND_REAL || b == LM_KIND_REAL ? LM_KIND_REAL : LM_KIND_INT;
}

/* What a cell of a text column shows; reals as everywhere. */
static const char *cell_text(lm_value value, char buffer[64])
{
    if (value.kind == LM_KIND_NULL) return "";
    return value.kind == LM_KIND_REAL ? lm_text_real(buffer, value.real) : lm_value_text(value, buffer);
}

/* Sets the cell of `row`, which is not before the column's last. */
static lm_status set_cell(table *t, column *c, size_t row, lm_value value, lm_error *err)
{
    char buffer[64];
    if (value.kind == LM_KIND_NULL) return LM_OK;
    if (value.kind == LM_KIND_TEXT && !(value.text = lm_arena_strdup(&t->arena, value.text))) return LM_NOMEM(err);
    while (c->n <= row) {
        if (!lm_grow(&c->values, c->n, &c->capacity, sizeof *c->values)) return LM_NOMEM(err);
        c->values[c->n++] = lm_null();
    }
    c->values[row] = value;
    c->kind = wider(c->kind, value.kind);
    size_t width = strlen(cell_text(value, buffer));
    if (width > c->width) c->width = width;
    return LM_OK;
}

static lm_value cell(const column *c, size_t row)
{
    return row < c->n ? c->values[row] : lm_null();
}

static lm_status set_unit(table *t, column *c, const char *unit, size_t n, lm_error *err)
{
    if (c->unit || !n) return LM_OK;
    c->unit = lm_arena_strndup(&t->arena, unit, n);
    return c->unit ? LM_OK : LM_NOMEM(err);
}

/* "[pix] width": the unit of an attribute stands in brackets at the start of its comment. */
static lm_status unit_of_comment(table *t, column *c, const char *comment, lm_error *err)
{
    const char *end = comment && comment[0] == '[' ? strchr(comment, ']') : NULL;
    return end ? set_unit(t, c, comment + 1, (size_t)(end - comment - 1), err) : LM_OK;
}

static lm_value element(const lm_tensor *tensor, size_t i)
{
    switch (tensor->dtype) {
    case LM_U8: return lm_int(((const uint8_t *)tensor->data)[i]);
    case LM_I16: return lm_int(((const int16_t *)tensor->data)[i]);
    case LM_U16: return lm_int(((const uint16_t *)tensor->data)[i]);
    case LM_I32: return lm_int(((const int32_t *)tensor->data)[i]);
    case LM_U32: return lm_int(((const uint32_t *)tensor->data)[i]);
    case LM_I64: return lm_int(((const int64_t *)tensor->data)[i]);
    case LM_BOOL8: return lm_bool(((const uint8_t *)tensor->data)[i]);
    default: return lm_real(lm_tensor_get(tensor, i));
    }
}

/* The tensor that a column shows; NULL where the record has an attribute of that name, or no such tensor. */
static const lm_tensor *vector_of(const lm_record *record, const char *name)
{
    if (!strcmp(name, "id") || lm_record_attr(record, name)) return NULL;
    return lm_record_tensor(record, name);
}

/* How many rows the record gives. */
static lm_status count_rows(const table *t, const lm_record *record, size_t *ret, lm_error *err)
{
    const char *first = NULL;
    *ret = 1;
    for (size_t i = 0; i < t->n; i++) {
        const char *name = t->columns[i].name;
        const lm_tensor *tensor = vector_of(record, name);
        char shape[192];
        if (!tensor || tensor->ndim == 0) continue;
        if (tensor->ndim > 1)
            return LM_FAIL_HINT(err, LM_EINPUT, "Leave it out of \"columns\", or write it with fits.write.",
                                "record \"%s\": tensor \"%s\" of shape %s is no column of a table",
                                lm_record_id(record), name, lm_tensor_shape_text(shape, tensor));
        if (first && tensor->shape[0] != *ret)
            return LM_FAIL(err, LM_EINPUT, "record \"%s\": column \"%s\" has %zu elements, but column \"%s\" has %zu",
                           lm_record_id(record), name, tensor->shape[0], first, *ret);
        first = name;
        *ret = tensor->shape[0];
    }
    return LM_OK;
}

static lm_status add_cells(table *t, column *c, const lm_record *record, size_t rows, lm_error *err)
{
    const lm_tensor *tensor = vector_of(record, c->name);
    const lm_attr *attr = lm_record_attr(record, c->name);
    if (!tensor && !attr && strcmp(c->name, "id") != 0) return LM_OK;
    c->found = true;
    if (attr) LM_TRY(unit_of_comment(t, c, attr->comment, err));
    if (tensor && tensor->unit) LM_TRY(set_unit(t, c, tensor->unit, strlen(tensor->unit), err));
    lm_value value = lm_record_value(record, c->name);
    for (size_t i = 0; i < rows; i++) {
        if (tensor) value = element(tensor, tensor->ndim ? i : 0);
        LM_TRY(set_cell(t, c, t->rows + i, value, err));
    }
    return LM_OK;
}

static column *find(table *t, const char *name)
{
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->columns[i].name, name) == 0) return &t->columns[i];
    return NULL;
}

static lm_status add_record(table *t, const lm_record *record, lm_error *err)
{
    for (size_t i = 0; t->open && i < lm_record_attr_count(record); i++) {
        const char *name = lm_record_attr_at(record, i)->name;
        if (!find(t, name)) LM_TRY(add_column(t, name, err));
    }
    size_t rows = 0;
    LM_TRY(count_rows(t, record, &rows, err));
    for (size_t i = 0; i < t->n; i++) LM_TRY(add_cells(t, &t->columns[i], record, rows, err));
    t->rows += rows;
    return LM_OK;
}

static lm_status no_column(const char *name, const lm_record *record, size_t records, lm_error *err)
{
    lm_nearest nearest;
    lm_nearest_init(&nearest, name);
    lm_nearest_offer(&nearest, "id");
    for (size_t i = 0; i < lm_record_attr_count(record); i++)
        lm_nearest_offer(&nearest, lm_record_attr_at(record, i)->name);
    for (size_t i = 0; i < lm_record_tensor_count(record); i++)
        lm_nearest_offer(&nearest, lm_record_tensor_at(record, i)->name);
    char hint[160] = "";
    if (nearest.best) snprintf(hint, sizeof hint, "Did you mean \"%s\"?", nearest.best);
    return LM_FAIL_HINT(err, LM_EINPUT, hint[0] ? hint : NULL,
                        "none of the %zu records has an attribute or tensor \"%s\"", records, name);
}

static lm_status collect(const table_write *s, lm_step *step, table *t, lm_error *err)
{
    t->open = s->columns.n == 0;
    if (t->open) LM_TRY(add_column(t, "id", err));
    for (size_t i = 0; i < s->columns.n; i++) LM_TRY(add_column(t, s->columns.at[i], err));
    size_t n = lm_step_count(step, "in");
    const lm_record *record = NULL;
    for (size_t i = 0; i < n; i++) {
        if (lm_step_stopped(step)) return LM_ESTOP(step, err);
        LM_TRY(lm_step_member(step, "in", i, &record, err));
        LM_TRY(add_record(t, record, err));
    }
    for (size_t i = 0; i < t->n; i++) {
        column *c = &t->columns[i];
        if (n && !c->found) return no_column(c->name, record, n, err);
        for (size_t row = 0; row < t->rows && !c->undefined; row++) c->undefined = cell(c, row).kind == LM_KIND_NULL;
        if (c->kind != LM_KIND_NULL) continue; /* a column without a value still needs a type */
        static const char *const texts[] = {"id", "error", "error_kind", "node", NULL};
        c->kind = LM_KIND_REAL;
        for (size_t k = 0; texts[k]; k++)
            if (strcmp(c->name, texts[k]) == 0) c->kind = LM_KIND_TEXT;
    }
    return LM_OK;
}

/* ---- CSV -------------------------------------------------------------------------------------------------------- */

/* RFC 4180: quoted where it holds the separator, a quote, or the end of a line; quotes are doubled. */
static void put_cell(FILE *file, const char *text, char separator)
{
    char special[] = {separator, '"', '\n', '\r', 0};
    if (!strpbrk(text, special) && text[0] != '#') {
        fputs(text, file);
        return;
    }
    putc('"', file);
    for (const char *c = text; *c; c++) {
        if (*c == '"') putc('"', file);
        putc(*c, file);
    }
    putc('"', file);
}

static lm_status write_csv(const table *t, const char *path, char separator, lm_error *err)
{
    FILE *file = fopen(path, "we");
    if (!file) return LM_FAIL(err, LM_EIO, "cannot create \"%s\": %s", path, strerror(errno));
    char buffer[64];
    for (size_t i = 0; i < t->n; i++) {
        if (i) putc(separator, file);
        put_cell(file, t->columns[i].name, separator);
    }
    putc('\n', file);
    for (size_t row = 0; row < t->rows; row++) {
        for (size_t i = 0; i < t->n; i++) {
            if (i) putc(separator, file);
            const char *text = cell_text(cell(&t->columns[i], row), buffer);
            if (t->n == 1 && !*text) text = NULL; /* not an empty line: those are no rows */
            if (text) put_cell(file, text, separator);
            else fputs("\"\"", file);
        }
        putc('\n', file);
    }
    bool failed = ferror(file);
    if (fclose(file) || failed) return LM_FAIL(err, LM_EIO, "cannot write \"%s\": %s", path, strerror(errno));
    return LM_OK;
}

/* ---- FITS ------------------------------------------------------------------------------------------------------- */

static size_t width_of(const column *c)
{
    if (c->kind == LM_KIND_TEXT) return c->width ? c->width : 1;
    return c->kind == LM_KIND_BOOL ? 1 : 8;
}

static void add_numbered(lm_header *h, const char *stem, size_t number, lm_value value, const char *comment)
{
    char name[32];
    snprintf(name, sizeof name, "%s%zu", stem, number);
    lm_header_add(h, name, value, comment);
}

static void table_header(const table *t, lm_step *step, lm_header *h)
{
    size_t width = 0;
    for (size_t i = 0; i < t->n; i++) width += width_of(&t->columns[i]);
    lm_header_add(h, "XTENSION", lm_text_value("BINTABLE"), "binary table");
    lm_header_add(h, "BITPIX", lm_int(8), NULL);
    lm_header_add(h, "NAXIS", lm_int(2), NULL);
    lm_header_add(h, "NAXIS1", lm_int((int64_t)width), "bytes in a row");
    lm_header_add(h, "NAXIS2", lm_int((int64_t)t->rows), "rows");
    lm_header_add(h, "PCOUNT", lm_int(0), NULL);
    lm_header_add(h, "GCOUNT", lm_int(1), NULL);
    lm_header_add(h, "TFIELDS", lm_int((int64_t)t->n), "columns");
    for (size_t i = 0; i < t->n; i++) {
        const column *c = &t->columns[i];
        char form[32];
        if (c->kind == LM_KIND_TEXT) snprintf(form, sizeof form, "%zuA", width_of(c));
        else snprintf(form, sizeof form, "%c", c->kind == LM_KIND_BOOL ? 'L' : c->kind == LM_KIND_INT ? 'K' : 'D');
        add_numbered(h, "TTYPE", i + 1, lm_text_value(c->name), NULL);
        add_numbered(h, "TFORM", i + 1, lm_text_value(form), NULL);
        if (c->unit) add_numbered(h, "TUNIT", i + 1, lm_text_value(c->unit), NULL);
        if (c->kind == LM_KIND_INT && c->undefined)
            add_numbered(h, "TNULL", i + 1, lm_int(INT64_MIN), "stands for an undefined value");
    }
    size_t missing = lm_step_missing(step, "in");
    if (missing) lm_header_add(h, "MISSING", lm_int((int64_t)missing), "records that failed before they got here");
    lm_header_lines(h, "HISTORY", "lensmill step");
    lm_header_lines(h, "HISTORY", lm_step_key_text(step));
}

static void put_u64(uint8_t *to, uint64_t value)
{
    value = __builtin_bswap64(value);
    memcpy(to, &value, 8);
}

static void put_value(const column *c, lm_value value, uint8_t *to)
{
    char buffer[64];
    if (c->kind == LM_KIND_TEXT) {
        const char *text = cell_text(value, buffer);
        size_t n = strlen(text);
        memset(to, 0, width_of(c));
        for (size_t i = 0; i < n; i++) to[i] = text[i] >= 0x20 && text[i] < 0x7f ? (uint8_t)text[i] : '?';
    } else if (c->kind == LM_KIND_BOOL) {
        *to = value.kind == LM_KIND_NULL ? 0 : value.boolean ? 'T' : 'F';
    } else if (c->kind == LM_KIND_INT) {
        int64_t number = value.kind == LM_KIND_BOOL ? value.boolean : value.integer;
        put_u64(to, (uint64_t)(value.kind == LM_KIND_NULL ? INT64_MIN : number));
    } else {
        double real = value.kind == LM_KIND_NULL ? (double)NAN : lm_value_real(value);
        uint64_t bits;
        memcpy(&bits, &real, 8);
        put_u64(to, bits);
    }
}

static lm_status write_rows(const table *t, lm_fits_out *out, lm_error *err)
{
    size_t width = 0, n = 0;
    for (size_t i = 0; i < t->n; i++) width += width_of(&t->columns[i]);
    size_t room = width > CHUNK ? width : CHUNK;
    LM_OWN(lm_memory) chunk = lm_alloc_raw(room);
    if (!chunk) return LM_NOMEM(err);
    for (size_t r = 0; r < t->rows; r++) {
        for (size_t i = 0; i < t->n; i++) {
            put_value(&t->columns[i], cell(&t->columns[i], r), (uint8_t *)chunk + n);
            n += width_of(&t->columns[i]);
        }
        if (n + width <= room && r + 1 < t->rows) continue;
        LM_TRY(lm_fits_out_bytes(out, chunk, n, err));
        n = 0;
    }
    return LM_OK;
}

static lm_status write_hdus(const table *t, lm_step *step, lm_fits_out *out, lm_header *header, lm_error *err)
{
    lm_header_image(header, true, NULL, NULL);
    LM_TRY(lm_fits_out_begin(out, header, err));
    LM_TRY(lm_fits_out_end(out, err));
    table_header(t, step, header);
    LM_TRY(lm_fits_out_begin(out, header, err));
    LM_TRY(write_rows(t, out, err));
    return lm_fits_out_end(out, err);
}

static lm_status write_fits(const table *t, lm_step *step, const char *path, lm_error *err)
{
    LM_OWN(lm_fits_out) out = NULL;
    if (t->n > 999) return LM_FAIL(err, LM_EINPUT, "%zu columns: a FITS table has at most 999", t->n);
    LM_TRY(lm_fits_out_open(path, &out, err));
    lm_header header;
    lm_header_init(&header);
    lm_status status = write_hdus(t, step, out, &header, err);
    lm_header_done(&header);
    return status;
}

static lm_status write_table(const table_write *s, lm_step *step, table *t, lm_error *err)
{
    const char *path, *temporary;
    LM_TRY(collect(s, step, t, err));
    LM_TRY(lm_step_text(step, "path", &path, err));
    LM_TRY(lm_step_file(step, path, &temporary, err));
    if (format_of(path) == FITS) return write_fits(t, step, temporary, err);
    return write_csv(t, temporary, format_of(path) == CSV ? ',' : '\t', err);
}

static lm_status step(const void *self, lm_step *step, lm_error *err)
{
    table t = {0};
    lm_arena_init(&t.arena);
    lm_status status = write_table(self, step, &t, err);
    table_done(&t);
    return status;
}

const lm_operator lm_op_table_write = {
    .struct_size = sizeof(lm_operator),
    .name = "table.write",
    .version = 1,
    .summary = "Write records as a table: FITS, CSV or TSV",
    .doc = "A record gives a row. If a column is a vector, the record gives a row an element: all its vectors have the "
           "same "
           "length, and single values are repeated. Undefined values are NaN, TNULL, or an empty cell.\n\n"
           "A column that no record has is an error; without any record the table has its columns and no row.",
    .example = "path: out/table.csv\ncolumns: [id, minimum, maximum]\n",
    .shape = LM_SINK,
    .flags = 0,
    .size = sizeof(table_write),
    .params = params,
    .ports = ports,
    .check = check,
    .step = step,
};
