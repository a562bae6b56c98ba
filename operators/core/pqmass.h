/* PQMass: do two sets of samples come from one distribution? (Lemos et al. 2024, arXiv:2402.04355.)
 *
 * Reference points divide space into the cells of points nearest to each of them. Counting both sets cell by cell gives a
 * table of 2 x k numbers, and a chi-square test of its homogeneity needs no density and no binning of the axes.
 *
 * The nearest references are found through the matrix product of samples and references in single precision; its worst
 * rounding error is bounded for each sample, and every reference that the bound leaves in doubt is measured again in double
 * precision. The answer is always that of the direct computation in double precision, ties to the lowest index.
 *
 * Arrays are row-major; samples are float32 or float64 [n, dims].
 */
#ifndef LM_CORE_PQMASS_H
#define LM_CORE_PQMASS_H

#include "operators/core/draw.h"
#include "runtime/alloc.h"
#include "runtime/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct lm_cells lm_cells;

/* n_sets tessellations of n_refs points each: refs is [n_sets, n_refs, dims]. scale (or NULL: all 1) [dims]: distances are
 * sum_k ((x_k - r_k) / scale_k)^2. Everything is copied. LM_EINPUT names the set and point that is not finite. */
lm_status lm_cells_new(const double *refs, size_t n_sets, size_t n_refs, size_t dims, const double *scale,
                       lm_cells **ret, lm_error *err);
lm_cells *lm_cells_free(lm_cells *cells);
LM_OWNABLE(lm_cells, lm_cells_free)

/* The nearest reference of each set, for n samples [n, dims]: ret is [n, n_sets]. *ret_bad: the first sample
 * that has a value which is not finite, or n. Uses scratch inside `cells`: not for two threads at once. */
void lm_cells_find_f32(lm_cells *cells, const float *samples, size_t n, uint32_t *ret, size_t *ret_bad);
void lm_cells_find_f64(lm_cells *cells, const double *samples, size_t n, uint32_t *ret, size_t *ret_bad);
/* How many samples (times sets) were measured again in double precision so far: for benchmarks. */
size_t lm_cells_doubts(const lm_cells *cells);

/* Chi-square of the 2 x n table of counts, cells empty in both left out: sum (k - e)^2/e with e = row * column / total.
 * *ret_filled is the number of cells that are left; degrees of freedom are one less. 0 if a row is empty. */
double lm_two_sample_chi2(const int64_t *x, const int64_t *y, size_t n, size_t *ret_filled);

/* Draws n_refs references out of nx + ny samples, without replacement: how many come from x is binomial with the fraction
 * nx/(nx + ny). ret[i] < nx is a sample of x, nx + j is sample j of y. Keeps one sample at least of both sets out.
 * taken: [nx + ny] zeros on entry; 1 for what was drawn on return. LM_EINPUT if there are not enough samples. */
lm_status lm_pqm_draw(lm_draw_below *below, void *random, size_t nx, size_t ny, size_t n_refs, size_t *ret,
                      uint8_t *taken, lm_error *err);

/* Mean and sum of squared deviations of each column, updated by one row (Welford); n counts this row. */
void lm_moments_add_f32(const float *row, size_t dims, size_t n, double *mean, double *square);
void lm_moments_add_f64(const double *row, size_t dims, size_t n, double *mean, double *square);

#endif
