/* lensmill store verify: structure, then every byte against its digest, then what each message names. */
#include "runtime/codec.h"
#include "runtime/registry.h"
#include "runtime/text.h"
#include "tools/lensmill/running.h"
#include "tools/lensmill/store_verbs.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MOST_USERS = 3, MOST_SHOWN = 200 };

static const char *store_place;
static bool as_json;

static const lm_option options[] = {
    {"store", LM_OPTION_TEXT, &store_place, .value = "DIR", .doc = "the store; default .lensmill"},
    {"json", LM_OPTION_FLAG, &as_json, .doc = "print JSON"},
    {0}};

static const lm_command command = {
    .name = "store verify",
    .usage = "[options]",
    .summary = "Re-hash everything in the store, and say what is damaged",
    .doc = "The structure of the files first; then each tensor, artifact and recipe against its digest, and "
           "whether each step's outputs and their tensors are there. A run finds such damage by itself when "
           "it reads what is damaged, says so, and computes it again; nothing has to be mended by "
           "hand.\n\nThe exit status is 0 if all is well, 1 if something is damaged.",
    .options = options,
};

typedef struct fault {
    lm_row_kind kind; /* 0: an entry of a table */
    lm_digest digest;
    uint64_t bytes;
    const char *what;
    const char *where; /* the table's name, or what is missing: in the arena */
    char *users[MOST_USERS];
    size_t n_users;
} fault;

typedef struct verifying {
    lm_snapshot *snapshot;
    lm_catalog catalog;
    lm_arena arena; /* of a row */
    lm_arena kept;  /* of the faults */
    fault *faults;
    size_t n, capacity;
    lm_digest_map faulty;     /* digest -> its fault */
    lm_digest_map generators; /* key of a generator's emission -> the number of its call's key in `calls` */
    lm_digest *calls;
    size_t n_calls, calls_capacity;
    uint64_t rows, bytes, total;
    uint64_t entries;
    double started_s, shown_s;
    lm_table table; /* that is walked */
    const char *table_name;
    lm_status status;
    lm_error *err;
} verifying;

static bool stop(verifying *v, lm_status status)
{
    if (!v->status) v->status = status;
    return false;
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Once a second on a terminal, every half a minute elsewhere; nothing when it is done before. */
static void tell_progress(verifying *v)
{
    bool terminal = isatty(STDERR_FILENO);
    double now = now_s();
    char done[32], total[32], left[32];
    if (now - v->shown_s < (terminal ? 1 : 30)) return;
    v->shown_s = now;
    double rate = (double)v->bytes / (now - v->started_s);
    fprintf(stderr, "%s%s of %s, %s left%s", terminal ? "\r\033[K" : "", lm_text_bytes(done, (double)v->bytes),
            lm_text_bytes(total, (double)v->total),
            rate > 0 ? lm_text_duration(left, (double)(v->total - v->bytes) / rate) : "?", terminal ? "" : "\n");
}

static void clear_progress(const verifying *v)
{
    if (v->shown_s > v->started_s && isatty(STDERR_FILENO)) fputs("\r\033[K", stderr);
}

/* Remembers a fault, once a digest. */
static bool add_fault(verifying *v, lm_row_kind kind, const lm_digest *digest, uint64_t bytes, const char *what,
                      const char *where)
{
    if (digest && lm_digest_map_get(&v->faulty, digest, NULL)) return true;
    if (!lm_grow(&v->faults, v->n, &v->capacity, sizeof *v->faults) ||
        (digest && !lm_digest_map_put(&v->faulty, digest, v->n)))
        return stop(v, LM_NOMEM(v->err));
    v->faults[v->n++] = (fault){.kind = kind, .bytes = bytes, .what = what, .where = where};
    if (digest) v->faults[v->n - 1].digest = *digest;
    return true;
}

/* ---- rows ---------------------------------------------------------------------------------------------------------- */

static bool is_genuine(lm_view view, const lm_digest *digest)
{
    lm_digest is = lm_digest_of(view.data, view.size);
    return lm_digest_equal(&is, digest);
}

static void release_nothing(void *owner)
{
    (void)owner;
}

static bool check_tensor(verifying *v, const lm_digest *digest, lm_view view)
{
    if (!is_genuine(view, digest))
        return add_fault(v, LM_ROW_TENSOR, digest, view.size, "its bytes do not give its digest", NULL);
    LM_OWN(lm_tensor) tensor = NULL;
    lm_error why;
    if (lm_tensor_decode((lm_bytes){view.data, view.size}, release_nothing, NULL, &tensor, &why))
        return add_fault(v, LM_ROW_TENSOR, digest, view.size, "it is no tensor that this lensmill can read", NULL);
    return true;
}

/* An artifact, in a row of its own or in its step's. */
static bool check_artifact(verifying *v, const lm_digest *digest, lm_view view)
{
    if (!is_genuine(view, digest))
        return add_fault(v, LM_ROW_ARTIFACT, digest, view.size, "its bytes do not give its digest", NULL);
    LM_OWN(lm_record) record = NULL;
    lm_error why;
    if (lm_record_decode((lm_bytes){view.data, view.size}, &record, &why))
        return add_fault(v, LM_ROW_ARTIFACT, digest, view.size, "it is no record that this lensmill can read", NULL);
    for (size_t i = 0; i < lm_record_tensor_count(record); i++) {
        const lm_named *named = lm_record_tensor_at(record, i);
        if (!lm_tensor_is_absent(named->tensor)) continue;
        lm_view tensor;
        lm_status status = lm_snapshot_find(v->snapshot, LM_ROW_TENSOR, &named->tensor->digest, &tensor, v->err);
        if (status) return stop(v, status);
        if (!tensor.data && !add_fault(v, LM_ROW_TENSOR, &named->tensor->digest, 0, "it is not there", NULL))
            return false;
    }
    return true;
}

/* What stands for a record that is not stored (`cache: none`): the digest of (key, port, index). */
static lm_digest unstored(const lm_digest *key, const Lensmill__Output *output)
{
    lm_hash hash;
    lm_hash_init(&hash);
    lm_hash_add(&hash, key, sizeof *key);
    lm_hash_add_text(&hash, "output");
    lm_hash_add_u64(&hash, output->port);
    lm_hash_add_u64(&hash, output->index);
    return lm_hash_finish(&hash);
}

static bool is_unstored(const verifying *v, const lm_digest *key, const Lensmill__Step *step,
                        const Lensmill__Output *output, const lm_digest *digest)
{
    lm_digest call = *key;
    uint64_t at;
    bool known = lm_digest_map_get(&v->generators, key, &at);
    if (known) call = v->calls[at];
    known |= lm_digest_from(step->key, &call);
    lm_digest is = unstored(&call, output);
    if (known || lm_digest_equal(&is, digest)) return lm_digest_equal(&is, digest);
    /* An emission of a generator that was stopped: the key of its call is not known, and it gets the benefit of the doubt. */
    const Lensmill__Recipe *recipe = lm_catalog_recipe(&v->catalog, step->recipe, NULL);
    const lm_operator *op = recipe ? lm_registry_find(recipe->op) : NULL;
    return output->index > 0 || (op && op->shape == LM_GENERATOR);
}

static bool is_input(const Lensmill__Step *step, const lm_digest *digest)
{
    for (size_t i = 0; i < step->n_inputs; i++)
        if (step->inputs[i].len == sizeof *digest && memcmp(step->inputs[i].data, digest, sizeof *digest) == 0)
            return true;
    return false;
}

static bool check_output(verifying *v, const lm_digest *key, const Lensmill__Step *step, const Lensmill__Output *output)
{
    lm_digest digest;
    lm_view view = {output->artifact.data, output->artifact.len};
    if (!lm_digest_from(output->digest, &digest))
        return add_fault(v, LM_ROW_STEP, key, 0, "one of its outputs has no digest", NULL);
    if (view.size) return check_artifact(v, &digest, view);
    if (is_input(step, &digest)) return true; /* passed on: it is looked at where it was made */
    lm_status status = lm_snapshot_find(v->snapshot, LM_ROW_ARTIFACT, &digest, &view, v->err);
    if (status) return stop(v, status);
    if (view.data || is_unstored(v, key, step, output, &digest)) return true;
    return add_fault(v, LM_ROW_ARTIFACT, &digest, 0, "it is not there", NULL);
}

static bool check_step(verifying *v, const lm_digest *key, lm_view view)
{
    const Lensmill__Step *step = lm_unpack_step(&v->arena, view);
    if (!step) return add_fault(v, LM_ROW_STEP, key, view.size, "it is no step that this lensmill can read", NULL);
    lm_digest recipe;
    if (!lm_digest_from(step->recipe, &recipe))
        return add_fault(v, LM_ROW_STEP, key, view.size, "it names no recipe", NULL);
    if (!lm_catalog_recipe(&v->catalog, step->recipe, NULL) &&
        !add_fault(v, LM_ROW_RECIPE, &recipe, 0, "it is not there, or cannot be read", NULL))
        return false;
    for (size_t i = 0; i < step->n_outputs; i++)
        if (!check_output(v, key, step, step->outputs[i])) return false;
    return true;
}

static bool check_row(void *arg, lm_row_kind kind, const lm_digest *digest, lm_view view, uint64_t sequence)
{
    verifying *v = arg;
    (void)sequence;
    lm_arena_reset(&v->arena);
    v->rows++;
    v->bytes += view.size;
    if (!(v->rows & 63) || view.size > 1 << 20) tell_progress(v);
    switch (kind) {
    case LM_ROW_TENSOR: return check_tensor(v, digest, view);
    case LM_ROW_ARTIFACT: return check_artifact(v, digest, view);
    case LM_ROW_STEP: return check_step(v, digest, view);
    case LM_ROW_RECIPE:
        if (!is_genuine(view, digest))
            return add_fault(v, kind, digest, view.size, "its bytes do not give its digest", NULL);
        return true;
    }
    return true;
}

/* A generator's emissions are steps with keys made from that of the call, which is a step too when the call ended. */
static bool note_generator(void *arg, lm_row_kind kind, const lm_digest *key, lm_view view, uint64_t sequence)
{
    verifying *v = arg;
    (void)kind, (void)sequence;
    lm_arena_reset(&v->arena);
    const Lensmill__Step *step = lm_unpack_step(&v->arena, view);
    if (!step || !step->complete || !step->count) return true;
    if (!lm_grow(&v->calls, v->n_calls, &v->calls_capacity, sizeof *v->calls)) return stop(v, LM_NOMEM(v->err));
    v->calls[v->n_calls++] = *key;
    for (uint32_t i = 0; i < step->count; i++) {
        lm_hash hash;
        lm_hash_init(&hash);
        lm_hash_add(&hash, key, sizeof *key);
        lm_hash_add_text(&hash, "index");
        lm_hash_add_u64(&hash, i);
        lm_digest emission = lm_hash_finish(&hash);
        if (!lm_digest_map_put(&v->generators, &emission, v->n_calls - 1)) return stop(v, LM_NOMEM(v->err));
    }
    return true;
}

/* ---- tables -------------------------------------------------------------------------------------------------------- */

/* A receipt's key goes on behind that of its step. */
static bool is_key(ProtobufCBinaryData own, lm_view key)
{
    return own.len == sizeof(lm_digest) && key.size >= own.len && memcmp(own.data, key.data, own.len) == 0;
}

static bool check_entry(void *arg, lm_view key, lm_view value)
{
    verifying *v = arg;
    const char *what = NULL;
    lm_arena_reset(&v->arena);
    v->entries++;
    if (v->table == LM_TABLE_RUNS) {
        if (!lm_unpack_run(&v->arena, value)) what = "it cannot be read";
    } else if (v->table == LM_TABLE_DEAD) {
        const Lensmill__DeadLetter *letter = lm_unpack_letter(&v->arena, value);
        if (!letter) what = "it cannot be read";
        else if (!is_key(letter->key, key)) what = "it lies under another key than its own";
    } else if (v->table == LM_TABLE_RECEIPTS) {
        const Lensmill__Receipt *receipt = lm_unpack_receipt(&v->arena, value);
        if (!receipt) what = "it cannot be read";
        else if (!is_key(receipt->key, key)) what = "it lies under another key than its own";
    } else {
        const Lensmill__File *file = lm_unpack_file(&v->arena, value);
        lm_digest at = file ? lm_digest_of(file->path, strlen(file->path)) : (lm_digest){{0}};
        if (!file) what = "it cannot be read";
        else if (!is_key((ProtobufCBinaryData){sizeof at.bytes, at.bytes}, key))
            what = "it lies under another path than its own";
    }
    return !what || add_fault(v, (lm_row_kind)0, NULL, value.size, what, v->table_name);
}

static lm_status check_tables(verifying *v)
{
    static const struct {
        lm_table table;
        const char *name;
    } tables[] = {{LM_TABLE_RUNS, "run"},
                  {LM_TABLE_DEAD, "dead letter"},
                  {LM_TABLE_RECEIPTS, "receipt"},
                  {LM_TABLE_FILES, "file read"}};
    for (size_t i = 0; i < sizeof tables / sizeof *tables && !v->status; i++) {
        v->table = tables[i].table;
        v->table_name = tables[i].name;
        LM_TRY(lm_snapshot_entries(v->snapshot, tables[i].table, check_entry, v, v->err));
    }
    return v->status;
}

/* ---- who is concerned ---------------------------------------------------------------------------------------------- */

static bool add_user(verifying *v, const lm_digest *digest, const Lensmill__Step *step, const char *id)
{
    uint64_t at;
    if (!lm_digest_map_get(&v->faulty, digest, &at)) return true;
    fault *f = &v->faults[at];
    const Lensmill__Recipe *recipe = lm_catalog_recipe(&v->catalog, step->recipe, NULL);
    if (f->n_users < MOST_USERS) {
        f->users[f->n_users] = lm_arena_printf(&v->kept, "record \"%s\" of %s", id, recipe ? recipe->op : "a step");
        if (!f->users[f->n_users]) return stop(v, LM_NOMEM(v->err));
    }
    f->n_users++;
    return true;
}

static bool find_users(void *arg, lm_row_kind kind, const lm_digest *key, lm_view view, uint64_t sequence)
{
    verifying *v = arg;
    (void)kind, (void)sequence, (void)key;
    lm_arena_reset(&v->arena);
    const Lensmill__Step *step = lm_unpack_step(&v->arena, view);
    for (size_t i = 0; step && i < step->n_outputs; i++) {
        const Lensmill__Output *output = step->outputs[i];
        lm_digest digest;
        if (!lm_digest_from(output->digest, &digest) || is_input(step, &digest)) continue;
        if (!add_user(v, &digest, step, output->id)) return false;
        lm_view artifact = {output->artifact.data, output->artifact.len};
        lm_status status =
            artifact.size ? LM_OK : lm_snapshot_find(v->snapshot, LM_ROW_ARTIFACT, &digest, &artifact, v->err);
        if (status) return stop(v, status);
        LM_OWN(lm_record) record = NULL;
        lm_error why;
        if (!artifact.data || lm_record_decode((lm_bytes){artifact.data, artifact.size}, &record, &why)) continue;
        for (size_t t = 0; t < lm_record_tensor_count(record); t++) {
            const lm_tensor *tensor = lm_record_tensor_at(record, t)->tensor;
            if (lm_tensor_is_absent(tensor) && !add_user(v, &tensor->digest, step, output->id)) return false;
        }
    }
    return true;
}

/* ---- the report ---------------------------------------------------------------------------------------------------- */

static const char *name_of(const fault *f)
{
    switch (f->kind) {
    case LM_ROW_TENSOR: return "tensor";
    case LM_ROW_ARTIFACT: return "artifact";
    case LM_ROW_STEP: return "step";
    case LM_ROW_RECIPE: return "recipe";
    }
    return f->where;
}

static void print_fault(const fault *f)
{
    char digest[65], bytes[32];
    printf("damaged: %s", name_of(f));
    if (f->kind) printf(" %s", lm_digits(digest, &f->digest, LM_SHORT_DIGEST));
    if (f->bytes) printf(", %s", lm_text_bytes(bytes, (double)f->bytes));
    printf(": %s\n", f->what);
    for (size_t i = 0; i < f->n_users && i < MOST_USERS; i++) printf("  in %s\n", f->users[i]);
    if (f->n_users > MOST_USERS) printf("  and %zu more\n", f->n_users - MOST_USERS);
}

static int report(const verifying *v)
{
    char rows[65], bytes[32], time[32];
    if (as_json) {
        json_t *damaged = json_array();
        for (size_t i = 0; i < v->n; i++) {
            const fault *f = &v->faults[i];
            json_t *users = json_array(), *entry = json_pack("{s:s, s:s}", "kind", name_of(f), "what", f->what);
            for (size_t u = 0; u < f->n_users && u < MOST_USERS; u++)
                json_array_append_new(users, lm_json_text(f->users[u]));
            if (f->kind) json_object_set_new(entry, "digest", json_string(lm_digest_text(rows, &f->digest)));
            json_object_set_new(entry, "bytes", json_integer((json_int_t)f->bytes));
            json_object_set_new(entry, "users", json_integer((json_int_t)f->n_users));
            json_object_set_new(entry, "first_users", users);
            json_array_append_new(damaged, entry);
        }
        return lm_print_json(command.name,
                             json_pack("{s:I, s:I, s:I, s:f, s:o}", "rows", (json_int_t)v->rows, "bytes",
                                       (json_int_t)v->bytes, "entries", (json_int_t)v->entries, "seconds",
                                       now_s() - v->started_s, "damaged", damaged),
                             v->n ? LM_EXIT_FAILED : LM_EXIT_OK);
    }
    for (size_t i = 0; i < v->n && i < MOST_SHOWN; i++) print_fault(&v->faults[i]);
    if (v->n > MOST_SHOWN) printf("and %zu more: --json lists them\n", v->n - MOST_SHOWN);
    printf("%s, %s: ", lm_counted(rows, v->rows, "row", "rows"), lm_text_bytes(bytes, (double)v->bytes));
    if (!v->n) printf("nothing is damaged (%s)\n", lm_text_duration(time, now_s() - v->started_s));
    else
        printf("%zu %s damaged\nWhat is damaged is computed again as soon as a run needs it.\n", v->n,
               v->n == 1 ? "is" : "are");
    bool unreadable = false;
    for (size_t i = 0; i < v->n; i++)
        unreadable |= v->faults[i].kind == LM_ROW_STEP || v->faults[i].kind == LM_ROW_RECIPE;
    if (unreadable) puts("Steps and recipes that cannot be read are dropped by \"lensmill store gc\".");
    return v->n ? LM_EXIT_FAILED : LM_EXIT_OK;
}

static lm_status verify(lm_store *store, verifying *v)
{
    uint64_t rows;
    lm_store_stats stats;
    LM_TRY(lm_store_check(store, &rows, v->err));
    LM_TRY(lm_store_stat(store, &stats, v->err));
    for (size_t i = 0; i < sizeof stats.row_bytes / sizeof *stats.row_bytes; i++) v->total += stats.row_bytes[i];
    LM_TRY(lm_store_snapshot(store, &v->snapshot, v->err));
    LM_TRY(lm_catalog_load(v->snapshot, &v->catalog, v->err));
    LM_TRY(lm_snapshot_rows(v->snapshot, LM_ROW_STEP, false, note_generator, v, v->err));
    LM_TRY(v->status);
    LM_TRY(lm_snapshot_rows(v->snapshot, 0, false, check_row, v, v->err));
    LM_TRY(v->status);
    LM_TRY(check_tables(v));
    if (v->faulty.n) LM_TRY(lm_snapshot_rows(v->snapshot, LM_ROW_STEP, false, find_users, v, v->err));
    return v->status;
}

int lm_store_verify(int argc, char **argv)
{
    lm_arguments arguments;
    int status = LM_EXIT_OK;
    if (!lm_options_parse(&command, argc, argv, &arguments, &status)) return status;
    LM_OWN(lm_store) store = NULL;
    if (!lm_open_store(command.name, lm_store_place(store_place), LM_STORE_READ, NULL, &store, &status)) return status;
    lm_error err = {0};
    verifying v = {.err = &err, .started_s = now_s()};
    v.shown_s = v.started_s;
    lm_arena_init(&v.arena);
    lm_arena_init(&v.kept);
    lm_status failed = verify(store, &v);
    clear_progress(&v);
    status = failed ? lm_verb_failed(command.name, &err) : report(&v);
    lm_snapshot_unref(v.snapshot);
    lm_catalog_done(&v.catalog);
    lm_arena_done(&v.arena);
    lm_arena_done(&v.kept);
    lm_free(v.faults);
    lm_free(v.calls);
    lm_digest_map_done(&v.faulty);
    lm_digest_map_done(&v.generators);
    return status;
}
