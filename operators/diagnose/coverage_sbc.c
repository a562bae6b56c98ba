/* coverage.sbc: does the truth rank among the draws of its posterior as one of them? Simulation-based calibration.
 *
 *   u_ik = (#{draws < truth} + U (#{draws = truth} + 1))/(M_i + 1)   of simulation i and parameter k; U uniform on [0, 1)
 *
 * is exactly uniform if the posteriors are right (Talts et al. 2018, arXiv:1804.06788). Tested by Kolmogorov-Smirnov, by chi-square over
 * bins, and as a whole curve with the simultaneous band of Saeilynoja et al. 2022 (arXiv:2103.10522). See README.md of this folder.
 */
#include "operators/core/sbc.h"
#include "operators/core/special.h"
#include "operators/diagnose/_posterior_draws.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    LM_DRAWS_FIELDS;
    int64_t bins, points;
    double level;
} sbc;

static const lm_param params[] = {
    LM_DRAWS_PARAMS(sbc),
    LM_INT(
        sbc, bins, 0, .min = 0, .max = 10000,
        .doc =
            "bins of the histogram of ranks and of its chi-square; 0: as many as have 20 simulations each, from 2 to "
            "20"),
    LM_INT(sbc, points, 0, .min = 0, .max = 1000,
           .doc = "places between 0 and 1 at which the distribution of ranks is held against its band; 0: one for each "
                  "simulation, 100 at most"),
    LM_REAL(sbc, level, 0.95, .min = 0.5, .max = 0.9999,
            .doc =
                "probability that right posteriors stay within the band with the curves of all parameters, from end to "
                "end; the same of all bars of the histogram"),
    {0}};

static const lm_port ports[] = {{"in", LM_PORT_GATHER, "one record a simulation", false},
                                {"out", LM_PORT_OUT, "one record with ranks and tests of all parameters", false},
                                {0}};

static const lm_field fields[] = {
    LM_DRAWS_INPUTS,
    LM_OUT(
        "out", "u", LM_F64, "N D", "",
        "of each simulation and parameter: randomised rank of the truth, uniform on [0, 1) if the posterior is right"),
    LM_OUT("out", "z", LM_F64, "N D", "",
           "of each: (truth - mean)/standard deviation of the draws, NaN where they have no spread"),
    LM_OUT("out", "at", LM_F64, "E", "", "places from 0 to 1 of the curves below"),
    LM_OUT("out", "ecdf", LM_F64, "E D", "",
           "fraction of ranks below each place, minus the place: 0 if right. Up and then down: too many ranks at both "
           "ends, posteriors too narrow; down and up: too wide; of one sign: biased"),
    LM_OUT("out", "ecdf_low", LM_F64, "E", "", "lower edge of the band of right posteriors"),
    LM_OUT("out", "ecdf_high", LM_F64, "E", "", "upper edge of the band of right posteriors"),
    LM_OUT("out", "bin", LM_F64, "B", "", "middles of the bins of the histogram"),
    LM_OUT("out", "ranks", LM_F64, "B D", "", "number of simulations with their rank in each bin"),
    LM_OUT("out", "ranks_low", LM_F64, "B", "", "smallest count of the band of right posteriors"),
    LM_OUT("out", "ranks_high", LM_F64, "B", "", "largest count of the band of right posteriors"),
    LM_OUT("out", "parameter", LM_I64, "D", "", "place of each parameter in `names`, from 1"),
    LM_OUT("out", "ks_p", LM_F64, "D", "",
           "of each parameter: chance of ranks farther from uniform if all posteriors are right (one-sample "
           "Kolmogorov-Smirnov)"),
    LM_OUT("out", "chi2_p", LM_F64, "D", "", "of each parameter: the same for the counts in bins (chi-square)"),
    LM_OUT("out", "ecdf_p", LM_F64, "D", "",
           "of each parameter: the same for the curve against its band, which sees the ends of [0, 1] best"),
    LM_OUT("out", "z_mean", LM_F64, "D", "",
           "of each parameter: mean z, 0 -+ 1/sqrt(simulations) if right; above 0 where estimates are too low. NaN: no "
           "spread anywhere"),
    LM_OUT(
        "out", "z_var", LM_F64, "D", "",
        "of each parameter: variance of z, about 1 if right, above where posteriors are too narrow. NaN for less than "
        "two simulations with a spread"),
    LM_OUT(
        "out", "contraction", LM_F64, "D", "",
        "of each parameter: 1 - mean posterior variance/variance of the true values. 0: the data told nothing; 1: all. "
        "NaN where the true values are all alike, or a posterior has a single draw"),
    LM_OUT_ATTR("out", "names", LM_KIND_TEXT, "", "the parameters, parted by commas: the columns of the above"),
    LM_OUT_ATTR(
        "out", "p", LM_KIND_REAL, "",
        "chance of a parameter that fails Kolmogorov-Smirnov as badly as the worst of them all, if all posteriors "
        "are right"),
    LM_OUT_ATTR("out", "p_ecdf", LM_KIND_REAL, "",
                "the same of the curves against their band: below 1 - level if one of them leaves it"),
    LM_OUT_ATTR("out", "ks_p_min", LM_KIND_REAL, "", "smallest ks_p of the parameters, without regard to their number"),
    LM_OUT_ATTR("out", "worst", LM_KIND_TEXT, "", "the parameter that has it"),
    LM_OUT_ATTR("out", "n_sims", LM_KIND_INT, "", "number of simulations"),
    LM_OUT_ATTR("out", "n_samples", LM_KIND_INT, "",
                "number of draws, after thinning, of the simulation that has fewest"),
    LM_OUT_ATTR("out", "missing", LM_KIND_INT, "", "simulations that failed on the way here"),
    {0}};

static lm_status sbc_check(const void *self, lm_error *err)
{
    const sbc *s = self;
    return lm_draws_check(&LM_DRAWS_SPEC(s), err);
}

/* ---- ranks ---------------------------------------------------------------------------------------------------------- */

/* What is known of all simulations. */
typedef struct {
    size_t n, dims, fewest;
    double *u, *z, *truth; /* [n, dims] */
    double *narrow;        /* [dims] mean posterior variance; NaN from a single draw on */
} ranks;

static lm_status rank_one(const lm_draws_spec *spec, lm_step *step, size_t i, ranks *r, lm_draws *draws,
                          lm_sbc_tally *tally, lm_error *err)
{
    const lm_record *member;
    double *truth = r->truth + i * r->dims;
    LM_TRY(lm_step_member(step, "in", i, &member, err));
    LM_TRY(lm_draws_truth(spec, member, r->dims, truth, err));
    LM_TRY(lm_draws_take(spec, member, r->dims, truth, draws, err));
    if (!lm_sbc_count(draws->at, draws->n, r->dims, truth, tally))
        return lm_draws_explain(member, draws, r->dims, "draws", err);
    lm_random random = lm_step_random(step, i);
    for (size_t k = 0; k < r->dims; k++) {
        r->u[i * r->dims + k] = lm_sbc_rank(&tally[k], draws->n, lm_random_uniform(&random));
        r->z[i * r->dims + k] = lm_sbc_z(&tally[k]);
        r->narrow[k] += tally[k].variance / (double)r->n;
    }
    if (draws->n < r->fewest) r->fewest = draws->n;
    return lm_step_stopped(step) ? LM_ESTOP(step, err) : LM_OK;
}

static lm_status rank_all(const lm_draws_spec *spec, lm_step *step, ranks *r, lm_draws *draws, lm_error *err)
{
    size_t cells = r->n * r->dims;
    lm_sbc_tally *tally = lm_step_scratch(step, r->dims, sizeof *tally);
    r->truth = lm_step_scratch(step, cells, sizeof *r->truth);
    r->narrow = lm_step_scratch(step, r->dims, sizeof *r->narrow);
    if (!tally || !r->truth || !r->narrow) return LM_NOMEM(err);
    for (size_t k = 0; k < r->dims; k++) r->narrow[k] = 0;
    for (size_t i = 0; i < r->n; i++) LM_TRY(rank_one(spec, step, i, r, draws, tally, err));
    return lm_draws_verdict(spec, draws, err);
}

/* ---- results -------------------------------------------------------------------------------------------------------- */

static lm_status out(lm_step *step, const char *name, size_t a, size_t b, double **ret, lm_error *err)
{
    lm_tensor *tensor;
    LM_TRY(lm_step_out(step, "out", name, (size_t[]){a, b}, &tensor, err));
    *ret = tensor->data;
    return LM_OK;
}

static void column(const double *from, size_t n, size_t dims, size_t k, double *to)
{
    for (size_t i = 0; i < n; i++) to[i] = from[i * dims + k];
}

/* Mean and variance (n - 1) of what is finite; NaN where that is too little. */
static void moments(const double *x, size_t n, double *ret_mean, double *ret_variance)
{
    double sum = 0, square = 0, used = 0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(x[i])) sum += x[i], used++;
    double mean = used > 0 ? sum / used : (double)NAN;
    for (size_t i = 0; i < n; i++)
        if (isfinite(x[i])) square += (x[i] - mean) * (x[i] - mean);
    *ret_mean = mean;
    *ret_variance = used > 1 ? square / (used - 1) : (double)NAN;
}

static size_t bins_of(const sbc *s, size_t n)
{
    if (s->bins) return (size_t)s->bins;
    size_t bins = n / 20;
    return bins < 2 ? 2 : bins > 20 ? 20 : bins;
}

static size_t points_of(const sbc *s, size_t n)
{
    return s->points ? (size_t)s->points : n < 100 ? n : 100;
}

/* Bands for all parameters at once. Curves: each parameter has level^(1/dims), exact for independent ones. Bars: Bonferroni, since those
 * of one histogram are dependent anyhow. */
static lm_status put_bands(const sbc *s, lm_step *step, const ranks *r, size_t points, size_t bins, lm_error *err)
{
    double *at, *low, *high, *bin, covered, n = (double)r->n;
    size_t dims = r->dims ? r->dims : 1, edges = r->n ? points + 1 : 0;
    LM_TRY(out(step, "at", edges, 0, &at, err));
    LM_TRY(out(step, "ecdf_low", edges, 0, &low, err));
    LM_TRY(out(step, "ecdf_high", edges, 0, &high, err));
    if (edges) LM_TRY(lm_ecdf_band(r->n, points, pow(s->level, 1 / (double)dims), low, high, &covered, err));
    for (size_t k = 0; k < edges; k++) {
        at[k] = (double)k / (double)points;
        low[k] = low[k] / n - at[k];
        high[k] = high[k] / n - at[k];
    }
    LM_TRY(out(step, "bin", bins, 0, &bin, err));
    LM_TRY(out(step, "ranks_low", bins, 0, &low, err));
    LM_TRY(out(step, "ranks_high", bins, 0, &high, err));
    double odd = (1 - s->level) / (double)(bins * dims) / 2, part = 1 / (double)bins;
    for (size_t b = 0; b < bins; b++) {
        bin[b] = ((double)b + 0.5) / (double)bins;
        low[b] = high[b] = n;
        if (bins == 1) continue;
        low[b] = (double)lm_binomial_low(r->n, part, odd);
        high[b] = (double)(r->n - lm_binomial_low(r->n, 1 - part, odd));
    }
    return LM_OK;
}

/* Everything that follows from the ranks of one parameter after the other. ret_ks_p, ret_ecdf_p [dims]: borrowed. */
static lm_status put_tests(const sbc *s, lm_step *step, const ranks *r, double **ret_ks_p, double **ret_ecdf_p,
                           lm_error *err)
{
    size_t n = r->n, dims = r->dims, bins = bins_of(s, n), points = points_of(s, n);
    double *ecdf, *bars, *ks_p, *chi2_p, *ecdf_p, *mean, *variance, *contraction;
    LM_TRY(put_bands(s, step, r, points, bins, err));
    LM_TRY(out(step, "ecdf", n ? points + 1 : 0, dims, &ecdf, err));
    LM_TRY(out(step, "ranks", bins, dims, &bars, err));
    LM_TRY(out(step, "ks_p", dims, 0, &ks_p, err));
    LM_TRY(out(step, "chi2_p", dims, 0, &chi2_p, err));
    LM_TRY(out(step, "ecdf_p", dims, 0, &ecdf_p, err));
    LM_TRY(out(step, "z_mean", dims, 0, &mean, err));
    LM_TRY(out(step, "z_var", dims, 0, &variance, err));
    LM_TRY(out(step, "contraction", dims, 0, &contraction, err));
    size_t room = n > points && n > bins ? n : points > bins ? points : bins;
    double *values = lm_step_scratch(step, n + 1, sizeof *values),
           *counts = lm_step_scratch(step, room + 1, sizeof *counts);
    if (!values || !counts) return LM_NOMEM(err);
    for (size_t k = 0; k < dims && n; k++) {
        double ignored, spread;
        column(r->u, n, dims, k, values);
        chi2_p[k] = lm_sbc_histogram(values, n, bins, counts);
        for (size_t b = 0; b < bins; b++) bars[b * dims + k] = counts[b];
        lm_ecdf_counts(values, n, points, counts);
        for (size_t e = 0; e <= points; e++) ecdf[e * dims + k] = counts[e] / (double)n - (double)e / (double)points;
        LM_TRY(lm_ecdf_p(counts, n, points, &ecdf_p[k], err));
        ks_p[k] = lm_ks_tail(lm_ks_uniform(values, n), n); /* sorts values */
        column(r->z, n, dims, k, values);
        moments(values, n, &mean[k], &variance[k]);
        column(r->truth, n, dims, k, values);
        moments(values, n, &ignored, &spread);
        contraction[k] = spread > 0 ? 1 - r->narrow[k] / spread : (double)NAN;
        if (lm_step_stopped(step)) return LM_ESTOP(step, err);
    }
    *ret_ks_p = ks_p;
    *ret_ecdf_p = ecdf_p;
    return LM_OK;
}

/* "sie_theta_E", or "3" where parameters have no names. */
static const char *name_of(const sbc *s, size_t k, char buffer[24])
{
    if (s->parameters.n) return s->parameters.at[k];
    snprintf(buffer, 24, "%zu", k + 1);
    return buffer;
}

static lm_status put_names(const sbc *s, lm_step *step, size_t dims, lm_error *err)
{
    char number[24];
    size_t room = 1, used = 0;
    for (size_t k = 0; k < dims; k++) room += strlen(name_of(s, k, number)) + 1;
    char *text = lm_step_scratch(step, room, 1);
    lm_tensor *place;
    if (!text) return LM_NOMEM(err);
    *text = 0;
    for (size_t k = 0; k < dims; k++)
        used += (size_t)snprintf(text + used, room - used, "%s%s", k ? "," : "", name_of(s, k, number));
    LM_TRY(lm_step_set(step, "out", "names", lm_text_value(text), "parameters", err));
    LM_TRY(lm_step_out(step, "out", "parameter", &dims, &place, err));
    for (size_t k = 0; k < dims; k++) ((int64_t *)place->data)[k] = (int64_t)k + 1;
    return LM_OK;
}

/* NAME_ks_p of a parameter that has a name. */
static lm_status put_named(const sbc *s, lm_step *step, size_t k, double ks_p, lm_error *err)
{
    size_t room = strlen(s->parameters.at[k]) + sizeof "_ks_p";
    char *name = lm_step_scratch(step, room, 1);
    if (!name) return LM_NOMEM(err);
    snprintf(name, room, "%s_ks_p", s->parameters.at[k]);
    return lm_step_set(step, "out", name, lm_real(ks_p), "p value: are its ranks uniform?", err);
}

/* Which of n numbers is the smallest; 0 for none. */
static size_t smallest(const double *x, size_t n)
{
    size_t found = 0;
    for (size_t k = 1; k < n; k++)
        if (x[k] < x[found]) found = k;
    return found;
}

static lm_status report(const sbc *s, lm_step *step, const ranks *r, lm_error *err)
{
    double *ks_p = NULL, *ecdf_p = NULL, least = NAN, least_ecdf = NAN;
    char number[24];
    const char *name = "";
    LM_TRY(put_tests(s, step, r, &ks_p, &ecdf_p, err));
    if (r->n) {
        size_t worst = smallest(ks_p, r->dims);
        least = ks_p[worst];
        least_ecdf = ecdf_p[smallest(ecdf_p, r->dims)];
        name = name_of(s, worst, number);
    }
    LM_TRY(put_names(s, step, r->dims, err));
    LM_TRY(
        lm_step_set(step, "out", "p", lm_real(lm_p_of_smallest(least, r->dims)), "p value over all parameters", err));
    LM_TRY(lm_step_set(step, "out", "p_ecdf", lm_real(lm_p_of_smallest(least_ecdf, r->dims)), "the same of the curves",
                       err));
    LM_TRY(lm_step_set(step, "out", "ks_p_min", lm_real(least), "smallest p value of a parameter", err));
    LM_TRY(lm_step_set(step, "out", "worst", lm_text_value(name), "the parameter that has it", err));
    for (size_t k = 0; k < s->parameters.n && r->n; k++) LM_TRY(put_named(s, step, k, ks_p[k], err));
    LM_TRY(lm_step_set(step, "out", "n_sims", lm_int((int64_t)r->n), "simulations", err));
    LM_TRY(lm_step_set(step, "out", "n_samples", lm_int((int64_t)r->fewest), "draws of each, at least", err));
    return lm_step_set(step, "out", "missing", lm_int((int64_t)lm_step_missing(step, "in")), "simulations that failed",
                       err);
}

static lm_status sbc_step(const void *self, lm_step *step, lm_error *err)
{
    const sbc *s = self;
    const lm_draws_spec spec = LM_DRAWS_SPEC(s);
    ranks r = {.n = lm_step_count(step, "in"), .dims = s->parameters.n, .fewest = SIZE_MAX};
    if (r.n) {
        const lm_record *first;
        LM_TRY(lm_step_member(step, "in", 0, &first, err));
        LM_TRY(lm_draws_dims(&spec, first, &r.dims, err));
    }
    LM_TRY(out(step, "u", r.n, r.dims, &r.u, err));
    LM_TRY(out(step, "z", r.n, r.dims, &r.z, err));
    if (!r.n) {
        r.fewest = 0;
        return report(s, step, &r, err);
    }
    lm_draws draws = {0};
    lm_status status = rank_all(&spec, step, &r, &draws, err);
    lm_draws_done(&draws);
    return status ? status : report(s, step, &r, err);
}

const lm_operator lm_op_coverage_sbc = {
    .struct_size = sizeof(lm_operator),
    .name = "coverage.sbc",
    .version = 1,
    .summary = "Test posteriors by the rank of the truth among draws (SBC)",
    .doc =
        "Takes one record for each of many simulations: draws from the posterior that an inference gave, and the "
        "parameters that the simulation was really made with, drawn from the inference's own prior. If the posteriors "
        "are right, the truth is one more draw, and its rank among them is uniform: for each parameter that is tested, "
        "and `p` and `p_ecdf` are verdicts over all of them, uniform numbers. Where they are small, `worst` says which "
        "parameter, "
        "the curve `ecdf` says how it is wrong, and z_mean and z_var by how much.\n"
        "Ranks are spread at random over their step, so that any number of draws and draws that equal the truth give "
        "exactly uniform numbers. They are taken parameter by parameter: an inference that returns the prior passes "
        "(look at `contraction`), and so do wrong correlations; coverage.tarp with derived references sees both. "
        "Draws must be independent of each other: a chain's want `thin_to: ess`, or right posteriors fail.\n"
        "The chain: lens.prior draws theta_E and e1 as attributes, lens.simulate makes an image of `{theta_E}`, "
        "infer.mcmc "
        "its posterior (`samples`, `names`), and here, over the window of all, `parameters: [sie_theta_E, sie_e1], "
        "truths: [theta_E, e1], thin_to: ess`.",
    .example = "{bins: 3, level: 0.9}",
    .shape = LM_GATHER,
    .flags = LM_RANDOM,
    .size = sizeof(sbc),
    .params = params,
    .ports = ports,
    .fields = fields,
    .check = sbc_check,
    .step = sbc_step,
};
