/* The JSON Schema (draft 2020-12) of graph files, from the tables of the operators that are registered.
 *
 * It says what an editor can know: names, types, ranges, choices. What needs the graph itself (does this node exist? does a
 * tensor arrive?) is the work of lm_graph_load.
 */
#include "runtime/param_internal.h"
#include "runtime/registry.h"

#include <math.h>
#include <string.h>

/* A small builder: after a failed allocation everything it makes is thrown away at the end. */
typedef struct {
    bool failed;
} maker;

static json_t *checked(maker *m, json_t *value)
{
    if (!value) m->failed = true;
    return value;
}

static void set(maker *m, json_t *object, const char *name, json_t *value)
{
    if (json_object_set_new(object, name, value)) m->failed = true;
}

static void append(maker *m, json_t *array, json_t *value)
{
    if (json_array_append_new(array, value)) m->failed = true;
}

/* A piece that never changes, written as JSON. */
static json_t *fixed(maker *m, const char *text)
{
    return checked(m, json_loads(text, JSON_DECODE_ANY, NULL));
}

static json_t *reference(maker *m, const char *name)
{
    return checked(m, json_pack("{s:s+}", "$ref", "#/$defs/", name));
}

static json_t *number_schema(maker *m, const lm_param *p, const char *type)
{
    json_t *schema = checked(m, json_pack("{s:s}", "type", type));
    bool bounded = p->min < 0 || p->min > 0 || p->max < 0 || p->max > 0;
    if (bounded && !isinf(p->min)) set(m, schema, "minimum", json_real(p->min));
    if (bounded && p->max > p->min && !isinf(p->max)) set(m, schema, "maximum", json_real(p->max));
    return schema;
}

static json_t *choice_schema(maker *m, const lm_param *p)
{
    json_t *names = checked(m, json_array());
    for (size_t i = 0; p->choices[i]; i++) append(m, names, json_string(p->choices[i]));
    return checked(m, json_pack("{s:o}", "enum", names));
}

/* The forms that a value of a type may take, added to a list of alternatives. */
static void add_forms(maker *m, json_t *forms, const lm_param *p)
{
    bool angle = p->unit && strcmp(p->unit, "rad") == 0;
    json_t *number = NULL;
    switch (p->type) {
    case LM_P_REAL:
    case LM_P_REALS:
        number = number_schema(m, p, "number");
        if (angle) {
            json_t *both = checked(m, json_array());
            append(m, both, number);
            append(m, both, reference(m, "angle"));
            number = checked(m, json_pack("{s:o}", "anyOf", both));
        }
        if (p->type == LM_P_REALS) {
            json_t *list = checked(m, json_pack("{s:s, s:O}", "type", "array", "items", number));
            append(m, forms, list);
        }
        append(m, forms, number);
        break;
    case LM_P_INT: append(m, forms, number_schema(m, p, "integer")); break;
    case LM_P_BOOL: append(m, forms, fixed(m, "{\"type\": \"boolean\"}")); break;
    case LM_P_CHOICE: append(m, forms, choice_schema(m, p)); break;
    case LM_P_DURATION: append(m, forms, reference(m, "duration")); break;
    case LM_P_TEXTS: append(m, forms, fixed(m, "{\"type\": \"array\", \"items\": {\"type\": \"string\"}}")); break;
    case LM_P_TREE: append(m, forms, p->schema ? fixed(m, p->schema) : fixed(m, "{}")); break;
    case LM_P_WHERES:
        append(m, forms, fixed(m, "{\"type\": \"object\", \"additionalProperties\": {\"type\": \"string\"}}"));
        break;
    default: break;
    }
    bool text = p->type == LM_P_TEXT || p->type == LM_P_PATH || p->type == LM_P_WHERE || p->type == LM_P_TEXTS;
    if (text) append(m, forms, fixed(m, "{\"type\": \"string\"}"));
    else append(m, forms, reference(m, "substitution"));
    if (p->per_record && !text) append(m, forms, reference(m, "per_record"));
    if (!p->required) append(m, forms, fixed(m, "{\"type\": \"null\"}"));
}

static json_t *param_schema(maker *m, const lm_param *p)
{
    json_t *forms = checked(m, json_array());
    add_forms(m, forms, p);
    json_t *schema = checked(m, json_pack("{s:o}", "anyOf", forms));
    if (p->unit && *p->unit) set(m, schema, "description", json_sprintf("%s (%s)", p->doc ? p->doc : "", p->unit));
    else set(m, schema, "description", json_string(p->doc ? p->doc : ""));
    if (p->required) return schema;
    json_t *value = p->type != LM_P_PATH ? lm_param_default(p, NULL, NULL)
                    : p->text            ? json_string(p->text)
                                         : json_null();
    if (json_is_null(value)) json_decref(value);
    else set(m, schema, "default", value);
    return schema;
}

static json_t *with_schema(maker *m, const lm_operator *op)
{
    json_t *properties = checked(m, json_object()), *required = checked(m, json_array());
    for (const lm_param *p = op->params; p && p->name; p++) {
        set(m, properties, p->name, param_schema(m, p));
        if (p->required) append(m, required, json_string(p->name));
    }
    return checked(m, json_pack("{s:s, s:o, s:o, s:b}", "type", "object", "properties", properties, "required",
                                required, "additionalProperties", 0));
}

static json_t *rule(maker *m, const lm_operator *op)
{
    bool required = false;
    for (const lm_param *p = op->params; p && p->name; p++) required |= p->required;
    json_t *then = checked(m, json_pack("{s:{s:o}}", "properties", "with", with_schema(m, op)));
    if (required) set(m, then, "required", json_pack("[s]", "with"));
    return checked(m, json_pack("{s:{s:{s:{s:s}}, s:[s]}, s:o}", "if", "properties", "op", "const", op->name,
                                "required", "op", "then", then));
}

static const char definitions[] =
    "{"
    "\"substitution\": {\"type\": \"string\", \"pattern\": \"\\\\$\\\\{\", \"description\": \"${param}\"},"
    "\"per_record\": {\"type\": \"string\", \"pattern\": \"^\\\\{[^{}]+\\\\}$\", \"description\": \"{NAME}: the "
    "record's own value\"},"
    "\"angle\": {\"type\": \"string\", \"pattern\": \"(rad|deg|arcmin|arcsec|mas)$\"},"
    "\"duration\": {\"anyOf\": [{\"type\": \"number\", \"minimum\": 0},"
    "  {\"type\": \"string\", \"pattern\": \"^[0-9.eE+-]+ *(us|ms|s|m|min|h|d)?$\"}, {\"$ref\": "
    "\"#/$defs/substitution\"}]},"
    "\"node_port\": {\"type\": \"string\", \"pattern\": \"^[A-Za-z0-9_-]+(\\\\.[A-Za-z0-9_-]+)?$|\\\\$\\\\{\"},"
    "\"feeds\": {\"anyOf\": [{\"$ref\": \"#/$defs/node_port\"},"
    "  {\"type\": \"array\", \"minItems\": 1, \"items\": {\"$ref\": \"#/$defs/node_port\"}}]},"
    "\"action\": {\"enum\": [\"route\", \"skip\", \"stop\"]},"
    "\"kind\": {\"enum\": [\"io\", \"timeout\", \"memory\", \"crash\", \"input\"]},"
    "\"param\": {\"type\": \"object\", \"required\": [\"type\"], \"additionalProperties\": false, \"properties\": {"
    "  \"type\": {\"enum\": [\"real\", \"int\", \"bool\", \"text\", \"path\", \"choice\", \"duration\", \"texts\", "
    "\"reals\", \"tree\", \"where\", \"wheres\"]},"
    "  \"default\": {}, \"min\": {\"type\": \"number\"}, \"max\": {\"type\": \"number\"}, \"doc\": {\"type\": "
    "\"string\"},"
    "  \"unit\": {\"type\": \"string\"},"
    "  \"choices\": {\"type\": \"array\", \"minItems\": 1, \"items\": {\"type\": \"string\"}}}}"
    "}";

static const char node_properties[] =
    "{"
    "\"in\": {\"description\": \"what feeds it: a node, node.port, a map of ports, a list for a merge\","
    "  \"anyOf\": [{\"$ref\": \"#/$defs/feeds\"}, {\"type\": \"object\", \"additionalProperties\": {\"$ref\": "
    "\"#/$defs/feeds\"}}]},"
    "\"with\": {\"type\": [\"object\", \"null\"], \"description\": \"the operator's parameters\"},"
    "\"doc\": {\"type\": \"string\"},"
    "\"on_error\": {\"description\": \"what happens to an input that fails\", \"anyOf\": [{\"$ref\": "
    "\"#/$defs/action\"},"
    "  {\"type\": \"object\", \"additionalProperties\": false, \"properties\": {"
    "    \"retry\": {\"type\": \"integer\", \"minimum\": 0, \"maximum\": 1000}, \"backoff\": {\"$ref\": "
    "\"#/$defs/duration\"},"
    "    \"when\": {\"anyOf\": [{\"$ref\": \"#/$defs/kind\"}, {\"type\": \"array\", \"items\": {\"$ref\": "
    "\"#/$defs/kind\"}}]},"
    "    \"then\": {\"$ref\": \"#/$defs/action\"}}}, {\"$ref\": \"#/$defs/substitution\"}]},"
    "\"workers\": {\"description\": \"the most steps of this node at once\", \"anyOf\":"
    "  [{\"type\": \"integer\", \"minimum\": 1, \"maximum\": 4096}, {\"$ref\": \"#/$defs/substitution\"}]},"
    "\"cache\": {\"description\": \"keep its results in the store\", \"anyOf\": [{\"enum\": [\"keep\", \"none\"]}, "
    "{\"$ref\": \"#/$defs/substitution\"}]},"
    "\"timeout\": {\"$ref\": \"#/$defs/duration\"},"
    "\"window\": {\"description\": \"of a gather: when it is full\", \"anyOf\": [{\"const\": \"all\"}, {\"type\": "
    "\"object\","
    "  \"minProperties\": 1, \"additionalProperties\": false, \"properties\": {\"count\": {\"anyOf\": [{\"type\": "
    "\"integer\", \"minimum\": 1},"
    "  {\"$ref\": \"#/$defs/substitution\"}]}, \"wait\": {\"$ref\": \"#/$defs/duration\"}}}, {\"$ref\": "
    "\"#/$defs/substitution\"}]},"
    "\"on\": {\"type\": \"string\", \"description\": \"of a join or a look-up: id, or the attribute that both sides "
    "share\"},"
    "\"within\": {\"$ref\": \"#/$defs/duration\"},"
    "\"salt\": {\"type\": [\"string\", \"integer\"], \"description\": \"tells equal random nodes apart\"}"
    "}";

static const char top_properties[] =
    "{"
    "\"lensmill\": {\"const\": 1, \"description\": \"version of the graph language\"},"
    "\"name\": {\"type\": \"string\"}, \"doc\": {\"type\": \"string\"},"
    "\"seed\": {\"description\": \"every random draw derives from it\", \"anyOf\": [{\"type\": \"integer\", "
    "\"minimum\": 0},"
    "  {\"$ref\": \"#/$defs/substitution\"}]},"
    "\"params\": {\"type\": [\"object\", \"null\"], \"additionalProperties\": {\"$ref\": \"#/$defs/param\"}},"
    "\"plugins\": {\"type\": [\"array\", \"null\"], \"items\": {\"type\": \"string\"}},"
    "\"nodes\": {\"type\": \"object\", \"minProperties\": 1, \"propertyNames\": {\"pattern\": \"^[A-Za-z0-9_-]+$\"},"
    "  \"additionalProperties\": {\"$ref\": \"#/$defs/node\"}},"
    "\"inputs\": {\"type\": [\"object\", \"null\"], \"additionalProperties\": {\"$ref\": \"#/$defs/feeds\"}},"
    "\"outputs\": {\"type\": [\"object\", \"null\"], \"additionalProperties\": {\"$ref\": \"#/$defs/node_port\"}}"
    "}";

static json_t *node_schema(maker *m)
{
    json_t *names = checked(m, json_array()), *rules = checked(m, json_array());
    for (size_t i = 0; i < lm_registry_count(); i++) {
        const lm_operator *op = lm_registry_at(i);
        append(m, names, checked(m, json_pack("{s:s, s:s}", "const", op->name, "description", op->summary)));
        append(m, rules, rule(m, op));
    }
    append(m, names,
           fixed(m, "{\"type\": \"string\", \"pattern\": \"/|\\\\.ya?ml$|\\\\$\\\\{\", "
                    "\"description\": \"another graph as a node\"}"));
    json_t *properties = fixed(m, node_properties);
    set(m, properties, "op", json_pack("{s:s, s:o}", "description", "the operator", "anyOf", names));
    return checked(m, json_pack("{s:s, s:[s], s:o, s:b, s:o}", "type", "object", "required", "op", "properties",
                                properties, "additionalProperties", 0, "allOf", rules));
}

json_t *lm_graph_schema(void)
{
    maker m = {false};
    json_t *defs = fixed(&m, definitions);
    set(&m, defs, "node", node_schema(&m));
    json_t *schema =
        json_pack("{s:s, s:s, s:s, s:[s,s], s:o, s:b, s:o}", "$schema", "https://json-schema.org/draft/2020-12/schema",
                  "title", "lensmill graph", "type", "object", "required", "lensmill", "nodes", "properties",
                  fixed(&m, top_properties), "additionalProperties", 0, "$defs", defs);
    if (schema && !m.failed) return schema;
    json_decref(schema);
    return NULL;
}
