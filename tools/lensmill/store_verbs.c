#include "tools/lensmill/store_verbs.h"
#include "runtime/text.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

bool lm_open_store(const char *command, const char *place, lm_store_mode mode, const char *holder, lm_store **ret,
                   int *ret_status)
{
    char current[4200];
    snprintf(current, sizeof current, "%.4096s/current", place);
    if (access(current, F_OK) && (errno == ENOENT || errno == ENOTDIR)) {
        *ret_status = lm_usage_error(command, "A run makes one; --store names another folder.",
                                     "there is no store in \"%s\"", place);
        return false;
    }
    lm_error err = {0};
    if (!lm_store_open(place, mode, holder, ret, &err)) return true;
    *ret_status = lm_verb_failed(command, &err);
    return false;
}

int lm_verb_failed(const char *command, const lm_error *err)
{
    char before[64];
    snprintf(before, sizeof before, "lensmill %s", command);
    lm_print_error(before, err);
    return LM_EXIT_FAILED;
}

/* ---- messages ---- */

static void *arena_alloc(void *arena, size_t n)
{
    return lm_arena_data(arena, n, 1);
}

static void arena_free(void *arena, void *p)
{
    (void)arena, (void)p;
}

#define UNPACK(type, name)                                                                                             \
    type *name(lm_arena *arena, lm_view view)                                                                          \
    {                                                                                                                  \
        ProtobufCAllocator allocator = {arena_alloc, arena_free, arena};                                               \
        type *message =                                                                                                \
            (type *)(void *)protobuf_c_message_unpack(&DESCRIPTOR(type), &allocator, view.size, view.data);            \
        return message && message->format <= LM_STORE_FORMAT ? message : NULL;                                         \
    }
#define DESCRIPTOR(type)                                                                                               \
    (*_Generic((type *)NULL, Lensmill__Step *                                                                          \
               : &lensmill__step__descriptor, Lensmill__Recipe *                                                       \
               : &lensmill__recipe__descriptor, Lensmill__Run *                                                        \
               : &lensmill__run__descriptor, Lensmill__DeadLetter *                                                    \
               : &lensmill__dead_letter__descriptor, Lensmill__Receipt *                                               \
               : &lensmill__receipt__descriptor, Lensmill__File *                                                      \
               : &lensmill__file__descriptor))
UNPACK(Lensmill__Step, lm_unpack_step)
UNPACK(Lensmill__Recipe, lm_unpack_recipe)
UNPACK(Lensmill__Run, lm_unpack_run)
UNPACK(Lensmill__DeadLetter, lm_unpack_letter)
UNPACK(Lensmill__Receipt, lm_unpack_receipt)
UNPACK(Lensmill__File, lm_unpack_file)

bool lm_digest_from(ProtobufCBinaryData bytes, lm_digest *ret)
{
    if (bytes.len != sizeof ret->bytes) return false;
    memcpy(ret->bytes, bytes.data, sizeof ret->bytes);
    return true;
}

static lm_status record_holds(lm_snapshot *snapshot, lm_arena *arena, lm_view artifact, lm_held_fn fn, void *arg,
                              bool *go_on, lm_error *err)
{
    ProtobufCAllocator allocator = {arena_alloc, arena_free, arena};
    const Lensmill__Record *record = lensmill__record__unpack(&allocator, artifact.size, artifact.data);
    for (size_t i = 0; record && *go_on && i < record->n_tensors; i++) {
        lm_digest digest;
        lm_view view;
        if (record->tensors[i]->tensor || !lm_digest_from(record->tensors[i]->digest, &digest)) continue;
        LM_TRY(lm_snapshot_find(snapshot, LM_ROW_TENSOR, &digest, &view, err));
        if (view.data) *go_on = fn(arg, LM_ROW_TENSOR, &digest, view);
    }
    return LM_OK;
}

lm_status lm_step_holds(lm_snapshot *snapshot, lm_arena *arena, const Lensmill__Step *step, lm_held_fn fn, void *arg,
                        lm_error *err)
{
    bool go_on = true;
    for (size_t i = 0; i < step->n_outputs && go_on; i++) {
        const Lensmill__Output *output = step->outputs[i];
        lm_digest digest;
        lm_view view = {output->artifact.data, output->artifact.len};
        if (!lm_digest_from(output->digest, &digest)) continue;
        if (!view.size) {
            LM_TRY(lm_snapshot_find(snapshot, LM_ROW_ARTIFACT, &digest, &view, err));
            if (!view.data) continue;
            go_on = fn(arg, LM_ROW_ARTIFACT, &digest, view);
        }
        if (go_on) LM_TRY(record_holds(snapshot, arena, view, fn, arg, &go_on, err));
    }
    return LM_OK;
}

/* ---- runs and recipes ---- */

static bool add_run(void *arg, lm_view key, lm_view value)
{
    lm_catalog *c = arg;
    (void)key;
    Lensmill__Run *run = lm_unpack_run(&c->arena, value);
    if (!run) return true; /* store verify tells */
    c->failed = !lm_grow(&c->runs, c->n_runs, &c->runs_capacity, sizeof *c->runs);
    if (!c->failed) c->runs[c->n_runs++] = run;
    return !c->failed;
}

static bool add_recipe(void *arg, lm_row_kind kind, const lm_digest *digest, lm_view value, uint64_t sequence)
{
    lm_catalog *c = arg;
    (void)kind, (void)sequence;
    Lensmill__Recipe *recipe = lm_unpack_recipe(&c->arena, value);
    if (!recipe) return true;
    c->failed = !lm_grow(&c->recipes, c->n_recipes, &c->recipes_capacity, sizeof *c->recipes) ||
                !lm_grow(&c->digests, c->n_recipes, &c->digests_capacity, sizeof *c->digests) ||
                !lm_digest_map_put(&c->by_digest, digest, c->n_recipes);
    if (c->failed) return false;
    c->digests[c->n_recipes] = *digest;
    c->recipes[c->n_recipes++] = recipe;
    return true;
}

lm_status lm_catalog_load(lm_snapshot *snapshot, lm_catalog *ret, lm_error *err)
{
    memset(ret, 0, sizeof *ret);
    lm_arena_init(&ret->arena);
    LM_TRY(lm_snapshot_entries(snapshot, LM_TABLE_RUNS, add_run, ret, err));
    if (!ret->failed) LM_TRY(lm_snapshot_rows(snapshot, LM_ROW_RECIPE, false, add_recipe, ret, err));
    return ret->failed ? LM_NOMEM(err) : LM_OK;
}

void lm_catalog_done(lm_catalog *catalog)
{
    lm_arena_done(&catalog->arena);
    lm_free(catalog->runs);
    lm_free(catalog->recipes);
    lm_free(catalog->digests);
    lm_digest_map_done(&catalog->by_digest);
}

const Lensmill__Run *lm_catalog_run(const lm_catalog *catalog, uint64_t number)
{
    for (size_t i = 0; i < catalog->n_runs; i++)
        if (catalog->runs[i]->number == number) return catalog->runs[i];
    return NULL;
}

const Lensmill__Recipe *lm_catalog_recipe(const lm_catalog *catalog, ProtobufCBinaryData digest, size_t *ret_index)
{
    lm_digest wanted;
    uint64_t at;
    if (!lm_digest_from(digest, &wanted) || !lm_digest_map_get(&catalog->by_digest, &wanted, &at)) return NULL;
    if (ret_index) *ret_index = at;
    return catalog->recipes[at];
}

const char *lm_run_node(const Lensmill__Run *run, ProtobufCBinaryData recipe)
{
    for (size_t i = 0; run && i < run->n_recipes && i < run->n_nodes; i++)
        if (run->recipes[i].len == recipe.len && memcmp(run->recipes[i].data, recipe.data, recipe.len) == 0)
            return run->nodes[i];
    return NULL;
}

/* Is the process that the lock names still there? It may be on another machine: then we believe the file. */
static bool is_held(const char *folder)
{
    char path[4200], line[512] = "", name[128], here[128] = "";
    snprintf(path, sizeof path, "%.4096s/lock", folder);
    FILE *f = fopen(path, "re");
    if (!f) return false;
    if (!fgets(line, sizeof line, f)) line[0] = 0;
    fclose(f);
    int pid;
    const char *at = strstr(line, "(process ");
    if (!at || sscanf(at, "(process %d on %127[^,]", &pid, name) != 2) return false;
    gethostname(here, sizeof here - 1);
    return strcmp(here, name) != 0 || kill((pid_t)pid, 0) == 0 || errno == EPERM;
}

const char *lm_run_status(const Lensmill__Run *run, const char *folder, bool newest)
{
    if (!run->ended_s) return newest && is_held(folder) ? "running" : "died";
    switch (run->status) {
    case LM_EXIT_OK: return "done";
    case LM_EXIT_DEAD: return "done, with dead letters";
    case 128 + SIGINT:
    case 128 + SIGTERM: return "stopped";
    default: return "failed";
    }
}

/* ---- in words ---- */

char *lm_digits(char buffer[65], const void *digest, size_t digits)
{
    lm_digest_text(buffer, digest);
    if (digits < 64) buffer[digits] = 0;
    return buffer;
}

char *lm_when(char buffer[32], uint64_t seconds)
{
    time_t when = (time_t)seconds;
    struct tm local;
    if (!seconds || !localtime_r(&when, &local) || !strftime(buffer, 32, "%Y-%m-%d %H:%M:%S", &local))
        strcpy(buffer, "?");
    return buffer;
}

char *lm_counted(char buffer[64], uint64_t n, const char *one, const char *many)
{
    snprintf(buffer, 64, "%llu %s", (unsigned long long)n, n == 1 ? one : many);
    return buffer;
}

json_t *lm_json_text(const char *text)
{
    json_t *value = json_string(text ? text : "");
    if (value) return value;
    char *plain = lm_strdup(text);
    for (char *c = plain; c && *c; c++)
        if ((unsigned char)*c >= 0x80) *c = '?';
    value = plain ? json_string(plain) : NULL;
    lm_free(plain);
    return value;
}

json_t *lm_json_digest(ProtobufCBinaryData digest)
{
    lm_digest whole;
    char text[65];
    return lm_digest_from(digest, &whole) ? json_string(lm_digest_text(text, &whole)) : json_null();
}

json_t *lm_json_when(uint64_t seconds)
{
    char text[32];
    time_t when = (time_t)seconds;
    struct tm utc;
    if (!seconds || !gmtime_r(&when, &utc) || !strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc))
        return json_null();
    return json_string(text);
}

json_t *lm_json_run(const Lensmill__Run *run, const char *status)
{
    json_t *nodes = json_array();
    for (size_t i = 0; i < run->n_nodes && i < run->n_recipes; i++)
        json_array_append_new(nodes, json_pack("{s:o, s:o}", "name", lm_json_text(run->nodes[i]), "recipe",
                                               lm_json_digest(run->recipes[i])));
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:s, s:i, s:o, s:o, s:o}", "run", (json_int_t)run->number, "graph",
                     lm_json_text(run->graph), "file", lm_json_text(run->file), "started", lm_json_when(run->started_s),
                     "ended", lm_json_when(run->ended_s), "state", status, "status", (int)run->status, "host",
                     lm_json_text(run->host), "version", lm_json_text(run->version), "nodes", nodes);
}

json_t *lm_json_params(const Lensmill__Recipe *recipe)
{
    json_t *params = json_loads(recipe->params, JSON_DECODE_ANY, NULL);
    return params ? params : lm_json_text(recipe->params);
}

int lm_print_json(const char *command, json_t *value, int status)
{
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    json_decref(value);
    if (!text) {
        fprintf(stderr, "lensmill %s: out of memory\n", command);
        return LM_EXIT_FAILED;
    }
    puts(text);
    free(text);
    return status;
}
