/* Haloes by number, mass, shape and place. See population.h.
 *
 * Masses: on each plane dN/dln m stands at nodes, and is a power law between two of them, so that its integral and its inverse are closed
 * forms; of subhaloes it is one power law altogether. Distances from the host's centre along the line of sight are drawn from n(r) on the axis,
 * whose integral is closed too, and kept with the ratio of n there and on the axis, which is below 1.
 */
#include "operators/core/lensing/population.h"

#include "operators/core/lensing/cosmology.h"
#include "operators/core/lensing/mass.h"

#include <math.h>

enum {
    NODES = 33 /* odd: also those of Simpson's rule */,
    MOST = 10000000,
    MOST_PLANES = 10000,
    ACROSS = 4,
    ALONG = 16,
    PLACES = ACROSS * ALONG
};

typedef struct {
    lm_population_plane told;
    lm_lens_geometry geometry;
    double cold;               /* mean number before warm ones are thinned out */
    double log_density[NODES]; /* ln dN/dln m */
    double below[NODES];       /* integral up to the node */
} plane;

struct lm_population {
    const lm_matter *matter;
    lm_halo_kind kind;
    double step; /* of ln m, between nodes */
    bool sub;
    double r_s, r_core, r_max, r_t0;  /* of the host, kpc */
    double disc;                      /* kpc */
    double r[PLACES], weight[PLACES]; /* distances for the mean over places; one of 0 and 1 in the field */
    int places;
    size_t n;
    plane at[];
};

/* ---- checks -------------------------------------------------------------------------------------------------------- */

static lm_status want(bool good, const char *name, double value, const char *what, lm_error *err)
{
    if (good && isfinite(value)) return LM_OK;
    return LM_FAIL(err, LM_EINPUT, "%s = %g: %s is wanted", name, value, what);
}

static lm_status check_kind(const lm_halo_kind *k, lm_error *err)
{
    LM_TRY(want(k->m_min >= 1e2, "m_min", k->m_min, "a mass from 100 M_sun on", err));
    LM_TRY(
        want(k->m_max > k->m_min && k->m_max <= 1e16, "m_max", k->m_max, "a mass above m_min, up to 1e16 M_sun", err));
    LM_TRY(want(k->radius > 0 && k->radius <= 3600, "radius", k->radius, "an angle above 0, up to a degree,", err));
    LM_TRY(want(isfinite(k->x), "x", k->x, "a finite angle", err));
    LM_TRY(want(isfinite(k->y), "y", k->y, "a finite angle", err));
    LM_TRY(want(k->m_hm >= 0, "m_hm", k->m_hm, "0 or a mass above it", err));
    LM_TRY(want(k->warm[0] >= 0, "the first of warm", k->warm[0], "a number from 0 on", err));
    LM_TRY(want(isfinite(k->warm[1]), "the second of warm", k->warm[1], "a finite number", err));
    LM_TRY(want(k->warm[2] <= 0, "the third of warm", k->warm[2], "a number that is not above 0", err));
    if (!((unsigned)k->concentration < LM_CONCENTRATION_KINDS)) return LM_FAIL(err, LM_EBUG, "no such concentration");
    return want(k->scatter >= 0 && k->scatter <= 3, "scatter", k->scatter, "a number from 0 to 3", err);
}

/* ---- shapes -------------------------------------------------------------------------------------------------------- */

static double nfw_mass(double c)
{
    return log1p(c) - c / (1 + c);
}

/* r_50/r_s of a halo of concentration c: nfw_mass(x)/x^3 = nfw_mass(c)/(4 c^3), by Newton's method in ln x */
static double edge_50(double c)
{
    double wanted = log(nfw_mass(c) / (4 * c * c * c)), at = log(1.7 * c);
    for (int i = 0; i < 50; i++) {
        double x = exp(at), m = nfw_mass(x), share = x / (1 + x);
        double step = (log(m) - 3 * at - wanted) / (share * share / m - 3);
        at -= step;
        if (fabs(step) < 1e-10) break;
    }
    return exp(at);
}

/* A halo with concentration c, on the plane, at distance r from the host's centre. */
static lm_status shape(const lm_population *p, const plane *at, double mass, double c, double r, lm_halo *ret,
                       lm_error *err)
{
    lm_halo h = {.z = at->told.z, .m200 = mass, .c = c};
    LM_TRY(lm_lens_nfw_of_m200(&at->geometry, mass, c, &h.kappa_s, &h.theta_s, err));
    if (p->sub) h.tau = p->r_t0 * cbrt(mass / 1e7) * cbrt(r * r / 2500) / (h.theta_s * at->geometry.kpc_per_arcsec);
    else h.tau = edge_50(c);
    const lm_mass_param *range = &lm_mass_model_of(LM_MASS_TNFW)->params[2];
    h.tau = fmin(fmax(h.tau, range->min), range->max);
    *ret = h;
    return LM_OK;
}

static double median(const lm_population *p, double mass, double z)
{
    return lm_matter_concentration(p->matter, p->kind.concentration, mass, z) *
           lm_warm_concentration(p->kind.m_hm, mass, z);
}

/* ---- places of subhaloes ------------------------------------------------------------------------------------------- */

/* int_0^z dz/((a + z)(b + z)^2): partial fractions, or for b = a(1 + e), small e, the first two terms by e */
static double on_axis(double a, double b, double z)
{
    double e = (b - a) / a, s = a + z;
    if (fabs(e) < 1e-4) {
        double two = (1 / (a * a) - 1 / (s * s)) / 2, three = (1 / (a * a * a) - 1 / (s * s * s)) / 3;
        return two - 2 * e * a * three;
    }
    return log(s * b / (a * (b + z))) / ((b - a) * (b - a)) - (1 / b - 1 / (b + z)) / (b - a);
}

/* The way along the axis below which a fraction u of n lies: bisection, as every digit but the last is cheap and none can fail */
static double axis_quantile(const lm_population *p, double u)
{
    double a = p->r_core, b = p->r_s, wanted = u * on_axis(a, b, p->r_max), low = 0, high = p->r_max;
    for (int i = 0; i < 48; i++) {
        double middle = (low + high) / 2;
        if (on_axis(a, b, middle) < wanted) low = middle;
        else high = middle;
    }
    return (low + high) / 2;
}

/* n at distance R from the axis over n on it, at the same z */
static double beside(const lm_population *p, double R, double z)
{
    double r = hypot(R, z);
    if (!(r <= p->r_max)) return 0;
    double core = (p->r_core + z) / (p->r_core + r), outer = (p->r_s + z) / (p->r_s + r);
    return core * outer * outer;
}

/* ---- plans --------------------------------------------------------------------------------------------------------- */

static double node_mass(const lm_population *p, int i)
{
    return p->kind.m_min * exp(p->step * i);
}

/* int_0^t exp(s t) dt over exp(0) */
static double power_integral(double s, double t)
{
    return fabs(s * t) < 1e-12 ? t : expm1(s * t) / s;
}

static void add_up(lm_population *p, plane *at)
{
    at->below[0] = 0;
    for (int i = 1; i < NODES; i++) {
        double from = at->log_density[i - 1], to = at->log_density[i]; /* -infinity where there are none */
        double part = isfinite(from) && isfinite(to) ? exp(from) * power_integral((to - from) / p->step, p->step) : 0;
        at->below[i] = at->below[i - 1] + part;
    }
    at->cold = at->below[NODES - 1];
}

/* Places of equal weight on the axis and over the disc, each with the part that is kept there. */
static void fill_places(lm_population *p)
{
    p->places = p->sub ? PLACES : 1;
    p->weight[0] = 1;
    for (int j = 0; p->sub && j < ALONG; j++) {
        double z = axis_quantile(p, (j + 0.5) / ALONG);
        for (int i = 0; i < ACROSS; i++) {
            double R = p->disc * sqrt((i + 0.5) / ACROSS);
            p->r[j * ACROSS + i] = hypot(R, z);
            p->weight[j * ACROSS + i] = beside(p, R, z);
        }
    }
}

/* Mean mass of a halo: over scatter (three nodes of Gauss-Hermite), and of a subhalo over its places. */
static lm_status mean_mass(const lm_population *p, const plane *at, double mass, double *ret, lm_error *err)
{
    static const double way[] = {-1.7320508075688772, 0, 1.7320508075688772}, weight[] = {1.0 / 6, 2.0 / 3, 1.0 / 6};
    double sum = 0, all = 0, c = median(p, mass, at->told.z);
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < p->places; i++) {
            double w = weight[k] * p->weight[i], total;
            lm_halo h;
            if (!(w > 0)) continue;
            LM_TRY(shape(p, at, mass, c * exp(p->kind.scatter * way[k]), p->r[i], &h, err));
            LM_TRY(lm_lens_total_of_kappa_s(&at->geometry, h.kappa_s, h.theta_s, h.tau, &total, err));
            sum += w * total;
            all += w;
        }
    *ret = all > 0 ? sum / all : 0;
    return LM_OK;
}

/* The mean of what is kept, and its convergence: Simpson's rule over the nodes. */
static lm_status expect(const lm_population *p, plane *at, lm_error *err)
{
    double number = 0, mass = 0;
    if (at->cold > 0)
        for (int i = 0; i < NODES; i++) {
            double m = node_mass(p, i), one, weight = (i == 0 || i == NODES - 1 ? 1 : (i % 2 ? 4 : 2)) * p->step / 3;
            weight *= exp(at->log_density[i]) * lm_warm_number(p->kind.warm, p->kind.m_hm, m);
            LM_TRY(mean_mass(p, at, m, &one, err));
            number += weight;
            mass += weight * one;
        }
    at->told.mean = p->kind.m_hm > 0 ? number : at->cold;
    double area = M_PI * at->told.radius * at->told.radius * at->geometry.Sigma_cr_arcsec;
    at->told.sheet = area > 0 ? mass / area : 0;
    return LM_OK;
}

static lm_status finish(lm_population *p, lm_error *err)
{
    double all = 0;
    for (size_t i = 0; i < p->n; i++) {
        all += p->at[i].cold;
        if (!(all <= MOST))
            return LM_FAIL_HINT(err, LM_EINPUT, "Raise m_min, or lower radius.", "%g haloes are expected: %d at most",
                                all, MOST);
    }
    fill_places(p);
    for (size_t i = 0; i < p->n; i++) {
        p->at[i].told.x = p->kind.x;
        p->at[i].told.y = p->kind.y;
        LM_TRY(expect(p, &p->at[i], err));
    }
    return LM_OK;
}

static lm_status begin(const lm_matter *matter, const lm_halo_kind *kind, size_t n, lm_population **ret, lm_error *err)
{
    lm_population *p = lm_alloc(1, sizeof *p + n * sizeof(plane));
    if (!p) return LM_NOMEM(err);
    p->matter = matter;
    p->kind = *kind;
    p->step = log(kind->m_max / kind->m_min) / (NODES - 1);
    p->n = n;
    *ret = p;
    return LM_OK;
}

lm_status lm_population_of_subhaloes(const lm_matter *matter, double z_l, double z_s, const lm_subhalo_params *s,
                                     lm_population **ret, lm_error *err)
{
    LM_TRY(check_kind(&s->kind, err));
    LM_TRY(want(s->sigma_sub >= 0, "sigma_sub", s->sigma_sub, "0 or a number above it", err));
    LM_TRY(want(s->m0 > 0, "m0", s->m0, "a mass above 0", err));
    LM_TRY(want(fabs(s->slope) <= 10, "slope", s->slope, "a number from -10 to 10", err));
    LM_TRY(want(s->m_host > 0, "m_host", s->m_host, "a mass above 0", err));
    LM_TRY(want(fabs(s->k1) <= 10, "k1", s->k1, "a number from -10 to 10", err));
    LM_TRY(want(fabs(s->k2) <= 10, "k2", s->k2, "a number from -10 to 10", err));
    LM_TRY(want(s->core > 0, "core", s->core, "a number above 0", err));
    LM_TRY(want(s->r_t0 > 0, "r_t", s->r_t0, "a length above 0", err));
    lm_lens_geometry g;
    LM_TRY(lm_lens_geometry_of(&lm_matter_peek(matter)->cosmology, z_l, z_s, &g, err));
    LM_OWN(lm_population) p = NULL;
    LM_TRY(begin(matter, &s->kind, 1, &p, err));
    plane *at = p->at;
    p->sub = true;
    at->geometry = g;
    at->told = (lm_population_plane){.z = z_l, .radius = s->kind.radius};
    double c = isnan(s->c_host) ? lm_matter_concentration(matter, s->kind.concentration, s->m_host, z_l) : s->c_host;
    double kappa_s, theta_s;
    LM_TRY_IN(lm_lens_nfw_of_m200(&g, s->m_host, c, &kappa_s, &theta_s, err), err, "the host of the subhaloes");
    p->r_s = theta_s * g.kpc_per_arcsec;
    p->r_core = s->core * p->r_s;
    p->r_max = c * p->r_s;
    p->r_t0 = s->r_t0;
    p->disc = s->kind.radius * g.kpc_per_arcsec;
    if (!(p->disc < p->r_max))
        return LM_FAIL(err, LM_EINPUT, "radius = %g arcsec is %g kpc: beyond the host's r200 of %g kpc", s->kind.radius,
                       p->disc, p->r_max);
    double host = s->k1 * log10(s->m_host / 1e13) + s->k2 * log10(z_l + 0.5);
    double scale = log(s->sigma_sub * M_PI * p->disc * p->disc) + host * log(10);
    for (int i = 0; i < NODES; i++) at->log_density[i] = scale + (s->slope + 1) * log(node_mass(p, i) / s->m0);
    add_up(p, at);
    LM_TRY(finish(p, err));
    *ret = lm_take(p);
    return LM_OK;
}

/* The cone's radius at z in arcsec, and comoving: radius D_M in front of the lens, then closing as the light from the source does. */
static lm_status cone(const lm_cosmology *c, const lm_lens_geometry *g, double z, double radius, double *ret_angle,
                      double *ret_mpc, lm_error *err)
{
    double d_m, d_lz;
    LM_TRY(lm_cosmology_D_M(c, z, &d_m, err));
    *ret_angle = radius;
    if (z > g->z_l) {
        LM_TRY(lm_cosmology_D_A_between(c, g->z_l, z, &d_lz, err));
        *ret_angle *= fmax(0, 1 - g->D_s * d_lz * (1 + z) / (d_m * g->D_ls));
    }
    *ret_mpc = *ret_angle * LM_ARCSEC * d_m;
    return LM_OK;
}

/* Comoving volume between two redshifts: int pi X^2 dD_C, by three nodes of Gauss-Legendre in z */
static lm_status volume(const lm_cosmology *c, const lm_lens_geometry *g, double from, double to, double radius,
                        double *ret, lm_error *err)
{
    static const double node[] = {-0.77459666924148337704, 0, 0.77459666924148337704},
                        weight[] = {5.0 / 9, 8.0 / 9, 5.0 / 9};
    double sum = 0;
    for (int i = 0; i < 3; i++) {
        double z = (from + to) / 2 + (to - from) / 2 * node[i], e, angle, x;
        LM_TRY(lm_cosmology_E(c, z, &e, err));
        LM_TRY(cone(c, g, z, radius, &angle, &x, err));
        sum += weight[i] * (to - from) / 2 * M_PI * x * x * LM_LIGHT_KM_S / (c->H0 * e);
    }
    *ret = sum;
    return LM_OK;
}

static lm_status fill_plane(lm_population *p, const lm_field_params *f, const lm_lens_geometry *lens, double from,
                            double to, plane *at, lm_error *err)
{
    const lm_cosmology *c = &lm_matter_peek(p->matter)->cosmology;
    double z = (from + to) / 2, space = 0, mpc = 0;
    LM_TRY(lm_lens_geometry_of(c, z, lens->z_s, &at->geometry, err));
    LM_TRY(volume(c, lens, from, to, f->kind.radius, &space, err));
    at->told.z = z;
    LM_TRY(cone(c, lens, z, f->kind.radius, &at->told.radius, &mpc, err));
    for (int i = 0; i < NODES; i++)
        at->log_density[i] = log(f->delta_los * space * lm_matter_haloes(p->matter, node_mass(p, i), z));
    add_up(p, at);
    return LM_OK;
}

lm_status lm_population_of_field(const lm_matter *matter, double z_l, double z_s, const lm_field_params *f,
                                 lm_population **ret, lm_error *err)
{
    LM_TRY(check_kind(&f->kind, err));
    LM_TRY(want(f->delta_los >= 0, "delta_los", f->delta_los, "0 or a number above it", err));
    LM_TRY(want(f->dz > 0, "dz", f->dz, "a redshift above 0", err));
    lm_lens_geometry g;
    LM_TRY(lm_lens_geometry_of(&lm_matter_peek(matter)->cosmology, z_l, z_s, &g, err));
    LM_TRY(want(z_s <= 1000, "z_source", z_s, "a redshift up to 1000", err));
    double front = fmax(1, round(z_l / f->dz)), back = fmax(1, round((z_s - z_l) / f->dz));
    if (!(front + back <= MOST_PLANES))
        return LM_FAIL(err, LM_EINPUT, "dz = %g gives %g planes: %d at most", f->dz, front + back, MOST_PLANES);
    LM_OWN(lm_population) p = NULL;
    LM_TRY(begin(matter, &f->kind, (size_t)(front + back), &p, err));
    for (size_t i = 0; i < p->n; i++) {
        bool near = i < (size_t)front;
        double first = near ? 0 : z_l, step = near ? z_l / front : (z_s - z_l) / back,
               k = near ? (double)i : (double)i - front;
        LM_TRY(fill_plane(p, f, &g, first + step * k, first + step * (k + 1), &p->at[i], err));
    }
    LM_TRY(finish(p, err));
    *ret = lm_take(p);
    return LM_OK;
}

lm_population *lm_population_free(lm_population *p)
{
    return lm_free(p);
}

size_t lm_population_planes(const lm_population *p)
{
    return p->n;
}

const lm_population_plane *lm_population_plane_at(const lm_population *p, size_t i)
{
    return &p->at[i].told;
}

double lm_population_below(const lm_population *p, size_t i, double mass)
{
    const plane *at = &p->at[i];
    double steps = log(mass / p->kind.m_min) / p->step;
    if (!(steps > 0)) return isnan(steps) ? steps : 0;
    if (steps >= NODES - 1) return 1;
    int k = (int)steps;
    double slope = (at->log_density[k + 1] - at->log_density[k]) / p->step;
    return (at->below[k] + exp(at->log_density[k]) * power_integral(slope, (steps - k) * p->step)) / at->cold;
}

/* ---- draws --------------------------------------------------------------------------------------------------------- */

/* The mass below which `wanted` haloes of the plane lie. */
static double mass_at(const lm_population *p, const plane *at, double wanted)
{
    int low = 0, high = NODES - 1;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (at->below[middle] <= wanted) low = middle;
        else high = middle;
    }
    double slope = (at->log_density[high] - at->log_density[low]) / p->step;
    double part = (wanted - at->below[low]) / exp(at->log_density[low]);
    double way = fabs(slope * p->step) < 1e-12 ? part : log1p(slope * part) / slope;
    return node_mass(p, low) * exp(fmin(fmax(way, 0), p->step));
}

static void disc(const lm_draw *draw, double radius, double *ret_x, double *ret_y)
{
    double r = radius * sqrt(lm_draw_uniform(draw)), angle = 2 * M_PI * lm_draw_uniform(draw);
    *ret_x = r * cos(angle);
    *ret_y = r * sin(angle);
}

/* A place within the disc, kpc; *ret_r: the distance from the host's centre */
static lm_status place(const lm_population *p, const lm_draw *draw, double *ret_x, double *ret_y, double *ret_r,
                       lm_error *err)
{
    for (int tries = 0; tries < 1000000; tries++) {
        double x, y, z = axis_quantile(p, lm_draw_uniform(draw));
        disc(draw, p->disc, &x, &y);
        double R = hypot(x, y);
        if (!(lm_draw_uniform(draw) < beside(p, R, z))) continue;
        *ret_x = x;
        *ret_y = y;
        *ret_r = hypot(R, z);
        return LM_OK;
    }
    return LM_FAIL(err, LM_EINPUT, "no place for a subhalo: core = %g kpc is too small beside the disc of %g kpc",
                   p->r_core, p->disc);
}

static lm_status draw_halo(const lm_population *p, const plane *at, const lm_draw *draw, double mass, lm_halo *ret,
                           lm_error *err)
{
    double c = median(p, mass, at->told.z) * exp(p->kind.scatter * lm_draw_normal(draw)), x, y, r = 0;
    if (p->sub) {
        LM_TRY(place(p, draw, &x, &y, &r, err));
        x /= at->geometry.kpc_per_arcsec;
        y /= at->geometry.kpc_per_arcsec;
    } else {
        disc(draw, at->told.radius, &x, &y);
    }
    LM_TRY(shape(p, at, mass, c, r, ret, err));
    ret->x = p->kind.x + x;
    ret->y = p->kind.y + y;
    return LM_OK;
}

lm_status lm_population_draw(const lm_population *p, const lm_draw *draw, lm_halo **ret, size_t *ret_n, lm_error *err)
{
    LM_OWN(lm_memory) list = NULL;
    size_t n = 0, room = 0;
    for (size_t i = 0; i < p->n; i++) {
        const plane *at = &p->at[i];
        /* arrivals of a Poisson process: their number before `cold` is Poisson, and costs no more than the haloes do */
        for (double arrived = -log1p(-lm_draw_uniform(draw)); arrived < at->cold;
             arrived -= log1p(-lm_draw_uniform(draw))) {
            double mass = mass_at(p, at, at->cold * lm_draw_uniform(draw));
            if (p->kind.m_hm > 0 && !(lm_draw_uniform(draw) < lm_warm_number(p->kind.warm, p->kind.m_hm, mass)))
                continue;
            if (!lm_grow(&list, n, &room, sizeof(lm_halo))) return LM_NOMEM(err);
            LM_TRY(draw_halo(p, at, draw, mass, (lm_halo *)list + n, err));
            n++;
        }
    }
    *ret = lm_take(list);
    *ret_n = n;
    return LM_OK;
}
