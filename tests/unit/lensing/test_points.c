/* Images of a point source: an independent program's, those of theory, and thousands that must satisfy the lens
 * equation. */
#include "tests/test.h"
#include "tests/unit/lensing/reference.h"

#include "operators/core/lensing/points.h"
#include "runtime/alloc.h"
#include "runtime/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double number(const json_t *of, const char *key)
{
    const json_t *value = json_object_get(of, key);
    if (!json_is_number(value)) FAIL("the reference has no number \"%s\"", key);
    return json_number_value(value);
}

static double uniform(lm_random *random, double low, double high)
{
    return low + (high - low) * lm_random_uniform(random);
}

/* beta(theta) - beta, by a sum of its own. */
static double off_source(const lm_mass *masses, size_t n_masses, double x, double y, double beta_x, double beta_y)
{
    double ax = 0, ay = 0;
    for (size_t i = 0; i < n_masses; i++)
        lm_mass_add(&masses[i], 1, &x, &y, &(lm_mass_maps){.alpha_x = &ax, .alpha_y = &ay});
    return hypot(x - ax - beta_x, y - ay - beta_y);
}

static size_t count(const lm_mass *masses, size_t n_masses, double beta_x, double beta_y)
{
    lm_error err = {0};
    lm_image *images = NULL;
    size_t n = 0;
    for (size_t i = 0; i < n_masses; i++) OK(lm_mass_check(&masses[i], &err), &err);
    OK(lm_images_find(masses, n_masses, beta_x, beta_y, NULL, NULL, &images, &n, &err), &err);
    lm_free(images);
    return n;
}

/* ---- references -------------------------------------------------------------------------------------------------- */

static lm_mass from_reference(const json_t *c)
{
    const char *model = json_string_value(json_object_get(c, "model"));
    if (!strcmp(model, "SHEAR"))
        return (lm_mass){LM_MASS_SHEAR,
                         {number(c, "gamma1"), number(c, "gamma2"), number(c, "ra_0"), number(c, "dec_0")}};
    double x = number(c, "center_x"), y = number(c, "center_y"), theta_E = number(c, "theta_E");
    if (!strcmp(model, "SIE")) return (lm_mass){LM_MASS_SIE, {theta_E, number(c, "q"), number(c, "phi"), 0, x, y}};
    if (!strcmp(model, "EPL"))
        return (lm_mass){LM_MASS_EPL, {theta_E, number(c, "t"), number(c, "q"), number(c, "phi"), x, y}};
    if (!strcmp(model, "POINT_MASS")) return (lm_mass){LM_MASS_POINT, {theta_E, x, y}};
    FAIL("an unknown model: %s", model);
}

enum { X, Y, MU, FERMAT, ARRIVAL, DELAY, RESIDUAL, COLUMNS };

static void against(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "reference/points/%s.json", name);
    json_t *about = reference_json(test_shared(path));
    snprintf(path, sizeof path, "reference/points/%s.fits", name);
    size_t n_want = 0, n = 0;
    double *want = reference_hdu(test_shared(path), "IMAGES", &n_want);
    n_want /= COLUMNS;
    const json_t *list = json_object_get(about, "components"), *beta = json_object_get(about, "beta");
    size_t n_masses = json_array_size(list);
    lm_mass masses[4];
    CHECK(n_masses > 0 && n_masses <= 4);
    for (size_t i = 0; i < n_masses; i++) masses[i] = from_reference(json_array_get(list, i));
    lm_cosmology cosmology = {number(about, "H0"), number(about, "Om0"), 1 - number(about, "Om0"), -1};
    lm_lens_geometry g;
    lm_error err = {0};
    OK(lm_lens_geometry_of(&cosmology, number(about, "z_l"), number(about, "z_s"), &g, &err), &err);
    NEAR(g.D_dt, number(about, "D_dt"), REL(1e-12)); /* quadratures of two programs */
    lm_image *images = NULL;
    OK(lm_images_find(masses, n_masses, json_real_value(json_array_get(beta, 0)),
                      json_real_value(json_array_get(beta, 1)), NULL, &g, &images, &n, &err),
       &err);
    EQUAL_INT(n, n_want);
    double worst[COLUMNS] = {0};
    for (size_t i = 0; i < n; i++) {
        const double *w = want + i * COLUMNS;
        const lm_image *image = &images[i];
        double off[COLUMNS] = {fabs(image->x - w[X]),
                               fabs(image->y - w[Y]),
                               fabs(image->magnification / w[MU] - 1),
                               fabs(image->fermat - images[0].fermat - (w[FERMAT] - want[FERMAT])),
                               fabs(image->arrival / w[ARRIVAL] - 1),
                               fabs(image->delay - w[DELAY]) / want[(n - 1) * COLUMNS + DELAY],
                               image->residual};
        NEAR(image->fermat, w[FERMAT], ABS(1e-9)); /* its zero point too; the peer's SIE has a core of 1e-10 */
        for (int k = 0; k < COLUMNS; k++)
            if (!(off[k] <= worst[k])) worst[k] = off[k];
    }
    if (getenv("LENSING_VERBOSE"))
        printf("%s: x %.1e, y %.1e, mu %.1e, fermat %.1e, arrival %.1e, delay %.1e, residual %.1e\n", name, worst[X],
               worst[Y], worst[MU], worst[FERMAT], worst[ARRIVAL], worst[DELAY], worst[RESIDUAL]);
    /* Positions of both are polished to rounding; the peer's SIE is a NIE with a core of 1e-10 arcsec, and its
     * magnification there has differences of deflections over 1e-5 of them. */
    bool sie = masses[0].kind == LM_MASS_SIE;
    CHECK(worst[X] <= (sie ? 1e-9 : 1e-13) && worst[Y] <= (sie ? 1e-9 : 1e-13));
    CHECK(worst[MU] <= (sie ? 2e-5 : 1e-12));
    CHECK(worst[FERMAT] <= (sie ? 1e-9 : 1e-13));
    CHECK(worst[ARRIVAL] <= 1e-8 && worst[DELAY] <= 1e-8); /* the peer's arcsec and day */
    CHECK(worst[RESIDUAL] <= 1e-14);
    CHECK(images[0].delay == 0);
    for (size_t i = 0; sie && n_masses == 1 && i < n; i++) { /* Kormann's: det A = 1 - 2 kappa */
        double theta_E = masses[0].p[0], q = masses[0].p[1], c = cos(masses[0].p[2]), s = sin(masses[0].p[2]);
        double x = c * images[i].x + s * images[i].y, y = c * images[i].y - s * images[i].x;
        NEAR(1 / images[i].magnification, 1 - theta_E / sqrt(q * x * x + y * y / q), ABS(1e-14));
    }
    lm_free(want), lm_free(images);
    json_decref(about);
}

TEST(images_equal_the_reference)
{
    static const char *const names[] = {"sie_quad", "sie_double", "epl_shear_quad", "point_shear"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) against(names[i]);
}

/* SIE and shear, from another solver: eight digits are given. */
TEST(golden_images)
{
    static const double want[4][4] = {{.12275393, 1.29332851, 5.040693, 0},
                                      {.69696530, -.96433289, 12.723196, 15.929061},
                                      {1.13143496, -.39695650, -10.652420, 16.677829},
                                      {-1.01278903, -.35542859, -3.945611, 28.172882}};
    const lm_mass masses[] = {{LM_MASS_SIE, {1.2, 0.7, 0, 0, 0, 0}}, {LM_MASS_SHEAR, {0.03, -0.02, 0, 0}}};
    lm_lens_geometry g;
    lm_error err = {0};
    OK(lm_lens_geometry_of(&(lm_cosmology){70, 0.3, 0.7, -1}, 0.5, 1.5, &g, &err), &err);
    lm_image *images = NULL;
    size_t n = 0;
    OK(lm_images_find(masses, 2, 0.05, 0.08, NULL, &g, &images, &n, &err), &err);
    EQUAL_INT(n, 4);
    for (size_t i = 0; i < n; i++) {
        NEAR(images[i].x, want[i][0], ABS(6e-9));
        NEAR(images[i].y, want[i][1], ABS(6e-9));
        NEAR(images[i].magnification, want[i][2], ABS(6e-7));
        NEAR(images[i].delay, want[i][3], ABS(1e-6));
    }
    lm_free(images);
}

/* ---- closed forms ------------------------------------------------------------------------------------------------ */

/* SIS: theta = beta +- theta_E; point mass: (beta +- sqrt(beta^2 + 4 theta_E^2))/2. Both for lenses off the origin,
 * of all sizes: the window must follow. */
TEST(images_of_round_lenses)
{
    static const double sizes[] = {0.01, 0.3, 1.7, 9, 40};
    lm_error err = {0};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        double e = sizes[k], b = 0.3 * e, cx = 0.7, cy = -1.1, turn = 0.6, ux = cos(turn), uy = sin(turn);
        for (int point = 0; point < 2; point++) {
            lm_mass mass = {point ? LM_MASS_POINT : LM_MASS_SIS, {e, cx, cy}};
            double root = sqrt(b * b + 4 * e * e), at[2] = {b + e, b - e}, mu[2] = {1 + e / b, 1 - e / b};
            if (point) {
                for (int i = 0; i < 2; i++) {
                    at[i] = (b + (i ? -root : root)) / 2;
                    mu[i] = 1 / (1 - pow(e / at[i], 4));
                }
            }
            lm_image *images = NULL;
            size_t n = 0;
            OK(lm_images_find(&mass, 1, cx + b * ux, cy + b * uy, NULL, NULL, &images, &n, &err), &err);
            EQUAL_INT(n, 2);
            for (int i = 0; i < 2; i++) {
                NEAR(images[i].x, cx + at[i] * ux, ABS(1e-13 * (e + 2))); /* rounding of x - alpha, over |A| */
                NEAR(images[i].y, cy + at[i] * uy, ABS(1e-13 * (e + 2)));
                NEAR(images[i].magnification, mu[i], REL(k ? 1e-11 : 1e-10)); /* 0.01 arcsec lies off the origin */
                CHECK(isnan(images[i].arrival) && isnan(images[i].delay));
            }
            double delay = images[1].fermat - images[0].fermat;
            double want = point ? b * root / 2 + e * e * log((root + b) / (root - b)) : 2 * e * b;
            NEAR(delay, want, REL(1e-11));
            lm_free(images);
        }
    }
}

/* Nothing bends: one image, where the source is. A sheet and shear: one, by the inverse of a matrix. */
TEST(images_without_a_lens)
{
    lm_error err = {0};
    lm_image *images = NULL;
    size_t n = 0;
    OK(lm_images_find(NULL, 0, 3, -4, NULL, NULL, &images, &n, &err), &err);
    EQUAL_INT(n, 1);
    CHECK(images[0].x == 3 && images[0].y == -4 && images[0].magnification == 1 && images[0].fermat == 0);
    images = lm_free(images);
    const lm_mass flat[] = {{LM_MASS_SHEET, {0.4, 0, 0}}, {LM_MASS_SHEAR, {0.2, 0, 0, 0}}};
    OK(lm_images_find(flat, 2, 0.4, 0.4, NULL, NULL, &images, &n, &err), &err);
    EQUAL_INT(n, 1);
    NEAR(images[0].x, 1, REL(1e-14)); /* 0.4 / (1 - 0.4 - 0.2), 0.4 / (1 - 0.4 + 0.2) */
    NEAR(images[0].y, 0.5, REL(1e-14));
    NEAR(images[0].magnification, 1 / 0.32, REL(1e-13));
    lm_free(images);
}

/* ---- counts ------------------------------------------------------------------------------------------------------ */

/* Along the minor and the major axis: the cut of a SIE with b = theta_E sqrt(q), f = sqrt(1 - q^2), is at
 * (b/f) asin f and (b/f) atanh f (y = 0, x = 0 for the major axis on x), its astroid's cusps at b/q - (b/f) atan(f/q)
 * on x (the critical point (b/q, 0)) and (b/f) atanh f - b on y. */
TEST(sie_counts_by_region)
{
    static const double ratios[] = {0.9, 0.6, 0.25};
    for (size_t k = 0; k < sizeof ratios / sizeof *ratios; k++) {
        double q = ratios[k], b = sqrt(q), f = sqrt(1 - q * q);
        double cut_x = b / f * atan(f / q), cut_y = b / f * atanh(f), cusp_x = b / q - cut_x, cusp_y = cut_y - b;
        lm_mass sie = {LM_MASS_SIE, {1, q, 0, 0, 0, 0}};
        double ends[] = {cut_x, cut_y, fabs(cusp_x), fabs(cusp_y)};
        for (int e = 0; e < 4; e++)
            for (int side = -1; side <= 1; side += 2) {
                bool on_x = e == 0 || e == 2;
                double r = ends[e] * (1 + 1e-2 * side); /* the image that the cut ends is off the centre by this */
                size_t in_cut = r < (on_x ? cut_x : cut_y), in_astroid = r < fabs(on_x ? cusp_x : cusp_y);
                size_t want = 1 + in_cut + 2 * in_astroid;
                size_t got =
                    count(&sie, 1, on_x ? r : 1e-5, on_x ? 1e-5 : r); /* off the axis, where two may coincide */
                if (got != want) FAIL("q %g, end %d, side %d: %zu images, not %zu", q, e, side, got, want);
            }
    }
    lm_mass naked = {LM_MASS_SIE, {1, 0.25, 0, 0, 0, 0}}; /* its cusp reaches out of the cut */
    EQUAL_INT(count(&naked, 1, 1e-3, 1e-3), 4);
    EQUAL_INT(count(&naked, 1, 3, 3), 1);
}

/* ---- thousands of images ----------------------------------------------------------------------------------------- */

typedef struct {
    size_t minima, maxima, saddles;
} parity;

/* Finds the images and checks each: the equation, the matrix by differences of the deflection, the order. */
static parity find_and_check(const lm_mass *masses, size_t n_masses, double beta_x, double beta_y, const char *what)
{
    lm_error err = {0};
    lm_image *images = NULL;
    size_t n = 0;
    parity p = {0};
    for (size_t i = 0; i < n_masses; i++) OK(lm_mass_check(&masses[i], &err), &err);
    OK(lm_images_find(masses, n_masses, beta_x, beta_y, NULL, NULL, &images, &n, &err), &err);
    for (size_t i = 0; i < n; i++) {
        const lm_image *image = &images[i];
        double off = off_source(masses, n_masses, image->x, image->y, beta_x, beta_y);
        if (!(off <= 1e-10)) FAIL("%s: image %zu is %g off the source", what, i, off);
        double kappa = 0, g1 = 0, g2 = 0;
        for (size_t k = 0; k < n_masses; k++)
            lm_mass_add(&masses[k], 1, &image->x, &image->y,
                        &(lm_mass_maps){.kappa = &kappa, .gamma1 = &g1, .gamma2 = &g2});
        double det = (1 - kappa) * (1 - kappa) - g1 * g1 - g2 * g2;
        NEAR(image->magnification * det, 1, ABS(1e-14));
        p.saddles += det < 0;
        p.minima += det > 0 && kappa < 1;
        p.maxima += det > 0 && kappa > 1;
        if (i) CHECK(image->fermat >= images[i - 1].fermat);
        for (size_t k = 0; k < i; k++) CHECK(hypot(image->x - images[k].x, image->y - images[k].y) >= LM_IMAGE_APART);
    }
    lm_free(images);
    return p;
}

/* 300 SIE or EPL and shear: every image solves the equation, and none is missing by the theorem of Burke: minima and
 * maxima are one more than saddles. A singular lens hides its central maximum (t < 1, or inside the cut of t = 1);
 * for t > 1 the centre bends light without bound, which hides it always. */
TEST(random_lenses)
{
    enum { LENSES = 300 };
    lm_digest key = lm_digest_of("images", 6);
    size_t total = 0, by_count[6] = {0};
    for (uint64_t k = 0; k < LENSES; k++) {
        lm_random random = lm_random_stream(&key, k);
        bool epl = k & 1;
        double theta_E = uniform(&random, 0.4, 2), q = uniform(&random, 0.3, 0.98), phi = uniform(&random, 0, M_PI);
        double t = uniform(&random, 0.7, 1.3), g1 = uniform(&random, -0.1, 0.1), g2 = uniform(&random, -0.1, 0.1);
        double cx = uniform(&random, -0.3, 0.3), cy = uniform(&random, -0.3, 0.3);
        double r = theta_E * sqrt(uniform(&random, 0, 0.5)), turn = uniform(&random, 0, 2 * M_PI);
        lm_mass masses[] = {{LM_MASS_SIE, {theta_E, q, phi, 0, cx, cy}}, {LM_MASS_SHEAR, {g1, g2, cx, cy}}};
        if (epl) masses[0] = (lm_mass){LM_MASS_EPL, {theta_E, t, q, phi, cx, cy}};
        char what[32];
        snprintf(what, sizeof what, "lens %d", (int)k);
        parity p = find_and_check(masses, 2, cx + r * cos(turn), cy + r * sin(turn), what);
        size_t n = p.minima + p.maxima + p.saddles;
        bool whole = p.minima + p.maxima == p.saddles + 1, hidden = p.minima + p.maxima == p.saddles;
        bool right = epl && t > 1 ? hidden : whole || hidden;
        if (!right || n < 1 || n > 5)
            FAIL("%s: %zu minima, %zu maxima, %zu saddles, t %g", what, p.minima, p.maxima, p.saddles, epl ? t : 1);
        total += n;
        by_count[n]++;
    }
    if (getenv("LENSING_VERBOSE"))
        printf("%zu images: %zu lenses with 1, %zu 2, %zu 3, %zu 4, %zu 5\n", total, by_count[1], by_count[2],
               by_count[3], by_count[4], by_count[5]);
    CHECK(by_count[2] > 50 && by_count[4] > 20); /* the test has looked at both */
}

/* Smooth lenses have an odd number of images, minima and maxima one more than saddles; cores down to 1e-5 arcsec,
 * haloes, perturbers smaller than the grid's step. */
TEST(smooth_lenses_have_odd_numbers)
{
    enum { LENSES = 200 };
    lm_digest key = lm_digest_of("cores", 5);
    size_t most = 0;
    for (uint64_t k = 0; k < LENSES; k++) {
        lm_random random = lm_random_stream(&key, k);
        double s = pow(10, uniform(&random, -5, -0.7)), q = uniform(&random, 0.3, 0.98),
               phi = uniform(&random, 0, M_PI);
        double theta_E = uniform(&random, 0.6, 1.5), x = uniform(&random, -1.5, 1.5), y = uniform(&random, -1.5, 1.5);
        double a = pow(10, uniform(&random, -4, -1));
        const lm_mass masses[] = {{LM_MASS_SIE, {theta_E, q, phi, s, 0, 0}},
                                  {LM_MASS_SHEAR, {0.05, uniform(&random, -0.05, 0.05), 0, 0}},
                                  {LM_MASS_PJAFFE, {uniform(&random, 0.02, 0.2) / a, a, 10 * a + 0.1, x, y}},
                                  {LM_MASS_NFW, {uniform(&random, 0.02, 0.3), uniform(&random, 0.05, 2), -y, x}}};
        double r = 0.4 * theta_E * sqrt(uniform(&random, 0, 1)), turn = uniform(&random, 0, 2 * M_PI);
        char what[32];
        snprintf(what, sizeof what, "lens %d", (int)k);
        parity p = find_and_check(masses, 1 + k % 4, r * cos(turn), r * sin(turn), what);
        if (p.minima + p.maxima != p.saddles + 1)
            FAIL("%s: %zu minima, %zu maxima, %zu saddles; core %g", what, p.minima, p.maxima, p.saddles, s);
        size_t n = p.minima + p.maxima + p.saddles;
        if (n > most) most = n;
    }
    if (getenv("LENSING_VERBOSE")) printf("up to %zu images\n", most);
    CHECK(most >= 7); /* some perturber has split an image */
}

/* Across a fold of a SIE the number changes by two, and the pair is found down to 1e-9 arcsec from it. */
TEST(pairs_beside_a_fold)
{
    const double q = 0.6;
    lm_mass sie = {LM_MASS_SIE, {1, q, 0, 0, 0, 0}};
    for (double phi = 0.3; phi < 6.28; phi += 0.37) {
        if (fabs(sin(2 * phi)) < 0.2) continue; /* near a cusp */
        /* the critical curve of a SIE: kappa = 1/2, R = sqrt(q) on R^2 = q^2 x^2 + y^2; beta there is on the caustic */
        double r = sqrt(q) / hypot(q * cos(phi), sin(phi)), x = r * cos(phi), y = r * sin(phi), ax = 0, ay = 0;
        lm_mass_add(&sie, 1, &x, &y, &(lm_mass_maps){.alpha_x = &ax, .alpha_y = &ay});
        double bx = x - ax, by = y - ay;
        for (double d = 1e-2; d > 0.5e-9; d /= 10) {
            double by_d = d / hypot(bx, by); /* inside the astroid is towards the centre */
            size_t in = count(&sie, 1, bx * (1 - by_d), by * (1 - by_d));
            size_t out = count(&sie, 1, bx * (1 + by_d), by * (1 + by_d));
            if (in != out + 2) FAIL("phi %g, %g from the fold: %zu and %zu images", phi, d, in, out);
        }
        count(&sie, 1, bx, by); /* on it: any number, in finite time */
    }
}

/* ---- errors ------------------------------------------------------------------------------------------------------ */

TEST(errors_say_why)
{
    lm_error err = {0};
    lm_image *images = NULL;
    size_t n = 77;
    lm_mass sis = {LM_MASS_SIS, {1, 0, 0}}, sheet = {LM_MASS_SHEET, {1, 0, 0}};
    static const struct {
        lm_window window;
        const char *says;
    } bad[] = {
        {{0, 0, 0, 0.05}, "half width"},   {{0, 0, -1, 0.05}, "half width"},
        {{0, 0, NAN, 0.05}, "half width"}, {{0, 0, INFINITY, 0.05}, "half width"},
        {{NAN, 0, 1, 0.05}, "half width"}, {{0, 0, 1, -0.05}, "step"},
        {{0, 0, 1, NAN}, "step"},          {{0, 0, 1000, 1e-5}, "cells"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(lm_images_find(&sis, 1, 0.1, 0.1, &bad[i].window, NULL, &images, &n, &err) == LM_EINPUT);
        CONTAINS(err.text, bad[i].says);
    }
    CHECK(lm_images_find(&sis, 1, NAN, 0, NULL, NULL, &images, &n, &err) == LM_EINPUT);
    CONTAINS(err.text, "position");
    CHECK(lm_images_find(&sheet, 1, 0.1, 0.1, NULL, NULL, &images, &n, &err) == LM_EINPUT);
    CONTAINS(err.text, "no window");
    CHECK(lm_images_find(&sis, 1, 0, 0, NULL, NULL, &images, &n, &err) == LM_EINPUT); /* an Einstein ring */
    CONTAINS(err.text, "ring");
    lm_window fine = {0, 0, 1, 0.001};
    CHECK(lm_images_find(&sheet, 1, 0, 0, &fine, NULL, &images, &n, &err) == LM_EINPUT); /* kappa = 1: all rays meet */
    CONTAINS(err.text, "focus");
    CHECK(images == NULL && n == 77);
}

/* Where the images are all but a ring, or one at a cusp: found, once each, and in finite time. */
TEST(sources_beside_a_caustic_of_higher_order)
{
    lm_mass round = {LM_MASS_SIS, {1, 0, 0}}, sie = {LM_MASS_SIE, {1, 0.6, 0, 0, 0, 0}};
    EQUAL_INT(count(&round, 1, 1e-7, 0), 2);
    EQUAL_INT(count(&round, 1, 0, 1e-8), 2);
    double b = sqrt(0.6), f = 0.8, cusp = b / 0.6 - b / f * atan(f / 0.6); /* see sie_counts_by_region */
    EQUAL_INT(count(&sie, 1, cusp - 1e-6, 0), 4);
    EQUAL_INT(count(&sie, 1, cusp + 1e-6, 0), 2);
    size_t on_it = count(&sie, 1, cusp, 0);
    CHECK(on_it >= 1 && on_it <= 4); /* three images are one */
}

/* A window holds what it holds. */
TEST(window_is_kept)
{
    lm_error err = {0};
    lm_mass sis = {LM_MASS_SIS, {1, 0, 0}};
    lm_image *images = NULL;
    size_t n = 0;
    OK(lm_images_find(&sis, 1, 0.2, 0, &(lm_window){1, 0, 0.7, 0}, NULL, &images, &n, &err), &err);
    EQUAL_INT(n, 1);
    NEAR(images[0].x, 1.2, ABS(1e-13));
    images = lm_free(images);
    OK(lm_images_find(&sis, 1, 0.2, 0, &(lm_window){5, 5, 0.7, 0.3}, NULL, &images, &n, &err), &err);
    CHECK(n == 0 && images == NULL);
    lm_window w;
    OK(lm_window_of(&sis, 1, 0.2, 0, &w, &err), &err);
    CHECK(w.half > 1.2 && w.half < 2 && w.step <= 0.05 && w.step > 0.01);
}

/* Each allocation fails in turn: an error, and nothing lost. */
TEST(allocations_fail)
{
    lm_mass sis = {LM_MASS_SIS, {1, 0, 0}};
    lm_error err = {0};
    lm_image *images = NULL;
    size_t n = 77;
    for (uint64_t k = 1;; k++) {
        lm_alloc_fail_at(k);
        lm_status status = lm_images_find(&sis, 1, 0.2, 0, NULL, NULL, &images, &n, &err);
        lm_alloc_fail_at(0);
        if (status == LM_OK) break;
        CHECK(status == LM_EMEMORY && images == NULL && n == 77);
        CHECK(k < 100);
    }
    lm_free(images);
}
