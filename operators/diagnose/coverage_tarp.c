/* coverage.tarp: are posteriors as wide as they should be, and where they should be? Tests of accuracy with random points.
 *
 *   f_i = (draws of simulation i closer to its reference point than the truth is) / M_i
 *   ECP(alpha) = (simulations with f_i < alpha) / N,  ECP = alpha if the posteriors are right
 *   u_i = (r_i + U (e_i + 1)) / (M_i + 1),  r strictly closer, e exactly as far, U uniform: exactly uniform under the truth
 *
 * Lemos, Coogan, Hezaveh & Perreault-Levasseur 2023 (arXiv:2302.03026). See README.md of this folder.
 */
#include "operators/core/special.h"
#include "operators/core/tarp.h"
#include "operators/diagnose/_posterior_draws.h"

#include <string.h>

typedef struct {
    LM_DRAWS_FIELDS;
    int references, distance;
    bool normalise;
    lm_reals offset;
    int64_t bins, bootstrap;
    double level;
} tarp;

enum { UNIFORM, GIVEN, DERIVED };
static const char *const reference_kinds[] = {"uniform", "given", "derived", NULL};
static const char *const distances[] = {"euclidean", "manhattan", NULL};

static const lm_param params[] = {
    LM_DRAWS_PARAMS(tarp),
    LM_CHOICE(
        tarp, references, "uniform", reference_kinds,
        .doc =
            "where the reference points come from. uniform: drawn from the box that the true values span. given: "
            "the tensor `reference`, used as it is (in the unit cube if normalise is true). derived: the tensor "
            "`reference` holds an estimate in the parameters' own units, made from the observation alone (never from "
            "the draws or the truth), to which `offset` is added. Uniform references cannot tell the prior from the "
            "posterior, and hardly see a bias: run derived ones as well"),
    LM_BOOL(tarp, normalise, true,
            .doc =
                "measure each parameter in units of the range of its true values, so that distances do not depend on "
                "units"),
    LM_CHOICE(tarp, distance, "euclidean", distances, .doc = "the metric: sum of squares, or sum of absolute values"),
    LM_REALS(tarp, offset, "[0.1]",
             .doc = "of derived references: how far from the estimate they lie, as a fraction of each parameter's "
                    "range of true "
                    "values; one number for all parameters, or one for each"),
    LM_INT(tarp, bins, 0, .min = 0, .max = 100000,
           .doc =
               "number of steps of the credibility level alpha from 0 to 1; 0: a tenth of the number of simulations"),
    LM_INT(tarp, bootstrap, 100, .min = 0, .max = 100000,
           .doc = "how often the simulations are resampled to find the scatter of the curve; 0: no band"),
    LM_REAL(tarp, level, 0.68, .min = 0.01, .max = 0.999,
            .doc = "fraction of the resampled curves that lies between ecp_low and ecp_high"),
    {0}};

static const lm_port ports[] = {{"in", LM_PORT_GATHER, "one record a simulation", false},
                                {"out", LM_PORT_OUT, "one record with the coverage curve", false},
                                {0}};

static const lm_field fields[] = {
    LM_DRAWS_INPUTS,
    LM_IN_OPT("in", "reference", LM_NUMBERS, "*", "*", "reference point, [parameters]: see `references`"),
    LM_OUT("out", "alpha", LM_F64, "E", "", "credibility levels from 0 to 1"),
    LM_OUT("out", "ecp", LM_F64, "E", "",
           "expected coverage: above alpha where posteriors are too wide, below where too narrow "
           "or biased"),
    LM_OUT_OPT("out", "ecp_sd", LM_F64, "E", "", "standard deviation of the coverage over resampled simulations"),
    LM_OUT_OPT("out", "ecp_low", LM_F64, "E", "", "lower end of the central interval of the resampled curves"),
    LM_OUT_OPT("out", "ecp_high", LM_F64, "E", "", "upper end of the central interval of the resampled curves"),
    LM_OUT("out", "f", LM_F64, "N", "", "of each simulation: fraction of draws closer to the reference than the truth"),
    LM_OUT("out", "u", LM_F64, "N", "",
           "of each simulation: randomised rank, uniform on [0, 1) if the posterior is right"),
    LM_OUT_ATTR("out", "ks_p", LM_KIND_REAL, "",
                "chance of a u farther from uniform if all posteriors are right "
                "(one-sample Kolmogorov-Smirnov)"),
    LM_OUT_ATTR("out", "ks", LM_KIND_REAL, "", "largest distance of the distribution of u from uniform"),
    LM_OUT_ATTR("out", "atc", LM_KIND_REAL, "",
                "area between curve and diagonal for alpha > 1/2: negative where posteriors are "
                "too narrow or biased, positive where too wide"),
    LM_OUT_ATTR("out", "n_sims", LM_KIND_INT, "", "number of simulations"),
    LM_OUT_ATTR("out", "n_samples", LM_KIND_INT, "",
                "number of draws, after thinning, of the simulation that has fewest"),
    LM_OUT_ATTR("out", "missing", LM_KIND_INT, "", "simulations that failed on the way here"),
    {0}};

/* What the first pass keeps: [n, dims] each. */
typedef struct {
    size_t n, dims;
    double *truth, *reference; /* reference: NULL for uniform ones */
} points;

static lm_status read_points(const tarp *t, lm_step *step, points *p, lm_error *err)
{
    const lm_draws_spec spec = LM_DRAWS_SPEC(t);
    for (size_t i = 0; i < p->n; i++) {
        const lm_record *member;
        LM_TRY(lm_step_member(step, "in", i, &member, err));
        if (i == 0) {
            LM_TRY(lm_draws_dims(&spec, member, &p->dims, err));
            p->truth = lm_step_scratch(step, p->n, p->dims * sizeof *p->truth);
            if (!p->truth) return LM_NOMEM(err);
            if (t->references != UNIFORM) {
                p->reference = lm_step_scratch(step, p->n, p->dims * sizeof *p->reference);
                if (!p->reference) return LM_NOMEM(err);
            }
        }
        LM_TRY(lm_draws_truth(&spec, member, p->dims, p->truth + i * p->dims, err));
        if (p->reference) LM_TRY(lm_draws_point(member, "reference", p->dims, p->reference + i * p->dims, err));
        if (lm_step_stopped(step)) return LM_ESTOP(step, err);
    }
    return LM_OK;
}

/* The reference point of simulation i, in the parameters' units. */
static void place_reference(const tarp *t, lm_step *step, const points *p, const lm_tarp_space *space, size_t i,
                            double *to)
{
    if (t->references == UNIFORM) {
        lm_random random = lm_step_random(step, 2 * i);
        for (size_t k = 0; k < p->dims; k++)
            to[k] = space->low[k] + (space->high[k] - space->low[k]) * lm_random_uniform(&random);
        return;
    }
    const double *given = p->reference + i * p->dims;
    for (size_t k = 0; k < p->dims; k++) {
        if (t->references == DERIVED)
            to[k] = given[k] + t->offset.at[t->offset.n == 1 ? 0 : k] * (space->high[k] - space->low[k]);
        else to[k] = t->normalise ? space->low[k] + given[k] * space->width[k] : given[k];
    }
}

/* Counts the draws of every simulation: f and u. */
static lm_status count_draws(const tarp *t, lm_step *step, const points *p, lm_tarp_space *space, lm_draws *draws,
                             double *f, double *u, size_t *ret_fewest, lm_error *err)
{
    const lm_draws_spec spec = LM_DRAWS_SPEC(t);
    double *reference = lm_step_scratch(step, p->dims, sizeof *reference);
    if (!reference) return LM_NOMEM(err);
    size_t fewest = SIZE_MAX;
    for (size_t i = 0; i < p->n; i++) {
        const lm_record *member;
        const double *truth = p->truth + i * p->dims;
        LM_TRY(lm_step_member(step, "in", i, &member, err));
        LM_TRY(lm_draws_take(&spec, member, p->dims, truth, draws, err));
        place_reference(t, step, p, space, i, reference);
        lm_tarp_rank rank = lm_tarp_count(space, draws->at, draws->n, truth, reference);
        if (!rank.finite) return lm_draws_explain(member, draws, p->dims, "distances", err);
        lm_random random = lm_step_random(step, 2 * i + 1);
        double n = (double)draws->n;
        f[i] = (double)rank.closer / n;
        u[i] = ((double)rank.closer + lm_random_uniform(&random) * ((double)rank.equal + 1)) / (n + 1);
        if (draws->n < fewest) fewest = draws->n;
        if (lm_step_stopped(step)) return LM_ESTOP(step, err);
    }
    *ret_fewest = fewest;
    return lm_draws_verdict(&spec, draws, err);
}

static lm_status out(lm_step *step, const char *name, size_t n, double **ret, lm_error *err)
{
    lm_tensor *tensor;
    LM_TRY(lm_step_out(step, "out", name, &n, &tensor, err));
    *ret = tensor->data;
    return LM_OK;
}

static lm_status set_results(lm_step *step, double ks, double ks_p, double atc, size_t n, size_t fewest, lm_error *err)
{
    LM_TRY(lm_step_set(step, "out", "ks_p", lm_real(ks_p), "p value: are the ranks uniform?", err));
    LM_TRY(lm_step_set(step, "out", "ks", lm_real(ks), "Kolmogorov-Smirnov distance of the ranks", err));
    LM_TRY(lm_step_set(step, "out", "atc", lm_real(atc), "area to curve: < 0 too narrow or biased", err));
    LM_TRY(lm_step_set(step, "out", "n_sims", lm_int((int64_t)n), "simulations", err));
    LM_TRY(lm_step_set(step, "out", "n_samples", lm_int((int64_t)fewest), "draws of each, at least", err));
    return lm_step_set(step, "out", "missing", lm_int((int64_t)lm_step_missing(step, "in")), "simulations that failed",
                       err);
}

/* The engine's stream, as the core asks for it. */
static uint64_t below(void *random, uint64_t n)
{
    return lm_random_below(random, n);
}

/* Everything that follows from f and u. */
static lm_status report(const tarp *t, lm_step *step, const points *p, const double *f, double *u, size_t fewest,
                        lm_error *err)
{
    size_t n = p->n, bins = t->bins ? (size_t)t->bins : n / 10 ? n / 10 : 1;
    double *alpha, *ecp, *sd, *low, *high, *out_f, *out_u;
    LM_TRY(out(step, "alpha", n ? bins + 1 : 0, &alpha, err));
    LM_TRY(out(step, "ecp", n ? bins + 1 : 0, &ecp, err));
    LM_TRY(out(step, "f", n, &out_f, err));
    LM_TRY(out(step, "u", n, &out_u, err));
    if (n == 0) return set_results(step, NAN, NAN, NAN, 0, 0, err);
    memcpy(out_f, f, n * sizeof *f);
    memcpy(out_u, u, n * sizeof *u);
    lm_tarp_curve(f, n, bins, alpha, ecp);
    if (t->bootstrap) {
        lm_random random = lm_step_random(step, UINT64_MAX);
        LM_TRY(out(step, "ecp_sd", bins + 1, &sd, err));
        LM_TRY(out(step, "ecp_low", bins + 1, &low, err));
        LM_TRY(out(step, "ecp_high", bins + 1, &high, err));
        LM_TRY(lm_tarp_bootstrap(f, n, bins, (size_t)t->bootstrap, t->level, below, &random, sd, low, high, err));
    }
    double ks = lm_ks_uniform(u, n); /* sorts u */
    return set_results(step, ks, lm_ks_tail(ks, n), lm_tarp_atc(alpha, ecp, bins), n, fewest, err);
}

static lm_status tarp_check(const void *self, lm_error *err)
{
    const tarp *t = self;
    return lm_draws_check(&LM_DRAWS_SPEC(t), err);
}

static lm_status tarp_step(const void *self, lm_step *step, lm_error *err)
{
    const tarp *t = self;
    points p = {.n = lm_step_count(step, "in")};
    if (p.n == 0) return report(t, step, &p, NULL, NULL, 0, err);
    LM_TRY(read_points(t, step, &p, err));
    if (t->references == DERIVED && t->offset.n != 1 && t->offset.n != p.dims)
        return LM_FAIL(err, LM_EINPUT, "\"offset\" has %zu numbers: one, or one for each of %zu parameters, is wanted",
                       t->offset.n, p.dims);
    double *f = lm_step_scratch(step, p.n, sizeof *f), *u = lm_step_scratch(step, p.n, sizeof *u);
    if (!f || !u) return LM_NOMEM(err);
    lm_tarp_space space;
    LM_TRY(lm_tarp_space_init(&space, p.truth, p.n, p.dims, t->normalise, (lm_tarp_distance)t->distance, err));
    lm_draws draws = {0};
    size_t fewest = 0;
    lm_status status = count_draws(t, step, &p, &space, &draws, f, u, &fewest, err);
    lm_draws_done(&draws);
    lm_tarp_space_done(&space);
    return status ? status : report(t, step, &p, f, u, fewest, err);
}

const lm_operator lm_op_coverage_tarp = {
    .name = "coverage.tarp",
    .version = 2,
    .summary = "Test the coverage of posteriors with random points (TARP)",
    .doc =
        "Takes one record for each of many simulations: draws from the posterior that an inference gave, and the "
        "parameters "
        "that the simulation was really made with. If the posteriors are right, the truth is no closer to a "
        "reference point, "
        "and no farther from it, than a draw is; the coverage curve then follows the diagonal within its band, and "
        "ks_p is a "
        "uniform number. A small ks_p with a negative atc means posteriors that are too narrow or biased, with a "
        "positive "
        "one posteriors that are too wide.\n"
        "Reference points must not know the truth. Uniform ones test the width; only references that depend on the "
        "observation (derived) can find an inference that returns the prior, and they see a bias best.\n"
        "Of a chain lens.prior, lens.simulate, infer.mcmc: `parameters: [sie_theta_E, sie_e1], truths: [theta_E, e1], "
        "thin_to: ess` takes columns of the chain's `samples`, and the true values from the attributes that lens.prior "
        "drew. coverage.sbc looks at the same draws a parameter at a time.",
    .example = "{references: uniform, bins: 20}",
    .shape = LM_GATHER,
    .flags = LM_RANDOM,
    .size = sizeof(tarp),
    .params = params,
    .ports = ports,
    .fields = fields,
    .check = tarp_check,
    .step = tarp_step,
};
