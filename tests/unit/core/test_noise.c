/* Photons, detectors, rays and correlated noise against their laws. The numbers are drawn from fixed streams: a test
 * gives the same result every time; its bounds are those a fair draw passes with a probability near 1 - 1e-6. */
#include "tests/test.h"

#include "operators/core/noise.h"
#include "operators/core/special.h"
#include "runtime/random.h"

static double uniform_of(void *random)
{
    return lm_random_uniform(random);
}

static double normal_of(void *random)
{
    return lm_random_normal(random);
}

static uint64_t below_of(void *random, uint64_t n)
{
    return lm_random_below(random, n);
}

/* A source of numbers for a test; *random must outlive it. */
static lm_draw draw_of(lm_random *random, uint64_t stream)
{
    const lm_digest key = lm_digest_of("noise", 5);
    *random = lm_random_stream(&key, stream);
    return (lm_draw){uniform_of, normal_of, below_of, random};
}

static double *zeros(size_t n)
{
    double *values = lm_alloc(n, sizeof *values);
    CHECK(values);
    return values;
}

static double mean_of(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i];
    return sum / (double)n;
}

static double variance_of(const double *x, size_t n)
{
    double mean = mean_of(x, n), sum = 0;
    for (size_t i = 0; i < n; i++) sum += (x[i] - mean) * (x[i] - mean);
    return sum / (double)(n - 1);
}

enum { SIGMAS = 5 }; /* 6e-7 of normal numbers lie further off */

/* ---- the Poisson distribution ------------------------------------------------------------------------------------ */

/* mpmath at 40 digits: k log(mean) - mean - log(k!). */
TEST(poisson_probabilities_are_right)
{
    static const struct {
        double k, mean, log_p;
    } known[] = {
        {0.0, 0.3, -0.2999999999999999889},
        {1.0, 1e-05, -11.512935464970228338},
        {3.0, 7.5, -3.2470504076012607311},
        {10.0, 10.0, -2.078561643135058455},
        {15.0, 10.25, -3.2401058000746337906},
        {16.0, 21.0, -2.9595011025059048597},
        {60.0, 10.0, -60.473067844028850146},
        {1000.0, 1000.0, -4.3728995060262968242},
        {1100.0, 1000.0, -9.2617448049289203369},
        {3000000.0, 3001000.5, -8.5427962759535844615},
        {1000000000000.0, 1000002000000.0, -16.734446424506363506},
        {1000000000000000.0, 999999990000000.0, -18.238326730993348791},
        {2.0, 500.0, -488.26393098371556182},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        NEAR(lm_poisson_log(known[i].k, known[i].mean), known[i].log_p, (test_tolerance){1e-14, 4e-15});
    for (double mean = 0.3; mean < 400; mean *= 2.7) {
        double sum = 0;
        for (unsigned k = 0; k < 1000; k++) sum += exp(lm_poisson_log(k, mean));
        NEAR(sum, 1, ABS(2e-14));
    }
}

/* Counts against the probabilities, cells of fewer than 10 expected joined to their neighbours. */
static void chi_square(double mean, size_t n)
{
    lm_random random;
    lm_draw draw = draw_of(&random, (uint64_t)(mean * 1000));
    double sigma = sqrt(mean), low = floor(mean - 8 * sigma - 8);
    if (low < 0) low = 0;
    size_t cells = (size_t)(mean + 8 * sigma + 30 - low);
    double *count = zeros(cells);
    for (size_t i = 0; i < n; i++) {
        double k = lm_poisson(&draw, mean);
        if (!(k >= low && k < low + (double)cells && k == floor(k))) FAIL("%g at a mean of %g", k, mean);
        count[(size_t)(k - low)]++;
    }
    double chi2 = 0, expected = 0, seen = 0, dof = -1, left = (double)n;
    for (size_t c = 0; c < cells; c++) {
        double cell = (double)n * exp(lm_poisson_log(low + (double)c, mean));
        expected += cell;
        seen += count[c];
        left -= cell;
        if (expected >= 10 && left >= 10) {
            chi2 += (seen - expected) * (seen - expected) / expected;
            dof++;
            expected = seen = 0;
        }
    }
    expected += left > 0 ? left : 0;
    if (expected > 0) {
        chi2 += (seen - expected) * (seen - expected) / expected;
        dof++;
    }
    double p = exp(lm_log_chi2_tail(chi2, dof));
    if (!(p > 1e-6 && p < 1 - 1e-6)) FAIL("mean %g: chi-square %g of %g, p = %g", mean, chi2, dof, p);
    lm_free(count);
}

TEST(poisson_numbers_follow_their_law)
{
    static const double means[] = {0.01, 0.5, 3.3, 9.999, 10, 10.5, 14.7, 33, 120.4, 1e3, 2.5e4};
    for (size_t i = 0; i < sizeof means / sizeof *means; i++) chi_square(means[i], 400000);
}

/* Where no table of all counts fits: mean, variance, skewness 1/sqrt(mean). */
TEST(poisson_moments_hold_at_any_mean)
{
    enum { N = 200000 };
    static const double means[] = {0.02, 2, 11, 300, 1e6, 3e9, 1e14, 1e17};
    double *x = zeros(N);
    for (size_t m = 0; m < sizeof means / sizeof *means; m++) {
        lm_random random;
        lm_draw draw = draw_of(&random, 100 + m);
        double mean = means[m], sigma = sqrt(mean), skew = 0;
        for (size_t i = 0; i < N; i++) x[i] = (lm_poisson(&draw, mean) - mean) / sigma;
        NEAR(mean_of(x, N), 0, ABS(SIGMAS / sqrt(N)));
        NEAR(variance_of(x, N), 1, ABS(SIGMAS * sqrt((2 + 1 / mean) / N)));
        for (size_t i = 0; i < N; i++) skew += x[i] * x[i] * x[i] / N;
        if (mean > 1) NEAR(skew, 1 / sigma, ABS(SIGMAS * sqrt((15 + 40 / mean) / N)));
    }
    lm_free(x);
}

TEST(poisson_has_an_answer_to_everything)
{
    lm_random random;
    lm_draw draw = draw_of(&random, 200);
    EQUAL_INT((int)lm_poisson(&draw, 0), 0);
    EQUAL_INT((int)lm_poisson(&draw, -3), 0);
    EQUAL_INT((int)lm_poisson(&draw, 1e-320), 0);
    CHECK(isnan(lm_poisson(&draw, (double)NAN)));
    CHECK(isinf(lm_poisson(&draw, (double)INFINITY)));
    CHECK(lm_poisson(&draw, -(double)INFINITY) == 0);
    CHECK(isfinite(lm_poisson(&draw, 1e300)));
}

/* ---- a detector -------------------------------------------------------------------------------------------------- */

static lm_detector hubble(void)
{
    return (lm_detector){.exposure = 2000,
                         .exposures = 4,
                         .sky = 0.1,
                         .dark = 0.01,
                         .read_noise = 3,
                         .gain = 0,
                         .full_well = (double)INFINITY};
}

/* Normalised residuals of n draws of one rate. */
static void residuals_of(const lm_detector *d, double rate, uint64_t stream, size_t n, double *ret)
{
    lm_random photon_stream, read_stream;
    lm_draw photons = draw_of(&photon_stream, stream), readout = draw_of(&read_stream, stream + 1);
    double *m = zeros(n), *sigma = zeros(n);
    lm_error err = {0};
    OK(lm_detector_check(d, &err), &err);
    for (size_t i = 0; i < n; i++) m[i] = rate;
    lm_noise_sigma(d, 0, n, m, sigma);
    lm_detect(d, n, m, NULL, NULL, &photons, &readout, ret, NULL);
    for (size_t i = 0; i < n; i++) ret[i] = (ret[i] - rate) / sigma[i];
    lm_free(m);
    lm_free(sigma);
}

TEST(residuals_have_the_noise_of_the_map)
{
    enum { N = 100000 };
    static const double rates[] = {0, 1e-3, 0.05, 2, 300};
    double *x = zeros(N);
    for (unsigned kind = 0; kind < 5; kind++)
        for (size_t r = 0; r < 5; r++) {
            lm_detector d = hubble();
            if (kind == 1) d.gain = 1.6;
            if (kind == 2) d.gaussian = true;
            if (kind == 3) d.full_well = 1e9; /* exposure by exposure, and none of them full */
            if (kind == 4) d.read_noise = 0;
            residuals_of(&d, rates[r], 300 + 20 * kind + 2 * r, N, x);
            NEAR(mean_of(x, N), 0, ABS(SIGMAS / sqrt(N)));
            NEAR(variance_of(x, N), 1, ABS(SIGMAS * sqrt(2.1 / N)));
        }
    lm_free(x);
}

/* The digitiser's steps alone: no light, next to no read noise, each exposure rounded to whole units. */
TEST(what_is_digitised_is_whole)
{
    lm_random one, two;
    lm_draw photons = draw_of(&one, 500), readout = draw_of(&two, 501);
    lm_detector d = hubble();
    d.gain = 2.5;
    double m[64], out[64];
    for (size_t i = 0; i < 64; i++) m[i] = 0.02 * (double)i;
    lm_detect(&d, 64, m, NULL, NULL, &photons, &readout, out, NULL);
    for (size_t i = 0; i < 64; i++) {
        double units = (out[i] + d.sky + d.dark) * d.exposure / d.gain;
        NEAR(units, nearbyint(units), ABS(1e-9));
    }
}

TEST(full_wells_are_clipped_and_flagged)
{
    lm_random one, two;
    lm_draw photons = draw_of(&one, 510), readout = draw_of(&two, 511);
    lm_detector d = hubble();
    d.read_noise = 0;
    d.full_well = 1000;
    const double m[] = {0.1, 1.5, 50, (double)NAN};
    double out[4];
    unsigned char flags[4] = {0};
    lm_detect(&d, 4, m, NULL, NULL, &photons, &readout, out, flags); /* 105, 805, 25000 electrons each time */
    EQUAL_INT(flags[0], 0);
    EQUAL_INT(flags[1], 0);
    EQUAL_INT(flags[2], LM_PIXEL_SATURATED);
    NEAR(out[2], 4 * 1000 / 2000.0 - 0.11, ABS(1e-12));
    CHECK(isnan(out[3]));
    const double dim = 0.1, charge = 5000; /* a ray fills one exposure of four: the others still count */
    unsigned char flag = LM_PIXEL_COSMIC;
    lm_detect(&d, 1, &dim, NULL, &charge, &photons, &readout, out, &flag);
    EQUAL_INT(flag, LM_PIXEL_COSMIC | LM_PIXEL_SATURATED);
    NEAR(out[0], (1000 + 3 * 105) / 2000.0 - 0.11, ABS(SIGMAS * sqrt(3 * 105) / 2000));
}

TEST(hot_currents_and_rays_stay_in_the_image)
{
    lm_random one, two;
    lm_draw photons = draw_of(&one, 520), readout = draw_of(&two, 521);
    lm_detector d = hubble();
    const double m[] = {1, 1, -5}, hot[] = {7, 0, 0}, charge[] = {0, 4e5, 0};
    double out[3];
    lm_detect(&d, 3, m, hot, charge, &photons, &readout, out, NULL);
    NEAR(out[0], 8, ABS(SIGMAS * sqrt(8.2 / 2000)));
    NEAR(out[1], 1 + 4e5 / 2000, ABS(SIGMAS * sqrt(1.2 / 2000)));
    NEAR(out[2], -0.11, ABS(SIGMAS * 6.0 / 2000)); /* no light at all: the read noise alone */
}

TEST(the_map_is_the_formula)
{
    lm_detector d = hubble();
    d.gain = 1.5;
    double m[] = {0, 3, -2, (double)NAN}, sigma[4];
    lm_noise_sigma(&d, 0.02, 4, m, sigma);
    double constant = 0.02 * 0.02 + 0.11 / 2000 + 4 * (9 + 1.5 * 1.5 / 12) / 2000 / 2000;
    NEAR(sigma[0], sqrt(constant), REL(1e-15));
    NEAR(sigma[1], sqrt(constant + 3 / 2000.0), REL(1e-15));
    NEAR(sigma[2], sqrt(constant), REL(1e-15)); /* never the root of a negative number */
    CHECK(isnan(sigma[3]));
    lm_noise_sigma(NULL, 0.02, 4, m, m); /* in place, without a detector */
    for (size_t i = 0; i < 3; i++) NEAR(m[i], 0.02, ABS(1e-17));
}

/* Why the map is made from the model: weights 1/variance from the data pull the mean of counts down by nearly one
 * count. */
TEST(weights_from_the_data_are_biased)
{
    enum { N = 100000 };
    lm_random one, two;
    lm_draw photons = draw_of(&one, 540), readout = draw_of(&two, 541);
    const lm_detector d = {.exposure = 100, .exposures = 1, .full_well = (double)INFINITY};
    double *m = zeros(N), *image = zeros(N), *sigma = zeros(N);
    for (size_t i = 0; i < N; i++) m[i] = 0.5; /* 50 electrons */
    lm_detect(&d, N, m, NULL, NULL, &photons, &readout, image, NULL);
    for (int data = 0; data < 2; data++) {
        double weights = 0, sum = 0;
        lm_noise_sigma(&d, 0, N, data ? image : m, sigma);
        for (size_t i = 0; i < N; i++) {
            weights += 1 / (sigma[i] * sigma[i]);
            sum += image[i] / (sigma[i] * sigma[i]);
        }
        /* the harmonic mean of Poisson numbers is mean - 1 - 1/mean - ... */
        NEAR(100 * sum / weights, data ? 50 - 1 - 1 / 50.0 : 50, ABS(SIGMAS * sqrt(50.0 / N)));
    }
    lm_free(m);
    lm_free(image);
    lm_free(sigma);
}

static void no_detector(lm_detector d, const char *why)
{
    lm_error err = {0};
    EQUAL_INT(lm_detector_check(&d, &err), LM_EINPUT);
    CONTAINS(err.text, why);
}

TEST(impossible_detectors_are_named)
{
    lm_detector d = hubble();
#define NOT(field, value, why)                                                                                         \
    do {                                                                                                               \
        d = hubble();                                                                                                  \
        d.field = value;                                                                                               \
        no_detector(d, why);                                                                                           \
    } while (0)
    NOT(exposure, 0, "an exposure of 0 s");
    NOT(exposure, (double)NAN, "an exposure of nan s");
    NOT(exposures, 0, "0 exposures");
    NOT(exposures, LM_EXPOSURES_MOST + 1, "10001 exposures");
    NOT(sky, -1, "a sky of -1");
    NOT(dark, (double)NAN, "a dark current");
    NOT(read_noise, (double)INFINITY, "a read noise");
    NOT(gain, -2, "a gain of -2");
    NOT(full_well, 0, "a full well of 0");
    NOT(full_well, (double)NAN, "a full well");
}

TEST(normal_noise_has_its_sigma)
{
    enum { N = 100000 };
    lm_random random;
    lm_draw draw = draw_of(&random, 530);
    double *x = zeros(N), *sigma = zeros(N);
    for (size_t i = 0; i < N; i++) sigma[i] = i % 2 ? 3 : 0;
    lm_noise_add(&draw, N, sigma, 77, x);
    for (size_t i = 0; i < N; i += 2) CHECK(x[i] == 0);
    NEAR(variance_of(x, N), 4.5, REL(SIGMAS * sqrt(5.0 / N))); /* E x^4 = 5 (E x^2)^2 more than its square */
    memset(x, 0, N * sizeof *x);
    lm_noise_add(&draw, N, NULL, 0.5, x);
    NEAR(variance_of(x, N), 0.25, REL(SIGMAS * sqrt(2.0 / N)));
    lm_free(x);
    lm_free(sigma);
}

/* ---- pixels that go wrong ---------------------------------------------------------------------------------------- */

TEST(pixels_go_wrong_as_often_as_told)
{
    enum { N = 200000 };
    lm_random random;
    lm_draw draw = draw_of(&random, 600);
    unsigned char *flags = lm_alloc(N, 1);
    double *hot = zeros(N);
    CHECK(flags);
    lm_pixels_mark(&draw, N, 0.01, LM_PIXEL_MISSING, flags);
    lm_pixels_hot(&draw, N, 0.02, 3, hot, flags);
    size_t missing = 0, warm = 0;
    double sum = 0, square = 0;
    for (size_t i = 0; i < N; i++) {
        missing += (flags[i] & LM_PIXEL_MISSING) != 0;
        warm += (flags[i] & LM_PIXEL_HOT) != 0;
        CHECK((hot[i] > 0) == ((flags[i] & LM_PIXEL_HOT) != 0));
        sum += hot[i];
        square += hot[i] * hot[i];
    }
    NEAR((double)missing, 0.01 * N, ABS(SIGMAS * sqrt(0.01 * N)));
    NEAR((double)warm, 0.02 * N, ABS(SIGMAS * sqrt(0.02 * N)));
    NEAR(sum / (double)warm, 3, REL(SIGMAS / sqrt((double)warm)));
    NEAR(square / (double)warm, 18, REL(SIGMAS * sqrt(5 / (double)warm))); /* exponential: var x^2 = 20 mean^4 */
    memset(flags, 0, N);
    lm_pixels_mark(&draw, N, 0, 1, flags);
    for (size_t i = 0; i < N; i++) CHECK(!flags[i]);
    lm_pixels_mark(&draw, N, 1, 1, flags);
    for (size_t i = 0; i < N; i++) CHECK(flags[i]);
    lm_free(flags);
    lm_free(hot);
}

/* PDG: 300 microns of silicon, 72 to 80 electrons per micron for a relativistic particle; the thinner, the fewer. */
TEST(rays_lose_what_silicon_takes)
{
    NEAR(lm_cosmic_charge(300) / 300, 77, ABS(1));
    CHECK(lm_cosmic_charge(15) / 15 < 65 && lm_cosmic_charge(15) / 15 > 55);
    CHECK(lm_cosmic_charge(1e-9) == 0);
    CHECK(lm_cosmic_charge(0) == 0);
}

/* Per unit area as many hits, as much charge and as long tracks as flux and geometry say: the mean of |cos phi| +
 * |sin phi| is 4/pi, and that of tan theta over sin 2 theta pi/2 (up to the steepest angle). */
TEST(rays_cover_the_frame_evenly)
{
    enum { H = 300, W = 200 };
    const lm_cosmic_rays rays = {.rate = 1, .thickness = 15, .pitch = 15};
    lm_random random;
    lm_draw draw = draw_of(&random, 610);
    double *charge = zeros(H * W);
    unsigned char *flags = lm_alloc(H * W, 1);
    CHECK(flags);
    lm_error err = {0};
    size_t hits;
    const double exposure = 1e4, area = 2.25e-6; /* cm^2 of a pixel */
    OK(lm_cosmic_rays_add(&rays, exposure, &draw, H, W, charge, flags, &hits, &err), &err);
    double wide = (H + 40.0) * (W + 40.0), mean = exposure * area * wide;
    NEAR((double)hits, mean, ABS(SIGMAS * sqrt(mean)));
    size_t touched = 0, border = 0, inner = 0;
    for (size_t i = 0; i < H * W; i++) {
        CHECK((charge[i] > 0) == (flags[i] == LM_PIXEL_COSMIC));
        touched += flags[i] != 0;
        size_t y = i / W, x = i % W;
        if (y < 10 || x < 10 || y >= H - 10 || x >= W - 10) border += flags[i] != 0;
        else inner += flags[i] != 0;
    }
    /* tracks are 1 + (4/pi) tan(theta) pixels long: tan theta = sqrt(u/(1-u)) up to u = 400/401 has a mean of 1.471 */
    double u = 400.0 / 401, tangent = (asin(sqrt(u)) - sqrt(u * (1 - u))) / u;
    double cover = exposure * area * (1 + 4 / M_PI * tangent); /* tracks over a pixel; a few overlap */
    double n_border = 2.0 * 10 * (H + W - 20), expected = -expm1(-cover) * H * W;
    NEAR((double)touched, expected, REL(0.05));
    NEAR((double)border / n_border, (double)inner / (H * W - n_border), REL(0.15));
    lm_free(charge);
    lm_free(flags);
}

/* All charge of a track goes somewhere: a frame so wide, and a slab so thin, that every track ends in it. */
TEST(tracks_keep_their_charge)
{
    enum { SIDE = 400, DRAWS = 60 };
    const lm_cosmic_rays rays = {.rate = 1, .thickness = 0.5, .pitch = 100};
    double *charge = zeros(SIDE * SIDE);
    unsigned char *flags = lm_alloc(SIDE * SIDE, 1);
    CHECK(flags);
    lm_error err = {0};
    double path = 0, total = 0;
    size_t all = 0;
    for (uint64_t s = 0; s < DRAWS; s++) {
        lm_random random;
        lm_draw draw = draw_of(&random, 620 + s);
        size_t hits;
        OK(lm_cosmic_rays_add(&rays, 100, &draw, SIDE, SIDE, charge, flags, &hits, &err), &err);
        all += hits;
    }
    for (size_t i = 0; i < SIDE * SIDE; i++) total += charge[i];
    /* mean of sec theta is 2 (to infinity) less what is beyond tan theta = 20: 2 (1 - 1/sec)/u */
    double u = 400.0 / 401;
    path = 0.5 * 2 * (1 - sqrt(1 - u)) / u;
    NEAR((double)all, DRAWS * 100 * 1e-4 * (SIDE + 0.2) * (SIDE + 0.2), REL(SIGMAS / sqrt((double)all)));
    double moyal = 1.12 * 17.825 / 3.65 * path * (0.57721566490153286 + M_LN2); /* its mean lies above its mode */
    double typical = lm_cosmic_charge(path) + moyal; /* the loss is nearly as the path: the logarithm adds 5% */
    NEAR(total / (double)all, typical, REL(0.08));
    lm_free(charge);
    lm_free(flags);
}

TEST(impossible_rays_are_named)
{
    lm_random random;
    lm_draw draw = draw_of(&random, 690);
    double charge = 0;
    unsigned char flag = 0;
    size_t hits;
    lm_error err = {0};
    lm_cosmic_rays rays = {.rate = -1, .thickness = 15, .pitch = 15};
    EQUAL_INT(lm_cosmic_rays_add(&rays, 1, &draw, 1, 1, &charge, &flag, &hits, &err), LM_EINPUT);
    rays = (lm_cosmic_rays){.rate = 1, .thickness = 15, .pitch = 0};
    EQUAL_INT(lm_cosmic_rays_add(&rays, 1, &draw, 1, 1, &charge, &flag, &hits, &err), LM_EINPUT);
    rays = (lm_cosmic_rays){.rate = 1e30, .thickness = 15, .pitch = 15};
    EQUAL_INT(lm_cosmic_rays_add(&rays, 1, &draw, 1, 1, &charge, &flag, &hits, &err), LM_EINPUT);
    CONTAINS(err.text, "are more than");
    rays = (lm_cosmic_rays){.rate = (double)NAN, .thickness = 15, .pitch = 15};
    EQUAL_INT(lm_cosmic_rays_add(&rays, 1, &draw, 1, 1, &charge, &flag, &hits, &err), LM_EINPUT);
    rays = (lm_cosmic_rays){.rate = 0, .thickness = 15, .pitch = 15};
    OK(lm_cosmic_rays_add(&rays, 1, &draw, 1, 1, &charge, &flag, &hits, &err), &err);
    EQUAL_INT(hits, 0);
    CHECK(charge == 0 && flag == 0);
}

/* ---- correlated noise -------------------------------------------------------------------------------------------- */

/* A skew Gaussian correlation: no symmetry but that by the middle. */
static double skew(double y, double x)
{
    return 4 * exp(-(y * y + x * x + 0.8 * x * y) / (2 * 1.5 * 1.5));
}

static lm_correlated *skew_noise(size_t h, size_t w, double rms)
{
    double xi[19 * 21];
    for (size_t y = 0; y < 19; y++)
        for (size_t x = 0; x < 21; x++) xi[y * 21 + x] = skew((double)y - 9, (double)x - 10);
    lm_correlated *c = NULL;
    lm_error err = {0};
    OK(lm_correlated_of_function(h, w, xi, 19, 21, rms, &c, &err), &err);
    return c;
}

TEST(a_correlation_function_is_what_is_drawn_from)
{
    LM_OWN(lm_correlated) c = skew_noise(24, 31, (double)NAN);
    NEAR(lm_correlated_rms(c), 2, REL(1e-14));
    for (ptrdiff_t dy = -8; dy <= 8; dy++)
        for (ptrdiff_t dx = -10; dx <= 10; dx++)
            NEAR(lm_correlated_at(c, dy, dx), skew((double)dy, (double)dx),
                 ABS(4e-6));                         /* what is clipped of the spectrum */
    NEAR(lm_correlated_at(c, 23, 30), 0, ABS(4e-6)); /* opposite corners know nothing of each other */
    NEAR(lm_correlated_at(c, 23, 0), 0, ABS(4e-6));
    LM_OWN(lm_correlated) scaled = skew_noise(24, 31, 0.5);
    NEAR(lm_correlated_rms(scaled), 0.5, REL(1e-14));
    NEAR(lm_correlated_at(scaled, 1, 2), skew(1, 2) / 16, ABS(1e-6));
}

/* What is drawn, averaged over many images and all pairs of pixels, against what it should be. */
static void measured(lm_correlated *c, size_t h, size_t w, uint64_t stream)
{
    enum { DRAWS = 400, LAG = 4, SIDE = 2 * LAG + 1 };
    lm_random random;
    lm_draw draw = draw_of(&random, stream);
    double *image = zeros(h * w), *sum = zeros(SIDE * SIDE), *square = zeros(SIDE * SIDE);
    for (size_t d = 0; d < DRAWS; d++) {
        memset(image, 0, h * w * sizeof *image);
        lm_correlated_add(c, &draw, image);
        for (ptrdiff_t dy = -LAG; dy <= LAG; dy++)
            for (ptrdiff_t dx = -LAG; dx <= LAG; dx++) {
                double product = 0, pairs = 0;
                for (size_t y = LAG; y < h - LAG; y++)
                    for (size_t x = LAG; x < w - LAG; x++, pairs++)
                        product +=
                            image[y * w + x] * image[(size_t)((ptrdiff_t)y + dy) * w + (size_t)((ptrdiff_t)x + dx)];
                size_t at = (size_t)((dy + LAG) * SIDE + dx + LAG);
                sum[at] += product / pairs;
                square[at] += product / pairs * (product / pairs);
            }
    }
    for (ptrdiff_t dy = -LAG; dy <= LAG; dy++)
        for (ptrdiff_t dx = -LAG; dx <= LAG; dx++) {
            size_t at = (size_t)((dy + LAG) * SIDE + dx + LAG);
            double mean = sum[at] / DRAWS, error = sqrt((square[at] / DRAWS - mean * mean) / DRAWS);
            NEAR(mean, lm_correlated_at(c, dy, dx), ABS(SIGMAS * error));
        }
    lm_free(image);
    lm_free(sum);
    lm_free(square);
}

TEST(draws_have_the_correlation_function)
{
    LM_OWN(lm_correlated) c = skew_noise(32, 27, (double)NAN);
    measured(c, 32, 27, 700);
    LM_OWN(lm_correlated) law = NULL;
    lm_error err = {0};
    OK(lm_correlated_of_law(20, 33, 2, 3, 1.5, &law, &err), &err);
    measured(law, 20, 33, 701);
}

/* White noise: a flat spectrum, in each of the four ways. */
TEST(a_flat_spectrum_is_white)
{
    lm_error err = {0};
    double one = 9, flat[64], k = 0.1;
    for (size_t i = 0; i < 64; i++) flat[i] = 9;
    LM_OWN(lm_correlated) a = NULL;
    LM_OWN(lm_correlated) b = NULL;
    LM_OWN(lm_correlated) c = NULL;
    LM_OWN(lm_correlated) d = NULL;
    OK(lm_correlated_of_function(6, 5, &one, 1, 1, (double)NAN, &a, &err), &err);
    OK(lm_correlated_of_power(6, 5, flat, 8, 8, (double)NAN, &b, &err), &err);
    OK(lm_correlated_of_table(6, 5, &k, &one, 1, (double)NAN, &c, &err), &err);
    OK(lm_correlated_of_law(6, 5, 3, 0, 3, &d, &err), &err);
    const lm_correlated *all[] = {a, b, c, d};
    for (size_t i = 0; i < 4; i++) {
        NEAR(lm_correlated_rms(all[i]), 3, REL(1e-14));
        for (ptrdiff_t dy = -5; dy < 6; dy++)
            for (ptrdiff_t dx = -4; dx < 5; dx++)
                NEAR(lm_correlated_at(all[i], dy, dx), dy == 0 && dx == 0 ? 9 : 0, ABS(1e-13));
    }
}

/* A spectrum that is the transform of a known function gives it back, on a grid of its own and through the function,
 * for even and odd sides. */
static void spectrum_round(size_t ph, size_t pw, size_t h, size_t w)
{
    double *power = zeros(ph * pw);
    for (size_t i = 0; i < ph; i++)
        for (size_t j = 0; j < pw; j++)
            for (int y = -10; y <= 10; y++)
                for (int x = -10; x <= 10; x++)
                    power[i * pw + j] +=
                        skew(y, x) * cos(2 * M_PI * (y * (double)i / (double)ph + x * (double)j / (double)pw));
    for (size_t i = 0; i < ph * pw; i++) power[i] = fmax(power[i], 0); /* where the cut at 10 pixels shows */
    LM_OWN(lm_correlated) c = NULL;
    lm_error err = {0};
    OK(lm_correlated_of_power(h, w, power, ph, pw, (double)NAN, &c, &err), &err);
    for (ptrdiff_t dy = -4; dy <= 4; dy++)
        for (ptrdiff_t dx = -4; dx <= 4; dx++)
            NEAR(lm_correlated_at(c, dy, dx), skew((double)dy, (double)dx), ABS(1e-5));
    lm_free(power);
}

TEST(a_spectrum_gives_its_correlation_function)
{
    spectrum_round(48, 50, 20, 20); /* as it is */
    spectrum_round(24, 28, 40, 40); /* through the function */
    spectrum_round(25, 27, 40, 40);
    spectrum_round(24, 27, 13, 40);
}

/* (1 + (2 pi k L)^2)^(-slope/2) with slope 4 is Matern with nu = 1: xi = rms^2 (r/L) K_1(r/L), up to the pixels. */
TEST(a_power_law_is_a_matern_field)
{
    static const double known[][2] = {{4, 0.8278}, {8, 0.6019}, {16, 0.2797}, {32, 0.0499}}; /* z K_1(z), z = r/8 */
    LM_OWN(lm_correlated) c = NULL;
    lm_error err = {0};
    OK(lm_correlated_of_law(40, 40, 8, 4, 2, &c, &err), &err);
    for (size_t i = 0; i < 4; i++) {
        NEAR(lm_correlated_at(c, 0, (ptrdiff_t)known[i][0]) / 4, known[i][1], ABS(0.01)); /* pixels cut k off at 1/2 */
        NEAR(lm_correlated_at(c, (ptrdiff_t)known[i][0], 0) / 4, known[i][1], ABS(0.01));
    }
}

TEST(a_table_is_read_between_its_rows)
{
    static const double k[] = {0, 0.1, 0.3}, power[] = {8, 4, 0};
    LM_OWN(lm_correlated) c = NULL;
    lm_error err = {0};
    OK(lm_correlated_of_table(40, 40, k, power, 3, (double)NAN, &c, &err), &err);
    /* the integral of P over the plane of k: 2 pi of the integral of k P = 2 pi (0.1^2/2 8 - 40 0.1^3/3 + ...) */
    double first = 8 * 0.01 / 2 - 40 * 0.001 / 3, second = 6 * (0.09 - 0.01) / 2 - 20 * (0.027 - 0.001) / 3;
    NEAR(lm_correlated_rms(c) * lm_correlated_rms(c), 2 * M_PI * (first + second), REL(2e-3)); /* a sum over a grid */
}

TEST(what_is_no_correlation_is_named)
{
    lm_error err = {0};
    lm_correlated *c = NULL;
    const double box[] = {1, 1, 1, 1, 1, 1, 1, 1, 1}, nan_of[] = {1, (double)NAN, 1}, negative[] = {1, -1};
    EQUAL_INT(lm_correlated_of_function(8, 8, box, 3, 3, (double)NAN, &c, &err), LM_EINPUT);
    CONTAINS(err.text, "negative in places");
    EQUAL_INT(lm_correlated_of_function(8, 8, box, 2, 3, (double)NAN, &c, &err), LM_EINPUT);
    CONTAINS(err.text, "must be odd");
    EQUAL_INT(lm_correlated_of_function(8, 8, nan_of, 1, 3, (double)NAN, &c, &err), LM_EINPUT);
    CONTAINS(err.text, "value 2 is nan");
    EQUAL_INT(lm_correlated_of_function(0, 8, box, 1, 1, (double)NAN, &c, &err), LM_EINPUT);
    EQUAL_INT(lm_correlated_of_function(8, 8, box, 1, 1, (double)INFINITY, &c, &err), LM_EINPUT);
    EQUAL_INT(lm_correlated_of_function(8, 8, box, 1, 1, -1, &c, &err), LM_EINPUT);
    EQUAL_INT(lm_correlated_of_power(8, 8, negative, 1, 2, (double)NAN, &c, &err), LM_EINPUT);
    CONTAINS(err.text, "below 0");
    EQUAL_INT(lm_correlated_of_table(8, 8, negative, box, 2, (double)NAN, &c, &err), LM_EINPUT);
    CONTAINS(err.text, "must grow");
    EQUAL_INT(lm_correlated_of_table(8, 8, box, box, 0, (double)NAN, &c, &err), LM_EINPUT);
    EQUAL_INT(lm_correlated_of_law(8, 8, -1, 2, 1, &c, &err), LM_EINPUT);
    EQUAL_INT(lm_correlated_of_law(8, 8, 1e300, 2, 1, &c, &err), LM_EINPUT);
    EQUAL_INT(lm_correlated_of_law(8, 8, (double)NAN, 2, 1, &c, &err), LM_EINPUT);
    const double dark[] = {0, 0};
    EQUAL_INT(lm_correlated_of_power(1, 1, dark, 1, 2, (double)NAN, &c, &err), LM_EINPUT);
    CHECK(!c);
}

TEST(allocations_that_fail_are_survived)
{
    double xi[9] = {0, 0.1, 0, 0.1, 1, 0.1, 0, 0.1, 0}, power[9] = {3, 2, 2, 2, 1, 1, 2, 1, 1};
    for (unsigned way = 0; way < 2; way++)
        for (uint64_t n = 1; n < 40; n++) {
            LM_OWN(lm_correlated) c = NULL;
            lm_error err = {0};
            lm_alloc_fail_at(n);
            lm_status status = way ? lm_correlated_of_power(16, 16, power, 3, 3, 1, &c, &err)
                                   : lm_correlated_of_function(16, 16, xi, 3, 3, 1, &c, &err);
            lm_alloc_fail_at(0);
            CHECK(status == (c ? LM_OK : LM_EMEMORY));
            if (c && n > 20) break;
        }
}
