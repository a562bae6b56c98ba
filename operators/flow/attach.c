/* attach: every record gets what one record has. */
#include "operators/flow/_take.h"

static const lm_param params[] = {LM_TAKE_PARAMS, {0}};

static const lm_port ports[] = {
    {.name = "in", .kind = LM_PORT_STREAM, .doc = "records of any kind"},
    {.name = "from", .kind = LM_PORT_BROADCAST, .doc = "one record: a mean image, a trained model, a calibration"},
    {.name = "out", .kind = LM_PORT_OUT, .doc = "the records, each with what it took"},
    {0}};

const lm_operator lm_op_attach = {
    .struct_size = sizeof(lm_operator),
    .name = "attach",
    .version = 1,
    .summary = "Give every record tensors and attributes of one record",
    .doc = "The one record may be made from the very records that it is given to: a stack of them, say. They wait in "
           "the store until it is there. When none comes, all of them are dead letters.",
    .example = "in: {in: read, from: mean}\nwith: {tensors: [image], attrs: [], prefix: mean_}",
    .shape = LM_MAP,
    .flags = LM_HEADER,
    .size = sizeof(lm_take_params),
    .params = params,
    .ports = ports,
    .fields = lm_take_fields,
    .step = lm_take_step,
};
