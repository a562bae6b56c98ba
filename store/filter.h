/* What is surely not in the index: a Bloom filter over its keys, so that a row that is new costs no search of a large tree.
 *
 * Each key sets eight bits of one block of 32 bytes, one in each word (F. Putze, P. Sanders and J. Singler, "Cache-, hash-
 * and space-efficient Bloom filters", 2007; the sizes are those of Apache Parquet). One thread adds, any thread asks.
 */
#ifndef LM_STORE_FILTER_H
#define LM_STORE_FILTER_H

#include "store/pending.h"

typedef struct lm_filter lm_filter;

lm_filter *lm_filter_new(size_t keys); /* NULL without memory. With up to `keys` keys 1 in 100 is wrongly expected. */
lm_filter *lm_filter_ref(lm_filter *filter);
lm_filter *lm_filter_unref(lm_filter *filter); /* from any thread */
size_t lm_filter_capacity(const lm_filter *filter);
void lm_filter_add(lm_filter *filter, const lm_index_key *key);
bool lm_filter_may_hold(const lm_filter *filter, const lm_index_key *key);

#endif
