/* Templates of COOLEST: which entity is lens and which is source, and the components of their profiles. See
 * _coolest.h. */
#include "operators/io/_coolest.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const lm_coolest_list_names[LM_COOLEST_LISTS] = {"mass", "source", "light"};

lm_status lm_coolest_check(const json_t *doc, lm_error *err)
{
    const char *standard = json_string_value(json_object_get(doc, "standard"));
    if (json_object_get(doc, "py/object"))
        return LM_FAIL_HINT(err, LM_EINPUT, "Read the plain file beside it, or write one with dump_simple().",
                            "it is a COOLEST template pickled by Python, not one in plain JSON");
    if (!standard || strcmp(standard, "COOLEST") != 0)
        return LM_FAIL(err, LM_EINPUT, "it is no COOLEST template: \"standard\" is %s%s%s", standard ? "\"" : "missing",
                       standard ? standard : "", standard ? "\"" : "");
    if (!json_is_array(json_object_get(doc, "lensing_entities")))
        return LM_FAIL(err, LM_EINPUT, "the COOLEST template has no list \"lensing_entities\"");
    return LM_OK;
}

/* ---- which is the source ---- */

static double redshift(const json_t *entity)
{
    const json_t *z = json_object_get(entity, "redshift");
    return json_is_number(z) ? json_number_value(z) : (double)NAN;
}

static bool has(const json_t *entity, const char *model)
{
    return json_array_size(json_object_get(entity, model)) > 0;
}

bool lm_coolest_is_galaxy(const json_t *entity)
{
    const char *type = json_string_value(json_object_get(entity, "type"));
    return !type || strcmp(type, "MassField") != 0;
}

typedef struct {
    double nearest, farthest; /* redshifts; NaN: none */
    bool mass;                /* some entity has a mass */
} survey;

static survey look_over(const json_t *entities)
{
    survey s = {(double)NAN, (double)NAN, false};
    for (size_t i = 0; i < json_array_size(entities); i++) {
        const json_t *e = json_array_get(entities, i);
        s.nearest = fmin(s.nearest, redshift(e));
        s.farthest = fmax(s.farthest, redshift(e));
        s.mass = s.mass || has(e, "mass_model");
    }
    return s;
}

/* What we wrote ourselves says which entities are sources: `meta: {lensmill: {sources: [2]}}`. */
static bool is_source(const json_t *doc, size_t i, const survey *s)
{
    const json_t *entity = json_array_get(json_object_get(doc, "lensing_entities"), i);
    const json_t *said = json_object_get(json_object_get(json_object_get(doc, "meta"), "lensmill"), "sources");
    for (size_t k = 0; k < json_array_size(said); k++)
        if (json_integer_value(json_array_get(said, k)) == (json_int_t)i) return lm_coolest_is_galaxy(entity);
    if (json_is_array(said)) return false;
    double z = redshift(entity);
    if (!lm_coolest_is_galaxy(entity)) return false;
    if (s->farthest > s->nearest && !isnan(z)) return z == s->farthest;
    return s->mass && !has(entity, "mass_model");
}

bool lm_coolest_is_source(const json_t *doc, size_t i)
{
    survey s = look_over(json_object_get(doc, "lensing_entities"));
    return is_source(doc, i, &s);
}

/* ---- places ---- */

void lm_coolest_id(const json_t *entity, size_t i, bool light, size_t k, char ret[LM_COOLEST_NAME])
{
    const json_t *profile = json_array_get(json_object_get(entity, light ? "light_model" : "mass_model"), k);
    const char *type = json_string_value(json_object_get(profile, "type"));
    snprintf(ret, LM_COOLEST_NAME, "%zu-%s-%s-%zu-%.40s", i, lm_coolest_is_galaxy(entity) ? "galaxy" : "massfield",
             light ? "light" : "mass", k, type ? type : "");
}

static bool is_grid(const char *type)
{
    return strstr(type, "Grid") != NULL;
}

static lm_status add_places(lm_coolest_model *m, size_t *cap, json_t *entity, size_t i, bool source, bool light,
                            unsigned grids[LM_COOLEST_LISTS], lm_error *err)
{
    json_t *profiles = json_object_get(entity, light ? "light_model" : "mass_model");
    for (size_t k = 0; k < json_array_size(profiles); k++) {
        json_t *profile = json_array_get(profiles, k);
        const char *type = json_string_value(json_object_get(profile, "type"));
        if (!type) return LM_FAIL(err, LM_EINPUT, "a profile of lensing entity %zu has no \"type\"", i + 1);
        if (!lm_grow(&m->places, m->n_places, cap, sizeof *m->places)) return LM_NOMEM(err);
        lm_coolest_place *p = &m->places[m->n_places++];
        *p = (lm_coolest_place){.profile = profile,
                                .list = !light   ? LM_COOLEST_MASS
                                        : source ? LM_COOLEST_SOURCE
                                                 : LM_COOLEST_LIGHT,
                                .of_source = source && !light};
        lm_coolest_id(entity, i, light, k, p->id);
        if (!is_grid(type)) continue;
        unsigned number = ++grids[p->list];
        int n = snprintf(p->tensor, sizeof p->tensor, "%s_pixels", lm_coolest_list_names[p->list]);
        if (number > 1) snprintf(p->tensor + n, sizeof p->tensor - (size_t)n, "_%u", number);
    }
    return LM_OK;
}

static lm_status find_places(const json_t *doc, lm_coolest_model *m, lm_error *err)
{
    const json_t *entities = json_object_get(doc, "lensing_entities");
    survey s = look_over(entities);
    unsigned grids[LM_COOLEST_LISTS] = {0};
    size_t cap = 0;
    double other = NAN;
    for (size_t i = 0; i < json_array_size(entities); i++) {
        json_t *e = json_array_get(entities, i);
        bool source = is_source(doc, i, &s);
        if (!json_is_object(e)) return LM_FAIL(err, LM_EINPUT, "lensing entity %zu is no object", i + 1);
        if (source && isnan(m->z_source)) m->z_source = redshift(e);
        if (!source && has(e, "mass_model") && !isnan(redshift(e))) {
            if (isnan(m->z_lens)) m->z_lens = redshift(e);
            else if (redshift(e) != m->z_lens) other = redshift(e);
        }
        LM_TRY(add_places(m, &cap, e, i, source, false, grids, err));
        if (lm_coolest_is_galaxy(e)) LM_TRY(add_places(m, &cap, e, i, source, true, grids, err));
    }
    if (!isnan(other))
        lm_text_format(&m->warnings, "masses at redshifts %g and %g are taken into one plane\n", m->z_lens, other);
    return LM_OK;
}

/* ---- components ---- */

/* Takes the component over, also on failure. */
static lm_status add_entry(lm_coolest_model *m, lm_coolest_list list, size_t cap[LM_COOLEST_LISTS], json_t *component,
                           json_t *profile, lm_error *err)
{
    if (!component || !lm_grow(&m->at[list], m->n[list], &cap[list], sizeof **m->at)) {
        json_decref(component);
        return LM_NOMEM(err);
    }
    m->at[list][m->n[list]++] = (lm_coolest_entry){component, profile};
    return LM_OK;
}

static lm_status add_converted(lm_coolest_model *m, size_t cap[LM_COOLEST_LISTS], lm_coolest_place *p, lm_error *err)
{
    char why[LM_COOLEST_WHY];
    json_t *component = NULL;
    p->taken = true;
    if (p->of_source) snprintf(why, sizeof why, "it is the source's mass, which does not lens it");
    else
        LM_TRY(lm_coolest_component(p->profile, p->list != LM_COOLEST_MASS, m->pixel, p->tensor, &component, why, err));
    if (component) return add_entry(m, p->list, cap, component, p->profile, err);
    const char *type = json_string_value(json_object_get(p->profile, "type"));
    lm_text_format(&m->warnings, "profile %s is not in \"%s\", it stays in \"coolest_meta\" alone: %s\n", type,
                   lm_coolest_list_names[p->list], why);
    return LM_OK;
}

static lm_coolest_place *place_of(lm_coolest_model *m, lm_coolest_list list, const char *id)
{
    for (size_t i = 0; i < m->n_places; i++)
        if (!m->places[i].taken && m->places[i].list == list && strcmp(m->places[i].id, id) == 0) return &m->places[i];
    return NULL;
}

static bool is_reserved(const char *tensor)
{
    static const char *const reserved[] = {"image", "noise", "psf", "mask"};
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (strcmp(tensor, reserved[i]) == 0) return true;
    return false;
}

/* The pixels of a file have the factor amp of their component in them already, and are per pixel of the instrument. */
static bool fit_to_file(lm_coolest_model *m, lm_coolest_place *p, json_t *component)
{
    const char *image = json_string_value(json_object_get(component, "image"));
    const json_t *given = json_object_get(component, "amp");
    double area = m->pixel > 0 ? m->pixel * m->pixel : 1;
    double factor = (given ? json_number_value(given) : 1) * area;
    if (image && !is_reserved(image) && strlen(image) < sizeof p->tensor) strcpy(p->tensor, image);
    if (json_object_set_new(component, "image", json_string(p->tensor))) return false;
    return fabs(factor - 1) <= 1e-15 || json_object_set_new(component, "amp", json_real(1 / area)) == 0;
}

/* A component that we wrote: as it was, if its profile still has its numbers. */
static lm_status add_kept(lm_coolest_model *m, lm_coolest_list list, size_t cap[LM_COOLEST_LISTS], const json_t *item,
                          double shift[2], lm_error *err)
{
    const json_t *component = json_object_get(item, "component");
    const char *id = json_string_value(json_object_get(item, "profile"));
    const double nowhere[2] = {0, 0};
    bool light = list != LM_COOLEST_MASS;
    lm_coolest_profile numbers;
    const char *why = NULL;
    lm_error fault;
    lm_error_clear(&fault);
    if (!json_is_object(component)) return LM_OK;
    lm_coolest_place *p = id ? place_of(m, list, id) : NULL;
    if (id && !p) return LM_OK; /* somebody took the profile away */
    const json_t *grid = p ? json_object_get(json_object_get(p->profile, "parameters"), "pixels") : NULL;
    lm_status status =
        lm_coolest_numbers(component, light, list == LM_COOLEST_SOURCE ? shift : nowhere,
                           (size_t)json_integer_value(json_object_get(grid, "num_pix_x")),
                           (size_t)json_integer_value(json_object_get(grid, "num_pix_y")), &numbers, &why, &fault);
    bool same = !status && p && !why && lm_coolest_same(p->profile, &numbers);
    lm_coolest_profile_done(&numbers);
    if (status == LM_EMEMORY) return LM_NOMEM(err);
    if (status) {
        lm_text_format(&m->warnings, "a component in \"meta\" is left out: %s\n", fault.text);
        return LM_OK;
    }
    if (p && !same) return add_converted(m, cap, p, err);
    LM_OWN(json_t) copy = json_deep_copy(component);
    if (!copy) return LM_NOMEM(err);
    if (p) {
        p->taken = true;
        if (*p->tensor && !fit_to_file(m, p, copy)) return LM_NOMEM(err);
    }
    if (!light) lm_coolest_shift_of(copy, shift);
    return add_entry(m, list, cap, lm_take(copy), p ? p->profile : NULL, err);
}

/* The side of the instrument's pixel, or of the observation's; NaN: neither. */
static double pixel_of(const json_t *doc)
{
    const json_t *side = json_object_get(json_object_get(doc, "instrument"), "pixel_size");
    if (json_is_number(side) && json_number_value(side) > 0) return json_number_value(side);
    const json_t *grid = json_object_get(json_object_get(doc, "observation"), "pixels");
    const json_t *field = json_object_get(grid, "field_of_view_x"), *n = json_object_get(grid, "num_pix_x");
    double width = json_number_value(json_array_get(field, 1)) - json_number_value(json_array_get(field, 0));
    double pixel = fabs(width) / json_number_value(n);
    return isfinite(pixel) && pixel > 0 ? pixel : (double)NAN;
}

lm_status lm_coolest_read(const json_t *doc, lm_coolest_model *ret, lm_error *err)
{
    const json_t *ours = json_object_get(json_object_get(doc, "meta"), "lensmill");
    size_t cap[LM_COOLEST_LISTS] = {0};
    double shift[2] = {0, 0};
    *ret = (lm_coolest_model){.z_lens = NAN, .z_source = NAN, .pixel = pixel_of(doc)};
    lm_text_init(&ret->warnings);
    LM_TRY(find_places(doc, ret, err));
    for (int list = 0; list < LM_COOLEST_LISTS; list++) {
        const json_t *kept = json_object_get(ours, lm_coolest_list_names[list]);
        for (size_t i = 0; i < json_array_size(kept); i++)
            LM_TRY(add_kept(ret, (lm_coolest_list)list, cap, json_array_get(kept, i), shift, err));
        for (size_t i = 0; i < ret->n_places; i++)
            if (!ret->places[i].taken && (int)ret->places[i].list == list)
                LM_TRY(add_converted(ret, cap, &ret->places[i], err));
    }
    return ret->warnings.failed ? LM_NOMEM(err) : LM_OK;
}

void lm_coolest_done(lm_coolest_model *model)
{
    for (int list = 0; list < LM_COOLEST_LISTS; list++) {
        for (size_t i = 0; i < model->n[list]; i++) json_decref(model->at[list][i].component);
        model->at[list] = lm_free(model->at[list]);
        model->n[list] = 0;
    }
    model->places = lm_free(model->places);
    lm_text_done(&model->warnings);
}

char *lm_coolest_list_text(const lm_coolest_model *model, lm_coolest_list list)
{
    lm_text text;
    lm_text_init(&text);
    lm_text_char(&text, '[');
    for (size_t i = 0; i < model->n[list]; i++) {
        if (i) lm_text_char(&text, ',');
        lm_coolest_print(&text, model->at[list][i].component, 0);
    }
    lm_text_char(&text, ']');
    char *chars = lm_text_take(&text);
    lm_text_done(&text);
    return chars;
}

/* ---- files ---- */

const char *lm_coolest_file(const json_t *grid)
{
    const char *path = json_string_value(json_object_get(json_object_get(grid, "fits_file"), "path"));
    return path && *path ? path : NULL;
}

static lm_status profile_grids(const lm_coolest_place *p, lm_coolest_visit visit, void *arg, lm_error *err)
{
    static const char *const names[] = {"pixels", "pixels_derivative", "pixels_hessian"};
    const char *type = json_string_value(json_object_get(p->profile, "type"));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        json_t *grid = json_object_get(json_object_get(p->profile, "parameters"), names[i]);
        char tensor[LM_COOLEST_NAME + 16];
        snprintf(tensor, sizeof tensor, "%s%s", p->tensor, names[i] + strlen("pixels"));
        if (grid) LM_TRY(visit(arg, grid, tensor, strcmp(type, "IrregularGrid") == 0, err));
    }
    return LM_OK;
}

lm_status lm_coolest_grids(const json_t *doc, const lm_coolest_model *model, lm_coolest_visit visit, void *arg,
                           lm_error *err)
{
    static const char *const noises[][2] = {
        {"noise_map", "noise"}, {"noise_realization", "noise_realization"}, {"wht_map", "weight"}};
    const json_t *observation = json_object_get(doc, "observation"), *noise = json_object_get(observation, "noise");
    const json_t *psf = json_object_get(json_object_get(doc, "instrument"), "psf");
    const json_t *likelihoods = json_object_get(doc, "likelihoods");
    json_t *grid = json_object_get(observation, "pixels");
    if (grid) LM_TRY(visit(arg, grid, "image", false, err));
    for (size_t i = 0; i < sizeof noises / sizeof *noises; i++)
        if ((grid = json_object_get(noise, noises[i][0]))) LM_TRY(visit(arg, grid, noises[i][1], false, err));
    if ((grid = json_object_get(psf, "pixels"))) LM_TRY(visit(arg, grid, "psf", false, err));
    for (size_t i = 0; i < json_array_size(likelihoods); i++) {
        grid = json_object_get(json_array_get(likelihoods, i), "mask");
        if (grid) LM_TRY(visit(arg, grid, "mask", false, err));
    }
    for (size_t i = 0; i < model->n_places; i++)
        if (*model->places[i].tensor) LM_TRY(profile_grids(&model->places[i], visit, arg, err));
    return LM_OK;
}
