/* lensmill store gc: drop what the last runs do not use.
 *
 * Which runs count: a run is dropped if it is not among the last --keep-runs of its graph (name and file) and, where
 * --older-than is given, began longer ago than that. The other runs are kept.
 * What stays: each step whose recipe is that of a node of a kept run, whichever run wrote it, if its inputs come from steps
 * that stay: it is what the next run of that graph looks up. (Of an input that no step of the store gave nothing is known:
 * it counts as there.) With a step stay the artifacts and tensors of its outputs, its recipe and its receipts. With --max-size the steps that were written first go too, until the rest fits.
 * Dead letters stay while a run of their graph does, the notes of what files hold stay, and so do checkpoints of steps that
 * are not finished, unless --checkpoints says otherwise.
 */
#include "runtime/text.h"
#include "tools/lensmill/columns.h"
#include "tools/lensmill/running.h"
#include "tools/lensmill/store_verbs.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { KEEP_RUNS = 3 };

static const char *store_place, *max_size;
static double older_than_s = -1;
static int64_t keep_runs = KEEP_RUNS;
static bool dry_run, checkpoints, as_json;

static const lm_option options[] = {
    {"keep-runs", LM_OPTION_INT, &keep_runs, .value = "N", .least = 0, .most = 1 << 30,
     .doc = "what the last N runs of each graph use stays; default 3"},
    {"older-than", LM_OPTION_DURATION, &older_than_s, .value = "TIME",
     .doc = "what younger runs use stays too: 30d, 12h"},
    {"max-size", LM_OPTION_TEXT, &max_size, .value = "SIZE",
     .doc = "drop the oldest steps until the rest fits: 10GB, 500MB"},
    {"checkpoints", LM_OPTION_FLAG, &checkpoints, .doc = "also those of steps that were not finished"},
    {"dry-run", LM_OPTION_FLAG, &dry_run, .doc = "say what would go, and change nothing"},
    {"store", LM_OPTION_TEXT, &store_place, .value = "DIR", .doc = "the store; default .lensmill"},
    {"json", LM_OPTION_FLAG, &as_json, .doc = "print JSON"},
    {0}};

static const lm_command command = {
    .name = "store gc",
    .usage = "[options]",
    .summary = "Drop what the last runs do not use",
    .doc = "A run is dropped if it is not among the last 3 (--keep-runs) of its graph and, with --older-than, "
           "began longer ago than that. What stays is every step whose operator, version and parameters are "
           "those of a node of a run that is kept, and whose inputs stay, with all it gave; what goes is "
           "computed again if it is ever wanted. With --max-size the oldest steps go too, until the rest "
           "fits. --keep-runs 0 drops the steps of all runs. Files that runs wrote are not touched.\n\nWhat "
           "stays is copied, so that the disk must have room for it until the old store is removed. No run "
           "may be writing the store meanwhile.",
    .options = options,
};

typedef struct collecting {
    lm_snapshot *snapshot;
    lm_catalog catalog;
    bool *run_kept;    /* by index in the catalog */
    bool *recipe_kept; /* by index in the catalog */
    lm_arena arena;
    lm_digest_map rows;    /* artifacts and tensors that stay */
    lm_digest_map usable;  /* steps of kept recipes whose inputs come from such steps */
    lm_digest_map given;   /* outputs of usable steps */
    lm_digest_map lost;    /* outputs of other steps */
    lm_digest_map steps;   /* that stay */
    lm_digest_map writers; /* numbers of runs that wrote steps which stay: as digests, see of_number */
    uint64_t most_bytes, kept_bytes, step_bytes;
    bool full;
    uint64_t n[8], bytes[8]; /* what stays, by kind of row */
    lm_write *write;
    uint64_t n_receipts, n_letters, n_runs, n_checkpoints; /* entries that go */
    lm_table table;
    lm_status status;
    lm_error *err;
} collecting;

static bool stop(collecting *c, lm_status status)
{
    if (!c->status) c->status = status;
    return false;
}

/* ---- which runs and recipes ---------------------------------------------------------------------------------------- */

static bool same_graph(const Lensmill__Run *a, const Lensmill__Run *b)
{
    return strcmp(a->graph, b->graph) == 0 && strcmp(a->file, b->file) == 0;
}

static lm_status choose_runs(collecting *c)
{
    const lm_catalog *all = &c->catalog;
    time_t now = time(NULL);
    c->run_kept = lm_alloc(all->n_runs + 1, sizeof *c->run_kept);
    c->recipe_kept = lm_alloc(all->n_recipes + 1, sizeof *c->recipe_kept);
    if (!c->run_kept || !c->recipe_kept) return LM_NOMEM(c->err);
    for (size_t i = 0; i < all->n_runs; i++) {
        int64_t later = 0;
        for (size_t k = i + 1; k < all->n_runs && later < keep_runs; k++)
            later += same_graph(all->runs[i], all->runs[k]);
        bool young = older_than_s >= 0 && difftime(now, (time_t)all->runs[i]->started_s) < older_than_s;
        c->run_kept[i] = later < keep_runs || young;
        for (size_t k = 0; c->run_kept[i] && k < all->runs[i]->n_recipes; k++) {
            size_t recipe;
            if (lm_catalog_recipe(all, all->runs[i]->recipes[k], &recipe)) c->recipe_kept[recipe] = true;
        }
    }
    return LM_OK;
}

/* ---- which steps --------------------------------------------------------------------------------------------------- */

static lm_digest of_number(uint64_t number)
{
    return lm_digest_of(&number, sizeof number);
}

/* A step stands in the log behind those that gave its inputs, so that one walk from the start finds almost all; where two
 * steps gave the same, or one was written anew, a later walk finds more. */
static bool judge_step(void *arg, lm_row_kind kind, const lm_digest *key, lm_view value, uint64_t sequence)
{
    collecting *c = arg;
    (void)kind, (void)sequence;
    if (lm_digest_map_get(&c->usable, key, NULL)) return true;
    lm_arena_reset(&c->arena);
    const Lensmill__Step *step = lm_unpack_step(&c->arena, value);
    size_t recipe;
    if (!step) return true;
    bool usable = lm_catalog_recipe(&c->catalog, step->recipe, &recipe) && c->recipe_kept[recipe];
    lm_digest digest;
    for (size_t i = 0; i < step->n_inputs && usable; i++)
        usable = !lm_digest_from(step->inputs[i], &digest) || lm_digest_map_get(&c->given, &digest, NULL) ||
                 !lm_digest_map_get(&c->lost, &digest, NULL);
    if (usable && !lm_digest_map_put(&c->usable, key, 0)) return stop(c, LM_NOMEM(c->err));
    for (size_t i = 0; i < step->n_outputs; i++)
        if (lm_digest_from(step->outputs[i]->digest, &digest) &&
            !lm_digest_map_put(usable ? &c->given : &c->lost, &digest, 0))
            return stop(c, LM_NOMEM(c->err));
    return true;
}

static lm_status judge_steps(collecting *c)
{
    for (size_t before = SIZE_MAX; c->usable.n != before && !c->status;) {
        before = c->usable.n;
        LM_TRY(lm_snapshot_rows(c->snapshot, LM_ROW_STEP, false, judge_step, c, c->err));
    }
    return c->status;
}

static bool add_held(void *arg, lm_row_kind kind, const lm_digest *digest, lm_view view)
{
    collecting *c = arg;
    (void)kind;
    if (!lm_digest_map_get(&c->rows, digest, NULL)) c->step_bytes += view.size;
    return true;
}

static bool keep_held(void *arg, lm_row_kind kind, const lm_digest *digest, lm_view view)
{
    collecting *c = arg;
    if (lm_digest_map_get(&c->rows, digest, NULL)) return true;
    if (!lm_digest_map_put(&c->rows, digest, 0)) return stop(c, LM_NOMEM(c->err));
    c->n[kind]++;
    c->bytes[kind] += view.size;
    return true;
}

/* Steps come newest first: once one does not fit, no older one does. */
static bool choose_step(void *arg, lm_row_kind kind, const lm_digest *digest, lm_view value, uint64_t sequence)
{
    collecting *c = arg;
    (void)kind, (void)sequence;
    lm_arena_reset(&c->arena);
    const Lensmill__Step *step = lm_unpack_step(&c->arena, value);
    if (!step || !lm_digest_map_get(&c->usable, digest, NULL)) return true;
    lm_status status;
    if (c->most_bytes != UINT64_MAX) {
        c->step_bytes = value.size;
        if ((status = lm_step_holds(c->snapshot, &c->arena, step, add_held, c, c->err))) return stop(c, status);
        c->kept_bytes += c->step_bytes;
        if ((c->full = c->kept_bytes > c->most_bytes)) return false;
    }
    lm_digest writer = of_number(step->run);
    if (!lm_digest_map_put(&c->steps, digest, 0) || !lm_digest_map_put(&c->writers, &writer, 0))
        return stop(c, LM_NOMEM(c->err));
    c->n[LM_ROW_STEP]++;
    c->bytes[LM_ROW_STEP] += value.size;
    if ((status = lm_step_holds(c->snapshot, &c->arena, step, keep_held, c, c->err))) return stop(c, status);
    return !c->status;
}

static bool count_recipe(void *arg, lm_row_kind kind, const lm_digest *digest, lm_view value, uint64_t sequence)
{
    collecting *c = arg;
    uint64_t at;
    (void)sequence;
    if (!lm_digest_map_get(&c->catalog.by_digest, digest, &at) || !c->recipe_kept[at]) return true;
    c->n[kind]++;
    c->bytes[kind] += value.size;
    return true;
}

static bool keep_row(void *arg, lm_row_kind kind, const lm_digest *digest, lm_view value)
{
    const collecting *c = arg;
    uint64_t at;
    (void)value;
    switch (kind) {
    case LM_ROW_STEP: return lm_digest_map_get(&c->steps, digest, NULL);
    case LM_ROW_RECIPE: return lm_digest_map_get(&c->catalog.by_digest, digest, &at) && c->recipe_kept[at];
    case LM_ROW_ARTIFACT:
    case LM_ROW_TENSOR: return lm_digest_map_get(&c->rows, digest, NULL);
    }
    return true;
}

/* ---- which entries ------------------------------------------------------------------------------------------------- */

static bool letter_goes(const collecting *c, const Lensmill__DeadLetter *letter)
{
    for (size_t i = 0; letter && i < c->catalog.n_runs; i++)
        if (c->run_kept[i] && strcmp(c->catalog.runs[i]->graph, letter->graph) == 0) return false;
    return letter != NULL;
}

static bool step_goes(const collecting *c, lm_view key)
{
    lm_digest step;
    if (key.size < sizeof step) return false;
    memcpy(&step, key.data, sizeof step);
    return !lm_digest_map_get(&c->steps, &step, NULL);
}

static bool run_goes(const collecting *c, const Lensmill__Run *run)
{
    size_t last = c->catalog.n_runs - 1; /* its number is not given a second time */
    lm_digest writer = of_number(run->number);
    for (size_t i = 0; i < c->catalog.n_runs; i++)
        if (c->catalog.runs[i]->number == run->number)
            return !c->run_kept[i] && i != last && !lm_digest_map_get(&c->writers, &writer, NULL);
    return false;
}

/* Entries of a table that go: counted, and put into the write if there is one. */
static bool drop_entry(void *arg, lm_view key, lm_view value)
{
    collecting *c = arg;
    lm_arena_reset(&c->arena);
    bool goes = false;
    switch (c->table) {
    case LM_TABLE_RUNS: {
        const Lensmill__Run *run = lm_unpack_run(&c->arena, value);
        c->n_runs += goes = run && run_goes(c, run);
        break;
    }
    case LM_TABLE_DEAD: c->n_letters += goes = letter_goes(c, lm_unpack_letter(&c->arena, value)); break;
    case LM_TABLE_RECEIPTS: c->n_receipts += goes = step_goes(c, key); break;
    case LM_TABLE_CHECKPOINTS: c->n_checkpoints += goes = checkpoints || !step_goes(c, key); break;
    default: break;
    }
    if (!goes || !c->write) return true;
    lm_status status = lm_write_entry(c->write, c->table, key.data, key.size, NULL, 0, c->err);
    return !status || stop(c, status);
}

static lm_status drop_entries(collecting *c)
{
    static const lm_table tables[] = {LM_TABLE_RUNS, LM_TABLE_DEAD, LM_TABLE_RECEIPTS, LM_TABLE_CHECKPOINTS};
    c->n_runs = c->n_letters = c->n_receipts = c->n_checkpoints = 0;
    for (size_t i = 0; i < sizeof tables / sizeof *tables && !c->status; i++) {
        c->table = tables[i];
        LM_TRY(lm_snapshot_entries(c->snapshot, tables[i], drop_entry, c, c->err));
    }
    return c->status;
}

/* ---- doing it ------------------------------------------------------------------------------------------------------ */

static lm_status plan(lm_store *store, collecting *c)
{
    LM_TRY(lm_store_snapshot(store, &c->snapshot, c->err));
    LM_TRY(lm_catalog_load(c->snapshot, &c->catalog, c->err));
    LM_TRY(choose_runs(c));
    LM_TRY(judge_steps(c));
    LM_TRY(lm_snapshot_rows(c->snapshot, LM_ROW_STEP, true, choose_step, c, c->err));
    LM_TRY(c->status);
    LM_TRY(lm_snapshot_rows(c->snapshot, LM_ROW_RECIPE, false, count_recipe, c, c->err));
    return drop_entries(c);
}

static lm_status carry_out(lm_store *store, collecting *c)
{
    /* First the rows, which takes a full disk badly, and then what spoke of them: in between nothing is wrong. */
    c->snapshot = lm_snapshot_unref(c->snapshot);
    LM_TRY(lm_store_collect(store, keep_row, c, c->err));
    LM_TRY(lm_store_snapshot(store, &c->snapshot, c->err));
    LM_TRY(lm_write_new(&c->write, c->err));
    LM_TRY(drop_entries(c));
    uint64_t ticket;
    LM_TRY(lm_store_hand_in(store, lm_take(c->write), &ticket, c->err));
    return lm_store_wait(store, ticket, c->err);
}

static const struct {
    const char *name, *one;
    lm_row_kind kind;
} kinds[] = {{"steps", "step", LM_ROW_STEP},
             {"artifacts", "artifact", LM_ROW_ARTIFACT},
             {"tensors", "tensor", LM_ROW_TENSOR},
             {"recipes", "recipe", LM_ROW_RECIPE}};
enum { KINDS = sizeof kinds / sizeof *kinds };

static json_t *json_report(const collecting *c, const lm_store_stats *before, const lm_store_stats *after)
{
    json_t *all = json_pack("{s:b}", "dry_run", dry_run);
    uint64_t gone = 0;
    for (size_t i = 0; i < KINDS; i++) {
        lm_row_kind kind = kinds[i].kind;
        gone += before->row_bytes[kind] - c->bytes[kind];
        json_object_set_new(all, kinds[i].name,
                            json_pack("{s:I, s:I, s:I, s:I}", "kept", (json_int_t)c->n[kind], "kept_bytes",
                                      (json_int_t)c->bytes[kind], "dropped",
                                      (json_int_t)(before->rows[kind] - c->n[kind]), "dropped_bytes",
                                      (json_int_t)(before->row_bytes[kind] - c->bytes[kind])));
    }
    json_object_set_new(all, "dropped_bytes", json_integer((json_int_t)gone));
    json_object_set_new(all, "dropped_runs", json_integer((json_int_t)c->n_runs));
    json_object_set_new(all, "dropped_receipts", json_integer((json_int_t)c->n_receipts));
    json_object_set_new(all, "dropped_dead", json_integer((json_int_t)c->n_letters));
    json_object_set_new(all, "dropped_checkpoints", json_integer((json_int_t)c->n_checkpoints));
    json_object_set_new(all, "file_bytes_before", json_integer((json_int_t)before->file_bytes));
    if (!dry_run) json_object_set_new(all, "file_bytes", json_integer((json_int_t)after->file_bytes));
    return all;
}

static void print_report(const collecting *c, const lm_store_stats *before, const lm_store_stats *after)
{
    static const char *const heads[] = {"", ">stay", ">bytes", ">go", ">bytes"};
    char bytes[32], gone[32], former[32];
    uint64_t bytes_gone = 0;
    size_t kept = 0;
    lm_columns columns;
    for (size_t i = 0; i < c->catalog.n_runs; i++) kept += c->run_kept[i];
    printf("%zu of %zu runs are kept\n", kept, c->catalog.n_runs);
    lm_columns_init(&columns, 5, heads);
    for (size_t i = 0; i < KINDS; i++) {
        lm_row_kind kind = kinds[i].kind;
        uint64_t go = before->row_bytes[kind] - c->bytes[kind];
        bytes_gone += go;
        lm_columns_add(&columns, "%s", kinds[i].name);
        lm_columns_add(&columns, "%" PRIu64, c->n[kind]);
        lm_columns_add(&columns, "%s", lm_text_bytes(bytes, (double)c->bytes[kind]));
        lm_columns_add(&columns, "%" PRIu64, before->rows[kind] - c->n[kind]);
        lm_columns_add(&columns, "%s", lm_text_bytes(bytes, (double)go));
    }
    lm_columns_print(&columns, stdout, 2, lm_terminal_width(stdout));
    if (c->full) puts("older steps that are in use go too, so that the rest fits --max-size");
    const struct {
        uint64_t n;
        const char *one, *many;
    } entries[] = {{c->n_runs, "run", "runs"},
                   {c->n_receipts, "receipt", "receipts"},
                   {c->n_letters, "dead letter", "dead letters"},
                   {c->n_checkpoints, "checkpoint", "checkpoints"}};
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        char text[64];
        if (entries[i].n)
            printf("%s of the tables %s\n", lm_counted(text, entries[i].n, entries[i].one, entries[i].many),
                   entries[i].n == 1 ? "goes" : "go");
    }
    lm_text_bytes(gone, (double)bytes_gone);
    if (dry_run) printf("\n%s would go; nothing was changed (--dry-run)\n", gone);
    else if (after)
        printf("\n%s went: %s on disk, %s before\n", gone, lm_text_bytes(bytes, (double)after->file_bytes),
               lm_text_bytes(former, (double)before->file_bytes));
    else puts("\nnothing to collect");
}

static bool parse_size(const char *text, uint64_t *ret)
{
    static const struct {
        const char *name;
        double factor;
    } units[] = {{"", 1},
                 {"B", 1},
                 {"KB", 1e3},
                 {"MB", 1e6},
                 {"GB", 1e9},
                 {"TB", 1e12},
                 {"KiB", 1024},
                 {"MiB", 1048576.0},
                 {"GiB", 1073741824.0},
                 {"TiB", 1099511627776.0},
                 {"K", 1e3},
                 {"M", 1e6},
                 {"G", 1e9},
                 {"T", 1e12}};
    char *end;
    double value = strtod(text, &end);
    if (end == text || !(value >= 0) || !isfinite(value)) return false;
    while (*end == ' ') end++;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcasecmp(end, units[i].name) == 0 && value * units[i].factor < 1e18) {
            *ret = (uint64_t)(value * units[i].factor);
            return true;
        }
    return false;
}

static lm_status collect(lm_store *store, collecting *c, int *ret_status)
{
    lm_store_stats before, after;
    LM_TRY(lm_store_stat(store, &before, c->err));
    LM_TRY(plan(store, c));
    bool something = c->n_runs + c->n_letters + c->n_receipts + c->n_checkpoints > 0;
    for (size_t i = 0; i < KINDS; i++) something |= before.rows[kinds[i].kind] > c->n[kinds[i].kind];
    bool done = something && !dry_run;
    if (done) LM_TRY(carry_out(store, c));
    c->snapshot = lm_snapshot_unref(c->snapshot);
    if (done) LM_TRY(lm_store_stat(store, &after, c->err));
    else after = before;
    if (as_json) *ret_status = lm_print_json(command.name, json_report(c, &before, &after), LM_EXIT_OK);
    else print_report(c, &before, done ? &after : NULL);
    return LM_OK;
}

int lm_store_gc(int argc, char **argv)
{
    lm_arguments arguments;
    int status = LM_EXIT_OK;
    if (!lm_options_parse(&command, argc, argv, &arguments, &status)) return status;
    lm_error err = {0};
    collecting c = {.most_bytes = UINT64_MAX, .err = &err};
    if (max_size && !parse_size(max_size, &c.most_bytes))
        return lm_usage_error(command.name, "For example: --max-size 10GB",
                              "\"--max-size\" wants a number of bytes with a unit, not \"%s\"", max_size);
    LM_OWN(lm_store) store = NULL;
    lm_store_mode mode = dry_run ? LM_STORE_READ : LM_STORE_WRITE;
    if (!lm_open_store(command.name, lm_store_place(store_place), mode, "store gc", &store, &status)) return status;
    lm_arena_init(&c.arena);
    lm_status failed = collect(store, &c, &status);
    if (failed) status = lm_verb_failed(command.name, &err);
    lm_snapshot_unref(c.snapshot);
    lm_write_free(c.write);
    lm_catalog_done(&c.catalog);
    lm_arena_done(&c.arena);
    lm_digest_map_done(&c.rows);
    lm_digest_map_done(&c.usable);
    lm_digest_map_done(&c.given);
    lm_digest_map_done(&c.lost);
    lm_digest_map_done(&c.steps);
    lm_digest_map_done(&c.writers);
    lm_free(c.run_kept);
    lm_free(c.recipe_kept);
    return status;
}
