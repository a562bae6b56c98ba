/* fits.read: one record a file, a row of a table, or for files that are named one by one.
 *
 * list() finds the records and writes each as an item (operators/io/_item.h): what to read, with files relative to the
 * folder of the table, of the search, or of the first named file, so that an item means the same on every machine. step()
 * needs nothing but the item. Nothing but the item and the bytes of its files is part of a step's key.
 */
#include "operators/io/_item.h"
#include "operators/io/_paths.h"
#include "runtime/operator.h"
#include "runtime/param.h"
#include "runtime/text.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { YOUNG_S = 3600 };

typedef struct {
    const char *path, *table, *id;
    json_t *hdu, *tensors, *attrs;
    bool watch;
    double every, settle;
    lm_arena arena; /* of what follows: from open() to close() */
    const char *root, *hdu_text;
    lm_pool *pool;
} fits_read;

#define TENSORS_SCHEMA                                                                                                 \
    "{\"type\": \"object\", \"additionalProperties\": {\"anyOf\": ["                                                   \
    "{\"type\": \"integer\", \"minimum\": 0}, {\"type\": \"string\"}, "                                                \
    "{\"type\": \"object\", \"additionalProperties\": false, \"properties\": {"                                        \
    "\"file\": {\"type\": \"string\"}, \"hdu\": {\"type\": [\"integer\", \"string\"]}, "                               \
    "\"dtype\": {\"type\": \"string\"}, \"column\": {\"type\": \"string\"}}}]}}"

static const lm_param params[] = {
    LM_PATH(fits_read, path, NULL,
            .doc = "file, folder (every FITS file below it) or glob; \"folder/**\" takes every file"),
    LM_PATH(fits_read, table, NULL,
            .doc =
                "FITS table or CSV file with a record a row; its columns become attributes, and win over header cards"),
    LM_TREE(fits_read, hdu, NULL, .no_key = true, .schema = "{\"type\": [\"integer\", \"string\"]}",
            .doc = "which HDU holds the table: number from 0, or EXTNAME; the first table if not given"),
    LM_TEXT(fits_read, id, NULL, .no_key = true, .per_record = true,
            .doc = "id of a record, with {NAME} for attributes, and for files {path}, {name}, {stem} and header cards; "
                   "if not given: the path below the folder, or the table's name and row"),
    LM_TREE(fits_read, tensors, "{\"image\": \"first\"}", .no_key = true, .schema = TENSORS_SCHEMA,
            .doc = "name of a tensor: HDU number from 0, EXTNAME, first (the first with pixels), or {file, hdu, dtype, "
                   "column}; a file is relative to the table, or to the file that was found. {}: none, a row of a "
                   "\"table\" is attributes alone"),
    LM_TREE(fits_read, attrs, NULL, .no_key = true,
            .schema = "{\"type\": \"object\", \"additionalProperties\": "
                      "{\"type\": [\"number\", \"string\", \"boolean\", \"null\"]}}",
            .doc = "attributes that every record gets, over those of table and header"),
    LM_BOOL(fits_read, watch, false, .no_key = true, .doc = "go on as new files arrive, until the run is stopped"),
    LM_DURATION(fits_read, every, 60, .min = 0.1, .max = 86400, .no_key = true, .unit = "s",
                .doc = "while watching: how often the folders are read anew, should no notice of a file arrive"),
    LM_DURATION(fits_read, settle, 2, .min = 0, .max = 86400, .no_key = true, .unit = "s",
                .doc = "while watching: how long a file must rest before it is taken for complete"),
    {0}};

static const lm_field fields[] = {
    LM_OUT_OPT("out", "*", LM_NUMBERS, "...", "*",
               "the tensors that `tensors` names; without it, `image`: the pixels of the first HDU that has any"),
    LM_OUT_ATTR("out", "shape", LM_KIND_TEXT, "", "lengths of the first tensor's axes, slowest first: \"[40, 30]\""),
    LM_OUT_ATTR("out", "dtype", LM_KIND_TEXT, "", "type of the first tensor's pixels: \"float32\""),
    LM_OUT_ATTR("out", "minimum", LM_KIND_REAL, "*", "least finite pixel of the first tensor"),
    LM_OUT_ATTR("out", "maximum", LM_KIND_REAL, "*", "largest finite pixel of the first tensor"),
    LM_OUT_ATTR("out", "finite", LM_KIND_INT, "",
                "number of the first tensor's pixels that are neither NaN nor infinite"),
    {0}};

/* ---- parameters ------------------------------------------------------------------------------------------------- */

static const char *file_of(const json_t *tensor)
{
    return json_is_object(tensor) ? json_string_value(json_object_get(tensor, "file")) : NULL;
}

static lm_status check_tensor(const char *name, const json_t *tensor, lm_error *err)
{
    if (json_is_string(tensor)) return LM_OK;
    if (json_is_integer(tensor)) {
        if (json_integer_value(tensor) >= 0) return LM_OK;
        return LM_FAIL(err, LM_EGRAPH, "tensor \"%s\": HDUs are counted from 0", name);
    }
    if (!json_is_object(tensor))
        return LM_FAIL(err, LM_EGRAPH,
                       "tensor \"%s\": neither an HDU number, an EXTNAME, \"first\" nor {file, hdu, dtype, column}",
                       name);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)tensor, key, value)
    {
        if (!strcmp(key, "hdu")) {
            if (json_is_string(value) || (json_is_integer(value) && json_integer_value(value) >= 0)) continue;
            return LM_FAIL(err, LM_EGRAPH, "tensor \"%s\": \"hdu\" is neither a number from 0 nor a name", name);
        }
        if (strcmp(key, "file") != 0 && strcmp(key, "dtype") != 0 && strcmp(key, "column") != 0)
            return LM_FAIL(err, LM_EGRAPH, "tensor \"%s\" has no setting \"%s\": there are file, hdu, dtype, column",
                           name, key);
        if (!json_is_string(value)) return LM_FAIL(err, LM_EGRAPH, "tensor \"%s\": \"%s\" is not a text", name, key);
        lm_dtype dtype;
        if (!strcmp(key, "dtype") && !lm_dtype_parse(json_string_value(value), &dtype))
            return LM_FAIL(err, LM_EGRAPH, "tensor \"%s\": there is no dtype \"%s\"", name, json_string_value(value));
    }
    return LM_OK;
}

static lm_status check(const void *self, lm_error *err)
{
    const fits_read *s = self;
    const char *name;
    json_t *tensor;
    if (s->path && s->table)
        return LM_FAIL(err, LM_EGRAPH, "\"path\" and \"table\" are both given: records come from one of them");
    if (s->hdu && !s->table) return LM_FAIL(err, LM_EGRAPH, "\"hdu\" says where a table is, but there is no \"table\"");
    if (s->hdu && !json_is_string(s->hdu) && !(json_is_integer(s->hdu) && json_integer_value(s->hdu) >= 0))
        return LM_FAIL(err, LM_EGRAPH, "\"hdu\" is neither a number from 0 nor an EXTNAME");
    if (!json_is_object(s->tensors)) return LM_FAIL(err, LM_EGRAPH, "\"tensors\" is not a map from names to HDUs");
    if (!json_object_size(s->tensors) && !s->table)
        return LM_FAIL_HINT(err, LM_EGRAPH, "For example: tensors: {image: first}.",
                            "\"tensors\" is empty: only a \"table\" gives records without tensors");
    if (s->attrs && !json_is_object(s->attrs))
        return LM_FAIL(err, LM_EGRAPH, "\"attrs\" is not a map from names to values");
    json_object_foreach(s->tensors, name, tensor)
    {
        LM_TRY(check_tensor(name, tensor, err));
        const char *file = file_of(tensor);
        bool column = json_is_object(tensor) && json_object_get(tensor, "column");
        if (s->path || s->table) {
            if (s->table && !file && !column)
                return LM_FAIL_HINT(err, LM_EGRAPH, "Write {file: \"{COLUMN}\", hdu: 0}, or {column: NAME}.",
                                    "tensor \"%s\": with \"table\", each tensor names its file", name);
            continue;
        }
        if (!file)
            return LM_FAIL_HINT(err, LM_EGRAPH, "Give a \"path\" or a \"table\", or a file for each tensor.",
                                "tensor \"%s\": nothing says which file it is in", name);
        if (file[0] != '/' && file[0] != '{')
            return LM_FAIL_HINT(err, LM_EGRAPH,
                                "Give the folder as a parameter of type path: {file: \"${folder}/data.fits\"}.",
                                "tensor \"%s\": the file \"%s\" is relative, but to nothing", name, file);
    }
    json_t *value;
    json_object_foreach(s->attrs, name, value)
    {
        if (json_is_object(value) || json_is_array(value))
            return LM_FAIL(err, LM_EGRAPH, "attribute \"%s\" is not a single value", name);
    }
    return LM_OK;
}

/* The text of an HDU given as a number or a name. In the arena. */
static const char *hdu_name(const json_t *hdu, lm_arena *arena)
{
    if (json_is_string(hdu)) return lm_arena_strdup(arena, json_string_value(hdu));
    return lm_arena_printf(arena, "%lld", (long long)json_integer_value(hdu));
}

static lm_status open_self(void *self, lm_error *err)
{
    fits_read *s = self;
    lm_arena_init(&s->arena);
    if (!(s->pool = lm_pool_new())) return LM_NOMEM(err);
    if (s->hdu && !(s->hdu_text = hdu_name(s->hdu, &s->arena))) return LM_NOMEM(err);
    const char *name;
    json_t *tensor;
    if (s->path) {
        s->root = lm_paths_root(s->path, &s->arena);
    } else {
        const char *from = s->table;
        if (!from) /* the first tensor's file */
            json_object_foreach(s->tensors, name, tensor)
            {
                from = file_of(tensor);
                break;
            }
        const char *path = lm_path_join("", from, &s->arena);
        if (!path) return LM_NOMEM(err);
        size_t n = strcspn(path, "{");
        while (n && path[n] != '/') n--;
        s->root = lm_arena_strndup(&s->arena, path, n);
    }
    return s->root ? LM_OK : LM_NOMEM(err);
}

static void close_self(void *self)
{
    fits_read *s = self;
    s->pool = lm_pool_free(s->pool);
    lm_arena_done(&s->arena);
}

/* ---- items ------------------------------------------------------------------------------------------------------ */

static lm_status set_constants(const fits_read *s, lm_record *record, lm_error *err)
{
    const char *name;
    json_t *value;
    json_object_foreach(s->attrs, name, value)
    {
        lm_value v = json_is_boolean(value)   ? lm_bool(json_is_true(value))
                     : json_is_integer(value) ? lm_int(json_integer_value(value))
                     : json_is_real(value)    ? lm_real(json_real_value(value))
                     : json_is_string(value)  ? lm_text_value(json_string_value(value))
                                              : lm_null();
        LM_TRY(lm_record_set(record, name, v, NULL, err));
    }
    return LM_OK;
}

/* Where a row or file comes from. */
typedef struct {
    const char *own;    /* the file that was found, or the table; absolute; NULL: neither */
    const char *folder; /* what relative files are relative to */
    size_t row;
} origin;

static lm_status want(const char *name, const json_t *tensor, const origin *from, const lm_record *names,
                      lm_arena *arena, lm_wanted *ret, lm_error *err)
{
    const json_t *hdu = json_is_object(tensor) ? json_object_get(tensor, "hdu") : tensor;
    const char *file = file_of(tensor);
    lm_wanted w = {.name = name, .hdu = "first", .row = from->row};
    if (json_is_object(tensor)) {
        w.dtype = json_string_value(json_object_get(tensor, "dtype"));
        w.column = json_string_value(json_object_get(tensor, "column"));
        if (w.column) w.hdu = "";
    }
    if (hdu) {
        w.hdu = hdu_name(hdu, arena);
        if (!w.hdu) return LM_NOMEM(err);
        if (lm_template_is(w.hdu))
            LM_TRY_IN(lm_template_expand(w.hdu, names, arena, &w.hdu, err), err, "tensor \"%s\"", name);
        if (!w.hdu[0]) return LM_FAIL(err, LM_EINPUT, "tensor \"%s\": the HDU is empty", name);
    }
    w.file = from->own;
    if (file) {
        if (lm_template_is(file))
            LM_TRY_IN(lm_template_expand(file, names, arena, &file, err), err, "tensor \"%s\"", name);
        if (!file[0]) return LM_FAIL(err, LM_EINPUT, "tensor \"%s\": the file's name is empty", name);
        w.file = lm_path_join(from->folder, file, arena);
        if (!w.file) return LM_NOMEM(err);
        struct stat st;
        if (stat(w.file, &st) < 0)
            return LM_FAIL(err, LM_EINPUT, "tensor \"%s\": there is no file \"%s\"", name, w.file);
        if (!S_ISREG(st.st_mode)) return LM_FAIL(err, LM_EINPUT, "tensor \"%s\": \"%s\" is not a file", name, w.file);
    }
    *ret = w;
    return LM_OK;
}

/* What one record needs; `names` is the record that templates are expanded over. */
static lm_status want_all(const fits_read *s, const origin *from, const lm_record *names, lm_arena *arena,
                          lm_wanted *ret, lm_error *err)
{
    const char *name;
    json_t *tensor;
    size_t i = 0;
    json_object_foreach(s->tensors, name, tensor) LM_TRY(want(name, tensor, from, names, arena, &ret[i++], err));
    return LM_OK;
}

/* `record` has the id and its own attributes. */
static lm_status add_item(const fits_read *s, lm_items *items, const lm_record *record, const lm_wanted *wanted,
                          lm_arena *arena, lm_error *err)
{
    size_t n = json_object_size(s->tensors), n_files = 0;
    const char **files = lm_arena_alloc(arena, n, sizeof *files);
    if (!files) return LM_NOMEM(err);
    for (size_t i = 0; i < n; i++) {
        bool known = false;
        /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): want_all() named a file for each */
        for (size_t k = 0; k < n_files; k++) known = known || strcmp(files[k], wanted[i].file) == 0;
        if (!known) files[n_files++] = wanted[i].file;
    }
    LM_OWN(lm_chars) spec = NULL;
    LM_TRY(lm_item_write(s->root, record, wanted, n, &spec, err));
    return lm_items_add(items, lm_record_id(record), spec, files, n_files, err);
}

static lm_status expand_id(const fits_read *s, const lm_record *names, lm_arena *arena, const char **ret, lm_error *err)
{
    LM_TRY_IN(lm_template_expand(s->id, names, arena, ret, err), err, "the id \"%s\"", s->id);
    return *ret[0] ? LM_OK : LM_FAIL(err, LM_EINPUT, "the id \"%s\" is empty", s->id);
}

/* ---- a table ---------------------------------------------------------------------------------------------------- */

static lm_status row_item(const fits_read *s, lm_items *items, lm_table *table, size_t row, const char *id,
                          lm_arena *arena, lm_error *err)
{
    LM_OWN(lm_record) record = NULL;
    lm_wanted *wanted = lm_arena_alloc(arena, json_object_size(s->tensors), sizeof *wanted);
    if (!wanted) return LM_NOMEM(err);
    LM_TRY(lm_record_new(id, &record, err));
    for (size_t i = 0; i < lm_table_columns(table); i++) {
        const lm_column *column = lm_table_column(table, i);
        lm_value value;
        if (!column->scalar) continue;
        LM_TRY(lm_table_cell(table, row, i, &value, err));
        const char *unit = column->unit ? lm_arena_printf(arena, "[%s]", column->unit) : NULL;
        LM_TRY(lm_record_set(record, column->name, value, unit, err));
    }
    LM_TRY(set_constants(s, record, err));
    if (s->id) {
        LM_TRY(expand_id(s, record, arena, &id, err));
        LM_TRY(lm_record_set_id(record, id, err));
    }
    origin from = {s->table, s->root, row};
    LM_TRY(want_all(s, &from, record, arena, wanted, err));
    return add_item(s, items, record, wanted, arena, err);
}

/* A row that cannot become a record is its own dead letter; memory and disks that fail are not the row's fault. */
static bool of_the_item(lm_status status)
{
    return status == LM_EINPUT;
}

static lm_status list_table(const fits_read *s, lm_items *items, lm_arena *arena, lm_error *err)
{
    LM_OWN(lm_table) table = NULL;
    LM_TRY(lm_table_open(s->table, s->hdu_text, &table, err));
    const char *stem = lm_path_stem(s->table, &((fits_read *)(uintptr_t)s)->arena);
    if (!stem) return LM_NOMEM(err);
    for (size_t row = 0; row < lm_table_rows(table); row++) {
        lm_arena_reset(arena);
        lm_error why;
        lm_error_clear(&why);
        const char *id = lm_arena_printf(arena, "%s-%zu", stem, row + 1);
        if (!id) return LM_NOMEM(err);
        lm_status status = row_item(s, items, table, row, id, arena, &why);
        if (of_the_item(status)) {
            lm_error_in(&why, "row %zu of \"%s\"", row + 1, s->table);
            LM_TRY(lm_items_fail(items, id, &why, err));
        } else if (status) {
            if (err) *err = why;
            return status;
        }
    }
    return s->watch ? lm_items_watch(items, s->root[0] ? s->root : "/", err) : LM_OK;
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

static bool temporary_name(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    return name[0] == '.' || lm_ends_with(name, ".part") || lm_ends_with(name, ".tmp");
}

/* While watching: is the file all there? One that was left alone for an hour is taken as it is. */
static bool settled(const fits_read *s, const char *path, const char *name)
{
    struct stat st;
    if (temporary_name(name) || stat(path, &st) < 0) return false;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    double age = (double)(now.tv_sec - st.st_mtim.tv_sec) + 1e-9 * (double)(now.tv_nsec - st.st_mtim.tv_nsec);
    if (age < 0) age = YOUNG_S; /* written by a machine whose clock is ahead: no telling */
    if (age < s->settle) return false;
    if (age >= YOUNG_S || !lm_path_is_fits(name)) return true;
    bool plain = !lm_ends_with(name, ".bz2") && !lm_ends_with(name, ".gz") && !lm_ends_with(name, ".Z");
    if (plain && st.st_size % LM_FITS_BLOCK) return false;
    LM_OWN(lm_fits) fits = NULL;
    size_t n = 0;
    return lm_fits_open(path, &fits, NULL) == LM_OK && lm_fits_count(fits, &n, NULL) == LM_OK;
}

/* The names that an id may use for a file: {path} below the folder, {name}, {stem}, and its header cards. */
static lm_status file_names(const fits_read *s, const char *path, const char *name, lm_arena *arena, lm_record *names,
                            lm_error *err)
{
    const char *slash = strrchr(name, '/'), *stem = lm_path_stem(name, arena);
    if (!stem) return LM_NOMEM(err);
    LM_TRY(lm_record_set(names, "path", lm_text_value(name), NULL, err));
    LM_TRY(lm_record_set(names, "name", lm_text_value(slash ? slash + 1 : name), NULL, err));
    LM_TRY(lm_record_set(names, "stem", lm_text_value(stem), NULL, err));
    LM_TRY(set_constants(s, names, err));
    if (!s->id) return LM_OK;
    const char *id;
    if (lm_template_expand(s->id, names, arena, &id, NULL) == LM_OK) return LM_OK;
    LM_OWN(lm_fits) fits = NULL; /* the id asks for more: a card */
    lm_hdu hdu, primary;
    LM_TRY(lm_fits_open(path, &fits, err));
    LM_TRY(lm_fits_first(fits, &hdu, err));
    LM_TRY(lm_fits_hdu(fits, 0, &primary, err));
    LM_TRY(lm_item_add_cards(fits, &hdu, names, err));
    return hdu.number ? lm_item_add_cards(fits, &primary, names, err) : LM_OK;
}

static lm_status file_item(const fits_read *s, lm_items *items, const char *path, const char *name, lm_arena *arena,
                           lm_error *err)
{
    LM_OWN(lm_record) record = NULL;
    LM_OWN(lm_record) names = NULL;
    const char *id = name, *slash = strrchr(path, '/');
    lm_wanted *wanted = lm_arena_alloc(arena, json_object_size(s->tensors), sizeof *wanted);
    origin from = {path, lm_arena_strndup(arena, path, (size_t)(slash - path)), 0};
    if (!wanted || !from.folder) return LM_NOMEM(err);
    LM_TRY(lm_record_new(id, &names, err));
    LM_TRY(file_names(s, path, name, arena, names, err));
    if (s->id) {
        LM_TRY(expand_id(s, names, arena, &id, err));
        LM_TRY(lm_record_set_id(names, id, err));
    }
    LM_TRY(lm_record_new(id, &record, err));
    LM_TRY(set_constants(s, record, err));
    LM_TRY(want_all(s, &from, names, arena, wanted, err));
    return add_item(s, items, record, wanted, arena, err);
}

static lm_status list_files(const fits_read *s, lm_items *items, lm_arena *found, lm_arena *arena, lm_error *err)
{
    lm_paths paths;
    LM_TRY(lm_paths_list(s->path, s->watch, found, &paths, err));
    for (size_t i = 0; i < paths.n; i++) {
        lm_arena_reset(arena);
        const char *path = lm_arena_printf(arena, "%s/%s", paths.root, paths.names[i]);
        if (!path) return LM_NOMEM(err);
        if (s->watch && !settled(s, path, paths.names[i])) continue;
        lm_error why;
        lm_error_clear(&why);
        lm_status status = file_item(s, items, path, paths.names[i], arena, &why);
        if (of_the_item(status)) {
            LM_TRY(lm_items_fail(items, paths.names[i], &why, err));
        } else if (status) {
            if (err) *err = why;
            return status;
        }
    }
    for (size_t i = 0; s->watch && i < paths.n_folders; i++) LM_TRY(lm_items_watch(items, paths.folders[i], err));
    return LM_OK;
}

/* Files named one by one: a single record. */
static lm_status list_named(const fits_read *s, lm_items *items, lm_arena *arena, lm_error *err)
{
    LM_OWN(lm_record) record = NULL;
    const char *id = NULL, *name;
    json_t *tensor;
    json_object_foreach(s->tensors, name, tensor)
    {
        if (!id) id = lm_path_stem(file_of(tensor), arena);
    }
    lm_wanted *wanted = lm_arena_alloc(arena, json_object_size(s->tensors), sizeof *wanted);
    if (!wanted || !id) return LM_NOMEM(err);
    LM_TRY(lm_record_new(id, &record, err));
    LM_TRY(set_constants(s, record, err));
    if (s->id) {
        LM_TRY(expand_id(s, record, arena, &id, err));
        LM_TRY(lm_record_set_id(record, id, err));
    }
    origin from = {NULL, s->root, 0};
    LM_TRY(want_all(s, &from, record, arena, wanted, err));
    return add_item(s, items, record, wanted, arena, err);
}

static lm_status list(void *self, lm_items *items, lm_error *err)
{
    const fits_read *s = self;
    lm_arena found, arena;
    lm_arena_init(&found);
    lm_arena_init(&arena);
    lm_status status = s->table  ? list_table(s, items, &arena, err)
                       : s->path ? list_files(s, items, &found, &arena, err)
                                 : list_named(s, items, &arena, err);
    lm_arena_done(&arena);
    lm_arena_done(&found);
    return status;
}

static lm_status step(const void *self, lm_step *step, lm_error *err)
{
    const fits_read *s = self;
    LM_OWN(lm_record) record = NULL;
    LM_TRY(lm_item_read(s->root, lm_step_item(step), s->pool, &record, err));
    return lm_step_base(step, NULL, record, err);
}

const lm_operator lm_op_fits_read = {
    .struct_size = sizeof(lm_operator),
    .name = "fits.read",
    .version = 1,
    .summary = "Read FITS images and cubes: a record a file, or a row of a table",
    .doc =
        "Reads plain, tile-compressed (.fz) and gzip, bzip2 and compress files of any number of HDUs. Pixels are "
        "scaled "
        "by BSCALE and BZERO; unscaled integers stay integers; BLANK becomes NaN. Header cards of the first tensor's "
        "HDU, and of the primary where it has none of that name, become attributes; BUNIT becomes the tensor's "
        "unit.\n\n"
        "A file, row or HDU that cannot be read is a dead letter that says what is wrong; the others go on.",
    .example = "path: cutouts\ntensors: {image: 0, psf: PSF}\n",
    .shape = LM_SOURCE,
    .flags = LM_ENDLESS,
    .size = sizeof(fits_read),
    .params = params,
    .fields = fields,
    .check = check,
    .open = open_self,
    .list = list,
    .step = step,
    .close = close_self,
};
