/* infer.mcmc: the posterior of a lens model for an image, by Markov chains. */
#include "operators/_draw.h"
#include "operators/core/lensing/critical.h"
#include "operators/core/optimise.h"
#include "operators/infer/_chain.h"
#include "operators/infer/_climb.h"
#include "operators/infer/_posterior.h"
#include "operators/lens/_mask.h"
#include "runtime/alloc.h"
#include "runtime/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct {
    json_t *mass, *source, *light, *mask, *positions, *sampler;
    double pixel;
    int64_t sub;
    /* from open() on */
    lm_positions images;
} mcmc;

#define COMPONENTS                                                                                                     \
    "{\"type\": \"array\", \"minItems\": 1, \"items\": {\"type\": \"object\", \"required\": [\"type\"], "              \
    "\"properties\": "                                                                                                 \
    "{\"type\": {\"type\": \"string\"}}, \"additionalProperties\": {\"type\": [\"number\", \"string\", \"array\", "    \
    "\"object\"]}}}"

static const lm_param params[] = {
    LM_TREE(mcmc, mass, NULL, .required = true, .per_record = true, .schema = COMPONENTS,
            .doc =
                "list of mass components as in lens.maps, where a value may be a prior: {uniform: [0.5, 2]}, {normal: "
                "[2, 0.1], min: 1.2, max: 2.8}, {loguniform: ..}, {lognormal: ..}. e1, e2 rather than q, phi"),
    LM_TREE(
        mcmc, source, NULL, .required = true, .per_record = true,
        .schema = "{\"anyOf\": [{\"type\": \"object\"}, " COMPONENTS "]}",
        .doc =
            "list of light components behind the lens, or {type: pixels, shape: [40, 40], prior: curvature, lambda: "
            "..} for a source on pixels, which is solved for and marginalised. What is not given of a component has a "
            "wide prior, its amplitude a flat one, marginalised too; {count: 2} repeats one"),
    LM_TREE(mcmc, light, NULL, .per_record = true, .schema = COMPONENTS,
            .doc = "list of light components of the lens galaxy, unlensed; defaults and priors as for the source"),
    LM_TREE(mcmc, mask, NULL, .schema = LM_MASK_SCHEMA, .doc = LM_MASK_DOC),
    LM_TREE(mcmc, positions, NULL, .schema = "{\"type\": \"object\"}",
            .doc =
                "images of one point of the source: {at: [[x, y], ..]} in arcsec or {file: a JSON list of [y, x]}, and "
                "`threshold`: models that do not trace them back within so many arcsec of each other are excluded"),
    LM_TREE(mcmc, sampler, "{}", .lengths = "until limit steps", .schema = "{\"type\": \"object\"}",
            .doc =
                "{type: ensemble (stretch moves) or nuts (exact gradients; parametric sources), walkers: 0 (chosen), "
                "chains: 4, warmup: 500, starts: 64, until: {ess: 400, rhat: 1.05}, steps: 100000, limit: 2h}. It ends "
                "when "
                "`until` holds for every parameter, or after `steps` steps, or `limit` of time: these may grow later, "
                "and the chain goes on where it stopped"),
    LM_REAL(mcmc, pixel, NAN, .unit = "arcsec", .per_record = true,
            .doc = "size of the image's pixels; unset: the attribute \"pixel\" of the record"),
    LM_INT(mcmc, sub, 2, .min = 1, .max = 16, .doc = "rays along a pixel's side: its brightness is their mean"),
    {0}};

static const lm_field fields[] = {
    LM_IN("in", "image", LM_ANY_DTYPE, "H W", "*", "mean surface brightness of pixels"),
    LM_IN("in", "noise", LM_ANY_DTYPE, "H W", "*", "standard deviation of the noise"),
    LM_IN_OPT("in", "psf", LM_ANY_DTYPE, "PH PW", "*", "point spread function on the image's pixels"),
    LM_IN_OPT("in", "*", LM_ANY_DTYPE, "*", "*", "masks and others; they stay, but for those named here"),
    LM_OUT("out", "samples", LM_F64, "N D", "*", "draws of the posterior, a parameter a column"),
    LM_OUT("out", "ln_likelihood", LM_F64, "N", "", "of each draw"),
    LM_OUT("out", "model", LM_F64, "H W", "=", "the best sample's image, NaN outside the mask"),
    LM_OUT("out", "residual", LM_F64, "H W", "", "(image - model)/noise, NaN outside the mask"),
    LM_OUT("out", "mask", LM_U8, "H W", "", "0 where data were fitted, 1 elsewhere"),
    LM_OUT_ATTR("out", "names", LM_KIND_TEXT, "", "the columns of `samples`, parted by commas"),
    LM_OUT_ATTR("out", "mass", LM_KIND_TEXT, "",
                "the best sample's components in JSON, as `mass: \"{mass}\"` takes them"),
    LM_OUT_ATTR("out", "converged", LM_KIND_BOOL, "", "did `until` hold at the end"),
    LM_OUT_ATTR("out", "rhat", LM_KIND_REAL, "", "rank-normalised split R-hat, the largest of all parameters"),
    LM_OUT_ATTR("out", "ess", LM_KIND_REAL, "",
                "effective number of draws, the smaller of bulk and tail, the smallest of all"),
    LM_OUT_ATTR("out", "theta_eff", LM_KIND_REAL, "arcsec",
                "effective Einstein radius of the best sample, if it has one"),
    {0}};

/* ---- how to sample ---- */

typedef struct {
    lm_chain_kind kind;
    size_t walkers, chains, warmup, starts, steps;
    double ess, rhat, limit_s;
} plan;

static lm_status count_of(const json_t *tree, const char *name, size_t least, size_t most, size_t *ret, lm_error *err)
{
    const json_t *value = json_object_get(tree, name);
    if (!value) return LM_OK;
    if (!json_is_integer(value) || json_integer_value(value) < (json_int_t)least ||
        json_integer_value(value) > (json_int_t)most)
        return LM_FAIL(err, LM_EINPUT, "\"%s\" of the sampler is a whole number from %zu to %zu", name, least, most);
    *ret = (size_t)json_integer_value(value);
    return LM_OK;
}

static lm_status known_names(const json_t *tree, const char *what, const char *const *names, lm_error *err)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)tree, name, value)
    {
        lm_nearest nearest;
        lm_nearest_init(&nearest, name);
        size_t i = 0;
        for (; names[i] && strcmp(names[i], name) != 0; i++) lm_nearest_offer(&nearest, names[i]);
        char hint[100] = "";
        if (!names[i] && nearest.best) snprintf(hint, sizeof hint, "Did you mean \"%s\"?", nearest.best);
        if (!names[i]) return LM_FAIL_HINT(err, LM_EINPUT, hint, "\"%s\" has no \"%s\"", what, name);
    }
    return LM_OK;
}

static lm_status read_until(const json_t *until, plan *ret, lm_error *err)
{
    static const char *const names[] = {"ess", "rhat", NULL};
    const json_t *ess = json_object_get(until, "ess"), *rhat = json_object_get(until, "rhat");
    LM_TRY(known_names(until, "until", names, err));
    if (ess) ret->ess = json_number_value(ess);
    if (rhat) ret->rhat = json_number_value(rhat);
    if (!(ret->ess > 0) || !(ret->rhat > 1))
        return LM_FAIL_HINT(err, LM_EINPUT, "For example: until: {ess: 400, rhat: 1.05}",
                            "\"until\" wants an ess above 0 and an rhat above 1");
    return LM_OK;
}

static lm_status read_plan(const json_t *tree, plan *ret, lm_error *err)
{
    static const char *const names[] = {"type",  "walkers", "chains", "warmup", "starts",
                                        "steps", "until",   "limit",  NULL};
    LM_TRY(known_names(tree, "sampler", names, err));
    const char *type = json_string_value(json_object_get(tree, "type"));
    bool nuts = type && strcmp(type, "nuts") == 0;
    if (json_object_get(tree, "type") && !nuts && (!type || strcmp(type, "ensemble") != 0))
        return LM_FAIL_HINT(err, LM_EINPUT, "It is ensemble or nuts.", "the sampler's type \"%s\" is unknown",
                            type ? type : "");
    *ret = (plan){.kind = nuts ? LM_CHAIN_NUTS : LM_CHAIN_ENSEMBLE,
                  .chains = 4,
                  .warmup = 500,
                  .starts = 64,
                  .steps = 100000,
                  .ess = 400,
                  .rhat = nuts ? 1.01 : 1.05,
                  .limit_s = INFINITY};
    LM_TRY(count_of(tree, "walkers", 0, 4096, &ret->walkers, err));
    LM_TRY(count_of(tree, "chains", 1, 256, &ret->chains, err));
    LM_TRY(count_of(tree, "warmup", 20, 100000, &ret->warmup, err));
    LM_TRY(count_of(tree, "starts", 1, 100000, &ret->starts, err));
    LM_TRY(count_of(tree, "steps", 1, 100000000, &ret->steps, err));
    LM_TRY(read_until(json_object_get(tree, "until"), ret, err));
    const json_t *limit = json_object_get(tree, "limit");
    if (json_is_number(limit)) ret->limit_s = json_number_value(limit);
    else if (limit && (!json_is_string(limit) || !lm_parse_duration(json_string_value(limit), &ret->limit_s)))
        return LM_FAIL(err, LM_EINPUT, "\"limit\" of the sampler is a duration such as \"2h\" or a number of seconds");
    return ret->limit_s > 0 ? LM_OK : LM_FAIL(err, LM_EINPUT, "\"limit\" of the sampler is a time above 0");
}

/* ---- positions ---- */

static lm_status read_pairs(const json_t *list, bool y_first, lm_positions *to, lm_error *err)
{
    size_t n = json_array_size(list);
    if (n < 2) return LM_FAIL(err, LM_EINPUT, "\"positions\" wants a list of at least two pairs of numbers");
    to->x = lm_alloc(2 * n, sizeof *to->x);
    if (!to->x) return LM_NOMEM(err);
    to->y = to->x + n;
    for (size_t i = 0; i < n; i++) {
        const json_t *pair = json_array_get(list, i), *a = json_array_get(pair, 0), *b = json_array_get(pair, 1);
        if (json_array_size(pair) != 2 || !json_is_number(a) || !json_is_number(b))
            return LM_FAIL(err, LM_EINPUT, "position %zu is no pair of numbers", i + 1);
        to->x[i] = json_number_value(y_first ? b : a);
        to->y[i] = json_number_value(y_first ? a : b);
    }
    to->n = n;
    return LM_OK;
}

static lm_status check_positions(const json_t *tree, lm_error *err)
{
    static const char *const names[] = {"at", "file", "threshold", NULL};
    LM_TRY(known_names(tree, "positions", names, err));
    const json_t *at = json_object_get(tree, "at"), *file = json_object_get(tree, "file"),
                 *threshold = json_object_get(tree, "threshold");
    if (!tree) return LM_OK;
    if (!at == !file || (at && !json_is_array(at)) || (file && !json_is_string(file)))
        return LM_FAIL_HINT(err, LM_EINPUT, "For example: positions: {at: [[1.2, 0.3], [-0.8, 0.1]], threshold: 0.3}",
                            "\"positions\" has either a list `at` or a `file`");
    return json_number_value(threshold) > 0
               ? LM_OK
               : LM_FAIL(err, LM_EINPUT, "\"threshold\" of \"positions\" is a number above 0, in arcsec");
}

static lm_status mcmc_check(const void *self, lm_error *err)
{
    const mcmc *s = self;
    plan p;
    LM_TRY(read_plan(s->sampler, &p, err));
    LM_TRY(check_positions(s->positions, err));
    if (p.kind == LM_CHAIN_NUTS && json_is_object(s->source))
        return LM_FAIL_HINT(err, LM_EINPUT, "Take `type: ensemble`.",
                            "nuts needs gradients, which a source on pixels has not");
    return lm_posterior_check(
        &(lm_posterior_spec){.mass = s->mass, .source = s->source, .light = s->light, .mask = s->mask}, err);
}

static lm_status mcmc_open(void *self, lm_error *err)
{
    mcmc *s = self;
    const char *file = json_string_value(json_object_get(s->positions, "file"));
    s->images.threshold = json_number_value(json_object_get(s->positions, "threshold"));
    if (!s->positions) return LM_OK;
    if (!file) return read_pairs(json_object_get(s->positions, "at"), false, &s->images, err);
    json_error_t why;
    json_t *list = json_load_file(file, 0, &why);
    if (!list) return LM_FAIL(err, LM_EIO, "cannot read positions from \"%s\": %s", file, why.text);
    lm_status status = read_pairs(list, true, &s->images, err);
    json_decref(list);
    if (status) lm_error_in(err, "\"%s\"", file);
    return status;
}

static void mcmc_close(void *self)
{
    mcmc *s = self;
    s->images.x = lm_free(s->images.x);
}

static lm_status mcmc_files(const void *self, void (*add)(void *arg, const char *path), void *arg, lm_error *err)
{
    (void)err;
    const mcmc *s = self;
    const char *file = json_string_value(json_object_get(s->positions, "file"));
    if (file) add(arg, file);
    return LM_OK;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- where chains start ---- */

typedef struct {
    const mcmc *self;
    lm_step *step;
    lm_posterior_spec spec;
    lm_posterior posterior;
    lm_target target;
    plan plan;
    size_t members;
    lm_chain *chain;
    lm_laplace top; /* where they start */
    double began;
} job;

static bool stopped(void *arg)
{
    return lm_step_stopped(arg);
}

static int highest_first(const void *a, const void *b)
{
    double x = ((const lm_laplace *)a)->ln_p, y = ((const lm_laplace *)b)->ln_p;
    return (x < y) - (x > y);
}

/* A draw of the prior whose positions meet, or of many the one where they miss each other least. */
static void draw_start(job *j, const lm_posterior *p, uint64_t stream, double *z)
{
    enum { TRIES = 2000 };
    double one[LM_FREE_MOST], least = INFINITY;
    lm_random random = lm_step_random(j->step, stream);
    for (int tries = 0; tries < TRIES && least > 0; tries++) {
        for (size_t d = 0; d < p->model.n_params; d++) one[d] = lm_random_normal(&random);
        double apart = lm_posterior_apart(p, one);
        if (apart < least || !tries) memcpy(z, one, p->model.n_params * sizeof *z);
        least = fmin(least, apart);
    }
}

/* Tops of a parametric posterior that are climbed to from many draws of the prior, the highest first: *ret [*ret_n]. The likelihood begins
 * hot, so that the prior still counts and small features do not hold a start back, and cools down; the better half goes on each time.
 * Positions chose the starts, and judge the tops. */
static lm_status climb(job *j, lm_posterior *p, lm_laplace **ret, size_t *ret_n, lm_error *err)
{
    static const double heats[] = {1e4, 1e3, 1e2, 10, 1, 1, 1};
    enum { STAGES = sizeof heats / sizeof *heats, ROUNDS = 10 };
    size_t n = j->plan.starts, left = n;
    const lm_positions *positions = p->positions;
    lm_laplace *starts = lm_step_scratch(j->step, n, sizeof *starts);
    double *fisher = lm_step_scratch(j->step, p->model.n_params * p->model.n_params, sizeof *fisher);
    if (!starts || !fisher) return LM_NOMEM(err);
    for (size_t i = 0; i < n; i++) {
        starts[i].n = p->model.n_params;
        draw_start(j, p, i, starts[i].z);
    }
    p->positions = NULL;
    lm_status status = LM_OK;
    for (int stage = 0; !status && stage < STAGES; stage++) {
        p->heat = heats[stage];
        for (size_t i = 0; !status && i < left; i++) {
            bool done;
            status = lm_laplace_climb(&starts[i], p, stage < STAGES - 2 ? ROUNDS : 4 * ROUNDS, fisher, &done, err);
            if (status == LM_EINPUT) starts[i].ln_p = -INFINITY, status = LM_OK;
            if (p->no_memory) status = LM_NOMEM(err);
            if (lm_step_stopped(j->step)) status = LM_ESTOP(j->step, err);
        }
        qsort(starts, left, sizeof *starts, highest_first);
        if (left > 8) left /= 2;
    }
    p->positions = positions;
    p->heat = 1;
    LM_TRY(status);
    for (size_t i = 0; i < left; i++)
        if (lm_posterior_apart(p, starts[i].z) > 0) starts[i].ln_p = -INFINITY;
    qsort(starts, left, sizeof *starts, highest_first);
    if (!(starts->ln_p > -1e9)) {
        char why[LM_ERROR_TEXT];
        snprintf(why, sizeof why, "%.300s", *err->text ? err->text : "the positions of none meet");
        return LM_FAIL_HINT(err, LM_EINPUT, "Look at the priors, the mask and the positions.",
                            "no start of %zu is possible: %s", n, why);
    }
    *ret = starts;
    *ret_n = left;
    return LM_OK;
}

/* ---- a source on pixels ---- */

/* The Gaussian of a model without pixels in the parameters of the one with: what only the latter has stands alone, at its median. */
static void take_over(const lm_lens_model *from, const lm_laplace *g, const lm_lens_model *to, lm_laplace *ret)
{
    double inverse[LM_FREE_MOST][LM_FREE_MOST], e[LM_FREE_MOST] = {0};
    size_t at[LM_FREE_MOST];
    ret->n = to->n_params;
    for (size_t i = 0; i < ret->n; i++) {
        ret->z[i] = 0;
        for (at[i] = 0; at[i] < g->n && strcmp(from->params[at[i]].name, to->params[i].name) != 0;) at[i]++;
        if (at[i] < g->n) ret->z[i] = g->z[at[i]];
    }
    for (size_t k = 0; k < g->n; k++) { /* rows of R^-T: z = mean + R^-T w */
        e[k] = 1;
        lm_laplace_at(g, e, inverse[k]);
        e[k] = 0;
        for (size_t i = 0; i < g->n; i++) inverse[k][i] -= g->z[i];
    }
    double covariance[LM_FREE_MOST * LM_FREE_MOST];
    for (size_t i = 0; i < ret->n; i++)
        for (size_t k = 0; k < ret->n; k++) {
            bool both = at[i] < g->n && at[k] < g->n;
            double sum = !both && i == k ? 0.01 : 0;
            for (size_t m = 0; both && m < g->n; m++) sum += inverse[m][at[i]] * inverse[m][at[k]];
            covariance[i * ret->n + k] = sum;
        }
    lm_laplace_of_covariance(ret, covariance);
}

/* lambda's most probable value at z, on a grid and then nearer. Returns ln p. */
static double tune_lambda(job *j, double *z)
{
    int lambda = j->posterior.lambda;
    double best = -INFINITY, at = 0, centre = 0;
    if (lambda < 0) return j->target.log_density(j->target.arg, z, NULL);
    for (double step = 0.4; step > 0.02; step /= 4, centre = at)
        for (int k = -5; k <= 5; k++) {
            z[lambda] = centre + k * step;
            double value = j->target.log_density(j->target.arg, z, NULL);
            if (value > best) best = value, at = z[lambda];
        }
    z[lambda] = at;
    return best;
}

static double log_whitened(void *arg, const double *w, double *gradient)
{
    (void)gradient;
    job *j = arg;
    double z[LM_FREE_MOST];
    lm_laplace_at(&j->top, w, z);
    return j->target.log_density(j->target.arg, z, NULL);
}

/* Uphill without slopes, in units of the Gaussian's width; the Gaussian moves along. */
static lm_status polish(job *j, lm_error *err)
{
    double w[LM_FREE_MOST] = {0}, z[LM_FREE_MOST], value;
    const lm_target target = {j->target.dim, log_whitened, j};
    const lm_optimise_options options = {.method = LM_OPTIMISE_BOBYQA,
                                         .tolerance = 0.5,
                                         .max_evaluations = 60 * j->target.dim,
                                         .stopped = stopped,
                                         .arg = j->step};
    lm_status status = lm_optimise(&target, &options, w, w, &value, NULL, err);
    if (status == LM_ECANCEL) return LM_ESTOP(j->step, err);
    LM_TRY(status);
    lm_laplace_at(&j->top, w, z);
    memcpy(j->top.z, z, j->target.dim * sizeof *z);
    return LM_OK;
}

enum { SCOUTS = 6 };

/* A source on pixels explains a little of everything, and has no slopes: masses and lights are sought with a Sersic source first. The
 * best of those models that a coarse grid of pixels likes best is taken over and refined. */
static lm_status climb_with_pixels(job *j, lm_posterior *scout, lm_error *err)
{
    lm_laplace *tops, candidate;
    size_t n;
    LM_TRY(climb(j, scout, &tops, &n, err));
    lm_source_shape *shape = &j->posterior.source.source, fine = *shape;
    if (shape->h >= 16 && shape->w >= 16) shape->h /= 2, shape->w /= 2;
    j->top.ln_p = -INFINITY;
    for (size_t i = 0; i < n && i < SCOUTS && tops[i].ln_p > -1e9; i++) {
        take_over(&scout->model, &tops[i], &j->posterior.model, &candidate);
        candidate.ln_p = tune_lambda(j, candidate.z);
        if (candidate.ln_p > j->top.ln_p) j->top = candidate;
    }
    lm_status status = LM_OK;
    if (!(j->top.ln_p > -1e9))
        status = LM_FAIL_HINT(err, LM_EINPUT, "Look at the priors, the mask and the positions.",
                              "no start is possible: %s", j->posterior.last.text);
    if (!status) status = polish(j, err);
    *shape = fine;
    if (!status) j->top.ln_p = tune_lambda(j, j->top.z);
    if (!status && lm_step_stopped(j->step)) return LM_ESTOP(j->step, err);
    return status;
}

static lm_status search_with_pixels(job *j, lm_error *err)
{
    lm_posterior_spec spec = j->spec;
    json_t *simple = json_loads("[{\"type\": \"sersic\"}]", 0, NULL);
    lm_posterior *scout = lm_step_scratch(j->step, 1, sizeof *scout);
    lm_status status = simple && scout ? LM_OK : LM_NOMEM(err);
    spec.source = simple;
    spec.sub = 1;
    if (!status) {
        *scout = (lm_posterior){.n_pixels = 0};
        status = lm_posterior_init(scout, &spec, j->step, err);
        if (!status) status = climb_with_pixels(j, scout, err);
        lm_posterior_done(scout);
    }
    json_decref(simple);
    return status;
}

static lm_status start(job *j, lm_error *err)
{
    size_t dim = j->target.dim, n;
    lm_laplace *tops;
    if (j->posterior.pixels) {
        LM_TRY(search_with_pixels(j, err));
    } else {
        LM_TRY(climb(j, &j->posterior, &tops, &n, err));
        j->top = tops[0];
    }
    double *x = lm_step_scratch(j->step, j->members * dim, sizeof *x), w[LM_FREE_MOST], width[LM_FREE_MOST];
    if (!x) return LM_NOMEM(err);
    for (size_t m = 0; m < j->members; m++) {
        lm_random random = lm_step_random(j->step, (UINT64_C(1) << 39) + m);
        double scatter = 1;
        for (int tries = 0; tries < 30; tries++, scatter /= 2) {
            for (size_t d = 0; d < dim; d++) w[d] = scatter * lm_random_normal(&random);
            lm_laplace_at(&j->top, w, x + m * dim);
            if (j->target.log_density(j->target.arg, x + m * dim, NULL) > j->top.ln_p - 100 - (double)dim) break;
        }
    }
    lm_laplace_widths(&j->top, width);
    return lm_chain_start(j->chain, j->plan.kind, &j->target, j->members, j->plan.warmup, x, width, err);
}

/* ---- the chain ---- */

#define SAVE_EVERY_S 30.0

static lm_status save(job *j, lm_error *err)
{
    double now = now_s();
    if (j->posterior.no_memory) return LM_NOMEM(err); /* the chain is not what it should be */
    j->chain->seconds += now - j->began;
    j->chain->evaluations += j->posterior.evaluations;
    j->began = now;
    j->posterior.evaluations = 0;
    return lm_step_checkpoint_save(j->step, j->chain, j->chain->size, err);
}

/* Steps after which it is asked whether chains have converged: 100, 150, 200, 250, ... growing by a tenth. They depend on nothing else,
 * so that a chain that went on ends where one that never stopped does. */
static uint64_t next_check(uint64_t steps)
{
    uint64_t at = 100;
    while (at <= steps) at += at < 500 ? 50 : at / 10;
    return at;
}

static bool holds(const plan *p, const lm_chain_report *report)
{
    return report->rhat <= p->rhat && report->ess_bulk >= p->ess && report->ess_tail >= p->ess;
}

/* Goes on until it converged, or may go no further. ret_why: what ended it. */
static lm_status go_on(job *j, lm_chain_report *report, bool *ret_converged, const char **ret_why, lm_error *err)
{
    lm_chain *chain = j->chain;
    double saved = now_s();
    uint64_t check = next_check(chain->steps ? chain->steps - 1 : 0);
    *ret_converged = false;
    for (;;) {
        uint64_t after = chain->steps - (chain->steps < chain->warmup ? chain->steps : chain->warmup);
        if (chain->steps == check) {
            check = next_check(chain->steps);
            if (after >= 100) {
                LM_TRY(lm_chain_judge(chain, report, err));
                *ret_converged = holds(&j->plan, report);
            }
            if (*ret_converged) {
                *ret_why = "converged";
                return save(j, err);
            }
        }
        double now = now_s();
        bool late = chain->seconds + now - j->began > j->plan.limit_s;
        if (after >= j->plan.steps || late) {
            *ret_why = late ? "limit" : "steps";
            LM_TRY(lm_chain_judge(chain, report, err));
            *ret_converged = holds(&j->plan, report);
            return save(j, err);
        }
        if (lm_step_stopped(j->step)) {
            LM_TRY(save(j, err));
            return LM_ESTOP(j->step, err);
        }
        if (now - saved > SAVE_EVERY_S) {
            LM_TRY(save(j, err));
            saved = now;
        }
        lm_chain_step(chain, &j->target, j->step);
    }
}

static lm_status resume_or_start(job *j, lm_error *err)
{
    const void *saved;
    size_t size, whole = lm_chain_size(j->plan.kind, j->members, j->target.dim);
    j->chain = lm_step_scratch(j->step, whole, 1);
    if (!j->chain) return LM_NOMEM(err);
    LM_TRY(lm_step_checkpoint_load(j->step, &saved, &size, err));
    if (size == whole) {
        memcpy(j->chain, saved, whole);
        uint64_t after = j->chain->steps - (j->chain->steps < j->chain->warmup ? j->chain->steps : j->chain->warmup);
        if (after <= j->plan.steps) return LM_OK; /* else a shorter chain is asked for: from its start */
    }
    return start(j, err);
}

/* ---- what it gives ---- */

typedef struct {
    double *x, *ln_L; /* [n][dim], [n] */
    size_t n;
    double best[LM_FREE_MOST], best_ln_L;
} draws;

static lm_status take_draws(job *j, size_t first, draws *ret, lm_error *err)
{
    const lm_chain *chain = j->chain;
    size_t dim = j->target.dim, kept = chain->kept - first;
    ret->n = kept * chain->members;
    const size_t shape[] = {ret->n, dim};
    lm_tensor *samples, *ln_likelihood;
    LM_TRY(lm_step_out(j->step, NULL, "samples", shape, &samples, err));
    LM_TRY(lm_step_out(j->step, NULL, "ln_likelihood", shape, &ln_likelihood, err));
    ret->x = samples->data;
    ret->ln_L = ln_likelihood->data;
    for (size_t k = 0, i = 0; k < kept; k++)
        for (size_t m = 0; m < chain->members; m++, i++) {
            const double *z = lm_chain_at(chain, first + k, m);
            double square = 0;
            for (size_t d = 0; d < dim; d++) square += z[d] * z[d];
            lm_lens_model_x(&j->posterior.model, z, ret->x + i * dim, NULL);
            ret->ln_L[i] = lm_chain_log_density(chain, first + k, m) + square / 2;
        }
    lm_lens_model_x(&j->posterior.model, lm_chain_best(j->chain), ret->best, NULL);
    return LM_OK;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median and half the central 68.3 % as NAME and NAME_err. */
static lm_status put_summary(job *j, const draws *d, lm_error *err)
{
    size_t dim = j->target.dim;
    double *column = lm_step_scratch(j->step, d->n + 1, sizeof *column);
    if (!column) return LM_NOMEM(err);
    for (size_t i = 0; d->n && i < dim; i++) {
        const lm_free_param *param = &j->posterior.model.params[i];
        char name[120], comment[96];
        for (size_t k = 0; k < d->n; k++) column[k] = d->x[k * dim + i];
        qsort(column, d->n, sizeof *column, ascending);
        double low = column[(size_t)(0.158655 * (double)(d->n - 1))],
               high = column[(size_t)(0.841345 * (double)(d->n - 1))];
        snprintf(comment, sizeof comment, "[%.20s] median of the posterior", param->unit);
        LM_TRY(lm_step_set(j->step, NULL, param->name, lm_real(column[(d->n - 1) / 2]), comment, err));
        snprintf(name, sizeof name, "%s_err", param->name);
        snprintf(comment, sizeof comment, "[%.20s] half of the central 68.3 %%", param->unit);
        LM_TRY(lm_step_set(j->step, NULL, name, lm_real((high - low) / 2), comment, err));
    }
    return LM_OK;
}

static lm_status put_names(job *j, lm_error *err)
{
    lm_text text;
    lm_text_init(&text);
    for (size_t i = 0; i < j->target.dim; i++)
        lm_text_format(&text, "%s%s", i ? "," : "", j->posterior.model.params[i].name);
    lm_status status = text.failed ? LM_NOMEM(err)
                                   : lm_step_set(j->step, NULL, "names", lm_text_value(lm_text_peek(&text)),
                                                 "columns of samples", err);
    lm_text_done(&text);
    return status;
}

static lm_status put_components(job *j, const double *best, const double *amplitude, lm_error *err)
{
    for (int role = 0; role < LM_ROLES; role++) {
        if (!j->posterior.model.trees[role]) continue;
        json_t *list = lm_lens_model_json(&j->posterior.model, (lm_role)role, best, amplitude);
        char *text = list ? json_dumps(list, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
        json_decref(list);
        if (!text) return LM_NOMEM(err);
        lm_status status =
            lm_step_set(j->step, NULL, lm_role_names[role], lm_text_value(text), "best sample, JSON", err);
        free(text);
        LM_TRY(status);
    }
    return LM_OK;
}

static lm_status put_images(job *j, const double *best, lm_error *err)
{
    const lm_posterior *p = &j->posterior;
    const size_t shape[] = {p->frame.h, p->frame.w};
    lm_tensor *model, *residual, *mask;
    LM_TRY(lm_step_out(j->step, NULL, "model", shape, &model, err));
    LM_TRY(lm_step_out(j->step, NULL, "residual", shape, &residual, err));
    LM_TRY(lm_step_out(j->step, NULL, "mask", shape, &mask, err));
    LM_TRY(lm_posterior_image(&j->posterior, best, model->data, err));
    double *of_model = model->data, *of_residual = residual->data, chi2 = 0;
    for (size_t i = 0; i < p->frame.h * p->frame.w; i++) {
        if (!p->mask[i]) of_model[i] = NAN;
        of_residual[i] = p->mask[i] ? (p->image[i] - of_model[i]) / p->noise[i] : (double)NAN;
        if (p->mask[i]) chi2 += of_residual[i] * of_residual[i];
    }
    for (size_t i = 0; i < p->frame.h * p->frame.w; i++) ((uint8_t *)mask->data)[i] = !p->mask[i];
    size_t unknowns = p->model.n_params + p->model.n_lights;
    double freedom = (double)p->n_pixels - (double)unknowns;
    if (p->pixels && isfinite(p->inversion.effective)) freedom -= p->inversion.effective;
    LM_TRY(lm_step_set(j->step, NULL, "chi2", lm_real(chi2), "of the best sample", err));
    return lm_step_set(j->step, NULL, "chi2_reduced", lm_real(chi2 / fmax(freedom, 1)), "of the best sample", err);
}

static lm_status put_einstein(job *j, const draws *d, lm_error *err)
{
    enum { RADII = 32 };
    double radius[RADII];
    size_t n = 0;
    lm_error ignored;
    for (size_t k = d->n < 10 * RADII ? RADII : 0; k <= RADII && d->n; k++) { /* too few: the best sample's alone */
        LM_OWN(lm_curves) curves = NULL;
        lm_sample sample;
        const double *x = k == RADII ? d->best : d->x + (k * d->n / RADII) * j->target.dim;
        lm_error_clear(&ignored);
        if (lm_lens_model_at(&j->posterior.model, x, &sample, &ignored)) continue;
        lm_status status = lm_curves_find(sample.masses, sample.scene.n_masses, NULL, &curves, &ignored);
        if (status == LM_EMEMORY) return LM_NOMEM(err);
        if (status) continue;
        if (!isfinite(curves->theta_eff)) continue;
        if (k < RADII) radius[n++] = curves->theta_eff;
        else
            LM_TRY(lm_step_set(j->step, NULL, "theta_eff", lm_real(curves->theta_eff),
                               "[arcsec] effective Einstein radius, best sample", err));
    }
    if (n < RADII / 2) return LM_OK;
    qsort(radius, n, sizeof *radius, ascending);
    LM_TRY(lm_step_set(j->step, NULL, "theta_eff_low", lm_real(radius[n * 16 / 100]), "[arcsec] 16 % of the posterior",
                       err));
    return lm_step_set(j->step, NULL, "theta_eff_high", lm_real(radius[n * 84 / 100]), "[arcsec] 84 % of the posterior",
                       err);
}

static lm_status put_report(job *j, const lm_chain_report *r, bool converged, const char *why, double best_ln_L,
                            lm_error *err)
{
    const lm_chain *c = j->chain;
    const struct {
        const char *name;
        lm_value value;
        const char *comment;
    } said[] = {{"converged", lm_bool(converged), "did the chain meet `until`"},
                {"stopped_by", lm_text_value(why), "converged, steps or limit"},
                {"rhat", lm_real(r->rhat), "rank-normalised split R-hat, the worst"},
                {"ess", lm_real(fmin(r->ess_bulk, r->ess_tail)), "effective draws, bulk or tail, the worst"},
                {"ess_bulk", lm_real(r->ess_bulk), "effective draws of the bulk, the worst"},
                {"ess_tail", lm_real(r->ess_tail), "effective draws of the tails, the worst"},
                {"tau", lm_real(r->tau), "autocorrelation time in steps, the longest"},
                {"tau_trusted", lm_bool(r->tau_trusted), "are there 50 of them"},
                {"acceptance", lm_real(r->acceptance), "fraction of moves"},
                {"divergent", lm_int((int64_t)r->divergent), "divergent trees of NUTS"},
                {"steps", lm_int((int64_t)c->steps), "of each walker or chain"},
                {"ln_likelihood_best", lm_real(best_ln_L), "of the best sample"},
                {"n_free", lm_int((int64_t)j->target.dim), "free parameters"}};
    for (size_t i = 0; i < sizeof said / sizeof *said; i++)
        LM_TRY(lm_step_set(j->step, NULL, said[i].name, said[i].value, said[i].comment, err));
    if (!converged)
        lm_step_warn(j->step, "the chains have not converged after %llu steps (%s): R-hat %.3f, %.0f effective draws",
                     (unsigned long long)c->steps, why, r->rhat, fmin(r->ess_bulk, r->ess_tail));
    return LM_OK;
}

static lm_status give(job *j, const lm_chain_report *report, bool converged, const char *why, lm_error *err)
{
    draws d;
    double amplitude[LM_FIT_LIGHTS];
    LM_TRY(take_draws(j, report->first, &d, err));
    d.best_ln_L = lm_posterior_likelihood(&j->posterior, d.best, amplitude);
    LM_TRY(put_names(j, err));
    LM_TRY(put_summary(j, &d, err));
    LM_TRY(put_components(j, d.best, amplitude, err));
    LM_TRY(put_images(j, d.best, err));
    LM_TRY(put_einstein(j, &d, err));
    return put_report(j, report, converged, why, d.best_ln_L, err);
}

static lm_status pixel_of(const mcmc *s, lm_step *step, double *ret, lm_error *err)
{
    (void)s;
    LM_TRY(lm_step_real(step, "pixel", ret, err));
    if (isnan(*ret)) *ret = lm_value_real(lm_record_value(lm_step_record(step, "in"), "pixel"));
    return LM_OK;
}

static lm_status run(job *j, lm_error *err)
{
    j->target = (lm_target){j->posterior.model.n_params, lm_posterior_log, &j->posterior};
    j->members = j->plan.kind == LM_CHAIN_NUTS ? j->plan.chains : j->plan.walkers;
    size_t least = 2 * j->target.dim + 2;
    if (j->plan.kind == LM_CHAIN_ENSEMBLE && !j->members) j->members = least < 32 ? 32 : least;
    if (j->plan.kind == LM_CHAIN_ENSEMBLE && (j->members < least || j->members % 2))
        return LM_FAIL(err, LM_EINPUT, "%zu walkers for %zu free parameters: an even number of at least %zu is wanted",
                       j->members, j->target.dim, least);
    j->began = now_s();
    LM_TRY(resume_or_start(j, err));
    if (j->posterior.no_memory) return LM_NOMEM(err);
    lm_chain_report report;
    bool converged;
    const char *why = "";
    LM_TRY(go_on(j, &report, &converged, &why, err));
    LM_TRY(give(j, &report, converged, why, err));
    return j->posterior.no_memory ? LM_NOMEM(err) : LM_OK;
}

static lm_status mcmc_step(const void *self, lm_step *step, lm_error *err)
{
    const mcmc *s = self;
    job *j = lm_step_scratch(step, 1, sizeof *j);
    if (!j) return LM_NOMEM(err);
    *j = (job){.self = s, .step = step};
    LM_TRY(read_plan(s->sampler, &j->plan, err));
    lm_posterior_spec spec = {.mass = s->mass,
                              .source = s->source,
                              .light = s->light,
                              .mask = s->mask,
                              .sub = (unsigned)s->sub,
                              .image = "image",
                              .noise = "noise",
                              .psf_name = "psf",
                              .positions = s->positions ? &s->images : NULL};
    LM_TRY(pixel_of(s, step, &spec.pixel, err));
    j->spec = spec;
    lm_status status = lm_posterior_init(&j->posterior, &spec, step, err);
    if (!status) status = run(j, err);
    lm_posterior_done(&j->posterior);
    return status;
}

const lm_operator lm_op_infer_mcmc = {
    .struct_size = sizeof(lm_operator),
    .name = "infer.mcmc",
    .version = 1,
    .summary = "Posterior of a lens model for an image, by Markov chains",
    .doc =
        "Fits masses, a source (light profiles, or pixels that are solved for and marginalised) and the lens galaxy's "
        "light to an "
        "image with Gaussian noise. Many starts are drawn from the prior and optimised; from the best one an ensemble "
        "of walkers "
        "(Goodman & Weare 2010) or NUTS chains (Hoffman & Gelman 2014) go on until they have converged: "
        "rank-normalised R-hat "
        "and effective sample sizes of Vehtari et al. 2021. The draws are those of the second half of an ensemble's "
        "steps, and "
        "of all steps of NUTS after its warm-up.\n\n"
        "A record whose chain was ended by `steps` or `limit` says converged = false; with larger ones the same chain "
        "goes "
        "on. Linear amplitudes (of light components that were given none) have flat priors and are marginalised; for a "
        "calibrated posterior give amplitudes the prior that they were drawn from.",
    .example = "{mass: [{type: sie, theta_E: {uniform: [0.5, 1.5]}, e1: 0.1, e2: 0}], source: [{type: gaussian, sigma: "
               "0.2, x: 0.1, "
               "y: {normal: [0, 0.1]}, q: 1}], pixel: 0.2, sub: 1, sampler: {steps: 2, starts: 1, walkers: 8}}",
    .shape = LM_MAP,
    .flags = LM_RANDOM,
    .size = sizeof(mcmc),
    .params = params,
    .fields = fields,
    .check = mcmc_check,
    .open = mcmc_open,
    .step = mcmc_step,
    .close = mcmc_close,
    .code_files = mcmc_files,
};
