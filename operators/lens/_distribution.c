/* Reading distributions. See _distribution.h. */
#include "operators/lens/_distribution.h"

#include "operators/lens/_components.h"
#include "runtime/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    const char *unit;
    lm_step *step; /* NULL: templates are not known */
    bool known;
} reader;

static lm_status number(reader *r, const json_t *value, const char *what, double *ret, lm_error *err)
{
    const lm_slot slot = {.name = what, .unit = r->unit, .doc = "", .value = value, .otherwise = NAN};
    bool known;
    LM_TRY(lm_slot_number(&slot, r->step, ret, &known, err));
    r->known &= known;
    return LM_OK;
}

static lm_status unknown(const char *name, lm_error *err)
{
    char hint[200] = "There are";
    lm_nearest nearest;
    lm_nearest_init(&nearest, name);
    for (size_t i = 1; lm_distribution_names[i]; i++) {
        lm_nearest_offer(&nearest, lm_distribution_names[i]);
        snprintf(hint + strlen(hint), sizeof hint - strlen(hint), "%s %s", i > 1 ? "," : "", lm_distribution_names[i]);
    }
    if (nearest.best) snprintf(hint, sizeof hint, "Did you mean \"%s\"?", nearest.best);
    return LM_FAIL_HINT(err, LM_EINPUT, hint, "\"%s\" is no distribution", name);
}

static lm_status table_of_list(reader *r, const json_t *list, lm_distribution *ret, lm_error *err)
{
    size_t n = json_array_size(list);
    double *at = r->step ? lm_step_scratch(r->step, n + 1, sizeof *at) : NULL;
    if (!n) return LM_FAIL(err, LM_EINPUT, "a table without values");
    if (r->step && !at) return LM_NOMEM(err);
    for (size_t i = 0; i < n; i++) {
        double value = 0;
        LM_TRY(number(r, json_array_get(list, i), "table", &value, err));
        if (at) at[i] = value;
    }
    if (!at) r->known = false;
    ret->value = at;
    ret->n = n;
    return LM_OK;
}

static lm_status table_of_tensor(reader *r, const char *name, lm_distribution *ret, lm_error *err)
{
    if (!r->step) {
        r->known = false;
        return LM_OK;
    }
    LM_TRY(lm_step_expand(r->step, name, NULL, &name, err));
    const lm_tensor *tensor = lm_step_peek(r->step, "in", name);
    if (!tensor || tensor->ndim != 1)
        return LM_FAIL(err, LM_EINPUT, "table: the record has no tensor \"%s\" with one axis", name);
    ret->value = lm_step_peek_f64(r->step, tensor);
    ret->n = tensor->shape[0];
    return ret->value || !ret->n ? LM_OK : LM_NOMEM(err);
}

static lm_status read_kind(reader *r, lm_distribution_kind kind, const json_t *value, lm_distribution *ret,
                           lm_error *err)
{
    const char *name = lm_distribution_names[kind];
    ret->kind = kind;
    if (kind == LM_DISTRIBUTION_TABLE)
        return json_is_array(value) ? table_of_list(r, value, ret, err)
               : json_is_string(value)
                   ? table_of_tensor(r, json_string_value(value), ret, err)
                   : LM_FAIL(err, LM_EINPUT, "table: a list of values or the name of a tensor is wanted");
    if (kind == LM_DISTRIBUTION_POWER) return number(r, value, name, &ret->a, err);
    if (json_array_size(value) != 2) {
        char hint[100];
        snprintf(hint, sizeof hint, "For example: {%s: [%s]}", name,
                 kind == LM_DISTRIBUTION_NORMAL ? "2, 0.1" : "0.5, 2");
        return LM_FAIL_HINT(err, LM_EINPUT, hint, "%s: a list of two numbers is wanted", name);
    }
    LM_TRY(number(r, json_array_get(value, 0), name, &ret->a, err));
    return number(r, json_array_get(value, 1), name, &ret->b, err);
}

static lm_status read_map(reader *r, const json_t *map, lm_distribution *ret, lm_error *err)
{
    const char *name, *found = NULL;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)map, name, value)
    {
        if (strcmp(name, "min") == 0) LM_TRY(number(r, value, "min", &ret->min, err));
        else if (strcmp(name, "max") == 0) LM_TRY(number(r, value, "max", &ret->max, err));
        else {
            int kind = 1; /* not `fixed`: that is a number alone */
            while (lm_distribution_names[kind] && strcmp(lm_distribution_names[kind], name) != 0) kind++;
            if (!lm_distribution_names[kind]) return unknown(name, err);
            if (found) return LM_FAIL(err, LM_EINPUT, "both %s and %s: one distribution is wanted", found, name);
            found = name;
            LM_TRY(read_kind(r, (lm_distribution_kind)kind, value, ret, err));
        }
    }
    return found ? LM_OK
                 : LM_FAIL_HINT(err, LM_EINPUT, "For example: {uniform: [0.5, 2]}", "a map without a distribution");
}

lm_status lm_distribution_read(const json_t *value, const char *unit, lm_step *step, lm_distribution *ret,
                               bool *ret_known, lm_error *err)
{
    reader r = {unit, step, true};
    lm_distribution made = {.kind = LM_DISTRIBUTION_FIXED, .min = -INFINITY, .max = INFINITY};
    if (json_is_object(value)) LM_TRY(read_map(&r, value, &made, err));
    else LM_TRY(number(&r, value, "value", &made.a, err));
    *ret_known = r.known;
    if (!r.known) return LM_OK;
    LM_TRY(lm_distribution_check(&made, err));
    *ret = made;
    return LM_OK;
}
