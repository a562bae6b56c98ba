/* Images of lenses. See render.h. */
#include "operators/core/lensing/render.h"

#include <math.h>
#include <string.h>

enum { MOST_SAMPLES = 1 << 28, MOST_SUB = 64 };

struct lm_renderer {
    lm_frame frame;
    size_t h, w;             /* samples, those beyond the frame included */
    size_t inner_h, inner_w; /* samples of the frame */
    double x0, y0, step;     /* the first sample, arcsec, and how far apart they are */
    lm_convolver *convolver; /* NULL: no PSF */
    double *sky;             /* [h][w] */
    double *blurred;         /* [inner_h][inner_w]; NULL: no PSF, the sky is all there is */
    double *rows;            /* [4][w]: x, y, and the position in the source plane */
};

lm_renderer *lm_renderer_free(lm_renderer *r)
{
    if (!r) return NULL;
    lm_convolver_free(r->convolver);
    lm_free(r->sky);
    lm_free(r->blurred);
    lm_free(r->rows);
    return lm_free(r);
}

lm_status lm_renderer_new(const lm_frame *frame, const lm_psf *psf, lm_renderer **ret, lm_error *err)
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
    LM_OWN(lm_renderer) r = lm_alloc(1, sizeof *r);
    if (!r) return LM_NOMEM(err);
    r->frame = *frame;
    r->h = r->inner_h = frame->h * frame->sub;
    r->w = r->inner_w = frame->w * frame->sub;
    r->step = frame->pixel / frame->sub;
    size_t oy = 0, ox = 0;
    if (psf) { /* an open edge: the sky goes on beyond the frame */
        LM_TRY(lm_convolver_new(psf, r->h, r->w, LM_EDGE_OPEN, false, &r->convolver, err));
        r->h = r->convolver->sh;
        r->w = r->convolver->sw;
        oy = r->convolver->oy;
        ox = r->convolver->ox;
        r->blurred = lm_alloc_data(r->inner_h * r->inner_w * sizeof *r->blurred);
        if (!r->blurred) return LM_NOMEM(err);
    }
    r->x0 = frame->x - ((double)(r->inner_w - 1) / 2 + (double)ox) * r->step;
    r->y0 = frame->y - ((double)(r->inner_h - 1) / 2 + (double)oy) * r->step;
    r->sky = lm_alloc_data(r->h * r->w * sizeof *r->sky);
    r->rows = lm_alloc_data(4 * r->w * sizeof *r->rows);
    if (!r->sky || !r->rows) return LM_NOMEM(err);
    *ret = lm_take(r);
    return LM_OK;
}

/* Row j of samples: brightness of the source where the lens lets it be seen, and of the lens. */
static void sample_row(lm_renderer *r, const lm_scene *scene, size_t j, double *ret)
{
    size_t w = r->w;
    double *x = r->rows, *y = x + w, *bx = y + w, *by = bx + w;
    for (size_t i = 0; i < w; i++) {
        x[i] = r->x0 + (double)i * r->step;
        y[i] = r->y0 + (double)j * r->step;
        bx[i] = by[i] = ret[i] = 0;
    }
    if (scene->n_source) {
        lm_mass_maps deflection = {.alpha_x = bx, .alpha_y = by};
        for (size_t k = 0; k < scene->n_masses; k++) lm_mass_add(&scene->masses[k], w, x, y, &deflection);
        for (size_t i = 0; i < w; i++) {
            bx[i] = x[i] - bx[i];
            by[i] = y[i] - by[i];
        }
        for (size_t k = 0; k < scene->n_source; k++) lm_light_add(&scene->source[k], w, bx, by, ret);
    }
    for (size_t k = 0; k < scene->n_light; k++) lm_light_add(&scene->light[k], w, x, y, ret);
}

void lm_render(lm_renderer *r, const lm_scene *scene, double *ret)
{
    for (size_t j = 0; j < r->h; j++) sample_row(r, scene, j, r->sky + j * r->w);
    const double *samples = r->sky;
    if (r->convolver) {
        lm_convolve_f64(r->convolver, r->sky, r->blurred);
        samples = r->blurred;
    }
    const size_t sub = r->frame.sub, w = r->frame.w;
    const double share = 1 / (double)(sub * sub);
    memset(ret, 0, r->frame.h * w * sizeof *ret);
    for (size_t j = 0; j < r->inner_h; j++) {
        double *to = ret + j / sub * w;
        const double *from = samples + j * r->inner_w;
        for (size_t i = 0; i < w; i++)
            for (size_t s = 0; s < sub; s++) to[i] += share * from[i * sub + s];
    }
}
