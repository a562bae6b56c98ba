/* Conditions through libjq: compiling, one program a thread, a record as jq's input, and errors that name the attribute. */
#include "runtime/condition.h"

#include "runtime/alloc.h"
#include "runtime/jq_rewrite.h"
#include "runtime/text.h"

#include <jq.h>
#include <math.h>
#include <oniguruma.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { MAX_EXPRESSION = 64 << 10 };

/* One compiled program; used by one thread alone. */
typedef struct program {
    atomic_int claimed; /* 0: by nobody; 1: being claimed; 2: `owner` is valid */
    pthread_t owner;
    struct program *next;
    jq_state *jq;
    jv key_id, key_attrs, keys[LM_JQ_NAMES];
    lm_text result;
} program;

struct lm_condition {
    char *expression;
    lm_jq_source source;
    _Atomic(program *) programs;
};

/* ---- compiling -------------------------------------------------------------------------------------------------- */

static void note_message(void *arg, jv message)
{
    lm_text *text = arg;
    jv formatted = jq_format_error(message);
    if (jv_get_kind(formatted) == JV_KIND_STRING && !text->length) lm_text_add(text, jv_string_value(formatted));
    jv_free(formatted);
}

static void ignore_message(void *arg, jv message)
{
    (void)arg;
    jv_free(message);
}

static void start_regex(void)
{
    OnigEncoding encodings[] = {ONIG_ENCODING_UTF8};
    onig_initialize(encodings, 1);
}

/* NULL: it does not compile (message says why), or there is no memory (message is empty). One at a time: compiling loads
 * jq's own library, whose thread safety nobody promises, and the regular expressions are initialised once. */
static jq_state *compile(const char *source, lm_text *message)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static pthread_once_t regex = PTHREAD_ONCE_INIT;
    pthread_once(&regex, start_regex);
    pthread_mutex_lock(&lock);
    jq_state *jq = jq_init();
    if (jq) {
        jq_set_error_cb(jq, note_message, message);
        if (!jq_compile(jq, source)) jq_teardown(&jq);
        else jq_set_error_cb(jq, ignore_message, NULL);
    }
    pthread_mutex_unlock(&lock);
    return jq;
}

/* jq: error: syntax error, unexpected '<' (Unix shell quoting issues?) at <top-level>, line 1:\n<source> */
static void tidy_message(lm_text *message)
{
    char *text = message->chars;
    if (!text) return;
    if (lm_starts_with(text, "jq: error: ")) memmove(text, text + 11, strlen(text + 11) + 1);
    char *quoting = strstr(text, " (Unix shell quoting issues?)");
    if (quoting) memmove(quoting, quoting + 29, strlen(quoting + 29) + 1);
    char *line = strchr(text, '\n');
    if (line) *line = 0;
    char *place = strstr(text, " at <top-level>, line ");
    if (place) *place = 0;
    message->length = strlen(text);
}

static void program_free(program *p, size_t n_names)
{
    if (p->jq) jq_teardown(&p->jq);
    jv_free(p->key_id);
    jv_free(p->key_attrs);
    for (size_t i = 0; i < n_names; i++) jv_free(p->keys[i]);
    lm_text_done(&p->result);
    lm_free(p);
}

static lm_status program_new(lm_condition *c, program **ret, lm_error *err)
{
    lm_text message;
    lm_text_init(&message);
    jq_state *jq = compile(c->source.program, &message);
    if (!jq) {
        lm_text_clear(&message);
        jq = compile(c->expression, &message); /* the message for what the user wrote */
        lm_status status;
        tidy_message(&message);
        char hint[LM_ERROR_HINT];
        if (c->source.dashed)
            snprintf(hint, sizeof hint, "A name with a dash needs quotes: .attrs[\"%.100s\"].", c->source.dashed);
        else snprintf(hint, sizeof hint, "Try it alone: jq -n '{id: \"a\", attrs: {MAG: 20}} | ...'.");
        if (jq || !message.length)
            status = LM_FAIL(err, LM_EGRAPH, "jq cannot read the expression \"%s\"", c->expression);
        else
            status = LM_FAIL_HINT(err, LM_EGRAPH, hint, "jq cannot read the expression \"%s\": %s", c->expression,
                                  lm_text_peek(&message));
        if (jq) jq_teardown(&jq);
        lm_text_done(&message);
        return status;
    }
    lm_text_done(&message);
    program *p = lm_alloc(1, sizeof *p);
    if (!p) {
        jq_teardown(&jq);
        return LM_NOMEM(err);
    }
    p->jq = jq;
    p->key_id = jv_string("id");
    p->key_attrs = jv_string("attrs");
    for (size_t i = 0; i < c->source.n_names; i++) p->keys[i] = jv_string(c->source.names[i]);
    *ret = p;
    return LM_OK;
}

lm_status lm_condition_new(const char *expression, lm_condition **ret, lm_error *err)
{
    if (strlen(expression) > MAX_EXPRESSION) return LM_FAIL(err, LM_EGRAPH, "an expression of more than 64 KiB");
    if (!expression[strspn(expression, " \t\r\n")])
        return LM_FAIL_HINT(err, LM_EGRAPH, "For example: .attrs.MAG < 26.", "the expression is empty");
    LM_OWN(lm_condition) c = lm_alloc(1, sizeof *c);
    if (!c) return LM_NOMEM(err);
    c->expression = lm_strdup(expression);
    if (!c->expression) return LM_NOMEM(err);
    LM_TRY(lm_jq_rewrite(expression, &c->source, err));
    program *p = NULL;
    LM_TRY(program_new(c, &p, err));
    atomic_init(&c->programs, p); /* the first thread that evaluates takes it */
    *ret = lm_take(c);
    return LM_OK;
}

lm_condition *lm_condition_free(lm_condition *c)
{
    if (!c) return NULL;
    for (program *p = atomic_load(&c->programs), *next; p; p = next) {
        next = p->next;
        program_free(p, c->source.n_names);
    }
    lm_jq_source_done(&c->source);
    lm_free(c->expression);
    return lm_free(c);
}

/* ---- evaluating ------------------------------------------------------------------------------------------------- */

static lm_status program_of_thread(lm_condition *c, program **ret, lm_error *err)
{
    pthread_t self = pthread_self();
    program *first = atomic_load_explicit(&c->programs, memory_order_acquire);
    for (program *p = first; p; p = p->next)
        if (atomic_load_explicit(&p->claimed, memory_order_acquire) == 2 && pthread_equal(p->owner, self)) {
            *ret = p;
            return LM_OK;
        }
    for (program *p = first; p; p = p->next) {
        int nobody = 0;
        if (!atomic_compare_exchange_strong(&p->claimed, &nobody, 1)) continue;
        p->owner = self;
        atomic_store_explicit(&p->claimed, 2, memory_order_release);
        *ret = p;
        return LM_OK;
    }
    program *p = NULL;
    LM_TRY(program_new(c, &p, err));
    p->owner = self;
    atomic_init(&p->claimed, 2);
    p->next = first;
    while (!atomic_compare_exchange_weak(&c->programs, &p->next, p)) continue;
    *ret = p;
    return LM_OK;
}

/* A value for jq; invalid: there is none (undefined or NaN). */
static jv to_jv(lm_value value)
{
    switch (value.kind) {
    case LM_KIND_BOOL: return jv_bool(value.boolean);
    case LM_KIND_INT: return jv_number((double)value.integer);
    case LM_KIND_REAL: return isnan(value.real) ? jv_invalid() : jv_number(value.real);
    case LM_KIND_TEXT: return jv_string(value.text);
    case LM_KIND_NULL: break;
    }
    return jv_invalid();
}

/* Above 2^53 not every integer is a double: two different ones would compare equal. */
static bool is_exact(lm_value value)
{
    if (value.kind != LM_KIND_INT) return true;
    const int64_t limit = (int64_t)1 << 53;
    if (value.integer >= -limit && value.integer <= limit) return true;
    return fabs((double)value.integer) < 0x1p63 && (int64_t)(double)value.integer == value.integer;
}

static lm_status input_of(const lm_condition *c, const program *p, const lm_record *record, jv *ret, lm_error *err)
{
    for (size_t i = 0; i < c->source.n_names; i++) {
        const lm_attr *attr = lm_record_attr(record, c->source.names[i]);
        if (attr && !is_exact(attr->value))
            return LM_FAIL_HINT(err, LM_EINPUT, "Numbers in expressions are doubles, exact up to 2^53.",
                                "attribute \"%s\" is %lld, too large a number for the expression \"%s\"",
                                c->source.names[i], (long long)attr->value.integer, c->expression);
    }
    jv attrs = jv_object();
    if (c->source.whole) {
        for (size_t i = 0; i < lm_record_attr_count(record); i++) {
            const lm_attr *attr = lm_record_attr_at(record, i);
            jv value = to_jv(attr->value);
            if (jv_is_valid(value)) attrs = jv_object_set(attrs, jv_string(attr->name), value);
            else jv_free(value);
        }
    } else {
        for (size_t i = 0; i < c->source.n_names; i++) {
            const lm_attr *attr = lm_record_attr(record, c->source.names[i]);
            jv value = attr ? to_jv(attr->value) : jv_invalid();
            if (jv_is_valid(value)) attrs = jv_object_set(attrs, jv_copy(p->keys[i]), value);
            else jv_free(value);
        }
    }
    jv input = jv_object_set(jv_object(), jv_copy(p->key_attrs), attrs);
    if (c->source.id || c->source.whole)
        input = jv_object_set(input, jv_copy(p->key_id), jv_string(lm_record_id(record)));
    *ret = input;
    return LM_OK;
}

static lm_status no_value(const lm_condition *c, const lm_record *record, const char *name, lm_error *err)
{
    const lm_attr *attr = lm_record_attr(record, name);
    char hint[LM_ERROR_HINT];
    if (attr && attr->value.kind != LM_KIND_NULL && !(attr->value.kind == LM_KIND_REAL && isnan(attr->value.real))) {
        snprintf(hint, sizeof hint, "The attribute is .attrs[\"%s\"] in an expression.", name);
        return LM_FAIL_HINT(err, LM_EINPUT, hint, "\".%s\" finds nothing in the expression \"%s\"", name,
                            c->expression);
    }
    if (attr) {
        snprintf(hint, sizeof hint, "To go on without it, say what to do: .attrs[\"%s\"] // 0, or a test with == null.",
                 name);
        return LM_FAIL_HINT(err, LM_EINPUT, hint, "attribute \"%s\" %s, in the expression \"%s\"", name,
                            attr->value.kind == LM_KIND_NULL ? "is undefined" : "is NaN", c->expression);
    }
    lm_nearest nearest;
    lm_nearest_init(&nearest, name);
    for (size_t i = 0; i < lm_record_attr_count(record); i++)
        lm_nearest_offer(&nearest, lm_record_attr_at(record, i)->name);
    if (nearest.best) snprintf(hint, sizeof hint, "Did you mean \"%s\"?", nearest.best);
    else
        snprintf(hint, sizeof hint, "To go on without it, say what to do: .attrs[\"%s\"] // 0, or a test with == null.",
                 name);
    return LM_FAIL_HINT(err, LM_EINPUT, hint, "the record has no attribute \"%s\", for the expression \"%s\"", name,
                        c->expression);
}

/* An error that jq or one of our definitions raised. */
static lm_status raised(const lm_condition *c, const lm_record *record, jv message, lm_error *err)
{
    lm_status status;
    jv name = jv_invalid(), operator_ = jv_invalid();
    bool nan = false;
    if (jv_get_kind(message) == JV_KIND_OBJECT) {
        name = jv_object_get(jv_copy(message), jv_string("lm"));
        operator_ = jv_object_get(jv_copy(message), jv_string("lm_op"));
        jv which = jv_object_get(jv_copy(message), jv_string("nan"));
        nan = jv_get_kind(which) == JV_KIND_TRUE;
        jv_free(which);
    }
    if (jv_get_kind(name) == JV_KIND_STRING) {
        status = no_value(c, record, jv_string_value(name), err);
    } else if (jv_is_valid(name)) {
        status = LM_FAIL(err, LM_EINPUT, "an index finds nothing in the expression \"%s\"", c->expression);
    } else if (jv_get_kind(operator_) == JV_KIND_STRING) {
        status = LM_FAIL_HINT(err, LM_EINPUT, "Give a value to use instead: (...) // 0.",
                              "an operand of \"%s\" %s, in the expression \"%s\"", jv_string_value(operator_),
                              nan ? "is NaN" : "is missing", c->expression);
    } else if (jv_get_kind(message) == JV_KIND_STRING) {
        status = LM_FAIL(err, LM_EINPUT, "%.600s, in the expression \"%s\"", jv_string_value(message), c->expression);
    } else {
        jv text = jv_dump_string(jv_copy(message), 0);
        status =
            LM_FAIL(err, LM_EINPUT, "error %.600s, in the expression \"%s\"", jv_string_value(text), c->expression);
        jv_free(text);
    }
    jv_free(name);
    jv_free(operator_);
    jv_free(message);
    return status;
}

/* Exactly one result; the caller frees it. */
static lm_status evaluate(lm_condition *c, program *p, const lm_record *record, jv *ret, lm_error *err)
{
    jv input;
    LM_TRY(input_of(c, p, record, &input, err));
    jq_start(p->jq, input, 0);
    jv result = jq_next(p->jq);
    if (!jv_is_valid(result)) {
        if (jv_invalid_has_msg(jv_copy(result))) return raised(c, record, jv_invalid_get_msg(result), err);
        jv_free(result);
        return LM_FAIL(err, LM_EINPUT, "the expression \"%s\" gives no result", c->expression);
    }
    jv more = jq_next(p->jq);
    if (!jv_is_valid(more) && !jv_invalid_has_msg(jv_copy(more))) {
        jv_free(more);
        *ret = result;
        return LM_OK;
    }
    jv_free(result);
    if (!jv_is_valid(more)) return raised(c, record, jv_invalid_get_msg(more), err);
    jv_free(more);
    return LM_FAIL(err, LM_EINPUT, "the expression \"%s\" gives more than one result", c->expression);
}

static lm_status bare_value(const lm_condition *c, const lm_record *record, lm_value *ret, lm_error *err)
{
    if (c->source.id) {
        *ret = lm_text_value(lm_record_id(record));
        return LM_OK;
    }
    const lm_attr *attr = lm_record_attr(record, c->source.names[0]);
    if (!attr || attr->value.kind == LM_KIND_NULL || (attr->value.kind == LM_KIND_REAL && isnan(attr->value.real)))
        return no_value(c, record, c->source.names[0], err);
    *ret = attr->value;
    return LM_OK;
}

static lm_status no_truth(const lm_condition *c, const char *what, lm_error *err)
{
    return LM_FAIL_HINT(err, LM_EINPUT, "Compare it with something: .attrs.FLUX > 0.",
                        "the expression \"%s\" gives %.80s, which is neither true nor false", c->expression, what);
}

lm_status lm_condition_test(lm_condition *c, const lm_record *record, bool *ret, lm_error *err)
{
    if (c->source.bare) {
        lm_value value = lm_null();
        char buffer[64];
        LM_TRY(bare_value(c, record, &value, err));
        if (value.kind != LM_KIND_BOOL) return no_truth(c, lm_value_text(value, buffer), err);
        *ret = value.boolean;
        return LM_OK;
    }
    program *p;
    LM_TRY(program_of_thread(c, &p, err));
    jv result = jv_null();
    LM_TRY(evaluate(c, p, record, &result, err));
    jv_kind kind = jv_get_kind(result);
    if (kind != JV_KIND_TRUE && kind != JV_KIND_FALSE) {
        jv text = jv_dump_string(result, 0);
        lm_status status = no_truth(c, jv_string_value(text), err);
        jv_free(text);
        return status;
    }
    jv_free(result);
    *ret = kind == JV_KIND_TRUE;
    return LM_OK;
}

lm_status lm_condition_value(lm_condition *c, const lm_record *record, lm_value *ret, lm_error *err)
{
    if (c->source.bare) return bare_value(c, record, ret, err);
    program *p;
    LM_TRY(program_of_thread(c, &p, err));
    jv result = jv_null();
    LM_TRY(evaluate(c, p, record, &result, err));
    lm_status status = LM_OK;
    switch (jv_get_kind(result)) {
    case JV_KIND_NULL: *ret = lm_null(); break;
    case JV_KIND_TRUE: *ret = lm_bool(1); break;
    case JV_KIND_FALSE: *ret = lm_bool(0); break;
    case JV_KIND_NUMBER: {
        double number = jv_number_value(result);
        if (isnan(number)) status = LM_FAIL(err, LM_EINPUT, "the expression \"%s\" gives NaN", c->expression);
        else if (number == floor(number) && fabs(number) <= 0x1p53 && !(number == 0 && signbit(number)))
            *ret = lm_int((int64_t)number);
        else *ret = lm_real(number);
        break;
    }
    case JV_KIND_STRING:
        lm_text_clear(&p->result);
        lm_text_add(&p->result, jv_string_value(result));
        if (p->result.failed) status = LM_NOMEM(err);
        else *ret = lm_text_value(lm_text_peek(&p->result));
        break;
    default:
        status = LM_FAIL(err, LM_EINPUT, "the expression \"%s\" gives %s, where one value is needed", c->expression,
                         jv_get_kind(result) == JV_KIND_ARRAY ? "an array" : "an object");
    }
    jv_free(result);
    return status;
}
