/* Photons, detectors, pixels that go wrong. See noise.h; correlated noise is in noise_correlated.c. */
#include "operators/core/noise.h"

#include <math.h>

/* ---- the Poisson distribution ------------------------------------------------------------------------------------ */

#define INVERSION_BELOW 10.0
#define EXACT_BELOW 1e15

/* log k! less Stirling's formula, (k + 1/2) log k - k + log(2 pi)/2, for k >= 1. Loader's table and series. */
static double stirling_error(double k)
{
    static const double of[16] = {0,
                                  0.0810614667953272582196702,
                                  0.0413406959554092940938221,
                                  0.02767792568499833914878929,
                                  0.02079067210376509311152277,
                                  0.01664469118982119216319487,
                                  0.01387612882307074799874573,
                                  0.01189670994589177009505572,
                                  0.010411265261972096497478567,
                                  0.009255462182712732917728637,
                                  0.008330563433362871256469318,
                                  0.007573675487951840794972024,
                                  0.006942840107209529865664152,
                                  0.006408994188004207068439631,
                                  0.005951370112758847735624416,
                                  0.005554733551962801371038690};
    if (k < 16) return of[(size_t)k];
    double k2 = k * k;
    return (1.0 / 12 - (1.0 / 360 - (1.0 / 1260 - (1.0 / 1680 - 1.0 / 1188 / k2) / k2) / k2) / k2) / k;
}

/* k log(k/mean) + mean - k, which is small beside its terms where k is near the mean. */
static double deviance(double k, double mean)
{
    double d = k - mean;
    if (fabs(d) >= 0.1 * (k + mean)) return k * log(k / mean) + mean - k;
    double v = d / (k + mean), sum = d * v, term = 2 * k * v, v2 = v * v;
    for (int j = 3; j < 200; j += 2) { /* log(k/mean) = 2 artanh v, |v| < 0.1 */
        term *= v2;
        double next = sum + term / j;
        if (next == sum) break;
        sum = next;
    }
    return sum;
}

double lm_poisson_log(double k, double mean)
{
    if (k == 0) return -mean;
    return -0.5 * log(2 * M_PI * k) - stirling_error(k) - deviance(k, mean);
}

/* Adds probabilities up until they pass u. */
static double poisson_small(const lm_draw *draw, double mean)
{
    double u = lm_draw_uniform(draw), p = exp(-mean), sum = p;
    for (unsigned k = 0; k < 200; k++) { /* P(k >= 200) at a mean of 10 is below 1e-150 */
        if (u < sum) return k;
        p *= mean / (k + 1);
        sum += p;
    }
    return floor(mean); /* u is within rounding of 1 */
}

static double poisson_large(const lm_draw *draw, double mean)
{
    const double b = 0.931 + 2.53 * sqrt(mean), a = -0.059 + 0.02483 * b, v_r = 0.9277 - 3.6224 / (b - 2);
    const double inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
    for (;;) {
        double u = lm_draw_uniform(draw) - 0.5, v = lm_draw_uniform(draw), us = 0.5 - fabs(u);
        if (us == 0) continue;
        double k = floor((2 * a / us + b) * u + mean + 0.43);
        if (us >= 0.07 && v <= v_r) return k;
        if (k < 0 || (us < 0.013 && v > us)) continue;
        if (log(v * inverse_alpha / (a / (us * us) + b)) <= lm_poisson_log(k, mean)) return k;
    }
}

double lm_poisson(const lm_draw *draw, double mean)
{
    if (isnan(mean) || (isinf(mean) && mean > 0)) return mean;
    if (!(mean > 0)) return 0;
    if (mean < INVERSION_BELOW) return poisson_small(draw, mean);
    if (mean < EXACT_BELOW) return poisson_large(draw, mean);
    return nearbyint(mean + sqrt(mean) * lm_draw_normal(draw));
}

/* ---- a detector -------------------------------------------------------------------------------------------------- */

static lm_status at_least_zero(double value, const char *what, lm_error *err)
{
    if (value >= 0 && isfinite(value)) return LM_OK;
    return LM_FAIL(err, LM_EINPUT, "a detector with %s of %g: it must be 0 or more", what, value);
}

lm_status lm_detector_check(const lm_detector *d, lm_error *err)
{
    if (!(d->exposure > 0) || !isfinite(d->exposure))
        return LM_FAIL_HINT(err, LM_EINPUT, "Leave it unset for an image without photon noise.",
                            "an exposure of %g s collects no light", d->exposure);
    if (d->exposures < 1 || d->exposures > LM_EXPOSURES_MOST)
        return LM_FAIL(err, LM_EINPUT, "%u exposures: there must be 1 to %d", d->exposures, LM_EXPOSURES_MOST);
    LM_TRY(at_least_zero(d->sky, "a sky", err));
    LM_TRY(at_least_zero(d->dark, "a dark current", err));
    LM_TRY(at_least_zero(d->read_noise, "a read noise", err));
    LM_TRY(at_least_zero(d->gain, "a gain", err));
    if (!(d->full_well > 0))
        return LM_FAIL(err, LM_EINPUT, "a detector with a full well of %g electrons: it must be above 0", d->full_well);
    return LM_OK;
}

static double electrons(const lm_detector *d, double mean, const lm_draw *photons)
{
    if (!d->gaussian) return lm_poisson(photons, mean);
    return mean + sqrt(mean) * lm_draw_normal(photons);
}

/* The sum of all exposures, each with its own read-out; mean: electrons in one of them. */
static double expose_each(const lm_detector *d, double mean, double charge, const lm_draw *photons,
                          const lm_draw *readout, bool *ret_full)
{
    double sum = 0;
    *ret_full = false;
    for (unsigned e = 0; e < d->exposures; e++) {
        double n = electrons(d, mean, photons) + (e == 0 ? charge : 0);
        if (n >= d->full_well) {
            n = d->full_well;
            *ret_full = true;
        }
        if (d->read_noise > 0) n += d->read_noise * lm_draw_normal(readout);
        sum += d->gain > 0 ? d->gain * nearbyint(n / d->gain) : n;
    }
    return sum;
}

void lm_detect(const lm_detector *d, size_t n, const double *m, const double *hot, const double *charge,
               const lm_draw *photons, const lm_draw *readout, double *ret, unsigned char *flags)
{
    const double t = d->exposure, pedestal = d->sky + d->dark;
    const double read_noise = d->read_noise * sqrt((double)d->exposures);
    const bool each = d->gain > 0 || isfinite(d->full_well);
    for (size_t i = 0; i < n; i++) {
        double rate = m[i] + pedestal + (hot ? hot[i] : 0), hit = charge ? charge[i] : 0, sum;
        double mean = rate < 0 ? 0 : rate * t; /* NaN stays */
        bool full = false;
        if (each) {
            sum = expose_each(d, mean / d->exposures, hit, photons, readout, &full);
        } else { /* the sum of Poisson numbers is one, of normal numbers too */
            sum = electrons(d, mean, photons) + hit;
            if (read_noise > 0) sum += read_noise * lm_draw_normal(readout);
        }
        ret[i] = sum / t - pedestal;
        if (full && flags) flags[i] |= LM_PIXEL_SATURATED;
    }
}

void lm_noise_sigma(const lm_detector *d, double background, size_t n, const double *m, double *ret)
{
    double constant = background * background, per_rate = 0;
    if (d) {
        double readout = d->exposures * (d->read_noise * d->read_noise + d->gain * d->gain / 12);
        constant += (d->sky + d->dark + readout / d->exposure) / d->exposure;
        per_rate = 1 / d->exposure;
    }
    for (size_t i = 0; i < n; i++) ret[i] = sqrt(constant + (m[i] < 0 ? 0 : m[i] * per_rate));
}

void lm_noise_add(const lm_draw *draw, size_t n, const double *sigma, double same, double *to)
{
    for (size_t i = 0; i < n; i++) to[i] += (sigma ? sigma[i] : same) * lm_draw_normal(draw);
}

/* ---- pixels that go wrong ---------------------------------------------------------------------------------------- */

void lm_pixels_mark(const lm_draw *draw, size_t n, double fraction, unsigned char flag, unsigned char *flags)
{
    for (size_t i = 0; i < n; i++)
        if (lm_draw_uniform(draw) < fraction) flags[i] |= flag;
}

void lm_pixels_hot(const lm_draw *draw, size_t n, double fraction, double mean, double *hot, unsigned char *flags)
{
    for (size_t i = 0; i < n; i++) {
        if (!(lm_draw_uniform(draw) < fraction)) continue;
        hot[i] += -mean * log(1 - lm_draw_uniform(draw));
        flags[i] |= LM_PIXEL_HOT;
    }
}

/* ---- cosmic rays ------------------------------------------------------------------------------------------------- */

#define EV_PER_ELECTRON 3.65
#define XI_PER_MICRON 17.825 /* eV: 0.153537 MeV cm^2/g * Z/A 0.49848 * 2.329 g/cm^3 */
#define PLASMA 31.05         /* eV, of silicon */
#define TWICE_REST 1021997.9 /* eV: of an electron */
#define MOYAL_WIDTH 1.12     /* in xi: where Moyal's half width, 3.59, is Landau's, 4.02 */
#define STEEPEST 20.0        /* tan theta: 1 ray in 401 is nearer to the plane */
#define MOST_HITS 1e7

double lm_cosmic_charge(double path)
{
    double xi = XI_PER_MICRON * path;
    double loss = xi * (log(TWICE_REST * xi / (PLASMA * PLASMA)) + 0.2);
    return loss > 0 ? loss / EV_PER_ELECTRON : 0; /* below 1e-3 micron the formula has no meaning, nor has the charge */
}

typedef struct {
    size_t h, w;
    double *charge;
    unsigned char *flags;
} exposed;

/* Spreads `total` evenly along the way from (x, y) to (x + dx, y + dy), in pixels from the lower left corner: from
 * border to border of the pixels on the way (Amanatides & Woo 1987). */
static void spread(const exposed *to, double x, double y, double dx, double dy, double total)
{
    double ix = floor(x), iy = floor(y), at = 0;
    const double step_x = dx > 0 ? 1 : -1, step_y = dy > 0 ? 1 : -1;
    while (at < 1) {
        double to_x = dx != 0 ? (ix + (dx > 0) - x) / dx : (double)INFINITY;
        double to_y = dy != 0 ? (iy + (dy > 0) - y) / dy : (double)INFINITY;
        double next = fmin(1, fmin(to_x, to_y));
        if (next > at && ix >= 0 && iy >= 0 && ix < (double)to->w && iy < (double)to->h) {
            size_t i = (size_t)iy * to->w + (size_t)ix;
            to->charge[i] += total * (next - at);
            to->flags[i] |= LM_PIXEL_COSMIC;
        }
        if (to_x <= to_y) ix += step_x;
        else iy += step_y;
        at = fmax(at, next);
    }
}

/* A ray that enters at a random place of the frame with its margin. */
static void one_ray(const lm_cosmic_rays *rays, const lm_draw *draw, double margin, const exposed *to)
{
    double x = lm_draw_uniform(draw) * ((double)to->w + 2 * margin) - margin;
    double y = lm_draw_uniform(draw) * ((double)to->h + 2 * margin) - margin;
    double sin2 = lm_draw_uniform(draw) * (STEEPEST * STEEPEST / (1 + STEEPEST * STEEPEST));
    double tangent = sqrt(sin2 / (1 - sin2)), phi = 2 * M_PI * lm_draw_uniform(draw);
    double path = rays->thickness * sqrt(1 + tangent * tangent), z = lm_draw_normal(draw);
    double lambda =
        z != 0 ? -log(z * z) : 0; /* Moyal's distribution is that of -log chi^2 with one degree of freedom */
    double total = lm_cosmic_charge(path) + MOYAL_WIDTH * XI_PER_MICRON * path * lambda / EV_PER_ELECTRON;
    if (!(total > 0)) return;
    double length = rays->thickness * tangent / rays->pitch;
    spread(to, x, y, length * cos(phi), length * sin(phi), total);
}

lm_status lm_cosmic_rays_add(const lm_cosmic_rays *rays, double exposure, const lm_draw *draw, size_t h, size_t w,
                             double *charge, unsigned char *flags, size_t *ret_hits, lm_error *err)
{
    if (!(rays->rate >= 0) || !(rays->thickness > 0) || !(rays->pitch > 0) || !(exposure >= 0) ||
        !isfinite(rays->thickness) || !isfinite(rays->pitch))
        return LM_FAIL(err, LM_EINPUT,
                       "cosmic rays at %g per cm^2 and s for %g s, through %g micron of pixels of %g micron",
                       rays->rate, exposure, rays->thickness, rays->pitch);
    double margin = STEEPEST * rays->thickness / rays->pitch, pixel = rays->pitch * 1e-4; /* cm */
    double mean = rays->rate * exposure * pixel * pixel * ((double)h + 2 * margin) * ((double)w + 2 * margin);
    if (!(mean <= MOST_HITS))
        return LM_FAIL_HINT(err, LM_EINPUT, "Lower the rate, or the exposure.",
                            "%g cosmic rays are more than the %g that are drawn one by one", mean, MOST_HITS);
    const exposed to = {h, w, charge, flags};
    size_t hits = (size_t)lm_poisson(draw, mean);
    for (size_t i = 0; i < hits; i++) one_ray(rays, draw, margin, &to);
    *ret_hits = hits;
    return LM_OK;
}
