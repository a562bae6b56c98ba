/* Mass models: tables, checks, and loops over positions. The formulas are in mass.inc. */
#include "operators/core/lensing/mass.h"

#include "operators/core/lensing/mass_fast.h"

#include <complex.h>
#include <stdbool.h>
#include <string.h>
#include <tgmath.h>

#define ANGLE(name_, doc_)                                                                                             \
    {                                                                                                                  \
        name_, 0, -1e3, 1e3, "rad", doc_                                                                               \
    }
#define CENTRE                                                                                                         \
    {"x", 0, -1e4, 1e4, "arcsec", "centre"},                                                                           \
    {                                                                                                                  \
        "y", 0, -1e4, 1e4, "arcsec", "centre"                                                                          \
    }
#define EINSTEIN(doc_)                                                                                                 \
    {                                                                                                                  \
        "theta_E", NAN, 0, 1e4, "arcsec", doc_                                                                         \
    }
#define RATIO                                                                                                          \
    {                                                                                                                  \
        "q", NAN, 0.01, 1, "", "axis ratio, minor over major"                                                          \
    }

static const lm_mass_model models[] = {
    [LM_MASS_SIS] = {"sis", "singular isothermal sphere", 3, 1, {EINSTEIN("Einstein radius"), CENTRE}},
    [LM_MASS_SIE] = {"sie",
                     "isothermal ellipsoid, with a core if s > 0 (NIE)",
                     6,
                     4,
                     {EINSTEIN("Einstein radius on the intermediate axis"),
                      RATIO,
                      ANGLE("phi", "of the major axis"),
                      {"s", 0, 0, 1e3, "arcsec", "radius of the core, on the major axis"},
                      CENTRE}},
    [LM_MASS_EPL] = {"epl",
                     "elliptical power law",
                     6,
                     4,
                     {EINSTEIN("Einstein radius on the intermediate axis"),
                      {"t", NAN, 0.01, 1.99, "", "slope of kappa; 1: isothermal. The slope of the density is t + 1"},
                      RATIO,
                      ANGLE("phi", "of the major axis"),
                      CENTRE}},
    [LM_MASS_SHEAR] = {"shear",
                       "external shear",
                       4,
                       2,
                       {{"gamma1", NAN, -10, 10, "", "along the axes"},
                        {"gamma2", NAN, -10, 10, "", "along the diagonals"},
                        {"x", 0, -1e4, 1e4, "arcsec", "where it does not deflect"},
                        {"y", 0, -1e4, 1e4, "arcsec", "where it does not deflect"}}},
    [LM_MASS_SHEET] = {"sheet",
                       "sheet of constant convergence",
                       3,
                       1,
                       {{"kappa", NAN, -10, 10, "", "convergence"},
                        {"x", 0, -1e4, 1e4, "arcsec", "where it does not deflect"},
                        {"y", 0, -1e4, 1e4, "arcsec", "where it does not deflect"}}},
    [LM_MASS_POINT] = {"point", "point mass", 3, 1, {EINSTEIN("Einstein radius"), CENTRE}},
    [LM_MASS_MULTIPOLE] = {"multipole",
                           "multipole of an isothermal convergence",
                           5,
                           3,
                           {{"m", NAN, 2, 64, "", "order, a whole number"},
                            {"a_m", NAN, -1e3, 1e3, "arcsec", "strength: kappa = a_m cos m(phi - phi_m) / 2r"},
                            ANGLE("phi_m", "where it is strongest"),
                            CENTRE}},
    [LM_MASS_NFW] = {"nfw",
                     "Navarro, Frenk and White",
                     4,
                     2,
                     {{"kappa_s", NAN, 0, 1e6, "", "rho_s r_s / Sigma_cr"},
                      {"theta_s", NAN, 1e-8, 1e5, "arcsec", "scale radius"},
                      CENTRE}},
    [LM_MASS_TNFW] = {"tnfw",
                      "NFW cut off: rho_NFW tau^2 / (tau^2 + (r/r_s)^2)",
                      5,
                      3,
                      {{"kappa_s", NAN, 0, 1e6, "", "rho_s r_s / Sigma_cr"},
                       {"theta_s", NAN, 1e-8, 1e5, "arcsec", "scale radius"},
                       {"tau", NAN, 1e-2, 1e4, "", "truncation radius over scale radius"},
                       CENTRE}},
    [LM_MASS_PJAFFE] = {"pjaffe",
                        "pseudo-Jaffe sphere: kappa_0 a s/(s - a) (1/sqrt(a^2 + R^2) - 1/sqrt(s^2 + R^2))",
                        5,
                        3,
                        {{"kappa_0", NAN, 0, 1e6, "", "strength"},
                         {"a", NAN, 1e-6, 1e4, "arcsec", "core"},
                         {"s", NAN, 1e-6, 1e5, "arcsec", "truncation, larger than a"},
                         CENTRE}},
};

/* Added to squared radii, arcsec^2: at the very centre a singular model gives a large number instead of none. */
#define TINY 1e-24
/* R of a power law is at least this, arcsec. */
#define FLOOR 1e-9

#define T double
#define REAL(z) (z)
#define NAME(name) name##_real
#include "operators/core/lensing/mass.inc"
#undef T
#undef REAL
#undef NAME

#define T double complex
#define REAL(z) creal(z)
#define NAME(name) name##_step
#include "operators/core/lensing/mass.inc"
#undef T
#undef REAL
#undef NAME

const lm_mass_model *lm_mass_model_of(lm_mass_kind kind)
{
    return &models[kind];
}

lm_mass_kind lm_mass_kind_of(const char *name)
{
    unsigned kind = 0;
    while (kind < LM_MASS_KINDS && strcmp(models[kind].name, name) != 0) kind++;
    return (lm_mass_kind)kind;
}

int lm_mass_param_of(lm_mass_kind kind, const char *name)
{
    for (unsigned i = 0; i < models[kind].n_params; i++)
        if (strcmp(models[kind].params[i].name, name) == 0) return (int)i;
    return -1;
}

lm_status lm_mass_check(const lm_mass *mass, lm_error *err)
{
    const lm_mass_model *model = &models[mass->kind];
    for (unsigned i = 0; i < model->n_params; i++) {
        const lm_mass_param *p = &model->params[i];
        if (!(mass->p[i] >= p->min && mass->p[i] <= p->max))
            return LM_FAIL(err, LM_EINPUT, "%s of a mass of type \"%s\" is %g: it must lie between %g and %g", p->name,
                           model->name, mass->p[i], p->min, p->max);
    }
    if (mass->kind == LM_MASS_MULTIPOLE && mass->p[0] != floor(mass->p[0]))
        return LM_FAIL(err, LM_EINPUT, "m of a multipole is %g: it must be a whole number", mass->p[0]);
    if (mass->kind == LM_MASS_PJAFFE && !(mass->p[1] < mass->p[2]))
        return LM_FAIL(err, LM_EINPUT, "a pseudo-Jaffe's core a = %g must be smaller than its truncation s = %g",
                       mass->p[1], mass->p[2]);
    return LM_OK;
}

static void add(const lm_mass_maps *to, size_t i, const place_real *at)
{
    if (to->psi) to->psi[i] += at->psi;
    if (to->alpha_x) to->alpha_x[i] += at->ax;
    if (to->alpha_y) to->alpha_y[i] += at->ay;
    if (to->kappa) to->kappa[i] += at->kappa;
    if (to->gamma1) to->gamma1[i] += at->g1;
    if (to->gamma2) to->gamma2[i] += at->g2;
}

void lm_mass_add(const lm_mass *mass, size_t n, const double *x, const double *y, const lm_mass_maps *to)
{
    if (!to->psi && lm_mass_fast_add(mass, n, x, y, to)) return;
    for (size_t i = 0; i < n; i++) {
        place_real at = place_at_real(mass->kind, mass->p, x[i], y[i]);
        add(to, i, &at);
    }
}

/* (CMPLX is not everywhere where C11 is.) Both are finite: the products with 0 are 0. */
static double complex with_step(double value, double step)
{
    return value + step * (double complex)I;
}

void lm_mass_derive(const lm_mass *mass, int by, size_t n, const double *x, const double *y, const lm_mass_maps *to)
{
    static const double h = 1e-40;
    if (lm_mass_fast_derive(mass, by, n, x, y, to)) return;
    double complex p[LM_MASS_MOST];
    for (int k = 0; k < LM_MASS_MOST; k++) p[k] = with_step(mass->p[k], k == by ? h : 0);
    for (size_t i = 0; i < n; i++) {
        place_step at = place_at_step(mass->kind, p, with_step(x[i], by == LM_BY_X ? h : 0),
                                      with_step(y[i], by == LM_BY_Y ? h : 0));
        place_real slope = {cimag(at.psi) / h,   cimag(at.ax) / h, cimag(at.ay) / h,
                            cimag(at.kappa) / h, cimag(at.g1) / h, cimag(at.g2) / h};
        add(to, i, &slope);
    }
}
