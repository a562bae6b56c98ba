#include "tools/lensmill/plan_why.h"
#include "runtime/text.h"
#include "tools/lensmill/columns.h"
#include "tools/lensmill/plan_old.h"

#include <stdio.h>
#include <string.h>

enum { EXAMPLES = 3, MOST_IN_CHAIN = 12 };

/* Steps of a node that have the same reason. */
typedef struct group {
    const lm_node *node;
    const char *reason;
    lm_planned_how how;
    char *text;
    uint64_t steps, outputs; /* outputs: of a generator of a known number */
    const char *examples[EXAMPLES];
    const char *detail; /* of the first one; NULL: none */
    json_t *changes;
} group;

struct lm_why {
    const lm_graph *graph;
    const char *record;
    lm_arena arena;
    lm_plan_step **steps;
    size_t n, capacity;
    lm_map by_id; /* lm_plan_id() -> step */
    lm_nearest nearest;
    char *nearest_id; /* what `nearest` points to */
    group *groups;
    size_t n_groups, groups_capacity;
    const lm_run_report *report;
    bool failed; /* no memory */
};

lm_why *lm_why_new(const lm_graph *graph, const char *record)
{
    lm_why *w = lm_alloc(1, sizeof *w);
    if (!w) return NULL;
    w->graph = graph;
    w->record = record;
    lm_arena_init(&w->arena);
    lm_map_init(&w->by_id);
    if (record) lm_nearest_init(&w->nearest, record);
    return w;
}

lm_why *lm_why_free(lm_why *w)
{
    if (!w) return NULL;
    for (size_t i = 0; i < w->n_groups; i++) {
        lm_free(w->groups[i].text);
        json_decref(w->groups[i].changes);
    }
    lm_free(w->groups);
    lm_free(w->steps);
    lm_free(w->nearest_id);
    lm_map_done(&w->by_id);
    lm_arena_done(&w->arena);
    return lm_free(w);
}

lm_plan_counts lm_plan_count(const lm_node_report *r)
{
    uint64_t dead = r->dead + r->blocked;
    if (r->node->op->shape == LM_GENERATOR && r->node->extent >= 0) {
        uint64_t unknown = r->unknown * (uint64_t)r->node->extent, rest = r->would_run + unknown;
        return (lm_plan_counts){r->records,  r->records > rest ? r->records - rest : 0, r->would_run, unknown, dead,
                                r->uncounted};
    }
    return (lm_plan_counts){r->in, r->cached, r->would_run, r->unknown, dead, r->uncounted && r->unknown};
}

/* ---- while the plan is made ---- */

/* Is one a part of the other ("a/0007" of "a"), or the same? */
static bool is_related(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b), least = n < m ? n : m;
    if (strncmp(a, b, least) != 0) return false;
    return n == m || (n < m ? b[n] : a[m]) == '/';
}

static bool is_wanted(lm_why *w, const lm_planned *step)
{
    if (!w->record) return step->how == LM_PLANNED_RUNS;
    if (is_related(w->record, step->id)) return true;
    for (size_t i = 0; i < step->n_inputs; i++)
        if (is_related(w->record, step->inputs[i].id)) return true;
    const char *before = w->nearest.best;
    if (!lm_starts_with(step->id, w->record)) lm_nearest_offer(&w->nearest, step->id);
    else if (!before || !lm_starts_with(before, w->record)) w->nearest = (lm_nearest){w->record, step->id, 0};
    if (w->nearest.best != before) { /* it is borrowed: keep it */
        char *copy = lm_strdup(step->id);
        w->nearest.best = copy;
        lm_free(w->nearest_id);
        w->nearest_id = copy;
    }
    return false;
}

/* The later parts of a generator's input: only their number is new. */
static bool add_part(lm_why *w, const char *key, const lm_planned *step)
{
    lm_plan_step *known = lm_map_get(&w->by_id, key);
    if (!known || step->node->op->shape != LM_GENERATOR) return false;
    if (step->how == LM_PLANNED_RUNS) known->how = step->how;
    known->runs += step->runs;
    return true;
}

static lm_plan_step *keep(lm_why *w, const lm_planned *from)
{
    lm_plan_step *s = lm_arena_alloc(&w->arena, 1, sizeof *s);
    if (!s) return NULL;
    s->node = from->node;
    s->how = from->how;
    s->kept = from->kept;
    s->runs = from->runs;
    s->missing = from->missing;
    s->has_key = from->key != NULL;
    if (from->key) s->key = *from->key;
    s->n_inputs = from->n_inputs;
    s->n_files = from->n_files;
    s->id = lm_arena_strdup(&w->arena, from->id);
    s->error = from->error ? lm_arena_strdup(&w->arena, from->error) : NULL;
    s->spec = from->spec ? lm_arena_strdup(&w->arena, from->spec) : NULL;
    s->inputs = lm_arena_alloc(&w->arena, from->n_inputs, sizeof *s->inputs);
    char **files = lm_arena_alloc(&w->arena, from->n_files, sizeof *files);
    if (!s->id || !s->inputs || !files) return NULL;
    for (size_t i = 0; i < from->n_files; i++)
        if (!(files[i] = lm_arena_strdup(&w->arena, from->files[i]))) return NULL;
    s->files = files;
    for (size_t i = 0; i < from->n_inputs; i++) {
        const lm_planned_input *in = &from->inputs[i];
        s->inputs[i].port = in->port;
        s->inputs[i].known = in->digest != NULL;
        if (in->digest) s->inputs[i].digest = *in->digest;
        if (!(s->inputs[i].id = lm_arena_strdup(&w->arena, in->id))) return NULL;
    }
    return s;
}

void lm_why_step(void *arg, const lm_planned *step)
{
    lm_why *w = arg;
    if (w->failed || !is_wanted(w, step)) return;
    LM_OWN(lm_chars) key = lm_plan_id(step->node, step->id);
    if (key && add_part(w, key, step)) return;
    lm_plan_step *s = keep(w, step);
    w->failed =
        !key || !s || !lm_grow(&w->steps, w->n, &w->capacity, sizeof *w->steps) || !lm_map_put(&w->by_id, key, s, NULL);
    if (!w->failed) w->steps[w->n++] = s;
}

/* ---- reasons ---- */

static group *find_group(lm_why *w, const lm_plan_step *s, const char *reason, const char *text)
{
    for (size_t i = w->n_groups; i-- > 0;) {
        group *g = &w->groups[i];
        if (g->node == s->node && g->how == s->how && g->reason == reason && strcmp(g->text, text) == 0) return g;
    }
    if (!lm_grow(&w->groups, w->n_groups, &w->groups_capacity, sizeof *w->groups)) return NULL;
    group *g = &w->groups[w->n_groups];
    *g = (group){.node = s->node, .reason = reason, .how = s->how, .text = lm_strdup(text)};
    if (!g->text) return NULL;
    w->n_groups++;
    return g;
}

static bool put_reason(lm_why *w, const lm_plan_step *s, lm_plan_reason *reason)
{
    bool failed = reason->text.failed || reason->detail.failed;
    group *g = failed ? NULL : find_group(w, s, reason->name, lm_text_peek(&reason->text));
    if (g) {
        if (g->steps < EXAMPLES) g->examples[g->steps] = s->id;
        g->steps++;
        g->outputs += s->runs;
        if (!g->changes) g->changes = lm_take(reason->changes);
        if (!g->detail && reason->detail.length) g->detail = lm_arena_strdup(&w->arena, lm_text_peek(&reason->detail));
    }
    lm_plan_reason_done(reason);
    return g != NULL;
}

/* The nearest nodes above that would run something. */
static void add_causes(const lm_why *w, const lm_node *node, bool *seen, lm_text *text, size_t *n)
{
    for (size_t i = 0; i < node->n_inputs; i++)
        for (size_t k = 0; k < node->inputs[i].n_wires; k++) {
            const lm_node *from = node->inputs[i].wires[k].from;
            if (seen[from->index]) continue;
            seen[from->index] = true;
            const lm_node_report *r = &w->report->nodes[from->index];
            if (r->would_run) lm_text_format(text, "%s\"%s\"", (*n)++ ? ", " : "", from->name);
            if (r->unknown) add_causes(w, from, seen, text, n);
        }
}

static bool put_waiting(lm_why *w, const lm_plan_old *old, const lm_node *node, uint64_t steps)
{
    bool *seen = lm_arena_alloc(&w->arena, w->graph->n_nodes, sizeof *seen);
    lm_plan_reason reason = lm_plan_reason_new("waits");
    size_t n = 0;
    if (!seen) return false;
    lm_text_add(&reason.text, steps == 1 ? "it waits for " : "they wait for ");
    add_causes(w, node, seen, &reason.text, &n);
    lm_plan_old_note(old, node, &reason);
    const lm_plan_step step = {.node = node, .how = LM_PLANNED_UNKNOWN, .id = ""};
    if (!put_reason(w, &step, &reason)) return false;
    w->groups[w->n_groups - 1].steps = steps;
    w->groups[w->n_groups - 1].examples[0] = NULL;
    return true;
}

static lm_status explain_steps(lm_why *w, lm_plan_old *old, lm_error *err)
{
    for (size_t i = 0; i < w->n; i++) {
        lm_plan_reason reason;
        LM_TRY(lm_plan_old_explain(old, w->steps[i], &reason, err));
        if (w->steps[i]->how == LM_PLANNED_UNKNOWN) {
            lm_plan_reason_done(&reason);
            continue;
        }
        if (!put_reason(w, w->steps[i], &reason)) return LM_NOMEM(err);
    }
    return LM_OK;
}

static lm_status explain_waiting(lm_why *w, const lm_plan_old *old, lm_error *err)
{
    for (size_t i = 0; i < w->graph->n_nodes; i++) {
        const lm_node_report *r = &w->report->nodes[i];
        uint64_t steps = 0;
        if (!r->node) continue;
        if (!w->record) steps = lm_plan_count(r).unknown;
        for (size_t k = 0; w->record && k < w->n; k++)
            steps += w->steps[k]->node == r->node && w->steps[k]->how == LM_PLANNED_UNKNOWN;
        if (steps && !put_waiting(w, old, r->node, steps)) return LM_NOMEM(err);
    }
    return LM_OK;
}

lm_status lm_why_explain(lm_why *w, lm_store *store, const lm_run_report *report, lm_error *err)
{
    w->report = report;
    if (w->failed) return LM_NOMEM(err);
    if (w->record && !w->n) {
        char hint[300] = "`lensmill tap GRAPH NODE` prints the records that pass a node.";
        if (w->nearest.best) snprintf(hint, sizeof hint, "Did you mean \"%.200s\"?", w->nearest.best);
        return lm_fail(err, LM_EUSAGE, hint, "no step of \"%s\" has a record \"%s\"", w->graph->name, w->record);
    }
    lm_plan_old *old = NULL;
    lm_status status = lm_plan_old_load(w->graph, report, store, &old, err);
    if (!status) status = lm_plan_old_scan(old, w->steps, w->n, &w->by_id, err);
    if (!status) status = explain_steps(w, old, err);
    if (!status) status = explain_waiting(w, old, err);
    lm_plan_old_free(old);
    return status;
}

/* ---- telling ---- */

static const char *const verbs[] = {[LM_PLANNED_STORED] = "stored",
                                    [LM_PLANNED_RUNS] = "would run",
                                    [LM_PLANNED_UNKNOWN] = "not known yet",
                                    [LM_PLANNED_DEAD] = "dead"};

static void print_examples(const group *g, uint64_t all)
{
    if (g->steps >= all || !g->examples[0]) return;
    for (size_t i = 0; i < EXAMPLES && i < g->steps; i++) printf("%s%s", i ? ", " : " (", g->examples[i]);
    fputs(g->steps > EXAMPLES ? ", ...)" : ")", stdout);
}

static void print_group(const lm_why *w, const group *g, const lm_plan_counts *c, int width, bool first)
{
    bool outputs = g->node->op->shape == LM_GENERATOR && g->node->extent >= 0 && g->how == LM_PLANNED_RUNS;
    printf("%-*s  ", width, first ? g->node->name : "");
    if (!w->record && c->uncounted && g->how == LM_PLANNED_UNKNOWN) printf("nobody knows how many ");
    else if (!w->record)
        printf("%llu of %llu ", (unsigned long long)(outputs ? g->outputs : g->steps), (unsigned long long)c->steps);
    else if (g->steps > 1) printf("%llu steps ", (unsigned long long)g->steps);
    printf("%s%s%s", verbs[g->how], *g->text ? ": " : "", g->text);
    print_examples(g, w->record ? (g->steps > 1 ? UINT64_MAX : 0) : c->steps);
    putchar('\n');
    if (g->detail)
        printf("%-*s    %s%s%s\n", width, "", g->steps > 1 ? g->examples[0] : "", g->steps > 1 ? ": " : "", g->detail);
}

void lm_why_print(const lm_why *w)
{
    int width = 4;
    for (size_t i = 0; i < w->report->n_nodes; i++) {
        const lm_node *node = w->report->nodes[i].node;
        if (node && (int)strlen(node->name) > width) width = (int)strlen(node->name);
    }
    if (w->record) printf("record \"%s\"\n", w->record);
    for (size_t i = 0; i < w->report->n_nodes; i++) {
        const lm_node_report *r = &w->report->nodes[i];
        if (!r->node) continue;
        lm_plan_counts c = lm_plan_count(r);
        bool first = true;
        for (size_t k = 0; k < w->n_groups; k++) {
            if (w->groups[k].node != r->node) continue;
            print_group(w, &w->groups[k], &c, width, first);
            first = false;
        }
        if (!first || w->record) continue;
        if (c.dead)
            printf("%-*s  %llu stored, %llu dead\n", width, r->node->name, (unsigned long long)c.cached,
                   (unsigned long long)c.dead);
        else if (c.steps) printf("%-*s  all %llu stored\n", width, r->node->name, (unsigned long long)c.steps);
        else printf("%-*s  nothing comes to it\n", width, r->node->name);
    }
}

json_t *lm_why_json(const lm_why *w, const lm_node *node)
{
    json_t *all = json_array();
    for (size_t i = 0; i < w->n_groups; i++) {
        const group *g = &w->groups[i];
        if (g->node != node) continue;
        json_t *examples = json_array();
        for (size_t k = 0; k < EXAMPLES && k < g->steps && g->examples[k]; k++)
            json_array_append_new(examples, lm_json_text(g->examples[k]));
        json_t *one = json_pack("{s:s, s:s, s:o, s:I, s:o}", "state", verbs[g->how], "reason", g->reason, "text",
                                lm_json_text(g->text), "steps", (json_int_t)g->steps, "examples", examples);
        if (g->detail) json_object_set_new(one, "detail", lm_json_text(g->detail));
        if (g->changes) json_object_set(one, "changes", g->changes);
        json_array_append_new(all, one);
    }
    return all;
}
