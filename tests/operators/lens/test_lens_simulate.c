/* lens.simulate: light against the renderer, noise against its laws, points, PSFs, masks, and what is refused. Random
 * numbers come from the step's key, so that every run gives the same; bounds are those a fair draw passes with a
 * probability near 1 - 1e-6. */
#include "tests/apply.h"
#include "tests/test.h"

#include "operators/builtin.h"
#include "operators/core/lensing/points.h"
#include "operators/core/lensing/render.h"
#include "runtime/log.h"
#include "runtime/registry.h"
#include "runtime/run.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

extern const lm_operator lm_op_lens_simulate;

#define GRID "\"grid\": {\"shape\": [48, 40], \"pixel\": 0.1}"
#define MASS                                                                                                           \
    "\"mass\": [{\"type\": \"sie\", \"theta_E\": 1.2, \"q\": 0.7}, {\"type\": \"shear\", \"gamma1\": 0.03, "           \
    "\"gamma2\": -0.02}]"
#define SOURCE                                                                                                         \
    "\"source\": [{\"type\": \"sersic\", \"I_e\": 30, \"R_e\": 0.3, \"n\": 1, \"q\": 0.8, \"phi\": 0.4, \"x\": 0.1}]"
#define LIGHT "\"light\": [{\"type\": \"gaussian\", \"flux\": 50, \"sigma\": 0.3, \"q\": 0.9}]"
#define PSF "\"psf\": {\"type\": \"gaussian\", \"fwhm\": 0.25}"
#define LENS "{" GRID ", " MASS ", " SOURCE ", " LIGHT ", " PSF ", \"precision\": \"double\""
enum { H = 48, W = 40, N = H * W, SIGMAS = 5 };

static lm_status simulate(const char *params, const lm_record *in, const lm_record *noise, lm_record **ret,
                          lm_error *err)
{
    lm_record *out[LM_MAX_PORTS] = {NULL};
    apply_input inputs[3] = {{"in", &in, 1}, {NULL, NULL, 0}, {NULL, NULL, 0}};
    if (noise) inputs[1] = (apply_input){"noise", &noise, 1};
    lm_status status = apply_step(&lm_op_lens_simulate, params, inputs, 0, out, NULL, err);
    *ret = out[0];
    return status;
}

static lm_record *image_of(const char *params, const lm_record *in)
{
    LM_OWN(lm_record) none = record_new("lens");
    lm_record *out = NULL;
    lm_error err = {0};
    OK(simulate(params, in ? in : none, NULL, &out, &err), &err);
    return out;
}

static const double *map(const lm_record *record, const char *name, size_t h, size_t w)
{
    const lm_tensor *tensor = lm_record_tensor(record, name);
    if (!tensor || tensor->dtype != LM_F64 || tensor->ndim != 2 || tensor->shape[0] != h || tensor->shape[1] != w)
        FAIL("no map \"%s\" of %zu x %zu doubles", name, h, w);
    return tensor->data;
}

static const unsigned char *mask_of(const lm_record *record)
{
    const lm_tensor *tensor = lm_record_tensor(record, "mask");
    CHECK(tensor && tensor->dtype == LM_U8);
    return tensor->data;
}

static double sum_of(const double *values, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += values[i];
    return sum;
}

static bool same(const lm_record *a, const lm_record *b, const char *name)
{
    const lm_tensor *x = lm_record_tensor(a, name), *y = lm_record_tensor(b, name);
    return x && y && x->bytes == y->bytes && memcmp(x->data, y->data, x->bytes) == 0;
}

/* ---- light ------------------------------------------------------------------------------------------------------- */

TEST(the_truth_is_what_the_renderer_gives)
{
    LM_OWN(lm_record) out = image_of(LENS ", \"sub\": 3}", NULL);
    const lm_tensor *kernel = lm_record_tensor(out, "psf");
    CHECK(kernel && kernel->shape[0] == kernel->shape[1] && kernel->shape[0] % 2 == 1);
    NEAR(sum_of(kernel->data, lm_tensor_count(kernel)), 1, ABS(1e-13));
    NEAR(lm_value_real(lm_record_value(out, "psf_pixel")), 0.1 / 3, REL(1e-15));
    lm_psf psf;
    lm_error err = {0};
    OK(lm_psf_init(&psf, kernel->data, kernel->shape[0], kernel->shape[1], LM_PSF_MIDDLE, false, &err), &err);
    const lm_mass masses[] = {{LM_MASS_SIE, {1.2, 0.7}}, {LM_MASS_SHEAR, {0.03, -0.02}}};
    lm_light source = lm_light_of(lm_light_kind_of("sersic")), light = lm_light_of(lm_light_kind_of("gaussian"));
    static const struct {
        const char *name;
        double value;
    } of_source[] = {{"I_e", 30}, {"R_e", 0.3}, {"n", 1}, {"q", 0.8}, {"phi", 0.4}, {"x", 0.1}},
      of_light[] = {{"flux", 50}, {"sigma", 0.3}, {"q", 0.9}};
    for (size_t i = 0; i < 6; i++) source.param[lm_light_param_of(source.kind, of_source[i].name)] = of_source[i].value;
    for (size_t i = 0; i < 3; i++) light.param[lm_light_param_of(light.kind, of_light[i].name)] = of_light[i].value;
    OK(lm_light_check(&source, &err), &err);
    OK(lm_light_check(&light, &err), &err);
    const lm_frame frame = {.h = H, .w = W, .pixel = 0.1, .sub = 3};
    const lm_scene scene = {masses, 2, &source, 1, &light, 1};
    LM_OWN(lm_renderer) renderer = NULL;
    OK(lm_renderer_new(&frame, &psf, &renderer, &err), &err);
    double want[N];
    lm_render(renderer, &scene, want);
    for (size_t i = 0; i < N; i++) want[i] *= 0.01; /* a pixel's area */
    NEAR_ARRAY(map(out, "truth", H, W), want, N, REL(1e-14));
    NEAR_ARRAY(map(out, "image", H, W), want, N, REL(1e-14)); /* there is no noise */
    NEAR(sum_of(map(out, "noise", H, W), N), 0, ABS(0));
    for (size_t i = 0; i < N; i++) CHECK(mask_of(out)[i] == 0);
    lm_psf_done(&psf);
}

/* A tensor at the samples' scale is the same PSF; at the pixels' scale it is applied to pixels. */
TEST(a_psf_may_be_a_tensor)
{
    LM_OWN(lm_record) own = image_of(LENS ", \"sub\": 2}", NULL);
    LM_OWN(lm_record) in = record_new("lens");
    lm_error err = {0};
    OK(lm_record_put(in, "kernel", lm_tensor_ref(lm_record_tensor(own, "psf")), &err), &err);
    record_set(in, "which", lm_text_value("kernel"));
#define BARE "{" GRID ", " MASS ", " SOURCE ", " LIGHT ", \"precision\": \"double\""
    LM_OWN(lm_record)
    fine = image_of(BARE ", \"sub\": 2, \"psf\": {\"type\": \"tensor\", \"tensor\": \"{which}\", \"samples\": 2}}", in);
    NEAR_ARRAY(map(fine, "truth", H, W), map(own, "truth", H, W), N, REL(1e-14));
    /* with sub 1 both scales are one; with more, a PSF on pixels blurs pixels: a single bright one is nothing at all */
    const double one = 7;
    record_f64(in, "one", &one, 2, (const size_t[]){1, 1});
    LM_OWN(lm_record) bare = image_of(BARE ", \"sub\": 4}", NULL);
    LM_OWN(lm_record) coarse = image_of(BARE ", \"sub\": 4, \"psf\": {\"type\": \"tensor\", \"tensor\": \"one\"}}", in);
    NEAR_ARRAY(map(coarse, "truth", H, W), map(bare, "truth", H, W), N, REL(1e-13));
    NEAR(map(coarse, "psf", 1, 1)[0], 1, ABS(1e-15));
    NEAR(lm_value_real(lm_record_value(coarse, "psf_pixel")), 0.1, REL(1e-15));
    /* and one that stands beside the middle moves light by one pixel: to the right, up */
    const double right[] = {0, 0, 1, 0, 0, 0}, up[] = {0, 0, 0, 0, 1, 0};
    record_f64(in, "right", right, 2, (const size_t[]){2, 3});
    record_f64(in, "up", up, 2, (const size_t[]){3, 2});
    LM_OWN(lm_record)
    to_right = image_of(BARE ", \"sub\": 4, \"psf\": {\"type\": \"tensor\", \"tensor\": \"right\"}}", in);
    LM_OWN(lm_record) upwards = image_of(BARE ", \"sub\": 4, \"psf\": {\"type\": \"tensor\", \"tensor\": \"up\"}}", in);
    const double *still = map(bare, "truth", H, W);
    for (size_t j = 0; j < H; j++)
        for (size_t i = 0; i + 1 < W; i++)
            NEAR(map(to_right, "truth", H, W)[j * W + i + 1], still[j * W + i], ABS(1e-12));
    for (size_t i = 0; i < N - W; i++) NEAR(map(upwards, "truth", H, W)[i + W], still[i], ABS(1e-12));
}

TEST(a_psf_may_be_larger_than_the_image)
{
#define SMALL "{\"grid\": {\"shape\": [3, 2], \"pixel\": 0.5}, " LIGHT ", \"precision\": \"double\""
    LM_OWN(lm_record)
    out = image_of(
        SMALL ", \"psf\": {\"type\": \"moffat\", \"fwhm\": 3, \"beta\": 1.5, \"q\": 0.6, \"phi\": \"30 deg\"}}", NULL);
    CHECK(lm_record_tensor(out, "psf")->shape[0] > 3);
    for (size_t i = 0; i < 6; i++) CHECK(map(out, "truth", 3, 2)[i] > 0 && map(out, "truth", 3, 2)[i] < 50);
}

TEST(units_are_a_factor)
{
#define NOISY LENS ", \"noise\": {\"exposure\": 200, \"sky\": 0.3, \"background\": 0.01}"
    LM_OWN(lm_record) rate = image_of(NOISY "}", NULL);
    LM_OWN(lm_record) bright = image_of(NOISY ", \"units\": \"brightness\"}", NULL);
    LM_OWN(lm_record) counts = image_of(NOISY ", \"units\": \"counts\"}", NULL);
    static const char *const names[] = {"truth", "noise"}; /* another parameter is another key: other random numbers */
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < N; i++) {
            NEAR(map(bright, names[k], H, W)[i], map(rate, names[k], H, W)[i] * 100, REL(1e-12));
            NEAR(map(counts, names[k], H, W)[i], map(rate, names[k], H, W)[i] * 200, REL(1e-12));
        }
    EQUAL_TEXT(lm_record_tensor(rate, "image")->unit, "electron/s");
    EQUAL_TEXT(lm_record_tensor(bright, "image")->unit, "electron/s/arcsec^2");
    EQUAL_TEXT(lm_record_tensor(counts, "noise")->unit, "electron");
}

TEST(the_source_is_shown_where_it_is)
{
    LM_OWN(lm_record)
    out = image_of(LENS ", \"source_grid\": {\"shape\": [5, 7], \"pixel\": 0.2, \"offset\": [0.1, 0]}}", NULL);
    const double *source = map(out, "source", 5, 7);
    for (size_t i = 0; i < 35; i++) CHECK(source[i] <= source[17] && source[i] > 0); /* (0.1, 0) is the middle */
    NEAR(source[17], 30 * exp(2 - 1 / 3.0 + 4 / 405.0 + 46 / 25515.0), REL(1e-3));   /* I_e e^b, b of n = 1 */
    LM_OWN(lm_record) single = image_of("{" GRID ", " LIGHT "}", NULL);
    EQUAL_INT(lm_record_tensor(single, "image")->dtype, LM_F32);
    CHECK(!lm_record_tensor(single, "source") && !lm_record_tensor(single, "psf"));
}

/* ---- points ------------------------------------------------------------------------------------------------------ */

#define POINT "\"points\": [{\"x\": 0.05, \"y\": 0.08, \"flux\": 3}]"

/* All light of the four images arrives, where they are, whichever way the PSF is given and sampled. */
TEST(a_quasar_is_seen_four_times)
{
    const lm_mass masses[] = {{LM_MASS_SIE, {1.2, 0.7}}, {LM_MASS_SHEAR, {0.03, -0.02}}};
    lm_image *images = NULL;
    size_t n = 0;
    lm_error err = {0};
    OK(lm_images_find(masses, 2, 0.05, 0.08, NULL, NULL, &images, &n, &err), &err);
    EQUAL_INT(n, 4);
    double flux = 0, x = 0, y = 0;
    for (size_t i = 0; i < n; i++) {
        flux += 3 * fabs(images[i].magnification);
        x += 3 * fabs(images[i].magnification) * images[i].x;
        y += 3 * fabs(images[i].magnification) * images[i].y;
    }
    lm_free(images);
#define QUASAR                                                                                                         \
    "{\"grid\": {\"shape\": [80, 90], \"pixel\": 0.1, \"offset\": [0.2, -0.1]}, " MASS ", " POINT                      \
    ", \"precision\": \"double\""
    LM_OWN(lm_record) in = record_new("quasar");
    LM_OWN(lm_record) first = image_of(QUASAR ", " PSF "}", in);
    lm_error put_err = {0};
    OK(lm_record_put(in, "psf", lm_tensor_ref(lm_record_tensor(first, "psf")), &put_err), &put_err);
    static const char *const psfs[] = {
        ", " PSF "}",
        ", " PSF ", \"sub\": 3}",
        ", \"psf\": {\"type\": \"moffat\", \"fwhm\": 0.2, \"beta\": 4}, \"sub\": 2}",
        ", \"psf\": {\"type\": \"tensor\", \"tensor\": \"psf\"}, \"sub\": 2}",
        ", \"psf\": {\"type\": \"tensor\", \"tensor\": \"psf\", \"samples\": 2}, \"sub\": 2}",
        "}"};
    for (size_t k = 0; k < 6; k++) {
        char params[1024];
        snprintf(params, sizeof params, "%s%s", QUASAR, psfs[k]);
        LM_OWN(lm_record) out = image_of(params, in);
        const double *truth = map(out, "truth", 80, 90);
        double sum = 0, at_x = 0, at_y = 0;
        for (size_t j = 0; j < 80; j++)
            for (size_t i = 0; i < 90; i++) {
                double p = truth[j * 90 + i];
                sum += p;
                at_x += p * (((double)i - 44.5) * 0.1 + 0.2);
                at_y += p * (((double)j - 39.5) * 0.1 - 0.1);
            }
        NEAR(sum, flux, REL(1e-9));
        /* centres of light: a cut Gaussian is not quite centred when it is moved, nor is light that was put into larger
         * pixels; without a PSF, half a pixel at most */
        NEAR(at_x / sum, x / flux, ABS(k == 5 ? 0.05 : k == 3 ? 1e-10 : 1e-4));
        NEAR(at_y / sum, y / flux, ABS(k == 5 ? 0.05 : k == 3 ? 1e-10 : 1e-4));
    }
}

TEST(points_in_front_are_not_lensed)
{
    LM_OWN(lm_record)
    out = image_of("{" GRID ", " MASS
                   ", \"precision\": \"double\", \"points\": [{\"x\": 0.96, \"y\": -1.04, \"flux\": 4, "
                   "\"lensed\": false}, {\"x\": 50, \"y\": 1e5, \"flux\": 9, \"lensed\": false}]}",
                   NULL);
    for (size_t i = 0; i < N; i++) /* x = (i - 19.5) 0.1, y = (j - 23.5) 0.1 */
        NEAR(map(out, "truth", H, W)[i], i == 13 * W + 29 ? 4 : 0, ABS(0));
}

/* ---- noise ------------------------------------------------------------------------------------------------------- */

/* Mean and variance of (image - truth)/noise over good pixels. Returns how many. */
static size_t residuals(const lm_record *out, double *ret_mean, double *ret_variance)
{
    const double *image = map(out, "image", H, W), *truth = map(out, "truth", H, W), *noise = map(out, "noise", H, W);
    const unsigned char *mask = mask_of(out);
    double sum = 0, square = 0;
    size_t n = 0;
    for (size_t i = 0; i < N; i++) {
        if (mask[i]) continue;
        double r = (image[i] - truth[i]) / noise[i];
        sum += r;
        square += r * r;
        n++;
    }
    *ret_mean = sum / (double)n;
    *ret_variance = square / (double)n;
    return n;
}

TEST(residuals_are_those_of_the_map)
{
    static const char *const noises[] = {
        "{\"background\": 0.02}",
        "{\"exposure\": 500}",
        "{\"exposure\": 2000, \"exposures\": 4, \"sky\": 0.1, \"dark\": 0.02, \"read_noise\": 5, \"background\": 0.01}",
        "{\"exposure\": 2000, \"exposures\": 3, \"sky\": 0.1, \"read_noise\": 2, \"gain\": 4, \"full_well\": 1e5}",
        "{\"exposure\": 300, \"sky\": 5, \"photons\": \"gaussian\"}",
        "{\"exposure\": 2000, \"sky\": 0.1, \"missing\": 0.05, \"hot\": 0.05, \"cosmic_rays\": {\"rate\": 3}}",
    };
    for (size_t k = 0; k < 6; k++) {
        char params[1024];
        snprintf(params, sizeof params, "%s, \"noise\": %s, \"units\": \"%s\"}", LENS, noises[k],
                 k % 2 ? "brightness" : "rate");
        LM_OWN(lm_record) out = image_of(params, NULL);
        double mean, variance;
        size_t n = residuals(out, &mean, &variance);
        CHECK(k == 5 ? 100 * n < 95 * N && 2 * n > N : n == N);
        NEAR(mean, 0, ABS(SIGMAS / sqrt((double)n)));
        NEAR(variance, 1, ABS(SIGMAS * sqrt(2.5 / (double)n)));
    }
}

/* Without read-out and sky the camera counts: whole numbers, with the mean and the variance of the light. */
TEST(photons_are_counted)
{
    LM_OWN(lm_record)
    out = image_of("{" GRID
                   ", \"light\": [{\"type\": \"gaussian\", \"flux\": 1e6, \"sigma\": 1000}], \"units\": \"counts\", "
                   "\"precision\": \"double\", \"noise\": {\"exposure\": 2000}}",
                   NULL);
    const double *image = map(out, "image", H, W), *truth = map(out, "truth", H, W);
    double mean = truth[0], variance = 0; /* 3.18 electrons */
    for (size_t i = 0; i < N; i++) {
        CHECK(image[i] == floor(image[i]) && image[i] >= 0);
        NEAR(truth[i], mean, REL(1e-4));
        variance += (image[i] - mean) * (image[i] - mean) / N;
    }
    NEAR(mean, 1e6 / (2 * M_PI * 1e6) * 0.01 * 2000, REL(1e-4));
    NEAR(sum_of(image, N) / N, mean, ABS(SIGMAS * sqrt(mean / N)));
    NEAR(variance, mean, ABS(SIGMAS * sqrt((2 * mean * mean + mean) / N)));
}

TEST(an_observer_makes_the_map_from_the_data)
{
    LM_OWN(lm_record) out = image_of(LENS ", \"noise\": {\"exposure\": 500, \"sky\": 0.2, \"map\": \"data\"}}", NULL);
    const double *image = map(out, "image", H, W), *noise = map(out, "noise", H, W);
    for (size_t i = 0; i < N; i++) NEAR(noise[i], sqrt((fmax(image[i], 0) + 0.2) / 500), REL(1e-12));
}

TEST(the_same_step_gives_the_same_image)
{
#define CAMERA LENS ", \"noise\": {\"exposure\": 500, \"sky\": 0.2, \"read_noise\": 3, \"background\": 0.01}}"
    LM_OWN(lm_record) in = record_new("lens");
    LM_OWN(lm_record) a = image_of(CAMERA, in);
    LM_OWN(lm_record) b = image_of(CAMERA, in);
    CHECK(same(a, b, "image") && same(a, b, "noise") && same(a, b, "mask") && same(a, b, "truth"));
}

TEST(bad_pixels_are_marked)
{
    LM_OWN(lm_record)
    out = image_of(
        LENS ", \"noise\": {\"exposure\": 1000, \"exposures\": 2, \"missing\": 0.1, \"full_well\": 400, \"sky\": 0.1, "
             "\"cosmic_rays\": {\"rate\": 2, \"thickness\": 15, \"pitch\": 15}}}",
        NULL);
    const double *image = map(out, "image", H, W), *truth = map(out, "truth", H, W);
    const unsigned char *mask = mask_of(out);
    size_t missing = 0, full = 0, hit = 0;
    for (size_t i = 0; i < N; i++) {
        CHECK(isnan(image[i]) == ((mask[i] & 1) != 0));
        CHECK(isfinite(map(out, "noise", H, W)[i]));
        missing += mask[i] & 1;
        full += (mask[i] & 2) != 0;
        hit += (mask[i] & 8) != 0;
        CHECK((mask[i] & 4) == 0);
        if (truth[i] > 0.9) CHECK(mask[i] & 2); /* 450 electrons, 7 sigma above 400 with the sky's 50 */
        if ((mask[i] & 2) && !(mask[i] & 9)) CHECK(image[i] <= 0.8 - 0.1 + 1e-12);
    }
    NEAR((double)missing, 0.1 * N, ABS(SIGMAS * sqrt(0.09 * N)));
    CHECK(full > 10 && full < N / 2);
    CHECK(hit > 5 && hit < N / 4);
}

TEST(a_background_may_be_correlated)
{
    LM_OWN(lm_record) in = record_new("lens");
    static const double xi[] = {0, 0.0001, 0, 0.0001, 0.0004, 0.0001, 0, 0.0001, 0}, power[] = {4, 1, 1, 1};
    record_f64(in, "xi", xi, 2, (const size_t[]){3, 3});
    record_f64(in, "P", power, 2, (const size_t[]){2, 2});
    record_set(in, "sigma", lm_real(0.05));
    static const struct {
        const char *noise;
        double sigma, next; /* correlation with the neighbour; NAN: not known here */
    } cases[] = {{"{\"background\": \"{sigma}\", \"correlated\": {\"scale\": 1.5, \"slope\": 4}}", 0.05, NAN},
                 {"{\"correlated\": {\"function\": \"xi\"}}", 0.02, 0.25},
                 {"{\"background\": 0.04, \"correlated\": {\"function\": \"xi\"}}", 0.04, 0.25},
                 {"{\"background\": 0.03, \"correlated\": {\"power\": \"P\"}}", 0.03, NAN},
                 {"{\"background\": 0.03, \"correlated\": {\"table\": [[0, 3], [0.2, 1], [0.5, 0.1]]}}", 0.03, NAN}};
    for (size_t k = 0; k < 5; k++) {
        char params[1024];
        snprintf(params, sizeof params, "%s, \"noise\": %s}", LENS, cases[k].noise);
        LM_OWN(lm_record) out = image_of(params, in);
        const double *image = map(out, "image", H, W), *truth = map(out, "truth", H, W);
        double variance = 0, next = 0;
        for (size_t i = 0; i < N; i++) {
            NEAR(map(out, "noise", H, W)[i], cases[k].sigma, REL(1e-12));
            double r = image[i] - truth[i];
            variance += r * r / N;
            if (i % W) next += r * (image[i - 1] - truth[i - 1]) / (N - H);
        }
        NEAR(variance, cases[k].sigma * cases[k].sigma, REL(0.5)); /* neighbours are alike: fewer numbers than pixels */
        CHECK(next / variance > 0.1);
        if (!isnan(cases[k].next)) NEAR(next / variance, cases[k].next, ABS(0.12));
    }
}

TEST(learned_noise_is_added)
{
    LM_OWN(lm_record) in = record_new("lens");
    LM_OWN(lm_record) sample = record_new("lens");
    LM_OWN(lm_record) out = NULL;
    LM_OWN(lm_record) none = NULL;
    double *values = lm_alloc(N, sizeof *values);
    lm_error err = {0};
    CHECK(values);
    for (size_t i = 0; i < N; i++) values[i] = 1e-3 * (double)i - 0.5;
    record_f64(sample, "noise", values, 2, (const size_t[]){H, W});
    OK(simulate(LENS "}", in, sample, &out, &err), &err);
    for (size_t i = 0; i < N; i++) NEAR(map(out, "image", H, W)[i] - map(out, "truth", H, W)[i], values[i], ABS(1e-14));
    NEAR(sum_of(map(out, "noise", H, W), N), 0, ABS(0));
    record_f64(sample, "noise", values, 2, (const size_t[]){W, H});
    EQUAL_INT(simulate(LENS "}", in, sample, &none, &err), LM_EINPUT);
    CONTAINS(err.text, "48 x 40");
    lm_free(values);
}

/* ---- limits ------------------------------------------------------------------------------------------------------ */

TEST(extremes_have_an_answer)
{
    static const char *const cases[] = {
        "{\"grid\": {\"shape\": [1, 1], \"pixel\": 1}}", /* nothing at all */
        "{\"grid\": {\"shape\": [1, 1], \"pixel\": 1}, \"noise\": {}}",
        "{\"grid\": {\"shape\": [5, 5], \"pixel\": 0.1}, \"mass\": [{\"type\": \"sie\", \"theta_E\": 1, \"q\": "
        "1}], " SOURCE "}",
        "{\"grid\": {\"shape\": [5, 5], \"pixel\": 0.1}, \"mass\": [{\"type\": \"epl\", \"theta_E\": 1, \"q\": "
        "0.9999999, "
        "\"t\": 1}], " SOURCE "}",
        "{\"grid\": {\"shape\": [5, 5], \"pixel\": 0.1}, \"mass\": [{\"type\": \"epl\", \"theta_E\": 1, \"q\": 0.05, "
        "\"t\": "
        "1.2}], " SOURCE
        ", \"light\": [{\"type\": \"sersic\", \"I_e\": 1, \"R_e\": 1, \"n\": 8, \"q\": 0.05}], \"noise\": "
        "{\"exposure\": 100}}", /* centres on a pixel */
        "{" GRID ", " LIGHT ", \"noise\": {\"exposure\": 1e-9, \"read_noise\": 1}}",
        "{" GRID ", " LIGHT ", \"noise\": {\"exposure\": 1e12}}",
        "{" GRID ", " LIGHT ", \"noise\": {\"missing\": 1}, \"psf\": {\"type\": \"gaussian\", \"fwhm\": 1e-5}}",
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        LM_OWN(lm_record) out = image_of(cases[k], NULL);
        const lm_tensor *image = lm_record_tensor(out, "image"), *truth = lm_record_tensor(out, "truth");
        for (size_t i = 0; i < lm_tensor_count(image); i++) {
            CHECK(isfinite(((const float *)truth->data)[i]));
            CHECK(k == 7 ? isnan(((const float *)image->data)[i]) : isfinite(((const float *)image->data)[i]));
        }
    }
}

static void refused(const char *rest, const char *why)
{
    LM_OWN(lm_record) in = record_new("lens");
    LM_OWN(lm_record) out = NULL;
    lm_error err = {0};
    char params[1024];
    const double flat[] = {1, 1, 1, 1, 1, 1, 1, 1, 1}, cube[] = {1};
    record_f64(in, "flat", flat, 2, (const size_t[]){3, 3});
    record_f64(in, "cube", cube, 3, (const size_t[]){1, 1, 1});
    record_set(in, "minus", lm_real(-1));
    record_set(in, "unknown", lm_real((double)NAN));
    record_set(in, "half", lm_real(1.5));
    snprintf(params, sizeof params, "{" GRID ", " LIGHT ", %s}", rest);
    EQUAL_INT(simulate(params, in, NULL, &out, &err), LM_EINPUT);
    CONTAINS(err.text, why);
    CHECK(!out);
}

TEST(what_cannot_be_is_named)
{
    refused("\"noise\": {\"exposure\": 0}", "an exposure of 0 s");
    refused("\"noise\": {\"exposure\": \"{minus}\"}", "an exposure of -1 s");
    refused("\"noise\": {\"exposure\": \"{unknown}\"}", "\"exposure\" is \"null\": a number is wanted");
    refused("\"noise\": {\"exposure\": \"{absent}\"}", "absent");
    refused("\"noise\": {\"exposure\": 1, \"exposures\": \"{half}\"}", "a whole number is wanted");
    refused("\"noise\": {\"background\": -1}", "\"background\" of \"noise\" is -1");
    refused("\"noise\": {\"read_noise\": 3}", "no \"exposure\" in which light is collected");
    refused("\"noise\": {\"cosmic_rays\": {}}", "no \"exposure\" in which they hit");
    refused("\"noise\": {\"backgroud\": 1}", "no \"backgroud\"");
    refused("\"noise\": {\"exposure\": 9, \"photons\": \"many\"}", "\"photons\" of \"noise\" is \"many\"");
    refused("\"noise\": {\"correlated\": {\"scale\": 2}}", "needs \"background\"");
    refused("\"noise\": {\"background\": 1, \"correlated\": {}}", "takes one of");
    refused("\"noise\": {\"background\": 1, \"correlated\": {\"scale\": 1, \"power\": \"flat\"}}", "takes one of");
    refused("\"noise\": {\"correlated\": {\"function\": \"flat\"}}", "negative in places");
    refused("\"noise\": {\"correlated\": {\"function\": \"cube\"}}", "no image of real numbers");
    refused("\"noise\": {\"correlated\": {\"table\": [[1, 2], [3]]}}", "a list of pairs");
    refused("\"units\": \"counts\"", "no \"exposure\"");
    refused("\"psf\": {\"type\": \"gaussian\"}", "\"psf\" needs \"fwhm\"");
    refused("\"psf\": {\"type\": \"moffat\", \"fwhm\": 1}", "\"beta\"");
    refused("\"psf\": {\"type\": \"moffat\", \"fwhm\": 1, \"beta\": 1}", "beta of 1");
    refused("\"psf\": {\"type\": \"airy\"}", "\"type\" of \"psf\" is \"airy\"");
    refused("\"psf\": {\"type\": \"gaussian\", \"fwhm\": \"{minus}\"}", "\"fwhm\" of \"psf\" is -1");
    refused("\"psf\": {\"type\": \"tensor\", \"tensor\": \"none\"}", "no tensor \"none\"");
    refused("\"psf\": {\"type\": \"tensor\", \"tensor\": \"flat\", \"samples\": 3}", "a PSF of 3 samples");
    refused("\"sub\": 64, \"psf\": {\"type\": \"gaussian\", \"fwhm\": 90}", "a PSF of");
    refused("\"points\": [{\"x\": 1}]", "needs a \"flux\"");
    refused("\"points\": [{\"flux\": 1, \"z\": 1}]", "no \"z\"");
    refused("\"mass\": [{\"type\": \"sis\", \"theta_E\": 1}], \"points\": [{\"flux\": 1}]", "ring");
    refused("\"sub\": \"{minus}\"", "sub");
}

/* ---- in a graph -------------------------------------------------------------------------------------------------- */

typedef struct {
    char id[64];
    double sum;
} kept;

static void keep(void *arg, const lm_record *record, const char *order)
{
    (void)order;
    kept *k = arg;
    snprintf(k->id, sizeof k->id, "%s", lm_record_id(record));
    k->sum = sum_of(map(record, "image", 6, 6), 36);
}

/* The seed and nothing else decides what is drawn; and a node without inputs is one image. */
TEST(a_graph_makes_one_image)
{
    static bool ready;
    if (!ready) lm_registry_builtin(lm_builtin_operators);
    ready = true;
    double sums[3];
    for (size_t i = 0; i < 3; i++) {
        if (chdir(test_folder())) FAIL("no way into the test's folder");
        FILE *file = fopen("graph.yaml", "w");
        CHECK(file);
        fprintf(file,
                "lensmill: 1\nseed: %d\nnodes:\n  shot: {op: lens.simulate, with: {grid: {shape: [6, 6], pixel: 0.1}, "
                "light: "
                "[{type: gaussian, flux: 5, sigma: 0.2}], precision: double, noise: {exposure: 100}}}\n",
                i == 2 ? 8 : 7);
        CHECK(!fclose(file));
        LM_OWN(lm_graph) graph = NULL;
        char *errors = NULL;
        if (lm_graph_load("graph.yaml", NULL, 0, &graph, &errors)) FAIL("%s", errors);
        kept k = {0};
        lm_run_options options = {.workers = 1 + (unsigned)i, .tap = "shot", .tap_fn = keep, .tap_arg = &k};
        lm_run_report report = {0};
        lm_error err = {0};
        OK(lm_run_graph(graph, &options, &report, &err), &err);
        EQUAL_TEXT(k.id, "shot");
        sums[i] = k.sum;
        lm_run_report_done(&report);
    }
    CHECK(sums[0] == sums[1]);
    CHECK(sums[0] != sums[2]);
}
