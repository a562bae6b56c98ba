/* Garbage collection: what is wanted is copied to a new generation, which then becomes the store.
 *
 * A new log is written from its start to its end, so that its pages lie in order and LMDB never has to search holes. Until
 * the file "current" names the new generation nothing has changed; a half-made one is removed at the next opening.
 */
#include "store/internal.h"

#include "runtime/log.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const size_t SLICE_BYTES = (size_t)64 << 20, JOURNAL_BYTES = (size_t)16 << 20;

/* ---- what is wanted ---------------------------------------------------------------------------------------------- */

typedef struct choice {
    lm_keep_fn keep;
    void *arg;
    uint8_t *wanted; /* a bit a sequence number */
} choice;

static bool choose(void *arg, lm_row_kind kind, const lm_digest *digest, lm_view value, uint64_t sequence)
{
    choice *c = arg;
    if (c->keep(c->arg, kind, digest, value)) c->wanted[sequence / 8] |= (uint8_t)(1u << (sequence % 8));
    return true;
}

static lm_status choose_all(lm_snapshot *snapshot, choice *c, lm_error *err)
{
    static const lm_row_kind order[] = {LM_ROW_STEP, LM_ROW_RECIPE, LM_ROW_ARTIFACT, LM_ROW_TENSOR};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        LM_TRY(lm_snapshot_rows(snapshot, order[i], true, choose, c, err));
    return LM_OK;
}

/* ---- writing the new log ----------------------------------------------------------------------------------------- */

typedef struct copier {
    lm_generation *to;
    MDB_txn *txn;
    MDB_cursor *end;
    uint64_t next;
    size_t bytes; /* in this transaction */
    int code;
    const uint8_t *wanted;
    uint8_t *journal;
    size_t journal_size, journal_capacity;
    lm_table table;
} copier;

static int copier_end(copier *c)
{
    if (!c->txn) return c->code;
    if (c->end) mdb_cursor_close(c->end);
    if (c->code) mdb_txn_abort(c->txn);
    else c->code = lm_os_commit(c->txn);
    c->txn = NULL;
    c->end = NULL;
    if (!c->code) c->to->last_row = c->next - 1;
    return c->code;
}

static int copier_room(copier *c, size_t bytes)
{
    if (c->txn && c->bytes + bytes > SLICE_BYTES) copier_end(c);
    if (!c->code && !c->txn) {
        c->bytes = 0;
        c->code = lm_os_begin(c->to->log, true, &c->txn);
        if (!c->code) c->code = lm_os_cursor(c->txn, c->to->rows, &c->end);
    }
    c->bytes += bytes + 64;
    return c->code;
}

/* The bytes of a row, with their digest behind them. */
static int copy_bytes(copier *c, unsigned kind, const void *bytes, size_t size, size_t zeros)
{
    if (copier_room(c, size + zeros)) return c->code;
    uint64_t row = lm_row_key(c->next, kind);
    MDB_val key = {sizeof row, &row}, value = {size + zeros, NULL};
    c->code = lm_os_cursor_put(c->end, &key, &value, MDB_APPEND | MDB_RESERVE);
    if (c->code) return c->code;
    memcpy(value.mv_data, bytes, size);
    memset((uint8_t *)value.mv_data + size, 0, zeros);
    c->next++;
    return 0;
}

static bool copy_row(void *arg, lm_row_kind kind, const lm_digest *digest, lm_view value, uint64_t sequence)
{
    copier *c = arg;
    (void)digest;
    if (!(c->wanted[sequence / 8] >> (sequence % 8) & 1)) return true;
    return copy_bytes(c, (unsigned)kind, value.data, value.size + ROW_TRAILER, 0) == 0;
}

static int flush_journal(copier *c)
{
    if (c->journal_size) copy_bytes(c, ROW_JOURNAL, c->journal, c->journal_size, ROW_TRAILER);
    c->journal_size = 0;
    return c->code;
}

/* A table's entries become journal rows of the new log; the new index is then made from these. */
static bool copy_entry(void *arg, lm_view key, lm_view value)
{
    copier *c = arg;
    size_t size = lm_journal_size(key.size, value.data, value.size);
    if (c->journal_size && c->journal_size + size > JOURNAL_BYTES && flush_journal(c)) return false;
    if (c->journal_size + size > c->journal_capacity) {
        size_t capacity = c->journal_size + size > JOURNAL_BYTES ? c->journal_size + size : JOURNAL_BYTES;
        uint8_t *grown = lm_realloc(c->journal, capacity, 1);
        if (!grown) {
            c->code = ENOMEM;
            return false;
        }
        c->journal = grown;
        c->journal_capacity = capacity;
    }
    lm_journal_put(c->journal + c->journal_size, c->table, key.data, key.size, value.data, value.size);
    c->journal_size += size;
    return true;
}

/* Checkpoints live in the log's environment: put one by one. */
static bool copy_checkpoint(void *arg, lm_view key, lm_view value)
{
    copier *c = arg;
    c->journal_size = 0;
    if (!copy_entry(c, key, value) || copier_room(c, c->journal_size)) return false;
    c->code = lm_table_apply(c->to, c->txn, c->journal, c->journal_size);
    c->journal_size = 0;
    return !c->code;
}

static lm_status copy_all(lm_snapshot *snapshot, copier *c, lm_error *err)
{
    for (c->table = 0; c->table < LM_TABLES && !c->code; c->table++)
        if (c->table != LM_TABLE_CHECKPOINTS) LM_TRY(lm_snapshot_entries(snapshot, c->table, copy_entry, c, err));
    flush_journal(c);
    c->table = LM_TABLE_CHECKPOINTS;
    if (!c->code) LM_TRY(lm_snapshot_entries(snapshot, c->table, copy_checkpoint, c, err));
    if (!c->code) LM_TRY(lm_snapshot_rows(snapshot, 0, false, copy_row, c, err));
    return LM_OK;
}

static lm_status write_log(lm_snapshot *snapshot, lm_generation *to, const uint8_t *wanted, lm_error *err)
{
    copier c = {.to = to, .next = 1, .wanted = wanted};
    lm_status status = copy_all(snapshot, &c, err);
    if (status && !c.code) c.code = EIO; /* the rest of the slice is not wanted */
    copier_end(&c);
    lm_free(c.journal);
    if (status) return status;
    return c.code ? lm_store_fail(err, snapshot->store->folder, "collect garbage in", c.code) : LM_OK;
}

/* ---- the new generation ------------------------------------------------------------------------------------------ */

static lm_status fill_generation(lm_store *store, lm_generation *to, lm_keep_fn keep, void *arg, lm_pending *pending,
                                 lm_error *err)
{
    LM_OWN(lm_snapshot) snapshot = NULL;
    LM_TRY(lm_snapshot_open(store, true, &snapshot, err));
    LM_OWN(lm_memory) wanted = lm_alloc(lm_row_sequence(snapshot->last) / 8 + 1, 1);
    if (!wanted) return LM_NOMEM(err);
    choice c = {keep, arg, wanted};
    LM_TRY(choose_all(snapshot, &c, err));
    /* Written without waiting for the disk, which is asked once, at the end. */
    mdb_env_set_flags(to->log, MDB_NOSYNC, 1);
    mdb_env_set_flags(to->index, MDB_NOSYNC, 1);
    LM_TRY(write_log(snapshot, to, wanted, err));
    LM_TRY(lm_generation_catch_up(to, store->folder, pending, err));
    int code = lm_os_env_sync(to->log);
    if (!code) code = lm_os_env_sync(to->index);
    mdb_env_set_flags(to->log, MDB_NOSYNC, 0);
    mdb_env_set_flags(to->index, MDB_NOSYNC, 0);
    if (code) return lm_store_fail(err, store->folder, "collect garbage in", code);
    return lm_generation_settle(store->folder, to->number, err);
}

static lm_status collect(lm_store *store, lm_keep_fn keep, void *arg, lm_error *err)
{
    uint64_t number = store->now.number + 1;
    lm_generation to = {.number = number};
    LM_OWN(lm_pending) pending = lm_pending_new();
    if (!pending) return LM_NOMEM(err);
    LM_TRY(lm_folder_remove_generation(store->folder, number, err));
    lm_status status = lm_generation_make(store->folder, number, err);
    if (!status) status = lm_generation_open(store->folder, number, LM_STORE_WRITE, &to, err);
    if (!status) status = fill_generation(store, &to, keep, arg, pending, err);
    if (status) {
        lm_generation_close(&to);
        (void)lm_folder_remove_generation(store->folder, number, NULL);
        return status;
    }
    lm_filter *filter = to.n_indexed ? lm_writer_filter(&to) : NULL;
    status = lm_folder_set_current(store->folder, number, err);
    pthread_mutex_lock(&store->mutex);
    if (status) {
        /* Which of the two the disk will name is not known: nothing more may be written to either. */
        lm_store_fail(&store->failure, store->folder, "finish the collection of garbage in", EIO);
        store->failed = true;
        pthread_mutex_unlock(&store->mutex);
        lm_filter_unref(filter);
        lm_generation_close(&to);
        return status;
    }
    lm_generation former = store->now;
    store->now = to;
    lm_pending *former_pending = store->pending;
    store->pending = lm_take(pending);
    lm_filter_unref(store->filter);
    store->filter = filter;
    store->searches = 0;
    pthread_mutex_unlock(&store->mutex);
    lm_pending_unref(former_pending);
    lm_generation_close(&former);
    if (lm_folder_remove_generation(store->folder, former.number, err)) {
        lm_log(LM_LOG_WARN, "store", "event=old_generation_stays number=%" PRIu64, former.number);
        lm_error_clear(err); /* the next opening removes it */
    }
    return LM_OK;
}

lm_status lm_store_collect(lm_store *store, lm_keep_fn keep, void *arg, lm_error *err)
{
    if (store->mode != LM_STORE_WRITE)
        return LM_FAIL(err, LM_EBUG, "the store \"%s\" is open for reading, and cannot be collected", store->folder);
    LM_TRY(lm_writer_pause(store, err));
    pthread_mutex_lock(&store->mutex);
    size_t snapshots = store->snapshots;
    if (!snapshots) store->collecting = true;
    pthread_mutex_unlock(&store->mutex);
    lm_status status =
        snapshots ? LM_FAIL(err, LM_EBUG, "garbage cannot be collected in \"%s\" while %zu snapshots of it are in use",
                            store->folder, snapshots)
                  : collect(store, keep, arg, err);
    pthread_mutex_lock(&store->mutex);
    if (!snapshots) store->collecting = false;
    pthread_mutex_unlock(&store->mutex);
    lm_writer_resume(store);
    return status;
}
