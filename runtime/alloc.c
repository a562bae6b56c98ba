#include "runtime/alloc.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static _Atomic uint64_t fail_at; /* 0: never */
static _Atomic uint64_t made;

/* The counter is touched only while a test has armed it: allocation stays free of shared cache lines otherwise. */
static _Bool fails(void)
{
    uint64_t at = atomic_load_explicit(&fail_at, memory_order_relaxed);
    return at && atomic_fetch_add(&made, 1) + 1 == at;
}

void lm_alloc_fail_at(uint64_t n)
{
    atomic_store(&made, 0);
    atomic_store(&fail_at, n);
}

uint64_t lm_alloc_count(void)
{
    return atomic_load(&made);
}

void *lm_alloc(size_t n, size_t size)
{
    if (fails()) return NULL;
    return calloc(n ? n : 1, size ? size : 1);
}

void *lm_alloc_raw(size_t bytes)
{
    if (fails()) return NULL;
    return malloc(bytes ? bytes : 1);
}

void *lm_alloc_data(size_t bytes)
{
    if (fails()) return NULL;
    if (bytes > SIZE_MAX - 64) return NULL;
    return aligned_alloc(64, (bytes + 64) & ~(size_t)63);
}

void *lm_realloc(void *p, size_t n, size_t size)
{
    size_t bytes;
    if (fails() || __builtin_mul_overflow(n, size, &bytes)) return NULL;
    return realloc(p, bytes ? bytes : 1);
}

char *lm_strndup(const char *text, size_t n)
{
    char *copy = lm_alloc_raw(n + 1);
    if (!copy) return NULL;
    memcpy(copy, text, n);
    copy[n] = 0;
    return copy;
}

char *lm_strdup(const char *text)
{
    return lm_strndup(text, strlen(text));
}

void *lm_free(void *p)
{
    free(p);
    return NULL;
}

/* A stack of free blocks a thread and size class. A checking build has none: every use after free is seen there. */
enum { CLASS = 64, CLASSES = LM_BLOCK_MOST / CLASS + 1, KEPT = 2048 };

typedef struct block {
    struct block *next;
} block;

typedef struct stacks {
    block *top[CLASSES];
    unsigned n[CLASSES];
} stacks;

#ifdef LM_SANITIZED
void *lm_block_take(size_t size)
{
    return lm_alloc_raw(size);
}

void lm_block_give(void *p, size_t size)
{
    (void)size;
    free(p);
}
#else
static _Thread_local stacks *mine;
static pthread_key_t stacks_key;
static pthread_once_t stacks_once = PTHREAD_ONCE_INIT;

static void drop_stacks(void *arg)
{
    stacks *s = arg;
    for (size_t i = 0; i < CLASSES; i++)
        while (s->top[i]) {
            block *next = s->top[i]->next;
            free(s->top[i]);
            s->top[i] = next;
        }
    free(s);
    mine = NULL;
}

static void make_stacks_key(void)
{
    if (pthread_key_create(&stacks_key, drop_stacks)) abort();
}

void *lm_block_take(size_t size)
{
    size_t class = (size + CLASS - 1) / CLASS;
    stacks *s = mine;
    block *b = s ? s->top[class] : NULL;
    if (!b || __builtin_expect(atomic_load_explicit(&fail_at, memory_order_relaxed) != 0, 0))
        return lm_alloc_raw(class * CLASS);
    s->top[class] = b->next;
    s->n[class]--;
    return b;
}

void lm_block_give(void *p, size_t size)
{
    size_t class = (size + CLASS - 1) / CLASS;
    stacks *s = mine;
    if (__builtin_expect(!s, 0)) {
        pthread_once(&stacks_once, make_stacks_key);
        s = mine = calloc(1, sizeof *mine);
        if (s && pthread_setspecific(stacks_key, s)) {
            drop_stacks(s);
            s = NULL;
        }
    }
    if (!s || s->n[class] >= KEPT) {
        free(p);
        return;
    }
    block *b = p;
    b->next = s->top[class];
    s->top[class] = b;
    s->n[class]++;
}
#endif

_Bool lm_grow(void *array_pointer, size_t n, size_t *cap, size_t size)
{
    if (n < *cap) return 1;
    void *array;
    memcpy(&array, array_pointer, sizeof array);
    size_t more = *cap ? 2 * *cap : 8;
    void *grown = lm_realloc(array, more, size);
    if (!grown) return 0;
    memcpy(array_pointer, &grown, sizeof grown);
    *cap = more;
    return 1;
}
