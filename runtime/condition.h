/* Conditions and computed values: jq expressions over {id, attrs}, through libjq. */
#ifndef LM_RUNTIME_CONDITION_H
#define LM_RUNTIME_CONDITION_H

#include "runtime/record.h"

#include <jansson.h>
#include <stdbool.h>

/* A compiled expression. libjq keeps state while it runs: a condition holds one program a thread that uses it, made on
 * first use, and may be shared by threads. */
typedef struct lm_condition lm_condition;

/* LM_EGRAPH quotes libjq's message. */
lm_status lm_condition_new(const char *expression, lm_condition **ret, lm_error *err);
lm_condition *lm_condition_free(lm_condition *condition);
LM_OWNABLE(lm_condition, lm_condition_free)

/* True or false. LM_EINPUT: an attribute that the expression names is missing, undefined or NaN (in jq null < 26 is true),
 * jq reports an error, or there is not exactly one result. */
lm_status lm_condition_test(lm_condition *condition, const lm_record *record, bool *ret, lm_error *err);
/* A scalar: null, boolean, number (an integer where it is one and fits), string (valid until the next call by this thread
 * with this condition, or copied into the record by lm_record_set). LM_EINPUT as above, or the result is an object. */
lm_status lm_condition_value(lm_condition *condition, const lm_record *record, lm_value *ret, lm_error *err);

#endif
