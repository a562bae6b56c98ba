/* lens.simulate: the image of a lens as a camera takes it. */
#include "operators/_draw.h"
#include "operators/core/lensing/points.h"
#include "operators/lens/_components.h"
#include "operators/lens/_grid.h"
#include "operators/lens/_observe.h"

#include <string.h>

typedef struct {
    json_t *grid, *mass, *source, *light, *points, *psf, *noise, *source_grid;
    int64_t sub;
    int units, precision;
} simulate;

enum { AS_RATE, AS_BRIGHTNESS, AS_COUNTS };
static const char *const units[] = {"rate", "brightness", "counts", NULL};
static const char *const unit_texts[] = {"electron/s", "electron/s/arcsec^2", "electron"};
static const char *const precisions[] = {"single", "double", NULL};

#define POINTS_SCHEMA                                                                                                  \
    "{\"type\": \"array\", \"items\": {\"type\": \"object\", \"required\": [\"flux\"], \"additionalProperties\": "     \
    "false, \"properties\": {\"x\": " LM_NUMBER_SCHEMA ", \"y\": " LM_NUMBER_SCHEMA ", \"flux\": " LM_NUMBER_SCHEMA    \
    ", \"lensed\": {\"type\": \"boolean\"}}}}"

static const lm_param params[] = {
    LM_TREE(simulate, grid, NULL, .required = true, .schema = LM_GRID_SCHEMA, .doc = LM_GRID_DOC),
    LM_TREE(simulate, mass, NULL, .per_record = true, .schema = LM_COMPONENTS_SCHEMA,
            .doc = "the lens, a " LM_MASSES_DOC ". Unset: nothing deflects"),
    LM_TREE(simulate, source, NULL, .per_record = true, .schema = LM_COMPONENTS_SCHEMA,
            .doc = "light behind the lens, a " LM_LIGHTS_DOC ". Brightness is in electrons/s"),
    LM_TREE(simulate, light, NULL, .per_record = true, .schema = LM_COMPONENTS_SCHEMA,
            .doc = "light in front, which is not deflected (the lens galaxy): a list like `source`"),
    LM_TREE(simulate, points, NULL, .per_record = true, .schema = POINTS_SCHEMA,
            .doc = "point sources, e.g. [{x: 0.05, y: 0.02, flux: 10}]: where they are behind the lens, in arcsec, and "
                   "what they send unlensed, in electrons/s. All their images are found and painted with the PSF, "
                   "magnified. lensed: false puts one in front of the lens"),
    LM_TREE(simulate, psf, NULL, .per_record = true, .schema = LM_PSF_SCHEMA, .doc = LM_PSF_DOC),
    LM_INT(simulate, sub, 1, .min = 1, .max = 64, .per_record = true,
           .doc = "samples along a pixel's side, at which light is evaluated and blurred before it is averaged: raise "
                  "it until the image stays the same. 3 to 5 for a cuspy galaxy"),
    LM_TREE(simulate, noise, NULL, .per_record = true, .schema = LM_NOISE_SCHEMA, .doc = LM_NOISE_DOC),
    LM_TREE(simulate, source_grid, NULL, .schema = LM_GRID_SCHEMA,
            .doc = "where to give the source unlensed, too, as it is without PSF and noise: like `grid`. Unset: not"),
    LM_CHOICE(simulate, units, "rate", units,
              .doc =
                  "of image, noise and truth: rate, electrons/s in a pixel; brightness, electrons/s/arcsec^2; counts, "
                  "electrons of the whole exposure"),
    LM_CHOICE(simulate, precision, "single", precisions, .doc = "of the images: single is float32, double is float64"),
    {0}};

static const lm_port ports[] = {
    {"in", LM_PORT_STREAM,
     "records whose attributes and tensors the parameters name; left open, there is one image of fixed numbers", true},
    {"noise", LM_PORT_STREAM, "a sample of further noise for each record, as a generative model draws it", true},
    {"out", LM_PORT_OUT, "the record with its image", false},
    {0}};

static const lm_field fields[] = {
    LM_IN_OPT("in", "*", LM_ANY_DTYPE, "*", "*", "any tensors; they stay, but for those named here"),
    LM_IN_OPT("noise", "noise", LM_NUMBERS, "H W", "*", "is added to the image, in the image's unit; not in the map"),
    LM_OUT("out", "image", LM_FLOATS, "H W", "*", "what the camera gives, with noise; NaN where a pixel is missing"),
    LM_OUT("out", "noise", LM_FLOATS, "H W", "*", "standard deviation of the noise in each pixel; 0: there is none"),
    LM_OUT("out", "truth", LM_FLOATS, "H W", "*", "the image without noise and sky, after the PSF"),
    LM_OUT("out", "mask", LM_U8, "H W", "",
           "not 0: a bad pixel; the sum of 1 missing, 2 saturated, 4 hot, 8 hit by a cosmic ray"),
    LM_OUT_OPT("out", "psf", LM_FLOATS, "P Q", "", "the point spread function, sum 1, where there is one"),
    LM_OUT_OPT("out", "source", LM_FLOATS, "S T", "electron/s/arcsec^2", "the source unlensed, on source_grid"),
    LM_OUT_ATTR("out", "pixel", LM_KIND_REAL, "arcsec", "size of a pixel, as in the parameter"),
    LM_OUT_ATTR("out", "psf_pixel", LM_KIND_REAL, "arcsec", "size of the PSF's pixels, where there is one"),
    {0}};

/* ---- parameters -------------------------------------------------------------------------------------------------- */

/* One point of the list; step NULL: for check(). */
typedef struct {
    double x, y, flux;
    bool lensed;
} point;

static lm_status read_point(const json_t *tree, lm_step *step, point *ret, lm_error *err)
{
    static const lm_number names[] = {
        {"x", "arcsec", 0, -1e6, 1e6}, {"y", "arcsec", 0, -1e6, 1e6}, {"flux", "", NAN, 0, 1e300}};
    static const char *const other[] = {"lensed", NULL};
    const json_t *lensed = json_object_get(tree, "lensed");
    double v[3];
    LM_TRY(lm_numbers_read(tree, "points", names, 3, other, step, v, err));
    if (!json_object_get(tree, "flux")) return LM_FAIL(err, LM_EINPUT, "\"points\": a point needs a \"flux\"");
    if (lensed && !json_is_boolean(lensed)) return LM_FAIL(err, LM_EINPUT, "\"points\": \"lensed\" is true or false");
    *ret = (point){v[0], v[1], v[2], !json_is_false(lensed)};
    return LM_OK;
}

static lm_status simulate_check(const void *self, lm_error *err)
{
    const simulate *s = self;
    lm_frame frame;
    lm_psf_choice psf;
    lm_noise_choice noise;
    point p;
    LM_TRY(lm_grid_read(s->grid, &frame, err));
    if (s->source_grid) LM_TRY_IN(lm_grid_read(s->source_grid, &frame, err), err, "\"source_grid\"");
    LM_TRY(lm_masses_check(s->mass, "mass", err));
    LM_TRY(lm_lights_check(s->source, "source", err));
    LM_TRY(lm_lights_check(s->light, "light", err));
    if (s->points && !json_is_array(s->points)) return LM_FAIL(err, LM_EINPUT, "\"points\" is a list of points");
    for (size_t i = 0; i < json_array_size(s->points); i++)
        LM_TRY_IN(read_point(json_array_get(s->points, i), NULL, &p, err), err, "point %zu", i + 1);
    LM_TRY(lm_psf_choose(s->psf, NULL, &psf, err));
    LM_TRY(lm_noise_choose(s->noise, NULL, &noise, err));
    if (s->units == AS_COUNTS && !noise.detects)
        return LM_FAIL(err, LM_EINPUT,
                       "\"units\" are counts, but \"noise\" has no \"exposure\" in which they are made");
    return LM_OK;
}

/* ---- light ------------------------------------------------------------------------------------------------------- */

typedef struct {
    lm_frame frame;
    lm_scene scene;
    lm_psf_choice choice;
    lm_psf psf;
    unsigned samples; /* of the PSF along a pixel */
    double *rate;     /* [h][w] electrons/s in a pixel */
} exposure;

/* The PSF's own pixels are the image's, which are sampled finer: the light is averaged over pixels first. */
static lm_status render_coarse(exposure *e, lm_error *err)
{
    LM_OWN(lm_convolver) convolver = NULL;
    LM_OWN(lm_renderer) renderer = NULL;
    LM_TRY(lm_convolver_new(&e->psf, e->frame.h, e->frame.w, LM_EDGE_OPEN, false, &convolver, err));
    lm_frame wide = e->frame;
    wide.h = convolver->sh;
    wide.w = convolver->sw;
    wide.x += ((double)(wide.w - 1) / 2 - (double)convolver->ox - (double)(e->frame.w - 1) / 2) * wide.pixel;
    wide.y += ((double)(wide.h - 1) / 2 - (double)convolver->oy - (double)(e->frame.h - 1) / 2) * wide.pixel;
    LM_TRY(lm_renderer_new(&wide, NULL, &renderer, err));
    LM_OWN(lm_memory) sky = lm_alloc_data(wide.h * wide.w * sizeof(double));
    if (!sky) return LM_NOMEM(err);
    lm_render(renderer, &e->scene, sky);
    lm_convolve_f64(convolver, sky, e->rate);
    return LM_OK;
}

static lm_status render(exposure *e, lm_error *err)
{
    const size_t n = e->frame.h * e->frame.w;
    const double area = e->frame.pixel * e->frame.pixel;
    const bool blurred = e->choice.from != LM_PSF_NONE;
    if (!e->scene.n_source && !e->scene.n_light) {
        memset(e->rate, 0, n * sizeof *e->rate);
        return LM_OK;
    }
    if (blurred && e->samples != e->frame.sub) {
        LM_TRY(render_coarse(e, err));
    } else {
        LM_OWN(lm_renderer) renderer = NULL;
        LM_TRY(lm_renderer_new(&e->frame, blurred ? &e->psf : NULL, &renderer, err));
        lm_render(renderer, &e->scene, e->rate);
    }
    for (size_t i = 0; i < n; i++) e->rate[i] *= area;
    return LM_OK;
}

/* ---- points ------------------------------------------------------------------------------------------------------ */

/* The sample of a position along one axis, and how far beyond it the position lies, in samples. False: so far outside
 * that nothing of a PSF of `size` samples is in the image. */
static bool sample_of(double at, double middle, double pixel, size_t pixels, unsigned samples, size_t size,
                      bool nearest, ptrdiff_t *ret, double *ret_rest)
{
    double n = (double)pixels * samples, u = (at - middle) * samples / pixel + (n - 1) / 2;
    if (!(u > -(double)size - 4 && u < n + (double)size + 4)) return false;
    double whole = nearest ? floor(u + 0.5) : floor(u);
    *ret = (ptrdiff_t)whole;
    *ret_rest = u - whole;
    return true;
}

/* One star of that flux at (x, y). scratch [(h + 3) (w + 3)] of the PSF, or one value without. */
static void paint(const exposure *e, double x, double y, double flux, double *scratch)
{
    const lm_frame *f = &e->frame;
    const lm_psf *psf = &e->psf;
    const bool nearest = e->choice.from != LM_PSF_TENSOR, none = e->choice.from == LM_PSF_NONE;
    const size_t h = none ? 1 : psf->h, w = none ? 1 : psf->w;
    const unsigned samples = none ? 1 : e->samples;
    ptrdiff_t row, column;
    double up, right, sample = f->pixel / samples;
    if (!sample_of(y, f->y, f->pixel, f->h, samples, h, nearest, &row, &up) ||
        !sample_of(x, f->x, f->pixel, f->w, samples, w, nearest, &column, &right))
        return;
    if (none) {
        scratch[0] = 1;
        lm_psf_stamp(scratch, 1, 1, row, column, 1, flux, f->h, f->w, e->rate);
    } else if (nearest) {
        lm_psf_profile_fill(&e->choice.profile, sample, right * sample, up * sample, w, scratch);
        lm_psf_stamp(scratch, h, w, row - (ptrdiff_t)psf->cy, column - (ptrdiff_t)psf->cx, samples, flux, f->h, f->w,
                     e->rate);
    } else {
        lm_psf_move(psf->at, h, w, right, up, scratch);
        lm_psf_stamp(scratch, h + 3, w + 3, row - (ptrdiff_t)psf->cy - 1, column - (ptrdiff_t)psf->cx - 1, samples,
                     flux, f->h, f->w, e->rate);
    }
}

static lm_status paint_point(const exposure *e, const point *p, double *scratch, lm_error *err)
{
    if (!p->lensed || e->scene.n_masses == 0) {
        paint(e, p->x, p->y, p->flux, scratch);
        return LM_OK;
    }
    lm_image *images = NULL;
    size_t n;
    LM_TRY(lm_images_find(e->scene.masses, e->scene.n_masses, p->x, p->y, NULL, NULL, &images, &n, err));
    LM_OWN(lm_memory) list = images;
    (void)list; /* freed on every way out */
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(images[i].magnification))
            return LM_FAIL(err, LM_EINPUT,
                           "a point source at (%g, %g) lies on a caustic: its images have no end of light", p->x, p->y);
        paint(e, images[i].x, images[i].y, p->flux * fabs(images[i].magnification), scratch);
    }
    return LM_OK;
}

static lm_status paint_points(const exposure *e, const json_t *list, lm_step *step, lm_error *err)
{
    if (!json_array_size(list)) return LM_OK;
    double *scratch = lm_step_scratch(step, (e->psf.h + 3) * (e->psf.w + 3), sizeof *scratch);
    if (!scratch) return LM_NOMEM(err);
    for (size_t i = 0; i < json_array_size(list); i++) {
        point p;
        LM_TRY_IN(read_point(json_array_get(list, i), step, &p, err), err, "point %zu", i + 1);
        LM_TRY_IN(paint_point(e, &p, scratch, err), err, "point %zu", i + 1);
    }
    return LM_OK;
}

/* ---- noise ------------------------------------------------------------------------------------------------------- */

/* A stream for each source of noise: one that is switched off leaves the others alone. The numbers are part of
 * results. */
enum { PHOTONS, READOUT, BACKGROUND, MISSING, HOT, RAYS, STREAMS };

typedef struct {
    double *image, *sigma; /* [h][w], electrons/s */
    unsigned char *flags;  /* [h][w] */
} taken;

static lm_status go_wrong(const lm_noise_choice *c, const exposure *e, const lm_draw *draws, taken *to,
                          double **ret_hot, double **ret_charge, lm_step *step, lm_error *err)
{
    const size_t h = e->frame.h, w = e->frame.w, n = h * w;
    *ret_hot = *ret_charge = NULL;
    if (c->missing > 0) lm_pixels_mark(&draws[MISSING], n, c->missing, LM_PIXEL_MISSING, to->flags);
    if (c->hot > 0) {
        double *hot = *ret_hot = lm_step_scratch(step, n, sizeof *hot);
        if (!hot) return LM_NOMEM(err);
        memset(hot, 0, n * sizeof *hot);
        lm_pixels_hot(&draws[HOT], n, c->hot, c->hot_current, hot, to->flags);
    }
    if (c->has_rays) {
        double *charge = *ret_charge = lm_step_scratch(step, n, sizeof *charge);
        size_t hits;
        if (!charge) return LM_NOMEM(err);
        memset(charge, 0, n * sizeof *charge);
        LM_TRY(lm_cosmic_rays_add(&c->rays, c->detector.exposure, &draws[RAYS], h, w, charge, to->flags, &hits, err));
    }
    return LM_OK;
}

static lm_status add_background(const lm_noise_choice *c, const exposure *e, const lm_draw *draw, double *image,
                                double *ret_rms, lm_step *step, lm_error *err)
{
    *ret_rms = c->background;
    if (!c->correlated) {
        if (c->background > 0) lm_noise_add(draw, e->frame.h * e->frame.w, NULL, c->background, image);
        return LM_OK;
    }
    LM_OWN(lm_correlated) correlated = NULL;
    LM_TRY_IN(lm_noise_correlated(c, e->frame.h, e->frame.w, step, &correlated, err), err, "\"noise\"");
    *ret_rms = lm_correlated_rms(correlated);
    lm_correlated_add(correlated, draw, image);
    return LM_OK;
}

static lm_status take_image(const lm_noise_choice *c, const exposure *e, lm_step *step, taken *to, lm_error *err)
{
    const size_t n = e->frame.h * e->frame.w;
    lm_random random[STREAMS];
    lm_draw draws[STREAMS];
    for (size_t i = 0; i < STREAMS; i++) {
        random[i] = lm_step_random(step, i);
        draws[i] = lm_draw_of(&random[i]);
    }
    double *hot, *charge, rms;
    const lm_detector *detector = c->detects ? &c->detector : NULL;
    LM_TRY(go_wrong(c, e, draws, to, &hot, &charge, step, err));
    if (detector) lm_detect(detector, n, e->rate, hot, charge, &draws[PHOTONS], &draws[READOUT], to->image, to->flags);
    else memcpy(to->image, e->rate, n * sizeof *e->rate);
    LM_TRY(add_background(c, e, &draws[BACKGROUND], to->image, &rms, step, err));
    lm_noise_sigma(detector, rms, n, c->data_map ? to->image : e->rate, to->sigma);
    for (size_t i = 0; i < n; i++)
        if (to->flags[i] & LM_PIXEL_MISSING) to->image[i] = (double)NAN;
    return LM_OK;
}

/* ---- outputs ----------------------------------------------------------------------------------------------------- */

static lm_status put(const simulate *s, lm_step *step, const char *name, size_t h, size_t w, const char *unit,
                     const double *pixels, lm_error *err)
{
    const size_t shape[] = {h, w};
    lm_tensor *out;
    LM_TRY(lm_step_out_as(step, "out", name, s->precision ? LM_F64 : LM_F32, 2, shape, &out, err));
    lm_tensor_from_f64(out, pixels);
    return lm_tensor_set_unit(out, unit, err);
}

static lm_status add_samples(lm_step *step, const lm_frame *frame, double *image, lm_error *err)
{
    if (!lm_step_record(step, "noise")) return LM_OK;
    const lm_tensor *samples = lm_step_peek(step, "noise", "noise");
    if (!samples) return LM_FAIL(err, LM_EINPUT, "the record on \"noise\" has no tensor \"noise\"");
    if (samples->ndim != 2 || samples->shape[0] != frame->h || samples->shape[1] != frame->w)
        return LM_FAIL(err, LM_EINPUT, "the \"noise\" that is to be added has not the image's %zu x %zu pixels",
                       frame->h, frame->w);
    const double *values = lm_step_peek_f64(step, samples);
    if (!values) return LM_NOMEM(err);
    for (size_t i = 0; i < frame->h * frame->w; i++) image[i] += values[i];
    return LM_OK;
}

static lm_status put_all(const simulate *s, lm_step *step, const exposure *e, const lm_noise_choice *noise, taken *to,
                         lm_error *err)
{
    const size_t h = e->frame.h, w = e->frame.w;
    const char *unit = unit_texts[s->units];
    double scale = s->units == AS_BRIGHTNESS ? 1 / (e->frame.pixel * e->frame.pixel)
                   : s->units == AS_COUNTS   ? noise->detector.exposure
                                             : 1;
    for (size_t i = 0; i < h * w; i++) {
        to->image[i] *= scale;
        to->sigma[i] *= scale;
        e->rate[i] *= scale;
    }
    LM_TRY(add_samples(step, &e->frame, to->image, err));
    LM_TRY(put(s, step, "image", h, w, unit, to->image, err));
    LM_TRY(put(s, step, "noise", h, w, unit, to->sigma, err));
    LM_TRY(put(s, step, "truth", h, w, unit, e->rate, err));
    if (e->choice.from == LM_PSF_NONE) return LM_OK;
    LM_TRY(put(s, step, "psf", e->psf.h, e->psf.w, "", e->psf.at, err));
    return lm_step_set(step, "out", "psf_pixel", lm_real(e->frame.pixel / e->samples), "[arcsec] pixels of the PSF",
                       err);
}

static lm_status put_source(const simulate *s, lm_step *step, const exposure *e, lm_error *err)
{
    lm_frame frame;
    if (!s->source_grid) return LM_OK;
    LM_TRY_IN(lm_grid_read(s->source_grid, &frame, err), err, "\"source_grid\"");
    frame.sub = e->frame.sub;
    LM_OWN(lm_renderer) renderer = NULL;
    LM_TRY_IN(lm_renderer_new(&frame, NULL, &renderer, err), err, "\"source_grid\"");
    double *pixels = lm_step_scratch(step, frame.h * frame.w, sizeof *pixels);
    if (!pixels) return LM_NOMEM(err);
    const lm_scene scene = {.light = e->scene.source, .n_light = e->scene.n_source};
    lm_render(renderer, &scene, pixels);
    return put(s, step, "source", frame.h, frame.w, "electron/s/arcsec^2", pixels, err);
}

/* ---- the step ---------------------------------------------------------------------------------------------------- */

static lm_status read_scene(const simulate *s, lm_step *step, lm_scene *ret, lm_error *err)
{
    lm_mass *masses;
    lm_light *source, *light;
    LM_TRY(lm_masses_read(s->mass, "mass", step, &masses, &ret->n_masses, err));
    LM_TRY(lm_lights_read(s->source, "source", step, &source, &ret->n_source, err));
    LM_TRY(lm_lights_read(s->light, "light", step, &light, &ret->n_light, err));
    ret->masses = masses;
    ret->source = source;
    ret->light = light;
    return LM_OK;
}

static lm_status read_psf(const simulate *s, lm_step *step, exposure *e, lm_error *err)
{
    LM_TRY(lm_psf_choose(s->psf, step, &e->choice, err));
    if (e->choice.from == LM_PSF_NONE) return LM_OK;
    e->samples = e->frame.sub;
    if (e->choice.from == LM_PSF_TENSOR && e->choice.samples != e->frame.sub) {
        if (e->choice.samples != 1)
            return LM_FAIL_HINT(err, LM_EINPUT, "Set \"sub\" to the PSF's \"samples\".",
                                "a PSF of %lld samples along a pixel, which is sampled by %u itself",
                                (long long)e->choice.samples, e->frame.sub);
        e->samples = 1;
    }
    return lm_psf_make(&e->choice, &e->frame, e->samples, step, &e->psf, err);
}

/* Everything but the PSF's memory, which the caller releases. */
static lm_status simulate_all(const simulate *s, lm_step *step, exposure *e, lm_error *err)
{
    int64_t sub;
    lm_noise_choice noise;
    LM_TRY(lm_grid_read(s->grid, &e->frame, err));
    LM_TRY(lm_step_int(step, "sub", &sub, err));
    e->frame.sub = (unsigned)sub;
    LM_TRY(read_scene(s, step, &e->scene, err));
    LM_TRY(read_psf(s, step, e, err));
    LM_TRY(lm_noise_choose(s->noise, step, &noise, err));
    const size_t shape[] = {e->frame.h, e->frame.w}, n = shape[0] * shape[1];
    taken to = {lm_step_scratch(step, n, sizeof(double)), lm_step_scratch(step, n, sizeof(double)), NULL};
    lm_tensor *mask;
    e->rate = lm_step_scratch(step, n, sizeof *e->rate);
    if (!to.image || !to.sigma || !e->rate) return LM_NOMEM(err);
    LM_TRY(lm_step_out(step, "out", "mask", shape, &mask, err));
    to.flags = mask->data;
    memset(to.flags, 0, n);
    LM_TRY(render(e, err));
    if (lm_step_stopped(step)) return LM_ESTOP(step, err);
    LM_TRY(paint_points(e, s->points, step, err));
    LM_TRY(take_image(&noise, e, step, &to, err));
    LM_TRY(put_all(s, step, e, &noise, &to, err));
    LM_TRY(put_source(s, step, e, err));
    return lm_step_set(step, "out", "pixel", lm_real(e->frame.pixel), "[arcsec]", err);
}

static lm_status simulate_step(const void *self, lm_step *step, lm_error *err)
{
    exposure e = {0};
    lm_status status = simulate_all(self, step, &e, err);
    lm_psf_done(&e.psf);
    return status;
}

const lm_operator lm_op_lens_simulate = {
    .struct_size = sizeof(lm_operator),
    .name = "lens.simulate",
    .version = 1,
    .summary = "The image of a lens as a camera takes it: light, PSF, noise",
    .doc =
        "Light behind the lens is seen through its deflection, light in front as it is; both are blurred by the PSF, "
        "averaged over pixels and counted: N ~ Poisson((m + sky + dark) t) + Normal(0, n read_noise^2), and the image "
        "is N/t less sky and dark, plus a background. The noise map has the variance of the noise-free model, so that "
        "(image - truth)/noise has mean 0 and variance 1; map: data gives what an observer would estimate.\n\n"
        "Brightness is in electrons/s and arcsec^2, fluxes in electrons/s. What is drawn follows from the seed, the "
        "parameters and the record, never from the number of workers. Several bands are several of these nodes, each "
        "with its own light, PSF and noise.",
    .example = "{grid: {shape: [24, 32], pixel: 0.1}, mass: [{type: sie, theta_E: 1.0, q: 0.8, phi: 0.3}], source: "
               "[{type: sersic, I_e: 40, R_e: 0.15, n: 1, q: 0.7, phi: 1, x: 0.08, y: 0.05}], light: [{type: sersic, "
               "I_e: 20, R_e: 0.5, n: 4, q: 0.8, phi: 0.3}], psf: {type: gaussian, fwhm: 0.15}, sub: 2, noise: "
               "{background: 0.005, exposure: 2000, exposures: 4, sky: 0.05, read_noise: 3}}",
    .shape = LM_MAP,
    .flags = LM_RANDOM,
    .size = sizeof(simulate),
    .params = params,
    .ports = ports,
    .fields = fields,
    .check = simulate_check,
    .step = simulate_step,
};
