/* How long one PQMass test takes: references drawn, nearest references of all other samples, counts, chi-square. One thread.
 *
 *   bench_pqmass [nx ny dims regions]      default 10000 10000 4096 100, float32 samples of one Gaussian
 */
#include "operators/core/pqmass.h"
#include "operators/core/special.h"
#include "runtime/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t below(void *random, uint64_t n)
{
    return lm_random_below(random, n);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int main(int argc, char **argv)
{
    size_t nx = argc > 4 ? strtoul(argv[1], NULL, 10) : 10000, ny = argc > 4 ? strtoul(argv[2], NULL, 10) : 10000;
    size_t dims = argc > 4 ? strtoul(argv[3], NULL, 10) : 4096, regions = argc > 4 ? strtoul(argv[4], NULL, 10) : 100;
    size_t n = nx + ny;
    float *samples = lm_alloc_data(n * dims * sizeof *samples); /* x, then y */
    double *refs = lm_alloc(regions, dims * sizeof *refs);
    size_t *drawn = lm_alloc(regions, sizeof *drawn);
    uint32_t *nearest = lm_alloc(n, sizeof *nearest);
    int64_t *counts = lm_alloc(2 * regions, sizeof *counts);
    uint8_t *taken = lm_alloc(n, 1);
    if (!samples || !refs || !drawn || !nearest || !counts || !taken) return 1;
    lm_digest key = {{2}};
    lm_random random = lm_random_stream(&key, 0);
    for (size_t i = 0; i < n * dims; i++) samples[i] = (float)lm_random_normal(&random);
    for (int pass = 0; pass < 7; pass++) {
        double start = seconds();
        lm_error err;
        memset(taken, 0, n);
        memset(counts, 0, 2 * regions * sizeof *counts);
        if (lm_pqm_draw(below, &random, nx, ny, regions, drawn, taken, &err)) return 1;
        for (size_t i = 0; i < regions; i++)
            for (size_t k = 0; k < dims; k++) refs[i * dims + k] = (double)samples[drawn[i] * dims + k];
        lm_cells *cells;
        if (lm_cells_new(refs, 1, regions, dims, NULL, &cells, &err)) return 1;
        size_t bad, filled;
        lm_cells_find_f32(cells, samples, n, nearest, &bad);
        if (bad < n) return 1;
        for (size_t i = 0; i < n; i++)
            if (!taken[i]) counts[(i < nx ? 0 : regions) + nearest[i]]++;
        double chi2 = lm_two_sample_chi2(counts, counts + regions, regions, &filled);
        double log_p = lm_log_chi2_tail(chi2, (double)filled - 1);
        printf("bench=pqmass nx=%zu ny=%zu dims=%zu regions=%zu seconds=%.6f chi2=%.3f dof=%zu log_p=%.4f doubts=%zu\n",
               nx, ny, dims, regions, seconds() - start, chi2, filled - 1, log_p, lm_cells_doubts(cells));
        lm_cells_free(cells);
    }
    lm_free(samples);
    lm_free(refs);
    lm_free(drawn);
    lm_free(nearest);
    lm_free(counts);
    lm_free(taken);
    return 0;
}
