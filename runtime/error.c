#include "runtime/error.h"

#include <stdio.h>
#include <string.h>

static const char *const names[] = {
    [LM_OK] = "ok",          [LM_EINPUT] = "input",   [LM_EIO] = "io",       [LM_ETIMEOUT] = "timeout",
    [LM_EMEMORY] = "memory", [LM_ECANCEL] = "cancel", [LM_EGRAPH] = "graph", [LM_EUSAGE] = "usage",
    [LM_ESTORE] = "store",   [LM_ECRASH] = "crash",   [LM_EBUG] = "bug",
};

const char *lm_status_name(lm_status status)
{
    size_t i = (size_t)status;
    return i < sizeof names / sizeof *names ? names[i] : "unknown";
}

_Bool lm_status_parse(const char *name, lm_status *ret)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0) {
            *ret = (lm_status)i;
            return 1;
        }
    return 0;
}

lm_status lm_fail(lm_error *err, lm_status status, const char *hint, const char *format, ...)
{
    if (!err) return status;
    /* The message may quote the error's own former text: build it aside. */
    char text[LM_ERROR_TEXT], advice[LM_ERROR_HINT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(advice, sizeof advice, "%s", hint ? hint : "");
    err->status = status;
    memcpy(err->text, text, sizeof text);
    memcpy(err->hint, advice, sizeof advice);
    return status;
}

void lm_error_in(lm_error *err, const char *format, ...)
{
    if (!err) return;
    size_t used = strlen(err->text);
    int n = snprintf(err->text + used, sizeof err->text - used, "\n  in ");
    if (n < 0 || (size_t)n >= sizeof err->text - used) return;
    used += (size_t)n;
    va_list args;
    va_start(args, format);
    vsnprintf(err->text + used, sizeof err->text - used, format, args);
    va_end(args);
}

void lm_error_clear(lm_error *err)
{
    if (!err) return;
    err->status = LM_OK;
    err->text[0] = err->hint[0] = 0;
}
