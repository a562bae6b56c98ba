/* Sinks: files are written once, and again when they are not what was written. */
#include "tests/unit/engine/fixture.h"

#include <utime.h>

static void run_sink(ran *r, lm_store *store, int n, const char *prefix, const char *path, const lm_run_options *o)
{
    char text[2048];
    snprintf(text, sizeof text,
             "lensmill: 1\nnodes:\n  a: {op: t.list, with: {n: %d, prefix: %s}}\n"
             "  w: {op: t.write, in: a, with: {path: \"%s/%s\"}}\n",
             n, prefix, fixture_place, path);
    forget_calls();
    run_fine(r, text, store, o, NULL);
}

TEST(a_file_is_written_once)
{
    fixture_begin();
    LM_OWN(lm_store) store = open_store();
    ran r;
    run_sink(&r, store, 4, "r", "out/{id}.txt", NULL);
    EQUAL_INT(node_of(&r, "w")->files, 4);
    EQUAL_INT(r.report.total_outputs, 4);
    EQUAL_TEXT(read_text(in_folder("out/r2.txt")), "r2 2");
    ran_done(&r);
    run_sink(&r, store, 4, "r", "out/{id}.txt", NULL);
    EQUAL_INT(called("w"), 0);
    EQUAL_INT(node_of(&r, "w")->files, 0);
    EQUAL_INT(r.report.total_outputs, 4); /* they are still where the results are */
    ran_done(&r);
    /* one is gone, one is touched, one has other contents */
    CHECK(!unlink(in_folder("out/r0.txt")));
    CHECK(!utime(in_folder("out/r1.txt"), &(struct utimbuf){1000, 1000}));
    write_text(in_folder("out/r2.txt"), "something longer than before");
    run_sink(&r, store, 4, "r", "out/{id}.txt", NULL);
    EQUAL_INT(called("w"), 3);
    BOOKS(&r, "w", 4, 4, 0, 0, 0);
    EQUAL_TEXT(read_text(in_folder("out/r0.txt")), "r0 0");
    EQUAL_TEXT(read_text(in_folder("out/r2.txt")), "r2 2");
    ran_done(&r);
    run_sink(&r, store, 4, "r", "out/{id}.txt", NULL);
    EQUAL_INT(called("w"), 0);
    ran_done(&r);
    /* to another place it goes again */
    run_sink(&r, store, 4, "r", "other/{id}.txt", NULL);
    EQUAL_INT(called("w"), 4);
    ran_done(&r);
}

TEST(two_records_with_one_path)
{
    fixture_begin();
    LM_OWN(lm_store) store = open_store();
    ran r;
    lm_run_options one = {.limit = 1};
    run_sink(&r, store, 2, "r", "out/same.txt", &one);
    BOOKS(&r, "w", 1, 1, 0, 0, 0);
    ran_done(&r);
    /* the first one has its file; the second must not take its place */
    run_sink(&r, store, 2, "r", "out/same.txt", &(lm_run_options){.workers = 1});
    BOOKS(&r, "w", 2, 1, 0, 1, 0);
    EQUAL_INT(r.report.status, 3);
    CONTAINS(r.report.first_dead, "\"r0\"");
    CONTAINS(r.report.first_dead, "\"r1\"");
    EQUAL_TEXT(read_text(in_folder("out/same.txt")), "r0 0");
    ran_done(&r);
    /* both at once, without a store: one of them is a dead letter that names the other */
    run_sink(&r, NULL, 2, "q", "new/same.txt", NULL);
    BOOKS(&r, "w", 2, 1, 0, 1, 0);
    CONTAINS(r.report.first_dead, "\"q0\"");
    CONTAINS(r.report.first_dead, "\"q1\"");
    ran_done(&r);
}

TEST(an_id_does_not_leave_the_folder)
{
    fixture_begin();
    ran r;
    run_sink(&r, NULL, 1, "../x", "out/{id}", NULL);
    BOOKS(&r, "w", 1, 0, 0, 1, 0);
    CONTAINS(r.report.first_dead, "outside");
    CHECK(access(in_folder("x0"), F_OK) != 0);
    ran_done(&r);
    /* folders below are fine */
    run_sink(&r, NULL, 2, "deep/er/x", "out/{id}", NULL);
    BOOKS(&r, "w", 2, 2, 0, 0, 0);
    EQUAL_TEXT(read_text(in_folder("out/deep/er/x1")), "deep/er/x1 1");
    ran_done(&r);
    /* and so is a name that only looks like a way out */
    run_sink(&r, NULL, 1, "a/../b", "out/{id}", NULL);
    EQUAL_TEXT(read_text(in_folder("out/b0")), "a/../b0 0");
    ran_done(&r);
}

TEST(a_folder_that_cannot_be_made)
{
    fixture_begin();
    LM_OWN(lm_store) store = open_store();
    ran r;
    write_text(in_folder("out"), "a file where a folder should be");
    run_sink(&r, store, 2, "r", "out/{id}", NULL);
    BOOKS(&r, "w", 2, 0, 0, 2, 0);
    ran_done(&r);
    /* an I/O failure is tried again in the next run, and then its letter is gone */
    CHECK(!unlink(in_folder("out")));
    run_sink(&r, store, 2, "r", "out/{id}", NULL);
    BOOKS(&r, "w", 2, 2, 0, 0, 0);
    ran_done(&r);
    lm_store_stats stats;
    lm_error err = {0};
    OK(lm_store_stat(store, &stats, &err), &err);
    EQUAL_INT(stats.entries[LM_TABLE_DEAD], 0);
}

TEST(no_half_file_stays)
{
    fixture_begin();
    ran r;
    run_sink(&r, NULL, 3, "r", "out/{id}", NULL);
    ran_done(&r);
    char command[700];
    snprintf(command, sizeof command, "test $(ls -A '%s/out' | wc -l) = 3", fixture_place);
    EQUAL_INT(system(command), 0);
}
