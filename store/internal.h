/* What the files of the store share. Nothing outside this folder includes it. */
#ifndef LM_STORE_INTERNAL_H
#define LM_STORE_INTERNAL_H

#include "store/filter.h"
#include "store/os.h"
#include "store/pending.h"
#include "store/store.h"

#include <pthread.h>
#include <stdatomic.h>

/* A row's key in the log is its sequence number and its kind, so that a walk over one kind touches no page of another; its
 * value is the bytes and then the whole digest, so that the bytes start where LMDB's pages do. */
enum { ROW_KIND_BITS = 3, ROW_TRAILER = 32, ROW_JOURNAL = 7 };

static inline uint64_t lm_row_key(uint64_t sequence, unsigned kind)
{
    return sequence << ROW_KIND_BITS | kind;
}
static inline uint64_t lm_row_sequence(uint64_t key)
{
    return key >> ROW_KIND_BITS;
}
static inline unsigned lm_row_kind_of(uint64_t key)
{
    return (unsigned)(key & ((1u << ROW_KIND_BITS) - 1));
}

/* The two environments, open. They live together in one folder, which is replaced as a whole by a collection. */
typedef struct lm_generation {
    uint64_t number;
    MDB_env *log, *index;
    MDB_dbi rows, checkpoints; /* in log */
    MDB_dbi digests, marks;    /* in index */
    MDB_dbi tables[LM_TABLES]; /* in index, but the checkpoints in log */
    uint64_t indexed, applied,
        last_row;     /* sequence numbers: what the index holds, what the tables hold, the log's end */
    size_t n_indexed; /* digests in the index */
} lm_generation;

struct lm_store {
    char *folder;
    lm_store_mode mode;
    int lock_fd;
    lm_generation now;

    pthread_mutex_t mutex; /* guards all down to the next blank line */
    pthread_cond_t work, done;
    lm_pending *pending;
    lm_filter *filter;      /* NULL: there is none */
    lm_write *first, *last; /* handed in */
    uint64_t handed, committed;
    bool stopping, paused, busy, failed, collecting, calling;
    lm_error failure;
    size_t snapshots;
    void (*on_commit)(void *arg);
    void *on_commit_arg;
    uint64_t scanned_from, scanned; /* LM_STORE_READ: pending has the log's rows after the one, up to the other */

    size_t searches; /* the writer's, of the index */
    _Atomic uint64_t longest_put_ns;
    _Atomic size_t backlog;
    pthread_t thread;
    bool started;
};

struct lm_snapshot {
    _Atomic size_t refs;
    lm_store *store;
    lm_pending *pending;
    lm_filter *filter; /* may be NULL */
    MDB_txn *log, *index;
    uint64_t last; /* key of the log's last row */
};

typedef struct lm_write_row_ {
    lm_digest digest;
    lm_part parts[4];
    void (*release)(void *owner);
    void *owner;
    size_t size;
    uint8_t kind, n_parts;
    bool replaces;
} lm_row;

typedef struct lm_chunk lm_chunk;
struct lm_write {
    lm_write *next;
    lm_row *rows;
    size_t n_rows, rows_capacity;
    struct lm_bytes {
        uint8_t *at;
        size_t size, capacity;
    } entries, checkpoints; /* as a journal row holds them: see tables.c */
    lm_chunk *chunks;
    size_t bytes;
};

/* lm_store_snapshot(), which is refused to all but the collector while garbage is collected (read.c). */
lm_status lm_snapshot_open(lm_store *store, bool collector, lm_snapshot **ret, lm_error *err);

/* ---- error texts (folder.c) --------------------------------------------------------------------------------------- */

/* Says what a code means for the store in `folder`: disk full, read-only, damaged, ... `doing`: "open", "write to". */
lm_status lm_store_fail(lm_error *err, const char *folder, const char *doing, int code);
lm_status lm_store_damaged(lm_error *err, const char *folder, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- the folder (folder.c) ---------------------------------------------------------------------------------------- */

lm_status lm_folder_check_fs(const char *folder, lm_error *err);
lm_status lm_folder_lock(const char *folder, const char *holder, int *ret_fd, lm_error *err);
void lm_folder_unlock(int fd);
/* The generation that is current; 0: there is none yet. LM_ESTORE: a newer format, or no store. */
lm_status lm_folder_current(const char *folder, uint64_t *ret_number, lm_error *err);
lm_status lm_folder_set_current(const char *folder, uint64_t number, lm_error *err);
/* "<folder>/generation-<number><below>"; the caller frees. */
char *lm_folder_path(const char *folder, uint64_t number, const char *below);
lm_status lm_folder_remove_generation(const char *folder, uint64_t number, lm_error *err);
/* Removes every generation but `keep`. Refuses a folder without a current one that holds anything unknown. */
lm_status lm_folder_tidy(const char *folder, uint64_t keep, lm_error *err);

/* ---- a generation (generation.c) ---------------------------------------------------------------------------------- */

/* Makes the folders of a new generation. */
lm_status lm_generation_make(const char *folder, uint64_t number, lm_error *err);
/* Its folders' entries are on disk. */
lm_status lm_generation_settle(const char *folder, uint64_t number, lm_error *err);
lm_status lm_generation_open(const char *folder, uint64_t number, lm_store_mode mode, lm_generation *ret,
                             lm_error *err);
void lm_generation_close(lm_generation *generation);
/* Puts entries that are sorted by key, the newest of equal keys winning, and the mark, in transactions of bounded size. */
int lm_generation_index(lm_generation *generation, const lm_index_entry *entries, size_t n, uint64_t indexed);
/* After opening to write: rows that the index lacks go to pending, journal rows that the tables lack are applied. */
lm_status lm_generation_catch_up(lm_generation *generation, const char *folder, lm_pending *pending, lm_error *err);
/* Adds the rows after a sequence number to pending, those that the index holds left out. */
int lm_generation_tail(lm_generation *generation, MDB_txn *log, uint64_t after, lm_pending *pending);
/* The key of the log's last row, 0 if it is empty. */
int lm_generation_last(lm_generation *generation, MDB_txn *log, uint64_t *ret_key);
/* 0, MDB_NOTFOUND or another code. digest NULL: any. */
int lm_generation_row(lm_generation *generation, MDB_txn *log, uint64_t key, const lm_digest *digest, lm_view *ret);
/* What the index says of a digest: *ret 0 if nothing. */
int lm_generation_find(lm_generation *generation, MDB_txn *index, const lm_index_key *key, uint64_t *ret);
int lm_generation_fill_filter(lm_generation *generation, lm_filter *filter);
int lm_generation_mark(lm_generation *generation, MDB_txn *index, const char *name, uint64_t *ret);
int lm_generation_set_mark(lm_generation *generation, MDB_txn *index, const char *name, uint64_t value);

/* ---- the small tables (tables.c) ---------------------------------------------------------------------------------- */

typedef struct lm_entry {
    lm_table table;
    lm_view key, value; /* value.data NULL: remove */
} lm_entry;

/* Walks the entries of a journal row. false at its end; *damaged if it is none. */
bool lm_journal_next(const uint8_t **at, const uint8_t *end, lm_entry *ret, bool *damaged);
size_t lm_journal_size(size_t key_size, const void *value, size_t value_size);
uint8_t *lm_journal_put(uint8_t *to, lm_table table, const void *key, size_t key_size, const void *value,
                        size_t value_size); /* returns the end */
/* Applies entries; txn is one of the environment that their tables live in. */
int lm_table_apply(lm_generation *generation, MDB_txn *txn, const uint8_t *entries, size_t size);
int lm_table_get(lm_generation *generation, MDB_txn *txn, lm_table table, const void *key, size_t key_size,
                 lm_view *ret);
/* Undoes what a stored entry was made into for LMDB's sake. false: damaged. */
bool lm_table_decode(const MDB_val *stored_key, const MDB_val *stored_value, lm_view *ret_key, lm_view *ret_value);

/* ---- the writer (writer.c) ---------------------------------------------------------------------------------------- */

void *lm_writer_run(void *store);
int lm_writer_flush(lm_store *store); /* pending -> index; by the writer's thread, or while it is paused or ended */
lm_filter *lm_writer_filter(lm_generation *generation);
lm_status lm_writer_pause(lm_store *store, lm_error *err); /* waits for what was handed in, then holds the writer */
void lm_writer_resume(lm_store *store);

/* ---- pages (verify.c) --------------------------------------------------------------------------------------------- */

/* Checks the pages of an environment: all, or only the way to the ends of each table. LM_ESTORE: damaged, says where. */
lm_status lm_verify(const char *folder, uint64_t generation, const char *env_name, MDB_env *env, bool whole,
                    lm_error *err);

#endif
