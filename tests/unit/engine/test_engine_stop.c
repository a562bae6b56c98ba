/* A run that is stopped, or dies: what was done stays done, and the next run gives what one run would have given. */
#include "runtime/guard.h"
#include "tests/unit/engine/fixture.h"

#include <sys/wait.h>

#define HEAD "lensmill: 1\nnodes:\n"

/* ---- a signal in the middle ---- */

static lm_status tell_step(const void *self, lm_step *step, lm_error *err)
{
    (void)self, (void)err;
    at_work(step);
    int64_t n = n_of(lm_step_record(step, "in"));
    if (test_trigger && n == test_trigger) kill(getpid(), SIGINT);
    usleep(200);
    return LM_OK;
}
static const lm_operator tell_op = {.struct_size = sizeof(lm_operator),
                                    .name = "t.tell",
                                    .version = 1,
                                    .summary = "Send a signal at one record",
                                    .step = tell_step};

/* Ten rounds of work that can be taken up again: n becomes the sum of the rounds. */
static lm_status rounds_step(const void *self, lm_step *step, lm_error *err)
{
    (void)self;
    at_work(step);
    int64_t state[2] = {0, 0}; /* rounds done, sum */
    const void *saved;
    size_t size;
    LM_TRY(lm_step_checkpoint_load(step, &saved, &size, err));
    if (size && size != sizeof state) return LM_FAIL(err, LM_EBUG, "a checkpoint of %zu bytes", size);
    if (size) memcpy(state, saved, size), count_call("resumed", 1);
    for (; state[0] < 10; state[0]++) {
        if (lm_step_stopped(step)) {
            LM_TRY(lm_step_checkpoint_save(step, state, sizeof state, err));
            count_call("saved", 1);
            return LM_ESTOP(step, err);
        }
        count_call("rounds", 1);
        state[1] += state[0] * (1 + n_of(lm_step_record(step, "in")));
        if (test_trigger && state[0] == 4) {
            test_trigger = 0;
            kill(getpid(), SIGINT);
        }
        usleep(2000);
    }
    return lm_step_set(step, NULL, "n", lm_int(state[1]), NULL, err);
}
static const lm_operator rounds_op = {.struct_size = sizeof(lm_operator),
                                      .name = "t.rounds",
                                      .version = 1,
                                      .summary = "Work in rounds",
                                      .step = rounds_step};

/* A walk of random steps, which goes on where a shorter one ended: n is where it came to. */
typedef struct {
    json_t *how;
} walk;

static const lm_param walk_params[] = {LM_TREE(walk, how, "{}", .lengths = "steps limit", .doc = "how it walks"), {0}};

static lm_status walk_step(const void *self, lm_step *step, lm_error *err)
{
    const walk *s = self;
    at_work(step);
    int64_t state[2] = {0, 0}, steps = json_integer_value(json_object_get(s->how, "steps"));
    const void *saved;
    size_t size;
    LM_TRY(lm_step_checkpoint_load(step, &saved, &size, err));
    if (size && ((const int64_t *)saved)[0] <= steps) memcpy(state, saved, size);
    for (; state[0] < steps; state[0]++) {
        lm_random random = lm_step_random(step, (uint64_t)state[0]);
        state[1] += (int64_t)lm_random_below(&random, 1000000);
        count_call("walked", 1);
    }
    LM_TRY(lm_step_checkpoint_save(step, state, sizeof state, err));
    return lm_step_set(step, NULL, "n", lm_int(state[1]), NULL, err);
}
static const lm_operator walk_op = {.struct_size = sizeof(lm_operator),
                                    .name = "t.walk",
                                    .version = 1,
                                    .summary = "Walk at random",
                                    .flags = LM_RANDOM,
                                    .size = sizeof(walk),
                                    .params = walk_params,
                                    .step = walk_step};

/* Dies of one record. */
static lm_status die_step(const void *self, lm_step *step, lm_error *err)
{
    (void)self, (void)err;
    if (test_trigger && n_of(lm_step_record(step, "in")) == 5) {
        if (test_trigger == SIGKILL) kill(getpid(), SIGKILL), pause();
        abort();
    }
    return LM_OK;
}
static const lm_operator die_op = {.struct_size = sizeof(lm_operator),
                                   .name = "t.die",
                                   .version = 1,
                                   .summary = "Die of one record",
                                   .step = die_step};

static void begin(void)
{
    static const lm_operator *const mine[] = {&tell_op, &rounds_op, &walk_op, &die_op};
    fixture_begin();
    lm_error err = {0};
    if (!lm_registry_find("t.tell")) OK(lm_registry_add(mine, 4, NULL, &err), &err);
}

TEST(a_signal_stops_and_the_next_run_finishes)
{
    begin();
    LM_OWN(lm_store) store = open_store();
    const char *graph =
        HEAD "  a: {op: t.list, with: {n: 300}}\n  t: {op: t.tell, in: a}\n  g: {op: t.gen, in: t, with: {draws: 2}}\n"
             "  w: {op: t.fold, in: g, window: all}\n";
    ran r;
    test_trigger = 100;
    lm_run_options o = {.signals = true, .workers = 2};
    run_fine(&r, graph, store, &o, NULL);
    EQUAL_INT(r.report.status, 130);
    EQUAL_INT(called("w"), 0); /* a window never fires after a stop */
    unsigned before = called("t");
    CHECK(before >= 100 && before < 300);
    EQUAL_INT(r.report.dead, 0);
    ran_done(&r);
    test_trigger = 0;
    run_fine(&r, graph, store, &o, "w");
    EQUAL_INT(r.report.status, 0);
    CONTAINS(tape_of(&r), "count=600 missing=0");
    CHECK(called("t") >= 300 && called("t") <= before + 204); /* what was done is kept, but for steps cut short */
    char *stopped = strdup(tape_of(&r));
    ran_done(&r);
    run_fine(&r, graph, NULL, NULL, "w");
    EQUAL_TEXT(tape_of(&r), stopped);
    free(stopped);
    ran_done(&r);
}

static uint64_t checkpoints(lm_store *store)
{
    lm_store_stats stats;
    lm_error err = {0};
    OK(lm_store_stat(store, &stats, &err), &err);
    return stats.entries[LM_TABLE_CHECKPOINTS];
}

TEST(a_checkpoint_is_taken_up_and_removed)
{
    begin();
    LM_OWN(lm_store) store = open_store();
    const char *graph = HEAD "  a: {op: t.list, with: {n: 1}}\n  t: {op: t.rounds, in: a}\n";
    ran r;
    lm_run_options o = {.signals = true};
    test_trigger = 1;
    run_fine(&r, graph, store, &o, NULL);
    EQUAL_INT(r.report.status, 130);
    EQUAL_INT(called("saved"), 1);
    EQUAL_INT(checkpoints(store), 1);
    unsigned rounds = called("rounds");
    CHECK(rounds >= 5 && rounds < 10);
    ran_done(&r);
    run_fine(&r, graph, store, &o, "t");
    EQUAL_INT(r.report.status, 0);
    EQUAL_INT(called("resumed"), 1);
    EQUAL_INT(called("rounds"), 10); /* none twice */
    EQUAL_TEXT(tape_of(&r), "0 r0 n=45\n");
    EQUAL_INT(checkpoints(store), 0);
    ran_done(&r);
}

/* Where a walk of so many steps ends, and how many steps were walked for it. */
static int64_t walked(lm_store *store, const char *how, unsigned *ret_steps)
{
    char graph[256];
    ran r;
    snprintf(graph, sizeof graph, HEAD "  a: {op: t.list, with: {n: 1}}\n  w: {op: t.walk, in: a, with: {how: %s}}\n",
             how);
    unsigned before = called("walked");
    run_fine(&r, graph, store, NULL, "w");
    long long n = -1;
    if (sscanf(tape_of(&r), "0 r0 n=%lld", &n) != 1) FAIL("no walk: %s", tape_of(&r));
    ran_done(&r);
    *ret_steps = called("walked") - before;
    return n;
}

TEST(a_longer_step_goes_on_where_a_shorter_one_ended)
{
    begin();
    int64_t whole, other;
    unsigned steps;
    {
        LM_OWN(lm_store) store = open_store();
        whole = walked(store, "{steps: 30, way: a}", &steps);
        EQUAL_INT(steps, 30);
        other = walked(store, "{steps: 30, way: b}", &steps); /* another walk, with its own random numbers */
        EQUAL_INT(steps, 30);
        CHECK(other != whole);
    }
    begin();
    LM_OWN(lm_store) store = open_store();
    int64_t part = walked(store, "{steps: 10, way: a}", &steps);
    EQUAL_INT(steps, 10);
    CHECK(part < whole);
    EQUAL_INT(walked(store, "{steps: 30, way: a}", &steps), whole);
    EQUAL_INT(steps, 20);
    EQUAL_INT(walked(store, "{steps: 10, way: a}", &steps), part); /* both are stored */
    EQUAL_INT(steps, 0);
    EQUAL_INT(walked(store, "{steps: 30, way: a}", &steps), whole);
    EQUAL_INT(steps, 0);
    EQUAL_INT(walked(store, "{steps: 10, way: a, limit: 5}", &steps),
              part); /* the walk is too far already: from its start */
    EQUAL_INT(steps, 10);
}

TEST(a_stop_during_a_pause_of_retries)
{
    begin();
    LM_OWN(lm_store) store = open_store();
    ran r;
    test_trigger = 20;
    lm_run_options o = {.signals = true};
    run_fine(&r,
             HEAD "  a: {op: t.list, with: {n: 60}}\n"
                  "  f: {op: t.fail, in: a, with: {kind: io}, on_error: {retry: 5, backoff: 1h, when: [io]}}\n"
                  "  t: {op: t.tell, in: a}\n",
             store, &o, NULL);
    EQUAL_INT(r.report.status, 130);
    CHECK(r.report.wall_s < 30);
    ran_done(&r);
}

/* ---- a process that dies ---- */

static const char *const deadly =
    HEAD "  a: {op: t.list, with: {n: 10}}\n  d: {op: t.die, in: a, workers: 1}\n  b: {op: t.add, in: d}\n";

/* Runs the graph in a process of its own. Returns how it ended, as waitpid() says. */
static int run_apart(int trigger)
{
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) SKIP("no process can be made");
    if (!child) {
        for (int number = 1; number < 32; number++) signal(number, SIG_DFL);
        alarm(60);
        test_trigger = trigger;
        ran r;
        LM_OWN(lm_store) store = open_store();
        run_graph(&r, deadly, store, NULL, NULL);
        _exit(r.report.status);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child) FAIL("waitpid");
    return status;
}

TEST(two_crashes_make_a_dead_letter)
{
    begin();
#ifdef LM_SANITIZED
    SKIP("a sanitizer takes the signals");
#endif
    for (int i = 0; i < 2; i++) {
        int status = run_apart(SIGABRT);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
    int status = run_apart(SIGABRT);
    CHECK(WIFEXITED(status));
    EQUAL_INT(WEXITSTATUS(status), 3);
    ran r;
    {
        LM_OWN(lm_store) store = open_store();
        run_fine(&r, deadly, store, NULL, NULL);
        BOOKS(&r, "d", 10, 9, 0, 1, 0);
        BOOKS(&r, "b", 9, 9, 0, 0, 0);
        CONTAINS(r.report.first_dead, "two runs died");
        CONTAINS(r.report.first_dead, "record \"r5\"");
        ran_done(&r);
        /* `dead retry`: the counts are forgotten, the letter is taken away */
        lm_error err = {0};
        OK(guard_forget(store, &err), &err);
        run_fine(&r, deadly, store, &(lm_run_options){.fresh = true}, NULL);
        BOOKS(&r, "d", 10, 10, 0, 0, 0);
        ran_done(&r);
        run_fine(&r, deadly, store, NULL, NULL);
        BOOKS(&r, "d", 10, 10, 0, 0, 0);
        ran_done(&r);
    }
}

TEST(kill_9_is_nobodys_fault)
{
    begin();
    for (int i = 0; i < 3; i++) {
        int status = run_apart(SIGKILL);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
    ran r;
    LM_OWN(lm_store) store = open_store();
    run_fine(&r, deadly, store, NULL, NULL);
    BOOKS(&r, "d", 10, 10, 0, 0, 0);
    EQUAL_INT(r.report.status, 0);
    ran_done(&r);
}
