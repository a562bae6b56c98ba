/* Tables for people: cells are collected, columns are as wide as their widest cell. */
#ifndef LM_TOOLS_COLUMNS_H
#define LM_TOOLS_COLUMNS_H

#include "runtime/text.h"

#include <stddef.h>
#include <stdio.h>

enum { LM_MOST_COLUMNS = 10 };

typedef struct lm_columns {
    const char *heads[LM_MOST_COLUMNS]; /* with a '>' in front: to the right */
    size_t n, widths[LM_MOST_COLUMNS];
    lm_text cells; /* each with a zero behind it */
    size_t n_cells;
} lm_columns;

/* heads: n of them, which outlive the table; NULL: columns without heads, all to the left. */
void lm_columns_init(lm_columns *columns, size_t n, const char *const *heads);
/* The next cell of the row, from left to right. What would move a terminal's cursor becomes '?'. */
void lm_columns_add(lm_columns *columns, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints each line after `indent` spaces, its last cell cut where the line has `width` characters (0: not cut), and frees
 * the cells. */
void lm_columns_print(lm_columns *columns, FILE *to, int indent, size_t width);

/* Characters in a line of the terminal that `to` is; 0: it is none, and lines have no end. */
size_t lm_terminal_width(FILE *to);
/* How many characters (code points) a text has. */
size_t lm_text_width(const char *text);

#endif
