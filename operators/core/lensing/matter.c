/* Fluctuations, growth, haloes. See matter.h.
 *
 * The variance: with x = kR, panels of ten Gauss-Legendre nodes, in ln x up to pi, where nothing oscillates, then one a half-wave of the window
 * up to 12 pi, and beyond, where less than 1e-6 of the integral is left, the window's mean over its waves, 9 (1 + 1/x^2)/(2 x^4).
 */
#include "operators/core/lensing/matter.h"

#include <math.h>
#include <stdbool.h>

enum { MASSES = 121, TIMES = 513 };
static const double LN_10 = 2.302585092994045684, DELTA_C = 1.68647;
static const double LOG_LEAST = 2, LOG_STEP = 0.125; /* of the table of masses, decades */
static const double FIRST = 1e-4,
                    EARLIEST = 1.0 / 1001; /* a where the growth begins, and the earliest that is asked for */

struct lm_matter {
    lm_matter_params params;
    double density;
    double sigma[MASSES][2]; /* ln sigma, dln sigma/dln M */
    double growth[TIMES][2]; /* D, dD/dln a */
};

const char *const lm_concentration_names[] = {"ludlow16", "duffy08", NULL};

/* ---- fluctuations ------------------------------------------------------------------------------------------------ */

/* k in 1/Mpc; Eisenstein & Hu, eqs. 26, 28-31. *ret_slope: dln T/dln k */
static double transfer(const lm_matter_params *p, double k, double *ret_slope)
{
    double h = p->cosmology.H0 / 100, m = p->cosmology.Omega_m, theta = p->T_cmb / 2.7;
    double mhh = m * h * h, bhh = p->Omega_b * h * h, share = p->Omega_b / m;
    double s = 44.5 * log(9.83 / mhh) / sqrt(1 + 10 * pow(bhh, 0.75));
    double alpha = 1 - 0.328 * log(431 * mhh) * share + 0.38 * log(22.3 * mhh) * share * share;
    double ks = 0.43 * k * s, fourth = ks * ks * ks * ks, shape = alpha + (1 - alpha) / (1 + fourth);
    double q = k / h * theta * theta / (m * h * shape);
    double q_slope = 1 + (1 - alpha) * 4 * fourth / ((1 + fourth) * (1 + fourth)) / shape;
    double l = log(2 * M_E + 1.8 * q), dl = q_slope * 1.8 * q / (2 * M_E + 1.8 * q);
    double c = 14.2 + 731 / (1 + 62.5 * q), dc = -q_slope * 731 * 62.5 * q / ((1 + 62.5 * q) * (1 + 62.5 * q));
    double all = l + c * q * q;
    *ret_slope = dl / l - (dl + dc * q * q + 2 * q_slope * c * q * q) / all;
    return l / all;
}

enum { NODES = 10 };
static const double nodes[NODES / 2][2] = {{0.14887433898163121088, 0.29552422471475287017},
                                           {0.43339539412924719080, 0.26926671930999635509},
                                           {0.67940956829902440623, 0.21908636251598204400},
                                           {0.86506336668898451073, 0.14945134915058059315},
                                           {0.97390652851717172008, 0.06667134430868813759}};

typedef struct {
    const lm_matter_params *params;
    double radius;
    double square, slope; /* sigma^2, dsigma^2/dln R */
} variance;

/* Adds k^3 P W^2 dx/x at x = kR, and what it gives by ln R: -dln(k^3 P)/dln k of it, once integrated by parts. smooth: with the mean over the
 * window's waves. */
static void add_at(variance *v, double x, double weight, bool smooth)
{
    double k = x / v->radius, xx = x * x, t_slope, window, t = transfer(v->params, k, &t_slope);
    if (smooth) {
        window = 9 * (1 + 1 / xx) / (2 * xx * xx);
    } else {
        double w = x < 0.1 ? 1 - xx / 10 * (1 - xx / 28 * (1 - xx / 54)) : 3 * (sin(x) - x * cos(x)) / (x * xx);
        window = w * w;
    }
    double part = weight * k * k * k * pow(k, v->params->n_s) * t * t * window;
    v->square += part;
    v->slope -= part * (3 + v->params->n_s + 2 * t_slope);
}

/* A panel of ln x, or of x */
static void add_panel(variance *v, double from, double to, bool logarithmic, bool smooth)
{
    double middle = (from + to) / 2, half = (to - from) / 2;
    for (int i = 0; i < NODES / 2; i++)
        for (int side = -1; side <= 1; side += 2) {
            double at = middle + side * half * nodes[i][0], x = logarithmic ? exp(at) : at;
            add_at(v, x, half * nodes[i][1] / (logarithmic ? 1 : x), smooth);
        }
}

/* sigma^2 and its slope by ln R, for P = 2 pi^2 k^n T^2. */
static variance variance_of(const lm_matter_params *params, double radius)
{
    enum { WAVES = 12 };
    variance v = {.params = params, .radius = radius};
    double least = log(1e-6 * radius), top = log(M_PI), far = log(WAVES * M_PI); /* k from 1e-6/Mpc */
    int panels = (int)ceil(top - least);
    for (int i = 0; i < panels; i++)
        add_panel(&v, least + (top - least) * i / panels, least + (top - least) * (i + 1) / panels, true, false);
    for (int i = 1; i < WAVES; i++) add_panel(&v, i * M_PI, (i + 1) * M_PI, false, false);
    for (int i = 0; i < 4; i++) add_panel(&v, far + 2 * i, far + 2 * (i + 1), true, true);
    return v;
}

static double radius_of(const lm_matter *m, double mass)
{
    return cbrt(3 * mass / (4 * M_PI * m->density));
}

static void fill_sigma(lm_matter *m)
{
    const lm_matter_params *p = &m->params;
    variance eight = variance_of(p, 8 / (p->cosmology.H0 / 100));
    for (int i = 0; i < MASSES; i++) {
        variance v = variance_of(p, radius_of(m, pow(10, LOG_LEAST + LOG_STEP * i)));
        m->sigma[i][0] = log(p->sigma8) + log(v.square / eight.square) / 2;
        m->sigma[i][1] = v.slope / v.square / 6; /* ln R = ln M/3 + ... */
    }
}

/* Cubic by values and slopes at both ends; *ret_slope: its derivative. h: the length of the step, 0 <= t <= 1. */
static double cubic(const double a[2], const double b[2], double h, double t, double *ret_slope)
{
    double da = h * a[1], db = h * b[1], rise = b[0] - a[0];
    double c2 = 3 * rise - 2 * da - db, c3 = da + db - 2 * rise;
    *ret_slope = (da + t * (2 * c2 + t * 3 * c3)) / h;
    return a[0] + t * (da + t * (c2 + t * c3));
}

static double log_sigma(const lm_matter *m, double mass, double *ret_slope)
{
    double at = (log10(mass) - LOG_LEAST) / LOG_STEP;
    *ret_slope = NAN;
    if (!(at >= 0 && at <= MASSES - 1)) return NAN;
    int i = at < MASSES - 1 ? (int)at : MASSES - 2;
    return cubic(m->sigma[i], m->sigma[i + 1], LOG_STEP * LN_10, at - i, ret_slope);
}

double lm_matter_sigma(const lm_matter *m, double mass)
{
    double slope;
    return exp(log_sigma(m, mass, &slope));
}

double lm_matter_slope(const lm_matter *m, double mass)
{
    double slope;
    (void)log_sigma(m, mass, &slope);
    return slope;
}

/* ---- growth ------------------------------------------------------------------------------------------------------ */

/* d(D, D')/dln a; E^2 = m a^-3 + k a^-2 + d a^-(3 + 3w) */
static void growth_slope(const lm_cosmology *c, double n, const double d[2], double ret[2])
{
    double matter = c->Omega_m * exp(-3 * n), curved = (1 - c->Omega_m - c->Omega_de) * exp(-2 * n);
    double dark = c->Omega_de * exp(-3 * (1 + c->w) * n), square = matter + curved + dark;
    double drag = 2 - (3 * matter + 2 * curved + 3 * (1 + c->w) * dark) / (2 * square);
    ret[0] = d[1];
    ret[1] = 1.5 * matter / square * d[0] - drag * d[1];
}

/* Runge-Kutta of fourth order from a time when D = a. */
static void fill_growth(lm_matter *m)
{
    const lm_cosmology *c = &m->params.cosmology;
    double step = -log(FIRST) / (TIMES - 1), d[2] = {FIRST, FIRST};
    for (int i = 0; i < TIMES; i++) {
        double n = log(FIRST) + step * i, s[4][2], at[2];
        m->growth[i][0] = d[0];
        m->growth[i][1] = d[1];
        for (int k = 0; k < 4; k++) {
            double part = k == 0 ? 0 : (k == 3 ? step : step / 2);
            for (int j = 0; j < 2; j++) at[j] = d[j] + (k ? part * s[k - 1][j] : 0);
            growth_slope(c, n + part, at, s[k]);
        }
        for (int j = 0; j < 2; j++) d[j] += step / 6 * (s[0][j] + 2 * s[1][j] + 2 * s[2][j] + s[3][j]);
    }
    double today = m->growth[TIMES - 1][0];
    for (int i = 0; i < TIMES; i++)
        for (int j = 0; j < 2; j++) m->growth[i][j] /= today;
}

double lm_matter_growth(const lm_matter *m, double z)
{
    double a = 1 / (1 + z), step = -log(FIRST) / (TIMES - 1), slope;
    if (!(a >= EARLIEST && a <= 1)) return NAN;
    double at = log(a / FIRST) / step;
    int i = at < TIMES - 1 ? (int)at : TIMES - 2;
    return cubic(m->growth[i], m->growth[i + 1], step, at - i, &slope);
}

/* ---- all of it ----------------------------------------------------------------------------------------------------- */

static lm_status check_number(double value, const char *name, bool good, lm_error *err)
{
    if (isfinite(value) && good) return LM_OK;
    return LM_FAIL(err, LM_EINPUT, "%s = %g is out of its range", name, value);
}

lm_status lm_matter_new(const lm_matter_params *p, lm_matter **ret, lm_error *err)
{
    double rho;
    LM_TRY(lm_cosmology_check(&p->cosmology, 1 / FIRST - 1, err));
    LM_TRY(check_number(p->cosmology.Omega_m, "Omega_m", p->cosmology.Omega_m > 0, err));
    LM_TRY(check_number(p->Omega_b, "Omega_b", p->Omega_b >= 0 && p->Omega_b < p->cosmology.Omega_m, err));
    LM_TRY(check_number(p->sigma8, "sigma8", p->sigma8 > 0, err));
    LM_TRY(check_number(p->n_s, "n_s", p->n_s > 0 && p->n_s < 2, err));
    LM_TRY(check_number(p->T_cmb, "T_cmb", p->T_cmb > 0, err));
    LM_TRY(lm_cosmology_rho_crit(&p->cosmology, 0, &rho, err));
    LM_OWN(lm_memory) made = lm_alloc(1, sizeof(lm_matter));
    lm_matter *m = made;
    if (!m) return LM_NOMEM(err);
    m->params = *p;
    m->density = rho * p->cosmology.Omega_m;
    fill_sigma(m);
    fill_growth(m);
    for (int i = 0; i < MASSES; i++)
        if (!isfinite(m->sigma[i][0]) || !(m->sigma[i][1] < 0))
            return LM_FAIL_HINT(err, LM_EINPUT, "Look at H0, Omega_m, Omega_b and n_s.",
                                "the fitted transfer function has no meaning in this universe");
    if (!isfinite(m->growth[0][0])) return LM_FAIL(err, LM_EINPUT, "nothing grows in this universe");
    *ret = lm_take(made);
    return LM_OK;
}

lm_matter *lm_matter_free(lm_matter *m)
{
    return lm_free(m);
}

const lm_matter_params *lm_matter_peek(const lm_matter *m)
{
    return &m->params;
}

double lm_matter_density(const lm_matter *m)
{
    return m->density;
}

/* ---- haloes -------------------------------------------------------------------------------------------------------- */

double lm_matter_haloes(const lm_matter *m, double mass, double z)
{
    const double A = 0.3222, a = 0.707, p = 0.3;
    double slope, sigma = exp(log_sigma(m, mass, &slope)) * lm_matter_growth(m, z), nu = DELTA_C / sigma;
    double square = a * nu * nu;
    return m->density / mass * -slope * A * sqrt(2 * square / M_PI) * (1 + pow(square, -p)) * exp(-square / 2);
}

/* Ludlow et al. 2016, eqs. C1-C6, with the sigma(M) of C8 and C9: x = 1e10 M_sun/h over the mass. */
static double ludlow(double h, double growth, double mass, double z)
{
    double a = 1 / (1 + z), x = 1e10 / (h * mass);
    double sigma = growth * 22.26 * pow(x, 0.292) / (1 + 1.53 * pow(x, 0.275) + 3.36 * pow(x, 0.198));
    double nu = 1.686 / sigma;
    double nu_0 = (4.135 - (0.564 + (0.210 - (0.0557 - 0.00348 / a) / a) / a) / a) / growth;
    double c_0 = 3.395 * pow(1 + z, -0.215), beta = 0.307 * pow(1 + z, 0.540);
    double gamma_1 = 0.628 * pow(1 + z, -0.047), gamma_2 = 0.317 * pow(1 + z, -0.893);
    return c_0 * pow(nu / nu_0, -gamma_1) * pow(1 + pow(nu / nu_0, 1 / beta), -beta * (gamma_2 - gamma_1));
}

double lm_matter_concentration(const lm_matter *m, lm_concentration_kind kind, double mass, double z)
{
    double h = m->params.cosmology.H0 / 100;
    if (kind == LM_CONCENTRATION_DUFFY08) return 5.71 * pow(mass * h / 2e12, -0.084) * pow(1 + z, -0.47);
    return ludlow(h, lm_matter_growth(m, z), mass, z);
}

/* ---- warm dark matter ------------------------------------------------------------------------------------------------ */

double lm_matter_half_mode(const lm_matter *m, double m_keV)
{
    const lm_matter_params *p = &m->params;
    double h = p->cosmology.H0 / 100, dark = p->cosmology.Omega_m - p->Omega_b;
    if (!(m_keV > 0)) return NAN;
    double a = 0.049 * pow(m_keV, -1.11) * pow(dark / 0.25, 0.11) * pow(h / 0.7, 1.22) / h, half = 13.934 * a / 2;
    return 4 * M_PI / 3 * m->density * half * half * half;
}

double lm_warm_number(const double abc[3], double m_hm, double mass)
{
    return m_hm > 0 ? pow(1 + pow(abc[0] * m_hm / mass, abc[1]), abc[2]) : 1;
}

double lm_warm_concentration(double m_hm, double mass, double z)
{
    return m_hm > 0 ? pow(1 + 60 * m_hm / mass, -0.17) * pow(1 + z, 0.026 * z - 0.04) : 1;
}
