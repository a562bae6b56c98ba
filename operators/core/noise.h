/* Noise of images: detectors that count electrons, backgrounds white and correlated, and pixels that go wrong.
 *
 * A rate is in electrons per second and pixel, sky and dark current taken off. Exposed for t seconds in n exposures,
 *
 *   N ~ Poisson((m + sky + dark + hot) t) + Normal(0, n read_noise^2) + cosmic rays,    d = N / t - sky - dark
 *   var d = (m + sky + dark)/t + n read_noise^2/t^2 + n gain^2/(12 t^2) + background^2
 *
 * The noise map is a function of the noise-free model m: with the data in its place, faint pixels that came out low
 * get too much weight, and fits come out low (that bias is what an observer lives with: pass the data to see it).
 *
 * All draws come from the caller (draw.h), one source of noise from one stream, so that switching one off leaves the
 * others alone. Functions are pure but for that, start no thread, and arrays must not overlap unless it is said that
 * they may. Images are [h][w].
 */
#ifndef LM_CORE_NOISE_H
#define LM_CORE_NOISE_H

#include "operators/core/draw.h"
#include "runtime/alloc.h"
#include "runtime/error.h"

#include <stdbool.h>
#include <stddef.h>

/* ---- photons ---- */

/* A number from the Poisson distribution, as a double that is whole. Exact for any mean up to 1e15: sequential
 * inversion below 10, above it transformed rejection with squeeze (PTRS; Hoermann 1993, Insurance: Mathematics and
 * Economics 12, 39) on a probability without cancellation (Loader 2000, saddle-point form). Beyond 1e15, where
 * neighbouring counts are 3e-8 of a standard deviation apart, a rounded normal. A mean that is 0 or negative gives 0,
 * NaN gives NaN, infinity infinity. */
double lm_poisson(const lm_draw *draw, double mean);
/* log of the probability of k (whole, >= 0) at a mean > 0. Relative error of the probability below 1e-14 (1 + |log
 * P|). */
double lm_poisson_log(double k, double mean);

/* ---- a detector ---- */

typedef struct lm_detector {
    double exposure;    /* s, of all exposures together, > 0 */
    unsigned exposures; /* how many, 1 to LM_EXPOSURES_MOST */
    double sky, dark;   /* electrons/s in a pixel, >= 0; taken off the image again */
    double read_noise;  /* electrons, in each exposure, >= 0 */
    double gain;      /* electrons per unit of the digitiser: each exposure is rounded to whole units; 0: not at all */
    double full_well; /* electrons that a pixel holds in one exposure; infinity: any number */
    bool gaussian;    /* photon noise is normal, of the same variance, rather than Poisson */
} lm_detector;

enum { LM_EXPOSURES_MOST = 10000 };

/* What is wrong with a pixel; 0: nothing. */
enum { LM_PIXEL_MISSING = 1, LM_PIXEL_SATURATED = 2, LM_PIXEL_HOT = 4, LM_PIXEL_COSMIC = 8 };

/* LM_EINPUT names the value that is out of its range. */
lm_status lm_detector_check(const lm_detector *detector, lm_error *err);

/* What the detector shows of n rates m. hot [n]: further electrons/s, which are not taken off again; charge [n]:
 * electrons put down by cosmic rays, in one of the exposures; either may be NULL. A pixel that an exposure fills is
 * clipped to the full well and gets LM_PIXEL_SATURATED in flags [n] (NULL: not told). The mean of negative light is
 * taken as 0. ret may be m. */
void lm_detect(const lm_detector *detector, size_t n, const double *m, const double *hot, const double *charge,
               const lm_draw *photons, const lm_draw *readout, double *ret, unsigned char *flags);

/* The standard deviation of each of n pixels with rate m (negative counts as 0), by the formula above. detector NULL:
 * the background alone. ret may be m. */
void lm_noise_sigma(const lm_detector *detector, double background, size_t n, const double *m, double *ret);

/* Adds normal noise: of standard deviation sigma[i], or of `same` everywhere where sigma is NULL. */
void lm_noise_add(const lm_draw *draw, size_t n, const double *sigma, double same, double *to);

/* ---- pixels that go wrong ---- */

/* Marks each of n pixels with a flag, with probability `fraction` (0 to 1). */
void lm_pixels_mark(const lm_draw *draw, size_t n, double fraction, unsigned char flag, unsigned char *flags);
/* Hot pixels: marked with LM_PIXEL_HOT, with a dark current of exponential distribution with that mean (electrons/s)
 * added to hot [n]. */
void lm_pixels_hot(const lm_draw *draw, size_t n, double fraction, double mean, double *hot, unsigned char *flags);

/* Cosmic rays: relativistic particles through a slab of silicon, in straight tracks. Directions are those of an
 * isotropic flux through a plane (density sin(2 theta), here up to tan theta = 20), so that a track is thickness
 * tan(theta) long on the detector. The charge of a path x is the most probable loss in the limit of high energy,
 *
 *   xi [ln(2 m c^2 xi / (hbar w_p)^2) + 0.2],  xi = 17.8 eV per micron, hbar w_p = 31.05 eV, 3.65 eV an electron,
 *
 * (Particle Data Group 2022, PTEP 083C01, section 34.2.9), which is 77 electrons per micron for 300 microns, with
 * fluctuations of Landau's width and Moyal's shape (Moyal 1955, Phil. Mag. 46, 263). It is spread evenly along the
 * track: no diffusion, no delta rays. */
typedef struct lm_cosmic_rays {
    double rate;      /* hits per cm^2 and second: about 1 in low orbit, more in deep space, 0.02 at sea level */
    double thickness; /* micron: of the sensitive silicon, 5 to 300 */
    double pitch;     /* micron: the side of a pixel */
} lm_cosmic_rays;

/* Adds the electrons of the rays of `exposure` seconds to charge [h][w], and LM_PIXEL_COSMIC to flags [h][w] where
 * there are any. Returns how many hits there were, those included that began beyond the border and may have missed.
 * LM_EINPUT: a value that is not positive or finite, or more than 1e7 hits. */
lm_status lm_cosmic_rays_add(const lm_cosmic_rays *rays, double exposure, const lm_draw *draw, size_t h, size_t w,
                             double *charge, unsigned char *flags, size_t *ret_hits, lm_error *err);
/* Electrons that a path of that many microns most probably frees. */
double lm_cosmic_charge(double path);

/* ---- correlated noise ---- */

/* Stationary Gaussian noise n = F^-1 [sqrt(P) F w] of white w, with unitary transforms F: P is the variance of each
 * Fourier mode, its mean over all k the variance of a pixel. It is made on a grid so much larger that opposite
 * borders of the image know nothing of each other, and cut out. */
typedef struct lm_correlated lm_correlated;

/* From a correlation function xi [ch][cw], both odd, lag 0 in the middle; beyond it nothing is correlated. It is made
 * symmetric, xi(-r) = xi(r). Where its power spectrum is negative, it is set to 0 (and the whole scaled back to xi(0)).
 * rms NaN: xi(0) is the variance; else it is scaled to that standard deviation.
 * LM_EINPUT: even sides, a value that is not finite, xi(0) <= 0, or negative powers that make up more than 1% of all:
 * then it is no correlation function. */
lm_status lm_correlated_of_function(size_t h, size_t w, const double *xi, size_t ch, size_t cw, double rms,
                                    lm_correlated **ret, lm_error *err);
/* From an image P [ph][pw] of powers, k = 0 at [0][0], as numpy's fft2 has it. One of at least 2h - 1 x 2w - 1 is
 * used as it is, a smaller one through its correlation function, at the lags that it can tell. LM_EINPUT: a power
 * that is negative or not finite, or none positive. */
lm_status lm_correlated_of_power(size_t h, size_t w, const double *power, size_t ph, size_t pw, double rms,
                                 lm_correlated **ret, lm_error *err);
/* Isotropic, from n powers at growing k (cycles per pixel), linear between and constant beyond. n >= 1. */
lm_status lm_correlated_of_table(size_t h, size_t w, const double *k, const double *power, size_t n, double rms,
                                 lm_correlated **ret, lm_error *err);
/* P(k) = rms^2 c (1 + (2 pi k scale)^2)^(-slope/2): flat on large scales, a power law on scales below `scale` pixels,
 * with c so that the standard deviation is rms (which is finite here). slope 0 is white. */
lm_status lm_correlated_of_law(size_t h, size_t w, double scale, double slope, double rms, lm_correlated **ret,
                               lm_error *err);
lm_correlated *lm_correlated_free(lm_correlated *noise);
LM_OWNABLE(lm_correlated, lm_correlated_free)

/* The standard deviation of a pixel. */
double lm_correlated_rms(const lm_correlated *noise);
/* The correlation at a lag of (dy, dx) pixels, below h and w, exactly that of what is drawn: a sum over all modes. */
double lm_correlated_at(const lm_correlated *noise, ptrdiff_t dy, ptrdiff_t dx);
/* Adds a draw to `to` [h][w]. One thread at a time. */
void lm_correlated_add(lm_correlated *noise, const lm_draw *draw, double *to);

#endif
