/* Distributions as graphs write them, for lens.prior and infer.mcmc.
 *
 *   1.2, "23 deg", "{theta_E}"                    a fixed number: as written, as an angle, or a record's attribute
 *   {uniform: [0.5, 2]}                           likewise loguniform: [a, b]
 *   {normal: [2, 0.1], min: 1.2, max: 2.8}        mean, standard deviation; lognormal: [mean of ln x, its standard deviation]
 *   {power: -1.9, min: 1e6, max: 1e10}            density x^-1.9
 *   {table: [1, 2, 2, 5]}, {table: NAME}          one of a list's values, or of those of a vector tensor of the record
 *
 * Every number may be a template "{NAME}": so a distribution's own parameters can be drawn before.
 */
#ifndef LM_OPERATORS_LENS_DISTRIBUTION_H
#define LM_OPERATORS_LENS_DISTRIBUTION_H

#include "operators/core/distribution.h"
#include "runtime/operator.h"

/* unit: "rad" takes angles with a unit. step NULL, for check(): *ret_known false where a template stands, *ret is not to be used then. Tables
 * are scratch memory of the step (without one: *ret_known false). LM_EINPUT says what is wrong. */
lm_status lm_distribution_read(const json_t *value, const char *unit, lm_step *step, lm_distribution *ret,
                               bool *ret_known, lm_error *err);

/* The JSON Schema of such a value. */
#define LM_DISTRIBUTION_SCHEMA "{\"type\": [\"number\", \"string\", \"object\"]}"

#endif
