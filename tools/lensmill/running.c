#include "tools/lensmill/running.h"
#include "runtime/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *lm_store_place(const char *given)
{
    return given ? given : ".lensmill";
}

lm_graph *lm_load_graph(const char *file, const lm_settings *settings, int *ret_status)
{
    lm_graph *graph = NULL;
    LM_OWN(lm_chars) errors = NULL;
    lm_status status = lm_graph_load(file, settings->at, settings->n, &graph, &errors);
    if (status) {
        fputs(errors ? errors : "out of memory\n", stderr);
        *ret_status = status == LM_EMEMORY ? LM_EXIT_FAILED : LM_EXIT_USAGE;
        return NULL;
    }
    for (size_t i = 0; i < graph->warnings.n; i++) fprintf(stderr, "%s\n", graph->warnings.at[i]);
    return graph;
}

void lm_print_summary(FILE *to, const lm_run_report *report)
{
    int width = 4;
    bool blocked = false;
    for (size_t i = 0; i < report->n_nodes; i++) {
        const lm_node_report *r = &report->nodes[i];
        if (!r->node) continue;
        if ((int)strlen(r->node->name) > width) width = (int)strlen(r->node->name);
        blocked |= r->blocked > 0;
    }
    fprintf(to, "%-*s  %9s %9s %9s %9s %6s%s %9s\n", width, "node", "in", "out", "empty", "cached", "dead",
            blocked ? "  blocked" : "", "time");
    for (size_t i = 0; i < report->n_nodes; i++) {
        const lm_node_report *r = &report->nodes[i];
        if (!r->node) continue;
        char time[32];
        fprintf(to, "%-*s  %9llu %9llu %9llu %9llu %6llu", width, r->node->name, (unsigned long long)r->in,
                (unsigned long long)(r->node->op->shape == LM_GENERATOR ? r->records : r->out),
                (unsigned long long)r->empty, (unsigned long long)r->cached, (unsigned long long)r->dead);
        if (blocked) fprintf(to, "%9llu", (unsigned long long)r->blocked);
        fprintf(to, " %9s", lm_text_duration(time, r->seconds));
        if (r->unmatched) fprintf(to, "  %llu unmatched", (unsigned long long)r->unmatched);
        if (r->skipped) fprintf(to, "  %llu skipped", (unsigned long long)r->skipped);
        if (r->retried) fprintf(to, "  %llu retried", (unsigned long long)r->retried);
        fputc('\n', to);
    }
}

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

void lm_print_report_json(FILE *to, const lm_graph *graph, const lm_run_report *report)
{
    json_t *nodes = json_array(), *outputs = json_array();
    for (size_t i = 0; i < report->n_nodes; i++) {
        const lm_node_report *r = &report->nodes[i];
        if (!r->node) continue;
        json_t *node = json_object();
        json_object_set_new(node, "name", json_string(r->node->name));
        json_object_set_new(node, "op", json_string(r->node->op->name));
        const struct {
            const char *name;
            uint64_t value;
        } counts[] = {{"in", r->in},
                      {"out", r->out},
                      {"empty", r->empty},
                      {"dead", r->dead},
                      {"blocked", r->blocked},
                      {"cached", r->cached},
                      {"records", r->records},
                      {"unmatched", r->unmatched},
                      {"skipped", r->skipped},
                      {"retried", r->retried},
                      {"files", r->files},
                      {"unknown", r->unknown},
                      {"would_run", r->would_run},
                      {"ran", r->ran}};
        for (size_t k = 0; k < sizeof counts / sizeof *counts; k++)
            json_object_set_new(node, counts[k].name, number(counts[k].value));
        json_object_set_new(node, "seconds", json_real(r->seconds));
        if (isfinite(r->expected_s)) json_object_set_new(node, "expected_seconds", json_real(r->expected_s));
        json_array_append_new(nodes, node);
    }
    for (size_t i = 0; i < report->n_outputs; i++)
        if (report->outputs[i]) json_array_append_new(outputs, json_string(report->outputs[i]));
    json_t *all = json_pack("{s:s, s:i, s:I, s:I, s:f, s:I, s:I, s:o, s:o}", "graph", graph->name, "status",
                            report->status, "run", (json_int_t)report->run, "dead", (json_int_t)report->dead, "seconds",
                            report->wall_s, "files", (json_int_t)report->total_outputs, "peak_queue_bytes",
                            (json_int_t)report->peak_queue_bytes, "nodes", nodes, "outputs", outputs);
    char *text = all ? json_dumps(all, JSON_COMPACT) : NULL;
    if (text) fprintf(to, "%s\n", text);
    free(text);
    json_decref(all);
}
