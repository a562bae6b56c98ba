/* A canvas: marks collected first, then written as PNG or SVG, so that a picture is laid out once and looks the same in both.
 *
 * Lengths are in pixels of 1/96 inch, as in SVG, from the upper left corner. Colours are 0xRRGGBB. Adding a mark never fails
 * by itself: want of memory shows when the canvas is written. Text is UTF-8 (bytes that are not become "?").
 *
 * PNG: images are copied pixel by pixel, lines and text are drawn over them by PLplot (its device memcairo). PLplot keeps its
 * state in globals, so one mutex guards it; a canvas itself belongs to one thread. SVG: text stays text; images are embedded.
 * The bytes of both depend on the marks, the fonts of the machine and the version of PLplot's cairo driver alone.
 */
#ifndef LM_PLOT_CANVAS_H
#define LM_PLOT_CANVAS_H

#include "runtime/alloc.h"
#include "runtime/error.h"
#include "runtime/text.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct lm_canvas lm_canvas;

typedef enum lm_format { LM_FORMAT_PNG, LM_FORMAT_SVG } lm_format;

typedef struct lm_font {
    double size; /* pixels from line to line; capitals are 0.73 of it */
    uint32_t color;
    double align; /* 0: x is the left end, 0.5: the middle, 1: the right end */
    bool bold, upwards;
} lm_font;

enum { LM_INK = 0x222222, LM_FAINT = 0x8A8A8A, LM_PAPER = 0xFFFFFF };

/* A white canvas. `scale` dots of a PNG a pixel: 2 for print. NULL without memory. */
lm_canvas *lm_canvas_new(double width, double height, double scale);
lm_canvas *lm_canvas_free(lm_canvas *canvas);
LM_OWNABLE(lm_canvas, lm_canvas_free)

/* A line through n points; `width` in pixels. With `dash` > 0 it is broken into dashes of that length. */
void lm_canvas_line(lm_canvas *canvas, const double *x, const double *y, size_t n, double width, uint32_t color,
                    double dash);
void lm_canvas_segment(lm_canvas *canvas, double x0, double y0, double x1, double y1, double width, uint32_t color,
                       double dash);
/* A filled polygon; `opacity` 0 to 1. */
void lm_canvas_area(lm_canvas *canvas, const double *x, const double *y, size_t n, uint32_t color, double opacity);
void lm_canvas_rectangle(lm_canvas *canvas, double x, double y, double width, double height, uint32_t color);
void lm_canvas_frame(lm_canvas *canvas, double x, double y, double width, double height, double line, uint32_t color);
void lm_canvas_disc(lm_canvas *canvas, double x, double y, double radius, uint32_t color);
/* y is the middle of the digits. Upwards: read from below to above, x is the middle, y where `align` says. */
void lm_canvas_text(lm_canvas *canvas, double x, double y, lm_font font, const char *text);
/* The same, cut with "…" where it would be wider than `width`. */
void lm_canvas_text_within(lm_canvas *canvas, double x, double y, double width, lm_font font, const char *text);
/* Pixels (three bytes each, rows from the top) over the rectangle; in a PNG each covers whole dots where the sizes allow.
 * The bytes are copied. */
void lm_canvas_image(lm_canvas *canvas, double x, double y, double width, double height, const uint8_t *rgb,
                     size_t columns, size_t rows);
/* Lines and areas that follow are cut at this rectangle; a width of 0 ends that. */
void lm_canvas_clip(lm_canvas *canvas, double x, double y, double width, double height);

/* The width of a text in pixels (DejaVu Sans; other letters than ASCII are taken as wide as digits). */
double lm_canvas_text_width(const char *text, double size);

/* The file's bytes, appended to ret. */
lm_status lm_canvas_encode(lm_canvas *canvas, lm_format format, lm_text *ret, lm_error *err);
/* Into a file. */
lm_status lm_canvas_write(lm_canvas *canvas, lm_format format, const char *path, lm_error *err);

/* The format that a path's ending asks for; an error names those there are. */
lm_status lm_format_of_path(const char *path, lm_format *ret, lm_error *err);

#endif
