/* Point spread functions from closed forms. See psf.h. */
#include "operators/core/psf.h"

#include <math.h>
#include <string.h>

enum { NODES = 3, MOST_CELLS = 10 }; /* a pixel is integrated in cells, with Gauss-Legendre nodes in each */
#define CELLS_PER_FWHM 2.0

lm_status lm_psf_profile_check(const lm_psf_profile *p, lm_error *err)
{
    if (!(p->fwhm > 0) || !isfinite(p->fwhm))
        return LM_FAIL(err, LM_EINPUT, "a PSF with a full width of %g at half maximum: it must be above 0", p->fwhm);
    if (p->kind == LM_PSF_MOFFAT && (!(p->beta > 1) || !isfinite(p->beta)))
        return LM_FAIL_HINT(err, LM_EINPUT, "Seeing has 2.5 to 4.8.",
                            "a Moffat PSF with a beta of %g: at 1 or below its light has no end", p->beta);
    if (!(p->q > 0 && p->q <= 1))
        return LM_FAIL(err, LM_EINPUT, "a PSF with q = %g: it must be above 0, at most 1", p->q);
    if (!isfinite(p->phi)) return LM_FAIL(err, LM_EINPUT, "a PSF with a position angle of %g", p->phi);
    return LM_OK;
}

/* a^2 of a Moffat profile. */
static double moffat_scale2(const lm_psf_profile *p)
{
    return p->fwhm * p->fwhm / (4 * expm1(M_LN2 / p->beta));
}

double lm_psf_profile_radius(const lm_psf_profile *p, double beyond)
{
    double r2; /* light beyond: exp(-4 ln 2 r^2/fwhm^2), (1 + r^2/a^2)^(1 - beta) */
    if (p->kind == LM_PSF_GAUSSIAN) r2 = -log(beyond) * p->fwhm * p->fwhm / (4 * M_LN2);
    else r2 = moffat_scale2(p) * expm1(-log(beyond) / (p->beta - 1));
    return sqrt(r2 / p->q);
}

/* By R^2; the peak is 1. */
static void heights(const lm_psf_profile *p, size_t n, double *r2)
{
    if (p->kind == LM_PSF_GAUSSIAN) {
        double per = -4 * M_LN2 / (p->fwhm * p->fwhm);
        for (size_t i = 0; i < n; i++) r2[i] = exp(per * r2[i]);
    } else {
        double per = 1 / moffat_scale2(p);
        for (size_t i = 0; i < n; i++) r2[i] = exp(-p->beta * log1p(per * r2[i]));
    }
}

/* Nodes and weights in a pixel from -1/2 to 1/2, in that many cells. Returns how many. */
static size_t nodes_of(double cells, double *at, double *weight)
{
    static const double node[NODES] = {-0.77459666924148338, 0, 0.77459666924148338}, share[NODES] = {5, 8, 5};
    size_t n = cells >= MOST_CELLS ? MOST_CELLS : cells > 1 ? (size_t)ceil(cells) : 1;
    for (size_t c = 0; c < n; c++)
        for (size_t k = 0; k < NODES; k++) {
            at[c * NODES + k] = ((double)c + 0.5 + 0.5 * node[k]) / (double)n - 0.5;
            weight[c * NODES + k] = share[k] / (18 * (double)n);
        }
    return n * NODES;
}

void lm_psf_profile_fill(const lm_psf_profile *p, double pixel, double x, double y, size_t n, double *ret)
{
    double at[NODES * MOST_CELLS], weight[NODES * MOST_CELLS];
    const size_t m = nodes_of(CELLS_PER_FWHM * pixel / (p->fwhm * sqrt(p->q)), at, weight);
    double c = cos(p->phi), s = sin(p->phi), middle = (double)(n / 2), sum = 0,
           r2[NODES * MOST_CELLS * NODES * MOST_CELLS];
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < n; i++) {
            for (size_t b = 0; b < m; b++)
                for (size_t a = 0; a < m; a++) {
                    double dx = ((double)i - middle + at[a]) * pixel - x;
                    double dy = ((double)j - middle + at[b]) * pixel - y;
                    double along = c * dx + s * dy, across = c * dy - s * dx;
                    r2[b * m + a] = p->q * along * along + across * across / p->q;
                }
            heights(p, m * m, r2);
            double height = 0;
            for (size_t b = 0; b < m; b++)
                for (size_t a = 0; a < m; a++) height += weight[b] * weight[a] * r2[b * m + a];
            ret[j * n + i] = height;
            sum += height;
        }
    if (sum > 0 && isfinite(sum)) {
        for (size_t i = 0; i < n * n; i++) ret[i] /= sum;
        return;
    }
    /* so narrow that it fell between all points: a star in one pixel */
    memset(ret, 0, n * n * sizeof *ret);
    double i = nearbyint(middle + x / pixel), j = nearbyint(middle + y / pixel);
    if (i >= 0 && j >= 0 && i < (double)n && j < (double)n) ret[(size_t)j * n + (size_t)i] = 1;
}

/* Weights of the samples at -1, 0, 1, 2 for a position t in [0, 1) between 0 and 1. */
static void cubic(double t, double weight[4])
{
    weight[0] = ((-0.5 * t + 1) * t - 0.5) * t;
    weight[1] = (1.5 * t - 2.5) * t * t + 1;
    weight[2] = ((-1.5 * t + 2) * t + 0.5) * t;
    weight[3] = (0.5 * t - 0.5) * t * t;
}

void lm_psf_move(const double *psf, size_t h, size_t w, double x, double y, double *ret)
{
    double wx[4], wy[4];
    cubic(x, wx); /* light at a point goes to its neighbours with the weights that it would be read with */
    cubic(y, wy);
    memset(ret, 0, (h + 3) * (w + 3) * sizeof *ret);
    for (size_t j = 0; j < h; j++)
        for (size_t b = 0; b < 4; b++)
            for (size_t i = 0; i < w; i++)
                for (size_t a = 0; a < 4; a++) ret[(j + b) * (w + 3) + i + a] += wy[b] * wx[a] * psf[j * w + i];
}

void lm_psf_stamp(const double *psf, size_t kh, size_t kw, ptrdiff_t row, ptrdiff_t column, unsigned sub, double flux,
                  size_t h, size_t w, double *to)
{
    for (size_t j = 0; j < kh; j++) {
        ptrdiff_t y = row + (ptrdiff_t)j;
        if (y < 0 || (size_t)y >= h * sub) continue;
        double *line = to + (size_t)y / sub * w;
        for (size_t i = 0; i < kw; i++) {
            ptrdiff_t x = column + (ptrdiff_t)i;
            if (x >= 0 && (size_t)x < w * sub) line[(size_t)x / sub] += flux * psf[j * kw + i];
        }
    }
}
