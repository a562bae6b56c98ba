/* Lens models with free parameters. See _lens_model.h. */
#include "operators/infer/_lens_model.h"

#include "operators/lens/_distribution.h"
#include "runtime/alloc.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const lm_role_names[LM_ROLES] = {"mass", "source", "light"};

/* ---- lists with everything written out ---- */

static lm_status set_default(json_t *component, const char *name, json_t *value, lm_error *err)
{
    bool there = json_object_get(component, name) != NULL;
    if (there) json_decref(value);
    else if (!value || json_object_set_new(component, name, value)) return LM_NOMEM(err);
    return LM_OK;
}

static json_t *prior_of(const char *kind, double a, double b, double low, double high)
{
    json_t *prior = json_pack("{s:[f,f]}", kind, a, b);
    if (prior && isfinite(low) &&
        (json_object_set_new(prior, "min", json_real(low)) || json_object_set_new(prior, "max", json_real(high)))) {
        json_decref(prior);
        return NULL;
    }
    return prior;
}

/* Priors of what was left out of a light: wide, in units of the data. */
static lm_status add_defaults(json_t *component, lm_role role, double pixel, double size, lm_error *err)
{
    const char *type = json_string_value(json_object_get(component, "type"));
    if (role == LM_ROLE_MASS || !type) return LM_OK;
    bool source = role == LM_ROLE_SOURCE, sersic = strcmp(type, "sersic") == 0;
    bool round = json_object_get(component, "q") || json_object_get(component, "phi");
    double least = pixel / 5, most = source ? size / 2 : size;
    if (sersic) LM_TRY(set_default(component, "R_e", prior_of("loguniform", least, most, NAN, NAN), err));
    if (sersic) LM_TRY(set_default(component, "n", prior_of("uniform", 0.5, 8, NAN, NAN), err));
    if (strcmp(type, "gaussian") == 0)
        LM_TRY(set_default(component, "sigma", prior_of("loguniform", least, most, NAN, NAN), err));
    if (strcmp(type, "shapelets") == 0)
        LM_TRY(set_default(component, "beta", prior_of("loguniform", least, most, NAN, NAN), err));
    if (!round && (sersic || strcmp(type, "gaussian") == 0)) {
        LM_TRY(set_default(component, "e1", prior_of("normal", 0, 0.2, -0.9, 0.9), err));
        LM_TRY(set_default(component, "e2", prior_of("normal", 0, 0.2, -0.9, 0.9), err));
    }
    double wide = source ? size / 4 : fmax(2 * pixel, size / 20);
    LM_TRY(set_default(component, "x", prior_of("normal", 0, wide, NAN, NAN), err));
    return set_default(component, "y", prior_of("normal", 0, wide, NAN, NAN), err);
}

/* How often a component stands in the list; the key is removed. */
static lm_status take_count(json_t *component, size_t *ret, lm_error *err)
{
    const json_t *count = json_object_get(component, "count");
    *ret = count ? (size_t)json_integer_value(count) : 1;
    if (count &&
        (!json_is_integer(count) || json_integer_value(count) < 1 || json_integer_value(count) > LM_PARTS_MOST))
        return LM_FAIL(err, LM_EINPUT, "\"count\" is a whole number from 1 to %d", LM_PARTS_MOST);
    if (count) json_object_del(component, "count");
    return LM_OK;
}

static lm_status write_out(const json_t *list, lm_role role, double pixel, double size, json_t *to, lm_error *err)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        size_t count;
        json_t *component = json_deep_copy(json_array_get(list, i));
        if (!component) return LM_NOMEM(err);
        lm_status status = json_is_object(component) ? take_count(component, &count, err)
                                                     : LM_FAIL(err, LM_EINPUT, "a component must be a map with a type");
        if (!status) status = add_defaults(component, role, pixel, size, err);
        for (size_t k = 0; !status && k < count; k++) {
            json_t *one = k ? json_deep_copy(component) : json_incref(component);
            if (!one || json_array_append_new(to, one)) status = LM_NOMEM(err);
        }
        json_decref(component);
        LM_TRY_IN(status, err, "\"%s\", component %zu", lm_role_names[role], i + 1);
    }
    return LM_OK;
}

/* ---- parts ---- */

/* The parameter of a light that is its amplitude; -1: the array holds it. */
static int amplitude_of(const lm_light_kind_info *kind)
{
    static const char *const names[] = {"I_e", "flux", "amp"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (lm_light_param_of(kind, names[i]) >= 0) return lm_light_param_of(kind, names[i]);
    return -1;
}

static lm_status read_slots(lm_lens_model *model, lm_part *part, lm_step *step, lm_error *err)
{
    const lm_component *c = &part->component;
    for (unsigned i = 0; i < c->n_slots; i++) {
        const lm_slot *slot = &c->slot[i];
        part->free[i] = -1;
        part->value[i] = slot->otherwise;
        if ((int)i == part->linear) part->value[i] = 1;
        if ((int)i == part->linear) continue;
        if (!slot->value) {
            if (isnan(slot->otherwise))
                return LM_FAIL_HINT(err, LM_EINPUT, "Give it a number, or a prior such as {uniform: [0, 2]}.",
                                    "\"%s\" needs \"%s\"", c->type, slot->name);
            continue;
        }
        lm_distribution prior;
        bool known;
        LM_TRY_IN(lm_distribution_read(slot->value, slot->unit, step, &prior, &known, err), err, "\"%s\"", slot->name);
        if (known && prior.kind == LM_DISTRIBUTION_FIXED) {
            part->value[i] = prior.a;
            continue;
        }
        if (json_is_string(slot->value)) continue; /* a template that is not known yet: a number */
        if (known && prior.kind == LM_DISTRIBUTION_TABLE)
            return LM_FAIL(err, LM_EINPUT, "\"%s\": a table is no prior that a chain can move in", slot->name);
        if (model->n_params == LM_FREE_MOST)
            return LM_FAIL(err, LM_EINPUT, "more than %d free parameters", LM_FREE_MOST);
        part->free[i] = (int)model->n_params;
        model->params[model->n_params++] = (lm_free_param){.unit = slot->unit, .prior = prior};
    }
    return LM_OK;
}

static lm_status unit_vectors(lm_part *part, lm_error *err)
{
    const lm_component *c = &part->component;
    int n_max = lm_light_param_of(c->light, "n_max");
    double order = n_max >= 0 ? part->value[n_max] : (double)NAN;
    if (n_max < 0 || part->free[n_max] >= 0 || !(order >= 0 && order <= 6))
        return LM_FAIL_HINT(err, LM_EINPUT, "Give `coefficients`, or an order up to 6.",
                            "linear coefficients of \"%s\" need an order \"n_max\" from 0 to 6", c->type);
    size_t n = (size_t)(order + 1) * (size_t)(order + 2) / 2;
    part->count = n;
    part->unit = lm_alloc(n * n, sizeof *part->unit);
    if (!part->unit) return LM_NOMEM(err);
    for (size_t i = 0; i < n; i++) part->unit[i * n + i] = 1;
    part->linear = LM_LIGHT_PARAMS;
    return LM_OK;
}

static lm_status read_part(lm_lens_model *model, const json_t *tree, lm_role role, lm_step *step, lm_error *err)
{
    if (model->n_parts == LM_PARTS_MOST) return LM_FAIL(err, LM_EINPUT, "more than %d components", LM_PARTS_MOST);
    lm_part *part = &model->parts[model->n_parts++];
    lm_component *c = &part->component;
    *part = (lm_part){.role = role, .linear = -1};
    LM_TRY(lm_component_read(tree, role != LM_ROLE_MASS, c, err));
    if (c->table) return LM_FAIL(err, LM_EINPUT, "a table of masses has no place in a model that is fitted");
    int amplitude = role == LM_ROLE_MASS ? -1 : amplitude_of(c->light);
    if (amplitude >= 0 && !c->slot[amplitude].value) part->linear = amplitude;
    LM_TRY(read_slots(model, part, step, err));
    if (role == LM_ROLE_MASS) {
        part->first = model->n_masses++;
        return LM_OK;
    }
    part->first = model->n_lights;
    part->count = 1;
    part->sample = lm_light_of(c->light);
    if (c->light->array.name && c->array && step) LM_TRY(lm_component_array(c, step, &part->sample, err));
    else if (c->light->array.name && !c->array && amplitude < 0) LM_TRY(unit_vectors(part, err));
    else if (c->light->array.name && !c->array)
        return LM_FAIL(err, LM_EINPUT, "\"%s\" needs \"%s\"", c->type, c->light->array.name);
    model->n_lights += part->count;
    return model->n_lights > LM_FIT_LIGHTS ? LM_FAIL(err, LM_EINPUT, "more than %d components of light", LM_FIT_LIGHTS)
                                           : LM_OK;
}

/* ROLE_TYPE_NAME, the role left out of masses; with a number where there are several of a type. */
static void name_params(lm_lens_model *model)
{
    for (size_t p = 0; p < model->n_parts; p++) {
        const lm_part *part = &model->parts[p];
        size_t alike = 0, number = 0;
        for (size_t k = 0; k < model->n_parts; k++)
            if (model->parts[k].role == part->role &&
                strcmp(model->parts[k].component.type, part->component.type) == 0) {
                alike++;
                if (k <= p) number++;
            }
        char count[24] = "";
        if (alike > 1) snprintf(count, sizeof count, "%zu", number);
        for (unsigned i = 0; i < part->component.n_slots; i++)
            if (part->free[i] >= 0)
                snprintf(model->params[part->free[i]].name, sizeof model->params->name, "%s%s%.20s%s_%.20s",
                         part->role == LM_ROLE_MASS ? "" : lm_role_names[part->role],
                         part->role == LM_ROLE_MASS ? "" : "_", part->component.type, count,
                         part->component.slot[i].name);
    }
}

static const char *size_name(const lm_part *part)
{
    return lm_light_param_of(part->component.light, "R_e") >= 0 ? "R_e" : "sigma";
}

/* A light with the same tree as the one before it is its repetition. */
static void find_repeated(lm_lens_model *model, size_t first, const json_t *list)
{
    for (size_t i = 1; i < json_array_size(list); i++) {
        lm_part *part = &model->parts[first + i];
        if (part->role == LM_ROLE_MASS || lm_light_param_of(part->component.light, size_name(part)) < 0) continue;
        part->follows = json_equal(json_array_get(list, i), json_array_get(list, i - 1));
    }
}

lm_status lm_lens_model_init(lm_lens_model *model, const json_t *const lists[LM_ROLES], double pixel, double size,
                             lm_step *step, lm_error *err)
{
    for (int role = 0; role < LM_ROLES; role++) {
        const json_t *list = lists[role];
        if (!list) continue;
        if (!json_is_array(list))
            return LM_FAIL_HINT(err, LM_EINPUT,
                                "For example: [{type: sie, theta_E: {uniform: [0.5, 2]}, e1: 0, e2: 0}]",
                                "\"%s\" must be a list of components", lm_role_names[role]);
        json_t *tree = model->trees[role] = json_array();
        if (!tree) return LM_NOMEM(err);
        LM_TRY(write_out(list, (lm_role)role, pixel, size, tree, err));
        size_t first = model->n_parts;
        for (size_t i = 0; i < json_array_size(tree); i++)
            LM_TRY_IN(read_part(model, json_array_get(tree, i), (lm_role)role, step, err), err, "\"%s\", component %zu",
                      lm_role_names[role], i + 1);
        find_repeated(model, first, tree);
    }
    name_params(model);
    return LM_OK;
}

void lm_lens_model_done(lm_lens_model *model)
{
    for (int role = 0; role < LM_ROLES; role++) json_decref(model->trees[role]);
    for (size_t p = 0; p < model->n_parts; p++) lm_free(model->parts[p].unit);
    *model = (lm_lens_model){.n_parts = 0};
}

/* ---- numbers ---- */

void lm_lens_model_x(const lm_lens_model *model, const double *z, double *x, double *slope)
{
    static const double ln_root_two_pi = 0.918938533204672741780;
    for (size_t i = 0; i < model->n_params; i++) {
        const lm_distribution *prior = &model->params[i].prior;
        double below = erfc(-z[i] * M_SQRT1_2) / 2;
        x[i] = lm_distribution_quantile(prior, fmin(below, 1 - 0x1p-53));
        if (slope) slope[i] = exp(-z[i] * z[i] / 2 - ln_root_two_pi - lm_distribution_log_density(prior, x[i]));
    }
}

/* The inverse of Phi, by Newton's method on its logarithm's lower half. */
static double normal_quantile(double below)
{
    static const lm_distribution normal = {LM_DISTRIBUTION_NORMAL, 0, 1, -INFINITY, INFINITY, NULL, NULL, 0};
    if (!(below > 0)) return -INFINITY;
    return below < 1 ? lm_distribution_quantile(&normal, below) : (double)INFINITY;
}

void lm_lens_model_z(const lm_lens_model *model, const double *x, double *z)
{
    for (size_t i = 0; i < model->n_params; i++)
        z[i] = normal_quantile(lm_distribution_below(&model->params[i].prior, x[i]));
}

static void values_at(const lm_part *part, const double *x, double *values)
{
    for (unsigned i = 0; i < part->component.n_slots; i++)
        values[i] = part->free[i] < 0 ? part->value[i] : x[part->free[i]];
}

static double size_of(const lm_part *part, const double *x)
{
    int at = lm_light_param_of(part->component.light, size_name(part));
    return part->free[at] < 0 ? part->value[at] : x[part->free[at]];
}

static lm_status light_at(const lm_part *part, const double *values, lm_fit_light *to, lm_error *err)
{
    lm_light light;
    LM_TRY(lm_component_light(&part->component, values, &light, err));
    light.array = part->sample.array;
    light.h = part->sample.h;
    light.w = part->sample.w;
    for (size_t k = 0; k < part->count; k++) {
        to[k] = (lm_fit_light){.light = light, .lensed = part->role == LM_ROLE_SOURCE, .linear = part->linear};
        if (part->unit) {
            to[k].light.array = part->unit + k * part->count;
            to[k].light.h = 1;
            to[k].light.w = part->count;
        }
    }
    return lm_light_check(&to->light, err);
}

lm_status lm_lens_model_at(const lm_lens_model *model, const double *x, lm_sample *ret, lm_error *err)
{
    for (size_t p = 0; p < model->n_parts; p++) {
        const lm_part *part = &model->parts[p];
        double values[LM_SLOTS];
        values_at(part, x, values);
        if (part->follows && !(size_of(part, x) >= size_of(part - 1, x)))
            return LM_FAIL(err, LM_EINPUT, "repeated lights are out of order");
        if (part->role == LM_ROLE_MASS)
            LM_TRY(lm_component_mass(&part->component, values, &ret->masses[part->first], err));
        else LM_TRY(light_at(part, values, &ret->lights[part->first], err));
    }
    ret->scene = (lm_fit_scene){ret->masses, model->n_masses, ret->lights, model->n_lights};
    return LM_OK;
}

/* ---- slopes ---- */

void lm_lens_model_wants(const lm_lens_model *model, unsigned *mass, unsigned *light)
{
    for (size_t p = 0; p < model->n_parts; p++) {
        const lm_part *part = &model->parts[p];
        unsigned bits = 0;
        for (unsigned i = 0; i < part->component.n_slots; i++) {
            if (part->free[i] < 0) continue;
            bits |= 1u << i; /* slots stand in the model's order */
            if (part->component.slot[i].at == LM_SLOT_E1 || part->component.slot[i].at == LM_SLOT_E2)
                for (unsigned k = 0; k < part->component.n_slots; k++)
                    if (part->component.slot[k].at == LM_SLOT_E1 || part->component.slot[k].at == LM_SLOT_E2)
                        bits |= 1u << k;
        }
        if (part->role == LM_ROLE_MASS) mass[part->first] = bits;
        for (size_t k = 0; part->role != LM_ROLE_MASS && k < part->count; k++) light[part->first + k] = bits;
    }
}

/* d f by each slot from d f by the model's own parameters: e1, e2 stand in the places of q, phi. */
static void slots_of_own(const lm_part *part, const double *values, double *slope)
{
    int at1 = -1, at2 = -1;
    for (unsigned i = 0; i < part->component.n_slots; i++) {
        if (part->component.slot[i].at == LM_SLOT_E1) at1 = (int)i;
        if (part->component.slot[i].at == LM_SLOT_E2) at2 = (int)i;
    }
    if (at1 < 0 || at2 < 0) return;
    double e1 = values[at1], e2 = values[at2], e = fmax(hypot(e1, e2), 1e-9);
    double by_q = slope[at1], by_phi = slope[at2], q_by_e = -2 / ((1 + e) * (1 + e));
    slope[at1] = by_q * q_by_e * e1 / e - by_phi * e2 / (2 * e * e);
    slope[at2] = by_q * q_by_e * e2 / e + by_phi * e1 / (2 * e * e);
}

void lm_lens_model_slope(const lm_lens_model *model, const double *x, const double (*mass)[LM_MASS_MOST],
                         const double (*light)[LM_LIGHT_PARAMS], double *slope)
{
    memset(slope, 0, model->n_params * sizeof *slope);
    for (size_t p = 0; p < model->n_parts; p++) {
        const lm_part *part = &model->parts[p];
        double own[LM_SLOTS] = {0}, values[LM_SLOTS];
        values_at(part, x, values);
        for (unsigned i = 0; i < part->component.n_slots; i++) {
            if (part->role == LM_ROLE_MASS) own[i] = mass[part->first][i];
            for (size_t k = 0; part->role != LM_ROLE_MASS && k < part->count; k++) own[i] += light[part->first + k][i];
        }
        slots_of_own(part, values, own);
        for (unsigned i = 0; i < part->component.n_slots; i++)
            if (part->free[i] >= 0) slope[part->free[i]] += own[i];
    }
}

/* ---- what was found, as components ---- */

static lm_status put_array(const lm_part *part, const double *amplitude, json_t *component, lm_error *err)
{
    if (!part->unit) return LM_OK;
    json_t *list = json_array();
    lm_status status = list ? LM_OK : LM_NOMEM(err);
    for (size_t k = 0; !status && k < part->count; k++)
        if (json_array_append_new(list, json_real(amplitude ? amplitude[part->first + k] : 1))) status = LM_NOMEM(err);
    if (!status && json_object_set(component, part->component.light->array.name, list)) status = LM_NOMEM(err);
    json_decref(list);
    return status;
}

static lm_status put_part(const lm_part *part, const json_t *tree, const double *x, const double *amplitude, json_t *to,
                          lm_error *err)
{
    json_t *component = json_deep_copy(tree);
    lm_status status = component && !json_array_append(to, component) ? LM_OK : LM_NOMEM(err);
    for (unsigned i = 0; !status && i < part->component.n_slots; i++) {
        const lm_slot *slot = &part->component.slot[i];
        bool linear = (int)i == part->linear;
        if (!slot->value && !linear) continue;
        double value = linear              ? amplitude ? amplitude[part->first] : 1
                       : part->free[i] < 0 ? part->value[i]
                                           : x[part->free[i]];
        if (json_object_set_new(component, slot->name, json_real(value))) status = LM_NOMEM(err);
    }
    if (!status) status = put_array(part, amplitude, component, err);
    json_decref(component);
    return status;
}

json_t *lm_lens_model_json(const lm_lens_model *model, lm_role role, const double *x, const double *amplitude)
{
    json_t *list = json_array();
    lm_status status = list ? LM_OK : LM_EMEMORY;
    for (size_t p = 0, i = 0; !status && p < model->n_parts; p++)
        if (model->parts[p].role == role)
            status = put_part(&model->parts[p], json_array_get(model->trees[role], i++), x, amplitude, list, NULL);
    if (!status) return list;
    json_decref(list);
    return NULL;
}
