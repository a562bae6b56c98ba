#include "runtime/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void (*sink)(void *, lm_level, const char *);
static void *sink_arg;

static const char *traced_list = "";

static void read_traced(void)
{
    const char *value = getenv("LENSMILL_TRACE");
    if (value) traced_list = value;
}

static const char *traced(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, read_traced);
    return traced_list;
}

_Bool lm_log_traced(const char *component)
{
    const char *list = traced();
    if (!*list) return 0;
    size_t n = strlen(component);
    for (const char *at = list; *at;) {
        size_t m = strcspn(at, ",");
        if ((m == n && strncmp(at, component, n) == 0) || (m == 3 && strncmp(at, "all", 3) == 0)) return 1;
        at += m + (at[m] == ',');
    }
    return 0;
}

void lm_log_to(void (*fn)(void *arg, lm_level level, const char *line), void *arg)
{
    pthread_mutex_lock(&lock);
    sink = fn;
    sink_arg = arg;
    pthread_mutex_unlock(&lock);
}

void lm_log(lm_level level, const char *component, const char *format, ...)
{
    static const char *const words[] = {"trace", "info", "warning", "error"};
    char line[2048];
    int n = snprintf(line, sizeof line, "%s: %s: ", words[level], component);
    va_list args;
    va_start(args, format);
    vsnprintf(line + n, sizeof line - (size_t)n, format, args);
    va_end(args);
    pthread_mutex_lock(&lock);
    if (sink) sink(sink_arg, level, line);
    else fprintf(stderr, "%s\n", line);
    pthread_mutex_unlock(&lock);
}
