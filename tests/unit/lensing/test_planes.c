/* Several lens planes against lenstronomy and caustics, against one plane, by hand, and their own derivatives. */
#include "tests/test.h"
#include "tests/unit/lensing/reference.h"

#include "operators/core/lensing/planes.h"

#include <math.h>
#include <string.h>

enum { SIDE = 64, PIXELS = SIDE * SIDE, PLACES = 300 };

static const lm_cosmology flat = {70, 0.3, 0.7, -1}, open_ = {70, 0.3, 0.1, -1}, closed = {70, 0.5, 0.9, -1},
                          wcdm = {68, 0.31, 0.69, -0.8};
static const lm_cosmology *const universes[] = {&flat, &open_, &closed, &wcdm};
enum { UNIVERSES = 4 };

/* Four planes, of all that a line of sight may hold; masses apart so that no place is at a centre. */
static const lm_mass nearby[] = {{LM_MASS_SIE, {0.15, 0.9, 1.2, 0, 0.8, -0.6}}, {LM_MASS_TNFW, {0.1, 0.4, 6, -1, 1.3}}};
static const lm_mass lens[] = {{LM_MASS_EPL, {1.1, 0.95, 0.7, 0.4, 0.02, -0.03}},
                               {LM_MASS_SHEAR, {0.04, -0.03, 0, 0}},
                               {LM_MASS_MULTIPOLE, {4, 0.02, 0.3, 0.02, -0.03}}};
static const lm_mass behind[] = {{LM_MASS_NFW, {0.05, 2.4, -0.7, 0.5}}, {LM_MASS_SHEET, {-0.03, 0, 0}}};
static const lm_mass far[] = {{LM_MASS_PJAFFE, {0.3, 0.05, 0.7, 0.3, 0.2}}, {LM_MASS_SIS, {0.05, -0.4, -0.8}}};
static const lm_plane four[] = {{0.9, behind, 2}, {0.3, nearby, 2}, {1.6, far, 2}, {0.5, lens, 3}}; /* not sorted */
static const double z_source = 2.2;

static lm_planes *planes_of(const lm_cosmology *k, double z_s, const lm_plane *list, size_t n)
{
    lm_planes *planes = NULL;
    lm_error err = {0};
    OK(lm_planes_new(k, z_s, list, n, &planes, &err), &err);
    return planes;
}

/* All around, from 0.1 to 4 arcsec; not a multiple of a block. */
static void places(double *x, double *y)
{
    for (size_t i = 0; i < PLACES; i++) {
        double r = 0.1 * pow(40, (double)i / PLACES), turn = 2.39996 * (double)i;
        x[i] = 0.01 + r * cos(turn);
        y[i] = -0.07 + r * sin(turn);
    }
}

/* ---- references -------------------------------------------------------------------------------------------------- */

TEST(rays_equal_lenstronomys_and_causticss)
{
    json_t *about = reference_json(test_shared("reference/lens/multiplane_3.json"));
    const char *path = test_shared("reference/lens/multiplane_3.fits");
    size_t n = 0;
    double *peer = reference_hdu(path, "LENSTRONOMY", &n), *caustics = reference_hdu(path, "CAUSTICS", &n);
    EQUAL_INT(n, 7 * PIXELS);
    const json_t *list = json_object_get(about, "lenstronomy"), *grid = json_object_get(about, "grid");
    EQUAL_INT(json_array_size(list), 3);
    lm_mass masses[3];
    lm_plane planes[3];
    for (size_t i = 0; i < 3; i++) {
        const json_t *c = json_array_get(list, i);
        double x = reference_number(c, "center_x"), y = reference_number(c, "center_y");
        if (json_object_get(c, "e1")) {
            double e1 = reference_number(c, "e1"), e2 = reference_number(c, "e2"), e = hypot(e1, e2);
            masses[i] =
                (lm_mass){LM_MASS_SIE, {reference_number(c, "theta_E"), (1 - e) / (1 + e), atan2(e2, e1) / 2, 0, x, y}};
        } else {
            double scale = reference_number(c, "Rs");
            masses[i] =
                (lm_mass){LM_MASS_NFW, {reference_number(c, "alpha_Rs") / (4 * scale * (1 - M_LN2)), scale, x, y}};
        }
        planes[i] = (lm_plane){reference_number(c, "z"), &masses[i], 1};
    }
    double pixel = reference_number(grid, "pix");
    double *x = lm_alloc(2 * PIXELS, sizeof *x), *y = x + PIXELS, *got = lm_alloc(7 * PIXELS, sizeof *got);
    CHECK(x && got);
    for (size_t i = 0; i < PIXELS; i++) {
        x[i] = ((double)(i % SIDE) - (SIDE - 1) / 2.0) * pixel;
        y[i] = ((double)(i / SIDE) - (SIDE - 1) / 2.0) * pixel;
    }
    LM_OWN(lm_planes) p = planes_of(&flat, reference_number(about, "z_s"), planes, 3);
    lm_trace to = {.beta_x = got,
                   .beta_y = got + PIXELS,
                   .a_xx = got + 2 * PIXELS,
                   .a_xy = got + 3 * PIXELS,
                   .a_yx = got + 4 * PIXELS,
                   .a_yy = got + 5 * PIXELS,
                   .days = got + 6 * PIXELS};
    lm_planes_trace(p, PIXELS, x, y, &to);
    for (size_t i = 0; i < PIXELS; i++) { /* theirs is the Jacobian of theta - beta */
        to.a_xx[i] = 1 - to.a_xx[i], to.a_yy[i] = 1 - to.a_yy[i];
        to.a_xy[i] = -to.a_xy[i], to.a_yx[i] = -to.a_yx[i];
    }
    double mean[3] = {0}; /* of the times, known up to a constant */
    for (size_t i = 6 * PIXELS; i < 7 * PIXELS; i++)
        mean[0] += got[i] / PIXELS, mean[1] += peer[i] / PIXELS, mean[2] += caustics[i] / PIXELS;
    for (size_t i = 6 * PIXELS; i < 7 * PIXELS; i++) got[i] -= mean[0], peer[i] -= mean[1], caustics[i] -= mean[2];
    /* lenstronomy: its SIE has a core of 1e-10, its Jacobian is by differences; caustics: distances of float32 */
    static const double allowed[7][2] = {{2e-8, 4e-7}, {2e-8, 1e-6}, {1e-4, 1e-4}, {1e-4, 1e-4},
                                         {1e-4, 1e-4}, {1e-4, 1e-4}, {2e-7, 2e-7}};
    for (size_t m = 0; m < 7; m++)
        for (int which = 0; which < 2; which++) {
            const double *want = which ? caustics : peer;
            double worst = 0, peak = 0;
            for (size_t i = m * PIXELS; i < (m + 1) * PIXELS; i++) {
                double off = fabs(got[i] - want[i]);
                if (!(off <= worst)) worst = off;
                peak = fmax(peak, fabs(want[i]));
            }
            if (getenv("LENSING_VERBOSE")) printf("map %zu, peer %d: %.1e of the peak\n", m, which, worst / peak);
            if (!(worst <= allowed[m][which] * peak))
                FAIL("map %zu of peer %d: %g off, the peak is %g", m, which, worst, peak);
        }
    lm_free(peer), lm_free(caustics), lm_free(x), lm_free(got);
    json_decref(about);
}

/* ---- against simpler ways to the same ---------------------------------------------------------------------------- */

TEST(one_plane_is_what_a_single_plane_gives)
{
    double x[PLACES], y[PLACES], maps[6][PLACES], got[7][PLACES];
    places(x, y);
    for (size_t u = 0; u < UNIVERSES; u++) {
        memset(maps, 0, sizeof maps);
        lm_mass_maps to = {maps[0], maps[1], maps[2], maps[3], maps[4], maps[5]};
        for (size_t i = 0; i < 3; i++) lm_mass_add(&lens[i], PLACES, x, y, &to);
        lm_lens_geometry g;
        lm_error err = {0};
        OK(lm_lens_geometry_of(universes[u], 0.5, z_source, &g, &err), &err);
        LM_OWN(lm_planes) p = planes_of(universes[u], z_source, &(lm_plane){0.5, lens, 3}, 1);
        lm_planes_trace(p, PLACES, x, y,
                        &(lm_trace){.beta_x = got[0],
                                    .beta_y = got[1],
                                    .a_xx = got[2],
                                    .a_xy = got[3],
                                    .a_yx = got[4],
                                    .a_yy = got[5],
                                    .days = got[6]});
        for (size_t i = 0; i < PLACES; i++) {
            double ax = maps[1][i], ay = maps[2][i], fermat = (ax * ax + ay * ay) / 2 - maps[0][i];
            double size = 1 + fabs(maps[3][i]) + fabs(maps[4][i]) + fabs(maps[5][i]);
            NEAR(got[0][i], x[i] - ax, ABS(1e-14));
            NEAR(got[1][i], y[i] - ay, ABS(1e-14));
            NEAR(got[2][i], 1 - maps[3][i] - maps[4][i], ABS(1e-14 * size));
            NEAR(got[3][i], -maps[5][i], ABS(1e-14 * size));
            NEAR(got[4][i], -maps[5][i], ABS(1e-14 * size));
            NEAR(got[5][i], 1 - maps[3][i] + maps[4][i], ABS(1e-14 * size));
            NEAR(got[6][i], g.days_per_arcsec2 * fermat, ABS(1e-13 * g.days_per_arcsec2));
        }
    }
}

/* theta_j = theta - sum_{i<j} D_ij/D_j alpha_hat_i(theta_i), alpha_hat_i = D_s/D_is alpha_i, with distances of
 * cosmology.h: no curvature and no recursion. */
TEST(rays_follow_the_sum_over_planes)
{
    double x[PLACES], y[PLACES], got[2][PLACES], on_x[4 * PLACES], on_y[4 * PLACES];
    static const lm_plane sorted[] = {{0.3, nearby, 2}, {0.5, lens, 3}, {0.9, behind, 2}, {1.6, far, 2}};
    places(x, y);
    for (size_t u = 0; u < UNIVERSES; u++) {
        const lm_cosmology *k = universes[u];
        LM_OWN(lm_planes) p = planes_of(k, z_source, four, 4);
        EQUAL_INT(lm_planes_count(p), 4);
        EQUAL_INT(lm_planes_of(p, 0), 2);
        EQUAL_INT(lm_planes_of(p, 1), 0);
        EQUAL_INT(lm_planes_of(p, 3), 1);
        lm_planes_trace(p, PLACES, x, y,
                        &(lm_trace){.beta_x = got[0], .beta_y = got[1], .theta_x = on_x, .theta_y = on_y});
        lm_error err = {0};
        for (size_t i = 0; i < PLACES; i++) {
            double hat_x[4], hat_y[4];
            for (size_t j = 0; j <= 4; j++) {
                double z = j < 4 ? sorted[j].z : z_source, here, at_x = x[i], at_y = y[i];
                OK(lm_cosmology_D_A(k, z, &here, &err), &err);
                for (size_t before = 0; before < j; before++) {
                    double way;
                    OK(lm_cosmology_D_A_between(k, sorted[before].z, z, &way, &err), &err);
                    at_x -= way / here * hat_x[before];
                    at_y -= way / here * hat_y[before];
                }
                if (j == 4) {
                    NEAR(got[0][i], at_x, ABS(2e-14));
                    NEAR(got[1][i], at_y, ABS(2e-14));
                    break;
                }
                NEAR(on_x[j * PLACES + i], at_x, ABS(2e-14));
                NEAR(on_y[j * PLACES + i], at_y, ABS(2e-14));
                double source, left, ax = 0, ay = 0;
                OK(lm_cosmology_D_A(k, z_source, &source, &err), &err);
                OK(lm_cosmology_D_A_between(k, z, z_source, &left, &err), &err);
                for (size_t m = 0; m < sorted[j].n; m++)
                    lm_mass_add(&sorted[j].masses[m], 1, &at_x, &at_y, &(lm_mass_maps){.alpha_x = &ax, .alpha_y = &ay});
                hat_x[j] = source / left * ax, hat_y[j] = source / left * ay;
            }
        }
    }
}

/* Point masses one behind the other, and a ray in their plane: theta_2 = theta - b e1/theta, beta = theta - e1/theta -
 * e2/theta_2 with b = D_12 D_s/(D_2 D_1s). */
TEST(two_points_by_hand)
{
    static const lm_mass near_ = {LM_MASS_POINT, {1, 0, 0}}, far_ = {LM_MASS_POINT, {0.5, 0, 0}};
    lm_plane list[] = {{0.5, &near_, 1}, {1, &far_, 1}};
    lm_error err = {0};
    double chi1, chi2, chis, x = 1.7, y = 0, beta, beta_y, a_xx, on[2];
    OK(lm_cosmology_D_M(&flat, 0.5, &chi1, &err), &err);
    OK(lm_cosmology_D_M(&flat, 1, &chi2, &err), &err);
    OK(lm_cosmology_D_M(&flat, 2, &chis, &err), &err);
    LM_OWN(lm_planes) p = planes_of(&flat, 2, list, 2);
    lm_planes_trace(p, 1, &x, &y, &(lm_trace){.beta_x = &beta, .beta_y = &beta_y, .a_xx = &a_xx, .theta_x = on});
    double b = (chi2 - chi1) * chis / (chi2 * (chis - chi1)), second = x - b / x;
    NEAR(on[0], x, ABS(1e-15));
    NEAR(on[1], second, ABS(2e-15));
    NEAR(beta, x - 1 / x - 0.25 / second, ABS(4e-15));
    NEAR(beta_y, 0, ABS(0));
    NEAR(a_xx, 1 + 1 / (x * x) + 0.25 / (second * second) * (1 + b / (x * x)), REL(1e-14));
}

TEST(planes_at_one_redshift_merge)
{
    double x[PLACES], y[PLACES], one[3][PLACES], other[3][PLACES], on[5 * PLACES];
    places(x, y);
    lm_plane split[] = {{0.5, lens + 1, 2},       {1.6, far, 2},    {0.9, behind + 1, 1}, {0.5, lens, 1},
                        {0.9 + 1e-12, behind, 1}, {0.3, nearby, 2}, {0.7, NULL, 0}};
    LM_OWN(lm_planes) p = planes_of(&open_, z_source, four, 4);
    LM_OWN(lm_planes) q = planes_of(&open_, z_source, split, 7);
    EQUAL_INT(lm_planes_count(q), 5); /* with the screen */
    EQUAL_INT(lm_planes_of(q, 0), 1);
    EQUAL_INT(lm_planes_of(q, 3), 1);
    EQUAL_INT(lm_planes_of(q, 6), 2);
    EQUAL_INT(lm_planes_of(q, 2), lm_planes_of(q, 4));
    lm_planes_trace(p, PLACES, x, y, &(lm_trace){.beta_x = one[0], .a_yx = one[1], .days = one[2]});
    lm_planes_trace(q, PLACES, x, y,
                    &(lm_trace){.beta_x = other[0], .a_yx = other[1], .days = other[2], .theta_x = on});
    NEAR_ARRAY(other[0], one[0], PLACES, ABS(1e-11)); /* 1e-12 in redshift */
    NEAR_ARRAY(other[1], one[1], PLACES, ABS(1e-10));
    NEAR_ARRAY(other[2], one[2], PLACES, REL(1e-10));
    /* the screen is a source plane for what is in front of it, with strengths reduced to there */
    double chi[3], left[2], early[PLACES];
    lm_mass weak[3];
    lm_error err = {0};
    OK(lm_cosmology_D_A(&open_, 0.7, &chi[0], &err), &err);
    OK(lm_cosmology_D_A(&open_, z_source, &chi[1], &err), &err);
    OK(lm_cosmology_D_A_between(&open_, 0.5, 0.7, &left[0], &err), &err);
    OK(lm_cosmology_D_A_between(&open_, 0.5, z_source, &left[1], &err), &err);
    double ratio = left[0] / chi[0] * chi[1] / left[1];
    for (size_t i = 0; i < 3; i++) weak[i] = lens[i];
    weak[1].p[0] *= ratio, weak[1].p[1] *= ratio, weak[2].p[1] *= ratio;
    weak[0].p[0] *= pow(ratio, 1 / weak[0].p[1]);
    lm_plane without[] = {split[0], split[3]};
    LM_OWN(lm_planes) screen = planes_of(&open_, z_source, (lm_plane[]){without[0], without[1], split[6]}, 3);
    LM_OWN(lm_planes) source = planes_of(&open_, 0.7, &(lm_plane){0.5, weak, 3}, 1);
    double passed[2 * PLACES];
    lm_planes_trace(screen, PLACES, x, y, &(lm_trace){.theta_x = passed});
    lm_planes_trace(source, PLACES, x, y, &(lm_trace){.beta_x = early});
    NEAR_ARRAY(passed + PLACES, early, PLACES, ABS(1e-13));
}

TEST(without_planes_nothing_is_bent)
{
    LM_OWN(lm_planes) p = planes_of(&flat, 2, NULL, 0);
    double x = 0.3, y = -0.2, got[7];
    lm_planes_trace(p, 1, &x, &y, &(lm_trace){got, got + 1, got + 2, got + 3, got + 4, got + 5, got + 6, NULL, NULL});
    static const double want[] = {0.3, -0.2, 1, 0, 0, 1, 0};
    NEAR_ARRAY(got, want, 7, ABS(0));
    lm_planes_derive(p, 0, 0, LM_BY_Y, 1, &x, &y,
                     &(lm_trace){got, got + 1, got + 2, got + 3, got + 4, got + 5, got + 6, NULL, NULL});
    static const double slope[] = {0, 1, 0, 0, 0, 0, 0};
    NEAR_ARRAY(got, slope, 7, ABS(0));
}

/* ---- derivatives ------------------------------------------------------------------------------------------------- */

/* Central differences of fourth order. */
static double difference(const double f[4], double h)
{
    return (8 * (f[2] - f[1]) - (f[3] - f[0])) / (12 * h);
}

enum { VALUES = 9 + 6 }; /* beta, a, days, and positions on the four planes */
static lm_trace all_of(double *to)
{
    return (lm_trace){to,
                      to + PLACES,
                      to + 2 * PLACES,
                      to + 3 * PLACES,
                      to + 4 * PLACES,
                      to + 5 * PLACES,
                      to + 6 * PLACES,
                      to + 7 * PLACES,
                      to + 11 * PLACES};
}

TEST(the_jacobian_equals_finite_differences)
{
    double x[PLACES], y[PLACES], got[VALUES * PLACES], at[4][VALUES * PLACES], moved[PLACES], h = 2e-5;
    places(x, y);
    for (size_t u = 0; u < UNIVERSES; u++) {
        LM_OWN(lm_planes) p = planes_of(universes[u], z_source, four, 4);
        lm_trace to = all_of(got);
        lm_planes_trace(p, PLACES, x, y, &to);
        double skew = 0;
        for (size_t i = 0; i < PLACES; i++) skew = fmax(skew, fabs(to.a_xy[i] - to.a_yx[i]));
        CHECK(skew > 1e-3); /* else the test sees no second plane */
        for (int axis = 0; axis < 2; axis++) {
            for (int step = 0; step < 4; step++) {
                double off = (step < 2 ? step - 2 : step - 1) * h;
                for (size_t i = 0; i < PLACES; i++) moved[i] = (axis ? y[i] : x[i]) + off;
                lm_trace there = all_of(at[step]);
                lm_planes_trace(p, PLACES, axis ? x : moved, axis ? moved : y, &there);
            }
            double slopes[VALUES * PLACES];
            lm_trace slope = all_of(slopes);
            lm_planes_derive(p, 0, 0, axis ? LM_BY_Y : LM_BY_X, PLACES, x, y, &slope);
            NEAR_ARRAY(slope.beta_x, axis ? to.a_xy : to.a_xx, PLACES, REL(1e-13));
            NEAR_ARRAY(slope.beta_y, axis ? to.a_yy : to.a_yx, PLACES, REL(1e-13));
            for (size_t i = 0; i < VALUES * PLACES; i++) {
                double f[4] = {at[0][i], at[1][i], at[2][i], at[3][i]}, want = difference(f, h);
                double allowed = 1e-6 * fabs(want) + 1e-12 * (1 + fabs(f[1])) / h; /* the step, and rounding over it */
                if (!(fabs(slopes[i] - want) <= allowed))
                    FAIL("universe %zu, value %zu by axis %d at (%g, %g): %.12g, differences give %.12g", u, i / PLACES,
                         axis, x[i % PLACES], y[i % PLACES], slopes[i], want);
            }
        }
    }
}

/* Fermat: the time is stationary in every position but the source's, dt = tau (beta - theta_N) . d beta, so that its
 * slope along theta is known from positions alone, in curved universes too. */
TEST(time_is_stationary)
{
    double x[PLACES], y[PLACES], got[VALUES * PLACES], at[4][PLACES], moved[PLACES], h = 1e-4;
    places(x, y);
    lm_error err = {0};
    for (size_t u = 0; u < UNIVERSES; u++) {
        LM_OWN(lm_planes) p = planes_of(universes[u], z_source, four, 4);
        double last, source, way;
        OK(lm_cosmology_D_A(universes[u], 1.6, &last, &err), &err);
        OK(lm_cosmology_D_A(universes[u], z_source, &source, &err), &err);
        OK(lm_cosmology_D_A_between(universes[u], 1.6, z_source, &way, &err), &err);
        double tau = (1 + 1.6) * last * source / way * 0.028000503; /* days per arcsec^2 */
        lm_trace to = all_of(got);
        lm_planes_trace(p, PLACES, x, y, &to);
        for (int step = 0; step < 4; step++) {
            for (size_t i = 0; i < PLACES; i++) moved[i] = y[i] + (step < 2 ? step - 2 : step - 1) * h;
            lm_planes_trace(p, PLACES, x, moved, &(lm_trace){.days = at[step]});
        }
        for (size_t i = 0; i < PLACES; i++) {
            double f[4] = {at[0][i], at[1][i], at[2][i], at[3][i]}, slope = difference(f, h);
            double dx = to.beta_x[i] - to.theta_x[3 * PLACES + i], dy = to.beta_y[i] - to.theta_y[3 * PLACES + i];
            double want = tau * (dx * to.a_xy[i] + dy * to.a_yy[i]);
            /* digits of the constant, the step, rounding over it */
            NEAR(slope, want, (test_tolerance){.relative = 2e-7, .absolute = 1e-6 + 1e-12 * fabs(f[1]) / h});
        }
    }
}

TEST(derivatives_by_parameters_equal_finite_differences)
{
    double x[PLACES], y[PLACES], got[VALUES * PLACES], at[4][VALUES * PLACES];
    places(x, y);
    lm_mass masses[4][3];
    lm_plane list[4];
    for (size_t k = 0; k < 4; k++) {
        list[k] = four[k];
        for (size_t m = 0; m < four[k].n; m++) masses[k][m] = four[k].masses[m];
        list[k].masses = masses[k];
    }
    LM_OWN(lm_planes) p = planes_of(&closed, z_source, list, 4);
    lm_trace to = all_of(got);
    for (size_t k = 0; k < 4; k++)
        for (size_t m = 0; m < list[k].n; m++) {
            lm_mass *mass = &masses[k][m], before = *mass;
            const lm_mass_model *model = lm_mass_model_of(mass->kind);
            for (int by = 0; by < (int)model->n_params; by++) {
                if (mass->kind == LM_MASS_MULTIPOLE && by == 0) continue; /* a whole number */
                if (mass->kind == LM_MASS_SIE && by == 3) continue;       /* the border s = 0 */
                lm_planes_derive(p, k, m, by, PLACES, x, y, &to);
                double h = by >= (int)model->centre ? 2e-5 : 3e-4 * fmax(fabs(mass->p[by]), 0.05);
                for (int step = 0; step < 4; step++) {
                    mass->p[by] = before.p[by] + (step < 2 ? step - 2 : step - 1) * h;
                    lm_trace there = all_of(at[step]);
                    lm_planes_trace(p, PLACES, x, y, &there); /* the planes see the new value */
                }
                *mass = before;
                double most = 0;
                for (size_t i = 0; i < VALUES * PLACES; i++) {
                    double f[4] = {at[0][i], at[1][i], at[2][i], at[3][i]}, want = difference(f, h);
                    double allowed = 1e-6 * fabs(want) + 1e-12 * (1 + fabs(f[1])) / h + 1e-8;
                    most = fmax(most, fabs(want));
                    if (!(fabs(got[i] - want) <= allowed))
                        FAIL("%s.%s, value %zu at (%g, %g): %.12g, differences give %.12g", model->name,
                             model->params[by].name, i / PLACES, x[i % PLACES], y[i % PLACES], got[i], want);
                }
                CHECK(most > 1e-3);
            }
        }
    /* what is not asked for changes nothing of what is */
    double alone[PLACES];
    lm_planes_derive(p, 3, 0, 1, PLACES, x, y, &to);
    lm_planes_derive(p, 3, 0, 1, PLACES, x, y, &(lm_trace){.beta_y = alone});
    NEAR_ARRAY(alone, to.beta_y, PLACES, ABS(0));
    lm_planes_derive(p, 3, 0, 1, PLACES, x, y, &(lm_trace){.days = alone});
    NEAR_ARRAY(alone, to.days, PLACES, ABS(0));
}

/* ---- what is refused --------------------------------------------------------------------------------------------- */

TEST(impossible_planes_are_named)
{
    lm_planes *planes = NULL;
    lm_error err = {0};
    lm_plane list[] = {{0.5, lens, 3}, {2.5, far, 2}};
    EQUAL_INT(lm_planes_new(&flat, 2, list, 2, &planes, &err), LM_EINPUT);
    CONTAINS(err.text, "lens plane 1 at z = 2.5 is not in front of the source");
    list[1].z = 2;
    EQUAL_INT(lm_planes_new(&flat, 2, list, 2, &planes, &err), LM_EINPUT);
    list[1].z = NAN;
    EQUAL_INT(lm_planes_new(&flat, 2, list, 2, &planes, &err), LM_EINPUT);
    CONTAINS(err.text, "lens plane 1 has redshift");
    list[1].z = 0;
    EQUAL_INT(lm_planes_new(&flat, 2, list, 2, &planes, &err), LM_EINPUT);
    EQUAL_INT(lm_planes_new(&flat, NAN, list, 1, &planes, &err), LM_EINPUT);
    EQUAL_INT(lm_planes_new(&flat, 0, NULL, 0, &planes, &err), LM_EINPUT);
    CONTAINS(err.text, "not above 0");
    CHECK(!planes);
}

TEST(every_failed_allocation_is_survived)
{
    for (uint64_t at = 1;; at++) {
        lm_planes *planes = NULL;
        lm_error err = {0};
        lm_alloc_fail_at(at);
        lm_status status = lm_planes_new(&flat, z_source, four, 4, &planes, &err);
        lm_alloc_fail_at(0);
        if (!status) {
            CHECK(at > 4);
            lm_planes_free(planes);
            return;
        }
        EQUAL_INT(status, LM_EMEMORY);
        CHECK(!planes);
    }
}

/* ---- apertures --------------------------------------------------------------------------------------------------- */

static double mean_of(const lm_mass *masses, size_t n, double x, double y, double radius)
{
    double mean = NAN;
    lm_error err = {0};
    OK(lm_aperture_kappa(masses, n, x, y, radius, &mean, &err), &err);
    return mean;
}

TEST(mean_convergence_within_a_circle)
{
    lm_mass sis = {LM_MASS_SIS, {0.3, 1, -2}}, sheet = {LM_MASS_SHEET, {0.02, 4, 5}};
    NEAR(mean_of(&sis, 1, 1, -2, 2.5), 0.3 / 2.5, REL(1e-14));
    NEAR(mean_of(&sheet, 1, 1, -2, 2.5), 0.02, REL(1e-13));
    lm_mass shear = {LM_MASS_SHEAR, {0.1, 0.05, 3, 1}};
    NEAR(mean_of(&shear, 1, 1, -2, 2.5), 0, ABS(1e-16));
    /* a point counts whole, half or not at all, however near to the rim it lies */
    static const double off[] = {0.5, 1e-2, 1e-5, 1e-7};
    for (size_t i = 0; i < 4; i++) {
        lm_mass in = {LM_MASS_POINT, {0.3, 2.5 - off[i], 0}}, out = {LM_MASS_POINT, {0.3, 0, 2.5 + off[i]}};
        NEAR(mean_of(&in, 1, 0, 0, 2.5), 0.09 / 6.25, REL(1e-7 * 1e-7 / off[i] + 1e-13)); /* digits of the distance */
        NEAR(mean_of(&out, 1, 0, 0, 2.5), 0, ABS(1e-9 * 1e-7 / off[i] + 1e-15));
    }
    NEAR(mean_of(&(lm_mass){LM_MASS_POINT, {0.3, 2.5, 0}}, 1, 0, 0, 2.5), 0.045 / 6.25, REL(1e-8));
    /* an isothermal sphere on the rim: the mean of 1/r over a circle, from a point of it, is 4/(pi R) */
    NEAR(mean_of(&(lm_mass){LM_MASS_SIS, {0.3, 0, -2.5}}, 1, 0, 0, 2.5), 0.15 * 4 / (M_PI * 2.5), REL(1e-12));
    /* rotating what is round changes nothing; parts add up */
    lm_mass halo = {LM_MASS_TNFW, {0.05, 0.4, 5, 1.1, 1.2}}, turned = {LM_MASS_TNFW, {0.05, 0.4, 5, -1.2, 1.1}};
    lm_mass both[] = {halo, sis};
    NEAR(mean_of(&turned, 1, 0, 0, 1.9), mean_of(&halo, 1, 0, 0, 1.9), REL(1e-12));
    NEAR(mean_of(both, 2, 0.1, 0.2, 1.9), mean_of(&halo, 1, 0.1, 0.2, 1.9) + mean_of(&sis, 1, 0.1, 0.2, 1.9),
         REL(1e-14));
}

/* Midpoints in polar coordinates around the mass's centre, where kappa r is smooth: an integral of kappa itself. */
static double brute(const lm_mass *mass, double radius)
{
    enum { TURNS = 2000, RADII = 400 };
    const lm_mass_model *model = lm_mass_model_of(mass->kind);
    double x0 = mass->p[model->centre], y0 = mass->p[model->centre + 1], sum = 0;
    for (int i = 0; i < TURNS; i++) {
        double angle = 2 * M_PI * (i + 0.5) / TURNS, c = cos(angle), s = sin(angle), along = x0 * c + y0 * s;
        double end = -along + sqrt(along * along + radius * radius - x0 * x0 - y0 * y0); /* to the rim; centre inside */
        double x[RADII], y[RADII], kappa[RADII] = {0};
        for (int j = 0; j < RADII; j++) {
            double r = end * (j + 0.5) / RADII;
            x[j] = x0 + r * c, y[j] = y0 + r * s;
        }
        lm_mass_add(mass, RADII, x, y, &(lm_mass_maps){.kappa = kappa});
        for (int j = 0; j < RADII; j++) sum += kappa[j] * end * (j + 0.5) / RADII * end / RADII * 2 * M_PI / TURNS;
    }
    return sum / (M_PI * radius * radius);
}

TEST(mean_convergence_equals_the_integral)
{
    static const lm_mass some[] = {{LM_MASS_SIE, {0.4, 0.3, 0.7, 0, 1.2, 0.9}},
                                   {LM_MASS_EPL, {0.4, 1, 0.5, 2.1, -0.3, 1.6}},
                                   {LM_MASS_PJAFFE, {0.4, 0.1, 0.8, 0.2, 0.1}},
                                   {LM_MASS_SIE, {0.4, 0.6, 0.7, 0.3, 1.2, 0.9}}};
    for (size_t i = 0; i < 4; i++)
        NEAR(mean_of(&some[i], 1, 0, 0, 1.8), brute(&some[i], 1.8), REL(2e-5)); /* midpoints */
}

TEST(a_sheet_takes_the_mean_off)
{
    lm_mass masses[41];
    for (size_t i = 0; i < 40; i++) { /* all over the field, some on its rim */
        double r = 3.2 * sqrt((double)(i + 1) / 40), turn = 2.39996 * (double)i;
        masses[i] = (lm_mass){LM_MASS_TNFW, {0.02, 0.05, 5, 0.3 + r * cos(turn), r * sin(turn)}};
    }
    lm_error err = {0};
    OK(lm_aperture_sheet(masses, 40, 0.3, 0, 3, &masses[40], &err), &err);
    EQUAL_INT(masses[40].kind, LM_MASS_SHEET);
    CHECK(masses[40].p[0] < 0);
    OK(lm_mass_check(&masses[40], &err), &err);
    NEAR(mean_of(masses, 41, 0.3, 0, 3), 0, ABS(1e-14 * 41));
    double x = 0.3, y = 0, ax = 0, ay = 0;
    lm_mass_add(&masses[40], 1, &x, &y, &(lm_mass_maps){.alpha_x = &ax, .alpha_y = &ay});
    NEAR(hypot(ax, ay), 0, ABS(0));
    double mean = 7;
    EQUAL_INT(lm_aperture_kappa(masses, 40, 0, 0, 0, &mean, &err), LM_EINPUT);
    EQUAL_INT(lm_aperture_kappa(masses, 40, 0, 0, NAN, &mean, &err), LM_EINPUT);
    EQUAL_INT(lm_aperture_kappa(masses, 40, NAN, 0, 1, &mean, &err), LM_EINPUT);
    CONTAINS(err.text, "not finite");
    EQUAL_INT(mean, 7);
}
