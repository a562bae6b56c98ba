/* Chains. See _chain.h. */
#include "operators/infer/_chain.h"

#include "operators/_draw.h"
#include "runtime/alloc.h"

#include <math.h>
#include <string.h>

enum { FORMAT = 1 };

static size_t aligned(size_t n)
{
    return (n + 63) / 64 * 64;
}

static size_t sampler_size(lm_chain_kind kind, size_t members, size_t dim)
{
    return kind == LM_CHAIN_ENSEMBLE ? aligned(lm_ensemble_size(members, dim)) : members * aligned(lm_nuts_size(dim));
}

size_t lm_chain_size(lm_chain_kind kind, size_t members, size_t dim)
{
    return aligned(sizeof(lm_chain)) + sampler_size(kind, members, dim) + aligned(dim * sizeof(double)) +
           CHAIN_KEPT * members * (dim + 1) * sizeof(double);
}

static void *part(const lm_chain *chain, uint64_t offset)
{
    return (char *)(uintptr_t)chain + offset;
}

static lm_nuts *nuts_at(const lm_chain *chain, size_t member)
{
    return part(chain, chain->sampler + member * aligned(lm_nuts_size(chain->dim)));
}

const double *lm_chain_at(const lm_chain *chain, size_t kept, size_t member)
{
    return (double *)part(chain, chain->history) + (kept * chain->members + member) * chain->dim;
}

static double *log_densities(const lm_chain *chain)
{
    return (double *)part(chain, chain->history) + CHAIN_KEPT * chain->members * chain->dim;
}

double lm_chain_log_density(const lm_chain *chain, size_t kept, size_t member)
{
    return log_densities(chain)[kept * chain->members + member];
}

double *lm_chain_best(lm_chain *chain)
{
    return part(chain, chain->best_at);
}

lm_status lm_chain_start(lm_chain *chain, lm_chain_kind kind, const lm_target *target, size_t members, size_t warmup,
                         const double *x, const double *scale, lm_error *err)
{
    size_t dim = target->dim, size = lm_chain_size(kind, members, dim);
    memset(chain, 0, size);
    *chain = (lm_chain){.format = FORMAT,
                        .kind = (uint32_t)kind,
                        .members = members,
                        .dim = dim,
                        .warmup = kind == LM_CHAIN_NUTS ? warmup : 0,
                        .thin = 1,
                        .best = -INFINITY,
                        .size = size,
                        .sampler = aligned(sizeof(lm_chain))};
    chain->best_at = chain->sampler + sampler_size(kind, members, dim);
    chain->history = chain->best_at + aligned(dim * sizeof(double));
    if (kind == LM_CHAIN_ENSEMBLE) return lm_ensemble_start(part(chain, chain->sampler), target, members, x, err);
    for (size_t m = 0; m < members; m++)
        LM_TRY_IN(lm_nuts_start(nuts_at(chain, m), target, x + m * dim, scale, warmup, 0.8, err), err, "chain %zu",
                  m + 1);
    return LM_OK;
}

/* Every other of what was kept goes: what stays are steps 2 thin, 4 thin, ... */
static void thin_out(lm_chain *chain)
{
    size_t row = chain->members * chain->dim, half = chain->kept / 2;
    double *at = part(chain, chain->history), *ln_p = log_densities(chain);
    for (size_t k = 0; k < half; k++) {
        memmove(at + k * row, at + (2 * k + 1) * row, row * sizeof *at);
        memmove(ln_p + k * chain->members, ln_p + (2 * k + 1) * chain->members, chain->members * sizeof *ln_p);
    }
    chain->kept = half;
    chain->thin *= 2;
}

static void keep(lm_chain *chain)
{
    lm_ensemble *ensemble = chain->kind == LM_CHAIN_ENSEMBLE ? part(chain, chain->sampler) : NULL;
    uint64_t after = chain->steps - (chain->steps < chain->warmup ? chain->steps : chain->warmup);
    bool kept = after > 0 && after % chain->thin == 0;
    if (kept && chain->kept == CHAIN_KEPT) {
        thin_out(chain);
        kept = after % chain->thin == 0;
    }
    for (size_t m = 0; m < chain->members; m++) {
        const double *x = ensemble ? lm_ensemble_x(ensemble, m) : lm_nuts_x(nuts_at(chain, m));
        double ln_p = ensemble ? lm_ensemble_log_density(ensemble, m) : lm_nuts_log_density(nuts_at(chain, m));
        if (ln_p > chain->best) {
            chain->best = ln_p;
            memcpy(lm_chain_best(chain), x, chain->dim * sizeof *x);
        }
        if (!kept) continue;
        memcpy((double *)part(chain, chain->history) + (chain->kept * chain->members + m) * chain->dim, x,
               chain->dim * sizeof *x);
        log_densities(chain)[chain->kept * chain->members + m] = ln_p;
    }
    chain->kept += kept;
}

void lm_chain_step(lm_chain *chain, const lm_target *target, lm_step *step)
{
    if (chain->kind == LM_CHAIN_ENSEMBLE) {
        lm_random random = lm_step_random(step, (UINT64_C(1) << 40) + chain->steps);
        lm_draw draw = lm_draw_of(&random);
        lm_ensemble_step(part(chain, chain->sampler), target, &draw);
    } else {
        for (size_t m = 0; m < chain->members; m++) {
            lm_random random = lm_step_random(step, (UINT64_C(2) << 40) + chain->steps * chain->members + m);
            lm_draw draw = lm_draw_of(&random);
            lm_nuts_step(nuts_at(chain, m), target, &draw);
        }
    }
    chain->steps++;
    keep(chain);
}

static double moves_accepted(const lm_chain *chain, uint64_t *ret_divergent)
{
    *ret_divergent = 0;
    if (chain->kind == LM_CHAIN_ENSEMBLE) {
        const lm_ensemble *e = part(chain, chain->sampler);
        return e->steps ? (double)e->accepted / ((double)e->steps * (double)e->walkers) : 0;
    }
    double sum = 0;
    for (size_t m = 0; m < chain->members; m++) {
        lm_nuts_report told = lm_nuts_told(nuts_at(chain, m));
        sum += told.accept / (double)chain->members;
        *ret_divergent += told.divergent;
    }
    return sum;
}

lm_status lm_chain_judge(const lm_chain *chain, lm_chain_report *ret, lm_error *err)
{
    size_t first = chain->kind == LM_CHAIN_ENSEMBLE ? chain->kept / 2 : 0, n = chain->kept - first, m = chain->members;
    *ret =
        (lm_chain_report){.first = first, .rhat = 0, .ess_bulk = INFINITY, .ess_tail = INFINITY, .tau_trusted = true};
    ret->acceptance = moves_accepted(chain, &ret->divergent);
    LM_OWN(lm_memory) room = lm_alloc(2 * (n * m + 1), sizeof(double));
    double *by_chain = room, *by_step = by_chain + n * m;
    if (!room) return LM_NOMEM(err);
    for (size_t d = 0; d < chain->dim; d++) {
        for (size_t k = 0; k < n; k++)
            for (size_t i = 0; i < m; i++)
                by_chain[i * n + k] = by_step[k * m + i] = lm_chain_at(chain, first + k, i)[d];
        lm_error_clear(err);
        double rhat = lm_rhat(by_chain, m, n, err), bulk = lm_ess_bulk(by_chain, m, n, err),
               tail = lm_ess_tail(by_chain, m, n, err);
        bool trusted;
        double tau = lm_autocorrelation_time(by_step, n, m, &trusted, err) * (double)chain->thin;
        if (err->status == LM_EMEMORY) return LM_EMEMORY;
        /* NaN stays: too short to tell */
        ret->rhat = rhat <= ret->rhat ? ret->rhat : rhat;
        ret->ess_bulk = bulk >= ret->ess_bulk ? ret->ess_bulk : bulk;
        ret->ess_tail = tail >= ret->ess_tail ? ret->ess_tail : tail;
        ret->tau = tau <= ret->tau ? ret->tau : tau;
        ret->tau_trusted &= trusted;
        if (isnan(ret->rhat) || isnan(ret->ess_bulk)) break;
    }
    return LM_OK;
}
