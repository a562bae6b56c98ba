/* Populations of dark haloes before a source: those within the lens, and those along the line of sight. Each halo becomes a truncated NFW
 * mass (mass.h), so that thousands of them are one list.
 *
 * Subhaloes, in a disc of radius R_ap on the lens plane, infall masses m = M200 (Gilman et al. 2020, arXiv:1908.06983):
 *
 *   d^2N/dm dA = (Sigma_sub/m0) (m/m0)^slope 10^(k1 log10(M_host/1e13 M_sun) + k2 log10(z_l + 0.5)),   m_min < m < m_max
 *
 * Their places follow n(r) ~ 1/((r + r_core) (r + r_s)^2) within the host's r200, seen within the disc, with r_core = core r_s and r_s that of
 * the host; their truncation is r_t = r_t0 (m/1e7 M_sun)^(1/3) (r/50 kpc)^(2/3).
 *
 * The line of sight: delta_los times the haloes of matter.h, in a cone that opens to R_ap at the lens and closes at the source, collected on
 * planes about dz apart with an edge at the lens; uniform over the cone's section, truncated at r_50, where the mean density within is 50 times
 * the critical one.
 *
 * Numbers are Poisson. Masses are drawn from the cold mass function; in a warm universe each halo is then kept with the probability
 * (1 + (a M_hm/m)^b)^c. Concentrations scatter about the median as a log-normal.
 *
 * A population adds mass to planes whose mean density is the universe's, or is counted in the lens model already: `sheet` is the mean
 * convergence that it adds there, to be subtracted.
 *
 * Angles are in arcsec, masses in M_sun, r in kpc; strengths are reduced with respect to the source. A plan is made once, is read by any thread,
 * and draws cost a microsecond or two a halo.
 */
#ifndef LM_CORE_LENSING_POPULATION_H
#define LM_CORE_LENSING_POPULATION_H

#include "operators/core/draw.h"
#include "operators/core/lensing/matter.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct lm_halo {
    double kappa_s, theta_s, tau, x, y; /* the parameters of LM_MASS_TNFW, in that order */
    double z, m200, c;
} lm_halo;

/* What both kinds have in common. */
typedef struct lm_halo_kind {
    double m_min, m_max; /* M200 */
    double radius;       /* R_ap */
    double x, y;         /* centre of the disc */
    double m_hm;         /* half-mode mass; 0: cold */
    double warm[3];      /* a, b, c of the part that is left, c <= 0 */
    lm_concentration_kind concentration;
    double scatter; /* standard deviation of ln c */
} lm_halo_kind;

typedef struct lm_subhalo_params {
    lm_halo_kind kind;
    double sigma_sub, m0, slope; /* kpc^-2, M_sun */
    double m_host, k1, k2;       /* M_sun */
    double c_host;               /* NaN: the median */
    double core, r_t0;           /* of r_s; kpc */
} lm_subhalo_params;

typedef struct lm_field_params {
    lm_halo_kind kind;
    double delta_los, dz;
} lm_field_params;

/* A plane of a plan. */
typedef struct lm_population_plane {
    double z, mean;      /* mean number of haloes that are kept */
    double x, y, radius; /* of the disc there, arcsec */
    double sheet;        /* mean convergence that they add within it */
} lm_population_plane;

typedef struct lm_population lm_population;

/* matter must live as long as *ret. LM_EINPUT names the number that is wrong, also where more than 1e7 haloes are expected. */
lm_status lm_population_of_subhaloes(const lm_matter *matter, double z_l, double z_s, const lm_subhalo_params *params,
                                     lm_population **ret, lm_error *err);
lm_status lm_population_of_field(const lm_matter *matter, double z_l, double z_s, const lm_field_params *params,
                                 lm_population **ret, lm_error *err);
lm_population *lm_population_free(lm_population *population);
LM_OWNABLE(lm_population, lm_population_free)

size_t lm_population_planes(const lm_population *population);
const lm_population_plane *lm_population_plane_at(const lm_population *population, size_t i);
/* The cold part of the haloes on plane i that is below a mass: from 0 at m_min to 1 at m_max. */
double lm_population_below(const lm_population *population, size_t i, double mass);

/* One realisation, by plane from the observer on: *ret [*ret_n] is the caller's to free, NULL where there are none. */
lm_status lm_population_draw(const lm_population *population, const lm_draw *draw, lm_halo **ret, size_t *ret_n,
                             lm_error *err);

#endif
