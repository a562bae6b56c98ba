#include "runtime/text.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void lm_text_init(lm_text *text)
{
    *text = (lm_text){0};
}

void lm_text_done(lm_text *text)
{
    lm_free(text->chars);
    *text = (lm_text){0};
}

void lm_text_clear(lm_text *text)
{
    text->length = 0;
    text->failed = 0;
    if (text->chars) text->chars[0] = 0;
}

static _Bool reserve(lm_text *text, size_t more)
{
    if (text->failed) return 0;
    size_t need = text->length + more + 1;
    if (need <= text->capacity) return 1;
    size_t capacity = text->capacity ? text->capacity : 64;
    while (capacity < need) capacity *= 2;
    char *grown = lm_realloc(text->chars, capacity, 1);
    if (!grown) {
        text->failed = 1;
        return 0;
    }
    text->chars = grown;
    text->capacity = capacity;
    return 1;
}

void lm_text_add_n(lm_text *text, const char *chars, size_t n)
{
    if (!reserve(text, n)) return;
    if (n) memcpy(text->chars + text->length, chars, n);
    text->length += n;
    text->chars[text->length] = 0;
}

void lm_text_add(lm_text *text, const char *chars)
{
    lm_text_add_n(text, chars, strlen(chars));
}

void lm_text_char(lm_text *text, char c)
{
    lm_text_add_n(text, &c, 1);
}

void lm_text_format(lm_text *text, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n >= 0 && reserve(text, (size_t)n)) {
        vsnprintf(text->chars + text->length, (size_t)n + 1, format, again);
        text->length += (size_t)n;
    }
    va_end(again);
}

void lm_text_json(lm_text *text, const char *chars)
{
    lm_text_char(text, '"');
    for (const unsigned char *c = (const unsigned char *)chars; *c; c++) {
        if (*c == '"' || *c == '\\') lm_text_format(text, "\\%c", *c);
        else if (*c == '\n') lm_text_add(text, "\\n");
        else if (*c == '\t') lm_text_add(text, "\\t");
        else if (*c < 0x20) lm_text_format(text, "\\u%04x", *c);
        else lm_text_char(text, (char)*c);
    }
    lm_text_char(text, '"');
}

const char *lm_text_peek(const lm_text *text)
{
    return text->chars ? text->chars : "";
}

char *lm_text_take(lm_text *text)
{
    char *chars = text->failed ? lm_free(text->chars) : text->chars;
    if (!chars && !text->failed) chars = lm_strdup("");
    *text = (lm_text){0};
    return chars;
}

size_t lm_text_distance(const char *a, const char *b)
{
    enum { LONGEST = 63 };
    size_t n = strlen(a), m = strlen(b);
    if (n > LONGEST || m > LONGEST) return strcmp(a, b) == 0 ? 0 : LONGEST;
    size_t rows[3][LONGEST + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= m; j++) last[j] = j;
    for (size_t i = 1; i <= n; i++) {
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            int ca = tolower((unsigned char)a[i - 1]), cb = tolower((unsigned char)b[j - 1]);
            size_t d = last[j - 1] + (ca != cb);
            if (last[j] + 1 < d) d = last[j] + 1;
            if (now[j - 1] + 1 < d) d = now[j - 1] + 1;
            if (i > 1 && j > 1 && ca == tolower((unsigned char)b[j - 2]) && cb == tolower((unsigned char)a[i - 2]) &&
                before[j - 2] + 1 < d)
                d = before[j - 2] + 1;
            now[j] = d;
        }
        size_t *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[m];
}

void lm_nearest_init(lm_nearest *nearest, const char *wanted)
{
    size_t n = strlen(wanted);
    /* Suggest only what differs in about a third of its letters: a far guess misleads. */
    *nearest = (lm_nearest){.wanted = wanted, .distance = n < 3 ? 2 : n / 3 + 2};
}

void lm_nearest_offer(lm_nearest *nearest, const char *name)
{
    size_t d = lm_text_distance(nearest->wanted, name);
    if (d < nearest->distance) {
        nearest->distance = d;
        nearest->best = name;
    }
}

char *lm_text_real(char buffer[32], double value)
{
    if (isnan(value)) return strcpy(buffer, "nan");
    if (isinf(value)) return strcpy(buffer, value < 0 ? "-inf" : "inf");
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(buffer, 32, "%.*g", digits, value);
        if (!(strtod(buffer, NULL) != value)) break;
    }
    return buffer;
}

_Bool lm_starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

_Bool lm_ends_with(const char *text, const char *suffix)
{
    size_t n = strlen(text), m = strlen(suffix);
    return n >= m && strcmp(text + n - m, suffix) == 0;
}

char *lm_text_bytes(char buffer[32], double bytes)
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB", "PB"};
    size_t u = 0;
    while (bytes >= 1000 && u < 5) {
        bytes /= 1000;
        u++;
    }
    snprintf(buffer, 32, bytes < 10 && u ? "%.1f %s" : "%.0f %s", bytes, units[u]);
    return buffer;
}

char *lm_text_duration(char buffer[32], double seconds)
{
    if (seconds < 1e-3) snprintf(buffer, 32, "%.0f us", seconds * 1e6);
    else if (seconds < 1) snprintf(buffer, 32, "%.0f ms", seconds * 1e3);
    else if (seconds < 100) snprintf(buffer, 32, "%.1f s", seconds);
    else if (seconds < 6000) snprintf(buffer, 32, "%.0f min", seconds / 60);
    else if (seconds < 48 * 3600) snprintf(buffer, 32, "%.1f h", seconds / 3600);
    else snprintf(buffer, 32, "%.1f d", seconds / 86400);
    return buffer;
}

typedef struct {
    const char *name;
    double factor;
} unit;

static _Bool parse_with_unit(const char *text, const unit *units, double *ret)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || !isfinite(value)) return 0;
    while (isspace((unsigned char)*end)) end++;
    for (const unit *u = units; u->name; u++)
        if (strcmp(end, u->name) == 0) {
            *ret = value * u->factor;
            return 1;
        }
    return 0;
}

_Bool lm_parse_duration(const char *text, double *ret_seconds)
{
    static const unit units[] = {{"", 1},     {"s", 1},    {"ms", 1e-3}, {"us", 1e-6}, {"m", 60},
                                 {"min", 60}, {"h", 3600}, {"d", 86400}, {NULL, 0}};
    double seconds;
    if (!parse_with_unit(text, units, &seconds) || seconds < 0) return 0;
    *ret_seconds = seconds;
    return 1;
}

_Bool lm_parse_angle(const char *text, double *ret_radians)
{
    static const double degree = 3.14159265358979323846 / 180;
    const unit units[] = {{"", 1},
                          {"rad", 1},
                          {"deg", degree},
                          {"arcmin", degree / 60},
                          {"arcsec", degree / 3600},
                          {"mas", degree / 3.6e6},
                          {NULL, 0}};
    return parse_with_unit(text, units, ret_radians);
}
