/* Conditions: jq over {"id": ..., "attrs": {...}}, with one difference from jq. In jq a missing key is null, null < 26 is
 * true and nan < 26 too, so that a filter would quietly keep or drop what it could not judge. Here:
 *
 *   1. `attrs` holds the attributes that have a value: an undefined one and one that is NaN are left out.
 *   2. Every access (.name, .["name"], .[expression]) must find a value, or the evaluation fails and names it, unless the
 *      expression says what to do instead. It does so if the access is directly followed by `?` or `//` or an assignment,
 *      or compared with the word null (`.attrs.X == null`, `null != .attrs.X`); `has("X")` asks without an access, and
 *      `try ... catch`, `(...)?` and an `if` that is not taken work as in jq.
 *   3. The operands of + - * / % < <= > >= must not be null or NaN, however they came about; those of == and != not NaN.
 *      The end result must not be NaN.
 *   4. An expression depends on the record alone: `now`, `env`, `input`, `debug`, `halt` and the like are refused.
 *
 * jq has no hook for this, but it compiles `a < b` to a call of a function _less(a; b), which a definition of that name
 * in front of the program takes over; and a small tokenizer here wraps accesses: .attrs.MAG becomes (.attrs.MAG|_lm_n("MAG")),
 * where _lm_n raises an error {lm: "MAG"} if its input is null. Definitions are only put in front where an operand could be
 * null or NaN, since each costs about half a microsecond. The tokenizer also finds which attributes an expression
 * names, so that a record with two hundred FITS cards is not turned into JSON to compare one. */
#ifndef LM_RUNTIME_JQ_REWRITE_H
#define LM_RUNTIME_JQ_REWRITE_H

#include "runtime/alloc.h"
#include "runtime/error.h"

#include <stdbool.h>

enum { LM_JQ_NAMES = 64 };

typedef struct lm_jq_source {
    char *program;            /* what is to be compiled */
    char *names[LM_JQ_NAMES]; /* the attributes that the expression names */
    size_t n_names;
    bool whole;   /* it may look at all attributes, and at the id */
    bool id;      /* it names the id */
    bool bare;    /* it is nothing but .attrs.NAME (names[0]) or, without names, .id */
    char *dashed; /* "DATE-OBS" if the expression holds .attrs.DATE-OBS, which jq reads as a subtraction; or NULL */
} lm_jq_source;

/* LM_EGRAPH: a function that is refused, or an expression too large. Anything else that is wrong is left for jq to find. */
lm_status lm_jq_rewrite(const char *expression, lm_jq_source *ret, lm_error *err);
void lm_jq_source_done(lm_jq_source *source);

#endif
