/* The no-U-turn sampler: trajectories of a Hamiltonian H(q, p) = -ln p(q) + p^T M^-1 p / 2, doubled until they turn back, and a point of
 * them drawn with the weights exp(-H).
 *
 * Criterion of the turn: with rho the sum of the momenta along a piece of the trajectory and p# = M^-1 p at its two ends, it goes on
 * while p#_begin . rho > 0 and p#_end . rho > 0 (Betancourt 2017, appendix A.4.2), for the piece as a whole and for each half
 * together with the nearest point of the other half, which notices turns that hide between the halves (as in Stan since 2.21).
 */
#include "operators/core/sampling.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { DEEPEST = 10 };                                  /* doublings of a trajectory: at most 1023 gradients a step */
static const double most_error = 1000;                  /* of H, beyond which the integration has diverged */
static const double pull = 0.05, t0 = 10, kappa = 0.75; /* dual averaging: Hoffman & Gelman 2014, section 3.2 */
enum {
    FIRST = 75,
    WINDOW = 25,
    LAST = 50
}; /* steps of the warm-up before, in the first, and after the windows that learn M */

/* A place on a trajectory: position, momentum, slope of ln p. */
typedef struct place {
    double *q, *p, *slope;
} place;

/* What a piece of trajectory is asked for, each [dim]: momenta and p# at its ends, and the sum of all momenta. */
typedef struct piece {
    double *p_begin, *p_end, *sharp_begin, *sharp_end, *rho;
} piece;

enum { /* vectors of the state, each [dim] */
       X,
       SLOPE,
       SCALE,
       MASS_INVERSE,
       MEAN,
       SQUARES, /* what goes on from step to step */
       AT_Q,
       AT_P,
       AT_SLOPE,
       FORWARD_Q,
       FORWARD_P,
       FORWARD_SLOPE, /* of the present step */
       BACK_Q,
       BACK_P,
       BACK_SLOPE,
       SAMPLE_Q,
       SAMPLE_SLOPE,
       OFFER_Q,
       OFFER_SLOPE,
       BACK_PIECE,
       FORWARD_PIECE = BACK_PIECE + 5,
       RHO = FORWARD_PIECE + 5,
       LEVELS /* DEEPEST - 1 times LEVEL vectors: what build() holds while it is in its second half */
};
enum { LEVEL = 8 };

struct lm_nuts { /* eight bytes each: no holes, whose bytes would be left to chance */
    size_t dim, warmup, steps;
    size_t seek;                             /* 1: a step size is to be found before the next step */
    size_t averaged;                         /* steps in the dual averaging since it began */
    size_t window, next_window, first, last; /* length of the window, where it ends, where windows begin and end */
    size_t learnt;                           /* positions in the variance so far */
    size_t divergent, deepest, gradients;
    double log_density, step_size, goal, mu, slack, mean_log_step, accept_sum, accept_now;
    double at[];
};

size_t lm_nuts_size(size_t dim)
{
    size_t bytes;
    if (__builtin_mul_overflow(dim, (LEVELS + LEVEL * (DEEPEST - 1)) * sizeof(double), &bytes) ||
        __builtin_add_overflow(bytes, sizeof(lm_nuts), &bytes))
        return SIZE_MAX;
    return bytes;
}

static double *vector(lm_nuts *s, size_t which)
{
    return s->at + which * s->dim;
}

static void copy(double *to, const double *from, size_t dim)
{
    memcpy(to, from, dim * sizeof *to);
}

static void copy_place(place to, place from, size_t dim)
{
    copy(to.q, from.q, dim);
    copy(to.p, from.p, dim);
    copy(to.slope, from.slope, dim);
}

static void add(double *to, const double *a, const double *b, size_t dim)
{
    for (size_t i = 0; i < dim; i++) to[i] = a[i] + b[i];
}

static piece piece_of(lm_nuts *s, size_t first)
{
    return (piece){vector(s, first), vector(s, first + 1), vector(s, first + 2), vector(s, first + 3),
                   vector(s, first + 4)};
}

static double log_sum(double a, double b)
{
    double high = fmax(a, b), low = fmin(a, b);
    return isinf(high) ? high : high + log1p(exp(low - high));
}

/* ---- mechanics ---- */

static double energy(const lm_nuts *s, const double *p, double log_density)
{
    const double *inverse = s->at + MASS_INVERSE * s->dim;
    double kinetic = 0;
    for (size_t i = 0; i < s->dim; i++) kinetic += inverse[i] * p[i] * p[i];
    double h = kinetic / 2 - log_density;
    return isfinite(h) ? h : (double)INFINITY;
}

static void draw_momentum(lm_nuts *s, const lm_draw *draw, double *p)
{
    const double *inverse = vector(s, MASS_INVERSE);
    for (size_t i = 0; i < s->dim; i++) p[i] = lm_draw_normal(draw) / sqrt(inverse[i]);
}

/* One step of the leapfrog; returns ln p at its end. */
static double leapfrog(lm_nuts *s, const lm_target *target, place at, double step)
{
    const double *inverse = vector(s, MASS_INVERSE);
    for (size_t i = 0; i < s->dim; i++) {
        at.p[i] += step / 2 * at.slope[i];
        at.q[i] += step * inverse[i] * at.p[i];
    }
    double p = target->log_density(target->arg, at.q, at.slope);
    s->gradients++;
    for (size_t i = 0; i < s->dim; i++) at.p[i] += step / 2 * at.slope[i];
    return p;
}

/* Half of the first steps are too long and half too short: double or halve until a step from here keeps H within ln 0.8
 * (Hoffman & Gelman 2014, algorithm 4, with Stan's threshold). */
static void seek_step(lm_nuts *s, const lm_target *target, const lm_draw *draw)
{
    place at = {vector(s, AT_Q), vector(s, AT_P), vector(s, AT_SLOPE)};
    bool grow = false;
    for (int i = 0; i <= 60; i++) {
        copy(at.q, vector(s, X), s->dim);
        copy(at.slope, vector(s, SLOPE), s->dim);
        draw_momentum(s, draw, at.p);
        double before = energy(s, at.p, s->log_density);
        double after = energy(s, at.p, leapfrog(s, target, at, s->step_size));
        bool good = before - after > log(0.8);
        if (i == 0) grow = good;
        else if (good != grow) break;
        s->step_size *= grow ? 2 : 0.5;
    }
}

/* ---- trajectories ---- */

typedef struct flight {
    lm_nuts *s;
    const lm_target *target;
    const lm_draw *draw;
    double start, step; /* H at the start; signed */
    place at;
    double chance; /* sum of min(1, exp(start - H)) */
    size_t leaps;
    bool divergent;
} flight;

typedef struct offer { /* the point that a piece puts forward, and ln of the sum of its weights */
    double *q, *slope, log_density, log_weight;
} offer;

static bool goes_on(const lm_nuts *s, const double *sharp_begin, const double *sharp_end, const double *rho)
{
    double begin = 0, end = 0;
    for (size_t i = 0; i < s->dim; i++) {
        begin += sharp_begin[i] * rho[i];
        end += sharp_end[i] * rho[i];
    }
    return begin > 0 && end > 0;
}

/* The same with rho = a + b. */
static bool goes_on_over(const lm_nuts *s, const double *sharp_begin, const double *sharp_end, const double *a,
                         const double *b)
{
    double begin = 0, end = 0;
    for (size_t i = 0; i < s->dim; i++) {
        begin += sharp_begin[i] * (a[i] + b[i]);
        end += sharp_end[i] * (a[i] + b[i]);
    }
    return begin > 0 && end > 0;
}

static bool leap(flight *f, piece out, offer *best)
{
    lm_nuts *s = f->s;
    const double *inverse = vector(s, MASS_INVERSE);
    double log_density = leapfrog(s, f->target, f->at, f->step);
    double gain = f->start - energy(s, f->at.p, log_density);
    f->leaps++;
    f->chance += gain > 0 ? 1 : exp(gain);
    best->log_weight = gain;
    best->log_density = log_density;
    copy(best->q, f->at.q, s->dim);
    copy(best->slope, f->at.slope, s->dim);
    for (size_t i = 0; i < s->dim; i++) {
        out.p_begin[i] = out.p_end[i] = out.rho[i] = f->at.p[i];
        out.sharp_begin[i] = out.sharp_end[i] = inverse[i] * f->at.p[i];
    }
    if (-gain > most_error) f->divergent = true;
    return !f->divergent;
}

/* 2^depth leaps on from f->at. False if they diverge or turn back: then nothing of them counts. Only sharp_end, p_end and the like that
 * lie between two halves need room of their own; the outer ends are those of the piece asked for. */
static bool build(flight *f, size_t depth, piece out, offer *best)
{
    if (depth == 0) return leap(f, out, best);
    lm_nuts *s = f->s;
    size_t room = LEVELS + LEVEL * (depth - 1);
    piece first = {out.p_begin, vector(s, room), out.sharp_begin, vector(s, room + 1), vector(s, room + 2)};
    piece second = {vector(s, room + 3), out.p_end, vector(s, room + 4), out.sharp_end, vector(s, room + 5)};
    offer other = {.q = vector(s, room + 6), .slope = vector(s, room + 7)};
    if (!build(f, depth - 1, first, best) || !build(f, depth - 1, second, &other)) return false;
    double log_weight = log_sum(best->log_weight, other.log_weight);
    if (log(lm_draw_uniform(f->draw)) < other.log_weight - log_weight) {
        copy(best->q, other.q, s->dim);
        copy(best->slope, other.slope, s->dim);
        best->log_density = other.log_density;
    }
    best->log_weight = log_weight;
    add(out.rho, first.rho, second.rho, s->dim);
    return goes_on(s, out.sharp_begin, out.sharp_end, out.rho) &&
           goes_on_over(s, first.sharp_begin, second.sharp_begin, first.rho, second.p_begin) &&
           goes_on_over(s, first.sharp_end, second.sharp_end, second.rho, first.p_end);
}

/* One trajectory; *ret_chance: the mean of min(1, exp(H at the start - H)) over its points. */
static void fly(lm_nuts *s, const lm_target *target, const lm_draw *draw, double *ret_chance)
{
    size_t dim = s->dim, depth = 0;
    const double *inverse = vector(s, MASS_INVERSE);
    place forward = {vector(s, FORWARD_Q), vector(s, FORWARD_P), vector(s, FORWARD_SLOPE)};
    place back = {vector(s, BACK_Q), vector(s, BACK_P), vector(s, BACK_SLOPE)};
    /* each begins at the seam between the two and ends at the far end */
    piece ahead = piece_of(s, FORWARD_PIECE), behind = piece_of(s, BACK_PIECE);
    flight f = {.s = s, .target = target, .draw = draw};
    f.at = (place){vector(s, AT_Q), vector(s, AT_P), vector(s, AT_SLOPE)};
    offer sample = {vector(s, SAMPLE_Q), vector(s, SAMPLE_SLOPE), s->log_density, 0};
    offer found = {.q = vector(s, OFFER_Q), .slope = vector(s, OFFER_SLOPE)};
    double *rho = vector(s, RHO);
    copy(f.at.q, vector(s, X), dim);
    copy(f.at.slope, vector(s, SLOPE), dim);
    draw_momentum(s, draw, f.at.p);
    f.start = energy(s, f.at.p, s->log_density);
    copy_place(forward, f.at, dim);
    copy_place(back, f.at, dim);
    copy(sample.q, f.at.q, dim);
    copy(sample.slope, f.at.slope, dim);
    for (size_t i = 0; i < dim; i++) {
        rho[i] = ahead.p_end[i] = behind.p_end[i] = f.at.p[i];
        ahead.sharp_end[i] = behind.sharp_end[i] = inverse[i] * f.at.p[i];
    }
    for (bool on = true; on && depth < DEEPEST;) {
        bool go_forward = lm_draw_uniform(draw) >= 0.5;
        place end = go_forward ? forward : back;
        piece grown = go_forward ? ahead : behind, rest = go_forward ? behind : ahead;
        copy(rest.rho, rho, dim); /* all that was before, up to what was the end on this side */
        copy(rest.p_begin, grown.p_end, dim);
        copy(rest.sharp_begin, grown.sharp_end, dim);
        copy_place(f.at, end, dim);
        f.step = go_forward ? s->step_size : -s->step_size;
        if (!build(&f, depth, grown, &found)) break;
        copy_place(end, f.at, dim);
        depth++;
        if (log(lm_draw_uniform(draw)) < found.log_weight - sample.log_weight) { /* prefers the new half */
            copy(sample.q, found.q, dim);
            copy(sample.slope, found.slope, dim);
            sample.log_density = found.log_density;
        }
        sample.log_weight = log_sum(sample.log_weight, found.log_weight);
        add(rho, behind.rho, ahead.rho, dim);
        on = goes_on(s, behind.sharp_end, ahead.sharp_end, rho) &&
             goes_on_over(s, behind.sharp_end, ahead.sharp_begin, behind.rho, ahead.p_begin) &&
             goes_on_over(s, behind.sharp_begin, ahead.sharp_end, ahead.rho, behind.p_begin);
    }
    copy(vector(s, X), sample.q, dim);
    copy(vector(s, SLOPE), sample.slope, dim);
    s->log_density = sample.log_density;
    *ret_chance = f.chance / (double)f.leaps;
    if (s->steps >= s->warmup) {
        s->divergent += f.divergent;
        s->deepest += depth == DEEPEST;
    }
}

/* ---- warm-up ---- */

static void begin_average(lm_nuts *s)
{
    s->mu = log(10 * s->step_size);
    s->averaged = 0;
    s->slack = s->mean_log_step = 0;
}

static void adapt_step(lm_nuts *s, double chance)
{
    double n = (double)++s->averaged;
    s->slack += (s->goal - chance - s->slack) / (n + t0);
    double log_step = s->mu - s->slack * sqrt(n) / pull;
    s->mean_log_step += pow(n, -kappa) * (log_step - s->mean_log_step);
    s->step_size = exp(fmin(fmax(log_step, -200), 200)); /* 0 and infinity would stay for ever */
}

/* The windows: one of WINDOW steps, then each twice as long, the last one up to the end. */
static void plan_windows(lm_nuts *s)
{
    size_t first = FIRST, last = LAST, window = WINDOW;
    if (s->warmup < FIRST + WINDOW + LAST) {
        first = s->warmup * 15 / 100;
        last = s->warmup / 10;
        window = s->warmup - first - last;
    }
    s->first = first;
    s->last = s->warmup < 20 ? 0 : s->warmup - last; /* too short for a variance: no windows at all */
    s->window = window;
    s->next_window = first + window;
}

/* Welford's variance of the positions; at the end of a window they become the mass matrix, drawn a little towards a small one as Stan
 * does, in units of the given scale. */
static void adapt_mass(lm_nuts *s)
{
    if (s->steps < s->first || s->steps >= s->last) return;
    const double *x = vector(s, X), *scale = vector(s, SCALE);
    double *mean = vector(s, MEAN), *squares = vector(s, SQUARES), *inverse = vector(s, MASS_INVERSE);
    double n = (double)++s->learnt;
    for (size_t i = 0; i < s->dim; i++) {
        double away = x[i] - mean[i];
        mean[i] += away / n;
        squares[i] += away * (x[i] - mean[i]);
    }
    if (s->steps + 1 < s->next_window) return;
    for (size_t i = 0; i < s->dim; i++) {
        double variance = squares[i] / fmax(n - 1, 1);
        variance = n / (n + 5) * variance + 1e-3 * 5 / (n + 5) * scale[i] * scale[i];
        if (isnormal(variance)) inverse[i] = variance;
        mean[i] = squares[i] = 0;
    }
    s->learnt = 0;
    s->window *= 2;
    s->next_window = s->next_window + s->window;
    if (s->next_window > s->last || s->last - s->next_window < 2 * s->window) s->next_window = s->last;
    s->seek = 1;
}

lm_status lm_nuts_start(lm_nuts *state, const lm_target *target, const double *x, const double *scale, size_t warmup,
                        double accept, lm_error *err)
{
    size_t dim = target->dim;
    if (dim == 0) return LM_FAIL(err, LM_EINPUT, "there is nothing to sample: the density has no coordinate");
    if (!(accept > 0 && accept < 1))
        return LM_FAIL_HINT(err, LM_EINPUT, "0.8 is usual; more makes shorter, safer steps.",
                            "an acceptance of %g is not between 0 and 1", accept);
    for (size_t i = 0; i < dim; i++) {
        if (!isfinite(x[i])) return LM_FAIL(err, LM_EINPUT, "the chain starts at %g in coordinate %zu", x[i], i);
        if (scale && !(scale[i] > 0 && isnormal(scale[i] * scale[i])))
            return LM_FAIL(err, LM_EINPUT, "the scale of coordinate %zu is %g", i, scale[i]);
    }
    memset(state, 0, lm_nuts_size(dim));
    state->dim = dim;
    state->warmup = warmup;
    state->goal = accept;
    copy(vector(state, X), x, dim);
    double *slope = vector(state, SLOPE);
    state->log_density = target->log_density(target->arg, x, slope);
    state->gradients = 1;
    if (!isfinite(state->log_density))
        return LM_FAIL_HINT(err, LM_EINPUT, "Start where prior and likelihood are above 0.",
                            "the chain starts where the density is 0 or no number");
    for (size_t i = 0; i < dim; i++) {
        if (!isfinite(slope[i]))
            return LM_FAIL(err, LM_EINPUT, "where the chain starts, the slope in coordinate %zu is %g", i, slope[i]);
        double s = scale ? scale[i] : 1;
        vector(state, SCALE)[i] = s;
        vector(state, MASS_INVERSE)[i] = s * s;
    }
    state->step_size = 1;
    state->seek = 1;
    plan_windows(state);
    return LM_OK;
}

void lm_nuts_step(lm_nuts *state, const lm_target *target, const lm_draw *draw)
{
    if (state->seek) {
        seek_step(state, target, draw);
        begin_average(state);
        state->seek = 0;
    }
    double chance;
    fly(state, target, draw, &chance);
    state->accept_now = chance;
    if (state->steps < state->warmup) {
        adapt_step(state, chance);
        adapt_mass(state);
        if (state->steps + 1 == state->warmup) {
            state->step_size = exp(state->mean_log_step);
            state->seek = 0;
        }
    } else {
        state->accept_sum += chance;
    }
    state->steps++;
}

const double *lm_nuts_x(const lm_nuts *state)
{
    return state->at + X * state->dim;
}

double lm_nuts_log_density(const lm_nuts *state)
{
    return state->log_density;
}

lm_nuts_report lm_nuts_told(const lm_nuts *state)
{
    size_t sampled = state->steps > state->warmup ? state->steps - state->warmup : 0;
    return (lm_nuts_report){.steps = state->steps,
                            .divergent = state->divergent,
                            .deepest = state->deepest,
                            .gradients = state->gradients,
                            .step_size = state->step_size,
                            .accept = sampled ? state->accept_sum / (double)sampled : state->accept_now};
}
