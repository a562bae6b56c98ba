/* Images of a point source: a grid, refined where it must be, and Newton's method (Keeton 2001, astro-ph/0102340, has
 * a grid of triangles too; the refinement here is our own).
 *
 * A cell knows the lens map at its corners. It is dismissed where a bound on how far the map can go within it says
 * that the source lies outside. It is split in four where A changes so much that two of its points may share one
 * source, as where det A vanishes, and around the centre of a mass, down to the scale of that mass. What is left is
 * nearly linear: its two triangles are mapped to the source plane, and Newton's method starts in those that contain
 * the source. Cells wait in a queue, so that a budget which is spent (a source on a caustic that is a point) leaves
 * all of them equally fine.
 */
#include "operators/core/lensing/points.h"

#include "runtime/alloc.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define SMALLEST 2e-6         /* side of a cell that det A = 0 crosses and that is not split further, arcsec */
#define CELLS_MOST 67108864.0 /* of the first grid */
#define LONGEST_STEP 0.1      /* of Newton's method, arcsec */
#define FARTHEST 1000.0       /* half width of the largest window that is tried, arcsec */
enum { SPLIT_CELLS = 40000, SPLIT_CELLS_A_MASS = 1000 }; /* the queue's budget */
enum { HOLDING_MOST = 1 << 19 };                         /* cells of the first grid that may hold the source */

/* The lens map at one point. */
typedef struct {
    double x, y;          /* beta(theta) */
    double kappa, g1, g2; /* A = [[1 - kappa - g1, -g2], [-g2, 1 - kappa + g1]] */
} place;

typedef struct {
    double x, y, h; /* centre and side */
    place at[4];    /* lower left, lower right, upper left, upper right */
} cell;

/* What the search must know of a mass with a centre. */
typedef struct {
    double x, y;
    double keep_off; /* an image nearer than this is dropped; 0: none is */
    double scale;    /* cells around the centre are split down to this side */
    double reach;    /* the most that it deflects in the cells that are split for it */
} core;

typedef struct {
    lm_image at;  /* position and residual only */
    double error; /* of the position, arcsec: the step that Newton's method would still take */
} found;

typedef struct {
    const lm_mass *masses;
    size_t n_masses;
    double beta_x, beta_y;
    lm_window window;
    core *cores;
    size_t n_cores;
    cell *queue;
    size_t n_queue, queue_cap;
    found *images;
    size_t n_images, images_cap;
} search;

static place place_of(const search *s, double x, double y, double *ret_psi)
{
    double psi = 0, ax = 0, ay = 0, kappa = 0, g1 = 0, g2 = 0;
    lm_mass_maps maps = {ret_psi ? &psi : NULL, &ax, &ay, &kappa, &g1, &g2};
    for (size_t i = 0; i < s->n_masses; i++) lm_mass_add(&s->masses[i], 1, &x, &y, &maps);
    if (ret_psi) *ret_psi = psi;
    return (place){x - ax, y - ay, kappa, g1, g2};
}

static double det_of(const place *at)
{
    return (1 - at->kappa) * (1 - at->kappa) - at->g1 * at->g1 - at->g2 * at->g2;
}

/* ---- masses ------------------------------------------------------------------------------------------------------ */

static double deflection(const lm_mass *mass, double x, double y)
{
    double ax = 0, ay = 0;
    lm_mass_add(mass, 1, &x, &y, &(lm_mass_maps){.alpha_x = &ax, .alpha_y = &ay});
    return hypot(ax, ay);
}

/* false: the mass has no centre that matters, for its A is the same everywhere. */
static bool core_of(const lm_mass *mass, double step, core *ret)
{
    const double *p = mass->p;
    double singular = 0, scale = 0;
    switch (mass->kind) {
    case LM_MASS_SIS:
    case LM_MASS_EPL:
    case LM_MASS_POINT: singular = p[0]; break;
    case LM_MASS_SIE:
        if (p[3] > 0) scale = p[1] * p[3] / 4;
        else singular = p[0];
        break;
    case LM_MASS_MULTIPOLE: singular = fabs(p[1]); break;
    case LM_MASS_NFW:
    case LM_MASS_TNFW: scale = fmin(p[1] / 8, LM_IMAGE_CENTRE / 4); break; /* a logarithmic cusp has no scale */
    case LM_MASS_PJAFFE: scale = p[1] / 4; break;
    case LM_MASS_SHEAR:
    case LM_MASS_SHEET:
    case LM_MASS_KINDS: return false;
    }
    unsigned centre = lm_mass_model_of(mass->kind)->centre;
    core c = {.x = p[centre], .y = p[centre + 1], .keep_off = fmin(LM_IMAGE_CENTRE, singular / 100)};
    c.scale = fmax(1e-7, singular > 0 ? c.keep_off / 2 : scale);
    for (double r = c.scale; r < 8 * step; r *= 2)
        c.reach = fmax(c.reach, fmax(deflection(mass, c.x + r, c.y), deflection(mass, c.x, c.y + r)));
    c.reach *= 2; /* seen along two directions, in steps of two */
    *ret = c;
    return true;
}

/* Cells of side h whose middle is so near to a core see too little of it to be trusted. */
static bool is_near(const core *c, double x, double y, double h)
{
    return fabs(x - c->x) <= 2.5 * h && fabs(y - c->y) <= 2.5 * h;
}

/* ---- window ------------------------------------------------------------------------------------------------------ */

static double default_step(double half)
{
    return fmax(fmin(0.05, half / 40), half / 1000);
}

/* Do the rays of the circle of radius r diverge from the source everywhere? Beyond such circles there is no image. */
static bool diverges(const search *s, double x, double y, double r)
{
    enum { ANGLES = 48 };
    for (int i = 0; i < ANGLES; i++) {
        double dx = r * cos(2 * M_PI * i / ANGLES), dy = r * sin(2 * M_PI * i / ANGLES);
        place at = place_of(s, x + dx, y + dy, NULL);
        if (!(dx * (at.x - s->beta_x) + dy * (at.y - s->beta_y) > 0.1 * r * r)) return false;
    }
    return true;
}

lm_status lm_window_of(const lm_mass *masses, size_t n_masses, double beta_x, double beta_y, lm_window *ret,
                       lm_error *err)
{
    search s = {.masses = masses, .n_masses = n_masses, .beta_x = beta_x, .beta_y = beta_y};
    if (!isfinite(beta_x) || !isfinite(beta_y))
        return LM_FAIL(err, LM_EINPUT, "the source's position is (%g, %g)", beta_x, beta_y);
    core c;
    double x = beta_x, y = beta_y, most = 0;
    for (size_t i = 0; i < n_masses; i++)
        if (core_of(&masses[i], 0.05, &c) && c.reach > most) {
            most = c.reach;
            x = c.x, y = c.y;
        }
    double half = FARTHEST;
    if (!diverges(&s, x, y, half))
        return LM_FAIL_HINT(err, LM_EINPUT, "Give the window's half width.",
                            "no window holds all images of (%g, %g): these masses focus it at %g arcsec still", beta_x,
                            beta_y, FARTHEST);
    while (half > 0.1 && diverges(&s, x, y, half / 1.1)) half /= 1.1;
    half *= 1.02; /* circles are looked at in steps: images may lie on the last */
    for (size_t i = 0; i < n_masses; i++) {
        if (!core_of(&masses[i], 0.05, &c)) continue;
        /* At its centre a mass does not deflect: a perturber far out has an image if it can bend the rest to the
         * source. */
        place rest = place_of(&s, c.x, c.y, NULL);
        double away = fmax(fabs(c.x - x), fabs(c.y - y));
        if (away > 0 && hypot(rest.x - beta_x, rest.y - beta_y) <= c.reach)
            half = fmax(half, away + fmin(c.reach, 0.5));
    }
    *ret = (lm_window){x, y, half, default_step(half)};
    return LM_OK;
}

/* ---- Newton's method --------------------------------------------------------------------------------------------- */

/* A^-1 (beta - beta(theta)), with A of one place and beta(theta) of another, along the axes of A, where a vanishing
 * eigenvalue spoils its own direction only: that component is at most `longest`. */
static void newton_step(const search *s, const place *matrix, const place *at, double longest, double *ret_x,
                        double *ret_y)
{
    double rx = s->beta_x - at->x, ry = s->beta_y - at->y, gamma = hypot(matrix->g1, matrix->g2);
    double turn = atan2(matrix->g2, matrix->g1) / 2, c = cos(turn), n = sin(turn);
    double along = (c * rx + n * ry) / (1 - matrix->kappa - gamma);
    double across = (c * ry - n * rx) / (1 - matrix->kappa + gamma);
    along = isnan(along) ? 0 : fmax(-longest, fmin(along, longest)); /* 0/0: already there */
    across = isnan(across) ? 0 : fmax(-longest, fmin(across, longest));
    *ret_x = c * along - n * across;
    *ret_y = n * along + c * across;
}

static double newton_length(const search *s, const place *matrix, const place *at)
{
    double dx, dy;
    newton_step(s, matrix, at, 1e9, &dx, &dy);
    return hypot(dx, dy);
}

/* From (x, y) towards an image, until rounding stops it. A step is halved until it brings |beta - beta(theta)| down,
 * or that in units of A (the natural test of Deuflhard 1974, which lets it follow the curved valley along a critical
 * curve). */
static void polish(const search *s, double x, double y, found *ret)
{
    double longest = fmin(LONGEST_STEP, 2 * s->window.step) / M_SQRT2;
    place at = place_of(s, x, y, NULL);
    double residual = hypot(s->beta_x - at.x, s->beta_y - at.y);
    for (int i = 0; i < 100 && residual > 0; i++) {
        double dx, dy, left = residual, whole = newton_length(s, &at, &at);
        newton_step(s, &at, &at, longest, &dx, &dy);
        place next = at;
        bool down = false;
        for (; !down && hypot(dx, dy) > 1e-16 * hypot(x, y); dx /= 2, dy /= 2) {
            next = place_of(s, x + dx, y + dy, NULL);
            left = hypot(s->beta_x - next.x, s->beta_y - next.y);
            down = left < residual || newton_length(s, &at, &next) < whole;
            if (down) x += dx, y += dy;
        }
        if (!down) break;
        at = next;
        residual = left;
    }
    *ret = (found){{.x = x, .y = y, .residual = residual}, newton_length(s, &at, &at)};
}

/* Is it an image, in the window, off the singular centres? */
static bool is_image(const search *s, const found *it)
{
    const lm_image *image = &it->at;
    const lm_window *w = &s->window;
    if (!(image->residual <= LM_IMAGE_RESIDUAL)) return false;
    if (!(fabs(image->x - w->x) <= w->half && fabs(image->y - w->y) <= w->half)) return false;
    for (size_t i = 0; i < s->n_cores; i++)
        if (hypot(image->x - s->cores[i].x, image->y - s->cores[i].y) < s->cores[i].keep_off) return false;
    return true;
}

/* Images are one where they are nearer than LM_IMAGE_APART, or than their own errors (at a cusp: 5e-6 arcsec). */
static lm_status keep(search *s, const found *image, lm_error *err)
{
    for (size_t i = 0; i < s->n_images; i++) {
        found *old = &s->images[i];
        double apart = fmin(1e-4, 4 * (image->error + old->error));
        if (hypot(image->at.x - old->at.x, image->at.y - old->at.y) >= fmax(LM_IMAGE_APART, apart)) continue;
        if (image->at.residual < old->at.residual) *old = *image;
        return LM_OK;
    }
    if (s->n_images == LM_IMAGES_MOST)
        return LM_FAIL_HINT(err, LM_EINPUT, "Move the source off the centre of the lens.",
                            "the source at (%g, %g) is seen as a ring: it has more than %d images", s->beta_x,
                            s->beta_y, LM_IMAGES_MOST);
    if (!lm_grow(&s->images, s->n_images, &s->images_cap, sizeof *s->images)) return LM_NOMEM(err);
    s->images[s->n_images++] = *image;
    return LM_OK;
}

/* ---- cells ------------------------------------------------------------------------------------------------------- */

/* May the map of a cell hold the source? In the axes of the mean A, from the n points that are known: beta changes by
 * no more than the largest row of A times half the side; doubled for what is between the points. spare: added to
 * that. */
static bool may_hold(const search *s, const place *at, int n, double h, double spare)
{
    double x = 0, y = 0, g1 = 0, g2 = 0;
    for (int i = 0; i < n; i++) x += at[i].x / n, y += at[i].y / n, g1 += at[i].g1 / n, g2 += at[i].g2 / n;
    double turn = atan2(g2, g1) / 2, c = cos(turn), t = sin(turn), along = 0, across = 0;
    for (int i = 0; i < n; i++) {
        double xx = 1 - at[i].kappa - at[i].g1, yy = 1 - at[i].kappa + at[i].g1, xy = -at[i].g2;
        along = fmax(along, fabs(c * xx + t * xy) + fabs(c * xy + t * yy));
        across = fmax(across, fabs(c * xy - t * xx) + fabs(c * yy - t * xy));
    }
    double dx = s->beta_x - x, dy = s->beta_y - y;
    return !(fabs(c * dx + t * dy) > h * along + spare || fabs(c * dy - t * dx) > h * across + spare);
}

/* Is a cell so far from linear that two of its points may have one source? Not if A differs from its value M in the
 * middle by less than M itself, |M^-1 A - 1| < 1 (a map is one to one on a convex set where this holds); less than
 * 0.4, and its triangles show where that point is. at: the corners, then the middle. */
static bool may_fold(const place at[5])
{
    double m = 1 - at[4].kappa, g1 = at[4].g1, g2 = at[4].g2, det = det_of(&at[4]);
    for (int i = 0; i < 4; i++) {
        double k = at[4].kappa - at[i].kappa, d1 = g1 - at[i].g1, d2 = g2 - at[i].g2; /* of A - M */
        double xx = (m + g1) * (k + d1) + g2 * d2, xy = (m + g1) * d2 + g2 * (k - d1);
        double yx = g2 * (k + d1) + (m - g1) * d2, yy = g2 * d2 + (m - g1) * (k - d1);
        if (!(xx * xx + xy * xy + yx * yx + yy * yy < 0.16 * det * det)) return true;
    }
    return false;
}

/* Where the source lies in a triangle if the map is linear there. false: outside, by more than a quarter of the
 * triangle, which closes the gaps between cells of different sides. corner: numbers 0 to 3 of the cell's corners. */
static bool in_triangle(const search *s, const cell *c, const int corner[3], double *ret_x, double *ret_y)
{
    const place *o = &c->at[corner[0]], *p = &c->at[corner[1]], *q = &c->at[corner[2]];
    double px = p->x - o->x, py = p->y - o->y, qx = q->x - o->x, qy = q->y - o->y;
    double dx = s->beta_x - o->x, dy = s->beta_y - o->y, area = px * qy - py * qx;
    double w[3] = {0, (dx * qy - dy * qx) / area, (px * dy - py * dx) / area};
    w[0] = 1 - w[1] - w[2];
    double x = c->x, y = c->y;
    for (int i = 0; i < 3; i++) {
        if (!(w[i] >= -0.25)) return false;
        x += w[i] * c->h * ((corner[i] & 1) - 0.5);
        y += w[i] * c->h * ((corner[i] >> 1) - 0.5);
    }
    *ret_x = x;
    *ret_y = y;
    return true;
}

/* Looks for an image from each triangle that contains the source. *ret_sure: false if one of them led away or
 * nowhere. */
static lm_status try_triangles(search *s, const cell *c, bool *ret_sure, lm_error *err)
{
    static const int corners[2][3] = {{0, 1, 3}, {0, 3, 2}};
    bool sure = true;
    for (int i = 0; i < 2; i++) {
        double x, y;
        if (!in_triangle(s, c, corners[i], &x, &y)) continue;
        found image;
        polish(s, x, y, &image);
        sure = sure && image.at.residual <= LM_IMAGE_RESIDUAL && fabs(image.at.x - c->x) <= 2 * c->h &&
               fabs(image.at.y - c->y) <= 2 * c->h;
        if (is_image(s, &image)) LM_TRY(keep(s, &image, err));
    }
    *ret_sure = sure;
    return LM_OK;
}

static lm_status push(search *s, const cell *c, lm_error *err)
{
    if (!lm_grow(&s->queue, s->n_queue, &s->queue_cap, sizeof *s->queue)) return LM_NOMEM(err);
    s->queue[s->n_queue++] = *c;
    return LM_OK;
}

static lm_status split(search *s, const cell *c, const place *middle, lm_error *err)
{
    double x = c->x, y = c->y, r = c->h / 2;
    place grid[3][3] = {{c->at[0], place_of(s, x, y - r, NULL), c->at[1]},
                        {place_of(s, x - r, y, NULL), *middle, place_of(s, x + r, y, NULL)},
                        {c->at[2], place_of(s, x, y + r, NULL), c->at[3]}};
    for (int j = 0; j < 2; j++)
        for (int i = 0; i < 2; i++) {
            cell quarter = {x + (i - 0.5) * r,
                            y + (j - 0.5) * r,
                            r,
                            {grid[j][i], grid[j][i + 1], grid[j + 1][i], grid[j + 1][i + 1]}};
            LM_TRY(push(s, &quarter, err));
        }
    return LM_OK;
}

/* Is a core near that this cell does not resolve? Adds what such cores deflect to *spare. */
static bool is_coarse(const search *s, double x, double y, double h, double *spare)
{
    bool coarse = false;
    for (size_t i = 0; i < s->n_cores; i++)
        if (is_near(&s->cores[i], x, y, h) && h > s->cores[i].scale) {
            coarse = true;
            *spare += s->cores[i].reach;
        }
    return coarse;
}

/* Does a cell lie where images are dropped? */
static bool is_dropped(const search *s, const cell *c)
{
    double r = c->h / 2;
    for (size_t i = 0; i < s->n_cores; i++)
        if (hypot(fabs(c->x - s->cores[i].x) + r, fabs(c->y - s->cores[i].y) + r) < s->cores[i].keep_off) return true;
    return false;
}

/* Dismisses a cell, splits it, or looks for an image in it. room: there is budget for a split. */
static lm_status search_cell(search *s, const cell *c, bool room, lm_error *err)
{
    double spare = 0;
    if (is_dropped(s, c)) return LM_OK;
    bool coarse = is_coarse(s, c->x, c->y, c->h, &spare);
    place at[5];
    memcpy(at, c->at, sizeof c->at);
    if (!may_hold(s, at, 4, c->h, spare)) return LM_OK;
    at[4] = place_of(s, c->x, c->y, NULL);
    if (!may_hold(s, at, 5, c->h, spare)) return LM_OK;
    if (room && coarse) return split(s, c, &at[4], err);
    bool folds = may_fold(at), fine = c->h <= SMALLEST;
    if (room && folds && !fine) return split(s, c, &at[4], err);
    bool sure;
    LM_TRY(try_triangles(s, c, &sure, err));
    if (room && !sure && !fine) return split(s, c, &at[4], err);
    if (!folds && sure) return LM_OK;
    found image; /* the last chance of a pair at a fold: from all around */
    for (int i = 0; i < 4; i++) {
        polish(s, c->x + c->h * ((i & 1) - 0.5), c->y + c->h * ((i >> 1) - 0.5), &image);
        if (is_image(s, &image)) LM_TRY(keep(s, &image, err));
    }
    return LM_OK;
}

/* ---- the search -------------------------------------------------------------------------------------------------- */

/* One row of the first grid: [n] places at height y, through the six arrays of scratch. */
static void row_of(const search *s, size_t n, const double *x, double y, double *scratch, place *ret)
{
    double *ax = scratch, *ay = ax + n, *kappa = ay + n, *g1 = kappa + n, *g2 = g1 + n, *ys = g2 + n;
    memset(scratch, 0, 5 * n * sizeof *scratch);
    for (size_t i = 0; i < n; i++) ys[i] = y;
    lm_mass_maps maps = {NULL, ax, ay, kappa, g1, g2};
    for (size_t k = 0; k < s->n_masses; k++) lm_mass_add(&s->masses[k], n, x, ys, &maps);
    for (size_t i = 0; i < n; i++) ret[i] = (place){x[i] - ax[i], y - ay[i], kappa[i], g1[i], g2[i]};
}

/* Puts the cells of the first grid that may hold the source into the queue. */
static lm_status search_grid(search *s, lm_error *err)
{
    const lm_window *w = &s->window;
    double cells = ceil(2 * w->half / w->step * (1 - 1e-12));
    size_t n = (size_t)cells + 1;
    double h = 2 * w->half / cells;
    LM_OWN(lm_memory) numbers = lm_alloc(7 * n, sizeof(double));
    LM_OWN(lm_memory) places = lm_alloc(2 * n, sizeof(place));
    double *x = numbers;
    place *low = places, *high = low + n;
    if (!x || !low) return LM_NOMEM(err);
    for (size_t i = 0; i < n; i++) x[i] = w->x + ((double)i - cells / 2) * h;
    for (size_t j = 0; j < n; j++) {
        row_of(s, n, x, w->y + ((double)j - cells / 2) * h, x + n, high);
        double y = w->y + ((double)j - 0.5 - cells / 2) * h; /* of the cells' middles */
        for (size_t i = 0; j > 0 && i + 1 < n; i++) {
            cell c = {(x[i] + x[i + 1]) / 2, y, h, {low[i], low[i + 1], high[i], high[i + 1]}};
            double spare = 0;
            is_coarse(s, c.x, c.y, h, &spare);
            if (!may_hold(s, c.at, 4, h, spare)) continue;
            if (s->n_queue == HOLDING_MOST)
                return LM_FAIL_HINT(err, LM_EINPUT, "Give a larger step, or a smaller half width.",
                                    "these masses focus the window on the source: images may be in more than %d cells",
                                    HOLDING_MOST);
            LM_TRY(push(s, &c, err));
        }
        place *swap = low;
        low = high;
        high = swap;
    }
    return LM_OK;
}

static int by_arrival(const void *a, const void *b)
{
    const lm_image *p = a, *q = b;
    if (p->fermat != q->fermat) return p->fermat < q->fermat ? -1 : 1;
    if (p->x != q->x) return p->x < q->x ? -1 : 1;
    return (p->y > q->y) - (p->y < q->y);
}

static void describe(const search *s, const lm_lens_geometry *g, lm_image *image)
{
    double psi;
    place at = place_of(s, image->x, image->y, &psi);
    double dx = image->x - s->beta_x, dy = image->y - s->beta_y;
    image->magnification = 1 / det_of(&at);
    image->fermat = (dx * dx + dy * dy) / 2 - psi;
    image->arrival = g ? g->days_per_arcsec2 * image->fermat : (double)NAN;
}

static lm_status search_all(search *s, lm_error *err)
{
    LM_TRY(search_grid(s, err));
    size_t budget = s->n_queue + SPLIT_CELLS + SPLIT_CELLS_A_MASS * s->n_masses;
    for (size_t i = 0; i < s->n_queue; i++) {
        cell c = s->queue[i]; /* a copy: the queue grows */
        LM_TRY(search_cell(s, &c, s->n_queue + 4 <= budget, err));
    }
    return LM_OK;
}

static lm_status check_window(lm_window *w, lm_error *err)
{
    if (!isfinite(w->x) || !isfinite(w->y) || !isfinite(w->half) || !(w->half > 0))
        return LM_FAIL(err, LM_EINPUT, "the window around (%g, %g) has a half width of %g: it must be above 0", w->x,
                       w->y, w->half);
    if (w->step == 0) w->step = default_step(w->half);
    if (!(w->step > 0) || !isfinite(w->step))
        return LM_FAIL(err, LM_EINPUT, "the window's step is %g: it must be above 0", w->step);
    w->step = fmin(w->step, w->half);
    double side = 2 * w->half / w->step;
    if (!(side * side <= CELLS_MOST))
        return LM_FAIL_HINT(err, LM_EINPUT, "Give a larger step, or a smaller half width.",
                            "a window of half width %g in steps of %g has %g cells: more than %g", w->half, w->step,
                            side * side, CELLS_MOST);
    return LM_OK;
}

lm_status lm_images_find(const lm_mass *masses, size_t n_masses, double beta_x, double beta_y, const lm_window *window,
                         const lm_lens_geometry *g, lm_image **ret, size_t *ret_n, lm_error *err)
{
    search s = {.masses = masses, .n_masses = n_masses, .beta_x = beta_x, .beta_y = beta_y};
    if (!isfinite(beta_x) || !isfinite(beta_y))
        return LM_FAIL(err, LM_EINPUT, "the source's position is (%g, %g)", beta_x, beta_y);
    if (window) s.window = *window;
    else LM_TRY(lm_window_of(masses, n_masses, beta_x, beta_y, &s.window, err));
    LM_TRY(check_window(&s.window, err));
    LM_OWN(lm_memory) cores = lm_alloc(n_masses + 1, sizeof *s.cores);
    s.cores = cores;
    if (!cores) return LM_NOMEM(err);
    for (size_t i = 0; i < n_masses; i++) s.n_cores += core_of(&masses[i], s.window.step, &s.cores[s.n_cores]);
    lm_status status = search_all(&s, err);
    lm_free(s.queue);
    LM_OWN(lm_memory) list = s.images;
    (void)list; /* freed on every way out */
    if (status) return status;
    lm_image *images = s.n_images ? lm_alloc(s.n_images, sizeof *images) : NULL;
    if (s.n_images && !images) return LM_NOMEM(err);
    for (size_t i = 0; i < s.n_images; i++) {
        images[i] = s.images[i].at;
        describe(&s, g, &images[i]);
    }
    if (images) qsort(images, s.n_images, sizeof *images, by_arrival);
    for (size_t i = 0; i < s.n_images; i++) images[i].delay = images[i].arrival - images[0].arrival;
    *ret_n = s.n_images;
    *ret = images;
    return LM_OK;
}
