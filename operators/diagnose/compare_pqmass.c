/* compare.pqmass: do two sets of samples come from one distribution? Counts in cells around reference points.
 *
 *   counts k_s,c of set s in cell c, e_s,c = (sum_c k_s,c)(sum_s k_s,c)/(sum k)
 *   chi2 = sum (k - e)^2 / e over the cells that are not empty, of dof = cells - 1 degrees of freedom
 *
 * Lemos et al. 2024 (arXiv:2402.04355). See README.md of this folder.
 */
#include "operators/core/pqmass.h"
#include "operators/core/special.h"
#include "runtime/operator.h"

#include <string.h>

typedef struct {
    int references, layout;
    bool standardise;
    int64_t regions, tessellations, permutations;
    const char *tensor;
} pqmass;

enum { DRAWN, GIVEN };
enum { AUTO, STACK, SINGLE };
static const char *const reference_kinds[] = {"drawn", "given", NULL};
static const char *const layouts[] = {"auto", "stack", "single", NULL};

static const lm_param params[] = {
    LM_CHOICE(pqmass, references, "drawn", reference_kinds,
              .doc =
                  "where the reference points come from. drawn: samples of x and y, taken out of them. given: the port "
                  "`references`; nothing is taken out of x and y"),
    LM_INT(
        pqmass, regions, 100, .min = 2, .max = 100000,
        .doc =
            "number of reference points to draw; the samples of x and y together must be twice as many at least, and "
            "should be many more"),
    LM_BOOL(
        pqmass, standardise, false,
        .doc =
            "divide every dimension by the standard deviation of x and y together, so that no dimension outweighs the "
            "others; a constant dimension counts nothing"),
    LM_INT(
        pqmass, tessellations, 1, .min = 1, .max = 10000,
        .doc =
            "how often references are drawn anew on the same samples. The results are correlated: use permutations to "
            "judge their mean"),
    LM_INT(pqmass, permutations, 0, .min = 0, .max = 1000000,
           .doc =
               "how often the samples are dealt out anew to x and y, for a p value that trusts no asymptotic law; its "
               "smallest value is 1/(permutations + 1)"),
    LM_TEXT(pqmass, tensor, "samples",
            .doc = "the tensor that holds the samples; if it is \"samples\" and a record has none, "
                   "\"image\" is taken"),
    LM_CHOICE(
        pqmass, layout, "auto", layouts,
        .doc =
            "stack: the first axis of the tensor counts samples. single: a record is one sample. auto: a port with a "
            "single record holds a stack, a port with several records single samples"),
    {0}};

static const lm_port ports[] = {{"x", LM_PORT_GATHER, "the one set of samples", false},
                                {"y", LM_PORT_GATHER, "the other set", false},
                                {"references", LM_PORT_GATHER, "reference points, if `references` is given", true},
                                {"out", LM_PORT_OUT, "one record with the result", false},
                                {0}};

static const lm_field fields[] = {
    LM_IN_OPT("x", "samples", LM_NUMBERS, "*", "*",
              "samples, [samples, ...] or one a record; all but the first axis are one vector"),
    LM_IN_OPT("y", "samples", LM_NUMBERS, "*", "*", "samples of the other set, as many numbers each"),
    LM_IN_OPT("references", "samples", LM_NUMBERS, "*", "*", "reference points, as many numbers each"),
    LM_OUT("out", "counts_x", LM_I64, "R", "",
           "samples of x nearest to each reference point (of the first tessellation)"),
    LM_OUT("out", "counts_y", LM_I64, "R", "",
           "samples of y nearest to each reference point (of the first tessellation)"),
    LM_OUT("out", "chi2_each", LM_F64, "T", "", "chi-square of each tessellation"),
    LM_OUT("out", "dof_each", LM_I64, "T", "", "degrees of freedom of each tessellation"),
    LM_OUT_ATTR("out", "chi2", LM_KIND_REAL, "",
                "chi-square of the first tessellation. Far above dof: the sets differ. Far below "
                "dof: one set copies the other, or repeats itself"),
    LM_OUT_ATTR("out", "dof", LM_KIND_INT, "", "degrees of freedom: cells that hold a sample, less one"),
    LM_OUT_ATTR("out", "log_p", LM_KIND_REAL, "",
                "natural logarithm of the chance of a larger chi-square if the sets are alike"),
    LM_OUT_ATTR("out", "chi2_rescaled", LM_KIND_REAL, "",
                "the chi-square with the same chance and regions - 1 degrees of freedom"),
    LM_OUT_ATTR("out", "chi2_mean", LM_KIND_REAL, "", "mean of chi2_rescaled over the tessellations"),
    LM_OUT_ATTR("out", "p_permutation", LM_KIND_REAL, "",
                "share of permutations whose mean chi-square is as large (if permutations "
                "were asked for)"),
    LM_OUT_ATTR("out", "n_x", LM_KIND_INT, "", "samples of x, references included"),
    LM_OUT_ATTR("out", "n_y", LM_KIND_INT, "", "samples of y, references included"),
    LM_OUT_ATTR("out", "missing", LM_KIND_INT, "", "records of x and y that failed on the way here"),
    {0}};

/* One port's samples. */
typedef struct {
    const char *port;
    size_t n_members, n; /* n: samples */
    bool stack;
} set;

typedef struct {
    const pqmass *params;
    lm_step *step;
    size_t dims;
    set x, y, given;
    double *scale; /* [dims]; NULL: not standardised */
    size_t n_sets, n_refs;
    lm_cells *cells;
    size_t *drawn;     /* [n_sets, n_refs] indices into x then y; NULL: given */
    uint8_t *taken;    /* [n_sets, n]; NULL: given */
    uint32_t *nearest; /* [n, n_sets] */
} job;

/* The samples of one member, as float32 or float64, whichever holds its dtype exactly. */
typedef struct {
    const lm_record *record;
    const void *rows;
    lm_dtype dtype;
    size_t n;
    void *converted;
    size_t room;
} view;

static size_t width(lm_dtype dtype)
{
    return dtype == LM_F32 ? sizeof(float) : sizeof(double);
}

/* Reads the shape of member i; the first one ever sets job->dims. */
static lm_status view_shape(job *j, const set *s, size_t i, view *v, const lm_tensor **ret, lm_error *err)
{
    LM_TRY(lm_step_member(j->step, s->port, i, &v->record, err));
    const lm_tensor *tensor = lm_record_tensor(v->record, j->params->tensor);
    bool image = !tensor && strcmp(j->params->tensor, "samples") == 0;
    if (image) tensor = lm_record_tensor(v->record, "image");
    if (!tensor)
        return LM_FAIL_HINT(err, LM_EINPUT, "Name the tensor that holds the samples: tensor: NAME.",
                            "record \"%s\" of port \"%s\" has no tensor \"%s\"%s", lm_record_id(v->record), s->port,
                            j->params->tensor, image ? " and no \"image\"" : "");
    char shape[192];
    if (!lm_dtype_fits(tensor->dtype, LM_NUMBERS))
        return LM_FAIL(err, LM_EINPUT,
                       "the samples of record \"%s\" of port \"%s\" are of type %s: real numbers are wanted",
                       lm_record_id(v->record), s->port, lm_dtype_name(tensor->dtype));
    if (s->stack && (tensor->ndim == 0 || (image && tensor->ndim < 3 && j->params->layout == AUTO)))
        return LM_FAIL_HINT(err, LM_EINPUT,
                            "A test needs many samples: many records, or one record with a stack of them.",
                            "port \"%s\" has one sample only: record \"%s\", %s", s->port, lm_record_id(v->record),
                            lm_tensor_shape_text(shape, tensor));
    size_t count = lm_tensor_count(tensor), n = s->stack ? tensor->shape[0] : 1, dims = n ? count / n : j->dims;
    if (n && dims == 0)
        return LM_FAIL(err, LM_EINPUT, "the samples of record \"%s\" of port \"%s\" hold no numbers",
                       lm_record_id(v->record), s->port);
    if (j->dims == 0) j->dims = dims;
    if (dims != j->dims)
        return LM_FAIL(err, LM_EINPUT,
                       "samples of record \"%s\" of port \"%s\" have %zu numbers each, those before it %zu",
                       lm_record_id(v->record), s->port, dims, j->dims);
    v->n = n;
    v->dtype = tensor->dtype == LM_F64 || tensor->dtype == LM_I32 || tensor->dtype == LM_U32 || tensor->dtype == LM_I64
                   ? LM_F64
                   : LM_F32;
    *ret = tensor;
    return LM_OK;
}

static lm_status view_open(job *j, const set *s, size_t i, view *v, lm_error *err)
{
    const lm_tensor *tensor;
    LM_TRY(view_shape(j, s, i, v, &tensor, err));
    v->rows = tensor->data;
    if (tensor->dtype == v->dtype) return LM_OK;
    size_t bytes = lm_tensor_count(tensor) * width(v->dtype);
    if (bytes > v->room) {
        v->room = 0;
        v->converted = lm_free(v->converted);
        v->converted = lm_alloc_data(bytes);
        if (!v->converted) return LM_NOMEM(err);
        v->room = bytes;
    }
    if (v->dtype == LM_F32) lm_tensor_to_f32(tensor, v->converted);
    else lm_tensor_to_f64(tensor, v->converted);
    v->rows = v->converted;
    return lm_step_stopped(j->step) ? LM_ESTOP(j->step, err) : LM_OK;
}

static void view_cleanup(view *v)
{
    v->converted = lm_free(v->converted);
}
#define OWN_VIEW(name) __attribute__((cleanup(view_cleanup))) view name = {0}

static double value_at(const view *v, size_t i)
{
    return v->dtype == LM_F32 ? (double)((const float *)v->rows)[i] : ((const double *)v->rows)[i];
}

static lm_status not_finite(const set *s, const view *v, size_t row, lm_error *err)
{
    return LM_FAIL_HINT(err, LM_EINPUT, "Mask or filter such samples first: a distance to them means nothing.",
                        "sample %zu of record \"%s\" of port \"%s\" has a value that is not finite", row,
                        lm_record_id(v->record), s->port);
}

static lm_status measure(job *j, set *s, const char *port, lm_error *err)
{
    const int layout = j->params->layout;
    *s = (set){.port = port, .n_members = lm_step_count(j->step, port)};
    s->stack = layout == STACK || (layout == AUTO && s->n_members == 1);
    OWN_VIEW(v);
    const lm_tensor *tensor;
    for (size_t i = 0; i < s->n_members; i++) {
        LM_TRY(view_shape(j, s, i, &v, &tensor, err));
        s->n += v.n;
    }
    return LM_OK;
}

/* Pooled mean and standard deviation (n - 1) of each dimension; 1 for a constant one. */
static lm_status standardise(job *j, lm_error *err)
{
    double *mean = lm_step_scratch(j->step, j->dims, sizeof *mean);
    double *square = lm_step_scratch(j->step, j->dims, sizeof *square);
    if (!mean || !square) return LM_NOMEM(err);
    memset(mean, 0, j->dims * sizeof *mean);
    memset(square, 0, j->dims * sizeof *square);
    OWN_VIEW(v);
    size_t n = 0;
    const set *sets[] = {&j->x, &j->y};
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < sets[k]->n_members; i++) {
            LM_TRY(view_open(j, sets[k], i, &v, err));
            for (size_t r = 0; r < v.n; r++) {
                if (v.dtype == LM_F32)
                    lm_moments_add_f32((const float *)v.rows + r * j->dims, j->dims, ++n, mean, square);
                else lm_moments_add_f64((const double *)v.rows + r * j->dims, j->dims, ++n, mean, square);
                if (!isfinite(mean[0]) || r + 1 == v.n) /* look closer only where something may be wrong */
                    for (size_t c = 0; c < j->dims; c++)
                        if (!isfinite(mean[c])) {
                            size_t bad = 0;
                            while (bad + 1 < v.n * j->dims && isfinite(value_at(&v, bad))) bad++;
                            return not_finite(sets[k], &v, bad / j->dims, err);
                        }
            }
        }
    for (size_t c = 0; c < j->dims; c++) {
        double sd = n > 1 ? sqrt(square[c] / (double)(n - 1)) : 0;
        square[c] = sd > 0 ? sd : 1;
    }
    j->scale = square;
    return LM_OK;
}

/* The engine's stream, as the core asks for it. */
static uint64_t below(void *random, uint64_t n)
{
    return lm_random_below(random, n);
}

static void find(job *j, const void *rows, lm_dtype dtype, size_t n, uint32_t *ret, size_t *ret_bad)
{
    if (dtype == LM_F32) lm_cells_find_f32(j->cells, rows, n, ret, ret_bad);
    else lm_cells_find_f64(j->cells, rows, n, ret, ret_bad);
}

/* Draws the references of every tessellation. */
static lm_status draw(job *j, lm_error *err)
{
    size_t n = j->x.n + j->y.n;
    j->n_sets = (size_t)j->params->tessellations;
    j->n_refs = (size_t)j->params->regions;
    if (n < 2 * j->n_refs)
        return LM_FAIL_HINT(err, LM_EINPUT, "Lower \"regions\", or give more samples.",
                            "%zu and %zu samples are too few for %zu regions: together they must be twice as many",
                            j->x.n, j->y.n, j->n_refs);
    j->drawn = lm_step_scratch(j->step, j->n_sets * j->n_refs, sizeof *j->drawn);
    j->taken = lm_step_scratch(j->step, j->n_sets * n, 1);
    if (!j->drawn || !j->taken) return LM_NOMEM(err);
    memset(j->taken, 0, j->n_sets * n);
    for (size_t t = 0; t < j->n_sets; t++) {
        lm_random random = lm_step_random(j->step, t);
        LM_TRY(lm_pqm_draw(below, &random, j->x.n, j->y.n, j->n_refs, j->drawn + t * j->n_refs, j->taken + t * n, err));
    }
    return LM_OK;
}

typedef struct {
    size_t sample, slot;
} wanted;

static int by_sample(const void *a, const void *b)
{
    const wanted *x = a, *y = b;
    return x->sample != y->sample ? (x->sample > y->sample) - (x->sample < y->sample)
                                  : (x->slot > y->slot) - (x->slot < y->slot);
}

/* Reads the references, only opening the members that hold one, and prepares the cells. */
static lm_status read_references(job *j, lm_error *err)
{
    size_t total = j->n_sets * j->n_refs, next = 0;
    LM_OWN(lm_memory) refs_memory = lm_alloc(total, j->dims * sizeof(double));
    wanted *want = lm_step_scratch(j->step, total, sizeof *want);
    double *refs = refs_memory;
    if (!refs || !want) return LM_NOMEM(err);
    for (size_t i = 0; i < total; i++) want[i] = (wanted){j->drawn ? j->drawn[i] : i, i};
    qsort(want, total, sizeof *want, by_sample);
    const set *drawn_from[] = {&j->x, &j->y}, *given[] = {&j->given};
    const set **sets = j->drawn ? drawn_from : given;
    OWN_VIEW(v);
    size_t start = 0; /* index of the member's first sample */
    for (size_t k = 0; k < (j->drawn ? 2 : 1); k++)
        for (size_t i = 0; i < sets[k]->n_members && next < total; i++) {
            if (!sets[k]->stack && want[next].sample > start) { /* one sample a record: no need to open it */
                start++;
                continue;
            }
            LM_TRY(view_open(j, sets[k], i, &v, err));
            for (; next < total && want[next].sample < start + v.n; next++) {
                size_t row = want[next].sample - start;
                for (size_t c = 0; c < j->dims; c++) {
                    double value = value_at(&v, row * j->dims + c);
                    if (!isfinite(value)) return not_finite(sets[k], &v, row, err);
                    refs[want[next].slot * j->dims + c] = value;
                }
            }
            start += v.n;
        }
    return lm_cells_new(refs, j->n_sets, j->n_refs, j->dims, j->scale, &j->cells, err);
}

/* Nearest references of all samples of a port, into j->nearest from sample `first` on. Single samples are put together to
 * blocks, so that the matrix product has something to do. */
enum { TOGETHER = 256, MANY = 4096 }; /* MANY: samples between two looks at the clock */
static lm_status find_port(job *j, const set *s, size_t first, lm_error *err)
{
    OWN_VIEW(v);
    LM_OWN(lm_memory) block = NULL;
    if (!s->stack && !(block = lm_alloc_data(TOGETHER * j->dims * sizeof(double)))) return LM_NOMEM(err);
    lm_dtype dtype = LM_F32;
    size_t pending = 0, bad, done = first;
    for (size_t i = 0; i < s->n_members; i++) {
        LM_TRY(view_open(j, s, i, &v, err));
        for (size_t row = 0; s->stack && row < v.n; row += MANY) {
            size_t n = v.n - row < MANY ? v.n - row : MANY;
            const char *rows = (const char *)v.rows + row * j->dims * width(v.dtype);
            find(j, rows, v.dtype, n, j->nearest + done * j->n_sets, &bad);
            if (bad < n) return not_finite(s, &v, row + bad, err);
            if (lm_step_stopped(j->step)) return LM_ESTOP(j->step, err);
            done += n;
        }
        if (s->stack) continue;
        for (size_t c = 0; c < j->dims; c++)
            if (!isfinite(value_at(&v, c))) return not_finite(s, &v, 0, err);
        if (pending && (pending == TOGETHER || v.dtype != dtype)) {
            find(j, block, dtype, pending, j->nearest + done * j->n_sets, &bad);
            done += pending;
            pending = 0;
        }
        dtype = v.dtype;
        size_t bytes = j->dims * width(dtype);
        memcpy((char *)block + pending++ * bytes, v.rows, bytes);
    }
    if (pending) find(j, block, dtype, pending, j->nearest + done * j->n_sets, &bad);
    return LM_OK;
}

/* Counts of tessellation t; is_x says which samples count as x. */
static void count(const job *j, size_t t, const uint8_t *is_x, int64_t *counts_x, int64_t *counts_y)
{
    size_t n = j->x.n + j->y.n;
    const uint8_t *taken = j->taken ? j->taken + t * n : NULL;
    memset(counts_x, 0, j->n_refs * sizeof *counts_x);
    memset(counts_y, 0, j->n_refs * sizeof *counts_y);
    for (size_t i = 0; i < n; i++)
        if (!taken || !taken[i]) (is_x[i] ? counts_x : counts_y)[j->nearest[i * j->n_sets + t]]++;
}

/* The share of permutations whose sum of chi-squares reaches the one that was found; the references stay where they are. The
 * samples of a cell do not change with their labels, so neither do the degrees of freedom. */
static lm_status permute(const job *j, double found, const uint8_t *truth, int64_t *counts_x, int64_t *counts_y,
                         double *ret, lm_error *err)
{
    size_t n = j->x.n + j->y.n, filled, reached = 0, permutations = (size_t)j->params->permutations;
    uint8_t *is_x = lm_step_scratch(j->step, n, 1);
    if (!is_x) return LM_NOMEM(err);
    for (size_t p = 0; p < permutations; p++) {
        lm_random random = lm_step_random(j->step, UINT64_MAX - p);
        memcpy(is_x, truth, n);
        for (size_t i = n; i > 1; i--) {
            size_t k = lm_random_below(&random, i);
            uint8_t swap = is_x[i - 1];
            is_x[i - 1] = is_x[k];
            is_x[k] = swap;
        }
        double sum = 0;
        for (size_t t = 0; t < j->n_sets; t++) {
            count(j, t, is_x, counts_x, counts_y);
            sum += lm_two_sample_chi2(counts_x, counts_y, j->n_refs, &filled);
        }
        reached += sum >= found * (1 - 1e-12); /* equal counts in another order differ by rounding alone */
        if (lm_step_stopped(j->step)) return LM_ESTOP(j->step, err);
    }
    *ret = (double)(1 + reached) / (double)(1 + permutations);
    return LM_OK;
}

static lm_status judge(job *j, lm_error *err)
{
    lm_step *step = j->step;
    size_t n = j->x.n + j->y.n;
    int64_t *spare = lm_step_scratch(step, 2 * j->n_refs, sizeof *spare);
    uint8_t *is_x = lm_step_scratch(step, n, 1);
    if (!spare || !is_x) return LM_NOMEM(err);
    for (size_t i = 0; i < n; i++) is_x[i] = i < j->x.n;

    lm_tensor *tensor[4];
    LM_TRY(lm_step_out(step, "out", "counts_x", &j->n_refs, &tensor[0], err));
    LM_TRY(lm_step_out(step, "out", "counts_y", &j->n_refs, &tensor[1], err));
    LM_TRY(lm_step_out(step, "out", "chi2_each", &j->n_sets, &tensor[2], err));
    LM_TRY(lm_step_out(step, "out", "dof_each", &j->n_sets, &tensor[3], err));
    double *chi2 = tensor[2]->data, mean = 0, sum = 0, log_p = NAN, rescaled = NAN;
    int64_t *dof = tensor[3]->data;
    for (size_t t = 0; t < j->n_sets; t++) {
        int64_t *cx = t == 0 ? tensor[0]->data : spare, *cy = t == 0 ? tensor[1]->data : spare + j->n_refs;
        size_t filled;
        count(j, t, is_x, cx, cy);
        chi2[t] = lm_two_sample_chi2(cx, cy, j->n_refs, &filled);
        dof[t] = (int64_t)filled - 1;
        if (filled < 2)
            return LM_FAIL_HINT(err, LM_EINPUT, "Are the samples all alike? Then there is nothing to test.",
                                "all samples lie in one of %zu regions", j->n_refs);
        double tail = lm_log_chi2_tail(chi2[t], (double)dof[t]);
        double same = filled == j->n_refs ? chi2[t] : lm_chi2_from_log_tail(tail, (double)j->n_refs - 1);
        if (t == 0) {
            log_p = tail;
            rescaled = same;
        }
        mean += same / (double)j->n_sets;
        sum += chi2[t];
    }
    LM_TRY(lm_step_set(step, "out", "chi2", lm_real(chi2[0]), "chi-square of the counts", err));
    LM_TRY(lm_step_set(step, "out", "dof", lm_int(dof[0]), "degrees of freedom", err));
    LM_TRY(lm_step_set(step, "out", "log_p", lm_real(log_p), "log of the p value", err));
    LM_TRY(lm_step_set(step, "out", "chi2_rescaled", lm_real(rescaled), "on regions - 1 degrees of freedom", err));
    LM_TRY(lm_step_set(step, "out", "chi2_mean", lm_real(mean), "mean of chi2_rescaled over tessellations", err));
    if (j->params->permutations) {
        double p = NAN;
        LM_TRY(permute(j, sum, is_x, spare, spare + j->n_refs, &p, err));
        LM_TRY(lm_step_set(step, "out", "p_permutation", lm_real(p), "p value by permutation", err));
    }
    LM_TRY(lm_step_set(step, "out", "n_x", lm_int((int64_t)j->x.n), "samples of x", err));
    LM_TRY(lm_step_set(step, "out", "n_y", lm_int((int64_t)j->y.n), "samples of y", err));
    size_t missing = lm_step_missing(step, "x") + lm_step_missing(step, "y");
    return lm_step_set(step, "out", "missing", lm_int((int64_t)missing), "records that failed", err);
}

static lm_status empty(lm_step *step, lm_error *err)
{
    static const char *const reals[] = {"chi2", "log_p", "chi2_rescaled", "chi2_mean"};
    static const char *const tensors[] = {"counts_x", "counts_y", "chi2_each", "dof_each"};
    for (size_t i = 0; i < 4; i++) {
        size_t none = 0;
        lm_tensor *tensor;
        LM_TRY(lm_step_out(step, "out", tensors[i], &none, &tensor, err));
        LM_TRY(lm_step_set(step, "out", reals[i], lm_real(NAN), "no samples", err));
    }
    LM_TRY(lm_step_set(step, "out", "dof", lm_int(0), "no samples", err));
    LM_TRY(lm_step_set(step, "out", "n_x", lm_int(0), "samples of x", err));
    LM_TRY(lm_step_set(step, "out", "n_y", lm_int(0), "samples of y", err));
    size_t missing = lm_step_missing(step, "x") + lm_step_missing(step, "y");
    return lm_step_set(step, "out", "missing", lm_int((int64_t)missing), "records that failed", err);
}

static lm_status run(job *j, lm_error *err)
{
    LM_TRY(measure(j, &j->x, "x", err));
    LM_TRY(measure(j, &j->y, "y", err));
    if (j->x.n == 0 && j->y.n == 0) return empty(j->step, err);
    if (j->x.n == 0 || j->y.n == 0)
        return LM_FAIL(err, LM_EINPUT, "port \"%s\" has no samples: there is nothing to compare with",
                       j->x.n ? "y" : "x");
    if (j->params->references == GIVEN) {
        LM_TRY(measure(j, &j->given, "references", err));
        j->n_sets = 1;
        j->n_refs = j->given.n;
        if (j->n_refs < 2)
            return LM_FAIL_HINT(err, LM_EINPUT, "Wire points to the port \"references\", or say references: drawn.",
                                "port \"references\" has %zu points: two at least make regions", j->n_refs);
    } else {
        LM_TRY(draw(j, err));
    }
    if (j->params->standardise) LM_TRY(standardise(j, err));
    LM_TRY(read_references(j, err));
    j->nearest = lm_step_scratch(j->step, (j->x.n + j->y.n) * j->n_sets, sizeof *j->nearest);
    if (!j->nearest) return LM_NOMEM(err);
    LM_TRY(find_port(j, &j->x, 0, err));
    LM_TRY(find_port(j, &j->y, j->x.n, err));
    return judge(j, err);
}

static lm_status pqmass_check(const void *self, lm_error *err)
{
    const pqmass *p = self;
    if (p->references == GIVEN && p->tessellations > 1)
        return LM_FAIL_HINT(err, LM_EGRAPH, "Leave tessellations out, or say references: drawn.",
                            "given references make one tessellation, not %lld", (long long)p->tessellations);
    return LM_OK;
}

static lm_status pqmass_step(const void *self, lm_step *step, lm_error *err)
{
    job j = {.params = self, .step = step};
    lm_status status = run(&j, err);
    lm_cells_free(j.cells);
    return status;
}

const lm_operator lm_op_compare_pqmass = {
    .name = "compare.pqmass",
    .version = 1,
    .summary = "Test whether two sets of samples come from one distribution (PQMass)",
    .doc = "Takes two sets of samples, of parameters or of images, and asks whether one distribution made both. Space "
           "is divided "
           "into the cells of points nearest to each of some reference samples, and the two sets are counted cell by "
           "cell. If "
           "they are alike, chi2 follows a chi-square law with dof degrees of freedom: with 100 regions it lies "
           "between 66 and "
           "139 in 99 of 100 cases.\n"
           "A chi2 far above dof means different distributions. One far below is no success: it means that samples "
           "repeat each "
           "other, as those of a network that has memorised its training set do.",
    .example = "{regions: 100, standardise: true}",
    .shape = LM_GATHER,
    .flags = LM_RANDOM,
    .size = sizeof(pqmass),
    .params = params,
    .ports = ports,
    .fields = fields,
    .check = pqmass_check,
    .step = pqmass_step,
};
