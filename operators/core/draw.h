/* Random numbers for the numerical cores, which know nothing of steps and seeds: the caller hands over where they come from.
 * operators/_draw.h makes one from a step's stream. */
#ifndef LM_CORE_DRAW_H
#define LM_CORE_DRAW_H

#include <stdint.h>

/* A number drawn evenly from 0 .. n - 1. */
typedef uint64_t lm_draw_below(void *random, uint64_t n);

typedef struct lm_draw {
    double (*uniform)(void *random); /* in [0, 1) */
    double (*normal)(void *random);  /* mean 0, standard deviation 1 */
    lm_draw_below *below;
    void *random;
} lm_draw;

static inline double lm_draw_uniform(const lm_draw *draw)
{
    return draw->uniform(draw->random);
}

static inline double lm_draw_normal(const lm_draw *draw)
{
    return draw->normal(draw->random);
}

#endif
