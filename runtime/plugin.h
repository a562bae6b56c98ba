/* Plugins: operators in a shared library that is built apart from lensmill.
 *
 * A plugin is written like a built-in operator, against runtime/operator.h alone, and needs no symbol of the program that
 * loads it: it gets a table of functions (struct lm_host, made from LM_HOST_API) when it is loaded. One file of the library
 * says
 *
 *     #include "runtime/plugin.h"
 *     LM_PLUGIN_EXPORT("my_library", &lm_op_image_smooth, &lm_op_image_noise)
 *
 * which defines lm_plugin_entry, the only symbol that the library shows, and every function of LM_HOST_API as one that calls
 * through the table. Compile with -DLM_PLUGIN -fvisibility=hidden, and link with -Wl,-z,defs, so that a function that is
 * not in the table is an error of the linker. operators/plugins/image_smooth is an example.
 *
 * A graph names its libraries in `plugins:`. The digest of the library's file is part of its operators' step keys: a new build is
 * new code. Libraries stay loaded. What a library was built against is checked: LM_PLUGIN_ABI must be equal, and so must the
 * sizes of the structs that both sides look into; a host's table may be longer than the one the plugin knows, and
 * an older plugin's operators may be shorter.
 */
#ifndef LM_RUNTIME_PLUGIN_H
#define LM_RUNTIME_PLUGIN_H

#include "runtime/operator.h"

enum { LM_PLUGIN_ABI = 2 };

#define LM_MEMBER_(result, name, arguments) result(*name) arguments;
typedef struct lm_host {
    size_t struct_size;
    uint32_t abi;
    LM_HOST_API(LM_MEMBER_)
} lm_host;

/* Sizes of what both sides look into. */
typedef struct lm_layout {
    uint32_t param, port, field, error, tensor, value, attr, random;
} lm_layout;
#define LM_LAYOUT                                                                                                      \
    {                                                                                                                  \
        sizeof(lm_param), sizeof(lm_port), sizeof(lm_field), sizeof(lm_error), sizeof(lm_tensor), sizeof(lm_value),    \
            sizeof(lm_attr), sizeof(lm_random)                                                                         \
    }

/* What a library says of itself. `abi` and `struct_size` come first in every version of it. */
typedef struct lm_plugin {
    uint32_t abi;
    size_t struct_size;   /* sizeof(lm_plugin) */
    size_t host_size;     /* sizeof(lm_host) that it was built against: how much of the table it may use */
    size_t operator_size; /* sizeof(lm_operator) */
    lm_layout layout;
    const char *name;
    const lm_operator *const *operators;
    size_t n_operators;
} lm_plugin;

#ifdef LM_PLUGIN

LM_HOST_API(LM_DECLARE_)

__attribute__((visibility("default"))) const lm_plugin *lm_plugin_entry(const lm_host *host);

/* LM_HOST_API again, with the names of the arguments; the three functions with a format stand apart. */
#    define LM_FORWARD_API(F)                                                                                          \
        F(void *, lm_alloc, (size_t n, size_t size), (n, size))                                                        \
        F(void *, lm_alloc_data, (size_t bytes), (bytes))                                                              \
        F(void *, lm_free, (void *p), (p))                                                                             \
        F(char *, lm_strdup, (const char *text), (text))                                                               \
        F(lm_status, lm_tensor_new, (lm_dtype d, unsigned n, const size_t *shape, lm_tensor **ret, lm_error *e),       \
          (d, n, shape, ret, e))                                                                                       \
        F(lm_tensor *, lm_tensor_ref, (lm_tensor * t), (t))                                                            \
        F(lm_tensor *, lm_tensor_unref, (lm_tensor * t), (t))                                                          \
        F(lm_status, lm_tensor_set_unit, (lm_tensor * t, const char *unit, lm_error *e), (t, unit, e))                 \
        F(void, lm_tensor_to_f64, (const lm_tensor *t, double *to), (t, to))                                           \
        F(void, lm_tensor_to_f32, (const lm_tensor *t, float *to), (t, to))                                            \
        F(void, lm_tensor_from_f64, (lm_tensor * t, const double *from), (t, from))                                    \
        F(const char *, lm_record_id, (const lm_record *r), (r))                                                       \
        F(size_t, lm_record_attr_count, (const lm_record *r), (r))                                                     \
        F(const lm_attr *, lm_record_attr_at, (const lm_record *r, size_t i), (r, i))                                  \
        F(const lm_attr *, lm_record_attr, (const lm_record *r, const char *name), (r, name))                          \
        F(size_t, lm_record_tensor_count, (const lm_record *r), (r))                                                   \
        F(const lm_named *, lm_record_tensor_at, (const lm_record *r, size_t i), (r, i))                               \
        F(lm_tensor *, lm_record_tensor, (const lm_record *r, const char *name), (r, name))                            \
        F(lm_value, lm_record_value, (const lm_record *r, const char *name), (r, name))                                \
        F(const lm_record *, lm_step_record, (lm_step * s, const char *port), (s, port))                               \
        F(const lm_tensor *, lm_step_peek, (lm_step * s, const char *port, const char *tensor), (s, port, tensor))     \
        F(const double *, lm_step_peek_f64, (lm_step * s, const lm_tensor *t), (s, t))                                 \
        F(const float *, lm_step_peek_f32, (lm_step * s, const lm_tensor *t), (s, t))                                  \
        F(size_t, lm_step_count, (lm_step * s, const char *port), (s, port))                                           \
        F(size_t, lm_step_missing, (lm_step * s, const char *port), (s, port))                                         \
        F(lm_status, lm_step_member, (lm_step * s, const char *port, size_t i, const lm_record **ret, lm_error *e),    \
          (s, port, i, ret, e))                                                                                        \
        F(size_t, lm_step_merge_port, (lm_step * s), (s))                                                              \
        F(lm_status, lm_step_real, (lm_step * s, const char *param, double *ret, lm_error *e), (s, param, ret, e))     \
        F(lm_status, lm_step_int, (lm_step * s, const char *param, int64_t *ret, lm_error *e), (s, param, ret, e))     \
        F(lm_status, lm_step_text, (lm_step * s, const char *param, const char **ret, lm_error *e),                    \
          (s, param, ret, e))                                                                                          \
        F(lm_status, lm_step_expand,                                                                                   \
          (lm_step * s, const char *text, const lm_record *r, const char **ret, lm_error *e), (s, text, r, ret, e))    \
        F(lm_status, lm_step_id, (lm_step * s, const char *port, const char *id, lm_error *e), (s, port, id, e))       \
        F(lm_status, lm_step_base, (lm_step * s, const char *port, const lm_record *r, lm_error *e), (s, port, r, e))  \
        F(lm_status, lm_step_out,                                                                                      \
          (lm_step * s, const char *port, const char *tensor, const size_t *shape, lm_tensor **ret, lm_error *e),      \
          (s, port, tensor, shape, ret, e))                                                                            \
        F(lm_status, lm_step_out_as,                                                                                   \
          (lm_step * s, const char *port, const char *tensor, lm_dtype d, unsigned n, const size_t *shape,             \
           lm_tensor **ret, lm_error *e),                                                                              \
          (s, port, tensor, d, n, shape, ret, e))                                                                      \
        F(lm_status, lm_step_put, (lm_step * s, const char *port, const char *tensor, lm_tensor *take, lm_error *e),   \
          (s, port, tensor, take, e))                                                                                  \
        F(lm_status, lm_step_drop, (lm_step * s, const char *port, const char *tensor, lm_error *e),                   \
          (s, port, tensor, e))                                                                                        \
        F(lm_status, lm_step_set,                                                                                      \
          (lm_step * s, const char *port, const char *name, lm_value value, const char *comment, lm_error *e),         \
          (s, port, name, value, comment, e))                                                                          \
        F(lm_status, lm_step_unset, (lm_step * s, const char *port, const char *name, lm_error *e),                    \
          (s, port, name, e))                                                                                          \
        F(lm_status, lm_step_emit, (lm_step * s, const char *port, lm_error *e), (s, port, e))                         \
        F(void, lm_step_skip, (lm_step * s), (s))                                                                      \
        F(uint64_t, lm_step_index, (const lm_step *s), (s))                                                            \
        F(void, lm_step_end, (lm_step * s), (s))                                                                       \
        F(const char *, lm_step_item, (const lm_step *s), (s))                                                         \
        F(lm_status, lm_items_add,                                                                                     \
          (lm_items * items, const char *id, const char *spec, const char *const *files, size_t n, lm_error *e),       \
          (items, id, spec, files, n, e))                                                                              \
        F(lm_status, lm_items_watch, (lm_items * items, const char *folder, lm_error *e), (items, folder, e))          \
        F(lm_status, lm_items_fail, (lm_items * items, const char *id, const lm_error *why, lm_error *e),              \
          (items, id, why, e))                                                                                         \
        F(lm_status, lm_step_file, (lm_step * s, const char *path, const char **ret, lm_error *e), (s, path, ret, e))  \
        F(const char *, lm_step_key_text, (lm_step * s), (s))                                                          \
        F(void *, lm_step_scratch, (lm_step * s, size_t n, size_t size), (s, n, size))                                 \
        F(bool, lm_step_stopped, (const lm_step *s), (s))                                                              \
        F(lm_status, lm_step_stop_reason, (const lm_step *s, lm_error *e), (s, e))                                     \
        F(lm_random, lm_step_random, (lm_step * s, uint64_t stream), (s, stream))                                      \
        F(double, lm_random_uniform, (lm_random * random), (random))                                                   \
        F(double, lm_random_normal, (lm_random * random), (random))                                                    \
        F(uint64_t, lm_random_below, (lm_random * random, uint64_t n), (random, n))                                    \
        F(lm_status, lm_step_checkpoint_save, (lm_step * s, const void *bytes, size_t n, lm_error *e),                 \
          (s, bytes, n, e))                                                                                            \
        F(lm_status, lm_step_checkpoint_load, (lm_step * s, const void **ret, size_t *n, lm_error *e), (s, ret, n, e))

#    define LM_FORWARD_(result, name, arguments, passed)                                                               \
        result name arguments                                                                                          \
        {                                                                                                              \
            return lm_host_table_->name passed;                                                                        \
        }
#    define LM_COUNT_(result, name, arguments, passed) +1

/* Once in a library, at the top level of a file, without a semicolon. */
#    define LM_PLUGIN_EXPORT(library, ...)                                                                             \
        static const lm_host *lm_host_table_;                                                                          \
        _Static_assert(sizeof(lm_host) ==                                                                              \
                           offsetof(lm_host, lm_alloc) + (3 LM_FORWARD_API(LM_COUNT_)) * sizeof(void (*)(void)),       \
                       "LM_FORWARD_API lacks a function of LM_HOST_API");                                              \
        LM_FORWARD_API(LM_FORWARD_)                                                                                    \
        lm_status lm_fail(lm_error *err, lm_status status, const char *hint, const char *format, ...)                  \
        {                                                                                                              \
            char text[LM_ERROR_TEXT];                                                                                  \
            va_list args;                                                                                              \
            va_start(args, format);                                                                                    \
            vsnprintf(text, sizeof text, format, args);                                                                \
            va_end(args);                                                                                              \
            return lm_host_table_->lm_fail(err, status, hint, "%s", text);                                             \
        }                                                                                                              \
        void lm_error_in(lm_error *err, const char *format, ...)                                                       \
        {                                                                                                              \
            char text[LM_ERROR_TEXT];                                                                                  \
            va_list args;                                                                                              \
            va_start(args, format);                                                                                    \
            vsnprintf(text, sizeof text, format, args);                                                                \
            va_end(args);                                                                                              \
            lm_host_table_->lm_error_in(err, "%s", text);                                                              \
        }                                                                                                              \
        __attribute__((format(printf, 2, 3))) void lm_step_warn(lm_step *step, const char *format, ...)                \
        {                                                                                                              \
            char text[LM_ERROR_TEXT];                                                                                  \
            va_list args;                                                                                              \
            va_start(args, format);                                                                                    \
            vsnprintf(text, sizeof text, format, args);                                                                \
            va_end(args);                                                                                              \
            lm_host_table_->lm_step_warn(step, "%s", text);                                                            \
        }                                                                                                              \
        const lm_plugin *lm_plugin_entry(const lm_host *host)                                                          \
        {                                                                                                              \
            static const lm_operator *const operators[] = {__VA_ARGS__};                                               \
            static const lm_plugin plugin = {.abi = LM_PLUGIN_ABI,                                                     \
                                             .struct_size = sizeof(lm_plugin),                                         \
                                             .host_size = sizeof(lm_host),                                             \
                                             .operator_size = sizeof(lm_operator),                                     \
                                             .layout = LM_LAYOUT,                                                      \
                                             .name = library,                                                          \
                                             .operators = operators,                                                   \
                                             .n_operators = sizeof operators / sizeof *operators};                     \
            lm_host_table_ = host;                                                                                     \
            return &plugin;                                                                                            \
        }

#    include <stdio.h>

#endif
#endif
