/* deconvolve.wiener: sharpen an image by its point spread function with one linear filter.
 *
 *   laplacian:  conj(H) / (|H|^2 + balance |L|^2)        noise:  conj(H) S / (|H|^2 S + N)
 */
#include "operators/deconvolve/_inputs.h"

#include <math.h>

typedef struct {
    int method, edge, centre, precision;
    double balance, variance;
    bool normalise;
} wiener;

static const char *const methods[] = {"laplacian", "noise", NULL};
static const char *const edges[] = {"periodic", "mirror", NULL};
static const char *const precisions[] = {"auto", "single", "double", NULL};

static const lm_param params[] = {
    LM_CHOICE(wiener, method, "laplacian", methods,
              .doc = "what holds noise down. laplacian: a penalty on curvature, weighted by \"balance\"; noise: the "
                     "ratio of noise to signal, measured in the image's own power spectrum"),
    LM_REAL(wiener, balance, 0.1, .min = 0, .max = 1e30, .per_record = true,
            .doc = "of the laplacian method: larger is smoother; 0 is the plain inverse, which noise ruins"),
    LM_REAL(wiener, variance, NAN, .per_record = true,
            .doc =
                "of the noise method: variance of the noise in a pixel, in the square of the image's unit. Unset: the "
                "mean of the tensor \"variance\", or estimated from the image"),
    LM_CHOICE(wiener, edge, "periodic", edges,
              .doc =
                  "how the image goes on beyond its border; mirror avoids ripples where opposite borders differ, and "
                  "takes four times as long"),
    LM_CHOICE(wiener, centre, "middle", lm_psf_centre_names,
              .doc =
                  "which pixel of the PSF a star's position is: middle of the array ((n-1)/2, rounded down), peak, or "
                  "the pixel nearest to the centroid"),
    LM_BOOL(wiener, normalise, true, .doc = "divide the PSF by its sum, so that the model has the image's flux"),
    LM_CHOICE(wiener, precision, "auto", precisions,
              .doc = "of the model; auto: single for a float32 image, else double. The arithmetic is double"),
    {0}};

static const lm_field fields[] = {
    LM_IN("in", "image", LM_NUMBERS, "H W", "*", "image to sharpen; NaN is an unknown pixel, which is filled in first"),
    LM_IN("in", "psf", LM_NUMBERS, "P Q", "*", "point spread function on the image's pixels, of any size"),
    LM_IN_OPT("in", "mask", LM_NUMBERS, "H W", "*", "not 0: a bad pixel, which is filled in first"),
    LM_IN_OPT("in", "variance", LM_NUMBERS, "H W", "*", "noise variance of each pixel, if the parameter is unset"),
    LM_OUT("out", "model", LM_FLOATS, "H W", "=", "the sharpened image; may be negative"),
    LM_OUT_ATTR("out", "iterations", LM_KIND_INT, "", "1: a filter is one step"),
    LM_OUT_ATTR("out", "variance", LM_KIND_REAL, "", "noise variance in a pixel: as given, or estimated"),
    LM_OUT_ATTR("out", LM_PSF_EDGE, LM_KIND_TEXT, "", "the parameter edge, for compare.residuals"),
    LM_OUT_ATTR("out", LM_PSF_CENTRE, LM_KIND_TEXT, "", "the parameter centre, for compare.residuals"),
    LM_OUT_ATTR("out", LM_PSF_NORMALISED, LM_KIND_BOOL, "", "the parameter normalise, for compare.residuals"),
    {0}};

static lm_status wiener_step(const void *self, lm_step *step, lm_error *err)
{
    const wiener *s = self;
    lm_deconvolve_inputs in;
    LM_TRY(lm_deconvolve_read(step, &in, err));
    lm_wiener_options o = {.method = s->method ? LM_WIENER_NOISE : LM_WIENER_LAPLACIAN, .mirror = s->edge == 1};
    LM_TRY(lm_step_real(step, "balance", &o.balance, err));
    if (!(o.balance >= 0) || !isfinite(o.balance)) /* per record: no table has checked it */
        return LM_FAIL(err, LM_EINPUT, "a balance of %g is not a number of 0 or more", o.balance);
    o.variance = in.variance;
    if (o.method == LM_WIENER_NOISE && isnan(o.variance))
        return LM_FAIL_HINT(err, LM_EINPUT, "Give \"variance\".",
                            "an image of %zu x %zu pixels does not tell its noise", in.image.h, in.image.w);
    double *model = lm_step_scratch(step, in.image.h * in.image.w, sizeof *model);
    if (!model) return LM_NOMEM(err);

    lm_psf psf = {0};
    lm_status status = lm_psf_init(&psf, in.psf, in.psf_h, in.psf_w, (lm_psf_centre)s->centre, s->normalise, err);
    if (!status) status = lm_wiener(&in.image, &psf, &o, model, err);
    lm_psf_done(&psf);
    if (status) return status;

    bool single = s->precision == 1 || (s->precision == 0 && in.dtype == LM_F32);
    LM_TRY(lm_deconvolve_write(step, &in, "model", single, model, err));
    LM_TRY(lm_step_drop(step, "out", "surround", err)); /* of an earlier deconvolution */
    return lm_deconvolve_describe(step, &in, 1, (double)NAN, o.mirror ? LM_EDGE_MIRROR : LM_EDGE_PERIODIC,
                                  (lm_psf_centre)s->centre, s->normalise, err);
}

const lm_operator lm_op_deconvolve_wiener = {
    .struct_size = sizeof(lm_operator),
    .name = "deconvolve.wiener",
    .version = 1,
    .summary = "Sharpen an image by its PSF: Wiener filter",
    .doc =
        "One linear filter in Fourier space, fast and without iterations. The model can be negative and rings around "
        "bright sources; its noise is that of the image, filtered.\n\n"
        "method laplacian is the regularised inverse of Hunt (1973), as scikit-image has it. method noise is Wiener's "
        "filter proper: the signal's power in rings of equal frequency is the image's power less the noise's, over "
        "|H|^2; frequencies without signal are left out.",
    .example = "{method: noise, variance: 1.0e-5}",
    .shape = LM_MAP,
    .size = sizeof(wiener),
    .params = params,
    .fields = fields,
    .step = wiener_step,
};
