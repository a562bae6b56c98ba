/* set: attributes with constant or computed values, and a new id. */
#include "runtime/condition.h"
#include "runtime/operator.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *name, *comment;
    json_t *constant;         /* not a template: its value */
    const char *template;     /* text with {NAME}s */
    bool lone;                /* the template is one {NAME}: its type is kept */
    lm_condition *expression; /* computed */
} assignment;

typedef struct {
    json_t *values, *compute, *comments;
    const char *id;
    assignment *list; /* sorted by name, so that equal parameters give equal records */
    size_t n;
} set;

#define NAMES_TO(what) "{\"type\": \"object\", \"additionalProperties\": " what "}"

static const lm_param params[] = {
    LM_TREE(set, values, NULL, .per_record = true,
            .schema = NAMES_TO("{\"type\": [\"string\", \"number\", \"boolean\", \"null\"]}"),
            .doc = "names and what they become: a number, a text, true or false. In a text {NAME} stands for "
                   "an attribute, and a lone \"{NAME}\" keeps its type; null leaves the attribute undefined"),
    LM_WHERES(set, compute,
              .doc = "names and expressions in jq's language over the input: .attrs.NAME is an attribute, .id "
                     "the id. An attribute that an expression needs and the record lacks makes a dead letter"),
    LM_TREE(set, comments, NULL, .schema = NAMES_TO("{\"type\": \"string\"}"),
            .doc = "comments of attributes that are set here, as on a FITS card; a unit stands in brackets: \"[mag]\""),
    LM_TEXT(set, id, NULL, .per_record = true,
            .doc = "new id of the record, such as \"{id}-{BAND}\"; {NAME}s are those of the input"),
    {0}};

static const lm_field fields[] = {
    LM_IN("in", "*", LM_ANY_DTYPE, "*", "*", "any records"),
    LM_OUT("out", "*", LM_SAME_DTYPE, "*", "=", "the same records with the attributes that were set"),
    {0}};

static lm_status must_map(const json_t *tree, const char *param, lm_error *err)
{
    if (!tree || json_is_object(tree)) return LM_OK;
    return LM_FAIL_HINT(err, LM_EGRAPH, "For example: {SNR: 5}.", "\"%s\" must map names to values", param);
}

static bool is_lone(const char *template)
{
    size_t n = strcspn(template + 1, "{}");
    return *template == '{' && n && template[n + 1] == '}' && !template[n + 2];
}

static lm_status set_check(const void *self, lm_error *err)
{
    const set *s = self;
    LM_TRY(must_map(s->values, "values", err));
    LM_TRY(must_map(s->comments, "comments", err));
    if (!json_object_size(s->values) && !json_object_size(s->compute) && !s->id)
        return LM_FAIL_HINT(err, LM_EGRAPH, "Give `values`, `compute` or `id`.", "the node sets nothing");
    const char *name;
    json_t *value;
    json_object_foreach(s->values, name, value)
    {
        if (json_is_object(value) || json_is_array(value))
            return LM_FAIL(err, LM_EGRAPH, "values.%s: an attribute is a single value, not a list or a map", name);
        if (json_object_get(s->compute, name))
            return LM_FAIL(err, LM_EGRAPH, "\"%s\" is both in `values` and in `compute`", name);
        if (strcmp(name, "id") == 0)
            return LM_FAIL_HINT(err, LM_EGRAPH, "Write it beside `values`, not in it.",
                                "values.id: the id is no attribute");
    }
    json_object_foreach(s->compute, name, value)
    {
        if (strcmp(name, "id") == 0)
            return LM_FAIL_HINT(err, LM_EGRAPH, "Compute an attribute, and write `id: \"{NAME}\"` in a second node.",
                                "compute.id: the id is no attribute");
    }
    json_object_foreach(s->comments, name, value)
    {
        if (!json_is_string(value)) return LM_FAIL(err, LM_EGRAPH, "comments.%s: not a text", name);
        if (!json_object_get(s->values, name) && !json_object_get(s->compute, name))
            return LM_FAIL(err, LM_EGRAPH, "comments.%s: this node sets no attribute \"%s\"", name, name);
    }
    return LM_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const assignment *)a)->name, ((const assignment *)b)->name);
}

static lm_status set_open(void *self, lm_error *err)
{
    set *s = self;
    s->list = lm_alloc(json_object_size(s->values) + json_object_size(s->compute), sizeof *s->list);
    if (!s->list) return LM_NOMEM(err);
    const char *name;
    json_t *value;
    json_object_foreach(s->values, name, value)
    {
        assignment *a = &s->list[s->n++];
        *a = (assignment){.name = name, .constant = value};
        if (json_is_string(value) && strpbrk(json_string_value(value), "{}")) {
            a->template = json_string_value(value);
            a->lone = is_lone(a->template);
        }
    }
    json_object_foreach(s->compute, name, value)
    {
        assignment *a = &s->list[s->n++];
        *a = (assignment){.name = name};
        LM_TRY_IN(lm_condition_new(json_string_value(value), &a->expression, err), err, "compute.%s", name);
    }
    for (size_t i = 0; i < s->n; i++)
        s->list[i].comment = json_string_value(json_object_get(s->comments, s->list[i].name));
    qsort(s->list, s->n, sizeof *s->list, by_name);
    return LM_OK;
}

static lm_value constant_of(const json_t *value)
{
    if (json_is_integer(value)) return lm_int(json_integer_value(value));
    if (json_is_real(value)) return lm_real(json_real_value(value));
    if (json_is_boolean(value)) return lm_bool(json_is_true(value));
    if (json_is_string(value)) return lm_text_value(json_string_value(value));
    return lm_null();
}

static lm_status value_of(const assignment *a, lm_step *step, const lm_record *in, lm_value *ret, lm_error *err)
{
    if (a->expression) return lm_condition_value(a->expression, in, ret, err);
    if (!a->template) {
        *ret = constant_of(a->constant);
        return LM_OK;
    }
    const char *expanded; /* also the error for a name that the record lacks */
    LM_TRY(lm_step_expand(step, a->template, in, &expanded, err));
    *ret = lm_text_value(expanded);
    if (!a->lone) return LM_OK;
    size_t n = strlen(a->template) - 2;
    char *name = lm_step_scratch(step, n + 1, 1);
    if (!name) return LM_NOMEM(err);
    memcpy(name, a->template + 1, n);
    name[n] = 0;
    lm_value typed = lm_record_value(in, name);
    if (typed.kind != LM_KIND_NULL) *ret = typed;
    return LM_OK;
}

static lm_status set_step(const void *self, lm_step *step, lm_error *err)
{
    const set *s = self;
    const lm_record *in = lm_step_record(step, "in");
    for (size_t i = 0; i < s->n; i++) {
        const assignment *a = &s->list[i];
        lm_value value = lm_null();
        LM_TRY_IN(value_of(a, step, in, &value, err), err, "attribute \"%s\" of set", a->name);
        LM_TRY(lm_step_set(step, NULL, a->name, value, a->comment, err));
    }
    if (!s->id) return LM_OK;
    const char *id = NULL;
    LM_TRY(lm_step_text(step, "id", &id, err));
    if (!*id) return LM_FAIL(err, LM_EINPUT, "the id \"%s\" is empty for this record", s->id);
    return lm_step_id(step, NULL, id, err);
}

static void set_close(void *self)
{
    set *s = self;
    for (size_t i = 0; i < s->n; i++) lm_condition_free(s->list[i].expression);
    s->list = lm_free(s->list);
    s->n = 0;
}

const lm_operator lm_op_set = {
    .name = "set",
    .version = 1,
    .summary = "Set attributes to constant or computed values, and the id",
    .doc = "All values are computed from the input as it came, in no order: what one name becomes is not "
           "seen by the others of the same node. Tensors stay as they are.",
    .example =
        "{values: {SURVEY: cosmos, LABEL: \"{BAND}-{id}\"}, compute: {FLUX: \"pow(10; -0.4 * (.attrs.MAG - 25))\"}}",
    .shape = LM_MAP,
    .flags = LM_HEADER,
    .size = sizeof(set),
    .params = params,
    .fields = fields,
    .check = set_check,
    .open = set_open,
    .step = set_step,
    .close = set_close,
};
