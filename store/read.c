/* Snapshots: a read transaction of each environment, and what was pending when they began.
 *
 * The order matters. The pending rows are taken first, the index next, the log last: whatever leaves the pending rows after
 * we took them is in the index we then open or still in those we hold, and the log is never older than either.
 */
#include "store/internal.h"

#include <errno.h>
#include <string.h>

/* LM_STORE_READ: nobody tells us of new rows; what the log has beyond the index is read into pending, each row once. */
static int refresh(lm_store *store, lm_snapshot *s)
{
    lm_generation view = store->now;
    int code = lm_generation_mark(&view, s->index, "indexed", &view.indexed);
    if (code) return code;
    if (view.indexed != store->scanned_from) {
        lm_pending *fresh = lm_pending_new();
        if (!fresh) return ENOMEM;
        lm_pending_unref(store->pending);
        store->pending = fresh;
        store->scanned = store->scanned_from = view.indexed;
    }
    if (lm_row_sequence(s->last) > store->scanned) {
        code = lm_generation_tail(&view, s->log, store->scanned, store->pending);
        if (code) { /* what was added before the failure must not be added again */
            store->scanned_from = UINT64_MAX;
            return code;
        }
        store->scanned = lm_row_sequence(s->last);
    }
    s->pending = lm_pending_ref(store->pending);
    return 0;
}

static int begin(lm_store *store, lm_snapshot *s)
{
    int code = lm_os_begin(store->now.index, false, &s->index);
    if (!code) code = lm_os_begin(store->now.log, false, &s->log);
    if (!code) code = lm_generation_last(&store->now, s->log, &s->last);
    return code;
}

static void end(lm_snapshot *s)
{
    if (s->index) mdb_txn_abort(s->index);
    if (s->log) mdb_txn_abort(s->log);
    lm_pending_unref(s->pending);
    s->index = s->log = NULL;
    s->pending = NULL;
    s->filter = lm_filter_unref(s->filter);
}

static int begin_beside_writer(lm_store *store, lm_snapshot *s)
{
    for (;;) {
        pthread_mutex_lock(&store->mutex);
        s->pending = lm_pending_ref(store->pending);
        s->filter = lm_filter_ref(store->filter);
        pthread_mutex_unlock(&store->mutex);
        int code = begin(store, s);
        pthread_mutex_lock(&store->mutex);
        bool same = store->pending == s->pending;
        pthread_mutex_unlock(&store->mutex);
        if (code || same) return code;
        end(s); /* the index took the pending rows over just now */
    }
}

static int begin_alone(lm_store *store, lm_snapshot *s)
{
    pthread_mutex_lock(&store->mutex);
    int code = begin(store, s);
    if (!code) code = refresh(store, s);
    pthread_mutex_unlock(&store->mutex);
    return code;
}

lm_status lm_snapshot_open(lm_store *store, bool collector, lm_snapshot **ret, lm_error *err)
{
    lm_snapshot *s = lm_alloc(1, sizeof *s);
    if (!s) return LM_NOMEM(err);
    pthread_mutex_lock(&store->mutex);
    bool refused = store->collecting && !collector;
    if (!refused) store->snapshots++;
    pthread_mutex_unlock(&store->mutex);
    if (refused) {
        lm_free(s);
        return LM_FAIL_HINT(err, LM_ESTORE, "Wait until it is done.", "garbage is being collected in the store \"%s\"",
                            store->folder);
    }
    atomic_init(&s->refs, 1);
    s->store = store;
    int code = store->mode == LM_STORE_WRITE ? begin_beside_writer(store, s) : begin_alone(store, s);
    if (code) {
        lm_snapshot_unref(s);
        return lm_store_fail(err, store->folder, "read", code);
    }
    *ret = s;
    return LM_OK;
}

lm_status lm_store_snapshot(lm_store *store, lm_snapshot **ret, lm_error *err)
{
    return lm_snapshot_open(store, false, ret, err);
}

lm_snapshot *lm_snapshot_ref(lm_snapshot *s)
{
    atomic_fetch_add(&s->refs, 1);
    return s;
}

lm_snapshot *lm_snapshot_unref(lm_snapshot *s)
{
    if (!s || atomic_fetch_sub(&s->refs, 1) != 1) return NULL;
    end(s);
    pthread_mutex_lock(&s->store->mutex);
    s->store->snapshots--;
    pthread_mutex_unlock(&s->store->mutex);
    return lm_free(s);
}

lm_status lm_snapshot_find(lm_snapshot *s, lm_row_kind kind, const lm_digest *digest, lm_view *ret, lm_error *err)
{
    lm_generation *g = &s->store->now;
    lm_index_key key = lm_index_key_of((unsigned)kind, digest);
    lm_view view = {NULL, 0};
    uint64_t row = lm_pending_find(s->pending, &key, s->last);
    int code = 0;
    if (!row && (!s->filter || lm_filter_may_hold(s->filter, &key))) code = lm_generation_find(g, s->index, &key, &row);
    if (!code && row && row <= s->last) code = lm_generation_row(g, s->log, row, digest, &view);
    if (code && code != MDB_NOTFOUND) return lm_store_fail(err, s->store->folder, "read", code);
    *ret = view;
    return LM_OK;
}

lm_status lm_snapshot_get(lm_snapshot *s, lm_table table, const void *key, size_t key_size, lm_view *ret, lm_error *err)
{
    lm_view view = {NULL, 0};
    MDB_txn *txn = table == LM_TABLE_CHECKPOINTS ? s->log : s->index;
    int code = lm_table_get(&s->store->now, txn, table, key, key_size, &view);
    if (code && code != MDB_NOTFOUND) return lm_store_fail(err, s->store->folder, "read", code);
    *ret = view;
    return LM_OK;
}

static int walk_rows(unsigned wanted, MDB_cursor *cursor, bool backwards, lm_row_fn fn, void *arg)
{
    MDB_val key, value;
    int code = lm_os_cursor_get(cursor, &key, &value, backwards ? MDB_LAST : MDB_FIRST);
    for (; !code; code = lm_os_cursor_get(cursor, &key, &value, backwards ? MDB_PREV : MDB_NEXT)) {
        uint64_t row;
        if (key.mv_size != sizeof row || value.mv_size < ROW_TRAILER) return MDB_CORRUPTED;
        memcpy(&row, key.mv_data, sizeof row);
        unsigned kind = lm_row_kind_of(row);
        if (kind == ROW_JOURNAL || (wanted && kind != wanted)) continue;
        lm_view view = {value.mv_data, value.mv_size - ROW_TRAILER};
        lm_digest digest;
        memcpy(&digest, (const uint8_t *)value.mv_data + view.size, sizeof digest);
        if (!fn(arg, (lm_row_kind)kind, &digest, view, lm_row_sequence(row))) return 0;
    }
    return code;
}

lm_status lm_snapshot_rows(lm_snapshot *s, lm_row_kind kind, bool backwards, lm_row_fn fn, void *arg, lm_error *err)
{
    MDB_cursor *cursor;
    int code = lm_os_cursor(s->log, s->store->now.rows, &cursor);
    if (!code) {
        code = walk_rows((unsigned)kind, cursor, backwards, fn, arg);
        mdb_cursor_close(cursor);
    }
    if (code && code != MDB_NOTFOUND) return lm_store_fail(err, s->store->folder, "read", code);
    return LM_OK;
}

lm_status lm_snapshot_entries(lm_snapshot *s, lm_table table, lm_entry_fn fn, void *arg, lm_error *err)
{
    MDB_cursor *cursor;
    MDB_txn *txn = table == LM_TABLE_CHECKPOINTS ? s->log : s->index;
    int code = lm_os_cursor(txn, s->store->now.tables[table], &cursor);
    if (code) return lm_store_fail(err, s->store->folder, "read", code);
    MDB_val key, value;
    for (code = lm_os_cursor_get(cursor, &key, &value, MDB_FIRST); !code;
         code = lm_os_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        lm_view whole, bytes;
        if (!lm_table_decode(&key, &value, &whole, &bytes)) code = MDB_CORRUPTED;
        if (code || !fn(arg, whole, bytes)) break;
    }
    mdb_cursor_close(cursor);
    if (code && code != MDB_NOTFOUND) return lm_store_fail(err, s->store->folder, "read", code);
    return LM_OK;
}
