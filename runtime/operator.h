/* Operators: everything that an operator's author needs.
 *
 * An operator is one file with a table: name, version, parameters, ports and fields, and functions over a step. The
 * engine fills the operator's own struct (`size` bytes, zeroed, then parameters from `params`), calls open() once, step()
 * from any worker thread, and close() once. step() sees its inputs, makes its outputs through the step, and returns:
 * it never waits for an edge, never prints, and keeps nothing between two calls but what open() made.
 *
 * The five shapes
 *   LM_MAP        one output (or none: lm_step_skip) for each input, on each output port.
 *   LM_SOURCE     list() names the items once; step() is called for each of them and makes its record.
 *   LM_GENERATOR  many outputs for one input: step() is called with lm_step_index() = 0, 1, 2, ... and makes one output
 *                 each, or calls lm_step_end(). What it makes for index i depends on the input and i alone.
 *   LM_GATHER     one output for a window of inputs: ports of kind LM_PORT_GATHER, read with lm_step_count/_member.
 *   LM_SINK       like a map, or a gather where a port is LM_PORT_GATHER, but writes files (lm_step_file) and has no
 *                 output port.
 *
 * An output record starts as a copy of the record on the first stream port (of a gather or a source: empty, with the id of
 * lm_step_id) and keeps its id, attributes and tensors unless the step replaces them. A map with one output port emits
 * unless it calls lm_step_skip; with several ports it emits on those that it touched (lm_step_emit touches).
 */
#ifndef LM_RUNTIME_OPERATOR_H
#define LM_RUNTIME_OPERATOR_H

#include "runtime/alloc.h"
#include "runtime/error.h"
#include "runtime/record.h"
#include "runtime/tensor.h"

#include <jansson.h>
#include <math.h>
#include <stdbool.h>

/* ---- parameters ------------------------------------------------------------------------------------------------- */

typedef enum lm_param_type {
    LM_P_REAL,     /* double; a string with a unit where `unit` is "rad" ("23 deg") */
    LM_P_INT,      /* int64_t */
    LM_P_BOOL,     /* bool */
    LM_P_TEXT,     /* const char * */
    LM_P_PATH,     /* const char *, made absolute; never part of a step's key: what it leads to is */
    LM_P_CHOICE,   /* int: index into choices */
    LM_P_DURATION, /* double, seconds: "1.5s", "10min" */
    LM_P_TEXTS,    /* lm_texts: a list of strings; a single string is a list of one */
    LM_P_REALS,    /* lm_reals: a list of numbers */
    LM_P_TREE,     /* json_t *, borrowed: any YAML value; the operator checks it in open() or check() */
    LM_P_WHERE,    /* const char *: a jq expression, compiled by `check` to find its errors */
    LM_P_WHERES,   /* json_t *, borrowed: an object of names and jq expressions, each compiled by `check` */
    LM_P_TYPES,    /* how many there are */
} lm_param_type;

typedef struct lm_texts {
    size_t n;
    const char *const *at;
} lm_texts;
typedef struct lm_reals {
    size_t n;
    const double *at;
} lm_reals;

typedef struct lm_param {
    const char *name;
    lm_param_type type;
    size_t offset;
    double real;      /* default of REAL and DURATION; NAN: none, the parameter is unset */
    int64_t integer;  /* default of INT */
    bool boolean;     /* default of BOOL */
    const char *text; /* default of TEXT, PATH, CHOICE, WHERE (NULL: unset); of lists and trees: as JSON */
    double min, max;  /* range, both ends included; none while both are 0; max <= min: no upper end */
    const char *unit; /* "pix", "arcsec", "rad"; NULL: a pure number */
    const char *doc;  /* tells an astronomer what it means */
    const char *const *choices;
    bool required;
    bool per_record;    /* may hold {NAME} templates: read it with lm_step_real/_int/_text */
    bool extent;        /* how many: out of the key; a generator makes this many outputs */
    bool output;        /* of a PATH: a file that is written, relative to the working directory */
    bool no_key;        /* changes how, not what: out of the key */
    const char *schema; /* of a TREE: its JSON Schema, as text; NULL: anything */
    /* of a TREE of a map: names in it, parted by blanks, that say how long a step goes on and not what it does. They are part of its key, but
     * not of its random streams, nor of its checkpoint's place: a step that is asked to go on longer finds where it stopped. */
    const char *lengths;
} lm_param;

/* The offset of a field, only if it has the C type that the parameter fills. */
#define LM_PARAM_AT_(self, field, ctype)                                                                               \
    offsetof(self, field) + 0 * sizeof(char[_Generic(&((self *)0)->field, ctype * : 1, default : -1)])
#define LM_PARAM_(kind, self, field, ctype) .name = #field, .type = kind, .offset = LM_PARAM_AT_(self, field, ctype)

/* LM_REAL(struct, field, default, .min = ..., .doc = ...): the field has the parameter's name. */
#define LM_REAL(self, field, value, ...)                                                                               \
    {                                                                                                                  \
        LM_PARAM_(LM_P_REAL, self, field, double), .real = (value), __VA_ARGS__                                        \
    }
#define LM_INT(self, field, value, ...)                                                                                \
    {                                                                                                                  \
        LM_PARAM_(LM_P_INT, self, field, int64_t), .integer = (value), __VA_ARGS__                                     \
    }
#define LM_BOOL(self, field, value, ...)                                                                               \
    {                                                                                                                  \
        LM_PARAM_(LM_P_BOOL, self, field, bool), .boolean = (value), __VA_ARGS__                                       \
    }
#define LM_TEXT(self, field, value, ...)                                                                               \
    {                                                                                                                  \
        LM_PARAM_(LM_P_TEXT, self, field, const char *), .text = (value), __VA_ARGS__                                  \
    }
#define LM_PATH(self, field, value, ...)                                                                               \
    {                                                                                                                  \
        LM_PARAM_(LM_P_PATH, self, field, const char *), .text = (value), __VA_ARGS__                                  \
    }
#define LM_CHOICE(self, field, value, list, ...)                                                                       \
    {                                                                                                                  \
        LM_PARAM_(LM_P_CHOICE, self, field, int), .text = (value), .choices = (list), __VA_ARGS__                      \
    }
#define LM_DURATION(self, field, value, ...)                                                                           \
    {                                                                                                                  \
        LM_PARAM_(LM_P_DURATION, self, field, double), .real = (value), __VA_ARGS__                                    \
    }
#define LM_TEXTS(self, field, value, ...)                                                                              \
    {                                                                                                                  \
        LM_PARAM_(LM_P_TEXTS, self, field, lm_texts), .text = (value), __VA_ARGS__                                     \
    }
#define LM_REALS(self, field, value, ...)                                                                              \
    {                                                                                                                  \
        LM_PARAM_(LM_P_REALS, self, field, lm_reals), .text = (value), __VA_ARGS__                                     \
    }
#define LM_TREE(self, field, value, ...)                                                                               \
    {                                                                                                                  \
        LM_PARAM_(LM_P_TREE, self, field, json_t *), .text = (value), __VA_ARGS__                                      \
    }
#define LM_WHERE(self, field, ...)                                                                                     \
    {                                                                                                                  \
        LM_PARAM_(LM_P_WHERE, self, field, const char *), __VA_ARGS__                                                  \
    }
#define LM_WHERES(self, field, ...)                                                                                    \
    {                                                                                                                  \
        LM_PARAM_(LM_P_WHERES, self, field, json_t *), __VA_ARGS__                                                     \
    }

/* ---- ports and fields ------------------------------------------------------------------------------------------- */

typedef enum lm_port_kind {
    LM_PORT_STREAM,    /* input: joined with the other stream ports, record by record */
    LM_PORT_BROADCAST, /* input: one record for every step */
    LM_PORT_LOOKUP,    /* input: a finite table of records, looked up by the node's `on:` key */
    LM_PORT_GATHER,    /* input: all records of a window at once */
    LM_PORT_MERGE,     /* input: any number of nodes (`in: [a, b]`), one stream */
    LM_PORT_OUT,       /* output */
} lm_port_kind;

/* Without a table, an operator has the stream port "in" (not a source) and the output port "out" (not a sink). */
typedef struct lm_port {
    const char *name;
    lm_port_kind kind;
    const char *doc;
    bool optional; /* an input that need not be wired */
} lm_port;

/* What a port's records carry. Shapes are words: a number, a symbol that stands for the same length wherever it
 * appears in the step ("H W"), "..." for any axes, "*" for any shape. Units: "*" any, "=" the input's, "" none. */
typedef struct lm_field {
    bool out, optional, attribute;
    const char *port, *name;
    lm_dtype dtype; /* of a tensor */
    lm_kind kind;   /* of an attribute */
    const char *shape, *unit, *doc;
} lm_field;
#define LM_IN(port, tensor, dtype, shape, unit, doc)                                                                   \
    {                                                                                                                  \
        false, false, false, port, tensor, dtype, LM_KIND_NULL, shape, unit, doc                                       \
    }
#define LM_IN_OPT(port, tensor, dtype, shape, unit, doc)                                                               \
    {                                                                                                                  \
        false, true, false, port, tensor, dtype, LM_KIND_NULL, shape, unit, doc                                        \
    }
#define LM_OUT(port, tensor, dtype, shape, unit, doc)                                                                  \
    {                                                                                                                  \
        true, false, false, port, tensor, dtype, LM_KIND_NULL, shape, unit, doc                                        \
    }
#define LM_OUT_OPT(port, tensor, dtype, shape, unit, doc)                                                              \
    {                                                                                                                  \
        true, true, false, port, tensor, dtype, LM_KIND_NULL, shape, unit, doc                                         \
    }
#define LM_OUT_ATTR(port, name, kind, unit, doc)                                                                       \
    {                                                                                                                  \
        true, false, true, port, name, LM_DTYPE_NONE, kind, NULL, unit, doc                                            \
    }
#define LM_IN_ATTR(port, name, kind, unit, doc)                                                                        \
    {                                                                                                                  \
        false, false, true, port, name, LM_DTYPE_NONE, kind, NULL, unit, doc                                           \
    }

/* ---- the step --------------------------------------------------------------------------------------------------- */

typedef struct lm_step lm_step;
typedef struct lm_items lm_items;

/* Counter-based random numbers (Philox 4x32-10): the stream of (step key, index). Copyable; never shared by threads. */
typedef struct lm_random {
    uint32_t key[2], counter[4], word[4];
    unsigned left;
    bool has_normal;
    double normal;
} lm_random;

/* What an operator may call. The list is also the table that a plugin gets, so that it needs no symbol of its host:
 * entries are only ever added at the end. LM_API(return type, name, (arguments)). */
#define LM_HOST_API(LM_API)                                                                                            \
    /* memory, errors */                                                                                               \
    LM_API(void *, lm_alloc, (size_t n, size_t size))                                                                  \
    LM_API(void *, lm_alloc_data, (size_t bytes))                                                                      \
    LM_API(void *, lm_free, (void *p))                                                                                 \
    LM_API(char *, lm_strdup, (const char *text))                                                                      \
    LM_API(lm_status, lm_fail, (lm_error * err, lm_status status, const char *hint, const char *format, ...))          \
    LM_API(void, lm_error_in, (lm_error * err, const char *format, ...))                                               \
    /* tensors and records */                                                                                          \
    LM_API(lm_status, lm_tensor_new,                                                                                   \
           (lm_dtype dtype, unsigned ndim, const size_t *shape, lm_tensor **ret, lm_error *err))                       \
    LM_API(lm_tensor *, lm_tensor_ref, (lm_tensor * tensor))                                                           \
    LM_API(lm_tensor *, lm_tensor_unref, (lm_tensor * tensor))                                                         \
    LM_API(lm_status, lm_tensor_set_unit, (lm_tensor * tensor, const char *unit, lm_error *err))                       \
    LM_API(void, lm_tensor_to_f64, (const lm_tensor *tensor, double *to))                                              \
    LM_API(void, lm_tensor_to_f32, (const lm_tensor *tensor, float *to))                                               \
    LM_API(void, lm_tensor_from_f64, (lm_tensor * tensor, const double *from))                                         \
    LM_API(const char *, lm_record_id, (const lm_record *record))                                                      \
    LM_API(size_t, lm_record_attr_count, (const lm_record *record))                                                    \
    LM_API(const lm_attr *, lm_record_attr_at, (const lm_record *record, size_t i))                                    \
    LM_API(const lm_attr *, lm_record_attr, (const lm_record *record, const char *name))                               \
    LM_API(size_t, lm_record_tensor_count, (const lm_record *record))                                                  \
    LM_API(const lm_named *, lm_record_tensor_at, (const lm_record *record, size_t i))                                 \
    LM_API(lm_tensor *, lm_record_tensor, (const lm_record *record, const char *name))                                 \
    LM_API(lm_value, lm_record_value, (const lm_record *record, const char *name))                                     \
    /* inputs: borrowed until the step ends */                                                                         \
    LM_API(const lm_record *, lm_step_record, (lm_step * step, const char *port)) /* NULL: optional and not wired */   \
    LM_API(const lm_tensor *, lm_step_peek, (lm_step * step, const char *port, const char *tensor)) /* NULL: absent */ \
    LM_API(const double *, lm_step_peek_f64, (lm_step * step, const lm_tensor *tensor)) /* converted; NULL: memory */  \
    LM_API(const float *, lm_step_peek_f32, (lm_step * step, const lm_tensor *tensor))                                 \
    /* of a gather port: n records, read one at a time; a member is borrowed until the next call for the same port */  \
    LM_API(size_t, lm_step_count, (lm_step * step, const char *port))                                                  \
    LM_API(size_t, lm_step_missing, (lm_step * step, const char *port)) /* inputs that failed upstream */              \
    LM_API(lm_status, lm_step_member,                                                                                  \
           (lm_step * step, const char *port, size_t i, const lm_record **ret, lm_error *err))                         \
    LM_API(size_t, lm_step_merge_port, (lm_step * step)) /* which of a merge port's nodes the input came from */       \
    /* parameters that may differ by record; `self` is the operator's struct. LM_EINPUT if an attribute is missing */  \
    LM_API(lm_status, lm_step_real, (lm_step * step, const char *param, double *ret, lm_error *err))                   \
    LM_API(lm_status, lm_step_int, (lm_step * step, const char *param, int64_t *ret, lm_error *err))                   \
    LM_API(lm_status, lm_step_text, (lm_step * step, const char *param, const char **ret, lm_error *err))              \
    /* expands the {NAME}s of any text over the first input (or over `record`, if not NULL); lives as the step does */ \
    LM_API(lm_status, lm_step_expand,                                                                                  \
           (lm_step * step, const char *text, const lm_record *record, const char **ret, lm_error *err))               \
    /* outputs. port NULL: the only output port */                                                                     \
    LM_API(lm_status, lm_step_id, (lm_step * step, const char *port, const char *id, lm_error *err))                   \
    LM_API(lm_status, lm_step_base, (lm_step * step, const char *port, const lm_record *record, lm_error *err))        \
    LM_API(lm_status, lm_step_out,                                                                                     \
           (lm_step * step, const char *port, const char *tensor, const size_t *shape, lm_tensor **ret,                \
            lm_error *err)) /* dtype, number of axes and unit from the fields table; the step owns it */               \
    LM_API(lm_status, lm_step_out_as,                                                                                  \
           (lm_step * step, const char *port, const char *tensor, lm_dtype dtype, unsigned ndim, const size_t *shape,  \
            lm_tensor **ret, lm_error *err))                                                                           \
    LM_API(lm_status, lm_step_put,                                                                                     \
           (lm_step * step, const char *port, const char *tensor, lm_tensor *take, lm_error *err))                     \
    LM_API(lm_status, lm_step_drop, (lm_step * step, const char *port, const char *tensor, lm_error *err))             \
    LM_API(lm_status, lm_step_set,                                                                                     \
           (lm_step * step, const char *port, const char *name, lm_value value, const char *comment, lm_error *err))   \
    LM_API(lm_status, lm_step_unset, (lm_step * step, const char *port, const char *name, lm_error *err))              \
    LM_API(lm_status, lm_step_emit, (lm_step * step, const char *port, lm_error *err))                                 \
    LM_API(void, lm_step_skip, (lm_step * step)) /* no output at all: a tombstone */                                   \
    /* generators */                                                                                                   \
    LM_API(uint64_t, lm_step_index, (const lm_step *step))                                                             \
    LM_API(void, lm_step_end, (lm_step * step)) /* there is no output for this index, nor for a later one */           \
    /* sources */                                                                                                      \
    LM_API(const char *, lm_step_item, (const lm_step *step)) /* the `spec` of this item, as list() gave it */         \
    LM_API(                                                                                                            \
        lm_status, lm_items_add,                                                                                       \
        (lm_items * items, const char *id, const char *spec, const char *const *files, size_t n_files, lm_error *err)) \
    LM_API(lm_status, lm_items_watch, (lm_items * items, const char *folder, lm_error *err))                           \
    /* an item that cannot become a record: its dead letter, the others go on */                                       \
    LM_API(lm_status, lm_items_fail, (lm_items * items, const char *id, const lm_error *why, lm_error *err))           \
    /* sinks: the name of a temporary file to write; it gets the name `path` when the step has succeeded */            \
    LM_API(lm_status, lm_step_file, (lm_step * step, const char *path, const char **ret_temporary, lm_error *err))     \
    LM_API(const char *, lm_step_key_text, (lm_step * step)) /* 64 hexadecimal digits: for HISTORY cards */            \
    /* work: memory until the step ends (64-byte aligned, not zeroed), time, random numbers, checkpoints */            \
    LM_API(void *, lm_step_scratch, (lm_step * step, size_t n, size_t size))                                           \
    LM_API(bool, lm_step_stopped, (const lm_step *step)) /* timed out or cancelled: return LM_ESTOP(step, err) */      \
    LM_API(lm_status, lm_step_stop_reason, (const lm_step *step, lm_error *err))                                       \
    LM_API(lm_random, lm_step_random, (lm_step * step, uint64_t stream)) /* only if the operator is LM_RANDOM */       \
    LM_API(double, lm_random_uniform, (lm_random * random))              /* in [0, 1), 53 bits */                      \
    LM_API(double, lm_random_normal, (lm_random * random))                                                             \
    LM_API(uint64_t, lm_random_below, (lm_random * random, uint64_t n)) /* 0 <= result < n, unbiased */                \
    LM_API(lm_status, lm_step_checkpoint_save, (lm_step * step, const void *bytes, size_t n, lm_error *err))           \
    LM_API(lm_status, lm_step_checkpoint_load,                                                                         \
           (lm_step * step, const void **ret, size_t *ret_n, lm_error *err)) /* ret_n 0: none */                       \
    LM_API(void, lm_step_warn, (lm_step * step, const char *format, ...))    /* a line in the log, with node and id */

#define LM_DECLARE_(result, name, arguments) result name arguments;
#ifndef LM_PLUGIN
LM_HOST_API(LM_DECLARE_)
#endif

#define LM_ESTOP(step, err) lm_step_stop_reason(step, err)

/* ---- the operator ----------------------------------------------------------------------------------------------- */

typedef enum lm_shape { LM_MAP, LM_SOURCE, LM_GENERATOR, LM_GATHER, LM_SINK } lm_shape;

enum {
    LM_RANDOM = 1,   /* draws random numbers: the seed is part of the key */
    LM_BATCH = 2,    /* has step_batch() */
    LM_SPANS = 4,    /* one step uses the whole machine: runs alone */
    LM_ENDLESS = 8,  /* a source that may never end (if its parameter `watch` is true) */
    LM_PASSES = 16,  /* its output may be its input, unchanged: filter, select, merge */
    LM_HEADER = 32,  /* reads attributes alone: the input's tensors need not be loaded */
    LM_PROGRAM = 64, /* its code is outside: key holds the files named by code_files() */
};

typedef struct lm_operator {
    size_t struct_size; /* sizeof(lm_operator): what a plugin of another age knew of this struct */
    const char *name;
    int version;         /* raise it whenever a result may change */
    const char *summary; /* one line, no full stop */
    const char *doc;     /* paragraphs; NULL: the summary says it all */
    const char *
        example; /* YAML: what stands under `with:`, or, where wires matter, the node without `op:`; it is run by a test */
    lm_shape shape;
    unsigned flags;
    size_t size; /* of the operator's own struct; 0: no parameters, no state */
    const lm_param *params;
    const lm_port *ports;
    const lm_field *fields;
    lm_status (*check)(const void *self, lm_error *err); /* parameters against each other: touches no file */
    lm_status (*open)(void *self, lm_error *err);
    lm_status (*list)(void *self, lm_items *items, lm_error *err); /* of a source; again at each rescan of a watch */
    lm_status (*step)(const void *self, lm_step *step, lm_error *err);
    void (*step_batch)(const void *self, lm_step **steps, lm_status *statuses, lm_error *errs, size_t n);
    size_t batch; /* the most records of one step_batch */
    /* Absolute names of the files whose bytes are part of the key (a program, its script). */
    lm_status (*code_files)(const void *self, void (*add)(void *arg, const char *path), void *arg, lm_error *err);
    void (*close)(void *self); /* also after a failed open() */
} lm_operator;

#endif
