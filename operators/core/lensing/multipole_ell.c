/* Elliptical multipoles in closed form.
 *
 * With alpha = alpha_x + i alpha_y and z = x + i y along the axes of the ellipse, d alpha/dz = kappa. Where kappa =
 * g(phi)/r, alpha depends on phi alone, d alpha/d phi = 2 i r kappa e^(i phi); with w = e^(i phi_e), r/R e^(i phi) =
 * (cos phi_e + i q sin phi_e)/sqrt(q), d phi = (R/r)^2 d phi_e and f = (1-q)/(1+q) that is
 *
 *   alpha = a sqrt(q)/(1+q) [e^(-i m p) I_m(w) + e^(i m p) I_{-m}(w)],   I_k = integral of w^k/(1 + f w^2) dw
 *
 * with p = phi_m - phi. All I_k come from one by polynomials: w^k = w^k/(1 + f w^2) + f w^(k+2)/(1 + f w^2), and
 *
 *   I_0 = atan(sqrt(f) w)/sqrt(f),  I_1 = log(1 + f w^2)/(2 f),  I_{-1} = log w - f I_1,
 *   I_m = w^(m+1) sum_j (-f w^2)^j/(2j + m + 1)
 *
 * For even m, alpha changes sign on the other side, which fixes its constant. For odd m, I_{-m} has the term
 * (-f)^((m-1)/2) log w, which is not periodic. A function of conj z may be added to alpha, as kappa does not see it:
 * log conj z makes it log r + i (phi_e - phi), a dipole's deflection, with 1/2 added to meet the round dipole. Then psi
 * = x . alpha - x . d, where d is what log r is multiplied with, and the shear is -kappa e^(2 i phi) + d e^(i phi)/r.
 */
#include "operators/core/lensing/multipole_ell.h"

#include <complex.h>
#include <tgmath.h>

/* As in mass.c: added to squared radii. */
#define TINY 1e-24

#define T double
#define REAL(z) (z)
#define NAME(name) name##_real
#include "operators/core/lensing/multipole_ell.inc"
#undef T
#undef REAL
#undef NAME

#define T double complex
#define REAL(z) creal(z)
#define NAME(name) name##_step
#include "operators/core/lensing/multipole_ell.inc"
#undef T
#undef REAL
#undef NAME

/* How many terms the series needs; 0: closed forms cost less, and lose no more than two digits. Three at least: a
 * derivative by q at q = 1 sees f's first power. */
static unsigned terms_of(unsigned m, double q)
{
    double f = (1 - q) / (1 + q);
    if (!(f > 1e-12)) return 3;
    double terms = 2 + ceil(log(1e-17) / log(f));
    return terms > 24 && pow(f, -0.5 * m) < 100 ? 0 : (unsigned)fmax(terms, 3);
}

void lm_multipole_ell(unsigned m, double a_m, double phi_m, double q, double phi, size_t n, const double *x,
                      const double *y, const lm_mass_maps *to)
{
    double p[] = {a_m, phi_m, q, phi}, *maps[] = {to->psi, to->alpha_x, to->alpha_y, to->kappa, to->gamma1, to->gamma2};
    unsigned terms = terms_of(m, q);
    for (size_t i = 0; i < n; i++) {
        double at[6];
        ell_real(m, terms, p, x[i], y[i], at);
        for (int k = 0; k < 6; k++)
            if (maps[k]) maps[k][i] += at[k];
    }
}

/* (CMPLX is not everywhere where C11 is.) Both are finite: the products with 0 are 0. */
static double complex with_step(double value, double step)
{
    return value + step * (double complex)I;
}

void lm_multipole_ell_derive(unsigned m, double a_m, double phi_m, double q, double phi, int by, size_t n,
                             const double *x, const double *y, const lm_mass_maps *to)
{
    static const double h = 1e-40;
    double *maps[] = {to->psi, to->alpha_x, to->alpha_y, to->kappa, to->gamma1, to->gamma2};
    double complex p[] = {with_step(a_m, by == LM_ELL_BY_A ? h : 0), with_step(phi_m, by == LM_ELL_BY_PHI_M ? h : 0),
                          with_step(q, by == LM_ELL_BY_Q ? h : 0), with_step(phi, by == LM_ELL_BY_PHI ? h : 0)};
    unsigned terms = terms_of(m, q);
    for (size_t i = 0; i < n; i++) {
        double complex at[6];
        ell_step(m, terms, p, with_step(x[i], by == LM_BY_X ? h : 0), with_step(y[i], by == LM_BY_Y ? h : 0), at);
        for (int k = 0; k < 6; k++)
            if (maps[k]) maps[k][i] += cimag(at[k]) / h;
    }
}
