/* Priors against the sums that define them. */
#include "tests/test.h"

#include "operators/core/lensing/regularisation.h"
#include "runtime/random.h"

#include <math.h>
#include <string.h>

enum { H = 7, W = 9, N = H * W };

static void lay_regular(lm_source_grid *grid, size_t h, size_t w, double pixel)
{
    lm_error err = {0};
    lm_source_shape shape = {.kind = LM_SOURCE_REGULAR, .h = h, .w = w, .pixel = pixel};
    OK(lm_source_grid_lay(grid, &shape, 0, NULL, NULL, &err), &err);
}

static void fill(double *s, size_t n, uint8_t seed)
{
    lm_digest key = {{seed}};
    lm_random random = lm_random_stream(&key, 0);
    for (size_t i = 0; i < n; i++) s[i] = lm_random_normal(&random);
}

static double form(const lm_regularisation *reg, const double *s)
{
    static double Hs[2 * N];
    CHECK(reg->n <= 2 * N);
    double sum = 0;
    lm_regularisation_apply(reg, s, Hs);
    for (size_t i = 0; i < reg->n; i++) sum += s[i] * Hs[i];
    return sum;
}

/* s at (row, column), 0 beyond. */
static double at(const double *s, size_t h, size_t w, long j, long i)
{
    return j < 0 || i < 0 || j >= (long)h || i >= (long)w ? 0 : s[j * (long)w + i];
}

static double by_definition(lm_prior_kind kind, const double *s, size_t h, size_t w)
{
    double sum = 0;
    for (long j = 0; j < (long)h; j++)
        for (long i = 0; i < (long)w; i++) {
            double here = at(s, h, w, j, i), right = at(s, h, w, j, i + 1), up = at(s, h, w, j + 1, i);
            if (kind == LM_PRIOR_ZEROTH) sum += here * here;
            if (kind == LM_PRIOR_GRADIENT) sum += (here - right) * (here - right) + (here - up) * (here - up);
            if (kind == LM_PRIOR_CURVATURE)
                sum += pow(at(s, h, w, j, i - 1) - 2 * here + right, 2) + pow(at(s, h, w, j - 1, i) - 2 * here + up, 2);
        }
    return sum;
}

TEST(forms_on_a_grid_are_their_sums)
{
    static const size_t sides[][2] = {{H, W}, {1, W}, {H, 1}, {2, 2}, {2, 5}, {5, 2}, {3, 3}, {1, 1}, {1, 2}};
    lm_error err = {0};
    double s[N];
    for (size_t k = 0; k < sizeof sides / sizeof *sides; k++)
        for (lm_prior_kind kind = LM_PRIOR_ZEROTH; kind <= LM_PRIOR_CURVATURE; kind++) {
            lm_source_grid grid = {0};
            lm_regularisation reg = {0};
            lay_regular(&grid, sides[k][0], sides[k][1], 0.1);
            OK(lm_regularisation_make(&reg, &(lm_prior){.kind = kind}, &grid, &err), &err);
            fill(s, grid.n, (uint8_t)(k + 1));
            NEAR(form(&reg, s), by_definition(kind, s, sides[k][0], sides[k][1]), REL(1e-13));
            lm_regularisation_done(&reg);
            lm_source_grid_done(&grid);
        }
}

/* ln|H| of the gradient in one dimension: the determinant of a chain that is held at one end is 1. */
TEST(determinants_are_known_ones)
{
    lm_error err = {0};
    lm_source_grid grid = {0};
    lm_regularisation reg = {0};
    lay_regular(&grid, 4, 4, 1);
    OK(lm_regularisation_make(&reg, &(lm_prior){.kind = LM_PRIOR_ZEROTH}, &grid, &err), &err);
    NEAR(reg.ln_H, 0, ABS(1e-15));
    /* of the sum over axes, the eigenvalues are sums of those of one axis: 2 - 2 cos((2k + 1) pi/(2n + 1)) */
    OK(lm_regularisation_make(&reg, &(lm_prior){.kind = LM_PRIOR_GRADIENT}, &grid, &err), &err);
    double sum = 0;
    for (int a = 0; a < 4; a++)
        for (int b = 0; b < 4; b++)
            sum += log(4 - 2 * cos((2 * a + 1) * acos(-1) / 9) - 2 * cos((2 * b + 1) * acos(-1) / 9));
    NEAR(reg.ln_H, sum, REL(1e-13));
    lm_regularisation_done(&reg);
    lm_source_grid_done(&grid);
}

/* H C = 1 with C by its formula, and ln|H| = -ln|C|. */
TEST(gaussian_processes_invert_their_correlation)
{
    static double C[N * N], row[N], back[N];
    lm_error err = {0};
    lm_source_grid grid = {0};
    lay_regular(&grid, H, W, 0.2);
    for (lm_prior_kind kind = LM_PRIOR_EXPONENTIAL; kind <= LM_PRIOR_MATERN52; kind++) {
        lm_regularisation reg = {0};
        const lm_prior prior = {.kind = kind, .length = 0.3, .jitter = 1e-6};
        OK(lm_regularisation_make(&reg, &prior, &grid, &err), &err);
        for (size_t i = 0; i < N; i++)
            for (size_t j = 0; j < N; j++) {
                double d = hypot(grid.vx[i] - grid.vx[j], grid.vy[i] - grid.vy[j]) / 0.3, r = sqrt(3) * d,
                       q = sqrt(5) * d;
                C[i * N + j] = (kind == LM_PRIOR_EXPONENTIAL           ? exp(-d)
                                : kind == LM_PRIOR_SQUARED_EXPONENTIAL ? exp(-d * d / 2)
                                : kind == LM_PRIOR_MATERN32            ? (1 + r) * exp(-r)
                                                                       : (1 + q + q * q / 3) * exp(-q)) +
                               (i == j ? 1e-6 : 0);
            }
        for (size_t i = 0; i < N; i++) {
            memcpy(row, C + i * N, sizeof row);
            lm_regularisation_apply(&reg, row, back);
            for (size_t j = 0; j < N; j++) NEAR(back[j], i == j, ABS(1e-8)); /* condition up to 1e7 */
        }
        LM_OWN(lm_cholesky) c = NULL;
        OK(lm_cholesky_new(&c, &err), &err);
        OK(lm_cholesky_dense(c, C, N, "C", &err), &err);
        NEAR(reg.ln_H, -lm_cholesky_ln_det(c), ABS(1e-9));
        lm_regularisation_done(&reg);
    }
    lm_source_grid_done(&grid);
}

/* The correlation of a power law by a direct sum over waves on twice the sides. */
TEST(power_law_has_its_spectrum)
{
    static double C[N * N], row[N], back[N];
    lm_error err = {0};
    lm_source_grid grid = {0};
    lm_regularisation reg = {0};
    lay_regular(&grid, H, W, 0.2);
    const lm_prior prior = {.kind = LM_PRIOR_POWER, .slope = 3, .jitter = 1e-7};
    OK(lm_regularisation_make(&reg, &prior, &grid, &err), &err);
    double peak = 0, longest = 1.0 / (2 * W);
    static double c[2 * H][2 * W];
    for (int dy = 0; dy < 2 * H; dy++)
        for (int dx = 0; dx < 2 * W; dx++) {
            c[dy][dx] = 0;
            for (int a = -H; a < H; a++)
                for (int b = -W; b < W; b++) {
                    double k = hypot((double)a / (2 * H), (double)b / (2 * W));
                    c[dy][dx] += pow(fmax(k, longest), -3) *
                                 cos(2 * acos(-1) * ((double)(a * dy) / (2 * H) + (double)(b * dx) / (2 * W)));
                }
        }
    peak = c[0][0];
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++) {
            long dy = labs((long)(i / W) - (long)(j / W)), dx = (long)(i % W) - (long)(j % W);
            C[i * N + j] =
                c[dy][i / W >= j / W ? (dx + 2 * W) % (2 * W) : (2 * W - dx) % (2 * W)] / peak + (i == j ? 1e-7 : 0);
        }
    for (size_t i = 0; i < N; i++) {
        memcpy(row, C + i * N, sizeof row);
        lm_regularisation_apply(&reg, row, back);
        for (size_t j = 0; j < N; j++) NEAR(back[j], i == j, ABS(1e-9));
    }
    lm_regularisation_done(&reg);
    lm_source_grid_done(&grid);
}

/* What a regularisation keeps is made anew where something else is asked for. */
TEST(kept_priors_follow_what_is_asked)
{
    lm_error err = {0};
    lm_source_grid grid = {0};
    lm_regularisation kept = {0};
    double s[N];
    fill(s, N, 4);
    static const struct {
        lm_prior prior;
        double pixel;
        size_t h;
    } asked[] = {{{.kind = LM_PRIOR_GRADIENT}, 0.1, H},
                 {{.kind = LM_PRIOR_GRADIENT}, 0.2, H},
                 {{.kind = LM_PRIOR_MATERN32, .length = 0.3}, 0.2, H},
                 {{.kind = LM_PRIOR_MATERN32, .length = 0.3}, 0.1, H},
                 {{.kind = LM_PRIOR_MATERN32, .length = 0.2}, 0.1, H},
                 {{.kind = LM_PRIOR_POWER, .slope = 2}, 0.1, H},
                 {{.kind = LM_PRIOR_POWER, .slope = 2.5}, 0.1, H},
                 {{.kind = LM_PRIOR_CURVATURE}, 0.1, H - 2},
                 {{.kind = LM_PRIOR_CURVATURE}, 0.1, H}};
    for (size_t k = 0; k < sizeof asked / sizeof *asked; k++) {
        lm_regularisation fresh = {0};
        lay_regular(&grid, asked[k].h, W, asked[k].pixel);
        OK(lm_regularisation_make(&kept, &asked[k].prior, &grid, &err), &err);
        OK(lm_regularisation_make(&fresh, &asked[k].prior, &grid, &err), &err);
        NEAR(kept.ln_H, fresh.ln_H, ABS(0));
        NEAR(form(&kept, s), form(&fresh, s), ABS(0));
        lm_regularisation_done(&fresh);
    }
    lm_regularisation_done(&kept);
    lm_source_grid_done(&grid);
}

/* On a square grid the cotangent form is the sum over neighbours, borders aside. */
TEST(triangles_on_a_square_grid_give_the_gradient)
{
    enum { SIDE = 8 };
    double x[SIDE * SIDE], y[SIDE * SIDE], s[SIDE * SIDE] = {0}, t[SIDE * SIDE];
    lm_error err = {0};
    lm_source_grid grid = {0};
    lm_regularisation reg = {0};
    for (size_t i = 0; i < SIDE * SIDE; i++) {
        x[i] = 0.3 * (double)(i % SIDE);
        y[i] = 0.3 * (double)(i / SIDE);
    }
    lm_source_shape shape = {.kind = LM_SOURCE_DELAUNAY, .n = SIDE * SIDE, .pixel = NAN};
    OK(lm_source_grid_lay(&grid, &shape, SIDE * SIDE, x, y, &err), &err);
    OK(lm_regularisation_make(&reg, &(lm_prior){.kind = LM_PRIOR_GRADIENT}, &grid, &err), &err);
    fill(t, SIDE * SIDE, 7);
    for (size_t j = 1; j + 1 < SIDE; j++)
        for (size_t i = 1; i + 1 < SIDE; i++) s[j * SIDE + i] = t[j * SIDE + i];
    NEAR(form(&reg, s), by_definition(LM_PRIOR_GRADIENT, s, SIDE, SIDE), REL(1e-12));
    for (size_t i = 0; i < SIDE * SIDE; i++)
        s[i] = 1; /* a constant costs what the hull holds: half a neighbour an end of a side */
    NEAR(form(&reg, s), 4.0 * (SIDE - 1), REL(1e-12));
    lm_regularisation_done(&reg);
    lm_source_grid_done(&grid);
}

/* A linear source has no gradient but its slope: s^T K s = slope^2 x area, and scaling all lengths changes nothing in
 * it. */
TEST(triangles_measure_slopes)
{
    enum { POINTS = 60 };
    double x[POINTS], y[POINTS], s[POINTS], Ks[POINTS];
    lm_digest key = {{6}};
    lm_random random = lm_random_stream(&key, 0);
    for (size_t i = 0; i < POINTS; i++) {
        x[i] = lm_random_uniform(&random);
        y[i] = lm_random_uniform(&random);
    }
    lm_error err = {0};
    for (lm_prior_kind kind = LM_PRIOR_GRADIENT; kind <= LM_PRIOR_CURVATURE; kind++) {
        double ln_H[2];
        for (int scaled = 0; scaled < 2; scaled++) {
            lm_source_grid grid = {0};
            lm_regularisation reg = {0};
            lm_source_shape shape = {.kind = LM_SOURCE_DELAUNAY, .n = POINTS, .pixel = NAN};
            OK(lm_source_grid_lay(&grid, &shape, POINTS, x, y, &err), &err);
            OK(lm_regularisation_make(&reg, &(lm_prior){.kind = kind}, &grid, &err), &err);
            ln_H[scaled] = reg.ln_H;
            bool hull[POINTS] = {false};
            double area = 0, sides = 0, sum = 0;
            for (size_t t = 0; t < grid.mesh->n_triangles; t++) {
                const int *c = grid.mesh->corner[t];
                area += ((x[c[1]] - x[c[0]]) * (y[c[2]] - y[c[0]]) - (y[c[1]] - y[c[0]]) * (x[c[2]] - x[c[0]])) / 2;
                for (int k = 0; k < 3; k++)
                    if (grid.mesh->neighbour[t][k] < 0)
                        for (int e = 1; e < 3; e++) hull[c[(k + e) % 3]] = true;
            }
            for (size_t i = 0; i < POINTS; i++) s[i] = 2 * x[i] - y[i];
            lm_regularisation_apply(&reg, s, Ks);
            if (kind == LM_PRIOR_GRADIENT) {
                for (size_t t = 0; t < grid.mesh->n_triangles; t++)
                    for (int k = 0; k < 3; k++)
                        if (grid.mesh->neighbour[t][k] < 0)
                            for (int e = 1; e < 3; e++) sides += 0.5 * pow(s[grid.mesh->corner[t][(k + e) % 3]], 2);
                for (size_t i = 0; i < POINTS; i++) {
                    sum += s[i] * Ks[i];
                    if (!hull[i]) NEAR(Ks[i], 0, ABS(1e-10)); /* no Laplacian inside */
                }
                NEAR(sum, 5 * area + sides, REL(1e-11));
            }
            lm_regularisation_done(&reg);
            lm_source_grid_done(&grid);
            for (size_t i = 0; i < POINTS; i++) {
                x[i] *= 10;
                y[i] *= 10;
            }
        }
        NEAR(ln_H[1], ln_H[0], ABS(1e-9)); /* scale free */
    }
}

TEST(priors_that_cannot_be_are_told)
{
    lm_error err = {0};
    lm_source_shape regular = {.kind = LM_SOURCE_REGULAR, .h = 5, .w = 5}, mesh = {.kind = LM_SOURCE_DELAUNAY, .n = 50},
                    large = {.kind = LM_SOURCE_REGULAR, .h = 200, .w = 200};
    EQUAL_INT(lm_prior_check(&(lm_prior){.kind = LM_PRIOR_MATERN32, .length = NAN}, &regular, &err), LM_EINPUT);
    EQUAL_INT(lm_prior_check(&(lm_prior){.kind = LM_PRIOR_MATERN32, .length = 0}, &regular, &err), LM_EINPUT);
    EQUAL_INT(lm_prior_check(&(lm_prior){.kind = LM_PRIOR_POWER, .slope = 11}, &regular, &err), LM_EINPUT);
    EQUAL_INT(lm_prior_check(&(lm_prior){.kind = LM_PRIOR_POWER, .slope = 2}, &mesh, &err), LM_EINPUT);
    EQUAL_INT(lm_prior_check(&(lm_prior){.kind = LM_PRIOR_MATERN52, .length = 1}, &large, &err), LM_EINPUT);
    OK(lm_prior_check(&(lm_prior){.kind = LM_PRIOR_CURVATURE}, &large, &err), &err);
}
