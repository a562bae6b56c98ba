/* Counting, checking, collecting and merging; and what becomes of damaged files. */
#include "store/os.h"
#include "store/store.h"
#include "tests/test.h"
#include "tests/unit/store/fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- counting ---------------------------------------------------------------------------------------------------- */

TEST(store_counts_its_rows)
{
    lm_error err;
    LM_OWN(lm_store) store = open_store(new_folder(), LM_STORE_WRITE);
    put_text(store, LM_ROW_STEP, 1, "12345");
    put_text(store, LM_ROW_STEP, 2, "123");
    put_text(store, LM_ROW_TENSOR, 3, "1234567");
    put_entry(store, LM_TABLE_RUNS, "r", "x");
    put_entry(store, LM_TABLE_CHECKPOINTS, "c", "y");
    lm_store_stats stats;
    OK(lm_store_stat(store, &stats, &err), &err);
    EQUAL_INT(stats.rows[LM_ROW_STEP], 2);
    EQUAL_INT(stats.row_bytes[LM_ROW_STEP], 8);
    EQUAL_INT(stats.rows[LM_ROW_TENSOR], 1);
    EQUAL_INT(stats.row_bytes[LM_ROW_TENSOR], 7);
    EQUAL_INT(stats.rows[LM_ROW_ARTIFACT], 0);
    EQUAL_INT(stats.entries[LM_TABLE_RUNS], 1);
    EQUAL_INT(stats.entries[LM_TABLE_CHECKPOINTS], 1);
    EQUAL_INT(stats.entries[LM_TABLE_DEAD], 0);
    EQUAL_INT(stats.format, LM_STORE_FORMAT);
    CHECK(stats.file_bytes > 4096);
}

/* ---- many rows --------------------------------------------------------------------------------------------------- */

static lm_row_kind kind_of(unsigned n)
{
    return (lm_row_kind)(1 + n % 4);
}

/* Row n: its number as text, and every 50th 20,000 bytes long. */
static size_t text_of(unsigned n, char *text)
{
    size_t size = n % 50 ? 24 : 20000;
    memset(text, 'a' + (int)(n % 26), size);
    snprintf(text, 24, "%u", n);
    return size;
}

static void put_many(lm_store *store, unsigned from, unsigned to)
{
    lm_error err;
    uint64_t ticket = 0;
    char *text = malloc(20000);
    for (unsigned n = from; n < to;) {
        lm_write *write;
        OK(lm_write_new(&write, &err), &err);
        for (int i = 0; i < 256 && n < to; i++, n++) {
            lm_digest digest = digest_of(n);
            size_t size = text_of(n, text);
            lm_part part = {lm_write_copy(write, text, size), size};
            CHECK(part.data);
            OK(lm_write_row(write, kind_of(n), &digest, &part, 1, NULL, NULL, &err), &err);
        }
        OK(lm_store_hand_in(store, write, &ticket, &err), &err);
    }
    free(text);
    OK(lm_store_wait(store, ticket, &err), &err);
}

static void expect_many(lm_store *store, unsigned from, unsigned to, unsigned step, bool there)
{
    lm_error err;
    char *text = malloc(20000);
    LM_OWN(lm_snapshot) snapshot = snapshot_of(store);
    for (unsigned n = from; n < to; n += step) {
        lm_digest digest = digest_of(n);
        lm_view view;
        OK(lm_snapshot_find(snapshot, kind_of(n), &digest, &view, &err), &err);
        if (!!view.data != there) FAIL("row %u is %s", n, there ? "missing" : "still there");
        if (there && (view.size != text_of(n, text) || memcmp(view.data, text, view.size) != 0))
            FAIL("row %u has other bytes", n);
    }
    free(text);
}

static void expect_sound(lm_store *store, unsigned rows)
{
    lm_error err;
    uint64_t n = 0;
    OK(lm_store_check(store, &n, &err), &err);
    EQUAL_INT(n, rows);
}

enum { MANY = 150000 }; /* more than wait for the index: part of them are in it, part are pending */

TEST(store_finds_rows_wherever_they_wait)
{
    LM_OWN(lm_store) store = open_store(new_folder(), LM_STORE_WRITE);
    put_many(store, 0, MANY);
    put_many(store, MANY - 1000, MANY + 1000);
    expect_many(store, 0, MANY + 1000, 97, true);
    expect_sound(store, MANY + 1000);
    LM_OWN(lm_store) reader = open_store(folder_of_test(), LM_STORE_READ);
    expect_many(reader, 0, MANY + 1000, 97, true);
    put_many(store, MANY + 1000, MANY + 2000);
    expect_many(reader, MANY, MANY + 2000, 7, true); /* a reader follows the writer */
    expect_sound(reader, MANY + 2000);
    store = lm_store_close(store);
    expect_many(reader, 0, MANY + 2000, 97, true);
    store = open_store(folder_of_test(), LM_STORE_WRITE);
    expect_many(store, 0, MANY + 2000, 97, true);
    expect_sound(store, MANY + 2000);
}

/* ---- collecting -------------------------------------------------------------------------------------------------- */

typedef struct keeping {
    lm_row_kind former;
    unsigned last, calls;
    bool in_order, newest_first;
} keeping;

static bool keep_odd(void *arg, lm_row_kind kind, const lm_digest *digest, lm_view value)
{
    keeping *k = arg;
    static const int place[] = {[LM_ROW_STEP] = 0, [LM_ROW_RECIPE] = 1, [LM_ROW_ARTIFACT] = 2, [LM_ROW_TENSOR] = 3};
    (void)digest;
    unsigned n = (unsigned)atoi((const char *)value.data);
    if (k->calls++) {
        k->in_order &= place[kind] >= place[k->former];
        k->newest_first &= kind != k->former || n < k->last;
    }
    k->former = kind;
    k->last = n;
    return n / 4 % 2 == 1;
}

static unsigned kept_below(unsigned n)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < n; i++) kept += i / 4 % 2;
    return kept;
}

TEST(store_collects_what_is_not_wanted)
{
    lm_error err;
    LM_OWN(lm_store) store = open_store(new_folder(), LM_STORE_WRITE);
    put_many(store, 0, MANY);
    put_entry(store, LM_TABLE_RUNS, "run", "kept");
    put_entry(store, LM_TABLE_CHECKPOINTS, "point", "kept too");
    lm_store_stats before, after;
    OK(lm_store_stat(store, &before, &err), &err);
    keeping k = {.in_order = true, .newest_first = true};
    LM_OWN(lm_snapshot) snapshot = snapshot_of(store);
    EQUAL_INT(lm_store_collect(store, keep_odd, &k, &err), LM_EBUG); /* somebody still reads */
    snapshot = lm_snapshot_unref(snapshot);
    OK(lm_store_collect(store, keep_odd, &k, &err), &err);
    CHECK(k.in_order);
    CHECK(k.newest_first);
    EQUAL_INT(k.calls, MANY);
    for (int again = 0; again < 2; again++) {
        for (unsigned i = 0; i < 4; i++) {
            expect_many(store, i, MANY, 8 * 11, false);
            expect_many(store, 4 + i, MANY, 8 * 11, true);
        }
        expect_sound(store, kept_below(MANY));
        EQUAL_TEXT(get_text(store, LM_TABLE_RUNS, "run"), "kept");
        EQUAL_TEXT(get_text(store, LM_TABLE_CHECKPOINTS, "point"), "kept too");
        store = lm_store_close(store);
        store = open_store(folder_of_test(), LM_STORE_WRITE);
    }
    OK(lm_store_stat(store, &after, &err), &err);
    CHECK((double)after.file_bytes < 0.65 * (double)before.file_bytes); /* half, and pages of a different fill */
    put_many(store, 0, MANY);                                           /* what went can come again */
    expect_many(store, 0, MANY, 97, true);
    expect_sound(store, MANY);
}

static bool keep_none(void *arg, lm_row_kind kind, const lm_digest *digest, lm_view value)
{
    (void)arg, (void)kind, (void)digest, (void)value;
    return false;
}

TEST(store_can_be_emptied)
{
    lm_error err;
    LM_OWN(lm_store) store = open_store(new_folder(), LM_STORE_WRITE);
    OK(lm_store_collect(store, keep_none, NULL, &err), &err);
    put_many(store, 0, 100);
    OK(lm_store_collect(store, keep_none, NULL, &err), &err);
    EQUAL_INT(count_rows(store, 0), 0);
    put_many(store, 0, 100);
    expect_sound(store, 100);
}

/* ---- merging ----------------------------------------------------------------------------------------------------- */

static unsigned n_differing;
static void count_differing(void *arg, lm_row_kind kind, const lm_digest *digest)
{
    (void)arg, (void)kind, (void)digest;
    n_differing++;
}

TEST(store_merges_another)
{
    lm_error err;
    char folder[600];
    new_folder();
    snprintf(folder, sizeof folder, "%s/into", folder_of_test());
    LM_OWN(lm_store) into = open_store(folder, LM_STORE_WRITE);
    snprintf(folder, sizeof folder, "%s/from", folder_of_test());
    LM_OWN(lm_store) from = open_store(folder, LM_STORE_WRITE);
    put_many(into, 0, 2000);
    put_many(from, 1000, 3000);
    put_text(into, LM_ROW_STEP, 100000, "ours");
    put_text(from, LM_ROW_STEP, 100000, "theirs");
    put_entry(into, LM_TABLE_DEAD, "both", "ours");
    put_entry(from, LM_TABLE_DEAD, "both", "theirs");
    put_entry(from, LM_TABLE_DEAD, "new", "theirs");
    put_entry(from, LM_TABLE_CHECKPOINTS, "new", "point");
    uint64_t copied = 0;
    n_differing = 0;
    OK(lm_store_merge(into, from, count_differing, NULL, &copied, &err), &err);
    EQUAL_INT(copied, 1000);
    EQUAL_INT(n_differing, 1);
    EQUAL_TEXT(find_text(into, LM_ROW_STEP, 100000), "ours");
    EQUAL_TEXT(get_text(into, LM_TABLE_DEAD, "both"), "ours");
    EQUAL_TEXT(get_text(into, LM_TABLE_DEAD, "new"), "theirs");
    EQUAL_TEXT(get_text(into, LM_TABLE_CHECKPOINTS, "new"), "point");
    expect_many(into, 0, 3000, 1, true);
    expect_sound(into, 3001);
    OK(lm_store_merge(into, from, count_differing, NULL, &copied, &err), &err); /* again: nothing new */
    EQUAL_INT(copied, 0);
    EQUAL_INT(lm_store_merge(into, into, NULL, NULL, &copied, &err), LM_EUSAGE);
}

/* ---- damage ------------------------------------------------------------------------------------------------------ */

static void path_of(const char *below, char path[1024])
{
    snprintf(path, 1024, "%s/%s", folder_of_test(), below);
}

static void overwrite(const char *below, long offset, const void *bytes, size_t n)
{
    char path[1024];
    path_of(below, path);
    int fd = open(path, O_WRONLY);
    bool wrote = fd >= 0 && pwrite(fd, bytes, n, offset) == (ssize_t)n;
    close(fd);
    CHECK(wrote);
}

static long size_of(const char *below)
{
    char path[1024];
    struct stat st;
    path_of(below, path);
    CHECK(stat(path, &st) == 0);
    return (long)st.st_size;
}

/* Opens, checks, and if both go well looks at rows: any answer but a crash. Returns whether damage was seen. */
static bool survives(lm_store_mode mode)
{
    lm_error err;
    LM_OWN(lm_store) store = NULL;
    lm_status status = lm_store_open(folder_of_test(), mode, "x", &store, &err);
    uint64_t rows;
    if (!status) status = lm_store_check(store, &rows, &err);
    if (status && status != LM_ESTORE) FAIL("%s: %s", lm_status_name(status), err.text);
    if (!status) count_rows(store, 0);
    return status != LM_OK;
}

TEST(store_that_was_cut_short_is_refused)
{
    lm_error err;
    LM_OWN(lm_store) store = open_store(new_folder(), LM_STORE_WRITE);
    put_many(store, 0, 5000);
    store = lm_store_close(store);
    char path[1024];
    path_of("generation-1/log/data.mdb", path);
    CHECK(truncate(path, size_of("generation-1/log/data.mdb") / 2) == 0);
    for (lm_store_mode mode = LM_STORE_READ; mode <= LM_STORE_WRITE; mode++) {
        EQUAL_INT(lm_store_open(folder_of_test(), mode, "x", &store, &err), LM_ESTORE);
        CONTAINS(err.text, "damaged");
    }
    CHECK(truncate(path, 100) == 0);
    EQUAL_INT(lm_store_open(folder_of_test(), LM_STORE_READ, "x", &store, &err), LM_ESTORE);
}

TEST(store_check_finds_damaged_pages_and_never_crashes)
{
    LM_OWN(lm_store) store = open_store(new_folder(), LM_STORE_WRITE);
    put_many(store, 0, 5000);
    put_entry(store, LM_TABLE_RUNS, "run", "one");
    store = lm_store_close(store);
    static const char *const files[] = {"generation-1/log/data.mdb", "generation-1/index/data.mdb"};
    unsigned seen = 0, tried = 0;
    uint64_t random = 88172645463325252u;
    for (int f = 0; f < 2; f++) {
        long size = size_of(files[f]);
        char path[1024], *whole = malloc((size_t)size), noise[64];
        path_of(files[f], path);
        FILE *file = fopen(path, "r");
        CHECK(file && fread(whole, 1, (size_t)size, file) == (size_t)size);
        fclose(file);
        for (int i = 0; i < 150; i++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            /* the heads of pages first, then anywhere */
            long page = (long)(random >> 20) % (size / 4096);
            long at = page * 4096 + (i < 75 ? 0 : (long)(random >> 40) % 4000);
            for (size_t j = 0; j < sizeof noise; j++) noise[j] = (char)(random >> (j % 8 * 8));
            overwrite(files[f], at, noise, i % 3 ? sizeof noise : 2);
            tried++;
            seen += survives(LM_STORE_READ);
            overwrite(files[f], 0, whole, (size_t)size);
        }
        free(whole);
    }
    CHECK(!survives(LM_STORE_READ));
    CHECK(seen > tried / 4); /* the others hit bytes of values, free pages or bits that mean nothing */
}

TEST(store_makes_a_lost_index_again)
{
    LM_OWN(lm_store) store = open_store(new_folder(), LM_STORE_WRITE);
    put_many(store, 0, 70000);
    for (unsigned i = 0; i < 50; i++) {
        char key[16];
        snprintf(key, sizeof key, "run %u", i);
        put_entry(store, LM_TABLE_RUNS, key, key);
        if (i % 2) put_entry(store, LM_TABLE_RUNS, key, NULL);
    }
    store = lm_store_close(store);
    lm_error err;
    char noise[8192];
    memset(noise, 0x5a, sizeof noise);
    for (int round = 0; round < 2; round++) {
        if (round == 0) {
            overwrite("generation-1/index/data.mdb", 0, noise, sizeof noise);
        } else {
            char path[1024];
            path_of("generation-1/index", path);
            EQUAL_INT(lm_os_remove_folder(path), 0);
        }
        EQUAL_INT(lm_store_open(folder_of_test(), LM_STORE_READ, "x", &store, &err), LM_ESTORE);
        CONTAINS(err.text, "index");
        store = open_store(folder_of_test(), LM_STORE_WRITE);
        expect_many(store, 0, 70000, 31, true);
        expect_sound(store, 70000);
        EQUAL_TEXT(get_text(store, LM_TABLE_RUNS, "run 48"), "run 48");
        CHECK(!get_text(store, LM_TABLE_RUNS, "run 49"));
        store = lm_store_close(store);
    }
}
