/* Convergence on pixels: what an image of kappa deflects, exactly, for uniform square pixels.
 *
 *   psi(theta) = 1/pi integral of kappa(theta') ln|theta - theta'|,    alpha = grad psi,   kappa = 0 outside the frame
 *
 * The integral over a square is known in closed form, so that nothing is sampled: at pixel centres kappa is convolved
 * with it by a zero-padded FFT, between them a sum over the 5 x 5 pixels around is exact, and all others together are
 * a harmonic function, known by its Taylor coefficients about each pixel's centre, which FFTs give too (the local
 * expansions of Greengard & Rokhlin 1987, on a grid).
 *
 * That is exact for the image as it is. If the image samples a smooth kappa at the pixels' centres, alpha there comes
 * out larger by pixel^2/6 grad kappa: subtract that to be off by pixel^4 only. Point masses at the centres, which
 * others use with a like correction of pixel^2/(2 pi) grad kappa, cost the same and have no psi nor shear in their own
 * pixel: there is no such mode here.
 *
 * Images are [ny][nx], row 0 at the bottom; angles in arcsec, signs and units as in mass.h. Results do not depend on
 * threads; what is made by _new is shared by any number of them.
 */
#ifndef LM_CORE_LENSING_KAPPA_MAP_H
#define LM_CORE_LENSING_KAPPA_MAP_H

#include "operators/core/lensing/mass.h"
#include "runtime/alloc.h"
#include "runtime/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct lm_kappa_grid {
    size_t ny, nx;
    double pixel; /* side, arcsec */
    double x, y;  /* centre of the frame, arcsec */
} lm_kappa_grid;

/* The kernels of a grid: made once for all images on it. anywhere: for lm_kappa_field_new too, which takes 33 more
 * spectra of about 2 ny x 2 nx/2 doubles (35 MB at 256 x 256). LM_EINPUT: an empty grid, a pixel that is not above 0;
 * LM_EMEMORY. */
typedef struct lm_kappa_kernel lm_kappa_kernel;
lm_status lm_kappa_kernel_new(const lm_kappa_grid *grid, bool anywhere, lm_kappa_kernel **ret, lm_error *err);
lm_kappa_kernel *lm_kappa_kernel_free(lm_kappa_kernel *kernel);
LM_OWNABLE(lm_kappa_kernel, lm_kappa_kernel_free)

/* Adds the maps at the pixel centres, [ny][nx] each, to those that are not NULL: exact to rounding, 3e-14 of the
 * largest value. LM_EINPUT names a pixel that is not finite; LM_EMEMORY. */
lm_status lm_kappa_at_centres(const lm_kappa_kernel *kernel, const double *kappa, const lm_mass_maps *to,
                              lm_error *err);

/* The adjoint: adds to ret [ny][nx] what each pixel of kappa does to a number whose derivatives by the maps at the
 * centres are `by` (NULL: 0), dL/dkappa = sum over maps of K^T dL/dmap. Errors as above. */
lm_status lm_kappa_adjoint(const lm_kappa_kernel *kernel, const lm_mass_maps *by, double *ret, lm_error *err);

/* Adds the maps at n positions by a sum over all pixels for each: exact anywhere, and fast enough for few positions.
 * On the edge of a pixel kappa is the mean of both sides, and the shear at its corner, where it diverges as a
 * logarithm, is large. */
void lm_kappa_sum(const lm_kappa_grid *grid, const double *kappa, size_t n, const double *x, const double *y,
                  const lm_mass_maps *to);

/* The same for many positions, in a time that does not grow with the image: off by at most 1e-11 pixel max|kappa| in
 * alpha, 1e-9 max|kappa| in the shear, and less in the mean. Outside the frame it is the sum over all pixels again,
 * within 1e-15, from twice its half diagonal on by moments. kappa on an edge is that of one side. The kernel must
 * have been made for it (LM_EINPUT), and live as long as *ret needs to be made only: image and grid are copied. */
typedef struct lm_kappa_field lm_kappa_field;
lm_status lm_kappa_field_new(const lm_kappa_kernel *kernel, const double *kappa, lm_kappa_field **ret, lm_error *err);
lm_kappa_field *lm_kappa_field_free(lm_kappa_field *field);
LM_OWNABLE(lm_kappa_field, lm_kappa_field_free)
void lm_kappa_field_add(const lm_kappa_field *field, size_t n, const double *x, const double *y,
                        const lm_mass_maps *to);

/* The adjoint of lm_kappa_field_add for all images on the kernel's grid: adds to ret [ny][nx] what each pixel does to a
 * number whose derivatives by the maps at the n positions are `by` (NULL: 0). LM_EINPUT names a position whose
 * derivative, or place, is not finite; LM_EMEMORY. */
lm_status lm_kappa_field_adjoint(const lm_kappa_kernel *kernel, size_t n, const double *x, const double *y,
                                 const lm_mass_maps *by, double *ret, lm_error *err);

#endif
