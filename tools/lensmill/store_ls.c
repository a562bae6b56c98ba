/* lensmill store ls: what is there. */
#include "runtime/text.h"
#include "tools/lensmill/columns.h"
#include "tools/lensmill/running.h"
#include "tools/lensmill/store_verbs.h"

#include <stdio.h>
#include <string.h>

enum { LAST_RUNS = 5, RECORDS = 40 };

static const char *store_place, *only_op, *only_id;
static bool all_runs, records, as_json;
static int64_t limit;

static const lm_option options[] = {
    {"runs", LM_OPTION_FLAG, &all_runs, .doc = "every run, with its file and machine"},
    {"records", LM_OPTION_FLAG, &records, .doc = "steps one by one, newest first: id, operator, digests of outputs"},
    {"op", LM_OPTION_TEXT, &only_op, .value = "OP", .doc = "with --records: steps of this operator"},
    {"id", LM_OPTION_TEXT, &only_id, .value = "ID", .doc = "with --records: steps of this record"},
    {"limit", LM_OPTION_INT, &limit, .value = "N", .least = 1, .most = INT64_MAX,
     .doc = "with --records: so many steps; default 40"},
    {"store", LM_OPTION_TEXT, &store_place, .value = "DIR", .doc = "the store; default .lensmill"},
    {"json", LM_OPTION_FLAG, &as_json, .doc = "print JSON"},
    {0}};

static const lm_command command = {
    .name = "store ls",
    .usage = "[options]",
    .summary = "Say what is in the store",
    .doc = "Totals, the last runs, and the steps by operator and parameters: how many, the bytes of what they "
           "gave (a tensor that several share counts for the first), and their mean time. The digests may be "
           "given to \"lensmill store show\".",
    .options = options,
};

/* ---- totals -------------------------------------------------------------------------------------------------------- */

typedef struct tally { /* of the steps of a recipe */
    size_t recipe;     /* index in the catalog */
    uint64_t steps, outputs, bytes;
    double seconds;
} tally;

typedef struct summary {
    lm_snapshot *snapshot;
    const lm_catalog *catalog;
    lm_arena arena;
    lm_digest_map counted;
    tally *tallies; /* one a recipe, and one for steps whose recipe is not there */
    size_t *order;  /* of first appearance */
    size_t n_order;
    tally *now;
    lm_status status;
    lm_error *err;
} summary;

static bool count_held(void *arg, lm_row_kind kind, const lm_digest *digest, lm_view view)
{
    summary *s = arg;
    (void)kind;
    if (lm_digest_map_get(&s->counted, digest, NULL)) return true;
    s->now->bytes += view.size;
    if (lm_digest_map_put(&s->counted, digest, 0)) return true;
    s->status = LM_NOMEM(s->err);
    return false;
}

static bool count_step(void *arg, lm_row_kind kind, const lm_digest *digest, lm_view value, uint64_t sequence)
{
    summary *s = arg;
    (void)kind, (void)digest, (void)sequence;
    lm_arena_reset(&s->arena);
    const Lensmill__Step *step = lm_unpack_step(&s->arena, value);
    if (!step) return true;
    size_t recipe = s->catalog->n_recipes;
    lm_catalog_recipe(s->catalog, step->recipe, &recipe);
    s->now = &s->tallies[recipe];
    if (!s->now->steps) s->order[s->n_order++] = recipe;
    s->now->steps++;
    s->now->outputs += step->n_outputs;
    s->now->bytes += value.size;
    s->now->seconds += step->seconds;
    if (!s->status) {
        lm_status status = lm_step_holds(s->snapshot, &s->arena, step, count_held, s, s->err);
        if (!s->status) s->status = status;
    }
    return !s->status;
}

static lm_status summarise(summary *s)
{
    lm_arena_init(&s->arena);
    s->tallies = lm_alloc(s->catalog->n_recipes + 1, sizeof *s->tallies);
    s->order = lm_alloc(s->catalog->n_recipes + 1, sizeof *s->order);
    if (!s->tallies || !s->order) return LM_NOMEM(s->err);
    LM_TRY(lm_snapshot_rows(s->snapshot, LM_ROW_STEP, false, count_step, s, s->err));
    return s->status;
}

static void summary_done(summary *s)
{
    lm_arena_done(&s->arena);
    lm_digest_map_done(&s->counted);
    lm_free(s->tallies);
    lm_free(s->order);
}

static const struct {
    const char *name;
    lm_row_kind kind;
} kinds[] = {
    {"steps", LM_ROW_STEP}, {"artifacts", LM_ROW_ARTIFACT}, {"tensors", LM_ROW_TENSOR}, {"recipes", LM_ROW_RECIPE}};
static const struct {
    const char *name, *json;
    lm_table table;
} tables[] = {{"dead letters", "dead", LM_TABLE_DEAD},
              {"files written", "receipts", LM_TABLE_RECEIPTS},
              {"files read", "files", LM_TABLE_FILES},
              {"checkpoints", "checkpoints", LM_TABLE_CHECKPOINTS}};

static void print_totals(const char *folder, const lm_store_stats *stats)
{
    char bytes[32];
    static const char *const heads[] = {"", ">number", ">bytes"};
    lm_columns columns;
    printf("store \"%s\", format %llu: %s on disk\n\n", folder, (unsigned long long)stats->format,
           lm_text_bytes(bytes, (double)stats->file_bytes));
    lm_columns_init(&columns, 3, heads);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        lm_columns_add(&columns, "%s", kinds[i].name);
        lm_columns_add(&columns, "%llu", (unsigned long long)stats->rows[kinds[i].kind]);
        lm_columns_add(&columns, "%s", lm_text_bytes(bytes, (double)stats->row_bytes[kinds[i].kind]));
    }
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        lm_columns_add(&columns, "%s", tables[i].name);
        lm_columns_add(&columns, "%llu", (unsigned long long)stats->entries[tables[i].table]);
        lm_columns_add(&columns, "%s", "");
    }
    lm_columns_print(&columns, stdout, 2, lm_terminal_width(stdout));
}

static const char *took(char buffer[32], const Lensmill__Run *run)
{
    if (!run->ended_s) return "";
    double seconds = run->ended_s > run->started_s ? (double)(run->ended_s - run->started_s) : 0;
    return seconds < 1 ? "< 1 s" : lm_text_duration(buffer, seconds);
}

static void print_runs(const lm_catalog *catalog, const char *folder, bool in_full)
{
    static const char *const heads[] = {">run", "graph", "started", ">took", "state", "machine", "file"};
    char when[32], time[32];
    lm_columns columns;
    size_t n = in_full ? catalog->n_runs : LAST_RUNS, first = catalog->n_runs > n ? catalog->n_runs - n : 0;
    lm_columns_init(&columns, in_full ? 7 : 5, heads);
    for (size_t i = catalog->n_runs; i-- > first;) {
        const Lensmill__Run *run = catalog->runs[i];
        lm_columns_add(&columns, "%llu", (unsigned long long)run->number);
        lm_columns_add(&columns, "%s", run->graph);
        lm_columns_add(&columns, "%s", lm_when(when, run->started_s));
        lm_columns_add(&columns, "%s", took(time, run));
        lm_columns_add(&columns, "%s", lm_run_status(run, folder, i + 1 == catalog->n_runs));
        if (!in_full) continue;
        lm_columns_add(&columns, "%s", run->host);
        lm_columns_add(&columns, "%s", run->file);
    }
    lm_columns_print(&columns, stdout, 2, lm_terminal_width(stdout));
    if (first) printf("  and %zu earlier: --runs lists them\n", first);
}

static void print_steps(const summary *s)
{
    static const char *const heads[] = {">steps", ">records", ">bytes",    ">mean time",
                                        "recipe", "operator", "parameters"};
    char bytes[32], time[32], digest[65];
    lm_columns columns;
    lm_columns_init(&columns, 7, heads);
    for (size_t i = 0; i < s->n_order; i++) {
        const tally *t = &s->tallies[s->order[i]];
        bool known = s->order[i] < s->catalog->n_recipes;
        const Lensmill__Recipe *recipe = known ? s->catalog->recipes[s->order[i]] : NULL;
        lm_columns_add(&columns, "%llu", (unsigned long long)t->steps);
        lm_columns_add(&columns, "%llu", (unsigned long long)t->outputs);
        lm_columns_add(&columns, "%s", lm_text_bytes(bytes, (double)t->bytes));
        lm_columns_add(&columns, "%s", lm_text_duration(time, t->seconds / (double)t->steps));
        lm_columns_add(&columns, "%s",
                       known ? lm_digits(digest, &s->catalog->digests[s->order[i]], LM_SHORT_DIGEST) : "?");
        lm_columns_add(&columns, "%s", known ? recipe->op : "?");
        lm_columns_add(&columns, "%s", known ? recipe->params : "the recipe is not in the store");
    }
    lm_columns_print(&columns, stdout, 2, lm_terminal_width(stdout));
}

static json_t *json_runs(const lm_catalog *catalog, const char *folder)
{
    json_t *runs = json_array();
    for (size_t i = catalog->n_runs; i-- > 0;)
        json_array_append_new(
            runs, lm_json_run(catalog->runs[i], lm_run_status(catalog->runs[i], folder, i + 1 == catalog->n_runs)));
    return runs;
}

static json_t *json_summary(const summary *s, const lm_store_stats *stats, const char *folder)
{
    json_t *all = json_object(), *steps = json_array();
    json_object_set_new(all, "store", lm_json_text(folder));
    json_object_set_new(all, "format", json_integer((json_int_t)stats->format));
    json_object_set_new(all, "file_bytes", json_integer((json_int_t)stats->file_bytes));
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        json_object_set_new(all, kinds[i].name,
                            json_pack("{s:I, s:I}", "number", (json_int_t)stats->rows[kinds[i].kind], "bytes",
                                      (json_int_t)stats->row_bytes[kinds[i].kind]));
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        json_object_set_new(all, tables[i].json, json_integer((json_int_t)stats->entries[tables[i].table]));
    json_object_set_new(all, "runs", json_runs(s->catalog, folder));
    for (size_t i = 0; i < s->n_order; i++) {
        const tally *t = &s->tallies[s->order[i]];
        json_t *entry = json_pack("{s:I, s:I, s:I, s:f}", "steps", (json_int_t)t->steps, "records",
                                  (json_int_t)t->outputs, "bytes", (json_int_t)t->bytes, "seconds", t->seconds);
        if (s->order[i] < s->catalog->n_recipes) {
            const Lensmill__Recipe *recipe = s->catalog->recipes[s->order[i]];
            char digest[65];
            json_object_set_new(entry, "recipe",
                                json_string(lm_digest_text(digest, &s->catalog->digests[s->order[i]])));
            json_object_set_new(entry, "op", lm_json_text(recipe->op));
            json_object_set_new(entry, "version", json_integer(recipe->version));
            json_object_set_new(entry, "params", lm_json_params(recipe));
        }
        json_array_append_new(steps, entry);
    }
    json_object_set_new(all, "by_recipe", steps);
    return all;
}

static lm_status list_all(lm_store *store, lm_snapshot *snapshot, const lm_catalog *catalog, int *ret_status,
                          lm_error *err)
{
    lm_store_stats stats;
    const char *folder = lm_store_folder(store);
    LM_TRY(lm_store_stat(store, &stats, err));
    summary s = {.snapshot = snapshot, .catalog = catalog, .err = err};
    lm_status status = summarise(&s);
    if (!status && as_json) {
        *ret_status = lm_print_json(command.name, json_summary(&s, &stats, folder), LM_EXIT_OK);
    } else if (!status) {
        print_totals(folder, &stats);
        putchar('\n');
        if (catalog->n_runs) print_runs(catalog, folder, false);
        else puts("  no run yet");
        if (s.n_order) {
            putchar('\n');
            print_steps(&s);
        }
    }
    summary_done(&s);
    return status;
}

/* ---- steps one by one ---------------------------------------------------------------------------------------------- */

typedef struct listing {
    const lm_catalog *catalog;
    lm_arena arena;
    lm_columns columns;
    json_t *json;
    uint64_t n;
    bool more, op_seen, id_seen;
} listing;

static void add_outputs(lm_text *text, const Lensmill__Step *step)
{
    char digest[65];
    size_t shown = step->n_outputs > 4 ? 3 : step->n_outputs;
    for (size_t i = 0; i < shown; i++)
        if (step->outputs[i]->digest.len == sizeof(lm_digest))
            lm_text_format(text, "%s%s", i ? " " : "",
                           lm_digits(digest, step->outputs[i]->digest.data, LM_SHORT_DIGEST));
    if (shown < step->n_outputs) lm_text_format(text, " and %zu more", step->n_outputs - shown);
    if (!step->n_outputs) lm_text_add(text, "none");
}

static bool list_step(void *arg, lm_row_kind kind, const lm_digest *digest, lm_view value, uint64_t sequence)
{
    listing *l = arg;
    (void)kind, (void)sequence;
    lm_arena_reset(&l->arena);
    const Lensmill__Step *step = lm_unpack_step(&l->arena, value);
    if (!step) return true;
    const Lensmill__Recipe *recipe = lm_catalog_recipe(l->catalog, step->recipe, NULL);
    const char *op = recipe ? recipe->op : "?";
    if (only_op && strcmp(only_op, op) != 0) return true;
    l->op_seen = true;
    if (only_id && strcmp(only_id, step->id) != 0) return true;
    l->id_seen = true;
    if (l->n == (uint64_t)limit) {
        l->more = true;
        return false;
    }
    l->n++;
    if (as_json) {
        char text[65];
        json_t *outputs = json_array();
        for (size_t i = 0; i < step->n_outputs; i++)
            json_array_append_new(outputs, json_pack("{s:i, s:o, s:o}", "port", (int)step->outputs[i]->port, "id",
                                                     lm_json_text(step->outputs[i]->id), "digest",
                                                     lm_json_digest(step->outputs[i]->digest)));
        json_array_append_new(l->json, json_pack("{s:s, s:o, s:o, s:I, s:f, s:o}", "step", lm_digest_text(text, digest),
                                                 "op", lm_json_text(op), "id", lm_json_text(step->id), "run",
                                                 (json_int_t)step->run, "seconds", step->seconds, "outputs", outputs));
        return true;
    }
    char text[65], time[32];
    lm_text outputs;
    lm_text_init(&outputs);
    add_outputs(&outputs, step);
    lm_columns_add(&l->columns, "%s", lm_digits(text, digest, LM_SHORT_DIGEST));
    lm_columns_add(&l->columns, "%llu", (unsigned long long)step->run);
    lm_columns_add(&l->columns, "%s", lm_text_duration(time, step->seconds));
    lm_columns_add(&l->columns, "%s", op);
    lm_columns_add(&l->columns, "%s", step->id);
    lm_columns_add(&l->columns, "%s", lm_text_peek(&outputs));
    lm_text_done(&outputs);
    return true;
}

static lm_status list_records(lm_snapshot *snapshot, const lm_catalog *catalog, int *ret_status, lm_error *err)
{
    static const char *const heads[] = {"step", ">run", ">time", "operator", "id", "outputs"};
    listing l = {.catalog = catalog, .json = as_json ? json_array() : NULL};
    if (!limit) limit = RECORDS;
    lm_arena_init(&l.arena);
    lm_columns_init(&l.columns, 6, heads);
    lm_status status = lm_snapshot_rows(snapshot, LM_ROW_STEP, true, list_step, &l, err);
    lm_arena_done(&l.arena);
    if (status) {
        json_decref(l.json);
        lm_text_done(&l.columns.cells);
        return status;
    }
    if (as_json) *ret_status = lm_print_json(command.name, l.json, LM_EXIT_OK);
    else if (l.n) lm_columns_print(&l.columns, stdout, 0, lm_terminal_width(stdout));
    if (!l.n && only_op && !l.op_seen) fprintf(stderr, "no step of operator \"%s\" is in the store\n", only_op);
    else if (!l.n && only_id && !l.id_seen) fprintf(stderr, "no step of record \"%s\" is in the store\n", only_id);
    if (l.more) fprintf(stderr, "there are more: --limit %lld shows twice as many\n", 2 * (long long)limit);
    return LM_OK;
}

int lm_store_ls(int argc, char **argv)
{
    lm_arguments arguments;
    int status = LM_EXIT_OK;
    if (!lm_options_parse(&command, argc, argv, &arguments, &status)) return status;
    if ((only_op || only_id || limit) && !records)
        return lm_usage_error(command.name, "Add --records.",
                              "\"--op\", \"--id\" and \"--limit\" belong to \"--records\"");
    LM_OWN(lm_store) store = NULL;
    if (!lm_open_store(command.name, lm_store_place(store_place), LM_STORE_READ, NULL, &store, &status)) return status;
    lm_error err = {0};
    LM_OWN(lm_snapshot) snapshot = NULL;
    lm_catalog catalog = {0};
    lm_status failed = lm_store_snapshot(store, &snapshot, &err);
    if (!failed) failed = lm_catalog_load(snapshot, &catalog, &err);
    if (!failed && records) failed = list_records(snapshot, &catalog, &status, &err);
    else if (!failed && all_runs && as_json)
        status = lm_print_json(command.name, json_runs(&catalog, lm_store_folder(store)), status);
    else if (!failed && all_runs) print_runs(&catalog, lm_store_folder(store), true);
    else if (!failed) failed = list_all(store, snapshot, &catalog, &status, &err);
    lm_catalog_done(&catalog);
    return failed ? lm_verb_failed(command.name, &err) : status;
}
