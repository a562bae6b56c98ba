/* The store as its users see it: rows, tables, snapshots, one writer, formats. */
#include "store/store.h"
#include "tests/test.h"
#include "tests/unit/store/fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

TEST(store_gives_back_what_was_stored)
{
    lm_error err;
    LM_OWN(lm_store) store = open_store(new_folder(), LM_STORE_WRITE);
    put_text(store, LM_ROW_STEP, 1, "a step");
    put_text(store, LM_ROW_ARTIFACT, 2, "");
    EQUAL_TEXT(find_text(store, LM_ROW_STEP, 1), "a step");
    EQUAL_TEXT(find_text(store, LM_ROW_ARTIFACT, 2), "");
    CHECK(!find_text(store, LM_ROW_STEP, 3));
    CHECK(!find_text(store, LM_ROW_TENSOR, 1)); /* the same digest, another kind */
    store = lm_store_close(store);
    store = open_store(folder_of_test(), LM_STORE_WRITE);
    EQUAL_TEXT(find_text(store, LM_ROW_STEP, 1), "a step");
    OK(lm_store_failure(store, &err), &err);
}

TEST(store_gathers_parts_and_aligns_large_values)
{
    lm_error err;
    LM_OWN(lm_store) store = open_store(new_folder(), LM_STORE_WRITE);
    enum { N = 100000 };
    char *bytes = malloc(N);
    for (int i = 0; i < N; i++) bytes[i] = (char)(i * 7 + i / 251);
    lm_write *write;
    OK(lm_write_new(&write, &err), &err);
    lm_part parts[4] = {{bytes, 10}, {bytes + 10, 0}, {bytes + 10, 70000}, {bytes + 70010, N - 70010}};
    lm_digest digest = digest_of(1);
    OK(lm_write_row(write, LM_ROW_TENSOR, &digest, parts, 4, free, bytes, &err), &err);
    char *kept = malloc(N);
    memcpy(kept, bytes, N);
    hand_in(store, write);
    LM_OWN(lm_snapshot) snapshot = snapshot_of(store);
    lm_view view;
    OK(lm_snapshot_find(snapshot, LM_ROW_TENSOR, &digest, &view, &err), &err);
    EQUAL_INT(view.size, N);
    EQUAL_INT((uintptr_t)view.data % 4096, 16);
    bool same = memcmp(view.data, kept, N) == 0;
    free(kept);
    CHECK(same);
    EQUAL_INT(lm_store_backlog(store), 0);
}

static int released;
static void count_release(void *owner)
{
    released += *(int *)owner;
}

TEST(store_keeps_the_first_of_equal_digests_and_lets_go_of_all)
{
    lm_error err;
    LM_OWN(lm_store) store = open_store(new_folder(), LM_STORE_WRITE);
    released = 0;
    int one = 1;
    lm_digest digest = digest_of(5);
    lm_write *write;
    OK(lm_write_new(&write, &err), &err);
    OK(lm_write_row(write, LM_ROW_STEP, &digest, &(lm_part){"first", 5}, 1, count_release, &one, &err), &err);
    OK(lm_write_row(write, LM_ROW_STEP, &digest, &(lm_part){"second", 6}, 1, count_release, &one, &err), &err);
    hand_in(store, write);
    EQUAL_TEXT(find_text(store, LM_ROW_STEP, 5), "first");
    put_text(store, LM_ROW_STEP, 5, "third"); /* now it is pending */
    EQUAL_TEXT(find_text(store, LM_ROW_STEP, 5), "first");
    store = lm_store_close(store);
    store = open_store(folder_of_test(), LM_STORE_WRITE);
    put_text(store, LM_ROW_STEP, 5, "fourth"); /* now it is in the index */
    EQUAL_TEXT(find_text(store, LM_ROW_STEP, 5), "first");
    EQUAL_INT(count_rows(store, 0), 1);
    EQUAL_INT(released, 2);

    OK(lm_write_new(&write, &err), &err); /* never handed in: lets go too */
    OK(lm_write_row(write, LM_ROW_STEP, &digest, NULL, 0, count_release, &one, &err), &err);
    lm_write_free(write);
    EQUAL_INT(released, 3);
}

TEST(store_replaces_a_row_and_old_snapshots_keep_theirs)
{
    LM_OWN(lm_store) store = open_store(new_folder(), LM_STORE_WRITE);
    put_text(store, LM_ROW_ARTIFACT, 1, "bad");
    LM_OWN(lm_snapshot) before = snapshot_of(store);
    replace_text(store, LM_ROW_ARTIFACT, 1, "good");
    EQUAL_TEXT(find_text(store, LM_ROW_ARTIFACT, 1), "good");
    EQUAL_TEXT(find_in(before, LM_ROW_ARTIFACT, 1), "bad");
    EQUAL_INT(count_rows(store, LM_ROW_ARTIFACT), 1);
    replace_text(store, LM_ROW_ARTIFACT, 2, "new"); /* replaces nothing */
    EQUAL_TEXT(find_text(store, LM_ROW_ARTIFACT, 2), "new");
    before = lm_snapshot_unref(before);
    store = lm_store_close(store);
    store = open_store(folder_of_test(), LM_STORE_WRITE);
    replace_text(store, LM_ROW_ARTIFACT, 1, "best"); /* one that the index holds */
    store = lm_store_close(store);
    store = open_store(folder_of_test(), LM_STORE_READ);
    EQUAL_TEXT(find_text(store, LM_ROW_ARTIFACT, 1), "best");
    EQUAL_INT(count_rows(store, LM_ROW_ARTIFACT), 2);
}

TEST(store_snapshot_does_not_see_later_commits)
{
    lm_error err;
    LM_OWN(lm_store) store = open_store(new_folder(), LM_STORE_WRITE);
    put_text(store, LM_ROW_STEP, 1, "one");
    LM_OWN(lm_snapshot) snapshot = snapshot_of(store);
    lm_digest digest = digest_of(1);
    lm_view view;
    OK(lm_snapshot_find(snapshot, LM_ROW_STEP, &digest, &view, &err), &err);
    for (unsigned i = 2; i < 300; i++) put_text(store, LM_ROW_STEP, i, "more");
    CHECK(!find_in(snapshot, LM_ROW_STEP, 2));
    CHECK(view.size == 3 && memcmp(view.data, "one", 3) == 0); /* the page was not used again */
    EQUAL_TEXT(find_text(store, LM_ROW_STEP, 299), "more");
    LM_OWN(lm_snapshot) other = lm_snapshot_ref(snapshot);
    snapshot = lm_snapshot_unref(snapshot);
    EQUAL_TEXT(find_in(other, LM_ROW_STEP, 1), "one");
}

/* ---- order ------------------------------------------------------------------------------------------------------- */

typedef struct walk {
    unsigned seen[64];
    size_t n, stop_after;
    uint64_t last_sequence;
    bool rising, falling;
} walk;

static bool see_row(void *arg, lm_row_kind kind, const lm_digest *digest, lm_view value, uint64_t sequence)
{
    walk *w = arg;
    (void)kind, (void)digest;
    if (w->n) {
        w->rising &= sequence > w->last_sequence;
        w->falling &= sequence < w->last_sequence;
    }
    w->last_sequence = sequence;
    w->seen[w->n++] = (unsigned)atoi((const char *)value.data);
    return w->n != w->stop_after;
}

TEST(store_lists_rows_in_the_order_they_came)
{
    lm_error err;
    LM_OWN(lm_store) store = open_store(new_folder(), LM_STORE_WRITE);
    for (unsigned i = 0; i < 40; i++) {
        char text[8];
        snprintf(text, sizeof text, "%u", i);
        put_bytes(store, i % 3 ? LM_ROW_STEP : LM_ROW_TENSOR, 1000 - i, text, sizeof text);
    }
    LM_OWN(lm_snapshot) snapshot = snapshot_of(store);
    walk all = {.rising = true}, steps = {.falling = true}, few = {.stop_after = 3};
    OK(lm_snapshot_rows(snapshot, 0, false, see_row, &all, &err), &err);
    EQUAL_INT(all.n, 40);
    CHECK(all.rising);
    for (unsigned i = 0; i < 40; i++) EQUAL_INT(all.seen[i], i);
    OK(lm_snapshot_rows(snapshot, LM_ROW_STEP, true, see_row, &steps, &err), &err);
    EQUAL_INT(steps.n, 26);
    CHECK(steps.falling);
    EQUAL_INT(steps.seen[0], 38);
    EQUAL_INT(steps.seen[25], 1);
    OK(lm_snapshot_rows(snapshot, 0, false, see_row, &few, &err), &err);
    EQUAL_INT(few.n, 3);
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

static bool join_entry(void *arg, lm_view key, lm_view value)
{
    size_t used = strlen(arg);
    snprintf((char *)arg + used, 4096 - used, "%.*s=%.*s;", (int)(key.size < 20 ? key.size : 20),
             (const char *)key.data, (int)value.size, (const char *)value.data);
    return true;
}

TEST(store_tables_put_replace_remove_and_list)
{
    lm_error err;
    LM_OWN(lm_store) store = open_store(new_folder(), LM_STORE_WRITE);
    for (lm_table table = 0; table < LM_TABLES; table++) {
        put_entry(store, table, "b", "2");
        put_entry(store, table, "a", "1");
        put_entry(store, table, "c", "");
        put_entry(store, table, "b", "two");
        put_entry(store, table, "gone", "x");
        put_entry(store, table, "gone", NULL);
        put_entry(store, table, "never", NULL);
    }
    for (int again = 0; again < 2; again++) {
        for (lm_table table = 0; table < LM_TABLES; table++) {
            LM_OWN(lm_snapshot) snapshot = snapshot_of(store);
            char text[4096] = "";
            OK(lm_snapshot_entries(snapshot, table, join_entry, text, &err), &err);
            EQUAL_TEXT(text, "a=1;b=two;c=;");
            lm_view view;
            OK(lm_snapshot_get(snapshot, table, "c", 1, &view, &err), &err);
            CHECK(view.data && view.size == 0);
            OK(lm_snapshot_get(snapshot, table, "gone", 4, &view, &err), &err);
            CHECK(!view.data);
        }
        store = lm_store_close(store);
        store = open_store(folder_of_test(), LM_STORE_WRITE);
    }
}

TEST(store_tables_take_keys_of_any_length)
{
    lm_error err;
    LM_OWN(lm_store) store = open_store(new_folder(), LM_STORE_WRITE);
    static const size_t sizes[] = {1, 478, 479, 480, 510, 511, 512, 4096, 70000};
    enum { N = sizeof sizes / sizeof *sizes };
    char *key = malloc(70000);
    memset(key, 'k', 70000);
    for (int i = 0; i < N; i++) {
        char value[16];
        snprintf(value, sizeof value, "%zu", sizes[i]);
        lm_write *write;
        OK(lm_write_new(&write, &err), &err);
        OK(lm_write_entry(write, LM_TABLE_RECEIPTS, key, sizes[i], value, strlen(value), &err), &err);
        hand_in(store, write);
    }
    LM_OWN(lm_snapshot) snapshot = snapshot_of(store);
    for (int i = 0; i < N; i++) {
        lm_view view;
        char value[16];
        snprintf(value, sizeof value, "%zu", sizes[i]);
        OK(lm_snapshot_get(snapshot, LM_TABLE_RECEIPTS, key, sizes[i], &view, &err), &err);
        CHECK(view.data && view.size == strlen(value) && memcmp(view.data, value, view.size) == 0);
    }
    free(key);
    lm_write *write;
    OK(lm_write_new(&write, &err), &err);
    EQUAL_INT(lm_write_entry(write, LM_TABLE_META, "", 0, "x", 1, &err), LM_EBUG);
    lm_write_free(write);
}

/* ---- who may open what ------------------------------------------------------------------------------------------- */

TEST(store_has_one_writer_and_names_it)
{
    lm_error err;
    LM_OWN(lm_store) store = NULL;
    LM_OWN(lm_store) other = NULL;
    OK(lm_store_open(new_folder(), LM_STORE_WRITE, "run of deconvolve-hst", &store, &err), &err);
    EQUAL_INT(lm_store_open(folder_of_test(), LM_STORE_WRITE, "gc", &other, &err), LM_ESTORE);
    CHECK(!other);
    char process[64];
    snprintf(process, sizeof process, "run of deconvolve-hst (process %d on ", (int)getpid());
    CONTAINS(err.text, process);
    CONTAINS(err.text, folder_of_test());
    store = lm_store_close(store);
    OK(lm_store_open(folder_of_test(), LM_STORE_WRITE, "gc", &other, &err), &err);
}

TEST(store_is_free_again_when_its_writer_was_killed)
{
    const char *folder = new_folder();
    int ready[2];
    CHECK(pipe(ready) == 0);
    pid_t child = fork();
    if (child == 0) {
        lm_store *store = NULL;
        char c = lm_store_open(folder, LM_STORE_WRITE, "doomed", &store, NULL) ? 'n' : 'y';
        if (write(ready[1], &c, 1) != 1) _exit(1);
        pause();
        _exit(0);
    }
    char c = 0;
    CHECK(read(ready[0], &c, 1) == 1);
    lm_error err;
    LM_OWN(lm_store) store = NULL;
    lm_status while_held = lm_store_open(folder, LM_STORE_WRITE, "heir", &store, &err);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(ready[0]), close(ready[1]);
    CHECK(c == 'y');
    EQUAL_INT(while_held, LM_ESTORE);
    CONTAINS(err.text, "doomed");
    OK(lm_store_open(folder, LM_STORE_WRITE, "heir", &store, &err), &err);
}

TEST(store_of_a_newer_format_is_refused_by_both_numbers)
{
    lm_error err;
    LM_OWN(lm_store) store = open_store(new_folder(), LM_STORE_WRITE);
    store = lm_store_close(store);
    write_file("current", "lensmill store, format 7, layout unheard of\n");
    for (lm_store_mode mode = LM_STORE_READ; mode <= LM_STORE_WRITE; mode++) {
        EQUAL_INT(lm_store_open(folder_of_test(), mode, "x", &store, &err), LM_ESTORE);
        CONTAINS(err.text, "format 7");
        CONTAINS(err.text, "up to 1");
        CONTAINS(err.hint, "newer");
    }
    write_file("current", "something else\n");
    EQUAL_INT(lm_store_open(folder_of_test(), LM_STORE_WRITE, "x", &store, &err), LM_ESTORE);
    CONTAINS(err.text, "damaged");
}

TEST(store_refuses_folders_that_are_none)
{
    lm_error err;
    LM_OWN(lm_store) store = NULL;
    new_folder();
    EQUAL_INT(lm_store_open(folder_of_test(), LM_STORE_READ, "x", &store, &err), LM_ESTORE);
    CONTAINS(err.text, "no store");
    write_file("galaxy.fits", "SIMPLE  =                    T");
    EQUAL_INT(lm_store_open(folder_of_test(), LM_STORE_WRITE, "x", &store, &err), LM_ESTORE);
    CONTAINS(err.text, "galaxy.fits");
    char path[1024];
    snprintf(path, sizeof path, "%s/galaxy.fits", folder_of_test());
    CHECK(lm_store_open(path, LM_STORE_WRITE, "x", &store, &err) != LM_OK);
    snprintf(path, sizeof path, "%s/a/b/c", folder_of_test());
    CHECK(lm_store_open(path, LM_STORE_WRITE, "x", &store, &err) != LM_OK);
    CONTAINS(err.text, "a/b/c");
    CHECK(lm_store_open(path, LM_STORE_READ, "x", &store, &err) != LM_OK);
}

TEST(store_for_reading_takes_no_writes)
{
    lm_error err;
    LM_OWN(lm_store) store = open_store(new_folder(), LM_STORE_WRITE);
    put_text(store, LM_ROW_STEP, 1, "x");
    store = lm_store_close(store);
    store = open_store(folder_of_test(), LM_STORE_READ);
    EQUAL_TEXT(find_text(store, LM_ROW_STEP, 1), "x");
    lm_write *write;
    uint64_t ticket;
    OK(lm_write_new(&write, &err), &err);
    EQUAL_INT(lm_store_hand_in(store, write, &ticket, &err), LM_EBUG);
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

typedef struct hand {
    lm_store *store;
    unsigned from;
    bool failed;
} hand;

static void *hand_in_many(void *arg)
{
    hand *h = arg;
    lm_error err;
    uint64_t ticket = 0;
    for (unsigned i = 0; i < 500; i++) {
        lm_write *write;
        lm_digest digest = digest_of(h->from + i);
        char text[32];
        snprintf(text, sizeof text, "%u", h->from + i);
        if (lm_write_new(&write, &err)) return NULL;
        lm_part part = {lm_write_copy(write, text, strlen(text)), strlen(text)};
        h->failed |= lm_write_row(write, LM_ROW_STEP, &digest, &part, 1, NULL, NULL, &err) != LM_OK;
        h->failed |= lm_store_hand_in(h->store, write, &ticket, &err) != LM_OK;
        LM_OWN(lm_snapshot) snapshot = NULL;
        h->failed |= lm_store_snapshot(h->store, &snapshot, &err) != LM_OK;
        lm_view view;
        h->failed |= lm_snapshot_find(snapshot, LM_ROW_STEP, &digest, &view, &err) != LM_OK;
    }
    h->failed |= lm_store_wait(h->store, ticket, &err) != LM_OK;
    return NULL;
}

static _Atomic int commits;
static void count_commit(void *arg)
{
    (void)arg;
    commits++;
}

TEST(store_takes_writes_and_reads_from_many_threads)
{
    LM_OWN(lm_store) store = open_store(new_folder(), LM_STORE_WRITE);
    lm_store_on_commit(store, count_commit, NULL);
    pthread_t threads[4];
    hand hands[4];
    for (unsigned i = 0; i < 4; i++) {
        hands[i] = (hand){store, i * 400, false}; /* neighbours overlap by 100: the same rows from two threads */
        pthread_create(&threads[i], NULL, hand_in_many, &hands[i]);
    }
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    lm_store_on_commit(store, NULL, NULL);
    for (int i = 0; i < 4; i++) CHECK(!hands[i].failed);
    CHECK(commits > 0);
    EQUAL_INT(lm_store_committed(store), 2000);
    EQUAL_INT(count_rows(store, LM_ROW_STEP), 1700);
    for (unsigned i = 0; i < 1700; i += 13) {
        char text[32];
        snprintf(text, sizeof text, "%u", i);
        EQUAL_TEXT(find_text(store, LM_ROW_STEP, i), text);
    }
}
