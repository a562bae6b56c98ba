/* Distances, times and densities against astropy's tables, closed forms and a finer quadrature; masses and angles there
 * and back. */
#include "tests/test.h"
#include "tests/unit/lensing/reference.h"

#include "operators/core/lensing/cosmology.h"
#include "runtime/alloc.h"

typedef lm_status quantity(const lm_cosmology *cosmology, double z, double *ret, lm_error *err);

static double get(quantity *of, const lm_cosmology *cosmology, double z)
{
    lm_error err = {0};
    double value = NAN;
    OK(of(cosmology, z, &value, &err), &err);
    return value;
}

static double between(const lm_cosmology *cosmology, double z1, double z2)
{
    lm_error err = {0};
    double value = NAN;
    OK(lm_cosmology_D_A_between(cosmology, z1, z2, &value, &err), &err);
    return value;
}

static lm_lens_geometry lens(const lm_cosmology *cosmology, double z_l, double z_s)
{
    lm_error err = {0};
    lm_lens_geometry g = {.z_l = NAN};
    OK(lm_lens_geometry_of(cosmology, z_l, z_s, &g, &err), &err);
    return g;
}

static double hubble_mpc(const lm_cosmology *k)
{
    return LM_LIGHT_KM_S / k->H0;
}

static const lm_cosmology usual = {.H0 = 70, .Omega_m = 0.3, .Omega_de = 0.7, .w = -1};

/* ---- astropy ----------------------------------------------------------------------------------------------------- */

static const struct {
    const char *path;
    lm_cosmology cosmology;
} tables[] = {
    {"reference/cosmology/flat_lcdm_70_03.fits", {70, 0.3, 0.7, -1}},
    {"reference/cosmology/open_lcdm.fits", {72, 0.28, 0.6, -1}},
    {"reference/cosmology/flat_wcdm.fits", {68, 0.31, 1 - 0.31, -0.9}},
};
enum { TABLES = sizeof tables / sizeof *tables };

/* An image HDU of that many columns as rows; the caller frees it. */
static double *read_rows(const char *path, const char *name, size_t columns, size_t *ret_rows)
{
    size_t n = 0;
    double *rows = reference_hdu(path, name, &n);
    CHECK(n > 0 && n % columns == 0);
    *ret_rows = n / columns;
    return rows;
}

/* Astropy takes a distance in a flat universe with a cosmological constant as the difference of two numbers of the size
 * of c/H0, and sums others in one step: at z = 1e-4 its rounding is 1e-15 of `scale`, c/H0 or 1/H0, which is 4e-12 of
 * the value. */
static void meets(const char *what, double got, double want, double scale, size_t row)
{
    if (!(fabs(got - want) <= 1e-13 * fabs(want) + 1e-15 * scale))
        FAIL("%s in row %zu: %.17g, not %.17g (%g)", what, row, got, want, got / want - 1);
}

TEST(cosmology_meets_astropy)
{
    enum { Z, D_C, D_M, D_A, D_L, H, RHO, LOOKBACK, AGE, COLUMNS };
    for (size_t t = 0; t < TABLES; t++) {
        const lm_cosmology *k = &tables[t].cosmology;
        double d_h = hubble_mpc(k), t_h = LM_MPC_KM / k->H0 / LM_GYR_S;
        size_t n;
        double *rows = read_rows(test_shared(tables[t].path), "Z", COLUMNS, &n);
        EQUAL_INT(n, 16);
        for (size_t i = 0; i < n; i++) {
            const double *row = rows + i * COLUMNS;
            meets("D_C", get(lm_cosmology_D_C, k, row[Z]), row[D_C], d_h, i);
            meets("D_M", get(lm_cosmology_D_M, k, row[Z]), row[D_M], d_h, i);
            meets("D_A", get(lm_cosmology_D_A, k, row[Z]), row[D_A], d_h, i);
            meets("D_L", get(lm_cosmology_D_L, k, row[Z]), row[D_L], d_h, i);
            meets("H", k->H0 * get(lm_cosmology_E, k, row[Z]), row[H], 0, i);
            meets("rho_crit", get(lm_cosmology_rho_crit, k, row[Z]), row[RHO], 0, i);
            meets("lookback", get(lm_cosmology_lookback, k, row[Z]), row[LOOKBACK], t_h, i);
            /* outside that case: a general quadrature to infinity, which promises 1e-8 and is 4e-12 off the closed
             * forms */
            NEAR(get(lm_cosmology_age, k, row[Z]), row[AGE], REL(1e-11));
        }
        lm_free(rows);
    }
}

TEST(lens_geometry_meets_astropy)
{
    enum { Z_L, Z_S, D_L, D_S, D_LS, D_DT, SIGMA_CR, COLUMNS };
    for (size_t t = 0; t < TABLES; t++) {
        size_t n;
        double *rows = read_rows(test_shared(tables[t].path), "PAIRS", COLUMNS, &n);
        EQUAL_INT(n, 7);
        for (size_t i = 0; i < n; i++) {
            const double *row = rows + i * COLUMNS;
            lm_lens_geometry g = lens(&tables[t].cosmology, row[Z_L], row[Z_S]);
            CHECK(g.z_l == row[Z_L] && g.z_s == row[Z_S]);
            meets("D_l", g.D_l, row[D_L], 0, i);
            meets("D_s", g.D_s, row[D_S], 0, i);
            meets("D_ls", g.D_ls, row[D_LS], 0, i);
            meets("D_dt", g.D_dt, row[D_DT], 0, i);
            meets("Sigma_cr", g.Sigma_cr, row[SIGMA_CR], 0, i);
        }
        lm_free(rows);
    }
}

/* ---- closed forms and a finer sum -------------------------------------------------------------------------------- */

static const double redshifts[] = {0, 1e-9, 1e-4, 0.03, 0.5, 1, 2.7, 6, 10, 30, 1100};
enum { REDSHIFTS = sizeof redshifts / sizeof *redshifts };

TEST(cosmology_closed_forms)
{
    const lm_cosmology matter = {70, 1, 0, -1}, empty = {70, 0, 0, -1}, sitter = {70, 0, 1, -1},
                       closed = {70, 2, 0, -1};
    double d_h = LM_LIGHT_KM_S / 70, t_h = LM_MPC_KM / 70 / LM_GYR_S;
    for (size_t i = 0; i < REDSHIFTS; i++) {
        double z = redshifts[i], x = 1 + z, root = sqrt(x), root2 = sqrt(1 + 2 * z);
        /* each closed form is written so that nothing cancels at small z; what is left is rounding */
        NEAR(get(lm_cosmology_D_M, &matter, z), 2 * d_h * z / (root * (1 + root)), REL(4e-15));
        NEAR(get(lm_cosmology_lookback, &matter, z), -t_h * 2 / 3 * expm1(-1.5 * log1p(z)), REL(4e-15));
        NEAR(get(lm_cosmology_age, &matter, z), t_h * 2 / 3 / (x * root), REL(4e-15));
        NEAR(get(lm_cosmology_D_M, &empty, z), d_h * z * (2 + z) / (2 * x), REL(4e-15));
        NEAR(get(lm_cosmology_D_C, &empty, z), d_h * log1p(z), REL(4e-15));
        NEAR(get(lm_cosmology_lookback, &empty, z), t_h * z / x, REL(4e-15));
        NEAR(get(lm_cosmology_D_M, &sitter, z), d_h * z, REL(4e-15));
        NEAR(get(lm_cosmology_lookback, &sitter, z), t_h * log1p(z), REL(4e-15));
        NEAR(get(lm_cosmology_D_M, &closed, z), d_h * z / x, REL(1e-14)); /* Mattig 1958; the sine of up to 1.5 */
        NEAR(get(lm_cosmology_age, &usual, z), t_h * 2 / (3 * sqrt(0.7)) * asinh(sqrt(0.7 / 0.3) / (x * root)),
             REL(1e-14));
        NEAR(get(lm_cosmology_E, &closed, z), x * root2, REL(1e-15));
    }
}

/* Nodes and weights of Gauss-Legendre of 64 points, by Newton's method in long double */
enum { FINE = 64 };
static void legendre(long double node[FINE], long double weight[FINE])
{
    for (int i = 0; i < FINE; i++) {
        long double x = cosl(M_PIl * (i + 0.75L) / (FINE + 0.5L)), slope = 0;
        for (int step = 0; step < 20; step++) {
            long double before = 1, now = x;
            for (int n = 2; n <= FINE; n++) {
                long double next = ((2 * n - 1) * x * now - (n - 1) * before) / n;
                before = now;
                now = next;
            }
            slope = FINE * (x * now - before) / (x * x - 1);
            x -= now / slope;
        }
        node[i] = x;
        weight[i] = 2 / ((1 - x * x) * slope * slope);
    }
}

/* Integral of dz/((1+z)^power E) from z1 to z2, over z in 40 panels */
static long double fine_sum(const lm_cosmology *k, int power, double z1, double z2)
{
    enum { PANELS = 40 };
    static long double node[FINE], weight[FINE];
    if (node[0] == 0) legendre(node, weight);
    long double sum = 0, half = ((long double)z2 - (long double)z1) / PANELS / 2;
    long double m = k->Omega_m, de = k->Omega_de, w = k->w, curved = 1 - m - de;
    for (int p = 0; p < PANELS; p++)
        for (int i = 0; i < FINE; i++) {
            long double x = 1 + z1 + (2 * p + 1 + node[i]) * half;
            sum +=
                weight[i] * half / powl(x, power) / sqrtl(m * x * x * x + curved * x * x + de * powl(x, 3 * (1 + w)));
        }
    return sum;
}

static const lm_cosmology universes[] = {
    {70, 0.3, 0.7, -1},       {67.4, 0.315, 0.685, -0.8}, {50, 0.05, 0.95, -1.3}, {72, 0.28, 0.6, -1},
    {100, 0.4, 0.9, -1},      {70, 1.3, 0.1, -0.5},       {70, 0.3, -0.2, -1},    {65, 0.02, 0.3, -2},
    {70, 0.3, 0.7, -1.0 / 3}, {70, 0.3, 0.6, 0},          {70, 0.2, 0.1, 0.3},
};
enum { UNIVERSES = sizeof universes / sizeof *universes };

TEST(cosmology_meets_a_finer_sum)
{
    double t_h = LM_MPC_KM / LM_GYR_S;
    for (size_t c = 0; c < UNIVERSES; c++) {
        const lm_cosmology *k = &universes[c];
        double curved = 1 - k->Omega_m - k->Omega_de;
        for (size_t i = 1; i < REDSHIFTS && redshifts[i] <= 30; i++) {
            double z = redshifts[i];
            /* the roundings of some 80 logarithms and exponentials */
            NEAR(get(lm_cosmology_D_C, k, z), hubble_mpc(k) * (double)fine_sum(k, 0, 0, z), REL(3e-15));
            NEAR(get(lm_cosmology_lookback, k, z), t_h / k->H0 * (double)fine_sum(k, 1, 0, z), REL(3e-15));
            for (size_t j = 1; j < i; j++) {
                long double chi = fine_sum(k, 0, redshifts[j], z), root = sqrtl(fabsl((long double)curved));
                if (curved > 1e-9) chi = sinhl(root * chi) / root;
                if (curved < -1e-9) chi = sinl(root * chi) / root;
                NEAR(between(k, redshifts[j], z), hubble_mpc(k) * (double)chi / (1 + z), REL(5e-15));
            }
        }
    }
}

TEST(cosmology_identities)
{
    for (size_t c = 0; c < UNIVERSES; c++) {
        const lm_cosmology *k = &universes[c];
        double age = get(lm_cosmology_age, k, 0), curved = 1 - k->Omega_m - k->Omega_de;
        for (size_t i = 0; i < REDSHIFTS; i++) {
            double z = redshifts[i], x = 1 + z, d_a = get(lm_cosmology_D_A, k, z);
            CHECK(between(k, 0, z) == d_a);
            CHECK(between(k, z, z) == 0);
            NEAR(get(lm_cosmology_D_L, k, z), x * x * d_a, REL(1e-15)); /* Etherington 1933 */
            NEAR(get(lm_cosmology_D_M, k, z), x * d_a, REL(1e-15));
            NEAR(get(lm_cosmology_lookback, k, z) + get(lm_cosmology_age, k, z), age, REL(1e-14));
            if (i == 0) continue;
            double z1 = z / 3, d1 = get(lm_cosmology_D_M, k, z1), d2 = get(lm_cosmology_D_M, k, z), h = hubble_mpc(k);
            /* the difference of two transverse distances, Peebles 1993 eq. 13.56 (holds before the equator) */
            if (curved < 0 && d2 > 0.9 * h / sqrt(-curved)) continue;
            double apart = d2 * sqrt(1 + curved * (d1 / h) * (d1 / h)) - d1 * sqrt(1 + curved * (d2 / h) * (d2 / h));
            /* roundings of the two terms, of which nearly all may cancel */
            NEAR(between(k, z1, z) * x, apart, ABS(5e-15 * d2 * sqrt(1 + curved * (d1 / h) * (d1 / h))));
            lm_lens_geometry g = lens(k, z1, z);
            NEAR(g.D_l, get(lm_cosmology_D_A, k, z1), REL(1e-15));
            NEAR(g.D_dt, (1 + z1) * g.D_l * g.D_s / g.D_ls, REL(1e-15));
        }
    }
}

/* D_M is smooth in Omega_k through 0: the mean of the two sides is the flat one to second order. */
TEST(cosmology_curvature_limit)
{
    for (double z = 0.1; z < 12; z *= 2) {
        double flat = get(lm_cosmology_D_M, &usual, z);
        for (double e = 1e-3; e > 1e-18; e /= 10) {
            lm_cosmology open = usual, closed = usual;
            open.Omega_de -= e;
            closed.Omega_de += e;
            double up = get(lm_cosmology_D_M, &open, z), down = get(lm_cosmology_D_M, &closed, z);
            NEAR((up + down) / 2, flat, REL(10 * e * e + 1e-14));
            NEAR(up - down, 0, ABS(flat * (10 * e + 1e-14)));
        }
    }
}

/* ---- lenses ------------------------------------------------------------------------------------------------------ */

/* Values that lenstronomy and astropy gave: the digits are theirs */
TEST(cosmology_golden_values)
{
    lm_cosmology w = usual;
    w.w = -0.8;
    NEAR(get(lm_cosmology_D_C, &usual, 0.5), 1888.6253959334, REL(3e-14));
    NEAR(get(lm_cosmology_D_C, &usual, 1.5), 4363.8557662336, REL(3e-14));
    NEAR(get(lm_cosmology_D_C, &w, 1.5), 4173.4866004015, REL(3e-14));
    lm_lens_geometry g = lens(&usual, 0.5, 1.5);
    NEAR(g.D_dt, 3329.665360925, REL(3e-13));
    NEAR(g.Sigma_cr, 2.32847e15, REL(2.5e-6));
    lm_error err = {0};
    double theta_E = NAN;
    OK(lm_lens_theta_E_of_mass(&g, 1e12, &theta_E, &err), &err);
    NEAR(theta_E, 1.915403628, REL(5e-10));
    NEAR(g.days_per_arcsec2 / g.D_dt, 0.028000503, REL(2e-8));
    NEAR(LM_G_MPC, 4.30091727e-9, REL(2e-10));
    NEAR(LM_ARCSEC, 4.84813681e-6, REL(3e-10));
    NEAR(get(lm_cosmology_rho_crit, &usual, 0), 2.77536627e11 * 0.49, REL(2e-9));
}

/* The NFW haloes of reference/lens and of its multi-plane case: M200 and c, and what caustics made of them, as
 * lenstronomy's Rs and alpha_Rs = 4 kappa_s theta_s (1 - log 2). Its distances are in float32, each 6e-8 off, and D_ls
 * is a difference. */
static const struct {
    double z_l, z_s, m200, c, Rs, alpha_Rs;
} haloes[] = {
    {0.5, 2, 2e13, 6, 12.77833114554848, 1.8128723636094457},
    {0.9, 2, 1e12, 8, 2.360036256571281, 0.2067522017550514},
};

TEST(nfw_meets_lenstronomy)
{
    for (size_t i = 0; i < sizeof haloes / sizeof *haloes; i++) {
        lm_lens_geometry g = lens(&usual, haloes[i].z_l, haloes[i].z_s);
        lm_error err = {0};
        double kappa_s = NAN, theta_s = NAN;
        OK(lm_lens_nfw_of_m200(&g, haloes[i].m200, haloes[i].c, &kappa_s, &theta_s, &err), &err);
        NEAR(theta_s, haloes[i].Rs, REL(3e-7));
        NEAR(4 * kappa_s * theta_s * (1 - log(2)), haloes[i].alpha_Rs, REL(3e-7));
    }
    /* tnfw_m200, tnfw: M200 and Rs */
    lm_lens_geometry g = lens(&usual, 0.5, 2);
    lm_error err = {0};
    double kappa_s = NAN;
    OK(lm_lens_kappa_s_of_m200(&g, 1e12, 1.1, &kappa_s, &err), &err);
    NEAR(4 * kappa_s * 1.1 * (1 - log(2)), 0.4938785610833973, REL(3e-7));
}

/* By hand: the mass inside c scale radii is M200, and its mean density 200 times critical. */
TEST(nfw_mass_by_quadrature)
{
    lm_lens_geometry g = lens(&universes[3], 0.4, 1.7);
    for (double m200 = 1e6; m200 < 1e16; m200 *= 31)
        for (double c = 0.003; c < 100; c *= 1.7) {
            lm_error err = {0};
            double kappa_s = NAN, theta_s = NAN, again = NAN, back = NAN, back_c = NAN;
            OK(lm_lens_nfw_of_m200(&g, m200, c, &kappa_s, &theta_s, &err), &err);
            double r_s = theta_s * LM_ARCSEC * g.D_l, rho_s = kappa_s * g.Sigma_cr / r_s;
            long double sum = 0; /* of x/(1+x)^2 dx from 0 to c, in log(1+x): smooth, by Simpson's rule */
            enum { STEPS = 400 };
            long double h = log1pl(c) / STEPS;
            for (int i = 0; i <= STEPS; i++)
                sum += (i == 0 || i == STEPS ? 1 : i % 2 ? 4 : 2) * -expm1l(-i * h) * h / 3;
            NEAR(4 * M_PI * rho_s * r_s * r_s * r_s * (double)sum, m200, REL(1e-9)); /* Simpson's h^4 */
            double r200 = c * r_s;
            NEAR(m200 / (4 * M_PI / 3 * r200 * r200 * r200), 200 * g.rho_crit, REL(1e-14));
            OK(lm_lens_kappa_s_of_m200(&g, m200, theta_s, &again, &err), &err);
            NEAR(again, kappa_s, REL(1e-14));
            /* log(1+c) - c/(1+c) loses 2/c of its digits down to 0.1; and the back way takes a third power */
            OK(lm_lens_m200_of_nfw(&g, kappa_s, theta_s, &back, &back_c, &err), &err);
            NEAR(back_c, c, REL(3e-14));
            NEAR(back, m200, REL(1e-13));
        }
}

/* The total mass of a truncated halo: 4 pi rho_s r_s^3 integral of x/(1+x)^2 tau^2/(tau^2 + x^2), over u = log x by the
 * trapezoid rule, which is exact to rounding for such a function. */
TEST(tnfw_total_mass_by_quadrature)
{
    lm_lens_geometry g = lens(&usual, 0.5, 1.5);
    for (double tau = 1e-4; tau < 1e5; tau *= 2.3) {
        long double sum = 0, step = 0.02L, t = tau;
        for (int i = -2500; i <= 2500; i++) {
            long double x = expl(i * step) * t, y = x / t;
            sum += step * x / (1 + x) * x / (1 + x) / (1 + y * y);
        }
        lm_error err = {0};
        double mass = NAN, kappa_s = NAN;
        OK(lm_lens_total_of_kappa_s(&g, 0.3, 1.2, tau, &mass, &err), &err);
        double r_s = 1.2 * LM_ARCSEC * g.D_l, rho_s = 0.3 * g.Sigma_cr / r_s;
        NEAR(mass, 4 * M_PI * rho_s * r_s * r_s * r_s * (double)sum, REL(1e-14));
        OK(lm_lens_kappa_s_of_total(&g, mass, 1.2, tau, &kappa_s, &err), &err);
        NEAR(kappa_s, 0.3, REL(1e-15));
    }
    double one = NAN;
    lm_error err = {0};
    OK(lm_lens_total_of_kappa_s(&g, 0.3, 1.2, 1, &one, &err), &err);
    NEAR(one, M_PI * 0.3 * 1.2 * 1.2 * g.Sigma_cr_arcsec * (M_PI - 2), REL(1e-14)); /* tau = 1: (pi - 2)/4 */
}

TEST(einstein_radii_there_and_back)
{
    lm_lens_geometry g = lens(&usual, 0.5, 1.5);
    lm_error err = {0};
    double theta_E = NAN, back = NAN;
    for (double mass = 1; mass < 1e16; mass *= 97) {
        OK(lm_lens_theta_E_of_mass(&g, mass, &theta_E, &err), &err);
        double c2 = LM_LIGHT_KM_S * LM_LIGHT_KM_S;
        NEAR(theta_E, sqrt(4 * LM_G_MPC * mass * g.D_ls / (c2 * g.D_l * g.D_s)) / LM_ARCSEC, REL(2e-15));
        OK(lm_lens_mass_of_theta_E(&g, theta_E, &back, &err), &err);
        NEAR(back, mass, REL(2e-15));
    }
    for (double sigma_v = 10; sigma_v < 2000; sigma_v *= 1.5) {
        OK(lm_lens_theta_E_of_sigma_v(&g, sigma_v, &theta_E, &err), &err);
        OK(lm_lens_sigma_v_of_theta_E(&g, theta_E, &back, &err), &err);
        NEAR(back, sigma_v, REL(2e-15));
        /* within theta_E an isothermal sphere has pi sigma_v^2 R/G, which is also the mass of the ring */
        double in_ring = M_PI * sigma_v * sigma_v * theta_E * LM_ARCSEC * g.D_l / LM_G_MPC;
        OK(lm_lens_mass_of_theta_E(&g, theta_E, &back, &err), &err);
        NEAR(back, in_ring, REL(3e-15));
    }
    /* 220 km/s makes 1.4 arcsec D_ls/D_s (Narayan & Bartelmann 1996, eq. 53) */
    OK(lm_lens_theta_E_of_sigma_v(&g, 220, &theta_E, &err), &err);
    NEAR(theta_E / (g.D_ls / g.D_s), 1.4, ABS(0.05));
    NEAR(g.kpc_per_arcsec, 6.104, ABS(1e-3)); /* 1259.0836 Mpc times 4.848e-6 */
}

/* ---- what is refused --------------------------------------------------------------------------------------------- */

static void refused(quantity *of, lm_cosmology k, double z, const char *why)
{
    lm_error err = {0};
    double untouched = 42;
    EQUAL_INT(of(&k, z, &untouched, &err), LM_EINPUT);
    CHECK(untouched == 42);
    CONTAINS(err.text, why);
}

TEST(cosmology_refuses_bad_input)
{
    static quantity *const all[] = {lm_cosmology_E,   lm_cosmology_rho_crit, lm_cosmology_D_C,      lm_cosmology_D_M,
                                    lm_cosmology_D_A, lm_cosmology_D_L,      lm_cosmology_lookback, lm_cosmology_age};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        refused(all[i], usual, -0.1, "z = -0.1 is negative");
        refused(all[i], usual, NAN, "is not finite");
        refused(all[i], usual, INFINITY, "z = inf is not finite");
        refused(all[i], (lm_cosmology){0, 0.3, 0.7, -1}, 1, "H0 = 0 km/s/Mpc is not above 0");
        refused(all[i], (lm_cosmology){70, -0.3, 0.7, -1}, 1, "Omega_m = -0.3 is negative");
        refused(all[i], (lm_cosmology){70, 0.3, NAN, -1}, 1, "Omega_de = nan is not finite");
        refused(all[i], (lm_cosmology){70, 0.3, 0.7, INFINITY}, 1, "w = inf is not finite");
        /* bounces at z = 2.1: all of E^2 below 0, then above again at z = 9 */
        refused(all[i], (lm_cosmology){70, 0.1, 1.5, -1}, 3, "E^2 = -1.");
        refused(all[i], (lm_cosmology){70, 0.1, 1.5, -1}, 9, "at z = 2.1");
        refused(all[i], (lm_cosmology){70, 0.3, -1, 1}, 5, "E^2 = -");
    }
    CHECK(get(lm_cosmology_D_C, &(lm_cosmology){70, 0.1, 1.5, -1}, 0.5) > 0); /* before the bounce */
    refused(lm_cosmology_age, (lm_cosmology){70, 0.1, 1.5, -1}, 0.5, "at z = 2.1");
    refused(lm_cosmology_age, (lm_cosmology){70, 0, 1, -1}, 1, "Omega_m = 0 is not above 0");
    lm_error err = {0};
    OK(lm_cosmology_check(&usual, 1100, &err), &err);
    EQUAL_INT(lm_cosmology_check(&usual, -1, &err), LM_EINPUT);
    double d = 42;
    EQUAL_INT(lm_cosmology_D_A_between(&usual, 1, 0.5, &d, &err), LM_EINPUT);
    CONTAINS(err.text, "z = 0.5 is nearer than z = 1");
    EQUAL_INT(lm_cosmology_D_A_between(&usual, -0.5, 0.5, &d, &err), LM_EINPUT);
    CONTAINS(err.text, "z = -0.5 is negative");
    EQUAL_INT(lm_cosmology_D_A_between(&usual, 0.5, NAN, &d, &err), LM_EINPUT);
    EQUAL_INT(lm_cosmology_D_A_between(&usual, NAN, 0.5, &d, &err), LM_EINPUT);
    CHECK(d == 42);
}

/* A universe that all but stopped: with Omega_m = 0.3 and a cosmological constant near 1.713 E^2 touches 0 at z of
 * 1.25. */
TEST(cosmology_of_a_universe_that_loiters)
{
    const double m = 0.3; /* f = m x + 1 - m - L + L/x^2 is least, 0, where m = 2 L/x^3 */
    double low = 1, high = 2;
    for (int i = 0; i < 200; i++) {
        double l = (low + high) / 2, x = cbrt(2 * l / m);
        if (m * x + 1 - m - l + l / (x * x) > 0) low = l;
        else high = l;
    }
    lm_cosmology k = {70, m, low - 1e-3, -1};
    NEAR(get(lm_cosmology_D_C, &k, 3), hubble_mpc(&k) * (double)fine_sum(&k, 0, 0, 3), REL(1e-13));
    double near = 1, far = 3, radius = hubble_mpc(&k) / sqrt(m + k.Omega_de - 1); /* of curvature */
    for (int i = 0; i < 60; i++) {
        double z = (near + far) / 2;
        if (get(lm_cosmology_D_C, &k, z) < M_PI * radius) near = z;
        else far = z;
    }
    CHECK(near > 1 && far < 3);
    NEAR(get(lm_cosmology_D_M, &k, near - 1e-6), 0, ABS(1e-4 * radius)); /* nearly at the antipode */
    CHECK(get(lm_cosmology_D_M, &k, near - 1e-6) > 0);
    refused(lm_cosmology_D_M, k, far + 1e-6, "closed universe");
    CHECK(get(lm_cosmology_D_C, &k, far + 1e-6) > M_PI * radius);
    refused(lm_cosmology_D_M, k, 3, "closed universe");
    k.Omega_de = low + 1e-9;
    refused(lm_cosmology_D_C, k, 3, "E^2 = -");
    k.Omega_de = low - 1e-12;
    refused(lm_cosmology_D_C, k, 3, "E^2 comes too near 0");
    CHECK(get(lm_cosmology_D_C, &k, 0.5) > 0);
}

TEST(lens_geometry_refuses_bad_input)
{
    static const struct {
        double z_l, z_s;
        const char *why;
    } cases[] = {
        {0.5, 0.5, "source at z_s = 0.5 is not behind the lens at z_l = 0.5"},
        {0.5, 0.3, "source at z_s = 0.3 is not behind the lens at z_l = 0.5"},
        {0, 1, "z_l = 0 is not above 0"},
        {-0.2, 1, "z_l = -0.2 is not above 0"},
        {0.5, -1, "z_s = -1 is not above 0"},
        {NAN, 1, "is not finite"},
        {0.5, NAN, "is not finite"},
        {0.5, INFINITY, "z_s = inf is not finite"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lm_lens_geometry g = {.z_l = 42};
        lm_error err = {0};
        EQUAL_INT(lm_lens_geometry_of(&usual, cases[i].z_l, cases[i].z_s, &g, &err), LM_EINPUT);
        CHECK(g.z_l == 42);
        CONTAINS(err.text, cases[i].why);
    }
}

TEST(masses_refuse_bad_input)
{
    lm_lens_geometry g = lens(&usual, 0.5, 1.5);
    static const double bad[] = {0, -1, NAN, INFINITY};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        double b = bad[i], a = 42, c = 42;
        lm_error err = {0};
        EQUAL_INT(lm_lens_theta_E_of_mass(&g, b, &a, &err), LM_EINPUT);
        CONTAINS(err.text, "mass = ");
        EQUAL_INT(lm_lens_mass_of_theta_E(&g, b, &a, &err), LM_EINPUT);
        CONTAINS(err.text, "theta_E = ");
        EQUAL_INT(lm_lens_theta_E_of_sigma_v(&g, b, &a, &err), LM_EINPUT);
        CONTAINS(err.text, "velocity dispersion = ");
        EQUAL_INT(lm_lens_sigma_v_of_theta_E(&g, b, &a, &err), LM_EINPUT);
        EQUAL_INT(lm_lens_nfw_of_m200(&g, b, 5, &a, &c, &err), LM_EINPUT);
        CONTAINS(err.text, "M200 = ");
        EQUAL_INT(lm_lens_nfw_of_m200(&g, 1e12, b, &a, &c, &err), LM_EINPUT);
        CONTAINS(err.text, "concentration = ");
        EQUAL_INT(lm_lens_m200_of_nfw(&g, b, 1, &a, &c, &err), LM_EINPUT);
        CONTAINS(err.text, "kappa_s = ");
        EQUAL_INT(lm_lens_m200_of_nfw(&g, 0.1, b, &a, &c, &err), LM_EINPUT);
        CONTAINS(err.text, "theta_s = ");
        EQUAL_INT(lm_lens_kappa_s_of_m200(&g, b, 1, &a, &err), LM_EINPUT);
        EQUAL_INT(lm_lens_kappa_s_of_m200(&g, 1e12, b, &a, &err), LM_EINPUT);
        EQUAL_INT(lm_lens_kappa_s_of_total(&g, b, 1, 3, &a, &err), LM_EINPUT);
        CONTAINS(err.text, "total mass = ");
        EQUAL_INT(lm_lens_kappa_s_of_total(&g, 1e10, b, 3, &a, &err), LM_EINPUT);
        EQUAL_INT(lm_lens_kappa_s_of_total(&g, 1e10, 1, b, &a, &err), LM_EINPUT);
        CONTAINS(err.text, "tau = ");
        EQUAL_INT(lm_lens_total_of_kappa_s(&g, b, 1, 3, &a, &err), LM_EINPUT);
        CHECK(a == 42 && c == 42);
    }
    /* results that no double holds */
    double a = 42, c = 42;
    lm_error err = {0};
    EQUAL_INT(lm_lens_nfw_of_m200(&g, 1e12, 1e200, &a, &c, &err), LM_EINPUT);
    CONTAINS(err.text, "kappa_s of the halo = inf is not finite");
    EQUAL_INT(lm_lens_kappa_s_of_m200(&g, 1e12, 1e-200, &a, &err), LM_EINPUT);
    EQUAL_INT(lm_lens_m200_of_nfw(&g, 1e-300, 1, &a, &c, &err), LM_EINPUT);
    EQUAL_INT(lm_lens_kappa_s_of_total(&g, 1e12, 1, 1e-200, &a, &err), LM_EINPUT);
    CHECK(a == 42 && c == 42);
}
