#include "operators/deconvolve/_inputs.h"

#include <math.h>

static lm_status read_mask(lm_step *step, lm_blurred_image *image, lm_error *err)
{
    const lm_tensor *mask = lm_step_peek(step, "in", "mask");
    if (!mask) return LM_OK;
    const double *values = lm_step_peek_f64(step, mask);
    uint8_t *bad = lm_step_scratch(step, image->h * image->w, 1);
    if (!values || !bad) return LM_NOMEM(err);
    for (size_t i = 0; i < image->h * image->w; i++) bad[i] = !(values[i] == 0); /* NaN is bad, too */
    image->mask = bad;
    return LM_OK;
}

static lm_status read_variance(lm_step *step, lm_deconvolve_inputs *inputs, lm_error *err)
{
    lm_blurred_image *image = &inputs->image;
    const lm_tensor *map = lm_step_peek(step, "in", "variance");
    LM_TRY(lm_step_real(step, "variance", &inputs->scalar, err));
    if (isinf(inputs->scalar) || inputs->scalar < 0)
        return LM_FAIL_HINT(err, LM_EINPUT, "Give the noise's variance in a pixel, in the image's unit squared.",
                            "the noise variance is %g", inputs->scalar);
    inputs->given = !isnan(inputs->scalar) || map;
    inputs->variance = inputs->scalar;
    if (!isnan(inputs->scalar)) {
        image->variance = &inputs->scalar;
        image->n_variance = 1;
    } else if (map) {
        image->variance = lm_step_peek_f64(step, map);
        image->n_variance = image->h * image->w;
        if (!image->variance) return LM_NOMEM(err);
    }
    uint8_t *usable = lm_step_scratch(step, image->h * image->w, 1);
    if (!usable) return LM_NOMEM(err);
    size_t used = lm_image_usable(image, usable);
    if (!inputs->given) LM_TRY(lm_noise_variance(image->pixels, usable, image->h, image->w, &inputs->variance, err));
    if (isnan(inputs->scalar) && map) {
        double sum = 0;
        for (size_t i = 0; i < image->h * image->w; i++)
            if (usable[i]) sum += image->variance[i];
        inputs->variance = used ? sum / (double)used : (double)NAN;
    }
    return LM_OK;
}

lm_status lm_deconvolve_read(lm_step *step, lm_deconvolve_inputs *ret, lm_error *err)
{
    *ret = (lm_deconvolve_inputs){.scalar = (double)NAN};
    const lm_tensor *image = lm_step_peek(step, "in", "image"), *psf = lm_step_peek(step, "in", "psf");
    ret->dtype = image->dtype;
    ret->image.h = image->shape[0];
    ret->image.w = image->shape[1];
    ret->psf_h = psf->shape[0];
    ret->psf_w = psf->shape[1];
    ret->image.pixels = lm_step_peek_f64(step, image);
    ret->psf = lm_step_peek_f64(step, psf);
    if (!ret->image.pixels || !ret->psf) return LM_NOMEM(err);
    LM_TRY(read_mask(step, &ret->image, err));
    return read_variance(step, ret, err);
}

lm_status lm_deconvolve_write(lm_step *step, const lm_deconvolve_inputs *inputs, const char *name, bool single,
                              const double *pixels, lm_error *err)
{
    size_t shape[2] = {inputs->image.h, inputs->image.w};
    lm_tensor *out;
    LM_TRY(lm_step_out_as(step, "out", name, single ? LM_F32 : LM_F64, 2, shape, &out, err));
    lm_tensor_from_f64(out, pixels);
    return lm_tensor_set_unit(out, lm_step_peek(step, "in", "image")->unit, err);
}

lm_status lm_deconvolve_describe(lm_step *step, const lm_deconvolve_inputs *inputs, size_t iterations, double gain,
                                 lm_edge edge, lm_psf_centre centre, bool normalised, lm_error *err)
{
    bool known = !isnan(inputs->variance);
    LM_TRY(lm_step_set(step, "out", "iterations", lm_int((int64_t)iterations), "iterations of the deconvolution", err));
    LM_TRY(lm_step_set(step, "out", "variance", known ? lm_real(inputs->variance) : lm_null(),
                       inputs->given ? "noise variance in a pixel" : "noise variance in a pixel, estimated", err));
    if (isnan(gain)) LM_TRY(lm_step_unset(step, "out", LM_NOISE_GAIN, err));
    else LM_TRY(lm_step_set(step, "out", LM_NOISE_GAIN, lm_real(gain), "photons in one unit of the image", err));
    LM_TRY(lm_step_set(step, "out", LM_PSF_EDGE, lm_text_value(lm_edge_names[edge]), "sky beyond the image", err));
    LM_TRY(
        lm_step_set(step, "out", LM_PSF_CENTRE, lm_text_value(lm_psf_centre_names[centre]), "origin of the PSF", err));
    return lm_step_set(step, "out", LM_PSF_NORMALISED, lm_bool(normalised), "PSF was scaled to a sum of 1", err);
}
