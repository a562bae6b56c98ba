/* A graph: what a graph file says, parsed, expanded, typed and checked. Immutable once made.
 *
 *   lm_graph_load   file -> graph, or all its errors at once
 *
 * Sub-graphs are expanded: their nodes have names like "sharpen/read". The graph owns everything it points to.
 */
#ifndef LM_RUNTIME_GRAPH_H
#define LM_RUNTIME_GRAPH_H

#include "runtime/arena.h"
#include "runtime/operator.h"

typedef struct lm_graph lm_graph;
typedef struct lm_node lm_node;

typedef struct lm_place {
    const char *file;      /* as the user named it */
    unsigned line, column; /* from 1; 0: none */
} lm_place;

typedef enum lm_on_error { LM_ON_ERROR_ROUTE, LM_ON_ERROR_SKIP, LM_ON_ERROR_STOP } lm_on_error;

typedef struct lm_wire {
    const lm_node *from;
    unsigned port; /* index into the operator's output ports; LM_ERRORS_PORT */
} lm_wire;
enum { LM_ERRORS_PORT = 255 };

/* An input port of a node and what feeds it. */
typedef struct lm_input {
    const lm_port *port;
    lm_wire *wires; /* one, but for a merge port; none: optional and not wired */
    size_t n_wires;
} lm_input;

struct lm_node {
    const char *name;
    size_t index; /* in lm_graph.nodes, which is in topological order */
    lm_place place;
    const lm_operator *op;
    const char *doc;

    json_t *params;        /* complete: defaults filled in, paths absolute, templates as text */
    const char *canonical; /* what the key sees of them: sorted compact JSON without paths, extents, no_key */
    void *self;            /* the operator's struct with the parameters filled in; the engine opens and closes it */
    const char *length; /* how long its steps go on: part of the key alone; NULL: the operator has no such parameter */
    int64_t extent;     /* -1: the operator has none */

    lm_input *inputs; /* in the order of the operator's input ports */
    size_t n_inputs;
    size_t n_outputs; /* the operator's output ports, without `errors` */

    lm_on_error on_error;
    unsigned retries; /* 0: none */
    double backoff_s;
    unsigned retry_when;  /* bits: 1 << lm_status */
    double timeout_s;     /* 0: none */
    unsigned workers;     /* 0: all */
    bool cache;           /* keep */
    const char *salt;     /* "" if none */
    const char *join_on;  /* "id" or an attribute's name */
    double within_s;      /* of a join; 0: none */
    bool window_all;      /* of a gather */
    size_t window_count;  /* 0: no limit */
    double window_wait_s; /* 0: no limit */
    bool endless;         /* it, or something above it, may never end */
    const char *sources;  /* set of source nodes above it, as text: equal text, equal set */
};

struct lm_graph {
    lm_arena arena;
    const char *name, *doc, *file; /* file: as the user named it */
    uint64_t seed;
    json_t *settings; /* the graph's params with their values */
    lm_node **nodes;  /* topological order; inputs of a node come before it */
    size_t n_nodes;
    lm_texts plugins;
    lm_texts warnings; /* "file:line:column: warning: ..." */
};

typedef struct lm_setting {
    const char *name, *value; /* of --set name=value: value as YAML */
} lm_setting;

/* Reads and checks a graph file. Touches the files of the graph and its sub-graphs and plugins only. On failure
 * *ret_errors (freed by the caller) holds all errors as they are to be printed, and the status is LM_EGRAPH (or LM_EIO). */
lm_status lm_graph_load(const char *path, const lm_setting *settings, size_t n_settings, lm_graph **ret,
                        char **ret_errors);
/* The same for `check` and `show`: a graph that is a part for others (with `inputs:`) is fine alone. ret_faults may be NULL;
 * else, on failure, a new array of {file, line, column, text, hint}, sorted as in the text. */
lm_status lm_graph_look(const char *path, const lm_setting *settings, size_t n_settings, lm_graph **ret,
                        char **ret_errors, json_t **ret_faults);
lm_graph *lm_graph_free(lm_graph *graph);
LM_OWNABLE(lm_graph, lm_graph_free)

const lm_node *lm_graph_node(const lm_graph *graph, const char *name); /* NULL: none */
/* Input and output ports of an operator, defaults filled in. ret[] must hold 16; returns their number. */
size_t lm_operator_inputs(const lm_operator *op, const lm_port **ret);
size_t lm_operator_outputs(const lm_operator *op, const lm_port **ret);

#endif
