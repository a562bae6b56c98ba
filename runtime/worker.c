/* Workers: a batch of calls is answered from the store or by running the operator. */
#include "runtime/codec.h"
#include "runtime/engine.h"
#include "runtime/log.h"
#include "runtime/text.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_RECOMPUTE = 32 };

/* A step under way, with the references that it holds. */
typedef struct job {
    lm_step step;
    worker *w;
    call *c;
    unsigned depth;
    lm_record *held[LM_MAX_PORTS];
} job;

void worker_init(worker *w, engine *e, unsigned number)
{
    *w = (worker){.engine = e, .number = number, .slot = guard_slot_of(e->guard, number)};
    lm_arena_init(&w->arena);
}

void worker_done(worker *w)
{
    for (size_t i = 0; i < w->n_jobs; i++) {
        lm_step_done(&w->jobs[i]->step);
        lm_free(w->jobs[i]);
    }
    lm_free(w->jobs);
    lm_snapshot_unref(w->snapshot);
    lm_arena_done(&w->arena);
}

/* Jobs are used as a stack: members of a micro-batch, then those of recomputations. */
static job *job_take(worker *w)
{
    if (w->used_jobs == w->n_jobs) {
        job *made = lm_alloc(1, sizeof *made);
        if (!made || !lm_grow(&w->jobs, w->n_jobs, &w->cap_jobs, sizeof *w->jobs)) {
            lm_free(made);
            return NULL;
        }
        lm_step_init(&made->step);
        made->w = w;
        w->jobs[w->n_jobs++] = made;
    }
    return w->jobs[w->used_jobs++];
}

static void job_release(job *j)
{
    for (unsigned i = 0; i < j->step.n_inputs; i++) {
        j->step.inputs[i].member = lm_record_unref(j->step.inputs[i].member);
        j->held[i] = lm_record_unref(j->held[i]);
    }
}

static void job_give_back(worker *w)
{
    job_release(w->jobs[--w->used_jobs]);
}

lm_status work_writing(work *k, lm_error *err)
{
    return k->write ? LM_OK : lm_write_new(&k->write, err);
}

static lm_status renew(worker *w, lm_error *err)
{
    lm_store *store = w->engine->options.store;
    if (!store) return LM_OK;
    uint64_t committed = lm_store_committed(store);
    if (w->snapshot && w->snapshot_ticket == committed) return LM_OK;
    w->snapshot = lm_snapshot_unref(w->snapshot);
    LM_TRY(lm_store_snapshot(store, &w->snapshot, err));
    w->snapshot_ticket = committed;
    return LM_OK;
}

lm_status worker_see(worker *w, uint64_t ticket, lm_error *err)
{
    if (w->snapshot_ticket >= ticket && w->snapshot) return LM_OK;
    lm_store *store = w->engine->options.store;
    if (ticket != UINT64_MAX && lm_store_committed(store) < ticket) LM_TRY(lm_store_wait(store, ticket, err));
    return renew(w, err);
}

/* ---- inputs -------------------------------------------------------------------------------------------------------- */

static void run_calls(work *k);

/* Runs the step that made an item again, and takes the item's record from what it gives. */
static lm_status recompute(worker *w, item *it, unsigned depth, lm_record **ret, lm_error *err)
{
    origin *o = it->origin;
    if (!o)
        return LM_FAIL_HINT(err, LM_ESTORE, "Run `lensmill store verify`.", "record \"%s\" is no longer in the store",
                            item_id(it));
    if (depth >= MAX_RECOMPUTE) return LM_FAIL(err, LM_EBUG, "more than %d steps deep to compute again", MAX_RECOMPUTE);
    rt_node *node = o->node;
    batch *b = batch_new(node, 1, 1);
    if (!b) return LM_NOMEM(err);
    b->n = 1;
    call *c = &b->calls[0];
    for (unsigned i = 0; i < o->n_in; i++) {
        members *in = &c->in[i];
        const members *from = &o->in[i];
        if (from->n > 1 && !(in->items = lm_alloc(from->n, sizeof *in->items))) {
            batch_free(b);
            return LM_NOMEM(err);
        }
        for (size_t j = 0; j < from->n; j++) in->items[in->n++] = item_ref(from->items[j]);
        in->missing = from->missing;
    }
    c->order = it->order;
    c->source = o->source;
    c->id = o->source      ? o->source->id
            : o->window_id ? o->window_id
            : node->n_inputs && c->in[node->primary % node->n_inputs].n
                ? item_id(c->in[node->primary % node->n_inputs].items[0])
                : "";
    c->index = it->index;
    c->index_end = it->index + 1;
    LM_TRACE("run", "again=%s node=%s depth=%u", c->id, node->def->name, depth);
    work k = {.w = w, .b = b, .replace = true, .force = true, .depth = depth + 1};
    do run_calls(&k);
    while (c->outcome == RETRY && (c->outcome = PENDING, true)); /* at once: no batch may wait inside a worker */
    lm_status status = LM_OK;
    if (b->failure.status) *err = b->failure, status = b->failure.status;
    else if (c->outcome == STOPPED) status = LM_FAIL(err, LM_ECANCEL, "the run is being stopped");
    else if (c->outcome != OUTPUT && c->error) *err = *c->error, status = c->error->status;
    else {
        status =
            LM_FAIL(err, LM_EBUG, "record \"%s\" did not come again from node \"%s\"", item_id(it), node->def->name);
        for (size_t i = 0; i < b->n_out && status; i++)
            if (b->out[i].port == it->port && b->out[i].item->index == it->index && b->out[i].item->record) {
                *ret = lm_record_ref(b->out[i].item->record);
                status = LM_OK;
            }
    }
    if (k.write) {
        lm_error ignored = {0};
        uint64_t ticket;
        if (status) lm_write_free(k.write);
        else if (lm_store_hand_in(w->engine->options.store, k.write, &ticket, &ignored))
            *err = ignored, status = ignored.status;
    }
    batch_free(b);
    return status;
}

static bool is_loaded(const lm_record *record)
{
    for (size_t i = 0; i < lm_record_tensor_count(record); i++)
        if (lm_tensor_is_absent(lm_record_tensor_at(record, i)->tensor)) return false;
    return true;
}

lm_status worker_materialise(worker *w, item *it, bool tensors, unsigned depth, lm_record **ret, lm_error *err)
{
    if (it->record && (!tensors || is_loaded(it->record))) {
        *ret = lm_record_ref(it->record);
        return LM_OK;
    }
    LM_OWN(lm_record) record = lm_record_ref(it->record);
    lm_error why = {0};
    lm_status status = LM_OK;
    if (!record && it->home_kind != HOME_NONE) status = answer_load(w, it, &record, &why);
    if (!status && record && tensors) status = answer_load_tensors(w, &record, &why);
    if (status == LM_ESTORE || status == LM_EMEMORY || status == LM_EIO) {
        *err = why;
        return status;
    }
    if (status) { /* a stored artifact that is gone or damaged is a miss */
        record = lm_record_unref(record);
        if (it->home_kind == HOME_ROW || !strstr(why.text, "not in the store"))
            lm_log(LM_LOG_WARN, "store", "record \"%s\": %s; it is computed again", item_id(it), why.text);
    }
    if (!record && it->origin && it->origin->is_error) {
        origin *o = it->origin;
        LM_OWN(lm_record) input = NULL;
        unsigned primary = o->node->primary;
        if (primary < o->n_in && o->in[primary].n)
            LM_TRY(worker_materialise(w, o->in[primary].items[0], tensors, depth + 1, &input, err));
        LM_TRY(answer_error_record(input, item_id(it), o->node, o->error_status, o->error, &record, err));
    }
    if (!record) LM_TRY(recompute(w, it, depth, &record, err));
    if (tensors) LM_TRY(answer_load_tensors(w, &record, err));
    *ret = lm_take(record);
    return LM_OK;
}

static lm_status gather_member(void *host, unsigned port, size_t i, lm_record **ret, lm_error *err)
{
    job *j = host;
    return worker_materialise(j->w, j->c->in[port].items[i], !(j->step.op->flags & LM_HEADER), j->depth, ret, err);
}

static lm_status checkpoint_save(void *host, const lm_digest *key, const void *bytes, size_t n, lm_error *err)
{
    job *j = host;
    lm_store *store = j->w->engine->options.store;
    if (!store || !j->c->has_key) return LM_OK;
    j->c->saved = true;
    LM_OWN(lm_write) write = NULL;
    uint64_t ticket;
    LM_TRY(lm_write_new(&write, err));
    LM_TRY(lm_write_entry(write, LM_TABLE_CHECKPOINTS, key, sizeof *key, bytes, n, err));
    LM_TRY(lm_store_hand_in(store, lm_take(write), &ticket, err));
    return LM_OK;
}

static lm_status checkpoint_load(void *host, const lm_digest *key, lm_arena *arena, const void **ret, size_t *ret_n,
                                 lm_error *err)
{
    job *j = host;
    worker *w = j->w;
    if (!w->engine->options.store || !j->c->has_key) return LM_OK;
    LM_TRY(renew(w, err));
    lm_view view;
    LM_TRY(lm_snapshot_get(w->snapshot, LM_TABLE_CHECKPOINTS, key, sizeof *key, &view, err));
    if (!view.data) return LM_OK;
    j->c->saved = true;
    void *copy = lm_arena_data(arena, view.size, 1);
    if (!copy) return LM_NOMEM(err);
    memcpy(copy, view.data, view.size);
    *ret = copy;
    *ret_n = view.size;
    return LM_OK;
}

static const lm_step_host host = {gather_member, checkpoint_save, checkpoint_load};

/* ---- steps --------------------------------------------------------------------------------------------------------- */

static lm_status prepare(work *k, call *c, job *j, lm_error *err)
{
    rt_node *node = k->b->node;
    engine *e = k->w->engine;
    LM_TRY(node_open(node, err));
    lm_step *step = &j->step;
    lm_step_begin(step, node->op, node->self, node->def->params, node->def->name);
    j->c = c;
    j->depth = k->depth;
    step->host = &host;
    step->host_arg = j;
    step->cancelled = &e->cancelled;
    step->id = c->id;
    step->key = c->has_key ? c->told : (lm_digest){{0}};
    if (node->is_source) {
        step->item = c->source->spec;
        return LM_OK;
    }
    bool tensors = !(node->op->flags & LM_HEADER);
    for (unsigned i = 0; i < node->n_inputs; i++) {
        const members *in = &c->in[i];
        if (step->inputs[i].port->kind == LM_PORT_GATHER) {
            step->inputs[i].count = in->n;
            step->inputs[i].missing = in->missing;
        } else if (in->n) {
            const item *it = in->items[0];
            if (it->record && (!tensors || is_loaded(it->record))) { /* the call holds the item, and that the record */
                step->inputs[i].record = it->record;
                continue;
            }
            LM_TRY(worker_materialise(k->w, in->items[0], tensors, k->depth, &j->held[i], err));
            step->inputs[i].record = j->held[i];
        }
    }
    step->merge_port = c->merge_port;
    return node->op->fields ? lm_step_check_inputs(step, err) : LM_OK;
}

static void explain(const work *k, const call *c, lm_error *err)
{
    const lm_node *def = k->b->node->def;
    lm_error_in(err, "node \"%s\" (%s), record \"%s\"", def->name, def->op->name, c->id);
}

static lm_status finish(work *k, call *c, job *j, lm_error *err)
{
    LM_TRY(lm_step_finish(&j->step, err));
    if (k->b->node->is_sink) return answer_sink(k, c, &j->step, err);
    return answer_take(k, c, &j->step, err);
}

/* After a step that went well: the letter of an earlier failure and its checkpoint go. step_key: a generator's is that of an
 * index. */
static lm_status tidy(work *k, call *c, const lm_digest *step_key, lm_error *err)
{
    const engine *e = k->w->engine;
    if (!c->has_key || !e->options.store) return LM_OK;
    bool dead = c->was_dead || (e->options.fresh && atomic_load_explicit(&e->dead_known, memory_order_relaxed));
    if (!dead && !c->saved) return LM_OK;
    LM_TRY(work_writing(k, err));
    const lm_digest *letter = k->b->node->is_generator ? step_key : &c->key;
    if (dead) LM_TRY(lm_write_entry(k->write, LM_TABLE_DEAD, letter, sizeof *letter, NULL, 0, err));
    if (c->saved && !k->b->node->def->length)
        LM_TRY(lm_write_entry(k->write, LM_TABLE_CHECKPOINTS, step_key, sizeof *step_key, NULL, 0, err));
    c->was_dead = c->saved = false;
    return LM_OK;
}

static lm_status settle(work *k, call *c, lm_error *err)
{
    c->outcome = c->n_out || k->b->node->is_sink ? OUTPUT : EMPTY;
    return tidy(k, c, &c->told, err);
}

static void set_deadline(const rt_node *node, lm_step *step)
{
    if (node->def->timeout_s > 0) step->deadline_s = lm_now_s() + node->def->timeout_s;
}

static void run_map(work *k, call *c)
{
    rt_node *node = k->b->node;
    lm_error err; /* clearing all of it would cost more than a small step */
    lm_error_clear(&err);
    job *j = job_take(k->w);
    lm_status status = j ? prepare(k, c, j, &err) : LM_NOMEM(&err);
    if (!status) {
        set_deadline(node, &j->step);
        double began = node->needs_key ? lm_now_s() : 0;
        guard_enter(k->w->slot, &node->recipe, node->def->name, c->id, 0);
        c->would_run = 1;
        status = node->op->step(node->self, &j->step, &err);
        guard_leave(k->w->slot);
        if (node->needs_key) c->seconds = lm_now_s() - began;
        if (!status) status = finish(k, c, j, &err);
        if (status) lm_step_discard(&j->step);
    }
    if (!status) status = settle(k, c, &err);
    if (status) answer_fail(k, c, status, &err);
    if (j) job_give_back(k->w);
}

/* Emissions index .. index_end, or fewer where the end comes first. */
static void run_generator(work *k, call *c)
{
    rt_node *node = k->b->node;
    lm_error err;
    lm_error_clear(&err);
    lm_status status = LM_OK;
    job *j = NULL;
    uint64_t index = c->index;
    for (; index < c->index_end && !status && !c->ended; index++) {
        bool found = false, ended = false;
        status = answer_find_index(k, c, index, &found, &ended, &err);
        if (status || c->outcome != PENDING) break; /* it died here before */
        if (found) continue;
        if (ended) {
            c->ended = true;
            break;
        }
        if (k->w->engine->plan) {
            c->would_run++;
            if (node->def->extent >= 0) {
                plan_emit_index(k, c, index);
                continue;
            }
            c->outcome = UNKNOWN;
            c->ended = true;
            plan_emit(k, c);
            break;
        }
        if (atomic_load_explicit(&k->w->engine->cancelled, memory_order_relaxed) && !k->depth) {
            c->outcome = STOPPED;
            break;
        }
        c->would_run++;
        if (!j) {
            j = job_take(k->w);
            status = j ? prepare(k, c, j, &err) : LM_NOMEM(&err);
            if (status) break;
        } else { /* the same inputs: only the outputs start afresh */
            lm_record *records[LM_MAX_PORTS];
            const unsigned n = j->step.n_inputs;
            for (unsigned i = 0; i < n; i++) records[i] = j->step.inputs[i].record;
            lm_step_begin(&j->step, node->op, node->self, node->def->params, node->def->name);
            for (unsigned i = 0; i < n; i++) j->step.inputs[i].record = records[i];
            j->step.id = c->id;
        }
        j->step.index = index;
        if (c->has_key) j->step.key = key_of_index(&c->key, index);
        set_deadline(node, &j->step);
        double began = node->needs_key ? lm_now_s() : 0;
        guard_enter(k->w->slot, &node->recipe, node->def->name, c->id, index);
        status = node->op->step(node->self, &j->step, &err);
        guard_leave(k->w->slot);
        if (node->needs_key) c->seconds = lm_now_s() - began;
        if (status) break;
        status = lm_step_finish(&j->step, &err);
        if (status) break;
        if (j->step.ended) {
            status = answer_end(k, c, index, &err);
            if (!status) status = tidy(k, c, &j->step.key, &err);
            break;
        }
        status = answer_take(k, c, &j->step, &err);
        if (!status) status = tidy(k, c, &j->step.key, &err);
        if (status) break;
    }
    if (k->w->engine->plan && c->would_run) {
        plan_count_again(c, node->n_inputs);
        if (c->outcome == PENDING && !status) c->outcome = UNKNOWN;
    }
    c->cached = !c->would_run && !status;
    if (j) job_give_back(k->w);
    if (status) answer_fail(k, c, status, &err);
    else if (c->outcome == PENDING) c->outcome = c->n_out ? OUTPUT : EMPTY;
    if (c->outcome != RETRY) c->index_end = index; /* where it stopped */
}

/* Looks a call up, unless its answer is not wanted. true: nothing is left to do for it. */
static bool look_up(work *k, call *c)
{
    rt_node *node = k->b->node;
    engine *e = k->w->engine;
    lm_error err;
    lm_error_clear(&err);
    lm_status status = LM_OK;
    bool found = false;
    c->first_out = (unsigned)k->b->n_out;
    c->n_out = 0;
    c->at = 0;
    if (c->error) { /* the loop found no partner for it */
        err = *c->error;
        c->error = lm_free(c->error);
        answer_fail(k, c, err.status, &err);
        if (c->blocked && c->outcome == DEAD) c->outcome = BLOCKED;
        return true;
    }
    if (c->source && c->source->failed) {
        answer_fail(k, c, c->source->failed->status, c->source->failed);
        return true;
    }
    if (e->plan && plan_any_unknown(c, node->n_inputs)) {
        c->outcome = UNKNOWN;
        c->ended = true;
        plan_emit(k, c);
        return true;
    }
    if (node->needs_key) {
        status = key_of_call(k, c, &err);
        if (!status) status = answer_find(k, c, &found, &err);
    }
    if (!status && !found && guard_suspects(e->guard, &node->recipe, c->id))
        status =
            LM_FAIL_HINT(&err, LM_ECRASH, "Look at the record, mend it or the operator, then `lensmill dead retry`.",
                         "two runs died while this step was under way");
    if (status) {
        answer_fail(k, c, status, &err);
        return true;
    }
    if (!found && e->plan && !node->is_generator) {
        c->would_run = 1;
        c->outcome = UNKNOWN;
        plan_count_again(c, node->n_inputs);
        plan_emit(k, c);
        return true;
    }
    return found;
}

static bool find(work *k, call *c)
{
    bool done = look_up(k, c);
    if (k->w->engine->plan && done) plan_tell(k, c);
    return done;
}

static void run_micro_batch(work *k, call **calls, size_t n)
{
    rt_node *node = k->b->node;
    size_t first = k->w->used_jobs, n_ready = 0;
    job **jobs = lm_arena_alloc(&k->w->arena, n, sizeof *jobs);
    lm_step **steps = lm_arena_alloc(&k->w->arena, n, sizeof *steps);
    lm_status *statuses = lm_arena_alloc(&k->w->arena, n, sizeof *statuses);
    lm_error *errs = lm_arena_alloc(&k->w->arena, n, sizeof *errs);
    if (!jobs || !steps || !statuses || !errs) {
        LM_NOMEM(&k->b->failure);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        lm_error err = {0};
        job *j = job_take(k->w);
        lm_status status = j ? prepare(k, calls[i], j, &err) : LM_NOMEM(&err);
        if (status) {
            answer_fail(k, calls[i], status, &err);
            continue;
        }
        set_deadline(node, &j->step);
        jobs[n_ready] = j;
        steps[n_ready++] = &j->step;
    }
    if (n_ready) {
        double began = lm_now_s();
        guard_enter(k->w->slot, &node->recipe, node->def->name, jobs[0]->c->id, 0);
        node->op->step_batch(node->self, steps, statuses, errs, n_ready);
        guard_leave(k->w->slot);
        double seconds = (lm_now_s() - began) / (double)n_ready;
        for (size_t i = 0; i < n_ready; i++) {
            call *c = jobs[i]->c;
            c->seconds = seconds;
            c->would_run = 1;
            c->first_out = (unsigned)k->b->n_out;
            lm_status status = statuses[i];
            if (!status) status = finish(k, c, jobs[i], &errs[i]);
            if (status) lm_step_discard(&jobs[i]->step);
            if (!status) status = settle(k, c, &errs[i]);
            if (status) answer_fail(k, c, status, &errs[i]);
        }
    }
    while (k->w->used_jobs > first) job_give_back(k->w);
}

/* The inputs of what is done, at once and by the thread that made most of them: their memory is at hand for the next outputs. */
static void let_go(call *c, unsigned n_inputs)
{
    for (unsigned p = 0; p < n_inputs; p++)
        while (c->in[p].n) item_unref(c->in[p].items[--c->in[p].n]);
    c->id = "";
}

static void run_calls(work *k)
{
    rt_node *node = k->b->node;
    engine *e = k->w->engine;
    bool plain = node->n_outputs <= 1 && !wants_errors(node) && !k->depth,
         single = node->n_outputs == 1 && !node->is_generator,
         bare = plain && !node->is_generator && !node->is_gather && !node->is_source;
    bool batched = node->op->flags & LM_BATCH && node->op->step_batch;
    size_t most = node->op->batch ? node->op->batch : MAX_BATCH, n = 0;
    call *waiting[MAX_BATCH];
    if (most > MAX_BATCH) most = MAX_BATCH;
    for (unsigned i = 0; i < k->b->n && !k->b->failure.status; i++) {
        call *c = &k->b->calls[i];
        if (c->outcome != PENDING) continue;
        if (!c->id) { /* a record on the first port */
            c->id = item_id(c->in[node->primary].items[0]);
            c->order = order_of_input(node, c);
        }
        if (atomic_load_explicit(&e->cancelled, memory_order_relaxed) && !k->depth) {
            c->outcome = STOPPED;
            continue;
        }
        if (find(k, c)) {
        } else if (batched) {
            waiting[n++] = c;
            if (n == most) run_micro_batch(k, waiting, n), n = 0;
        } else if (node->is_generator) {
            run_generator(k, c);
            if (e->plan) plan_tell(k, c);
        } else {
            run_map(k, c);
        }
        if (bare && c->outcome == OUTPUT) let_go(c, node->n_inputs);
    }
    if (n) run_micro_batch(k, waiting, n);
    k->b->bare = bare;
    for (unsigned i = 0; i < k->b->n; i++) {
        call *c = &k->b->calls[i];
        if (c->error && c->outcome != PENDING) explain(k, c, c->error);
        single &= c->outcome == OUTPUT && c->n_out == 1 && c->first_out == i; /* a micro-batch mixes them */
        k->b->n_cached += c->cached;
        k->b->bare &= c->outcome == OUTPUT && !c->error;
        if (bare && c->outcome == OUTPUT) let_go(c, node->n_inputs); /* of a micro-batch */
    }
    k->b->plain = plain && single;
    if (k->b->plain && !node->n_outs && node->engine->tap_node != node) /* nobody waits for them */
        while (k->b->n_out) item_unref(k->b->out[--k->b->n_out].item);
}

/* ---- sources ------------------------------------------------------------------------------------------------------- */

struct lm_items {
    rt_node *node;
    source_item **items;
    size_t n, cap;
    char **folders;
    size_t n_folders, cap_folders;
};

static source_item *item_free(source_item *s)
{
    if (!s) return NULL;
    for (size_t i = 0; i < s->n_files; i++) lm_free(s->files[i]);
    lm_free(s->files);
    lm_free(s->id);
    lm_free(s->spec);
    lm_free(s->failed);
    return lm_free(s);
}

static lm_status add_item(lm_items *items, const char *id, const char *spec, const char *const *files, size_t n_files,
                          const lm_error *failed, lm_error *err)
{
    source_item *s = lm_alloc(1, sizeof *s);
    if (!s) return LM_NOMEM(err);
    bool made = (s->id = lm_strdup(id)) && (s->spec = lm_strdup(spec)) &&
                (s->files = lm_alloc(n_files, sizeof *s->files)) &&
                (!failed || (s->failed = lm_alloc(1, sizeof *s->failed)));
    for (size_t i = 0; i < n_files && made; i++) made = (s->files[s->n_files++] = lm_strdup(files[i]));
    if (made && failed) *s->failed = *failed;
    if (!made || !lm_grow(&items->items, items->n, &items->cap, sizeof *items->items)) {
        item_free(s);
        return LM_NOMEM(err);
    }
    items->items[items->n++] = s;
    return LM_OK;
}

lm_status lm_items_add(lm_items *items, const char *id, const char *spec, const char *const *files, size_t n_files,
                       lm_error *err)
{
    return add_item(items, id, spec, files, n_files, NULL, err);
}

lm_status lm_items_fail(lm_items *items, const char *id, const lm_error *why, lm_error *err)
{
    return add_item(items, id, "", NULL, 0, why, err);
}

lm_status lm_items_watch(lm_items *items, const char *folder, lm_error *err)
{
    for (size_t i = 0; i < items->n_folders; i++)
        if (strcmp(items->folders[i], folder) == 0) return LM_OK;
    char *copy = lm_strdup(folder);
    if (!copy || !lm_grow(&items->folders, items->n_folders, &items->cap_folders, sizeof *items->folders)) {
        lm_free(copy);
        return LM_NOMEM(err);
    }
    items->folders[items->n_folders++] = copy;
    return LM_OK;
}

/* What its files held earlier in this run says nothing of what they hold now. */
static void forget_files(engine *e, const source_item *s)
{
    pthread_mutex_lock(&e->files_lock);
    for (size_t f = 0; f < s->n_files; f++) lm_free(lm_map_remove(&e->file_digests, s->files[f]));
    pthread_mutex_unlock(&e->files_lock);
}

/* Items of a rescan that are new, by id, spec and the files' size and time. The loop thread does not touch the node's items
 * while a listing is under way. */
static lm_status keep_new(rt_node *node, lm_items *items, lm_error *err)
{
    for (size_t i = 0; i < items->n; i++) {
        source_item *s = items->items[i];
        lm_text key;
        lm_text_init(&key);
        lm_text_format(&key, "%s\n%s", s->id, s->spec);
        for (size_t f = 0; f < s->n_files && node->op->flags & LM_ENDLESS; f++) {
            struct stat st = {0};
            if (stat(s->files[f], &st)) continue;
            lm_text_format(&key, "\n%s %lld %lld.%09ld", s->files[f], (long long)st.st_size,
                           (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
        }
        bool failed = key.failed, known = !failed && lm_map_has(&node->known_items, lm_text_peek(&key));
        if (!failed && !known)
            failed = !lm_map_put(&node->known_items, lm_text_peek(&key), node, NULL) ||
                     !lm_grow(&node->items, node->n_items, &node->cap_items, sizeof *node->items);
        if (!failed && !known) {
            s->number = node->n_items;
            node->items[node->n_items++] = lm_take(items->items[i]);
            if (node->op->flags & LM_ENDLESS) forget_files(node->engine, s);
        }
        lm_text_done(&key);
        if (failed) return LM_NOMEM(err);
    }
    return LM_OK;
}

static void list_source(work *k)
{
    rt_node *node = k->b->node;
    lm_items items = {.node = node};
    lm_error *err = &k->b->failure;
    lm_status status = node_open(node, err);
    if (!status) status = node->op->list(node->self, &items, err);
    if (!status && !node->known_items.capacity && !(node->op->flags & LM_ENDLESS)) {
        /* The one and only list: no need to compare. */
        node->items = items.items;
        node->n_items = node->cap_items = items.n;
        for (size_t i = 0; i < items.n; i++) items.items[i]->number = i;
        items.items = NULL;
        items.n = 0;
    } else if (!status) {
        status = keep_new(node, &items, err);
    }
    if (status) {
        err->status = status;
        lm_error_in(err, "node \"%s\" (%s)", node->def->name, node->op->name);
    }
    for (size_t i = 0; i < items.n; i++) item_free(items.items[i]);
    lm_free(items.items);
    for (size_t i = 0; i < items.n_folders; i++) {
        size_t known = 0;
        while (known < node->n_folders && strcmp(node->folders[known], items.folders[i]) != 0) known++;
        if (!status && known == node->n_folders &&
            lm_grow(&node->folders, node->n_folders, &node->cap_folders, sizeof *node->folders))
            node->folders[node->n_folders++] = lm_take(items.folders[i]);
        lm_free(items.folders[i]);
    }
    lm_free(items.folders);
}

void source_items_free(rt_node *node)
{
    for (size_t i = 0; i < node->n_items; i++) item_free(node->items[i]);
    lm_free(node->items);
    for (size_t i = 0; i < node->n_folders; i++) lm_free(node->folders[i]);
    lm_free(node->folders);
}

/* ---- the batch ----------------------------------------------------------------------------------------------------- */

/* Is all that a batch made one record after the other on the one port? */
static bool may_go_on(const batch *b)
{
    return b->node->is_generator ? b->calls[0].outcome == OUTPUT && b->n_out : b->plain;
}

/* Goes on with what a batch made, node by node, while each call of it gave its one record. Where one did not, or memory
 * fails, the loop thread sends what there is over the edge, and the rest of the way is as without a chain. */
static void run_chain(work *k)
{
    batch *head = k->b;
    unsigned links = head->links;
    for (batch *b = head; links && may_go_on(b) && !b->failure.status; b = b->then, links--) {
        double began = lm_now_s();
        unsigned n = (unsigned)b->n_out;
        batch *next = batch_new(b->node->chain, n, n);
        if (!next) break;
        next->n = n;
        for (unsigned i = 0; i < n; i++) {
            members *in = &next->calls[i].in[next->node->primary];
            in->items[0] = b->out[i].item;
            in->n = 1;
        }
        b->n_out = 0;
        k->b = b->then = next;
        run_calls(k);
        next->seconds = lm_now_s() - began;
    }
    k->b = head;
}

void worker_run(worker *w, batch *b)
{
    engine *e = w->engine;
    work k = {.w = w, .b = b, .replace = e->options.fresh};
    double began = lm_now_s();
    w->mend = false;
    if (w->arena.first) lm_arena_reset(&w->arena);
    lm_error err = {0};
    if (renew(w, &err)) {
        b->failure = err;
        return;
    }
    if (b->listing) {
        list_source(&k);
        return;
    }
    run_calls(&k);
    b->seconds = lm_now_s() - began;
    run_chain(&k);
    if (k.write) {
        uint64_t ticket = 0;
        if (lm_store_hand_in(e->options.store, k.write, &ticket, &err)) {
            if (!b->failure.status) b->failure = err;
            b->failure.status = b->failure.status ? b->failure.status : LM_ESTORE;
        }
        for (unsigned i = 0; i < b->n; i++)
            for (unsigned o = 0; b->calls[i].wrote && o < b->calls[i].n_out; o++) {
                parcel *out = &b->out[b->calls[i].first_out + o];
                if (b->calls[i].first_out + o >= b->n_out) break; /* nobody waited for it: it is gone */
                if (out->item->home_kind != HOME_NONE && out->item->record) out->ticket = out->item->ticket = ticket;
            }
    }
    if (!b->then) b->seconds = lm_now_s() - began;
}
