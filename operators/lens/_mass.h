/* The parameter `mass:` of the lens operators: a list of components, each {type: ..., PARAMETER: value, ...}.
 *
 * A value is a number, a text with a unit where the parameter is an angle ("23 deg"), or a template ("{theta_E}") that an
 * attribute of the record fills in. Besides a model's own parameters (operators/core/lensing/mass.c) an ellipse may be given as
 * e1, e2 = (1 - q)/(1 + q) (cos, sin) 2 phi instead of q, phi, and the slope of a power law as gamma = t + 1.
 */
#ifndef LM_OPERATORS_LENS_MASS_H
#define LM_OPERATORS_LENS_MASS_H

#include "operators/core/lensing/mass.h"
#include "runtime/operator.h"

/* For check(): types and names, and the values that are there already. */
lm_status lm_masses_check(const json_t *list, lm_error *err);
/* The components for this record; *ret is scratch memory of the step. LM_EINPUT names the component and the parameter. */
lm_status lm_masses_read(const json_t *list, lm_step *step, lm_mass **ret, size_t *ret_n, lm_error *err);

/* The JSON Schema of the parameter. */
#define LM_MASSES_SCHEMA                                                                                               \
    "{\"type\": \"array\", \"minItems\": 1, \"items\": {\"type\": \"object\", \"required\": [\"type\"], "              \
    "\"properties\": {\"type\": {\"type\": \"string\"}}, "                                                             \
    "\"additionalProperties\": {\"type\": [\"number\", \"string\"]}}}"
/* What the documentation of an operator says about it. */
#define LM_MASSES_DOC                                                                                                  \
    "list of components, e.g. [{type: epl, theta_E: 1.3, t: 1, q: 0.7, phi: 0.4, x: 0, y: 0}, {type: shear, gamma1: "  \
    "0.03, "                                                                                                           \
    "gamma2: 0}]; lengths in arcsec, angles in rad from +x (or \"23 deg\"), deflections reduced. Types: sis "          \
    "(theta_E), sie (theta_E, q, "                                                                                     \
    "phi, core s), epl (theta_E, t, q, phi), shear (gamma1, gamma2), sheet (kappa), point (theta_E), multipole (m, "   \
    "a_m, "                                                                                                            \
    "phi_m), nfw (kappa_s, theta_s), tnfw (kappa_s, theta_s, tau), pjaffe (kappa_0, a, s); all but shear and sheet "   \
    "have a centre x, y. e1, e2 may stand for q, phi, and gamma = t + 1 for t. \"{NAME}\" takes a record's attribute"

#endif
