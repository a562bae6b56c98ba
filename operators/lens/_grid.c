/* Reading the parameter `grid:`. See _grid.h. */
#include "operators/lens/_grid.h"

#include <math.h>

enum { MOST_SIDE = 1 << 15 };
#define EXAMPLE "For example: grid: {shape: [128, 128], pixel: 0.05}"

lm_status lm_grid_read(const json_t *tree, lm_frame *ret, lm_error *err)
{
    const json_t *shape = json_object_get(tree, "shape"), *pixel = json_object_get(tree, "pixel"),
                 *offset = json_object_get(tree, "offset");
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)tree, name, value)
    {
        if (value != shape && value != pixel && value != offset)
            return LM_FAIL_HINT(err, LM_EINPUT, "It takes shape, pixel and offset.", "\"grid\" has no \"%s\"", name);
    }
    size_t sides[2];
    double at[2] = {0, 0};
    for (size_t i = 0; i < 2; i++) {
        const json_t *side = json_array_get(shape, i), *to = json_array_get(offset, i);
        if (json_array_size(shape) != 2 || !json_is_integer(side) || json_integer_value(side) < 1 ||
            json_integer_value(side) > MOST_SIDE)
            return LM_FAIL_HINT(err, LM_EINPUT, EXAMPLE,
                                "\"grid\" needs a \"shape\" of two whole numbers from 1 to %d, rows and columns",
                                MOST_SIDE);
        sides[i] = (size_t)json_integer_value(side);
        if (offset && (json_array_size(offset) != 2 || !json_is_number(to)))
            return LM_FAIL(err, LM_EINPUT, "the \"offset\" of \"grid\" is a list of two numbers, x and y in arcsec");
        if (to) at[i] = json_number_value(to);
    }
    double size = json_number_value(pixel);
    if (!(size > 0) || !isfinite(size))
        return LM_FAIL_HINT(err, LM_EINPUT, EXAMPLE, "\"grid\" needs the size of a \"pixel\" in arcsec, above 0");
    *ret = (lm_frame){.h = sides[0], .w = sides[1], .pixel = size, .x = at[0], .y = at[1], .sub = 1};
    return LM_OK;
}

void lm_grid_axes(const lm_frame *frame, double *x, double *y)
{
    for (size_t i = 0; i < frame->w; i++) x[i] = ((double)i - (double)(frame->w - 1) / 2) * frame->pixel + frame->x;
    for (size_t j = 0; j < frame->h; j++) y[j] = ((double)j - (double)(frame->h - 1) / 2) * frame->pixel + frame->y;
}

lm_status lm_psf_pixel_check(lm_step *step, double pixel, lm_error *err)
{
    double of_psf = lm_value_real(lm_record_value(lm_step_record(step, "in"), "psf_pixel"));
    if (isnan(of_psf) || fabs(of_psf / pixel - 1) <= 1e-6) return LM_OK;
    return LM_FAIL_HINT(
        err, LM_EINPUT,
        "Give a PSF on the image's pixels (lens.simulate makes one with sub: 1), or drop its \"psf_pixel\".",
        "the PSF is on pixels of %g arcsec, and the image on pixels of %g", of_psf, pixel);
}
