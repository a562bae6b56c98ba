/* The operators of `lensmill bench`. */
#ifndef LM_TOOLS_BENCH_OPS_H
#define LM_TOOLS_BENCH_OPS_H

#include "runtime/operator.h"

extern const lm_operator *const lm_bench_operators[]; /* NULL-terminated; for lm_registry_add */

#endif
