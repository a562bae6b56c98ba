/* Why a run would compute a step again: the step that would run against the nearest one that is stored.
 *
 * The plan's steps are collected while it is made (lm_why_step), then compared with the runs, recipes, steps, files, receipts
 * and dead letters of the store (lm_why_explain). Nothing is guessed: where the store does not keep what would tell, the
 * text says so.
 */
#ifndef LM_TOOLS_PLAN_WHY_H
#define LM_TOOLS_PLAN_WHY_H

#include "runtime/run.h"

typedef struct lm_why lm_why;

/* record: the id of the one record that is to be followed through its chain, or NULL. NULL: no memory. */
lm_why *lm_why_new(const lm_graph *graph, const char *record);
lm_why *lm_why_free(lm_why *why);
LM_OWNABLE(lm_why, lm_why_free)
/* For lm_run_options.planned_fn; one worker only. */
void lm_why_step(void *why, const lm_planned *step);
/* store: NULL if there is none. LM_EUSAGE: no step has the record. */
lm_status lm_why_explain(lm_why *why, lm_store *store, const lm_run_report *report, lm_error *err);
void lm_why_print(const lm_why *why);
/* The reasons of a node: an array of {"reason", "text", "steps", "examples"}. */
json_t *lm_why_json(const lm_why *why, const lm_node *node);

#endif
