/* Convergence on pixels against sums made elsewhere, integrals, its own derivatives, and its adjoint. */
#include "tests/test.h"
#include "tests/unit/lensing/reference.h"

#include "operators/core/fft.h"
#include "operators/core/lensing/kappa_map.h"

#include <math.h>
#include <string.h>

enum { MAPS = 6 };

static lm_mass_maps maps_in(double *to, size_t n)
{
    memset(to, 0, MAPS * n * sizeof *to);
    return (lm_mass_maps){to, to + n, to + 2 * n, to + 3 * n, to + 4 * n, to + 5 * n};
}

/* The same numbers on every machine, in [-1, 1). */
static double noise(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 11) / 4503599627370496.0 - 1;
}

static lm_kappa_kernel *kernel_of(const lm_kappa_grid *grid, bool anywhere)
{
    lm_kappa_kernel *kernel = NULL;
    lm_error err = {0};
    OK(lm_kappa_kernel_new(grid, anywhere, &kernel, &err), &err);
    return kernel;
}

static lm_kappa_field *field_of(const lm_kappa_grid *grid, const double *kappa)
{
    LM_OWN(lm_kappa_kernel) kernel = kernel_of(grid, true);
    lm_kappa_field *field = NULL;
    lm_error err = {0};
    OK(lm_kappa_field_new(kernel, kappa, &field, &err), &err);
    return field;
}

static void centres(const lm_kappa_grid *grid, double *x, double *y)
{
    for (size_t i = 0; i < grid->ny * grid->nx; i++) {
        x[i] = grid->x + ((double)(i % grid->nx) - ((double)grid->nx - 1) / 2) * grid->pixel;
        y[i] = grid->y + ((double)(i / grid->nx) - ((double)grid->ny - 1) / 2) * grid->pixel;
    }
}

/* Not square, off the origin, with pixels that jump. */
enum { NY = 11, NX = 14, PIXELS = NY * NX };
static const lm_kappa_grid small = {NY, NX, 0.07, 0.3, -0.2};
static void jumps(double *kappa)
{
    uint64_t state = 7;
    for (size_t i = 0; i < PIXELS; i++) kappa[i] = 0.3 + 0.5 * noise(&state);
    kappa[5 * NX + 6] = 4;
    kappa[0] = -1;
}

/* ---- references -------------------------------------------------------------------------------------------------- */

TEST(maps_equal_the_reference)
{
    enum { N = 64 * 64 };
    const char *path = test_shared("reference/lens/pixelated_kappa.fits");
    size_t n = 0;
    double *kappa = reference_hdu(path, "KAPPA", &n);
    EQUAL_INT(n, N);
    double *want = reference_hdu(path, "EXACT", &n); /* alpha_x, alpha_y, kappa, psi */
    EQUAL_INT(n, 4 * N);
    lm_kappa_grid grid = {64, 64, 0.08, 0, 0};
    LM_OWN(lm_kappa_kernel) kernel = kernel_of(&grid, false);
    double *got = lm_alloc(2 * MAPS * N, sizeof *got);
    CHECK(got);
    lm_mass_maps maps = maps_in(got, N);
    lm_error err = {0};
    OK(lm_kappa_at_centres(kernel, kappa, &maps, &err), &err);
    NEAR_ARRAY(maps.alpha_x, want, N, REL(1e-14));
    NEAR_ARRAY(maps.alpha_y, want + N, N, REL(1e-14));
    NEAR_ARRAY(maps.kappa, want + 2 * N, N, ABS(0));
    NEAR_ARRAY(maps.psi, want + 3 * N, N, REL(1e-14));
    /* the sum over pixels, at the centres and elsewhere */
    double x[N], y[N];
    centres(&grid, x, y);
    lm_mass_maps sum = maps_in(got + MAPS * N, N);
    lm_kappa_sum(&grid, kappa, N, x, y, &sum);
    for (size_t m = 0; m < MAPS; m++) NEAR_ARRAY(got + m * N, got + (MAPS + m) * N, N, REL(3e-14));
    lm_free(kappa), lm_free(want), lm_free(got);
}

/* Gauss-Legendre of 12 points a side, halved towards the position until a piece lies away from it. */
static void integrate(double x, double y, double cx, double cy, double side, int depth, double ret[MAPS])
{
    static const double node[6][2] = {
        {0.1252334085114689, 0.2491470458134028}, {0.3678314989981802, 0.2334925365383548},
        {0.5873179542866175, 0.2031674267230659}, {0.7699026741943047, 0.1600783285433462},
        {0.9041172563704749, 0.1069393259953184}, {0.9815606342467192, 0.0471753363865118}};
    double off = fmax(fabs(x - cx), fabs(y - cy));
    if (off < side && depth < 45) {
        for (int i = 0; i < 4; i++)
            integrate(x, y, cx + (i & 1 ? side : -side) / 4, cy + (i & 2 ? side : -side) / 4, side / 2, depth + 1, ret);
        return;
    }
    if (off < side) return; /* what is left is 1e-13 wide */
    for (int a = 0; a < 12; a++)
        for (int b = 0; b < 12; b++) {
            double dx = x - cx - (a & 1 ? side : -side) / 2 * node[a / 2][0];
            double dy = y - cy - (b & 1 ? side : -side) / 2 * node[b / 2][0], r2 = dx * dx + dy * dy;
            double w = side * side / 4 * node[a / 2][1] * node[b / 2][1] / M_PI;
            ret[0] += w * log(r2) / 2, ret[1] += w * dx / r2, ret[2] += w * dy / r2;
            ret[4] -= w * (dx * dx - dy * dy) / (r2 * r2), ret[5] -= w * 2 * dx * dy / (r2 * r2);
        }
}

TEST(one_pixel_equals_the_integral)
{
    static const double places[][2] = {{0.1, 0.2},  {-0.3, 0.4}, {0.2, -0.9}, {1.4, 1.1},   {2.999, 0}, {3.001, 0},
                                       {-2, 2.3},   {0, -7.9},   {5.7, 5.7},  {-60, 79.99}, {60, 81},   {0, 0},
                                       {0.7, 0.49}, {0, 0.3},    {1.2, 0.5},  {-400, 3}};
    const lm_kappa_grid grid = {1, 1, 0.3, 1, -2};
    double one = 1;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        double x = places[i][0], y = places[i][1], want[MAPS] = {0}, got[MAPS];
        bool inside = fabs(x) < 0.5 && fabs(y) < 0.5;
        integrate(x, y, 0, 0, 1, 0, want);
        double at_x = 1 + 0.3 * x, at_y = -2 + 0.3 * y;
        lm_mass_maps maps = maps_in(got, 1);
        lm_kappa_sum(&grid, &one, 1, &at_x, &at_y, &maps);
        double scale = 1 + 1 / hypot(x, y);
        NEAR(got[0], 0.09 * (want[0] + log(0.3) / M_PI), ABS(2e-13)); /* the nodes' digits, what depth leaves out */
        NEAR(got[1], 0.3 * want[1], ABS(2e-13));
        NEAR(got[2], 0.3 * want[2], ABS(2e-13));
        NEAR(got[3], inside, ABS(1e-15));
        if (!inside) { /* inside, the shear's integral converges only if taken symmetrically */
            NEAR(got[4], want[4], ABS(2e-13 * scale));
            NEAR(got[5], want[5], ABS(2e-13 * scale));
        }
    }
    double x = 1, y = -2, got[MAPS]; /* at its centre: no deflection, no shear */
    lm_mass_maps maps = maps_in(got, 1);
    lm_kappa_sum(&grid, &one, 1, &x, &y, &maps);
    NEAR_ARRAY(got + 1, ((double[]){0, 0, 1, 0, 0}), 5, ABS(1e-15));
    /* the two forms of its potential meet */
    for (int m = 0; m < MAPS; m++) {
        double at[4][MAPS];
        for (int side = 0; side < 4; side++) {
            double u = 1 + 0.3 * 2.4, r = (3 + (side - 1.5) * 1e-6) * 0.3, v = -2 + sqrt(r * r - 0.72 * 0.72);
            lm_mass_maps to = maps_in(at[side], 1);
            lm_kappa_sum(&grid, &one, 1, &u, &v, &to);
        }
        NEAR(at[1][m] - at[0][m], at[3][m] - at[2][m], ABS(1e-12)); /* rounding, second differences of 1e-12 */
        NEAR(at[2][m] - at[1][m], at[3][m] - at[2][m], ABS(1e-12));
    }
}

/* A Gaussian of mass 1, alpha = (1 - exp(-r^2/2 s^2))/(pi r): pixels change alpha as the header says. */
TEST(samples_of_a_smooth_convergence_are_corrected_by_its_gradient)
{
    enum { N = 64 };
    const double pixel = 0.125, s2 = 0.36;
    lm_kappa_grid grid = {N, N, pixel, 0, 0};
    double *kappa = lm_alloc((3 + MAPS) * N * N, sizeof *kappa), worst[2] = {0};
    CHECK(kappa);
    double *x = kappa + N * N, *y = x + N * N;
    centres(&grid, x, y);
    for (size_t i = 0; i < N * N; i++) kappa[i] = exp(-(x[i] * x[i] + y[i] * y[i]) / 2 / s2) / (2 * M_PI * s2);
    LM_OWN(lm_kappa_kernel) kernel = kernel_of(&grid, false);
    lm_error err = {0};
    lm_mass_maps maps = maps_in(y + N * N, N * N);
    OK(lm_kappa_at_centres(kernel, kappa, &maps, &err), &err);
    for (size_t i = 0; i < N * N; i++) {
        double r2 = x[i] * x[i] + y[i] * y[i], off = maps.alpha_x[i] + expm1(-r2 / 2 / s2) * x[i] / (M_PI * r2);
        double corrected = off + pixel * pixel / 6 * kappa[i] * x[i] / s2;
        if (!(fabs(off) <= worst[0])) worst[0] = fabs(off);
        if (!(fabs(corrected) <= worst[1])) worst[1] = fabs(corrected);
    }
    double gradient = exp(-0.5) / (2 * M_PI * s2) / sqrt(s2); /* the steepest */
    NEAR(worst[0], pixel * pixel / 6 * gradient, REL(0.05));
    CHECK(worst[1] < worst[0] / 40);
    lm_free(kappa);
}

/* ---- derivatives ------------------------------------------------------------------------------------------------- */

TEST(maps_are_derivatives_of_the_potential)
{
    double kappa[PIXELS], h = 1e-5;
    jumps(kappa);
    LM_OWN(lm_kappa_field) field = field_of(&small, kappa);
    uint64_t state = 3;
    for (int i = 0; i < 300; i++) {
        double reach = i % 3 ? 0.5 : 1.5, x0 = small.x + reach * NX * small.pixel * noise(&state);
        double y0 = small.y + reach * NY * small.pixel * noise(&state);
        double column = (x0 - small.x) / small.pixel + NX / 2.0, row = (y0 - small.y) / small.pixel + NY / 2.0;
        if (fabs(column - round(column)) < 0.02 || fabs(row - round(row)) < 0.02) continue; /* a jump of kappa */
        static const double step[9][2] = {{0, 0}, {-2, 0}, {-1, 0}, {1, 0}, {2, 0}, {0, -2}, {0, -1}, {0, 1}, {0, 2}};
        double x[9], y[9], one[MAPS * 9], other[MAPS * 9];
        for (int s = 0; s < 9; s++) x[s] = x0 + h * step[s][0], y[s] = y0 + h * step[s][1];
        lm_mass_maps sum = maps_in(one, 9), fast = maps_in(other, 9);
        lm_kappa_sum(&small, kappa, 9, x, y, &sum);
        lm_kappa_field_add(field, 9, x, y, &fast);
        for (int which = 0; which < 2; which++) {
            lm_mass_maps at = which ? fast : sum;
            double k = at.kappa[0], g1 = at.gamma1[0], g2 = at.gamma2[0];
#define ALONG_X(f) ((8 * ((f)[3] - (f)[2]) - ((f)[4] - (f)[1])) / (12 * h))
#define ALONG_Y(f) ((8 * ((f)[7] - (f)[6]) - ((f)[8] - (f)[5])) / (12 * h))
            /* rounding over the step */
            NEAR(ALONG_X(at.psi), at.alpha_x[0], ABS(1e-9));
            NEAR(ALONG_Y(at.psi), at.alpha_y[0], ABS(1e-9));
            NEAR(ALONG_X(at.alpha_x), k + g1, ABS(2e-9));
            NEAR(ALONG_Y(at.alpha_y), k - g1, ABS(2e-9));
            NEAR(ALONG_Y(at.alpha_x), g2, ABS(2e-9));
            NEAR(ALONG_X(at.alpha_y), g2, ABS(2e-9));
        }
    }
}

/* ---- anywhere ---------------------------------------------------------------------------------------------------- */

static void same_as_the_sum(const lm_kappa_grid *grid, const double *kappa, double reach, size_t n)
{
    LM_OWN(lm_kappa_field) field = field_of(grid, kappa);
    double *x = lm_alloc(n, (2 + 2 * MAPS) * sizeof *x), *y = x + n, most = 0;
    CHECK(x);
    uint64_t state = 11;
    for (size_t i = 0; i < n; i++) {
        x[i] = grid->x + reach * (double)grid->nx * grid->pixel / 2 * noise(&state);
        y[i] = grid->y + reach * (double)grid->ny * grid->pixel / 2 * noise(&state);
    }
    for (size_t i = 0; i < grid->ny * grid->nx; i++) most = fmax(most, fabs(kappa[i]));
    lm_mass_maps sum = maps_in(y + n, n), fast = maps_in(y + (1 + MAPS) * n, n);
    lm_kappa_sum(grid, kappa, n, x, y, &sum);
    lm_kappa_field_add(field, n, x, y, &fast);
    double size = (double)(grid->nx + grid->ny); /* sums over more pixels round more */
    NEAR_ARRAY(fast.psi, sum.psi, n, ABS((1e-12 + 1e-14 * size * size) * grid->pixel * grid->pixel * most));
    NEAR_ARRAY(fast.alpha_x, sum.alpha_x, n, ABS((1e-11 + 1e-14 * size) * grid->pixel * most));
    NEAR_ARRAY(fast.alpha_y, sum.alpha_y, n, ABS((1e-11 + 1e-14 * size) * grid->pixel * most));
    NEAR_ARRAY(fast.kappa, sum.kappa, n, ABS(1e-14 * most));
    NEAR_ARRAY(fast.gamma1, sum.gamma1, n, ABS(1e-9 * most));
    NEAR_ARRAY(fast.gamma2, sum.gamma2, n, ABS(1e-9 * most));
    if (getenv("LENSING_VERBOSE"))
        for (int m = 0; m < MAPS; m++) {
            double worst = 0;
            for (size_t i = 0; i < n; i++)
                worst = fmax(worst, fabs(y[(size_t)(1 + m) * n + i] - y[(size_t)(1 + MAPS + m) * n + i]));
            printf("%zu x %zu, reach %g, map %d: %.1e\n", grid->ny, grid->nx, reach, m, worst);
        }
    lm_free(x);
}

TEST(a_field_equals_the_sum)
{
    double kappa[PIXELS];
    jumps(kappa);
    same_as_the_sum(&small, kappa, 0.999, 4000);
    same_as_the_sum(&small, kappa, 3, 3000); /* outside, near and far */
    same_as_the_sum(&small, kappa, 100, 300);
    for (size_t i = 0; i < PIXELS; i++) kappa[i] = 1; /* far pixels add up */
    same_as_the_sum(&small, kappa, 0.999, 1000);
    for (size_t i = 0; i < PIXELS; i++) kappa[i] = (i % NX + i / NX) % 2 ? 1 : -1;
    same_as_the_sum(&small, kappa, 0.999, 1000);
    lm_kappa_grid odd[] = {{1, 1, 2, 0, 0}, {1, 9, 0.5, 1, 1}, {40, 3, 0.1, 0, 5}, {57, 64, 0.05, 0, 0}};
    double many[57 * 64];
    uint64_t state = 5;
    for (size_t i = 0; i < 57 * 64; i++) many[i] = noise(&state);
    for (size_t i = 0; i < 4; i++) same_as_the_sum(&odd[i], many, 0.999, 300), same_as_the_sum(&odd[i], many, 4, 100);
}

TEST(corners_of_pixels_are_finite)
{
    double kappa[PIXELS], x[(NX + 1) * (NY + 1)], y[(NX + 1) * (NY + 1)], got[2 * MAPS * (NX + 1) * (NY + 1)];
    enum { CORNERS = (NX + 1) * (NY + 1) };
    jumps(kappa);
    LM_OWN(lm_kappa_field) field = field_of(&small, kappa);
    for (size_t i = 0; i < CORNERS; i++) {
        x[i] = small.x + ((double)(i % (NX + 1)) - NX / 2.0) * small.pixel;
        y[i] = small.y + ((double)(i / (NX + 1)) - NY / 2.0) * small.pixel;
    }
    lm_mass_maps sum = maps_in(got, CORNERS), fast = maps_in(got + MAPS * CORNERS, CORNERS);
    lm_kappa_sum(&small, kappa, CORNERS, x, y, &sum);
    lm_kappa_field_add(field, CORNERS, x, y, &fast);
    for (size_t i = 0; i < 2 * MAPS * CORNERS; i++) CHECK(isfinite(got[i]));
    NEAR_ARRAY(fast.alpha_x, sum.alpha_x, CORNERS, ABS(1e-11));
    NEAR_ARRAY(fast.psi, sum.psi, CORNERS, ABS(1e-12));
}

/* Twice the half diagonal out, moments take over: least good for what lies in a corner, seen from there. */
TEST(moments_reach_down_to_where_they_begin)
{
    enum { N = 64 };
    double kappa[PIXELS] = {0}, x[N], y[N], one[MAPS * N], other[MAPS * N];
    kappa[PIXELS - 1] = 1;
    LM_OWN(lm_kappa_field) field = field_of(&small, kappa);
    double half = hypot(NX, NY) / 2 * small.pixel, towards = atan2(NY, NX);
    for (int i = 0; i < N; i++) { /* from 0.004 half diagonals inside to as much outside */
        double r = half * (2 + (i - 31.5) / 8000), turn = towards + 0.002 * (i % 8);
        x[i] = small.x + r * cos(turn), y[i] = small.y + r * sin(turn);
    }
    lm_mass_maps sum = maps_in(one, N), fast = maps_in(other, N);
    lm_kappa_sum(&small, kappa, N, x, y, &sum);
    lm_kappa_field_add(field, N, x, y, &fast);
    for (int m = 0; m < MAPS; m++)
        NEAR_ARRAY(other + m * N, one + m * N, N, REL(2e-14)); /* 2^-52 by 53, for the shear */
}

/* Far away it is a point mass, theta_E^2 = sum kappa pixel^2/pi. */
TEST(from_afar_it_is_a_point)
{
    double kappa[PIXELS], mass = 0, got[MAPS], want[MAPS], x = 3e5, y = -4e5, cx = 0, cy = 0, px[PIXELS], py[PIXELS];
    jumps(kappa);
    centres(&small, px, py);
    for (size_t i = 0; i < PIXELS; i++) mass += kappa[i], cx += kappa[i] * px[i], cy += kappa[i] * py[i];
    lm_mass point = {LM_MASS_POINT, {small.pixel * sqrt(mass / M_PI), cx / mass, cy / mass}};
    LM_OWN(lm_kappa_field) field = field_of(&small, kappa);
    lm_mass_maps to = maps_in(got, 1), at = maps_in(want, 1);
    lm_kappa_field_add(field, 1, &x, &y, &to);
    lm_mass_add(&point, 1, &x, &y, &at);
    for (int m = 0; m < MAPS; m++) NEAR(got[m], want[m], REL(1e-11)); /* its quadrupole is 1e-11 there */
}

/* ---- the adjoint ------------------------------------------------------------------------------------------------- */

TEST(the_adjoint_is_one)
{
    static const lm_kappa_grid grids[] = {{NY, NX, 0.07, 0.3, -0.2}, {1, 1, 1, 0, 0}, {32, 32, 0.05, 0, 0}};
    enum { MOST = 32 * 32 };
    static double u[MOST], v[MAPS * MOST], ku[MAPS * MOST], kv[MOST];
    for (size_t g = 0; g < 3; g++) {
        size_t n = grids[g].ny * grids[g].nx;
        LM_OWN(lm_kappa_kernel) kernel = kernel_of(&grids[g], false);
        uint64_t state = 17;
        for (int which = 0; which <= MAPS; which++) { /* one map, then all */
            for (size_t i = 0; i < n; i++) u[i] = noise(&state);
            for (size_t i = 0; i < MAPS * n; i++) v[i] = noise(&state);
            double *parts[MAPS];
            for (int m = 0; m < MAPS; m++) parts[m] = which == m || which == MAPS ? v + (size_t)m * n : NULL;
            lm_mass_maps all = maps_in(ku, n), by = {parts[0], parts[1], parts[2], parts[3], parts[4], parts[5]};
            lm_error err = {0};
            OK(lm_kappa_at_centres(kernel, u, &all, &err), &err);
            memset(kv, 0, n * sizeof *kv);
            OK(lm_kappa_adjoint(kernel, &by, kv, &err), &err);
            double left = 0, right = 0, size = 0;
            for (int m = 0; m < MAPS; m++)
                if (parts[m])
                    for (size_t i = 0; i < n; i++) {
                        left += parts[m][i] * ku[(size_t)m * n + i];
                        size += fabs(parts[m][i] * ku[(size_t)m * n + i]);
                    }
            for (size_t i = 0; i < n; i++) right += kv[i] * u[i];
            NEAR(left, right, ABS(1e-13 * fmax(fabs(left), 0.05 * size) + 1e-16));
        }
    }
}

TEST(the_adjoint_anywhere_is_one)
{
    enum { N = 700 };
    static double x[N], y[N], v[MAPS * N], ku[MAPS * N], kv[PIXELS];
    double u[PIXELS];
    LM_OWN(lm_kappa_kernel) kernel = kernel_of(&small, true);
    lm_error err = {0};
    uint64_t state = 23;
    for (int which = 0; which <= MAPS; which++) {
        for (size_t i = 0; i < PIXELS; i++) u[i] = noise(&state);
        for (size_t i = 0; i < MAPS * N; i++) v[i] = noise(&state);
        for (size_t i = 0; i < N; i++) { /* most inside, others near and far */
            double reach = i % 8 ? 0.999 : 8;
            x[i] = small.x + reach * NX * small.pixel / 2 * noise(&state);
            y[i] = small.y + reach * NY * small.pixel / 2 * noise(&state);
        }
        double *parts[MAPS];
        for (int m = 0; m < MAPS; m++) parts[m] = which == m || which == MAPS ? v + (size_t)m * N : NULL;
        lm_mass_maps all = maps_in(ku, N), by = {parts[0], parts[1], parts[2], parts[3], parts[4], parts[5]};
        lm_kappa_field *field = NULL;
        OK(lm_kappa_field_new(kernel, u, &field, &err), &err);
        lm_kappa_field_add(field, N, x, y, &all);
        lm_kappa_field_free(field);
        memset(kv, 0, sizeof kv);
        OK(lm_kappa_field_adjoint(kernel, N, x, y, &by, kv, &err), &err);
        double left = 0, right = 0, size = 0;
        for (int m = 0; m < MAPS; m++)
            if (parts[m])
                for (size_t i = 0; i < N; i++) {
                    left += parts[m][i] * ku[(size_t)m * N + i];
                    size += fabs(parts[m][i] * ku[(size_t)m * N + i]);
                }
        for (size_t i = 0; i < PIXELS; i++) right += kv[i] * u[i];
        NEAR(left, right, ABS(1e-13 * fmax(fabs(left), 0.05 * size)));
    }
    x[5] = NAN;
    EQUAL_INT(lm_kappa_field_adjoint(kernel, N, x, y, &(lm_mass_maps){.psi = v}, kv, &err), LM_EINPUT);
    CONTAINS(err.text, "at position 5");
}

/* Both add, and leave alone what is not asked for. */
TEST(results_are_added)
{
    double kappa[PIXELS], once[MAPS * PIXELS], twice[MAPS * PIXELS], grad[2][PIXELS] = {{0}};
    jumps(kappa);
    LM_OWN(lm_kappa_kernel) kernel = kernel_of(&small, false);
    lm_error err = {0};
    lm_mass_maps a = maps_in(once, PIXELS), b = maps_in(twice, PIXELS);
    OK(lm_kappa_at_centres(kernel, kappa, &a, &err), &err);
    OK(lm_kappa_at_centres(kernel, kappa, &(lm_mass_maps){.alpha_y = b.alpha_y}, &err), &err);
    for (int i = 0; i < 2; i++) OK(lm_kappa_at_centres(kernel, kappa, &(lm_mass_maps){.psi = b.psi}, &err), &err);
    NEAR_ARRAY(b.alpha_y, a.alpha_y, PIXELS, ABS(0));
    for (size_t i = 0; i < PIXELS; i++) {
        NEAR(b.psi[i], 2 * a.psi[i], REL(1e-15));
        NEAR(b.alpha_x[i], 0, ABS(0));
    }
    OK(lm_kappa_adjoint(kernel, &(lm_mass_maps){.gamma2 = kappa}, grad[0], &err), &err);
    for (int i = 0; i < 2; i++) OK(lm_kappa_adjoint(kernel, &(lm_mass_maps){.gamma2 = kappa}, grad[1], &err), &err);
    for (size_t i = 0; i < PIXELS; i++) NEAR(grad[1][i], 2 * grad[0][i], REL(1e-15));
}

/* ---- what is refused --------------------------------------------------------------------------------------------- */

TEST(impossible_images_are_named)
{
    lm_error err = {0};
    lm_kappa_kernel *kernel = NULL;
    lm_kappa_grid bad[] = {{0, 4, 1, 0, 0},   {4, 0, 1, 0, 0},        {4, 4, 0, 0, 0},
                           {4, 4, NAN, 0, 0}, {4, 4, 1, INFINITY, 0}, {1u << 30, 1, 1, 0, 0}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        EQUAL_INT(lm_kappa_kernel_new(&bad[i], true, &kernel, &err), LM_EINPUT);
    CHECK(!kernel);
    double kappa[PIXELS], out[PIXELS] = {0};
    jumps(kappa);
    kappa[2 * NX + 3] = NAN;
    LM_OWN(lm_kappa_kernel) good = kernel_of(&small, false);
    EQUAL_INT(lm_kappa_at_centres(good, kappa, &(lm_mass_maps){.psi = out}, &err), LM_EINPUT);
    CONTAINS(err.text, "convergence is nan at pixel (3, 2)");
    EQUAL_INT(lm_kappa_adjoint(good, &(lm_mass_maps){.alpha_x = kappa}, out, &err), LM_EINPUT);
    for (size_t i = 0; i < PIXELS; i++) NEAR(out[i], 0, ABS(0));
    lm_kappa_field *field = NULL;
    kappa[2 * NX + 3] = 0;
    EQUAL_INT(lm_kappa_field_new(good, kappa, &field, &err), LM_EINPUT);
    CONTAINS(err.text, "centres only");
    CHECK(!field);
}

static lm_status whole(lm_error *err)
{
    double kappa[PIXELS], out[PIXELS] = {0};
    jumps(kappa);
    LM_OWN(lm_kappa_kernel) kernel = NULL;
    LM_TRY(lm_kappa_kernel_new(&small, true, &kernel, err));
    LM_TRY(lm_kappa_at_centres(kernel, kappa, &(lm_mass_maps){.psi = out}, err));
    LM_TRY(lm_kappa_adjoint(kernel, &(lm_mass_maps){.psi = kappa}, out, err));
    LM_OWN(lm_kappa_field) field = NULL;
    LM_TRY(lm_kappa_field_new(kernel, kappa, &field, err));
    LM_TRY(lm_kappa_field_adjoint(kernel, PIXELS, kappa, kappa, &(lm_mass_maps){.psi = kappa}, out, err));
    return LM_OK;
}

TEST(every_failed_allocation_is_survived)
{
    for (uint64_t at = 1;; at++) {
        lm_error err = {0};
        lm_fft_forget(); /* else plans are made once */
        lm_alloc_fail_at(at);
        lm_status status = whole(&err);
        lm_alloc_fail_at(0);
        if (!status) {
            CHECK(at > 15);
            return;
        }
        EQUAL_INT(status, LM_EMEMORY);
    }
}
