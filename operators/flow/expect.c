/* expect: a record for which a condition does not hold is a dead letter, with the reason that the graph's author gives. */
#include "runtime/condition.h"
#include "runtime/operator.h"

#include <stdio.h>

typedef struct {
    const char *where, *say;
    lm_condition *condition;
} expect;

static const lm_param params[] = {
    LM_WHERE(expect, where, .required = true,
             .doc =
                 "what must be true of a record, in jq's language: .attrs.NAME is an attribute, .id the record's id"),
    LM_TEXT(expect, say, NULL, .per_record = true,
            .doc = "the reason that a dead letter gives, such as \"{id}: a seeing of {SEEING} arcsec is too "
                   "much\"; by default the condition itself"),
    {0}};

static const lm_field fields[] = {
    LM_IN("in", "*", LM_ANY_DTYPE, "*", "*", "records with the attributes that `where` names"),
    LM_OUT("out", "*", LM_SAME_DTYPE, "*", "=", "those that are as expected, unchanged"),
    {0}};

static lm_status expect_open(void *self, lm_error *err)
{
    expect *e = self;
    return lm_condition_new(e->where, &e->condition, err);
}

static lm_status expect_step(const void *self, lm_step *step, lm_error *err)
{
    const expect *e = self;
    bool holds;
    LM_TRY(lm_condition_test(e->condition, lm_step_record(step, "in"), &holds, err));
    if (holds) return LM_OK;
    if (!e->say) return LM_FAIL(err, LM_EINPUT, "the record is not as expected: %s", e->where);
    const char *said = e->say;
    lm_status status = lm_step_text(step, "say", &said, err);
    if (status == LM_EMEMORY) return status;
    if (status) said = e->say; /* it names what this record lacks: the reason itself matters more */
    char hint[LM_ERROR_HINT];
    snprintf(hint, sizeof hint, "The node expects: %.300s", e->where);
    return LM_FAIL_HINT(err, LM_EINPUT, hint, "%s", said);
}

static void expect_close(void *self)
{
    expect *e = self;
    e->condition = lm_condition_free(e->condition);
}

const lm_operator lm_op_expect = {
    .name = "expect",
    .version = 1,
    .summary = "Refuse the records for which a condition does not hold",
    .doc = "A record that is not as expected becomes a dead letter (or whatever the node's on_error says), "
           "so that a broken catalogue row is seen, and not only missing. To drop records quietly, use "
           "filter.",
    .example = "{where: .attrs.SEEING < 1.2, say: \"a seeing of {SEEING} arcsec is too much for this model\"}",
    .shape = LM_MAP,
    .flags = LM_PASSES | LM_HEADER,
    .size = sizeof(expect),
    .params = params,
    .fields = fields,
    .open = expect_open,
    .step = expect_step,
    .close = expect_close,
};
