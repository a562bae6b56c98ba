/* image.smooth: blur an image with a circular Gaussian.
 *
 *   out[y,x] = sum_ij g[i] g[j] image[y-i, x-j],   g[i] ~ exp(-i^2 / 2 sigma^2),   sum g = 1, cut at 4 sigma
 */
#include "runtime/plugin.h"

#include <math.h>

typedef struct {
    double sigma;
    int edge;
    double *taps; /* g[0 ... n_taps-1], the middle one is i = 0 */
    size_t n_taps;
} smooth;

enum { MIRROR, ZERO };
static const char *const edges[] = {"mirror", "zero", NULL};

static const lm_param params[] = {
    LM_REAL(smooth, sigma, 1.5, .min = 0.1, .max = 64, .unit = "pix",
            .doc = "standard deviation of the Gaussian; its full width at half maximum is 2.355 times this"),
    LM_CHOICE(smooth, edge, "mirror", edges,
              .doc = "what lies beyond the border: the image's mirror image, which keeps the flux, or empty sky"),
    {0}};

static const lm_field fields[] = {
    LM_IN("in", "image", LM_F32, "H W", "*", "image to blur"),
    LM_OUT("out", "image", LM_F32, "H W", "=", "blurred image; NaN as far as the kernel reaches from a NaN"),
    {0}};

static lm_status smooth_open(void *self, lm_error *err)
{
    smooth *s = self;
    size_t half = (size_t)ceil(4 * s->sigma);
    s->n_taps = 2 * half + 1;
    s->taps = lm_alloc(s->n_taps, sizeof *s->taps);
    if (!s->taps) return LM_NOMEM(err);
    double sum = 0;
    for (size_t k = 0; k < s->n_taps; k++) {
        double i = (double)k - (double)half;
        sum += s->taps[k] = exp(-i * i / (2 * s->sigma * s->sigma));
    }
    for (size_t k = 0; k < s->n_taps; k++) s->taps[k] /= sum;
    return LM_OK;
}

/* One line of n pixels, `stride` apart, from and to. `line` has room for n + n_taps - 1. */
static void blur_line(const smooth *s, const float *from, float *to, size_t n, size_t stride, double *line)
{
    size_t half = s->n_taps / 2;
    for (size_t k = 0; k < n; k++) line[half + k] = (double)from[k * stride];
    for (size_t k = 0; k < half; k++) { /* n >= n_taps > half: checked */
        line[half - 1 - k] = s->edge == MIRROR ? line[half + k] : 0;
        line[half + n + k] = s->edge == MIRROR ? line[half + n - 1 - k] : 0;
    }
    for (size_t k = 0; k < n; k++) {
        double sum = 0;
        for (size_t i = 0; i < s->n_taps; i++) sum += s->taps[i] * line[k + i];
        to[k * stride] = (float)sum;
    }
}

static lm_status smooth_step(const void *self, lm_step *step, lm_error *err)
{
    const smooth *s = self;
    const lm_tensor *image = lm_step_peek(step, "in", "image");
    size_t h = image->shape[0], w = image->shape[1];
    if (h < s->n_taps || w < s->n_taps)
        return LM_FAIL_HINT(err, LM_EINPUT, "Lower \"sigma\", or cut larger stamps.",
                            "image of %zu x %zu pixels is smaller than the %zu-pixel kernel", h, w, s->n_taps);
    lm_tensor *out;
    LM_TRY(lm_step_out(step, "out", "image", image->shape, &out, err));
    double *line = lm_step_scratch(step, (h > w ? h : w) + s->n_taps - 1, sizeof *line);
    float *rows = lm_step_scratch(step, h * w, sizeof *rows);
    if (!line || !rows) return LM_NOMEM(err);
    const float *from = image->data;
    float *to = out->data;
    for (size_t y = 0; y < h; y++) blur_line(s, from + y * w, rows + y * w, w, 1, line);
    for (size_t x = 0; x < w; x++) blur_line(s, rows + x, to + x, h, w, line);
    return LM_OK;
}

static void smooth_close(void *self)
{
    smooth *s = self;
    s->taps = lm_free(s->taps);
}

extern const lm_operator lm_op_image_smooth;
const lm_operator lm_op_image_smooth = {
    .name = "image.smooth",
    .version = 1,
    .summary = "Blur an image with a circular Gaussian",
    .example = "{sigma: 2.0, edge: zero}",
    .size = sizeof(smooth),
    .params = params,
    .fields = fields,
    .open = smooth_open,
    .step = smooth_step,
    .close = smooth_close,
};
