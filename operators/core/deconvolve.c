/* What is done once a record stands here, in double; Richardson-Lucy's iteration is in deconvolve.inc, once for each
 * precision. */
#include "operators/core/deconvolve.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A sky pixel that sends less of its light to usable pixels is not modelled (Bertero & Boccacci 2005 use the same). */
#define SEEN_ENOUGH 0.01

size_t lm_image_usable(const lm_blurred_image *image, uint8_t *ret)
{
    size_t used = 0;
    for (size_t i = 0; i < image->h * image->w; i++) {
        bool good = isfinite(image->pixels[i]) && !(image->mask && image->mask[i]);
        if (image->n_variance) good = good && isfinite(image->variance[image->n_variance > 1 ? i : 0]);
        ret[i] = good;
        used += good;
    }
    return used;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t n) /* sorts them */
{
    qsort(values, n, sizeof *values, by_size);
    return n % 2 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
}

lm_status lm_noise_variance(const double *pixels, const uint8_t *usable, size_t h, size_t w, double *ret, lm_error *err)
{
    static const double kernel[3][3] = {{1, -2, 1}, {-2, 4, -2}, {1, -2, 1}};
    *ret = (double)NAN;
    if (h < 3 || w < 3) return LM_OK;
    LM_OWN(lm_memory) memory = lm_alloc_data(h * w * sizeof(double));
    double *values = memory;
    if (!values) return LM_NOMEM(err);
    size_t n = 0;
    for (size_t y = 1; y + 1 < h; y++)
        for (size_t x = 1; x + 1 < w; x++) {
            double sum = 0;
            bool good = true;
            for (size_t i = 0; i < 3; i++)
                for (size_t j = 0; j < 3; j++) {
                    size_t at = (y + i - 1) * w + x + j - 1;
                    good = good && (!usable || usable[at]);
                    sum += kernel[i][j] * pixels[at];
                }
            if (good) values[n++] = fabs(sum);
        }
    if (!n) return LM_OK;
    double sigma = median(values, n) / (6 * 0.6745);
    *ret = sigma * sigma;
    return LM_OK;
}

/* An image made ready for the iteration. */
typedef struct {
    double *data;     /* [h][w]: pixels + pedestal, at least 0; 0 where unusable */
    double *pedestal; /* 1 number, or [h][w] */
    size_t n_pedestal;
    uint8_t *usable;
    bool masked; /* some pixel is not usable */
    size_t used, clipped;
    double gain, flux;  /* flux: sum of the usable pixels as they were given */
    double level, peak; /* level: the flat start; peak: largest of data */
} prepared;

static lm_status find_gain(const lm_blurred_image *image, const lm_lucy_options *o, prepared *p, lm_error *err)
{
    size_t n = image->h * image->w;
    p->gain = 1;
    if (!isnan(o->gain)) {
        if (!(o->gain > 0) || !isfinite(o->gain))
            return LM_FAIL_HINT(err, LM_EINPUT, "Give the photons that one unit of the image stands for.",
                                "a gain of %g is not a positive number", o->gain);
        p->gain = o->gain;
    }
    if (!image->n_variance) return LM_OK;
    LM_OWN(lm_memory) memory = lm_alloc_data(n * sizeof(double));
    double *values = memory;
    if (!values) return LM_NOMEM(err);
    size_t m = 0;
    for (size_t i = 0; i < image->n_variance; i++) {
        double v = image->variance[i];
        if (image->n_variance > 1 && !p->usable[i]) continue;
        if (v < 0)
            return LM_FAIL_HINT(err, LM_EINPUT, "Give variances (squares of standard deviations) of 0 or more.",
                                "the noise variance %g is negative", v);
        values[m++] = v;
    }
    double typical = median(values, m);
    if (isnan(o->gain) && typical > 0) p->gain = 5 / sqrt(typical);
    if (!isfinite(p->gain * typical) || !isfinite(p->gain)) p->gain = 1;
    return LM_OK;
}

static void find_level(const lm_blurred_image *image, const lm_lucy_options *o, prepared *p)
{
    double sum = 0, squares = 0, n = (double)p->used;
    for (size_t i = 0; i < image->h * image->w; i++) {
        if (!p->usable[i]) continue;
        sum += image->pixels[i];
        squares += image->pixels[i] * image->pixels[i];
    }
    p->flux = sum;
    p->level = sum / n;
    double least = 0.01 * sqrt(squares / n); /* a sky-subtracted stamp may have no light, or less */
    if (!(p->level > least)) p->level = least;
    if (o->start == LM_LUCY_FLAT) p->level = 0.5;
}

static lm_status prepare(const lm_blurred_image *image, const lm_lucy_options *o, prepared *p, lm_error *err)
{
    size_t n = image->h * image->w;
    if (image->n_variance == 1 && !isfinite(image->variance[0]))
        return LM_FAIL_HINT(err, LM_EINPUT, "Give the variance of the noise in a pixel, or none.",
                            "the noise variance is %g", image->variance[0]);
    p->used = lm_image_usable(image, p->usable);
    p->masked = p->used < n;
    if (!p->used)
        return LM_FAIL_HINT(err, LM_EINPUT, "Look at the mask, and at how undefined pixels came in.",
                            "none of the image's %zu x %zu pixels can be used: all are undefined or masked", image->h,
                            image->w);
    LM_TRY(find_gain(image, o, p, err));
    p->n_pedestal = image->n_variance > 1 ? n : 1;
    for (size_t i = 0; i < p->n_pedestal; i++) {
        bool good = image->n_variance && (image->n_variance == 1 || p->usable[i]);
        p->pedestal[i] = good ? p->gain * image->variance[i] : 0;
    }
    for (size_t i = 0; i < n; i++) {
        double lifted = p->usable[i] ? image->pixels[i] + p->pedestal[p->n_pedestal > 1 ? i : 0] : 0;
        p->clipped += lifted < 0;
        p->data[i] = lifted > 0 ? lifted : 0;
        if (p->data[i] > p->peak) p->peak = p->data[i];
    }
    find_level(image, o, p);
    return LM_OK;
}

#define REAL double
#define FN(name) name##_f64
#define SQRT sqrt
#define ROUNDING 1e-12
#define TINY DBL_MIN
#define SMALL 1e-150
#include "operators/core/deconvolve.inc"
#undef REAL
#undef FN
#undef SQRT
#undef ROUNDING
#undef TINY
#undef SMALL
#define REAL float
#define FN(name) name##_f32
#define SQRT sqrtf
#define ROUNDING 1e-7
#define TINY FLT_MIN
#define SMALL 1e-18F
#include "operators/core/deconvolve.inc"

lm_status lm_richardson_lucy(const lm_blurred_image *image, const lm_psf *psf, const lm_lucy_options *options,
                             double *model, double *surround, lm_lucy_result *ret, lm_error *err)
{
    size_t n = image->h * image->w;
    LM_OWN(lm_convolver) convolver = NULL;
    LM_TRY(lm_convolver_new(psf, image->h, image->w, options->edge, options->single, &convolver, err));
    LM_OWN(lm_memory) memory = lm_alloc_data(2 * n * sizeof(double) + n);
    if (!memory) return LM_NOMEM(err);
    prepared p = {.data = memory, .pedestal = (double *)memory + n, .usable = (uint8_t *)((double *)memory + 2 * n)};
    LM_TRY(prepare(image, options, &p, err));
    size_t done = 0;
    if (options->single) LM_TRY(run_f32(convolver, &p, options, model, surround, &done, err));
    else LM_TRY(run_f64(convolver, &p, options, model, surround, &done, err));
    *ret = (lm_lucy_result){.iterations = done, .gain = p.gain, .used = p.used, .clipped = p.clipped};
    return LM_OK;
}

/* ---- Wiener ------------------------------------------------------------------------------------------------------ */

/* image with its unusable pixels filled: (psf * (w y)) / (psf * w) where that knows enough, else the mean of all. */
static lm_status fill_in(const lm_blurred_image *image, const lm_psf *psf, double *ret, lm_error *err)
{
    size_t h = image->h, w = image->w, n = h * w;
    LM_OWN(lm_memory) memory = lm_alloc_data(3 * n * sizeof(double) + n);
    if (!memory) return LM_NOMEM(err);
    double *part = memory, *light = part + n, *seen = light + n, sum = 0;
    uint8_t *usable = (uint8_t *)(seen + n);
    size_t used = lm_image_usable(image, usable);
    if (!used)
        return LM_FAIL_HINT(err, LM_EINPUT, "Look at the mask, and at how undefined pixels came in.",
                            "none of the image's %zu x %zu pixels can be used: all are undefined or masked", h, w);
    for (size_t i = 0; i < n; i++) {
        ret[i] = usable[i] ? image->pixels[i] : 0;
        sum += ret[i];
    }
    if (used == n) return LM_OK;
    LM_OWN(lm_convolver) blur = NULL;
    LM_TRY(lm_convolver_new(psf, h, w, LM_EDGE_ZERO, false, &blur, err));
    lm_convolve_f64(blur, ret, light);
    for (size_t i = 0; i < n; i++) part[i] = usable[i];
    lm_convolve_f64(blur, part, seen);
    for (size_t i = 0; i < n; i++)
        if (!usable[i]) ret[i] = seen[i] > SEEN_ENOUGH * psf->sum ? light[i] / seen[i] : sum / (double)used;
    return LM_OK;
}

/* Mean power of signal and of |H|^2 in rings of equal frequency, from the data's power and the noise's:
 *   S(ring) = max(<|Y|^2> - N, 0) / <|H|^2> */
typedef struct {
    double *power, *transfer; /* sums by ring */
    size_t n;
} rings;

static double squared(double x)
{
    return x * x;
}

/* Frequency of a spectrum's pixel, in cycles a pixel, and the ring that it belongs to. */
static size_t ring_of(const rings *r, size_t i, size_t j, size_t n1, size_t n2)
{
    double fy = (double)(i <= n1 / 2 ? i : n1 - i) / (double)n1, fx = (double)j / (double)n2;
    size_t ring = (size_t)lround(sqrt(fx * fx + fy * fy) * (double)(r->n - 1) / M_SQRT1_2);
    return ring < r->n ? ring : r->n - 1;
}

static lm_status measure_rings(const lm_convolver *c, double noise, rings *r, lm_error *err)
{
    size_t stride = lm_fft_stride(c->fft), longer = c->n1 > c->n2 ? c->n1 : c->n2;
    const double *y = c->spectrum, *k = c->kernel;
    double scale = squared((double)c->n1 * (double)c->n2); /* the kernel holds H / (n1 n2) */
    r->n = longer / 2 + 1;
    r->power = lm_alloc(3 * r->n, sizeof *r->power);
    if (!r->power) return LM_NOMEM(err);
    r->transfer = r->power + r->n;
    double *count = r->transfer + r->n;
    for (size_t i = 0; i < c->n1; i++)
        for (size_t j = 0; j <= c->n2 / 2; j++) {
            size_t ring = ring_of(r, i, j, c->n1, c->n2), at = 2 * (i * stride + j);
            double twice = j == 0 || 2 * j == c->n2 ? 1 : 2; /* its mirror image is not stored */
            r->power[ring] += twice * (squared(y[at]) + squared(y[at + 1]));
            r->transfer[ring] += twice * scale * (squared(k[at]) + squared(k[at + 1]));
            count[ring] += twice;
        }
    for (size_t i = 0; i < r->n; i++) {
        double excess = count[i] > 0 ? r->power[i] / count[i] - noise : 0;
        r->transfer[i] = count[i] > 0 ? r->transfer[i] / count[i] : 0;
        r->power[i] = excess > 0 && r->transfer[i] > 0 ? excess / r->transfer[i] : 0;
    }
    return LM_OK;
}

/* spectrum *= filter; the kernel holds H / (n1 n2), which also undoes the transforms' scale */
static lm_status filter_spectrum(const lm_convolver *c, const lm_wiener_options *o, lm_error *err)
{
    size_t stride = lm_fft_stride(c->fft);
    double n = (double)c->n1 * (double)c->n2, noise = o->variance * n;
    double *y = c->spectrum;
    const double *k = c->kernel;
    rings r = {0};
    if (o->method == LM_WIENER_NOISE) LM_TRY(measure_rings(c, noise, &r, err));
    for (size_t i = 0; i < c->n1; i++)
        for (size_t j = 0; j <= c->n2 / 2; j++) {
            size_t at = 2 * (i * stride + j);
            double re = k[at] * n, im = k[at + 1] * n, power = re * re + im * im, gain;
            if (o->method == LM_WIENER_LAPLACIAN) {
                double laplacian =
                    4 - 2 * cos(2 * M_PI * (double)i / (double)c->n1) - 2 * cos(2 * M_PI * (double)j / (double)c->n2);
                gain = power + o->balance * laplacian * laplacian;
                gain = gain > 0 ? 1 / gain : 0;
            } else {
                /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): measure_rings() filled it for this method */
                double signal = r.power[ring_of(&r, i, j, c->n1, c->n2)];
                gain = power * signal + noise > 0 ? signal / (power * signal + noise) : 0;
            }
            double to_re = (y[at] * re + y[at + 1] * im) * gain, to_im = (y[at + 1] * re - y[at] * im) * gain;
            y[at] = to_re / n;
            y[at + 1] = to_im / n;
        }
    lm_free(r.power);
    return LM_OK;
}

lm_status lm_wiener(const lm_blurred_image *image, const lm_psf *psf, const lm_wiener_options *options, double *model,
                    lm_error *err)
{
    size_t h = image->h, w = image->w, n1 = options->mirror ? 2 * h : h, n2 = options->mirror ? 2 * w : w;
    LM_OWN(lm_memory) memory = lm_alloc_data(h * w * sizeof(double));
    if (!memory) return LM_NOMEM(err);
    LM_OWN(lm_convolver) c = NULL; /* for its transforms of the PSF and of the image; the image may stand in it twice */
    LM_TRY(lm_convolver_new(psf, n1, n2, LM_EDGE_PERIODIC, false, &c, err));
    double *filled = memory, *row = c->sky_row, *spectrum = c->spectrum;
    LM_TRY(fill_in(image, psf, filled, err));
    size_t stride = 2 * lm_fft_stride(c->fft);
    for (size_t y = 0; y < n1; y++) {
        const double *from = filled + (y < h ? y : n1 - 1 - y) * w;
        for (size_t x = 0; x < n2; x++) row[x] = from[x < w ? x : n2 - 1 - x];
        lm_fft_row_f64(c->fft, row, spectrum + y * stride);
    }
    lm_fft_columns_f64(c->fft, spectrum, false);
    LM_TRY(filter_spectrum(c, options, err));
    lm_fft_columns_f64(c->fft, spectrum, true);
    for (size_t y = 0; y < h; y++) {
        lm_fft_row_back_f64(c->fft, spectrum + y * stride, row);
        memcpy(model + y * w, row, w * sizeof *model);
    }
    return LM_OK;
}
