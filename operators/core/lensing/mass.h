/* Mass models: potential, deflection, convergence and shear of one lens plane, with exact derivatives.
 *
 * Angles are in arcsec, the potential in arcsec^2, deflections are reduced: beta = theta - alpha, alpha = grad psi,
 * laplace psi = 2 kappa, gamma1 + i gamma2 the shear, 1/magnification = (1 - kappa)^2 - |gamma|^2. x is right, y is up. A position
 * angle phi is in radians from +x, counter-clockwise, of the major axis; q <= 1 is minor over major axis. theta_E of an
 * elliptical model is on the intermediate axis: kappa is constant on q x'^2 + y'^2 / q.
 *
 * Each model is written once, in mass.inc, in terms of a number T that is double or double complex: a derivative is the imaginary
 * part of the value at p + i h over h with h = 1e-40, which has no truncation and no cancellation (Squire & Trapp 1998, SIAM
 * Rev. 40, 110).
 */
#ifndef LM_CORE_LENSING_MASS_H
#define LM_CORE_LENSING_MASS_H

#include "runtime/error.h"

#include <stddef.h>

typedef enum lm_mass_kind {
    LM_MASS_SIS,
    LM_MASS_SIE, /* with a core s: NIE */
    LM_MASS_EPL,
    LM_MASS_SHEAR,
    LM_MASS_SHEET,
    LM_MASS_POINT,
    LM_MASS_MULTIPOLE,
    LM_MASS_NFW,
    LM_MASS_TNFW,
    LM_MASS_PJAFFE,
    LM_MASS_KINDS
} lm_mass_kind;

enum { LM_MASS_MOST = 6 }; /* parameters of a model */

typedef struct lm_mass {
    lm_mass_kind kind;
    double p[LM_MASS_MOST]; /* in the order of the kind's table */
} lm_mass;

typedef struct lm_mass_param {
    const char *name;
    double otherwise; /* NaN: it must be given */
    double min, max;  /* of a valid value, both included */
    const char *unit, *doc;
} lm_mass_param;

typedef struct lm_mass_model {
    const char *name, *doc;
    unsigned n_params, centre; /* params[centre], params[centre + 1]: x, y */
    lm_mass_param params[LM_MASS_MOST];
} lm_mass_model;

const lm_mass_model *lm_mass_model_of(lm_mass_kind kind);
/* Returns LM_MASS_KINDS if there is none of that name. */
lm_mass_kind lm_mass_kind_of(const char *name);
/* The index of a parameter; -1: the model has none of that name. */
int lm_mass_param_of(lm_mass_kind kind, const char *name);
/* LM_EINPUT names the parameter whose value is out of its range, or that stands ill beside another. */
lm_status lm_mass_check(const lm_mass *mass, lm_error *err);

/* What is wanted at n positions: arrays [n] that are added to; NULL: not wanted. */
typedef struct lm_mass_maps {
    double *psi, *alpha_x, *alpha_y, *kappa, *gamma1, *gamma2;
} lm_mass_maps;

/* Adds what one model gives at n positions (x, y). The model must have passed lm_mass_check. */
void lm_mass_add(const lm_mass *mass, size_t n, const double *x, const double *y, const lm_mass_maps *to);

/* Adds the derivative of each map with respect to parameter `by`, or to the position. */
enum { LM_BY_X = -1, LM_BY_Y = -2 };
void lm_mass_derive(const lm_mass *mass, int by, size_t n, const double *x, const double *y, const lm_mass_maps *to);

#endif
