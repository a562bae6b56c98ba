/* compare.pqmass: the reference's counts and chi-squares, its null law, and what it must find. */
#include "operators/core/special.h"
#include "runtime/random.h"
#include "tests/apply.h"
#include "tests/operators/diagnose/reference.h"
#include "tests/test.h"

extern const lm_operator lm_op_compare_pqmass;

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

/* A port fed by n records. */
typedef struct {
    lm_record **records;
    size_t n;
} feed;

static feed stack(const char *id, const double *samples, size_t n, size_t d, bool single)
{
    feed f = {lm_alloc(1, sizeof(void *)), 1};
    f.records[0] = record_new(id);
    (single ? record_f32 : record_f64)(f.records[0], "samples", samples, 2, (size_t[]){n, d});
    return f;
}

static feed apart(const double *samples, size_t n, size_t d, bool single)
{
    feed f = {lm_alloc(n, sizeof(void *)), n};
    for (size_t i = 0; i < n; i++) {
        char id[32];
        snprintf(id, sizeof id, "stamp-%zu", i);
        f.records[i] = record_new(id);
        (single ? record_f32 : record_f64)(f.records[i], "image", samples + i * d, 1, &d);
    }
    return f;
}

static void drop(feed f)
{
    for (size_t i = 0; i < f.n; i++) lm_record_unref(f.records[i]);
    lm_free(f.records);
}

static lm_status try(const char *params, feed x, feed y, feed given, uint64_t index, lm_record **ret, lm_error *err)
{
    lm_record *outputs[LM_MAX_PORTS] = {NULL};
    apply_input inputs[4] = {{"x", (const lm_record *const *)x.records, x.n},
                             {"y", (const lm_record *const *)y.records, y.n},
                             {"references", (const lm_record *const *)given.records, given.n},
                             {NULL, NULL, 0}};
    lm_status status = apply_step(&lm_op_compare_pqmass, params, inputs, index, outputs, NULL, err);
    *ret = outputs[0];
    return status;
}

static lm_record *test(const char *params, feed x, feed y, feed given, uint64_t index)
{
    lm_record *out;
    lm_error err = {0};
    OK(try(params, x, y, given, index, &out, &err), &err);
    return out;
}

/* Fails, and says so with `text`; takes the feeds. */
static void refuses(const char *params, feed x, feed y, const char *text)
{
    lm_record *out = NULL;
    lm_error err = {0};
    EQUAL_INT(try(params, x, y, (feed){0}, 0, &out, &err), LM_EINPUT);
    CONTAINS(err.text, text);
    drop(x);
    drop(y);
}

/* ---- the reference cases -------------------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    double chi2, p, rescaled;
    int dof;
} expected;

static void meet(const expected *want, bool single, bool separate)
{
    char path[64];
    snprintf(path, sizeof path, "reference/pqm/%s.fits", want->name);
    reference x = reference_read(path, "X"), y = reference_read(path, "Y"), points = reference_read(path, "REFS");
    reference counts_x = reference_read(path, "COUNTS_X"), counts_y = reference_read(path, "COUNTS_Y");
    size_t d = x.shape[1], r = points.shape[0];
    feed fx = separate ? apart(x.at, x.shape[0], d, single) : stack("x", x.at, x.shape[0], d, single);
    feed fy = separate ? apart(y.at, y.shape[0], d, single) : stack("y", y.at, y.shape[0], d, single);
    feed fr = separate ? apart(points.at, r, d, single) : stack("points", points.at, r, d, single);
    lm_record *out = test("{\"references\": \"given\"}", fx, fy, fr, 0);
    const int64_t *cx = lm_record_tensor(out, "counts_x")->data, *cy = lm_record_tensor(out, "counts_y")->data;
    for (size_t i = 0; i < r; i++) {
        EQUAL_INT(cx[i], (long long)counts_x.at[i]);
        EQUAL_INT(cy[i], (long long)counts_y.at[i]);
    }
    NEAR(attr(out, "chi2"), want->chi2, REL(1e-13)); /* a sum of a hundred terms in another order */
    EQUAL_INT(attr(out, "dof"), want->dof);
    NEAR(attr(out, "log_p"), log(want->p), ABS(1e-12));
    NEAR(attr(out, "chi2_rescaled"), want->rescaled, REL(1e-12));
    lm_record_unref(out);
    drop(fx);
    drop(fy);
    drop(fr);
    reference *all[] = {&x, &y, &points, &counts_x, &counts_y};
    for (size_t i = 0; i < 5; i++) lm_free(all[i]->at);
}

/* scipy's chi2_contingency and chi2.isf of the case's JSON */
static const expected same = {"same_gauss", 57.678231346542255, 0.11590309698118091, 61.0487144908036, 46};
static const expected shifted = {"shifted_gauss", 69.00114927474758, 0.0021493252837332458, 69.00114927474753, 39};
static const expected dropped = {"images_dropped_population", 122.81763687876611, 1.6350448403854466e-13,
                                 122.81763687876611, 29};

TEST(pqmass_meets_reference)
{
    meet(&same, false, false);
    meet(&shifted, false, false);
    meet(&dropped, false, false);
}

TEST(pqmass_meets_reference_from_single_records)
{
    meet(&same, false, true);
    meet(&shifted, false, true);
    meet(&dropped, false, true);
}

TEST(pqmass_meets_reference_in_float32)
{
    meet(&same, true, false); /* rounding the samples moves none of these across a border */
    meet(&dropped, true, true);
}

/* 200 tessellations of the same samples by the package and by us: two sets of independent draws (given the samples) of one
 * law, so that their means agree within 4.5 standard errors of the difference, and their scatters within a quarter. */
static void meet_retessellations(const char *name, int regions)
{
    char path[64], params[64];
    snprintf(path, sizeof path, "reference/pqm/%s.fits", name);
    snprintf(params, sizeof params, "{\"regions\": %d, \"tessellations\": 200}", regions);
    reference x = reference_read(path, "X"), y = reference_read(path, "Y"),
              theirs = reference_read(path, "RETESS_CHI2");
    feed fx = stack("x", x.at, x.shape[0], x.shape[1], false), fy = stack("y", y.at, y.shape[0], y.shape[1], false);
    lm_record *out = test(params, fx, fy, (feed){0}, 0);
    const double *each = data(out, "chi2_each");
    const int64_t *dof = lm_record_tensor(out, "dof_each")->data;
    double mean[2] = {0}, square[2] = {0};
    for (size_t t = 0; t < 200; t++) {
        double ours = lm_chi2_from_log_tail(lm_log_chi2_tail(each[t], (double)dof[t]), regions - 1);
        mean[0] += ours / 200;
        square[0] += ours * ours / 200;
        mean[1] += theirs.at[t] / 200;
        square[1] += theirs.at[t] * theirs.at[t] / 200;
    }
    double sd[2] = {sqrt(square[0] - mean[0] * mean[0]), sqrt(square[1] - mean[1] * mean[1])};
    NEAR(mean[0], mean[1], ABS(4.5 * sqrt((sd[0] * sd[0] + sd[1] * sd[1]) / 200)));
    NEAR(sd[0], sd[1], REL(0.25)); /* each known to 5 % */
    NEAR(attr(out, "chi2_mean"), mean[0], REL(1e-12));
    lm_record_unref(out);
    drop(fx);
    drop(fy);
    reference *all[] = {&x, &y, &theirs};
    for (size_t i = 0; i < 3; i++) lm_free(all[i]->at);
}

TEST(pqmass_draws_references_as_the_package_does)
{
    meet_retessellations("same_gauss", 50);
    meet_retessellations("shifted_gauss", 40);
    meet_retessellations("images_dropped_population", 30);
}

/* ---- its law -------------------------------------------------------------------------------------------------------- */

/* n samples of N(mean, sd)^d */
static double *gauss(size_t n, size_t d, double mean, double sd, uint64_t seed)
{
    lm_digest key = lm_digest_of(&seed, sizeof seed);
    lm_random random = lm_random_stream(&key, 0);
    double *samples = lm_alloc(n, d * sizeof *samples);
    CHECK(samples);
    for (size_t i = 0; i < n * d; i++) samples[i] = mean + sd * lm_random_normal(&random);
    return samples;
}

static feed gauss_stack(size_t n, size_t d, double mean, double sd, uint64_t seed)
{
    double *samples = gauss(n, d, mean, sd, seed);
    feed f = stack("gauss", samples, n, d, false);
    lm_free(samples);
    return f;
}

TEST(pqmass_null_follows_chi_square)
{
    enum { TRIALS = 300 };
    double p[TRIALS], sum = 0, square = 0, freedom = 0;
    for (uint64_t t = 0; t < TRIALS; t++) {
        feed x = gauss_stack(400, 5, 3, 2, 2 * t), y = gauss_stack(500, 5, 3, 2, 2 * t + 1);
        lm_record *out = test("{\"regions\": 50}", x, y, (feed){0}, t);
        p[t] = exp(attr(out, "log_p"));
        sum += attr(out, "chi2_rescaled") / TRIALS;
        square += pow(attr(out, "chi2_rescaled"), 2) / TRIALS;
        freedom += attr(out, "dof") / TRIALS;
        lm_record_unref(out);
        drop(x);
        drop(y);
    }
    CHECK(freedom > 48 && freedom <= 49);
    NEAR(sum, 49, ABS(4 * sqrt(2 * 49.0 / TRIALS)));                 /* 4 standard errors */
    NEAR(square - sum * sum, 98, ABS(4 * 98 * sqrt(2.24 / TRIALS))); /* kurtosis 12/49 */
    CHECK(lm_ks_tail(lm_ks_uniform(p, TRIALS), TRIALS) > 1e-4);
}

TEST(pqmass_finds_a_difference)
{
    feed x = gauss_stack(500, 10, 0, 1, 1), y = gauss_stack(400, 10, 0.5, 1, 2), far = gauss_stack(400, 10, 50, 1, 3);
    lm_record *out = test("{}", x, y, (feed){0}, 0);
    CHECK(attr(out, "log_p") < -20);
    CHECK(attr(out, "chi2_rescaled") > 142.6);
    lm_record_unref(out);
    /* sets that share no cell: chi2 = n, p = 1e-87 or so; the same with 10 000 samples would underflow */
    out = test("{\"permutations\": 99}", x, far, (feed){0}, 0);
    NEAR(attr(out, "chi2"), 800, ABS(1e-9));
    NEAR(attr(out, "p_permutation"), 0.01, ABS(1e-15));
    lm_record_unref(out);
    drop(x);
    drop(y);
    drop(far);
    x = gauss_stack(6000, 2, 0, 1, 1);
    y = gauss_stack(6000, 2, 50, 1, 2);
    out = test("{\"regions\": 20}", x, y, (feed){0}, 0);
    CHECK(attr(out, "log_p") < -5000); /* p < 10^-2171 */
    NEAR(attr(out, "chi2_rescaled"), 11980, REL(1e-9));
    lm_record_unref(out);
    drop(x);
    drop(y);
}

/* Copies: chi2 far below its degrees of freedom. */
TEST(pqmass_finds_copies)
{
    double *samples = gauss(2000, 4, 0, 1, 7);
    feed x = stack("x", samples, 2000, 4, false), y = stack("copy", samples, 2000, 4, false);
    lm_record *out = test("{}", x, y, (feed){0}, 0);
    CHECK(attr(out, "chi2") < 0.2 * attr(out, "dof")); /* not 0: references leave one set only */
    CHECK(attr(out, "log_p") > -1e-6);
    lm_record_unref(out);
    feed points = stack("points", samples, 20, 4, false);
    out = test("{\"references\": \"given\", \"permutations\": 50}", x, y, points, 0);
    CHECK(attr(out, "chi2") == 0); /* nothing is taken out */
    CHECK(attr(out, "chi2_rescaled") == 0);
    CHECK(attr(out, "p_permutation") == 1);
    EQUAL_INT(attr(out, "dof"), 19);
    lm_record_unref(out);
    drop(x);
    drop(y);
    drop(points);
    lm_free(samples);
}

TEST(pqmass_permutation_p_is_uniform_under_the_null)
{
    enum { TRIALS = 120 };
    double p[TRIALS];
    for (uint64_t t = 0; t < TRIALS; t++) {
        feed x = gauss_stack(80, 3, 0, 1, 1000 + 2 * t), y = gauss_stack(60, 3, 0, 1, 1001 + 2 * t);
        lm_record *out = test("{\"regions\": 10, \"tessellations\": 4, \"permutations\": 199}", x, y, (feed){0}, t);
        p[t] = attr(out, "p_permutation");
        EQUAL_INT(lm_tensor_count(lm_record_tensor(out, "chi2_each")), 4);
        lm_record_unref(out);
        drop(x);
        drop(y);
    }
    CHECK(lm_ks_tail(lm_ks_uniform(p, TRIALS) - 0.005, TRIALS) > 1e-3); /* p is a multiple of 1/200 */
}

TEST(pqmass_tessellations)
{
    feed x = gauss_stack(600, 6, 0, 1, 5), y = gauss_stack(500, 6, 0, 1.3, 6);
    lm_record *one = test("{\"regions\": 40}", x, y, (feed){0}, 0);
    lm_record *many = test("{\"regions\": 40, \"tessellations\": 20}", x, y, (feed){0}, 0);
    const double *each = data(many, "chi2_each");
    const int64_t *dof = lm_record_tensor(many, "dof_each")->data;
    CHECK(each[0] == attr(many, "chi2") && dof[0] == (int64_t)attr(many, "dof"));
    double mean = 0;
    size_t different = 0;
    for (size_t t = 0; t < 20; t++) {
        double rescaled = lm_chi2_from_log_tail(lm_log_chi2_tail(each[t], (double)dof[t]), 39);
        mean += rescaled / 20;
        different += each[t] != each[0];
    }
    NEAR(attr(many, "chi2_mean"), mean, REL(1e-12));
    EQUAL_INT(different, 19);
    EQUAL_INT(lm_tensor_count(lm_record_tensor(one, "chi2_each")), 1);
    lm_record_unref(one);
    lm_record_unref(many);
    drop(x);
    drop(y);
}

/* Standardising: the units of a dimension, and a constant dimension, do not matter. Powers of two keep every rounding. */
TEST(pqmass_standardise)
{
    enum { N = 300, D = 5 };
    double *a = gauss(N, D, 0, 1, 11), *b = gauss(N, D, 0.2, 1, 12), *points = gauss(30, D, 0, 1, 13);
    lm_record *out[2];
    for (int k = 0; k < 2; k++) {
        feed x = stack("x", a, N, D, false), y = stack("y", b, N, D, false), r = stack("r", points, 30, D, false);
        out[k] = test("{\"references\": \"given\", \"standardise\": true}", x, y, r, 0);
        drop(x);
        drop(y);
        drop(r);
        double *all[] = {a, b, points};
        size_t n[] = {N, N, 30};
        for (size_t s = 0; s < 3; s++)
            for (size_t i = 0; i < n[s]; i++) {
                all[s][i * D] *= 4096;
                all[s][i * D + 3] /= 1024;
            }
    }
    for (size_t i = 0; i < 30; i++) {
        EQUAL_INT(((int64_t *)lm_record_tensor(out[0], "counts_x")->data)[i],
                  ((int64_t *)lm_record_tensor(out[1], "counts_x")->data)[i]);
        EQUAL_INT(((int64_t *)lm_record_tensor(out[0], "counts_y")->data)[i],
                  ((int64_t *)lm_record_tensor(out[1], "counts_y")->data)[i]);
    }
    /* against a plain computation: pooled mean and sd (n - 1), then argmin in double */
    double mean[D] = {0}, sd[D] = {0};
    for (size_t k = 0; k < D; k++) {
        for (size_t i = 0; i < N; i++) mean[k] += (a[i * D + k] + b[i * D + k]) / (2 * N);
        for (size_t i = 0; i < N; i++) sd[k] += pow(a[i * D + k] - mean[k], 2) + pow(b[i * D + k] - mean[k], 2);
        sd[k] = sqrt(sd[k] / (2 * N - 1));
    }
    int64_t counts[30] = {0};
    for (size_t i = 0; i < N; i++) {
        size_t best = 0;
        double least = INFINITY;
        for (size_t j = 0; j < 30; j++) {
            double distance = 0;
            for (size_t k = 0; k < D; k++) distance += pow((a[i * D + k] - points[j * D + k]) / sd[k], 2);
            if (distance < least) {
                least = distance;
                best = j;
            }
        }
        counts[best]++;
    }
    for (size_t j = 0; j < 30; j++) EQUAL_INT(((int64_t *)lm_record_tensor(out[0], "counts_x")->data)[j], counts[j]);
    lm_record_unref(out[0]);
    lm_record_unref(out[1]);
    for (size_t i = 0; i < N; i++) a[i * D + 1] = b[i * D + 1] = 0.1; /* a constant dimension */
    for (size_t i = 0; i < 30; i++) points[i * D + 1] = 0.1;
    feed x = stack("x", a, N, D, false), y = stack("y", b, N, D, false), r = stack("r", points, 30, D, false);
    lm_record *constant = test("{\"references\": \"given\", \"standardise\": true}", x, y, r, 0);
    CHECK(isfinite(attr(constant, "chi2")));
    lm_record_unref(constant);
    drop(x);
    drop(y);
    drop(r);
    lm_free(a);
    lm_free(b);
    lm_free(points);
}

TEST(pqmass_of_numbers)
{
    feed x = gauss_stack(2000, 1, 0, 1, 21), y = gauss_stack(2000, 1, 0, 1, 22), z = gauss_stack(2000, 1, 0.5, 1, 23);
    lm_record *out = test("{\"regions\": 20}", x, y, (feed){0}, 0);
    CHECK(attr(out, "log_p") > log(1e-3));
    lm_record_unref(out);
    out = test("{\"regions\": 20}", x, z, (feed){0}, 0);
    CHECK(attr(out, "log_p") < -20);
    lm_record_unref(out);
    drop(x);
    drop(y);
    drop(z);
}

TEST(pqmass_repeats_with_its_key)
{
    feed x = gauss_stack(300, 4, 0, 1, 31), y = gauss_stack(300, 4, 0, 1, 32);
    lm_record *a = test("{\"regions\": 30}", x, y, (feed){0}, 1), *b = test("{\"regions\": 30}", x, y, (feed){0}, 1);
    lm_record *c = test("{\"regions\": 30}", x, y, (feed){0}, 2);
    CHECK(attr(a, "chi2") == attr(b, "chi2"));
    CHECK(attr(a, "chi2") != attr(c, "chi2"));
    lm_record_unref(a);
    lm_record_unref(b);
    lm_record_unref(c);
    drop(x);
    drop(y);
}

/* ---- odd inputs ----------------------------------------------------------------------------------------------------- */

TEST(pqmass_names_what_is_wrong)
{
    refuses("{}", gauss_stack(60, 2, 0, 1, 1), gauss_stack(60, 2, 0, 1, 2), "too few for 100 regions");
    refuses("{\"regions\": 10}", gauss_stack(60, 2, 0, 1, 1), gauss_stack(60, 3, 0, 1, 2),
            "have 3 numbers each, those before it 2");
    refuses("{\"regions\": 10}", gauss_stack(60, 2, 0, 1, 1), (feed){0}, "port \"y\" has no samples");
    refuses("{\"regions\": 10}", gauss_stack(100, 2, 0, 1, 1), gauss_stack(1, 2, 0, 1, 2),
            "cannot be drawn from 100 and 1 samples");
    refuses("{\"regions\": 10, \"tensor\": \"theta\"}", gauss_stack(60, 2, 0, 1, 1), gauss_stack(60, 2, 0, 1, 2),
            "no tensor \"theta\"");
    refuses("{\"regions\": 10, \"references\": \"given\"}", gauss_stack(60, 2, 0, 1, 1), gauss_stack(60, 2, 0, 1, 2),
            "port \"references\" has 0 points");
    refuses("{\"regions\": 5}", gauss_stack(60, 2, 1, 0, 1), gauss_stack(60, 2, 1, 0, 2),
            "all samples lie in one of 5 regions");
    double *bad = gauss(60, 2, 0, 1, 1);
    bad[2 * 17 + 1] = NAN;
    for (int standardise = 0; standardise < 2; standardise++) {
        const char *params = standardise ? "{\"regions\": 10, \"standardise\": true}" : "{\"regions\": 10}";
        refuses(params, stack("draws", bad, 60, 2, false), gauss_stack(60, 2, 0, 1, 2),
                "sample 17 of record \"draws\" of port \"x\"");
        refuses(params, gauss_stack(60, 2, 0, 1, 2), apart(bad, 60, 2, true), "record \"stamp-17\" of port \"y\"");
    }
    lm_free(bad);
    double *one = gauss(1, 2, 0, 1, 1);
    refuses("{\"regions\": 5}", gauss_stack(60, 2, 0, 1, 1), apart(one, 1, 2, false), "port \"y\" has one sample only");
    lm_free(one);
    lm_record *out;
    lm_error err = {0};
    EQUAL_INT(try("{\"references\": \"given\", \"tessellations\": 3}", (feed){0}, (feed){0}, (feed){0}, 0, &out, &err),
              LM_EGRAPH);
    CONTAINS(err.text, "one tessellation, not 3");
}

TEST(pqmass_of_an_empty_window)
{
    lm_record *out = test("{}", (feed){0}, (feed){0}, (feed){0}, 0);
    CHECK(out);
    EQUAL_INT(attr(out, "n_x"), 0);
    EQUAL_INT(lm_tensor_count(lm_record_tensor(out, "counts_x")), 0);
    CHECK(isnan(attr(out, "chi2")));
    lm_record_unref(out);
}
