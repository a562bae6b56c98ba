/* {NAME} templates over a record: NAME is "id" or an attribute; "{{" and "}}" stand for braces; any other brace is text. */
#include "runtime/param.h"
#include "runtime/param_internal.h"
#include "runtime/text.h"

#include <ctype.h>
#include <string.h>

static bool starts_name(char c)
{
    return isalpha((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

/* The length of the name if text begins with {NAME}; 0 if it does not. */
static size_t name_at(const char *text)
{
    if (text[0] != '{' || !starts_name(text[1])) return 0;
    size_t n = 1;
    while (starts_name(text[1 + n]) || isdigit((unsigned char)text[1 + n]) || text[1 + n] == '-' || text[1 + n] == '.')
        n++;
    return text[1 + n] == '}' ? n : 0;
}

bool lm_template_is(const char *text)
{
    for (; *text; text++) {
        if (text[0] == '{' && text[1] == '{') text++;
        else if (name_at(text)) return true;
    }
    return false;
}

bool lm_template_lone(const char *text)
{
    size_t n = name_at(text);
    return n && !text[n + 2];
}

const char *lm_template_plain(const char *text, lm_arena *arena)
{
    if (!strstr(text, "{{") && !strstr(text, "}}")) return text;
    char *copy = lm_arena_strdup(arena, text), *to = copy;
    if (!copy) return NULL;
    for (; *text; text++) {
        if ((text[0] == '{' || text[0] == '}') && text[1] == text[0]) text++;
        *to++ = *text;
    }
    *to = 0;
    return copy;
}

static lm_status missing(const lm_record *record, const char *name, lm_error *err)
{
    lm_nearest nearest;
    lm_nearest_init(&nearest, name);
    lm_nearest_offer(&nearest, "id");
    size_t n = lm_record_attr_count(record);
    for (size_t i = 0; i < n; i++) lm_nearest_offer(&nearest, lm_record_attr_at(record, i)->name);
    const lm_attr *attr = lm_record_attr(record, name);
    if (attr) return LM_FAIL(err, LM_EINPUT, "attribute \"%s\" is undefined (it has no value)", name);
    char hint[LM_ERROR_HINT] = "";
    if (nearest.best) {
        snprintf(hint, sizeof hint, "Did you mean \"{%.200s}\"?", nearest.best);
    } else if (n) {
        size_t used = (size_t)snprintf(hint, sizeof hint, "The record has:");
        for (size_t i = 0; i < n && used < sizeof hint - 80; i++)
            used += (size_t)snprintf(hint + used, sizeof hint - used, " %.60s%s", lm_record_attr_at(record, i)->name,
                                     i + 1 < n ? "," : ".");
    }
    return LM_FAIL_HINT(err, LM_EINPUT, *hint ? hint : NULL, "the record has no attribute \"%s\"", name);
}

static lm_status value_of(const char *text, size_t n, const lm_record *record, lm_arena *arena, lm_value *ret,
                          lm_error *err)
{
    const char *name = lm_arena_strndup(arena, text, n);
    if (!name) return LM_NOMEM(err);
    lm_value value = lm_record_value(record, name);
    if (value.kind == LM_KIND_NULL) return missing(record, name, err);
    *ret = value;
    return LM_OK;
}

lm_status lm_template_expand(const char *text, const lm_record *record, lm_arena *arena, const char **ret,
                             lm_error *err)
{
    lm_text out;
    lm_text_init(&out);
    lm_status status = LM_OK;
    for (const char *p = text; *p && !status;) {
        size_t n = name_at(p);
        if ((p[0] == '{' || p[0] == '}') && p[1] == p[0]) {
            lm_text_char(&out, *p);
            p += 2;
        } else if (n) {
            lm_value value = lm_null();
            char buffer[64];
            status = value_of(p + 1, n, record, arena, &value, err);
            if (!status) lm_text_add(&out, lm_value_text(value, buffer));
            p += n + 2;
        } else {
            lm_text_char(&out, *p++);
        }
    }
    if (!status) {
        char *copy = out.failed ? NULL : lm_arena_strdup(arena, lm_text_peek(&out));
        if (copy) *ret = copy;
        else status = LM_NOMEM(err);
    }
    lm_text_done(&out);
    return status;
}

lm_status lm_template_value(const char *text, const lm_record *record, lm_arena *arena, lm_value *ret, lm_error *err)
{
    if (lm_template_lone(text)) return value_of(text + 1, strlen(text) - 2, record, arena, ret, err);
    const char *expanded = NULL;
    LM_TRY(lm_template_expand(text, record, arena, &expanded, err));
    *ret = lm_text_value(expanded);
    return LM_OK;
}
