/* What a second run does: nothing that is stored already, and exactly what a change makes necessary. */
#include "tests/unit/engine/fixture.h"

static lm_store_stats stats_of(lm_store *store)
{
    lm_store_stats stats;
    lm_error err = {0};
    OK(lm_store_stat(store, &stats, &err), &err);
    return stats;
}

TEST(a_second_run_calls_no_operator)
{
    fixture_begin();
    LM_OWN(lm_store) store = open_store();
    const char *graph = "lensmill: 1\n"
                        "nodes:\n"
                        "  a: {op: t.list, with: {n: 20, bytes: 8000}}\n"
                        "  b: {op: t.scale, in: a}\n"
                        "  s: {op: t.split, in: b, with: {mod: 3}}\n"
                        "  g: {op: t.grow, in: s.yes}\n"
                        "  c: {op: t.batch, in: s.no}\n"
                        "  m: {op: merge, in: [g, c]}\n"
                        "  z: {op: t.fold, in: m, window: all}\n";
    char *first = NULL;
    for (int turn = 0; turn < 2; turn++) {
        ran r;
        forget_calls();
        run_fine(&r, graph, store, NULL, "z");
        if (!turn) first = strdup(tape_of(&r));
        EQUAL_TEXT(tape_of(&r), first);
        for (size_t i = 0; i < r.report.n_nodes && turn; i++) {
            const lm_node_report *n = &r.report.nodes[i];
            EQUAL_INT(called(n->node->name), 0);
            EQUAL_INT(n->cached, strcmp(n->node->op->name, "merge") == 0 ? n->cached : n->out + n->empty);
        }
        ran_done(&r);
    }
    free(first);
}

/* Runs with `late` in the last node and `early` in the second; how often each operator was called. */
static void run_with(lm_store *store, int early, int late, bool none, unsigned want_b, unsigned want_c, unsigned want_d)
{
    char graph[1024];
    snprintf(graph, sizeof graph,
             "lensmill: 1\n"
             "nodes:\n"
             "  a: {op: t.list, with: {n: 10}}\n"
             "  b: {op: t.add, in: a, with: {by: %d}%s}\n"
             "  c: {op: t.keep, in: b, with: {mod: 1, rest: 0}}\n"
             "  d: {op: t.add, in: c, with: {by: %d}}\n",
             early, none ? ", cache: none" : "", late);
    ran r;
    forget_calls();
    run_fine(&r, graph, store, NULL, "d");
    char last[64];
    snprintf(last, sizeof last, "9 r9 n=%d\n", 9 + early + late);
    CONTAINS(tape_of(&r), last);
    EQUAL_INT(called("a"), 0 + (want_b == 10 && want_c == 10 && want_d == 10 && called("a") ? 10 : 0));
    EQUAL_INT(called("b"), want_b);
    EQUAL_INT(called("c"), want_c);
    EQUAL_INT(called("d"), want_d);
    ran_done(&r);
}

TEST(a_change_runs_what_follows_it)
{
    fixture_begin();
    LM_OWN(lm_store) store = open_store();
    run_with(store, 1, 1, false, 10, 10, 10);
    run_with(store, 1, 2, false, 0, 0, 10); /* late: only the last node */
    run_with(store, 2, 2, false, 10, 10, 10);
    run_with(store, 1, 1, false, 0, 0, 0); /* back again: all of it is there */
}

TEST(an_uncached_node_runs_only_when_needed)
{
    fixture_begin();
    LM_OWN(lm_store) store = open_store();
    run_with(store, 1, 5, true, 10, 10, 10);
    run_with(store, 1, 5, true, 0, 0, 0);
    run_with(store, 1, 6, true, 10, 0, 10); /* its records are wanted again; the filter's answers are known */
}

TEST(an_equal_result_stops_a_change)
{
    fixture_begin();
    LM_OWN(lm_store) store = open_store();
    static const char *const filters[] = {"mod: 1, rest: 0", "mod: 1, rest: 0", "mod: 2, rest: 0"};
    for (int turn = 0; turn < 3; turn++) {
        char graph[512];
        /* both graphs give n + 3 in the end of b */
        snprintf(
            graph, sizeof graph,
            "lensmill: 1\nnodes:\n  a: {op: t.list, with: {n: 8}}\n  a2: {op: t.add, in: a, with: {by: %d}}\n"
            "  b: {op: t.add, in: a2, with: {by: %d}}\n  k: {op: t.keep, in: b, with: {%s}}\n  c: {op: t.add, in: k}\n",
            turn ? 1 : 2, turn ? 2 : 1, filters[turn]);
        ran r;
        forget_calls();
        run_fine(&r, graph, store, NULL, NULL);
        EQUAL_INT(called("b"), turn < 2 ? 8 : 0);
        EQUAL_INT(called("k"), turn == 1 ? 0 : 8); /* the change stopped before it */
        EQUAL_INT(called("c"), turn ? 0 : 8);
        ran_done(&r);
    }
}

TEST(more_draws_keep_the_first)
{
    fixture_begin();
    LM_OWN(lm_store) store = open_store();
    static const int draws[] = {64, 256, 64, 300, 256};
    static const unsigned computed[] = {64, 192, 0, 44, 0};
    char *longest = NULL;
    for (int turn = 0; turn < 5; turn++) {
        char graph[256];
        snprintf(graph, sizeof graph,
                 "lensmill: 1\nseed: 3\nnodes:\n  a: {op: t.list, with: {n: 1}}\n"
                 "  d: {op: t.draws, in: a, with: {draws: %d}}\n",
                 draws[turn]);
        ran r;
        forget_calls();
        lm_run_options o = {.workers = 1 + (unsigned)turn};
        run_fine(&r, graph, store, &o, "d");
        EQUAL_INT(called("d"), computed[turn]);
        EQUAL_INT(node_of(&r, "d")->records, draws[turn]);
        const char *tape = tape_of(&r);
        if (longest) {
            size_t n = strlen(tape) < strlen(longest) ? strlen(tape) : strlen(longest);
            if (strncmp(tape, longest, n) != 0) FAIL("the first draws are others with %d draws", draws[turn]);
        }
        if (!longest || strlen(tape) > strlen(longest)) free(longest), longest = strdup(tape);
        ran_done(&r);
    }
    free(longest);
    /* the tensors too: each draw is stored once */
    EQUAL_INT(stats_of(store).rows[LM_ROW_TENSOR], 300);
}

static char *noise(lm_store *store, const char *head, const char *node)
{
    char graph[512];
    snprintf(graph, sizeof graph,
             "lensmill: 1\n%s\nnodes:\n  a: {op: t.list, with: {n: 5}}\n  x: {op: t.noise, in: a%s}\n", head, node);
    ran r;
    run_fine(&r, graph, store, NULL, "x");
    EQUAL_INT(r.report.dead, 0);
    char *tape = strdup(tape_of(&r));
    ran_done(&r);
    return tape;
}

TEST(seeds_salts_and_retries)
{
    fixture_begin();
    char *one = noise(NULL, "seed: 1", ""), *again = noise(NULL, "seed: 1", ", workers: 1"),
         *two = noise(NULL, "seed: 2", ""), *salted = noise(NULL, "seed: 1", ", salt: other");
    EQUAL_TEXT(again, one);
    CHECK(strcmp(one, two) != 0);
    CHECK(strcmp(one, salted) != 0);
    test_trigger = 1; /* each first attempt fails after it has drawn */
    char *retried = noise(NULL, "seed: 1", ", on_error: {retry: 2, backoff: 1ms, when: [io]}");
    EQUAL_INT(called("x"), 5 * 5 + 5);
    EQUAL_TEXT(retried, one);
    test_trigger = 0;
    LM_OWN(lm_store) store = open_store();
    /* what is kept is known by its content, which is another key; but the same one each time */
    char *stored = noise(store, "seed: 1", ""), *other = noise(store, "seed: 4", ""),
         *back = noise(store, "seed: 1", "");
    EQUAL_TEXT(back, stored);
    CHECK(strcmp(other, stored) != 0);
    free(one), free(again), free(two), free(salted), free(retried), free(stored), free(other), free(back);
}

TEST(equal_random_nodes_are_equal_without_salt)
{
    fixture_begin();
    ran r;
    run_fine(
        &r,
        "lensmill: 1\nnodes:\n  a: {op: t.list, with: {n: 1}}\n  x: {op: t.noise, in: a}\n  y: {op: t.noise, in: a}\n"
        "  z: {op: t.noise, in: a, salt: 1}\n  m: {op: merge, in: [x, y, z]}\n",
        NULL, NULL, "m");
    double x[3] = {0};
    const char *at = tape_of(&r);
    for (int i = 0; i < 3; i++, at = strchr(at, '\n') + 1) x[i] = atof(strstr(at, "x=") + 2);
    NEAR(x[0], x[1], ABS(0));
    CHECK(x[2] != x[0]);
    CHECK(r.graph->warnings.n >= 1); /* two equal random nodes, said at load */
    ran_done(&r);
}

TEST(a_tensor_is_stored_once)
{
    fixture_begin();
    LM_OWN(lm_store) store = open_store();
    ran r;
    run_fine(&r,
             "lensmill: 1\nnodes:\n  a: {op: t.list, with: {n: 10, bytes: 100000}}\n  b: {op: t.add, in: a}\n"
             "  c: {op: t.both, in: b}\n  d: {op: t.add, in: c.b}\n",
             store, NULL, NULL);
    ran_done(&r);
    lm_store_stats stats = stats_of(store);
    EQUAL_INT(stats.rows[LM_ROW_TENSOR], 10);
    NEAR((double)stats.row_bytes[LM_ROW_TENSOR], 10 * 100000.0, REL(0.01)); /* and a prefix each */
}

TEST(fresh_looks_nothing_up)
{
    fixture_begin();
    LM_OWN(lm_store) store = open_store();
    const char *graph =
        "lensmill: 1\nnodes:\n  a: {op: t.list, with: {n: 6}}\n  b: {op: t.add, in: a}\n  g: {op: t.gen, in: b}\n";
    for (int turn = 0; turn < 3; turn++) {
        ran r;
        forget_calls();
        lm_run_options o = {.fresh = turn == 1};
        run_fine(&r, graph, store, &o, "g");
        EQUAL_INT(called("b"), turn < 2 ? 6 : 0);
        EQUAL_INT(called("g"), turn < 2 ? 18 : 0);
        CONTAINS(tape_of(&r), "5/0002 r5/2 n=62\n");
        ran_done(&r);
    }
}

/* Puts other bytes in the place of each row of a kind. */
typedef struct spoil {
    lm_write *write;
    lm_row_kind kind;
    unsigned n;
} spoil;

static bool spoil_row(void *arg, lm_row_kind kind, const lm_digest *digest, lm_view value, uint64_t sequence)
{
    spoil *s = arg;
    lm_error err = {0};
    (void)sequence;
    uint8_t *bytes = lm_write_copy(s->write, value.data, value.size);
    bytes[value.size - 1] ^= 0x5a; /* the last byte of the payload */
    lm_part part = {bytes, value.size};
    if (lm_write_replace_row(s->write, kind, digest, &part, 1, NULL, NULL, &err)) return false;
    s->n++;
    return true;
}

static unsigned spoil_rows(lm_store *store, lm_row_kind kind)
{
    lm_error err = {0};
    spoil s = {.kind = kind};
    OK(lm_write_new(&s.write, &err), &err);
    lm_snapshot *snapshot;
    uint64_t ticket;
    OK(lm_store_snapshot(store, &snapshot, &err), &err);
    OK(lm_snapshot_rows(snapshot, kind, false, spoil_row, &s, &err), &err);
    lm_snapshot_unref(snapshot);
    OK(lm_store_hand_in(store, s.write, &ticket, &err), &err);
    OK(lm_store_wait(store, ticket, &err), &err);
    return s.n;
}

TEST(what_is_damaged_is_computed_again)
{
    fixture_begin();
    LM_OWN(lm_store) store = open_store();
    char text[1024];
    for (int turn = 0; turn < 4; turn++) {
        ran r;
        forget_calls();
        if (turn == 1) EQUAL_INT(spoil_rows(store, LM_ROW_TENSOR), 8);
        snprintf(text, sizeof text,
                 "lensmill: 1\nnodes:\n  a: {op: t.list, with: {n: 4, bytes: 9000}}\n  b: {op: t.scale, in: a}\n"
                 "  w: {op: t.write, in: b, with: {path: \"%s/out%d/{id}\"}}\n",
                 fixture_place, turn < 2 ? turn : 2);
        run_fine(&r, text, store, NULL, NULL);
        BOOKS(&r, "w", 4, 4, 0, 0, 0);
        EQUAL_TEXT(read_text(in_folder(turn == 0 ? "out0/r3" : turn == 1 ? "out1/r3" : "out2/r3")), "r3 3 5250");
        if (turn == 1) {
            in_log("computed again");
            EQUAL_INT(called("a"), 4);
            EQUAL_INT(called("b"), 4);
        } else if (turn > 1) { /* it is whole again */
            not_in_log("computed again");
            EQUAL_INT(called("a") + called("b"), 0);
        }
        ran_done(&r);
    }
}

TEST(a_store_serves_another_graph)
{
    fixture_begin();
    LM_OWN(lm_store) store = open_store();
    ran r;
    run_fine(&r,
             "lensmill: 1\nnodes:\n  a: {op: t.list, with: {n: 6}}\n  b: {op: t.add, in: a, cache: none}\n"
             "  c: {op: t.add, in: b, with: {by: 5}}\n",
             store, NULL, NULL);
    ran_done(&r);
    forget_calls();
    run_fine(&r,
             "lensmill: 1\nnodes:\n  x: {op: t.list, with: {n: 4}}\n  y: {op: t.add, in: x}\n  z: {op: t.add, in: y, "
             "with: {by: 5}}\n",
             store, NULL, "z");
    EQUAL_TEXT(tape_of(&r), "0 r0 n=6\n1 r1 n=7\n2 r2 n=8\n3 r3 n=9\n");
    EQUAL_INT(called("x"), 0);
    EQUAL_INT(called("y"), 4); /* it was not kept there */
    ran_done(&r);
    /* equal steps in one graph, one kept and one not: both are served */
    for (int turn = 0; turn < 2; turn++) {
        run_fine(&r,
                 "lensmill: 1\nnodes:\n  a: {op: t.list, with: {n: 30, prefix: k}, cache: none}\n"
                 "  b: {op: t.list, with: {n: 30, prefix: k}}\n  c: {op: t.add, in: a}\n  d: {op: t.add, in: b}\n"
                 "  e: {op: t.join, in: {left: c, right: d}}\n",
                 store, NULL, NULL);
        BOOKS(&r, "e", 30, 30, 0, 0, 0);
        EQUAL_INT(r.report.status, 0);
        ran_done(&r);
    }
}

TEST(a_plan_says_what_a_run_does)
{
    fixture_begin();
    LM_OWN(lm_store) store = open_store();
    char text[1024];
    for (int turn = 0; turn < 3; turn++) {
        snprintf(
            text, sizeof text,
            "lensmill: 1\nnodes:\n  a: {op: t.list, with: {n: 12}}\n  b: {op: t.fail, in: a, with: {mod: 4, rest: 1}}\n"
            "  c: {op: t.add, in: b, with: {by: %d}}\n  g: {op: t.gen, in: c, with: {draws: 5}}\n"
            "  w: {op: t.write, in: c, with: {path: \"%s/out/{id}\"}}\n",
            turn ? 2 : 1, fixture_place);
        lm_store_stats before = stats_of(store);
        ran plan, r;
        forget_calls();
        lm_run_options o = {.mode = LM_RUN_PLAN};
        run_fine(&plan, text, store, &o, NULL);
        EQUAL_INT(called("a") + called("b") + called("c") + called("g") + called("w"), 0);
        lm_store_stats after = stats_of(store);
        EQUAL_INT(memcmp(&before, &after, sizeof before), 0);
        CHECK(access(in_folder("out"), F_OK) || turn);
        run_fine(&r, text, store, NULL, NULL);
        if (turn) { /* what is above the change is known exactly */
            EQUAL_INT(node_of(&plan, "a")->would_run, 0);
            EQUAL_INT(node_of(&plan, "b")->would_run, 0);
            EQUAL_INT(node_of(&plan, "b")->dead, node_of(&r, "b")->dead);
            EQUAL_INT(node_of(&plan, "c")->would_run, called("c"));
        } else {
            EQUAL_INT(node_of(&plan, "a")->would_run, 12);
        }
        if (turn == 2) {
            EQUAL_INT(node_of(&plan, "g")->would_run + node_of(&plan, "w")->would_run, 0);
            EQUAL_INT(called("g") + called("w"), 0);
        }
        ran_done(&plan);
        ran_done(&r);
    }
}
