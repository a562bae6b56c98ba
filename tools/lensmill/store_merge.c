/* lensmill store merge: take over what another store has. */
#include "runtime/text.h"
#include "tools/lensmill/columns.h"
#include "tools/lensmill/running.h"
#include "tools/lensmill/store_verbs.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { MOST_SHOWN = 50 };

static const char *store_place;
static bool as_json;

static const lm_option options[] = {
    {"store", LM_OPTION_TEXT, &store_place, .value = "DIR", .doc = "the store that grows; default .lensmill"},
    {"json", LM_OPTION_FLAG, &as_json, .doc = "print JSON"},
    {0}};

static const lm_command command = {
    .name = "store merge",
    .usage = "OTHER [options]",
    .summary = "Take over what another store has",
    .doc = "OTHER is the folder of a store, which stays as it is. Steps that both have stay ours; those for "
           "which the other has another result are listed: the same inputs, operator, version and parameters "
           "should never give two results, so that these tell of different machines or libraries, or of an "
           "operator whose version was not raised. A run whose number is taken gets a new one.\n\nThe exit "
           "status is 0, also where results differ.",
    .options = options,
    .least = 1,
    .most = 1,
};

typedef struct difference {
    lm_row_kind kind;
    lm_digest digest;
    char *op, *id; /* of a step, in the arena */
} difference;

typedef struct merging {
    lm_snapshot *ours, *theirs;
    lm_catalog our_catalog, their_catalog;
    lm_arena arena, kept;
    difference *differ;
    size_t n, capacity;
    uint64_t alike; /* steps with the same result at another time or cost */
    uint64_t copied, renumbered;
    lm_status status;
    lm_error *err;
} merging;

static bool same_bytes(ProtobufCBinaryData a, ProtobufCBinaryData b)
{
    return a.len == b.len && (!a.len || memcmp(a.data, b.data, a.len) == 0);
}

static bool same_result(const Lensmill__Step *a, const Lensmill__Step *b)
{
    if (a->n_outputs != b->n_outputs || a->count != b->count || a->complete != b->complete) return false;
    for (size_t i = 0; i < a->n_outputs; i++)
        if (a->outputs[i]->port != b->outputs[i]->port || a->outputs[i]->index != b->outputs[i]->index ||
            !same_bytes(a->outputs[i]->digest, b->outputs[i]->digest))
            return false;
    return true;
}

static void differs(void *arg, lm_row_kind kind, const lm_digest *digest)
{
    merging *m = arg;
    lm_view mine = {NULL, 0}, other = {NULL, 0};
    difference found = {.kind = kind, .digest = *digest};
    if (m->status) return;
    lm_arena_reset(&m->arena);
    if (kind == LM_ROW_STEP) {
        m->status = lm_snapshot_find(m->ours, kind, digest, &mine, m->err);
        if (!m->status) m->status = lm_snapshot_find(m->theirs, kind, digest, &other, m->err);
        if (m->status) return;
        const Lensmill__Step *a = mine.data ? lm_unpack_step(&m->arena, mine) : NULL;
        const Lensmill__Step *b = other.data ? lm_unpack_step(&m->arena, other) : NULL;
        if (a && b && same_result(a, b)) {
            m->alike++;
            return;
        }
        const Lensmill__Recipe *recipe = a ? lm_catalog_recipe(&m->our_catalog, a->recipe, NULL) : NULL;
        found.op = lm_arena_strdup(&m->kept, recipe ? recipe->op : "?");
        found.id = lm_arena_strdup(&m->kept, a ? a->id : "?");
    }
    if ((kind == LM_ROW_STEP && (!found.op || !found.id)) ||
        !lm_grow(&m->differ, m->n, &m->capacity, sizeof *m->differ)) {
        m->status = LM_NOMEM(m->err);
        return;
    }
    m->differ[m->n++] = found;
}

static bool same_run(const Lensmill__Run *a, const Lensmill__Run *b)
{
    if (a->started_s != b->started_s || a->ended_s != b->ended_s || a->n_recipes != b->n_recipes) return false;
    for (size_t i = 0; i < a->n_recipes; i++)
        if (!same_bytes(a->recipes[i], b->recipes[i])) return false;
    return strcmp(a->graph, b->graph) == 0 && strcmp(a->host, b->host) == 0 && strcmp(a->file, b->file) == 0;
}

static lm_status put_run(lm_write *write, lm_arena *arena, Lensmill__Run run, uint64_t number, lm_error *err)
{
    uint8_t key[8];
    run.number = number;
    size_t size = lensmill__run__get_packed_size(&run);
    uint8_t *bytes = lm_arena_data(arena, size, 1);
    if (!bytes) return LM_NOMEM(err);
    lensmill__run__pack(&run, bytes);
    for (int i = 0; i < 8; i++) key[i] = (uint8_t)(number >> (56 - 8 * i));
    return lm_write_entry(write, LM_TABLE_RUNS, key, sizeof key, bytes, size, err);
}

/* Their runs whose numbers are taken here by other runs are added under new numbers, so that gc knows what they use. */
static lm_status renumber(lm_store *store, merging *m)
{
    const lm_catalog *ours = &m->our_catalog, *theirs = &m->their_catalog;
    uint64_t next = 1;
    if (ours->n_runs) next = ours->runs[ours->n_runs - 1]->number + 1;
    if (theirs->n_runs && theirs->runs[theirs->n_runs - 1]->number >= next)
        next = theirs->runs[theirs->n_runs - 1]->number + 1;
    LM_OWN(lm_write) write = NULL;
    LM_TRY(lm_write_new(&write, m->err));
    for (size_t i = 0; i < theirs->n_runs; i++) {
        bool known = !lm_catalog_run(ours, theirs->runs[i]->number); /* it came with the tables */
        for (size_t k = 0; k < ours->n_runs && !known; k++) known = same_run(ours->runs[k], theirs->runs[i]);
        if (known) continue;
        LM_TRY(put_run(write, &m->kept, *theirs->runs[i], next++, m->err));
        m->renumbered++;
    }
    uint64_t ticket;
    LM_TRY(lm_store_hand_in(store, lm_take(write), &ticket, m->err));
    return lm_store_wait(store, ticket, m->err);
}

static lm_status merge(lm_store *store, lm_store *other, merging *m)
{
    LM_TRY(lm_store_snapshot(store, &m->ours, m->err));
    LM_TRY(lm_store_snapshot(other, &m->theirs, m->err));
    LM_TRY(lm_catalog_load(m->ours, &m->our_catalog, m->err));
    LM_TRY(lm_catalog_load(m->theirs, &m->their_catalog, m->err));
    LM_TRY(lm_store_merge(store, other, differs, m, &m->copied, m->err));
    LM_TRY(m->status);
    return renumber(store, m);
}

static const char *kind_name(lm_row_kind kind)
{
    switch (kind) {
    case LM_ROW_TENSOR: return "tensor";
    case LM_ROW_ARTIFACT: return "artifact";
    case LM_ROW_STEP: return "step";
    case LM_ROW_RECIPE: return "recipe";
    }
    return "row";
}

static int report(const merging *m, const char *other)
{
    char text[65];
    if (as_json) {
        json_t *list = json_array();
        for (size_t i = 0; i < m->n; i++) {
            const difference *d = &m->differ[i];
            json_t *entry =
                json_pack("{s:s, s:s}", "kind", kind_name(d->kind), "digest", lm_digest_text(text, &d->digest));
            if (d->op) json_object_set_new(entry, "op", lm_json_text(d->op));
            if (d->id) json_object_set_new(entry, "id", lm_json_text(d->id));
            json_array_append_new(list, entry);
        }
        return lm_print_json(command.name,
                             json_pack("{s:o, s:I, s:I, s:I, s:o}", "from", lm_json_text(other), "copied_rows",
                                       (json_int_t)m->copied, "same_steps", (json_int_t)m->alike, "renumbered_runs",
                                       (json_int_t)m->renumbered, "differences", list),
                             LM_EXIT_OK);
    }
    printf("%s copied from \"%s\"\n", lm_counted(text, m->copied, "row", "rows"), other);
    if (m->alike) printf("%s both stores have, with the same result\n", lm_counted(text, m->alike, "step", "steps"));
    if (m->renumbered)
        printf("%s new numbers: theirs are those of runs here\n",
               lm_counted(text, m->renumbered, "run got", "runs got"));
    if (!m->n) return LM_EXIT_OK;
    printf("%s here and there; ours stay:\n", lm_counted(text, m->n, "row differs", "rows differ"));
    lm_columns columns;
    lm_columns_init(&columns, 4, NULL);
    for (size_t i = 0; i < m->n && i < MOST_SHOWN; i++) {
        const difference *d = &m->differ[i];
        lm_columns_add(&columns, "%s", kind_name(d->kind));
        lm_columns_add(&columns, "%s", lm_digits(text, &d->digest, LM_SHORT_DIGEST));
        lm_columns_add(&columns, "%s", d->op ? d->op : "its bytes are damaged in one of the two: see store verify");
        lm_columns_add(&columns, "%s", d->id ? d->id : "");
    }
    lm_columns_print(&columns, stdout, 2, lm_terminal_width(stdout));
    if (m->n > MOST_SHOWN) printf("  and %zu more: --json lists them\n", m->n - MOST_SHOWN);
    return LM_EXIT_OK;
}

/* Two ways to one folder: LMDB must not open a file twice. */
static bool is_same_folder(const char *a, const char *b)
{
    struct stat x, y;
    return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

int lm_store_union(int argc, char **argv)
{
    lm_arguments arguments;
    int status = LM_EXIT_OK;
    if (!lm_options_parse(&command, argc, argv, &arguments, &status)) return status;
    if (is_same_folder(arguments.at[0], lm_store_place(store_place)))
        return lm_usage_error(command.name, "--store names the store that grows, OTHER the one that is read.",
                              "\"%s\" cannot be merged into itself", arguments.at[0]);
    LM_OWN(lm_store) other = NULL;
    LM_OWN(lm_store) store = NULL;
    if (!lm_open_store(command.name, arguments.at[0], LM_STORE_READ, NULL, &other, &status)) return status;
    if (!lm_open_store(command.name, lm_store_place(store_place), LM_STORE_WRITE, "store merge", &store, &status))
        return status;
    lm_error err = {0};
    merging m = {.err = &err};
    lm_arena_init(&m.arena);
    lm_arena_init(&m.kept);
    lm_status failed = merge(store, other, &m);
    status = failed ? lm_verb_failed(command.name, &err) : report(&m, arguments.at[0]);
    lm_snapshot_unref(m.ours);
    lm_snapshot_unref(m.theirs);
    lm_catalog_done(&m.our_catalog);
    lm_catalog_done(&m.their_catalog);
    lm_arena_done(&m.arena);
    lm_arena_done(&m.kept);
    lm_free(m.differ);
    return status;
}
