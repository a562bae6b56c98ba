/* One node: its operator, parameters and settings. */
#include "runtime/graph_internal.h"
#include "runtime/registry.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const keys[] = {"op",      "in",     "with", "doc",    "on_error", "workers", "cache",
                                   "timeout", "window", "on",   "within", "salt",     NULL};
enum { KEY_WINDOW = 1 << 8, KEY_ON = 1 << 9, KEY_WITHIN = 1 << 10, KEY_SALT = 1 << 11 };

typedef struct {
    lm_loader *l;
    lm_draft *draft;
    const lm_yaml *with;
} reading;

__attribute__((format(printf, 4, 5))) static void bad(reading *r, const lm_yaml *at, const char *hint,
                                                      const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    lm_graph_fault(r->l, r->draft->scope, at->line, at->column, hint, "%s", text);
    r->draft->broken = true;
}

static void wants(reading *r, const lm_yaml *at, const char *key, const char *what)
{
    char buffer[96];
    bad(r, at, NULL, "\"%s\" must be %s, not %s", key, what, lm_yaml_describe(buffer, at));
}

/* ---- operator and parameters ---- */

static void report_param(void *arg, const char *path, const char *text, const char *hint)
{
    reading *r = arg;
    const lm_yaml_entry *with = lm_yaml_entry_of(r->draft->body, "with");
    unsigned line = with ? with->line : r->draft->line, column = with ? with->column : r->draft->column;
    if (*path) {
        const lm_yaml_entry *entry = lm_yaml_entry_of(r->with, path);
        const lm_param *p = r->draft->op->params;
        while (p && p->name && strcmp(p->name, path) != 0) p++;
        if (entry && !(p && p->name)) { /* an unknown name: show the name, not its value */
            line = entry->line;
            column = entry->column;
        } else {
            lm_graph_locate(r->with, path, &line, &column);
        }
    }
    lm_graph_fault(r->l, r->draft->scope, line, column, hint, "%s", text);
    r->draft->broken = true;
}

static void keep_expression(void *arg, const char *path, const char *text)
{
    reading *r = arg;
    lm_loader *l = r->l;
    lm_expression e = {.draft = r->draft, .line = r->draft->line, .column = r->draft->column};
    lm_graph_locate(r->with, path, &e.line, &e.column);
    e.path = lm_arena_strdup(l->arena, path);
    e.text = lm_arena_strdup(l->arena, text);
    if (e.path && e.text && lm_grow(&l->expressions, l->n_expressions, &l->cap_expressions, sizeof e))
        l->expressions[l->n_expressions++] = e;
    else l->nomem = true;
}

static const lm_param *param_of(const lm_operator *op, const char *name)
{
    for (const lm_param *p = op ? op->params : NULL; p && p->name; p++)
        if (strcmp(p->name, name) == 0) return p;
    return NULL;
}

/* `with:` with ${param} replaced. False: broken. */
static bool substitute_with(reading *r)
{
    lm_loader *l = r->l;
    const lm_yaml *with = lm_yaml_get(r->draft->body, "with");
    if (!with || with->kind == LM_YAML_NULL) return true;
    if (with->kind != LM_YAML_MAP) {
        wants(r, with, "with", "a map of parameters");
        return false;
    }
    lm_yaml *copy = lm_arena_alloc(l->arena, 1, sizeof *copy);
    lm_yaml_entry *entries = lm_arena_alloc(l->arena, with->n, sizeof *entries);
    if (!copy || !entries) return !(l->nomem = true);
    *copy = *with;
    copy->entries = entries;
    bool good = true;
    for (size_t i = 0; i < with->n; i++) {
        const lm_param *p = param_of(r->draft->op, with->entries[i].name);
        entries[i] = with->entries[i];
        const lm_yaml *value = lm_graph_substitute(l, r->draft->scope, entries[i].value, p && p->output);
        good &= value != NULL;
        entries[i].value = (lm_yaml *)(uintptr_t)value;
    }
    if (good) r->with = r->draft->with = copy;
    return good;
}

static const char *not_finite(const lm_yaml *value, unsigned *line, unsigned *column)
{
    for (size_t i = 0; i < value->n; i++) {
        const char *text = not_finite(value->entries[i].value, line, column);
        if (text) return text;
    }
    if (value->kind != LM_YAML_REAL || isfinite(value->real)) return NULL;
    *line = value->line;
    *column = value->column;
    return value->text;
}

static void fill_params(reading *r)
{
    lm_loader *l = r->l;
    lm_draft *draft = r->draft;
    lm_node *node = draft->node;
    const lm_param_reporter reporter = {.report = report_param, .arg = r, .where = keep_expression};
    json_t *with = NULL;
    if (r->with) {
        unsigned line = 0, column = 0;
        const char *text = not_finite(r->with, &line, &column);
        if (text) {
            lm_graph_fault(l, draft->scope, line, column, "Leave the parameter out where it has no value.",
                           "%s is not a finite number", text);
            draft->broken = true;
            return;
        }
        with = lm_yaml_json(r->with);
        if (!with) {
            l->nomem = true;
            return;
        }
    }
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a draft without operator is broken and does not come here */
    node->self = lm_arena_alloc(l->arena, 1, draft->op->size);
    lm_status status = node->self ? lm_params_fill(draft->op, with, draft->scope->folder, l->arena, node->self,
                                                   &node->params, &node->canonical, &reporter)
                                  : LM_EMEMORY;
    json_decref(with);
    if (!status) status = lm_params_length(draft->op, node->params, l->arena, &node->length);
    if (status == LM_EMEMORY) l->nomem = true;
    if (status && status != LM_EMEMORY) draft->broken = true;
    if (status || !draft->op->check) return;
    lm_error err;
    lm_error_clear(&err);
    status = draft->op->check(node->self, &err);
    if (status == LM_EMEMORY) l->nomem = true;
    else if (status) report_param(r, "", err.text, err.hint);
}

static void find_operator(reading *r, const lm_yaml *op)
{
    r->draft->op = lm_registry_find(op->text);
    if (r->draft->op) return;
    lm_nearest nearest;
    lm_nearest_init(&nearest, op->text);
    for (size_t i = 0; i < lm_registry_count(); i++) {
        const char *name = lm_registry_at(i)->name, *dot = strchr(name, '.');
        lm_nearest_offer(&nearest, name);
        if (!nearest.best && dot && strcmp(dot + 1, op->text) == 0) nearest.best = name; /* the room was left out */
    }
    const char *hint = lm_graph_suggest(r->l, &nearest);
    bad(r, op, hint ? hint : "\"lensmill ops\" lists all operators.", "unknown operator \"%s\"", op->text);
}

/* ---- settings ---- */

static void read_duration(reading *r, const lm_yaml *value, const char *key, double *ret)
{
    double seconds = 0;
    if (value->kind == LM_YAML_INT || value->kind == LM_YAML_REAL) seconds = value->real;
    else if (value->kind != LM_YAML_TEXT || !lm_parse_duration(value->text, &seconds)) seconds = -1;
    if (seconds > 0 && isfinite(seconds)) *ret = seconds;
    else wants(r, value, key, "a positive duration such as \"1.5s\", \"10min\" or \"1h\"");
}

static bool read_count(reading *r, const lm_yaml *value, const char *key, int64_t least, int64_t most, int64_t *ret)
{
    char what[96];
    if (value->kind == LM_YAML_INT && value->integer >= least && value->integer <= most) {
        *ret = value->integer;
        return true;
    }
    snprintf(what, sizeof what, "a whole number from %lld to %lld", (long long)least, (long long)most);
    wants(r, value, key, what);
    return false;
}

static bool read_word(reading *r, const lm_yaml *value, const char *key, const char *const *words, unsigned *ret)
{
    lm_nearest nearest;
    char all[160] = "";
    size_t n = 0;
    lm_nearest_init(&nearest, value->kind == LM_YAML_TEXT ? value->text : "");
    for (unsigned i = 0; words[i]; i++) {
        if (value->kind == LM_YAML_TEXT && strcmp(words[i], value->text) == 0) {
            *ret = i;
            return true;
        }
        lm_nearest_offer(&nearest, words[i]);
        n += (size_t)snprintf(all + n, sizeof all - n, "%s\"%s\"", !i ? "" : words[i + 1] ? ", " : " or ", words[i]);
    }
    char buffer[96];
    bad(r, value, value->kind == LM_YAML_TEXT ? lm_graph_suggest(r->l, &nearest) : NULL, "\"%s\" must be %s, not %s",
        key, all, lm_yaml_describe(buffer, value));
    return false;
}

static void inner_keys(reading *r, const lm_yaml *map, const char *const *names, const char *where)
{
    for (size_t i = 0; i < map->n; i++) {
        lm_nearest nearest;
        lm_nearest_init(&nearest, map->entries[i].name);
        const char *const *name = names;
        for (; *name && strcmp(*name, map->entries[i].name) != 0; name++) lm_nearest_offer(&nearest, *name);
        if (*name) continue;
        lm_graph_fault(r->l, r->draft->scope, map->entries[i].line, map->entries[i].column,
                       lm_graph_suggest(r->l, &nearest), "unknown key \"%s\" in \"%s\"", map->entries[i].name, where);
        r->draft->broken = true;
    }
}

static void read_when(reading *r, const lm_yaml *when, unsigned *ret)
{
    static const char *const words[] = {"io", "timeout", "memory", "crash", "input", NULL};
    static const lm_status statuses[] = {LM_EIO, LM_ETIMEOUT, LM_EMEMORY, LM_ECRASH, LM_EINPUT};
    bool list = when->kind == LM_YAML_LIST;
    *ret = 0;
    for (size_t i = 0; i < (list ? when->n : 1); i++) {
        unsigned word;
        if (read_word(r, list ? when->entries[i].value : when, "when", words, &word)) *ret |= 1U << statuses[word];
    }
}

static void read_on_error(reading *r, const lm_yaml *value)
{
    static const char *const words[] = {"route", "skip", "stop", NULL};
    static const char *const names[] = {"retry", "backoff", "when", "then", NULL};
    static const lm_on_error actions[] = {LM_ON_ERROR_ROUTE, LM_ON_ERROR_SKIP, LM_ON_ERROR_STOP};
    lm_node *node = r->draft->node;
    unsigned word = 0;
    if (value->kind != LM_YAML_MAP) {
        if (read_word(r, value, "on_error", words, &word)) node->on_error = actions[word];
        return;
    }
    inner_keys(r, value, names, "on_error");
    const lm_yaml *retry = lm_yaml_get(value, "retry"), *backoff = lm_yaml_get(value, "backoff");
    const lm_yaml *when = lm_yaml_get(value, "when"), *then = lm_yaml_get(value, "then");
    int64_t retries = 0;
    if (retry && read_count(r, retry, "retry", 0, 1000, &retries)) node->retries = (unsigned)retries;
    if (!retry && (backoff || when))
        bad(r, backoff ? backoff : when, "For example: {retry: 3, backoff: 1s}", "\"%s\" needs \"retry\"",
            backoff ? "backoff" : "when");
    if (backoff) read_duration(r, backoff, "backoff", &node->backoff_s);
    if (when) read_when(r, when, &node->retry_when);
    if (then && read_word(r, then, "then", words, &word)) node->on_error = actions[word];
}

static void read_window(reading *r, const lm_yaml *value)
{
    static const char *const names[] = {"count", "wait", NULL};
    lm_node *node = r->draft->node;
    if (value->kind == LM_YAML_TEXT && strcmp(value->text, "all") == 0) return;
    if (value->kind != LM_YAML_MAP || !value->n) {
        wants(r, value, "window", "\"all\" or a map such as {count: 500, wait: 10min}");
        return;
    }
    inner_keys(r, value, names, "window");
    const lm_yaml *count = lm_yaml_get(value, "count"), *wait = lm_yaml_get(value, "wait");
    int64_t n = 0;
    if (count && read_count(r, count, "count", 1, INT64_MAX, &n)) node->window_count = (size_t)n;
    if (wait) read_duration(r, wait, "wait", &node->window_wait_s);
    node->window_all = !count && !wait;
}

static void read_attr_name(reading *r, const lm_yaml *value, const char *key, const char **ret)
{
    if (value->kind == LM_YAML_TEXT && *value->text) *ret = value->text;
    else wants(r, value, key, "\"id\" or the name of an attribute");
}

static void read_salt(reading *r, const lm_yaml *value)
{
    bool scalar = value->kind == LM_YAML_TEXT || value->kind == LM_YAML_INT;
    if (scalar) r->draft->node->salt = value->text;
    else wants(r, value, "salt", "a text or a whole number");
}

static void read_setting(reading *r, const char *key, const lm_yaml *value)
{
    static const char *const caches[] = {"keep", "none", NULL};
    lm_node *node = r->draft->node;
    unsigned word = 0;
    int64_t n = 0;
    if (strcmp(key, "on_error") == 0) read_on_error(r, value);
    else if (strcmp(key, "window") == 0) read_window(r, value);
    else if (strcmp(key, "timeout") == 0) read_duration(r, value, key, &node->timeout_s);
    else if (strcmp(key, "within") == 0) read_duration(r, value, key, &node->within_s);
    else if (strcmp(key, "on") == 0) read_attr_name(r, value, key, &node->join_on);
    else if (strcmp(key, "salt") == 0) read_salt(r, value);
    else if (strcmp(key, "cache") == 0 && read_word(r, value, key, caches, &word)) node->cache = word == 0;
    else if (strcmp(key, "workers") == 0 && read_count(r, value, key, 1, 4096, &n)) node->workers = (unsigned)n;
}

static void read_in(reading *r, const lm_yaml *in)
{
    lm_draft *draft = r->draft;
    size_t most = 1;
    if (in->kind == LM_YAML_LIST) most = in->n;
    draft->n_bindings = 0; /* a second "in" was reported as a double key */
    for (size_t i = 0; in->kind == LM_YAML_MAP && i < in->n; i++)
        most += in->entries[i].value->kind == LM_YAML_LIST ? in->entries[i].value->n : 1;
    draft->bindings = lm_arena_alloc(r->l->arena, most, sizeof *draft->bindings);
    if (!draft->bindings) {
        r->l->nomem = true;
        return;
    }
    bool map = in->kind == LM_YAML_MAP;
    for (size_t i = 0; i < (map ? in->n : 1); i++) {
        const lm_yaml *value = map ? in->entries[i].value : in;
        bool list = value->kind == LM_YAML_LIST;
        if (list && !value->n) bad(r, value, NULL, "an empty list feeds nothing");
        for (size_t k = 0; k < (list ? value->n : 1); k++) {
            const lm_yaml *from = list ? value->entries[k].value : value;
            if (from->kind != LM_YAML_TEXT) {
                wants(r, from, "in", "a node or \"node.port\"");
                draft->unwired = true;
                continue;
            }
            draft->bindings[draft->n_bindings++] = (lm_binding){.port = map ? in->entries[i].name : NULL,
                                                                .from = from->text,
                                                                .line = from->line,
                                                                .column = from->column,
                                                                .listed = list};
        }
    }
}

static void read_settings(reading *r)
{
    lm_draft *draft = r->draft;
    for (size_t i = 0; i < draft->body->n; i++) {
        const lm_yaml_entry *entry = &draft->body->entries[i];
        size_t k = 0;
        lm_nearest nearest;
        lm_nearest_init(&nearest, entry->name);
        for (; keys[k] && strcmp(keys[k], entry->name) != 0; k++) lm_nearest_offer(&nearest, keys[k]);
        if (!keys[k]) {
            const char *hint = lm_graph_suggest(r->l, &nearest);
            if (param_of(draft->op, entry->name))
                hint = lm_arena_printf(r->l->arena, "It is a parameter of \"%s\": write it under \"with:\".",
                                       draft->op->name);
            lm_graph_fault(r->l, draft->scope, entry->line, entry->column, hint, "unknown key \"%s\" in node \"%s\"",
                           entry->name, draft->name);
            draft->broken = true;
            continue;
        }
        if (k == 0 || k == 2 || k == 3 || entry->value->kind == LM_YAML_NULL)
            continue; /* op, with and doc; not given */
        const lm_yaml *value = lm_graph_substitute(r->l, draft->scope, entry->value, false);
        if (!value) {
            draft->broken = true;
            draft->unwired |= k == 1;
        } else if (k == 1) {
            draft->in = value;
            read_in(r, value);
        } else if (draft->node) {
            draft->keys |= 1U << k;
            read_setting(r, entry->name, value);
        } else if (draft->inner) {
            bad(r, value, "Set it on the nodes inside.", "\"%s\" has no meaning for a sub-graph", entry->name);
        }
    }
    const lm_yaml *doc = lm_yaml_get(draft->body, "doc");
    if (doc && doc->kind != LM_YAML_TEXT && doc->kind != LM_YAML_NULL) wants(r, doc, "doc", "a text");
    else if (doc && draft->node) draft->node->doc = doc->text;
}

/* ---- a node ---- */

static bool is_file(const char *op)
{
    return strchr(op, '/') || lm_ends_with(op, ".yaml") || lm_ends_with(op, ".yml");
}

static void read_subgraph(reading *r, const lm_yaml *op)
{
    lm_loader *l = r->l;
    lm_scope *scope = r->draft->scope;
    if (scope->depth + 1 >= LM_MOST_SUBGRAPHS) {
        bad(r, op, NULL, "sub-graphs inside sub-graphs are nested more than %d deep", LM_MOST_SUBGRAPHS);
        return;
    }
    /* Named as the user would: beside the name that the outer file was given. */
    const char *slash = strrchr(scope->source->name, '/'), *file = op->text;
    const char *name = file;
    while (lm_starts_with(file, "./")) file += 2;
    if (*file != '/')
        name = lm_arena_printf(l->arena, "%.*s%s", slash ? (int)(slash + 1 - scope->source->name) : 0,
                               scope->source->name, file);
    if (!name) {
        l->nomem = true;
        return;
    }
    r->draft->inner = lm_graph_scope(l, name, scope, r->draft, r->with);
    if (!r->draft->inner) r->draft->broken = true;
}

static void new_node(reading *r)
{
    lm_loader *l = r->l;
    lm_draft *draft = r->draft;
    lm_node *node = lm_arena_alloc(l->arena, 1, sizeof *node);
    if (!node || !lm_grow(&l->all, l->n_all, &l->cap_all, sizeof *l->all)) {
        l->nomem = true;
        return;
    }
    *node = (lm_node){.name = draft->full,
                      .place = {draft->scope->source->name, draft->line, draft->column},
                      .op = draft->op,
                      .extent = -1,
                      .on_error = LM_ON_ERROR_ROUTE,
                      .retry_when = 1U << LM_EIO | 1U << LM_ETIMEOUT | 1U << LM_EMEMORY,
                      .cache = true,
                      .salt = "",
                      .join_on = "id",
                      .window_all = true,
                      .sources = ""};
    draft->node = node;
    l->all[l->n_all++] = draft;
}

void lm_graph_node_read(lm_loader *l, lm_draft *draft)
{
    reading r = {.l = l, .draft = draft};
    const lm_yaml *op = lm_yaml_get(draft->body, "op");
    if (!op || op->kind == LM_YAML_NULL) {
        lm_nearest nearest; /* a misspelt "op" is said once, as an unknown key */
        bool misspelt = false;
        for (size_t i = 0; i < draft->body->n; i++) {
            lm_nearest_init(&nearest, draft->body->entries[i].name);
            misspelt |= lm_text_distance(draft->body->entries[i].name, "op") == 1 &&
                        strcmp(draft->body->entries[i].name, "on") != 0;
        }
        if (!misspelt)
            lm_graph_fault(l, draft->scope, draft->line, draft->column, "\"lensmill ops\" lists all operators.",
                           "node \"%s\" has no \"op\"", draft->name);
        draft->broken = true;
    } else {
        op = lm_graph_substitute(l, draft->scope, op, false);
        if (!op) draft->broken = true;
        else if (op->kind != LM_YAML_TEXT) wants(&r, op, "op", "the name of an operator");
        else if (!is_file(op->text)) find_operator(&r, op);
    }
    bool good = substitute_with(&r);
    draft->broken |= !good;
    if (draft->op) new_node(&r);
    else if (op && op->kind == LM_YAML_TEXT && is_file(op->text) && good) read_subgraph(&r, op);
    if (l->nomem) return;
    read_settings(&r);
    if (draft->node && good) fill_params(&r);
}

/* ---- settings against the operator ---- */

static void useless(lm_loader *l, lm_draft *draft, unsigned bit, const char *why)
{
    for (unsigned k = 0; keys[k]; k++) {
        if (!(draft->keys & bit & 1U << k)) continue;
        const lm_yaml_entry *entry = lm_yaml_entry_of(draft->body, keys[k]);
        lm_graph_fault(l, draft->scope, entry->line, entry->column, NULL, "\"%s\" has no meaning here: %s", keys[k],
                       why);
    }
}

void lm_graph_node_settle(lm_loader *l, lm_draft *draft)
{
    const lm_port *ports[LM_MOST_PORTS];
    size_t n = lm_operator_inputs(draft->op, ports), streams = 0, lookups = 0, gathers = 0;
    lm_node *node = draft->node;
    for (size_t i = 0; i < n; i++) {
        streams += ports[i]->kind == LM_PORT_STREAM;
        lookups += ports[i]->kind == LM_PORT_LOOKUP;
        gathers += ports[i]->kind == LM_PORT_GATHER;
    }
    if (!gathers) useless(l, draft, KEY_WINDOW, "the operator takes its records one by one");
    if (streams < 2 && !lookups) useless(l, draft, KEY_ON, "the operator has one input and joins nothing");
    if (streams < 2) useless(l, draft, KEY_WITHIN, "the operator has one input and joins nothing");
    if (!(draft->op->flags & LM_RANDOM)) useless(l, draft, KEY_SALT, "the operator draws no random numbers");
    for (size_t i = 0; i < n; i++) {
        if (ports[i]->kind != LM_PORT_LOOKUP || (draft->keys & KEY_ON)) continue;
        bool wired = i < node->n_inputs && node->inputs[i].n_wires;
        if (wired)
            lm_graph_fault(l, draft->scope, draft->line, draft->column,
                           "Add \"on: ATTR\", the attribute that both sides share, or \"on: id\".",
                           "node \"%s\" looks records up at \"%s\" and does not say by which key", draft->name,
                           ports[i]->name);
    }
    node->n_outputs = lm_operator_outputs(draft->op, ports);
    for (const lm_param *p = draft->op->params; p && p->name; p++)
        if (p->extent) node->extent = json_integer_value(json_object_get(node->params, p->name));
}
