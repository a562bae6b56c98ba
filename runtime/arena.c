#include "runtime/arena.h"
#include "runtime/alloc.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { FIRST_BLOCK = 4096, LAST_BLOCK = 1 << 20, KEEP = 4 << 20 };

struct lm_arena_block {
    lm_arena_block *next;
    size_t size; /* of the bytes behind this header */
    _Alignas(64) unsigned char bytes[];
};

void lm_arena_init(lm_arena *arena)
{
    *arena = (lm_arena){0};
}

void lm_arena_done(lm_arena *arena)
{
    while (arena->first) {
        lm_arena_block *next = arena->first->next;
        lm_free(arena->first);
        arena->first = next;
    }
    arena->used = 0;
}

void lm_arena_reset(lm_arena *arena)
{
    lm_arena_block *kept = arena->first;
    if (kept) {
        arena->first = kept->next;
        kept->next = NULL;
    }
    lm_arena_done(arena);
    if (kept && kept->size > KEEP) kept = lm_free(kept);
    arena->first = kept;
}

static void *take(lm_arena *arena, size_t n, size_t size, size_t align)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes) || bytes > SIZE_MAX / 2) return NULL;
    if (arena->first) {
        size_t at = (arena->used + align - 1) & ~(align - 1);
        if (at <= arena->first->size && bytes <= arena->first->size - at) {
            arena->used = at + bytes;
            return arena->first->bytes + at;
        }
    }
    size_t want = arena->first ? 2 * arena->first->size : FIRST_BLOCK;
    if (want > LAST_BLOCK) want = LAST_BLOCK;
    if (want < bytes) want = bytes;
    lm_arena_block *block = lm_alloc_data(sizeof *block + want);
    if (!block) return NULL;
    block->size = want;
    block->next = arena->first;
    arena->first = block;
    arena->used = bytes;
    return block->bytes;
}

void *lm_arena_alloc(lm_arena *arena, size_t n, size_t size)
{
    void *p = take(arena, n, size, 16);
    if (p) memset(p, 0, n * size);
    return p;
}

void *lm_arena_data(lm_arena *arena, size_t n, size_t size)
{
    return take(arena, n, size, 64);
}

char *lm_arena_strndup(lm_arena *arena, const char *text, size_t n)
{
    char *copy = take(arena, n + 1, 1, 1);
    if (!copy) return NULL;
    memcpy(copy, text, n);
    copy[n] = 0;
    return copy;
}

char *lm_arena_strdup(lm_arena *arena, const char *text)
{
    return lm_arena_strndup(arena, text, strlen(text));
}

char *lm_arena_printf(lm_arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = n < 0 ? NULL : take(arena, (size_t)n + 1, 1, 1);
    if (text) vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    return text;
}
