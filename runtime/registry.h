/* The registry: every operator by name. Built-in ones are found by the build; plugins are added at run time. */
#ifndef LM_RUNTIME_REGISTRY_H
#define LM_RUNTIME_REGISTRY_H

#include "runtime/digest.h"
#include "runtime/operator.h"

/* Fills the registry with the operators in a NULL-terminated list (made by the build from the file names). */
void lm_registry_builtin(const lm_operator *const *operators);
size_t lm_registry_count(void);
const lm_operator *lm_registry_at(size_t i);           /* sorted by name */
const lm_operator *lm_registry_find(const char *name); /* NULL: none */

/* The room that an operator belongs to: "io", "flow", "lens", ...; "plugins" for one from a library. */
const char *lm_operator_room(const lm_operator *op);

/* Loads a plugin once (again: nothing happens). Defined in plugin.c. LM_EGRAPH names library and both ABI versions. */
lm_status lm_plugin_load(const char *path, lm_error *err);
/* The digest of the library that an operator came from; NULL: it is built in. */
const lm_digest *lm_registry_code(const lm_operator *op);
/* For plugin.c: adds operators. LM_EGRAPH: a name is taken, or the table is not sound. */
lm_status lm_registry_add(const lm_operator *const *operators, size_t n, const lm_digest *code, lm_error *err);
/* Is an operator's table sound (docs, units, offsets, ports)? Conformance and plugins ask. */
lm_status lm_operator_check(const lm_operator *op, lm_error *err);

#endif
