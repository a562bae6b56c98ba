/* What param.c, template.c and the graph checker share. */
#ifndef LM_RUNTIME_PARAM_INTERNAL_H
#define LM_RUNTIME_PARAM_INTERNAL_H

#include "runtime/param.h"
#include "runtime/text.h"

/* Is the whole text one {NAME}? */
bool lm_template_lone(const char *text);
/* A text that is no template, with "{{" and "}}" made single braces; the text itself if it has none. NULL: no memory. */
const char *lm_template_plain(const char *text, lm_arena *arena);

/* "real", "int", "path", ... as graphs and the reference spell them. */
const char *lm_param_type_name(lm_param_type type);
bool lm_param_type_parse(const char *name, lm_param_type *ret);
/* One value against one parameter, whatever object it stands in: *ret is a new JSON value of the parameter's type.
 * path: of the value, for the reporter. Returns LM_EGRAPH if something was reported. */
lm_status lm_param_convert(const lm_param *param, json_t *value, const char *path, const char *folder, lm_arena *arena,
                           json_t **ret, const lm_param_reporter *reporter);
/* The default of a parameter as JSON: a new value (null: none). NULL without memory or for a default that is not JSON. */
json_t *lm_param_default(const lm_param *param, const char *folder, lm_arena *arena);
/* "between 0.1 and 64 pix", "at least 1", "" without a range. Returns buffer. */
char *lm_param_range(char buffer[128], const lm_param *param);

/* path relative to folder, which is absolute: "./" and "../" at its beginning are worked in, the rest stays as it is.
 * An absolute path, and one with a scheme ("https://"), is returned as it is. templates: braces of folder are doubled. */
const char *lm_path_under(const char *folder, const char *path, bool templates, lm_arena *arena);

/* Compact JSON with sorted keys; reals in their shortest form, so that 1 and 1.0 are the same text. */
void lm_json_canonical(lm_text *text, const json_t *value);

#endif
