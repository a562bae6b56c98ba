/* Drawings of graphs, and the schema of graph files. */
#include "runtime/graph_show.h"
#include "runtime/param.h"
#include "tests/unit/runtime/graph_fixture.h"

static const char graph_text[] = "lensmill: 1\nname: show <it>\ndoc: a & b\nnodes:\n  r: {op: test.make}\n"
                                 "  a: {op: test.blur, in: r}\n  b: {op: test.blur, in: r, salt: b}\n"
                                 "  j: {op: test.join, in: {left: a, right: b}}\n  far: {op: test.merge, in: [j, r]}\n"
                                 "  w: {op: test.all, in: a.errors}\n";

static size_t count_of(const char *text, const char *part)
{
    size_t n = 0;
    for (; (text = strstr(text, part)); text += strlen(part)) n++;
    return n;
}

TEST(text_is_a_tree)
{
    LM_OWN(lm_graph) g = graph_of(graph_text);
    lm_text text;
    lm_text_init(&text);
    lm_graph_show_text(g, &text);
    EQUAL_TEXT(lm_text_peek(&text), "show <it>: 6 nodes\na & b\n\n"
                                    "r             test.make\n"
                                    "├─ a          test.blur\n"
                                    "│  ├─ j       test.join; right from b\n"
                                    "│  │  └─ far  test.merge, of j.good; and r\n"
                                    "│  └─ w       test.all, of a.errors; all at once\n"
                                    "└─ b          test.blur\n");
    lm_text_done(&text);
}

TEST(svg_has_each_box_and_edge_and_escapes_names)
{
    LM_OWN(lm_graph) g = graph_of(graph_text);
    lm_text text;
    lm_text_init(&text);
    EQUAL_INT(lm_graph_show_svg(g, &text), LM_OK);
    const char *svg = lm_text_peek(&text);
    EQUAL_INT(count_of(svg, "class=\"name\""), 6);
    EQUAL_INT(count_of(svg, "<path class=\"edge"), 7);
    EQUAL_INT(count_of(svg, "<path class=\"edge bad\""), 1);
    CONTAINS(svg, "show &lt;it&gt;");
    CONTAINS(svg, "a &amp; b");
    CHECK(!strstr(svg, "nan") && !strstr(svg, "inf"));
    lm_text_done(&text);
}

TEST(svg_survives_every_failed_allocation)
{
    LM_OWN(lm_graph) g = graph_of(graph_text);
    uint64_t n = 1;
    for (; n < 500; n++) {
        lm_text text;
        lm_text_init(&text);
        lm_alloc_fail_at(n);
        lm_status status = lm_graph_show_svg(g, &text);
        bool fired = lm_alloc_count() >= n, failed = status || text.failed;
        lm_alloc_fail_at(0);
        lm_text_done(&text);
        CHECK(failed == fired);
        if (!fired) break;
    }
    CHECK(n > 5 && n < 500);
}

static lm_graph *chain(int n)
{
    lm_text source;
    lm_text_init(&source);
    lm_text_add(&source, "lensmill: 1\nnodes:\n  n0: {op: test.make}\n");
    for (int i = 1; i < n; i++) lm_text_format(&source, "  n%d: {op: test.merge, in: [n%d, n0]}\n", i, i - 1);
    lm_graph *g = graph_of(lm_text_peek(&source));
    lm_text_done(&source);
    return g;
}

TEST(a_long_chain_is_drawn)
{
    lm_text text;
    lm_text_init(&text);
    LM_OWN(lm_graph) deep = chain(400);
    lm_graph_show_text(deep, &text); /* deeper than a terminal is wide: a list */
    CONTAINS(lm_text_peek(&text), "n399  test.merge; and n0, of n398");
    lm_text_clear(&text);
    LM_OWN(lm_graph) wide = chain(120); /* 7,000 bends: every edge from n0 passes all the boxes before its own */
    EQUAL_INT(lm_graph_show_svg(wide, &text), LM_OK);
    lm_text_done(&text);
}

TEST(the_schema_knows_the_tables)
{
    lm_registry_builtin(fixture_ops);
    json_t *schema = lm_graph_schema();
    CHECK(schema);
    json_t *rules = json_object_get(json_object_get(json_object_get(schema, "$defs"), "node"), "allOf");
    EQUAL_INT(json_array_size(rules), sizeof fixture_ops / sizeof *fixture_ops - 1);
    char *text = json_dumps(schema, JSON_COMPACT);
    CONTAINS(text, "\"const\":\"test.blur\"");
    CONTAINS(text, "\"minimum\":0.1");
    CONTAINS(text, "\"default\":1.5");
    free(text);
    json_decref(schema);
}
