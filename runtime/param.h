/* Parameters: an operator's table against the values that a graph gives. */
#ifndef LM_RUNTIME_PARAM_H
#define LM_RUNTIME_PARAM_H

#include "runtime/arena.h"
#include "runtime/operator.h"

/* Where values come from, for the error that names one: called for each fault, with the path of the value inside `with`
 * ("", "tensors.psf.hdu") so that the caller finds its line. */
typedef struct lm_param_reporter {
    void (*report)(void *arg, const char *path, const char *text, const char *hint);
    void *arg;
    /* Takes a jq expression over, to check it later with others: compiling one takes 17 ms. NULL: it is checked here. */
    void (*where)(void *arg, const char *path, const char *expression);
} lm_param_reporter;

/* Checks `with` (a JSON object, or NULL for none) against the table, reports every fault, fills in defaults.
 *   folder            what relative input paths are relative to
 *   *ret_complete     a new object with every parameter, paths absolute
 *   *ret_canonical    sorted compact JSON of what belongs to a key; in the arena
 *   self              op->size zeroed bytes to fill, or NULL; text in it lives in the arena or in *ret_complete
 * A per-record template ("{NAME}") stays text; where it stands for a number the field of self is NAN (or 0).
 * Returns LM_EGRAPH if something was reported. */
lm_status lm_params_fill(const lm_operator *op, const json_t *with, const char *folder, lm_arena *arena, void *self,
                         json_t **ret_complete, const char **ret_canonical, const lm_param_reporter *reporter);

/* What the parameters `params` (complete) say of how long a step goes on: canonical JSON in the arena. *ret NULL: nothing. LM_EMEMORY alone. */
lm_status lm_params_length(const lm_operator *op, const json_t *params, lm_arena *arena, const char **ret);

/* Does text hold a {NAME} template? "{{" stands for a brace. */
bool lm_template_is(const char *text);
/* Expands {NAME}s over a record. LM_EINPUT names a missing attribute, and the nearest one. *ret is in the arena. */
lm_status lm_template_expand(const char *text, const lm_record *record, lm_arena *arena, const char **ret,
                             lm_error *err);
/* The value of a lone template "{NAME}" with its type; the expanded text otherwise. */
lm_status lm_template_value(const char *text, const lm_record *record, lm_arena *arena, lm_value *ret, lm_error *err);

/* The JSON Schema of graph files, from the registered operators' tables: a new object. NULL without memory. */
json_t *lm_graph_schema(void);

#endif
