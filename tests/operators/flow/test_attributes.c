/* set and select: what a record is called and what it carries. */
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

static lm_record *galaxy(void)
{
    lm_record *r = record_new("cosmos-7");
    record_set(r, "MAG", lm_real(22.5));
    record_set(r, "N", lm_int(3));
    record_set(r, "BAND", lm_text_value("F814W"));
    record_set(r, "UNDEF", lm_null());
    record_f32(r, "image", (double[]){1, 2, 3, 4}, 2, (size_t[]){2, 2});
    record_f64(r, "psf", (double[]){1}, 2, (size_t[]){1, 1});
    record_f64(r, "psf_error", (double[]){1}, 2, (size_t[]){1, 1});
    return r;
}

static lm_status fails(const char *name, const char *params, const lm_record *in)
{
    lm_record *outputs[LM_MAX_PORTS] = {NULL};
    apply_input inputs[] = {{"in", &in, 1}, {NULL, NULL, 0}};
    lm_status status = apply_step(op(name), params, inputs, 0, outputs, NULL, err);
    for (unsigned i = 0; i < LM_MAX_PORTS; i++) lm_record_unref(outputs[i]);
    if (!status) FAIL("%s %s succeeds", name, params);
    return status;
}

TEST(set_values_templates_and_expressions)
{
    LM_OWN(lm_record) in = galaxy();
    LM_OWN(lm_record)
    out = apply(
        op("set"),
        "{\"values\": {\"SURVEY\": \"cosmos\", \"LABEL\": \"{BAND} of {id}\", \"SAME\": \"{N}\", \"K\": 4, \"X\": 0.5,"
        " \"OK\": true, \"GONE\": null, \"BRACE\": \"a{{b}}\", \"WHO\": \"{id}\"},"
        " \"compute\": {\"FLUX\": \"pow(10; -0.4 * (.attrs.MAG - 25))\", \"MAG\": \".attrs.MAG + .attrs.N\","
        " \"COPY\": \".attrs.N\", \"MAYBE\": \".attrs.UNDEF?\"},"
        " \"comments\": {\"FLUX\": \"[ct / s]\"}, \"id\": \"{id}-{BAND}\"}",
        in);
    EQUAL_TEXT(lm_record_id(out), "cosmos-7-F814W");
    CHECK(lm_value_equal(lm_record_value(out, "SURVEY"), lm_text_value("cosmos")));
    CHECK(lm_value_equal(lm_record_value(out, "LABEL"), lm_text_value("F814W of cosmos-7")));
    CHECK(lm_value_equal(lm_record_value(out, "SAME"), lm_int(3))); /* a lone template keeps the type */
    CHECK(lm_value_equal(lm_record_value(out, "WHO"), lm_text_value("cosmos-7")));
    CHECK(lm_value_equal(lm_record_value(out, "K"), lm_int(4)));
    CHECK(lm_value_equal(lm_record_value(out, "X"), lm_real(0.5)));
    CHECK(lm_value_equal(lm_record_value(out, "OK"), lm_bool(1)));
    CHECK(lm_value_equal(lm_record_value(out, "BRACE"), lm_text_value("a{b}")));
    CHECK(lm_record_attr(out, "GONE")->value.kind == LM_KIND_NULL);
    CHECK(lm_record_attr(out, "MAYBE")->value.kind == LM_KIND_NULL);
    NEAR(lm_value_real(lm_record_value(out, "FLUX")), 10, REL(1e-14)); /* 10^(0.4 * 2.5), two roundings */
    EQUAL_TEXT(lm_record_attr(out, "FLUX")->comment, "[ct / s]");
    CHECK(lm_value_equal(lm_record_value(out, "MAG"), lm_real(25.5)));
    CHECK(lm_value_equal(lm_record_value(out, "COPY"), lm_int(3)));
    CHECK(lm_record_tensor(out, "image") == lm_record_tensor(in, "image"));
}

TEST(set_order_is_that_of_the_names)
{
    LM_OWN(lm_record) in = record_new("a");
    LM_OWN(lm_record) one = apply(op("set"), "{\"values\": {\"B\": 1, \"A\": 2}, \"compute\": {\"AA\": \"3\"}}", in);
    LM_OWN(lm_record) two = apply(op("set"), "{\"compute\": {\"AA\": \"3\"}, \"values\": {\"A\": 2, \"B\": 1}}", in);
    const char *const names[] = {"A", "AA", "B"};
    for (size_t i = 0; i < 3; i++) {
        EQUAL_TEXT(lm_record_attr_at(one, i)->name, names[i]);
        EQUAL_TEXT(lm_record_attr_at(two, i)->name, names[i]);
    }
}

TEST(set_faults)
{
    LM_OWN(lm_record) in = galaxy();
    EQUAL_INT(fails("set", "{}", in), LM_EGRAPH);
    CONTAINS(err->text, "sets nothing");
    EQUAL_INT(fails("set", "{\"values\": {\"A\": [1]}}", in), LM_EGRAPH);
    CONTAINS(err->text, "values.A");
    EQUAL_INT(fails("set", "{\"values\": 3}", in), LM_EGRAPH);
    EQUAL_INT(fails("set", "{\"values\": {\"A\": 1}, \"compute\": {\"A\": \"1\"}}", in), LM_EGRAPH);
    EQUAL_INT(fails("set", "{\"values\": {\"id\": \"x\"}}", in), LM_EGRAPH);
    EQUAL_INT(fails("set", "{\"compute\": {\"A\": \".attrs.\"}}", in), LM_EGRAPH);
    CONTAINS(err->text, "\"compute.A\" is not a jq expression");
    EQUAL_INT(fails("set", "{\"compute\": {\"A\": 3}}", in), LM_EGRAPH);
    EQUAL_INT(fails("set", "{\"values\": {\"A\": 1}, \"comments\": {\"B\": \"x\"}}", in), LM_EGRAPH);
    EQUAL_INT(fails("set", "{\"values\": {\"A\": \"{NOPE}\"}}", in), LM_EINPUT);
    EQUAL_INT(fails("set", "{\"values\": {\"A\": \"{UNDEF}\"}}", in), LM_EINPUT);
    EQUAL_INT(fails("set", "{\"compute\": {\"A\": \".attrs.UNDEF + 1\"}}", in), LM_EINPUT);
    CONTAINS(err->text, "attribute \"UNDEF\" is undefined");
    CONTAINS(err->text, "in attribute \"A\" of set");
    EQUAL_INT(fails("set", "{\"id\": \"{NOPE}\"}", in), LM_EINPUT);
}

static const char *tensors_of(const lm_record *r)
{
    static char text[256];
    *text = 0;
    for (size_t i = 0; i < lm_record_tensor_count(r); i++) {
        if (i) strcat(text, " ");
        strcat(text, lm_record_tensor_at(r, i)->name);
    }
    return text;
}

static const char *attrs_of(const lm_record *r)
{
    static char text[256];
    *text = 0;
    for (size_t i = 0; i < lm_record_attr_count(r); i++) {
        if (i) strcat(text, " ");
        strcat(text, lm_record_attr_at(r, i)->name);
    }
    return text;
}

TEST(select_keeps_drops_and_renames)
{
    LM_OWN(lm_record) in = galaxy();
    const struct {
        const char *params, *tensors, *attrs;
    } cases[] = {
        {"{\"tensors\": [\"image\"]}", "image", "MAG N BAND UNDEF"},
        {"{\"tensors\": \"psf*\"}", "psf psf_error", "MAG N BAND UNDEF"},
        {"{\"tensors\": [\"image\", \"none*\"]}", "image", "MAG N BAND UNDEF"},
        {"{\"drop_tensors\": \"*\"}", "", "MAG N BAND UNDEF"},
        {"{\"drop_tensors\": [\"psf_*\", \"nope\"]}", "image psf", "MAG N BAND UNDEF"},
        {"{\"attrs\": [\"BAND\", \"MAG\"], \"tensors\": \"image\"}", "image", "MAG BAND"},
        {"{\"drop_attrs\": [\"N\"]}", "image psf psf_error", "MAG BAND UNDEF"},
        {"{\"rename\": {\"image\": \"SCI\"}, \"rename_attrs\": {\"MAG\": \"mag\"}}", "SCI psf psf_error",
         "mag N BAND UNDEF"},
        {"{\"rename\": {\"image\": \"psf\", \"psf\": \"image\"}}", "psf image psf_error", "MAG N BAND UNDEF"},
        {"{\"rename\": {\"image\": \"psf\"}, \"drop_tensors\": \"psf\"}", "psf psf_error", "MAG N BAND UNDEF"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        LM_OWN(lm_record) out = apply(op("select"), cases[i].params, in);
        EQUAL_TEXT(lm_record_id(out), "cosmos-7");
        EQUAL_TEXT(tensors_of(out), cases[i].tensors);
        EQUAL_TEXT(attrs_of(out), cases[i].attrs);
    }
    LM_OWN(lm_record) out = apply(op("select"), "{\"rename\": {\"image\": \"psf\", \"psf\": \"image\"}}", in);
    CHECK(lm_record_tensor(out, "psf") == lm_record_tensor(in, "image")); /* shared, not copied */
    CHECK(lm_record_tensor(out, "image") == lm_record_tensor(in, "psf"));
}

TEST(select_faults)
{
    LM_OWN(lm_record) in = galaxy();
    EQUAL_INT(fails("select", "{}", in), LM_EGRAPH);
    EQUAL_INT(fails("select", "{\"rename\": {\"a\": \"c\", \"b\": \"c\"}}", in), LM_EGRAPH);
    EQUAL_INT(fails("select", "{\"rename\": {\"a\": 3}}", in), LM_EGRAPH);
    EQUAL_INT(fails("select", "{\"tensors\": [\"imgae\"]}", in), LM_EINPUT);
    EQUAL_TEXT(err->text, "the record has no tensor \"imgae\"");
    EQUAL_TEXT(err->hint, "Did you mean \"image\"?");
    EQUAL_INT(fails("select", "{\"attrs\": [\"REDSHIFT\"]}", in), LM_EINPUT);
    EQUAL_TEXT(err->text, "the record has no attribute \"REDSHIFT\"");
    EQUAL_INT(fails("select", "{\"rename\": {\"SCI\": \"x\"}}", in), LM_EINPUT);
    EQUAL_INT(fails("select", "{\"rename\": {\"image\": \"psf\"}}", in), LM_EINPUT);
    CONTAINS(err->text, "there is one already");
}
