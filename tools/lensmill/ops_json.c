#include "tools/lensmill/ops_json.h"
#include "runtime/graph.h"
#include "runtime/param_internal.h"
#include "runtime/registry.h"

#include <string.h>

const char *lm_ops_shape(lm_shape shape)
{
    static const char *const names[] = {"map", "source", "generator", "gather", "sink"};
    return names[shape];
}

const char *lm_ops_port(lm_port_kind kind)
{
    static const char *const names[] = {"stream", "broadcast", "lookup", "gather", "merge", "out"};
    return names[kind];
}

const char *lm_ops_kind(lm_kind kind)
{
    static const char *const names[] = {"any", "bool", "int", "real", "text"};
    return names[kind];
}

const char *lm_ops_dtype(lm_dtype dtype)
{
    switch (dtype) {
    case LM_ANY_DTYPE: return "any dtype";
    case LM_FLOATS: return "float32 or float64";
    case LM_NUMBERS: return "real numbers";
    case LM_SAME_DTYPE: return "the input's dtype";
    default: return lm_dtype_name(dtype);
    }
}

static json_t *default_json(const lm_param *p)
{
    if (p->type == LM_P_PATH) return p->text ? json_string(p->text) : json_null();
    return lm_param_default(p, NULL, NULL);
}

char *lm_ops_default(const lm_param *p)
{
    json_t *value = default_json(p);
    lm_text text;
    lm_text_init(&text);
    if (json_is_string(value)) lm_text_add(&text, json_string_value(value));
    else if (value) lm_json_canonical(&text, value);
    if (json_is_string(value) && !text.length) lm_text_add(&text, "\"\"");
    json_decref(value);
    return lm_text_take(&text);
}

static json_t *param_json(const lm_param *p)
{
    json_t *o = json_pack("{s:s, s:s, s:s, s:o, s:b, s:b}", "name", p->name, "type", lm_param_type_name(p->type), "doc",
                          p->doc ? p->doc : "", "default", p->required ? json_null() : default_json(p), "required",
                          p->required, "per_record", p->per_record);
    char range[128];
    if (lm_param_range(range, p)[0]) {
        if (!isinf(p->min)) json_object_set_new(o, "min", json_real(p->min));
        if (p->max > p->min && !isinf(p->max)) json_object_set_new(o, "max", json_real(p->max));
    }
    if (p->unit) json_object_set_new(o, "unit", json_string(p->unit));
    if (p->extent) json_object_set_new(o, "extent", json_true());
    if (p->output) json_object_set_new(o, "output", json_true());
    if (p->type == LM_P_CHOICE) {
        json_t *choices = json_array();
        for (size_t i = 0; p->choices[i]; i++) json_array_append_new(choices, json_string(p->choices[i]));
        json_object_set_new(o, "choices", choices);
    }
    if (p->schema) json_object_set_new(o, "schema", json_loads(p->schema, JSON_DECODE_ANY, NULL));
    return o;
}

static json_t *ports_json(const lm_operator *op, bool out)
{
    const lm_port *ports[16];
    size_t n = out ? lm_operator_outputs(op, ports) : lm_operator_inputs(op, ports);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *fields = json_array();
        for (const lm_field *f = op->fields; f && f->port; f++) {
            if (f->out != out || strcmp(f->port, ports[i]->name) != 0) continue;
            json_t *field =
                json_pack("{s:s, s:s, s:b, s:b, s:s, s:s?}", "name", f->name, f->attribute ? "kind" : "dtype",
                          f->attribute ? lm_ops_kind(f->kind) : lm_ops_dtype(f->dtype), "attribute", f->attribute,
                          "optional", f->optional, "doc", f->doc ? f->doc : "", "unit", f->unit);
            if (f->shape) json_object_set_new(field, "shape", json_string(f->shape));
            json_array_append_new(fields, field);
        }
        json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:s, s:o}", "name", ports[i]->name, "kind",
                                              lm_ops_port(ports[i]->kind), "optional", ports[i]->optional, "doc",
                                              ports[i]->doc ? ports[i]->doc : "", "fields", fields));
    }
    return list;
}

json_t *lm_ops_json_short(const lm_operator *op)
{
    return json_pack("{s:s, s:s, s:s}", "name", op->name, "room", lm_operator_room(op), "summary", op->summary);
}

json_t *lm_ops_json(const lm_operator *op)
{
    json_t *params = json_array();
    for (const lm_param *p = op->params; p && p->name; p++) json_array_append_new(params, param_json(p));
    return json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:s?, s:b, s:o, s:o, s:o}", "name", op->name, "room",
                     lm_operator_room(op), "version", op->version, "shape", lm_ops_shape(op->shape), "summary",
                     op->summary, "doc", op->doc ? op->doc : "", "example", op->example, "random",
                     (op->flags & LM_RANDOM) != 0, "inputs", ports_json(op, false), "outputs", ports_json(op, true),
                     "params", params);
}
