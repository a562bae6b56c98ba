/* bench_store [CASE [FOLDER [SIZE]]]: the store's writer beside a bare LMDB writer, in the same run. Prints key=value lines.
 *
 *   fresh [rows=400000]     rows of 150 to 300 bytes under random digests, in writes of 64
 *   large [megabytes=2048]  rows of 1 MB; beside bare writers, one of which hashes each row first, and one with a thread for that
 *   old   [rows=10000000]   that many rows, half of them collected, then 400,000 more; beside a fresh store's rate
 *
 * The clock stops when the last fsync has returned. The bare writer appends the same bytes with MDB_RESERVE, in transactions
 * of 64 MB with fsync, and neither finds nor lists anything.
 */
#include "store/store.h"

#include <lmdb.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static char folder[1024];

static void clear(void)
{
    char command[1200];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command)) die("cannot remove %s", folder);
}

static lm_store *open_store(void)
{
    lm_error err;
    lm_store *store;
    if (lm_store_open(folder, LM_STORE_WRITE, "bench_store", &store, &err)) die("%s", err.text);
    return store;
}

/* A digest as random as SHA-256 makes them, at a fraction of its cost (splitmix64). */
static lm_digest digest_of(uint64_t n)
{
    lm_digest digest;
    uint64_t state = n;
    for (int i = 0; i < 4; i++) {
        uint64_t z = (state += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        z ^= z >> 31;
        memcpy(digest.bytes + 8 * i, &z, 8);
        state = z ^ (n << 1);
    }
    return digest;
}

static size_t size_of(uint64_t n)
{
    return 150 + (size_t)(n * 2654435761u >> 7) % 151;
}

static char filler[1 << 20];

/* ---- the store --------------------------------------------------------------------------------------------------- */

/* Rows from `first` on, `each` to a write, handed in as an engine does: never more than 128 MB waiting. */
static double put_rows(lm_store *store, uint64_t first, uint64_t n, unsigned each, size_t size)
{
    lm_error err;
    uint64_t ticket = 0;
    double start = now();
    for (uint64_t i = 0; i < n; i += each) {
        lm_write *write;
        if (lm_write_new(&write, &err)) die("%s", err.text);
        for (uint64_t j = i; j < i + each && j < n; j++) {
            lm_digest digest = digest_of(first + j);
            lm_part part = {filler, size ? size : size_of(first + j)};
            if (!size) part.data = lm_write_copy(write, filler, part.size);
            if (lm_write_row(write, size ? LM_ROW_TENSOR : LM_ROW_STEP, &digest, &part, 1, NULL, NULL, &err))
                die("%s", err.text);
        }
        while (lm_store_backlog(store) > (size_t)128 << 20)
            if (lm_store_wait(store, lm_store_committed(store) + 1, &err)) die("%s", err.text);
        if (lm_store_hand_in(store, write, &ticket, &err)) die("%s", err.text);
    }
    if (lm_store_wait(store, ticket, &err)) die("%s", err.text);
    return now() - start;
}

static double find_rows(lm_store *store, uint64_t rows, uint64_t n)
{
    lm_error err;
    lm_snapshot *snapshot;
    if (lm_store_snapshot(store, &snapshot, &err)) die("%s", err.text);
    double start = now();
    for (uint64_t i = 0; i < n; i++) {
        lm_digest digest = digest_of(i * 7919 % rows);
        lm_view view;
        if (lm_snapshot_find(snapshot, LM_ROW_STEP, &digest, &view, &err)) die("%s", err.text);
        if (!view.data) die("row %llu is not there", (unsigned long long)(i * 7919 % rows));
    }
    double took = now() - start;
    lm_snapshot_unref(snapshot);
    return took;
}

/* ---- the peer ---------------------------------------------------------------------------------------------------- */

/* SHA-256 of each row, as a writer needs it who addresses content. */
typedef enum { NO_HASH, HASH_FIRST, HASH_BESIDE } hashing;

typedef struct hasher {
    pthread_mutex_t lock;
    pthread_cond_t more;
    uint64_t n, done; /* rows to hash, and hashed */
    size_t size;
    uint8_t sum; /* so that no digest is computed for nothing */
} hasher;

static void *hash_all(void *arg)
{
    hasher *h = arg;
    for (uint64_t i = 0; i < h->n; i++) {
        lm_digest digest = lm_digest_of(filler, h->size);
        pthread_mutex_lock(&h->lock);
        h->sum ^= digest.bytes[0];
        h->done = i + 1;
        pthread_cond_signal(&h->more);
        pthread_mutex_unlock(&h->lock);
    }
    return NULL;
}

/* Row i is written when its digest is there. */
static void await_hash(hasher *h, uint64_t i)
{
    pthread_mutex_lock(&h->lock);
    while (h->done <= i) pthread_cond_wait(&h->more, &h->lock);
    pthread_mutex_unlock(&h->lock);
}

static double put_bare(uint64_t n, size_t size, hashing hash)
{
    hasher h = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER, .n = n, .size = size};
    pthread_t beside;
    clear();
    char command[1200];
    snprintf(command, sizeof command, "mkdir -p '%s'", folder);
    if (system(command)) die("cannot make %s", folder);
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    if (mdb_env_create(&env) || mdb_env_set_mapsize(env, (size_t)1 << 40) || mdb_env_open(env, folder, 0, 0666))
        die("no LMDB in %s", folder);
    double start = now();
    if (hash == HASH_BESIDE && pthread_create(&beside, NULL, hash_all, &h)) die("no thread");
    for (uint64_t i = 0; i < n;) {
        if (mdb_txn_begin(env, NULL, 0, &txn) || mdb_dbi_open(txn, NULL, MDB_INTEGERKEY | MDB_CREATE, &dbi))
            die("LMDB does not begin");
        for (size_t bytes = 0; i < n && bytes < (size_t)64 << 20; i++) {
            size_t this_size = size ? size : size_of(i);
            if (hash == HASH_FIRST) h.sum ^= lm_digest_of(filler, this_size).bytes[0];
            if (hash == HASH_BESIDE) await_hash(&h, i);
            MDB_val key = {sizeof i, &i}, value = {this_size, NULL};
            if (mdb_put(txn, dbi, &key, &value, MDB_APPEND | MDB_RESERVE)) die("LMDB does not put");
            memcpy(value.mv_data, filler, this_size);
            bytes += this_size;
        }
        if (mdb_txn_commit(txn)) die("LMDB does not commit");
    }
    double took = now() - start;
    if (hash == HASH_BESIDE) pthread_join(beside, NULL);
    mdb_env_close(env);
    clear();
    return took;
}

static double memory_mb(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

/* ---- the cases --------------------------------------------------------------------------------------------------- */

static void fresh(uint64_t rows)
{
    double bare = put_bare(rows, 0, NO_HASH);
    lm_store *store = open_store();
    double took = put_rows(store, 0, rows, 64, 0);
    double found = find_rows(store, rows, 200000);
    double start = now();
    lm_store_close(store);
    double closing = now() - start;
    start = now();
    store = open_store();
    double opening = now() - start;
    double again = put_rows(store, 0, rows, 64, 0);
    lm_store_close(store);
    clear();
    printf("case=fresh rows=%llu rows_per_s=%.0f bare_rows_per_s=%.0f ratio=%.2f find_us=%.2f close_s=%.2f open_s=%.3f "
           "dropped_rows_per_s=%.0f memory_mb=%.0f\n",
           (unsigned long long)rows, (double)rows / took, (double)rows / bare, bare / took, 1e6 * found / 200000,
           closing, opening, (double)rows / again, memory_mb());
}

/* Whoever writes to blocks of the disk first is slower than whoever writes there again: one round unmeasured, then the
 * best of three of each, in turn. */
static void large(uint64_t megabytes)
{
    double bare[3] = {1e30, 1e30, 1e30}, took = 1e30;
    put_bare(megabytes, 1 << 20, NO_HASH);
    for (int round = 0; round < 3; round++) {
        lm_store *store = open_store();
        double this_took = put_rows(store, 0, megabytes, 1, 1 << 20);
        lm_store_close(store);
        clear();
        took = this_took < took ? this_took : took;
        for (hashing hash = NO_HASH; hash <= HASH_BESIDE; hash++) {
            double this_bare = put_bare(megabytes, 1 << 20, hash);
            bare[hash] = this_bare < bare[hash] ? this_bare : bare[hash];
        }
    }
    double gb = (double)megabytes * (1 << 20) / 1e9;
    printf("case=large megabytes=%llu gb_per_s=%.3f bare_gb_per_s=%.3f ratio=%.2f bare_hashing_gb_per_s=%.3f "
           "bare_hashing_beside_gb_per_s=%.3f memory_mb=%.0f\n",
           (unsigned long long)megabytes, gb / took, gb / bare[NO_HASH], bare[NO_HASH] / took, gb / bare[HASH_FIRST],
           gb / bare[HASH_BESIDE], memory_mb());
}

static bool keep_half(void *arg, lm_row_kind kind, const lm_digest *digest, lm_view value)
{
    (void)arg, (void)kind, (void)value;
    return digest->bytes[31] & 1;
}

static void old(uint64_t rows)
{
    enum { MORE = 400000 };
    lm_store *store = open_store();
    double reference = put_rows(store, 0, MORE, 64, 0);
    lm_store_close(store);
    clear();
    store = open_store();
    double filled = put_rows(store, 0, rows, 64, 0);
    double last = put_rows(store, rows, MORE, 64, 0);
    lm_error err;
    double start = now();
    if (lm_store_collect(store, keep_half, NULL, &err)) die("%s", err.text);
    double collected = now() - start;
    double after = put_rows(store, 2 * rows, MORE, 64, 0);
    double more = put_rows(store, 3 * rows, 5 * MORE, 64, 0);
    lm_store_stats before;
    if (lm_store_stat(store, &before, &err)) die("%s", err.text);
    double longest = before.longest_put_s;
    start = now();
    lm_store_close(store);
    double closing = now() - start;
    start = now();
    store = open_store();
    double opening = now() - start;
    double reopened = put_rows(store, 4 * rows, MORE, 64, 0);
    lm_store_stats stats;
    if (lm_store_stat(store, &stats, &err)) die("%s", err.text);
    if (stats.longest_put_s > longest) longest = stats.longest_put_s;
    lm_store_close(store);
    clear();
    printf(
        "case=old rows=%llu fresh_rows_per_s=%.0f fill_rows_per_s=%.0f before_collect_rows_per_s=%.0f collect_s=%.1f "
        "after_rows_per_s=%.0f ratio_to_fresh=%.2f two_million_more_rows_per_s=%.0f ratio_two_million=%.2f "
        "close_s=%.2f open_s=%.3f reopened_rows_per_s=%.0f longest_put_ms=%.1f gb_on_disk=%.2f memory_mb=%.0f\n",
        (unsigned long long)rows, MORE / reference, (double)rows / filled, MORE / last, collected, MORE / after,
        reference / after, 5 * MORE / more, 5 * reference / more, closing, opening, MORE / reopened, 1e3 * longest,
        (double)stats.file_bytes / 1e9, memory_mb());
}

int main(int argc, char **argv)
{
    const char *tmp = getenv("TMPDIR");
    if (argc > 2) snprintf(folder, sizeof folder, "%s/bench-store-%d", argv[2], (int)getpid());
    else snprintf(folder, sizeof folder, "%s/bench-store-%d", tmp ? tmp : "/tmp", (int)getpid());
    uint64_t size = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    memset(filler, 'x', sizeof filler);
    if (argc < 2) fresh(400000), large(512); /* the short ones */
    else if (strcmp(argv[1], "fresh") == 0) fresh(size ? size : 400000);
    else if (strcmp(argv[1], "large") == 0) large(size ? size : 2048);
    else if (strcmp(argv[1], "old") == 0) old(size ? size : 10000000);
    else die("no such case: \"%s\"; there are fresh, large and old", argv[1]);
    return 0;
}
