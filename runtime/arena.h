/* An arena: memory that is given back all at once. Not thread safe; 16-byte aligned (64 for lm_arena_data). */
#ifndef LM_RUNTIME_ARENA_H
#define LM_RUNTIME_ARENA_H

#include <stdarg.h>
#include <stddef.h>

typedef struct lm_arena_block lm_arena_block;
typedef struct lm_arena {
    lm_arena_block *first; /* newest first */
    size_t used;           /* in the newest block */
} lm_arena;

void lm_arena_init(lm_arena *arena);
void lm_arena_done(lm_arena *arena);
void lm_arena_reset(lm_arena *arena); /* everything handed out becomes invalid; one block is kept */
void *lm_arena_alloc(lm_arena *arena, size_t n, size_t size); /* zeroed; NULL without memory */
void *lm_arena_data(lm_arena *arena, size_t n, size_t size);  /* 64-byte aligned, not zeroed */
char *lm_arena_strdup(lm_arena *arena, const char *text);
char *lm_arena_strndup(lm_arena *arena, const char *text, size_t n);
char *lm_arena_printf(lm_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
