/* select: which tensors and attributes a record keeps, and under what names. */
#include "runtime/operator.h"
#include "runtime/text.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    lm_texts tensors, attrs, drop_tensors, drop_attrs;
    json_t *rename, *rename_attrs;
} selection;

#define NAMES "{\"type\": \"object\", \"additionalProperties\": {\"type\": \"string\", \"minLength\": 1}}"

static const lm_param params[] = {
    LM_TEXTS(selection, tensors, NULL,
             .doc = "tensors to keep, by name or pattern (\"psf*\"); by default all. A name without * that a "
                    "record does not have makes a dead letter"),
    LM_TEXTS(selection, attrs, NULL,
             .doc = "attributes to keep, by name or pattern (\"MAG*\"); by default all. A name without * "
                    "that a record does not have makes a dead letter"),
    LM_TEXTS(selection, drop_tensors, NULL, .doc = "tensors to leave out, by name or pattern; they need not be there"),
    LM_TEXTS(selection, drop_attrs, NULL, .doc = "attributes to leave out, by name or pattern; they need not be there"),
    LM_TREE(selection, rename, NULL, .schema = NAMES,
            .doc = "new names of tensors: {old: new}. Keeping and leaving out go by the old names"),
    LM_TREE(selection, rename_attrs, NULL, .schema = NAMES, .doc = "new names of attributes: {old: new}"),
    {0}};

static const lm_field fields[] = {LM_IN("in", "*", LM_ANY_DTYPE, "*", "*", "any records"),
                                  LM_OUT("out", "*", LM_SAME_DTYPE, "*", "=", "the tensors that were kept, unchanged"),
                                  {0}};

static lm_status check_renames(const json_t *tree, const char *param, lm_error *err)
{
    if (!tree) return LM_OK;
    if (!json_is_object(tree))
        return LM_FAIL_HINT(err, LM_EGRAPH, "For example: {SCI: image}.", "\"%s\" must map old names to new ones",
                            param);
    const char *old, *other;
    json_t *new, *newer;
    json_object_foreach((json_t *)(uintptr_t)tree, old, new)
    {
        if (!json_is_string(new) || !*json_string_value(new))
            return LM_FAIL(err, LM_EGRAPH, "%s.%s: the new name must be a text", param, old);
        json_object_foreach((json_t *)(uintptr_t)tree, other, newer)
        {
            if (strcmp(old, other) < 0 && json_equal(new, newer))
                return LM_FAIL(err, LM_EGRAPH, "%s: both \"%s\" and \"%s\" would be named \"%s\"", param, old, other,
                               json_string_value(new));
        }
    }
    return LM_OK;
}

static lm_status select_check(const void *self, lm_error *err)
{
    const selection *s = self;
    if (!s->tensors.n && !s->attrs.n && !s->drop_tensors.n && !s->drop_attrs.n && !json_object_size(s->rename) &&
        !json_object_size(s->rename_attrs))
        return LM_FAIL_HINT(err, LM_EGRAPH,
                            "Say what to keep, leave out or rename. No tensors at all: drop_tensors: \"*\".",
                            "the node selects nothing");
    LM_TRY(check_renames(s->rename, "rename", err));
    return check_renames(s->rename_attrs, "rename_attrs", err);
}

static bool among(const char *name, lm_texts patterns)
{
    for (size_t i = 0; i < patterns.n; i++)
        if (fnmatch(patterns.at[i], name, 0) == 0) return true;
    return false;
}

/* Tensors or attributes of a record, by one interface. */
typedef struct {
    const char *what;
    const lm_record *record;
    bool tensors;
} list;

static size_t count(const list *l)
{
    return l->tensors ? lm_record_tensor_count(l->record) : lm_record_attr_count(l->record);
}

static const char *name_at(const list *l, size_t i)
{
    return l->tensors ? lm_record_tensor_at(l->record, i)->name : lm_record_attr_at(l->record, i)->name;
}

static bool has(const list *l, const char *name)
{
    return l->tensors ? lm_record_tensor(l->record, name) != NULL : lm_record_attr(l->record, name) != NULL;
}

static lm_status absent(const list *l, const char *name, const char *hint_else, lm_error *err)
{
    lm_nearest nearest;
    lm_nearest_init(&nearest, name);
    for (size_t i = 0; i < count(l); i++) lm_nearest_offer(&nearest, name_at(l, i));
    char hint[LM_ERROR_HINT];
    if (nearest.best) snprintf(hint, sizeof hint, "Did you mean \"%.200s\"?", nearest.best);
    else snprintf(hint, sizeof hint, "%s", hint_else);
    return LM_FAIL_HINT(err, LM_EINPUT, hint, "the record has no %s \"%s\"", l->what, name);
}

static lm_status check_names(const list *l, lm_texts keep, const json_t *renames, lm_error *err)
{
    for (size_t i = 0; i < keep.n; i++)
        if (!strpbrk(keep.at[i], "*?[") && !has(l, keep.at[i]))
            return absent(l, keep.at[i], "With a *, as in \"NAME*\", it need not be there.", err);
    const char *old;
    json_t *new;
    json_object_foreach((json_t *)(uintptr_t)renames, old, new)
    {
        if (!has(l, old)) return absent(l, old, "Rename only what every record has.", err);
    }
    return LM_OK;
}

/* The name that element i goes on with; NULL: it does not. */
static const char *new_name(const list *l, size_t i, lm_texts keep, lm_texts drop, const json_t *renames)
{
    const char *name = name_at(l, i);
    if ((keep.n && !among(name, keep)) || among(name, drop)) return NULL;
    const char *renamed = json_string_value(json_object_get(renames, name));
    return renamed ? renamed : name;
}

static lm_status copy(const list *l, lm_texts keep, lm_texts drop, const json_t *renames, lm_step *step, lm_error *err)
{
    LM_TRY(check_names(l, keep, renames, err));
    for (size_t i = 0; i < count(l); i++) {
        const char *name = new_name(l, i, keep, drop, renames);
        if (!name) continue;
        if (strcmp(name, name_at(l, i)) != 0)
            for (size_t k = 0; k < count(l); k++) {
                const char *other = k == i ? NULL : new_name(l, k, keep, drop, renames);
                if (other && strcmp(other, name) == 0)
                    return LM_FAIL_HINT(err, LM_EINPUT, "Leave out or rename the other one too.",
                                        "%s \"%s\" cannot be named \"%s\": there is one already", l->what,
                                        name_at(l, i), name);
            }
        if (l->tensors) {
            LM_TRY(lm_step_put(step, NULL, name, lm_tensor_ref(lm_record_tensor_at(l->record, i)->tensor), err));
        } else {
            const lm_attr *attr = lm_record_attr_at(l->record, i);
            LM_TRY(lm_step_set(step, NULL, name, attr->value, attr->comment, err));
        }
    }
    return LM_OK;
}

static lm_status select_step(const void *self, lm_step *step, lm_error *err)
{
    const selection *s = self;
    const lm_record *in = lm_step_record(step, "in");
    const list tensors = {"tensor", in, true}, attrs = {"attribute", in, false};
    LM_TRY(lm_step_base(step, NULL, NULL, err)); /* an empty record */
    LM_TRY(lm_step_id(step, NULL, lm_record_id(in), err));
    LM_TRY(copy(&attrs, s->attrs, s->drop_attrs, s->rename_attrs, step, err));
    return copy(&tensors, s->tensors, s->drop_tensors, s->rename, step, err);
}

const lm_operator lm_op_select = {
    .name = "select",
    .version = 1,
    .summary = "Keep, leave out and rename tensors and attributes",
    .doc = "Nothing is copied: a record that keeps fewer tensors refers to the same ones. Patterns are those "
           "of file names: * is any text, ? any character, [ab] one of these.",
    .example = "{tensors: [SCI, psf], rename: {SCI: image}, drop_attrs: \"HISTORY*\"}",
    .shape = LM_MAP,
    .flags = LM_HEADER,
    .size = sizeof(selection),
    .params = params,
    .fields = fields,
    .check = select_check,
    .step = select_step,
};
