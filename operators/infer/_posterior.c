/* Posterior of a lens model. See _posterior.h. */
#include "operators/infer/_posterior.h"

#include "operators/lens/_distribution.h"
#include "operators/lens/_grid.h"
#include "operators/lens/_mask.h"
#include "operators/lens/_source.h"
#include "runtime/alloc.h"

#include <math.h>
#include <string.h>

/* The mask of a graph, less what no likelihood can use. */
static lm_status make_mask(lm_posterior *p, const json_t *tree, lm_step *step, lm_error *err)
{
    LM_TRY(lm_mask_read(tree, step, &p->frame, &p->mask, err));
    for (size_t i = 0; i < p->frame.h * p->frame.w; i++) {
        if (!isfinite(p->image[i]) || !isfinite(p->noise[i]) || !(p->noise[i] > 0)) p->mask[i] = 0;
        p->n_pixels += p->mask[i];
    }
    return p->n_pixels
               ? LM_OK
               : LM_FAIL_HINT(err, LM_EINPUT, "A pixel needs a finite value, noise above 0, and a place in the mask.",
                              "no pixel of the image takes part");
}

/* ---- the source on pixels ---- */

/* All but lambda, which may be free. */
static lm_status read_pixels(const json_t *tree, lm_inverter_model *ret, lm_error *err)
{
    size_t h, w;
    json_t *grid = json_copy((json_t *)(uintptr_t)tree);
    if (!grid) return LM_NOMEM(err);
    json_object_del(grid, "lambda");
    *ret = (lm_inverter_model){.lambda = NAN};
    lm_status status = lm_source_read(grid, ret, &h, &w, err);
    json_decref(grid);
    return status;
}

static double middle_noise(const lm_posterior *p)
{
    double sum = 0;
    for (size_t i = 0; i < p->frame.h * p->frame.w; i++)
        if (p->mask[i]) sum += log(p->noise[i]);
    return exp(sum / (double)p->n_pixels);
}

/* lambda is free unless it is a number: by default over eight decades around the noise. */
static lm_status read_lambda(lm_posterior *p, const json_t *value, lm_step *step, lm_error *err)
{
    double one = pow(middle_noise(p), -2);
    lm_distribution prior = {
        .kind = LM_DISTRIBUTION_LOGUNIFORM, .a = 1e-6 * one, .b = 1e2 * one, .min = -INFINITY, .max = INFINITY};
    bool known;
    p->lambda = -1;
    if (value) LM_TRY_IN(lm_distribution_read(value, "", step, &prior, &known, err), err, "\"lambda\"");
    if (value && prior.kind == LM_DISTRIBUTION_FIXED) {
        p->source.lambda = prior.a;
        return LM_OK;
    }
    if (p->model.n_params == LM_FREE_MOST) return LM_FAIL(err, LM_EINPUT, "more than %d free parameters", LM_FREE_MOST);
    p->lambda = (int)p->model.n_params;
    p->model.params[p->model.n_params++] = (lm_free_param){.name = "source_lambda", .unit = "", .prior = prior};
    return LM_OK;
}

static lm_status init_pixels(lm_posterior *p, const json_t *tree, lm_step *step, lm_error *err)
{
    p->pixels = true;
    for (size_t i = 0; i < p->model.n_parts; i++)
        if (p->model.parts[i].role == LM_ROLE_LIGHT && p->model.parts[i].linear < 0)
            return LM_FAIL_HINT(err, LM_EINPUT, "Leave its amplitude out: it is found with the source.",
                                "a light of type \"%s\" with a given amplitude beside a source on pixels",
                                p->model.parts[i].component.type);
    LM_TRY(read_pixels(tree, &p->source, err));
    LM_TRY(read_lambda(p, json_object_get(tree, "lambda"), step, err));
    const lm_inverter_data data = {.frame = p->frame,
                                   .image = p->image,
                                   .noise = p->noise,
                                   .mask = p->mask,
                                   .psf = p->has_psf ? &p->psf : NULL,
                                   .masked_rays = true};
    LM_TRY(lm_inverter_new(&data, &p->inverter, err));
    const double *x, *y;
    size_t n = lm_inverter_rays(p->inverter, &x, &y), pixels = p->frame.h * p->frame.w;
    p->beta = lm_alloc(2 * n, sizeof *p->beta);
    p->columns = p->model.n_lights ? lm_alloc(p->model.n_lights * pixels, sizeof *p->columns) : NULL;
    return p->beta && (p->columns || !p->model.n_lights) ? LM_OK : LM_NOMEM(err);
}

/* ---- the whole ---- */

lm_status lm_posterior_check(const lm_posterior_spec *spec, lm_error *err)
{
    lm_lens_model model = {.n_parts = 0};
    lm_inverter_model pixels;
    const json_t *const lists[LM_ROLES] = {spec->mass, json_is_object(spec->source) ? NULL : spec->source, spec->light};
    lm_status status = lm_lens_model_init(&model, lists, 0.05, 4, NULL, err);
    lm_lens_model_done(&model);
    if (!status) status = lm_mask_check(spec->mask, err);
    if (!status && json_is_object(spec->source)) status = read_pixels(spec->source, &pixels, err);
    return status;
}

static lm_status read_plane(lm_posterior *p, lm_step *step, const char *name, const double **ret, lm_error *err)
{
    const lm_tensor *tensor = lm_step_peek(step, "in", name);
    if (!tensor) return LM_FAIL(err, LM_EINPUT, "the record has no tensor \"%s\"", name);
    if (tensor->ndim != 2 || (p->frame.h && (tensor->shape[0] != p->frame.h || tensor->shape[1] != p->frame.w)))
        return LM_FAIL(err, LM_EINPUT, "tensor \"%s\" is no image of the shape of the data", name);
    p->frame.h = tensor->shape[0];
    p->frame.w = tensor->shape[1];
    *ret = lm_step_peek_f64(step, tensor);
    return *ret ? LM_OK : LM_NOMEM(err);
}

static lm_status read_psf(lm_posterior *p, lm_step *step, const char *name, lm_error *err)
{
    const lm_tensor *tensor = lm_step_peek(step, "in", name);
    if (!tensor) return LM_OK;
    if (tensor->ndim != 2)
        return LM_FAIL(err, LM_EINPUT, "tensor \"%s\" has %u axes, and a PSF has two", name, tensor->ndim);
    LM_TRY(lm_psf_pixel_check(step, p->frame.pixel, err));
    const double *at = lm_step_peek_f64(step, tensor);
    if (!at) return LM_NOMEM(err);
    p->has_psf = true;
    LM_TRY_IN(lm_psf_init(&p->psf, at, tensor->shape[0], tensor->shape[1], LM_PSF_MIDDLE, true, err), err,
              "tensor \"%s\"", name);
    return LM_OK;
}

/* How far the data reach: twice the largest distance of a pixel of the mask from the middle. */
static double reach(const lm_posterior *p)
{
    const lm_frame *f = &p->frame;
    double most = 0;
    for (size_t j = 0; j < f->h; j++)
        for (size_t i = 0; i < f->w; i++)
            if (p->mask[j * f->w + i])
                most = fmax(most,
                            hypot((double)i - (double)(f->w - 1) / 2, (double)j - (double)(f->h - 1) / 2) * f->pixel);
    return fmax(2 * most, 4 * f->pixel);
}

lm_status lm_posterior_init(lm_posterior *p, const lm_posterior_spec *spec, lm_step *step, lm_error *err)
{
    p->frame = (lm_frame){.pixel = spec->pixel, .sub = spec->sub};
    p->positions = spec->positions;
    p->heat = 1;
    p->lambda = -1;
    if (!(spec->pixel > 0) || !isfinite(spec->pixel))
        return LM_FAIL_HINT(err, LM_EINPUT, "Give `pixel`, or an attribute of that name to the records.",
                            "the size of a pixel is %g arcsec", spec->pixel);
    LM_TRY(read_plane(p, step, spec->image, &p->image, err));
    LM_TRY(read_plane(p, step, spec->noise, &p->noise, err));
    LM_TRY(read_psf(p, step, spec->psf_name, err));
    LM_TRY(make_mask(p, spec->mask, step, err));
    bool pixels = json_is_object(spec->source);
    const json_t *const lists[LM_ROLES] = {spec->mass, pixels ? NULL : spec->source, spec->light};
    LM_TRY(lm_lens_model_init(&p->model, lists, spec->pixel, reach(p), step, err));
    if (pixels) LM_TRY(init_pixels(p, spec->source, step, err));
    if (!pixels || p->model.n_lights) {
        const lm_fit_data data = {p->frame, p->image, p->noise, p->mask, p->has_psf ? &p->psf : NULL};
        LM_TRY(lm_fit_new(&data, &p->fit, err));
    }
    for (size_t i = 0; i < p->model.n_params; i++)
        LM_TRY_IN(lm_distribution_check(&p->model.params[i].prior, err), err, "the prior of \"%s\"",
                  p->model.params[i].name);
    return p->model.n_params
               ? LM_OK
               : LM_FAIL_HINT(err, LM_EINPUT, "Give at least one parameter a prior, such as {uniform: [0, 2]}.",
                              "the model has no free parameter");
}

void lm_posterior_done(lm_posterior *p)
{
    lm_lens_model_done(&p->model);
    lm_fit_free(p->fit);
    lm_inverter_free(p->inverter);
    lm_psf_done(&p->psf);
    lm_free(p->spare);
    lm_free(p->beta);
    lm_free(p->columns);
    *p = (lm_posterior){.n_pixels = 0};
}

/* ---- values ---- */

/* By how much the images of one source point miss each other, beyond the threshold; arcsec. */
static double apart(const lm_positions *positions, const lm_sample *sample)
{
    double bx[16], by[16], most = 0;
    size_t n = positions->n < 16 ? positions->n : 16;
    for (size_t i = 0; i < n; i++) {
        double ax = 0, ay = 0;
        const lm_mass_maps to = {.alpha_x = &ax, .alpha_y = &ay};
        for (size_t m = 0; m < sample->scene.n_masses; m++)
            lm_mass_add(&sample->masses[m], 1, &positions->x[i], &positions->y[i], &to);
        bx[i] = positions->x[i] - ax;
        by[i] = positions->y[i] - ay;
        for (size_t k = 0; k < i; k++) most = fmax(most, hypot(bx[i] - bx[k], by[i] - by[k]));
    }
    return fmax(most - positions->threshold, 0);
}

double lm_posterior_apart(const lm_posterior *p, const double *z)
{
    double x[LM_FREE_MOST];
    lm_sample sample;
    lm_error ignored = {0};
    lm_lens_model_x(&p->model, z, x, NULL);
    if (!p->positions) return 0;
    return lm_lens_model_at(&p->model, x, &sample, &ignored) ? (double)INFINITY : apart(p->positions, &sample);
}

/* Unit amplitudes of linear lights become columns, the others are taken off the data: none here, for the inverter has no such term;
 * lights with given amplitudes are columns of their own. */
static lm_status invert(lm_posterior *p, const double *x, const lm_sample *sample, double *amplitude, double *ret,
                        lm_error *err)
{
    const double *rx, *ry;
    size_t n = lm_inverter_rays(p->inverter, &rx, &ry);
    double *bx = p->beta, *by = p->beta + n;
    memset(bx, 0, 2 * n * sizeof *bx);
    const lm_mass_maps to = {.alpha_x = bx, .alpha_y = by};
    for (size_t m = 0; m < sample->scene.n_masses; m++) lm_mass_add(&sample->masses[m], n, rx, ry, &to);
    for (size_t i = 0; i < n; i++) {
        bx[i] = rx[i] - bx[i];
        by[i] = ry[i] - by[i];
    }
    if (p->model.n_lights) {
        const lm_fit_scene lights = {NULL, 0, sample->lights, p->model.n_lights};
        LM_TRY(lm_fit_columns(p->fit, &lights, p->columns, err));
    }
    if (p->lambda >= 0) p->source.lambda = x[p->lambda];
    LM_TRY(lm_invert(p->inverter, &p->source, bx, by, p->columns, p->model.n_lights, &p->inversion, err));
    for (size_t i = 0; amplitude && i < p->model.n_lights; i++) amplitude[i] = p->inversion.amplitudes[i];
    *ret = p->inversion.ln_evidence;
    return LM_OK;
}

typedef struct {
    unsigned want_mass[LM_PARTS_MOST], want_light[LM_FIT_LIGHTS];
    double mass[LM_PARTS_MOST][LM_MASS_MOST], light[LM_FIT_LIGHTS][LM_LIGHT_PARAMS];
} by_model;

/* -INFINITY, and whether it is for want of memory. */
static double impossible(lm_posterior *p, lm_status status)
{
    p->no_memory |= status == LM_EMEMORY;
    return -INFINITY;
}

static double likelihood(lm_posterior *p, const double *x, double *amplitude, double *slope)
{
    lm_sample sample;
    lm_error *err = &p->last;
    p->evaluations++;
    if (lm_lens_model_at(&p->model, x, &sample, err)) return -INFINITY;
    if (p->positions) {
        double excess = apart(p->positions, &sample);
        if (excess > 0) { /* far below any likelihood, and sloping towards where images meet */
            if (slope) memset(slope, 0, p->model.n_params * sizeof *slope);
            return -1e10 * (1 + excess);
        }
    }
    double ln_L;
    lm_status status = p->pixels ? invert(p, x, &sample, amplitude, &ln_L, err) : LM_OK;
    if (p->pixels) return status ? impossible(p, status) : ln_L;
    lm_fit_result result;
    by_model by;
    lm_fit_gradient gradient = {by.want_mass, by.want_light, by.mass, by.light};
    if (slope) lm_lens_model_wants(&p->model, by.want_mass, by.want_light);
    status = lm_fit_evaluate(p->fit, &sample.scene, &result, slope ? &gradient : NULL, err);
    if (status) return impossible(p, status);
    if (amplitude) memcpy(amplitude, result.amplitude, p->model.n_lights * sizeof *amplitude);
    if (slope)
        lm_lens_model_slope(&p->model, x, (const double(*)[LM_MASS_MOST])by.mass,
                            (const double(*)[LM_LIGHT_PARAMS])by.light, slope);
    return result.ln_likelihood;
}

double lm_posterior_likelihood(lm_posterior *p, const double *x, double *amplitude)
{
    return likelihood(p, x, amplitude, NULL);
}

double lm_posterior_log(void *arg, const double *z, double *gradient)
{
    lm_posterior *p = arg;
    double x[LM_FREE_MOST], by_z[LM_FREE_MOST], by_x[LM_FREE_MOST], square = 0;
    lm_lens_model_x(&p->model, z, x, gradient ? by_z : NULL);
    double ln_L = likelihood(p, x, NULL, gradient ? by_x : NULL) / p->heat;
    for (size_t i = 0; i < p->model.n_params; i++) {
        square += z[i] * z[i];
        if (gradient) gradient[i] = ln_L > -1e9 ? by_x[i] * by_z[i] / p->heat - z[i] : -z[i];
    }
    return ln_L - square / 2;
}

/* Derivatives by the models' own parameters, laid out as lm_fit_fisher has them, to and from arrays. */
static void spread(const lm_lens_model *m, const by_model *want, const double *from, size_t stride, by_model *to)
{
    size_t at = 0;
    for (size_t i = 0; i < m->n_masses; i++)
        for (int k = 0; k < LM_MASS_MOST; k++) to->mass[i][k] = want->want_mass[i] >> k & 1 ? from[at++ * stride] : 0;
    for (size_t i = 0; i < m->n_lights; i++)
        for (int k = 0; k < LM_LIGHT_PARAMS; k++)
            to->light[i][k] = want->want_light[i] >> k & 1 ? from[at++ * stride] : 0;
}

static size_t count_bits(const lm_lens_model *m, const by_model *want)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_masses; i++) n += (size_t)__builtin_popcount(want->want_mass[i]);
    for (size_t i = 0; i < m->n_lights; i++) n += (size_t)__builtin_popcount(want->want_light[i]);
    return n;
}

lm_status lm_posterior_fisher(lm_posterior *p, const double *z, double *ret, lm_error *err)
{
    const lm_lens_model *m = &p->model;
    double x[LM_FREE_MOST], by_z[LM_FREE_MOST];
    lm_sample sample;
    by_model want, by;
    lm_lens_model_x(m, z, x, by_z);
    LM_TRY(lm_lens_model_at(m, x, &sample, err));
    lm_lens_model_wants(m, want.want_mass, want.want_light);
    size_t own = count_bits(m, &want), n = m->n_params;
    size_t wanted = own * own + own * n + 1;
    if (wanted > p->n_spare) {
        lm_free(p->spare);
        p->spare = lm_alloc(wanted, sizeof *p->spare);
        p->n_spare = p->spare ? wanted : 0;
    }
    double *F = p->spare, *half = F + own * own;
    if (!F) return LM_NOMEM(err);
    LM_TRY(lm_fit_fisher(p->fit, &sample.scene, want.want_mass, want.want_light, own, F, err));
    for (size_t i = 0; i < own; i++) { /* F T, T = d own/d x */
        spread(m, &want, F + i * own, 1, &by);
        lm_lens_model_slope(m, x, (const double(*)[LM_MASS_MOST])by.mass, (const double(*)[LM_LIGHT_PARAMS])by.light,
                            half + i * n);
    }
    for (size_t j = 0; j < n; j++) { /* T^T (F T) */
        double column[LM_FREE_MOST];
        spread(m, &want, half + j, n, &by);
        lm_lens_model_slope(m, x, (const double(*)[LM_MASS_MOST])by.mass, (const double(*)[LM_LIGHT_PARAMS])by.light,
                            column);
        for (size_t i = 0; i < n; i++) ret[i * n + j] = column[i] * by_z[i] * by_z[j] / p->heat + (i == j);
    }
    return LM_OK;
}

lm_status lm_posterior_image(lm_posterior *p, const double *x, double *ret, lm_error *err)
{
    size_t n = p->frame.h * p->frame.w;
    double amplitude[LM_FIT_LIGHTS];
    if (!(lm_posterior_likelihood(p, x, amplitude) > -1e9))
        return LM_FAIL(err, LM_EINPUT, "the best sample is impossible");
    if (p->pixels) return lm_inverter_image(p->inverter, ret, err);
    lm_sample sample;
    LM_TRY(lm_lens_model_at(&p->model, x, &sample, err));
    LM_OWN(lm_memory) room = lm_alloc(n * (p->model.n_lights + !p->model.n_lights), sizeof(double));
    double *columns = room;
    if (!columns) return LM_NOMEM(err);
    LM_TRY(lm_fit_columns(p->fit, &sample.scene, columns, err));
    for (size_t i = 0; i < n; i++) {
        ret[i] = p->mask[i] ? 0 : NAN;
        for (size_t l = 0; p->mask[i] && l < p->model.n_lights; l++) ret[i] += amplitude[l] * columns[l * n + i];
    }
    return LM_OK;
}
