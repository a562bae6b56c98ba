/* The parameters `subhaloes:` and `line_of_sight:` of lens.prior: populations of dark haloes (operators/core/lensing/population.h), as maps
 * of names and numbers. A number may be a template "{NAME}", over what the node itself has drawn and then over the input's attributes, and so may
 * the redshifts.
 */
#ifndef LM_OPERATORS_LENS_POPULATION_H
#define LM_OPERATORS_LENS_POPULATION_H

#include "operators/core/lensing/population.h"
#include "runtime/operator.h"

/* A number that the step has drawn already. */
typedef struct lm_drawn {
    const char *name;
    double value;
} lm_drawn;

/* As they were written; borrowed. NULL: not wanted. */
typedef struct lm_population_trees {
    const json_t *subhaloes, *line_of_sight, *z_lens, *z_source;
} lm_population_trees;

typedef struct lm_populations lm_populations;

/* For open(), and for check(), as it finds what is wrong. `trees` must live as long as *ret. A population without templates is planned once, here;
 * another one at each draw. */
lm_status lm_populations_new(const lm_population_trees *trees, const lm_matter_params *params, lm_populations **ret,
                             lm_error *err);
lm_populations *lm_populations_free(lm_populations *populations);
LM_OWNABLE(lm_populations, lm_populations_free)

/* Puts out the tensors `subhaloes` and `line_of_sight` [N, 8], and `sheets` [P, 5]. */
lm_status lm_populations_draw(const lm_populations *populations, lm_step *step, const lm_drawn *drawn, size_t n,
                              lm_error *err);

#define LM_POPULATION_SCHEMA                                                                                           \
    "{\"type\": \"object\", \"additionalProperties\": {\"type\": [\"number\", \"string\", \"array\"]}}"
#define LM_HALOES_DOC_                                                                                                 \
    "; m_min 1e6, m_max 1e10 M_sun; radius 3, x 0, y 0 arcsec: the disc that they are in; concentration ludlow16 or "  \
    "duffy08, scatter 0.2, scatter_in ln or dex; warm dark matter by m_keV of a thermal relic, or by its half-mode "   \
    "mass m_hm in M_sun, and "
#define LM_SUBHALOES_DOC                                                                                               \
    "haloes within the lens, as truncated NFW masses in the tensor `subhaloes`, for {type: tnfw, table: subhaloes}; "  \
    "{} takes them as they are here. d2N/dm dA = sigma_sub/m0 (m/m0)^slope (m_host/1e13)^k1 (z_lens + 0.5)^k2: "       \
    "sigma_sub 0.025 per kpc^2, m0 1e8 M_sun, slope -1.9, m_host 2e13 M_sun, k1 0.55, k2 0.37; their places: core "    \
    "0.25 of the host's scale radius, c_host by the relation; r_t 1.4 kpc, the truncation of 1e7 M_sun at 50 "         \
    "kpc" LM_HALOES_DOC_ "warm [4.2, 2.5, -0.2]: (1 + (4.2 m_hm/m)^2.5)^-0.2 of them are left"
#define LM_LINE_OF_SIGHT_DOC                                                                                           \
    "haloes between here and the source, in a cone that closes at the source, in the tensor `line_of_sight`; {} "      \
    "takes "                                                                                                           \
    "them as they are here: delta_los 1 times the mass function of Sheth and Tormen, planes dz 0.02 apart, "           \
    "truncation at r_50" LM_HALOES_DOC_ "warm [2.3, 0.8, -1]: 1/(1 + (2.3 m_hm/m)^0.8) of them are left"

#endif
