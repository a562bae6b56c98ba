/* The engine under test: running a graph given as text, and looking at what it did.
 *
 *   run_graph      text -> report, the tape of a tap, the log; fails the test where the books do not balance
 *   called("n")    how often an operator of operators.h ran for node "n" since the last forget_calls()
 */
#ifndef LM_TESTS_ENGINE_FIXTURE_H
#define LM_TESTS_ENGINE_FIXTURE_H

#include "operators/builtin.h"
#include "runtime/log.h"
#include "runtime/registry.h"
#include "runtime/run.h"
#include "runtime/text.h"
#include "tests/test.h"
#include "tests/unit/engine/operators.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct ran {
    lm_status status;
    lm_error err;
    lm_run_report report;
    lm_graph *graph;
    lm_text tape; /* a line a record: order, id, n, ... */
} ran;

static const char *fixture_graph_text = "";
static char fixture_log[1 << 18]; /* no allocation of ours: tests count those */
static size_t fixture_logged;
static char fixture_place[512];

static inline void fixture_take_line(void *arg, lm_level level, const char *line)
{
    (void)arg, (void)level;
    size_t n = strlen(line);
    if (fixture_logged + n + 2 > sizeof fixture_log) return;
    memcpy(fixture_log + fixture_logged, line, n);
    fixture_logged += n;
    memcpy(fixture_log + fixture_logged++, "\n", 2);
}

/* A graph that hangs is shown, and ends the program. */
static inline void fixture_hung(int number)
{
    static const char words[] = "\nthe engine hangs in this graph:\n";
    (void)number;
    if (write(2, words, sizeof words - 1) < 0 || write(2, fixture_graph_text, strlen(fixture_graph_text)) < 0) _exit(3);
    _exit(2);
}

/* At the start of each test: a fresh folder, the operators, a watchdog. */
static inline const char *fixture_begin(void)
{
    static bool ready;
    if (!ready) {
        lm_error err = {0};
        lm_registry_builtin(lm_builtin_operators);
        OK(lm_registry_add(test_operators, sizeof test_operators / sizeof *test_operators, NULL, &err), &err);
        lm_log_to(fixture_take_line, NULL);
        signal(SIGALRM, fixture_hung);
        ready = true;
    }
    alarm(100);
    snprintf(fixture_place, sizeof fixture_place, "%s", test_folder());
    forget_calls();
    test_jitter_us = 0;
    test_trigger = 0;
    return fixture_place;
}

static inline const char *in_folder(const char *name)
{
    static char paths[4][1024];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", fixture_place, name);
    return path;
}

static inline void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    if (!f || fputs(text, f) < 0 || fclose(f)) FAIL("cannot write %s", path);
}

/* The whole of a small file; NULL: it is not there. Static storage. */
static inline const char *read_text(const char *path)
{
    static char text[1 << 16];
    FILE *f = fopen(path, "re");
    if (!f) return NULL;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    return text;
}

static inline lm_store *open_store(void)
{
    lm_store *store = NULL;
    lm_error err = {0};
    OK(lm_store_open(in_folder("store"), LM_STORE_WRITE, "test", &store, &err), &err);
    return store;
}

static inline void fixture_tap(void *arg, const lm_record *record, const char *order)
{
    lm_text *tape = arg;
    lm_text_format(tape, "%s %s", order, lm_record_id(record));
    for (size_t i = 0; i < lm_record_attr_count(record); i++) {
        const lm_attr *a = lm_record_attr_at(record, i);
        char buffer[64];
        lm_text_format(tape, " %s=%s", a->name, lm_value_text(a->value, buffer));
    }
    lm_text_add(tape, "\n");
}

static inline void ran_done(ran *r)
{
    lm_run_report_done(&r->report);
    lm_graph_free(r->graph);
    lm_text_done(&r->tape);
    *r = (ran){0};
}

static inline const lm_node_report *node_of(const ran *r, const char *name)
{
    const lm_node *node = lm_graph_node(r->graph, name);
    if (!node) FAIL("no node \"%s\"", name);
    return &r->report.nodes[node->index];
}

static inline void check_the_books(const ran *r)
{
    for (size_t i = 0; i < r->report.n_nodes && r->report.nodes && !r->report.status; i++) {
        const lm_node_report *n = &r->report.nodes[i];
        if (n->node && n->in != n->out + n->empty + n->dead + n->blocked) FAIL("books of \"%s\"", n->node->name);
    }
    if (r->status == LM_EBUG) FAIL("%s", r->err.text);
}

/* Runs a graph. options may be NULL; `tap`: a node or node.port, or NULL. */
static inline void run_graph(ran *r, const char *text, lm_store *store, const lm_run_options *options, const char *tap)
{
    *r = (ran){0};
    lm_text_init(&r->tape);
    fixture_graph_text = text;
    fixture_log[fixture_logged = 0] = 0;
    char path[600], *errors = NULL;
    snprintf(path, sizeof path, "%s/graph.yaml", fixture_place);
    write_text(path, text);
    if (lm_graph_load(path, NULL, 0, &r->graph, &errors)) FAIL("%s", errors ? errors : "the graph does not load");
    lm_run_options o = options ? *options : (lm_run_options){0};
    if (!o.workers) o.workers = 2;
    o.store = store;
    o.tap = tap;
    o.tap_fn = fixture_tap;
    o.tap_arg = &r->tape;
    r->status = lm_run_graph(r->graph, &o, &r->report, &r->err);
    check_the_books(r);
}

static inline void run_fine(ran *r, const char *text, lm_store *store, const lm_run_options *options, const char *tap)
{
    run_graph(r, text, store, options, tap);
    if (r->status) FAIL("%s", r->err.text);
}

static inline const char *tape_of(const ran *r)
{
    return r->tape.length ? lm_text_peek(&r->tape) : "";
}

/* Is this line, or this part of one, in the log of the last run? */
static inline void in_log(const char *part)
{
    CONTAINS(fixture_log, part);
}
static inline void not_in_log(const char *part)
{
    if (strstr(fixture_log, part)) FAIL("the log holds \"%s\":\n%s", part, fixture_log);
}

/* in, out, empty, dead, blocked of a node. */
#define BOOKS(r, name, ...) check_node(__FILE__, __LINE__, (r), (name), (const uint64_t[5]){__VA_ARGS__})
static inline void check_node(const char *file, int line, const ran *r, const char *name, const uint64_t want[5])
{
    const lm_node_report *n = node_of(r, name);
    const uint64_t is[5] = {n->in, n->out, n->empty, n->dead, n->blocked};
    for (int i = 0; i < 5; i++)
        if (is[i] != want[i])
            test_fail(file, line,
                      "node \"%s\": %llu in, %llu out, %llu empty, %llu dead, %llu blocked; expected %llu, %llu, %llu, "
                      "%llu, %llu (%s)",
                      name, (unsigned long long)is[0], (unsigned long long)is[1], (unsigned long long)is[2],
                      (unsigned long long)is[3], (unsigned long long)is[4], (unsigned long long)want[0],
                      (unsigned long long)want[1], (unsigned long long)want[2], (unsigned long long)want[3],
                      (unsigned long long)want[4], r->report.first_dead ? r->report.first_dead : "");
}

#endif
