/* jq expressions, compiled together: libjq parses its own library for each program, which takes 17 ms, and a graph may have
 * ten filters. Expressions that cannot reach out of a pair of parentheses are compiled as one, "(a), (b)"; if that fails,
 * each for itself, to tell which one is wrong. */
#include "runtime/condition.h"
#include "runtime/graph_internal.h"

#include <ctype.h>
#include <string.h>

enum { TOGETHER = 20, MOST_DEPTH = 64 };

/* Brackets closed in order, and nothing that reads on past them: no comment, no definition, no text with \( ). */
static bool self_contained(const char *text)
{
    char open[MOST_DEPTH];
    size_t depth = 0;
    for (const char *c = text; *c; c++) {
        if (*c == '"') {
            for (c++; *c && *c != '"'; c++)
                if (*c == '\\' && (*++c == '(' || !*c)) return false;
            if (!*c) return false;
        } else if (strchr("([{", *c)) {
            if (depth == MOST_DEPTH) return false;
            open[depth++] = *c == '(' ? ')' : *c == '[' ? ']' : '}';
        } else if (strchr(")]}", *c)) {
            if (!depth || open[--depth] != *c) return false;
        } else if (*c == '#' || (*c == ';' && !depth)) {
            return false;
        } else if (isalpha((unsigned char)*c) || *c == '_') {
            size_t n = 1;
            while (isalnum((unsigned char)c[n]) || c[n] == '_') n++;
            if (n == 3 && strncmp(c, "def", 3) == 0) return false;
            c += n - 1;
        }
    }
    return depth == 0;
}

static bool compiles_together(const lm_expression *at, size_t n)
{
    lm_text text;
    lm_text_init(&text);
    bool good = n > 1;
    for (size_t i = 0; i < n && good; i++) {
        lm_text_format(&text, "%s(%s)", i ? ", " : "", at[i].text);
        good = self_contained(at[i].text);
    }
    lm_condition *condition = NULL;
    good = good && !text.failed && !lm_condition_new(lm_text_peek(&text), &condition, NULL);
    lm_condition_free(condition);
    lm_text_done(&text);
    return good;
}

void lm_graph_check_expressions(lm_loader *l)
{
    for (size_t i = 0; i < l->n_expressions && !l->nomem;) {
        size_t n = l->n_expressions - i < TOGETHER ? l->n_expressions - i : TOGETHER;
        const lm_expression *at = &l->expressions[i];
        i += n;
        if (compiles_together(at, n)) continue;
        for (; n > 0; n--, at++) {
            lm_condition *condition = NULL;
            lm_error err;
            lm_error_clear(&err);
            lm_status status = lm_condition_new(at->text, &condition, &err);
            lm_condition_free(condition);
            if (status == LM_EMEMORY) l->nomem = true;
            if (!status || l->nomem) continue;
            lm_graph_fault(l, at->draft->scope, at->line, at->column, err.hint, "\"%s\" is not a jq expression: %s",
                           at->path, err.text);
            at->draft->broken = true;
        }
    }
}
