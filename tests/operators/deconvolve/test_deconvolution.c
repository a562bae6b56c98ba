/* deconvolve.richardson_lucy, deconvolve.wiener and compare.residuals on records: what they read, leave behind, refuse. */
#include "tests/apply.h"
#include "tests/test.h"

extern const lm_operator lm_op_deconvolve_richardson_lucy, lm_op_deconvolve_wiener, lm_op_compare_residuals;
#define LUCY &lm_op_deconvolve_richardson_lucy
#define WIENER &lm_op_deconvolve_wiener
#define RESIDUALS &lm_op_compare_residuals

enum { H = 30, W = 26, N = H * W, P = 9 };

static double image[N], psf[P * P], mask[N];
static const size_t shape[2] = {H, W}, psf_shape[2] = {P, P};

static uint64_t random_state;
static double uniform(void)
{
    random_state = random_state * 6364136223846793005U + 1442695040888963407U;
    return ((double)(random_state >> 11) + 0.5) / 9007199254740992.0;
}

/* A star and a galaxy, blurred by a Gaussian PSF of sigma 1.5 that sums to 2, in noise of variance 0.01; sky taken off. */
static void make_scene(void)
{
    random_state = 4;
    for (size_t i = 0; i < P * P; i++) {
        double y = (double)(i / P) - 4, x = (double)(i % P) - 4;
        psf[i] = 2 * exp(-(x * x + y * y) / (2 * 2.25)) / (2 * M_PI * 2.25);
    }
    for (size_t i = 0; i < N; i++) {
        double y = (double)(i / W) - 15, x = (double)(i % W) - 12, sy = y + 6, sx = x - 5;
        double noise = sqrt(-2 * log(uniform())) * cos(2 * M_PI * uniform());
        image[i] = 40 * exp(-(sx * sx + sy * sy) / (2 * 2.25)) / (2 * M_PI * 2.25) +
                   2 * exp(-(x * x + 2 * y * y) / (2 * 9.0)) + 0.1 * noise;
        mask[i] = 0;
    }
}

static lm_record *scene(bool single)
{
    make_scene();
    lm_record *record = record_new("a");
    if (single) record_f32(record, "image", image, 2, shape);
    else record_f64(record, "image", image, 2, shape);
    record_f64(record, "psf", psf, 2, psf_shape);
    return record;
}

static double number(const lm_record *record, const char *name)
{
    CHECK(lm_record_attr(record, name));
    return lm_value_real(lm_record_value(record, name));
}

static const lm_tensor *tensor(const lm_record *record, const char *name)
{
    const lm_tensor *t = lm_record_tensor(record, name);
    CHECK(t);
    return t;
}

static double sum_of(const lm_tensor *t)
{
    double sum = 0;
    for (size_t i = 0; i < lm_tensor_count(t); i++) sum += lm_tensor_get(t, i);
    return sum;
}

static lm_status fails(const lm_operator *op, const char *params, const lm_record *in, lm_error *err)
{
    lm_record *out[LM_MAX_PORTS] = {NULL};
    bool ended;
    const apply_input inputs[] = {{"in", &in, 1}, {NULL, NULL, 0}};
    lm_status status = apply_step(op, params, inputs, 0, out, &ended, err);
    CHECK(status);
    CHECK(!out[0]);
    return status;
}

TEST(lucy_leaves_what_the_design_says)
{
    LM_OWN(lm_record) in = scene(true);
    LM_OWN(lm_record) out = apply(LUCY, "{\"iterations\": 20, \"variance\": 0.01}", in);
    const lm_tensor *model = tensor(out, "model");
    EQUAL_INT(model->dtype, LM_F32);
    CHECK(lm_tensor_same_shape(model, tensor(out, "image")));
    CHECK(lm_tensor_same_shape(model, tensor(out, "surround")));
    EQUAL_INT(number(out, "iterations"), 20);
    NEAR(number(out, "variance"), 0.01, REL(1e-15));
    NEAR(number(out, "noise_gain"), 50, REL(1e-15)); /* 5 / 0.1 */
    EQUAL_INT(number(out, "clipped"), 0);
    EQUAL_TEXT(lm_record_value(out, "psf_edge").text, "open");
    EQUAL_TEXT(lm_record_value(out, "psf_centre").text, "middle");
    EQUAL_INT(number(out, "psf_normalised"), 1);
    CHECK(!lm_record_attr(in, "iterations"));
    for (size_t i = 0; i < N; i++) CHECK(lm_tensor_get(model, i) >= 0);
    NEAR(sum_of(model), sum_of(tensor(in, "image")), REL(0.01)); /* a PSF that sums to 2 doubles nothing */
    CHECK(lm_tensor_get(model, 9 * W + 17) > 2 * lm_tensor_get(tensor(in, "image"), 9 * W + 17)); /* the star */
}

TEST(lucy_takes_parameters_from_the_record)
{
    LM_OWN(lm_record) in = scene(false);
    record_set(in, "NOISE", lm_real(0.01));
    record_set(in, "N", lm_int(7));
    LM_OWN(lm_record) a = apply(LUCY, "{\"iterations\": \"{N}\", \"variance\": \"{NOISE}\", \"gain\": 30}", in);
    LM_OWN(lm_record) b = apply(LUCY, "{\"iterations\": 7, \"variance\": 0.01, \"gain\": 30}", in);
    EQUAL_INT(tensor(a, "model")->dtype, LM_F64);
    EQUAL_INT(number(a, "iterations"), 7);
    NEAR(number(a, "noise_gain"), 30, REL(1e-15));
    CHECK(!memcmp(tensor(a, "model")->data, tensor(b, "model")->data, N * sizeof(double)));
    /* the tensor stands in for the parameter, and is not asked where there is one */
    double map[N];
    for (size_t i = 0; i < N; i++) map[i] = 0.01;
    record_f64(in, "variance", map, 2, shape);
    LM_OWN(lm_record) c = apply(LUCY, "{\"iterations\": 7, \"gain\": 30}", in);
    CHECK(!memcmp(tensor(c, "model")->data, tensor(b, "model")->data, N * sizeof(double)));
    NEAR(number(c, "variance"), 0.01, REL(1e-12)); /* a mean of 780 numbers */
    LM_OWN(lm_record) d = apply(LUCY, "{\"iterations\": 7, \"variance\": 0.04, \"gain\": 30}", in);
    NEAR(number(d, "variance"), 0.04, REL(1e-15));
    lm_error err;
    EQUAL_INT(fails(LUCY, "{\"variance\": \"{NOISY}\"}", in, &err), LM_EINPUT);
    CONTAINS(err.text, "NOISY");
}

TEST(lucy_without_a_variance_estimates_it)
{
    LM_OWN(lm_record) in = scene(false);
    LM_OWN(lm_record) out = apply(LUCY, "{\"iterations\": 5, \"edge\": \"zero\"}", in);
    NEAR(number(out, "variance"), 0.01, REL(0.25)); /* 780 pixels: 5 % of scatter, and the star's core */
    CHECK(number(out, "clipped") > 50);
    CHECK(!lm_record_tensor(out, "surround"));
    EQUAL_INT(number(out, "noise_gain"), 1);
}

TEST(lucy_precision_is_as_asked)
{
    LM_OWN(lm_record) in = scene(false);
    LM_OWN(lm_record) single = apply(LUCY, "{\"precision\": \"single\", \"variance\": 0.01}", in);
    LM_OWN(lm_record) exact = apply(LUCY, "{\"precision\": \"double\", \"variance\": 0.01}", in);
    EQUAL_INT(tensor(single, "model")->dtype, LM_F32);
    EQUAL_INT(tensor(exact, "model")->dtype, LM_F64);
    double peak = 0, worst = 0;
    for (size_t i = 0; i < N; i++) {
        double a = lm_tensor_get(tensor(single, "model"), i), b = lm_tensor_get(tensor(exact, "model"), i);
        peak = fmax(peak, b), worst = fmax(worst, fabs(a - b));
    }
    NEAR(worst, 0, ABS(1e-5 * peak)); /* 30 iterations of rounding at 6e-8 */
}

TEST(lucy_repeats_itself_bit_by_bit)
{
    LM_OWN(lm_record) in = scene(true);
    const char *const all[] = {"{\"edge\": \"open\"}", "{\"edge\": \"mirror\", \"method\": \"damped\"}",
                               "{\"edge\": \"nearest\"}", "{\"edge\": \"periodic\", \"method\": \"total_variation\"}"};
    for (size_t i = 0; i < 4; i++) {
        LM_OWN(lm_record) a = apply(LUCY, all[i], in);
        LM_OWN(lm_record) b = apply(LUCY, all[i], in);
        CHECK(!memcmp(tensor(a, "model")->data, tensor(b, "model")->data, N * sizeof(float)));
    }
}

TEST(deconvolution_ignores_the_mask_of_the_record)
{
    const lm_operator *const both[] = {LUCY, WIENER};
    for (size_t k = 0; k < 2; k++) {
        LM_OWN(lm_record) in = scene(false);
        for (size_t i = 0; i < N; i++) mask[i] = i % 13 == 5 ? (i % 2 ? 4 : -1) : 0;
        record_f64(in, "mask", mask, 2, shape);
        LM_OWN(lm_record) a = apply(both[k], "{\"variance\": 0.01}", in);
        for (size_t i = 0; i < N; i++) image[i] = mask[i] != 0 ? 1e5 : image[i];
        record_f64(in, "image", image, 2, shape);
        LM_OWN(lm_record) b = apply(both[k], "{\"variance\": 0.01}", in);
        CHECK(!memcmp(tensor(a, "model")->data, tensor(b, "model")->data, N * sizeof(double)));
        LM_OWN(lm_record) ra = apply(RESIDUALS, "{}", a);
        LM_OWN(lm_record) rb = apply(RESIDUALS, "{}", b);
        NEAR(number(ra, "chi2_reduced"), number(rb, "chi2_reduced"), ABS(0)); /* bad pixels are not in it */
    }
}

/* Residuals by the rule that made the model, found in the attributes: small, whatever the rule. */
TEST(residuals_follow_the_deconvolution)
{
    const char *const rules[] = {"\"edge\": \"open\"",    "\"edge\": \"zero\"",     "\"edge\": \"mirror\"",
                                 "\"edge\": \"nearest\"", "\"edge\": \"periodic\"", "\"centre\": \"peak\"",
                                 "\"normalise\": false",  "\"start\": \"image\"",   "\"flux\": \"free\""};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        LM_OWN(lm_record) in = scene(false);
        for (size_t k = 0; k < N && i != 1 && i != 4; k++) { /* light across the border, if the rule knows any there */
            double x = (double)(k % W);
            image[k] += 3 * exp(-x * x / (2 * 6.25));
        }
        record_f64(in, "image", image, 2, shape);
        char params[128];
        snprintf(params, sizeof params, "{\"iterations\": 100, \"variance\": 0.01, %s}", rules[i]);
        LM_OWN(lm_record) model = apply(LUCY, params, in);
        LM_OWN(lm_record) out = apply(RESIDUALS, "{}", model);
        double chi2 = number(out, "chi2_reduced"), worst = 0;
        const lm_tensor *residual = tensor(out, "residual");
        for (size_t k = 0; k < N; k++) worst = fmax(worst, fabs(lm_tensor_get(residual, k)));
        CHECK(chi2 > 0.4 && chi2 < 1.2); /* 100 iterations follow the noise, some */
        CHECK(worst < 1);
        CHECK(number(out, "whiteness") < 6); /* what is taken from the noise is smooth */
        CHECK(number(out, "whiteness_p") >= 0 && number(out, "whiteness_p") <= 1);
    }
}

TEST(residuals_are_image_less_blurred_model)
{
    make_scene();
    double model[N] = {0}, blurred[N] = {0};
    model[9 * W + 17] = 40, model[15 * W + 12] = 3, model[0] = 2;
    const size_t stars[] = {9 * W + 17, 15 * W + 12, 0};
    for (size_t i = 0; i < N; i++)
        for (size_t s = 0; s < 3; s++) {
            long dy = (long)(i / W) - (long)(stars[s] / W) + 4, dx = (long)(i % W) - (long)(stars[s] % W) + 4;
            if (dy >= 0 && dx >= 0 && dy < P && dx < P) blurred[i] += model[stars[s]] * psf[dy * P + dx];
        }
    double psf_sum = 0, chi2 = 0;
    for (size_t i = 0; i < P * P; i++) psf_sum += psf[i];
    LM_OWN(lm_record) in = record_new("b");
    record_f32(in, "image", image, 2, shape);
    record_f64(in, "psf", psf, 2, psf_shape);
    record_f64(in, "model", model, 2, shape);
    LM_OWN(lm_record) whole =
        apply(RESIDUALS, "{\"edge\": \"zero\", \"variance\": 0.02, \"gain\": 4, \"normalise\": \"no\"}", in);
    for (size_t i = 0; i < N; i++) {
        double want = image[i] - blurred[i];
        NEAR(lm_tensor_get(tensor(whole, "residual"), i), want, ABS(1e-5)); /* float32 of numbers up to 10 */
        chi2 += want * want / (0.02 + blurred[i] / 4);
    }
    NEAR(number(whole, "chi2_reduced"), chi2 / N, REL(1e-6)); /* the image in float32 */
    EQUAL_INT(tensor(whole, "residual")->dtype, LM_F32);
    LM_OWN(lm_record) scaled = apply(RESIDUALS, "{\"edge\": \"zero\"}", in);
    for (size_t i = 0; i < N; i++)
        NEAR(lm_tensor_get(tensor(scaled, "residual"), i), image[i] - blurred[i] / psf_sum, ABS(1e-5));
    CHECK(lm_record_value(scaled, "chi2_reduced").kind == LM_KIND_NULL); /* no noise was given, none is made up */
}

TEST(wiener_leaves_what_the_design_says)
{
    LM_OWN(lm_record) in = scene(true);
    LM_OWN(lm_record) out = apply(WIENER, "{\"method\": \"noise\", \"variance\": 0.01, \"edge\": \"mirror\"}", in);
    EQUAL_INT(tensor(out, "model")->dtype, LM_F32);
    EQUAL_INT(number(out, "iterations"), 1);
    NEAR(number(out, "variance"), 0.01, REL(1e-15));
    EQUAL_TEXT(lm_record_value(out, "psf_edge").text, "mirror");
    CHECK(!lm_record_attr(out, "noise_gain"));
    NEAR(sum_of(tensor(out, "model")), sum_of(tensor(in, "image")), REL(0.02)); /* the mean's S/N is high */
    CHECK(lm_tensor_get(tensor(out, "model"), 9 * W + 17) > 1.2 * lm_tensor_get(tensor(in, "image"), 9 * W + 17));
    LM_OWN(lm_record) compared = apply(RESIDUALS, "{}", out);
    CHECK(number(compared, "chi2_reduced") > 0.1 && number(compared, "chi2_reduced") < 3);
    LM_OWN(lm_record) after = apply(LUCY, "{\"iterations\": 2, \"variance\": 0.01}", in);
    LM_OWN(lm_record) again = apply(WIENER, "{}", after);
    CHECK(!lm_record_tensor(again, "surround") && !lm_record_attr(again, "noise_gain")); /* were another's */
}

TEST(deconvolution_says_what_is_wrong)
{
    const lm_operator *const both[] = {LUCY, WIENER};
    lm_error err;
    for (size_t k = 0; k < 2; k++) {
        LM_OWN(lm_record) in = scene(false);
        for (size_t i = 0; i < P * P; i++) psf[i] = 0;
        record_f64(in, "psf", psf, 2, psf_shape);
        EQUAL_INT(fails(both[k], "{}", in, &err), LM_EINPUT);
        CONTAINS(err.text, "PSF");
        make_scene();
        psf[4] = NAN;
        record_f64(in, "psf", psf, 2, psf_shape);
        EQUAL_INT(fails(both[k], "{}", in, &err), LM_EINPUT);
        CONTAINS(err.text, "column 4");
        make_scene();
        record_f64(in, "psf", psf, 2, psf_shape);
        EQUAL_INT(fails(both[k], "{\"variance\": -1}", in, &err), LM_EINPUT);
        CONTAINS(err.text, "-1");
        for (size_t i = 0; i < N; i++) image[i] = NAN;
        record_f64(in, "image", image, 2, shape);
        EQUAL_INT(fails(both[k], "{}", in, &err), LM_EINPUT);
        CONTAINS(err.text, "30 x 26");
    }
    LM_OWN(lm_record) in = scene(false);
    record_set(in, "GAIN", lm_real(-3));
    EQUAL_INT(fails(LUCY, "{\"gain\": \"{GAIN}\"}", in, &err), LM_EINPUT);
    CONTAINS(err.text, "gain");
    EQUAL_INT(fails(LUCY, "{\"iterations\": 0}", in, &err), LM_EGRAPH);
    double model[N] = {[77] = NAN};
    record_f64(in, "model", model, 2, shape);
    EQUAL_INT(fails(RESIDUALS, "{}", in, &err), LM_EINPUT);
    CONTAINS(err.text, "the model is not finite at row 2, column 25");
}

TEST(lucy_ignores_negative_psf_pixels)
{
    LM_OWN(lm_record) in = scene(false);
    LM_OWN(lm_record) clean = apply(LUCY, "{\"normalise\": false}", in);
    psf[0] = -1e-9;
    record_f64(in, "psf", psf, 2, psf_shape);
    LM_OWN(lm_record) out = apply(LUCY, "{\"normalise\": false}", in);
    for (size_t i = 0; i < N; i++) {
        double a = lm_tensor_get(tensor(out, "model"), i), b = lm_tensor_get(tensor(clean, "model"), i);
        CHECK(a >= 0);
        NEAR(a, b, ABS(0.05)); /* one corner of 0.0007 of the light was lost */
    }
}
