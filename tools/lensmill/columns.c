#include "tools/lensmill/columns.h"

#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { LEAST_LAST = 30 };

size_t lm_terminal_width(FILE *to)
{
    struct winsize size;
    if (!isatty(fileno(to)) || ioctl(fileno(to), TIOCGWINSZ, &size)) return 0;
    return size.ws_col >= 40 ? size.ws_col : 80;
}

size_t lm_text_width(const char *text)
{
    size_t n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

void lm_columns_init(lm_columns *columns, size_t n, const char *const *heads)
{
    memset(columns, 0, sizeof *columns);
    lm_text_init(&columns->cells);
    columns->n = n;
    for (size_t i = 0; heads && i < n; i++) {
        columns->heads[i] = heads[i];
        columns->widths[i] = lm_text_width(heads[i]) - (heads[i][0] == '>');
    }
}

void lm_columns_add(lm_columns *columns, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *cell = n < 0 ? NULL : lm_alloc_raw((size_t)n + 1);
    if (cell) vsnprintf(cell, (size_t)n + 1, format, again);
    va_end(again);
    for (char *c = cell; c && *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7F) *c = '?';
    const char *text = cell ? cell : "?";
    size_t width = lm_text_width(text), *column = &columns->widths[columns->n_cells++ % columns->n];
    if (width > *column) *column = width;
    lm_text_add_n(&columns->cells, text, strlen(text) + 1);
    lm_free(cell);
}

/* Prints at most `room` characters of a text, and an ellipsis where there are more. */
static void print_cut(FILE *to, const char *text, size_t room)
{
    size_t width = lm_text_width(text);
    if (width <= room) {
        fputs(text, to);
        return;
    }
    size_t keep = room > 3 ? room - 3 : 0, n = 0;
    for (const char *c = text; *c; c++) {
        n += ((unsigned char)*c & 0xC0) != 0x80;
        if (n > keep) break;
        fputc(*c, to);
    }
    fputs("...", to);
}

/* owed: blanks that are due before the next cell that is not empty. */
static void print_cell(const lm_columns *columns, FILE *to, size_t column, const char *text, size_t *at, size_t *owed,
                       size_t limit)
{
    size_t width = lm_text_width(text), wide = columns->widths[column], pad = wide > width ? wide - width : 0;
    bool last = column + 1 == columns->n, right = columns->heads[column] && columns->heads[column][0] == '>';
    if (right) *owed += pad;
    if (*text) {
        fprintf(to, "%*s", (int)*owed, "");
        *at += *owed;
        *owed = 0;
        if (last && limit) print_cut(to, text, *at + LEAST_LAST < limit ? limit - *at : LEAST_LAST);
        else fputs(text, to);
        *at += width;
    }
    *owed += right ? 2 : pad + 2;
    if (last) fputc('\n', to);
}

void lm_columns_print(lm_columns *columns, FILE *to, int indent, size_t width)
{
    size_t at = 0, owed = 0, first = columns->heads[0] ? 0 : columns->n;
    const char *cell = lm_text_peek(&columns->cells);
    for (size_t i = first; !columns->cells.failed && i < columns->n + columns->n_cells; i++) {
        size_t column = i % columns->n;
        const char *head = columns->heads[column], *text = i < columns->n ? head + (*head == '>') : cell;
        if (column == 0) at = 0, owed = (size_t)indent;
        print_cell(columns, to, column, text, &at, &owed, width);
        if (i >= columns->n) cell += strlen(cell) + 1;
    }
    if (columns->cells.failed) fputs("out of memory\n", stderr);
    lm_text_done(&columns->cells);
    columns->n_cells = 0;
}
