/* How an image of a lens is taken: the parameters `psf:` and `noise:`. Values are numbers or templates "{NAME}" that an
 * attribute of the record fills in. */
#ifndef LM_OPERATORS_LENS_OBSERVE_H
#define LM_OPERATORS_LENS_OBSERVE_H

#include "operators/core/convolve.h"
#include "operators/core/lensing/render.h"
#include "operators/core/noise.h"
#include "operators/core/psf.h"
#include "runtime/operator.h"

/* A list of numbers in a tree. min, max: both included; otherwise NAN: unset. */
typedef struct lm_number {
    const char *name, *unit;
    double otherwise, min, max;
} lm_number;

/* The n numbers that `names` lists, to ret [n]. other: further names that the tree may have, ended by NULL. step
 * NULL: for check(), where a template leaves NAN. LM_EINPUT: a name that is not known, no number, or one out of its
 * range; `param` names the tree. */
lm_status lm_numbers_read(const json_t *tree, const char *param, const lm_number *names, size_t n,
                          const char *const *other, lm_step *step, double *ret, lm_error *err);

/* ---- psf: ---- */

typedef struct lm_psf_choice {
    enum { LM_PSF_NONE, LM_PSF_PROFILE, LM_PSF_TENSOR } from;
    lm_psf_profile profile; /* lengths in arcsec */
    double radius;          /* arcsec: a profile ends there */
    const char *tensor;     /* its name, borrowed from the tree */
    int64_t samples;        /* of a tensor: its pixels along one of the image */
} lm_psf_choice;

/* tree NULL: none. step NULL: for check(). */
lm_status lm_psf_choose(const json_t *tree, lm_step *step, lm_psf_choice *ret, lm_error *err);
/* Its pixels, `samples` along one of the frame's, sum 1. Free with lm_psf_done, also after a failure. */
lm_status lm_psf_make(const lm_psf_choice *choice, const lm_frame *frame, unsigned samples, lm_step *step, lm_psf *ret,
                      lm_error *err);

#define LM_NUMBER_SCHEMA "{\"type\": [\"number\", \"string\"]}"
#define LM_PSF_SCHEMA                                                                                                  \
    "{\"type\": \"object\", \"required\": [\"type\"], \"additionalProperties\": false, \"properties\": {\"type\": "    \
    "{\"enum\": [\"gaussian\", \"moffat\", \"tensor\"]}, \"fwhm\": " LM_NUMBER_SCHEMA ", \"beta\": " LM_NUMBER_SCHEMA  \
    ", \"q\": " LM_NUMBER_SCHEMA ", \"phi\": " LM_NUMBER_SCHEMA ", \"radius\": " LM_NUMBER_SCHEMA                      \
    ", \"tensor\": {\"type\": \"string\"}, \"samples\": " LM_NUMBER_SCHEMA "}}"
#define LM_PSF_DOC                                                                                                     \
    "point spread function: {type: gaussian, fwhm: 0.1} or {type: moffat, fwhm: 0.7, beta: 3} in arcsec, both with "   \
    "q, "                                                                                                              \
    "phi where it is no circle and radius where it is cut (unset: 0.1% of a Gaussian's, 0.5% of a Moffat's light "     \
    "lies "                                                                                                            \
    "beyond, or at the image's diagonal); or {type: tensor, tensor: psf, samples: 1}, the name of a tensor of the "    \
    "record and how many of its pixels lie along one of the image: 1, or as many as `sub`. Its middle pixel is the "   \
    "origin. It is scaled to a sum of 1. Unset: none"

/* ---- noise: ---- */

typedef struct lm_noise_choice {
    bool detects; /* there is an exposure */
    lm_detector detector;
    double background;                /* standard deviation, electrons/s in a pixel; NAN: unset */
    bool data_map;                    /* the noise map is made from the data */
    double missing, hot, hot_current; /* fractions, electrons/s */
    bool has_rays;
    lm_cosmic_rays rays;
    const json_t *correlated; /* borrowed; NULL: the background is white */
} lm_noise_choice;

/* tree NULL: no noise. step NULL: for check(). */
lm_status lm_noise_choose(const json_t *tree, lm_step *step, lm_noise_choice *ret, lm_error *err);
/* The correlated background of an image of h x w pixels, scaled to choice->background, or as given where that is NAN.
 * */
lm_status lm_noise_correlated(const lm_noise_choice *choice, size_t h, size_t w, lm_step *step, lm_correlated **ret,
                              lm_error *err);

#define LM_NOISE_SCHEMA                                                                                                \
    "{\"type\": \"object\", \"additionalProperties\": false, \"properties\": {\"background\": " LM_NUMBER_SCHEMA       \
    ", \"exposure\": " LM_NUMBER_SCHEMA ", \"exposures\": " LM_NUMBER_SCHEMA ", \"sky\": " LM_NUMBER_SCHEMA            \
    ", \"dark\": " LM_NUMBER_SCHEMA ", \"read_noise\": " LM_NUMBER_SCHEMA ", \"gain\": " LM_NUMBER_SCHEMA              \
    ", \"full_well\": " LM_NUMBER_SCHEMA                                                                               \
    ", \"photons\": {\"enum\": [\"poisson\", \"gaussian\"]}, \"map\": {\"enum\": "                                     \
    "[\"model\", \"data\"]}, \"missing\": " LM_NUMBER_SCHEMA ", \"hot\": " LM_NUMBER_SCHEMA                            \
    ", \"hot_current\": " LM_NUMBER_SCHEMA ", \"cosmic_rays\": {\"type\": \"object\"}, \"correlated\": {\"type\": "    \
    "\"object\"}}}"
#define LM_NOISE_DOC                                                                                                   \
    "what a camera adds, in electrons/s and pixel unless said: background (standard deviation), exposure (s in all; "  \
    "with it photons are counted), exposures (how many), sky and dark (taken off again), read_noise (electrons, each " \
    "exposure), gain (electrons per digital unit: rounds), full_well (electrons: saturates), photons: poisson or "     \
    "gaussian; map: model, or data for the noise map an observer would make; missing and hot (fractions of pixels), "  \
    "hot_current (mean, electrons/s); cosmic_rays: {rate: per cm^2 and s, thickness: micron, pitch: micron}; "         \
    "correlated: {scale: pixels, slope}, {table: [[cycles per pixel, power], ...]}, {power: TENSOR} or {function: "    \
    "TENSOR}, which gives the background that shape. \"{NAME}\" takes a record's attribute. Unset: no noise"

#endif
