/* Climbing a posterior. See _climb.h. */
#include "operators/infer/_climb.h"

#include "operators/core/cholesky.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

void lm_laplace_at(const lm_laplace *g, const double *w, double *z)
{
    double step[LM_FREE_MOST];
    memcpy(step, w, g->n * sizeof *step);
    cblas_dtrsv(CblasRowMajor, CblasLower, CblasTrans, CblasNonUnit, (int)g->n, g->root, (int)g->n, step, 1);
    for (size_t i = 0; i < g->n; i++) z[i] = g->z[i] + step[i];
}

void lm_laplace_widths(const lm_laplace *g, double *ret)
{
    for (size_t i = 0; i < g->n; i++) { /* a column of R^-1 */
        double e[LM_FREE_MOST] = {0};
        e[i] = 1;
        cblas_dtrsv(CblasRowMajor, CblasLower, CblasNoTrans, CblasNonUnit, (int)g->n, g->root, (int)g->n, e, 1);
        ret[i] = cblas_dnrm2((int)g->n, e, 1);
    }
}

/* With C = L L^T, C^-1 = L^-T L^-1: its lower factor is that of the inverse, which is made in full. */
void lm_laplace_of_covariance(lm_laplace *g, double *covariance)
{
    size_t n = g->n;
    double diagonal[LM_FREE_MOST];
    for (size_t i = 0; i < n; i++) diagonal[i] = covariance[i * n + i];
    bool good = lm_lower_factor(n, covariance) && lm_lower_inverse(n, covariance);
    memcpy(g->root, covariance, n * n * sizeof *g->root);
    if (good && lm_lower_factor(n, g->root)) return;
    memset(g->root, 0, n * n * sizeof *g->root);
    for (size_t i = 0; i < n; i++) g->root[i * n + i] = 1 / sqrt(diagonal[i]);
}

/* root = the factor of F + damping diag F; F has the prior's 1 on its diagonal, so that it is positive. */
static bool damped(lm_laplace *g, const double *F, double damping)
{
    memcpy(g->root, F, g->n * g->n * sizeof *F);
    for (size_t i = 0; i < g->n; i++) g->root[i * g->n + i] *= 1 + damping;
    return lm_lower_factor(g->n, g->root);
}

/* One step uphill from z, with more and more damping until it is one. False: there is none. */
static bool step_up(lm_laplace *g, lm_posterior *p, const double *F, const double *slope, double *damping)
{
    size_t n = g->n;
    for (int tries = 0; tries < 12; tries++, *damping *= 5) {
        double step[LM_FREE_MOST], z[LM_FREE_MOST], most = 0;
        if (!damped(g, F, *damping)) continue;
        memcpy(step, slope, n * sizeof *step);
        cblas_dtrsv(CblasRowMajor, CblasLower, CblasNoTrans, CblasNonUnit, (int)n, g->root, (int)n, step, 1);
        cblas_dtrsv(CblasRowMajor, CblasLower, CblasTrans, CblasNonUnit, (int)n, g->root, (int)n, step, 1);
        for (size_t i = 0; i < n; i++) most = fmax(most, fabs(step[i]));
        for (size_t i = 0; i < n; i++)
            z[i] = g->z[i] + (most > 1 ? step[i] / most : step[i]); /* a prior's width at most */
        double ln_p = lm_posterior_log(p, z, NULL);
        if (!(ln_p > g->ln_p)) continue;
        g->ln_p = ln_p;
        memcpy(g->z, z, n * sizeof *z);
        *damping /= 10;
        return true;
    }
    return false;
}

lm_status lm_laplace_climb(lm_laplace *g, lm_posterior *p, unsigned rounds, double *F, bool *ret_done, lm_error *err)
{
    double slope[LM_FREE_MOST], damping = 0.01;
    *ret_done = false;
    for (unsigned round = 0;; round++) {
        g->ln_p = lm_posterior_log(p, g->z, slope);
        if (!(g->ln_p > -1e9))
            return LM_FAIL(err, LM_EINPUT, "%s", *p->last.text ? p->last.text : "an impossible start");
        LM_TRY(lm_posterior_fisher(p, g->z, F, err));
        double before = g->ln_p;
        if (round == rounds || *ret_done) break;
        *ret_done = !step_up(g, p, F, slope, &damping) || g->ln_p - before < 1e-3;
    }
    if (!damped(g, F, 1e-12)) return LM_FAIL(err, LM_EINPUT, "the Fisher matrix is not positive definite");
    return LM_OK;
}
