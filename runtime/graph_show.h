/* Drawing a graph: for a terminal, for graphviz, for a talk. */
#ifndef LM_RUNTIME_GRAPH_SHOW_H
#define LM_RUNTIME_GRAPH_SHOW_H

#include "runtime/graph.h"
#include "runtime/text.h"

/* Nodes in order, one a line: name, operator, what feeds it. */
void lm_graph_show_text(const lm_graph *graph, lm_text *to);
/* For `dot -Tsvg`. */
void lm_graph_show_dot(const lm_graph *graph, lm_text *to);
/* A drawing of its own: layers from left to right, boxes in the colour of their room. */
lm_status lm_graph_show_svg(const lm_graph *graph, lm_text *to);

#endif
