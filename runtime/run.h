/* Running a graph: the engine's public face.
 *
 *   lm_run_graph   executes a graph against a store (or only looks what would run: plan)
 */
#ifndef LM_RUNTIME_RUN_H
#define LM_RUNTIME_RUN_H

#include "runtime/graph.h"
#include "store/store.h"

#include <stdio.h>

typedef enum lm_run_mode {
    LM_RUN_EXECUTE,
    LM_RUN_PLAN, /* looks up every step, runs none but a source's list; a store may be missing */
} lm_run_mode;

typedef enum lm_progress { LM_PROGRESS_NONE, LM_PROGRESS_PLAIN, LM_PROGRESS_TERMINAL, LM_PROGRESS_JSON } lm_progress;

/* What a plan found for a step. Borrowed: valid during the call. */
typedef enum lm_planned_how {
    LM_PLANNED_STORED,
    LM_PLANNED_RUNS,
    LM_PLANNED_UNKNOWN, /* something above it must run first */
    LM_PLANNED_DEAD,    /* it has failed before, and stays so until it is retried; or it has no partner */
} lm_planned_how;

typedef struct lm_planned_input {
    unsigned port;
    const char *id;
    const lm_digest *digest; /* NULL: not known yet */
} lm_planned_input;

typedef struct lm_planned {
    const lm_node *node;
    lm_planned_how how;
    const char *id;
    const lm_digest *key; /* NULL: none, or not known yet */
    const char *error;    /* DEAD: the reason */
    bool kept;            /* its result is listed in the store (a sink: its receipt) */
    uint64_t runs;        /* RUNS: of a generator whose number of outputs is known, how many of them; else 1 */
    const char *spec;     /* of a source's item, with its files */
    const char *const *files;
    size_t n_files;
    const lm_planned_input *inputs; /* by port, in order */
    size_t n_inputs, missing;
} lm_planned;

typedef struct lm_run_options {
    lm_run_mode mode;
    lm_store *store;     /* NULL: nothing is kept, every node runs as with `cache: none` (or plan: nothing is there) */
    unsigned workers;    /* 0: one a core */
    const char *until;   /* run this node and what feeds it; NULL: all */
    uint64_t limit;      /* the first so many items of each source; 0: all */
    size_t edge_records; /* bound of every edge; 0: LM_EDGE_RECORDS */
    size_t edge_bytes;   /* 0: LM_EDGE_BYTES */
    bool fresh;          /* look nothing up; what is computed replaces what is stored */
    bool signals;        /* SIGINT and SIGTERM stop the run; a second one exits at once */
    lm_progress progress;
    FILE *progress_to;
    const char *tap; /* node or node.port whose records go to tap_fn; NULL: none */
    void (*tap_fn)(void *arg, const lm_record *record, const char *order);
    void *tap_arg;
    /* plan: told of each step by the workers, at once where there are several; of a generator in parts. NULL: nobody */
    void (*planned_fn)(void *arg, const lm_planned *step);
    void *planned_arg;
} lm_run_options;

enum { LM_EDGE_RECORDS = 4096, LM_EDGE_BYTES = 32 << 20 };

/* What a node did. in = out + empty + dead + blocked, counted in steps; the engine checks it at the end of every run. */
typedef struct lm_node_report {
    const lm_node *node;
    uint64_t in;                          /* steps that had their inputs (a source: items; a gather: windows) */
    uint64_t out;                         /* steps that gave at least one record (a sink: that succeeded) */
    uint64_t empty;                       /* steps that gave none */
    uint64_t dead;                        /* inputs that it could not process */
    uint64_t blocked;                     /* inputs whose partner failed */
    uint64_t cached;                      /* of out and empty: answered from the store */
    uint64_t records;                     /* records that it gave out, over all ports */
    uint64_t unmatched, skipped, retried; /* of empty: without a partner; on_error: skip; attempts beyond the first */
    uint64_t unknown;                     /* plan: steps whose inputs are not known yet */
    bool uncounted; /* plan: nor is their number, as a generator above must run that ends when it likes */
    uint64_t
        would_run;     /* plan: steps that are not in the store; of a generator of a known number of outputs: outputs */
    uint64_t again;    /* plan: steps under `cache: none` to be computed again for what would run below */
    uint64_t ran;      /* the same count as would_run, of what did run */
    double seconds;    /* of worker time in its code */
    double expected_s; /* plan: from the cost of former steps; NAN: none known */
    uint64_t files;    /* that a sink wrote in this run */
} lm_node_report;

typedef struct lm_run_report {
    lm_node_report *nodes; /* in the graph's order; those beyond `until` have node NULL */
    size_t n_nodes;
    int status; /* 0 done, 1 failed, 3 done with dead letters, 130/143 stopped */
    uint64_t dead;
    double wall_s;
    uint64_t run;     /* its number in the store; 0: no store */
    char *first_dead; /* the reason of the first dead letter, or NULL */
    char **outputs;   /* paths that sinks wrote or found written, up to LM_REPORT_OUTPUTS */
    size_t n_outputs, total_outputs;
    size_t peak_queue_bytes;
} lm_run_report;
enum { LM_REPORT_OUTPUTS = 64 };

/* LM_OK also when there are dead letters or it was stopped: the report says so. A failure is the run's own: store, graph,
 * memory, on_error: stop. The report is filled as far as it went, in any case. */
lm_status lm_run_graph(const lm_graph *graph, const lm_run_options *options, lm_run_report *ret, lm_error *err);
void lm_run_report_done(lm_run_report *report);

/* The digest of what a node's keys are made of besides inputs, and that Recipe message encoded (in the arena). */
lm_status lm_node_recipe(const lm_graph *graph, const lm_node *node, lm_arena *arena, lm_digest *ret_digest,
                         const void **ret_bytes, size_t *ret_size, lm_error *err);

/* The key of a source's step: what it reads, and the digests of its files in order. */
lm_digest lm_source_key(const lm_digest *recipe, const char *id, const char *spec, const lm_digest *files, size_t n);

#endif
