/* deconvolve.richardson_lucy: sharpen an image by its point spread function, keeping it positive.
 *
 *   model <- model * H^T[w (image + b) / (H model + b)] / H^T[w],   b = gain * variance
 */
#include "operators/deconvolve/_inputs.h"

#include <math.h>

typedef struct {
    int64_t iterations;
    double variance, gain;
    int method, edge, start, centre, flux, precision;
    double threshold, lambda, filter_epsilon, tolerance;
    bool normalise;
} lucy;

static const char *const methods[] = {"plain", "damped", "total_variation", NULL};
static const char *const starts[] = {"mean", "flat", "image", NULL};
static const char *const fluxes[] = {"keep", "free", NULL};
static const char *const precisions[] = {"auto", "single", "double", NULL};

static const lm_param params[] = {
    LM_INT(lucy, iterations, 30, .min = 1, .max = 1000000, .per_record = true,
           .doc = "how many times the model is improved; more make it sharper, and noisier"),
    LM_REAL(lucy, variance, NAN, .per_record = true,
            .doc = "variance of the noise in a pixel that is not the light's own (sky, read-out), in the square of the "
                   "image's unit; gain * variance is added to image and blurred model, so that negative pixels keep "
                   "their meaning. Unset: the tensor \"variance\", or none: negative pixels count as 0"),
    LM_REAL(lucy, gain, NAN, .per_record = true,
            .doc =
                "photons (electrons) that one unit of the image stands for: the exposure time in seconds for an image "
                "in electrons/s. Unset: 5 / sqrt(variance), which lifts the sky 5 sigma above zero; 1 without a "
                "variance"),
    LM_CHOICE(lucy, method, "plain", methods,
              .doc = "plain; damped: pixels that fit to within \"threshold\" are left alone (White 1994); "
                     "total_variation: edges stay, ripples go (Dey et al. 2006)"),
    LM_REAL(lucy, threshold, 3, .min = 0.01, .max = 1000, .unit = "sigma",
            .doc = "of the damped method: how far from the data a pixel of the blurred model may be without being "
                   "improved at full speed"),
    LM_REAL(lucy, lambda, 0.002, .min = 0, .max = 0.24,
            .doc = "of the total_variation method: its weight; 0.002 for bright images, 0.02 for noisy ones"),
    LM_CHOICE(lucy, edge, "open", lm_edge_names,
              .doc =
                  "the sky beyond the image. open: unknown, and modelled along; zero: black, as scikit-image; mirror, "
                  "nearest, periodic: continued"),
    LM_CHOICE(lucy, start, "mean", starts,
              .doc =
                  "the first model. mean: the image's mean everywhere; flat: 0.5 everywhere, as scikit-image; image: "
                  "the image itself"),
    LM_CHOICE(lucy, centre, "middle", lm_psf_centre_names,
              .doc =
                  "which pixel of the PSF a star's position is: middle of the array ((n-1)/2, rounded down), peak, or "
                  "the pixel nearest to the centroid"),
    LM_BOOL(lucy, normalise, true,
            .doc =
                "divide the PSF by its sum, so that the model has the image's flux; without, light that the PSF's sum "
                "lacks is made up for (but with edge zero, where the model is scikit-image's)"),
    LM_CHOICE(lucy, flux, "keep", fluxes,
              .doc = "keep: with a variance, each model is scaled to the light that the image has, negative pixels "
                     "included; free: left to the likelihood, which finds more light than there is, as a positive sky "
                     "cannot be below zero where noise is. Without a variance the light is kept anyway"),
    LM_REAL(lucy, filter_epsilon, 0,
            .doc =
                "pixels whose blurred model is below, in the image's unit, are left out of the improvement; 0: none"),
    LM_REAL(lucy, tolerance, 0, .min = 0, .max = 1,
            .doc = "stop early when one iteration moves less than this part of the light; 0: never"),
    LM_CHOICE(lucy, precision, "auto", precisions,
              .doc = "of the arithmetic and the model; auto: single for a float32 image, else double"),
    {0}};

static const lm_field fields[] = {
    LM_IN("in", "image", LM_NUMBERS, "H W", "*", "image to sharpen; NaN is an unknown pixel"),
    LM_IN("in", "psf", LM_NUMBERS, "P Q", "*", "point spread function on the image's pixels, of any size"),
    LM_IN_OPT("in", "mask", LM_NUMBERS, "H W", "*", "not 0: a bad pixel, whose value does not count"),
    LM_IN_OPT("in", "variance", LM_NUMBERS, "H W", "*", "noise variance of each pixel, if the parameter is unset"),
    LM_OUT("out", "model", LM_FLOATS, "H W", "=", "the sharpened image"),
    LM_OUT_OPT("out", "surround", LM_FLOATS, "H W", "=",
               "of an open edge: light in the image that the model puts beyond its border"),
    LM_OUT_ATTR("out", "iterations", LM_KIND_INT, "", "iterations done"),
    LM_OUT_ATTR("out", "variance", LM_KIND_REAL, "", "noise variance in a pixel: as given, or estimated"),
    LM_OUT_ATTR("out", LM_NOISE_GAIN, LM_KIND_REAL, "", "photons in one unit of the image, as used"),
    LM_OUT_ATTR("out", "clipped", LM_KIND_INT, "", "pixels below -gain * variance, taken as that"),
    LM_OUT_ATTR("out", LM_PSF_EDGE, LM_KIND_TEXT, "", "the parameter edge, for compare.residuals"),
    LM_OUT_ATTR("out", LM_PSF_CENTRE, LM_KIND_TEXT, "", "the parameter centre, for compare.residuals"),
    LM_OUT_ATTR("out", LM_PSF_NORMALISED, LM_KIND_BOOL, "", "the parameter normalise, for compare.residuals"),
    {0}};

static bool stopped(void *step)
{
    return lm_step_stopped(step);
}

static lm_status make_options(const lucy *s, lm_step *step, const lm_deconvolve_inputs *in, lm_lucy_options *o,
                              lm_error *err)
{
    static const lm_lucy_start starting[] = {LM_LUCY_MEAN, LM_LUCY_FLAT, LM_LUCY_IMAGE};
    static const lm_lucy_method improving[] = {LM_LUCY_PLAIN, LM_LUCY_DAMPED, LM_LUCY_TOTAL_VARIATION};
    int64_t iterations;
    LM_TRY(lm_step_int(step, "iterations", &iterations, err));
    if (iterations < 1) return LM_FAIL(err, LM_EINPUT, "%lld iterations are none", (long long)iterations);
    *o = (lm_lucy_options){.iterations = (size_t)iterations,
                           .edge = (lm_edge)s->edge,
                           .method = improving[s->method],
                           .start = starting[s->start],
                           .threshold = s->threshold,
                           .lambda = s->lambda,
                           .filter_epsilon = s->filter_epsilon,
                           .tolerance = s->tolerance,
                           .keep_flux = s->flux == 0 && in->image.n_variance,
                           .single = s->precision == 1 || (s->precision == 0 && in->dtype == LM_F32),
                           .stopped = stopped,
                           .arg = step};
    return lm_step_real(step, "gain", &o->gain, err);
}

static lm_status lucy_step(const void *self, lm_step *step, lm_error *err)
{
    const lucy *s = self;
    lm_deconvolve_inputs in;
    lm_lucy_options o;
    LM_TRY(lm_deconvolve_read(step, &in, err));
    LM_TRY(make_options(s, step, &in, &o, err));
    size_t n = in.image.h * in.image.w;
    double *model = lm_step_scratch(step, n, sizeof *model), *surround = NULL;
    if (o.edge == LM_EDGE_OPEN) surround = lm_step_scratch(step, n, sizeof *surround);
    if (!model || (o.edge == LM_EDGE_OPEN && !surround)) return LM_NOMEM(err);

    lm_psf psf = {0};
    lm_lucy_result result;
    lm_status status = lm_psf_init(&psf, in.psf, in.psf_h, in.psf_w, (lm_psf_centre)s->centre, s->normalise, err);
    if (!status && psf.negative) {
        lm_step_warn(step, "%zu negative pixels of the PSF are taken as 0", psf.negative);
        lm_psf_clip(&psf);
    }
    if (!status) status = lm_richardson_lucy(&in.image, &psf, &o, model, surround, &result, err);
    lm_psf_done(&psf);
    if (status == LM_ECANCEL) return LM_ESTOP(step, err);
    if (status) return status;

    LM_TRY(lm_deconvolve_write(step, &in, "model", o.single, model, err));
    if (surround) LM_TRY(lm_deconvolve_write(step, &in, "surround", o.single, surround, err));
    else LM_TRY(lm_step_drop(step, "out", "surround", err)); /* of an earlier deconvolution */
    LM_TRY(lm_step_set(step, "out", "clipped", lm_int((int64_t)result.clipped), "pixels taken as 0", err));
    return lm_deconvolve_describe(step, &in, result.iterations, result.gain, o.edge, (lm_psf_centre)s->centre,
                                  s->normalise, err);
}

const lm_operator lm_op_deconvolve_richardson_lucy = {
    .struct_size = sizeof(lm_operator),
    .name = "deconvolve.richardson_lucy",
    .version = 1,
    .summary = "Sharpen an image by its PSF: Richardson-Lucy",
    .doc =
        "Finds the positive sky whose blurred image most likely gave the data, if they are Poisson distributed "
        "(Richardson 1972, Lucy 1974). Each iteration sharpens further and lets more noise through: the number of "
        "iterations, the damped method or total variation keep noise down.\n\n"
        "Sky-subtracted images have negative pixels. With a variance, image and blurred model are both raised by gain "
        "* variance, which gives the sky its true noise (a background of V photons has variance V), and no pixel is "
        "lost. Without, negative pixels count as 0, and faint light comes out too bright.\n\n"
        "Bad pixels (NaN, or not 0 in the tensor mask) are ignored, and the model is interpolated by the PSF across "
        "them; pixels that send less than 1 % of their light to good pixels are 0.",
    .example = "{iterations: 30, variance: 1.0e-5, gain: 2000}",
    .shape = LM_MAP,
    .size = sizeof(lucy),
    .params = params,
    .fields = fields,
    .step = lucy_step,
};
