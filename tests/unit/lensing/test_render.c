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
