/* lensmill check: is a graph right? Touches the graph's own files and nothing else, but for --probe. */
#include "tools/lensmill/options.h"

#include <stdio.h>

static lm_settings settings;
static bool as_json, probe;

static const lm_option options[] = {
    {"set", LM_OPTION_SETTINGS, &settings, .value = "NAME=VALUE", .doc = "a param of the graph; may be repeated"},
    {"json", LM_OPTION_FLAG, &as_json, .doc = "print what was found as JSON, one object a graph"},
    {"probe", LM_OPTION_FLAG, &probe, .doc = "also let every operator open what it reads: files, models, programs"},
    {0}};

static const lm_command command = {
    .name = "check",
    .usage = "GRAPH... [options]",
    .summary = "Say what is wrong with a graph, or that it is right",
    .doc = "Every mistake of a file is reported at once, with its line and the nearest name. Neither data nor the "
           "store are "
           "touched, unless you ask to probe. The exit status is 2 if a graph is wrong.",
    .options = options,
    .least = 1,
    .most = LM_MOST_ARGUMENTS,
};

static json_t *warnings_of(const lm_graph *graph)
{
    json_t *list = json_array();
    for (size_t i = 0; graph && i < graph->warnings.n; i++)
        json_array_append_new(list, json_string(graph->warnings.at[i]));
    return list;
}

static void print_json(const char *file, const lm_graph *graph, bool ok, json_t *faults)
{
    json_t *report = json_pack("{s:s, s:b, s:I, s:o, s:o}", "file", file, "ok", ok, "nodes",
                               (json_int_t)(graph ? graph->n_nodes : 0), "errors", faults ? faults : json_array(),
                               "warnings", warnings_of(graph));
    char *text = report ? json_dumps(report, JSON_COMPACT) : NULL;
    if (text) puts(text);
    free(text);
    json_decref(report);
}

/* Opens and closes each node's operator, as a run would. Returns how many could not be opened. */
static size_t probe_nodes(const lm_graph *graph, json_t *faults)
{
    size_t failed = 0;
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const lm_node *node = graph->nodes[i];
        lm_error err;
        lm_error_clear(&err);
        lm_status status = node->op->open ? node->op->open(node->self, &err) : LM_OK;
        if (node->op->open && node->op->close) node->op->close(node->self);
        if (!status) continue;
        failed++;
        lm_error_in(&err, "node \"%s\" (%s)", node->name, node->op->name);
        if (faults)
            json_array_append_new(faults, json_pack("{s:s, s:i, s:i, s:s, s:s}", "file", node->place.file, "line",
                                                    (int)node->place.line, "column", (int)node->place.column, "text",
                                                    err.text, "hint", err.hint));
        else {
            fprintf(stderr, "%s:%u:%u: ", node->place.file, node->place.line, node->place.column);
            lm_print_error("", &err);
        }
    }
    return failed;
}

static int check(const char *file)
{
    LM_OWN(lm_graph) graph = NULL;
    LM_OWN(lm_chars) errors = NULL;
    json_t *faults = NULL;
    lm_status status = lm_graph_look(file, settings.at, settings.n, &graph, &errors, as_json ? &faults : NULL);
    if (status == LM_EMEMORY) {
        fprintf(stderr, "%s: out of memory\n", file);
        return LM_EXIT_FAILED;
    }
    if (!status && probe) {
        if (as_json) faults = json_array();
        if (probe_nodes(graph, faults)) status = LM_EGRAPH;
    }
    if (as_json) {
        print_json(file, graph, status == LM_OK, faults);
    } else if (status && !errors) {
        return LM_EXIT_USAGE; /* the probe has said it */
    } else if (status) {
        fputs(errors, stderr);
    } else {
        for (size_t i = 0; i < graph->warnings.n; i++) fprintf(stderr, "%s\n", graph->warnings.at[i]);
        printf("%s: ok (%zu node%s)\n", file, graph->n_nodes, graph->n_nodes == 1 ? "" : "s");
    }
    return status ? LM_EXIT_USAGE : LM_EXIT_OK;
}

int lm_cmd_check(int argc, char **argv)
{
    lm_arguments graphs;
    int status = 0;
    if (!lm_options_parse(&command, argc, argv, &graphs, &status)) return status;
    for (size_t i = 0; i < graphs.n; i++) {
        int one = check(graphs.at[i]);
        if (one && status != LM_EXIT_FAILED) status = one;
    }
    return status;
}
