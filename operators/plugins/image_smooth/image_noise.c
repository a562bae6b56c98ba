/* image.noise: realisations of an image with Gaussian noise added.
 *
 *   out_k[y,x] = image[y,x] + sigma n_k[y,x],   n_k ~ N(0, 1),   k = 0 ... draws-1
 *
 * `draws` is an extent: it is not part of a result's key, and realisation k draws from stream k. Asking for more
 * realisations later computes the new ones alone.
 */
#include "runtime/plugin.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    int64_t draws;
    double sigma;
} noise;

static const lm_param params[] = {
    LM_INT(noise, draws, 16, .min = 1, .max = 1e6, .extent = true,
           .doc = "number of realisations of each image; raising it adds to those that are there"),
    LM_REAL(noise, sigma, 1, .min = 0, .per_record = true,
            .doc = "standard deviation of the noise in a pixel, in the image's unit"),
    {0}};

static const lm_field fields[] = {
    LM_IN("in", "image", LM_F32, "H W", "*", "image without noise"),
    LM_OUT("out", "image", LM_F32, "H W", "=", "image with noise; NaN where the image has it"),
    LM_OUT_ATTR("out", "draw", LM_KIND_INT, "", "number of the realisation, from 0"),
    {0}};

static lm_status noise_step(const void *self, lm_step *step, lm_error *err)
{
    const noise *s = self;
    uint64_t k = lm_step_index(step);
    if (k >= (uint64_t)s->draws) {
        lm_step_end(step);
        return LM_OK;
    }
    double sigma;
    LM_TRY(lm_step_real(step, "sigma", &sigma, err));
    const lm_record *in = lm_step_record(step, "in");
    const lm_tensor *image = lm_step_peek(step, "in", "image");
    lm_tensor *out;
    LM_TRY(lm_step_out(step, "out", "image", image->shape, &out, err));
    const float *from = image->data;
    float *to = out->data;
    lm_random random = lm_step_random(step, k);
    for (size_t i = 0; i < image->shape[0] * image->shape[1]; i++)
        to[i] = (float)((double)from[i] + sigma * lm_random_normal(&random));
    LM_TRY(lm_step_set(step, "out", "draw", lm_int((int64_t)k), "number of the realisation", err));
    size_t room = strlen(lm_record_id(in)) + 24;
    char *id = lm_step_scratch(step, room, 1);
    if (!id) return LM_NOMEM(err);
    snprintf(id, room, "%s-%04llu", lm_record_id(in), (unsigned long long)k);
    return lm_step_id(step, "out", id, err);
}

extern const lm_operator lm_op_image_noise;
const lm_operator lm_op_image_noise = {
    .name = "image.noise",
    .version = 1,
    .summary = "Make realisations of an image with Gaussian noise",
    .example = "{draws: 64, sigma: 0.02}",
    .shape = LM_GENERATOR,
    .flags = LM_RANDOM,
    .size = sizeof(noise),
    .params = params,
    .fields = fields,
    .step = noise_step,
};
