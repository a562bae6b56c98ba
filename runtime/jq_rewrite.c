/* A tokenizer over jq's grammar (version 1.6): it never judges an expression, since jq itself will; it finds accesses, writes the
 * checks around them, and copies everything else. */
#include "runtime/jq_rewrite.h"

#include "runtime/text.h"

#include <ctype.h>
#include <jq.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 64 };

/* The definitions in front: `_lm_n(name)` for accesses, and jq's own operator functions with checked operands. */
static const char access_check[] = "def _lm_n(f): if . == null or . != . then error({lm: f}) else . end; ";
static const char operator_checks[] =
    "def _lm_v(f): if . == null or . != . then error({lm_op: f, nan: (. != null)}) else . end; "
    "def _lm_e(f): if . != . then error({lm_op: f, nan: true}) else . end; "
    "def _lm_equal(a; b): a == b; def _lm_notequal(a; b): a != b; def _lm_less(a; b): a < b; def _lm_lesseq(a; b): a "
    "<= b; "
    "def _lm_greater(a; b): a > b; def _lm_greatereq(a; b): a >= b; def _lm_plus(a; b): a + b; def _lm_minus(a; b): a "
    "- b; "
    "def _lm_multiply(a; b): a * b; def _lm_divide(a; b): a / b; def _lm_mod(a; b): a % b; "
    "def _equal(a; b): _lm_equal(a | _lm_e(\"==\"); b | _lm_e(\"==\")); "
    "def _notequal(a; b): _lm_notequal(a | _lm_e(\"!=\"); b | _lm_e(\"!=\")); "
    "def _less(a; b): _lm_less(a | _lm_v(\"<\"); b | _lm_v(\"<\")); "
    "def _lesseq(a; b): _lm_lesseq(a | _lm_v(\"<=\"); b | _lm_v(\"<=\")); "
    "def _greater(a; b): _lm_greater(a | _lm_v(\">\"); b | _lm_v(\">\")); "
    "def _greatereq(a; b): _lm_greatereq(a | _lm_v(\">=\"); b | _lm_v(\">=\")); "
    "def _plus(a; b): _lm_plus(a | _lm_v(\"+\"); b | _lm_v(\"+\")); "
    "def _minus(a; b): _lm_minus(a | _lm_v(\"-\"); b | _lm_v(\"-\")); "
    "def _multiply(a; b): _lm_multiply(a | _lm_v(\"*\"); b | _lm_v(\"*\")); "
    "def _divide(a; b): _lm_divide(a | _lm_v(\"/\"); b | _lm_v(\"/\")); "
    "def _mod(a; b): _lm_mod(a | _lm_v(\"%\"); b | _lm_v(\"%\")); ";

static const char keywords[] = " and or if then elif else end as def reduce foreach try catch label break ";
/* What depends on more than the record. */
static const char refused[] =
    " now env input inputs input_filename input_line_number debug stderr halt halt_error import "
    "include module modulemeta get_search_list localtime strflocaltime ";
/* Functions that do not look into the whole input: they take numbers or strings, or pass what they get. */
static const char local[] =
    " sqrt cbrt pow exp exp2 exp10 log log2 log10 sin cos tan asin acos atan atan2 sinh cosh tanh asinh "
    "acosh atanh fmin fmax fmod trunc min max select first range error isnan isinfinite "
    "infinite nan tojson split join ";
/* The same, with results that are neither null nor NaN. */
static const char harmless[] = " null true false not startswith endswith test ltrimstr rtrimstr ascii_downcase "
                               "ascii_upcase tonumber floor ceil round fabs has ";

/* Is the word (n characters) in a list of words with blanks around each? */
static bool among(const char *list, const char *word, size_t n)
{
    for (const char *at = list; (at = strchr(at, ' ')) && at[1]; at++)
        if (strncmp(at + 1, word, n) == 0 && at[1 + n] == ' ') return true;
    return false;
}

enum { NO_TERM = -1 };
typedef enum { T_OTHER, T_TERM, T_KEYWORD, T_NULL, T_EQUALITY, T_WORD, T_FORMAT, T_DEF } token;

typedef struct {
    char kind;        /* '(' '[' '{', 'i': an index, 's': inside a string */
    ptrdiff_t start;  /* in out, of the term that it belongs to */
    size_t content;   /* in the source, of what is inside */
    bool slice;       /* of an index: a ':' was seen */
    bool key;         /* of an object: a key is expected */
    bool after_attrs; /* of an index: it follows .attrs */
    bool exempt;      /* of an index: its chain is compared with null */
    bool head;        /* of an index: it follows a lone '.' */
} bracket;

typedef struct {
    const char *source, *at;
    lm_text out;
    bracket stack[MAX_DEPTH];
    size_t depth, tokens;
    ptrdiff_t term; /* in out: start of the term that has just ended; NO_TERM */
    bool at_attrs;  /* that term is .attrs */
    bool exempt;    /* that term began behind "null ==" */
    token last, before;
    bool checks_accesses, checks_operators;
    lm_jq_source *c;
    lm_error *err;
} rewriter;

static const char *skip_space(const char *p)
{
    for (;;) {
        while (isspace((unsigned char)*p)) p++;
        if (*p != '#') return p;
        while (*p && *p != '\n') p++;
    }
}

static bool is_word(int c)
{
    return isalnum(c) || c == '_';
}

static bool starts_suffix(const char *p)
{
    return *p == '[' || (*p == '.' && (isalpha((unsigned char)p[1]) || p[1] == '_' || p[1] == '"' || p[1] == '['));
}

static bool follows_null(const char *p)
{
    p = skip_space(p);
    return strncmp(p, "null", 4) == 0 && !is_word((unsigned char)p[4]);
}

/* Does the text behind an access say what happens if there is nothing? */
static bool is_handled(const rewriter *r, const char *next)
{
    if (r->exempt) return true;
    if (*next == '?') return true;
    if (next[0] == '/' && next[1] == '/') return true;
    if ((next[0] == '=' || next[0] == '!') && next[1] == '=') return follows_null(next + 2);
    if (*next == '=') return true;
    return *next && strchr("|+-*/%", *next) && next[1] == '=';
}

/* Of a quoted name: what it stands for. NULL: not a plain JSON string. */
static char *unquote(const char *quoted, size_t n)
{
    char *name = NULL;
    jv parsed = jv_parse_sized(quoted, (int)n);
    if (jv_get_kind(parsed) == JV_KIND_STRING) name = lm_strdup(jv_string_value(parsed));
    jv_free(parsed);
    return name;
}

static lm_status add_name(rewriter *r, char *take)
{
    lm_jq_source *c = r->c;
    if (!take) return LM_NOMEM(r->err);
    for (size_t i = 0; i < c->n_names; i++)
        if (strcmp(c->names[i], take) == 0) {
            lm_free(take);
            return LM_OK;
        }
    if (c->n_names == LM_JQ_NAMES) {
        lm_free(take);
        return LM_FAIL(r->err, LM_EGRAPH, "the expression names more than %d attributes", LM_JQ_NAMES);
    }
    c->names[c->n_names++] = take;
    return LM_OK;
}

static void insert(lm_text *text, size_t at, char what)
{
    lm_text_char(text, what);
    if (text->failed) return;
    memmove(text->chars + at + 1, text->chars + at, text->length - 1 - at);
    text->chars[at] = what;
}

/* Length of a plain string literal (no interpolation) at p, quotes included; 0: it is none. */
static size_t plain_string(const char *p)
{
    if (*p != '"') return 0;
    size_t i = 1;
    while (p[i] && p[i] != '"') {
        if (p[i] == '\\' && (p[i + 1] == '(' || !p[i + 1])) return 0;
        i += p[i] == '\\' ? 2 : 1;
    }
    return p[i] ? i + 1 : 0;
}

/* Behind .attrs: | has("NAME"). Returns the name as JSON, or NULL. */
static const char *asks_for(const char *next, size_t *ret_n)
{
    if (*next != '|' || next[1] == '=') return NULL;
    next = skip_space(next + 1);
    if (strncmp(next, "has", 3) != 0 || is_word((unsigned char)next[3])) return NULL;
    next = skip_space(next + 3);
    if (*next != '(') return NULL;
    next = skip_space(next + 1);
    *ret_n = plain_string(next);
    if (!*ret_n || *skip_space(next + *ret_n) != ')') return NULL;
    const char *after = skip_space(skip_space(next + *ret_n) + 1);
    /* has() must be the last that sees .attrs: in `.attrs | has("X") and .Y` it is not */
    return strchr("|)", *after) || lm_starts_with(after, "then") ? next : NULL;
}

/* An access has been written to out; quoted (n bytes) is its name as JSON, or NULL if it is computed. */
static lm_status end_access(rewriter *r, ptrdiff_t start, bool head, bool after_attrs, const char *quoted, size_t n)
{
    const char *next = skip_space(r->at);
    bool handled = is_handled(r, next), top = false;
    r->at_attrs = false;
    if (quoted && head) {
        if (n == 7 && strncmp(quoted, "\"attrs\"", 7) == 0) {
            top = r->at_attrs = true;
            size_t asked;
            const char *has = asks_for(next, &asked);
            if (has) LM_TRY(add_name(r, unquote(has, asked)));
            else if (!starts_suffix(next)) r->c->whole = true;
        } else if (n == 4 && strncmp(quoted, "\"id\"", 4) == 0) {
            top = r->c->id = true;
        }
    } else if (quoted && after_attrs) {
        LM_TRY(add_name(r, unquote(quoted, n)));
    } else {
        r->c->whole = true;
    }
    if (*next == '?') r->checks_operators = true;
    if (!top && !handled) {
        insert(&r->out, (size_t)start, '(');
        lm_text_format(&r->out, "|_lm_n(%.*s))", quoted ? (int)n : 4, quoted ? quoted : "null");
        r->checks_accesses = true;
    }
    r->term = start;
    return LM_OK;
}

static lm_status push(rewriter *r, char kind, ptrdiff_t start)
{
    if (r->depth == MAX_DEPTH)
        return LM_FAIL(r->err, LM_EGRAPH, "the expression is nested more than %d deep", MAX_DEPTH);
    r->stack[r->depth++] = (bracket){.kind = kind, .start = start, .key = kind == '{'};
    r->term = NO_TERM;
    return LM_OK;
}

/* Copies a string up to its end or its next \( ... ). */
static lm_status copy_string(rewriter *r, ptrdiff_t start)
{
    const char *from = r->at;
    while (*r->at && *r->at != '"') {
        if (*r->at == '\\' && r->at[1] == '(') {
            r->at += 2;
            lm_text_add_n(&r->out, from, (size_t)(r->at - from));
            return push(r, 's', start);
        }
        r->at += r->at[0] == '\\' && r->at[1] ? 2 : 1;
    }
    if (*r->at) r->at++;
    lm_text_add_n(&r->out, from, (size_t)(r->at - from));
    r->term = start;
    return LM_OK;
}

static lm_status rewrite_close(rewriter *r, char c)
{
    lm_text_char(&r->out, c);
    const char *inside_end = r->at++;
    r->term = NO_TERM;
    r->last = T_TERM;
    if (!r->depth) return LM_OK; /* jq will say what is wrong */
    bracket b = r->stack[--r->depth];
    if (b.kind == 's') return copy_string(r, b.start);
    r->term = b.start;
    r->exempt = b.exempt;
    if (b.kind != 'i') return LM_OK;
    const char *inside = skip_space(r->source + b.content);
    if (inside == inside_end) { /* .[]: what comes out is for the operators to check */
        r->c->whole = r->checks_operators = true;
        return LM_OK;
    }
    if (b.slice) return LM_OK;
    size_t n = plain_string(inside);
    if (n && skip_space(inside + n) != inside_end) n = 0;
    return end_access(r, b.start, b.head, b.after_attrs, n ? inside : NULL, n);
}

static lm_status refuse(rewriter *r, const char *word, size_t n)
{
    return LM_FAIL_HINT(r->err, LM_EGRAPH,
                        "An expression may depend on the record alone, so that its result can be kept.",
                        "\"%.*s\" is not allowed in an expression", (int)n, word);
}

static lm_status rewrite_word(rewriter *r)
{
    const char *word = r->at;
    size_t n = 0;
    while (is_word((unsigned char)word[n]) ||
           (word[n] == ':' && word[n + 1] == ':' && is_word((unsigned char)word[n + 2])))
        n += word[n] == ':' ? 2 : 1;
    ptrdiff_t start = (ptrdiff_t)r->out.length;
    bool defined = r->last == T_DEF;
    lm_text_add_n(&r->out, word, n);
    r->at += n;
    const char *next = skip_space(r->at);
    bracket *in = r->depth ? &r->stack[r->depth - 1] : NULL;
    r->term = NO_TERM;
    if (in && in->kind == '{' && in->key) {
        if (*next != ':') r->c->whole = r->checks_operators = true; /* {attrs} is {attrs: .attrs} */
        r->last = T_OTHER;
        return LM_OK;
    }
    if (defined) {
        r->c->whole = r->checks_operators = true;
        r->last = T_OTHER;
        return LM_OK;
    }
    if (among(refused, word, n)) return refuse(r, word, n);
    if (among(keywords, word, n)) {
        r->last = n == 3 && strncmp(word, "def", 3) == 0 ? T_DEF : T_KEYWORD;
        return LM_OK;
    }
    r->term = start;
    r->exempt = false;
    r->last = n == 4 && strncmp(word, "null", 4) == 0 ? T_NULL : T_WORD;
    if (among(harmless, word, n)) return LM_OK;
    r->checks_operators = true;
    if (!among(local, word, n)) r->c->whole = true;
    return LM_OK;
}

static lm_status rewrite_operator(rewriter *r)
{
    static const char *const operators[] = {
        "?//", "//=", "|=", "+=", "-=", "*=", "/=", "%=", "==", "!=", "<=", ">=", "//", NULL};
    size_t n = 1;
    for (const char *const *o = operators; *o; o++)
        if (lm_starts_with(r->at, *o)) {
            n = strlen(*o);
            break;
        }
    bracket *in = r->depth ? &r->stack[r->depth - 1] : NULL;
    char c = *r->at;
    if (n == 3 && c == '?' && !strstr(r->source, " as ")) { /* jq 1.6 reads ?// as its destructuring operator */
        lm_text_add(&r->out, "? //");
        r->at += 3;
        r->checks_operators = true;
    } else {
        lm_text_add_n(&r->out, r->at, n);
        r->at += n;
    }
    if (c == '?' && n == 1) {
        r->checks_operators = true;
        r->last = T_TERM;
        return LM_OK; /* a term goes on behind it */
    }
    r->term = NO_TERM;
    if (in && in->kind == 'i' && c == ':') in->slice = true;
    if (in && in->kind == '{') in->key = c == ',' ? true : c == ':' ? false : in->key;
    if (strchr("+-*/%", c)) r->checks_operators = true;
    r->last = (c == '=' || c == '!') && n == 2 ? T_EQUALITY : T_OTHER;
    return LM_OK;
}

/* A string literal, or the key of an object. */
static lm_status rewrite_string(rewriter *r)
{
    ptrdiff_t start = r->last == T_FORMAT ? r->term : (ptrdiff_t)r->out.length;
    lm_text_char(&r->out, '"');
    r->at++;
    r->last = T_OTHER;
    r->exempt = false;
    LM_TRY(copy_string(r, start));
    bool key = r->depth && r->stack[r->depth - 1].kind == '{' && r->stack[r->depth - 1].key;
    if (key) r->term = NO_TERM;
    return LM_OK;
}

static lm_status rewrite_variable(rewriter *r)
{
    size_t n = 1;
    while (is_word((unsigned char)r->at[n]) || (r->at[n] == ':' && r->at[n + 1] == ':')) n += r->at[n] == ':' ? 2 : 1;
    if (n == 4 && strncmp(r->at, "$ENV", 4) == 0) return refuse(r, "$ENV", 4);
    r->term = (ptrdiff_t)r->out.length;
    r->last = *r->at == '@' ? T_FORMAT : T_TERM;
    r->checks_operators = true;
    if (*r->at == '@') r->c->whole = true;
    lm_text_add_n(&r->out, r->at, n);
    r->at += n;
    return LM_OK;
}

static lm_status rewrite_open(rewriter *r, bool after_attrs)
{
    char c = *r->at++;
    bool index = c == '[' && r->term != NO_TERM, call = c == '(' && r->last == T_WORD && r->term != NO_TERM;
    ptrdiff_t start = index || call ? r->term : (ptrdiff_t)r->out.length;
    bool head = index && (ptrdiff_t)r->out.length == r->term + 1 && r->out.chars && r->out.chars[r->term] == '.';
    lm_text_char(&r->out, c);
    LM_TRY(push(r, index ? 'i' : c, start));
    bracket *b = &r->stack[r->depth - 1];
    b->content = (size_t)(r->at - r->source);
    b->after_attrs = after_attrs;
    b->exempt = r->exempt;
    b->head = head;
    r->last = T_OTHER;
    return LM_OK;
}

/* '.', '..', ."name" and .name; also behind a term. */
static lm_status rewrite_dot(rewriter *r, bool after_attrs)
{
    bool head = r->term == NO_TERM;
    if (head) {
        r->exempt = r->before == T_NULL && r->last == T_EQUALITY;
        r->term = (ptrdiff_t)r->out.length;
    }
    r->last = T_TERM;
    const char *name = r->at + 1;
    size_t n = 0;
    if (isalpha((unsigned char)*name) || *name == '_') {
        while (is_word((unsigned char)name[n])) n++;
        char quoted[256];
        if (n > sizeof quoted - 3) return LM_FAIL(r->err, LM_EGRAPH, "a name of %zu characters is too long", n);
        snprintf(quoted, sizeof quoted, "\"%.*s\"", (int)n, name);
        lm_text_add_n(&r->out, r->at, n + 1);
        r->at += n + 1;
        if (r->at[0] == '-' && isalpha((unsigned char)r->at[1]) && !r->c->dashed) {
            while (is_word((unsigned char)name[n]) || name[n] == '-') n++;
            r->c->dashed = lm_strndup(name, n);
        }
        return end_access(r, r->term, head, after_attrs, quoted, strlen(quoted));
    }
    n = plain_string(name);
    if (n) {
        lm_text_add_n(&r->out, r->at, n + 1);
        r->at += n + 1;
        return end_access(r, r->term, head, after_attrs, name, n);
    }
    n = *name == '.' ? 2 : 1;
    const char *next = skip_space(r->at + n);
    bool key = *next == '[' && plain_string(skip_space(next + 1)); /* .["attrs"] */
    if (n == 2 || !key) r->c->whole = r->checks_operators = true;
    lm_text_add_n(&r->out, r->at, n);
    r->at += n;
    return LM_OK;
}

static lm_status rewrite_token(rewriter *r)
{
    const unsigned char c = (unsigned char)*r->at, d = (unsigned char)r->at[1];
    bool after_attrs = r->at_attrs && r->term != NO_TERM;
    token last = r->last;
    lm_status status = LM_OK;
    r->at_attrs = false;
    if (isdigit(c) || (c == '.' && isdigit(d))) {
        char *end;
        (void)strtod(r->at, &end);
        r->term = (ptrdiff_t)r->out.length;
        r->last = T_TERM;
        lm_text_add_n(&r->out, r->at, (size_t)(end - r->at));
        r->at = end;
    } else if (c == '.') status = rewrite_dot(r, after_attrs);
    else if (c == '"') status = rewrite_string(r);
    else if (c == '$' || c == '@') status = rewrite_variable(r);
    else if (strchr("[({", c)) status = rewrite_open(r, after_attrs);
    else if (strchr("])}", c)) status = rewrite_close(r, (char)c);
    else if (isalpha(c) || c == '_') status = rewrite_word(r);
    else status = rewrite_operator(r);
    r->before = last;
    return status;
}

static lm_status rewrite(rewriter *r)
{
    while (*r->at) {
        const char *next = skip_space(r->at);
        lm_text_add_n(&r->out, r->at, (size_t)(next - r->at));
        r->at = next;
        if (!*next) break;
        r->tokens++;
        LM_TRY(rewrite_token(r));
    }
    return LM_OK;
}

lm_status lm_jq_rewrite(const char *expression, lm_jq_source *ret, lm_error *err)
{
    lm_jq_source made = {0};
    rewriter r = {.source = expression, .at = expression, .c = &made, .term = NO_TERM, .err = err};
    lm_text program;
    lm_text_init(&program);
    lm_text_init(&r.out);
    lm_status status = rewrite(&r);
    if (!status) {
        if (r.checks_accesses) lm_text_add(&program, access_check);
        if (r.checks_operators) lm_text_add(&program, operator_checks);
        lm_text_add(&program, lm_text_peek(&r.out));
        bool failed = program.failed || r.out.failed;
        made.program = failed ? NULL : lm_text_take(&program);
        if (!made.program) status = LM_NOMEM(err);
        /* .attrs.NAME is two tokens, .id is one */
        if (!made.whole && !r.checks_operators && r.checks_accesses != made.id)
            made.bare = made.id ? made.n_names == 0 && r.tokens == 1 : made.n_names == 1 && r.tokens == 2;
    }
    lm_text_done(&program);
    lm_text_done(&r.out);
    if (status) lm_jq_source_done(&made);
    else *ret = made;
    return status;
}

void lm_jq_source_done(lm_jq_source *source)
{
    for (size_t i = 0; i < source->n_names; i++) lm_free(source->names[i]);
    lm_free(source->program);
    lm_free(source->dashed);
    *source = (lm_jq_source){0};
}
