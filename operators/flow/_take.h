/* What join, attach and lookup share: a record takes over tensors and attributes of another. */
#ifndef LM_OPERATORS_FLOW_TAKE_H
#define LM_OPERATORS_FLOW_TAKE_H

#include "runtime/operator.h"

typedef struct lm_take_params {
    lm_texts tensors, attrs;
    const char *prefix;
    int clash;
} lm_take_params;

extern const char *const lm_take_clashes[];
extern const lm_field lm_take_fields[];
#define LM_TAKE_PARAMS                                                                                                 \
    LM_TEXTS(lm_take_params, tensors, "[\"*\"]",                                                                       \
             .doc = "tensors to take, by name or pattern (\"psf*\"); [] for none. A name without * that is not there " \
                    "makes a dead letter"),                                                                            \
        LM_TEXTS(lm_take_params, attrs, "[\"*\"]",                                                                     \
                 .doc = "attributes to take, by name or pattern (\"MAG*\"); [] for none. A name without * that is "    \
                        "not there makes a dead letter"),                                                              \
        LM_TEXT(lm_take_params, prefix, "",                                                                            \
                .doc = "is put in front of the names of what is taken: with mean_ an image becomes mean_image"),       \
        LM_CHOICE(lm_take_params, clash, "replace", lm_take_clashes,                                                   \
                  .doc = "where both have a tensor or an attribute of a name: replace it, keep the record's own, or "  \
                         "refuse the record unless they are equal")

/* A step: the record of port "in", with what `self` says of the record of port "from". */
lm_status lm_take_step(const void *self, lm_step *step, lm_error *err);

#endif
