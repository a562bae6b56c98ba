/* Grids of a source and their lensing matrix. See source_grid.h. */
#include "operators/core/lensing/source_grid.h"

#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

const char *const lm_source_kind_names[] = {"regular", "delaunay", NULL};

enum { MOST_UNKNOWNS = 1 << 24 };

lm_status lm_source_shape_check(const lm_source_shape *s, lm_error *err)
{
    if (s->kind == LM_SOURCE_DELAUNAY) {
        if (s->n < 3 || s->n > MOST_UNKNOWNS)
            return LM_FAIL(err, LM_EINPUT, "a triangulated source of %zu vertices: 3 to %d can be", s->n,
                           MOST_UNKNOWNS);
        if (!(s->brightness >= 0) || !isfinite(s->brightness) || !(s->floor >= 0) || !isfinite(s->floor))
            return LM_FAIL(err, LM_EINPUT,
                           "vertices weighted by brightness^%g with a floor of %g: neither may be negative",
                           s->brightness, s->floor);
        return LM_OK;
    }
    if (s->h == 0 || s->w == 0 || s->h > MOST_UNKNOWNS / s->w)
        return LM_FAIL(err, LM_EINPUT, "a source of %zu x %zu pixels: 1 to %d pixels can be", s->h, s->w,
                       MOST_UNKNOWNS);
    if (!isnan(s->pixel)) {
        if (!(s->pixel > 0) || !isfinite(s->pixel) || !isfinite(s->x) || !isfinite(s->y))
            return LM_FAIL(err, LM_EINPUT, "source pixels of %g arcsec around (%g, %g) are none", s->pixel, s->x, s->y);
        return LM_OK;
    }
    if (!(s->trim >= 0) || !(s->trim <= 0.4))
        return LM_FAIL(err, LM_EINPUT, "a share of %g of the rays left out on each side: it must be 0 to 0.4", s->trim);
    size_t least = s->h < s->w ? s->h : s->w;
    if (!(s->margin >= 0) || !(2 * s->margin < (double)least - 1))
        return LM_FAIL_HINT(err, LM_EINPUT, "Take more pixels, or a smaller margin.",
                            "a source of %zu x %zu pixels has no room between margins of %g pixels", s->h, s->w,
                            s->margin);
    return LM_OK;
}

void lm_source_grid_done(lm_source_grid *g)
{
    lm_delaunay_free(g->mesh);
    lm_free(g->vx);
    lm_free(g->vy);
    *g = (lm_source_grid){0};
}

static lm_status grid_room(lm_source_grid *g, size_t n, lm_error *err)
{
    g->n = 0;
    if (n > g->room) {
        g->vx = lm_free(g->vx);
        g->vy = lm_free(g->vy);
        g->room = 0;
        g->vx = lm_alloc_data(n * sizeof *g->vx);
        g->vy = lm_alloc_data(n * sizeof *g->vy);
        if (!g->vx || !g->vy) return LM_NOMEM(err);
        g->room = n;
    }
    g->n = n;
    return LM_OK;
}

/* The k-th smallest of a[0 .. n-1], which is reordered (Hoare's FIND). */
static double select_kth(double *a, size_t n, size_t k)
{
    ptrdiff_t low = 0, high = (ptrdiff_t)n - 1, want = (ptrdiff_t)k;
    while (low < high) {
        double pivot = a[want];
        ptrdiff_t i = low, j = high;
        while (i <= j) {
            while (a[i] < pivot) i++;
            while (a[j] > pivot) j--;
            if (i > j) break;
            double swap = a[i];
            a[i++] = a[j];
            a[j--] = swap;
        }
        if (j < want) low = i;
        if (want < i) high = j;
    }
    return a[want];
}

/* From where to where the finite values of a reach, after the share `trim` was left out at both ends. */
static lm_status span_of(size_t n, const double *a, double trim, double *low, double *high, lm_error *err)
{
    *low = INFINITY;
    *high = -INFINITY;
    size_t finite = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(a[i])) continue;
        finite++;
        if (a[i] < *low) *low = a[i];
        if (a[i] > *high) *high = a[i];
    }
    size_t cut = (size_t)(trim * (double)finite);
    if (finite == 0 || cut == 0) return LM_OK;
    LM_OWN(lm_memory) memory = lm_alloc_data(finite * sizeof(double));
    if (!memory) return LM_NOMEM(err);
    double *copy = memory;
    finite = 0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(a[i])) copy[finite++] = a[i];
    *low = select_kth(copy, finite, cut);
    *high = select_kth(copy, finite, finite - 1 - cut);
    return LM_OK;
}

static lm_status fit(lm_source_grid *g, const lm_source_shape *s, size_t n, const double *x, const double *y,
                     lm_error *err)
{
    double x0, x1, y0, y1;
    LM_TRY(span_of(n, x, s->trim, &x0, &x1, err));
    LM_TRY(span_of(n, y, s->trim, &y0, &y1, err));
    double across = (double)(s->w - 1) - 2 * s->margin, up = (double)(s->h - 1) - 2 * s->margin;
    g->pixel = fmax((x1 - x0) / across, (y1 - y0) / up) * (1 + 1e-12); /* the outermost rays stay inside */
    g->x = x0 + (x1 - x0) / 2;
    g->y = y0 + (y1 - y0) / 2;
    if (!(x1 > x0) || !(y1 > y0) || !(g->pixel > 0) || !isfinite(g->pixel) || !isfinite(g->x) || !isfinite(g->y))
        return LM_FAIL_HINT(err, LM_EINPUT, "A lens that sends all light to one point is none.",
                            "the traced rays span %g x %g arcsec: no source grid can be laid", x1 - x0, y1 - y0);
    return LM_OK;
}

static lm_status lay_regular(lm_source_grid *g, const lm_source_shape *s, size_t n, const double *x, const double *y,
                             lm_error *err)
{
    g->h = s->h;
    g->w = s->w;
    g->pixel = s->pixel;
    g->x = s->x;
    g->y = s->y;
    if (isnan(s->pixel)) LM_TRY(fit(g, s, n, x, y, err));
    for (size_t k = 0; k < g->n; k++) {
        g->vx[k] = g->x + ((double)(k % g->w) - (double)(g->w - 1) / 2) * g->pixel;
        g->vy[k] = g->y + ((double)(k / g->w) - (double)(g->h - 1) / 2) * g->pixel;
    }
    return LM_OK;
}

lm_status lm_source_grid_lay(lm_source_grid *g, const lm_source_shape *s, size_t n, const double *x, const double *y,
                             lm_error *err)
{
    LM_TRY(lm_source_shape_check(s, err));
    g->mesh = lm_delaunay_free(g->mesh);
    g->kind = s->kind;
    if (s->kind == LM_SOURCE_REGULAR) {
        LM_TRY(grid_room(g, s->h * s->w, err));
        return lay_regular(g, s, n, x, y, err);
    }
    LM_TRY(grid_room(g, n, err));
    memcpy(g->vx, x, n * sizeof *x);
    memcpy(g->vy, y, n * sizeof *y);
    g->h = g->w = 0;
    LM_TRY_IN(lm_delaunay_new(n, g->vx, g->vy, &g->mesh, err), err, "the vertices of a triangulated source");
    double x0, x1, y0, y1;
    LM_TRY(span_of(n, x, 0, &x0, &x1, err));
    LM_TRY(span_of(n, y, 0, &y0, &y1, err));
    g->x = x0 + (x1 - x0) / 2;
    g->y = y0 + (y1 - y0) / 2;
    g->pixel = fmax(x1 - x0, y1 - y0) / sqrt((double)n);
    return LM_OK;
}

/* ---- the lensing matrix ----------------------------------------------------------------------------------------- */

void lm_lensing_done(lm_lensing *l)
{
    lm_free(l->start);
    lm_free(l->column);
    lm_free(l->weight);
    lm_free(l->dense);
    lm_free(l->seen);
    *l = (lm_lensing){0};
}

static lm_status lensing_room(lm_lensing *l, size_t rows, size_t columns, lm_error *err)
{
    l->rows = l->columns = 0;
    if (rows + 1 > l->row_room) {
        l->start = lm_free(l->start);
        l->row_room = 0;
        l->start = lm_alloc(rows + 1, sizeof *l->start);
        if (!l->start) return LM_NOMEM(err);
        l->row_room = rows + 1;
    }
    if (columns > l->dense_room || !l->dense) {
        l->dense = lm_free(l->dense);
        l->seen = lm_free(l->seen);
        l->dense_room = 0;
        l->dense = lm_alloc(columns + 1, sizeof *l->dense);
        l->seen = lm_alloc(columns + 1, sizeof *l->seen);
        if (!l->dense || !l->seen) return LM_NOMEM(err);
        l->dense_room = columns;
    }
    memset(l->dense, 0, columns * sizeof *l->dense);
    memset(l->seen, 0, columns * sizeof *l->seen);
    l->rows = rows;
    l->columns = columns;
    return LM_OK;
}

static lm_status element_room(lm_lensing *l, size_t want, lm_error *err)
{
    if (want <= l->room) return LM_OK;
    size_t room = want + want / 2;
    int *column = lm_realloc(l->column, room, sizeof *column);
    if (!column) return LM_NOMEM(err);
    l->column = column;
    double *weight = lm_realloc(l->weight, room, sizeof *weight);
    if (!weight) return LM_NOMEM(err);
    l->weight = weight;
    l->room = room;
    return LM_OK;
}

/* Up to four unknowns that a position sees, with weights. */
static int bilinear(const lm_source_grid *g, double x, double y, int column[4], double weight[4])
{
    double u = (x - g->x) / g->pixel + (double)(g->w - 1) / 2, v = (y - g->y) / g->pixel + (double)(g->h - 1) / 2;
    if (!(u > -1 && u < (double)g->w && v > -1 && v < (double)g->h)) return 0;
    long i = (long)(u + 1) - 1, j = (long)(v + 1) - 1, w = (long)g->w, h = (long)g->h; /* rounded down: both are > -1 */
    double a = u - (double)i, b = v - (double)j;
    if (a < 0) a = 0; /* u + 1 was rounded up */
    if (b < 0) b = 0;
    if (i >= 0 && j >= 0 && i + 1 < w && j + 1 < h && a > 0 && b > 0) { /* as nearly all are */
        int first = (int)(j * w + i);
        column[0] = first;
        column[1] = first + 1;
        column[2] = first + (int)w;
        column[3] = first + (int)w + 1;
        weight[0] = (1 - a) * (1 - b);
        weight[1] = a * (1 - b);
        weight[2] = (1 - a) * b;
        weight[3] = a * b;
        return 4;
    }
    int n = 0;
    for (int k = 0; k < 4; k++) {
        long ii = i + (k & 1), jj = j + (k >> 1);
        double c = ((k & 1) ? a : 1 - a) * ((k >> 1) ? b : 1 - b);
        if (ii < 0 || jj < 0 || ii >= w || jj >= h || c == 0) continue;
        column[n] = (int)(jj * w + ii);
        weight[n++] = c;
    }
    return n;
}

static int sees(lm_source_grid *g, double x, double y, int column[4], double weight[4])
{
    if (g->kind == LM_SOURCE_REGULAR) return bilinear(g, x, y, column, weight);
    long triangle = lm_delaunay_find(g->mesh, x, y, weight);
    if (triangle < 0) return 0;
    memcpy(column, g->mesh->corner[triangle], 3 * sizeof *column);
    return 3;
}

lm_status lm_lensing_make(lm_lensing *l, lm_source_grid *g, size_t rows, size_t rays, const double *beta_x,
                          const double *beta_y, lm_error *err)
{
    if (rays == 0 || rows > INT_MAX || g->n > INT_MAX)
        return LM_FAIL(err, LM_EINPUT, "%zu pixels of %zu rays and %zu source pixels are no lensing matrix", rows, rays,
                       g->n);
    LM_TRY(lensing_room(l, rows, g->n, err));
    if (g->mesh) g->mesh->last = 0; /* the same bits, whatever was located before */
    double share = 1 / (double)rays;
    size_t used = 0;
    for (size_t row = 0; row < rows; row++) {
        l->start[row] = used;
        LM_TRY(element_room(l, used + 4 * rays, err));
        int *list = l->column + used;
        size_t n = 0;
        for (size_t r = row * rays; r < (row + 1) * rays; r++) {
            int column[4];
            double weight[4];
            int m = sees(g, beta_x[r], beta_y[r], column, weight);
            for (int k = 0; k < m; k++) {
                int c = column[k];
                if (l->seen[c] != (int)row + 1) {
                    l->seen[c] = (int)row + 1;
                    l->dense[c] = 0;
                    size_t at = n++;
                    for (; at > 0 && list[at - 1] > c; at--) list[at] = list[at - 1];
                    list[at] = c;
                }
                l->dense[c] += weight[k];
            }
        }
        for (size_t k = 0; k < n; k++) l->weight[used + k] = share * l->dense[list[k]];
        used += n;
    }
    l->start[rows] = used;
    return LM_OK;
}

void lm_lensing_apply(const lm_lensing *l, const double *source, double *image)
{
    for (size_t i = 0; i < l->rows; i++) {
        double sum = 0;
        for (size_t e = l->start[i]; e < l->start[i + 1]; e++) sum += l->weight[e] * source[l->column[e]];
        image[i] = sum;
    }
}

void lm_lensing_adjoint(const lm_lensing *l, const double *image, double *source)
{
    memset(source, 0, l->columns * sizeof *source);
    for (size_t i = 0; i < l->rows; i++)
        for (size_t e = l->start[i]; e < l->start[i + 1]; e++) source[l->column[e]] += l->weight[e] * image[i];
}

void lm_source_grid_picture(lm_source_grid *g, const double *values, size_t h, size_t w, double pixel, double x,
                            double y, double *ret)
{
    if (g->mesh) g->mesh->last = 0;
    for (size_t j = 0; j < h; j++)
        for (size_t i = 0; i < w; i++) {
            int column[4];
            double weight[4], sum = 0;
            int n = sees(g, x + ((double)i - (double)(w - 1) / 2) * pixel,
                         y + ((double)j - (double)(h - 1) / 2) * pixel, column, weight);
            for (int k = 0; k < n; k++) sum += weight[k] * values[column[k]];
            ret[j * w + i] = sum;
        }
}

/* ---- which pixels carry vertices -------------------------------------------------------------------------------- */

typedef struct {
    uint64_t place; /* along the curve */
    size_t index;
} on_curve;

static int by_place(const void *a, const void *b)
{
    const on_curve *p = a, *q = b;
    return p->place < q->place ? -1 : p->place > q->place;
}

/* Hilbert's curve through 2^31 x 2^31 pixels (Skilling 2004, AIP Conf. Proc. 707, 381, in two dimensions). */
static uint64_t hilbert(size_t column, size_t row, unsigned bits)
{
    uint64_t place = 0, x = column, y = row;
    for (uint64_t s = (uint64_t)1 << (bits - 1); s > 0; s >>= 1) {
        uint64_t rx = (x & s) != 0, ry = (y & s) != 0;
        place += s * s * ((3 * rx) ^ ry);
        if (ry == 0) {
            if (rx == 1) {
                x = ~x & (2 * s - 1);
                y = ~y & (2 * s - 1);
            }
            uint64_t swap = x;
            x = y;
            y = swap;
        }
        x &= s - 1;
        y &= s - 1;
    }
    return place;
}

/* The scale c with sum of min(weight / c, 1) = want. */
static double scale_of(size_t n, const double *weight, size_t want)
{
    double scale = 0;
    for (;;) {
        double sum = 0;
        size_t sure = 0;
        for (size_t i = 0; i < n; i++)
            if (scale > 0 && weight[i] >= scale) sure++;
            else sum += weight[i];
        if (sure >= want) return scale;
        double next = sum / (double)(want - sure);
        if (!(next < scale || scale == 0)) return scale;
        scale = next;
    }
}

static int ascending(const void *a, const void *b)
{
    size_t p = *(const size_t *)a, q = *(const size_t *)b;
    return p < q ? -1 : p > q;
}

lm_status lm_source_pick(size_t n, const size_t *row, const size_t *column, const double *weight, size_t want,
                         size_t *ret, lm_error *err)
{
    size_t usable = 0, largest = 1;
    for (size_t i = 0; i < n; i++) {
        if (!(weight[i] >= 0) || !isfinite(weight[i]))
            return LM_FAIL(err, LM_EINPUT, "pixel %zu has a weight of %g", i, weight[i]);
        usable += weight[i] > 0;
        if (row[i] > largest) largest = row[i];
        if (column[i] > largest) largest = column[i];
    }
    if (usable < want)
        return LM_FAIL_HINT(err, LM_EINPUT, "Ask for fewer vertices, or mask less.",
                            "%zu vertices are wanted of %zu image pixels", want, usable);
    LM_OWN(lm_memory) memory = lm_alloc(n + 1, sizeof(on_curve));
    if (!memory) return LM_NOMEM(err);
    on_curve *order = memory;
    unsigned bits = 1;
    while (bits < 31 && largest >> bits) bits++;
    for (size_t i = 0; i < n; i++) order[i] = (on_curve){hilbert(column[i], row[i], bits), i};
    qsort(order, n, sizeof *order, by_place);
    double scale = scale_of(n, weight, want), sum = 0.5;
    size_t got = 0;
    for (size_t k = 0; k < n && got < want; k++) {
        double share = weight[order[k].index] / scale;
        sum += share < 1 ? share : 1;
        if (sum >= (double)got + 1 - 1e-9) ret[got++] = order[k].index;
    }
    for (size_t k = n; k-- > 0 && got < want;) { /* rounding at the end of the curve: the last that are free */
        bool taken = false;
        for (size_t i = 0; i < got; i++) taken |= ret[i] == order[k].index;
        if (!taken && weight[order[k].index] > 0) ret[got++] = order[k].index;
    }
    qsort(ret, want, sizeof *ret, ascending);
    return LM_OK;
}
