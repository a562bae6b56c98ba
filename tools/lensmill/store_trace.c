/* lensmill store trace: from a file that a run wrote back to its sources.
 *
 * A step names its inputs by digest, and stands in the log behind the steps that gave them. So one walk over the log from its
 * end, with a set of the digests that are wanted, finds the whole lineage; a walk that found something is done again until
 * one finds nothing, for steps that were written anew later than what was made from them.
 * Several steps may give the same digest: filters that pass a record on, and steps of other graphs with equal results.
 * Those of the run that wrote the file are taken where there are any.
 */
#include "runtime/text.h"
#include "tools/lensmill/columns.h"
#include "tools/lensmill/running.h"
#include "tools/lensmill/store_verbs.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FEW_INPUTS = 4, SHOWN_INPUTS = 3, DEEPEST = 100 };

static const char *store_place;
static bool whole, as_json;

static const lm_option options[] = {
    {"all", LM_OPTION_FLAG, &whole, .doc = "every input of a step that has many, not only the first three"},
    {"store", LM_OPTION_TEXT, &store_place, .value = "DIR", .doc = "the store; default .lensmill"},
    {"json", LM_OPTION_FLAG, &as_json, .doc = "print JSON: all steps, each with the digests of its inputs and outputs"},
    {0}};

static const lm_command command = {
    .name = "store trace",
    .usage = "FILE [options]",
    .summary = "From a file that a run wrote back to its sources",
    .doc = "Prints the step that wrote the file, the steps that gave its inputs, and so on to the sources: "
           "operator and version, record, when and in which run, digests and parameters. Says whether the "
           "file is still what was written.",
    .options = options,
    .least = 1,
    .most = 1,
};

typedef struct traced { /* a step of the lineage */
    lm_digest key;
    Lensmill__Step *step;
    const Lensmill__Recipe *recipe;
    const Lensmill__Run *run; /* that wrote it; NULL: not known */
    const char *node;         /* its name in the run that wrote the file, or in its own; NULL: not known */
    bool ours;                /* part of the run that wrote the file */
    bool shown;
} traced;

typedef struct tracing {
    lm_snapshot *snapshot;
    lm_catalog catalog;
    lm_arena arena, row;
    const char *path, *real;
    Lensmill__Receipt **receipts; /* of the path, oldest run first */
    size_t n_receipts, receipts_capacity;
    const Lensmill__Run *run; /* that wrote the file */
    lm_digest_map wanted, known;
    lm_digest_map given; /* digest -> the newest of its `gifts` */
    struct gift {
        size_t step, next; /* next: of the same digest; SIZE_MAX: none */
    } * gifts;
    size_t n_gifts, gifts_capacity;
    traced *steps;
    size_t n, capacity;
    Lensmill__DeadLetter **letters; /* whose error records are part of the lineage */
    lm_digest *letter_idents;
    size_t n_letters, letters_capacity, idents_capacity;
    lm_status status;
    lm_error *err;
} tracing;

static bool stop(tracing *t, lm_status status)
{
    if (!t->status) t->status = status;
    return false;
}

/* ---- the file ------------------------------------------------------------------------------------------------------ */

static bool see_receipt(void *arg, lm_view key, lm_view value)
{
    tracing *t = arg;
    (void)key;
    lm_arena_reset(&t->row);
    const Lensmill__Receipt *seen = lm_unpack_receipt(&t->row, value);
    if (!seen || (strcmp(seen->path, t->path) != 0 && strcmp(seen->path, t->real) != 0)) return true;
    Lensmill__Receipt *receipt = lm_unpack_receipt(&t->arena, value);
    if (!receipt || !lm_grow(&t->receipts, t->n_receipts, &t->receipts_capacity, sizeof *t->receipts))
        return stop(t, LM_NOMEM(t->err));
    size_t at = t->n_receipts++;
    for (; at && t->receipts[at - 1]->run > receipt->run; at--) t->receipts[at] = t->receipts[at - 1];
    t->receipts[at] = receipt;
    return true;
}

static bool agrees(const Lensmill__Receipt *receipt, const struct stat *st)
{
    return (uint64_t)st->st_size == receipt->size &&
           (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec == receipt->mtime_ns;
}

/* The receipt that agrees with the file; else the newest. */
static const Lensmill__Receipt *choose_receipt(const tracing *t, const struct stat *st, bool exists, bool *ret_agrees)
{
    for (size_t i = t->n_receipts; exists && i-- > 0;)
        if ((*ret_agrees = agrees(t->receipts[i], st))) return t->receipts[i];
    *ret_agrees = false;
    return t->receipts[t->n_receipts - 1];
}

/* An absolute path, without symbolic links where the file exists. */
static char *absolute(const char *file, char **ret_real)
{
    char here[PATH_MAX];
    if (file[0] == '/' || !getcwd(here, sizeof here)) here[0] = 0;
    size_t room = strlen(here) + strlen(file) + 2;
    char *path = lm_alloc_raw(room), *real = realpath(file, NULL);
    while (lm_starts_with(file, "./")) file += 2;
    if (path) snprintf(path, room, "%s%s%s", here, here[0] ? "/" : "", file);
    *ret_real = path ? lm_strdup(real ? real : path) : NULL;
    free(real);
    return path;
}

/* ---- the lineage --------------------------------------------------------------------------------------------------- */

static bool want_inputs(tracing *t, const Lensmill__Step *step)
{
    for (size_t i = 0; i < step->n_inputs; i++) {
        lm_digest digest;
        if (lm_digest_from(step->inputs[i], &digest) && !lm_digest_map_put(&t->wanted, &digest, 0))
            return stop(t, LM_NOMEM(t->err));
    }
    return true;
}

static bool note_outputs(tracing *t, size_t step)
{
    const Lensmill__Step *row = t->steps[step].step;
    for (size_t i = 0; i < row->n_outputs; i++) {
        lm_digest digest;
        uint64_t next = SIZE_MAX;
        if (!lm_digest_from(row->outputs[i]->digest, &digest)) continue;
        lm_digest_map_get(&t->given, &digest, &next);
        if (!lm_grow(&t->gifts, t->n_gifts, &t->gifts_capacity, sizeof *t->gifts) ||
            !lm_digest_map_put(&t->given, &digest, t->n_gifts))
            return stop(t, LM_NOMEM(t->err));
        t->gifts[t->n_gifts++] = (struct gift){step, next};
    }
    return true;
}

static bool add_step(tracing *t, const lm_digest *key, lm_view value)
{
    Lensmill__Step *step = lm_unpack_step(&t->arena, value);
    if (!step || !lm_grow(&t->steps, t->n, &t->capacity, sizeof *t->steps) || !lm_digest_map_put(&t->known, key, t->n))
        return stop(t, LM_NOMEM(t->err));
    const Lensmill__Run *own = lm_catalog_run(&t->catalog, step->run);
    traced *s = &t->steps[t->n++];
    *s = (traced){.key = *key, .step = step, .recipe = lm_catalog_recipe(&t->catalog, step->recipe, NULL)};
    s->node = lm_run_node(t->run, step->recipe);
    s->ours = s->node != NULL;
    if (!s->node) s->node = lm_run_node(own, step->recipe);
    if (lm_run_node(own, step->recipe)) s->run = own; /* else a merged store's: another run had this number */
    return note_outputs(t, t->n - 1) && want_inputs(t, step);
}

static bool see_step(void *arg, lm_row_kind kind, const lm_digest *key, lm_view value, uint64_t sequence)
{
    tracing *t = arg;
    (void)kind, (void)sequence;
    if (lm_digest_map_get(&t->known, key, NULL)) return true;
    lm_arena_reset(&t->row);
    const Lensmill__Step *step = lm_unpack_step(&t->row, value);
    for (size_t i = 0; step && i < step->n_outputs; i++) {
        lm_digest digest;
        if (lm_digest_from(step->outputs[i]->digest, &digest) && lm_digest_map_get(&t->wanted, &digest, NULL))
            return add_step(t, key, value);
    }
    return true;
}

/* A record of a node's port `errors` is known by the step that failed, and why: see the dead letters. */
static bool see_letter(void *arg, lm_view key, lm_view value)
{
    tracing *t = arg;
    (void)key;
    lm_arena_reset(&t->row);
    const Lensmill__DeadLetter *seen = lm_unpack_letter(&t->row, value);
    if (!seen) return true;
    lm_hash hash;
    lm_hash_init(&hash);
    lm_hash_add(&hash, seen->key.data, seen->key.len);
    lm_hash_add_text(&hash, "error");
    lm_hash_add_text(&hash, seen->node);
    lm_hash_add_text(&hash, seen->kind);
    lm_hash_add_text(&hash, seen->error);
    lm_digest ident = lm_hash_finish(&hash);
    if (!lm_digest_map_get(&t->wanted, &ident, NULL)) return true;
    Lensmill__DeadLetter *letter = lm_unpack_letter(&t->arena, value);
    if (!letter || !lm_grow(&t->letters, t->n_letters, &t->letters_capacity, sizeof *t->letters) ||
        !lm_grow(&t->letter_idents, t->n_letters, &t->idents_capacity, sizeof *t->letter_idents))
        return stop(t, LM_NOMEM(t->err));
    t->letter_idents[t->n_letters] = ident;
    t->letters[t->n_letters++] = letter;
    return true;
}

static lm_status trace(tracing *t, const Lensmill__Receipt *receipt)
{
    lm_digest key;
    lm_view view = {NULL, 0};
    t->run = lm_catalog_run(&t->catalog, receipt->run);
    if (lm_digest_from(receipt->key, &key)) LM_TRY(lm_snapshot_find(t->snapshot, LM_ROW_STEP, &key, &view, t->err));
    if (!view.data) return LM_OK;
    if (!add_step(t, &key, view)) return t->status;
    for (size_t before = 0; before < t->n && !t->status;) {
        before = t->n;
        LM_TRY(lm_snapshot_rows(t->snapshot, LM_ROW_STEP, true, see_step, t, t->err));
    }
    LM_TRY(t->status);
    LM_TRY(lm_snapshot_entries(t->snapshot, LM_TABLE_DEAD, see_letter, t, t->err));
    return t->status;
}

static bool names(ProtobufCBinaryData digest, const lm_digest *wanted)
{
    return digest.len == sizeof *wanted && memcmp(digest.data, wanted, sizeof *wanted) == 0;
}

static bool takes(const traced *s, const lm_digest *digest)
{
    for (size_t i = 0; i < s->step->n_inputs; i++)
        if (names(s->step->inputs[i], digest)) return true;
    return false;
}

/* Where in the run's graph a step stands: nodes are listed from the sources on. */
static size_t place(const tracing *t, const traced *s)
{
    for (size_t i = 0; t->run && i < t->run->n_recipes; i++)
        if (s->step->recipe.len == t->run->recipes[i].len &&
            memcmp(s->step->recipe.data, t->run->recipes[i].data, s->step->recipe.len) == 0)
            return i;
    return SIZE_MAX;
}

/* The step that gave a digest to `below` (an index): the nearest one above it in the graph that was part of the run, which
 * may be one that passed it on. t->n: none. */
static size_t giver(const tracing *t, const lm_digest *digest, size_t below)
{
    size_t best = t->n, limit = place(t, &t->steps[below]);
    uint64_t gift = SIZE_MAX;
    lm_digest_map_get(&t->given, digest, &gift);
    for (; gift != SIZE_MAX; gift = t->gifts[gift].next) {
        size_t i = t->gifts[gift].step;
        const traced *s = &t->steps[i], *former = best < t->n ? &t->steps[best] : NULL;
        if (i == below) continue;
        if (s->ours && place(t, s) >= limit) continue; /* it took it from the same place, or from below */
        if (!s->ours && ((former && former->ours) || takes(s, digest))) continue; /* another graph's filter */
        if (!former || (s->ours && (!former->ours || place(t, s) > place(t, former)))) best = i;
    }
    return best;
}

static const Lensmill__DeadLetter *letter_of(const tracing *t, const lm_digest *ident)
{
    for (size_t i = 0; i < t->n_letters; i++)
        if (lm_digest_equal(&t->letter_idents[i], ident)) return t->letters[i];
    return NULL;
}

/* ---- the tree ------------------------------------------------------------------------------------------------------ */

static void print_line(const char *indent, const char *text)
{
    size_t width = lm_terminal_width(stdout), used = lm_text_width(indent), n = 0;
    size_t room = !width ? SIZE_MAX : used + 40 < width ? width - used : 40;
    fputs(indent, stdout);
    for (const char *c = text; *c; c++) {
        n += ((unsigned char)*c & 0xC0) != 0x80;
        if (n + 3 > room && lm_text_width(c) > 3) {
            fputs("...", stdout);
            break;
        }
        putchar((unsigned char)*c < ' ' ? '?' : *c);
    }
    putchar('\n');
}

static void print_step(const traced *s, const lm_digest *output, const char *first, const char *rest)
{
    char key[65], made[65], when[32], time[32];
    lm_text line;
    lm_text_init(&line);
    lm_text_format(&line, "%s: %s", s->node ? s->node : "?",
                   s->recipe ? s->recipe->op : "(its recipe is not in the store)");
    if (s->recipe) lm_text_format(&line, ", version %u", s->recipe->version);
    if (*s->step->id) lm_text_format(&line, ", record \"%s\"", s->step->id);
    print_line(first, lm_text_peek(&line));
    lm_text_clear(&line);
    lm_text_format(&line, "step %s", lm_digits(key, &s->key, LM_SHORT_DIGEST));
    if (output) lm_text_format(&line, ", gave %s", lm_digits(made, output, LM_SHORT_DIGEST));
    lm_text_format(&line, ", run %llu", (unsigned long long)s->step->run);
    if (s->run) lm_text_format(&line, " of %s, %s", s->run->graph, lm_when(when, s->run->started_s));
    lm_text_format(&line, ", took %s", lm_text_duration(time, s->step->seconds));
    print_line(rest, lm_text_peek(&line));
    if (s->recipe && strcmp(s->recipe->params, "{}") != 0) print_line(rest, s->recipe->params);
    lm_text_done(&line);
}

static void print_tree(tracing *t, size_t at, const lm_digest *output, const char *first, const char *rest, int depth);

static void print_input(tracing *t, size_t below, const lm_digest *digest, const char *indent, bool last, int depth)
{
    char text[65];
    const char *first = lm_arena_printf(&t->arena, "%s%s", indent, last ? "└─ " : "├─ ");
    const char *rest = lm_arena_printf(&t->arena, "%s%s", indent, last ? "   " : "│  ");
    if (!first || !rest) return;
    size_t at = giver(t, digest, below);
    if (at < t->n) {
        print_tree(t, at, digest, first, rest, depth + 1);
        return;
    }
    const Lensmill__DeadLetter *letter = letter_of(t, digest);
    lm_text line;
    lm_text_init(&line);
    if (letter) {
        lm_text_format(&line, "%s: error of %s, record \"%s\"", letter->node, letter->op, letter->id);
        print_line(first, lm_text_peek(&line));
        print_line(rest, letter->error);
    } else {
        lm_text_format(&line, "%s: the step that gave it is no longer in the store",
                       lm_digits(text, digest, LM_SHORT_DIGEST));
        print_line(first, lm_text_peek(&line));
    }
    lm_text_done(&line);
}

static void print_tree(tracing *t, size_t at, const lm_digest *output, const char *first, const char *rest, int depth)
{
    traced *s = &t->steps[at];
    print_step(s, output, first, depth ? rest : "  ");
    char text[128];
    if (s->shown && s->step->n_inputs) {
        print_line(rest, "(its inputs are shown above)");
        return;
    }
    s->shown = true;
    if (depth >= DEEPEST) return;
    size_t n = s->step->n_inputs, shown = whole || n <= FEW_INPUTS ? n : SHOWN_INPUTS;
    for (size_t i = 0; i < shown; i++) {
        lm_digest digest;
        if (lm_digest_from(s->step->inputs[i], &digest)) print_input(t, at, &digest, rest, i + 1 == n, depth);
    }
    if (shown == n) return;
    snprintf(text, sizeof text, "└─ and %zu more inputs: --all shows them", n - shown);
    print_line(rest, text);
}

/* ---- reports ------------------------------------------------------------------------------------------------------- */

static const char *file_state(bool exists, bool is_same)
{
    return !exists   ? "the file is no longer there"
           : is_same ? "the file is as it was written"
                     : "the file has changed since";
}

static int print_text(tracing *t, const Lensmill__Receipt *receipt, const struct stat *st, bool exists, bool is_same)
{
    char when[32];
    printf("%s\n", receipt->path);
    printf("  written by run %llu", (unsigned long long)receipt->run);
    if (t->run) printf(" of %s (%s)", t->run->graph, t->run->file);
    printf(", %s", lm_when(when, (uint64_t)(receipt->mtime_ns / 1000000000)));
    printf("; %s", file_state(exists, is_same));
    if (exists && !is_same && (uint64_t)st->st_size != receipt->size)
        printf(" (it has %llu bytes and had %llu)", (unsigned long long)st->st_size, (unsigned long long)receipt->size);
    printf("\n\n");
    if (t->n) print_tree(t, 0, NULL, "", "", 0);
    else puts("the step that wrote it is no longer in the store");
    return LM_EXIT_OK;
}

static json_t *json_step(const traced *s)
{
    char text[65];
    json_t *inputs = json_array(), *outputs = json_array();
    for (size_t i = 0; i < s->step->n_inputs; i++) json_array_append_new(inputs, lm_json_digest(s->step->inputs[i]));
    for (size_t i = 0; i < s->step->n_outputs; i++)
        json_array_append_new(outputs, json_pack("{s:o, s:o}", "id", lm_json_text(s->step->outputs[i]->id), "digest",
                                                 lm_json_digest(s->step->outputs[i]->digest)));
    json_t *about = json_pack("{s:s, s:o, s:I, s:f, s:o, s:o}", "step", lm_digest_text(text, &s->key), "id",
                              lm_json_text(s->step->id), "run", (json_int_t)s->step->run, "seconds", s->step->seconds,
                              "inputs", inputs, "outputs", outputs);
    if (s->node) json_object_set_new(about, "node", lm_json_text(s->node));
    if (s->run) json_object_set_new(about, "started", lm_json_when(s->run->started_s));
    if (s->run) json_object_set_new(about, "graph", lm_json_text(s->run->graph));
    json_object_set_new(about, "part_of_run", json_boolean(s->ours));
    if (s->recipe) {
        json_object_set_new(about, "op", lm_json_text(s->recipe->op));
        json_object_set_new(about, "version", json_integer(s->recipe->version));
        json_object_set_new(about, "params", lm_json_params(s->recipe));
    }
    return about;
}

static int print_json(const tracing *t, const Lensmill__Receipt *receipt, bool exists, bool is_same)
{
    char text[65];
    json_t *steps = json_array(), *errors = json_array();
    for (size_t i = 0; i < t->n; i++) json_array_append_new(steps, json_step(&t->steps[i]));
    for (size_t i = 0; i < t->n_letters; i++)
        json_array_append_new(errors,
                              json_pack("{s:s, s:o, s:o, s:o}", "digest", lm_digest_text(text, &t->letter_idents[i]),
                                        "node", lm_json_text(t->letters[i]->node), "id",
                                        lm_json_text(t->letters[i]->id), "error", lm_json_text(t->letters[i]->error)));
    json_t *all = json_pack("{s:o, s:I, s:s, s:I, s:o, s:o}", "file", lm_json_text(receipt->path), "run",
                            (json_int_t)receipt->run, "state",
                            !exists   ? "missing"
                            : is_same ? "as written"
                                      : "changed",
                            "written_bytes", (json_int_t)receipt->size, "steps", steps, "errors", errors);
    if (t->run) json_object_set_new(all, "graph", lm_json_text(t->run->graph));
    return lm_print_json(command.name, all, LM_EXIT_OK);
}

static lm_status trace_file(tracing *t, const char *file, int *ret_status)
{
    LM_OWN(lm_chars) real = NULL;
    LM_OWN(lm_chars) path = absolute(file, &real);
    if (!path || !real) return LM_NOMEM(t->err);
    t->path = path;
    t->real = real;
    LM_TRY(lm_snapshot_entries(t->snapshot, LM_TABLE_RECEIPTS, see_receipt, t, t->err));
    LM_TRY(t->status);
    if (!t->n_receipts) {
        *ret_status = lm_usage_error(
            command.name, "Only files that the runs of this store wrote are known to it; --store names another.",
            "no run wrote \"%s\"", path);
        return LM_OK;
    }
    struct stat st = {0};
    bool is_same, exists = stat(path, &st) == 0;
    const Lensmill__Receipt *receipt = choose_receipt(t, &st, exists, &is_same);
    LM_TRY(trace(t, receipt));
    *ret_status = as_json ? print_json(t, receipt, exists, is_same) : print_text(t, receipt, &st, exists, is_same);
    return LM_OK;
}

int lm_store_trace(int argc, char **argv)
{
    lm_arguments arguments;
    int status = LM_EXIT_OK;
    if (!lm_options_parse(&command, argc, argv, &arguments, &status)) return status;
    LM_OWN(lm_store) store = NULL;
    if (!lm_open_store(command.name, lm_store_place(store_place), LM_STORE_READ, NULL, &store, &status)) return status;
    lm_error err = {0};
    LM_OWN(lm_snapshot) snapshot = NULL;
    if (lm_store_snapshot(store, &snapshot, &err)) return lm_verb_failed(command.name, &err);
    tracing t = {.snapshot = snapshot, .err = &err};
    lm_arena_init(&t.arena);
    lm_arena_init(&t.row);
    lm_status failed = lm_catalog_load(snapshot, &t.catalog, &err);
    if (!failed) failed = trace_file(&t, arguments.at[0], &status);
    if (failed) status = lm_verb_failed(command.name, &err);
    lm_catalog_done(&t.catalog);
    lm_arena_done(&t.arena);
    lm_arena_done(&t.row);
    lm_digest_map_done(&t.wanted);
    lm_digest_map_done(&t.known);
    lm_digest_map_done(&t.given);
    lm_free(t.gifts);
    lm_free(t.receipts);
    lm_free(t.steps);
    lm_free(t.letters);
    lm_free(t.letter_idents);
    return status;
}
