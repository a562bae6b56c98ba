/* Background cosmology, and what turns the masses of lenses into angles.
 *
 * A universe of matter, dark energy of constant w = p/rho, and curvature (Hogg 1999, astro-ph/9905116); radiation,
 * which changes distances by 1e-4, is left out:
 *
 *   E(z)^2 = Omega_m (1+z)^3 + Omega_k (1+z)^2 + Omega_de (1+z)^(3(1+w)),   Omega_k = 1 - Omega_m - Omega_de
 *
 * Distances are in Mpc, masses in M_sun, times in Gyr of 365.25e9 days, angles in arcsec, velocities in km/s. All
 * functions are pure. Bad input is LM_EINPUT and names the value: a redshift that is negative or not finite, H0 or a
 * mass that is not above 0, a negative Omega_m, E^2 <= 0 anywhere between here and z. Integrals are good to 1e-14,
 * relative; where E^2 comes so near 0 on the way that they are not, that is LM_EINPUT too.
 */
#ifndef LM_CORE_LENSING_COSMOLOGY_H
#define LM_CORE_LENSING_COSMOLOGY_H

#include "runtime/error.h"

/* c, km/s; the parsec of IAU 2015 B2, Mpc in km; the nominal G M_sun of IAU 2015 B3, km^3/s^2, so that masses are in
 * nominal suns and no measured G enters */
#define LM_LIGHT_KM_S 299792.458
#define LM_MPC_KM 3.0856775814913673e19
#define LM_GM_SUN 1.3271244e11
#define LM_G_MPC (LM_GM_SUN / LM_MPC_KM)               /* G: 4.30091727e-9 Mpc (km/s)^2 / M_sun */
#define LM_ARCSEC (3.14159265358979323846264 / 648000) /* in radians */
#define LM_DAY_S 86400.0
#define LM_GYR_S 3.15576e16

typedef struct lm_cosmology {
    double H0;       /* km/s/Mpc */
    double Omega_m;  /* matter, today */
    double Omega_de; /* dark energy, today; 1 - Omega_m: flat */
    double w;        /* -1: a cosmological constant */
} lm_cosmology;

/* LM_OK if every redshift from 0 to z can be computed: for a look at parameters before records come. */
lm_status lm_cosmology_check(const lm_cosmology *cosmology, double z, lm_error *err);

/* H(z)/H0. */
lm_status lm_cosmology_E(const lm_cosmology *cosmology, double z, double *ret, lm_error *err);
/* Critical density 3 H(z)^2 / (8 pi G), M_sun/Mpc^3, not comoving. */
lm_status lm_cosmology_rho_crit(const lm_cosmology *cosmology, double z, double *ret, lm_error *err);

/* Comoving distance along the line of sight: (c/H0) integral of dz/E from 0 to z. */
lm_status lm_cosmology_D_C(const lm_cosmology *cosmology, double z, double *ret, lm_error *err);
/* Transverse comoving distance: D_C, bent by the curvature. LM_EINPUT from the antipode of a closed universe on. */
lm_status lm_cosmology_D_M(const lm_cosmology *cosmology, double z, double *ret, lm_error *err);
/* Angular diameter distance D_M/(1+z), and luminosity distance D_M (1+z). */
lm_status lm_cosmology_D_A(const lm_cosmology *cosmology, double z, double *ret, lm_error *err);
lm_status lm_cosmology_D_L(const lm_cosmology *cosmology, double z, double *ret, lm_error *err);
/* Angular diameter distance of z2 seen from z1 <= z2, with the integral between the two, so that nothing cancels. */
lm_status lm_cosmology_D_A_between(const lm_cosmology *cosmology, double z1, double z2, double *ret, lm_error *err);

/* Time from z until now, and from the beginning to z, Gyr. The age needs Omega_m > 0, and E^2 > 0 back to z = 1e17. */
lm_status lm_cosmology_lookback(const lm_cosmology *cosmology, double z, double *ret, lm_error *err);
lm_status lm_cosmology_age(const lm_cosmology *cosmology, double z, double *ret, lm_error *err);

/* A lens plane at z_l before sources at z_s: made once for a pair of redshifts, then used for each mass. */
typedef struct lm_lens_geometry {
    double z_l, z_s;
    double D_l, D_s, D_ls;   /* angular diameter distances, Mpc */
    double D_dt;             /* time-delay distance (1+z_l) D_l D_s/D_ls, Mpc */
    double Sigma_cr;         /* c^2 D_s/(4 pi G D_l D_ls), M_sun/Mpc^2 */
    double Sigma_cr_arcsec;  /* the same, M_sun/arcsec^2 in the lens plane */
    double rho_crit;         /* critical density at z_l, M_sun/Mpc^3 */
    double kpc_per_arcsec;   /* in the lens plane */
    double days_per_arcsec2; /* arrival time for a Fermat potential of 1 arcsec^2: D_dt/c */
} lm_lens_geometry;

/* LM_EINPUT unless 0 < z_l < z_s. */
lm_status lm_lens_geometry_of(const lm_cosmology *cosmology, double z_l, double z_s, lm_lens_geometry *ret,
                              lm_error *err);

/* Masses and angles. Arguments must be finite and above 0, and so must what comes out, else LM_EINPUT. */

/* Point mass: theta_E^2 = 4 G M D_ls / (c^2 D_l D_s) = M / (pi Sigma_cr_arcsec). The inverse is also the mass within
 * the Einstein radius of any circular lens. */
lm_status lm_lens_theta_E_of_mass(const lm_lens_geometry *g, double mass, double *ret, lm_error *err);
lm_status lm_lens_mass_of_theta_E(const lm_lens_geometry *g, double theta_E, double *ret, lm_error *err);

/* Singular isothermal sphere of velocity dispersion sigma_v: theta_E = 4 pi (sigma_v/c)^2 D_ls/D_s. */
lm_status lm_lens_theta_E_of_sigma_v(const lm_lens_geometry *g, double sigma_v, double *ret, lm_error *err);
lm_status lm_lens_sigma_v_of_theta_E(const lm_lens_geometry *g, double theta_E, double *ret, lm_error *err);

/* NFW halo of mass M200 within r200, where its mean density is 200 rho_crit(z_l), and of concentration c = r200/r_s
 * (Navarro, Frenk & White 1997): theta_s = r_s/D_l, kappa_s = rho_s r_s/Sigma_cr. For a truncated one these are kappa_s
 * and theta_s too, if M200 and c are of the halo before the truncation. */
lm_status lm_lens_nfw_of_m200(const lm_lens_geometry *g, double m200, double c, double *ret_kappa_s,
                              double *ret_theta_s, lm_error *err);
lm_status lm_lens_m200_of_nfw(const lm_lens_geometry *g, double kappa_s, double theta_s, double *ret_m200,
                              double *ret_c, lm_error *err);
/* The same where M200 and theta_s are given: its kappa_s. */
lm_status lm_lens_kappa_s_of_m200(const lm_lens_geometry *g, double m200, double theta_s, double *ret, lm_error *err);

/* Truncated NFW halo, rho_NFW tau^2/(tau^2 + x^2) with x = r/r_s and tau = r_t/r_s, by its total mass (Baltz, Marshall
 * & Oguri 2009, arXiv:0705.0682):
 *   M = 4 pi rho_s r_s^3 tau^2/(tau^2+1)^2 [(tau^2-1) ln tau + pi tau - (tau^2+1)] */
lm_status lm_lens_kappa_s_of_total(const lm_lens_geometry *g, double mass, double theta_s, double tau, double *ret,
                                   lm_error *err);
lm_status lm_lens_total_of_kappa_s(const lm_lens_geometry *g, double kappa_s, double theta_s, double tau, double *ret,
                                   lm_error *err);

#endif
