/* A simulated sky for the demonstration: galaxies and lenses as a space telescope would see them.
 *
 * Light is in electrons/s, lengths in pixels of 0.05 arcsec, images are [n][n], row-major.
 */
#ifndef LM_TOOLS_DEMO_SKY_H
#define LM_TOOLS_DEMO_SKY_H

#include "runtime/error.h"
#include "runtime/operator.h"

typedef enum lm_demo_kind {
    LM_DEMO_LENS,
    LM_DEMO_SPIRAL,
    LM_DEMO_ELLIPTICAL,
    LM_DEMO_CLUMPY,
    LM_DEMO_KINDS
} lm_demo_kind;
extern const char *const lm_demo_kind_names[];

enum { LM_DEMO_SIZE = 96, LM_DEMO_PSF = 41 };
#define LM_DEMO_EXPOSURE 2000.0 /* s */
#define LM_DEMO_SKY 0.06        /* electrons/s in a pixel, taken off again */
#define LM_DEMO_READ 10.0       /* electrons rms in a pixel, of all read-outs together */
#define LM_DEMO_ZERO 25.94      /* magnitude of 1 electron/s */

/* An off-round point spread function of unit sum: the diffraction of an obstructed mirror, stretched by `stretch` along
 * `angle` (radians from +x), with a halo of scattered light. psf: [LM_DEMO_PSF][LM_DEMO_PSF] */
void lm_demo_psf(double stretch, double angle, double *psf);
/* An object of total light 10^(-0.4 (mag - zero)) before the telescope: [n][n], its middle near the middle. */
void lm_demo_object(lm_demo_kind kind, double mag, lm_random *random, size_t n, double *sky);
/* Blurs `sky` [n][n], n = LM_DEMO_SIZE + LM_DEMO_PSF - 1, cuts the middle out, and observes it: Poisson noise of object and
 * sky, read-out noise, sky taken off. image: [LM_DEMO_SIZE][LM_DEMO_SIZE] */
lm_status lm_demo_observe(const double *sky, const double *psf, lm_random *random, float *image, lm_error *err);
/* A Poisson number (mean up to 10^9). */
double lm_demo_poisson(lm_random *random, double mean);

#endif
