/* The log: lines of key=value on stderr, by component. LENSMILL_TRACE=sched,store switches tracing of a component on.
 *
 * Library code never prints: it logs through here, and a test or a program can take the lines with lm_log_to().
 */
#ifndef LM_RUNTIME_LOG_H
#define LM_RUNTIME_LOG_H

typedef enum lm_level { LM_LOG_TRACE, LM_LOG_INFO, LM_LOG_WARN, LM_LOG_ERROR } lm_level;

_Bool lm_log_traced(const char *component);
void lm_log(lm_level level, const char *component, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Sends every line to fn (called under a lock, from any thread) instead of stderr; NULL restores stderr. */
void lm_log_to(void (*fn)(void *arg, lm_level level, const char *line), void *arg);

#define LM_TRACE(component, ...)                                                                                       \
    do {                                                                                                               \
        if (lm_log_traced(component)) lm_log(LM_LOG_TRACE, component, __VA_ARGS__);                                    \
    } while (0)

#endif
