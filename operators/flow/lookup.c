/* lookup: every record gets what the entry of a table has that it belongs to. */
#include "operators/flow/_take.h"

static const lm_param params[] = {LM_TAKE_PARAMS, {0}};

static const lm_port ports[] = {
    {.name = "in", .kind = LM_PORT_STREAM, .doc = "records with the attribute that the node's `on:` names"},
    {.name = "from", .kind = LM_PORT_LOOKUP, .doc = "a finite table of records, one for each value of that attribute"},
    {.name = "out", .kind = LM_PORT_OUT, .doc = "the records, each with what it took from its entry"},
    {0}};

const lm_operator lm_op_lookup = {
    .struct_size = sizeof(lm_operator),
    .name = "lookup",
    .version = 1,
    .summary = "Give every record tensors and attributes of its entry in a table",
    .doc = "Any number of records may share an entry: 170,000 images and one PSF a filter. Both sides have the "
           "attribute that the node's `on:` names. A record without an entry is a dead letter.",
    .example = "in: {in: read, from: psfs}\non: FILTER\nwith: {tensors: [psf], attrs: []}",
    .shape = LM_MAP,
    .flags = LM_HEADER,
    .size = sizeof(lm_take_params),
    .params = params,
    .ports = ports,
    .fields = lm_take_fields,
    .step = lm_take_step,
};
