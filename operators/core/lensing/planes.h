/* Light that passes several lens planes: where it comes from, how it is distorted, when it arrives.
 *
 * A ray seen at theta runs straight between planes and is bent by alpha_i at theta_i on plane i (Schneider, Ehlers &
 * Falco 1992, chapter 9). With D(a, b) transverse comoving distances, and the masses' strengths those of reduced
 * deflections with respect to the source at z_s, as on a single plane:
 *
 *   theta_j = theta - sum_{i<j} D(i,j)/D(0,j) D(0,s)/D(i,s) alpha_i(theta_i),       beta = theta_s
 *   t = sum_i D(0,i) D(0,i+1)/(c D(i,i+1)) |theta_i - theta_{i+1}|^2/2 - D(0,i) D(0,s)/(c D(i,s)) psi_i(theta_i)
 *
 * The ray is carried from plane to plane by X'' = -K X, so that curved universes cost no more than flat ones, with the
 * deviation from the unbent ray as the unknown: a weak population loses no digits beside theta. One plane gives what
 * cosmology.h and mass.h give.
 *
 * Angles are in arcsec, times in days after the unbent ray, up to the zero points of the potentials. Everything here
 * is pure once made: any number of threads may trace through the same planes.
 */
#ifndef LM_CORE_LENSING_PLANES_H
#define LM_CORE_LENSING_PLANES_H

#include "operators/core/lensing/cosmology.h"
#include "operators/core/lensing/mass.h"
#include "runtime/alloc.h"
#include "runtime/error.h"

#include <stddef.h>

/* Masses at one redshift, 0 < z < z_s. n = 0 is a screen, for the positions where rays pass it. */
typedef struct lm_plane {
    double z;
    const lm_mass *masses; /* [n], which have passed lm_mass_check */
    size_t n;
} lm_plane;

/* Redshifts nearer than this times 1 + z are the same: planes merge, in the order given, at the lowest z of them. */
#define LM_PLANES_APART 1e-9

typedef struct lm_planes lm_planes;

/* The planes [n], in any order, before a source at z_s. The list is copied, the masses are not: they must live as long
 * as *ret, and their parameters may change between traces. n = 0: no deflection.
 *
 * LM_EINPUT names the plane that lies at the observer, or at the source or behind it, which cannot have a strength
 * reduced to z_s: leave it out. LM_EINPUT also from the antipode of a closed universe on, and LM_EMEMORY. */
lm_status lm_planes_new(const lm_cosmology *cosmology, double z_s, const lm_plane *planes, size_t n, lm_planes **ret,
                        lm_error *err);
lm_planes *lm_planes_free(lm_planes *planes);
LM_OWNABLE(lm_planes, lm_planes_free)

/* How many there are after merging; the one, counted from the observer, on which the k-th of the list lies. */
size_t lm_planes_count(const lm_planes *planes);
size_t lm_planes_of(const lm_planes *planes, size_t k);

/* What is wanted at n positions: arrays [n] that are set; NULL: not wanted. */
typedef struct lm_trace {
    double *beta_x, *beta_y;           /* in the source plane, arcsec */
    double *a_xx, *a_xy, *a_yx, *a_yy; /* a_xy = d beta_x/d theta_y; not symmetric behind two planes */
    double *days;                      /* arrival time */
    double *theta_x, *theta_y;         /* [lm_planes_count][n]: where each plane is passed, arcsec */
} lm_trace;

void lm_planes_trace(const lm_planes *planes, size_t n, const double *x, const double *y, const lm_trace *ret);

/* The exact derivatives of the same with respect to parameter `by` of mass `mass` of the k-th of the list; with
 * LM_BY_X or LM_BY_Y with respect to theta, k and mass unused. Those of `a` cost three times what the others do: the
 * third derivatives of each later mass's potential. */
void lm_planes_derive(const lm_planes *planes, size_t k, size_t mass, int by, size_t n, const double *x,
                      const double *y, const lm_trace *ret);

/* Mean convergence of n masses within radius arcsec around (x, y), from their deflections along the rim:
 *
 *   <kappa> = 1/(2 pi radius) integral of alpha . e_r d phi
 *
 * for singular masses too, and as good as the deflections are, to 1e-13, wherever the masses lie. A point mass nearer
 * than 1e-7 radius to the rim counts half. LM_EINPUT: the radius is not above 0, or deflections are not finite. */
lm_status lm_aperture_kappa(const lm_mass *masses, size_t n, double x, double y, double radius, double *ret,
                            lm_error *err);

/* The sheet that takes it off again, -<kappa> with no deflection at (x, y). Haloes along the line of sight are part of
 * the mean density that the distances have already: added to a plane on top of it they must come with this sheet, or
 * they focus twice (e.g. Gilman et al. 2019, 1901.11031). Give it haloes of the plane's whole realisation; for that
 * of the population's mean, average over realisations. */
lm_status lm_aperture_sheet(const lm_mass *masses, size_t n, double x, double y, double radius, lm_mass *ret,
                            lm_error *err);

#endif
