/* From `in:` to wires, also across the walls of sub-graphs, and the order of nodes. */
#include "runtime/graph_internal.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    lm_loader *l;
    lm_wire *wires;
    size_t n, cap;
    size_t visits; /* hostile sub-graphs can name each other's ports very often */
    bool broken;   /* something could not be resolved, and was reported */
} wiring;
enum { MOST_VISITS = 100000 };

static lm_draft *draft_of(const lm_scope *scope, const char *name, size_t n)
{
    for (size_t i = 0; i < scope->n_drafts; i++)
        if (strncmp(scope->drafts[i]->name, name, n) == 0 && !scope->drafts[i]->name[n]) return scope->drafts[i];
    return NULL;
}

static void unknown_node(lm_loader *l, const lm_scope *scope, unsigned line, unsigned column, const char *name,
                         size_t n)
{
    const char *wanted = lm_arena_strndup(l->arena, name, n);
    if (!wanted) {
        l->nomem = true;
        return;
    }
    lm_nearest nearest;
    lm_nearest_init(&nearest, wanted);
    for (size_t i = 0; i < scope->n_drafts; i++) lm_nearest_offer(&nearest, scope->drafts[i]->name);
    lm_graph_fault(l, scope, line, column, lm_graph_suggest(l, &nearest), "there is no node \"%s\"", wanted);
}

/* "It has: a, b." */
static const char *list_names(lm_loader *l, const char *before, const char *const *names, size_t n)
{
    const char *all = lm_arena_strdup(l->arena, before);
    for (size_t i = 0; all && i < n; i++) all = lm_arena_printf(l->arena, "%s%s\"%s\"", all, i ? ", " : " ", names[i]);
    return all ? lm_arena_printf(l->arena, "%s.", all) : NULL;
}

static void add_wire(wiring *w, const lm_node *from, size_t port)
{
    if (!lm_grow(&w->wires, w->n, &w->cap, sizeof *w->wires)) w->l->nomem = true;
    else w->wires[w->n++] = (lm_wire){.from = from, .port = (unsigned)port};
}

/* One output port of an operator node. port NULL: the default one. */
static void wire_output(wiring *w, const lm_scope *scope, unsigned line, unsigned column, const lm_draft *draft,
                        const char *port)
{
    const lm_port *ports[LM_MOST_PORTS];
    const char *names[LM_MOST_PORTS + 1];
    size_t n = lm_operator_outputs(draft->op, ports), found = 0;
    if (port && strcmp(port, "errors") == 0) {
        add_wire(w, draft->node, LM_ERRORS_PORT);
        return;
    }
    if (!n) {
        lm_graph_fault(w->l, scope, line, column, "Only its \"errors\" can be read.",
                       "node \"%s\" (%s) writes results out and has no output%s%s", draft->name, draft->op->name,
                       port ? " " : "", port ? port : "");
        w->broken = true;
        return;
    }
    lm_nearest nearest;
    lm_nearest_init(&nearest, port ? port : "");
    for (size_t i = 0; i < n; i++) {
        names[i] = ports[i]->name;
        lm_nearest_offer(&nearest, names[i]);
        if (strcmp(names[i], port ? port : "out") == 0) found = i + 1;
    }
    names[n] = "errors";
    if (!found && port) {
        const char *hint = lm_graph_suggest(w->l, &nearest);
        lm_graph_fault(w->l, scope, line, column, hint ? hint : list_names(w->l, "It has", names, n + 1),
                       "node \"%s\" (%s) has no output port \"%s\"", draft->name, draft->op->name, port);
        w->broken = true;
        return;
    }
    add_wire(w, draft->node, found ? found - 1 : 0);
}

/* "node" or "node.port" in a scope. depth: sub-graphs that were entered. */
static void wire_reference(wiring *w, const lm_scope *scope, unsigned line, unsigned column, const char *from)
{
    size_t n = strcspn(from, ".");
    const char *port = from[n] == '.' ? from + n + 1 : NULL;
    const lm_draft *draft = draft_of(scope, from, n);
    if (!draft) {
        if (!scope->broken) unknown_node(w->l, scope, line, column, from, n);
        w->broken = true;
        return;
    }
    if (draft->op && draft->node) {
        wire_output(w, scope, line, column, draft, port);
        return;
    }
    if (!draft->inner) { /* broken, and reported */
        w->broken = true;
        return;
    }
    const lm_scope *inner = draft->inner;
    const lm_exposed *found = inner->n_outputs == 1 && !port ? inner->outputs : NULL;
    const char *wanted = port ? port : "out";
    lm_nearest nearest;
    lm_nearest_init(&nearest, wanted);
    for (size_t i = 0; i < inner->n_outputs; i++) {
        lm_nearest_offer(&nearest, inner->outputs[i].name);
        if (strcmp(inner->outputs[i].name, wanted) == 0) found = &inner->outputs[i];
    }
    if (found) {
        wire_reference(w, inner, found->line, found->column, found->from);
        return;
    }
    w->broken = true;
    if (inner->broken) return;
    const char *hint = lm_graph_suggest(w->l, &nearest);
    if (port && strcmp(port, "errors") == 0) hint = "Expose it there: outputs: {errors: node.errors}";
    else if (!inner->n_outputs) hint = "Expose one there: outputs: {out: node}";
    lm_graph_fault(w->l, scope, line, column, hint, "the graph \"%s\" has no output \"%s\"", inner->source->name,
                   wanted);
}

static const lm_port *port_of(const lm_operator *op, const char *name)
{
    const lm_port *ports[LM_MOST_PORTS];
    size_t n = lm_operator_inputs(op, ports);
    for (size_t i = 0; i < n; i++)
        if (strcmp(ports[i]->name, name) == 0) return ports[i];
    return NULL;
}

/* The names of the input ports of a node, of either kind. */
static size_t input_names(const lm_draft *draft, const char **ret)
{
    const lm_port *ports[LM_MOST_PORTS];
    size_t n = 0;
    if (draft->op) {
        n = lm_operator_inputs(draft->op, ports);
        for (size_t i = 0; i < n; i++) ret[i] = ports[i]->name;
    } else if (draft->inner) {
        for (size_t i = 0; i < draft->inner->n_inputs && n < LM_MOST_PORTS; i++) {
            bool again = false;
            for (size_t k = 0; k < n; k++) again |= strcmp(ret[k], draft->inner->inputs[i].name) == 0;
            if (!again) ret[n++] = draft->inner->inputs[i].name;
        }
    }
    return n;
}

/* The port that `in: node` means: the only one, the only one that must be wired, or "in". NULL: not clear. */
static const char *default_input(const lm_draft *draft)
{
    const char *names[LM_MOST_PORTS], *only = NULL;
    size_t n = input_names(draft, names), required = 0;
    if (n == 1) return names[0];
    for (size_t i = 0; i < n; i++) {
        if (draft->op && port_of(draft->op, names[i])->optional) continue;
        only = names[i];
        required++;
    }
    if (required == 1) return only;
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], "in") == 0) return names[i];
    return NULL;
}

/* Gives every binding its port, and reports those that have none. */
static void name_bindings(lm_loader *l, lm_draft *draft)
{
    const char *names[LM_MOST_PORTS];
    size_t n = input_names(draft, names);
    for (size_t i = 0; i < draft->n_bindings; i++) {
        lm_binding *b = &draft->bindings[i];
        if (!b->port) b->port = default_input(draft);
        bool known = false;
        lm_nearest nearest;
        lm_nearest_init(&nearest, b->port ? b->port : "");
        for (size_t k = 0; b->port && k < n; k++) {
            known |= strcmp(names[k], b->port) == 0;
            lm_nearest_offer(&nearest, names[k]);
        }
        if (known) continue;
        unsigned line = draft->in ? draft->in->line : b->line, column = draft->in ? draft->in->column : b->column;
        const char *what = draft->op ? draft->op->name : draft->inner->source->name;
        draft->unwired = true;
        if (!n) {
            lm_graph_fault(l, draft->scope, line, column, NULL, "\"%s\" has no input: it makes its records itself",
                           what);
            break;
        }
        if (!b->port) {
            lm_graph_fault(l, draft->scope, line, column,
                           list_names(l, "Name them, as in {port: node}. It has", names, n),
                           "\"%s\" has several inputs: which one is this?", what);
            break;
        }
        const lm_yaml_entry *entry = lm_yaml_entry_of(draft->in, b->port);
        const char *hint = lm_graph_suggest(l, &nearest);
        lm_graph_fault(l, draft->scope, entry ? entry->line : line, entry ? entry->column : column,
                       hint ? hint : list_names(l, "It has", names, n), "\"%s\" has no input port \"%s\"", what,
                       b->port);
    }
}

/* What feeds an input port of a node: its own `in:`, or what the sub-graph that it is in exposes. */
static void wires_of(wiring *w, const lm_draft *draft, const char *port)
{
    size_t before = w->n, own = 0;
    if (++w->visits > MOST_VISITS) {
        w->broken = true;
        return;
    }
    for (size_t i = 0; i < draft->n_bindings; i++) {
        const lm_binding *b = &draft->bindings[i];
        if (!b->port || strcmp(b->port, port) != 0) continue;
        wire_reference(w, draft->scope, b->line, b->column, b->from);
        own++;
    }
    if (draft->unwired) w->broken = true;
    const lm_scope *scope = draft->scope;
    for (size_t i = 0; i < scope->n_inputs; i++) {
        const lm_exposed *e = &scope->inputs[i];
        size_t n = strcspn(e->from, ".");
        if (strncmp(draft->name, e->from, n) != 0 || draft->name[n]) continue;
        const char *target = e->from[n] == '.' ? e->from + n + 1 : default_input(draft);
        if (!target || strcmp(target, port) != 0) continue;
        if (own) {
            lm_graph_fault(w->l, scope, e->line, e->column, NULL,
                           "input \"%s\" of node \"%s\" is fed by its own \"in:\" already", port, draft->name);
            w->broken = true;
        } else if (scope->owner) {
            wires_of(w, scope->owner, e->name);
        } else if (!w->l->open) {
            lm_graph_fault(w->l, scope, e->line, e->column, "Use it as a node of another graph: op: ./this.yaml",
                           "nothing feeds the input \"%s\": this graph is a part for other graphs", e->name);
            w->broken = true;
        } else if (w->n == before) {
            w->broken = true; /* fed from outside, by nothing that we can see */
        }
    }
}

static void check_exposed(lm_loader *l, lm_scope *scope)
{
    for (size_t i = 0; i < scope->n_inputs; i++) {
        const lm_exposed *e = &scope->inputs[i];
        size_t n = strcspn(e->from, ".");
        const lm_draft *draft = draft_of(scope, e->from, n);
        if (!draft) {
            if (!scope->broken) unknown_node(l, scope, e->line, e->column, e->from, n);
            continue;
        }
        const char *names[LM_MOST_PORTS], *port = e->from[n] == '.' ? e->from + n + 1 : NULL;
        size_t n_names = input_names(draft, names);
        bool known = !port && default_input(draft);
        for (size_t k = 0; port && k < n_names; k++) known |= strcmp(names[k], port) == 0;
        if (!known && (draft->op || draft->inner))
            lm_graph_fault(l, scope, e->line, e->column, list_names(l, "It has", names, n_names),
                           "node \"%s\" has no input port \"%s\"", draft->name, port ? port : "in");
    }
    wiring w = {.l = l};
    for (size_t i = 0; i < scope->n_outputs; i++) {
        const lm_exposed *e = &scope->outputs[i];
        if (!scope->owner) wire_reference(&w, scope, e->line, e->column, e->from); /* else: where it is used */
    }
    lm_free(w.wires);
    for (size_t i = 0; i < scope->n_drafts; i++) {
        lm_draft *draft = scope->drafts[i];
        if (!draft->inner) continue;
        check_exposed(l, draft->inner);
    }
}

/* A stream that may stay open, and does: the node gets one record to work on, which is empty and has the node's name. */
static void wire_once(lm_loader *l, const lm_draft *draft, lm_input *input)
{
    lm_draft *once = lm_arena_alloc(l->arena, 1, sizeof *once);
    lm_yaml *values = lm_arena_alloc(l->arena, 4, sizeof *values);
    lm_yaml_entry *entries = lm_arena_alloc(l->arena, 3, sizeof *entries);
    input->wires = lm_arena_alloc(l->arena, 1, sizeof *input->wires);
    char *full = lm_arena_printf(l->arena, "%s/once", draft->full);
    if (!once || !values || !entries || !input->wires || !full) {
        l->nomem = true;
        return;
    }
    for (size_t i = 0; i < 4; i++) values[i] = (lm_yaml){.line = draft->line, .column = draft->column};
    values[0].kind = values[1].kind = LM_YAML_MAP;
    values[2].kind = values[3].kind = LM_YAML_TEXT;
    values[0].entries = entries; /* {op: once, with: {id: NAME}} */
    values[0].n = 2;
    values[1].entries = entries + 2;
    values[1].n = 1;
    values[2].text = "once";
    values[3].text = draft->full;
    entries[0] = (lm_yaml_entry){"op", draft->line, draft->column, &values[2]};
    entries[1] = (lm_yaml_entry){"with", draft->line, draft->column, &values[1]};
    entries[2] = (lm_yaml_entry){"id", draft->line, draft->column, &values[3]};
    *once = (lm_draft){.name = full,
                       .full = full,
                       .line = draft->line,
                       .column = draft->column,
                       .scope = draft->scope,
                       .body = values};
    lm_graph_node_read(l, once);
    if (!once->node) return;
    input->wires[0] = (lm_wire){.from = once->node};
    input->n_wires = 1;
}

static void wire_node(lm_loader *l, lm_draft *draft)
{
    const lm_port *ports[LM_MOST_PORTS];
    lm_node *node = draft->node;
    node->n_inputs = lm_operator_inputs(draft->op, ports);
    node->inputs = lm_arena_alloc(l->arena, node->n_inputs, sizeof *node->inputs);
    if (!node->inputs) {
        l->nomem = true;
        return;
    }
    for (size_t i = 0; i < node->n_inputs && !l->nomem; i++) {
        wiring w = {.l = l};
        wires_of(&w, draft, ports[i]->name);
        const lm_binding *listed = NULL;
        for (size_t k = 0; k < draft->n_bindings; k++)
            if (draft->bindings[k].port && strcmp(draft->bindings[k].port, ports[i]->name) == 0 &&
                draft->bindings[k].listed)
                listed = &draft->bindings[k];
        lm_input *input = &node->inputs[i];
        *input = (lm_input){.port = ports[i], .n_wires = w.n};
        input->wires = lm_arena_alloc(l->arena, w.n, sizeof *w.wires);
        if (!input->wires) l->nomem = true;
        else if (w.n) memcpy(input->wires, w.wires, w.n * sizeof *w.wires);
        lm_free(w.wires);
        if (w.broken) draft->unwired = true;
        if (w.visits > MOST_VISITS)
            lm_graph_fault(l, draft->scope, draft->line, draft->column, NULL,
                           "sub-graphs feed node \"%s\" in too many ways", draft->name);
        if (listed && ports[i]->kind != LM_PORT_MERGE) {
            lm_graph_fault(l, draft->scope, draft->in->line, draft->in->column,
                           "Put a node with \"op: merge\" before it, which makes one stream of several.",
                           "input \"%s\" of \"%s\" takes one node, not a list", ports[i]->name, draft->op->name);
            draft->unwired = true;
        } else if (w.n > 1 && ports[i]->kind != LM_PORT_MERGE) {
            lm_graph_fault(l, draft->scope, draft->line, draft->column, "Put a node with \"op: merge\" before it.",
                           "input \"%s\" of node \"%s\" takes one node, and %zu feed it", ports[i]->name, draft->name,
                           w.n);
            draft->unwired = true;
        } else if (!w.n && !w.broken && ports[i]->optional && ports[i]->kind == LM_PORT_STREAM && i == 0) {
            wire_once(l, draft, input);
        } else if (!w.n && !w.broken && !ports[i]->optional) {
            const char *hint = node->n_inputs == 1
                                   ? "Add \"in: NODE\"."
                                   : lm_arena_printf(l->arena, "Add it: in: {%s: NODE}", ports[i]->name);
            lm_graph_fault(l, draft->scope, draft->line, draft->column, hint,
                           "nothing feeds the input \"%s\" of node \"%s\" (%s)", ports[i]->name, draft->name,
                           draft->op->name);
            draft->unwired = true;
        }
    }
}

/* Ports of sub-graphs' nodes too: what is inside asks for them. */
static void name_all_bindings(lm_loader *l, lm_scope *scope)
{
    for (size_t i = 0; i < scope->n_drafts; i++) {
        lm_draft *draft = scope->drafts[i];
        if (draft->node || draft->inner) {
            name_bindings(l, draft);
        } else { /* without an operator: at least, do the nodes exist? */
            for (size_t k = 0; k < draft->n_bindings && !scope->broken; k++) {
                const lm_binding *b = &draft->bindings[k];
                size_t n = strcspn(b->from, ".");
                if (!draft_of(scope, b->from, n)) unknown_node(l, scope, b->line, b->column, b->from, n);
            }
        }
        if (draft->inner) name_all_bindings(l, draft->inner);
    }
}

void lm_graph_wire_all(lm_loader *l, lm_scope *root)
{
    name_all_bindings(l, root);
    for (size_t i = 0; i < l->n_all && !l->nomem; i++) wire_node(l, l->all[i]);
}

void lm_graph_wire_exposed(lm_loader *l, lm_scope *root)
{
    check_exposed(l, root);
}

/* ---- order ---- */

typedef struct {
    size_t *index;              /* of a node (lm_node.index while sorting): place in l->all */
    size_t *waits;              /* inputs that are not placed yet */
    size_t *starts, *consumers; /* the nodes that read node i: consumers[starts[i] .. starts[i + 1]) */
    bool *placed;
} sorting;

static void report_cycle(lm_loader *l, const sorting *s, size_t from)
{
    /* Walk against the arrows through nodes that wait, until one comes again. */
    size_t n = l->n_all, at = from, steps = 0;
    size_t *seen = lm_arena_alloc(l->arena, n, sizeof *seen), *path = lm_arena_alloc(l->arena, n + 1, sizeof *path);
    if (!seen || !path) {
        l->nomem = true;
        return;
    }
    while (!seen[at]) {
        seen[at] = ++steps;
        path[steps - 1] = at;
        const lm_node *node = l->all[at]->node;
        size_t next = at;
        for (size_t i = 0; i < node->n_inputs; i++)
            for (size_t k = 0; k < node->inputs[i].n_wires; k++) {
                size_t up = node->inputs[i].wires[k].from->index;
                if (!s->placed[up]) next = up;
            }
        if (next == at && node->n_inputs == 0) return;
        at = next;
    }
    size_t first = seen[at] - 1, lowest = first;
    for (size_t i = first; i < steps; i++)
        if (path[i] < path[lowest]) lowest = i;
    /* path runs upstream: print it in the direction of the records, from the node declared first */
    size_t length = steps - first;
    lm_text text;
    lm_text_init(&text);
    for (size_t i = 0; i <= length; i++) {
        size_t k = first + (lowest - first + length - i % length) % length;
        lm_text_format(&text, "%s\"%s\"", i ? " -> " : "", l->all[path[k]]->full);
        s->placed[path[k]] = true;
    }
    const lm_draft *draft = l->all[path[lowest]];
    lm_graph_fault(l, draft->scope, draft->in ? draft->in->line : draft->line,
                   draft->in ? draft->in->column : draft->column,
                   "Records travel one way: feed one of these nodes from elsewhere.",
                   "these nodes wait for each other: %s", lm_text_peek(&text));
    lm_text_done(&text);
}

bool lm_graph_sort(lm_loader *l)
{
    size_t n = l->n_all, edges = 0, n_placed = 0, before = l->n_errors;
    for (size_t i = 0; i < n; i++) {
        lm_node *node = l->all[i]->node;
        node->index = i;
        for (size_t k = 0; k < node->n_inputs; k++) edges += node->inputs[k].n_wires;
    }
    lm_arena *arena = l->arena;
    sorting s = {.waits = lm_arena_alloc(arena, n, sizeof(size_t)),
                 .starts = lm_arena_alloc(arena, n + 2, sizeof(size_t)),
                 .consumers = lm_arena_alloc(arena, edges, sizeof(size_t)),
                 .placed = lm_arena_alloc(arena, n, sizeof(bool))};
    lm_node **nodes = lm_arena_alloc(arena, n, sizeof(lm_node *));
    if (!s.waits || !s.starts || !s.consumers || !s.placed || !nodes) return !(l->nomem = true);
#define EACH_WIRE(node, wire)                                                                                          \
    for (size_t i_ = 0; i_ < (node)->n_inputs; i_++)                                                                   \
        for (const lm_wire *wire = (node)->inputs[i_].wires, *end_ = wire + (node)->inputs[i_].n_wires; wire < end_;   \
             wire++)
    for (size_t i = 0; i < n; i++) EACH_WIRE(l->all[i]->node, wire) s.starts[wire->from->index + 2]++, s.waits[i]++;
    for (size_t i = 2; i < n + 2; i++) s.starts[i] += s.starts[i - 1];
    for (size_t i = 0; i < n; i++) EACH_WIRE(l->all[i]->node, wire) s.consumers[s.starts[wire->from->index + 1]++] = i;
    /* Always the node declared first among those whose inputs are placed. */
    for (size_t at = 0; n_placed < n;) {
        while (at < n && (s.placed[at] || s.waits[at])) at++;
        if (at == n) {
            for (at = 0; s.placed[at]; at++) (void)0;
            size_t errors = l->n_errors;
            report_cycle(l, &s, at);
            if (l->n_errors == errors) break;
            /* Go on as if the cycle were placed: there may be another one. */
            size_t count = 0;
            for (size_t i = 0; i < n; i++) count += s.placed[i];
            if (count == n) break;
            for (size_t i = 0; i < n; i++) {
                s.waits[i] = 0;
                EACH_WIRE(l->all[i]->node, wire) s.waits[i] += !s.placed[wire->from->index];
            }
            n_placed = count;
            at = 0;
            continue;
        }
        nodes[n_placed++] = l->all[at]->node;
        s.placed[at] = true;
        size_t next = at + 1;
        for (size_t k = s.starts[at]; k < s.starts[at + 1]; k++)
            if (--s.waits[s.consumers[k]] == 0 && s.consumers[k] < next) next = s.consumers[k];
        at = next;
    }
    if (l->n_errors > before) return false;
    for (size_t i = 0; i < n; i++) nodes[i]->index = i;
    l->graph->nodes = nodes;
    l->graph->n_nodes = n;
    return true;
}
