/* reconstruct.linear: the light of a lensed source on a grid, with its errors and the evidence of the lens model.
 *
 *   S = (L^T P^T C_N^-1 P L + lambda H)^-1 L^T P^T C_N^-1 d
 *
 * Warren & Dye 2003 (astro-ph/0302587), Suyu et al. 2006 (astro-ph/0601493). See README.md of this folder.
 */
#include "operators/_draw.h"
#include "operators/core/lensing/inversion.h"
#include "operators/lens/_components.h"
#include "operators/lens/_grid.h"
#include "operators/lens/_mask.h"
#include "operators/lens/_source.h"

#include <string.h>

typedef struct {
    json_t *source, *mass, *light, *mask;
    double pixel, lambda;
    int64_t sub, draws;
    bool positive, reach, normalise;
    int solver;
} linear;

static const lm_param params[] = {
    LM_TREE(linear, source, "{}", .schema = LM_SOURCE_SCHEMA, .doc = LM_SOURCE_DOC),
    LM_TREE(linear, mass, "\"{mass}\"", .per_record = true, .schema = LM_COMPONENTS_SCHEMA, .doc = LM_MASSES_DOC),
    LM_TREE(linear, light, NULL, .per_record = true, .schema = LM_COMPONENTS_SCHEMA,
            .doc =
                "light of the lens plane, not lensed, each component times a factor that is solved for with the source "
                "(`amplitudes`); components as those of lens.render. Unset: the attribute \"light\", if there is one"),
    LM_TREE(linear, mask, NULL, .schema = LM_MASK_SCHEMA, .doc = LM_MASK_DOC),
    LM_REAL(linear, pixel, NAN, .unit = "arcsec", .per_record = true,
            .doc = "size of the image's pixels; unset: the attribute \"pixel\" of the record"),
    LM_REAL(linear, lambda, NAN, .per_record = true,
            .doc = "strength of the prior: large ones make smooth sources; unset: the most probable one"),
    LM_INT(linear, sub, 4, .min = 1, .max = 16, .doc = "rays along a pixel's side: its brightness is their mean"),
    LM_BOOL(linear, positive, false,
            .doc = "no source pixel and no amplitude below zero; errors, draws and determinants stay those without"),
    LM_BOOL(
        linear, reach, true,
        .doc =
            "trace also pixels outside the mask whose light the PSF carries into it, as in nature; false: only those "
            "of the mask, which is faster"),
    LM_BOOL(linear, normalise, true, .doc = "divide the PSF by the sum of its pixels"),
    LM_INT(linear, draws, 0, .min = 0, .max = 10000, .doc = "how many draws of the source's posterior to give"),
    LM_CHOICE(
        linear, solver, "auto", lm_solver_names,
        .doc =
            "how the equations are solved: dense or sparse factors, which agree to rounding, or iterative for sources "
            "of more than 12000 pixels, whose evidence has a random error and which has no errors and draws"),
    {0}};

static const lm_field fields[] = {
    LM_IN("in", "image", LM_NUMBERS, "H W", "*", "mean surface brightness of pixels"),
    LM_IN("in", "noise", LM_NUMBERS, "H W", "*", "standard deviation of the noise of each pixel"),
    LM_IN_OPT("in", "psf", LM_NUMBERS, "PH PW", "*", "point spread function on the image's pixels"),
    LM_IN_OPT("in", "*", LM_ANY_DTYPE, "*", "*", "masks and others; they stay, but for those named here"),
    LM_OUT("out", "source", LM_F64, "SH SW", "=", "surface brightness of the unlensed source"),
    LM_OUT_OPT("out", "source_error", LM_F64, "SH SW", "=", "standard deviation of each source pixel"),
    LM_OUT("out", "model", LM_F64, "H W", "=", "the source as the image would show it, NaN outside the mask"),
    LM_OUT("out", "residual", LM_F64, "H W", "", "(image - model)/noise, NaN outside the mask"),
    LM_OUT_OPT("out", "source_draws", LM_F64, "D SH SW", "=", "draws of the source's posterior"),
    LM_OUT_OPT("out", "vertices", LM_F64, "N 4", "*",
               "of a triangulated source: x, y in arcsec, brightness, its standard deviation (NaN: not known)"),
    LM_OUT_OPT("out", "amplitudes", LM_F64, "K 2", "",
               "of each component of `light`: its factor, and the standard deviation"),
    LM_OUT_ATTR("out", "ln_evidence", LM_KIND_REAL, "",
                "log evidence of lens and prior, for comparing models of one data set"),
    LM_OUT_ATTR("out", "ln_evidence_error", LM_KIND_REAL, "", "its random error: 0 but with the iterative solver"),
    LM_OUT_ATTR("out", "lambda", LM_KIND_REAL, "", "strength of the prior"),
    LM_OUT_ATTR("out", "effective", LM_KIND_REAL, "", "how many numbers of the source the data determine"),
    LM_OUT_ATTR("out", "chi2", LM_KIND_REAL, "", "sum of squares of the residual"),
    LM_OUT_ATTR("out", "chi2_reduced", LM_KIND_REAL, "",
                "chi2 over the number of pixels less what the fit has used up: about 1 if model and noise are right"),
    LM_OUT_ATTR("out", "n_pixels", LM_KIND_INT, "", "how many pixels were fitted"),
    LM_OUT_ATTR("out", "source_pixel", LM_KIND_REAL, "arcsec", "side of a pixel of `source`"),
    LM_OUT_ATTR("out", "source_x", LM_KIND_REAL, "arcsec", "the middle of `source`, to the right"),
    LM_OUT_ATTR("out", "source_y", LM_KIND_REAL, "arcsec", "the middle of `source`, up"),
    {0}};

static lm_status linear_check(const void *self, lm_error *err)
{
    const linear *s = self;
    lm_inverter_model model = {.lambda = NAN};
    size_t h, w;
    LM_TRY(lm_source_read(s->source, &model, &h, &w, err));
    if (s->solver == LM_SOLVER_ITERATIVE && s->draws)
        return LM_FAIL(err, LM_EINPUT, "the iterative solver has no draws: leave \"draws\" out, or choose sparse");
    LM_TRY(lm_masses_check(s->mass, "mass", err));
    if (s->light) LM_TRY(lm_lights_check(s->light, "light", err));
    return lm_mask_check(s->mask, err);
}

/* ---- what comes in ---------------------------------------------------------------------------------------------- */

typedef struct {
    lm_frame frame;
    const double *image, *noise;
    unsigned char *mask;
    lm_psf psf;
    bool blurs;
    lm_mass *masses;
    lm_light *lights;
    size_t n_masses, n_lights;
    lm_inverter_model model;
    size_t picture_h, picture_w;
} inputs;

static lm_status read_pixel(lm_step *step, double *ret, lm_error *err)
{
    LM_TRY(lm_step_real(step, "pixel", ret, err));
    if (isnan(*ret)) {
        lm_value value = lm_record_value(lm_step_record(step, "in"), "pixel");
        if (value.kind != LM_KIND_REAL && value.kind != LM_KIND_INT)
            return LM_FAIL_HINT(err, LM_EINPUT, "Give the parameter \"pixel\", or set the attribute.",
                                "the record has no number \"pixel\", the size of the image's pixels in arcsec");
        *ret = lm_value_real(value);
    }
    if (!(*ret > 0) || !isfinite(*ret)) return LM_FAIL(err, LM_EINPUT, "a pixel of %g arcsec is no pixel", *ret);
    return LM_OK;
}

/* An attribute that holds a list of components, where the parameter is not given. */
static lm_status read_lights(const linear *s, lm_step *step, inputs *in, lm_error *err)
{
    if (s->light) return lm_lights_read(s->light, "light", step, &in->lights, &in->n_lights, err);
    if (!lm_record_attr(lm_step_record(step, "in"), "light")) return LM_OK;
    json_t *list = json_string("{light}");
    if (!list) return LM_NOMEM(err);
    lm_status status = lm_lights_read(list, "light", step, &in->lights, &in->n_lights, err);
    json_decref(list);
    return status;
}

static lm_status read_inputs(const linear *s, lm_step *step, inputs *in, lm_error *err)
{
    const lm_tensor *image = lm_step_peek(step, "in", "image"), *noise = lm_step_peek(step, "in", "noise"),
                    *psf = lm_step_peek(step, "in", "psf");
    in->frame = (lm_frame){.h = image->shape[0], .w = image->shape[1], .sub = (unsigned)s->sub};
    LM_TRY(read_pixel(step, &in->frame.pixel, err));
    in->image = lm_step_peek_f64(step, image);
    in->noise = lm_step_peek_f64(step, noise);
    if (!in->image || !in->noise) return LM_NOMEM(err);
    LM_TRY(lm_mask_read(s->mask, step, &in->frame, &in->mask, err));
    LM_TRY(lm_source_read(s->source, &in->model, &in->picture_h, &in->picture_w, err));
    LM_TRY(lm_step_real(step, "lambda", &in->model.lambda, err));
    in->model.solver = (lm_solver)s->solver;
    in->model.positive = s->positive;
    in->model.effective = true;
    LM_TRY(lm_masses_read(s->mass, "mass", step, &in->masses, &in->n_masses, err));
    LM_TRY(read_lights(s, step, in, err));
    if (!psf) return LM_OK;
    LM_TRY(lm_psf_pixel_check(step, in->frame.pixel, err));
    const double *pixels = lm_step_peek_f64(step, psf);
    if (!pixels) return LM_NOMEM(err);
    LM_TRY(lm_psf_init(&in->psf, pixels, psf->shape[0], psf->shape[1], LM_PSF_MIDDLE, s->normalise, err));
    in->blurs = true;
    return LM_OK;
}

static lm_status trace(lm_step *step, const inputs *in, const lm_inverter *inverter, double **ret_x, double **ret_y,
                       lm_error *err)
{
    enum { ROWS = 4096 };
    const double *x, *y;
    size_t n = lm_inverter_rays(inverter, &x, &y);
    double *bx = lm_step_scratch(step, n, sizeof *bx), *by = lm_step_scratch(step, n, sizeof *by);
    if (!bx || !by) return LM_NOMEM(err);
    memset(bx, 0, n * sizeof *bx);
    memset(by, 0, n * sizeof *by);
    for (size_t i = 0; i < n; i += ROWS) {
        if (lm_step_stopped(step)) return LM_ESTOP(step, err);
        lm_mass_maps to = {.alpha_x = bx + i, .alpha_y = by + i};
        for (size_t k = 0; k < in->n_masses; k++)
            lm_mass_add(&in->masses[k], n - i < ROWS ? n - i : ROWS, x + i, y + i, &to);
    }
    for (size_t i = 0; i < n; i++) {
        bx[i] = x[i] - bx[i];
        by[i] = y[i] - by[i];
    }
    *ret_x = bx;
    *ret_y = by;
    return LM_OK;
}

/* Each light as the image shows it: sampled as the source is, also beyond the frame, and blurred. */
static lm_status make_columns(lm_step *step, const inputs *in, double **ret, lm_error *err)
{
    size_t pixels = in->frame.h * in->frame.w;
    *ret = NULL;
    if (!in->n_lights) return LM_OK;
    lm_frame sky = in->frame;
    LM_OWN(lm_convolver) convolver = NULL;
    if (in->blurs) {
        LM_TRY(lm_convolver_new(&in->psf, sky.h, sky.w, LM_EDGE_OPEN, false, &convolver, err));
        sky.h = convolver->sh;
        sky.w = convolver->sw; /* the frame lies at (oy, ox) in it */
        sky.x += ((double)(sky.w - in->frame.w) / 2 - (double)convolver->ox) * sky.pixel;
        sky.y += ((double)(sky.h - in->frame.h) / 2 - (double)convolver->oy) * sky.pixel;
    }
    LM_OWN(lm_renderer) renderer = NULL;
    LM_TRY(lm_renderer_new(&sky, NULL, &renderer, err));
    double *columns = lm_step_scratch(step, in->n_lights * pixels, sizeof *columns);
    double *seen = lm_step_scratch(step, sky.h * sky.w, sizeof *seen);
    if (!columns || !seen) return LM_NOMEM(err);
    for (size_t k = 0; k < in->n_lights; k++) {
        lm_scene scene = {.light = &in->lights[k], .n_light = 1};
        lm_render(renderer, &scene, convolver ? seen : columns + k * pixels);
        if (convolver) lm_convolve_f64(convolver, seen, columns + k * pixels);
        if (lm_step_stopped(step)) return LM_ESTOP(step, err);
    }
    *ret = columns;
    return LM_OK;
}

/* ---- what goes out ---------------------------------------------------------------------------------------------- */

typedef struct {
    lm_step *step;
    const inputs *in;
    lm_inverter *inverter;
    lm_inversion found;
    double pixel, x, y; /* of the picture */
    double *error;      /* [n_source], NULL: not known */
} outputs;

static lm_status put_picture(outputs *o, const double *values, double *to, lm_error *err)
{
    if (o->found.grid->kind == LM_SOURCE_REGULAR) {
        memcpy(to, values, o->found.n_source * sizeof *to);
        return LM_OK;
    }
    return lm_inverter_picture(o->inverter, values, o->in->picture_h, o->in->picture_w, o->pixel, o->x, o->y, to, err);
}

/* Where the picture of the source lies: on a grid's own pixels, or around all vertices. */
static void place_picture(outputs *o)
{
    const lm_source_grid *g = o->found.grid;
    o->pixel = g->pixel;
    o->x = g->x;
    o->y = g->y;
    if (g->kind == LM_SOURCE_REGULAR) return;
    double low_x = INFINITY, high_x = -INFINITY, low_y = INFINITY, high_y = -INFINITY;
    for (size_t i = 0; i < g->n; i++) {
        low_x = fmin(low_x, g->vx[i]);
        high_x = fmax(high_x, g->vx[i]);
        low_y = fmin(low_y, g->vy[i]);
        high_y = fmax(high_y, g->vy[i]);
    }
    o->pixel = fmax((high_x - low_x) / (double)o->in->picture_w, (high_y - low_y) / (double)o->in->picture_h);
}

static lm_status put_source(outputs *o, lm_error *err)
{
    size_t shape[2] = {o->in->picture_h, o->in->picture_w};
    lm_tensor *source, *error, *vertices;
    place_picture(o);
    LM_TRY(lm_step_out(o->step, NULL, "source", shape, &source, err));
    LM_TRY(put_picture(o, o->found.source, source->data, err));
    if (o->error) {
        LM_TRY(lm_step_out(o->step, NULL, "source_error", shape, &error, err));
        LM_TRY(put_picture(o, o->error, error->data, err));
    }
    if (o->found.grid->kind == LM_SOURCE_REGULAR) return LM_OK;
    size_t n = o->found.n_source, list[2] = {n, 4};
    LM_TRY(lm_step_out(o->step, NULL, "vertices", list, &vertices, err));
    for (size_t i = 0; i < n; i++) {
        double *to = (double *)vertices->data + 4 * i;
        to[0] = o->found.grid->vx[i];
        to[1] = o->found.grid->vy[i];
        to[2] = o->found.source[i];
        to[3] = o->error ? o->error[i] : (double)NAN;
    }
    return LM_OK;
}

static lm_status put_images(outputs *o, lm_error *err)
{
    const lm_frame *f = &o->in->frame;
    size_t shape[2] = {f->h, f->w};
    lm_tensor *model, *residual;
    LM_TRY(lm_step_out(o->step, NULL, "model", shape, &model, err));
    LM_TRY(lm_step_out(o->step, NULL, "residual", shape, &residual, err));
    LM_TRY(lm_inverter_image(o->inverter, model->data, err));
    const double *m = model->data;
    double *r = residual->data;
    for (size_t i = 0; i < f->h * f->w; i++) r[i] = isnan(m[i]) ? m[i] : (o->in->image[i] - m[i]) / o->in->noise[i];
    return LM_OK;
}

/* The standard deviations of source and amplitudes. */
static lm_status put_errors(outputs *o, lm_error *err)
{
    size_t k = o->found.n_columns, shape[2] = {k, 2};
    double *amplitudes = lm_step_scratch(o->step, k + 1, sizeof *amplitudes);
    if (!amplitudes) return LM_NOMEM(err);
    for (size_t i = 0; i < k; i++) amplitudes[i] = NAN;
    if (o->found.solver != LM_SOLVER_ITERATIVE) {
        o->error = lm_step_scratch(o->step, o->found.n_source, sizeof *o->error);
        if (!o->error) return LM_NOMEM(err);
        LM_TRY(lm_inverter_error(o->inverter, o->error, amplitudes, err));
    }
    if (!k) return LM_OK;
    lm_tensor *tensor;
    LM_TRY(lm_step_out(o->step, NULL, "amplitudes", shape, &tensor, err));
    for (size_t i = 0; i < k; i++) {
        ((double *)tensor->data)[2 * i] = o->found.amplitudes[i];
        ((double *)tensor->data)[2 * i + 1] = amplitudes[i];
    }
    return LM_OK;
}

static lm_status put_draws(outputs *o, size_t draws, lm_error *err)
{
    size_t n = o->found.n_source, white = lm_inverter_white(o->inverter),
           shape[3] = {draws, o->in->picture_h, o->in->picture_w};
    if (!draws) return LM_OK;
    if (o->found.solver == LM_SOLVER_ITERATIVE)
        return LM_FAIL_HINT(err, LM_EINPUT, "Leave \"draws\" out, or choose the solver sparse.",
                            "a source of %zu pixels needs the iterative solver, which has no draws", n);
    lm_tensor *tensor;
    LM_TRY(lm_step_out(o->step, NULL, "source_draws", shape, &tensor, err));
    double *normals = lm_step_scratch(o->step, white + 1, sizeof *normals),
           *draw = lm_step_scratch(o->step, n, sizeof *draw);
    if (!normals || !draw) return LM_NOMEM(err);
    for (size_t d = 0; d < draws; d++) {
        lm_random random = lm_step_random(o->step, 1 + d); /* more draws begin with the same ones */
        for (size_t i = 0; i < white; i++) normals[i] = lm_random_normal(&random);
        LM_TRY(lm_inverter_draw(o->inverter, normals, draw, NULL, err));
        LM_TRY(put_picture(o, draw, (double *)tensor->data + d * shape[1] * shape[2], err));
        if (lm_step_stopped(o->step)) return LM_ESTOP(o->step, err);
    }
    return LM_OK;
}

static lm_status put_numbers(outputs *o, lm_error *err)
{
    const lm_inversion *f = &o->found;
    double freedom = (double)f->n_data - f->effective - (double)f->n_columns;
    const struct {
        const char *name, *comment;
        double value;
    } numbers[] = {{"ln_evidence", "log evidence", f->ln_evidence},
                   {"ln_evidence_error", "random error of ln_evidence", f->ln_evidence_error},
                   {"lambda", "strength of the prior", f->lambda},
                   {"effective", "numbers of the source that the data determine", f->effective},
                   {"chi2", "sum of squares of the residual", f->chi2},
                   {"chi2_reduced", "chi2 a degree of freedom", freedom > 0 ? f->chi2 / freedom : (double)NAN},
                   {"source_pixel", "[arcsec]", o->pixel},
                   {"source_x", "[arcsec]", o->x},
                   {"source_y", "[arcsec]", o->y}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        LM_TRY(lm_step_set(o->step, NULL, numbers[i].name, lm_real(numbers[i].value), numbers[i].comment, err));
    return lm_step_set(o->step, NULL, "n_pixels", lm_int((int64_t)f->n_data), "pixels that were fitted", err);
}

static lm_status invert(const linear *s, lm_step *step, inputs *in, lm_error *err)
{
    LM_TRY(read_inputs(s, step, in, err));
    const lm_inverter_data data = {.frame = in->frame,
                                   .image = in->image,
                                   .noise = in->noise,
                                   .mask = in->mask,
                                   .psf = in->blurs ? &in->psf : NULL,
                                   .masked_rays = !s->reach};
    LM_OWN(lm_inverter) inverter = NULL;
    LM_TRY(lm_inverter_new(&data, &inverter, err));
    outputs o = {.step = step, .in = in, .inverter = inverter};
    lm_random random = lm_step_random(step, 0);
    const lm_draw draw = lm_draw_of(&random);
    in->model.draw = &draw;
    double *bx = NULL, *by = NULL, *columns;
    LM_TRY(trace(step, in, inverter, &bx, &by, err));
    LM_TRY(make_columns(step, in, &columns, err));
    LM_TRY(lm_invert(inverter, &in->model, bx, by, columns, in->n_lights, &o.found, err));
    if (lm_step_stopped(step)) return LM_ESTOP(step, err);
    LM_TRY(put_errors(&o, err));
    LM_TRY(put_source(&o, err));
    LM_TRY(put_images(&o, err));
    LM_TRY(put_draws(&o, (size_t)s->draws, err));
    return put_numbers(&o, err);
}

static lm_status linear_step(const void *self, lm_step *step, lm_error *err)
{
    inputs in = {.model = {.lambda = NAN}};
    lm_status status = invert(self, step, &in, err);
    lm_psf_done(&in.psf);
    return status;
}

const lm_operator lm_op_reconstruct_linear = {
    .struct_size = sizeof(lm_operator),
    .name = "reconstruct.linear",
    .version = 1,
    .summary = "Source of a lens on a grid, with errors and evidence",
    .doc = "The most probable source behind a given lens, on a regular grid or a triangulation, with a Gaussian prior "
           "whose strength is the "
           "most probable one unless `lambda` is given, and the evidence of lens and prior together.\n\n"
           "The lens comes with the record, as infer.mcmc and coolest.read leave it, or is given by `mass`. "
           "Deflections are traced from the "
           "pixels' centres around the image's middle, x to the right, y up.",
    .example = "{pixel: 0.15, mass: [{type: sie, theta_E: 1.1, q: 0.8}], source: {shape: [9, 11], prior: curvature}, "
               "sub: 2, draws: 2}",
    .shape = LM_MAP,
    .flags = LM_RANDOM,
    .size = sizeof(linear),
    .params = params,
    .fields = fields,
    .check = linear_check,
    .step = linear_step,
};
