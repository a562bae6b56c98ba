/* bench_simulate PIXELS SUB PSF ROUNDS TOLERANCE [FILE]: an image of a Sersic disc behind an isothermal ellipsoid and shear.
 *
 * A Gaussian PSF of 0.1 arcsec on PSF x PSF parts of a pixel of 0.05 arcsec; TOLERANCE 0: SUB x SUB samples everywhere.
 * Prints best_s, the seconds of the fastest of ROUNDS images; refined, how many pixels took more than one sample; and error, the
 * largest difference over the peak from the image of 5 x 5 samples in each part. FILE gets the image as raw float64, for
 * tools/compare/simulate.py.
 */
#include "operators/core/lensing/render.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CONVERGED = 5 };

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A PSF on parts; apart: its pixels lie that far apart, with nothing between, so that means over finer samples are blurred. */
static lm_status gaussian(size_t side, size_t apart, double sigma, lm_psf *psf, lm_error *err)
{
    size_t whole = side * apart;
    LM_OWN(lm_memory) room = lm_alloc(whole * whole, sizeof(double));
    double *at = room;
    if (!at) return LM_NOMEM(err);
    for (size_t i = 0; i < side; i++)
        for (size_t j = 0; j < side; j++) {
            double y = (double)i - (double)(side - 1) / 2, x = (double)j - (double)(side - 1) / 2;
            at[(i * apart + apart / 2) * whole + j * apart + apart / 2] = exp(-(x * x + y * y) / (2 * sigma * sigma));
        }
    return lm_psf_init(psf, at, whole, whole, LM_PSF_MIDDLE, true, err);
}

static lm_status run(size_t pixels, unsigned sub, size_t side, int rounds, double tolerance, const char *file,
                     lm_error *err)
{
    const lm_mass masses[] = {{LM_MASS_SIE, {1.3, 0.7, 0.5, 0, 0.02, -0.03}}, {LM_MASS_SHEAR, {0.04, -0.03, 0, 0}}};
    lm_light source = lm_light_of(lm_light_kind_of("sersic"));
    static const double disc[] = {1, 0.3, 1, 0.8, 0, 0.4, 0.05, 0}; /* I_e, R_e, n, q, R_min, phi, x, y */
    memcpy(source.param, disc, sizeof disc);
    LM_TRY(lm_light_check(&source, err));
    const lm_scene scene = {masses, 2, &source, 1, NULL, 0};
    lm_frame frame = {pixels, pixels, 0.05, 0, 0, sub};
    const double sigma = 0.1 / 2.3548 / (frame.pixel / sub);
    size_t n = pixels * pixels;
    LM_OWN(lm_memory) room = lm_alloc(2 * n, sizeof(double));
    if (!room) return LM_NOMEM(err);
    double *image = room, *converged = image + n, best = INFINITY, worst = 0, peak = 0;

    lm_psf psf = {0};
    LM_OWN(lm_renderer) renderer = NULL;
    LM_TRY(gaussian(side, 1, sigma, &psf, err));
    lm_status status = tolerance > 0 ? lm_renderer_new_adaptive(&frame, &psf, tolerance, &renderer, err)
                                     : lm_renderer_new(&frame, &psf, &renderer, err);
    lm_psf_done(&psf);
    LM_TRY(status);
    for (int k = 0; k < rounds; k++) {
        double start = seconds(), took = (lm_render(renderer, &scene, image), seconds() - start);
        if (took < best) best = took;
    }

    LM_OWN(lm_renderer) fine = NULL;
    frame.sub *= CONVERGED;
    LM_TRY(gaussian(side, CONVERGED, sigma, &psf, err));
    status = lm_renderer_new(&frame, &psf, &fine, err);
    lm_psf_done(&psf);
    LM_TRY(status);
    lm_render(fine, &scene, converged);
    for (size_t i = 0; i < n; i++) {
        if (!(fabs(image[i] - converged[i]) <= worst)) worst = fabs(image[i] - converged[i]);
        peak = fmax(peak, converged[i]);
    }
    printf("best_s=%.9f refined=%zu error=%.3g\n", best, lm_renderer_refined(renderer), worst / peak);
    if (file) {
        FILE *out = fopen(file, "wb");
        bool written = out && fwrite(image, sizeof *image, n, out) == n;
        if (out) written &= fclose(out) == 0;
        if (!written) return LM_FAIL(err, LM_EIO, "cannot write \"%s\"", file);
    }
    return LM_OK;
}

int main(int argc, char **argv)
{
    int pixels = argc > 1 ? atoi(argv[1]) : 128, sub = argc > 2 ? atoi(argv[2]) : 1,
        side = argc > 3 ? atoi(argv[3]) : 21;
    int rounds = argc > 4 ? atoi(argv[4]) : 100;
    if (pixels < 1 || sub < 1 || side < 1 || rounds < 1) {
        fprintf(stderr, "bench_simulate PIXELS SUB PSF ROUNDS TOLERANCE [FILE]\n");
        return 2;
    }
    lm_error err = {0};
    if (run((size_t)pixels, (unsigned)sub, (size_t)side, rounds, argc > 5 ? atof(argv[5]) : 0,
            argc > 6 ? argv[6] : NULL, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    return 0;
}
