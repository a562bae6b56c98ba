/* An image of a lens whose parameters are known, and a model for it. */
#ifndef LM_TESTS_OPERATORS_INFER_MOCK_H
#define LM_TESTS_OPERATORS_INFER_MOCK_H

#include "tests/apply.h"
#include "tests/test.h"

#include "operators/core/lensing/fit.h"
#include "runtime/record.h"

#include <math.h>
#include <string.h>

extern const lm_operator lm_op_infer_mcmc;

enum { SIDE = 24, N = SIDE * SIDE };
#define PIXEL 0.2
#define SIGMA 0.02

static inline double mock_uniform(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(*state >> 11) + 0.5) * 0x1p-53;
}

static inline double mock_normal(uint64_t *state)
{
    double r = sqrt(-2 * log(mock_uniform(state)));
    return r * cos(2 * M_PI * mock_uniform(state));
}

/* An SIE with shear before a Gaussian source, and a round galaxy's light; flux 1 and 2. */
static inline lm_record *mock(void)
{
    static const double psf_at[9] = {0.05, 0.1, 0.05, 0.1, 0.4, 0.1, 0.05, 0.1, 0.05};
    static const double zero[N], one[] = {1};
    (void)one;
    double noise[N], image[N], columns[2 * N];
    for (size_t i = 0; i < N; i++) noise[i] = SIGMA;
    lm_psf psf;
    lm_error err = {0};
    OK(lm_psf_init(&psf, psf_at, 3, 3, LM_PSF_MIDDLE, true, &err), &err);
    LM_OWN(lm_fit) fit = NULL;
    const lm_frame frame = {.h = SIDE, .w = SIDE, .pixel = PIXEL, .sub = 1};
    OK(lm_fit_new(&(lm_fit_data){frame, zero, noise, NULL, &psf}, &fit, &err), &err);
    double e = hypot(0.15, -0.1), q = (1 - e) / (1 + e), phi = atan2(-0.1, 0.15) / 2;
    const lm_mass masses[] = {{LM_MASS_SIE, {1.2, q, phi, 0, 0.03, -0.02}}, {LM_MASS_SHEAR, {0.05, -0.03, 0, 0}}};
    lm_fit_light lights[2] = {{.light = lm_light_of(lm_light_kind_of("gaussian")), .lensed = true, .linear = -1},
                              {.light = lm_light_of(lm_light_kind_of("gaussian")), .linear = -1}};
    const double source[] = {1, 0.2, 1, 0, 0.1, 0.15}, light[] = {2, 0.4, 1, 0, 0.02, 0.01};
    memcpy(lights[0].light.param, source, sizeof source);
    memcpy(lights[1].light.param, light, sizeof light);
    const lm_fit_scene scene = {masses, 2, lights, 2};
    OK(lm_fit_columns(fit, &scene, columns, &err), &err);
    uint64_t state = 7;
    for (size_t i = 0; i < N; i++) image[i] = columns[i] + columns[N + i] + SIGMA * mock_normal(&state);
    image[5] = NAN;
    lm_psf_done(&psf);
    lm_record *record = record_new("mock");
    const size_t shape[] = {SIDE, SIDE}, psf_shape[] = {3, 3};
    record_f64(record, "image", image, 2, shape);
    record_f64(record, "noise", noise, 2, shape);
    record_f64(record, "psf", psf_at, 2, psf_shape);
    record_set(record, "pixel", lm_real(PIXEL));
    return record;
}

#define MASS                                                                                                           \
    "\"mass\": [{\"type\": \"sie\", \"theta_E\": {\"uniform\": [0.5, 2]}, \"e1\": {\"normal\": [0, 0.2], \"min\": "    \
    "-0.9, \"max\": 0.9}, "                                                                                            \
    "\"e2\": {\"normal\": [0, 0.2], \"min\": -0.9, \"max\": 0.9}, \"x\": {\"normal\": [0, 0.05]}, \"y\": "             \
    "{\"normal\": [0, 0.05]}}, "                                                                                       \
    "{\"type\": \"shear\", \"gamma1\": {\"normal\": [0, 0.05]}, \"gamma2\": {\"normal\": [0, 0.05]}}]"
#define SOURCE                                                                                                         \
    "\"source\": [{\"type\": \"gaussian\", \"sigma\": {\"loguniform\": [0.05, 0.8]}, \"q\": 1, \"x\": {\"normal\": "   \
    "[0, 0.3]}, \"y\": "                                                                                               \
    "{\"normal\": [0, 0.3]}}]"
#define SUB "\"sub\": 1, "
#define LIGHT                                                                                                          \
    SUB "\"light\": [{\"type\": \"gaussian\", \"sigma\": {\"uniform\": [0.1, 1]}, \"q\": 1, \"x\": 0.02, \"y\": "      \
        "0.01}]"

#endif
