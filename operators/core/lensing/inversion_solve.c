/* One inversion: grid, matrices, the prior's strength, and the evidence. See inversion.h. */
#include "operators/core/lensing/_inversion.h"
#include "operators/core/nnls.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

enum { MOST_ROUNDS = 80, MOST_COLUMNS = 64 };

#define LAMBDA_CLOSE 1e-9     /* relative, of the most probable lambda */
#define LAMBDA_FAR 70         /* |ln lambda - ln of the scale| beyond which it has run away */
#define SPARSE_PENALTY 2.5    /* how much slower a multiplication is in a sparse factor */
#define COLUMN_NEW 1e-12      /* of its square: less cannot be told from rounding */
#define POSITIVE_ENOUGH 1e-11 /* of the right-hand side: the gradient of an unknown at zero */

static lm_status check_model(const lm_inverter *v, const lm_inverter_model *m, size_t k, lm_error *err)
{
    LM_TRY(lm_source_shape_check(&m->source, err));
    LM_TRY(lm_prior_check(&m->prior, &m->source, err));
    if (!isnan(m->lambda) && (!(m->lambda > 0) || !isfinite(m->lambda)))
        return LM_FAIL_HINT(err, LM_EINPUT, "Leave it out for the most probable one.",
                            "a prior of strength %g: it must be above zero", m->lambda);
    if (k > MOST_COLUMNS) return LM_FAIL(err, LM_EINPUT, "%zu further columns: at most %d can be", k, MOST_COLUMNS);
    if (v->plan->n_data <= k)
        return LM_FAIL(err, LM_EINPUT, "%zu pixels cannot tell %zu columns and a source", v->plan->n_data, k);
    return LM_OK;
}

/* ---- the grid --------------------------------------------------------------------------------------------------- */

static lm_status pick_pixels(lm_inverter *v, const lm_source_shape *s, lm_error *err)
{
    if (v->pick && v->n_pick == s->n && v->pick_brightness == s->brightness && v->pick_floor == s->floor) return LM_OK;
    const lm_inverter_plan *p = v->plan;
    v->pick = lm_free(v->pick);
    LM_OWN(lm_memory) memory = lm_alloc(p->n, sizeof(double));
    LM_OWN(lm_memory) pick = lm_alloc(s->n, sizeof *v->pick);
    if (!memory || !pick) return LM_NOMEM(err);
    double *weight = memory, peak = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (!p->inside[i]) continue;
        weight[i] = fabs(p->data[(p->row[i] - p->oy) * p->frame.w + p->column[i] - p->ox]);
        if (weight[i] > peak) peak = weight[i];
    }
    for (size_t i = 0; i < p->n; i++)
        weight[i] = p->inside[i] ? pow(peak > 0 ? weight[i] / peak + s->floor : 1, s->brightness) : 0;
    LM_TRY_IN(lm_source_pick(p->n, p->row, p->column, weight, s->n, pick, err), err, "a triangulated source");
    v->pick = lm_take(pick);
    v->n_pick = s->n;
    v->pick_brightness = s->brightness;
    v->pick_floor = s->floor;
    return LM_OK;
}

static lm_status lay_grid(lm_inverter *v, const lm_source_shape *s, const double *bx, const double *by, lm_error *err)
{
    const lm_inverter_plan *p = v->plan;
    size_t rays = p->rays;
    if (s->kind == LM_SOURCE_DELAUNAY) {
        LM_TRY(pick_pixels(v, s, err));
        LM_TRY(lm_room_make(&v->positions, 2 * s->n, err));
        double *x = v->positions.at, *y = x + s->n;
        for (size_t i = 0; i < s->n; i++) { /* a vertex is where a pixel's rays fall in the mean */
            double sum_x = 0, sum_y = 0;
            for (size_t r = v->pick[i] * rays; r < (v->pick[i] + 1) * rays; r++) {
                sum_x += bx[r];
                sum_y += by[r];
            }
            x[i] = sum_x / (double)rays;
            y[i] = sum_y / (double)rays;
        }
        return lm_source_grid_lay(&v->grid, s, s->n, x, y, err);
    }
    if (!isnan(s->pixel)) return lm_source_grid_lay(&v->grid, s, 0, NULL, NULL, err);
    LM_TRY(lm_room_make(&v->positions, 2 * p->n * rays, err));
    size_t n = 0;
    double *x = v->positions.at, *y = x + p->n * rays;
    for (size_t i = 0; i < p->n; i++) {
        if (!p->inside[i]) continue;
        memcpy(x + n, bx + i * rays, rays * sizeof *x);
        memcpy(y + n, by + i * rays, rays * sizeof *y);
        n += rays;
    }
    return lm_source_grid_lay(&v->grid, s, n, x, y, err);
}

/* ---- the parts of A --------------------------------------------------------------------------------------------- */

static lm_status unknowns_room(lm_inverter *v, size_t n, size_t k, lm_error *err)
{
    LM_TRY(lm_room_make(&v->unknowns, 2 * n + 2 * k * n + 2 * k * k + 2 * k + 3 * (n + k), err));
    v->b = v->unknowns.at;
    v->s = v->b + n;
    v->a = v->s + n;
    v->cross = v->a + k;
    v->G = v->cross + k * n;
    v->Fee = v->G + k * n;
    v->K = v->Fee + k * k;
    v->be = v->K + k * k;
    v->positive_s = v->be + k;
    v->work = v->positive_s + n + k;
    return LM_OK;
}

static lm_status take_columns(lm_inverter *v, const double *columns, size_t k, lm_error *err)
{
    const lm_inverter_plan *p = v->plan;
    size_t n = v->grid.n;
    for (size_t c = 0; c < k; c++) {
        const double *f = columns + c * p->pixels;
        v->be[c] = 0;
        for (size_t i = 0; i < p->pixels; i++) {
            v->image[i] = 0;
            if (!(p->precision[i] > 0)) continue;
            if (!isfinite(f[i]))
                return LM_FAIL(err, LM_EINPUT, "further column %zu is %g at pixel (row %zu, column %zu)", c + 1, f[i],
                               i / p->frame.w, i % p->frame.w);
            v->image[i] = p->precision[i] * f[i];
            v->be[c] += v->image[i] * p->data[i];
        }
        for (size_t e = 0; e <= c; e++) {
            const double *other = columns + e * p->pixels;
            double sum = 0;
            for (size_t i = 0; i < p->pixels; i++)
                if (p->precision[i] > 0) sum += v->image[i] * other[i];
            v->Fee[c * k + e] = v->Fee[e * k + c] = sum;
        }
        lm_inverter_blur_back(v, v->image, v->rays_work);
        lm_lensing_adjoint(&v->lensing, v->rays_work, v->cross + c * n);
    }
    return LM_OK;
}

/* Sparse or dense: what takes less work. A pattern that is half full needs no counting. */
static lm_status choose(lm_inverter *v, lm_solver asked, lm_solver *ret, lm_error *err)
{
    double n = (double)v->grid.n, elements = (double)v->normal.A.start[v->grid.n], work;
    if (asked == LM_SOLVER_DENSE || v->reg.dense || (asked == LM_SOLVER_AUTO && (n < 200 || elements > 0.25 * n * n))) {
        *ret = LM_SOLVER_DENSE;
        return LM_OK;
    }
    LM_TRY(lm_cholesky_analyse(v->cholesky, &v->normal.A, &work, err));
    *ret = asked == LM_SOLVER_AUTO && SPARSE_PENALTY * work > n * n * n / 3 ? LM_SOLVER_DENSE : LM_SOLVER_SPARSE;
    return LM_OK;
}

static lm_status factor(lm_inverter *v, lm_solver solver, double lambda, lm_error *err)
{
    static const char what[] = "the posterior's matrix A";
    size_t n = v->grid.n;
    lm_normal_sum(&v->normal, lambda);
    if (solver == LM_SOLVER_SPARSE) return lm_cholesky_sparse(v->cholesky, &v->normal.A, what, err);
    LM_TRY(lm_room_make(&v->matrix, n * n, err));
    lm_normal_spread(&v->normal, v->normal.A.value, false, v->matrix.at);
    for (size_t i = 0; v->reg.dense && i < n; i++)
        for (size_t j = 0; j <= i; j++) v->matrix.at[i * n + j] += lambda * v->reg.dense[i * n + j];
    return lm_cholesky_dense(v->cholesky, v->matrix.at, n, what, err);
}

/* ---- one value of lambda ---------------------------------------------------------------------------------------- */

/* What the evidence takes of one lambda. */
typedef struct {
    double lambda, ln_A, error;
    double roughness; /* S^T H S */
    double trace;     /* Tr(A^-1 H) over the source's part; NaN: not asked for */
} point;

static double dot(size_t n, const double *a, const double *b)
{
    return cblas_ddot((int)n, a, 1, b, 1);
}

/* Source and columns from A^-1 b and G = A^-1 cross: a = K^-1 (b_e - cross^T A^-1 b), s = A^-1 b - G a. */
static lm_status eliminate(lm_inverter *v, double *ln_K, lm_error *err)
{
    size_t n = v->grid.n, k = v->k;
    for (size_t p = 0; p < k; p++) {
        v->a[p] = v->be[p] - dot(n, v->cross + p * n, v->s);
        for (size_t q = 0; q < k; q++) v->K[p * k + q] = v->Fee[p * k + q] - dot(n, v->cross + p * n, v->G + q * n);
    }
    LM_TRY_IN(lm_cholesky_dense(v->small, v->K, k, "the matrix of the further columns", err), err,
              "columns that are alike cannot be told apart");
    for (size_t p = 0; p < k; p++) /* the factor's diagonal squared: what is new in a column */
        if (!(v->K[p * k + p] * v->K[p * k + p] > COLUMN_NEW * v->Fee[p * k + p]))
            return LM_FAIL_HINT(err, LM_EINPUT, "Leave out one of two columns that are alike.",
                                "further column %zu is a sum of the others and of what the source can be", p + 1);
    LM_TRY(lm_cholesky_solve(v->small, v->a, 1, err));
    for (size_t p = 0; p < k; p++) cblas_daxpy((int)n, -v->a[p], v->G + p * n, 1, v->s, 1);
    *ln_K = lm_cholesky_ln_det(v->small);
    return LM_OK;
}

/* Tr(A_all^-1 H) = Tr(A^-1 H) + Tr(K^-1 G^T H G). */
static lm_status trace_of(lm_inverter *v, lm_solver solver, double lambda, double *ret, lm_error *err)
{
    size_t n = v->grid.n, k = v->k;
    double sum;
    if (solver == LM_SOLVER_ITERATIVE) LM_TRY(lm_iterative_trace(v, lambda, &sum, err));
    else LM_TRY(lm_cholesky_inverse(v->cholesky, NULL, v->reg.dense ? NULL : &v->reg.H, v->reg.dense, &sum, err));
    LM_OWN(lm_memory) memory = lm_alloc_data((k + 1) * sizeof(double));
    if (!memory) return LM_NOMEM(err);
    double *column = memory;
    for (size_t p = 0; p < k; p++) {
        lm_regularisation_apply(&v->reg, v->G + p * n, v->work);
        for (size_t q = 0; q < k; q++) column[q] = dot(n, v->G + q * n, v->work);
        LM_TRY(lm_cholesky_solve(v->small, column, 1, err));
        sum += column[p];
    }
    *ret = sum;
    return LM_OK;
}

static lm_status evaluate(lm_inverter *v, lm_solver solver, double lambda, bool trace, point *ret, lm_error *err)
{
    size_t n = v->grid.n, k = v->k;
    *ret = (point){.lambda = lambda, .trace = NAN};
    memcpy(v->s, v->b, n * sizeof *v->s);
    memcpy(v->G, v->cross, k * n * sizeof *v->G);
    if (solver == LM_SOLVER_ITERATIVE) {
        LM_TRY(lm_iterative_begin(v, lambda, err));
        LM_TRY(lm_iterative_solve(v, lambda, v->s, 1, err));
        LM_TRY(lm_iterative_solve(v, lambda, v->G, k, err));
        LM_TRY(lm_iterative_ln_det(v, lambda, &ret->ln_A, &ret->error, err));
    } else {
        LM_TRY(factor(v, solver, lambda, err));
        LM_TRY(lm_cholesky_solve(v->cholesky, v->s, 1, err));
        LM_TRY(lm_cholesky_solve(v->cholesky, v->G, k, err));
        ret->ln_A = lm_cholesky_ln_det(v->cholesky);
    }
    double ln_K = 0;
    LM_TRY(eliminate(v, &ln_K, err));
    ret->ln_A += ln_K;
    lm_regularisation_apply(&v->reg, v->s, v->work);
    ret->roughness = dot(n, v->s, v->work);
    if (trace) LM_TRY(trace_of(v, solver, lambda, &ret->trace, err));
    return LM_OK;
}

/* Where lambda S^T H S = N_s - lambda Tr(A^-1 H), the most probable lambda: by the secant on ln of the ratio of both,
 * between brackets once there are some. */
static lm_status find_lambda(lm_inverter *v, lm_solver solver, point *ret, unsigned *rounds, lm_error *err)
{
    double sum_F = 0, sum_H = 0, n = (double)v->grid.n;
    for (size_t i = 0; i < v->grid.n; i++) {
        sum_F += solver == LM_SOLVER_ITERATIVE ? lm_iterative_weight(v, i) : v->normal.F[v->normal.A.start[i]];
        sum_H += v->reg.dense ? v->reg.dense[i * v->grid.n + i] : v->reg.H.value[v->reg.H.start[i]];
    }
    double scale = log(sum_F / sum_H), t = scale - log(100), low = NAN, high = NAN, last_t = NAN, last_f = NAN;
    for (unsigned round = 1; round <= MOST_ROUNDS; round++) {
        if (!isfinite(t) || !(fabs(t - scale) < LAMBDA_FAR)) break;
        LM_TRY(evaluate(v, solver, exp(t), true, ret, err));
        double known = n - ret->lambda * ret->trace, f = log(known / (ret->lambda * ret->roughness));
        *rounds = round;
        if (!(known > 0) || !isfinite(f)) break;
        double close = solver == LM_SOLVER_ITERATIVE ? 1e-4 : LAMBDA_CLOSE;
        if (fabs(f) <= close || high - low <= close) return LM_OK;
        if (f > 0) low = t;
        else high = t;
        double slope = (f - last_f) / (t - last_t), next = t + f;
        if (slope < 0) next = t - f / slope;
        if (fabs(next - t) > 4) next = t + (f > 0 ? 4 : -4);
        if (next <= low || next >= high) next = isnan(low) || isnan(high) ? t + f : (low + high) / 2;
        last_t = t;
        last_f = f;
        t = next;
    }
    return LM_FAIL_HINT(
        err, LM_EINPUT, "Give \"lambda\" a number; or is there no light in the data, or far too much noise?",
        "the most probable strength of the prior was not found: it ran to %.3g in %u rounds", exp(t), *rounds);
}

/* ---- the end ---------------------------------------------------------------------------------------------------- */

/* The unknowns without negative values, into positive_s. */
static lm_status make_positive(lm_inverter *v, double lambda, lm_error *err)
{
    size_t n = v->grid.n, k = v->k, all = n + k;
    LM_OWN(lm_memory) memory = lm_alloc_data((all * all + n * n + 1) * sizeof(double));
    if (!memory) return LM_NOMEM(err);
    double *A = memory, *part = A + all * all, *b = v->work;
    lm_normal_sum(&v->normal, lambda);
    lm_normal_spread(&v->normal, v->normal.A.value, true, part);
    for (size_t i = 0; i < n; i++) {
        double *row = A + i * all;
        memcpy(row, part + i * n, n * sizeof *row);
        for (size_t j = 0; v->reg.dense && j < n; j++) row[j] += lambda * v->reg.dense[i * n + j];
        for (size_t p = 0; p < k; p++) row[n + p] = A[(n + p) * all + i] = v->cross[p * n + i];
    }
    for (size_t p = 0; p < k; p++) memcpy(A + (n + p) * all + n, v->Fee + p * k, k * sizeof *A);
    memcpy(b, v->b, n * sizeof *b);
    memcpy(b + n, v->be, k * sizeof *b);
    memcpy(v->positive_s, v->s, n * sizeof *b);
    memcpy(v->positive_s + n, v->a, k * sizeof *b);
    lm_nnls found;
    return lm_nnls_solve(all, A, b, POSITIVE_ENOUGH, v->positive_s, &found, err);
}

/* The model's image, and chi2. */
static double compare(lm_inverter *v, const double *s, const double *a, const double *columns)
{
    const lm_inverter_plan *p = v->plan;
    lm_lensing_apply(&v->lensing, s, v->rays_work);
    lm_inverter_blur(v, v->rays_work, v->model);
    double chi2 = 0;
    for (size_t i = 0; i < p->pixels; i++) {
        if (!(p->precision[i] > 0)) continue;
        for (size_t c = 0; c < v->k; c++) v->model[i] += a[c] * columns[c * p->pixels + i];
        double off = p->data[i] - v->model[i];
        chi2 += off * off * p->precision[i];
    }
    return chi2;
}

static lm_status conclude(lm_inverter *v, const lm_inverter_model *m, lm_solver solver, const point *at,
                          unsigned rounds, const double *columns, lm_inversion *ret, lm_error *err)
{
    size_t n = v->grid.n;
    const double *s = v->s, *a = v->a;
    double roughness = at->roughness;
    if (m->positive) {
        LM_TRY(make_positive(v, at->lambda, err));
        s = v->positive_s;
        a = s + n;
        lm_regularisation_apply(&v->reg, s, v->work);
        roughness = dot(n, s, v->work);
    }
    lm_inversion got = {.chi2 = compare(v, s, a, columns),
                        .roughness = at->lambda * roughness,
                        .lambda = at->lambda,
                        .effective = (double)n - at->lambda * at->trace,
                        .ln_A = at->ln_A,
                        .ln_H = v->reg.ln_H,
                        .ln_noise = v->plan->ln_noise,
                        .ln_evidence_error = at->error / 2,
                        .n_data = v->plan->n_data,
                        .n_source = n,
                        .n_columns = v->k,
                        .rounds = rounds,
                        .solver = solver,
                        .grid = &v->grid,
                        .source = s,
                        .amplitudes = a};
    got.ln_evidence = (-got.chi2 - got.roughness + (double)n * log(at->lambda) + got.ln_H - got.ln_A - got.ln_noise +
                       (double)v->k * log(2 * acos(-1))) /
                      2;
    if (!isfinite(got.ln_evidence))
        return LM_FAIL(err, LM_EINPUT, "the log evidence is %g: chi2 is %g, ln|A| is %g", got.ln_evidence, got.chi2,
                       got.ln_A);
    v->last = got;
    v->solved = true;
    *ret = got;
    return LM_OK;
}

static lm_status pick_solver(lm_inverter *v, const lm_inverter_model *m, lm_solver *ret, lm_error *err)
{
    const lm_inverter_plan *p = v->plan;
    size_t n = v->grid.n;
    lm_solver solver = m->solver;
    bool process = m->prior.kind >= LM_PRIOR_EXPONENTIAL;
    if (solver == LM_SOLVER_AUTO && !process && (!p->exact || n > LM_SOLVER_MOST)) solver = LM_SOLVER_ITERATIVE;
    if (solver == LM_SOLVER_ITERATIVE) {
        if (m->positive)
            return LM_FAIL_HINT(err, LM_EINPUT, "Take fewer source pixels, or another solver.",
                                "%zu unknowns without negative values need an exact solver, not the iterative one", n);
        if (process)
            return LM_FAIL(err, LM_EINPUT,
                           "the iterative solver knows the priors zeroth, gradient and curvature alone");
        if (!m->draw) return LM_FAIL(err, LM_EINPUT, "the iterative solver needs random numbers for ln|A|");
    } else if (!p->exact)
        return LM_FAIL_HINT(err, LM_EINPUT, "Cut the PSF, mask more, or take the solver \"iterative\".",
                            "the image's normal equations have %zu elements: too many for an exact solver",
                            p->n_elements);
    *ret = solver;
    return LM_OK;
}

lm_status lm_invert(lm_inverter *v, const lm_inverter_model *m, const double *beta_x, const double *beta_y,
                    const double *columns, size_t k, lm_inversion *ret, lm_error *err)
{
    v->solved = false;
    LM_TRY(check_model(v, m, k, err));
    LM_TRY(lay_grid(v, &m->source, beta_x, beta_y, err));
    size_t n = v->grid.n;
    v->k = k;
    lm_solver solver;
    LM_TRY(pick_solver(v, m, &solver, err));
    LM_TRY(lm_lensing_make(&v->lensing, &v->grid, v->plan->n, v->plan->rays, beta_x, beta_y, err));
    if (v->lensing.start[v->plan->n] == 0)
        return LM_FAIL(err, LM_EINPUT, "no ray meets the source grid of %zu pixels", n);
    LM_TRY(lm_regularisation_make(&v->reg, &m->prior, &v->grid, err));
    LM_TRY(unknowns_room(v, n, k, err));
    lm_lensing_adjoint(&v->lensing, v->plan->back, v->b);
    LM_TRY(take_columns(v, columns, k, err));
    if (solver == LM_SOLVER_ITERATIVE) LM_TRY(lm_iterative_prepare(v, m, err));
    else {
        LM_TRY(lm_normal_make(&v->normal, &v->plan->normal, &v->lensing, v->reg.dense ? NULL : &v->reg.H, err));
        LM_TRY(choose(v, solver, &solver, err));
    }
    point at;
    unsigned rounds = 1;
    if (isnan(m->lambda)) LM_TRY(find_lambda(v, solver, &at, &rounds, err));
    else LM_TRY(evaluate(v, solver, m->lambda, m->effective, &at, err));
    return conclude(v, m, solver, &at, rounds, columns, ret, err);
}
