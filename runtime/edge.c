/* Edges: bounded queues between nodes, owned by the loop thread. */
#include "runtime/engine.h"

#include <string.h>

static parcel *slot(const edge *at, size_t i)
{
    return &at->ring[(at->head + i) & (at->cap - 1)];
}

static bool grow(edge *to)
{
    size_t cap = to->cap ? 2 * to->cap : 16;
    parcel *ring = lm_alloc_raw(cap * sizeof *ring);
    if (!ring) return false;
    for (size_t i = 0; i < to->n; i++) ring[i] = *slot(to, i);
    lm_free(to->ring);
    to->ring = ring;
    to->head = 0;
    to->cap = cap;
    return true;
}

bool edge_push(engine *e, edge *to, const parcel *p)
{
    if (to->to->finished) { /* a join whose first port has ended needs no more partners */
        to->to->report->unmatched += p->kind == ITEM_RECORD;
        item_unref(p->item);
        return true;
    }
    if (to->n == to->cap && !grow(to)) {
        item_unref(p->item);
        return false;
    }
    *slot(to, to->n++) = *p;
    if (p->kind == ITEM_RECORD) {
        to->bytes += p->bytes;
        e->queue_bytes += p->bytes;
    }
    to->pushed += p->kind == ITEM_RECORD || p->kind == ITEM_UNKNOWN;
    return true;
}

item *edge_head(const edge *from)
{
    return from->n ? from->ring[from->head].item : NULL;
}

item *edge_pop(engine *e, edge *from)
{
    const parcel *p = &from->ring[from->head];
    from->head = (from->head + 1) & (from->cap - 1);
    from->n--;
    if (from->spilled_to) from->spilled_to--;
    if (p->kind == ITEM_RECORD) {
        from->bytes -= p->bytes;
        e->queue_bytes -= p->bytes;
    }
    from->taken += p->kind == ITEM_RECORD || p->kind == ITEM_UNKNOWN;
    return p->item;
}

void edge_spill(engine *e, edge *at)
{
    uint64_t committed = e->options.store ? lm_store_committed(e->options.store) : 0;
    while (at->spilled_to < at->n && (at->bytes > e->options.edge_bytes || at->n > e->options.edge_records)) {
        parcel *p = slot(at, at->spilled_to);
        item *it = p->item;
        if (it->record && item_is_safe(it, committed)) {
            item *claim = item_claim(it);
            if (!claim) return;
            at->bytes -= p->bytes;
            e->queue_bytes -= p->bytes;
            p->bytes = 0;
            p->item = claim;
            item_unref(it);
        } else if (it->record && it->home_kind != HOME_NONE) {
            return; /* not on disk yet: look again after the next commit */
        }
        at->spilled_to++;
    }
}

/* in_flight: calls whose results will come to these edges. */
static size_t room_behind(const rt_node *node, unsigned in_flight)
{
    const engine *e = node->engine;
    size_t room = SIZE_MAX;
    for (size_t i = 0; i < node->n_outs; i++) {
        const edge *out = node->outs[i];
        if (out->spill) continue;
        size_t used = out->n + in_flight;
        if (out->bytes >= e->options.edge_bytes || used >= e->options.edge_records) return 0;
        size_t left = e->options.edge_records - used;
        double bytes_left = (double)e->options.edge_bytes - (double)out->bytes - in_flight * node->out_bytes;
        if (node->out_bytes > 0) {
            if (bytes_left <= 0) return in_flight ? 0 : 1;
            double by_bytes = bytes_left / node->out_bytes;
            if (by_bytes < (double)left) left = by_bytes < 1 ? 1 : (size_t)by_bytes;
        }
        if (left < room) room = left;
    }
    return room;
}

rt_node *chain_next(const rt_node *node)
{
    static const double short_s = 2e-5; /* a hand-over costs some 2e-7 s */
    rt_node *next = node->chain;
    return next && next->cost_s > 0 && next->cost_s < short_s ? next : NULL;
}

size_t node_room(const rt_node *node)
{
    size_t room = SIZE_MAX;
    unsigned in_flight = 0;
    for (const rt_node *at = node; at && room; at = chain_next(at)) {
        in_flight += at->in_flight;
        size_t here = room_behind(at, in_flight);
        if (here < room) room = here;
    }
    return room;
}

bool push_to(rt_node *node, const parcel *p)
{
    engine *e = node->engine;
    bool left = true; /* the caller's reference is still to be given to somebody */
    for (size_t i = 0; i < node->n_outs; i++) {
        if (node->outs[i]->from_port != p->port) continue;
        size_t next = i + 1;
        while (next < node->n_outs && node->outs[next]->from_port != p->port) next++;
        left = next < node->n_outs;
        if (left) item_ref(p->item);
        if (!edge_push(e, node->outs[i], p)) {
            LM_NOMEM(&e->failure);
            if (left) item_unref(p->item);
            return false;
        }
        if (node->outs[i]->spill) edge_spill(e, node->outs[i]);
    }
    if (left) item_unref(p->item);
    return true;
}
