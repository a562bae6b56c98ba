/* What happens to a record that cannot be processed, in this run and the next. */
#include "tests/unit/engine/fixture.h"

#define HEAD "lensmill: 1\nnodes:\n"

static uint64_t letters(lm_store *store)
{
    lm_store_stats stats;
    lm_error err = {0};
    OK(lm_store_stat(store, &stats, &err), &err);
    return stats.entries[LM_TABLE_DEAD];
}

TEST(what_a_node_does_with_a_failure)
{
    fixture_begin();
    static const char *const ways[] = {"route", "skip", "{retry: 0, then: skip}", "stop"};
    for (int i = 0; i < 4; i++) {
        LM_OWN(lm_store) store = open_store();
        char graph[512];
        snprintf(graph, sizeof graph,
                 HEAD "  a: {op: t.list, with: {n: 9, prefix: x%d-}}\n  f: {op: t.fail, in: a, on_error: %s}\n"
                      "  g: {op: t.add, in: f}\n",
                 i, ways[i]);
        ran r;
        run_graph(&r, graph, store, NULL, "g");
        EQUAL_INT(r.status, i == 3 ? LM_EINPUT : LM_OK);
        EQUAL_INT(r.report.status, i == 0 ? 3 : i == 3 ? 1 : 0);
        if (i == 0) BOOKS(&r, "f", 9, 6, 0, 3, 0);
        if (i == 1 || i == 2) {
            BOOKS(&r, "f", 9, 6, 3, 0, 0);
            EQUAL_INT(node_of(&r, "f")->skipped, 3);
            EQUAL_INT(letters(store), 3); /* those of the first way */
        }
        if (i == 3) CONTAINS(r.err.text, "no luck with x3-");
        else BOOKS(&r, "g", 6, 6, 0, 0, 0);
        ran_done(&r);
    }
}

TEST(retries)
{
    fixture_begin();
    ran r;
    run_fine(&r,
             HEAD
             "  a: {op: t.list, with: {n: 9}}\n"
             "  f: {op: t.fail, in: a, with: {kind: io, times: 2}, on_error: {retry: 3, backoff: 20ms, when: [io]}}\n",
             NULL, NULL, "f");
    BOOKS(&r, "f", 9, 9, 0, 0, 0);
    EQUAL_INT(node_of(&r, "f")->retried, 6);
    EQUAL_INT(called("f"), 15);
    CHECK(r.report.wall_s >= 0.06); /* 20 ms, then 40 */
    EQUAL_TEXT(tape_of(&r),
               "0 r0 n=0\n1 r1 n=1\n2 r2 n=2\n3 r3 n=3\n4 r4 n=4\n5 r5 n=5\n6 r6 n=6\n7 r7 n=7\n8 r8 n=8\n");
    ran_done(&r);
    forget_calls(); /* not often enough */
    run_fine(&r,
             HEAD
             "  a: {op: t.list, with: {n: 9}}\n"
             "  f: {op: t.fail, in: a, with: {kind: io, times: 3}, on_error: {retry: 2, backoff: 1ms, when: [io]}}\n",
             NULL, NULL, NULL);
    BOOKS(&r, "f", 9, 6, 0, 3, 0);
    EQUAL_INT(called("f"), 15);
    ran_done(&r);
    forget_calls(); /* not for this kind */
    run_fine(&r,
             HEAD "  a: {op: t.list, with: {n: 9}}\n"
                  "  f: {op: t.fail, in: a, with: {kind: input}, on_error: {retry: 2, backoff: 1ms, when: [io]}}\n",
             NULL, NULL, NULL);
    BOOKS(&r, "f", 9, 6, 0, 3, 0);
    EQUAL_INT(called("f"), 9);
    ran_done(&r);
}

TEST(an_input_fault_stays_and_others_pass)
{
    fixture_begin();
    LM_OWN(lm_store) store = open_store();
    static const char *const kinds[] = {"input", "io", "timeout", "memory", "bug"};
    for (int i = 0; i < 5; i++) {
        char graph[512];
        snprintf(graph, sizeof graph,
                 HEAD "  a: {op: t.list, with: {n: 6}}\n  f: {op: t.fail, in: a, with: {kind: %s, times: 2}}\n"
                      "  g: {op: t.add, in: f}\n",
                 kinds[i]);
        forget_calls();
        uint64_t before = letters(store);
        for (int turn = 0; turn < 4; turn++) {
            ran r;
            run_graph(&r, graph, store, NULL, NULL);
            if (i < 4) EQUAL_INT(r.status, LM_OK);
            bool dead = i == 0 || turn < 2;
            BOOKS(&r, "f", 6, dead ? 4 : 6, 0, dead ? 2 : 0, 0);
            BOOKS(&r, "g", dead ? 4 : 6, dead ? 4 : 6, 0, 0, 0);
            EQUAL_INT(letters(store) - before, dead ? 2 : 0);
            ran_done(&r);
        }
        EQUAL_INT(called("f"), i == 0 ? 6 : 6 + 2 + 2);
    }
}

TEST(fresh_takes_a_letter_away)
{
    fixture_begin();
    LM_OWN(lm_store) store = open_store();
    ran r;
    const char *graph = HEAD "  a: {op: t.list, with: {n: 6}}\n  f: {op: t.fail, in: a, with: {times: 1}}\n";
    run_fine(&r, graph, store, NULL, NULL);
    EQUAL_INT(letters(store), 2);
    ran_done(&r);
    run_fine(&r, graph, store, &(lm_run_options){.fresh = true}, NULL);
    BOOKS(&r, "f", 6, 6, 0, 0, 0);
    EQUAL_INT(letters(store), 0);
    ran_done(&r);
}

static bool remove_letter(void *arg, lm_view key, lm_view value)
{
    lm_error err = {0};
    (void)value;
    return !lm_write_entry(arg, LM_TABLE_DEAD, key.data, key.size, NULL, 0, &err);
}

TEST(dead_again_after_letters_are_removed)
{
    fixture_begin();
    LM_OWN(lm_store) store = open_store();
    const char *graph = HEAD "  a: {op: t.list, with: {n: 9}}\n  g: {op: t.gen, in: a, with: {draws: 4, fail: 2}}\n";
    char *first = NULL;
    for (int turn = 0; turn < 3; turn++) {
        ran r;
        forget_calls();
        if (turn == 2) { /* as `dead retry` does */
            lm_write *write;
            lm_error err = {0};
            uint64_t ticket;
            OK(lm_write_new(&write, &err), &err);
            lm_snapshot *snapshot;
            OK(lm_store_snapshot(store, &snapshot, &err), &err);
            OK(lm_snapshot_entries(snapshot, LM_TABLE_DEAD, remove_letter, write, &err), &err);
            lm_snapshot_unref(snapshot);
            OK(lm_store_hand_in(store, write, &ticket, &err), &err);
            OK(lm_store_wait(store, ticket, &err), &err);
            EQUAL_INT(letters(store), 0);
        }
        run_fine(&r, graph, store, NULL, "g");
        BOOKS(&r, "g", 9, 5, 0, 4, 0);
        EQUAL_INT(node_of(&r, "g")->records, 5 * 4 + 4 * 2);
        if (!turn) first = strdup(tape_of(&r));
        EQUAL_TEXT(tape_of(&r), first);
        if (turn == 1) EQUAL_INT(called("g"), 0);
        if (turn == 2) CHECK(called("g") >= 4); /* the emission that failed, and what lies behind it */
        EQUAL_INT(letters(store), 4);
        ran_done(&r);
    }
    free(first);
}

TEST(the_port_errors)
{
    fixture_begin();
    LM_OWN(lm_store) store = open_store();
    char text[1024];
    for (int turn = 0; turn < 3; turn++) {
        snprintf(text, sizeof text,
                 HEAD "  a: {op: t.list, with: {n: 6, bytes: 9000}%s}\n  f: {op: t.fail, in: a}\n"
                      "  s: {op: t.scale, in: f.errors}\n  w: {op: t.write, in: s, with: {path: \"%s/out%d/{id}\"}}\n",
                 turn == 2 ? ", cache: none" : "", fixture_place, turn);
        ran r;
        run_fine(&r, text, store, NULL, "f.errors");
        BOOKS(&r, "f", 6, 4, 0, 2, 0);
        BOOKS(&r, "w", 2, 2, 0, 0, 0);
        CONTAINS(tape_of(&r), "1 r1 n=1 error=no luck with r1");
        CONTAINS(tape_of(&r), "error_kind=input node=f\n");
        char file[32];
        snprintf(file, sizeof file, "out%d/r4", turn);
        EQUAL_TEXT(read_text(in_folder(file)), "r4 4 6250"); /* the tensor came along */
        ran_done(&r);
    }
    /* of a source: its item */
    ran r;
    run_fine(&r, HEAD "  a: {op: t.list, with: {n: 3, fail: 1}}\n  e: {op: t.keep, in: a.errors, with: {mod: 1}}\n",
             NULL, NULL, "e");
    CONTAINS(tape_of(&r), "1 r1 error=item r1 is broken");
    ran_done(&r);
}

/* ---- timeouts ---- */

static lm_status dawdle_step(const void *self, lm_step *step, lm_error *err)
{
    (void)self;
    at_work(step);
    if (n_of(lm_step_record(step, "in")) == 2)
        while (!lm_step_stopped(step)) usleep(1000);
    return lm_step_stopped(step) ? LM_ESTOP(step, err) : LM_OK;
}
static const lm_operator dawdle_op = {.struct_size = sizeof(lm_operator),
                                      .name = "t.dawdle",
                                      .version = 1,
                                      .summary = "Never end for one record",
                                      .step = dawdle_step};

TEST(a_timeout)
{
    fixture_begin();
    static const lm_operator *const mine[] = {&dawdle_op};
    lm_error err = {0};
    OK(lm_registry_add(mine, 1, NULL, &err), &err);
    LM_OWN(lm_store) store = open_store();
    for (int turn = 0; turn < 2; turn++) {
        ran r;
        forget_calls();
        run_fine(&r, HEAD "  a: {op: t.list, with: {n: 5}}\n  d: {op: t.dawdle, in: a, timeout: 50ms}\n", store, NULL,
                 NULL);
        BOOKS(&r, "d", 5, 4, 0, 1, 0);
        CONTAINS(r.report.first_dead, "timeout");
        EQUAL_INT(called("d"), turn ? 1 : 5); /* it may have passed: tried again */
        ran_done(&r);
    }
}

static lm_status no_open(void *self, lm_error *err)
{
    (void)self;
    return LM_FAIL(err, LM_EINPUT, "it does not open");
}
static const lm_operator closed_op = {.struct_size = sizeof(lm_operator),
                                      .name = "t.closed",
                                      .version = 1,
                                      .summary = "Never open",
                                      .open = no_open,
                                      .step = dawdle_step};

TEST(a_node_that_does_not_open)
{
    fixture_begin();
    static const lm_operator *const mine[] = {&closed_op};
    lm_error err = {0};
    OK(lm_registry_add(mine, 1, NULL, &err), &err);
    ran r;
    run_fine(&r, HEAD "  a: {op: t.list, with: {n: 5}}\n  d: {op: t.closed, in: a}\n", NULL, NULL, NULL);
    BOOKS(&r, "d", 5, 0, 0, 5, 0);
    CONTAINS(r.report.first_dead, "it does not open");
    ran_done(&r);
}
