#include "runtime/condition.h"
#include "tests/test.h"

#include <pthread.h>
#include <time.h>

static lm_error *err = &(lm_error){0};

/* MAG 25.5, FLUX 10, N 3, GOOD true, BAD false, BAND "F814W", UNDEF undefined, NOT_A NaN, DATE-OBS "2005-01-01", HUGE 2^53+1 */
static lm_record *galaxy(void)
{
    lm_record *r = NULL;
    OK(lm_record_new("cosmos-7", &r, err), err);
    OK(lm_record_set(r, "MAG", lm_real(25.5), NULL, err), err);
    OK(lm_record_set(r, "FLUX", lm_real(10), NULL, err), err);
    OK(lm_record_set(r, "N", lm_int(3), NULL, err), err);
    OK(lm_record_set(r, "GOOD", lm_bool(1), NULL, err), err);
    OK(lm_record_set(r, "BAD", lm_bool(0), NULL, err), err);
    OK(lm_record_set(r, "BAND", lm_text_value("F814W"), NULL, err), err);
    OK(lm_record_set(r, "UNDEF", lm_null(), NULL, err), err);
    OK(lm_record_set(r, "NOT_A", lm_real(NAN), NULL, err), err);
    OK(lm_record_set(r, "DATE-OBS", lm_text_value("2005-01-01"), NULL, err), err);
    OK(lm_record_set(r, "HUGE", lm_int(9007199254740993), NULL, err), err);
    OK(lm_record_set(r, "BIG", lm_int((int64_t)1 << 60), NULL, err), err);
    return r;
}

/* '1', '0', or 'E' for a dead letter, 'G' for an expression that does not compile */
static char test(const char *expression)
{
    LM_OWN(lm_record) r = galaxy();
    LM_OWN(lm_condition) c = NULL;
    lm_error_clear(err);
    if (lm_condition_new(expression, &c, err)) return 'G';
    bool yes = false;
    lm_status status = lm_condition_test(c, r, &yes, err);
    if (status && status != LM_EINPUT) FAIL("%s: status %s: %s", expression, lm_status_name(status), err->text);
    return status ? 'E' : yes ? '1' : '0';
}

static void expect(const char *file, int line, const char *expression, char expected)
{
    char got = test(expression);
    if (got != expected) test_fail(file, line, "%s gives %c, expected %c (%s)", expression, got, expected, err->text);
}
#define GIVES(expression, expected) expect(__FILE__, __LINE__, expression, expected)

TEST(plain_comparisons)
{
    GIVES(".attrs.MAG < 26", '1');
    GIVES(".attrs.MAG > 26", '0');
    GIVES(".attrs.MAG >= 25.5 and .attrs.FLUX <= 10", '1');
    GIVES(".attrs[\"MAG\"]<26", '1');
    GIVES(".attrs.\"MAG\" < 26", '1');
    GIVES(".[\"attrs\"][\"MAG\"] < 26", '1');
    GIVES(".attrs.BAND == \"F814W\"", '1');
    GIVES(".attrs.BAND != \"F814W\"", '0');
    GIVES(".attrs.GOOD", '1');
    GIVES(".attrs.BAD", '0');
    GIVES(".attrs.GOOD and (.attrs.BAD | not)", '1');
    GIVES(".id == \"cosmos-7\"", '1');
    GIVES(".id | startswith(\"cosmos\")", '1');
    GIVES(".id | test(\"^cosmos-[0-9]+$\")", '1');
    GIVES(".attrs[\"DATE-OBS\"] > \"2004\"", '1');
    GIVES(".attrs.FLUX / .attrs.N > 3 # signal to noise", '1');
    GIVES("-.attrs.MAG < -25", '1');
    GIVES("[.attrs.MAG, .attrs.FLUX] | max < 26", '1');
    GIVES("\"\\(.attrs.BAND)-\\(.attrs.N)\" == \"F814W-3\"", '1');
    GIVES("{m: .attrs.MAG} | .m < 26", '1');
    GIVES("if .attrs.BAND == \"F814W\" then .attrs.MAG < 26 else .attrs.MAG < 24 end", '1');
    GIVES(".attrs | .MAG < 26 and .N == 3", '1');
    GIVES(".attrs as $a | $a.MAG < 26", '1');
    GIVES("def bright: .attrs.MAG < 26; bright", '1');
    GIVES("any(.attrs.MAG, .attrs.FLUX; . > 20)", '1');
    GIVES(".attrs | length == 9", '1'); /* without the undefined and the NaN one */
    GIVES("[.attrs | to_entries[] | select(.key == \"N\") | .value][0] == 3", '1');
}

TEST(missing_undefined_and_nan_are_dead_letters)
{
    const char *const names[] = {"NOPE", "UNDEF", "NOT_A"};
    const char *const patterns[] = {".attrs.%s < 26",
                                    ".attrs.%s > 26",
                                    "26 > .attrs.%s",
                                    ".attrs.%s == \"x\"",
                                    ".attrs.%s != \"x\"",
                                    ".attrs[\"%s\"] < 26",
                                    ".attrs.\"%s\" < 26",
                                    ".[\"attrs\"].%s < 26",
                                    ".attrs | .%s < 26",
                                    ".attrs as $a | $a.%s < 26",
                                    ".attrs as {%s: $x} | $x < 26",
                                    "\"%s\" as $k | .attrs[$k] < 26",
                                    "[.attrs.%s] | max < 26",
                                    ".attrs.%s | not",
                                    ".attrs.GOOD and .attrs.%s",
                                    ".attrs.BAD or .attrs.%s",
                                    "if .attrs.%s then true else false end",
                                    ".attrs.%s + 1 < 3",
                                    "1 - .attrs.%s < 3",
                                    "(.attrs.%s) < 3",
                                    "(.attrs).%s < 3",
                                    ".attrs .%s < 3",
                                    "\"\\(.attrs.%s)\" == \"null\"",
                                    "[.attrs[\"%s\"]] | length == 1",
                                    ".attrs.%s",
                                    ".attrs.%s? < 26",
                                    "getpath([\"attrs\", \"%s\"]) < 26",
                                    ". as $r | $r.attrs.%s < 3",
                                    "{a: .attrs.%s} | .a < 3",
                                    "[.attrs.%s? + 1] | .[0] < 3",
                                    "reduce (1, 2) as $i (0; . + .attrs.%s?) < 3"};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        for (size_t k = 0; k < 3; k++) {
            char expression[256];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            snprintf(expression, sizeof expression, patterns[i], names[k]);
#pragma GCC diagnostic pop
            GIVES(expression, 'E');
        }
    GIVES("(1 - .attrs.MAG | sqrt) < 3", 'E'); /* the root of a negative number is NaN, and nan < 3 in jq */
    GIVES("(1 - .attrs.MAG | sqrt) == 3", 'E');
    GIVES("(1 - .attrs.MAG | log) + 1 > 3", 'E');
    GIVES("[] | max < 3", 'E');
    GIVES(".MAG < 3", 'E');
}

TEST(what_is_handled_is_no_error)
{
    const char *const names[] = {"NOPE", "UNDEF", "NOT_A"};
    const struct {
        const char *pattern;
        char expected;
    } cases[] = {{".attrs.%s == null", '1'},
                 {".attrs.%s != null", '0'},
                 {"null == .attrs.%s", '1'},
                 {"null != .attrs.%s", '0'},
                 {"null == .attrs[\"%s\"]", '1'},
                 {".attrs[\"%s\"] == null", '1'},
                 {".attrs.%s==null or .attrs.MAG > 30", '1'},
                 {".attrs.%s // 0 < 3", '1'},
                 {".attrs.%s//5 < 3", '0'},
                 {".attrs.%s? // 5 < 3", '0'},
                 {".attrs.%s?//5 < 3", '0'},
                 {"(.attrs.%s < 3)? // false", '0'},
                 {"try (.attrs.%s < 3) catch true", '1'},
                 {".attrs | has(\"%s\")", '0'},
                 {".attrs | has(\"%s\") | not", '1'},
                 {"(.attrs | has(\"%s\")) and .attrs.NOPE < 3", '0'},
                 {".attrs.BAND == \"F606W\" and .attrs.%s < 3", '0'},
                 {".attrs.GOOD or .attrs.%s < 3", '1'},
                 {"if .attrs | has(\"%s\") then .attrs.NOPE < 3 else true end", '1'},
                 {".attrs.%s? | type == \"null\"", '1'},
                 {"(.attrs.%s = 4) | .attrs.MAG < 26", '1'}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t k = 0; k < 3; k++) {
            char expression[256];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            snprintf(expression, sizeof expression, cases[i].pattern, names[k]);
#pragma GCC diagnostic pop
            GIVES(expression, cases[i].expected);
        }
}

TEST(errors_say_what_and_why)
{
    EQUAL_INT(test(".attrs.MGA < 3"), 'E');
    EQUAL_TEXT(err->text, "the record has no attribute \"MGA\", for the expression \".attrs.MGA < 3\"");
    EQUAL_TEXT(err->hint, "Did you mean \"MAG\"?");
    EQUAL_INT(test(".attrs.UNDEF < 3"), 'E');
    EQUAL_TEXT(err->text, "attribute \"UNDEF\" is undefined, in the expression \".attrs.UNDEF < 3\"");
    CONTAINS(err->hint, "// 0");
    EQUAL_INT(test(".attrs.NOT_A < 3"), 'E');
    CONTAINS(err->text, "attribute \"NOT_A\" is NaN");
    EQUAL_INT(test(".MAG < 3"), 'E');
    CONTAINS(err->hint, ".attrs[\"MAG\"]");
    EQUAL_INT(test(".attrs.BAND - 1 < 3"), 'E');
    CONTAINS(err->text, "cannot be subtracted");
    EQUAL_INT(test(".attrs.FLUX"), 'E');
    EQUAL_TEXT(err->text, "the expression \".attrs.FLUX\" gives 10, which is neither true nor false");
    EQUAL_INT(test(".attrs.FLUX + 1"), 'E');
    CONTAINS(err->text, "gives 11, which is neither");
    EQUAL_INT(test(".attrs.MAG < (1, 2)"), 'E');
    CONTAINS(err->text, "more than one result");
    EQUAL_INT(test("empty"), 'E');
    CONTAINS(err->text, "no result");
    EQUAL_INT(test(".attrs.HUGE == 9007199254740992"), 'E');
    CONTAINS(err->text, "attribute \"HUGE\" is 9007199254740993, too large");
    GIVES(".attrs.BIG == 1152921504606846976", '1'); /* 2^60 is a double */
    GIVES("error(\"too faint\")", 'E');
    CONTAINS(err->text, "too faint");
    GIVES("error({a: 1})", 'E');
    CONTAINS(err->text, "{\"a\":1}");
}

TEST(what_does_not_compile)
{
    GIVES(".attrs.MAG <", 'G');
    EQUAL_INT(err->status, LM_EGRAPH);
    EQUAL_TEXT(err->text, "jq cannot read the expression \".attrs.MAG <\": syntax error, unexpected $end");
    GIVES(".attrs.MAG < foo", 'G');
    CONTAINS(err->text, "foo/0 is not defined");
    GIVES(".attrs.DATE-OBS == 1", 'G');
    CONTAINS(err->hint, ".attrs[\"DATE-OBS\"]");
    const char *const broken[] = {"",
                                  "  ",
                                  ")",
                                  "(",
                                  "]",
                                  "[",
                                  "{",
                                  "}",
                                  "\"",
                                  "\"\\(",
                                  "$x",
                                  "..a",
                                  ".attrs.",
                                  ".[",
                                  "if",
                                  "\"\\",
                                  ".\"",
                                  ".attrs[\"",
                                  "@",
                                  "?",
                                  "?//",
                                  "1 as $x",
                                  ".attrs.MAG < null("};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) GIVES(broken[i], 'G');
    const char *const refused[] = {
        "now > 3", "env.HOME == \"x\"",         "$ENV.HOME == \"x\"",     "input", "debug", "[inputs] | length == 0",
        "halt",    "(.attrs.MAG | stderr) < 3", "import \"a\" as a; true"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        GIVES(refused[i], 'G');
        CONTAINS(err->text, "not allowed");
    }
    GIVES("{now: 1, env: 2} | .now == 1 and .env == 2", '1'); /* names are no calls */
    char deep[400] = "";
    for (int i = 0; i < 100; i++) strcat(deep, "(");
    GIVES(deep, 'G');
    CONTAINS(err->text, "nested more than 64");
}

static lm_value value_of(const char *expression)
{
    static lm_condition *c;
    static lm_record *r;
    c = lm_condition_free(c);
    r = lm_record_unref(r);
    if (!expression) return lm_null();
    r = galaxy();
    lm_value value = lm_null();
    OK(lm_condition_new(expression, &c, err), err);
    OK(lm_condition_value(c, r, &value, err), err);
    return value;
}

TEST(values_keep_their_type)
{
    CHECK(lm_value_equal(value_of(".attrs.MAG"), lm_real(25.5)));
    CHECK(lm_value_equal(value_of(".attrs.N"), lm_int(3)));
    CHECK(lm_value_equal(value_of(".attrs.HUGE"), lm_int(9007199254740993))); /* untouched by jq's doubles */
    CHECK(lm_value_equal(value_of(".attrs.FLUX"), lm_real(10)));
    CHECK(lm_value_equal(value_of(".attrs.FLUX * 2"), lm_int(20)));
    CHECK(lm_value_equal(value_of(".attrs.FLUX / 4"), lm_real(2.5)));
    CHECK(lm_value_equal(value_of(".attrs.FLUX > 4"), lm_bool(1)));
    CHECK(lm_value_equal(value_of(".attrs.BAND"), lm_text_value("F814W")));
    CHECK(lm_value_equal(value_of(".id"), lm_text_value("cosmos-7")));
    CHECK(lm_value_equal(value_of(".attrs.BAND + \"-\" + .id"), lm_text_value("F814W-cosmos-7")));
    CHECK(lm_value_equal(value_of(".attrs.NOPE?"), lm_null()));
    CHECK(lm_value_equal(value_of("null"), lm_null()));
    NEAR(lm_value_real(value_of("25 - 2.5 * (.attrs.FLUX | log10)")), 22.5, ABS(1e-14)); /* two roundings at 22.5 */
    value_of(NULL);

    LM_OWN(lm_record) r = galaxy();
    LM_OWN(lm_condition) c = NULL;
    lm_value value = lm_int(77);
    OK(lm_condition_new("[.attrs.MAG]", &c, err), err);
    EQUAL_INT(lm_condition_value(c, r, &value, err), LM_EINPUT);
    CONTAINS(err->text, "gives an array");
    CHECK(value.integer == 77); /* untouched on failure */
    c = lm_condition_free(c);
    OK(lm_condition_new("-1 | sqrt", &c, err), err);
    EQUAL_INT(lm_condition_value(c, r, &value, err), LM_EINPUT);
    CONTAINS(err->text, "NaN");
}

typedef struct {
    lm_condition *c;
    int wrong;
} job;

static void *evaluate_many(void *arg)
{
    job *j = arg;
    lm_error e = {0};
    for (int i = 0; i < 2000; i++) {
        lm_record *r = NULL;
        bool yes = false;
        if (lm_record_new("a", &r, &e) || lm_record_set(r, "MAG", lm_int(i % 10), NULL, &e) ||
            lm_condition_test(j->c, r, &yes, &e) || yes != (i % 10 < 5))
            j->wrong++;
        lm_record_unref(r);
    }
    return NULL;
}

TEST(one_condition_in_many_threads)
{
    LM_OWN(lm_condition) c = NULL;
    OK(lm_condition_new(".attrs.MAG < 5 and (.id | test(\"a\"))", &c, err), err);
    pthread_t threads[4];
    job jobs[4];
    for (int i = 0; i < 4; i++) {
        jobs[i] = (job){.c = c};
        CHECK(pthread_create(&threads[i], NULL, evaluate_many, &jobs[i]) == 0);
    }
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++) EQUAL_INT(jobs[i].wrong, 0);
}

TEST(each_allocation_may_fail)
{
    LM_OWN(lm_record) r = galaxy();
    for (uint64_t n = 1;; n++) {
        lm_condition *c = NULL;
        lm_value value = lm_null();
        lm_alloc_fail_at(n);
        lm_status status = lm_condition_new(".attrs.BAND + \"x\"", &c, err);
        if (!status) status = lm_condition_value(c, r, &value, err);
        bool fired = lm_alloc_count() >= n;
        lm_alloc_fail_at(0);
        lm_condition_free(c);
        if (!fired) {
            EQUAL_INT(status, LM_OK);
            CHECK(n > 3);
            break;
        }
        EQUAL_INT(status, LM_EMEMORY);
    }
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A filter over 170,000 records must be a matter of seconds. The bound is for a loaded machine and a sanitized build: a
 * program that is compiled for each record (16 ms) is 1000 times past it. */
TEST(evaluation_is_fast)
{
    const char *const expressions[] = {".attrs.MAG < 26",
                                       ".attrs.MAG < 26 and .attrs.BAND == \"F814W\" and .attrs.N > 1",
                                       "25 - 2.5 * (.attrs.FLUX | log10) < 23", ".attrs.GOOD"};
    LM_OWN(lm_record) r = galaxy();
    for (int i = 0; i < 200; i++) { /* a FITS header's worth of cards that no expression names */
        char name[16];
        snprintf(name, sizeof name, "CARD%d", i);
        OK(lm_record_set(r, name, lm_int(i), NULL, err), err);
    }
    for (size_t k = 0; k < sizeof expressions / sizeof *expressions; k++) {
        LM_OWN(lm_condition) c = NULL;
        OK(lm_condition_new(expressions[k], &c, err), err);
        enum { N = 20000 };
        double start = seconds();
        for (int i = 0; i < N; i++) {
            bool yes = false;
            OK(lm_condition_test(c, r, &yes, err), err);
            CHECK(yes);
        }
        double each = (seconds() - start) / N;
        printf("         %-70s %.2f us\n", expressions[k], 1e6 * each);
        CHECK(each < 1e-3);
    }
}
