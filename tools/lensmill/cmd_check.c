/* lensmill check: is a graph right? Touches the graph's own files and nothing else. */
#include "tools/lensmill/options.h"

#include <stdio.h>

static lm_settings settings;
static bool as_json;

static const lm_option options[] = {
    {"set", LM_OPTION_SETTINGS, &settings, .value = "NAME=VALUE", .doc = "a param of the graph; may be repeated"},
    {"json", LM_OPTION_FLAG, &as_json, .doc = "print what was found as JSON, one object a graph"},
    {0}};

static const lm_command command = {
    .name = "check",
    .usage = "GRAPH... [options]",
    .summary = "Say what is wrong with a graph, or that it is right",
    .doc = "Every mistake of a file is reported at once, with its line and the nearest name. Neither data nor the "
           "store are "
           "touched. The exit status is 2 if a graph is wrong.",
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

static void print_json(const char *file, const lm_graph *graph, json_t *faults)
{
    json_t *report = json_pack("{s:s, s:b, s:I, s:o, s:o}", "file", file, "ok", graph != NULL, "nodes",
                               (json_int_t)(graph ? graph->n_nodes : 0), "errors", faults ? faults : json_array(),
                               "warnings", warnings_of(graph));
    char *text = report ? json_dumps(report, JSON_COMPACT) : NULL;
    if (text) puts(text);
    free(text);
    json_decref(report);
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
    if (as_json) {
        print_json(file, graph, faults);
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
