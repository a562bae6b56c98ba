/* The chains of one posterior, from where they start to when they have converged, as one block of memory that can be saved at any step.
 *
 * Members are the walkers of an ensemble, or the chains of NUTS. Each step moves all of them once. Where they have been is kept, thinned
 * by two whenever CHAIN_KEPT steps are there, so that memory stays the same however long a chain is. What a step does depends on the
 * state and on the step's number alone: a chain that was saved and goes on is the chain that never stopped.
 */
#ifndef LM_OPERATORS_INFER_CHAIN_H
#define LM_OPERATORS_INFER_CHAIN_H

#include "operators/core/sampling.h"
#include "runtime/operator.h"

enum { CHAIN_KEPT = 1024 };

typedef enum lm_chain_kind { LM_CHAIN_ENSEMBLE, LM_CHAIN_NUTS } lm_chain_kind;

typedef struct lm_chain {
    uint32_t format, kind;
    uint64_t members, dim, warmup;
    uint64_t steps;       /* made */
    uint64_t thin, kept;  /* step thin, 2 thin, ... are kept */
    uint64_t evaluations; /* of the density, also while starts were sought */
    double seconds;       /* of all runs together */
    double best;          /* highest ln p that was seen */
    uint64_t size,
        history;      /* bytes of all; offset of [CHAIN_KEPT][members][dim] positions and [CHAIN_KEPT][members] ln p */
    uint64_t sampler; /* offset of the sampler's state, or of the first of several */
    uint64_t best_at; /* offset of [dim] */
} lm_chain;

/* Convergence of the second half of what was kept, the worst over all parameters. */
typedef struct lm_chain_report {
    double rhat, ess_bulk, ess_tail, tau; /* tau: autocorrelation time, in steps */
    bool tau_trusted;
    double acceptance;
    uint64_t divergent;
    size_t first; /* of the kept steps that count */
} lm_chain_report;

size_t lm_chain_size(lm_chain_kind kind, size_t members, size_t dim);
/* x [members][dim]: where they start. scale [dim]: how wide the density is about there. */
lm_status lm_chain_start(lm_chain *chain, lm_chain_kind kind, const lm_target *target, size_t members, size_t warmup,
                         const double *x, const double *scale, lm_error *err);
/* One step of all members. */
void lm_chain_step(lm_chain *chain, const lm_target *target, lm_step *step);
/* LM_EMEMORY alone. */
lm_status lm_chain_judge(const lm_chain *chain, lm_chain_report *ret, lm_error *err);
const double *lm_chain_at(const lm_chain *chain, size_t kept, size_t member); /* [dim] */
double lm_chain_log_density(const lm_chain *chain, size_t kept, size_t member);
double *lm_chain_best(lm_chain *chain); /* [dim] */

#endif
