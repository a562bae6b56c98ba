/* The loop thread: edges, joins, windows, the order of everything, and what the workers do next.
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
};
static const double batch_target_s = 5e-4; /* work in one batch: long against a hand-over, short against a wait */

/* ---- edges --------------------------------------------------------------------------------------------------------- */

/* Takes the item; false without memory. */
static bool edge_push(engine *e, edge *to, item *it)
{
    if (to->to->finished) { /* a join whose first port has ended needs no more partners */
        to->to->report->unmatched += it->kind == ITEM_RECORD;
        item_unref(it);
        return true;
    }
    if (to->n == to->cap) {
        size_t cap = to->cap ? 2 * to->cap : 16;
        item **ring = lm_alloc(cap, sizeof *ring);
        if (!ring) {
            item_unref(it);
            return false;
        }
        for (size_t i = 0; i < to->n; i++) ring[i] = to->ring[(to->head + i) & (to->cap - 1)];
        lm_free(to->ring);
        to->ring = ring;
        to->head = 0;
        to->cap = cap;
    }
    to->ring[(to->head + to->n++) & (to->cap - 1)] = it;
    if (it->kind == ITEM_RECORD) {
        to->bytes += it->bytes;
        e->queue_bytes += it->bytes;
        to->pushed++;
    }
    return true;
}

static item *edge_head(const edge *from)
{
    return from->n ? from->ring[from->head] : NULL;
}

/* The caller owns the item. */
static item *edge_pop(engine *e, edge *from)
{
    item *it = from->ring[from->head];
    from->head = (from->head + 1) & (from->cap - 1);
    from->n--;
    if (from->spilled_to) from->spilled_to--;
    if (it->kind == ITEM_RECORD) {
        from->bytes -= it->bytes;
        e->queue_bytes -= it->bytes;
        from->taken++;
    }
    return it;
}

/* Beyond its bound a spilling edge keeps only what leads to its records. */
static void edge_spill(engine *e, edge *at)
{
    uint64_t committed = e->options.store ? lm_store_committed(e->options.store) : 0;
    while (at->spilled_to < at->n && (at->bytes > e->options.edge_bytes || at->n > e->options.edge_records)) {
        item **slot = &at->ring[(at->head + at->spilled_to) & (at->cap - 1)];
        if ((*slot)->record) {
            if (!item_is_safe(*slot, committed)) {
                if ((*slot)->home_kind != HOME_NONE) return; /* not on disk yet: look again after the next commit */
            } else {
                item *stub = item_stub(*slot);
                if (!stub) return;
                size_t bytes = (*slot)->bytes;
                at->bytes -= bytes;
                e->queue_bytes -= bytes;
                item_unref(*slot);
                *slot = stub;
            }
        }
        at->spilled_to++;
    }
}

/* How many more records the edges of a node can take, what is under way counted in. */
static size_t node_room(const rt_node *node)
{
    const engine *e = node->engine;
    size_t room = SIZE_MAX;
    for (size_t i = 0; i < node->n_outs; i++) {
        const edge *out = node->outs[i];
        if (out->spill || out->from_port == LM_ERRORS_PORT) continue;
        size_t used = out->n + node->in_flight;
        if (out->bytes >= e->options.edge_bytes || used >= e->options.edge_records) return 0;
        size_t left = e->options.edge_records - used;
        double bytes_left = (double)e->options.edge_bytes - (double)out->bytes - node->in_flight * node->out_bytes;
        if (node->out_bytes > 0) {
            if (bytes_left <= 0) return node->in_flight ? 0 : 1;
            double by_bytes = bytes_left / node->out_bytes;
            if (by_bytes < (double)left) left = by_bytes < 1 ? 1 : (size_t)by_bytes;
        }
        if (left < room) room = left;
    }
    return room;
}

/* Takes the item onto every edge of a port. */
static bool push_to(rt_node *node, unsigned port, item *it)
{
    engine *e = node->engine;
    for (size_t i = 0; i < node->n_outs && it; i++) {
        if (node->outs[i]->from_port != port) continue;
        size_t next = i + 1;
        while (next < node->n_outs && node->outs[next]->from_port != port) next++;
        item *pushed = next < node->n_outs ? item_ref(it) : lm_take(it); /* the last edge takes the reference itself */
        if (!edge_push(e, node->outs[i], pushed)) {
            LM_NOMEM(&e->failure);
            item_unref(it);
            return false;
        }
        if (node->outs[i]->spill) edge_spill(e, node->outs[i]);
    }
    item_unref(it);
    return true;
}

/* ---- what a node may do next ---------------------------------------------------------------------------------------- */

typedef enum ready { READY, WAIT, END } ready;

static bool inlet_ended(const inlet *in)
{
    for (size_t i = 0; i < in->n_edges; i++)
        if (!in->edges[i]->ended || in->edges[i]->n) return false;
    return true;
}

/* The edge that a merge port reads next; NULL: it must wait (or all have ended). */
static edge *merge_pick(inlet *in)
{
    if (in->n_edges == 1) return in->edges[0]->n ? in->edges[0] : NULL;
    if (!in->ordered_merge) {
        while (in->merge_at < in->n_edges && in->edges[in->merge_at]->ended && !in->edges[in->merge_at]->n)
            in->merge_at++;
        return in->merge_at < in->n_edges && in->edges[in->merge_at]->n ? in->edges[in->merge_at] : NULL;
    }
    edge *first = NULL;
    for (size_t i = 0; i < in->n_edges; i++) {
        edge *at = in->edges[i];
        if (!at->n) {
            if (!at->ended) return NULL;
            continue;
        }
        if (!first || order_compare(&edge_head(at)->order, &edge_head(first)->order) < 0) first = at;
    }
    return first;
}

/* A tombstone of one branch is no news where another branch of the same stream has the record. */
static bool is_superseded(const inlet *in, const edge *from)
{
    const item *tombstone = edge_head(from);
    for (size_t i = 0; i < in->n_edges; i++) {
        const item *other = edge_head(in->edges[i]);
        if (in->edges[i] != from && other && order_within(&other->order, &tombstone->order) &&
            (other->kind != ITEM_EMPTY || tombstone->kind == ITEM_EMPTY))
            return true;
    }
    return false;
}

static void settle_call(call *c, outcome how, const char *failed_in)
{
    c->outcome = (uint8_t)how;
    c->failed_in = failed_in;
}

/* The value by which records of a port are joined or looked up. Returns NULL, with a reason, if it has none. */
static const char *join_key(rt_node *node, const item *it, char buffer[64], lm_error *err)
{
    engine *e = node->engine;
    if (strcmp(node->def->join_on, "id") == 0) return item_id(it);
    LM_OWN(lm_record) loaded = NULL;
    const lm_record *record = it->record;
    if (!record && e->options.store) {
        worker w = {.engine = e};
        lm_arena_init(&w.arena);
        lm_status status = worker_see(&w, it->ticket ? it->ticket : UINT64_MAX, err);
        if (!status) status = worker_materialise(&w, (item *)(uintptr_t)it, false, 0, &loaded, err);
        worker_done(&w);
        if (status) return NULL;
        record = loaded;
    }
    lm_value value = record ? lm_record_value(record, node->def->join_on) : lm_null();
    if (value.kind == LM_KIND_NULL) {
        LM_FAIL(err, LM_EINPUT, "record \"%s\" has no attribute \"%s\" to be joined on", item_id(it),
                node->def->join_on);
        return NULL;
    }
    char text[64];
    const char *as_text = lm_value_text(value, text);
    snprintf(buffer, 64, "%.63s", as_text);
    return buffer;
}

static void call_dead(call *c, const rt_node *node, lm_status status, const char *text)
{
    c->error = lm_alloc(1, sizeof *c->error);
    if (c->error) lm_fail(c->error, status, NULL, "%s", text);
    c->failed_in = node->def->name;
}

/* An input that is part of no step: a dead letter of its own. */
static void lone_dead(rt_node *node, const char *text)
{
    engine *e = node->engine;
    node->report->in++;
    node->report->dead++;
    e->dead++;
    lm_log(LM_LOG_ERROR, "dead", "node \"%s\": %s", node->def->name, text);
    if (!e->report->first_dead) e->report->first_dead = lm_strdup(text);
}

/* Puts a record of a lookup or join port into the port's table. */
static void table_add(rt_node *node, inlet *in, item *it)
{
    engine *e = node->engine;
    char buffer[64], text[512];
    lm_error err = {0};
    bool by_id = strcmp(node->def->join_on, "id") == 0, record = it->kind == ITEM_RECORD;
    if (!by_id && (it->kind == ITEM_EMPTY || it->kind == ITEM_FAILED)) {
        item_unref(it); /* a tombstone has no attributes: its partners stay unmatched */
        return;
    }
    const char *key = record ? join_key(node, it, buffer, &err) : item_id(it);
    if (!key) {
        lone_dead(node, err.text);
        item_unref(it);
        return;
    }
    if (record && lm_map_has(&in->seen, key)) {
        snprintf(text, sizeof text, "a second record with %s \"%s\" on port \"%s\"", node->def->join_on, key,
                 in->port->name);
        lone_dead(node, text);
        item_unref(it);
        return;
    }
    void *old = NULL;
    if ((record && !lm_map_put(&in->seen, key, in, NULL)) || !lm_map_put(&in->table, key, it, &old)) {
        item_unref(it);
        LM_NOMEM(&e->failure);
        return;
    }
    item_unref(old);
}

/* Reads a lookup port, or the port of a partner until the record with `key` has come. A table that grows past an edge's
 * bound holds records only by what leads to them in the store. */
static void table_read(rt_node *node, inlet *in, const char *key)
{
    engine *e = node->engine;
    uint64_t committed = e->options.store ? lm_store_committed(e->options.store) : 0;
    edge *from = in->edges[0];
    while (from->n && !(key && lm_map_has(&in->table, key)) && !e->failure.status) {
        item *head = edge_head(from);
        if (in->table.n >= e->options.edge_records && head->record && e->options.store) {
            if (head->home_kind != HOME_NONE && head->ticket > committed) return; /* after the next commit */
            item *stub = item_is_safe(head, committed) ? item_stub(head) : NULL;
            if (stub) {
                item_unref(edge_pop(e, from));
                table_add(node, in, stub);
                continue;
            }
        }
        table_add(node, in, edge_pop(e, from));
    }
}

static void broadcast_read(rt_node *node, inlet *in)
{
    engine *e = node->engine;
    while (in->edges[0]->n) {
        item *it = edge_pop(e, in->edges[0]);
        bool better = it->kind != ITEM_EMPTY && (!in->broadcast || in->broadcast->kind == ITEM_FAILED);
        if (better) {
            item_unref(in->broadcast);
            in->broadcast = it;
            continue;
        }
        if (it->kind == ITEM_RECORD || it->kind == ITEM_UNKNOWN) {
            char text[512];
            snprintf(text, sizeof text,
                     "a second record (\"%s\") came to port \"%s\", which serves one record to every step", item_id(it),
                     in->port->name);
            lone_dead(node, text);
        }
        item_unref(it);
    }
}

/* The partners of the head of the primary port. */
static ready find_partners(rt_node *node, const item *head, call *c)
{
    engine *e = node->engine;
    char buffer[64];
    lm_error err = {0};
    bool keyed = false;
    for (unsigned i = 0; i < node->n_inputs; i++)
        keyed |= i != node->primary &&
                 (node->inputs[i].port->kind == LM_PORT_STREAM || node->inputs[i].port->kind == LM_PORT_LOOKUP) &&
                 node->inputs[i].n_edges;
    const char *key = keyed ? join_key(node, head, buffer, &err) : NULL;
    if (keyed && !key) {
        call_dead(c, node, LM_EINPUT, err.text);
        return READY;
    }
    bool joins = false;
    for (unsigned i = 0; i < node->n_inputs; i++)
        joins |= i != node->primary && node->inputs[i].port->kind == LM_PORT_STREAM && node->inputs[i].n_edges;
    if (joins && lm_map_has(&node->inputs[node->primary].seen, key)) {
        char text[512];
        snprintf(text, sizeof text, "a second record with %s \"%s\" on port \"%s\"", node->def->join_on, key,
                 node->inputs[node->primary].port->name);
        call_dead(c, node, LM_EINPUT, text);
        return READY;
    }
    for (unsigned i = 0; i < node->n_inputs; i++) {
        inlet *in = &node->inputs[i];
        if (i == node->primary || !in->n_edges) continue;
        if (in->port->kind == LM_PORT_BROADCAST) broadcast_read(node, in);
        else table_read(node, in, in->port->kind == LM_PORT_STREAM ? key : NULL);
        bool ended = inlet_ended(in);
        item *partner = in->port->kind == LM_PORT_BROADCAST ? in->broadcast : lm_map_get(&in->table, key);
        char text[LM_ERROR_TEXT];
        if (!partner) {
            if (!ended) {
                if (node->def->within_s <= 0 || in->port->kind != LM_PORT_STREAM) return WAIT;
                if (!(node->head_since_s > 0)) node->head_since_s = lm_now_s();
                if (lm_now_s() - node->head_since_s < node->def->within_s) return WAIT;
            }
            if (in->port->kind == LM_PORT_STREAM) {
                settle_call(c, UNMATCHED, NULL);
                return READY;
            }
            if (in->port->kind == LM_PORT_BROADCAST)
                snprintf(text, sizeof text, "no record came to port \"%s\", which serves one to every step",
                         in->port->name);
            else
                snprintf(text, sizeof text, "no record with %s \"%s\" on port \"%s\"", node->def->join_on, key,
                         in->port->name);
            call_dead(c, node, LM_EINPUT, text);
            return READY;
        }
        if (partner->kind == ITEM_FAILED) {
            snprintf(text, sizeof text, "its partner on port \"%s\" (record \"%s\") failed in node \"%s\"",
                     in->port->name, item_id(partner), partner->failed_in ? partner->failed_in : "?");
            call_dead(c, node, LM_EINPUT, text);
            c->blocked = true;
            return READY;
        }
        if (partner->kind == ITEM_EMPTY) {
            settle_call(c, UNMATCHED, NULL);
            return READY;
        }
    }
    /* All are there: take them. */
    for (unsigned i = 0; i < node->n_inputs; i++) {
        inlet *in = &node->inputs[i];
        if (i == node->primary || !in->n_edges) continue;
        item *partner = in->port->kind == LM_PORT_BROADCAST ? item_ref(in->broadcast)
                        : in->port->kind == LM_PORT_LOOKUP  ? item_ref(lm_map_get(&in->table, key))
                                                            : lm_map_remove(&in->table, key);
        c->in[i].items[0] = partner;
        c->in[i].n = 1;
    }
    if (joins && !lm_map_put(&node->inputs[node->primary].seen, key, node, NULL)) LM_NOMEM(&e->failure);
    node->head_since_s = 0;
    return READY;
}

/* A stream node: the head of its first port and the partners of it. */
static ready next_stream(rt_node *node, call *c)
{
    engine *e = node->engine;
    inlet *in = &node->inputs[node->primary];
    edge *from;
    for (;;) {
        from = merge_pick(in);
        if (!from) return inlet_ended(in) ? END : WAIT;
        const item *head = edge_head(from);
        if ((head->kind == ITEM_EMPTY || head->kind == ITEM_FAILED) && in->n_edges > 1 && is_superseded(in, from)) {
            item_unref(edge_pop(e, from));
            continue;
        }
        break;
    }
    item *head = edge_head(from);
    if (head->kind == ITEM_RECORD) {
        if (node->is_sink && e->options.store && !e->plan && head->ticket > lm_store_committed(e->options.store))
            return WAIT;
        if (node->n_inputs > 1) {
            ready state = find_partners(node, head, c);
            if (state != READY) return state;
        }
    }
    c->order = head->order;
    for (size_t w = 0; w < in->n_edges; w++)
        if (in->edges[w] == from) c->merge_port = (uint16_t)w;
    c->in[node->primary].items[0] = edge_pop(e, from);
    c->in[node->primary].n = 1;
    c->id = item_id(head);
    if (head->kind == ITEM_EMPTY) settle_call(c, PASS_EMPTY, NULL);
    else if (head->kind == ITEM_FAILED) settle_call(c, PASS_FAILED, head->failed_in);
    return READY;
}

static ready next_source(rt_node *node, call *c)
{
    const engine *e = node->engine;
    bool limited = e->options.limit && node->next_item >= e->options.limit;
    if (!node->listed || node->busy_listing) return WAIT;
    if (limited || node->next_item == node->n_items) {
        bool endless = node->def->endless && !limited && !e->plan && !node->stop_source;
        return endless ? WAIT : END;
    }
    source_item *s = node->items[node->next_item++];
    c->source = s;
    c->id = s->id;
    c->order = (order){.depth = 1, .at = {(uint32_t)s->number}};
    return READY;
}

/* Takes up to `most` records off a gather port into a call, with the tombstones between them. */
static bool gather_take(rt_node *node, const inlet *in, size_t most, members *ret)
{
    engine *e = node->engine;
    size_t records = 0, n = 0;
    for (size_t w = 0; w < in->n_edges; w++) records += in->edges[w]->n;
    if (most > records) most = records;
    if (most && !(ret->items = lm_alloc(most, sizeof *ret->items))) {
        LM_NOMEM(&e->failure);
        return false;
    }
    for (size_t w = 0; w < in->n_edges; w++)
        while (in->edges[w]->n && n < most) {
            item *it = edge_pop(e, in->edges[w]);
            ret->missing += it->kind == ITEM_FAILED;
            if (it->kind == ITEM_RECORD || it->kind == ITEM_UNKNOWN) ret->items[n++] = it;
            else item_unref(it);
        }
    ret->n = n;
    if (!n && most) ret->items = lm_free(ret->items);
    return true;
}

/* A gather's window: all of it at once, when it is complete. */
static ready next_gather(rt_node *node, call *c)
{
    engine *e = node->engine;
    const lm_node *def = node->def;
    bool ended = true;
    uint64_t records = 0, newest = 0;
    if (node->fired) return END;
    for (unsigned i = 0; i < node->n_inputs; i++)
        for (size_t w = 0; w < node->inputs[i].n_edges; w++) {
            const edge *from = node->inputs[i].edges[w];
            ended &= from->ended;
            records += from->pushed - from->taken;
            if (e->plan) records += from->n; /* what is not known yet */
        }
    bool full = def->window_count && records >= def->window_count;
    if (records && !(node->window_opened_s > 0)) node->window_opened_s = lm_now_s();
    bool late = def->window_wait_s > 0 && records && lm_now_s() - node->window_opened_s >= def->window_wait_s;
    if (!ended && !full && !late) return WAIT;
    if (ended && !records && node->window > 0) return END;
    if (node->is_sink && e->options.store && !e->plan) {
        for (unsigned i = 0; i < node->n_inputs; i++)
            for (size_t w = 0; w < node->inputs[i].n_edges; w++) {
                const edge *from = node->inputs[i].edges[w];
                for (size_t k = 0; k < from->n; k++) {
                    uint64_t ticket = from->ring[(from->head + k) & (from->cap - 1)]->ticket;
                    if (ticket > newest) newest = ticket;
                }
            }
        if (newest > lm_store_committed(e->options.store)) return WAIT;
    }
    for (unsigned i = 0; i < node->n_inputs; i++)
        if (!gather_take(node, &node->inputs[i], full ? def->window_count : SIZE_MAX, &c->in[i])) return WAIT;
    lm_text name;
    lm_text_init(&name);
    if (def->window_all) lm_text_add(&name, "all");
    else lm_text_format(&name, "window-%04llu", (unsigned long long)node->window);
    c->window_id = lm_text_take(&name);
    c->id = c->window_id ? c->window_id : "";
    c->order = (order){.depth = 1, .at = {(uint32_t)node->window++}};
    node->window_opened_s = 0;
    node->fired = def->window_all;
    return READY;
}

/* ---- batches ------------------------------------------------------------------------------------------------------- */

static void append_batch(rt_node *node, batch *b)
{
    if (node->last) node->last->next = b;
    else node->first = b;
    node->last = b;
}

static void give_task(engine *e, batch *b)
{
    b->queued = true;
    b->done = false;
    b->node->running++;
    pthread_mutex_lock(&e->lock);
    b->next_task = NULL;
    if (e->last_task) e->last_task->next_task = b;
    else e->tasks = b;
    e->last_task = b;
    e->n_tasks++;
    pthread_cond_signal(&e->work);
    pthread_mutex_unlock(&e->lock);
}

static bool may_begin(const rt_node *node)
{
    const engine *e = node->engine;
    if (e->stopping || e->failure.status) return false;
    if (e->n_tasks >= 2 * e->n_workers) return false;
    unsigned most = node->def->workers ? node->def->workers : e->n_workers;
    if (node->op->flags & LM_SPANS) most = 1;
    return node->running < most + (node->def->workers ? 0 : 1);
}

static size_t wanted_calls(const rt_node *node)
{
    const engine *e = node->engine;
    if (node->op->flags & LM_BATCH && node->op->batch) return node->op->batch;
    double n = node->cost_s > 0 ? batch_target_s / node->cost_s : 8;
    size_t waiting = node->is_source                       ? node->n_items - node->next_item
                     : node->inputs[node->primary].n_edges ? node->inputs[node->primary].edges[0]->n
                                                           : 1;
    size_t share = (waiting + e->n_workers - 1) / e->n_workers;
    size_t wanted = n < 1 ? 1 : n > MAX_BATCH ? MAX_BATCH : (size_t)n;
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
    batch *b = batch_new(node, 1);
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
    /* A known number of emissions is made in parts side by side; for an unknown one each part waits for the one before. */
    int64_t extent = node->def->extent;
    double n = node->cost_s > 0 ? batch_target_s / node->cost_s : 8;
    uint64_t quota = n < 1 ? 1 : n > MAX_BATCH ? MAX_BATCH : (uint64_t)n;
    if (quota > room) quota = room;
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
        batch *b = batch_new(node, 1);
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
    batch *b = batch_new(node, (unsigned)wanted);
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
    r->would_run += c->would_run;
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

static bool emit_tombstone(rt_node *node, const call *c, unsigned port, item_kind kind)
{
    item *it = item_new(kind, &c->order);
    if (it && !(it->id = lm_strdup(c->id ? c->id : ""))) it = item_unref(it);
    if (!it) {
        LM_NOMEM(&node->engine->failure);
        return false;
    }
    it->failed_in = c->failed_in;
    return push_to(node, port, it);
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
    for (unsigned i = 0; i < c->n_out; i++) {
        emission *out = &b->out[c->first_out + i];
        if (out->port < 32) has |= 1u << out->port;
        if (out->port != LM_ERRORS_PORT) node->report->records++;
        if (e->tap_node == node && e->tap_port == out->port && e->options.tap_fn && out->item->kind == ITEM_RECORD)
            show_tap(node, out->item);
        if (!push_to(node, out->port, lm_take(out->item))) return;
    }
    if (!last) return;
    item_kind kind =
        c->outcome == DEAD || c->outcome == BLOCKED || c->outcome == PASS_FAILED ? ITEM_FAILED : ITEM_EMPTY;
    if (any_before) return;
    for (unsigned port = 0; port < node->n_outputs; port++)
        if (!(has & 1u << port) && port_is_wired(node, port) && !emit_tombstone(node, c, port, kind)) return;
    bool error_emitted = false;
    for (unsigned i = 0; i < c->n_out; i++) error_emitted |= b->out[c->first_out + i].port == LM_ERRORS_PORT;
    if (!error_emitted && port_is_wired(node, LM_ERRORS_PORT)) emit_tombstone(node, c, LM_ERRORS_PORT, ITEM_EMPTY);
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

/* A part of a generator's emissions for one input. The input is counted once: at its last part, or where it failed. */
static void release_part(rt_node *node, batch *b)
{
    call *c = &b->calls[0];
    bool failed = c->outcome == DEAD || c->outcome == BLOCKED || c->outcome == SKIPPED, before = node->gen_any;
    node->in_flight -= b->quota;
    node->report->seconds += b->seconds;
    if (node->gen_active && node->gen_waiting) {
        node->gen_waiting = false;
        if (c->ended || failed || c->outcome == UNKNOWN || c->outcome == STOPPED) {
            b->last_part = true;
            generator_drop(node);
        }
    }
    if (!node->gen_dead) {
        bool last = b->last_part || failed;
        deliver(node, b, c, before, last);
        if (c->n_out && c->outcome == OUTPUT) node->gen_any = true;
        if (last) {
            if (c->outcome == EMPTY && before) c->outcome = OUTPUT;
            count(node, c);
        } else {
            node->report->would_run += c->would_run;
        }
    }
    node->gen_dead |= failed;
    if (b->last_part) node->gen_any = node->gen_dead = false;
}

/* Releases what is finished, oldest first. Returns true if there was any. */
static bool release(rt_node *node)
{
    engine *e = node->engine;
    bool any = false;
    while (node->first && node->first->done) {
        batch *b = node->first;
        node->first = b->next;
        if (!node->first) node->last = NULL;
        if (b->failure.status && !e->failure.status) e->failure = b->failure;
        if (node->is_generator) {
            release_part(node, b);
        } else {
            node->in_flight -= b->n;
            node->report->seconds += b->seconds;
            for (unsigned i = 0; i < b->n && !e->failure.status; i++) {
                deliver(node, b, &b->calls[i], false, true);
                count(node, &b->calls[i]);
            }
        }
        take_files(e, b);
        batch_free(b);
        any = true;
    }
    return any;
}

static void learn_cost(rt_node *node, const batch *b)
{
    size_t calls = 0;
    for (unsigned i = 0; i < b->n; i++) calls += b->calls[i].outcome == OUTPUT || b->calls[i].outcome == EMPTY;
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
    for (unsigned i = 0; i < b->n; i++)
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
        if (b->listing) {
            source_listed(b->node, b);
            continue;
        }
        if (wait_for_retry(b)) continue;
        for (unsigned i = 0; i < b->n; i++)
            if (b->calls[i].outcome == RETRY || b->calls[i].outcome == PENDING) b->calls[i].outcome = STOPPED;
        learn_cost(b->node, b);
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

static void on_fs_event(uv_fs_event_t *handle, const char *name, int events, int status)
{
    (void)name, (void)events, (void)status;
    rt_node *node = handle->data;
    node->relist = true; /* a hint only: the scan is the truth */
}

static void on_rescan(uv_timer_t *timer)
{
    rt_node *node = timer->data;
    node->relist = true;
    if (!node->busy_listing && !node->engine->stopping) {
        node->relist = false;
        node->listed = false;
        sched_pass(node->engine);
    }
}

static double rescan_interval(const rt_node *node)
{
    const json_t *every = json_object_get(node->def->params, "every");
    double seconds = json_is_number(every) ? json_number_value(every) : 30;
    if (json_is_string(every)) lm_parse_duration(json_string_value(every), &seconds);
    return seconds < 0.05 ? 0.05 : seconds;
}

/* Sources that never end: their folders are watched, and scanned again at an interval. */
static void watch_sources(engine *e)
{
    for (size_t i = 0; i < e->n_nodes; i++) {
        rt_node *node = &e->nodes[i];
        if (!node->def || !node->is_source || !node->def->endless || e->plan || e->stopping || node->finished) continue;
        if (node->timer_init || !node->listed) {
            if (node->relist && node->listed && !node->busy_listing && node->timer_init) {
                /* A burst of notifications is one rescan, a moment later. */
                node->relist = false;
                uv_timer_start(&node->timer, on_rescan, 200, (uint64_t)(1e3 * rescan_interval(node)));
            }
            continue;
        }
        uv_timer_init(&e->loop, &node->timer);
        node->timer.data = node;
        node->timer_init = true;
        uv_timer_start(&node->timer, on_rescan, (uint64_t)(1e3 * rescan_interval(node)),
                       (uint64_t)(1e3 * rescan_interval(node)));
        node->watches = lm_alloc(node->n_folders, sizeof *node->watches);
        for (size_t f = 0; node->watches && f < node->n_folders; f++) {
            uv_fs_event_init(&e->loop, &node->watches[f]);
            node->watches[f].data = node;
            uv_fs_event_start(&node->watches[f], on_fs_event, node->folders[f], 0);
        }
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
        lm_log(LM_LOG_TRACE, "sched", "node=%s waiting=%zu in_flight=%u running=%u in=%llu finished=%d", node->def->name, waiting,
               node->in_flight, node->running, (unsigned long long)node->report->in, node->finished);
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
