/* coolest.write: a lens model as a COOLEST template, with FITS files beside it.
 *
 * It begins with the template that the record came from ("coolest_meta"), or with an empty one. Profiles whose
 * components did not change stay as they are, to the last digit; others get new numbers; where components came or
 * went, profiles do too. What the standard cannot hold, and every component as it was written here, goes into `meta:
 * {lensmill: ...}`, from which coolest.read takes it back.
 */
#include "operators/io/_coolest.h"
#include "operators/io/_fits_out.h"
#include "operators/lens/_components.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    const char *path, *samples, *names;
    json_t *mass, *source, *light;
    double pixel;
    bool data;
    int mode;
} coolest_write;

static const char *const modes[] = {"MAP", "MOCK", NULL};

static const lm_param params[] = {
    LM_PATH(coolest_write, path, NULL, .required = true, .output = true, .per_record = true,
            .doc = "template to write, with {id} or {NAME} in it so that each record has its own; FITS files get its "
                   "name with _image.fits and the like"),
    LM_TREE(coolest_write, mass, NULL, .per_record = true, .schema = LM_COMPONENTS_SCHEMA,
            .doc =
                "components of the lens, as lens.maps takes them; unset: the list that the attribute \"mass\" holds"),
    LM_TREE(coolest_write, source, NULL, .per_record = true, .schema = LM_COMPONENTS_SCHEMA,
            .doc = "light of the source, unlensed; unset: the list that the attribute \"source\" holds"),
    LM_TREE(coolest_write, light, NULL, .per_record = true, .schema = LM_COMPONENTS_SCHEMA,
            .doc = "light of the lens; unset: the list that the attribute \"light\" holds"),
    LM_REAL(coolest_write, pixel, NAN, .min = 1e-9, .max = 1e6, .unit = "arcsec", .per_record = true,
            .doc = "side of a pixel of the image; unset: the attribute \"pixel\""),
    LM_TEXT(coolest_write, samples, "samples", .doc = "tensor of posterior draws, a row each, where there is one"),
    LM_TEXT(coolest_write, names, "names",
            .doc = "attribute with the names of its columns, separated by commas: theta_E, or epl.theta_E, or "
                   "mass.2.theta_E where a name alone could be of several components"),
    LM_BOOL(coolest_write, data, true, .doc = "whether to write the tensors image, noise, psf and mask beside it"),
    LM_CHOICE(coolest_write, mode, "MAP", modes, .doc = "what the model is: fitted to data, or the truth of a mock"),
    {0}};

static const lm_port ports[] = {{"in", LM_PORT_STREAM, "records, a template each", false}, {0}};

static const lm_field fields[] = {
    LM_IN_OPT("in", "*", LM_ANY_DTYPE, "*", "*",
              "image, noise, psf, mask; the pixels that components name; posterior draws [draws, parameters]"),
    {0}};

/* A component on its way into the template. */
typedef struct {
    json_t *component; /* in lists: with its numbers filled in */
    lm_coolest_list list;
    size_t index;
    json_t *profile; /* borrowed from the template; NULL: it cannot hold it */
    const double *pixels;
    size_t h, w; /* 0: no pixels */
    lm_coolest_profile numbers;
    const char *why;
} part;

typedef struct {
    const coolest_write *self;
    lm_step *step;
    const lm_record *record;
    const char *path;
    double pixel;
    json_t *doc, *lists[LM_COOLEST_LISTS];
    json_t *removed;       /* profiles that were taken out: kept, since base points to them */
    lm_coolest_model base; /* of the template at first: profiles are in doc */
    double shift[2];
    part *parts;
    size_t n, cap;
    json_t *written[64]; /* grids whose file is written */
    size_t n_written;
} writing;

static lm_status check(const void *self, lm_error *err)
{
    const coolest_write *s = self;
    LM_TRY(lm_masses_check(s->mass, "mass", err));
    LM_TRY(lm_lights_check(s->source, "source", err));
    return lm_lights_check(s->light, "light", err);
}

/* ---- components ------------------------------------------------------------------------------------------------- */

/* The list of a parameter or an attribute, or of the template that the record came from: a new array, never NULL. */
static lm_status list_of(writing *w, lm_coolest_list list, json_t **ret, lm_error *err)
{
    const coolest_write *s = w->self;
    const json_t *given[LM_COOLEST_LISTS] = {s->mass, s->source, s->light}, *tree = given[list];
    const char *name = lm_coolest_list_names[list], *text = json_string_value(tree);
    if (text) LM_TRY_IN(lm_step_expand(w->step, text, NULL, &text, err), err, "\"%s\"", name);
    lm_value value = lm_record_value(w->record, name);
    if (!tree && value.kind == LM_KIND_TEXT) text = value.text;
    json_error_t why;
    LM_OWN(json_t) own = text ? json_loads(text, 0, &why) : tree ? json_deep_copy(tree) : json_array();
    if (text && !json_is_array(own))
        return LM_FAIL(err, LM_EINPUT, "\"%s\" is no list of components in JSON: %s", name,
                       own ? "it is something else" : why.text);
    if (!own) return LM_NOMEM(err);
    for (size_t i = 0; !tree && !text && i < w->base.n[list]; i++)
        if (json_array_append(own, w->base.at[list][i].component)) return LM_NOMEM(err);
    *ret = lm_take(own);
    return LM_OK;
}

/* Templates and words for angles become numbers, the names of tensors are spelt out, coefficients are listed. */
static lm_status fill_in(writing *w, json_t *component, bool light, part *ret, lm_error *err)
{
    lm_component c;
    lm_light shining;
    double values[LM_SLOTS];
    bool known;
    LM_TRY(lm_component_read(component, light, &c, err));
    for (unsigned i = 0; i < c.n_slots && !c.table; i++) {
        bool text = json_is_string(c.slot[i].value);
        LM_TRY(lm_slot_number(&c.slot[i], w->step, &values[i], &known, err));
        if (text && json_object_set_new(component, c.slot[i].name, json_real(values[i]))) return LM_NOMEM(err);
    }
    if (!light || !c.light->array.name) return LM_OK;
    LM_TRY(lm_component_light(&c, values, &shining, err));
    const char *tensor = json_string_value(c.array), *array = c.light->array.name;
    if (tensor) {
        LM_TRY(lm_step_expand(w->step, tensor, NULL, &tensor, err));
        if (json_object_set_new(component, array, json_string(tensor))) return LM_NOMEM(err);
        if (!lm_step_peek(w->step, "in", tensor)) return LM_OK; /* that may be no harm: see put_component() */
        LM_TRY(lm_component_read(component, light, &c, err));
    }
    LM_TRY(lm_component_array(&c, w->step, &shining, err));
    if (strcmp(c.type, "pixels") == 0) {
        ret->pixels = shining.array;
        ret->h = shining.h;
        ret->w = shining.w;
        return LM_OK;
    }
    json_t *listed = json_array();
    for (size_t i = 0; i < shining.h * shining.w; i++)
        if (json_array_append_new(listed, json_real(shining.array[i]))) return json_decref(listed), LM_NOMEM(err);
    return json_object_set_new(component, array, listed) ? LM_NOMEM(err) : LM_OK;
}

static lm_status read_components(writing *w, lm_error *err)
{
    for (int l = 0; l < LM_COOLEST_LISTS; l++) {
        lm_coolest_list list = (lm_coolest_list)l;
        LM_TRY(list_of(w, list, &w->lists[l], err));
        for (size_t i = 0; i < json_array_size(w->lists[l]); i++) {
            json_t *component = json_array_get(w->lists[l], i);
            if (!lm_grow(&w->parts, w->n, &w->cap, sizeof *w->parts)) return LM_NOMEM(err);
            part *p = &w->parts[w->n++];
            *p = (part){.component = component, .list = list, .index = i};
            LM_TRY_IN(fill_in(w, component, l != LM_COOLEST_MASS, p, err), err, "\"%s\", component %zu",
                      lm_coolest_list_names[l], i + 1);
            if (l == LM_COOLEST_MASS) lm_coolest_shift_of(component, w->shift);
        }
    }
    const double nowhere[2] = {0, 0};
    for (size_t i = 0; i < w->n; i++) {
        part *p = &w->parts[i];
        LM_TRY_IN(lm_coolest_numbers(p->component, p->list != LM_COOLEST_MASS,
                                     p->list == LM_COOLEST_SOURCE ? w->shift : nowhere, p->w, p->h, &p->numbers,
                                     &p->why, err),
                  err, "\"%s\", component %zu", lm_coolest_list_names[p->list], p->index + 1);
    }
    return LM_OK;
}

/* ---- profiles --------------------------------------------------------------------------------------------------- */

/* object[name], made if it is not there. NULL without memory. */
static json_t *member(json_t *object, const char *name)
{
    json_t *found = json_object_get(object, name);
    if (json_is_object(found)) return found;
    return json_object_set_new(object, name, json_object()) ? NULL : json_object_get(object, name);
}

static bool put_estimate(json_t *parameters, const char *name, json_t *take)
{
    json_t *p = member(parameters, name), *estimate = member(p, "point_estimate");
    if (json_object_set_new(estimate, "value", take)) return false;
    bool ok = true;
    if (json_object_get(p, "posterior_stats")) /* they were of another model */
        ok = json_object_set_new(
                 p, "posterior_stats",
                 json_pack("{s:n, s:n, s:n, s:n}", "mean", "median", "percentile_16th", "percentile_84th")) == 0;
    return ok && (json_object_get(p, "prior") || json_object_set_new(p, "prior", json_pack("{s:n}", "type")) == 0);
}

static json_t *amps_of(const lm_coolest_profile *n)
{
    json_t *amps = json_array();
    for (size_t i = 0; i < n->n_amps; i++)
        if (json_array_append_new(amps, json_real(n->amps[i] * n->amp_factor))) return json_decref(amps), NULL;
    return amps;
}

static bool put_grid(json_t *grid, const double x[2], const double y[2], size_t n_x, size_t n_y)
{
    return grid && json_object_set_new(grid, "field_of_view_x", json_pack("[ff]", x[0], x[1])) == 0 &&
           json_object_set_new(grid, "field_of_view_y", json_pack("[ff]", y[0], y[1])) == 0 &&
           json_object_set_new(grid, "num_pix_x", json_integer((json_int_t)n_x)) == 0 &&
           json_object_set_new(grid, "num_pix_y", json_integer((json_int_t)n_y)) == 0 &&
           (json_object_get(grid, "fits_file") ||
            json_object_set_new(grid, "fits_file", json_pack("{s:n}", "path")) == 0);
}

/* The numbers into a profile of the template. */
static lm_status put_numbers(json_t *profile, const lm_coolest_profile *n, lm_error *err)
{
    json_t *parameters = member(profile, "parameters");
    bool ok = parameters && json_object_set_new(profile, "type", json_string(n->type)) == 0;
    if (n->grid) ok = ok && put_grid(member(parameters, "pixels"), n->field_x, n->field_y, n->n_x, n->n_y);
    for (unsigned i = 0; ok && i < n->n; i++) {
        bool whole = strcmp(n->name[i], "n_max") == 0;
        ok = put_estimate(parameters, n->name[i],
                          whole ? json_integer((json_int_t)n->value[i]) : json_real(n->value[i]));
    }
    if (ok && n->amps) ok = put_estimate(parameters, "amps", amps_of(n));
    return ok ? LM_OK : LM_NOMEM(err);
}

/* Do the components of a list stand one to one for the profiles that the template has? */
static bool fits_base(const writing *w, lm_coolest_list list)
{
    size_t n = 0;
    for (size_t i = 0; i < w->n; i++) {
        const part *p = &w->parts[i];
        if (p->list != list) continue;
        if (n >= w->base.n[list]) return false;
        const lm_coolest_entry *e = &w->base.at[list][n++];
        const char *type = json_string_value(json_object_get(e->profile, "type"));
        if (lm_coolest_equal(p->component, e->component)) continue;
        if (p->why ? e->profile != NULL : !type || strcmp(type, p->numbers.type) != 0) return false;
    }
    return n == w->base.n[list];
}

static lm_status put_profile(const part *p, lm_error *err)
{
    if (p->numbers.grid && !p->h)
        return LM_FAIL(err, LM_EINPUT, "\"%s\", component %zu: the record has no tensor \"%s\"",
                       lm_coolest_list_names[p->list], p->index + 1,
                       json_string_value(json_object_get(p->component, "image")));
    return put_numbers(p->profile, &p->numbers, err);
}

/* Has the image of pixels another size than the profile says? */
static bool is_resized(const part *p)
{
    const json_t *grid = json_object_get(json_object_get(p->profile, "parameters"), "pixels");
    double n_x = json_number_value(json_object_get(grid, "num_pix_x"));
    double n_y = json_number_value(json_object_get(grid, "num_pix_y"));
    return p->numbers.grid && p->h && (n_x != (double)p->w || n_y != (double)p->h);
}

static lm_status update(writing *w, lm_coolest_list list, lm_error *err)
{
    for (size_t i = 0; i < w->n; i++) {
        part *p = &w->parts[i];
        if (p->list != list) continue;
        const lm_coolest_entry *e = &w->base.at[list][p->index];
        p->profile = e->profile;
        bool same = lm_coolest_equal(p->component, e->component) && !is_resized(p);
        if (!same && p->profile && !lm_coolest_same(p->profile, &p->numbers)) LM_TRY(put_profile(p, err));
    }
    return LM_OK;
}

static lm_status remove_profile(writing *w, json_t *profile, lm_error *err)
{
    static const char *const models[] = {"mass_model", "light_model"};
    const json_t *entities = json_object_get(w->doc, "lensing_entities");
    if (json_array_append(w->removed, profile)) return LM_NOMEM(err);
    for (size_t i = 0; i < json_array_size(entities); i++)
        for (int m = 0; m < 2; m++) {
            json_t *model = json_object_get(json_array_get(entities, i), models[m]);
            for (size_t k = json_array_size(model); k-- > 0;)
                if (json_array_get(model, k) == profile) json_array_remove(model, k);
        }
    return LM_OK;
}

static lm_status add_entity(writing *w, const char *name, bool field, double z, json_t **ret, lm_error *err)
{
    json_t *entities = json_object_get(w->doc, "lensing_entities");
    json_t *e = json_pack("{s:s, s:s, s:o, s:[]}", "type", field ? "MassField" : "Galaxy", "name", name, "redshift",
                          isfinite(z) ? json_real(z) : json_null(), "mass_model");
    if (!e || json_array_append_new(entities, e)) return LM_NOMEM(err);
    if (!field && json_object_set_new(e, "light_model", json_array())) return LM_NOMEM(err);
    *ret = e;
    return LM_OK;
}

static double attribute(const writing *w, const char *name)
{
    return lm_value_real(lm_record_value(w->record, name));
}

/* The first entity of a kind; NULL: there is none. */
static json_t *entity_for(writing *w, bool source, bool field)
{
    json_t *entities = json_object_get(w->doc, "lensing_entities");
    for (size_t i = 0; i < json_array_size(entities); i++) {
        json_t *e = json_array_get(entities, i);
        if (lm_coolest_is_galaxy(e) == !field && lm_coolest_is_source(w->doc, i) == source) return e;
    }
    return NULL;
}

static lm_status find_or_add(writing *w, bool source, bool field, json_t **ret, lm_error *err)
{
    *ret = entity_for(w, source, field);
    if (*ret) return LM_OK;
    double z = attribute(w, source ? "z_source" : "z_lens");
    LM_TRY(add_entity(w, source ? "source" : field ? "external field" : "lens", field, z, ret, err));
    if (!source) return LM_OK;
    json_t *ours = member(member(w->doc, "meta"), "lensmill");
    size_t last = json_array_size(json_object_get(w->doc, "lensing_entities")) - 1;
    return json_object_set_new(ours, "sources", json_pack("[I]", (json_int_t)last)) ? LM_NOMEM(err) : LM_OK;
}

/* Takes the profiles of a list out that have components, and puts those of the parts in. */
static lm_status replace(writing *w, lm_coolest_list list, lm_error *err)
{
    json_t *entity;
    for (size_t i = 0; i < w->base.n[list]; i++)
        if (w->base.at[list][i].profile) LM_TRY(remove_profile(w, w->base.at[list][i].profile, err));
    for (size_t i = 0; i < w->n; i++) {
        part *p = &w->parts[i];
        if (p->list != list || p->why) continue;
        LM_TRY(find_or_add(w, list == LM_COOLEST_SOURCE, p->numbers.field, &entity, err));
        json_t *profiles = json_object_get(entity, list == LM_COOLEST_MASS ? "mass_model" : "light_model");
        if (!json_is_array(profiles)) return LM_FAIL(err, LM_EINPUT, "a galaxy of \"coolest_meta\" lacks a model");
        p->profile = json_object();
        if (!p->profile || json_array_append_new(profiles, p->profile)) return p->profile = NULL, LM_NOMEM(err);
        LM_TRY(put_profile(p, err));
    }
    return LM_OK;
}

/* The ids of all profiles and parameters, as the standard makes them. */
static lm_status put_ids(json_t *doc, lm_error *err)
{
    const json_t *entities = json_object_get(doc, "lensing_entities");
    for (size_t i = 0; i < json_array_size(entities); i++)
        for (int light = 0; light < 2; light++) {
            const json_t *e = json_array_get(entities, i);
            const json_t *profiles = json_object_get(e, light ? "light_model" : "mass_model");
            for (size_t k = 0; k < json_array_size(profiles); k++) {
                char id[LM_COOLEST_NAME], own[2 * LM_COOLEST_NAME];
                const char *name;
                json_t *profile = json_array_get(profiles, k), *parameter;
                lm_coolest_id(e, i, light, k, id);
                if (json_object_set_new(profile, "id", json_string(id))) return LM_NOMEM(err);
                json_object_foreach(json_object_get(profile, "parameters"), name, parameter)
                {
                    snprintf(own, sizeof own, "%s-%.100s", id, name);
                    if (json_is_object(parameter) && json_object_set_new(parameter, "id", json_string(own)))
                        return LM_NOMEM(err);
                }
            }
        }
    return LM_OK;
}

static lm_status put_components(writing *w, lm_error *err)
{
    bool changed = json_array_size(json_object_get(w->doc, "lensing_entities")) == 0, field = false;
    json_t *entity;
    for (size_t i = 0; i < w->n; i++) field = field || (!w->parts[i].why && w->parts[i].numbers.field);
    if (changed) { /* a new template: in the order of the light's way back */
        LM_TRY(find_or_add(w, false, false, &entity, err));
        if (field) LM_TRY(find_or_add(w, false, true, &entity, err));
        LM_TRY(find_or_add(w, true, false, &entity, err));
    }
    for (int list = 0; list < LM_COOLEST_LISTS; list++) {
        if (fits_base(w, (lm_coolest_list)list)) {
            LM_TRY(update(w, (lm_coolest_list)list, err));
        } else {
            LM_TRY(replace(w, (lm_coolest_list)list, err));
            changed = true;
        }
    }
    return changed ? put_ids(w->doc, err) : LM_OK;
}

/* ---- meta ------------------------------------------------------------------------------------------------------- */

static bool id_of(const json_t *doc, const json_t *profile, char ret[LM_COOLEST_NAME])
{
    const json_t *entities = json_object_get(doc, "lensing_entities");
    for (size_t i = 0; i < json_array_size(entities); i++)
        for (int light = 0; light < 2; light++) {
            const json_t *e = json_array_get(entities, i);
            const json_t *profiles = json_object_get(e, light ? "light_model" : "mass_model");
            for (size_t k = 0; k < json_array_size(profiles); k++)
                if (json_array_get(profiles, k) == profile) return lm_coolest_id(e, i, light, k, ret), true;
        }
    return false;
}

/* Each component as it is, with the profile that holds it. Those that are just what reading the profile gives need
 * not be kept, unless their order tells something: a template of others stays as it is. */
static lm_status put_meta(writing *w, bool whole, lm_error *err)
{
    json_t *ours = member(member(w->doc, "meta"), "lensmill");
    if (!ours) return LM_NOMEM(err);
    for (int l = 0; l < LM_COOLEST_LISTS && whole; l++)
        if (json_object_set_new(ours, lm_coolest_list_names[l], json_array())) return LM_NOMEM(err);
    for (size_t i = 0; i < w->n; i++) {
        part *p = &w->parts[i];
        const char *list = lm_coolest_list_names[p->list];
        char id[LM_COOLEST_NAME];
        if (p->why)
            lm_step_warn(w->step, "\"%s\", component %zu is not in the template, but in its meta alone: %s", list,
                         p->index + 1, p->why);
        else if (p->numbers.note)
            lm_step_warn(w->step, "\"%s\", component %zu: %s", list, p->index + 1, p->numbers.note);
        if (!whole) continue;
        json_t *item = json_pack("{s:O}", "component", p->component);
        if (p->profile && id_of(w->doc, p->profile, id) && json_object_set_new(item, "profile", json_string(id)))
            return json_decref(item), LM_NOMEM(err);
        if (!item || json_array_append_new(json_object_get(ours, list), item)) return LM_NOMEM(err);
    }
    return LM_OK;
}

/* ---- posterior -------------------------------------------------------------------------------------------------- */

/* "a, b,c" into n names; false: their number is another. */
static bool split(char *text, const char **names, size_t n)
{
    size_t found = 0;
    for (char *at = text, *next; at; at = next) {
        if ((next = strchr(at, ','))) *next++ = 0;
        at += strspn(at, " \t\n");
        for (size_t length = strlen(at); length && strchr(" \t\n", at[length - 1]);) at[--length] = 0;
        if (found < n) names[found] = at;
        found++;
    }
    return found == n;
}

static lm_status put_plain(writing *w, const lm_coolest_draws *d, lm_error *err)
{
    json_t *posterior = member(member(member(w->doc, "meta"), "lensmill"), "posterior");
    double *values = lm_step_scratch(w->step, d->n + 1, sizeof *values);
    if (!posterior || !values) return LM_NOMEM(err);
    json_object_clear(posterior);
    for (size_t k = 0; k < d->dim; k++) {
        size_t n = 0;
        for (size_t i = 0; i < d->n; i++) {
            bool finite = true;
            for (size_t j = 0; j < d->dim; j++) finite = finite && isfinite(d->values[i * d->dim + j]);
            if (finite) values[n++] = d->values[i * d->dim + k];
        }
        if (n && json_object_set_new(posterior, d->names[k], lm_coolest_statistics(values, n))) return LM_NOMEM(err);
        if (!d->used[k])
            lm_step_warn(w->step, "posterior of \"%s\": no component has it, its statistics are in meta alone",
                         d->names[k]);
    }
    return LM_OK;
}

static lm_status put_posterior(writing *w, lm_error *err)
{
    const lm_tensor *samples = lm_record_tensor(w->record, w->self->samples);
    lm_value given = lm_record_value(w->record, w->self->names);
    const double nowhere[2] = {0, 0};
    char shape[192];
    if (!samples) return LM_OK;
    if (samples->ndim != 2)
        return LM_FAIL(err, LM_EINPUT, "posterior draws \"%s\" have shape %s, where [draws, parameters] is wanted",
                       w->self->samples, lm_tensor_shape_text(shape, samples));
    if (given.kind != LM_KIND_TEXT) {
        lm_step_warn(w->step, "no attribute \"%s\" names the columns of \"%s\": no posterior is written",
                     w->self->names, w->self->samples);
        return LM_OK;
    }
    size_t dim = samples->shape[1], length = strlen(given.text) + 1;
    const char **names = lm_step_scratch(w->step, dim + 1, sizeof *names);
    char *text = lm_step_scratch(w->step, length, 1);
    bool *used = lm_step_scratch(w->step, dim + 1, sizeof *used);
    lm_coolest_draws d = {lm_step_peek_f64(w->step, samples), samples->shape[0], dim, names, used};
    if (!names || !text || !used || (!d.values && lm_tensor_count(samples))) return LM_NOMEM(err);
    memcpy(text, given.text, length);
    memset(used, 0, dim * sizeof *used);
    if (!split(text, names, dim))
        return LM_FAIL(err, LM_EINPUT, "\"%s\" has %zu columns, and \"%s\" names another number: \"%s\"",
                       w->self->samples, dim, w->self->names, given.text);
    for (size_t i = 0; i < w->n; i++)
        LM_TRY(lm_coolest_posterior(&d, w->lists, w->parts[i].list, w->parts[i].index,
                                    w->parts[i].list == LM_COOLEST_SOURCE ? w->shift : nowhere, w->parts[i].profile,
                                    err));
    return put_plain(w, &d, err);
}

/* ---- observation ------------------------------------------------------------------------------------------------ */

/* A number of the template from an attribute, if the record has one and it differs. */
static lm_status put_number(const writing *w, json_t *object, const char *key, const char *name, double factor,
                            lm_error *err)
{
    double value = attribute(w, name) * factor;
    const json_t *there = json_object_get(object, key);
    if (!isfinite(value) || (json_is_number(there) && fabs(json_number_value(there) - value) <= 1e-14 * fabs(value)))
        return LM_OK;
    return object && json_object_set_new(object, key, json_real(value)) == 0 ? LM_OK : LM_NOMEM(err);
}

static lm_status put_text(const writing *w, json_t *object, const char *key, const char *name, lm_error *err)
{
    lm_value value = lm_record_value(w->record, name);
    if (value.kind != LM_KIND_TEXT) return LM_OK;
    return object && json_object_set_new(object, key, json_string(value.text)) == 0 ? LM_OK : LM_NOMEM(err);
}

/* A grid for a tensor of images about the origin; one of the same shape stays as it is. */
static lm_status put_image_grid(json_t *grid, const lm_tensor *tensor, double pixel, lm_error *err)
{
    size_t n_y = tensor->shape[tensor->ndim - 2], n_x = tensor->shape[tensor->ndim - 1];
    if (json_integer_value(json_object_get(grid, "num_pix_x")) == (json_int_t)n_x &&
        json_integer_value(json_object_get(grid, "num_pix_y")) == (json_int_t)n_y)
        return LM_OK;
    double x = (double)n_x * pixel / 2, y = (double)n_y * pixel / 2;
    return put_grid(grid, (double[]){-x, x}, (double[]){-y, y}, n_x, n_y) ? LM_OK : LM_NOMEM(err);
}

static const lm_tensor *image_named(const writing *w, const char *name)
{
    const lm_tensor *tensor = w->self->data ? lm_record_tensor(w->record, name) : NULL;
    return tensor && tensor->ndim == 2 && lm_tensor_count(tensor) ? tensor : NULL;
}

static bool has_type(const json_t *object)
{
    return json_is_string(json_object_get(object, "type"));
}

static lm_status put_noise(writing *w, json_t *observation, lm_error *err)
{
    json_t *noise = member(observation, "noise");
    const lm_tensor *map = image_named(w, "noise"), *image = image_named(w, "image");
    if (!noise) return LM_NOMEM(err);
    if (has_type(noise)) return LM_OK; /* as it was */
    if (map && (!image || lm_tensor_same_shape(map, image))) {
        LM_TRY(put_image_grid(member(noise, "noise_map"), map, w->pixel, err));
        return json_object_set_new(noise, "type", json_string("NoiseMap")) ? LM_NOMEM(err) : LM_OK;
    }
    LM_TRY(put_number(w, noise, "std_dev", "noise_sigma", 1, err));
    bool uniform = json_object_get(noise, "std_dev");
    return json_object_set_new(noise, "type", uniform ? json_string("UniformGaussianNoise") : json_null())
               ? LM_NOMEM(err)
               : LM_OK;
}

static lm_status put_psf(writing *w, json_t *instrument, lm_error *err)
{
    json_t *psf = member(instrument, "psf");
    const lm_tensor *pixels = image_named(w, "psf");
    double side = attribute(w, "psf_pixel");
    if (!psf) return LM_NOMEM(err);
    if (has_type(psf)) return LM_OK;
    if (pixels) {
        LM_TRY(put_image_grid(member(psf, "pixels"), pixels, side > 0 ? side : w->pixel, err));
        return json_object_set_new(psf, "type", json_string("PixelatedPSF")) ? LM_NOMEM(err) : LM_OK;
    }
    LM_TRY(put_number(w, psf, "fwhm", "psf_fwhm", 1 / w->pixel, err));
    bool gaussian = json_object_get(psf, "fwhm");
    return json_object_set_new(psf, "type", gaussian ? json_string("GaussianPSF") : json_null()) ? LM_NOMEM(err)
                                                                                                 : LM_OK;
}

static lm_status put_mask(writing *w, lm_error *err)
{
    const lm_tensor *mask = image_named(w, "mask"), *image = image_named(w, "image");
    if (!mask || !image || !lm_tensor_same_shape(mask, image) || json_is_array(json_object_get(w->doc, "likelihoods")))
        return LM_OK;
    json_t *one = json_pack("{s:s}", "type", "ImagingDataLikelihood");
    if (!one || json_object_set_new(w->doc, "likelihoods", json_pack("[o]", one))) return LM_NOMEM(err);
    return put_image_grid(member(one, "mask"), mask, w->pixel, err);
}

static lm_status put_cosmology(writing *w, lm_error *err)
{
    double H0 = attribute(w, "H0"), Omega_m = attribute(w, "Omega_m"), de = attribute(w, "Omega_de"),
           state = attribute(w, "w");
    if (!isfinite(H0) || !isfinite(Omega_m)) return LM_OK;
    if ((isfinite(de) && fabs(de - (1 - Omega_m)) > 1e-12) || (isfinite(state) && state != -1))
        lm_step_warn(w->step, "the standard's universe is flat with w = -1: Omega_de and w are not in the template");
    json_t *cosmology = member(w->doc, "cosmology");
    LM_TRY(put_number(w, cosmology, "H0", "H0", 1, err));
    LM_TRY(put_number(w, cosmology, "Om0", "Omega_m", 1, err));
    if (json_object_get(cosmology, "astropy_name")) return LM_OK;
    return json_object_set_new(cosmology, "astropy_name", json_string("FlatLambdaCDM")) ? LM_NOMEM(err) : LM_OK;
}

/* Redshifts of a template that had others. */
static lm_status put_redshifts(writing *w, lm_error *err)
{
    const json_t *entities = json_object_get(w->doc, "lensing_entities");
    for (size_t i = 0; i < json_array_size(entities); i++) {
        bool source = lm_coolest_is_source(w->doc, i);
        json_t *e = json_array_get(entities, i);
        const json_t *z = json_object_get(e, "redshift");
        double old = source ? w->base.z_source : w->base.z_lens;
        if (json_is_number(z) && json_number_value(z) == old)
            LM_TRY(put_number(w, e, "redshift", source ? "z_source" : "z_lens", 1, err));
    }
    return LM_OK;
}

static lm_status put_observation(writing *w, lm_error *err)
{
    json_t *observation = member(w->doc, "observation"), *instrument = member(w->doc, "instrument");
    json_t *origin = member(w->doc, "coordinates_origin");
    const lm_tensor *image = image_named(w, "image");
    if (!observation || !instrument || !origin) return LM_NOMEM(err);
    LM_TRY(put_text(w, origin, "ra", "ra", err));
    LM_TRY(put_text(w, origin, "dec", "dec", err));
    LM_TRY(put_text(w, instrument, "name", "instrument", err));
    LM_TRY(put_text(w, instrument, "band", "band", err));
    LM_TRY(put_number(w, instrument, "readout_noise", "read_noise", 1, err));
    LM_TRY(put_number(w, observation, "exposure_time", "exposure", 1, err));
    LM_TRY(put_number(w, observation, "mag_zero_point", "zero_point", 1, err));
    LM_TRY(put_number(w, observation, "mag_sky_brightness", "sky_brightness", 1, err));
    const json_t *side = json_object_get(instrument, "pixel_size");
    if (json_number_value(side) != w->pixel && json_object_set_new(instrument, "pixel_size", json_real(w->pixel)))
        return LM_NOMEM(err);
    if (image) LM_TRY(put_image_grid(member(observation, "pixels"), image, w->pixel, err));
    else if (!json_object_get(observation, "pixels") &&
             !put_grid(member(observation, "pixels"), (double[]){0, 0}, (double[]){0, 0}, 0, 0))
        return LM_NOMEM(err);
    LM_TRY(put_noise(w, observation, err));
    LM_TRY(put_psf(w, instrument, err));
    LM_TRY(put_mask(w, err));
    LM_TRY(put_cosmology(w, err));
    return put_redshifts(w, err);
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

/* Writes a tensor beside the template, and its name into the grid. */
static lm_status write_fits(writing *w, json_t *grid, const char *name, const lm_tensor *tensor, lm_error *err)
{
    size_t length = strlen(w->path) - (lm_ends_with(w->path, ".json") ? 5 : 0);
    char *path = lm_step_scratch(w->step, length + strlen(name) + 16, 1);
    const char *temporary;
    if (!path) return LM_NOMEM(err);
    memcpy(path, w->path, length);
    sprintf(path + length, "_%s.fits", name);
    LM_TRY(lm_step_file(w->step, path, &temporary, err));
    LM_OWN(lm_fits_out) out = NULL;
    LM_TRY(lm_fits_out_open(temporary, &out, err));
    lm_header header;
    lm_header_init(&header);
    lm_header_image(&header, true, tensor, NULL);
    lm_status status = lm_fits_out_begin(out, &header, err);
    if (!status) status = lm_fits_out_tensor(out, tensor, err);
    if (!status) status = lm_fits_out_end(out, err);
    lm_header_done(&header);
    if (status) return status;
    const char *slash = strrchr(path, '/');
    json_t *file = member(grid, "fits_file");
    if (!file || json_object_set_new(file, "path", json_string(slash ? slash + 1 : path))) return LM_NOMEM(err);
    if (w->n_written < sizeof w->written / sizeof *w->written) w->written[w->n_written++] = grid;
    return LM_OK;
}

/* The pixels of a component, per pixel of the instrument. */
static lm_status write_pixels(writing *w, const part *p, const char *name, lm_error *err)
{
    json_t *grid = json_object_get(json_object_get(p->profile, "parameters"), "pixels");
    double factor = p->numbers.factor * w->pixel * w->pixel;
    LM_OWN(lm_tensor) tensor = NULL;
    LM_TRY(lm_tensor_new(LM_F64, 2, (size_t[]){p->h, p->w}, &tensor, err));
    double *to = tensor->data;
    bool as_they_are = fabs(factor - 1) <= 1e-15;
    for (size_t i = 0; i < p->h * p->w; i++) to[i] = as_they_are ? p->pixels[i] : p->pixels[i] * factor;
    return write_fits(w, grid, name, tensor, err);
}

static lm_status write_components(writing *w, lm_error *err)
{
    unsigned count[LM_COOLEST_LISTS] = {0};
    for (size_t i = 0; i < w->n; i++) {
        const part *p = &w->parts[i];
        char name[64];
        if (!p->profile || !p->numbers.grid) continue;
        const char *list = lm_coolest_list_names[p->list],
                   *image = json_string_value(json_object_get(p->component, "image"));
        unsigned number = ++count[p->list];
        if (number > 1) snprintf(name, sizeof name, "%s_pixels_%u", list, number);
        else snprintf(name, sizeof name, "%s_pixels", list);
        if (p->h) LM_TRY(write_pixels(w, p, name, err));
        else
            lm_step_warn(w->step, "the record has no tensor \"%s\": the template names a file that is not written",
                         image ? image : "");
    }
    return LM_OK;
}

/* 0 and 1, which is what the standard wants of a mask. */
static lm_status write_mask(writing *w, json_t *grid, const lm_tensor *mask, lm_error *err)
{
    LM_OWN(lm_tensor) flags = NULL;
    LM_TRY(lm_tensor_new(LM_U8, mask->ndim, mask->shape, &flags, err));
    uint8_t *to = flags->data;
    for (size_t i = 0, n = lm_tensor_count(mask); i < n; i++) {
        double value = lm_tensor_get(mask, i);
        to[i] = value != 0 && !isnan(value);
    }
    return write_fits(w, grid, "mask", flags, err);
}

static lm_status write_grid(void *arg, json_t *grid, const char *tensor, bool irregular, lm_error *err)
{
    writing *w = arg;
    const lm_tensor *pixels = lm_record_tensor(w->record, tensor);
    for (size_t i = 0; i < w->n_written; i++)
        if (w->written[i] == grid) return LM_OK;
    bool data = strcmp(tensor, "image") == 0 || strcmp(tensor, "noise") == 0 || strcmp(tensor, "psf") == 0 ||
                strcmp(tensor, "mask") == 0;
    if (!pixels || irregular || pixels->ndim < 2 || (data && !w->self->data)) {
        if (lm_coolest_file(grid) && !(data && !w->self->data))
            lm_step_warn(w->step, "the template names the file \"%s\", which is not written", lm_coolest_file(grid));
        return LM_OK;
    }
    double side = strcmp(tensor, "psf") == 0 ? attribute(w, "psf_pixel") : w->pixel;
    if (data) LM_TRY(put_image_grid(grid, pixels, side > 0 ? side : w->pixel, err));
    if (strcmp(tensor, "mask") == 0) return write_mask(w, grid, pixels, err);
    return write_fits(w, grid, tensor, pixels, err);
}

static lm_status write_files(writing *w, lm_error *err)
{
    lm_coolest_model model;
    LM_TRY(write_components(w, err));
    lm_status status = lm_coolest_read(w->doc, &model, err); /* where its grids are now */
    if (!status) status = lm_coolest_grids(w->doc, &model, write_grid, w, err);
    lm_coolest_done(&model);
    return status;
}

/* ---- the template ----------------------------------------------------------------------------------------------- */

static lm_status begin(writing *w, bool *ret_ours, lm_error *err)
{
    lm_value meta = lm_record_value(w->record, "coolest_meta");
    json_error_t why;
    *ret_ours = true;
    if (meta.kind == LM_KIND_TEXT) {
        w->doc = json_loads(meta.text, 0, &why);
        if (!w->doc) return LM_FAIL(err, LM_EINPUT, "\"coolest_meta\" is no JSON: %s", why.text);
        LM_TRY_IN(lm_coolest_check(w->doc, err), err, "\"coolest_meta\"");
        *ret_ours = json_object_get(json_object_get(w->doc, "meta"), "lensmill") != NULL;
    } else {
        w->doc = json_pack("{s:s, s:s, s:[], s:{s:s, s:s}, s:{s:n, s:n, s:n}, s:{s:s, s:s, s:f}, s:{}}", "standard",
                           "COOLEST", "mode", modes[w->self->mode], "lensing_entities", "coordinates_origin", "ra",
                           "00h00m00s", "dec", "+00d00m00s", "observation", "exposure_time", "mag_zero_point",
                           "mag_sky_brightness", "instrument", "name", "", "band", "", "readout_noise", 0.0, "meta");
        if (!w->doc) return LM_NOMEM(err);
    }
    return lm_coolest_read(w->doc, &w->base, err);
}

static lm_status find_pixel(writing *w, lm_error *err)
{
    LM_TRY(lm_step_real(w->step, "pixel", &w->pixel, err));
    if (isnan(w->pixel)) w->pixel = attribute(w, "pixel");
    if (isnan(w->pixel)) w->pixel = w->base.pixel;
    if (!(w->pixel > 0 && isfinite(w->pixel)))
        return LM_FAIL_HINT(err, LM_EINPUT, "Set the parameter \"pixel\", in arcsec.",
                            "the record has no attribute \"pixel\", the side of a pixel");
    return LM_OK;
}

/* Was anything of the model not what reading its profiles gives anyway? */
static bool needs_meta(const writing *w)
{
    for (size_t i = 0; i < w->n; i++) {
        const part *p = &w->parts[i];
        const lm_coolest_entry *e = p->index < w->base.n[p->list] ? &w->base.at[p->list][p->index] : NULL;
        if (!p->profile || !e || e->profile != p->profile || !lm_coolest_equal(p->component, e->component)) return true;
    }
    return false;
}

static lm_status write_template(writing *w, lm_error *err)
{
    const char *temporary;
    lm_text text;
    lm_text_init(&text);
    lm_coolest_print(&text, w->doc, 2);
    lm_text_char(&text, '\n');
    lm_status status = text.failed ? LM_NOMEM(err) : lm_step_file(w->step, w->path, &temporary, err);
    FILE *file = status ? NULL : fopen(temporary, "wb");
    bool wrote = file && fwrite(lm_text_peek(&text), 1, text.length, file) == text.length;
    if (!status && (!file || fclose(file) || !wrote)) status = LM_FAIL(err, LM_EIO, "cannot write \"%s\"", w->path);
    lm_text_done(&text);
    return status;
}

static lm_status write_all(writing *w, lm_error *err)
{
    bool ours;
    LM_TRY(begin(w, &ours, err));
    LM_TRY(find_pixel(w, err));
    LM_TRY(read_components(w, err));
    LM_TRY(put_components(w, err));
    LM_TRY(put_meta(w, ours || needs_meta(w), err));
    LM_TRY(put_posterior(w, err));
    LM_TRY(put_observation(w, err));
    LM_TRY(write_files(w, err));
    return write_template(w, err);
}

static lm_status step(const void *self, lm_step *step, lm_error *err)
{
    writing w = {.self = self, .step = step, .record = lm_step_record(step, "in")};
    LM_TRY(lm_step_text(step, "path", &w.path, err));
    w.removed = json_array();
    lm_status status = write_all(&w, err);
    for (size_t i = 0; i < w.n; i++) lm_coolest_profile_done(&w.parts[i].numbers);
    for (int list = 0; list < LM_COOLEST_LISTS; list++) json_decref(w.lists[list]);
    lm_coolest_done(&w.base);
    json_decref(w.doc);
    json_decref(w.removed);
    lm_free(w.parts);
    return status;
}

const lm_operator lm_op_coolest_write = {
    .struct_size = sizeof(lm_operator),
    .name = "coolest.write",
    .version = 1,
    .summary = "Write each record as a lens model of the COOLEST standard",
    .doc = "A template in JSON, and FITS files beside it: image, noise map, PSF and mask if the record has tensors of "
           "these names, pixels of light profiles. Mass and light come from lists of components; z_lens, z_source, H0, "
           "Omega_m, pixel, exposure, zero_point, sky_brightness, read_noise, psf_fwhm, psf_pixel, noise_sigma, "
           "instrument, band, ra, dec from attributes of these names, where there are such. Statistics of posterior "
           "draws are taken in the parameters of the standard.\n\n"
           "A record that coolest.read made is written from its own template: what did not change stays as it was. "
           "A component that the standard cannot hold (a multipole, an NFW halo, light that is turned shapelets) is "
           "named in the log and kept in the template's meta, from which coolest.read takes it back.",
    .example = "path: \"out/{id}.json\"\npixel: 0.05\nmass: [{type: epl, theta_E: 1.3, gamma: 2.05, q: 0.7, phi: 0.4}, "
               "{type: shear, gamma1: 0.03, gamma2: 0}]\nsource: [{type: sersic, I_e: 10, R_e: 0.2, n: 1, b_n: linear, "
               "x: 0.05}]\n",
    .shape = LM_SINK,
    .size = sizeof(coolest_write),
    .params = params,
    .ports = ports,
    .fields = fields,
    .check = check,
    .step = step,
};
