#include "runtime/record.h"
#include "runtime/text.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Small records are one allocation: room for a few attributes, tensors and their text lies in the record itself. */
enum { ATTRS_INSIDE = 4, TENSORS_INSIDE = 3, TEXT_INSIDE = 168, CHUNK = 1024 };

typedef struct chunk {
    struct chunk *next;
    size_t size;
    char bytes[];
} chunk;

struct lm_record {
    atomic_uint refs;
    unsigned n_attrs, n_tensors;
    unsigned text_used; /* of text_inside, or of the newest chunk */
    size_t cap_attrs, cap_tensors;
    const char *id;
    lm_attr *attrs;
    lm_named *tensors;
    chunk *chunks; /* text that found no room inside; newest first */
    size_t chunk_bytes;
    lm_attr attrs_inside[ATTRS_INSIDE];
    lm_named tensors_inside[TENSORS_INSIDE];
    char text_inside[TEXT_INSIDE];
};

/* Room for n bytes of text, which lives as long as the record. */
static char *text_room(lm_record *record, size_t n)
{
    if (!record->chunks) {
        if (n <= TEXT_INSIDE - record->text_used) {
            char *room = record->text_inside + record->text_used;
            record->text_used += (unsigned)n;
            return room;
        }
    } else if (n <= record->chunks->size - record->text_used) {
        char *room = record->chunks->bytes + record->text_used;
        record->text_used += (unsigned)n;
        return room;
    }
    size_t size = n > CHUNK / 4 ? n + CHUNK : CHUNK;
    chunk *added = lm_alloc_raw(sizeof *added + size);
    if (!added) return NULL;
    added->next = record->chunks;
    added->size = size;
    record->chunks = added;
    record->chunk_bytes += size;
    record->text_used = (unsigned)n;
    return added->bytes;
}

static const char *keep(lm_record *record, const char *text)
{
    size_t n = strlen(text) + 1;
    char *room = text_room(record, n);
    return room ? memcpy(room, text, n) : NULL;
}

static lm_record *blank(void)
{
    lm_record *record = lm_block_take(sizeof *record);
    if (!record) return NULL;
    memset(record, 0, offsetof(lm_record, attrs_inside));
    atomic_init(&record->refs, 1);
    record->attrs = record->attrs_inside;
    record->tensors = record->tensors_inside;
    record->cap_attrs = ATTRS_INSIDE;
    record->cap_tensors = TENSORS_INSIDE;
    return record;
}

lm_status lm_record_new(const char *id, lm_record **ret, lm_error *err)
{
    LM_OWN(lm_record) record = blank();
    if (!record || !(record->id = keep(record, id))) return LM_NOMEM(err);
    *ret = lm_take(record);
    return LM_OK;
}

/* Makes room for one more attribute (or tensor), leaving the array inside the record when it is full. */
static bool grow(void **array, void *inside, size_t n, size_t *cap, size_t size)
{
    if (n < *cap) return true;
    size_t more = 2 * *cap;
    void *grown = *array == inside ? lm_alloc_raw(more * size) : lm_realloc(*array, more, size);
    if (!grown) return false;
    if (*array == inside) memcpy(grown, inside, n * size);
    *array = grown;
    *cap = more;
    return true;
}

static bool grow_attrs(lm_record *record)
{
    void *array = record->attrs;
    bool grown = grow(&array, record->attrs_inside, record->n_attrs, &record->cap_attrs, sizeof *record->attrs);
    record->attrs = array;
    return grown;
}

static bool grow_tensors(lm_record *record)
{
    void *array = record->tensors;
    bool grown = grow(&array, record->tensors_inside, record->n_tensors, &record->cap_tensors, sizeof *record->tensors);
    record->tensors = array;
    return grown;
}

static bool keep_attr(lm_record *record, const lm_attr *from)
{
    if (!grow_attrs(record)) return false;
    lm_attr *to = &record->attrs[record->n_attrs];
    *to = *from;
    to->name = keep(record, from->name);
    if (!to->name) return false;
    if (from->value.kind == LM_KIND_TEXT && !(to->value.text = keep(record, from->value.text))) return false;
    if (from->comment && !(to->comment = keep(record, from->comment))) return false;
    record->n_attrs++;
    return true;
}

/* The text of a small record is copied in one go: every pointer into it moves by the same distance. */
static void copy_small(const lm_record *from, lm_record *to)
{
    memcpy(to->text_inside, from->text_inside, from->text_used);
    to->text_used = from->text_used;
    ptrdiff_t moved = to->text_inside - from->text_inside;
    to->id = from->id + moved;
    for (unsigned i = 0; i < from->n_attrs; i++) {
        const lm_attr *attr = &from->attrs[i];
        to->attrs[i] = (lm_attr){attr->name + moved, attr->value, attr->comment ? attr->comment + moved : NULL};
        if (attr->value.kind == LM_KIND_TEXT) to->attrs[i].value.text += moved;
    }
    for (unsigned i = 0; i < from->n_tensors; i++)
        to->tensors[i] = (lm_named){from->tensors[i].name + moved, lm_tensor_ref(from->tensors[i].tensor)};
    to->n_attrs = from->n_attrs;
    to->n_tensors = from->n_tensors;
}

lm_status lm_record_copy(const lm_record *from, lm_record **ret, lm_error *err)
{
    LM_OWN(lm_record) record = blank();
    if (!record) return LM_NOMEM(err);
    if (!from->chunks && from->n_attrs <= ATTRS_INSIDE && from->n_tensors <= TENSORS_INSIDE) {
        copy_small(from, record);
        *ret = lm_take(record);
        return LM_OK;
    }
    if (!(record->id = keep(record, from->id))) return LM_NOMEM(err);
    for (unsigned i = 0; i < from->n_attrs; i++)
        if (!keep_attr(record, &from->attrs[i])) return LM_NOMEM(err);
    for (unsigned i = 0; i < from->n_tensors; i++) {
        const char *name = keep(record, from->tensors[i].name);
        if (!name || !grow_tensors(record)) return LM_NOMEM(err);
        record->tensors[record->n_tensors++] = (lm_named){name, lm_tensor_ref(from->tensors[i].tensor)};
    }
    *ret = lm_take(record);
    return LM_OK;
}

lm_record *lm_record_ref(const lm_record *record)
{
    lm_record *shared = (lm_record *)(uintptr_t)record;
    if (shared) atomic_fetch_add_explicit(&shared->refs, 1, memory_order_relaxed);
    return shared;
}

lm_record *lm_record_unref(lm_record *record)
{
    /* Who holds the only reference need not count it down: a locked instruction less for most records. */
    if (!record || (atomic_load_explicit(&record->refs, memory_order_acquire) != 1 &&
                    atomic_fetch_sub_explicit(&record->refs, 1, memory_order_acq_rel) != 1))
        return NULL;
    for (unsigned i = 0; i < record->n_tensors; i++) lm_tensor_unref(record->tensors[i].tensor);
    while (record->chunks) {
        chunk *next = record->chunks->next;
        lm_free(record->chunks);
        record->chunks = next;
    }
    if (record->attrs != record->attrs_inside) lm_free(record->attrs);
    if (record->tensors != record->tensors_inside) lm_free(record->tensors);
    lm_block_give(record, sizeof *record);
    return NULL;
}

lm_status lm_record_set_id(lm_record *record, const char *id, lm_error *err)
{
    const char *kept = keep(record, id);
    if (!kept) return LM_NOMEM(err);
    record->id = kept;
    return LM_OK;
}

/* Names are a few letters: a loop is faster than a call. */
static inline bool same(const char *a, const char *b)
{
    while (*a && *a == *b) a++, b++;
    return *a == *b;
}

static lm_attr *find_attr(const lm_record *record, const char *name)
{
    for (unsigned i = 0; i < record->n_attrs; i++)
        if (same(record->attrs[i].name, name)) return &record->attrs[i];
    return NULL;
}

lm_status lm_record_set(lm_record *record, const char *name, lm_value value, const char *comment, lm_error *err)
{
    lm_attr *attr = find_attr(record, name);
    if (!attr) {
        lm_attr added = {name, value, comment && *comment ? comment : NULL};
        return keep_attr(record, &added) ? LM_OK : LM_NOMEM(err);
    }
    if (value.kind == LM_KIND_TEXT && !(value.text = keep(record, value.text))) return LM_NOMEM(err);
    if (comment && *comment) {
        const char *kept = keep(record, comment);
        if (!kept) return LM_NOMEM(err);
        attr->comment = kept;
    }
    attr->value = value;
    return LM_OK;
}

_Bool lm_record_remove(lm_record *record, const char *name)
{
    lm_attr *attr = find_attr(record, name);
    if (!attr) return false;
    size_t at = (size_t)(attr - record->attrs);
    memmove(attr, attr + 1, (record->n_attrs - at - 1) * sizeof *attr);
    record->n_attrs--;
    return true;
}

static lm_named *find_tensor(const lm_record *record, const char *name)
{
    for (unsigned i = 0; i < record->n_tensors; i++)
        if (same(record->tensors[i].name, name)) return &record->tensors[i];
    return NULL;
}

lm_status lm_record_put(lm_record *record, const char *name, lm_tensor *take, lm_error *err)
{
    lm_named *named = find_tensor(record, name);
    if (named) {
        lm_tensor_unref(named->tensor);
        named->tensor = take;
        return LM_OK;
    }
    const char *kept = keep(record, name);
    if (!kept || !grow_tensors(record)) {
        lm_tensor_unref(take);
        return LM_NOMEM(err);
    }
    record->tensors[record->n_tensors++] = (lm_named){kept, take};
    return LM_OK;
}

_Bool lm_record_drop(lm_record *record, const char *name)
{
    lm_named *named = find_tensor(record, name);
    if (!named) return false;
    lm_tensor_unref(named->tensor);
    size_t at = (size_t)(named - record->tensors);
    memmove(named, named + 1, (record->n_tensors - at - 1) * sizeof *named);
    record->n_tensors--;
    return true;
}

const char *lm_record_id(const lm_record *record)
{
    return record->id;
}

size_t lm_record_attr_count(const lm_record *record)
{
    return record->n_attrs;
}

const lm_attr *lm_record_attr_at(const lm_record *record, size_t i)
{
    return i < record->n_attrs ? &record->attrs[i] : NULL;
}

const lm_attr *lm_record_attr(const lm_record *record, const char *name)
{
    return find_attr(record, name);
}

size_t lm_record_tensor_count(const lm_record *record)
{
    return record->n_tensors;
}

const lm_named *lm_record_tensor_at(const lm_record *record, size_t i)
{
    return i < record->n_tensors ? &record->tensors[i] : NULL;
}

lm_tensor *lm_record_tensor(const lm_record *record, const char *name)
{
    lm_named *named = find_tensor(record, name);
    return named ? named->tensor : NULL;
}

size_t lm_record_bytes(const lm_record *record)
{
    size_t bytes = sizeof *record + record->chunk_bytes;
    if (record->attrs != record->attrs_inside) bytes += record->cap_attrs * sizeof *record->attrs;
    for (unsigned i = 0; i < record->n_tensors; i++)
        bytes += sizeof *record->tensors[i].tensor +
                 (record->tensors[i].tensor->data ? record->tensors[i].tensor->bytes : 0);
    return bytes;
}

lm_value lm_record_value(const lm_record *record, const char *name)
{
    const lm_attr *attr = find_attr(record, name);
    if (attr) return attr->value;
    return strcmp(name, "id") == 0 ? lm_text_value(record->id) : lm_null();
}

double lm_value_real(lm_value value)
{
    switch (value.kind) {
    case LM_KIND_BOOL: return value.boolean;
    case LM_KIND_INT: return (double)value.integer;
    case LM_KIND_REAL: return value.real;
    default: return (double)NAN;
    }
}

const char *lm_value_text(lm_value value, char buffer[64])
{
    switch (value.kind) {
    case LM_KIND_TEXT: return value.text;
    case LM_KIND_BOOL: return value.boolean ? "true" : "false";
    case LM_KIND_INT: snprintf(buffer, 64, "%lld", (long long)value.integer); return buffer;
    case LM_KIND_REAL:
        if (isfinite(value.real)) return lm_text_real(buffer, value.real);
        break;
    case LM_KIND_NULL: break;
    }
    return strcpy(buffer, "null");
}

_Bool lm_value_equal(lm_value a, lm_value b)
{
    if (a.kind != b.kind) return false;
    switch (a.kind) {
    case LM_KIND_NULL: return true;
    case LM_KIND_BOOL: return a.boolean == b.boolean;
    case LM_KIND_INT: return a.integer == b.integer;
    case LM_KIND_REAL: return memcmp(&a.real, &b.real, sizeof a.real) == 0;
    case LM_KIND_TEXT: return strcmp(a.text, b.text) == 0;
    }
    return false;
}
