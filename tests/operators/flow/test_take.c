/* join, attach, lookup (what a record takes from another) and combine (one image of many). */
#include "operators/builtin.h"
#include "runtime/registry.h"
#include "tests/apply.h"
#include "tests/test.h"

static lm_error *err = &(lm_error){0};
static const char *const takers[] = {"join", "attach", "lookup"};
enum { TAKERS = 3 };

static const lm_operator *op(const char *name)
{
    if (!lm_registry_count()) lm_registry_builtin(lm_builtin_operators);
    const lm_operator *found = lm_registry_find(name);
    if (!found) FAIL("no operator \"%s\"", name);
    return found;
}

static lm_record *galaxy(void)
{
    lm_record *r = record_new("g1");
    record_f32(r, "image", (double[]){1, 2, 3, 4}, 2, (size_t[]){2, 2});
    record_f32(r, "psf", (double[]){1}, 2, (size_t[]){1, 1});
    record_set(r, "MAG", lm_real(21.5));
    record_set(r, "BAND", lm_text_value("F814W"));
    return r;
}

static lm_record *partner(void)
{
    lm_record *r = record_new("other");
    record_f32(r, "image", (double[]){5, 6, 7, 8}, 2, (size_t[]){2, 2});
    record_f32(r, "psf", (double[]){1}, 2, (size_t[]){1, 1}); /* equal, but another tensor */
    record_f32(r, "model", (double[]){9}, 1, (size_t[]){1});
    record_set(r, "MAG", lm_real(22.5));
    record_set(r, "BAND", lm_text_value("F814W"));
    record_set(r, "Z", lm_real(0.5));
    return r;
}

/* *ret: NULL after a failure */
static lm_status take(const char *name, const char *params, const lm_record *in, const lm_record *from, lm_record **ret)
{
    lm_record *outputs[LM_MAX_PORTS] = {NULL};
    apply_input inputs[] = {{"in", &in, 1}, {"from", &from, 1}, {NULL, NULL, 0}};
    lm_error_clear(err);
    lm_status status = apply_step(op(name), params, inputs, 0, outputs, NULL, err);
    *ret = outputs[0];
    return status;
}

TEST(everything_is_taken_unless_named)
{
    LM_OWN(lm_record) in = galaxy();
    LM_OWN(lm_record) from = partner();
    for (int i = 0; i < TAKERS; i++) {
        LM_OWN(lm_record) out = NULL;
        OK(take(takers[i], "{}", in, from, &out), err);
        EQUAL_TEXT(lm_record_id(out), "g1");
        EQUAL_INT(lm_record_tensor_count(out), 3);
        NEAR(lm_tensor_get(lm_record_tensor(out, "image"), 0), 5, ABS(0)); /* picked, as all here */
        NEAR(lm_tensor_get(lm_record_tensor(out, "model"), 0), 9, ABS(0));
        NEAR(lm_record_value(out, "MAG").real, 22.5, ABS(0));
        NEAR(lm_record_value(out, "Z").real, 0.5, ABS(0));
        if (lm_record_tensor(out, "model") != lm_record_tensor(from, "model")) FAIL("%s copied pixels", takers[i]);
    }
}

TEST(names_patterns_and_prefix)
{
    LM_OWN(lm_record) in = galaxy();
    LM_OWN(lm_record) from = partner();
    for (int i = 0; i < TAKERS; i++) {
        LM_OWN(lm_record) out = NULL;
        OK(take(takers[i], "{\"tensors\": [\"im*\"], \"attrs\": [\"Z\", \"NO*\"], \"prefix\": \"mean_\"}", in, from,
                &out),
           err);
        EQUAL_INT(lm_record_tensor_count(out), 3); /* image, psf, mean_image */
        NEAR(lm_tensor_get(lm_record_tensor(out, "image"), 0), 1, ABS(0));
        NEAR(lm_tensor_get(lm_record_tensor(out, "mean_image"), 0), 5, ABS(0));
        NEAR(lm_record_value(out, "mean_Z").real, 0.5, ABS(0));
        EQUAL_INT(lm_record_attr_count(out), 3); /* MAG, BAND, mean_Z */
        LM_OWN(lm_record) bare = NULL;
        OK(take(takers[i], "{\"tensors\": [], \"attrs\": []}", in, from, &bare), err);
        EQUAL_INT(lm_record_tensor_count(bare), 2);
        EQUAL_INT(lm_record_attr_count(bare), 2);
    }
}

TEST(clashes_are_settled_as_the_graph_says)
{
    LM_OWN(lm_record) in = galaxy();
    LM_OWN(lm_record) from = partner();
    LM_OWN(lm_record) out = NULL;
    OK(take("join", "{\"clash\": \"keep\"}", in, from, &out), err);
    NEAR(lm_tensor_get(lm_record_tensor(out, "image"), 0), 1, ABS(0));
    NEAR(lm_record_value(out, "MAG").real, 21.5, ABS(0));
    NEAR(lm_record_value(out, "Z").real, 0.5, ABS(0));
    LM_OWN(lm_record) equal = NULL; /* equal ones do not clash */
    OK(take("join", "{\"clash\": \"refuse\", \"tensors\": [\"psf\"], \"attrs\": [\"BAND\"]}", in, from, &equal), err);
    LM_OWN(lm_record) none = NULL;
    EQUAL_INT(take("join", "{\"clash\": \"refuse\", \"attrs\": []}", in, from, &none), LM_EINPUT);
    CONTAINS(err->text, "tensor \"image\" is there already");
    EQUAL_INT(take("join", "{\"clash\": \"refuse\", \"tensors\": []}", in, from, &none), LM_EINPUT);
    CONTAINS(err->text, "attribute \"MAG\" is there already");
}

TEST(what_is_not_there_is_named)
{
    LM_OWN(lm_record) in = galaxy();
    LM_OWN(lm_record) from = partner();
    LM_OWN(lm_record) none = NULL;
    EQUAL_INT(take("attach", "{\"tensors\": [\"modle\"]}", in, from, &none), LM_EINPUT);
    CONTAINS(err->text, "record \"other\" on port \"from\" has no tensor \"modle\"");
    CONTAINS(err->hint, "\"model\"");
    EQUAL_INT(take("lookup", "{\"tensors\": [], \"attrs\": [\"REDSHIFT\"]}", in, from, &none), LM_EINPUT);
    CONTAINS(err->text, "has no attribute \"REDSHIFT\"");
}

/* ---- combine ---- */

static lm_record *frame(const char *id, double a, double b, const char *unit)
{
    lm_record *r = record_new(id);
    record_f32(r, "image", (double[]){a, b}, 1, (size_t[]){2});
    OK(lm_tensor_set_unit(lm_record_tensor(r, "image"), unit, err), err);
    return r;
}

static lm_status combine(const char *params, const lm_record *const *members, size_t n, lm_record **ret)
{
    lm_record *outputs[LM_MAX_PORTS] = {NULL};
    apply_input inputs[] = {{"in", members, n}, {NULL, NULL, 0}};
    lm_error_clear(err);
    lm_status status = apply_step(op("combine"), params, inputs, 0, outputs, NULL, err);
    *ret = outputs[0];
    return status;
}

TEST(combine_leaves_out_what_is_no_number)
{
    lm_record *frames[4] = {frame("a", 1, NAN, "ct"), frame("b", 2, INFINITY, "ct"), frame("c", 6, NAN, "ct"),
                            frame("d", 100, NAN, "ct")};
    const lm_record *const *members = (const lm_record *const *)frames;
    static const struct {
        const char *params;
        size_t n;
        double value;
    } cases[] = {
        {"{}", 3, 3}, {"{\"how\": \"sum\"}", 3, 9}, {"{\"how\": \"median\"}", 3, 2}, {"{\"how\": \"median\"}", 4, 4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        LM_OWN(lm_record) out = NULL;
        OK(combine(cases[i].params, members, cases[i].n, &out), err);
        const lm_tensor *image = lm_record_tensor(out, "image");
        EQUAL_INT(image->dtype, LM_F64);
        EQUAL_TEXT(image->unit, "ct");
        NEAR(lm_tensor_get(image, 0), cases[i].value, ABS(0)); /* small integers: exact */
        if (!isnan(lm_tensor_get(image, 1))) FAIL("a pixel without any number is %g", lm_tensor_get(image, 1));
        EQUAL_INT(lm_record_value(out, "count").integer, (int64_t)cases[i].n);
    }
    LM_OWN(lm_record) none = NULL;
    OK(combine("{\"id\": \"nothing\"}", NULL, 0, &none), err);
    EQUAL_TEXT(lm_record_id(none), "nothing");
    EQUAL_INT(lm_record_tensor_count(none), 0);
    for (int i = 0; i < 4; i++) lm_record_unref(frames[i]);
}

TEST(combine_wants_images_of_one_kind)
{
    lm_record *a = frame("a", 1, 2, "ct"), *unit = frame("b", 1, 2, "Jy"), *shape = record_new("c");
    record_f32(shape, "image", (double[]){1, 2, 3}, 1, (size_t[]){3});
    OK(lm_tensor_set_unit(lm_record_tensor(shape, "image"), "ct", err), err);
    LM_OWN(lm_record) none = NULL;
    EQUAL_INT(combine("{}", (const lm_record *[]){a, unit}, 2, &none), LM_EINPUT);
    CONTAINS(err->text, "\"Jy\"");
    EQUAL_INT(combine("{}", (const lm_record *[]){a, shape}, 2, &none), LM_EINPUT);
    CONTAINS(err->text, "\"image\" of record \"c\" has the shape [3], that of record \"a\" [2]");
    EQUAL_INT(combine("{\"tensors\": [\"imgae\"]}", (const lm_record *[]){a}, 1, &none), LM_EINPUT);
    CONTAINS(err->hint, "\"image\"");
    lm_record_unref(a);
    lm_record_unref(unit);
    lm_record_unref(shape);
}
