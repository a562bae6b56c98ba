/* The errors of a load: collected, sorted by place, printed with the line that they speak of. */
#include "runtime/graph_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDEST = 110 }; /* characters of a quoted line */

/* "in sub-graph used at graph.yaml:12:5 (node "sharp")" for each level that we are in. */
static const char *context_of(lm_loader *l, const lm_scope *scope)
{
    const char *context = "";
    for (const lm_scope *s = scope; s && s->owner; s = s->parent) {
        const char *more = lm_arena_printf(l->arena, "%s\n  in the sub-graph of node \"%s\", %s:%u:%u", context,
                                           s->owner->full, s->parent->source->name, s->owner->line, s->owner->column);
        if (!more) break;
        context = more;
    }
    return context;
}

static void add(lm_loader *l, const lm_scope *scope, unsigned line, unsigned column, bool warning, const char *hint,
                const char *format, va_list args)
{
    char chars[2048];
    vsnprintf(chars, sizeof chars, format, args);
    lm_fault fault = {.source = scope ? scope->source : NULL, .line = line, .column = column, .warning = warning};
    fault.text = lm_arena_strdup(l->arena, chars);
    fault.hint = hint && *hint ? lm_arena_strdup(l->arena, hint) : "";
    fault.context = context_of(l, scope);
    fault.order = l->n_faults;
    if (!fault.text || !fault.hint || !lm_grow(&l->faults, l->n_faults, &l->cap_faults, sizeof *l->faults)) {
        l->nomem = true;
        return;
    }
    l->faults[l->n_faults++] = fault;
    l->n_errors += !warning;
}

void lm_graph_fault(lm_loader *l, const lm_scope *scope, unsigned line, unsigned column, const char *hint,
                    const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add(l, scope, line, column, false, hint, format, args);
    va_end(args);
}

void lm_graph_warn(lm_loader *l, const lm_scope *scope, unsigned line, unsigned column, const char *hint,
                   const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add(l, scope, line, column, true, hint, format, args);
    va_end(args);
}

const char *lm_graph_suggest(lm_loader *l, const lm_nearest *nearest)
{
    /* As many changes as letters: nothing in common. */
    if (!nearest->best || nearest->distance >= strlen(nearest->wanted)) return NULL;
    return lm_arena_printf(l->arena, "Did you mean \"%s\"?", nearest->best);
}

static int by_place(const void *a, const void *b)
{
    const lm_fault *x = a, *y = b;
    size_t fx = x->source ? x->source->order : 0, fy = y->source ? y->source->order : 0;
    if (fx != fy) return fx < fy ? -1 : 1;
    if (x->line != y->line) return x->line < y->line ? -1 : 1;
    if (x->column != y->column) return x->column < y->column ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* A sub-graph that is used twice has its own mistakes twice. */
static bool said(const lm_loader *l, size_t i)
{
    const lm_fault *f = &l->faults[i];
    for (; i > 0 && f->source && l->faults[i - 1].source == f->source && l->faults[i - 1].line == f->line &&
           l->faults[i - 1].column == f->column;
         i--)
        if (f->line && l->faults[i - 1].warning == f->warning && strcmp(l->faults[i - 1].text, f->text) == 0)
            return true;
    return false;
}

/* Bytes of the UTF-8 character at text. */
static size_t step_of(const char *text)
{
    size_t n = 1;
    while (((unsigned char)text[n] & 0xC0) == 0x80) n++;
    return n;
}

/* The line and a caret under its column. A long line is cut to what surrounds the column. */
static void quote(lm_text *out, const lm_fault *fault)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a fault with a line has a source */
    const char *at = fault->source->bytes, *end = at + fault->source->n;
    for (unsigned line = 1; line < fault->line; line++) {
        const char *next = memchr(at, '\n', (size_t)(end - at));
        if (!next) return;
        at = next + 1;
    }
    const char *stop = memchr(at, '\n', (size_t)(end - at));
    char *line = lm_strndup(at, (size_t)((stop ? stop : end) - at));
    if (!line) {
        out->failed = true;
        return;
    }
    line[strcspn(line, "\r")] = 0;
    unsigned first = fault->column > 80 ? fault->column - 40 : 1, column = 1;
    lm_text caret;
    lm_text_init(&caret);
    lm_text_format(out, "%5u | %s", fault->line, first > 1 ? "..." : "");
    lm_text_add(&caret, first > 1 ? "      |    " : "      | ");
    for (const char *c = line; *c; column++) {
        size_t n = step_of(c);
        if (column == first + WIDEST) {
            lm_text_add(out, "...");
            break;
        }
        if (column >= first) {
            lm_text_add_n(out, c, n);
            if (column < fault->column) lm_text_char(&caret, *c == '\t' ? '\t' : ' ');
        }
        c += n;
    }
    lm_text_format(out, "\n%s^\n", lm_text_peek(&caret));
    out->failed |= caret.failed;
    lm_text_done(&caret);
    lm_free(line);
}

static void render(lm_text *out, const lm_fault *fault)
{
    const char *rest = strchr(fault->text, '\n');
    size_t n = rest ? (size_t)(rest - fault->text) : strlen(fault->text);
    if (fault->source) lm_text_add(out, fault->source->name);
    if (fault->line) lm_text_format(out, ":%u:%u", fault->line, fault->column);
    if (fault->source) lm_text_add(out, ": ");
    if (fault->warning) lm_text_add(out, "warning: ");
    lm_text_add_n(out, fault->text, n);
    lm_text_char(out, '\n');
    if (fault->line) quote(out, fault);
    if (rest) lm_text_format(out, "%s\n", rest + 1);
    if (*fault->context) lm_text_format(out, "%s\n", fault->context + 1);
    if (*fault->hint) lm_text_format(out, "  hint: %s\n", fault->hint);
}

char *lm_graph_render(lm_loader *l)
{
    lm_text out;
    lm_text_init(&out);
    if (l->n_faults) qsort(l->faults, l->n_faults, sizeof *l->faults, by_place);
    for (size_t i = 0; i < l->n_faults; i++)
        if (!l->faults[i].warning && !said(l, i)) render(&out, &l->faults[i]);
    return lm_text_take(&out);
}

json_t *lm_graph_faults_json(lm_loader *l)
{
    json_t *list = json_array();
    if (l->n_faults) qsort(l->faults, l->n_faults, sizeof *l->faults, by_place);
    for (size_t i = 0; list && i < l->n_faults; i++) {
        const lm_fault *f = &l->faults[i];
        if (f->warning || said(l, i)) continue;
        const char *text = lm_arena_printf(l->arena, "%s%s", f->text, f->context);
        json_t *item = text ? json_pack("{s:s, s:i, s:i, s:s, s:s}", "file", f->source ? f->source->name : "", "line",
                                        (int)f->line, "column", (int)f->column, "text", text, "hint", f->hint)
                            : NULL;
        if (json_array_append_new(list, item)) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

void lm_graph_keep_warnings(lm_loader *l)
{
    if (l->n_faults) qsort(l->faults, l->n_faults, sizeof *l->faults, by_place);
    const char **at = lm_arena_alloc(l->arena, l->n_faults, sizeof *at);
    size_t n = 0;
    for (size_t i = 0; at && i < l->n_faults; i++) {
        if (!l->faults[i].warning || said(l, i)) continue;
        lm_text out;
        lm_text_init(&out);
        render(&out, &l->faults[i]);
        if (out.length) out.chars[--out.length] = 0; /* the last line's end: the caller prints a line each */
        at[n] = out.failed ? NULL : lm_arena_strdup(l->arena, lm_text_peek(&out));
        lm_text_done(&out);
        if (at[n]) n++;
        else l->nomem = true;
    }
    if (!at) l->nomem = true;
    l->graph->warnings = (lm_texts){.n = n, .at = at};
}
