/* Few samples where the light is smooth, many where it is not.
 *
 * With c the samples at pixel centres, the mean over part p of pixel Q is modelled as sum_m W_p[m] c[Q + m], |m| <= 3, W the means
 * over the part of Lagrange's polynomials through six samples. The PSF P and the mean B over a pixel's parts make of a part's light
 * the image G_p[y - Q]; so the model's image is the convolution of c with K[n] = sum_pm W_p[m] G_p[n + m], on whole pixels. A
 * refined pixel's parts have their light integrated, and what it differs by from the model adds its own G_p.
 */
#include "operators/core/lensing/render_adapt.h"

#include "operators/core/clones.h"
#include "operators/core/lensing/blur.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { REACH = 3, NODES = 2 * REACH + 1, LANES = 8 };
enum { SMOOTH, ROUGH, CUSP }; /* what a pixel is: ROUGH parts take 2 x 2 samples, CUSP parts finest x finest */
enum { FINEST = 24, MOST_AT_ONCE = 512, GROUP = 16 }; /* positions traced together, pixels integrated together */
/* Of a sixth difference, the error that it stands for: 0.005 where the light is smooth, more where it bends at a point. */
#define ERROR_OF_SIXTH 0.02
/* How far from the middle of a pixel a cusp has its light integrated with care. */
#define NEAR 0.75
/* Refined pixels are added one by one until that costs more than transforms of all samples. */
#define COST_OF_TRANSFORM 40

struct lm_adapt {
    lm_frame frame;
    double tolerance;
    /* samples along a part with a cusp: 0.42 / sqrt(tolerance) along a pixel, measured for an exponential disc */
    size_t finest;
    size_t sub, parts; /* along a side, in a pixel */
    /* G [parts][gh][gs]: from pixel (Q_y, Q_x) to (Q_y + gy + i, Q_x + gx + j); rows are padded with 0 to whole vectors */
    ptrdiff_t gy, gx;
    size_t gh, gw, gs;
    double *g;
    double *weights; /* W [sub][NODES] along one axis */
    lm_blur *blur;   /* with K; its sky [h][w] are the coarse samples */
    size_t h, w, oy, ox;
    double *coarse, *bx, *by; /* [h][w]: brightness, position in the source plane */
    size_t at_once;
    double *x, *y; /* [at_once][w] */
    uint8_t *what; /* [h][w] */
    size_t *refined, n_refined;
    double *fix;   /* [GROUP][parts] */
    double *image; /* [gh][gs] */
    double positions[5 * MOST_AT_ONCE];
};

lm_adapt *lm_adapt_free(lm_adapt *a)
{
    if (!a) return NULL;
    lm_blur_free(a->blur);
    lm_free(a->g);
    lm_free(a->weights);
    lm_free(a->coarse);
    lm_free(a->bx);
    lm_free(a->by);
    lm_free(a->x);
    lm_free(a->y);
    lm_free(a->what);
    lm_free(a->refined);
    lm_free(a->fix);
    lm_free(a->image);
    return lm_free(a);
}

size_t lm_adapt_refined(const lm_adapt *a)
{
    return a->n_refined;
}

/* Lagrange's polynomial of node m at u, of the six nodes around u. */
static double lagrange(double u, int m)
{
    int first = u < 0 ? -REACH : -REACH + 1, last = first + 2 * REACH - 1;
    if (m < first || m > last) return 0;
    double value = 1;
    for (int k = first; k <= last; k++)
        if (k != m) value *= (u - k) / (m - k);
    return value;
}

/* W: means of Lagrange's polynomials over each part, halves apart where a pixel's centre is inside; by Gauss's rule of three points,
 * which is exact to degree 5. */
static void fill_weights(double *weights, size_t sub)
{
    static const double at[] = {-0.77459666924148337704, 0, 0.77459666924148337704},
                        share[] = {5.0 / 18, 8.0 / 18, 5.0 / 18};
    for (size_t p = 0; p < sub; p++)
        for (int half = 0; half < 2; half++) {
            double low = ((double)p + 0.5 * half) / (double)sub - 0.5, width = 0.5 / (double)sub;
            for (int k = 0; k < 3; k++)
                for (int m = -REACH; m <= REACH; m++)
                    weights[p * NODES + (size_t)(m + REACH)] +=
                        0.5 * share[k] * lagrange(low + width * (0.5 + 0.5 * at[k]), m);
        }
}

/* One axis of G: a PSF of p parts with its origin at c reaches from pixel `ret_first` on over ret_n pixels. */
static void reach_of(size_t p, size_t c, size_t sub, ptrdiff_t *ret_first, size_t *ret_n)
{
    size_t before = (c + sub - 1) / sub, after = (p - 1 - c + sub - 1) / sub;
    *ret_first = -(ptrdiff_t)before;
    *ret_n = before + after + 1;
}

static double *g_of(const lm_adapt *a, size_t part, size_t i)
{
    return a->g + (part * a->gh + i) * a->gs;
}

/* PSF pixel i joins part p of one pixel and part s of the pixel n on if i - c = n sub + s - p. */
static void fill_g(lm_adapt *a, const lm_psf *psf)
{
    const ptrdiff_t sub = (ptrdiff_t)a->sub;
    const double share = 1 / (double)a->parts;
    for (ptrdiff_t py = 0; py < sub; py++)
        for (ptrdiff_t px = 0; px < sub; px++)
            for (size_t i = 0; i < psf->h; i++) {
                ptrdiff_t fy = (ptrdiff_t)i - (ptrdiff_t)psf->cy + py - a->gy * sub; /* parts from G's first, >= 0 */
                double *row = g_of(a, (size_t)(py * sub + px), (size_t)(fy / sub));
                for (size_t j = 0; j < psf->w; j++) {
                    ptrdiff_t fx = (ptrdiff_t)j - (ptrdiff_t)psf->cx + px - a->gx * sub;
                    row[fx / sub] += share * psf->at[i * psf->w + j];
                }
            }
}

/* K [gh + 2 REACH][gw + 2 REACH] */
static void fill_kernel(const lm_adapt *a, double *k)
{
    size_t w = a->gw + 2 * REACH;
    for (size_t i = 0; i < a->gh; i++)
        for (size_t part = 0; part < a->parts; part++) {
            const double *g = g_of(a, part, i), *wy = a->weights + part / a->sub * NODES,
                         *wx = a->weights + part % a->sub * NODES;
            for (size_t my = 0; my < NODES; my++)
                for (size_t mx = 0; mx < NODES; mx++) { /* K's index is that of G less m, and REACH on */
                    double *to = k + (i + 2 * REACH - my) * w + 2 * REACH - mx, both = wy[my] * wx[mx];
                    for (size_t j = 0; j < a->gw; j++) to[j] += both * g[j];
                }
        }
}

/* The centre of coarse column, or row, i. */
static double column(const lm_adapt *a, double i)
{
    return a->frame.x + (i - (double)a->ox - (double)(a->frame.w - 1) / 2) * a->frame.pixel;
}

static double line(const lm_adapt *a, double j)
{
    return a->frame.y + (j - (double)a->oy - (double)(a->frame.h - 1) / 2) * a->frame.pixel;
}

lm_status lm_adapt_new(const lm_frame *frame, const lm_psf *psf, double tolerance, lm_adapt **ret, lm_error *err)
{
    double one = 1;
    const lm_psf none = {.at = &one, .h = 1, .w = 1, .sum = 1}, *p = psf ? psf : &none;
    LM_OWN(lm_adapt) a = lm_alloc(1, sizeof *a);
    if (!a) return LM_NOMEM(err);
    a->frame = *frame;
    a->tolerance = tolerance;
    a->finest = (size_t)fmin(fmax(ceil(0.42 / sqrt(tolerance) / (double)frame->sub), 4), FINEST);
    a->sub = frame->sub;
    a->parts = a->sub * a->sub;
    reach_of(p->h, p->cy, a->sub, &a->gy, &a->gh);
    reach_of(p->w, p->cx, a->sub, &a->gx, &a->gw);
    a->gs = (a->gw + LANES - 1) / LANES * LANES;
    a->g = lm_alloc(a->gh * a->gs * a->parts, sizeof *a->g);
    a->weights = lm_alloc(a->sub * NODES, sizeof *a->weights);
    a->fix = lm_alloc(GROUP * a->parts, sizeof *a->fix);
    a->image = lm_alloc(a->gh * a->gs, sizeof *a->image);
    size_t kh = a->gh + 2 * REACH, kw = a->gw + 2 * REACH;
    LM_OWN(lm_memory) kernel = lm_alloc(kh * kw, sizeof(double));
    if (!a->g || !a->weights || !a->fix || !a->image || !kernel) return LM_NOMEM(err);
    fill_weights(a->weights, a->sub);
    fill_g(a, p);
    fill_kernel(a, kernel);
    lm_psf whole = {
        .at = kernel, .h = kh, .w = kw, .cy = (size_t)(REACH - a->gy), .cx = (size_t)(REACH - a->gx), .sum = 1};
    LM_TRY(lm_blur_new(&whole, frame->h, frame->w, &a->blur, err));
    a->h = a->blur->sh;
    a->w = a->blur->sw;
    a->oy = a->blur->oy;
    a->ox = a->blur->ox;
    a->coarse = lm_alloc_data(a->h * a->w * sizeof *a->coarse);
    a->bx = lm_alloc(a->h * a->w, sizeof *a->bx);
    a->by = lm_alloc(a->h * a->w, sizeof *a->by);
    a->at_once = lm_at_once(a->w);
    a->x = lm_alloc(a->at_once * a->w, sizeof *a->x);
    a->y = lm_alloc(a->at_once * a->w, sizeof *a->y);
    a->what = lm_alloc(a->h * a->w, sizeof *a->what);
    a->refined = lm_alloc(a->h * a->w, sizeof *a->refined);
    for (size_t k = 0; a->x && k < a->at_once; k++)
        for (size_t i = 0; i < a->w; i++) a->x[k * a->w + i] = column(a, (double)i);
    if (!a->coarse || !a->bx || !a->by || !a->x || !a->y || !a->what || !a->refined) return LM_NOMEM(err);
    *ret = lm_take(a);
    return LM_OK;
}

/* ---- where ---------------------------------------------------------------------------------------------------------- */

static inline double sixth(const double *c, size_t s)
{
    return c[0] + c[6 * s] - 6 * (c[s] + c[5 * s]) + 15 * (c[2 * s] + c[4 * s]) - 20 * c[3 * s];
}

/* One row of w pixels, from the first to the last that have REACH neighbours on all sides. The model is a polynomial along y of
 * polynomials along x; what the former are off by in neighbouring columns counts by how much of it the latter take. */
LM_CLONES static void mark_unsmooth(const double *restrict c, size_t w, double limit, double *restrict across,
                                    uint8_t *restrict what)
{
    for (size_t i = 0; i < w; i++) across[i] = fabs(sixth(c + i - REACH * w, w));
    for (size_t i = REACH; i < w - REACH; i++) {
        double off = fabs(sixth(c + i - REACH, 1)) + across[i] + 0.6 * (across[i - 1] + across[i + 1]) +
                     0.1 * (across[i - 2] + across[i + 2]) + 0.02 * (across[i - 3] + across[i + 3]);
        what[i] = ERROR_OF_SIXTH * off > limit ? ROUGH : SMOOTH;
    }
}

/* Marks pixels within `far` pixels of a place, along both axes; where something shines, if `lit` is not negative. */
static void mark_around(lm_adapt *a, double x, double y, double far, uint8_t as, double lit)
{
    double ci = (x - column(a, 0)) / a->frame.pixel, cj = (y - line(a, 0)) / a->frame.pixel;
    if (!(ci > -far && ci < (double)a->w + far && cj > -far && cj < (double)a->h + far)) return;
    for (double j = ceil(cj - far); j <= cj + far; j++)
        for (double i = ceil(ci - far); i <= ci + far; i++) {
            if (j < REACH || i < REACH || j + REACH >= (double)a->h || i + REACH >= (double)a->w) continue;
            size_t at = (size_t)j * a->w + (size_t)i;
            if (!(fabs(a->coarse[at]) < lit) && a->what[at] < as) a->what[at] = as;
        }
}

/* Marks pixels in which a light's centre is seen: by the rays of the neighbours, it lies within NEAR pixels of the middle. Where
 * these rays are nearly parallel, on a critical curve, a share of their distance is allowed for. */
LM_CLONES static void mark_images(const double *restrict bx, const double *restrict by, size_t w, size_t n, double x,
                                  double y, uint8_t *restrict what)
{
    for (size_t i = w; i < w + n; i++) {
        double ax = (bx[i + 1] - bx[i - 1]) / 2, ay = (by[i + 1] - by[i - 1]) / 2;
        double cx = (bx[i + w] - bx[i - w]) / 2, cy = (by[i + w] - by[i - w]) / 2, dx = x - bx[i], dy = y - by[i];
        double most = NEAR * fabs(ax * cy - ay * cx) + 0.05 * ((ax * ax + ay * ay) + (cx * cx + cy * cy));
        double off_x = fabs(dx * cy - dy * cx), off_y = fabs(ax * dy - ay * dx), off = off_x > off_y ? off_x : off_y;
        uint8_t is = what[i - w];
        what[i - w] = off <= most ? CUSP : is;
    }
}

LM_CLONES static double peak_of(const double *c, size_t n)
{
    double peak = 0;
    for (size_t i = 0; i < n; i++) peak = fabs(c[i]) > peak ? fabs(c[i]) : peak;
    return peak;
}

static void mark(lm_adapt *a, const lm_scene *scene)
{
    const size_t w = a->w, n = w - 2 * REACH;
    double peak = peak_of(a->coarse, a->h * w);
    for (size_t j = REACH; j + REACH < a->h; j++)
        mark_unsmooth(a->coarse + j * w, w, a->tolerance * peak, a->y, a->what + j * w);
    for (size_t k = 0; scene->n_source && k < scene->n_masses; k++) {
        const lm_mass *mass = &scene->masses[k];
        if (mass->kind == LM_MASS_SHEAR || mass->kind == LM_MASS_SHEET) continue;
        const double *centre = mass->p + lm_mass_model_of(mass->kind)->centre;
        mark_around(a, centre[0], centre[1], 1.5, ROUGH, a->tolerance * peak);
    }
    for (size_t k = 0; k < scene->n_source; k++) {
        const double *last = scene->source[k].param + scene->source[k].kind->n_params;
        for (size_t j = REACH; j + REACH < a->h; j++) {
            size_t at = (j - 1) * w + REACH;
            mark_images(a->bx + at, a->by + at, w, n, last[-2], last[-1], a->what + at + w);
        }
    }
    for (size_t k = 0; k < scene->n_light; k++) {
        const double *last = scene->light[k].param + scene->light[k].kind->n_params;
        mark_around(a, last[-2], last[-1], 1, CUSP, -1);
    }
    a->n_refined = 0;
    for (size_t j = REACH; j + REACH < a->h; j++)
        for (size_t i = j * w + REACH; i < j * w + REACH + n; i++)
            if (a->what[i] != SMOOTH) a->refined[a->n_refined++] = i;
}

/* ---- how much ------------------------------------------------------------------------------------------------------- */

/* Samples gathered, part by part, and how far their sums have come. */
typedef struct {
    size_t n, part, of_part, per_part;
} gathered;

static void flush(lm_adapt *a, const lm_scene *scene, gathered *g)
{
    double *x = a->positions, *y = x + MOST_AT_ONCE, *bx = y + MOST_AT_ONCE, *by = bx + MOST_AT_ONCE,
           *got = by + MOST_AT_ONCE;
    lm_scene_sample(scene, g->n, x, y, bx, by, got);
    for (size_t i = 0; i < g->n; i++) {
        a->fix[g->part] += got[i];
        if (++g->of_part < g->per_part) continue;
        g->of_part = 0;
        g->part++;
    }
    g->n = 0;
}

/* Puts the samples of a refined pixel's parts with those that wait, per x per in each part. */
static void gather(lm_adapt *a, const lm_scene *scene, size_t at, size_t per, gathered *g)
{
    const size_t sub = a->sub;
    const double left = column(a, (double)(at % a->w) - 0.5), low = line(a, (double)(at / a->w) - 0.5);
    const double part = a->frame.pixel / (double)sub;
    double at_1d[FINEST], *x = a->positions, *y = x + MOST_AT_ONCE;
    for (size_t k = 0; k < per; k++) /* Gauss's rule, or the middles of equal shares */
        at_1d[k] =
            part * (per == 2 ? 0.5 + ((double)k - 0.5) * 0.57735026918962576451 : ((double)k + 0.5) / (double)per);
    for (size_t py = 0; py < sub; py++)
        for (size_t px = 0; px < sub; px++)
            for (size_t sy = 0; sy < per; sy++) {
                if (g->n + per > MOST_AT_ONCE) flush(a, scene, g);
                double here = low + part * (double)py + at_1d[sy], from = left + part * (double)px;
                for (size_t sx = 0; sx < per; sx++) {
                    x[g->n] = from + at_1d[sx];
                    y[g->n++] = here;
                }
            }
}

/* From sums of samples to a pixel's mean brightness of each part, less the model's. */
static void take_model_off(const lm_adapt *a, size_t at, double share, double *fix)
{
    const size_t sub = a->sub;
    for (size_t p = 0; p < a->parts; p++) fix[p] *= share;
    const double *c = a->coarse + at - REACH * a->w - REACH;
    for (size_t py = 0; py < sub; py++) {
        double along[NODES] = {0};
        const double *wy = a->weights + py * NODES;
        for (size_t m = 0; m < NODES; m++)
            for (size_t i = 0; i < NODES; i++) along[i] += wy[m] * c[m * a->w + i];
        for (size_t px = 0; px < sub; px++)
            for (size_t i = 0; i < NODES; i++) fix[py * sub + px] -= a->weights[px * NODES + i] * along[i];
    }
}

/* The image of one pixel's `fix`: four parts at a time, that sums stay close. */
LM_CLONES_WIDE static void image_of(const double *restrict g, const double *restrict fix, size_t parts, size_t size,
                                    double *restrict ret)
{
    for (size_t k = 0; k < size; k++) ret[k] = 0;
    size_t part = 0;
    for (; part + 4 <= parts; part += 4, g += 4 * size)
        for (size_t k = 0; k < size; k++)
            ret[k] += (fix[part] * g[k] + fix[part + 1] * g[size + k]) +
                      (fix[part + 2] * g[2 * size + k] + fix[part + 3] * g[3 * size + k]);
    for (; part < parts; part++, g += size)
        for (size_t k = 0; k < size; k++) ret[k] += fix[part] * g[k];
}

static void add_image(const lm_adapt *a, size_t at, const double *fix, double *ret)
{
    const ptrdiff_t h = (ptrdiff_t)a->frame.h, w = (ptrdiff_t)a->frame.w;
    ptrdiff_t y0 = (ptrdiff_t)(at / a->w) - (ptrdiff_t)a->oy + a->gy,
              x0 = (ptrdiff_t)(at % a->w) - (ptrdiff_t)a->ox + a->gx;
    ptrdiff_t from = x0 < 0 ? -x0 : 0, to = x0 + (ptrdiff_t)a->gw > w ? w - x0 : (ptrdiff_t)a->gw;
    image_of(a->g, fix, a->parts, a->gh * a->gs, a->image);
    for (ptrdiff_t i = 0; i < (ptrdiff_t)a->gh; i++) {
        if (y0 + i < 0 || y0 + i >= h) continue;
        const double *row = a->image + (size_t)i * a->gs;
        for (ptrdiff_t j = from; j < to; j++) ret[(y0 + i) * w + x0 + j] += row[j];
    }
}

static void put_fine(const lm_adapt *a, size_t at, const double *fix, double *fine, size_t fh, size_t fw, size_t oy,
                     size_t ox)
{
    const ptrdiff_t sub = (ptrdiff_t)a->sub;
    ptrdiff_t y0 = ((ptrdiff_t)(at / a->w) - (ptrdiff_t)a->oy) * sub + (ptrdiff_t)oy;
    ptrdiff_t x0 = ((ptrdiff_t)(at % a->w) - (ptrdiff_t)a->ox) * sub + (ptrdiff_t)ox;
    for (ptrdiff_t j = 0; j < sub; j++)
        for (ptrdiff_t i = 0; i < sub; i++)
            if (y0 + j >= 0 && y0 + j < (ptrdiff_t)fh && x0 + i >= 0 && x0 + i < (ptrdiff_t)fw)
                fine[(y0 + j) * (ptrdiff_t)fw + x0 + i] = fix[j * sub + i];
}

typedef struct {
    double *ret, *fine; /* fine NULL: corrections go to ret */
    size_t fh, fw, oy, ox;
} target;

/* All refined pixels of one kind, in groups: one call traces many rays. */
static void refine(lm_adapt *a, const lm_scene *scene, uint8_t what, size_t per, const target *to)
{
    const double share = 1 / (double)(per * per);
    size_t group[GROUP], n = 0;
    for (size_t k = 0; k <= a->n_refined; k++) {
        bool last = k == a->n_refined;
        if (!last && a->what[a->refined[k]] == what) group[n++] = a->refined[k];
        if (n == 0 || (n < GROUP && !last)) continue;
        gathered g = {.per_part = per * per};
        memset(a->fix, 0, n * a->parts * sizeof *a->fix);
        for (size_t i = 0; i < n; i++) gather(a, scene, group[i], per, &g);
        flush(a, scene, &g);
        for (size_t i = 0; i < n; i++) {
            double *fix = a->fix + i * a->parts;
            take_model_off(a, group[i], share, fix);
            if (to->fine) put_fine(a, group[i], fix, to->fine, to->fh, to->fw, to->oy, to->ox);
            else add_image(a, group[i], fix, to->ret);
        }
        n = 0;
    }
}

bool lm_adapt_render(lm_adapt *a, const lm_scene *scene, double *ret, double *fine, size_t fh, size_t fw, size_t oy,
                     size_t ox)
{
    const size_t w = a->w;

    for (size_t j = 0; j < a->h; j += a->at_once) {
        size_t rows = a->h - j < a->at_once ? a->h - j : a->at_once;
        for (size_t k = 0; k < rows; k++)
            for (size_t i = 0; i < w; i++) a->y[k * w + i] = line(a, (double)(j + k));
        lm_scene_sample(scene, rows * w, a->x, a->y, a->bx + j * w, a->by + j * w, a->coarse + j * w);
    }
    mark(a, scene);
    lm_blur_apply(a->blur, a->coarse, ret);
    bool many = a->n_refined * a->parts > COST_OF_TRANSFORM * (fh * fw) / (a->gh * a->gw);
    if (many) memset(fine, 0, fh * fw * sizeof *fine);
    target to = {ret, many ? fine : NULL, fh, fw, oy, ox};
    refine(a, scene, ROUGH, 2, &to);
    refine(a, scene, CUSP, a->finest, &to);
    return many;
}
