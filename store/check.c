/* Counting, and checking the structure: pages, rows, and whether the index finds each row. */
#include "store/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* ---- counting ---------------------------------------------------------------------------------------------------- */

static bool count(void *arg, lm_row_kind kind, const lm_digest *digest, lm_view value, uint64_t sequence)
{
    lm_store_stats *stats = arg;
    (void)digest, (void)sequence;
    stats->rows[kind]++;
    stats->row_bytes[kind] += value.size;
    return true;
}

static int add_file(const lm_store *store, const char *below, uint64_t *sum)
{
    LM_OWN(lm_chars) path = lm_folder_path(store->folder, store->now.number, below);
    if (!path) return ENOMEM;
    uint64_t size, on_disk;
    int code = lm_os_file_size(path, &size, &on_disk);
    if (!code) *sum += on_disk;
    return code;
}

lm_status lm_store_stat(lm_store *store, lm_store_stats *ret, lm_error *err)
{
    lm_store_stats stats = {.format = LM_STORE_FORMAT, .longest_put_s = 1e-9 * (double)store->longest_put_ns};
    LM_OWN(lm_snapshot) snapshot = NULL;
    LM_TRY(lm_store_snapshot(store, &snapshot, err));
    LM_TRY(lm_snapshot_rows(snapshot, 0, false, count, &stats, err));
    int code = 0;
    for (int t = 0; !code && t < LM_TABLES; t++) {
        MDB_stat stat;
        code = mdb_stat(t == LM_TABLE_CHECKPOINTS ? snapshot->log : snapshot->index, store->now.tables[t], &stat);
        if (!code) stats.entries[t] = stat.ms_entries;
    }
    if (!code) code = add_file(store, "/log/data.mdb", &stats.file_bytes);
    if (!code) code = add_file(store, "/index/data.mdb", &stats.file_bytes);
    if (code) return lm_store_fail(err, store->folder, "read", code);
    *ret = stats;
    return LM_OK;
}

/* ---- checking ---------------------------------------------------------------------------------------------------- */

typedef struct checking {
    lm_snapshot *snapshot;
    uint64_t rows;
    lm_status status;
    lm_error *err;
} checking;

static bool check_row(void *arg, lm_row_kind kind, const lm_digest *digest, lm_view value, uint64_t sequence)
{
    checking *c = arg;
    const char *folder = c->snapshot->store->folder;
    if (kind < LM_ROW_TENSOR || kind > LM_ROW_RECIPE) {
        c->status = lm_store_damaged(c->err, folder, "row %" PRIu64 " is of unknown kind %d", sequence, (int)kind);
        return false;
    }
    lm_view found;
    c->status = lm_snapshot_find(c->snapshot, kind, digest, &found, c->err);
    if (!c->status && found.data != value.data) {
        char text[65];
        lm_digest_text(text, digest);
        c->status =
            lm_store_damaged(c->err, folder, "row %" PRIu64 " (%.16s...) is not what its index finds", sequence, text);
    }
    c->rows++;
    return !c->status;
}

static bool see_entry(void *arg, lm_view key, lm_view value)
{
    (void)key, (void)value;
    ++*(uint64_t *)arg;
    return true;
}

/* Every digest of the index has its row: as many of them as rows that are indexed. */
static lm_status check_counts(checking *c)
{
    lm_snapshot *s = c->snapshot;
    lm_generation *g = &s->store->now;
    MDB_cursor *cursor;
    MDB_val key, value;
    int code = lm_os_cursor(s->index, g->digests, &cursor);
    if (code) return lm_store_fail(c->err, s->store->folder, "read", code);
    lm_status status = LM_OK;
    for (code = lm_os_cursor_get(cursor, &key, &value, MDB_FIRST); !code && !status;
         code = lm_os_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        uint64_t row;
        lm_view view;
        lm_index_key digest_key;
        if (key.mv_size != sizeof digest_key || value.mv_size != sizeof row) {
            code = MDB_CORRUPTED;
            break;
        }
        memcpy(&row, value.mv_data, sizeof row);
        memcpy(&digest_key, key.mv_data, sizeof digest_key);
        if (row > s->last || lm_pending_find(s->pending, &digest_key, s->last)) continue; /* newer, or replaced since */
        if ((code = lm_generation_row(g, s->log, row, NULL, &view)) == MDB_NOTFOUND)
            status =
                lm_store_damaged(c->err, s->store->folder,
                                 "its index knows row %" PRIu64 ", which its log does not have", lm_row_sequence(row));
        if (code) break;
    }
    mdb_cursor_close(cursor);
    if (status || code == MDB_NOTFOUND || !code) return status;
    return lm_store_fail(c->err, s->store->folder, "read", code);
}

lm_status lm_store_check(lm_store *store, uint64_t *ret_rows, lm_error *err)
{
    bool writing = store->mode == LM_STORE_WRITE;
    if (writing) LM_TRY(lm_writer_pause(store, err));
    lm_status status = lm_verify(store->folder, store->now.number, "log", store->now.log, true, err);
    if (!status) status = lm_verify(store->folder, store->now.number, "index", store->now.index, true, err);
    if (writing) lm_writer_resume(store);
    LM_TRY(status);

    LM_OWN(lm_snapshot) snapshot = NULL;
    LM_TRY(lm_store_snapshot(store, &snapshot, err));
    checking c = {.snapshot = snapshot, .err = err};
    LM_TRY(lm_snapshot_rows(snapshot, 0, false, check_row, &c, err));
    LM_TRY(c.status);
    LM_TRY(check_counts(&c));
    for (lm_table table = 0; table < LM_TABLES; table++) {
        uint64_t n = 0;
        LM_TRY(lm_snapshot_entries(snapshot, table, see_entry, &n, err));
    }
    *ret_rows = c.rows;
    return LM_OK;
}
