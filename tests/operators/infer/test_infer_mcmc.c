/* infer.mcmc: chains go on bit by bit where they stopped, and what makes no sense is refused. */
#include "tests/operators/infer/mock.h"

#include "operators/infer/_posterior.h"
#include "runtime/alloc.h"

static bool same(const lm_record *a, const lm_record *b, const char *tensor)
{
    const lm_tensor *x = lm_record_tensor(a, tensor), *y = lm_record_tensor(b, tensor);
    return x->shape[0] == y->shape[0] && memcmp(x->data, y->data, lm_tensor_count(x) * sizeof(double)) == 0;
}

TEST(a_chain_goes_on_bit_by_bit)
{
    static const char *const kinds[] = {"\"ensemble\", \"walkers\": 26", "\"nuts\", \"chains\": 2, \"warmup\": 20"};
    LM_OWN(lm_record) in = mock();
    for (int k = 0; k < 2; k++) {
        char with[2048];
        apply_kept kept = {NULL};
#define STEPS(n)                                                                                                       \
    (snprintf(with, sizeof with,                                                                                       \
              "{" MASS ", " SOURCE ", " LIGHT ", \"sampler\": {\"type\": %s, \"starts\": 4, \"steps\": %d}}",          \
              kinds[k], n),                                                                                            \
     with)
        LM_OWN(lm_record) whole = apply(&lm_op_infer_mcmc, STEPS(20), in);
        apply_checkpoint = &kept;
        LM_OWN(lm_record) part = apply(&lm_op_infer_mcmc, STEPS(7), in);
        EQUAL_INT(kept.loads, 0);
        CHECK(kept.saves > 0);
        CHECK(!lm_record_value(part, "converged").boolean);
        EQUAL_TEXT(lm_record_value(part, "stopped_by").text, "steps");
        LM_OWN(lm_record) longer = apply(&lm_op_infer_mcmc, STEPS(20), in);
        EQUAL_INT(kept.loads, 1);
        CHECK(same(longer, whole, "samples") && same(longer, whole, "ln_likelihood") && same(longer, whole, "model"));
        LM_OWN(lm_record) shorter = apply(&lm_op_infer_mcmc, STEPS(7), in); /* not from the middle of a longer one */
        CHECK(same(shorter, part, "samples"));
        apply_checkpoint = NULL;
        lm_free(kept.bytes);
    }
}

static void refused(const char *with, const char *why)
{
    LM_OWN(lm_record) in = mock();
    lm_record *out[LM_MAX_PORTS] = {NULL};
    const apply_input inputs[] = {{"in", (const lm_record *const *)&in, 1}, {NULL, NULL, 0}};
    lm_error err = {0};
    EQUAL_INT(apply_step(&lm_op_infer_mcmc, with, inputs, 0, out, NULL, &err), LM_EINPUT);
    CONTAINS(err.text, why);
}

TEST(what_makes_no_sense_is_refused)
{
    refused("{\"mass\": [{\"type\": \"sie\", \"theta_E\": {\"unifrom\": [0.5, 2]}, \"q\": 1}], " SOURCE "}", "unifrom");
    refused("{\"mass\": [{\"type\": \"sie\", \"q\": 1}], " SOURCE "}", "\"sie\" needs \"theta_E\"");
    refused("{\"mass\": [{\"type\": \"sis\", \"theta_E\": 1}], \"source\": [{\"type\": \"gaussian\", \"sigma\": 0.1, "
            "\"q\": 1, \"x\": 0, \"y\": 0}]}",
            "no free parameter");
    refused("{" MASS ", " SOURCE ", \"mask\": {\"annulus\": [5, 6]}}", "no pixel of the image takes part");
    refused("{" MASS ", " SOURCE ", \"mask\": {\"exclude\": \"nothing\"}}", "no tensor \"nothing\"");
    refused("{" MASS ", " SOURCE ", \"sampler\": {\"type\": \"gibbs\"}}", "\"gibbs\" is unknown");
    refused("{" MASS ", " SOURCE ", \"sampler\": {\"walkers\": 4}}", "4 walkers for");
    refused("{" MASS ", " SOURCE ", \"positions\": {\"at\": [[1, 0]], \"threshold\": 0.1}}", "at least two");
    refused("{" MASS ", " SOURCE ", \"positions\": {\"at\": [[1, 0], [0, 1]]}}", "threshold");
    refused("{" MASS ", \"source\": {\"type\": \"pixels\"}, \"sampler\": {\"type\": \"nuts\"}}", "gradients");
}

/* ---- the model ---- */

TEST(z_and_x_belong_together)
{
    json_t *list = json_loads(
        "[{\"type\": \"sie\", \"theta_E\": {\"uniform\": [0.5, 2]}, \"e1\": {\"normal\": [0, 0.2]}, \"e2\": 0.1}]", 0,
        NULL);
    const json_t *const lists[LM_ROLES] = {list, NULL, NULL};
    lm_lens_model model = {.n_parts = 0};
    lm_error err = {0};
    OK(lm_lens_model_init(&model, lists, 0.1, 4, NULL, &err), &err);
    EQUAL_INT(model.n_params, 2);
    EQUAL_TEXT(model.params[0].name, "sie_theta_E");
    double z[] = {0.3, -1.2}, x[2], slope[2], up[2], back[2];
    lm_lens_model_x(&model, z, x, slope);
    NEAR(x[0], 0.5 + 1.5 * 0.6179114221889526, REL(1e-12));
    NEAR(x[1], -0.24, REL(1e-12));
    for (int i = 0; i < 2; i++) {
        double was = z[i];
        z[i] += 1e-6;
        lm_lens_model_x(&model, z, up, NULL);
        NEAR(slope[i], (up[i] - x[i]) / 1e-6, REL(1e-5));
        z[i] = was;
    }
    lm_lens_model_z(&model, x, back);
    for (int i = 0; i < 2; i++) NEAR(back[i], z[i], REL(1e-10));
    lm_lens_model_done(&model);
    json_decref(list);
}
