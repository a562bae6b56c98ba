/* Contours by marching squares (Lorensen & Cline 1987, in two dimensions): an edge of a cell on which the eigenvalue
 * changes its sign carries a point of a curve, and a cell joins the points on its edges in pairs. Each point has
 * therefore at most two neighbours, and walking from one to the next gives the curves.
 */
#include "operators/core/lensing/critical.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CELLS_MOST 16777216.0
#define NOWHERE SIZE_MAX

typedef struct {
    double x, y;
    size_t next[2]; /* the points before and after, in no order; NOWHERE */
    bool walked;
} vertex;

typedef struct {
    const lm_mass *masses;
    size_t n_masses;
    bool radial;
    size_t n;            /* vertices a side of the grid */
    double x0, y0, h;    /* its lower left vertex, its step */
    double *value;       /* [n][n]: the eigenvalue */
    size_t *across, *up; /* [n][n]: the point on the edge from vertex (i, j) to (i+1, j), and to (i, j+1); NOWHERE */
    vertex *points;
    size_t n_points, points_cap;
    lm_curves *to;
    size_t curves_cap;
} contours;

static double eigenvalue(const contours *c, double x, double y)
{
    double kappa = 0, g1 = 0, g2 = 0;
    lm_mass_maps maps = {.kappa = &kappa, .gamma1 = &g1, .gamma2 = &g2};
    for (size_t i = 0; i < c->n_masses; i++) lm_mass_add(&c->masses[i], 1, &x, &y, &maps);
    return 1 - kappa + (c->radial ? 1 : -1) * hypot(g1, g2);
}

/* ---- points ------------------------------------------------------------------------------------------------------ */

/* The zero between two ends of unlike sign: by secants, with a bisection in every other step. */
static vertex zero_between(const contours *c, double x, double y, double at_low, double dx, double dy, double at_high)
{
    double low = 0, high = 1;
    for (int i = 0; i < 120 && high - low > 1e-16; i++) {
        double middle = i % 2 ? (low + high) / 2 : low + (high - low) * (at_low / (at_low - at_high));
        if (!(middle > low && middle < high)) middle = (low + high) / 2;
        if (middle == low || middle == high) break;
        double value = eigenvalue(c, x + middle * dx, y + middle * dy);
        if (value == 0) {
            low = high = middle;
            break;
        }
        if ((value < 0) == (at_low < 0)) low = middle, at_low = value;
        else high = middle, at_high = value;
    }
    double t = fabs(at_low) < fabs(at_high) ? low : high;
    return (vertex){x + t * dx, y + t * dy, {NOWHERE, NOWHERE}, false};
}

static lm_status add_point(contours *c, size_t i, size_t j, size_t di, size_t dj, size_t *ret, lm_error *err)
{
    double from = c->value[j * c->n + i], to = c->value[(j + dj) * c->n + i + di];
    if ((from < 0) == (to < 0)) return LM_OK;
    if (!lm_grow(&c->points, c->n_points, &c->points_cap, sizeof *c->points)) return LM_NOMEM(err);
    c->points[c->n_points] = zero_between(c, c->x0 + (double)i * c->h, c->y0 + (double)j * c->h, from,
                                          (double)di * c->h, (double)dj * c->h, to);
    *ret = c->n_points++;
    return LM_OK;
}

static void join(contours *c, size_t a, size_t b)
{
    c->points[a].next[c->points[a].next[0] != NOWHERE] = b;
    c->points[b].next[c->points[b].next[0] != NOWHERE] = a;
}

/* Joins the points on the edges of a cell. Four of them: its middle tells which two corners hang together. */
static void join_cell(contours *c, size_t i, size_t j)
{
    size_t at = j * c->n + i, edges[4] = {c->across[at], c->up[at + 1], c->across[at + c->n], c->up[at]};
    size_t found[4], n = 0;
    for (int k = 0; k < 4; k++)
        if (edges[k] != NOWHERE) found[n++] = edges[k];
    if (n == 2) join(c, found[0], found[1]);
    if (n != 4) return;
    double middle = eigenvalue(c, c->x0 + ((double)i + 0.5) * c->h, c->y0 + ((double)j + 0.5) * c->h);
    bool with_lower_left = (middle < 0) == (c->value[at] < 0);
    join(c, edges[0], edges[with_lower_left ? 1 : 3]);
    join(c, edges[2], edges[with_lower_left ? 3 : 1]);
}

/* ---- curves ------------------------------------------------------------------------------------------------------ */

/* A point of a curve, with what the area needs. */
typedef struct {
    double x, y, beta_x, beta_y;
    double tx, ty;     /* unit tangent of the curve, one of the two */
    double xx, xy, yy; /* A */
} station;

static station station_of(const contours *c, double x, double y)
{
    double ax = 0, ay = 0, kappa = 0, g1 = 0, g2 = 0, kx = 0, ky = 0, g1x = 0, g1y = 0, g2x = 0, g2y = 0;
    lm_mass_maps at = {NULL, &ax, &ay, &kappa, &g1, &g2};
    lm_mass_maps by_x = {.kappa = &kx, .gamma1 = &g1x, .gamma2 = &g2x};
    lm_mass_maps by_y = {.kappa = &ky, .gamma1 = &g1y, .gamma2 = &g2y};
    for (size_t i = 0; i < c->n_masses; i++) {
        lm_mass_add(&c->masses[i], 1, &x, &y, &at);
        lm_mass_derive(&c->masses[i], LM_BY_X, 1, &x, &y, &by_x);
        lm_mass_derive(&c->masses[i], LM_BY_Y, 1, &x, &y, &by_y);
    }
    double sign = c->radial ? 1 : -1, gamma = hypot(g1, g2);
    double dx = -kx + sign * (g1 * g1x + g2 * g2x) / gamma, dy = -ky + sign * (g1 * g1y + g2 * g2y) / gamma;
    double length = hypot(dx, dy);
    station s = {x, y, x - ax, y - ay, -dy / length, dx / length, 1 - kappa - g1, -g2, 1 - kappa + g1};
    if (!isfinite(s.tx) || !isfinite(s.ty)) s.tx = s.ty = 0; /* at a crossing: no tangent, the chord will do */
    return s;
}

/* Integral of (x dy - y dx)/2 along the cubic from p to q with derivatives u and v there (as a Bezier curve). */
static double swept(const double p[2], const double q[2], const double u[2], const double v[2])
{
    double b[4][2];
    for (int k = 0; k < 2; k++) b[0][k] = p[k], b[1][k] = p[k] + u[k] / 3, b[2][k] = q[k] - v[k] / 3, b[3][k] = q[k];
#define CROSS(i, j) (b[i][0] * b[j][1] - b[i][1] * b[j][0])
    return (6 * CROSS(0, 1) + 3 * CROSS(0, 2) + CROSS(0, 3) + 3 * CROSS(1, 2) + 3 * CROSS(1, 3) + 6 * CROSS(2, 3)) / 20;
#undef CROSS
}

/* Adds what two neighbours sweep around the origin o in the lens plane, and around its image in the source plane. */
static void add_swept(const station *p, const station *q, const station *o, double *area, double *area_source)
{
    double cx = q->x - p->x, cy = q->y - p->y, length = hypot(cx, cy), u[2][2], w[2][2];
    const station *ends[2] = {p, q};
    for (int k = 0; k < 2; k++) {
        const station *e = ends[k];
        double along = e->tx * cx + e->ty * cy;
        bool smooth = fabs(along) > 0.5 * length; /* else the curve bends too much for a cubic: a straight line */
        u[k][0] = smooth ? copysign(length, along) * e->tx : cx;
        u[k][1] = smooth ? copysign(length, along) * e->ty : cy;
        w[k][0] = e->xx * u[k][0] + e->xy * u[k][1];
        w[k][1] = e->xy * u[k][0] + e->yy * u[k][1];
    }
    *area += swept((double[]){p->x - o->x, p->y - o->y}, (double[]){q->x - o->x, q->y - o->y}, u[0], u[1]);
    *area_source += swept((double[]){p->beta_x - o->beta_x, p->beta_y - o->beta_y},
                          (double[]){q->beta_x - o->beta_x, q->beta_y - o->beta_y}, w[0], w[1]);
}

/* Turns a list of points, in the order of the curve, to counter-clockwise. */
static void reverse(double *a, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        double swap = a[i];
        a[i] = a[n - 1 - i];
        a[n - 1 - i] = swap;
    }
}

/* The points from `start` on, until the curve ends or is closed. Writes to order, [n_points]; returns how many. */
static size_t walk(contours *c, size_t start, size_t *order)
{
    size_t n = 0;
    for (size_t at = start; at != NOWHERE;) {
        vertex *v = &c->points[at];
        v->walked = true;
        order[n++] = at;
        at = NOWHERE;
        for (int k = 0; k < 2 && at == NOWHERE; k++)
            if (v->next[k] != NOWHERE && !c->points[v->next[k]].walked) at = v->next[k];
    }
    return n;
}

static lm_status add_curve(contours *c, const size_t *order, size_t n, bool closed, lm_error *err)
{
    lm_curves *to = c->to;
    if (!lm_grow(&to->curves, to->n, &c->curves_cap, sizeof *to->curves)) return LM_NOMEM(err);
    double *x = lm_alloc(4 * n, sizeof *x);
    if (!x) return LM_NOMEM(err);
    lm_curve *curve = &to->curves[to->n++];
    *curve = (lm_curve){c->radial, closed, n, x, x + n, x + 2 * n, x + 3 * n, 0, 0};
    station first = {0}, before = {0};
    for (size_t i = 0; i < n; i++) {
        station now = station_of(c, c->points[order[i]].x, c->points[order[i]].y);
        curve->x[i] = now.x, curve->y[i] = now.y;
        curve->beta_x[i] = now.beta_x, curve->beta_y[i] = now.beta_y;
        if (i) add_swept(&before, &now, &first, &curve->area, &curve->area_source);
        else first = now;
        before = now;
    }
    if (closed) add_swept(&before, &first, &first, &curve->area, &curve->area_source);
    if (closed && curve->area < 0)
        for (int k = 0; k < 4; k++) reverse(x + (size_t)k * n, n);
    curve->area = closed ? fabs(curve->area) : (double)NAN;
    curve->area_source = closed ? fabs(curve->area_source) : (double)NAN;
    return LM_OK;
}

/* All curves of one eigenvalue. Scratch belongs to the caller. */
static lm_status trace(contours *c, lm_error *err)
{
    size_t n = c->n;
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < n; i++) {
            size_t at = j * n + i;
            c->across[at] = c->up[at] = NOWHERE;
            c->value[at] = eigenvalue(c, c->x0 + (double)i * c->h, c->y0 + (double)j * c->h);
        }
    c->n_points = 0;
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < n; i++) {
            if (i + 1 < n) LM_TRY(add_point(c, i, j, 1, 0, &c->across[j * n + i], err));
            if (j + 1 < n) LM_TRY(add_point(c, i, j, 0, 1, &c->up[j * n + i], err));
        }
    for (size_t j = 0; j + 1 < n; j++)
        for (size_t i = 0; i + 1 < n; i++) join_cell(c, i, j);
    LM_OWN(lm_memory) memory = lm_alloc(c->n_points + 1, sizeof(size_t));
    size_t *order = memory;
    if (!order) return LM_NOMEM(err);
    for (int closed = 0; closed < 2; closed++) /* those with an end first */
        for (size_t i = 0; i < c->n_points; i++)
            if (!c->points[i].walked && (closed || c->points[i].next[1] == NOWHERE))
                LM_TRY(add_curve(c, order, walk(c, i, order), closed, err));
    return LM_OK;
}

static int by_area(const void *a, const void *b)
{
    const lm_curve *p = a, *q = b;
    if (p->closed != q->closed) return p->closed ? -1 : 1;
    return p->closed ? (p->area < q->area) - (p->area > q->area) : (p->n < q->n) - (p->n > q->n);
}

lm_curves *lm_curves_free(lm_curves *curves)
{
    if (!curves) return NULL;
    for (size_t i = 0; i < curves->n; i++) lm_free(curves->curves[i].x); /* one block for all four */
    lm_free(curves->curves);
    return lm_free(curves);
}

/* The largest circle, among circles around the mass that deflects most, on which a tangential curve may pass; and
 * more. */
static lm_status window_for_curves(const lm_mass *masses, size_t n_masses, lm_window *ret, lm_error *err)
{
    enum { ANGLES = 96 };
    contours c = {.masses = masses, .n_masses = n_masses};
    lm_window w;
    LM_TRY(lm_window_of(masses, n_masses, 0, 0, &w, err));
    double half = 1000;
    for (bool clear = true; clear && half > 0.05; half /= 1.1)
        for (int i = 0; i < ANGLES && clear; i++) {
            double turn = 2 * M_PI * i / ANGLES;
            clear = eigenvalue(&c, w.x + half * cos(turn), w.y + half * sin(turn)) > 0.05;
        }
    w.half = 1.3 * half; /* half is a step below the circle that is not clear */
    w.step = fmax(fmin(0.05, w.half / 40), w.half / 1000);
    *ret = w;
    return LM_OK;
}

lm_status lm_curves_find(const lm_mass *masses, size_t n_masses, const lm_window *window, lm_curves **ret,
                         lm_error *err)
{
    lm_window w;
    if (window) w = *window;
    else LM_TRY(window_for_curves(masses, n_masses, &w, err));
    if (!isfinite(w.x) || !isfinite(w.y) || !isfinite(w.half) || !(w.half > 0) || !isfinite(w.step) || !(w.step > 0))
        return LM_FAIL(err, LM_EINPUT,
                       "the window around (%g, %g) has a half width of %g and a step of %g: both must be above 0", w.x,
                       w.y, w.half, w.step);
    double cells = fmax(1, ceil(2 * w.half / w.step));
    if (!(cells * cells <= CELLS_MOST))
        return LM_FAIL_HINT(err, LM_EINPUT, "Give a larger step, or a smaller half width.",
                            "a window of half width %g in steps of %g has %g cells: more than %g", w.half, w.step,
                            cells * cells, CELLS_MOST);
    /* One cell more, and an odd shift: a centre at a round number is then no vertex, where a singular mass gives no
     * sign. */
    size_t n = (size_t)cells + 2;
    double h = 2 * w.half / cells;
    LM_OWN(lm_curves) curves = lm_alloc(1, sizeof *curves);
    LM_OWN(lm_memory) values = lm_alloc(n * n, sizeof(double));
    LM_OWN(lm_memory) edges = lm_alloc(2 * n * n, sizeof(size_t));
    if (!curves || !values || !edges) return LM_NOMEM(err);
    contours c = {.masses = masses, .n_masses = n_masses, .n = n, .h = h, .value = values, .to = curves};
    c.x0 = w.x - w.half - 0.381966011 * h;
    c.y0 = w.y - w.half - 0.381966011 * h;
    c.across = edges;
    c.up = c.across + n * n;
    lm_status status = LM_OK;
    for (int radial = 0; radial < 2 && !status; radial++) {
        c.radial = radial;
        status = trace(&c, err);
    }
    lm_free(c.points);
    if (status) return status;
    if (curves->n) qsort(curves->curves, curves->n, sizeof *curves->curves, by_area);
    curves->theta_eff = (double)NAN;
    for (size_t i = curves->n; i-- > 0;)
        if (curves->curves[i].closed && !curves->curves[i].radial)
            curves->theta_eff = sqrt(curves->curves[i].area / M_PI);
    *ret = lm_take(curves);
    return LM_OK;
}

/* ---- cut --------------------------------------------------------------------------------------------------------- */

static bool is_singular_isothermal(const lm_mass *mass)
{
    return mass->kind == LM_MASS_SIS || (mass->kind == LM_MASS_SIE && mass->p[3] == 0) ||
           (mass->kind == LM_MASS_EPL && mass->p[1] == 1);
}

lm_status lm_cut_find(const lm_mass *masses, size_t n_masses, size_t k, size_t n, double *x, double *y, lm_error *err)
{
    if (k >= n_masses || !is_singular_isothermal(&masses[k]))
        return LM_FAIL(err, LM_EINPUT, "mass %zu of %zu is not singular and isothermal: it has no cut", k, n_masses);
    unsigned at = lm_mass_model_of(masses[k].kind)->centre;
    double cx = masses[k].p[at], cy = masses[k].p[at + 1];
    for (size_t i = 0; i < n; i++) {
        double turn = 2 * M_PI * (double)i / (double)n, ax = 0, ay = 0;
        for (size_t m = 0; m < n_masses; m++) {
            unsigned o = lm_mass_model_of(masses[m].kind)->centre;
            bool here = masses[m].p[o] == cx && masses[m].p[o + 1] == cy;
            bool part = here && (is_singular_isothermal(&masses[m]) || masses[m].kind == LM_MASS_MULTIPOLE);
            double px = cx + part * cos(turn),
                   py = cy + part * sin(turn); /* its deflection is the same at every radius */
            lm_mass_add(&masses[m], 1, &px, &py, &(lm_mass_maps){.alpha_x = &ax, .alpha_y = &ay});
        }
        x[i] = cx - ax;
        y[i] = cy - ay;
    }
    return LM_OK;
}
