/* A corner plot: the marginal distributions of parameters, one by one on the diagonal and two by two below it. */
#ifndef LM_PLOT_CORNER_H
#define LM_PLOT_CORNER_H

#include "operators/plot/_canvas.h"

enum { LM_CORNER_PARAMS = 40, LM_CORNER_LEVELS = 6, LM_CORNER_GRID = 96 };

typedef struct lm_corner_param {
    const char *name;  /* set with Greek letters and an index: "theta_E" */
    const char *label; /* words instead, set as they are; NULL: the name */
    double truth;      /* NaN: unknown */
} lm_corner_param;

typedef struct lm_corner {
    size_t n_params, n;
    const lm_corner_param *params;
    const double *const *draws; /* n_params columns of n finite numbers */
    const double *weights;      /* [n], positive; NULL: all 1 */
    const double *levels;       /* rising: the part of the distribution within each contour */
    size_t n_levels;
    size_t bins;   /* of a histogram; 0: by the draws */
    double smooth; /* width of the kernel in units of the usual one; 0: as little as the grid allows */
    double size;   /* of a panel, in pixels; 0: by the number of parameters */
    bool titles;   /* median and 16th, 84th percentile over each histogram */
    bool points;   /* draws outside the outermost contour */
    const char *title;
} lm_corner;

/* Draws on a canvas of its own: *ret. What the corner points to need not outlive the call. */
lm_status lm_corner_draw(const lm_corner *corner, lm_canvas **ret, lm_error *err);

/* ---- numbers, for the drawing and its tests ---- */

/* Quantiles of n > 0 values with weights (NULL: all 1): straight lines between the middles of the steps of their
 * distribution. `order` is room for n numbers. */
void lm_corner_quantiles(const double *values, const double *weights, size_t n, const double *parts, size_t n_parts,
                         size_t *order, double *ret);
/* (sum w)^2 / sum w^2. */
double lm_corner_effective(const double *weights, size_t n);

/* The density of two columns on LM_CORNER_GRID^2 points, [row y][column x], over x0..x1, y0..y1: a histogram on the
 * grid, blurred with a Gaussian. Its width along an axis is `smooth` times n_eff^(-1/6) (Scott 1992) times the
 * standard deviation at fixed other value, taken from quantiles, at least 0.6 of the grid's step: width[2], in the
 * units of x and y. Beyond the outermost draws the density is 0, and what the blur loses there is made up for, so
 * that a posterior that a prior cuts keeps its edge. The sum is the part of the weight inside. `room`: another grid. */
typedef struct lm_corner_window {
    double x0, x1, y0, y1;
    double least_x, largest_x, least_y, largest_y; /* of the draws */
} lm_corner_window;
void lm_corner_density(const double *x, const double *y, const double *weights, size_t n,
                       const lm_corner_window *window, const double width[2], double *room, double *ret);
/* The densities above which the parts `levels` of the whole lie; infinite where the grid does not hold as much.
 * `room` as above. */
void lm_corner_thresholds(const double *density, const double *levels, size_t n_levels, double *room, double *ret);
/* The density between the points, 0 outside; u, v in steps of the grid from its first point. */
double lm_corner_at(const double *density, double u, double v);

/* The closed curves on which the density is `level`, in steps of the grid: calls curve() for each, points [n] x and
 * y. */
lm_status lm_corner_contours(const double *density, double level,
                             void (*curve)(void *arg, const double *x, const double *y, size_t n), void *arg,
                             lm_error *err);

#endif
