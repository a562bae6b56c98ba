/* Lists of components, as the lens operators take them: `mass:`, `source:` and `light:`, each a list of
 * {type: ..., PARAMETER: value, ...}, or a text "{NAME}" that stands for an attribute of the record which holds such a list as JSON
 * (as infer.mcmc and coolest.read write it).
 *
 * A value is a number, a text with a unit where the parameter is an angle ("23 deg"), or a template ("{theta_E}") that an
 * attribute of the record fills in. Besides a model's own parameters (operators/core/lensing/mass.c, light.c):
 *   e1, e2     an ellipse, (1 - q)/(1 + q) (cos, sin) 2 phi, instead of q, phi
 *   gamma      the slope of a power law, t + 1, instead of t
 *   an option  of a light, one of its words (b_n: linear)
 *   an array   of a light (image of pixels, coefficients of shapelets): a list of numbers, or the name of a tensor of the record
 *   table      of a mass: the name of a tensor [N, K] of the record, K at least the number of the model's parameters; each row gives the
 *              parameters of one such mass in the order of the model's table, further columns are not looked at
 */
#ifndef LM_OPERATORS_LENS_COMPONENTS_H
#define LM_OPERATORS_LENS_COMPONENTS_H

#include "operators/core/lensing/light.h"
#include "operators/core/lensing/mass.h"
#include "runtime/operator.h"

/* For check(): types and names, and the values that are there already. `param` is the name of the parameter, for errors. */
lm_status lm_masses_check(const json_t *list, const char *param, lm_error *err);
lm_status lm_lights_check(const json_t *list, const char *param, lm_error *err);

/* The components for this record; *ret is scratch memory of the step. LM_EINPUT names the component and the parameter. A list that is
 * NULL gives none. The arrays of lights are borrowed from the step. */
lm_status lm_masses_read(const json_t *list, const char *param, lm_step *step, lm_mass **ret, size_t *ret_n,
                         lm_error *err);
lm_status lm_lights_read(const json_t *list, const char *param, lm_step *step, lm_light **ret, size_t *ret_n,
                         lm_error *err);

/* ---- one component, for those who fill in its numbers themselves (infer.mcmc) ---- */

typedef enum lm_slot_place { LM_SLOT_E1 = -1, LM_SLOT_E2 = -2, LM_SLOT_GAMMA = -3 } lm_slot_place;

/* A number of a component: one of the model's own parameters, or one of the other names. */
typedef struct lm_slot {
    const char *name, *unit, *doc;
    const json_t *value;        /* as it was written; NULL: not given */
    int at;                     /* the index of the model's parameter, or an lm_slot_place */
    double otherwise, min, max; /* NaN: it must be given; the range of valid values */
} lm_slot;

enum { LM_SLOTS = 10 };

typedef struct lm_component {
    const char *type;
    lm_mass_kind mass;               /* LM_MASS_KINDS: a light */
    const lm_light_kind_info *light; /* NULL: a mass */
    lm_slot slot
        [LM_SLOTS]; /* in the model's order; e1, e2 in the places of q, phi and gamma in that of t where these were given */
    unsigned n_slots;
    int option[LM_LIGHT_OPTIONS];
    const json_t *array; /* of a light, as it was written */
    const char *table;   /* of a mass */
} lm_component;

/* Borrows from `tree`. LM_EINPUT: an unknown type or name, or names that exclude each other; values are not looked at. */
lm_status lm_component_read(const json_t *tree, bool light, lm_component *ret, lm_error *err);
/* The number that was written, or the default; step NULL: a template gives *ret_known false. LM_EINPUT: not a number, or it must be
 * given. */
lm_status lm_slot_number(const lm_slot *slot, lm_step *step, double *ret, bool *ret_known, lm_error *err);
/* The model with the numbers of its slots: values [n_slots]. LM_EINPUT as lm_mass_check and lm_light_check. The array of a light is not
 * set. */
lm_status lm_component_mass(const lm_component *c, const double *values, lm_mass *ret, lm_error *err);
lm_status lm_component_light(const lm_component *c, const double *values, lm_light *ret, lm_error *err);
/* The array of a light from a list or a tensor, and the check of the whole. */
lm_status lm_component_array(const lm_component *c, lm_step *step, lm_light *light, lm_error *err);

/* ---- what tables of parameters say about them ---- */

#define LM_COMPONENTS_SCHEMA                                                                                           \
    "{\"anyOf\": [{\"type\": \"string\", \"pattern\": \"^\\\\{[^{}]+\\\\}$\"}, {\"type\": \"array\", \"minItems\": "   \
    "1, "                                                                                                              \
    "\"items\": {\"type\": \"object\", \"required\": [\"type\"], \"properties\": {\"type\": {\"type\": \"string\"}}, " \
    "\"additionalProperties\": {\"type\": [\"number\", \"string\", \"array\"]}}}]}"
#define LM_MASSES_DOC                                                                                                  \
    "list of components, e.g. [{type: epl, theta_E: 1.3, t: 1, q: 0.7, phi: 0.4, x: 0, y: 0}, {type: shear, gamma1: "  \
    "0.03, gamma2: 0}]; lengths in arcsec, angles in rad from +x (or \"23 deg\"), deflections reduced. Types: sis "    \
    "(theta_E), sie (theta_E, q, phi, core s), epl (theta_E, t, q, phi), shear (gamma1, gamma2), sheet (kappa), "      \
    "point (theta_E), multipole (m, a_m, phi_m), nfw (kappa_s, theta_s), tnfw (kappa_s, theta_s, tau), pjaffe "        \
    "(kappa_0, a, s); all but shear and sheet have a centre x, y. e1, e2 may stand for q, phi, and gamma = t + 1 for " \
    "t. \"{NAME}\" takes a record's attribute, also for the whole list; {type: tnfw, table: subhaloes} takes a mass "  \
    "from each row of a tensor"
#define LM_LIGHTS_DOC                                                                                                  \
    "list of components, e.g. [{type: sersic, I_e: 10, R_e: 0.2, n: 1, q: 0.8, phi: 0.4, x: 0.05, y: 0}]; brightness " \
    "per arcsec^2, lengths in arcsec on the intermediate axis. Types: sersic (I_e, R_e, n, q, R_min; b_n: series or "  \
    "linear, radius: intermediate or major), gaussian (flux, sigma, q), shapelets (beta, n_max, coefficients; norm: "  \
    "orthonormal "                                                                                                     \
    "or bare), pixels (amp, scale, image; interpolation: bilinear or bicubic); all have phi, x, y. e1, e2 may stand "  \
    "for q, phi; image and coefficients are lists of numbers or the name of a tensor; \"{NAME}\" takes a record's "    \
    "attribute"

#endif
