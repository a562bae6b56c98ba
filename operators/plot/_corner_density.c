/* Quantiles, densities and contours of draws. See _corner.h. */
#include "operators/plot/_corner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { G = LM_CORNER_GRID };

/* ---- quantiles ---- */

static int by_value(const void *a, const void *b, void *values)
{
    const double *v = values;
    double x = v[*(const size_t *)a], y = v[*(const size_t *)b];
    return x < y ? -1 : x > y;
}

void lm_corner_quantiles(const double *values, const double *weights, size_t n, const double *parts, size_t n_parts,
                         size_t *order, double *ret)
{
    double total = 0;
    for (size_t i = 0; i < n; i++) {
        order[i] = i;
        total += weights ? weights[i] : 1;
    }
    qsort_r(order, n, sizeof *order, by_value, (void *)(uintptr_t)values);
    for (size_t k = 0; k < n_parts; k++) {
        double below = 0, last = -1,
               wanted = parts[k] * total; /* below: the weight before this draw; last: the middle of the one before */
        ret[k] = values[order[n - 1]];
        for (size_t i = 0; i < n; i++) {
            double w = weights ? weights[order[i]] : 1, middle = below + w / 2;
            if (middle >= wanted) {
                double v = values[order[i]], before = i ? values[order[i - 1]] : v;
                double t = i && middle > last ? (wanted - last) / (middle - last) : 1;
                ret[k] = v == before ? v : before * (1 - t) + v * t; /* not by their difference, which may overflow */
                break;
            }
            below += w;
            last = middle;
        }
    }
}

double lm_corner_effective(const double *weights, size_t n)
{
    double sum = 0, squares = 0;
    if (!weights) return (double)n;
    for (size_t i = 0; i < n; i++) {
        sum += weights[i];
        squares += weights[i] * weights[i];
    }
    return squares > 0 ? sum * sum / squares : 0;
}

/* ---- density ---- */

/* One row, or with stride G one column, blurred with a Gaussian of that width in steps; what leaves the grid is lost.
 * */
static void blur(const double *from, double *to, size_t stride, double width)
{
    double kernel[G], sum = 1;
    int reach = (int)fmin(ceil(4 * width), G - 1);
    kernel[0] = 1;
    for (int k = 1; k <= reach; k++) {
        kernel[k] = exp(-0.5 * (k / width) * (k / width));
        sum += 2 * kernel[k];
    }
    for (int i = 0; i < G; i++) {
        double s = 0;
        for (int k = i - reach < 0 ? 0 : i - reach; k <= (i + reach < G ? i + reach : G - 1); k++)
            s += kernel[abs(k - i)] * from[(size_t)k * stride];
        to[(size_t)i * stride] = s / sum;
    }
}

/* Of each point's kernel the part that lies between the outermost draws; 0 for points beyond them. */
static void parts_inside(double first, double step, double least, double largest, double width, double ret[G])
{
    double mask[G];
    for (int i = 0; i < G; i++) {
        double at = first + i * step;
        mask[i] = at >= least - step / 2 && at <= largest + step / 2;
    }
    blur(mask, ret, 1, width);
    for (int i = 0; i < G; i++) ret[i] = mask[i] > 0 ? fmax(ret[i], 0.5) : 0;
}

void lm_corner_density(const double *x, const double *y, const double *weights, size_t n,
                       const lm_corner_window *window, const double width[2], double *room, double *ret)
{
    double step_x = (window->x1 - window->x0) / (G - 1), step_y = (window->y1 - window->y0) / (G - 1), total = 0;
    memset(room, 0, G * G * sizeof *room);
    for (size_t i = 0; i < n; i++) {
        double u = (x[i] - window->x0) / step_x, v = (y[i] - window->y0) / step_y, w = weights ? weights[i] : 1;
        total += w;
        if (!(u >= 0 && v >= 0 && u < G - 1 && v < G - 1)) continue;
        size_t a = (size_t)u, b = (size_t)v; /* shared among the four points about it, which keeps its mean */
        double p = u - (double)a, q = v - (double)b, *at = room + b * G + a;
        at[0] += w * (1 - p) * (1 - q);
        at[1] += w * p * (1 - q);
        at[G] += w * (1 - p) * q;
        at[G + 1] += w * p * q;
    }
    double wide = fmax(width[0] / step_x, 0.6), high = fmax(width[1] / step_y, 0.6);
    for (size_t j = 0; j < G; j++) blur(room + j * G, ret + j * G, 1, wide);
    for (size_t i = 0; i < G; i++) blur(ret + i, room + i, G, high);
    double part_x[G], part_y[G], sum = 0, inside = 0;
    parts_inside(window->x0, step_x, window->least_x, window->largest_x, wide, part_x);
    parts_inside(window->y0, step_y, window->least_y, window->largest_y, high, part_y);
    for (size_t i = 0; i < G * G; i++) {
        double part = part_x[i % G] * part_y[i / G];
        sum += room[i];
        ret[i] = part > 0 ? room[i] / part : 0;
        inside += ret[i];
    }
    double factor = inside > 0 && total > 0 ? sum / inside / total : 0;
    for (size_t i = 0; i < G * G; i++) ret[i] *= factor;
}

static int falling(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x > y ? -1 : x < y;
}

void lm_corner_thresholds(const double *density, const double *levels, size_t n_levels, double *room, double *ret)
{
    memcpy(room, density, G * G * sizeof *room);
    qsort(room, G * G, sizeof *room, falling);
    double sum = 0;
    size_t k = 0;
    for (size_t i = 0; i < G * G && k < n_levels; i++) {
        double before = sum;
        sum += room[i];
        while (k < n_levels && sum >= levels[k]) { /* between this point and the one before, by what is missing */
            double part = room[i] > 0 ? (levels[k] - before) / room[i] : 1;
            ret[k++] = i ? room[i - 1] + part * (room[i] - room[i - 1]) : room[i];
        }
    }
    while (k < n_levels) ret[k++] = HUGE_VAL;
}

double lm_corner_at(const double *density, double u, double v)
{
    if (!(u >= 0 && v >= 0 && u <= G - 1 && v <= G - 1)) return 0;
    size_t a = u < G - 1 ? (size_t)u : G - 2, b = v < G - 1 ? (size_t)v : G - 2;
    double p = u - (double)a, q = v - (double)b;
    const double *at = density + b * G + a;
    return (1 - q) * ((1 - p) * at[0] + p * at[1]) + q * ((1 - p) * at[G] + p * at[G + 1]);
}

/* ---- contours ---- */

/* Points of the grid with one of zeros around: index -1 to G. */
static double value(const double *density, int i, int j)
{
    return i < 0 || j < 0 || i >= G || j >= G ? 0 : density[j * G + i];
}

/* Edges of the grid with its border: across from point (i, j) to (i + 1, j), then up to (i, j + 1). Each is crossed
 * by at most one curve, which goes on to two others. */
enum { N = G + 2, EDGES = 2 * N * N };

static int edge_of(int i, int j, bool up)
{
    return 2 * ((j + 1) * N + i + 1) + up;
}

static void join(int (*next)[2], int a, int b)
{
    next[a][next[a][0] >= 0] = b;
    next[b][next[b][0] >= 0] = a;
}

/* The two or four edges of a cell that are crossed, joined in pairs: at a saddle so that the higher corners stay
 * apart unless the middle is high too. */
static void join_cell(const double *d, double level, int i, int j, int (*next)[2])
{
    bool a = value(d, i, j) >= level, b = value(d, i + 1, j) >= level, c = value(d, i + 1, j + 1) >= level,
         e = value(d, i, j + 1) >= level;
    int below = edge_of(i, j, false), right = edge_of(i + 1, j, true), above = edge_of(i, j + 1, false),
        left = edge_of(i, j, true);
    if (a == c && b == e && a != b) {
        double middle = (value(d, i, j) + value(d, i + 1, j) + value(d, i + 1, j + 1) + value(d, i, j + 1)) / 4;
        bool together = (middle >= level) == a; /* corners a and c are one region */
        join(next, below, together ? right : left);
        join(next, above, together ? left : right);
        return;
    }
    int crossed[4], n = 0;
    if (a != b) crossed[n++] = below;
    if (b != c) crossed[n++] = right;
    if (c != e) crossed[n++] = above;
    if (e != a) crossed[n++] = left;
    if (n == 2) join(next, crossed[0], crossed[1]);
}

static void point_on(const double *d, double level, int edge, double *x, double *y)
{
    bool up = edge & 1;
    int i = edge / 2 % N - 1, j = edge / 2 / N - 1;
    double p = value(d, i, j), q = value(d, i + !up, j + up), t = q != p ? (level - p) / (q - p) : 0.5;
    *x = i + (up ? 0 : t);
    *y = j + (up ? t : 0);
}

lm_status lm_corner_contours(const double *density, double level,
                             void (*curve)(void *arg, const double *x, const double *y, size_t n), void *arg,
                             lm_error *err)
{
    if (!(level > 0) || !isfinite(level)) return LM_OK;
    LM_OWN(lm_memory) links = lm_alloc(EDGES, sizeof(int[2]));
    LM_OWN(lm_memory) room = lm_alloc(2 * (EDGES + 1), sizeof(double));
    int(*next)[2] = links;
    double *x = room, *y = x + EDGES + 1;
    if (!next || !x) return LM_NOMEM(err);
    for (int e = 0; e < EDGES; e++) next[e][0] = next[e][1] = -1;
    for (int j = -1; j < G; j++)
        for (int i = -1; i < G; i++) join_cell(density, level, i, j, next);
    for (int start = 0; start < EDGES; start++) {
        size_t n = 0;
        for (int at = start, to; next[at][0] >= 0 || next[at][1] >= 0; at = to) { /* takes the links as it goes */
            int side = next[at][0] >= 0 ? 0 : 1;
            to = next[at][side];
            next[at][side] = -1;
            next[to][next[to][0] == at ? 0 : 1] = -1;
            point_on(density, level, at, &x[n], &y[n]);
            n++;
        }
        if (n < 3) continue;
        x[n] = x[0], y[n] = y[0];
        curve(arg, x, y, n + 1);
    }
    return LM_OK;
}
