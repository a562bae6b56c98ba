/* A lens model with free parameters, and its posterior for one image: what infer.mcmc samples.
 *
 * Components are those of operators/lens/_components.h, where a value may also be a distribution (operators/lens/_distribution.h): a free
 * parameter with that prior. What is left out of a light has a default prior, and its amplitude (I_e, flux, amp, the coefficients of
 * shapelets) is linear: it is found for each sample, under a flat prior, and marginalised. {count: n} repeats a component; repeated
 * lights are told apart by their R_e or sigma, which grow.
 *
 * Samplers move in z, where the prior is a standard normal: x = Q(Phi(z)), Q the quantile function of a parameter's prior. So no
 * parameter has a bound, all have about the scale 1, and ln p(z | d) = ln L(x(z)) - |z|^2/2.
 */
#ifndef LM_OPERATORS_INFER_LENS_MODEL_H
#define LM_OPERATORS_INFER_LENS_MODEL_H

#include "operators/core/distribution.h"
#include "operators/core/lensing/fit.h"
#include "operators/lens/_components.h"

typedef enum lm_role { LM_ROLE_MASS, LM_ROLE_SOURCE, LM_ROLE_LIGHT, LM_ROLES } lm_role;
extern const char *const lm_role_names[LM_ROLES];

enum { LM_FREE_MOST = 64, LM_PARTS_MOST = 24 };

typedef struct lm_free_param {
    char name[96]; /* epl_theta_E, shear_gamma1, light_sersic1_R_e */
    const char *unit;
    lm_distribution prior;
} lm_free_param;

typedef struct lm_part {
    lm_role role;
    lm_component component;
    double value[LM_SLOTS]; /* of fixed slots */
    int free[LM_SLOTS];     /* index among the free parameters; -1: fixed */
    int linear;             /* the parameter that is a linear amplitude; LM_LIGHT_PARAMS: the array is; -1: none */
    lm_light sample;        /* of a light with an array: holds it */
    size_t first, count;    /* of a light: its place among the fit's lights, more than one for linear coefficients */
    double *unit;           /* [count][count] unit vectors, where coefficients are linear */
    bool follows;           /* a repeated light, larger than the one before */
} lm_part;

/* What there is once numbers are put in. */
typedef struct lm_sample {
    lm_mass masses[LM_PARTS_MOST];
    lm_fit_light lights[LM_FIT_LIGHTS];
    lm_fit_scene scene; /* of these */
} lm_sample;

typedef struct lm_lens_model {
    lm_part parts[LM_PARTS_MOST];
    lm_free_param params[LM_FREE_MOST];
    size_t n_parts, n_params, n_masses, n_lights;
    json_t *trees[LM_ROLES]; /* the lists as they are with defaults and repetitions written out */
} lm_lens_model;

/* The lists as a graph gives them, NULL: none. `size`: about how large the data are, arcsec, and `pixel`, for the default priors. step
 * NULL, for check(): templates are not known, and nothing but names is set. The model starts zeroed; done also after a failure.
 * LM_EINPUT names list, component and parameter. */
lm_status lm_lens_model_init(lm_lens_model *model, const json_t *const lists[LM_ROLES], double pixel, double size,
                             lm_step *step, lm_error *err);
void lm_lens_model_done(lm_lens_model *model);

/* x [n_params] of z [n_params]; slope [n_params], or NULL: dx/dz. */
void lm_lens_model_x(const lm_lens_model *model, const double *z, double *x, double *slope);
/* z of x: -INFINITY or INFINITY where x is outside of its prior. */
void lm_lens_model_z(const lm_lens_model *model, const double *x, double *z);
/* Puts numbers in. LM_EINPUT: they make no lens (an ellipse beyond |e| = 1, repeated lights out of order). */
lm_status lm_lens_model_at(const lm_lens_model *model, const double *x, lm_sample *ret, lm_error *err);
/* slope [n_params]: d f / d x, from the derivatives of f by the models' own parameters: mass [n_masses], light [n_lights]. */
void lm_lens_model_slope(const lm_lens_model *model, const double *x, const double (*mass)[LM_MASS_MOST],
                         const double (*light)[LM_LIGHT_PARAMS], double *slope);
/* Which of these are needed: bits, for lm_fit_gradient. [n_masses], [n_lights] */
void lm_lens_model_wants(const lm_lens_model *model, unsigned *mass, unsigned *light);
/* A list of components with the sample's numbers, as the lens operators read it: a new array. amplitude [n_lights], or NULL.
 * NULL without memory. */
json_t *lm_lens_model_json(const lm_lens_model *model, lm_role role, const double *x, const double *amplitude);

#endif
