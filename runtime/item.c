/* Items, origins, batches: what lies on edges and goes to workers and back. */
#include "runtime/engine.h"

#include <stdio.h>
#include <string.h>

item *item_new(item_kind kind, const order *at)
{
    item *it = lm_block_take(sizeof *it);
    if (!it) return NULL;
    atomic_init(&it->refs, 1);
    it->kind = (uint8_t)kind;
    it->home_kind = HOME_NONE;
    it->port = 0;
    it->known = false;
    it->output = 0;
    it->index = 0;
    it->order = *at;
    it->bytes = 0;
    it->ticket = 0;
    it->record = NULL;
    it->origin = NULL;
    it->failed_in = NULL;
    it->id = NULL;
    return it; /* the digests are meaningless until `known` and `home_kind` say otherwise */
}

item *item_ref(item *it)
{
    if (it) atomic_fetch_add_explicit(&it->refs, 1, memory_order_relaxed);
    return it;
}

item *item_unref(item *it)
{
    if (!it || (atomic_load_explicit(&it->refs, memory_order_acquire) != 1 &&
                atomic_fetch_sub_explicit(&it->refs, 1, memory_order_acq_rel) != 1))
        return NULL;
    lm_record_unref(it->record);
    origin_unref(it->origin);
    lm_free(it->id);
    lm_block_give(it, sizeof *it);
    return NULL;
}

const char *item_id(const item *it)
{
    if (it->record) return lm_record_id(it->record);
    return it->id ? it->id : "";
}

void item_take_record(item *it, lm_record *take)
{
    it->record = take;
    it->bytes = take ? lm_record_bytes(take) : 0;
}

bool item_is_safe(const item *it, uint64_t committed)
{
    if (!it->record) return false;
    if (it->home_kind != HOME_NONE) return it->ticket <= committed;
    /* A record on `errors` is made again from its input. */
    const origin *o = it->origin;
    return o && o->is_error && (!o->n_in || !o->in[0].n || o->in[0].items[0]->home_kind != HOME_NONE);
}

item *item_claim(const item *it)
{
    item *claim = item_new((item_kind)it->kind, &it->order);
    if (!claim) return NULL;
    claim->home_kind = it->home_kind;
    claim->known = it->known;
    claim->port = it->port;
    claim->output = it->output;
    claim->index = it->index;
    if (it->known) claim->ident = it->ident;
    if (it->home_kind != HOME_NONE) claim->home = it->home;
    claim->ticket = it->ticket;
    claim->origin = origin_ref(it->origin);
    claim->id = lm_strdup(item_id(it));
    return claim->id ? claim : item_unref(claim);
}

origin *origin_ref(origin *o)
{
    if (o) atomic_fetch_add_explicit(&o->refs, 1, memory_order_relaxed);
    return o;
}

origin *origin_unref(origin *o)
{
    if (!o || atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel) != 1) return NULL;
    for (unsigned i = 0; i < o->n_in; i++) {
        for (size_t j = 0; j < o->in[i].n; j++) item_unref(o->in[i].items[j]);
        lm_free(o->in[i].items);
    }
    lm_free(o->error);
    lm_free(o->window_id);
    return lm_free(o);
}

origin *origin_new(rt_node *node, const call *c)
{
    unsigned n_in = c->in ? node->n_inputs : 0;
    origin *o = lm_alloc(1, sizeof *o + n_in * sizeof *o->in);
    if (!o) return NULL;
    atomic_init(&o->refs, 1);
    o->node = node;
    o->n_in = n_in;
    o->source = c->source;
    o->index = c->index;
    if (c->window_id && !(o->window_id = lm_strdup(c->window_id))) return origin_unref(o);
    for (unsigned i = 0; i < n_in; i++) {
        const members *from = &c->in[i];
        if (!from->n) continue;
        if (!(o->in[i].items = lm_alloc(from->n, sizeof *o->in[i].items))) return origin_unref(o);
        o->in[i].missing = from->missing;
        for (size_t j = 0; j < from->n; j++) {
            /* What can be had again is not kept in memory for it. */
            item *it = from->items[j], *kept = it->record && it->home_kind != HOME_NONE ? item_claim(it) : item_ref(it);
            if (!kept) return origin_unref(o);
            o->in[i].items[o->in[i].n++] = kept;
        }
    }
    return o;
}

int order_compare(const order *a, const order *b)
{
    for (uint32_t i = 0; i < a->depth && i < b->depth; i++)
        if (a->at[i] != b->at[i]) return a->at[i] < b->at[i] ? -1 : 1;
    return a->depth == b->depth ? 0 : a->depth < b->depth ? -1 : 1;
}

bool order_within(const order *inner, const order *outer)
{
    if (inner->depth < outer->depth) return false;
    for (uint32_t i = 0; i < outer->depth; i++)
        if (inner->at[i] != outer->at[i]) return false;
    return true;
}

order order_child(const order *parent, uint64_t index)
{
    order child = *parent;
    if (child.depth < MAX_DEPTH) child.at[child.depth++] = (uint32_t)index;
    return child;
}

order order_of_input(const rt_node *node, const call *c)
{
    const inlet *in = &node->inputs[node->primary];
    const order *at = &c->in[node->primary].items[0]->order;
    if (in->n_edges < 2 || in->ordered_merge) return *at;
    order below = {.depth = 1, .at = {c->merge_port}};
    for (uint32_t i = 0; i < at->depth; i++) below = order_child(&below, at->at[i]);
    return below;
}

char *order_text(char buffer[128], const order *o)
{
    size_t n = 0;
    buffer[0] = 0;
    for (uint32_t i = 0; i < o->depth; i++) n += (size_t)snprintf(buffer + n, 128 - n, i ? "/%04u" : "%u", o->at[i]);
    return buffer;
}

/* A batch is one allocation: calls, then their ports, then room for one item a port, then for the outputs. */
batch *batch_new(rt_node *node, unsigned n, size_t outputs)
{
    size_t ports = (size_t)n * node->n_inputs;
    size_t bytes =
        sizeof(batch) + n * sizeof(call) + outputs * sizeof(parcel) + ports * (sizeof(members) + sizeof(item *));
    batch *b = lm_alloc_raw(bytes);
    if (!b) return NULL;
    memset(b, 0, sizeof *b);
    b->bytes = bytes;
    b->node = node;
    members *in = (members *)(void *)(b->calls + n);
    item **slots = (item **)(void *)(in + ports);
    b->out = (parcel *)(void *)(slots + ports); /* more of them: an array of its own */
    b->cap_out = outputs;
    for (unsigned i = 0; i < n; i++) {
        memset(&b->calls[i], 0, offsetof(call, order));
        b->calls[i].in = node->n_inputs ? in + (size_t)i * node->n_inputs : NULL;
        for (unsigned k = 0; k < node->n_inputs; k++)
            b->calls[i].in[k] = (members){slots + (size_t)i * node->n_inputs + k, 0, 0};
    }
    return b;
}

/* Does an array lie in the batch itself? A gather's window, or more outputs than calls, have one of their own. */
static bool is_inside(const batch *b, const void *array)
{
    const char *start = (const char *)b, *at = array;
    return at >= start && at < start + b->bytes;
}

void batch_free(batch *b)
{
    if (b->then) batch_free(b->then);
    for (unsigned i = 0; i < b->n && !b->bare; i++) {
        call *c = &b->calls[i];
        for (unsigned k = 0; c->in && k < b->node->n_inputs; k++) {
            for (size_t j = 0; j < c->in[k].n; j++) item_unref(c->in[k].items[j]);
            if (!is_inside(b, c->in[k].items)) lm_free(c->in[k].items);
        }
        lm_free(c->error);
        lm_free(c->window_id);
    }
    for (size_t i = 0; i < b->n_out; i++) item_unref(b->out[i].item);
    for (size_t i = 0; i < b->n_files; i++) lm_free(b->files[i]);
    lm_free(b->files);
    if (!is_inside(b, b->out)) lm_free(b->out);
    lm_free(b);
}

bool batch_emit(batch *b, unsigned port, item *it)
{
    if (it && b->n_out == b->cap_out) {
        size_t cap = 2 * b->cap_out + 8;
        parcel *grown = lm_alloc_raw(cap * sizeof *grown);
        if (grown) {
            memcpy(grown, b->out, b->n_out * sizeof *grown);
            if (!is_inside(b, b->out)) lm_free(b->out);
            b->out = grown;
            b->cap_out = cap;
        }
    }
    if (!it || b->n_out == b->cap_out) {
        item_unref(it);
        return false;
    }
    b->out[b->n_out++] = (parcel){it, it->bytes, it->ticket, (uint8_t)port, it->kind};
    return true;
}
