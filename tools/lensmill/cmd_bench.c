/* lensmill bench: what the engine costs on this machine. Each case prints lines of key=value; comparisons with other
 * programs are in tools/compare. */
#include "runtime/registry.h"
#include "runtime/step.h"
#include "runtime/text.h"
#include "tools/lensmill/bench_ops.h"
#include "tools/lensmill/running.h"

#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int64_t records, repeat = 3, workers = 1;
static const char *folder;

static const lm_option options[] = {
    {"records", LM_OPTION_INT, &records, .value = "N", .least = 1, .most = 1000000000,
     .doc = "records; default: as the case says"},
    {"repeat", LM_OPTION_INT, &repeat, .value = "N", .least = 1, .most = 100,
     .doc = "runs, of which the best counts; default 3"},
    {"workers", LM_OPTION_INT, &workers, .value = "N", .least = 1, .most = 64, .doc = "worker threads; default 1"},
    {"folder", LM_OPTION_TEXT, &folder, .value = "DIR", .doc = "where stores are made; default: the working folder"},
    {0}};

static const lm_command command = {
    .name = "bench",
    .usage = "[CASE...] [options]",
    .summary = "Measure this machine",
    .doc = "Cases: chain (four nodes that each make a new small record, nothing kept), stored (the same with every "
           "step stored, "
           "until it is on disk), large (1 MB tensors through four nodes, stored), replay (a finished graph of 10,000 "
           "records "
           "and 5 nodes again), memory (64 KB tensors through five nodes: peak of anonymous memory).",
    .options = options,
    .least = 0,
    .most = 16,
};

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static void remove_folder(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* Memory of this process that no file stands behind, in bytes. */
static double anonymous_bytes(void)
{
    FILE *f = fopen("/proc/self/status", "re");
    char line[256];
    double kilobytes = 0;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "RssAnon: %lf", &kilobytes) == 1) break;
    if (f) fclose(f);
    return 1024 * kilobytes;
}

typedef struct bench_case {
    const char *name, *graph;
    int64_t records;
    bool stored;
    double bytes; /* of a record's tensor */
    unsigned nodes;
    int (*run)(const struct bench_case *c, const char *place);
} bench_case;

static int run_once(const bench_case *c, const char *place, lm_store *store, lm_run_report *report)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/graph.yaml", place);
    FILE *f = fopen(path, "we");
    if (!f) {
        perror(path);
        return LM_EXIT_FAILED;
    }
    fputs(c->graph, f);
    fclose(f);
    char number[32];
    snprintf(number, sizeof number, "%lld", (long long)(records ? records : c->records));
    lm_settings settings = {.at = {{"records", number}}, .n = 1};
    int status = 0;
    LM_OWN(lm_graph) graph = lm_load_graph(path, &settings, &status);
    if (!graph) return status;
    lm_error err = {0};
    lm_run_options run = {.store = store, .workers = (unsigned)workers};
    if (lm_run_graph(graph, &run, report, &err)) {
        lm_print_error("lensmill bench", &err);
        return LM_EXIT_FAILED;
    }
    return 0;
}

static lm_store *open_store(const char *place, bool empty)
{
    char path[4096];
    lm_error err = {0};
    lm_store *store = NULL;
    snprintf(path, sizeof path, "%s/store", place);
    if (empty) remove_folder(path);
    if (lm_store_open(path, LM_STORE_WRITE, "bench", &store, &err)) lm_print_error("lensmill bench", &err);
    return store;
}

/* The best of several runs, each into a store of its own where results are stored; until the last fsync. */
static int run_rate(const bench_case *c, const char *place)
{
    double best = 1e300;
    int64_t n = records ? records : c->records;
    for (int64_t i = 0; i < repeat; i++) {
        LM_OWN(lm_store) store = NULL;
        if (c->stored && !(store = open_store(place, true))) return LM_EXIT_FAILED;
        lm_run_report report = {0};
        double began = lm_now_s();
        int status = run_once(c, place, store, &report);
        double took = lm_now_s() - began;
        lm_run_report_done(&report);
        if (status) return status;
        if (took < best) best = took;
    }
    printf("case=%s records=%lld nodes=%u workers=%lld seconds=%.4f records_per_s=%.0f steps_per_s=%.0f", c->name,
           (long long)n, c->nodes, (long long)workers, best, (double)n / best, c->nodes * (double)n / best);
    if (c->bytes > 0) printf(" committed_GB_per_s=%.3f", (c->nodes + 1) * c->bytes * (double)n / best * 1e-9);
    putchar('\n');
    return 0;
}

static int run_replay(const bench_case *c, const char *place)
{
    double best = 1e300;
    int64_t n = records ? records : c->records;
    for (int64_t i = 0; i <= repeat; i++) {
        LM_OWN(lm_store) store = open_store(place, i == 0);
        if (!store) return LM_EXIT_FAILED;
        lm_run_report report = {0};
        double began = lm_now_s();
        int status = run_once(c, place, store, &report);
        double took = lm_now_s() - began;
        lm_run_report_done(&report);
        if (status) return status;
        if (i && took < best) best = took;
    }
    printf("case=%s records=%lld nodes=%u workers=%lld seconds=%.4f\n", c->name, (long long)n, c->nodes,
           (long long)workers, best);
    return 0;
}

/* Watches the memory of this process from a thread of its own. */
typedef struct watch {
    pthread_t thread;
    atomic_bool stop;
    double peak, early, late; /* early, late: mean of the first and of the second half of the samples */
    double *samples;
    size_t n, cap;
} watch;

static void *watch_memory(void *arg)
{
    watch *w = arg;
    while (!atomic_load(&w->stop)) {
        if (!lm_grow(&w->samples, w->n, &w->cap, sizeof *w->samples)) break;
        w->samples[w->n++] = anonymous_bytes();
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    for (size_t i = 0; i < w->n; i++) {
        if (w->samples[i] > w->peak) w->peak = w->samples[i];
        *(i < w->n / 2 ? &w->early : &w->late) += w->samples[i];
    }
    if (w->n > 1) {
        w->early /= (double)(w->n / 2);
        w->late /= (double)(w->n - w->n / 2);
    }
    lm_free(w->samples);
    return NULL;
}

static int run_memory(const bench_case *c, const char *place)
{
    int64_t n = records ? records : c->records;
    LM_OWN(lm_store) store = c->stored ? open_store(place, true) : NULL;
    lm_run_report report = {0};
    watch w = {.n = 0};
    if (pthread_create(&w.thread, NULL, watch_memory, &w)) return LM_EXIT_FAILED;
    double began = lm_now_s();
    int status = run_once(c, place, store, &report);
    double took = lm_now_s() - began;
    atomic_store(&w.stop, true);
    pthread_join(w.thread, NULL);
    printf("case=%s records=%lld nodes=%u workers=%lld seconds=%.2f GB=%.2f anonymous_MB_peak=%.0f first_half=%.0f "
           "second_half=%.0f "
           "queue_MB_peak=%.0f\n",
           c->name, (long long)n, c->nodes, (long long)workers, took, c->bytes * (double)n * 1e-9, w.peak * 1e-6,
           w.early * 1e-6, w.late * 1e-6, (double)report.peak_queue_bytes * 1e-6);
    lm_run_report_done(&report);
    return status;
}

#define HEAD                                                                                                           \
    "lensmill: 1\nname: bench\nparams: {records: {type: int, default: 1}}\nnodes:\n  start: {op: once, cache: "        \
    "none}\n"
#define CHAIN(cache)                                                                                                   \
    HEAD "  make: {op: bench.make, in: start, with: {records: '${records}'}, cache: none}\n"                           \
         "  a: {op: bench.add, in: make, with: {by: 1}, cache: " cache "}\n"                                           \
         "  b: {op: bench.add, in: a, with: {by: 2}, cache: " cache "}\n"                                              \
         "  c: {op: bench.add, in: b, with: {by: 3}, cache: " cache "}\n"                                              \
         "  d: {op: bench.add, in: c, with: {by: 4}, cache: " cache "}\n"
#define TENSORS(bytes)                                                                                                 \
    HEAD "  make: {op: bench.make, in: start, with: {records: '${records}', bytes: " bytes "}}\n"                      \
         "  a: {op: bench.scale, in: make}\n"                                                                          \
         "  b: {op: bench.scale, in: a}\n"                                                                             \
         "  c: {op: bench.scale, in: b}\n"                                                                             \
         "  d: {op: bench.scale, in: c}\n"
#define STREAMED(bytes)                                                                                                \
    HEAD "  make: {op: bench.make, in: start, with: {records: '${records}', bytes: " bytes "}, cache: none}\n"         \
         "  a: {op: bench.scale, in: make, cache: none}\n"                                                             \
         "  b: {op: bench.add, in: a}\n"                                                                               \
         "  c: {op: bench.scale, in: b, cache: none}\n"                                                                \
         "  d: {op: bench.add, in: c, cache: none}\n"

static const bench_case cases[] = {
    {"chain", CHAIN("none"), 2000000, false, 0, 4, run_rate},
    {"stored", CHAIN("keep"), 100000, true, 0, 4, run_rate},
    {"large", TENSORS("1048576"), 400, true, 1048576, 4, run_rate},
    {"replay", CHAIN("keep"), 10000, true, 0, 5, run_replay},
    {"memory", STREAMED("65536"), 170000, true, 65536, 5, run_memory},
};
enum { CASES = sizeof cases / sizeof *cases };

int lm_cmd_bench(int argc, char **argv)
{
    lm_arguments wanted;
    int status = 0;
    if (!lm_options_parse(&command, argc, argv, &wanted, &status)) return status;
    lm_error err = {0};
    size_t n = 0;
    while (lm_bench_operators[n]) n++;
    if (lm_registry_add(lm_bench_operators, n, NULL, &err)) {
        lm_print_error("lensmill bench", &err);
        return LM_EXIT_FAILED;
    }
    char place[4096];
    snprintf(place, sizeof place, "%s/lensmill-bench-XXXXXX", folder ? folder : ".");
    if (!mkdtemp(place)) {
        perror(place);
        return LM_EXIT_FAILED;
    }
    for (size_t k = 0; k < wanted.n && !status; k++) {
        lm_nearest nearest;
        lm_nearest_init(&nearest, wanted.at[k]);
        bool known = false;
        for (size_t i = 0; i < CASES; i++) {
            known |= strcmp(cases[i].name, wanted.at[k]) == 0;
            lm_nearest_offer(&nearest, cases[i].name);
        }
        if (!known) status = lm_usage_error("bench", nearest.best, "no case \"%s\"", wanted.at[k]);
    }
    for (size_t i = 0; i < CASES && !status; i++) {
        bool chosen = !wanted.n;
        for (size_t k = 0; k < wanted.n; k++) chosen |= strcmp(cases[i].name, wanted.at[k]) == 0;
        if (chosen) status = cases[i].run(&cases[i], place);
        fflush(stdout);
    }
    remove_folder(place);
    return status;
}
