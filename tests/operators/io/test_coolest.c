/* coolest.read and coolest.write: profiles against the standard's formulas, templates written and read again, what
 * cannot be held, and every allocation failing. tests/python/test_coolest.py compares with the standard's own
 * package. */
#include "operators/io/_coolest.h"
#include "runtime/param.h"
#include "runtime/step.h"
#include "tests/apply.h"
#include "tests/test.h"

#include <sys/stat.h>
#include <unistd.h>

extern const lm_operator lm_op_coolest_read, lm_op_coolest_write;

/* ---- reading, with the engine's list stood in for --------------------------------------------------------------- */

typedef struct {
    char *id, *spec, *why;
    size_t n_files;
} listed;

struct lm_items {
    listed at[32];
    size_t n;
};

lm_status lm_items_add(lm_items *items, const char *id, const char *spec, const char *const *files, size_t n_files,
                       lm_error *err)
{
    (void)err;
    for (size_t i = 0; i < n_files; i++) CHECK(access(files[i], R_OK) == 0);
    items->at[items->n++] = (listed){strdup(id), strdup(spec), NULL, n_files};
    return LM_OK;
}

lm_status lm_items_fail(lm_items *items, const char *id, const lm_error *why, lm_error *err)
{
    (void)err;
    items->at[items->n++] = (listed){strdup(id), NULL, strdup(why->text), 0};
    return LM_OK;
}

lm_status lm_items_watch(lm_items *items, const char *folder, lm_error *err)
{
    (void)items, (void)folder, (void)err;
    return LM_OK;
}

typedef struct {
    lm_arena arena;
    json_t *with, *complete;
    void *self;
    lm_items items;
} reader;

static lm_status list_all(reader *r, const char *path, lm_error *err)
{
    const lm_operator *op = &lm_op_coolest_read;
    const char *canonical;
    memset(r, 0, sizeof *r);
    lm_arena_init(&r->arena);
    r->with = json_pack("{s:s}", "path", path);
    CHECK(r->with && (r->self = lm_arena_alloc(&r->arena, 1, op->size)));
    OK(lm_params_fill(op, r->with, ".", &r->arena, r->self, &r->complete, &canonical, NULL), err);
    OK(op->check(r->self, err), err);
    OK(op->open(r->self, err), err);
    return op->list(r->self, &r->items, err);
}

static lm_status read_item(reader *r, size_t i, lm_record **ret, lm_error *err)
{
    lm_step step;
    lm_step_init(&step);
    lm_step_begin(&step, &lm_op_coolest_read, r->self, r->complete, "test");
    step.item = r->items.at[i].spec;
    step.id = r->items.at[i].id;
    lm_status status = lm_op_coolest_read.step(r->self, &step, err);
    if (!status) status = lm_step_finish(&step, err);
    if (!status) *ret = lm_take(step.outputs[0].record);
    lm_step_done(&step);
    return status;
}

static void done(reader *r)
{
    lm_op_coolest_read.close(r->self);
    for (size_t i = 0; i < r->items.n; i++)
        free(r->items.at[i].id), free(r->items.at[i].spec), free(r->items.at[i].why);
    json_decref(r->with);
    json_decref(r->complete);
    lm_arena_done(&r->arena);
}

/* The one record of a template. */
static lm_record *read_one(const char *path)
{
    reader r;
    lm_error err;
    lm_record *record = NULL;
    lm_error_clear(&err);
    OK(list_all(&r, path, &err), &err);
    EQUAL_INT(r.items.n, 1);
    if (r.items.at[0].why) FAIL("%s", r.items.at[0].why);
    OK(read_item(&r, 0, &record, &err), &err);
    done(&r);
    return record;
}

static const char *in_folder(const char *name)
{
    static char paths[8][1200], folder[1000];
    static unsigned turn;
    char *path = paths[turn++ % 8];
    if (!*folder) snprintf(folder, sizeof folder, "%s", test_folder()); /* one for all tests */
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static lm_status write_record(const lm_record *record, const char *path, const char *more, lm_error *err)
{
    char params[8000];
    snprintf(params, sizeof params, "{\"path\": \"%s\"%s}", path, more);
    lm_record *outputs[LM_MAX_PORTS] = {NULL};
    apply_input inputs[] = {{"in", &record, 1}, {NULL, NULL, 0}};
    return apply_step(&lm_op_coolest_write, params, inputs, 0, outputs, NULL, err);
}

static json_t *load(const char *path)
{
    json_error_t why;
    json_t *doc = json_load_file(path, 0, &why);
    if (!doc) FAIL("%s: %s", path, why.text);
    return doc;
}

static const char *text_of(const lm_record *record, const char *name)
{
    const lm_attr *attr = lm_record_attr(record, name);
    CHECK(attr && attr->value.kind == LM_KIND_TEXT);
    return attr->value.text;
}

static void same_list(const char *found, const char *wanted)
{
    LM_OWN(json_t) a = json_loads(found, 0, NULL);
    LM_OWN(json_t) b = json_loads(wanted, 0, NULL);
    CHECK(a && b);
    if (!lm_coolest_equal(a, b)) FAIL("%s\nis not %s", found, wanted);
}

/* ---- formulas --------------------------------------------------------------------------------------------------- */

static double value_of(const lm_coolest_profile *p, const char *name)
{
    for (unsigned i = 0; i < p->n; i++)
        if (strcmp(p->name[i], name) == 0) return p->value[i];
    FAIL("profile %s has no %s", p->type, name);
}

static lm_mass mass_of(lm_mass_kind kind, const char *const *names, const double *values)
{
    lm_mass mass = {.kind = kind};
    const lm_mass_model *model = lm_mass_model_of(kind);
    for (unsigned i = 0; i < model->n_params; i++) mass.p[i] = model->params[i].otherwise;
    for (; *names; names++, values++) mass.p[lm_mass_param_of(kind, *names)] = *values;
    lm_error err;
    OK(lm_mass_check(&mass, &err), &err);
    return mass;
}

static double kappa_of(const lm_mass *mass, double x, double y)
{
    double kappa = 0;
    lm_mass_add(mass, 1, &x, &y, &(lm_mass_maps){.kappa = &kappa});
    return kappa;
}

/* The standard's coordinates along the major axis of a profile whose angle is in degrees from +y. */
static void own_axes(const lm_coolest_profile *p, double x, double y, double *u, double *v)
{
    double phi = (value_of(p, "phi") + 90) * M_PI / 180, dx = x - value_of(p, "center_x"),
           dy = y - value_of(p, "center_y");
    *u = dx * cos(phi) + dy * sin(phi);
    *v = dy * cos(phi) - dx * sin(phi);
}

static const double places[][2] = {{0.8, -0.45}, {-0.3, 0.2}, {1.5, 1.1}, {0.02, -0.9}};

TEST(angles_turn_and_come_back)
{
    NEAR(lm_coolest_degrees(0), 90, ABS(0)); /* along x: -90 is outside (-90, 90] */
    NEAR(lm_coolest_degrees(M_PI / 2), 0, ABS(1e-14));
    NEAR(lm_coolest_degrees(M_PI / 4), -45, ABS(1e-14));
    NEAR(lm_coolest_degrees(-M_PI / 4), 45, ABS(1e-14));
    NEAR(lm_coolest_radians(0), M_PI / 2, ABS(0));
    NEAR(lm_coolest_radians(-45), M_PI / 4, ABS(1e-16));
    for (double phi = -20; phi < 20; phi += 0.37) {
        double degrees = lm_coolest_degrees(phi), back = lm_coolest_radians(degrees);
        CHECK(degrees > -90 && degrees <= 90 && back > -M_PI / 2 && back <= M_PI / 2);
        NEAR(remainder(back - phi, M_PI), 0, ABS(1e-14));
    }
}

TEST(masses_are_the_standards_formulas)
{
    lm_coolest_profile p;
    double u, v;
    lm_mass sie = mass_of(LM_MASS_SIE, (const char *const[]){"theta_E", "q", "phi", "x", "y", NULL},
                          (double[]){1.3, 0.7, 0.6, 0.1, -0.2});
    lm_mass nie =
        mass_of(LM_MASS_SIE, (const char *const[]){"theta_E", "q", "phi", "s", NULL}, (double[]){1.3, 0.7, -1.2, 0.25});
    lm_mass epl =
        mass_of(LM_MASS_EPL, (const char *const[]){"theta_E", "t", "q", "phi", NULL}, (double[]){1.1, 1.2, 0.6, 2.9});
    lm_mass jaffe =
        mass_of(LM_MASS_PJAFFE, (const char *const[]){"kappa_0", "a", "s", "x", NULL}, (double[]){0.8, 0.1, 0.9, 0.2});
    for (size_t i = 0; i < 4; i++) {
        double x = places[i][0], y = places[i][1];
        CHECK(!lm_coolest_of_mass(&sie, &p));
        EQUAL_TEXT(p.type, "SIE");
        own_axes(&p, x, y, &u, &v);
        double q = value_of(&p, "q"), theta_E = value_of(&p, "theta_E");
        NEAR(kappa_of(&sie, x, y), theta_E / 2 / sqrt(q * u * u + v * v / q), REL(1e-13));

        CHECK(!lm_coolest_of_mass(&nie, &p));
        EQUAL_TEXT(p.type, "NIE");
        own_axes(&p, x, y, &u, &v);
        q = value_of(&p, "q"), theta_E = value_of(&p, "theta_E");
        double core = value_of(&p, "r_core"), b = core + hypot(theta_E, core);
        NEAR(kappa_of(&nie, x, y), b / 2 / sqrt(q * u * u + v * v / q + core * core), REL(1e-13));
        /* theta_E is where the mean of kappa over the ellipse is 1: b (sqrt(theta_E^2 + core^2) - core) = theta_E^2 */
        NEAR(b * (hypot(theta_E, core) - core), theta_E * theta_E, REL(1e-13));

        CHECK(!lm_coolest_of_mass(&epl, &p));
        EQUAL_TEXT(p.type, "PEMD");
        own_axes(&p, x, y, &u, &v);
        q = value_of(&p, "q"), theta_E = value_of(&p, "theta_E");
        double gamma = value_of(&p, "gamma");
        NEAR(kappa_of(&epl, x, y), (3 - gamma) / 2 * pow(theta_E / sqrt(q * u * u + v * v / q), gamma - 1), REL(1e-12));

        CHECK(!lm_coolest_of_mass(&jaffe, &p));
        EQUAL_TEXT(p.type, "Chameleon");
        own_axes(&p, x, y, &u, &v);
        double s_c = value_of(&p, "s_c"), s_t = value_of(&p, "s_t"), rr = u * u + v * v;
        NEAR(kappa_of(&jaffe, x, y), value_of(&p, "b") / 2 * (1 / sqrt(rr + s_c * s_c) - 1 / sqrt(rr + s_t * s_t)),
             REL(1e-12));
    }
    lm_mass core = mass_of(LM_MASS_SIE, (const char *const[]){"theta_E", "q", "s", NULL}, (double[]){0.5, 1, 0.3});
    CHECK(lm_coolest_of_mass(&core, &p)); /* its convergence is nowhere 1 on average */
    lm_mass nfw = mass_of(LM_MASS_NFW, (const char *const[]){"kappa_s", "theta_s", NULL}, (double[]){0.1, 5});
    CHECK(lm_coolest_of_mass(&nfw, &p));
}

TEST(shear_has_its_sign_and_its_origin)
{
    lm_coolest_profile p;
    lm_mass shear = mass_of(LM_MASS_SHEAR, (const char *const[]){"gamma1", "gamma2", "x", "y", NULL},
                            (double[]){0.03, -0.08, 0.4, -0.7});
    lm_mass sheet = mass_of(LM_MASS_SHEET, (const char *const[]){"kappa", "x", "y", NULL}, (double[]){0.1, -0.5, 0.2});
    double shift[2] = {0, 0};
    CHECK(!lm_coolest_of_mass(&shear, &p));
    lm_coolest_shift(&shear, shift);
    lm_coolest_shift(&sheet, shift);
    double g = value_of(&p, "gamma_ext"), phi = (value_of(&p, "phi_ext") + 90) * M_PI / 180;
    for (size_t i = 0; i < 4; i++) {
        double x = places[i][0], y = places[i][1], ax = 0, ay = 0;
        lm_mass_add(&shear, 1, &x, &y, &(lm_mass_maps){.alpha_x = &ax, .alpha_y = &ay});
        lm_mass_add(&sheet, 1, &x, &y, &(lm_mass_maps){.alpha_x = &ax, .alpha_y = &ay});
        /* the standard's psi = r^2/2 gamma cos 2(phi_pos - phi_ext) + kappa r^2/2, about the origin */
        double wanted_x = g * (cos(2 * phi) * x + sin(2 * phi) * y) + 0.1 * x;
        double wanted_y = g * (sin(2 * phi) * x - cos(2 * phi) * y) + 0.1 * y;
        NEAR(ax, wanted_x - shift[0], ABS(1e-15));
        NEAR(ay, wanted_y - shift[1], ABS(1e-15));
    }
}

static lm_light light_of(const char *kind, const char *const *names, const double *values)
{
    lm_light light = lm_light_of(lm_light_kind_of(kind));
    for (; *names; names++, values++) light.param[lm_light_param_of(light.kind, *names)] = *values;
    return light;
}

TEST(lights_are_the_standards_formula)
{
    static const char *const names[] = {"I_e", "R_e", "n", "q", "phi", "x", "y", NULL};
    const double nowhere[2] = {0, 0};
    for (int k = 0; k < 5; k++) {
        lm_light light = light_of("sersic", names,
                                  (double[]){2.5, 0.3,
                                             k == 1   ? 0.5
                                             : k == 2 ? 4
                                                      : 1.3,
                                             0.6, 0.9, 0.1, 0});
        if (k == 3) light.option[lm_light_option_of(light.kind, "b_n")] = LM_SERSIC_LINEAR;
        if (k == 3) light.option[lm_light_option_of(light.kind, "radius")] = 1; /* on the major axis */
        if (k == 4)
            light = light_of("gaussian", (const char *const[]){"flux", "sigma", "q", "phi", "x", "y", NULL},
                             (double[]){3, 0.25, 0.8, -0.4, 0.05, 0.1});
        lm_error err;
        OK(lm_light_check(&light, &err), &err);
        lm_coolest_profile p;
        CHECK(!lm_coolest_of_light(&light, nowhere, &p));
        EQUAL_TEXT(p.type, "Sersic");
        double q = value_of(&p, "q"), n = value_of(&p, "n"), b = 1.9992 * n - 0.3271, u, v;
        for (size_t i = 0; i < 4; i++) {
            double x = places[i][0], y = places[i][1], found = 0;
            lm_light_add(&light, 1, &x, &y, &found);
            own_axes(&p, x, y, &u, &v);
            double R = sqrt(q * u * u + v * v / q) / value_of(&p, "theta_eff");
            NEAR(found, value_of(&p, "I_eff") * exp(-b * (pow(R, 1 / n) - 1)), REL(1e-11));
        }
    }
}

/* ---- templates -------------------------------------------------------------------------------------------------- */

#define MASS                                                                                                           \
    "[{\"type\": \"shear\", \"gamma1\": 0.03, \"gamma2\": -0.04, \"x\": 0.3}, {\"type\": \"epl\", \"theta_E\": 1.1, "  \
    "\"t\": 0.9, \"e1\": 0.1, \"e2\": 0.05}, {\"type\": \"multipole\", \"m\": 3, \"a_m\": 0.02, \"phi_m\": 0.3}, "     \
    "{\"type\": \"sie\", \"theta_E\": 1, \"q\": 0.5, \"phi\": 0.7, \"s\": 0.05}]"
#define SOURCE                                                                                                         \
    "[{\"type\": \"sersic\", \"I_e\": 1, \"R_e\": 0.1, \"n\": 2.5, \"q\": 0.5, \"phi\": 0.2, \"x\": 0.01}, "           \
    "{\"type\": "                                                                                                      \
    "\"pixels\", \"image\": \"blob\", \"scale\": 0.02, \"amp\": 3, \"x\": 0.1}, {\"type\": \"shapelets\", \"beta\": "  \
    "0.2, "                                                                                                            \
    "\"n_max\": 1, \"coefficients\": [1, 0.5, -0.5]}]"

static lm_record *model_record(void)
{
    lm_record *record = record_new("lens-1");
    double image[6 * 6], blob[4 * 4], noise[6 * 6], mask[6 * 6];
    for (int i = 0; i < 36; i++) image[i] = sin(i), noise[i] = 0.1 + 0.01 * i, mask[i] = i % 5 != 0;
    for (int i = 0; i < 16; i++) blob[i] = cos(i);
    record_f64(record, "image", image, 2, (size_t[]){6, 6});
    record_f64(record, "noise", noise, 2, (size_t[]){6, 6});
    record_f64(record, "mask", mask, 2, (size_t[]){6, 6});
    record_f64(record, "blob", blob, 2, (size_t[]){4, 4});
    record_set(record, "mass", lm_text_value(MASS));
    record_set(record, "source", lm_text_value(SOURCE));
    record_set(record, "pixel", lm_real(0.05));
    record_set(record, "z_lens", lm_real(0.3));
    record_set(record, "z_source", lm_real(1.7));
    record_set(record, "H0", lm_real(70));
    record_set(record, "Omega_m", lm_real(0.3));
    record_set(record, "psf_fwhm", lm_real(0.1));
    record_set(record, "instrument", lm_text_value("HST"));
    return record;
}

TEST(what_is_written_is_read)
{
    lm_error err;
    LM_OWN(lm_record) record = model_record();
    OK(write_record(record, in_folder("{id}.json"), "", &err), &err);
    LM_OWN(lm_record) back = read_one(in_folder("lens-1.json"));
    EQUAL_TEXT(lm_record_id(back), "lens-1");
    same_list(text_of(back, "mass"), MASS);
    static const char *const numbers[] = {"pixel", "z_lens", "z_source", "H0", "Omega_m", "psf_fwhm"};
    for (size_t i = 0; i < 6; i++)
        NEAR(lm_value_real(lm_record_value(back, numbers[i])), lm_value_real(lm_record_value(record, numbers[i])),
             REL(1e-15));
    EQUAL_TEXT(text_of(back, "instrument"), "HST");
    static const char *const tensors[] = {"image", "noise"};
    for (size_t i = 0; i < 2; i++) {
        const lm_tensor *a = lm_record_tensor(record, tensors[i]), *b = lm_record_tensor(back, tensors[i]);
        CHECK(b && lm_tensor_same_shape(a, b) && memcmp(a->data, b->data, a->bytes) == 0);
    }
    CHECK(lm_record_tensor(back, "mask")->dtype == LM_U8 && lm_tensor_get(lm_record_tensor(back, "mask"), 5) == 0);
    /* pixels are per pixel of the instrument in the file: the light is the same, not its two factors */
    LM_OWN(json_t) source = json_loads(text_of(back, "source"), 0, NULL);
    const json_t *pixels = json_array_get(source, 1);
    EQUAL_TEXT(json_string_value(json_object_get(pixels, "image")), "blob");
    NEAR(json_number_value(json_object_get(pixels, "scale")), 0.02, ABS(0));
    double amp = json_number_value(json_object_get(pixels, "amp"));
    const lm_tensor *a = lm_record_tensor(record, "blob"), *b = lm_record_tensor(back, "blob");
    for (size_t i = 0; i < 16; i++) NEAR(amp * lm_tensor_get(b, i), 3 * lm_tensor_get(a, i), REL(4e-16));
}

/* Bytes of a file. */
static char *bytes_of(const char *path)
{
    FILE *file = fopen(path, "rb");
    CHECK(file);
    char *bytes = calloc(1, 1 << 20);
    CHECK(bytes && fread(bytes, 1, (1 << 20) - 1, file) > 0);
    fclose(file);
    return bytes;
}

TEST(writing_what_was_read_gives_the_same_bytes)
{
    lm_error err;
    LM_OWN(lm_record) record = model_record();
    OK(write_record(record, in_folder("a.json"), "", &err), &err);
    LM_OWN(lm_record) first = read_one(in_folder("a.json"));
    OK(write_record(first, in_folder("b.json"), "", &err), &err);
    LM_OWN(lm_record) second = read_one(in_folder("b.json"));
    OK(write_record(second, in_folder("b.json"), "", &err), &err);
    LM_OWN(lm_record) third = read_one(in_folder("b.json"));
    EQUAL_TEXT(text_of(second, "coolest_meta"), text_of(third, "coolest_meta"));
    EQUAL_TEXT(text_of(first, "source"), text_of(second, "source"));
    char *a = bytes_of(in_folder("a_source_pixels.fits")), *b = bytes_of(in_folder("b_source_pixels.fits"));
    CHECK(memcmp(a, b, 5760) == 0);
    free(a), free(b);
}

/* A template of others, with one profile that we have not, priors, and a point estimate that is missing. */
static const char other[] =
    "{\"standard\": \"COOLEST\", \"mode\": \"MAP\", \"multiplane_betas\": [1], \"meta\": {\"code\": \"x\"}, "
    "\"instrument\": {\"pixel_size\": 0.1, \"psf\": {\"type\": null}}, \"observation\": {\"pixels\": {\"fits_file\": "
    "{\"path\": \"gone.fits\"}}, \"noise\": {\"type\": \"UniformGaussianNoise\", \"std_dev\": 0.2}}, "
    "\"lensing_entities\": [{\"type\": \"Galaxy\", \"name\": \"S\", \"redshift\": 2, \"mass_model\": [], "
    "\"light_model\": "
    "[{\"type\": \"Sersic\", \"parameters\": {\"I_eff\": {\"point_estimate\": {\"value\": null}, \"posterior_stats\": "
    "{\"median\": 7.5}}, \"theta_eff\": {\"point_estimate\": {\"value\": 0.2}, \"prior\": {\"type\": \"UniformPrior\", "
    "\"min_value\": 0, \"max_value\": 1}}, \"n\": {\"point_estimate\": {\"value\": 1}}, \"q\": {\"point_estimate\": "
    "{\"value\": 1}}, \"phi\": {\"point_estimate\": {\"value\": 0}}, \"center_x\": {\"point_estimate\": {\"value\": "
    "0}}, "
    "\"center_y\": {\"point_estimate\": {\"value\": 0}}}}]}, {\"type\": \"Galaxy\", \"name\": \"L\", \"redshift\": "
    "0.5, "
    "\"mass_model\": [{\"type\": \"Wonder\", \"parameters\": {\"p\": {\"point_estimate\": {\"value\": 1}}}}, "
    "{\"type\": "
    "\"ExternalShear\", \"parameters\": {\"gamma_ext\": {\"point_estimate\": {\"value\": 0.1}}, \"phi_ext\": "
    "{\"point_estimate\": {\"value\": 90}}}}], \"light_model\": []}]}";

static const char *write_other(const char *name, const char *text)
{
    const char *path = in_folder(name);
    FILE *file = fopen(path, "w");
    CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
    return path;
}

TEST(templates_of_others_lose_nothing)
{
    lm_error err;
    LM_OWN(lm_record) record = read_one(write_other("other.json", other));
    same_list(text_of(record, "mass"), "[{\"type\": \"shear\", \"gamma1\": 0.1, \"gamma2\": 0}]");
    same_list(text_of(record, "source"),
              "[{\"type\": \"sersic\", \"I_e\": 7.5, \"R_e\": 0.2, \"n\": 1, \"q\": 1, \"phi\": "
              "1.5707963267948966, \"x\": 0, \"y\": 0, \"b_n\": \"linear\"}]");
    same_list(text_of(record, "light"), "[]");
    NEAR(lm_value_real(lm_record_value(record, "z_source")), 2, ABS(0));
    NEAR(lm_value_real(lm_record_value(record, "z_lens")), 0.5, ABS(0));
    OK(write_record(record, in_folder("again.json"), "", &err), &err);
    LM_OWN(json_t) again = load(in_folder("again.json"));
    LM_OWN(json_t) wanted = json_loads(other, 0, NULL);
    json_object_del(json_object_get(again, "meta"), "lensmill"); /* empty */
    json_object_del(again, "coordinates_origin");                /* what a template must have is added */
    CHECK(lm_coolest_equal(again, wanted));
}

TEST(changed_components_change_their_profiles_alone)
{
    lm_error err;
    LM_OWN(lm_record) record = read_one(write_other("other.json", other));
    record_set(record, "source",
               lm_text_value("[{\"type\": \"sersic\", \"I_e\": 8, \"R_e\": 0.25, \"n\": 1, \"b_n\": \"linear\"}]"));
    OK(write_record(record, in_folder("changed.json"), "", &err), &err);
    LM_OWN(json_t) doc = load(in_folder("changed.json"));
    const json_t *entities = json_object_get(doc, "lensing_entities");
    const json_t *sersic = json_array_get(json_object_get(json_array_get(entities, 0), "light_model"), 0);
    NEAR(lm_coolest_value(sersic, "theta_eff"), 0.25, ABS(0));
    NEAR(lm_coolest_value(sersic, "I_eff"), 8, ABS(0));
    const json_t *theta = json_object_get(json_object_get(sersic, "parameters"), "theta_eff");
    EQUAL_TEXT(json_string_value(json_object_get(json_object_get(theta, "prior"), "type")), "UniformPrior");
    /* the stale median is gone */
    const json_t *stats =
        json_object_get(json_object_get(json_object_get(sersic, "parameters"), "I_eff"), "posterior_stats");
    CHECK(json_is_null(json_object_get(stats, "median")));
    const json_t *mass = json_object_get(json_array_get(entities, 1), "mass_model");
    EQUAL_INT(json_array_size(mass), 2);
    NEAR(lm_coolest_value(json_array_get(mass, 1), "phi_ext"), 90, ABS(0));

    /* one more, of another kind: the unknown profile stays */
    record_set(record, "mass", lm_text_value("[{\"type\": \"sis\", \"theta_E\": 1.5}]"));
    OK(write_record(record, in_folder("more.json"), "", &err), &err);
    LM_OWN(json_t) more = load(in_folder("more.json"));
    mass = json_object_get(json_array_get(json_object_get(more, "lensing_entities"), 1), "mass_model");
    EQUAL_INT(json_array_size(mass), 2);
    EQUAL_TEXT(json_string_value(json_object_get(json_array_get(mass, 0), "type")), "Wonder");
    EQUAL_TEXT(json_string_value(json_object_get(json_array_get(mass, 1), "id")), "1-galaxy-mass-1-SIE");
    LM_OWN(lm_record) back = read_one(in_folder("more.json"));
    same_list(text_of(back, "mass"), "[{\"type\": \"sis\", \"theta_E\": 1.5}]");
}

TEST(edited_numbers_win_over_what_was_written)
{
    lm_error err;
    LM_OWN(lm_record) record = model_record();
    OK(write_record(record, in_folder("a.json"), "", &err), &err);
    LM_OWN(json_t) doc = load(in_folder("a.json"));
    json_t *entity = json_array_get(json_object_get(doc, "lensing_entities"), 0);
    json_t *pemd = json_array_get(json_object_get(entity, "mass_model"), 0);
    json_t *theta_E = json_object_get(json_object_get(pemd, "parameters"), "theta_E");
    json_object_set_new(json_object_get(theta_E, "point_estimate"), "value", json_real(1.25));
    CHECK(json_dump_file(doc, in_folder("a.json"), 0) == 0);
    LM_OWN(lm_record) back = read_one(in_folder("a.json"));
    LM_OWN(json_t) mass = json_loads(text_of(back, "mass"), 0, NULL);
    EQUAL_INT(json_array_size(mass), 4);
    const json_t *epl = json_array_get(mass, 1);
    NEAR(json_number_value(json_object_get(epl, "theta_E")), 1.25, ABS(0));
    CHECK(json_object_get(epl, "gamma") &&
          !json_object_get(epl, "e1")); /* the standard's form: ours was of other numbers */
    EQUAL_TEXT(json_string_value(json_object_get(json_array_get(mass, 2), "type")), "multipole");
}

TEST(posteriors_are_in_the_standards_parameters)
{
    enum { N = 201 };
    lm_error err;
    double draws[N][4];
    for (int i = 0; i < N; i++) { /* phi runs over the place where degrees jump: along x */
        double t = (i - 100) / 100.0;
        draws[i][0] = 1 + 0.1 * t, draws[i][1] = 0.1 * t, draws[i][2] = 2 + t, draws[i][3] = 5;
    }
    LM_OWN(lm_record) record = record_new("p");
    record_f64(record, "samples", draws[0], 2, (size_t[]){N, 4});
    record_set(record, "names", lm_text_value("sie.theta_E, phi,sersic2.R_e,  other"));
    OK(write_record(
           record, in_folder("p.json"),
           ", \"pixel\": 0.1, \"mass\": [{\"type\": \"sie\", \"theta_E\": 1, \"q\": 0.5, \"phi\": 0}], \"light\": "
           "[{\"type\": \"sersic\", \"I_e\": 1, \"R_e\": 1, \"n\": 1, \"b_n\": \"linear\"}, {\"type\": \"sersic\", "
           "\"I_e\": 1, \"R_e\": 2, \"n\": 1, \"b_n\": \"linear\"}]",
           &err),
       &err);
    LM_OWN(json_t) doc = load(in_folder("p.json"));
    const json_t *lens = json_array_get(json_object_get(doc, "lensing_entities"), 0);
    const json_t *sie = json_object_get(json_array_get(json_object_get(lens, "mass_model"), 0), "parameters");
    const json_t *stats = json_object_get(json_object_get(sie, "theta_E"), "posterior_stats");
    NEAR(json_number_value(json_object_get(stats, "mean")), 1, REL(1e-14));
    NEAR(json_number_value(json_object_get(stats, "percentile_16th")), 1 - 0.068, REL(1e-14));
    /* "phi" alone could be of three components: it belongs to none */
    CHECK(!json_object_get(json_object_get(sie, "phi"), "posterior_stats"));
    const json_t *second = json_object_get(json_array_get(json_object_get(lens, "light_model"), 1), "parameters");
    stats = json_object_get(json_object_get(second, "theta_eff"), "posterior_stats");
    NEAR(json_number_value(json_object_get(stats, "median")), 2, REL(1e-14));
    NEAR(json_number_value(json_object_get(stats, "percentile_84th")), 2.68, REL(1e-14));
    const json_t *plain = json_object_get(json_object_get(json_object_get(doc, "meta"), "lensmill"), "posterior");
    NEAR(json_number_value(json_object_get(json_object_get(plain, "other"), "mean")), 5, ABS(0));

    record_set(record, "names", lm_text_value("theta_E,mass.phi,sersic2.R_e,other"));
    OK(write_record(record, in_folder("q.json"),
                    ", \"pixel\": 0.1, \"mass\": [{\"type\": \"sie\", \"theta_E\": 1, \"q\": 0.5, \"phi\": 0}]", &err),
       &err);
    LM_OWN(json_t) again = load(in_folder("q.json"));
    lens = json_array_get(json_object_get(again, "lensing_entities"), 0);
    sie = json_object_get(json_array_get(json_object_get(lens, "mass_model"), 0), "parameters");
    stats = json_object_get(json_object_get(sie, "phi"), "posterior_stats");
    NEAR(json_number_value(json_object_get(stats, "mean")), 90, REL(1e-13)); /* not 0, the mean of +-90 */
    NEAR(json_number_value(json_object_get(stats, "percentile_84th")), 90 + 0.068 * 180 / M_PI, REL(1e-13));
}

static void refused(const lm_record *record, const char *more, const char *part)
{
    lm_error err;
    EQUAL_INT(write_record(record, in_folder("no.json"), more, &err), LM_EINPUT);
    CONTAINS(err.text, part);
    CHECK(access(in_folder("no.json"), F_OK) != 0);
}

TEST(what_is_wrong_is_named)
{
    LM_OWN(lm_record) record = record_new("x");
    refused(record, "", "\"pixel\"");
    refused(record, ", \"pixel\": 0.1, \"mass\": \"{mass}\"", "\"mass\"");
    record_set(record, "mass", lm_text_value("[{\"type\": \"sie\", \"theta_E\": -1, \"q\": 0.5}]"));
    refused(record, ", \"pixel\": 0.1", "\"mass\", component 1");
    record_set(record, "mass", lm_text_value("{}"));
    refused(record, ", \"pixel\": 0.1", "no list of components");
    record_set(record, "mass", lm_text_value("[{\"type\": \"pixels\"}]"));
    refused(record, ", \"pixel\": 0.1", "pixels");
    record_set(record, "mass", lm_text_value("[]"));
    record_set(record, "source", lm_text_value("[{\"type\": \"pixels\", \"image\": \"s\", \"scale\": 1}]"));
    refused(record, ", \"pixel\": 0.1", "no tensor \"s\"");
    record_set(record, "source", lm_text_value("[]"));
    record_set(record, "coolest_meta", lm_text_value("{\"standard\": \"OTHER\"}"));
    refused(record, ", \"pixel\": 0.1", "\"standard\" is \"OTHER\"");
}

TEST(files_that_are_no_templates_are_dead_letters)
{
    char folder[1200], name[64];
    snprintf(folder, sizeof folder, "%s", in_folder("dead"));
    CHECK(mkdir(folder, 0777) == 0);
    static const char *const files[][3] = {
        {"a_broken.json", "{\"standard\": \"COOLEST\",\n\"x\": }", "line 2"},
        {"b_other.json", "{\"a\": 1}", "\"standard\" is missing"},
        {"c_pickle.json", "{\"py/object\": \"coolest\"}", "pickled"},
        {"d_no_list.json", "{\"standard\": \"COOLEST\"}", "lensing_entities"},
        {"e_odd.json", "{\"standard\": \"COOLEST\", \"lensing_entities\": [3]}", "entity 1"},
        {"f_typeless.json", "{\"standard\": \"COOLEST\", \"lensing_entities\": [{\"mass_model\": [{}]}]}",
         "no \"type\""},
        {"g_pyAPI.json", "{}", NULL},
    };
    for (size_t i = 0; i < 7; i++) {
        snprintf(name, sizeof name, "dead/%s", files[i][0]);
        write_other(name, files[i][1]);
    }
    reader r;
    lm_error err;
    OK(list_all(&r, folder, &err), &err);
    EQUAL_INT(r.items.n, 6);
    for (size_t i = 0; i < 6; i++) {
        EQUAL_TEXT(r.items.at[i].id, files[i][0]);
        if (!r.items.at[i].why) FAIL("%s was taken", files[i][0]);
        CONTAINS(r.items.at[i].why, files[i][2]);
    }
    done(&r);
}

TEST(each_allocation_may_fail)
{
    lm_error err;
    LM_OWN(lm_record) record = model_record();
    record_set(record, "mass",
               lm_text_value("[{\"type\": \"shear\", \"gamma1\": 0.03, \"gamma2\": 0, \"x\": 1}, {\"type\": \"epl\", "
                             "\"theta_E\": 1, \"gamma\": 2, \"e1\": 0.1, \"e2\": 0}]"));
    double draws[20][2];
    for (int i = 0; i < 20; i++) draws[i][0] = 1 + i, draws[i][1] = 0.01 * i;
    record_f64(record, "samples", draws[0], 2, (size_t[]){20, 2});
    record_set(record, "names", lm_text_value("epl.theta_E,shear.gamma1"));
    OK(write_record(record, in_folder("ok.json"), "", &err), &err);
    lm_status status = LM_EMEMORY;
    uint64_t n = 0;
    while (status) {
        lm_alloc_fail_at(++n);
        status = write_record(record, in_folder("f.json"), "", &err);
        lm_alloc_fail_at(0);
        if (status) EQUAL_INT(status, LM_EMEMORY);
    }
    CHECK(n > 40);
    reader r;
    OK(list_all(&r, in_folder("ok.json"), &err), &err);
    EQUAL_INT(r.items.at[0].n_files, 5); /* the template, image, noise, mask, pixels */
    for (status = LM_EMEMORY, n = 0; status;) {
        lm_record *back = NULL;
        lm_alloc_fail_at(++n);
        status = read_item(&r, 0, &back, &err);
        lm_alloc_fail_at(0);
        if (status) EQUAL_INT(status, LM_EMEMORY);
        lm_record_unref(back);
    }
    CHECK(n > 40);
    done(&r);
}
