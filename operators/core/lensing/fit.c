/* Likelihood of a parametric lens model. See fit.h.
 *
 * Rays are those of the pixels whose light the PSF carries into the mask, on the sky frame of the open-edged convolver. The gradient is
 * taken backwards: with r = d - m - M a and T = C^-1 P M A^-1, d ln L is the inner product of dP(m_j) with
 *   G_j = a_j C^-1 r - T_j   of a linear component,   G_j = C^-1 r   of another one,
 * so each component needs one adjoint of the PSF, and each parameter one product over the rays.
 */
#include "operators/core/lensing/fit.h"

#include "operators/core/cholesky.h"
#include "runtime/alloc.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

#define TWO_PI 6.283185307179586476925

struct lm_fit {
    size_t whole_h, whole_w, y0, x0;    /* the frame, and where the part of it that is worked on begins */
    size_t h, w, sh, sw, n_rays, n_sky; /* of that part; n_sky: pixels that cast rays, sub^2 each */
    unsigned sub;
    lm_convolver *blur;
    size_t *pixel;   /* [n_sky] in the sky frame */
    double *x, *y;   /* [n_rays] */
    double *bx, *by; /* [n_rays] in the source plane */
    double *inverse; /* [h][w] 1/noise, 0 where the pixel takes no part */
    double *image;   /* [h][w], 0 there */
    double ln_noise; /* ln |2 pi C_N| */
    size_t n_pixels;
    double *ray, *ray2; /* [n_rays] scratch */
    double *sky;        /* [sh][sw] scratch, 0 but at rays */
    double *column;     /* [n_column][h][w]: blurred, over the noise */
    size_t n_column;
    double *spare; /* [n_spare] scratch that grows as it is needed */
    size_t n_spare;
    double *residual; /* [h][w], over the noise */
    double *data;     /* [h][w] scratch */
};

lm_fit *lm_fit_free(lm_fit *fit)
{
    if (!fit) return NULL;
    lm_convolver_free(fit->blur);
    lm_free(fit->pixel);
    lm_free(fit->x);
    lm_free(fit->inverse);
    lm_free(fit->sky);
    lm_free(fit->column);
    lm_free(fit->spare);
    return lm_free(fit);
}

/* marks [sh][sw]: whose light the PSF carries into a pixel that takes part. The adjoint's support, dilated by the PSF's box. */
static void mark_rays(const lm_fit *fit, size_t ph, size_t pw, unsigned char *marks)
{
    for (size_t j = 0; j < fit->h; j++)
        for (size_t i = 0; i < fit->w; i++) {
            if (!(fit->inverse[j * fit->w + i] > 0)) continue;
            /* data (j, i) sees sky (j .. j + ph - 1, i .. i + pw - 1) of the open frame */
            for (size_t a = 0; a < ph; a++) memset(marks + (j + a) * fit->sw + i, 1, pw);
        }
}

static lm_status place_rays(lm_fit *fit, const lm_frame *frame, const unsigned char *marks, lm_error *err)
{
    size_t sub = fit->sub;
    for (size_t p = 0; p < fit->sh * fit->sw; p++) fit->n_sky += marks[p];
    fit->n_rays = fit->n_sky * sub * sub;
    fit->pixel = lm_alloc(fit->n_sky, sizeof *fit->pixel);
    fit->x = lm_alloc(6 * fit->n_rays, sizeof *fit->x);
    if (!fit->pixel || !fit->x) return LM_NOMEM(err);
    fit->y = fit->x + fit->n_rays;
    fit->bx = fit->y + fit->n_rays;
    fit->by = fit->bx + fit->n_rays;
    fit->ray = fit->by + fit->n_rays;
    fit->ray2 = fit->ray + fit->n_rays;
    size_t k = 0, n = 0;
    for (size_t p = 0; p < fit->sh * fit->sw; p++) {
        if (!marks[p]) continue;
        double column = (double)(p % fit->sw) - (double)fit->blur->ox,
               row = (double)(p / fit->sw) - (double)fit->blur->oy;
        fit->pixel[n++] = p;
        for (size_t b = 0; b < sub; b++)
            for (size_t a = 0; a < sub; a++, k++) {
                double dx = ((double)a + 0.5) / (double)sub - 0.5, dy = ((double)b + 0.5) / (double)sub - 0.5;
                fit->x[k] = frame->x + (column + dx - ((double)fit->w - 1) / 2) * frame->pixel;
                fit->y[k] = frame->y + (row + dy - ((double)fit->h - 1) / 2) * frame->pixel;
            }
    }
    return LM_OK;
}

static bool is_used(const lm_fit_data *data, size_t p)
{
    return (!data->mask || data->mask[p]) && isfinite(data->image[p]) && isfinite(data->noise[p]) && data->noise[p] > 0;
}

/* The smallest part of the frame that holds all pixels that take part. */
static lm_status crop(lm_fit *fit, const lm_fit_data *data, lm_frame *ret, lm_error *err)
{
    const lm_frame *f = &data->frame;
    size_t first_y = f->h, first_x = f->w, last_y = 0, last_x = 0;
    for (size_t j = 0; j < f->h; j++)
        for (size_t i = 0; i < f->w; i++) {
            if (!is_used(data, j * f->w + i)) continue;
            if (j < first_y) first_y = j;
            if (i < first_x) first_x = i;
            if (j > last_y) last_y = j;
            if (i > last_x) last_x = i;
        }
    if (first_y > last_y || first_x > last_x)
        return LM_FAIL_HINT(
            err, LM_EINPUT,
            "A pixel takes part where the mask is not 0, image and noise are finite, and noise is above 0.",
            "no pixel of the image takes part");
    fit->whole_h = f->h;
    fit->whole_w = f->w;
    fit->y0 = first_y;
    fit->x0 = first_x;
    fit->h = last_y - first_y + 1;
    fit->w = last_x - first_x + 1;
    *ret = (lm_frame){.h = fit->h,
                      .w = fit->w,
                      .pixel = f->pixel,
                      .x = f->x + ((double)(first_x + last_x) - (double)(f->w - 1)) / 2 * f->pixel,
                      .y = f->y + ((double)(first_y + last_y) - (double)(f->h - 1)) / 2 * f->pixel,
                      .sub = f->sub};
    return LM_OK;
}

static lm_status fill(lm_fit *fit, const lm_fit_data *data, lm_error *err)
{
    const double one = 1;
    LM_OWN(lm_memory) free_marks = NULL;
    lm_psf none = {.at = (double *)(uintptr_t)&one, .h = 1, .w = 1, .sum = 1};
    const lm_psf *psf = data->psf ? data->psf : &none;
    lm_frame frame;
    LM_TRY(crop(fit, data, &frame, err));
    LM_TRY(lm_convolver_new(psf, fit->h, fit->w, LM_EDGE_OPEN, false, &fit->blur, err));
    fit->sh = fit->blur->sh;
    fit->sw = fit->blur->sw;
    size_t n = fit->h * fit->w;
    fit->inverse = lm_alloc(4 * n, sizeof *fit->inverse);
    fit->sky = lm_alloc(fit->sh * fit->sw, sizeof *fit->sky);
    unsigned char *marks = free_marks = lm_alloc(fit->sh * fit->sw, 1);
    if (!fit->inverse || !fit->sky || !marks) return LM_NOMEM(err);
    fit->image = fit->inverse + n;
    fit->residual = fit->image + n;
    fit->data = fit->residual + n;
    for (size_t p = 0; p < n; p++) {
        size_t from = (fit->y0 + p / fit->w) * fit->whole_w + fit->x0 + p % fit->w;
        if (!is_used(data, from)) continue;
        fit->inverse[p] = 1 / data->noise[from];
        fit->image[p] = data->image[from];
        fit->n_pixels++;
        fit->ln_noise += log(TWO_PI) + 2 * log(data->noise[from]);
    }
    mark_rays(fit, psf->h, psf->w, marks);
    return place_rays(fit, &frame, marks, err);
}

lm_status lm_fit_new(const lm_fit_data *data, lm_fit **ret, lm_error *err)
{
    lm_fit *fit = lm_alloc(1, sizeof *fit);
    if (!fit) return LM_NOMEM(err);
    fit->sub = data->frame.sub ? data->frame.sub : 1;
    lm_status status = fill(fit, data, err);
    if (status) lm_fit_free(fit);
    else *ret = fit;
    return status;
}

size_t lm_fit_pixels(const lm_fit *fit)
{
    return fit->n_pixels;
}

/* ---- forwards ---- */

static void trace(lm_fit *fit, const lm_fit_scene *scene)
{
    size_t bytes = fit->n_rays * sizeof(double);
    memset(fit->ray, 0, bytes);
    memset(fit->ray2, 0, bytes);
    const lm_mass_maps to = {.alpha_x = fit->ray, .alpha_y = fit->ray2};
    for (size_t m = 0; m < scene->n_masses; m++) lm_mass_add(&scene->masses[m], fit->n_rays, fit->x, fit->y, &to);
    for (size_t k = 0; k < fit->n_rays; k++) {
        fit->bx[k] = fit->x[k] - fit->ray[k];
        fit->by[k] = fit->y[k] - fit->ray2[k];
    }
}

/* The component at unit amplitude if it is linear. */
static lm_light unit_light(const lm_fit_light *from)
{
    lm_light light = from->light;
    if (from->linear >= 0) light.param[from->linear] = 1;
    return light;
}

static void gather_rays(const lm_fit *fit, const double *rays, double *sky)
{
    size_t each = (size_t)fit->sub * fit->sub;
    for (size_t n = 0; n < fit->n_sky; n++) {
        double sum = 0;
        for (size_t s = 0; s < each; s++) sum += rays[n * each + s];
        sky[fit->pixel[n]] = sum / (double)each;
    }
}

/* A blurred component, on all pixels. */
static void blurred(lm_fit *fit, const lm_fit_light *from, double *ret)
{
    lm_light light = unit_light(from);
    memset(fit->ray, 0, fit->n_rays * sizeof *fit->ray);
    lm_light_add(&light, fit->n_rays, from->lensed ? fit->bx : fit->x, from->lensed ? fit->by : fit->y, fit->ray);
    gather_rays(fit, fit->ray, fit->sky);
    lm_convolve_f64(fit->blur, fit->sky, ret);
}

static lm_status room_for(lm_fit *fit, size_t n, lm_error *err)
{
    if (n <= fit->n_column) return LM_OK;
    fit->column = lm_free(fit->column);
    fit->n_column = 0;
    fit->column = lm_alloc(n * fit->h * fit->w, sizeof *fit->column);
    if (!fit->column) return LM_NOMEM(err);
    fit->n_column = n;
    return LM_OK;
}

static double *spare(lm_fit *fit, size_t n)
{
    if (n <= fit->n_spare) return fit->spare;
    fit->spare = lm_free(fit->spare);
    fit->spare = lm_alloc(n, sizeof *fit->spare);
    fit->n_spare = fit->spare ? n : 0;
    return fit->spare;
}

static double dot(size_t n, const double *a, const double *b)
{
    return cblas_ddot((int)n, a, 1, b, 1);
}

/* residual = what of the data the given lights leave; which [k]: the linear ones. */
static size_t split_lights(lm_fit *fit, const lm_fit_scene *scene, size_t *which)
{
    size_t n = fit->h * fit->w, k = 0;
    for (size_t p = 0; p < n; p++) fit->residual[p] = fit->image[p] * fit->inverse[p];
    for (size_t l = 0; l < scene->n_lights; l++)
        if (scene->lights[l].linear >= 0) which[k++] = l;
        else cblas_daxpy((int)n, -1, fit->column + l * n, 1, fit->residual, 1);
    return k;
}

/* The linear amplitudes: A's Cholesky factor in `factor` [k][k] (lower), ln|A|. */
static lm_status solve(lm_fit *fit, size_t k, const size_t *which, double *factor, double *amplitude, double *ret_ln_A,
                       lm_error *err)
{
    size_t n = fit->h * fit->w;
    for (size_t i = 0; i < k; i++) {
        const double *one = fit->column + which[i] * n;
        for (size_t j = 0; j <= i; j++) factor[i * k + j] = dot(n, one, fit->column + which[j] * n);
        amplitude[i] = dot(n, one, fit->residual);
    }
    /* Scaled to a diagonal of ones, so that what cannot be told apart is seen whatever its unit. */
    double scale[LM_FIT_LIGHTS];
    for (size_t i = 0; i < k; i++) {
        if (!(factor[i * k + i] > 0) || !isfinite(factor[i * k + i]))
            return LM_FAIL(err, LM_EINPUT, "linear component %zu shines nowhere in the mask", which[i] + 1);
        scale[i] = 1 / sqrt(factor[i * k + i]);
    }
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j <= i; j++) factor[i * k + j] *= scale[i] * scale[j];
    if (!lm_lower_factor(k, factor)) return LM_FAIL(err, LM_EINPUT, "the linear components depend on one another");
    *ret_ln_A = 0;
    for (size_t i = 0; i < k; i++) {
        if (!(factor[i * k + i] > 1e-7)) return LM_FAIL(err, LM_EINPUT, "the linear components depend on one another");
        for (size_t j = 0; j <= i; j++) factor[i * k + j] /= scale[i];
        *ret_ln_A += 2 * log(factor[i * k + i]);
    }
    if (k) {
        cblas_dtrsv(CblasRowMajor, CblasLower, CblasNoTrans, CblasNonUnit, (int)k, factor, (int)k, amplitude, 1);
        cblas_dtrsv(CblasRowMajor, CblasLower, CblasTrans, CblasNonUnit, (int)k, factor, (int)k, amplitude, 1);
    }
    return LM_OK;
}

/* ---- backwards ---- */

/* ray = what each ray's brightness is worth to ln L, from `data` [h][w], which is over the noise once. */
static void back_to_rays(lm_fit *fit, double *ray)
{
    size_t each = (size_t)fit->sub * fit->sub;
    for (size_t p = 0; p < fit->h * fit->w; p++) fit->data[p] *= fit->inverse[p];
    lm_convolve_adjoint_f64(fit->blur, fit->data, fit->sky);
    for (size_t n = 0; n < fit->n_sky; n++)
        for (size_t s = 0; s < each; s++) ray[n * each + s] = fit->sky[fit->pixel[n]] / (double)each;
    memset(fit->sky, 0, fit->sh * fit->sw * sizeof *fit->sky); /* but at rays it stays 0 */
}

typedef struct {
    double a;          /* amplitude */
    const double *row; /* A^-1's row of this component, or NULL */
} share;

static void worth(lm_fit *fit, size_t k, const size_t *which, const share *of)
{
    size_t n = fit->h * fit->w;
    for (size_t p = 0; p < n; p++) fit->data[p] = of->a * fit->residual[p];
    for (size_t j = 0; of->row && j < k; j++)
        cblas_daxpy((int)n, -of->row[j], fit->column + which[j] * n, 1, fit->data, 1);
}

static void slope_of_light(lm_fit *fit, const lm_fit_light *from, unsigned want, const double *x, const double *y,
                           const double *weight, double *ret)
{
    lm_light light = unit_light(from);
    for (unsigned i = 0; i < light.kind->n_params; i++) {
        if (!(want >> i & 1) || (int)i == from->linear) continue;
        lm_light_by(&light, i, fit->n_rays, x, y, fit->ray2);
        ret[i] = dot(fit->n_rays, weight, fit->ray2);
    }
}

static void slopes(lm_fit *fit, const lm_fit_scene *scene, size_t k, const size_t *which, const double *inverse,
                   const double *amplitude, double *room, const lm_fit_gradient *to)
{
    size_t n = fit->n_rays, at = 0;
    double *toward_x = room, *toward_y = room + n, *gx = room + 2 * n, *gy = room + 3 * n;
    memset(room, 0, 2 * n * sizeof *room);
    for (size_t l = 0; l < scene->n_lights; l++) {
        const lm_fit_light *from = &scene->lights[l];
        share of = {.a = amplitude[l]};
        if (from->linear >= 0) of.row = inverse + k * at++;
        worth(fit, k, which, &of);
        back_to_rays(fit, fit->ray);
        const double *x = from->lensed ? fit->bx : fit->x, *y = from->lensed ? fit->by : fit->y;
        slope_of_light(fit, from, to->want_light[l], x, y, fit->ray, to->light[l]);
        if (!from->lensed) continue;
        lm_light light = unit_light(from);
        lm_light_gradient(&light, n, x, y, gx, gy);
        for (size_t i = 0; i < n; i++) {
            toward_x[i] += fit->ray[i] * gx[i];
            toward_y[i] += fit->ray[i] * gy[i];
        }
    }
    for (size_t m = 0; m < scene->n_masses; m++)
        for (int i = 0; i < LM_MASS_MOST; i++) {
            if (!(to->want_mass[m] >> i & 1)) continue;
            memset(fit->ray, 0, n * sizeof *fit->ray);
            memset(fit->ray2, 0, n * sizeof *fit->ray2);
            const lm_mass_maps maps = {.alpha_x = fit->ray, .alpha_y = fit->ray2};
            lm_mass_derive(&scene->masses[m], i, n, fit->x, fit->y, &maps);
            to->mass[m][i] = -dot(n, toward_x, fit->ray) - dot(n, toward_y, fit->ray2);
        }
}

static lm_status backwards(lm_fit *fit, const lm_fit_scene *scene, size_t k, const size_t *which, double *factor,
                           const double *amplitude, const lm_fit_gradient *to, lm_error *err)
{
    double *room = spare(fit, 4 * fit->n_rays);
    if (!room) return LM_NOMEM(err);
    if (!lm_lower_inverse(k, factor)) return LM_FAIL(err, LM_EINPUT, "the linear components depend on one another");
    for (size_t i = 0; i < k; i++)
        for (size_t j = i + 1; j < k; j++) factor[i * k + j] = factor[j * k + i];
    slopes(fit, scene, k, which, factor, amplitude, room, to);
    return LM_OK;
}

/* ---- whole ---- */

static lm_status make_columns(lm_fit *fit, const lm_fit_scene *scene, lm_error *err)
{
    size_t n = fit->h * fit->w;
    if (scene->n_lights > LM_FIT_LIGHTS)
        return LM_FAIL(err, LM_EINPUT, "%zu components of light, and %d is the most", scene->n_lights, LM_FIT_LIGHTS);
    LM_TRY(room_for(fit, scene->n_lights, err));
    memset(fit->sky, 0, fit->sh * fit->sw * sizeof *fit->sky);
    trace(fit, scene);
    for (size_t l = 0; l < scene->n_lights; l++) {
        double *column = fit->column + l * n;
        blurred(fit, &scene->lights[l], column);
        for (size_t p = 0; p < n; p++) column[p] *= fit->inverse[p];
    }
    return LM_OK;
}

lm_status lm_fit_evaluate(lm_fit *fit, const lm_fit_scene *scene, lm_fit_result *ret, const lm_fit_gradient *gradient,
                          lm_error *err)
{
    size_t n = fit->h * fit->w, which[LM_FIT_LIGHTS];
    double factor[LM_FIT_LIGHTS * LM_FIT_LIGHTS], found[LM_FIT_LIGHTS], ln_A;
    LM_TRY(make_columns(fit, scene, err));
    size_t k = split_lights(fit, scene, which);
    for (size_t l = 0; l < scene->n_lights; l++) ret->amplitude[l] = 1;
    LM_TRY(solve(fit, k, which, factor, found, &ln_A, err));
    for (size_t i = 0; i < k; i++) {
        ret->amplitude[which[i]] = found[i];
        cblas_daxpy((int)n, -found[i], fit->column + which[i] * n, 1, fit->residual, 1);
    }
    ret->chi2 = dot(n, fit->residual, fit->residual);
    ret->ln_likelihood = -ret->chi2 / 2 - fit->ln_noise / 2 - ln_A / 2 + (double)k / 2 * log(TWO_PI);
    if (!isfinite(ret->ln_likelihood)) return LM_FAIL(err, LM_EINPUT, "the likelihood is no number");
    return gradient ? backwards(fit, scene, k, which, factor, ret->amplitude, gradient, err) : LM_OK;
}

/* ---- all parameters together ---- */

/* to [h][w] = the blurred image of what the rays carry, over the noise. */
static void blur_rays(lm_fit *fit, const double *rays, double *to)
{
    gather_rays(fit, rays, fit->sky);
    lm_convolve_f64(fit->blur, fit->sky, to);
    for (size_t p = 0; p < fit->h * fit->w; p++) to[p] *= fit->inverse[p];
}

/* Images of the derivatives, a row each. slope [4][rays] is scratch. */
static void derivative_images(lm_fit *fit, const lm_fit_scene *scene, const double *amplitude,
                              const unsigned *want_mass, const unsigned *want_light, double *slope, double *to)
{
    size_t n = fit->n_rays, pixels = fit->h * fit->w;
    double *sx = slope, *sy = slope + n, *gx = slope + 2 * n, *gy = slope + 3 * n;
    memset(slope, 0, 2 * n * sizeof *slope);
    for (size_t l = 0; l < scene->n_lights; l++) {
        if (!scene->lights[l].lensed) continue;
        lm_light light = unit_light(&scene->lights[l]);
        lm_light_gradient(&light, n, fit->bx, fit->by, gx, gy);
        cblas_daxpy((int)n, amplitude[l], gx, 1, sx, 1);
        cblas_daxpy((int)n, amplitude[l], gy, 1, sy, 1);
    }
    for (size_t m = 0; m < scene->n_masses; m++)
        for (int i = 0; i < LM_MASS_MOST; i++) {
            if (!(want_mass[m] >> i & 1)) continue;
            memset(gx, 0, 2 * n * sizeof *gx);
            const lm_mass_maps maps = {.alpha_x = gx, .alpha_y = gy};
            lm_mass_derive(&scene->masses[m], i, n, fit->x, fit->y, &maps);
            for (size_t r = 0; r < n; r++) fit->ray[r] = -sx[r] * gx[r] - sy[r] * gy[r];
            blur_rays(fit, fit->ray, to);
            to += pixels;
        }
    for (size_t l = 0; l < scene->n_lights; l++) {
        const lm_fit_light *from = &scene->lights[l];
        lm_light light = unit_light(from);
        for (unsigned i = 0; i < light.kind->n_params; i++) {
            if (!(want_light[l] >> i & 1)) continue;
            lm_light_by(&light, i, n, from->lensed ? fit->bx : fit->x, from->lensed ? fit->by : fit->y, fit->ray);
            cblas_dscal((int)n, (int)i == from->linear ? 0 : amplitude[l], fit->ray, 1);
            blur_rays(fit, fit->ray, to);
            to += pixels;
        }
    }
}

lm_status lm_fit_fisher(lm_fit *fit, const lm_fit_scene *scene, const unsigned *want_mass, const unsigned *want_light,
                        size_t n, double *ret, lm_error *err)
{
    size_t pixels = fit->h * fit->w, which[LM_FIT_LIGHTS];
    double factor[LM_FIT_LIGHTS * LM_FIT_LIGHTS], found[LM_FIT_LIGHTS], amplitude[LM_FIT_LIGHTS], ln_A;
    double *slope = spare(fit, n * pixels + 4 * fit->n_rays), *images = slope + 4 * fit->n_rays;
    if (!slope) return LM_NOMEM(err);
    LM_TRY(make_columns(fit, scene, err));
    size_t k = split_lights(fit, scene, which);
    LM_TRY(solve(fit, k, which, factor, found, &ln_A, err));
    for (size_t l = 0; l < scene->n_lights; l++) amplitude[l] = 1;
    for (size_t i = 0; i < k; i++) amplitude[which[i]] = found[i];
    derivative_images(fit, scene, amplitude, want_mass, want_light, slope, images);
    for (size_t i = 0; i < n; i++) {
        double *image = images + i * pixels, along[LM_FIT_LIGHTS];
        for (size_t j = 0; j < k; j++) along[j] = dot(pixels, image, fit->column + which[j] * pixels);
        if (k) {
            cblas_dtrsv(CblasRowMajor, CblasLower, CblasNoTrans, CblasNonUnit, (int)k, factor, (int)k, along, 1);
            cblas_dtrsv(CblasRowMajor, CblasLower, CblasTrans, CblasNonUnit, (int)k, factor, (int)k, along, 1);
        }
        for (size_t j = 0; j < k; j++)
            cblas_daxpy((int)pixels, -along[j], fit->column + which[j] * pixels, 1, image, 1);
    }
    if (n)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)n, (int)pixels, 1, images, (int)pixels,
                    images, (int)pixels, 0, ret, (int)n);
    return LM_OK;
}

lm_status lm_fit_columns(lm_fit *fit, const lm_fit_scene *scene, double *ret, lm_error *err)
{
    size_t n = fit->h * fit->w, whole = fit->whole_h * fit->whole_w;
    LM_TRY(make_columns(fit, scene, err));
    memset(ret, 0, scene->n_lights * whole * sizeof *ret);
    for (size_t l = 0; l < scene->n_lights; l++)
        for (size_t p = 0; p < n; p++)
            if (fit->inverse[p] > 0)
                ret[l * whole + (fit->y0 + p / fit->w) * fit->whole_w + fit->x0 + p % fit->w] =
                    fit->column[l * n + p] / fit->inverse[p];
    return LM_OK;
}
