/* One record of fits.read: what is to be read, as text that means the same on every machine, and the reading of it. */
#ifndef LM_OPERATORS_IO_ITEM_H
#define LM_OPERATORS_IO_ITEM_H

#include "operators/io/_fits.h"
#include "operators/io/_table.h"

#include <jansson.h>

/* A tensor of an item. */
typedef struct lm_wanted {
    const char *name, *file; /* file: absolute */
    const char *hdu;         /* "first", a number or an EXTNAME */
    const char *dtype;       /* NULL: as the file has it */
    const char *column;      /* of a table; NULL: an image */
    size_t row;              /* from 0 */
} lm_wanted;

/* The item as compact JSON: id, tensors with their files relative to `root`, attributes (those of `record`: kinds and
 * values exact). Freed by the caller. LM_EINPUT: text that is not UTF-8. */
lm_status lm_item_write(const char *root, const lm_record *record, const lm_wanted *wanted, size_t n, char **ret,
                        lm_error *err);

/* Files that were left open by one record for the next, with the places of their HDUs: the records of a survey often lie in
 * one file of thousands of HDUs. For any number of threads. */
typedef struct lm_pool lm_pool;
lm_pool *lm_pool_new(void); /* NULL without memory */
lm_pool *lm_pool_free(lm_pool *pool);

/* Reads an item: its tensors; as attributes its own, then the cards of the first tensor's HDU and of the primary where
 * no attribute of that name is there, then shape, dtype, minimum, maximum, finite of the first tensor. LM_EINPUT as the
 * functions of _fits.h and _table.h say, with the tensor's name. `pool` may be NULL. */
lm_status lm_item_read(const char *root, const char *item, lm_pool *pool, lm_record **ret, lm_error *err);

/* Adds the cards of an HDU (not the structural ones) where the record has no attribute of that name; HISTORY and COMMENT
 * become one attribute each, lines joined by '\n'. */
lm_status lm_item_add_cards(lm_fits *fits, const lm_hdu *hdu, lm_record *record, lm_error *err);
/* Sets shape, dtype, minimum, maximum (of finite values; NaN if there is none), finite. */
lm_status lm_item_add_summary(const lm_tensor *tensor, lm_record *record, lm_error *err);

#endif
