/* bench_richardson_lucy [pixels psf iterations precision repeats]: the best time of Richardson-Lucy on one core.
 *
 * The case of scikit-image's benchmark: a square image of uniform random numbers, a Gaussian PSF of 4 pixels FWHM on an odd
 * square, black beyond the border. Times include everything that the operator does, the PSF's transform too; the plans of
 * the transforms are made in the first, uncounted run, as in a survey. One line of key=value on stdout. */
#include "operators/core/deconvolve.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static size_t number(int argc, char **argv, int i, size_t otherwise)
{
    return argc > i ? strtoul(argv[i], NULL, 10) : otherwise;
}

static void fill(double *image, size_t n, double *psf, size_t p)
{
    uint64_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        image[i] = (double)(state >> 11) / 9007199254740992.0;
    }
    for (size_t i = 0; i < p * p; i++) {
        double y = (double)(i / p) - (double)(p / 2), x = (double)(i % p) - (double)(p / 2), sigma = 4 / 2.3548;
        psf[i] = exp(-(x * x + y * y) / (2 * sigma * sigma));
    }
}

int main(int argc, char **argv)
{
    size_t side = number(argc, argv, 1, 256), p = number(argc, argv, 2, 17);
    size_t repeats = number(argc, argv, 5, 9);
    const char *precision = argc > 4 ? argv[4] : "double";
    lm_lucy_options options = {.iterations = number(argc, argv, 3, 50),
                               .edge = LM_EDGE_ZERO,
                               .start = LM_LUCY_FLAT,
                               .gain = (double)NAN,
                               .threshold = 3,
                               .single = !strcmp(precision, "single")};
    size_t n = side * side;
    double *memory = lm_alloc(2 * n + p * p + 1, sizeof *memory);
    if (!memory || !n || !p) return 1;
    double *image = memory, *model = image + n, *pixels = model + n, best = 1e30, sum = 0;
    fill(image, n, pixels, p);
    lm_error err;
    for (size_t i = 0; i <= repeats; i++) {
        lm_psf psf;
        lm_lucy_result result;
        double start = now();
        lm_status status = lm_psf_init(&psf, pixels, p, p, LM_PSF_MIDDLE, true, &err);
        if (!status)
            status = lm_richardson_lucy(&(lm_blurred_image){.pixels = image, .h = side, .w = side}, &psf, &options,
                                        model, NULL, &result, &err);
        lm_psf_done(&psf);
        double took = now() - start;
        if (status) {
            fprintf(stderr, "%s\n", err.text);
            return 1;
        }
        if (i && took < best) best = took;
    }
    for (size_t i = 0; i < n; i++) sum += model[i];
    printf("case=richardson_lucy pixels=%zu psf=%zu iterations=%zu precision=%s best_s=%.6f flux=%.9g\n", side, p,
           options.iterations, precision, best, sum);
    lm_free(memory);
    return 0;
}
