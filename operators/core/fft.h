/* Real two-dimensional Fourier transforms through FFTW, cut into row and column passes.
 *
 * A caller that works row by row (a convolution, an iteration of Richardson-Lucy) transforms only the rows that hold
 * something, and does its arithmetic while a row is in the nearest cache. Plans are made once a size with FFTW_ESTIMATE,
 * so that a result never depends on timing, and are shared by all threads; each pass runs on the calling thread.
 *
 * A spectrum is [rows][stride] complex numbers, interleaved (re, im), 64-byte aligned (lm_alloc_data, lm_step_scratch);
 * columns 0 .. columns/2 count, the rest is padding. Transforms are not normalised: forward then back multiplies by
 * rows * columns. Sign of the forward transform: exp(-2 pi i ...), as numpy.
 */
#ifndef LM_OPERATORS_CORE_FFT_H
#define LM_OPERATORS_CORE_FFT_H

#include "runtime/alloc.h"
#include "runtime/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct lm_fft lm_fft;

/* The length >= n (n >= 1) at which a transform is fastest among 2^a 3^b 5^c 7^d. */
size_t lm_fft_size(size_t n);

/* A shared plan for rows x columns reals. Close it as often as it was opened. LM_EMEMORY, or LM_EINPUT if a side is 0
 * or beyond FFTW's int. */
lm_status lm_fft_open(size_t rows, size_t columns, bool single, lm_fft **ret, lm_error *err);
lm_fft *lm_fft_close(lm_fft *fft);
LM_OWNABLE(lm_fft, lm_fft_close)

size_t lm_fft_stride(const lm_fft *fft);         /* complex numbers from one row of a spectrum to the next */
size_t lm_fft_spectrum_bytes(const lm_fft *fft); /* of a whole spectrum */

/* One row of `columns` reals (64-byte aligned, kept) to its half spectrum. */
void lm_fft_row_f64(const lm_fft *fft, const double *real, double *spectrum_row);
void lm_fft_row_f32(const lm_fft *fft, const float *real, float *spectrum_row);
/* And back; the spectrum's row is lost. */
void lm_fft_row_back_f64(const lm_fft *fft, double *spectrum_row, double *real);
void lm_fft_row_back_f32(const lm_fft *fft, float *spectrum_row, float *real);
/* All columns of a spectrum, in place. */
void lm_fft_columns_f64(const lm_fft *fft, double *spectrum, bool back);
void lm_fft_columns_f32(const lm_fft *fft, float *spectrum, bool back);

/* FFTW's planner is not thread safe: whoever plans elsewhere does it between these two. */
void lm_fft_planner_lock(void);
void lm_fft_planner_unlock(void);

/* Drops all plans that nobody has open (leak checkers, tests). */
void lm_fft_forget(void);

#endif
