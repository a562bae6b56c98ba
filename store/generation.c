/* One generation: the log and its index, open.
 *
 * log: table "rows", (sequence << 3 | kind) -> bytes, digest; table "checkpoints".
 * index: table "digests", 16 bytes -> log key; table "marks"; the small tables. Made from the log, and synced less strictly:
 * with MDB_NOMETASYNC a crash may undo its last transactions, never tear them, and the log still has what they held.
 */
#include "store/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#ifdef LM_SANITIZED
static const size_t MAP_SIZE = (size_t)1 << 36;
#else
static const size_t MAP_SIZE = (size_t)1 << 42;
#endif

enum { SLICE = 65536 }; /* index entries a transaction: their pages stay below LMDB's limit of 131,071 dirty ones */

static const char *const table_names[LM_TABLES] = {
    [LM_TABLE_RUNS] = "runs",
    [LM_TABLE_DEAD] = "dead",
    [LM_TABLE_RECEIPTS] = "receipts",
    [LM_TABLE_FILES] = "files",
    [LM_TABLE_CHECKPOINTS] = "checkpoints",
    [LM_TABLE_META] = "meta",
};

lm_status lm_generation_make(const char *folder, uint64_t number, lm_error *err)
{
    static const char *const below[] = {"", "/log", "/index"};
    for (size_t i = 0; i < sizeof below / sizeof *below; i++) {
        LM_OWN(lm_chars) path = lm_folder_path(folder, number, below[i]);
        if (!path) return LM_NOMEM(err);
        int code = lm_os_mkdir(path);
        if (code) return lm_store_fail(err, folder, "write to", code);
    }
    return LM_OK;
}

/* LMDB reads its pages through a map, where a page beyond the end of the file is a fatal signal: look first. */
static int check_length(MDB_env *env, const char *path)
{
    LM_OWN(lm_chars) file = lm_alloc_raw(strlen(path) + sizeof "/data.mdb");
    if (!file) return ENOMEM;
    strcpy(file, path);
    strcat(file, "/data.mdb");
    uint64_t size, on_disk;
    int code = lm_os_file_size(file, &size, &on_disk);
    if (code) return code;
    MDB_envinfo info;
    MDB_stat stat;
    mdb_env_info(env, &info);
    mdb_env_stat(env, &stat);
    return size / stat.ms_psize < info.me_last_pgno + 1 ? MDB_CORRUPTED : 0;
}

static int env_open(const char *path, unsigned flags, lm_store_mode mode, MDB_env **ret)
{
    MDB_env *env;
    flags |= MDB_NOTLS;
    if (mode == LM_STORE_READ) flags |= MDB_RDONLY;
    int code = lm_os_env_open(path, flags, MAP_SIZE, LM_TABLES + 2, &env);
    if (mode == LM_STORE_READ && (code == EACCES || code == EROFS || code == EPERM))
        code =
            lm_os_env_open(path, flags | MDB_NOLOCK, MAP_SIZE, LM_TABLES + 2, &env); /* no place for readers' marks */
    if (code) return code;
    if ((code = check_length(env, path))) {
        mdb_env_close(env);
        return code;
    }
    if (mode == LM_STORE_WRITE) {
        int dead;
        mdb_reader_check(env, &dead); /* readers that were killed would pin old pages */
    }
    *ret = env;
    return 0;
}

static int open_log_tables(lm_generation *g, bool writing)
{
    MDB_txn *txn;
    unsigned create = writing ? MDB_CREATE : 0;
    int code = lm_os_begin(g->log, writing, &txn);
    if (code) return code;
    code = lm_os_table(txn, "rows", create | MDB_INTEGERKEY, &g->rows);
    if (!code) code = lm_os_table(txn, table_names[LM_TABLE_CHECKPOINTS], create, &g->checkpoints);
    g->tables[LM_TABLE_CHECKPOINTS] = g->checkpoints;
    uint64_t last = 0;
    if (!code) code = lm_generation_last(g, txn, &last);
    g->last_row = lm_row_sequence(last);
    if (!code) return lm_os_commit(txn);
    mdb_txn_abort(txn);
    return code;
}

static int open_index_tables(lm_generation *g, bool writing)
{
    MDB_txn *txn;
    unsigned create = writing ? MDB_CREATE : 0;
    int code = lm_os_begin(g->index, writing, &txn);
    if (code) return code;
    code = lm_os_table(txn, "digests", create, &g->digests);
    if (!code) code = lm_os_table(txn, "marks", create, &g->marks);
    for (int t = 0; !code && t < LM_TABLES; t++)
        if (t != LM_TABLE_CHECKPOINTS) code = lm_os_table(txn, table_names[t], create, &g->tables[t]);
    MDB_stat stat;
    if (!code) code = mdb_stat(txn, g->digests, &stat);
    if (!code) g->n_indexed = stat.ms_entries;
    if (!code) code = lm_generation_mark(g, txn, "indexed", &g->indexed);
    if (!code) code = lm_generation_mark(g, txn, "applied", &g->applied);
    if (!code) return lm_os_commit(txn);
    mdb_txn_abort(txn);
    return code;
}

lm_status lm_generation_open(const char *folder, uint64_t number, lm_store_mode mode, lm_generation *ret, lm_error *err)
{
    lm_generation g = {.number = number};
    LM_OWN(lm_chars) log = lm_folder_path(folder, number, "/log");
    LM_OWN(lm_chars) index = lm_folder_path(folder, number, "/index");
    if (!log || !index) return LM_NOMEM(err);
    bool writing = mode == LM_STORE_WRITE;
    int code = env_open(log, 0, mode, &g.log);
    if (!code) code = open_log_tables(&g, writing);
    if (!code) code = env_open(index, MDB_NOMETASYNC | MDB_NORDAHEAD, mode, &g.index);
    if (!code) code = open_index_tables(&g, writing);
    if (!code && (g.indexed > g.last_row || g.applied > g.last_row)) {
        lm_generation_close(&g);
        return lm_store_damaged(err, folder, "its log ends at row %" PRIu64 ", its index knows rows up to %" PRIu64,
                                g.last_row, g.indexed > g.applied ? g.indexed : g.applied);
    }
    if (code) {
        lm_generation_close(&g);
        return lm_store_fail(err, folder, "open", code);
    }
    *ret = g;
    return LM_OK;
}

void lm_generation_close(lm_generation *g)
{
    if (g->log) mdb_env_close(g->log);
    if (g->index) mdb_env_close(g->index);
    g->log = g->index = NULL;
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

int lm_generation_last(lm_generation *g, MDB_txn *log, uint64_t *ret_key)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int code = lm_os_cursor(log, g->rows, &cursor);
    if (code) return code;
    code = lm_os_cursor_get(cursor, &key, &value, MDB_LAST);
    if (code == MDB_NOTFOUND) *ret_key = 0, code = 0;
    else if (!code && key.mv_size != sizeof *ret_key) code = MDB_CORRUPTED;
    else if (!code) memcpy(ret_key, key.mv_data, sizeof *ret_key);
    mdb_cursor_close(cursor);
    return code;
}

int lm_generation_row(lm_generation *g, MDB_txn *log, uint64_t row, const lm_digest *digest, lm_view *ret)
{
    MDB_val key = {sizeof row, &row}, value;
    int code = lm_os_get(log, g->rows, &key, &value);
    if (code) return code;
    if (value.mv_size < ROW_TRAILER) return MDB_CORRUPTED;
    size_t size = value.mv_size - ROW_TRAILER;
    if (digest && memcmp((const uint8_t *)value.mv_data + size, digest, ROW_TRAILER) != 0) return MDB_NOTFOUND;
    *ret = (lm_view){value.mv_data, size};
    return 0;
}

int lm_generation_find(lm_generation *g, MDB_txn *index, const lm_index_key *wanted, uint64_t *ret)
{
    MDB_val key = {sizeof *wanted, (void *)(uintptr_t)wanted}, value;
    int code = lm_os_get(index, g->digests, &key, &value);
    *ret = 0;
    if (code) return code == MDB_NOTFOUND ? 0 : code;
    if (value.mv_size != sizeof *ret) return MDB_CORRUPTED;
    memcpy(ret, value.mv_data, sizeof *ret);
    return 0;
}

int lm_generation_mark(lm_generation *g, MDB_txn *index, const char *name, uint64_t *ret)
{
    MDB_val key = {strlen(name), (void *)(uintptr_t)name}, value;
    int code = lm_os_get(index, g->marks, &key, &value);
    *ret = 0;
    if (code) return code == MDB_NOTFOUND ? 0 : code;
    if (value.mv_size != sizeof *ret) return MDB_CORRUPTED;
    memcpy(ret, value.mv_data, sizeof *ret);
    return 0;
}

int lm_generation_set_mark(lm_generation *g, MDB_txn *index, const char *name, uint64_t mark)
{
    MDB_val key = {strlen(name), (void *)(uintptr_t)name}, value = {sizeof mark, &mark};
    return lm_os_put(index, g->marks, &key, &value, 0);
}

/* ---- the index --------------------------------------------------------------------------------------------------- */

/* One slice in one transaction. `append`: the table is empty, or all its keys are smaller. */
static int put_slice(lm_generation *g, const lm_index_entry *entries, size_t n, bool append, const uint64_t *mark)
{
    MDB_txn *txn;
    int code = lm_os_begin(g->index, true, &txn);
    if (code) return code;
    MDB_cursor *cursor = NULL;
    code = lm_os_cursor(txn, g->digests, &cursor);
    for (size_t i = 0; !code && i < n; i++) {
        bool again = i + 1 < n && memcmp(&entries[i].key, &entries[i + 1].key, sizeof entries->key) == 0;
        if (again) continue; /* the last of equal keys is the newest */
        MDB_val key = {sizeof entries->key, (void *)(uintptr_t)&entries[i].key};
        MDB_val value = {sizeof entries->row, (void *)(uintptr_t)&entries[i].row};
        code = lm_os_cursor_put(cursor, &key, &value, append ? MDB_APPEND : 0);
    }
    if (cursor) mdb_cursor_close(cursor);
    if (!code && mark) code = lm_generation_set_mark(g, txn, "indexed", *mark);
    MDB_stat stat;
    if (!code) code = mdb_stat(txn, g->digests, &stat);
    if (code) {
        mdb_txn_abort(txn);
        return code;
    }
    code = lm_os_commit(txn);
    if (!code) g->n_indexed = stat.ms_entries;
    return code;
}

int lm_generation_index(lm_generation *g, const lm_index_entry *entries, size_t n, uint64_t indexed)
{
    bool append = g->n_indexed == 0;
    int code = 0;
    for (size_t i = 0; !code && i < n;) {
        size_t end = n - i > SLICE ? i + SLICE : n;
        while (end < n && memcmp(&entries[end - 1].key, &entries[end].key, sizeof entries->key) == 0) end++;
        code = put_slice(g, entries + i, end - i, append, end == n ? &indexed : NULL);
        i = end;
    }
    if (!code) g->indexed = indexed;
    return code;
}

/* ---- what the log has beyond the marks --------------------------------------------------------------------------- */

static bool add_pending(lm_pending *pending, uint64_t row, const MDB_val *value)
{
    lm_digest digest;
    memcpy(&digest, (const uint8_t *)value->mv_data + value->mv_size - ROW_TRAILER, sizeof digest);
    lm_index_key key = lm_index_key_of(lm_row_kind_of(row), &digest);
    if (!lm_pending_reserve(pending, 1)) return false;
    lm_pending_add(pending, &key, row);
    return true;
}

/* Rows after sequence number `after`: journal rows that are not applied yet to `index` (NULL: none), others that are not
 * indexed yet to `pending`. */
static int walk_tail(lm_generation *g, MDB_txn *log, uint64_t after, MDB_txn *index, lm_pending *pending,
                     uint64_t *applied)
{
    MDB_cursor *cursor;
    int code = lm_os_cursor(log, g->rows, &cursor);
    if (code) return code;
    uint64_t first = lm_row_key(after + 1, 0);
    MDB_val key = {sizeof first, &first}, value;
    for (code = lm_os_cursor_get(cursor, &key, &value, MDB_SET_RANGE); !code;
         code = lm_os_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        uint64_t row;
        if (key.mv_size != sizeof row || value.mv_size < ROW_TRAILER) {
            code = MDB_CORRUPTED;
            break;
        }
        memcpy(&row, key.mv_data, sizeof row);
        uint64_t sequence = lm_row_sequence(row);
        if (lm_row_kind_of(row) == ROW_JOURNAL) {
            if (!index || sequence <= g->applied) continue;
            if ((code = lm_table_apply(g, index, value.mv_data, value.mv_size - ROW_TRAILER))) break;
            *applied = sequence;
        } else if (sequence > g->indexed && !add_pending(pending, row, &value)) {
            code = ENOMEM;
            break;
        }
    }
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? 0 : code;
}

int lm_generation_tail(lm_generation *g, MDB_txn *log, uint64_t after, lm_pending *pending)
{
    return walk_tail(g, log, after, NULL, pending, NULL);
}

lm_status lm_generation_catch_up(lm_generation *g, const char *folder, lm_pending *pending, lm_error *err)
{
    MDB_txn *log = NULL, *index = NULL;
    uint64_t applied = g->applied;
    int code = lm_os_begin(g->log, false, &log);
    if (!code) code = lm_os_begin(g->index, true, &index);
    if (!code) code = walk_tail(g, log, g->indexed < applied ? g->indexed : applied, index, pending, &applied);
    if (!code) code = lm_generation_set_mark(g, index, "applied", applied);
    if (log) mdb_txn_abort(log);
    if (index && !code) code = lm_os_commit(index);
    else if (index) mdb_txn_abort(index);
    if (code) return lm_store_fail(err, folder, "open", code);
    g->applied = applied;
    return LM_OK;
}
