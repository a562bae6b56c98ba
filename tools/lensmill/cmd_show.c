/* lensmill show: draws a graph. */
#include "runtime/graph_show.h"
#include "tools/lensmill/options.h"

#include <stdio.h>

enum { AS_TEXT, AS_DOT, AS_SVG };
static const char *const formats[] = {"text", "dot", "svg", NULL};
static lm_settings settings;
static int format = AS_TEXT;

static const lm_option options[] = {
    {"format", LM_OPTION_CHOICE, &format, .choices = formats,
     .doc = "text (default), dot (for graphviz), or svg (a drawing for a page or a talk)"},
    {"set", LM_OPTION_SETTINGS, &settings, .value = "NAME=VALUE", .doc = "a param of the graph; may be repeated"},
    {0}};

static const lm_command command = {
    .name = "show",
    .usage = "GRAPH [options]",
    .summary = "Draw a graph",
    .doc = "lensmill show graph.yaml --format svg > graph.svg",
    .options = options,
    .least = 1,
    .most = 1,
};

int lm_cmd_show(int argc, char **argv)
{
    lm_arguments graphs;
    int exit_status = 0;
    if (!lm_options_parse(&command, argc, argv, &graphs, &exit_status)) return exit_status;
    LM_OWN(lm_graph) graph = NULL;
    LM_OWN(lm_chars) errors = NULL;
    lm_status status = lm_graph_look(graphs.at[0], settings.at, settings.n, &graph, &errors, NULL);
    if (status && errors) {
        fputs(errors, stderr);
        return LM_EXIT_USAGE;
    }
    lm_text text;
    lm_text_init(&text);
    if (!status && format == AS_TEXT) lm_graph_show_text(graph, &text);
    if (!status && format == AS_DOT) lm_graph_show_dot(graph, &text);
    if (!status && format == AS_SVG) status = lm_graph_show_svg(graph, &text);
    if (!status && !text.failed) fputs(lm_text_peek(&text), stdout);
    else fputs("lensmill show: out of memory\n", stderr);
    exit_status = status || text.failed ? LM_EXIT_FAILED : LM_EXIT_OK;
    lm_text_done(&text);
    return exit_status;
}
