/* What only a plan does: steps that are not known yet, what must be computed again, and telling who asks for each step. */
#include "runtime/engine.h"

bool plan_any_unknown(const call *c, unsigned n_inputs)
{
    for (unsigned i = 0; i < n_inputs; i++)
        for (size_t j = 0; j < c->in[i].n; j++)
            if (c->in[i].items[j]->kind == ITEM_UNKNOWN) return true;
    return false;
}

static bool emit(work *k, call *c, unsigned port, const order *at)
{
    item *it = item_new(ITEM_UNKNOWN, at);
    if (it && !(it->id = lm_strdup(c->id))) it = item_unref(it);
    if (it) it->port = (uint8_t)port;
    if (batch_emit(k->b, port, it)) return c->n_out++, true;
    LM_NOMEM(&k->b->failure);
    return false;
}

void plan_emit_index(work *k, call *c, uint64_t index)
{
    order at = order_child(&c->order, index);
    for (unsigned port = 0; port < k->b->node->n_outputs; port++)
        if (!emit(k, c, port, &at)) return;
}

void plan_emit(work *k, call *c)
{
    rt_node *node = k->b->node;
    if (node->is_generator && node->def->extent >= 0) {
        for (uint64_t i = c->index; i < c->index_end && !k->b->failure.status; i++) plan_emit_index(k, c, i);
    } else {
        for (unsigned port = 0; port < node->n_outputs; port++)
            if (!emit(k, c, port, &c->order)) return;
    }
    if (wants_errors(node)) emit(k, c, LM_ERRORS_PORT, &c->order); /* it may fail */
}

/* The steps that would have to be run again to have this item's record. */
static void count_again(const item *it, unsigned depth)
{
    const origin *o = it->origin;
    if (it->record || !o || depth > 32) return;
    if (!o->is_error) {
        if (o->node->writes_artifacts) return;
        __atomic_fetch_add(&o->node->report->again, 1, __ATOMIC_RELAXED);
    }
    for (unsigned i = 0; i < o->n_in; i++)
        for (size_t j = 0; j < o->in[i].n; j++) count_again(o->in[i].items[j], depth + 1);
}

void plan_count_again(const call *c, unsigned n_inputs)
{
    for (unsigned i = 0; i < n_inputs; i++)
        for (size_t j = 0; j < c->in[i].n; j++) count_again(c->in[i].items[j], 0);
}

void plan_tell(work *k, const call *c)
{
    const rt_node *node = k->b->node;
    const lm_run_options *options = &k->w->engine->options;
    if (!options->planned_fn) return;
    size_t n = 0;
    for (unsigned i = 0; i < node->n_inputs; i++) n += c->in[i].n;
    lm_planned_input *inputs = lm_arena_alloc(&k->w->arena, n, sizeof *inputs);
    if (!inputs) {
        LM_NOMEM(&k->b->failure);
        return;
    }
    lm_planned step = {.node = node->def,
                       .how = c->would_run            ? LM_PLANNED_RUNS
                              : c->outcome == UNKNOWN ? LM_PLANNED_UNKNOWN
                              : c->error              ? LM_PLANNED_DEAD
                                                      : LM_PLANNED_STORED,
                       .id = c->id,
                       .key = c->has_key ? &c->key : NULL,
                       .error = c->error ? c->error->text : NULL,
                       .kept = node->writes_rows || node->is_sink,
                       .runs = c->would_run,
                       .spec = c->source ? c->source->spec : NULL,
                       .files = c->source ? (const char *const *)c->source->files : NULL,
                       .n_files = c->source ? c->source->n_files : 0,
                       .inputs = inputs};
    for (unsigned i = 0; i < node->n_inputs; i++) {
        step.missing += c->in[i].missing;
        for (size_t j = 0; j < c->in[i].n; j++) {
            const item *it = c->in[i].items[j];
            inputs[step.n_inputs++] = (lm_planned_input){i, item_id(it), it->known ? &it->ident : NULL};
        }
    }
    options->planned_fn(options->planned_arg, &step);
}
