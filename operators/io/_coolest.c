/* Profiles of COOLEST and our components. See _coolest.h. */
#include "operators/io/_coolest.h"

#include "operators/lens/_components.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- angles ---- */

/* To (-half, half]. */
static double wrapped(double angle, double half)
{
    double a = remainder(angle, 2 * half);
    return a <= -half ? half : a;
}

double lm_coolest_degrees(double phi)
{
    return wrapped(phi * (180 / M_PI) - 90, 90);
}

double lm_coolest_radians(double phi)
{
    return wrapped(phi + 90, 90) * (M_PI / 180);
}

/* ---- ours to the standard's ---- */

static void begin(lm_coolest_profile *p, const char *type)
{
    *p = (lm_coolest_profile){.type = type, .amp_factor = 1, .factor = 1};
}

static void add(lm_coolest_profile *p, const char *name, double value)
{
    p->name[p->n] = name;
    p->value[p->n++] = value;
}

static void add_angle(lm_coolest_profile *p, const char *name, double degrees)
{
    p->angle[p->n] = true;
    add(p, name, degrees);
}

static void add_ellipse(lm_coolest_profile *p, double q, double phi, double x, double y)
{
    add(p, "q", q);
    add_angle(p, "phi", q < 1 ? lm_coolest_degrees(phi) : 0);
    add(p, "center_x", x);
    add(p, "center_y", y);
}

/* Parameter of a mass by name: every model that is asked has it. */
static double of(const lm_mass *mass, const char *name)
{
    return mass->p[lm_mass_param_of(mass->kind, name)];
}

static const char *of_sie(const lm_mass *mass, lm_coolest_profile *p)
{
    double q = of(mass, "q"), b = of(mass, "theta_E"), core = of(mass, "s") * sqrt(q);
    bool cored = core > 0;
    if (cored && !(b > 2 * core)) return "its core is so large that no Einstein radius exists";
    begin(p, cored ? "NIE" : "SIE");
    add(p, "theta_E", cored ? sqrt(b * (b - 2 * core)) : b);
    if (cored) add(p, "r_core", core);
    add_ellipse(p, q, of(mass, "phi"), of(mass, "x"), of(mass, "y"));
    return NULL;
}

static const char *of_shear(const lm_mass *mass, lm_coolest_profile *p)
{
    double g1 = of(mass, "gamma1"), g2 = of(mass, "gamma2"), g = hypot(g1, g2);
    if (!(g <= 1)) return "the standard's shear is at most 1";
    begin(p, "ExternalShear");
    p->field = true;
    add(p, "gamma_ext", g);
    add_angle(p, "phi_ext", g > 0 ? lm_coolest_degrees(atan2(g2, g1) / 2) : 0);
    return NULL;
}

const char *lm_coolest_of_mass(const lm_mass *mass, lm_coolest_profile *ret)
{
    switch (mass->kind) {
    case LM_MASS_SIS:
        begin(ret, "SIE");
        add(ret, "theta_E", of(mass, "theta_E"));
        add_ellipse(ret, 1, 0, of(mass, "x"), of(mass, "y"));
        return NULL;
    case LM_MASS_SIE: return of_sie(mass, ret);
    case LM_MASS_EPL:
        begin(ret, "PEMD");
        add(ret, "theta_E", of(mass, "theta_E"));
        add(ret, "gamma", of(mass, "t") + 1);
        add_ellipse(ret, of(mass, "q"), of(mass, "phi"), of(mass, "x"), of(mass, "y"));
        return NULL;
    case LM_MASS_SHEAR: return of_shear(mass, ret);
    case LM_MASS_SHEET:
        begin(ret, "ConvergenceSheet");
        ret->field = true;
        add(ret, "kappa_s", of(mass, "kappa"));
        return NULL;
    case LM_MASS_PJAFFE: {
        double a = of(mass, "a"), s = of(mass, "s");
        begin(ret, "Chameleon");
        add(ret, "b", 2 * of(mass, "kappa_0") * a * s / (s - a));
        add(ret, "s_c", a);
        add(ret, "s_t", s);
        add_ellipse(ret, 1, 0, of(mass, "x"), of(mass, "y"));
        return NULL;
    }
    default: return "the standard has no profile for it";
    }
}

void lm_coolest_shift(const lm_mass *mass, double shift[2])
{
    if (mass->kind != LM_MASS_SHEAR && mass->kind != LM_MASS_SHEET) return;
    double x = of(mass, "x"), y = of(mass, "y");
    if (mass->kind == LM_MASS_SHEET) {
        shift[0] += of(mass, "kappa") * x;
        shift[1] += of(mass, "kappa") * y;
    } else {
        shift[0] += of(mass, "gamma1") * x + of(mass, "gamma2") * y;
        shift[1] += of(mass, "gamma2") * x - of(mass, "gamma1") * y;
    }
}

static double param(const lm_light *light, const char *name)
{
    return light->param[lm_light_param_of(light->kind, name)];
}

static bool option_is(const lm_light *light, const char *name, const char *word)
{
    int at = lm_light_option_of(light->kind, name);
    return at >= 0 && light->option[at] == lm_light_word_of(&light->kind->options[at], word);
}

/* The standard's Sersic profile of I_e exp(-b ((R/R_e)^(1/n) - 1)) for any b: its own b' needs R_e' = R_e (b'/b)^n
 * and I_e' = I_e exp(b - b'), which is the same function of R. */
static const char *add_sersic(lm_coolest_profile *p, double I_e, double R_e, double n, double b)
{
    double standard = lm_sersic_b(n, LM_SERSIC_LINEAR);
    if (!(n >= 0.5 && n <= 10)) return "the standard's Sersic index is from 0.5 to 10";
    if (!(I_e >= 0)) return "the standard's brightness is never negative";
    begin(p, "Sersic");
    add(p, "I_eff", b == standard ? I_e : I_e * exp(b - standard)); /* NOLINT: the same formula */
    add(p, "theta_eff", b == standard ? R_e : R_e * pow(standard / b, n));
    add(p, "n", n);
    return NULL;
}

static const char *of_grid(const lm_light *light, double x, double y, lm_coolest_profile *p)
{
    double scale = param(light, "scale");
    begin(p, "PixelatedRegularGrid");
    p->grid = true;
    p->n_x = light->w;
    p->n_y = light->h;
    double half_x = (double)p->n_x * scale / 2, half_y = (double)p->n_y * scale / 2;
    p->field_x[0] = x - half_x, p->field_x[1] = x + half_x;
    p->field_y[0] = y - half_y, p->field_y[1] = y + half_y;
    p->factor = param(light, "amp");
    if (option_is(light, "interpolation", "bicubic")) p->note = "the standard does not say how pixels are interpolated";
    return NULL;
}

const char *lm_coolest_of_light(const lm_light *light, const double shift[2], lm_coolest_profile *ret)
{
    const char *kind = light->kind->name;
    double x = param(light, "x") - shift[0], y = param(light, "y") - shift[1], phi = param(light, "phi");
    const char *why = NULL;
    if (strcmp(kind, "sersic") == 0) {
        double n = param(light, "n"), q = param(light, "q"), R_e = param(light, "R_e");
        bool linear = option_is(light, "b_n", "linear");
        if (option_is(light, "radius", "major")) R_e *= sqrt(q);
        why =
            add_sersic(ret, param(light, "I_e"), R_e, n, lm_sersic_b(n, linear ? LM_SERSIC_LINEAR : LM_SERSIC_SERIES));
        if (why) return why;
        if (param(light, "R_min") > 0) ret->note = "the standard has no R_min";
        add_ellipse(ret, q, phi, x, y);
        return NULL;
    }
    if (strcmp(kind, "gaussian") == 0) {
        double sigma = param(light, "sigma"), b = lm_sersic_b(0.5, LM_SERSIC_LINEAR);
        double peak = param(light, "flux") / (2 * M_PI * sigma * sigma);
        why = add_sersic(ret, peak * exp(-b), sigma * sqrt(2 * b), 0.5, b);
        if (why) return why;
        add_ellipse(ret, param(light, "q"), phi, x, y);
        return NULL;
    }
    if (strcmp(kind, "shapelets") != 0 && strcmp(kind, "pixels") != 0) return "the standard has no profile for it";
    if (phi != 0) return "the standard's profile cannot be turned";
    if (strcmp(kind, "pixels") == 0) return of_grid(light, x, y, ret);
    begin(ret, "Shapelets");
    add(ret, "n_max", param(light, "n_max"));
    add(ret, "beta", param(light, "beta"));
    add(ret, "center_x", x);
    add(ret, "center_y", y);
    ret->amps = light->array;
    ret->n_amps = light->w;
    if (!option_is(light, "norm", "bare")) ret->amp_factor = 1 / param(light, "beta");
    return NULL;
}

/* ---- the standard's to ours ---- */

static const json_t *parameter(const json_t *profile, const char *name)
{
    return json_object_get(json_object_get(profile, "parameters"), name);
}

double lm_coolest_value(const json_t *profile, const char *name)
{
    const json_t *p = parameter(profile, name);
    const json_t *value = json_object_get(json_object_get(p, "point_estimate"), "value");
    if (!json_is_number(value)) value = json_object_get(json_object_get(p, "posterior_stats"), "median");
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

/* A parameter of the standard and one of ours. */
typedef struct {
    const char *theirs, *ours;
    enum { PLAIN, DEGREES } kind;
} pair;

#define ELLIPSE                                                                                                        \
    {"q", "q", PLAIN}, {"phi", "phi", DEGREES}, {"center_x", "x", PLAIN},                                              \
    {                                                                                                                  \
        "center_y", "y", PLAIN                                                                                         \
    }

typedef struct {
    const char *theirs, *ours;
    bool light;
    pair pairs[LM_COOLEST_PARAMS];
} translation;

static const translation translations[] = {
    {"SIE", "sie", false, {{"theta_E", "theta_E", PLAIN}, ELLIPSE}},
    {"NIE", "sie", false, {{"theta_E", "theta_E", PLAIN}, {"r_core", "s", PLAIN}, ELLIPSE}},
    {"PEMD", "epl", false, {{"theta_E", "theta_E", PLAIN}, {"gamma", "gamma", PLAIN}, ELLIPSE}},
    {"SPEMD", "epl", false, {{"theta_E", "theta_E", PLAIN}, {"gamma", "gamma", PLAIN}, ELLIPSE}},
    {"Chameleon",
     "pjaffe",
     false,
     {{"b", "kappa_0", PLAIN},
      {"s_c", "a", PLAIN},
      {"s_t", "s", PLAIN},
      {"center_x", "x", PLAIN},
      {"center_y", "y", PLAIN}}},
    {"ExternalShear", "shear", false, {{"gamma_ext", "gamma1", PLAIN}, {"phi_ext", "gamma2", DEGREES}}},
    {"ConvergenceSheet", "sheet", false, {{"kappa_s", "kappa", PLAIN}}},
    {"Sersic", "sersic", true, {{"I_eff", "I_e", PLAIN}, {"theta_eff", "R_e", PLAIN}, {"n", "n", PLAIN}, ELLIPSE}},
    {"Shapelets",
     "shapelets",
     true,
     {{"n_max", "n_max", PLAIN}, {"beta", "beta", PLAIN}, {"center_x", "x", PLAIN}, {"center_y", "y", PLAIN}}},
    {"PixelatedRegularGrid", "pixels", true, {{0}}},
};
enum { N_TRANSLATIONS = sizeof translations / sizeof *translations };

static const translation *translation_of(const char *type, bool light)
{
    for (size_t i = 0; i < N_TRANSLATIONS; i++)
        if (translations[i].light == light && strcmp(translations[i].theirs, type) == 0) return &translations[i];
    return NULL;
}

static bool put(json_t *component, const char *name, double value)
{
    return json_object_set_new(component, name, json_real(value)) == 0;
}

static double number(const json_t *component, const char *name)
{
    return json_number_value(json_object_get(component, name));
}

/* What is more than a renamed number. Returns why it cannot be, or NULL; *ok false: no memory. */
static const char *adapt(const json_t *profile, const char *type, json_t *c, bool *ok)
{
    if (strcmp(type, "NIE") == 0) {
        double core = number(c, "s"), q = number(c, "q");
        if (!(q > 0)) return "q is 0";
        *ok = put(c, "s", core / sqrt(q)) &&
              put(c, "theta_E", core > 0 ? core + hypot(number(c, "theta_E"), core) : number(c, "theta_E"));
    } else if (strcmp(type, "SPEMD") == 0) {
        double core = lm_coolest_value(profile, "r_core");
        if (core != 0) return "there is no power law with a core here";
    } else if (strcmp(type, "Chameleon") == 0) {
        double a = number(c, "a"), s = number(c, "s"), q = lm_coolest_value(profile, "q");
        if (q != 1) return "a Chameleon mass is taken where q is 1 alone";
        if (!(s > a)) return "s_t must be larger than s_c";
        *ok = put(c, "kappa_0", number(c, "kappa_0") * (s - a) / (2 * a * s));
    } else if (strcmp(type, "ExternalShear") == 0) {
        double g = number(c, "gamma1"), phi = number(c, "gamma2");
        *ok = put(c, "gamma1", g * cos(2 * phi)) && put(c, "gamma2", g * sin(2 * phi));
    } else if (strcmp(type, "Sersic") == 0) {
        *ok = json_object_set_new(c, "b_n", json_string("linear")) == 0;
    } else if (strcmp(type, "Shapelets") == 0) {
        json_t *amps = json_object_get(json_object_get(parameter(profile, "amps"), "point_estimate"), "value");
        if (!json_array_size(amps)) return "there are no \"amps\"";
        *ok = json_object_set(c, "coefficients", amps) == 0 && json_object_set_new(c, "norm", json_string("bare")) == 0;
    }
    return NULL;
}

/* Both lengths of a field of view; false: it has none, or runs the other way. */
static bool read_field(const json_t *grid, const char *name, double ret[2])
{
    const json_t *field = json_object_get(grid, name);
    for (size_t i = 0; i < 2; i++) {
        const json_t *edge = json_array_get(field, i);
        ret[i] = json_is_number(edge) ? json_number_value(edge) : (double)NAN;
    }
    return ret[1] > ret[0];
}

/* Pixels are square. Some programs write the number of rows as num_pix_x: whichever way they are square is taken. */
static double scale_of(const double x[2], const double y[2], double n_x, double n_y)
{
    double a = (x[1] - x[0]) / n_x, b = (y[1] - y[0]) / n_y;
    double c = (x[1] - x[0]) / n_y, d = (y[1] - y[0]) / n_x;
    if (fabs(a - b) <= 1e-6 * a) return a;
    return fabs(c - d) <= 1e-6 * c ? c : (double)NAN;
}

static const char *grid_component(const json_t *profile, double pixel, const char *image, json_t *c, bool *ok)
{
    const json_t *grid = parameter(profile, "pixels");
    double x[2], y[2];
    double n_x = json_number_value(json_object_get(grid, "num_pix_x"));
    double n_y = json_number_value(json_object_get(grid, "num_pix_y"));
    if (!read_field(grid, "field_of_view_x", x) || !read_field(grid, "field_of_view_y", y))
        return "its field of view is empty, or mirrored";
    double scale = n_x > 0 && n_y > 0 ? scale_of(x, y, n_x, n_y) : (double)NAN;
    if (isnan(scale)) return "it has no pixels, or they are not square";
    *ok = json_object_set_new(c, "image", json_string(image)) == 0 && put(c, "scale", scale) &&
          put(c, "amp", pixel > 0 ? 1 / (pixel * pixel) : 1) && put(c, "x", (x[0] + x[1]) / 2) &&
          put(c, "y", (y[0] + y[1]) / 2);
    return NULL;
}

/* Would the lens operators take it? */
static bool is_valid(const json_t *component, bool light, lm_error *why)
{
    lm_component c;
    lm_mass mass;
    lm_light shining;
    double values[LM_SLOTS];
    bool known;
    if (lm_component_read(component, light, &c, why)) return false;
    for (unsigned i = 0; i < c.n_slots; i++)
        if (lm_slot_number(&c.slot[i], NULL, &values[i], &known, why)) return false;
    return !(light ? lm_component_light(&c, values, &shining, why) : lm_component_mass(&c, values, &mass, why));
}

lm_status lm_coolest_component(const json_t *profile, bool light, double pixel, const char *image, json_t **ret,
                               char why[LM_COOLEST_WHY], lm_error *err)
{
    const char *type = json_string_value(json_object_get(profile, "type"));
    const translation *t = translation_of(type ? type : "", light);
    *ret = NULL;
    if (!t) {
        snprintf(why, LM_COOLEST_WHY, "there is no such %s here", light ? "light" : "mass");
        return LM_OK;
    }
    LM_OWN(json_t) c = json_pack("{s:s}", "type", t->ours);
    if (!c) return LM_NOMEM(err);
    bool ok = true;
    for (const pair *p = t->pairs; p->theirs && p < t->pairs + LM_COOLEST_PARAMS; p++) {
        double value = lm_coolest_value(profile, p->theirs);
        if (!isfinite(value)) {
            snprintf(why, LM_COOLEST_WHY, "\"%s\" has neither a point estimate nor a median", p->theirs);
            return LM_OK;
        }
        ok = ok && put(c, p->ours, p->kind == DEGREES ? lm_coolest_radians(value) : value);
    }
    const char *reason = strcmp(t->ours, "pixels") == 0 ? grid_component(profile, pixel, image, c, &ok)
                                                        : adapt(profile, t->theirs, c, &ok);
    if (!ok) return LM_NOMEM(err);
    lm_error fault;
    lm_error_clear(&fault);
    if (!reason && !is_valid(c, light, &fault)) {
        if (fault.status == LM_EMEMORY) return LM_NOMEM(err);
        reason = fault.text;
    }
    if (reason) snprintf(why, LM_COOLEST_WHY, "%.299s", reason);
    else *ret = lm_take(c);
    return LM_OK;
}

/* ---- components without templates ---- */

void lm_coolest_profile_done(lm_coolest_profile *profile)
{
    profile->owned = lm_free(profile->owned);
    profile->amps = NULL;
}

static lm_status slot_values(const lm_component *c, double values[LM_SLOTS], lm_error *err)
{
    for (unsigned i = 0; i < c->n_slots; i++) {
        bool known;
        LM_TRY(lm_slot_number(&c->slot[i], NULL, &values[i], &known, err));
        if (!known) return LM_FAIL(err, LM_EINPUT, "\"%s\" is not a number", c->slot[i].name);
    }
    return LM_OK;
}

static lm_status light_numbers(const lm_component *c, const double *values, const double shift[2], size_t n_x,
                               size_t n_y, lm_coolest_profile *ret, const char **ret_why, lm_error *err)
{
    lm_light light;
    LM_OWN(lm_memory) list = NULL;
    LM_TRY(lm_component_light(c, values, &light, err));
    bool listed = json_is_array(c->array) && !json_is_array(json_array_get(c->array, 0));
    if (strcmp(c->type, "shapelets") == 0) {
        light.h = 1;
        light.w = listed ? json_array_size(c->array) : 0;
        double *amps = list = lm_alloc(light.w + 1, sizeof *amps);
        if (!amps) return LM_NOMEM(err);
        for (size_t i = 0; i < light.w; i++) amps[i] = json_number_value(json_array_get(c->array, i));
        light.array = amps;
        LM_TRY(lm_light_check(&light, err));
    } else {
        light.h = n_y;
        light.w = n_x;
    }
    *ret_why = lm_coolest_of_light(&light, shift, ret);
    if (!*ret_why) ret->owned = lm_take(list);
    return LM_OK;
}

lm_status lm_coolest_numbers(const json_t *component, bool light, const double shift[2], size_t n_x, size_t n_y,
                             lm_coolest_profile *ret, const char **ret_why, lm_error *err)
{
    lm_component c;
    double values[LM_SLOTS];
    lm_mass mass;
    begin(ret, "");
    LM_TRY(lm_component_read(component, light, &c, err));
    if (c.table) {
        *ret_why = "the standard has no tables of masses";
        return LM_OK;
    }
    LM_TRY(slot_values(&c, values, err));
    if (light) return light_numbers(&c, values, shift, n_x, n_y, ret, ret_why, err);
    LM_TRY(lm_component_mass(&c, values, &mass, err));
    *ret_why = lm_coolest_of_mass(&mass, ret);
    return LM_OK;
}

void lm_coolest_shift_of(const json_t *component, double shift[2])
{
    lm_component c;
    double values[LM_SLOTS];
    lm_mass mass;
    if (lm_component_read(component, false, &c, NULL) || c.table || slot_values(&c, values, NULL)) return;
    if (!lm_component_mass(&c, values, &mass, NULL)) lm_coolest_shift(&mass, shift);
}

/* ---- equal numbers ---- */

bool lm_coolest_equal(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b)) return json_number_value(a) == json_number_value(b);
    if (json_typeof(a) != json_typeof(b)) return false;
    if (json_is_array(a)) {
        if (json_array_size(a) != json_array_size(b)) return false;
        for (size_t i = 0; i < json_array_size(a); i++)
            if (!lm_coolest_equal(json_array_get(a, i), json_array_get(b, i))) return false;
        return true;
    }
    if (!json_is_object(a)) return json_equal(a, b);
    const char *key;
    json_t *value;
    if (json_object_size(a) != json_object_size(b)) return false;
    json_object_foreach((json_t *)(uintptr_t)a, key, value)
    {
        const json_t *other = json_object_get(b, key);
        if (!other || !lm_coolest_equal(value, other)) return false;
    }
    return true;
}

static bool same_edges(const json_t *grid, const char *name, const double field[2])
{
    const json_t *edges = json_object_get(grid, name);
    return json_number_value(json_array_get(edges, 0)) == field[0] &&
           json_number_value(json_array_get(edges, 1)) == field[1];
}

bool lm_coolest_same(const json_t *profile, const lm_coolest_profile *p)
{
    const char *type = json_string_value(json_object_get(profile, "type"));
    if (!type || strcmp(type, p->type) != 0) return false;
    if (p->grid) {
        const json_t *grid = parameter(profile, "pixels");
        return same_edges(grid, "field_of_view_x", p->field_x) && same_edges(grid, "field_of_view_y", p->field_y);
    }
    for (unsigned i = 0; i < p->n; i++) {
        double value = lm_coolest_value(profile, p->name[i]);
        if (!(value == p->value[i])) return false;
    }
    if (!p->amps) return true;
    const json_t *amps = json_object_get(json_object_get(parameter(profile, "amps"), "point_estimate"), "value");
    if (json_array_size(amps) != p->n_amps) return false;
    for (size_t i = 0; i < p->n_amps; i++)
        if (!(json_number_value(json_array_get(amps, i)) == p->amps[i] * p->amp_factor)) return false;
    return true;
}

/* ---- text ---- */

static void line(lm_text *to, unsigned indent, unsigned depth)
{
    if (!indent) return;
    lm_text_char(to, '\n');
    for (unsigned i = 0; i < indent * depth; i++) lm_text_char(to, ' ');
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void print(lm_text *to, const json_t *value, unsigned indent, unsigned depth);

static void print_object(lm_text *to, json_t *object, unsigned indent, unsigned depth)
{
    size_t n = json_object_size(object), i = 0;
    LM_OWN(lm_memory) room = lm_alloc(n + 1, sizeof(char *));
    const char **keys = room, *key;
    json_t *value;
    if (!keys) {
        to->failed = true;
        return;
    }
    json_object_foreach(object, key, value) keys[i++] = key;
    if (indent) qsort(keys, n, sizeof *keys, by_name);
    lm_text_char(to, '{');
    for (i = 0; i < n; i++) {
        if (i) lm_text_char(to, ',');
        line(to, indent, depth + 1);
        lm_text_json(to, keys[i]);
        lm_text_add(to, indent ? ": " : ":");
        print(to, json_object_get(object, keys[i]), indent, depth + 1);
    }
    if (n) line(to, indent, depth);
    lm_text_char(to, '}');
}

static void print(lm_text *to, const json_t *value, unsigned indent, unsigned depth)
{
    char buffer[32];
    switch (json_typeof(value)) {
    case JSON_OBJECT: print_object(to, (json_t *)(uintptr_t)value, indent, depth); break;
    case JSON_ARRAY:
        lm_text_char(to, '[');
        for (size_t i = 0; i < json_array_size(value); i++) {
            if (i) lm_text_char(to, ',');
            line(to, indent, depth + 1);
            print(to, json_array_get(value, i), indent, depth + 1);
        }
        if (json_array_size(value)) line(to, indent, depth);
        lm_text_char(to, ']');
        break;
    case JSON_STRING: lm_text_json(to, json_string_value(value)); break;
    case JSON_INTEGER: lm_text_format(to, "%lld", (long long)json_integer_value(value)); break;
    case JSON_REAL:
        lm_text_add(to, lm_text_real(buffer, json_real_value(value)));
        if (!strpbrk(buffer, ".e")) lm_text_add(to, ".0"); /* and stays a real */
        break;
    case JSON_TRUE: lm_text_add(to, "true"); break;
    case JSON_FALSE: lm_text_add(to, "false"); break;
    default: lm_text_add(to, "null"); break;
    }
}

void lm_coolest_print(lm_text *to, const json_t *value, unsigned indent)
{
    print(to, value, indent, 0);
}
