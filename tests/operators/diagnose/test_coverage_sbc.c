/* coverage.sbc: what right and wrong posteriors must give, both forms of its input, thinning, and what it refuses. */
#include "operators/core/special.h"
#include "runtime/random.h"
#include "tests/apply.h"
#include "tests/test.h"

extern const lm_operator lm_op_coverage_sbc;

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

static lm_record *gather(const char *params, lm_record **records, size_t n)
{
    return apply_gather(&lm_op_coverage_sbc, params, (const lm_record *const *)records, n);
}

static lm_status try(const char *params, lm_record **records, size_t n, lm_error *err)
{
    lm_record *outputs[LM_MAX_PORTS] = {NULL};
    apply_input inputs[2] = {{"in", (const lm_record *const *)records, n}, {NULL, NULL, 0}};
    lm_status status = apply_step(&lm_op_coverage_sbc, params, inputs, 0, outputs, NULL, err);
    lm_record_unref(outputs[0]);
    return status;
}

static void drop(lm_record **records, size_t n)
{
    for (size_t i = 0; i < n; i++) lm_record_unref(records[i]);
    lm_free(records);
}

/* ---- posteriors of a Gaussian toy ----------------------------------------------------------------------------------- */

/* theta ~ N(0, 1)^d, x = theta + N(0, 1), posterior N(x/2, 1/2): contraction 1/2. The draws are those of an inference that makes the
 * posterior `width` times as wide and shifts it by `bias` of its standard deviations. Rows are an AR(1) chain of correlation `memory`
 * for each of `walkers` that take turns. Every record has both forms: draws, truth; samples with the columns in reverse order, one
 * more in front, and attributes true_a, true_b, ... */
typedef struct {
    size_t n, m, d, walkers;
    double width, bias, memory;
} toy;

static lm_record *toy_record(toy t, uint64_t seed, size_t i)
{
    lm_digest key = lm_digest_of(&seed, sizeof seed);
    lm_random random = lm_random_stream(&key, i);
    size_t columns = t.d + 1, walkers = t.walkers ? t.walkers : 1;
    double *draws = lm_alloc(t.m, t.d * sizeof *draws), *samples = lm_alloc(t.m, columns * sizeof *samples);
    double theta[8], estimate[8];
    char id[32], names[64] = "spare", name[16];
    CHECK(draws && samples && t.d <= 8);
    for (size_t k = 0; k < t.d; k++) {
        theta[k] = lm_random_normal(&random);
        estimate[k] = (theta[k] + lm_random_normal(&random)) / 2;
    }
    for (size_t j = 0; j < t.m; j++)
        for (size_t k = 0; k < t.d; k++) {
            double z = lm_random_normal(&random), before = 0;
            if (j >= walkers && t.memory > 0) {
                before = ((draws[(j - walkers) * t.d + k] - estimate[k]) / sqrt(0.5) - t.bias) / t.width;
                z = t.memory * before + sqrt(1 - t.memory * t.memory) * z;
            }
            draws[j * t.d + k] = estimate[k] + sqrt(0.5) * (t.bias + t.width * z);
            samples[j * columns + t.d - k] = draws[j * t.d + k];
        }
    snprintf(id, sizeof id, "sim-%zu", i);
    lm_record *record = record_new(id);
    record_f64(record, "draws", draws, 2, (size_t[]){t.m, t.d});
    record_f64(record, "truth", theta, 1, &t.d);
    record_f64(record, "samples", samples, 2, (size_t[]){t.m, columns});
    for (size_t k = 0; k < t.d; k++) {
        snprintf(name, sizeof name, "true_%c", (char)('a' + k));
        record_set(record, name, lm_real(theta[k]));
        snprintf(names + strlen(names), sizeof names - strlen(names), ", %c", (char)('a' + t.d - 1 - k));
    }
    record_set(record, "names", lm_text_value(names));
    record_set(record, "ess", lm_real((double)t.m * (1 - t.memory) / (1 + t.memory)));
    lm_free(draws);
    lm_free(samples);
    return record;
}

static lm_record **toy_records(toy t, uint64_t seed)
{
    lm_record **records = lm_alloc(t.n, sizeof(void *));
    CHECK(records);
    for (size_t i = 0; i < t.n; i++) records[i] = toy_record(t, seed, i);
    return records;
}

static lm_record *toy_test(toy t, uint64_t seed, const char *params)
{
    lm_record **records = toy_records(t, seed);
    lm_record *out = gather(params, records, t.n);
    drop(records, t.n);
    return out;
}

TEST(sbc_passes_right_posteriors)
{
    for (uint64_t seed = 0; seed < 10; seed++) {
        toy t = {.n = 200, .m = 50, .d = 3, .width = 1};
        lm_record *out = toy_test(t, seed, "{}");
        /* fixed seeds: the smallest of 70 uniform numbers is below 1e-3 in 7 cases of 100 */
        CHECK(attr(out, "p") > 1e-3);
        for (size_t k = 0; k < 3; k++) {
            CHECK(data(out, "chi2_p")[k] > 1e-3 && data(out, "ecdf_p")[k] > 1e-3);
            NEAR(data(out, "z_mean")[k], 0, ABS(4.5 / sqrt(200)));
            /* (1 + 1/M)(M - 1)/(M - 3) = 1.063; the variance of 200 numbers is known to sqrt(2/200) = 10 % */
            NEAR(data(out, "z_var")[k], 1.063, ABS(4.5 * 0.1 * 1.063));
            NEAR(data(out, "contraction")[k], 0.5, ABS(4.5 * 0.1 * 0.5));
        }
        lm_record_unref(out);
    }
}

/* The p values themselves are uniform: 300 seeds, one parameter and two. Also with two draws only. */
TEST(sbc_p_is_uniform_if_posteriors_are_right)
{
    enum { SEEDS = 300 };
    double p[SEEDS], ks_p[SEEDS];
    for (int few = 0; few < 2; few++) {
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            toy t = {.n = 40, .m = few ? 2 : 19, .d = 2, .width = 1};
            lm_record *out = toy_test(t, 1000 + seed, "{\"points\": 10}");
            p[seed] = attr(out, "p");
            ks_p[seed] = data(out, "ks_p")[1];
            lm_record_unref(out);
        }
        CHECK(lm_ks_tail(lm_ks_uniform(p, SEEDS), SEEDS) > 1e-3);
        CHECK(lm_ks_tail(lm_ks_uniform(ks_p, SEEDS), SEEDS) > 1e-3);
    }
}

static double most(const double *x, size_t n, size_t dims, size_t k, double sign)
{
    double found = -INFINITY;
    for (size_t i = 0; i < n; i++) found = fmax(found, sign * x[i * dims + k]);
    return found;
}

/* Half as wide, twice as wide, half a standard deviation off: found by each test, and told apart by z and by the curve. */
TEST(sbc_rejects_wrong_posteriors)
{
    for (uint64_t seed = 0; seed < 5; seed++)
        for (int fault = 0; fault < 3; fault++) {
            toy t = {.n = 200, .m = 100, .d = 2, .width = fault == 0 ? 0.5 : fault == 1 ? 2 : 1};
            t.bias = fault == 2 ? 0.5 : 0;
            lm_record *out = toy_test(t, seed, "{}");
            const double *ecdf = data(out, "ecdf"), *low = data(out, "ecdf_low"), *high = data(out, "ecdf_high");
            CHECK(attr(out, "p") < 1e-3);
            CHECK(attr(out, "ks_p_min") <= attr(out, "p"));
            size_t outside[2] = {0, 0};
            for (size_t k = 0; k < 2; k++) {
                CHECK(data(out, "ks_p")[k] < 1e-3 && data(out, "chi2_p")[k] < 1e-3 && data(out, "ecdf_p")[k] < 1e-3);
                double z_var = data(out, "z_var")[k], z_mean = data(out, "z_mean")[k];
                if (fault == 0) CHECK(z_var > 2.5 && z_var < 6);       /* 4 */
                if (fault == 1) CHECK(z_var > 0.15 && z_var < 0.4);    /* 1/4 */
                if (fault == 2) CHECK(z_mean < -0.2 && z_mean > -0.8); /* -1/2 */
                for (size_t e = 0; e <= 100; e++) outside[k] += ecdf[e * 2 + k] < low[e] || ecdf[e * 2 + k] > high[e];
                CHECK(outside[k] > 0);
                CHECK(attr(out, "p_ecdf") < 1e-3);
                /* estimates too high: the truth ranks low */
                if (fault == 2) CHECK(most(ecdf, 101, 2, k, 1) > 3 * most(ecdf, 101, 2, k, -1));
                if (fault == 0) CHECK(ecdf[10 * 2 + k] > 0 && ecdf[90 * 2 + k] < 0); /* too many at both ends */
                if (fault == 1) CHECK(ecdf[10 * 2 + k] < 0 && ecdf[90 * 2 + k] > 0);
            }
            lm_record_unref(out);
        }
}

/* One parameter of three is wrong: it is named, in both forms. */
TEST(sbc_names_the_worst)
{
    toy t = {.n = 200, .m = 60, .d = 3, .width = 1};
    lm_record **records = toy_records(t, 3);
    for (size_t i = 0; i < t.n; i++) {
        double *draws = lm_record_tensor(records[i], "draws")->data,
               *samples = lm_record_tensor(records[i], "samples")->data;
        for (size_t j = 0; j < t.m; j++) draws[j * 3 + 1] += 0.6, samples[j * 4 + 2] += 0.6;
    }
    lm_record *a = gather("{}", records, t.n),
              *b = gather("{\"parameters\": [\"a\", \"b\", \"c\"], \"truths\": [\"true_a\", \"true_b\", \"true_c\"]}",
                          records, t.n);
    EQUAL_TEXT(lm_record_value(a, "worst").text, "2");
    EQUAL_TEXT(lm_record_value(a, "names").text, "1,2,3");
    EQUAL_TEXT(lm_record_value(b, "worst").text, "b");
    EQUAL_TEXT(lm_record_value(b, "names").text, "a,b,c");
    CHECK(attr(b, "b_ks_p") == attr(b, "ks_p_min") && attr(b, "b_ks_p") < 1e-3);
    CHECK(attr(b, "a_ks_p") > 1e-3 && attr(b, "c_ks_p") > 1e-3);
    NEAR(attr(b, "p"), 1 - pow(1 - attr(b, "ks_p_min"), 3), ABS(1e-15));
    CHECK(((const int64_t *)lm_record_tensor(b, "parameter")->data)[2] == 3);
    lm_record_unref(a);
    lm_record_unref(b);
    drop(records, t.n);
}

/* ---- columns and attributes ----------------------------------------------------------------------------------------- */

static const char named[] = "{\"parameters\": [\"a\", \"b\"], \"truths\": [\"true_a\", \"true_b\"]}";

/* The steps' keys differ, and so the random parts of the ranks: but not the ranks. */
TEST(sbc_forms_agree)
{
    toy t = {.n = 60, .m = 30, .d = 2, .width = 1};
    lm_record **records = toy_records(t, 5);
    lm_record *a = gather("{}", records, t.n), *b = gather(named, records, t.n),
              *c = gather("{\"parameters\": [\"b\"], \"truths\": \"true_b\"}", records, t.n);
    for (size_t i = 0; i < t.n; i++) {
        for (size_t k = 0; k < 2; k++)
            EQUAL_INT(floor(data(a, "u")[i * 2 + k] * 31), floor(data(b, "u")[i * 2 + k] * 31));
        EQUAL_INT(floor(data(a, "u")[i * 2 + 1] * 31), floor(data(c, "u")[i] * 31));
    }
    NEAR_ARRAY(data(a, "z"), data(b, "z"), 2 * t.n, ABS(0));
    NEAR_ARRAY(data(a, "contraction"), data(b, "contraction"), 2, ABS(0));
    EQUAL_INT(lm_record_tensor(c, "u")->shape[1], 1);
    lm_record *all[] = {a, b, c};
    for (size_t i = 0; i < 3; i++) lm_record_unref(all[i]);
    drop(records, t.n);
}

/* float32 samples, whole numbers as truths, the truths under the parameters' names, and another name of the tensor. */
TEST(sbc_takes_other_types_and_names)
{
    lm_record *record = record_new("one");
    record_f32(record, "chain", (double[]){0, 10, 1, 11, 2, 12, 3, 13}, 2, (size_t[]){4, 2});
    record_set(record, "names", lm_text_value("q,n"));
    record_set(record, "n", lm_int(12));
    record_set(record, "q", lm_real(2.5));
    lm_record *out = gather("{\"parameters\": [\"n\", \"q\"], \"samples\": \"chain\"}", (lm_record *[]){record}, 1);
    const double *u = data(out, "u");
    CHECK(u[0] >= 2.0 / 5 && u[0] < 4.0 / 5); /* two below, one equal */
    CHECK(u[1] >= 3.0 / 5 && u[1] < 4.0 / 5);
    NEAR(data(out, "z")[1], (2.5 - 1.5) / sqrt(5.0 / 3), REL(1e-15));
    CHECK(isnan(data(out, "contraction")[0])); /* of one simulation */
    lm_record_unref(out);
    lm_record_unref(record);
}

TEST(sbc_names_what_is_missing)
{
    lm_error err = {0};
    toy t = {.n = 1, .m = 5, .d = 2, .width = 1};
    lm_record **r = toy_records(t, 1);
    EQUAL_INT(try("{\"parameters\": [\"a\", \"e1\"], \"truths\": [\"true_a\", \"true_b\"]}", r, 1, &err), LM_EINPUT);
    CONTAINS(err.text, "simulation \"sim-0\" has no parameter \"e1\"");
    CONTAINS(err.hint, "spare, b, a");
    EQUAL_INT(try("{\"parameters\": [\"a\", \"b\"]}", r, 1, &err), LM_EINPUT);
    CONTAINS(err.text, "simulation \"sim-0\" has no attribute \"a\", a true value");
    EQUAL_INT(try("{\"parameters\": [\"a\"], \"truths\": [\"true_aa\"]}", r, 1, &err), LM_EINPUT);
    CONTAINS(err.hint, "Did you mean \"true_a\"?");
    EQUAL_INT(try("{\"parameters\": [\"a\"], \"truths\": [\"names\"]}", r, 1, &err), LM_EINPUT);
    CONTAINS(err.text, "no finite number");
    EQUAL_INT(try("{\"parameters\": [\"a\"], \"truths\": [\"true_a\"], \"samples\": \"chain\"}", r, 1, &err),
              LM_EINPUT);
    CONTAINS(err.text, "no tensor \"chain\"");
    EQUAL_INT(try("{\"thin_to\": \"effective\"}", r, 1, &err), LM_EINPUT);
    CONTAINS(err.text, "no attribute \"effective\", the number of draws to thin to");
    record_set(r[0], "names", lm_text_value("a,b"));
    EQUAL_INT(try(named, r, 1, &err), LM_EINPUT);
    CONTAINS(err.text, "2 names for 3 columns");
    record_set(r[0], "names", lm_text_value("a,b,a"));
    EQUAL_INT(try(named, r, 1, &err), LM_EINPUT);
    CONTAINS(err.text, "\"a\" stands 2 times");
    record_set(r[0], "names", lm_int(3));
    EQUAL_INT(try(named, r, 1, &err), LM_EINPUT);
    CONTAINS(err.text, "no text attribute \"names\"");
    record_set(r[0], "true_a", lm_real(NAN));
    EQUAL_INT(try(named, r, 1, &err), LM_EINPUT);
    CONTAINS(err.text, "\"true_a\" of simulation \"sim-0\"");
    lm_record_drop(r[0], "truth");
    EQUAL_INT(try("{}", r, 1, &err), LM_EINPUT);
    CONTAINS(err.hint, "Name the columns to test in \"parameters\"");
    record_f64(r[0], "samples", (double[]){1}, 0, NULL);
    EQUAL_INT(try(named, r, 1, &err), LM_EINPUT);
    drop(r, 1);
}

TEST(sbc_checks_its_parameters)
{
    lm_error err = {0};
    EQUAL_INT(try("{\"parameters\": [\"a\", \"b\"], \"truths\": [\"a\"]}", NULL, 0, &err), LM_EGRAPH);
    CONTAINS(err.text, "\"truths\" has 1 names, and \"parameters\" 2");
    EQUAL_INT(try("{\"truths\": [\"a\"]}", NULL, 0, &err), LM_EGRAPH);
    EQUAL_INT(try("{\"parameters\": [\"a\", \"b\", \"a\"]}", NULL, 0, &err), LM_EGRAPH);
    CONTAINS(err.text, "\"parameters\" names \"a\" twice");
    EQUAL_INT(try("{\"parameters\": [\"\"]}", NULL, 0, &err), LM_EGRAPH);
}

TEST(sbc_refuses_what_is_not_finite)
{
    lm_error err = {0};
    static const char *const forms[] = {"{}", named, "{\"thin\": 3}"};
    for (int bad = 0; bad < 2; bad++)
        for (int form = 0; form < 3; form++) {
            toy t = {.n = 3, .m = 10, .d = 2, .width = 1};
            lm_record **r = toy_records(t, 2);
            ((double *)lm_record_tensor(r[1], "draws")->data)[7 * 2 + 1] = bad ? (double)INFINITY : (double)NAN;
            ((double *)lm_record_tensor(r[1], "samples")->data)[7 * 3 + 1] = bad ? (double)INFINITY : (double)NAN;
            EQUAL_INT(try(forms[form], r, 3, &err), LM_EINPUT);
            CONTAINS(err.text, "parameter 1 of draw 7 of simulation \"sim-1\" is not finite");
            drop(r, 3);
        }
    toy t = {.n = 2, .m = 10, .d = 2, .width = 1};
    lm_record **r = toy_records(t, 2);
    ((double *)lm_record_tensor(r[1], "truth")->data)[0] = NAN;
    EQUAL_INT(try("{}", r, 2, &err), LM_EINPUT);
    CONTAINS(err.text, "tensor \"truth\" of simulation \"sim-1\" is not finite");
    drop(r, 2);
}

/* An inference that writes its medians over the truth would look like posteriors that are far too wide. */
TEST(sbc_notices_a_truth_that_was_overwritten)
{
    for (int how = 0; how < 3; how++) { /* the lower one of the middle, the upper one, half their sum */
        toy t = {.n = 12, .m = 20, .d = 2, .width = 1};
        lm_error err = {0};
        lm_record **r = toy_records(t, 4);
        for (size_t i = 0; i < t.n; i++) {
            const double *x = data(r[i], "draws");
            double middle[2] = {0, 0};
            for (size_t j = 0; j < t.m; j++) {
                size_t below = 0;
                for (size_t l = 0; l < t.m; l++) below += x[l * 2 + 1] < x[j * 2 + 1];
                if (below == 9 || below == 10) middle[below - 9] = x[j * 2 + 1];
            }
            record_set(r[i], "true_b", lm_real(how < 2 ? middle[how] : (middle[0] + middle[1]) / 2));
        }
        EQUAL_INT(try(named, r, t.n, &err), LM_EINPUT);
        CONTAINS(err.text, "\"true_b\" is the median of the draws in each of 12 simulations");
        CONTAINS(err.hint, "truths");
        EQUAL_INT(try("{\"parameters\": [\"a\"], \"truths\": [\"true_a\"]}", r, t.n, &err), LM_OK);
        EQUAL_INT(try(named, r, 9, &err), LM_OK); /* too few to be sure */
        record_set(r[7], "true_b", lm_real(-3));
        EQUAL_INT(try(named, r, t.n, &err), LM_OK);
        drop(r, t.n);
    }
}

/* ---- chains --------------------------------------------------------------------------------------------------------- */

/* Draws that resemble each other pile ranks up at both ends; thinned to their effective number they do not. */
TEST(sbc_thins_chains)
{
    toy t = {.n = 300, .m = 400, .d = 1, .walkers = 4, .width = 1, .memory = 0.98};
    lm_record *all = toy_test(t, 6, "{}"), *ess = toy_test(t, 6, "{\"thin_to\": \"ess\"}"),
              *both = toy_test(t, 6, "{\"thin_to\": \"ess\", \"thin\": 150}");
    CHECK(data(all, "ecdf_p")[0] < 1e-3);
    CHECK(attr(ess, "p") > 1e-3 && data(ess, "ecdf_p")[0] > 1e-3 && data(ess, "chi2_p")[0] > 1e-3);
    EQUAL_INT(attr(all, "n_samples"), 400);
    EQUAL_INT(attr(ess, "n_samples"), 5);  /* 400 (1 - 0.98)/(1 + 0.98) = 4.04: one in 99 */
    EQUAL_INT(attr(both, "n_samples"), 3); /* 151 is the next that has no factor in common with 400 */
    lm_record *outs[] = {all, ess, both};
    for (size_t i = 0; i < 3; i++) lm_record_unref(outs[i]);
}

/* Walkers by turns, that hardly move: every 160th row is the same walker, ten of its steps apart; every 161st is another one. */
TEST(sbc_thins_along_all_walkers)
{
    toy walkers = {.n = 300, .m = 1600, .d = 1, .walkers = 16, .width = 1, .memory = 0.99},
        one = {.n = 300, .m = 10, .d = 1, .walkers = 1, .width = 1, .memory = pow(0.99, 10)};
    lm_record *all = toy_test(walkers, 7, "{\"thin\": 160}"), *same = toy_test(one, 7, "{}");
    EQUAL_INT(attr(all, "n_samples"), 10);
    CHECK(attr(all, "p") > 1e-3 && data(all, "ecdf_p")[0] > 1e-3);
    CHECK(data(same, "ecdf_p")[0] < 1e-6);
    lm_record_unref(all);
    lm_record_unref(same);
}

TEST(sbc_thins_to_one_draw_at_least)
{
    toy t = {.n = 4, .m = 6, .d = 2, .width = 1};
    lm_record *out = toy_test(t, 1, "{\"thin\": 1000}");
    EQUAL_INT(attr(out, "n_samples"), 1);
    CHECK(isnan(data(out, "z")[0]) && isnan(data(out, "z_mean")[0]) && isnan(data(out, "contraction")[0]));
    CHECK(isfinite(attr(out, "p")));
    lm_record_unref(out);
    lm_record **r = toy_records(t, 1);
    record_set(r[2], "ess", lm_real(0.2));
    out = gather("{\"parameters\": [\"b\"], \"truths\": [\"true_b\"], \"thin_to\": \"ess\"}", r, t.n);
    EQUAL_INT(attr(out, "n_samples"), 1);
    lm_record_unref(out);
    drop(r, t.n);
}

/* ---- outputs -------------------------------------------------------------------------------------------------------- */

TEST(sbc_outputs_fit_together)
{
    enum { N = 120, D = 2 };
    toy t = {.n = N, .m = 30, .d = D, .width = 1};
    lm_record *out = toy_test(t, 8, "{\"bins\": 5, \"points\": 40, \"level\": 0.99}");
    const double *u = data(out, "u"), *at = data(out, "at"), *ecdf = data(out, "ecdf"), *ranks = data(out, "ranks");
    EQUAL_INT(lm_record_tensor(out, "ecdf")->shape[0], 41);
    for (size_t k = 0; k < D; k++) {
        double column[N], p;
        for (size_t i = 0; i < N; i++) column[i] = u[i * D + k];
        for (size_t e = 0; e <= 40; e++) {
            double below = 0;
            for (size_t i = 0; i < N; i++) below += column[i] < (double)e / 40;
            NEAR(ecdf[e * D + k], below / N - (double)e / 40, ABS(1e-15));
            NEAR(at[e], (double)e / 40, ABS(0));
        }
        for (size_t b = 0; b < 5; b++) {
            double count = 0;
            for (size_t i = 0; i < N; i++) count += floor(column[i] * 5) == (double)b;
            NEAR(ranks[b * D + k], count, ABS(0));
            NEAR(data(out, "bin")[b], 0.1 + 0.2 * (double)b, ABS(1e-15));
            CHECK(data(out, "ranks_low")[b] > 8 && data(out, "ranks_low")[b] < 24); /* 24 -+ 4.4 * 3.1 */
            CHECK(data(out, "ranks_high")[b] < 40 && data(out, "ranks_high")[b] > 24);
        }
        p = lm_ks_tail(lm_ks_uniform(column, N), N);
        NEAR(data(out, "ks_p")[k], p, REL(1e-12));
    }
    /* the verdict over the curves is that of the band */
    bool leaves = false;
    for (size_t e = 0; e <= 40; e++)
        for (size_t k = 0; k < D; k++)
            leaves |= ecdf[e * D + k] < data(out, "ecdf_low")[e] || ecdf[e * D + k] > data(out, "ecdf_high")[e];
    CHECK(leaves == (attr(out, "p_ecdf") < 0.01));
    CHECK(data(out, "ecdf_low")[0] == 0 && data(out, "ecdf_high")[40] == 0);
    EQUAL_INT(attr(out, "n_sims"), N);
    EQUAL_INT(attr(out, "missing"), 0);
    lm_record_unref(out);
}

TEST(sbc_repeats_with_its_key)
{
    toy t = {.n = 50, .m = 20, .d = 2, .width = 1};
    lm_record *a = toy_test(t, 3, "{}"), *b = toy_test(t, 3, "{}");
    NEAR_ARRAY(data(a, "u"), data(b, "u"), 100, ABS(0));
    EQUAL_INT(lm_record_tensor(a, "ranks")->shape[0], 2); /* 50/20 */
    EQUAL_INT(lm_record_tensor(a, "at")->shape[0], 51);
    lm_record_unref(a);
    lm_record_unref(b);
}

/* A parameter on a grid, which often equals the truth: without spreading, ranks would not be uniform. */
TEST(sbc_spreads_ties)
{
    enum { N = 1000, M = 4 };
    lm_digest key = lm_digest_of("ties", 4);
    lm_record **records = lm_alloc(N, sizeof(void *));
    CHECK(records);
    for (size_t i = 0; i < N; i++) {
        lm_random random = lm_random_stream(&key, i);
        double draws[M], truth = (double)lm_random_below(&random, 3);
        for (size_t j = 0; j < M; j++) draws[j] = (double)lm_random_below(&random, 3);
        records[i] = record_new("grid");
        record_f64(records[i], "draws", draws, 1, (size_t[]){M});
        record_f64(records[i], "truth", &truth, 0, NULL);
    }
    lm_record *out = gather("{}", records, N);
    CHECK(attr(out, "p") > 1e-3 && data(out, "chi2_p")[0] > 1e-3 && data(out, "ecdf_p")[0] > 1e-3);
    lm_record_unref(out);
    drop(records, N);
}

TEST(sbc_of_few)
{
    lm_record *out = gather("{}", NULL, 0);
    EQUAL_INT(attr(out, "n_sims"), 0);
    CHECK(isnan(attr(out, "p")));
    EQUAL_INT(lm_tensor_count(lm_record_tensor(out, "ecdf")), 0);
    lm_record_unref(out);
    out = gather("{\"parameters\": [\"a\", \"b\"]}", NULL, 0);
    EQUAL_INT(lm_record_tensor(out, "u")->shape[1], 2);
    EQUAL_TEXT(lm_record_value(out, "names").text, "a,b");
    lm_record_unref(out);
    toy t = {.n = 1, .m = 1, .d = 1, .width = 1};
    out = toy_test(t, 1, "{\"bins\": 1}");
    CHECK(data(out, "u")[0] >= 0 && data(out, "u")[0] < 1);
    CHECK(data(out, "chi2_p")[0] == 1 && data(out, "ecdf_p")[0] == 1);
    NEAR(attr(out, "p"), 1 - fabs(2 * data(out, "u")[0] - 1),
         ABS(1e-12)); /* D = max(u, 1 - u), P(D >= d) = 2 (1 - d) */
    lm_record_unref(out);
}

/* The conformance suite fails each allocation of the plain form; here those of columns, names and thinning. */
TEST(sbc_survives_each_failing_allocation)
{
    toy t = {.n = 12, .m = 8, .d = 2, .width = 1};
    lm_error err = {0};
    lm_record **r = toy_records(t, 3);
    const double *x = data(r[5], "samples");
    double copy[24];
    memcpy(copy, x, sizeof copy);
    record_f32(r[5], "samples", copy, 2, (size_t[]){8, 3}); /* converted, too */
    static const char params[] =
        "{\"parameters\": [\"a\", \"b\"], \"truths\": [\"true_a\", \"true_b\"], \"thin\": 2, \"thin_to\": \"ess\"}";
    lm_alloc_fail_at(UINT64_MAX);
    EQUAL_INT(try(params, r, t.n, &err), LM_OK);
    uint64_t total = lm_alloc_count(), failed = 0;
    for (uint64_t n = 1; n <= total; n++) {
        lm_alloc_fail_at(n);
        lm_status status = try(params, r, t.n, &err);
        lm_alloc_fail_at(0);
        if (status && status != LM_EMEMORY) FAIL("allocation %d: %s", (int)n, err.text);
        failed += status == LM_EMEMORY;
    }
    CHECK(failed > 5);
    drop(r, t.n);
}
