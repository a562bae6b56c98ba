/* Memory that cannot be had and a disk that is full, at every place of a small run: it fails in words or not at all, leaks
 * nothing (the address build looks), leaves a store that opens, and the next run gives the same. */
#include "store/os.h"
#include "tests/unit/engine/fixture.h"

static const char *const graphs[] = {
    /* every shape, joins, windows, failures with their records on `errors` */
    "lensmill: 1\nnodes:\n"
    "  a: {op: t.list, with: {n: 6, bytes: 5000, fail: 4}}\n"
    "  b: {op: t.fail, in: a, with: {mod: 3, rest: 2}}\n"
    "  s: {op: t.split, in: b, with: {mod: 2}}\n"
    "  g: {op: t.gen, in: s.yes, with: {draws: 3}}\n"
    "  c: {op: t.batch, in: s.no}\n"
    "  m: {op: merge, in: [g, c]}\n"
    "  t: {op: t.list, with: {n: 3, prefix: q}}\n"
    "  one: {op: t.list, with: {n: 1, prefix: m}}\n"
    "  j: {op: t.join, on: n, in: {left: a, right: b, model: one, table: t}}\n"
    "  z: {op: t.fold, window: all, in: {in: m, b: j, c: b.errors, d: j.errors, e: a.errors}}\n",
    /* what is not kept, and computed again */
    "lensmill: 1\nnodes:\n"
    "  a: {op: t.list, with: {n: 5, bytes: 6000}, cache: none}\n"
    "  b: {op: t.scale, in: a, cache: none}\n"
    "  c: {op: t.grow, in: b, with: {mod: 3}}\n"
    "  d: {op: t.noise, in: c, on_error: {retry: 1, backoff: 1ms, when: [io, memory]}}\n"
    "  z: {op: t.fold, in: d, window: {count: 2}}\n",
};

static lm_store *open_named(const char *name)
{
    lm_store *store = NULL;
    lm_error err = {0};
    OK(lm_store_open(in_folder(name), LM_STORE_WRITE, "test", &store, &err), &err);
    return store;
}

static char *clean_tape(const char *graph, lm_store *store)
{
    ran r;
    run_fine(&r, graph, store, &(lm_run_options){.workers = 1}, "z");
    char *tape = strdup(tape_of(&r));
    ran_done(&r);
    return tape;
}

/* The graph, loaded before anything may fail. */
static lm_graph *load(const char *text)
{
    lm_graph *graph = NULL;
    char *errors = NULL;
    write_text(in_folder("graph.yaml"), text);
    if (lm_graph_load(in_folder("graph.yaml"), NULL, 0, &graph, &errors)) FAIL("%s", errors);
    fixture_graph_text = text;
    return graph;
}

static void each_allocation(const char *text, bool stored)
{
    bool all = getenv("ENGINE_FAULTS") != NULL;
    uint64_t step = 1, done = 0, count = UINT64_MAX;
    LM_OWN(lm_graph) graph = load(text);
    LM_OWN(lm_store) clean = stored ? open_named("clean") : NULL;
    char *want = clean_tape(text, clean);
    for (uint64_t n = 1, last = 0; count >= last; last = n, n += step, done++) {
        alarm(60);
        char name[32];
        snprintf(name, sizeof name, "store-%llu", (unsigned long long)n);
        LM_OWN(lm_store) store = stored ? open_named(name) : NULL;
        lm_run_report report;
        lm_error err = {0};
        lm_run_options o = {.workers = 1 + (unsigned)(n % 2), .store = store, .edge_records = 1 + n % 3};
        lm_alloc_fail_at(n);
        lm_status status = lm_run_graph(graph, &o, &report, &err);
        count = lm_alloc_count();
        lm_alloc_fail_at(0);
        lm_run_report_done(&report);
        if (status && status != LM_EMEMORY && !strstr(err.text, "memory"))
            FAIL("allocation %llu: status %d, \"%s\"", (unsigned long long)n, status, err.text);
        if (stored && n % 4 == 0) { /* want of memory may pass: the next run gives what it should */
            char *again = clean_tape(text, store);
            EQUAL_TEXT(again, want);
            free(again);
        }
        if (!all && n > 30) step = 1 + n / (stored ? 8 : 40); /* a store a turn takes its time */
    }
    free(want);
    if (done < 20) FAIL("only %llu of %llu", (unsigned long long)done, (unsigned long long)count);
}

TEST(every_allocation_fails_once)
{
    for (size_t i = 0; i < 4; i++) {
        fixture_begin();
        each_allocation(graphs[i / 2], i % 2);
    }
}

TEST(a_full_disk)
{
    fixture_begin();
    LM_OWN(lm_store) clean = open_named("clean");
    char *want = clean_tape(graphs[0], clean);
    clean = lm_store_close(clean);
    uint64_t last = 0;
    for (uint64_t n = 1; n < 4000; n += 1 + n / 12) {
        fixture_begin();
        ran r;
        uint64_t count;
        {
            LM_OWN(lm_store) store = open_store();
            LM_OWN(lm_graph) graph = load(graphs[0]);
            lm_run_report report;
            lm_error err = {0};
            lm_run_options o = {.workers = 2, .store = store};
            lm_os_fail_at(n, ENOSPC, true);
            lm_status status = lm_run_graph(graph, &o, &report, &err);
            count = lm_os_count();
            lm_os_fail_at(0, 0, false);
            if (count >= n && !status && report.status != 3)
                FAIL("call %llu of %llu failed and nobody noticed", (unsigned long long)n, (unsigned long long)count);
            if (status) CHECK(strstr(err.text, "space") || strstr(err.text, "full"));
            lm_run_report_done(&report);
        }
        LM_OWN(lm_store) store = open_store();
        run_fine(&r, graphs[0], store, NULL, "z");
        EQUAL_TEXT(tape_of(&r), want);
        ran_done(&r);
        last = n;
        if (count < n) break;
    }
    CHECK(last > 10);
    free(want);
}
