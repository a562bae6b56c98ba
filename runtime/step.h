/* A step under way: what stands behind the lm_step of operator.h. The engine fills one in, calls the operator, and takes the
 * outputs; a test does the same without an engine (tests/apply.h).
 *
 * A worker keeps one lm_step and resets it for each step: its arena, its outputs, its files.
 */
#ifndef LM_RUNTIME_STEP_H
#define LM_RUNTIME_STEP_H

#include "runtime/arena.h"
#include "runtime/operator.h"

#include <stdatomic.h>

enum { LM_MAX_PORTS = 16 };

/* What a step asks of whoever runs it. Every function may be NULL where the operator has no use for it. */
typedef struct lm_step_host {
    /* Member i of a gather port: a new reference, tensors loaded. */
    lm_status (*member)(void *host, unsigned port, size_t i, lm_record **ret, lm_error *err);
    lm_status (*checkpoint_save)(void *host, const lm_digest *key, const void *bytes, size_t n, lm_error *err);
    /* Copied into the arena; *ret_n 0: none. */
    lm_status (*checkpoint_load)(void *host, const lm_digest *key, lm_arena *arena, const void **ret, size_t *ret_n,
                                 lm_error *err);
} lm_step_host;

typedef struct lm_step_input {
    const lm_port *port;
    lm_record *record;     /* stream, broadcast, lookup, merge; not owned. NULL: optional and not wired */
    size_t count, missing; /* gather */
    lm_record *member;     /* the one handed out last; owned */
} lm_step_input;

typedef struct lm_step_output {
    const lm_port *port;
    lm_record *record; /* owned; NULL: not touched */
    bool emitted;
} lm_step_output;

typedef struct lm_step_path {
    char *path, *temporary; /* absolute; in the step's arena */
    struct lm_step_path *next;
} lm_step_path;

struct lm_step {
    const lm_operator *op;
    const void *self;
    const json_t *params; /* complete */
    const char *node;     /* its name, for the log */
    unsigned n_inputs, n_outputs;
    lm_step_input inputs[LM_MAX_PORTS];
    lm_step_output outputs[LM_MAX_PORTS];
    const char *id;   /* of the first input, of the source's item, of the window */
    const char *item; /* a source's spec */
    lm_digest key;
    uint64_t index;
    size_t merge_port;
    bool skipped, ended;
    lm_step_path *files;
    unsigned n_files;
    double deadline_s; /* CLOCK_MONOTONIC; 0: none */
    const atomic_bool *cancelled;
    const lm_step_host *host;
    void *host_arg;
    lm_arena arena;
};

/* Once a worker. */
void lm_step_init(lm_step *step);
void lm_step_done(lm_step *step);
/* Before each step: forgets outputs, files, scratch memory; keeps nothing of the step before. */
void lm_step_begin(lm_step *step, const lm_operator *op, const void *self, const json_t *params, const char *node);
/* After a step that returned LM_OK: applies the rule of which ports emit. A port whose record is NULL and that emitted
 * passes its input on, unchanged. */
lm_status lm_step_finish(lm_step *step, lm_error *err);
/* Sinks: gives the temporary files their names, flushed to disk; or removes them. */
lm_status lm_step_publish(lm_step *step, lm_error *err);
void lm_step_discard(lm_step *step);
/* Checks a record against the fields table of an input port, and shapes against each other. */
lm_status lm_step_check_inputs(lm_step *step, lm_error *err);
/* The record on the first stream port; NULL for a source or a gather. */
const lm_record *lm_step_first(const lm_step *step);

double lm_now_s(void); /* CLOCK_MONOTONIC */

#endif
