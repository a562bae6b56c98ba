/* Where the newest rows are: digest -> log key, in memory, for rows that the index does not hold yet.
 *
 * One thread adds; any thread finds, without a lock. A row that replaced another has a second entry, so that a snapshot
 * that is older than the replacement finds the one it can see.
 */
#ifndef LM_STORE_PENDING_H
#define LM_STORE_PENDING_H

#include "runtime/alloc.h"
#include "runtime/digest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the index knows of a digest: its first 15 bytes and the row's kind. Ordered as its 16 bytes are. */
typedef struct lm_index_key {
    uint8_t bytes[16];
} lm_index_key;

typedef struct lm_index_entry {
    lm_index_key key;
    uint64_t row; /* the row's key in the log */
} lm_index_entry;

static inline lm_index_key lm_index_key_of(unsigned kind, const lm_digest *digest)
{
    lm_index_key key;
    memcpy(key.bytes, digest->bytes, 15);
    key.bytes[15] = (uint8_t)kind;
    return key;
}

typedef struct lm_pending lm_pending;

lm_pending *lm_pending_new(void); /* NULL without memory; one reference */
lm_pending *lm_pending_ref(lm_pending *pending);
lm_pending *lm_pending_unref(lm_pending *pending); /* from any thread */
LM_OWNABLE(lm_pending, lm_pending_unref)
/* Makes room for n more entries; false without memory. */
bool lm_pending_reserve(lm_pending *pending, size_t n);
void lm_pending_add(lm_pending *pending, const lm_index_key *key, uint64_t row); /* into room reserved before */
/* The newest row under key that is not beyond `last`; 0: none. */
uint64_t lm_pending_find(const lm_pending *pending, const lm_index_key *key, uint64_t last);
size_t lm_pending_count(const lm_pending *pending); /* by the thread that adds */
/* All entries in order of key, then row; the caller frees them. NULL without memory. By the thread that adds. */
lm_index_entry *lm_pending_sorted(const lm_pending *pending);
/* Sorts entries by key, then row, in place. */
void lm_index_sort(lm_index_entry *entries, size_t n);

#endif
