/* Elementary functions of whole arrays. See vector_math.h. */
#include "operators/core/vector_math.h"

#include "operators/core/clones.h"

LM_CLONES_WIDE void lm_vector_exp(size_t n, const double *restrict x, double *restrict ret)
{
    for (size_t i = 0; i < n; i++) ret[i] = lm_flat_exp(x[i]);
}

LM_CLONES_WIDE void lm_vector_log(size_t n, const double *restrict x, double *restrict ret)
{
    for (size_t i = 0; i < n; i++) ret[i] = lm_flat_log(x[i]);
}

LM_CLONES_WIDE void lm_vector_pow(size_t n, const double *restrict x, double p, double *restrict ret)
{
    for (size_t i = 0; i < n; i++) ret[i] = lm_flat_pow(x[i], p);
}
