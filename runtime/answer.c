/* Answers: calls against the store. What a step gave is found again, or taken and stored. */
#include "runtime/codec.h"
#include "runtime/engine.h"
#include "runtime/log.h"
#include "runtime/text.h"

#include "schemas/lensmill.pb-c.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* Records up to this size lie in their step's row: a small step is one put. */
enum { INLINE_ARTIFACT = 1024 };

/* Unpacking into the worker's arena: nothing to free one by one. */
static void *arena_alloc(void *arena, size_t n)
{
    return lm_arena_data(arena, n, 1);
}

static void arena_free(void *arena, void *p)
{
    (void)arena, (void)p;
}

static Lensmill__Step *unpack_step(worker *w, lm_view view)
{
    ProtobufCAllocator allocator = {arena_alloc, arena_free, &w->arena};
    Lensmill__Step *row = lensmill__step__unpack(&allocator, view.size, view.data);
    return row && row->format <= LM_STORE_FORMAT ? row : NULL;
}

static lm_status find_row(worker *w, const lm_digest *key, Lensmill__Step **ret, lm_error *err)
{
    lm_view view = {NULL, 0};
    *ret = NULL;
    if (!w->snapshot) return LM_OK;
    LM_TRY(lm_snapshot_find(w->snapshot, LM_ROW_STEP, key, &view, err));
    if (view.data && !(*ret = unpack_step(w, view))) w->mend = true;
    return LM_OK;
}

/* ---- from the store ------------------------------------------------------------------------------------------------ */

/* The input item that an output is, if the step passed one on. */
static item *passed_input(rt_node *node, const call *c, const lm_digest *ident)
{
    for (unsigned i = 0; i < node->n_inputs; i++) {
        const members *in = &c->in[i];
        if (in->n == 1 && in->items[0]->known && lm_digest_equal(&in->items[0]->ident, ident)) return in->items[0];
    }
    return NULL;
}

/* An item for the same record at another place of a stream. */
static item *pass_on(const item *from, const order *at, unsigned port)
{
    item *it = item_new(ITEM_RECORD, at);
    if (!it) return NULL;
    it->home_kind = from->home_kind;
    it->port = from->port;
    it->output = from->output;
    it->index = from->index;
    it->known = from->known;
    if (from->known) it->ident = from->ident;
    if (from->home_kind != HOME_NONE) it->home = from->home;
    it->ticket = from->ticket;
    it->record = lm_record_ref(from->record);
    it->bytes = from->bytes;
    it->origin = origin_ref(from->origin);
    if (!it->record && !(it->id = lm_strdup(item_id(from)))) return item_unref(it);
    (void)port;
    return it;
}

/* The items that a stored row stands for. key: of the row. */
static lm_status emit_row(work *k, call *c, const Lensmill__Step *row, const lm_digest *key, uint64_t index,
                          lm_error *err)
{
    rt_node *node = k->b->node;
    origin *made_by = NULL;
    order at = node->is_generator ? order_child(&c->order, index) : c->order;
    for (size_t i = 0; i < row->n_outputs; i++) {
        const Lensmill__Output *output = row->outputs[i];
        lm_digest ident;
        if (output->digest.len != sizeof ident.bytes || output->port >= node->n_outputs) continue;
        memcpy(ident.bytes, output->digest.data, sizeof ident.bytes);
        item *it, *passed = passed_input(node, c, &ident);
        if (passed) {
            it = pass_on(passed, &at, output->port);
        } else if ((it = item_new(ITEM_RECORD, &at))) {
            it->known = true;
            it->ident = ident;
            it->port = (uint8_t)output->port;
            it->index = (uint32_t)index;
            it->output = (uint16_t)i;
            it->home_kind = output->artifact.len ? HOME_ROW : HOME_ARTIFACT;
            it->home = output->artifact.len ? *key : ident;
            if (!made_by) made_by = origin_new(node, c);
            it->origin = origin_ref(made_by);
            it->id = lm_strdup(output->id);
            if (made_by && node->is_generator) made_by->index = index;
            if (!it->id || !it->origin) it = item_unref(it);
        }
        if (!batch_emit(k->b, output->port, it)) {
            origin_unref(made_by);
            return LM_NOMEM(err);
        }
        c->n_out++;
    }
    origin_unref(made_by);
    return LM_OK;
}

/* A row that a node with `cache: none` left names records that are nowhere: to a node that keeps its records it is a miss,
 * and what is computed takes its place. */
static bool is_hollow(const rt_node *node, call *c, const Lensmill__Step *row, uint64_t index)
{
    for (size_t i = 0; i < row->n_outputs && node->writes_artifacts; i++) {
        const Lensmill__Output *output = row->outputs[i];
        if (output->artifact.len || output->digest.len != sizeof(lm_digest)) continue;
        lm_digest ident = ident_virtual(&c->key, output->port, index);
        if (memcmp(ident.bytes, output->digest.data, sizeof ident.bytes) == 0) return c->hollow = true;
    }
    return false;
}

/* Two records must not have one path: the second one is an error. The same one may come again: it is tried once more, or,
 * below a folder that is watched, its file has changed. */
static lm_status claim_path(rt_node *node, const char *path, const call *c, lm_error *err)
{
    char at[128];
    lm_text name;
    lm_text_init(&name);
    lm_text_format(&name, "%s %s", node->def->endless ? "" : order_text(at, &c->order), c->id);
    LM_OWN(lm_chars) mine = lm_text_take(&name);
    if (!mine) return LM_NOMEM(err);
    pthread_mutex_lock(&node->lock);
    const char *other = lm_map_get(&node->paths, path);
    lm_status status = LM_OK;
    if (other && strcmp(other, mine) != 0)
        status = LM_FAIL_HINT(err, LM_EINPUT, "Put {id} into the path.",
                              "record \"%s\" has already been written to \"%s\"", strchr(other, ' ') + 1, path);
    else if (!other && !lm_map_put(&node->paths, path, mine, NULL)) status = LM_NOMEM(err);
    else if (!other) mine = NULL;
    pthread_mutex_unlock(&node->lock);
    return status;
}

/* A file that was written for this key and is still what it was. */
static lm_status find_receipts(work *k, call *c, bool *ret, lm_error *err)
{
    *ret = false;
    for (uint8_t i = 0;; i++) {
        uint8_t key[33];
        memcpy(key, c->key.bytes, 32);
        key[32] = i;
        lm_view view;
        LM_TRY(lm_snapshot_get(k->w->snapshot, LM_TABLE_RECEIPTS, key, sizeof key, &view, err));
        if (!view.data) return LM_OK; /* all were there, if *ret is set */
        ProtobufCAllocator allocator = {arena_alloc, arena_free, &k->w->arena};
        Lensmill__Receipt *receipt = lensmill__receipt__unpack(&allocator, view.size, view.data);
        *ret = false;
        if (!receipt || receipt->format > LM_STORE_FORMAT) return LM_OK;
        struct stat st;
        if (*receipt->path) {
            if (stat(receipt->path, &st) || (uint64_t)st.st_size != receipt->size ||
                (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec != receipt->mtime_ns)
                return LM_OK;
            char *path = lm_strdup(receipt->path);
            if (!path || !lm_grow(&k->b->files, k->b->n_files, &k->b->cap_files, sizeof *k->b->files)) {
                lm_free(path);
                return LM_NOMEM(err);
            }
            k->b->files[k->b->n_files++] = path;
        }
        *ret = true;
        if (i == UINT8_MAX) return LM_OK;
    }
}

/* A letter's name. A generator's is that of the emission that failed: what came before it stands. */
static lm_digest dead_key(const rt_node *node, const call *c)
{
    return node->is_generator ? key_of_index(&c->key, c->at) : c->key;
}

static lm_status find_dead(work *k, call *c, bool *ret, lm_error *err)
{
    *ret = false;
    if (!atomic_load_explicit(&k->w->engine->dead_known, memory_order_relaxed)) return LM_OK;
    lm_view view;
    lm_digest key = dead_key(k->b->node, c);
    LM_TRY(lm_snapshot_get(k->w->snapshot, LM_TABLE_DEAD, &key, sizeof key, &view, err));
    if (!view.data) return LM_OK;
    ProtobufCAllocator allocator = {arena_alloc, arena_free, &k->w->arena};
    Lensmill__DeadLetter *letter = lensmill__dead_letter__unpack(&allocator, view.size, view.data);
    lm_status kind;
    if (!letter || letter->format > LM_STORE_FORMAT || !lm_status_parse(letter->kind, &kind)) return LM_OK;
    if (kind == LM_EIO || kind == LM_ETIMEOUT || kind == LM_EMEMORY || kind == LM_EBUG) {
        c->was_dead = true; /* may have passed */
        return LM_OK;
    }
    lm_error stored = {.status = kind};
    snprintf(stored.text, sizeof stored.text, "%s", letter->error);
    snprintf(stored.hint, sizeof stored.hint, "%s", letter->hint);
    c->cached = true;
    answer_fail(k, c, kind, &stored);
    *ret = true;
    return LM_OK;
}

lm_status answer_find(work *k, call *c, bool *ret, lm_error *err)
{
    rt_node *node = k->b->node;
    *ret = false;
    if (!k->w->snapshot || k->force || k->w->engine->options.fresh) return LM_OK;
    c->first_out = (unsigned)k->b->n_out;
    c->n_out = 0;
    if (node->is_sink) {
        size_t first = k->b->n_files;
        LM_TRY(find_receipts(k, c, ret, err));
        if (*ret) {
            for (size_t i = first; i < k->b->n_files; i++) LM_TRY(claim_path(node, k->b->files[i], c, err));
            c->outcome = OUTPUT;
            c->cached = true;
            return LM_OK;
        }
        return find_dead(k, c, ret, err);
    }
    if (node->writes_rows && !node->is_generator) {
        Lensmill__Step *row;
        LM_TRY(find_row(k->w, &c->key, &row, err));
        if (row && !is_hollow(node, c, row, 0)) {
            LM_TRY(emit_row(k, c, row, &c->key, 0, err));
            c->outcome = c->n_out ? OUTPUT : EMPTY;
            c->cached = *ret = true;
            return LM_OK;
        }
    }
    return node->is_generator ? LM_OK : find_dead(k, c, ret, err);
}

lm_status answer_find_index(work *k, call *c, uint64_t index, bool *ret, bool *ret_ended, lm_error *err)
{
    *ret = *ret_ended = false;
    c->at = index;
    if (!k->w->snapshot || k->force || k->w->engine->options.fresh || !c->has_key) return LM_OK;
    bool dead;
    if (!k->b->node->writes_rows) return find_dead(k, c, &dead, err);
    Lensmill__Step *row;
    lm_digest key = key_of_index(&c->key, index);
    LM_TRY(find_row(k->w, &key, &row, err));
    if (row && !is_hollow(k->b->node, c, row, index)) {
        LM_TRY(emit_row(k, c, row, &key, index, err));
        *ret = true;
        return LM_OK;
    }
    if (k->b->node->def->extent < 0) {
        LM_TRY(find_row(k->w, &c->key, &row, err));
        *ret_ended = row && row->complete && index >= row->count;
    }
    return *ret_ended ? LM_OK : find_dead(k, c, &dead, err);
}

/* Checks bytes against the digest under which they lay. */
static bool is_genuine(lm_view view, const lm_digest *digest)
{
    lm_digest is = lm_digest_of(view.data, view.size);
    return lm_digest_equal(&is, digest);
}

static lm_status not_there(lm_error *err, const char *what)
{
    return LM_FAIL(err, LM_EINPUT, "%s", what);
}

lm_status answer_load(worker *w, const item *it, lm_record **ret, lm_error *err)
{
    lm_view view = {NULL, 0};
    if (!w->snapshot || it->home_kind == HOME_NONE) return not_there(err, "not stored");
    if (it->ticket) LM_TRY(worker_see(w, it->ticket, err));
    if (it->home_kind == HOME_ARTIFACT) {
        LM_TRY(lm_snapshot_find(w->snapshot, LM_ROW_ARTIFACT, &it->home, &view, err));
        if (!view.data) return not_there(err, "the artifact is not in the store");
        if (!is_genuine(view, &it->home)) return not_there(err, "the stored artifact does not have its digest");
        return lm_record_decode((lm_bytes){view.data, view.size}, ret, err);
    }
    Lensmill__Step *row;
    LM_TRY(find_row(w, &it->home, &row, err));
    if (!row || it->output >= row->n_outputs) return not_there(err, "the step is not in the store");
    view = (lm_view){row->outputs[it->output]->artifact.data, row->outputs[it->output]->artifact.len};
    if (!is_genuine(view, &it->ident)) return not_there(err, "the stored artifact does not have its digest");
    return lm_record_decode((lm_bytes){view.data, view.size}, ret, err);
}

static void release_snapshot(void *owner)
{
    lm_snapshot_unref(owner);
}

static lm_status load_tensor(worker *w, const lm_tensor *absent, lm_tensor **ret, lm_error *err)
{
    lm_view view = {NULL, 0};
    if (w->snapshot) LM_TRY(lm_snapshot_find(w->snapshot, LM_ROW_TENSOR, &absent->digest, &view, err));
    if (!view.data && w->engine->options.store) { /* committed since this worker last looked */
        LM_TRY(worker_see(w, UINT64_MAX, err));
        LM_TRY(lm_snapshot_find(w->snapshot, LM_ROW_TENSOR, &absent->digest, &view, err));
    }
    if (!view.data) return not_there(err, "a tensor is not in the store");
    if (!is_genuine(view, &absent->digest)) return not_there(err, "a stored tensor does not have its digest");
    lm_snapshot *held = lm_snapshot_ref(w->snapshot);
    lm_status status = lm_tensor_decode((lm_bytes){view.data, view.size}, release_snapshot, held, ret, err);
    if (status) {
        lm_snapshot_unref(held);
        return status;
    }
    (*ret)->digest = absent->digest;
    atomic_store(&(*ret)->hashed, 2);
    return LM_OK;
}

lm_status answer_load_tensors(worker *w, lm_record **record, lm_error *err)
{
    bool absent = false;
    for (size_t i = 0; i < lm_record_tensor_count(*record); i++)
        absent |= lm_tensor_is_absent(lm_record_tensor_at(*record, i)->tensor);
    if (!absent) return LM_OK;
    LM_OWN(lm_record) full = NULL;
    LM_TRY(lm_record_copy(*record, &full, err));
    for (size_t i = 0; i < lm_record_tensor_count(*record); i++) {
        const lm_named *named = lm_record_tensor_at(*record, i);
        if (!lm_tensor_is_absent(named->tensor)) continue;
        lm_tensor *tensor = NULL;
        LM_TRY_IN(load_tensor(w, named->tensor, &tensor, err), err, "tensor \"%s\"", named->name);
        LM_TRY(lm_record_put(full, named->name, tensor, err));
    }
    lm_record_unref(*record);
    *record = lm_take(full);
    return LM_OK;
}

/* ---- into the store ------------------------------------------------------------------------------------------------ */

static lm_status put_row(work *k, lm_row_kind kind, const lm_digest *digest, const lm_part *parts, size_t n,
                         void (*release)(void *owner), void *owner, lm_error *err)
{
    return (k->replace || k->w->mend ? lm_write_replace_row : lm_write_row)(k->write, kind, digest, parts, n, release,
                                                                            owner, err);
}

static void release_tensor(void *owner)
{
    lm_tensor_unref(owner);
}

static lm_status store_tensors(work *k, const lm_record *record, lm_error *err)
{
    for (size_t i = 0; i < lm_record_tensor_count(record); i++) {
        lm_tensor *tensor = lm_record_tensor_at(record, i)->tensor;
        if (tensor->bytes <= LM_INLINE_TENSOR || lm_tensor_is_absent(tensor)) continue;
        uint8_t prefix[LM_TENSOR_PREFIX];
        size_t n;
        lm_digest digest;
        LM_TRY(lm_tensor_digest(tensor, &digest, err));
        LM_TRY(lm_tensor_prefix(tensor, prefix, &n, err));
        void *copy = lm_write_copy(k->write, prefix, n);
        if (!copy) return LM_NOMEM(err);
        lm_part parts[2] = {{copy, n}, {tensor->data, tensor->bytes}};
        lm_tensor *owner = lm_tensor_ref(tensor);
        lm_status status = put_row(k, LM_ROW_TENSOR, &digest, parts, 2, release_tensor, owner, err);
        if (status) {
            lm_tensor_unref(owner);
            return status;
        }
    }
    return LM_OK;
}

/* Puts a record into the write. A small one is left to its step's row: *ret_inline says so. */
static lm_status store_record(work *k, const lm_record *record, lm_digest *ret, lm_bytes *ret_bytes, bool *ret_inline,
                              lm_error *err)
{
    LM_TRY(lm_record_encode(record, false, &k->w->arena, ret_bytes, err));
    *ret = lm_digest_of(ret_bytes->data, ret_bytes->size);
    LM_TRY(store_tensors(k, record, err));
    *ret_inline = ret_bytes->size <= INLINE_ARTIFACT;
    if (*ret_inline) return LM_OK;
    void *copy = lm_write_copy(k->write, ret_bytes->data, ret_bytes->size);
    if (!copy) return LM_NOMEM(err);
    lm_part part = {copy, ret_bytes->size};
    return put_row(k, LM_ROW_ARTIFACT, ret, &part, 1, NULL, NULL, err);
}

/* What a call's inputs go by, port by port: those that have a name that others can know. */
static lm_status digests_of_inputs(work *k, const call *c, ProtobufCBinaryData **ret, size_t *ret_n, lm_error *err)
{
    const rt_node *node = k->b->node;
    size_t n = 0;
    for (unsigned i = 0; i < node->n_inputs; i++) n += c->in[i].n;
    *ret = lm_arena_alloc(&k->w->arena, n, sizeof **ret);
    if (!*ret) return LM_NOMEM(err);
    *ret_n = 0;
    for (unsigned i = 0; i < node->n_inputs; i++)
        for (size_t j = 0; j < c->in[i].n; j++)
            if (c->in[i].items[j]->known)
                (*ret)[(*ret_n)++] = (ProtobufCBinaryData){sizeof(lm_digest), c->in[i].items[j]->ident.bytes};
    return LM_OK;
}

static lm_status put_step(work *k, call *c, const lm_digest *key, Lensmill__Output **outputs, size_t n_outputs,
                          uint32_t count, bool complete, lm_error *err)
{
    rt_node *node = k->b->node;
    Lensmill__Step row = LENSMILL__STEP__INIT;
    row.format = LM_STORE_FORMAT;
    row.recipe.data = node->recipe.bytes;
    row.recipe.len = sizeof node->recipe.bytes;
    LM_TRY(digests_of_inputs(k, c, &row.inputs, &row.n_inputs, err));
    row.id = (char *)(uintptr_t)c->id;
    if (key != &c->key) row.key = (ProtobufCBinaryData){sizeof c->key.bytes, c->key.bytes};
    row.outputs = outputs;
    row.n_outputs = n_outputs;
    row.seconds = c->seconds;
    row.run = k->w->engine->run;
    row.count = count;
    row.complete = complete;
    size_t size = lensmill__step__get_packed_size(&row);
    void *bytes = lm_write_copy(k->write, NULL, size);
    if (!bytes) return LM_NOMEM(err);
    lensmill__step__pack(&row, bytes);
    lm_part part = {bytes, size};
    c->wrote = true;
    if (c->hollow) return lm_write_replace_row(k->write, LM_ROW_STEP, key, &part, 1, NULL, NULL, err);
    return put_row(k, LM_ROW_STEP, key, &part, 1, NULL, NULL, err);
}

/* One output record becomes an item and, where rows are written, an Output of its row. */
static lm_status take_output(work *k, call *c, lm_step *step, unsigned port, const lm_digest *key, uint16_t number,
                             const order *at, Lensmill__Output *message, lm_error *err)
{
    rt_node *node = k->b->node;
    lm_step_output *output = &step->outputs[port];
    item *it;
    lm_bytes bytes = {NULL, 0};
    bool is_inline = false;
    if (!output->record) { /* it passes its input on */
        const item *from = c->in[node->primary].items[0];
        it = pass_on(from, at, port);
        if (!it) return LM_NOMEM(err);
        if (!it->record && step->inputs[node->primary].record)
            item_take_record(it, lm_record_ref(step->inputs[node->primary].record));
        if (node->spills && it->home_kind == HOME_NONE) {
            lm_digest digest;
            lm_status status = store_record(k, it->record, &digest, &bytes, &is_inline, err);
            if (!status && is_inline) {
                void *copy = lm_write_copy(k->write, bytes.data, bytes.size);
                lm_part part = {copy, bytes.size};
                status = copy ? put_row(k, LM_ROW_ARTIFACT, &digest, &part, 1, NULL, NULL, err) : LM_NOMEM(err);
            }
            if (status) {
                item_unref(it);
                return status;
            }
            it->home_kind = HOME_ARTIFACT;
            it->home = digest;
            c->wrote = true;
            bytes.size = 0;
            is_inline = false;
        }
    } else {
        it = item_new(ITEM_RECORD, at);
        if (!it) return LM_NOMEM(err);
        it->port = (uint8_t)port;
        it->index = (uint32_t)step->index;
        lm_status status = LM_OK;
        if (node->writes_artifacts) {
            status = store_record(k, output->record, &it->ident, &bytes, &is_inline, err);
            it->known = true;
            it->home_kind = is_inline ? HOME_ROW : HOME_ARTIFACT;
            it->home = is_inline ? *key : it->ident;
            it->output = number;
        } else if (node->needs_key) {
            it->known = true;
            it->ident = ident_virtual(&c->key, port, step->index);
        }
        if (!status && node->keeps_origin && !(it->origin = origin_new(node, c))) status = LM_NOMEM(err);
        if (!status && it->origin) it->origin->index = step->index;
        if (status) {
            item_unref(it);
            return status;
        }
        item_take_record(it, lm_take(output->record));
    }
    k->b->made_bytes += it->bytes;
    if (message) {
        lensmill__output__init(message);
        message->port = port;
        message->index = (uint32_t)step->index;
        message->id = (char *)(uintptr_t)item_id(it);
        message->digest = (ProtobufCBinaryData){sizeof it->ident.bytes, it->ident.bytes};
        if (is_inline) message->artifact = (ProtobufCBinaryData){bytes.size, (uint8_t *)(uintptr_t)bytes.data};
    }
    if (!batch_emit(k->b, port, it)) return LM_NOMEM(err);
    c->n_out++;
    return LM_OK;
}

lm_status answer_take(work *k, call *c, lm_step *step, lm_error *err)
{
    rt_node *node = k->b->node;
    lm_digest index_key;
    const lm_digest *key = &c->key;
    const order *at = &c->order;
    order emission;
    if (node->is_generator) {
        emission = order_child(&c->order, step->index);
        at = &emission;
        if (node->needs_key) index_key = key_of_index(&c->key, step->index), key = &index_key;
    }
    if (node->writes_rows || node->writes_artifacts || node->spills) LM_TRY(work_writing(k, err));
    Lensmill__Output *messages = NULL, **list = NULL;
    if (node->writes_rows) {
        messages = lm_arena_alloc(&k->w->arena, step->n_outputs, sizeof *messages);
        list = lm_arena_alloc(&k->w->arena, step->n_outputs, sizeof *list);
        if (!messages || !list) return LM_NOMEM(err);
    }
    uint16_t n = 0;
    for (unsigned port = 0; port < step->n_outputs; port++) {
        if (!step->outputs[port].emitted) continue;
        LM_TRY(take_output(k, c, step, port, key, n, at, messages ? &messages[n] : NULL, err));
        if (list) list[n] = &messages[n];
        n++;
    }
    if (node->writes_rows) LM_TRY(put_step(k, c, key, list, n, 0, false, err));
    return LM_OK;
}

lm_status answer_end(work *k, call *c, uint64_t count, lm_error *err)
{
    c->ended = true;
    if (!k->b->node->writes_rows || k->b->node->def->extent >= 0) return LM_OK;
    LM_TRY(work_writing(k, err));
    return put_step(k, c, &c->key, NULL, 0, (uint32_t)count, true, err);
}

static lm_status put_receipt(work *k, call *c, const char *path, uint8_t number, lm_error *err)
{
    struct stat st = {0};
    if (*path && stat(path, &st)) return LM_FAIL(err, LM_EIO, "cannot read \"%s\" back: %s", path, strerror(errno));
    Lensmill__Receipt receipt = LENSMILL__RECEIPT__INIT;
    receipt.format = LM_STORE_FORMAT;
    receipt.key = (ProtobufCBinaryData){sizeof c->key.bytes, c->key.bytes};
    receipt.path = (char *)(uintptr_t)path;
    receipt.size = (uint64_t)st.st_size;
    receipt.mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    receipt.run = k->w->engine->run;
    receipt.node = (char *)(uintptr_t)k->b->node->def->name;
    receipt.id = (char *)(uintptr_t)c->id;
    size_t size = lensmill__receipt__get_packed_size(&receipt);
    uint8_t *bytes = lm_arena_data(&k->w->arena, size, 1), key[33];
    if (!bytes) return LM_NOMEM(err);
    lensmill__receipt__pack(&receipt, bytes);
    memcpy(key, c->key.bytes, 32);
    key[32] = number;
    return lm_write_entry(k->write, LM_TABLE_RECEIPTS, key, sizeof key, bytes, size, err);
}

lm_status answer_sink(work *k, call *c, lm_step *step, lm_error *err)
{
    rt_node *node = k->b->node;
    for (lm_step_path *file = step->files; file; file = file->next) LM_TRY(claim_path(node, file->path, c, err));
    LM_TRY(lm_step_publish(step, err));
    uint8_t number = 0;
    for (lm_step_path *file = step->files; file; file = file->next) {
        char *path = lm_strdup(file->path);
        if (!path || !lm_grow(&k->b->files, k->b->n_files, &k->b->cap_files, sizeof *k->b->files)) {
            lm_free(path);
            return LM_NOMEM(err);
        }
        k->b->files[k->b->n_files++] = path;
        k->b->n_written++;
    }
    if (!node->needs_key || !k->w->engine->options.store) return LM_OK;
    LM_TRY(work_writing(k, err));
    for (lm_step_path *file = step->files; file && number < UINT8_MAX; file = file->next)
        LM_TRY(put_receipt(k, c, file->path, number++, err));
    if (!number) LM_TRY(put_receipt(k, c, "", 0, err));
    return put_step(k, c, &c->key, NULL, 0, 0, false, err);
}

/* ---- failures ------------------------------------------------------------------------------------------------------ */

lm_status answer_error_record(const lm_record *input, const char *id, const rt_node *node, lm_status status,
                              const char *text, lm_record **ret, lm_error *err)
{
    LM_OWN(lm_record) record = NULL;
    if (input) LM_TRY(lm_record_copy(input, &record, err));
    else LM_TRY(lm_record_new(id, &record, err));
    LM_TRY(lm_record_set(record, "error", lm_text_value(text), NULL, err));
    LM_TRY(lm_record_set(record, "error_kind", lm_text_value(lm_status_name(status)), NULL, err));
    LM_TRY(lm_record_set(record, "node", lm_text_value(node->def->name), NULL, err));
    *ret = lm_take(record);
    return LM_OK;
}

bool wants_errors(const rt_node *node)
{
    for (size_t i = 0; i < node->n_outs; i++)
        if (node->outs[i]->from_port == LM_ERRORS_PORT) return true;
    return false;
}

static lm_status emit_error(work *k, call *c, lm_status kind, const char *text, lm_error *err)
{
    rt_node *node = k->b->node;
    item *input = node->primary < node->n_inputs && c->in[node->primary].n ? c->in[node->primary].items[0] : NULL;
    item *it = item_new(ITEM_RECORD, &c->order);
    if (!it) return LM_NOMEM(err);
    it->port = LM_ERRORS_PORT;
    lm_status status = LM_OK;
    origin *made_by = origin_new(node, c);
    if (!made_by || !(made_by->error = lm_strdup(text)) || !(it->id = lm_strdup(c->id))) {
        origin_unref(made_by);
        item_unref(it);
        return LM_NOMEM(err);
    }
    made_by->is_error = true;
    made_by->error_status = kind;
    it->origin = made_by;
    if (c->has_key) { /* what it depends on: the step that failed, and why */
        lm_hash hash;
        lm_hash_init(&hash);
        lm_hash_add(&hash, &c->key, sizeof c->key);
        lm_hash_add_text(&hash, "error");
        lm_hash_add_text(&hash, node->def->name);
        lm_hash_add_text(&hash, lm_status_name(kind));
        lm_hash_add_text(&hash, text);
        it->ident = lm_hash_finish(&hash);
        it->known = true;
    }
    lm_record *record = NULL;
    if (!input || input->record)
        status = answer_error_record(input ? input->record : NULL, c->id, node, kind, text, &record, err);
    item_take_record(it, record);
    if (status) {
        item_unref(it);
        return status;
    }
    if (!batch_emit(k->b, LM_ERRORS_PORT, it)) return LM_NOMEM(err);
    c->n_out++;
    return LM_OK;
}

/* A key for a step that failed before it had one: its letter is filed under it, and what is on `errors` depends on it. */
static void key_of_failure(work *k, call *c)
{
    rt_node *node = k->b->node;
    bool all_known = true;
    lm_error unreadable = {0};
    for (unsigned i = 0; i < node->n_inputs; i++)
        for (size_t j = 0; j < c->in[i].n; j++) all_known &= c->in[i].items[j]->known;
    if (all_known && !key_of_call(k, c, &unreadable)) return;
    /* Nothing of this chain is stored, or its files cannot be read: it is named by node and record. */
    lm_hash hash;
    lm_hash_init(&hash);
    lm_hash_add(&hash, &node->recipe, sizeof node->recipe);
    lm_hash_add_text(&hash, c->id);
    c->key = lm_hash_finish(&hash);
    c->has_key = all_known;
}

static lm_status bury(work *k, call *c, lm_status kind, const char *text, const char *hint, lm_error *err)
{
    engine *e = k->w->engine;
    rt_node *node = k->b->node;
    if (!e->options.store || e->plan) return LM_OK;
    LM_TRY(work_writing(k, err));
    lm_digest key = dead_key(node, c);
    Lensmill__DeadLetter letter = LENSMILL__DEAD_LETTER__INIT;
    letter.format = LM_STORE_FORMAT;
    letter.key = (ProtobufCBinaryData){sizeof key.bytes, key.bytes};
    letter.graph = (char *)(uintptr_t)e->graph->name;
    letter.node = (char *)(uintptr_t)node->def->name;
    letter.op = (char *)(uintptr_t)node->op->name;
    letter.id = (char *)(uintptr_t)c->id;
    letter.kind = (char *)(uintptr_t)lm_status_name(kind);
    letter.error = (char *)(uintptr_t)text;
    letter.when_s = (uint64_t)time(NULL);
    letter.attempts = c->attempts + 1;
    letter.run = e->run;
    letter.hint = (char *)(uintptr_t)hint;
    LM_TRY(digests_of_inputs(k, c, &letter.inputs, &letter.n_inputs, err));
    size_t size = lensmill__dead_letter__get_packed_size(&letter);
    uint8_t *bytes = lm_arena_data(&k->w->arena, size, 1);
    if (!bytes) return LM_NOMEM(err);
    lensmill__dead_letter__pack(&letter, bytes);
    return lm_write_entry(k->write, LM_TABLE_DEAD, &key, sizeof key, bytes, size, err);
}

void answer_fail(work *k, call *c, lm_status status, const lm_error *failed)
{
    engine *e = k->w->engine;
    rt_node *node = k->b->node;
    const lm_node *def = node->def;
    if (!node->is_generator &&
        c->n_out) { /* outputs of a step that failed half way; a generator's earlier ones stand */
        while (k->b->n_out > c->first_out) item_unref(k->b->out[--k->b->n_out].item);
        c->n_out = 0;
    }
    if (!c->n_out) c->first_out = (unsigned)k->b->n_out;
    c->ended = true;
    if (status == LM_ECANCEL && atomic_load(&e->cancelled)) {
        c->outcome = STOPPED;
        return;
    }
    if (!c->cached && c->attempts < def->retries && def->retry_when & 1u << status) {
        c->attempts++;
        c->outcome = RETRY;
        c->ended = false;
        return;
    }
    c->error = lm_alloc(1, sizeof *c->error);
    if (c->error) {
        *c->error = *failed;
        c->error->status = status;
    }
    c->failed_in = def->name;
    char text[LM_ERROR_TEXT];
    snprintf(text, sizeof text, "%s", failed->text);
    for (char *at = text; (at = strstr(at, "\n  ")); at += 3) at[0] = ' ', memmove(at + 1, at + 3, strlen(at + 3) + 1);
    lm_error err = {0};
    lm_status also = LM_OK;
    c->outcome = DEAD;
    if (def->on_error == LM_ON_ERROR_SKIP) {
        c->outcome = SKIPPED;
        return;
    }
    if (def->on_error == LM_ON_ERROR_STOP) k->b->failure = *failed, k->b->failure.status = status;
    if (!c->has_key) key_of_failure(k, c);
    if (!c->cached) also = bury(k, c, status, text, failed->hint, &err);
    if (!also && wants_errors(node)) also = emit_error(k, c, status, text, &err);
    if (also && !k->b->failure.status) k->b->failure = err;
}
