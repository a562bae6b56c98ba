/* The operators that `lensmill bench` (and tests of the engine) run: as little work as there can be, through the public
 * interface. They are registered by the commands that use them, and no graph of a user meets them. */
#include "tools/lensmill/bench_ops.h"

#include <string.h>

/* ---- bench.make: many records, small or with a tensor ---------------------------------------------------------------- */

typedef struct {
    int64_t records, bytes;
} make;

static const lm_param make_params[] = {
    LM_INT(make, records, 1000, .min = 0, .max = 1e12, .extent = true, .doc = "how many"),
    LM_INT(make, bytes, 0, .min = 0, .max = 1e10, .unit = "bytes", .doc = "size of each record's tensor; 0: none"),
    {0}};

/* "r" and the number: printf would be most of the work. */
static void write_id(char id[32], uint64_t n)
{
    char digits[24];
    size_t k = 0, at = 0;
    do digits[k++] = (char)('0' + n % 10);
    while (n /= 10);
    id[at++] = 'r';
    while (k) id[at++] = digits[--k];
    id[at] = 0;
}

static lm_status make_step(const void *self, lm_step *step, lm_error *err)
{
    const make *m = self;
    char id[32];
    uint64_t index = lm_step_index(step);
    write_id(id, index);
    LM_TRY(lm_step_id(step, NULL, id, err));
    LM_TRY(lm_step_set(step, NULL, "n", lm_int((int64_t)index), NULL, err));
    if (!m->bytes) return LM_OK;
    size_t shape[1] = {(size_t)m->bytes / sizeof(float)};
    lm_tensor *data;
    LM_TRY(lm_step_out_as(step, NULL, "data", LM_F32, 1, shape, &data, err));
    float *x = data->data;
    for (size_t i = 0; i < shape[0]; i++) x[i] = (float)(i + index);
    return LM_OK;
}

static const lm_operator op_make = {
    .struct_size = sizeof(lm_operator),
    .name = "bench.make",
    .version = 1,
    .summary = "Give many records",
    .shape = LM_GENERATOR,
    .size = sizeof(make),
    .params = make_params,
    .step = make_step,
};

/* ---- bench.add: a new record with another number --------------------------------------------------------------------- */

typedef struct {
    int64_t by;
} add;

static const lm_param add_params[] = {LM_INT(add, by, 1, .doc = "what is added to the attribute n"), {0}};

static lm_status add_step(const void *self, lm_step *step, lm_error *err)
{
    const add *a = self;
    const lm_attr *n = lm_record_attr(lm_step_record(step, "in"), "n");
    return lm_step_set(step, NULL, "n", lm_int((n ? n->value.integer : 0) + a->by), NULL, err);
}

static const lm_operator op_add = {
    .struct_size = sizeof(lm_operator),
    .name = "bench.add",
    .version = 1,
    .summary = "Add to the attribute n",
    .shape = LM_MAP,
    .flags = LM_HEADER,
    .size = sizeof(add),
    .params = add_params,
    .step = add_step,
};

/* ---- bench.scale: a new tensor --------------------------------------------------------------------------------------- */

static const lm_field scale_fields[] = {LM_IN("in", "data", LM_F32, "N", "*", "numbers"),
                                        LM_OUT("out", "data", LM_F32, "N", "=", "the numbers, and one more each"),
                                        {0}};

static lm_status scale_step(const void *self, lm_step *step, lm_error *err)
{
    (void)self;
    const lm_tensor *in = lm_step_peek(step, "in", "data");
    lm_tensor *out;
    LM_TRY(lm_step_out(step, NULL, "data", in->shape, &out, err));
    const float *x = in->data;
    float *y = out->data;
    for (size_t i = 0; i < in->shape[0]; i++) y[i] = x[i] + 1;
    return LM_OK;
}

static const lm_operator op_scale = {
    .struct_size = sizeof(lm_operator),
    .name = "bench.scale",
    .version = 1,
    .summary = "Add one to each number of a tensor",
    .shape = LM_MAP,
    .fields = scale_fields,
    .step = scale_step,
};

const lm_operator *const lm_bench_operators[] = {&op_make, &op_add, &op_scale, NULL};
