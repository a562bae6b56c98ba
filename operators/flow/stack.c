/* stack: many records of the same form as one, their tensors along a new first axis.
 *
 *   out[name][i, ...] = member i's tensor name[...],   i = 0 ... N - 1 in the order of the window
 */
#include "runtime/operator.h"
#include "runtime/text.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    lm_texts tensors, attrs;
    const char *id;
    bool ids;
} stack;

static const lm_param params[] = {
    LM_TEXTS(stack, tensors, NULL,
             .doc = "tensors to stack; by default those of the first record. All records must have them, in "
                    "one shape and type"),
    LM_TEXTS(stack, attrs, NULL,
             .doc = "numeric attributes that become tensors of one axis, with a value a record: {attrs: [MAG]} "
                    "makes the tensor MAG. An undefined one is NaN"),
    LM_TEXT(stack, id, NULL, .doc = "id of the result; by default that of the window"),
    LM_BOOL(stack, ids, true, .doc = "whether to keep the records' ids, one a line, in the attribute `ids`"),
    {0}};

static const lm_port ports[] = {
    {.name = "in", .kind = LM_PORT_GATHER, .doc = "records with equal shapes"},
    {.name = "out", .kind = LM_PORT_OUT, .doc = "one record with all of them; without tensors if there were none"},
    {0}};

static const lm_field fields[] = {
    LM_IN("in", "*", LM_ANY_DTYPE, "...", "*", "tensors of one shape in all records"),
    LM_OUT("out", "*", LM_SAME_DTYPE, "...", "=", "the same, with the records along the first axis"),
    LM_OUT_ATTR("out", "count", LM_KIND_INT, "", "number of records"),
    LM_OUT_ATTR("out", "missing", LM_KIND_INT, "", "number of records that failed before they came here"),
    {0}};

/* What is being built. Scratch memory of the step, but for `first`. */
typedef struct {
    lm_step *step;
    size_t n, n_tensors, n_attrs;
    const char **names;  /* of tensors */
    lm_tensor **outputs; /* owned by the step */
    lm_tensor **columns; /* of attributes; owned by the step */
    lm_record *first;    /* owned */
    bool *equal;         /* of the first record's attributes: the same in all so far */
    lm_text ids;         /* owned */
} work;

static lm_status same_form(const lm_tensor *out, const lm_tensor *in, const char *name, const char *id,
                           const char *first, lm_error *err)
{
    bool same = out->dtype == in->dtype && out->ndim == in->ndim + 1;
    for (unsigned k = 0; k < in->ndim && same; k++) same = out->shape[k + 1] == in->shape[k];
    if (!same) {
        char shape[192], expected[192];
        size_t used = (size_t)snprintf(expected, sizeof expected, "[");
        for (unsigned k = 1; k < out->ndim; k++)
            used +=
                (size_t)snprintf(expected + used, sizeof expected - used, "%s%zu", k > 1 ? ", " : "", out->shape[k]);
        snprintf(expected + used, sizeof expected - used, "]");
        return LM_FAIL_HINT(err, LM_EINPUT, "Cut or resample the records to one form, or stack them by groups.",
                            "tensor \"%s\" of record \"%s\" is %s %s, that of \"%s\" is %s %s", name, id,
                            lm_dtype_name(in->dtype), lm_tensor_shape_text(shape, in), first, lm_dtype_name(out->dtype),
                            expected);
    }
    const char *a = out->unit ? out->unit : "", *b = in->unit ? in->unit : "";
    if (strcmp(a, b) != 0)
        return LM_FAIL(err, LM_EINPUT, "tensor \"%s\" of record \"%s\" has the unit \"%s\", that of \"%s\" has \"%s\"",
                       name, id, b, first, a);
    return LM_OK;
}

static lm_status no_tensor(const char *name, const lm_record *record, lm_error *err)
{
    lm_nearest nearest;
    lm_nearest_init(&nearest, name);
    for (size_t i = 0; i < lm_record_tensor_count(record); i++)
        lm_nearest_offer(&nearest, lm_record_tensor_at(record, i)->name);
    char hint[LM_ERROR_HINT];
    snprintf(hint, sizeof hint, "Did you mean \"%.200s\"?", nearest.best ? nearest.best : "");
    return LM_FAIL_HINT(err, LM_EINPUT, nearest.best ? hint : "Name the tensors that all records have in `tensors`.",
                        "record \"%s\" has no tensor \"%s\"", lm_record_id(record), name);
}

/* Makes the outputs in the first record's form. */
static lm_status begin(const stack *s, work *w, const lm_record *first, lm_error *err)
{
    w->first = lm_record_ref(first);
    size_t n_attrs = lm_record_attr_count(first);
    w->n_tensors = s->tensors.n ? s->tensors.n : lm_record_tensor_count(first);
    w->names = lm_step_scratch(w->step, w->n_tensors, sizeof *w->names);
    w->outputs = lm_step_scratch(w->step, w->n_tensors, sizeof *w->outputs);
    w->equal = lm_step_scratch(w->step, n_attrs, sizeof *w->equal);
    if (!w->names || !w->outputs || !w->equal) return LM_NOMEM(err);
    for (size_t k = 0; k < n_attrs; k++) w->equal[k] = true;
    for (size_t k = 0; k < w->n_tensors; k++) {
        w->names[k] = s->tensors.n ? s->tensors.at[k] : lm_record_tensor_at(first, k)->name;
        const lm_tensor *in = lm_record_tensor(first, w->names[k]);
        if (!in) return no_tensor(w->names[k], first, err);
        if (in->ndim + 1 > LM_MAX_DIMS)
            return LM_FAIL(err, LM_EINPUT, "tensor \"%s\" of record \"%s\" has %u axes: there is no room for one more",
                           w->names[k], lm_record_id(first), in->ndim);
        size_t shape[LM_MAX_DIMS] = {w->n};
        memcpy(shape + 1, in->shape, in->ndim * sizeof *shape);
        LM_TRY(lm_step_out_as(w->step, NULL, w->names[k], in->dtype, in->ndim + 1, shape, &w->outputs[k], err));
        if (in->unit) LM_TRY(lm_tensor_set_unit(w->outputs[k], in->unit, err));
    }
    return LM_OK;
}

static lm_status add(const stack *s, work *w, size_t i, const lm_record *member, lm_error *err)
{
    const char *id = lm_record_id(member);
    if (!i) LM_TRY(begin(s, w, member, err));
    for (size_t k = 0; k < w->n_tensors; k++) {
        const lm_tensor *in = lm_record_tensor(member, w->names[k]);
        if (!in) return no_tensor(w->names[k], member, err);
        LM_TRY(same_form(w->outputs[k], in, w->names[k], id, lm_record_id(w->first), err));
        if (in->bytes) memcpy((char *)w->outputs[k]->data + i * in->bytes, in->data, in->bytes);
    }
    for (size_t k = 0; k < w->n_attrs; k++) {
        const lm_attr *attr = lm_record_attr(member, s->attrs.at[k]);
        if (!attr) return LM_FAIL(err, LM_EINPUT, "record \"%s\" has no attribute \"%s\"", id, s->attrs.at[k]);
        if (attr->value.kind == LM_KIND_TEXT)
            return LM_FAIL(err, LM_EINPUT, "attribute \"%s\" of record \"%s\" is the text \"%.100s\": no number",
                           s->attrs.at[k], id, attr->value.text);
        ((double *)w->columns[k]->data)[i] = lm_value_real(attr->value);
    }
    for (size_t k = 0; i && k < lm_record_attr_count(w->first); k++) {
        const lm_attr *mine = lm_record_attr_at(w->first, k);
        if (!w->equal[k]) continue;
        const lm_attr *other = lm_record_attr(member, mine->name);
        w->equal[k] = other && lm_value_equal(mine->value, other->value);
    }
    if (s->ids) {
        if (i) lm_text_char(&w->ids, '\n');
        lm_text_add(&w->ids, id);
    }
    return LM_OK;
}

static lm_status build(const stack *s, work *w, lm_error *err)
{
    w->n = lm_step_count(w->step, "in");
    LM_TRY(lm_step_base(w->step, NULL, NULL, err));
    if (s->id) LM_TRY(lm_step_id(w->step, NULL, s->id, err));
    w->n_attrs = s->attrs.n;
    w->columns = lm_step_scratch(w->step, w->n_attrs, sizeof *w->columns);
    if (!w->columns) return LM_NOMEM(err);
    for (size_t k = 0; k < w->n_attrs; k++)
        LM_TRY(lm_step_out_as(w->step, NULL, s->attrs.at[k], LM_F64, 1, &w->n, &w->columns[k], err));
    for (size_t i = 0; i < w->n; i++) {
        const lm_record *member;
        LM_TRY(lm_step_member(w->step, "in", i, &member, err));
        LM_TRY(add(s, w, i, member, err));
        if (i % 64 == 0 && lm_step_stopped(w->step)) return LM_ESTOP(w->step, err);
    }
    if (w->ids.failed) return LM_NOMEM(err);
    for (size_t k = 0; w->first && k < lm_record_attr_count(w->first); k++) {
        const lm_attr *attr = lm_record_attr_at(w->first, k);
        if (w->equal[k]) LM_TRY(lm_step_set(w->step, NULL, attr->name, attr->value, attr->comment, err));
    }
    if (s->ids)
        LM_TRY(
            lm_step_set(w->step, NULL, "ids", lm_text_value(lm_text_peek(&w->ids)), "of the records, one a line", err));
    LM_TRY(lm_step_set(w->step, NULL, "count", lm_int((int64_t)w->n), "number of records", err));
    return lm_step_set(w->step, NULL, "missing", lm_int((int64_t)lm_step_missing(w->step, "in")),
                       "records that failed before", err);
}

static lm_status stack_check(const void *self, lm_error *err)
{
    const stack *s = self;
    for (size_t i = 0; i < s->attrs.n; i++)
        for (size_t k = 0; k < s->tensors.n; k++)
            if (strcmp(s->attrs.at[i], s->tensors.at[k]) == 0)
                return LM_FAIL(err, LM_EGRAPH, "\"%s\" is both in `tensors` and in `attrs`", s->attrs.at[i]);
    return LM_OK;
}

static lm_status stack_step(const void *self, lm_step *step, lm_error *err)
{
    work w = {.step = step};
    lm_text_init(&w.ids);
    lm_status status = build(self, &w, err);
    lm_text_done(&w.ids);
    lm_record_unref(w.first);
    return status;
}

const lm_operator lm_op_stack = {
    .name = "stack",
    .version = 1,
    .summary = "Make one record of many, their tensors along a new first axis",
    .doc = "Attributes that are equal in all records are kept. The result must fit into memory; its records are "
           "read one at a time. Unstack is the way back.",
    .example = "{tensors: [image], attrs: [MAG, Z]}",
    .shape = LM_GATHER,
    .size = sizeof(stack),
    .params = params,
    .ports = ports,
    .fields = fields,
    .check = stack_check,
    .step = stack_step,
};
