/* reconstruct.linear: a source that is known comes back, what the record brings along, and what is refused. */
#include "tests/apply.h"
#include "tests/test.h"

#include "operators/core/lensing/light.h"
#include "operators/core/lensing/render.h"
#include "runtime/random.h"

#include <math.h>
#include <string.h>

extern const lm_operator lm_op_reconstruct_linear;

enum { SIDE = 50, PIXELS = SIDE * SIDE, PSF = 7 };

#define PIXEL 0.08
#define LENS                                                                                                           \
    "[{\"type\": \"sie\", \"theta_E\": 1.1, \"q\": 0.8, \"phi\": 0.5}, {\"type\": \"shear\", \"gamma1\": 0.03, "       \
    "\"gamma2\": 0.01}]"

static const lm_mass masses[] = {{LM_MASS_SIE, {1.1, 0.8, 0.5, 0, 0, 0}}, {LM_MASS_SHEAR, {0.03, 0.01, 0, 0}}};

static lm_light gaussian(double flux, double sigma, double x, double y)
{
    const lm_light_kind_info *kind = lm_light_kind_of("gaussian");
    lm_light light = lm_light_of(kind);
    light.param[lm_light_param_of(kind, "flux")] = flux;
    light.param[lm_light_param_of(kind, "sigma")] = sigma;
    light.param[lm_light_param_of(kind, "q")] = 0.9;
    light.param[lm_light_param_of(kind, "x")] = x;
    light.param[lm_light_param_of(kind, "y")] = y;
    lm_error err = {0};
    OK(lm_light_check(&light, &err), &err);
    return light;
}

/* A lensed Gaussian, blurred, with noise; `front`: a lens galaxy of that flux before it. */
static lm_record *observe(double front, bool mask, bool attributes)
{
    static double image[PIXELS], noise[PIXELS], bad[PIXELS], psf[PSF * PSF];
    lm_error err = {0};
    for (size_t i = 0; i < PSF * PSF; i++) {
        double x = (double)(i % PSF) - 3, y = (double)(i / PSF) - 3;
        psf[i] = exp(-(x * x + y * y) / 2.4);
    }
    lm_psf kernel;
    OK(lm_psf_init(&kernel, psf, PSF, PSF, LM_PSF_MIDDLE, true, &err), &err);
    /* The scene is seen through sub-pixels of a quarter; the PSF is on pixels, so that it is put on the pixels' means.
     * */
    lm_frame sky = {SIDE + PSF - 1, SIDE + PSF - 1, PIXEL, 0, 0, 4};
    lm_light source = gaussian(1, 0.2, 0.05, 0.1), lens = gaussian(front, 0.4, 0, 0);
    lm_scene scene = {masses, 2, &source, 1, &lens, front > 0};
    LM_OWN(lm_renderer) renderer = NULL;
    LM_OWN(lm_convolver) convolver = NULL;
    OK(lm_renderer_new(&sky, NULL, &renderer, &err), &err);
    OK(lm_convolver_new(&kernel, SIDE, SIDE, LM_EDGE_OPEN, false, &convolver, &err), &err);
    double *seen = lm_alloc(sky.h * sky.w, sizeof *seen);
    CHECK(seen);
    lm_render(renderer, &scene, seen);
    lm_convolve_f64(convolver, seen, image);
    lm_free(seen);
    lm_psf_done(&kernel);
    lm_digest key = {{9}};
    lm_random random = lm_random_stream(&key, 0);
    for (size_t i = 0; i < PIXELS; i++) {
        noise[i] = 0.03;
        image[i] += noise[i] * lm_random_normal(&random);
        double x = PIXEL * ((double)(i % SIDE) - (SIDE - 1) / 2.0), y = PIXEL * ((double)(i / SIDE) - (SIDE - 1) / 2.0);
        bad[i] = hypot(x, y) >= 1.9;
    }
    lm_record *record = record_new("lens");
    size_t shape[2] = {SIDE, SIDE}, kernel_shape[2] = {PSF, PSF};
    record_f64(record, "image", image, 2, shape);
    record_f64(record, "noise", noise, 2, shape);
    record_f64(record, "psf", psf, 2, kernel_shape);
    if (mask) record_f64(record, "mask", bad, 2, shape);
    if (attributes) {
        record_set(record, "pixel", lm_real(PIXEL));
        record_set(record, "mass", lm_text_value(LENS));
    }
    return record;
}

static lm_status linear(const char *params, const lm_record *in, lm_record **ret, lm_error *err)
{
    lm_record *out[LM_MAX_PORTS] = {NULL};
    const apply_input inputs[] = {{"in", &in, 1}, {NULL, NULL, 0}};
    lm_status status = apply_step(&lm_op_reconstruct_linear, params, inputs, 0, out, NULL, err);
    *ret = out[0];
    return status;
}

static const double *plane(const lm_record *record, const char *name, size_t h, size_t w)
{
    const lm_tensor *tensor = lm_record_tensor(record, name);
    if (!tensor || tensor->ndim != 2 || tensor->shape[0] != h || tensor->shape[1] != w)
        FAIL("no %zu x %zu values \"%s\"", h, w, name);
    return tensor->data;
}

static double number(const lm_record *record, const char *name)
{
    if (!lm_record_attr(record, name)) FAIL("no attribute \"%s\"", name);
    return lm_value_real(lm_record_value(record, name));
}

static double truth_at(double x, double y)
{
    lm_light source = gaussian(1, 0.2, 0.05, 0.1);
    double value = 0;
    lm_light_add(&source, 1, &x, &y, &value);
    return value;
}

/* How far a source is from the truth, in units of its errors (rms), within 0.5 arcsec; and its largest value. */
static double misses(const lm_record *out, size_t h, size_t w, double *ret_peak)
{
    const double *source = plane(out, "source", h, w), *error = plane(out, "source_error", h, w);
    double pixel = number(out, "source_pixel"), sum = 0, n = 0;
    *ret_peak = 0;
    for (size_t i = 0; i < h * w; i++) {
        double x = number(out, "source_x") + pixel * ((double)(i % w) - (double)(w - 1) / 2),
               y = number(out, "source_y") + pixel * ((double)(i / w) - (double)(h - 1) / 2);
        if (hypot(x, y) > 0.5) continue;
        CHECK(error[i] > 0);
        sum += pow((source[i] - truth_at(x, y)) / error[i], 2);
        n++;
        *ret_peak = fmax(*ret_peak, source[i]);
    }
    CHECK(n > 20);
    return sqrt(sum / n);
}

/* The lens and the size of pixels come with the record, the mask is its tensor. */
TEST(a_known_source_comes_back)
{
    lm_error err = {0};
    LM_OWN(lm_record) in = observe(0, true, true);
    LM_OWN(lm_record) out = NULL;
    OK(linear("{\"source\": {\"shape\": [36, 32], \"prior\": \"curvature\"}, \"draws\": 3}", in, &out, &err), &err);
    double peak, off = misses(out, 36, 32, &peak);
    CHECK(off > 0.3 &&
          off < 1.6); /* errors are of the right size; a smooth source is smoother than its prior's draws */
    NEAR(peak, truth_at(0.05, 0.1), REL(0.05));
    NEAR(number(out, "chi2_reduced"), 1, ABS(0.08));
    const double *model = plane(out, "model", SIDE, SIDE), *residual = plane(out, "residual", SIDE, SIDE);
    const double *image = lm_record_tensor(in, "image")->data, *mask = lm_record_tensor(in, "mask")->data;
    double chi2 = 0;
    int64_t n = 0;
    for (size_t i = 0; i < PIXELS; i++) {
        CHECK(isnan(model[i]) == (mask[i] > 0) && isnan(residual[i]) == (mask[i] > 0));
        if (mask[i] > 0) continue;
        NEAR(residual[i], (image[i] - model[i]) / 0.03, ABS(1e-12));
        chi2 += residual[i] * residual[i];
        n++;
    }
    NEAR(number(out, "chi2"), chi2, REL(1e-12));
    EQUAL_INT(lm_record_value(out, "n_pixels").integer, n);
    const lm_tensor *draws = lm_record_tensor(out, "source_draws");
    CHECK(draws && draws->ndim == 3 && draws->shape[0] == 3 && draws->shape[1] == 36 && draws->shape[2] == 32);
    const double *source = plane(out, "source", 36, 32), *error = plane(out, "source_error", 36, 32), *d = draws->data;
    double spread = 0;
    for (size_t i = 0; i < 3 * 36 * 32; i++) spread += pow((d[i] - source[i % (36 * 32)]) / error[i % (36 * 32)], 2);
    NEAR(spread / (3 * 36 * 32), 1, ABS(0.25)); /* correlated: far fewer than 3456 free numbers */
    LM_OWN(lm_record) more = NULL;              /* more draws begin with the same */
    OK(linear("{\"source\": {\"shape\": [36, 32], \"prior\": \"curvature\"}, \"draws\": 0}", in, &more, &err), &err);
    CHECK(!lm_record_tensor(more, "source_draws"));
    NEAR(number(more, "ln_evidence"), number(out, "ln_evidence"), ABS(0));
}

/* The evidence prefers the lens that is there. */
TEST(a_wrong_lens_has_less_evidence)
{
    lm_error err = {0};
    LM_OWN(lm_record) in = observe(0, false, false);
    double best = NAN;
    for (int k = 0; k < 3; k++) {
        char params[512];
        snprintf(
            params, sizeof params,
            "{\"pixel\": 0.08, \"mask\": {\"annulus\": [0.2, 1.8], \"centre\": [0.01, 0]}, \"sub\": 2, \"source\": "
            "{\"shape\": [24, 24]}, \"mass\": [{\"type\": \"sie\", \"theta_E\": %g, \"q\": 0.8, \"phi\": 0.5}, "
            "{\"type\": \"shear\", \"gamma1\": 0.03, \"gamma2\": 0.01}]}",
            k == 0   ? 1.1
            : k == 1 ? 1.05
                     : 1.15);
        LM_OWN(lm_record) out = NULL;
        OK(linear(params, in, &out, &err), &err);
        if (k == 0) best = number(out, "ln_evidence");
        else CHECK(number(out, "ln_evidence") < best - 50);
    }
}

TEST(a_lens_galaxy_is_solved_for_with_the_source)
{
    lm_error err = {0};
    LM_OWN(lm_record) in = observe(4, true, true);
    LM_OWN(lm_record) out = NULL;
    OK(linear("{\"source\": {\"shape\": [32, 32]}, \"light\": [{\"type\": \"gaussian\", \"flux\": 1, \"sigma\": 0.4, "
              "\"q\": "
              "0.9}]}",
              in, &out, &err),
       &err);
    const double *amplitude = plane(out, "amplitudes", 1, 2);
    CHECK(amplitude[1] > 0 && amplitude[1] < 0.5);
    NEAR(amplitude[0], 4, ABS(5 * amplitude[1])); /* its flux, in units of that of the component */
    double peak;
    CHECK(misses(out, 32, 32, &peak) < 1.6);
    record_set(in, "light", lm_text_value("[{\"type\": \"gaussian\", \"flux\": 2, \"sigma\": 0.4, \"q\": 0.9}]"));
    LM_OWN(lm_record) again = NULL; /* or as an attribute */
    OK(linear("{\"source\": {\"shape\": [32, 32]}}", in, &again, &err), &err);
    NEAR(plane(again, "amplitudes", 1, 2)[0], amplitude[0] / 2, REL(1e-6));
}

TEST(a_triangulated_source_has_vertices_and_a_picture)
{
    lm_error err = {0};
    LM_OWN(lm_record) in = observe(0, true, true);
    LM_OWN(lm_record) out = NULL;
    OK(linear(
           "{\"source\": {\"grid\": \"delaunay\", \"n\": 500, \"shape\": [40, 30], \"brightness\": 0.5}, \"draws\": 1}",
           in, &out, &err),
       &err);
    const double *v = plane(out, "vertices", 500, 4);
    double sum = 0, n = 0, peak;
    for (size_t i = 0; i < 500; i++) {
        if (hypot(v[4 * i], v[4 * i + 1]) > 0.5) continue;
        sum += pow((v[4 * i + 2] - truth_at(v[4 * i], v[4 * i + 1])) / v[4 * i + 3], 2);
        n++;
    }
    CHECK(n > 50);
    CHECK(sqrt(sum / n) < 2);
    (void)misses(out, 40, 30, &peak);
    NEAR(peak, truth_at(0.05, 0.1), REL(0.1));
    NEAR(number(out, "chi2_reduced"), 1, ABS(0.1));
}

TEST(a_positive_source_has_no_negative_pixel)
{
    lm_error err = {0};
    LM_OWN(lm_record) in = observe(0, true, true);
    LM_OWN(lm_record) out = NULL;
    OK(linear("{\"source\": {\"shape\": [24, 24]}, \"positive\": true, \"reach\": false, \"sub\": 2}", in, &out, &err),
       &err);
    const double *source = plane(out, "source", 24, 24);
    size_t zeros = 0;
    for (size_t i = 0; i < 24 * 24; i++) {
        CHECK(source[i] >= 0);
        zeros += source[i] == 0;
    }
    CHECK(zeros > 50);
    NEAR(number(out, "chi2_reduced"), 1, ABS(0.1));
}

TEST(solvers_agree)
{
    lm_error err = {0};
    LM_OWN(lm_record) in = observe(0, true, true);
    double dense = 0;
    static const char *const solvers[] = {"dense", "sparse", "iterative"};
    for (int k = 0; k < 3; k++) {
        char params[256];
        LM_OWN(lm_record) out = NULL;
        snprintf(params, sizeof params,
                 "{\"source\": {\"shape\": [20, 20]}, \"sub\": 2, \"lambda\": 3, \"solver\": \"%s\"}", solvers[k]);
        OK(linear(params, in, &out, &err), &err);
        if (k == 0) dense = number(out, "ln_evidence");
        else NEAR(number(out, "ln_evidence"), dense, ABS(1e-6 + 5 * number(out, "ln_evidence_error")));
        CHECK((lm_record_tensor(out, "source_error") != NULL) == (k < 2));
    }
}

TEST(what_cannot_be_is_told)
{
    static const struct {
        const char *params, *text;
    } cases[] = {
        {"{\"source\": {\"shape\": [20]}}", "\"shape\" of \"source\" is a list of two whole numbers"},
        {"{\"source\": {\"prier\": \"zeroth\"}}", "\"source\" has no \"prier\""},
        {"{\"source\": {\"prior\": \"smooth\"}}", "the \"prior\" of \"source\" is unknown: \"smooth\""},
        {"{\"source\": {\"prior\": \"matern32\"}}", "a correlation length of nan arcsec is none"},
        {"{\"source\": {\"grid\": \"delaunay\", \"n\": 2}}", "a triangulated source of 0 vertices"},
        {"{\"mask\": {\"annulus\": [2, 1]}}", "an annulus from 2 to 1 arcsec holds nothing"},
        {"{\"mask\": {\"ring\": [2, 1]}}", "\"mask\" has no \"ring\""},
        {"{\"mask\": {\"exclude\": \"stars\"}}", "the record has no tensor \"stars\" for the mask"},
        {"{\"mask\": {\"exclude\": \"psf\"}}",
         "the mask \"psf\" is not of numbers, one for each of the image's 50 x 50 pixels"},
        {"{\"lambda\": -2}", "a prior of strength -2"},
        {"{\"solver\": \"iterative\", \"draws\": 1}", "the iterative solver has no draws"},
        {"{\"mask\": {\"annulus\": [50, 60]}}", "no pixel of 50 x 50 takes part"},
    };
    LM_OWN(lm_record) in = observe(0, true, true);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        lm_error err = {0};
        LM_OWN(lm_record) out = NULL;
        CHECK(linear(cases[k].params, in, &out, &err) != LM_OK);
        CONTAINS(err.text, cases[k].text);
    }
    lm_error err = {0};
    LM_OWN(lm_record) out = NULL;
    record_set(in, "psf_pixel", lm_real(0.04));
    EQUAL_INT(linear("{}", in, &out, &err), LM_EINPUT);
    CONTAINS(err.text, "the PSF is on pixels of 0.04 arcsec, and the image on pixels of 0.08");
    LM_OWN(lm_record) bare = observe(0, false, false);
    EQUAL_INT(linear("{\"mass\": [{\"type\": \"sis\", \"theta_E\": 1}]}", bare, &out, &err), LM_EINPUT);
    CONTAINS(err.text, "no number \"pixel\"");
    EQUAL_INT(linear("{\"pixel\": 0.08}", bare, &out, &err), LM_EINPUT); /* a record without a lens */
    CONTAINS(err.text, "mass");
}
