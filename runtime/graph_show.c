/* A graph as text: for a terminal, and for graphviz. */
#include "runtime/graph_show.h"
#include "runtime/registry.h"

#include <string.h>

static size_t letters(const char *text)
{
    size_t n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

/* The name of an output port, if a reader must be told: not of the default port. */
static const char *port_told(const lm_wire *wire)
{
    const lm_port *ports[16];
    if (wire->port == LM_ERRORS_PORT) return "errors";
    size_t n = lm_operator_outputs(wire->from->op, ports);
    if (wire->port >= n || n == 1 || strcmp(ports[wire->port]->name, "out") == 0) return NULL;
    return ports[wire->port]->name;
}

/* The wire under whose node a node is printed: the first one. */
static const lm_wire *first_wire(const lm_node *node)
{
    for (size_t i = 0; i < node->n_inputs; i++)
        if (node->inputs[i].n_wires) return &node->inputs[i].wires[0];
    return NULL;
}

typedef struct {
    const lm_graph *graph;
    lm_text *to;
    size_t *first, *next; /* children of node i: first[i], next[first[i]], ... as index + 1 */
    size_t widest;
    bool measure;
} tree;

static void describe(tree *t, const lm_node *node)
{
    const lm_wire *shown = first_wire(node);
    const char *port = shown ? port_told(shown) : NULL;
    lm_text_add(t->to, node->op->name);
    if (port) lm_text_format(t->to, ", of %s.%s", shown->from->name, port);
    for (size_t i = 0; i < node->n_inputs; i++)
        for (size_t k = 0; k < node->inputs[i].n_wires; k++) {
            const lm_wire *wire = &node->inputs[i].wires[k];
            if (wire == shown) continue;
            port = port_told(wire);
            lm_text_format(t->to, "; %s%s%s%s%s",
                           node->inputs[i].port->kind == LM_PORT_MERGE ? "and" : node->inputs[i].port->name,
                           node->inputs[i].port->kind == LM_PORT_MERGE ? " " : " from ", wire->from->name,
                           port ? "." : "", port ? port : "");
        }
    for (size_t i = 0; i < node->n_inputs; i++) {
        if (node->inputs[i].port->kind != LM_PORT_GATHER || !node->inputs[i].n_wires) continue;
        char buffer[32];
        lm_text_add(t->to, node->window_all ? "; all at once" : "; in windows of");
        if (node->window_count) lm_text_format(t->to, " %zu records", node->window_count);
        if (node->window_wait_s > 0)
            lm_text_format(t->to, "%s %s", node->window_count ? " or" : "",
                           lm_text_duration(buffer, node->window_wait_s));
        break;
    }
    if (!node->cache) lm_text_add(t->to, "; not kept");
}

/* Prints a node and what hangs below it. prefix: what stands before its children's branches. */
static void branch(tree *t, size_t i, lm_text *prefix, bool root, bool last)
{
    const lm_node *node = t->graph->nodes[i];
    size_t width = letters(lm_text_peek(prefix)) + (root ? 0 : 3) + letters(node->name);
    if (t->measure) {
        if (width > t->widest) t->widest = width;
    } else {
        lm_text_format(t->to, "%s%s%s", lm_text_peek(prefix),
                       root   ? ""
                       : last ? "\u2514\u2500 "
                              : "\u251c\u2500 ",
                       node->name);
        for (size_t k = width; k < t->widest + 2; k++) lm_text_char(t->to, ' ');
        describe(t, node);
        lm_text_char(t->to, '\n');
    }
    size_t before = prefix->length;
    if (!root) lm_text_add(prefix, last ? "   " : "\u2502  ");
    for (size_t child = t->first[i]; child; child = t->next[child - 1])
        branch(t, child - 1, prefix, false, !t->next[child - 1]);
    prefix->length = before;
    if (prefix->chars) prefix->chars[before] = 0;
}

static void list(tree *t)
{
    for (size_t i = 0; i < t->graph->n_nodes; i++) {
        const lm_wire *wire = first_wire(t->graph->nodes[i]);
        const char *port = wire ? port_told(wire) : NULL;
        lm_text_format(t->to, "%s  ", t->graph->nodes[i]->name);
        describe(t, t->graph->nodes[i]);
        if (wire && !port) lm_text_format(t->to, ", of %s", wire->from->name);
        lm_text_char(t->to, '\n');
    }
}

void lm_graph_show_text(const lm_graph *graph, lm_text *to)
{
    enum { DEEPEST = 200 };
    size_t n = graph->n_nodes, deepest = 0;
    lm_text_format(to, "%s: %zu node%s\n", graph->name, n, n == 1 ? "" : "s");
    if (*graph->doc) lm_text_format(to, "%s\n", graph->doc);
    for (void *at = json_object_iter(graph->settings); at; at = json_object_iter_next(graph->settings, at)) {
        char *value = json_dumps(json_object_iter_value(at), JSON_ENCODE_ANY | JSON_COMPACT);
        lm_text_format(to, "  %s = %s\n", json_object_iter_key(at), value ? value : "?");
        free(value);
    }
    lm_text_char(to, '\n');
    tree t = {.graph = graph, .to = to, .first = lm_alloc(n, sizeof(size_t)), .next = lm_alloc(n, sizeof(size_t))};
    size_t *last = lm_alloc(n, sizeof *last), *depth = lm_alloc(n, sizeof *depth);
    lm_text prefix;
    lm_text_init(&prefix);
    if (!t.first || !t.next || !last || !depth) {
        to->failed = true;
    } else {
        for (size_t i = 0; i < n; i++) {
            const lm_wire *wire = first_wire(graph->nodes[i]);
            if (!wire) continue;
            size_t parent = wire->from->index;
            depth[i] = depth[parent] + 1;
            if (depth[i] > deepest) deepest = depth[i];
            *(last[parent] ? &t.next[last[parent] - 1] : &t.first[parent]) = i + 1;
            last[parent] = i + 1;
        }
        for (int pass = 0; pass < 2 && deepest < DEEPEST; pass++) {
            t.measure = pass == 0;
            for (size_t i = 0; i < n; i++)
                if (!first_wire(graph->nodes[i])) branch(&t, i, &prefix, true, true);
        }
        if (deepest >= DEEPEST) list(&t); /* no terminal is that wide */
    }
    to->failed |= prefix.failed;
    lm_text_done(&prefix);
    lm_free(t.first);
    lm_free(t.next);
    lm_free(last);
    lm_free(depth);
}

/* ---- graphviz ---- */

static const char *fill_of(const lm_operator *op)
{
    static const struct {
        const char *room, *colour;
    } fills[] = {{"io", "#dbe9f6"},          {"flow", "#ececec"},   {"lens", "#fde8c8"},  {"deconvolve", "#d9f0dd"},
                 {"reconstruct", "#e7def2"}, {"learn", "#f9dcdc"},  {"infer", "#d5f0f0"}, {"diagnose", "#f7efc0"},
                 {"plot", "#f3dcec"},        {"plugins", "#ffffff"}};
    const char *room = lm_operator_room(op);
    for (size_t i = 0; i < sizeof fills / sizeof *fills; i++)
        if (strcmp(fills[i].room, room) == 0) return fills[i].colour;
    return "#ffffff";
}

void lm_graph_show_dot(const lm_graph *graph, lm_text *to)
{
    lm_text_add(to, "digraph ");
    lm_text_json(to, graph->name);
    lm_text_add(to, " {\n  rankdir=LR;\n  node [shape=box, style=\"rounded,filled\", fontname=\"Helvetica\"];\n"
                    "  edge [fontname=\"Helvetica\", fontsize=10];\n");
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const lm_node *node = graph->nodes[i];
        lm_text_add(to, "  ");
        lm_text_json(to, node->name);
        lm_text_format(to, " [label=\"%s\\n%s\", fillcolor=\"%s\"];\n", node->name, node->op->name, fill_of(node->op));
    }
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const lm_node *node = graph->nodes[i];
        for (size_t p = 0; p < node->n_inputs; p++)
            for (size_t k = 0; k < node->inputs[p].n_wires; k++) {
                const lm_wire *wire = &node->inputs[p].wires[k];
                const char *tail = port_told(wire), *head = node->n_inputs > 1 ? node->inputs[p].port->name : NULL;
                lm_text_add(to, "  ");
                lm_text_json(to, wire->from->name);
                lm_text_add(to, " -> ");
                lm_text_json(to, node->name);
                lm_text_format(to, " [%s%s%s%s%s%s%s];\n", tail ? "taillabel=\"" : "", tail ? tail : "",
                               tail ? "\"" : "", head ? " headlabel=\"" : "", head ? head : "", head ? "\"" : "",
                               wire->port == LM_ERRORS_PORT ? " style=dashed color=\"#b03030\"" : "");
            }
    }
    lm_text_add(to, "}\n");
}
