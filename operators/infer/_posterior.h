/* The posterior of a lens model for one record's image, as a target for samplers (operators/core/sampling.h). */
#ifndef LM_OPERATORS_INFER_POSTERIOR_H
#define LM_OPERATORS_INFER_POSTERIOR_H

#include "operators/core/lensing/inversion.h"
#include "operators/core/sampling.h"
#include "operators/infer/_lens_model.h"

/* Images of one point of the source, arcsec: traced back, they must lie within `threshold` of each other. */
typedef struct lm_positions {
    double *x, *y; /* [n] */
    size_t n;
    double threshold;
} lm_positions;

typedef struct lm_posterior {
    lm_lens_model model;
    lm_frame frame;
    const double *image, *noise; /* [h][w], borrowed */
    unsigned char *mask;         /* [h][w], 1 where data take part; scratch memory of the step */
    size_t n_pixels;
    lm_psf psf;
    bool has_psf;
    const lm_positions *positions; /* or NULL */
    double heat;                   /* while a start is sought: ln L is divided by it; 1 */
    lm_fit *fit;
    /* A source on pixels: */
    bool pixels;
    lm_inverter *inverter;
    lm_inverter_model source;
    int lambda; /* index of its free parameter; -1: fixed, or found each time where source.lambda is NaN */
    lm_inversion inversion;
    double *beta, *columns; /* [2][rays], [n_lights][h][w] */
    double *spare;          /* [n_spare] scratch of Fisher matrices */
    size_t n_spare;
    size_t evaluations;
    lm_error last;  /* why the last impossible sample was so */
    bool no_memory; /* a value could not be had for want of memory: what was done with it must not be kept */
} lm_posterior;

/* What a graph says. */
typedef struct lm_posterior_spec {
    const json_t *mass, *source, *light, *mask, *psf;
    double pixel;
    unsigned sub;
    const char *image, *noise, *psf_name; /* names of tensors */
    const lm_positions *positions;
} lm_posterior_spec;

/* For check(): what can be known without a record. */
lm_status lm_posterior_check(const lm_posterior_spec *spec, lm_error *err);
/* Borrows from the step. The posterior starts zeroed; done also after a failure. */
lm_status lm_posterior_init(lm_posterior *p, const lm_posterior_spec *spec, lm_step *step, lm_error *err);
void lm_posterior_done(lm_posterior *p);

/* ln L(x(z)) - |z|^2/2, an lm_log_density whose arg is an lm_posterior. Gradients are of parametric sources alone. */
double lm_posterior_log(void *arg, const double *z, double *gradient);
/* By how much the positions' images miss each other in the source plane beyond the threshold, arcsec; 0: they meet. */
double lm_posterior_apart(const lm_posterior *p, const double *z);
/* ln L alone, at x. amplitude [n_lights], or NULL. -INFINITY: impossible, `last` says why. */
double lm_posterior_likelihood(lm_posterior *p, const double *x, double *amplitude);
/* The Fisher matrix of a parametric model in z, with the prior's 1 on the diagonal: [n_params][n_params]. */
lm_status lm_posterior_fisher(lm_posterior *p, const double *z, double *ret, lm_error *err);
/* The model's image [h][w] at x, NaN where it is not known. */
lm_status lm_posterior_image(lm_posterior *p, const double *x, double *ret, lm_error *err);

#endif
