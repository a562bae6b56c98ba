/* Reading the parameter `source:`. See _source.h. */
#include "operators/lens/_source.h"

#include "runtime/text.h"

#include <string.h>

static const char *const names[] = {"type",       "grid",  "shape", "pixel",  "centre", "margin", "trim", "n",
                                    "brightness", "floor", "prior", "length", "slope",  "jitter", NULL};

static lm_status check_names(const json_t *tree, lm_error *err)
{
    const char *name;
    json_t *value;
    if (!json_is_object(tree))
        return LM_FAIL_HINT(err, LM_EINPUT, "For example: source: {shape: [60, 60], prior: curvature}",
                            "\"source\" must be a map");
    json_object_foreach((json_t *)(uintptr_t)tree, name, value)
    {
        lm_nearest nearest;
        lm_nearest_init(&nearest, name);
        size_t i = 0;
        for (; names[i] && strcmp(names[i], name) != 0; i++) lm_nearest_offer(&nearest, names[i]);
        if (names[i]) continue;
        char hint[128] = "It takes shape, prior, and others: see the operator's page.";
        if (nearest.best) snprintf(hint, sizeof hint, "Did you mean \"%s\"?", nearest.best);
        return LM_FAIL_HINT(err, LM_EINPUT, hint, "\"source\" has no \"%s\"", name);
    }
    return LM_OK;
}

static lm_status word_of(const json_t *tree, const char *name, const char *const *words, int *ret, lm_error *err)
{
    const json_t *value = json_object_get(tree, name);
    if (!value) return LM_OK;
    const char *text = json_string_value(value);
    char hint[256] = "It is one of";
    for (int i = 0; words[i]; i++) {
        if (text && strcmp(text, words[i]) == 0) {
            *ret = i;
            return LM_OK;
        }
        snprintf(hint + strlen(hint), sizeof hint - strlen(hint), "%s %s", i ? "," : "", words[i]);
    }
    return LM_FAIL_HINT(err, LM_EINPUT, hint, "the \"%s\" of \"source\" is unknown: \"%s\"", name,
                        text ? text : "no word");
}

static lm_status number_of(const json_t *tree, const char *name, double *ret, lm_error *err)
{
    const json_t *value = json_object_get(tree, name);
    if (!value) return LM_OK;
    if (!json_is_number(value)) return LM_FAIL(err, LM_EINPUT, "\"%s\" of \"source\" must be a number", name);
    *ret = json_number_value(value);
    return LM_OK;
}

static lm_status pair_of(const json_t *tree, const char *name, bool whole, double ret[2], lm_error *err)
{
    const json_t *pair = json_object_get(tree, name);
    if (!pair) return LM_OK;
    for (size_t i = 0; i < 2; i++) {
        const json_t *number = json_array_get(pair, i);
        if (json_array_size(pair) != 2 || !(whole ? json_is_integer(number) : json_is_number(number)))
            return LM_FAIL_HINT(err, LM_EINPUT, "For example: source: {shape: [60, 60], prior: curvature}",
                                "\"%s\" of \"source\" is a list of two %snumbers", name, whole ? "whole " : "");
        ret[i] = json_number_value(number);
        if (whole && !(ret[i] >= 1 && ret[i] <= 4096))
            return LM_FAIL(err, LM_EINPUT, "a side of %g source pixels: 1 to 4096 can be", ret[i]);
    }
    return LM_OK;
}

lm_status lm_source_read(const json_t *tree, lm_inverter_model *ret, size_t *ret_h, size_t *ret_w, lm_error *err)
{
    static const char *const types[] = {"pixels", NULL};
    double shape[2] = {60, 60}, centre[2] = {0, 0}, n = 1500;
    int type = 0, kind = LM_SOURCE_REGULAR, prior = LM_PRIOR_CURVATURE;
    lm_source_shape s = {.pixel = NAN, .margin = 1, .trim = 0.03, .floor = 0.01};
    lm_prior p = {.length = NAN, .slope = NAN};
    LM_TRY(check_names(tree, err));
    LM_TRY(word_of(tree, "type", types, &type, err));
    LM_TRY(word_of(tree, "grid", lm_source_kind_names, &kind, err));
    LM_TRY(word_of(tree, "prior", lm_prior_kind_names, &prior, err));
    LM_TRY(pair_of(tree, "shape", true, shape, err));
    LM_TRY(pair_of(tree, "centre", false, centre, err));
    LM_TRY(number_of(tree, "pixel", &s.pixel, err));
    LM_TRY(number_of(tree, "margin", &s.margin, err));
    LM_TRY(number_of(tree, "trim", &s.trim, err));
    LM_TRY(number_of(tree, "n", &n, err));
    LM_TRY(number_of(tree, "brightness", &s.brightness, err));
    LM_TRY(number_of(tree, "floor", &s.floor, err));
    LM_TRY(number_of(tree, "length", &p.length, err));
    LM_TRY(number_of(tree, "slope", &p.slope, err));
    LM_TRY(number_of(tree, "jitter", &p.jitter, err));
    s.kind = (lm_source_kind)kind;
    p.kind = (lm_prior_kind)prior;
    s.h = (size_t)shape[0];
    s.w = (size_t)shape[1];
    s.x = centre[0];
    s.y = centre[1];
    s.n = n >= 3 && n <= 1e7 ? (size_t)n : 0;
    LM_TRY(lm_source_shape_check(&s, err));
    LM_TRY(lm_prior_check(&p, &s, err));
    ret->source = s;
    ret->prior = p;
    *ret_h = s.h;
    *ret_w = s.w;
    return LM_OK;
}
