/* Reading psf: and noise:. See _observe.h. */
#include "operators/lens/_observe.h"

#include "operators/lens/_components.h"
#include "runtime/text.h"

#include <math.h>
#include <string.h>

#define COUNT(list) (sizeof(list) / sizeof *(list))

/* ---- numbers by name --------------------------------------------------------------------------------------------- */

static lm_status check_names(const json_t *tree, const char *param, const lm_number *names, size_t n,
                             const char *const *other, lm_error *err)
{
    const char *name;
    json_t *value;
    if (!json_is_object(tree)) return LM_FAIL(err, LM_EINPUT, "\"%s\" is a list of names and values", param);
    json_object_foreach((json_t *)(uintptr_t)tree, name, value)
    {
        bool known = false;
        lm_nearest nearest;
        lm_nearest_init(&nearest, name);
        for (size_t i = 0; i < n; i++) {
            known |= strcmp(name, names[i].name) == 0;
            lm_nearest_offer(&nearest, names[i].name);
        }
        for (size_t i = 0; other && other[i]; i++) {
            known |= strcmp(name, other[i]) == 0;
            lm_nearest_offer(&nearest, other[i]);
        }
        if (known) continue;
        char hint[128] = "";
        if (nearest.best) snprintf(hint, sizeof hint, "Did you mean \"%s\"?", nearest.best);
        return LM_FAIL_HINT(err, LM_EINPUT, hint, "\"%s\" has no \"%s\"", param, name);
    }
    return LM_OK;
}

lm_status lm_numbers_read(const json_t *tree, const char *param, const lm_number *names, size_t n,
                          const char *const *other, lm_step *step, double *ret, lm_error *err)
{
    LM_TRY(check_names(tree, param, names, n, other, err));
    for (size_t i = 0; i < n; i++) {
        const lm_number *of = &names[i];
        const json_t *value = json_object_get(tree, of->name);
        ret[i] = of->otherwise;
        if (!value || json_is_null(value)) continue;
        bool known;
        const lm_slot slot = {.name = of->name, .unit = of->unit, .doc = "", .value = value, .otherwise = NAN};
        LM_TRY_IN(lm_slot_number(&slot, step, &ret[i], &known, err), err, "\"%s\"", param);
        if (!known) ret[i] = NAN;
        else if (!(ret[i] >= of->min && ret[i] <= of->max))
            return LM_FAIL(err, LM_EINPUT, "\"%s\" of \"%s\" is %g: it must lie between %g and %g", of->name, param,
                           ret[i], of->min, of->max);
    }
    return LM_OK;
}

/* One of some words; the first is the default. */
static lm_status read_word(const json_t *tree, const char *param, const char *name, const char *const *words, int *ret,
                           lm_error *err)
{
    const json_t *value = json_object_get(tree, name);
    const char *word = value ? json_string_value(value) : words[0];
    for (int i = 0; word && words[i]; i++)
        if (strcmp(word, words[i]) == 0) {
            *ret = i;
            return LM_OK;
        }
    char hint[128] = "It may be";
    for (int i = 0; words[i]; i++)
        snprintf(hint + strlen(hint), sizeof hint - strlen(hint), "%s %s", i ? "," : "", words[i]);
    return LM_FAIL_HINT(err, LM_EINPUT, hint, "\"%s\" of \"%s\" is \"%s\"", name, param, word ? word : "no word");
}

/* A tensor of the record by name. */
static lm_status find_tensor(lm_step *step, const char *param, const char *name, const lm_tensor **ret_tensor,
                             const double **ret, lm_error *err)
{
    LM_TRY_IN(lm_step_expand(step, name, NULL, &name, err), err, "\"%s\"", param);
    const lm_tensor *tensor = lm_step_peek(step, "in", name);
    if (!tensor) return LM_FAIL(err, LM_EINPUT, "\"%s\": the record has no tensor \"%s\"", param, name);
    if (tensor->ndim != 2 || tensor->shape[0] == 0 || tensor->shape[1] == 0 || tensor->dtype == LM_C64 ||
        tensor->dtype == LM_C128)
        return LM_FAIL(err, LM_EINPUT, "\"%s\": tensor \"%s\" is no image of real numbers", param, name);
    *ret = lm_step_peek_f64(step, tensor);
    if (!*ret) return LM_NOMEM(err);
    *ret_tensor = tensor;
    return LM_OK;
}

/* ---- psf: -------------------------------------------------------------------------------------------------------- */

#define GAUSSIAN_BEYOND 1e-3
#define MOFFAT_BEYOND 5e-3
enum { MOST_SUB = 64, MOST_SIDE = 4095 };

static lm_status choose_profile(const json_t *tree, bool moffat, lm_step *step, lm_psf_choice *ret, lm_error *err)
{
    static const lm_number names[] = {{"fwhm", "arcsec", NAN, 0, 1e6},
                                      {"q", "", 1, 0, 1},
                                      {"phi", "rad", 0, -1e6, 1e6},
                                      {"radius", "arcsec", NAN, 0, 1e6},
                                      {"beta", "", NAN, 0, 1e6}};
    static const char *const other[] = {"type", NULL};
    double v[COUNT(names)];
    LM_TRY(lm_numbers_read(tree, "psf", names, moffat ? 5 : 4, other, step, v, err));
    if (!json_object_get(tree, "fwhm") || (moffat && !json_object_get(tree, "beta")))
        return LM_FAIL_HINT(err, LM_EINPUT, "For example: {type: moffat, fwhm: 0.7, beta: 3}.",
                            "\"psf\" needs \"fwhm\"%s", moffat ? " and \"beta\"" : ", in arcsec");
    ret->from = LM_PSF_PROFILE;
    ret->profile = (lm_psf_profile){moffat ? LM_PSF_MOFFAT : LM_PSF_GAUSSIAN, v[0], moffat ? v[4] : 0, v[1], v[2]};
    for (size_t i = 0; !step && i < (moffat ? 5 : 4); i++)
        if (isnan(v[i]) && i != 3) return LM_OK; /* a template: what it is will be seen */
    LM_TRY_IN(lm_psf_profile_check(&ret->profile, err), err, "\"psf\"");
    ret->radius = v[3];
    if (isnan(v[3])) ret->radius = lm_psf_profile_radius(&ret->profile, moffat ? MOFFAT_BEYOND : GAUSSIAN_BEYOND);
    return LM_OK;
}

lm_status lm_psf_choose(const json_t *tree, lm_step *step, lm_psf_choice *ret, lm_error *err)
{
    static const char *const types[] = {"gaussian", "moffat", "tensor", NULL};
    static const char *const other[] = {"type", "tensor", NULL};
    static const lm_number names[] = {{"samples", "", 1, 1, MOST_SUB}};
    int type;
    *ret = (lm_psf_choice){.samples = 1};
    if (!tree || json_is_null(tree)) return LM_OK;
    if (!json_object_get(tree, "type"))
        return LM_FAIL_HINT(err, LM_EINPUT, "It may be gaussian, moffat or tensor.", "\"psf\" has no type");
    LM_TRY(read_word(tree, "psf", "type", types, &type, err));
    if (type < 2) return choose_profile(tree, type == 1, step, ret, err);
    double samples;
    LM_TRY(lm_numbers_read(tree, "psf", names, COUNT(names), other, step, &samples, err));
    ret->from = LM_PSF_TENSOR;
    ret->tensor = json_string_value(json_object_get(tree, "tensor"));
    if (!ret->tensor) return LM_FAIL(err, LM_EINPUT, "\"psf\" needs the name of a \"tensor\"");
    if (isnan(samples)) return LM_OK;
    if (samples != floor(samples))
        return LM_FAIL(err, LM_EINPUT, "\"samples\" of \"psf\" is %g: a whole number is wanted", samples);
    ret->samples = (int64_t)samples;
    return LM_OK;
}

static lm_status make_profile(const lm_psf_choice *c, const lm_frame *frame, unsigned samples, lm_step *step,
                              lm_psf *ret, lm_error *err)
{
    double diagonal = hypot((double)frame->h, (double)frame->w) * frame->pixel, pixel = frame->pixel / samples;
    size_t half = (size_t)ceil(fmin(c->radius, diagonal) / pixel), n = 2 * half + 1;
    if (n > MOST_SIDE)
        return LM_FAIL_HINT(err, LM_EINPUT, "Give a smaller \"radius\", or a smaller \"sub\".",
                            "a PSF of %zu x %zu pixels: more than %d are not made along a side", n, n, MOST_SIDE);
    double *pixels = lm_step_scratch(step, n * n, sizeof *pixels);
    if (!pixels) return LM_NOMEM(err);
    lm_psf_profile_fill(&c->profile, pixel, 0, 0, n, pixels);
    return lm_psf_init(ret, pixels, n, n, LM_PSF_MIDDLE, true, err);
}

lm_status lm_psf_make(const lm_psf_choice *c, const lm_frame *frame, unsigned samples, lm_step *step, lm_psf *ret,
                      lm_error *err)
{
    *ret = (lm_psf){0};
    if (c->from == LM_PSF_PROFILE) return make_profile(c, frame, samples, step, ret, err);
    const lm_tensor *tensor;
    const double *pixels;
    LM_TRY(find_tensor(step, "psf", c->tensor, &tensor, &pixels, err));
    LM_TRY_IN(lm_psf_init(ret, pixels, tensor->shape[0], tensor->shape[1], LM_PSF_MIDDLE, true, err), err, "\"psf\"");
    return LM_OK;
}

/* ---- noise: ------------------------------------------------------------------------------------------------------ */

enum { MOST_TABLE = 100000 };

static lm_status choose_rays(const json_t *tree, lm_step *step, lm_noise_choice *ret, lm_error *err)
{
    static const lm_number names[] = {
        {"rate", "", 1, 0, 1e9}, {"thickness", "micron", 15, 0.1, 1e4}, {"pitch", "micron", 15, 0.1, 1e4}};
    double v[COUNT(names)];
    if (!tree) return LM_OK;
    LM_TRY(lm_numbers_read(tree, "cosmic_rays", names, COUNT(names), NULL, step, v, err));
    ret->has_rays = true;
    ret->rays = (lm_cosmic_rays){v[0], v[1], v[2]};
    if (!ret->detects)
        return LM_FAIL(err, LM_EINPUT, "\"noise\" has cosmic_rays, but no \"exposure\" in which they hit");
    return LM_OK;
}

/* Which of the ways correlated noise is given in. */
typedef enum { AS_LAW, AS_TABLE, AS_POWER, AS_FUNCTION } correlated_as;
static const lm_number law_names[] = {{"scale", "pix", 1, 0, 1e6}, {"slope", "", 4, 0, 100}};

static lm_status read_correlated(const json_t *tree, lm_step *step, correlated_as *ret, double *ret_law, lm_error *err)
{
    static const char *const other[] = {"table", "power", "function", NULL};
    LM_TRY(lm_numbers_read(tree, "correlated", law_names, COUNT(law_names), other, step, ret_law, err));
    unsigned ways = 0;
    *ret = AS_LAW;
    for (int i = 0; other[i]; i++)
        if (json_object_get(tree, other[i])) {
            ways++;
            *ret = (correlated_as)(AS_TABLE + i);
        }
    if (json_object_get(tree, "scale") || json_object_get(tree, "slope")) ways++;
    if (ways != 1)
        return LM_FAIL_HINT(err, LM_EINPUT, "For example: correlated: {scale: 2, slope: 4}.",
                            "\"correlated\" takes one of scale and slope, table, power, function");
    if (*ret == AS_TABLE) {
        const json_t *rows = json_object_get(tree, "table");
        bool good = json_array_size(rows) > 0 && json_array_size(rows) <= MOST_TABLE;
        for (size_t i = 0; good && i < json_array_size(rows); i++) {
            const json_t *row = json_array_get(rows, i);
            good = json_array_size(row) == 2 && json_is_number(json_array_get(row, 0)) &&
                   json_is_number(json_array_get(row, 1));
        }
        if (!good)
            return LM_FAIL(err, LM_EINPUT,
                           "the \"table\" of \"correlated\" is a list of pairs, cycles per pixel and power");
    } else if (*ret != AS_LAW && !json_is_string(json_object_get(tree, other[*ret - AS_TABLE]))) {
        return LM_FAIL(err, LM_EINPUT, "\"%s\" of \"correlated\" is the name of a tensor", other[*ret - AS_TABLE]);
    }
    return LM_OK;
}

lm_status lm_noise_choose(const json_t *tree, lm_step *step, lm_noise_choice *ret, lm_error *err)
{
    enum { BACKGROUND, EXPOSURE, EXPOSURES, SKY, DARK, READ_NOISE, GAIN, FULL_WELL, MISSING, HOT, HOT_CURRENT, NAMES };
    static const lm_number names[NAMES] = {{"background", "", NAN, 0, 1e300},
                                           {"exposure", "s", NAN, -INFINITY, INFINITY},
                                           {"exposures", "", 1, 1, LM_EXPOSURES_MOST},
                                           {"sky", "", 0, 0, 1e300},
                                           {"dark", "", 0, 0, 1e300},
                                           {"read_noise", "", 0, 0, 1e300},
                                           {"gain", "", 0, 0, 1e300},
                                           {"full_well", "", INFINITY, 0, INFINITY},
                                           {"missing", "", 0, 0, 1},
                                           {"hot", "", 0, 0, 1},
                                           {"hot_current", "", 1, 0, 1e300}};
    static const char *const other[] = {"photons", "map", "cosmic_rays", "correlated", NULL};
    static const char *const photons[] = {"poisson", "gaussian", NULL}, *const maps[] = {"model", "data", NULL};
    double v[NAMES];
    int gaussian, data;
    *ret = (lm_noise_choice){.background = 0};
    if (!tree || json_is_null(tree)) return LM_OK;
    LM_TRY(lm_numbers_read(tree, "noise", names, NAMES, other, step, v, err));
    LM_TRY(read_word(tree, "noise", "photons", photons, &gaussian, err));
    LM_TRY(read_word(tree, "noise", "map", maps, &data, err));
    ret->correlated = json_object_get(tree, "correlated");
    ret->background = json_object_get(tree, "background") || ret->correlated ? v[BACKGROUND] : 0;
    ret->detects = json_object_get(tree, "exposure") != NULL;
    ret->data_map = data == 1;
    ret->missing = v[MISSING];
    ret->hot = v[HOT];
    ret->hot_current = v[HOT_CURRENT];
    static const char *const of_exposure[] = {"exposures", "sky",     "dark", "read_noise", "gain",
                                              "full_well", "photons", "hot",  "hot_current"};
    for (size_t i = 0; !ret->detects && i < COUNT(of_exposure); i++)
        if (json_object_get(tree, of_exposure[i]))
            return LM_FAIL_HINT(err, LM_EINPUT, "Give \"exposure\", in seconds, too.",
                                "\"noise\" has \"%s\", but no \"exposure\" in which light is collected",
                                of_exposure[i]);
    LM_TRY(choose_rays(json_object_get(tree, "cosmic_rays"), step, ret, err));
    correlated_as as;
    double law[COUNT(law_names)];
    if (ret->correlated) LM_TRY(read_correlated(ret->correlated, step, &as, law, err));
    if (!ret->detects) return LM_OK;
    bool whole = true;
    for (size_t i = EXPOSURE; i < NAMES; i++) whole &= !isnan(v[i]);
    if (!whole && !step) return LM_OK;
    if (v[EXPOSURES] != floor(v[EXPOSURES]))
        return LM_FAIL(err, LM_EINPUT, "\"exposures\" of \"noise\" is %g: a whole number is wanted", v[EXPOSURES]);
    ret->detector = (lm_detector){v[EXPOSURE], (unsigned)v[EXPOSURES], v[SKY],       v[DARK], v[READ_NOISE],
                                  v[GAIN],     v[FULL_WELL],           gaussian == 1};
    LM_TRY_IN(lm_detector_check(&ret->detector, err), err, "\"noise\"");
    return LM_OK;
}

static lm_status correlated_table(const json_t *rows, size_t h, size_t w, double rms, lm_step *step,
                                  lm_correlated **ret, lm_error *err)
{
    size_t n = json_array_size(rows);
    double *k = lm_step_scratch(step, n, sizeof *k), *power = lm_step_scratch(step, n, sizeof *power);
    if (!k || !power) return LM_NOMEM(err);
    for (size_t i = 0; i < n; i++) {
        k[i] = json_number_value(json_array_get(json_array_get(rows, i), 0));
        power[i] = json_number_value(json_array_get(json_array_get(rows, i), 1));
    }
    return lm_correlated_of_table(h, w, k, power, n, rms, ret, err);
}

lm_status lm_noise_correlated(const lm_noise_choice *c, size_t h, size_t w, lm_step *step, lm_correlated **ret,
                              lm_error *err)
{
    const json_t *tree = c->correlated;
    correlated_as as;
    double law[COUNT(law_names)];
    LM_TRY(read_correlated(tree, step, &as, law, err));
    const lm_tensor *tensor;
    const double *values;
    switch (as) {
    case AS_LAW:
        if (isnan(c->background))
            return LM_FAIL(err, LM_EINPUT,
                           "\"correlated\" has a shape alone: \"noise\" needs \"background\", its "
                           "standard deviation");
        return lm_correlated_of_law(h, w, law[0], law[1], c->background, ret, err);
    case AS_TABLE: return correlated_table(json_object_get(tree, "table"), h, w, c->background, step, ret, err);
    case AS_POWER:
        LM_TRY(find_tensor(step, "power", json_string_value(json_object_get(tree, "power")), &tensor, &values, err));
        return lm_correlated_of_power(h, w, values, tensor->shape[0], tensor->shape[1], c->background, ret, err);
    case AS_FUNCTION:
        LM_TRY(
            find_tensor(step, "function", json_string_value(json_object_get(tree, "function")), &tensor, &values, err));
        return lm_correlated_of_function(h, w, values, tensor->shape[0], tensor->shape[1], c->background, ret, err);
    }
    return LM_FAIL(err, LM_EBUG, "no such correlated noise");
}
