/* split: records for which a condition holds leave by one port, the others by another. */
#include "runtime/condition.h"
#include "runtime/operator.h"

typedef struct {
    const char *where;
    lm_condition *condition;
} split;

static const lm_param params[] = {
    LM_WHERE(split, where, .required = true,
             .doc = "condition that decides, in jq's language: .attrs.NAME is an attribute, .id the record's "
                    "id. A record that lacks an attribute which it names is a dead letter, and on neither "
                    "port"),
    {0}};

static const lm_port ports[] = {
    {.name = "in", .kind = LM_PORT_STREAM, .doc = "records to part"},
    {.name = "accepted", .kind = LM_PORT_OUT, .doc = "those for which the condition is true"},
    {.name = "rejected", .kind = LM_PORT_OUT, .doc = "those for which it is false"},
    {0}};

static const lm_field fields[] = {
    LM_IN("in", "*", LM_ANY_DTYPE, "*", "*", "records with the attributes that `where` names"),
    LM_OUT("accepted", "*", LM_SAME_DTYPE, "*", "=", "the input, unchanged"),
    LM_OUT("rejected", "*", LM_SAME_DTYPE, "*", "=", "the input, unchanged"),
    {0}};

static lm_status split_open(void *self, lm_error *err)
{
    split *s = self;
    return lm_condition_new(s->where, &s->condition, err);
}

static lm_status split_step(const void *self, lm_step *step, lm_error *err)
{
    const split *s = self;
    bool yes;
    LM_TRY(lm_condition_test(s->condition, lm_step_record(step, "in"), &yes, err));
    return lm_step_emit(step, yes ? "accepted" : "rejected", err);
}

static void split_close(void *self)
{
    split *s = self;
    s->condition = lm_condition_free(s->condition);
}

const lm_operator lm_op_split = {
    .name = "split",
    .version = 1,
    .summary = "Part the records in two by a condition",
    .doc = "Wire the two kinds as `in: NODE.accepted` and `in: NODE.rejected`. Merge brings them together "
           "again, in their first order.",
    .example = "where: .attrs.MAG < 22.5",
    .shape = LM_MAP,
    .flags = LM_PASSES | LM_HEADER,
    .size = sizeof(split),
    .params = params,
    .ports = ports,
    .fields = fields,
    .open = split_open,
    .step = split_step,
    .close = split_close,
};
