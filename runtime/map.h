/* A map from text to pointers: open addressing, keys copied. For joins, lookups and sets of names. Not thread safe. */
#ifndef LM_RUNTIME_MAP_H
#define LM_RUNTIME_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct lm_map_slot {
    uint64_t hash;
    char *key; /* NULL: never used; LM_MAP_GONE: removed */
    void *value;
} lm_map_slot;

typedef struct lm_map {
    lm_map_slot *slots;
    size_t n, used, capacity; /* used: with removed ones */
} lm_map;

void lm_map_init(lm_map *map);
void lm_map_done(lm_map *map); /* values are the caller's */
/* NULL: not there, or its value is NULL (lm_map_has tells). */
void *lm_map_get(const lm_map *map, const char *key);
bool lm_map_has(const lm_map *map, const char *key);
/* Adds or replaces. Returns false without memory (nothing changed). *ret_old may be NULL; the value that was there. */
bool lm_map_put(lm_map *map, const char *key, void *value, void **ret_old);
void *lm_map_remove(lm_map *map, const char *key); /* the value; NULL if it was not there */
/* Walks: *at starts at 0. Returns false at the end. Do not put meanwhile. */
bool lm_map_next(const lm_map *map, size_t *at, const char **ret_key, void **ret_value);

#endif
