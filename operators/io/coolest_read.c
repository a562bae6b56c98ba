/* coolest.read: lens models from COOLEST templates, a record a JSON file.
 *
 * list() finds the templates and, in each, the FITS files that it names: their bytes are part of the step's key.
 * step() reads them again and makes the record: components of ours as JSON text, numbers as attributes, pixels as
 * tensors, and the whole template as text.
 */
#include "operators/io/_coolest.h"
#include "operators/io/_fits.h"
#include "operators/io/_paths.h"
#include "operators/io/_table.h"
#include "runtime/operator.h"
#include "runtime/param.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

typedef struct {
    const char *path, *id;
    bool tensors;
    lm_arena arena; /* of what follows: from open() to close() */
    const char *search, *root;
} coolest_read;

static const lm_param params[] = {
    LM_PATH(coolest_read, path, NULL, .required = true, .doc = "template, folder (every .json file below it) or glob"),
    LM_TEXT(coolest_read, id, NULL, .no_key = true, .per_record = true,
            .doc = "id of a record, with {path}, {name} and {stem} of its file; if not given: the path below the "
                   "folder, without .json"),
    LM_BOOL(coolest_read, tensors, true,
            .doc = "whether to read the FITS files that a template names: image, noise, PSF, mask, pixels of profiles"),
    {0}};

static const lm_field fields[] = {
    LM_OUT_OPT("out", "*", LM_NUMBERS, "...", "*",
               "image, noise, psf, mask of the observation; source_pixels, light_pixels, mass_pixels of profiles (rows "
               "of x, y, value where their grid is irregular); of those files that are there"),
    LM_OUT_ATTR("out", "mass", LM_KIND_TEXT, "", "JSON list of the lens's components, as mass: of lens.maps takes it"),
    LM_OUT_ATTR("out", "source", LM_KIND_TEXT, "", "JSON list of the light of the source, unlensed"),
    LM_OUT_ATTR("out", "light", LM_KIND_TEXT, "", "JSON list of the light of the lens"),
    LM_OUT_ATTR("out", "coolest_meta", LM_KIND_TEXT, "",
                "the template: priors, posteriors, names, profiles unknown here; coolest.write begins with it"),
    {0}};

/* ---- files ------------------------------------------------------------------------------------------------------ */

static lm_status check(const void *self, lm_error *err)
{
    const coolest_read *s = self;
    if (!*s->path) return LM_FAIL(err, LM_EGRAPH, "\"path\" is empty");
    return LM_OK;
}

static lm_status open_self(void *self, lm_error *err)
{
    coolest_read *s = self;
    lm_arena_init(&s->arena);
    struct stat st;
    bool folder = stat(s->path, &st) == 0 && S_ISDIR(st.st_mode);
    s->search = folder ? lm_arena_printf(&s->arena, "%s/**/*.json", s->path) : s->path;
    s->root = s->search ? lm_paths_root(s->search, &s->arena) : NULL;
    return s->root ? LM_OK : LM_NOMEM(err);
}

static void close_self(void *self)
{
    coolest_read *s = self;
    lm_arena_done(&s->arena);
}

static lm_status load(const char *path, json_t **ret, lm_error *err)
{
    json_error_t why;
    LM_OWN(json_t) doc = json_load_file(path, 0, &why);
    if (!doc && why.line < 1) return LM_FAIL(err, LM_EIO, "cannot read \"%s\": %s", path, why.text);
    if (!doc)
        return LM_FAIL_HINT(err, LM_EINPUT, strstr(why.text, "NaN") ? "JSON has no NaN: write null." : NULL,
                            "\"%s\", line %d, column %d: %s", path, why.line, why.column, why.text);
    LM_TRY_IN(lm_coolest_check(doc, err), err, "\"%s\"", path);
    *ret = lm_take(doc);
    return LM_OK;
}

static bool is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* The folder of a file, without the slash. */
static const char *folder_of(const char *path, lm_arena *arena)
{
    return lm_arena_strndup(arena, path, (size_t)(strrchr(path, '/') - path));
}

/* ---- which records there are ------------------------------------------------------------------------------------ */

typedef struct {
    const char *folder;
    lm_arena *arena;
    const char **files;
    size_t n, cap;
} named_files;

static lm_status add_file(named_files *f, const char *path, lm_error *err)
{
    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->files[i], path) == 0) return LM_OK;
    if (!lm_grow(&f->files, f->n, &f->cap, sizeof *f->files)) return LM_NOMEM(err);
    f->files[f->n++] = path;
    return LM_OK;
}

static lm_status name_file(void *arg, json_t *grid, const char *tensor, bool irregular, lm_error *err)
{
    (void)tensor, (void)irregular;
    named_files *f = arg;
    const char *name = lm_coolest_file(grid);
    const char *path = name ? lm_path_join(f->folder, name, f->arena) : NULL;
    if (name && !path) return LM_NOMEM(err);
    return path && is_file(path) ? add_file(f, path, err) : LM_OK;
}

static lm_status files_of(const coolest_read *s, const json_t *doc, named_files *f, lm_error *err)
{
    lm_coolest_model model;
    if (!s->tensors) return LM_OK;
    lm_status status = lm_coolest_read(doc, &model, err);
    if (!status) status = lm_coolest_grids(doc, &model, name_file, f, err);
    lm_coolest_done(&model);
    return status;
}

static lm_status id_of(const coolest_read *s, const char *name, lm_arena *arena, const char **ret, lm_error *err)
{
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
    size_t n = strlen(name), ending = lm_ends_with(name, ".json") ? 5 : 0;
    const char *stem = lm_arena_strndup(arena, base, strlen(base) - ending);
    if (!s->id) {
        *ret = lm_arena_strndup(arena, name, n - ending);
        return *ret ? LM_OK : LM_NOMEM(err);
    }
    LM_OWN(lm_record) names = NULL;
    if (!stem) return LM_NOMEM(err);
    LM_TRY(lm_record_new(name, &names, err));
    LM_TRY(lm_record_set(names, "path", lm_text_value(name), NULL, err));
    LM_TRY(lm_record_set(names, "name", lm_text_value(base), NULL, err));
    LM_TRY(lm_record_set(names, "stem", lm_text_value(stem), NULL, err));
    LM_TRY_IN(lm_template_expand(s->id, names, arena, ret, err), err, "the id \"%s\"", s->id);
    return **ret ? LM_OK : LM_FAIL(err, LM_EINPUT, "the id \"%s\" is empty", s->id);
}

static lm_status add_item(const coolest_read *s, lm_items *items, const char *path, const char *name, lm_arena *arena,
                          lm_error *err)
{
    LM_OWN(json_t) doc = NULL;
    const char *id;
    named_files f = {.folder = folder_of(path, arena), .arena = arena};
    if (!f.folder) return LM_NOMEM(err);
    LM_TRY(load(path, &doc, err));
    LM_TRY(id_of(s, name, arena, &id, err));
    lm_text spec; /* what step() needs, the same on every machine */
    lm_text_init(&spec);
    lm_text_add(&spec, "{\"id\":");
    lm_text_json(&spec, id);
    lm_text_add(&spec, ",\"file\":");
    lm_text_json(&spec, name);
    lm_text_char(&spec, '}');
    lm_status status = spec.failed ? LM_NOMEM(err) : add_file(&f, path, err);
    if (!status) status = files_of(s, doc, &f, err);
    if (!status) status = lm_items_add(items, id, lm_text_peek(&spec), f.files, f.n, err);
    lm_text_done(&spec);
    lm_free(f.files);
    return status;
}

static lm_status list_files(const coolest_read *s, lm_items *items, lm_arena *found, lm_arena *arena, lm_error *err)
{
    lm_paths paths;
    LM_TRY(lm_paths_list(s->search, false, found, &paths, err));
    for (size_t i = 0; i < paths.n; i++) {
        lm_arena_reset(arena);
        const char *path = lm_arena_printf(arena, "%s/%s", paths.root, paths.names[i]);
        if (!path) return LM_NOMEM(err);
        if (s->search != s->path && lm_ends_with(path, "_pyAPI.json")) continue; /* the same, pickled */
        lm_error why;
        lm_error_clear(&why);
        lm_status status = add_item(s, items, path, paths.names[i], arena, &why);
        if (status == LM_EINPUT) {
            LM_TRY(lm_items_fail(items, paths.names[i], &why, err));
        } else if (status) {
            if (err) *err = why;
            return status;
        }
    }
    return LM_OK;
}

static lm_status list(void *self, lm_items *items, lm_error *err)
{
    lm_arena found, arena;
    lm_arena_init(&found);
    lm_arena_init(&arena);
    lm_status status = list_files(self, items, &found, &arena, err);
    lm_arena_done(&arena);
    lm_arena_done(&found);
    return status;
}

/* ---- tensors ---------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *folder;
    lm_arena *arena;
    lm_step *step;
    lm_record *record;
    bool changed; /* numbers of pixels were filled in */
} reading;

static lm_status read_points(const char *path, lm_tensor **ret, lm_error *err)
{
    LM_OWN(lm_table) table = NULL;
    LM_OWN(lm_tensor) tensor = NULL;
    LM_TRY(lm_table_open(path, NULL, &table, err));
    size_t n = lm_table_rows(table), columns = lm_table_columns(table);
    if (columns < 3)
        return LM_FAIL(err, LM_EINPUT, "an irregular grid has columns x, y, value, \"%s\" has %zu", path, columns);
    LM_TRY(lm_tensor_new(LM_F64, 2, (size_t[]){n, 3}, &tensor, err));
    double *to = tensor->data;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < 3; k++) {
            lm_value value;
            LM_TRY(lm_table_cell(table, i, k, &value, err));
            to[3 * i + k] = lm_value_real(value);
        }
    *ret = lm_take(tensor);
    return LM_OK;
}

static lm_status read_image(const char *path, lm_tensor **ret, lm_error *err)
{
    LM_OWN(lm_fits) fits = NULL;
    lm_hdu hdu;
    LM_TRY(lm_fits_open(path, &fits, err));
    LM_TRY(lm_fits_first(fits, &hdu, err));
    return lm_fits_image(fits, &hdu, ret, err);
}

static lm_status fill_size(json_t *grid, const char *name, size_t n, bool *ret_changed, lm_error *err)
{
    if (json_number_value(json_object_get(grid, name)) > 0) return LM_OK;
    if (json_object_set_new(grid, name, json_integer((json_int_t)n))) return LM_NOMEM(err);
    *ret_changed = true;
    return LM_OK;
}

static lm_status read_grid(void *arg, json_t *grid, const char *tensor, bool irregular, lm_error *err)
{
    reading *r = arg;
    const char *name = lm_coolest_file(grid);
    LM_OWN(lm_tensor) pixels = NULL;
    if (!name) return LM_OK;
    const char *path = lm_path_join(r->folder, name, r->arena);
    if (!path) return LM_NOMEM(err);
    if (!is_file(path)) {
        lm_step_warn(r->step, "there is no file \"%s\": no tensor \"%s\"", path, tensor);
        return LM_OK;
    }
    LM_TRY_IN(irregular ? read_points(path, &pixels, err) : read_image(path, &pixels, err), err, "tensor \"%s\"",
              tensor);
    if (!irregular && pixels->ndim >= 2) {
        LM_TRY(fill_size(grid, "num_pix_x", pixels->shape[pixels->ndim - 1], &r->changed, err));
        LM_TRY(fill_size(grid, "num_pix_y", pixels->shape[pixels->ndim - 2], &r->changed, err));
    }
    return lm_record_put(r->record, tensor, lm_take(pixels), err);
}

/* A noise that is the same everywhere, as a map where there is an image. */
static lm_status add_uniform_noise(lm_record *record, double sigma, lm_error *err)
{
    const lm_tensor *image = lm_record_tensor(record, "image");
    LM_OWN(lm_tensor) noise = NULL;
    if (!image || lm_record_tensor(record, "noise")) return LM_OK;
    LM_TRY(lm_tensor_new(LM_F64, image->ndim, image->shape, &noise, err));
    double *to = noise->data;
    for (size_t i = 0, n = lm_tensor_count(noise); i < n; i++) to[i] = sigma;
    return lm_record_put(record, "noise", lm_take(noise), err);
}

/* ---- attributes ------------------------------------------------------------------------------------------------- */

static lm_status set_number(lm_record *record, const char *name, double value, const char *comment, lm_error *err)
{
    return isfinite(value) ? lm_record_set(record, name, lm_real(value), comment, err) : LM_OK;
}

static double number(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

static lm_status set_text(lm_record *record, const char *name, const json_t *object, const char *key,
                          const char *comment, lm_error *err)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text && *text ? lm_record_set(record, name, lm_text_value(text), comment, err) : LM_OK;
}

/* The width of the grid's pixels; NaN: unknown. */
static double grid_pixel(const json_t *grid)
{
    const json_t *field = json_object_get(grid, "field_of_view_x");
    double width = json_number_value(json_array_get(field, 1)) - json_number_value(json_array_get(field, 0));
    double pixel = fabs(width) / number(grid, "num_pix_x");
    return pixel > 0 ? pixel : (double)NAN;
}

static lm_status set_attributes(const json_t *doc, const lm_coolest_model *m, lm_record *record, lm_error *err)
{
    const json_t *observation = json_object_get(doc, "observation"), *instrument = json_object_get(doc, "instrument");
    const json_t *cosmology = json_object_get(doc, "cosmology"), *psf = json_object_get(instrument, "psf");
    const json_t *noise = json_object_get(observation, "noise"), *origin = json_object_get(doc, "coordinates_origin");
    LM_TRY(set_number(record, "pixel", m->pixel, "[arcsec] side of a pixel", err));
    LM_TRY(set_number(record, "z_lens", m->z_lens, "redshift of the lens", err));
    LM_TRY(set_number(record, "z_source", m->z_source, "redshift of the source", err));
    LM_TRY(set_number(record, "H0", number(cosmology, "H0"), "[km/s/Mpc] Hubble constant", err));
    LM_TRY(set_number(record, "Omega_m", number(cosmology, "Om0"), "density of matter today", err));
    LM_TRY(set_number(record, "exposure", number(observation, "exposure_time"), "[s] exposure time", err));
    LM_TRY(set_number(record, "zero_point", number(observation, "mag_zero_point"), "[mag] of 1 electron/s", err));
    LM_TRY(set_number(record, "sky_brightness", number(observation, "mag_sky_brightness"), "[mag/arcsec2]", err));
    LM_TRY(set_number(record, "read_noise", number(instrument, "readout_noise"), "[electron]", err));
    LM_TRY(set_number(record, "psf_fwhm", number(psf, "fwhm") * m->pixel, "[arcsec] of a Gaussian PSF", err));
    LM_TRY(set_number(record, "psf_pixel", grid_pixel(json_object_get(psf, "pixels")), "[arcsec] of the PSF", err));
    LM_TRY(set_text(record, "instrument", instrument, "name", "telescope and camera", err));
    LM_TRY(set_text(record, "band", instrument, "band", "filter", err));
    LM_TRY(set_text(record, "ra", origin, "ra", "of the origin", err));
    LM_TRY(set_text(record, "dec", origin, "dec", "of the origin", err));
    LM_TRY(set_number(record, "noise_sigma", number(noise, "std_dev"), "[electron/s] of uniform noise", err));
    return isfinite(number(noise, "std_dev")) ? add_uniform_noise(record, number(noise, "std_dev"), err) : LM_OK;
}

static lm_status set_lists(const json_t *doc, const lm_coolest_model *m, lm_record *record, lm_error *err)
{
    for (int list = 0; list < LM_COOLEST_LISTS; list++) {
        LM_OWN(lm_chars) text = lm_coolest_list_text(m, (lm_coolest_list)list);
        if (!text) return LM_NOMEM(err);
        LM_TRY(lm_record_set(record, lm_coolest_list_names[list], lm_text_value(text), NULL, err));
    }
    lm_text text;
    lm_text_init(&text);
    lm_coolest_print(&text, doc, 0);
    lm_status status = text.failed ? LM_NOMEM(err)
                                   : lm_record_set(record, "coolest_meta", lm_text_value(lm_text_peek(&text)),
                                                   "COOLEST template", err);
    lm_text_done(&text);
    return status;
}

static void warn(lm_step *step, const lm_coolest_model *m)
{
    for (const char *at = lm_text_peek(&m->warnings), *end; (end = strchr(at, '\n')); at = end + 1)
        lm_step_warn(step, "%.*s", (int)(end - at), at);
}

static lm_status read_record(const coolest_read *s, const json_t *doc, reading *r, lm_coolest_model *m, lm_error *err)
{
    LM_TRY(lm_coolest_read(doc, m, err));
    if (s->tensors) LM_TRY(lm_coolest_grids(doc, m, read_grid, r, err));
    if (r->changed) { /* now more is known of the grids */
        lm_coolest_done(m);
        LM_TRY(lm_coolest_read(doc, m, err));
    }
    LM_TRY(set_lists(doc, m, r->record, err));
    LM_TRY(set_attributes(doc, m, r->record, err));
    warn(r->step, m);
    return LM_OK;
}

static lm_status read_item(const coolest_read *s, lm_step *step, lm_arena *arena, lm_error *err)
{
    LM_OWN(json_t) item = json_loads(lm_step_item(step), 0, NULL);
    LM_OWN(json_t) doc = NULL;
    LM_OWN(lm_record) record = NULL;
    const char *file, *id;
    if (json_unpack(item, "{s:s, s:s}", "file", &file, "id", &id))
        return LM_FAIL(err, LM_EBUG, "an item of coolest.read that is none");
    const char *path = lm_path_join(s->root, file, arena);
    reading r = {.folder = path ? folder_of(path, arena) : NULL, .arena = arena, .step = step};
    if (!r.folder) return LM_NOMEM(err);
    LM_TRY(load(path, &doc, err));
    LM_TRY(lm_record_new(id, &record, err));
    r.record = record;
    lm_coolest_model m = {.places = NULL};
    lm_status status = read_record(s, doc, &r, &m, err);
    lm_coolest_done(&m);
    LM_TRY_IN(status, err, "\"%s\"", path);
    return lm_step_base(step, NULL, record, err);
}

static lm_status step(const void *self, lm_step *step, lm_error *err)
{
    lm_arena arena;
    lm_arena_init(&arena);
    lm_status status = read_item(self, step, &arena, err);
    lm_arena_done(&arena);
    return status;
}

const lm_operator lm_op_coolest_read = {
    .struct_size = sizeof(lm_operator),
    .name = "coolest.read",
    .version = 1,
    .summary = "Read lens models of the COOLEST standard: a record a template",
    .doc =
        "Mass and light become lists of components in the form that the lens operators take, with the point "
        "estimates of the template, or the medians of the posterior where there are none: mass: \"{mass}\", source: "
        "\"{source}\", light: \"{light}\". Position angles are turned from degrees east of north to rad from +x; "
        "pixels of a profile, per pixel of the instrument, get the factor that makes them brightness per arcsec^2.\n\n"
        "Galaxies at the largest redshift are the source, the light of all others is lens light. A profile that has "
        "no counterpart here is named in the log. The whole template stays in \"coolest_meta\", from which "
        "coolest.write begins, so that nothing is lost. Redshifts, cosmology, pixel, exposure, zero_point, "
        "read_noise, psf_fwhm, instrument, band, ra, dec become attributes where they are given. Files that "
        "Python pickled (_pyAPI.json) are left out of folders.",
    .example = "path: models\n",
    .shape = LM_SOURCE,
    .size = sizeof(coolest_read),
    .params = params,
    .fields = fields,
    .check = check,
    .open = open_self,
    .list = list,
    .step = step,
    .close = close_self,
};
