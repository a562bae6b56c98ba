/* Linear inversions against independent references, definitions, and each other. */
#include "tests/test.h"
#include "tests/unit/lensing/reference.h"

#include "operators/core/lensing/inversion.h"
#include "operators/core/lensing/mass.h"
#include "runtime/random.h"

#include <math.h>
#include <string.h>

/* ---- the references --------------------------------------------------------------------------------------------- */

typedef struct {
    json_t *about;
    const char *fits;
    size_t side, n_data, ns;
    lm_frame frame;
    double *image, *noise;
    unsigned char *mask;
    lm_psf psf;
    lm_mass masses[2];
    lm_inverter_model model;
    lm_inverter *inverter;
    double *bx, *by;
} given;

static void fill_frame(given *g)
{
    size_t n;
    double *mask = reference_hdu(g->fits, "MASK", &n), *d = reference_hdu(g->fits, "D", &g->n_data),
           *sigma = reference_hdu(g->fits, "SIGMA", &n);
    EQUAL_INT(n, g->n_data);
    size_t pixels = g->side * g->side, k = 0;
    g->image = lm_alloc(pixels, sizeof *g->image);
    g->noise = lm_alloc(pixels, sizeof *g->noise);
    g->mask = lm_alloc(pixels, 1);
    CHECK(g->image && g->noise && g->mask);
    for (size_t i = 0; i < pixels; i++) {
        if (!(mask[i] > 0)) continue;
        g->mask[i] = 1;
        g->image[i] = d[k];
        g->noise[i] = sigma[k++];
    }
    EQUAL_INT(k, g->n_data);
    lm_free(mask);
    lm_free(d);
    lm_free(sigma);
}

static void take_psf(given *g)
{
    const json_t *rows = json_object_get(g->about, "psf_on_image_grid");
    if (!json_is_array(rows)) return;
    double pixels[64 * 64];
    size_t h = json_array_size(rows), w = json_array_size(json_array_get(rows, 0));
    CHECK(h * w <= 64 * 64);
    for (size_t i = 0; i < h * w; i++)
        pixels[i] = json_number_value(json_array_get(json_array_get(rows, i / w), i % w));
    lm_error err = {0};
    OK(lm_psf_init(&g->psf, pixels, h, w, LM_PSF_MIDDLE, false, &err), &err);
}

static void trace_rays(const lm_mass *masses, size_t n_masses, const lm_inverter *inverter, double **bx, double **by)
{
    const double *x, *y;
    size_t n = lm_inverter_rays(inverter, &x, &y);
    *bx = lm_alloc(n, sizeof **bx);
    *by = lm_alloc(n, sizeof **by);
    CHECK(*bx && *by);
    lm_mass_maps maps = {.alpha_x = *bx, .alpha_y = *by};
    for (size_t k = 0; k < n_masses; k++) lm_mass_add(&masses[k], n, x, y, &maps);
    for (size_t i = 0; i < n; i++) {
        (*bx)[i] = x[i] - (*bx)[i];
        (*by)[i] = y[i] - (*by)[i];
    }
}

static given open_reference(const char *name, bool masked_rays)
{
    char path[128];
    given g = {0};
    snprintf(path, sizeof path, "reference/linear/%s.json", name);
    g.about = reference_json(test_shared(path));
    snprintf(path, sizeof path, "reference/linear/%s.fits", name);
    g.fits = test_shared(path);
    g.side = (size_t)reference_number(g.about, "n_image");
    g.ns = (size_t)reference_number(g.about, "n_source");
    g.frame = (lm_frame){g.side, g.side, reference_number(g.about, "pixelscale"),
                         0,      0,      (unsigned)reference_number(g.about, "subsampling")};
    fill_frame(&g);
    take_psf(&g);
    const json_t *lens = json_object_get(g.about, "lens"), *shear = json_object_get(g.about, "shear");
    g.masses[0] =
        (lm_mass){LM_MASS_EPL,
                  {reference_number(lens, "Rein"), reference_number(lens, "t"), reference_number(lens, "q"),
                   reference_number(lens, "phi"), reference_number(lens, "x0"), reference_number(lens, "y0")}};
    g.masses[1] =
        (lm_mass){LM_MASS_SHEAR,
                  {json_number_value(json_array_get(shear, 0)), json_number_value(json_array_get(shear, 1)), 0, 0}};
    lm_inverter_data data = {g.frame, g.image, g.noise, g.mask, g.psf.at ? &g.psf : NULL, masked_rays};
    lm_error err = {0};
    OK(lm_inverter_new(&data, &g.inverter, &err), &err);
    trace_rays(g.masses, 2, g.inverter, &g.bx, &g.by);
    const json_t *centre = json_object_get(g.about, "source_centre");
    g.model.source = (lm_source_shape){.kind = LM_SOURCE_REGULAR,
                                       .h = g.ns,
                                       .w = g.ns,
                                       .pixel = reference_number(g.about, "source_pixelscale"),
                                       .x = json_number_value(json_array_get(centre, 0)),
                                       .y = json_number_value(json_array_get(centre, 1))};
    /* The reference's sky ends with the frame, and a ray beyond the outermost pixel centres of the source sees nothing.
     * */
    const double *x, *y;
    size_t rays = lm_inverter_rays(g.inverter, &x, &y);
    double half = g.frame.pixel * (double)g.side / 2, reach = g.model.source.pixel * (double)(g.ns - 1) / 2;
    for (size_t i = 0; i < rays; i++)
        if (fabs(x[i]) > half || fabs(y[i]) > half || fabs(g.bx[i] - g.model.source.x) > reach ||
            fabs(g.by[i] - g.model.source.y) > reach)
            g.bx[i] = NAN;
    g.model.effective = true;
    return g;
}

static void close_reference(given *g)
{
    json_decref(g->about);
    lm_free(g->image);
    lm_free(g->noise);
    lm_free(g->mask);
    lm_free(g->bx);
    lm_free(g->by);
    lm_psf_done(&g->psf);
    lm_inverter_free(g->inverter);
}

static void meet_map(const given *g, const char *hdu, const double *got, test_tolerance tolerance)
{
    size_t n;
    double *want = reference_hdu(g->fits, hdu, &n);
    EQUAL_INT(n, g->ns * g->ns);
    NEAR_ARRAY(got, want, n, tolerance);
    lm_free(want);
}

static void meet_run(const json_t *want, const lm_inversion *got)
{
    NEAR(got->ln_evidence, reference_number(want, "log_evidence"), REL(1e-9));
    NEAR(got->chi2, reference_number(want, "chi2"), REL(1e-9));
    NEAR(got->roughness, reference_number(want, "reg"), REL(1e-9));
    NEAR(got->ln_A, reference_number(want, "logdet_A"), REL(1e-9));
    NEAR((double)got->n_source * log(got->lambda) + got->ln_H, reference_number(want, "logdet_Cp_inv"), ABS(1e-8));
    NEAR(got->effective, reference_number(want, "n_eff"), REL(1e-8));
}

static void against(const char *name, lm_solver solver)
{
    static const struct {
        lm_prior_kind kind;
        const char *name, *source, *variance;
    } kinds[] = {{LM_PRIOR_ZEROTH, "zeroth", "S_ZEROTH", "VAR_ZEROTH"},
                 {LM_PRIOR_GRADIENT, "gradient", "S_GRADIENT", "VAR_GRADIENT"},
                 {LM_PRIOR_CURVATURE, "curvature", "S_CURVATURE", "VAR_CURVATURE"}};
    given g = open_reference(name, false);
    g.model.solver = solver;
    lm_error err = {0};
    lm_inversion got;
    double error[400];
    CHECK(g.ns * g.ns <= 400);
    for (size_t k = 0; k < 3; k++) {
        const json_t *runs = json_object_get(json_object_get(g.about, "regularisation"), kinds[k].name);
        const json_t *all = json_object_get(runs, "runs");
        g.model.prior.kind = kinds[k].kind;
        for (size_t i = 0; i <= json_array_size(all); i++) {
            const json_t *want =
                i < json_array_size(all) ? json_array_get(all, i) : json_object_get(runs, "max_evidence");
            g.model.lambda = reference_number(want, "lam");
            OK(lm_invert(g.inverter, &g.model, g.bx, g.by, NULL, 0, &got, &err), &err);
            EQUAL_INT(got.n_data, g.n_data);
            meet_run(want, &got);
        }
        meet_map(&g, kinds[k].source, got.source, REL(1e-9));
        OK(lm_inverter_error(g.inverter, error, NULL, &err), &err);
        for (size_t i = 0; i < got.n_source; i++) error[i] *= error[i];
        meet_map(&g, kinds[k].variance, error, REL(1e-9));
        g.model.lambda = NAN; /* the reference's optimum is a search to about 1e-6 */
        OK(lm_invert(g.inverter, &g.model, g.bx, g.by, NULL, 0, &got, &err), &err);
        const json_t *best = json_object_get(runs, "max_evidence");
        NEAR(got.lambda, reference_number(best, "lam"), REL(2e-5));
        NEAR(got.ln_evidence, reference_number(best, "log_evidence"), REL(1e-9));
        NEAR(got.effective, got.roughness, REL(1e-7)); /* at the optimum they are equal */
        CHECK(got.rounds < 15);
    }
    close_reference(&g);
}

TEST(a_source_without_psf_is_the_reference)
{
    against("bilinear_20", LM_SOLVER_DENSE);
}

TEST(a_source_without_psf_is_the_reference_by_a_sparse_factor)
{
    against("bilinear_20", LM_SOLVER_SPARSE);
}

TEST(a_source_with_psf_is_the_reference)
{
    against("bilinear_psf_16", LM_SOLVER_DENSE);
}

TEST(a_source_with_psf_is_the_reference_by_a_sparse_factor)
{
    against("bilinear_psf_16", LM_SOLVER_SPARSE);
}

/* ---- a small problem, and all of it by definition --------------------------------------------------------------- */

enum { FH = 11, FW = 13, FPIX = FH * FW, SUB = 2, MOST_N = 60, MOST_K = 2 };

typedef struct {
    double image[FPIX], noise[FPIX], columns[MOST_K * FPIX];
    unsigned char mask[FPIX];
    lm_psf psf;
    bool blurs;
    lm_inverter *inverter;
    double *bx, *by;
} small;

static const lm_mass small_lens[] = {{LM_MASS_SIE, {0.6, 0.8, 0.4, 0, 0.02, -0.03}},
                                     {LM_MASS_SHEAR, {0.04, 0.02, 0, 0}}};

static lm_random random_of(uint8_t seed)
{
    lm_digest key = {{seed}};
    return lm_random_stream(&key, 0);
}

/* A skew PSF with a corner of zeros, an irregular mask, noise that differs, and pixels that are no numbers. */
static small *open_small(bool blurs, bool masked_rays)
{
    small *s = lm_alloc(1, sizeof *s);
    CHECK(s);
    lm_error err = {0};
    lm_random random = random_of(1);
    for (size_t i = 0; i < FPIX; i++) {
        s->image[i] = 2 * lm_random_normal(&random) + 1;
        s->noise[i] = 0.3 + lm_random_uniform(&random);
        s->mask[i] = i % 7 != 3 && i > 4;
        for (size_t k = 0; k < MOST_K; k++) s->columns[k * FPIX + i] = exp(-0.02 * (double)(k + 1) * (double)(i % 40));
    }
    s->image[30] = NAN;
    s->noise[31] = 0;
    s->noise[32] = INFINITY;
    s->noise[33] = -1;
    const double pixels[15] = {0.02, 0.1, 0, 0.05, 0.2, 0.03, 0.06, 0.3, 0.12, 0.01, 0.04, 0.07, 0, 0.02, 0.04};
    s->blurs = blurs;
    if (blurs) OK(lm_psf_init(&s->psf, pixels, 5, 3, LM_PSF_PEAK, true, &err), &err);
    const lm_inverter_data data = {{FH, FW, 0.2, 0.05, -0.1, SUB}, s->image,   s->noise, s->mask,
                                   blurs ? &s->psf : NULL,         masked_rays};
    OK(lm_inverter_new(&data, &s->inverter, &err), &err);
    trace_rays(small_lens, 2, s->inverter, &s->bx, &s->by);
    return s;
}

static void close_small(small *s)
{
    lm_psf_done(&s->psf);
    lm_inverter_free(s->inverter);
    lm_free(s->bx);
    lm_free(s->by);
    lm_free(s);
}

static bool takes_part(const small *s, size_t i)
{
    return s->mask[i] && isfinite(s->image[i]) && isfinite(s->noise[i]) && s->noise[i] > 0;
}

/* P L, a column a source pixel, of data pixel (y, x): each ray by its position, through the PSF by its definition. `g`
 * is the grid that the inverter laid. */
static void by_rays(const small *s, const lm_source_grid *g, double *B)
{
    const double *rx, *ry;
    size_t rays = lm_inverter_rays(s->inverter, &rx, &ry);
    memset(B, 0, FPIX * g->n * sizeof *B);
    lm_source_grid copy = *g;
    static double unit[MOST_N];
    for (size_t r = 0; r < rays; r++) {
        long i = lround((rx[r] - 0.05) / 0.2 + (FW - 1) / 2.0), j = lround((ry[r] + 0.1) / 0.2 + (FH - 1) / 2.0);
        for (size_t n = 0; n < g->n; n++) {
            memset(unit, 0, sizeof unit);
            unit[n] = 1;
            double weight;
            lm_source_grid_picture(&copy, unit, 1, 1, 1, s->bx[r], s->by[r], &weight);
            if (weight == 0) continue;
            if (!s->blurs) {
                B[(size_t)(j * FW + i) * g->n + n] += weight / (SUB * SUB);
                continue;
            }
            for (long a = 0; a < (long)s->psf.h; a++)
                for (long b = 0; b < (long)s->psf.w; b++) {
                    long y = j + a - (long)s->psf.cy, x = i + b - (long)s->psf.cx;
                    if (y < 0 || x < 0 || y >= FH || x >= FW) continue;
                    B[(size_t)(y * FW + x) * g->n + n] += weight / (SUB * SUB) * s->psf.at[a * (long)s->psf.w + b];
                }
        }
    }
}

/* ln N(d; 0, C) of the pixels that take part, C = C_N + B (lambda H)^-1 B^T + V sum of f f^T: the evidence by the
 * data's covariance alone. Amplitudes of variance V stand for a flat prior: ln(2 pi V)/2 each. */
static double marginal(const small *s, const lm_source_grid *g, const lm_prior *prior, double lambda, size_t k)
{
    static double B[FPIX * MOST_N], C[FPIX * FPIX], column[MOST_N], d[FPIX];
    static size_t at[FPIX];
    const double V = 1e5;
    lm_error err = {0};
    lm_regularisation reg = {0};
    OK(lm_regularisation_make(&reg, prior, g, &err), &err);
    static double full[MOST_N * MOST_N], unit[MOST_N];
    size_t n = g->n, m = 0;
    CHECK(n <= MOST_N);
    for (size_t i = 0; i < n; i++) {
        memset(unit, 0, sizeof unit);
        unit[i] = lambda;
        lm_regularisation_apply(&reg, unit, full + i * n);
    }
    LM_OWN(lm_cholesky) c = NULL;
    OK(lm_cholesky_new(&c, &err), &err);
    OK(lm_cholesky_dense(c, full, n, "H", &err), &err);
    by_rays(s, g, B);
    for (size_t i = 0; i < FPIX; i++)
        if (takes_part(s, i)) at[m++] = i;
    for (size_t p = 0; p < m; p++) {
        memcpy(column, B + at[p] * n, n * sizeof *column);
        OK(lm_cholesky_solve(c, column, 1, &err), &err);
        d[p] = s->image[at[p]];
        for (size_t q = 0; q < m; q++) {
            double sum = p == q ? s->noise[at[p]] * s->noise[at[p]] : 0;
            for (size_t i = 0; i < n; i++) sum += column[i] * B[at[q] * n + i];
            for (size_t e = 0; e < k; e++) sum += V * s->columns[e * FPIX + at[p]] * s->columns[e * FPIX + at[q]];
            C[p * m + q] = sum;
        }
    }
    OK(lm_cholesky_dense(c, C, m, "C", &err), &err);
    static double x[FPIX];
    memcpy(x, d, m * sizeof *x);
    OK(lm_cholesky_solve(c, x, 1, &err), &err);
    double chi2 = 0;
    for (size_t p = 0; p < m; p++) chi2 += d[p] * x[p];
    lm_regularisation_done(&reg);
    return -0.5 * (chi2 + lm_cholesky_ln_det(c) + (double)m * log(2 * acos(-1))) +
           0.5 * (double)k * log(2 * acos(-1) * V);
}

static lm_inverter_model small_model(lm_source_kind kind, lm_prior_kind prior)
{
    return (lm_inverter_model){
        .source = {.kind = kind, .h = 6, .w = 7, .pixel = NAN, .margin = 0.5, .n = 40, .floor = 0.1},
        .prior = {.kind = prior, .length = 0.3, .slope = 3, .jitter = 1e-4},
        .lambda = 0.7};
}

TEST(evidence_is_the_data_s_marginal_likelihood)
{
    lm_error err = {0};
    lm_inversion got;
    for (int way = 0; way < 3; way++) {
        small *s = open_small(way > 0, way == 2);
        for (lm_source_kind kind = LM_SOURCE_REGULAR; kind <= LM_SOURCE_DELAUNAY; kind++)
            for (lm_prior_kind prior = LM_PRIOR_ZEROTH; prior <= LM_PRIOR_POWER; prior++) {
                if (kind == LM_SOURCE_DELAUNAY && prior == LM_PRIOR_POWER) continue;
                lm_inverter_model model = small_model(kind, prior);
                for (lm_solver solver = LM_SOLVER_DENSE; solver <= LM_SOLVER_SPARSE; solver++) {
                    model.solver = solver;
                    OK(lm_invert(s->inverter, &model, s->bx, s->by, NULL, 0, &got, &err), &err);
                    NEAR(got.ln_evidence, marginal(s, got.grid, &model.prior, 0.7, 0), REL(1e-10));
                }
            }
        close_small(s);
    }
}

TEST(further_columns_are_marginalised_with_the_source)
{
    lm_error err = {0};
    lm_inversion got, without;
    small *s = open_small(true, false);
    lm_inverter_model model = small_model(LM_SOURCE_REGULAR, LM_PRIOR_GRADIENT);
    OK(lm_invert(s->inverter, &model, s->bx, s->by, NULL, 0, &without, &err), &err);
    for (size_t k = 1; k <= MOST_K; k++)
        for (lm_solver solver = LM_SOLVER_DENSE; solver <= LM_SOLVER_SPARSE; solver++) {
            model.solver = solver;
            OK(lm_invert(s->inverter, &model, s->bx, s->by, s->columns, k, &got, &err), &err);
            NEAR(got.ln_evidence, marginal(s, got.grid, &model.prior, 0.7, k), ABS(2e-3)); /* V is not infinite */
            CHECK(got.chi2 + got.roughness < without.chi2 + without.roughness);
        }
    model.lambda = NAN; /* at the most probable lambda the evidence does not change with it */
    OK(lm_invert(s->inverter, &model, s->bx, s->by, s->columns, 2, &got, &err), &err);
    NEAR(got.effective, got.roughness, REL(1e-8));
    double best = got.ln_evidence, lambda = got.lambda;
    for (int side = -1; side <= 1; side += 2) {
        model.lambda = lambda * exp(0.01 * side);
        OK(lm_invert(s->inverter, &model, s->bx, s->by, s->columns, 2, &got, &err), &err);
        CHECK(got.ln_evidence < best && got.ln_evidence > best - 0.01);
    }
    /* the same column twice cannot be told apart */
    memcpy(s->columns + FPIX, s->columns, FPIX * sizeof *s->columns);
    EQUAL_INT(lm_invert(s->inverter, &model, s->bx, s->by, s->columns, 2, &got, &err), LM_EINPUT);
    CONTAINS(err.text, "further column");
    close_small(s);
}

/* From unit vectors draws give the covariance: its diagonal is the squared error; and the model's image is P L s +
 * columns. */
TEST(errors_draws_and_image_belong_together)
{
    lm_error err = {0};
    lm_inversion got;
    small *s = open_small(true, false);
    for (lm_solver solver = LM_SOLVER_DENSE; solver <= LM_SOLVER_SPARSE; solver++) {
        lm_inverter_model model = small_model(LM_SOURCE_REGULAR, LM_PRIOR_CURVATURE);
        model.solver = solver;
        OK(lm_invert(s->inverter, &model, s->bx, s->by, s->columns, 2, &got, &err), &err);
        size_t n = got.n_source, white = lm_inverter_white(s->inverter);
        EQUAL_INT(white, n + 2);
        double error[MOST_N], amplitude[2], sum[MOST_N + 2] = {0}, draw[MOST_N], drawn[2], unit[MOST_N + 2];
        OK(lm_inverter_error(s->inverter, error, amplitude, &err), &err);
        for (size_t i = 0; i < white; i++) {
            memset(unit, 0, sizeof unit);
            unit[i] = 1;
            OK(lm_inverter_draw(s->inverter, unit, draw, drawn, &err), &err);
            for (size_t j = 0; j < n; j++) sum[j] += pow(draw[j] - got.source[j], 2);
            for (size_t j = 0; j < 2; j++) sum[n + j] += pow(drawn[j] - got.amplitudes[j], 2);
        }
        for (size_t j = 0; j < n; j++) NEAR(sqrt(sum[j]), error[j], REL(1e-10));
        for (size_t j = 0; j < 2; j++) NEAR(sqrt(sum[n + j]), amplitude[j], REL(1e-10));
        static double B[FPIX * MOST_N], image[FPIX];
        by_rays(s, got.grid, B);
        OK(lm_inverter_image(s->inverter, image, &err), &err);
        double chi2 = 0;
        for (size_t i = 0; i < FPIX; i++) {
            if (!takes_part(s, i)) {
                CHECK(isnan(image[i]));
                continue;
            }
            double want = 0;
            for (size_t j = 0; j < n; j++) want += B[i * n + j] * got.source[j];
            for (size_t k = 0; k < 2; k++) want += got.amplitudes[k] * s->columns[k * FPIX + i];
            NEAR(image[i], want, ABS(1e-13));
            chi2 += pow((s->image[i] - want) / s->noise[i], 2);
        }
        NEAR(got.chi2, chi2, REL(1e-12));
    }
    close_small(s);
}

/* The conditions of Karush, Kuhn and Tucker, with the gradient by definition: B^T C^-1 (m - d) + lambda H s. */
TEST(positive_sources_meet_the_conditions)
{
    lm_error err = {0};
    lm_inversion got, free;
    small *s = open_small(true, false);
    for (lm_source_kind kind = LM_SOURCE_REGULAR; kind <= LM_SOURCE_DELAUNAY; kind++)
        for (lm_solver solver = LM_SOLVER_DENSE; solver <= LM_SOLVER_SPARSE; solver++) {
            lm_inverter_model model = small_model(kind, LM_PRIOR_GRADIENT);
            model.solver = solver;
            OK(lm_invert(s->inverter, &model, s->bx, s->by, s->columns, 1, &free, &err), &err);
            model.positive = true;
            OK(lm_invert(s->inverter, &model, s->bx, s->by, s->columns, 1, &got, &err), &err);
            NEAR(got.ln_A, free.ln_A, ABS(0)); /* the determinants stay */
            CHECK(got.chi2 + got.roughness > free.chi2 + free.roughness);
            static double B[FPIX * MOST_N], image[FPIX], gradient[MOST_N];
            size_t n = got.n_source, zeros = 0;
            by_rays(s, got.grid, B);
            OK(lm_inverter_image(s->inverter, image, &err), &err);
            lm_regularisation reg = {0};
            OK(lm_regularisation_make(&reg, &model.prior, got.grid, &err), &err);
            lm_regularisation_apply(&reg, got.source, gradient);
            double scale = 0;
            for (size_t j = 0; j < n; j++) {
                double right = 0;
                gradient[j] *= model.lambda;
                for (size_t i = 0; i < FPIX; i++) {
                    if (!takes_part(s, i)) continue;
                    double weight = B[i * n + j] / (s->noise[i] * s->noise[i]);
                    gradient[j] += weight * (image[i] - s->image[i]);
                    right += weight * s->image[i];
                }
                scale = fmax(scale, fabs(right));
            }
            for (size_t j = 0; j < n; j++) {
                CHECK(got.source[j] >= 0);
                zeros += got.source[j] == 0;
                if (got.source[j] > 0) NEAR(gradient[j], 0, ABS(1e-10 * scale));
                else CHECK(gradient[j] >= -1e-10 * scale);
            }
            CHECK(zeros > 3 && zeros < n);
            lm_regularisation_done(&reg);
        }
    close_small(s);
}

/* Sources drawn from the prior, images with noise drawn: (S - s)^T A (S - s) follows chi-square with N_s degrees of
 * freedom. */
TEST(sources_of_the_prior_come_back_with_the_right_errors)
{
    enum { TRIALS = 300 };
    lm_error err = {0};
    static double B[FPIX * MOST_N], full[MOST_N * MOST_N], unit[MOST_N], truth[MOST_N], normals[MOST_N];
    for (lm_prior_kind prior = LM_PRIOR_CURVATURE; prior <= LM_PRIOR_POWER; prior += 5) {
        small *s = open_small(true, false);
        lm_inverter_model model = small_model(LM_SOURCE_REGULAR, prior);
        model.effective = true;
        lm_inversion got;
        OK(lm_invert(s->inverter, &model, s->bx, s->by, NULL, 0, &got, &err), &err);
        size_t n = got.n_source;
        by_rays(s, got.grid, B);
        lm_regularisation reg = {0};
        OK(lm_regularisation_make(&reg, &model.prior, got.grid, &err), &err);
        for (size_t i = 0; i < n; i++) {
            memset(unit, 0, sizeof unit);
            unit[i] = model.lambda;
            lm_regularisation_apply(&reg, unit, full + i * n);
        }
        LM_OWN(lm_cholesky) c = NULL;
        OK(lm_cholesky_new(&c, &err), &err);
        OK(lm_cholesky_dense(c, full, n, "H", &err), &err);
        lm_random random = random_of(77);
        double sum = 0, roughness = 0;
        for (int trial = 0; trial < TRIALS; trial++) {
            small fresh = *s;
            for (size_t i = 0; i < n; i++) truth[i] = lm_random_normal(&random);
            OK(lm_cholesky_draw(c, truth, &err), &err);
            for (size_t i = 0; i < FPIX; i++) {
                if (!takes_part(s, i)) continue;
                fresh.image[i] = s->noise[i] * lm_random_normal(&random);
                for (size_t j = 0; j < n; j++) fresh.image[i] += B[i * n + j] * truth[j];
            }
            const lm_inverter_data data = {
                {FH, FW, 0.2, 0.05, -0.1, SUB}, fresh.image, fresh.noise, fresh.mask, &fresh.psf, false};
            LM_OWN(lm_inverter) inverter = NULL;
            OK(lm_inverter_new(&data, &inverter, &err), &err);
            OK(lm_invert(inverter, &model, s->bx, s->by, NULL, 0, &got, &err), &err);
            double off = 0; /* A = F + lambda H on the difference */
            for (size_t i = 0; i < n; i++) normals[i] = got.source[i] - truth[i];
            lm_regularisation_apply(&reg, normals, unit);
            for (size_t i = 0; i < n; i++) off += model.lambda * normals[i] * unit[i];
            for (size_t i = 0; i < FPIX; i++) {
                if (!takes_part(s, i)) continue;
                double seen = 0;
                for (size_t j = 0; j < n; j++) seen += B[i * n + j] * normals[j];
                off += pow(seen / s->noise[i], 2);
            }
            sum += off / TRIALS;
            roughness += got.roughness / TRIALS;
        }
        NEAR(sum, (double)n, ABS(5 * sqrt(2 * (double)n / TRIALS)));
        NEAR(roughness, got.effective, REL(0.2)); /* their means agree: E[lambda S^T H S] is the effective number */
        lm_regularisation_done(&reg);
        close_small(s);
    }
}

/* ---- the iterative solver, twins, and what goes wrong ----------------------------------------------------------- */

static double uniform_of(void *random)
{
    return lm_random_uniform(random);
}

TEST(the_iterative_solver_agrees)
{
    given g = open_reference("bilinear_psf_16", false);
    lm_error err = {0};
    lm_inversion exact, got;
    for (lm_prior_kind prior = LM_PRIOR_GRADIENT; prior <= LM_PRIOR_CURVATURE; prior++) {
        g.model.prior.kind = prior;
        g.model.lambda = 20;
        g.model.solver = LM_SOLVER_SPARSE;
        OK(lm_invert(g.inverter, &g.model, g.bx, g.by, NULL, 0, &exact, &err), &err);
        static double source[256];
        memcpy(source, exact.source, sizeof source);
        lm_random random = random_of(5);
        const lm_draw draw = {.uniform = uniform_of, .random = &random};
        g.model.solver = LM_SOLVER_ITERATIVE;
        g.model.draw = &draw;
        g.model.probes = 64;
        OK(lm_invert(g.inverter, &g.model, g.bx, g.by, NULL, 0, &got, &err), &err);
        EQUAL_INT(got.solver, LM_SOLVER_ITERATIVE);
        NEAR_ARRAY(got.source, source, 256, REL(1e-8));
        NEAR(got.chi2, exact.chi2, REL(1e-9));
        CHECK(got.ln_evidence_error > 0 && got.ln_evidence_error < 2);
        NEAR(got.ln_evidence, exact.ln_evidence, ABS(4 * got.ln_evidence_error));
        NEAR(got.effective, exact.effective, REL(0.1));
        double again = got.ln_evidence;
        random = random_of(5);
        OK(lm_invert(g.inverter, &g.model, g.bx, g.by, NULL, 0, &got, &err), &err);
        NEAR(got.ln_evidence, again, ABS(0)); /* the same signs */
        g.model.lambda = NAN;
        OK(lm_invert(g.inverter, &g.model, g.bx, g.by, NULL, 0, &got, &err), &err);
        NEAR(got.effective, got.roughness, REL(1e-3));
        double errors[256];
        EQUAL_INT(lm_inverter_error(g.inverter, errors, NULL, &err), LM_EINPUT);
        g.model.positive = true;
        EQUAL_INT(lm_invert(g.inverter, &g.model, g.bx, g.by, NULL, 0, &got, &err), LM_EINPUT);
        g.model.positive = false;
        g.model.draw = NULL;
        EQUAL_INT(lm_invert(g.inverter, &g.model, g.bx, g.by, NULL, 0, &got, &err), LM_EINPUT);
    }
    close_reference(&g);
}

/* Whatever was inverted before, and by whom: the same bits. */
TEST(twins_and_repetitions_give_the_same_bits)
{
    lm_error err = {0};
    small *s = open_small(true, false);
    LM_OWN(lm_inverter) twin = NULL;
    OK(lm_inverter_twin(s->inverter, &twin, &err), &err);
    lm_inversion first, second;
    for (int round = 0; round < 2; round++)
        for (lm_source_kind kind = LM_SOURCE_REGULAR; kind <= LM_SOURCE_DELAUNAY; kind++) {
            lm_inverter_model model = small_model(kind, LM_PRIOR_CURVATURE);
            OK(lm_invert(s->inverter, &model, s->bx, s->by, s->columns, 2, &first, &err), &err);
            if (kind)
                OK(lm_invert(twin, &model, s->by, s->bx, NULL, 0, &second, &err), &err); /* something else between */
            OK(lm_invert(twin, &model, s->bx, s->by, s->columns, 2, &second, &err), &err);
            CHECK(first.ln_evidence == second.ln_evidence && first.chi2 == second.chi2);
            CHECK(memcmp(first.source, second.source, first.n_source * sizeof(double)) == 0);
        }
    close_small(s);
}

TEST(what_is_no_likelihood_is_told)
{
    lm_error err = {0};
    lm_inversion got;
    small *s = open_small(true, false);
    lm_inverter_model model = small_model(LM_SOURCE_REGULAR, LM_PRIOR_GRADIENT);
    double error[MOST_N];
    EQUAL_INT(lm_inverter_error(s->inverter, error, NULL, &err), LM_EBUG);
    EQUAL_INT(lm_inverter_image(s->inverter, error, &err), LM_EBUG);
    model.lambda = -1;
    EQUAL_INT(lm_invert(s->inverter, &model, s->bx, s->by, NULL, 0, &got, &err), LM_EINPUT);
    model.lambda = 1;
    const double *x, *y;
    size_t rays = lm_inverter_rays(s->inverter, &x, &y);
    double *nan = lm_alloc(rays, sizeof *nan), *one = lm_alloc(rays, sizeof *one);
    CHECK(nan && one);
    for (size_t i = 0; i < rays; i++) nan[i] = NAN;
    for (lm_source_kind kind = LM_SOURCE_REGULAR; kind <= LM_SOURCE_DELAUNAY; kind++) {
        model.source.kind = kind;
        EQUAL_INT(lm_invert(s->inverter, &model, nan, nan, NULL, 0, &got, &err), LM_EINPUT);
        EQUAL_INT(lm_invert(s->inverter, &model, one, one, NULL, 0, &got, &err), LM_EINPUT);
        EQUAL_INT(lm_invert(s->inverter, &model, s->bx, nan, NULL, 0, &got, &err), LM_EINPUT);
    }
    model.source.n = 5000; /* more vertices than pixels */
    EQUAL_INT(lm_invert(s->inverter, &model, s->bx, s->by, NULL, 0, &got, &err), LM_EINPUT);
    CONTAINS(err.text, "5000 vertices are wanted of");
    model.source.kind = LM_SOURCE_REGULAR;
    s->columns[60] = NAN;
    EQUAL_INT(lm_invert(s->inverter, &model, s->bx, s->by, s->columns, 1, &got, &err), LM_EINPUT);
    CONTAINS(err.text, "further column 1 is nan at pixel (row 4, column 8)");
    /* no light at all: the most probable source is none, with an infinite lambda */
    for (size_t i = 0; i < FPIX; i++) s->image[i] = 0;
    lm_inverter_data data = {{FH, FW, 0.2, 0, 0, 1}, s->image, s->noise, s->mask, NULL, false};
    lm_inverter *dark = NULL;
    OK(lm_inverter_new(&data, &dark, &err), &err);
    model.lambda = NAN;
    EQUAL_INT(lm_invert(dark, &model, s->bx, s->by, NULL, 0, &got, &err), LM_EINPUT);
    CONTAINS(err.hint, "is there no light in the data");
    lm_inverter_free(dark);
    memset(s->mask, 0, sizeof s->mask);
    EQUAL_INT(lm_inverter_new(&data, &dark, &err), LM_EINPUT);
    CONTAINS(err.text, "no pixel of 11 x 13 takes part");
    data.frame.sub = 0;
    EQUAL_INT(lm_inverter_new(&data, &dark, &err), LM_EINPUT);
    lm_free(nan);
    lm_free(one);
    close_small(s);
}

/* From the data set to errors and a draw, each allocation failing in turn. */
static lm_status whole_way(const small *s, const lm_inverter_model *model, lm_error *err)
{
    const lm_inverter_data data = {{FH, FW, 0.2, 0.05, -0.1, SUB}, s->image, s->noise, s->mask, &s->psf, false};
    LM_OWN(lm_inverter) inverter = NULL;
    LM_OWN(lm_inverter) twin = NULL;
    LM_TRY(lm_inverter_new(&data, &inverter, err));
    LM_TRY(lm_inverter_twin(inverter, &twin, err));
    lm_inversion got;
    double error[MOST_N], white[MOST_N + 2] = {0};
    LM_TRY(lm_invert(twin, model, s->bx, s->by, s->columns, 2, &got, err));
    if (got.solver == LM_SOLVER_ITERATIVE) return LM_OK;
    LM_TRY(lm_inverter_error(twin, error, NULL, err));
    return lm_inverter_draw(twin, white, error, NULL, err);
}

TEST(each_failing_allocation_is_survived)
{
    small *s = open_small(true, false);
    lm_error err = {0};
    lm_random random = random_of(5);
    const lm_draw draw = {.uniform = uniform_of, .random = &random};
    lm_fft *kept = NULL; /* plans stay, or the count would not be the same twice */
    OK(lm_fft_open(8, 8, false, &kept, &err), &err);
    for (int kind = 0; kind < 5; kind++) {
        lm_inverter_model model = small_model(kind & 1 ? LM_SOURCE_DELAUNAY : LM_SOURCE_REGULAR,
                                              kind == 2 ? LM_PRIOR_POWER : LM_PRIOR_CURVATURE);
        model.lambda = kind == 4 ? 1 : (double)NAN;
        model.solver = kind == 4 ? LM_SOLVER_ITERATIVE : kind == 3 ? LM_SOLVER_SPARSE : LM_SOLVER_AUTO;
        model.positive = kind < 2;
        model.draw = &draw;
        model.source.trim = kind == 0 ? 0.01 : 0;
        OK(whole_way(s, &model, &err), &err);
        uint64_t n = 1;
        for (;; n++) {
            lm_alloc_fail_at(n);
            lm_status status = whole_way(s, &model, &err);
            bool done = lm_alloc_count() < n;
            lm_alloc_fail_at(0);
            if (done) {
                EQUAL_INT(status, LM_OK);
                break;
            }
            EQUAL_INT(status, LM_EMEMORY);
        }
        CHECK(n > 30);
    }
    lm_fft_close(kept);
    close_small(s);
}
