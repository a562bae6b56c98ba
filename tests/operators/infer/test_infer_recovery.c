/* infer.mcmc finds what an image was made with. */
#include "tests/operators/infer/mock.h"

static double attr(const lm_record *record, const char *name)
{
    return lm_value_real(lm_record_value(record, name));
}

static void found(const lm_record *record)
{
    static const struct {
        const char *name;
        double truth;
    } known[] = {{"sie_theta_E", 1.2},
                 {"sie_e1", 0.15},
                 {"sie_e2", -0.1},
                 {"sie_x", 0.03},
                 {"sie_y", -0.02},
                 {"shear_gamma1", 0.05},
                 {"shear_gamma2", -0.03},
                 {"source_gaussian_x", 0.1},
                 {"source_gaussian_y", 0.15},
                 {"source_gaussian_sigma", 0.2},
                 {"light_gaussian_sigma", 0.4}};
    double chi2 = 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        char name[80];
        snprintf(name, sizeof name, "%s_err", known[i].name);
        double sigma = attr(record, name), off = (attr(record, known[i].name) - known[i].truth) / sigma;
        CHECK(sigma > 0 && sigma < 0.2);
        if (!(fabs(off) < 4)) FAIL("%s is %g sigma off", known[i].name, off);
        chi2 += off * off;
    }
    CHECK(chi2 < 35);                                /* 11 parameters: p = 2e-4 */
    NEAR(attr(record, "chi2_reduced"), 1, ABS(0.2)); /* 562 degrees of freedom: 3 sigma */
    NEAR(attr(record, "theta_eff"), 1.2, ABS(0.05));
    CHECK(attr(record, "theta_eff_low") < attr(record, "theta_eff_high"));
    EQUAL_INT(lm_tensor_count(lm_record_tensor(record, "mask")), N);
    EQUAL_INT(((const uint8_t *)lm_record_tensor(record, "mask")->data)[5], 1);
    EQUAL_INT(((const uint8_t *)lm_record_tensor(record, "mask")->data)[6], 0);
    CHECK(isnan(((const double *)lm_record_tensor(record, "model")->data)[5]));
}

TEST(an_ensemble_finds_the_lens)
{
    LM_OWN(lm_record) in = mock();
    LM_OWN(lm_record)
    out = apply(&lm_op_infer_mcmc,
                "{" MASS ", " SOURCE ", " LIGHT
                ", \"sampler\": {\"starts\": 8, \"until\": {\"ess\": 300, \"rhat\": 1.1}, \"steps\": 6000}}",
                in);
    found(out);
    CHECK(lm_record_value(out, "converged").boolean);
    CHECK(attr(out, "ess") >= 300 && attr(out, "rhat") <= 1.1);
    CONTAINS(lm_record_value(out, "names").text, "sie_theta_E,sie_e1,");
    EQUAL_INT(lm_record_tensor(out, "samples")->shape[1], 11);
    /* the best sample's components are read by others */
    CONTAINS(lm_record_value(out, "mass").text, "\"type\":\"sie\"");
    CONTAINS(lm_record_value(out, "light").text, "\"flux\":");
}

TEST(nuts_finds_the_same)
{
    LM_OWN(lm_record) in = mock();
    LM_OWN(lm_record)
    out = apply(&lm_op_infer_mcmc,
                "{" MASS ", " SOURCE ", " LIGHT
                ", \"sampler\": {\"type\": \"nuts\", \"starts\": 8, \"chains\": 2, \"warmup\": 200, \"until\": "
                "{\"ess\": 150, \"rhat\": 1.03}, \"steps\": 1000}}",
                in);
    found(out);
    CHECK(lm_record_value(out, "converged").boolean);
}
