/* All images of a point source behind one lens plane: every solution theta of beta = theta - alpha(theta) in a
 * window.
 *
 * Angles are in arcsec, potentials in arcsec^2, times in days; alpha, kappa and gamma are sums over masses (mass.h).
 * The masses must have passed lm_mass_check.
 */
#ifndef LM_CORE_LENSING_POINTS_H
#define LM_CORE_LENSING_POINTS_H

#include "operators/core/lensing/cosmology.h"
#include "operators/core/lensing/mass.h"
#include "runtime/error.h"

#include <stddef.h>

/* Where images are sought: a square of side 2 half around (x, y), in cells of side step at most. */
typedef struct lm_window {
    double x, y, half, step;
} lm_window;

typedef struct lm_image {
    double x, y;
    double magnification; /* 1/det A, negative at a saddle of the arrival time, +-infinity where det A is 0 */
    double fermat;        /* |theta - beta|^2/2 - psi, arcsec^2: its zero point is that of the masses' potentials */
    double arrival;       /* days: fermat times g->days_per_arcsec2; NaN without a geometry */
    double delay;         /* days after the first image; NaN without a geometry */
    double residual;      /* |beta - theta + alpha(theta)|, arcsec: what rounding leaves, at most LM_IMAGE_RESIDUAL */
} lm_image;

#define LM_IMAGE_RESIDUAL 1e-10
#define LM_IMAGE_APART 1e-6  /* arcsec: images nearer to each other are one */
#define LM_IMAGE_CENTRE 1e-3 /* arcsec: nearer to the centre of a singular mass is no image; theta_E/100 if smaller */
enum { LM_IMAGES_MOST = 1000 }; /* more, and the source is taken to be seen as a ring */

/* The window that holds all images, centred on the mass that deflects most, with a step of 0.05 arcsec, less for small
 * lenses and more for windows of more than 50 arcsec. LM_EINPUT if there is none: at 1000 arcsec rays do not
 * diverge from the source yet, as where the convergence of a sheet, or a shear, is 1. */
lm_status lm_window_of(const lm_mass *masses, size_t n_masses, double beta_x, double beta_y, lm_window *ret,
                       lm_error *err);

/* Images of (beta_x, beta_y) within the window (NULL: lm_window_of; its step 0: chosen as there), sorted by arrival.
 * g may be NULL: no times. *ret is yours, lm_free() it; NULL if *ret_n is 0.
 *
 * Images within LM_IMAGE_CENTRE of a mass whose convergence diverges as a power of r (sis, sie without core, epl,
 * point, multipole) are dropped: the faint central maximum of a lens shallower than isothermal too, where it lies so
 * near. A source within 1e-10 arcsec of a caustic may show the pair there as one image, or as none. Cores and
 * perturbers are resolved down to 1e-7 arcsec around their centres.
 *
 * LM_EINPUT: source or window not finite, window empty or of more than 2^26 cells, or more than LM_IMAGES_MOST
 * images: the source is seen as an Einstein ring. Also where most of the window is focused on the source. */
lm_status lm_images_find(const lm_mass *masses, size_t n_masses, double beta_x, double beta_y, const lm_window *window,
                         const lm_lens_geometry *g, lm_image **ret, size_t *ret_n, lm_error *err);

#endif
