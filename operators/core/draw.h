/* Random numbers as the numerical cores see them: a function that the caller brings along, so that they need no engine. */
#ifndef LM_CORE_DRAW_H
#define LM_CORE_DRAW_H

#include <stdint.h>

/* A whole number 0 <= result < n, each as likely. */
typedef uint64_t lm_draw_below(void *random, uint64_t n);

#endif
