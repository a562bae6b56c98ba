/* Distances, times and densities of a universe, and lenses by their masses.
 *
 * With u = log(1+z) and f = E^2/(1+z)^2, dz/E = du/sqrt f and dt = -dz/((1+z) E H0) = -e^-u du/(sqrt f H0): smooth
 * functions of u at all redshifts, which is why integrals are over u.
 */
#include "operators/core/lensing/cosmology.h"

#include <math.h>
#include <stdbool.h>

/* ---- the expansion ----------------------------------------------------------------------------------------------- */

static double omega_k(const lm_cosmology *k)
{
    return 1 - k->Omega_m - k->Omega_de;
}

static double f_at(const lm_cosmology *k, double u)
{
    return k->Omega_m * exp(u) + omega_k(k) + k->Omega_de * exp((1 + 3 * k->w) * u);
}

static double hubble_mpc(const lm_cosmology *k)
{
    return LM_LIGHT_KM_S / k->H0;
}

static lm_status check_value(double value, const char *what, const char *unit, bool zero, lm_error *err)
{
    if (isfinite(value) && (value > 0 || (zero && value == 0))) return LM_OK;
    return LM_FAIL(err, LM_EINPUT, "%s = %g%s is %s", what, value, unit,
                   !isfinite(value) ? "not finite" : (zero ? "negative" : "not above 0"));
}

/* Is E^2 above 0 from u = 0, where it is 1, to u? df/du = 0 at most once, where e^(3 w u) = -Omega_m/((1+3w) Omega_de):
 * f is least at an end or there. */
static lm_status check_up_to(const lm_cosmology *k, double u, lm_error *err)
{
    LM_TRY(check_value(k->H0, "H0", " km/s/Mpc", false, err));
    LM_TRY(check_value(k->Omega_m, "Omega_m", "", true, err));
    if (!isfinite(k->Omega_de)) return LM_FAIL(err, LM_EINPUT, "Omega_de = %g is not finite", k->Omega_de);
    if (!isfinite(k->w)) return LM_FAIL(err, LM_EINPUT, "w = %g is not finite", k->w);
    double turn = -k->Omega_m / ((1 + 3 * k->w) * k->Omega_de), places[] = {u, u};
    if (turn > 0 && k->w != 0) {
        double at = log(turn) / (3 * k->w);
        if (at > 0 && at < u) places[0] = at;
    }
    for (int i = 0; i < 2; i++) {
        double f = f_at(k, places[i]);
        if (isfinite(f) && f > 0) continue;
        return LM_FAIL_HINT(err, LM_EINPUT, "This universe was never that small: look at Omega_m and Omega_de.",
                            "E^2 = %g at z = %.6g, with Omega_m = %g, Omega_de = %g, w = %g", f * exp(2 * places[i]),
                            expm1(places[i]), k->Omega_m, k->Omega_de, k->w);
    }
    return LM_OK;
}

lm_status lm_cosmology_check(const lm_cosmology *k, double z, lm_error *err)
{
    LM_TRY(check_value(z, "redshift z", "", true, err));
    return check_up_to(k, log1p(z), err);
}

lm_status lm_cosmology_E(const lm_cosmology *k, double z, double *ret, lm_error *err)
{
    LM_TRY(lm_cosmology_check(k, z, err));
    *ret = (1 + z) * sqrt(f_at(k, log1p(z)));
    return LM_OK;
}

lm_status lm_cosmology_rho_crit(const lm_cosmology *k, double z, double *ret, lm_error *err)
{
    double e;
    LM_TRY(lm_cosmology_E(k, z, &e, err));
    double h = k->H0 * e;
    *ret = 3 * h * h / (8 * M_PI * LM_G_MPC);
    return LM_OK;
}

/* ---- integrals --------------------------------------------------------------------------------------------------- */

/* Gauss-Legendre of 20 points on [-1, 1]: the positive half of the nodes, and their weights */
enum { HALF = 10 };
static const double nodes[HALF][2] = {
    {0.07652652113349733375, 0.15275338713072585070}, {0.22778585114164507808, 0.14917298647260374679},
    {0.37370608871541956067, 0.14209610931838205133}, {0.51086700195082709800, 0.13168863844917662690},
    {0.63605368072651502545, 0.11819453196151841731}, {0.74633190646015079261, 0.10193011981724043504},
    {0.83911697182221882339, 0.08327674157670474872}, {0.91223442825132590587, 0.06267204833410906357},
    {0.96397192727791379127, 0.04060142980038694133}, {0.99312859918509492479, 0.01761400713915211831},
};

typedef enum { PATH, TIME } integrand; /* 1/sqrt f, and e^-u/sqrt f */

static double value_at(const lm_cosmology *k, integrand of, double u)
{
    double root = sqrt(f_at(k, u));
    return (of == TIME ? exp(-u) : 1) / root;
}

static double in_panels(const lm_cosmology *k, integrand of, double from, double length, unsigned n)
{
    double half = length / n / 2, sum = 0;
    for (unsigned i = 0; i < n; i++) {
        double middle = from + (2 * i + 1) * half;
        for (int j = 0; j < HALF; j++) {
            double d = half * nodes[j][0];
            sum += nodes[j][1] * (value_at(k, of, middle - d) + value_at(k, of, middle + d));
        }
    }
    return sum * half;
}

/* Twice as many panels until the sum stays: by then its error is far below the last change. Two do to z = 10 in a
 * common universe, more where f comes near 0 within the range. check_up_to has passed. */
enum { MOST_PANELS = 4096 };
static lm_status integral(const lm_cosmology *k, integrand of, double from, double length, double *ret, lm_error *err)
{
    double before = in_panels(k, of, from, length, 1);
    for (unsigned n = 2; n <= MOST_PANELS; n *= 2) {
        double sum = in_panels(k, of, from, length, n);
        if (fabs(sum - before) <= 1e-14 * sum) {
            *ret = sum;
            return LM_OK;
        }
        before = sum;
    }
    return LM_FAIL(err, LM_EINPUT,
                   "the way from z = %g to z = %g cannot be integrated: E^2 comes too near 0 on it, with "
                   "Omega_m = %g, Omega_de = %g, w = %g",
                   expm1(from), expm1(from + length), k->Omega_m, k->Omega_de, k->w);
}

/* Comoving distance from z1 to z2 in units of c/H0. The difference of the logarithms is taken before it can cancel. */
static lm_status path(const lm_cosmology *k, double z1, double z2, double *ret, lm_error *err)
{
    LM_TRY(lm_cosmology_check(k, z2, err));
    return integral(k, PATH, log1p(z1), log1p((z2 - z1) / (1 + z1)), ret, err);
}

lm_status lm_cosmology_D_C(const lm_cosmology *k, double z, double *ret, lm_error *err)
{
    double chi;
    LM_TRY(path(k, 0, z, &chi, err));
    *ret = chi * hubble_mpc(k);
    return LM_OK;
}

/* The transverse distance for both ends anywhere, Mpc comoving: Hogg's eq. 16 */
static lm_status transverse(const lm_cosmology *k, double z1, double z2, double *ret, lm_error *err)
{
    double chi;
    LM_TRY(path(k, z1, z2, &chi, err));
    double curved = omega_k(k), root = sqrt(fabs(curved)), angle = root * chi;
    if (curved < 0 && angle >= M_PI)
        return LM_FAIL(err, LM_EINPUT,
                       "z = %g lies %.6g rad from z = %g in a closed universe: at the antipode or behind it", z2, angle,
                       z1);
    if (curved > 0) chi = sinh(angle) / root;
    else if (curved < 0) chi = sin(angle) / root;
    *ret = chi * hubble_mpc(k);
    return LM_OK;
}

lm_status lm_cosmology_D_M(const lm_cosmology *k, double z, double *ret, lm_error *err)
{
    return transverse(k, 0, z, ret, err);
}

lm_status lm_cosmology_D_A(const lm_cosmology *k, double z, double *ret, lm_error *err)
{
    return lm_cosmology_D_A_between(k, 0, z, ret, err);
}

lm_status lm_cosmology_D_A_between(const lm_cosmology *k, double z1, double z2, double *ret, lm_error *err)
{
    LM_TRY(check_value(z1, "redshift z", "", true, err));
    LM_TRY(check_value(z2, "redshift z", "", true, err));
    if (z2 < z1) return LM_FAIL(err, LM_EINPUT, "z = %g is nearer than z = %g, from where it is to be seen", z2, z1);
    double d_m;
    LM_TRY(transverse(k, z1, z2, &d_m, err));
    *ret = d_m / (1 + z2);
    return LM_OK;
}

lm_status lm_cosmology_D_L(const lm_cosmology *k, double z, double *ret, lm_error *err)
{
    double d_m;
    LM_TRY(transverse(k, 0, z, &d_m, err));
    *ret = d_m * (1 + z);
    return LM_OK;
}

static double hubble_gyr(const lm_cosmology *k)
{
    return LM_MPC_KM / k->H0 / LM_GYR_S;
}

lm_status lm_cosmology_lookback(const lm_cosmology *k, double z, double *ret, lm_error *err)
{
    LM_TRY(lm_cosmology_check(k, z, err));
    double t;
    LM_TRY(integral(k, TIME, 0, log1p(z), &t, err));
    *ret = t * hubble_gyr(k);
    return LM_OK;
}

/* Once matter leads, e^-u/sqrt f falls as e^(-3u/2) or faster: 40 e-foldings leave 1e-17 of it even
 * where matter comes late. */
lm_status lm_cosmology_age(const lm_cosmology *k, double z, double *ret, lm_error *err)
{
    const double e_foldings = 40;
    LM_TRY(lm_cosmology_check(k, z, err));
    LM_TRY(check_value(k->Omega_m, "Omega_m", "", false, err));
    LM_TRY(check_up_to(k, log1p(z) + e_foldings, err));
    double t;
    LM_TRY(integral(k, TIME, log1p(z), e_foldings, &t, err));
    *ret = t * hubble_gyr(k);
    return LM_OK;
}

/* ---- a lens plane ------------------------------------------------------------------------------------------------ */

lm_status lm_lens_geometry_of(const lm_cosmology *k, double z_l, double z_s, lm_lens_geometry *ret, lm_error *err)
{
    LM_TRY(check_value(z_l, "lens redshift z_l", "", false, err));
    LM_TRY(check_value(z_s, "source redshift z_s", "", false, err));
    if (z_s <= z_l) return LM_FAIL(err, LM_EINPUT, "source at z_s = %g is not behind the lens at z_l = %g", z_s, z_l);
    lm_lens_geometry g = {.z_l = z_l, .z_s = z_s};
    LM_TRY(lm_cosmology_D_A(k, z_s, &g.D_s, err)); /* the farthest first: it is what may lie behind the antipode */
    LM_TRY(lm_cosmology_D_A(k, z_l, &g.D_l, err));
    LM_TRY(lm_cosmology_D_A_between(k, z_l, z_s, &g.D_ls, err));
    LM_TRY(lm_cosmology_rho_crit(k, z_l, &g.rho_crit, err));
    double arcsec_mpc = g.D_l * LM_ARCSEC;
    g.D_dt = (1 + z_l) * g.D_l * g.D_s / g.D_ls;
    g.Sigma_cr = LM_LIGHT_KM_S * LM_LIGHT_KM_S / (4 * M_PI * LM_G_MPC) * g.D_s / (g.D_l * g.D_ls);
    g.Sigma_cr_arcsec = g.Sigma_cr * arcsec_mpc * arcsec_mpc;
    g.kpc_per_arcsec = 1000 * arcsec_mpc;
    g.days_per_arcsec2 = g.D_dt * (LM_MPC_KM / LM_LIGHT_KM_S / LM_DAY_S) * LM_ARCSEC * LM_ARCSEC;
    *ret = g;
    return LM_OK;
}

lm_status lm_lens_theta_E_of_mass(const lm_lens_geometry *g, double mass, double *ret, lm_error *err)
{
    LM_TRY(check_value(mass, "mass", " M_sun", false, err));
    *ret = sqrt(mass / (M_PI * g->Sigma_cr_arcsec));
    return LM_OK;
}

lm_status lm_lens_mass_of_theta_E(const lm_lens_geometry *g, double theta_E, double *ret, lm_error *err)
{
    LM_TRY(check_value(theta_E, "theta_E", " arcsec", false, err));
    *ret = M_PI * theta_E * theta_E * g->Sigma_cr_arcsec;
    return LM_OK;
}

lm_status lm_lens_theta_E_of_sigma_v(const lm_lens_geometry *g, double sigma_v, double *ret, lm_error *err)
{
    LM_TRY(check_value(sigma_v, "velocity dispersion", " km/s", false, err));
    double beta = sigma_v / LM_LIGHT_KM_S;
    *ret = 4 * M_PI * beta * beta * g->D_ls / g->D_s / LM_ARCSEC;
    return LM_OK;
}

lm_status lm_lens_sigma_v_of_theta_E(const lm_lens_geometry *g, double theta_E, double *ret, lm_error *err)
{
    LM_TRY(check_value(theta_E, "theta_E", " arcsec", false, err));
    *ret = LM_LIGHT_KM_S * sqrt(theta_E * LM_ARCSEC * g->D_s / (4 * M_PI * g->D_ls));
    return LM_OK;
}

/* ---- haloes ------------------------------------------------------------------------------------------------------ */

enum { OVERDENSITY = 200 };

/* log(1+c) - c/(1+c): the mass within c scale radii over 4 pi rho_s r_s^3. Below 0.1 by its series, sum of
 * (-1)^n (n-1)/n c^n, because the two terms cancel. */
static double nfw_mass(double c)
{
    if (c >= 0.1) return log1p(c) - c / (1 + c);
    double sum = 0, power = -c;
    for (int n = 2; n < 20; n++) {
        power *= -c;
        sum += power * (n - 1) / n;
    }
    return sum;
}

static double scale_radius_mpc(const lm_lens_geometry *g, double theta_s)
{
    return theta_s * LM_ARCSEC * g->D_l;
}

static double r200_mpc(const lm_lens_geometry *g, double m200)
{
    return cbrt(3 * m200 / (4 * M_PI * OVERDENSITY * g->rho_crit));
}

/* kappa_s of a halo with concentration c and scale radius r_s, Mpc */
static double kappa_s_of(const lm_lens_geometry *g, double c, double r_s)
{
    return OVERDENSITY / 3.0 * g->rho_crit * (c * c * c / nfw_mass(c)) * r_s / g->Sigma_cr;
}

lm_status lm_lens_nfw_of_m200(const lm_lens_geometry *g, double m200, double c, double *ret_kappa_s,
                              double *ret_theta_s, lm_error *err)
{
    LM_TRY(check_value(m200, "M200", " M_sun", false, err));
    LM_TRY(check_value(c, "concentration", "", false, err));
    double r_s = r200_mpc(g, m200) / c;
    double kappa_s = kappa_s_of(g, c, r_s);
    LM_TRY(check_value(kappa_s, "kappa_s of the halo", "", false, err));
    *ret_kappa_s = kappa_s;
    *ret_theta_s = r_s / g->D_l / LM_ARCSEC;
    return LM_OK;
}

lm_status lm_lens_kappa_s_of_m200(const lm_lens_geometry *g, double m200, double theta_s, double *ret, lm_error *err)
{
    LM_TRY(check_value(m200, "M200", " M_sun", false, err));
    LM_TRY(check_value(theta_s, "theta_s", " arcsec", false, err));
    double r_s = scale_radius_mpc(g, theta_s);
    double kappa_s = kappa_s_of(g, r200_mpc(g, m200) / r_s, r_s);
    LM_TRY(check_value(kappa_s, "kappa_s of the halo", "", false, err));
    *ret = kappa_s;
    return LM_OK;
}

/* c^3/nfw_mass(c) = d, by Newton's method for log c: there the slope of the logarithm, 3 - c^2/((1+c)^2 nfw_mass(c)),
 * rises from 1 to 3, so that no step can run away. */
static double concentration_of(double d)
{
    double log_d = log(d), log_c = log_d < 0 ? log_d : log_d / 3;
    for (int i = 0; i < 100; i++) {
        double c = exp(log_c), m = nfw_mass(c), share = c / (1 + c);
        double step = (3 * log_c - log(m) - log_d) / (3 - share * share / m);
        log_c -= step;
        if (fabs(step) < 1e-9) break; /* what is left is its square */
    }
    return exp(log_c);
}

lm_status lm_lens_m200_of_nfw(const lm_lens_geometry *g, double kappa_s, double theta_s, double *ret_m200,
                              double *ret_c, lm_error *err)
{
    LM_TRY(check_value(kappa_s, "kappa_s", "", false, err));
    LM_TRY(check_value(theta_s, "theta_s", " arcsec", false, err));
    double r_s = scale_radius_mpc(g, theta_s), rho_s = kappa_s * g->Sigma_cr / r_s;
    double c = concentration_of(3 * rho_s / (OVERDENSITY * g->rho_crit)), r200 = c * r_s;
    LM_TRY(check_value(c, "concentration of the halo", "", false, err));
    *ret_m200 = 4 * M_PI / 3 * OVERDENSITY * g->rho_crit * r200 * r200 * r200;
    *ret_c = c;
    return LM_OK;
}

/* The total mass over 4 pi rho_s r_s^3, in which nothing large cancels; by tau and 1/tau, of which no square can
 * overflow */
static double tnfw_mass(double tau)
{
    double inverse = 1 / tau, sum = tau + inverse;
    return tau / sum * ((tau - inverse) / sum * log(tau) + M_PI / sum - 1);
}

lm_status lm_lens_kappa_s_of_total(const lm_lens_geometry *g, double mass, double theta_s, double tau, double *ret,
                                   lm_error *err)
{
    LM_TRY(check_value(mass, "total mass", " M_sun", false, err));
    double of_one;
    LM_TRY(lm_lens_total_of_kappa_s(g, 1, theta_s, tau, &of_one, err));
    LM_TRY(check_value(of_one, "total mass for kappa_s = 1", " M_sun", false, err));
    *ret = mass / of_one;
    return LM_OK;
}

lm_status lm_lens_total_of_kappa_s(const lm_lens_geometry *g, double kappa_s, double theta_s, double tau, double *ret,
                                   lm_error *err)
{
    LM_TRY(check_value(kappa_s, "kappa_s", "", false, err));
    LM_TRY(check_value(theta_s, "theta_s", " arcsec", false, err));
    LM_TRY(check_value(tau, "tau", "", false, err));
    *ret = 4 * M_PI * kappa_s * g->Sigma_cr_arcsec * theta_s * theta_s * tnfw_mass(tau);
    return LM_OK;
}
