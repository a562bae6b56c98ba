/* sample: keep each record with a given probability. */
#include "runtime/operator.h"

typedef struct {
    double fraction;
} sample;

static const lm_param params[] = {
    LM_REAL(sample, fraction, NAN, .min = 0, .max = 1, .required = true,
            .doc = "probability with which a record is kept: 0.01 keeps about one in a hundred"),
    {0}};

static const lm_field fields[] = {LM_IN("in", "*", LM_ANY_DTYPE, "*", "*", "any records"),
                                  LM_OUT("out", "*", LM_SAME_DTYPE, "*", "=", "some of them, unchanged"),
                                  {0}};

static lm_status sample_step(const void *self, lm_step *step, lm_error *err)
{
    (void)err;
    const sample *s = self;
    lm_random random = lm_step_random(step, 0);
    if (!(lm_random_uniform(&random) < s->fraction)) lm_step_skip(step);
    return LM_OK;
}

const lm_operator lm_op_sample = {
    .name = "sample",
    .version = 1,
    .summary = "Keep a random part of the records",
    .doc = "Whether a record is kept depends on the record and the graph's seed alone, not on the records "
           "around it: a folder that grows keeps the choice that was made. The number kept is binomial, not "
           "fixed.",
    .example = "fraction: 0.5",
    .shape = LM_MAP,
    .flags = LM_RANDOM | LM_PASSES | LM_HEADER,
    .size = sizeof(sample),
    .params = params,
    .fields = fields,
    .step = sample_step,
};
