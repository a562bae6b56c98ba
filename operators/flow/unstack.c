/* unstack: a record for each place along an axis of its tensors.
 *
 *   out_i[name] = in[name][..., i, ...],   i at the axis that is given for the name;   tensors without one stay whole
 */
#include "operators/_index_id.h"
#include "runtime/operator.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    json_t *axis;
    lm_texts attrs;
    const char *id;
} unstack;

static const lm_param params[] = {
    LM_TREE(unstack, axis, "0",
            .schema = "{\"oneOf\": [{\"type\": \"integer\", \"minimum\": -8, \"maximum\": 7}, {\"type\": "
                      "\"object\", \"additionalProperties\": {\"type\": \"integer\", \"minimum\": -8, "
                      "\"maximum\": 7}}]}",
            .doc = "axis to take apart, the slowest being 0 and the fastest -1: a number for all tensors, or a "
                   "map {name: axis}, whose tensors must have the same length there; the others stay whole in "
                   "each record"),
    LM_TEXTS(unstack, attrs, NULL,
             .doc = "tensors of one axis, as long as the others, whose elements become attributes of the same name"),
    LM_TEXT(unstack, id, "{id}-{index}", .per_record = true,
            .doc = "id of each record; {index} is its place from 0, with zeros in front (0007), other "
                   "{NAME}s are attributes of the input"),
    {0}};

static const lm_field fields[] = {LM_IN("in", "*", LM_ANY_DTYPE, "...", "*", "tensors with an axis in common"),
                                  LM_OUT("out", "*", LM_SAME_DTYPE, "...", "=", "the same without that axis"),
                                  LM_OUT_ATTR("out", "index", LM_KIND_INT, "", "place along the axis, from 0"),
                                  {0}};

static bool good_axis(const json_t *axis)
{
    return json_is_integer(axis) && json_integer_value(axis) >= -LM_MAX_DIMS && json_integer_value(axis) < LM_MAX_DIMS;
}

static lm_status unstack_check(const void *self, lm_error *err)
{
    const unstack *u = self;
    static const char hint[] = "Write a number, or a map such as {draws: 1, truth: 0}.";
    if (!u->axis) return LM_FAIL_HINT(err, LM_EGRAPH, hint, "\"axis\" must be given");
    if (!json_is_object(u->axis)) {
        if (!good_axis(u->axis)) return LM_FAIL_HINT(err, LM_EGRAPH, hint, "\"axis\" is no number from -8 to 7");
        return LM_OK;
    }
    if (!json_object_size(u->axis) && !u->attrs.n)
        return LM_FAIL_HINT(err, LM_EGRAPH, hint, "\"axis\" names no tensor");
    const char *name;
    json_t *axis;
    json_object_foreach(u->axis, name, axis)
    {
        if (!good_axis(axis)) return LM_FAIL_HINT(err, LM_EGRAPH, hint, "axis.%s: no number from -8 to 7", name);
    }
    return LM_OK;
}

static bool is_attr(const unstack *u, const char *name)
{
    for (size_t i = 0; i < u->attrs.n; i++)
        if (strcmp(u->attrs.at[i], name) == 0) return true;
    return false;
}

/* The axis of tensor `name` that is taken apart; -1: it stays whole. */
static lm_status axis_of(const unstack *u, const lm_named *named, int *ret, lm_error *err)
{
    const json_t *given = json_is_object(u->axis) ? json_object_get(u->axis, named->name) : u->axis;
    json_int_t axis = json_integer_value(given);
    if (is_attr(u, named->name)) {
        if (named->tensor->ndim != 1)
            return LM_FAIL(err, LM_EINPUT, "tensor \"%s\" has %u axes: it cannot become an attribute of each record",
                           named->name, named->tensor->ndim);
        axis = 0;
    } else if (!given) {
        *ret = -1;
        return LM_OK;
    }
    json_int_t ndim = named->tensor->ndim, from_zero = axis < 0 ? axis + ndim : axis;
    if (from_zero < 0 || from_zero >= ndim) {
        char shape[192];
        return LM_FAIL_HINT(err, LM_EINPUT, "Name the tensors to take apart: {axis: {draws: 1, truth: 0}}.",
                            "tensor \"%s\" of shape %s has no axis %lld", named->name,
                            lm_tensor_shape_text(shape, named->tensor), (long long)axis);
    }
    *ret = (int)from_zero;
    return LM_OK;
}

/* The common length; *ret untouched when nothing is taken apart. */
static lm_status common_length(const unstack *u, const lm_record *in, size_t *ret, lm_error *err)
{
    const char *first = NULL, *name;
    json_t *given;
    size_t length = 0;
    for (size_t i = 0; i < lm_record_tensor_count(in); i++) {
        const lm_named *named = lm_record_tensor_at(in, i);
        int axis;
        LM_TRY(axis_of(u, named, &axis, err));
        if (axis < 0) continue;
        size_t n = named->tensor->shape[axis];
        if (first && n != length)
            return LM_FAIL_HINT(err, LM_EINPUT, "Name the tensors to take apart: {axis: {draws: 1, truth: 0}}.",
                                "tensor \"%s\" has %zu places along axis %d, but \"%s\" has %zu", named->name, n, axis,
                                first, length);
        if (!first) length = n;
        first = first ? first : named->name;
    }
    if (json_is_object(u->axis)) json_object_foreach(u->axis, name, given)
        {
            if (!lm_record_tensor(in, name))
                return LM_FAIL(err, LM_EINPUT, "the record has no tensor \"%s\" to take apart", name);
        }
    for (size_t i = 0; i < u->attrs.n; i++)
        if (!lm_record_tensor(in, u->attrs.at[i]))
            return LM_FAIL(err, LM_EINPUT, "the record has no tensor \"%s\" to make an attribute of", u->attrs.at[i]);
    if (!first) return LM_FAIL(err, LM_EINPUT, "the record has no tensors to take apart");
    *ret = length;
    return LM_OK;
}

/* Copies in[..., at, ...] along an axis. */
static lm_status slice(lm_step *step, const char *name, const lm_tensor *in, unsigned axis, size_t at, lm_error *err)
{
    size_t shape[LM_MAX_DIMS], outer = 1, inner = lm_dtype_size(in->dtype);
    for (unsigned k = 0; k < in->ndim; k++) {
        if (k != axis) shape[k < axis ? k : k - 1] = in->shape[k];
        *(k < axis ? &outer : &inner) *= k == axis ? 1 : in->shape[k];
    }
    lm_tensor *out;
    LM_TRY(lm_step_out_as(step, NULL, name, in->dtype, in->ndim - 1, shape, &out, err));
    if (in->unit) LM_TRY(lm_tensor_set_unit(out, in->unit, err));
    const char *from = (const char *)in->data + at * inner;
    char *to = out->data;
    for (size_t o = 0; o < outer && inner; o++, from += in->shape[axis] * inner, to += inner) memcpy(to, from, inner);
    return LM_OK;
}

static int width_of(size_t length)
{
    int width = snprintf(NULL, 0, "%zu", length ? length - 1 : 0);
    return width < 4 ? 4 : width;
}

static lm_status unstack_step(const void *self, lm_step *step, lm_error *err)
{
    const unstack *u = self;
    const lm_record *in = lm_step_record(step, "in");
    uint64_t index = lm_step_index(step);
    size_t length = 0;
    LM_TRY(common_length(u, in, &length, err));
    if (index >= length) {
        lm_step_end(step);
        return LM_OK;
    }
    for (size_t i = 0; i < lm_record_tensor_count(in); i++) {
        const lm_named *named = lm_record_tensor_at(in, i);
        int axis;
        LM_TRY(axis_of(u, named, &axis, err));
        if (axis < 0) continue;
        if (is_attr(u, named->name)) {
            double value = lm_tensor_get(named->tensor, index);
            bool whole = !lm_dtype_is_float(named->tensor->dtype) && fabs(value) < 0x1p53;
            LM_TRY(lm_step_drop(step, NULL, named->name, err));
            LM_TRY(lm_step_set(step, NULL, named->name, whole ? lm_int((int64_t)value) : lm_real(value), NULL, err));
        } else {
            LM_TRY(slice(step, named->name, named->tensor, (unsigned)axis, index, err));
        }
    }
    LM_TRY(lm_step_set(step, NULL, "index", lm_int((int64_t)index), "place along the axis", err));
    return lm_step_id_of_index(step, u->id, width_of(length), err);
}

const lm_operator lm_op_unstack = {
    .name = "unstack",
    .version = 1,
    .summary = "Make a record of each place along an axis of tensors",
    .doc = "An array of 1000 simulations becomes 1000 records: of draws with the shape [draws, simulations, "
           "parameters], axis 1 gives each record its [draws, parameters]. Attributes are kept.",
    .example = "{axis: {draws: 1, truth: 0, reference: 0}}",
    .shape = LM_GENERATOR,
    .size = sizeof(unstack),
    .params = params,
    .fields = fields,
    .check = unstack_check,
    .step = unstack_step,
};
