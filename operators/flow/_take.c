/* A record takes over tensors and attributes of another, by reference: no pixel is read. */
#include "operators/flow/_take.h"
#include "runtime/codec.h"
#include "runtime/text.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

enum { REPLACE, KEEP, REFUSE };
const char *const lm_take_clashes[] = {"replace", "keep", "refuse", NULL};

const lm_field lm_take_fields[] = {LM_IN("in", "*", LM_ANY_DTYPE, "*", "*", "any records"),
                                   LM_IN("from", "*", LM_ANY_DTYPE, "*", "*", "any records"),
                                   LM_OUT("out", "*", LM_SAME_DTYPE, "*", "=", "the records with what they took"),
                                   {0}};

static bool among(const char *name, lm_texts patterns)
{
    for (size_t i = 0; i < patterns.n; i++)
        if (fnmatch(patterns.at[i], name, 0) == 0) return true;
    return false;
}

static lm_status absent(const lm_record *from, const char *what, const char *name, const lm_nearest *nearest,
                        lm_error *err)
{
    char hint[LM_ERROR_HINT];
    if (nearest->best) snprintf(hint, sizeof hint, "Did you mean \"%.200s\"?", nearest->best);
    else snprintf(hint, sizeof hint, "With a *, as in \"NAME*\", it need not be there.");
    return LM_FAIL_HINT(err, LM_EINPUT, hint, "record \"%s\" on port \"from\" has no %s \"%s\"", lm_record_id(from),
                        what, name);
}

/* Everything that is named without a pattern must be there. */
static lm_status check_names(const lm_take_params *s, const lm_record *from, lm_error *err)
{
    lm_nearest nearest;
    for (size_t i = 0; i < s->tensors.n; i++) {
        const char *name = s->tensors.at[i];
        if (strpbrk(name, "*?[") || lm_record_tensor(from, name)) continue;
        lm_nearest_init(&nearest, name);
        for (size_t k = 0; k < lm_record_tensor_count(from); k++)
            lm_nearest_offer(&nearest, lm_record_tensor_at(from, k)->name);
        return absent(from, "tensor", name, &nearest, err);
    }
    for (size_t i = 0; i < s->attrs.n; i++) {
        const char *name = s->attrs.at[i];
        if (strpbrk(name, "*?[") || lm_record_attr(from, name)) continue;
        lm_nearest_init(&nearest, name);
        for (size_t k = 0; k < lm_record_attr_count(from); k++)
            lm_nearest_offer(&nearest, lm_record_attr_at(from, k)->name);
        return absent(from, "attribute", name, &nearest, err);
    }
    return LM_OK;
}

static lm_status clash(const char *what, const char *name, const lm_record *from, lm_error *err)
{
    return LM_FAIL_HINT(err, LM_EINPUT, "Give a prefix, name what to take, or say which one counts with \"clash\".",
                        "%s \"%s\" is there already, and that of record \"%s\" differs", what, name,
                        lm_record_id(from));
}

static lm_status equal_tensors(lm_tensor *a, lm_tensor *b, bool *ret, lm_error *err)
{
    if (a == b) return *ret = true, LM_OK;
    lm_digest da, db;
    LM_TRY(lm_tensor_digest(a, &da, err));
    LM_TRY(lm_tensor_digest(b, &db, err));
    *ret = memcmp(&da, &db, sizeof da) == 0;
    return LM_OK;
}

/* The name under which something is taken, in the step's memory. */
static const char *new_name(lm_step *step, const char *prefix, const char *name)
{
    if (!*prefix) return name;
    size_t n = strlen(prefix) + strlen(name) + 1;
    char *text = lm_step_scratch(step, n, 1);
    if (text) snprintf(text, n, "%s%s", prefix, name);
    return text;
}

static lm_status take_tensor(const lm_take_params *s, lm_step *step, const lm_record *in, const lm_record *from,
                             const lm_named *named, lm_error *err)
{
    const char *name = new_name(step, s->prefix, named->name);
    if (!name) return LM_NOMEM(err);
    lm_tensor *mine = lm_record_tensor(in, name);
    if (mine && s->clash == KEEP) return LM_OK;
    if (mine && s->clash == REFUSE) {
        bool equal;
        LM_TRY(equal_tensors(mine, named->tensor, &equal, err));
        if (!equal) return clash("tensor", name, from, err);
        return LM_OK;
    }
    return lm_step_put(step, "out", name, lm_tensor_ref(named->tensor), err);
}

static lm_status take_attribute(const lm_take_params *s, lm_step *step, const lm_record *in, const lm_record *from,
                                const lm_attr *attr, lm_error *err)
{
    const char *name = new_name(step, s->prefix, attr->name);
    if (!name) return LM_NOMEM(err);
    const lm_attr *mine = lm_record_attr(in, name);
    if (mine && s->clash == KEEP) return LM_OK;
    if (mine && s->clash == REFUSE)
        return lm_value_equal(mine->value, attr->value) ? LM_OK : clash("attribute", name, from, err);
    return lm_step_set(step, "out", name, attr->value, attr->comment, err);
}

lm_status lm_take_step(const void *self, lm_step *step, lm_error *err)
{
    const lm_take_params *s = self;
    const lm_record *in = lm_step_record(step, "in"), *from = lm_step_record(step, "from");
    LM_TRY(check_names(s, from, err));
    for (size_t i = 0; i < lm_record_tensor_count(from); i++) {
        const lm_named *named = lm_record_tensor_at(from, i);
        if (among(named->name, s->tensors)) LM_TRY(take_tensor(s, step, in, from, named, err));
    }
    for (size_t i = 0; i < lm_record_attr_count(from); i++) {
        const lm_attr *attr = lm_record_attr_at(from, i);
        if (among(attr->name, s->attrs)) LM_TRY(take_attribute(s, step, in, from, attr, err));
    }
    return lm_step_emit(step, "out", err);
}
