/* The operators that are built in; the list is made by the build from the names of the files. */
#ifndef LM_OPERATORS_BUILTIN_H
#define LM_OPERATORS_BUILTIN_H

#include "runtime/operator.h"

extern const lm_operator *const lm_builtin_operators[]; /* NULL-terminated; for lm_registry_builtin */

#endif
