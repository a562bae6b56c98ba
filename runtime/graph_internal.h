/* What the parts of the graph front end share.
 *
 *   graph_parse.c   a file and its params: scopes, ${param}
 *   graph_node.c    one node: operator, parameters, settings
 *   graph_where.c   jq expressions, compiled together
 *   graph_wire.c    `in:` to wires, across sub-graphs; the order of nodes
 *   graph_check.c   what needs the whole graph: endless sources, joins, windows, equal random nodes
 *   graph_fields.c  tensors along edges
 *   graph_fault.c   the errors of a load, and how they print
 *   graph.c         lm_graph_load from these
 *
 * A load collects every fault and goes on as long as that makes sense; a thing that could not be made is `broken`, and
 * nothing that leans on it is reported again.
 */
#ifndef LM_RUNTIME_GRAPH_INTERNAL_H
#define LM_RUNTIME_GRAPH_INTERNAL_H

#include "runtime/graph.h"
#include "runtime/param_internal.h"
#include "runtime/yaml.h"

enum { LM_MOST_NODES = 10000, LM_MOST_SUBGRAPHS = 16, LM_MOST_PORTS = 16 };

/* A graph file that was read: kept for the lines that errors quote. */
typedef struct lm_source {
    const char *name;   /* as the user named it */
    const char *path;   /* absolute, without symbolic links */
    const char *folder; /* that it is in; "": it could not be read */
    const char *bytes;
    size_t n, order;
} lm_source;

typedef struct lm_fault {
    const lm_source *source;
    unsigned line, column; /* 0: of the file as a whole */
    const char *text, *hint, *context;
    bool warning;
    size_t order;
} lm_fault;

/* One of the graph's own params. */
typedef struct lm_variable {
    lm_param param; /* the same rules as an operator's */
    unsigned line, column;
    lm_yaml *value;        /* NULL: broken */
    const char *as_output; /* of a path's default: the same, relative to the working directory */
    bool used;
} lm_variable;

typedef struct lm_draft lm_draft;
typedef struct lm_scope lm_scope;

/* One name in an `in:`: a port (NULL: the default one) and what feeds it. */
typedef struct lm_binding {
    const char *port, *from;
    unsigned line, column;
    bool listed; /* one of several in a list */
    bool used;
} lm_binding;

/* One name of a sub-graph's `inputs:` (from: "node.port" of an inner node, several may share a name) or `outputs:`. */
typedef struct lm_exposed {
    const char *name, *from;
    unsigned line, column;
} lm_exposed;

/* One use of a graph file: the main graph, or a sub-graph at one node. */
struct lm_scope {
    const lm_source *source;
    const char *folder; /* absolute: what its relative paths start from */
    const char *prefix; /* "" or "outer/" */
    lm_scope *parent;
    lm_draft *owner; /* the node of the parent that this is */
    lm_yaml *root;
    lm_variable *variables;
    lm_draft **drafts;
    lm_exposed *inputs, *outputs;
    size_t n_variables, n_drafts, n_inputs, n_outputs, depth;
    bool broken; /* not all of its nodes could be read */
};

/* A node on its way: an operator, or a sub-graph that stands for others. */
struct lm_draft {
    const char *name, *full;
    unsigned line, column;
    lm_scope *scope, *inner;
    const lm_yaml *body, *with, *in; /* substituted */
    const lm_operator *op;
    lm_node *node; /* of an operator */
    lm_binding *bindings;
    size_t n_bindings;
    bool broken;   /* nothing more is said about it */
    bool unwired;  /* an input could not be resolved */
    unsigned keys; /* bits of the settings that were written: see graph_node.c */
};

/* A jq expression that is still to be compiled. */
typedef struct lm_expression {
    const char *text, *path;
    lm_draft *draft;
    unsigned line, column;
} lm_expression;

typedef struct lm_loader {
    lm_graph *graph;
    lm_arena *arena; /* the graph's */
    const lm_setting *settings;
    size_t n_settings;
    bool open; /* a graph with unwired `inputs:` is fine */
    lm_fault *faults;
    lm_source **sources;
    lm_draft **all; /* operator nodes, as declared, sub-graphs in their node's place */
    lm_expression *expressions;
    size_t n_expressions, cap_expressions;
    const char **plugins;
    size_t n_faults, cap_faults, n_sources, cap_sources, n_all, cap_all, n_plugins, cap_plugins;
    size_t n_errors;
    bool nomem, io;
} lm_loader;

/* ---- faults ---- */

/* hint may be NULL. Lines of a multi-line text after the first are printed below the quoted line. */
void lm_graph_fault(lm_loader *l, const lm_scope *scope, unsigned line, unsigned column, const char *hint,
                    const char *format, ...) __attribute__((format(printf, 6, 7)));
void lm_graph_warn(lm_loader *l, const lm_scope *scope, unsigned line, unsigned column, const char *hint,
                   const char *format, ...) __attribute__((format(printf, 6, 7)));
/* "Did you mean ...?" in the arena; NULL if there is none. */
const char *lm_graph_suggest(lm_loader *l, const lm_nearest *nearest);
/* All faults as they are to be printed, sorted: the caller frees it; NULL without memory. */
char *lm_graph_render(lm_loader *l);
/* The same as JSON: a new array, NULL without memory. */
json_t *lm_graph_faults_json(lm_loader *l);
/* Sorts warnings into graph->warnings. */
void lm_graph_keep_warnings(lm_loader *l);

/* ---- parse ---- */

/* Reads a file as a scope and its nodes into l->all. parent and owner: NULL for the main graph. with: the params of a
 * sub-graph, substituted. NULL: broken, reported. */
lm_scope *lm_graph_scope(lm_loader *l, const char *name, lm_scope *parent, lm_draft *owner, const lm_yaml *with);
/* A copy of value with ${param} replaced; the same object if there is nothing to replace; NULL: broken, reported.
 * output: the value is a path that is written. */
const lm_yaml *lm_graph_substitute(lm_loader *l, lm_scope *scope, const lm_yaml *value, bool output);
/* The place of a value inside `with`, from a path such as "tensors.psf.hdu". False: there is none. */
bool lm_graph_locate(const lm_yaml *with, const char *path, unsigned *line, unsigned *column);

/* ---- nodes, wires, checks ---- */

void lm_graph_node_read(lm_loader *l, lm_draft *draft); /* sets op, node, bindings or inner */
/* Compiles the jq expressions of all nodes. */
void lm_graph_check_expressions(lm_loader *l);
void lm_graph_node_settle(lm_loader *l, lm_draft *draft); /* settings against ports and shape */
void lm_graph_wire_all(lm_loader *l, lm_scope *root);     /* inputs of every node */
void lm_graph_wire_exposed(lm_loader *l, lm_scope *root); /* are `inputs:` and `outputs:` what they say? */
bool lm_graph_sort(lm_loader *l);                         /* fills graph->nodes; false: cycles, reported */
void lm_graph_check_whole(lm_loader *l);
void lm_graph_check_fields(lm_loader *l); /* part of it: tensors along edges */

#endif
