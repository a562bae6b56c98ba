/* Memory: the one door to malloc, so that a test can make the n-th allocation fail.
 *
 * Every function returns NULL when memory cannot be had (or when n * size overflows), and lm_free() returns NULL so
 * that a pointer is cleared where it is freed: p = lm_free(p).
 */
#ifndef LM_RUNTIME_ALLOC_H
#define LM_RUNTIME_ALLOC_H

#include <stddef.h>
#include <stdint.h>

void *lm_alloc(size_t n, size_t size) __attribute__((malloc, alloc_size(1, 2))); /* zeroed */
void *lm_alloc_raw(size_t bytes) __attribute__((malloc, alloc_size(1)));         /* not zeroed */
void *lm_alloc_data(size_t bytes) __attribute__((malloc, alloc_size(1)));        /* 64-byte aligned, not zeroed */
void *lm_realloc(void *p, size_t n, size_t size) __attribute__((alloc_size(2, 3)));
char *lm_strdup(const char *text) __attribute__((malloc));
char *lm_strndup(const char *text, size_t n) __attribute__((malloc));
void *lm_free(void *p);

/* Blocks of one size that come and go by the million (records, items): each thread keeps a stack of them. size: at most
 * LM_BLOCK_MOST, the same at give-back. Not zeroed. */
enum { LM_BLOCK_MOST = 1024 };
void *lm_block_take(size_t size) __attribute__((malloc, alloc_size(1)));
void lm_block_give(void *block, size_t size);

/* Makes room for one more element in a growing array: doubles *cap when n == *cap. Returns false without memory. */
_Bool lm_grow(void *array_pointer, size_t n, size_t *cap, size_t size);

/* Fault injection for tests: the n-th allocation from now on (counted over all threads, from 1) fails, once.
 * 0 switches it off. lm_alloc_count() tells how many were made since. */
void lm_alloc_fail_at(uint64_t n);
uint64_t lm_alloc_count(void);

/* LM_OWN(lm_record) r = NULL;  calls lm_record_cleanup(&r) on every way out of the scope.
 * LM_OWNABLE(lm_record, lm_record_unref) defines that function. lm_take(p) hands ownership on and clears p. */
#define LM_OWN(type) __attribute__((cleanup(type##_cleanup))) type *
#define LM_OWNABLE(type, release)                                                                                      \
    static inline __attribute__((unused)) void type##_cleanup(type **owned_)                                           \
    {                                                                                                                  \
        if (*owned_) (void)release(*owned_);                                                                           \
    }
#define lm_take(p)                                                                                                     \
    __extension__({                                                                                                    \
        __auto_type lm_taken_ = (p);                                                                                   \
        (p) = NULL;                                                                                                    \
        lm_taken_;                                                                                                     \
    })

typedef char lm_chars;
typedef void lm_memory;
LM_OWNABLE(lm_chars, lm_free)
static inline __attribute__((unused)) void lm_memory_cleanup(void *owned)
{
    lm_free(*(void **)owned);
}

#endif
