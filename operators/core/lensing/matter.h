/* How matter is clumped: fluctuations by mass, their growth, the number of haloes and their concentration.
 *
 * Cold dark matter with the transfer function of Eisenstein & Hu 1998 (astro-ph/9709112) without acoustic oscillations, eqs. 26 and
 * 28-31. The variance in spheres that hold a mass M at the mean density of today,
 *
 *   sigma(M)^2 = 1/(2 pi^2) int k^3 P(k) W(kR)^2 dln k,   W(x) = 3 (sin x - x cos x)/x^3,   M = 4 pi/3 rho_m R^3
 *
 * is normalised to sigma8 at 8/h Mpc. It grows as D(z), D(0) = 1, the growing solution of D'' + (2 + dln H/dln a) D' = 3/2 Omega_m(a) D
 * (primes: d/dln a) in any universe of cosmology.h. The number of haloes is that of Sheth & Tormen 1999 (astro-ph/9901122), with
 * delta_c = 1.68647 at all times:
 *
 *   dn/dln M = (rho_m/M) |dln sigma/dln M| A sqrt(2 a/pi) nu (1 + (a nu^2)^-p) exp(-a nu^2/2),   nu = delta_c/(sigma D)
 *   A = 0.3222, a = 0.707, p = 0.3
 *
 * Masses are in M_sun and lengths in Mpc, both without h; numbers per comoving Mpc^3. Everything is pure once made, for any thread.
 */
#ifndef LM_CORE_LENSING_MATTER_H
#define LM_CORE_LENSING_MATTER_H

#include "operators/core/lensing/cosmology.h"
#include "runtime/alloc.h"
#include "runtime/error.h"

typedef struct lm_matter_params {
    lm_cosmology cosmology; /* Omega_m above 0 */
    double Omega_b;         /* baryons, part of Omega_m; 0 <= Omega_b < Omega_m */
    double sigma8;          /* standard deviation of the density in spheres of 8/h Mpc, today */
    double n_s;             /* slope of the primordial spectrum */
    double T_cmb;           /* K */
} lm_matter_params;

typedef struct lm_matter lm_matter;

/* Tables for masses from 1e2 to 1e17 M_sun and redshifts up to 1000, good to 1e-6. LM_EINPUT names the number that is wrong. */
lm_status lm_matter_new(const lm_matter_params *params, lm_matter **ret, lm_error *err);
lm_matter *lm_matter_free(lm_matter *matter);
LM_OWNABLE(lm_matter, lm_matter_free)
const lm_matter_params *lm_matter_peek(const lm_matter *matter); /* what it was made from; lives as it does */

/* NaN beyond the tables. */
double lm_matter_sigma(const lm_matter *matter, double mass); /* of linear density, extrapolated to today */
double lm_matter_slope(const lm_matter *matter, double mass); /* dln sigma/dln M, below 0 */
double lm_matter_growth(const lm_matter *matter, double z);   /* D(z) */
double lm_matter_density(const lm_matter *matter);            /* mean density of matter, M_sun per comoving Mpc^3 */
double lm_matter_haloes(const lm_matter *matter, double mass, double z); /* dn/dln M per comoving Mpc^3 */

/* Median concentration r200/r_s of haloes of mass M200 with respect to the critical density. */
typedef enum lm_concentration_kind {
    LM_CONCENTRATION_LUDLOW16, /* the fit of Ludlow et al. 2016 (arXiv:1601.02624), appendix C, with the D of this universe and the
                                * sigma(M) of its eq. C8; for 1e-8 < M < 1e16 M_sun/h and Planck-like universes */
    LM_CONCENTRATION_DUFFY08, /* 5.71 (M/2e12 M_sun/h)^-0.084 (1+z)^-0.47 (Duffy et al. 2008, arXiv:0804.2486): a power law, fitted
                                * above 1e11 M_sun/h and for z < 2 */
    LM_CONCENTRATION_KINDS
} lm_concentration_kind;
extern const char *const lm_concentration_names[]; /* in that order, then NULL */
double lm_matter_concentration(const lm_matter *matter, lm_concentration_kind kind, double m200, double z);

/* Warm dark matter. The mass whose fluctuations are half as large as in a cold universe, for a thermal relic of m_keV (Viel et al.
 * 2005, astro-ph/0501562; Schneider et al. 2012, arXiv:1112.0330):
 *   M_hm = 4 pi/3 rho_m (lambda_hm/2)^3, lambda_hm = 13.934 a, a = 0.049 m_keV^-1.11 (Omega_x/0.25)^0.11 (h/0.7)^1.22 Mpc/h
 * with Omega_x = Omega_m - Omega_b. NaN unless 0 < m_keV. */
double lm_matter_half_mode(const lm_matter *matter, double m_keV);
/* The part of the haloes that is left, (1 + (a M_hm/M)^b)^c with c <= 0 (Lovell 2020, arXiv:2003.01125); 1 where M_hm = 0. */
double lm_warm_number(const double abc[3], double m_hm, double mass);
/* The factor on concentrations, (1 + 60 M_hm/M)^-0.17 (1+z)^(0.026 z - 0.04) (Bose et al. 2016, arXiv:1507.01998); 1 where M_hm = 0. */
double lm_warm_concentration(double m_hm, double mass, double z);

#endif
