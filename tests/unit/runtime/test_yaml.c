/* YAML with places. */
#include "runtime/text.h"
#include "runtime/yaml.h"
#include "tests/test.h"

#include <string.h>

typedef struct {
    char text[2048];
    unsigned line, column;
    size_t n;
} seen;

static void report(void *arg, unsigned line, unsigned column, const char *text, const char *hint)
{
    seen *s = arg;
    if (!s->n++) {
        s->line = line;
        s->column = column;
        snprintf(s->text, sizeof s->text, "%s (%s)", text, hint ? hint : "");
    }
}

static void means(const char *text, const char *json)
{
    lm_arena arena;
    lm_yaml *tree = NULL;
    seen s = {0};
    lm_arena_init(&arena);
    lm_status status = lm_yaml_parse(text, strlen(text), &arena, &tree, report, &s);
    if (status) FAIL("%s: %s", text, s.text);
    json_t *got = lm_yaml_json(tree), *wanted = json_loads(json, JSON_DECODE_ANY, NULL);
    CHECK(got && wanted);
    if (!json_equal(got, wanted)) FAIL("%s means %s", text, json_dumps(got, JSON_ENCODE_ANY));
    json_decref(got);
    json_decref(wanted);
    lm_arena_done(&arena);
}

static void refused(const char *text, size_t n, unsigned line, unsigned column, const char *part)
{
    lm_arena arena;
    lm_yaml *tree = NULL;
    seen s = {0};
    lm_arena_init(&arena);
    EQUAL_INT(lm_yaml_parse(text, n, &arena, &tree, report, &s), LM_EGRAPH);
    CONTAINS(s.text, part);
    EQUAL_INT(s.line, line);
    EQUAL_INT(s.column, column);
    lm_arena_done(&arena);
}
#define REFUSED(text, line, column, part) refused(text, sizeof(text) - 1, line, column, part)

TEST(scalars_follow_the_core_schema)
{
    means("[y, n, yes, no, on, off]", "[\"y\", \"n\", \"yes\", \"no\", \"on\", \"off\"]");
    means("[true, True, TRUE, false, tRUE]", "[true, true, true, false, \"tRUE\"]");
    means("[~, null, Null, NULL, 'null']", "[null, null, null, null, \"null\"]");
    means("[0, -17, +3, 0x1F, 0o17, 017, 1_000]", "[0, -17, 3, 31, 15, 17, \"1_000\"]");
    means("[1.5, .5, 1., 1e3, -2.5E-3, 1e, ., 1.2.3]", "[1.5, 0.5, 1.0, 1000.0, -0.0025, \"1e\", \".\", \"1.2.3\"]");
    means("[9223372036854775807, 9223372036854775808]", "[9223372036854775807, 9223372036854775808.0]");
    means("[2001-01-01, 12:30:00, 0x, 0xG, '3', \"3\"]",
          "[\"2001-01-01\", \"12:30:00\", \"0x\", \"0xG\", \"3\", \"3\"]");
    means("a: |\n  one\n  two\nb: >\n  one\n  two\n", "{\"a\": \"one\\ntwo\\n\", \"b\": \"one two\\n\"}");
    means("", "null");
    means("# only a comment\n", "null");
    means("1: x\ntrue: y", "{\"1\": \"x\", \"true\": \"y\"}");
}

TEST(places_count_from_one)
{
    static const char text[] = "a: 1\nb:\n  - {c: \"\xC3\xA9t\xC3\xA9\", d: [x]}\n";
    lm_arena arena;
    lm_yaml *tree = NULL;
    lm_arena_init(&arena);
    EQUAL_INT(lm_yaml_parse(text, sizeof text - 1, &arena, &tree, NULL, NULL), LM_OK);
    const lm_yaml_entry *b = lm_yaml_entry_of(tree, "b");
    EQUAL_INT(b->line, 2);
    EQUAL_INT(b->column, 1);
    const lm_yaml *map = b->value->entries[0].value;
    EQUAL_INT(map->line, 3);
    EQUAL_INT(map->column, 5);
    EQUAL_INT(lm_yaml_get(map, "c")->column, 9); /* the quote, not the letter behind it */
    const lm_yaml_entry *d = lm_yaml_entry_of(map, "d");
    EQUAL_INT(d->column, 16); /* letters, not bytes */
    EQUAL_TEXT(d->value->entries[0].value->text, "x");
    CHECK(!lm_yaml_entry_of(map, "e") && !lm_yaml_get(NULL, "a"));
    lm_arena_done(&arena);
}

TEST(what_graphs_have_no_use_for_is_refused_by_name)
{
    REFUSED("a: &x 1\nb: *x\n", 1, 4, "anchors");
    REFUSED("a: *x\n", 1, 4, "anchors");
    REFUSED("a: !!int 1\n", 1, 4, "tags");
    REFUSED("a: 1\na: 2\n", 2, 1, "second time");
    REFUSED("? [a, b]\n: c\n", 1, 3, "key must be plain text");
    REFUSED("a: 1\n---\nb: 2\n", 2, 1, "second YAML document");
    REFUSED("a: {b: ${c}}\n", 1, 9, "Quote text with braces");
    REFUSED("a: [1\n", 2, 1, "not valid YAML");
    REFUSED("a:\n\t- b\n", 2, 1, "tab");
    REFUSED("a: \"\\0\"\n", 1, 4, "zero byte");
    REFUSED("a: caf\xE9\n", 1, 7, "UTF-8");
    REFUSED("a: \xC0\x80\n", 1, 4, "UTF-8");
    REFUSED("a: \xED\xA0\x80\n", 1, 4, "UTF-8");
    REFUSED("a: 1\nb: \x01\n", 2, 4, "control character");
    char deep[400] = "a: ";
    memset(deep + 3, '[', 100);
    memset(deep + 103, ']', 100);
    refused(deep, 203, 1, 67, "nested too deeply");
}

TEST(json_and_back)
{
    lm_arena arena;
    lm_arena_init(&arena);
    json_t *json = json_loads("{\"a\": [1, 2.5, true, null, \"x\"], \"b\": {}}", 0, NULL);
    lm_yaml *tree = lm_yaml_from_json(json, 7, 9, &arena);
    CHECK(tree);
    EQUAL_INT(lm_yaml_get(tree, "b")->line, 7);
    json_t *again = lm_yaml_json(tree);
    CHECK(json_equal(json, again));
    json_decref(json);
    json_decref(again);
    lm_arena_done(&arena);
}

TEST(every_failed_allocation_is_survived)
{
    static const char text[] = "a: [1, 2, {b: c}]\nd: \"e\"\n";
    uint64_t n = 1;
    for (; n < 1000; n++) {
        lm_arena arena;
        lm_yaml *tree = NULL;
        lm_arena_init(&arena);
        lm_alloc_fail_at(n);
        lm_status status = lm_yaml_parse(text, sizeof text - 1, &arena, &tree, NULL, NULL);
        bool fired = lm_alloc_count() >= n;
        lm_alloc_fail_at(0);
        EQUAL_INT(status, fired ? LM_EMEMORY : LM_OK);
        lm_arena_done(&arena);
        if (!fired) break;
    }
    CHECK(n > 2 && n < 1000);
}
