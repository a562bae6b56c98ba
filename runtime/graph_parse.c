/* A graph file and its params: what it says before any operator is asked. */
#include "runtime/graph_internal.h"
#include "runtime/registry.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- reading ---- */

static const char *read_bytes(lm_loader *l, const char *path, size_t *ret_n, const char **ret_why)
{
    /* O_NONBLOCK: a named pipe must not hold us for ever. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st)) {
        *ret_why = strerror(errno);
        if (fd >= 0) close(fd);
        return NULL;
    }
    char *bytes = NULL;
    size_t n = 0;
    if (!S_ISREG(st.st_mode)) {
        *ret_why = S_ISDIR(st.st_mode) ? "it is a folder" : "it is not a regular file";
    } else if (st.st_size > LM_YAML_BYTES) {
        *ret_why = "it is larger than 4 MB: a graph file holds wiring, data belongs in files that it names";
    } else if (!(bytes = lm_arena_alloc(l->arena, (size_t)st.st_size + 1, 1))) {
        l->nomem = true;
    } else {
        while (n < (size_t)st.st_size) {
            ssize_t got = read(fd, bytes + n, (size_t)st.st_size - n);
            if (got < 0 && errno == EINTR) continue;
            if (got < 0) {
                *ret_why = strerror(errno);
                bytes = NULL;
            }
            if (got <= 0) break;
            n += (size_t)got;
        }
    }
    close(fd);
    *ret_n = n;
    return bytes;
}

static const char *folder_of(lm_loader *l, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *folder = !slash          ? lm_arena_strdup(l->arena, ".")
                         : slash == path ? lm_arena_strdup(l->arena, "/")
                                         : lm_arena_strndup(l->arena, path, (size_t)(slash - path));
    if (!folder) l->nomem = true;
    return folder;
}

/* Where faults of reading a file are reported: at the node that names it, or of the file as a whole. */
static void cannot_read(lm_loader *l, const lm_scope *scope, const char *name, const char *why)
{
    if (scope->parent) {
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): who has a parent has an owner */
        const lm_yaml *op = lm_yaml_get(scope->owner->body, "op");
        lm_graph_fault(l, scope->parent, op ? op->line : 0, op ? op->column : 0, NULL,
                       "the sub-graph \"%s\" cannot be read: %s", name, why);
    } else {
        lm_graph_fault(l, scope, 0, 0, NULL, "cannot be read: %s", why);
        l->io = true;
    }
}

static lm_source *source_named(const lm_loader *l, const char *name)
{
    for (size_t i = 0; i < l->n_sources; i++)
        if (strcmp(l->sources[i]->name, name) == 0 && *l->sources[i]->folder) return l->sources[i];
    return NULL;
}

static lm_source *read_source(lm_loader *l, lm_scope *scope, const char *name)
{
    lm_source *source = source_named(l, name); /* a sub-graph that is used again */
    if (source) {
        scope->source = source;
        scope->folder = source->folder;
        return source;
    }
    source = lm_arena_alloc(l->arena, 1, sizeof *source);
    const char *folder = folder_of(l, name);
    char resolved[PATH_MAX];
    if (!source || !folder || !lm_grow(&l->sources, l->n_sources, &l->cap_sources, sizeof *l->sources)) {
        l->nomem = true;
        return NULL;
    }
    *source = (lm_source){.name = name, .path = name, .folder = "", .bytes = "", .order = l->n_sources};
    l->sources[l->n_sources++] = source;
    scope->source = source;
    const char *why = "unknown reason";
    source->bytes = read_bytes(l, name, &source->n, &why);
    if (!source->bytes) {
        source->bytes = "";
        if (!l->nomem) cannot_read(l, scope, name, why);
        return NULL;
    }
    scope->folder = realpath(folder, resolved) ? lm_arena_strdup(l->arena, resolved) : folder;
    source->path = realpath(name, resolved) ? lm_arena_strdup(l->arena, resolved) : name;
    if (!scope->folder || !source->path) l->nomem = true;
    else source->folder = scope->folder;
    return l->nomem ? NULL : source;
}

/* ---- ${param} ---- */

static lm_variable *variable_of(lm_scope *scope, const char *name, size_t n)
{
    for (size_t i = 0; i < scope->n_variables; i++)
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): n_variables is 0 while there is no array */
        if (strncmp(scope->variables[i].param.name, name, n) == 0 && !scope->variables[i].param.name[n])
            return &scope->variables[i];
    return NULL;
}

static lm_variable *variable_or_fault(lm_loader *l, lm_scope *scope, const lm_yaml *at, const char *name, size_t n)
{
    lm_variable *variable = variable_of(scope, name, n);
    if (variable) {
        variable->used = true;
        return variable;
    }
    const char *wanted = lm_arena_strndup(l->arena, name, n);
    if (!wanted) {
        l->nomem = true;
        return NULL;
    }
    lm_nearest nearest;
    lm_nearest_init(&nearest, wanted);
    for (size_t i = 0; i < scope->n_variables; i++) lm_nearest_offer(&nearest, scope->variables[i].param.name);
    const char *hint = nearest.best ? lm_arena_printf(l->arena, "Did you mean \"${%s}\"?", nearest.best)
                                    : "Name it under \"params:\", or write \"$${\" for a plain \"${\".";
    lm_graph_fault(l, scope, at->line, at->column, hint, "this graph has no param \"%s\"", wanted);
    return NULL;
}

/* The text of a param inside other text. False: it has none. */
static bool embed(lm_loader *l, const lm_scope *scope, const lm_yaml *at, const lm_variable *variable, bool output,
                  lm_text *out)
{
    const lm_yaml *value = variable->value;
    char real[32];
    switch (value->kind) {
    case LM_YAML_TEXT: lm_text_add(out, output && variable->as_output ? variable->as_output : value->text); return true;
    case LM_YAML_BOOL: lm_text_add(out, value->boolean ? "true" : "false"); return true;
    case LM_YAML_INT: lm_text_format(out, "%lld", (long long)value->integer); return true;
    case LM_YAML_REAL: lm_text_add(out, lm_text_real(real, value->real)); return true;
    default: break;
    }
    char buffer[96];
    lm_graph_fault(l, scope, at->line, at->column, "Only a text or a number can stand inside other text.",
                   "param \"%s\" is %s", variable->param.name, lm_yaml_describe(buffer, value));
    return false;
}

static lm_yaml *substitute_text(lm_loader *l, lm_scope *scope, const lm_yaml *value, bool output)
{
    lm_yaml *copy = lm_arena_alloc(l->arena, 1, sizeof *copy);
    if (!copy) {
        l->nomem = true;
        return NULL;
    }
    *copy = *value;
    const char *text = value->text, *close = strchr(text, '}');
    if (lm_starts_with(text, "${") && close && !close[1]) { /* alone: keeps its type */
        const lm_variable *variable = variable_or_fault(l, scope, value, text + 2, (size_t)(close - text) - 2);
        if (!variable || !variable->value) return NULL;
        *copy = *variable->value;
        if (output && variable->as_output) copy->text = variable->as_output;
        copy->line = value->line;
        copy->column = value->column;
        return copy;
    }
    lm_text out;
    lm_text_init(&out);
    bool good = true;
    while (*text) {
        if (lm_starts_with(text, "$${")) {
            lm_text_add(&out, "${");
            text += 3;
        } else if (lm_starts_with(text, "${")) {
            close = strchr(text, '}');
            if (!close) {
                lm_graph_fault(l, scope, value->line, value->column,
                               "Write \"${name}\", or \"$${\" for a plain \"${\".", "\"${\" without its closing brace");
                good = false;
                break;
            }
            const lm_variable *variable = variable_or_fault(l, scope, value, text + 2, (size_t)(close - text) - 2);
            good &= variable && variable->value && embed(l, scope, value, variable, output, &out);
            text = close + 1;
        } else {
            lm_text_char(&out, *text++);
        }
    }
    copy->text = out.failed ? NULL : lm_arena_strdup(l->arena, lm_text_peek(&out));
    if (!copy->text) l->nomem = true;
    lm_text_done(&out);
    return good && copy->text ? copy : NULL;
}

const lm_yaml *lm_graph_substitute(lm_loader *l, lm_scope *scope, const lm_yaml *value, bool output)
{
    if (value->kind == LM_YAML_TEXT)
        return strstr(value->text, "${") ? substitute_text(l, scope, value, output) : value;
    if (value->kind != LM_YAML_LIST && value->kind != LM_YAML_MAP) return value;
    lm_yaml *copy = NULL;
    bool broken = false;
    for (size_t i = 0; i < value->n; i++) {
        const lm_yaml *old = value->entries[i].value, *new = lm_graph_substitute(l, scope, old, output);
        if (!new) broken = true;
        if (!new || new == old) continue;
        if (!copy) {
            copy = lm_arena_alloc(l->arena, 1, sizeof *copy);
            lm_yaml_entry *entries = lm_arena_alloc(l->arena, value->n, sizeof *entries);
            if (!copy || !entries) {
                l->nomem = true;
                return NULL;
            }
            *copy = *value;
            copy->entries = entries;
            memcpy(entries, value->entries, value->n * sizeof *entries);
        }
        copy->entries[i].value = (lm_yaml *)(uintptr_t) new;
    }
    return broken ? NULL : copy ? copy : value;
}

bool lm_graph_locate(const lm_yaml *with, const char *path, unsigned *line, unsigned *column)
{
    if (!with) return false;
    const lm_yaml *at = with;
    while (*path) {
        const lm_yaml_entry *found = NULL;
        size_t taken = 0;
        if (at->kind == LM_YAML_MAP) {
            for (size_t i = 0; i < at->n; i++) { /* a name may hold dots: the longest that fits */
                size_t n = strlen(at->entries[i].name);
                if (strncmp(path, at->entries[i].name, n) == 0 && (!path[n] || path[n] == '.') && n >= taken)
                    found = &at->entries[i], taken = n;
            }
        } else if (at->kind == LM_YAML_LIST) {
            char *end;
            unsigned long i = strtoul(path, &end, 10);
            if (end > path && (!*end || *end == '.') && i < at->n)
                found = &at->entries[i], taken = (size_t)(end - path);
        }
        if (!found) break;
        at = found->value;
        path += taken + (path[taken] == '.');
    }
    *line = at->line;
    *column = at->column;
    return true;
}

/* ---- params ---- */

typedef struct {
    lm_loader *l;
    const lm_scope *scope; /* of the place */
    const char *before;    /* "--set name=value: " or "" */
    unsigned line, column;
} spot;

static void report_at(void *arg, const char *path, const char *text, const char *hint)
{
    const spot *s = arg;
    (void)path;
    lm_graph_fault(s->l, s->scope, s->line, s->column, hint, "%s%s", s->before, text);
}

static void wrong_kind(lm_loader *l, const lm_scope *scope, const char *what, const char *wants, const lm_yaml *value)
{
    char buffer[96];
    lm_graph_fault(l, scope, value->line, value->column, NULL, "\"%s\" must be %s, not %s", what, wants,
                   lm_yaml_describe(buffer, value));
}

/* Reports what stands in a map and is none of the names. */
static void unknown_keys(lm_loader *l, const lm_scope *scope, const lm_yaml *map, const char *const *names,
                         const char *what)
{
    for (size_t i = 0; i < map->n; i++) {
        const lm_yaml_entry *entry = &map->entries[i];
        lm_nearest nearest;
        lm_nearest_init(&nearest, entry->name);
        const char *const *name = names;
        for (; *name && strcmp(*name, entry->name) != 0; name++) lm_nearest_offer(&nearest, *name);
        if (!*name)
            lm_graph_fault(l, scope, entry->line, entry->column, lm_graph_suggest(l, &nearest),
                           "unknown key \"%s\" in %s", entry->name, what);
    }
}

/* Converts a value to the param's type and back, so that it has one form however it was written. */
static lm_yaml *convert(lm_loader *l, const lm_variable *variable, const lm_yaml *value, const char *folder, spot at)
{
    if (value->kind == LM_YAML_NULL) return (lm_yaml *)(uintptr_t)value;
    json_t *given = lm_yaml_json(value), *made = NULL;
    lm_yaml *result = NULL;
    const lm_param_reporter reporter = {.report = report_at, .arg = &at};
    if (!given) {
        lm_graph_fault(l, at.scope, at.line, at.column, NULL, "%s\"%s\" %s", at.before, variable->param.name,
                       value->kind == LM_YAML_TEXT ? "is not UTF-8 text" : "holds a number that is not finite");
        return NULL;
    }
    lm_status status =
        lm_param_convert(&variable->param, given, variable->param.name, folder, l->arena, &made, &reporter);
    if (!status) result = lm_yaml_from_json(made, value->line, value->column, l->arena);
    if (status == LM_EMEMORY || (!status && !result)) l->nomem = true;
    json_decref(given);
    json_decref(made);
    return result;
}

static void read_bound(lm_loader *l, const lm_scope *scope, const lm_yaml *spec, const char *name, double *ret)
{
    const lm_yaml *bound = lm_yaml_get(spec, name);
    if (!bound) return;
    if (bound->kind == LM_YAML_INT || (bound->kind == LM_YAML_REAL && isfinite(bound->real))) *ret = bound->real;
    else wrong_kind(l, scope, name, "a number", bound);
}

static const char *read_text(lm_loader *l, const lm_scope *scope, const lm_yaml *map, const char *name)
{
    const lm_yaml *value = lm_yaml_get(map, name);
    if (!value || value->kind == LM_YAML_NULL) return NULL;
    if (value->kind == LM_YAML_TEXT) return value->text;
    wrong_kind(l, scope, name, "a text", value);
    return NULL;
}

static const char *const *read_choices(lm_loader *l, const lm_scope *scope, const lm_yaml *spec)
{
    const lm_yaml *list = lm_yaml_get(spec, "choices");
    if (!list) return NULL;
    const char **choices = list->kind == LM_YAML_LIST ? lm_arena_alloc(l->arena, list->n + 1, sizeof *choices) : NULL;
    bool good = choices && list->n;
    for (size_t i = 0; good && i < list->n; i++) {
        choices[i] = list->entries[i].value->text;
        good = list->entries[i].value->kind == LM_YAML_TEXT;
    }
    if (!good) wrong_kind(l, scope, "choices", "a list of texts", list);
    return good ? choices : NULL;
}

static bool read_spec(lm_loader *l, lm_scope *scope, const lm_yaml_entry *entry, lm_variable *variable)
{
    static const char *const keys[] = {"type", "default", "min", "max", "doc", "choices", "unit", NULL};
    const lm_yaml *spec = entry->value;
    lm_param *p = &variable->param;
    *variable = (lm_variable){.line = entry->line, .column = entry->column, .param = {.name = entry->name}};
    if (spec->kind != LM_YAML_MAP) {
        lm_graph_fault(l, scope, spec->line, spec->column,
                       "For example: {type: int, default: 30, min: 1, doc: \"...\"}",
                       "param \"%s\" must be a map with a type", entry->name);
        return false;
    }
    size_t before = l->n_errors;
    unknown_keys(l, scope, spec, keys, "a param");
    const char *type = read_text(l, scope, spec, "type");
    if (type && !lm_param_type_parse(type, &p->type)) {
        const lm_yaml *at = lm_yaml_get(spec, "type");
        lm_nearest nearest;
        lm_nearest_init(&nearest, type);
        for (int i = 0; i < (int)LM_P_TYPES; i++) lm_nearest_offer(&nearest, lm_param_type_name((lm_param_type)i));
        const char *hint = lm_graph_suggest(l, &nearest);
        lm_graph_fault(
            l, scope, at->line, at->column,
            hint ? hint : "One of: real, int, bool, text, path, choice, duration, texts, reals, tree, where, wheres.",
            "unknown type \"%s\"", type);
    } else if (!type && l->n_errors == before) {
        lm_graph_fault(l, scope, entry->line, entry->column,
                       "One of: real, int, bool, text, path, choice, duration, texts, reals, tree, where, wheres.",
                       "param \"%s\" has no type", entry->name);
    }
    p->doc = read_text(l, scope, spec, "doc");
    p->unit = read_text(l, scope, spec, "unit");
    p->min = -INFINITY;
    p->max = INFINITY;
    read_bound(l, scope, spec, "min", &p->min);
    read_bound(l, scope, spec, "max", &p->max);
    if (isinf(p->min) && isinf(p->max)) p->min = p->max = 0;
    p->choices = read_choices(l, scope, spec);
    if (type && p->type == LM_P_CHOICE && !p->choices && l->n_errors == before)
        lm_graph_fault(l, scope, entry->line, entry->column, "Add choices: [one, other].",
                       "param \"%s\" has no choices", entry->name);
    p->per_record = true; /* a param may carry a {NAME} to where it is allowed; it is checked there */
    return l->n_errors == before;
}

static void set_default(lm_loader *l, lm_scope *scope, const lm_yaml *spec, lm_variable *variable)
{
    const lm_yaml *value = lm_yaml_get(spec, "default");
    value = lm_graph_substitute(l, scope, value, false);
    if (!value) return;
    spot at = {.l = l, .scope = scope, .before = "", .line = value->line, .column = value->column};
    variable->value = convert(l, variable, value, scope->folder, at);
    char here[PATH_MAX];
    if (variable->param.type == LM_P_PATH && value->kind == LM_YAML_TEXT && getcwd(here, sizeof here))
        variable->as_output = lm_path_under(here, value->text, true, l->arena);
}

static void ignore_fault(void *arg, unsigned line, unsigned column, const char *text, const char *hint)
{
    (void)line, (void)column, (void)hint;
    snprintf(arg, 512, "%.500s", text);
}

/* --set name=value of the main graph. */
static void set_from_command(lm_loader *l, const lm_scope *scope, const lm_setting *setting, lm_variable *variable)
{
    char here[PATH_MAX], why[512];
    lm_param_type type = variable->param.type;
    lm_yaml *value = NULL;
    spot at = {.l = l, .scope = scope, .before = "--set: "};
    bool text =
        type == LM_P_TEXT || type == LM_P_PATH || type == LM_P_WHERE || type == LM_P_CHOICE || type == LM_P_DURATION;
    if (text && setting->value[0] != '"' && setting->value[0] != '\'') {
        value = lm_arena_alloc(l->arena, 1, sizeof *value);
        if (value) *value = (lm_yaml){.kind = LM_YAML_TEXT, .text = lm_arena_strdup(l->arena, setting->value)};
        if (!value || !value->text) l->nomem = true;
    } else {
        lm_status status = lm_yaml_parse(setting->value, strlen(setting->value), l->arena, &value, ignore_fault, why);
        if (status == LM_EMEMORY) l->nomem = true;
        if (status == LM_EGRAPH)
            lm_graph_fault(l, scope, 0, 0, NULL, "--set %s=%s: %s", setting->name, setting->value, why);
        if (status) return;
    }
    variable->as_output = NULL;
    variable->value = l->nomem ? NULL : convert(l, variable, value, getcwd(here, sizeof here) ? here : "/", at);
}

static void set_from_node(lm_loader *l, lm_scope *scope, const lm_yaml_entry *entry, lm_variable *variable)
{
    spot at = {
        .l = l, .scope = scope->parent, .before = "", .line = entry->value->line, .column = entry->value->column};
    variable->as_output = NULL;
    variable->value = convert(l, variable, entry->value, scope->parent->folder, at);
}

static const lm_setting *setting_of(const lm_loader *l, const char *name)
{
    const lm_setting *found = NULL;
    for (size_t i = 0; i < l->n_settings; i++)
        if (strcmp(l->settings[i].name, name) == 0) found = &l->settings[i]; /* the last one wins */
    return found;
}

static void unknown_settings(lm_loader *l, lm_scope *scope, const lm_yaml *with)
{
    size_t n = scope->parent ? with && with->kind == LM_YAML_MAP ? with->n : 0 : l->n_settings;
    for (size_t i = 0; i < n; i++) {
        const char *name = scope->parent ? with->entries[i].name : l->settings[i].name;
        if (variable_of(scope, name, strlen(name))) continue;
        lm_nearest nearest;
        lm_nearest_init(&nearest, name);
        for (size_t k = 0; k < scope->n_variables; k++) lm_nearest_offer(&nearest, scope->variables[k].param.name);
        const char *hint = lm_graph_suggest(l, &nearest);
        if (scope->parent)
            lm_graph_fault(l, scope->parent, with->entries[i].line, with->entries[i].column, hint,
                           "the graph \"%s\" has no param \"%s\"", scope->source->name, name);
        else lm_graph_fault(l, scope, 0, 0, hint, "--set %s: this graph has no param \"%s\"", name, name);
    }
}

static void read_params(lm_loader *l, lm_scope *scope, const lm_yaml *with)
{
    const lm_yaml *params = lm_yaml_get(scope->root, "params");
    if (params && params->kind != LM_YAML_NULL) {
        if (params->kind != LM_YAML_MAP) {
            wrong_kind(l, scope, "params", "a map of the graph's own params", params);
            scope->broken = true;
            return;
        }
        scope->variables = lm_arena_alloc(l->arena, params->n, sizeof *scope->variables);
        if (!scope->variables) {
            l->nomem = true;
            return;
        }
    }
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): there are variables only if there are params */
    for (size_t i = 0; scope->variables && i < params->n; i++) {
        lm_variable *variable = &scope->variables[i];
        const lm_yaml_entry *entry = &params->entries[i];
        bool good = read_spec(l, scope, entry, variable);
        const lm_setting *setting = scope->parent ? NULL : setting_of(l, entry->name);
        const lm_yaml_entry *given = scope->parent ? lm_yaml_entry_of(with, entry->name) : NULL;
        if (good) {
            bool has_default = lm_yaml_entry_of(entry->value, "default");
            if (has_default) set_default(l, scope, entry->value, variable);
            if (setting) set_from_command(l, scope, setting, variable);
            else if (given) set_from_node(l, scope, given, variable);
            else if (!has_default && scope->parent)
                lm_graph_fault(l, scope->parent, scope->owner->line, scope->owner->column, NULL,
                               "node \"%s\" must set the param \"%s\" of \"%s\" under \"with:\"", scope->owner->name,
                               entry->name, scope->source->name);
            else if (!has_default) {
                const char *hint = lm_arena_printf(l->arena, "Give it a default, or set it: --set %s=...", entry->name);
                lm_graph_fault(l, scope, entry->line, entry->column, hint, "param \"%s\" has no value", entry->name);
            }
        }
        scope->n_variables = i + 1; /* a default may use the params before it */
    }
    unknown_settings(l, scope, with);
}

/* ---- top level ---- */

static void read_exposed(lm_loader *l, lm_scope *scope, const char *key, lm_exposed **ret, size_t *ret_n)
{
    const lm_yaml *map = lm_yaml_get(scope->root, key);
    if (!map || map->kind == LM_YAML_NULL) return;
    if (map->kind != LM_YAML_MAP) {
        wrong_kind(l, scope, key, "a map of names to ports of nodes", map);
        scope->broken = true;
        return;
    }
    size_t n = 0, most = 0;
    for (size_t i = 0; i < map->n; i++)
        most += map->entries[i].value->kind == LM_YAML_LIST ? map->entries[i].value->n : 1;
    lm_exposed *all = lm_arena_alloc(l->arena, most, sizeof *all);
    if (!all) {
        l->nomem = true;
        return;
    }
    for (size_t i = 0; i < map->n; i++) {
        const lm_yaml *value = map->entries[i].value;
        bool list = value->kind == LM_YAML_LIST && strcmp(key, "inputs") == 0;
        for (size_t k = 0; k < (list ? value->n : 1); k++) {
            const lm_yaml *from = list ? value->entries[k].value : value;
            if (from->kind == LM_YAML_TEXT)
                all[n++] = (lm_exposed){
                    .name = map->entries[i].name, .from = from->text, .line = from->line, .column = from->column};
            else {
                wrong_kind(l, scope, map->entries[i].name, "a node or \"node.port\"", from);
                scope->broken = true;
            }
        }
    }
    *ret = all;
    *ret_n = n;
}

static void load_plugin(lm_loader *l, const lm_scope *scope, const lm_yaml *at, const char *path)
{
    for (size_t i = 0; i < l->n_plugins; i++)
        if (strcmp(l->plugins[i], path) == 0) return;
    lm_error err;
    lm_error_clear(&err);
    if (!lm_grow(&l->plugins, l->n_plugins, &l->cap_plugins, sizeof *l->plugins)) {
        l->nomem = true;
        return;
    }
    lm_status status = lm_plugin_load(path, &err);
    if (status) lm_graph_fault(l, scope, at ? at->line : 0, at ? at->column : 0, err.hint, "%s", err.text);
    else l->plugins[l->n_plugins++] = path;
}

static void read_plugins(lm_loader *l, lm_scope *scope)
{
    const char *listed = scope->parent ? NULL : getenv("LENSMILL_PLUGINS");
    char here[PATH_MAX];
    while (listed && *listed && !l->nomem) {
        size_t n = strcspn(listed, ":");
        const char *path = lm_arena_strndup(l->arena, listed, n);
        if (path && n) path = lm_path_under(getcwd(here, sizeof here) ? here : "/", path, false, l->arena);
        if (!path) l->nomem = true;
        else if (n) load_plugin(l, scope, NULL, path);
        listed += n + (listed[n] == ':');
    }
    const lm_yaml *list = lm_yaml_get(scope->root, "plugins");
    if (!list || list->kind == LM_YAML_NULL) return;
    list = lm_graph_substitute(l, scope, list, false);
    if (!list) return;
    if (list->kind != LM_YAML_LIST) {
        wrong_kind(l, scope, "plugins", "a list of libraries", list);
        return;
    }
    for (size_t i = 0; i < list->n; i++) {
        const lm_yaml *item = list->entries[i].value;
        if (item->kind != LM_YAML_TEXT) {
            wrong_kind(l, scope, "plugins", "a list of libraries", item);
            continue;
        }
        const char *path = lm_path_under(scope->folder, item->text, false, l->arena);
        if (path) load_plugin(l, scope, item, path);
        else l->nomem = true;
    }
}

static bool node_name(const char *name)
{
    if (!*name) return false;
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && *name != '_' && *name != '-') return false;
    return true;
}

static void read_nodes(lm_loader *l, lm_scope *scope)
{
    const lm_yaml_entry *entry = lm_yaml_entry_of(scope->root, "nodes");
    const lm_yaml *nodes = entry ? entry->value : NULL;
    if (!nodes || nodes->kind != LM_YAML_MAP || !nodes->n) {
        lm_graph_fault(l, scope, entry ? entry->line : scope->root->line, entry ? entry->column : scope->root->column,
                       "For example: nodes: {read: {op: fits.read, with: {path: \"*.fits\"}}}",
                       "a graph needs \"nodes\": a map of at least one node");
        scope->broken = true;
        return;
    }
    if (l->n_all + nodes->n > LM_MOST_NODES) {
        lm_graph_fault(l, scope, nodes->line, nodes->column, NULL, "more than %d nodes, with those of sub-graphs",
                       LM_MOST_NODES);
        scope->broken = true;
        return;
    }
    scope->drafts = lm_arena_alloc(l->arena, nodes->n, sizeof *scope->drafts);
    lm_draft *drafts = lm_arena_alloc(l->arena, nodes->n, sizeof *drafts);
    if (!scope->drafts || !drafts) {
        l->nomem = true;
        return;
    }
    for (size_t i = 0; i < nodes->n && !l->nomem; i++) {
        const lm_yaml_entry *node = &nodes->entries[i];
        lm_draft *draft = &drafts[i];
        *draft = (lm_draft){
            .name = node->name, .line = node->line, .column = node->column, .scope = scope, .body = node->value};
        draft->full = lm_arena_printf(l->arena, "%s%s", scope->prefix, node->name);
        if (!draft->full) l->nomem = true;
        scope->drafts[scope->n_drafts++] = draft;
        if (!node_name(node->name)) {
            lm_graph_fault(l, scope, node->line, node->column, NULL,
                           "a node's name is made of letters, digits, \"_\" and \"-\", not \"%s\"", node->name);
            draft->broken = true;
        }
        if (node->value->kind != LM_YAML_MAP) {
            lm_graph_fault(l, scope, node->line, node->column,
                           "For example: {op: filter, in: read, with: {where: \".attrs.MAG < 26\"}}",
                           "node \"%s\" must be a map with an \"op\"", node->name);
            draft->broken = true;
        }
        if (!l->nomem && node->value->kind == LM_YAML_MAP) lm_graph_node_read(l, draft);
    }
}

static void report_syntax(void *arg, unsigned line, unsigned column, const char *text, const char *hint)
{
    const spot *s = arg;
    lm_graph_fault(s->l, s->scope, line, column, hint, "%s", text);
}

static void read_head(lm_loader *l, lm_scope *scope)
{
    static const char *const keys[] = {"lensmill", "name",  "doc",    "seed",    "params",
                                       "plugins",  "nodes", "inputs", "outputs", NULL};
    unknown_keys(l, scope, scope->root, keys, "a graph");
    const lm_yaml *version = lm_yaml_get(scope->root, "lensmill"), *seed = lm_yaml_get(scope->root, "seed");
    if (!version)
        lm_graph_fault(l, scope, scope->root->line, scope->root->column, "Begin the file with \"lensmill: 1\".",
                       "the version of the graph language is missing");
    else if (version->kind != LM_YAML_INT || version->integer < 1)
        wrong_kind(l, scope, "lensmill", "the version of the graph language, 1", version);
    else if (version->integer > 1)
        lm_graph_fault(l, scope, version->line, version->column, "Install a newer lensmill.",
                       "this graph is written in version %lld of the language, and this program knows version 1",
                       (long long)version->integer);
    const char *name = read_text(l, scope, scope->root, "name"), *doc = read_text(l, scope, scope->root, "doc");
    if (scope->parent) return;
    l->graph->name = name;
    l->graph->doc = doc;
    if (!seed) return;
    seed = lm_graph_substitute(l, scope, seed, false);
    if (!seed) return;
    if (seed->kind == LM_YAML_INT && seed->integer >= 0) l->graph->seed = (uint64_t)seed->integer;
    else wrong_kind(l, scope, "seed", "a whole number from 0 on", seed);
}

static bool recursive(lm_loader *l, const lm_scope *scope)
{
    for (const lm_scope *s = scope->parent; s; s = s->parent)
        if (strcmp(s->source->path, scope->source->path) == 0) {
            /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): who has a parent has an owner */
            const lm_yaml *op = lm_yaml_get(scope->owner->body, "op");
            lm_graph_fault(l, scope->parent, op->line, op->column, NULL, "the graph \"%s\" would contain itself",
                           scope->source->name);
            return true;
        }
    return false;
}

lm_scope *lm_graph_scope(lm_loader *l, const char *name, lm_scope *parent, lm_draft *owner, const lm_yaml *with)
{
    lm_scope *scope = lm_arena_alloc(l->arena, 1, sizeof *scope);
    const char *prefix = owner ? lm_arena_printf(l->arena, "%s/", owner->full) : "";
    if (!scope || !prefix) {
        l->nomem = true;
        return NULL;
    }
    *scope = (lm_scope){
        .folder = "/", .prefix = prefix, .parent = parent, .owner = owner, .depth = parent ? parent->depth + 1 : 0};
    if (!read_source(l, scope, name) || (parent && recursive(l, scope))) return NULL;
    spot at = {.l = l, .scope = scope};
    lm_status status =
        lm_yaml_parse(scope->source->bytes, scope->source->n, l->arena, &scope->root, report_syntax, &at);
    if (status == LM_EMEMORY) l->nomem = true;
    if (!scope->root) return NULL;
    if (scope->root->kind != LM_YAML_MAP) {
        lm_graph_fault(l, scope, scope->root->line, scope->root->column, "Begin the file with \"lensmill: 1\".",
                       scope->root->kind == LM_YAML_NULL ? "this graph is empty" : "a graph must be a map");
        return NULL;
    }
    read_params(l, scope, with);
    read_head(l, scope);
    read_plugins(l, scope);
    read_exposed(l, scope, "inputs", &scope->inputs, &scope->n_inputs);
    read_exposed(l, scope, "outputs", &scope->outputs, &scope->n_outputs);
    if (!l->nomem) read_nodes(l, scope);
    for (size_t i = 0; i < scope->n_variables; i++)
        if (!scope->variables[i].used && !l->n_errors)
            lm_graph_warn(l, scope, scope->variables[i].line, scope->variables[i].column, NULL,
                          "param \"%s\" is never used", scope->variables[i].param.name);
    return l->nomem ? NULL : scope;
}
