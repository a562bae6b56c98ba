/* What a store has of former runs of a graph, and how a step that would run differs from it. For plan_why.c. */
#ifndef LM_TOOLS_PLAN_OLD_H
#define LM_TOOLS_PLAN_OLD_H

#include "runtime/map.h"
#include "runtime/run.h"
#include "runtime/text.h"
#include "tools/lensmill/store_verbs.h"

/* A stored step of the same node for the same id. */
typedef struct lm_old_step {
    bool there;
    lm_digest key;
    uint64_t run;
    size_t recipe; /* in the catalog */
    const lm_digest *inputs;
    size_t n_inputs;
} lm_old_step;

typedef struct lm_plan_input {
    unsigned port;
    bool known;
    const char *id;
    lm_digest digest;
} lm_plan_input;

/* A step of the plan, kept. */
typedef struct lm_plan_step {
    const lm_node *node;
    lm_planned_how how;
    const char *id, *error, *spec;
    bool kept, has_key;
    lm_digest key;
    uint64_t runs;
    lm_plan_input *inputs;
    size_t n_inputs, missing;
    char *const *files;
    size_t n_files;
    lm_old_step same, other; /* newest with this recipe; newest with a former recipe of the node */
} lm_plan_step;

typedef struct lm_plan_reason {
    const char *name; /* one of a few literals, for programs */
    lm_text text;     /* the same for all steps of the same cause */
    lm_text detail;   /* what is this step's own; may be empty */
    json_t *changes;  /* of a recipe; NULL: none */
} lm_plan_reason;

/* What the table says of a node. A generator of a known number of outputs is counted in outputs, all others in steps. */
typedef struct lm_plan_counts {
    uint64_t steps, cached, runs, unknown, dead;
    bool uncounted; /* what is not known yet cannot be counted */
} lm_plan_counts;
lm_plan_counts lm_plan_count(const lm_node_report *report);

/* The name of a node's step for an id, in a map. NULL without memory. */
char *lm_plan_id(const lm_node *node, const char *id);
lm_plan_reason lm_plan_reason_new(const char *name);
void lm_plan_reason_done(lm_plan_reason *reason);

typedef struct lm_plan_old lm_plan_old;
/* store may be NULL. */
lm_status lm_plan_old_load(const lm_graph *graph, const lm_run_report *report, lm_store *store, lm_plan_old **ret,
                           lm_error *err);
lm_plan_old *lm_plan_old_free(lm_plan_old *old);
/* Finds the old steps of those that would run. by_id: lm_plan_id() -> step; both stay the caller's and outlive `old`. */
lm_status lm_plan_old_scan(lm_plan_old *old, lm_plan_step **steps, size_t n, const lm_map *by_id, lm_error *err);
/* On success lm_plan_reason_done() is the caller's to call. */
lm_status lm_plan_old_explain(lm_plan_old *old, const lm_plan_step *step, lm_plan_reason *ret, lm_error *err);
/* Adds to the text of a node whose steps are not known yet what has changed of the node itself. */
void lm_plan_old_note(const lm_plan_old *old, const lm_node *node, lm_plan_reason *reason);

#endif
