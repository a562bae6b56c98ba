/* Errors: who detects, explains; who passes on, adds only what it alone knows.
 *
 * A function that can fail returns an lm_status and takes an lm_error last. Its outputs (named ret) stay untouched on
 * failure. The text starts in lower case, quotes names, and always gives a reason; the hint says what to do about it.
 */
#ifndef LM_RUNTIME_ERROR_H
#define LM_RUNTIME_ERROR_H

#include <stdarg.h>
#include <stddef.h>

typedef enum lm_status {
    LM_OK = 0,
    LM_EINPUT,   /* the data are wrong: stays wrong until the input changes */
    LM_EIO,      /* files, disks, pipes: may pass */
    LM_ETIMEOUT, /* a step took longer than its node allows */
    LM_EMEMORY,  /* memory could not be had: may pass */
    LM_ECANCEL,  /* the run is being stopped */
    LM_EGRAPH,   /* the graph file or a parameter is wrong */
    LM_EUSAGE,   /* the command line is wrong */
    LM_ESTORE,   /* the store is broken, newer, locked or full */
    LM_ECRASH,   /* a program or step died of this input */
    LM_EBUG,     /* lensmill itself is wrong */
} lm_status;

enum { LM_ERROR_TEXT = 1536, LM_ERROR_HINT = 384 };

typedef struct lm_error {
    lm_status status;
    char text[LM_ERROR_TEXT];
    char hint[LM_ERROR_HINT];
} lm_error;

/* "input", "io", "timeout", "memory", ...: the words of on_error's `when:` and of the attribute `error_kind`. */
const char *lm_status_name(lm_status status);
/* The inverse; returns false for a word that is none. */
_Bool lm_status_parse(const char *name, lm_status *ret);

/* Fills err (which may be NULL) and returns status. */
lm_status lm_fail(lm_error *err, lm_status status, const char *hint, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Appends a context line "  in ..." to an error that is already filled. */
void lm_error_in(lm_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
void lm_error_clear(lm_error *err);

/* Both have the value `status` where the compiler can see it, so that it knows what stays unset after a failure. */
#define LM_FAIL(err, status, ...) LM_FAIL_HINT(err, status, NULL, __VA_ARGS__)
#define LM_FAIL_HINT(err, status, hint, ...)                                                                           \
    __extension__({                                                                                                    \
        (void)lm_fail(err, status, hint, __VA_ARGS__);                                                                 \
        (lm_status)(status);                                                                                           \
    })
#define LM_NOMEM(err) LM_FAIL_HINT(err, LM_EMEMORY, "Free memory, or run with fewer workers.", "out of memory")

/* Pass an error on. Only in functions without goto. */
#define LM_TRY(call)                                                                                                   \
    do {                                                                                                               \
        lm_status lm_try_status_ = (call);                                                                             \
        if (lm_try_status_) return lm_try_status_;                                                                     \
    } while (0)
#define LM_TRY_IN(call, err, ...)                                                                                      \
    do {                                                                                                               \
        lm_status lm_try_status_ = (call);                                                                             \
        if (lm_try_status_) {                                                                                          \
            lm_error_in(err, __VA_ARGS__);                                                                             \
            return lm_try_status_;                                                                                     \
        }                                                                                                              \
    } while (0)

#endif
