/* Tensors: n-dimensional arrays, shared and immutable once they are on an edge.
 *
 * Row-major, slowest axis first (numpy's order): an image is [height, width]. Data is little-endian and starts at a
 * multiple of 64 bytes. A new tensor has one owner, who may write to `data` until it is shared or put in a record.
 */
#ifndef LM_RUNTIME_TENSOR_H
#define LM_RUNTIME_TENSOR_H

#include "runtime/alloc.h"
#include "runtime/digest.h"
#include "runtime/error.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { LM_MAX_DIMS = 8 };

/* The numbers are those of the stored format (schemas/lensmill.proto). */
typedef enum lm_dtype {
    LM_DTYPE_NONE = 0,
    LM_U8 = 1,
    LM_I16 = 2,
    LM_I32 = 3,
    LM_I64 = 4,
    LM_F32 = 5,
    LM_F64 = 6,
    LM_U16 = 7,
    LM_U32 = 8,
    LM_BOOL8 = 9, /* a byte each: 0 or 1 */
    LM_C64 = 10,  /* pairs of F32 */
    LM_C128 = 11, /* pairs of F64 */
    /* Only in an operator's table: what it accepts. */
    LM_ANY_DTYPE = 64, /* all of the above */
    LM_FLOATS = 65,    /* F32 or F64 */
    LM_NUMBERS = 66,   /* any real number: all but C64, C128 */
    LM_SAME_DTYPE = 67 /* an output's: that of the input tensor of the same name, or of the first input tensor */
} lm_dtype;

typedef struct lm_tensor {
    atomic_uint refs;
    lm_dtype dtype;
    unsigned ndim; /* 0: a single number */
    size_t shape[LM_MAX_DIMS];
    size_t bytes;
    void *data; /* NULL while it lies in the store under its digest: the engine loads it before a step may peek */
    char *unit; /* FITS spelling; NULL: none or unknown */
    char *axes; /* names separated by spaces, or NULL */
    atomic_uint hashed;           /* 2: digest is valid; 1: being set */
    lm_digest digest;             /* of the stored form; see codec.h */
    void (*release)(void *owner); /* NULL: data was allocated by lm_alloc_data */
    void *owner;
} lm_tensor;

size_t lm_dtype_size(lm_dtype dtype);
const char *lm_dtype_name(lm_dtype dtype); /* "float32", "int16", ... as numpy spells them */
_Bool lm_dtype_parse(const char *name, lm_dtype *ret);
_Bool lm_dtype_is_float(lm_dtype dtype);
/* Does a concrete dtype satisfy what a table accepts? */
_Bool lm_dtype_fits(lm_dtype dtype, lm_dtype accepted);

/* Data is not initialised. LM_EINPUT if the size overflows or a dimension count is past LM_MAX_DIMS. */
lm_status lm_tensor_new(lm_dtype dtype, unsigned ndim, const size_t *shape, lm_tensor **ret, lm_error *err);
/* A tensor over memory of somebody else: release(owner) is called when it goes. */
lm_status lm_tensor_wrap(lm_dtype dtype, unsigned ndim, const size_t *shape, void *data, void (*release)(void *owner),
                         void *owner, lm_tensor **ret, lm_error *err);
lm_tensor *lm_tensor_ref(lm_tensor *tensor);
lm_tensor *lm_tensor_unref(lm_tensor *tensor);
LM_OWNABLE(lm_tensor, lm_tensor_unref)

/* Only while there is one owner. NULL clears. */
lm_status lm_tensor_set_unit(lm_tensor *tensor, const char *unit, lm_error *err);
lm_status lm_tensor_set_axes(lm_tensor *tensor, const char *axes, lm_error *err);

size_t lm_tensor_count(const lm_tensor *tensor); /* number of elements */
_Bool lm_tensor_same_shape(const lm_tensor *a, const lm_tensor *b);
/* "[70, 65, 51]". Returns buffer. */
char *lm_tensor_shape_text(char buffer[192], const lm_tensor *tensor);

/* Element i as a double (complex: the real part). */
double lm_tensor_get(const lm_tensor *tensor, size_t i);
/* All elements as double (or float) into to[], which has room for lm_tensor_count() of them. Complex: real parts. */
void lm_tensor_to_f64(const lm_tensor *tensor, double *to);
void lm_tensor_to_f32(const lm_tensor *tensor, float *to);
/* Writes double values into a tensor of any real dtype (integers: rounded and clamped; NaN becomes 0). */
void lm_tensor_from_f64(lm_tensor *tensor, const double *from);

#endif
