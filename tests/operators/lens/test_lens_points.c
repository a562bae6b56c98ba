/* lens.points: the golden quad, parameters by record, and what is refused. */
#include "tests/apply.h"
#include "tests/test.h"

#include <math.h>

extern const lm_operator lm_op_lens_points;

#define QUAD                                                                                                           \
    "{\"mass\": [{\"type\": \"sie\", \"theta_E\": 1.2, \"q\": 0.7}, {\"type\": \"shear\", \"gamma1\": 0.03, "          \
    "\"gamma2\": -0.02}], "                                                                                            \
    "\"beta_x\": 0.05, \"beta_y\": 0.08"

static lm_status points(const char *params, const lm_record *in, lm_record **ret, lm_error *err)
{
    lm_record *out[LM_MAX_PORTS] = {NULL};
    const apply_input inputs[] = {{"in", &in, 1}, {NULL, NULL, 0}};
    lm_status status = apply_step(&lm_op_lens_points, params, inputs, 0, out, NULL, err);
    *ret = out[0];
    return status;
}

static const double *list(const lm_record *record, const char *name, size_t n)
{
    const lm_tensor *tensor = lm_record_tensor(record, name);
    if (!tensor || tensor->ndim != 1 || tensor->shape[0] != n) FAIL("no %zu values \"%s\"", n, name);
    return tensor->data;
}

/* Positions, magnifications and delays (H0 = 70, Omega_m = 0.3, redshifts 0.5 and 1.5) to the digits that are known. */
TEST(a_quad_is_found_with_its_delays)
{
    static const double want[4][4] = {{.12275393, 1.29332851, 5.040693, 0},
                                      {.69696530, -.96433289, 12.723196, 15.929061},
                                      {1.13143496, -.39695650, -10.652420, 16.677829},
                                      {-1.01278903, -.35542859, -3.945611, 28.172882}};
    LM_OWN(lm_record) in = record_new("quasar");
    LM_OWN(lm_record) out = NULL;
    lm_error err = {0};
    record_set(in, "Z", lm_real(1.5));
    OK(points(QUAD ", \"z_lens\": 0.5, \"z_source\": \"{Z}\"}", in, &out, &err), &err);
    EQUAL_INT(lm_record_value(out, "n_images").integer, 4);
    const double *x = list(out, "x", 4), *y = list(out, "y", 4), *mu = list(out, "magnification", 4);
    const double *fermat = list(out, "fermat", 4), *delay = list(out, "delay", 4);
    for (size_t i = 0; i < 4; i++) {
        NEAR(x[i], want[i][0], ABS(1e-8));
        NEAR(y[i], want[i][1], ABS(1e-8));
        NEAR(mu[i], want[i][2], ABS(2e-6));
        NEAR(delay[i], want[i][3], ABS(2e-6));
        CHECK(i == 0 || fermat[i] > fermat[i - 1]);
    }
    NEAR(lm_value_real(lm_record_value(out, "D_dt")), 3329.665360925, REL(1e-7)); /* the constants' digits */
    EQUAL_TEXT(lm_record_id(out), "quasar");
}

/* Delays are as 1/H0. */
TEST(delays_tell_the_hubble_constant)
{
    LM_OWN(lm_record) in = record_new("quasar");
    LM_OWN(lm_record) slow = NULL;
    LM_OWN(lm_record) fast = NULL;
    lm_error err = {0};
    record_set(in, "H0", lm_real(74));
    OK(points(QUAD ", \"z_lens\": 0.5, \"z_source\": 1.5, \"H0\": 67}", in, &slow, &err), &err);
    OK(points(QUAD ", \"z_lens\": 0.5, \"z_source\": 1.5, \"H0\": \"{H0}\"}", in, &fast, &err), &err);
    NEAR(list(slow, "delay", 4)[3] / list(fast, "delay", 4)[3], 74.0 / 67, REL(1e-12));
}

TEST(without_redshifts_there_are_no_times)
{
    LM_OWN(lm_record) in = record_new("quasar");
    LM_OWN(lm_record) out = NULL;
    lm_error err = {0};
    OK(points(QUAD "}", in, &out, &err), &err);
    EQUAL_INT(lm_record_value(out, "n_images").integer, 4);
    CHECK(!lm_record_tensor(out, "delay"));
    EQUAL_INT(lm_record_value(out, "D_dt").kind, LM_KIND_NULL);
}

static void refused(const char *params, const char *why)
{
    LM_OWN(lm_record) in = record_new("quasar");
    LM_OWN(lm_record) out = NULL;
    lm_error err = {0};
    EQUAL_INT(points(params, in, &out, &err), LM_EINPUT);
    CONTAINS(err.text, why);
}

TEST(what_cannot_be_is_named)
{
    refused(QUAD ", \"z_lens\": 0.5}", "both redshifts");
    refused(QUAD ", \"z_lens\": 1.5, \"z_source\": 0.5}", "0.5");
    refused(QUAD ", \"half\": 0.01}", "no image was found");
    refused("{\"mass\": [{\"type\": \"sis\", \"theta_E\": 1}]}", "ring"); /* exactly behind the centre */
    refused("{\"mass\": [{\"type\": \"sheet\", \"kappa\": 1}], \"beta_x\": 0.1}", "");
}
