/* What a run says while it goes on: a line that is written over on a terminal, plain lines now and then, or JSON. */
#include "runtime/engine.h"
#include "runtime/text.h"

#include <string.h>

static uint64_t expected_items(const engine *e, bool *ret_known)
{
    uint64_t items = 0;
    *ret_known = true;
    for (size_t i = 0; i < e->n_nodes; i++) {
        const rt_node *node = &e->nodes[i];
        if (!node->def || !node->is_source) continue;
        if (!node->listed || node->def->endless || node->busy_listing) *ret_known = false;
        else items += e->options.limit && e->options.limit < node->n_items ? e->options.limit : node->n_items;
    }
    return items;
}

static void json_line(const engine *e, FILE *to, double elapsed)
{
    fprintf(to, "{\"elapsed_s\":%.3f,\"nodes\":{", elapsed);
    bool first = true;
    for (size_t i = 0; i < e->n_nodes; i++) {
        const rt_node *node = &e->nodes[i];
        if (!node->def) continue;
        const lm_node_report *r = node->report;
        lm_text name;
        lm_text_init(&name);
        lm_text_json(&name, node->def->name);
        fprintf(to, "%s%s:{\"in\":%llu,\"out\":%llu,\"empty\":%llu,\"cached\":%llu,\"dead\":%llu,\"blocked\":%llu}",
                first ? "" : ",", lm_text_peek(&name), (unsigned long long)r->in, (unsigned long long)r->out,
                (unsigned long long)r->empty, (unsigned long long)r->cached, (unsigned long long)r->dead,
                (unsigned long long)r->blocked);
        lm_text_done(&name);
        first = false;
    }
    fputs("}}\n", to);
    fflush(to);
}

void progress_show(engine *e, bool last)
{
    lm_progress how = e->options.progress;
    FILE *to = e->options.progress_to;
    if (how == LM_PROGRESS_NONE || !to) return;
    double now = lm_now_s(), elapsed = now - e->started_s;
    double every = how == LM_PROGRESS_TERMINAL ? 0.2 : how == LM_PROGRESS_JSON ? 1 : 10;
    if (!last && now - e->last_progress_s < every) return;
    if (how == LM_PROGRESS_PLAIN && (last || elapsed < every)) return;
    e->last_progress_s = now;
    if (how == LM_PROGRESS_JSON) {
        json_line(e, to, elapsed);
        return;
    }
    if (last) {
        fputs("\r\033[K", to);
        fflush(to);
        return;
    }
    bool known;
    uint64_t items = expected_items(e, &known), taken = 0;
    const rt_node *busiest = NULL;
    for (size_t i = 0; i < e->n_nodes; i++) {
        const rt_node *node = &e->nodes[i];
        if (!node->def) continue;
        if (node->is_source) taken += node->report->in;
        if (node->running && (!busiest || node->report->seconds > busiest->report->seconds)) busiest = node;
    }
    char time[32];
    fprintf(to, "%s%s  read %llu", how == LM_PROGRESS_TERMINAL ? "\r\033[K" : "", lm_text_duration(time, elapsed),
            (unsigned long long)taken);
    if (known && items) fprintf(to, " of %llu", (unsigned long long)items);
    for (size_t i = 0, shown = 0; i < e->n_nodes && shown < 4; i++) {
        const rt_node *node = &e->nodes[i];
        if (!node->def || node->is_source || !node->report->in) continue;
        fprintf(to, "  %s %llu", node->def->name, (unsigned long long)node->report->in);
        shown++;
    }
    if (e->dead) fprintf(to, "  dead %llu", (unsigned long long)e->dead);
    if (busiest) fprintf(to, "  [%s]", busiest->def->name);
    if (how == LM_PROGRESS_PLAIN) fputc('\n', to);
    fflush(to);
}
