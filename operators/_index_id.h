/* Ids of a generator's records. */
#ifndef LM_OPERATORS_INDEX_ID_H
#define LM_OPERATORS_INDEX_ID_H

#include "runtime/operator.h"

#include <stdio.h>
#include <string.h>

/* Gives the output the id that a template stands for, {index} being the step's index with zeros in front, at least `width` digits. */
static inline lm_status lm_step_id_of_index(lm_step *step, const char *template, int width, lm_error *err)
{
    char digits[32];
    int n = snprintf(digits, sizeof digits, "%0*llu", width, (unsigned long long)lm_step_index(step));
    size_t places = 0;
    for (const char *p = template; (p = strstr(p, "{index}")); p += 7) places++;
    char *filled = (char *)lm_step_scratch(step, strlen(template) + 1 + places * (size_t)n, 1), *to = filled;
    if (!filled) return LM_NOMEM(err);
    for (const char *p = template; *p;) {
        bool here = strncmp(p, "{index}", 7) == 0;
        if (here) memcpy(to, digits, (size_t)n);
        else *to = *p;
        to += here ? n : 1;
        p += here ? 7 : 1;
    }
    *to = 0;
    const char *id;
    LM_TRY(lm_step_expand(step, filled, NULL, &id, err));
    return lm_step_id(step, NULL, id, err);
}

#endif
