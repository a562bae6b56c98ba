/* Mass models against independent programs, against their own derivatives, and at their limits. */
#include "tests/test.h"
#include "tests/unit/lensing/reference.h"

#include "operators/core/lensing/mass.h"
#include "runtime/alloc.h"

#include <complex.h>
#include <float.h>
#include <stdlib.h>
#include <string.h>
#include <tgmath.h>

enum { SIDE = 64, PIXELS = SIDE * SIDE, MAPS = 6 };

static void maps_of(const lm_mass *masses, size_t n_masses, size_t n, const double *x, const double *y, double *ret)
{
    memset(ret, 0, MAPS * n * sizeof *ret);
    lm_mass_maps maps = {ret + 3 * n, ret, ret + n, ret + 2 * n, ret + 4 * n, ret + 5 * n};
    lm_error err = {0};
    for (size_t i = 0; i < n_masses; i++) {
        OK(lm_mass_check(&masses[i], &err), &err);
        lm_mass_add(&masses[i], n, x, y, &maps);
    }
}

/* ---- references ---------------------------------------------------------------------------------------------------- */

/* A component as lenstronomy has it, in our terms. */
static lm_mass from_lenstronomy(const json_t *c)
{
    const char *model = json_string_value(json_object_get(c, "model"));
    bool own_origin = json_object_get(c, "ra_0") != NULL;
    double x = reference_number(c, own_origin ? "ra_0" : "center_x"),
           y = reference_number(c, own_origin ? "dec_0" : "center_y"), q = 1, phi = 0;
    if (json_object_get(c, "e1")) {
        double e1 = reference_number(c, "e1"), e2 = reference_number(c, "e2"), e = hypot(e1, e2);
        q = (1 - e) / (1 + e);
        phi = atan2(e2, e1) / 2;
    }
    if (!strcmp(model, "SIE")) return (lm_mass){LM_MASS_SIE, {reference_number(c, "theta_E"), q, phi, 0, x, y}};
    if (!strcmp(model, "EPL"))
        return (lm_mass){LM_MASS_EPL, {reference_number(c, "theta_E"), reference_number(c, "gamma") - 1, q, phi, x, y}};
    if (!strcmp(model, "SHEAR"))
        return (lm_mass){LM_MASS_SHEAR, {reference_number(c, "gamma1"), reference_number(c, "gamma2"), x, y}};
    if (!strcmp(model, "CONVERGENCE")) return (lm_mass){LM_MASS_SHEET, {reference_number(c, "kappa"), x, y}};
    if (!strcmp(model, "POINT_MASS")) return (lm_mass){LM_MASS_POINT, {reference_number(c, "theta_E"), x, y}};
    if (!strcmp(model, "MULTIPOLE"))
        return (lm_mass){LM_MASS_MULTIPOLE,
                         {reference_number(c, "m"), reference_number(c, "a_m"), reference_number(c, "phi_m"), x, y}};
    if (!strcmp(model, "PJAFFE"))
        return (lm_mass){LM_MASS_PJAFFE,
                         {reference_number(c, "sigma0"), reference_number(c, "Ra"), reference_number(c, "Rs"), x, y}};
    double scale = reference_number(c, "Rs"), kappa_s = reference_number(c, "alpha_Rs") / (4 * scale * (1 - M_LN2));
    if (!strcmp(model, "NFW")) return (lm_mass){LM_MASS_NFW, {kappa_s, scale, x, y}};
    if (!strcmp(model, "TNFW"))
        return (lm_mass){LM_MASS_TNFW, {kappa_s, scale, reference_number(c, "r_trunc") / scale, x, y}};
    FAIL("an unknown model: %s", model);
}

/* psi is known up to a constant. */
static void take_mean_off(double *map)
{
    double mean = 0;
    for (size_t i = 0; i < PIXELS; i++) mean += map[i] / PIXELS;
    for (size_t i = 0; i < PIXELS; i++) map[i] -= mean;
}

/* exact: an HDU of closed forms; else lenstronomy, which the reference's table says to be as good. slack: what the peer itself
 * is off by (its softened core, its cancellations). */
static void against(const char *name, const char *hdu, double tolerance)
{
    char path[128];
    snprintf(path, sizeof path, "reference/lens/%s.json", name);
    json_t *about = reference_json(test_shared(path));
    snprintf(path, sizeof path, "reference/lens/%s.fits", name);
    size_t n = 0;
    double *want = reference_hdu(test_shared(path), hdu, &n), *x = lm_alloc(2 * PIXELS, sizeof *x), *y = x + PIXELS;
    double *got = lm_alloc(MAPS * PIXELS, sizeof *got);
    CHECK(x && got);
    EQUAL_INT(n, MAPS * PIXELS);
    const json_t *grid = json_object_get(about, "grid"), *list = json_object_get(about, "lenstronomy");
    double pixel = reference_number(grid, "pix"), dx = reference_number(grid, "dx"), dy = reference_number(grid, "dy");
    for (size_t i = 0; i < PIXELS; i++) {
        x[i] = ((double)(i % SIDE) - (SIDE - 1) / 2.0) * pixel + dx;
        y[i] = ((double)(i / SIDE) - (SIDE - 1) / 2.0) * pixel + dy;
    }
    lm_mass masses[8];
    size_t n_masses = json_array_size(list);
    CHECK(n_masses > 0 && n_masses <= 8);
    for (size_t i = 0; i < n_masses; i++) masses[i] = from_lenstronomy(json_array_get(list, i));
    maps_of(masses, n_masses, PIXELS, x, y, got);
    take_mean_off(got + 3 * PIXELS);
    take_mean_off(want + 3 * PIXELS);
    static const char *const names[MAPS] = {"alpha_x", "alpha_y", "kappa", "psi", "gamma1", "gamma2"};
    for (size_t m = 0; m < MAPS; m++) {
        double worst = 0, peak = 0;
        for (size_t i = m * PIXELS; i < (m + 1) * PIXELS; i++) {
            double off = fabs(got[i] - want[i]);
            if (!(off <= worst)) worst = off;
            peak = fmax(peak, fabs(want[i]));
        }
        if (!(worst <= tolerance * peak + 1e-14))
            FAIL("%s, %s: %g off, the peak is %g, %g is allowed", name, names[m], worst, peak, tolerance * peak);
        if (getenv("LENSING_VERBOSE"))
            printf("%s %s %.1e of the peak\n", name, names[m], peak > 0 ? worst / peak : worst);
    }
    lm_free(want), lm_free(x), lm_free(got);
    json_decref(about);
}

TEST(maps_equal_the_closed_forms)
{
    static const char *const names[] = {"sie", "epl_0", "epl_1", "epl_2", "epl_3", "tnfw", "tnfw_m200"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) against(names[i], "EXACT", 1e-10);
}

TEST(maps_equal_lenstronomys)
{
    static const char *const names[] = {"shear",  "sheet",           "point",         "nfw",
                                        "pjaffe", "multipole_m3_m4", "epl_shear_m3m4"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) against(names[i], "LENSTRONOMY", 1e-10);
}

TEST(golden_values)
{
    static const struct {
        lm_mass mass;
        double want[MAPS]; /* NaN: not given */
    } cases[] = {
        {{LM_MASS_SIE, {1.3, 0.7, 0, 0, 0, 0}},
         {1.0232341172946862, -0.7331248804551899, 0.7569992463285982, 1.1484934900405845, NAN, NAN}},
        {{LM_MASS_EPL, {1.3, 1.1, 0.7, 0, 0, 0}},
         {1.06978671695555, -0.754314709527034, 0.710150669522823, 1.32807888094623, -0.430064917915683,
          0.735660606625039}},
        {{LM_MASS_NFW, {0.4, 1.2, 0, 0}},
         {0.4962251463745464, -0.2791266448356824, 0.3624256909134345, 0.38965331954526783, NAN, NAN}},
        {{LM_MASS_TNFW, {0.4, 1.2, 3, 0, 0}},
         {0.442025866134831, -0.2486395497008425, 0.29546801258390054, 0.36117802, NAN, NAN}},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        double x = 0.8, y = -0.45, got[MAPS];
        maps_of(&cases[k].mass, 1, 1, &x, &y, got);
        for (size_t m = 0; m < MAPS; m++)
            if (!isnan(cases[k].want[m]))
                NEAR(got[m], cases[k].want[m], REL(k == 3 && m == 3 ? 2e-8 : 1e-13)); /* digits given */
    }
}

/* ---- derivatives --------------------------------------------------------------------------------------------------- */

static const lm_mass some[] = {
    {LM_MASS_SIS, {1.1, 0.03, -0.05}},
    {LM_MASS_SIE, {1.3, 0.7, 0.4, 0, 0.03, -0.02}},
    {LM_MASS_SIE, {1.3, 0.6, -0.7, 0.15, 0.03, -0.02}},
    {LM_MASS_SIE, {1.3, 0.99999, 0.3, 0.1, 0, 0}}, /* round, but for what the series must carry */
    {LM_MASS_EPL, {1.3, 0.8, 0.7, 0.4, 0.03, -0.02}},
    {LM_MASS_EPL, {1.1, 1.3, 0.3, 1.9, 0.03, -0.02}},
    {LM_MASS_SHEAR, {0.05, -0.03, 0.1, 0.2}},
    {LM_MASS_SHEET, {0.08, 0.1, 0.2}},
    {LM_MASS_POINT, {0.9, 0.1, -0.2}},
    {LM_MASS_MULTIPOLE, {3, 0.02, 0.3, 0.01, 0.02}},
    {LM_MASS_MULTIPOLE, {4, -0.03, 0.5, 0.01, 0.02}},
    {LM_MASS_NFW, {0.4, 1.2, 0.03, 0.07}},
    {LM_MASS_TNFW, {0.4, 0.8, 3, -0.1, 0.05}},
    {LM_MASS_TNFW, {0.4, 0.8, 0.6, -0.1, 0.05}},
    {LM_MASS_PJAFFE, {2, 0.1, 1.5, 0.06, -0.01}},
};
enum { SOME = sizeof some / sizeof *some, PLACES = 400 };

/* Places all around, from 0.1 to 6 arcsec; some at the scale radius of the NFW, where its series take over. */
static void places(double *x, double *y)
{
    for (size_t i = 0; i < PLACES; i++) {
        double r = 0.1 * pow(60, (double)i / PLACES), turn = 2.39996 * (double)i;
        if (i % 10 == 0) r = 1.2 * (0.985 + 0.03 * (double)i / PLACES);
        x[i] = 0.01 + r * cos(turn);
        y[i] = -0.03 + r * sin(turn);
    }
}

/* Central differences of fourth order. */
static double difference(const double f[4], double h)
{
    return (8 * (f[2] - f[1]) - (f[3] - f[0])) / (12 * h);
}

TEST(derivatives_equal_finite_differences)
{
    double x[PLACES], y[PLACES], got[MAPS * PLACES], at[4][MAPS * PLACES], moved[2][PLACES];
    places(x, y);
    for (size_t k = 0; k < SOME; k++) {
        const lm_mass_model *model = lm_mass_model_of(some[k].kind);
        for (int by = LM_BY_Y; by < (int)model->n_params; by++) {
            if (some[k].kind == LM_MASS_MULTIPOLE && by == 0) continue;                  /* a whole number */
            if (some[k].kind == LM_MASS_SIE && by == 3 && !(some[k].p[3] > 0)) continue; /* the border s = 0 */
            memset(got, 0, sizeof got);
            lm_mass_maps maps = {got + 3 * PLACES, got, got + PLACES, got + 2 * PLACES, got + 4 * PLACES,
                                 got + 5 * PLACES};
            lm_mass_derive(&some[k], by, PLACES, x, y, &maps);
            bool length = by < 0 || by >= (int)model->centre;
            double h = length ? 2e-5 : 1e-3 * fmax(fabs(some[k].p[by]), 0.05);
            if (some[k].kind == LM_MASS_SIE && by == 1 && some[k].p[1] > 0.99) h = 2e-6; /* q stays below 1 */
            for (int step = 0; step < 4; step++) {
                lm_mass near = some[k];
                double off = (step < 2 ? step - 2 : step - 1) * h;
                for (size_t i = 0; i < PLACES; i++) {
                    moved[0][i] = x[i] + (by == LM_BY_X ? off : 0);
                    moved[1][i] = y[i] + (by == LM_BY_Y ? off : 0);
                }
                if (by >= 0) near.p[by] += off;
                maps_of(&near, 1, PLACES, moved[0], moved[1], at[step]);
            }
            for (size_t i = 0; i < MAPS * PLACES; i++) {
                double f[4] = {at[0][i], at[1][i], at[2][i], at[3][i]}, want = difference(f, h);
                /* 1e-6, and rounding of the values over the step: near its centre a halo's terms cancel to u^2 */
                bool halo = some[k].kind == LM_MASS_NFW || some[k].kind == LM_MASS_TNFW;
                double allowed = 1e-6 * fabs(want) + (halo ? 2e-11 : 1e-13) * (1 + fabs(f[1])) / h + 1e-9;
                if (!(fabs(got[i] - want) <= allowed))
                    FAIL("%s, case %zu, map %zu by parameter %d at (%g, %g): %.12g, differences give %.12g",
                         model->name, k, i / PLACES, by, x[i % PLACES], y[i % PLACES], got[i], want);
            }
        }
    }
}

TEST(maps_are_derivatives_of_the_potential)
{
    double x[PLACES], y[PLACES], value[MAPS * PLACES], by_x[MAPS * PLACES], by_y[MAPS * PLACES];
    places(x, y);
    for (size_t k = 0; k < SOME; k++) {
        maps_of(&some[k], 1, PLACES, x, y, value);
        memset(by_x, 0, sizeof by_x);
        memset(by_y, 0, sizeof by_y);
        lm_mass_maps mx = {by_x + 3 * PLACES, by_x, by_x + PLACES, NULL, NULL, NULL};
        lm_mass_maps my = {by_y + 3 * PLACES, by_y, by_y + PLACES, NULL, NULL, NULL};
        lm_mass_derive(&some[k], LM_BY_X, PLACES, x, y, &mx);
        lm_mass_derive(&some[k], LM_BY_Y, PLACES, x, y, &my);
        for (size_t i = 0; i < PLACES; i++) {
            double kappa = value[2 * PLACES + i], g1 = value[4 * PLACES + i], g2 = value[5 * PLACES + i];
            /* the potential of a tNFW is a sum of large terms: its derivative loses digits */
            double loose = some[k].kind == LM_MASS_TNFW ? 1e-8 : 1e-11;
            test_tolerance t = {.absolute = loose, .relative = loose};
            NEAR(by_x[3 * PLACES + i], value[i], t);
            NEAR(by_y[3 * PLACES + i], value[PLACES + i], t);
            NEAR(by_x[i], kappa + g1, t);
            NEAR(by_y[PLACES + i], kappa - g1, t);
            NEAR(by_y[i], g2, t);
            NEAR(by_x[PLACES + i], g2, t);
        }
    }
}

/* ---- limits -------------------------------------------------------------------------------------------------------- */

static void same_maps(lm_mass a, lm_mass b, double tolerance)
{
    double x[PLACES], y[PLACES], one[MAPS * PLACES], other[MAPS * PLACES];
    places(x, y);
    maps_of(&a, 1, PLACES, x, y, one);
    maps_of(&b, 1, PLACES, x, y, other);
    for (size_t m = 0; m < MAPS; m++) NEAR_ARRAY(one + m * PLACES, other + m * PLACES, PLACES, REL(tolerance));
}

TEST(models_meet_at_their_limits)
{
    lm_mass sis = {LM_MASS_SIS, {1.2, 0.1, -0.1}};
    same_maps((lm_mass){LM_MASS_SIE, {1.2, 1, 0.3, 0, 0.1, -0.1}}, sis, 1e-13);
    same_maps((lm_mass){LM_MASS_EPL, {1.2, 1, 1, 0.3, 0.1, -0.1}}, sis, 1e-13);
    same_maps((lm_mass){LM_MASS_EPL, {1.2, 1, 0.4, 0.3, 0.1, -0.1}},
              (lm_mass){LM_MASS_SIE, {1.2, 0.4, 0.3, 0, 0.1, -0.1}}, 1e-13);
    same_maps((lm_mass){LM_MASS_EPL, {1.2, 1, 0.05, 0.3, 0.1, -0.1}},
              (lm_mass){LM_MASS_SIE, {1.2, 0.05, 0.3, 0, 0.1, -0.1}}, 1e-12);
    double x[PLACES], y[PLACES], far[MAPS * PLACES], near[MAPS * PLACES];
    places(x, y);
    lm_mass cut = {LM_MASS_TNFW, {0.3, 1.2, 1e4, 0, 0}}, whole = {LM_MASS_NFW, {0.3, 1.2, 0, 0}};
    maps_of(&cut, 1, PLACES, x, y, far);
    maps_of(&whole, 1, PLACES, x, y, near);
    for (size_t m = 0; m < 2; m++)
        NEAR_ARRAY(far + m * PLACES, near + m * PLACES, PLACES, REL(2e-3)); /* of order x/tau */
}

/* ---- blocks of positions, against the definitions ------------------------------------------------------------------- */

/* The definitions in long double, whose cancellations near the centre of a halo are 2000 times smaller. */
#define TINY 1e-24L
#define FLOOR 1e-9L
#define T long double
#define REAL(z) ((double)(z))
#define NAME(name) name##_long
static lm_mass_model models[LM_MASS_KINDS]; /* what mass.inc wants to know: where centres are */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#include "operators/core/lensing/mass.inc"
#pragma GCC diagnostic pop
#undef T
#undef REAL
#undef NAME

static void long_maps_of(const lm_mass *mass, size_t n, const double *x, const double *y, double *ret)
{
    for (unsigned kind = 0; kind < LM_MASS_KINDS; kind++) models[kind] = *lm_mass_model_of((lm_mass_kind)kind);
    long double p[LM_MASS_MOST];
    for (size_t i = 0; i < LM_MASS_MOST; i++) p[i] = mass->p[i];
    for (size_t i = 0; i < n; i++) {
        place_long at = place_at_long(mass->kind, p, x[i], y[i]);
        long double values[MAPS] = {at.ax, at.ay, at.kappa, at.psi, at.g1, at.g2};
        for (size_t m = 0; m < MAPS; m++) ret[m * n + i] = (double)values[m];
    }
}

/* Deflection relative to its length, convergence and shear to their sum. */
static void blocks_meet(const lm_mass *mass, size_t n, const double *x, const double *y, double tolerance)
{
    double *got = lm_alloc(2 * MAPS * n, sizeof *got), *want = got + MAPS * n;
    CHECK(got);
    lm_mass_maps maps = {NULL, got, got + n, got + 2 * n, got + 4 * n, got + 5 * n};
    lm_mass_add(mass, n, x, y, &maps);
    long_maps_of(mass, n, x, y, want);
    for (size_t i = 0; i < n; i++) {
        double alpha = hypot(want[i], want[n + i]),
               shape = fabs(want[2 * n + i]) + hypot(want[4 * n + i], want[5 * n + i]);
        for (size_t m = 0; m < MAPS; m++) {
            double off = fabs(got[m * n + i] - want[m * n + i]), size = m < 2 ? alpha : shape;
            if (m != 3 && !(off <= tolerance * size))
                FAIL("%s, map %zu at (%g, %g): %.17g, defined as %.17g", lm_mass_model_of(mass->kind)->name, m, x[i],
                     y[i], got[m * n + i], want[m * n + i]);
        }
    }
    lm_free(got);
}

TEST(blocks_equal_the_definitions)
{
    if (LDBL_MANT_DIG <= DBL_MANT_DIG) SKIP("long double is double here");
    enum { N = 1003 }; /* not a whole number of blocks */
    double x[N], y[N];
    static const double q[] = {0.05, 0.2, 0.4, 0.8, 0.9999999, 1}, slopes[] = {0.5, 0.95, 1, 1.4};
    for (size_t i = 0; i < N; i++) {
        double r = 0.02 * pow(1000, (double)i / N), turn = 2.39996 * (double)i; /* 0.02 to 20 arcsec */
        x[i] = 0.03 + r * cos(turn);
        y[i] = -0.02 + r * sin(turn);
    }
    for (size_t k = 0; k < SOME; k++) blocks_meet(&some[k], N, x, y, 3e-13); /* tNFW, far out: terms cancel to 1/u */
    for (size_t k = 0; k < sizeof q / sizeof *q; k++) {
        /* atanh near 1 turns the rounding of q^2 into 1/q^2 as much */
        double tolerance = 2e-15 + 2e-16 / (q[k] * q[k]);
        blocks_meet(&(lm_mass){LM_MASS_SIE, {1.3, q[k], 0.4, 0, 0.03, -0.02}}, N, x, y, tolerance);
        blocks_meet(&(lm_mass){LM_MASS_SIE, {1.3, q[k], 2.1, 0.2, 0, 0}}, N, x, y, tolerance);
        for (size_t j = 0; j < sizeof slopes / sizeof *slopes; j++)
            blocks_meet(&(lm_mass){LM_MASS_EPL, {1.3, slopes[j], q[k], 0.4, 0.03, -0.02}}, N, x, y, 1e-13);
    }
    static const double tau[] = {0.1, 1, 5, 100};
    for (size_t k = 0; k < sizeof tau / sizeof *tau; k++)
        blocks_meet(&(lm_mass){LM_MASS_TNFW, {0.4, 1.2, tau[k], 0.03, -0.02}}, N, x, y, k ? 1e-13 : 1e-11);
}

/* One position, or many: the same bits, wherever it stands in a block. (A power law is left to mass.inc for a few.) */
TEST(a_value_does_not_depend_on_its_neighbours)
{
    double x[PLACES], y[PLACES], all[MAPS * PLACES] = {0};
    places(x, y);
    for (size_t k = 0; k < SOME; k++) {
        memset(all, 0, sizeof all);
        lm_mass_add(&some[k], PLACES, x, y, &(lm_mass_maps){.alpha_x = all, .alpha_y = all + PLACES});
        for (size_t i = 0; i + 7 < PLACES; i += 3) {
            double ax[7] = {0}, ay[7] = {0};
            lm_mass_add(&some[k], 7, x + i, y + i, &(lm_mass_maps){.alpha_x = ax, .alpha_y = ay});
            EQUAL_INT(memcmp(ax, all + i, sizeof ax), 0);
            EQUAL_INT(memcmp(ay, all + PLACES + i, sizeof ay), 0);
        }
    }
}

TEST(undefined_positions_stay_undefined)
{
    double x[9] = {0, 1, NAN, 3, 4, 5, 6, 7, 8}, y[9] = {1, 1, 1, 1, NAN, 1, 1, 1, 1};
    for (size_t k = 0; k < SOME; k++) {
        double ax[9] = {0}, ay[9] = {0};
        lm_mass_add(&some[k], 9, x, y, &(lm_mass_maps){.alpha_x = ax, .alpha_y = ay});
        for (size_t i = 0; i < 9; i++) {
            bool hole = i == 2 || i == 4;
            if (hole ? isfinite(ax[i]) && isfinite(ay[i]) : !isfinite(ax[i]) || !isfinite(ay[i]))
                FAIL("%s: (%g, %g) at (%g, %g)", lm_mass_model_of(some[k].kind)->name, ax[i], ay[i], x[i], y[i]);
        }
    }
}

/* Derivatives of the deflection alone have closed forms; asking for the potential too takes the complex step. */
TEST(fast_derivatives_equal_the_complex_step)
{
    double x[PLACES], y[PLACES];
    places(x, y);
    for (size_t k = 0; k < SOME; k++)
        for (int by = LM_BY_Y; by < (int)lm_mass_model_of(some[k].kind)->n_params; by++) {
            if (some[k].kind == LM_MASS_MULTIPOLE && by == 0) continue;
            double psi[PLACES] = {0}, want[2][PLACES] = {0}, got[2][PLACES] = {0};
            lm_mass_derive(&some[k], by, PLACES, x, y, &(lm_mass_maps){psi, want[0], want[1], NULL, NULL, NULL});
            lm_mass_derive(&some[k], by, PLACES, x, y, &(lm_mass_maps){.alpha_x = got[0], .alpha_y = got[1]});
            bool halo =
                some[k].kind == LM_MASS_NFW || some[k].kind == LM_MASS_TNFW; /* the step's terms cancel to u^2 */
            for (size_t i = 0; i < PLACES; i++)
                for (size_t m = 0; m < 2; m++)
                    if (!(fabs(got[m][i] - want[m][i]) <=
                          (halo ? 1e-10 : 1e-12) * (hypot(want[0][i], want[1][i]) + 1e-2)))
                        FAIL("%s, case %zu, by %d at (%g, %g): %.15g, by complex step %.15g",
                             lm_mass_model_of(some[k].kind)->name, k, by, x[i], y[i], got[m][i], want[m][i]);
        }
}

/* A model of no strength does nothing, and its derivative by the strength is finite. */
TEST(strengths_of_zero)
{
    double x[PLACES], y[PLACES];
    places(x, y);
    for (size_t k = 0; k < SOME; k++) {
        if (some[k].kind == LM_MASS_MULTIPOLE || some[k].kind == LM_MASS_SHEAR) continue;
        if (some[k].kind == LM_MASS_EPL && some[k].p[1] < 1) continue; /* theta_E^t has no slope at 0 */
        lm_mass none = some[k];
        none.p[0] = 0;
        double a[2][PLACES] = {0}, d[2][PLACES] = {0};
        lm_mass_add(&none, PLACES, x, y, &(lm_mass_maps){.alpha_x = a[0], .alpha_y = a[1]});
        lm_mass_derive(&none, 0, PLACES, x, y, &(lm_mass_maps){.alpha_x = d[0], .alpha_y = d[1]});
        for (size_t i = 0; i < PLACES; i++) {
            CHECK(a[0][i] == 0 && a[1][i] == 0);
            CHECK(isfinite(d[0][i]) && isfinite(d[1][i]));
        }
    }
}

/* On both sides of a radius where a series takes over, the values go on as they did. */
static void smooth_across(lm_mass mass, double radius)
{
    double x[4], y[4] = {0}, maps[MAPS * 4];
    for (int i = 0; i < 4; i++) x[i] = radius * (1 + 1e-4 * ((double)i - 1.5));
    maps_of(&mass, 1, 4, x, y, maps);
    for (size_t m = 0; m < 3; m++) {
        const double *f = maps + 4 * m;
        if (m == 1) continue;                                               /* alpha_y = 0 on the axis */
        NEAR(f[3] - 3 * f[2] + 3 * f[1] - f[0], 0, ABS(2e-9 * fabs(f[1]))); /* third difference */
    }
}

TEST(series_meet_the_closed_forms)
{
    for (int side = -1; side <= 1; side += 2) {
        smooth_across((lm_mass){LM_MASS_NFW, {0.4, 1.2, 0, 0}}, 1.2 * (1 + side * 1e-2));
        smooth_across((lm_mass){LM_MASS_TNFW, {0.4, 1.2, 3, 0, 0}}, 1.2 * (1 + side * 1e-2));
    }
    smooth_across((lm_mass){LM_MASS_NFW, {0.4, 1.2, 0, 0}}, 1.2 * 2e-3);
    smooth_across((lm_mass){LM_MASS_TNFW, {0.4, 1.2, 3, 0, 0}}, 1.2 * 3e-3);
    smooth_across((lm_mass){LM_MASS_TNFW, {0.4, 1.2, 0.5, 0, 0}}, 1.2 * 1.5e-3);
}

TEST(extreme_places_and_shapes_are_finite)
{
    static const double q[] = {0.01, 0.05, 0.999999, 1};
    double x[] = {0, 1e-12, 0, -1e-12, 1e-6, 1e3, 1, 0}, y[] = {0, 0, 1e-12, -1e-12, 1e-6, 1e3, 0, 1}, got[MAPS * 8];
    for (size_t k = 0; k < SOME; k++)
        for (size_t i = 0; i < 4; i++) {
            lm_mass mass = some[k];
            int at = lm_mass_param_of(mass.kind, "q");
            if (at >= 0) mass.p[at] = q[i];
            mass.p[lm_mass_model_of(mass.kind)->centre] = mass.p[lm_mass_model_of(mass.kind)->centre + 1] = 0;
            maps_of(&mass, 1, 8, x, y, got);
            for (size_t v = 0; v < MAPS * 8; v++)
                if (!isfinite(got[v]))
                    FAIL("%s: map %zu at (%g, %g) is %g", lm_mass_model_of(mass.kind)->name, v / 8, x[v % 8], y[v % 8],
                         got[v]);
        }
}

TEST(impossible_masses_are_named)
{
    lm_error err = {0};
    lm_mass mass = {LM_MASS_EPL, {1.2, 2.5, 0.7, 0, 0, 0}};
    EQUAL_INT(lm_mass_check(&mass, &err), LM_EINPUT);
    CONTAINS(err.text, "t of a mass of type \"epl\" is 2.5");
    mass = (lm_mass){LM_MASS_SIE, {1.2, NAN, 0, 0, 0, 0}};
    EQUAL_INT(lm_mass_check(&mass, &err), LM_EINPUT);
    CONTAINS(err.text, "q of");
    mass = (lm_mass){LM_MASS_MULTIPOLE, {3.5, 0.1, 0, 0, 0}};
    EQUAL_INT(lm_mass_check(&mass, &err), LM_EINPUT);
    CONTAINS(err.text, "whole number");
    mass = (lm_mass){LM_MASS_PJAFFE, {1, 2, 1, 0, 0}};
    EQUAL_INT(lm_mass_check(&mass, &err), LM_EINPUT);
    CONTAINS(err.text, "smaller than its truncation");
    EQUAL_INT(lm_mass_kind_of("nothing"), LM_MASS_KINDS);
    for (unsigned kind = 0; kind < LM_MASS_KINDS; kind++) {
        const lm_mass_model *model = lm_mass_model_of((lm_mass_kind)kind);
        EQUAL_INT(lm_mass_kind_of(model->name), kind);
        EQUAL_TEXT(model->params[model->centre].name, "x");
        EQUAL_INT(model->centre + 2, model->n_params);
    }
}
