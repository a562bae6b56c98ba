/* A convolver puts the sky and its continuation beyond the image on a grid that is large enough for no light to come
 * round from the other side, and multiplies spectra. The adjoint runs the same passes backwards: data on the grid with
 * zeros around, the conjugate spectrum, and each continuation's share added to the pixel that it continues.
 *
 * Grid: row 0 is the first row of the continued sky, so the data's first row is at gy. With the PSF's origin at grid
 * pixel (0, 0), data come out where the sky lies.
 */
#include "operators/core/convolve.h"

#include <math.h>
#include <string.h>

const char *const lm_edge_names[] = {"open", "zero", "mirror", "nearest", "periodic", NULL};
const char *const lm_psf_centre_names[] = {"middle", "peak", "centroid", NULL};

lm_status lm_psf_init(lm_psf *psf, const double *pixels, size_t h, size_t w, lm_psf_centre centre, bool normalise,
                      lm_error *err)
{
    *psf = (lm_psf){.h = h, .w = w};
    if (!h || !w) return LM_FAIL(err, LM_EINPUT, "the PSF has no pixels");
    double moment_y = 0, moment_x = 0;
    size_t peak = 0;
    for (size_t i = 0; i < h * w; i++) {
        double v = pixels[i];
        if (!isfinite(v))
            return LM_FAIL_HINT(err, LM_EINPUT, "Replace undefined pixels of the PSF, by 0 if they are far out.",
                                "the PSF is not finite at row %zu, column %zu", i / w, i % w);
        psf->sum += v;
        psf->negative += v < 0;
        moment_y += v * (double)(i / w);
        moment_x += v * (double)(i % w);
        if (v > pixels[peak]) peak = i;
    }
    if (!(psf->sum > 0) || !isfinite(psf->sum) || !isfinite(1 / psf->sum))
        return LM_FAIL_HINT(err, LM_EINPUT, "Give a PSF whose pixels sum to a positive number.",
                            "the PSF's pixels sum to %g", psf->sum);
    if (centre == LM_PSF_MIDDLE) {
        psf->cy = (h - 1) / 2;
        psf->cx = (w - 1) / 2;
    } else if (centre == LM_PSF_PEAK) {
        psf->cy = peak / w;
        psf->cx = peak % w;
    } else { /* negative pixels can push a centroid off the array */
        double cy = moment_y / psf->sum, cx = moment_x / psf->sum;
        if (!(cy > -0.5 && cy < (double)h - 0.5 && cx > -0.5 && cx < (double)w - 0.5))
            return LM_FAIL_HINT(err, LM_EINPUT, "Use \"centre: peak\", or take the background off the PSF.",
                                "the PSF's centroid (row %g, column %g) lies outside of its %zu x %zu pixels", cy, cx,
                                h, w);
        psf->cy = (size_t)lround(cy);
        psf->cx = (size_t)lround(cx);
    }
    psf->at = lm_alloc_data(h * w * sizeof *psf->at);
    if (!psf->at) return LM_NOMEM(err);
    for (size_t i = 0; i < h * w; i++) psf->at[i] = normalise ? pixels[i] / psf->sum : pixels[i];
    return LM_OK;
}

void lm_psf_done(lm_psf *psf)
{
    psf->at = lm_free(psf->at);
}

void lm_psf_clip(lm_psf *psf)
{
    double before = 0, after = 0;
    for (size_t i = 0; i < psf->h * psf->w; i++) {
        before += psf->at[i];
        if (psf->at[i] < 0) psf->at[i] = 0;
        after += psf->at[i];
    }
    for (size_t i = 0; i < psf->h * psf->w; i++) psf->at[i] *= before / after;
}

/* Where pixel i of a PSF with origin c falls on a periodic axis of n pixels. */
static size_t on_grid(size_t i, size_t c, size_t n)
{
    return i >= c ? (i - c) % n : (n - (c - i) % n) % n;
}

/* With nothing beyond the edge, no two of `n` pixels are this far apart: such a PSF pixel moves no light. */
static bool beyond(const lm_convolver *convolver, size_t i, size_t c, size_t n)
{
    return convolver->edge == LM_EDGE_ZERO && (i >= c ? i - c : c - i) >= n;
}

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The sky pixel (0 .. n-1) that stands at position e - before of the endless line. */
static size_t continued(size_t e, size_t before, size_t n, lm_edge edge)
{
    if (edge == LM_EDGE_NEAREST) return e < before ? 0 : min_size(e - before, n - 1);
    size_t period = 2 * n;
    size_t at = e >= before ? (e - before) % period : (period - (before - e) % period) % period;
    return at < n ? at : period - 1 - at;
}

#define REAL double
#define FN(name) name##_f64
#include "operators/core/convolve.inc"
#undef REAL
#undef FN
#define REAL float
#define FN(name) name##_f32
#include "operators/core/convolve.inc"
#undef REAL
#undef FN

/* One axis: n data pixels, a PSF of p pixels with its origin at c. */
static void lay_out(lm_edge edge, size_t n, size_t p, size_t c, size_t *ret_sky, size_t *ret_continued,
                    size_t *ret_first, size_t *ret_grid)
{
    size_t reach = c > p - 1 - c ? c : p - 1 - c;
    switch (edge) {
    case LM_EDGE_PERIODIC:
        *ret_sky = *ret_continued = *ret_grid = n;
        *ret_first = 0;
        return;
    case LM_EDGE_ZERO:
        *ret_sky = *ret_continued = n;
        *ret_first = 0;
        *ret_grid = lm_fft_size(n + min_size(reach, n - 1));
        return;
    case LM_EDGE_OPEN:
    case LM_EDGE_MIRROR:
    case LM_EDGE_NEAREST: break;
    }
    *ret_continued = n + p - 1;
    *ret_sky = edge == LM_EDGE_OPEN ? n + p - 1 : n;
    *ret_first = p - 1 - c;
    *ret_grid = lm_fft_size(n + p - 1);
}

static bool has_all(const lm_convolver *c, bool folds)
{
    return c->kernel && c->spectrum && c->sky_row && c->data_row && c->out_row &&
           (!folds || (c->map_y && c->map_x && c->fold));
}

lm_status lm_convolver_new(const lm_psf *psf, size_t h, size_t w, lm_edge edge, bool single, lm_convolver **ret,
                           lm_error *err)
{
    if (!h || !w) return LM_FAIL(err, LM_EINPUT, "the image has no pixels");
    LM_OWN(lm_convolver) c = lm_alloc(1, sizeof *c);
    if (!c) return LM_NOMEM(err);
    c->edge = edge, c->single = single, c->h = h, c->w = w;
    lay_out(edge, h, psf->h, psf->cy, &c->sh, &c->eh, &c->gy, &c->n1);
    lay_out(edge, w, psf->w, psf->cx, &c->sw, &c->ew, &c->gx, &c->n2);
    if (edge == LM_EDGE_OPEN) c->oy = c->gy, c->ox = c->gx;
    LM_TRY(lm_fft_open(c->n1, c->n2, single, &c->fft, err));

    size_t bytes = lm_fft_spectrum_bytes(c->fft), real = single ? sizeof(float) : sizeof(double);
    bool folds = edge == LM_EDGE_MIRROR || edge == LM_EDGE_NEAREST;
    c->kernel = lm_alloc_data(bytes);
    c->spectrum = lm_alloc_data(bytes);
    c->sky_row = lm_alloc_data(c->n2 * real);
    c->data_row = lm_alloc_data(c->n2 * real);
    c->out_row = lm_alloc_data(c->n2 * real);
    if (folds) {
        c->map_y = lm_alloc(c->eh, sizeof *c->map_y);
        c->map_x = lm_alloc(c->ew, sizeof *c->map_x);
        c->fold = lm_alloc_data(c->sh * c->sw * real);
    }
    if (!has_all(c, folds)) return LM_NOMEM(err);
    for (size_t e = 0; folds && e < c->eh; e++) c->map_y[e] = continued(e, c->gy, h, edge);
    for (size_t e = 0; folds && e < c->ew; e++) c->map_x[e] = continued(e, c->gx, w, edge);
    memset(c->data_row, 0, c->n2 * real);
    if (single) fill_kernel_f32(c, psf);
    else fill_kernel_f64(c, psf);
    *ret = lm_take(c);
    return LM_OK;
}

lm_convolver *lm_convolver_free(lm_convolver *c)
{
    if (!c) return NULL;
    lm_fft_close(c->fft);
    lm_free(c->map_y);
    lm_free(c->map_x);
    lm_free(c->kernel);
    lm_free(c->spectrum);
    lm_free(c->sky_row);
    lm_free(c->data_row);
    lm_free(c->out_row);
    lm_free(c->fold);
    return lm_free(c);
}
