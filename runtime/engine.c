/* A run from its beginning to its end: nodes and edges made from a graph, workers started, the books checked. */
#include "runtime/engine.h"
#include "runtime/log.h"
#include "runtime/text.h"

#include "schemas/lensmill.pb-c.h"

#include <cblas.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#if defined __SSE2__
#    include <pmmintrin.h>
#    include <xmmintrin.h>
#endif

lm_status node_open_now(rt_node *node, lm_error *err)
{
    pthread_mutex_lock(&node->lock);
    lm_status status = LM_OK;
    if (!node->opened) {
        lm_error why = {0};
        status = node->op->open ? node->op->open(node->self, &why) : LM_OK;
        node->open_error = why;
        node->open_error.status = status;
        __atomic_store_n(&node->opened, status ? -1 : 1, __ATOMIC_RELEASE);
    }
    if (node->opened < 0) {
        *err = node->open_error;
        status = err->status;
    }
    pthread_mutex_unlock(&node->lock);
    return status;
}

/* ---- the pool ------------------------------------------------------------------------------------------------------ */

static void *work_on(void *arg)
{
    worker *w = arg;
    engine *e = w->engine;
#if defined __SSE2__
    _mm_setcsr(_mm_getcsr() | _MM_FLUSH_ZERO_ON | _MM_DENORMALS_ZERO_ON); /* a denormal slows a kernel tenfold */
#endif
    pthread_mutex_lock(&e->lock);
    for (;;) {
        while (!e->quit && !e->tasks) pthread_cond_wait(&e->work, &e->lock);
        if (!e->tasks) break;
        batch *b = e->tasks;
        e->tasks = b->next_task;
        if (!e->tasks) e->last_task = NULL;
        pthread_mutex_unlock(&e->lock);
        worker_run(w, b);
        pthread_mutex_lock(&e->lock);
        b->next_task = e->finished;
        e->finished = b;
        uv_async_send(&e->wake);
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

static lm_status start_workers(engine *e, lm_error *err)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned wanted = e->options.workers ? e->options.workers : cores > 0 ? (unsigned)cores : 1;
    if (wanted > GUARD_SLOTS) wanted = GUARD_SLOTS;
    e->workers = lm_alloc(wanted, sizeof *e->workers);
    if (!e->workers) return LM_NOMEM(err);
    for (unsigned i = 0; i < wanted; i++) {
        worker_init(&e->workers[i], e, i);
        if (pthread_create(&e->workers[i].thread, NULL, work_on, &e->workers[i])) {
            if (!i) return LM_FAIL(err, LM_EMEMORY, "cannot start a worker thread");
            break;
        }
        e->n_workers++;
    }
    return LM_OK;
}

static void stop_workers(engine *e)
{
    pthread_mutex_lock(&e->lock);
    e->quit = true;
    pthread_cond_broadcast(&e->work);
    pthread_mutex_unlock(&e->lock);
    for (unsigned i = 0; i < e->n_workers; i++) {
        pthread_join(e->workers[i].thread, NULL);
        worker_done(&e->workers[i]);
    }
    lm_free(e->workers);
}

/* ---- from graph to nodes and edges ---------------------------------------------------------------------------------- */

static void mark_needed(const lm_node *node, bool *needed)
{
    if (needed[node->index]) return;
    needed[node->index] = true;
    for (size_t i = 0; i < node->n_inputs; i++)
        for (size_t w = 0; w < node->inputs[i].n_wires; w++) mark_needed(node->inputs[i].wires[w].from, needed);
}

static lm_status choose_nodes(engine *e, bool *needed, lm_error *err)
{
    if (!e->options.until) {
        memset(needed, 1, e->n_nodes * sizeof *needed);
        return LM_OK;
    }
    const lm_node *until = lm_graph_node(e->graph, e->options.until);
    if (!until) {
        lm_nearest nearest;
        lm_nearest_init(&nearest, e->options.until);
        for (size_t i = 0; i < e->n_nodes; i++) lm_nearest_offer(&nearest, e->graph->nodes[i]->name);
        char hint[128] = "";
        if (nearest.best) snprintf(hint, sizeof hint, "Did you mean \"%s\"?", nearest.best);
        return lm_fail(err, LM_EUSAGE, hint, "the graph has no node \"%s\"", e->options.until);
    }
    mark_needed(until, needed);
    return LM_OK;
}

static lm_status make_node(engine *e, const lm_node *def, rt_node *node, lm_error *err)
{
    const lm_operator *op = def->op;
    node->engine = e;
    node->def = def;
    node->op = op;
    node->self = def->self;
    node->report = &e->report->nodes[def->index];
    node->report->node = def;
    node->n_inputs = (unsigned)def->n_inputs;
    node->n_outputs = (unsigned)def->n_outputs;
    node->is_source = op->shape == LM_SOURCE;
    node->is_generator = op->shape == LM_GENERATOR;
    node->is_sink = op->shape == LM_SINK;
    pthread_mutex_init(&node->lock, NULL);
    if (!(node->inputs = lm_alloc(node->n_inputs, sizeof *node->inputs))) return LM_NOMEM(err);
    node->primary = node->n_inputs;
    for (unsigned i = node->n_inputs; i-- > 0;) {
        node->inputs[i].port = def->inputs[i].port;
        lm_port_kind kind = def->inputs[i].port->kind;
        if (kind == LM_PORT_STREAM || kind == LM_PORT_MERGE) node->primary = i;
        node->is_gather |= kind == LM_PORT_GATHER;
    }
    if (!node->is_source && !node->is_gather && node->primary == node->n_inputs)
        return LM_FAIL(err, LM_EBUG, "operator \"%s\" has no stream port", op->name);
    if (node->is_gather) node->primary = 0;
    return LM_OK;
}

static lm_status make_edges(engine *e, const bool *needed, lm_error *err)
{
    size_t n = 0;
    for (size_t i = 0; i < e->n_nodes; i++)
        for (size_t k = 0; needed[i] && k < e->graph->nodes[i]->n_inputs; k++)
            n += e->graph->nodes[i]->inputs[k].n_wires;
    if (!(e->edges = lm_alloc(n, sizeof *e->edges))) return LM_NOMEM(err);
    for (size_t i = 0; i < e->n_nodes; i++) {
        if (!needed[i]) continue;
        rt_node *to = &e->nodes[i];
        unsigned wired = 0;
        for (unsigned k = 0; k < to->n_inputs; k++) wired += to->def->inputs[k].n_wires > 0;
        for (unsigned k = 0; k < to->n_inputs; k++) {
            const lm_input *from = &to->def->inputs[k];
            inlet *in = &to->inputs[k];
            if (!(in->edges = lm_alloc(from->n_wires, sizeof(edge *)))) return LM_NOMEM(err);
            in->ordered_merge = from->n_wires > 1;
            for (size_t w = 0; w < from->n_wires; w++) {
                edge *made = &e->edges[e->n_edges++];
                rt_node *source = &e->nodes[from->wires[w].from->index];
                *made = (edge){.from = source, .to = to, .from_port = from->wires[w].port, .to_port = k};
                /* Who waits for more than this one edge must never hold its producer up: that could be a circle. */
                made->spill = wired > 1 || from->n_wires > 1 || made->from_port == LM_ERRORS_PORT || to->is_gather ||
                              in->port->kind != LM_PORT_STREAM;
                if (from->n_wires == 1 && wired == 1 && in->port->kind == LM_PORT_MERGE) made->spill = false;
                in->edges[in->n_edges++] = made;
                source->spills |= made->spill && made->from_port != LM_ERRORS_PORT;
                edge **outs = lm_realloc(source->outs, source->n_outs + 1, sizeof *outs);
                if (!outs) return LM_NOMEM(err);
                source->outs = outs;
                source->outs[source->n_outs++] = made;
                in->ordered_merge &= strcmp(from->wires[w].from->sources, from->wires[0].from->sources) == 0;
            }
        }
    }
    return LM_OK;
}

/* Which nodes have keys, write rows, keep artifacts: decided from the last node to the first. */
static void decide_storage(engine *e, const bool *needed)
{
    bool store = e->options.store != NULL || e->plan;
    for (size_t i = e->n_nodes; i-- > 0;) {
        if (!needed[i]) continue;
        rt_node *node = &e->nodes[i];
        if (!e->options.store) node->spills = false; /* there is nowhere to spill to */
        bool keep = store && !node->is_sink && (node->def->cache || node->spills);
        bool below_key = false, below_stored = false;
        for (size_t k = 0; k < node->n_outs; k++) {
            const rt_node *to = node->outs[k]->to;
            below_key |= to->needs_key;
            below_stored |= to->writes_rows || (to->is_sink && store);
        }
        node->writes_artifacts = keep;
        node->writes_rows = !node->is_sink && store && (keep || below_stored);
        node->needs_key = keep || below_key || node->op->flags & LM_RANDOM || (node->is_sink && store);
        node->keeps_origin = node->writes_rows && !keep;
    }
}

/* Chains: where all that a node makes goes to one node, which keeps nothing either, that one goes on with each batch where it
 * is. Not where the number of workers is limited: what left a chain early may run beside what is still in it. */
static void make_chains(engine *e, const bool *needed)
{
    for (size_t i = 0; i < e->n_nodes; i++) {
        rt_node *node = &e->nodes[i];
        if (!needed[i] || e->plan || node->needs_key || node->n_outputs != 1 || node->n_outs != 1 ||
            node == e->tap_node)
            continue;
        const edge *out = node->outs[0];
        rt_node *to = out->to;
        bool limited = node->def->workers || to->def->workers || (node->op->flags | to->op->flags) & LM_SPANS;
        if (limited || out->spill || out->from_port == LM_ERRORS_PORT || out->to_port != to->primary || to->needs_key ||
            to->is_sink || to->is_generator || to->def->retries || to->op->flags & (LM_BATCH | LM_PROGRAM))
            continue;
        node->chain = to;
    }
}

static lm_status make_recipes(engine *e, lm_write *write, lm_error *err)
{
    for (size_t i = 0; i < e->n_nodes; i++) {
        rt_node *node = &e->nodes[i];
        if (!node->def) continue;
        const void *bytes;
        size_t size;
        LM_TRY_IN(lm_node_recipe(e->graph, node->def, &e->arena, &node->recipe, &bytes, &size, err), err, "node \"%s\"",
                  node->def->name);
        if (!write) continue;
        lm_part part = {lm_write_copy(write, bytes, size), size};
        if (!part.data) return LM_NOMEM(err);
        LM_TRY(lm_write_row(write, LM_ROW_RECIPE, &node->recipe, &part, 1, NULL, NULL, err));
    }
    return LM_OK;
}

/* Equal steps share one row: of two nodes that may take them, either both store their records or neither. */
static void share_rows(engine *e)
{
    for (size_t i = 0; i < e->n_nodes; i++)
        for (size_t k = 0; k < e->n_nodes; k++) {
            const rt_node *a = &e->nodes[i];
            rt_node *b = &e->nodes[k];
            if (!a->writes_artifacts || b->writes_artifacts || !b->writes_rows) continue;
            if (!lm_digest_equal(&a->recipe, &b->recipe)) continue;
            b->writes_artifacts = true;
            b->keeps_origin = false;
        }
}

static bool last_run(void *arg, lm_view key, lm_view value)
{
    uint64_t number = 0;
    (void)value;
    for (size_t i = 0; i < key.size && i < 8; i++) number = number << 8 | ((const uint8_t *)key.data)[i];
    *(uint64_t *)arg = number;
    return true;
}

static bool any_entry(void *arg, lm_view key, lm_view value)
{
    (void)key, (void)value;
    *(bool *)arg = true;
    return false;
}

static lm_status put_run(engine *e, lm_write *write, bool ended, lm_error *err)
{
    Lensmill__Run run = LENSMILL__RUN__INIT;
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    char **names = lm_arena_alloc(&e->arena, e->n_nodes, sizeof *names);
    ProtobufCBinaryData *recipes = lm_arena_alloc(&e->arena, e->n_nodes, sizeof *recipes);
    char *version = lm_arena_printf(&e->arena, "lensmill %s, OpenBLAS %s", LM_VERSION, openblas_get_corename());
    if (!names || !recipes || !version) return LM_NOMEM(err);
    run.format = LM_STORE_FORMAT;
    run.number = e->run;
    run.graph = (char *)(uintptr_t)e->graph->name;
    run.file = (char *)(uintptr_t)e->graph->file;
    run.started_s = (uint64_t)(time(NULL) - (time_t)(lm_now_s() - e->started_s));
    run.ended_s = ended ? (uint64_t)time(NULL) : 0;
    run.status = e->report->status;
    run.nodes = names;
    run.recipes = recipes;
    run.host = host;
    run.version = version;
    for (size_t i = 0; i < e->n_nodes; i++) {
        if (!e->nodes[i].def) continue;
        names[run.n_nodes] = (char *)(uintptr_t)e->nodes[i].def->name;
        recipes[run.n_nodes++] = (ProtobufCBinaryData){sizeof(lm_digest), e->nodes[i].recipe.bytes};
    }
    run.n_recipes = run.n_nodes;
    size_t size = lensmill__run__get_packed_size(&run);
    uint8_t *bytes = lm_arena_data(&e->arena, size, 1), key[8];
    if (!bytes) return LM_NOMEM(err);
    lensmill__run__pack(&run, bytes);
    for (int i = 0; i < 8; i++) key[i] = (uint8_t)(e->run >> (56 - 8 * i));
    return lm_write_entry(write, LM_TABLE_RUNS, key, sizeof key, bytes, size, err);
}

static lm_status look_at_store(engine *e, lm_error *err)
{
    LM_OWN(lm_snapshot) snapshot = NULL;
    LM_TRY(lm_store_snapshot(e->options.store, &snapshot, err));
    bool dead = false;
    LM_TRY(lm_snapshot_entries(snapshot, LM_TABLE_DEAD, any_entry, &dead, err));
    atomic_store(&e->dead_known, dead);
    LM_TRY(lm_snapshot_entries(snapshot, LM_TABLE_RUNS, last_run, &e->run, err));
    e->run++;
    return LM_OK;
}

static lm_status begin_run(engine *e, lm_error *err)
{
    if (!e->options.store) return make_recipes(e, NULL, err);
    LM_TRY(look_at_store(e, err));
    if (e->plan) {
        LM_TRY(make_recipes(e, NULL, err));
        share_rows(e);
        return LM_OK;
    }
    LM_TRY(guard_open(e->options.store, &e->guard, err));
    LM_OWN(lm_write) write = NULL;
    LM_TRY(lm_write_new(&write, err));
    LM_TRY(make_recipes(e, write, err));
    share_rows(e);
    LM_TRY(put_run(e, write, false, err));
    uint64_t ticket;
    e->report->run = e->run;
    return lm_store_hand_in(e->options.store, lm_take(write), &ticket, err);
}

/* What each operator's steps took, for the estimates of `plan`. */
static lm_status put_costs(engine *e, lm_write *write, lm_error *err)
{
    for (size_t i = 0; i < e->n_nodes; i++) {
        const rt_node *node = &e->nodes[i];
        if (!node->def) continue;
        uint64_t computed = node->report->ran;
        if (node->is_generator && node->def->extent < 0) computed = node->report->in - node->report->cached;
        if (!computed || !(node->report->seconds > 0)) continue;
        double cost = node->report->seconds / (double)computed;
        char key[128], hex[65];
        lm_digest_text(hex, &node->recipe);
        size_t n = (size_t)snprintf(key, sizeof key, "cost:%.32s", hex);
        LM_TRY(lm_write_entry(write, LM_TABLE_META, key, n, &cost, sizeof cost, err));
        n = (size_t)snprintf(key, sizeof key, "cost:%.64s", node->op->name);
        LM_TRY(lm_write_entry(write, LM_TABLE_META, key, n, &cost, sizeof cost, err));
    }
    return LM_OK;
}

static void mark_uncounted(engine *e)
{
    for (size_t i = 0; i < e->n_edges; i++) { /* in the order of the nodes that they lead to */
        const edge *at = &e->edges[i];
        const rt_node *from = at->from;
        bool open = from->is_generator && from->def->extent < 0 && at->from_port != LM_ERRORS_PORT &&
                    from->report->would_run + from->report->unknown > 0;
        bool window = at->to->is_gather && at->to->def->window_all;
        if ((open || from->report->uncounted) && !window) at->to->report->uncounted = true;
    }
}

static void expect_costs(engine *e)
{
    LM_OWN(lm_snapshot) snapshot = NULL;
    lm_error err = {0};
    if (!e->options.store || lm_store_snapshot(e->options.store, &snapshot, &err)) return;
    for (size_t i = 0; i < e->n_nodes; i++) {
        const rt_node *node = &e->nodes[i];
        if (!node->def) continue;
        char key[128], hex[65];
        lm_view view = {NULL, 0};
        lm_digest_text(hex, &node->recipe);
        size_t n = (size_t)snprintf(key, sizeof key, "cost:%.32s", hex);
        if (lm_snapshot_get(snapshot, LM_TABLE_META, key, n, &view, &err)) return;
        n = (size_t)snprintf(key, sizeof key, "cost:%.64s", node->op->name);
        if (!view.data && lm_snapshot_get(snapshot, LM_TABLE_META, key, n, &view, &err)) return;
        double cost;
        if (view.size != sizeof cost) continue;
        memcpy(&cost, view.data, sizeof cost);
        bool many = node->is_generator && node->def->extent >= 0; /* ran and would_run count what it gives */
        double unknown = (double)node->report->unknown * (many ? (double)node->def->extent : 1.0);
        node->report->expected_s = cost * ((double)(node->report->would_run + node->report->again) + unknown);
    }
}

/* ---- the end ------------------------------------------------------------------------------------------------------- */

static lm_status check_books(const engine *e, lm_error *err)
{
    for (size_t i = 0; i < e->n_nodes; i++) {
        const rt_node *node = &e->nodes[i];
        if (!node->def) continue;
        const lm_node_report *r = node->report;
        if (r->in != r->out + r->empty + r->dead + r->blocked)
            return LM_FAIL(
                err, LM_EBUG,
                "the books of node \"%s\" do not balance: %llu in, %llu out, %llu empty, %llu dead, %llu blocked",
                node->def->name, (unsigned long long)r->in, (unsigned long long)r->out, (unsigned long long)r->empty,
                (unsigned long long)r->dead, (unsigned long long)r->blocked);
    }
    for (size_t i = 0; i < e->n_edges; i++) {
        const edge *at = &e->edges[i];
        if (at->to->def && at->to->primary < at->to->n_inputs && at->to_port == at->to->primary &&
            at->pushed != at->taken)
            return LM_FAIL(err, LM_EBUG, "records were lost between \"%s\" and \"%s\": %llu in, %llu out",
                           at->from->def->name, at->to->def->name, (unsigned long long)at->pushed,
                           (unsigned long long)at->taken);
    }
    return LM_OK;
}

static void free_map_items(lm_map *map)
{
    size_t at = 0;
    const char *key;
    void *value;
    while (lm_map_next(map, &at, &key, &value)) item_unref(value);
    lm_map_done(map);
}

static void free_node(rt_node *node)
{
    if (!node->engine) return;
    if (node->opened && node->op->close) node->op->close(node->self);
    while (node->first) {
        batch *next = node->first->next;
        batch_free(node->first);
        node->first = next;
    }
    for (unsigned i = 0; node->inputs && i < node->n_inputs; i++) {
        item_unref(node->inputs[i].broadcast);
        free_map_items(&node->inputs[i].table);
        lm_map_done(&node->inputs[i].seen);
        lm_free(node->inputs[i].edges);
    }
    for (unsigned i = 0; node->gen_in && i < node->n_inputs; i++) {
        for (size_t j = 0; j < node->gen_in[i].n; j++) item_unref(node->gen_in[i].items[j]);
        lm_free(node->gen_in[i].items);
    }
    lm_free(node->gen_in);
    size_t at = 0;
    const char *key;
    void *value;
    while (lm_map_next(&node->paths, &at, &key, &value)) lm_free(value);
    lm_map_done(&node->paths);
    lm_map_done(&node->known_items);
    for (size_t i = 0; i < node->n_watches; i++) lm_free(node->watches[i]);
    lm_free(node->watches);
    lm_free(node->inputs);
    lm_free(node->outs);
    pthread_mutex_destroy(&node->lock);
}

static void free_engine(engine *e)
{
    for (size_t i = 0; i < e->n_edges; i++) {
        edge *at = &e->edges[i];
        for (size_t k = 0; k < at->n; k++) item_unref(at->ring[(at->head + k) & (at->cap - 1)].item);
        lm_free(at->ring);
    }
    for (size_t i = 0; e->nodes && i < e->n_nodes; i++) free_node(&e->nodes[i]);
    for (size_t i = 0; e->nodes && i < e->n_nodes; i++)
        if (e->nodes[i].engine) source_items_free(&e->nodes[i]);
    size_t at = 0;
    const char *key;
    void *value;
    while (lm_map_next(&e->file_digests, &at, &key, &value)) lm_free(value);
    lm_map_done(&e->file_digests);
    lm_free(e->edges);
    lm_free(e->nodes);
    if (e->loop_ready) uv_loop_close(&e->loop);
    lm_arena_done(&e->arena);
    pthread_mutex_destroy(&e->lock);
    pthread_mutex_destroy(&e->files_lock);
    pthread_cond_destroy(&e->work);
}

static lm_status set_up(engine *e, lm_error *err)
{
    bool *needed = lm_arena_alloc(&e->arena, e->n_nodes, sizeof *needed);
    e->nodes = lm_alloc(e->n_nodes, sizeof *e->nodes);
    if (!needed || !e->nodes || !e->report->nodes) return LM_NOMEM(err);
    LM_TRY(choose_nodes(e, needed, err));
    for (size_t i = 0; i < e->n_nodes; i++)
        if (needed[i]) LM_TRY(make_node(e, e->graph->nodes[i], &e->nodes[i], err));
    LM_TRY(make_edges(e, needed, err));
    decide_storage(e, needed);
    if (e->options.tap) {
        const char *dot = strrchr(e->options.tap, '.');
        char name[256];
        snprintf(name, sizeof name, "%.*s", (int)(dot ? dot - e->options.tap : (ptrdiff_t)strlen(e->options.tap)),
                 e->options.tap);
        const lm_node *node = lm_graph_node(e->graph, e->options.tap);
        if (!node && dot) node = lm_graph_node(e->graph, name);
        if (!node || !needed[node->index]) return LM_FAIL(err, LM_EUSAGE, "the graph has no node \"%s\"", name);
        const lm_port *ports[LM_MAX_PORTS];
        size_t n = lm_operator_outputs(node->op, ports);
        e->tap_node = &e->nodes[node->index];
        if (dot && node != lm_graph_node(e->graph, e->options.tap)) {
            e->tap_port = strcmp(dot + 1, "errors") == 0 ? LM_ERRORS_PORT : LM_ERRORS_PORT + 1;
            for (size_t i = 0; i < n; i++)
                if (strcmp(ports[i]->name, dot + 1) == 0) e->tap_port = (unsigned)i;
            if (e->tap_port > LM_ERRORS_PORT)
                return LM_FAIL(err, LM_EUSAGE, "node \"%s\" has no output port \"%s\"", name, dot + 1);
        }
    }
    make_chains(e, needed);
    return begin_run(e, err);
}

static lm_status end_run(engine *e, lm_error *err)
{
    if (!e->options.store || e->plan || !e->run) return LM_OK;
    LM_OWN(lm_write) write = NULL;
    uint64_t ticket;
    LM_TRY(lm_write_new(&write, err));
    LM_TRY(put_costs(e, write, err));
    LM_TRY(put_run(e, write, true, err));
    LM_TRY(lm_store_hand_in(e->options.store, lm_take(write), &ticket, err));
    return lm_store_wait(e->options.store, ticket, err);
}

lm_status lm_run_graph(const lm_graph *graph, const lm_run_options *options, lm_run_report *ret, lm_error *err)
{
    *ret = (lm_run_report){.status = 1};
    engine *e = lm_alloc(1, sizeof *e);
    if (!e) return LM_NOMEM(err);
    *ret = (lm_run_report){.status = 1, .nodes = lm_alloc(graph->n_nodes, sizeof *ret->nodes)};
    if (ret->nodes) ret->n_nodes = graph->n_nodes;
    for (size_t i = 0; i < ret->n_nodes; i++) ret->nodes[i].expected_s = (double)NAN;
    e->graph = graph;
    e->options = *options;
    e->report = ret;
    e->n_nodes = graph->n_nodes;
    e->plan = options->mode == LM_RUN_PLAN;
    e->started_s = e->last_progress_s = lm_now_s();
    if (!e->options.edge_records) e->options.edge_records = LM_EDGE_RECORDS;
    if (!e->options.edge_bytes) e->options.edge_bytes = LM_EDGE_BYTES;
    lm_arena_init(&e->arena);
    pthread_mutex_init(&e->lock, NULL);
    pthread_mutex_init(&e->files_lock, NULL);
    pthread_cond_init(&e->work, NULL);
    openblas_set_num_threads(1); /* the workers are the threads */
    lm_status status = set_up(e, err);
    if (!status && uv_loop_init(&e->loop)) status = LM_FAIL(err, LM_EMEMORY, "no event loop can be made");
    if (!status) {
        e->loop_ready = true;
        status = start_workers(e, err);
        if (!status) sched_run(e);
        stop_workers(e);
        progress_show(e, true);
    }
    if (!status && e->failure.status) {
        *err = e->failure;
        status = e->failure.status;
    }
    if (!status && !e->stopping) status = check_books(e, err);
    ret->dead = e->dead;
    ret->status = status ? 1 : e->stopping ? 128 + e->stop_signal : e->dead ? 3 : 0;
    if (e->plan) mark_uncounted(e);
    if (e->plan) expect_costs(e);
    lm_error ending = {0};
    lm_status ended = end_run(e, &ending);
    if (!status && ended) {
        *err = ending;
        status = ended;
        ret->status = 1;
    }
    ret->wall_s = lm_now_s() - e->started_s;
    guard_close(e->guard);
    free_engine(e);
    lm_free(e);
    return status;
}

void lm_run_report_done(lm_run_report *report)
{
    for (size_t i = 0; i < report->n_outputs; i++) lm_free(report->outputs[i]);
    lm_free(report->outputs);
    lm_free(report->nodes);
    lm_free(report->first_dead);
    *report = (lm_run_report){0};
}
