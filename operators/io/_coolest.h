/* COOLEST, the JSON standard of lens models (Galan et al. 2023, JOSS 8, 5567; conventions: coolest.readthedocs.io):
 * its profiles against our components, and the walk over a template's lensing entities.
 *
 * Both have arcsec, x to the right, y up, and radii on the intermediate axis. The standard's position angles are in
 * degrees from +y, counter-clockwise, in (-90, 90]; ours in rad from +x.
 *
 *   the standard          ours
 *   SIE                   sie; sis is the one of q = 1
 *   NIE                   sie with s = r_core / sqrt(q). theta_E is where the mean convergence is 1 (that is how the
 *                         standard defines it), ours the number b of kappa = b / 2 / sqrt(q x^2 + y^2/q + r_core^2):
 *                         b = r_core + hypot(theta_E, r_core)
 *   PEMD                  epl, by gamma = t + 1; also SPEMD where r_core is 0
 *   Chameleon (mass)      pjaffe, where q is 1: b = 2 kappa_0 a s / (s - a)
 *   ExternalShear         shear about the origin. One about another point deflects by a constant more: the sources'
 *                         centres are shifted by it, which keeps every image
 *   ConvergenceSheet      sheet, likewise
 *   Sersic                sersic with b_n: linear. One with the series is the same function with other R_e and I_e;
 *                         gaussian is n = 1/2
 *   Shapelets             shapelets with norm: bare, phi = 0
 *   PixelatedRegularGrid  pixels, phi = 0. Its numbers are per pixel of the instrument, ours per arcsec^2: amp = 1 /
 *                         pixel^2
 *
 * What one side has and the other lacks stays in the text `coolest_meta`, or in `meta: lensmill` of the template, so
 * that it comes back.
 */
#ifndef LM_OPERATORS_IO_COOLEST_H
#define LM_OPERATORS_IO_COOLEST_H

#include "operators/core/lensing/light.h"
#include "operators/core/lensing/mass.h"
#include "runtime/text.h"

#include <jansson.h>
#include <stdbool.h>

LM_OWNABLE(json_t, json_decref)

enum { LM_COOLEST_PARAMS = 8 };

/* A profile of the standard in numbers. */
typedef struct lm_coolest_profile {
    const char *type; /* static */
    bool field;       /* belongs to a MassField, not to a galaxy */
    unsigned n;       /* parameters with one value each */
    const char *name[LM_COOLEST_PARAMS];
    double value[LM_COOLEST_PARAMS];
    bool angle[LM_COOLEST_PARAMS]; /* which of them are angles in degrees, equal modulo 180 */
    const double *amps;            /* of shapelets: as the light has them, to be multiplied by amp_factor; NULL: none */
    double *owned;                 /* where they lie if they are the profile's own: lm_coolest_profile_done() */
    size_t n_amps;
    double amp_factor;
    bool grid; /* pixels: no parameters but these */
    double field_x[2], field_y[2];
    size_t n_x, n_y;
    double factor;    /* of the light's image, but for the area of the instrument's pixel */
    const char *note; /* what of the component is not in the profile; NULL: all is */
} lm_coolest_profile;

/* Returns NULL, or why the standard cannot hold it: *ret is then undefined. */
const char *lm_coolest_of_mass(const lm_mass *mass, lm_coolest_profile *ret);
/* shift: see above; of lens light {0, 0}. The amps are those of the light. */
const char *lm_coolest_of_light(const lm_light *light, const double shift[2], lm_coolest_profile *ret);
/* Adds what a shear or sheet about another point than the origin deflects more. */
void lm_coolest_shift(const lm_mass *mass, double shift[2]);

double lm_coolest_degrees(double phi); /* rad from +x to degrees from +y in (-90, 90] */
double lm_coolest_radians(double phi); /* back, to (-pi/2, pi/2] */

/* The component {type: ..., ...} of a profile of a template: of its point estimates, or of the medians where there
 * are none. `pixel` is the instrument's, `image` the name of the tensor of pixels. *ret NULL: we have none, and
 * why[] says so. LM_EMEMORY alone is an error. */
enum { LM_COOLEST_WHY = 300 };
lm_status lm_coolest_component(const json_t *profile, bool light, double pixel, const char *image, json_t **ret,
                               char why[LM_COOLEST_WHY], lm_error *err);
/* The profile of a component without templates; n_x, n_y of the image of pixels. *ret_why as above;
 * lm_coolest_profile_done() afterwards in any case. LM_EINPUT: the component is no good. */
lm_status lm_coolest_numbers(const json_t *component, bool light, const double shift[2], size_t n_x, size_t n_y,
                             lm_coolest_profile *ret, const char **ret_why, lm_error *err);
void lm_coolest_profile_done(lm_coolest_profile *profile);
/* The same shift as lm_coolest_shift() adds; a component that is no good adds nothing. */
void lm_coolest_shift_of(const json_t *component, double shift[2]);
/* The same values; numbers are compared as such, 2 and 2.0 are equal. */
bool lm_coolest_equal(const json_t *a, const json_t *b);
/* Does the profile of a template have these numbers? */
bool lm_coolest_same(const json_t *profile, const lm_coolest_profile *numbers);
/* The point estimate of a parameter, or its median; NaN: neither. */
double lm_coolest_value(const json_t *profile, const char *name);

/* JSON with the shortest numbers that read back the same. indent 0: one line, keys as they are; otherwise keys
 * sorted. */
void lm_coolest_print(lm_text *to, const json_t *value, unsigned indent);

/* ---- templates ---- */

typedef enum lm_coolest_list { LM_COOLEST_MASS, LM_COOLEST_SOURCE, LM_COOLEST_LIGHT, LM_COOLEST_LISTS } lm_coolest_list;
extern const char *const lm_coolest_list_names[LM_COOLEST_LISTS]; /* "mass", "source", "light" */

/* A component of a template, with the profile that it came from. */
typedef struct lm_coolest_entry {
    json_t *component; /* owned */
    json_t *profile;   /* borrowed from the template; NULL: the standard cannot hold it, it was in meta */
} lm_coolest_entry;

enum { LM_COOLEST_NAME = 128 };

/* A profile of a template. */
typedef struct lm_coolest_place {
    json_t *profile; /* borrowed from the template */
    lm_coolest_list list;
    bool of_source;               /* a mass of the source: no component */
    char id[LM_COOLEST_NAME];     /* as the standard makes it: "0-galaxy-mass-0-SIE" */
    char tensor[LM_COOLEST_NAME]; /* of a grid: the name of its tensor */
    bool taken;
} lm_coolest_place;

typedef struct lm_coolest_model {
    size_t n[LM_COOLEST_LISTS];
    lm_coolest_entry *at[LM_COOLEST_LISTS];
    lm_coolest_place *places;
    size_t n_places;
    double pixel, z_lens, z_source; /* NaN: unknown */
    lm_text warnings;               /* lines: what has no component, and why */
} lm_coolest_model;

/* Is it a template in plain JSON? LM_EINPUT says what it lacks. */
lm_status lm_coolest_check(const json_t *doc, lm_error *err);
/* The components of a template that has passed. Galaxies at the largest redshift are the source, the light of the
 * others is lens light; where redshifts do not tell, a galaxy without mass is the source of those with mass.
 * lm_coolest_done() also after a failure. */
lm_status lm_coolest_read(const json_t *doc, lm_coolest_model *ret, lm_error *err);
void lm_coolest_done(lm_coolest_model *model);
/* Is lensing entity i the source, by the rule above (or as we wrote it)? */
bool lm_coolest_is_source(const json_t *doc, size_t i);
bool lm_coolest_is_galaxy(const json_t *entity);
/* "0-galaxy-mass-0-SIE": as the standard names profile k of entity i. */
void lm_coolest_id(const json_t *entity, size_t i, bool light, size_t k, char ret[LM_COOLEST_NAME]);
/* The list as JSON text of a list of components. NULL without memory; the caller frees it. */
char *lm_coolest_list_text(const lm_coolest_model *model, lm_coolest_list list);

/* Calls visit() for each grid of a template (observation, noise map, PSF, mask, profiles) with the name of its
 * tensor, until a call fails. `grid` holds fits_file, field_of_view_x, ... and may be changed. */
typedef lm_status (*lm_coolest_visit)(void *arg, json_t *grid, const char *tensor, bool irregular, lm_error *err);
lm_status lm_coolest_grids(const json_t *doc, const lm_coolest_model *model, lm_coolest_visit visit, void *arg,
                           lm_error *err);
/* The file's name of a grid; NULL: none. */
const char *lm_coolest_file(const json_t *grid);

/* ---- posteriors ---- */

/* Draws of a record: values [n][dim], the names of the columns. */
typedef struct lm_coolest_draws {
    const double *values;
    size_t n, dim;
    const char *const *names;
    bool *used; /* [dim]: names that belong to a component */
} lm_coolest_draws;

/* Sets posterior_stats of the profile of component `index` (from 0) of a list from those columns that belong to it:
 * their names end in a parameter ("theta_E"), behind the list ("mass.theta_E"), the type ("epl.theta_E"), and a
 * number from 1 where there are several ("mass.2.theta_E", "sersic2.n"); a name that fits several components belongs
 * to none. Each draw is turned into the standard's parameters before statistics are taken; angles are unwrapped about
 * the point estimate. Rows that are not finite do not count. */
lm_status lm_coolest_posterior(const lm_coolest_draws *draws, json_t *const lists[LM_COOLEST_LISTS],
                               lm_coolest_list list, size_t index, const double shift[2], json_t *profile,
                               lm_error *err);
/* mean, median and percentiles of n values, which are sorted, as a new object; NULL without memory. n > 0. */
json_t *lm_coolest_statistics(double *values, size_t n);

#endif
