/* Reading tables of single values: FITS binary tables, FITS text tables, CSV and TSV. The whole table is in memory. */
#ifndef LM_OPERATORS_IO_TABLE_H
#define LM_OPERATORS_IO_TABLE_H

#include "operators/io/_fits.h"

typedef struct lm_table lm_table;

typedef struct lm_column {
    const char *name, *unit; /* unit NULL: none */
    lm_kind kind;
    bool scalar; /* one value a row; a column that is not can be read as a tensor only */
} lm_column;

/* `hdu` picks a table of a FITS file as lm_fits_select() does; NULL: the first table. Files that end in .csv or .tsv are
 * text: a line of names, then a line a row; empty lines and lines that begin with '#' are left out; a column is of
 * integers, reals or booleans (true, false) if all its cells are, text otherwise. */
lm_status lm_table_open(const char *path, const char *hdu, lm_table **ret, lm_error *err);
lm_table *lm_table_close(lm_table *table);
LM_OWNABLE(lm_table, lm_table_close)

size_t lm_table_rows(const lm_table *table);
size_t lm_table_columns(const lm_table *table);
const lm_column *lm_table_column(const lm_table *table, size_t column);
/* A cell of a scalar column: undefined for TNULL, NaN, an empty cell of a CSV file. Text is without trailing blanks, and
 * good until the next call for a text cell. LM_EINPUT names row and column of a cell that cannot be read. */
lm_status lm_table_cell(lm_table *table, size_t row, size_t column, lm_value *ret, lm_error *err);
/* A numeric cell with all its elements (TDIM gives the shape) as a tensor. LM_EINPUT: no such column, text, variable length. */
lm_status lm_table_tensor(lm_table *table, size_t row, const char *column, lm_tensor **ret, lm_error *err);

#endif
