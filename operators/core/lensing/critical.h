/* Critical curves and caustics of one lens plane, and the cut of a singular isothermal lens.
 *
 * With A = 1 - d alpha / d theta, a critical curve is where an eigenvalue of A vanishes: tangential where 1 - kappa -
 * |gamma| does, radial where 1 - kappa + |gamma| does. beta = theta - alpha maps it to a caustic. Angles are in
 * arcsec, areas in arcsec^2. The masses (mass.h) must have passed lm_mass_check.
 */
#ifndef LM_CORE_LENSING_CRITICAL_H
#define LM_CORE_LENSING_CRITICAL_H

#include "operators/core/lensing/points.h"
#include "runtime/alloc.h"

#include <stdbool.h>

typedef struct lm_curve {
    bool radial;              /* else tangential */
    bool closed;              /* its last point is joined to the first; false: it leaves the window */
    size_t n;                 /* points, counter-clockwise around theta if closed; 0 < n */
    double *x, *y;            /* [n] critical, arcsec: exact to rounding, nearer to each other than 1.5 steps */
    double *beta_x, *beta_y;  /* [n] on the caustic, arcsec */
    double area, area_source; /* inside the critical curve, and inside the caustic, where it does not cross itself;
                                 error of the order of (step/size)^4; NaN if open */
} lm_curve;

typedef struct lm_curves {
    lm_curve *curves; /* [n], by area, the largest first, open ones last */
    size_t n;
    double theta_eff; /* effective Einstein radius: sqrt(area/pi) of the largest closed tangential curve; or NaN */
} lm_curves;

/* Curves in a window (NULL: around the mass that deflects most, as far as its curves reach; perturbers far out need a
 * window). A closed curve that lies within one cell is not seen, nor two branches nearer than a step told apart: the
 * window's step is the resolution. Where the grid meets a mass's centre by chance, rounding there may show a radial
 * curve smaller than a step. LM_EINPUT: no window, or more than 2^24 cells. lm_curves_free() *ret. */
lm_status lm_curves_find(const lm_mass *masses, size_t n_masses, const lm_window *window, lm_curves **ret,
                         lm_error *err);
lm_curves *lm_curves_free(lm_curves *curves);
LM_OWNABLE(lm_curves, lm_curves_free)

/* The cut of mass k, singular isothermal (sis, sie without a core, epl with t = 1): beta(theta) on a circle around
 * its centre whose radius goes to 0, at n angles 2 pi i/n. Within it there is one image more than the caustics tell.
 * Singular isothermal masses and multipoles at the same centre belong to it. x, y: [n], arcsec. LM_EINPUT: another
 * kind of mass. */
lm_status lm_cut_find(const lm_mass *masses, size_t n_masses, size_t k, size_t n, double *x, double *y, lm_error *err);

#endif
