/* lensmill run: execute a graph. */
#include "runtime/text.h"
#include "tools/lensmill/running.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static lm_settings settings;
static const char *store_place, *until;
static int64_t workers, limit, edge;
static bool fresh, no_store, as_json;
static int progress;

static const char *const progress_words[] = {"auto", "plain", "json", "none", NULL};

static const lm_option options[] = {
    {"set", LM_OPTION_SETTINGS, &settings, .value = "NAME=VALUE", .doc = "a param of the graph; may be repeated"},
    {"store", LM_OPTION_TEXT, &store_place, .value = "DIR", .doc = "where results are kept; default .lensmill"},
    {"no-store", LM_OPTION_FLAG, &no_store, .doc = "keep nothing: every step runs"},
    {"fresh", LM_OPTION_FLAG, &fresh, .doc = "run every step again; its result takes the place of the stored one"},
    {"workers", LM_OPTION_INT, &workers, .value = "N", .least = 1, .most = 256,
     .doc = "steps at once; default: one a core"},
    {"until", LM_OPTION_TEXT, &until, .value = "NODE", .doc = "run this node and what feeds it"},
    {"limit", LM_OPTION_INT, &limit, .value = "N", .least = 1, .most = INT64_MAX,
     .doc = "the first N items of each source"},
    {"edge", LM_OPTION_INT, &edge, .value = "N", .least = 1, .most = 1 << 20,
     .doc = "records that an edge holds; default 4096"},
    {"progress", LM_OPTION_CHOICE, &progress, .value = "HOW", .choices = progress_words,
     .doc = "auto, plain, json or none"},
    {"json", LM_OPTION_FLAG, &as_json, .doc = "print the summary as JSON on standard output"},
    {0}};

static const lm_command command = {
    .name = "run",
    .usage = "GRAPH [options]",
    .summary = "Run a graph",
    .doc = "What was computed before is taken from the store, so a run that was stopped or killed goes on where it "
           "was, and a "
           "changed parameter runs again only what depends on it.\n\nThe exit status is 0 when all is done, 1 when the "
           "run failed, "
           "2 when the graph is wrong, 3 when all is done but for dead letters, 130 or 143 when it was stopped by a "
           "signal.",
    .options = options,
    .least = 1,
    .most = 1,
};

static lm_progress choose_progress(void)
{
    if (progress == 1) return LM_PROGRESS_PLAIN;
    if (progress == 2) return LM_PROGRESS_JSON;
    if (progress == 3) return LM_PROGRESS_NONE;
    return isatty(STDERR_FILENO) ? LM_PROGRESS_TERMINAL : LM_PROGRESS_PLAIN;
}

static void print_end(const lm_graph *graph, const lm_run_report *report, const char *store)
{
    char time[32];
    lm_print_summary(stdout, report);
    printf("\n%s: %s in %s", graph->name,
           report->status == 0   ? "done"
           : report->status == 3 ? "done, with dead letters,"
           : report->status == 1 ? "failed"
                                 : "stopped",
           lm_text_duration(time, report->wall_s));
    if (report->dead) {
        printf("; %llu dead letter%s (lensmill dead list%s%s)", (unsigned long long)report->dead,
               report->dead == 1 ? "" : "s", store_place ? " --store " : "", store_place ? store : "");
    }
    if (report->status >= 128) fputs("; the same command goes on where it was", stdout);
    putchar('\n');
    for (size_t i = 0, shown = 0; i < report->n_outputs && shown < 8; i++)
        if (report->outputs[i]) printf("%s%s\n", shown++ ? "  " : "results in\n  ", report->outputs[i]);
    if (report->total_outputs > 8) printf("  and %zu more files\n", report->total_outputs - 8);
}

int lm_cmd_run(int argc, char **argv)
{
    lm_arguments arguments;
    int status = 0;
    if (!lm_options_parse(&command, argc, argv, &arguments, &status)) return status;
    LM_OWN(lm_graph) graph = lm_load_graph(arguments.at[0], &settings, &status);
    if (!graph) return status;
    LM_OWN(lm_store) store = NULL;
    lm_error err = {0};
    const char *place = lm_store_place(store_place);
    if (!no_store) {
        char holder[256];
        snprintf(holder, sizeof holder, "run of %s", graph->name);
        if (lm_store_open(place, LM_STORE_WRITE, holder, &store, &err)) {
            lm_print_error("lensmill run", &err);
            return LM_EXIT_FAILED;
        }
    }
    lm_run_options run = {.store = store,
                          .workers = (unsigned)workers,
                          .until = until,
                          .limit = (uint64_t)limit,
                          .edge_records = (size_t)edge,
                          .fresh = fresh,
                          .signals = true,
                          .progress = choose_progress(),
                          .progress_to = stderr};
    lm_run_report report;
    lm_status failed = lm_run_graph(graph, &run, &report, &err);
    if (failed) lm_print_error("lensmill run", &err);
    if (failed == LM_EUSAGE) report.status = LM_EXIT_USAGE;
    else if (as_json) lm_print_report_json(stdout, graph, &report);
    else print_end(graph, &report, place);
    status = report.status;
    lm_run_report_done(&report);
    return status;
}
