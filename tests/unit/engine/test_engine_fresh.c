/* One store, written anew again and again: every row takes the place of an earlier one. */
#include "tests/unit/engine/fixture.h"

TEST(a_store_whose_rows_are_replaced_hundreds_of_times_stays_sound)
{
    enum { RUNS = 400 }; /* deleting rows instead of overwriting them broke LMDB's tree after about 290 */
    fixture_begin();
    write_text(in_folder("graph.yaml"), "lensmill: 1\nnodes:\n"
                                        "  a: {op: t.list, with: {n: 6, bytes: 5000, fail: 4}}\n"
                                        "  b: {op: t.fail, in: a, with: {mod: 3, rest: 2}}\n"
                                        "  s: {op: t.split, in: b, with: {mod: 2}}\n"
                                        "  g: {op: t.gen, in: s.yes, with: {draws: 3}}\n"
                                        "  c: {op: t.batch, in: s.no}\n"
                                        "  z: {op: t.fold, window: all, in: {in: g, b: c, c: b.errors}}\n");
    lm_graph *graph = NULL;
    char *errors = NULL;
    if (lm_graph_load(in_folder("graph.yaml"), NULL, 0, &graph, &errors)) FAIL("%s", errors);
    for (int n = 1; n <= RUNS; n++) {
        LM_OWN(lm_store) store = open_store();
        lm_run_report report;
        lm_error err = {0};
        lm_run_options options = {.workers = 2, .store = store, .fresh = true};
        lm_status status = lm_run_graph(graph, &options, &report, &err);
        lm_run_report_done(&report);
        if (status) FAIL("run %d: %s", n, err.text);
        uint64_t rows;
        if (lm_store_check(store, &rows, &err)) FAIL("after run %d: %s", n, err.text);
    }
    lm_graph_free(graph);
}
