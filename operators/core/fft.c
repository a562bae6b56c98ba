/* Plans live in one list behind a mutex. Those that nobody has open stay, up to a limit, as the next record of a survey
 * has most likely the size of this one. */
#include "operators/core/fft.h"

#include <fftw3.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>

enum { IDLE_LIMIT = 64 };

struct lm_fft {
    size_t rows, columns, stride;
    bool single;
    unsigned users;
    uint64_t last_use;
    void *row, *row_back, *column, *column_back; /* fftw_plan or fftwf_plan */
    lm_fft *next;
};

static pthread_mutex_t planner = PTHREAD_MUTEX_INITIALIZER;
static lm_fft *plans;
static uint64_t clock_ticks;

void lm_fft_planner_lock(void)
{
    pthread_mutex_lock(&planner);
}

void lm_fft_planner_unlock(void)
{
    pthread_mutex_unlock(&planner);
}

/* A length's price: proportional to it, dearer with a factor of 7 and where it is not a multiple of 16 (measured with
 * FFTW 3.3.10 on AVX2 and AVX-512 machines: 280 costs a sixth more than 288, 270 a fifth). */
static double price(size_t n)
{
    double p = (double)n;
    size_t left = n;
    bool seven = false;
    while (left % 2 == 0) left /= 2;
    while (left % 3 == 0) left /= 3;
    while (left % 5 == 0) left /= 5;
    for (; left % 7 == 0; left /= 7) seven = true;
    if (left != 1) return -1;
    if (seven) p *= 1.08;
    if (n > 32 && n % 16) p *= n % 8 ? 1.10 : 1.04;
    return p;
}

size_t lm_fft_size(size_t n)
{
    size_t best = 0;
    double best_price = 0;
    for (size_t m = n ? n : 1; !best || (double)m < best_price; m++) { /* beyond, length alone costs more */
        double p = price(m);
        if (p > 0 && (!best || p < best_price)) best = m, best_price = p;
    }
    return best;
}

static void free_plan(lm_fft *fft)
{
    void *const all[] = {fft->row, fft->row_back, fft->column, fft->column_back};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (!all[i]) continue;
        if (fft->single) fftwf_destroy_plan(all[i]);
        else fftw_destroy_plan(all[i]);
    }
    lm_free(fft);
}

/* ESTIMATE reads and writes none of these arrays; their alignment and being apart is what counts. */
static bool make_plans(lm_fft *fft)
{
    int rows = (int)fft->rows, columns = (int)fft->columns, half = columns / 2 + 1, stride = (int)fft->stride;
    size_t bytes = lm_fft_spectrum_bytes(fft);
    void *spectrum = lm_alloc_data(bytes);
    void *real = lm_alloc_data(fft->columns * sizeof(double));
    if (spectrum && real && fft->single) {
        fft->row = fftwf_plan_dft_r2c_1d(columns, real, spectrum, FFTW_ESTIMATE);
        fft->row_back = fftwf_plan_dft_c2r_1d(columns, spectrum, real, FFTW_ESTIMATE);
        fft->column = fftwf_plan_many_dft(1, &rows, half, spectrum, NULL, stride, 1, spectrum, NULL, stride, 1,
                                          FFTW_FORWARD, FFTW_ESTIMATE);
        fft->column_back = fftwf_plan_many_dft(1, &rows, half, spectrum, NULL, stride, 1, spectrum, NULL, stride, 1,
                                               FFTW_BACKWARD, FFTW_ESTIMATE);
    } else if (spectrum && real) {
        fft->row = fftw_plan_dft_r2c_1d(columns, real, spectrum, FFTW_ESTIMATE);
        fft->row_back = fftw_plan_dft_c2r_1d(columns, spectrum, real, FFTW_ESTIMATE);
        fft->column = fftw_plan_many_dft(1, &rows, half, spectrum, NULL, stride, 1, spectrum, NULL, stride, 1,
                                         FFTW_FORWARD, FFTW_ESTIMATE);
        fft->column_back = fftw_plan_many_dft(1, &rows, half, spectrum, NULL, stride, 1, spectrum, NULL, stride, 1,
                                              FFTW_BACKWARD, FFTW_ESTIMATE);
    }
    lm_free(spectrum);
    lm_free(real);
    return fft->row && fft->row_back && fft->column && fft->column_back;
}

static void drop_idle(size_t keep)
{
    for (;;) {
        size_t idle = 0;
        lm_fft **oldest = NULL;
        for (lm_fft **at = &plans; *at; at = &(*at)->next) {
            if ((*at)->users) continue;
            idle++;
            if (!oldest || (*at)->last_use < (*oldest)->last_use) oldest = at;
        }
        if (idle <= keep) return;
        lm_fft *gone = *oldest;
        *oldest = gone->next;
        free_plan(gone);
    }
}

lm_status lm_fft_open(size_t rows, size_t columns, bool single, lm_fft **ret, lm_error *err)
{
    if (!rows || !columns) return LM_FAIL(err, LM_EINPUT, "a Fourier transform of %zu x %zu numbers", rows, columns);
    if (rows > INT_MAX / 2 || columns > INT_MAX / 2 || rows > (size_t)INT_MAX * 64 / columns)
        return LM_FAIL_HINT(err, LM_EINPUT, "Cut the image into smaller stamps.",
                            "a Fourier transform of %zu x %zu numbers is too large", rows, columns);
    pthread_mutex_lock(&planner);
    lm_fft *fft = plans;
    while (fft && !(fft->rows == rows && fft->columns == columns && fft->single == single)) fft = fft->next;
    if (!fft && (fft = lm_alloc(1, sizeof *fft))) {
        fft->rows = rows, fft->columns = columns, fft->single = single;
        size_t line = single ? 8 : 4; /* complex numbers in 64 bytes */
        fft->stride = (columns / 2 + 1 + line - 1) / line * line;
        if (fft->stride / line % 2 == 0) fft->stride += line; /* else columns crowd few sets of the cache */
        if (make_plans(fft)) {
            fft->next = plans;
            plans = fft;
        } else {
            free_plan(fft);
            fft = NULL;
        }
    }
    if (fft) {
        fft->users++;
        fft->last_use = ++clock_ticks;
        drop_idle(IDLE_LIMIT);
    }
    pthread_mutex_unlock(&planner);
    if (!fft) return LM_NOMEM(err);
    *ret = fft;
    return LM_OK;
}

lm_fft *lm_fft_close(lm_fft *fft)
{
    if (!fft) return NULL;
    pthread_mutex_lock(&planner);
    fft->users--;
    pthread_mutex_unlock(&planner);
    return NULL;
}

void lm_fft_forget(void)
{
    pthread_mutex_lock(&planner);
    drop_idle(0);
    pthread_mutex_unlock(&planner);
}

size_t lm_fft_stride(const lm_fft *fft)
{
    return fft->stride;
}

size_t lm_fft_spectrum_bytes(const lm_fft *fft)
{
    return fft->rows * fft->stride * 2 * (fft->single ? sizeof(float) : sizeof(double));
}

void lm_fft_row_f64(const lm_fft *fft, const double *real, double *spectrum_row)
{
    fftw_execute_dft_r2c(fft->row, (double *)(uintptr_t)real, (fftw_complex *)spectrum_row);
}

void lm_fft_row_f32(const lm_fft *fft, const float *real, float *spectrum_row)
{
    fftwf_execute_dft_r2c(fft->row, (float *)(uintptr_t)real, (fftwf_complex *)spectrum_row);
}

void lm_fft_row_back_f64(const lm_fft *fft, double *spectrum_row, double *real)
{
    fftw_execute_dft_c2r(fft->row_back, (fftw_complex *)spectrum_row, real);
}

void lm_fft_row_back_f32(const lm_fft *fft, float *spectrum_row, float *real)
{
    fftwf_execute_dft_c2r(fft->row_back, (fftwf_complex *)spectrum_row, real);
}

void lm_fft_columns_f64(const lm_fft *fft, double *spectrum, bool back)
{
    fftw_complex *s = (fftw_complex *)spectrum;
    fftw_execute_dft(back ? fft->column_back : fft->column, s, s);
}

void lm_fft_columns_f32(const lm_fft *fft, float *spectrum, bool back)
{
    fftwf_complex *s = (fftwf_complex *)spectrum;
    fftwf_execute_dft(back ? fft->column_back : fft->column, s, s);
}
