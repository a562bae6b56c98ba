/* The loop thread: what the workers do next, and what becomes of what they did.
 *
 * sched_pass() walks the nodes from the last to the first, so that what is nearly done leaves memory first. For each it makes
 * batches of calls while inputs are there, the edges below have room, and a worker is free; and it releases the node's
 * finished batches, oldest first.
 */
#include "runtime/engine.h"
#include "runtime/log.h"
#include "runtime/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    BACKLOG_BYTES = 96 << 20, /* of the store's writer, beyond which nothing new is begun */
    TASKS_AHEAD = 4,          /* batches waiting or under way a worker, so that it need not sleep */
};
static const double batch_target_s = 5e-4; /* work in one batch: long against a hand-over, short against a wait */

/* ---- batches ------------------------------------------------------------------------------------------------------- */

static void append_batch(rt_node *node, batch *b)
{
    if (node->last) node->last->next = b;
    else node->first = b;
    node->last = b;
}

static void give_task(engine *e, batch *b)
{
    b->done = false;
    b->links = 0;
    for (const rt_node *next = chain_next(b->node); next; next = chain_next(next)) b->links++;
    b->node->running++;
    e->n_tasks++;
    pthread_mutex_lock(&e->lock);
    b->next_task = NULL;
    if (e->last_task) e->last_task->next_task = b;
    else e->tasks = b;
    e->last_task = b;
    pthread_cond_signal(&e->work);
    pthread_mutex_unlock(&e->lock);
}

static bool may_begin(const rt_node *node)
{
    const engine *e = node->engine;
    if (e->stopping || e->failure.status) return false;
    if (e->n_tasks >= TASKS_AHEAD * e->n_workers) return false;
    unsigned most = node->def->workers ? node->def->workers : e->n_workers;
    if (node->op->flags & LM_SPANS) most = 1;
    return node->running < most + (node->def->workers ? 0 : 1);
}

/* How many calls are as much work as is wanted, what the chain does with them counted in. */
static double calls_in_target(const rt_node *node)
{
    double cost_s = node->cost_s;
    for (const rt_node *at = chain_next(node); at; at = chain_next(at)) cost_s += at->cost_s;
    double n = node->cost_s > 0 ? batch_target_s / cost_s : 8;
    return n > MAX_BATCH ? MAX_BATCH : n;
}

static size_t wanted_calls(const rt_node *node)
{
    const engine *e = node->engine;
    if (node->op->flags & LM_BATCH && node->op->batch) return node->op->batch;
    double n = calls_in_target(node);
    size_t waiting = node->is_source                       ? node->n_items - node->next_item
                     : node->inputs[node->primary].n_edges ? node->inputs[node->primary].edges[0]->n
                                                           : 1;
    size_t share = (waiting + e->n_workers - 1) / e->n_workers;
    size_t wanted = n < 1 ? 1 : (size_t)n;
    if (wanted > share && e->n_workers > 1) wanted = share;
    return wanted ? wanted : 1;
}

static void generator_drop(rt_node *node)
{
    for (unsigned i = 0; node->gen_in && i < node->n_inputs; i++) {
        for (size_t j = 0; j < node->gen_in[i].n; j++) item_unref(node->gen_in[i].items[j]);
        lm_free(node->gen_in[i].items);
    }
    node->gen_in = lm_free(node->gen_in);
    node->gen_active = false;
}

/* Remembers the input whose emissions are made, part by part. */
static bool generator_hold(rt_node *node, const call *c)
{
    node->gen_active = true;
    node->gen_order = c->order;
    node->gen_next = 0;
    if (!(node->gen_in = lm_alloc(node->n_inputs, sizeof *node->gen_in))) return false;
    for (unsigned i = 0; i < node->n_inputs; i++) {
        if (!c->in[i].n) continue;
        if (!(node->gen_in[i].items = lm_alloc(1, sizeof(item *)))) return false;
        node->gen_in[i].items[0] = item_ref(c->in[i].items[0]);
        node->gen_in[i].n = 1;
    }
    return true;
}

static bool begin_generator(rt_node *node, size_t room)
{
    engine *e = node->engine;
    /* A known number of emissions is made in parts side by side; for an unknown one each part waits for the one before. */
    int64_t extent = node->def->extent;
    double n = calls_in_target(node);
    uint64_t quota = n < 1 ? 1 : (uint64_t)n;
    if (quota > room) quota = room;
    batch *b = batch_new(node, 1, quota);
    if (!b) {
        LM_NOMEM(&e->failure);
        return false;
    }
    b->n = 1;
    call *c = &b->calls[0];
    if (!node->gen_active) {
        ready state = next_stream(node, c);
        if (state != READY) {
            batch_free(b);
            if (state == END && !node->first) node->finished = true;
            return false;
        }
        if (c->outcome == PENDING && !c->error) {
            c->order = order_of_input(node, c);
            c->id = item_id(c->in[node->primary].items[0]);
        }
        if (c->outcome == PENDING && !c->error && !generator_hold(node, c)) {
            generator_drop(node);
            batch_free(b);
            LM_NOMEM(&e->failure);
            return false;
        }
    } else {
        for (unsigned i = 0; i < node->n_inputs; i++)
            if (node->gen_in[i].n) {
                c->in[i].items[0] = item_ref(node->gen_in[i].items[0]);
                c->in[i].n = 1;
            }
        c->order = node->gen_order;
        c->id = item_id(c->in[node->primary].items[0]);
    }
    append_batch(node, b);
    if (!node->gen_active) { /* a tombstone, or an input without its partner */
        b->last_part = true;
        if (c->outcome == PENDING) give_task(e, b);
        else b->done = true;
        return true;
    }
    if (extent >= 0 && node->gen_next + quota > (uint64_t)extent) quota = (uint64_t)extent - node->gen_next;
    c->index = node->gen_next;
    c->index_end = node->gen_next += quota;
    b->quota = (uint32_t)quota;
    b->last_part = extent >= 0 && node->gen_next >= (uint64_t)extent;
    node->gen_waiting = extent < 0;
    node->in_flight += b->quota;
    if (b->last_part) generator_drop(node);
    give_task(e, b);
    return true;
}

/* Makes one batch. Returns false if there is nothing to begin now. */
static bool begin(rt_node *node)
{
    engine *e = node->engine;
    if (node->is_source && !node->listed) {
        if (node->busy_listing || !may_begin(node)) return false;
        batch *b = batch_new(node, 1, 1);
        if (!b) {
            LM_NOMEM(&e->failure);
            return false;
        }
        b->listing = node->busy_listing = true;
        give_task(e, b);
        return true;
    }
    if (!may_begin(node)) return false;
    size_t room = node_room(node);
    if (!room) return false;
    if (e->options.store && !e->plan && lm_store_backlog(e->options.store) > BACKLOG_BYTES) return false;
    if (node->is_generator) return !node->gen_waiting && begin_generator(node, room);
    size_t wanted = node->is_gather ? 1 : wanted_calls(node);
    if (wanted > room) wanted = room;
    batch *b = batch_new(node, (unsigned)wanted, wanted);
    if (!b) {
        LM_NOMEM(&e->failure);
        return false;
    }
    ready state = WAIT;
    bool any = false;
    while (b->n < wanted) {
        call *c = &b->calls[b->n];
        state = node->is_source ? next_source(node, c) : node->is_gather ? next_gather(node, c) : next_stream(node, c);
        if (state != READY) break;
        b->n++;
        any |= c->outcome == PENDING;
    }
    if (e->failure.status) { /* what the last call had taken goes with the batch */
        b->n += b->n < wanted;
        batch_free(b);
        return false;
    }
    if (!b->n) {
        batch_free(b);
        if (state == END && !node->first) node->finished = true;
        return false;
    }
    append_batch(node, b);
    node->in_flight += b->n;
    if (any) give_task(e, b);
    else b->done = true;
    return true;
}

/* ---- results ------------------------------------------------------------------------------------------------------- */

static void tell_dead(rt_node *node, const call *c)
{
    engine *e = node->engine;
    if (e->plan) return;
    const lm_node *def = node->def;
    char text[LM_ERROR_TEXT + 512];
    snprintf(text, sizeof text, "%s:%u:%u: %s%s%s", def->place.file ? def->place.file : "graph", def->place.line,
             def->place.column, c->error ? c->error->text : "failed", c->error && *c->error->hint ? "\n  hint: " : "",
             c->error ? c->error->hint : "");
    if (!e->report->first_dead) e->report->first_dead = lm_strdup(text);
    /* The first ones in full; the store has them all (`lensmill dead list`). */
    if (e->dead <= 10) lm_log(c->cached ? LM_LOG_INFO : LM_LOG_ERROR, "dead", "%s", text);
    else if (e->dead == 11) lm_log(LM_LOG_WARN, "dead", "more inputs failed: `lensmill dead list` shows them all");
}

static void count(rt_node *node, const call *c)
{
    engine *e = node->engine;
    lm_node_report *r = node->report;
    *(e->plan ? &r->would_run : &r->ran) += c->would_run;
    switch ((outcome)c->outcome) {
    case OUTPUT: r->in++, r->out++, r->cached += c->cached; break;
    case EMPTY: r->in++, r->empty++, r->cached += c->cached; break;
    case UNMATCHED: r->in++, r->empty++, r->unmatched++; break;
    case SKIPPED: r->in++, r->empty++, r->skipped++; break;
    case DEAD:
        r->in++, r->dead++, e->dead++;
        tell_dead(node, c);
        break;
    case BLOCKED:
        r->in++, r->blocked++, e->dead++;
        tell_dead(node, c);
        break;
    case UNKNOWN: r->in++, r->out++, r->unknown += c->would_run == 0; break;
    case PASS_EMPTY:
    case PASS_FAILED:
    case STOPPED:
    case PENDING:
    case RETRY: break;
    }
    r->retried += c->attempts;
}

static bool emit_tombstone(rt_node *node, const call *c, unsigned port, item_kind kind, const order *at)
{
    item *it = item_new(kind, at);
    if (it && !(it->id = lm_strdup(c->id ? c->id : ""))) it = item_unref(it);
    if (!it) {
        LM_NOMEM(&node->engine->failure);
        return false;
    }
    it->failed_in = kind == ITEM_FAILED ? c->failed_in : NULL;
    return push_to(node, &(parcel){.item = it, .port = (uint8_t)port, .kind = (uint8_t)kind});
}

static bool port_is_wired(const rt_node *node, unsigned port)
{
    for (size_t i = 0; i < node->n_outs; i++)
        if (node->outs[i]->from_port == port) return true;
    return false;
}

static void show_tap(rt_node *node, item *it)
{
    engine *e = node->engine;
    worker w = {.engine = e};
    lm_arena_init(&w.arena);
    LM_OWN(lm_record) record = NULL;
    lm_error err = {0};
    char at[128];
    if (!worker_see(&w, it->ticket ? it->ticket : UINT64_MAX, &err) &&
        !worker_materialise(&w, it, false, 0, &record, &err))
        e->options.tap_fn(e->options.tap_arg, record, order_text(at, &it->order));
    else lm_log(LM_LOG_WARN, "tap", "%s", err.text);
    worker_done(&w);
}

/* Gives a call's results to the edges: its records, or a tombstone where a port has none. last: the call is done (of a
 * generator: the last part of it). */
static void deliver(rt_node *node, batch *b, const call *c, bool any_before, bool last)
{
    engine *e = node->engine;
    uint32_t has = 0;
    if (c->outcome == STOPPED) return;
    if (b->then) { /* they have gone on already */
        has = 1;
        node->report->records += c->n_out;
    }
    for (unsigned i = 0; i < c->n_out && !b->then; i++) {
        parcel *out = &b->out[c->first_out + i];
        if (out->port < 32) has |= 1u << out->port;
        if (out->port != LM_ERRORS_PORT) node->report->records++;
        if (e->tap_node == node && e->tap_port == out->port && e->options.tap_fn && out->kind == ITEM_RECORD)
            show_tap(node, out->item);
        parcel sent = *out;
        out->item = NULL;
        if (!push_to(node, &sent)) return;
    }
    if (!last) return;
    item_kind kind =
        c->outcome == DEAD || c->outcome == BLOCKED || c->outcome == PASS_FAILED ? ITEM_FAILED : ITEM_EMPTY;
    /* A generator that gave some is no tombstone; that it died is told behind them. */
    bool some = any_before || (node->is_generator && has);
    order at = c->order;
    if (some) at = order_child(&c->order, c->index_end), has = kind == ITEM_FAILED ? 0 : UINT32_MAX;
    for (unsigned port = 0; port < node->n_outputs; port++)
        if (!(has & 1u << port) && port_is_wired(node, port) && !emit_tombstone(node, c, port, kind, &at)) return;
    bool error_emitted = false;
    for (unsigned i = 0; i < c->n_out && !b->then; i++)
        error_emitted |= b->out[c->first_out + i].port == LM_ERRORS_PORT;
    if (!error_emitted && port_is_wired(node, LM_ERRORS_PORT))
        emit_tombstone(node, c, LM_ERRORS_PORT, ITEM_EMPTY, &c->order);
}

static void take_files(engine *e, batch *b)
{
    lm_run_report *r = e->report;
    b->node->report->files += b->n_written;
    for (size_t i = 0; i < b->n_files; i++) {
        r->total_outputs++;
        if (r->n_outputs == LM_REPORT_OUTPUTS) continue;
        if (!r->outputs && !(r->outputs = lm_alloc(LM_REPORT_OUTPUTS, sizeof *r->outputs))) return;
        r->outputs[r->n_outputs++] = lm_take(b->files[i]);
    }
}

/* A part of a generator's emissions for one input. The input is counted once: at its last part, or where it failed. Returns
 * false if an earlier part of it failed: then this one is as if it had never been. */
static bool release_part(rt_node *node, batch *b)
{
    call *c = &b->calls[0];
    bool failed = c->outcome == DEAD || c->outcome == BLOCKED || c->outcome == SKIPPED, before = node->gen_any;
    node->in_flight -= b->quota;
    node->report->seconds += b->seconds;
    if (node->gen_active && node->gen_waiting && !b->last_part) { /* not of a tombstone before it */
        node->gen_waiting = false;
        if (c->ended || failed || c->outcome == UNKNOWN || c->outcome == STOPPED) {
            b->last_part = true;
            generator_drop(node);
        }
    }
    bool delivered = !node->gen_dead;
    if (delivered) {
        bool last = b->last_part || failed;
        deliver(node, b, c, before, last);
        if (c->n_out && (c->outcome == OUTPUT || c->outcome == UNKNOWN)) node->gen_any = true;
        if (last) {
            if (c->outcome == EMPTY && before) c->outcome = OUTPUT;
            count(node, c);
        } else {
            *(node->engine->plan ? &node->report->would_run : &node->report->ran) += c->would_run;
        }
    }
    node->gen_dead |= failed;
    if (b->last_part) node->gen_any = node->gen_dead = false;
    return delivered;
}

/* Every call gave one record: counted and sent in one go. */
static void release_plain(batch *b)
{
    rt_node *node = b->node;
    lm_node_report *r = node->report;
    r->in += b->n;
    r->out += b->n;
    r->records += b->n;
    r->cached += b->n_cached;
    r->ran += b->n - b->n_cached;
    for (size_t i = 0; i < b->n_out; i++) {
        parcel sent = b->out[i];
        b->out[i].item = NULL;
        if (!push_to(node, &sent)) return;
    }
}

static void release_calls(batch *b)
{
    rt_node *node = b->node;
    engine *e = node->engine;
    if (b->failure.status && !e->failure.status) e->failure = b->failure;
    node->report->seconds += b->seconds;
    if (b->plain && e->tap_node != node) {
        release_plain(b);
        return;
    }
    for (unsigned i = 0; i < b->n && !e->failure.status; i++) {
        deliver(node, b, &b->calls[i], false, true);
        count(node, &b->calls[i]);
    }
}

/* May what a chain made of a batch go its way? An older batch that left the chain early comes first. */
static bool is_its_turn(const batch *b)
{
    for (const batch *at = b->then; at; at = at->then)
        if (at->node->first || at->node->inputs[at->node->primary].edges[0]->n) return false;
    return true;
}

/* Releases what is finished, oldest first. Returns true if there was any. */
static bool release(rt_node *node)
{
    engine *e = node->engine;
    bool any = false;
    while (node->first && node->first->done && is_its_turn(node->first)) {
        batch *b = node->first;
        node->first = b->next;
        if (!node->first) node->last = NULL;
        bool delivered = true;
        if (node->is_generator) {
            if (b->failure.status && !e->failure.status) e->failure = b->failure;
            delivered = release_part(node, b);
        } else {
            node->in_flight -= b->n;
            release_calls(b);
        }
        for (batch *at = b->then; at && delivered; at = at->then) release_calls(at);
        take_files(e, b);
        batch_free(b);
        any = true;
    }
    return any;
}

static void learn_cost(const batch *b)
{
    rt_node *node = b->node;
    size_t calls = b->plain ? b->n : 0;
    for (unsigned i = 0; i < b->n && !b->plain; i++)
        calls += b->calls[i].outcome == OUTPUT || b->calls[i].outcome == EMPTY;
    if (node->is_generator) calls = b->calls[0].n_out;
    if (!calls) return;
    double cost = b->seconds / (double)calls;
    node->cost_s = node->cost_s > 0 ? 0.7 * node->cost_s + 0.3 * cost : cost;
    double bytes = (double)b->made_bytes / (double)calls;
    node->out_bytes = bytes > node->out_bytes ? bytes : 0.9 * node->out_bytes + 0.1 * bytes;
}

/* A pause before steps are tried again. The timer's data is the pause itself: so the loop's end knows it. */
typedef struct respite {
    uv_timer_t timer;
    batch *b;
} respite;

static void free_respite(uv_handle_t *handle)
{
    lm_free(handle);
}

static void retry_now(uv_timer_t *timer)
{
    respite *p = (respite *)timer;
    batch *b = p->b;
    uv_close((uv_handle_t *)timer, free_respite);
    for (unsigned i = 0; i < b->n; i++)
        if (b->calls[i].outcome == RETRY) b->calls[i].outcome = PENDING;
    give_task(b->node->engine, b);
}

/* Steps that are to be tried again, after a pause that doubles each time. */
static bool wait_for_retry(batch *b)
{
    engine *e = b->node->engine;
    unsigned attempts = 0;
    for (unsigned i = 0; i < b->n && !b->plain; i++)
        if (b->calls[i].outcome == RETRY && b->calls[i].attempts > attempts) attempts = b->calls[i].attempts;
    if (!attempts || e->stopping || e->failure.status) return false;
    respite *p = lm_alloc(1, sizeof *p);
    if (!p) return false;
    uv_timer_init(&e->loop, &p->timer);
    p->timer.data = p;
    p->b = b;
    uv_timer_start(&p->timer, retry_now, (uint64_t)(1e3 * b->node->def->backoff_s * ldexp(1, (int)attempts - 1)), 0);
    return true;
}

static void source_listed(rt_node *node, batch *b)
{
    engine *e = node->engine;
    node->busy_listing = false;
    node->listed = true;
    if (b->failure.status && !e->failure.status) e->failure = b->failure;
    lm_free(b);
}

static void collect(engine *e)
{
    pthread_mutex_lock(&e->lock);
    batch *done = e->finished;
    e->finished = NULL;
    pthread_mutex_unlock(&e->lock);
    while (done) {
        batch *b = done;
        done = b->next_task;
        b->node->running--;
        e->n_tasks--;
        if (b->listing) {
            source_listed(b->node, b);
            continue;
        }
        if (wait_for_retry(b)) continue;
        for (batch *at = b; at; at = at->then) {
            for (unsigned i = 0; i < at->n && !at->plain; i++)
                if (at->calls[i].outcome == RETRY || at->calls[i].outcome == PENDING) at->calls[i].outcome = STOPPED;
            learn_cost(at);
        }
        b->done = true;
    }
}

static void end_edges(rt_node *node)
{
    for (size_t i = 0; i < node->n_outs; i++) node->outs[i]->ended = true;
}

static void watch_sources(engine *e);

/* Everything that can be done now. */
static void sched_pass(engine *e)
{
    if (e->scheduling) return;
    e->scheduling = true;
    bool again = true;
    while (again) {
        again = false;
        for (size_t i = e->n_nodes; i-- > 0;) {
            rt_node *node = &e->nodes[i];
            if (!node->def || node->finished) continue;
            again |= release(node);
            while (begin(node)) again = true;
            again |= release(node);
            if (node->finished) {
                end_edges(node);
                again = true;
            }
        }
        if (e->failure.status) break;
    }
    if (e->queue_bytes > e->report->peak_queue_bytes) e->report->peak_queue_bytes = e->queue_bytes;
    watch_sources(e);
    e->scheduling = false;
}

/* ---- the loop ------------------------------------------------------------------------------------------------------ */

static bool all_finished(const engine *e)
{
    for (size_t i = 0; i < e->n_nodes; i++)
        if (e->nodes[i].def && !e->nodes[i].finished) return false;
    return true;
}

static bool anything_running(const engine *e)
{
    for (size_t i = 0; i < e->n_nodes; i++)
        if (e->nodes[i].def && e->nodes[i].running) return true;
    return false;
}

static void on_rescan(uv_timer_t *timer);

static uint64_t duration_ms(const rt_node *node, const char *name, double otherwise)
{
    const json_t *given = json_object_get(node->def->params, name);
    double seconds = json_is_number(given) ? json_number_value(given) : otherwise;
    if (json_is_string(given)) lm_parse_duration(json_string_value(given), &seconds);
    return (uint64_t)(1e3 * (seconds < 0.05 ? 0.05 : seconds));
}

static uint64_t rescan_ms(const rt_node *node)
{
    return duration_ms(node, "every", 30);
}

/* How long after a notice the source is scanned: when the file that it tells of has rested. */
static uint64_t notice_ms(const rt_node *node)
{
    uint64_t rested = duration_ms(node, "settle", 0) + 100, every = rescan_ms(node);
    return rested < every ? rested : every;
}

/* Something has changed in a folder. A burst is one scan; what comes while one is awaited, and may be too young for it, asks
 * for one more. Notices are hints: the scan is the truth. */
static void notice(rt_node *node)
{
    uint64_t soon = notice_ms(node);
    node->relist = uv_timer_get_due_in(&node->timer) <= soon;
    if (!node->relist) uv_timer_start(&node->timer, on_rescan, soon, rescan_ms(node));
}

static void on_fs_event(uv_fs_event_t *handle, const char *name, int events, int status)
{
    (void)name, (void)events, (void)status;
    notice(handle->data);
}

static void on_rescan(uv_timer_t *timer)
{
    rt_node *node = timer->data;
    if (node->relist || node->busy_listing) uv_timer_start(timer, on_rescan, notice_ms(node), rescan_ms(node));
    node->relist = false;
    if (node->busy_listing || node->engine->stopping) return;
    node->listed = false;
    sched_pass(node->engine);
}

/* The folders that the last scan was the first to find. A file that came before its folder was watched is found by a scan
 * soon. Without a watch (the system has a limit) what remains is the interval. */
static void watch_folders(rt_node *node)
{
    if (node->n_watches == node->n_folders) return;
    for (size_t f = node->n_watches; f < node->n_folders; f++) {
        uv_fs_event_t *watch = lm_alloc(1, sizeof *watch);
        if (!watch || !lm_grow(&node->watches, node->n_watches, &node->cap_watches, sizeof(uv_fs_event_t *))) {
            lm_free(watch);
            break;
        }
        node->watches[node->n_watches++] = watch;
        uv_fs_event_init(&node->engine->loop, watch);
        watch->data = node;
        uv_fs_event_start(watch, on_fs_event, node->folders[f], 0);
    }
    notice(node);
}

/* Sources that never end: their folders are watched, and scanned again at an interval. */
static void watch_sources(engine *e)
{
    for (size_t i = 0; i < e->n_nodes; i++) {
        rt_node *node = &e->nodes[i];
        if (!node->def || !node->is_source || !node->def->endless || e->plan || e->stopping || node->finished) continue;
        if (!node->listed || node->busy_listing) continue;
        if (!node->timer_init) {
            uv_timer_init(&e->loop, &node->timer);
            node->timer.data = node;
            node->timer_init = true;
            uv_timer_start(&node->timer, on_rescan, rescan_ms(node), rescan_ms(node));
        }
        watch_folders(node);
    }
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle)) uv_close(handle, handle->data == handle ? free_respite : NULL);
}

static void finish_loop(engine *e)
{
    uv_walk(&e->loop, close_handle, NULL);
}

static void step_on(engine *e)
{
    collect(e);
    sched_pass(e);
    bool over = all_finished(e) || ((e->failure.status || e->stopping) && !anything_running(e));
    if (over) finish_loop(e);
}

void sched_wake(void *arg)
{
    engine *e = arg;
    uv_async_send(&e->wake);
}

static void on_wake(uv_async_t *handle)
{
    engine *e = handle->data;
    for (size_t i = 0; i < e->n_edges; i++)
        if (e->edges[i].spill) edge_spill(e, &e->edges[i]);
    lm_error err = {0};
    if (e->options.store && !e->plan && !e->failure.status && lm_store_failure(e->options.store, &err))
        e->failure = err;
    if (e->failure.status) atomic_store(&e->cancelled, true);
    step_on(e);
}

static void trace_nodes(const engine *e)
{
    for (size_t i = 0; i < e->n_nodes; i++) {
        const rt_node *node = &e->nodes[i];
        if (!node->def) continue;
        size_t waiting = 0;
        for (unsigned k = 0; k < node->n_inputs; k++)
            for (size_t w = 0; w < node->inputs[k].n_edges; w++) waiting += node->inputs[k].edges[w]->n;
        lm_log(LM_LOG_TRACE, "sched", "node=%s waiting=%zu in_flight=%u running=%u in=%llu finished=%d",
               node->def->name, waiting, node->in_flight, node->running, (unsigned long long)node->report->in,
               node->finished);
    }
}

static void on_tick(uv_timer_t *timer)
{
    engine *e = timer->data;
    if (lm_log_traced("sched")) trace_nodes(e);
    progress_show(e, false);
    step_on(e);
}

static void on_signal(uv_signal_t *handle, int number)
{
    engine *e = handle->data;
    if (e->stopping) {
        fprintf(stderr, "\nlensmill: stopped at once\n");
        _exit(128 + number);
    }
    e->stopping = true;
    e->stop_signal = number;
    atomic_store(&e->cancelled, true);
    lm_log(LM_LOG_WARN, "run", "stopping: steps under way are finished or saved; a second signal stops at once");
    step_on(e);
}

void sched_run(engine *e)
{
    uv_async_init(&e->loop, &e->wake, on_wake);
    e->wake.data = e;
    uv_timer_init(&e->loop, &e->tick);
    e->tick.data = e;
    uv_timer_start(&e->tick, on_tick, 100, 100);
    if (e->options.signals) {
        uv_signal_init(&e->loop, &e->sigint);
        uv_signal_init(&e->loop, &e->sigterm);
        e->sigint.data = e->sigterm.data = e;
        uv_signal_start(&e->sigint, on_signal, SIGINT);
        uv_signal_start(&e->sigterm, on_signal, SIGTERM);
    }
    if (e->options.store && !e->plan) lm_store_on_commit(e->options.store, sched_wake, e);
    step_on(e);
    uv_run(&e->loop, UV_RUN_DEFAULT);
    if (e->options.store && !e->plan) lm_store_on_commit(e->options.store, NULL, NULL);
}
