/* A map from digests to numbers, for walks over a whole store: 24 bytes an entry. Not thread safe. */
#ifndef LM_TOOLS_DIGEST_MAP_H
#define LM_TOOLS_DIGEST_MAP_H

#include "runtime/digest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of a digest its first 16 bytes are kept: two of 10^9 digests agree in them with a chance of 10^-21. */
typedef struct lm_digest_slot {
    uint64_t head[2];
    uint64_t value; /* 0: free; else the value + 1 */
} lm_digest_slot;

typedef struct lm_digest_map {
    lm_digest_slot *slots;
    size_t n, capacity;
} lm_digest_map; /* zeros: empty */

void lm_digest_map_done(lm_digest_map *map);
/* Adds or replaces. value < UINT64_MAX. False without memory, and nothing changed. */
bool lm_digest_map_put(lm_digest_map *map, const lm_digest *digest, uint64_t value);
/* False: not there, and *ret stays as it is. ret may be NULL. */
bool lm_digest_map_get(const lm_digest_map *map, const lm_digest *digest, uint64_t *ret);

#endif
