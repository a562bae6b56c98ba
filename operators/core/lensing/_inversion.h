/* What the files of an inverter share; see inversion.h. */
#ifndef LM_CORE_LENSING_INVERSION_PARTS_H
#define LM_CORE_LENSING_INVERSION_PARTS_H

#include "operators/core/lensing/blur_normal.h"
#include "operators/core/lensing/inversion.h"

#include <stdatomic.h>

/* One data set: made once, shared by twins, never changed. */
typedef struct lm_inverter_plan {
    atomic_uint owners;
    lm_frame frame;
    lm_psf psf;
    bool blurs;            /* there is a PSF */
    size_t pixels, n_data; /* of the frame; that take part */
    double *data;          /* [pixels], 0 where none takes part */
    double *precision;     /* [pixels] 1/sigma^2, 0 where none takes part */
    double ln_noise;       /* ln|2 pi C_N| */
    size_t sh, sw, oy, ox; /* the sky, and where the frame lies in it */
    size_t n, rays;        /* pixels that cast rays, rays of each */
    size_t *row, *column;  /* [n] in the sky */
    unsigned char *inside; /* [n] it takes part itself */
    double *x, *y;         /* [n * rays] */
    double *back;          /* [n] P^T C^-1 d */
    bool exact;            /* there is W: exact solvers can be had */
    size_t n_elements;     /* of W, or that it would have */
    lm_blur_normal normal;
} lm_inverter_plan;

/* Growing room for doubles. */
typedef struct lm_room {
    double *at;
    size_t n;
} lm_room;

struct lm_inverter {
    lm_inverter_plan *plan;
    lm_convolver *convolver; /* NULL: no PSF */
    lm_source_grid grid;
    lm_lensing lensing;
    lm_regularisation reg;
    lm_normal normal;
    lm_cholesky *cholesky;           /* of A, or of the iterative solver's preconditioner */
    lm_cholesky *small;              /* of the columns' Schur complement */
    double *sky, *image, *rays_work; /* [sh][sw], [pixels], [n] */
    double *model;                   /* [pixels] */
    size_t *pick;                    /* which pixels carry vertices */
    size_t n_pick;
    double pick_brightness, pick_floor;
    lm_room positions; /* for the grid */
    lm_room matrix;    /* A, full */
    lm_room unknowns;  /* see solve.c's layout */
    lm_room iteration; /* of the iterative solver */
    unsigned probes;
    bool solved;
    lm_inversion last;
    /* of the last inversion */
    size_t k;
    double *b;          /* [n] L^T P^T C^-1 d */
    double *s, *a;      /* [n], [k] the unconstrained estimate */
    double *cross;      /* [k][n] of source and columns */
    double *G;          /* [k][n] A^-1 cross */
    double *Fee, *be;   /* [k][k], [k] */
    double *K;          /* [k][k] Schur complement, then its factor */
    double *work;       /* [n + k] twice */
    double *positive_s; /* [n + k] */
};

/* image [pixels] = P of what the rays' pixels see, and back (inside the frame's precision). */
void lm_inverter_blur(lm_inverter *inverter, const double *seen, double *image);
void lm_inverter_blur_back(lm_inverter *inverter, const double *image, double *seen);
lm_status lm_room_make(lm_room *room, size_t n, lm_error *err);

/* The iterative solver: A = F + lambda H is applied, never formed. Preconditioned by M = diag(F 1) + lambda H, whose
 * Cholesky factor is cheap: where PSF and weights are not negative, M - A is a weighted Laplacian, so that the
 * eigenvalues of M^-1 A are in (0, 1].
 *   ln|A| = ln|M| + Tr ln(R A R^T), M^-1 = R^T R
 * the trace by Lanczos quadrature with random signs (Ubaru, Chen & Saad 2017, SIAM J. Matrix Anal. Appl. 38, 1075);
 * Tr(A^-1 H) by Hutchinson's estimate with the same signs. */
lm_status lm_iterative_prepare(lm_inverter *inverter, const lm_inverter_model *model, lm_error *err); /* a lens model */
lm_status lm_iterative_begin(lm_inverter *inverter, double lambda, lm_error *err);                    /* a lambda */
double lm_iterative_weight(const lm_inverter *inverter, size_t i);                                    /* (F 1)_i */
lm_status lm_iterative_solve(lm_inverter *inverter, double lambda, double *x, size_t m, lm_error *err);
lm_status lm_iterative_ln_det(lm_inverter *inverter, double lambda, double *ret, double *ret_error, lm_error *err);
lm_status lm_iterative_trace(lm_inverter *inverter, double lambda, double *ret, lm_error *err);

#endif
