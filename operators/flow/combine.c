/* combine: the mean, median or sum of the images of many records, pixel by pixel.
 *
 *   out[p] = mean_i image_i[p]   over the records i whose pixel p is a finite number
 */
#include "runtime/operator.h"
#include "runtime/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    lm_texts tensors;
    const char *id;
    int how;
} combine;

enum { MEAN, MEDIAN, SUM };
static const char *const ways[] = {"mean", "median", "sum", NULL};

static const lm_param params[] = {
    LM_TEXTS(combine, tensors, "[\"image\"]",
             .doc = "tensors to combine, each over all records, which must have it in one shape"),
    LM_CHOICE(combine, how, "mean", ways,
              .doc = "mean; median, which a few bright neighbours or cosmic rays do not move; or sum"),
    LM_TEXT(combine, id, NULL, .doc = "id of the result; by default that of the window"),
    {0}};

static const lm_port ports[] = {
    {.name = "in", .kind = LM_PORT_GATHER, .doc = "records with equal shapes"},
    {.name = "out", .kind = LM_PORT_OUT, .doc = "one record with the combined tensors; without any if none came"},
    {0}};

static const lm_field fields[] = {
    LM_IN("in", "*", LM_NUMBERS, "...", "*", "images; pixels that are NaN or infinite do not count"),
    LM_OUT("out", "*", LM_F64, "...", "=", "mean, median or sum; NaN where no record has a number"),
    LM_OUT_ATTR("out", "count", LM_KIND_INT, "", "number of records"),
    LM_OUT_ATTR("out", "missing", LM_KIND_INT, "", "number of records that failed before they came here"),
    {0}};

/* One tensor of the result in the making. */
typedef struct {
    const char *name;
    size_t shape[LM_MAX_DIMS], n;
    unsigned ndim;
    double *sum;    /* [n] */
    size_t *counts; /* [n]: numbers among the values */
    double *values; /* [records][n], of a median */
    char *unit;
} pile;

static lm_status no_tensor(const char *name, const lm_record *record, lm_error *err)
{
    lm_nearest nearest;
    lm_nearest_init(&nearest, name);
    for (size_t k = 0; k < lm_record_tensor_count(record); k++)
        lm_nearest_offer(&nearest, lm_record_tensor_at(record, k)->name);
    char hint[160] = "Name what to combine with \"tensors\".";
    if (nearest.best) snprintf(hint, sizeof hint, "Did you mean \"%.100s\"?", nearest.best);
    return LM_FAIL_HINT(err, LM_EINPUT, hint, "record \"%s\" has no tensor \"%s\"", lm_record_id(record), name);
}

static lm_status begin(pile *p, lm_step *step, const lm_tensor *first, size_t n_records, int how, lm_error *err)
{
    p->ndim = first->ndim;
    memcpy(p->shape, first->shape, sizeof p->shape);
    p->n = lm_tensor_count(first);
    p->counts = lm_step_scratch(step, p->n, sizeof *p->counts);
    if (how == MEDIAN) p->values = lm_step_scratch(step, p->n * n_records, sizeof *p->values);
    else p->sum = lm_step_scratch(step, p->n, sizeof *p->sum);
    if (!p->counts || (!p->sum && !p->values)) return LM_NOMEM(err);
    memset(p->counts, 0, p->n * sizeof *p->counts);
    for (size_t i = 0; p->sum && i < p->n; i++) p->sum[i] = 0;
    if (!first->unit) return LM_OK;
    size_t length = strlen(first->unit) + 1; /* the first record is gone when the result is made */
    p->unit = lm_step_scratch(step, length, 1);
    if (!p->unit) return LM_NOMEM(err);
    memcpy(p->unit, first->unit, length);
    return LM_OK;
}

static lm_status add(pile *p, const lm_record *member, const char *first_id, size_t n_records, lm_error *err)
{
    const lm_tensor *in = lm_record_tensor(member, p->name);
    if (!in) return no_tensor(p->name, member, err);
    if (p->ndim != in->ndim || memcmp(p->shape, in->shape, in->ndim * sizeof *in->shape) != 0) {
        char mine[192], theirs[192];
        lm_tensor as = {.ndim = p->ndim};
        memcpy(as.shape, p->shape, sizeof as.shape);
        return LM_FAIL_HINT(err, LM_EINPUT, "Cut all of them to one size first.",
                            "\"%s\" of record \"%s\" has the shape %s, that of record \"%s\" %s", p->name,
                            lm_record_id(member), lm_tensor_shape_text(theirs, in), first_id,
                            lm_tensor_shape_text(mine, &as));
    }
    if ((p->unit != NULL) != (in->unit != NULL) || (p->unit && strcmp(p->unit, in->unit) != 0))
        return LM_FAIL(err, LM_EINPUT, "\"%s\" of record \"%s\" is in \"%s\", that of record \"%s\" in \"%s\"", p->name,
                       lm_record_id(member), in->unit ? in->unit : "", first_id, p->unit ? p->unit : "");
    for (size_t i = 0; i < p->n; i++) {
        double value = lm_tensor_get(in, i);
        if (!isfinite(value)) continue;
        if (p->sum) p->sum[i] += value;
        else p->values[i * n_records + p->counts[i]] = value;
        p->counts[i]++;
    }
    return LM_OK;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, by_size);
    return n % 2 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
}

static lm_status finish(const pile *p, lm_step *step, int how, size_t n_records, lm_error *err)
{
    lm_tensor *out;
    LM_TRY(lm_step_out_as(step, NULL, p->name, LM_F64, p->ndim, p->shape, &out, err));
    if (p->unit) LM_TRY(lm_tensor_set_unit(out, p->unit, err));
    double *to = out->data;
    for (size_t i = 0; i < p->n; i++)
        to[i] = !p->counts[i]   ? (double)NAN
                : how == MEDIAN ? median(p->values + i * n_records, p->counts[i])
                : how == SUM    ? p->sum[i]
                                : p->sum[i] / (double)p->counts[i];
    return LM_OK;
}

static lm_status combine_step(const void *self, lm_step *step, lm_error *err)
{
    const combine *s = self;
    size_t n = lm_step_count(step, "in");
    LM_TRY(lm_step_base(step, NULL, NULL, err));
    if (s->id) LM_TRY(lm_step_id(step, NULL, s->id, err));
    pile *piles = lm_step_scratch(step, s->tensors.n, sizeof *piles);
    char *first_id = NULL;
    if (!piles) return LM_NOMEM(err);
    for (size_t k = 0; k < s->tensors.n; k++) piles[k] = (pile){.name = s->tensors.at[k]};
    for (size_t i = 0; i < n; i++) {
        const lm_record *member;
        LM_TRY(lm_step_member(step, "in", i, &member, err));
        if (!i) {
            size_t length = strlen(lm_record_id(member)) + 1;
            first_id = lm_step_scratch(step, length, 1);
            if (!first_id) return LM_NOMEM(err);
            memcpy(first_id, lm_record_id(member), length);
        }
        for (size_t k = 0; k < s->tensors.n; k++) {
            const lm_tensor *tensor = lm_record_tensor(member, piles[k].name);
            if (!i && tensor) LM_TRY(begin(&piles[k], step, tensor, n, s->how, err));
            LM_TRY(add(&piles[k], member, first_id, n, err));
        }
        if (lm_step_stopped(step)) return LM_ESTOP(step, err);
    }
    for (size_t k = 0; n && k < s->tensors.n; k++) LM_TRY(finish(&piles[k], step, s->how, n, err));
    LM_TRY(lm_step_set(step, NULL, "count", lm_int((int64_t)n), "number of records", err));
    return lm_step_set(step, NULL, "missing", lm_int((int64_t)lm_step_missing(step, "in")),
                       "records that failed before", err);
}

const lm_operator lm_op_combine = {
    .struct_size = sizeof(lm_operator),
    .name = "combine",
    .version = 1,
    .summary = "Make one image of many: their mean, median or sum, pixel by pixel",
    .doc =
        "What observers call stacking: faint light that no single image shows comes out in the mean of many. Records "
        "are read one at a time, in order; a median keeps all of their pixels in memory. (The operator stack lays "
        "images on one another without adding them up.)",
    .example = "in: read\nwindow: all\nwith: {tensors: [image], how: median, id: mean}",
    .shape = LM_GATHER,
    .size = sizeof(combine),
    .params = params,
    .ports = ports,
    .fields = fields,
    .step = combine_step,
};
