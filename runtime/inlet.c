/* Inlets: which inputs a node's next step has. Joins, broadcasts, lookups, merges, windows; owned by the loop thread. */
#include "runtime/engine.h"
#include "runtime/log.h"
#include "runtime/text.h"

#include <stdio.h>
#include <string.h>

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

/* A tombstone of one branch is no news where another branch of the same stream has the record, or had it before. */
static bool is_superseded(const inlet *in, const edge *from)
{
    const item *tombstone = edge_head(from);
    if (!in->ordered_merge) return false; /* separate sources: equal order paths are a coincidence */
    if (in->last.depth && order_within(&in->last, &tombstone->order) &&
        (in->last_kind != ITEM_EMPTY || tombstone->kind == ITEM_EMPTY))
        return true;
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
    char text[64], hex[65];
    const char *as_text = lm_value_text(value, text);
    if (strlen(as_text) < 64) {
        snprintf(buffer, 64, "%s", as_text);
    } else { /* its beginning, for people, and what tells it from others that begin so */
        lm_digest digest = lm_digest_of(as_text, strlen(as_text));
        snprintf(buffer, 64, "%.20s... (%.32s)", as_text, lm_digest_text(hex, &digest));
    }
    return buffer;
}

static void call_dead(call *c, const rt_node *node, lm_status status, const char *text)
{
    c->error = lm_alloc(1, sizeof *c->error);
    if (c->error) lm_fail(c->error, status, NULL, "%s", text);
    else LM_NOMEM(&node->engine->failure); /* without its error it would look like a call that has its inputs */
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

/* In a plan, a key of a port's table: one of the partners that are not known yet, whose attributes and ids may be anything. */
static const char anybody[] = "\001";

/* Puts a record of a lookup or join port into the port's table. The first item with a key decides what its partner meets,
 * whenever that one comes: so the result does not depend on which branch is faster. */
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
    if (it->kind == ITEM_UNKNOWN && !lm_map_has(&in->table, anybody)) {
        if (!lm_map_put(&in->table, anybody, it, NULL)) {
            item_unref(it);
            LM_NOMEM(&e->failure);
            return;
        }
        item_ref(it);
    }
    if (it->kind == ITEM_UNKNOWN && !by_id) {
        item_unref(it);
        return;
    }
    const char *key = record ? join_key(node, it, buffer, &err) : item_id(it);
    if (!key) {
        lone_dead(node, err.text);
        item_unref(it);
        return;
    }
    void *before = lm_map_get(&in->seen, key);
    if (before) {
        if (record) {
            snprintf(text, sizeof text, "a second record with %s \"%s\" on port \"%s\"%s", node->def->join_on, key,
                     in->port->name, before == in ? "" : ": the first one was filtered away, or failed");
            lone_dead(node, text);
        }
        item_unref(it);
        return;
    }
    if (!lm_map_put(&in->seen, key, record ? (void *)in : (void *)node, NULL) ||
        !lm_map_put(&in->table, key, it, NULL)) {
        item_unref(it);
        LM_NOMEM(&e->failure);
    }
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
            item *claim = item_is_safe(head, committed) ? item_claim(head) : NULL;
            if (claim) {
                item_unref(edge_pop(e, from));
                table_add(node, in, claim);
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
        if (it->kind == ITEM_RECORD && in->broadcast && in->broadcast->kind == ITEM_RECORD) {
            char text[512];
            snprintf(text, sizeof text,
                     "a second record (\"%s\") came to port \"%s\", which serves one record to every step", item_id(it),
                     in->port->name);
            lone_dead(node, text);
        }
        item_unref(it);
    }
}

static item *get_ref(const lm_map *table, const char *key)
{
    item *it = lm_map_get(table, key);
    return it ? item_ref(it) : NULL;
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
        if (!partner && e->plan && ended && in->port->kind != LM_PORT_BROADCAST)
            partner = lm_map_get(&in->table, anybody);
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
            if (in->port->kind == LM_PORT_BROADCAST && !ended) return WAIT; /* a good one may follow */
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
                        : in->port->kind == LM_PORT_LOOKUP  ? get_ref(&in->table, key)
                                                            : lm_map_remove(&in->table, key);
        if (!partner) partner = get_ref(&in->table, anybody);
        c->in[i].items[0] = partner;
        c->in[i].n = 1;
    }
    if (joins && !lm_map_put(&node->inputs[node->primary].seen, key, node, NULL)) LM_NOMEM(&e->failure);
    return READY;
}

/* The first port has ended: what still comes to the others is looked at all the same, so that a second record is found
 * whichever branch is faster. False: more may come. */
static bool partners_done(rt_node *node)
{
    for (unsigned i = 0; i < node->n_inputs; i++) {
        inlet *in = &node->inputs[i];
        if (i == node->primary || !in->n_edges) continue;
        if (in->port->kind == LM_PORT_BROADCAST) broadcast_read(node, in);
        else table_read(node, in, NULL);
        if (!inlet_ended(in) && !in->edges[0]->from->def->endless) return false;
    }
    return true;
}

/* A stream node: the head of its first port and the partners of it. A record's own memory is left to the worker: that
 * it is one, and that it is on disk, the parcel says. */
ready next_stream(rt_node *node, call *c)
{
    engine *e = node->engine;
    inlet *in = &node->inputs[node->primary];
    edge *from;
    for (;;) {
        from = in->n_edges == 1 && in->edges[0]->n ? in->edges[0] : merge_pick(in);
        if (!from) return inlet_ended(in) && partners_done(node) ? END : WAIT;
        uint8_t kind = from->ring[from->head].kind;
        if (in->n_edges == 1 || (kind != ITEM_EMPTY && kind != ITEM_FAILED) || !is_superseded(in, from)) break;
        item_unref(edge_pop(e, from));
    }
    const parcel *p = &from->ring[from->head];
    item *head = p->item;
    uint8_t kind = p->kind;
    if (kind == ITEM_RECORD) {
        if (node->is_sink && e->options.store && !e->plan && p->ticket > lm_store_committed(e->options.store))
            return WAIT;
        if (node->n_inputs > 1) {
            ready state = find_partners(node, head, c);
            if (state != READY) return state;
            node->head_since_s = 0;
        }
    }
    if (in->n_edges > 1) in->last = head->order, in->last_kind = kind;
    for (size_t w = 1; w < in->n_edges; w++)
        if (in->edges[w] == from) c->merge_port = (uint16_t)w;
    c->in[node->primary].items[0] = edge_pop(e, from);
    c->in[node->primary].n = 1;
    if (kind == ITEM_RECORD && !c->error && c->outcome == PENDING) return READY;
    c->order = order_of_input(node, c);
    c->id = item_id(head);
    if (kind == ITEM_EMPTY) settle_call(c, PASS_EMPTY, NULL);
    else if (kind == ITEM_FAILED) settle_call(c, PASS_FAILED, head->failed_in);
    return READY;
}

ready next_source(rt_node *node, call *c)
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
ready next_gather(rt_node *node, call *c)
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
                    uint64_t ticket = from->ring[(from->head + k) & (from->cap - 1)].ticket;
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
    if (!c->window_id) LM_NOMEM(&e->failure);
    c->id = c->window_id ? c->window_id : "";
    c->order = (order){.depth = 1, .at = {(uint32_t)node->window++}};
    node->window_opened_s = 0;
    node->fired = def->window_all;
    return READY;
}
