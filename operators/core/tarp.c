/* Counting draws closer to a reference than the truth is, and the coverage curve of the counts. */
#include "operators/core/tarp.h"

#include "operators/core/clones.h"
#include "operators/core/stretch.h"

#include <float.h>

/* Distances are computed over blocks of rows: first every (x - point)^2 weight of the block, a loop without dependences
 * over one flat array, then the sum of each row. The true values go through the same operations in the same order, so that
 * a draw which equals the truth is exactly as far. */
enum { BLOCK = 1024 };

lm_status lm_tarp_space_init(lm_tarp_space *space, const double *truth, size_t n_sims, size_t dims, bool normalise,
                             lm_tarp_distance distance, lm_error *err)
{
    size_t rows = BLOCK / dims ? BLOCK / dims : 1;
    *space = (lm_tarp_space){.dims = dims, .distance = distance, .rows = rows};
    space->low = lm_alloc(3, dims * sizeof(double));
    space->weight = lm_alloc(3, rows * dims * sizeof(double));
    if (!space->low || !space->weight) {
        lm_tarp_space_done(space);
        return LM_NOMEM(err);
    }
    space->high = space->low + dims;
    space->width = space->high + dims;
    space->point = space->weight + rows * dims;
    space->block = space->point + rows * dims;
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
        for (size_t r = 0; r < rows; r++) space->weight[r * dims + k] = distance == LM_TARP_EUCLIDEAN ? w * w : w;
    }
    return LM_OK;
}

void lm_tarp_space_done(lm_tarp_space *space)
{
    space->low = lm_free(space->low);
    space->weight = lm_free(space->weight);
    space->high = space->width = space->point = space->block = NULL;
}

LM_CLONES static void weigh(const double *restrict x, const double *restrict point, const double *restrict weight,
                            double *restrict ret, size_t n, bool squares)
{
    if (squares) {
        for (size_t i = 0; i < n; i++) ret[i] = (x[i] - point[i]) * (x[i] - point[i]) * weight[i];
    } else {
        for (size_t i = 0; i < n; i++) ret[i] = fabs(x[i] - point[i]) * weight[i];
    }
}

static double row_sum(const double *row, size_t dims)
{
    double sum = 0;
    for (size_t k = 0; k < dims; k++) sum += row[k];
    return sum;
}

lm_tarp_rank lm_tarp_count(lm_tarp_space *space, const double *draws, size_t n_samples, const double *truth,
                           const double *reference)
{
    size_t dims = space->dims;
    bool squares = space->distance == LM_TARP_EUCLIDEAN;
    double *block = space->block;
    for (size_t r = 0; r < space->rows; r++) memcpy(space->point + r * dims, reference, dims * sizeof(double));
    weigh(truth, space->point, space->weight, block, dims, squares);
    double far = row_sum(block, dims);
    size_t closer = 0, equal = 0, sound = 0;
    for (size_t done = 0; done < n_samples;) {
        size_t rows = n_samples - done < space->rows ? n_samples - done : space->rows;
        weigh(draws + done * dims, space->point, space->weight, block, rows * dims, squares);
        for (size_t r = 0; r < rows; r++) {
            double d = row_sum(block + r * dims, dims);
            closer += d < far;
            equal += d == far;
            sound += d <= DBL_MAX;
        }
        done += rows;
    }
    return (lm_tarp_rank){closer, equal, sound == n_samples && far <= DBL_MAX};
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

lm_status lm_tarp_bootstrap(const double *f, size_t n, size_t bins, size_t n_boot, double level, lm_random *random,
                            double *sd, double *low, double *high, lm_error *err)
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
        for (size_t i = 0; i < n; i++) count[bin[lm_random_below(random, n)]]++;
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
