/* Reading and drawing populations. See _population.h. */
#include "operators/lens/_population.h"

#include "operators/_draw.h"
#include "operators/lens/_components.h"
#include "runtime/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef enum { SUB = 1, FIELD = 2 } role;

/* A population while it is read, with the numbers that are not the core's own. */
typedef struct {
    lm_subhalo_params sub;
    double delta_los, dz, m_keV;
    bool dex;
} reading;

typedef struct {
    const char *name;
    unsigned of; /* roles */
    size_t offset;
    double otherwise;
    const char *doc;
} number;

#define KIND(field) offsetof(reading, sub.kind.field)
#define OWN(field) offsetof(reading, sub.field)
static const number numbers[] = {
    {"m_min", SUB | FIELD, KIND(m_min), 1e6, "least mass M200, M_sun"},
    {"m_max", SUB | FIELD, KIND(m_max), 1e10, "largest mass M200, M_sun"},
    {"radius", SUB | FIELD, KIND(radius), 3, "radius of the disc around the lens, arcsec"},
    {"x", SUB | FIELD, KIND(x), 0, "centre of the disc, arcsec"},
    {"y", SUB | FIELD, KIND(y), 0, "centre of the disc, arcsec"},
    {"m_hm", SUB | FIELD, KIND(m_hm), 0, "half-mode mass of warm dark matter, M_sun"},
    {"m_keV", SUB | FIELD, offsetof(reading, m_keV), NAN, "mass of a thermal relic"},
    {"scatter", SUB | FIELD, KIND(scatter), 0.2, "standard deviation of the logarithm of the concentration"},
    {"sigma_sub", SUB, OWN(sigma_sub), 0.025, "number per kpc^2"},
    {"m0", SUB, OWN(m0), 1e8, "mass that sigma_sub is for, M_sun"},
    {"slope", SUB, OWN(slope), -1.9, "logarithmic slope of dN/dm"},
    {"m_host", SUB, OWN(m_host), 1.9952623149688796e13, "M200 of the host, M_sun"},
    {"k1", SUB, OWN(k1), 0.55, "power of the host's mass"},
    {"k2", SUB, OWN(k2), 0.37, "power of the redshift"},
    {"c_host", SUB, OWN(c_host), NAN, "concentration of the host"},
    {"core", SUB, OWN(core), 0.25, "core of their places, of the host's scale radius"},
    {"r_t", SUB, OWN(r_t0), 1.4, "truncation radius of 1e7 M_sun at 50 kpc, kpc"},
    {"delta_los", FIELD, offsetof(reading, delta_los), 1, "number, relative to the mass function"},
    {"dz", FIELD, offsetof(reading, dz), 0.02, "distance of planes in redshift"},
};
enum { NUMBERS = sizeof numbers / sizeof *numbers };
static const char *const words[] = {"concentration", "scatter_in", "warm"}; /* and the other names */
static const char *const scatters[] = {"ln", "dex", NULL};

typedef struct {
    lm_step *step; /* NULL: templates are not known */
    const lm_drawn *drawn;
    size_t n_drawn;
    bool known;
} reader;

/* What the node has drawn goes before the input's attributes. */
static lm_status read_number(reader *r, const json_t *value, const char *name, double *ret, lm_error *err)
{
    const char *text = json_string_value(value);
    size_t n = text ? strlen(text) : 0;
    if (r->step && n > 2 && text[0] == '{' && text[n - 1] == '}')
        for (size_t i = 0; i < r->n_drawn; i++)
            if (strlen(r->drawn[i].name) == n - 2 && memcmp(r->drawn[i].name, text + 1, n - 2) == 0) {
                *ret = r->drawn[i].value;
                return LM_OK;
            }
    const lm_slot slot = {.name = name, .unit = "", .doc = "", .value = value, .otherwise = NAN};
    bool known;
    LM_TRY(lm_slot_number(&slot, r->step, ret, &known, err));
    r->known &= known;
    return LM_OK;
}

static lm_status unknown_name(role of, const char *name, lm_error *err)
{
    char hint[LM_ERROR_HINT] = "It takes";
    lm_nearest nearest;
    lm_nearest_init(&nearest, name);
    for (size_t i = 0; i < NUMBERS; i++) {
        if (!(numbers[i].of & of)) continue;
        lm_nearest_offer(&nearest, numbers[i].name);
        snprintf(hint + strlen(hint), sizeof hint - strlen(hint), " %s,", numbers[i].name);
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) lm_nearest_offer(&nearest, words[i]);
    snprintf(hint + strlen(hint), sizeof hint - strlen(hint), " concentration, scatter_in, warm");
    if (nearest.best) snprintf(hint, sizeof hint, "Did you mean \"%s\"?", nearest.best);
    return LM_FAIL_HINT(err, LM_EINPUT, hint, "there is no \"%s\"", name);
}

static lm_status read_word(const json_t *value, const char *name, const char *const *list, int *ret, lm_error *err)
{
    const char *text = json_string_value(value);
    for (int i = 0; text && list[i]; i++)
        if (strcmp(text, list[i]) == 0) {
            *ret = i;
            return LM_OK;
        }
    return LM_FAIL(err, LM_EINPUT, "\"%s\" is %s or %s", name, list[0], list[1]);
}

static lm_status read_warm(reader *r, const json_t *value, double *ret, lm_error *err)
{
    if (json_array_size(value) != 3)
        return LM_FAIL_HINT(err, LM_EINPUT, "For example: warm: [4.2, 2.5, -0.2]",
                            "\"warm\" is a list of three numbers");
    for (size_t i = 0; i < 3; i++) LM_TRY(read_number(r, json_array_get(value, i), "warm", &ret[i], err));
    return LM_OK;
}

static lm_status read_named(reader *r, role of, const char *name, const json_t *value, reading *ret, lm_error *err)
{
    int word = 0;
    if (strcmp(name, "warm") == 0) return read_warm(r, value, ret->sub.kind.warm, err);
    if (strcmp(name, "scatter_in") == 0) {
        LM_TRY(read_word(value, name, scatters, &word, err));
        ret->dex = word == 1;
        return LM_OK;
    }
    if (strcmp(name, "concentration") == 0) {
        LM_TRY(read_word(value, name, lm_concentration_names, &word, err));
        ret->sub.kind.concentration = (lm_concentration_kind)word;
        return LM_OK;
    }
    for (size_t i = 0; i < NUMBERS; i++)
        if (numbers[i].of & of && strcmp(name, numbers[i].name) == 0) {
            double got = 0.5;
            LM_TRY(read_number(r, value, name, &got, err));
            memcpy((char *)ret + numbers[i].offset, &got, sizeof got);
            return LM_OK;
        }
    return unknown_name(of, name, err);
}

static lm_status read_map(reader *r, role of, const json_t *map, const lm_matter *matter, reading *ret, lm_error *err)
{
    static const double sub[3] = {4.2, 2.5, -0.2}, field[3] = {2.3, 0.8, -1};
    *ret = (reading){.sub.kind.concentration = LM_CONCENTRATION_LUDLOW16};
    for (size_t i = 0; i < NUMBERS; i++) memcpy((char *)ret + numbers[i].offset, &numbers[i].otherwise, sizeof(double));
    memcpy(ret->sub.kind.warm, of == SUB ? sub : field, sizeof sub);
    if (!json_is_object(map))
        return LM_FAIL(err, LM_EINPUT, "a map of names and numbers is wanted; {} takes them as they are");
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)map, name, value) LM_TRY(read_named(r, of, name, value, ret, err));
    if (json_object_get(map, "m_keV")) {
        if (json_object_get(map, "m_hm")) return LM_FAIL(err, LM_EINPUT, "both m_keV and m_hm: one of them is wanted");
        if (r->known && !(ret->m_keV > 0))
            return LM_FAIL(err, LM_EINPUT, "m_keV = %g: a mass above 0 is wanted; without one, dark matter is cold",
                           ret->m_keV);
        if (r->known) ret->sub.kind.m_hm = lm_matter_half_mode(matter, ret->m_keV);
    }
    if (ret->dex) ret->sub.kind.scatter *= log(10);
    return LM_OK;
}

static lm_status plan(reader *r, role of, const lm_population_trees *t, const lm_matter *matter, lm_population **ret,
                      lm_error *err)
{
    reading got;
    double z_l = 0, z_s = 0;
    LM_TRY(read_map(r, of, of == SUB ? t->subhaloes : t->line_of_sight, matter, &got, err));
    LM_TRY(read_number(r, t->z_lens, "z_lens", &z_l, err));
    LM_TRY(read_number(r, t->z_source, "z_source", &z_s, err));
    if (!r->known) return LM_OK;
    const lm_field_params field = {got.sub.kind, got.delta_los, got.dz};
    return of == SUB ? lm_population_of_subhaloes(matter, z_l, z_s, &got.sub, ret, err)
                     : lm_population_of_field(matter, z_l, z_s, &field, ret, err);
}

static const json_t *map_of(const lm_population_trees *t, role of)
{
    return of == SUB ? t->subhaloes : t->line_of_sight;
}

static const char *name_of(role of)
{
    return of == SUB ? "subhaloes" : "line_of_sight";
}

struct lm_populations {
    lm_population_trees trees;
    lm_matter *matter;
    lm_population *fixed[FIELD + 1]; /* by role; NULL: it has templates, or is not wanted */
};

lm_status lm_populations_new(const lm_population_trees *t, const lm_matter_params *params, lm_populations **ret,
                             lm_error *err)
{
    LM_OWN(lm_populations) p = lm_alloc(1, sizeof *p);
    if (!p) return LM_NOMEM(err);
    p->trees = *t;
    LM_TRY(lm_matter_new(params, &p->matter, err));
    for (role of = SUB; of <= FIELD; of++) {
        reader r = {.known = true};
        if (map_of(t, of)) LM_TRY_IN(plan(&r, of, t, p->matter, &p->fixed[of], err), err, "\"%s\"", name_of(of));
    }
    *ret = lm_take(p);
    return LM_OK;
}

lm_populations *lm_populations_free(lm_populations *p)
{
    if (!p) return NULL;
    for (role of = SUB; of <= FIELD; of++) p->fixed[of] = lm_population_free(p->fixed[of]);
    p->matter = lm_matter_free(p->matter);
    return lm_free(p);
}

static lm_status put_haloes(lm_step *step, const char *name, const lm_halo *list, size_t n, lm_error *err)
{
    _Static_assert(sizeof(lm_halo) == 8 * sizeof(double), "a halo is a row of eight numbers");
    lm_tensor *tensor;
    LM_TRY(lm_step_out(step, "out", name, (const size_t[]){n, 8}, &tensor, err));
    if (n) memcpy(tensor->data, list, n * sizeof *list);
    return LM_OK;
}

static lm_status draw_one(const lm_population *p, role of, lm_step *step, lm_error *err)
{
    lm_random random = lm_step_random(step, (uint64_t)of);
    lm_draw draw = lm_draw_of(&random);
    lm_halo *list = NULL;
    size_t n = 0;
    LM_TRY(lm_population_draw(p, &draw, &list, &n, err));
    LM_OWN(lm_memory) own = list;
    (void)own; /* freed on every way out */
    return put_haloes(step, name_of(of), list, n, err);
}

/* The parameters of LM_MASS_SHEET, then z and radius: from the observer on, and the lens where it lies */
static lm_status put_sheets(const lm_population *const *plans, lm_step *step, lm_error *err)
{
    size_t n[FIELD + 1] = {0}, at[FIELD + 1] = {0}, all = 0;
    for (role of = SUB; of <= FIELD; of++) all += n[of] = plans[of] ? lm_population_planes(plans[of]) : 0;
    enum { COLUMNS = 5 };
    lm_tensor *tensor;
    LM_TRY(lm_step_out(step, "out", "sheets", (const size_t[]){all, COLUMNS}, &tensor, err));
    double *row = tensor->data;
    for (size_t i = 0; i < all; i++, row += COLUMNS) {
        role of = at[SUB] < n[SUB] ? SUB : FIELD;
        if (of == SUB && at[FIELD] < n[FIELD] &&
            lm_population_plane_at(plans[FIELD], at[FIELD])->z < lm_population_plane_at(plans[SUB], at[SUB])->z)
            of = FIELD;
        const lm_population_plane *plane = lm_population_plane_at(plans[of], at[of]++);
        const double numbers_of[COLUMNS] = {-plane->sheet, plane->x, plane->y, plane->z, plane->radius};
        memcpy(row, numbers_of, sizeof numbers_of);
    }
    return LM_OK;
}

lm_status lm_populations_draw(const lm_populations *p, lm_step *step, const lm_drawn *drawn, size_t n, lm_error *err)
{
    LM_OWN(lm_population) sub = NULL;
    LM_OWN(lm_population) field = NULL;
    const lm_population *plans[FIELD + 1] = {NULL};
    for (role of = SUB; of <= FIELD; of++) {
        if (!map_of(&p->trees, of)) continue;
        lm_population **made = of == SUB ? &sub : &field;
        reader r = {step, drawn, n, true};
        if (!p->fixed[of]) LM_TRY_IN(plan(&r, of, &p->trees, p->matter, made, err), err, "\"%s\"", name_of(of));
        plans[of] = p->fixed[of] ? p->fixed[of] : *made;
        LM_TRY_IN(draw_one(plans[of], of, step, err), err, "\"%s\"", name_of(of));
    }
    return put_sheets(plans, step, err);
}
