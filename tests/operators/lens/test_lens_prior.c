/* lens.prior: draws have the distributions that are asked for, and each name and record its own stream. */
#include "tests/apply.h"
#include "tests/test.h"

#include "operators/core/lensing/mass.h"
#include "runtime/record.h"

#include <math.h>
#include <string.h>

extern const lm_operator lm_op_lens_prior;

static lm_record *drawn(const char *params, const lm_record *in, uint64_t index)
{
    lm_record *out[LM_MAX_PORTS] = {NULL};
    const apply_input inputs[] = {{"in", &in, 1}, {NULL, NULL, 0}};
    lm_error err = {0};
    OK(apply_step(&lm_op_lens_prior, params, inputs, index, out, NULL, &err), &err);
    return out[0];
}

static double at(const lm_record *record, const char *name)
{
    lm_value value = lm_record_value(record, name);
    if (value.kind != LM_KIND_REAL && value.kind != LM_KIND_INT) FAIL("no number \"%s\"", name);
    return lm_value_real(value);
}

enum { DRAWS = 4000 };

typedef struct {
    double mean, sd, min, max;
} moments;

static moments of(const double *x)
{
    moments m = {0, 0, INFINITY, -INFINITY};
    for (int i = 0; i < DRAWS; i++) m.mean += x[i] / DRAWS;
    for (int i = 0; i < DRAWS; i++) {
        m.sd += (x[i] - m.mean) * (x[i] - m.mean) / (DRAWS - 1);
        m.min = fmin(m.min, x[i]);
        m.max = fmax(m.max, x[i]);
    }
    m.sd = sqrt(m.sd);
    return m;
}

/* Means and standard deviations within 4.5 of their errors: sd/sqrt(n), and sd/sqrt(2n) or less for light tails. */
static void has(const double *x, double mean, double sd)
{
    moments m = of(x);
    NEAR(m.mean, mean, ABS(4.5 * sd / sqrt(DRAWS)));
    NEAR(m.sd, sd, REL(4.5 / sqrt(2.0 * DRAWS)));
}

TEST(draws_have_their_distributions)
{
    static double u[DRAWS], n[DRAWS], cut[DRAWS], a[DRAWS], b[DRAWS], product[DRAWS], row[DRAWS];
    LM_OWN(lm_record) in = record_new("survey");
    record_set(in, "mu", lm_real(3));
    const double x[] = {1, 2, 4}, y[] = {10, 20, 40};
    const size_t three[] = {3};
    record_f64(in, "x", x, 1, three);
    record_f64(in, "y", y, 1, three);
    for (uint64_t i = 0; i < DRAWS; i++) {
        LM_OWN(lm_record)
        out = drawn("{\"draw\": {\"u\": {\"uniform\": [-1, \"{mu}\"]}, \"n\": {\"normal\": [\"{mu}\", 0.5]}, \"phi\": "
                    "\"90 deg\", "
                    "\"cut\": {\"normal\": [0, 1], \"min\": 0}}, \"rows\": [\"x\", \"y\"], \"correlated\": "
                    "[{\"names\": [\"a\", \"b\"], "
                    "\"mean\": [1, \"{mu}\"], \"covariance\": [[1, 0.6], [0.6, 1]]}]}",
                    in, i);
        u[i] = at(out, "u");
        n[i] = at(out, "n");
        cut[i] = at(out, "cut");
        a[i] = at(out, "a");
        b[i] = at(out, "b");
        product[i] = (a[i] - 1) * (b[i] - 3);
        row[i] = at(out, "x");
        NEAR(at(out, "y"), 10 * row[i], ABS(0)); /* whole rows */
        NEAR(at(out, "phi"), M_PI / 2, REL(1e-15));
        CHECK(!lm_record_tensor(out, "x"));
    }
    has(u, 1, 4 / sqrt(12));
    CHECK(of(u).min >= -1 && of(u).max < 3);
    has(n, 3, 0.5);
    has(cut, sqrt(2 / M_PI), sqrt(1 - 2 / M_PI));
    CHECK(of(cut).min >= 0);
    has(a, 1, 1);
    has(b, 3, 1);
    NEAR(of(product).mean, 0.6, ABS(4.5 * sqrt((1 + 0.36) / DRAWS))); /* variance of a product: 1 + rho^2 */
    has(row, 7.0 / 3, sqrt(14.0 / 9));
}

TEST(ids_count_and_a_cut_of_several_holds)
{
    LM_OWN(lm_record) in = record_new("survey");
    for (uint64_t i = 0; i < 200; i++) {
        LM_OWN(lm_record)
        out = drawn(
            "{\"correlated\": [{\"names\": [\"a\", \"b\"], \"mean\": [0, 0], \"covariance\": [[1, 0.9], [0.9, 1]], "
            "\"min\": [0, -1], \"max\": [1, 0.5]}]}",
            in, i);
        CHECK(at(out, "a") >= 0 && at(out, "a") <= 1 && at(out, "b") >= -1 && at(out, "b") <= 0.5);
        if (i == 17) EQUAL_TEXT(lm_record_id(out), "survey-000017");
    }
}

static void refused(const char *params, const char *why)
{
    LM_OWN(lm_record) in = record_new("survey");
    lm_record *out[LM_MAX_PORTS] = {NULL};
    const apply_input inputs[] = {{"in", (const lm_record *const *)&in, 1}, {NULL, NULL, 0}};
    lm_error err = {0};
    EQUAL_INT(apply_step(&lm_op_lens_prior, params, inputs, 0, out, NULL, &err), LM_EINPUT);
    CONTAINS(err.text, why);
}

TEST(what_is_no_distribution_is_told)
{
    refused("{}", "nothing is drawn");
    refused("{\"draw\": {\"a\": {\"unifrom\": [0, 1]}}}", "\"unifrom\" is no distribution");
    refused("{\"draw\": {\"a\": {\"uniform\": [0]}}}", "a list of two numbers");
    refused("{\"draw\": {\"a\": {\"uniform\": [0, 1], \"normal\": [0, 1]}}}", "both uniform and normal");
    refused("{\"draw\": {\"a\": {\"min\": 1}}}", "without a distribution");
    refused("{\"draw\": {\"a\": {\"normal\": [0, -1]}}}", "\"a\"");
    refused("{\"draw\": {\"a\": {\"normal\": [\"{nothing}\", 1]}}}", "nothing");
    refused("{\"draw\": {\"a\": {\"table\": []}}}", "without values");
    refused("{\"draw\": {\"a\": {\"table\": \"t\"}}}", "no tensor \"t\"");
    refused("{\"rows\": [\"t\"]}", "no tensor \"t\"");
    refused("{\"correlated\": [{\"names\": [\"a\", \"b\"], \"mean\": [0, 0], \"covariance\": [[1, 2], [2, 1]]}]}",
            "not positive definite");
    refused("{\"correlated\": [{\"names\": [\"a\", \"b\"], \"mean\": [0, 0], \"covariance\": [[1, 0.2], [0.1, 1]]}]}",
            "not symmetric");
    refused("{\"correlated\": [{\"names\": [\"a\"], \"mean\": [0], \"covariance\": [[1]], \"min\": [50]}]}", "none of");
}

static const lm_tensor *table(const lm_record *record, const char *name, size_t columns)
{
    const lm_tensor *tensor = lm_record_tensor(record, name);
    if (!tensor || tensor->dtype != LM_F64 || tensor->ndim != 2 || tensor->shape[1] != columns) FAIL("no \"%s\"", name);
    return tensor;
}

/* Rows are the parameters of lens.maps' and lens.simulate's {type: tnfw, table: subhaloes}. */
TEST(haloes_are_masses_by_rows)
{
    LM_OWN(lm_record) in = record_new("survey");
    record_set(in, "z", lm_real(0.5));
    LM_OWN(lm_record)
    out = drawn("{\"z_lens\": \"{z}\", \"z_source\": 1.5, \"subhaloes\": {\"radius\": 2, \"x\": 1, \"m_min\": 1e7}, "
                "\"line_of_sight\": {\"dz\": 0.1, \"m_max\": 1e9}}",
                in, 0);
    const lm_tensor *subs = table(out, "subhaloes", 8), *others = table(out, "line_of_sight", 8),
                    *sheets = table(out, "sheets", 5);
    CHECK(subs->shape[0] > 50 && others->shape[0] > 200);
    EQUAL_INT(sheets->shape[0], 16); /* five planes before the lens, ten behind, and the lens */
    const lm_tensor *const both[] = {subs, others};
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < both[k]->shape[0]; i++) {
            const double *row = (const double *)both[k]->data + 8 * i;
            lm_mass mass = {.kind = LM_MASS_TNFW};
            lm_error err = {0};
            memcpy(mass.p, row, 5 * sizeof *row);
            OK(lm_mass_check(&mass, &err), &err);
            CHECK(row[6] >= 1e6 && row[6] <= 1e10 && row[7] > 1);
            if (k == 0) CHECK(hypot(row[3] - 1, row[4]) <= 2 && row[5] == 0.5 && row[6] >= 1e7);
            else CHECK(hypot(row[3], row[4]) <= 3 && row[5] > 0 && row[5] < 1.5 && row[6] <= 1e9);
            CHECK(k == 0 || i == 0 || row[5] >= row[5 - 8]);
        }
    const double *sheet = sheets->data;
    for (size_t i = 0; i < 16; i++, sheet += 5) {
        NEAR(sheet[3], i < 5 ? 0.1 * (double)i + 0.05 : i == 5 ? 0.5 : 0.1 * (double)i - 0.05, REL(1e-12));
        CHECK(sheet[0] < 0 && sheet[0] > -0.1);
        CHECK(i == 5 ? sheet[4] == 2 : i < 5 ? sheet[4] == 3 : sheet[4] < 3);
        CHECK(sheet[1] == (i == 5 ? 1 : 0) && sheet[2] == 0);
    }
    LM_OWN(lm_record) fixed = drawn("{\"z_lens\": 0.5, \"z_source\": 1.5, \"subhaloes\": {\"radius\": 2, \"x\": 1, "
                                    "\"m_min\": 1e7}, \"line_of_sight\": {\"dz\": 0.1, \"m_max\": 1e9}}",
                                    in, 0);
    NEAR_ARRAY((const double *)table(fixed, "sheets", 5)->data, (const double *)sheets->data, 48,
               ABS(0)); /* planned once */
}

/* What the node draws is known to its populations, before the input's attribute of the same name. */
TEST(a_population_follows_what_was_drawn)
{
    LM_OWN(lm_record) in = record_new("survey");
    record_set(in, "sigma_sub", lm_real(1e6));
    record_set(in, "z_lens", lm_real(0.4));
    record_set(in, "z_source", lm_real(2));
    double per[40], mean = 0;
    for (uint64_t i = 0; i < 40; i++) {
        LM_OWN(lm_record)
        out = drawn("{\"draw\": {\"sigma_sub\": {\"uniform\": [0.005, 0.05]}}, \"subhaloes\": {\"sigma_sub\": "
                    "\"{sigma_sub}\", \"m_min\": 1e7}}",
                    in, i);
        CHECK(!lm_record_tensor(out, "line_of_sight"));
        per[i] = (double)table(out, "subhaloes", 8)->shape[0] / at(out, "sigma_sub");
        mean += per[i] / 40;
    }
    double least = 0.005 * mean; /* haloes where there are fewest */
    CHECK(least > 20);
    for (int i = 0; i < 40; i++) NEAR(per[i] / mean, 1, ABS(5 / sqrt(least)));
}

TEST(warm_dark_matter_by_a_particle)
{
    LM_OWN(lm_record) in = record_new("survey");
    double n[2] = {0};
    for (uint64_t i = 0; i < 10; i++)
        for (int k = 0; k < 2; k++) {
            LM_OWN(lm_record)
            out = drawn(k ? "{\"z_lens\": 0.5, \"z_source\": 1, \"subhaloes\": {\"m_keV\": 3, \"warm\": [1e9, 1, -1]}}"
                          : "{\"z_lens\": 0.5, \"z_source\": 1, \"subhaloes\": {\"m_hm\": 5.1e8}}",
                        in, i);
            n[k] += (double)table(out, "subhaloes", 8)->shape[0];
        }
    CHECK(n[0] > 1000);      /* the default leaves a part */
    NEAR(n[1], 0, ABS(0.5)); /* this law leaves none */
}

TEST(what_is_no_population_is_told)
{
#define Z "\"z_lens\": 0.5, \"z_source\": 1.5, "
    refused("{" Z "\"subhaloes\": {\"sigma\": 1}}", "there is no \"sigma\"");
    refused("{" Z "\"line_of_sight\": {\"sigma_sub\": 1}}", "there is no \"sigma_sub\"");
    refused("{" Z "\"subhaloes\": {\"m_keV\": 3, \"m_hm\": 1e7}}", "both m_keV and m_hm");
    refused("{" Z "\"subhaloes\": {\"m_keV\": 0}}", "m_keV = 0");
    refused("{" Z "\"subhaloes\": {\"warm\": [1, 2]}}", "three numbers");
    refused("{" Z "\"subhaloes\": {\"concentration\": \"flat\"}}", "ludlow16 or duffy08");
    refused("{" Z "\"subhaloes\": {\"scatter_in\": \"magnitudes\"}}", "ln or dex");
    refused("{" Z "\"subhaloes\": {\"m_min\": \"many\"}}", "a number is wanted");
    refused("{" Z "\"subhaloes\": {\"radius\": 1000}}", "r200");
    refused("{" Z "\"line_of_sight\": {\"m_min\": 1e3, \"radius\": 1000}}", "haloes are expected");
    refused("{" Z "\"Omega_b\": 0.4, \"line_of_sight\": {}}", "Omega_b = 0.4");
    refused("{\"z_lens\": 1.5, \"z_source\": 0.5, \"subhaloes\": {}}", "not behind the lens");
    refused("{\"subhaloes\": {}}", "z_lens");
#undef Z
}

TEST(each_name_is_drawn_once)
{
    refused("{\"draw\": {\"a\": 1}, \"rows\": [\"a\"]}", "\"a\" is drawn twice");
    refused("{\"correlated\": [{\"names\": [\"a\", \"a\"], \"mean\": [0, 0], \"covariance\": [[1, 0], [0, 1]]}]}",
            "\"a\" is drawn twice");
    refused("{\"draw\": {\"id\": 1}}", "the id is no attribute");
}

/* In one run the key is that of all parameters: names and indices are told apart by streams. */
TEST(each_name_has_its_own_stream)
{
    LM_OWN(lm_record) in = record_new("survey");
    LM_OWN(lm_record) out = drawn("{\"draw\": {\"a\": {\"uniform\": [0, 1]}, \"b\": {\"uniform\": [0, 1]}}}", in, 0);
    CHECK(fabs(at(out, "a") - at(out, "b")) > 1e-9);
    LM_OWN(lm_record) again = drawn("{\"draw\": {\"b\": {\"uniform\": [0, 1]}, \"a\": {\"uniform\": [0, 1]}}}", in, 0);
    NEAR(at(again, "a"), at(out, "a"), ABS(0)); /* whatever stands first */
    LM_OWN(lm_record) next = drawn("{\"draw\": {\"a\": {\"uniform\": [0, 1]}, \"b\": {\"uniform\": [0, 1]}}}", in, 1);
    CHECK(fabs(at(next, "a") - at(out, "a")) > 1e-9);
}
