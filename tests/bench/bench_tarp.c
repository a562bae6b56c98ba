/* How long TARP's count takes: draws of n_sims posteriors against truths and references, and the curve. One thread.
 *
 *   bench_tarp [n_samples n_sims n_dims [normalise]]      default 1000 1000 10, both ways
 */
#include "operators/core/tarp.h"
#include "runtime/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int main(int argc, char **argv)
{
    size_t n_samples = argc > 3 ? strtoul(argv[1], NULL, 10) : 1000,
           n_sims = argc > 3 ? strtoul(argv[2], NULL, 10) : 1000;
    size_t dims = argc > 3 ? strtoul(argv[3], NULL, 10) : 10, bins = n_sims / 10 ? n_sims / 10 : 1;
    double *draws = lm_alloc_data(n_samples * n_sims * dims * sizeof(double));
    double *truth = lm_alloc(2 * n_sims, dims * sizeof(double)), *f = lm_alloc(n_sims, sizeof *f);
    double *curve = lm_alloc(2, (bins + 1) * sizeof *curve);
    if (!draws || !truth || !f || !curve) return 1;
    lm_digest key = {{1}};
    lm_random random = lm_random_stream(&key, 0);
    for (size_t i = 0; i < n_samples * n_sims * dims; i++) draws[i] = lm_random_normal(&random);
    for (size_t i = 0; i < n_sims * dims; i++) truth[i] = lm_random_normal(&random);
    double *reference = truth + n_sims * dims;
    for (int normalise = argc > 4 ? atoi(argv[4]) : 0; normalise < 2; normalise++) {
        for (int pass = 0; pass < 7; pass++) {
            double start = seconds();
            lm_error err;
            lm_tarp_space space;
            if (lm_tarp_space_init(&space, truth, n_sims, dims, normalise, LM_TARP_EUCLIDEAN, &err)) return 1;
            for (size_t i = 0; i < n_sims * dims; i++)
                reference[i] = space.low[i % dims] * normalise + space.width[i % dims] * lm_random_uniform(&random);
            for (size_t i = 0; i < n_sims; i++) {
                lm_tarp_rank rank = lm_tarp_count(&space, draws + i * n_samples * dims, n_samples, truth + i * dims,
                                                  reference + i * dims);
                if (!rank.finite) return 1;
                f[i] = (double)rank.closer / (double)n_samples;
            }
            lm_tarp_curve(f, n_sims, bins, curve, curve + bins + 1);
            printf("bench=tarp samples=%zu sims=%zu dims=%zu normalise=%d seconds=%.6f ecp_half=%.4f\n", n_samples,
                   n_sims, dims, normalise, seconds() - start, curve[bins + 1 + bins / 2]);
            lm_tarp_space_done(&space);
        }
    }
    lm_free(draws);
    lm_free(truth);
    lm_free(f);
    lm_free(curve);
    return 0;
}
