/* Inversions of many unknowns: conjugate gradients, and traces by random signs. See _inversion.h. */
#include "operators/core/lensing/_inversion.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

extern void dstev_(const char *jobz, const int *n, double *d, double *e, double *z, const int *ldz, double *work,
                   int *info);

enum { PROBES = 32, MOST_PROBES = 10000, MOST_STEPS = 2000, LANCZOS = 100, LOOK = 10 };

#define SOLVED 1e-11 /* of the residual, in the norm of M^-1, against the right-hand side */
#define SETTLED 1e-6 /* change of a quadrature, relative, over LOOK steps */

/* v->iteration: weight [n], signs [probes][n], then what a solution needs [5][n], then Lanczos vectors [LANCZOS +
 * 1][n]. */
static double *signs_of(const lm_inverter *v)
{
    return v->iteration.at + v->grid.n;
}

static double *solving(const lm_inverter *v)
{
    return signs_of(v) + (size_t)v->probes * v->grid.n;
}

static double *basis_of(const lm_inverter *v)
{
    return solving(v) + 5 * v->grid.n;
}

/* y [n] = F x */
static void apply_F(lm_inverter *v, const double *x, double *y)
{
    const lm_inverter_plan *p = v->plan;
    lm_lensing_apply(&v->lensing, x, v->rays_work);
    lm_inverter_blur(v, v->rays_work, v->image);
    for (size_t i = 0; i < p->pixels; i++) v->image[i] *= p->precision[i];
    lm_inverter_blur_back(v, v->image, v->rays_work);
    lm_lensing_adjoint(&v->lensing, v->rays_work, y);
}

/* y = (F + lambda H) x; work [n] */
static void apply_A(lm_inverter *v, double lambda, const double *x, double *y, double *work)
{
    apply_F(v, x, y);
    lm_regularisation_apply(&v->reg, x, work);
    cblas_daxpy((int)v->grid.n, lambda, work, 1, y, 1);
}

lm_status lm_iterative_prepare(lm_inverter *v, const lm_inverter_model *m, lm_error *err)
{
    size_t n = v->grid.n, elements = (size_t)v->reg.H.start[n];
    if (m->probes > MOST_PROBES) return LM_FAIL(err, LM_EINPUT, "%u probes: at most %d can be", m->probes, MOST_PROBES);
    v->probes = m->probes ? m->probes : PROBES;
    LM_TRY(lm_room_make(&v->iteration, n * (1 + (size_t)v->probes + 5 + LANCZOS + 1), err));
    double *weight = v->iteration.at, *signs = signs_of(v), *one = solving(v), largest = 0;
    for (size_t i = 0; i < n; i++) one[i] = 1;
    apply_F(v, one, weight);
    for (size_t i = 0; i < n; i++)
        if (weight[i] > largest) largest = weight[i];
    for (size_t i = 0; i < n; i++) /* rounding of the transforms, or a PSF with negative pixels */
        if (!(weight[i] > 1e-12 * largest)) weight[i] = 1e-12 * largest;
    for (size_t i = 0; i < (size_t)v->probes * n; i++) signs[i] = lm_draw_uniform(m->draw) < 0.5 ? -1 : 1;
    LM_TRY(lm_symmetric_room(&v->normal.A, n, elements, err));
    memcpy(v->normal.A.start, v->reg.H.start, (n + 1) * sizeof(int));
    memcpy(v->normal.A.row, v->reg.H.row, elements * sizeof(int));
    return lm_cholesky_analyse(v->cholesky, &v->reg.H, NULL, err);
}

double lm_iterative_weight(const lm_inverter *v, size_t i)
{
    return v->iteration.at[i];
}

lm_status lm_iterative_begin(lm_inverter *v, double lambda, lm_error *err)
{
    lm_symmetric *M = &v->normal.A;
    for (int e = 0; e < M->start[M->n]; e++) M->value[e] = lambda * v->reg.H.value[e];
    for (size_t i = 0; i < M->n; i++) M->value[M->start[i]] += v->iteration.at[i];
    return lm_cholesky_sparse(v->cholesky, M, "the preconditioner of A", err);
}

lm_status lm_iterative_solve(lm_inverter *v, double lambda, double *x, size_t m, lm_error *err)
{
    int n = (int)v->grid.n;
    size_t bytes = v->grid.n * sizeof *x;
    double *r = solving(v), *z = r + n, *p = z + n, *q = p + n, *work = q + n;
    for (size_t k = 0; k < m; k++, x += n) {
        memcpy(r, x, bytes);
        memset(x, 0, bytes);
        memcpy(z, r, bytes);
        LM_TRY(lm_cholesky_solve(v->cholesky, z, 1, err));
        double rho = cblas_ddot(n, r, 1, z, 1), wanted = SOLVED * SOLVED * rho;
        memcpy(p, z, bytes);
        unsigned step = 0;
        for (; step < MOST_STEPS && rho > wanted; step++) {
            apply_A(v, lambda, p, q, work);
            double curvature = cblas_ddot(n, p, 1, q, 1);
            if (!(curvature > 0))
                return LM_FAIL(err, LM_EINPUT,
                               "the posterior's matrix A is not positive definite: its form is %g in step %u",
                               curvature, step + 1);
            cblas_daxpy(n, rho / curvature, p, 1, x, 1);
            cblas_daxpy(n, -rho / curvature, q, 1, r, 1);
            memcpy(z, r, bytes);
            LM_TRY(lm_cholesky_solve(v->cholesky, z, 1, err));
            double next = cblas_ddot(n, r, 1, z, 1);
            for (int i = 0; i < n; i++) p[i] = z[i] + next / rho * p[i];
            rho = next;
        }
        if (!(rho <= wanted))
            return LM_FAIL_HINT(
                err, LM_EINPUT, "A stronger prior helps; so does a source of fewer pixels.",
                "conjugate gradients did not end in %u steps: what is left is %.2g of the right-hand side", step,
                sqrt(rho / wanted) * SOLVED);
    }
    return LM_OK;
}

/* sum of tau_k^2 ln(theta_k) of the tridiagonal matrix (alpha, beta) of m steps. */
static lm_status quadrature(size_t m, const double *alpha, const double *beta, double *work, double *ret, lm_error *err)
{
    double *d = work, *e = d + m, *z = e + m, *rest = z + m * m, sum = 0;
    int order = (int)m, info = 0;
    memcpy(d, alpha, m * sizeof *d);
    memcpy(e, beta, m * sizeof *e);
    dstev_("V", &order, d, e, z, &order, rest, &info);
    if (info) return LM_FAIL(err, LM_EINPUT, "a Lanczos quadrature of %zu steps has no eigenvalues", m);
    for (size_t k = 0; k < m; k++) {
        if (!(d[k] > 0))
            return LM_FAIL(err, LM_EINPUT, "the posterior's matrix A is not positive definite: an eigenvalue is %g",
                           d[k]);
        sum += z[k * m] * z[k * m] * log(d[k]);
    }
    *ret = sum;
    return LM_OK;
}

/* sign^T ln(R A R^T) sign: Lanczos steps, each made orthogonal to all before. */
static lm_status probe_ln(lm_inverter *v, double lambda, const double *sign, double *work, double *ret, lm_error *err)
{
    size_t n = v->grid.n;
    double *basis = basis_of(v), *x = solving(v), *y = x + n, alpha[LANCZOS], beta[LANCZOS], value = 0, before = NAN;
    for (size_t i = 0; i < n; i++) basis[i] = sign[i] / sqrt((double)n);
    size_t most = n < LANCZOS ? n : LANCZOS;
    for (size_t m = 0; m < most; m++) {
        memcpy(x, basis + m * n, n * sizeof *x);
        LM_TRY(lm_cholesky_draw(v->cholesky, x, err));
        apply_A(v, lambda, x, y, y + n);
        LM_TRY(lm_cholesky_whiten(v->cholesky, y, err));
        alpha[m] = cblas_ddot((int)n, basis + m * n, 1, y, 1);
        for (int again = 0; again < 2; again++)
            for (size_t k = 0; k <= m; k++)
                cblas_daxpy((int)n, -cblas_ddot((int)n, basis + k * n, 1, y, 1), basis + k * n, 1, y, 1);
        beta[m] = cblas_dnrm2((int)n, y, 1);
        bool end = !(beta[m] > 1e-12) || m + 1 == most;
        if (end || (m + 1) % LOOK == 0) {
            LM_TRY(quadrature(m + 1, alpha, beta, work, &value, err));
            if (end || fabs(value - before) <= SETTLED * fabs(value)) break;
            before = value;
        }
        for (size_t i = 0; i < n; i++) basis[(m + 1) * n + i] = y[i] / beta[m];
    }
    *ret = (double)n * value;
    return LM_OK;
}

lm_status lm_iterative_ln_det(lm_inverter *v, double lambda, double *ret, double *ret_error, lm_error *err)
{
    LM_OWN(lm_memory) memory = lm_alloc_data((LANCZOS * LANCZOS + 4 * LANCZOS) * sizeof(double));
    if (!memory) return LM_NOMEM(err);
    double sum = 0, squares = 0, count = v->probes;
    for (unsigned k = 0; k < v->probes; k++) {
        double value;
        LM_TRY(probe_ln(v, lambda, signs_of(v) + k * v->grid.n, memory, &value, err));
        double off = value - sum; /* Welford's running mean */
        sum += off / (k + 1);
        squares += off * (value - sum);
    }
    *ret = lm_cholesky_ln_det(v->cholesky) + sum;
    *ret_error = count > 1 ? sqrt(squares / (count - 1) / count) : (double)INFINITY;
    return LM_OK;
}

lm_status lm_iterative_trace(lm_inverter *v, double lambda, double *ret, lm_error *err)
{
    size_t n = v->grid.n;
    double *x = basis_of(v), *Hz = x + n, sum = 0;
    for (unsigned k = 0; k < v->probes; k++) {
        const double *sign = signs_of(v) + k * n;
        memcpy(x, sign, n * sizeof *x);
        LM_TRY(lm_iterative_solve(v, lambda, x, 1, err));
        lm_regularisation_apply(&v->reg, sign, Hz);
        sum += cblas_ddot((int)n, x, 1, Hz, 1) / v->probes;
    }
    *ret = sum;
    return LM_OK;
}
