/* R-hat, effective sample sizes and autocorrelation times. Equations: Vehtari et al. 2021, sections 3 and 4; the sums of autocorrelations
 * are cut as in Geyer 1992 (Stat. Sci. 7, 473), by the rules of Stan and ArviZ, with which the numbers agree.
 */
#include "operators/core/sampling.h"
#include "runtime/alloc.h"

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_fft_halfcomplex.h>
#include <gsl/gsl_fft_real.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* ---- sums of lagged products, through the power spectrum ---- */

typedef struct lags {
    double *sum, *work; /* each [padded] */
    size_t n, padded;   /* padded: a power of two, so long that the ends of a series do not meet */
} lags;

static void lags_free(lags *l)
{
    l->sum = lm_free(l->sum);
    l->work = lm_free(l->work);
}
static inline void lags_cleanup(lags *l)
{
    lags_free(l);
}

static lm_status lags_init(lags *l, size_t n, lm_error *err)
{
    *l = (lags){.n = n, .padded = 2};
    while (l->padded < 2 * n) {
        if (l->padded > SIZE_MAX / 4) return LM_NOMEM(err);
        l->padded *= 2;
    }
    l->sum = lm_alloc(l->padded, sizeof(double));
    l->work = lm_alloc(l->padded, sizeof(double));
    return l->sum && l->work ? LM_OK : LM_NOMEM(err);
}

/* Adds the power spectrum of x[i * stride] - mean, times weight. */
static void lags_add(lags *l, const double *x, size_t stride, double mean, double weight)
{
    double *w = l->work;
    size_t all = l->padded, half = all / 2;
    memset(w, 0, all * sizeof *w);
    for (size_t i = 0; i < l->n; i++) w[i] = x[i * stride] - mean;
    gsl_fft_real_radix2_transform(w, 1, all);
    l->sum[0] += weight * w[0] * w[0];
    for (size_t k = 1; k < half; k++) l->sum[k] += weight * (w[k] * w[k] + w[all - k] * w[all - k]);
    l->sum[half] += weight * w[half] * w[half];
}

/* Then: sum[t] = sum_i (x[i] - mean) (x[i + t] - mean), t < n. */
static void lags_finish(lags *l)
{
    gsl_fft_halfcomplex_radix2_inverse(l->sum, 1, l->padded);
}

/* ---- ranks and quantiles ---- */

typedef struct ranked {
    double value;
    size_t at;
} ranked;

static int by_value(const void *a, const void *b)
{
    double x = ((const ranked *)a)->value, y = ((const ranked *)b)->value;
    return (x > y) - (x < y);
}

/* Replaces n numbers by the normal scores of their ranks, equals sharing the mean of theirs (eq. 14). room [n]. */
static void normal_scores(double *x, size_t n, ranked *room)
{
    for (size_t i = 0; i < n; i++) room[i] = (ranked){x[i], i};
    qsort(room, n, sizeof *room, by_value);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && room[end].value == room[i].value;) end++;
        double rank = 0.5 * (double)(i + 1 + end);
        double z = gsl_cdf_ugaussian_Pinv((rank - 0.375) / ((double)n + 0.25));
        for (size_t k = i; k < end; k++) x[room[k].at] = z;
    }
}

/* Of sorted numbers, between the two nearest (R's type 7). */
static double quantile(const ranked *sorted, size_t n, double p)
{
    double at = p * (double)(n - 1);
    size_t low = (size_t)at, high = low + 1 < n ? low + 1 : low;
    return sorted[low].value + (at - (double)low) * (sorted[high].value - sorted[low].value);
}

static double mean_of(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i];
    return sum / (double)n;
}

/* ---- R-hat and effective sample sizes of chains that have been split ---- */

typedef struct halves {
    double *x;    /* [chains][n] */
    ranked *room; /* [all draws] */
    size_t chains, n;
} halves;

static inline void halves_cleanup(halves *h)
{
    h->x = lm_free(h->x);
    h->room = lm_free(h->room);
}

/* The first and the last half of each chain; one draw in the middle falls between them if their number is odd. */
static void split(halves *h, const double *draws, size_t chains, size_t n)
{
    for (size_t c = 0; c < chains; c++) {
        memcpy(h->x + 2 * c * h->n, draws + c * n, h->n * sizeof(double));
        memcpy(h->x + (2 * c + 1) * h->n, draws + (c + 1) * n - h->n, h->n * sizeof(double));
    }
}

static lm_status prepare(halves *h, const double *draws, size_t chains, size_t n, lm_error *err)
{
    if (chains == 0 || n < 4)
        return LM_FAIL_HINT(err, LM_EINPUT, "Make longer chains.",
                            "%zu chains of %zu draws: convergence needs at least 4 draws of one chain", chains, n);
    bool constant = true;
    for (size_t i = 0; i < chains * n; i++) {
        if (!isfinite(draws[i])) return LM_FAIL(err, LM_EINPUT, "draw %zu of chain %zu is %g", i % n, i / n, draws[i]);
        constant = constant && draws[i] == draws[0];
    }
    if (constant)
        return LM_FAIL(err, LM_EINPUT, "all draws are %g: nothing can be told about their convergence", draws[0]);
    h->chains = 2 * chains;
    h->n = n / 2;
    h->x = lm_alloc(chains * n, sizeof *h->x);
    h->room = lm_alloc(chains * n, sizeof *h->room);
    if (!h->x || !h->room) return LM_NOMEM(err);
    split(h, draws, chains, n);
    return LM_OK;
}

/* Eqs. 1 to 4. No spread within the chains, but between them: infinite. None at all: NaN. */
static double rhat(const halves *h)
{
    double within = 0, between = 0, n = (double)h->n, m = (double)h->chains, mean = mean_of(h->x, h->chains * h->n);
    for (size_t c = 0; c < h->chains; c++) {
        const double *x = h->x + c * h->n;
        double centre = mean_of(x, h->n), squares = 0;
        for (size_t i = 0; i < h->n; i++) squares += (x[i] - centre) * (x[i] - centre);
        within += squares / (n - 1) / m;
        between += n * (centre - mean) * (centre - mean) / (m - 1);
    }
    return sqrt((between / within + n - 1) / n);
}

/* Eqs. 10 to 13; *ret: NaN where all is constant. */
static lm_status effective(const halves *h, double *ret, lm_error *err)
{
    __attribute__((cleanup(lags_cleanup))) lags l = {0};
    LM_TRY(lags_init(&l, h->n, err));
    double n = (double)h->n, m = (double)h->chains, all = m * n;
    double mean = mean_of(h->x, h->chains * h->n), between = 0;
    for (size_t c = 0; c < h->chains; c++) {
        double centre = mean_of(h->x + c * h->n, h->n);
        lags_add(&l, h->x + c * h->n, 1, centre, 1 / all);
        between += (centre - mean) * (centre - mean) / (m - 1);
    }
    lags_finish(&l);
    double within = l.sum[0] * n / (n - 1), total = l.sum[0] + between;
    if (!(total > 0)) {
        *ret = NAN;
        return LM_OK;
    }
    /* rho of even and odd lags in pairs, while their sum is positive; l.sum becomes rho */
    double *rho = l.sum, even = 1, odd = 1 - (within - rho[1]) / total;
    rho[0] = even;
    rho[1] = odd;
    size_t kept = 0, t = 1; /* kept: lags in pairs that count */
    for (; t + 3 < h->n && even + odd > 0; t += 2) {
        kept = t + 1;
        even = 1 - (within - rho[t + 1]) / total;
        odd = 1 - (within - rho[t + 2]) / total;
        rho[t + 1] = even;
        rho[t + 2] = odd;
    }
    /* the first lag beyond the pairs, where it is positive, makes antithetic chains less noisy */
    double beyond = even > 0 || even + odd >= 0 ? even : 0;
    for (size_t k = 2; k + 1 < kept; k += 2) { /* a pair is no larger than the one before */
        if (rho[k] + rho[k + 1] > rho[k - 2] + rho[k - 1]) rho[k] = rho[k + 1] = (rho[k - 2] + rho[k - 1]) / 2;
    }
    double tau = -1 + beyond;
    for (size_t k = 0; k < kept; k++) tau += 2 * rho[k];
    *ret = all / fmax(tau, 1 / log10(all));
    return LM_OK;
}

static double told(double value, lm_error *err)
{
    if (isnan(value)) LM_FAIL(err, LM_EINPUT, "the draws are too few or too equal to tell about their convergence");
    return value;
}

double lm_rhat(const double *draws, size_t chains, size_t n, lm_error *err)
{
    __attribute__((cleanup(halves_cleanup))) halves h = {0};
    if (prepare(&h, draws, chains, n, err)) return NAN;
    size_t all = h.chains * h.n;
    normal_scores(h.x, all, h.room);
    double bulk = rhat(&h);
    double median = (h.room[(all - 1) / 2].value + h.room[all / 2].value) / 2;
    split(&h, draws, chains, n);
    for (size_t i = 0; i < all; i++) h.x[i] = fabs(h.x[i] - median);
    normal_scores(h.x, all, h.room);
    double folded = rhat(&h); /* two values, as far from the median, are one: NaN, which fmax drops */
    return told(fmax(bulk, folded), err);
}

double lm_ess_bulk(const double *draws, size_t chains, size_t n, lm_error *err)
{
    __attribute__((cleanup(halves_cleanup))) halves h = {0};
    if (prepare(&h, draws, chains, n, err)) return NAN;
    normal_scores(h.x, h.chains * h.n, h.room);
    double ess;
    if (effective(&h, &ess, err)) return NAN;
    return told(ess, err);
}

double lm_ess_tail(const double *draws, size_t chains, size_t n, lm_error *err)
{
    __attribute__((cleanup(halves_cleanup))) halves h = {0};
    if (prepare(&h, draws, chains, n, err)) return NAN;
    for (size_t i = 0; i < chains * n; i++) h.room[i] = (ranked){draws[i], i};
    qsort(h.room, chains * n, sizeof *h.room, by_value);
    double least = NAN;
    for (int side = 0; side < 2; side++) {
        double cut = quantile(h.room, chains * n, side == 0 ? 0.05 : 0.95), ess;
        split(&h, draws, chains, n);
        for (size_t i = 0; i < h.chains * h.n; i++) h.x[i] = h.x[i] <= cut;
        if (effective(&h, &ess, err)) return NAN;
        least = fmin(least, ess); /* NaN, which fmin drops: all draws are on one side */
    }
    return told(least, err);
}

double lm_autocorrelation_time(const double *draws, size_t n, size_t walkers, bool *ret_trusted, lm_error *err)
{
    *ret_trusted = false;
    if (walkers == 0 || n < 4) {
        LM_FAIL_HINT(err, LM_EINPUT, "Make more steps.", "%zu steps of %zu walkers have no autocorrelation", n,
                     walkers);
        return NAN;
    }
    for (size_t i = 0; i < n * walkers; i++)
        if (!isfinite(draws[i])) {
            LM_FAIL(err, LM_EINPUT, "walker %zu is at %g in step %zu", i % walkers, draws[i], i / walkers);
            return NAN;
        }
    __attribute__((cleanup(lags_cleanup))) lags l = {0};
    if (lags_init(&l, n, err)) return NAN;
    double stuck = 0;
    for (size_t k = 0; k < walkers; k++) {
        double mean = 0, squares = 0;
        for (size_t i = 0; i < n; i++) mean += draws[i * walkers + k] / (double)n;
        bool moves = false;
        for (size_t i = 0; i < n; i++) {
            double away = draws[i * walkers + k] - mean;
            squares += away * away;
            moves = moves || draws[i * walkers + k] != draws[k];
        }
        if (moves && squares > 0) lags_add(&l, draws + k, walkers, mean, 1 / (squares * (double)walkers));
        else stuck += 1 / (double)walkers; /* correlated at all lags */
    }
    lags_finish(&l);
    double tau = -1;
    for (size_t t = 0; t < n; t++) {
        tau += 2 * (l.sum[t] + stuck);
        if ((double)t >= 5 * tau) {
            tau = fmax(tau, 1); /* walkers are never better than independent */
            *ret_trusted = (double)n >= 50 * tau;
            return tau;
        }
    }
    return tau; /* the window is longer than the series: a lower limit at best */
}
