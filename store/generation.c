/* One generation: the log and its index, open.
 *
 * log: table "rows", (sequence << 3 | kind) -> bytes, digest; table "checkpoints".
 * index: table "digests", 16 bytes -> log key; table "marks"; the small tables. Made from the log, and synced less strictly:
 * with MDB_NOMETASYNC a crash may undo its last transactions, never tear them, and the log still has what they held.
 */
#include "store/internal.h"

#include "runtime/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#ifdef LM_SANITIZED
static const size_t MAP_SIZE = (size_t)1 << 36;
#else
static const size_t MAP_SIZE = (size_t)1 << 42;
#endif

enum { MANY = 1 << 16 }; /* rows without any index: it is made at once */
enum { SLICE = 65536 };  /* index entries a transaction: their pages stay below LMDB's limit of 131,071 dirty ones */

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

lm_status lm_generation_settle(const char *folder, uint64_t number, lm_error *err)
{
    static const char *const below[] = {"/log", "/index", ""};
    for (size_t i = 0; i < sizeof below / sizeof *below; i++) {
        LM_OWN(lm_chars) path = lm_folder_path(folder, number, below[i]);
        if (!path) return LM_NOMEM(err);
        int code = lm_os_sync_folder(path);
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

/* LMDB writes its readers' marks through a map of this file: on a full disk that must not be a fatal signal. */
static int allocate_lock(const char *path)
{
    LM_OWN(lm_chars) file = lm_alloc_raw(strlen(path) + sizeof "/lock.mdb");
    if (!file) return ENOMEM;
    strcpy(file, path);
    strcat(file, "/lock.mdb");
    int fd, code = lm_os_open(file, O_RDWR | O_CREAT, &fd);
    if (code) return code;
    code = lm_os_allocate(fd, 1 << 17); /* 1024 readers of 64 bytes, and a head */
    lm_os_close(fd);
    return code;
}

static int env_open(const char *path, unsigned flags, lm_store_mode mode, MDB_env **ret)
{
    MDB_env *env;
    flags |= MDB_NOTLS;
    if (mode == LM_STORE_READ) flags |= MDB_RDONLY;
    int code = mode == LM_STORE_WRITE ? allocate_lock(path) : 0;
    if (!code) code = lm_os_env_open(path, flags, MAP_SIZE, LM_TABLES + 2, &env);
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

static lm_status open_log(const char *folder, lm_store_mode mode, lm_generation *g, lm_error *err)
{
    LM_OWN(lm_chars) path = lm_folder_path(folder, g->number, "/log");
    if (!path) return LM_NOMEM(err);
    int code = env_open(path, 0, mode, &g->log);
    if (code) return lm_store_fail(err, folder, "open", code);
    LM_TRY(lm_verify(folder, g->number, "log", g->log, false, err));
    code = open_log_tables(g, mode == LM_STORE_WRITE);
    return code ? lm_store_fail(err, folder, "open", code) : LM_OK;
}

/* *ret_useless: it is missing or damaged, or not of this log. */
static lm_status open_index(const char *folder, lm_store_mode mode, lm_generation *g, bool *ret_useless, lm_error *err)
{
    LM_OWN(lm_chars) path = lm_folder_path(folder, g->number, "/index");
    if (!path) return LM_NOMEM(err);
    int code = env_open(path, MDB_NOMETASYNC | MDB_NORDAHEAD, mode, &g->index);
    lm_status status = code ? LM_OK : lm_verify(folder, g->number, "index", g->index, false, err);
    if (!code && !status) code = open_index_tables(g, mode == LM_STORE_WRITE);
    if (!code && !status && (g->indexed > g->last_row || g->applied > g->last_row))
        status = lm_store_damaged(err, folder, "its log ends at row %" PRIu64 ", its index knows rows up to %" PRIu64,
                                  g->last_row, g->indexed > g->applied ? g->indexed : g->applied);
    *ret_useless = status == LM_ESTORE || code == ENOENT || code == MDB_INVALID || code == MDB_CORRUPTED ||
                   code == MDB_PAGE_NOTFOUND || code == MDB_VERSION_MISMATCH || code == MDB_NOTFOUND;
    if (*ret_useless && mode == LM_STORE_READ)
        return LM_FAIL_HINT(err, LM_ESTORE,
                            "Run a graph with this store: the index is made again from the log, and nothing is lost.",
                            "the index of the store \"%s\" is missing or damaged", folder);
    return code ? lm_store_fail(err, folder, "open", code) : status;
}

/* The log is the truth: without an index the store is slow to open once, not lost. */
static lm_status remake_index(const char *folder, lm_generation *g, lm_error *err)
{
    lm_log(LM_LOG_WARN, "store", "event=index_made_again store=\"%s\" reason=\"%s\"", folder,
           err ? err->text : "missing or damaged");
    if (g->index) mdb_env_close(g->index);
    g->index = NULL;
    g->indexed = g->applied = 0;
    g->n_indexed = 0;
    LM_OWN(lm_chars) path = lm_folder_path(folder, g->number, "/index");
    if (!path) return LM_NOMEM(err);
    int code = lm_os_remove_folder(path);
    if (!code) code = lm_os_mkdir(path);
    if (code) return lm_store_fail(err, folder, "make the index of", code);
    bool useless;
    return open_index(folder, LM_STORE_WRITE, g, &useless, err);
}

lm_status lm_generation_open(const char *folder, uint64_t number, lm_store_mode mode, lm_generation *ret, lm_error *err)
{
    lm_generation g = {.number = number};
    bool useless = false;
    lm_status status = open_log(folder, mode, &g, err);
    if (!status) status = open_index(folder, mode, &g, &useless, err);
    if (status && useless && mode == LM_STORE_WRITE) {
        status = remake_index(folder, &g, err);
        if (!status) lm_error_clear(err);
    }
    if (status) lm_generation_close(&g);
    else *ret = g;
    return status;
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

int lm_generation_fill_filter(lm_generation *g, lm_filter *filter)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    int code = lm_os_begin(g->index, false, &txn);
    if (code) return code;
    if (!(code = lm_os_cursor(txn, g->digests, &cursor))) {
        MDB_val key, value;
        for (code = lm_os_cursor_get(cursor, &key, &value, MDB_FIRST); !code;
             code = lm_os_cursor_get(cursor, &key, &value, MDB_NEXT)) {
            lm_index_key digest_key;
            if (key.mv_size != sizeof digest_key) {
                code = MDB_CORRUPTED;
                break;
            }
            memcpy(&digest_key, key.mv_data, sizeof digest_key);
            lm_filter_add(filter, &digest_key);
        }
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    return code == MDB_NOTFOUND ? 0 : code;
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

static int index_entries(lm_generation *g, const lm_index_entry *entries, size_t n, bool append, const uint64_t *mark)
{
    int code = 0;
    for (size_t i = 0; !code && i < n;) {
        size_t end = n - i > SLICE ? i + SLICE : n;
        while (end < n && memcmp(&entries[end - 1].key, &entries[end].key, sizeof entries->key) == 0) end++;
        code = put_slice(g, entries + i, end - i, append, end == n ? mark : NULL);
        i = end;
    }
    return code;
}

int lm_generation_index(lm_generation *g, const lm_index_entry *entries, size_t n, uint64_t indexed)
{
    int code = index_entries(g, entries, n, g->n_indexed == 0, &indexed);
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

/* ---- a whole index ----------------------------------------------------------------------------------------------- */

enum { ROUND = 1 << 23 }; /* entries sorted at a time: 200 MB */

/* The entries of rows whose digest begins in the given part of all digests. *ret_n counts on when there is no room. */
static int gather_part(lm_generation *g, MDB_txn *log, uint64_t part, uint64_t parts, lm_index_entry *entries,
                       size_t room, size_t *ret_n)
{
    MDB_cursor *cursor;
    int code = lm_os_cursor(log, g->rows, &cursor);
    if (code) return code;
    MDB_val key, value;
    size_t n = 0;
    for (code = lm_os_cursor_get(cursor, &key, &value, MDB_FIRST); !code;
         code = lm_os_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        uint64_t row;
        if (key.mv_size != sizeof row || value.mv_size < ROW_TRAILER) {
            code = MDB_CORRUPTED;
            break;
        }
        memcpy(&row, key.mv_data, sizeof row);
        if (lm_row_kind_of(row) == ROW_JOURNAL) continue;
        lm_digest digest;
        memcpy(&digest, (const uint8_t *)value.mv_data + value.mv_size - ROW_TRAILER, sizeof digest);
        uint64_t place = (uint64_t)digest.bytes[0] << 8 | digest.bytes[1];
        if (place * parts >> 16 != part) continue;
        if (n < room) entries[n] = (lm_index_entry){lm_index_key_of(lm_row_kind_of(row), &digest), row};
        n++;
    }
    mdb_cursor_close(cursor);
    *ret_n = n;
    return code == MDB_NOTFOUND ? 0 : code;
}

static int empty_index(lm_generation *g)
{
    MDB_txn *txn;
    int code = lm_os_begin(g->index, true, &txn);
    if (code) return code;
    if ((code = lm_os_empty(txn, g->digests))) {
        mdb_txn_abort(txn);
        return code;
    }
    return lm_os_commit(txn);
}

/* An index that is empty is made in the order of its keys, a part of them at a time. */
static int make_index(lm_generation *g, MDB_txn *log)
{
    MDB_stat stat;
    int code = mdb_stat(log, g->rows, &stat);
    if (code) return code;
    if (g->n_indexed && (code = empty_index(g))) return code; /* left by one that was cut short */
    uint64_t parts = stat.ms_entries / ROUND + 1;
    size_t room = (size_t)(stat.ms_entries / parts + stat.ms_entries / 16 + 4096); /* digests spread evenly */
    lm_index_entry *entries = lm_alloc_raw(room * sizeof *entries);
    if (!entries) return ENOMEM;
    for (uint64_t part = 0; !code && part < parts; part++) {
        size_t n;
        code = gather_part(g, log, part, parts, entries, room, &n);
        if (!code && n > room) code = MDB_CORRUPTED; /* no digests, then */
        if (code) break;
        lm_index_sort(entries, n);
        code = index_entries(g, entries, n, true, NULL);
    }
    lm_free(entries);
    if (!code) code = put_slice(g, NULL, 0, true, &g->last_row);
    if (!code) g->indexed = g->last_row;
    return code;
}

static int apply_journals(lm_generation *g, MDB_txn *log, lm_pending *pending)
{
    uint64_t applied = g->applied;
    MDB_txn *index;
    int code = lm_os_begin(g->index, true, &index);
    if (code) return code;
    code = walk_tail(g, log, g->indexed < applied ? g->indexed : applied, index, pending, &applied);
    if (!code && applied != g->applied) code = lm_generation_set_mark(g, index, "applied", applied);
    if (code) {
        mdb_txn_abort(index);
        return code;
    }
    code = lm_os_commit(index);
    if (!code) g->applied = applied;
    return code;
}

lm_status lm_generation_catch_up(lm_generation *g, const char *folder, lm_pending *pending, lm_error *err)
{
    MDB_txn *log;
    int code = lm_os_begin(g->log, false, &log);
    if (code) return lm_store_fail(err, folder, "open", code);
    if (!g->indexed && g->last_row > MANY) code = make_index(g, log);
    if (!code) code = apply_journals(g, log, pending);
    mdb_txn_abort(log);
    return code ? lm_store_fail(err, folder, "write to", code) : LM_OK;
}
