/* What can be wrong only in the whole graph: sources that never end, joins, windows, equal random nodes. Nodes come in
 * topological order. */
#include "runtime/graph_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The union of comma-separated sorted sets of names. */
static const char *unite(lm_loader *l, const char *const *sets, size_t n)
{
    bool same = true;
    for (size_t i = 1; i < n; i++) same &= strcmp(sets[0], sets[i]) == 0;
    if (n && same) return sets[0];
    size_t most = 0;
    for (size_t i = 0; i < n; i++)
        for (const char *c = sets[i]; *c; c++) most += c == sets[i] || *c == ',';
    const char **names = lm_alloc(most + 1, sizeof *names);
    const char *result = NULL;
    lm_text text;
    lm_text_init(&text);
    size_t m = 0;
    for (size_t i = 0; names && i < n; i++)
        for (const char *c = sets[i]; *c;) {
            size_t k = strcspn(c, ",");
            names[m] = lm_strndup(c, k);
            if (names[m]) m++;
            else text.failed = true;
            c += k + (c[k] == ',');
        }
    if (names) {
        qsort(names, m, sizeof *names, by_text);
        for (size_t i = 0; i < m; i++)
            if (!i || strcmp(names[i], names[i - 1]) != 0)
                lm_text_format(&text, "%s%s", text.length ? "," : "", names[i]);
        if (!text.failed) result = lm_arena_strdup(l->arena, lm_text_peek(&text));
        for (size_t i = 0; i < m; i++) lm_free((void *)(uintptr_t)names[i]);
    }
    lm_text_done(&text);
    lm_free(names);
    if (!result) l->nomem = true;
    return result ? result : "";
}

static bool source_may_be_endless(const lm_node *node)
{
    if (!(node->op->flags & LM_ENDLESS)) return false;
    for (const lm_param *p = node->op->params; p && p->name; p++)
        if (strcmp(p->name, "watch") == 0) return json_is_true(json_object_get(node->params, "watch"));
    return true;
}

static void trace_sources(lm_loader *l, lm_node *node)
{
    if (node->op->shape == LM_SOURCE) {
        node->endless = source_may_be_endless(node);
        node->sources = node->name;
        return;
    }
    size_t n = 0, most = 0;
    for (size_t i = 0; i < node->n_inputs; i++) most += node->inputs[i].n_wires;
    const char **sets = lm_alloc(most, sizeof *sets);
    if (!sets) {
        l->nomem = true;
        return;
    }
    for (size_t i = 0; i < node->n_inputs; i++)
        for (size_t k = 0; k < node->inputs[i].n_wires; k++) {
            const lm_node *from = node->inputs[i].wires[k].from;
            sets[n++] = from->sources;
            node->endless |= from->endless;
        }
    node->sources = unite(l, sets, n);
    lm_free(sets);
}

static const lm_node *endless_source(const lm_node *node)
{
    while (node->op->shape != LM_SOURCE) {
        const lm_node *next = NULL;
        for (size_t i = 0; i < node->n_inputs && !next; i++)
            for (size_t k = 0; k < node->inputs[i].n_wires && !next; k++)
                if (node->inputs[i].wires[k].from->endless) next = node->inputs[i].wires[k].from;
        if (!next) return node;
        node = next;
    }
    return node;
}

static bool input_endless(const lm_input *input)
{
    bool endless = false;
    for (size_t k = 0; k < input->n_wires; k++) endless |= input->wires[k].from->endless;
    return endless;
}

static void check_endless(lm_loader *l, const lm_draft *draft)
{
    const lm_node *node = draft->node;
    const lm_input *streams[LM_MOST_PORTS];
    size_t n = 0;
    for (size_t i = 0; i < node->n_inputs; i++) {
        const lm_input *input = &node->inputs[i];
        if (!input_endless(input)) continue;
        const lm_yaml_entry *window = lm_yaml_entry_of(draft->body, "window");
        unsigned line = draft->line, column = draft->column;
        if (window) line = window->value->line, column = window->value->column;
        const char *source = endless_source(node)->name;
        if (input->port->kind == LM_PORT_GATHER && node->window_all)
            lm_graph_fault(l, draft->scope, line, column, "Give it a window such as {count: 500, wait: 10min}.",
                           "node \"%s\" waits for all records, and \"%s\" never ends", draft->name, source);
        if (input->port->kind == LM_PORT_LOOKUP)
            lm_graph_fault(l, draft->scope, draft->line, draft->column, NULL,
                           "node \"%s\" looks records up at \"%s\", and \"%s\" never ends", draft->name,
                           input->port->name, source);
        if (input->port->kind == LM_PORT_STREAM) streams[n++] = input;
    }
    if (n < 2 || node->within_s > 0) return;
    for (size_t i = 1; i < n; i++)
        if (strcmp(streams[0]->wires[0].from->sources, streams[i]->wires[0].from->sources) != 0) {
            lm_graph_fault(l, draft->scope, draft->line, draft->column,
                           "Add \"within: 1h\": how long a record waits for its partner.",
                           "node \"%s\" joins sources that never end (\"%s\" and \"%s\")", draft->name,
                           endless_source(streams[0]->wires[0].from)->name,
                           endless_source(streams[i]->wires[0].from)->name);
            return;
        }
}

static bool same_inputs(const lm_node *a, const lm_node *b)
{
    if (a->n_inputs != b->n_inputs) return false;
    for (size_t i = 0; i < a->n_inputs; i++) {
        const lm_input *x = &a->inputs[i], *y = &b->inputs[i];
        if (x->n_wires != y->n_wires) return false;
        for (size_t k = 0; k < x->n_wires; k++)
            if (x->wires[k].from != y->wires[k].from || x->wires[k].port != y->wires[k].port) return false;
    }
    return true;
}

static void warn_equal_random(lm_loader *l, size_t i)
{
    const lm_draft *draft = l->all[i];
    const lm_node *node = draft->node;
    if (!(node->op->flags & LM_RANDOM)) return;
    for (size_t k = 0; k < i; k++) {
        const lm_node *other = l->all[k]->node;
        if (other->op != node->op || strcmp(other->canonical, node->canonical) != 0 ||
            strcmp(other->salt, node->salt) != 0 || !same_inputs(node, other))
            continue;
        lm_graph_warn(l, draft->scope, draft->line, draft->column,
                      "If they are to differ, give one of them a \"salt:\".",
                      "\"%s\" and \"%s\" are equal, and will draw the same random numbers", other->name, node->name);
        return;
    }
}

void lm_graph_check_whole(lm_loader *l)
{
    for (size_t i = 0; i < l->graph->n_nodes && !l->nomem; i++) trace_sources(l, l->graph->nodes[i]);
    for (size_t i = 0; i < l->n_all && !l->nomem; i++) {
        check_endless(l, l->all[i]);
        warn_equal_random(l, i);
    }
    if (!l->nomem) lm_graph_check_fields(l);
}
