/* lensmill dead: what could not be processed, and trying it again. */
#include "runtime/guard.h"
#include "runtime/map.h"
#include "runtime/text.h"
#include "tools/lensmill/columns.h"
#include "tools/lensmill/running.h"
#include "tools/lensmill/store_verbs.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_DIGITS = 8 };

static const char *store_place, *only_node, *only_graph, *only_id;
static bool all, as_json;

#define WHERE                                                                                                          \
    {"node", LM_OPTION_TEXT, &only_node, .value = "NODE", .doc = "those of this node"},                                \
        {"graph", LM_OPTION_TEXT, &only_graph, .value = "NAME", .doc = "those of the graph of this name"},             \
    {                                                                                                                  \
        "id", LM_OPTION_TEXT, &only_id, .value = "ID", .doc = "those of this record"                                   \
    }
#define STORE                                                                                                          \
    {                                                                                                                  \
        "store", LM_OPTION_TEXT, &store_place, .value = "DIR", .doc = "the store; default .lensmill"                   \
    }
#define JSON                                                                                                           \
    {                                                                                                                  \
        "json", LM_OPTION_FLAG, &as_json, .doc = "print JSON"                                                          \
    }

static const lm_option list_options[] = {WHERE, STORE, JSON, {0}};
static const lm_option show_options[] = {STORE, JSON, {0}};
static const lm_option retry_options[] = {
    WHERE, {"all", LM_OPTION_FLAG, &all, .doc = "every dead letter"}, STORE, JSON, {0}};

static const lm_command list_command = {
    .name = "dead list",
    .usage = "[options]",
    .summary = "List what could not be processed, newest run first",
    .options = list_options,
};
static const lm_command show_command = {
    .name = "dead show",
    .usage = "KEY|ID [options]",
    .summary = "Show dead letters in full",
    .doc = "KEY is the key of a letter, or its first digits, four at least; ID is a record's id: all its "
           "letters are shown.",
    .options = show_options,
    .least = 1,
    .most = 1,
};
static const lm_command retry_command = {
    .name = "dead retry",
    .usage = "--all | [--node NODE] [--graph NAME] [--id ID]",
    .summary = "Let the next run try again what could not be processed",
    .doc = "A record that is wrong stays wrong: the next run takes its dead letter as the answer and does not "
           "try again, until its input, the parameters or the operator's version change, or this command "
           "takes the letter away. Failures of disks, memory and time are tried again by every run anyway.",
    .options = retry_options,
};

typedef struct letters {
    lm_arena arena, row;
    lm_catalog catalog;
    lm_map by_id;    /* record -> its first letter's place + 1, as a pointer */
    uint64_t *since; /* of each letter: the run in which its node could process its record; 0: none */
    Lensmill__DeadLetter **at;
    size_t n, capacity;
    uint64_t there; /* with those that were not wanted */
    lm_nearest node, id, graph;
    bool node_seen, graph_seen, id_seen, failed;
} letters;

static bool is_wanted(letters *l, const Lensmill__DeadLetter *letter)
{
    if (only_graph && strcmp(only_graph, letter->graph) != 0) return false;
    l->graph_seen = true;
    if (only_node && strcmp(only_node, letter->node) != 0) return false;
    l->node_seen = true;
    if (only_id && strcmp(only_id, letter->id) != 0) return false;
    l->id_seen = true;
    return true;
}

static bool add_letter(void *arg, lm_view key, lm_view value)
{
    letters *l = arg;
    (void)key;
    Lensmill__DeadLetter *letter = lm_unpack_letter(&l->arena, value);
    if (!letter || letter->key.len != sizeof(lm_digest)) return true; /* store verify tells */
    l->there++;
    if (only_graph) lm_nearest_offer(&l->graph, letter->graph);
    if (only_node) lm_nearest_offer(&l->node, letter->node);
    if (only_id) lm_nearest_offer(&l->id, letter->id);
    if (!is_wanted(l, letter)) return true;
    l->failed = !lm_grow(&l->at, l->n, &l->capacity, sizeof *l->at);
    if (!l->failed) l->at[l->n++] = letter;
    return !l->failed;
}

static int compare(const void *a, const void *b)
{
    const Lensmill__DeadLetter *x = *(Lensmill__DeadLetter *const *)a, *y = *(Lensmill__DeadLetter *const *)b;
    if (x->run != y->run) return x->run < y->run ? 1 : -1;
    int order = strcmp(x->graph, y->graph);
    if (!order) order = strcmp(x->node, y->node);
    if (!order) order = strcmp(x->id, y->id);
    return order ? order : memcmp(x->key.data, y->key.data, sizeof(lm_digest));
}

/* A letter tells of one input. When the record has come again with another, and the node could process it, the letter is
 * still there: we say so. */
static bool see_step(void *arg, lm_row_kind kind, const lm_digest *key, lm_view value, uint64_t sequence)
{
    letters *l = arg;
    (void)kind, (void)key, (void)sequence;
    lm_arena_reset(&l->row);
    const Lensmill__Step *step = lm_unpack_step(&l->row, value);
    size_t first = step ? (size_t)(uintptr_t)lm_map_get(&l->by_id, step->id) : 0;
    if (!first) return true;
    const Lensmill__Run *run = lm_catalog_run(&l->catalog, step->run);
    const char *node = lm_run_node(run, step->recipe);
    for (size_t i = first - 1; node && i < l->n; i++) {
        const Lensmill__DeadLetter *letter = l->at[i];
        if (step->run > letter->run && step->run > l->since[i] && strcmp(letter->id, step->id) == 0 &&
            strcmp(letter->node, node) == 0 && strcmp(letter->graph, run->graph) == 0)
            l->since[i] = step->run;
    }
    return true;
}

static lm_status find_since(lm_snapshot *snapshot, letters *l, lm_error *err)
{
    l->since = lm_alloc(l->n + 1, sizeof *l->since);
    if (!l->since) return LM_NOMEM(err);
    for (size_t i = l->n; i-- > 0;)
        if (!lm_map_put(&l->by_id, l->at[i]->id, (void *)(uintptr_t)(i + 1), NULL)) return LM_NOMEM(err);
    LM_TRY(lm_catalog_load(snapshot, &l->catalog, err));
    return l->n ? lm_snapshot_rows(snapshot, LM_ROW_STEP, false, see_step, l, err) : LM_OK;
}

static lm_status load(lm_snapshot *snapshot, letters *l, lm_error *err)
{
    lm_nearest_init(&l->node, only_node ? only_node : "");
    lm_nearest_init(&l->graph, only_graph ? only_graph : "");
    lm_nearest_init(&l->id, only_id ? only_id : "");
    lm_arena_init(&l->arena);
    lm_arena_init(&l->row);
    lm_map_init(&l->by_id);
    LM_TRY(lm_snapshot_entries(snapshot, LM_TABLE_DEAD, add_letter, l, err));
    if (l->failed) return LM_NOMEM(err);
    if (l->n) qsort(l->at, l->n, sizeof *l->at, compare);
    return find_since(snapshot, l, err);
}

static void letters_done(letters *l)
{
    lm_arena_done(&l->arena);
    lm_arena_done(&l->row);
    lm_catalog_done(&l->catalog);
    lm_map_done(&l->by_id);
    lm_free(l->since);
    lm_free(l->at);
}

/* Nothing was found: is it a name that is written wrongly? */
static void explain_none(const letters *l)
{
    const char *what = NULL, *name = NULL, *best = NULL;
    if (!l->there) return;
    if (only_graph && !l->graph_seen) what = "graph", name = only_graph, best = l->graph.best;
    else if (only_node && !l->node_seen) what = "node", name = only_node, best = l->node.best;
    else if (only_id && !l->id_seen) what = "record", name = only_id, best = l->id.best;
    if (!what) return;
    fprintf(stderr, "%s \"%s\" has none", what, name);
    if (best) fprintf(stderr, "; did you mean \"%s\"?", best);
    fputc('\n', stderr);
}

static bool is_transient(const Lensmill__DeadLetter *letter)
{
    lm_status kind;
    return lm_status_parse(letter->kind, &kind) &&
           (kind == LM_EIO || kind == LM_ETIMEOUT || kind == LM_EMEMORY || kind == LM_EBUG);
}

static json_t *json_letter(const letters *l, size_t i)
{
    const Lensmill__DeadLetter *letter = l->at[i];
    json_t *inputs = json_array();
    for (size_t k = 0; k < letter->n_inputs; k++) json_array_append_new(inputs, lm_json_digest(letter->inputs[k]));
    json_t *about =
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:i, s:o, s:b}", "key", lm_json_digest(letter->key),
                  "graph", lm_json_text(letter->graph), "node", lm_json_text(letter->node), "op",
                  lm_json_text(letter->op), "id", lm_json_text(letter->id), "kind", lm_json_text(letter->kind), "error",
                  lm_json_text(letter->error), "run", (json_int_t)letter->run, "attempts", (int)letter->attempts,
                  "when", lm_json_when(letter->when_s), "next_run_tries_again", is_transient(letter));
    if (l->since[i]) json_object_set_new(about, "succeeded_in_run", json_integer((json_int_t)l->since[i]));
    if (*letter->hint) json_object_set_new(about, "hint", lm_json_text(letter->hint));
    if (letter->n_inputs) json_object_set_new(about, "inputs", inputs);
    else json_decref(inputs);
    return about;
}

/* ---- list ---------------------------------------------------------------------------------------------------------- */

static void print_list(const letters *l)
{
    static const char *const heads[] = {"key", ">run", "when", "node", "record", "kind", "error"};
    char key[65], when[32];
    lm_columns columns;
    lm_columns_init(&columns, 7, heads);
    for (size_t i = 0; i < l->n; i++) {
        const Lensmill__DeadLetter *letter = l->at[i];
        lm_columns_add(&columns, "%s", lm_digits(key, letter->key.data, KEY_DIGITS));
        lm_columns_add(&columns, "%llu", (unsigned long long)letter->run);
        lm_columns_add(&columns, "%s", lm_when(when, letter->when_s));
        lm_columns_add(&columns, "%s", letter->node);
        lm_columns_add(&columns, "%s", letter->id);
        lm_columns_add(&columns, "%s", letter->kind);
        lm_columns_add(&columns, "%s%.*s", l->since[i] ? "(succeeded since) " : "", (int)strcspn(letter->error, "\n"),
                       letter->error);
    }
    if (l->n) lm_columns_print(&columns, stdout, 0, lm_terminal_width(stdout));
}

static int list(const letters *l)
{
    if (as_json) {
        json_t *array = json_array();
        for (size_t i = 0; i < l->n; i++) json_array_append_new(array, json_letter(l, i));
        return lm_print_json(list_command.name, array, LM_EXIT_OK);
    }
    char text[64];
    print_list(l);
    if (l->n) printf("\n%s\n", lm_counted(text, l->n, "dead letter", "dead letters"));
    else puts("no dead letters");
    if (!l->n) explain_none(l);
    return LM_EXIT_OK;
}

/* ---- show ---------------------------------------------------------------------------------------------------------- */

static void print_letter(const Lensmill__DeadLetter *letter, uint64_t since)
{
    char text[65];
    printf("record \"%s\" in node \"%s\" (%s) of %s\n", letter->id, letter->node, letter->op, letter->graph);
    printf("  %s\n", letter->kind);
    for (const char *line = letter->error; *line;) {
        size_t n = strcspn(line, "\n");
        printf("    %.*s\n", (int)n, line);
        line += n + (line[n] == '\n');
    }
    if (*letter->hint) printf("  hint: %s\n", letter->hint);
    printf("  run %llu, %s", (unsigned long long)letter->run, lm_when(text, letter->when_s));
    if (letter->attempts > 1) printf(", %u attempts", letter->attempts);
    printf("\n  key %s\n", lm_digits(text, letter->key.data, 64));
    for (size_t i = 0; i < letter->n_inputs; i++)
        if (letter->inputs[i].len == sizeof(lm_digest))
            printf("  input %s\n", lm_digits(text, letter->inputs[i].data, LM_SHORT_DIGEST));
    if (since)
        printf("  state: With another input, or other parameters, it went through in run %llu; \"lensmill dead retry "
               "--id %s\" "
               "takes this letter away.\n",
               (unsigned long long)since, letter->id);
    else if (is_transient(letter)) puts("  state: The next run tries it again.");
    else
        printf("  state: It stays so until its input, the parameters or the operator change; to try again: lensmill "
               "dead retry "
               "--node %s --id \"%s\"\n",
               letter->node, letter->id);
}

static bool begins(const Lensmill__DeadLetter *letter, const char *digits)
{
    char key[65];
    size_t n = strlen(digits);
    if (n < 4 || n > 64) return false;
    lm_digits(key, letter->key.data, 64);
    for (size_t i = 0; i < n; i++)
        if (tolower((unsigned char)digits[i]) != key[i]) return false;
    return true;
}

static int show(const letters *l, const char *name)
{
    lm_nearest nearest;
    size_t shown = 0;
    json_t *array = json_array();
    lm_nearest_init(&nearest, name);
    for (size_t i = 0; i < l->n; i++) {
        lm_nearest_offer(&nearest, l->at[i]->id);
        if (strcmp(l->at[i]->id, name) != 0 && !begins(l->at[i], name)) continue;
        if (as_json) json_array_append_new(array, json_letter(l, i));
        else {
            if (shown) putchar('\n');
            print_letter(l->at[i], l->since[i]);
        }
        shown++;
    }
    if (shown && as_json) return lm_print_json(show_command.name, array, LM_EXIT_OK);
    json_decref(array);
    if (shown) return LM_EXIT_OK;
    char hint[256] = "\"lensmill dead list\" lists them.";
    if (nearest.best) snprintf(hint, sizeof hint, "Did you mean \"%.200s\"?", nearest.best);
    return lm_usage_error(show_command.name, hint, "no dead letter has the key or the record \"%s\"", name);
}

/* ---- retry --------------------------------------------------------------------------------------------------------- */

static lm_status take_away(lm_store *store, const letters *l, lm_error *err)
{
    LM_OWN(lm_write) write = NULL;
    bool crashed = false;
    if (!l->n) return LM_OK;
    LM_TRY(lm_write_new(&write, err));
    for (size_t i = 0; i < l->n; i++) {
        const Lensmill__DeadLetter *letter = l->at[i];
        crashed |= strcmp(letter->kind, lm_status_name(LM_ECRASH)) == 0;
        LM_TRY(lm_write_entry(write, LM_TABLE_DEAD, letter->key.data, letter->key.len, NULL, 0, err));
    }
    uint64_t ticket;
    LM_TRY(lm_store_hand_in(store, lm_take(write), &ticket, err));
    LM_TRY(lm_store_wait(store, ticket, err));
    /* A record that runs died of is refused by its count of crashes, too. */
    return crashed ? guard_forget(store, err) : LM_OK;
}

static int retry(lm_store *store, const letters *l)
{
    lm_error err = {0};
    char text[64];
    if (take_away(store, l, &err)) return lm_verb_failed(retry_command.name, &err);
    if (as_json)
        return lm_print_json(
            retry_command.name,
            json_pack("{s:I, s:I}", "taken_away", (json_int_t)l->n, "left", (json_int_t)(l->there - l->n)), LM_EXIT_OK);
    if (!l->n) {
        puts(l->there ? "no dead letter is meant" : "no dead letters");
        explain_none(l);
        return LM_EXIT_OK;
    }
    printf("%s taken away: the next run tries again\n", lm_counted(text, l->n, "dead letter", "dead letters"));
    return LM_EXIT_OK;
}

/* ---- verbs --------------------------------------------------------------------------------------------------------- */

static int run_verb(const lm_command *command, int argc, char **argv)
{
    lm_arguments arguments;
    int status = LM_EXIT_OK;
    if (!lm_options_parse(command, argc, argv, &arguments, &status)) return status;
    bool retries = command == &retry_command;
    bool some = only_node || only_graph || only_id;
    if (retries && all == some)
        return lm_usage_error(command->name, "Name some with --node, --graph or --id, or all of them with --all.",
                              some ? "\"--all\" and the choice of some exclude each other" : "which dead letters?");
    LM_OWN(lm_store) store = NULL;
    lm_store_mode mode = retries ? LM_STORE_WRITE : LM_STORE_READ;
    if (!lm_open_store(command->name, lm_store_place(store_place), mode, "dead retry", &store, &status)) return status;
    lm_error err = {0};
    LM_OWN(lm_snapshot) snapshot = NULL;
    letters l = {0};
    lm_status failed = lm_store_snapshot(store, &snapshot, &err);
    if (!failed) failed = load(snapshot, &l, &err);
    if (failed) status = lm_verb_failed(command->name, &err);
    else if (retries) status = retry(store, &l);
    else if (command == &show_command) status = show(&l, arguments.at[0]);
    else status = list(&l);
    letters_done(&l);
    return status;
}

int lm_cmd_dead(int argc, char **argv)
{
    static const struct {
        const char *name, *summary;
        const lm_command *command;
    } verbs[] = {{"list", "what could not be processed, and why", &list_command},
                 {"show", "a dead letter in full", &show_command},
                 {"retry", "let the next run try again", &retry_command}};
    enum { VERBS = sizeof verbs / sizeof *verbs };
    const char *name = argc > 1 ? argv[1] : NULL;
    if (!name || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        FILE *to = name ? stdout : stderr;
        fputs("List what could not be processed, or try it again.\n\nUsage: lensmill dead VERB [arguments]\n\n", to);
        for (size_t i = 0; i < VERBS; i++) fprintf(to, "  %-5s  %s\n", verbs[i].name, verbs[i].summary);
        fputs("\nEvery verb takes --store DIR (default .lensmill) and --help.\n", to);
        return name ? LM_EXIT_OK : LM_EXIT_USAGE;
    }
    lm_nearest nearest;
    lm_nearest_init(&nearest, name);
    for (size_t i = 0; i < VERBS; i++) {
        if (strcmp(verbs[i].name, name) == 0) return run_verb(verbs[i].command, argc - 1, argv + 1);
        lm_nearest_offer(&nearest, verbs[i].name);
    }
    char hint[96] = "\"lensmill dead --help\" lists the verbs.";
    if (nearest.best) snprintf(hint, sizeof hint, "Did you mean \"lensmill dead %s\"?", nearest.best);
    return lm_usage_error("dead", hint, "unknown verb \"%s\"", name);
}
