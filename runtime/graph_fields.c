/* Tensors along edges: what is known of them before a record has been seen.
 *
 * Contents of a port are a list of tensors, and `open` if there may be others. Only what cannot be right is reported: a
 * tensor that is needed where everything is known and it is not there, a dtype, number of axes, length or unit that
 * differs from the one that is needed. Whatever is not known for certain is taken to be right.
 */
#include "runtime/graph_internal.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { MOST_AXES = 8, MOST_SYMBOLS = 16 };

typedef struct {
    const char *name;
    lm_dtype dtype;    /* LM_DTYPE_NONE: not known */
    const char *shape; /* words: numbers, or "?" for any length; NULL: not known */
    const char *unit;  /* NULL: not known */
} tensor;

typedef struct {
    tensor *at;
    size_t n;
    bool open;
} contents;

typedef struct {
    const char *name;
    size_t length;
    unsigned long long value;
} symbol;

typedef struct {
    lm_loader *l;
    contents *input;   /* by node: of its first port, for its `errors` */
    contents **output; /* by node and port */
} checking;

static tensor *find(const contents *c, const char *name)
{
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->at[i].name, name) == 0) return &c->at[i];
    return NULL;
}

static bool differ(const char *a, const char *b)
{
    return !a || !b || strcmp(a, b) != 0;
}

/* to = to and what else may be there: a tensor that both have keeps what they agree on. */
static void unite(lm_loader *l, contents *to, const contents *more)
{
    tensor *all = lm_arena_alloc(l->arena, to->n + more->n, sizeof *all);
    if (!all) {
        l->nomem = true;
        return;
    }
    if (to->n) memcpy(all, to->at, to->n * sizeof *all);
    contents result = {.at = all, .n = to->n, .open = to->open || more->open};
    for (size_t i = 0; i < more->n; i++) {
        tensor *same = find(&result, more->at[i].name);
        if (!same) {
            all[result.n++] = more->at[i];
            continue;
        }
        if (same->dtype != more->at[i].dtype) same->dtype = LM_DTYPE_NONE;
        if (differ(same->shape, more->at[i].shape)) same->shape = NULL;
        if (differ(same->unit, more->at[i].unit)) same->unit = NULL;
    }
    *to = result;
}

static contents of_input(const checking *c, const lm_input *input)
{
    contents all = {.open = input->n_wires == 0};
    for (size_t k = 0; k < input->n_wires; k++) {
        const lm_wire *wire = &input->wires[k];
        if (wire->port == LM_ERRORS_PORT) unite(c->l, &all, &c->input[wire->from->index]);
        else unite(c->l, &all, &c->output[wire->from->index][wire->port]);
    }
    return all;
}

/* ---- shapes ---- */

/* Splits a shape into words. False: the number of axes is open ("...", "*"), or there are too many. */
static bool words_of(const char *shape, const char **words, size_t *lengths, size_t *ret_n)
{
    size_t n = 0;
    while (shape && *(shape += strspn(shape, " "))) {
        size_t length = strcspn(shape, " ");
        if (n == MOST_AXES || (length == 3 && strncmp(shape, "...", 3) == 0) || (length == 1 && *shape == '*'))
            return false;
        words[n] = shape;
        lengths[n++] = length;
        shape += length;
    }
    *ret_n = n;
    return shape != NULL;
}

static bool number_of(const char *word, size_t length, unsigned long long *ret)
{
    unsigned long long value = 0;
    if (!length || length > 18) return false;
    for (size_t i = 0; i < length; i++) {
        if (!isdigit((unsigned char)word[i])) return false;
        value = 10 * value + (unsigned)(word[i] - '0');
    }
    *ret = value;
    return true;
}

static symbol *symbol_of(symbol *symbols, size_t n, const char *word, size_t length)
{
    for (size_t i = 0; i < n; i++)
        if (symbols[i].length == length && strncmp(symbols[i].name, word, length) == 0) return &symbols[i];
    return NULL;
}

/* Can a tensor of shape `have` stand where `want` is asked for? Binds want's symbols. Fills why if it cannot. */
static bool shape_fits(const char *have, const char *want, symbol *symbols, size_t *n_symbols, char why[160])
{
    const char *a[MOST_AXES], *b[MOST_AXES];
    size_t la[MOST_AXES], lb[MOST_AXES], na, nb;
    if (!words_of(have, a, la, &na) || !words_of(want, b, lb, &nb)) return true;
    if (na != nb) {
        snprintf(why, 160, "has %zu ax%s, and %zu (%.60s) are needed", na, na == 1 ? "is" : "es", nb, want);
        return false;
    }
    for (size_t i = 0; i < na; i++) {
        unsigned long long x, y;
        if (!number_of(a[i], la[i], &x)) continue;
        symbol *known = NULL;
        if (!number_of(b[i], lb[i], &y)) {
            if (!isalpha((unsigned char)b[i][0])) continue;
            for (size_t k = 0; k < lb[i]; k++)
                if (!isalnum((unsigned char)b[i][k]) && b[i][k] != '_')
                    goto next; /* a sum or product: not ours to solve */
            known = symbol_of(symbols, *n_symbols, b[i], lb[i]);
            if (!known) {
                if (*n_symbols < MOST_SYMBOLS) symbols[(*n_symbols)++] = (symbol){b[i], lb[i], x};
                continue;
            }
            y = known->value;
        }
        if (x != y) {
            snprintf(why, 160, "has length %llu on axis %zu, and %.*s%s%llu is needed", x, i, known ? (int)lb[i] : 0,
                     b[i], known ? " = " : "", y);
            return false;
        }
    next:;
    }
    return true;
}

/* The shape of an output, with what is known of its symbols. */
static const char *shape_made(lm_loader *l, const char *shape, symbol *symbols, size_t n_symbols)
{
    const char *words[MOST_AXES];
    size_t lengths[MOST_AXES], n;
    if (!words_of(shape, words, lengths, &n)) return NULL;
    const char *made = "";
    for (size_t i = 0; made && i < n; i++) {
        unsigned long long value;
        symbol *known = symbol_of(symbols, n_symbols, words[i], lengths[i]);
        if (known) value = known->value;
        if (known || number_of(words[i], lengths[i], &value))
            made = lm_arena_printf(l->arena, "%s%s%llu", made, i ? " " : "", value);
        else made = lm_arena_printf(l->arena, "%s%s?", made, i ? " " : "");
    }
    if (!made) l->nomem = true;
    return made;
}

/* ---- a node ---- */

static const char *names_of(lm_loader *l, const contents *c)
{
    const char *all = c->n ? "What arrives:" : "No tensor arrives there.";
    for (size_t i = 0; all && i < c->n; i++)
        all = lm_arena_printf(l->arena, "%s \"%s\"%s", all, c->at[i].name, i + 1 < c->n ? "," : ".");
    return all;
}

static bool dtype_fits(lm_dtype have, lm_dtype want)
{
    return have == LM_DTYPE_NONE || !lm_dtype_size(have) || lm_dtype_fits(have, want);
}

static bool unit_fits(const char *have, const char *want)
{
    if (!have || !*have || !want || !*want || strcmp(have, "*") == 0 || strcmp(want, "*") == 0) return true;
    return strcmp(have, "=") == 0 || strcmp(want, "=") == 0 || strcmp(have, want) == 0;
}

static const char *dtype_words(lm_dtype dtype)
{
    return dtype == LM_FLOATS ? "float32 or float64" : dtype == LM_NUMBERS ? "real numbers" : lm_dtype_name(dtype);
}

static void check_field(const checking *c, const lm_draft *draft, const lm_field *field, const contents *in,
                        symbol *symbols, size_t *n_symbols)
{
    if (strchr(field->name, '*')) return;
    const tensor *have = find(in, field->name);
    const lm_yaml *at = draft->in;
    const lm_yaml *port = at ? lm_yaml_get(at, field->port) : NULL;
    unsigned line = port ? port->line
                    : at ? at->line
                         : draft->line,
             column = port ? port->column
                      : at ? at->column
                           : draft->column;
    char why[160];
    if (!have) {
        if (in->open || field->optional) return;
        lm_nearest nearest;
        lm_nearest_init(&nearest, field->name);
        lm_graph_fault(c->l, draft->scope, line, column, names_of(c->l, in),
                       "node \"%s\" (%s) needs the tensor \"%s\" (%s), and nothing before it makes one", draft->name,
                       draft->op->name, field->name, field->doc ? field->doc : "");
        return;
    }
    if (!dtype_fits(have->dtype, field->dtype))
        lm_graph_fault(c->l, draft->scope, line, column, NULL, "tensor \"%s\" is %s, and node \"%s\" (%s) needs %s",
                       field->name, lm_dtype_name(have->dtype), draft->name, draft->op->name,
                       dtype_words(field->dtype));
    else if (have->shape && !shape_fits(have->shape, field->shape, symbols, n_symbols, why))
        lm_graph_fault(c->l, draft->scope, line, column, NULL, "tensor \"%s\" for node \"%s\" (%s) %s", field->name,
                       draft->name, draft->op->name, why);
    else if (!unit_fits(have->unit, field->unit))
        lm_graph_fault(c->l, draft->scope, line, column, NULL, "tensor \"%s\" is in %s, and node \"%s\" (%s) needs %s",
                       field->name, have->unit, draft->name, draft->op->name, field->unit);
}

/* Do lists or trees among its parameters say what an operator makes, leaves out or renames? */
static bool told_by_params(const lm_operator *op)
{
    for (const lm_param *p = op->params; p && p->name; p++)
        if (p->type == LM_P_TREE || p->type == LM_P_TEXTS) return true;
    return false;
}

/* Whose dtype and unit an output has that says "the input's": the input of its name, or else the first. */
static const tensor *model_of(const lm_operator *op, const contents *base, const char *name)
{
    const lm_field *first = NULL;
    for (const lm_field *f = op->fields; f && f->port; f++) {
        if (f->out || f->attribute) continue;
        if (strcmp(f->name, name) == 0) return find(base, name);
        if (!first) first = f;
    }
    return first ? find(base, first->name) : NULL;
}

static contents make_output(const checking *c, const lm_operator *op, const lm_port *port, const contents *base,
                            symbol *symbols, size_t n_symbols)
{
    size_t n = 0, declared = 0;
    for (const lm_field *f = op->fields; f && f->port; f++) n += f->out && !f->attribute;
    tensor *made = lm_arena_alloc(c->l->arena, n, sizeof *made);
    contents out = {.at = made};
    if (!made) {
        c->l->nomem = true;
        return out;
    }
    bool inherits = op->shape == LM_MAP || op->shape == LM_GENERATOR;
    for (const lm_field *f = op->fields; f && f->port; f++) {
        if (!f->out || f->attribute || strcmp(f->port, port->name) != 0) continue;
        declared++;
        if (strchr(f->name, '*')) {
            out.open = true;
            continue;
        }
        const tensor *same = model_of(op, base, f->name);
        tensor t = {.name = f->name};
        if (lm_dtype_size(f->dtype)) t.dtype = f->dtype;
        else if (f->dtype == LM_SAME_DTYPE && same) t.dtype = same->dtype;
        t.shape = shape_made(c->l, f->shape, symbols, n_symbols);
        if (f->unit && *f->unit && *f->unit != '*' && *f->unit != '=') t.unit = f->unit;
        else if (f->unit && *f->unit == '=' && same) t.unit = same->unit;
        if (f->optional) t = (tensor){.name = f->name};
        tensor *twice = find(&out, f->name);
        if (twice) *twice = (tensor){.name = f->name};
        else made[out.n++] = t;
    }
    if (told_by_params(op) || (!declared && !(op->flags & LM_PASSES))) out.open = true;
    if (inherits) {
        contents kept = {.open = base->open};
        tensor *rest = lm_arena_alloc(c->l->arena, base->n, sizeof *rest);
        if (!rest) c->l->nomem = true;
        for (size_t i = 0; rest && i < base->n; i++)
            if (!find(&out, base->at[i].name)) rest[kept.n++] = base->at[i];
        kept.at = rest;
        unite(c->l, &out, &kept);
    }
    return out;
}

static void check_node(const checking *c, const lm_draft *draft)
{
    const lm_node *node = draft->node;
    const lm_operator *op = draft->op;
    const lm_port *ports[LM_MOST_PORTS];
    symbol symbols[MOST_SYMBOLS];
    size_t n_symbols = 0;
    contents base = {.open = op->shape == LM_SOURCE};
    for (size_t i = 0; i < node->n_inputs; i++) {
        contents in = of_input(c, &node->inputs[i]);
        if (node->inputs[i].n_wires) {
            for (const lm_field *f = op->fields; f && f->port; f++)
                if (!f->out && !f->attribute && strcmp(f->port, node->inputs[i].port->name) == 0)
                    check_field(c, draft, f, &in, symbols, &n_symbols);
            unite(c->l, &base, &in);
        } else if (!node->inputs[i].port->optional) {
            base.open = true;
        }
        if (i == 0) c->input[node->index] = in;
    }
    if (!node->n_inputs) c->input[node->index] = base;
    size_t n = lm_operator_outputs(op, ports);
    contents *out = lm_arena_alloc(c->l->arena, n, sizeof *out);
    if (!out) {
        c->l->nomem = true;
        return;
    }
    c->output[node->index] = out;
    for (size_t i = 0; i < n; i++) out[i] = make_output(c, op, ports[i], &base, symbols, n_symbols);
}

void lm_graph_check_fields(lm_loader *l)
{
    size_t n = l->graph->n_nodes;
    checking c = {.l = l,
                  .input = lm_arena_alloc(l->arena, n, sizeof(contents)),
                  .output = lm_arena_alloc(l->arena, n, sizeof(contents *))};
    const lm_draft **drafts = lm_arena_alloc(l->arena, n, sizeof *drafts);
    if (!c.input || !c.output || !drafts) {
        l->nomem = true;
        return;
    }
    for (size_t i = 0; i < l->n_all; i++) drafts[l->all[i]->node->index] = l->all[i];
    for (size_t i = 0; i < n && !l->nomem; i++) check_node(&c, drafts[i]);
}
