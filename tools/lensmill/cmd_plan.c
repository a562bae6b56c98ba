/* lensmill plan: what a run would do, and why. */
#include "runtime/text.h"
#include "tools/lensmill/columns.h"
#include "tools/lensmill/plan_old.h"
#include "tools/lensmill/plan_why.h"
#include "tools/lensmill/running.h"
#include "tools/lensmill/store_verbs.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static lm_settings settings;
static const char *store_place, *until;
static int64_t limit, workers;
static bool as_json, why;

static const lm_option options[] = {
    {"set", LM_OPTION_SETTINGS, &settings, .value = "NAME=VALUE", .doc = "a param of the graph; may be repeated"},
    {"store", LM_OPTION_TEXT, &store_place, .value = "DIR", .doc = "where results are kept; default .lensmill"},
    {"until", LM_OPTION_TEXT, &until, .value = "NODE", .doc = "plan this node and what feeds it"},
    {"limit", LM_OPTION_INT, &limit, .value = "N", .least = 1, .most = INT64_MAX,
     .doc = "the first N items of each source"},
    {"workers", LM_OPTION_INT, &workers, .value = "N", .least = 1, .most = 256,
     .doc = "for how many the time is told; default: one a core"},
    {"why", LM_OPTION_FLAG, &why, .doc = "say why, for each node, or for the one record named after the graph"},
    {"json", LM_OPTION_FLAG, &as_json, .doc = "print one JSON object"},
    {0}};

static const lm_command command = {
    .name = "plan",
    .usage = "GRAPH [RECORD] [options]",
    .summary = "Say what a run would do, and why",
    .doc =
        "Sources list their items and every step is looked up in the store; nothing is computed or written, and a run "
        "may hold the store meanwhile. What depends on a step that would run is not known yet: if that step gives "
        "what it gave before, nothing below it runs. Such counts are the most there can be; a ? stands where not even "
        "that is "
        "known.\n\n"
        "With --why, the stored step that is nearest is compared with the one that would run: operator, parameters, "
        "seed, code, inputs, files. The times are those of former runs.",
    .options = options,
    .least = 1,
    .most = 2,
};

typedef struct total {
    double work_s, wall_s;
    uint64_t runs, unknown;
    const char *unpriced[4]; /* nodes of which no time is known, or not how much they have to do */
    size_t n_unpriced;
} total;

static total sum_up(const lm_run_report *report, unsigned n_workers)
{
    total t = {0};
    for (size_t i = 0; i < report->n_nodes; i++) {
        const lm_node_report *r = &report->nodes[i];
        if (!r->node) continue;
        t.runs += r->would_run;
        t.unknown += r->unknown;
        if (!r->would_run && !r->unknown && !r->again) continue;
        if (!isfinite(r->expected_s) || lm_plan_count(r).uncounted) {
            if (t.n_unpriced < 4) t.unpriced[t.n_unpriced] = r->node->name;
            t.n_unpriced++;
            continue;
        }
        unsigned most = r->node->workers && r->node->workers < n_workers ? r->node->workers : n_workers;
        if (r->node->op->flags & LM_SPANS) most = 1; /* it takes the whole machine for itself */
        t.work_s += r->expected_s;
        t.wall_s += r->expected_s / most;
    }
    return t;
}

static void print_table(const lm_run_report *report)
{
    static const char *const heads[] = {"node", ">steps", ">cached", ">would run", ">not known yet", ">dead", ">about"};
    static const char *const fewer[] = {"node", ">steps", ">cached", ">would run", ">not known yet", ">about"};
    bool dead = false;
    for (size_t i = 0; i < report->n_nodes; i++) dead |= report->nodes[i].dead + report->nodes[i].blocked > 0;
    lm_columns columns;
    lm_columns_init(&columns, dead ? 7 : 6, dead ? heads : fewer);
    for (size_t i = 0; i < report->n_nodes; i++) {
        const lm_node_report *r = &report->nodes[i];
        if (!r->node) continue;
        lm_plan_counts c = lm_plan_count(r);
        lm_columns_add(&columns, "%s", r->node->name);
        const uint64_t numbers[] = {c.steps, c.cached, c.runs, c.unknown, c.dead};
        for (size_t k = 0; k < 4 + (size_t)dead; k++) {
            if (c.uncounted && (k == 0 || k == 3)) lm_columns_add(&columns, "?");
            else lm_columns_add(&columns, "%llu", (unsigned long long)numbers[k]);
        }
        char time[32];
        bool busy = c.runs || c.unknown || r->again;
        lm_columns_add(&columns, "%s",
                       !busy                                     ? "-"
                       : isfinite(r->expected_s) && !c.uncounted ? lm_text_duration(time, r->expected_s)
                                                                 : "?");
    }
    lm_columns_print(&columns, stdout, 0, 0);
    for (size_t i = 0; i < report->n_nodes; i++)
        if (report->nodes[i].node && report->nodes[i].again)
            printf("%llu steps of \"%s\" would be computed again for what runs below: `cache: none`\n",
                   (unsigned long long)report->nodes[i].again, report->nodes[i].node->name);
}

static void print_total(const total *t, unsigned n_workers)
{
    char time[32];
    if (!t->runs && !t->unknown) {
        puts("\nnothing would run: all is in the store");
        return;
    }
    if (t->n_unpriced && !(t->work_s > 0)) {
        puts("\nhow long cannot be told: no former run of these operators is in the store");
        return;
    }
    printf("\n%s %s of work on %u worker%s", t->unknown ? "at most about" : "about", lm_text_duration(time, t->wall_s),
           n_workers, n_workers == 1 ? "" : "s");
    for (size_t i = 0; i < t->n_unpriced && i < 4; i++)
        printf("%s\"%s\"", i ? ", " : ", and what cannot be told: ", t->unpriced[i]);
    if (t->n_unpriced > 4) printf(" and %zu more nodes", t->n_unpriced - 4);
    putchar('\n');
}

static void print_json(const lm_graph *graph, const lm_run_report *report, const total *t, unsigned n_workers,
                       const char *store, const lm_why *reasons)
{
    json_t *nodes = json_array();
    for (size_t i = 0; i < report->n_nodes; i++) {
        const lm_node_report *r = &report->nodes[i];
        if (!r->node) continue;
        lm_plan_counts c = lm_plan_count(r);
        json_t *node = json_pack("{s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "name", lm_json_text(r->node->name),
                                 "op", r->node->op->name, "steps", (json_int_t)c.steps, "cached", (json_int_t)c.cached,
                                 "would_run", (json_int_t)c.runs, "unknown", (json_int_t)c.unknown, "again",
                                 (json_int_t)r->again, "dead", (json_int_t)c.dead, "expected_seconds",
                                 isfinite(r->expected_s) ? json_real(r->expected_s) : json_null());
        json_object_set_new(node, "uncounted", json_boolean(c.uncounted));
        if (reasons) json_object_set_new(node, "why", lm_why_json(reasons, r->node));
        json_array_append_new(nodes, node);
    }
    json_t *all = json_pack("{s:o, s:o, s:i, s:I, s:I, s:f, s:f, s:b, s:o}", "graph", lm_json_text(graph->name),
                            "store", store ? lm_json_text(store) : json_null(), "workers", (int)n_workers, "would_run",
                            (json_int_t)t->runs, "unknown", (json_int_t)t->unknown, "work_seconds", t->work_s,
                            "wall_seconds", t->wall_s, "all_times_known", t->n_unpriced == 0, "nodes", nodes);
    lm_print_json(command.name, all, 0);
}

/* Opens the store to read; *ret stays NULL, and all is well, when there is none. */
static bool open_store(const char *place, lm_store **ret, int *ret_status)
{
    char current[4200];
    snprintf(current, sizeof current, "%.4096s/current", place);
    if (access(current, F_OK) == 0) return lm_open_store(command.name, place, LM_STORE_READ, NULL, ret, ret_status);
    if (!as_json) printf("there is no store in \"%s\": everything would run\n\n", place);
    return true;
}

int lm_cmd_plan(int argc, char **argv)
{
    lm_arguments arguments;
    int status = 0;
    if (!lm_options_parse(&command, argc, argv, &arguments, &status)) return status;
    const char *record = arguments.n > 1 ? arguments.at[1] : NULL;
    if (record && !why)
        return lm_usage_error(command.name, "For example: lensmill plan graph.yaml --why cosmos-00017",
                              "a record (\"%s\") is explained by --why", record);
    LM_OWN(lm_graph) graph = lm_load_graph(arguments.at[0], &settings, &status);
    if (!graph) return status;
    const char *place = lm_store_place(store_place);
    LM_OWN(lm_store) store = NULL;
    if (!open_store(place, &store, &status)) return status;
    lm_error err = {0};
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned n_workers = workers ? (unsigned)workers : cores > 0 ? (unsigned)cores : 1;
    LM_OWN(lm_why) reasons = why ? lm_why_new(graph, record) : NULL;
    if (why && !reasons) LM_NOMEM(&err);
    lm_run_options plan = {.mode = LM_RUN_PLAN,
                           .store = store,
                           .workers = why ? 1 : n_workers, /* told of one step at a time */
                           .until = until,
                           .limit = (uint64_t)limit,
                           .progress = LM_PROGRESS_NONE,
                           .planned_fn = reasons ? lm_why_step : NULL,
                           .planned_arg = reasons};
    lm_run_report report = {0};
    lm_status failed = err.status ? err.status : lm_run_graph(graph, &plan, &report, &err);
    if (!failed && reasons) failed = lm_why_explain(reasons, store, &report, &err);
    if (failed) {
        lm_print_error("lensmill plan", &err);
        status = failed == LM_EUSAGE ? LM_EXIT_USAGE : LM_EXIT_FAILED;
    } else {
        total t = sum_up(&report, n_workers);
        if (as_json) {
            print_json(graph, &report, &t, n_workers, store ? place : NULL, reasons);
        } else if (record) {
            lm_why_print(reasons);
        } else {
            if (reasons) lm_why_print(reasons);
            else print_table(&report);
            print_total(&t, n_workers);
        }
    }
    lm_run_report_done(&report);
    return status;
}
