/* Blurring by transforms or by two passes of sums. See blur.h. */
#include "operators/core/lensing/blur.h"

#include "operators/core/clones.h"

#include <math.h>
#include <string.h>

/* Of the PSF's peak: what a product of a column and a row may be off by, a few roundings. */
#define PRODUCT_OFF 2e-15
/* A pass of one tap costs a pixel this share of what a transform does, over log2 of its size (0.05 against 0.4 ns, measured). */
#define TAPS_OF_TRANSFORM 4

lm_blur *lm_blur_free(lm_blur *b)
{
    if (!b) return NULL;
    lm_convolver_free(b->convolver);
    lm_free(b->taps);
    lm_free(b->row);
    return lm_free(b);
}

/* The PSF as column times row through its largest pixel, turned round. False: it is no product. */
static bool factor(const lm_psf *psf, double *column, double *row)
{
    size_t h = psf->h, w = psf->w, peak = 0;
    for (size_t i = 1; i < h * w; i++)
        if (fabs(psf->at[i]) > fabs(psf->at[peak])) peak = i;
    double most = psf->at[peak];
    if (!(fabs(most) > 0)) return false;
    for (size_t i = 0; i < h; i++) column[h - 1 - i] = psf->at[i * w + peak % w];
    for (size_t j = 0; j < w; j++) row[w - 1 - j] = psf->at[peak / w * w + j] / most;
    for (size_t i = 0; i < h; i++)
        for (size_t j = 0; j < w; j++)
            if (!(fabs(psf->at[i * w + j] - column[h - 1 - i] * row[w - 1 - j]) <= PRODUCT_OFF * fabs(most)))
                return false;
    return true;
}

lm_status lm_blur_new(const lm_psf *psf, size_t h, size_t w, lm_blur **ret, lm_error *err)
{
    if (!h || !w) return LM_FAIL(err, LM_EINPUT, "the image has no pixels");
    LM_OWN(lm_blur) b = lm_alloc(1, sizeof *b);
    if (!b) return LM_NOMEM(err);
    *b = (lm_blur){.h = h,
                   .w = w,
                   .sh = h + psf->h - 1,
                   .sw = w + psf->w - 1,
                   .oy = psf->h - 1 - psf->cy,
                   .ox = psf->w - 1 - psf->cx,
                   .ph = psf->h,
                   .pw = psf->w};
    b->taps = lm_alloc(psf->h + psf->w, sizeof *b->taps);
    b->row = lm_alloc(b->sw, sizeof *b->row);
    if (!b->taps || !b->row) return LM_NOMEM(err);
    bool few = (double)(psf->h + psf->w) < TAPS_OF_TRANSFORM * log2((double)b->sh * (double)b->sw);
    if (!few || !factor(psf, b->taps, b->taps + psf->h))
        LM_TRY(lm_convolver_new(psf, h, w, LM_EDGE_OPEN, false, &b->convolver, err));
    *ret = lm_take(b);
    return LM_OK;
}

/* ret[x] = sum_k taps[k] from[k step + x]: eight taps at a time, that sums stay close */
LM_CLONES_WIDE static void pass(const double *restrict t, size_t n_taps, const double *restrict from, size_t step,
                                size_t n, double *restrict ret)
{
    for (size_t x = 0; x < n; x++) ret[x] = 0;
    for (; n_taps >= 8; n_taps -= 8, t += 8, from += 8 * step)
        for (size_t x = 0; x < n; x++) {
            const double *at = from + x;
            ret[x] += ((t[0] * at[0] + t[1] * at[step]) + (t[2] * at[2 * step] + t[3] * at[3 * step])) +
                      ((t[4] * at[4 * step] + t[5] * at[5 * step]) + (t[6] * at[6 * step] + t[7] * at[7 * step]));
        }
    for (; n_taps >= 2; n_taps -= 2, t += 2, from += 2 * step)
        for (size_t x = 0; x < n; x++) ret[x] += t[0] * from[x] + t[1] * from[step + x];
    for (size_t x = 0; n_taps && x < n; x++) ret[x] += t[0] * from[x];
}

void lm_blur_apply(lm_blur *b, const double *sky, double *image)
{
    if (b->convolver) {
        lm_convolve_f64(b->convolver, sky, image);
        return;
    }
    for (size_t y = 0; y < b->h; y++) {
        pass(b->taps, b->ph, sky + y * b->sw, b->sw, b->sw, b->row);
        pass(b->taps + b->ph, b->pw, b->row, 1, b->w, image + y * b->w);
    }
}
