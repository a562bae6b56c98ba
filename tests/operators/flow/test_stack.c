/* stack, unstack and count. */
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

static lm_status gather(const char *name, const char *params, const lm_record *const *members, size_t n)
{
    lm_record *outputs[LM_MAX_PORTS] = {NULL};
    apply_input inputs[] = {{"in", members, n}, {NULL, NULL, 0}};
    lm_error_clear(err);
    lm_status status = apply_step(op(name), params, inputs, 0, outputs, NULL, err);
    for (unsigned i = 0; i < LM_MAX_PORTS; i++) lm_record_unref(outputs[i]);
    return status;
}

/* Record i of three: image [2, 3] of 10 i + 0 ... 5 in counts, MAG 20 + i, BAND the same for all, N i */
static lm_record *member(int i)
{
    char id[16];
    snprintf(id, sizeof id, "g%d", i);
    lm_record *r = record_new(id);
    double data[6];
    for (int k = 0; k < 6; k++) data[k] = 10 * i + k;
    record_f32(r, "image", data, 2, (size_t[]){2, 3});
    OK(lm_tensor_set_unit(lm_record_tensor(r, "image"), "ct", err), err);
    record_set(r, "MAG", lm_real(20 + i));
    record_set(r, "BAND", lm_text_value("F814W"));
    record_set(r, "KIND", i == 1 ? lm_null() : lm_text_value(i ? "late" : "early"));
    return r;
}

TEST(stack_then_unstack_gives_the_records_back)
{
    lm_record *members[3];
    for (int i = 0; i < 3; i++) members[i] = member(i);
    LM_OWN(lm_record)
    all = apply_gather(op("stack"), "{\"attrs\": [\"MAG\"], \"id\": \"cube\"}", (const lm_record *const *)members, 3);
    EQUAL_TEXT(lm_record_id(all), "cube");
    const lm_tensor *cube = lm_record_tensor(all, "image");
    EQUAL_INT(cube->ndim, 3);
    EQUAL_INT(cube->shape[0], 3);
    EQUAL_INT(cube->shape[1], 2);
    EQUAL_INT(cube->shape[2], 3);
    EQUAL_INT(cube->dtype, LM_F32);
    EQUAL_TEXT(cube->unit, "ct");
    for (size_t k = 0; k < 18; k++) NEAR(lm_tensor_get(cube, k), (double)(10 * (k / 6) + k % 6), ABS(0)); /* copies */
    const lm_tensor *mag = lm_record_tensor(all, "MAG");
    EQUAL_INT(mag->ndim, 1);
    for (size_t k = 0; k < 3; k++) NEAR(lm_tensor_get(mag, k), 20.0 + (double)k, ABS(0));
    EQUAL_TEXT(lm_record_value(all, "BAND").text, "F814W"); /* equal in all */
    CHECK(!lm_record_attr(all, "KIND"));
    CHECK(!lm_record_attr(all, "MAG"));
    EQUAL_TEXT(lm_record_value(all, "ids").text, "g0\ng1\ng2");
    EQUAL_INT(lm_record_value(all, "count").integer, 3);
    EQUAL_INT(lm_record_value(all, "missing").integer, 0);

    for (uint64_t i = 0; i < 4; i++) {
        lm_record *outputs[LM_MAX_PORTS] = {NULL};
        const lm_record *in = all;
        apply_input inputs[] = {{"in", &in, 1}, {NULL, NULL, 0}};
        bool ended = false;
        OK(apply_step(op("unstack"), "{\"attrs\": [\"MAG\"]}", inputs, i, outputs, &ended, err), err);
        CHECK(ended == (i == 3));
        if (ended) break;
        LM_OWN(lm_record) one = outputs[0];
        char id[32];
        snprintf(id, sizeof id, "cube-%04d", (int)i);
        EQUAL_TEXT(lm_record_id(one), id);
        EQUAL_INT(lm_record_value(one, "index").integer, i);
        NEAR(lm_record_value(one, "MAG").real, 20 + (double)i, ABS(0));
        CHECK(!lm_record_tensor(one, "MAG"));
        const lm_tensor *a = lm_record_tensor(one, "image"), *b = lm_record_tensor(members[i], "image");
        CHECK(lm_tensor_same_shape(a, b) && a->dtype == b->dtype && memcmp(a->data, b->data, b->bytes) == 0);
        EQUAL_TEXT(a->unit, "ct");
    }
    for (int i = 0; i < 3; i++) lm_record_unref(members[i]);
}

TEST(stack_of_nothing_is_an_empty_result)
{
    LM_OWN(lm_record) none = apply_gather(op("stack"), "{}", NULL, 0);
    EQUAL_INT(lm_record_value(none, "count").integer, 0);
    EQUAL_INT(lm_record_tensor_count(none), 0);
    LM_OWN(lm_record) columns = apply_gather(op("stack"), "{\"attrs\": [\"MAG\"]}", NULL, 0);
    EQUAL_INT(lm_record_tensor(columns, "MAG")->shape[0], 0);
}

TEST(stack_names_the_record_that_does_not_fit)
{
    LM_OWN(lm_record) a = member(0);
    LM_OWN(lm_record) b = member(1);
    const lm_record *both[] = {a, b};
    record_f32(b, "image", (double[]){1, 2, 3, 4}, 2, (size_t[]){2, 2});
    OK(lm_tensor_set_unit(lm_record_tensor(b, "image"), "ct", err), err);
    EQUAL_INT(gather("stack", "{}", both, 2), LM_EINPUT);
    EQUAL_TEXT(err->text, "tensor \"image\" of record \"g1\" is float32 [2, 2], that of \"g0\" is float32 [2, 3]");
    record_f64(b, "image", (double[]){1, 2, 3, 4, 5, 6}, 2, (size_t[]){2, 3});
    EQUAL_INT(gather("stack", "{}", both, 2), LM_EINPUT);
    CONTAINS(err->text, "is float64 [2, 3]");
    record_f32(b, "image", (double[]){1, 2, 3, 4, 5, 6}, 2, (size_t[]){2, 3});
    EQUAL_INT(gather("stack", "{}", both, 2), LM_EINPUT);
    CONTAINS(err->text, "has the unit \"\", that of \"g0\" has \"ct\"");
    EQUAL_INT(gather("stack", "{\"tensors\": [\"imgae\"]}", both, 2), LM_EINPUT);
    CONTAINS(err->hint, "\"image\"");
    EQUAL_INT(gather("stack", "{\"attrs\": [\"BAND\"], \"tensors\": [\"image\"]}", both, 1), LM_EINPUT);
    CONTAINS(err->text, "no number");
    EQUAL_INT(gather("stack", "{\"attrs\": [\"NOPE\"]}", both, 1), LM_EINPUT);
    EQUAL_INT(gather("stack", "{\"attrs\": [\"x\"], \"tensors\": [\"x\"]}", both, 1), LM_EGRAPH);
}

/* draws [2, 3, 2], truth [3, 2], psf [2]: three simulations */
static lm_record *simulations(void)
{
    lm_record *r = record_new("sims");
    double draws[12], truth[6];
    for (int k = 0; k < 12; k++) draws[k] = k;
    for (int k = 0; k < 6; k++) truth[k] = 100 + k;
    record_f64(r, "draws", draws, 3, (size_t[]){2, 3, 2});
    record_f64(r, "truth", truth, 2, (size_t[]){3, 2});
    record_f64(r, "psf", (double[]){7, 8}, 1, (size_t[]){2});
    record_set(r, "SURVEY", lm_text_value("x"));
    return r;
}

static lm_status unstack(const char *params, const lm_record *in, uint64_t index, lm_record **ret)
{
    lm_record *outputs[LM_MAX_PORTS] = {NULL};
    apply_input inputs[] = {{"in", &in, 1}, {NULL, NULL, 0}};
    lm_error_clear(err);
    lm_status status = apply_step(op("unstack"), params, inputs, index, outputs, NULL, err);
    *ret = outputs[0];
    return status;
}

TEST(unstack_takes_an_axis_a_tensor)
{
    LM_OWN(lm_record) in = simulations();
    LM_OWN(lm_record) one = NULL;
    OK(unstack("{\"axis\": {\"draws\": 1, \"truth\": 0}, \"id\": \"{SURVEY}_{index}_{id}\"}", in, 2, &one), err);
    EQUAL_TEXT(lm_record_id(one), "x_0002_sims");
    const lm_tensor *draws = lm_record_tensor(one, "draws"), *truth = lm_record_tensor(one, "truth");
    EQUAL_INT(draws->ndim, 2);
    const double expected[] = {4, 5, 10, 11}; /* draws[:, 2, :] */
    for (size_t k = 0; k < 4; k++) NEAR(lm_tensor_get(draws, k), expected[k], ABS(0));
    EQUAL_INT(truth->ndim, 1);
    NEAR(lm_tensor_get(truth, 0), 104, ABS(0));
    CHECK(lm_record_tensor(one, "psf") == lm_record_tensor(in, "psf")); /* stays whole, and shared */
    one = lm_record_unref(one);
    OK(unstack("{\"axis\": {\"draws\": -1}}", in, 1, &one), err);
    const double last[] = {1, 3, 5, 7, 9, 11}; /* draws[:, :, 1] */
    for (size_t k = 0; k < 6; k++) NEAR(lm_tensor_get(lm_record_tensor(one, "draws"), k), last[k], ABS(0));
}

TEST(unstack_faults)
{
    LM_OWN(lm_record) in = simulations();
    lm_record *none = NULL;
    EQUAL_INT(unstack("{}", in, 0, &none), LM_EINPUT);
    EQUAL_TEXT(err->text, "tensor \"truth\" has 3 places along axis 0, but \"draws\" has 2");
    EQUAL_INT(unstack("{\"axis\": {\"draws\": 3}}", in, 0, &none), LM_EINPUT);
    EQUAL_TEXT(err->text, "tensor \"draws\" of shape [2, 3, 2] has no axis 3");
    EQUAL_INT(unstack("{\"axis\": {\"draws\": -4}}", in, 0, &none), LM_EINPUT);
    EQUAL_INT(unstack("{\"axis\": {\"nope\": 0}}", in, 0, &none), LM_EINPUT);
    CONTAINS(err->text, "no tensor \"nope\"");
    EQUAL_INT(unstack("{\"axis\": {\"draws\": 0}, \"attrs\": [\"truth\"]}", in, 0, &none), LM_EINPUT);
    CONTAINS(err->text, "cannot become an attribute");
    EQUAL_INT(unstack("{\"axis\": \"draws\"}", in, 0, &none), LM_EGRAPH);
    EQUAL_INT(unstack("{\"axis\": {\"draws\": 12}}", in, 0, &none), LM_EGRAPH);
    EQUAL_INT(unstack("{\"axis\": {}}", in, 0, &none), LM_EGRAPH);
    LM_OWN(lm_record) empty = record_new("nothing");
    EQUAL_INT(unstack("{}", empty, 0, &none), LM_EINPUT);
    CHECK(!none);
}

TEST(count_all_and_by_an_attribute)
{
    lm_record *members[4];
    for (int i = 0; i < 4; i++) members[i] = member(i);
    const lm_record *const *list = (const lm_record *const *)members;
    LM_OWN(lm_record) plain = apply_gather(op("count"), "{}", list, 4);
    EQUAL_INT(lm_record_value(plain, "count").integer, 4);
    EQUAL_INT(lm_record_value(plain, "missing").integer, 0);
    LM_OWN(lm_record) by = apply_gather(op("count"), "{\"by\": \"KIND\"}", list, 4);
    EQUAL_INT(lm_record_value(by, "count_early").integer, 1);
    EQUAL_INT(lm_record_value(by, "count_late").integer, 2);
    EQUAL_INT(lm_record_value(by, "count_undefined").integer, 1);
    LM_OWN(lm_record) none = apply_gather(op("count"), "{\"by\": \"KIND\"}", NULL, 0);
    EQUAL_INT(lm_record_value(none, "count").integer, 0);
    EQUAL_INT(gather("count", "{\"by\": \"MAG\", \"groups\": 3}", list, 4), LM_EINPUT);
    CONTAINS(err->text, "more than 3 different values");
    for (int i = 0; i < 4; i++) lm_record_unref(members[i]);
}

TEST(each_allocation_may_fail)
{
    lm_record *members[3];
    for (int i = 0; i < 3; i++) members[i] = member(i);
    LM_OWN(lm_record) sims = simulations();
    const lm_record *const *list = (const lm_record *const *)members;
    const lm_record *one[] = {sims};
    const struct {
        const char *name, *params;
        const lm_record *const *records;
        size_t n;
    } cases[] = {{"stack", "{\"attrs\": [\"MAG\"]}", list, 3},
                 {"unstack", "{\"axis\": {\"draws\": 1, \"truth\": 0}}", one, 1},
                 {"count", "{\"by\": \"KIND\"}", list, 3}};
    for (size_t c = 0; c < 3; c++) {
        int refused = 0;
        for (uint64_t n = 2;; n++) { /* 1: the harness itself, for the operator's struct */
            lm_record *outputs[LM_MAX_PORTS] = {NULL};
            apply_input inputs[] = {{"in", cases[c].records, cases[c].n}, {NULL, NULL, 0}};
            const lm_operator *o = op(cases[c].name);
            lm_alloc_fail_at(n);
            lm_status status = apply_step(o, cases[c].params, inputs, 0, outputs, NULL, err);
            bool fired = lm_alloc_count() >= n;
            lm_alloc_fail_at(0);
            lm_record_unref(outputs[0]);
            if (!fired) {
                EQUAL_INT(status, LM_OK);
                CHECK(refused > 5);
                break;
            }
            refused += status == LM_EMEMORY;
            CHECK(status == LM_EMEMORY || !status); /* a message may do without; a result may not */
        }
    }
    for (int i = 0; i < 3; i++) lm_record_unref(members[i]);
}
