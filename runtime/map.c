#include "runtime/map.h"
#include "runtime/alloc.h"

#include <string.h>

static char gone; /* the address marks a removed slot */

void lm_map_init(lm_map *map)
{
    *map = (lm_map){0};
}

void lm_map_done(lm_map *map)
{
    for (size_t i = 0; i < map->capacity; i++)
        if (map->slots[i].key != &gone) lm_free(map->slots[i].key);
    lm_free(map->slots);
    *map = (lm_map){0};
}

/* FNV-1a */
static uint64_t hash_of(const char *key)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (const unsigned char *c = (const unsigned char *)key; *c; c++) hash = (hash ^ *c) * 0x100000001b3u;
    return hash ^ hash >> 29;
}

static lm_map_slot *find(const lm_map *map, const char *key, uint64_t hash)
{
    if (!map->capacity) return NULL;
    for (size_t i = hash & (map->capacity - 1);; i = (i + 1) & (map->capacity - 1)) {
        lm_map_slot *slot = &map->slots[i];
        if (!slot->key) return NULL;
        if (slot->key != &gone && slot->hash == hash && strcmp(slot->key, key) == 0) return slot;
    }
}

static void place(lm_map *map, uint64_t hash, char *key, void *value)
{
    size_t i = hash & (map->capacity - 1);
    while (map->slots[i].key && map->slots[i].key != &gone) i = (i + 1) & (map->capacity - 1);
    map->used += !map->slots[i].key;
    map->slots[i] = (lm_map_slot){hash, key, value};
    map->n++;
}

static bool make_room(lm_map *map)
{
    if (4 * (map->used + 1) <= 3 * map->capacity) return true;
    size_t capacity = map->capacity ? map->capacity : 16;
    while (2 * (map->n + 1) > capacity) capacity *= 2;
    lm_map_slot *slots = lm_alloc(capacity, sizeof *slots);
    if (!slots) return false;
    lm_map old = *map;
    *map = (lm_map){slots, 0, 0, capacity};
    for (size_t i = 0; i < old.capacity; i++)
        if (old.slots[i].key && old.slots[i].key != &gone)
            place(map, old.slots[i].hash, old.slots[i].key, old.slots[i].value);
    lm_free(old.slots);
    return true;
}

void *lm_map_get(const lm_map *map, const char *key)
{
    lm_map_slot *slot = find(map, key, hash_of(key));
    return slot ? slot->value : NULL;
}

bool lm_map_has(const lm_map *map, const char *key)
{
    return find(map, key, hash_of(key)) != NULL;
}

bool lm_map_put(lm_map *map, const char *key, void *value, void **ret_old)
{
    uint64_t hash = hash_of(key);
    lm_map_slot *slot = find(map, key, hash);
    if (slot) {
        if (ret_old) *ret_old = slot->value;
        slot->value = value;
        return true;
    }
    char *copy = lm_strdup(key);
    if (!copy || !make_room(map)) {
        lm_free(copy);
        return false;
    }
    if (ret_old) *ret_old = NULL;
    place(map, hash, copy, value);
    return true;
}

void *lm_map_remove(lm_map *map, const char *key)
{
    lm_map_slot *slot = find(map, key, hash_of(key));
    if (!slot) return NULL;
    lm_free(slot->key);
    slot->key = &gone;
    map->n--;
    return slot->value;
}

bool lm_map_next(const lm_map *map, size_t *at, const char **ret_key, void **ret_value)
{
    for (; *at < map->capacity; (*at)++) {
        const lm_map_slot *slot = &map->slots[*at];
        if (!slot->key || slot->key == &gone) continue;
        *ret_key = slot->key;
        *ret_value = slot->value;
        (*at)++;
        return true;
    }
    return false;
}
