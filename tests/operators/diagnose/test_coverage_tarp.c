/* coverage.tarp: the reference package's numbers, and what calibrated and uncalibrated posteriors must give. */
#include "runtime/random.h"
#include "tests/apply.h"
#include "tests/operators/diagnose/reference.h"
#include "tests/test.h"

extern const lm_operator lm_op_coverage_tarp;

/* ---- the reference cases -------------------------------------------------------------------------------------------- */

/* Records of a case: samples [n_samples, n_sims, dims], truths and references [n_sims, dims]. */
static lm_record **case_records(const reference *samples, const reference *truth, const reference *points, bool single)
{
    size_t m = samples->shape[0], n = samples->shape[1], d = samples->shape[2];
    lm_record **records = lm_alloc(n, sizeof(void *));
    double *draws = lm_alloc(m, d * sizeof *draws);
    CHECK(records && draws);
    for (size_t i = 0; i < n; i++) {
        char id[32];
        snprintf(id, sizeof id, "sim-%zu", i);
        records[i] = record_new(id);
        for (size_t j = 0; j < m; j++) memcpy(draws + j * d, samples->at + (j * n + i) * d, d * sizeof *draws);
        (single ? record_f32 : record_f64)(records[i], "draws", draws, 2, (size_t[]){m, d});
        record_f64(records[i], "truth", truth->at + i * d, 1, &d);
        record_f64(records[i], "reference", points->at + i * d, 1, &d);
    }
    lm_free(draws);
    return records;
}

static void drop(lm_record **records, size_t n)
{
    for (size_t i = 0; i < n; i++) lm_record_unref(records[i]);
    lm_free(records);
}

static const double *data(const lm_record *record, const char *name)
{
    const lm_tensor *tensor = lm_record_tensor(record, name);
    if (!tensor) FAIL("no tensor \"%s\"", name);
    return tensor->data;
}

static double attr(const lm_record *record, const char *name)
{
    return lm_value_real(lm_record_value(record, name));
}

static void meet(const char *name, bool normalise, bool manhattan)
{
    char path[64], hdu[32], params[128];
    snprintf(path, sizeof path, "reference/tarp/%s.fits", name);
    const char *space = normalise ? "NORM" : "RAW", *metric = manhattan ? "MANH" : "EUCL";
    reference samples = reference_read(path, "SAMPLES"), truth = reference_read(path, "THETA");
    snprintf(hdu, sizeof hdu, "REFS_%s", space);
    reference points = reference_read(path, hdu);
    snprintf(hdu, sizeof hdu, "F_%s_%s", space, metric);
    reference f = reference_read(path, hdu);
    snprintf(hdu, sizeof hdu, "ECP01_%s_%s", space, metric);
    reference ecp = reference_read(path, hdu);
    size_t n = truth.shape[0];
    lm_record **records = case_records(&samples, &truth, &points, false);
    snprintf(params, sizeof params,
             "{\"references\": \"given\", \"normalise\": %s, \"distance\": \"%s\", \"bins\": 20, \"bootstrap\": 0}",
             normalise ? "true" : "false", manhattan ? "manhattan" : "euclidean");
    lm_record *out = apply_gather(&lm_op_coverage_tarp, params, (const lm_record *const *)records, n);
    EQUAL_INT(lm_tensor_count(lm_record_tensor(out, "ecp")), 21);
    NEAR_ARRAY(data(out, "f"), f.at, n, ABS(0));          /* counts of the same distances */
    NEAR_ARRAY(data(out, "ecp"), ecp.at, 21, ABS(1e-15)); /* one division against a cumulative sum */
    for (size_t k = 0; k <= 20; k++) NEAR(data(out, "alpha")[k], (double)k / 20, ABS(1e-16 * 2));
    lm_record_unref(out);
    drop(records, n);
    reference *all[] = {&samples, &truth, &points, &f, &ecp};
    for (size_t i = 0; i < 5; i++) lm_free(all[i]->at);
}

TEST(tarp_meets_reference_calibrated)
{
    for (int k = 0; k < 4; k++) meet("calibrated", k & 1, k & 2);
}
TEST(tarp_meets_reference_overconfident)
{
    for (int k = 0; k < 4; k++) meet("overconfident", k & 1, k & 2);
}
TEST(tarp_meets_reference_biased)
{
    for (int k = 0; k < 4; k++) meet("biased", k & 1, k & 2);
}

/* ---- posteriors of a Gaussian toy ----------------------------------------------------------------------------------- */

/* theta ~ N(0, 1)^d, x = theta + N(0, 1), posterior N(x/2, 1/2). The draws are those of an inference that makes the posterior
 * `width` times too wide and shifts it by `bias` posterior standard deviations; prior: it returns draws of the prior. The
 * references are x/2: an estimate from the data alone. */
typedef struct {
    size_t n, m, d;
    double width, bias;
    bool prior;
} toy;

static lm_record **toy_records(toy t, uint64_t seed)
{
    lm_digest key = lm_digest_of(&seed, sizeof seed);
    lm_record **records = lm_alloc(t.n, sizeof(void *));
    double *draws = lm_alloc(t.m, t.d * sizeof *draws), theta[16], estimate[16];
    CHECK(records && draws);
    for (size_t i = 0; i < t.n; i++) {
        lm_random random = lm_random_stream(&key, i);
        for (size_t k = 0; k < t.d; k++) {
            theta[k] = lm_random_normal(&random);
            estimate[k] = (theta[k] + lm_random_normal(&random)) / 2;
        }
        for (size_t j = 0; j < t.m; j++)
            for (size_t k = 0; k < t.d; k++) {
                double z = lm_random_normal(&random);
                draws[j * t.d + k] = t.prior ? z : estimate[k] + sqrt(0.5) * (t.bias + t.width * z);
            }
        char id[32];
        snprintf(id, sizeof id, "sim-%zu", i);
        records[i] = record_new(id);
        record_f64(records[i], "draws", draws, 2, (size_t[]){t.m, t.d});
        record_f64(records[i], "truth", theta, 1, &t.d);
        record_f64(records[i], "reference", estimate, 1, &t.d);
    }
    lm_free(draws);
    return records;
}

static lm_record *toy_test(toy t, uint64_t seed, const char *params)
{
    lm_record **records = toy_records(t, seed);
    lm_record *out = apply_gather(&lm_op_coverage_tarp, params, (const lm_record *const *)records, t.n);
    drop(records, t.n);
    return out;
}

static double toy_p(toy t, uint64_t seed, const char *params)
{
    lm_record *out = toy_test(t, seed, params);
    double p = attr(out, "ks_p");
    lm_record_unref(out);
    return p;
}

static const char uniform[] = "{\"references\": \"uniform\", \"bootstrap\": 0}";
static const char derived[] = "{\"references\": \"derived\", \"bootstrap\": 0}";

TEST(tarp_passes_calibrated_posteriors)
{
    /* fixed seeds: the smallest of 20 uniform p values is below 0.001 in 2 cases of 100 */
    for (uint64_t seed = 0; seed < 10; seed++) {
        toy t = {.n = 300, .m = 50, .d = 3, .width = 1};
        double p1 = toy_p(t, seed, uniform), p2 = toy_p(t, seed, derived);
        if (!(p1 > 1e-3 && p2 > 1e-3)) FAIL("seed %d: p = %g, %g", (int)seed, p1, p2);
    }
}

/* u is exactly uniform for any number of draws, also for two; f = r/M is not, and a test of f would fail here. */
TEST(tarp_rank_is_uniform_for_few_draws)
{
    toy t = {.n = 2000, .m = 2, .d = 2, .width = 1};
    CHECK(toy_p(t, 5, uniform) > 1e-3);
    CHECK(toy_p(t, 5, derived) > 1e-3);
}

TEST(tarp_rejects_wrong_widths)
{
    for (uint64_t seed = 0; seed < 3; seed++)
        for (int k = 0; k < 2; k++) {
            toy t = {.n = 500, .m = 100, .d = 3, .width = k ? 1.6 : 0.6};
            lm_record *out = toy_test(t, seed, uniform);
            CHECK(attr(out, "ks_p") < 1e-4);
            CHECK(k ? attr(out, "atc") > 0.02 : attr(out, "atc") < -0.02); /* the null's sd is 0.008 */
            lm_record_unref(out);
        }
}

/* What uniform references cannot see: an inference that returns the prior, and a bias of 0.5 posterior sd a parameter. */
TEST(tarp_derived_references_see_prior_and_bias)
{
    for (uint64_t seed = 0; seed < 3; seed++) {
        toy prior = {.n = 500, .m = 100, .d = 3, .prior = true},
            bias = {.n = 500, .m = 100, .d = 3, .width = 1, .bias = 0.5};
        CHECK(toy_p(prior, seed, uniform) > 1e-3); /* it passes: known, and why `derived` exists */
        CHECK(toy_p(prior, seed, derived) < 1e-6);
        CHECK(toy_p(bias, seed, derived) < 1e-3);
    }
}

TEST(tarp_bootstrap_band)
{
    toy t = {.n = 400, .m = 50, .d = 2, .width = 1};
    lm_record *out = toy_test(t, 3, "{\"bins\": 10, \"bootstrap\": 400}");
    const double *ecp = data(out, "ecp"), *sd = data(out, "ecp_sd"), *low = data(out, "ecp_low"),
                 *high = data(out, "ecp_high");
    for (size_t k = 0; k <= 10; k++) {
        /* binomial: sqrt(p (1 - p)/n), known to 1/sqrt(2*400) = 3.5 %; four of those */
        NEAR(sd[k], sqrt(ecp[k] * (1 - ecp[k]) / 400), ABS(0.15 * 0.025));
        CHECK(low[k] <= high[k]);
        NEAR((low[k] + high[k]) / 2, ecp[k], ABS(0.25 * 0.025 + 0.0025));
        NEAR(high[k] - low[k], 2 * sd[k], ABS(0.3 * 0.025 + 0.0025)); /* 68 %: one sd to both sides; steps of 1/400 */
    }
    EQUAL_INT(sd[0] == 0, 1);
    lm_record_unref(out);
}

TEST(tarp_repeats_with_its_key)
{
    toy t = {.n = 60, .m = 20, .d = 2, .width = 1};
    lm_record *a = toy_test(t, 3, "{}"), *b = toy_test(t, 3, "{}");
    NEAR_ARRAY(data(a, "u"), data(b, "u"), 60, ABS(0));
    NEAR_ARRAY(data(a, "ecp_sd"), data(b, "ecp_sd"), 7, ABS(0));
    EQUAL_INT(lm_tensor_count(lm_record_tensor(a, "alpha")), 7); /* a tenth of the simulations, and the end */
    EQUAL_INT(attr(a, "n_sims"), 60);
    EQUAL_INT(attr(a, "n_samples"), 20);
    lm_record_unref(a);
    lm_record_unref(b);
}

/* The unit of a parameter must not matter when distances are normalised. Powers of two: the same roundings, but for 1e-10. */
TEST(tarp_normalised_does_not_depend_on_units)
{
    toy t = {.n = 100, .m = 50, .d = 2, .width = 1};
    lm_record **records = toy_records(t, 9);
    lm_record *a = apply_gather(&lm_op_coverage_tarp, uniform, (const lm_record *const *)records, t.n);
    for (size_t i = 0; i < t.n; i++) {
        double *draws = lm_record_tensor(records[i], "draws")->data,
               *truth = lm_record_tensor(records[i], "truth")->data;
        for (size_t j = 0; j < t.m; j++) draws[2 * j] = draws[2 * j] * 1024 + 65536;
        truth[0] = truth[0] * 1024 + 65536;
    }
    lm_record *b = apply_gather(&lm_op_coverage_tarp, uniform, (const lm_record *const *)records, t.n);
    NEAR_ARRAY(data(a, "f"), data(b, "f"), t.n, ABS(0.021)); /* one draw may change sides */
    NEAR(attr(a, "atc"), attr(b, "atc"), ABS(0.002));
    lm_record_unref(a);
    lm_record_unref(b);
    drop(records, t.n);
}

/* ---- odd inputs ----------------------------------------------------------------------------------------------------- */

static lm_record *simulation(const char *id, const double *draws, size_t m, size_t d, const double *truth)
{
    lm_record *record = record_new(id);
    record_f64(record, "draws", draws, 2, (size_t[]){m, d});
    record_f64(record, "truth", truth, 1, &d);
    return record;
}

static lm_status try(const char *params, lm_record **records, size_t n, lm_error *err)
{
    lm_record *outputs[LM_MAX_PORTS] = {NULL};
    apply_input inputs[2] = {{"in", (const lm_record *const *)records, n}, {NULL, NULL, 0}};
    lm_status status = apply_step(&lm_op_coverage_tarp, params, inputs, 0, outputs, NULL, err);
    lm_record_unref(outputs[0]);
    return status;
}

TEST(tarp_names_what_is_wrong)
{
    lm_error err = {0};
    double draws[] = {0, 1, 2, 3, 4, 5}, truth[] = {1, 2};
    lm_record *good = simulation("good", draws, 3, 2, truth);
    draws[3] = NAN;
    lm_record *nan = simulation("broken", draws, 3, 2, truth);
    EQUAL_INT(try("{}", (lm_record *[]){good, nan}, 2, &err), LM_EINPUT);
    CONTAINS(err.text, "parameter 1 of draw 1 of simulation \"broken\" is not finite");
    draws[3] = INFINITY;
    lm_record *inf = simulation("endless", draws, 3, 2, truth);
    EQUAL_INT(try("{}", (lm_record *[]){good, inf}, 2, &err), LM_EINPUT);
    CONTAINS(err.text, "\"endless\"");
    draws[3] = 1e300;
    lm_record *huge = simulation("huge", draws, 3, 2, truth);
    EQUAL_INT(try("{\"normalise\": false}", (lm_record *[]){good, huge}, 2, &err), LM_EINPUT);
    CONTAINS(err.text, "too large");
    draws[3] = 3;
    lm_record *lost = simulation("lost", draws, 3, 2, (double[]){NAN, 0});
    EQUAL_INT(try("{}", (lm_record *[]){good, lost}, 2, &err), LM_EINPUT);
    CONTAINS(err.text, "tensor \"truth\" of simulation \"lost\"");
    lm_record *other = simulation("other", draws, 2, 3, (double[]){1, 2, 3});
    EQUAL_INT(try("{}", (lm_record *[]){good, other}, 2, &err), LM_EINPUT);
    CONTAINS(err.text, "\"other\" has 3 numbers: the first simulation has 2 parameters");
    lm_record *odd = simulation("odd", draws, 2, 3, (double[]){1, 2, 3});
    lm_record_drop(odd, "truth");
    record_f64(odd, "truth", truth, 1, (size_t[]){2});
    EQUAL_INT(try("{}", (lm_record *[]){good, odd}, 2, &err), LM_EINPUT);
    CONTAINS(err.text, "[2, 3]: [draws, 2] is wanted");
    EQUAL_INT(try("{\"references\": \"given\"}", (lm_record *[]){good}, 1, &err), LM_EINPUT);
    CONTAINS(err.text, "no tensor \"reference\"");
    lm_record *all[] = {good, nan, inf, huge, lost, other, odd};
    for (size_t i = 0; i < 7; i++) lm_record_unref(all[i]);
}

/* Different numbers of draws, one parameter as a plain number, and float32: f = r/M each. */
TEST(tarp_takes_ragged_draws)
{
    lm_record *a = record_new("a"), *b = record_new("b");
    record_f32(a, "draws", (double[]){0.1, 0.2, 0.9, 0.4}, 1, (size_t[]){4});
    record_f64(a, "truth", (double[]){0.3}, 0, NULL);
    record_f64(a, "reference", (double[]){0}, 0, NULL);
    record_f64(b, "draws", (double[]){5, -0.5}, 2, (size_t[]){2, 1});
    record_f64(b, "truth", (double[]){1}, 1, (size_t[]){1});
    record_f64(b, "reference", (double[]){0}, 1, (size_t[]){1});
    lm_record *out =
        apply_gather(&lm_op_coverage_tarp, "{\"references\": \"given\", \"normalise\": false, \"bins\": 4}",
                     (const lm_record *const[]){a, b}, 2);
    CHECK(data(out, "f")[0] == 0.5 && data(out, "f")[1] == 0.5);
    CHECK(data(out, "ecp")[2] == 0 && data(out, "ecp")[3] == 1); /* f < 1/2 is strict */
    EQUAL_INT(attr(out, "n_samples"), 2);
    lm_record_unref(a);
    lm_record_unref(b);
    lm_record_unref(out);
}

/* Draws that equal the truth (a parameter on a grid) are neither closer nor farther: the rank is spread over them. */
TEST(tarp_spreads_ties)
{
    enum { N = 2000, M = 4 };
    lm_digest key = lm_digest_of("ties", 4);
    static lm_record *records[N];
    for (size_t i = 0; i < N; i++) {
        lm_random random = lm_random_stream(&key, i);
        double draws[M], truth = (double)lm_random_below(&random, 3);
        for (size_t j = 0; j < M; j++) draws[j] = (double)lm_random_below(&random, 3);
        records[i] = simulation("grid", draws, M, 1, &truth);
    }
    lm_record *out = apply_gather(&lm_op_coverage_tarp, uniform, (const lm_record *const *)records, N);
    CHECK(attr(out, "ks_p") > 1e-3); /* without the spread: below 1e-100 */
    lm_record_unref(out);
    for (size_t i = 0; i < N; i++) lm_record_unref(records[i]);
}

TEST(tarp_of_an_empty_window)
{
    lm_record *out = apply_gather(&lm_op_coverage_tarp, "{}", NULL, 0);
    CHECK(out);
    EQUAL_INT(attr(out, "n_sims"), 0);
    EQUAL_INT(lm_tensor_count(lm_record_tensor(out, "ecp")), 0);
    CHECK(isnan(attr(out, "ks_p")));
    lm_record_unref(out);
}

TEST(tarp_of_one_simulation_with_one_draw)
{
    lm_record *record = simulation("one", (double[]){0.2, 0.4}, 1, 2, (double[]){0.1, 0.1});
    lm_record *out = apply_gather(&lm_op_coverage_tarp, "{}", (const lm_record *const[]){record}, 1);
    EQUAL_INT(lm_tensor_count(lm_record_tensor(out, "ecp")), 2);
    CHECK(data(out, "ecp")[1] == 1);
    CHECK(data(out, "u")[0] >= 0 && data(out, "u")[0] < 1);
    lm_record_unref(out);
    lm_record_unref(record);
}

/* ---- columns and attributes ----------------------------------------------------------------------------------------- */

/* Adds the other form of the input: samples with a column more in front and the others in reverse order, and attributes. */
static void add_named(lm_record *record, size_t m, size_t d)
{
    static const char *const names[] = {"spare", "spare,e1", "spare,e1,theta_E"}, *const attrs[] = {"theta_E", "e1"};
    double samples[64 * 3];
    const double *draws = data(record, "draws"), *truth = data(record, "truth");
    CHECK(m <= 64 && d == 2);
    for (size_t j = 0; j < m; j++) {
        samples[j * 3] = 1e6 * (double)j;
        for (size_t k = 0; k < d; k++) samples[j * 3 + d - k] = draws[j * d + k];
    }
    record_f64(record, "samples", samples, 2, (size_t[]){m, 3});
    for (size_t k = 0; k < d; k++) record_set(record, attrs[k], lm_real(truth[k]));
    record_set(record, "names", lm_text_value(names[d]));
    record_set(record, "ess", lm_real(11.5));
}

static lm_record **named_records(size_t n, size_t m)
{
    lm_record **records = toy_records((toy){.n = n, .m = m, .d = 2, .width = 1}, 12);
    for (size_t i = 0; i < n; i++) add_named(records[i], m, 2);
    return records;
}

TEST(tarp_takes_columns_by_name)
{
    enum { N = 80, M = 40 };
    lm_record **records = named_records(N, M);
    const lm_record *const *members = (const lm_record *const *)records;
    lm_record *a = apply_gather(&lm_op_coverage_tarp, "{\"references\": \"derived\"}", members, N);
    lm_record *b = apply_gather(&lm_op_coverage_tarp,
                                "{\"references\": \"derived\", \"parameters\": [\"theta_E\", \"e1\"]}", members, N);
    NEAR_ARRAY(data(a, "f"), data(b, "f"), N, ABS(0));
    NEAR_ARRAY(data(a, "ecp"), data(b, "ecp"), 9, ABS(0));
    EQUAL_INT(attr(b, "n_samples"), M);
    lm_record_unref(a);
    lm_record_unref(b);
    drop(records, N);
}

TEST(tarp_thins_draws)
{
    enum { N = 10, M = 40 };
    lm_record **records = named_records(N, M);
    const lm_record *const *members = (const lm_record *const *)records;
    lm_record *a = apply_gather(&lm_op_coverage_tarp, "{\"thin\": 8, \"references\": \"derived\"}", members, N);
    lm_record *b =
        apply_gather(&lm_op_coverage_tarp, "{\"parameters\": [\"theta_E\", \"e1\"], \"thin_to\": \"ess\"}", members, N);
    EQUAL_INT(attr(a, "n_samples"), 5); /* one in 9: 8 has a factor in common with 40 */
    EQUAL_INT(attr(b, "n_samples"), 6); /* 40/11.5 is more than 3; 4, 5 and 6 have one, too */
    for (size_t i = 0; i < N; i++) NEAR(data(a, "f")[i] * 5, floor(data(a, "f")[i] * 5 + 0.5), ABS(1e-12));
    lm_record_unref(a);
    lm_record_unref(b);
    drop(records, N);
}

TEST(tarp_names_what_a_named_form_lacks)
{
    lm_error err = {0};
    lm_record **records = named_records(12, 20);
    EQUAL_INT(try("{\"parameters\": [\"theta_E\", \"e2\"], \"truths\": [\"theta_E\", \"e1\"]}", records, 12, &err),
              LM_EINPUT);
    CONTAINS(err.text, "simulation \"sim-0\" has no parameter \"e2\"");
    EQUAL_INT(try("{\"parameters\": [\"theta_E\"], \"truths\": [\"theta\"]}", records, 12, &err), LM_EINPUT);
    CONTAINS(err.text, "simulation \"sim-0\" has no attribute \"theta\"");
    EQUAL_INT(try("{\"truths\": [\"theta\"]}", records, 12, &err), LM_EGRAPH);
    for (size_t i = 0; i < 12; i++) { /* the truth overwritten by one of the middle draws */
        const double *x = data(records[i], "draws");
        for (size_t j = 0; j < 20; j++) {
            size_t below = 0;
            for (size_t l = 0; l < 20; l++) below += x[l * 2] < x[j * 2];
            if (below == 9) record_set(records[i], "theta_E", lm_real(x[j * 2]));
        }
    }
    EQUAL_INT(try("{\"parameters\": [\"theta_E\"]}", records, 12, &err), LM_EINPUT);
    CONTAINS(err.text, "holds what the inference found, not the truth");
    lm_record_drop(records[0], "truth");
    EQUAL_INT(try("{}", records, 1, &err), LM_EINPUT);
    CONTAINS(err.text, "no tensor \"truth\", but \"samples\"");
    drop(records, 12);
}
