/* Linear source inversion: the light of a lensed source on a grid, its errors, and the evidence of a lens model.
 *
 *   d = P (L s + ...) + n,   n ~ N(0, C_N),  s ~ N(0, (lambda H)^-1)
 *   A = F + lambda H,  F = L^T P^T C_N^-1 P L,   S = A^-1 L^T P^T C_N^-1 d,   posterior N(S, A^-1)
 *   ln E = -chi2/2 - lambda S^T H S/2 + N_s/2 ln lambda + ln|H|/2 - ln|A|/2 - ln|2 pi C_N|/2
 *
 * Warren & Dye 2003 (astro-ph/0302587), Suyu et al. 2006 (astro-ph/0601493). P is the point spread function, L maps the
 * source plane to the image plane (source_grid.h), H is the prior's shape (regularisation.h), lambda its strength.
 *
 * k further columns (images of unit amplitude that are blurred already, such as a lens galaxy's light) may be solved
 * for together with the source, under a flat prior: A then stands for all N_s + k unknowns, and ln E gets k/2 ln 2 pi.
 *
 * Brightness is mean surface brightness per pixel, in the image's unit: L conserves it. Everything is double precision.
 * An inverter holds one data set and the last result; one thread at a time. lm_inverter_twin makes another for a second
 * thread that shares all that does not change. Results do not depend on threads.
 */
#ifndef LM_CORE_LENSING_INVERSION_H
#define LM_CORE_LENSING_INVERSION_H

#include "operators/core/convolve.h"
#include "operators/core/draw.h"
#include "operators/core/lensing/regularisation.h"
#include "operators/core/lensing/render.h"
#include "operators/core/lensing/source_grid.h"

/* A pixel takes part where mask (NULL: everywhere) is not 0, image and noise are finite and noise is positive. */
typedef struct lm_inverter_data {
    lm_frame frame;            /* frame.sub: rays along a pixel's side, averaged */
    const double *image;       /* [h][w] */
    const double *noise;       /* [h][w], standard deviation */
    const unsigned char *mask; /* [h][w], or NULL */
    const lm_psf *psf;         /* on the image's pixels, used as it is; NULL: none. Copied, as all else here */
    /* Which pixels cast rays. false: all whose light the PSF carries into a pixel that takes part, beyond mask and
     * frame too, which is what nature does. true: only those that take part, as PyAutoLens does. */
    bool masked_rays;
} lm_inverter_data;

typedef enum lm_solver {
    LM_SOLVER_AUTO,     /* sparse or dense, by the work they take; iterative above LM_SOLVER_MOST unknowns */
    LM_SOLVER_DENSE,    /* LAPACK's Cholesky factor */
    LM_SOLVER_SPARSE,   /* CHOLMOD's, nested or minimum-degree order */
    LM_SOLVER_ITERATIVE /* conjugate gradients without matrices; ln|A| by stochastic Lanczos quadrature */
} lm_solver;
extern const char *const lm_solver_names[]; /* in that order, then NULL */
enum { LM_SOLVER_MOST = 12000 };

typedef struct lm_inverter_model {
    lm_source_shape source; /* source_grid.h */
    lm_prior prior;         /* regularisation.h */
    double lambda;          /* strength of the prior; NaN: the most probable one */
    lm_solver solver;
    bool positive;  /* no unknown below zero: changes the estimate and chi2, not the determinants */
    bool effective; /* fill in lm_inversion.effective, which takes as long again; done unasked where lambda is NaN */
    /* Iterative solver alone: where the probes of the stochastic terms come from (draw->uniform), and how many there
     * are (0: 32). Draw from the same stream for lens models that are to be compared. */
    const lm_draw *draw;
    unsigned probes;
} lm_inverter_model;

/* What an inversion found. Pointers are the inverter's, until its next inversion. */
typedef struct lm_inversion {
    double ln_evidence;
    double ln_evidence_error; /* standard error of its stochastic term; 0 of exact solvers */
    double chi2;              /* (d - m)^T C_N^-1 (d - m) */
    double roughness;         /* lambda S^T H S */
    double lambda;
    double effective;            /* N_s - lambda Tr(A^-1 H): how many source pixels the data know; NaN: not asked for */
    double ln_A, ln_H, ln_noise; /* ln|A|, ln|H|, ln|2 pi C_N| */
    size_t n_data, n_source, n_columns;
    unsigned rounds;  /* how many values of lambda were tried */
    lm_solver solver; /* that was used */
    const lm_source_grid *grid;
    const double *source;     /* [n_source] */
    const double *amplitudes; /* [n_columns] */
} lm_inversion;

typedef struct lm_inverter lm_inverter;

/* LM_EINPUT: no pixel takes part, a value is no number, or image and PSF are too large for what an exact solver stores.
 * */
lm_status lm_inverter_new(const lm_inverter_data *data, lm_inverter **ret, lm_error *err);
lm_status lm_inverter_twin(const lm_inverter *inverter, lm_inverter **ret, lm_error *err);
lm_inverter *lm_inverter_free(lm_inverter *inverter);
LM_OWNABLE(lm_inverter, lm_inverter_free)

/* The rays to trace: positions in the image plane, arcsec, sub^2 of a pixel after one another. Returns their number. */
size_t lm_inverter_rays(const lm_inverter *inverter, const double **ret_x, const double **ret_y);
/* How many pixels take part. */
size_t lm_inverter_pixels(const lm_inverter *inverter);

/* beta_x, beta_y [rays]: where the rays meet the source plane; rays that are not finite see no source. columns
 * [k][h][w]: k may be 0. LM_EINPUT, never an abort, for what is no likelihood: a matrix that is not positive definite,
 * rays that span no area, columns that depend on one another, an optimum of lambda that runs away. */
lm_status lm_invert(lm_inverter *inverter, const lm_inverter_model *model, const double *beta_x, const double *beta_y,
                    const double *columns, size_t k, lm_inversion *ret, lm_error *err);

/* Of the last inversion; LM_EBUG if there is none. The posterior is that without positivity; the iterative solver has
 * none (LM_EINPUT).
 *   image     [h][w] of source and columns, blurred; NaN where a pixel takes no part
 *   error     standard deviation of each source pixel [n_source] and, unless NULL, of each amplitude [k]
 *   draw      one draw of the posterior, [n_source] and [k], from lm_inverter_white() independent normal numbers */
lm_status lm_inverter_image(lm_inverter *inverter, double *ret, lm_error *err);
lm_status lm_inverter_error(lm_inverter *inverter, double *ret_source, double *ret_amplitudes, lm_error *err);
size_t lm_inverter_white(const lm_inverter *inverter);
lm_status lm_inverter_draw(lm_inverter *inverter, const double *white, double *ret_source, double *ret_amplitudes,
                           lm_error *err);

/* values [n_source] of the last inversion's grid on h x w square pixels around (x, y), 0 beyond the grid. */
lm_status lm_inverter_picture(lm_inverter *inverter, const double *values, size_t h, size_t w, double pixel, double x,
                              double y, double *ret, lm_error *err);

#endif
