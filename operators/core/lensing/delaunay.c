/* Delaunay triangulations. See delaunay.h. */
#include "operators/core/lensing/delaunay.h"

#include <libqhull_r/qhull_ra.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#define ON_A_SIDE 1e-12 /* a weight so far below zero is zero */

enum { MOST_POINTS = 50000000 };

typedef struct {
    int low, high;   /* the ends of a side */
    int triangle, k; /* it faces corner k */
} side;

static int by_ends(const void *a, const void *b)
{
    const side *s = a, *t = b;
    if (s->low != t->low) return s->low < t->low ? -1 : 1;
    if (s->high != t->high) return s->high < t->high ? -1 : 1;
    return s->triangle < t->triangle ? -1 : s->triangle > t->triangle;
}

static lm_status find_neighbours(lm_delaunay *m, lm_error *err)
{
    size_t n = 3 * m->n_triangles;
    LM_OWN(lm_memory) memory = lm_alloc(n, sizeof(side));
    if (!memory) return LM_NOMEM(err);
    side *sides = memory;
    for (size_t i = 0; i < n; i++) {
        const int *corner = m->corner[i / 3];
        int k = (int)(i % 3), a = corner[(k + 1) % 3], b = corner[(k + 2) % 3];
        sides[i] = (side){a < b ? a : b, a < b ? b : a, (int)(i / 3), k};
        m->neighbour[i / 3][k] = -1;
    }
    qsort(sides, n, sizeof *sides, by_ends);
    for (size_t i = 0; i + 1 < n; i++) {
        const side *s = &sides[i], *t = &sides[i + 1];
        if (s->low != t->low || s->high != t->high) continue;
        m->neighbour[s->triangle][s->k] = t->triangle;
        m->neighbour[t->triangle][t->k] = s->triangle;
    }
    return LM_OK;
}

/* Adds a triangle, counter-clockwise, unless it has no area worth the name. */
static void add_triangle(lm_delaunay *m, const int *corner, double smallest)
{
    int a = corner[0], b = corner[1], c = corner[2];
    double bx = m->x[b] - m->x[a], by = m->y[b] - m->y[a], cx = m->x[c] - m->x[a], cy = m->y[c] - m->y[a];
    double twice = bx * cy - by * cx;
    if (!(fabs(twice) > smallest)) return;
    size_t i = m->n_triangles++;
    int *to = m->corner[i];
    to[0] = a;
    to[1] = twice > 0 ? b : c;
    to[2] = twice > 0 ? c : b;
    double one[2] = {cy / twice, -cx / twice},
           two[2] = {-by / twice, bx / twice}; /* gradients of the weights of b and c */
    double *unit = m->unit[i];
    unit[0] = m->x[a];
    unit[1] = m->y[a];
    memcpy(unit + 2, twice > 0 ? one : two, sizeof one);
    memcpy(unit + 4, twice > 0 ? two : one, sizeof two);
}

static lm_status take_triangles(lm_delaunay *m, qhT *qh, lm_error *err)
{
    facetT *facet;
    vertexT *vertex, **vertexp;
    size_t n = 0;
    FORALLfacets if (!facet->upperdelaunay) n++;
    if (n > INT_MAX / 3) return LM_FAIL(err, LM_EINPUT, "%zu points have too many triangles", m->n);
    m->corner = lm_alloc(n + 1, sizeof *m->corner);
    m->neighbour = lm_alloc(n + 1, sizeof *m->neighbour);
    m->unit = lm_alloc(n + 1, sizeof *m->unit);
    if (!m->corner || !m->neighbour || !m->unit) return LM_NOMEM(err);
    double low_x = INFINITY, high_x = -INFINITY, low_y = INFINITY, high_y = -INFINITY;
    for (size_t i = 0; i < m->n; i++) {
        low_x = fmin(low_x, m->x[i]);
        high_x = fmax(high_x, m->x[i]);
        low_y = fmin(low_y, m->y[i]);
        high_y = fmax(high_y, m->y[i]);
    }
    double smallest = 1e-15 * (high_x - low_x) * (high_y - low_y);
    FORALLfacets
    {
        int corner[3], k = 0;
        bool whole = !facet->upperdelaunay;
        if (!whole) continue;
        FOREACHvertex_(facet->vertices)
        {
            int id = qh_pointid(qh, vertex->point);
            if (id < 0 || (size_t)id >= m->n || k >= 3)
                whole = false; /* the point at infinity, or a facet of more corners */
            else corner[k++] = id;
        }
        if (whole && k == 3) add_triangle(m, corner, smallest);
    }
    return LM_OK;
}

lm_delaunay *lm_delaunay_free(lm_delaunay *m)
{
    if (!m) return NULL;
    lm_free(m->corner);
    lm_free(m->neighbour);
    lm_free(m->unit);
    return lm_free(m);
}

static lm_status triangulate(lm_delaunay *m, double *points, FILE *said, lm_error *err)
{
    qhT qh;
    char options[] =
        "qhull d Qt Qbb Qc Qz Q12 Pp"; /* as SciPy: triangles alone, coordinates scaled, doubles kept apart */
    memset(&qh, 0, sizeof qh);
    qh_zero(&qh, said);
    int failed = qh_new_qhull(&qh, 2, (int)m->n, points, False, options, said, said);
    lm_status status = LM_OK;
    if (failed == qh_ERRmem) status = LM_NOMEM(err);
    else if (failed)
        status = LM_FAIL_HINT(err, LM_EINPUT, "Points on one line, or all in one place, have none.",
                              "%zu points have no Delaunay triangulation (Qhull says %d)", m->n, failed);
    else status = take_triangles(m, &qh, err);
    int left = 0, total = 0;
    qh_freeqhull(&qh, !qh_ALL);
    qh_memfreeshort(&qh, &left, &total);
    return status;
}

lm_status lm_delaunay_new(size_t n, const double *x, const double *y, lm_delaunay **ret, lm_error *err)
{
    if (n < 3 || n > MOST_POINTS)
        return LM_FAIL(err, LM_EINPUT, "%zu points have no triangulation: 3 to %d do", n, MOST_POINTS);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]) || !isfinite(y[i]))
            return LM_FAIL(err, LM_EINPUT, "point %zu of a triangulation is at (%g, %g)", i, x[i], y[i]);
    LM_OWN(lm_delaunay) m = lm_alloc(1, sizeof *m);
    LM_OWN(lm_memory) points = lm_alloc_data((n + 1) * 2 * sizeof(double));
    LM_OWN(lm_memory) text = lm_alloc(4096, 1);
    if (!m || !points || !text) return LM_NOMEM(err);
    m->n = n;
    m->x = x;
    m->y = y;
    for (size_t i = 0; i < n; i++) {
        ((double *)points)[2 * i] = x[i];
        ((double *)points)[2 * i + 1] = y[i];
    }
    FILE *said = fmemopen(text, 4096, "w"); /* what Qhull has to say ends here */
    if (!said) return LM_NOMEM(err);
    lm_status status = triangulate(m, points, said, err);
    fclose(said);
    if (status) return status;
    if (m->n_triangles == 0)
        return LM_FAIL_HINT(err, LM_EINPUT, "Points on one line, or all in one place, have none.",
                            "%zu points have no triangle between them", n);
    LM_TRY(find_neighbours(m, err));
    *ret = lm_take(m);
    return LM_OK;
}

static int weigh(const lm_delaunay *m, size_t i, double x, double y, double w[3])
{
    const double *u = m->unit[i];
    double dx = x - u[0], dy = y - u[1];
    w[1] = u[2] * dx + u[3] * dy;
    w[2] = u[4] * dx + u[5] * dy;
    w[0] = 1 - w[1] - w[2];
    int least = w[1] < w[0] ? 1 : 0;
    return w[2] < w[least] ? 2 : least;
}

static long settle(lm_delaunay *m, size_t i, double w[3])
{
    double sum = 0;
    for (int k = 0; k < 3; k++) {
        if (!(w[k] > 0)) w[k] = 0;
        sum += w[k];
    }
    for (int k = 0; k < 3; k++) w[k] /= sum;
    m->last = i;
    return (long)i;
}

/* Walks from triangle to triangle towards the position; a walk that a sliver leads astray gives way to a search of all.
 * */
long lm_delaunay_find(lm_delaunay *m, double x, double y, double w[3])
{
    if (!isfinite(x) || !isfinite(y)) return -1;
    size_t i = m->last < m->n_triangles ? m->last : 0;
    for (size_t step = 0; step <= m->n_triangles; step++) {
        int least = weigh(m, i, x, y, w);
        if (w[least] >= -ON_A_SIDE) return settle(m, i, w);
        int next = m->neighbour[i][least];
        if (next <
            0) { /* the hull is convex: beyond one of its sides there is nothing, but another side may lead around */
            int other = -1;
            for (int k = 0; k < 3; k++)
                if (w[k] < -ON_A_SIDE && m->neighbour[i][k] >= 0) other = m->neighbour[i][k];
            if (other < 0) return -1;
            next = other;
        }
        i = (size_t)next;
    }
    for (i = 0; i < m->n_triangles; i++)
        if (w[weigh(m, i, x, y, w)] >= -ON_A_SIDE) return settle(m, i, w);
    return -1;
}
