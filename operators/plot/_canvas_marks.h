/* What a canvas holds: shared by the canvas and its two writers, nobody else. */
#ifndef LM_PLOT_CANVAS_MARKS_H
#define LM_PLOT_CANVAS_MARKS_H

#include "operators/plot/_canvas.h"

typedef enum mark_kind { MARK_LINE, MARK_AREA, MARK_TEXT, MARK_IMAGE, MARK_CLIP } mark_kind;

typedef struct mark {
    mark_kind kind;
    uint32_t color;
    double opacity, line;
    double *points; /* of lines and areas: n x, then n y */
    size_t n;
    double x, y, width, height; /* of images and clips; x, y of texts */
    double size, align;
    bool bold, upwards;
    char *text;
    uint8_t *rgb;
    size_t columns, rows;
} mark;

struct lm_canvas {
    double width, height, scale;
    mark *marks;
    size_t n, cap;
    bool failed;
};

enum { LONGEST_TEXT = 240 }; /* bytes; PLplot's own buffers end at about a thousand */

lm_status lm_canvas_png(const lm_canvas *canvas, lm_text *ret, lm_error *err);
lm_status lm_canvas_svg(const lm_canvas *canvas, lm_text *ret, lm_error *err);

#endif
