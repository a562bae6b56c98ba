/* Ranks of the truth among draws, and tests of whether ranks are uniform. */
#include "operators/core/sbc.h"

#include "operators/core/special.h"
#include "runtime/alloc.h"

#include <math.h>
#include <string.h>

/* ---- one simulation ------------------------------------------------------------------------------------------------- */

bool lm_sbc_count(const double *draws, size_t n_draws, size_t dims, const double *truth, lm_sbc_tally *ret)
{
    for (size_t k = 0; k < dims; k++) {
        if (!isfinite(truth[k])) return false;
        ret[k] = (lm_sbc_tally){.variance = n_draws > 1 ? 0 : (double)NAN};
    }
    for (size_t i = 0; i < n_draws; i++) {
        const double *row = draws + i * dims;
        for (size_t k = 0; k < dims; k++) {
            if (!isfinite(row[k])) return false;
            ret[k].below += row[k] < truth[k];
            ret[k].equal += row[k] == truth[k];
            ret[k].offset += row[k] - truth[k];
        }
    }
    for (size_t k = 0; k < dims; k++) ret[k].offset /= (double)n_draws;
    if (n_draws < 2) return true;
    for (size_t i = 0; i < n_draws; i++)
        for (size_t k = 0; k < dims; k++) {
            double e = draws[i * dims + k] - truth[k] - ret[k].offset;
            ret[k].variance += e * e;
        }
    for (size_t k = 0; k < dims; k++) ret[k].variance /= (double)(n_draws - 1);
    return true;
}

double lm_sbc_rank(const lm_sbc_tally *tally, size_t n_draws, double uniform)
{
    double u = ((double)tally->below + uniform * ((double)tally->equal + 1)) / ((double)n_draws + 1);
    return u < 1 ? u : 1 - 0x1p-53; /* 1000 + (1 - 2^-53) is 1001 */
}

double lm_sbc_z(const lm_sbc_tally *tally)
{
    if (!(tally->variance > 0) || isinf(tally->variance)) return NAN;
    return -tally->offset / sqrt(tally->variance);
}

/* ---- bins ----------------------------------------------------------------------------------------------------------- */

double lm_sbc_histogram(const double *u, size_t n, size_t bins, double *counts)
{
    memset(counts, 0, bins * sizeof *counts);
    for (size_t i = 0; i < n; i++) {
        size_t b = (size_t)(u[i] * (double)bins);
        counts[b < bins ? b : bins - 1]++;
    }
    if (n == 0) return NAN;
    if (bins < 2) return 1;
    double expected = (double)n / (double)bins, chi2 = 0;
    for (size_t b = 0; b < bins; b++) {
        double e = counts[b] - expected;
        chi2 += e * e / expected;
    }
    return exp(lm_log_chi2_tail(chi2, (double)(bins - 1)));
}

double lm_p_of_smallest(double p, size_t tests)
{
    if (!(p >= 0 && p <= 1)) return NAN;
    return p < 1 ? -expm1((double)tests * log1p(-p)) : tests > 0;
}

/* ---- the binomial law ----------------------------------------------------------------------------------------------- */

static double log_factorial(double n)
{
    int sign;
    return lgamma_r(n + 1, &sign);
}

double lm_binomial_below(size_t k, size_t n, double p)
{
    if (!(p > 0 && p < 1)) return NAN;
    if (k >= n) return 1;
    /* the sum from the last term on, whichever way the terms fall: they do away from the mode, (n + 1) p */
    bool lower = (double)k < ((double)n + 1) * p;
    double N = (double)n, at = lower ? (double)k : (double)k + 1, odds = p / (1 - p);
    double sum = 1, term = 1;
    if (lower)
        for (double j = at; j > 0 && term > sum * 1e-18; j--) sum += term *= j / ((N - j + 1) * odds);
    else
        for (double j = at; j < N && term > sum * 1e-18; j++) sum += term *= (N - j) * odds / (j + 1);
    double first = log_factorial(N) - log_factorial(at) - log_factorial(N - at) + at * log(p) + (N - at) * log1p(-p);
    double tail = fmin(exp(first) * sum, 1);
    return lower ? tail : 1 - tail;
}

size_t lm_binomial_low(size_t n, double p, double tail)
{
    size_t low = 0, high = n; /* it is in low .. high: P(X <= n) = 1 > tail */
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (lm_binomial_below(mid, n, p) > tail) high = mid;
        else low = mid + 1;
    }
    return low;
}

/* ---- the whole distribution ----------------------------------------------------------------------------------------- */

enum { EXACT_TO = 1 << 17 };

/* The walk of R_0 = 0, R_1, ..., R_points = n. Its steps are binomial; but they are also those of Poisson numbers of mean n/points each,
 * given that their sum is n, and so one kernel serves them all. Everything below is a sum of positive terms. */
typedef struct {
    size_t n, points;
    size_t first, last; /* the steps that matter: the rest have less than 1e-18 of the probability of the likeliest */
    double *kernel;     /* [n + 1] chances of a step of 0 .. n */
    double *now, *next; /* [n + 1] chances to be at R, inside so far */
    size_t *low, *high; /* [points + 1] */
    double whole;       /* chance that the sum is n */
    void *memory;
} walk;

static bool walk_init(walk *w, size_t n, size_t points)
{
    *w = (walk){.n = n, .points = points};
    w->memory = lm_alloc(3 * (n + 1) + 2 * (points + 1), sizeof(double));
    if (!w->memory) return false;
    _Static_assert(sizeof(size_t) <= sizeof(double), "counts fit where numbers do");
    w->kernel = w->memory;
    w->now = w->kernel + n + 1;
    w->next = w->now + n + 1;
    w->low = (size_t *)(w->next + n + 1);
    w->high = w->low + points + 1;
    double mean = (double)n / (double)points, most = 0;
    for (size_t d = 0; d <= n; d++) {
        w->kernel[d] = exp((double)d * log(mean) - mean - log_factorial((double)d));
        most = fmax(most, w->kernel[d]);
    }
    w->last = n;
    while (w->first < n && w->kernel[w->first] < most * 1e-18) w->first++;
    while (w->last > w->first && w->kernel[w->last] < most * 1e-18) w->last--;
    w->whole = exp((double)n * log((double)n) - (double)n - log_factorial((double)n));
    return true;
}

static void walk_done(walk *w)
{
    w->memory = lm_free(w->memory);
}

/* The intervals in which each count lies but with probability `odd` < 1, half of it on either side; the median is always in.
 * P(R_k >= r) = P(R_{K-k} <= n - r). */
static void set_bounds(walk *w, double odd)
{
    size_t K = w->points, n = w->n;
    w->low[0] = w->high[0] = 0;
    w->low[K] = w->high[K] = n;
    for (size_t k = 1; k < K; k++) w->low[k] = lm_binomial_low(n, (double)k / (double)K, odd / 2);
    for (size_t k = 1; k < K; k++) w->high[k] = n - w->low[K - k];
}

/* The chance that the walk stays within its bounds. */
static double inside(walk *w)
{
    w->now[0] = 1;
    for (size_t k = 1; k <= w->points; k++) {
        size_t from = w->low[k - 1], to = w->high[k - 1];
        for (size_t r = w->low[k]; r <= w->high[k]; r++) {
            /* came from s, with first <= r - s <= last */
            size_t s = r > w->last && r - w->last > from ? r - w->last : from;
            size_t end = r < w->first ? 0 : r - w->first < to ? r - w->first + 1 : to + 1;
            double sum = 0;
            for (; s < end; s++) sum += w->now[s] * w->kernel[r - s];
            w->next[r] = sum;
        }
        double *swap = w->now;
        w->now = w->next;
        w->next = swap;
    }
    return fmin(w->now[w->n] / w->whole, 1);
}

static double chance(walk *w, double odd)
{
    set_bounds(w, odd);
    return inside(w);
}

/* The largest pointwise chance to be outside that keeps the promise, between the bound of Bonferroni and no correction at all. */
static double pointwise(walk *w, double level)
{
    double low = (1 - level) / (double)w->points, high = 1 - level;
    if (chance(w, high) >= level) return high;
    for (int i = 0; i < 16; i++) {
        double mid = sqrt(low * high);
        if (chance(w, mid) >= level) low = mid;
        else high = mid;
    }
    return low;
}

lm_status lm_ecdf_band(size_t n, size_t points, double level, double *low, double *high, double *ret_covered,
                       lm_error *err)
{
    if (n == 0 || points == 0) {
        for (size_t k = 0; k <= points; k++) low[k] = high[k] = 0;
        *ret_covered = 1;
        return LM_OK;
    }
    walk w;
    if (!walk_init(&w, n < EXACT_TO ? n : EXACT_TO, points)) return LM_NOMEM(err);
    double odd = pointwise(&w, level), covered = chance(&w, odd);
    if (n > EXACT_TO) {
        walk_done(&w);
        if (!walk_init(&w, n, points)) return LM_NOMEM(err);
        set_bounds(&w, odd);
        covered = NAN;
    }
    for (size_t k = 0; k <= points; k++) {
        low[k] = (double)w.low[k];
        high[k] = (double)w.high[k];
    }
    walk_done(&w);
    *ret_covered = covered;
    return LM_OK;
}

void lm_ecdf_counts(const double *u, size_t n, size_t points, double *ret)
{
    memset(ret, 0, (points + 1) * sizeof *ret);
    if (points == 0) return;
    double K = (double)points;
    for (size_t i = 0; i < n; i++) {
        /* the first k with u < k/points, however the product rounds */
        size_t k = u[i] > 0 ? (size_t)(u[i] * K) : 0;
        k = k < points ? k : points - 1;
        while (k > 0 && u[i] < (double)k / K) k--;
        while (k < points && !(u[i] < (double)k / K)) k++;
        ret[k]++;
    }
    for (size_t k = 1; k <= points; k++) ret[k] += ret[k - 1];
}

lm_status lm_ecdf_p(const double *counts, size_t n, size_t points, double *ret, lm_error *err)
{
    double odd = 1;
    for (size_t k = 1; n && k < points; k++) {
        size_t r = (size_t)counts[k];
        double p = (double)k / (double)points, below = lm_binomial_below(r, n, p),
               above = lm_binomial_below(n - r, n, (double)(points - k) / (double)points);
        odd = fmin(odd, 2 * fmin(below, above));
    }
    odd *= 1 + 1e-9; /* tails as small count too, also after rounding */
    *ret = 1;
    if (!(odd < 1)) return LM_OK;
    walk w;
    /* as for the band: the distribution of the smallest tail hardly depends on n by then */
    if (!walk_init(&w, n < EXACT_TO ? n : EXACT_TO, points)) return LM_NOMEM(err);
    double p = 1 - chance(&w, odd);
    walk_done(&w);
    *ret = p > 1e-8 ? p : fmin(1e-8, odd * (double)points);
    return LM_OK;
}
