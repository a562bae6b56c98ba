/* lensmill tap: print the records that pass an edge. */
#include "tools/lensmill/running.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static lm_settings settings;
static const char *store_place;
static int64_t limit;

static const lm_option options[] = {
    {"set", LM_OPTION_SETTINGS, &settings, .value = "NAME=VALUE", .doc = "a param of the graph; may be repeated"},
    {"store", LM_OPTION_TEXT, &store_place, .value = "DIR", .doc = "where results are kept; default .lensmill"},
    {"limit", LM_OPTION_INT, &limit, .value = "N", .least = 1, .most = INT64_MAX,
     .doc = "the first N items of each source"},
    {0}};

static const lm_command command = {
    .name = "tap",
    .usage = "GRAPH NODE[.PORT] [options]",
    .summary = "Print the records that pass an edge",
    .doc = "Runs the node and what feeds it, and prints each record that leaves the port as a line of JSON: its order, "
           "id, "
           "attributes, and the type and shape of its tensors.",
    .options = options,
    .least = 2,
    .most = 2,
};

static json_t *value_json(lm_value value)
{
    switch (value.kind) {
    case LM_KIND_BOOL: return json_boolean(value.boolean);
    case LM_KIND_INT: return json_integer(value.integer);
    case LM_KIND_REAL: return isfinite(value.real) ? json_real(value.real) : json_null();
    case LM_KIND_TEXT: return json_string(value.text) ? json_string(value.text) : json_null();
    case LM_KIND_NULL: break;
    }
    return json_null();
}

static void print_record(void *arg, const lm_record *record, const char *order)
{
    (void)arg;
    json_t *attrs = json_object(), *tensors = json_object();
    for (size_t i = 0; i < lm_record_attr_count(record); i++)
        json_object_set_new(attrs, lm_record_attr_at(record, i)->name, value_json(lm_record_attr_at(record, i)->value));
    for (size_t i = 0; i < lm_record_tensor_count(record); i++) {
        const lm_named *named = lm_record_tensor_at(record, i);
        json_t *shape = json_array();
        for (unsigned k = 0; k < named->tensor->ndim; k++)
            json_array_append_new(shape, json_integer((json_int_t)named->tensor->shape[k]));
        json_t *about = json_pack("{s:s, s:o}", "dtype", lm_dtype_name(named->tensor->dtype), "shape", shape);
        if (named->tensor->unit) json_object_set_new(about, "unit", json_string(named->tensor->unit));
        json_object_set_new(tensors, named->name, about);
    }
    json_t *line = json_pack("{s:s, s:s, s:o, s:o}", "order", order, "id", lm_record_id(record), "attrs", attrs,
                             "tensors", tensors);
    char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
    if (text) puts(text);
    free(text);
    json_decref(line);
}

int lm_cmd_tap(int argc, char **argv)
{
    lm_arguments arguments;
    int status = 0;
    if (!lm_options_parse(&command, argc, argv, &arguments, &status)) return status;
    LM_OWN(lm_graph) graph = lm_load_graph(arguments.at[0], &settings, &status);
    if (!graph) return status;
    LM_OWN(lm_store) store = NULL;
    lm_error err = {0};
    if (lm_store_open(lm_store_place(store_place), LM_STORE_WRITE, "tap", &store, &err)) {
        lm_print_error("lensmill tap", &err);
        return LM_EXIT_FAILED;
    }
    char node[256];
    snprintf(node, sizeof node, "%s", arguments.at[1]);
    if (!lm_graph_node(graph, node) && strrchr(node, '.')) *strrchr(node, '.') = 0;
    lm_run_options run = {.store = store,
                          .until = node,
                          .limit = (uint64_t)limit,
                          .signals = true,
                          .tap = arguments.at[1],
                          .tap_fn = print_record};
    lm_run_report report;
    lm_status failed = lm_run_graph(graph, &run, &report, &err);
    if (failed) lm_print_error("lensmill tap", &err);
    status = failed == LM_EUSAGE ? LM_EXIT_USAGE : report.status;
    lm_run_report_done(&report);
    return status;
}
