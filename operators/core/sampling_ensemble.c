/* The stretch move. Walker k of one half, partner j of the other: Y = X_j + z (X_k - X_j), with z drawn from g(z) ~ 1 / sqrt z between
 * 1/a and a; accepted with the chance min(1, z^(dim - 1) p(Y) / p(X_k)) (Goodman & Weare 2010, eqs. 7 to 10; the two halves:
 * Foreman-Mackey et al. 2013, PASP 125, 306, algorithm 3).
 */
#include "operators/core/sampling.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

static const double stretch = 2; /* a */

/* at[]: [walkers][dim] positions, [walkers] ln p, [dim] the place that is tried */
size_t lm_ensemble_size(size_t walkers, size_t dim)
{
    size_t row, numbers, bytes;
    if (__builtin_add_overflow(dim, 1, &row) || __builtin_mul_overflow(walkers, row, &numbers) ||
        __builtin_add_overflow(numbers, dim, &numbers) || __builtin_mul_overflow(numbers, sizeof(double), &bytes) ||
        __builtin_add_overflow(bytes, sizeof(lm_ensemble), &bytes))
        return SIZE_MAX;
    return bytes;
}

double *lm_ensemble_x(lm_ensemble *state, size_t walker)
{
    return state->at + walker * state->dim;
}

double lm_ensemble_log_density(const lm_ensemble *state, size_t walker)
{
    return state->at[state->walkers * state->dim + walker];
}

/* ln p, with -INFINITY for all that is impossible */
static double log_density(const lm_target *target, const double *x)
{
    double p = target->log_density(target->arg, x, NULL);
    return isfinite(p) ? p : -(double)INFINITY;
}

/* Walkers that lie in a plane stay in it for ever: here, the planes along the axes. */
static lm_status check_spread(const double *x, size_t walkers, size_t dim, lm_error *err)
{
    for (size_t i = 0; i < dim; i++) {
        size_t equal = 1;
        while (equal < walkers && x[equal * dim + i] == x[i]) equal++;
        if (equal == walkers)
            return LM_FAIL_HINT(err, LM_EINPUT, "Scatter the starts, for instance by drawing them from the prior.",
                                "all %zu walkers start at %.10g in coordinate %zu, and could never leave it", walkers,
                                x[i], i);
    }
    return LM_OK;
}

lm_status lm_ensemble_start(lm_ensemble *state, const lm_target *target, size_t walkers, const double *x, lm_error *err)
{
    size_t dim = target->dim;
    if (dim == 0) return LM_FAIL(err, LM_EINPUT, "there is nothing to sample: the density has no coordinate");
    if (walkers % 2 || walkers < 2 * dim + 2)
        return LM_FAIL_HINT(err, LM_EINPUT, "Take an even number of walkers, several times the number of parameters.",
                            "%zu walkers in %zu dimensions: there must be an even number, at least %zu", walkers, dim,
                            2 * dim + 2);
    LM_TRY(check_spread(x, walkers, dim, err));
    memset(state, 0, lm_ensemble_size(walkers, dim));
    state->walkers = walkers;
    state->dim = dim;
    memcpy(state->at, x, walkers * dim * sizeof *x);
    for (size_t k = 0; k < walkers; k++) {
        for (size_t i = 0; i < dim; i++)
            if (!isfinite(x[k * dim + i]))
                return LM_FAIL(err, LM_EINPUT, "walker %zu starts at %g in coordinate %zu", k, x[k * dim + i], i);
        double p = log_density(target, x + k * dim);
        if (!isfinite(p))
            return LM_FAIL_HINT(err, LM_EINPUT, "Start all walkers where prior and likelihood are above 0.",
                                "walker %zu of %zu starts where the density is 0 or no number", k, walkers);
        state->at[walkers * dim + k] = p;
    }
    return LM_OK;
}

/* As many random numbers for a move that is refused as for one that is not. */
static void move(lm_ensemble *state, const lm_target *target, const lm_draw *draw, size_t walker, size_t others)
{
    size_t dim = state->dim, partner = others + (size_t)draw->below(draw->random, state->walkers / 2);
    double root = (stretch - 1) * lm_draw_uniform(draw) + 1, z = root * root / stretch; /* the inverse of G(z) */
    double luck = lm_draw_uniform(draw);
    double *x = lm_ensemble_x(state, walker), *log_p = state->at + state->walkers * dim;
    const double *from = lm_ensemble_x(state, partner);
    double *tried = log_p + state->walkers;
    for (size_t i = 0; i < dim; i++) tried[i] = from[i] + z * (x[i] - from[i]);
    double p = log_density(target, tried);
    if (isinf(p) || !(log(luck) < (double)(dim - 1) * log(z) + p - log_p[walker])) return;
    memcpy(x, tried, dim * sizeof *x);
    log_p[walker] = p;
    state->accepted++;
}

void lm_ensemble_step(lm_ensemble *state, const lm_target *target, const lm_draw *draw)
{
    size_t half = state->walkers / 2;
    for (size_t k = 0; k < half; k++) move(state, target, draw, k, half);
    for (size_t k = half; k < 2 * half; k++) move(state, target, draw, k, 0);
    state->steps++;
}
