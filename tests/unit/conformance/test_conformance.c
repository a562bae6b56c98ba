/* What every operator promises, asked of all of them: an operator is in here as soon as its file is there.
 *
 *   test_conformance [test ...]             LENSMILL_OPERATOR=name: of this operator only
 *   LENSMILL_WRITE=1 test_conformance example_gives_what_its_version_gave      writes tests/vectors/operator_digests.txt
 *
 * tests/standard.h makes the records and runs the examples.
 */
#include "runtime/graph.h"
#include "runtime/log.h"
#include "runtime/registry.h"
#include "runtime/text.h"
#include "tests/apply.h"
#include "tests/standard.h"
#include "tests/test.h"

#include <ctype.h>
#include <stdarg.h>
#include <unistd.h>

/* ---- one report for all operators ------------------------------------------------------------------------------- */

static unsigned n_problems;

__attribute__((format(printf, 2, 3))) static void problem(const lm_operator *op, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("  %s: ", op->name);
    vprintf(format, args);
    putchar('\n');
    va_end(args);
    n_problems++;
}

/* The next operator that was asked for; one that cannot run here is told once a test. */
static const lm_operator *next(size_t *i, bool runs)
{
    const char *only = getenv("LENSMILL_OPERATOR");
    while (*i < standard_count()) {
        const lm_operator *op = standard_at((*i)++);
        char fault[512];
        if (only && strcmp(only, op->name) != 0) continue;
        if (!runs) return op;
        if (standard_cannot_run(op)) printf("  %s: not run: %s\n", op->name, standard_cannot_run(op));
        else if (standard_example_fits(op, fault)) return op;
        else problem(op, "its example is no good: %s", fault);
    }
    return NULL;
}

static void be_silent(void *arg, lm_level level, const char *line)
{
    (void)arg, (void)level, (void)line;
}

/* for each operator op, and the verdict over all of them at the end */
#define EACH(op, runs)                                                                                                 \
    n_problems = 0;                                                                                                    \
    lm_log_to(be_silent, NULL);                                                                                        \
    for (size_t each_ = 0; (op = next(&each_, runs));)
#define VERDICT()                                                                                                      \
    if (n_problems) FAIL("%u problems, told above", n_problems)

/* ---- the table -------------------------------------------------------------------------------------------------- */

static size_t words(const char *text)
{
    size_t n = 0;
    for (bool inside = false; text && *text; text++) {
        bool letter = !isspace((unsigned char)*text);
        n += letter && !inside;
        inside = letter;
    }
    return n;
}

static bool ends_with_stop(const char *text)
{
    return text && lm_ends_with(text, ".") && !lm_ends_with(text, "...");
}

/* Names that stand for a quantity with a dimension. */
static bool is_physical(const lm_param *p)
{
    static const char *const names[] = {"sigma", "radius", "width",   "height", "fwhm", "size",     "angle", "rotation",
                                        "scale", "shift",  "theta_E", "pixel",  "wait", "interval", NULL};
    if (p->type != LM_P_REAL && p->type != LM_P_INT && p->type != LM_P_REALS) return false;
    for (size_t i = 0; names[i]; i++)
        if (strcmp(p->name, names[i]) == 0) return true;
    return false;
}

static void check_ports(const lm_operator *op)
{
    const lm_port *ports[2][LM_MAX_PORTS];
    size_t n[2] = {lm_operator_inputs(op, ports[0]), lm_operator_outputs(op, ports[1])};
    for (unsigned out = 0; out < 2; out++)
        for (size_t i = 0; i < n[out]; i++)
            if (words(ports[out][i]->doc) < 2) problem(op, "port \"%s\" has no doc of two words", ports[out][i]->name);
    for (const lm_field *f = op->fields; f && f->port; f++)
        if (words(f->doc) < 1 || ends_with_stop(f->doc))
            problem(op, "the doc of \"%s\" is empty or ends with a full stop", f->name);
}

TEST(table_says_what_it_does)
{
    const lm_operator *op;
    lm_error err = {0};
    EACH(op, false)
    {
        if (lm_operator_check(op, &err)) problem(op, "%s", err.text);
        if (strlen(op->summary) > 70) problem(op, "its summary has more than 70 characters");
        if (words(op->summary) < 3) problem(op, "its summary has less than three words");
        if (!isupper((unsigned char)op->summary[0])) problem(op, "its summary starts with a small letter");
        if (!op->example) problem(op, "it has no example: what stands under `with:` in a graph");
        for (const lm_param *p = op->params; p && p->name; p++) {
            if (words(p->doc) < 3) problem(op, "the doc of \"%s\" has less than three words", p->name);
            if (ends_with_stop(p->doc)) problem(op, "the doc of \"%s\" ends with a full stop", p->name);
            if (is_physical(p) && !p->unit && !strstr(p->doc, "unit") && !strstr(p->doc, "pixel"))
                problem(op, "\"%s\" has no unit, and its doc does not name one", p->name);
        }
        check_ports(op);
    }
    VERDICT();
}

/* ---- the example ------------------------------------------------------------------------------------------------ */

static bool completed(const lm_operator *op, const standard_run *run, const char *how)
{
    char sum[65];
    (void)lm_digest_text(sum, &run->digest);
    if (run->status) problem(op, "its example, %s: %s", how, run->err.text);
    else if (run->exit_status)
        problem(op, "its example, %s, has %u dead letters: %s", how, (unsigned)run->dead, run->first_dead);
    else if (run->temporaries) problem(op, "its example, %s, leaves temporary files", how);
    else return true;
    return false;
}

static void same(const lm_operator *op, const standard_run *a, const standard_run *b, const char *how)
{
    if (completed(op, b, how) && !lm_digest_equal(&a->digest, &b->digest))
        problem(op, "other results %s (%u records against %u)", how, (unsigned)b->records, (unsigned)a->records);
}

TEST(example_runs_and_is_the_same_however_it_runs)
{
    const lm_operator *op;
    EACH(op, true)
    {
        standard_run plain = {.workers = 1}, narrow = {.workers = 8, .edge_records = 1};
        standard_run kept = {.workers = 1, .stored = true};
        standard_run kept_narrow = {.workers = 8, .edge_records = 1, .stored = true};
        standard_run_example(op, &plain);
        if (!completed(op, &plain, "with one worker")) continue;
        if (op->shape != LM_SINK && !plain.records) problem(op, "its example gives no record at all");
        standard_run_example(op, &narrow);
        same(op, &plain, &narrow, "with 8 workers and edges of one record");
        standard_run_example(op, &kept);
        standard_run_example(op, &kept_narrow);
        same(op, &kept, &kept_narrow, "from a store, with 8 workers and edges of one record");
        if (!kept.status && !kept.exit_status && !kept.cached)
            problem(op, "with a store, the second run computes all again");
        /* Without a store an input is known by its step, not by its digest: the keys, from which random numbers and a
         * file's HISTORY come, are others. */
        if (!(op->flags & LM_RANDOM) && op->shape != LM_SINK) same(op, &plain, &kept, "from a store");
    }
    VERDICT();
}

/* A record's result depends on no mate of its batch: batches of one, of three, and as the operator likes them. */
TEST(batches_make_no_difference)
{
    const lm_operator *op;
    unsigned tried = 0;
    EACH(op, true)
    {
        if (!(op->flags & LM_BATCH)) continue;
        tried++;
        lm_digest digests[3];
        static const size_t sizes[] = {0, 1, 3};
        for (unsigned i = 0; i < 3; i++) {
            standard_run run = {.workers = 1, .batch = sizes[i]};
            standard_run_example(op, &run);
            if (!completed(op, &run, "in batches")) break;
            digests[i] = run.digest;
            if (i && !lm_digest_equal(&digests[0], &digests[i]))
                problem(op, "other results in batches of %zu", sizes[i]);
        }
    }
    VERDICT();
    if (!tried) SKIP("no operator takes batches");
}

/* ---- pinned results --------------------------------------------------------------------------------------------- */

/* How far an operator's result can be promised on another machine. */
static const struct {
    const char *name; /* or its room, with a dot at the end */
    enum { EXACT, ROUNDED, FREE } how;
} portability[] = {
    {"deconvolve.", ROUNDED},       /* FFTW's order of operations follows the processor */
    {"compare.residuals", ROUNDED}, /* the same, and gamma functions */
    {"compare.pqmass", ROUNDED},    /* incomplete gamma functions of libm */
    {"coverage.", ROUNDED},         /* exp and log of libm */
    {"image.smooth", ROUNDED},      /* exp of libm */
    {"image.noise", FREE},     /* its draws follow the digest of the library that it is in, which is the compiler's */
    {"lens.", ROUNDED},        /* libm */
    {"reconstruct.", ROUNDED}, /* the kernels of BLAS follow the processor */
    {"plot.", FREE},           /* letters are drawn by cairo with the machine's fonts */
    {"process", ROUNDED},      /* NumPy */
    {"set", ROUNDED},          /* its example takes a power: libm */
};

static int promise(const lm_operator *op)
{
    for (size_t i = 0; i < sizeof portability / sizeof *portability; i++) {
        const char *name = portability[i].name;
        if (lm_ends_with(name, ".") ? lm_starts_with(op->name, name) : strcmp(op->name, name) == 0)
            return portability[i].how;
    }
    return EXACT;
}

static const char *const promises[] = {"exact", "rounded", "free"};
#define VECTORS LM_SOURCE_DIR "/tests/vectors/operator_digests.txt"

/* The line of an operator: false if there is none. */
static bool pinned(const char *name, int *version, char how[16], char digest[80])
{
    FILE *file = fopen(VECTORS, "r");
    char line[256], found[64];
    bool there = false;
    while (file && !there && fgets(line, sizeof line, file))
        there = sscanf(line, "%63s %d %15s %79s", found, version, how, digest) == 4 && strcmp(found, name) == 0;
    if (file) fclose(file);
    return there;
}

TEST(example_gives_what_its_version_gave)
{
    const lm_operator *op;
    const char *write = getenv("LENSMILL_WRITE");
    static char lines[1 << 16];
    size_t n = 0;
    EACH(op, true)
    {
        int how = promise(op), version;
        char was_how[16], was[80], is[65] = "-";
        if (how != FREE) {
            standard_run run = {.workers = 2, .stored = how == EXACT, .rounded = how == ROUNDED};
            standard_run_example(op, &run);
            if (!completed(op, &run, "to compare it with its pinned result")) continue;
            (void)lm_digest_text(is, &run.digest);
        }
        n += (size_t)snprintf(lines + n, sizeof lines - n, "%-28s %3d %-8s %s\n", op->name, op->version, promises[how],
                              is);
        if (write) continue;
        if (!pinned(op->name, &version, was_how, was))
            problem(op, "no pinned result: run this test with LENSMILL_WRITE=1, look at the difference, commit it");
        else if (version != op->version || strcmp(was_how, promises[how]) != 0)
            problem(op, "pinned as version %d, %s, and is version %d, %s: run this test with LENSMILL_WRITE=1", version,
                    was_how, op->version, promises[how]);
        else if (strcmp(was, is) != 0)
            problem(op,
                    "version %d gives another result than it did (%s, not %s): results in people's stores would be "
                    "taken for those of the code as it is now. Raise the version, or find what changed the result; "
                    "then run this test with LENSMILL_WRITE=1",
                    version, is, was);
    }
    VERDICT();
    if (!write) return;
    FILE *file = fopen(VECTORS, "w");
    if (!file) FAIL("cannot write %s", VECTORS);
    fprintf(file,
            "# SHA-256 of what the example of each operator gives (tests/unit/conformance): name, version, how the "
            "numbers\n"
            "# are taken, digest. exact: bit by bit. rounded: double to 1e-9 and float to 1e-5 of a tensor's largest "
            "value,\n"
            "# since libm, FFTW or NumPy round differently on other processors. free: not pinned. Written by\n"
            "# LENSMILL_WRITE=1 test_conformance example_gives_what_its_version_gave\n%s",
            lines);
    if (fclose(file)) FAIL("cannot write %s", VECTORS);
}

/* ---- one step, without an engine -------------------------------------------------------------------------------- */

typedef struct {
    const lm_operator *op;
    char *params;
    const lm_port *ports[LM_MAX_PORTS];
    size_t n_ports;
    lm_record *records[LM_MAX_PORTS][STANDARD_RECORDS];
    apply_input inputs[LM_MAX_PORTS + 1];
    lm_status status;
    lm_error err;
    lm_digest digest; /* of the outputs */
    bool emitted;
    uint64_t allocations;
    uint64_t nans;             /* in tensors that the operator makes, by its table */
    const lm_field *nan_field; /* the first of them */
} attempt;

static void attempt_init(attempt *a, const lm_operator *op)
{
    *a = (attempt){.op = op};
    a->params = standard_params(op);
    a->n_ports = lm_operator_inputs(op, a->ports);
    for (size_t p = 0; p < a->n_ports; p++) {
        size_t n = a->ports[p]->kind == LM_PORT_GATHER ? standard_records(op, a->ports[p]) : 1;
        for (size_t i = 0; i < n; i++) a->records[p][i] = standard_record(op, a->ports[p]->name, i);
        a->inputs[p] = (apply_input){a->ports[p]->name, (const lm_record *const *)a->records[p], n};
    }
}

static void attempt_done(attempt *a)
{
    free(a->params);
    for (size_t p = 0; p < a->n_ports; p++)
        for (size_t i = 0; i < STANDARD_RECORDS; i++) lm_record_unref(a->records[p][i]);
}

static void look_for_nan(attempt *a, const char *port, const lm_record *record)
{
    for (const lm_field *f = a->op->fields; f && f->port; f++) {
        if (!f->out || f->attribute || strcmp(f->port, port) != 0) continue;
        const lm_tensor *tensor = lm_record_tensor(record, f->name);
        for (size_t k = 0; tensor && lm_dtype_is_float(tensor->dtype) && k < lm_tensor_count(tensor); k++)
            if (!isfinite(lm_tensor_get(tensor, k))) {
                if (!a->nans++) a->nan_field = f;
            }
    }
}

/* The step; fail_at: the allocation that fails. Outputs are hashed and dropped. */
static void attempt_run(attempt *a, uint64_t fail_at)
{
    lm_record *outputs[LM_MAX_PORTS] = {NULL};
    const lm_port *ports[LM_MAX_PORTS];
    size_t n = lm_operator_outputs(a->op, ports);
    a->nans = 0;
    a->emitted = false;
    lm_error_clear(&a->err);
    if (fail_at) lm_alloc_fail_at(fail_at);
    a->status = apply_step(a->op, a->params, a->inputs, 0, outputs, NULL, &a->err);
    a->allocations = lm_alloc_count();
    lm_alloc_fail_at(0);
    lm_digest digests[LM_MAX_PORTS] = {{{0}}};
    uint64_t nans = 0;
    for (size_t i = 0; i < n; i++) {
        if (!outputs[i]) continue;
        look_for_nan(a, ports[i]->name, outputs[i]);
        digests[i] = standard_digest(outputs[i], false, &nans);
        a->emitted = true;
    }
    a->digest = lm_digest_of(digests, sizeof digests);
    for (size_t i = 0; i < LM_MAX_PORTS; i++) lm_record_unref(outputs[i]);
}

/* Of all operators, those that apply_step can run: a source needs the engine. */
static bool has_input(const lm_operator *op)
{
    return op->shape != LM_SOURCE;
}

/* Replaces a tensor of record 0 of a port; NULL takes it out. */
static void put(attempt *a, size_t port, const char *name, lm_tensor *tensor)
{
    lm_record *copy = NULL;
    lm_error err = {0};
    OK(lm_record_copy(a->records[port][0], &copy, &err), &err);
    if (tensor) OK(lm_record_put(copy, name, tensor, &err), &err);
    else lm_record_drop(copy, name);
    lm_record_unref(a->records[port][0]); /* the name may be its own */
    a->records[port][0] = copy;
}

static size_t port_of(const attempt *a, const lm_field *field)
{
    size_t p = 0;
    while (strcmp(a->ports[p]->name, field->port) != 0) p++;
    return p;
}

/* ---- NaN -------------------------------------------------------------------------------------------------------- */

static bool says_nan(const char *text)
{
    return text &&
           (strstr(text, "NaN") || strstr(text, "undefined") || strstr(text, "unknown") || strstr(text, "finite"));
}

static void poison(attempt *a, bool all)
{
    for (size_t p = 0; p < a->n_ports; p++)
        for (size_t t = 0; t < lm_record_tensor_count(a->records[p][0]); t++) {
            const lm_named *named = lm_record_tensor_at(a->records[p][0], t);
            const lm_tensor *was = named->tensor;
            if (!lm_dtype_is_float(was->dtype)) continue;
            const char *name = named->name;
            lm_tensor *tensor = standard_tensor(name, was->dtype, was->ndim, was->shape, 0);
            size_t n = lm_tensor_count(tensor);
            double *values = malloc((n + 1) * sizeof *values);
            lm_tensor_to_f64(tensor, values);
            for (size_t k = 0; k < n; k++)
                if (all || k == n / 3) values[k] = (double)NAN;
            lm_tensor_from_f64(tensor, values);
            free(values);
            put(a, p, name, tensor);
        }
}

/* A pixel, or all of them, not a number: an error in words, or numbers, or NaN where the table says so. Never a crash, and
 * twice the same. */
static void try_nan(const lm_operator *op, bool all)
{
    const char *what = all ? "of NaN alone" : "with one NaN";
    attempt a;
    attempt_init(&a, op);
    poison(&a, all);
    attempt_run(&a, 0);
    lm_status status = a.status;
    lm_digest digest = a.digest;
    if (status && status != LM_EINPUT)
        problem(op, "tensors %s end in a fault of kind \"%s\", not \"input\": %s", what, lm_status_name(status),
                a.err.text);
    if (status && !*a.err.text) problem(op, "tensors %s end without a word", what);
    if (a.nans) {
        bool told = says_nan(op->doc) || says_nan(a.nan_field->doc) || strcmp(a.nan_field->name, "*") == 0;
        if (!told)
            problem(op, "tensors %s give %u NaN in \"%s\", of which neither its doc nor the operator's tells", what,
                    (unsigned)a.nans, a.nan_field->name);
    }
    attempt_run(&a, 0);
    if (a.status != status || !lm_digest_equal(&a.digest, &digest))
        problem(op, "tensors %s: twice, and not the same", what);
    attempt_done(&a);
}

TEST(not_a_number_is_an_error_or_has_a_documented_result)
{
    const lm_operator *op;
    EACH(op, true)
    {
        if (!has_input(op)) continue;
        try_nan(op, false);
        try_nan(op, true);
    }
    VERDICT();
}

/* ---- empty windows ---------------------------------------------------------------------------------------------- */

TEST(empty_window_gives_an_empty_result)
{
    const lm_operator *op;
    EACH(op, true)
    {
        attempt a;
        bool gather = false;
        attempt_init(&a, op);
        for (size_t p = 0; p < a.n_ports; p++)
            if (a.ports[p]->kind == LM_PORT_GATHER) {
                a.inputs[p].n = 0;
                gather = true;
            }
        if (gather) attempt_run(&a, 0);
        if (gather && a.status) problem(op, "an empty window ends in an error: %s", a.err.text);
        else if (gather && !a.emitted && op->shape == LM_GATHER) problem(op, "an empty window gives no record");
        attempt_done(&a);
    }
    VERDICT();
}

/* ---- what the table refuses ------------------------------------------------------------------------------------- */

static void try_refused(const lm_operator *op, const lm_field *field, lm_tensor *tensor, const char *what)
{
    attempt a;
    attempt_init(&a, op);
    put(&a, port_of(&a, field), field->name, tensor);
    attempt_run(&a, 0);
    if (!a.status) problem(op, "takes a tensor \"%s\" that %s", field->name, what);
    else if (a.status != LM_EINPUT)
        problem(op, "a tensor \"%s\" that %s is a fault of kind \"%s\", not \"input\"", field->name, what,
                lm_status_name(a.status));
    else if (!strstr(a.err.text, field->name))
        problem(op, "the error about a tensor \"%s\" that %s does not name it: %s", field->name, what, a.err.text);
    attempt_done(&a);
}

static bool is_symbols(const char *shape)
{
    return !strpbrk(shape, "*.");
}

TEST(tensors_that_the_table_refuses_are_named)
{
    const lm_operator *op;
    static const size_t five[] = {2, 2, 2, 2, 2}, small[] = {2, 2};
    EACH(op, true)
    {
        for (const lm_field *f = op->fields; f && f->port; f++) {
            if (f->out || f->attribute || strcmp(f->name, "*") == 0) continue;
            if (!f->optional) try_refused(op, f, NULL, "is not there");
            if (f->dtype != LM_ANY_DTYPE && !f->optional)
                try_refused(op, f, standard_tensor(f->name, LM_C128, 2, small, 0), "is complex");
            if (is_symbols(f->shape) && !f->optional)
                try_refused(op, f,
                            standard_tensor(f->name, lm_dtype_fits(LM_F32, f->dtype) ? LM_F32 : LM_F64, 5, five, 0),
                            "has five axes");
        }
    }
    VERDICT();
}

/* ---- memory ----------------------------------------------------------------------------------------------------- */

static size_t files_written(void)
{
    FILE *found = popen("find out -type f 2>/dev/null | wc -l", "r");
    unsigned n = 0;
    if (!found || fscanf(found, "%u", &n) != 1) FAIL("cannot count files");
    pclose(found);
    return n;
}

/* What the operator can do without is left out: optional inputs, and parameters that have a default. */
static void attempt_bare(attempt *a)
{
    char *params = a->params;
    a->params = strdup("{}");
    attempt_run(a, UINT64_MAX);
    free(a->status ? a->params : params);
    if (a->status) a->params = params;
    for (const lm_field *f = a->op->fields; f && f->port; f++)
        for (size_t i = 0; i < STANDARD_RECORDS && !f->out && f->optional; i++) {
            lm_record *record = a->records[port_of(a, f)][i];
            if (!record) continue;
            (void)(f->attribute ? lm_record_remove(record, f->name) : lm_record_drop(record, f->name));
        }
}

/* Each allocation of a step in turn; of the many of a large one, the first hundred and then ever fewer. */
static void fail_each_allocation(attempt *a)
{
    const lm_operator *op = a->op;
    uint64_t total = a->allocations, failed = 0, step = 1;
    lm_digest digest = a->digest;
    if (op->flags & LM_PROGRAM) step = total / 12 + 1; /* a program is started each time */
    for (uint64_t n = 1; n <= total && !a->status; n += step, step += n > 100 ? n / 50 : 0) {
        if (op->shape == LM_SINK && system("rm -rf out")) FAIL("cannot remove a folder");
        attempt_run(a, n);
        failed += a->status != 0;
        if (a->status && a->status != LM_EMEMORY)
            problem(op, "allocation %u of %u fails: a fault of kind \"%s\", not \"memory\": %s", (unsigned)n,
                    (unsigned)total, lm_status_name(a->status), a->err.text);
        else if (a->status && !*a->err.text)
            problem(op, "allocation %u of %u fails without a word", (unsigned)n, (unsigned)total);
        else if (!a->status && !lm_digest_equal(&a->digest, &digest))
            problem(op, "allocation %u of %u fails: no error, and another result", (unsigned)n, (unsigned)total);
        else if (a->status && op->shape == LM_SINK && files_written())
            problem(op, "allocation %u of %u fails, and a file is left", (unsigned)n, (unsigned)total);
        if (n_problems > 40) break;
        a->status = LM_OK;
    }
    if (total && !failed) problem(op, "none of %u failing allocations was noticed", (unsigned)total);
}

TEST(step_survives_each_failing_allocation)
{
    const lm_operator *op;
    EACH(op, true)
    {
        if (!has_input(op)) continue;
        attempt a;
        attempt_init(&a, op);
        attempt_run(&a, UINT64_MAX);
        if (a.status) problem(op, "its example fails as a single step: %s", a.err.text);
        else fail_each_allocation(&a);
        attempt_bare(&a);
        attempt_run(&a, UINT64_MAX);
        if (!a.status) fail_each_allocation(&a); /* else it needs one or the other of what it can do without */
        attempt_done(&a);
    }
    VERDICT();
}

/* The same of whole runs: what the engine makes of it, and what a source does. */
TEST(run_survives_each_failing_allocation)
{
    const lm_operator *op;
    EACH(op, true)
    {
        standard_run whole = {.workers = 1, .fail_at = UINT64_MAX};
        standard_run_example(op, &whole);
        if (!completed(op, &whole, "with all the memory it needs")) continue;
        uint64_t step = op->flags & LM_PROGRAM ? whole.allocations / 3 + 1 : 1; /* a program is started each time */
        for (uint64_t n = 1; n <= whole.allocations; n += step, step += n > 100 ? n / 50 : 0) {
            standard_run run = {.workers = 1, .fail_at = n};
            standard_run_example(op, &run);
            if (run.status && run.status != LM_EMEMORY)
                problem(op, "allocation %u of a run fails: a fault of kind \"%s\": %s", (unsigned)run.fail_at,
                        lm_status_name(run.status), run.err.text);
            else if (!run.status && !run.exit_status && !lm_digest_equal(&run.digest, &whole.digest))
                problem(op, "allocation %u of a run fails: no dead letter, and another result", (unsigned)run.fail_at);
            else if (run.status && !*run.err.text)
                problem(op, "allocation %u fails without a word", (unsigned)run.fail_at);
            if (run.temporaries)
                problem(op, "allocation %u of a run fails: a temporary file is left", (unsigned)run.fail_at);
        }
    }
    VERDICT();
}
