/* compare.residuals: does the model, blurred, explain the image?
 *
 *   residual = image - psf * model
 */
#include "operators/core/residuals.h"
#include "operators/deconvolve/_inputs.h"

#include <math.h>
#include <string.h>

typedef struct {
    double variance, gain;
    int edge, centre, normalise;
} residuals;

static const char *const edges[] = {"auto", "open", "zero", "mirror", "nearest", "periodic", NULL};
static const char *const centres[] = {"auto", "middle", "peak", "centroid", NULL};
static const char *const switches[] = {"auto", "no", "yes", NULL};

static const lm_param params[] = {
    LM_REAL(residuals, variance, NAN, .per_record = true,
            .doc = "variance of the noise in a pixel that is not the light's own, in the square of the image's unit. "
                   "Unset: the tensor \"variance\", or the attribute that a deconvolution left"),
    LM_REAL(residuals, gain, NAN, .per_record = true,
            .doc =
                "photons that one unit of the image stands for: the model's light adds light / gain to the variance. "
                "Unset: as the deconvolution had it; without one, light adds nothing"),
    LM_CHOICE(residuals, edge, "auto", edges,
              .doc = "the sky beyond the image; auto: as the deconvolution had it, or open. With open, light that the "
                     "tensor \"surround\" has from beyond the border is added"),
    LM_CHOICE(residuals, centre, "auto", centres,
              .doc = "which pixel of the PSF a star's position is; auto: as the deconvolution had it, or middle"),
    LM_CHOICE(residuals, normalise, "auto", switches,
              .doc = "divide the PSF by its sum; auto: as the deconvolution had it, or yes"),
    {0}};

static const lm_field fields[] = {
    LM_IN("in", "image", LM_NUMBERS, "H W", "*", "the data; NaN is an unknown pixel"),
    LM_IN("in", "psf", LM_NUMBERS, "P Q", "*", "point spread function on the image's pixels"),
    LM_IN("in", "model", LM_NUMBERS, "H W", "*", "the sky, before the PSF"),
    LM_IN_OPT("in", "surround", LM_NUMBERS, "H W", "*", "light in the image from beyond its border"),
    LM_IN_OPT("in", "mask", LM_NUMBERS, "H W", "*", "not 0: a bad pixel"),
    LM_IN_OPT("in", "variance", LM_NUMBERS, "H W", "*", "noise variance of each pixel, if the parameter is unset"),
    LM_OUT("out", "residual", LM_FLOATS, "H W", "=", "image less blurred model; NaN where the image is unknown"),
    LM_OUT_ATTR(
        "out", "chi2_reduced", LM_KIND_REAL, "",
        "sum of residual^2 / variance over good pixels, over their number: about 1 where the model explains the "
        "image, below where it follows the noise"),
    LM_OUT_ATTR("out", "whiteness", LM_KIND_REAL, "",
                "Ljung-Box statistic of the residual's correlations up to 2 pixels, over its degrees of freedom: 1 for "
                "white noise, more where structure (or the noise's own correlation) is left"),
    LM_OUT_ATTR("out", "whiteness_p", LM_KIND_REAL, "", "chance that white noise looks less white"),
    {0}};

/* Index of the attribute's text in names, or otherwise. */
static int recorded(lm_step *step, const char *attribute, const char *const *names, int otherwise)
{
    lm_value value = lm_record_value(lm_step_record(step, "in"), attribute);
    for (int i = 0; value.kind == LM_KIND_TEXT && names[i]; i++)
        if (!strcmp(names[i], value.text)) return i;
    return otherwise;
}

static bool normalised(const residuals *s, lm_step *step)
{
    lm_value value = lm_record_value(lm_step_record(step, "in"), LM_PSF_NORMALISED);
    if (s->normalise) return s->normalise == 2;
    if (value.kind == LM_KIND_INT) return value.integer != 0;
    return value.kind != LM_KIND_BOOL || value.boolean;
}

static lm_status blur(const residuals *s, lm_step *step, const lm_deconvolve_inputs *in, double *ret, lm_error *err)
{
    lm_edge edge = (lm_edge)(s->edge ? s->edge - 1 : recorded(step, LM_PSF_EDGE, lm_edge_names, LM_EDGE_OPEN));
    lm_psf_centre centre =
        (lm_psf_centre)(s->centre ? s->centre - 1 : recorded(step, LM_PSF_CENTRE, lm_psf_centre_names, LM_PSF_MIDDLE));
    const double *model = lm_step_peek_f64(step, lm_step_peek(step, "in", "model"));
    if (!model) return LM_NOMEM(err);
    for (size_t i = 0; i < in->image.h * in->image.w; i++)
        if (!isfinite(model[i]))
            return LM_FAIL(err, LM_EINPUT, "the model is not finite at row %zu, column %zu", i / in->image.w,
                           i % in->image.w);
    lm_psf psf = {0};
    LM_OWN(lm_convolver) convolver = NULL;
    lm_status status = lm_psf_init(&psf, in->psf, in->psf_h, in->psf_w, centre, normalised(s, step), err);
    /* light from beyond an open edge is in `surround`: the model itself is black there */
    if (!status)
        status = lm_convolver_new(&psf, in->image.h, in->image.w, edge == LM_EDGE_OPEN ? LM_EDGE_ZERO : edge, false,
                                  &convolver, err);
    lm_psf_done(&psf);
    if (status) return status;
    lm_convolve_f64(convolver, model, ret);
    const lm_tensor *surround = edge == LM_EDGE_OPEN ? lm_step_peek(step, "in", "surround") : NULL;
    if (!surround) return LM_OK;
    const double *light = lm_step_peek_f64(step, surround);
    if (!light) return LM_NOMEM(err);
    for (size_t i = 0; i < in->image.h * in->image.w; i++) ret[i] += light[i];
    return LM_OK;
}

/* Fills `variance` with the noise's and the light's; false if none is known or one is not positive. */
static lm_status find_variance(lm_step *step, const lm_deconvolve_inputs *in, const double *blurred, double *variance,
                               bool *ret_known, lm_error *err)
{
    const lm_record *record = lm_step_record(step, "in");
    double gain, left = in->given ? (double)NAN : lm_value_real(lm_record_value(record, "variance"));
    LM_TRY(lm_step_real(step, "gain", &gain, err));
    if (isnan(gain)) gain = lm_value_real(lm_record_value(record, LM_NOISE_GAIN));
    if (!isnan(gain) && !(gain > 0)) return LM_FAIL(err, LM_EINPUT, "a gain of %g is not a positive number", gain);
    bool known = in->given || left > 0; /* an estimate of 0: an image without noise */
    for (size_t i = 0; i < in->image.h * in->image.w && known; i++) {
        double v = in->given ? in->image.variance[in->image.n_variance > 1 ? i : 0] : left;
        variance[i] = v + (isnan(gain) || !(blurred[i] > 0) ? 0 : blurred[i] / gain);
    }
    *ret_known = known;
    return LM_OK;
}

static lm_status set_number(lm_step *step, const char *name, double value, const char *comment, lm_error *err)
{
    return lm_step_set(step, "out", name, isfinite(value) ? lm_real(value) : lm_null(), comment, err);
}

static lm_status residuals_step(const void *self, lm_step *step, lm_error *err)
{
    const residuals *s = self;
    lm_deconvolve_inputs in;
    LM_TRY(lm_deconvolve_read(step, &in, err));
    size_t n = in.image.h * in.image.w;
    double *blurred = lm_step_scratch(step, n, sizeof *blurred), *residual = lm_step_scratch(step, n, sizeof *residual);
    double *variance = lm_step_scratch(step, n, sizeof *variance);
    uint8_t *usable = lm_step_scratch(step, n, 1);
    if (!blurred || !residual || !variance || !usable) return LM_NOMEM(err);
    LM_TRY(blur(s, step, &in, blurred, err));
    if (!lm_image_usable(&in.image, usable))
        return LM_FAIL_HINT(err, LM_EINPUT, "Look at the mask, and at how undefined pixels came in.",
                            "none of the image's %zu x %zu pixels can be used: all are undefined or masked", in.image.h,
                            in.image.w);
    bool known;
    LM_TRY(find_variance(step, &in, blurred, variance, &known, err));
    for (size_t i = 0; i < n; i++) {
        residual[i] = in.image.pixels[i] - blurred[i];
        if (known && usable[i] && !(variance[i] > 0))
            return LM_FAIL_HINT(err, LM_EINPUT, "Mask the pixel, or give a variance above 0.",
                                "the noise variance is %g at row %zu, column %zu", variance[i], i / in.image.w,
                                i % in.image.w);
    }
    lm_residual_summary summary;
    lm_residual_summarise(residual, known ? variance : NULL, usable, in.image.h, in.image.w, &summary);
    LM_TRY(lm_deconvolve_write(step, &in, "residual", in.dtype == LM_F32, residual, err));
    LM_TRY(set_number(step, "chi2_reduced", summary.chi2_reduced, "chi-square over good pixels", err));
    LM_TRY(set_number(step, "whiteness", summary.whiteness, "Ljung-Box Q / freedom: 1 is white", err));
    return set_number(step, "whiteness_p", summary.whiteness_p, "chance of a larger Q by white noise", err);
}

const lm_operator lm_op_compare_residuals = {
    .struct_size = sizeof(lm_operator),
    .name = "compare.residuals",
    .version = 1,
    .summary = "Compare an image with its blurred model",
    .doc =
        "residual = image - psf * model, by the same rules (edge, origin and scale of the PSF) as the deconvolution "
        "that "
        "made the model, which it wrote into the record's attributes.\n\n"
        "chi2_reduced divides by the number of good pixels: a deconvolution that stops early has no countable number "
        "of parameters to take off. The variance of a pixel is the noise's plus blurred model / gain.\n\n"
        "Drizzled images have correlated noise: their whiteness is above 1 even for a perfect model.",
    .example = "{}",
    .shape = LM_MAP,
    .size = sizeof(residuals),
    .params = params,
    .fields = fields,
    .step = residuals_step,
};
