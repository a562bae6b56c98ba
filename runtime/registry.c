#include "runtime/registry.h"
#include "runtime/graph.h"
#include "runtime/param_internal.h"
#include "runtime/text.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const lm_operator *op;
    bool from_library;
    lm_digest code;
} entry;

/* Filled while one thread runs: before a graph is loaded, or while it is. */
static entry *entries; /* sorted by name */
static size_t n_entries, cap_entries;

/* Where name is, or would be put. */
static size_t find(const char *name, bool *ret_found)
{
    size_t low = 0, high = n_entries;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(entries[middle].op->name, name);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    *ret_found = false;
    return low;
}

static bool insert(const lm_operator *op, const lm_digest *code)
{
    bool found;
    size_t at = find(op->name, &found);
    if (!found) {
        if (!lm_grow(&entries, n_entries, &cap_entries, sizeof *entries)) return false;
        memmove(entries + at + 1, entries + at, (n_entries - at) * sizeof *entries);
        n_entries++;
    }
    entries[at] = (entry){.op = op, .from_library = code != NULL};
    if (code) entries[at].code = *code;
    return true;
}

void lm_registry_builtin(const lm_operator *const *operators)
{
    n_entries = 0;
    for (; *operators; operators++)
        if (!insert(*operators, NULL)) return;
}

size_t lm_registry_count(void)
{
    return n_entries;
}

const lm_operator *lm_registry_at(size_t i)
{
    return i < n_entries ? entries[i].op : NULL;
}

const lm_operator *lm_registry_find(const char *name)
{
    bool found;
    size_t at = find(name, &found);
    return found ? entries[at].op : NULL;
}

const lm_digest *lm_registry_code(const lm_operator *op)
{
    bool found;
    size_t at = find(op->name, &found);
    return found && entries[at].op == op && entries[at].from_library ? &entries[at].code : NULL;
}

lm_status lm_registry_add(const lm_operator *const *operators, size_t n, const lm_digest *code, lm_error *err)
{
    /* All or none: look at every table before the first goes in. */
    for (size_t i = 0; i < n; i++) {
        LM_TRY(lm_operator_check(operators[i], err));
        if (lm_registry_find(operators[i]->name))
            return LM_FAIL_HINT(err, LM_EGRAPH,
                                "Rename one of the two, for example with the name of your project before a dot.",
                                "there is an operator \"%s\" already", operators[i]->name);
        for (size_t k = 0; k < i; k++)
            if (strcmp(operators[k]->name, operators[i]->name) == 0)
                return LM_FAIL(err, LM_EGRAPH, "the library has two operators \"%s\"", operators[i]->name);
    }
    for (size_t i = 0; i < n; i++)
        if (!insert(operators[i], code)) return LM_NOMEM(err);
    return LM_OK;
}

const char *lm_operator_room(const lm_operator *op)
{
    /* The room is the folder of the source file, and a name says which: by itself, or by what stands before its dot. */
    static const struct {
        const char *prefix, *room;
    } rooms[] = {{"fits.", "io"},
                 {"table.", "io"},
                 {"model.", "io"},
                 {"uvfits.", "io"},
                 {"alerts.", "io"},
                 {"lens.", "lens"},
                 {"image.", "deconvolve"},
                 {"deconvolve.", "deconvolve"},
                 {"reconstruct.", "reconstruct"},
                 {"train.", "learn"},
                 {"infer.onnx", "learn"},
                 {"infer.", "infer"},
                 {"coverage.", "diagnose"},
                 {"compare.", "diagnose"},
                 {"plot.", "plot"},
                 {"report", "plot"}};
    if (lm_registry_code(op)) return "plugins";
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
        if (lm_starts_with(op->name, rooms[i].prefix)) return rooms[i].room;
    return "flow";
}

/* ---- ports ---- */

static const lm_port default_in = {.name = "in", .kind = LM_PORT_STREAM, .doc = "the records to work on"};
static const lm_port default_gather = {.name = "in", .kind = LM_PORT_GATHER, .doc = "the records of a window"};
static const lm_port default_out = {.name = "out", .kind = LM_PORT_OUT, .doc = "the results"};
enum { MOST_PORTS = 16 };

size_t lm_operator_inputs(const lm_operator *op, const lm_port **ret)
{
    size_t n = 0;
    for (const lm_port *p = op->ports; p && p->name && n < MOST_PORTS; p++)
        if (p->kind != LM_PORT_OUT) ret[n++] = p;
    if (!n && op->shape != LM_SOURCE) ret[n++] = op->shape == LM_GATHER ? &default_gather : &default_in;
    return n;
}

size_t lm_operator_outputs(const lm_operator *op, const lm_port **ret)
{
    size_t n = 0;
    for (const lm_port *p = op->ports; p && p->name && n < MOST_PORTS; p++)
        if (p->kind == LM_PORT_OUT) ret[n++] = p;
    if (!n && op->shape != LM_SINK) ret[n++] = &default_out;
    return n;
}

/* ---- is a table sound? ---- */

#define UNSOUND(...) LM_FAIL(err, LM_EGRAPH, __VA_ARGS__)

static bool good_name(const char *name)
{
    if (!name || !islower((unsigned char)*name)) return false;
    for (; *name; name++)
        if (!islower((unsigned char)*name) && !isdigit((unsigned char)*name) && !strchr("._-", *name)) return false;
    return true;
}

/* The bytes that a parameter fills in the operator's struct. */
static size_t width(lm_param_type type)
{
    switch (type) {
    case LM_P_REAL:
    case LM_P_DURATION: return sizeof(double);
    case LM_P_INT: return sizeof(int64_t);
    case LM_P_BOOL: return sizeof(bool);
    case LM_P_CHOICE: return sizeof(int);
    case LM_P_TEXTS: return sizeof(lm_texts);
    case LM_P_REALS: return sizeof(lm_reals);
    default: return sizeof(void *);
    }
}

static void keep_fault(void *arg, const char *path, const char *text, const char *hint)
{
    (void)path, (void)hint;
    snprintf(arg, 256, "%.255s", text);
}

static lm_status check_default(const lm_operator *op, const lm_param *p, lm_error *err)
{
    lm_arena arena;
    lm_arena_init(&arena);
    json_t *value = lm_param_default(p, "/", &arena), *converted = NULL;
    char fault[256] = "is not JSON";
    const lm_param_reporter reporter = {.report = keep_fault, .arg = fault};
    lm_status status = value ? LM_OK : LM_EGRAPH;
    /* A default of INT is always there; 0 outside the range stands for "none" only if the doc can say what 0 means. */
    if (value && !json_is_null(value)) status = lm_param_convert(p, value, p->name, "/", &arena, &converted, &reporter);
    json_decref(value);
    json_decref(converted);
    lm_arena_done(&arena);
    if (!status) return LM_OK;
    return UNSOUND("the default of parameter \"%s\" of \"%s\" breaks its own rules: %s", p->name, op->name, fault);
}

static lm_status check_params(const lm_operator *op, lm_error *err)
{
    for (const lm_param *p = op->params; p && p->name; p++) {
        if (!*p->name || strpbrk(p->name, " .${}"))
            return UNSOUND("\"%s\" has a parameter with the name \"%s\"", op->name, p->name);
        for (const lm_param *q = op->params; q < p; q++)
            if (strcmp(p->name, q->name) == 0) return UNSOUND("\"%s\" has two parameters \"%s\"", op->name, p->name);
        if ((unsigned)p->type >= LM_P_TYPES)
            return UNSOUND("parameter \"%s\" of \"%s\" has no known type", p->name, op->name);
        if (!p->doc || !*p->doc) return UNSOUND("parameter \"%s\" of \"%s\" has no doc", p->name, op->name);
        if (p->offset + width(p->type) > op->size)
            return UNSOUND("parameter \"%s\" of \"%s\" lies outside the operator's struct of %zu bytes", p->name,
                           op->name, op->size);
        if (p->type == LM_P_CHOICE && (!p->choices || !p->choices[0]))
            return UNSOUND("parameter \"%s\" of \"%s\" is a choice without choices", p->name, op->name);
        if (p->output && p->type != LM_P_PATH)
            return UNSOUND("parameter \"%s\" of \"%s\" is marked as an output file, and is no path", p->name, op->name);
        if (p->extent && p->type != LM_P_INT)
            return UNSOUND("parameter \"%s\" of \"%s\" is marked as an extent, and is no whole number", p->name,
                           op->name);
        json_t *schema = p->schema ? json_loads(p->schema, JSON_DECODE_ANY, NULL) : NULL;
        json_decref(schema);
        if (p->schema && !schema)
            return UNSOUND("the schema of parameter \"%s\" of \"%s\" is not JSON", p->name, op->name);
        if (!p->required) LM_TRY(check_default(op, p, err));
    }
    return LM_OK;
}

static lm_status check_ports(const lm_operator *op, lm_error *err)
{
    size_t inputs = 0, outputs = 0, gathers = 0, merges = 0;
    for (const lm_port *p = op->ports; p && p->name; p++) {
        if (!good_name(p->name) || strchr(p->name, '.') || strcmp(p->name, "errors") == 0)
            return UNSOUND("\"%s\" has a port with the name \"%s\"", op->name, p->name);
        if (!p->doc || !*p->doc) return UNSOUND("port \"%s\" of \"%s\" has no doc", p->name, op->name);
        for (const lm_port *q = op->ports; q < p; q++)
            if (strcmp(p->name, q->name) == 0 && (p->kind == LM_PORT_OUT) == (q->kind == LM_PORT_OUT))
                return UNSOUND("\"%s\" has two ports \"%s\"", op->name, p->name);
        *(p->kind == LM_PORT_OUT ? &outputs : &inputs) += 1;
        gathers += p->kind == LM_PORT_GATHER;
        merges += p->kind == LM_PORT_MERGE;
    }
    if (inputs > MOST_PORTS || outputs > MOST_PORTS) return UNSOUND("\"%s\" has more than 16 ports", op->name);
    if (op->shape == LM_SOURCE && inputs) return UNSOUND("\"%s\" is a source with an input port", op->name);
    if (op->shape == LM_SINK && outputs) return UNSOUND("\"%s\" is a sink with an output port", op->name);
    if (op->shape == LM_GATHER && op->ports && inputs && !gathers)
        return UNSOUND("\"%s\" is a gather without a gather port", op->name);
    if (gathers && op->shape != LM_GATHER && op->shape != LM_SINK)
        return UNSOUND("\"%s\" has a gather port, and is neither gather nor sink", op->name);
    if (merges && inputs != 1) return UNSOUND("\"%s\" has a merge port beside other input ports", op->name);
    return LM_OK;
}

static lm_status check_fields(const lm_operator *op, lm_error *err)
{
    const lm_port *ports[2][MOST_PORTS];
    size_t n[2] = {lm_operator_inputs(op, ports[0]), lm_operator_outputs(op, ports[1])};
    for (const lm_field *f = op->fields; f && f->port; f++) {
        bool known = false;
        for (size_t i = 0; i < n[f->out]; i++) known |= strcmp(ports[f->out][i]->name, f->port) == 0;
        if (!known)
            return UNSOUND("a field of \"%s\" is at the %s port \"%s\", which it has not", op->name,
                           f->out ? "output" : "input", f->port);
        if (!f->name || !*f->name) return UNSOUND("a field of port \"%s\" of \"%s\" has no name", f->port, op->name);
        if (!f->doc || !*f->doc)
            return UNSOUND("field \"%s\" of port \"%s\" of \"%s\" has no doc", f->name, f->port, op->name);
        if (f->attribute) continue;
        if (!f->shape)
            return UNSOUND("tensor \"%s\" of port \"%s\" of \"%s\" has no shape", f->name, f->port, op->name);
        if (!f->unit) return UNSOUND("tensor \"%s\" of port \"%s\" of \"%s\" has no unit", f->name, f->port, op->name);
        bool whole = lm_dtype_size(f->dtype) > 0;
        if (!whole && f->dtype != LM_ANY_DTYPE && f->dtype != LM_FLOATS && f->dtype != LM_NUMBERS &&
            !(f->dtype == LM_SAME_DTYPE && f->out))
            return UNSOUND("tensor \"%s\" of port \"%s\" of \"%s\" has no dtype", f->name, f->port, op->name);
    }
    return LM_OK;
}

lm_status lm_operator_check(const lm_operator *op, lm_error *err)
{
    if (!op || !good_name(op->name))
        return UNSOUND("an operator's name is small letters, digits, dots and underscores, not \"%s\"",
                       op && op->name ? op->name : "");
    if (op->version < 1) return UNSOUND("\"%s\" has no version from 1 on", op->name);
    if (!op->summary || !*op->summary || lm_ends_with(op->summary, "."))
        return UNSOUND("\"%s\" has no summary, or one with a full stop", op->name);
    if ((unsigned)op->shape > LM_SINK) return UNSOUND("\"%s\" has no known shape", op->name);
    if (op->shape == LM_SOURCE && !op->list) return UNSOUND("\"%s\" is a source without list()", op->name);
    if (!op->step && !((op->flags & LM_BATCH) && op->step_batch)) return UNSOUND("\"%s\" has no step()", op->name);
    if ((op->flags & LM_BATCH) && (!op->step_batch || !op->batch))
        return UNSOUND("\"%s\" is declared to batch, and has no step_batch() or no batch size", op->name);
    LM_TRY(check_params(op, err));
    LM_TRY(check_ports(op, err));
    return check_fields(op, err);
}
