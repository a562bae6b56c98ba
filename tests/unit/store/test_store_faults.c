/* The store when things go wrong: kills, full disks, failing calls, no memory, folders that cannot be written. */
#include "store/os.h"
#include "store/store.h"
#include "tests/test.h"
#include "tests/unit/store/fixture.h"

#include "runtime/log.h"

#include <errno.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void no_log(void *arg, lm_level level, const char *line)
{
    (void)arg, (void)level, (void)line;
}

/* Write number n: some rows and one table entry, all saying n. */
static lm_status put_write(lm_store *store, unsigned n, unsigned rows, uint64_t *ret_ticket, lm_error *err)
{
    lm_write *write;
    LM_TRY(lm_write_new(&write, err));
    lm_status status = LM_OK;
    char text[32];
    int size = snprintf(text, sizeof text, "%u", n);
    for (unsigned i = 0; i < rows && !status; i++) {
        lm_digest digest = digest_of(n * 1000 + i);
        lm_part part = {lm_write_copy(write, text, (size_t)size), (size_t)size};
        if (!part.data) status = LM_NOMEM(err);
        else status = lm_write_row(write, LM_ROW_STEP, &digest, &part, 1, NULL, NULL, err);
    }
    if (!status) status = lm_write_entry(write, LM_TABLE_RUNS, &n, sizeof n, text, (size_t)size, err);
    if (!status && n % 7 == 0) status = lm_write_entry(write, LM_TABLE_CHECKPOINTS, "c", 1, text, (size_t)size, err);
    if (status) {
        lm_write_free(write);
        return status;
    }
    return lm_store_hand_in(store, write, ret_ticket, err);
}

/* Write n is there whole: 1; not at all: 0. Anything between fails the test. */
static int whole_write(lm_snapshot *snapshot, unsigned n, unsigned rows)
{
    lm_error err;
    unsigned found = 0;
    for (unsigned i = 0; i < rows; i++) {
        const char *text = find_in(snapshot, LM_ROW_STEP, n * 1000 + i);
        if (!text) continue;
        if ((unsigned)atoi(text) != n) FAIL("write %u holds \"%s\"", n, text);
        found++;
    }
    lm_view view;
    OK(lm_snapshot_get(snapshot, LM_TABLE_RUNS, &n, sizeof n, &view, &err), &err);
    if (found + (view.data != NULL) == 0) return 0;
    if (found < rows || !view.data) FAIL("write %u has %u rows%s", n, found, view.data ? "" : " and no entry");
    return 1;
}

/* A kill or a failing call needs no disk: thousands of fsyncs are quick in memory. */
static void quick_folder(void)
{
    char *tmp = getenv("TMPDIR"), former[512];
    snprintf(former, sizeof former, "%s", tmp ? tmp : "");
    if (access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 1);
    new_folder();
    if (tmp) setenv("TMPDIR", former, 1);
    else unsetenv("TMPDIR");
}

/* ---- kills ------------------------------------------------------------------------------------------------------- */

static bool keep_all(void *arg, lm_row_kind kind, const lm_digest *digest, lm_view value)
{
    (void)arg, (void)kind, (void)digest, (void)value;
    return true;
}

enum { ROWS_A_WRITE = 64 };

/* Writes from number `from` on until it is killed, telling the pipe how far it is on the disk. */
static void write_for_ever(const char *folder, unsigned from, bool collects, int out)
{
    lm_error err;
    lm_store *store;
    if (lm_store_open(folder, LM_STORE_WRITE, "doomed", &store, &err)) _exit(1);
    uint64_t ticket = 0;
    for (unsigned n = from;; n++) {
        if (put_write(store, n, ROWS_A_WRITE, &ticket, &err)) _exit(2);
        while (lm_store_backlog(store) > 1 << 20)
            if (lm_store_wait(store, lm_store_committed(store) + 1, &err)) _exit(3);
        unsigned on_disk = from + (unsigned)lm_store_committed(store);
        if (write(out, &on_disk, sizeof on_disk) != sizeof on_disk) _exit(4);
        if (collects && n % 500 == 250 && lm_store_collect(store, keep_all, NULL, &err)) _exit(5);
    }
}

/* Lets a child write for some time and kills it. Returns the end of what it reported. */
static unsigned kill_a_writer(unsigned from, bool collects, int after_ms)
{
    int ends[2];
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        write_for_ever(folder_of_test(), from, collects, ends[1]);
    }
    close(ends[1]);
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    unsigned on_disk = from, report;
    for (;;) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        long left = after_ms - (now.tv_sec - start.tv_sec) * 1000 - (now.tv_nsec - start.tv_nsec) / 1000000;
        if (left <= 0 || poll(&(struct pollfd){ends[0], POLLIN, 0}, 1, (int)left) <= 0) break;
        if (read(ends[0], &report, sizeof report) != sizeof report) break;
        on_disk = report;
    }
    kill(child, SIGKILL);
    while (read(ends[0], &report, sizeof report) == sizeof report) on_disk = report;
    close(ends[0]);
    int status;
    waitpid(child, &status, 0);
    if (!WIFSIGNALED(status)) FAIL("the writer ended by itself with status %d", WEXITSTATUS(status));
    return on_disk;
}

static unsigned kill_many(bool collects, int rounds)
{
    srand(collects ? 7 : 5);
    unsigned next = 0, most = 0;
    for (int round = 0; round < rounds; round++) {
        if (round % 4 == 0) quick_folder(), next = 0;
        /* the last of each four writes long enough for rows to move on to the index */
        unsigned from = next, on_disk = kill_a_writer(from, collects, rand() % (round % 4 == 3 ? 600 : 120));
        lm_error err;
        LM_OWN(lm_store) store = open_store(folder_of_test(), LM_STORE_WRITE);
        LM_OWN(lm_snapshot) snapshot = snapshot_of(store);
        unsigned n = from;
        for (; n < on_disk; n++)
            if (!whole_write(snapshot, n, ROWS_A_WRITE)) FAIL("write %u was reported and is gone (round %d)", n, round);
        for (; whole_write(snapshot, n, ROWS_A_WRITE); n++) {} /* committed, not yet reported */
        snapshot = lm_snapshot_unref(snapshot);
        uint64_t rows;
        OK(lm_store_check(store, &rows, &err), &err);
        EQUAL_INT(rows, (uint64_t)n * ROWS_A_WRITE);
        next = n;
        most = n > most ? n : most;
    }
    return most;
}

TEST(store_survives_kills_while_it_writes)
{
    CHECK(kill_many(false, 12) > 100);
}

TEST(store_survives_kills_while_it_collects)
{
    CHECK(kill_many(true, 12) > 100);
}

/* ---- failing calls ----------------------------------------------------------------------------------------------- */

enum { WRITES = 6, ROWS = 3 };

/* A life of a store: written, read, collected, closed. *committed: writes that were told to be on the disk. */
static lm_status live(const char *folder, unsigned *committed, lm_error *err)
{
    LM_OWN(lm_store) store = NULL;
    LM_TRY(lm_store_open(folder, LM_STORE_WRITE, "x", &store, err));
    for (unsigned n = 0; n < WRITES; n++) {
        uint64_t ticket;
        LM_TRY(put_write(store, n, ROWS, &ticket, err));
        LM_TRY(lm_store_wait(store, ticket, err));
        *committed = n + 1 > *committed ? n + 1 : *committed;
        if (n == 2) LM_TRY(lm_store_collect(store, keep_all, NULL, err));
    }
    LM_OWN(lm_snapshot) snapshot = NULL;
    LM_TRY(lm_store_snapshot(store, &snapshot, err));
    lm_digest digest = digest_of(1000);
    lm_view view;
    LM_TRY(lm_snapshot_find(snapshot, LM_ROW_STEP, &digest, &view, err));
    LM_TRY(lm_snapshot_get(snapshot, LM_TABLE_CHECKPOINTS, "c", 1, &view, err));
    snapshot = lm_snapshot_unref(snapshot);
    uint64_t rows;
    return lm_store_check(store, &rows, err);
}

/* After a fault: the store opens, is sound, and has every write that was reported, each whole. */
static void expect_intact(unsigned committed, uint64_t fault)
{
    lm_error err;
    LM_OWN(lm_store) store = NULL;
    lm_status status = lm_store_open(folder_of_test(), LM_STORE_WRITE, "heir", &store, &err);
    if (status) FAIL("after fault %llu the store does not open: %s", (unsigned long long)fault, err.text);
    uint64_t rows;
    OK(lm_store_check(store, &rows, &err), &err);
    LM_OWN(lm_snapshot) snapshot = snapshot_of(store);
    for (unsigned n = 0; n < WRITES; n++)
        if (!whole_write(snapshot, n, ROWS) && n < committed)
            FAIL("after fault %llu write %u is gone", (unsigned long long)fault, n);
}

static void expect_full(lm_status status, const lm_error *err)
{
    EQUAL_INT(status, LM_ESTORE);
    CONTAINS(err->text, "disk is full");
    CONTAINS(err->text, folder_of_test());
    CONTAINS(err->hint, "run again");
}

static unsigned fail_calls(int code, bool stays, lm_status expected)
{
    unsigned failures = 0;
    lm_log_to(no_log, NULL);
    for (uint64_t n = 1;; n++) {
        lm_error err = {0};
        unsigned committed = 0;
        quick_folder();
        lm_os_fail_at(n, code, stays);
        lm_status status = live(folder_of_test(), &committed, &err);
        bool fired = lm_os_count() >= n;
        lm_os_fail_at(0, 0, false);
        if (!fired) {
            lm_log_to(NULL, NULL);
            CHECK(!status);
            return failures;
        }
        if (status) {
            failures++;
            if (code == ENOSPC) expect_full(status, &err);
            else if (status != expected)
                FAIL("call %llu: %s: %s", (unsigned long long)n, lm_status_name(status), err.text);
        }
        expect_intact(committed, n);
    }
}

TEST(store_survives_each_call_failing_once)
{
    CHECK(fail_calls(EIO, false, LM_EIO) > 100);
}

TEST(store_survives_a_disk_that_is_full_from_any_call_on)
{
    CHECK(fail_calls(ENOSPC, true, LM_ESTORE) > 100);
}

TEST(store_survives_each_allocation_failing)
{
    unsigned failures = 0;
    lm_log_to(no_log, NULL);
    for (uint64_t n = 1;; n++) {
        lm_error err = {0};
        unsigned committed = 0;
        quick_folder();
        lm_alloc_fail_at(n);
        lm_status status = live(folder_of_test(), &committed, &err);
        bool fired = lm_alloc_count() >= n;
        lm_alloc_fail_at(0);
        if (status && status != LM_EMEMORY) FAIL("allocation %llu: %s", (unsigned long long)n, err.text);
        failures += status != LM_OK;
        expect_intact(committed, n);
        if (!fired) break;
    }
    lm_log_to(NULL, NULL);
    CHECK(failures > 50);
}

TEST(store_failure_is_told_to_everybody_and_writes_are_let_go)
{
    lm_error err;
    LM_OWN(lm_store) store = open_store(new_folder(), LM_STORE_WRITE);
    uint64_t first, second = 0;
    OK(put_write(store, 0, 3, &first, &err), &err);
    OK(lm_store_wait(store, first, &err), &err);
    lm_os_fail_at(1, ENOSPC, true);
    lm_status handed = put_write(store, 1, 3, &second, &err);
    lm_status waited = lm_store_wait(store, second, &err);
    lm_os_fail_at(0, 0, false);
    OK(handed, &err);
    expect_full(waited, &err);
    expect_full(lm_store_failure(store, &err), &err);
    OK(lm_store_wait(store, first, &err), &err); /* that one is safe */
    expect_full(put_write(store, 2, 3, &second, &err), &err);
    EQUAL_INT(lm_store_backlog(store), 0);
    EQUAL_TEXT(find_text(store, LM_ROW_STEP, 0), "0"); /* reading goes on */
    store = lm_store_close(store);
    expect_intact(1, 1);
}

/* ---- a disk that is really full ---------------------------------------------------------------------------------- */

TEST(store_on_a_full_disk_keeps_what_it_had)
{
    lm_error err;
    new_folder();
    if (mount("tmpfs", folder_of_test(), "tmpfs", 0, "size=6m"))
        SKIP("a small file system cannot be mounted here: %s", strerror(errno));
    char folder[600], *megabyte = calloc(1, 1 << 20);
    snprintf(folder, sizeof folder, "%s/store", folder_of_test());
    lm_store *store = NULL;
    lm_status status = lm_store_open(folder, LM_STORE_WRITE, "x", &store, &err);
    unsigned kept = 0;
    while (!status && kept < 20) {
        lm_write *write;
        uint64_t ticket;
        lm_digest digest = digest_of(kept);
        lm_part part = {megabyte, 1 << 20};
        if ((status = lm_write_new(&write, &err))) break;
        if ((status = lm_write_row(write, LM_ROW_TENSOR, &digest, &part, 1, NULL, NULL, &err))) break;
        if ((status = lm_store_hand_in(store, write, &ticket, &err))) break;
        if (!(status = lm_store_wait(store, ticket, &err))) kept++;
    }
    lm_error full = err;
    unsigned found = 0;
    lm_status reading = store ? LM_OK : LM_EBUG, again = LM_EBUG;
    uint64_t rows = 0;
    store = lm_store_close(store);
    if (!reading) again = lm_store_open(folder, LM_STORE_READ, "x", &store, &err);
    if (!again) again = lm_store_check(store, &rows, &err);
    if (!again) found = count_rows(store, LM_ROW_TENSOR);
    store = lm_store_close(store);
    lm_status writing = lm_store_open(folder, LM_STORE_WRITE, "x", &store, &err);
    store = lm_store_close(store);
    free(megabyte);
    umount2(folder_of_test(), MNT_DETACH);
    EQUAL_INT(status, LM_ESTORE);
    CONTAINS(full.text, "disk is full");
    OK(again, &err);
    CHECK(kept >= 2);
    EQUAL_INT(found, kept);
    EQUAL_INT(rows, kept);
    CHECK(!writing || writing == LM_ESTORE); /* opening to write may need a page that is not there */
}

/* ---- where it may not be ----------------------------------------------------------------------------------------- */

TEST(store_refuses_network_file_systems)
{
    lm_error err;
    LM_OWN(lm_store) store = NULL;
    new_folder();
    static const char *const types[] = {"nfs4", "cifs", "fuse.sshfs", "lustre", "ceph"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        lm_os_pretend_fs(types[i]);
        lm_status status = lm_store_open(folder_of_test(), LM_STORE_WRITE, "x", &store, &err);
        lm_os_pretend_fs(NULL);
        EQUAL_INT(status, LM_ESTORE);
        CONTAINS(err.text, types[i]);
        CONTAINS(err.text, "network file system");
        CONTAINS(err.hint, "local disk");
    }
    lm_os_pretend_fs("ext4");
    lm_status status = lm_store_open(folder_of_test(), LM_STORE_WRITE, "x", &store, &err);
    lm_os_pretend_fs(NULL);
    OK(status, &err);
    store = lm_store_close(store);
    setenv("LENSMILL_ALLOW_NETWORK_FS", "1", 1);
    lm_os_pretend_fs("lustre");
    status = lm_store_open(folder_of_test(), LM_STORE_WRITE, "x", &store, &err);
    lm_os_pretend_fs(NULL);
    unsetenv("LENSMILL_ALLOW_NETWORK_FS");
    OK(status, &err);
}

/* As a user who may read the folder and not write to it. Exit status: what went wrong. */
static int read_only_child(const char *folder)
{
    if (geteuid() == 0 && (setgid(65534) || setuid(65534))) return 1;
    lm_error err;
    lm_store *store = NULL;
    if (lm_store_open(folder, LM_STORE_WRITE, "x", &store, &err) != LM_ESTORE) return 2;
    if (!strstr(err.text, "cannot write to the store") || !strstr(err.text, "ermission")) return 3;
    if (lm_store_open(folder, LM_STORE_READ, "x", &store, &err)) return 4;
    lm_snapshot *snapshot;
    if (lm_store_snapshot(store, &snapshot, &err)) return 5;
    lm_digest digest = digest_of(1);
    lm_view view;
    if (lm_snapshot_find(snapshot, LM_ROW_STEP, &digest, &view, &err)) return 6;
    if (!view.data || view.size != 4 || memcmp(view.data, "here", 4) != 0) return 7;
    lm_snapshot_unref(snapshot);
    lm_store_close(store);
    return 0;
}

static void set_modes(mode_t folder_mode, mode_t file_mode)
{
    static const char *const folders[] = {"", "/generation-1", "/generation-1/log", "/generation-1/index"};
    static const char *const files[] = {"/lock", "/current"};
    char path[1024];
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s%s", folder_of_test(), folders[i]);
        chmod(path, folder_mode);
        if (i < 2) {
            snprintf(path, sizeof path, "%s%s", folder_of_test(), files[i]);
            chmod(path, file_mode);
            continue;
        }
        snprintf(path, sizeof path, "%s%s/data.mdb", folder_of_test(), folders[i]);
        chmod(path, file_mode);
        snprintf(path, sizeof path, "%s%s/lock.mdb", folder_of_test(), folders[i]);
        chmod(path, file_mode);
    }
}

TEST(store_that_may_only_be_read_can_be_read)
{
    LM_OWN(lm_store) store = open_store(new_folder(), LM_STORE_WRITE);
    put_text(store, LM_ROW_STEP, 1, "here");
    store = lm_store_close(store);
    set_modes(0555, 0444);
    pid_t child = fork();
    if (child == 0) _exit(read_only_child(folder_of_test()));
    int status;
    waitpid(child, &status, 0);
    set_modes(0755, 0644);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 1) SKIP("no other user to become");
    CHECK(WIFEXITED(status));
    EQUAL_INT(WEXITSTATUS(status), 0);
}
