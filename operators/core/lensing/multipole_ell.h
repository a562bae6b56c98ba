/* Multipoles of an elliptical isothermal mass: what makes its isophotes boxy, discy or lopsided without making them
 * round first.
 *
 *   kappa = a_m cos(m (phi_e - (phi_m - phi)))/(2 R),   phi_e = atan2(y', q x'),   R^2 = q x'^2 + y'^2/q
 *
 * along the axes x', y' of the ellipse, phi the position angle of its major axis (Paugnat & Gilman 2025, who give m =
 * 1, 3, 4). phi_e is the eccentric anomaly: R e^(i phi_e) runs on a circle where x' + i y' runs on an ellipse of
 * constant R. phi_m is an angle on the sky, as of a circular multipole (mass.h), which this one becomes at q = 1; with
 * phi_m = phi and m = 4 it is discy for a_m > 0. Turning the sky by an angle adds it to phi and phi_m.
 *
 * Closed forms for any m >= 1. An odd m has a dipole, as long as q < 1 or m = 1: its deflection grows with log r, r in
 * arcsec, and is free up to a constant, which only moves the source. The constant here (formulas: the .c) makes psi =
 * a_1/2 r log(r) cos(phi - phi_1) at m = 1 and q = 1; lenstronomy has another one at q < 1. Units and signs are those
 * of mass.h.
 */
#ifndef LM_CORE_LENSING_MULTIPOLE_ELL_H
#define LM_CORE_LENSING_MULTIPOLE_ELL_H

#include "operators/core/lensing/mass.h"

#include <stddef.h>

/* Adds what it gives at n positions (x, y) relative to its centre. 1 <= m <= 64, 0.01 <= q <= 1, angles in radians. */
void lm_multipole_ell(unsigned m, double a_m, double phi_m, double q, double phi, size_t n, const double *x,
                      const double *y, const lm_mass_maps *to);

/* Adds the exact derivatives of each map by a parameter, or by position: one of these, LM_BY_X or LM_BY_Y. */
enum { LM_ELL_BY_A, LM_ELL_BY_PHI_M, LM_ELL_BY_Q, LM_ELL_BY_PHI };
void lm_multipole_ell_derive(unsigned m, double a_m, double phi_m, double q, double phi, int by, size_t n,
                             const double *x, const double *y, const lm_mass_maps *to);

#endif
