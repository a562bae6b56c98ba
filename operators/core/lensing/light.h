/* Light profiles: the surface brightness of one component, with exact derivatives.
 *
 * Positions are in arcsec, x right, y up. A component has a centre (x, y) and its own axes: x' along the position angle
 * phi (radians from +x, counter-clockwise; of the major axis), y' a quarter turn on. q <= 1 is minor over major axis,
 * and lengths are on the intermediate axis: elliptical profiles are functions of R^2 = q x'^2 + y'^2 / q. Brightness is
 * per arcsec^2, so that a pixel's flux is its mean brightness times its area.
 *
 *   sersic     I_e exp(-b ((R / R_e)^(1/n) - 1)); option "b_n": see lm_sersic_b. R is at least R_min (0: no floor).
 *              Option "radius": "major" takes R_e as the radius on the major axis, which is sqrt(q) R_e on the
 *              intermediate one.
 *   gaussian   flux / (2 pi sigma^2) exp(-R^2 / (2 sigma^2))
 *   shapelets  sum of c[n1,n2] B(x'/beta, y'/beta) / beta, n1 + n2 <= n_max, B(u, v) = phi_n1(u) phi_n2(v) with phi_n
 *              the orthonormal Hermite functions (Refregier 2003, MNRAS 338, 35). Option "norm": "bare" leaves the
 *              1/beta out. Coefficients run by order n1 + n2, and by n2 within one: (0,0), (1,0), (0,1), (2,0), ...
 *   pixels     an image [ny, nx], row 0 the lowest, whose centre lies on (x, y), times `amp`. Pixels beyond its border
 *              count as 0: a bilinear interpolation ends one pixel beyond the outermost centres, a bicubic one two.
 *              Bicubic is cubic convolution with a = -1/2 (Keys 1981; Catmull & Rom 1974): it passes through the
 *              pixels, has continuous first derivatives, is exact for quadratic polynomials, and goes below 0 beside a
 *              jump.
 *
 * Derivatives are of the formulas above, by hand. Where there is none, at the centre of a Sersic profile, the
 * gradient is 0; at the kinks of a bilinear one it is the one towards larger x' or y'. Inside R_min a Sersic profile is
 * flat.
 *
 * All is finite at finite positions, however far; a position that is NaN gives NaN. Functions are pure; arrays [n] must
 * not overlap.
 */
#ifndef LM_CORE_LENSING_LIGHT_H
#define LM_CORE_LENSING_LIGHT_H

#include "runtime/error.h"

#include <stddef.h>

enum {
    LM_LIGHT_PARAMS = 8,    /* of a kind, at most */
    LM_LIGHT_OPTIONS = 2,   /* of a kind, at most */
    LM_SHAPELETS_MOST = 100 /* n_max of shapelets */
};

typedef struct lm_light_param {
    const char *name;
    double otherwise; /* NaN: it must be given */
    double min, max;  /* of a valid value, both included */
    const char *unit, *doc;
} lm_light_param;

typedef struct lm_light_option {
    const char *name;
    const char *const *words; /* what it may be, then NULL; the first is the default */
    const char *doc;
} lm_light_option;

typedef struct lm_light_array {
    const char *name, *shape; /* NULL: the kind has no array */
    const char *unit, *doc;
} lm_light_array;

typedef struct lm_light lm_light;

typedef struct lm_light_kind_info {
    const char *name, *doc;
    unsigned n_params, n_options;
    lm_light_param params[LM_LIGHT_PARAMS]; /* the last three are phi, x, y */
    lm_light_option options[LM_LIGHT_OPTIONS];
    lm_light_array array;
    /* the rest is private: x, y are along the light's own axes; `by` serves all parameters but phi, x, y */
    void (*value)(const lm_light *light, size_t n, const double *x, const double *y, double *ret);
    void (*slope)(const lm_light *light, size_t n, const double *x, const double *y, double *value, double *by_x,
                  double *by_y);
    void (*by)(const lm_light *light, size_t index, size_t n, const double *x, const double *y, double *ret);
    double (*flux)(const lm_light *light);
} lm_light_kind_info;

struct lm_light {
    const lm_light_kind_info *kind;
    double param[LM_LIGHT_PARAMS]; /* in the order of kind->params */
    int option[LM_LIGHT_OPTIONS];  /* in the order of kind->options: an index into its words */
    const double *array;           /* [h][w], borrowed: the image, or the coefficients with h = 1 */
    size_t h, w;
};

/* All kinds, then NULL. */
extern const lm_light_kind_info *const lm_light_kinds[];
/* NULL: there is none of that name. */
const lm_light_kind_info *lm_light_kind_of(const char *name);
/* The index of a parameter, of an option, and of an option's word; -1: there is none of that name. */
int lm_light_param_of(const lm_light_kind_info *kind, const char *name);
int lm_light_option_of(const lm_light_kind_info *kind, const char *name);
int lm_light_word_of(const lm_light_option *option, const char *word);

/* A light of that kind with every default; required parameters are NaN, the array is missing. */
lm_light lm_light_of(const lm_light_kind_info *kind);
/* LM_EINPUT names what is missing, out of its range, or of a wrong length. The functions below want a light that has
 * passed. */
lm_status lm_light_check(const lm_light *light, lm_error *err);

/* Adds the brightness at n positions (x, y) to ret. */
void lm_light_add(const lm_light *light, size_t n, const double *x, const double *y, double *ret);
/* Its gradient with respect to the position, per arcsec. by_x and by_y are overwritten. */
void lm_light_gradient(const lm_light *light, size_t n, const double *x, const double *y, double *by_x, double *by_y);
/* Its derivative with respect to parameter `index` of the kind or, from kind->n_params on, to element index - n_params
 * of the array. 0 for n_max, which is a whole number. ret is overwritten. */
void lm_light_by(const lm_light *light, size_t index, size_t n, const double *x, const double *y, double *ret);
/* The integral of the brightness over the sky, in closed form; that of a Sersic profile is without its R_min. */
double lm_light_flux(const lm_light *light);

/* b of a Sersic profile, with which half of the light is within R_e: Gamma(2n) = 2 gamma(2n, b). */
typedef enum lm_sersic_form {
    /* asymptotic series (Ciotti & Bertin 1999, A&A 352, 447): relative error below 6e-4 from n = 0.36 on, 3e-5 from 1,
     * 8e-8 from 4; 2e-3 at n = 0.3, 0.1 at 0.2 */
    LM_SERSIC_SERIES,
    /* 1.9992 n - 0.3271 (Capaccioli 1989), as lenstronomy and COOLEST have it: below 1e-3 from n = 1.5 on, 4e-3 at 1,
     * 3e-2 at 0.5, 0.14 at 0.3 */
    LM_SERSIC_LINEAR,
} lm_sersic_form;
double lm_sersic_b(double n, lm_sersic_form form);

#endif
