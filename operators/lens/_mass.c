/* Reading the parameter `mass:`. See _mass.h. */
#include "operators/lens/_mass.h"

#include "runtime/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A component while it is read: its own parameters, and the other names that some of them have. */
typedef struct {
    lm_mass mass;
    double e1, e2, gamma; /* NaN: not given */
} reading;

static const char *type_of(const json_t *component)
{
    const char *type = json_string_value(json_object_get(component, "type"));
    return type ? type : "";
}

/* Where a name of a component leads to. NULL: the model has no such parameter. ret_angle: its unit is rad. */
static double *place_of(reading *r, const char *name, bool *ret_angle)
{
    const lm_mass_model *model = lm_mass_model_of(r->mass.kind);
    bool ellipse = lm_mass_param_of(r->mass.kind, "q") >= 0, slope = lm_mass_param_of(r->mass.kind, "t") >= 0;
    int at = lm_mass_param_of(r->mass.kind, name);
    *ret_angle = at >= 0 && strcmp(model->params[at].unit, "rad") == 0;
    if (at >= 0) return &r->mass.p[at];
    if (ellipse && strcmp(name, "e1") == 0) return &r->e1;
    if (ellipse && strcmp(name, "e2") == 0) return &r->e2;
    return slope && strcmp(name, "gamma") == 0 ? &r->gamma : NULL;
}

static lm_status begin(const json_t *component, size_t i, reading *r, lm_error *err)
{
    const char *type = type_of(component);
    lm_mass_kind kind = lm_mass_kind_of(strcmp(type, "nie") == 0 ? "sie" : type);
    if (kind == LM_MASS_KINDS) {
        char hint[256] = "Types are";
        lm_nearest nearest;
        lm_nearest_init(&nearest, type);
        for (unsigned k = 0; k < LM_MASS_KINDS; k++) {
            const char *name = lm_mass_model_of((lm_mass_kind)k)->name;
            lm_nearest_offer(&nearest, name);
            snprintf(hint + strlen(hint), sizeof hint - strlen(hint), "%s %s", k ? "," : "", name);
        }
        if (*type && nearest.best) snprintf(hint, sizeof hint, "Did you mean \"%s\"?", nearest.best);
        return LM_FAIL_HINT(err, LM_EINPUT, hint,
                            *type ? "component %zu has an unknown type \"%s\"" : "component %zu has no type%s", i + 1,
                            type);
    }
    *r = (reading){.mass = {.kind = kind}, .e1 = NAN, .e2 = NAN, .gamma = NAN};
    const lm_mass_model *model = lm_mass_model_of(kind);
    for (unsigned k = 0; k < model->n_params; k++) r->mass.p[k] = model->params[k].otherwise;
    return LM_OK;
}

static lm_status number_of(const json_t *value, const char *text, const char *name, bool angle, double *ret,
                           lm_error *err)
{
    if (json_is_number(value)) {
        *ret = json_number_value(value);
        return LM_OK;
    }
    char *end = NULL;
    double number = text ? strtod(text, &end) : (double)NAN;
    if (angle && text && lm_parse_angle(text, &number)) end = NULL;
    else if (!text || end == text || *end)
        return LM_FAIL(err, LM_EINPUT, "\"%s\" is %s%s%s: a number is wanted%s", name, text ? "\"" : "not a number",
                       text ? text : "", text ? "\"" : "", angle ? ", or an angle such as \"23 deg\"" : "");
    *ret = number;
    return LM_OK;
}

/* Puts other names' values where they belong, and looks at the whole. */
static lm_status finish(reading *r, lm_error *err)
{
    lm_mass *mass = &r->mass;
    const lm_mass_model *model = lm_mass_model_of(mass->kind);
    int q = lm_mass_param_of(mass->kind, "q"), phi = lm_mass_param_of(mass->kind, "phi"),
        t = lm_mass_param_of(mass->kind, "t");
    if (!isnan(r->e1) || !isnan(r->e2)) {
        if (isnan(r->e1) || isnan(r->e2) || !isnan(mass->p[q]))
            return LM_FAIL(err, LM_EINPUT, "an ellipse is given by q and phi, or by both of e1 and e2");
        double e = hypot(r->e1, r->e2);
        if (!(e < 1))
            return LM_FAIL(err, LM_EINPUT, "an ellipse of e1 = %g, e2 = %g is no ellipse: their norm must be below 1",
                           r->e1, r->e2);
        mass->p[q] = (1 - e) / (1 + e);
        mass->p[phi] = e > 0 ? atan2(r->e2, r->e1) / 2 : 0;
    }
    if (!isnan(r->gamma)) {
        if (!isnan(mass->p[t])) return LM_FAIL(err, LM_EINPUT, "a slope is given by t, or by gamma = t + 1");
        mass->p[t] = r->gamma - 1;
    }
    for (unsigned k = 0; k < model->n_params; k++)
        if (isnan(mass->p[k]))
            return LM_FAIL_HINT(err, LM_EINPUT, model->params[k].doc, "a mass of type \"%s\" needs \"%s\"", model->name,
                                model->params[k].name);
    return lm_mass_check(mass, err);
}

static lm_status unknown_name(const reading *r, const char *name, lm_error *err)
{
    const lm_mass_model *model = lm_mass_model_of(r->mass.kind);
    lm_nearest nearest;
    lm_nearest_init(&nearest, name);
    char hint[256] = "It takes";
    for (unsigned k = 0; k < model->n_params; k++) {
        lm_nearest_offer(&nearest, model->params[k].name);
        snprintf(hint + strlen(hint), sizeof hint - strlen(hint), "%s %s", k ? "," : "", model->params[k].name);
    }
    if (nearest.best) snprintf(hint, sizeof hint, "Did you mean \"%s\"?", nearest.best);
    return LM_FAIL_HINT(err, LM_EINPUT, hint, "a mass of type \"%s\" has no parameter \"%s\"", model->name, name);
}

/* step NULL: what a template will be is not known yet; *ret_whole: there was none. */
static lm_status read_one(const json_t *component, size_t i, lm_step *step, reading *r, bool *ret_whole, lm_error *err)
{
    *ret_whole = true;
    LM_TRY(begin(component, i, r, err));
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)component, name, value)
    {
        if (strcmp(name, "type") == 0) continue;
        bool angle = false;
        double *place = place_of(r, name, &angle);
        if (!place) return unknown_name(r, name, err);
        const char *text = json_string_value(value);
        if (text && strpbrk(text, "{}")) {
            *ret_whole = false;
            *place = 0.5; /* given; of e1 and e2 inside the range */
            if (!step) continue;
            LM_TRY_IN(lm_step_expand(step, text, NULL, &text, err), err, "\"%s\"", name);
        }
        LM_TRY(number_of(value, text, name, angle, place, err));
    }
    return LM_OK;
}

lm_status lm_masses_check(const json_t *list, lm_error *err)
{
    if (!json_is_array(list) || json_array_size(list) == 0)
        return LM_FAIL_HINT(err, LM_EINPUT, "For example: mass: [{type: sie, theta_E: 1.2, q: 0.7}]",
                            "\"mass\" must be a list of components");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *component = json_array_get(list, i);
        reading r;
        bool whole;
        if (!json_is_object(component))
            return LM_FAIL(err, LM_EINPUT, "component %zu of \"mass\" must be a map with a type", i + 1);
        LM_TRY_IN(read_one(component, i, NULL, &r, &whole, err), err, "\"mass\", component %zu", i + 1);
        if (whole) LM_TRY_IN(finish(&r, err), err, "\"mass\", component %zu", i + 1);
    }
    return LM_OK;
}

lm_status lm_masses_read(const json_t *list, lm_step *step, lm_mass **ret, size_t *ret_n, lm_error *err)
{
    size_t n = json_array_size(list);
    lm_mass *masses = lm_step_scratch(step, n, sizeof *masses);
    if (!masses) return LM_NOMEM(err);
    for (size_t i = 0; i < n; i++) {
        reading r;
        bool whole;
        LM_TRY_IN(read_one(json_array_get(list, i), i, step, &r, &whole, err), err, "\"mass\", component %zu", i + 1);
        LM_TRY_IN(finish(&r, err), err, "\"mass\", component %zu", i + 1);
        masses[i] = r.mass;
    }
    *ret = masses;
    *ret_n = n;
    return LM_OK;
}
