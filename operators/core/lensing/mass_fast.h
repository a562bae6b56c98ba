/* Deflection, convergence and shear over blocks of positions, without branches: what lm_mass_add and lm_mass_derive do when the
 * potential is not wanted. mass.inc stays the definition of each model; this equals it to a few units of the last place, or
 * better where terms of mass.inc cancel (haloes near their centre).
 */
#ifndef LM_CORE_LENSING_MASS_FAST_H
#define LM_CORE_LENSING_MASS_FAST_H

#include "operators/core/lensing/mass.h"

#include <stdbool.h>

/* As lm_mass_add. to->psi must be NULL. false: not done, nothing was added (a multipole, fewer than 4
 * positions, a power law without strength). */
bool lm_mass_fast_add(const lm_mass *mass, size_t n, const double *x, const double *y, const lm_mass_maps *to);

/* As lm_mass_derive, for the deflection alone: by position, centre, angle, and parameters that only scale a model. false: not done, the
 * parameter changes the shape, or more is wanted. */
bool lm_mass_fast_derive(const lm_mass *mass, int by, size_t n, const double *x, const double *y,
                         const lm_mass_maps *to);

#endif
