/* What the verbs of `lensmill store` and `lensmill dead` share: opening, the runs and recipes of a store, how digests, times
 * and JSON are written.
 */
#ifndef LM_TOOLS_STORE_VERBS_H
#define LM_TOOLS_STORE_VERBS_H

#include "runtime/arena.h"
#include "schemas/lensmill.pb-c.h"
#include "store/store.h"
#include "tools/lensmill/digest_map.h"
#include "tools/lensmill/options.h"

#include <jansson.h>

/* The verbs, each in store_<name>.c; argv[0] is "store NAME". */
int lm_store_ls(int argc, char **argv);
int lm_store_show(int argc, char **argv);
int lm_store_export(int argc, char **argv);
int lm_store_trace(int argc, char **argv);
int lm_store_verify(int argc, char **argv);
int lm_store_gc(int argc, char **argv);
int lm_store_union(int argc, char **argv); /* store merge */

enum { LM_SHORT_DIGEST = 12 }; /* hexadecimal digits of a digest in a table */

/* Opens the store in `place`, which must be there, also to write. command: "store ls", for the message. False: what is
 * wrong has been printed, and *ret_status is the exit status: 2 when there is no store, else 1. */
bool lm_open_store(const char *command, const char *place, lm_store_mode mode, const char *holder, lm_store **ret,
                   int *ret_status);
/* Prints the error of a verb; returns LM_EXIT_FAILED. */
int lm_verb_failed(const char *command, const lm_error *err);

/* Stored messages, unpacked into the arena. NULL: no message, of a newer format, or out of memory. */
Lensmill__Step *lm_unpack_step(lm_arena *arena, lm_view view);
Lensmill__Recipe *lm_unpack_recipe(lm_arena *arena, lm_view view);
Lensmill__Run *lm_unpack_run(lm_arena *arena, lm_view view);
Lensmill__DeadLetter *lm_unpack_letter(lm_arena *arena, lm_view view);
Lensmill__Receipt *lm_unpack_receipt(lm_arena *arena, lm_view view);
Lensmill__File *lm_unpack_file(lm_arena *arena, lm_view view);
/* False if the bytes are no digest. */
bool lm_digest_from(ProtobufCBinaryData bytes, lm_digest *ret);

/* What a step's outputs lie in: fn is told each artifact and each tensor that has a row of its own, as often as it is named.
 * Not what is not there. fn returns false to stop. */
typedef bool (*lm_held_fn)(void *arg, lm_row_kind kind, const lm_digest *digest, lm_view view);
lm_status lm_step_holds(lm_snapshot *snapshot, lm_arena *arena, const Lensmill__Step *step, lm_held_fn fn, void *arg,
                        lm_error *err);

/* The runs, in the order of their numbers, and the recipes of a store; few, and kept in memory. */
typedef struct lm_catalog {
    lm_arena arena;
    Lensmill__Run **runs;
    size_t n_runs, runs_capacity;
    Lensmill__Recipe **recipes;
    lm_digest *digests; /* of the recipes */
    size_t n_recipes, recipes_capacity, digests_capacity;
    lm_digest_map by_digest;
    bool failed; /* while loading: out of memory */
} lm_catalog;
lm_status lm_catalog_load(lm_snapshot *snapshot, lm_catalog *ret, lm_error *err); /* lm_catalog_done() in any case */
void lm_catalog_done(lm_catalog *catalog);
const Lensmill__Run *lm_catalog_run(const lm_catalog *catalog, uint64_t number); /* NULL: not known */
/* NULL: not there. ret_index may be NULL. */
const Lensmill__Recipe *lm_catalog_recipe(const lm_catalog *catalog, ProtobufCBinaryData digest, size_t *ret_index);
/* The name that the node of a recipe had in a run; NULL: it was not part of it. */
const char *lm_run_node(const Lensmill__Run *run, ProtobufCBinaryData recipe);
/* "done", "failed", "stopped", "running", "died", ...: newest tells whether there is a later run. */
const char *lm_run_status(const Lensmill__Run *run, const char *folder, bool newest);

/* The first `digits` hexadecimal digits. Returns buffer. */
char *lm_digits(char buffer[65], const void *digest, size_t digits);
/* "2026-11-23 19:20:01", in local time; "?" for 0. Returns buffer. */
char *lm_when(char buffer[32], uint64_t seconds);
/* How a count is said: "1 step", "2 steps". Returns buffer. */
char *lm_counted(char buffer[64], uint64_t n, const char *one, const char *many);

json_t *lm_json_text(const char *text); /* bytes that are no UTF-8 become '?' */
json_t *lm_json_digest(ProtobufCBinaryData digest);
json_t *lm_json_when(uint64_t seconds); /* ISO 8601 in UTC, null for 0 */
json_t *lm_json_run(const Lensmill__Run *run, const char *status);
json_t *lm_json_params(const Lensmill__Recipe *recipe); /* parsed; as text where that fails */
/* Prints one line of compact JSON on standard output and drops it. Returns `status`; 1 without memory (value NULL). */
int lm_print_json(const char *command, json_t *value, int status);

#endif
