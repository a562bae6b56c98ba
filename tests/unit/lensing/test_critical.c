/* Critical curves and caustics: closed forms, areas, and the numbers of images on both sides. */
#include "tests/test.h"

#include "operators/core/lensing/critical.h"

#include <math.h>
#include <string.h>

static lm_curves *curves_of(const lm_mass *masses, size_t n_masses, const lm_window *window)
{
    lm_error err = {0};
    lm_curves *curves = NULL;
    for (size_t i = 0; i < n_masses; i++) OK(lm_mass_check(&masses[i], &err), &err);
    OK(lm_curves_find(masses, n_masses, window, &curves, &err), &err);
    return curves;
}

static size_t count(const lm_curves *curves, bool radial)
{
    size_t n = 0;
    for (size_t i = 0; i < curves->n; i++) n += curves->curves[i].radial == radial;
    return n;
}

/* A SIE is critical on the ellipse kappa = 1/2, of area pi theta_E^2; it has no radial curve. */
TEST(curve_of_a_sie)
{
    static const double ratios[] = {1, 0.9, 0.6, 0.3};
    for (size_t k = 0; k < sizeof ratios / sizeof *ratios; k++) {
        double theta_E = 1.3, q = ratios[k], phi = 0.4, cx = 0.3, cy = -0.2;
        lm_mass sie = {LM_MASS_SIE, {theta_E, q, phi, 0, cx, cy}};
        LM_OWN(lm_curves) curves = curves_of(&sie, 1, NULL);
        EQUAL_INT(curves->n, 1);
        const lm_curve *curve = curves->curves;
        CHECK(curve->closed && !curve->radial && curve->n > 50);
        for (size_t i = 0; i < curve->n; i++) {
            double dx = curve->x[i] - cx, dy = curve->y[i] - cy;
            double x = cos(phi) * dx + sin(phi) * dy, y = cos(phi) * dy - sin(phi) * dx;
            NEAR(theta_E / sqrt(q * x * x + y * y / q), 1, ABS(1e-13)); /* = 2 kappa */
        }
        if (getenv("LENSING_VERBOSE")) printf("q %g: theta_eff off by %.1e\n", q, curves->theta_eff / theta_E - 1);
        NEAR(curves->theta_eff, theta_E, REL(1e-6));
        NEAR(curve->area, M_PI * theta_E * theta_E, REL(2e-6));
        if (q == 1) NEAR(curve->area_source, 0, ABS(1e-12)); /* the caustic is a point */
    }
}

/* The science notes' ratios of the effective Einstein radius to theta_E, three digits. */
TEST(effective_radius_of_power_laws)
{
    static const double t[] = {1.2, 0.8, 1}, want[] = {0.984, 1.043, 1};
    for (int k = 0; k < 3; k++) {
        lm_mass epl = {LM_MASS_EPL, {1, t[k], 0.4, 0.3, 0, 0}};
        LM_OWN(lm_curves) curves = curves_of(&epl, 1, NULL);
        if (getenv("LENSING_VERBOSE")) printf("t %g: theta_eff %.7g\n", t[k], curves->theta_eff);
        NEAR(curves->theta_eff, want[k], ABS(k < 2 ? 5e-4 : 1e-6));
        EQUAL_INT(count(curves, false), 1);
        EQUAL_INT(count(curves, true), t[k] < 1);
    }
}

/* Round lenses: theta_E and the radial curve in closed form. NIS with a core s: alpha = e (sqrt(r^2 + s^2) - s)/r. */
TEST(curves_of_round_lenses)
{
    double e = 1.4, s = 0.2;
    lm_mass nis = {LM_MASS_SIE, {e, 1, 0, s, 0.1, 0.1}};
    LM_OWN(lm_curves) curves = curves_of(&nis, 1, NULL);
    EQUAL_INT(curves->n, 2);
    CHECK(!curves->curves[0].radial && curves->curves[1].radial);
    NEAR(curves->theta_eff, sqrt(e * e - 2 * e * s), REL(1e-7)); /* alpha = r */
    double r = sqrt(curves->curves[1].area / M_PI), root = hypot(r, s);
    NEAR(e / root - e * (root - s) / (r * r), 1, ABS(1e-5)); /* d alpha/dr = 1 */
    double alpha = e * (root - s) / r;
    NEAR(curves->curves[1].area_source, M_PI * (alpha - r) * (alpha - r), REL(1e-5));
    lm_mass point = {LM_MASS_POINT, {e, 0.1, 0.1}};
    LM_OWN(lm_curves) of_point = curves_of(&point, 1, NULL);
    EQUAL_INT(of_point->n, 1);
    NEAR(of_point->theta_eff, e, REL(1e-7));
}

/* SIS and shear about its centre: det A = 1 - g^2 - (e/r)(1 - g cos 2 phi), and with r from there the caustic is the
 * astroid beta = (-a cos^3 phi, b sin^3 phi), a = 2 g e/(1 + g), b = 2 g e/(1 - g), of area 3/8 pi a b. */
TEST(caustic_of_a_sheared_sphere)
{
    double e = 1, g = 0.1;
    const lm_mass masses[] = {{LM_MASS_SIS, {e, 0, 0}}, {LM_MASS_SHEAR, {g, 0, 0, 0}}};
    LM_OWN(lm_curves) curves = curves_of(masses, 2, &(lm_window){0, 0, 2, 0.02});
    const lm_curve *c = curves->curves;
    EQUAL_INT(count(curves, false), 1);
    double most_x = 0, most_y = 0;
    for (size_t i = 0; i < c->n; i++) {
        most_x = fmax(most_x, fabs(c->beta_x[i]));
        most_y = fmax(most_y, fabs(c->beta_y[i]));
        double r = hypot(c->x[i], c->y[i]), cosine = (c->x[i] * c->x[i] - c->y[i] * c->y[i]) / (r * r);
        NEAR(r, e * (1 - g * cosine) / (1 - g * g), REL(1e-12)); /* det A = 0: 1 - g^2 = e/r (1 - g cos 2 phi) */
    }
    NEAR(most_x, 2 * g * e / (1 + g), REL(1e-3)); /* points do not sit on the cusps */
    NEAR(most_y, 2 * g * e / (1 - g), REL(1e-3));
    double a = 2 * g * e / (1 + g), b = 2 * g * e / (1 - g);
    NEAR(c->area_source, 3.0 / 8 * M_PI * a * b, REL(1e-5));
}

/* Where a caustic is crossed two images appear: counted on both sides of its points. */
TEST(images_appear_across_a_caustic)
{
    const lm_mass masses[] = {{LM_MASS_SIE, {1.2, 0.6, 0.4, 0.1, 0.1, 0}}, {LM_MASS_SHEAR, {0.04, 0.05, 0, 0}}};
    LM_OWN(lm_curves) curves = curves_of(masses, 2, &(lm_window){0.1, 0, 2.2, 0.02});
    EQUAL_INT(curves->n, 2);
    lm_error err = {0};
    for (size_t k = 0; k < 2; k++) {
        const lm_curve *c = &curves->curves[k];
        size_t twos = 0, all = 0;
        for (size_t i = 0; i < c->n; i += 3) {
            size_t j = (i + 1) % c->n, n[2];
            double dx = c->beta_x[j] - c->beta_x[i], dy = c->beta_y[j] - c->beta_y[i], length = hypot(dx, dy);
            if (!(length > 1e-3)) continue; /* near a cusp */
            for (int side = 0; side < 2; side++) {
                lm_image *images = NULL;
                double off = (side ? 1e-4 : -1e-4) / length;
                OK(lm_images_find(masses, 2, c->beta_x[i] - off * dy, c->beta_y[i] + off * dx, NULL, NULL, &images,
                                  &n[side], &err),
                   &err);
                lm_free(images);
            }
            all++;
            twos += n[0] + 2 == n[1] || n[1] + 2 == n[0];
        }
        if (getenv("LENSING_VERBOSE")) printf("curve %zu: %zu of %zu crossings show two images more\n", k, twos, all);
        CHECK(all > 20 && twos >= all - 1); /* one may lie by a cusp, or by the other caustic */
    }
}

/* The cut of a SIS is a circle of radius theta_E; of a SIE, its closed form; others at the centre shift it. */
TEST(cuts)
{
    enum { N = 64 };
    double x[N], y[N], q = 0.6, b = sqrt(q), f = 0.8;
    lm_error err = {0};
    const lm_mass masses[] = {{LM_MASS_SIE, {1, q, 0, 0, 0.2, 0.1}}, {LM_MASS_SHEAR, {0.1, 0, 0, 0}}};
    OK(lm_cut_find(masses, 2, 0, N, x, y, &err), &err);
    for (size_t i = 0; i < N; i++) {
        double turn = 2 * M_PI * (double)i / N, c = cos(turn), s = sin(turn), big = sqrt(q * q * c * c + s * s);
        NEAR(x[i], 0.2 - 0.02 - b / f * atan(f * c / big), ABS(1e-14));
        NEAR(y[i], 0.1 + 0.01 - b / f * atanh(f * s / big), ABS(1e-14));
    }
    CHECK(lm_cut_find(masses, 2, 1, N, x, y, &err) == LM_EINPUT);
    CONTAINS(err.text, "no cut");
    CHECK(lm_cut_find(masses, 2, 2, N, x, y, &err) == LM_EINPUT);
}

/* A curve that leaves the window is open; nothing critical gives nothing. */
TEST(open_curves_and_none)
{
    lm_mass sis = {LM_MASS_SIS, {1, 0, 0}};
    LM_OWN(lm_curves) cut_off = curves_of(&sis, 1, &(lm_window){1, 0, 0.5, 0.05});
    EQUAL_INT(cut_off->n, 1);
    CHECK(!cut_off->curves[0].closed && isnan(cut_off->curves[0].area) && isnan(cut_off->theta_eff));
    for (size_t i = 0; i < cut_off->curves[0].n; i++)
        NEAR(hypot(cut_off->curves[0].x[i], cut_off->curves[0].y[i]), 1, ABS(1e-14));
    lm_mass weak = {LM_MASS_SHEET, {0.3, 0, 0}};
    LM_OWN(lm_curves) none = curves_of(&weak, 1, NULL);
    CHECK(none->n == 0 && isnan(none->theta_eff));
}

TEST(errors_say_why)
{
    lm_error err = {0};
    lm_mass sis = {LM_MASS_SIS, {1, 0, 0}};
    lm_curves *curves = NULL;
    static const lm_window bad[] = {{0, 0, 0, 0.1}, {0, 0, 1, 0}, {NAN, 0, 1, 0.1}, {0, 0, NAN, 0.1}, {0, 0, 1, -1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(lm_curves_find(&sis, 1, &bad[i], &curves, &err) == LM_EINPUT);
        CONTAINS(err.text, "above 0");
    }
    CHECK(lm_curves_find(&sis, 1, &(lm_window){0, 0, 100, 1e-3}, &curves, &err) == LM_EINPUT);
    CONTAINS(err.text, "cells");
    for (uint64_t k = 1;; k++) { /* each allocation fails in turn */
        lm_alloc_fail_at(k);
        lm_status status = lm_curves_find(&sis, 1, NULL, &curves, &err);
        lm_alloc_fail_at(0);
        if (status == LM_OK) break;
        CHECK(status == LM_EMEMORY && curves == NULL && k < 100);
    }
    lm_curves_free(curves);
}
