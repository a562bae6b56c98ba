/* A chart: curves over two axes, with a legend, shaded bands and a reference line. */
#ifndef LM_PLOT_CHART_H
#define LM_PLOT_CHART_H

#include "operators/plot/_canvas.h"

typedef enum lm_chart_mark { LM_CHART_LINE, LM_CHART_POINTS, LM_CHART_STEP } lm_chart_mark;

typedef struct lm_curve {
    const char *name; /* for the legend */
    size_t n;
    const double *x, *y; /* points where either is not finite (or not positive, on a logarithmic axis) break the line */
    const double *low, *high; /* a band about the curve; NULL: none */
} lm_curve;

typedef struct lm_chart {
    const char *title, *x_label, *y_label; /* "" or NULL: none */
    const lm_curve *curves;
    size_t n_curves;
    lm_chart_mark mark;
    bool log_x, log_y;
    bool diagonal;              /* the line y = x, and axes that both run over what either needs */
    double half_width;          /* of a band about the diagonal, inside the unit square; 0: none */
    const char *diagonal_label; /* of that band, for the legend; NULL: none */
    const char *band_label;     /* of the curves' own bands; NULL: none */
} lm_chart;

/* The places of the ticks of an axis from low to high: multiples of 1, 2 or 5 times a power of ten (on a logarithmic axis
 * powers of ten, or 1, 2 and 5 times them where few fit). At most 16; returns their number. */
size_t lm_chart_ticks(double low, double high, bool logarithmic, double ret[16]);
/* A tick's number as it is written, for neighbours `step` apart ("0.2", "−5", "10⁴"). */
void lm_chart_tick_text(double value, double step, bool logarithmic, char ret[32]);

/* Draws on a canvas of its own: *ret. What the chart points to need not outlive the call. */
lm_status lm_chart_draw(const lm_chart *chart, lm_canvas **ret, lm_error *err);

#endif
