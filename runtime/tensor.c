#include "runtime/tensor.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [LM_U8] = {"uint8", 1},    [LM_I16] = {"int16", 2},     [LM_I32] = {"int32", 4},        [LM_I64] = {"int64", 8},
    [LM_F32] = {"float32", 4}, [LM_F64] = {"float64", 8},   [LM_U16] = {"uint16", 2},       [LM_U32] = {"uint32", 4},
    [LM_BOOL8] = {"bool", 1},  [LM_C64] = {"complex64", 8}, [LM_C128] = {"complex128", 16},
};
enum { N_DTYPES = sizeof dtypes / sizeof *dtypes };

size_t lm_dtype_size(lm_dtype dtype)
{
    return (size_t)dtype < N_DTYPES ? dtypes[dtype].size : 0;
}

const char *lm_dtype_name(lm_dtype dtype)
{
    if ((size_t)dtype < N_DTYPES && dtypes[dtype].name) return dtypes[dtype].name;
    switch (dtype) {
    case LM_ANY_DTYPE: return "any";
    case LM_FLOATS: return "float32 or float64";
    case LM_NUMBERS: return "any real";
    case LM_SAME_DTYPE: return "the input's";
    default: return "none";
    }
}

_Bool lm_dtype_parse(const char *name, lm_dtype *ret)
{
    for (size_t i = 1; i < N_DTYPES; i++)
        if (strcmp(name, dtypes[i].name) == 0) {
            *ret = (lm_dtype)i;
            return true;
        }
    return false;
}

_Bool lm_dtype_is_float(lm_dtype dtype)
{
    return dtype == LM_F32 || dtype == LM_F64;
}

_Bool lm_dtype_fits(lm_dtype dtype, lm_dtype accepted)
{
    switch (accepted) {
    case LM_ANY_DTYPE:
    case LM_SAME_DTYPE: return true;
    case LM_FLOATS: return lm_dtype_is_float(dtype);
    case LM_NUMBERS: return dtype != LM_C64 && dtype != LM_C128;
    default: return dtype == accepted;
    }
}

static lm_status measure(lm_dtype dtype, unsigned ndim, const size_t *shape, size_t *ret_bytes, lm_error *err)
{
    size_t bytes = lm_dtype_size(dtype);
    if (!bytes) return LM_FAIL(err, LM_EBUG, "a tensor of no concrete type (%d)", (int)dtype);
    if (ndim > LM_MAX_DIMS)
        return LM_FAIL(err, LM_EINPUT, "an array of %u dimensions: at most %d are supported", ndim, LM_MAX_DIMS);
    bool empty = false;
    for (unsigned i = 0; i < ndim; i++) empty |= shape[i] == 0;
    if (empty) bytes = 0;
    for (unsigned i = 0; i < ndim && !empty; i++)
        if (__builtin_mul_overflow(bytes, shape[i], &bytes) || bytes > (size_t)1 << 46)
            return LM_FAIL(err, LM_EINPUT, "an array whose size overflows: axis %u has %zu elements", i, shape[i]);
    *ret_bytes = bytes;
    return LM_OK;
}

lm_status lm_tensor_wrap(lm_dtype dtype, unsigned ndim, const size_t *shape, void *data, void (*release)(void *owner),
                         void *owner, lm_tensor **ret, lm_error *err)
{
    size_t bytes;
    LM_TRY(measure(dtype, ndim, shape, &bytes, err));
    lm_tensor *tensor = lm_alloc(1, sizeof *tensor);
    if (!tensor) return LM_NOMEM(err);
    atomic_init(&tensor->refs, 1);
    tensor->dtype = dtype;
    tensor->ndim = ndim;
    for (unsigned i = 0; i < ndim; i++) tensor->shape[i] = shape[i];
    tensor->bytes = bytes;
    tensor->data = data;
    tensor->release = release;
    tensor->owner = owner;
    *ret = tensor;
    return LM_OK;
}

lm_status lm_tensor_new(lm_dtype dtype, unsigned ndim, const size_t *shape, lm_tensor **ret, lm_error *err)
{
    size_t bytes;
    LM_TRY(measure(dtype, ndim, shape, &bytes, err));
    void *data = lm_alloc_data(bytes);
    if (!data)
        return LM_FAIL_HINT(err, LM_EMEMORY, "Free memory, or run with fewer workers.",
                            "out of memory for an array of %zu bytes", bytes);
    lm_status status = lm_tensor_wrap(dtype, ndim, shape, data, NULL, NULL, ret, err);
    if (status) lm_free(data);
    return status;
}

lm_tensor *lm_tensor_ref(lm_tensor *tensor)
{
    if (tensor) atomic_fetch_add_explicit(&tensor->refs, 1, memory_order_relaxed);
    return tensor;
}

lm_tensor *lm_tensor_unref(lm_tensor *tensor)
{
    if (!tensor || atomic_fetch_sub_explicit(&tensor->refs, 1, memory_order_acq_rel) != 1) return NULL;
    if (tensor->release) tensor->release(tensor->owner);
    else lm_free(tensor->data);
    lm_free(tensor->unit);
    lm_free(tensor->axes);
    return lm_free(tensor);
}

static lm_status set_text(char **field, const char *text, lm_error *err)
{
    char *copy = NULL;
    if (text && *text) {
        copy = lm_strdup(text);
        if (!copy) return LM_NOMEM(err);
    }
    lm_free(*field);
    *field = copy;
    return LM_OK;
}

lm_status lm_tensor_set_unit(lm_tensor *tensor, const char *unit, lm_error *err)
{
    return set_text(&tensor->unit, unit, err);
}

lm_status lm_tensor_set_axes(lm_tensor *tensor, const char *axes, lm_error *err)
{
    return set_text(&tensor->axes, axes, err);
}

size_t lm_tensor_count(const lm_tensor *tensor)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): a tensor has a dtype of some bytes */
    return tensor->bytes / lm_dtype_size(tensor->dtype);
}

_Bool lm_tensor_same_shape(const lm_tensor *a, const lm_tensor *b)
{
    if (a->ndim != b->ndim) return false;
    for (unsigned i = 0; i < a->ndim; i++)
        if (a->shape[i] != b->shape[i]) return false;
    return true;
}

char *lm_tensor_shape_text(char buffer[192], const lm_tensor *tensor)
{
    size_t n = 0;
    buffer[n++] = '[';
    for (unsigned i = 0; i < tensor->ndim; i++)
        n += (size_t)snprintf(buffer + n, 192 - n, i ? ", %zu" : "%zu", tensor->shape[i]);
    snprintf(buffer + n, 192 - n, "]");
    return buffer;
}

/* One loop for each dtype: BODY sees `from`, the data with its C type. */
#define FOR_DTYPE(tensor, BODY)                                                                                        \
    switch ((tensor)->dtype) {                                                                                         \
    case LM_U8:                                                                                                        \
    case LM_BOOL8: {                                                                                                   \
        const uint8_t *from = (tensor)->data;                                                                          \
        BODY                                                                                                           \
    } break;                                                                                                           \
    case LM_I16: {                                                                                                     \
        const int16_t *from = (tensor)->data;                                                                          \
        BODY                                                                                                           \
    } break;                                                                                                           \
    case LM_U16: {                                                                                                     \
        const uint16_t *from = (tensor)->data;                                                                         \
        BODY                                                                                                           \
    } break;                                                                                                           \
    case LM_I32: {                                                                                                     \
        const int32_t *from = (tensor)->data;                                                                          \
        BODY                                                                                                           \
    } break;                                                                                                           \
    case LM_U32: {                                                                                                     \
        const uint32_t *from = (tensor)->data;                                                                         \
        BODY                                                                                                           \
    } break;                                                                                                           \
    case LM_I64: {                                                                                                     \
        const int64_t *from = (tensor)->data;                                                                          \
        BODY                                                                                                           \
    } break;                                                                                                           \
    case LM_F32: {                                                                                                     \
        const float *from = (tensor)->data;                                                                            \
        BODY                                                                                                           \
    } break;                                                                                                           \
    case LM_F64: {                                                                                                     \
        const double *from = (tensor)->data;                                                                           \
        BODY                                                                                                           \
    } break;                                                                                                           \
    default: break;                                                                                                    \
    }

double lm_tensor_get(const lm_tensor *tensor, size_t i)
{
    if (tensor->dtype == LM_C64) return (double)((const float *)tensor->data)[2 * i];
    if (tensor->dtype == LM_C128) return ((const double *)tensor->data)[2 * i];
    FOR_DTYPE(tensor, return (double)from[i];)
    return (double)NAN;
}

void lm_tensor_to_f64(const lm_tensor *tensor, double *to)
{
    size_t n = lm_tensor_count(tensor);
    if (tensor->dtype == LM_C64 || tensor->dtype == LM_C128) {
        for (size_t i = 0; i < n; i++) to[i] = lm_tensor_get(tensor, i);
        return;
    }
    FOR_DTYPE(tensor, for (size_t i = 0; i < n; i++) to[i] = (double)from[i];)
}

void lm_tensor_to_f32(const lm_tensor *tensor, float *to)
{
    size_t n = lm_tensor_count(tensor);
    if (tensor->dtype == LM_C64 || tensor->dtype == LM_C128) {
        for (size_t i = 0; i < n; i++) to[i] = (float)lm_tensor_get(tensor, i);
        return;
    }
    FOR_DTYPE(tensor, for (size_t i = 0; i < n; i++) to[i] = (float)from[i];)
}

/* Rounds to the nearest integer within [low, high]; NaN gives 0. `high` itself may not be representable (2^63 - 1). */
static int64_t to_integer(double x, double low, double high)
{
    if (isnan(x)) return 0;
    double rounded = nearbyint(x);
    if (rounded <= low) return (int64_t)low;
    if (rounded >= high) return high >= 9223372036854775807.0 ? INT64_MAX : (int64_t)high;
    return (int64_t)rounded;
}

void lm_tensor_from_f64(lm_tensor *tensor, const double *from)
{
    size_t n = lm_tensor_count(tensor);
#define WRITE(type, low, high)                                                                                         \
    {                                                                                                                  \
        type *to = tensor->data;                                                                                       \
        for (size_t i = 0; i < n; i++) to[i] = (type)to_integer(from[i], low, high);                                   \
    }                                                                                                                  \
    break
    switch (tensor->dtype) {
    case LM_F64:
        if (n) memcpy(tensor->data, from, n * sizeof *from);
        break;
    case LM_F32: {
        float *to = tensor->data;
        for (size_t i = 0; i < n; i++) to[i] = (float)from[i];
    } break;
    case LM_C64: {
        float *to = tensor->data;
        for (size_t i = 0; i < n; i++) to[2 * i] = (float)from[i], to[2 * i + 1] = 0;
    } break;
    case LM_C128: {
        double *to = tensor->data;
        for (size_t i = 0; i < n; i++) to[2 * i] = from[i], to[2 * i + 1] = 0;
    } break;
    case LM_U8: WRITE(uint8_t, 0, UINT8_MAX);
    case LM_BOOL8: WRITE(uint8_t, 0, 1);
    case LM_I16: WRITE(int16_t, INT16_MIN, INT16_MAX);
    case LM_U16: WRITE(uint16_t, 0, UINT16_MAX);
    case LM_I32: WRITE(int32_t, INT32_MIN, INT32_MAX);
    case LM_U32: WRITE(uint32_t, 0, UINT32_MAX);
    case LM_I64: WRITE(int64_t, (double)INT64_MIN, 9223372036854775807.0);
    default: break;
    }
#undef WRITE
}
