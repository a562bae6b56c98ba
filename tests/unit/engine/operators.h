/* Small operators of every shape for the tests of the engine. Each counts its calls by node, may dawdle for a random
 * moment (test_jitter_us), and computes with small whole numbers, so that a test can say what must come out.
 *
 *   t.list    source      prefix0 .. prefix{n-1}; attribute n = number; a tensor `data` of `bytes`
 *   t.add     map         n += by
 *   t.batch   map         the same, in micro-batches
 *   t.both    map         ports a (n + 1) and b (n + 2; not for n = 0 mod 3)
 *   t.keep    filter      n mod `mod` = `rest`, unchanged
 *   t.split   map         ports yes, no: n mod `mod` = 0, unchanged
 *   t.fail    map         fails where n mod `mod` = `rest`, with a status; only for the first `times` attempts
 *   t.gen     generator   `draws` children id/k, n = 10 n + k; fails at k = `fail` where n is odd
 *   t.grow    generator   n mod `mod` children, a number that only the operator knows
 *   t.join    map         streams left, right, third; model (broadcast), table (lookup): n = sum with weights
 *   t.fold    gather      ports in, b, c, ...: n = sum, count, missing, text = members in order
 *   t.noise   map         random x; t.draws: generator of random tensors
 *   t.scale   map         each number of `data` plus one
 *   t.write   sink        a file with id and n
 */
#ifndef LM_TESTS_ENGINE_OPERATORS_H
#define LM_TESTS_ENGINE_OPERATORS_H

#include "runtime/step.h"
#include "runtime/text.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned test_jitter_us;
static int test_trigger; /* what a test switches on in t.fail and in operators of its own */

/* ---- calls by node ---- */

static pthread_mutex_t call_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    char node[48];
    unsigned n;
} call_counts[64];
static size_t n_call_counts;

static inline unsigned count_call(const char *node, unsigned by)
{
    pthread_mutex_lock(&call_lock);
    size_t i = 0;
    while (i < n_call_counts && strcmp(call_counts[i].node, node) != 0) i++;
    unsigned n = 0;
    if (i < sizeof call_counts / sizeof *call_counts) {
        if (i == n_call_counts) snprintf(call_counts[n_call_counts++].node, sizeof call_counts[0].node, "%s", node);
        n = call_counts[i].n += by;
    }
    pthread_mutex_unlock(&call_lock);
    return n;
}

static inline unsigned called(const char *node)
{
    return count_call(node, 0);
}

static inline void forget_calls(void)
{
    memset(call_counts, 0, sizeof call_counts);
    n_call_counts = 0;
}

static inline void at_work(const lm_step *step)
{
    static __thread unsigned seed;
    count_call(step->node, 1);
    if (!seed) seed = (unsigned)(uintptr_t)&seed ^ 7u;
    if (test_jitter_us && rand_r(&seed) % 4 == 0) usleep((unsigned)rand_r(&seed) % test_jitter_us);
}

static inline int64_t n_of(const lm_record *record)
{
    return record ? lm_record_value(record, "n").integer : 0;
}

static inline int64_t in_range(int64_t n)
{
    return ((n % 1000003) + 1000003) % 1000003;
}

/* ---- t.list ---- */

typedef struct {
    int64_t n, from, bytes, fail;
    const char *prefix;
} t_list;

static const lm_param t_list_params[] = {
    LM_INT(t_list, n, 3, .no_key = true, .doc = "how many"),
    LM_INT(t_list, from, 0, .no_key = true, .doc = "number of the first"),
    LM_INT(t_list, bytes, 0, .doc = "of the tensor data; 0: none"),
    LM_INT(t_list, fail, -1, .no_key = true, .doc = "this item cannot become a record; -1: none"),
    LM_TEXT(t_list, prefix, "r", .doc = "of ids"),
    {0}};

static lm_status t_list_list(void *self, lm_items *items, lm_error *err)
{
    const t_list *s = self;
    for (int64_t i = s->from; i < s->from + s->n; i++) {
        char id[64], spec[24];
        snprintf(id, sizeof id, "%s%lld", s->prefix, (long long)i);
        snprintf(spec, sizeof spec, "%lld", (long long)i);
        if (i == s->fail) {
            lm_error why = {0};
            LM_FAIL(&why, LM_EINPUT, "item %s is broken", id);
            LM_TRY(lm_items_fail(items, id, &why, err));
        } else {
            LM_TRY(lm_items_add(items, id, spec, NULL, 0, err));
        }
    }
    return LM_OK;
}

static lm_status t_list_step(const void *self, lm_step *step, lm_error *err)
{
    const t_list *s = self;
    at_work(step);
    int64_t n = atoll(lm_step_item(step));
    LM_TRY(lm_step_set(step, NULL, "n", lm_int(n), NULL, err));
    if (!s->bytes) return LM_OK;
    size_t shape[1] = {(size_t)s->bytes / sizeof(float)};
    lm_tensor *data;
    LM_TRY(lm_step_out_as(step, NULL, "data", LM_F32, 1, shape, &data, err));
    for (size_t i = 0; i < shape[0]; i++) ((float *)data->data)[i] = (float)(1000 * n + (int64_t)i);
    return LM_OK;
}

static const lm_operator t_list_op = {.struct_size = sizeof(lm_operator),
                                      .name = "t.list",
                                      .version = 1,
                                      .summary = "List records",
                                      .shape = LM_SOURCE,
                                      .size = sizeof(t_list),
                                      .params = t_list_params,
                                      .list = t_list_list,
                                      .step = t_list_step};

/* ---- maps ---- */

typedef struct {
    int64_t by;
} t_add;
static const lm_param t_add_params[] = {LM_INT(t_add, by, 1, .doc = "what is added to n"), {0}};

static lm_status t_add_step(const void *self, lm_step *step, lm_error *err)
{
    const t_add *a = self;
    at_work(step);
    return lm_step_set(step, NULL, "n", lm_int(in_range(n_of(lm_step_record(step, "in")) + a->by)), NULL, err);
}

static const lm_operator t_add_op = {.struct_size = sizeof(lm_operator),
                                     .name = "t.add",
                                     .version = 1,
                                     .summary = "Add to n",
                                     .flags = LM_HEADER,
                                     .size = sizeof(t_add),
                                     .params = t_add_params,
                                     .step = t_add_step};

/* Fails for the members of a batch with n mod 7 = 3, so that good and bad lie side by side. */
static void t_batch_step(const void *self, lm_step **steps, lm_status *statuses, lm_error *errs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (n_of(lm_step_record(steps[i], "in")) % 7 == 3) {
            at_work(steps[i]);
            statuses[i] = LM_FAIL(&errs[i], LM_EINPUT, "bad in a batch");
        } else {
            statuses[i] = t_add_step(self, steps[i], &errs[i]);
        }
    }
}

static const lm_operator t_batch_op = {.struct_size = sizeof(lm_operator),
                                       .name = "t.batch",
                                       .version = 1,
                                       .summary = "Add to n, many at once",
                                       .flags = LM_BATCH,
                                       .size = sizeof(t_add),
                                       .params = t_add_params,
                                       .step_batch = t_batch_step,
                                       .batch = 4};

static const lm_port t_both_ports[] = {{"in", LM_PORT_STREAM, "records", false},
                                       {"a", LM_PORT_OUT, "always", false},
                                       {"b", LM_PORT_OUT, "sometimes", false},
                                       {0}};

static lm_status t_both_step(const void *self, lm_step *step, lm_error *err)
{
    (void)self;
    at_work(step);
    int64_t n = n_of(lm_step_record(step, "in"));
    LM_TRY(lm_step_set(step, "a", "n", lm_int(in_range(n + 1)), NULL, err));
    return n % 3 ? lm_step_set(step, "b", "n", lm_int(in_range(n + 2)), NULL, err) : LM_OK;
}

static const lm_operator t_both_op = {.struct_size = sizeof(lm_operator),
                                      .name = "t.both",
                                      .version = 1,
                                      .summary = "Give one or two records",
                                      .ports = t_both_ports,
                                      .step = t_both_step};

typedef struct {
    int64_t mod, rest;
} t_keep;
static const lm_param t_keep_params[] = {LM_INT(t_keep, mod, 2, .min = 1, .max = 1e6, .doc = "n modulo this"),
                                         LM_INT(t_keep, rest, 0, .doc = "leaves this"),
                                         {0}};

static lm_status t_keep_step(const void *self, lm_step *step, lm_error *err)
{
    const t_keep *k = self;
    (void)err;
    at_work(step);
    if (n_of(lm_step_record(step, "in")) % k->mod != k->rest) lm_step_skip(step);
    return LM_OK;
}

static const lm_operator t_keep_op = {.struct_size = sizeof(lm_operator),
                                      .name = "t.keep",
                                      .version = 1,
                                      .summary = "Keep some",
                                      .flags = LM_PASSES | LM_HEADER,
                                      .size = sizeof(t_keep),
                                      .params = t_keep_params,
                                      .step = t_keep_step};

static const lm_port t_split_ports[] = {{"in", LM_PORT_STREAM, "records", false},
                                        {"yes", LM_PORT_OUT, "those", false},
                                        {"no", LM_PORT_OUT, "the others", false},
                                        {0}};

static lm_status t_split_step(const void *self, lm_step *step, lm_error *err)
{
    const t_keep *k = self;
    at_work(step);
    return lm_step_emit(step, n_of(lm_step_record(step, "in")) % k->mod == k->rest ? "yes" : "no", err);
}

static const lm_operator t_split_op = {.struct_size = sizeof(lm_operator),
                                       .name = "t.split",
                                       .version = 1,
                                       .summary = "Part records",
                                       .flags = LM_PASSES | LM_HEADER,
                                       .size = sizeof(t_keep),
                                       .params = t_keep_params,
                                       .ports = t_split_ports,
                                       .step = t_split_step};

typedef struct {
    int64_t mod, rest, times;
    int kind;
} t_fail;
static const char *const t_fail_kinds[] = {"input", "io", "timeout", "memory", "bug", NULL};
static const lm_status t_fail_statuses[] = {LM_EINPUT, LM_EIO, LM_ETIMEOUT, LM_EMEMORY, LM_EBUG};
static const lm_param t_fail_params[] = {LM_INT(t_fail, mod, 3, .min = 1, .max = 1e6, .doc = "n modulo this"),
                                         LM_INT(t_fail, rest, 1, .doc = "leaves this"),
                                         LM_INT(t_fail, times, 1000000, .no_key = true, .doc = "calls that fail"),
                                         LM_CHOICE(t_fail, kind, "input", t_fail_kinds, .doc = "how it fails"),
                                         {0}};

static lm_status t_fail_step(const void *self, lm_step *step, lm_error *err)
{
    const t_fail *f = self;
    at_work(step);
    int64_t n = n_of(lm_step_record(step, "in"));
    if (n % f->mod != f->rest) return LM_OK;
    char name[48];
    snprintf(name, sizeof name, "%.24s#%.20s", step->node, step->id);
    if (count_call(name, 1) > f->times) return LM_OK;
    return LM_FAIL(err, t_fail_statuses[f->kind], "no luck with %s", step->id);
}

static const lm_operator t_fail_op = {.struct_size = sizeof(lm_operator),
                                      .name = "t.fail",
                                      .version = 1,
                                      .summary = "Fail for some",
                                      .size = sizeof(t_fail),
                                      .params = t_fail_params,
                                      .step = t_fail_step};

/* ---- generators ---- */

typedef struct {
    int64_t draws, mod, fail;
} t_gen;
static const lm_param t_gen_params[] = {LM_INT(t_gen, draws, 3, .extent = true, .doc = "how many"),
                                        LM_INT(t_gen, fail, -1, .doc = "dies here where n is odd; -1: never"),
                                        {0}};
static const lm_param t_grow_params[] = {LM_INT(t_gen, mod, 4, .min = 1, .max = 1e6, .doc = "n modulo this many"),
                                         LM_INT(t_gen, fail, -1, .doc = "dies here where n is odd; -1: never"),
                                         {0}};

static lm_status t_gen_step(const void *self, lm_step *step, lm_error *err)
{
    const t_gen *g = self;
    at_work(step);
    const lm_record *in = lm_step_record(step, "in");
    int64_t n = n_of(in), k = (int64_t)lm_step_index(step);
    if (g->mod && k >= n % g->mod) {
        lm_step_end(step);
        return LM_OK;
    }
    if (k == g->fail && n % 2) return LM_FAIL(err, LM_EINPUT, "no more of %s", lm_record_id(in));
    char id[128];
    snprintf(id, sizeof id, "%.100s/%lld", lm_record_id(in), (long long)k);
    LM_TRY(lm_step_id(step, NULL, id, err));
    return lm_step_set(step, NULL, "n", lm_int(in_range(10 * n + k)), NULL, err);
}

static const lm_operator t_gen_op = {.struct_size = sizeof(lm_operator),
                                     .name = "t.gen",
                                     .version = 1,
                                     .summary = "Draw a known number",
                                     .shape = LM_GENERATOR,
                                     .size = sizeof(t_gen),
                                     .params = t_gen_params,
                                     .step = t_gen_step};
static const lm_operator t_grow_op = {.struct_size = sizeof(lm_operator),
                                      .name = "t.grow",
                                      .version = 1,
                                      .summary = "Draw a number that depends",
                                      .shape = LM_GENERATOR,
                                      .size = sizeof(t_gen),
                                      .params = t_grow_params,
                                      .step = t_gen_step};

/* ---- t.join, t.fold ---- */

static const lm_port t_join_ports[] = {{"left", LM_PORT_STREAM, "first", false},
                                       {"right", LM_PORT_STREAM, "second", true},
                                       {"third", LM_PORT_STREAM, "third", true},
                                       {"model", LM_PORT_BROADCAST, "for all", true},
                                       {"table", LM_PORT_LOOKUP, "by key", true},
                                       {"out", LM_PORT_OUT, "joined", false},
                                       {0}};

static lm_status t_join_step(const void *self, lm_step *step, lm_error *err)
{
    (void)self;
    at_work(step);
    int64_t n = 0, weight = 1;
    for (const lm_port *p = t_join_ports; p->kind != LM_PORT_OUT; p++, weight = 10 * weight + 1)
        n += weight * n_of(lm_step_record(step, p->name));
    return lm_step_set(step, NULL, "n", lm_int(in_range(n)), NULL, err);
}

static const lm_operator t_join_op = {.struct_size = sizeof(lm_operator),
                                      .name = "t.join",
                                      .version = 1,
                                      .summary = "Join",
                                      .ports = t_join_ports,
                                      .step = t_join_step};

static const lm_port t_fold_ports[] = {{"in", LM_PORT_GATHER, "records", false},  {"b", LM_PORT_GATHER, "more", true},
                                       {"c", LM_PORT_GATHER, "more", true},       {"d", LM_PORT_GATHER, "more", true},
                                       {"e", LM_PORT_GATHER, "more", true},       {"f", LM_PORT_GATHER, "more", true},
                                       {"g", LM_PORT_GATHER, "more", true},       {"h", LM_PORT_GATHER, "more", true},
                                       {"out", LM_PORT_OUT, "one record", false}, {0}};

static lm_status t_fold_step(const void *self, lm_step *step, lm_error *err)
{
    (void)self;
    at_work(step);
    lm_text text;
    lm_text_init(&text);
    int64_t sum = 0, count = 0, missing = 0;
    lm_status status = LM_OK;
    for (const lm_port *p = t_fold_ports; p->kind != LM_PORT_OUT; p++) {
        size_t n = lm_step_count(step, p->name), gone = lm_step_missing(step, p->name);
        missing += (int64_t)gone;
        count += (int64_t)n;
        if (n || gone) lm_text_format(&text, "[%s -%zu]", p->name, gone);
        for (size_t i = 0; i < n && !status; i++) {
            const lm_record *member;
            status = lm_step_member(step, p->name, i, &member, err);
            if (status) break;
            sum = in_range(sum + n_of(member));
            lm_text_format(&text, " %s:%lld", lm_record_id(member), (long long)n_of(member));
        }
    }
    if (!status) status = lm_step_set(step, NULL, "text", lm_text_value(lm_text_peek(&text)), NULL, err);
    if (!status && text.failed) status = LM_NOMEM(err);
    lm_text_done(&text);
    if (status) return status;
    LM_TRY(lm_step_set(step, NULL, "n", lm_int(sum), NULL, err));
    LM_TRY(lm_step_set(step, NULL, "count", lm_int(count), NULL, err));
    return lm_step_set(step, NULL, "missing", lm_int(missing), NULL, err);
}

static const lm_operator t_fold_op = {.struct_size = sizeof(lm_operator),
                                      .name = "t.fold",
                                      .version = 1,
                                      .summary = "Fold a window",
                                      .shape = LM_GATHER,
                                      .flags = LM_HEADER,
                                      .ports = t_fold_ports,
                                      .step = t_fold_step};

/* ---- random ---- */

static lm_status t_noise_step(const void *self, lm_step *step, lm_error *err)
{
    (void)self;
    at_work(step);
    lm_random random = lm_step_random(step, 0);
    double x = lm_random_normal(&random);
    /* half of a step's first attempts fail after their draw: an attempt must not spend the stream */
    if (test_trigger && count_call(step->id, 1) == 1) return LM_FAIL(err, LM_EIO, "a disk hiccup");
    return lm_step_set(step, NULL, "x", lm_real(x), NULL, err);
}

static const lm_operator t_noise_op = {.struct_size = sizeof(lm_operator),
                                       .name = "t.noise",
                                       .version = 1,
                                       .summary = "Draw a number",
                                       .flags = LM_RANDOM,
                                       .step = t_noise_step};

static const lm_param t_draws_params[] = {LM_INT(t_gen, draws, 3, .extent = true, .doc = "how many"), {0}};

static lm_status t_draws_step(const void *self, lm_step *step, lm_error *err)
{
    (void)self;
    at_work(step);
    char id[64];
    snprintf(id, sizeof id, "%.40s/%04llu", step->id, (unsigned long long)lm_step_index(step));
    LM_TRY(lm_step_id(step, NULL, id, err));
    lm_random random = lm_step_random(step, 0);
    size_t shape[1] = {2000};
    lm_tensor *data;
    LM_TRY(lm_step_out_as(step, NULL, "draw", LM_F32, 1, shape, &data, err));
    for (size_t i = 0; i < shape[0]; i++) ((float *)data->data)[i] = (float)lm_random_normal(&random);
    return lm_step_set(step, NULL, "first", lm_real((double)*(float *)data->data), NULL, err);
}

static const lm_operator t_draws_op = {.struct_size = sizeof(lm_operator),
                                       .name = "t.draws",
                                       .version = 1,
                                       .summary = "Draw tensors",
                                       .shape = LM_GENERATOR,
                                       .flags = LM_RANDOM,
                                       .size = sizeof(t_gen),
                                       .params = t_draws_params,
                                       .step = t_draws_step};

/* ---- tensors and files ---- */

static const lm_field t_scale_fields[] = {LM_IN("in", "data", LM_F32, "N", "*", "numbers"),
                                          LM_OUT("out", "data", LM_F32, "N", "=", "the numbers, and one more each"),
                                          {0}};

static lm_status t_scale_step(const void *self, lm_step *step, lm_error *err)
{
    (void)self;
    at_work(step);
    const lm_tensor *in = lm_step_peek(step, "in", "data");
    lm_tensor *out;
    LM_TRY(lm_step_out(step, NULL, "data", in->shape, &out, err));
    for (size_t i = 0; i < in->shape[0]; i++) ((float *)out->data)[i] = ((const float *)in->data)[i] + 1;
    return LM_OK;
}

static const lm_operator t_scale_op = {.struct_size = sizeof(lm_operator),
                                       .name = "t.scale",
                                       .version = 1,
                                       .summary = "Add one to each number",
                                       .fields = t_scale_fields,
                                       .step = t_scale_step};

typedef struct {
    const char *path;
} t_write;
static const lm_param t_write_params[] = {
    LM_PATH(t_write, path, NULL, .required = true, .output = true, .per_record = true, .doc = "file"), {0}};

static lm_status t_write_step(const void *self, lm_step *step, lm_error *err)
{
    (void)self;
    at_work(step);
    const char *path, *temporary;
    const lm_record *in = lm_step_record(step, "in");
    LM_TRY(lm_step_text(step, "path", &path, err));
    LM_TRY(lm_step_file(step, path, &temporary, err));
    FILE *f = fopen(temporary, "we");
    if (!f) return LM_FAIL(err, LM_EIO, "cannot make \"%s\": %s", temporary, strerror(errno));
    fprintf(f, "%s %lld", lm_record_id(in), (long long)n_of(in));
    const lm_tensor *data = lm_record_tensor(in, "data");
    if (data) fprintf(f, " %g", (double)((const float *)data->data)[data->shape[0] - 1]);
    fclose(f);
    return LM_OK;
}

static const lm_operator t_write_op = {.struct_size = sizeof(lm_operator),
                                       .name = "t.write",
                                       .version = 1,
                                       .summary = "Write a file",
                                       .shape = LM_SINK,
                                       .size = sizeof(t_write),
                                       .params = t_write_params,
                                       .step = t_write_step};

static const lm_operator *const test_operators[] = {&t_list_op,  &t_add_op,   &t_batch_op, &t_both_op,  &t_keep_op,
                                                    &t_split_op, &t_fail_op,  &t_gen_op,   &t_grow_op,  &t_join_op,
                                                    &t_fold_op,  &t_noise_op, &t_draws_op, &t_scale_op, &t_write_op};

#endif
