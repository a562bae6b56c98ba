/* once: one empty record, for what needs something to begin with. */
#include "runtime/operator.h"

typedef struct {
    const char *id;
} once;

static const lm_param params[] = {LM_TEXT(once, id, "once", .doc = "the record's id"), {0}};

static lm_status once_list(void *self, lm_items *items, lm_error *err)
{
    const once *s = self;
    return lm_items_add(items, s->id, "", NULL, 0, err);
}

static lm_status once_step(const void *self, lm_step *step, lm_error *err)
{
    (void)self;
    return lm_step_base(step, NULL, NULL, err);
}

const lm_operator lm_op_once = {
    .struct_size = sizeof(lm_operator),
    .name = "once",
    .version = 1,
    .summary = "Give one empty record",
    .doc = "A record without attributes and tensors, to begin a chain that makes its own. A node whose input may stay "
           "open (lens.maps) "
           "gets one by itself.",
    .example = "{id: start}",
    .shape = LM_SOURCE,
    .size = sizeof(once),
    .params = params,
    .list = once_list,
    .step = once_step,
};
