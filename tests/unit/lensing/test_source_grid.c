/* Grids of a source, the lensing matrix, and triangulations. */
#include "tests/test.h"

#include "operators/core/lensing/source_grid.h"
#include "runtime/random.h"

#include <math.h>
#include <string.h>

enum { ROWS = 300, RAYS = 4, POINTS = 200 };

static lm_random random_of(uint8_t seed)
{
    lm_digest key = {{seed}};
    return lm_random_stream(&key, 0);
}

static void scatter(size_t n, double *x, double *y, uint8_t seed)
{
    lm_random random = random_of(seed);
    for (size_t i = 0; i < n; i++) {
        x[i] = 3 * lm_random_uniform(&random) - 1;
        y[i] = 2 * lm_random_uniform(&random) - 1.5;
    }
}

static lm_source_shape regular(size_t h, size_t w)
{
    return (lm_source_shape){.kind = LM_SOURCE_REGULAR, .h = h, .w = w, .pixel = NAN};
}

static double plane(double x, double y)
{
    return 1.5 - 0.7 * x + 2.25 * y;
}

static void lay(lm_source_grid *grid, lm_lensing *l, const lm_source_shape *shape, size_t n, const double *x,
                const double *y, const double *bx, const double *by)
{
    lm_error err = {0};
    OK(lm_source_grid_lay(grid, shape, n, x, y, &err), &err);
    OK(lm_lensing_make(l, grid, ROWS, RAYS, bx, by, &err), &err);
}

/* A linear source is seen as it is, and rows sum to one, wherever all rays of a pixel fall inside; `least` pixels must.
 * */
static void see_plane(const lm_source_grid *grid, const lm_lensing *l, const double *bx, const double *by, size_t least)
{
    static double source[2000], image[ROWS];
    CHECK(grid->n <= 2000);
    for (size_t i = 0; i < grid->n; i++) source[i] = plane(grid->vx[i], grid->vy[i]);
    lm_lensing_apply(l, source, image);
    size_t inside = 0;
    for (size_t i = 0; i < ROWS; i++) {
        double sum = 0, want = 0;
        for (size_t e = l->start[i]; e < l->start[i + 1]; e++) {
            sum += l->weight[e];
            CHECK(l->weight[e] >= 0);
            CHECK(e == l->start[i] || l->column[e] > l->column[e - 1]);
        }
        CHECK(sum <= 1 + 1e-14);
        if (sum < 1 - 1e-12) continue;
        inside++;
        for (size_t r = i * RAYS; r < (i + 1) * RAYS; r++) want += plane(bx[r], by[r]) / RAYS;
        NEAR(image[i], want, ABS(2e-13)); /* barycentric weights of slim triangles */
    }
    CHECK(inside >= least);
}

static void adjoint(const lm_lensing *l, uint8_t seed)
{
    static double u[2000], v[ROWS], Lu[ROWS], Lv[2000];
    lm_random random = random_of(seed);
    for (size_t i = 0; i < l->columns; i++) u[i] = lm_random_uniform(&random);
    for (size_t i = 0; i < ROWS; i++) v[i] = lm_random_uniform(&random);
    lm_lensing_apply(l, u, Lu);
    lm_lensing_adjoint(l, v, Lv);
    double left = 0, right = 0;
    for (size_t i = 0; i < ROWS; i++) left += v[i] * Lu[i];
    for (size_t i = 0; i < l->columns; i++) right += u[i] * Lv[i];
    NEAR(left, right, REL(1e-13));
}

TEST(a_fitted_grid_holds_all_rays)
{
    static double bx[ROWS * RAYS], by[ROWS * RAYS];
    scatter(ROWS * RAYS, bx, by, 1);
    lm_source_grid grid = {0};
    lm_lensing l = {0};
    for (int margin = 0; margin < 3; margin++) {
        lm_source_shape shape = regular(17, 23);
        shape.margin = margin;
        lay(&grid, &l, &shape, ROWS * RAYS, bx, by, bx, by);
        see_plane(&grid, &l, bx, by, ROWS);
        adjoint(&l, 3);
        double low = INFINITY;
        for (size_t i = 0; i < ROWS * RAYS; i++) low = fmin(low, bx[i]);
        NEAR((low - grid.vx[0]) / grid.pixel, margin, ABS(1e-9)); /* the wider side sets the pixel */
    }
    lm_source_grid_done(&grid);
    lm_lensing_done(&l);
}

TEST(rows_end_with_the_grid)
{
    double bx[ROWS * RAYS], by[ROWS * RAYS];
    lm_source_grid grid = {0};
    lm_lensing l = {0};
    lm_source_shape shape = regular(3, 4);
    shape.pixel = 0.5;
    shape.x = 1;
    for (size_t i = 0; i < ROWS * RAYS; i++) {
        bx[i] = NAN;
        by[i] = 0;
    }
    bx[0] = 0.25 - 0.2;    /* 0.4 of a pixel beyond the first column, on the middle row: weight 0.6 */
    bx[RAYS] = 0.25 - 0.5; /* a whole pixel beyond: nothing */
    bx[2 * RAYS] = INFINITY;
    bx[3 * RAYS] = 1.75; /* on the last pixel centre */
    by[3 * RAYS] = 0.5;
    bx[4 * RAYS] = 1e300;
    lay(&grid, &l, &shape, 0, NULL, NULL, bx, by);
    EQUAL_INT(l.start[1] - l.start[0], 1);
    NEAR(l.weight[0], 0.6 / RAYS, REL(1e-14));
    EQUAL_INT(l.column[0], 4);
    EQUAL_INT(l.start[3], 1);
    EQUAL_INT(l.start[4] - l.start[3], 1);
    EQUAL_INT(l.column[l.start[3]], 11);
    NEAR(l.weight[l.start[3]], 1.0 / RAYS, REL(1e-14));
    EQUAL_INT(l.start[ROWS], l.start[4]);
    lm_source_grid_done(&grid);
    lm_lensing_done(&l);
}

TEST(trimming_leaves_out_the_farthest_rays)
{
    static double x[1001], y[1001];
    lm_source_grid grid = {0};
    lm_error err = {0};
    for (size_t i = 0; i < 1001; i++) { /* in no order, with two far ones */
        x[i] = (double)((i * 389) % 1001) / 1000;
        y[i] = (double)((i * 613) % 1001) / 1000;
    }
    x[5] = 50;
    x[6] = -80;
    y[7] = NAN;
    lm_source_shape shape = regular(11, 11);
    shape.trim = 0.1;
    OK(lm_source_grid_lay(&grid, &shape, 1001, x, y, &err), &err);
    NEAR(grid.pixel * 10, 0.8, ABS(0.004));
    NEAR(grid.x, 0.5, ABS(0.003));
    shape.trim = 0;
    OK(lm_source_grid_lay(&grid, &shape, 1001, x, y, &err), &err);
    NEAR(grid.pixel * 10, 130, REL(1e-9));
    lm_source_grid_done(&grid);
}

/* No point lies inside the circle through a triangle's corners; the triangles cover the hull once; neighbours know each
 * other. */
static void check_mesh(const lm_delaunay *m, double hull_area)
{
    double area = 0;
    for (size_t t = 0; t < m->n_triangles; t++) {
        const int *c = m->corner[t];
        double ax = m->x[c[0]], ay = m->y[c[0]], bx = m->x[c[1]] - ax, by = m->y[c[1]] - ay, cx = m->x[c[2]] - ax,
               cy = m->y[c[2]] - ay, twice = bx * cy - by * cx;
        CHECK(twice > 0);
        area += twice / 2;
        double b2 = bx * bx + by * by, c2 = cx * cx + cy * cy;
        double ux = (cy * b2 - by * c2) / (2 * twice), uy = (bx * c2 - cx * b2) / (2 * twice), r2 = ux * ux + uy * uy;
        for (size_t i = 0; i < m->n; i++) {
            double dx = m->x[i] - ax - ux, dy = m->y[i] - ay - uy;
            CHECK(dx * dx + dy * dy >= r2 * (1 - 1e-9));
        }
        for (int k = 0; k < 3; k++) {
            int other = m->neighbour[t][k];
            if (other < 0) continue;
            bool back = false;
            for (int j = 0; j < 3; j++) back |= m->neighbour[other][j] == (int)t;
            CHECK(back);
        }
    }
    NEAR(area, hull_area, REL(1e-9));
}

static double hull_area(size_t n, const double *x, const double *y)
{
    size_t first = 0, at;
    for (size_t i = 1; i < n; i++)
        if (x[i] < x[first]) first = i;
    double sum = 0;
    at = first;
    do { /* gift wrapping */
        size_t next = at == 0 ? 1 : 0;
        for (size_t i = 0; i < n; i++) {
            double cross = (x[next] - x[at]) * (y[i] - y[at]) - (y[next] - y[at]) * (x[i] - x[at]);
            if (i != at && cross < 0) next = i;
        }
        sum += (x[at] * y[next] - x[next] * y[at]) / 2;
        at = next;
    } while (at != first);
    return fabs(sum);
}

TEST(a_triangulation_is_delaunay)
{
    static double x[POINTS], y[POINTS];
    lm_error err = {0};
    for (uint8_t seed = 1; seed < 8; seed++) {
        scatter(POINTS, x, y, seed);
        LM_OWN(lm_delaunay) m = NULL;
        OK(lm_delaunay_new(POINTS, x, y, &m, &err), &err);
        check_mesh(m, hull_area(POINTS, x, y));
    }
}

/* All of a lattice's cells have four corners on one circle, and it has points on the sides of its hull. */
TEST(a_lattice_has_a_triangulation)
{
    static double x[144], y[144];
    lm_error err = {0};
    for (size_t i = 0; i < 144; i++) {
        x[i] = 0.1 * (double)(i % 12);
        y[i] = 0.1 * (double)(i / 12);
    }
    LM_OWN(lm_delaunay) m = NULL;
    OK(lm_delaunay_new(144, x, y, &m, &err), &err);
    EQUAL_INT(m->n_triangles, 2 * 11 * 11);
    check_mesh(m, 1.21);
    double w[3];
    for (size_t i = 0; i < 500; i++) {
        double px = 1.1 * (double)((i * 37) % 500) / 499, py = 1.1 * (double)((i * 91) % 500) / 499, sx = 0, sy = 0;
        long t = lm_delaunay_find(m, px, py, w);
        CHECK(t >= 0);
        for (int k = 0; k < 3; k++) {
            CHECK(w[k] >= 0);
            sx += w[k] * x[m->corner[t][k]];
            sy += w[k] * y[m->corner[t][k]];
        }
        NEAR(sx, px, ABS(1e-13));
        NEAR(sy, py, ABS(1e-13));
    }
    EQUAL_INT(lm_delaunay_find(m, 1.2, 0.5, w), -1);
    EQUAL_INT(lm_delaunay_find(m, 0.5, -1e-3, w), -1);
    EQUAL_INT(lm_delaunay_find(m, NAN, 0.5, w), -1);
    EQUAL_INT(lm_delaunay_find(m, INFINITY, 0.5, w), -1);
}

TEST(points_without_triangles_are_told)
{
    double x[5] = {0, 1, 2, 3, 4}, y[5] = {0, 1, 2, 3, 4}, same[5] = {1, 1, 1, 1, 1};
    lm_error err = {0};
    lm_delaunay *m = NULL;
    EQUAL_INT(lm_delaunay_new(5, x, y, &m, &err), LM_EINPUT);
    CONTAINS(err.hint, "on one line");
    EQUAL_INT(lm_delaunay_new(5, same, same, &m, &err), LM_EINPUT);
    EQUAL_INT(lm_delaunay_new(2, x, y, &m, &err), LM_EINPUT);
    y[2] = NAN;
    EQUAL_INT(lm_delaunay_new(5, x, y, &m, &err), LM_EINPUT);
    CONTAINS(err.text, "point 2");
    CHECK(m == NULL);
    double tx[6] = {0, 1, 0, 0, 1, 0.3}, ty[6] = {0, 0, 1, 0, 0, 0.3}; /* two of them twice */
    OK(lm_delaunay_new(6, tx, ty, &m, &err), &err);
    EQUAL_INT(m->n_triangles, 3);
    lm_delaunay_free(m);
}

TEST(a_triangulated_source_is_linear_between_its_vertices)
{
    static double vx[POINTS], vy[POINTS], bx[ROWS * RAYS], by[ROWS * RAYS];
    scatter(POINTS, vx, vy, 4);
    scatter(ROWS * RAYS, bx, by, 5);
    lm_source_grid grid = {0};
    lm_lensing l = {0};
    const lm_source_shape shape = {.kind = LM_SOURCE_DELAUNAY, .n = POINTS, .pixel = NAN};
    lay(&grid, &l, &shape, POINTS, vx, vy, bx, by);
    see_plane(&grid, &l, bx, by, ROWS / 2);
    adjoint(&l, 6);
    double values[POINTS], picture[15 * 20];
    for (size_t i = 0; i < POINTS; i++) values[i] = plane(vx[i], vy[i]);
    lm_source_grid_picture(&grid, values, 15, 20, 0.05, 0.5, -0.5, picture);
    for (size_t i = 0; i < 15 * 20; i++)
        NEAR(picture[i], plane(0.5 + 0.05 * ((double)(i % 20) - 9.5), -0.5 + 0.05 * ((double)(i / 20) - 7)),
             ABS(1e-12));
    lm_source_grid_picture(&grid, values, 1, 1, 0.05, 9, 9, picture);
    NEAR(picture[0], 0, ABS(0));
    lm_source_grid_done(&grid);
    lm_lensing_done(&l);
}

TEST(vertices_are_picked_by_weight_and_evenly)
{
    enum { SIDE = 40, N = SIDE * SIDE, WANT = 300 };
    static size_t row[N], column[N], got[N];
    static double weight[N];
    lm_error err = {0};
    for (size_t i = 0; i < N; i++) {
        row[i] = i / SIDE;
        column[i] = i % SIDE;
        weight[i] = column[i] < SIDE / 2 ? 1 : 3;
    }
    OK(lm_source_pick(N, row, column, weight, WANT, got, &err), &err);
    size_t right = 0, quarter[4] = {0};
    for (size_t k = 0; k < WANT; k++) {
        CHECK(got[k] < N && (k == 0 || got[k] > got[k - 1]));
        right += column[got[k]] >= SIDE / 2;
        quarter[2 * (row[got[k]] >= SIDE / 2) + (column[got[k]] >= SIDE / 2)]++;
    }
    CHECK(right > 215 && right < 235); /* three quarters */
    CHECK(labs((long)quarter[1] - (long)quarter[3]) < 12 && labs((long)quarter[0] - (long)quarter[2]) < 12);
    weight[7] = 1e9; /* surely taken, and once */
    OK(lm_source_pick(N, row, column, weight, WANT, got, &err), &err);
    bool there = false;
    for (size_t k = 0; k < WANT; k++) {
        there |= got[k] == 7;
        CHECK(k == 0 || got[k] > got[k - 1]);
    }
    CHECK(there);
    for (size_t i = 0; i < N; i++) weight[i] = i < 5;
    EQUAL_INT(lm_source_pick(N, row, column, weight, 6, got, &err), LM_EINPUT);
    OK(lm_source_pick(N, row, column, weight, 5, got, &err), &err);
    for (size_t k = 0; k < 5; k++) EQUAL_INT(got[k], k);
}

TEST(shapes_that_cannot_be_are_told)
{
    lm_error err = {0};
    lm_source_shape shapes[] = {regular(0, 5),
                                regular(5, 5),
                                regular(5, 5),
                                regular(5, 5),
                                regular(1, 5),
                                {.kind = LM_SOURCE_DELAUNAY, .n = 2},
                                {.kind = LM_SOURCE_DELAUNAY, .n = 9, .brightness = NAN}};
    shapes[1].margin = 2;
    shapes[2].trim = 0.5;
    shapes[3].pixel = -1;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        EQUAL_INT(lm_source_shape_check(&shapes[i], &err), LM_EINPUT);
    double same[4] = {1, 1, 1, 1};
    lm_source_grid grid = {0};
    lm_source_shape fine = regular(5, 5);
    EQUAL_INT(lm_source_grid_lay(&grid, &fine, 4, same, same, &err), LM_EINPUT);
    CONTAINS(err.text, "no source grid can be laid");
    lm_source_grid_done(&grid);
}
