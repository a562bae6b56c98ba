/* The writer thread: takes everything that was handed in, up to a bound, and makes it one transaction of the log.
 *
 *   log:   rows appended, one journal row for the group's table entries; one commit, with fsync. Now it is on disk.
 *   index: the table entries are applied at once; the rows' digests wait in `pending` until there are enough of them that
 *          a sorted batch touches each page of the index once.
 */
#include "store/internal.h"

#include "runtime/log.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

static const size_t GROUP_BYTES = (size_t)64 << 20, JOURNAL_BYTES = (size_t)64 << 20;
enum { PENDING_LEAST = 1 << 17, PENDING_MOST = 1 << 21, FILTER_LEAST = 1 << 20, FILTER_MOST = 1 << 27 };

/* ---- one group --------------------------------------------------------------------------------------------------- */

typedef struct group {
    lm_store *store;
    lm_generation *g;
    MDB_txn *log, *probe; /* probe: the index, to look for rows that are there already */
    MDB_cursor *end;      /* of the log */
    uint64_t next;        /* the sequence number of the next row */
} group;

static int append(group *c, unsigned kind, size_t size, uint64_t *ret_key, uint8_t **ret_bytes)
{
    uint64_t row = lm_row_key(c->next, kind);
    MDB_val key = {sizeof row, &row}, value = {size + ROW_TRAILER, NULL};
    int code = lm_os_cursor_put(c->end, &key, &value, MDB_APPEND | MDB_RESERVE);
    if (code) return code;
    c->next++;
    *ret_key = row;
    *ret_bytes = value.mv_data;
    return 0;
}

/* The row that has this digest already, 0 if none. */
static int find_former(group *c, const lm_row *row, const lm_index_key *key, uint64_t *ret)
{
    uint64_t former = lm_pending_find(c->store->pending, key, UINT64_MAX);
    int code = 0;
    if (!former && (!c->store->filter || lm_filter_may_hold(c->store->filter, key))) {
        c->store->searches++;
        code = lm_generation_find(c->g, c->probe, key, &former);
    }
    *ret = 0;
    if (code || !former) return code;
    lm_view view;
    code = lm_generation_row(c->g, c->log, former, &row->digest, &view);
    if (code == MDB_NOTFOUND) return 0;
    if (!code) *ret = former;
    return code;
}

static int put_row(group *c, const lm_row *row)
{
    lm_index_key digest_key = lm_index_key_of(row->kind, &row->digest);
    uint64_t former, key = 0;
    int code = find_former(c, row, &digest_key, &former);
    if (code || (former && !row->replaces)) return code;
    uint8_t *to;
    if (former) { /* under its former number: a deletion would merge pages under the appending cursor */
        MDB_val place = {sizeof former, &former}, value = {row->size + ROW_TRAILER, NULL};
        if ((code = lm_os_put(c->log, c->g->rows, &place, &value, MDB_RESERVE))) return code;
        to = value.mv_data;
    } else if ((code = append(c, row->kind, row->size, &key, &to))) {
        return code;
    }
    for (size_t i = 0; i < row->n_parts; i++) {
        if (row->parts[i].size) memcpy(to, row->parts[i].data, row->parts[i].size);
        to += row->parts[i].size;
    }
    memcpy(to, &row->digest, ROW_TRAILER);
    if (!former) lm_pending_add(c->store->pending, &digest_key, key);
    return 0;
}

/* The entries of consecutive writes share journal rows of bounded size. */
static int put_journal(group *c, const lm_write *first)
{
    while (first) {
        size_t size = 0;
        const lm_write *end = first;
        for (; end && (!size || size + end->entries.size <= JOURNAL_BYTES); end = end->next) size += end->entries.size;
        if (size) {
            uint64_t key;
            uint8_t *to;
            int code = append(c, ROW_JOURNAL, size, &key, &to);
            if (code) return code;
            for (const lm_write *w = first; w != end; w = w->next) {
                if (w->entries.size) memcpy(to, w->entries.at, w->entries.size);
                to += w->entries.size;
            }
            memset(to, 0, ROW_TRAILER);
        }
        first = end;
    }
    return 0;
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int fill_log(group *c, const lm_write *writes)
{
    size_t n_rows = 0;
    for (const lm_write *w = writes; w; w = w->next) n_rows += w->n_rows;
    if (!lm_pending_reserve(c->store->pending, n_rows)) return ENOMEM;
    uint64_t before = now_ns();
    for (const lm_write *w = writes; w; w = w->next) {
        int code = 0;
        for (size_t i = 0; !code && i < w->n_rows; i++) {
            code = put_row(c, &w->rows[i]);
            uint64_t after = now_ns();
            if (after - before > c->store->longest_put_ns) c->store->longest_put_ns = after - before;
            before = after;
        }
        if (!code && w->checkpoints.size) {
            code = lm_table_apply(c->g, c->log, w->checkpoints.at, w->checkpoints.size);
            before = now_ns();
        }
        if (code) return code;
    }
    return put_journal(c, writes);
}

static int apply_entries(lm_generation *g, const lm_write *writes)
{
    MDB_txn *txn;
    int code = lm_os_begin(g->index, true, &txn);
    if (code) return code;
    for (const lm_write *w = writes; w && !code; w = w->next)
        if (w->entries.size) code = lm_table_apply(g, txn, w->entries.at, w->entries.size);
    if (!code) code = lm_generation_set_mark(g, txn, "applied", g->last_row);
    if (!code) return lm_os_commit(txn);
    mdb_txn_abort(txn);
    return code;
}

static int commit_log(lm_store *store, const lm_write *writes)
{
    group c = {.store = store, .g = &store->now, .next = store->now.last_row + 1};
    int code = lm_os_begin(c.g->log, true, &c.log);
    if (!code) code = lm_os_begin(c.g->index, false, &c.probe);
    if (!code) code = lm_os_cursor(c.log, c.g->rows, &c.end);
    if (!code) code = fill_log(&c, writes);
    if (c.end) mdb_cursor_close(c.end);
    if (c.probe) mdb_txn_abort(c.probe);
    if (!code) code = lm_os_commit(c.log);
    else if (c.log) mdb_txn_abort(c.log);
    if (!code) c.g->last_row = c.next - 1;
    return code;
}

static int commit_group(lm_store *store, const lm_write *writes)
{
    int code = commit_log(store, writes);
    bool entries = false;
    for (const lm_write *w = writes; w; w = w->next) entries |= w->entries.size != 0;
    if (!code && entries) code = apply_entries(&store->now, writes);
    return code;
}

/* ---- the index --------------------------------------------------------------------------------------------------- */

/* A filter over all that the index holds, with room for as much again. NULL: no memory, and no harm. */
lm_filter *lm_writer_filter(lm_generation *g)
{
    size_t room = 2 * g->n_indexed;
    if (room < FILTER_LEAST) room = FILTER_LEAST;
    if (room > FILTER_MOST) room = FILTER_MOST;
    lm_filter *filter = lm_filter_new(room);
    if (filter && lm_generation_fill_filter(g, filter)) filter = lm_filter_unref(filter);
    return filter;
}

static void swap_in(lm_store *store, lm_pending *pending, lm_filter *filter)
{
    pthread_mutex_lock(&store->mutex);
    lm_pending *former = store->pending;
    lm_filter *former_filter = store->filter;
    store->pending = pending;
    store->filter = filter;
    pthread_mutex_unlock(&store->mutex);
    if (former != pending) lm_pending_unref(former);
    if (former_filter != filter) lm_filter_unref(former_filter);
}

int lm_writer_flush(lm_store *store)
{
    lm_generation *g = &store->now;
    lm_filter *filter = store->filter;
    size_t n = lm_pending_count(store->pending);
    if (!n) return 0;
    lm_pending *fresh = lm_pending_new();
    lm_index_entry *entries = lm_pending_sorted(store->pending);
    int code = fresh && entries ? 0 : ENOMEM;
    /* A reader may see the new index as soon as it is committed: the filter must know its keys before. */
    for (size_t i = 0; filter && !code && i < n; i++) lm_filter_add(filter, &entries[i].key);
    if (!code) code = lm_generation_index(g, entries, n, g->last_row);
    lm_free(entries);
    if (code) {
        lm_pending_unref(fresh);
        return code;
    }
    size_t room = filter ? lm_filter_capacity(filter) : 0;
    if (filter && g->n_indexed > room && room < FILTER_MOST) filter = lm_writer_filter(&store->now);
    swap_in(store, fresh, filter);
    return 0;
}

/* A filter costs a walk over the index: made when the searches that it would save have cost as much. */
static void consider_filter(lm_store *store)
{
    if (store->filter || store->searches < 4096 + store->now.n_indexed / 64) return;
    store->searches = 0;
    swap_in(store, store->pending, lm_writer_filter(&store->now));
}

/* A sorted batch rewrites most pages of an index that has random keys: the larger the index, the larger the batch. */
static bool pending_is_full(const lm_store *store)
{
    size_t most = store->now.n_indexed / 4;
    if (most < PENDING_LEAST) most = PENDING_LEAST;
    if (most > PENDING_MOST) most = PENDING_MOST;
    return lm_pending_count(store->pending) >= most;
}

/* ---- the thread -------------------------------------------------------------------------------------------------- */

/* Unlinks the writes of the next group. Called with the mutex held. */
static lm_write *take_group(lm_store *store, uint64_t *ret_n, size_t *ret_bytes)
{
    lm_write *first = store->first, *last = first;
    *ret_n = 1;
    *ret_bytes = first->bytes;
    while (last->next && *ret_bytes + last->next->bytes <= GROUP_BYTES) {
        last = last->next;
        ++*ret_n;
        *ret_bytes += last->bytes;
    }
    store->first = last->next;
    if (!store->first) store->last = NULL;
    last->next = NULL;
    return first;
}

static void free_writes(lm_store *store, lm_write *first)
{
    while (first) {
        lm_write *next = first->next;
        atomic_fetch_sub(&store->backlog, first->bytes);
        lm_write_free(first);
        first = next;
    }
}

/* Tells whoever wants to know. Called with the mutex held, which is let go meanwhile. */
static void announce(lm_store *store)
{
    pthread_cond_broadcast(&store->done);
    void (*fn)(void *arg) = store->on_commit;
    void *arg = store->on_commit_arg;
    if (!fn) return;
    store->calling = true;
    pthread_mutex_unlock(&store->mutex);
    fn(arg);
    pthread_mutex_lock(&store->mutex);
    store->calling = false;
    pthread_cond_broadcast(&store->done);
}

static void write_group(lm_store *store)
{
    uint64_t n;
    size_t bytes;
    lm_write *writes = take_group(store, &n, &bytes);
    store->busy = true;
    pthread_mutex_unlock(&store->mutex);

    int code = commit_group(store, writes);
    LM_TRACE("store", "event=commit writes=%" PRIu64 " bytes=%zu rows_end=%" PRIu64 " code=%d", n, bytes,
             store->now.last_row, code);
    free_writes(store, writes);
    if (!code) consider_filter(store);

    pthread_mutex_lock(&store->mutex);
    if (!code) {
        store->committed += n;
        announce(store);
        if (!pending_is_full(store)) return;
        pthread_mutex_unlock(&store->mutex);
        code = lm_writer_flush(store);
        LM_TRACE("store", "event=index entries=%zu code=%d", store->now.n_indexed, code);
        pthread_mutex_lock(&store->mutex);
    }
    if (!code) return;
    lm_store_fail(&store->failure, store->folder, "write to", code);
    store->failed = true;
    lm_write *rest = store->first;
    store->first = store->last = NULL;
    pthread_mutex_unlock(&store->mutex);
    free_writes(store, rest);
    pthread_mutex_lock(&store->mutex);
    announce(store);
}

void *lm_writer_run(void *arg)
{
    lm_store *store = arg;
    pthread_mutex_lock(&store->mutex);
    for (;;) {
        while (!store->stopping && (!store->first || store->paused)) {
            store->busy = false;
            pthread_cond_broadcast(&store->done);
            pthread_cond_wait(&store->work, &store->mutex);
        }
        if (!store->first) break;
        write_group(store);
    }
    store->busy = false;
    pthread_mutex_unlock(&store->mutex);
    return NULL;
}

lm_status lm_writer_pause(lm_store *store, lm_error *err)
{
    pthread_mutex_lock(&store->mutex);
    while ((store->first || store->busy || store->paused) && !store->failed)
        pthread_cond_wait(&store->done, &store->mutex);
    bool failed = store->failed;
    if (failed && err) *err = store->failure;
    if (!failed) store->paused = true;
    lm_status status = failed ? store->failure.status : LM_OK;
    pthread_mutex_unlock(&store->mutex);
    return status;
}

void lm_writer_resume(lm_store *store)
{
    pthread_mutex_lock(&store->mutex);
    store->paused = false;
    pthread_cond_signal(&store->work);
    pthread_cond_broadcast(&store->done);
    pthread_mutex_unlock(&store->mutex);
}

/* ---- handing in -------------------------------------------------------------------------------------------------- */

lm_status lm_store_hand_in(lm_store *store, lm_write *take, uint64_t *ret_ticket, lm_error *err)
{
    if (store->mode != LM_STORE_WRITE) {
        lm_write_free(take);
        return LM_FAIL(err, LM_EBUG, "a write was handed to the store \"%s\", which is open for reading",
                       store->folder);
    }
    pthread_mutex_lock(&store->mutex);
    if (store->failed) {
        if (err) *err = store->failure;
        pthread_mutex_unlock(&store->mutex);
        lm_write_free(take);
        return store->failure.status; /* set once */
    }
    atomic_fetch_add(&store->backlog, take->bytes);
    take->next = NULL;
    if (store->last) store->last->next = take;
    else store->first = take;
    store->last = take;
    *ret_ticket = ++store->handed;
    bool idle = !store->busy;
    pthread_mutex_unlock(&store->mutex);
    if (idle) pthread_cond_signal(&store->work);
    return LM_OK;
}

uint64_t lm_store_committed(lm_store *store)
{
    pthread_mutex_lock(&store->mutex);
    uint64_t committed = store->committed;
    pthread_mutex_unlock(&store->mutex);
    return committed;
}

size_t lm_store_backlog(lm_store *store)
{
    return atomic_load(&store->backlog);
}

lm_status lm_store_wait(lm_store *store, uint64_t ticket, lm_error *err)
{
    pthread_mutex_lock(&store->mutex);
    while (store->committed < ticket && !store->failed) pthread_cond_wait(&store->done, &store->mutex);
    lm_status status = store->committed >= ticket ? LM_OK : store->failure.status;
    if (status && err) *err = store->failure;
    pthread_mutex_unlock(&store->mutex);
    return status;
}

lm_status lm_store_failure(lm_store *store, lm_error *err)
{
    pthread_mutex_lock(&store->mutex);
    lm_status status = store->failed ? store->failure.status : LM_OK;
    if (status && err) *err = store->failure;
    pthread_mutex_unlock(&store->mutex);
    return status;
}

void lm_store_on_commit(lm_store *store, void (*fn)(void *arg), void *arg)
{
    pthread_mutex_lock(&store->mutex);
    store->on_commit = fn;
    store->on_commit_arg = arg;
    /* The former one may be running: it must not be called, nor be in a call, after we return. */
    while (store->calling && !pthread_equal(pthread_self(), store->thread))
        pthread_cond_wait(&store->done, &store->mutex);
    pthread_mutex_unlock(&store->mutex);
}
