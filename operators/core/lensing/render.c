/* Images of lenses. See render.h. */
#include "operators/core/lensing/render.h"

#include "operators/core/lensing/blur.h"
#include "operators/core/lensing/render_adapt.h"

#include <math.h>
#include <string.h>

enum { MOST_SAMPLES = 1 << 28, MOST_SUB = 64, AT_ONCE = 512 };

struct lm_renderer {
    lm_frame frame;
    size_t h, w;             /* samples, those beyond the frame included */
    size_t inner_h, inner_w; /* samples of the frame */
    double x0, y0, step;     /* the first sample, arcsec, and how far apart they are */
    lm_blur *blur;           /* NULL: no PSF */
    double *sky;             /* [h][w] */
    double *blurred;         /* [inner_h][inner_w]; NULL: no PSF, the sky is all there is */
    size_t at_once;          /* rows that are traced together */
    double *rows;            /* [4][at_once][w]: x, y, and the position in the source plane; x stays */
    lm_adapt *adapt;         /* NULL: uniform */
};

lm_renderer *lm_renderer_free(lm_renderer *r)
{
    if (!r) return NULL;
    lm_adapt_free(r->adapt);
    lm_blur_free(r->blur);
    lm_free(r->sky);
    lm_free(r->blurred);
    lm_free(r->rows);
    return lm_free(r);
}

static lm_status check(const lm_frame *frame, lm_error *err)
{
    if (frame->h == 0 || frame->w == 0)
        return LM_FAIL(err, LM_EINPUT, "an image of %zu x %zu pixels has none", frame->h, frame->w);
    if (!(frame->pixel > 0) || !isfinite(frame->pixel) || !isfinite(frame->x) || !isfinite(frame->y))
        return LM_FAIL(err, LM_EINPUT, "a pixel of %g arcsec around (%g, %g) is no pixel", frame->pixel, frame->x,
                       frame->y);
    if (frame->sub < 1 || frame->sub > MOST_SUB)
        return LM_FAIL(err, LM_EINPUT, "%u samples along a pixel: it must be 1 to %d", frame->sub, MOST_SUB);
    if (frame->h > MOST_SAMPLES / frame->sub / frame->sub / frame->w)
        return LM_FAIL_HINT(err, LM_EINPUT, "Take fewer pixels, or fewer samples in each.",
                            "%zu x %zu pixels of %u x %u samples are too many", frame->h, frame->w, frame->sub,
                            frame->sub);
    return LM_OK;
}

/* The sum of the absolute values of a row, or a column. */
static double weight(const lm_psf *psf, size_t first, size_t step, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += fabs(psf->at[first + i * step]);
    return sum;
}

/* A PSF without the border that changes no image: all of it together is below the rounding of its sum, 1e-17 a side. ret->at is to
 * be freed. */
static lm_status trim(const lm_psf *psf, lm_psf *ret, lm_error *err)
{
    const size_t h = psf->h, w = psf->w;
    size_t low = 0, high = h, left = 0, right = w;
    double most = 1e-17 * weight(psf, 0, 1, h * w), sum = 0;
    while (low < psf->cy && !((sum += weight(psf, low * w, 1, w)) > most)) low++;
    sum = 0;
    while (high > psf->cy + 1 && !((sum += weight(psf, (high - 1) * w, 1, w)) > most)) high--;
    sum = 0;
    while (left < psf->cx && !((sum += weight(psf, left, w, h)) > most)) left++;
    sum = 0;
    while (right > psf->cx + 1 && !((sum += weight(psf, right - 1, w, h)) > most)) right--;
    *ret = *psf;
    ret->h = high - low;
    ret->w = right - left;
    ret->cy -= low;
    ret->cx -= left;
    ret->at = lm_alloc(ret->h * ret->w, sizeof *ret->at);
    if (!ret->at) return LM_NOMEM(err);
    for (size_t i = 0; i < ret->h; i++)
        memcpy(ret->at + i * ret->w, psf->at + (low + i) * w + left, ret->w * sizeof *ret->at);
    return LM_OK;
}

/* tolerance 0: not adaptive. */
static lm_status make(const lm_frame *frame, const lm_psf *given, double tolerance, lm_renderer **ret, lm_error *err)
{
    LM_TRY(check(frame, err));
    lm_psf trimmed = {0}, *psf = given ? &trimmed : NULL;
    if (given) LM_TRY(trim(given, &trimmed, err));
    LM_OWN(lm_memory) pixels = trimmed.at;
    (void)pixels; /* kept for its end */
    LM_OWN(lm_renderer) r = lm_alloc(1, sizeof *r);
    if (!r) return LM_NOMEM(err);
    r->frame = *frame;
    r->h = r->inner_h = frame->h * frame->sub;
    r->w = r->inner_w = frame->w * frame->sub;
    r->step = frame->pixel / frame->sub;
    size_t oy = 0, ox = 0;
    if (psf) { /* an open edge: the sky goes on beyond the frame */
        LM_TRY(lm_blur_new(psf, r->h, r->w, &r->blur, err));
        r->h = r->blur->sh;
        r->w = r->blur->sw;
        oy = r->blur->oy;
        ox = r->blur->ox;
        r->blurred = lm_alloc_data(r->inner_h * r->inner_w * sizeof *r->blurred);
        if (!r->blurred) return LM_NOMEM(err);
    }
    r->x0 = frame->x - ((double)(r->inner_w - 1) / 2 + (double)ox) * r->step;
    r->y0 = frame->y - ((double)(r->inner_h - 1) / 2 + (double)oy) * r->step;
    r->sky = lm_alloc_data(r->h * r->w * sizeof *r->sky);
    r->at_once = lm_at_once(r->w);
    r->rows = lm_alloc_data(4 * r->at_once * r->w * sizeof *r->rows);
    if (!r->sky || !r->rows) return LM_NOMEM(err);
    for (size_t i = 0; i < r->at_once * r->w; i++) r->rows[i] = r->x0 + (double)(i % r->w) * r->step;
    if (tolerance > 0) LM_TRY(lm_adapt_new(frame, psf, tolerance, &r->adapt, err));
    *ret = lm_take(r);
    return LM_OK;
}

lm_status lm_renderer_new(const lm_frame *frame, const lm_psf *psf, lm_renderer **ret, lm_error *err)
{
    return make(frame, psf, 0, ret, err);
}

lm_status lm_renderer_new_adaptive(const lm_frame *frame, const lm_psf *psf, double tolerance, lm_renderer **ret,
                                   lm_error *err)
{
    if (!(tolerance > 0 && tolerance < 1))
        return LM_FAIL_HINT(err, LM_EINPUT, "Take 1e-3, or smaller.",
                            "a tolerance of %g of the peak: it must lie between 0 and 1", tolerance);
    return make(frame, psf, tolerance, ret, err);
}

size_t lm_renderer_refined(const lm_renderer *r)
{
    return r->adapt ? lm_adapt_refined(r->adapt) : 0;
}

size_t lm_at_once(size_t w)
{
    return w >= AT_ONCE ? 1 : AT_ONCE / w;
}

void lm_scene_sample(const lm_scene *scene, size_t n, const double *x, const double *y, double *bx, double *by,
                     double *ret)
{
    memset(ret, 0, n * sizeof *ret);
    if (scene->n_source) {
        memset(bx, 0, n * sizeof *bx);
        memset(by, 0, n * sizeof *by);
        lm_mass_maps deflection = {.alpha_x = bx, .alpha_y = by};
        for (size_t k = 0; k < scene->n_masses; k++) lm_mass_add(&scene->masses[k], n, x, y, &deflection);
        for (size_t i = 0; i < n; i++) {
            bx[i] = x[i] - bx[i];
            by[i] = y[i] - by[i];
        }
        for (size_t k = 0; k < scene->n_source; k++) lm_light_add(&scene->source[k], n, bx, by, ret);
    }
    for (size_t k = 0; k < scene->n_light; k++) lm_light_add(&scene->light[k], n, x, y, ret);
}

/* n rows of samples from row j on: brightness of the source where the lens lets it be seen, and of the lens. */
static void sample_rows(lm_renderer *r, const lm_scene *scene, size_t j, size_t n, double *ret)
{
    size_t w = r->w, all = r->at_once * w;
    double *x = r->rows, *y = x + all, *bx = y + all, *by = bx + all;
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < w; i++) y[k * w + i] = r->y0 + (double)(j + k) * r->step;
    lm_scene_sample(scene, n * w, x, y, bx, by, ret);
}

/* Adds the means over pixels of the blurred samples. */
static void blur_and_add(lm_renderer *r, double *ret)
{
    const double *samples = r->sky;
    if (r->blur) {
        lm_blur_apply(r->blur, r->sky, r->blurred);
        samples = r->blurred;
    }
    const size_t sub = r->frame.sub, w = r->frame.w;
    const double share = 1 / (double)(sub * sub);
    for (size_t j = 0; j < r->inner_h; j++) {
        double *to = ret + j / sub * w;
        const double *from = samples + j * r->inner_w;
        for (size_t i = 0; i < w; i++)
            for (size_t s = 0; s < sub; s++) to[i] += share * from[i * sub + s];
    }
}

void lm_render(lm_renderer *r, const lm_scene *scene, double *ret)
{
    if (r->adapt) { /* many corrections are blurred as fine samples are */
        size_t oy = r->blur ? r->blur->oy : 0, ox = r->blur ? r->blur->ox : 0;
        if (lm_adapt_render(r->adapt, scene, ret, r->sky, r->h, r->w, oy, ox)) blur_and_add(r, ret);
        return;
    }
    for (size_t j = 0; j < r->h; j += r->at_once)
        sample_rows(r, scene, j, r->h - j < r->at_once ? r->h - j : r->at_once, r->sky + j * r->w);
    if (r->frame.sub == 1) {
        if (r->blur) lm_blur_apply(r->blur, r->sky, ret);
        else memcpy(ret, r->sky, r->frame.h * r->frame.w * sizeof *ret);
        return;
    }
    memset(ret, 0, r->frame.h * r->frame.w * sizeof *ret);
    blur_and_add(r, ret);
}
