/* The same records in the same order, whatever the number of workers and the room on the edges. */
#include "tests/unit/engine/fixture.h"

static const unsigned worker_counts[] = {1, 2, 8};
static const size_t edge_bounds[] = {1, 2, 4096};

/* Runs the graph every way, with steps of random length: the tape is always the same. Returns it (freed by the caller). */
static char *tape_every_way(const char *graph, const char *tap)
{
    char *first = NULL;
    for (size_t w = 0; w < 3; w++)
        for (size_t b = 0; b < 3; b++) {
            ran r;
            lm_run_options o = {.workers = worker_counts[w], .edge_records = edge_bounds[b]};
            test_jitter_us = w ? 300 : 0;
            run_fine(&r, graph, NULL, &o, tap);
            if (!first) first = strdup(tape_of(&r));
            else if (strcmp(first, tape_of(&r)) != 0)
                FAIL("%u workers, edges of %zu: \"%s\", not \"%s\"", o.workers, o.edge_records, tape_of(&r), first);
            ran_done(&r);
        }
    return first;
}

TEST(a_chain_keeps_the_order)
{
    fixture_begin();
    char *tape = tape_every_way("lensmill: 1\n"
                                "nodes:\n"
                                "  a: {op: t.list, with: {n: 60}}\n"
                                "  b: {op: t.add, in: a}\n"
                                "  c: {op: t.batch, in: b}\n"
                                "  d: {op: t.keep, in: c, with: {mod: 3, rest: 1}}\n",
                                "d");
    lm_text want;
    lm_text_init(&want);
    for (int i = 0; i < 60; i++)
        if ((i + 1) % 7 != 3 && (i + 2) % 3 == 1) lm_text_format(&want, "%d r%d n=%d\n", i, i, i + 2);
    EQUAL_TEXT(tape, lm_text_peek(&want));
    lm_text_done(&want);
    free(tape);
}

/* Short steps go on where they are, without an edge between them, until one of a batch fails: what left the chain early
 * and what went all the way come out in order. */
TEST(short_steps_leave_their_chain_and_keep_the_order)
{
    fixture_begin();
    ran r;
    lm_text want;
    lm_text_init(&want);
    unsigned dead = 0, kept = 0, given = 0;
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 1500; j++) {
            int n = 10 * i + j + 1;
            bool fails = n % 97 == 5, keeps = n % 301 != 7;
            given++;
            dead += fails;
            kept += !fails && keeps;
            if (!fails && keeps) lm_text_format(&want, "%d/%04d r%d/%d n=%d\n", i, j, i, j, n + 2);
        }
    for (size_t w = 0; w < 3; w++)
        for (size_t b = 0; b < 3; b++) {
            lm_run_options o = {.workers = worker_counts[w], .edge_records = edge_bounds[b]};
            run_fine(&r,
                     "lensmill: 1\n"
                     "nodes:\n"
                     "  a: {op: t.list, with: {n: 4}}\n"
                     "  b: {op: t.gen, in: a, with: {draws: 1500}}\n"
                     "  c: {op: t.add, in: b}\n"
                     "  d: {op: t.fail, in: c, with: {mod: 97, rest: 5}}\n"
                     "  e: {op: t.fail, in: d, with: {mod: 301, rest: 7}}\n"
                     "  f: {op: t.add, in: e}\n"
                     "  g: {op: t.add, in: f}\n"
                     "  h: {op: t.add, in: g}\n",
                     NULL, &o, "g");
            EQUAL_TEXT(tape_of(&r), lm_text_peek(&want));
            BOOKS(&r, "c", given, given, 0, 0, 0);
            BOOKS(&r, "d", given, given - dead, 0, dead, 0);
            BOOKS(&r, "e", given - dead, kept, 0, given - dead - kept, 0);
            BOOKS(&r, "h", kept, kept, 0, 0, 0);
            ran_done(&r);
        }
    lm_text_done(&want);
}

TEST(generators_in_generators)
{
    fixture_begin();
    char *tape = tape_every_way("lensmill: 1\n"
                                "nodes:\n"
                                "  a: {op: t.list, with: {n: 6}}\n"
                                "  b: {op: t.gen, in: a, with: {draws: 3}}\n"
                                "  c: {op: t.grow, in: b, with: {mod: 4}}\n",
                                "c");
    lm_text want;
    lm_text_init(&want);
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 3; j++)
            for (int k = 0; k < (10 * i + j) % 4; k++)
                lm_text_format(&want, "%d/%04d/%04d r%d/%d/%d n=%d\n", i, j, k, i, j, k, 100 * i + 10 * j + k);
    EQUAL_TEXT(tape, lm_text_peek(&want));
    lm_text_done(&want);
    free(tape);
}

TEST(branches_meet_in_the_order_of_their_source)
{
    fixture_begin();
    char *tape = tape_every_way("lensmill: 1\n"
                                "nodes:\n"
                                "  a: {op: t.list, with: {n: 30}}\n"
                                "  s: {op: t.split, in: a, with: {mod: 3}}\n"
                                "  x: {op: t.add, in: s.yes, with: {by: 1000}}\n"
                                "  y: {op: t.grow, in: s.no, with: {mod: 3}}\n"
                                "  m: {op: merge, in: [x, y]}\n",
                                "m");
    lm_text want;
    lm_text_init(&want);
    for (int i = 0; i < 30; i++) {
        if (i % 3 == 0) lm_text_format(&want, "%d r%d n=%d\n", i, i, i + 1000);
        else
            for (int k = 0; k < i % 3; k++) lm_text_format(&want, "%d/%04d r%d/%d n=%d\n", i, k, i, k, 10 * i + k);
    }
    EQUAL_TEXT(tape, lm_text_peek(&want));
    lm_text_done(&want);
    free(tape);
}

TEST(separate_sources_meet_in_the_order_of_the_port)
{
    fixture_begin();
    char *tape = tape_every_way("lensmill: 1\n"
                                "nodes:\n"
                                "  a: {op: t.list, with: {n: 5}}\n"
                                "  b: {op: t.list, with: {n: 4, prefix: q}}\n"
                                "  m: {op: merge, in: [b, a]}\n"
                                "  x: {op: t.keep, in: m, with: {mod: 2, rest: 0}}\n"
                                "  y: {op: t.keep, in: m, with: {mod: 2, rest: 1}}\n"
                                "  again: {op: merge, in: [y, x]}\n"
                                "  all: {op: t.fold, in: again, window: all}\n",
                                "all");
    /* parted and merged again, it is the stream that it was */
    CONTAINS(tape, "text=[in -0] q0:0 q1:1 q2:2 q3:3 r0:0 r1:1 r2:2 r3:3 r4:4 n=16 count=9 missing=0");
    free(tape);
}

TEST(a_parted_stream_is_a_partner)
{
    fixture_begin();
    /* the tombstones of one branch must not hide the records of the other from the join */
    for (int turn = 0; turn < 6; turn++) {
        ran r;
        lm_run_options o = {.workers = 1 + (unsigned)turn % 3, .edge_records = turn < 3 ? 1 : 64};
        test_jitter_us = turn % 2 ? 400 : 0;
        run_fine(&r,
                 "lensmill: 1\n"
                 "nodes:\n"
                 "  a: {op: t.list, with: {n: 40}}\n"
                 "  slow: {op: t.gen, in: a, with: {draws: 1}}\n"
                 "  s: {op: t.split, in: a, with: {mod: 3}}\n"
                 "  x: {op: t.add, in: s.yes}\n"
                 "  y: {op: t.add, in: s.no}\n"
                 "  m: {op: merge, in: [x, y]}\n"
                 "  late: {op: t.add, in: a}\n"
                 "  j: {op: t.join, in: {left: late, right: m}}\n",
                 NULL, &o, "j");
        BOOKS(&r, "j", 40, 40, 0, 0, 0);
        ran_done(&r);
    }
}

TEST(a_limit_takes_the_first_items)
{
    fixture_begin();
    ran r;
    lm_run_options o = {.limit = 3};
    run_fine(&r, "lensmill: 1\nnodes:\n  a: {op: t.list, with: {n: 60}}\n  b: {op: t.add, in: a}\n", NULL, &o, "b");
    EQUAL_TEXT(tape_of(&r), "0 r0 n=1\n1 r1 n=2\n2 r2 n=3\n");
    BOOKS(&r, "a", 3, 3, 0, 0, 0);
    ran_done(&r);
}

TEST(until_runs_what_feeds_a_node)
{
    fixture_begin();
    ran r;
    lm_run_options o = {.until = "b"};
    const char *graph = "lensmill: 1\nnodes:\n  a: {op: t.list}\n  b: {op: t.add, in: a}\n  c: {op: t.add, in: b}\n"
                        "  d: {op: t.fold, in: b, window: all}\n  e: {op: t.list}\n";
    run_fine(&r, graph, NULL, &o, "b");
    BOOKS(&r, "b", 3, 3, 0, 0, 0);
    EQUAL_INT(called("c") + called("d") + called("e"), 0);
    CHECK(!r.report.nodes[lm_graph_node(r.graph, "c")->index].node);
    ran_done(&r);
    o.until = "bb";
    run_graph(&r, graph, NULL, &o, NULL);
    EQUAL_INT(r.status, LM_EUSAGE);
    CONTAINS(r.err.hint, "\"b\"");
    ran_done(&r);
}

TEST(a_node_keeps_to_its_workers)
{
    fixture_begin();
    ran r;
    lm_run_options o = {.workers = 8};
    test_jitter_us = 200;
    run_fine(&r, "lensmill: 1\nnodes:\n  a: {op: t.list, with: {n: 200}}\n  b: {op: t.add, in: a, workers: 1}\n", NULL,
             &o, "b");
    BOOKS(&r, "b", 200, 200, 0, 0, 0);
    ran_done(&r);
}

TEST(a_tap_of_a_port_that_is_not_there)
{
    fixture_begin();
    ran r;
    const char *graph = "lensmill: 1\nnodes:\n  a: {op: t.list}\n  s: {op: t.split, in: a}\n";
    run_graph(&r, graph, NULL, NULL, "s.maybe");
    EQUAL_INT(r.status, LM_EUSAGE);
    ran_done(&r);
    run_fine(&r, graph, NULL, NULL, "s.no");
    EQUAL_TEXT(tape_of(&r), "1 r1 n=1\n");
    ran_done(&r);
}

TEST(a_source_without_items)
{
    fixture_begin();
    ran r;
    run_fine(&r,
             "lensmill: 1\nnodes:\n  a: {op: t.list, with: {n: 0}}\n  g: {op: t.gen, in: a}\n"
             "  j: {op: t.join, in: {left: g, right: a}}\n  all: {op: t.fold, in: j, window: all}\n",
             NULL, NULL, "all");
    CONTAINS(tape_of(&r), "n=0 count=0 missing=0");
    ran_done(&r);
}
