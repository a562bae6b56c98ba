/* Maximisation through NLopt. Its algorithms want finite numbers everywhere and may fail at the very end with rounding: the best place is
 * kept here, and what they return only tells why they stopped. */
#include "operators/core/optimise.h"

#include "runtime/alloc.h"

#include <limits.h>
#include <math.h>
#include <nlopt.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

const char *const lm_optimise_names[] = {"bobyqa", "subplex", "lbfgs", "mma", "direct", NULL};

static const nlopt_algorithm algorithms[] = {NLOPT_LN_BOBYQA, NLOPT_LN_SBPLX, NLOPT_LD_LBFGS, NLOPT_LD_MMA,
                                             NLOPT_GN_DIRECT_L};

/* Of methods without slopes, in units of the box: at first, and from where it stopped. */
static const double first_step = 0.1, next_step = 0.03;
enum { MOST_DIMENSIONS = 10000 };

typedef struct climb {
    const lm_target *target;
    const lm_optimise_options *options;
    double *room;                          /* what the vectors lie in */
    double *scale, *x, *slope, *best, *at; /* [dim] each; x, slope, best: of the density; at, scale: x = at * scale */
    double *low, *high;                    /* of at */
    double value, worst;                   /* the best and the worst that is a number */
    size_t left;                           /* values that may still be asked for */
    bool spent, stopped;
    nlopt_opt opt; /* only while it runs */
} climb;

static void climb_done(climb *c)
{
    c->room = lm_free(c->room);
}
static inline void climb_cleanup(climb *c)
{
    climb_done(c);
}

static double bound(const double *bounds, size_t i, double none)
{
    return bounds ? bounds[i] : none;
}

static double clamped(const climb *c, size_t i, double x)
{
    return fmin(fmax(x, bound(c->options->lower, i, -INFINITY)), bound(c->options->upper, i, INFINITY));
}

static lm_status check(const lm_target *target, const lm_optimise_options *o, lm_error *err)
{
    if ((unsigned)o->method >= LM_OPTIMISE_METHODS)
        return LM_FAIL(err, LM_EINPUT, "%d is no method of optimisation", (int)o->method);
    if (target->dim == 0 || target->dim > MOST_DIMENSIONS)
        return LM_FAIL(err, LM_EINPUT, "a density of %zu coordinates cannot be maximised: 1 to %d can", target->dim,
                       MOST_DIMENSIONS);
    if (!(o->tolerance > 0) || isinf(o->tolerance))
        return LM_FAIL(err, LM_EINPUT, "a tolerance of %g is not above 0", o->tolerance);
    if (o->max_evaluations == 0) return LM_FAIL(err, LM_EINPUT, "no evaluation of the density is allowed");
    for (size_t i = 0; i < target->dim; i++) {
        double low = bound(o->lower, i, -INFINITY), high = bound(o->upper, i, INFINITY);
        if (!(low < high)) return LM_FAIL(err, LM_EINPUT, "coordinate %zu goes from %g to %g", i, low, high);
        if (o->method == LM_OPTIMISE_DIRECT && !isfinite(high - low))
            return LM_FAIL_HINT(err, LM_EINPUT, "Give finite bounds, or take a local method.",
                                "\"direct\" searches a box, but coordinate %zu goes from %g to %g", i, low, high);
    }
    return LM_OK;
}

static lm_status climb_init(climb *c, const lm_target *target, const lm_optimise_options *options, lm_error *err)
{
    size_t dim = target->dim;
    *c = (climb){.target = target, .options = options, .left = options->max_evaluations};
    c->room = lm_alloc(7 * dim, sizeof(double));
    if (!c->room) return LM_NOMEM(err);
    c->scale = c->room;
    c->x = c->scale + dim;
    c->slope = c->x + dim;
    c->best = c->slope + dim;
    c->at = c->best + dim;
    c->low = c->at + dim;
    c->high = c->low + dim;
    return LM_OK;
}

static bool wants_slopes(const climb *c)
{
    return c->options->method == LM_OPTIMISE_LBFGS || c->options->method == LM_OPTIMISE_MMA;
}

/* ln p at c->x, and its slope where it is wanted; -INFINITY for all that is impossible, and when nothing more may be asked. */
static double ask(climb *c, bool slopes)
{
    if (c->options->stopped && c->options->stopped(c->options->arg)) c->stopped = true;
    if (c->left == 0) c->spent = true;
    if (c->stopped || c->spent) return -INFINITY;
    c->left--;
    double value = c->target->log_density(c->target->arg, c->x, slopes ? c->slope : NULL);
    bool sound = isfinite(value);
    for (size_t i = 0; slopes && sound && i < c->target->dim; i++) sound = isfinite(c->slope[i]);
    return sound ? value : -(double)INFINITY;
}

/* What NLopt minimises: -ln p. Where that is no number, a hill above all that has been seen, as flat as it can be. */
static double objective(unsigned dim, const double *at, double *gradient, void *arg)
{
    climb *c = arg;
    for (size_t i = 0; i < dim; i++) c->x[i] = clamped(c, i, at[i] * c->scale[i]);
    double value = ask(c, gradient != NULL);
    if (c->stopped || c->spent) nlopt_force_stop(c->opt);
    if (isinf(value)) {
        if (gradient) memset(gradient, 0, dim * sizeof *gradient);
        if (isinf(c->worst)) return 1e100; /* nothing else has been seen */
        return -c->worst + (isinf(c->value) ? 0 : c->value - c->worst) + 1;
    }
    if (gradient)
        for (size_t i = 0; i < dim; i++) gradient[i] = -c->slope[i] * c->scale[i];
    if (isinf(c->worst) || value < c->worst) c->worst = value;
    if (value > c->value) {
        c->value = value;
        memcpy(c->best, c->x, dim * sizeof *c->best);
    }
    return -value;
}

/* One run of an algorithm from c->best, at most `most` values. */
static lm_status run(climb *c, lm_optimise_method method, double step, size_t most, lm_error *err)
{
    size_t dim = c->target->dim;
    const lm_optimise_options *o = c->options;
    for (size_t i = 0; i < dim; i++) {
        double low = bound(o->lower, i, -INFINITY), high = bound(o->upper, i, INFINITY);
        double width = high - low, size = fabs(c->best[i]);
        c->scale[i] = isfinite(width) && width > 0 ? width : size > 0 ? size : 1;
        c->at[i] = c->best[i] / c->scale[i];
        c->low[i] = low / c->scale[i];
        c->high[i] = high / c->scale[i];
        c->at[i] = fmin(fmax(c->at[i], c->low[i]), c->high[i]);
    }
    nlopt_opt opt = nlopt_create(algorithms[method], (unsigned)dim);
    if (!opt) return LM_NOMEM(err);
    c->opt = opt;
    bool local = method != LM_OPTIMISE_DIRECT;
    size_t before = c->left;
    c->left = most < before ? most : before;
    size_t given = c->left;
    c->spent = false;
    double value;
    nlopt_result told = nlopt_set_min_objective(opt, objective, c);
    if (told >= 0) told = nlopt_set_lower_bounds(opt, c->low);
    if (told >= 0) told = nlopt_set_upper_bounds(opt, c->high);
    if (told >= 0 && local) told = nlopt_set_ftol_abs(opt, o->tolerance / 10);
    if (told >= 0 && local) told = nlopt_set_xtol_rel(opt, 1e-10);
    if (told >= 0 && local) told = nlopt_set_initial_step1(opt, step);
    bool ready = told >= 0;
    if (ready) told = nlopt_optimize(opt, c->at, &value);
    const char *text = nlopt_get_errmsg(opt);
    lm_status status = LM_OK;
    if (told == NLOPT_OUT_OF_MEMORY) status = LM_NOMEM(err);
    else if (!ready || told == NLOPT_INVALID_ARGS)
        status = LM_FAIL(err, LM_EBUG, "\"%s\" cannot be set up: %s", lm_optimise_names[method],
                         text ? text : nlopt_result_to_string(told));
    nlopt_destroy(opt);
    c->opt = NULL;
    c->left = before - (given - c->left);
    return status;
}

static lm_status cancelled(lm_error *err)
{
    return LM_FAIL(err, LM_ECANCEL, "the optimisation was stopped");
}

/* From c->best, of the known value c->value, until it converges or has used up `most` values. */
static lm_status ascend(climb *c, lm_optimise_method method, size_t most, bool *ret_converged, lm_error *err)
{
    size_t end = c->left > most ? c->left - most : 0;
    *ret_converged = false;
    c->worst = c->value;
    for (double step = first_step; c->left > end; step = next_step) {
        double before = c->value;
        LM_TRY(run(c, method, step, c->left - end, err));
        if (c->stopped) return cancelled(err);
        if (c->spent) break;
        if (step == next_step && c->value - before <= c->options->tolerance) {
            *ret_converged = true;
            break;
        }
    }
    return LM_OK;
}

lm_status lm_optimise(const lm_target *target, const lm_optimise_options *options, const double *x0, double *x,
                      double *ret_value, lm_optimise_report *report, lm_error *err)
{
    LM_TRY(check(target, options, err));
    __attribute__((cleanup(climb_cleanup))) climb c = {0};
    LM_TRY(climb_init(&c, target, options, err));
    size_t dim = target->dim;
    for (size_t i = 0; i < dim; i++) {
        if (!isfinite(x0[i])) return LM_FAIL(err, LM_EINPUT, "the start is %g in coordinate %zu", x0[i], i);
        c.x[i] = c.best[i] = clamped(&c, i, x0[i]);
    }
    c.value = ask(&c, wants_slopes(&c));
    if (c.stopped) return cancelled(err);
    lm_optimise_method method = options->method;
    if (method == LM_OPTIMISE_DIRECT) {
        c.worst = c.value;
        if (c.left > 1) LM_TRY(run(&c, method, 0, c.left / 2, err));
        if (c.stopped) return cancelled(err);
        method = LM_OPTIMISE_BOBYQA;
    }
    if (isinf(c.value))
        return LM_FAIL_HINT(err, LM_EINPUT, "Start where prior and likelihood are above 0.",
                            options->method == LM_OPTIMISE_DIRECT
                                ? "the density is 0 or no number wherever it was tried"
                                : "the density is 0 or no number at the start of the optimisation");
    bool converged = false;
    LM_TRY(ascend(&c, method, SIZE_MAX, &converged, err));
    memcpy(x, c.best, dim * sizeof *x);
    *ret_value = c.value;
    if (report)
        *report = (lm_optimise_report){.evaluations = options->max_evaluations - c.left, .converged = converged};
    return LM_OK;
}

typedef struct entrant {
    double value;
    size_t start; /* which one it was */
    bool converged;
} entrant;

static int best_first(const void *a, const void *b)
{
    const entrant *l = a, *r = b;
    if (l->value != r->value) return l->value > r->value ? -1 : 1;
    return (l->start > r->start) - (l->start < r->start);
}

static lm_status check_starts(const lm_target *target, const lm_optimise_options *options, const double *starts,
                              size_t n, lm_error *err)
{
    LM_TRY(check(target, options, err));
    if (options->method == LM_OPTIMISE_DIRECT)
        return LM_FAIL_HINT(err, LM_EINPUT, "Take \"bobyqa\", or one start.", "\"direct\" makes no use of many starts");
    if (n == 0) return LM_FAIL(err, LM_EINPUT, "there is no start to optimise from");
    if (options->max_evaluations < n)
        return LM_FAIL_HINT(err, LM_EINPUT, "Allow some hundred evaluations a start.",
                            "%zu evaluations do not suffice for %zu starts", options->max_evaluations, n);
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < target->dim; i++)
            if (!isfinite(starts[k * target->dim + i]))
                return LM_FAIL(err, LM_EINPUT, "start %zu is %g in coordinate %zu", k, starts[k * target->dim + i], i);
    return LM_OK;
}

/* The rounds: those who remain share what is left of the values evenly with the rounds to come. The places are kept in `places`, row k
 * for start k, while `list` is sorted. */
static lm_status halve(climb *c, entrant *list, size_t n, double *places, lm_error *err)
{
    size_t dim = c->target->dim, remain = n, rounds = 1;
    for (size_t k = n; k > 1; k = (k + 1) / 2) rounds++;
    for (; rounds > 0 && remain > 0; rounds--) {
        size_t each = c->left / rounds / remain;
        /* less than a model of bobyqa needs would be in vain: rather fewer go on */
        size_t least = 4 * dim + 10;
        if (each < least) each = least;
        for (size_t k = 0; k < remain && c->left > 0; k++) {
            if (list[k].converged) continue;
            double *place = places + list[k].start * dim;
            memcpy(c->best, place, dim * sizeof *place);
            c->value = list[k].value;
            LM_TRY(ascend(c, c->options->method, rounds == 1 ? SIZE_MAX : each, &list[k].converged, err));
            memcpy(place, c->best, dim * sizeof *place);
            list[k].value = c->value;
        }
        qsort(list, n, sizeof *list, best_first);
        remain = (remain + 1) / 2;
    }
    return LM_OK;
}

lm_status lm_optimise_many(const lm_target *target, const lm_optimise_options *options, const double *starts, size_t n,
                           double *x, double *value, lm_optimise_report *report, lm_error *err)
{
    LM_TRY(check_starts(target, options, starts, n, err));
    __attribute__((cleanup(climb_cleanup))) climb c = {0};
    LM_TRY(climb_init(&c, target, options, err));
    size_t dim = target->dim, possible = 0;
    LM_OWN(lm_memory) list_ = lm_alloc(n, sizeof(entrant));
    LM_OWN(lm_memory) places_ = lm_alloc(n * dim, sizeof(double));
    if (!list_ || !places_) return LM_NOMEM(err);
    entrant *list = list_;
    double *places = places_;
    for (size_t k = 0; k < n; k++) {
        for (size_t i = 0; i < dim; i++) c.x[i] = places[k * dim + i] = clamped(&c, i, starts[k * dim + i]);
        list[k] = (entrant){.value = ask(&c, wants_slopes(&c)), .start = k};
        if (c.stopped) return cancelled(err);
        if (isfinite(list[k].value)) possible++;
    }
    if (possible == 0)
        return LM_FAIL_HINT(err, LM_EINPUT, "Start where prior and likelihood are above 0.",
                            "the density is 0 or no number at all %zu starts", n);
    qsort(list, n, sizeof *list, best_first);
    LM_TRY(halve(&c, list, possible, places, err));
    for (size_t k = 0; k < n; k++) {
        memcpy(x + k * dim, (isinf(list[k].value) ? starts : places) + list[k].start * dim, dim * sizeof *x);
        value[k] = list[k].value;
    }
    if (report)
        *report =
            (lm_optimise_report){.evaluations = options->max_evaluations - c.left, .converged = list[0].converged};
    return LM_OK;
}
