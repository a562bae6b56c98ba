/* YAML 1.2 with the core schema, as a tree that knows where everything stands.
 *
 * What graph files need and no more: one document, maps with plain text as keys, lists, scalars. Anchors, aliases and tags
 * are refused by name (an alias can make a small file mean a huge one), and so are two equal keys, text that is not UTF-8,
 * and nesting deeper than LM_YAML_DEPTH.
 */
#ifndef LM_RUNTIME_YAML_H
#define LM_RUNTIME_YAML_H

#include "runtime/arena.h"
#include "runtime/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum { LM_YAML_DEPTH = 64, LM_YAML_BYTES = 4 << 20 };

typedef enum lm_yaml_kind {
    LM_YAML_NULL,
    LM_YAML_BOOL,
    LM_YAML_INT,
    LM_YAML_REAL, /* also integers that do not fit 64 bits */
    LM_YAML_TEXT,
    LM_YAML_LIST,
    LM_YAML_MAP,
} lm_yaml_kind;

typedef struct lm_yaml lm_yaml;
typedef struct lm_yaml_entry {
    const char *name; /* of a map's entry; NULL in a list */
    unsigned line, column;
    lm_yaml *value;
} lm_yaml_entry;

struct lm_yaml {
    lm_yaml_kind kind;
    unsigned line, column; /* from 1 */
    const char *text;      /* of a scalar, as it was written, without quotes */
    bool boolean;
    int64_t integer;
    double real; /* also of LM_YAML_INT */
    lm_yaml_entry *entries;
    size_t n;
};

/* Called for each fault. hint may be NULL. */
typedef void (*lm_yaml_report)(void *arg, unsigned line, unsigned column, const char *text, const char *hint);

/* Parses n bytes. The tree lives in the arena. LM_EGRAPH if something was reported (*ret is then the tree, if nothing
 * worse than a double key was found, so that the caller can look for more faults; or NULL), LM_EMEMORY. An empty document is a LM_YAML_NULL. */
lm_status lm_yaml_parse(const char *bytes, size_t n, lm_arena *arena, lm_yaml **ret, lm_yaml_report report, void *arg);

/* The entry of a map, NULL if there is none or it is no map. */
const lm_yaml_entry *lm_yaml_entry_of(const lm_yaml *map, const char *name);
lm_yaml *lm_yaml_get(const lm_yaml *map, const char *name);
/* Sets kind and value of a scalar from its plain text, by the core schema. */
void lm_yaml_resolve(lm_yaml *scalar);
/* "a list", "the number 3", "the text \"abc\"": for messages. Returns buffer. */
char *lm_yaml_describe(char buffer[96], const lm_yaml *value);
/* The same value as JSON: a new object, NULL without memory or for a number that is not finite. */
json_t *lm_yaml_json(const lm_yaml *value);
/* And back, every node at one place. */
lm_yaml *lm_yaml_from_json(const json_t *value, unsigned line, unsigned column, lm_arena *arena);

#endif
