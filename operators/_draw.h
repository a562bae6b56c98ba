/* A step's random numbers, as the numerical cores take them. */
#ifndef LM_OPERATORS_DRAW_H
#define LM_OPERATORS_DRAW_H

#include "operators/core/draw.h"
#include "runtime/operator.h"

static inline double lm_draw_uniform_of_(void *random)
{
    return lm_random_uniform(random);
}

static inline double lm_draw_normal_of_(void *random)
{
    return lm_random_normal(random);
}

static inline uint64_t lm_draw_below_of_(void *random, uint64_t n)
{
    return lm_random_below(random, n);
}

/* Borrows `random`. */
static inline lm_draw lm_draw_of(lm_random *random)
{
    return (lm_draw){lm_draw_uniform_of_, lm_draw_normal_of_, lm_draw_below_of_, random};
}

#endif
