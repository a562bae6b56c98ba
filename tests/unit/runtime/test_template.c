/* {NAME} templates. */
#include "runtime/param_internal.h"
#include "tests/test.h"

#include <string.h>

static lm_record *a_record(void)
{
    lm_error err;
    lm_record *r = NULL;
    OK(lm_record_new("cosmos-7", &r, &err), &err);
    OK(lm_record_set(r, "MAG", lm_real(21.5), NULL, &err), &err);
    OK(lm_record_set(r, "HDU", lm_int(3), NULL, &err), &err);
    OK(lm_record_set(r, "FILTER", lm_text_value("F814W"), NULL, &err), &err);
    OK(lm_record_set(r, "DATE-OBS", lm_text_value("2004-05-01"), NULL, &err), &err);
    OK(lm_record_set(r, "GONE", lm_null(), NULL, &err), &err);
    return r;
}

static void expands_to(const char *text, const char *wanted)
{
    LM_OWN(lm_record) r = a_record();
    lm_error err;
    lm_arena arena;
    const char *got = NULL;
    lm_arena_init(&arena);
    OK(lm_template_expand(text, r, &arena, &got, &err), &err);
    EQUAL_TEXT(got, wanted);
    lm_arena_done(&arena);
}

TEST(names_are_told_from_other_braces)
{
    CHECK(lm_template_is("{id}"));
    CHECK(lm_template_is("out/{id}.fits"));
    CHECK(lm_template_is("{DATE-OBS}"));
    CHECK(!lm_template_is("plain"));
    CHECK(!lm_template_is("{{id}}"));
    CHECK(!lm_template_is("{a,b}*.fits")); /* a glob */
    CHECK(!lm_template_is("{0}"));
    CHECK(!lm_template_is("{}"));
    CHECK(!lm_template_is("{id"));
    CHECK(lm_template_is("{{{id}"));
    CHECK(lm_template_lone("{id}"));
    CHECK(!lm_template_lone("{id}x"));
    CHECK(!lm_template_lone("x{id}"));
    CHECK(!lm_template_lone("{{id}}"));
}

TEST(templates_expand_over_a_record)
{
    expands_to("{id}", "cosmos-7");
    expands_to("out/{FILTER}/{id}-{HDU}.fits", "out/F814W/cosmos-7-3.fits");
    expands_to("{MAG} mag on {DATE-OBS}", "21.5 mag on 2004-05-01");
    expands_to("", "");
    expands_to("{{id}}", "{id}");
    expands_to("{{{id}}}", "{cosmos-7}");
    expands_to("{a,b}{}", "{a,b}{}");
    expands_to("{id", "{id");
}

TEST(a_lone_template_keeps_its_type)
{
    LM_OWN(lm_record) r = a_record();
    lm_error err;
    lm_arena arena;
    lm_value value;
    lm_arena_init(&arena);
    OK(lm_template_value("{MAG}", r, &arena, &value, &err), &err);
    EQUAL_INT(value.kind, LM_KIND_REAL);
    NEAR(value.real, 21.5, ABS(0)); /* copied, not computed */
    OK(lm_template_value("{HDU}", r, &arena, &value, &err), &err);
    EQUAL_INT(value.kind, LM_KIND_INT);
    EQUAL_INT(value.integer, 3);
    OK(lm_template_value("{HDU}.0", r, &arena, &value, &err), &err);
    EQUAL_INT(value.kind, LM_KIND_TEXT);
    EQUAL_TEXT(value.text, "3.0");
    OK(lm_template_value("{id}", r, &arena, &value, &err), &err);
    EQUAL_TEXT(value.text, "cosmos-7");
    lm_arena_done(&arena);
}

TEST(a_missing_attribute_is_named_with_the_nearest)
{
    LM_OWN(lm_record) r = a_record();
    lm_error err;
    lm_arena arena;
    const char *got = "untouched";
    lm_value value;
    lm_arena_init(&arena);
    EQUAL_INT(lm_template_expand("{FILTRE}.fits", r, &arena, &got, &err), LM_EINPUT);
    CONTAINS(err.text, "no attribute \"FILTRE\"");
    CONTAINS(err.hint, "{FILTER}");
    EQUAL_TEXT(got, "untouched");
    EQUAL_INT(lm_template_value("{SOMETHING_ELSE}", r, &arena, &value, &err), LM_EINPUT);
    CONTAINS(err.hint, "MAG");
    EQUAL_INT(lm_template_value("{GONE}", r, &arena, &value, &err), LM_EINPUT);
    CONTAINS(err.text, "undefined");
    lm_arena_done(&arena);
}
