/* filter: let the records through for which a condition holds. */
#include "runtime/condition.h"
#include "runtime/operator.h"

typedef struct {
    const char *where;
    lm_condition *condition;
} filter;

static const lm_param params[] = {
    LM_WHERE(filter, where, .required = true,
             .doc = "condition that a record must meet, in jq's language: .attrs.NAME is an attribute, .id "
                    "the record's id. A record that lacks an attribute which the condition names is a dead "
                    "letter, unless the condition says what to do: .attrs.MAG // 99, or a test with == null"),
    {0}};

static const lm_field fields[] = {
    LM_IN("in", "*", LM_ANY_DTYPE, "*", "*", "records with the attributes that `where` names"),
    LM_OUT("out", "*", LM_SAME_DTYPE, "*", "=", "those for which the condition is true, unchanged"),
    {0}};

static lm_status filter_open(void *self, lm_error *err)
{
    filter *f = self;
    return lm_condition_new(f->where, &f->condition, err);
}

static lm_status filter_step(const void *self, lm_step *step, lm_error *err)
{
    const filter *f = self;
    bool keep;
    LM_TRY(lm_condition_test(f->condition, lm_step_record(step, "in"), &keep, err));
    if (!keep) lm_step_skip(step);
    return LM_OK;
}

static void filter_close(void *self)
{
    filter *f = self;
    f->condition = lm_condition_free(f->condition);
}

const lm_operator lm_op_filter = {
    .name = "filter",
    .version = 1,
    .summary = "Let the records through for which a condition holds",
    .doc = "Records for which the condition is false go no further; they are no error. Split gives both "
           "kinds, and expect makes an error of the second.",
    .example = "where: .attrs.MAG < 26 and .attrs.BAND == \"F814W\"",
    .shape = LM_MAP,
    .flags = LM_PASSES | LM_HEADER,
    .size = sizeof(filter),
    .params = params,
    .fields = fields,
    .open = filter_open,
    .step = filter_step,
    .close = filter_close,
};
