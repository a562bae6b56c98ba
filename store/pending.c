/* Open addressing with steps of one. A slot is published by storing its row last; nothing is ever removed. When the table
 * grows, readers may still be in the old one: if there are any it is kept until the whole goes. */
#include "store/pending.h"

#include "runtime/alloc.h"

#include <endian.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

typedef struct slot {
    lm_index_key key;
    _Atomic uint64_t row; /* 0: empty */
} slot;

typedef struct slots {
    struct slots *older;
    size_t mask;
    slot at[];
} slots;

struct lm_pending {
    _Atomic size_t refs;
    _Atomic(slots *) newest;
    size_t count;
};

enum { FIRST_SLOTS = 1024 };

static slots *slots_new(size_t n)
{
    slots *fresh = lm_alloc(1, sizeof *fresh + n * sizeof *fresh->at);
    if (fresh) fresh->mask = n - 1;
    return fresh;
}

static void free_chain(slots *table)
{
    while (table) {
        slots *older = table->older;
        lm_free(table);
        table = older;
    }
}

lm_pending *lm_pending_new(void)
{
    lm_pending *pending = lm_alloc(1, sizeof *pending);
    slots *first = slots_new(FIRST_SLOTS);
    if (!pending || !first) {
        lm_free(first);
        return lm_free(pending);
    }
    atomic_init(&pending->refs, 1);
    atomic_init(&pending->newest, first);
    return pending;
}

lm_pending *lm_pending_ref(lm_pending *pending)
{
    atomic_fetch_add(&pending->refs, 1);
    return pending;
}

lm_pending *lm_pending_unref(lm_pending *pending)
{
    if (!pending || atomic_fetch_sub(&pending->refs, 1) != 1) return NULL;
    free_chain(atomic_load(&pending->newest));
    return lm_free(pending);
}

static size_t home(const lm_index_key *key, size_t mask)
{
    uint64_t word;
    memcpy(&word, key->bytes, sizeof word);
    return (size_t)((word * 0x9e3779b97f4a7c15u) >> 20) & mask;
}

static void insert(slots *table, const lm_index_key *key, uint64_t row)
{
    size_t i = home(key, table->mask);
    while (atomic_load_explicit(&table->at[i].row, memory_order_relaxed)) i = (i + 1) & table->mask;
    table->at[i].key = *key;
    atomic_store_explicit(&table->at[i].row, row, memory_order_release);
}

bool lm_pending_reserve(lm_pending *pending, size_t n)
{
    slots *table = atomic_load_explicit(&pending->newest, memory_order_relaxed);
    size_t room = table->mask + 1;
    while (2 * (pending->count + n) > room) room *= 2; /* at most half full: short chains */
    if (room == table->mask + 1) return true;
    slots *grown = slots_new(room);
    if (!grown) return false;
    for (size_t i = 0; i <= table->mask; i++) {
        uint64_t row = atomic_load_explicit(&table->at[i].row, memory_order_relaxed);
        if (row) insert(grown, &table->at[i].key, row);
    }
    atomic_store(&pending->newest, grown);
    /* With our reference the only one nobody is in the old table, and who comes now finds the new one: the four accesses
     * that this rests on (here and in ref() and find()) are in one order for all threads. */
    if (atomic_load(&pending->refs) == 1) free_chain(table);
    else grown->older = table;
    return true;
}

void lm_pending_add(lm_pending *pending, const lm_index_key *key, uint64_t row)
{
    insert(atomic_load_explicit(&pending->newest, memory_order_relaxed), key, row);
    pending->count++;
}

uint64_t lm_pending_find(const lm_pending *pending, const lm_index_key *key, uint64_t last)
{
    const slots *table = atomic_load(&pending->newest);
    uint64_t best = 0;
    for (size_t i = home(key, table->mask);; i = (i + 1) & table->mask) {
        uint64_t row = atomic_load_explicit(&table->at[i].row, memory_order_acquire);
        if (!row) return best;
        if (row > best && row <= last && memcmp(&table->at[i].key, key, sizeof *key) == 0) best = row;
    }
}

size_t lm_pending_count(const lm_pending *pending)
{
    return pending->count;
}

static int by_key(const void *a, const void *b)
{
    const lm_index_entry *x = a, *y = b;
    uint64_t p, q;
    memcpy(&p, x->key.bytes, sizeof p), memcpy(&q, y->key.bytes, sizeof q);
    if (p != q) return be64toh(p) < be64toh(q) ? -1 : 1;
    int order = memcmp(&x->key, &y->key, sizeof x->key);
    return order ? order : (x->row > y->row) - (x->row < y->row);
}

void lm_index_sort(lm_index_entry *entries, size_t n)
{
    qsort(entries, n, sizeof *entries, by_key);
}

lm_index_entry *lm_pending_sorted(const lm_pending *pending)
{
    const slots *table = atomic_load_explicit(&pending->newest, memory_order_relaxed);
    lm_index_entry *entries = lm_alloc_raw(pending->count * sizeof *entries);
    if (!entries) return NULL;
    size_t n = 0;
    for (size_t i = 0; i <= table->mask; i++) {
        uint64_t row = atomic_load_explicit(&table->at[i].row, memory_order_relaxed);
        if (row) entries[n++] = (lm_index_entry){table->at[i].key, row};
    }
    lm_index_sort(entries, n);
    return entries;
}
