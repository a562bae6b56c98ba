/* Text: a growing string, the nearest name for a misspelt one, and numbers written the same way everywhere. */
#ifndef LM_RUNTIME_TEXT_H
#define LM_RUNTIME_TEXT_H

#include "runtime/alloc.h"

#include <stdarg.h>
#include <stddef.h>

/* A growing string. After a failed allocation it stays as it was and `failed` is set: check once, at the end. */
typedef struct lm_text {
    char *chars; /* always terminated; NULL while empty */
    size_t length, capacity;
    _Bool failed;
} lm_text;

void lm_text_init(lm_text *text);
void lm_text_done(lm_text *text);
void lm_text_add(lm_text *text, const char *chars);
void lm_text_add_n(lm_text *text, const char *chars, size_t n);
void lm_text_char(lm_text *text, char c);
void lm_text_format(lm_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void lm_text_json(lm_text *text, const char *chars); /* quoted and escaped as a JSON string */
void lm_text_clear(lm_text *text);
const char *lm_text_peek(const lm_text *text); /* never NULL; until the next change */
char *lm_text_take(lm_text *text);             /* the caller frees it; NULL if failed */

/* Edit distance (insert, delete, substitute, swap of neighbours), without regard to case. */
size_t lm_text_distance(const char *a, const char *b);

/* Finds the nearest of many names: init, offer each, read `best` (NULL if nothing is near enough to suggest). */
typedef struct lm_nearest {
    const char *wanted, *best;
    size_t distance;
} lm_nearest;
void lm_nearest_init(lm_nearest *nearest, const char *wanted);
void lm_nearest_offer(lm_nearest *nearest, const char *name);

/* The shortest decimal that reads back as the same double ("0.1", "1e-05", "nan", "inf"). Returns buffer. */
char *lm_text_real(char buffer[32], double value);

_Bool lm_starts_with(const char *text, const char *prefix);
_Bool lm_ends_with(const char *text, const char *suffix);

/* "1.5 KB", "3.2 s": for people. Return buffer. */
char *lm_text_bytes(char buffer[32], double bytes);
char *lm_text_duration(char buffer[32], double seconds);

/* Reads "250ms", "1.5s", "10min", "2h", "3d" or a bare number of seconds. Returns false if it is none. */
_Bool lm_parse_duration(const char *text, double *ret_seconds);
/* Reads a number with an angle unit ("23 deg", "0.4 rad", "12 arcmin", "3 arcsec") or a bare number, in radians. */
_Bool lm_parse_angle(const char *text, double *ret_radians);

#endif
