/* Correlated noise: white noise, weighted by the root of a power spectrum. See noise.h. */
#include "operators/core/fft.h"
#include "operators/core/noise.h"

#include <math.h>
#include <string.h>

#define NEGATIVE_MOST 0.01 /* of all power, before a function is no correlation function */
enum { MOST_SAMPLES = 1 << 26, WRAP_SCALES = 8 };

struct lm_correlated {
    size_t h, w;   /* the image */
    size_t n1, n2; /* the grid */
    size_t half;   /* n2/2 + 1: columns of a half spectrum */
    double rms;
    double *power;    /* [n1][half]; variance of a mode */
    double *root;     /* [n1][half]: sqrt(power) / (n1 n2), for transforms that are not normalised */
    double *spectrum; /* [n1][stride] */
    double *row;      /* [n2] */
    lm_fft *fft;
};

lm_correlated *lm_correlated_free(lm_correlated *c)
{
    if (!c) return NULL;
    lm_fft_close(c->fft);
    lm_free(c->power);
    lm_free(c->root);
    lm_free(c->spectrum);
    lm_free(c->row);
    return lm_free(c);
}

/* A grid of n1 x n2 for images of h x w; powers are 0. */
static lm_status make_grid(size_t h, size_t w, size_t n1, size_t n2, lm_correlated **ret, lm_error *err)
{
    if (h == 0 || w == 0) return LM_FAIL(err, LM_EINPUT, "noise for an image of %zu x %zu pixels", h, w);
    if (n1 > MOST_SAMPLES || n2 > MOST_SAMPLES / n1)
        return LM_FAIL_HINT(err, LM_EINPUT, "Take a smaller image, or a shorter scale of correlation.",
                            "correlated noise needs a grid of %zu x %zu: more than %d values", n1, n2,
                            (int)MOST_SAMPLES);
    LM_OWN(lm_correlated) c = lm_alloc(1, sizeof *c);
    if (!c) return LM_NOMEM(err);
    *c = (lm_correlated){.h = h, .w = w, .n1 = n1, .n2 = n2, .half = n2 / 2 + 1};
    LM_TRY(lm_fft_open(n1, n2, false, &c->fft, err));
    c->power = lm_alloc(n1 * c->half, sizeof *c->power);
    c->root = lm_alloc(n1 * c->half, sizeof *c->root);
    c->spectrum = lm_alloc_data(lm_fft_spectrum_bytes(c->fft));
    c->row = lm_alloc_data(n2 * sizeof *c->row);
    if (!c->power || !c->root || !c->spectrum || !c->row) return LM_NOMEM(err);
    *ret = lm_take(c);
    return LM_OK;
}

/* How many modes of the whole plane a column of the half spectrum stands for. */
static double weight(const lm_correlated *c, size_t j)
{
    return j == 0 || (c->n2 % 2 == 0 && j == c->n2 / 2) ? 1 : 2;
}

/* The mean over the plane of the powers that are positive, and of the others (as a positive number). */
static void mean_power(const lm_correlated *c, double *ret_positive, double *ret_negative)
{
    double positive = 0, negative = 0;
    for (size_t i = 0; i < c->n1; i++)
        for (size_t j = 0; j < c->half; j++) {
            double p = weight(c, j) * c->power[i * c->half + j];
            if (p < 0) negative -= p;
            else positive += p;
        }
    double n = (double)c->n1 * (double)c->n2;
    *ret_positive = positive / n;
    *ret_negative = negative / n;
}

/* Scales the powers to a variance and takes their roots. rms NaN: that variance. */
static lm_status finish(lm_correlated *c, double variance, double rms, lm_error *err)
{
    double positive, negative, n = (double)c->n1 * (double)c->n2;
    if (!isnan(rms)) {
        if (!(rms >= 0) || !isfinite(rms))
            return LM_FAIL(err, LM_EINPUT, "correlated noise with a standard deviation of %g", rms);
        variance = rms * rms;
    }
    mean_power(c, &positive, &negative);
    if (!(positive > 0) || !isfinite(positive) || !isfinite(variance))
        return LM_FAIL(err, LM_EINPUT, "a power spectrum with a mean of %g is none", positive);
    for (size_t i = 0; i < c->n1 * c->half; i++) {
        double p = c->power[i];
        c->power[i] = p > 0 ? p * (variance / positive) : 0;
        c->root[i] = sqrt(c->power[i]) / n;
    }
    c->rms = sqrt(variance);
    return LM_OK;
}

/* ---- from what is known about it --------------------------------------------------------------------------------- */

static lm_status all_finite(const double *values, size_t n, const char *what, lm_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(values[i])) return LM_FAIL(err, LM_EINPUT, "%s: value %zu is %g", what, i + 1, values[i]);
    return LM_OK;
}

/* xi at a lag, made symmetric; 0 beyond its support. */
static double lag_of(const double *xi, size_t ch, size_t cw, ptrdiff_t dy, ptrdiff_t dx)
{
    ptrdiff_t my = (ptrdiff_t)(ch / 2), mx = (ptrdiff_t)(cw / 2);
    if (dy > my || -dy > my || dx > mx || -dx > mx) return 0;
    size_t at = (size_t)(my + dy) * cw + (size_t)(mx + dx), mirrored = (size_t)(my - dy) * cw + (size_t)(mx - dx);
    return 0.5 * (xi[at] + xi[mirrored]);
}

/* The lag that index i of n stands for on a grid that wraps around. */
static ptrdiff_t wrapped(size_t i, size_t n)
{
    return i <= n / 2 ? (ptrdiff_t)i : (ptrdiff_t)i - (ptrdiff_t)n;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

lm_status lm_correlated_of_function(size_t h, size_t w, const double *xi, size_t ch, size_t cw, double rms,
                                    lm_correlated **ret, lm_error *err)
{
    if (ch % 2 == 0 || cw % 2 == 0)
        return LM_FAIL_HINT(err, LM_EINPUT, "Its middle pixel is the lag 0.",
                            "a correlation function of %zu x %zu pixels: both sides must be odd", ch, cw);
    LM_TRY(all_finite(xi, ch * cw, "a correlation function", err));
    double variance = lag_of(xi, ch, cw, 0, 0);
    if (!(variance > 0))
        return LM_FAIL(err, LM_EINPUT, "a correlation function that is %g at its middle: it must be positive",
                       variance);
    LM_OWN(lm_correlated) c = NULL; /* no lag within the image meets a copy of xi */
    LM_TRY(make_grid(h, w, lm_fft_size(larger(h + ch / 2, ch)), lm_fft_size(larger(w + cw / 2, cw)), &c, err));
    size_t stride = lm_fft_stride(c->fft);
    for (size_t i = 0; i < c->n1; i++) {
        for (size_t j = 0; j < c->n2; j++) c->row[j] = lag_of(xi, ch, cw, wrapped(i, c->n1), wrapped(j, c->n2));
        lm_fft_row_f64(c->fft, c->row, c->spectrum + 2 * i * stride);
    }
    lm_fft_columns_f64(c->fft, c->spectrum, false);
    for (size_t i = 0; i < c->n1; i++)
        for (size_t j = 0; j < c->half; j++) c->power[i * c->half + j] = c->spectrum[2 * (i * stride + j)];
    double positive, negative;
    mean_power(c, &positive, &negative);
    if (!(negative <= NEGATIVE_MOST * positive))
        return LM_FAIL_HINT(err, LM_EINPUT, "Taper it towards its border.",
                            "a correlation function whose power spectrum is negative in places (%.3g of its power): it "
                            "is that of no noise",
                            negative / (positive + negative));
    LM_TRY(finish(c, variance, rms, err));
    *ret = lm_take(c);
    return LM_OK;
}

/* P(k) and P(-k) alike. */
static double power_of(const double *power, size_t ph, size_t pw, size_t i, size_t j)
{
    return 0.5 * (power[i * pw + j] + power[(ph - i) % ph * pw + (pw - j) % pw]);
}

/* The correlation function [ch][cw] of powers on their own grid; at the largest lag of an even side, where both signs
 * are one, each gets a half. */
static lm_status function_of_power(const double *power, size_t ph, size_t pw, double *xi, size_t ch, size_t cw,
                                   lm_error *err)
{
    LM_OWN(lm_fft) fft = NULL;
    LM_TRY(lm_fft_open(ph, pw, false, &fft, err));
    size_t stride = lm_fft_stride(fft);
    LM_OWN(lm_memory) spectrum_block = lm_alloc_data(lm_fft_spectrum_bytes(fft));
    LM_OWN(lm_memory) row_block = lm_alloc_data(pw * sizeof(double));
    double *spectrum = spectrum_block, *row = row_block;
    if (!spectrum || !row) return LM_NOMEM(err);
    for (size_t i = 0; i < ph; i++) { /* P is even, so that both directions of the transform are one */
        for (size_t j = 0; j < pw; j++) row[j] = power_of(power, ph, pw, i, j);
        lm_fft_row_f64(fft, row, spectrum + 2 * i * stride);
    }
    lm_fft_columns_f64(fft, spectrum, false);
    for (size_t y = 0; y < ch; y++)
        for (size_t x = 0; x < cw; x++) {
            ptrdiff_t dy = (ptrdiff_t)y - (ptrdiff_t)(ch / 2), dx = (ptrdiff_t)x - (ptrdiff_t)(cw / 2);
            double share =
                (ph % 2 == 0 && (y == 0 || y == ch - 1) ? 0.5 : 1) * (pw % 2 == 0 && (x == 0 || x == cw - 1) ? 0.5 : 1);
            if (dx < 0) dy = -dy, dx = -dx; /* xi(-r) = xi(r): the half that there is */
            size_t i = (size_t)(dy < 0 ? dy + (ptrdiff_t)ph : dy) % ph;
            xi[y * cw + x] = share * spectrum[2 * (i * stride + (size_t)dx)] / ((double)ph * (double)pw);
        }
    return LM_OK;
}

lm_status lm_correlated_of_power(size_t h, size_t w, const double *power, size_t ph, size_t pw, double rms,
                                 lm_correlated **ret, lm_error *err)
{
    if (ph == 0 || pw == 0) return LM_FAIL(err, LM_EINPUT, "a power spectrum of %zu x %zu values", ph, pw);
    LM_TRY(all_finite(power, ph * pw, "a power spectrum", err));
    for (size_t i = 0; i < ph * pw; i++)
        if (power[i] < 0) return LM_FAIL(err, LM_EINPUT, "a power spectrum: value %zu is %g, below 0", i + 1, power[i]);
    if (ph >= 2 * h - 1 && pw >= 2 * w - 1) {
        LM_OWN(lm_correlated) c = NULL;
        LM_TRY(make_grid(h, w, ph, pw, &c, err));
        for (size_t i = 0; i < ph; i++)
            for (size_t j = 0; j < c->half; j++) c->power[i * c->half + j] = power_of(power, ph, pw, i, j);
        double positive, negative;
        mean_power(c, &positive, &negative);
        LM_TRY(finish(c, positive, rms, err));
        *ret = lm_take(c);
        return LM_OK;
    }
    size_t ch = ph | 1, cw = pw | 1;
    LM_OWN(lm_memory) xi = lm_alloc(ch * cw, sizeof(double));
    if (!xi) return LM_NOMEM(err);
    LM_TRY(function_of_power(power, ph, pw, xi, ch, cw, err));
    return lm_correlated_of_function(h, w, xi, ch, cw, rms, ret, err);
}

/* An isotropic spectrum on a grid with `margin` more pixels: power(k, arg) of k in cycles per pixel. */
static lm_status of_isotropic(size_t h, size_t w, size_t margin, double (*power)(double k, const void *arg),
                              const void *arg, double rms, lm_correlated **ret, lm_error *err)
{
    LM_OWN(lm_correlated) c = NULL;
    LM_TRY(make_grid(h, w, lm_fft_size(h + margin), lm_fft_size(w + margin), &c, err));
    for (size_t i = 0; i < c->n1; i++)
        for (size_t j = 0; j < c->half; j++) {
            double ky = (double)wrapped(i, c->n1) / (double)c->n1, kx = (double)j / (double)c->n2;
            c->power[i * c->half + j] = power(hypot(kx, ky), arg);
        }
    double positive, negative;
    mean_power(c, &positive, &negative);
    LM_TRY(finish(c, positive, rms, err));
    *ret = lm_take(c);
    return LM_OK;
}

typedef struct {
    const double *k, *power;
    size_t n;
} table;

static double table_at(double k, const void *arg)
{
    const table *t = arg;
    if (k <= t->k[0]) return t->power[0];
    if (k >= t->k[t->n - 1]) return t->power[t->n - 1];
    size_t low = 0, high = t->n - 1; /* k[low] < k < k[high] */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (t->k[middle] <= k) low = middle;
        else high = middle;
    }
    double f = (k - t->k[low]) / (t->k[high] - t->k[low]);
    return t->power[low] + f * (t->power[high] - t->power[low]);
}

lm_status lm_correlated_of_table(size_t h, size_t w, const double *k, const double *power, size_t n, double rms,
                                 lm_correlated **ret, lm_error *err)
{
    if (n == 0) return LM_FAIL(err, LM_EINPUT, "a table of a power spectrum without rows");
    LM_TRY(all_finite(k, n, "the k of a power spectrum", err));
    LM_TRY(all_finite(power, n, "a power spectrum", err));
    for (size_t i = 0; i < n; i++) {
        if (power[i] < 0) return LM_FAIL(err, LM_EINPUT, "a power spectrum: value %zu is %g, below 0", i + 1, power[i]);
        if (k[i] < 0 || (i > 0 && !(k[i] > k[i - 1])))
            return LM_FAIL(err, LM_EINPUT, "the k of a power spectrum must grow from 0 on: value %zu is %g", i + 1,
                           k[i]);
    }
    const table t = {k, power, n};
    return of_isotropic(h, w, larger(h, w), table_at, &t, rms, ret, err);
}

typedef struct {
    double scale, slope;
} law;

static double law_at(double k, const void *arg)
{
    const law *l = arg;
    double s = 2 * M_PI * k * l->scale;
    return exp(-0.5 * l->slope * log1p(s * s));
}

lm_status lm_correlated_of_law(size_t h, size_t w, double scale, double slope, double rms, lm_correlated **ret,
                               lm_error *err)
{
    if (!(scale >= 0) || !(slope >= 0) || !(scale * WRAP_SCALES < MOST_SAMPLES) || !isfinite(slope))
        return LM_FAIL(err, LM_EINPUT, "a power spectrum with a scale of %g pixels and a slope of %g", scale, slope);
    const law l = {scale, slope};
    /* its correlation falls as exp(-r/scale) beyond the scale */
    return of_isotropic(h, w, larger(larger(h, w), (size_t)ceil(WRAP_SCALES * scale)), law_at, &l, rms, ret, err);
}

/* ---- what it is, and draws --------------------------------------------------------------------------------------- */

double lm_correlated_rms(const lm_correlated *c)
{
    return c->rms;
}

double lm_correlated_at(const lm_correlated *c, ptrdiff_t dy, ptrdiff_t dx)
{
    double sum = 0;
    for (size_t i = 0; i < c->n1; i++)
        for (size_t j = 0; j < c->half; j++) {
            double turn =
                (double)dy * (double)wrapped(i, c->n1) / (double)c->n1 + (double)dx * (double)j / (double)c->n2;
            /* the pair (i, j), (-i, -j) has the same cosine */
            sum += weight(c, j) * c->power[i * c->half + j] * cos(2 * M_PI * turn);
        }
    return sum / ((double)c->n1 * (double)c->n2);
}

void lm_correlated_add(lm_correlated *c, const lm_draw *draw, double *to)
{
    size_t stride = lm_fft_stride(c->fft);
    for (size_t i = 0; i < c->n1; i++) {
        for (size_t j = 0; j < c->n2; j++) c->row[j] = lm_draw_normal(draw);
        lm_fft_row_f64(c->fft, c->row, c->spectrum + 2 * i * stride);
    }
    lm_fft_columns_f64(c->fft, c->spectrum, false);
    for (size_t i = 0; i < c->n1; i++)
        for (size_t j = 0; j < c->half; j++) {
            double r = c->root[i * c->half + j];
            c->spectrum[2 * (i * stride + j)] *= r;
            c->spectrum[2 * (i * stride + j) + 1] *= r;
        }
    lm_fft_columns_f64(c->fft, c->spectrum, true);
    for (size_t i = 0; i < c->h; i++) {
        lm_fft_row_back_f64(c->fft, c->spectrum + 2 * i * stride, c->row);
        for (size_t j = 0; j < c->w; j++) to[i * c->w + j] += c->row[j];
    }
}
