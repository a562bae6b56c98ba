/* Records: what travels on an edge. An id, typed attributes, named tensors.
 *
 * A record is built by its one owner and never changed once it is shared. Attribute names are unique in a record, and so
 * are tensor names; both keep the order in which they were first set.
 */
#ifndef LM_RUNTIME_RECORD_H
#define LM_RUNTIME_RECORD_H

#include "runtime/tensor.h"

typedef enum lm_kind { LM_KIND_NULL, LM_KIND_BOOL, LM_KIND_INT, LM_KIND_REAL, LM_KIND_TEXT } lm_kind;

typedef struct lm_value {
    lm_kind kind;
    union {
        _Bool boolean;
        int64_t integer;
        double real;
        const char *text; /* in an attribute: owned by the record */
    };
} lm_value;

typedef struct lm_attr {
    const char *name;
    lm_value value;
    const char *comment; /* of the FITS card, or the unit in brackets "[pix]"; NULL: none */
} lm_attr;

typedef struct lm_named {
    const char *name;
    lm_tensor *tensor;
} lm_named;

typedef struct lm_record lm_record;

static inline lm_value lm_null(void)
{
    return (lm_value){.kind = LM_KIND_NULL};
}
static inline lm_value lm_bool(_Bool b)
{
    return (lm_value){.kind = LM_KIND_BOOL, .boolean = b};
}
static inline lm_value lm_int(int64_t i)
{
    return (lm_value){.kind = LM_KIND_INT, .integer = i};
}
static inline lm_value lm_real(double r)
{
    return (lm_value){.kind = LM_KIND_REAL, .real = r};
}
static inline lm_value lm_text_value(const char *t)
{
    return (lm_value){.kind = LM_KIND_TEXT, .text = t};
}
/* A number (integer, real or boolean) as double; NaN otherwise. */
double lm_value_real(lm_value value);
/* As JSON would write it ("null" for NaN and infinities), but text without quotes. Returns buffer, or value.text. */
const char *lm_value_text(lm_value value, char buffer[64]);
_Bool lm_value_equal(lm_value a, lm_value b);

lm_status lm_record_new(const char *id, lm_record **ret, lm_error *err);
/* A new record with the id, the attributes and (by reference) the tensors of another. */
lm_status lm_record_copy(const lm_record *from, lm_record **ret, lm_error *err);
lm_record *lm_record_ref(const lm_record *record);
lm_record *lm_record_unref(lm_record *record);
LM_OWNABLE(lm_record, lm_record_unref)

/* Building: only by the one owner. Text is copied; a tensor's reference is taken over, also on failure. */
lm_status lm_record_set_id(lm_record *record, const char *id, lm_error *err);
lm_status lm_record_set(lm_record *record, const char *name, lm_value value, const char *comment, lm_error *err);
_Bool lm_record_remove(lm_record *record, const char *name); /* an attribute; false if there is none */
lm_status lm_record_put(lm_record *record, const char *name, lm_tensor *take, lm_error *err);
_Bool lm_record_drop(lm_record *record, const char *name); /* a tensor */

/* Reading: borrowed, valid while the record lives unchanged. */
const char *lm_record_id(const lm_record *record);
size_t lm_record_attr_count(const lm_record *record);
const lm_attr *lm_record_attr_at(const lm_record *record, size_t i);
const lm_attr *lm_record_attr(const lm_record *record, const char *name); /* NULL: not there */
size_t lm_record_tensor_count(const lm_record *record);
const lm_named *lm_record_tensor_at(const lm_record *record, size_t i);
lm_tensor *lm_record_tensor(const lm_record *record, const char *name); /* NULL: not there */
size_t lm_record_bytes(const lm_record *record);                        /* memory that it holds, tensors included */

/* A value from an attribute's name; "id" is the record's own id. LM_KIND_NULL if there is none. */
lm_value lm_record_value(const lm_record *record, const char *name);

#endif
