#include "tools/lensmill/plan_old.h"
#include "tools/lensmill/plan_diff.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* What is known of a node's past. */
typedef struct past {
    const lm_node *node;
    lm_digest digest;
    const Lensmill__Recipe *recipe; /* of the node now, unpacked from what the engine would store */
    bool *recipes;                  /* by the catalog's index: this node had it in some run of the graph */
    bool known;                     /* a run had the recipe that it has now, under any name */
    const char *renamed_from;       /* NULL: it had its name, or there is none that fits */
    const Lensmill__Run *last;      /* the newest run of the graph that had the node */
    const Lensmill__Run *differed;  /* the newest one in which its recipe was another */
    const Lensmill__Recipe *former; /* that one */
} past;

struct lm_plan_old {
    const lm_graph *graph;
    lm_snapshot *snapshot; /* NULL: no store */
    lm_catalog catalog;
    lm_arena arena, scratch;
    past *pasts;
    size_t n_graph_runs;
    const Lensmill__Run *last; /* of the graph */
    lm_map dead;               /* lm_plan_id() -> letter */
    const lm_map *by_id;
    bool failed;
};

char *lm_plan_id(const lm_node *node, const char *id)
{
    lm_text key;
    lm_text_init(&key);
    lm_text_format(&key, "%zu\n%s", node->index, id);
    return lm_text_take(&key);
}

lm_plan_reason lm_plan_reason_new(const char *name)
{
    lm_plan_reason reason = {.name = name};
    lm_text_init(&reason.text);
    lm_text_init(&reason.detail);
    return reason;
}

void lm_plan_reason_done(lm_plan_reason *reason)
{
    lm_text_done(&reason->text);
    lm_text_done(&reason->detail);
    json_decref(reason->changes);
    reason->changes = NULL;
}

/* ---- runs and recipes ---- */

static bool is_same(ProtobufCBinaryData bytes, const lm_digest *digest)
{
    return bytes.len == sizeof digest->bytes && memcmp(bytes.data, digest->bytes, bytes.len) == 0;
}

/* Goes through the runs of the graph, newest first, in which a node had `name`. */
static void read_past(lm_plan_old *old, past *p, const char *name)
{
    for (size_t r = old->catalog.n_runs; r-- > 0;) {
        const Lensmill__Run *run = old->catalog.runs[r];
        if (strcmp(run->graph, old->graph->name) != 0) continue;
        for (size_t i = 0; i < run->n_nodes && i < run->n_recipes; i++) {
            if (strcmp(run->nodes[i], name) != 0) continue;
            if (!p->last) p->last = run;
            size_t index;
            const Lensmill__Recipe *recipe = lm_catalog_recipe(&old->catalog, run->recipes[i], &index);
            if (!recipe) continue;
            p->recipes[index] = true;
            if (p->former || is_same(run->recipes[i], &p->digest)) continue;
            p->former = recipe;
            p->differed = run;
        }
    }
}

/* A node that no run knows by its name: the node of the newest run that did the same kind of work, has no namesake in the
 * graph of today, and differs least. */
static const char *former_name(const lm_plan_old *old, const past *p)
{
    const char *best = NULL;
    size_t least = SIZE_MAX;
    for (size_t i = 0; old->last && i < old->last->n_nodes && i < old->last->n_recipes; i++) {
        const Lensmill__Recipe *recipe = lm_catalog_recipe(&old->catalog, old->last->recipes[i], NULL);
        if (!recipe || strcmp(recipe->op, p->recipe->op) != 0 || lm_graph_node(old->graph, old->last->nodes[i]))
            continue;
        lm_text ignored;
        lm_text_init(&ignored);
        size_t n = is_same(old->last->recipes[i], &p->digest) ? 0 : lm_recipe_diff(p->recipe, recipe, &ignored, NULL);
        lm_text_done(&ignored);
        if (n < least) least = n, best = old->last->nodes[i];
    }
    return best;
}

static lm_status find_past(lm_plan_old *old, const lm_node *node, lm_error *err)
{
    past *p = &old->pasts[node->index];
    const void *bytes;
    size_t size;
    p->node = node;
    LM_TRY_IN(lm_node_recipe(old->graph, node, &old->arena, &p->digest, &bytes, &size, err), err, "node \"%s\"",
              node->name);
    p->recipe = lm_unpack_recipe(&old->arena, (lm_view){bytes, size});
    p->recipes = lm_arena_alloc(&old->arena, old->catalog.n_recipes, sizeof *p->recipes);
    if (!p->recipe || !p->recipes) return LM_NOMEM(err);
    read_past(old, p, node->name);
    if (!p->last && (p->renamed_from = former_name(old, p))) read_past(old, p, p->renamed_from);
    size_t index;
    if (lm_catalog_recipe(&old->catalog, (ProtobufCBinaryData){sizeof p->digest, p->digest.bytes}, &index))
        p->recipes[index] = p->known = true;
    return LM_OK;
}

static bool add_letter(void *arg, lm_view key, lm_view value)
{
    lm_plan_old *old = arg;
    (void)key;
    Lensmill__DeadLetter *letter = lm_unpack_letter(&old->arena, value);
    const lm_node *node =
        letter && strcmp(letter->graph, old->graph->name) == 0 ? lm_graph_node(old->graph, letter->node) : NULL;
    if (!node) return true;
    LM_OWN(lm_chars) name = lm_plan_id(node, letter->id);
    const Lensmill__DeadLetter *known = name ? lm_map_get(&old->dead, name) : NULL;
    if (known && known->run > letter->run) return true;
    old->failed = !name || !lm_map_put(&old->dead, name, letter, NULL);
    return !old->failed;
}

static lm_status load(lm_plan_old *old, const lm_run_report *report, lm_store *store, lm_error *err)
{
    if (store) {
        LM_TRY(lm_store_snapshot(store, &old->snapshot, err));
        LM_TRY(lm_catalog_load(old->snapshot, &old->catalog, err));
        LM_TRY(lm_snapshot_entries(old->snapshot, LM_TABLE_DEAD, add_letter, old, err));
    }
    for (size_t i = 0; i < old->catalog.n_runs; i++)
        if (strcmp(old->catalog.runs[i]->graph, old->graph->name) == 0) {
            old->last = old->catalog.runs[i];
            old->n_graph_runs++;
        }
    old->pasts = lm_arena_alloc(&old->arena, old->graph->n_nodes, sizeof *old->pasts);
    if (!old->pasts || old->failed) return LM_NOMEM(err);
    for (size_t i = 0; i < old->graph->n_nodes; i++)
        if (report->nodes[i].node) LM_TRY(find_past(old, old->graph->nodes[i], err));
    return LM_OK;
}

lm_status lm_plan_old_load(const lm_graph *graph, const lm_run_report *report, lm_store *store, lm_plan_old **ret,
                           lm_error *err)
{
    lm_plan_old *old = lm_alloc(1, sizeof *old);
    if (!old) return LM_NOMEM(err);
    old->graph = graph;
    lm_arena_init(&old->arena);
    lm_arena_init(&old->scratch);
    lm_arena_init(&old->catalog.arena);
    lm_map_init(&old->dead);
    lm_status status = load(old, report, store, err);
    if (status) lm_plan_old_free(old);
    else *ret = old;
    return status;
}

lm_plan_old *lm_plan_old_free(lm_plan_old *old)
{
    if (!old) return NULL;
    lm_catalog_done(&old->catalog);
    lm_map_done(&old->dead);
    lm_arena_done(&old->arena);
    lm_arena_done(&old->scratch);
    lm_snapshot_unref(old->snapshot);
    return lm_free(old);
}

/* ---- steps ---- */

static bool take_old(lm_plan_old *old, lm_old_step *to, const lm_digest *key, const Lensmill__Step *row, size_t recipe)
{
    lm_digest *inputs = lm_arena_alloc(&old->arena, row->n_inputs, sizeof *inputs);
    if (!inputs) return false;
    for (size_t i = 0; i < row->n_inputs; i++) lm_digest_from(row->inputs[i], &inputs[i]);
    *to = (lm_old_step){true, *key, row->run, recipe, inputs, row->n_inputs};
    return true;
}

static bool see_row(void *arg, lm_row_kind kind, const lm_digest *digest, lm_view value, uint64_t sequence)
{
    lm_plan_old *old = arg;
    size_t recipe;
    (void)kind, (void)sequence;
    lm_arena_reset(&old->scratch);
    const Lensmill__Step *row = lm_unpack_step(&old->scratch, value);
    if (!row || !lm_catalog_recipe(&old->catalog, row->recipe, &recipe)) return true;
    for (size_t i = 0; i < old->graph->n_nodes && !old->failed; i++) {
        const past *p = &old->pasts[i];
        if (!p->node || !p->recipes[recipe]) continue;
        LM_OWN(lm_chars) name = lm_plan_id(p->node, row->id);
        old->failed = !name;
        lm_plan_step *step = name ? lm_map_get(old->by_id, name) : NULL;
        if (!step || step->how != LM_PLANNED_RUNS) continue;
        bool same = is_same(row->recipe, &p->digest);
        lm_old_step *to = same ? &step->same : &step->other;
        if (to->there && to->run >= row->run) continue; /* a row that was replaced lies where its first one lay */
        old->failed = !take_old(old, to, digest, row, recipe);
    }
    return !old->failed;
}

lm_status lm_plan_old_scan(lm_plan_old *old, lm_plan_step **steps, size_t n, const lm_map *by_id, lm_error *err)
{
    old->by_id = by_id;
    bool any = false;
    for (size_t i = 0; i < n; i++) any |= steps[i]->how == LM_PLANNED_RUNS;
    if (!old->snapshot || !any || !old->catalog.n_recipes) return LM_OK;
    LM_TRY(lm_snapshot_rows(old->snapshot, LM_ROW_STEP, true, see_row, old, err));
    return old->failed ? LM_NOMEM(err) : LM_OK;
}

/* ---- reasons ---- */

static const char *run_end(const Lensmill__Run *run)
{
    if (!run->ended_s) return "did not end";
    return run->status == LM_EXIT_OK || run->status == LM_EXIT_DEAD ? NULL
           : run->status >= 128                                     ? "was stopped"
                                                                    : "failed";
}

static void add_digest(lm_text *text, const lm_digest *digest)
{
    char digits[65];
    lm_text_add(text, lm_digits(digits, digest, LM_SHORT_DIGEST));
}

static const lm_plan_step *planned(const lm_plan_old *old, const lm_node *node, const char *id)
{
    LM_OWN(lm_chars) name = lm_plan_id(node, id);
    return name ? lm_map_get(old->by_id, name) : NULL;
}

/* The node that made what comes to a port: beyond those that only pass on what they get, as far as the plan's steps tell. */
static const lm_node *maker(const lm_plan_old *old, const lm_node *node, const lm_plan_input *in)
{
    while (node->inputs[in->port].n_wires == 1) {
        const lm_node *from = node->inputs[in->port].wires[0].from;
        const lm_plan_step *step = from->op->flags & LM_PASSES ? planned(old, from, in->id) : NULL;
        if (!step || !step->n_inputs || !step->inputs[0].known ||
            !lm_digest_equal(&step->inputs[0].digest, &in->digest))
            return from;
        node = from;
        in = &step->inputs[0];
    }
    return NULL;
}

static void add_wires(lm_text *text, const lm_input *input)
{
    for (size_t i = 0; i < input->n_wires; i++)
        lm_text_format(text, "%s\"%s\"", i ? " or " : "", input->wires[i].from->name);
}

static void explain_input(const lm_plan_old *old, const lm_plan_step *s, size_t i, lm_plan_reason *ret)
{
    const lm_plan_input *in = &s->inputs[i];
    const lm_input *port = &s->node->inputs[in->port];
    const lm_node *made_by = maker(old, s->node, in);
    ret->name = "input";
    lm_text_add(&ret->text, "another input comes from ");
    if (made_by) lm_text_format(&ret->text, "\"%s\"", made_by->name);
    else add_wires(&ret->text, port);
    if (s->node->n_inputs > 1) lm_text_format(&ret->text, ", on port \"%s\"", port->port->name);
    lm_text_format(&ret->text, ", than in run %llu", (unsigned long long)s->same.run);
    lm_text_format(&ret->detail, "input \"%s\" is ", in->id);
    add_digest(&ret->detail, &in->digest);
    lm_text_add(&ret->detail, ", was ");
    add_digest(&ret->detail, &s->same.inputs[i]);
}

static int compare_digests(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(lm_digest));
}

/* A window's records against those of the stored one. */
static bool explain_window(lm_plan_old *old, const lm_plan_step *s, lm_plan_reason *ret)
{
    size_t n = s->same.n_inputs, came = 0, shown = 0;
    lm_digest *was = lm_arena_alloc(&old->arena, n, sizeof *was),
              *is = lm_arena_alloc(&old->arena, s->n_inputs, sizeof *is);
    if (!was || !is) return false;
    if (n) memcpy(was, s->same.inputs, n * sizeof *was);
    qsort(was, n, sizeof *was, compare_digests);
    for (size_t i = 0; i < s->n_inputs; i++) {
        is[i] = s->inputs[i].digest;
        if (bsearch(&is[i], was, n, sizeof *was, compare_digests)) continue;
        came++;
        if (shown++ < 3) lm_text_format(&ret->detail, "%s%s", shown > 1 ? ", " : "new or changed: ", s->inputs[i].id);
    }
    if (came > 3) lm_text_add(&ret->detail, ", ...");
    qsort(is, s->n_inputs, sizeof *is, compare_digests);
    size_t gone = 0;
    for (size_t i = 0; i < n; i++) gone += !bsearch(&was[i], is, s->n_inputs, sizeof *is, compare_digests);
    ret->name = "inputs";
    char a[64], b[64];
    if (came || gone)
        lm_text_format(&ret->text, "of the window of run %llu, %s came or changed, %s gone or changed",
                       (unsigned long long)s->same.run, lm_counted(a, came, "record", "records"),
                       lm_counted(b, gone, "is", "are"));
    else if (n != s->n_inputs)
        lm_text_format(&ret->text, "%zu records come to it, %zu did in run %llu", s->n_inputs, n,
                       (unsigned long long)s->same.run);
    else {
        bool same_order = true;
        for (size_t i = 0; i < n; i++) same_order &= lm_digest_equal(&s->inputs[i].digest, &s->same.inputs[i]);
        lm_text_format(&ret->text,
                       same_order ? "the number of inputs that failed is another than in run %llu"
                                  : "its records come in another order than in run %llu",
                       (unsigned long long)s->same.run);
    }
    return true;
}

/* A file of a source's item against what the store knows of it. *ret: the digest of the file when it was last read. */
static lm_status look_at_file(lm_plan_old *old, const char *path, lm_digest *ret, bool *ret_known, bool *ret_same,
                              lm_text *detail, lm_error *err)
{
    lm_digest at = lm_digest_of(path, strlen(path));
    lm_view view;
    struct stat st;
    *ret_known = *ret_same = false;
    LM_TRY(lm_snapshot_get(old->snapshot, LM_TABLE_FILES, &at, sizeof at, &view, err));
    const Lensmill__File *file = view.data ? lm_unpack_file(&old->arena, view) : NULL;
    if (!file || !lm_digest_from(file->digest, ret)) return LM_OK;
    *ret_known = true;
    if (stat(path, &st)) return LM_OK;
    int64_t mtime = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    *ret_same = file->size == (uint64_t)st.st_size && file->mtime_ns == mtime && file->inode == (uint64_t)st.st_ino;
    if (*ret_same) return LM_OK;
    char was[32], is[32];
    lm_text_format(detail, "%s%s: %llu bytes of %s, was %llu bytes of %s", detail->length ? "; " : "", path,
                   (unsigned long long)st.st_size, lm_when(is, (uint64_t)st.st_mtim.tv_sec),
                   (unsigned long long)file->size, lm_when(was, (uint64_t)(file->mtime_ns / 1000000000)));
    return LM_OK;
}

/* A source's item: which of its files changed is proved by the old step's key, made again from the digests that the files
 * had when they were last read. */
static lm_status explain_item(lm_plan_old *old, const lm_plan_step *s, lm_plan_reason *ret, lm_error *err)
{
    const past *p = &old->pasts[s->node->index];
    lm_digest *were = lm_arena_alloc(&old->arena, s->n_files, sizeof *were);
    bool all_known = s->n_files > 0, all_same = true;
    if (!were) return LM_NOMEM(err);
    for (size_t i = 0; i < s->n_files; i++) {
        bool known, same;
        LM_TRY(look_at_file(old, s->files[i], &were[i], &known, &same, &ret->detail, err));
        all_known &= known;
        all_same &= same;
    }
    bool proved = false;
    if (all_known) {
        lm_digest key = lm_source_key(&p->digest, s->id, s->spec ? s->spec : "", were, s->n_files);
        proved = lm_digest_equal(&key, &s->same.key);
    }
    unsigned long long run = s->same.run;
    if (proved && !all_same) {
        ret->name = "file";
        lm_text_format(&ret->text, "%s changed since run %llu", s->n_files == 1 ? "its file" : "its files", run);
        return LM_OK;
    }
    ret->name = "item";
    lm_text_clear(&ret->detail);
    if (!s->n_files) lm_text_format(&ret->text, "what the source says of this item is another than in run %llu", run);
    else if (all_known && all_same)
        lm_text_format(&ret->text,
                       "its row or place in the list is another than in run %llu, or its file has changed and "
                       "been read since; the store keeps only the newest digest of a file",
                       run);
    else
        lm_text_format(&ret->text,
                       "its file, or its row in the list, is another than in run %llu; the store does not know "
                       "which, as the file was too new then to be remembered, or has been read since",
                       run);
    return LM_OK;
}

/* A sink whose step is in the store: its files are not what it wrote. */
static lm_status explain_files(lm_plan_old *old, const lm_digest *step_key, lm_plan_reason *ret, bool *ret_any,
                               lm_error *err)
{
    *ret_any = false;
    for (unsigned i = 0; i <= UINT8_MAX; i++) {
        uint8_t key[33];
        lm_view view;
        struct stat st;
        memcpy(key, step_key->bytes, 32);
        key[32] = (uint8_t)i;
        LM_TRY(lm_snapshot_get(old->snapshot, LM_TABLE_RECEIPTS, key, sizeof key, &view, err));
        const Lensmill__Receipt *receipt = view.data ? lm_unpack_receipt(&old->arena, view) : NULL;
        if (!receipt) return LM_OK;
        if (!*receipt->path) continue;
        bool gone = stat(receipt->path, &st) != 0;
        int64_t mtime = gone ? 0 : (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
        if (!gone && (uint64_t)st.st_size == receipt->size && mtime == receipt->mtime_ns) continue;
        ret->name = "output";
        if (!*ret_any)
            lm_text_format(&ret->text,
                           gone ? "the file that run %llu wrote is gone"
                                : "the file that run %llu wrote has been changed",
                           (unsigned long long)receipt->run);
        lm_text_format(&ret->detail, "%s%s", *ret_any ? ", " : "", receipt->path);
        *ret_any = true;
    }
    return LM_OK;
}

static lm_status explain_place(lm_plan_old *old, const lm_plan_step *s, lm_plan_reason *ret, lm_error *err)
{
    uint8_t key[33] = {0};
    lm_view view;
    memcpy(key, s->same.key.bytes, 32);
    LM_TRY(lm_snapshot_get(old->snapshot, LM_TABLE_RECEIPTS, key, sizeof key, &view, err));
    const Lensmill__Receipt *receipt = view.data ? lm_unpack_receipt(&old->arena, view) : NULL;
    ret->name = "place";
    lm_text_format(&ret->text, "it would be written to another place than in run %llu",
                   (unsigned long long)s->same.run);
    if (receipt && *receipt->path) lm_text_format(&ret->detail, "was %s", receipt->path);
    return LM_OK;
}

static bool is_gather(const lm_node *node)
{
    for (size_t i = 0; i < node->n_inputs; i++)
        if (node->inputs[i].port->kind == LM_PORT_GATHER) return true;
    return false;
}

static bool same_inputs(const lm_plan_step *s, const lm_old_step *then, size_t *ret_first)
{
    if (s->n_inputs != then->n_inputs) return *ret_first = SIZE_MAX, false;
    for (*ret_first = 0; *ret_first < s->n_inputs; ++*ret_first)
        if (!s->inputs[*ret_first].known || !lm_digest_equal(&s->inputs[*ret_first].digest, &then->inputs[*ret_first]))
            return false;
    return true;
}

/* The same recipe has been run for this id. */
static lm_status explain_same(lm_plan_old *old, const lm_plan_step *s, lm_plan_reason *ret, lm_error *err)
{
    size_t first;
    bool same = same_inputs(s, &s->same, &first);
    if (s->node->op->shape == LM_SOURCE) return explain_item(old, s, ret, err);
    if (is_gather(s->node) && !(same && s->node->op->shape == LM_SINK))
        return explain_window(old, s, ret) ? LM_OK : LM_NOMEM(err);
    if (!same && first < s->n_inputs) {
        explain_input(old, s, first, ret);
    } else if (!same) {
        ret->name = "input";
        lm_text_format(&ret->text, "it has %zu inputs, and had %zu in run %llu", s->n_inputs, s->same.n_inputs,
                       (unsigned long long)s->same.run);
    } else if (s->node->op->shape == LM_SINK) {
        return explain_place(old, s, ret, err);
    } else if (s->node->op->shape == LM_GENERATOR) {
        ret->name = "outputs";
        if (s->node->extent >= 0)
            lm_text_format(&ret->text, "%lld outputs are wanted, not all of them are stored",
                           (long long)s->node->extent);
        else
            lm_text_format(&ret->text, "not all of its outputs were stored in run %llu",
                           (unsigned long long)s->same.run);
    } else {
        ret->name = "unknown";
        lm_text_format(&ret->text,
                       "recipe and inputs are those of run %llu, and yet its key differs: please report this",
                       (unsigned long long)s->same.run);
    }
    return LM_OK;
}

static void explain_recipe(const lm_plan_old *old, const past *p, const Lensmill__Recipe *was, uint64_t run,
                           lm_plan_reason *ret)
{
    (void)old;
    ret->name = "recipe";
    if (!ret->changes) ret->changes = json_array();
    lm_recipe_diff(p->recipe, was, &ret->text, ret->changes);
    lm_text_format(&ret->text, " (run %llu", (unsigned long long)run);
    if (p->renamed_from) lm_text_format(&ret->text, ", where its name was \"%s\"", p->renamed_from);
    lm_text_char(&ret->text, ')');
}

/* No step for this id, neither with this recipe nor with a former one. */
static void explain_none(const lm_plan_old *old, const past *p, const lm_plan_step *s, lm_plan_reason *ret)
{
    ret->name = "new";
    LM_OWN(lm_chars) name = lm_plan_id(s->node, s->id);
    const Lensmill__DeadLetter *letter = name ? lm_map_get(&old->dead, name) : NULL;
    const char *end = p->last ? run_end(p->last) : NULL;
    if (!old->snapshot) {
        lm_text_add(&ret->text, "there is no store");
    } else if (!old->n_graph_runs && !p->known) {
        lm_text_format(&ret->text, "no former run of \"%s\" is in the store", old->graph->name);
    } else if (!p->last && !p->known) {
        lm_text_format(&ret->text, "the node is new: no former run of \"%s\" had it, or one like it", old->graph->name);
    } else if (letter) {
        ret->name = "failed";
        lm_text_format(&ret->text, "it has no result yet; it failed in run %llu, with other inputs or parameters",
                       (unsigned long long)letter->run);
        lm_text_add(&ret->detail, letter->error);
    } else if (end) {
        ret->name = "unfinished";
        lm_text_format(&ret->text, "no step of it is stored yet; run %llu %s", (unsigned long long)p->last->number,
                       end);
    } else if (s->node->op->shape == LM_SOURCE) {
        lm_text_add(&ret->text, "new: no step of it is stored");
    } else if (is_gather(s->node)) {
        lm_text_add(&ret->text, "no such window is stored");
    } else {
        lm_text_add(&ret->text, "new here: no step of it is stored");
    }
}

static lm_status explain_run(lm_plan_old *old, const lm_plan_step *s, lm_plan_reason *ret, lm_error *err)
{
    const past *p = &old->pasts[s->node->index];
    if (!s->kept) {
        ret->name = "not kept";
        lm_text_add(&ret->text, "it runs every time: nothing of it is kept (`cache: none`)");
        return LM_OK;
    }
    lm_view view = {NULL, 0};
    if (old->snapshot && s->has_key) {
        bool any = false;
        if (s->node->op->shape == LM_SINK) LM_TRY(explain_files(old, &s->key, ret, &any, err));
        if (any) return LM_OK;
        LM_TRY(lm_snapshot_get(old->snapshot, LM_TABLE_DEAD, &s->key, sizeof s->key, &view, err));
    }
    const Lensmill__DeadLetter *letter = view.data ? lm_unpack_letter(&old->arena, view) : NULL;
    if (letter) {
        ret->name = "retry";
        lm_text_format(&ret->text, "it failed in run %llu for a reason that may have passed (%s): it is tried again",
                       (unsigned long long)letter->run, letter->kind);
        lm_text_add(&ret->detail, letter->error);
        return LM_OK;
    }
    if (s->same.there) return explain_same(old, s, ret, err);
    if (!s->other.there) {
        explain_none(old, p, s, ret);
        return LM_OK;
    }
    size_t first;
    explain_recipe(old, p, old->catalog.recipes[s->other.recipe], s->other.run, ret);
    if (s->node->op->shape != LM_SOURCE && !same_inputs(s, &s->other, &first))
        lm_text_add(&ret->text, "; its input is another too");
    return LM_OK;
}

static lm_status explain_dead(lm_plan_old *old, const lm_plan_step *s, lm_plan_reason *ret, lm_error *err)
{
    lm_view view = {NULL, 0};
    ret->name = "dead";
    if (old->snapshot && s->has_key)
        LM_TRY(lm_snapshot_get(old->snapshot, LM_TABLE_DEAD, &s->key, sizeof s->key, &view, err));
    const Lensmill__DeadLetter *letter = view.data ? lm_unpack_letter(&old->arena, view) : NULL;
    if (letter)
        lm_text_format(&ret->text, "it failed in run %llu, and stays dead until `lensmill dead retry`",
                       (unsigned long long)letter->run);
    else lm_text_add(&ret->text, "it cannot be processed");
    lm_text_add(&ret->detail, s->error ? s->error : "");
    return LM_OK;
}

lm_status lm_plan_old_explain(lm_plan_old *old, const lm_plan_step *step, lm_plan_reason *ret, lm_error *err)
{
    lm_plan_reason reason = lm_plan_reason_new("");
    lm_status status = LM_OK;
    lm_view view = {NULL, 0};
    if (step->how == LM_PLANNED_RUNS) status = explain_run(old, step, &reason, err);
    else if (step->how == LM_PLANNED_DEAD) status = explain_dead(old, step, &reason, err);
    else if (step->how == LM_PLANNED_STORED) {
        reason.name = "stored";
        if (step->has_key) status = lm_snapshot_find(old->snapshot, LM_ROW_STEP, &step->key, &view, err);
        const Lensmill__Step *row = view.data ? lm_unpack_step(&old->scratch, view) : NULL;
        if (row) lm_text_format(&reason.text, "run %llu", (unsigned long long)row->run);
    }
    if (status) lm_plan_reason_done(&reason);
    else *ret = reason;
    return status;
}

void lm_plan_old_note(const lm_plan_old *old, const lm_node *node, lm_plan_reason *reason)
{
    const past *p = &old->pasts[node->index];
    if (p->known || !p->former) return;
    lm_text_add(&reason->text, "; besides, ");
    explain_recipe(old, p, p->former, p->differed->number, reason);
    reason->name = "waits";
}
