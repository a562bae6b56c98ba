/* Mass models over blocks of positions. See mass_fast.h.
 *
 * A model's function gets positions on its own axes and sets the deflection and, if `shape`, convergence and shear. Loops have no
 * branches and no calls, so that the compiler turns them into vector instructions (see vector_math.h).
 */
#include "operators/core/lensing/mass_fast.h"

#include "operators/core/clones.h"
#include "operators/core/vector_math.h"

enum { BLOCK = 128, LANES = 8, TERMS = 4000, FEW = 4 };

/* As in mass.c. */
#define TINY 1e-24
#define FLOOR 1e-9

typedef struct {
    double x[BLOCK], y[BLOCK];
    double ax[BLOCK], ay[BLOCK], kappa[BLOCK], g1[BLOCK], g2[BLOCK];
} block;

/* A round model: ax holds the mean convergence within r, kappa the convergence. */
static inline void finish_round(size_t n, block *b, bool shape)
{
    for (size_t i = 0; shape && i < n; i++) {
        double x = b->x[i], y = b->y[i], shear = (b->ax[i] - b->kappa[i]) / (x * x + y * y + TINY);
        b->g1[i] = -shear * (x * x - y * y);
        b->g2[i] = -2 * shear * x * y;
    }
    for (size_t i = 0; i < n; i++) {
        double mean = b->ax[i];
        b->ax[i] = mean * b->x[i];
        b->ay[i] = mean * b->y[i];
    }
}

LM_CLONES_WIDE static void sis(const double *p, size_t n, block *b, bool shape)
{
    for (size_t i = 0; i < n; i++) {
        b->ax[i] = p[0] / sqrt(b->x[i] * b->x[i] + b->y[i] * b->y[i] + TINY);
        b->kappa[i] = b->ax[i] / 2;
    }
    finish_round(n, b, shape);
}

LM_CLONES_WIDE static void point(const double *p, size_t n, block *b, bool shape)
{
    double e2 = p[0] * p[0];
    for (size_t i = 0; i < n; i++) {
        b->ax[i] = e2 / (b->x[i] * b->x[i] + b->y[i] * b->y[i] + TINY);
        b->kappa[i] = 0;
    }
    finish_round(n, b, shape);
}

LM_CLONES_WIDE static void pjaffe(const double *p, size_t n, block *b, bool shape)
{
    double a = p[1], s = p[2], unit = 2 * p[0] * a * s / (s - a);
    for (size_t i = 0; i < n; i++) {
        double r2 = b->x[i] * b->x[i] + b->y[i] * b->y[i] + TINY, ra = sqrt(a * a + r2), rs = sqrt(s * s + r2);
        /* 1/(ra + a) - 1/(rs + s) */
        b->ax[i] = unit * (((rs - ra) + (s - a)) / ((ra + a) * (rs + s)));
        b->kappa[i] = unit / 2 * ((rs - ra) / (ra * rs));
    }
    finish_round(n, b, shape);
}

LM_CLONES_WIDE static void linear(double kappa, double g1, double g2, size_t n, block *b, bool shape)
{
    for (size_t i = 0; i < n; i++) {
        b->ax[i] = (kappa + g1) * b->x[i] + g2 * b->y[i];
        b->ay[i] = g2 * b->x[i] + (kappa - g1) * b->y[i];
    }
    for (size_t i = 0; shape && i < n; i++) {
        b->kappa[i] = kappa;
        b->g1[i] = g1;
        b->g2[i] = g2;
    }
}

/* alpha = b/f (atan(f x/(R + s)), atanh(f y/(R + q^2 s))), f^2 = 1 - q^2; with d = R + q^2 s, d^2 - f^2 y^2 = q^2 whole, which does
 * not cancel. f = 0, a circle, is the limit. */
LM_CLONES_WIDE static void sie(const double *p, size_t n, block *to, bool shape)
{
    const double q = p[1], s = p[3], b = p[0] * sqrt(q), q2 = q * q, f2 = 1 - q2, f = sqrt(f2 > 1e-30 ? f2 : 1e-30);
    const double unit = b / f;
    for (size_t i = 0; i < n; i++) {
        double x = to->x[i], y = to->y[i], xx = x * x, yy = y * y;
        double big = sqrt(q2 * (xx + s * s) + yy + TINY), whole = (1 + q2) * s * s + 2 * s * big + xx + yy + TINY;
        double ax = unit * lm_flat_atan2(f * fabs(x), big + s);
        double ay = unit * lm_flat_atanh2(f * fabs(y), big + q2 * s, q2 * whole);
        to->ax[i] = copysign(ax, x);
        to->ay[i] = copysign(ay, y);
    }
    for (size_t i = 0; shape && i < n; i++) {
        double x = to->x[i], y = to->y[i], xx = x * x, yy = y * y;
        double big = sqrt(q2 * (xx + s * s) + yy + TINY), whole = (1 + q2) * s * s + 2 * s * big + xx + yy + TINY;
        double per = b / (big * whole);
        to->kappa[i] = b / (2 * big);
        to->g1[i] = per * ((q2 * s * s - s * s) + (yy - xx)) / 2;
        to->g2[i] = -per * x * y;
    }
}

/* The angular series sum c_n z^n, z = e^{2 i phi} (Tessore & Metcalf 2015), at n positions: Horner's rule with complex z, or for a
 * series that falls fast its real form (Clenshaw 1955), which halves the work but loses digits as 1/(1 - f)^2. */
LM_CLONES_WIDE static void series(const double *c, size_t terms, bool fast, size_t n, const double *restrict zr,
                                  const double *restrict zi, double *restrict re, double *restrict im)
{
    if (fast) {
        double one[BLOCK] = {0}, two[BLOCK] = {0};
        size_t k = terms; /* odd or even: b_k in `one`, b_k+1 in `two` */
        if (k % 2 == 0) {
            for (size_t i = 0; i < n; i++) one[i] = c[k - 1];
            k--;
        }
        for (; k > 1; k -= 2) {
            double upper = c[k - 1], lower = c[k - 2];
            for (size_t i = 0; i < n; i++) {
                double twice = 2 * zr[i], b = upper + (twice * one[i] - two[i]);
                two[i] = b;
                one[i] = lower + (twice * b - one[i]);
            }
            /* now `one` is the newest, `two` the one before */
        }
        for (size_t i = 0; i < n; i++) {
            re[i] = c[0] + (zr[i] * one[i] - two[i]);
            im[i] = zi[i] * one[i];
        }
        return;
    }
    for (size_t i = 0; i < n; i++) re[i] = im[i] = 0;
    for (size_t k = terms; k > 0; k--)
        for (size_t i = 0; i < n; i++) {
            double r = c[k - 1] + (zr[i] * re[i] - zi[i] * im[i]);
            im[i] = zr[i] * im[i] + zi[i] * re[i];
            re[i] = r;
        }
}

/* Coefficients of the series; the rest of it is below 1e-17 of the whole. Returns how many. */
static size_t series_terms(double t, double f, double *c)
{
    size_t n = 1;
    double left = f;
    c[0] = 1;
    for (; left > 1e-17 * (1 - f) && n < TERMS; n++, left *= f)
        c[n] = c[n - 1] * (-f * (2 * (double)n - (2 - t)) / (2 * (double)n + (2 - t)));
    return n;
}

LM_CLONES_WIDE static void epl(const double *p, const double *c, size_t terms, size_t n, block *to, bool shape)
{
    const double t = p[1], q = p[2], b = p[0] * sqrt(q), f = (1 - q) / (1 + q), log_b = log(b), scale = 2 * b / (1 + q);
    double zr[BLOCK] = {0}, zi[BLOCK] = {0}, re[BLOCK], im[BLOCK], power[BLOCK];
    for (size_t i = 0; i < n; i++) {
        double x = q * to->x[i], y = to->y[i], big2 = x * x + y * y + FLOOR * FLOOR;
        zr[i] = (x * x - y * y) / big2;
        zi[i] = 2 * x * y / big2;
        power[i] = lm_flat_exp((t - 1) * (log_b - 0.5 * lm_flat_log(big2)));
    }
    series(c, terms, f < 0.6, n, zr, zi, re, im);
    for (size_t i = 0; i < n; i++) {
        double x = q * to->x[i], y = to->y[i], big = sqrt(x * x + y * y + FLOOR * FLOOR), unit = scale * power[i] / big;
        to->ax[i] = unit * (x * re[i] - y * im[i]);
        to->ay[i] = unit * (y * re[i] + x * im[i]);
        to->kappa[i] = (2 - t) / 2 * power[i] * b / big;
    }
    for (size_t i = 0; shape && i < n; i++) {
        double x = to->x[i], y = to->y[i], r2 = x * x + y * y + TINY;
        to->g1[i] = (-to->kappa[i] * (x * x - y * y) + (1 - t) * (x * to->ax[i] - y * to->ay[i])) / r2;
        to->g2[i] = (-2 * to->kappa[i] * x * y + (1 - t) * (x * to->ay[i] + y * to->ax[i])) / r2;
    }
}

/* F(u) = atanh(w)/w, w^2 = 1 - u^2, which goes on as atan beyond u = 1 */
static inline double halo_f(double u2)
{
    double z = fabs(1 - u2), w = sqrt(z > 1e-300 ? z : 1e-300);
    double inner = lm_flat_atanh2(w, 1, u2), outer = lm_flat_atan2(w, 1);
    return (u2 < 1 ? inner : outer) / w;
}

/* F + log(u/2), given both. Towards the centre it falls as u^2: with w = sqrt(1 - u^2),
 * w (F + log(u/2)) = log((1 + w)/2) - (1 - w) log(u/2) = log(1 - u^2/(2 (1 + w))) - u^2/(1 + w) log(u/2) */
static inline double halo_g(double u2, double f, double log_half)
{
    double inside = u2 < 0.25 ? u2 : 0.25, w = sqrt(1 - inside), e = inside / (1 + w), s = -e / (4 - e);
    double small = (2 * s + s * lm_flat_atanh_tail(s * s) - e * log_half) / w;
    return u2 < 0.25 ? small : f + log_half;
}

/* (1 - F)/(u^2 - 1) = (F - 1)/z, z = 1 - u^2, by F = 1 + z/3 + z^2/5 + ... where that is 0/0 */
static inline double halo_slope(double u2, double f)
{
    double z = 1 - u2, near = fabs(z) < 0.03 ? z : 0;
    double far = (f - 1) / (fabs(z) < 0.03 ? 1 : z);
    double low = 1.0 / 3 + near * (1.0 / 5 + near * (1.0 / 7 + near * (1.0 / 9 + near * (1.0 / 11 + near / 13))));
    double near3 = near * near * near;
    double high = 1.0 / 15 + near * (1.0 / 17 + near * (1.0 / 19 + near * (1.0 / 21 + near * (1.0 / 23))));
    return fabs(z) < 0.03 ? low + near3 * near3 * high : far;
}

LM_CLONES_WIDE static void nfw(const double *p, size_t n, block *b, bool shape)
{
    const double per = 1 / (p[1] * p[1]);
    double f[BLOCK];
    for (size_t i = 0; i < n; i++) {
        double u2 = (b->x[i] * b->x[i] + b->y[i] * b->y[i] + TINY) * per;
        f[i] = halo_f(u2);
        b->ax[i] = 4 * p[0] * halo_g(u2, f[i], 0.5 * lm_flat_log(u2 / 4)) / u2;
    }
    for (size_t i = 0; shape && i < n; i++)
        b->kappa[i] = 2 * p[0] * halo_slope((b->x[i] * b->x[i] + b->y[i] * b->y[i] + TINY) * per, f[i]);
    finish_round(n, b, shape);
}

/* With l = log(u/(tau + R)), R^2 = tau^2 + u^2, mass.inc's g is, of terms that all fall as u^2,
 * 2 u^2 F - pi u^2/(R + tau) + (tau^2 - 1) (F + log(u/2) - log1p(e) + 2 e l), e = u^2/(2 tau (R + tau)) */
LM_CLONES_WIDE static void tnfw(const double *p, size_t n, block *b, bool shape)
{
    const double per = 1 / (p[1] * p[1]), tau = p[2], t2 = tau * tau, log_tau = log(tau);
    const double unit = t2 / ((t2 + 1) * (t2 + 1)), less = t2 - 1;
    double f[BLOCK], l[BLOCK];
    for (size_t i = 0; i < n; i++) {
        double u2 = (b->x[i] * b->x[i] + b->y[i] * b->y[i] + TINY) * per, big = sqrt(t2 + u2),
               log_half = 0.5 * lm_flat_log(u2 / 4);
        double share = u2 / (big + tau), e = share / (2 * tau), beyond = lm_flat_log1p(e);
        f[i] = halo_f(u2);
        l[i] = log_half - log_tau - beyond;
        double g = 2 * u2 * f[i] - M_PI * share + less * (halo_g(u2, f[i], log_half) - beyond + 2 * e * l[i]);
        b->ax[i] = 4 * p[0] * unit * g / u2;
    }
    for (size_t i = 0; shape && i < n; i++) {
        double u2 = (b->x[i] * b->x[i] + b->y[i] * b->y[i] + TINY) * per, big = sqrt(t2 + u2);
        b->kappa[i] =
            2 * p[0] * unit * ((t2 + 1) * halo_slope(u2, f[i]) + 2 * f[i] - M_PI / big + less * l[i] / (tau * big));
    }
    finish_round(n, b, shape);
}

/* The axis of a model: cosine and sine of its angle. */
typedef struct {
    double x, y, c, s;
    bool turned;
} frame;

static frame frame_of(const lm_mass *mass)
{
    const double *centre = mass->p + lm_mass_model_of(mass->kind)->centre;
    int axis = mass->kind == LM_MASS_SIE ? 2 : mass->kind == LM_MASS_EPL ? 3 : -1;
    frame f = {centre[0], centre[1], 1, 0, axis >= 0};
    if (f.turned) {
        f.c = cos(mass->p[axis]);
        f.s = sin(mass->p[axis]);
    }
    return f;
}

LM_CLONES_WIDE static void turn_in(const frame *f, size_t n, const double *x, const double *y, block *b)
{
    if (!f->turned)
        for (size_t i = 0; i < n; i++) {
            b->x[i] = x[i] - f->x;
            b->y[i] = y[i] - f->y;
        }
    else
        for (size_t i = 0; i < n; i++) {
            double dx = x[i] - f->x, dy = y[i] - f->y;
            b->x[i] = f->c * dx + f->s * dy;
            b->y[i] = f->c * dy - f->s * dx;
        }
}

/* Deflections turn back by phi, the shear by 2 phi. */
LM_CLONES_WIDE static void turn_back(const frame *f, size_t n, block *b, bool shape)
{
    const double c2 = f->c * f->c - f->s * f->s, s2 = 2 * f->c * f->s;
    for (size_t i = 0; i < n; i++) {
        double ax = b->ax[i], ay = b->ay[i];
        b->ax[i] = f->c * ax - f->s * ay;
        b->ay[i] = f->s * ax + f->c * ay;
    }
    for (size_t i = 0; shape && i < n; i++) {
        double g1 = b->g1[i], g2 = b->g2[i];
        b->g1[i] = c2 * g1 - s2 * g2;
        b->g2[i] = s2 * g1 + c2 * g2;
    }
}

/* A model made ready for many blocks. */
typedef struct {
    const lm_mass *mass;
    frame axes;
    size_t terms;
    double c[TERMS];
} model;

static bool model_init(model *m, const lm_mass *mass)
{
    if (mass->kind == LM_MASS_MULTIPOLE || (mass->kind == LM_MASS_EPL && !(mass->p[0] > 0))) return false;
    m->mass = mass;
    m->axes = frame_of(mass);
    if (mass->kind == LM_MASS_EPL) m->terms = series_terms(mass->p[1], (1 - mass->p[2]) / (1 + mass->p[2]), m->c);
    return true;
}

/* All of a block at up to BLOCK positions, on the sky's axes; b->x, b->y stay on the model's. The last one is repeated up to whole
 * vectors: what is left over would be done one by one. */
static void evaluate(const model *m, size_t n, const double *x, const double *y, block *b, bool shape)
{
    const double *p = m->mass->p;
    turn_in(&m->axes, n, x, y, b);
    for (; n % LANES != 0; n++) {
        b->x[n] = b->x[n - 1];
        b->y[n] = b->y[n - 1];
    }
    switch (m->mass->kind) {
    case LM_MASS_SIS: sis(p, n, b, shape); break;
    case LM_MASS_SIE: sie(p, n, b, shape); break;
    case LM_MASS_EPL: epl(p, m->c, m->terms, n, b, shape); break;
    case LM_MASS_SHEAR: linear(0, p[0], p[1], n, b, shape); break;
    case LM_MASS_SHEET: linear(p[0], 0, 0, n, b, shape); break;
    case LM_MASS_POINT: point(p, n, b, shape); break;
    case LM_MASS_NFW: nfw(p, n, b, shape); break;
    case LM_MASS_TNFW: tnfw(p, n, b, shape); break;
    case LM_MASS_PJAFFE: pjaffe(p, n, b, shape); break;
    case LM_MASS_MULTIPOLE:
    case LM_MASS_KINDS: break;
    }
    if (m->axes.turned) turn_back(&m->axes, n, b, shape);
}

LM_CLONES_WIDE static void add(double *restrict to, const double *restrict from, size_t n)
{
    for (size_t i = 0; to && i < n; i++) to[i] += from[i];
}

static double *at(double *map, size_t i)
{
    return map ? map + i : NULL;
}

bool lm_mass_fast_add(const lm_mass *mass, size_t n, const double *x, const double *y, const lm_mass_maps *to)
{
    model m;
    if (n < FEW || !model_init(&m, mass)) return false; /* making ready does not pay for a few */
    bool shape = to->kappa || to->gamma1 || to->gamma2;
    for (size_t i = 0; i < n; i += BLOCK) {
        block b;
        size_t some = n - i < BLOCK ? n - i : BLOCK;
        evaluate(&m, some, x + i, y + i, &b, shape);
        add(at(to->alpha_x, i), b.ax, some);
        add(at(to->alpha_y, i), b.ay, some);
        add(at(to->kappa, i), b.kappa, some);
        add(at(to->gamma1, i), b.g1, some);
        add(at(to->gamma2, i), b.g2, some);
    }
    return true;
}

/* alpha = factor(p) times something without p: the derivative is this times alpha. 0: not so. */
static double scaling(const lm_mass *mass, int by)
{
    double value = mass->p[by], power = mass->kind == LM_MASS_POINT ? 2 : mass->kind == LM_MASS_EPL ? mass->p[1] : 1;
    if (by != 0 || mass->kind == LM_MASS_SHEAR || !(fabs(value) > 1e-300)) return 0;
    return power / value;
}

/* d alpha = H v at each position, H the Jacobian of alpha, v a constant vector or, by angle, (y, -x) around the centre. */
static void along(const model *m, int by, size_t n, const double *x, const double *y, const block *b, double *ret_x,
                  double *ret_y)
{
    unsigned centre = lm_mass_model_of(m->mass->kind)->centre;
    double vx = by == LM_BY_X ? 1 : by == (int)centre ? -1 : 0, vy = by == LM_BY_Y ? 1 : by == (int)centre + 1 ? -1 : 0;
    bool angle = by >= 0 && by < (int)centre;
    for (size_t i = 0; i < n; i++) {
        double ux = angle ? y[i] - m->axes.y : vx, uy = angle ? m->axes.x - x[i] : vy;
        ret_x[i] = (b->kappa[i] + b->g1[i]) * ux + b->g2[i] * uy - (angle ? b->ay[i] : 0);
        ret_y[i] = b->g2[i] * ux + (b->kappa[i] - b->g1[i]) * uy + (angle ? b->ax[i] : 0);
    }
}

bool lm_mass_fast_derive(const lm_mass *mass, int by, size_t n, const double *x, const double *y,
                         const lm_mass_maps *to)
{
    if (to->psi || to->kappa || to->gamma1 || to->gamma2) return false;
    int centre = (int)lm_mass_model_of(mass->kind)->centre;
    lm_mass unit = *mass;
    if (mass->kind == LM_MASS_SHEAR && (by == 0 || by == 1)) {
        unit.p[by] = 1;
        unit.p[1 - by] = 0;
        return lm_mass_fast_add(&unit, n, x, y, to);
    }
    bool moves = by < 0 || by >= centre,
         turns = (mass->kind == LM_MASS_SIE && by == 2) || (mass->kind == LM_MASS_EPL && by == 3);
    double factor = moves || turns ? 0 : scaling(mass, by);
    model m;
    if ((!moves && !turns && factor == 0) || !model_init(&m, mass)) return false;
    for (size_t i = 0; i < n; i += BLOCK) {
        block b;
        size_t some = n - i < BLOCK ? n - i : BLOCK;
        double dx[BLOCK], dy[BLOCK];
        evaluate(&m, some, x + i, y + i, &b, moves || turns);
        if (moves || turns) along(&m, by, some, x + i, y + i, &b, dx, dy);
        else
            for (size_t k = 0; k < some; k++) {
                dx[k] = factor * b.ax[k];
                dy[k] = factor * b.ay[k];
            }
        add(at(to->alpha_x, i), dx, some);
        add(at(to->alpha_y, i), dy, some);
    }
    return true;
}
