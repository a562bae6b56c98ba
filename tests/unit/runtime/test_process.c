/* Programs over pipes. The program is this test itself: started with the argument "child MODE" it behaves well or badly. */
#include "runtime/codec.h"
#include "runtime/frames.h"
#include "runtime/log.h"
#include "runtime/process.h"
#include "tests/apply.h"
#include "tests/test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static lm_error *err = &(lm_error){0};

/* ---- the program ---------------------------------------------------------------------------------------------------- */

static bool read_all(void *to, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t got = read(0, (char *)to + at, n - at);
        if (got <= 0) return false;
        at += (size_t)got;
    }
    return true;
}

static void write_all(const void *from, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t put = write(1, (const char *)from + at, n - at);
        if (put < 0) _exit(9);
        at += (size_t)put;
    }
}

static void send_bytes(const void *bytes, uint32_t n)
{
    write_all(&n, 4); /* this test runs on little-endian machines */
    write_all(bytes, n);
}

static void send_record(const lm_record *record)
{
    lm_arena arena;
    lm_arena_init(&arena);
    lm_bytes bytes;
    if (lm_record_encode(record, true, &arena, &bytes, NULL)) _exit(8);
    send_bytes(bytes.data, (uint32_t)bytes.size);
    lm_arena_done(&arena);
}

static void send_error(const char *text, const char *kind)
{
    lm_record *record;
    if (lm_record_new("", &record, NULL)) _exit(8);
    if (lm_record_set(record, "error", lm_text_value(text), NULL, NULL)) _exit(8);
    if (kind && lm_record_set(record, "error_kind", lm_text_value(kind), NULL, NULL)) _exit(8);
    send_record(record);
    lm_record_unref(record);
}

static int open_files(void)
{
    int n = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (folder && readdir(folder)) n++;
    if (folder) closedir(folder);
    return n - 3; /* ".", "..", and the folder itself */
}

static void send_count(void)
{
    char text[32];
    snprintf(text, sizeof text, "%d files", open_files());
    send_error(text, NULL);
}

static uint8_t *read_message(uint32_t *ret_size)
{
    if (!read_all(ret_size, 4)) _exit(0);
    uint8_t *bytes = malloc(*ret_size + 1);
    if (!bytes || !read_all(bytes, *ret_size)) _exit(7);
    return bytes;
}

static void behave(const char *mode)
{
    const bool late = strcmp(mode, "late") == 0;
    if (strcmp(mode, "stubborn") == 0) signal(SIGTERM, SIG_IGN);
    if (strcmp(mode, "exit3") == 0) {
        fprintf(stderr, "no module named lens\n");
        _exit(3);
    }
    for (;;) {
        uint32_t size;
        uint8_t *bytes = read_message(&size);
        lm_record *record;
        if (lm_record_decode((lm_bytes){bytes, size}, &record, NULL)) _exit(6);
        const char *id = lm_record_id(record);
        bool marked = strncmp(id, "bad", 3) == 0;
        if (late) { /* answers the first only when it has the eighth */
            uint8_t *others[7];
            uint32_t sizes[7];
            for (int i = 0; i < 7; i++) others[i] = read_message(&sizes[i]);
            send_bytes(bytes, size);
            for (int i = 0; i < 7; i++) send_bytes(others[i], sizes[i]), free(others[i]);
        } else if (marked && strcmp(mode, "crash") == 0) raise(SIGKILL);
        else if (marked && (strcmp(mode, "slow") == 0 || strcmp(mode, "stubborn") == 0)) sleep(600);
        else if (marked && strcmp(mode, "print") == 0) write_all("hello, world\n", 13);
        else if (marked && strcmp(mode, "huge") == 0) write_all("\xff\xff\xff\xff", 4);
        else if (marked && strcmp(mode, "junk") == 0) send_bytes("\x08\xff", 2);
        else if (marked && strcmp(mode, "close") == 0) close(1), sleep(600);
        else if (marked && strcmp(mode, "deaf") == 0) close(0), sleep(600);
        else if (marked && strcmp(mode, "twice") == 0) send_bytes(bytes, size), send_bytes(bytes, size);
        else if (marked && strcmp(mode, "orphan") == 0) {
            if (fork() == 0) sleep(600); /* keeps the pipes open */
            _exit(5);
        } else if (marked && strcmp(mode, "skip") == 0) send_bytes("", 0);
        else if (marked && strcmp(mode, "error") == 0) send_error("too faint to fit", NULL);
        else if (marked && strcmp(mode, "io") == 0) send_error("disk is gone", "io");
        else if (marked && strcmp(mode, "files") == 0) send_count();
        else if (strcmp(mode, "chatter") == 0) fprintf(stderr, "working on %s\n", id), send_bytes(bytes, size);
        else send_bytes(bytes, size);
        lm_record_unref(record);
        free(bytes);
    }
}

/* glibc gives constructors the arguments of main(). */
__attribute__((constructor)) static void start(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "child") == 0) behave(argv[2]);
}

/* ---- the harness ---------------------------------------------------------------------------------------------------- */

enum { MOST = 16 };

static lm_status unused(const void *self, lm_step *step, lm_error *e)
{
    (void)self, (void)step;
    return LM_FAIL(e, LM_EBUG, "not called");
}
static const lm_operator op = {.name = "process", .version = 1, .summary = "x", .step = unused};

static char self_path[1024];

static lm_process *program(const char *mode, size_t in_flight)
{
    ssize_t n = readlink("/proc/self/exe", self_path, sizeof self_path - 1);
    CHECK(n > 0);
    self_path[n] = 0;
    const char *command[] = {self_path, "child", mode, NULL};
    const lm_process_options options = {.command = command, .folder = "/", .in_flight = in_flight, .start_s = 2};
    lm_process *made = NULL;
    OK(lm_process_new(&options, &made, err), err);
    return made;
}

typedef struct {
    lm_step steps[MOST];
    lm_record *in[MOST];
    lm_status statuses[MOST];
    lm_error errs[MOST];
    size_t n;
} trial;

static uint64_t fail_at;  /* which allocation of the batch fails; 0: none */
static atomic_bool fired; /* tests with threads set it, to false, side by side */

/* Sends n records; that with the number `bad` (-1: none) is called bad-N. */
static void send(trial *t, lm_process *p, size_t n, int bad, double timeout_s, const atomic_bool *cancelled)
{
    lm_step *steps[MOST];
    t->n = n;
    for (size_t i = 0; i < n; i++) {
        char id[32];
        snprintf(id, sizeof id, "%s-%zu", (int)i == bad ? "bad" : "good", i);
        t->in[i] = record_new(id);
        record_f32(t->in[i], "image", (double[]){(double)i, 1, 2, 3, 4, 5}, 2, (size_t[]){2, 3});
        record_set(t->in[i], "MAG", lm_real(20.5));
        lm_step_init(&t->steps[i]);
        lm_step_begin(&t->steps[i], &op, NULL, NULL, "denoise");
        t->steps[i].inputs[0].record = t->in[i];
        t->steps[i].id = lm_record_id(t->in[i]);
        t->steps[i].cancelled = cancelled;
        if (timeout_s > 0) t->steps[i].deadline_s = lm_now_s() + timeout_s;
        t->errs[i] = (lm_error){0};
        steps[i] = &t->steps[i];
    }
    lm_alloc_fail_at(fail_at);
    lm_process_batch(p, steps, t->statuses, t->errs, n);
    fired = fail_at && lm_alloc_count() >= fail_at;
    lm_alloc_fail_at(0);
}

/* Has step i given back its input? */
static bool echoed(trial *t, size_t i)
{
    if (t->statuses[i] || lm_step_finish(&t->steps[i], err) || !t->steps[i].outputs[0].emitted) return false;
    const lm_record *out = t->steps[i].outputs[0].record;
    const lm_tensor *a = out ? lm_record_tensor(out, "image") : NULL, *b = lm_record_tensor(t->in[i], "image");
    return a && lm_tensor_same_shape(a, b) && memcmp(a->data, b->data, b->bytes) == 0 &&
           strcmp(lm_record_id(out), lm_record_id(t->in[i])) == 0 && lm_record_value(out, "MAG").real == 20.5;
}

static void forget(trial *t)
{
    for (size_t i = 0; i < t->n; i++) {
        lm_step_done(&t->steps[i]);
        lm_record_unref(t->in[i]);
    }
}

/* One record of n is bad: all others come back, and the bad one has this status and text. */
static void one_is_bad(const char *file, int line, const char *mode, lm_status status, const char *text)
{
    static trial t;
    const int places[] = {0, 3, 7};
    int files = open_files();
    for (size_t k = 0; k < 3; k++) {
        lm_process *p = program(mode, 4);
        double timeout = strcmp(mode, "slow") == 0 || strcmp(mode, "stubborn") == 0 ? 1 : 0;
        send(&t, p, 8, places[k], timeout, NULL);
        for (int i = 0; i < 8; i++) {
            if (i != places[k]) {
                if (!echoed(&t, (size_t)i)) test_fail(file, line, "record %d: %s", i, t.errs[i].text);
            } else {
                if (t.statuses[i] != status)
                    test_fail(file, line, "status %s (%s)", lm_status_name(t.statuses[i]), t.errs[i].text);
                if (text) test_contains(file, line, t.errs[i].text, text);
            }
        }
        forget(&t);
        lm_process_free(p);
        if (k == 0 && timeout > 0) break; /* two seconds each */
    }
    EQUAL_INT(open_files(), files);
    errno = 0;
    if (waitpid(-1, NULL, WNOHANG) != -1) test_fail(file, line, "a child is left");
}
#define ONE_IS_BAD(mode, status, text) one_is_bad(__FILE__, __LINE__, mode, status, text)

/* ---- tests ---------------------------------------------------------------------------------------------------------- */

TEST(records_come_back_in_order)
{
    static trial t;
    LM_OWN(lm_process) p = program("echo", 32);
    for (int round = 0; round < 3; round++) { /* the same program all the time */
        send(&t, p, MOST, -1, 0, NULL);
        for (size_t i = 0; i < MOST; i++) CHECK(echoed(&t, i));
        forget(&t);
    }
}

TEST(several_are_on_their_way)
{
    static trial t;
    LM_OWN(lm_process) p = program("late", 8);
    send(&t, p, MOST, -1, 0, NULL);
    for (size_t i = 0; i < MOST; i++) CHECK(echoed(&t, i));
    forget(&t);
}

TEST(large_records_pass)
{
    enum { SIDE = 2000 };
    double *pixels = malloc(sizeof *pixels * SIDE * SIDE);
    CHECK(pixels);
    for (size_t i = 0; i < (size_t)SIDE * SIDE; i++) pixels[i] = (double)(i % 1000);
    static lm_step step[3];
    lm_step *steps[3];
    lm_status statuses[3];
    static lm_error errs[3];
    LM_OWN(lm_record) big = record_new("big");
    record_f64(big, "image", pixels, 2, (size_t[]){SIDE, SIDE});
    free(pixels);
    LM_OWN(lm_process) p = program("echo", 3);
    for (int i = 0; i < 3; i++) {
        lm_step_init(&step[i]);
        lm_step_begin(&step[i], &op, NULL, NULL, "x");
        step[i].inputs[0].record = big;
        step[i].id = "big";
        steps[i] = &step[i];
    }
    lm_process_batch(p, steps, statuses, errs, 3);
    for (int i = 0; i < 3; i++) {
        EQUAL_INT(statuses[i], LM_OK);
        const lm_tensor *a = lm_record_tensor(step[i].outputs[0].record, "image"), *b = lm_record_tensor(big, "image");
        CHECK(memcmp(a->data, b->data, b->bytes) == 0);
        lm_step_done(&step[i]);
    }
}

TEST(a_record_that_kills_is_tried_twice_and_the_others_go_on)
{
    ONE_IS_BAD("crash", LM_ECRASH, "died of this record: signal 9");
}

TEST(what_is_no_answer)
{
    ONE_IS_BAD("huge", LM_ECRASH, "more than 2 GiB");
    ONE_IS_BAD("print", LM_ECRASH, "begins with byte 0x6f"); /* "hell" as a length, then "o" */
    ONE_IS_BAD("junk", LM_EINPUT, "the program's answer");
    ONE_IS_BAD("close", LM_ECRASH, "closed its output");
}

TEST(a_program_that_hangs_on_without_reading_or_being_there)
{
    static trial t;
    const char *const modes[] = {"orphan", "deaf"};
    for (size_t k = 0; k < 2; k++) {
        LM_OWN(lm_process) p = program(modes[k], 1);
        send(&t, p, 2, 0, k ? 0.5 : 0, NULL);
        EQUAL_INT(t.statuses[0], k ? LM_ETIMEOUT : LM_ECRASH);
        CHECK(echoed(&t, 1));
        forget(&t);
    }
}

TEST(tombstones_and_errors)
{
    static trial t;
    LM_OWN(lm_process) p = program("skip", 4);
    send(&t, p, 4, 1, 0, NULL);
    EQUAL_INT(t.statuses[1], LM_OK);
    OK(lm_step_finish(&t.steps[1], err), err);
    CHECK(!t.steps[1].outputs[0].emitted);
    CHECK(echoed(&t, 0) && echoed(&t, 2) && echoed(&t, 3));
    forget(&t);
    p = lm_process_free(p);
    ONE_IS_BAD("error", LM_EINPUT, "too faint to fit");
    ONE_IS_BAD("io", LM_EIO, "disk is gone");
}

TEST(a_program_that_answers_twice_is_not_used_again)
{
    static trial t;
    LM_OWN(lm_process) p = program("twice", 1);
    send(&t, p, 1, 0, 0, NULL);
    CHECK(echoed(&t, 0));
    forget(&t);
    usleep(50000);
    send(&t, p, 4, -1, 0, NULL);
    for (size_t i = 0; i < 4; i++) CHECK(echoed(&t, i));
    forget(&t);
}

TEST(a_slow_record_is_ended)
{
    double start_s = lm_now_s();
    ONE_IS_BAD("slow", LM_ETIMEOUT, "took longer than 1 s");
    CHECK(lm_now_s() - start_s < 30);
    ONE_IS_BAD("stubborn", LM_ETIMEOUT, "took longer"); /* SIGTERM is ignored: SIGKILL */
}

TEST(no_open_file_is_handed_down)
{
    /* Three pipes, and what this test itself was given without close-on-exec. */
    int expected = 3;
    for (int fd = 3; fd < 256; fd++) {
        int flags = fcntl(fd, F_GETFD);
        expected += flags >= 0 && !(flags & FD_CLOEXEC);
    }
    char text[32];
    snprintf(text, sizeof text, "%d files", expected);
    ONE_IS_BAD("files", LM_EINPUT, text);
}

TEST(a_program_that_does_not_start)
{
    static trial t;
    LM_OWN(lm_process) p = program("exit3", 4);
    send(&t, p, 2, -1, 0, NULL);
    for (int i = 0; i < 2; i++) {
        EQUAL_INT(t.statuses[i], LM_ECRASH);
        CONTAINS(t.errs[i].text, "exited with status 3");
        CONTAINS(t.errs[i].text, "no module named lens");
    }
    forget(&t);
    const char *command[] = {"no-such-program-here", NULL};
    lm_process_options options = {.command = command, .folder = "/", .in_flight = 1};
    lm_process *none = NULL;
    EQUAL_INT(lm_process_new(&options, &none, err), LM_EGRAPH);
    CONTAINS(err->text, "cannot run \"no-such-program-here\"");
    char path[512];
    snprintf(path, sizeof path, "%s/script.py", test_folder());
    FILE *file = fopen(path, "w");
    CHECK(file && fclose(file) == 0);
    command[0] = path;
    EQUAL_INT(lm_process_new(&options, &none, err), LM_EGRAPH);
    CONTAINS(err->text, "not executable");
    CHECK(!none);
}

TEST(cancelling_ends_the_program)
{
    static trial t;
    static atomic_bool cancelled = true;
    LM_OWN(lm_process) p = program("slow", 4);
    send(&t, p, 4, 0, 0, &cancelled);
    for (int i = 0; i < 4; i++) EQUAL_INT(t.statuses[i], LM_ECANCEL);
    forget(&t);
}

static char lines[4096];
static void keep(void *arg, lm_level level, const char *line)
{
    (void)arg, (void)level;
    if (strlen(lines) + strlen(line) + 2 < sizeof lines) strcat(strcat(lines, line), "\n");
}

TEST(standard_error_goes_to_the_log)
{
    static trial t;
    *lines = 0;
    lm_log_to(keep, NULL);
    lm_process *p = program("chatter", 4);
    send(&t, p, 3, -1, 0, NULL);
    forget(&t);
    lm_process_free(p);
    lm_log_to(NULL, NULL);
    CONTAINS(lines, "denoise: working on good-0");
    CONTAINS(lines, "working on good-1");
}

static void *many(void *arg)
{
    trial *t = malloc(sizeof *t);
    int *wrong = arg;
    lm_process *p = *(lm_process **)(void *)(wrong + 2);
    for (int round = 0; t && round < 5; round++) {
        send(t, p, 8, 3, 0, NULL);
        for (size_t i = 0; i < 8; i++) *wrong += i == 3 ? t->statuses[i] != LM_ECRASH : !echoed(t, i);
        forget(t);
    }
    free(t);
    return NULL;
}

TEST(threads_have_a_program_each)
{
    LM_OWN(lm_process) p = program("crash", 4);
    struct {
        int wrong, pad;
        lm_process *p;
    } jobs[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        jobs[i].wrong = 0;
        jobs[i].p = p;
        CHECK(pthread_create(&threads[i], NULL, many, &jobs[i]) == 0);
    }
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++) EQUAL_INT(jobs[i].wrong, 0);
}

TEST(each_allocation_may_fail)
{
    static trial t;
    int refused = 0;
    for (fail_at = 1;; fail_at++) {
        lm_process *p = program("echo", 2);
        send(&t, p, 3, -1, 0, NULL);
        for (size_t i = 0; i < 3; i++) {
            /* libprotobuf-c cannot say that memory was short, so the codec calls such a message damaged */
            bool unread = t.statuses[i] == LM_EINPUT && strstr(t.errs[i].text, "not a record");
            CHECK(t.statuses[i] == LM_EMEMORY || unread || echoed(&t, i));
            refused += t.statuses[i] != LM_OK;
        }
        forget(&t);
        lm_process_free(p);
        if (!fired) break;
    }
    fail_at = 0;
    CHECK(refused > 5);
}

TEST(frames_in_any_pieces)
{
    const uint8_t stream[] = {3, 0, 0, 0, 'a', 'b', 'c', 0, 0, 0, 0, 1, 0, 0, 0, 'x', 5, 0};
    for (size_t piece = 1; piece <= sizeof stream; piece++) {
        lm_frames frames;
        lm_frames_init(&frames);
        char seen[64] = "";
        for (size_t at = 0; at < sizeof stream; at += piece) {
            const uint8_t *bytes = stream + at;
            size_t n = sizeof stream - at < piece ? sizeof stream - at : piece;
            for (;;) {
                bool complete;
                OK(lm_frames_feed(&frames, &bytes, &n, &complete, err), err);
                if (!complete) break;
                snprintf(seen + strlen(seen), 16, "[%.*s]", (int)frames.size, frames.size ? (char *)frames.body : "");
                lm_frames_next(&frames);
            }
            EQUAL_INT(n, 0);
        }
        EQUAL_TEXT(seen, "[abc][][x]");
        CHECK(!lm_frames_at_rest(&frames));
        lm_frames_done(&frames);
    }
}

TEST(memory_follows_what_has_arrived_not_what_is_claimed)
{
    lm_frames frames;
    lm_frames_init(&frames);
    const uint8_t claim[] = {0xff, 0xff, 0xff, 0x7f, 1, 2, 3};
    const uint8_t *bytes = claim;
    size_t n = sizeof claim;
    bool complete;
    OK(lm_frames_feed(&frames, &bytes, &n, &complete, err), err);
    CHECK(!complete && frames.capacity <= 4096);
    lm_frames_done(&frames);
}
