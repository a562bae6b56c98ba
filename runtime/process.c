/* A child program belongs to one thread at a time, with an event loop of its own: while a batch is under way the thread
 * runs that loop, which writes ahead, reads answers, watches the clock and hears of the program's death. Between
 * batches the child rests in the pool's list of idle ones. */
#include "runtime/process.h"

#include "runtime/codec.h"
#include "runtime/frames.h"
#include "runtime/log.h"
#include "runtime/step.h"
#include "runtime/text.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

enum {
    TICK_MS = 20,         /* how often deadlines are looked at */
    GRACE_MS = 2000,      /* between asking a program to end and making it */
    CHUNK = 1 << 16,      /* of reading */
    UNWRITTEN = 64 << 20, /* bytes that may wait to be written before the next record is encoded */
    LINE = 1500,          /* of standard error */
};

struct lm_process {
    char **command, *folder;
    size_t in_flight;
    double start_s;
    pthread_mutex_t lock;
    struct child *idle;
};

typedef enum { GOING, ANSWERED, DIED, GARBAGE, TIMEOUT, CANCELLED } outcome;

/* The records that one child works on. */
typedef struct batch {
    lm_step **steps;
    lm_status *statuses;
    lm_error *errs;
    size_t end;          /* one past the last that is to be sent */
    size_t next, answer; /* to be sent; to be answered */
    double timeout_s;    /* 0: none */
    double since_s;      /* when `answer` became the first on its way */
    outcome outcome;
    lm_error why; /* of GARBAGE */
} batch;

typedef struct child {
    struct child *next_idle;
    lm_process *pool;
    uv_loop_t loop;
    uv_process_t process;
    uv_pipe_t in, out, err;
    uv_timer_t timer;
    bool exited, out_ended, err_ended;
    bool in_broken; /* it no longer reads */
    bool talked;    /* it wrote what nobody asked for: it cannot be used again */
    bool answered;  /* at least once: it has started */
    int64_t exit_status;
    int signal;
    lm_frames frames;
    char line[LINE + 1], last_line[LINE + 1]; /* of standard error */
    size_t n_line;
    const char *node; /* for the log, while a batch is under way */
    batch *batch;
    size_t in_flight;
    char chunk[CHUNK], err_chunk[4096];
} child;

typedef struct {
    uv_write_t write;
    child *child;
    lm_arena arena;
    uint8_t head[4];
} message;

/* ---- the program's end ------------------------------------------------------------------------------------------- */

static void on_exit_of_child(uv_process_t *process, int64_t status, int signal)
{
    child *c = process->data;
    c->exited = true;
    c->exit_status = status;
    c->signal = signal;
}

static void ignore_timer(uv_timer_t *timer)
{
    (void)timer;
}

/* Runs the loop until the program is gone, or for so long. */
static void wait_for_exit(child *c, unsigned ms)
{
    double until = lm_now_s() + ms * 1e-3;
    uv_timer_start(&c->timer, ignore_timer, TICK_MS, TICK_MS);
    while (!c->exited && lm_now_s() < until) uv_run(&c->loop, UV_RUN_ONCE);
    uv_timer_stop(&c->timer);
}

static void signal_group(const child *c, int signal)
{
    /* The program leads a group of its own (UV_PROCESS_DETACHED), with what it started. */
    if (kill(-c->process.pid, signal)) kill(c->process.pid, signal);
}

static void stop_child(child *c, bool gently)
{
    c->batch = NULL;
    if (!uv_is_closing((uv_handle_t *)&c->in)) uv_close((uv_handle_t *)&c->in, NULL);
    if (gently) wait_for_exit(c, GRACE_MS);
    if (!c->exited) {
        signal_group(c, SIGTERM);
        wait_for_exit(c, GRACE_MS);
    }
    while (!c->exited) {
        signal_group(c, SIGKILL);
        wait_for_exit(c, GRACE_MS);
    }
    if (c->process.pid > 0) kill(-c->process.pid, SIGKILL); /* what it started and left behind */
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

static void child_free(child *c, bool gently)
{
    stop_child(c, gently);
    uv_walk(&c->loop, close_handle, NULL);
    while (uv_loop_close(&c->loop) == UV_EBUSY) uv_run(&c->loop, UV_RUN_DEFAULT);
    lm_frames_done(&c->frames);
    lm_free(c);
}

/* ---- standard error ------------------------------------------------------------------------------------------------- */

static void end_line(child *c)
{
    if (!c->n_line) return;
    c->line[c->n_line] = 0;
    memcpy(c->last_line, c->line, c->n_line + 1);
    c->n_line = 0;
    lm_log(LM_LOG_INFO, c->node ? c->node : "process", "%s", c->last_line);
}

static void give_err_chunk(uv_handle_t *handle, size_t wanted, uv_buf_t *ret)
{
    (void)wanted;
    child *c = handle->data;
    *ret = uv_buf_init(c->err_chunk, sizeof c->err_chunk);
}

static void read_err(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    child *c = stream->data;
    for (ssize_t i = 0; i < n; i++) {
        char byte = buffer->base[i];
        if (byte == '\n' || c->n_line == LINE) end_line(c);
        if (byte != '\n' && byte != '\r') c->line[c->n_line++] = (unsigned char)byte < ' ' && byte != '\t' ? ' ' : byte;
    }
    if (n >= 0) return;
    end_line(c);
    c->err_ended = true;
    uv_read_stop(stream);
}

/* ---- answers -------------------------------------------------------------------------------------------------------- */

static lm_status answered_error(const lm_record *record, const lm_attr *error, lm_error *err)
{
    char buffer[64];
    lm_status status = LM_EINPUT;
    lm_value kind = lm_record_value(record, "error_kind");
    if (kind.kind == LM_KIND_TEXT && (!lm_status_parse(kind.text, &status) || !status)) status = LM_EINPUT;
    const char *text = lm_value_text(error->value, buffer);
    return LM_FAIL(err, status, "%.1000s", *text ? text : "the program says that it failed, without a reason");
}

lm_status lm_process_answer(lm_step *step, const uint8_t *bytes, size_t size, lm_error *err)
{
    if (!size) {
        lm_step_skip(step);
        return LM_OK;
    }
    LM_OWN(lm_record) record = NULL;
    LM_TRY_IN(lm_record_decode((lm_bytes){bytes, size}, &record, err), err, "the program's answer");
    const lm_attr *error = lm_record_attr(record, "error");
    if (error) return answered_error(record, error, err);
    for (size_t i = 0; i < lm_record_tensor_count(record); i++) {
        const lm_named *named = lm_record_tensor_at(record, i);
        if (lm_tensor_is_absent(named->tensor))
            return LM_FAIL_HINT(err, LM_EINPUT, "Fill `tensor` of each NamedTensor; `digest` alone is for the store.",
                                "the program's answer names tensor \"%s\" without its data", named->name);
    }
    if (!*lm_record_id(record)) LM_TRY(lm_record_set_id(record, step->id ? step->id : "", err));
    return lm_step_base(step, NULL, record, err);
}

static void give_chunk(uv_handle_t *handle, size_t wanted, uv_buf_t *ret)
{
    (void)wanted;
    child *c = handle->data;
    *ret = uv_buf_init(c->chunk, sizeof c->chunk);
}

static void send_more(child *c);

static void stop_batch(batch *b, outcome why)
{
    if (b->outcome == GOING) b->outcome = why;
}

/* The tags of Record's fields. Text that was printed among the answers would otherwise pass as the length of a message that
 * never ends. */
static bool begins_record(uint8_t tag)
{
    return tag == 0x08 || tag == 0x12 || tag == 0x1a || tag == 0x22;
}

static void take_frames(child *c, const uint8_t *bytes, size_t n)
{
    batch *b = c->batch;
    while (b && b->outcome == GOING) {
        bool complete;
        lm_status status = lm_frames_feed(&c->frames, &bytes, &n, &complete, &b->why);
        if (!status && c->frames.have && !begins_record(c->frames.body[0]))
            status = LM_FAIL(&b->why, LM_EINPUT, "a message of %u bytes begins with byte 0x%02x, as no record does",
                             c->frames.size, c->frames.body[0]);
        if (!status && !complete) return;
        if (!status && b->answer == b->next)
            status = LM_FAIL(&b->why, LM_EINPUT, "it answers more often than it was asked");
        if (!status) {
            lm_error *err = &b->errs[b->answer];
            lm_status *ret = &b->statuses[b->answer];
            *ret = lm_process_answer(b->steps[b->answer], c->frames.body, c->frames.size, err);
            lm_frames_next(&c->frames);
            b->answer++;
            b->since_s = lm_now_s();
            c->answered = true;
            if (b->answer == b->end) stop_batch(b, ANSWERED);
            else send_more(c);
            continue;
        }
        stop_batch(b, GARBAGE);
    }
    if (n) c->talked = true;
}

static void read_out(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    child *c = stream->data;
    if (n > 0) {
        bool expected = c->batch && c->batch->outcome == GOING;
        if (expected) take_frames(c, (const uint8_t *)buffer->base, (size_t)n);
        else c->talked = true;
    } else if (n < 0) {
        c->out_ended = true;
        uv_read_stop(stream);
    }
}

/* ---- sending -------------------------------------------------------------------------------------------------------- */

static void on_written(uv_write_t *write, int status)
{
    message *m = write->data;
    child *c = m->child;
    lm_arena_done(&m->arena);
    lm_free(m);
    if (status) c->in_broken = true;
    else if (c->batch) send_more(c);
}

/* LM_OK also if the program no longer reads. */
static lm_status send_record(child *c, const lm_record *record, lm_error *err)
{
    message *m = lm_alloc(1, sizeof *m);
    if (!m) return LM_NOMEM(err);
    m->child = c;
    m->write.data = m;
    lm_arena_init(&m->arena);
    lm_bytes bytes;
    lm_status status = lm_record_encode(record, true, &m->arena, &bytes, err);
    if (!status) {
        for (unsigned i = 0; i < 4; i++) m->head[i] = (uint8_t)(bytes.size >> (8 * i));
        uv_buf_t parts[2] = {uv_buf_init((char *)m->head, 4),
                             uv_buf_init((char *)(uintptr_t)bytes.data, (unsigned)bytes.size)};
        if (!uv_write(&m->write, (uv_stream_t *)&c->in, parts, 2, on_written)) return LM_OK;
    }
    lm_arena_done(&m->arena);
    lm_free(m);
    return status;
}

static void send_more(child *c)
{
    batch *b = c->batch;
    while (b->outcome == GOING && b->next < b->end && b->next - b->answer < c->in_flight) {
        if (b->next > b->answer && uv_stream_get_write_queue_size((uv_stream_t *)&c->in) > UNWRITTEN) return;
        lm_step *step = b->steps[b->next];
        lm_error *err = &b->errs[b->next];
        lm_status status = send_record(c, lm_step_first(step), err);
        if (status) {
            /* Not sent, so there will be no answer: what is on its way must end before it can be passed over. */
            if (b->next > b->answer) return;
            b->statuses[b->next] = status;
            b->next++;
            b->answer++;
            if (b->answer == b->end) stop_batch(b, ANSWERED);
            continue;
        }
        if (b->next == b->answer) b->since_s = lm_now_s();
        b->next++;
    }
}

/* ---- starting ------------------------------------------------------------------------------------------------------- */

static void ignore_sigpipe(void)
{
    signal(SIGPIPE, SIG_IGN); /* a program that has gone is an error of the write, not our death */
}

static int start_program(child *c)
{
    lm_process *pool = c->pool;
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&c->in},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&c->out},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&c->err},
    };
    uv_process_options_t options = {.exit_cb = on_exit_of_child,
                                    .file = pool->command[0],
                                    .args = pool->command,
                                    .cwd = pool->folder,
                                    .flags = UV_PROCESS_DETACHED,
                                    .stdio = stdio,
                                    .stdio_count = 3};
    int failed = uv_spawn(&c->loop, &c->process, &options);
    if (failed) return failed;
    uv_read_start((uv_stream_t *)&c->out, give_chunk, read_out);
    uv_read_start((uv_stream_t *)&c->err, give_err_chunk, read_err);
    return 0;
}

static lm_status child_new(lm_process *pool, child **ret, lm_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, ignore_sigpipe);
    child *c = lm_alloc(1, sizeof *c);
    if (!c) return LM_NOMEM(err);
    c->pool = pool;
    c->in_flight = pool->in_flight;
    lm_frames_init(&c->frames);
    int failed = uv_loop_init(&c->loop);
    if (failed) {
        lm_free(c);
        return LM_FAIL(err, LM_EIO, "no event loop for a program: %s", uv_strerror(failed));
    }
    uv_pipe_init(&c->loop, &c->in, 0);
    uv_pipe_init(&c->loop, &c->out, 0);
    uv_pipe_init(&c->loop, &c->err, 0);
    uv_timer_init(&c->loop, &c->timer);
    c->in.data = c->out.data = c->err.data = c->timer.data = c->process.data = c;
    failed = start_program(c);
    if (failed) {
        c->exited = true;
        child_free(c, false);
        return LM_FAIL(err, LM_EIO, "cannot start the program \"%s\" in \"%s\": %s", pool->command[0], pool->folder,
                       uv_strerror(failed));
    }
    *ret = c;
    return LM_OK;
}

/* ---- a batch -------------------------------------------------------------------------------------------------------- */

static void on_tick(uv_timer_t *timer)
{
    child *c = timer->data;
    batch *b = c->batch;
    if (!b || b->outcome != GOING) return;
    const lm_step *step = b->steps[b->answer];
    if (step->cancelled && atomic_load_explicit(step->cancelled, memory_order_relaxed)) stop_batch(b, CANCELLED);
    double waited = lm_now_s() - b->since_s, allowed = b->timeout_s + (c->answered ? 0 : c->pool->start_s);
    if (b->timeout_s > 0 && waited > allowed) stop_batch(b, TIMEOUT);
    /* Its output is still open (something that it started holds it), but nothing more can come. */
    if ((c->exited || c->in_broken) && waited > GRACE_MS * 1e-3) stop_batch(b, DIED);
}

/* Sends steps[b->answer ... b->end) and waits for their answers, or for what comes instead. */
static void run_batch(child *c, batch *b)
{
    c->batch = b;
    c->node = b->steps[b->answer]->node;
    b->outcome = GOING;
    b->next = b->answer;
    b->since_s = lm_now_s();
    uv_timer_start(&c->timer, on_tick, TICK_MS, TICK_MS);
    send_more(c);
    while (b->outcome == GOING) {
        uv_run(&c->loop, UV_RUN_ONCE);
        /* It has exited and everything that it wrote has been read; or it has closed its output and goes on. */
        if (c->out_ended) stop_batch(b, DIED);
    }
    uv_timer_stop(&c->timer);
    c->batch = NULL;
}

static lm_status died(child *c, lm_error *err)
{
    wait_for_exit(c, 200); /* its status and its last words */
    for (int i = 0; i < 50 && !c->err_ended; i++)
        if (!uv_run(&c->loop, UV_RUN_NOWAIT)) break;
    end_line(c);
    char words[LINE + 32] = "";
    if (*c->last_line) snprintf(words, sizeof words, "; its last words: %.600s", c->last_line);
    const char *program = c->pool->command[0];
    static const char hint[] =
        "Give it this record alone (`lensmill dead` names it), and look at what it writes to stderr.";
    if (!c->exited)
        return LM_FAIL_HINT(err, LM_ECRASH, hint, "the program \"%s\" closed its output before it answered%s", program,
                            words);
    if (c->signal)
        return LM_FAIL_HINT(err, LM_ECRASH, hint, "the program \"%s\" died of this record: signal %d (%s)%s", program,
                            c->signal, strsignal(c->signal), words);
    return LM_FAIL_HINT(err, LM_ECRASH, hint, "the program \"%s\" exited with status %lld before it answered%s",
                        program, (long long)c->exit_status, words);
}

static lm_status talked_garbage(const child *c, const lm_error *why, lm_error *err)
{
    if (why->status == LM_EMEMORY) return LM_NOMEM(err);
    char text[400];
    snprintf(text, sizeof text, "%.399s", why->text);
    return LM_FAIL_HINT(
        err, LM_ECRASH,
        "Does the program print to its standard output? That is for answers alone; messages go to stderr.",
        "what the program \"%s\" writes is no answer: %s", c->pool->command[0], text);
}

static child *take_idle(lm_process *pool)
{
    for (;;) {
        pthread_mutex_lock(&pool->lock);
        child *c = pool->idle;
        if (c) pool->idle = c->next_idle;
        pthread_mutex_unlock(&pool->lock);
        if (!c) return NULL;
        uv_run(&c->loop, UV_RUN_NOWAIT); /* what has happened to it meanwhile */
        if (!c->exited && !c->out_ended && !c->talked && lm_frames_at_rest(&c->frames)) return c;
        child_free(c, false);
    }
}

static void give_back(lm_process *pool, child *c)
{
    if (c->exited || c->out_ended || c->talked || !lm_frames_at_rest(&c->frames)) {
        child_free(c, false);
        return;
    }
    c->node = NULL;
    pthread_mutex_lock(&pool->lock);
    c->next_idle = pool->idle;
    pool->idle = c;
    pthread_mutex_unlock(&pool->lock);
}

/* One child's share: until all are answered or it has to go. alone: only the first record, and its second chance. Returns whether
 * the first record should be tried again alone. */
static bool run_share(lm_process *pool, batch *b, size_t n, bool alone)
{
    lm_error *err = &b->errs[b->answer];
    child *c = take_idle(pool);
    lm_status status = c ? LM_OK : child_new(pool, &c, err);
    if (status) {
        b->statuses[b->answer++] = status;
        return false;
    }
    b->end = alone ? b->answer + 1 : n;
    run_batch(c, b);
    err = &b->errs[b->answer < n ? b->answer : n - 1];
    bool again = false;
    switch (b->outcome) {
    case GOING:
    case ANSWERED: give_back(pool, c); return false;
    case DIED:
        again = !alone;
        if (alone) b->statuses[b->answer] = died(c, err);
        break;
    case GARBAGE:
        again = !alone && b->why.status != LM_EMEMORY;
        if (!again) b->statuses[b->answer] = talked_garbage(c, &b->why, err);
        break;
    case TIMEOUT:
        b->statuses[b->answer] =
            LM_FAIL_HINT(err, LM_ETIMEOUT, "Raise the node's `timeout:`.",
                         "the program \"%s\" took longer than %.3g s and was ended", pool->command[0], b->timeout_s);
        break;
    case CANCELLED:
        for (; b->answer < n; b->answer++)
            b->statuses[b->answer] = LM_FAIL(&b->errs[b->answer], LM_ECANCEL, "the run is being stopped");
        break;
    }
    if (!again && b->answer < n) b->answer++;
    child_free(c, false);
    return again;
}

void lm_process_batch(lm_process *pool, lm_step **steps, lm_status *statuses, lm_error *errs, size_t n)
{
    if (!n) return;
    batch b = {.steps = steps, .statuses = statuses, .errs = errs};
    double now = lm_now_s();
    for (size_t i = 0; i < n; i++) {
        /* A node's timeout is for a record; the clock of each starts when it is the first on its way. */
        if (steps[i]->deadline_s > 0 && steps[i]->deadline_s - now > b.timeout_s)
            b.timeout_s = steps[i]->deadline_s - now;
        statuses[i] = LM_OK;
    }
    if (steps[0]->deadline_s > 0 && b.timeout_s < 1e-3) b.timeout_s = 1e-3;
    bool alone = false;
    while (b.answer < n) alone = run_share(pool, &b, n, alone);
}

/* ---- the pool ------------------------------------------------------------------------------------------------------- */

static bool can_run(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

bool lm_process_find(const char *word, const char *folder, char *ret, size_t size)
{
    if (strchr(word, '/')) {
        int n = *word == '/' ? snprintf(ret, size, "%s", word) : snprintf(ret, size, "%s/%s", folder, word);
        return n > 0 && (size_t)n < size && can_run(ret);
    }
    const char *path = getenv("PATH");
    if (!path) path = "/usr/local/bin:/usr/bin:/bin";
    while (*word && *path) {
        size_t n = strcspn(path, ":");
        int length = n ? snprintf(ret, size, "%.*s/%s", (int)n, path, word) : snprintf(ret, size, "./%s", word);
        if (length > 0 && (size_t)length < size && can_run(ret)) return true;
        path += n + (path[n] == ':');
    }
    return false;
}

lm_status lm_process_new(const lm_process_options *options, lm_process **ret, lm_error *err)
{
    char found[PATH_MAX];
    const char *word = options->command[0];
    if (!word || !*word) return LM_FAIL(err, LM_EGRAPH, "the command is empty");
    if (!lm_process_find(word, options->folder, found, sizeof found))
        return LM_FAIL_HINT(
            err, LM_EGRAPH, "A name with a slash is relative to the graph file; one without is searched in PATH.",
            "cannot run \"%s\": %s", word,
            strchr(word, '/') && access(found, F_OK) == 0 ? "the file is not executable" : "there is no such program");
    LM_OWN(lm_process) p = lm_alloc(1, sizeof *p);
    if (!p) return LM_NOMEM(err);
    pthread_mutex_init(&p->lock, NULL);
    p->in_flight = options->in_flight ? options->in_flight : 1;
    p->start_s = options->start_s;
    size_t n = 0;
    while (options->command[n]) n++;
    p->folder = lm_strdup(options->folder);
    p->command = lm_alloc(n + 1, sizeof *p->command);
    if (!p->folder || !p->command) return LM_NOMEM(err);
    for (size_t i = 0; i < n; i++)
        if (!(p->command[i] = lm_strdup(options->command[i]))) return LM_NOMEM(err);
    *ret = lm_take(p);
    return LM_OK;
}

lm_process *lm_process_free(lm_process *p)
{
    if (!p) return NULL;
    for (child *c = p->idle, *next; c; c = next) {
        next = c->next_idle;
        /* Let all of them read their end before waiting for the first. */
        if (!uv_is_closing((uv_handle_t *)&c->in)) uv_close((uv_handle_t *)&c->in, NULL);
        uv_run(&c->loop, UV_RUN_NOWAIT);
    }
    for (child *c = p->idle, *next; c; c = next) {
        next = c->next_idle;
        child_free(c, true);
    }
    for (size_t i = 0; p->command && p->command[i]; i++) lm_free(p->command[i]);
    lm_free(p->command);
    lm_free(p->folder);
    pthread_mutex_destroy(&p->lock);
    return lm_free(p);
}
