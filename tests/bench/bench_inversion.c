/* How long one pixelised log evidence takes: tracing the rays (`trace_seconds` of it), grid, lensing matrix, normal
 * equations, factor. Processor time of one thread.
 *
 *   bench_inversion [side [psf [passes [case]]]]
 *
 * By default a source of 40 x 40 pixels, a PSF of 11 x 11, 7 passes of each of the cases linear, positive, best and
 * dense.
 *
 * The case of PyAutoLens' comparison: 100 x 100 pixels of 0.07 arcsec, a circular mask of 3 arcsec, 4 x 4 rays a pixel,
 * an isothermal lens with shear, a Sersic source.
 */
#include "operators/core/lensing/inversion.h"
#include "operators/core/lensing/light.h"
#include "operators/core/lensing/mass.h"
#include "runtime/random.h"

#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SIDE = 100 };

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static const lm_mass masses[] = {{LM_MASS_SIE, {1.4, 0.8, 0.23, 0, 0, 0}}, {LM_MASS_SHEAR, {0.03, -0.02, 0, 0}}};

static void trace(const lm_inverter *inverter, double *bx, double *by)
{
    const double *x, *y;
    size_t n = lm_inverter_rays(inverter, &x, &y);
    memset(bx, 0, n * sizeof *bx);
    memset(by, 0, n * sizeof *by);
    for (size_t i = 0; i < n; i += 1024) { /* what is in the nearest cache stays there for the second mass */
        lm_mass_maps maps = {.alpha_x = bx + i, .alpha_y = by + i};
        for (size_t k = 0; k < 2; k++) lm_mass_add(&masses[k], n - i < 1024 ? n - i : 1024, x + i, y + i, &maps);
    }
    for (size_t i = 0; i < n; i++) {
        bx[i] = x[i] - bx[i];
        by[i] = y[i] - by[i];
    }
}

static int make_image(const lm_frame *frame, const lm_psf *psf, double *image, double *noise)
{
    lm_error err;
    const lm_light_kind_info *kind = lm_light_kind_of("sersic");
    lm_light light = lm_light_of(kind);
    static const struct {
        const char *name;
        double value;
    } values[] = {{"I_e", 1}, {"R_e", 0.2}, {"n", 1.2}, {"q", 0.8}, {"phi", 0.3}, {"x", 0.1}, {"y", 0.05}};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        light.param[lm_light_param_of(kind, values[i].name)] = values[i].value;
    lm_renderer *renderer = NULL;
    lm_frame plain = *frame;
    plain.sub = 1;
    if (lm_light_check(&light, &err) || lm_renderer_new(&plain, psf, &renderer, &err)) return 1;
    lm_scene scene = {masses, 2, &light, 1, NULL, 0};
    lm_render(renderer, &scene, image);
    lm_renderer_free(renderer);
    lm_digest key = {{1}};
    lm_random random = lm_random_stream(&key, 0);
    for (size_t i = 0; i < SIDE * SIDE; i++) {
        noise[i] = sqrt((0.5 + image[i]) / 1000);
        image[i] += noise[i] * lm_random_normal(&random);
    }
    return 0;
}

int main(int argc, char **argv)
{
    size_t side = argc > 1 ? strtoul(argv[1], NULL, 10) : 40, k = argc > 2 ? strtoul(argv[2], NULL, 10) : 11;
    int passes = argc > 3 ? atoi(argv[3]) : 7;
    static double image[SIDE * SIDE], noise[SIDE * SIDE];
    static unsigned char mask[SIDE * SIDE];
    openblas_set_num_threads(1);
    lm_frame frame = {SIDE, SIDE, 0.07, 0, 0, 4};
    lm_error err = {0};
    lm_psf psf;
    double *kernel = lm_alloc(k * k, sizeof *kernel);
    if (!kernel) return 1;
    for (size_t i = 0; i < k * k; i++) {
        double x = 0.07 * ((double)(i % k) - (double)(k / 2)), y = 0.07 * ((double)(i / k) - (double)(k / 2));
        kernel[i] = exp(-(x * x + y * y) / (2 * 0.06 * 0.06));
        if (k > 11) kernel[i] += 1e-4 * exp(-sqrt(x * x + y * y) / 0.3); /* wings: no pixel of it may count as zero */
    }
    if (lm_psf_init(&psf, kernel, k, k, LM_PSF_MIDDLE, true, &err) || make_image(&frame, &psf, image, noise)) return 1;
    for (size_t i = 0; i < SIDE * SIDE; i++) {
        double x = 0.07 * ((double)(i % SIDE) - 49.5), y = 0.07 * ((double)(i / SIDE) - 49.5);
        mask[i] = x * x + y * y <= 9;
    }
    lm_inverter_data data = {frame, image, noise, mask, &psf, true};
    lm_inverter *inverter;
    double start = seconds();
    if (lm_inverter_new(&data, &inverter, &err)) return 1;
    double set_up = seconds() - start;
    const double *x, *y;
    size_t rays = lm_inverter_rays(inverter, &x, &y);
    double *bx = lm_alloc(2 * rays, sizeof *bx), *by = bx + rays;
    if (!bx) return 1;
    lm_inverter_model model = {.source = {.kind = LM_SOURCE_REGULAR, .h = side, .w = side, .pixel = NAN},
                               .prior = {.kind = LM_PRIOR_GRADIENT},
                               .lambda = 1};
    static const char *const cases[] = {"linear", "positive", "best", "dense", NULL};
    for (int c = 0; cases[c]; c++) {
        if (argc > 4 && strcmp(argv[4], cases[c]) != 0) continue;
        model.positive = c == 1;
        model.lambda = c == 2 ? (double)NAN : 1;
        model.solver = c == 3 ? LM_SOLVER_DENSE : LM_SOLVER_AUTO;
        for (int pass = 0; pass < passes; pass++) {
            lm_inversion got;
            start = seconds();
            trace(inverter, bx, by);
            double traced = seconds() - start;
            if (lm_invert(inverter, &model, bx, by, NULL, 0, &got, &err)) {
                fprintf(stderr, "%s\n", err.text);
                return 1;
            }
            printf("bench=inversion case=%s side=%zu psf=%zu pixels=%zu seconds=%.6f trace_seconds=%.6f "
                   "setup_seconds=%.4f "
                   "evidence=%.6f lambda=%.6g solver=%s rounds=%u\n",
                   cases[c], side, k, lm_inverter_pixels(inverter), seconds() - start, traced, set_up, got.ln_evidence,
                   got.lambda, lm_solver_names[got.solver], got.rounds);
        }
    }
    lm_inverter_free(inverter);
    lm_psf_done(&psf);
    lm_free(kernel);
    lm_free(bx);
    return 0;
}
