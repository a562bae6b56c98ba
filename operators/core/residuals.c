#include "operators/core/residuals.h"

#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdbool.h>

enum { LAG = 2 };

typedef struct {
    const double *residual, *variance;
    const uint8_t *usable;
    size_t h, w;
    double mean; /* of residual / sigma */
} field;

static double standardised(const field *f, size_t i)
{
    return f->residual[i] / (f->variance ? sqrt(f->variance[i]) : 1) - f->mean;
}

/* Sum of products of usable pixels that are (dy, dx) apart, dy >= 0. */
static double pair_sum(const field *f, size_t dy, long dx, size_t *ret_pairs)
{
    size_t from = dx < 0 ? (size_t)-dx : 0, shift = dx > 0 ? (size_t)dx : 0;
    double sum = 0;
    size_t pairs = 0;
    for (size_t y = 0; y + dy < f->h; y++)
        for (size_t x = from; x + shift < f->w; x++) {
            size_t a = y * f->w + x, b = (y + dy) * f->w + x + shift - from;
            if (!f->usable[a] || !f->usable[b]) continue;
            sum += standardised(f, a) * standardised(f, b);
            pairs++;
        }
    *ret_pairs = pairs;
    return sum;
}

static void find_whiteness(field *f, size_t used, lm_residual_summary *ret)
{
    double sum = 0, n = (double)used;
    for (size_t i = 0; i < f->h * f->w; i++)
        if (f->usable[i]) sum += standardised(f, i);
    f->mean = sum / n;
    size_t pairs;
    double square = pair_sum(f, 0, 0, &pairs), q = 0, freedom = 0;
    if (!(square > n * 1e-24 * f->mean * f->mean)) return; /* constant, but for rounding */
    for (size_t dy = 0; dy <= LAG; dy++)
        for (long dx = dy ? -LAG : 1; dx <= LAG; dx++) {
            double r = pair_sum(f, dy, dx, &pairs) / square;
            if (!pairs) continue;
            q += n * n / (double)pairs * r * r;
            freedom++;
        }
    if (!(freedom > 0)) return;
    ret->whiteness = q / freedom;
    ret->whiteness_p = gsl_cdf_chisq_Q(q, freedom);
}

void lm_residual_summarise(const double *residual, const double *variance, const uint8_t *usable, size_t h, size_t w,
                           lm_residual_summary *ret)
{
    *ret = (lm_residual_summary){.mean = (double)NAN,
                                 .chi2 = (double)NAN,
                                 .chi2_reduced = (double)NAN,
                                 .whiteness = (double)NAN,
                                 .whiteness_p = (double)NAN};
    double sum = 0, chi2 = 0;
    for (size_t i = 0; i < h * w; i++) {
        if (!usable[i]) continue;
        ret->used++;
        sum += residual[i];
        if (variance) chi2 += residual[i] * residual[i] / variance[i];
    }
    if (!ret->used) return;
    ret->mean = sum / (double)ret->used;
    if (variance) ret->chi2 = chi2;
    if (variance) ret->chi2_reduced = chi2 / (double)ret->used;
    field f = {.residual = residual, .variance = variance, .usable = usable, .h = h, .w = w};
    find_whiteness(&f, ret->used, ret);
}
