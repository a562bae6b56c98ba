/* The Delaunay triangulation of points in a plane, through Qhull, and which of its triangles holds a position.
 *
 * Points that Qhull leaves out (doubles of another one) belong to no triangle. One thread at a time: locating remembers
 * where it was.
 */
#ifndef LM_CORE_LENSING_DELAUNAY_H
#define LM_CORE_LENSING_DELAUNAY_H

#include "runtime/alloc.h"
#include "runtime/error.h"

#include <stddef.h>

typedef struct lm_delaunay {
    size_t n, n_triangles;
    int (*corner)[3];    /* [n_triangles], counter-clockwise */
    int (*neighbour)[3]; /* across the side that faces corner i; -1: none, the hull */
    const double *x, *y; /* borrowed */
    double (*unit)[6];   /* private: barycentric coordinates as linear functions of the position */
    size_t last;
} lm_delaunay;

/* x, y [n] are borrowed as long as the result lives. LM_EINPUT: fewer than three points, one that is not finite, or all
 * on a line. */
lm_status lm_delaunay_new(size_t n, const double *x, const double *y, lm_delaunay **ret, lm_error *err);
lm_delaunay *lm_delaunay_free(lm_delaunay *mesh);
LM_OWNABLE(lm_delaunay, lm_delaunay_free)

/* The triangle that holds (x, y), -1: none does. weight: of its corners, none negative, sum 1. */
long lm_delaunay_find(lm_delaunay *mesh, double x, double y, double weight[3]);

#endif
