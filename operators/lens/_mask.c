/* Reading the parameter `mask:`. See _mask.h. */
#include "operators/lens/_mask.h"

#include <string.h>

static lm_status pair_of(const json_t *tree, const char *name, double ret[2], lm_error *err)
{
    const json_t *pair = json_object_get(tree, name);
    if (!pair) return LM_OK;
    for (size_t i = 0; i < 2; i++) {
        const json_t *number = json_array_get(pair, i);
        if (json_array_size(pair) != 2 || !json_is_number(number))
            return LM_FAIL_HINT(err, LM_EINPUT, "For example: mask: {annulus: [0, 2.5]}",
                                "\"%s\" of \"mask\" is a list of two numbers, in arcsec", name);
        ret[i] = json_number_value(number);
    }
    return LM_OK;
}

static lm_status plane_of(const json_t *tree, const char *name, const char **ret, lm_error *err)
{
    const json_t *value = json_object_get(tree, name);
    if (value && !json_is_string(value))
        return LM_FAIL(err, LM_EINPUT, "\"%s\" of \"mask\" is the name of a tensor", name);
    *ret = json_string_value(value);
    return LM_OK;
}

typedef struct {
    double annulus[2], centre[2];
    const char *include, *exclude;
} rule;

static lm_status read_rule(const json_t *tree, rule *ret, lm_error *err)
{
    static const char *const names[] = {"annulus", "centre", "exclude", "include", NULL};
    const char *name;
    json_t *value;
    if (tree && !json_is_object(tree))
        return LM_FAIL_HINT(err, LM_EINPUT, "For example: mask: {annulus: [0, 2.5]}", "\"mask\" must be a map");
    json_object_foreach((json_t *)(uintptr_t)tree, name, value)
    {
        size_t i = 0;
        while (names[i] && strcmp(names[i], name) != 0) i++;
        if (!names[i])
            return LM_FAIL_HINT(err, LM_EINPUT, "It takes annulus, centre, exclude and include.",
                                "\"mask\" has no \"%s\"", name);
    }
    LM_TRY(pair_of(tree, "annulus", ret->annulus, err));
    LM_TRY(pair_of(tree, "centre", ret->centre, err));
    LM_TRY(plane_of(tree, "include", &ret->include, err));
    LM_TRY(plane_of(tree, "exclude", &ret->exclude, err));
    if (!(ret->annulus[0] >= 0) || !(ret->annulus[1] > ret->annulus[0]))
        return LM_FAIL(err, LM_EINPUT, "an annulus from %g to %g arcsec holds nothing", ret->annulus[0],
                       ret->annulus[1]);
    return LM_OK;
}

lm_status lm_mask_check(const json_t *tree, lm_error *err)
{
    rule r = {.annulus = {0, INFINITY}};
    return read_rule(tree, &r, err);
}

/* Takes away where a tensor is not 0, or, to keep, where it is. NaN is not good data: it is never kept. */
static lm_status apply_plane(lm_step *step, const lm_frame *f, const char *name, bool keep, unsigned char *mask,
                             lm_error *err)
{
    const lm_tensor *tensor = lm_step_peek(step, "in", name);
    if (!tensor)
        return LM_FAIL_HINT(err, LM_EINPUT, "Name a tensor of the record, or leave it out.",
                            "the record has no tensor \"%s\" for the mask", name);
    if (tensor->ndim != 2 || tensor->shape[0] != f->h || tensor->shape[1] != f->w ||
        !lm_dtype_fits(tensor->dtype, LM_NUMBERS))
        return LM_FAIL(err, LM_EINPUT,
                       "the mask \"%s\" is not of numbers, one for each of the image's %zu x %zu pixels", name, f->h,
                       f->w);
    const double *at = lm_step_peek_f64(step, tensor);
    if (!at) return LM_NOMEM(err);
    for (size_t i = 0; i < f->h * f->w; i++)
        if (isnan(at[i]) || (at[i] != 0) != keep) mask[i] = 0;
    return LM_OK;
}

lm_status lm_mask_read(const json_t *tree, lm_step *step, const lm_frame *f, unsigned char **ret, lm_error *err)
{
    rule r = {.annulus = {0, INFINITY}, .centre = {f->x, f->y}};
    LM_TRY(read_rule(tree, &r, err));
    if (!r.exclude && lm_step_peek(step, "in", "mask")) r.exclude = "mask";
    unsigned char *mask = lm_step_scratch(step, f->h, f->w);
    if (!mask) return LM_NOMEM(err);
    for (size_t i = 0; i < f->h * f->w; i++) {
        double x = f->x + ((double)(i % f->w) - (double)(f->w - 1) / 2) * f->pixel,
               y = f->y + ((double)(i / f->w) - (double)(f->h - 1) / 2) * f->pixel,
               radius = hypot(x - r.centre[0], y - r.centre[1]);
        mask[i] = radius >= r.annulus[0] && radius <= r.annulus[1];
    }
    if (r.exclude) LM_TRY(apply_plane(step, f, r.exclude, false, mask, err));
    if (r.include) LM_TRY(apply_plane(step, f, r.include, true, mask, err));
    *ret = mask;
    return LM_OK;
}
