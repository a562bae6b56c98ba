#include "runtime/yaml.h"
#include "runtime/text.h"

#include <errno.h>
#include <libfyaml.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- scalars ---- */

static bool digits_only(const char *s)
{
    if (!*s) return false;
    for (; *s; s++)
        if (*s < '0' || *s > '9') return false;
    return true;
}

static bool resolve_int(lm_yaml *scalar)
{
    const char *s = scalar->text;
    char *end;
    errno = 0;
    if (s[0] == '0' && (s[1] == 'x' || s[1] == 'o')) {
        int base = s[1] == 'x' ? 16 : 8;
        if (!s[2] || strspn(s + 2, base == 16 ? "0123456789abcdefABCDEF" : "01234567") != strlen(s + 2)) return false;
        unsigned long long value = strtoull(s + 2, &end, base);
        if (errno || value > INT64_MAX) return false;
        scalar->integer = (int64_t)value;
    } else {
        if (!digits_only(s + (*s == '-' || *s == '+'))) return false;
        long long value = strtoll(s, &end, 10);
        if (errno) return false; /* too large: a real */
        scalar->integer = value;
    }
    scalar->kind = LM_YAML_INT;
    scalar->real = (double)scalar->integer;
    return true;
}

static bool resolve_real(lm_yaml *scalar)
{
    const char *s = scalar->text, *p = s + (*s == '-' || *s == '+');
    if (strcmp(p, ".inf") == 0 || strcmp(p, ".Inf") == 0 || strcmp(p, ".INF") == 0) {
        scalar->real = *s == '-' ? -INFINITY : INFINITY;
    } else if (strcmp(s, ".nan") == 0 || strcmp(s, ".NaN") == 0 || strcmp(s, ".NAN") == 0) {
        scalar->real = (double)NAN;
    } else {
        /* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? */
        size_t whole = strspn(p, "0123456789"), part = 0;
        p += whole;
        if (*p == '.') {
            part = strspn(p + 1, "0123456789");
            p += 1 + part;
        }
        if (!whole && !part) return false;
        if (*p == 'e' || *p == 'E') {
            p++;
            p += *p == '-' || *p == '+';
            if (!digits_only(p)) return false;
        } else if (*p) {
            return false;
        }
        scalar->real = strtod(s, NULL);
    }
    scalar->kind = LM_YAML_REAL;
    return true;
}

static bool one_of(const char *s, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(s, *words) == 0) return true;
    return false;
}

void lm_yaml_resolve(lm_yaml *scalar)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const yes[] = {"true", "True", "TRUE", NULL};
    static const char *const no[] = {"false", "False", "FALSE", NULL};
    scalar->kind = LM_YAML_TEXT;
    if (one_of(scalar->text, nulls)) {
        scalar->kind = LM_YAML_NULL;
    } else if (one_of(scalar->text, yes) || one_of(scalar->text, no)) {
        scalar->kind = LM_YAML_BOOL;
        scalar->boolean = one_of(scalar->text, yes);
    } else if (!resolve_int(scalar)) {
        resolve_real(scalar);
    }
}

/* ---- the tree ---- */

typedef struct {
    lm_yaml *node;
    lm_yaml_entry *entries; /* growing; copied to the arena when the node ends */
    size_t n, cap;
    lm_yaml_entry key; /* of a map: read, and its value not yet */
    bool has_key;
} level;

typedef struct {
    lm_arena *arena;
    lm_yaml_report report;
    void *arg;
    level levels[LM_YAML_DEPTH];
    size_t depth;
    lm_yaml *root;
    bool faulty, nomem;
    bool broken; /* reading stopped half-way: a second look at what was read would report nonsense */
} builder;

static void fault(builder *b, unsigned line, unsigned column, const char *text, const char *hint)
{
    b->faulty = true;
    if (b->report) b->report(b->arg, line, column, text, hint);
}

/* Hands a finished or opening node to the level that it stands in. Returns false to stop. */
static bool place(builder *b, lm_yaml *node)
{
    if (!b->depth) {
        b->root = node;
        return true;
    }
    level *top = &b->levels[b->depth - 1];
    if (top->node->kind == LM_YAML_MAP && !top->has_key) {
        if (node->kind == LM_YAML_LIST || node->kind == LM_YAML_MAP) {
            fault(b, node->line, node->column, "a key must be plain text, not a list or a map",
                  "Quote text that begins with a bracket or a brace.");
            return false;
        }
        top->key = (lm_yaml_entry){.name = node->text, .line = node->line, .column = node->column};
        top->has_key = true;
        for (size_t i = 0; i < top->n; i++)
            if (strcmp(top->entries[i].name, node->text) == 0) {
                char text[256], hint[96];
                snprintf(text, sizeof text, "key \"%.120s\" is here a second time", node->text);
                snprintf(hint, sizeof hint, "The first is on line %u: remove or rename one of them.",
                         top->entries[i].line);
                fault(b, node->line, node->column, text, hint);
                break;
            }
        return true;
    }
    if (!lm_grow(&top->entries, top->n, &top->cap, sizeof *top->entries)) return !(b->nomem = true);
    lm_yaml_entry entry = {.line = node->line, .column = node->column};
    if (top->has_key) entry = top->key;
    entry.value = node;
    top->has_key = false;
    top->entries[top->n++] = entry;
    return true;
}

static bool open_level(builder *b, lm_yaml *node)
{
    if (!place(b, node)) return false;
    if (b->depth == LM_YAML_DEPTH) {
        fault(b, node->line, node->column, "lists and maps are nested too deeply", "64 levels must do.");
        return false;
    }
    b->levels[b->depth++] = (level){.node = node};
    return true;
}

static bool close_level(builder *b)
{
    level *top = &b->levels[b->depth - 1];
    lm_yaml *node = top->node;
    if (top->n) {
        node->entries = lm_arena_alloc(b->arena, top->n, sizeof *node->entries);
        if (!node->entries) return !(b->nomem = true);
        memcpy(node->entries, top->entries, top->n * sizeof *node->entries);
    }
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a level was opened with a node */
    node->n = top->n;
    top->entries = lm_free(top->entries);
    b->depth--;
    return true;
}

static lm_yaml *node_at(builder *b, lm_yaml_kind kind, struct fy_event *event)
{
    lm_yaml *node = lm_arena_alloc(b->arena, 1, sizeof *node);
    if (!node) {
        b->nomem = true;
        return NULL;
    }
    const struct fy_mark *mark = fy_event_start_mark(event);
    node->kind = kind;
    node->line = mark ? (unsigned)mark->line + 1 : 1;
    node->column = mark ? (unsigned)mark->column + 1 : 1;
    return node;
}

static bool scalar_event(builder *b, struct fy_event *event)
{
    lm_yaml *node = node_at(b, LM_YAML_TEXT, event);
    if (!node) return false;
    size_t n = 0;
    struct fy_token *token = event->scalar.value;
    enum fy_scalar_style style = token ? fy_token_scalar_style(token) : FYSS_PLAIN;
    /* the mark of quoted text is behind its quote */
    if ((style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED) && node->column > 1) node->column--;
    const char *text = token ? fy_token_get_text(token, &n) : "";
    if (!text) text = "", n = 0;
    if (memchr(text, 0, n)) {
        fault(b, node->line, node->column, "text holds a zero byte", NULL);
        return false;
    }
    node->text = lm_arena_strndup(b->arena, text, n);
    if (!node->text) return !(b->nomem = true);
    if (style == FYSS_PLAIN) lm_yaml_resolve(node);
    return place(b, node);
}

/* Returns false at the end, or where it makes no sense to read on. */
static bool take_event(builder *b, struct fy_event *event, unsigned *documents)
{
    const struct fy_mark *mark = fy_event_start_mark(event);
    unsigned line = mark ? (unsigned)mark->line + 1 : 1, column = mark ? (unsigned)mark->column + 1 : 1;
    bool has_value =
        event->type == FYET_SCALAR || event->type == FYET_MAPPING_START || event->type == FYET_SEQUENCE_START;
    struct fy_token *anchor = has_value ? fy_event_get_anchor_token(event) : NULL;
    struct fy_token *tag = has_value ? fy_event_get_tag_token(event) : NULL;
    if (anchor || tag) mark = fy_token_start_mark(anchor ? anchor : tag);
    if ((anchor || tag) && mark) line = (unsigned)mark->line + 1, column = (unsigned)mark->column + 1;
    if (event->type == FYET_ALIAS || anchor) {
        column -= column > 1; /* the mark is behind the & or * */
        fault(b, line, column, "YAML anchors and aliases (&name, *name) are not part of the graph language",
              "Write the value out, or make it a parameter of the graph and use \"${name}\". "
              "Quote text that begins with & or *.");
        return false;
    }
    if (tag) {
        fault(b, line, column, "YAML tags (!name) are not part of the graph language",
              "Remove the tag. Quote text that begins with !.");
        return false;
    }
    lm_yaml *node;
    switch (event->type) {
    case FYET_STREAM_END: return false;
    case FYET_DOCUMENT_START:
        if (++*documents == 1) return true;
        fault(b, line, column, "a second YAML document begins here",
              "A graph file is one document: remove the line \"---\".");
        return false;
    case FYET_SCALAR: return scalar_event(b, event);
    case FYET_MAPPING_START: node = node_at(b, LM_YAML_MAP, event); return node && open_level(b, node);
    case FYET_SEQUENCE_START: node = node_at(b, LM_YAML_LIST, event); return node && open_level(b, node);
    case FYET_MAPPING_END:
    case FYET_SEQUENCE_END: return close_level(b);
    default: return true;
    }
}

/* Reports the first byte that is not UTF-8, or a control character that YAML forbids. */
static bool sound_text(builder *b, const char *bytes, size_t n)
{
    unsigned line = 1, column = 1;
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)bytes[i];
        size_t more = c < 0x80                ? 0
                      : c >= 0xC2 && c < 0xE0 ? 1
                      : c >= 0xE0 && c < 0xF0 ? 2
                      : c >= 0xF0 && c < 0xF5 ? 3
                                              : 9;
        bool good = more < 9 && i + more < n;
        for (size_t k = 1; good && k <= more; k++) good = ((unsigned char)bytes[i + k] & 0xC0) == 0x80;
        unsigned char d = good && more ? (unsigned char)bytes[i + 1] : 0;
        if ((c == 0xE0 && d < 0xA0) || (c == 0xED && d > 0x9F) || (c == 0xF0 && d < 0x90) || (c == 0xF4 && d > 0x8F))
            good = false;
        if (!good) {
            fault(b, line, column, "this byte is not UTF-8 text", "Save the file as UTF-8 (iconv -t utf-8 converts).");
            return false;
        }
        if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7F) {
            fault(b, line, column, "a control character that YAML does not allow", "Is this a text file?");
            return false;
        }
        if (c == '\n') line++, column = 0;
        column++;
        i += 1 + more;
    }
    return true;
}

static void syntax_fault(builder *b, struct fy_diag *diag)
{
    void *iterator = NULL;
    struct fy_diag_error *error = diag ? fy_diag_errors_iterate(diag, &iterator) : NULL;
    if (!error) {
        fault(b, 1, 1, "this is not YAML", NULL);
        return;
    }
    char text[512];
    snprintf(text, sizeof text, "not valid YAML: %s", error->msg ? error->msg : "unknown reason");
    for (size_t n = strlen(text); n && (text[n - 1] == '\n' || text[n - 1] == ' ');) text[--n] = 0;
    fault(b, error->line > 0 ? (unsigned)error->line : 1, error->column > 0 ? (unsigned)error->column : 1, text,
          strstr(text, "missing comma in flow") ? "Quote text with braces: \"${name}\", \"{NAME}\"." : NULL);
}

lm_status lm_yaml_parse(const char *bytes, size_t n, lm_arena *arena, lm_yaml **ret, lm_yaml_report report, void *arg)
{
    builder b = {.arena = arena, .report = report, .arg = arg};
    *ret = NULL;
    if (n > LM_YAML_BYTES) {
        fault(&b, 1, 1, "the file is larger than 4 MB",
              "A graph file holds wiring; data belongs in files that it names.");
        return LM_EGRAPH;
    }
    if (!sound_text(&b, bytes, n)) return LM_EGRAPH;
    struct fy_diag_cfg diag_config;
    fy_diag_cfg_default(&diag_config);
    diag_config.fp = NULL;
    diag_config.colorize = false;
    struct fy_diag *diag = fy_diag_create(&diag_config);
    if (diag) fy_diag_set_collect_errors(diag, true);
    struct fy_parse_cfg config = {.flags = FYPCF_COLLECT_DIAG | FYPCF_DEFAULT_VERSION_1_2 | FYPCF_JSON_NONE |
                                           FYPCF_ALLOW_DUPLICATE_KEYS,
                                  .diag = diag};
    struct fy_parser *parser = diag ? fy_parser_create(&config) : NULL;
    if (!parser || fy_parser_set_string(parser, bytes, n)) {
        b.nomem = true;
    } else {
        struct fy_event *event;
        unsigned documents = 0;
        bool more = true;
        while (more) {
            event = fy_parser_parse(parser);
            if (!event) {
                b.broken = fy_parser_get_stream_error(parser) || b.depth;
                if (b.broken) syntax_fault(&b, diag);
                break;
            }
            more = take_event(&b, event, &documents);
            if (!more && event->type != FYET_STREAM_END) b.broken = true;
            fy_parser_event_free(parser, event);
        }
    }
    /* What was open when the text broke off keeps what it has. */
    while (b.depth)
        if (!close_level(&b)) b.levels[b.depth - 1].entries = lm_free(b.levels[b.depth - 1].entries), b.depth--;
    if (parser) fy_parser_destroy(parser);
    if (diag) fy_diag_destroy(diag);
    if (!b.root && !b.nomem) {
        b.root = lm_arena_alloc(arena, 1, sizeof *b.root);
        if (b.root) *b.root = (lm_yaml){.kind = LM_YAML_NULL, .line = 1, .column = 1, .text = ""};
        else b.nomem = true;
    }
    if (b.nomem) return LM_EMEMORY;
    *ret = b.broken ? NULL : b.root;
    return b.faulty ? LM_EGRAPH : LM_OK;
}

const lm_yaml_entry *lm_yaml_entry_of(const lm_yaml *map, const char *name)
{
    if (map && map->kind == LM_YAML_MAP)
        for (size_t i = 0; i < map->n; i++)
            if (strcmp(map->entries[i].name, name) == 0) return &map->entries[i];
    return NULL;
}

lm_yaml *lm_yaml_get(const lm_yaml *map, const char *name)
{
    const lm_yaml_entry *entry = lm_yaml_entry_of(map, name);
    return entry ? entry->value : NULL;
}

char *lm_yaml_describe(char buffer[96], const lm_yaml *value)
{
    switch (value->kind) {
    case LM_YAML_NULL: return strcpy(buffer, "nothing");
    case LM_YAML_LIST: return strcpy(buffer, "a list");
    case LM_YAML_MAP: return strcpy(buffer, "a map");
    case LM_YAML_BOOL: return strcpy(buffer, value->boolean ? "true" : "false");
    case LM_YAML_TEXT:
        snprintf(buffer, 96, strlen(value->text) > 60 ? "the text \"%.57s...\"" : "the text \"%s\"", value->text);
        return buffer;
    default: snprintf(buffer, 96, "the number %.60s", value->text); return buffer;
    }
}

json_t *lm_yaml_json(const lm_yaml *value)
{
    switch (value->kind) {
    case LM_YAML_NULL: return json_null();
    case LM_YAML_BOOL: return json_boolean(value->boolean);
    case LM_YAML_INT: return json_integer(value->integer);
    case LM_YAML_REAL: return json_real(value->real);
    case LM_YAML_TEXT: return json_string(value->text);
    default: break;
    }
    json_t *json = value->kind == LM_YAML_LIST ? json_array() : json_object();
    for (size_t i = 0; json && i < value->n; i++) {
        json_t *item = lm_yaml_json(value->entries[i].value);
        int failed = value->kind == LM_YAML_LIST ? json_array_append_new(json, item)
                                                 : json_object_set_new(json, value->entries[i].name, item);
        if (failed) {
            json_decref(json);
            return NULL;
        }
    }
    return json;
}

lm_yaml *lm_yaml_from_json(const json_t *value, unsigned line, unsigned column, lm_arena *arena)
{
    lm_yaml *node = lm_arena_alloc(arena, 1, sizeof *node);
    if (!node) return NULL;
    *node = (lm_yaml){.line = line, .column = column, .text = ""};
    char buffer[32];
    switch (json_typeof(value)) {
    case JSON_TRUE:
    case JSON_FALSE:
        node->kind = LM_YAML_BOOL;
        node->boolean = json_is_true(value);
        node->text = node->boolean ? "true" : "false";
        return node;
    case JSON_INTEGER:
        node->kind = LM_YAML_INT;
        node->integer = json_integer_value(value);
        node->real = (double)node->integer;
        snprintf(buffer, sizeof buffer, "%lld", (long long)node->integer);
        break;
    case JSON_REAL:
        node->kind = LM_YAML_REAL;
        node->real = json_real_value(value);
        lm_text_real(buffer, node->real);
        break;
    case JSON_STRING:
        node->kind = LM_YAML_TEXT;
        node->text = lm_arena_strdup(arena, json_string_value(value));
        return node->text ? node : NULL;
    case JSON_ARRAY:
    case JSON_OBJECT: {
        bool list = json_is_array(value);
        node->kind = list ? LM_YAML_LIST : LM_YAML_MAP;
        node->n = list ? json_array_size(value) : json_object_size(value);
        node->entries = lm_arena_alloc(arena, node->n, sizeof *node->entries);
        if (!node->entries) return NULL;
        void *at = list ? NULL : json_object_iter((json_t *)(uintptr_t)value);
        for (size_t i = 0; i < node->n; i++) {
            lm_yaml_entry *entry = &node->entries[i];
            *entry = (lm_yaml_entry){.line = line, .column = column};
            if (!list) entry->name = lm_arena_strdup(arena, json_object_iter_key(at));
            entry->value =
                lm_yaml_from_json(list ? json_array_get(value, i) : json_object_iter_value(at), line, column, arena);
            if (!entry->value || (!list && !entry->name)) return NULL;
            if (!list) at = json_object_iter_next((json_t *)(uintptr_t)value, at);
        }
        return node;
    }
    default: return node;
    }
    node->text = lm_arena_strdup(arena, buffer);
    return node->text ? node : NULL;
}
