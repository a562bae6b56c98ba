/* What differs between two recipes, in words. */
#ifndef LM_TOOLS_PLAN_DIFF_H
#define LM_TOOLS_PLAN_DIFF_H

#include "runtime/text.h"
#include "schemas/lensmill.pb-c.h"

#include <jansson.h>

/* Adds "parameter "iterations" is 50, was 30; ..." and, if changes is not NULL, {"what", "name", "new", "old"} to that array.
 * Returns how many differences there are. */
size_t lm_recipe_diff(const Lensmill__Recipe *is, const Lensmill__Recipe *was, lm_text *text, json_t *changes);

#endif
