/* Populations of haloes: numbers, masses, places, shapes and mean convergence against closed forms and sums over draws. */
#include "operators/_draw.h"
#include "operators/core/lensing/mass.h"
#include "operators/core/lensing/population.h"
#include "operators/core/special.h"
#include "runtime/random.h"
#include "tests/test.h"

#include <math.h>

static const lm_matter_params universe = {{70, 0.3, 0.7, -1}, 0.045, 0.8, 0.96, 2.7255};
static const double z_l = 0.5, z_s = 1.5;

static const lm_subhalo_params subhaloes = {
    .kind = {.m_min = 1e6, .m_max = 1e10, .radius = 3, .warm = {4.2, 2.5, -0.2}, .scatter = 0.2},
    .sigma_sub = 0.025,
    .m0 = 1e8,
    .slope = -1.9,
    .m_host = 1.9952623149688796e13,
    .k1 = 0.55,
    .k2 = 0.37,
    .c_host = NAN,
    .core = 0.25,
    .r_t0 = 1.4};
static const lm_field_params field = {
    .kind = {.m_min = 1e6, .m_max = 1e10, .radius = 3, .warm = {2.3, 0.8, -1}, .scatter = 0.2},
    .delta_los = 1,
    .dz = 0.02};

static lm_matter *matter(void)
{
    lm_matter *m = NULL;
    lm_error err = {0};
    OK(lm_matter_new(&universe, &m, &err), &err);
    return m;
}

static lm_population *within(const lm_matter *m, const lm_subhalo_params *params)
{
    lm_population *p = NULL;
    lm_error err = {0};
    OK(lm_population_of_subhaloes(m, z_l, z_s, params, &p, &err), &err);
    return p;
}

static lm_population *along(const lm_matter *m, const lm_field_params *params)
{
    lm_population *p = NULL;
    lm_error err = {0};
    OK(lm_population_of_field(m, z_l, z_s, params, &p, &err), &err);
    return p;
}

static lm_halo *drawn(const lm_population *p, uint64_t stream, size_t *ret_n)
{
    lm_digest key = lm_digest_of("population", 10);
    lm_random random = lm_random_stream(&key, stream);
    lm_draw draw = lm_draw_of(&random);
    lm_halo *list = NULL;
    lm_error err = {0};
    OK(lm_population_draw(p, &draw, &list, ret_n, &err), &err);
    return list;
}

static lm_lens_geometry geometry(double z)
{
    lm_lens_geometry g;
    lm_error err = {0};
    OK(lm_lens_geometry_of(&universe.cosmology, z, z_s, &g, &err), &err);
    return g;
}

static double tau_max(void)
{
    return lm_mass_model_of(LM_MASS_TNFW)->params[2].max;
}

/* Sigma_sub A F int (m/m0)^slope dm/m0, by hand; the number of draws is Poisson of that mean. */
TEST(subhaloes_are_as_many_as_their_law_says)
{
    enum { TIMES = 60 };
    LM_OWN(lm_matter) m = matter();
    lm_lens_geometry g = geometry(z_l);
    double kpc = 3 * g.kpc_per_arcsec, area = M_PI * kpc * kpc;
    double host = pow(10, 0.55 * 0.3 + 0.37 * log10(1.0)), law = (pow(1e-2, -0.9) - pow(1e2, -0.9)) / 0.9;
    for (int k = 0; k < 2; k++) {
        lm_subhalo_params params = subhaloes;
        params.slope = k ? -1 : -1.9; /* -1: the integral is a logarithm */
        LM_OWN(lm_population) p = within(m, &params);
        double want = 0.025 * area * host * (k ? log(1e4) : law), sum = 0, square = 0;
        EQUAL_INT(lm_population_planes(p), 1);
        NEAR(lm_population_plane_at(p, 0)->mean, want, REL(1e-11));
        NEAR(lm_population_plane_at(p, 0)->z, z_l, ABS(0));
        for (uint64_t i = 0; i < TIMES; i++) {
            size_t n;
            LM_OWN(lm_memory) list = drawn(p, i, &n);
            (void)list;
            sum += (double)n;
            square += ((double)n - want) * ((double)n - want);
        }
        NEAR(sum / TIMES, want, ABS(4.5 * sqrt(want / TIMES)));
        NEAR(square / TIMES / want, 1, ABS(4.5 * sqrt(2.0 / TIMES))); /* variance = mean */
    }
}

/* Kolmogorov-Smirnov of the masses against the law; places against the integral of n(r) over the cylinder. */
TEST(subhaloes_have_the_masses_places_and_shapes_of_their_laws)
{
    LM_OWN(lm_matter) m = matter();
    lm_subhalo_params params = subhaloes;
    params.kind.x = 0.3;
    params.kind.y = -0.1;
    params.c_host = 6;
    LM_OWN(lm_population) p = within(m, &params);
    size_t n;
    LM_OWN(lm_memory) list = drawn(p, 7, &n);
    const lm_halo *halo = list;
    CHECK(n > 1000);
    LM_OWN(lm_memory) room = lm_alloc(n, sizeof(double));
    double *u = room, mean = 0, square = 0;
    for (size_t i = 0; i < n; i++) {
        u[i] = (pow(1e-2, -0.9) - pow(halo[i].m200 / 1e8, -0.9)) / (pow(1e-2, -0.9) - pow(1e2, -0.9));
        NEAR(lm_population_below(p, 0, halo[i].m200), u[i], ABS(1e-10));
    }
    CHECK(lm_ks_tail(lm_ks_uniform(u, n), n) > 1e-3);

    /* the host */
    lm_lens_geometry g = geometry(z_l);
    double kappa, theta, edge = 3 * g.kpc_per_arcsec;
    lm_error err = {0};
    OK(lm_lens_nfw_of_m200(&g, params.m_host, 6, &kappa, &theta, &err), &err);
    double r_s = theta * g.kpc_per_arcsec, core = 0.25 * r_s, most = 6 * r_s;

    /* distances from the axis: P(< R) = int_0^R 2 pi R Sigma(R) dR over the disc, Sigma along the line of sight, by a fine grid */
    enum { ACROSS = 200, ALONG = 4000 };
    static double below[ACROSS + 1];
    for (int i = 0; i < ACROSS; i++) {
        double R = edge * (i + 0.5) / ACROSS, depth = sqrt(most * most - R * R), sum = 0;
        for (int j = 0; j < ALONG; j++) { /* z = depth t^3: most lie near */
            double t = (j + 0.5) / ALONG, r = hypot(R, depth * t * t * t);
            sum += 3 * depth * t * t / ALONG / ((r + core) * (r + r_s) * (r + r_s));
        }
        below[i + 1] = below[i] + sum * R;
    }
    for (size_t i = 0; i < n; i++) {
        double x = halo[i].x - 0.3, y = halo[i].y + 0.1, at = hypot(x, y) * g.kpc_per_arcsec / edge * ACROSS;
        CHECK(at >= 0 && at <= ACROSS);
        int k = at < ACROSS ? (int)at : ACROSS - 1;
        u[i] = (below[k] + (below[k + 1] - below[k]) * (at - k) * (k ? 1 : at)) / below[ACROSS];
    }
    CHECK(lm_ks_tail(lm_ks_uniform(u, n), n) > 1e-3);
    for (size_t i = 0; i < n; i++) u[i] = 0.5 + atan2(halo[i].y + 0.1, halo[i].x - 0.3) / (2 * M_PI);
    CHECK(lm_ks_tail(lm_ks_uniform(u, n), n) > 1e-3);

    /* shapes: kappa_s, theta_s by M200 and c; r from the truncation lies between the axis' distance and r200; scatter of ln c */
    for (size_t i = 0; i < n; i++) {
        double k_s, t_s, R = hypot(halo[i].x - 0.3, halo[i].y + 0.1) * g.kpc_per_arcsec;
        OK(lm_lens_nfw_of_m200(&g, halo[i].m200, halo[i].c, &k_s, &t_s, &err), &err);
        NEAR(halo[i].kappa_s, k_s, REL(1e-14));
        NEAR(halo[i].theta_s, t_s, REL(1e-14));
        NEAR(halo[i].z, z_l, ABS(0));
        double r_t = halo[i].tau * halo[i].theta_s * g.kpc_per_arcsec;
        double r = 50 * pow(r_t / (1.4 * cbrt(halo[i].m200 / 1e7)), 1.5);
        CHECK(r >= R * (1 - 1e-9) && r <= most * (1 + 1e-9));
        double way = log(halo[i].c / lm_matter_concentration(m, LM_CONCENTRATION_LUDLOW16, halo[i].m200, z_l));
        mean += way / (double)n;
        square += way * way / (double)n;
    }
    NEAR(mean, 0, ABS(4.5 * 0.2 / sqrt((double)n)));
    NEAR(sqrt(square), 0.2, REL(4.5 / sqrt(2.0 * (double)n)));
}

/* Thinning leaves the part that the law says, in each range of mass. */
TEST(a_warm_universe_has_the_right_part_of_them)
{
    enum { BINS = 4, TIMES = 20 };
    LM_OWN(lm_matter) m = matter();
    lm_subhalo_params warm = subhaloes;
    warm.kind.m_hm = lm_matter_half_mode(m, 3);
    LM_OWN(lm_population) cold_p = within(m, &subhaloes);
    LM_OWN(lm_population) warm_p = within(m, &warm);
    double kept[BINS] = {0}, want[BINS] = {0}, all = 0, mean = lm_population_plane_at(cold_p, 0)->mean;
    for (uint64_t t = 0; t < TIMES; t++) {
        size_t n;
        LM_OWN(lm_memory) list = drawn(warm_p, t, &n);
        for (size_t i = 0; i < n; i++) {
            const lm_halo *h = (const lm_halo *)list + i;
            kept[(int)fmin(BINS - 1, log10(h->m200) - 6)] += 1.0 / TIMES;
            CHECK(h->c < 60);
        }
        all += (double)n / TIMES;
    }
    enum { FINE = 4000 }; /* the midpoint rule in ln m */
    for (int i = 0; i < FINE; i++) {
        double low = 1e6 * pow(1e4, (double)i / FINE), high = 1e6 * pow(1e4, (i + 1.0) / FINE);
        double part = lm_population_below(cold_p, 0, high) - lm_population_below(cold_p, 0, low);
        want[i * BINS / FINE] += mean * part * lm_warm_number(warm.kind.warm, warm.kind.m_hm, sqrt(low * high));
    }
    for (int k = 0; k < BINS; k++) NEAR(kept[k], want[k], ABS(4.5 * sqrt(want[k] / TIMES)));
    double sum = want[0] + want[1] + want[2] + want[3];
    NEAR(lm_population_plane_at(warm_p, 0)->mean, sum, REL(1e-4)); /* Simpson's rule over eight nodes a decade */
    NEAR(all, sum, ABS(4.5 * sqrt(sum / TIMES)));
    CHECK(sum < 0.5 * mean);
}

/* The sum of what the haloes weigh, over many draws, against the sheet's convergence. */
static void sheet_is_the_mean(const lm_population *p, int times, double within_sds)
{
    size_t planes = lm_population_planes(p);
    double sum = 0, square = 0, want = 0;
    for (size_t i = 0; i < planes; i++) want += lm_population_plane_at(p, i)->sheet;
    for (int t = 0; t < times; t++) {
        size_t n;
        double one = 0;
        LM_OWN(lm_memory) list = drawn(p, (uint64_t)(1000 + t), &n);
        for (size_t i = 0; i < n; i++) {
            const lm_halo *h = (const lm_halo *)list + i;
            lm_lens_geometry g = geometry(h->z);
            const lm_population_plane *plane = NULL;
            for (size_t k = 0; k < planes; k++)
                if (lm_population_plane_at(p, k)->z == h->z) plane = lm_population_plane_at(p, k);
            CHECK(plane);
            double mass;
            lm_error err = {0};
            OK(lm_lens_total_of_kappa_s(&g, h->kappa_s, h->theta_s, h->tau, &mass, &err), &err);
            one += mass / (M_PI * plane->radius * plane->radius * g.Sigma_cr_arcsec);
        }
        sum += one / times;
        square += one * one / times;
    }
    double sd = sqrt(fmax(0, square - sum * sum) / (times - 1));
    CHECK(want > 0);
    NEAR(sum, want, ABS(within_sds * sd));
    CHECK(sd < 0.1 * want); /* or the test would say nothing */
}

TEST(sheets_have_the_mean_convergence)
{
    LM_OWN(lm_matter) m = matter();
    lm_subhalo_params some = subhaloes;
    some.kind.m_max = 1e8; /* many of much the same mass: a mean that draws can find */
    LM_OWN(lm_population) p = within(m, &some);
    sheet_is_the_mean(p, 24, 4.5);
    lm_field_params others = field;
    others.kind.m_max = 1e8;
    others.kind.m_hm = lm_matter_half_mode(m, 6);
    others.dz = 0.1;
    LM_OWN(lm_population) warm = along(m, &others);
    sheet_is_the_mean(warm, 24, 4.5);
}

/* The number of haloes in the double cone: the volume and the mass function integrated finely here. */
TEST(the_line_of_sight_is_as_full_as_the_universe)
{
    LM_OWN(lm_matter) m = matter();
    LM_OWN(lm_population) p = along(m, &field);
    double want = 0, told = 0, d_l, d_s, last = 0;
    lm_error err = {0};
    OK(lm_cosmology_D_C(&universe.cosmology, z_l, &d_l, &err), &err);
    OK(lm_cosmology_D_C(&universe.cosmology, z_s, &d_s, &err), &err);
    enum { STEPS = 600, MASSES = 400 };
    for (int i = 0; i < STEPS; i++) {
        double z = z_s * (i + 0.5) / STEPS, e, d, number = 0, h = log(1e4) / MASSES;
        OK(lm_cosmology_E(&universe.cosmology, z, &e, &err), &err);
        OK(lm_cosmology_D_C(&universe.cosmology, z, &d, &err), &err);
        double x =
            3 * LM_ARCSEC * (d < d_l ? d : d_l * (d_s - d) / (d_s - d_l)); /* flat: straight lines to the source */
        for (int k = 0; k < MASSES; k++) number += h * lm_matter_haloes(m, 1e6 * exp(h * (k + 0.5)), z);
        want += number * M_PI * x * x * LM_LIGHT_KM_S / (70 * e) * z_s / STEPS;
    }
    EQUAL_INT(lm_population_planes(p), 75);
    for (size_t i = 0; i < 75; i++) {
        const lm_population_plane *plane = lm_population_plane_at(p, i);
        NEAR(plane->z, 0.02 * ((double)i + 0.5), REL(1e-12));
        CHECK(plane->sheet > 0 && plane->radius > 0 && plane->radius <= 3);
        CHECK(i < 25 ? plane->radius == 3 : plane->radius < last);
        last = plane->radius;
        told += plane->mean;
    }
    NEAR(told, want, REL(1e-3)); /* 75 planes, each with the mass function of its middle */
    NEAR(lm_population_below(p, 10, 1e6), 0, ABS(0));
    NEAR(lm_population_below(p, 10, 1e10), 1, ABS(0));
}

TEST(haloes_of_the_field_have_their_masses_places_and_edges)
{
    LM_OWN(lm_matter) m = matter();
    lm_field_params params = field;
    params.delta_los = 3;
    LM_OWN(lm_population) p = along(m, &params);
    size_t n;
    LM_OWN(lm_memory) list = drawn(p, 3, &n);
    const lm_halo *halo = list;
    double told = 0;
    for (size_t i = 0; i < 75; i++) told += lm_population_plane_at(p, i)->mean;
    NEAR((double)n, told, ABS(4.5 * sqrt(told)));
    LM_OWN(lm_memory) room = lm_alloc(2 * n, sizeof(double));
    double *u = room, *v = u + n;
    for (size_t i = 0; i < n; i++) {
        size_t k = (size_t)(halo[i].z / 0.02);
        const lm_population_plane *plane = lm_population_plane_at(p, k);
        NEAR(halo[i].z, plane->z, ABS(0));
        u[i] = lm_population_below(p, k, halo[i].m200);
        v[i] = (halo[i].x * halo[i].x + halo[i].y * halo[i].y) / (plane->radius * plane->radius);
        /* r_50: the mean density within is 50 times the critical one, as 200 is within r200 */
        double t = halo[i].tau, c = halo[i].c, inside = (log1p(t) - t / (1 + t)) / (t * t * t);
        NEAR(inside / ((log1p(c) - c / (1 + c)) / (c * c * c)), 0.25, REL(1e-9));
        CHECK(t < tau_max());
    }
    CHECK(lm_ks_tail(lm_ks_uniform(u, n), n) > 1e-3);
    CHECK(lm_ks_tail(lm_ks_uniform(v, n), n) > 1e-3);
}

/* The interpolated law of a plane is the mass function's integral. */
TEST(masses_of_a_plane_follow_the_mass_function)
{
    LM_OWN(lm_matter) m = matter();
    LM_OWN(lm_population) p = along(m, &field);
    double sum = 0, part[4] = {0}, h = log(1e4) / 4000;
    for (int i = 0; i < 4000; i++) {
        sum += lm_matter_haloes(m, 1e6 * exp(h * (i + 0.5)), 0.51);
        if (i % 1000 == 999) part[i / 1000] = sum;
    }
    for (int k = 0; k < 4; k++) NEAR(lm_population_below(p, 25, pow(10, 7 + k)), part[k] / sum, ABS(2e-6));
}

TEST(none_and_bad_numbers)
{
    LM_OWN(lm_matter) m = matter();
    lm_subhalo_params s = subhaloes;
    lm_field_params f = field;
    s.sigma_sub = 0;
    f.delta_los = 0;
    LM_OWN(lm_population) no_sub = within(m, &s);
    LM_OWN(lm_population) no_field = along(m, &f);
    const lm_population *both[] = {no_sub, no_field};
    for (int i = 0; i < 2; i++) {
        size_t n = 9;
        CHECK(!drawn(both[i], 0, &n));
        EQUAL_INT(n, 0);
        NEAR(lm_population_plane_at(both[i], 0)->mean, 0, ABS(0));
        NEAR(lm_population_plane_at(both[i], 0)->sheet, 0, ABS(0));
    }
    static const struct {
        size_t offset;
        double value;
        const char *why;
    } bad[] = {{offsetof(lm_subhalo_params, sigma_sub), -1, "sigma_sub = -1"},
               {offsetof(lm_subhalo_params, sigma_sub), NAN, "sigma_sub"},
               {offsetof(lm_subhalo_params, sigma_sub), 1e9, "haloes are expected"},
               {offsetof(lm_subhalo_params, slope), INFINITY, "slope"},
               {offsetof(lm_subhalo_params, m0), 0, "m0 = 0"},
               {offsetof(lm_subhalo_params, m_host), -1, "m_host"},
               {offsetof(lm_subhalo_params, c_host), 0, "concentration"},
               {offsetof(lm_subhalo_params, core), 0, "core = 0"},
               {offsetof(lm_subhalo_params, r_t0), 0, "r_t = 0"},
               {offsetof(lm_subhalo_params, kind.m_min), 0, "m_min = 0"},
               {offsetof(lm_subhalo_params, kind.m_max), 1e5, "m_max = 100000"},
               {offsetof(lm_subhalo_params, kind.radius), 1000, "r200"},
               {offsetof(lm_subhalo_params, kind.radius), NAN, "radius"},
               {offsetof(lm_subhalo_params, kind.x), NAN, "x = "},
               {offsetof(lm_subhalo_params, kind.m_hm), -1, "m_hm = -1"},
               {offsetof(lm_subhalo_params, kind.warm[2]), 1, "third of warm"},
               {offsetof(lm_subhalo_params, kind.scatter), -1, "scatter = -1"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lm_population *p = NULL;
        lm_error err = {0};
        s = subhaloes;
        memcpy((char *)&s + bad[i].offset, &bad[i].value, sizeof(double));
        EQUAL_INT(lm_population_of_subhaloes(m, z_l, z_s, &s, &p, &err), LM_EINPUT);
        CONTAINS(err.text, bad[i].why);
        CHECK(!p);
    }
    lm_population *p = NULL;
    lm_error err = {0};
    f = field;
    f.dz = 0;
    EQUAL_INT(lm_population_of_field(m, z_l, z_s, &f, &p, &err), LM_EINPUT);
    f.dz = 1e-9;
    EQUAL_INT(lm_population_of_field(m, z_l, z_s, &f, &p, &err), LM_EINPUT);
    CONTAINS(err.text, "planes");
    EQUAL_INT(lm_population_of_field(m, 1.5, 0.5, &field, &p, &err), LM_EINPUT);
}

/* A core as wide as the host's scale radius, where the partial fractions are 0/0. */
TEST(the_limit_of_equal_radii_is_smooth)
{
    LM_OWN(lm_matter) m = matter();
    double sheet[3];
    for (int k = 0; k < 3; k++) {
        lm_subhalo_params s = subhaloes;
        s.core = 1 + (k - 1) * 2e-4;
        LM_OWN(lm_population) p = within(m, &s);
        sheet[k] = lm_population_plane_at(p, 0)->sheet;
    }
    NEAR(sheet[1], (sheet[0] + sheet[2]) / 2, REL(1e-6));
}

TEST(every_failed_allocation_is_survived)
{
    LM_OWN(lm_matter) m = matter();
    LM_OWN(lm_population) p = within(m, &subhaloes);
    lm_digest key = lm_digest_of("population", 10);
    for (int what = 0; what < 4; what++) {
        lm_status status = LM_EMEMORY;
        for (uint64_t n = 1; status && n < 100; n++) {
            lm_error err = {0};
            lm_matter *made = NULL;
            lm_population *plan = NULL;
            lm_halo *list = NULL;
            size_t count;
            lm_random random = lm_random_stream(&key, 0);
            lm_draw draw = lm_draw_of(&random);
            lm_alloc_fail_at(n);
            if (what == 0) status = lm_matter_new(&universe, &made, &err);
            if (what == 1) status = lm_population_of_subhaloes(m, z_l, z_s, &subhaloes, &plan, &err);
            if (what == 2) status = lm_population_of_field(m, z_l, z_s, &field, &plan, &err);
            if (what == 3) status = lm_population_draw(p, &draw, &list, &count, &err);
            lm_alloc_fail_at(0);
            CHECK(status == LM_OK || status == LM_EMEMORY);
            CHECK(n > 1 || status == LM_EMEMORY); /* there is one to fail */
            lm_matter_free(made);
            lm_population_free(plan);
            lm_free(list);
        }
        EQUAL_INT(status, LM_OK);
    }
}
