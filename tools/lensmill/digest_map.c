#include "tools/lensmill/digest_map.h"
#include "runtime/alloc.h"

enum { FIRST_CAPACITY = 64 };

void lm_digest_map_done(lm_digest_map *map)
{
    lm_free(map->slots);
    *map = (lm_digest_map){NULL, 0, 0};
}

/* Where the digest is, or would be: open addressing, linear. A digest is its own hash. */
static lm_digest_slot *find(const lm_digest_map *map, const uint64_t head[2])
{
    size_t mask = map->capacity - 1;
    for (size_t at = head[0] & mask;; at = (at + 1) & mask) {
        lm_digest_slot *slot = &map->slots[at];
        if (!slot->value || (slot->head[0] == head[0] && slot->head[1] == head[1])) return slot;
    }
}

static bool grow(lm_digest_map *map)
{
    lm_digest_map larger = {.n = map->n, .capacity = map->capacity ? 2 * map->capacity : FIRST_CAPACITY};
    if (!(larger.slots = lm_alloc(larger.capacity, sizeof *larger.slots))) return false;
    for (size_t i = 0; i < map->capacity; i++)
        if (map->slots[i].value) *find(&larger, map->slots[i].head) = map->slots[i];
    lm_free(map->slots);
    *map = larger;
    return true;
}

bool lm_digest_map_put(lm_digest_map *map, const lm_digest *digest, uint64_t value)
{
    uint64_t head[2];
    memcpy(head, digest->bytes, sizeof head);
    if (3 * (map->n + 1) > 2 * map->capacity && !grow(map)) return false;
    lm_digest_slot *slot = find(map, head);
    map->n += !slot->value;
    *slot = (lm_digest_slot){{head[0], head[1]}, value + 1};
    return true;
}

bool lm_digest_map_get(const lm_digest_map *map, const lm_digest *digest, uint64_t *ret)
{
    if (!map->n) return false;
    uint64_t head[2];
    memcpy(head, digest->bytes, sizeof head);
    const lm_digest_slot *slot = find(map, head);
    if (!slot->value) return false;
    if (ret) *ret = slot->value - 1;
    return true;
}
