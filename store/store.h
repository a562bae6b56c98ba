/* The store: everything that was computed, under the digest of what it is. This header is its whole interface; it knows
 * bytes and digests, not records.
 *
 * A folder (`.lensmill/`) with two LMDB environments in its current generation (`generation-1/`, ...):
 *   log/    rows in the order in which they were written, under a sequence number: only ever appended to, so that large
 *           values lie in runs of fresh pages and no put searches a list of holes. The log is the truth.
 *   index/  digest -> sequence number, and the small tables. Derived from the log: what the log has beyond the index's
 *           marks is read again at open, and an index that is lost is made again.
 * and the files `current` (the store's format, and which generation it is), `lock` (the one writer) and `inflight` (see
 * runtime/guard.h).
 *
 * One writer thread commits in groups; a row is there whole or not at all, whenever the power goes. Reading never blocks.
 * Every function may be called from any thread unless it says otherwise.
 */
#ifndef LM_STORE_STORE_H
#define LM_STORE_STORE_H

#include "runtime/alloc.h"
#include "runtime/digest.h"
#include "runtime/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LM_STORE_FORMAT = 1 };

/* What a row is; part of its identity only for listing: digests of different kinds never meet. */
typedef enum lm_row_kind { LM_ROW_TENSOR = 1, LM_ROW_ARTIFACT = 2, LM_ROW_STEP = 3, LM_ROW_RECIPE = 4 } lm_row_kind;

/* The small tables: bytes -> bytes, replaced when put again. */
typedef enum lm_table {
    LM_TABLE_RUNS,        /* run number, big-endian u64 -> Run */
    LM_TABLE_DEAD,        /* step key -> DeadLetter */
    LM_TABLE_RECEIPTS,    /* step key, then 0, then absolute path -> Receipt */
    LM_TABLE_FILES,       /* SHA-256 of the absolute path -> File */
    LM_TABLE_CHECKPOINTS, /* step key -> bytes, possibly large */
    LM_TABLE_META,        /* names -> values of the store itself */
    LM_TABLES
} lm_table;

typedef enum lm_store_mode {
    LM_STORE_READ,  /* must exist; takes no lock */
    LM_STORE_WRITE, /* created if it is not there; takes the writer's lock and starts the writer thread */
} lm_store_mode;

typedef struct lm_store lm_store;
typedef struct lm_snapshot lm_snapshot;

typedef struct lm_view {
    const void *data; /* NULL: not there */
    size_t size;
} lm_view;

/* Opens a store folder. holder: who we are, written into the lock file for others to read ("run of deconvolve-hst").
 * LM_ESTORE: locked (names the holder), newer format (names both numbers), network file system (names it), read-only,
 * not a store, damaged. LM_EIO: the disk. */
lm_status lm_store_open(const char *folder, lm_store_mode mode, const char *holder, lm_store **ret, lm_error *err);
/* Waits for what was handed in, commits, frees. Snapshots must be gone. Returns NULL. */
lm_store *lm_store_close(lm_store *store);
LM_OWNABLE(lm_store, lm_store_close)
const char *lm_store_folder(const lm_store *store);

/* ---- reading ---------------------------------------------------------------------------------------------------- */

/* What is committed now. A view points into the memory map and is valid while its snapshot lives; values larger than a
 * page start at 16 mod 4096. Snapshots are counted; one may be used by several threads one after the other, not at once,
 * but views of it may be read by any thread. */
lm_status lm_store_snapshot(lm_store *store, lm_snapshot **ret, lm_error *err);
lm_snapshot *lm_snapshot_ref(lm_snapshot *snapshot);
lm_snapshot *lm_snapshot_unref(lm_snapshot *snapshot); /* from any thread */
LM_OWNABLE(lm_snapshot, lm_snapshot_unref)

/* ret->data NULL: not there. LM_ESTORE: the store is damaged. Does not re-hash: the caller does, where it matters. */
lm_status lm_snapshot_find(lm_snapshot *snapshot, lm_row_kind kind, const lm_digest *digest, lm_view *ret,
                           lm_error *err);
lm_status lm_snapshot_get(lm_snapshot *snapshot, lm_table table, const void *key, size_t key_size, lm_view *ret,
                          lm_error *err);

/* Each row of a kind (0: all) in the order of the log, newest first if `backwards`; each entry of a table in the order of
 * keys. fn returns false to stop. */
typedef bool (*lm_row_fn)(void *arg, lm_row_kind kind, const lm_digest *digest, lm_view value, uint64_t sequence);
typedef bool (*lm_entry_fn)(void *arg, lm_view key, lm_view value);
lm_status lm_snapshot_rows(lm_snapshot *snapshot, lm_row_kind kind, bool backwards, lm_row_fn fn, void *arg,
                           lm_error *err);
lm_status lm_snapshot_entries(lm_snapshot *snapshot, lm_table table, lm_entry_fn fn, void *arg, lm_error *err);

/* ---- writing (LM_STORE_WRITE) ----------------------------------------------------------------------------------- */

/* A write is committed whole. Build it in one thread, hand it in, forget it. Values are gathered from up to 4 parts, which
 * are borrowed until the write is committed: give `release` to let go of their owner, or lm_write_copy the bytes. */
typedef struct lm_write lm_write;
lm_status lm_write_new(lm_write **ret, lm_error *err);
lm_write *lm_write_free(lm_write *write); /* one that was not handed in */
LM_OWNABLE(lm_write, lm_write_free)
typedef struct lm_part {
    const void *data;
    size_t size;
} lm_part;
/* A row. If the store has the digest already the new one is dropped: the first committed wins. When this fails, or without
 * `release`, the owner stays the caller's; else it is let go of by the writer's thread, or by lm_write_free(). */
lm_status lm_write_row(lm_write *write, lm_row_kind kind, const lm_digest *digest, const lm_part *parts, size_t n_parts,
                       void (*release)(void *owner), void *owner, lm_error *err);
/* A row that takes the place of one with the same digest (a step whose artifact proved damaged). */
lm_status lm_write_replace_row(lm_write *write, lm_row_kind kind, const lm_digest *digest, const lm_part *parts,
                               size_t n_parts, void (*release)(void *owner), void *owner, lm_error *err);
/* A table entry, copied. value NULL: remove. */
lm_status lm_write_entry(lm_write *write, lm_table table, const void *key, size_t key_size, const void *value,
                         size_t value_size, lm_error *err);
/* Memory of the write, copied from bytes (NULL: left to the caller to fill): valid until it is committed. For parts. */
void *lm_write_copy(lm_write *write, const void *bytes, size_t size);
size_t lm_write_bytes(const lm_write *write);

/* Takes the write over (also on failure) and returns at once: *ret_ticket is the number to wait for. */
lm_status lm_store_hand_in(lm_store *store, lm_write *take, uint64_t *ret_ticket, lm_error *err);
uint64_t lm_store_committed(lm_store *store); /* all tickets up to this one are on disk */
size_t lm_store_backlog(lm_store *store);     /* bytes handed in and not yet committed */
/* Blocks until the ticket is on disk. LM_ESTORE/LM_EIO: the writer failed (disk full: says so), nothing more is taken. */
lm_status lm_store_wait(lm_store *store, uint64_t ticket, lm_error *err);
/* The writer's failure, LM_OK if there is none. */
lm_status lm_store_failure(lm_store *store, lm_error *err);
/* fn is called by the writer thread after each commit and after a failure. NULL: nobody. */
void lm_store_on_commit(lm_store *store, void (*fn)(void *arg), void *arg);

/* ---- upkeep ----------------------------------------------------------------------------------------------------- */

typedef struct lm_store_stats {
    uint64_t rows[8];      /* by lm_row_kind */
    uint64_t row_bytes[8]; /* of their values */
    uint64_t entries[LM_TABLES];
    uint64_t file_bytes; /* on disk */
    uint64_t format;
    double longest_put_s; /* of one row into the log, since the store was opened; commits aside */
} lm_store_stats;
lm_status lm_store_stat(lm_store *store, lm_store_stats *ret, lm_error *err);

/* Copies the rows that keep() wants, in their order, to new environments beside the old ones, and renames: LMDB never has
 * to reuse holes. keep sees steps first, newest first, then what they may refer to. LM_STORE_WRITE, and no snapshot open. */
typedef bool (*lm_keep_fn)(void *arg, lm_row_kind kind, const lm_digest *digest, lm_view value);
lm_status lm_store_collect(lm_store *store, lm_keep_fn keep, void *arg, lm_error *err);

/* Rows and tables of `from` that are not here are copied; where a row's digest is here with other bytes, ours stays and
 * differs() is told. */
lm_status lm_store_merge(lm_store *into, lm_store *from,
                         void (*differs)(void *arg, lm_row_kind kind, const lm_digest *digest), void *arg,
                         uint64_t *ret_copied, lm_error *err);

/* Structure only: the index agrees with the log, each row can be read. What the bytes mean is checked by the caller, with
 * lm_snapshot_rows. */
lm_status lm_store_check(lm_store *store, uint64_t *ret_rows, lm_error *err);

#endif
