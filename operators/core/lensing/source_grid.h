/* Where a source's unknowns lie in the source plane, and the matrix L that maps them to an image.
 *
 * A regular grid is interpolated bilinearly, a Delaunay triangulation linearly on its triangles: both are exact for a
 * linear source. A row of L is the mean over the rays of one pixel; its weights sum to 1 where all rays fall inside the
 * grid, and to less where some do not: the source is zero beyond it. See Vegetti & Koopmans 2009 (0805.0201) for
 * triangulated sources.
 */
#ifndef LM_CORE_LENSING_SOURCE_GRID_H
#define LM_CORE_LENSING_SOURCE_GRID_H

#include "operators/core/lensing/delaunay.h"
#include "runtime/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum lm_source_kind { LM_SOURCE_REGULAR, LM_SOURCE_DELAUNAY } lm_source_kind;
extern const char *const lm_source_kind_names[]; /* then NULL */

/* What is asked for. */
typedef struct lm_source_shape {
    lm_source_kind kind;
    /* Regular: h x w pixels, square, row 0 the lowest. With pixel NaN the grid is fitted to the rays: `margin` pixels
     * lie between the outermost rays and the outermost pixel centres, after the share `trim` of the rays (of data
     * pixels) was left out on each side. */
    size_t h, w;
    double pixel, x, y; /* arcsec: side of a pixel, middle of the grid */
    double margin;      /* pixels, 0 or more */
    double trim;        /* 0 to 0.4 */
    /* Delaunay: n vertices, at the traced positions of n image pixels, which are picked along a Hilbert curve with
     * probability proportional to (|image| / its maximum + floor)^brightness. 0: evenly, so that vertices are as dense
     * as the magnification. */
    size_t n;
    double brightness, floor;
} lm_source_shape;

typedef struct lm_source_grid {
    lm_source_kind kind;
    size_t n;           /* unknowns */
    size_t h, w;        /* regular: [h][w] */
    double pixel, x, y; /* regular: as laid; Delaunay: the middle, and the mean distance of vertices */
    double *vx, *vy;    /* positions of the unknowns [n], arcsec */
    lm_delaunay *mesh;  /* Delaunay, or NULL */
    /* private */
    size_t room;
} lm_source_grid;

/* Compressed rows; within one the columns are in order. */
typedef struct lm_lensing {
    size_t rows, columns;
    size_t *start; /* [rows + 1] */
    int *column;
    double *weight;
    /* private */
    size_t row_room, room;
    double *dense;
    size_t dense_room;
    int *seen;
} lm_lensing;

/* LM_EINPUT names what in a shape cannot be. */
lm_status lm_source_shape_check(const lm_source_shape *shape, lm_error *err);

/* Lays a grid. Regular, fitted: over positions x, y [n], those not finite left out; Delaunay: vertices at x, y [n]. The
 * grid starts zeroed and may be laid again; done also after a failure. LM_EINPUT: the positions span no area. */
lm_status lm_source_grid_lay(lm_source_grid *grid, const lm_source_shape *shape, size_t n, const double *x,
                             const double *y, lm_error *err);
void lm_source_grid_done(lm_source_grid *grid);

/* L for `rows` pixels with `rays` rays each: beta [rows][rays]. Starts zeroed; may be made again. */
lm_status lm_lensing_make(lm_lensing *lensing, lm_source_grid *grid, size_t rows, size_t rays, const double *beta_x,
                          const double *beta_y, lm_error *err);
void lm_lensing_done(lm_lensing *lensing);
/* image [rows] = L source [columns], and source = L^T image. */
void lm_lensing_apply(const lm_lensing *lensing, const double *source, double *image);
void lm_lensing_adjoint(const lm_lensing *lensing, const double *image, double *source);

/* values [n] of the unknowns on h x w square pixels around (x, y), zero beyond the grid. */
void lm_source_grid_picture(lm_source_grid *grid, const double *values, size_t h, size_t w, double pixel, double x,
                            double y, double *ret);

/* Which of the pixels (column[i], row[i]), i < n, carry a vertex: `want` of them, ascending, into ret [want]. weight
 * [n] >= 0. LM_EINPUT: fewer have a weight above zero. */
lm_status lm_source_pick(size_t n, const size_t *row, const size_t *column, const double *weight, size_t want,
                         size_t *ret, lm_error *err);

#endif
