/* filter, expect, split, merge, sample: operators that pass records on. */
#include "operators/builtin.h"
#include "runtime/registry.h"
#include "tests/apply.h"
#include "tests/test.h"

static lm_error *err = &(lm_error){0};

static const lm_operator *op(const char *name)
{
    if (!lm_registry_count()) lm_registry_builtin(lm_builtin_operators);
    const lm_operator *found = lm_registry_find(name);
    if (!found) FAIL("no operator \"%s\"", name);
    return found;
}

static lm_record *galaxy(double mag)
{
    lm_record *r = record_new("cosmos-7");
    record_set(r, "MAG", lm_real(mag));
    record_set(r, "BAND", lm_text_value("F814W"));
    record_set(r, "UNDEF", lm_null());
    record_f32(r, "image", (double[]){1, 2, 3, 4}, 2, (size_t[]){2, 2});
    return r;
}

/* Port 0's record, or NULL; the status in *status. */
static lm_record *run(const char *name, const char *params, const lm_record *in, uint64_t index, unsigned port,
                      lm_status *status)
{
    lm_record *outputs[LM_MAX_PORTS] = {NULL};
    apply_input inputs[] = {{"in", &in, 1}, {NULL, NULL, 0}};
    *status = apply_step(op(name), params, inputs, index, outputs, NULL, err);
    lm_record *kept = lm_take(outputs[port]);
    for (unsigned i = 0; i < LM_MAX_PORTS; i++) lm_record_unref(outputs[i]);
    return kept;
}

TEST(filter_keeps_what_meets_the_condition)
{
    LM_OWN(lm_record) in = galaxy(25);
    LM_OWN(lm_record) bright = apply(op("filter"), "{\"where\": \".attrs.MAG < 26\"}", in);
    CHECK(bright == in); /* the same record, not a copy: nothing is stored twice */
    CHECK(!apply(op("filter"), "{\"where\": \".attrs.MAG > 26\"}", in));
    lm_status status;
    CHECK(!run("filter", "{\"where\": \".attrs.MGA < 26\"}", in, 0, 0, &status));
    EQUAL_INT(status, LM_EINPUT);
    CONTAINS(err->hint, "\"MAG\"");
    CHECK(!run("filter", "{\"where\": \".attrs.UNDEF < 26\"}", in, 0, 0, &status));
    EQUAL_INT(status, LM_EINPUT);
    CHECK(!run("filter", "{\"where\": \".attrs.MAG <\"}", in, 0, 0, &status));
    EQUAL_INT(status, LM_EGRAPH);
    CHECK(!run("filter", "{}", in, 0, 0, &status));
    EQUAL_INT(status, LM_EGRAPH);
}

TEST(expect_says_why)
{
    LM_OWN(lm_record) in = galaxy(25);
    lm_status status;
    LM_OWN(lm_record) same = run("expect", "{\"where\": \".attrs.MAG < 26\", \"say\": \"no\"}", in, 0, 0, &status);
    CHECK(same == in);
    CHECK(!run("expect", "{\"where\": \".attrs.MAG < 22\", \"say\": \"{id} has {MAG} mag\"}", in, 0, 0, &status));
    EQUAL_INT(status, LM_EINPUT);
    EQUAL_TEXT(err->text, "cosmos-7 has 25 mag");
    CONTAINS(err->hint, ".attrs.MAG < 22");
    CHECK(!run("expect", "{\"where\": \".attrs.MAG < 22\", \"say\": \"{NOPE} is bad\"}", in, 0, 0, &status));
    EQUAL_INT(status, LM_EINPUT);
    EQUAL_TEXT(err->text, "{NOPE} is bad");
    CHECK(!run("expect", "{\"where\": \".attrs.MAG < 22\"}", in, 0, 0, &status));
    EQUAL_TEXT(err->text, "the record is not as expected: .attrs.MAG < 22");
}

TEST(split_has_two_ports)
{
    LM_OWN(lm_record) in = galaxy(25);
    lm_status status;
    for (int bright = 0; bright < 2; bright++) {
        const char *params = bright ? "{\"where\": \".attrs.MAG < 26\"}" : "{\"where\": \".attrs.MAG > 26\"}";
        LM_OWN(lm_record) accepted = run("split", params, in, 0, 0, &status);
        EQUAL_INT(status, LM_OK);
        LM_OWN(lm_record) rejected = run("split", params, in, 0, 1, &status);
        CHECK(accepted == (bright ? in : NULL));
        CHECK(rejected == (bright ? NULL : in));
    }
    CHECK(!run("split", "{\"where\": \".attrs.NOPE > 26\"}", in, 0, 0, &status));
    EQUAL_INT(status, LM_EINPUT);
}

TEST(merge_passes_records)
{
    LM_OWN(lm_record) in = galaxy(25);
    LM_OWN(lm_record) out = apply(op("merge"), "{}", in);
    CHECK(out == in);
}

TEST(sample_keeps_a_fraction)
{
    LM_OWN(lm_record) in = galaxy(25);
    lm_status status;
    int kept = 0, again = 0;
    enum { N = 2000 };
    for (uint64_t i = 0; i < N; i++) { /* the harness makes another key for each index */
        LM_OWN(lm_record) out = run("sample", "{\"fraction\": 0.3}", in, i, 0, &status);
        EQUAL_INT(status, LM_OK);
        LM_OWN(lm_record) second = run("sample", "{\"fraction\": 0.3}", in, i, 0, &status);
        CHECK(!out == !second); /* the same key, the same answer */
        kept += out != NULL;
        again += second == in;
    }
    NEAR(kept, 0.3 * N, ABS(5 * sqrt(N * 0.3 * 0.7))); /* five standard deviations of the binomial */
    EQUAL_INT(kept, again);
    CHECK(!run("sample", "{\"fraction\": 0}", in, 0, 0, &status));
    LM_OWN(lm_record) all = run("sample", "{\"fraction\": 1}", in, 0, 0, &status);
    CHECK(all == in);
    CHECK(!run("sample", "{\"fraction\": 1.5}", in, 0, 0, &status));
    EQUAL_INT(status, LM_EGRAPH);
}

TEST(tables_are_sound)
{
    const char *const names[] = {"filter", "expect", "split", "merge",   "sample",
                                 "set",    "select", "stack", "unstack", "count"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) OK(lm_operator_check(op(names[i]), err), err);
}
