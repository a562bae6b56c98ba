/* An operator's table in words and as JSON, for `lensmill ops` and the reference pages. */
#ifndef LM_TOOLS_OPS_JSON_H
#define LM_TOOLS_OPS_JSON_H

#include "runtime/operator.h"

const char *lm_ops_shape(lm_shape shape); /* "map", "source", ... */
const char *lm_ops_port(lm_port_kind kind);
const char *lm_ops_kind(lm_kind kind);
const char *lm_ops_dtype(lm_dtype dtype);
/* The default of a parameter as compact JSON ("null": none): the caller frees it with lm_free. */
char *lm_ops_default(const lm_param *param);
json_t *lm_ops_json(const lm_operator *op);       /* everything; a new object */
json_t *lm_ops_json_short(const lm_operator *op); /* name, room, summary */

#endif
