/* Joins, lookups, broadcasts and windows: who meets whom, and what is said where nobody comes. */
#include "tests/unit/engine/fixture.h"

#define HEAD "lensmill: 1\nnodes:\n"

TEST(partners_that_are_filtered_or_fail)
{
    fixture_begin();
    for (size_t room = 1; room < 100; room += 98) {
        ran r;
        lm_run_options o = {.edge_records = room};
        run_fine(&r,
                 HEAD "  a: {op: t.list, with: {n: 12}}\n"
                      "  even: {op: t.keep, in: a, with: {mod: 2}}\n"
                      "  bad: {op: t.fail, in: even, with: {mod: 6, rest: 4}}\n"
                      "  j: {op: t.join, in: {left: a, right: bad}}\n"
                      "  e: {op: t.fold, in: j.errors, window: all}\n",
                 NULL, &o, "j");
        BOOKS(&r, "j", 12, 4, 6, 0, 2);
        EQUAL_INT(node_of(&r, "j")->unmatched, 6);
        BOOKS(&r, "bad", 6, 4, 0, 2, 0);
        EQUAL_INT(r.report.status, 3);
        CONTAINS(fixture_log, "failed in node \"bad\"");
        CONTAINS(fixture_log, "record \"r4\"");
        EQUAL_TEXT(tape_of(&r), "0 r0 n=0\n2 r2 n=24\n6 r6 n=72\n8 r8 n=96\n");
        ran_done(&r);
    }
}

TEST(repeated_ids)
{
    fixture_begin();
    ran r;
    run_fine(&r,
             HEAD "  a: {op: t.list, with: {n: 3}}\n  b: {op: t.list, with: {n: 3, from: 2}}\n"
                  "  twice: {op: merge, in: [a, b]}\n"
                  "  c: {op: t.list, with: {n: 9}}\n"
                  "  right: {op: t.join, in: {left: c, right: twice}}\n"
                  "  left: {op: t.join, in: {left: twice, right: c}}\n",
             NULL, NULL, NULL);
    BOOKS(&r, "right", 10, 5, 4, 1, 0); /* r2 came twice: it is counted beside the nine */
    BOOKS(&r, "left", 6, 5, 0, 1, 0);
    CONTAINS(fixture_log, "a second record with id \"r2\" on port \"right\"");
    CONTAINS(fixture_log, "a second record with id \"r2\" on port \"left\"");
    ran_done(&r);
}

TEST(joins_on_an_attribute)
{
    fixture_begin();
    ran r;
    run_fine(&r,
             HEAD "  a: {op: t.list, with: {n: 6}}\n  b: {op: t.list, with: {n: 4, from: 2, prefix: q}}\n"
                  "  j: {op: t.join, on: n, in: {left: a, right: b}}\n"
                  "  k: {op: t.join, on: nothing, in: {left: a, right: b}}\n",
             NULL, NULL, "j");
    EQUAL_TEXT(tape_of(&r), "2 r2 n=24\n3 r3 n=36\n4 r4 n=48\n5 r5 n=60\n");
    BOOKS(&r, "j", 6, 4, 2, 0, 0);
    BOOKS(&r, "k", 10, 0, 0, 10, 0);
    CONTAINS(fixture_log, "no attribute \"nothing\"");
    ran_done(&r);
}

TEST(long_values_are_not_cut)
{
    fixture_begin();
    ran r;
    /* values that differ in their last letter only, beyond 63 */
    run_fine(&r,
             HEAD "  a: {op: t.list, with: {n: 4}}\n"
                  "  x: {op: set, in: a, with: {compute: {long: '\""
                  "0123456789012345678901234567890123456789012345678901234567890123456789"
                  "\" + (.attrs.n | tostring)'}}}\n"
                  "  b: {op: t.add, in: x, with: {by: 100}}\n"
                  "  j: {op: t.join, on: long, in: {left: x, right: b}}\n",
             NULL, NULL, "j");
    BOOKS(&r, "j", 4, 4, 0, 0, 0);
    CONTAINS(tape_of(&r), "3 r3 n=1136");
    ran_done(&r);
}

TEST(lookups)
{
    fixture_begin();
    for (size_t room = 1; room < 100; room += 98) {
        ran r;
        lm_run_options o = {.edge_records = room};
        run_fine(&r,
                 HEAD "  a: {op: t.list, with: {n: 4}}\n  g: {op: t.gen, in: a, with: {draws: 5}}\n"
                      "  back: {op: t.batch, in: a, with: {by: 0}}\n"
                      "  t: {op: t.list, with: {n: 2, prefix: q}}\n"
                      "  half: {op: t.keep, in: g, with: {mod: 2}}\n"
                      "  j: {op: t.join, on: n, in: {left: a, table: t}}\n",
                 NULL, &o, "j");
        BOOKS(&r, "j", 4, 2, 0, 2, 0);
        CONTAINS(fixture_log, "no record with n \"2\" on port \"table\"");
        EQUAL_TEXT(tape_of(&r), "0 r0 n=0\n1 r1 n=11112\n");
        ran_done(&r);
        /* one entry of the table serves many */
        run_fine(
            &r,
            HEAD
            "  a: {op: t.list, with: {n: 40}}\n  k: {op: set, in: a, with: {compute: {band: .attrs.n % 2}}}\n"
            "  t: {op: t.list, with: {n: 2, prefix: q}}\n  tb: {op: set, in: t, with: {compute: {band: .attrs.n}}}\n"
            "  j: {op: t.join, on: band, in: {left: k, table: tb}}\n",
            NULL, &o, NULL);
        BOOKS(&r, "j", 40, 40, 0, 0, 0);
        ran_done(&r);
    }
}

TEST(broadcasts)
{
    fixture_begin();
    static const char *const models[] = {"n: 1, from: 7", "n: 0", "n: 3, from: 7"};
    for (int i = 0; i < 3; i++) {
        char graph[512];
        snprintf(graph, sizeof graph,
                 HEAD "  a: {op: t.list, with: {n: 5}}\n  m: {op: t.list, with: {%s, prefix: m}}\n"
                      "  slow: {op: t.gen, in: m, with: {draws: 1}}\n"
                      "  j: {op: t.join, in: {left: a, model: slow}}\n",
                 models[i]);
        for (int turn = 0; turn < 4; turn++) {
            ran r;
            test_jitter_us = turn % 2 ? 500 : 0;
            lm_run_options o = {.workers = 1 + (unsigned)turn, .edge_records = 1};
            run_fine(&r, graph, NULL, &o, "j");
            if (i == 1) {
                BOOKS(&r, "j", 5, 0, 0, 5, 0);
                CONTAINS(r.report.first_dead, "no record came to port \"model\"");
            } else {
                BOOKS(&r, "j", i ? 7 : 5, 5, 0, i ? 2 : 0,
                      0); /* a second and a third one are errors, whenever they come */
                CONTAINS(tape_of(&r), "4 r4 n=77774");
                if (i) CONTAINS(fixture_log, "a second record (\"m8/0\")");
            }
            EQUAL_INT(r.report.status, i ? 3 : 0);
            ran_done(&r);
        }
    }
}

TEST(a_failed_broadcast_blocks)
{
    fixture_begin();
    ran r;
    run_fine(&r,
             HEAD "  a: {op: t.list, with: {n: 3}}\n  m: {op: t.list, with: {n: 1, fail: 0, prefix: m}}\n"
                  "  j: {op: t.join, in: {left: a, model: m}}\n",
             NULL, NULL, NULL);
    BOOKS(&r, "j", 3, 0, 0, 0, 3);
    ran_done(&r);
    /* the first one fails, the second is good: it serves, whenever it comes */
    for (int turn = 0; turn < 6; turn++) {
        test_jitter_us = 600;
        run_fine(&r,
                 HEAD "  a: {op: t.list, with: {n: 3}}\n  m: {op: t.list, with: {n: 2, fail: 0, prefix: m}}\n"
                      "  slow: {op: t.gen, in: m, with: {draws: 1}}\n  j: {op: t.join, in: {left: a, model: slow}}\n",
                 NULL, &(lm_run_options){.workers = 2, .edge_records = 1}, NULL);
        BOOKS(&r, "j", 3, 3, 0, 0, 0);
        ran_done(&r);
    }
}

/* The records of one branch come in the reverse order of the other's. */
static lm_status reverse_list(void *self, lm_items *items, lm_error *err)
{
    (void)self;
    for (int i = 99; i >= 0; i--) {
        char id[16], spec[16];
        snprintf(id, sizeof id, "r%d", i);
        snprintf(spec, sizeof spec, "%d", i);
        LM_TRY(lm_items_add(items, id, spec, NULL, 0, err));
    }
    return LM_OK;
}

static lm_status reverse_step(const void *self, lm_step *step, lm_error *err)
{
    (void)self;
    size_t shape[1] = {1000};
    lm_tensor *data;
    LM_TRY(lm_step_out_as(step, NULL, "data", LM_F32, 1, shape, &data, err));
    for (size_t i = 0; i < 1000; i++) ((float *)data->data)[i] = (float)atoi(lm_step_item(step));
    return lm_step_set(step, NULL, "n", lm_int(atoi(lm_step_item(step))), NULL, err);
}

static const lm_operator reverse_op = {.struct_size = sizeof(lm_operator),
                                       .name = "t.reverse",
                                       .version = 1,
                                       .summary = "List backwards",
                                       .shape = LM_SOURCE,
                                       .list = reverse_list,
                                       .step = reverse_step};

/* Checks that the joined record's tensor is the one of its id. */
static lm_status same_step(const void *self, lm_step *step, lm_error *err)
{
    (void)self;
    const lm_tensor *data = lm_step_peek(step, "right", "data");
    if (!data || (int)((float *)data->data)[999] != atoi(lm_record_id(lm_step_record(step, "left")) + 1))
        return LM_FAIL(err, LM_EINPUT, "not the tensor of %s", lm_record_id(lm_step_record(step, "left")));
    return LM_OK;
}
static const lm_port same_ports[] = {{"left", LM_PORT_STREAM, "first", false},
                                     {"right", LM_PORT_STREAM, "second", false},
                                     {"out", LM_PORT_OUT, "joined", false},
                                     {0}};
static const lm_operator same_op = {.struct_size = sizeof(lm_operator),
                                    .name = "t.same",
                                    .version = 1,
                                    .summary = "Check a partner",
                                    .ports = same_ports,
                                    .step = same_step};

static void add_operators(void)
{
    static const lm_operator *const mine[] = {&reverse_op, &same_op};
    lm_error err = {0};
    if (!lm_registry_find("t.same")) OK(lm_registry_add(mine, 2, NULL, &err), &err);
}

TEST(partners_in_reverse_order_spill)
{
    fixture_begin();
    add_operators();
    LM_OWN(lm_store) store = open_store();
    for (int turn = 0; turn < 3; turn++) {
        ran r;
        lm_run_options o = {.edge_records = 1, .edge_bytes = 1, .workers = 1 + (unsigned)turn};
        run_fine(&r,
                 HEAD "  a: {op: t.list, with: {n: 100}}\n  b: {op: t.reverse, cache: none}\n"
                      "  j: {op: t.same, in: {left: a, right: b}}\n  w: {op: t.fold, in: j, window: all}\n",
                 turn == 2 ? NULL : store, &o, "w");
        BOOKS(&r, "j", 100, 100, 0, 0, 0);
        CONTAINS(tape_of(&r), "n=4950 count=100 missing=0");
        ran_done(&r);
    }
}

/* ---- within ---- */

static lm_status late_step(const void *self, lm_step *step, lm_error *err)
{
    (void)self, (void)err;
    int n = atoi(lm_record_id(lm_step_record(step, "in")) + 1);
    if (n == 2) usleep(900000);
    return LM_OK;
}
static const lm_operator late_op = {
    .struct_size = sizeof(lm_operator), .name = "t.late", .version = 1, .summary = "Come late", .step = late_step};

TEST(within_waits_for_each_record)
{
    fixture_begin();
    static const lm_operator *const mine[] = {&late_op};
    lm_error err = {0};
    if (!lm_registry_find("t.late")) OK(lm_registry_add(mine, 1, NULL, &err), &err);
    ran r;
    run_fine(&r,
             HEAD "  a: {op: t.list, with: {n: 2}}\n  a2: {op: t.list, with: {n: 2, from: 2}}\n"
                  "  l: {op: t.late, in: a2, workers: 1}\n"
                  "  m: {op: merge, in: [a, a2]}\n  right: {op: merge, in: [a, l]}\n"
                  "  j: {op: t.join, within: 300ms, in: {left: m, right: right}}\n",
             NULL, NULL, "j");
    BOOKS(&r, "j", 4, 2, 2, 0, 0); /* r0, r1 meet; r2 waits in vain for 0.3 s, and so does r3: 0.6 s of 0.9 */
    CHECK(r.report.wall_s > 0.59);
    ran_done(&r);
}

/* ---- windows ---- */

TEST(windows)
{
    fixture_begin();
    for (size_t room = 1; room < 100; room += 98) {
        ran r;
        lm_run_options o = {.edge_records = room};
        run_fine(&r,
                 HEAD "  a: {op: t.list, with: {n: 11}}\n  f: {op: t.fail, in: a, with: {mod: 5, rest: 2}}\n"
                      "  w: {op: t.fold, in: f, window: {count: 4}}\n",
                 NULL, &o, "w");
        EQUAL_TEXT(tape_of(&r), "0 window-0000 text=[in -1] r0:0 r1:1 r3:3 r4:4 n=8 count=4 missing=1\n"
                                "1 window-0001 text=[in -1] r5:5 r6:6 r8:8 r9:9 n=28 count=4 missing=1\n"
                                "2 window-0002 text=[in -0] r10:10 n=10 count=1 missing=0\n");
        ran_done(&r);
        run_fine(&r,
                 HEAD
                 "  a: {op: t.list, with: {n: 5}}\n  f: {op: t.fail, in: a, with: {mod: 5, rest: 2}}\n"
                 "  e: {op: t.fold, in: f.errors, window: all}\n  none: {op: t.keep, in: a, with: {mod: 9, rest: 8}}\n"
                 "  z: {op: t.fold, in: none, window: all}\n",
                 NULL, &o, "e");
        EQUAL_TEXT(tape_of(&r), "0 all text=[in -0] r2:2 n=2 count=1 missing=0\n");
        BOOKS(&r, "z", 1, 1, 0, 0, 0); /* an empty window gives an empty result */
        ran_done(&r);
    }
}

TEST(a_window_that_waits)
{
    fixture_begin();
    static const lm_operator *const mine[] = {&late_op};
    lm_error err = {0};
    if (!lm_registry_find("t.late")) OK(lm_registry_add(mine, 1, NULL, &err), &err);
    ran r;
    run_fine(&r,
             HEAD "  a: {op: t.list, with: {n: 4}}\n  l: {op: t.late, in: a, workers: 1}\n"
                  "  w: {op: t.fold, in: l, window: {count: 100, wait: 200ms}}\n",
             NULL, &(lm_run_options){.edge_records = 1}, "w");
    EQUAL_TEXT(tape_of(&r), "0 window-0000 text=[in -0] r0:0 r1:1 n=1 count=2 missing=0\n"
                            "1 window-0001 text=[in -0] r2:2 r3:3 n=5 count=2 missing=0\n");
    ran_done(&r);
}
