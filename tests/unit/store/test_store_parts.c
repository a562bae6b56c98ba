/* The store's in-memory parts: rows that wait for the index, and the filter of what it holds. */
#include "store/filter.h"
#include "store/pending.h"
#include "tests/test.h"

static lm_index_key key_of(unsigned n)
{
    lm_digest digest = lm_digest_of(&n, sizeof n);
    return lm_index_key_of(1 + n % 4, &digest);
}

TEST(pending_finds_the_newest_that_a_snapshot_may_see)
{
    LM_OWN(lm_pending) pending = lm_pending_new();
    lm_index_key a = key_of(1), b = key_of(2);
    CHECK(lm_pending_reserve(pending, 4));
    lm_pending_add(pending, &a, 10);
    lm_pending_add(pending, &b, 11);
    lm_pending_add(pending, &a, 20); /* a replacement */
    EQUAL_INT(lm_pending_find(pending, &a, 9), 0);
    EQUAL_INT(lm_pending_find(pending, &a, 10), 10);
    EQUAL_INT(lm_pending_find(pending, &a, 19), 10);
    EQUAL_INT(lm_pending_find(pending, &a, UINT64_MAX), 20);
    EQUAL_INT(lm_pending_find(pending, &b, UINT64_MAX), 11);
    lm_index_key c = key_of(3);
    EQUAL_INT(lm_pending_find(pending, &c, UINT64_MAX), 0);
}

TEST(pending_grows_and_sorts)
{
    enum { N = 20000 };
    LM_OWN(lm_pending) pending = lm_pending_new();
    LM_OWN(lm_pending) other = lm_pending_ref(pending);
    for (unsigned i = 0; i < N; i++) {
        lm_index_key key = key_of(i % (N - 100)); /* the last hundred come twice */
        CHECK(lm_pending_reserve(pending, 1));
        lm_pending_add(pending, &key, i + 1);
    }
    EQUAL_INT(lm_pending_count(pending), N);
    for (unsigned i = 0; i < N - 100; i++) {
        lm_index_key key = key_of(i);
        EQUAL_INT(lm_pending_find(other, &key, UINT64_MAX), i < 100 ? N - 100 + i + 1 : i + 1);
    }
    lm_index_entry *entries = lm_pending_sorted(pending);
    CHECK(entries);
    unsigned wrong = 0, equal = 0;
    for (unsigned i = 1; i < N; i++) {
        int order = memcmp(&entries[i - 1].key, &entries[i].key, sizeof entries->key);
        wrong += order > 0 || (order == 0 && entries[i - 1].row >= entries[i].row);
        equal += order == 0;
    }
    lm_free(entries);
    EQUAL_INT(wrong, 0);
    EQUAL_INT(equal, 100);
}

TEST(filter_forgets_nothing_and_expects_little_else)
{
    enum { N = 100000 };
    lm_filter *filter = lm_filter_new(N);
    for (unsigned i = 0; i < N; i++) {
        lm_index_key key = key_of(i);
        lm_filter_add(filter, &key);
    }
    unsigned forgotten = 0, expected = 0;
    for (unsigned i = 0; i < N; i++) {
        lm_index_key key = key_of(i), other = key_of(N + i);
        forgotten += !lm_filter_may_hold(filter, &key);
        expected += lm_filter_may_hold(filter, &other);
    }
    lm_filter_unref(filter);
    EQUAL_INT(forgotten, 0);
    CHECK(expected <
          N / 50); /* at 10 bits a key a filter of this kind expects 1 in 100 wrongly; twice that is a fault */
    CHECK(expected > 0);
}
