/* Richardson-Lucy and Wiener against scikit-image's results, and what must hold for any image. */
#include "operators/core/deconvolve.h"
#include "runtime/alloc.h"
#include "tests/test.h"

#include <fitsio.h>

/* ---- images ------------------------------------------------------------------------------------------------------ */

static double *new_image(size_t n)
{
    double *image = lm_alloc(n, sizeof *image);
    CHECK(image);
    return image;
}

static double *read_hdu(const char *path, const char *name, size_t *ret_h, size_t *ret_w)
{
    fitsfile *file = NULL;
    int status = 0;
    long size[2] = {0, 0};
    fits_open_file(&file, path, READONLY, &status);
    fits_movnam_hdu(file, IMAGE_HDU, (char *)(uintptr_t)name, 0, &status);
    fits_get_img_size(file, 2, size, &status);
    CHECK(!status);
    *ret_w = (size_t)size[0];
    *ret_h = (size_t)size[1];
    double *image = new_image(*ret_h * *ret_w);
    fits_read_img(file, TDOUBLE, 1, size[0] * size[1], NULL, image, NULL, &status);
    fits_close_file(file, &status);
    CHECK(!status);
    return image;
}

/* A small generator, so that every run sees the same noise. */
static uint64_t random_state;
static double uniform(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(random_state >> 11) + 0.5) / 9007199254740992.0;
}
static double normal(void)
{
    return sqrt(-2 * log(uniform())) * cos(2 * M_PI * uniform());
}

static lm_psf moffat_psf(size_t h, size_t w, double alpha, bool normalise)
{
    lm_error err;
    double *pixels = new_image(h * w);
    for (size_t i = 0; i < h * w; i++) {
        double y = (double)(i / w) - (double)((h - 1) / 2), x = (double)(i % w) - (double)((w - 1) / 2);
        pixels[i] = pow(1 + (x * x + 1.3 * y * y + 0.4 * x * y) / (alpha * alpha), -2.5);
    }
    lm_psf psf;
    OK(lm_psf_init(&psf, pixels, h, w, LM_PSF_MIDDLE, normalise, &err), &err);
    lm_free(pixels);
    return psf;
}

static double sum_of(const double *image, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += image[i];
    return sum;
}

/* A galaxy and two stars on nothing, blurred as the edge has it. */
static double *scene(size_t h, size_t w)
{
    double *sky = new_image(h * w);
    for (size_t i = 0; i < h * w; i++) {
        double y = (double)(i / w) - 0.55 * (double)h, x = (double)(i % w) - 0.45 * (double)w;
        sky[i] = 40 * exp(-sqrt(x * x + 2 * y * y) / 3) + 0.1;
    }
    sky[(h / 4) * w + w / 4] += 300;
    sky[(h / 5) * w + 3 * w / 4] += 200;
    return sky;
}

static double *blur(const double *sky, size_t h, size_t w, const lm_psf *psf, lm_edge edge)
{
    lm_error err;
    LM_OWN(lm_convolver) c = NULL;
    OK(lm_convolver_new(psf, h, w, edge, false, &c, &err), &err);
    double *data = new_image(h * w);
    lm_convolve_f64(c, sky, data);
    return data;
}

static const lm_lucy_options as_scikit = {
    .iterations = 10, .edge = LM_EDGE_ZERO, .start = LM_LUCY_FLAT, .gain = NAN, .threshold = 3};

static lm_lucy_result lucy(const lm_blurred_image *image, const lm_psf *psf, lm_lucy_options o, double *model)
{
    lm_error err;
    lm_lucy_result result = {0};
    OK(lm_richardson_lucy(image, psf, &o, model, NULL, &result, &err), &err);
    return result;
}

/* ---- against scikit-image 0.26 ----------------------------------------------------------------------------------- */

static void against_scikit(const char *path, const char *hdu, size_t iterations, double filter, bool single)
{
    size_t h, w, ph, pw;
    lm_error err;
    double *image = read_hdu(path, "NORM", &h, &w), *pixels = read_hdu(path, "PSF", &ph, &pw);
    double *want = read_hdu(path, hdu, &h, &w), *model = new_image(h * w);
    lm_psf psf;
    OK(lm_psf_init(&psf, pixels, ph, pw, LM_PSF_MIDDLE, true, &err), &err);
    lm_lucy_options o = as_scikit;
    o.iterations = iterations;
    o.filter_epsilon = filter;
    o.single = single;
    lucy(&(lm_blurred_image){.pixels = image, .h = h, .w = w}, &psf, o, model);
    /* double: rounding alone, of FFTs of other lengths; single: its rounding, which iterations amplify */
    NEAR_ARRAY(model, want, h * w, REL(single ? 2e-5 : 1e-9));
    lm_psf_done(&psf);
    lm_free(image), lm_free(pixels), lm_free(want), lm_free(model);
}

TEST(lucy_agrees_with_scikit_image)
{
    const char *galaxy = test_shared("reference/deconv/galaxy_optical.fits");
    const char *stars = test_shared("reference/deconv/stars_moffat.fits");
    against_scikit(galaxy, "RL_10", 10, 0, false);
    against_scikit(galaxy, "RL_50", 50, 0, false);
    against_scikit(galaxy, "RL_FILTER_10", 10, 1e-2, false);
    against_scikit(stars, "RL_20", 20, 0, false);
    against_scikit(stars, "RL_60", 60, 0, false);
    against_scikit(stars, "RL_FILTER_20", 20, 1e-2, false);
    against_scikit(galaxy, "RL_50", 50, 0, true);
    against_scikit(stars, "RL_60", 60, 0, true);
}

static void wiener_against_scikit(const char *path, const char *hdu, double balance)
{
    size_t h, w, ph, pw;
    lm_error err;
    double *image = read_hdu(path, "NORM", &h, &w), *pixels = read_hdu(path, "PSF", &ph, &pw);
    double *want = read_hdu(path, hdu, &h, &w), *model = new_image(h * w);
    lm_psf psf;
    OK(lm_psf_init(&psf, pixels, ph, pw, LM_PSF_MIDDLE, true, &err), &err);
    lm_wiener_options o = {.method = LM_WIENER_LAPLACIAN, .balance = balance};
    OK(lm_wiener(&(lm_blurred_image){.pixels = image, .h = h, .w = w}, &psf, &o, model, &err), &err);
    NEAR_ARRAY(model, want, h * w, REL(1e-9)); /* rounding alone */
    lm_psf_done(&psf);
    lm_free(image), lm_free(pixels), lm_free(want), lm_free(model);
}

TEST(wiener_agrees_with_scikit_image)
{
    const char *galaxy = test_shared("reference/deconv/galaxy_optical.fits");
    const char *stars = test_shared("reference/deconv/stars_moffat.fits");
    wiener_against_scikit(galaxy, "WIENER_0", 0.1);
    wiener_against_scikit(galaxy, "WIENER_1", 1.0);
    wiener_against_scikit(stars, "WIENER_0", 0.1);
    wiener_against_scikit(stars, "WIENER_1", 1.0);
}

/* ---- what must hold for any image -------------------------------------------------------------------------------- */

enum { H = 40, W = 34, N = H * W };

static const lm_edge all_edges[] = {LM_EDGE_OPEN, LM_EDGE_ZERO, LM_EDGE_MIRROR, LM_EDGE_NEAREST, LM_EDGE_PERIODIC};

static double largest(const double *image, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fabs(image[i]) > most ? fabs(image[i]) : most;
    return most;
}

TEST(lucy_keeps_flux_and_sign)
{
    lm_psf psf = moffat_psf(9, 11, 1.5, true);
    double *sky = scene(H, W), *data = blur(sky, H, W, &psf, LM_EDGE_PERIODIC), *model = new_image(N);
    random_state = 1;
    for (size_t i = 0; i < N; i++) data[i] = fabs(data[i] + 0.3 * normal());
    lm_lucy_options o = as_scikit;
    for (int single = 0; single < 2; single++) {
        o.edge = LM_EDGE_PERIODIC;
        o.iterations = 40;
        o.single = single;
        lm_lucy_result r = lucy(&(lm_blurred_image){.pixels = data, .h = H, .w = W}, &psf, o, model);
        EQUAL_INT(r.iterations, 40);
        EQUAL_INT(r.used, N);
        EQUAL_INT(r.clipped, 0);
        NEAR(sum_of(model, N), sum_of(data, N), REL(single ? 1e-5 : 1e-11)); /* rounding of 40 iterations */
        for (size_t i = 0; i < N; i++) CHECK(model[i] >= 0);
    }
    lm_psf_done(&psf);
    lm_free(sky), lm_free(data), lm_free(model);
}

/* On data without noise, every edge rule finds the sky that made them (its own kind of continuation, at least). */
TEST(lucy_improves_the_fit_with_every_edge)
{
    lm_psf psf = moffat_psf(9, 9, 1.5, true);
    for (size_t e = 0; e < sizeof all_edges / sizeof *all_edges; e++) {
        lm_edge edge = all_edges[e];
        double *sky = scene(H, W), *data = blur(sky, H, W, &psf, edge == LM_EDGE_OPEN ? LM_EDGE_MIRROR : edge);
        double *model = new_image(N), before = 0;
        for (size_t i = 0; i < N; i++) before += fabs(data[i] - sky[i]);
        lm_lucy_options o = as_scikit;
        o.edge = edge;
        o.iterations = 400;
        o.start = LM_LUCY_IMAGE;
        lucy(&(lm_blurred_image){.pixels = data, .h = H, .w = W}, &psf, o, model);
        double after = 0, stars = 0;
        for (size_t i = 0; i < N; i++) after += fabs(model[i] - sky[i]);
        CHECK(after < 0.2 * before);
        stars = model[(H / 4) * W + W / 4];
        NEAR(stars, sky[(H / 4) * W + W / 4], REL(0.05)); /* 400 iterations bring a star back to a few per cent */
        lm_free(sky), lm_free(data), lm_free(model);
    }
    lm_psf_done(&psf);
}

/* Where the frame cuts through light, an open edge neither piles it up at the border nor loses it. */
TEST(lucy_open_edge_leaves_the_border_alone)
{
    enum { BIG = 80, CUT = 20 };
    lm_psf psf = moffat_psf(13, 13, 2, true);
    double *sky = new_image(BIG * BIG);
    for (size_t i = 0; i < BIG * BIG; i++) {
        double y = (double)(i / BIG) - 18, x = (double)(i % BIG) - 40; /* its centre is outside of the cut-out */
        sky[i] = 1 + 30 * exp(-(x * x + y * y) / 60);
    }
    double *wide = blur(sky, BIG, BIG, &psf, LM_EDGE_NEAREST), *data = new_image(40 * 40), *model = new_image(40 * 40);
    double *surround = new_image(40 * 40), worst[2];
    for (size_t i = 0; i < 1600; i++) data[i] = wide[(i / 40 + CUT) * BIG + i % 40 + CUT];
    for (size_t k = 0; k < 2; k++) {
        lm_error err;
        lm_lucy_result r;
        lm_lucy_options o = as_scikit;
        o.edge = k ? LM_EDGE_ZERO : LM_EDGE_OPEN;
        o.iterations = 100;
        o.start = LM_LUCY_MEAN;
        OK(lm_richardson_lucy(&(lm_blurred_image){.pixels = data, .h = 40, .w = 40}, &psf, &o, model, surround, &r,
                              &err),
           &err);
        worst[k] = 0;
        for (size_t i = 0; i < 1600; i++)
            worst[k] = fmax(worst[k], fabs(model[i] - sky[(i / 40 + CUT) * BIG + i % 40 + CUT]));
        if (k) break;
        LM_OWN(lm_convolver) c = NULL; /* image = psf * model + surround */
        OK(lm_convolver_new(&psf, 40, 40, LM_EDGE_ZERO, false, &c, &err), &err);
        double *blurred = new_image(1600);
        lm_convolve_f64(c, model, blurred);
        for (size_t i = 0; i < 1600; i++)
            NEAR(blurred[i] + surround[i], data[i], ABS(0.05)); /* fit of 100 iterations */
        CHECK(surround[20] > 1 && surround[820] < 1);
        lm_free(blurred);
    }
    CHECK(worst[0] < 2.5);          /* the sky rises to 30 beyond the border: not all of it can be known */
    CHECK(worst[1] > 2 * worst[0]); /* scikit-image's rule is far off there */
    lm_psf_done(&psf);
    lm_free(sky), lm_free(wide), lm_free(data), lm_free(model), lm_free(surround);
}

TEST(lucy_does_not_see_bad_pixels)
{
    lm_psf psf = moffat_psf(9, 9, 1.5, true);
    double *sky = scene(H, W), *data = blur(sky, H, W, &psf, LM_EDGE_MIRROR), *model = new_image(N),
           *other = new_image(N);
    uint8_t *mask = lm_alloc(N, 1);
    CHECK(mask);
    for (size_t i = 0; i < N; i++) mask[i] = i % 17 == 3 || (i / W > 20 && i / W < 24 && i % W > 10 && i % W < 20);
    for (size_t e = 0; e < sizeof all_edges / sizeof *all_edges; e++)
        for (lm_lucy_start start = LM_LUCY_MEAN; start <= LM_LUCY_IMAGE; start++) {
            lm_lucy_options o = as_scikit;
            o.edge = all_edges[e];
            o.start = start;
            o.iterations = 60;
            lm_blurred_image image = {.pixels = data, .mask = mask, .h = H, .w = W};
            lm_lucy_result r = lucy(&image, &psf, o, model);
            size_t bad = 0;
            double *changed = new_image(N);
            for (size_t i = 0; i < N; i++) {
                bad += mask[i];
                changed[i] = !mask[i] ? data[i] : i % 3 ? 1e6 : i % 2 ? (double)NAN : -(double)INFINITY;
            }
            EQUAL_INT(r.used, N - bad);
            image.pixels = changed;
            lucy(&image, &psf, o, other);
            CHECK(!memcmp(model, other, N * sizeof *model)); /* to the last bit */
            for (size_t i = 0; i < N; i++) changed[i] = mask[i] ? (double)NAN : data[i];
            image.mask = NULL; /* undefined is as good as masked */
            lucy(&image, &psf, o, other);
            CHECK(!memcmp(model, other, N * sizeof *model));
            lm_free(changed);
        }
    /* and the hole, 3 pixels across, is filled by what the PSF carried out of it */
    lm_lucy_options o = as_scikit;
    o.edge = LM_EDGE_MIRROR;
    o.iterations = 300;
    lucy(&(lm_blurred_image){.pixels = data, .mask = mask, .h = H, .w = W}, &psf, o, model);
    for (size_t x = 11; x < 20; x++) NEAR(model[22 * W + x], sky[22 * W + x], ABS(0.25 * largest(data, N)));
    lm_psf_done(&psf);
    lm_free(sky), lm_free(data), lm_free(model), lm_free(other), lm_free(mask);
}

TEST(lucy_weighted_light_is_that_of_the_good_pixels)
{
    /* sum of (H'w) model = sum of w y after any iteration, whatever the edge */
    lm_psf psf = moffat_psf(7, 7, 1.5, true);
    double *sky = scene(H, W), *data = blur(sky, H, W, &psf, LM_EDGE_MIRROR), *model = new_image(N),
           *seen = new_image(N);
    uint8_t *mask = lm_alloc(N, 1);
    CHECK(mask);
    for (size_t i = 0; i < N; i++) mask[i] = i % 7 == 0;
    const lm_edge edges[] = {LM_EDGE_MIRROR, LM_EDGE_NEAREST, LM_EDGE_PERIODIC};
    for (size_t e = 0; e < 3; e++) {
        lm_error err;
        lm_lucy_options o = as_scikit;
        o.edge = edges[e];
        o.iterations = 7;
        lucy(&(lm_blurred_image){.pixels = data, .mask = mask, .h = H, .w = W}, &psf, o, model);
        LM_OWN(lm_convolver) c = NULL;
        OK(lm_convolver_new(&psf, H, W, edges[e], false, &c, &err), &err);
        double *weight = new_image(N), want = 0, got = 0;
        for (size_t i = 0; i < N; i++) weight[i] = !mask[i];
        lm_convolve_adjoint_f64(c, weight, seen);
        for (size_t i = 0; i < N; i++) want += weight[i] * data[i], got += seen[i] * model[i];
        NEAR(got, want, REL(1e-11)); /* rounding */
        lm_free(weight);
    }
    lm_psf_done(&psf);
    lm_free(sky), lm_free(data), lm_free(model), lm_free(seen), lm_free(mask);
}

TEST(lucy_pedestal_vanishes_with_the_variance)
{
    lm_psf psf = moffat_psf(9, 9, 1.5, true);
    double *sky = scene(H, W), *data = blur(sky, H, W, &psf, LM_EDGE_MIRROR), *plain = new_image(N),
           *model = new_image(N);
    lm_blurred_image image = {.pixels = data, .h = H, .w = W};
    lm_lucy_options o = as_scikit;
    o.iterations = 30;
    o.edge = LM_EDGE_MIRROR;
    lucy(&image, &psf, o, plain);
    double before = (double)INFINITY;
    for (double v = 1; v > 1e-26; v *= 1e-4) {
        image.variance = &v;
        image.n_variance = 1;
        lm_lucy_result r = lucy(&image, &psf, o, model);
        NEAR(r.gain, 5 / sqrt(v), REL(1e-15));
        double difference = 0;
        for (size_t i = 0; i < N; i++) difference = fmax(difference, fabs(model[i] - plain[i]));
        CHECK(difference < before);
        before = difference;
    }
    CHECK(before < 1e-9 * largest(plain, N)); /* a pedestal of 5e-13, some 30 times */
    double zero = 0;
    image.variance = &zero;
    lucy(&image, &psf, o, model);
    CHECK(!memcmp(model, plain, N * sizeof *model));
    double *map = new_image(N); /* a map of one value is that value */
    for (size_t i = 0; i < N; i++) map[i] = 0.25;
    double quarter = 0.25;
    image.variance = &quarter;
    lucy(&image, &psf, o, plain);
    image.variance = map;
    image.n_variance = N;
    lucy(&image, &psf, o, model);
    CHECK(!memcmp(model, plain, N * sizeof *model));
    lm_psf_done(&psf);
    lm_free(sky), lm_free(data), lm_free(plain), lm_free(model), lm_free(map);
}

/* A sky-subtracted image: the model of all light must stay positive, so noise makes it too bright, more so where negative
 * pixels are cut off; keep_flux holds it at the image's light, and the bright star keeps its own either way. */
TEST(lucy_pedestal_keeps_negative_pixels_meaning)
{
    lm_psf psf = moffat_psf(9, 9, 1.5, true);
    double *sky = scene(H, W), *data = blur(sky, H, W, &psf, LM_EDGE_PERIODIC), *model = new_image(N);
    double variance = 1, excess[3], star[3];
    random_state = 5;
    for (size_t i = 0; i < N; i++) data[i] += normal();
    lm_lucy_options o = as_scikit;
    o.edge = LM_EDGE_PERIODIC;
    o.start = LM_LUCY_MEAN;
    o.iterations = 100;
    for (size_t k = 0; k < 3; k++) {
        lm_blurred_image image = {.pixels = data, .h = H, .w = W, .variance = &variance, .n_variance = k < 2};
        o.keep_flux = k == 0;
        lm_lucy_result r = lucy(&image, &psf, o, model);
        CHECK(k < 2 ? r.clipped == 0 : r.clipped > N / 10);
        excess[k] = sum_of(model, N) / sum_of(data, N) - 1;
        star[k] = 0;
        for (size_t y = H / 4 - 2; y <= H / 4 + 2; y++)
            for (size_t x = W / 4 - 2; x <= W / 4 + 2; x++) star[k] += model[y * W + x];
        for (size_t i = 0; i < N; i++) CHECK(model[i] >= 0);
    }
    NEAR(excess[0], 0, ABS(1e-11)); /* rounding */
    CHECK(excess[1] > 0 && excess[1] < 0.8 * excess[2]);
    for (size_t k = 0; k < 3; k++) NEAR(star[k], 302.5, REL(0.1)); /* 25 pixels of noise 1, and wings left behind */
    lm_psf_done(&psf);
    lm_free(sky), lm_free(data), lm_free(model);
}

static double scatter(const double *image, size_t n)
{
    double mean = sum_of(image, n) / (double)n, sum = 0;
    for (size_t i = 0; i < n; i++) sum += (image[i] - mean) * (image[i] - mean);
    return sqrt(sum / (double)n);
}

static double total_variation(const double *image)
{
    double sum = 0;
    for (size_t y = 0; y + 1 < H; y++)
        for (size_t x = 0; x + 1 < W; x++)
            sum += hypot(image[y * W + x + 1] - image[y * W + x], image[(y + 1) * W + x] - image[y * W + x]);
    return sum;
}

TEST(lucy_damped_and_smooth_amplify_less_noise)
{
    lm_psf psf = moffat_psf(9, 9, 1.5, true);
    double *flat = new_image(N), *model = new_image(N), plain, plain_variation;
    random_state = 9;
    for (size_t i = 0; i < N; i++) flat[i] = 400 + 20 * normal(); /* a Poisson mean of 400, near enough */
    lm_lucy_options o = as_scikit;
    o.edge = LM_EDGE_PERIODIC;
    o.start = LM_LUCY_MEAN;
    o.iterations = 100;
    lm_blurred_image image = {.pixels = flat, .h = H, .w = W};
    lucy(&image, &psf, o, model);
    plain = scatter(model, N), plain_variation = total_variation(model);
    CHECK(plain > 3 * 20);
    for (int single = 0; single < 2; single++) {
        o.single = single;
        o.method = LM_LUCY_DAMPED;
        o.threshold = 4;
        lucy(&image, &psf, o, model);
        CHECK(scatter(model, N) < 0.1 * plain); /* all pixels are within 4 sigma of the mean, and so stay there */
        NEAR(sum_of(model, N), 400 * N, REL(0.01));
        o.threshold = 0.01; /* nothing fits to within 0.01 sigma: as plain */
        lucy(&image, &psf, o, model);
        NEAR(scatter(model, N), plain, REL(1e-3));
        o.method = LM_LUCY_TOTAL_VARIATION;
        o.lambda = 0.02;
        lucy(&image, &psf, o, model);
        CHECK(total_variation(model) < 0.1 * plain_variation); /* no structure but noise: next to nothing is left */
        double some = total_variation(model);
        o.lambda = 0.1;
        lucy(&image, &psf, o, model);
        CHECK(total_variation(model) < 0.98 * some);
        NEAR(sum_of(model, N), 400 * N, REL(0.01));
    }
    o.single = false;
    o.lambda = 0; /* is plain */
    lucy(&image, &psf, o, model);
    NEAR(scatter(model, N), plain, REL(1e-9));
    lm_psf_done(&psf);
    lm_free(flat), lm_free(model);
}

TEST(lucy_follows_the_psf_origin)
{
    /* a PSF whose peak is off the middle shifts the model, unless its peak is made the origin */
    lm_error err;
    double pixels[7 * 7] = {0}, *data = new_image(N), *model = new_image(N);
    for (size_t i = 0; i < 49; i++) pixels[i] = exp(-(pow((double)(i / 7) - 1, 2) + pow((double)(i % 7) - 4, 2)) / 2);
    for (size_t i = 0; i < N; i++)
        data[i] = 0.01 + 100 * exp(-(pow((double)(i / W) - 20, 2) + pow((double)(i % W) - 17, 2)) / 2);
    const lm_psf_centre centres[] = {LM_PSF_MIDDLE, LM_PSF_PEAK, LM_PSF_CENTROID};
    const size_t rows[] = {22, 20, 20}, columns[] = {16, 17, 17};
    for (size_t k = 0; k < 3; k++) {
        lm_psf psf;
        OK(lm_psf_init(&psf, pixels, 7, 7, centres[k], true, &err), &err);
        lm_lucy_options o = as_scikit;
        o.edge = LM_EDGE_OPEN;
        o.iterations = 200;
        lucy(&(lm_blurred_image){.pixels = data, .h = H, .w = W}, &psf, o, model);
        size_t peak = 0;
        for (size_t i = 0; i < N; i++) peak = model[i] > model[peak] ? i : peak;
        EQUAL_INT(peak / W, rows[k]);
        EQUAL_INT(peak % W, columns[k]);
        lm_psf_done(&psf);
    }
    lm_free(data), lm_free(model);
}

TEST(lucy_psf_sum)
{
    /* scikit-image's update with a PSF of sum 0.5 loses half of the light each time; with other edges H'1 makes up */
    lm_psf half = moffat_psf(9, 9, 1.5, true);
    for (size_t i = 0; i < half.h * half.w; i++) half.at[i] *= 0.5;
    double *sky = scene(H, W), *data = blur(sky, H, W, &half, LM_EDGE_PERIODIC), *model = new_image(N);
    lm_lucy_options o = as_scikit;
    o.edge = LM_EDGE_PERIODIC;
    lucy(&(lm_blurred_image){.pixels = data, .h = H, .w = W}, &half, o, model);
    NEAR(sum_of(model, N), sum_of(sky, N), REL(1e-11)); /* rounding */
    lm_psf_done(&half);
    lm_free(sky), lm_free(data), lm_free(model);
}

TEST(lucy_stops_when_little_changes)
{
    lm_psf psf = moffat_psf(9, 9, 1.5, true);
    double *sky = scene(H, W), *data = blur(sky, H, W, &psf, LM_EDGE_MIRROR), *model = new_image(N);
    lm_blurred_image image = {.pixels = data, .h = H, .w = W};
    lm_lucy_options o = as_scikit;
    o.iterations = 1000;
    o.edge = LM_EDGE_MIRROR;
    o.tolerance = 1e-3;
    lm_lucy_result r = lucy(&image, &psf, o, model);
    CHECK(r.iterations > 3 && r.iterations < 900);
    double *again = new_image(N);
    o.tolerance = 0;
    o.iterations = r.iterations;
    lucy(&image, &psf, o, again);
    CHECK(!memcmp(again, model, N * sizeof *model)); /* looking changes nothing */
    lm_psf_done(&psf);
    lm_free(sky), lm_free(data), lm_free(model), lm_free(again);
}

TEST(lucy_on_hard_images_stays_finite)
{
    lm_psf psf = moffat_psf(15, 15, 1.2, true);
    double *data = new_image(N), *model = new_image(N), variance = 1e-12;
    for (int kind = 0; kind < 5; kind++)
        for (size_t e = 0; e < sizeof all_edges / sizeof *all_edges; e++)
            for (int single = 0; single < 2; single++)
                for (lm_lucy_method method = LM_LUCY_PLAIN; method <= LM_LUCY_TOTAL_VARIATION; method++) {
                    for (size_t i = 0; i < N; i++)
                        data[i] = kind == 0   ? 0                       /* dark */
                                  : kind == 1 ? -1.0 - (double)i        /* below zero */
                                  : kind == 2 ? (i == 500 ? 1e6 : 0)    /* one hot pixel */
                                  : kind == 3 ? (i % 2 ? 1e-20 : 3e-20) /* in CGS units */
                                              : (i % 5 ? 1e-6 : 1e6);   /* 12 decades */
                    lm_lucy_options o = as_scikit;
                    o.edge = all_edges[e];
                    o.method = method;
                    o.lambda = 0.05;
                    o.single = single;
                    o.iterations = 60;
                    o.start = LM_LUCY_MEAN;
                    lm_blurred_image image = {.pixels = data, .h = H, .w = W, .variance = &variance};
                    image.n_variance = kind == 1;
                    lucy(&image, &psf, o, model);
                    for (size_t i = 0; i < N; i++) CHECK(isfinite(model[i]) && model[i] >= 0);
                }
    lm_psf_done(&psf);
    lm_free(data), lm_free(model);
}

TEST(lucy_on_small_images)
{
    lm_psf psf = moffat_psf(5, 6, 1.5, true), point = moffat_psf(1, 1, 1, true);
    double one = 7, few[6] = {1, 2, 3, 4, 5, 6}, model[6];
    for (size_t e = 0; e < sizeof all_edges / sizeof *all_edges; e++) {
        lm_lucy_options o = as_scikit;
        o.edge = all_edges[e];
        o.start = LM_LUCY_MEAN;
        lucy(&(lm_blurred_image){.pixels = &one, .h = 1, .w = 1}, &point, o, model);
        NEAR(model[0], 7, REL(1e-11)); /* rounding */
        lucy(&(lm_blurred_image){.pixels = &one, .h = 1, .w = 1}, &psf, o, model);
        CHECK(isfinite(model[0]) && model[0] >= 0);
        if (o.edge > LM_EDGE_ZERO) NEAR(model[0], 7, REL(1e-11));
        lucy(&(lm_blurred_image){.pixels = few, .h = 2, .w = 3}, &point, o, model);
        NEAR_ARRAY(model, few, 6, REL(1e-11));
        lucy(&(lm_blurred_image){.pixels = few, .h = 2, .w = 3}, &psf, o, model);
        for (size_t i = 0; i < 6; i++) CHECK(isfinite(model[i]) && model[i] >= 0);
    }
    lm_psf_done(&psf);
    lm_psf_done(&point);
}

static bool at_once(void *arg)
{
    return --*(int *)arg < 0;
}

TEST(lucy_says_what_is_wrong)
{
    lm_error err;
    lm_lucy_result r;
    lm_psf psf = moffat_psf(3, 3, 1, true);
    double pixels[4] = {NAN, NAN, NAN, NAN}, model[4], variance = -1;
    uint8_t mask[4] = {1, 1, 1, 1};
    lm_blurred_image image = {.pixels = pixels, .h = 2, .w = 2};
    lm_lucy_options o = as_scikit;
    EQUAL_INT(lm_richardson_lucy(&image, &psf, &o, model, NULL, &r, &err), LM_EINPUT);
    CONTAINS(err.text, "none of the image's 2 x 2 pixels");
    for (size_t i = 0; i < 4; i++) pixels[i] = 1;
    image.mask = mask;
    EQUAL_INT(lm_richardson_lucy(&image, &psf, &o, model, NULL, &r, &err), LM_EINPUT);
    EQUAL_INT(lm_wiener(&image, &psf, &(lm_wiener_options){.balance = 1}, model, &err), LM_EINPUT);
    image.mask = NULL;
    image.variance = &variance;
    image.n_variance = 1;
    EQUAL_INT(lm_richardson_lucy(&image, &psf, &o, model, NULL, &r, &err), LM_EINPUT);
    CONTAINS(err.text, "-1");
    variance = (double)NAN;
    EQUAL_INT(lm_richardson_lucy(&image, &psf, &o, model, NULL, &r, &err), LM_EINPUT);
    variance = 1;
    o.gain = 0;
    EQUAL_INT(lm_richardson_lucy(&image, &psf, &o, model, NULL, &r, &err), LM_EINPUT);
    CONTAINS(err.text, "gain");
    o.gain = (double)NAN;
    int calls = 4;
    o.stopped = at_once;
    o.arg = &calls;
    EQUAL_INT(lm_richardson_lucy(&image, &psf, &o, model, NULL, &r, &err), LM_ECANCEL);
    CONTAINS(err.text, "4 of 10");
    lm_psf_done(&psf);
}

TEST(lucy_survives_each_failed_allocation)
{
    lm_psf psf = moffat_psf(3, 3, 1, true);
    double pixels[16], model[16], surround[16], variance[16];
    for (size_t i = 0; i < 16; i++) pixels[i] = 1 + (double)i, variance[i] = 1;
    lm_blurred_image image = {.pixels = pixels, .h = 4, .w = 4, .variance = variance, .n_variance = 16};
    for (uint64_t i = 1;; i++) {
        lm_error err;
        lm_lucy_result r;
        lm_fft_forget();
        lm_alloc_fail_at(i);
        lm_status status = lm_richardson_lucy(&image, &psf, &as_scikit, model, surround, &r, &err);
        uint64_t made = lm_alloc_count();
        lm_alloc_fail_at(0);
        if (made < i) break;
        EQUAL_INT(status, LM_EMEMORY);
    }
    for (uint64_t i = 1;; i++) {
        lm_error err;
        lm_fft_forget();
        lm_wiener_options o = {.method = LM_WIENER_NOISE, .variance = 0.1};
        pixels[3] = (double)NAN;
        lm_alloc_fail_at(i);
        lm_status status = lm_wiener(&image, &psf, &o, model, &err);
        uint64_t made = lm_alloc_count();
        lm_alloc_fail_at(0);
        if (made < i) break;
        EQUAL_INT(status, LM_EMEMORY);
    }
    lm_psf_done(&psf);
    lm_fft_forget();
}

/* ---- Wiener and the noise ------------------------------------------------------------------------------------------ */

TEST(wiener_inverts_and_weighs_noise)
{
    lm_error err;
    lm_psf psf = moffat_psf(7, 7, 1.5, true);
    double *sky = scene(H, W), *data = blur(sky, H, W, &psf, LM_EDGE_PERIODIC), *model = new_image(N);
    lm_blurred_image image = {.pixels = data, .h = H, .w = W};
    OK(lm_wiener(&image, &psf, &(lm_wiener_options){.balance = 0}, model, &err), &err);
    NEAR_ARRAY(model, sky, N, REL(1e-10)); /* the plain inverse; |H| is above 1e-3 everywhere */
    double raw = 0, filtered = 0, mirrored = 0, inverse = 0;
    random_state = 3;
    for (size_t i = 0; i < N; i++) data[i] += 2 * normal();
    lm_wiener_options o = {.method = LM_WIENER_NOISE, .variance = 4};
    OK(lm_wiener(&image, &psf, &o, model, &err), &err);
    NEAR(sum_of(model, N), sum_of(data, N), REL(0.01)); /* the mean's signal to noise ratio is high */
    for (size_t i = 0; i < N; i++) filtered += pow(model[i] - sky[i], 2), raw += pow(data[i] - sky[i], 2);
    o.mirror = true;
    OK(lm_wiener(&image, &psf, &o, model, &err), &err);
    for (size_t i = 0; i < N; i++) mirrored += pow(model[i] - sky[i], 2);
    OK(lm_wiener(&image, &psf, &(lm_wiener_options){.balance = 0}, model, &err), &err);
    for (size_t i = 0; i < N; i++) inverse += pow(model[i] - sky[i], 2);
    CHECK(filtered < raw && filtered < 0.5 * inverse); /* nearer to the sky than image and plain inverse are */
    CHECK(mirrored < 1.2 * filtered);
    lm_psf_done(&psf);
    lm_free(sky), lm_free(data), lm_free(model);
}

TEST(wiener_fills_bad_pixels)
{
    lm_error err;
    lm_psf psf = moffat_psf(7, 7, 1.5, true);
    double *data = new_image(N), *model = new_image(N), *other = new_image(N);
    for (size_t i = 0; i < N; i++) data[i] = i % 11 ? 5 : (double)NAN;
    lm_wiener_options o = {.balance = 0.1};
    OK(lm_wiener(&(lm_blurred_image){.pixels = data, .h = H, .w = W}, &psf, &o, model, &err), &err);
    for (size_t i = 0; i < N; i++) NEAR(model[i], 5, REL(1e-10)); /* a constant with holes is the constant */
    uint8_t *mask = lm_alloc(N, 1);
    CHECK(mask);
    for (size_t i = 0; i < N; i++) mask[i] = i % 11 == 0, data[i] = mask[i] ? 1e9 : 5;
    OK(lm_wiener(&(lm_blurred_image){.pixels = data, .mask = mask, .h = H, .w = W}, &psf, &o, other, &err), &err);
    CHECK(!memcmp(model, other, N * sizeof *model));
    lm_psf_done(&psf);
    lm_free(data), lm_free(model), lm_free(other), lm_free(mask);
}

TEST(noise_variance_is_found_under_a_galaxy)
{
    double *image = scene(H * 4, W * 4);
    random_state = 2;
    for (size_t i = 0; i < 16 * N; i++) image[i] += 3 * normal();
    double found = 0;
    lm_error err = {0};
    OK(lm_noise_variance(image, NULL, H * 4, W * 4, &found, &err), &err);
    NEAR(found, 9, REL(0.1)); /* 21,000 values: 2 % of scatter, and a little galaxy */
    uint8_t *usable = lm_alloc(16 * N, 1);
    CHECK(usable);
    OK(lm_noise_variance(image, usable, H * 4, W * 4, &found, &err), &err); /* none usable */
    CHECK(isnan(found));
    found = 0;
    OK(lm_noise_variance(image, NULL, 2, 9, &found, &err), &err);
    CHECK(isnan(found));
    lm_free(image), lm_free(usable);
}
