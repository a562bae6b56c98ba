/* Quantiles, densities and slopes of one number.
 *
 * A normal cut far out is all in a tail, where the cumulative distribution has no digits left. With Q the upper tail of the unit
 * normal, lo > 0 the cut in standard deviations and t the way beyond it, everything is written by
 *
 *   G(lo, t) = int_0^t exp(-lo s - s^2 / 2) ds = (Q(lo) - Q(lo + t)) / phi(lo),   h(lo) = phi(lo) / Q(lo)   (the hazard)
 *
 * so that neither phi nor Q, which underflow beyond 38, is ever formed. h = sqrt(2 / pi) / erfcx(lo / sqrt 2).
 */
#include "operators/core/distribution.h"

#include <float.h>
#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdbool.h>

const char *const lm_distribution_names[] = {"fixed",     "uniform", "loguniform", "normal",
                                             "lognormal", "power",   "table",      NULL};

/* ---- the unit normal ---- */

/* exp(x^2) erfc(x), x >= 0. The rounding of x^2 is put back; above 10 the asymptotic series (Abramowitz & Stegun 7.1.23), whose
 * twelfth term is below 1e-16. */
static double erfcx(double x)
{
    if (x < 10) {
        double square = x * x;
        return exp(square) * (1 + fma(x, x, -square)) * erfc(x);
    }
    double step = -0.5 / (x * x), term = 1, sum = 1;
    for (int n = 1; n <= 12; n++) sum += term *= (2 * n - 1) * step;
    return sum / (x * sqrt(M_PI));
}

static double hazard(double z)
{
    return M_SQRT2 / sqrt(M_PI) / erfcx(z * M_SQRT1_2);
}

/* Whether the exponent changes so little from lo to lo + t that Gauss-Legendre quadrature is exact. */
static bool is_short(double lo, double t)
{
    return t * (lo + t) < 0.5;
}

static double short_integral(double lo, double t)
{
    static const double node[] = {0.1834346424956498049394761, 0.5255324099163289858177390, 0.7966664774136267395915539,
                                  0.9602898564975362316835609};
    static const double weight[] = {0.3626837833783619829651504, 0.3137066458778872873379622,
                                    0.2223810344533744705443560, 0.1012285362903762591525314};
    double sum = 0;
    for (int i = 0; i < 4; i++) {
        double near = t * (1 - node[i]) / 2, far = t * (1 + node[i]) / 2;
        sum += weight[i] * (exp(-near * (lo + near / 2)) + exp(-far * (lo + far / 2)));
    }
    return sum * t / 2;
}

/* ln(Q(lo + t) / Q(lo)) */
static double log_drop(double lo, double t)
{
    if (isinf(t)) return -INFINITY;
    if (is_short(lo, t)) return log1p(-hazard(lo) * short_integral(lo, t));
    return -t * (lo + t / 2) + log(erfcx((lo + t) * M_SQRT1_2) / erfcx(lo * M_SQRT1_2));
}

/* G(lo, t) */
static double tail_integral(double lo, double t)
{
    return is_short(lo, t) ? short_integral(lo, t) : -expm1(log_drop(lo, t)) / hazard(lo);
}

/* The t with G(lo, t) = u G(lo, width); v = 1 - u, which the caller may know with more digits. ln Q falls and is concave: Newton's
 * method overshoots once and then comes back from one side. */
static double tail_quantile(double lo, double width, double u, double v)
{
    double h = hazard(lo), rest = v + u * exp(log_drop(lo, width));
    double goal = rest < 0.5 ? log(rest) : log1p(-u * h * tail_integral(lo, width));
    double t = fmin(width, -goal / h);
    for (int i = 0; i < 100 && isfinite(t); i++) {
        double move = (log_drop(lo, t) - goal) / hazard(lo + t);
        t = fmax(0, t + move);
        if (!(fabs(move) > 4 * DBL_EPSILON * t)) break;
    }
    return fmin(t, width);
}

/* ---- a normal between two cuts ---- */

typedef enum side {
    ABOVE,
    BELOW,
    ACROSS
} side; /* the cuts are both above the mean, both below it, or one on each side */

typedef struct cut_normal {
    double mean, sd, min, max;
    double low, high, width; /* the cuts and their distance in standard deviations */
    side side;
} cut_normal;

static cut_normal cut(double mean, double sd, double min, double max)
{
    cut_normal c = {.mean = mean, .sd = sd, .min = min, .max = max};
    c.low = (min - mean) / sd;
    c.high = (max - mean) / sd;
    c.width = (max - min) / sd;
    c.side = c.low > 0 ? ABOVE : c.high < 0 ? BELOW : ACROSS;
    return c;
}

/* P(z) - 1/2 */
static double from_middle(double z)
{
    return 0.5 * erf(z * M_SQRT1_2);
}

/* The z with P(z) - 1/2 = s, to full relative accuracy also for small s. */
static double near_middle(double s)
{
    double z = gsl_cdf_ugaussian_Pinv(0.5 + s);
    for (int i = 0; i < 2; i++) z -= (from_middle(z) - s) * sqrt(2 * M_PI) * exp(z * z / 2);
    return z;
}

static double normal_quantile(const cut_normal *c, double u, double v)
{
    double x;
    if (c->side == ABOVE) {
        x = c->min + c->sd * tail_quantile(c->low, c->width, u, v);
    } else if (c->side == BELOW) {
        x = c->max - c->sd * tail_quantile(-c->high, c->width, v, u);
    } else {
        double low = from_middle(c->low), high = from_middle(c->high), mass = high - low;
        double s = u < 0.5 ? low + u * mass : high - v * mass, z;
        if (fabs(s) < 0.25) z = near_middle(s);
        else if (s < 0) z = gsl_cdf_ugaussian_Pinv(0.5 * erfc(-c->low * M_SQRT1_2) + u * mass);
        else z = -gsl_cdf_ugaussian_Pinv(0.5 * erfc(c->high * M_SQRT1_2) + v * mass);
        x = c->mean + c->sd * z;
    }
    return fmin(fmax(x, c->min), c->max);
}

static double normal_below(const cut_normal *c, double x)
{
    double up = (x - c->min) / c->sd, down = (c->max - x) / c->sd, u;
    if (c->side == ABOVE) {
        u = tail_integral(c->low, up) / tail_integral(c->low, c->width);
    } else if (c->side == BELOW) { /* what lies beyond x, seen from the upper cut: G(x, up) phi(x) / phi(high) */
        double start = -c->high;
        u = exp(-down * (start + down / 2)) * tail_integral(start + down, up) / tail_integral(start, c->width);
    } else {
        double z = (x - c->mean) / c->sd, mass = from_middle(c->high) - from_middle(c->low);
        if (z > 0) u = (from_middle(z) - from_middle(c->low)) / mass;
        else u = exp(-z * z / 2) / sqrt(2 * M_PI) * tail_integral(-z, up) / mass;
    }
    return fmin(u, 1);
}

static double normal_log_density(const cut_normal *c, double x)
{
    if (c->side == ACROSS) {
        double z = (x - c->mean) / c->sd, mass = from_middle(c->high) - from_middle(c->low);
        return -z * z / 2 - log(c->sd) - log(mass * sqrt(2 * M_PI));
    }
    double start = c->side == ABOVE ? c->low : -c->high;
    double t = (c->side == ABOVE ? x - c->min : c->max - x) / c->sd;
    return -t * (start + t / 2) - log(c->sd) - log(tail_integral(start, c->width));
}

/* A lognormal is a normal of ln x. */
static cut_normal cut_of_log(const lm_distribution *d)
{
    return cut(d->a, d->b, log(fmax(d->min, 0)), log(d->max));
}

/* ---- powers ---- */

/* ln(high / low), 0 <= low <= high, to full relative accuracy also where they are close */
static double log_ratio(double high, double low)
{
    if (high <= 2 * low) return log1p((high - low) / low); /* an exact difference */
    double ratio = high / low;
    return isfinite(ratio) ? log(ratio) : log(high) - log(low);
}

/* x^a from low to high, p = a + 1: the integral is taken from the end where the density has most of its weight, so that nothing
 * overflows: with R = ln(high/low), from low to x it is  low^p expm1(p ln(x/low)) / p  and from x to high
 * high^p (1 - exp(-p ln(high/x))) / p. */
typedef struct power {
    double a, p, low, high, all; /* all: R */
} power;

static power power_of(const lm_distribution *d)
{
    power w = {.a = d->a, .low = d->min, .high = d->max};
    if (d->kind == LM_DISTRIBUTION_LOGUNIFORM) {
        w.a = -1;
        w.low = fmax(d->a, d->min);
        w.high = fmin(d->b, d->max);
    }
    w.p = w.a + 1;
    w.all = log_ratio(w.high, w.low);
    return w;
}

static double power_quantile(const power *w, double u, double v)
{
    double x;
    if (w->p == 0) {
        x = u < 0.5 ? w->low * exp(u * w->all) : w->high * exp(-v * w->all);
    } else if (w->p < 0) { /* (x / low)^p = 1 - u (1 - e^(p R)) = v + u e^(p R) */
        double rest = v + u * exp(w->p * w->all);
        x = w->low * exp((rest < 0.5 ? log(rest) : log1p(u * expm1(w->p * w->all))) / w->p);
    } else { /* (x / high)^p = u + v e^(-p R) */
        double rest = u + v * exp(-w->p * w->all);
        x = w->high * exp((rest < 0.5 ? log(rest) : log1p(v * expm1(-w->p * w->all))) / w->p);
    }
    return fmin(fmax(x, w->low), w->high);
}

static double power_below(const power *w, double x)
{
    double up = log_ratio(x, w->low); /* infinite for low = 0, which is in the last case */
    if (w->p == 0) return fmin(1, up / w->all);
    if (w->p < 0) return fmin(1, expm1(w->p * up) / expm1(w->p * w->all));
    return fmin(1, exp(-w->p * log_ratio(w->high, x)) * expm1(-w->p * up) / expm1(-w->p * w->all));
}

static double power_log_density(const power *w, double x)
{
    if (w->p == 0) return -log(x) - log(w->all);
    if (w->p < 0) return w->a * log_ratio(x, w->low) - log(w->low) - log(expm1(w->p * w->all) / w->p);
    double fall = w->a == 0 ? 0 : -w->a * log_ratio(w->high, x); /* at x = 0 the ratio is infinite */
    return fall - log(w->high) - log(-expm1(-w->p * w->all) / w->p);
}

/* ---- tables ---- */

static double weight_of(const lm_distribution *d, size_t i)
{
    return d->weight ? d->weight[i] : 1;
}

/* The weight of all values below x, or up to and with it. */
static double weight_until(const lm_distribution *d, double x, bool with)
{
    double sum = 0;
    for (size_t i = 0; i < d->n; i++)
        if (d->value[i] < x || (with && d->value[i] == x)) sum += weight_of(d, i);
    return sum;
}

/* The smallest value up to which there is more than u of the weight. What is more by rounding alone is not more, so that the weight
 * below a value leads back to that value. */
static double table_quantile(const lm_distribution *d, double u)
{
    double total = 0, last = -INFINITY;
    bool ascends = true;
    for (size_t i = 0; i < d->n; i++) {
        total += weight_of(d, i);
        if (i > 0 && d->value[i] < d->value[i - 1]) ascends = false;
        if (weight_of(d, i) > 0) last = fmax(last, d->value[i]);
    }
    double goal = (u + 8 * DBL_EPSILON) * total, sum = 0;
    if (ascends) {
        for (size_t i = 0; i < d->n; i++)
            if ((sum += weight_of(d, i)) > goal) return d->value[i];
        return last;
    }
    /* bisection: the middle one, as they stand, of the values that may still be the answer */
    double low = -INFINITY, high = last; /* low is too low; high is high enough */
    for (;;) {
        size_t between = 0;
        for (size_t i = 0; i < d->n; i++) between += d->value[i] > low && d->value[i] < high;
        if (between == 0) return high;
        size_t skip = between / 2;
        double middle = high;
        for (size_t i = 0; i < d->n; i++)
            if (d->value[i] > low && d->value[i] < high && skip-- == 0) {
                middle = d->value[i];
                break;
            }
        if (weight_until(d, middle, true) > goal) high = middle;
        else low = middle;
    }
}

static bool table_has(const lm_distribution *d, double x)
{
    for (size_t i = 0; i < d->n; i++)
        if (d->value[i] == x && weight_of(d, i) > 0) return true;
    return false;
}

/* ---- all kinds ---- */

static lm_status check_table(const lm_distribution *d, lm_error *err)
{
    if (!d->value || d->n == 0)
        return LM_FAIL_HINT(err, LM_EINPUT, "Give at least one value.", "the table of a distribution is empty");
    double total = 0;
    for (size_t i = 0; i < d->n; i++) {
        if (!isfinite(d->value[i]))
            return LM_FAIL_HINT(err, LM_EINPUT, "Leave such values out of the table.",
                                "value %zu of a distribution's table is %g, which is no finite number", i, d->value[i]);
        double weight = weight_of(d, i);
        if (!(weight >= 0) || isinf(weight))
            return LM_FAIL_HINT(err, LM_EINPUT, "Weights are finite and 0 or more.",
                                "weight %zu of a distribution's table is %g", i, weight);
        total += weight;
    }
    if (!(total > 0) || isinf(total))
        return LM_FAIL_HINT(err, LM_EINPUT, "Give weights of a moderate size, at least one of them above 0.",
                            "the weights of a distribution's table have the sum %g", total);
    return LM_OK;
}

static lm_status no_probability(const lm_distribution *d, lm_error *err)
{
    return LM_FAIL_HINT(err, LM_EINPUT, "Let the range [min, max] reach to where the distribution is.",
                        "the cut to [%g, %g] leaves nothing of a %s distribution with a = %g and b = %g", d->min,
                        d->max, lm_distribution_names[d->kind], d->a, d->b);
}

static lm_status check_power(const lm_distribution *d, lm_error *err)
{
    if (!(d->min >= 0))
        return LM_FAIL_HINT(err, LM_EINPUT, "Give a \"min\" of 0 or more.",
                            "a power distribution cannot begin at min = %g", d->min);
    if (d->min == 0 && !(d->a > -1))
        return LM_FAIL_HINT(err, LM_EINPUT, "Give a \"min\" above 0.",
                            "the density x^%g has no finite integral from min = 0", d->a);
    if (isinf(d->max) && !(d->a < -1))
        return LM_FAIL_HINT(err, LM_EINPUT, "Give a finite \"max\".",
                            "the density x^%g has no finite integral up to max = %g", d->a, d->max);
    power w = power_of(d);
    return w.all > 0 ? LM_OK : no_probability(d, err);
}

lm_status lm_distribution_check(const lm_distribution *d, lm_error *err)
{
    if ((unsigned)d->kind >= LM_DISTRIBUTION_KINDS)
        return LM_FAIL(err, LM_EINPUT, "%d is no kind of distribution", (int)d->kind);
    if (d->kind == LM_DISTRIBUTION_TABLE) return check_table(d, err);
    const char *name = lm_distribution_names[d->kind];
    bool has_b = d->kind != LM_DISTRIBUTION_FIXED && d->kind != LM_DISTRIBUTION_POWER;
    if (!isfinite(d->a)) return LM_FAIL(err, LM_EINPUT, "a = %g of a %s distribution is no finite number", d->a, name);
    if (has_b && !isfinite(d->b))
        return LM_FAIL(err, LM_EINPUT, "b = %g of a %s distribution is no finite number", d->b, name);
    if (d->kind == LM_DISTRIBUTION_FIXED) return LM_OK;
    if (!(d->min < d->max))
        return LM_FAIL_HINT(err, LM_EINPUT, "Give \"min\" below \"max\"; a \"fixed\" distribution has one value.",
                            "the range of a %s distribution goes from min = %g to max = %g", name, d->min, d->max);
    switch (d->kind) {
    case LM_DISTRIBUTION_UNIFORM:
    case LM_DISTRIBUTION_LOGUNIFORM:
        if (!(d->a < d->b))
            return LM_FAIL_HINT(err, LM_EINPUT, "Give the lower end first; a \"fixed\" distribution has one value.",
                                "a %s distribution goes from %g to %g", name, d->a, d->b);
        if (d->kind == LM_DISTRIBUTION_LOGUNIFORM && !(d->a > 0))
            return LM_FAIL_HINT(err, LM_EINPUT, "Both ends are above 0.", "a loguniform distribution begins at %g",
                                d->a);
        if (isinf(d->b - d->a)) return LM_FAIL(err, LM_EINPUT, "the range from %g to %g is too wide", d->a, d->b);
        return fmax(d->a, d->min) < fmin(d->b, d->max) ? LM_OK : no_probability(d, err);
    case LM_DISTRIBUTION_NORMAL:
    case LM_DISTRIBUTION_LOGNORMAL: {
        if (!(d->b > 0))
            return LM_FAIL_HINT(err, LM_EINPUT, "A standard deviation is above 0.",
                                "a %s distribution has the standard deviation b = %g", name, d->b);
        if (d->kind == LM_DISTRIBUTION_LOGNORMAL && !(d->max > 0)) return no_probability(d, err);
        cut_normal c = d->kind == LM_DISTRIBUTION_NORMAL ? cut(d->a, d->b, d->min, d->max) : cut_of_log(d);
        double log_density = normal_log_density(&c, c.side == BELOW ? c.max : c.side == ABOVE ? c.min : c.mean);
        bool real = c.low < c.high && isfinite(c.side == ABOVE ? c.low : c.side == BELOW ? c.high : 0);
        return real && isfinite(log_density) ? LM_OK : no_probability(d, err);
    }
    default: return check_power(d, err);
    }
}

/* Where the lower end is infinite, or has no finite density, u = 0 stands for half of the smallest u that a generator draws: every
 * draw is a finite number at which the density can be told. */
static const double least = 0x1p-54;

double lm_distribution_quantile(const lm_distribution *d, double u)
{
    if (isnan(u)) return NAN;
    u = fmin(fmax(u, 0), 1);
    double v = 1 - u;
    bool open = (d->kind == LM_DISTRIBUTION_NORMAL && isinf(d->min)) ||
                (d->kind == LM_DISTRIBUTION_LOGNORMAL && !(d->min > 0)) ||
                (d->kind == LM_DISTRIBUTION_POWER && d->min == 0 && d->a != 0);
    if (open) u = fmax(u, least);
    switch (d->kind) {
    case LM_DISTRIBUTION_FIXED: return d->a;
    case LM_DISTRIBUTION_UNIFORM: {
        double low = fmax(d->a, d->min), high = fmin(d->b, d->max);
        return u < 0.5 ? low + u * (high - low) : high - v * (high - low);
    }
    case LM_DISTRIBUTION_NORMAL: {
        cut_normal c = cut(d->a, d->b, d->min, d->max);
        return normal_quantile(&c, u, v);
    }
    case LM_DISTRIBUTION_LOGNORMAL: {
        cut_normal c = cut_of_log(d);
        return fmin(fmax(exp(normal_quantile(&c, u, v)), d->min), d->max);
    }
    case LM_DISTRIBUTION_LOGUNIFORM:
    case LM_DISTRIBUTION_POWER: {
        power w = power_of(d);
        return power_quantile(&w, u, v);
    }
    default: return table_quantile(d, u);
    }
}

static bool inside(const lm_distribution *d, double x)
{
    if (!(x >= d->min && x <= d->max) || isinf(x)) return false;
    switch (d->kind) {
    case LM_DISTRIBUTION_UNIFORM:
    case LM_DISTRIBUTION_LOGUNIFORM: return x >= d->a && x <= d->b;
    case LM_DISTRIBUTION_LOGNORMAL: return x > 0;
    case LM_DISTRIBUTION_POWER: return x > 0 || d->a == 0; /* the density at 0 is 0 or infinite */
    default: return true;
    }
}

double lm_distribution_below(const lm_distribution *d, double x)
{
    if (isnan(x)) return NAN;
    if (d->kind == LM_DISTRIBUTION_FIXED) return x > d->a ? 1 : 0;
    if (d->kind == LM_DISTRIBUTION_TABLE) return weight_until(d, x, false) / weight_until(d, INFINITY, false);
    double low = d->min, high = d->max;
    if (d->kind == LM_DISTRIBUTION_UNIFORM || d->kind == LM_DISTRIBUTION_LOGUNIFORM) {
        low = fmax(low, d->a);
        high = fmin(high, d->b);
    } else if (d->kind == LM_DISTRIBUTION_LOGNORMAL) {
        low = fmax(low, 0);
    }
    if (!(x > low)) return 0;
    if (!(x < high)) return 1;
    switch (d->kind) {
    case LM_DISTRIBUTION_UNIFORM: return (x - low) / (high - low);
    case LM_DISTRIBUTION_NORMAL: {
        cut_normal c = cut(d->a, d->b, d->min, d->max);
        return normal_below(&c, x);
    }
    case LM_DISTRIBUTION_LOGNORMAL: {
        cut_normal c = cut_of_log(d);
        return normal_below(&c, log(x));
    }
    default: {
        power w = power_of(d);
        return power_below(&w, x);
    }
    }
}

double lm_distribution_log_density(const lm_distribution *d, double x)
{
    if (d->kind == LM_DISTRIBUTION_FIXED) return x == d->a ? 0 : -INFINITY;
    if (d->kind == LM_DISTRIBUTION_TABLE) return table_has(d, x) ? 0 : -INFINITY;
    if (!inside(d, x)) return -INFINITY;
    switch (d->kind) {
    case LM_DISTRIBUTION_UNIFORM: return -log(fmin(d->b, d->max) - fmax(d->a, d->min));
    case LM_DISTRIBUTION_NORMAL: {
        cut_normal c = cut(d->a, d->b, d->min, d->max);
        return normal_log_density(&c, x);
    }
    case LM_DISTRIBUTION_LOGNORMAL: {
        cut_normal c = cut_of_log(d);
        double y = log(x);
        return normal_log_density(&c, y) - y;
    }
    default: {
        power w = power_of(d);
        return power_log_density(&w, x);
    }
    }
}

double lm_distribution_slope(const lm_distribution *d, double x)
{
    if (d->kind == LM_DISTRIBUTION_FIXED || d->kind == LM_DISTRIBUTION_TABLE || !inside(d, x)) return 0;
    switch (d->kind) {
    case LM_DISTRIBUTION_LOGUNIFORM: return -1 / x;
    case LM_DISTRIBUTION_NORMAL: return -(x - d->a) / d->b / d->b;
    case LM_DISTRIBUTION_LOGNORMAL: return -(1 + (log(x) - d->a) / d->b / d->b) / x;
    case LM_DISTRIBUTION_POWER: return d->a == 0 ? 0 : d->a / x;
    default: return 0;
    }
}
