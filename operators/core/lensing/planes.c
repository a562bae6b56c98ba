/* Several lens planes: the geometry, made once, and rays carried through it in blocks that stay in the nearest cache.
 *
 * X(chi) is the ray's comoving distance from the axis. Between planes X'' = -K X, K the curvature, so that over a step
 * of s = sin_K and c = cos_K of the comoving distance, X' goes with it by
 *
 *   X -> c X + s X',   X' -> c X' - K s X,     and at a plane  X' -> X' - D(0,s)/D(i,s) alpha_i(X/D(0,i))
 *
 * What is carried is (u, v), by how much the ray (X, X') lies off the one that is not bent, with the distance to the
 * source as the unit of length: theta_i = theta - u/chi_i, beta = theta - u.
 */
#include "operators/core/lensing/planes.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* ---- geometry ---------------------------------------------------------------------------------------------------- */

/* A plane, and the way from it to the next one or to the source. */
typedef struct {
    double chi;           /* D(0,i)/D(0,s) */
    double c, s, ks;      /* cos_K; sin_K and K sin_K in units of D(0,s) and its inverse */
    double strength;      /* D(0,s)/D(i,s) */
    double per_potential; /* days per arcsec^2 of psi: D(0,i) D(0,s)/(c D(i,s)) */
    double per_bend;      /* days per arcsec^2 of |theta_i - theta_{i+1}|^2/2 */
    size_t first, last;   /* its masses: lists[order[first .. last - 1]] */
    bool holds;           /* any mass at all */
} hop;

struct lm_planes {
    hop *hops;
    size_t n_hops, n_lists;
    lm_plane *lists; /* as given */
    size_t *order;   /* by redshift */
    size_t *hop_of;  /* of each list */
};

lm_planes *lm_planes_free(lm_planes *planes)
{
    if (!planes) return NULL;
    lm_free(planes->hops);
    lm_free(planes->lists);
    lm_free(planes->order);
    lm_free(planes->hop_of);
    return lm_free(planes);
}

/* Days per arcsec^2 of a time-delay distance. */
static double days_of(double mpc)
{
    return mpc * LM_MPC_KM / LM_LIGHT_KM_S / LM_DAY_S * LM_ARCSEC * LM_ARCSEC;
}

static lm_status between(const lm_cosmology *k, double z1, double z2, double *ret, lm_error *err)
{
    LM_TRY(lm_cosmology_D_A_between(k, z1, z2, ret, err));
    *ret *= 1 + z2;
    return LM_OK;
}

static bool same_redshift(double z1, double z2)
{
    return z2 - z1 <= LM_PLANES_APART * (1 + z1);
}

static lm_status check(const lm_plane *planes, size_t n, double z_s, lm_error *err)
{
    for (size_t i = 0; i < n; i++) {
        double z = planes[i].z;
        if (!(isfinite(z) && z > 0))
            return LM_FAIL(err, LM_EINPUT, "lens plane %zu has redshift z = %g: it must be above 0", i, z);
        if (!(z < z_s && !same_redshift(z, z_s)))
            return LM_FAIL_HINT(err, LM_EINPUT, "Leave out masses that are not in front of the source.",
                                "lens plane %zu at z = %.10g is not in front of the source at z_s = %.10g", i, z, z_s);
    }
    return LM_OK;
}

/* Insertion: planes are few, and mostly sorted; equal ones keep their order. */
static void sort(const lm_plane *planes, size_t n, size_t *order)
{
    for (size_t i = 0; i < n; i++) {
        size_t at = i;
        for (; at > 0 && planes[order[at - 1]].z > planes[i].z; at--) order[at] = order[at - 1];
        order[at] = i;
    }
}

/* The way from a plane at z to what lies at z_next. K is in 1/Mpc^2. */
static lm_status fill(hop *h, const lm_cosmology *k, double z, double z_next, double z_s, lm_error *err)
{
    double here, next, way, far, left, path[2], curvature = -(1 - k->Omega_m - k->Omega_de) * k->H0 * k->H0;
    curvature /= LM_LIGHT_KM_S * LM_LIGHT_KM_S;
    LM_TRY(lm_cosmology_D_M(k, z_s, &far, err));
    LM_TRY(lm_cosmology_D_M(k, z, &here, err));
    LM_TRY(lm_cosmology_D_M(k, z_next, &next, err));
    LM_TRY(between(k, z, z_next, &way, err));
    LM_TRY(between(k, z, z_s, &left, err));
    LM_TRY(lm_cosmology_D_C(k, z, &path[0], err));
    LM_TRY(lm_cosmology_D_C(k, z_next, &path[1], err));
    double angle = sqrt(fabs(curvature)) * (path[1] - path[0]);
    h->chi = here / far;
    h->c = curvature > 0 ? cos(angle) : cosh(angle);
    h->s = way / far;
    h->ks = curvature * way * far;
    h->strength = far / left;
    h->per_potential = days_of(here * far / left);
    h->per_bend = days_of(here * next / way);
    return LM_OK;
}

lm_status lm_planes_new(const lm_cosmology *cosmology, double z_s, const lm_plane *planes, size_t n, lm_planes **ret,
                        lm_error *err)
{
    double far;
    LM_TRY(lm_cosmology_D_M(cosmology, z_s, &far, err));
    if (!(far > 0)) return LM_FAIL(err, LM_EINPUT, "source redshift z_s = %g is not above 0", z_s);
    LM_TRY(check(planes, n, z_s, err));
    LM_OWN(lm_planes) p = lm_alloc(1, sizeof *p);
    if (!p) return LM_NOMEM(err);
    p->hops = lm_alloc(n + 1, sizeof *p->hops);
    p->lists = lm_alloc(n + 1, sizeof *p->lists);
    p->order = lm_alloc(n + 1, sizeof *p->order);
    p->hop_of = lm_alloc(n + 1, sizeof *p->hop_of);
    if (!p->hops || !p->lists || !p->order || !p->hop_of) return LM_NOMEM(err);
    p->n_lists = n;
    if (n) memcpy(p->lists, planes, n * sizeof *planes);
    sort(planes, n, p->order);
    for (size_t i = 0; i < n;) {
        hop *h = &p->hops[p->n_hops];
        double z = planes[p->order[i]].z;
        for (h->first = i; i < n && same_redshift(z, planes[p->order[i]].z); i++) {
            p->hop_of[p->order[i]] = p->n_hops;
            h->holds |= planes[p->order[i]].n > 0;
        }
        h->last = i;
        double z_next = i < n ? planes[p->order[i]].z : z_s;
        LM_TRY_IN(fill(h, cosmology, z, z_next, z_s, err), err, "lens plane at z = %.10g", z);
        p->n_hops++;
    }
    *ret = lm_take(p);
    return LM_OK;
}

size_t lm_planes_count(const lm_planes *planes)
{
    return planes->n_hops;
}

size_t lm_planes_of(const lm_planes *planes, size_t k)
{
    return planes->hop_of[k];
}

/* ---- rays -------------------------------------------------------------------------------------------------------- */

enum { BLOCK = 128 };
typedef double lane[BLOCK];

/* Rays on their way: n of them. Matrices are xx, xy, yx, yy. */
typedef struct {
    size_t n;
    lane x, y;       /* theta_i on the plane at hand */
    lane u[2], v[2]; /* off the unbent ray */
    lane a[4];       /* d theta_i/d theta */
    lane du[4], dv[4];
    lane psi, ax, ay, kappa, g1, g2; /* of the plane's masses */
} beam;

static void clear(size_t n, lane *lanes, size_t n_lanes)
{
    for (size_t k = 0; k < n_lanes; k++) memset(lanes[k], 0, n * sizeof *lanes[k]);
}

static void carry(const hop *h, size_t n, double *restrict u, double *restrict v)
{
    double c = h->c, s = h->s, ks = h->ks;
    for (size_t i = 0; i < n; i++) {
        double from = u[i];
        u[i] = c * from + s * v[i];
        v[i] = c * v[i] - ks * from;
    }
}

static void arrive(beam *b, double chi, const double *x, const double *y)
{
    for (size_t i = 0; i < b->n; i++) {
        b->x[i] = x[i] - b->u[0][i] / chi;
        b->y[i] = y[i] - b->u[1][i] / chi;
    }
}

static void arrive_matrix(size_t n, double chi, double diagonal, lane *du, lane *a)
{
    for (size_t k = 0; k < 4; k++) {
        double one = k == 0 || k == 3 ? diagonal : 0;
        for (size_t i = 0; i < n; i++) a[k][i] = one - du[k][i] / chi;
    }
}

/* What the masses of a plane do where the rays meet it; second: kappa and the shear are wanted too. */
static void look(const lm_planes *planes, const hop *h, beam *b, bool psi, bool second)
{
    double *all[] = {b->psi, b->ax, b->ay, b->kappa, b->g1, b->g2};
    for (size_t k = psi ? 0 : 1; k < (second ? 6 : 3); k++) memset(all[k], 0, b->n * sizeof *all[k]);
    lm_mass_maps maps = {.psi = psi ? b->psi : NULL, .alpha_x = b->ax, .alpha_y = b->ay};
    if (second) maps.kappa = b->kappa, maps.gamma1 = b->g1, maps.gamma2 = b->g2;
    for (size_t l = h->first; l < h->last; l++) {
        const lm_plane *list = &planes->lists[planes->order[l]];
        for (size_t m = 0; m < list->n; m++) lm_mass_add(&list->masses[m], b->n, b->x, b->y, &maps);
    }
}

/* v += strength alpha */
static void bend(const hop *h, beam *b)
{
    for (size_t i = 0; i < b->n; i++) {
        b->v[0][i] += h->strength * b->ax[i];
        b->v[1][i] += h->strength * b->ay[i];
    }
}

/* to += strength [[kappa + g1, g2], [g2, kappa - g1]] a */
static void bend_matrix(const hop *h, size_t n, const double *kappa, const double *g1, const double *g2, lane *a,
                        lane *to)
{
    for (size_t i = 0; i < n; i++) {
        double xx = h->strength * (kappa[i] + g1[i]), xy = h->strength * g2[i], yy = h->strength * (kappa[i] - g1[i]);
        to[0][i] += xx * a[0][i] + xy * a[2][i];
        to[1][i] += xx * a[1][i] + xy * a[3][i];
        to[2][i] += xy * a[0][i] + yy * a[2][i];
        to[3][i] += xy * a[1][i] + yy * a[3][i];
    }
}

static void put(double *to, size_t n, const double *from)
{
    if (to) memcpy(to, from, n * sizeof *to);
}

static void put_matrix(const lm_trace *ret, size_t from, size_t n, lane *a)
{
    double *to[] = {ret->a_xx, ret->a_xy, ret->a_yx, ret->a_yy};
    for (size_t k = 0; k < 4; k++) put(to[k] ? to[k] + from : NULL, n, a[k]);
}

static bool wants_matrix(const lm_trace *ret)
{
    return ret->a_xx || ret->a_xy || ret->a_yx || ret->a_yy;
}

static double chi_after(const lm_planes *planes, size_t j)
{
    return j + 1 < planes->n_hops ? planes->hops[j + 1].chi : 1;
}

/* The rays of a block, by what is told for all of them. */
static void trace_block(const lm_planes *planes, beam *b, size_t from, size_t n_all, const double *x, const double *y,
                        const lm_trace *ret)
{
    bool matrix = wants_matrix(ret);
    double *days = ret->days ? ret->days + from : NULL;
    size_t n = b->n;
    clear(n, b->u, 2), clear(n, b->v, 2);
    if (matrix) clear(n, b->du, 4), clear(n, b->dv, 4);
    if (days) memset(days, 0, n * sizeof *days);
    for (size_t j = 0; j < planes->n_hops; j++) {
        const hop *h = &planes->hops[j];
        double chi = h->chi, next = chi_after(planes, j);
        arrive(b, chi, x, y);
        put(ret->theta_x ? ret->theta_x + j * n_all + from : NULL, n, b->x);
        put(ret->theta_y ? ret->theta_y + j * n_all + from : NULL, n, b->y);
        if (h->holds) {
            look(planes, h, b, days, matrix);
            bend(h, b);
            if (matrix) {
                arrive_matrix(n, chi, 1, b->du, b->a);
                bend_matrix(h, n, b->kappa, b->g1, b->g2, b->a, b->dv);
            }
        } else if (days) clear(n, &b->psi, 1);
        if (days) /* the deviations' difference: theta_i - theta_{i+1} without theta */
            for (size_t i = 0; i < n; i++) b->x[i] = b->u[0][i] / chi, b->y[i] = b->u[1][i] / chi;
        for (size_t k = 0; k < 2; k++) carry(h, n, b->u[k], b->v[k]);
        if (matrix)
            for (size_t k = 0; k < 4; k++) carry(h, n, b->du[k], b->dv[k]);
        if (days)
            for (size_t i = 0; i < n; i++) {
                double dx = b->u[0][i] / next - b->x[i], dy = b->u[1][i] / next - b->y[i];
                days[i] += h->per_bend * (dx * dx + dy * dy) / 2 - h->per_potential * b->psi[i];
            }
    }
    arrive(b, 1, x, y);
    put(ret->beta_x ? ret->beta_x + from : NULL, n, b->x);
    put(ret->beta_y ? ret->beta_y + from : NULL, n, b->y);
    if (matrix) {
        arrive_matrix(n, 1, 1, b->du, b->a);
        put_matrix(ret, from, n, b->a);
    }
}

void lm_planes_trace(const lm_planes *planes, size_t n, const double *x, const double *y, const lm_trace *ret)
{
    beam b;
    for (size_t from = 0; from < n; from += b.n) {
        b.n = n - from < BLOCK ? n - from : BLOCK;
        trace_block(planes, &b, from, n, x + from, y + from, ret);
    }
}

/* ---- derivatives ------------------------------------------------------------------------------------------------- */

/* Of a beam, by the parameter. */
typedef struct {
    double seed[2]; /* d theta */
    lane x, y, u[2], v[2], a[4], du[4], dv[4];
    lane psi, ax, ay;      /* of the one mass, at fixed theta_i */
    lane kappa, g1, g2;    /* of the plane, along the moving ray */
    lane by_x[3], by_y[3]; /* kappa, g1, g2 by position */
} tangent;

/* d kappa and d gamma where the rays move by (t->x, t->y): kappa, g1 and g2 hold what the parameter itself does. */
static void look_along(const lm_planes *planes, const hop *h, const beam *b, tangent *t)
{
    clear(b->n, t->by_x, 3), clear(b->n, t->by_y, 3);
    lm_mass_maps by_x = {.kappa = t->by_x[0], .gamma1 = t->by_x[1], .gamma2 = t->by_x[2]};
    lm_mass_maps by_y = {.kappa = t->by_y[0], .gamma1 = t->by_y[1], .gamma2 = t->by_y[2]};
    for (size_t l = h->first; l < h->last; l++) {
        const lm_plane *list = &planes->lists[planes->order[l]];
        for (size_t m = 0; m < list->n; m++) {
            lm_mass_derive(&list->masses[m], LM_BY_X, b->n, b->x, b->y, &by_x);
            lm_mass_derive(&list->masses[m], LM_BY_Y, b->n, b->x, b->y, &by_y);
        }
    }
    double *to[] = {t->kappa, t->g1, t->g2};
    for (size_t k = 0; k < 3; k++)
        for (size_t i = 0; i < b->n; i++) to[k][i] += t->by_x[k][i] * t->x[i] + t->by_y[k][i] * t->y[i];
}

/* At a plane that holds masses; own: the mass whose parameter it is, if it lies here. */
static void bend_tangent(const lm_planes *planes, const hop *h, const lm_mass *own, int by, bool moved, bool matrix,
                         beam *b, tangent *t)
{
    size_t n = b->n;
    double *all[] = {t->psi, t->ax, t->ay, t->kappa, t->g1, t->g2};
    for (size_t k = 0; k < 6; k++) memset(all[k], 0, n * sizeof *all[k]);
    if (own) {
        lm_mass_maps maps = {.psi = t->psi, .alpha_x = t->ax, .alpha_y = t->ay};
        if (matrix) maps.kappa = t->kappa, maps.gamma1 = t->g1, maps.gamma2 = t->g2;
        lm_mass_derive(own, by, n, b->x, b->y, &maps);
    }
    for (size_t i = 0; i < n; i++) {
        double dx = t->x[i], dy = t->y[i], kappa = b->kappa[i], g1 = b->g1[i], g2 = b->g2[i];
        t->v[0][i] += h->strength * (t->ax[i] + (kappa + g1) * dx + g2 * dy);
        t->v[1][i] += h->strength * (t->ay[i] + g2 * dx + (kappa - g1) * dy);
    }
    if (!matrix) return;
    if (moved) look_along(planes, h, b, t);
    bend_matrix(h, n, b->kappa, b->g1, b->g2, t->a, t->dv);
    bend_matrix(h, n, t->kappa, t->g1, t->g2, b->a, t->dv);
}

static void arrive_tangent(size_t n, double chi, bool matrix, tangent *t)
{
    for (size_t i = 0; i < n; i++) {
        t->x[i] = t->seed[0] - t->u[0][i] / chi;
        t->y[i] = t->seed[1] - t->u[1][i] / chi;
    }
    if (matrix) arrive_matrix(n, chi, 0, t->du, t->a);
}

/* The time is stationary in all positions before the source (Fermat): what changes it is the mass's own potential, and
 * theta_s by the last stretch's (theta_s - theta_N) . d theta_s. */
static void derive_block(const lm_planes *planes, const lm_mass *mass, size_t at, int by, beam *b, tangent *t,
                         size_t from, size_t n_all, const double *x, const double *y, const lm_trace *ret)
{
    bool matrix = wants_matrix(ret), moved = by < 0;
    double *days = ret->days ? ret->days + from : NULL;
    size_t n = b->n;
    lane last[2] = {{0}};
    clear(n, b->u, 2), clear(n, b->v, 2), clear(n, t->u, 2), clear(n, t->v, 2);
    clear(n, b->du, 4), clear(n, b->dv, 4), clear(n, t->du, 4), clear(n, t->dv, 4);
    if (days) memset(days, 0, n * sizeof *days);
    for (size_t j = 0; j < planes->n_hops; j++) {
        const hop *h = &planes->hops[j];
        arrive(b, h->chi, x, y);
        arrive_tangent(n, h->chi, matrix, t);
        put(ret->theta_x ? ret->theta_x + j * n_all + from : NULL, n, t->x);
        put(ret->theta_y ? ret->theta_y + j * n_all + from : NULL, n, t->y);
        bool own = mass && j == at;
        if (h->holds) {
            look(planes, h, b, false, moved || own || matrix);
            bend(h, b);
            if (matrix) {
                arrive_matrix(n, h->chi, 1, b->du, b->a);
                bend_matrix(h, n, b->kappa, b->g1, b->g2, b->a, b->dv);
            }
            if (moved || own) bend_tangent(planes, h, own ? mass : NULL, by, moved, matrix, b, t);
        }
        if (own && days)
            for (size_t i = 0; i < n; i++) days[i] -= h->per_potential * t->psi[i];
        moved |= own;
        for (size_t i = 0; i < n; i++) last[0][i] = b->u[0][i] / h->chi, last[1][i] = b->u[1][i] / h->chi;
        for (size_t k = 0; k < 2; k++) carry(h, n, b->u[k], b->v[k]), carry(h, n, t->u[k], t->v[k]);
        if (matrix)
            for (size_t k = 0; k < 4; k++) carry(h, n, b->du[k], b->dv[k]), carry(h, n, t->du[k], t->dv[k]);
    }
    arrive_tangent(n, 1, matrix, t);
    put(ret->beta_x ? ret->beta_x + from : NULL, n, t->x);
    put(ret->beta_y ? ret->beta_y + from : NULL, n, t->y);
    if (matrix) put_matrix(ret, from, n, t->a);
    if (!days || !planes->n_hops) return;
    double per_bend = planes->hops[planes->n_hops - 1].per_bend;
    for (size_t i = 0; i < n; i++)
        days[i] -= per_bend * ((b->u[0][i] - last[0][i]) * t->x[i] + (b->u[1][i] - last[1][i]) * t->y[i]);
}

void lm_planes_derive(const lm_planes *planes, size_t k, size_t mass, int by, size_t n, const double *x,
                      const double *y, const lm_trace *ret)
{
    const lm_mass *own = by < 0 ? NULL : &planes->lists[k].masses[mass];
    size_t at = by < 0 ? 0 : planes->hop_of[k];
    beam b;
    tangent t = {.seed = {by == LM_BY_X, by == LM_BY_Y}};
    for (size_t from = 0; from < n; from += b.n) {
        b.n = n - from < BLOCK ? n - from : BLOCK;
        derive_block(planes, own, at, by, &b, &t, from, n, x + from, y + from, ret);
    }
}

/* ---- the mass within a circle ------------------------------------------------------------------------------------ */

/* Gauss-Legendre of 16 points on [-1, 1]: the positive half of the nodes, and their weights */
enum { HALF = 8, NODES = 4 * HALF };
static const double nodes[HALF][2] = {
    {0.09501250983763744019, 0.18945061045506849629}, {0.28160355077925891323, 0.18260341504492358887},
    {0.45801677765722738634, 0.16915651939500253819}, {0.61787624440264374845, 0.14959598881657673208},
    {0.75540440835500303390, 0.12462897125553387205}, {0.86563120238783174388, 0.09515851168249278481},
    {0.94457502307323257608, 0.06225352393864789286}, {0.98940093499164993260, 0.02715245941175409485},
};

/* Integral of alpha . e_r from phi - to to phi - from and from phi + from to phi + to. */
static double in_panels(const lm_mass *mass, double x, double y, double radius, double phi, double from, double to)
{
    double c[NODES], s[NODES], w[NODES], at_x[NODES], at_y[NODES], ax[NODES] = {0}, ay[NODES] = {0}, sum = 0;
    double middle = (from + to) / 2, half = (to - from) / 2;
    for (int i = 0; i < NODES; i++) {
        const double *node = nodes[i / 4];
        double off = middle + (i & 1 ? half : -half) * node[0], angle = phi + (i & 2 ? off : -off);
        c[i] = cos(angle), s[i] = sin(angle), w[i] = half * node[1];
        at_x[i] = x + radius * c[i], at_y[i] = y + radius * s[i];
    }
    lm_mass_add(mass, NODES, at_x, at_y, &(lm_mass_maps){.alpha_x = ax, .alpha_y = ay});
    for (int i = 0; i < NODES; i++) sum += w[i] * (ax[i] * c[i] + ay[i] * s[i]);
    return sum;
}

/* Where the rim passes a mass's centre at a distance d, alpha changes over an angle of d/radius: panels that halve
 * towards there, down to a fraction of it, integrate at the same rate wherever the mass lies. */
static double rim(const lm_mass *mass, double x, double y, double radius)
{
    const lm_mass_model *model = lm_mass_model_of(mass->kind);
    double dx = mass->p[model->centre] - x, dy = mass->p[model->centre + 1] - y;
    double phi = dx != 0 || dy != 0 ? atan2(dy, dx) : 0, near = fabs(hypot(dx, dy) / radius - 1) / 16;
    double to = M_PI, sum = 0;
    for (; to > near && to > 1e-8; to /= 2) /* nearer to a centre on the rim, a point's alpha . e_r is all rounding */
        sum += in_panels(mass, x, y, radius, phi, to / 2, to);
    return sum + in_panels(mass, x, y, radius, phi, 0, to);
}

lm_status lm_aperture_kappa(const lm_mass *masses, size_t n, double x, double y, double radius, double *ret,
                            lm_error *err)
{
    if (!(isfinite(radius) && radius > 0))
        return LM_FAIL(err, LM_EINPUT, "an aperture of radius %g arcsec: it must be above 0", radius);
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double one = rim(&masses[i], x, y, radius) / (2 * M_PI * radius);
        if (!isfinite(one))
            return LM_FAIL(err, LM_EINPUT, "the convergence of mass %zu within %g arcsec of (%g, %g) is not finite", i,
                           radius, x, y);
        sum += one;
    }
    *ret = sum;
    return LM_OK;
}

lm_status lm_aperture_sheet(const lm_mass *masses, size_t n, double x, double y, double radius, lm_mass *ret,
                            lm_error *err)
{
    double mean;
    LM_TRY(lm_aperture_kappa(masses, n, x, y, radius, &mean, err));
    *ret = (lm_mass){LM_MASS_SHEET, {-mean, x, y}};
    return LM_OK;
}
