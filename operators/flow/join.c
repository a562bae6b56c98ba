/* join: two branches that describe the same objects become one. */
#include "operators/flow/_take.h"

static const lm_param params[] = {LM_TAKE_PARAMS, {0}};

static const lm_port ports[] = {
    {.name = "in", .kind = LM_PORT_STREAM, .doc = "records; what comes out has their ids and their order"},
    {.name = "from", .kind = LM_PORT_STREAM, .doc = "one record for each of them, with the same id"},
    {.name = "out", .kind = LM_PORT_OUT, .doc = "the records of `in` with what they took from their partners"},
    {0}};

const lm_operator lm_op_join = {
    .struct_size = sizeof(lm_operator),
    .name = "join",
    .version = 1,
    .summary = "Join two branches: records take tensors and attributes of partners",
    .doc = "Partners have the same id, or the same value of the attribute that the node's `on:` names. A record whose "
           "partner was filtered away goes no further and is counted as unmatched; one whose partner failed is a dead "
           "letter that names it. Merge is for records that go on side by side, attach for one record that all others "
           "need, lookup for one that many of them share.",
    .example = "in: {in: read, from: measured}\nwith: {tensors: [], attrs: [FLUX]}",
    .shape = LM_MAP,
    .flags = LM_HEADER,
    .size = sizeof(lm_take_params),
    .params = params,
    .ports = ports,
    .fields = lm_take_fields,
    .step = lm_take_step,
};
