#include "tests/apply.h"
#include "runtime/graph.h"
#include "runtime/param.h"
#include "tests/test.h"

typedef struct {
    const apply_input *inputs;
    const lm_port *ports[LM_MAX_PORTS];
} members;

static lm_status member(void *host, unsigned port, size_t i, lm_record **ret, lm_error *err)
{
    const members *m = host;
    for (const apply_input *input = m->inputs; input->port; input++)
        if (strcmp(input->port, m->ports[port]->name) == 0) {
            *ret = lm_record_ref(input->records[i]);
            return LM_OK;
        }
    return LM_FAIL(err, LM_EBUG, "no such port");
}

typedef struct {
    lm_error *err;
} first_report;

static void report(void *arg, const char *path, const char *text, const char *hint)
{
    first_report *first = arg;
    if (!first->err->status) lm_fail(first->err, LM_EGRAPH, hint, "%s%s%s", path, *path ? ": " : "", text);
}

apply_kept *apply_checkpoint;

static lm_status checkpoint_save(void *host, const lm_digest *key, const void *bytes, size_t n, lm_error *err)
{
    (void)host, (void)key;
    apply_kept *kept = apply_checkpoint;
    if (!kept) return LM_OK;
    void *copy = lm_alloc(n, 1);
    if (!copy) return LM_NOMEM(err);
    memcpy(copy, bytes, n);
    lm_free(kept->bytes);
    kept->bytes = copy;
    kept->n = n;
    kept->saves++;
    return LM_OK;
}

static lm_status checkpoint_load(void *host, const lm_digest *key, lm_arena *arena, const void **ret, size_t *ret_n,
                                 lm_error *err)
{
    (void)host, (void)key;
    const apply_kept *kept = apply_checkpoint;
    if (!kept || !kept->bytes) return LM_OK;
    void *copy = lm_arena_data(arena, kept->n, 1);
    if (!copy) return LM_NOMEM(err);
    memcpy(copy, kept->bytes, kept->n);
    *ret = copy;
    *ret_n = kept->n;
    apply_checkpoint->loads++;
    return LM_OK;
}

lm_status apply_step(const lm_operator *op, const char *params, const apply_input *inputs, uint64_t index,
                     lm_record **ret_outputs, bool *ret_ended, lm_error *err)
{
    static const lm_step_host host = {member, checkpoint_save, checkpoint_load};
    json_error_t json_error;
    json_t *with = json_loads(params, 0, &json_error);
    if (!with) FAIL("test parameters: %s", json_error.text);
    lm_arena arena;
    lm_arena_init(&arena);
    void *self = lm_arena_alloc(&arena, 1, op->size);
    json_t *complete = NULL;
    const char *canonical = NULL;
    lm_error_clear(err);
    first_report first = {err};
    lm_param_reporter reporter = {.report = report, .arg = &first};
    lm_status status = op->size && !self ? LM_NOMEM(err) : LM_OK;
    if (!status) status = lm_params_fill(op, with, ".", &arena, self, &complete, &canonical, &reporter);
    if (status == LM_EMEMORY && err && !*err->text) (void)LM_NOMEM(err); /* that is for the caller to say */
    lm_step step;
    lm_step_init(&step);
    if (!status && op->check) status = op->check(self, err);
    if (!status) {
        if (op->open) status = op->open(self, err);
        if (!status) {
            members m = {inputs, {NULL}};
            lm_step_begin(&step, op, self, complete, "test");
            lm_hash hash;
            lm_hash_init(&hash);
            lm_hash_add_text(&hash, canonical);
            lm_hash_add_u64(&hash, index);
            step.key = lm_hash_finish(&hash);
            step.index = index;
            step.host = &host;
            step.host_arg = &m;
            step.id = "all";
            for (unsigned i = 0; i < step.n_inputs; i++) {
                m.ports[i] = step.inputs[i].port;
                for (const apply_input *input = inputs; input->port; input++) {
                    if (strcmp(input->port, step.inputs[i].port->name) != 0) continue;
                    step.inputs[i].count = input->n;
                    if (step.inputs[i].port->kind != LM_PORT_GATHER && input->n)
                        step.inputs[i].record = (lm_record *)(uintptr_t)input->records[0];
                }
            }
            if (lm_step_first(&step)) step.id = lm_record_id(lm_step_first(&step));
            status = lm_step_check_inputs(&step, err);
            if (!status) status = op->step(self, &step, err);
            if (!status) status = lm_step_finish(&step, err);
            if (!status) status = lm_step_publish(&step, err);
            else lm_step_discard(&step);
            for (unsigned i = 0; i < step.n_outputs && !status; i++) {
                ret_outputs[i] = NULL;
                if (!step.outputs[i].emitted) continue;
                ret_outputs[i] =
                    step.outputs[i].record ? lm_take(step.outputs[i].record) : lm_record_ref(lm_step_first(&step));
            }
            if (ret_ended) *ret_ended = step.ended;
        }
        if (op->close) op->close(self);
    }
    lm_step_done(&step);
    json_decref(complete);
    json_decref(with);
    lm_arena_done(&arena);
    return status;
}

lm_record *apply(const lm_operator *op, const char *params, const lm_record *in)
{
    lm_record *outputs[LM_MAX_PORTS] = {NULL};
    lm_error err = {0};
    const lm_port *ports[LM_MAX_PORTS];
    apply_input inputs[2] = {{NULL, &in, 1}, {NULL, NULL, 0}};
    if (in && lm_operator_inputs(op, ports)) inputs[0].port = ports[0]->name;
    if (apply_step(op, params, inputs, 0, outputs, NULL, &err)) FAIL("%s: %s", op->name, err.text);
    for (unsigned i = 1; i < LM_MAX_PORTS; i++) lm_record_unref(outputs[i]);
    return outputs[0];
}

lm_record *apply_gather(const lm_operator *op, const char *params, const lm_record *const *list, size_t n)
{
    lm_record *outputs[LM_MAX_PORTS] = {NULL};
    lm_error err = {0};
    apply_input inputs[2] = {{"in", list, n}, {NULL, NULL, 0}};
    if (apply_step(op, params, inputs, 0, outputs, NULL, &err)) FAIL("%s: %s", op->name, err.text);
    for (unsigned i = 1; i < LM_MAX_PORTS; i++) lm_record_unref(outputs[i]);
    return outputs[0];
}

lm_record *record_new(const char *id)
{
    lm_record *record = NULL;
    lm_error err = {0};
    OK(lm_record_new(id, &record, &err), &err);
    return record;
}

void record_set(lm_record *record, const char *name, lm_value value)
{
    lm_error err = {0};
    OK(lm_record_set(record, name, value, NULL, &err), &err);
}

static void put(lm_record *record, const char *name, lm_dtype dtype, const double *data, unsigned ndim,
                const size_t *shape)
{
    lm_tensor *tensor = NULL;
    lm_error err = {0};
    OK(lm_tensor_new(dtype, ndim, shape, &tensor, &err), &err);
    lm_tensor_from_f64(tensor, data);
    OK(lm_record_put(record, name, tensor, &err), &err);
}

void record_f64(lm_record *record, const char *name, const double *data, unsigned ndim, const size_t *shape)
{
    put(record, name, LM_F64, data, ndim, shape);
}

void record_f32(lm_record *record, const char *name, const double *data, unsigned ndim, const size_t *shape)
{
    put(record, name, LM_F32, data, ndim, shape);
}
