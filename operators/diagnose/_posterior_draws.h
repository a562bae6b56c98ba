/* Draws of a posterior and the truth of its simulation, as the coverage operators take them from the members of a gather port.
 *
 * Two forms. Tensors `draws` [draws, parameters] and `truth` [parameters]; or, where `parameters` names some, columns of the tensor
 * `samples` [draws, D], whose names the record's text attribute "names" tells ("sie_theta_E,sie_e1"), with the truth in attributes.
 * Errors are LM_EINPUT and name the simulation and what it lacks.
 */
#ifndef LM_DIAGNOSE_POSTERIOR_DRAWS_H
#define LM_DIAGNOSE_POSTERIOR_DRAWS_H

#include "runtime/operator.h"

/* The parameters of an operator's struct that say so, by these names. */
typedef struct lm_draws_spec {
    lm_texts parameters, truths; /* parameters.n = 0: the tensors; truths.n = 0: attributes of the parameters' names */
    const char *samples;         /* tensor */
    int64_t thin;                /* one draw of so many is kept */
    const char *thin_to;         /* attribute with the number of draws to keep; "": none */
} lm_draws_spec;
#define LM_DRAWS_FIELDS                                                                                                \
    lm_texts parameters, truths;                                                                                       \
    const char *samples, *thin_to;                                                                                     \
    int64_t thin
#define LM_DRAWS_SPEC(self)                                                                                            \
    ((lm_draws_spec){(self)->parameters, (self)->truths, (self)->samples, (self)->thin, (self)->thin_to})
#define LM_DRAWS_PARAMS(self)                                                                                          \
    LM_TEXTS(self, parameters, "[]",                                                                                   \
             .doc = "names of parameters: the draws are the columns of these names of the tensor `samples`, and the "  \
                    "true values the attributes of these names, or of `truths`; none: tensors `draws` and `truth`"),   \
        LM_TEXTS(self, truths, "[]",                                                                                   \
                 .doc = "attributes that hold the true values, in the order of `parameters`, if they have other "      \
                        "names. An inference that writes its medians under the parameters' own names wants this: the " \
                        "median is not the truth"),                                                                    \
        LM_TEXT(self, samples, "samples",                                                                              \
                .doc = "tensor with the draws where `parameters` is given, [draws, all parameters]; the record's "     \
                       "attribute `names` tells its columns, parted by commas"),                                       \
        LM_INT(self, thin, 1, .min = 1, .max = 1000000000,                                                             \
               .doc = "keep one draw of so many. Draws of a chain resemble their neighbours, which drives ranks to "   \
                      "both ends and fails a right posterior. The stride is the next larger number that has no "       \
                      "factor in common with the number of draws, so that rows which take walkers by turns are "       \
                      "thinned along each of them"),                                                                   \
        LM_TEXT(self, thin_to, "",                                                                                     \
                .doc = "attribute with the number of independent draws (ess, of infer.mcmc): so many are kept at "     \
                       "most, besides `thin`. Ranks of few draws are exact too; they only see less")

/* Of an operator's input table: the two forms. */
#define LM_DRAWS_INPUTS                                                                                                \
    LM_IN_OPT("in", "draws", LM_NUMBERS, "*", "*", "posterior draws, [draws, parameters]; their number may differ"),   \
        LM_IN_OPT("in", "truth", LM_NUMBERS, "*", "*",                                                                 \
                  "the parameters that the simulation was made with, [parameters]"),                                   \
        LM_IN_OPT("in", "samples", LM_NUMBERS, "*", "*",                                                               \
                  "instead of `draws`, where `parameters` names columns, [draws, all parameters]")

/* For check(): do the parameters agree with each other? LM_EGRAPH. */
lm_status lm_draws_check(const lm_draws_spec *spec, lm_error *err);

/* How many parameters a simulation has: at least 1. */
lm_status lm_draws_dims(const lm_draws_spec *spec, const lm_record *member, size_t *ret, lm_error *err);
/* The true values [dims], finite. */
lm_status lm_draws_truth(const lm_draws_spec *spec, const lm_record *member, size_t dims, double *ret, lm_error *err);
/* A tensor of as many finite numbers. */
lm_status lm_draws_point(const lm_record *member, const char *tensor, size_t dims, double *ret, lm_error *err);

/* Draws of one member after the other. Zeroed to begin with; done() at the end. */
typedef struct lm_draws {
    const double *at; /* [n, dims]; until the next member is asked for. Not checked for NaN */
    size_t n;         /* at least 1 */
    /* private */
    double *converted;
    size_t room;
    size_t seen;         /* members so far */
    unsigned char *copy; /* [dims] is the truth always the median of its draws? */
} lm_draws;
lm_status lm_draws_take(const lm_draws_spec *spec, const lm_record *member, size_t dims, const double *truth,
                        lm_draws *draws, lm_error *err);
void lm_draws_done(lm_draws *draws);

/* After the last member: LM_EINPUT if in each of ten simulations or more the "truth" of a parameter, an attribute, was the median of the
 * draws to the last bit: an inference has overwritten it. */
lm_status lm_draws_verdict(const lm_draws_spec *spec, const lm_draws *draws, lm_error *err);

/* The error for draws that have a number which is not finite; `otherwise` if none has. */
lm_status lm_draws_explain(const lm_record *member, const lm_draws *draws, size_t dims, const char *otherwise,
                           lm_error *err);

#endif
