/* The guard against poisonous records: a small mapped file, `inflight`, that names the steps under way.
 *
 * A worker writes the step into its slot before it calls the operator and clears it after. When the process dies, the file
 * still says what each worker was doing. At the next start the steps of a crash are counted; one that was there in two
 * crashes is not run again but becomes a dead letter. A crash is a deadly signal of the process's own making (SIGSEGV,
 * SIGABRT, SIGBUS, SIGFPE, SIGILL: a handler marks the file) or a death by the kernel's out-of-memory killer (its counter
 * went up). A plain kill -9, or the power going, is nobody's fault and is not counted.
 */
#ifndef LM_RUNTIME_GUARD_H
#define LM_RUNTIME_GUARD_H

#include "runtime/digest.h"
#include "store/store.h"

#include <stdbool.h>

enum { GUARD_SLOTS = 256, GUARD_ID = 152 };

typedef struct guard_slot {
    uint32_t active;
    uint32_t reserved;
    uint64_t recipe; /* first bytes of the node's recipe digest */
    uint64_t index;
    char node[48];
    char id[GUARD_ID];
    char pad[256 - 24 - 48 - GUARD_ID];
} guard_slot;

typedef struct guard guard;

/* Opens the file of a store that is open for writing; counts what an earlier process left there. */
lm_status guard_open(lm_store *store, guard **ret, lm_error *err);
guard *guard_close(guard *g); /* a clean end */
guard_slot *guard_slot_of(guard *g, unsigned worker);
/* Was this step under way in two crashes? False at once when there were none. */
bool guard_suspects(const guard *g, const lm_digest *recipe, const char *id);
/* Forgets all counts: `dead retry`. */
lm_status guard_forget(lm_store *store, lm_error *err);

static inline void guard_enter(guard_slot *slot, const lm_digest *recipe, const char *node, const char *id,
                               uint64_t index)
{
    if (!slot) return;
    memcpy(&slot->recipe, recipe->bytes, sizeof slot->recipe);
    slot->index = index;
    strncpy(slot->node, node, sizeof slot->node - 1);
    size_t n = strnlen(id, GUARD_ID - 1);
    memcpy(slot->id, id, n);
    slot->id[n] = 0;
    __atomic_store_n(&slot->active, 1, __ATOMIC_RELEASE);
}

static inline void guard_leave(guard_slot *slot)
{
    if (slot) __atomic_store_n(&slot->active, 0, __ATOMIC_RELEASE);
}

#endif
