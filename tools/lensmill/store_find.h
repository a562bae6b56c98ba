/* What a digest, or the first digits of one, names in a store. */
#ifndef LM_TOOLS_STORE_FIND_H
#define LM_TOOLS_STORE_FIND_H

#include "tools/lensmill/store_verbs.h"

enum { LM_LEAST_DIGITS = 6, LM_MOST_FOUND = 16 };

typedef struct lm_found {
    lm_row_kind kind;
    lm_digest digest;
    lm_view view; /* its bytes; data NULL: a record that is not stored (`cache: none`) */
    bool in_step; /* an artifact that lies in the row of `step`, or is not stored */
    lm_digest step;
    char id[128]; /* of a step or of a record that a step names; may be cut */
} lm_found;

typedef struct lm_search {
    lm_found found[LM_MOST_FOUND];
    size_t n;       /* found; those beyond LM_MOST_FOUND are not kept, and the search ends */
    lm_arena arena; /* of views that do not lie in the store's map */
} lm_search;

/* Looks for the one thing whose digest begins with `digits`; views are valid while the snapshot and the search live.
 * NULL: there is none or there are several, which has been printed, or it failed; *ret_status is the exit status. */
const lm_found *lm_find_one(const char *command, lm_snapshot *snapshot, const char *digits, lm_search *search,
                            int *ret_status);
void lm_search_done(lm_search *search);
const char *lm_kind_name(lm_row_kind kind); /* "tensor", "artifact", "step", "recipe" */

#endif
