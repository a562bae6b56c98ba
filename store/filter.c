#include "store/filter.h"

#include "runtime/alloc.h"

#include <stdatomic.h>
#include <string.h>

enum { WORDS = 8, BITS_A_KEY = 10 };

typedef struct block {
    _Atomic uint32_t words[WORDS];
} block;

struct lm_filter {
    _Atomic size_t refs;
    size_t capacity, n_blocks;
    block *blocks;
};

lm_filter *lm_filter_new(size_t keys)
{
    lm_filter *filter = lm_alloc(1, sizeof *filter);
    if (!filter) return NULL;
    filter->n_blocks = keys / (32 * WORDS / BITS_A_KEY) + 1;
    filter->blocks = lm_alloc(filter->n_blocks, sizeof *filter->blocks);
    if (!filter->blocks) return lm_free(filter);
    filter->capacity = keys;
    atomic_init(&filter->refs, 1);
    return filter;
}

lm_filter *lm_filter_ref(lm_filter *filter)
{
    if (filter) atomic_fetch_add(&filter->refs, 1);
    return filter;
}

lm_filter *lm_filter_unref(lm_filter *filter)
{
    if (!filter || atomic_fetch_sub(&filter->refs, 1) != 1) return NULL;
    lm_free(filter->blocks);
    return lm_free(filter);
}

size_t lm_filter_capacity(const lm_filter *filter)
{
    return filter->capacity;
}

/* The key is a digest: its bytes are as random as any hash of them. */
static block *block_of(const lm_filter *filter, const lm_index_key *key, uint64_t *ret_bits)
{
    uint64_t place;
    memcpy(&place, key->bytes, sizeof place);
    memcpy(ret_bits, key->bytes + 8, sizeof *ret_bits);
    return &filter->blocks[(uint64_t)((unsigned __int128)place * filter->n_blocks >> 64)];
}

void lm_filter_add(lm_filter *filter, const lm_index_key *key)
{
    uint64_t bits;
    block *b = block_of(filter, key, &bits);
    for (int i = 0; i < WORDS; i++, bits >>= 5) {
        uint32_t word = atomic_load_explicit(&b->words[i], memory_order_relaxed);
        atomic_store_explicit(&b->words[i], word | 1u << (bits & 31), memory_order_relaxed); /* one thread adds */
    }
}

bool lm_filter_may_hold(const lm_filter *filter, const lm_index_key *key)
{
    uint64_t bits;
    const block *b = block_of(filter, key, &bits);
    for (int i = 0; i < WORDS; i++, bits >>= 5)
        if (!(atomic_load_explicit(&b->words[i], memory_order_relaxed) >> (bits & 31) & 1)) return false;
    return true;
}
