#include "operators/io/_item.h"

#include "operators/io/_paths.h"
#include "runtime/text.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

LM_OWNABLE(json_t, json_decref)

/* ---- writing ---------------------------------------------------------------------------------------------------- */

/* ["NAME", "r", "0.1", "comment"]: numbers as text, which is exact. */
static json_t *attr_json(const lm_attr *attr)
{
    static const char kinds[] = "nbirt";
    char buffer[64];
    char kind[2] = {kinds[attr->value.kind], 0};
    const char *text = attr->value.kind == LM_KIND_REAL   ? lm_text_real(buffer, attr->value.real)
                       : attr->value.kind == LM_KIND_NULL ? ""
                                                          : lm_value_text(attr->value, buffer);
    return json_pack("[ssss]", attr->name, kind, text, attr->comment ? attr->comment : "");
}

static json_t *wanted_json(const char *root, const lm_wanted *w, lm_arena *arena)
{
    const char *file = lm_path_relative(root, w->file, arena);
    if (!file) return NULL;
    return json_pack("[sssssI]", w->name, file, w->hdu, w->dtype ? w->dtype : "", w->column ? w->column : "",
                     (json_int_t)w->row);
}

static json_t *item_json(const char *root, const lm_record *record, const lm_wanted *wanted, size_t n, lm_arena *arena)
{
    LM_OWN(json_t) item = json_pack("{s:s, s:[], s:[]}", "id", lm_record_id(record), "tensors", "attrs");
    if (!item) return NULL;
    for (size_t i = 0; i < n; i++)
        if (json_array_append_new(json_object_get(item, "tensors"), wanted_json(root, &wanted[i], arena))) return NULL;
    for (size_t i = 0; i < lm_record_attr_count(record); i++)
        if (json_array_append_new(json_object_get(item, "attrs"), attr_json(lm_record_attr_at(record, i)))) return NULL;
    return lm_take(item);
}

lm_status lm_item_write(const char *root, const lm_record *record, const lm_wanted *wanted, size_t n, char **ret,
                        lm_error *err)
{
    lm_arena arena;
    lm_arena_init(&arena);
    json_t *item = item_json(root, record, wanted, n, &arena);
    lm_arena_done(&arena);
    char *text = item ? json_dumps(item, JSON_COMPACT) : NULL;
    json_decref(item);
    if (!text) return LM_FAIL(err, LM_EINPUT, "a name or text of the record is not valid UTF-8");
    *ret = lm_strdup(text);
    free(text); /* jansson's */
    return *ret ? LM_OK : LM_NOMEM(err);
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

lm_status lm_item_add_summary(const lm_tensor *tensor, lm_record *record, lm_error *err)
{
    char shape[192];
    double minimum = (double)INFINITY, maximum = -(double)INFINITY;
    size_t n = lm_tensor_count(tensor), finite = 0;
    if (tensor->dtype == LM_F32) {
        const float *p = tensor->data;
        float low = INFINITY, high = -INFINITY;
        for (size_t i = 0; i < n; i++) {
            if (!isfinite(p[i])) continue;
            finite++;
            low = p[i] < low ? p[i] : low;
            high = p[i] > high ? p[i] : high;
        }
        minimum = (double)low;
        maximum = (double)high;
    } else {
        for (size_t i = 0; i < n; i++) {
            double x = lm_tensor_get(tensor, i);
            if (!isfinite(x)) continue;
            finite++;
            minimum = x < minimum ? x : minimum;
            maximum = x > maximum ? x : maximum;
        }
    }
    if (!finite) minimum = maximum = (double)NAN;
    LM_TRY(
        lm_record_set(record, "shape", lm_text_value(lm_tensor_shape_text(shape, tensor)), "slowest axis first", err));
    LM_TRY(lm_record_set(record, "dtype", lm_text_value(lm_dtype_name(tensor->dtype)), "type of a pixel", err));
    LM_TRY(lm_record_set(record, "minimum", lm_real(minimum), "of the finite pixels", err));
    LM_TRY(lm_record_set(record, "maximum", lm_real(maximum), "of the finite pixels", err));
    return lm_record_set(record, "finite", lm_int((int64_t)finite), "number of finite pixels", err);
}

static lm_status add_missing(lm_record *record, const char *name, lm_value value, const char *comment, lm_error *err)
{
    return lm_record_attr(record, name) ? LM_OK : lm_record_set(record, name, value, comment, err);
}

static lm_status add_cards(lm_fits *fits, const lm_hdu *hdu, lm_arena *arena, lm_record *record, lm_error *err)
{
    lm_cards cards;
    LM_TRY(lm_fits_cards(fits, hdu, arena, &cards, err));
    for (size_t i = 0; i < cards.n; i++) {
        const lm_card *card = &cards.at[i];
        if (lm_card_is_structural(card->name)) continue;
        LM_TRY(add_missing(record, card->name, card->value, card->comment, err));
    }
    if (cards.history) LM_TRY(add_missing(record, "HISTORY", lm_text_value(cards.history), NULL, err));
    if (cards.comment) LM_TRY(add_missing(record, "COMMENT", lm_text_value(cards.comment), NULL, err));
    return LM_OK;
}

lm_status lm_item_add_cards(lm_fits *fits, const lm_hdu *hdu, lm_record *record, lm_error *err)
{
    lm_arena arena;
    lm_arena_init(&arena);
    lm_status status = add_cards(fits, hdu, &arena, record, err);
    lm_arena_done(&arena);
    return status;
}

static lm_status own_attr(const json_t *attr, lm_record *record, lm_error *err)
{
    const char *name, *kind, *text, *comment;
    if (json_unpack((json_t *)(uintptr_t)attr, "[ssss]", &name, &kind, &text, &comment))
        return LM_FAIL(err, LM_EBUG, "an item of fits.read with an attribute that is none");
    lm_value value = lm_null();
    if (*kind == 'b') value = lm_bool(strcmp(text, "true") == 0);
    if (*kind == 'i') value = lm_int(strtoll(text, NULL, 10));
    if (*kind == 'r') value = lm_real(strtod(text, NULL));
    if (*kind == 't') value = lm_text_value(text);
    return lm_record_set(record, name, value, comment[0] ? comment : NULL, err);
}

static lm_status change_dtype(lm_tensor **tensor, const char *name, lm_error *err)
{
    lm_dtype dtype;
    if (!lm_dtype_parse(name, &dtype)) return LM_FAIL(err, LM_EGRAPH, "there is no dtype \"%s\"", name);
    const lm_tensor *from = *tensor;
    if (dtype == from->dtype) return LM_OK;
    LM_OWN(lm_tensor) to = NULL;
    LM_TRY(lm_tensor_new(dtype, from->ndim, from->shape, &to, err));
    if (from->unit) LM_TRY(lm_tensor_set_unit(to, from->unit, err));
    if (dtype == LM_F64) {
        lm_tensor_to_f64(from, to->data);
    } else if (dtype == LM_F32) {
        lm_tensor_to_f32(from, to->data);
    } else {
        LM_OWN(lm_memory) values = lm_alloc(lm_tensor_count(from), sizeof(double));
        if (!values) return LM_NOMEM(err);
        lm_tensor_to_f64(from, values);
        lm_tensor_from_f64(to, values);
    }
    lm_tensor_unref(*tensor);
    *tensor = lm_take(to);
    return LM_OK;
}

enum { POOLED = 16 };

struct lm_pool {
    pthread_mutex_t lock;
    lm_fits *idle[POOLED]; /* the one that was used last stands first */
    size_t n;
};

lm_pool *lm_pool_new(void)
{
    lm_pool *pool = lm_alloc(1, sizeof *pool);
    if (pool) pthread_mutex_init(&pool->lock, NULL);
    return pool;
}

lm_pool *lm_pool_free(lm_pool *pool)
{
    if (!pool) return NULL;
    for (size_t i = 0; i < pool->n; i++) lm_fits_close(pool->idle[i]);
    pthread_mutex_destroy(&pool->lock);
    return lm_free(pool);
}

/* The open file of that name, taken out of the pool; NULL: there is none, or it changed since. */
static lm_fits *pool_take(lm_pool *pool, const char *path)
{
    lm_fits *found = NULL;
    pthread_mutex_lock(&pool->lock);
    for (size_t i = 0; i < pool->n && !found; i++) {
        if (strcmp(lm_fits_path(pool->idle[i]), path) != 0) continue;
        found = pool->idle[i];
        memmove(pool->idle + i, pool->idle + i + 1, (--pool->n - i) * sizeof *pool->idle);
    }
    pthread_mutex_unlock(&pool->lock);
    return found && !lm_fits_is_current(found) ? lm_fits_close(found) : found;
}

static void pool_give(lm_pool *pool, lm_fits *fits)
{
    lm_fits *drop = fits;
    if (fits && pool && lm_fits_is_current(fits)) {
        pthread_mutex_lock(&pool->lock);
        drop = pool->n == POOLED ? pool->idle[--pool->n] : NULL;
        memmove(pool->idle + 1, pool->idle, pool->n++ * sizeof *pool->idle);
        pool->idle[0] = fits;
        pthread_mutex_unlock(&pool->lock);
    }
    lm_fits_close(drop);
}

/* A file stays open from one tensor to the next. */
typedef struct {
    lm_pool *pool;
    lm_fits *fits; /* NULL: none yet */
} opened;

static lm_status open_once(opened *o, const char *path, lm_error *err)
{
    if (o->fits && strcmp(lm_fits_path(o->fits), path) == 0) return LM_OK;
    pool_give(o->pool, lm_take(o->fits));
    if (o->pool && (o->fits = pool_take(o->pool, path))) return LM_OK;
    return lm_fits_open(path, &o->fits, err);
}

static lm_status read_column(const char *path, const char *hdu, const char *column, size_t row, lm_tensor **ret,
                             lm_error *err)
{
    LM_OWN(lm_table) table = NULL;
    LM_TRY(lm_table_open(path, hdu[0] ? hdu : NULL, &table, err));
    return lm_table_tensor(table, row, column, ret, err);
}

static lm_status read_tensor(const char *root, const json_t *wanted, bool first, opened *o, lm_arena *arena,
                             lm_record *record, lm_error *err)
{
    const char *name, *file, *hdu_name, *dtype, *column;
    json_int_t row;
    if (json_unpack((json_t *)(uintptr_t)wanted, "[sssssI]", &name, &file, &hdu_name, &dtype, &column, &row))
        return LM_FAIL(err, LM_EBUG, "an item of fits.read with a tensor that is none");
    const char *path = lm_path_join(root, file, arena);
    if (!path) return LM_NOMEM(err);
    LM_OWN(lm_tensor) tensor = NULL;
    if (column[0]) {
        LM_TRY_IN(read_column(path, hdu_name, column, (size_t)row, &tensor, err), err, "tensor \"%s\"", name);
    } else {
        lm_hdu hdu, primary;
        LM_TRY_IN(open_once(o, path, err), err, "tensor \"%s\"", name);
        LM_TRY_IN(lm_fits_select(o->fits, hdu_name, &hdu, err), err, "tensor \"%s\"", name);
        LM_TRY_IN(lm_fits_image(o->fits, &hdu, &tensor, err), err, "tensor \"%s\"", name);
        if (first) {
            LM_TRY(lm_item_add_cards(o->fits, &hdu, record, err));
            LM_TRY(lm_fits_hdu(o->fits, 0, &primary, err));
            if (hdu.number) LM_TRY(lm_item_add_cards(o->fits, &primary, record, err));
        }
    }
    if (dtype[0]) LM_TRY(change_dtype(&tensor, dtype, err));
    if (first) LM_TRY(lm_item_add_summary(tensor, record, err));
    return lm_record_put(record, name, lm_take(tensor), err);
}

static lm_status read_all(const char *root, const json_t *item, opened *o, lm_arena *arena, lm_record **ret,
                          lm_error *err)
{
    LM_OWN(lm_record) record = NULL;
    const char *id = json_string_value(json_object_get(item, "id"));
    if (!id) return LM_FAIL(err, LM_EBUG, "an item of fits.read without an id");
    LM_TRY(lm_record_new(id, &record, err));
    const json_t *attrs = json_object_get(item, "attrs"), *tensors = json_object_get(item, "tensors");
    for (size_t i = 0; i < json_array_size(attrs); i++) LM_TRY(own_attr(json_array_get(attrs, i), record, err));
    for (size_t i = 0; i < json_array_size(tensors); i++)
        LM_TRY(read_tensor(root, json_array_get(tensors, i), i == 0, o, arena, record, err));
    *ret = lm_take(record);
    return LM_OK;
}

lm_status lm_item_read(const char *root, const char *item, lm_pool *pool, lm_record **ret, lm_error *err)
{
    LM_OWN(json_t) parsed = json_loads(item, 0, NULL);
    if (!parsed) return LM_FAIL(err, LM_EBUG, "an item of fits.read that is not JSON");
    lm_arena arena;
    lm_arena_init(&arena);
    opened o = {.pool = pool};
    lm_status status = read_all(root, parsed, &o, &arena, ret, err);
    pool_give(pool, o.fits);
    lm_arena_done(&arena);
    return status;
}
