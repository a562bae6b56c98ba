/* Reading lists of components. See _components.h. */
#include "operators/lens/_components.h"

#include "runtime/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the two families alike ---- */

static unsigned param_count(const lm_component *c)
{
    return c->light ? c->light->n_params : lm_mass_model_of(c->mass)->n_params;
}

/* The slot of the model's parameter i, not given yet. */
static lm_slot param_slot(const lm_component *c, unsigned i)
{
    if (c->light) {
        const lm_light_param *p = &c->light->params[i];
        return (lm_slot){p->name, p->unit, p->doc, NULL, (int)i, p->otherwise, p->min, p->max};
    }
    const lm_mass_param *p = &lm_mass_model_of(c->mass)->params[i];
    return (lm_slot){p->name, p->unit, p->doc, NULL, (int)i, p->otherwise, p->min, p->max};
}

static int param_index(const lm_component *c, const char *name)
{
    return c->light ? lm_light_param_of(c->light, name) : lm_mass_param_of(c->mass, name);
}

/* ---- types ---- */

static lm_status unknown_type(const char *type, bool light, lm_error *err)
{
    char hint[256] = "Types are";
    lm_nearest nearest;
    lm_nearest_init(&nearest, type);
    for (unsigned k = 0; light ? lm_light_kinds[k] != NULL : k < LM_MASS_KINDS; k++) {
        const char *name = light ? lm_light_kinds[k]->name : lm_mass_model_of((lm_mass_kind)k)->name;
        lm_nearest_offer(&nearest, name);
        snprintf(hint + strlen(hint), sizeof hint - strlen(hint), "%s %s", k ? "," : "", name);
    }
    if (*type && nearest.best) snprintf(hint, sizeof hint, "Did you mean \"%s\"?", nearest.best);
    return LM_FAIL_HINT(err, LM_EINPUT, hint,
                        *type ? "the component has an unknown type \"%s\"" : "the component has no type%s", type);
}

static lm_status find_type(const json_t *tree, bool light, lm_component *ret, lm_error *err)
{
    const char *type = json_string_value(json_object_get(tree, "type"));
    *ret = (lm_component){.type = type ? type : "", .mass = LM_MASS_KINDS};
    if (light) ret->light = lm_light_kind_of(ret->type);
    else ret->mass = lm_mass_kind_of(strcmp(ret->type, "nie") == 0 ? "sie" : ret->type);
    return ret->light || ret->mass != LM_MASS_KINDS ? LM_OK : unknown_type(ret->type, light, err);
}

/* ---- names ---- */

typedef struct {
    const char *name, *instead_of, *also_instead_of, *doc;
    int at;
    double min, max;
} other_name;

static const other_name other_names[] = {{"e1", "q", "phi", "(1 - q)/(1 + q) cos 2 phi", LM_SLOT_E1, -1, 1},
                                         {"e2", "phi", "q", "(1 - q)/(1 + q) sin 2 phi", LM_SLOT_E2, -1, 1},
                                         {"gamma", "t", "t", "slope of the density", LM_SLOT_GAMMA, 1.01, 2.99}};
enum { OTHER_NAMES = sizeof other_names / sizeof *other_names };

static lm_slot *slot_named(lm_component *c, const char *name)
{
    for (unsigned i = 0; i < c->n_slots; i++)
        if (strcmp(c->slot[i].name, name) == 0) return &c->slot[i];
    return NULL;
}

/* Puts the other names that were used into the places of those that they stand for. */
static lm_status take_other_names(const json_t *tree, lm_component *c, lm_error *err)
{
    for (int i = 0; i < OTHER_NAMES; i++) {
        const other_name *o = &other_names[i];
        if (!json_object_get(tree, o->name) || param_index(c, o->name) >= 0) continue;
        lm_slot *slot = slot_named(c, o->instead_of);
        if (!slot) continue; /* an unknown name, as others are */
        if (json_object_get(tree, o->instead_of) || json_object_get(tree, o->also_instead_of))
            return o->at == LM_SLOT_GAMMA
                       ? LM_FAIL(err, LM_EINPUT, "a slope is given by t, or by gamma = t + 1")
                       : LM_FAIL(err, LM_EINPUT, "an ellipse is given by q and phi, or by both of e1 and e2");
        if (o->at != LM_SLOT_GAMMA && (!json_object_get(tree, "e1") || !json_object_get(tree, "e2")))
            return LM_FAIL(err, LM_EINPUT, "an ellipse is given by q and phi, or by both of e1 and e2");
        *slot = (lm_slot){o->name, "", o->doc, NULL, o->at, (double)NAN, o->min, o->max};
    }
    return LM_OK;
}

static lm_status unknown_name(const lm_component *c, const char *name, lm_error *err)
{
    lm_nearest nearest;
    lm_nearest_init(&nearest, name);
    char hint[256] = "It takes";
    for (unsigned i = 0; i < c->n_slots; i++) {
        lm_nearest_offer(&nearest, c->slot[i].name);
        snprintf(hint + strlen(hint), sizeof hint - strlen(hint), "%s %s", i ? "," : "", c->slot[i].name);
    }
    if (nearest.best) snprintf(hint, sizeof hint, "Did you mean \"%s\"?", nearest.best);
    return LM_FAIL_HINT(err, LM_EINPUT, hint, "\"%s\" has no parameter \"%s\"", c->type, name);
}

static lm_status take_option(lm_component *c, int at, const json_t *value, lm_error *err)
{
    const lm_light_option *option = &c->light->options[at];
    const char *text = json_string_value(value);
    int word = text ? lm_light_word_of(option, text) : -1;
    if (word >= 0) {
        c->option[at] = word;
        return LM_OK;
    }
    char hint[200] = "It is";
    for (size_t i = 0; option->words[i]; i++)
        snprintf(hint + strlen(hint), sizeof hint - strlen(hint), "%s %s", i ? " or" : "", option->words[i]);
    return LM_FAIL_HINT(err, LM_EINPUT, hint, "\"%s\" of \"%s\" is no \"%s\"", option->name, c->type,
                        text ? text : "number");
}

lm_status lm_component_read(const json_t *tree, bool light, lm_component *ret, lm_error *err)
{
    if (!json_is_object(tree)) return LM_FAIL(err, LM_EINPUT, "a component must be a map with a type");
    lm_component c;
    LM_TRY(find_type(tree, light, &c, err));
    c.n_slots = param_count(&c);
    for (unsigned i = 0; i < c.n_slots; i++) c.slot[i] = param_slot(&c, i);
    LM_TRY(take_other_names(tree, &c, err));
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)tree, name, value)
    {
        lm_slot *slot = slot_named(&c, name);
        int option = light ? lm_light_option_of(c.light, name) : -1;
        if (strcmp(name, "type") == 0) continue;
        if (slot) slot->value = value;
        else if (option >= 0) LM_TRY(take_option(&c, option, value, err));
        else if (light && c.light->array.name && strcmp(name, c.light->array.name) == 0) c.array = value;
        else if (!light && strcmp(name, "table") == 0 && json_is_string(value)) c.table = json_string_value(value);
        else return unknown_name(&c, name, err);
    }
    for (unsigned i = 0; c.table && i < c.n_slots; i++)
        if (c.slot[i].value)
            return LM_FAIL(err, LM_EINPUT, "the rows of table \"%s\" give all parameters: \"%s\" is given twice",
                           c.table, c.slot[i].name);
    *ret = c;
    return LM_OK;
}

/* ---- values ---- */

static bool is_template(const char *text)
{
    return text && strpbrk(text, "{}");
}

lm_status lm_slot_number(const lm_slot *slot, lm_step *step, double *ret, bool *ret_known, lm_error *err)
{
    *ret_known = true;
    if (!slot->value && isnan(slot->otherwise)) return LM_FAIL(err, LM_EINPUT, "\"%s\" is missing", slot->name);
    if (!slot->value || json_is_number(slot->value)) {
        *ret = slot->value ? json_number_value(slot->value) : slot->otherwise;
        return LM_OK;
    }
    const char *text = json_string_value(slot->value);
    if (is_template(text) && !step) {
        *ret_known = false;
        return LM_OK;
    }
    if (is_template(text)) LM_TRY_IN(lm_step_expand(step, text, NULL, &text, err), err, "\"%s\"", slot->name);
    bool angle = strcmp(slot->unit, "rad") == 0;
    char *end = NULL;
    double number = text ? strtod(text, &end) : (double)NAN;
    if (angle && text && lm_parse_angle(text, &number)) end = NULL;
    else if (!text || end == text || *end)
        return LM_FAIL(err, LM_EINPUT, "\"%s\" is %s%s%s: a number is wanted%s", slot->name,
                       text ? "\"" : "not a number", text ? text : "", text ? "\"" : "",
                       angle ? ", or an angle such as \"23 deg\"" : "");
    *ret = number;
    return LM_OK;
}

/* The model's parameters from the values of the slots. */
static lm_status own_values(const lm_component *c, const double *values, double *p, lm_error *err)
{
    double e1 = NAN, e2 = NAN;
    for (unsigned i = 0; i < c->n_slots; i++) {
        int at = c->slot[i].at;
        if (at == LM_SLOT_E1) e1 = values[i];
        else if (at == LM_SLOT_E2) e2 = values[i];
        else p[i] = at == LM_SLOT_GAMMA ? values[i] - 1 : values[i];
    }
    for (unsigned i = 0; i < c->n_slots; i++) {
        if (c->slot[i].at != LM_SLOT_E1 && c->slot[i].at != LM_SLOT_E2) continue;
        double e = hypot(e1, e2);
        if (!(e < 1))
            return LM_FAIL(err, LM_EINPUT, "an ellipse of e1 = %g, e2 = %g is no ellipse: their norm must be below 1",
                           e1, e2);
        p[i] = c->slot[i].at == LM_SLOT_E1 ? (1 - e) / (1 + e) : e > 0 ? atan2(e2, e1) / 2 : 0;
    }
    return LM_OK;
}

lm_status lm_component_mass(const lm_component *c, const double *values, lm_mass *ret, lm_error *err)
{
    lm_mass mass = {.kind = c->mass};
    LM_TRY(own_values(c, values, mass.p, err));
    LM_TRY(lm_mass_check(&mass, err));
    *ret = mass;
    return LM_OK;
}

lm_status lm_component_light(const lm_component *c, const double *values, lm_light *ret, lm_error *err)
{
    lm_light light = lm_light_of(c->light);
    LM_TRY(own_values(c, values, light.param, err));
    memcpy(light.option, c->option, sizeof light.option);
    if (!c->light->array.name) LM_TRY(lm_light_check(&light, err));
    *ret = light;
    return LM_OK;
}

static lm_status array_of_list(const json_t *list, const char *name, lm_step *step, lm_light *light, lm_error *err)
{
    bool rows = json_is_array(json_array_get(list, 0));
    size_t h = rows ? json_array_size(list) : 1, w = json_array_size(rows ? json_array_get(list, 0) : list);
    double *at = h && w ? lm_step_scratch(step, h * w, sizeof *at) : NULL;
    if (!h || !w) return LM_FAIL(err, LM_EINPUT, "\"%s\" is empty", name);
    if (!at) return LM_NOMEM(err);
    for (size_t j = 0; j < h; j++)
        for (size_t i = 0; i < w; i++) {
            const json_t *row = rows ? json_array_get(list, j) : list, *value = json_array_get(row, i);
            if (json_array_size(row) != w || !json_is_number(value))
                return LM_FAIL(err, LM_EINPUT, "\"%s\" must be a list of numbers, or of rows of one length", name);
            at[j * w + i] = json_number_value(value);
        }
    light->array = at;
    light->h = h;
    light->w = w;
    return LM_OK;
}

static lm_status array_of_tensor(const char *tensor_name, const char *name, lm_step *step, lm_light *light,
                                 lm_error *err)
{
    LM_TRY(lm_step_expand(step, tensor_name, NULL, &tensor_name, err));
    const lm_tensor *tensor = lm_step_peek(step, "in", tensor_name);
    if (!tensor || tensor->ndim < 1 || tensor->ndim > 2)
        return LM_FAIL(err, LM_EINPUT,
                       tensor ? "\"%s\": tensor \"%s\" has %u axes, where one or two are wanted"
                              : "\"%s\": the record has no tensor \"%s\"",
                       name, tensor_name, tensor ? tensor->ndim : 0);
    light->array = lm_step_peek_f64(step, tensor);
    if (!light->array) return LM_NOMEM(err);
    light->h = tensor->ndim == 2 ? tensor->shape[0] : 1;
    light->w = tensor->shape[tensor->ndim - 1];
    return LM_OK;
}

lm_status lm_component_array(const lm_component *c, lm_step *step, lm_light *light, lm_error *err)
{
    const char *name = c->light->array.name;
    if (!name) return LM_OK;
    if (json_is_array(c->array)) LM_TRY(array_of_list(c->array, name, step, light, err));
    else if (json_is_string(c->array)) LM_TRY(array_of_tensor(json_string_value(c->array), name, step, light, err));
    else return LM_FAIL(err, LM_EINPUT, "\"%s\" must be a list of numbers or the name of a tensor", name);
    return lm_light_check(light, err);
}

/* ---- whole lists ---- */

static lm_status values_of(const lm_component *c, lm_step *step, double *values, bool *ret_whole, lm_error *err)
{
    *ret_whole = true;
    for (unsigned i = 0; i < c->n_slots; i++) {
        bool known;
        if (!c->slot[i].value && isnan(c->slot[i].otherwise))
            return LM_FAIL_HINT(err, LM_EINPUT, c->slot[i].doc, "\"%s\" needs \"%s\"", c->type, c->slot[i].name);
        LM_TRY_IN(lm_slot_number(&c->slot[i], step, &values[i], &known, err), err, "\"%s\"", c->type);
        *ret_whole &= known;
    }
    return LM_OK;
}

static lm_status check_one(const json_t *tree, bool light, lm_error *err)
{
    lm_component c;
    double values[LM_SLOTS];
    bool whole;
    lm_mass mass;
    lm_light shining;
    LM_TRY(lm_component_read(tree, light, &c, err));
    if (c.table) return LM_OK;
    LM_TRY(values_of(&c, NULL, values, &whole, err));
    if (light && c.light->array.name && !json_is_array(c.array) && !json_is_string(c.array))
        return LM_FAIL(err, LM_EINPUT, "\"%s\" of \"%s\" must be a list of numbers or the name of a tensor",
                       c.light->array.name, c.type);
    if (!whole) return LM_OK;
    return light ? lm_component_light(&c, values, &shining, err) : lm_component_mass(&c, values, &mass, err);
}

static lm_status check_list(const json_t *list, const char *param, bool light, lm_error *err)
{
    if (!list || is_template(json_string_value(list))) return LM_OK;
    if (!json_is_array(list) || json_array_size(list) == 0)
        return LM_FAIL_HINT(err, LM_EINPUT,
                            light ? "For example: [{type: sersic, I_e: 10, R_e: 0.2, n: 1}]"
                                  : "For example: [{type: sie, theta_E: 1.2, q: 0.7}]",
                            "\"%s\" must be a list of components", param);
    for (size_t i = 0; i < json_array_size(list); i++)
        LM_TRY_IN(check_one(json_array_get(list, i), light, err), err, "\"%s\", component %zu", param, i + 1);
    return LM_OK;
}

lm_status lm_masses_check(const json_t *list, const char *param, lm_error *err)
{
    return check_list(list, param, false, err);
}

lm_status lm_lights_check(const json_t *list, const char *param, lm_error *err)
{
    return check_list(list, param, true, err);
}

/* The list itself, or the one that an attribute holds, which is the caller's. */
static lm_status list_of(const json_t *list, const char *param, bool light, lm_step *step, const json_t **ret,
                         json_t **ret_own, lm_error *err)
{
    const char *text = json_string_value(list);
    *ret = list;
    *ret_own = NULL;
    if (!text) return LM_OK;
    LM_TRY_IN(lm_step_expand(step, text, NULL, &text, err), err, "\"%s\"", param);
    json_error_t why;
    *ret_own = json_loads(text, 0, &why);
    if (!*ret_own) return LM_FAIL(err, LM_EINPUT, "\"%s\" is no list of components in JSON: %s", param, why.text);
    *ret = *ret_own;
    lm_status status = json_array_size(*ret) ? check_list(*ret, param, light, err) : LM_OK;
    if (status) json_decref(*ret_own);
    return status;
}

static lm_status rows_of(const lm_component *c, lm_step *step, const lm_tensor **ret, lm_error *err)
{
    const char *name;
    LM_TRY(lm_step_expand(step, c->table, NULL, &name, err));
    const lm_tensor *table = lm_step_peek(step, "in", name);
    if (!table) return LM_FAIL(err, LM_EINPUT, "the record has no tensor \"%s\"", name);
    if (table->ndim != 2 || (table->shape[0] && table->shape[1] < c->n_slots))
        return LM_FAIL(err, LM_EINPUT, "the table \"%s\" needs a row for each mass and at least %u columns", name,
                       c->n_slots);
    *ret = table;
    return LM_OK;
}

static lm_status masses_of_table(const lm_component *c, const lm_tensor *table, lm_step *step, lm_mass *to,
                                 lm_error *err)
{
    const double *at = table->shape[0] ? lm_step_peek_f64(step, table) : NULL;
    if (table->shape[0] && !at) return LM_NOMEM(err);
    for (size_t i = 0; i < table->shape[0]; i++)
        LM_TRY_IN(lm_component_mass(c, at + i * table->shape[1], &to[i], err), err, "row %zu of table \"%s\"", i + 1,
                  c->table);
    return LM_OK;
}

/* How many masses a component stands for; its table, if it has one. */
static lm_status mass_count(const lm_component *c, lm_step *step, const lm_tensor **ret_table, size_t *ret,
                            lm_error *err)
{
    *ret_table = NULL;
    if (c->table) LM_TRY(rows_of(c, step, ret_table, err));
    *ret = c->table ? (*ret_table)->shape[0] : 1;
    return LM_OK;
}

static lm_status read_masses(const json_t *list, const char *param, lm_step *step, lm_mass **ret, size_t *ret_n,
                             lm_error *err)
{
    size_t n = 0, count;
    lm_component c;
    const lm_tensor *table;
    for (size_t i = 0; i < json_array_size(list); i++) {
        LM_TRY_IN(lm_component_read(json_array_get(list, i), false, &c, err), err, "\"%s\", component %zu", param,
                  i + 1);
        LM_TRY_IN(mass_count(&c, step, &table, &count, err), err, "\"%s\", component %zu", param, i + 1);
        n += count;
    }
    lm_mass *masses = lm_step_scratch(step, n + !n, sizeof *masses);
    if (!masses) return LM_NOMEM(err);
    n = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        double values[LM_SLOTS];
        bool whole;
        lm_status status = lm_component_read(json_array_get(list, i), false, &c, err);
        if (!status) status = mass_count(&c, step, &table, &count, err);
        if (!status && table) status = masses_of_table(&c, table, step, masses + n, err);
        if (!status && !table) status = values_of(&c, step, values, &whole, err);
        if (!status && !table) status = lm_component_mass(&c, values, masses + n, err);
        LM_TRY_IN(status, err, "\"%s\", component %zu", param, i + 1);
        n += count;
    }
    *ret = masses;
    *ret_n = n;
    return LM_OK;
}

lm_status lm_masses_read(const json_t *list, const char *param, lm_step *step, lm_mass **ret, size_t *ret_n,
                         lm_error *err)
{
    json_t *own;
    LM_TRY(list_of(list, param, false, step, &list, &own, err));
    lm_status status = read_masses(list, param, step, ret, ret_n, err);
    json_decref(own);
    return status;
}

static lm_status read_light(const json_t *tree, lm_step *step, lm_light *ret, lm_error *err)
{
    lm_component c;
    double values[LM_SLOTS];
    bool whole;
    LM_TRY(lm_component_read(tree, true, &c, err));
    LM_TRY(values_of(&c, step, values, &whole, err));
    LM_TRY(lm_component_light(&c, values, ret, err));
    return lm_component_array(&c, step, ret, err);
}

lm_status lm_lights_read(const json_t *list, const char *param, lm_step *step, lm_light **ret, size_t *ret_n,
                         lm_error *err)
{
    json_t *own;
    LM_TRY(list_of(list, param, true, step, &list, &own, err));
    size_t n = json_array_size(list);
    lm_light *lights = lm_step_scratch(step, n + !n, sizeof *lights);
    lm_status status = lights ? LM_OK : LM_NOMEM(err);
    for (size_t i = 0; !status && i < n; i++) {
        status = read_light(json_array_get(list, i), step, &lights[i], err);
        if (status) lm_error_in(err, "\"%s\", component %zu", param, i + 1);
    }
    json_decref(own);
    if (status) return status;
    *ret = lights;
    *ret_n = n;
    return LM_OK;
}
