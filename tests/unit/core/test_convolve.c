/* Transforms against sums, convolutions against their definition, and each adjoint against its convolution. */
#include "operators/core/convolve.h"
#include "tests/test.h"

#include <pthread.h>

static uint64_t random_state;
static double uniform(void)
{
    random_state = random_state * 6364136223846793005U + 1442695040888963407U;
    return (double)(random_state >> 11) / 9007199254740992.0;
}

static double *random_image(size_t n)
{
    double *image = lm_alloc(n, sizeof *image);
    CHECK(image);
    for (size_t i = 0; i < n; i++) image[i] = uniform() - 0.3;
    return image;
}

static lm_psf random_psf(size_t h, size_t w, lm_psf_centre centre)
{
    lm_error err;
    lm_psf psf;
    double *pixels = random_image(h * w);
    for (size_t i = 0; i < h * w; i++) pixels[i] = fabs(pixels[i]) + 0.01;
    OK(lm_psf_init(&psf, pixels, h, w, centre, true, &err), &err);
    lm_free(pixels);
    return psf;
}

/* ---- transforms ---------------------------------------------------------------------------------------------------- */

TEST(fft_sizes_are_products_of_small_primes)
{
    for (size_t n = 1; n < 3000; n++) {
        size_t m = lm_fft_size(n), left = m;
        const size_t primes[] = {2, 3, 5, 7};
        for (size_t i = 0; i < 4; i++)
            while (left % primes[i] == 0) left /= primes[i];
        EQUAL_INT(left, 1);
        CHECK(m >= n);
        CHECK((double)m <= 1.2 * (double)n + 8);
    }
}

static void against_sum(size_t rows, size_t columns)
{
    lm_error err;
    LM_OWN(lm_fft) fft = NULL;
    OK(lm_fft_open(rows, columns, false, &fft, &err), &err);
    size_t stride = lm_fft_stride(fft);
    double *image = random_image(rows * columns);
    double *spectrum = lm_alloc_data(lm_fft_spectrum_bytes(fft)), *row = lm_alloc_data(columns * sizeof *row);
    CHECK(spectrum && row);
    for (size_t y = 0; y < rows; y++) {
        memcpy(row, image + y * columns, columns * sizeof *row);
        lm_fft_row_f64(fft, row, spectrum + 2 * y * stride);
    }
    lm_fft_columns_f64(fft, spectrum, false);
    for (size_t k = 0; k < rows; k++)
        for (size_t l = 0; l <= columns / 2; l++) {
            double re = 0, im = 0;
            for (size_t i = 0; i < rows * columns; i++) {
                double phase = -2 * M_PI *
                               ((double)(k * (i / columns) % rows) / (double)rows +
                                (double)(l * (i % columns) % columns) / (double)columns);
                re += image[i] * cos(phase);
                im += image[i] * sin(phase);
            }
            NEAR(spectrum[2 * (k * stride + l)], re, ABS(1e-11)); /* rounding of rows * columns terms of order 1 */
            NEAR(spectrum[2 * (k * stride + l) + 1], im, ABS(1e-11));
        }
    lm_fft_columns_f64(fft, spectrum, true);
    for (size_t y = 0; y < rows; y++) {
        lm_fft_row_back_f64(fft, spectrum + 2 * y * stride, row);
        for (size_t x = 0; x < columns; x++)
            NEAR(row[x] / (double)(rows * columns), image[y * columns + x], ABS(1e-13));
    }
    lm_free(image), lm_free(spectrum), lm_free(row);
}

TEST(fft_is_the_fourier_sum)
{
    against_sum(1, 1);
    against_sum(1, 7);
    against_sum(8, 1);
    against_sum(12, 15);
    against_sum(11, 13);
    against_sum(16, 10);
}

TEST(fft_refuses_nothing_and_too_much)
{
    lm_error err;
    lm_fft *fft = NULL;
    EQUAL_INT(lm_fft_open(0, 4, false, &fft, &err), LM_EINPUT);
    EQUAL_INT(lm_fft_open((size_t)1 << 32, 4, false, &fft, &err), LM_EINPUT);
    CHECK(!fft);
}

static void *open_many(void *arg)
{
    size_t *failed = arg;
    for (size_t i = 0; i < 200; i++) {
        lm_fft *fft = NULL;
        if (lm_fft_open(4 + i % 5, 8 + i % 7, i % 2, &fft, NULL)) (*failed)++;
        lm_fft_close(fft);
    }
    return NULL;
}

TEST(fft_plans_are_shared_by_threads)
{
    pthread_t threads[4];
    size_t failed[4] = {0};
    for (size_t i = 0; i < 4; i++) CHECK(!pthread_create(&threads[i], NULL, open_many, &failed[i]));
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        EQUAL_INT(failed[i], 0);
    }
    lm_fft_forget();
}

/* ---- the PSF ------------------------------------------------------------------------------------------------------- */

static void origin(const double *pixels, size_t h, size_t w, lm_psf_centre centre, size_t y, size_t x)
{
    lm_error err;
    lm_psf psf;
    OK(lm_psf_init(&psf, pixels, h, w, centre, true, &err), &err);
    EQUAL_INT(psf.cy, y);
    EQUAL_INT(psf.cx, x);
    lm_psf_done(&psf);
}

TEST(psf_origin_is_where_it_was_asked)
{
    const double off[20] = {0, 0, 0, 0, 0, 0, 0, 1, 1, 3, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0}; /* 4 x 5 */
    origin(off, 4, 5, LM_PSF_MIDDLE, 1, 2);
    origin(off, 4, 5, LM_PSF_PEAK, 1, 4);
    origin(off, 4, 5, LM_PSF_CENTROID, 1, 3); /* row 1.3, column 3.4 */
}

TEST(psf_that_is_none_is_refused)
{
    lm_error err;
    lm_psf psf;
    const double zero[4] = {0, 0, 0, 0}, negative[2] = {1, -2}, hole[3] = {1, NAN, 1}, far[3] = {-5, 1, 5};
    EQUAL_INT(lm_psf_init(&psf, zero, 2, 2, LM_PSF_MIDDLE, true, &err), LM_EINPUT);
    CONTAINS(err.text, "sum to 0");
    EQUAL_INT(lm_psf_init(&psf, negative, 1, 2, LM_PSF_MIDDLE, true, &err), LM_EINPUT);
    EQUAL_INT(lm_psf_init(&psf, hole, 1, 3, LM_PSF_MIDDLE, true, &err), LM_EINPUT);
    CONTAINS(err.text, "column 1");
    EQUAL_INT(lm_psf_init(&psf, far, 1, 3, LM_PSF_CENTROID, true, &err), LM_EINPUT);
    CONTAINS(err.text, "centroid");
    lm_psf_done(&psf);
}

TEST(psf_clip_keeps_the_sum)
{
    lm_error err;
    lm_psf psf;
    const double pixels[3] = {-0.5, 2, 0.5};
    OK(lm_psf_init(&psf, pixels, 1, 3, LM_PSF_MIDDLE, false, &err), &err);
    EQUAL_INT(psf.negative, 1);
    lm_psf_clip(&psf);
    NEAR(psf.at[0], 0, ABS(0));
    NEAR(psf.at[0] + psf.at[1] + psf.at[2], 2, ABS(1e-15)); /* one rounding */
    lm_psf_done(&psf);
}

/* ---- convolution --------------------------------------------------------------------------------------------------- */

static long wrap(long i, long n)
{
    return ((i % n) + n) % n;
}

/* Pixel i of an endless line by an edge's rule; -1: black. Written from the picture in convolve.h, not from its code. */
static long beyond(long i, long n, lm_edge edge)
{
    if (i >= 0 && i < n) return i;
    switch (edge) {
    case LM_EDGE_OPEN:
    case LM_EDGE_ZERO: return -1;
    case LM_EDGE_NEAREST: return i < 0 ? 0 : n - 1;
    case LM_EDGE_PERIODIC: return wrap(i, n);
    case LM_EDGE_MIRROR:
        while (i < 0 || i >= n) i = i < 0 ? -1 - i : 2 * n - 1 - i;
        return i;
    }
    return -1;
}

static double by_definition(const lm_convolver *c, const lm_psf *psf, const double *sky, size_t y, size_t x)
{
    double sum = 0;
    for (size_t i = 0; i < psf->h; i++)
        for (size_t j = 0; j < psf->w; j++) {
            long sy = beyond((long)(y + c->oy + psf->cy) - (long)i, (long)c->sh, c->edge);
            long sx = beyond((long)(x + c->ox + psf->cx) - (long)j, (long)c->sw, c->edge);
            CHECK(c->edge != LM_EDGE_OPEN || (sy >= 0 && sx >= 0)); /* the sky holds all that the data see */
            if (sy >= 0 && sx >= 0) sum += psf->at[i * psf->w + j] * sky[sy * (long)c->sw + sx];
        }
    return sum;
}

static void check_convolution(size_t h, size_t w, size_t p, size_t q, lm_psf_centre centre, lm_edge edge)
{
    lm_error err;
    lm_psf psf = random_psf(p, q, centre);
    LM_OWN(lm_convolver) c = NULL;
    LM_OWN(lm_convolver) single = NULL;
    OK(lm_convolver_new(&psf, h, w, edge, false, &c, &err), &err);
    OK(lm_convolver_new(&psf, h, w, edge, true, &single, &err), &err);
    size_t n = h * w, ns = c->sh * c->sw;
    double *sky = random_image(ns), *data = random_image(n), *blurred = random_image(n), *back = random_image(ns);
    float *sky32 = lm_alloc(ns + n, sizeof *sky32), *blurred32 = sky32 + ns;
    CHECK(sky32);
    lm_convolve_f64(c, sky, blurred);
    lm_convolve_adjoint_f64(c, data, back);
    for (size_t i = 0; i < ns; i++) sky32[i] = (float)sky[i];
    lm_convolve_f32(single, sky32, blurred32);
    double forward = 0, backward = 0;
    for (size_t i = 0; i < n; i++) {
        double want = by_definition(c, &psf, sky, i / w, i % w);
        NEAR(blurred[i], want, ABS(1e-14 * 20));     /* rounding of a transform of numbers of order 1 */
        NEAR((double)blurred32[i], want, ABS(1e-6)); /* the same in single */
        forward += blurred[i] * data[i];
    }
    for (size_t i = 0; i < ns; i++) backward += sky[i] * back[i];
    NEAR(forward, backward, ABS(1e-13 * (double)n)); /* <Hx, y> = <x, H'y> but for rounding */
    lm_convolve_adjoint_f32(single, blurred32, sky32);
    lm_convolve_adjoint_f64(c, blurred, back);
    for (size_t i = 0; i < ns; i++) NEAR((double)sky32[i], back[i], ABS(2e-6));
    lm_psf_done(&psf);
    lm_free(sky), lm_free(data), lm_free(blurred), lm_free(back), lm_free(sky32);
}

TEST(convolution_is_the_sum_and_its_adjoint_fits)
{
    for (int edge = LM_EDGE_OPEN; edge <= LM_EDGE_PERIODIC; edge++) {
        lm_edge e = (lm_edge)edge;
        check_convolution(12, 9, 3, 5, LM_PSF_MIDDLE, e);
        check_convolution(10, 16, 4, 6, LM_PSF_MIDDLE, e); /* even */
        check_convolution(10, 11, 5, 4, LM_PSF_PEAK, e);   /* off the middle */
        check_convolution(1, 1, 1, 1, LM_PSF_MIDDLE, e);
        check_convolution(1, 1, 3, 4, LM_PSF_MIDDLE, e);
        check_convolution(1, 8, 5, 3, LM_PSF_MIDDLE, e);
        check_convolution(4, 3, 13, 18, LM_PSF_PEAK, e); /* PSF larger than the image, several times */
    }
}

TEST(convolution_gives_the_same_bits_again)
{
    lm_error err;
    lm_psf psf = random_psf(7, 7, LM_PSF_MIDDLE);
    size_t n = 33 * 21;
    double *sky = random_image(n), *first = random_image(n), *again = random_image(n + 1);
    for (size_t i = 0; i < 3; i++) {
        LM_OWN(lm_convolver) c = NULL;
        OK(lm_convolver_new(&psf, 33, 21, LM_EDGE_MIRROR, false, &c, &err), &err);
        lm_convolve_f64(c, sky, i ? again + i % 2 : first); /* also to an odd address */
        if (i) CHECK(!memcmp(first, again + i % 2, n * sizeof *first));
        lm_fft_forget(); /* a plan in use stays, the others are made anew */
    }
    lm_psf_done(&psf);
    lm_free(sky), lm_free(first), lm_free(again);
}

TEST(convolver_survives_each_failed_allocation)
{
    lm_psf psf = random_psf(3, 3, LM_PSF_MIDDLE);
    lm_fft_forget();
    for (uint64_t i = 1;; i++) {
        lm_error err;
        LM_OWN(lm_convolver) c = NULL;
        lm_alloc_fail_at(i);
        lm_status status = lm_convolver_new(&psf, 5, 5, LM_EDGE_MIRROR, false, &c, &err);
        uint64_t made = lm_alloc_count();
        lm_alloc_fail_at(0);
        lm_fft_forget();
        if (made < i) break; /* it did not come so far */
        EQUAL_INT(status, LM_EMEMORY);
        CHECK(!c);
    }
    lm_psf_done(&psf);
}
