/* Counting draws closer to a reference than the truth is, and the coverage curve of the counts. */
#include "operators/core/tarp.h"

#include "operators/core/clones.h"
#include "operators/core/stretch.h"
#include "runtime/alloc.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Four parameters at a time, through vectors that any machine has (pairs of SSE2 registers, or AVX). The last vector of a row
 * reaches into the next row, where its weights are zero; the last row of all is copied to where it has room behind it. The
 * true values take the same way, so that a draw which equals the truth is exactly as far. */
enum { LANES = 4, ROWS = 256 };
typedef double vector __attribute__((vector_size(LANES * sizeof(double)), aligned(sizeof(double)), may_alias));
typedef int64_t mask __attribute__((vector_size(LANES * sizeof(int64_t))));

lm_status lm_tarp_space_init(lm_tarp_space *space, const double *truth, size_t n_sims, size_t dims, bool normalise,
                             lm_tarp_distance distance, lm_error *err)
{
    size_t padded = (dims + LANES - 1) / LANES * LANES;
    *space = (lm_tarp_space){.dims = dims, .distance = distance, .padded = padded};
    space->low = lm_alloc(6, padded * sizeof(double));
    if (!space->low) return LM_NOMEM(err);
    space->high = space->low + padded;
    space->width = space->high + padded;
    space->weight = space->width + padded;
    space->point = space->weight + padded;
    space->row = space->point + padded;
    for (size_t k = 0; k < dims; k++) {
        double low = truth[k], high = truth[k];
        for (size_t i = 1; i < n_sims; i++) {
            low = fmin(low, truth[i * dims + k]);
            high = fmax(high, truth[i * dims + k]);
        }
        space->low[k] = low;
        space->high[k] = high;
        space->width[k] = normalise ? high - low + 1e-10 : 1;
        double w = 1 / space->width[k];
        space->weight[k] = distance == LM_TARP_EUCLIDEAN ? w * w : w;
    }
    return LM_OK;
}

void lm_tarp_space_done(lm_tarp_space *space)
{
    space->low = lm_free(space->low);
    space->high = space->width = space->weight = space->point = space->row = NULL;
}

/* Distances (squared, for the Euclidean ones) of rows to the point. */
LM_CLONES static void measure(const double *rows, size_t n_rows, size_t dims, size_t padded, const double *point,
                              const double *weight, bool squares, double *ret)
{
    if (squares) {
        for (size_t r = 0; r < n_rows; r++) {
            vector sum = {0};
            for (size_t k = 0; k < padded; k += LANES) {
                vector e = *(const vector *)(rows + r * dims + k) - *(const vector *)(point + k);
                sum += e * e * *(const vector *)(weight + k);
            }
            ret[r] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
        }
    } else {
        const mask no_sign = {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX};
        for (size_t r = 0; r < n_rows; r++) {
            vector sum = {0};
            for (size_t k = 0; k < padded; k += LANES) {
                vector e = *(const vector *)(rows + r * dims + k) - *(const vector *)(point + k);
                sum += (vector)((mask)e & no_sign) * *(const vector *)(weight + k);
            }
            ret[r] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
        }
    }
}

LM_CLONES static void tally(const double *distance, size_t n, double far, lm_tarp_rank *rank, size_t *sound)
{
    size_t closer = 0, equal = 0, finite = 0;
    for (size_t i = 0; i < n; i++) {
        closer += distance[i] < far;
        equal += distance[i] == far;
        finite += distance[i] <= DBL_MAX;
    }
    rank->closer += closer;
    rank->equal += equal;
    *sound += finite;
}

lm_tarp_rank lm_tarp_count(lm_tarp_space *space, const double *draws, size_t n_samples, const double *truth,
                           const double *reference)
{
    size_t dims = space->dims, padded = space->padded, sound = 0;
    bool squares = space->distance == LM_TARP_EUCLIDEAN;
    lm_tarp_rank rank = {0};
    double far, distance[ROWS];
    memcpy(space->point, reference, dims * sizeof *reference);
    memcpy(space->row, truth, dims * sizeof *truth);
    measure(space->row, 1, dims, padded, space->point, space->weight, squares, &far);
    /* rows that a vector could read behind the end of: the last 3, where there is but one parameter */
    size_t behind = (padded - dims + dims - 1) / dims;
    size_t safe = n_samples > behind ? n_samples - behind : 0;
    for (size_t done = 0; done < n_samples;) {
        size_t rows = done < safe ? safe - done : 1;
        if (rows > ROWS) rows = ROWS;
        const double *at = draws + done * dims;
        if (done >= safe) at = memcpy(space->row, at, dims * sizeof *at);
        measure(at, rows, dims, padded, space->point, space->weight, squares, distance);
        tally(distance, rows, far, &rank, &sound);
        done += rows;
    }
    rank.finite = sound == n_samples && far <= DBL_MAX;
    return rank;
}

/* The edge k/bins as numpy.linspace(0, 1, bins + 1) rounds it. */
static double edge(size_t k, size_t bins)
{
    return k == bins ? 1 : (double)k * (1 / (double)bins);
}

/* The largest k < bins with edge(k) <= f, for 0 <= f <= 1. */
static size_t bin_of(double f, size_t bins)
{
    size_t k = (size_t)(f * (double)bins);
    if (k >= bins) k = bins - 1;
    while (k > 0 && f < edge(k, bins)) k--;
    while (k + 1 < bins && f >= edge(k + 1, bins)) k++;
    return k;
}

static void cumulate(const size_t *count, size_t n, size_t bins, double *ecp)
{
    size_t sum = 0;
    ecp[0] = 0;
    for (size_t k = 0; k < bins; k++) {
        sum += count[k];
        ecp[k + 1] = (double)sum / (double)n;
    }
}

void lm_tarp_curve(const double *f, size_t n, size_t bins, double *alpha, double *ecp)
{
    for (size_t k = 0; k <= bins; k++) {
        alpha[k] = edge(k, bins);
        ecp[k] = 0;
    }
    for (size_t i = 0; i < n; i++) ecp[bin_of(f[i], bins) + 1] += 1; /* whole numbers: exact */
    for (size_t k = 1; k <= bins; k++) ecp[k] += ecp[k - 1];
    for (size_t k = 1; k <= bins; k++) ecp[k] /= (double)n;
}

double lm_tarp_atc(const double *alpha, const double *ecp, size_t bins)
{
    double sum = 0;
    for (size_t k = 0; k <= bins; k++)
        if (alpha[k] > 0.5) sum += (ecp[k] - alpha[k]) / (double)bins;
    return sum;
}

lm_status lm_tarp_bootstrap(const double *f, size_t n, size_t bins, size_t n_boot, double level, lm_draw_below *below,
                            void *random, double *sd, double *low, double *high, lm_error *err)
{
    size_t edges = bins + 1;
    LM_OWN(lm_memory) bin_memory = lm_alloc(n, sizeof(size_t));
    LM_OWN(lm_memory) count_memory = lm_alloc(bins, sizeof(size_t));
    LM_OWN(lm_memory) curve_memory = lm_alloc(edges + 1, n_boot * sizeof(double));
    LM_OWN(lm_memory) ecp_memory = lm_alloc(edges, sizeof(double));
    size_t *bin = bin_memory, *count = count_memory;
    double *curves = curve_memory, *ecp = ecp_memory; /* curves: [edges, n_boot] */
    if (!bin || !count || !curves || !ecp) return LM_NOMEM(err);
    for (size_t i = 0; i < n; i++) bin[i] = bin_of(f[i], bins);
    for (size_t b = 0; b < n_boot; b++) {
        memset(count, 0, bins * sizeof *count);
        for (size_t i = 0; i < n; i++) count[bin[below(random, n)]]++;
        cumulate(count, n, bins, ecp);
        for (size_t k = 0; k < edges; k++) curves[k * n_boot + b] = ecp[k];
    }
    for (size_t k = 0; k < edges; k++) {
        double *values = curves + k * n_boot, mean = 0, square = 0;
        for (size_t b = 0; b < n_boot; b++) mean += values[b];
        mean /= (double)n_boot;
        for (size_t b = 0; b < n_boot; b++) square += (values[b] - mean) * (values[b] - mean);
        sd[k] = n_boot > 1 ? sqrt(square / (double)(n_boot - 1)) : 0;
        low[k] = lm_quantile_inplace(values, n_boot, (1 - level) / 2);
        high[k] = lm_quantile_inplace(values, n_boot, (1 + level) / 2);
    }
    return LM_OK;
}
