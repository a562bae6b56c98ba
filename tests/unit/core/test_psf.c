/* Point spread functions: their moments and widths, against closed forms, and stars between pixels. */
#include "tests/test.h"

#include "operators/core/psf.h"
#include "runtime/alloc.h"

typedef struct {
    double sum, x, y, xx, xy, yy; /* about the centre */
} moments;

static moments moments_of(const double *image, size_t h, size_t w, double x0, double y0)
{
    moments m = {0};
    for (size_t j = 0; j < h; j++)
        for (size_t i = 0; i < w; i++) {
            double p = image[j * w + i], x = (double)i - x0, y = (double)j - y0;
            m.sum += p, m.x += p * x, m.y += p * y;
            m.xx += p * x * x, m.xy += p * x * y, m.yy += p * y * y;
        }
    return m;
}

static double *profile(const lm_psf_profile *p, double pixel, double x, double y, size_t n)
{
    double *image = lm_alloc(n * n, sizeof *image);
    CHECK(image);
    lm_error err = {0};
    OK(lm_psf_profile_check(p, &err), &err);
    lm_psf_profile_fill(p, pixel, x, y, n, image);
    return image;
}

#define SIGMA 2.3548200450309493 /* fwhm in sigma */

/* Averages over pixels add 1/12 of a pixel's square to the second moments. */
TEST(a_gaussian_has_its_moments)
{
    const lm_psf_profile p = {LM_PSF_GAUSSIAN, 0.3 * SIGMA, 0, 0.6, 0.5};
    double *image = profile(&p, 0.1, 0.03, -0.02, 61);
    moments m = moments_of(image, 61, 61, 30 + 0.3, 30 - 0.2);
    double major = 9 / 0.6, minor = 9 * 0.6, c = cos(0.5), s = sin(0.5);
    NEAR(m.sum, 1, ABS(1e-13));
    NEAR(m.x, 0, ABS(1e-9));
    NEAR(m.y, 0, ABS(1e-9));
    NEAR(m.xx, major * c * c + minor * s * s + 1 / 12.0, REL(1e-6));
    NEAR(m.yy, major * s * s + minor * c * c + 1 / 12.0, REL(1e-6));
    NEAR(m.xy, (major - minor) * c * s, REL(1e-6));
    lm_free(image);
}

/* erf: the exact mean over a pixel, also of one wider than the PSF. */
TEST(a_gaussian_is_averaged_over_pixels)
{
    static const double fwhms[] = {0.4, 1, 3};
    for (size_t f = 0; f < 3; f++) {
        const lm_psf_profile p = {LM_PSF_GAUSSIAN, fwhms[f], 0, 1, 0};
        double *image = profile(&p, 1, 0.2, -0.35, 15), per = 2 * sqrt(M_LN2) / fwhms[f];
        for (size_t j = 0; j < 15; j++)
            for (size_t i = 0; i < 15; i++) {
                double x = (double)i - 7 - 0.2, y = (double)j - 7 + 0.35;
                double want = 0.25 * (erf(per * (x + 0.5)) - erf(per * (x - 0.5))) *
                              (erf(per * (y + 0.5)) - erf(per * (y - 0.5)));
                NEAR(image[j * 15 + i], want, ABS(2e-5));
            }
        lm_free(image);
    }
}

TEST(half_the_height_is_at_half_the_width)
{
    for (int kind = 0; kind < 2; kind++) {
        const lm_psf_profile p = {kind ? LM_PSF_MOFFAT : LM_PSF_GAUSSIAN, 20, 2.5, 0.8, 0};
        double *image = profile(&p, 0.1, 0, 0, 301),
               peak = image[150 * 301 + 150]; /* half widths: 10/sqrt q, 10 sqrt q */
        double x = 10 / sqrt(0.8) / 0.1, at = image[150 * 301 + 150 + (size_t)x],
               next = image[150 * 301 + 151 + (size_t)x];
        NEAR((at + (x - floor(x)) * (next - at)) / peak, 0.5, ABS(3e-5)); /* linear between pixels */
        double y = 10 * sqrt(0.8) / 0.1;
        at = image[(150 + (size_t)y) * 301 + 150], next = image[(151 + (size_t)y) * 301 + 150];
        NEAR((at + (y - floor(y)) * (next - at)) / peak, 0.5, ABS(3e-5)); /* linear between pixels */
        lm_free(image);
    }
}

/* What a radius leaves outside, counted on pixels. */
TEST(a_radius_holds_its_light)
{
    for (int kind = 0; kind < 2; kind++) {
        const lm_psf_profile p = {kind ? LM_PSF_MOFFAT : LM_PSF_GAUSSIAN, 6, 3.5, 1, 0};
        double *image = profile(&p, 1, 0, 0, 401), r = lm_psf_profile_radius(&p, 0.02), outside = 0;
        for (size_t j = 0; j < 401; j++)
            for (size_t i = 0; i < 401; i++)
                if (hypot((double)i - 200, (double)j - 200) > r) outside += image[j * 401 + i];
        NEAR(outside, 0.02, ABS(4e-3)); /* the border goes through pixels */
        lm_free(image);
    }
    const lm_psf_profile p = {LM_PSF_MOFFAT, 1, 2, 1, 0}; /* 1/(1 + r^2/a^2) beyond r */
    double a2 = 1 / (4 * (M_SQRT2 - 1));
    NEAR(lm_psf_profile_radius(&p, 0.25), sqrt(3 * a2), REL(1e-14));
    const lm_psf_profile flat = {LM_PSF_MOFFAT, 1, 2, 0.25, 0};
    NEAR(lm_psf_profile_radius(&flat, 0.25), 2 * sqrt(3 * a2), REL(1e-14));
}

TEST(a_needle_is_one_pixel)
{
    const lm_psf_profile p = {LM_PSF_GAUSSIAN, 1e-6, 0, 1, 0};
    double *image = profile(&p, 1, 0.9, -0.2, 5);
    for (size_t i = 0; i < 25; i++) NEAR(image[i], i == 13 ? 1 : 0, ABS(1e-15));
    lm_free(image);
}

static void no_profile(lm_psf_profile p, const char *why)
{
    lm_error err = {0};
    EQUAL_INT(lm_psf_profile_check(&p, &err), LM_EINPUT);
    CONTAINS(err.text, why);
}

TEST(impossible_profiles_are_named)
{
    no_profile((lm_psf_profile){LM_PSF_GAUSSIAN, 0, 0, 1, 0}, "full width of 0");
    no_profile((lm_psf_profile){LM_PSF_GAUSSIAN, (double)NAN, 0, 1, 0}, "full width of nan");
    no_profile((lm_psf_profile){LM_PSF_MOFFAT, 1, 1, 1, 0}, "beta of 1");
    no_profile((lm_psf_profile){LM_PSF_MOFFAT, 1, (double)NAN, 1, 0}, "beta of nan");
    no_profile((lm_psf_profile){LM_PSF_GAUSSIAN, 1, 0, 1.1, 0}, "q = 1.1");
    no_profile((lm_psf_profile){LM_PSF_GAUSSIAN, 1, 0, 0.5, (double)INFINITY}, "position angle");
}

/* Sum, centre and width of any PSF survive, whatever the shift; by 0 it is the same. */
TEST(a_moved_psf_keeps_its_moments)
{
    static const double psf[12] = {0.01, 0.05, 0.02, 0.03, 0.3, 0.1, 0.02, 0.2, 0.17, 0, 0.06, 0.04};
    double moved[7 * 6];
    const moments before = moments_of(psf, 4, 3, 0, 0);
    for (double t = 0; t < 1; t += 0.09) {
        double x = t, y = 0.95 - t;
        lm_psf_move(psf, 4, 3, x, y, moved);
        moments after = moments_of(moved, 7, 6, 1 + x, 1 + y); /* about the moved origin */
        NEAR(after.sum, before.sum, ABS(1e-14));
        NEAR(after.x, before.x, ABS(1e-13));
        NEAR(after.y, before.y, ABS(1e-13));
        NEAR(after.xx, before.xx, ABS(1e-13));
        NEAR(after.xy, before.xy, ABS(1e-13));
        NEAR(after.yy, before.yy, ABS(1e-13));
    }
    lm_psf_move(psf, 4, 3, 0, 0, moved);
    for (size_t j = 0; j < 4; j++)
        for (size_t i = 0; i < 3; i++) NEAR(moved[(j + 1) * 6 + i + 1], psf[j * 3 + i], ABS(1e-16));
}

/* A well sampled profile, moved, is the profile there, up to third order in the pixel. */
TEST(a_moved_profile_is_a_profile)
{
    for (double fwhm = 4; fwhm < 20; fwhm *= 2) {
        const lm_psf_profile p = {LM_PSF_GAUSSIAN, fwhm, 0, 1, 0};
        double *at = profile(&p, 1, 0, 0, 65), *there = profile(&p, 1, 0.4, 0.7, 65),
               *moved = lm_alloc(68 * 68, sizeof *moved);
        CHECK(moved);
        lm_psf_move(at, 65, 65, 0.4, 0.7, moved);
        double most = at[32 * 65 + 32] * 1.2 / (fwhm * fwhm * fwhm);
        for (size_t j = 0; j < 64; j++) /* the last row and column have light beyond the border */
            for (size_t i = 0; i < 64; i++) NEAR(moved[(j + 1) * 68 + i + 1], there[j * 65 + i], ABS(most));
        lm_free(at);
        lm_free(there);
        lm_free(moved);
    }
}

TEST(a_stamp_falls_where_it_is_put)
{
    static const double psf[6] = {1, 2, 3, 4, 5, 6};
    double to[12] = {0};
    lm_psf_stamp(psf, 2, 3, 1, 2, 2, 10, 3, 4, to); /* samples (1,2) .. (2,4): pixels (0,1) (0,2) (1,1) (1,2) */
    static const double want[12] = {0, 30, 30, 0, 0, 90, 60, 0, 0, 0, 0, 0};
    NEAR_ARRAY(to, want, 12, ABS(1e-13));
    memset(to, 0, sizeof to);
    lm_psf_stamp(psf, 2, 3, -1, 3, 1, 1, 3, 4, to); /* partly outside */
    static const double border[12] = {0, 0, 0, 4};
    NEAR_ARRAY(to, border, 12, ABS(0));
    lm_psf_stamp(psf, 2, 3, -7, 3, 1, 1, 3, 4, to);
    lm_psf_stamp(psf, 2, 3, 0, 99, 1, 1, 3, 4, to);
    NEAR_ARRAY(to, border, 12, ABS(0));
}
