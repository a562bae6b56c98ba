/* Values from a graph against an operator's parameter table. */
#include "runtime/param.h"
#include "runtime/condition.h"
#include "runtime/param_internal.h"
#include "runtime/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name, *wants;
} types[] = {
    [LM_P_REAL] = {"real", "a number"},
    [LM_P_INT] = {"int", "a whole number"},
    [LM_P_BOOL] = {"bool", "true or false"},
    [LM_P_TEXT] = {"text", "a text"},
    [LM_P_PATH] = {"path", "a path"},
    [LM_P_CHOICE] = {"choice", "one of its choices"},
    [LM_P_DURATION] = {"duration", "a duration such as \"1.5s\", \"10min\" or a number of seconds"},
    [LM_P_TEXTS] = {"texts", "a list of texts"},
    [LM_P_REALS] = {"reals", "a list of numbers"},
    [LM_P_TREE] = {"tree", "any value"},
    [LM_P_WHERE] = {"where", "a jq expression"},
    [LM_P_WHERES] = {"wheres", "a map of names to jq expressions"},
};
_Static_assert(sizeof types / sizeof *types == LM_P_TYPES, "a type without name");

const char *lm_param_type_name(lm_param_type type)
{
    return (unsigned)type < LM_P_TYPES ? types[type].name : "unknown";
}

bool lm_param_type_parse(const char *name, lm_param_type *ret)
{
    for (size_t i = 0; i < LM_P_TYPES; i++)
        if (strcmp(types[i].name, name) == 0) {
            *ret = (lm_param_type)i;
            return true;
        }
    return false;
}

/* ---- paths ---- */

const char *lm_path_under(const char *folder, const char *path, bool templates, lm_arena *arena)
{
    if (path[0] == '/' || strstr(path, "://")) return path;
    size_t n = strlen(folder);
    while (n > 1 && folder[n - 1] == '/') n--;
    for (;;) {
        if (path[0] == '.' && (path[1] == '/' || !path[1])) {
            path += 1 + (path[1] == '/');
        } else if (path[0] == '.' && path[1] == '.' && (path[2] == '/' || !path[2])) {
            while (n && folder[n - 1] != '/') n--;
            if (n > 1) n--;
            path += 2 + (path[2] == '/');
        } else if (path[0] == '/') {
            path++;
        } else {
            break;
        }
    }
    if (n == 1 && folder[0] == '/') n = 0; /* the root: no second slash */
    lm_text text;
    lm_text_init(&text);
    for (size_t i = 0; i < n; i++) {
        lm_text_char(&text, folder[i]);
        if (templates && (folder[i] == '{' || folder[i] == '}')) lm_text_char(&text, folder[i]);
    }
    if (*path || !n) lm_text_char(&text, '/');
    lm_text_add(&text, path);
    const char *result = text.failed ? NULL : lm_arena_strdup(arena, lm_text_peek(&text));
    lm_text_done(&text);
    return result;
}

/* ---- canonical text ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void canonical_object(lm_text *text, const json_t *value)
{
    json_t *object = (json_t *)(uintptr_t)value; /* jansson's iterators take no const */
    size_t n = json_object_size(object), i = 0;
    const char **names = lm_alloc(n, sizeof *names);
    if (!names) {
        text->failed = true;
        return;
    }
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at))
        names[i++] = json_object_iter_key(at);
    qsort(names, n, sizeof *names, by_name);
    lm_text_char(text, '{');
    for (i = 0; i < n; i++) {
        if (i) lm_text_char(text, ',');
        lm_text_json(text, names[i]);
        lm_text_char(text, ':');
        lm_json_canonical(text, json_object_get(object, names[i]));
    }
    lm_text_char(text, '}');
    lm_free(names);
}

void lm_json_canonical(lm_text *text, const json_t *value)
{
    char buffer[32];
    switch (json_typeof(value)) {
    case JSON_OBJECT: canonical_object(text, value); break;
    case JSON_ARRAY:
        lm_text_char(text, '[');
        for (size_t i = 0; i < json_array_size(value); i++) {
            if (i) lm_text_char(text, ',');
            lm_json_canonical(text, json_array_get(value, i));
        }
        lm_text_char(text, ']');
        break;
    case JSON_STRING: lm_text_json(text, json_string_value(value)); break;
    case JSON_INTEGER: lm_text_format(text, "%lld", (long long)json_integer_value(value)); break;
    /* + 0.0: minus zero is zero */
    case JSON_REAL: lm_text_add(text, lm_text_real(buffer, json_real_value(value) + 0.0)); break;
    case JSON_TRUE: lm_text_add(text, "true"); break;
    case JSON_FALSE: lm_text_add(text, "false"); break;
    default: lm_text_add(text, "null"); break;
    }
}

/* ---- one value ---- */

typedef struct {
    const lm_param *param;
    const char *path, *folder;
    lm_arena *arena;
    const lm_param_reporter *reporter;
} conversion;

__attribute__((format(printf, 3, 4))) static lm_status reject(const conversion *c, const char *hint, const char *format,
                                                              ...)
{
    if (c->reporter && c->reporter->report) {
        lm_text text;
        char chars[1024];
        va_list args;
        va_start(args, format);
        vsnprintf(chars, sizeof chars, format, args);
        va_end(args);
        lm_text_init(&text);
        lm_text_format(&text, "\"%s\" %s", c->path, chars);
        c->reporter->report(c->reporter->arg, c->path, text.failed ? chars : lm_text_peek(&text), hint);
        lm_text_done(&text);
    }
    return LM_EGRAPH;
}

static const char *describe(char buffer[128], const json_t *value)
{
    char real[32];
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "a map";
    case JSON_ARRAY: return "a list";
    case JSON_STRING: {
        const char *text = json_string_value(value);
        snprintf(buffer, 128, strlen(text) > 80 ? "the text \"%.77s...\"" : "the text \"%s\"", text);
        return buffer;
    }
    case JSON_INTEGER: snprintf(buffer, 128, "the number %lld", (long long)json_integer_value(value)); return buffer;
    case JSON_REAL: snprintf(buffer, 128, "the number %s", lm_text_real(real, json_real_value(value))); return buffer;
    case JSON_TRUE: return "true";
    case JSON_FALSE: return "false";
    default: return "nothing";
    }
}

static lm_status wrong_type(const conversion *c, const json_t *value)
{
    char buffer[128], hint[160] = "";
    const char *text = json_string_value(value);
    lm_param_type type = c->param->type;
    bool number = type == LM_P_REAL || type == LM_P_INT || type == LM_P_REALS;
    char *end = NULL;
    if (text && number && *text && (strtod(text, &end), !*end)) {
        snprintf(hint, sizeof hint, "Remove the quotes.");
    } else if (text && lm_template_is(text)) {
        if (!c->param->per_record)
            return reject(c, "Only parameters that the reference marks \"per record\" take {NAME}.",
                          "cannot differ by record: %s", describe(buffer, value));
        snprintf(hint, sizeof hint, "A value for each record is one {NAME} alone; compute it before, with \"set\".");
    } else if (json_is_number(value) && (type == LM_P_TEXT || type == LM_P_PATH || type == LM_P_TEXTS)) {
        snprintf(hint, sizeof hint, "Put it in quotes to make it a text.");
    } else if (text && type == LM_P_BOOL) {
        snprintf(hint, sizeof hint, "In YAML 1.2 only true and false are truth values: yes, no, on and off are texts.");
    }
    const char *wants = types[type].wants;
    bool element = c->path != c->param->name; /* of a list */
    if (element && type == LM_P_TEXTS) wants = "a text";
    if (element && type == LM_P_REALS) wants = "a number";
    return reject(c, *hint ? hint : NULL, "wants %s, not %s", wants, describe(buffer, value));
}

char *lm_param_range(char buffer[128], const lm_param *param)
{
    char low[32], high[32];
    const char *space = param->unit && *param->unit ? " " : "", *unit = param->unit ? param->unit : "";
    buffer[0] = 0;
    if (!(param->min < 0 || param->min > 0 || param->max < 0 || param->max > 0)) return buffer;
    if (param->max > param->min && isinf(param->min))
        snprintf(buffer, 128, "at most %s%s%.40s", lm_text_real(high, param->max), space, unit);
    else if (param->max > param->min && !isinf(param->max))
        snprintf(buffer, 128, "between %s and %s%s%.40s", lm_text_real(low, param->min), lm_text_real(high, param->max),
                 space, unit);
    else snprintf(buffer, 128, "at least %s%s%.40s", lm_text_real(low, param->min), space, unit);
    return buffer;
}

static lm_status in_range(const conversion *c, double value)
{
    const lm_param *p = c->param;
    char range[128], number[32];
    if (!lm_param_range(range, p)[0]) return LM_OK;
    if (!(value < p->min) && !(p->max > p->min && value > p->max)) return LM_OK;
    return reject(c, NULL, "is %s, and must be %s", lm_text_real(number, value), range);
}

static lm_status real_value(const conversion *c, const json_t *value, double *ret)
{
    const char *text = json_string_value(value);
    double number;
    if (json_is_number(value)) number = json_number_value(value);
    else if (text && c->param->unit && strcmp(c->param->unit, "rad") == 0 && lm_parse_angle(text, &number)) (void)0;
    else return wrong_type(c, value);
    if (!isfinite(number)) return reject(c, NULL, "is not a finite number");
    LM_TRY(in_range(c, number));
    *ret = number;
    return LM_OK;
}

static lm_status int_value(const conversion *c, const json_t *value, json_t **ret)
{
    int64_t number;
    if (json_is_integer(value)) {
        number = json_integer_value(value);
    } else if (json_is_real(value)) { /* 1e6 is how people write a million */
        double real = json_real_value(value);
        if (!(fabs(real) <= 9007199254740992.0) || rint(real) < real || rint(real) > real) return wrong_type(c, value);
        number = (int64_t)real;
    } else {
        return wrong_type(c, value);
    }
    LM_TRY(in_range(c, (double)number));
    *ret = json_integer(number);
    return LM_OK;
}

static lm_status choice_value(const conversion *c, const json_t *value, json_t **ret)
{
    const char *text = json_string_value(value);
    lm_text all;
    lm_nearest nearest;
    lm_text_init(&all);
    lm_nearest_init(&nearest, text ? text : "");
    for (const char *const *choice = c->param->choices; choice && *choice; choice++) {
        if (text && strcmp(*choice, text) == 0) {
            lm_text_done(&all);
            *ret = json_string(text);
            return LM_OK;
        }
        lm_nearest_offer(&nearest, *choice);
        lm_text_format(&all, "%s\"%s\"", all.length ? choice[1] ? ", " : " or " : "", *choice);
    }
    char buffer[128], hint[160];
    bool near = text && nearest.best && nearest.distance < strlen(text);
    if (text && lm_template_is(text)) {
        lm_text_done(&all);
        return wrong_type(c, value);
    }
    snprintf(hint, sizeof hint, "Did you mean \"%.100s\"?", near ? nearest.best : "");
    lm_status status =
        reject(c, near ? hint : NULL, "wants %.600s, not %s", lm_text_peek(&all), describe(buffer, value));
    lm_text_done(&all);
    return status;
}

static lm_status path_value(const conversion *c, const char *text, json_t **ret)
{
    char here[4096];
    const char *folder = c->folder;
    if (!*text) return reject(c, NULL, "is empty, and must name a file or folder");
    if (c->param->output || !folder) {
        folder = getcwd(here, sizeof here);
        if (!folder) return reject(c, NULL, "cannot be made absolute: the working directory is gone");
    }
    const char *absolute = lm_path_under(folder, text, c->param->per_record, c->arena);
    if (!absolute) return LM_EMEMORY;
    *ret = json_string(absolute);
    return LM_OK;
}

static lm_status where_value(const conversion *c, const json_t *value, json_t **ret)
{
    const char *text = json_string_value(value);
    if (!text) return wrong_type(c, value);
    if (c->reporter && c->reporter->where) {
        c->reporter->where(c->reporter->arg, c->path, text);
    } else {
        lm_error err;
        lm_error_clear(&err);
        lm_condition *condition = NULL;
        lm_status status = lm_condition_new(text, &condition, &err);
        lm_condition_free(condition);
        if (status == LM_EMEMORY) return status;
        if (status) return reject(c, err.hint[0] ? err.hint : NULL, "is not a jq expression: %s", err.text);
    }
    *ret = json_string(text);
    return LM_OK;
}

static lm_status wheres_value(const conversion *c, json_t *value, json_t **ret)
{
    static const lm_param one = {.type = LM_P_WHERE};
    if (!json_is_object(value)) return wrong_type(c, value);
    json_t *map = json_object();
    if (!map) return LM_EMEMORY;
    lm_status status = LM_OK;
    const char *name;
    json_t *item;
    json_object_foreach(value, name, item)
    {
        conversion inner = *c;
        inner.param = &one;
        inner.path = lm_arena_printf(c->arena, "%s.%s", c->path, name);
        json_t *made = NULL;
        lm_status of_item = inner.path ? where_value(&inner, item, &made) : LM_EMEMORY;
        if (!of_item && json_object_set_new(map, name, made)) of_item = LM_EMEMORY;
        if (of_item && status != LM_EMEMORY) status = of_item;
    }
    if (status) json_decref(map);
    else *ret = map;
    return status;
}

static lm_status text_value(const conversion *c, const json_t *value, json_t **ret)
{
    const lm_param *p = c->param;
    const char *text = json_string_value(value);
    if (!text) return wrong_type(c, value);
    if (!p->per_record) {
        if (lm_template_is(text))
            return reject(c, "Write \"{{\" and \"}}\" for braces; only parameters marked \"per record\" take {NAME}.",
                          "cannot differ by record: the text \"%.100s\"", text);
        text = lm_template_plain(text, c->arena);
        if (!text) return LM_EMEMORY;
    }
    if (p->type == LM_P_PATH) return path_value(c, text, ret);
    *ret = json_string(text);
    return LM_OK;
}

static lm_status list_value(const conversion *c, const json_t *value, json_t **ret)
{
    bool single = !json_is_array(value);
    size_t n = single ? 1 : json_array_size(value);
    json_t *list = json_array();
    if (!list) return LM_EMEMORY;
    lm_status status = LM_OK;
    for (size_t i = 0; i < n; i++) {
        const json_t *item = single ? value : json_array_get(value, i);
        conversion inner = *c;
        if (!single) {
            inner.path = lm_arena_printf(c->arena, "%s.%zu", c->path, i);
            if (!inner.path) status = LM_EMEMORY;
        }
        json_t *made = NULL;
        lm_status one;
        double number = 0;
        if (!inner.path) break;
        if (c->param->type == LM_P_REALS) {
            one = real_value(&inner, item, &number);
            if (!one) made = json_real(number);
        } else {
            one = json_is_string(item) ? LM_OK : wrong_type(&inner, item);
            if (!one) made = json_string(json_string_value(item));
        }
        if (one) status = one;
        else if (json_array_append_new(list, made)) status = LM_EMEMORY;
    }
    if (status) json_decref(list);
    else *ret = list;
    return status;
}

static lm_status duration_value(const conversion *c, const json_t *value, json_t **ret)
{
    double seconds = 0;
    const char *text = json_string_value(value);
    if (json_is_number(value)) seconds = json_number_value(value);
    else if (!text || !lm_parse_duration(text, &seconds)) return wrong_type(c, value);
    if (!(seconds >= 0) || !isfinite(seconds)) return reject(c, NULL, "must be a positive duration");
    LM_TRY(in_range(c, seconds));
    *ret = json_real(seconds);
    return LM_OK;
}

lm_status lm_param_convert(const lm_param *param, json_t *value, const char *path, const char *folder, lm_arena *arena,
                           json_t **ret, const lm_param_reporter *reporter)
{
    const conversion c = {.param = param, .path = path, .folder = folder, .arena = arena, .reporter = reporter};
    const char *text = json_string_value(value);
    json_t *made = NULL;
    lm_status status = LM_OK;
    double number = 0;
    bool number_type = param->type == LM_P_REAL || param->type == LM_P_INT || param->type == LM_P_BOOL ||
                       param->type == LM_P_CHOICE || param->type == LM_P_DURATION;
    if (number_type && param->per_record && text && lm_template_lone(text)) {
        made = json_string(text);
    } else {
        switch (param->type) {
        case LM_P_REAL:
            status = real_value(&c, value, &number);
            if (!status) made = json_real(number);
            break;
        case LM_P_INT: status = int_value(&c, value, &made); break;
        case LM_P_BOOL:
            if (json_is_boolean(value)) made = json_boolean(json_is_true(value));
            else status = wrong_type(&c, value);
            break;
        case LM_P_CHOICE: status = choice_value(&c, value, &made); break;
        case LM_P_DURATION: status = duration_value(&c, value, &made); break;
        case LM_P_TEXTS:
        case LM_P_REALS: status = list_value(&c, value, &made); break;
        case LM_P_TREE: made = json_deep_copy(value); break;
        case LM_P_WHERE: status = where_value(&c, value, &made); break;
        case LM_P_WHERES: status = wheres_value(&c, value, &made); break;
        case LM_P_TEXT:
        case LM_P_PATH: status = text_value(&c, value, &made); break;
        default: return LM_EBUG;
        }
    }
    if (status) return status;
    if (!made) return LM_EMEMORY;
    *ret = made;
    return LM_OK;
}

json_t *lm_param_default(const lm_param *param, const char *folder, lm_arena *arena)
{
    switch (param->type) {
    case LM_P_REAL:
    case LM_P_DURATION: return isfinite(param->real) ? json_real(param->real) : json_null();
    case LM_P_INT: return json_integer(param->integer);
    case LM_P_BOOL: return json_boolean(param->boolean);
    case LM_P_TEXT:
    case LM_P_WHERE:
    case LM_P_CHOICE: return param->text ? json_string(param->text) : json_null();
    case LM_P_PATH: {
        if (!param->text) return json_null();
        const conversion c = {.param = param, .path = param->name, .folder = folder, .arena = arena};
        json_t *path = NULL;
        return path_value(&c, param->text, &path) ? NULL : path;
    }
    default: return param->text ? json_loads(param->text, JSON_DECODE_ANY, NULL) : json_null();
    }
}

/* ---- the operator's struct ---- */

static lm_status fill_list(const lm_param *param, const json_t *value, lm_arena *arena, void *field)
{
    size_t n = json_is_array(value) ? json_array_size(value) : 0;
    if (param->type == LM_P_REALS) {
        double *at = lm_arena_alloc(arena, n, sizeof *at);
        if (!at) return LM_EMEMORY;
        for (size_t i = 0; i < n; i++) at[i] = json_number_value(json_array_get(value, i));
        *(lm_reals *)field = (lm_reals){.n = n, .at = at};
    } else {
        const char **at = lm_arena_alloc(arena, n, sizeof *at);
        if (!at) return LM_EMEMORY;
        for (size_t i = 0; i < n; i++) at[i] = json_string_value(json_array_get(value, i));
        *(lm_texts *)field = (lm_texts){.n = n, .at = at};
    }
    return LM_OK;
}

static lm_status fill_field(const lm_param *param, json_t *value, lm_arena *arena, void *self)
{
    void *field = (char *)self + param->offset;
    const char *text = json_string_value(value);
    switch (param->type) {
    case LM_P_REAL:
    case LM_P_DURATION: *(double *)field = json_is_number(value) ? json_number_value(value) : (double)NAN; break;
    case LM_P_INT: *(int64_t *)field = json_integer_value(value); break;
    case LM_P_BOOL: *(bool *)field = json_is_true(value); break;
    case LM_P_TEXT:
    case LM_P_PATH:
    case LM_P_WHERE: *(const char **)field = text; break;
    case LM_P_TREE:
    case LM_P_WHERES: *(json_t **)field = json_is_null(value) ? NULL : value; break;
    case LM_P_CHOICE:
        for (int i = 0; text && param->choices[i]; i++)
            if (strcmp(param->choices[i], text) == 0) *(int *)field = i;
        break;
    default: return fill_list(param, value, arena, field);
    }
    return LM_OK;
}

/* ---- all of an operator's parameters ---- */

static void report(const lm_param_reporter *reporter, const char *path, const char *text, const char *hint)
{
    if (reporter && reporter->report) reporter->report(reporter->arg, path, text, hint);
}

static const lm_param *param_of(const lm_operator *op, const char *name)
{
    for (const lm_param *p = op->params; p && p->name; p++)
        if (strcmp(p->name, name) == 0) return p;
    return NULL;
}

static void report_unknown(const lm_operator *op, const char *name, const lm_param_reporter *reporter)
{
    char text[512];
    lm_nearest nearest;
    lm_text hint;
    lm_text_init(&hint);
    lm_nearest_init(&nearest, name);
    for (const lm_param *p = op->params; p && p->name; p++) {
        lm_nearest_offer(&nearest, p->name);
        lm_text_format(&hint, "%s %s", hint.length ? "," : "It takes:", p->name);
    }
    lm_text_add(&hint, hint.length ? "." : "It has none.");
    if (nearest.best && nearest.distance < strlen(name)) {
        lm_text_clear(&hint);
        lm_text_format(&hint, "Did you mean \"%s\"?", nearest.best);
    }
    snprintf(text, sizeof text, "\"%.100s\" has no parameter \"%.200s\"", op->name, name);
    report(reporter, name, text, hint.failed ? NULL : lm_text_peek(&hint));
    lm_text_done(&hint);
}

static size_t report_unknowns(const lm_operator *op, const json_t *with, const lm_param_reporter *reporter)
{
    size_t n = 0;
    json_t *object = (json_t *)(uintptr_t)with; /* jansson's iterators take no const */
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
        if (param_of(op, json_object_iter_key(at))) continue;
        report_unknown(op, json_object_iter_key(at), reporter);
        n++;
    }
    return n;
}

/* Is a name one of those in a list that is parted by blanks? */
static bool is_among(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = list; at && (at = strstr(at, name)); at += n)
        if ((at == list || at[-1] == ' ') && (!at[n] || at[n] == ' ')) return true;
    return false;
}

/* A map with those of its names that are, or are not, lengths: a new object. */
static json_t *lengths_of(const lm_param *p, json_t *value, bool wanted)
{
    json_t *part = json_object();
    const char *name;
    json_t *item;
    json_object_foreach(value, name, item)
    {
        if (!part || is_among(p->lengths, name) != wanted || !json_object_set(part, name, item)) continue;
        json_decref(part);
        return NULL;
    }
    return part;
}

static lm_status put_keyed(const lm_param *p, json_t *value, json_t *keyed)
{
    json_t *part = p->lengths && json_is_object(value) ? lengths_of(p, value, false) : json_incref(value);
    return part && !json_object_set_new(keyed, p->name, part) ? LM_OK : LM_EMEMORY;
}

static const char *canonical_text(const json_t *value, lm_arena *arena)
{
    lm_text text;
    lm_text_init(&text);
    lm_json_canonical(&text, value);
    const char *canonical = text.failed ? NULL : lm_arena_strdup(arena, lm_text_peek(&text));
    lm_text_done(&text);
    return canonical;
}

lm_status lm_params_length(const lm_operator *op, const json_t *params, lm_arena *arena, const char **ret)
{
    *ret = NULL;
    json_t *lengths = NULL;
    for (const lm_param *p = op->params; p && p->name; p++) {
        json_t *value = p->lengths ? json_object_get(params, p->name) : NULL;
        if (!p->lengths) continue;
        if (!lengths) lengths = json_object();
        json_t *part = lengths ? lengths_of(p, value, true) : NULL;
        if (part && !json_object_set_new(lengths, p->name, part)) continue;
        json_decref(lengths);
        return LM_EMEMORY;
    }
    if (!lengths) return LM_OK;
    *ret = canonical_text(lengths, arena);
    json_decref(lengths);
    return *ret ? LM_OK : LM_EMEMORY;
}

lm_status lm_params_fill(const lm_operator *op, const json_t *with, const char *folder, lm_arena *arena, void *self,
                         json_t **ret_complete, const char **ret_canonical, const lm_param_reporter *reporter)
{
    if (json_is_null(with)) with = NULL;
    if (with && !json_is_object(with)) {
        report(reporter, "", "\"with\" must be a map of parameters", NULL);
        return LM_EGRAPH;
    }
    lm_status status = with && report_unknowns(op, with, reporter) ? LM_EGRAPH : LM_OK;
    json_t *complete = json_object(), *keyed = json_object();
    if (!complete || !keyed) status = LM_EMEMORY;
    for (const lm_param *p = op->params; p && p->name && status != LM_EMEMORY; p++) {
        json_t *given = with ? json_object_get(with, p->name) : NULL;
        json_t *value = NULL;
        lm_status one = LM_OK;
        /* A source has no input record: what {NAME} means in its texts is its own affair. */
        lm_param rules = *p;
        rules.per_record |= op->shape == LM_SOURCE && p->type == LM_P_TEXT;
        if (given && !json_is_null(given)) {
            one = lm_param_convert(&rules, given, p->name, folder, arena, &value, reporter);
        } else if (p->required) {
            char text[512], hint[400];
            const char *doc = p->doc ? p->doc : "", *stop = strstr(doc, ". ");
            snprintf(text, sizeof text, "\"%.100s\" needs the parameter \"%s\"", op->name, p->name);
            snprintf(hint, sizeof hint, "Add \"%s\" (%s): %.*s", p->name, lm_param_type_name(p->type),
                     stop ? (int)(stop - doc) : (int)strlen(doc), doc);
            report(reporter, "", text, hint);
            one = LM_EGRAPH;
        } else {
            value = lm_param_default(p, folder, arena);
            if (!value) one = LM_EMEMORY;
        }
        if (!one && self && fill_field(p, value, arena, self)) one = LM_EMEMORY;
        if (!one && p->type != LM_P_PATH && !p->extent && !p->no_key) one = put_keyed(p, value, keyed);
        if (!one && json_object_set(complete, p->name, value)) one = LM_EMEMORY;
        json_decref(value);
        if (one && status != LM_EMEMORY) status = one;
    }
    const char *canonical = status ? NULL : canonical_text(keyed, arena);
    if (!status && !canonical) status = LM_EMEMORY;
    json_decref(keyed);
    if (status) {
        json_decref(complete);
        return status;
    }
    *ret_complete = complete;
    if (ret_canonical) *ret_canonical = canonical;
    return LM_OK;
}
