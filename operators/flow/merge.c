/* merge: the records of several nodes as one stream. */
#include "runtime/operator.h"

static const lm_port ports[] = {
    {.name = "in", .kind = LM_PORT_MERGE, .doc = "the nodes whose records go on together: in: [a, b]"},
    {.name = "out", .kind = LM_PORT_OUT, .doc = "all of their records, unchanged"},
    {0}};

static const lm_field fields[] = {LM_IN("in", "*", LM_ANY_DTYPE, "*", "*", "any records"),
                                  LM_OUT("out", "*", LM_SAME_DTYPE, "*", "=", "the same records"),
                                  {0}};

static lm_status merge_step(const void *self, lm_step *step, lm_error *err)
{
    (void)self, (void)step, (void)err;
    return LM_OK; /* passes its input */
}

const lm_operator lm_op_merge = {
    .name = "merge",
    .version = 1,
    .summary = "Bring the records of several nodes together in one stream",
    .doc = "Branches of one source come out in the order of that source, as if they had never been apart; "
           "separate sources one after the other, in the order in which `in` names them. To join records "
           "with the same id into one, wire them to different ports of an operator instead.",
    .example = "{}",
    .shape = LM_MAP,
    .flags = LM_PASSES | LM_HEADER,
    .ports = ports,
    .fields = fields,
    .step = merge_step,
};
