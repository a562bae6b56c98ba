/* Random graphs of maps, filters, generators, splits, merges, joins, broadcasts, lookups and windows, against a reference
 * that computes whole streams at once: no threads, no queues, no store. What comes out must be equal, record by record, in
 * order, and so must the books of every node, for any number of workers and room on the edges; and again from a store.
 *
 * ENGINE_GRAPHS=N in the environment: so many graphs; ENGINE_SEED=S: begin at this one.
 */
#include "tests/unit/engine/fixture.h"

enum { MOST_NODES = 16, MOST_WIRES = 4, MOST_ENTRIES = 300, PATH = 7 };
enum { NOT = -1, OUT = 0, SECOND = 1, ERRORS = 2 };
typedef enum { RECORD, EMPTY, FAILED } kind;

typedef struct entry {
    uint32_t depth, at[PATH];
    kind kind;
    bool has_n;
    int64_t n;
    char id[112];
} entry;

typedef struct stream {
    entry *at;
    size_t n, cap;
    bool over; /* more than the reference wants to hold: the graph is not used */
} stream;

typedef enum { LIST, ADD, BATCH, BOTH, KEEP, SPLIT, FAIL_, GEN, GROW, MERGE, JOIN, FOLD, OPS } op_name;

typedef struct node {
    op_name op;
    int64_t a, b, c; /* parameters */
    bool skip, none, on_n;
    int workers;
    struct {
        int node, port;
    } wires[8][MOST_WIRES]; /* by input port */
    int n_wires[8];
    unsigned sources; /* a bit each */
    stream out[3];
    uint64_t in, gave, empty, dead, blocked;
} node;

static node nodes[MOST_NODES];
static int n_nodes;
static uint64_t dice;
static bool seed_has_none;

static uint64_t roll(uint64_t below)
{
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (dice * 2685821657736338717ull >> 33) % below;
}

static void push(stream *s, const entry *e)
{
    if (s->n >= MOST_ENTRIES) {
        s->over = true;
        return;
    }
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 16;
        s->at = realloc(s->at, s->cap * sizeof *s->at);
    }
    s->at[s->n++] = *e;
}

static entry child(const entry *e, uint32_t k)
{
    entry c = *e;
    if (c.depth < PATH) c.at[c.depth++] = k;
    return c;
}

static void tomb(stream *s, const entry *e, kind how)
{
    entry t = *e;
    t.kind = how;
    push(s, &t);
}

/* ---- the reference ---- */

static const stream *input(const node *x, int port, int wire)
{
    return &nodes[x->wires[port][wire].node].out[x->wires[port][wire].port];
}

static void give(node *x, const entry *e, int64_t n, int port)
{
    entry o = *e;
    o.n = in_range(n);
    o.has_n = true;
    push(&x->out[port], &o);
}

/* An input that died: the record itself is on `errors`. */
static void die(node *x, const entry *e, const entry *where, bool blocked)
{
    x->in++;
    if (blocked) x->blocked++;
    else if (x->skip) x->empty++;
    else x->dead++;
    if (x->skip && !blocked) {
        if (where) tomb(&x->out[OUT], where, EMPTY);
        tomb(&x->out[ERRORS], e, EMPTY);
        return;
    }
    tomb(&x->out[OUT], where ? where : e, FAILED);
    push(&x->out[ERRORS], e);
}

static void all_empty(node *x, const entry *e)
{
    x->in++, x->empty++;
    tomb(&x->out[OUT], e, EMPTY);
    tomb(&x->out[SECOND], e, EMPTY);
    tomb(&x->out[ERRORS], e, EMPTY);
}

static void emit_children(node *x, const entry *e)
{
    uint32_t made = 0;
    for (;; made++) {
        if (x->op == GEN ? made >= x->a : made >= e->n % x->b) break;
        if (made == x->c && e->n % 2) {
            entry at = child(e, made);
            die(x, e, made ? &at : e, false);
            return;
        }
        entry o = child(e, made);
        snprintf(o.id, sizeof o.id, "%.100s/%u", e->id, made);
        give(x, &o, 10 * e->n + made, OUT);
    }
    if (!made) {
        all_empty(x, e);
        return;
    }
    x->in++, x->gave++;
    tomb(&x->out[ERRORS], e, EMPTY);
}

static void map_one(node *x, const entry *e)
{
    if (e->kind != RECORD) {
        tomb(&x->out[OUT], e, e->kind);
        tomb(&x->out[SECOND], e, e->kind);
        tomb(&x->out[ERRORS], e, EMPTY);
        return;
    }
    switch (x->op) {
    case ADD: give(x, e, e->n + x->a, OUT); break;
    case BATCH:
        if (e->n % 7 == 3) {
            die(x, e, NULL, false);
            return;
        }
        give(x, e, e->n + x->a, OUT);
        break;
    case BOTH:
        give(x, e, e->n + 1, OUT);
        if (e->n % 3) give(x, e, e->n + 2, SECOND);
        else tomb(&x->out[SECOND], e, EMPTY);
        break;
    case KEEP:
        if (e->n % x->a != x->b) {
            all_empty(x, e);
            return;
        }
        push(&x->out[OUT], e);
        break;
    case SPLIT:
        push(&x->out[e->n % x->a == x->b ? OUT : SECOND], e);
        tomb(&x->out[e->n % x->a == x->b ? SECOND : OUT], e, EMPTY);
        break;
    case FAIL_:
        if (e->n % x->a == x->b) {
            die(x, e, x->skip ? e : NULL, false);
            return;
        }
        push(&x->out[OUT], e);
        break;
    default: emit_children(x, e); return;
    }
    x->in++, x->gave++;
    tomb(&x->out[ERRORS], e, EMPTY);
}

static int compare(const entry *a, const entry *b)
{
    for (uint32_t i = 0; i < a->depth && i < b->depth; i++)
        if (a->at[i] != b->at[i]) return a->at[i] < b->at[i] ? -1 : 1;
    return a->depth == b->depth ? 0 : a->depth < b->depth ? -1 : 1;
}

static bool within(const entry *inner, const entry *outer)
{
    return inner->depth >= outer->depth && memcmp(inner->at, outer->at, outer->depth * sizeof *inner->at) == 0;
}

static void merge(node *x)
{
    size_t at[MOST_WIRES] = {0};
    bool same = true, any = false;
    entry last = {0};
    for (int w = 0; w < x->n_wires[0]; w++)
        same &= nodes[x->wires[0][w].node].sources == nodes[x->wires[0][0].node].sources;
    for (;;) {
        int best = -1;
        for (int w = 0; w < x->n_wires[0]; w++) {
            const stream *s = input(x, 0, w);
            if (at[w] == s->n ||
                (best >= 0 && (!same || compare(&s->at[at[w]], &input(x, 0, best)->at[at[best]]) >= 0)))
                continue;
            best = w;
        }
        if (best < 0) return;
        entry e = input(x, 0, best)->at[at[best]];
        bool gone = any && same && x->n_wires[0] > 1 && within(&last, &e) && (last.kind != EMPTY || e.kind == EMPTY);
        for (int w = 0; w < x->n_wires[0] && same; w++) {
            const stream *s = input(x, 0, w);
            if (w == best || at[w] == s->n) continue;
            const entry *o = &s->at[at[w]];
            gone |= within(o, &e) && (o->kind != EMPTY || e.kind == EMPTY);
        }
        at[best]++;
        if (gone && e.kind != RECORD) continue;
        last = e;
        any = true;
        if (!same) {
            entry below = e;
            below.depth = 1;
            below.at[0] = (uint32_t)best;
            for (uint32_t i = 0; i < e.depth; i++) below = child(&below, e.at[i]);
            e = below;
        }
        if (e.kind == RECORD) x->in++, x->gave++;
        push(&x->out[OUT], &e);
        tomb(&x->out[ERRORS], &e, EMPTY);
    }
}

static bool same_key(const node *x, const entry *a, const entry *b)
{
    return x->on_n ? a->has_n && b->has_n && a->n == b->n : strcmp(a->id, b->id) == 0;
}

/* What a partner's port holds for a record: the first item with its key. */
static const entry *partner_of(const node *x, int port, const entry *e)
{
    const stream *s = input(x, port, 0);
    const entry *failed = NULL;
    for (size_t i = 0; i < s->n; i++) {
        const entry *p = &s->at[i];
        if (port == 3) {
            if (p->kind == RECORD) return p;
            if (p->kind == FAILED && !failed) failed = p;
        } else if ((p->kind == RECORD || !x->on_n) && same_key(x, p, e)) {
            return p;
        }
    }
    return failed;
}

/* Records that are part of no join: of a broadcast the second and later ones, of others those with a key that was there. */
static void count_strays(node *x, int port)
{
    const stream *s = input(x, port, 0);
    bool one = false;
    for (size_t i = 0; i < s->n; i++) {
        const entry *p = &s->at[i];
        if (p->kind != RECORD) continue;
        bool stray = port == 3 ? one : (x->on_n && !p->has_n);
        for (size_t k = 0; k < i && port != 3 && !stray; k++)
            stray = (s->at[k].kind == RECORD || !x->on_n) && same_key(x, &s->at[k], p);
        one = true;
        if (stray) x->in++, x->dead++;
    }
}

static void join(node *x)
{
    const stream *left = input(x, 0, 0);
    bool joins = x->n_wires[1] || x->n_wires[2], keyed = joins || x->n_wires[4];
    bool *matched = calloc(left->n + 1, sizeof *matched);
    for (size_t i = 0; i < left->n; i++) {
        const entry *e = &left->at[i];
        if (e->kind != RECORD) {
            map_one(x, e);
            continue;
        }
        bool bad = keyed && x->on_n && !e->has_n, unmatched = false, blocked = false;
        for (size_t k = 0; k < i && joins; k++) bad |= matched[k] && same_key(x, &left->at[k], e);
        int64_t sum = e->n, weight = 11;
        for (int port = 1; port < 5 && !bad && !unmatched && !blocked; port++, weight = 10 * weight + 1) {
            if (!x->n_wires[port]) continue;
            const entry *p = partner_of(x, port, e);
            if (!p) *(port < 3 ? &unmatched : &bad) = true;
            else if (p->kind == FAILED) blocked = true;
            else if (p->kind == EMPTY) unmatched = true;
            else sum += weight * p->n;
        }
        if (unmatched) {
            all_empty(x, e);
        } else if (bad || blocked) {
            die(x, e, NULL, blocked);
        } else {
            matched[i] = true;
            x->in++, x->gave++;
            give(x, e, sum, OUT);
            tomb(&x->out[ERRORS], e, EMPTY);
        }
    }
    free(matched);
    for (int port = 1; port < 5; port++)
        if (x->n_wires[port]) count_strays(x, port);
}

static void fold(node *x)
{
    const stream *s = input(x, 0, 0);
    entry w = {.kind = RECORD, .has_n = true, .depth = 1};
    size_t held = 0;
    for (size_t i = 0; i <= s->n; i++) {
        bool end = i == s->n, full = x->a && held == (size_t)x->a;
        if (full || (end && (held || !w.at[0]))) {
            if (x->a) snprintf(w.id, sizeof w.id, "window-%04u", w.at[0]);
            else snprintf(w.id, sizeof w.id, "all");
            x->in++, x->gave++;
            give(x, &w, w.n, OUT);
            tomb(&x->out[ERRORS], &w, EMPTY);
            w.at[0]++;
            w.n = 0;
            held = 0;
        }
        if (end) return;
        if (s->at[i].kind == RECORD) held++, w.n = in_range(w.n + s->at[i].n);
    }
}

static void list(node *x, int number)
{
    for (uint32_t i = 0; i < x->a; i++) {
        entry e = {.kind = RECORD, .has_n = true, .depth = 1, .at = {i}, .n = x->b + i};
        snprintf(e.id, sizeof e.id, "%c%lld", number % 2 ? 'p' : 'q', (long long)e.n);
        if (e.n == x->c) {
            entry nothing = e;
            nothing.n = 0;
            nothing.has_n = false;
            x->in++, x->dead++;
            tomb(&x->out[OUT], &e, FAILED);
            push(&x->out[ERRORS], &nothing);
            continue;
        }
        x->in++, x->gave++;
        push(&x->out[OUT], &e);
        tomb(&x->out[ERRORS], &e, EMPTY);
    }
}

static bool compute(int i)
{
    node *x = &nodes[i];
    if (x->op == LIST) list(x, i);
    else if (x->op == MERGE) merge(x);
    else if (x->op == JOIN) join(x);
    else if (x->op == FOLD) fold(x);
    else {
        const stream *s = input(x, 0, 0);
        for (size_t k = 0; k < s->n; k++) map_one(x, &s->at[k]);
    }
    return !x->out[OUT].over && !x->out[SECOND].over && !x->out[ERRORS].over;
}

/* ---- a random graph ---- */

static const char *const op_words[OPS] = {"t.list", "t.add", "t.batch", "t.both", "t.keep", "t.split",
                                          "t.fail", "t.gen", "t.grow",  "merge",  "t.join", "t.fold"};

static void wire(node *x, int i, int port)
{
    int from = (int)roll((uint64_t)i), which = OUT;
    if (roll(3)) from = i - 1 - (int)roll(i < 4 ? (uint64_t)i : 4); /* mostly what is near: chains, not stars */
    if (nodes[from].op == BOTH || nodes[from].op == SPLIT) which = (int)roll(2);
    if (roll(8) == 0) which = ERRORS;
    for (int w = 0; w < x->n_wires[port]; w++)
        if (x->wires[port][w].node == from && x->wires[port][w].port == which) return;
    x->wires[port][x->n_wires[port]].node = from;
    x->wires[port][x->n_wires[port]++].port = which;
    x->sources |= nodes[from].sources;
}

static void invent(int i)
{
    node *x = &nodes[i];
    x->op = i == 0 || roll(8) == 0 ? LIST : 1 + (op_name)roll(OPS - 1);
    x->none = seed_has_none && roll(3) == 0;
    x->workers = roll(4) ? 0 : 1 + (int)roll(3);
    x->a = 1 + (int64_t)roll(4);
    x->b = (int64_t)roll((uint64_t)x->a);
    x->c = roll(3) ? -1 : (int64_t)roll(4);
    switch (x->op) {
    case LIST:
        x->a = (int64_t)roll(9);
        x->b = (int64_t)roll(3);
        x->sources = 1u << i;
        return;
    case FAIL_: x->skip = roll(4) == 0; break;
    case GEN: x->a = (int64_t)roll(5); break;
    case GROW: x->b = 1 + (int64_t)roll(5); break;
    case FOLD: x->a = roll(2) ? 0 : 1 + (int64_t)roll(4); break;
    default: break;
    }
    wire(x, i, 0);
    for (int k = (int)roll(MOST_WIRES); x->op == MERGE && k; k--) wire(x, i, 0);
    if (x->op != JOIN) return;
    x->on_n = roll(4) == 0;
    for (int port = 1; port < 5; port++)
        if (roll(3) == 0) wire(x, i, port);
    if (!x->n_wires[1] && !x->n_wires[2] && !x->n_wires[3] && !x->n_wires[4]) wire(x, i, 1);
}

static void write_wires(lm_text *t, const node *x, int port)
{
    if (x->n_wires[port] > 1) lm_text_add(t, "[");
    for (int w = 0; w < x->n_wires[port]; w++) {
        int from = x->wires[port][w].node, which = x->wires[port][w].port;
        const char *names[3] = {nodes[from].op == BOTH    ? ".a"
                                : nodes[from].op == SPLIT ? ".yes"
                                                          : "",
                                nodes[from].op == BOTH ? ".b" : ".no", ".errors"};
        lm_text_format(t, "%sn%d%s", w ? ", " : "", from, names[which]);
    }
    if (x->n_wires[port] > 1) lm_text_add(t, "]");
}

static void write_node(lm_text *t, int i)
{
    static const char *const ports[] = {"left", "right", "third", "model", "table"};
    const node *x = &nodes[i];
    long long a = x->a, b = x->b, c = x->c;
    lm_text_format(t, "  n%d: {op: %s", i, op_words[x->op]);
    switch (x->op) {
    case LIST:
        lm_text_format(t, ", with: {n: %lld, from: %lld, fail: %lld, prefix: %s}", a, b, c, i % 2 ? "p" : "q");
        break;
    case ADD:
    case BATCH: lm_text_format(t, ", with: {by: %lld}", a); break;
    case KEEP:
    case SPLIT:
    case FAIL_: lm_text_format(t, ", with: {mod: %lld, rest: %lld}", a, b); break;
    case GEN: lm_text_format(t, ", with: {draws: %lld, fail: %lld}", a, c); break;
    case GROW: lm_text_format(t, ", with: {mod: %lld, fail: %lld}", b, c); break;
    case FOLD:
        if (a) lm_text_format(t, ", window: {count: %lld}", a);
        else lm_text_add(t, ", window: all");
        break;
    default: break;
    }
    if (x->skip) lm_text_add(t, ", on_error: skip");
    if (x->none) lm_text_add(t, ", cache: none");
    if (x->workers) lm_text_format(t, ", workers: %d", x->workers);
    if (x->op == JOIN) lm_text_format(t, ", on: %s", x->on_n ? "n" : "id");
    if (x->op == JOIN) {
        lm_text_add(t, ", in: {");
        for (int port = 0; port < 5; port++)
            if (x->n_wires[port]) {
                lm_text_format(t, "%s%s: ", port ? ", " : "", ports[port]);
                write_wires(t, x, port);
            }
        lm_text_add(t, "}");
    } else if (x->op != LIST) {
        lm_text_add(t, ", in: ");
        write_wires(t, x, 0);
    }
    lm_text_add(t, "}\n");
}

/* The last streams of the graph, all in one window: what the tap must show. */
static void write_end(lm_text *t, lm_text *want)
{
    static const char *const names[] = {"in", "b", "c", "d", "e", "f", "g", "h"};
    node end = {.op = FOLD};
    long long sum = 0, count = 0, missing = 0;
    lm_text_add(t, "  z: {op: t.fold, window: all, in: {");
    lm_text_add(want, "0 all text=");
    for (int port = 0, i = n_nodes - 1; port < 8 && i >= 0; i--)
        for (int which = OUT; which <= ERRORS && port < 8; which++) {
            bool two = nodes[i].op == BOTH || nodes[i].op == SPLIT;
            if ((which == SECOND && !two) || (which == ERRORS && roll(3))) continue;
            end.wires[port][0].node = i;
            end.wires[port][0].port = which;
            end.n_wires[port] = 1;
            lm_text_format(t, "%s%s: ", port ? ", " : "", names[port]);
            write_wires(t, &end, port);
            const stream *s = input(&end, port, 0);
            size_t gone = 0, here = 0;
            for (size_t k = 0; k < s->n; k++) gone += s->at[k].kind == FAILED, here += s->at[k].kind == RECORD;
            if (here || gone) lm_text_format(want, "[%s -%zu]", names[port], gone);
            missing += (long long)gone;
            count += (long long)here;
            for (size_t k = 0; k < s->n; k++)
                if (s->at[k].kind == RECORD) {
                    lm_text_format(want, " %s:%lld", s->at[k].id, (long long)s->at[k].n);
                    sum = in_range(sum + s->at[k].n);
                }
            port++;
        }
    lm_text_add(t, "}}\n");
    lm_text_format(want, " n=%lld count=%lld missing=%lld\n", sum, count, missing);
}

/* Is every step stored, and every failure a dead letter? (Of two equal steps, one kept and one not, either may have named
 * the result, and a replay may then compute what follows once more. Of a known number of draws of which one fails, those
 * after it may or may not have been made already, side by side.) */
static bool all_kept(void)
{
    bool all = true;
    for (int i = 0; i < n_nodes; i++)
        all &= !nodes[i].none && !nodes[i].skip && !(nodes[i].op == GEN && nodes[i].c >= 0);
    return all;
}

/* Makes graph number `seed` and what it must give. False: it grows too large. */
static bool make_graph(uint64_t seed, lm_text *graph, lm_text *want)
{
    for (int i = 0; i < MOST_NODES; i++)
        for (int k = 0; k < 3; k++) free(nodes[i].out[k].at);
    memset(nodes, 0, sizeof nodes);
    dice = seed * 0x9e3779b97f4a7c15ull + 12345;
    for (int i = 0; i < 4; i++) roll(2);
    seed_has_none = roll(2);
    n_nodes = 2 + (int)roll(MOST_NODES - 2);
    lm_text_clear(graph);
    lm_text_clear(want);
    lm_text_format(graph, "lensmill: 1\nname: random-%llu\nnodes:\n", (unsigned long long)seed);
    for (int i = 0; i < n_nodes; i++) {
        invent(i);
        if (!compute(i)) return false;
        write_node(graph, i);
    }
    write_end(graph, want);
    return true;
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void check_run(const ran *r, uint64_t seed, const lm_text *want, const char *how)
{
    if (strcmp(tape_of(r), lm_text_peek(want)) != 0)
        FAIL("graph %llu, %s:\n%s gave\n%s instead of\n%s%s", (unsigned long long)seed, how, fixture_graph_text,
             tape_of(r), lm_text_peek(want), fixture_log);
    for (int i = 0; i < n_nodes; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        const lm_node_report *n = node_of(r, name);
        const node *x = &nodes[i];
        if (n->in != x->in || n->out != x->gave || n->empty != x->empty || n->dead != x->dead ||
            n->blocked != x->blocked)
            FAIL("graph %llu, %s, node %s: %llu in, %llu out, %llu empty, %llu dead, %llu blocked; not %llu, %llu, "
                 "%llu, "
                 "%llu, %llu:\n%s",
                 (unsigned long long)seed, how, name, (unsigned long long)n->in, (unsigned long long)n->out,
                 (unsigned long long)n->empty, (unsigned long long)n->dead, (unsigned long long)n->blocked,
                 (unsigned long long)x->in, (unsigned long long)x->gave, (unsigned long long)x->empty,
                 (unsigned long long)x->dead, (unsigned long long)x->blocked, fixture_graph_text);
    }
}

TEST(random_graphs_give_what_the_reference_gives)
{
    fixture_begin();
    lm_text graph, want;
    lm_text_init(&graph);
    lm_text_init(&want);
    uint64_t first = setting("ENGINE_SEED", 1), n = setting("ENGINE_GRAPHS", 1500);
    for (uint64_t seed = first; seed < first + n; seed++) {
        if (!make_graph(seed, &graph, &want)) continue;
        alarm(60);
        ran r;
        static const unsigned crew[] = {1, 2, 3, 8};
        static const size_t room[] = {1, 1, 2, 3, 4096};
        lm_run_options o = {.workers = crew[seed % 4], .edge_records = room[seed % 5]};
        test_jitter_us = seed % 3 == 0 ? 60 : 0;
        run_fine(&r, lm_text_peek(&graph), NULL, &o, "z");
        check_run(&r, seed, &want, "without a store");
        ran_done(&r);
    }
    lm_text_done(&graph);
    lm_text_done(&want);
}

TEST(random_graphs_from_a_store)
{
    fixture_begin();
    LM_OWN(lm_store) store = open_store();
    lm_text graph, want;
    lm_text_init(&graph);
    lm_text_init(&want);
    uint64_t first = setting("ENGINE_SEED", 1), n = setting("ENGINE_GRAPHS", 1500) / 5;
    for (uint64_t seed = first; seed < first + n; seed++) {
        if (!make_graph(seed, &graph, &want)) continue;
        alarm(60);
        bool quiet = all_kept();
        for (int turn = 0; turn < 2; turn++) { /* one store for all graphs: what one has computed serves the next */
            ran r;
            lm_run_options o = {.workers = 1 + (unsigned)(seed % 4), .edge_records = 1 + seed % 3, .edge_bytes = 1};
            forget_calls();
            run_fine(&r, lm_text_peek(&graph), store, &o, "z");
            check_run(&r, seed, &want, turn ? "replayed" : "with a store");
            for (int i = 0; i < n_nodes && turn && quiet; i++) {
                char name[16];
                snprintf(name, sizeof name, "n%d", i);
                if (called(name))
                    FAIL("graph %llu: node %s ran again:\n%s%s", (unsigned long long)seed, name, fixture_graph_text,
                         fixture_log);
            }
            ran_done(&r);
        }
    }
    lm_text_done(&graph);
    lm_text_done(&want);
}
