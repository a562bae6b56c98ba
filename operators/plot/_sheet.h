/* A contact sheet: records in rows, each with a strip of panels, one a tensor.
 *
 *   open with the number of records, add() each, write once.
 *
 * Pixels are shown as FITS viewers show them: row 0 at the bottom, column 0 at the left. Panels larger than their image
 * repeat pixels (nearest neighbour); smaller ones take the mean of the pixels under a dot. The aspect is kept.
 */
#ifndef LM_PLOT_SHEET_H
#define LM_PLOT_SHEET_H

#include "operators/core/colormap.h"
#include "operators/core/stretch.h"
#include "operators/plot/_canvas.h"
#include "runtime/record.h"

typedef struct lm_sheet_style {
    const char *const *tensors; /* the panels of a record, by name */
    size_t n_tensors;
    const char *const *share; /* of these, all take the limits of the first that the record has */
    size_t n_share;
    const char *const *signed_tensors; /* these lie about zero: symmetric limits, linear, `diverging` */
    size_t n_signed;
    size_t columns; /* records in a row */
    size_t thumb;   /* width of a panel in pixels; 0: by the number of panels in a row */
    lm_stretch stretch;
    lm_colormap colormap, diverging;
    double clip_low, clip_high; /* percentiles */
    const char *title;          /* "" or NULL: none */
} lm_sheet_style;

typedef struct lm_sheet lm_sheet;

/* A sheet for n records of `of` that there are, and `missing` more that failed before they came here (the title says so).
 * The shape of the first record's images decides that of all panels; first may be NULL where n is 0. The style is
 * borrowed. */
lm_status lm_sheet_new(const lm_sheet_style *style, size_t n, size_t of, size_t missing, const lm_record *first,
                       lm_sheet **ret, lm_error *err);
lm_sheet *lm_sheet_free(lm_sheet *sheet);
LM_OWNABLE(lm_sheet, lm_sheet_free)

/* Draws the next record. A tensor that is absent, empty or not an image leaves a panel that says so. */
lm_status lm_sheet_add(lm_sheet *sheet, const lm_record *record, lm_error *err);
lm_status lm_sheet_write(lm_sheet *sheet, lm_format format, const char *path, lm_error *err);
/* The canvas, to be looked at by tests; borrowed. */
lm_canvas *lm_sheet_canvas(lm_sheet *sheet);
/* Upper left corner and size of panel `tensor` of record `i`, in pixels. */
void lm_sheet_panel(const lm_sheet *sheet, size_t i, size_t tensor, double ret[4]);

#endif
