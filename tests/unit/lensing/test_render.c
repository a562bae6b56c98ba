/* Images of lenses against independent programs, and where the answer is known. */
#include "tests/test.h"
#include "tests/unit/lensing/reference.h"

#include "operators/core/lensing/render.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The components of the JSON, which are caustics': the source's R_e on its major axis, b_n by series. */
static lm_mass mass_of(const json_t *c)
{
    const char *kind = json_string_value(json_object_get(c, "kind"));
    if (!strcmp(kind, "shear"))
        return (lm_mass){LM_MASS_SHEAR, {reference_number(c, "gamma1"), reference_number(c, "gamma2"), 0, 0}};
    double x = reference_number(c, "x0"), y = reference_number(c, "y0"), q = reference_number(c, "q"),
           phi = reference_number(c, "phi"), theta_E = reference_number(c, "Rein");
    if (!strcmp(kind, "sie")) return (lm_mass){LM_MASS_SIE, {theta_E, q, phi, 0, x, y}};
    if (!strcmp(kind, "epl")) return (lm_mass){LM_MASS_EPL, {theta_E, reference_number(c, "t"), q, phi, x, y}};
    FAIL("an unknown mass: %s", kind);
}

static lm_light sersic_of(const json_t *c, bool lenstronomy)
{
    static const char *const ours[] = {"I_e", "R_e", "n", "q", "phi", "x", "y"};
    static const char *const theirs[] = {"Ie", "Re", "n", "q", "phi", "x0", "y0"};
    const lm_light_kind_info *kind = lm_light_kind_of("sersic");
    lm_light light = lm_light_of(kind);
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        light.param[lm_light_param_of(kind, ours[i])] = reference_number(c, theirs[i]);
    int radius = lm_light_option_of(kind, "radius");
    light.option[radius] = lm_light_word_of(&kind->options[radius], "major");
    if (lenstronomy) { /* a straight line for b_n, and a floor */
        int form = lm_light_option_of(kind, "b_n");
        light.option[form] = lm_light_word_of(&kind->options[form], "linear");
        light.param[lm_light_param_of(kind, "R_min")] = 1e-4;
    }
    lm_error err = {0};
    OK(lm_light_check(&light, &err), &err);
    return light;
}

static void against(const char *name, bool lenstronomy, bool with_psf, double tolerance)
{
    char path[128];
    snprintf(path, sizeof path, "reference/images/%s.json", name);
    json_t *about = reference_json(test_shared(path));
    snprintf(path, sizeof path, "reference/images/%s.fits", name);
    const char *fits = test_shared(path);
    const json_t *lens = json_object_get(about, "lens"), *source = json_object_get(about, "source");
    const json_t *light = json_object_get(about, "lens_light");
    lm_mass masses[4];
    lm_light sources[4], front;
    lm_scene scene = {masses, json_array_size(lens), sources, json_array_size(source), &front, json_is_object(light)};
    CHECK(scene.n_masses <= 4 && scene.n_source <= 4);
    for (size_t i = 0; i < scene.n_masses; i++) masses[i] = mass_of(json_array_get(lens, i));
    for (size_t i = 0; i < scene.n_source; i++) sources[i] = sersic_of(json_array_get(source, i), lenstronomy);
    if (scene.n_light) front = sersic_of(light, lenstronomy);

    size_t side = (size_t)reference_number(about, "pixels"), n = 0;
    lm_frame frame = {side, side, reference_number(about, "pixelscale"),
                      0,    0,    (unsigned)reference_number(about, "subsampling")};
    lm_psf psf = {0};
    lm_error err = {0};
    if (with_psf) {
        const json_t *shape = json_object_get(about, "psf_shape");
        size_t h = (size_t)json_integer_value(json_array_get(shape, 0)),
               w = (size_t)json_integer_value(json_array_get(shape, 1));
        double *pixels = reference_hdu(fits, "PSF", &n);
        EQUAL_INT(n, h * w);
        OK(lm_psf_init(&psf, pixels, h, w, LM_PSF_MIDDLE, false, &err), &err);
        lm_free(pixels);
    }
    char hdu[32];
    snprintf(hdu, sizeof hdu, "%s%s", lenstronomy ? "LENSTRONOMY" : "CAUSTICS", with_psf ? "" : "_NOPSF");
    double *want = reference_hdu(fits, hdu, &n);
    EQUAL_INT(n, side * side);
    double *got = lm_alloc(n, sizeof *got);
    CHECK(got);
    LM_OWN(lm_renderer) renderer = NULL;
    OK(lm_renderer_new(&frame, with_psf ? &psf : NULL, &renderer, &err), &err);
    lm_render(renderer, &scene, got);
    double worst = 0, peak = 0;
    for (size_t i = 0; i < n; i++) {
        if (!(fabs(got[i] - want[i]) <= worst)) worst = fabs(got[i] - want[i]);
        peak = fmax(peak, want[i]);
    }
    if (!(worst <= tolerance * peak)) FAIL("%s: %g off, the peak is %g", name, worst, peak);
    if (getenv("LENSING_VERBOSE"))
        printf("%s%s %.1e of the peak\n", name, with_psf ? "" : " without PSF", worst / peak);
    lm_psf_done(&psf);
    lm_free(want), lm_free(got);
    json_decref(about);
}

TEST(images_equal_those_of_caustics)
{
    static const char *const names[] = {"sie_shear_gauss", "epl_shear_moffat", "sie_lens_light"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        against(names[i], false, false, 1e-13); /* rounding */
        against(names[i], false, true, 1e-13);  /* of transforms too */
    }
    against("no_psf_sub1", false, false, 1e-13);
}

/* Without a PSF: with one, lenstronomy has no light beyond the frame. */
TEST(images_equal_those_of_lenstronomy)
{
    /* its SIE has a core of 1e-10 arcsec: the reference says 6e-10 of the peak */
    against("no_psf_sub1", true, false, 2e-9);
    against("sie_shear_gauss", true, false, 2e-9);
    against("sie_lens_light", true, false, 2e-9);
    against("epl_shear_moffat", true, false, 1e-12);
}

static lm_light gaussian(double flux, double sigma, double x, double y)
{
    const lm_light_kind_info *kind = lm_light_kind_of("gaussian");
    lm_light light = lm_light_of(kind);
    light.param[lm_light_param_of(kind, "flux")] = flux;
    light.param[lm_light_param_of(kind, "sigma")] = sigma;
    light.param[lm_light_param_of(kind, "x")] = x;
    light.param[lm_light_param_of(kind, "y")] = y;
    lm_error err = {0};
    OK(lm_light_check(&light, &err), &err);
    return light;
}

/* Without a lens the sum is the flux; behind a sheet of mass, which magnifies by 1/(1 - kappa)^2, that times more. */
TEST(surface_brightness_is_conserved)
{
    enum { H = 70, W = 90 };
    double image[H * W];
    lm_light light = gaussian(3, 0.2, 0.1, -0.15);
    lm_mass sheet = {LM_MASS_SHEET, {0.5, 0, 0}};
    lm_frame frame = {H, W, 0.05, 0.2, -0.1, 2};
    lm_error err = {0};
    LM_OWN(lm_renderer) renderer = NULL;
    OK(lm_renderer_new(&frame, NULL, &renderer, &err), &err);
    lm_scene plain = {.light = &light, .n_light = 1},
             lensed = {.masses = &sheet, .n_masses = 1, .source = &light, .n_source = 1};
    double sum = 0, magnified = 0;
    lm_render(renderer, &plain, image);
    for (size_t i = 0; i < H * W; i++) sum += image[i] * 0.05 * 0.05;
    lm_render(renderer, &lensed, image);
    for (size_t i = 0; i < H * W; i++) magnified += image[i] * 0.05 * 0.05;
    NEAR(sum, 3, REL(1e-9));
    NEAR(magnified, 12, REL(1e-3)); /* a little lies beyond the frame */
}

/* Light beyond the border comes in through the PSF: a frame cut out of a larger one is the same. */
TEST(light_from_outside_is_blurred_in)
{
    enum { SMALL = 20, LARGE = 60, KERNEL = 9 };
    double kernel[KERNEL * KERNEL], small[SMALL * SMALL], large[LARGE * LARGE];
    for (size_t i = 0; i < KERNEL * KERNEL; i++)
        kernel[i] = 1 / (1.0 + (double)(i % KERNEL) + 0.5 * (double)(i / KERNEL)); /* skew */
    lm_psf psf = {0};
    lm_error err = {0};
    OK(lm_psf_init(&psf, kernel, KERNEL, KERNEL, LM_PSF_MIDDLE, true, &err), &err);
    lm_light light = gaussian(1, 0.4, 0.5, 0.45);
    lm_scene scene = {.light = &light, .n_light = 1};
    LM_OWN(lm_renderer) a = NULL;
    LM_OWN(lm_renderer) b = NULL;
    OK(lm_renderer_new(&(lm_frame){SMALL, SMALL, 0.05, 0, 0, 1}, &psf, &a, &err), &err);
    OK(lm_renderer_new(&(lm_frame){LARGE, LARGE, 0.05, 0, 0, 1}, &psf, &b, &err), &err);
    lm_render(a, &scene, small);
    lm_render(b, &scene, large);
    for (size_t j = 0; j < SMALL; j++)
        for (size_t i = 0; i < SMALL; i++) NEAR(small[j * SMALL + i], large[(j + 20) * LARGE + i + 20], REL(1e-12));
    lm_psf_done(&psf);
}

TEST(frames_that_cannot_be_are_refused)
{
    static const lm_frame frames[] = {
        {0, 4, 1, 0, 0, 1}, {4, 4, 0, 0, 0, 1},    {4, 4, NAN, 0, 0, 1},          {4, 4, 1, NAN, 0, 1},
        {4, 4, 1, 0, 0, 0}, {4, 4, 1, 0, 0, 1000}, {1 << 20, 1 << 20, 1, 0, 0, 4}};
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        LM_OWN(lm_renderer) renderer = NULL;
        lm_error err = {0};
        EQUAL_INT(lm_renderer_new(&frames[i], NULL, &renderer, &err), LM_EINPUT);
        CHECK(!renderer && *err.text);
    }
}

/* ---- fewer samples, and more ----------------------------------------------------------------------------------------- */

enum { ADAPT_SIDE = 48 };

/* A Gaussian PSF on parts, turned so that it is no product of a column and a row unless `product`; with its pixels `apart` parts
 * apart it blurs the means of as many finer samples. */
static void adapt_psf(lm_psf *psf, size_t side, size_t apart, bool product)
{
    size_t whole = side * apart;
    double *at = lm_alloc(whole * whole, sizeof *at), scale = (double)side / 6;
    CHECK(at);
    for (size_t i = 0; i < side; i++)
        for (size_t j = 0; j < side; j++) {
            double y = ((double)i - (double)(side / 2)) / scale, x = ((double)j - (double)(side / 2)) / scale;
            double cross = product ? 0 : 0.7 * x * y;
            at[(i * apart + apart / 2) * whole + j * apart + apart / 2] = exp(-(x * x + y * y + cross) / 2);
        }
    lm_error err = {0};
    OK(lm_psf_init(psf, at, whole, whole, LM_PSF_MIDDLE, true, &err), &err);
    lm_free(at);
}

static void render_once(const lm_frame *frame, const lm_psf *psf, double tolerance, const lm_scene *scene, double *ret,
                        size_t *ret_refined)
{
    lm_error err = {0};
    LM_OWN(lm_renderer) r = NULL;
    if (tolerance > 0) OK(lm_renderer_new_adaptive(frame, psf, tolerance, &r, &err), &err);
    else OK(lm_renderer_new(frame, psf, &r, &err), &err);
    lm_render(r, scene, ret);
    if (ret_refined) *ret_refined = lm_renderer_refined(r);
}

static double off_the_peak(const double *got, const double *want, size_t n)
{
    double worst = 0, peak = 0;
    for (size_t i = 0; i < n; i++) {
        if (!(fabs(got[i] - want[i]) <= worst)) worst = fabs(got[i] - want[i]);
        peak = fmax(peak, fabs(want[i]));
    }
    return worst / peak;
}

static lm_light disc(double n, double R_e, double x, double y)
{
    const lm_light_kind_info *kind = lm_light_kind_of("sersic");
    lm_light light = lm_light_of(kind);
    static const char *const names[] = {"I_e", "R_e", "n", "q", "phi", "x", "y"};
    const double values[] = {1, R_e, n, 0.8, 0.4, x, y};
    for (size_t i = 0; i < 7; i++) light.param[lm_light_param_of(kind, names[i])] = values[i];
    lm_error err = {0};
    OK(lm_light_check(&light, &err), &err);
    return light;
}

/* Against 7 x 7 samples in each of 3 x 3 parts, whose own error is a 49th of that of 3 x 3, twice that at a sharp cusp: far
 * better than these, and as good as
 * the tolerance asks. */
TEST(adaptive_images_are_converged)
{
    enum { N = ADAPT_SIDE * ADAPT_SIDE, SUB = 3 };
    static const lm_mass masses[] = {{LM_MASS_SIE, {0.7, 0.7, 0.5, 0, 0.02, -0.03}},
                                     {LM_MASS_SHEAR, {0.04, -0.03, 0, 0}}};
    double *got = lm_alloc(3 * N, sizeof *got), *uniform = got + N, *want = uniform + N;
    CHECK(got);
    for (int which = 0; which < 4; which++) {
        lm_light source = disc(1, 0.15, 0.05, 0.01), front = disc(2, 0.3, 0.02, -0.03);
        lm_scene scene = {masses, 2, &source, 1, &front, which == 2};
        lm_psf psf = {0}, fine = {0}; /* which == 3: none */
        adapt_psf(&psf, 15, 1, which == 1);
        unsigned fine_sub = which == 3 ? 15 : 7;
        adapt_psf(&fine, 15, fine_sub, which == 1);
        lm_frame frame = {ADAPT_SIDE, ADAPT_SIDE, 0.05, 0.01, 0, SUB}, finer = frame;
        finer.sub *= fine_sub;
        render_once(&finer, which == 3 ? NULL : &fine, 0, &scene, want, NULL);
        render_once(&frame, which == 3 ? NULL : &psf, 0, &scene, uniform, NULL);
        double plain = off_the_peak(uniform, want, N), before = INFINITY;
        size_t refined = 0, last = 0;
        static const double tolerances[] = {1e-2, 1e-3, 1e-4, 1e-5};
        for (size_t t = 0; t < 4; t++) {
            render_once(&frame, which == 3 ? NULL : &psf, tolerances[t], &scene, got, &refined);
            double off = off_the_peak(got, want, N);
            CHECK(refined > last && refined < 2 * (size_t)N);
            if (!(off <= tolerances[t] + 2 * plain / (double)(fine_sub * fine_sub)))
                FAIL("scene %d: %g off at a tolerance of %g", which, off, tolerances[t]);
            if (!(off <= before + plain / (double)(fine_sub * fine_sub)))
                FAIL("scene %d: %g off, a smaller tolerance than %g", which, off, before);
            before = off;
            last = refined;
        }
        if (!(before <= plain / 10)) FAIL("scene %d: %g off, uniform samples %g", which, before, plain);
        if (getenv("LENSING_VERBOSE"))
            printf("scene %d: uniform %.1e, adaptive %.1e, %zu refined\n", which, plain, before, refined);
        lm_psf_done(&psf), lm_psf_done(&fine);
    }
    lm_free(got);
}

/* A source, and a light in front, that are smaller than a pixel and lie between samples: their flux is there. */
TEST(small_lights_do_not_slip_through)
{
    enum { N = ADAPT_SIDE * ADAPT_SIDE };
    double image[N];
    lm_frame frame = {ADAPT_SIDE, ADAPT_SIDE, 0.05, 0, 0, 4};
    static const lm_mass sheet = {LM_MASS_SHEET, {0.5, 0, 0}};
    for (int lensed = 0; lensed <= 1; lensed++)
        for (int k = 0; k < 20; k++) {
            lm_light small = gaussian(3, 0.006, 0.013 * k - 0.1, 0.3 - 0.0191 * k);
            lm_scene scene = {&sheet, 1, &small, (size_t)lensed, &small, (size_t)!lensed};
            render_once(&frame, NULL, 1e-3, &scene, image, NULL);
            double sum = 0;
            for (size_t i = 0; i < N; i++) sum += image[i] * 0.05 * 0.05;
            NEAR(sum, lensed ? 12 : 3, REL(0.02)); /* 24 samples along a pixel, 3 of them along sigma */
        }
}

/* Where almost all pixels are refined their corrections go through transforms: the same image. */
TEST(many_refined_pixels_are_blurred_together)
{
    enum { N = ADAPT_SIDE * ADAPT_SIDE, SUB = 3, FINE = 7 };
    double *got = lm_alloc(2 * N, sizeof *got), *want = got + N;
    CHECK(got);
    lm_light lights[40];
    for (size_t k = 0; k < 40; k++)
        lights[k] = gaussian(1, 0.04, fmod(0.618 * (double)k, 1) * 2.4 - 1.2, fmod(0.755 * (double)k, 1) * 2.4 - 1.2);
    lm_scene scene = {.light = lights, .n_light = 40};
    lm_psf psf = {0}, fine = {0};
    adapt_psf(&psf, 45, 1, false);
    adapt_psf(&fine, 45, FINE, false);
    lm_frame frame = {ADAPT_SIDE, ADAPT_SIDE, 0.05, 0, 0, SUB}, finer = frame;
    finer.sub *= FINE;
    size_t refined;
    render_once(&frame, &psf, 1e-5, &scene, got, &refined);
    render_once(&finer, &fine, 0, &scene, want, NULL);
    CHECK(refined > N / 4);
    CHECK(off_the_peak(got, want, N) <= 5e-4); /* that many finer samples */
    lm_psf_done(&psf), lm_psf_done(&fine);
    lm_free(got);
}

/* A PSF that is a product is blurred with in two passes, another by transforms; a rounding more makes it another. */
TEST(products_are_blurred_as_others_are)
{
    enum { N = ADAPT_SIDE * ADAPT_SIDE };
    double *one = lm_alloc(2 * N, sizeof *one), *other = one + N;
    CHECK(one);
    static const lm_mass masses[] = {{LM_MASS_SIE, {0.7, 0.7, 0.5, 0, 0.02, -0.03}}};
    lm_light source = disc(1, 0.15, 0.05, 0.01);
    lm_scene scene = {masses, 1, &source, 1, NULL, 0};
    lm_frame frame = {ADAPT_SIDE, ADAPT_SIDE - 7, 0.05, 0, 0, 2};
    for (size_t side = 4; side < 16; side++) { /* even sides too: the origin is not the middle */
        lm_psf psf = {0};
        adapt_psf(&psf, side, 1, true);
        render_once(&frame, &psf, 0, &scene, one, NULL);
        psf.at[0] += 1e-13;
        render_once(&frame, &psf, 0, &scene, other, NULL);
        CHECK(off_the_peak(one, other, ADAPT_SIDE * (ADAPT_SIDE - 7)) <= 3e-13); /* what was added, and rounding */
        lm_psf_done(&psf);
    }
    lm_free(one);
}

/* A border of the PSF that holds nothing changes no image. */
TEST(empty_borders_of_a_psf_do_not_matter)
{
    enum { N = 20, KERNEL = 5, WIDE = 17 };
    double kernel[KERNEL * KERNEL], wide[WIDE * WIDE] = {0}, a[N * N], b[N * N];
    for (size_t i = 0; i < KERNEL * KERNEL; i++) {
        kernel[i] = 1 / (1.0 + (double)(i % KERNEL) + 0.5 * (double)(i / KERNEL));
        wide[(i / KERNEL + 6) * WIDE + i % KERNEL + 6] = kernel[i];
    }
    lm_psf small = {0}, large = {0};
    lm_error err = {0};
    OK(lm_psf_init(&small, kernel, KERNEL, KERNEL, LM_PSF_MIDDLE, true, &err), &err);
    OK(lm_psf_init(&large, wide, WIDE, WIDE, LM_PSF_MIDDLE, true, &err), &err);
    lm_light light = gaussian(1, 0.2, 0.3, 0.25);
    lm_scene scene = {.light = &light, .n_light = 1};
    render_once(&(lm_frame){N, N, 0.05, 0, 0, 1}, &small, 0, &scene, a, NULL);
    render_once(&(lm_frame){N, N, 0.05, 0, 0, 1}, &large, 0, &scene, b, NULL);
    for (size_t i = 0; i < N * N; i++) NEAR(a[i], b[i], REL(1e-12));
    lm_psf_done(&small), lm_psf_done(&large);
}

TEST(tolerances_that_cannot_be_are_refused)
{
    static const double wrong[] = {0, -1, 1, NAN, INFINITY};
    for (size_t i = 0; i < 5; i++) {
        LM_OWN(lm_renderer) renderer = NULL;
        lm_error err = {0};
        EQUAL_INT(lm_renderer_new_adaptive(&(lm_frame){4, 4, 1, 0, 0, 2}, NULL, wrong[i], &renderer, &err), LM_EINPUT);
        CHECK(!renderer && *err.text);
    }
}

/* Every allocation of a renderer fails in turn. */
TEST(a_renderer_survives_want_of_memory)
{
    lm_psf psf = {0};
    adapt_psf(&psf, 9, 1, false);
    for (uint64_t n = 1;; n++) {
        LM_OWN(lm_renderer) renderer = NULL;
        lm_error err = {0};
        lm_alloc_fail_at(n);
        lm_status status = lm_renderer_new_adaptive(&(lm_frame){12, 9, 0.1, 0, 0, 3}, &psf, 1e-3, &renderer, &err);
        lm_alloc_fail_at(0);
        if (!status) {
            CHECK(n > 10 && renderer);
            break;
        }
        EQUAL_INT(status, LM_EMEMORY);
        CHECK(!renderer);
    }
    lm_psf_done(&psf);
}
