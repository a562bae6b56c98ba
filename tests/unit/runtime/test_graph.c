/* Graph files: what they mean, and what is wrong with them. */
#include "tests/unit/runtime/graph_fixture.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD_NODES "  r: {op: test.read, with: {path: x}}\n"
#define HEAD "lensmill: 1\nnodes:\n" HEAD_NODES

TEST(a_graph_means_what_it_says)
{
    const char *folder = test_folder();
    const char *path = fixture_file(folder, "g.yaml",
                                    "lensmill: 1\nname: demo\ndoc: A demo.\nseed: 7\n"
                                    "params:\n"
                                    "  folder: {type: path, default: ../data}\n"
                                    "  width: {type: real, default: 2}\n"
                                    "nodes:\n"
                                    "  save: {op: test.write, in: soft, with: {path: \"out/{id}.fits\"}}\n"
                                    "  soft:\n"
                                    "    op: test.blur\n"
                                    "    in: read\n"
                                    "    doc: softer\n"
                                    "    with: {sigma: \"${width}\", draws: 9}\n"
                                    "    on_error: {retry: 3, backoff: 1.5s, when: [io, crash], then: skip}\n"
                                    "    workers: 2\n"
                                    "    cache: none\n"
                                    "    timeout: 10min\n"
                                    "    salt: 4\n"
                                    "  read:\n"
                                    "    op: test.read\n"
                                    "    with:\n"
                                    "      path: \"${folder}/**\"\n"
                                    "      id: \"x-{IDENT}\"\n"
                                    "      tensors: {image: {file: \"${folder}/{NAME}\", price: \"$${folder}\"}}\n"
                                    "  table: {op: test.all, in: soft.errors, window: {count: 5, wait: 2s}}\n");
    LM_OWN(lm_graph) g = graph_of_file(path, NULL, 0);
    EQUAL_TEXT(g->name, "demo");
    EQUAL_TEXT(g->doc, "A demo.");
    EQUAL_TEXT(g->file, path);
    EQUAL_INT(g->seed, 7);
    EQUAL_INT(g->warnings.n, 0);
    EQUAL_INT(g->n_nodes, 4);
    /* topological, and as declared among those that are ready */
    EQUAL_TEXT(g->nodes[0]->name, "read");
    EQUAL_TEXT(g->nodes[1]->name, "soft");
    EQUAL_TEXT(g->nodes[2]->name, "save");
    EQUAL_TEXT(g->nodes[3]->name, "table");
    for (size_t i = 0; i < 4; i++) EQUAL_INT(g->nodes[i]->index, i);

    const lm_node *read = lm_graph_node(g, "read"), *soft = lm_graph_node(g, "soft"),
                  *table = lm_graph_node(g, "table");
    char real[PATH_MAX], wanted[PATH_MAX + 16];
    CHECK(realpath(folder, real));
    *strrchr(real, '/') = 0;
    snprintf(wanted, sizeof wanted, "%s/data/**", real);
    EQUAL_TEXT(((const read_state *)read->self)->path, wanted);
    EQUAL_TEXT(((const read_state *)read->self)->id, "x-{IDENT}");
    json_t *image = json_object_get(((const read_state *)read->self)->tensors, "image");
    snprintf(wanted, sizeof wanted, "%s/data/{NAME}", real);
    EQUAL_TEXT(json_string_value(json_object_get(image, "file")), wanted);
    EQUAL_TEXT(json_string_value(json_object_get(image, "price")), "${folder}");
    EQUAL_INT(read->n_inputs, 0);
    EQUAL_TEXT(read->sources, "read");
    CHECK(!read->endless);

    NEAR(((const blur_state *)soft->self)->sigma, 2, ABS(0)); /* given */
    EQUAL_TEXT(soft->canonical, "{\"sigma\":2}");
    EQUAL_TEXT(soft->doc, "softer");
    EQUAL_INT(soft->extent, 9);
    EQUAL_INT(read->extent, -1);
    EQUAL_INT(soft->on_error, LM_ON_ERROR_SKIP);
    EQUAL_INT(soft->retries, 3);
    NEAR(soft->backoff_s, 1.5, ABS(1e-12)); /* decimal to binary */
    EQUAL_INT(soft->retry_when, 1 << LM_EIO | 1 << LM_ECRASH);
    NEAR(soft->timeout_s, 600, ABS(0)); /* whole seconds */
    EQUAL_INT(soft->workers, 2);
    CHECK(!soft->cache && read->cache);
    EQUAL_TEXT(soft->salt, "4");
    EQUAL_INT(soft->place.line, 10);
    EQUAL_INT(soft->place.column, 3);
    CHECK(soft->inputs[0].wires[0].from == read && soft->inputs[0].wires[0].port == 0);
    EQUAL_TEXT(soft->sources, "read");

    EQUAL_INT(table->inputs[0].wires[0].port, LM_ERRORS_PORT);
    CHECK(!table->window_all && table->window_count == 5);
    NEAR(table->window_wait_s, 2, ABS(0)); /* whole seconds */
    EQUAL_INT(lm_graph_node(g, "save")->n_outputs, 0);
    EQUAL_INT(table->n_outputs, 1);
    CHECK(!lm_graph_node(g, "nobody"));
}

TEST(settings_win_over_defaults)
{
    const char *path =
        fixture_file(test_folder(), "g.yaml",
                     "lensmill: 1\n"
                     "params: {width: {type: real, default: 2, max: 9}, in: {type: path, default: here}, "
                     "out: {type: path, default: out}, label: {type: text, default: a}}\n"
                     "nodes:\n"
                     "  read: {op: test.read, with: {path: \"${in}\", id: \"${label}\"}}\n"
                     "  soft: {op: test.blur, in: read, with: {sigma: \"${width}\"}}\n"
                     "  save: {op: test.write, in: soft, with: {path: \"${out}/{id}.fits\"}}\n");
    char here[PATH_MAX], wanted[PATH_MAX + 32];
    CHECK(getcwd(here, sizeof here));
    lm_setting settings[] = {{"width", "1"}, {"width", "3.5"}, {"in", "./there"}, {"label", "007"}};
    LM_OWN(lm_graph) g = graph_of_file(path, settings, 4);
    NEAR(((const blur_state *)lm_graph_node(g, "soft")->self)->sigma, 3.5, ABS(0)); /* the last one */
    snprintf(wanted, sizeof wanted, "%s/there", here);
    EQUAL_TEXT(((const read_state *)lm_graph_node(g, "read")->self)->path, wanted);
    EQUAL_TEXT(((const read_state *)lm_graph_node(g, "read")->self)->id, "007");
    snprintf(wanted, sizeof wanted, "%s/out/{id}.fits", here); /* what is written is relative to us */
    EQUAL_TEXT(((const write_state *)lm_graph_node(g, "save")->self)->path, wanted);
    NEAR(json_real_value(json_object_get(g->settings, "width")), 3.5, ABS(0)); /* as given */
    lm_setting much[] = {{"width", "10"}}, none[] = {{"widht", "1"}}, text[] = {{"width", "wide"}},
               broken[] = {{"width", "[1"}};
    wrong_file(path, much, 1, "at most 9");
    wrong_file(path, none, 1, "Did you mean \"width\"");
    wrong_file(path, text, 1, "wants a number");
    wrong_file(path, broken, 1, "not valid YAML");
}

TEST(joins_take_their_ports)
{
    LM_OWN(lm_graph) g = graph_of(HEAD "  s: {op: test.make}\n"
                                       "  j: {op: test.join, in: {left: r, right: s, table: s}, on: NAME, within: 1h}\n"
                                       "  b: {op: test.filter, in: j.bad, with: {where: \"true\"}}\n"
                                       "  m: {op: test.merge, in: [j, b, r.errors]}\n");
    const lm_node *j = lm_graph_node(g, "j"), *m = lm_graph_node(g, "m");
    EQUAL_INT(j->n_inputs, 4);
    EQUAL_INT(j->inputs[2].n_wires, 0);
    EQUAL_INT(j->inputs[3].n_wires, 1);
    EQUAL_TEXT(j->join_on, "NAME");
    EQUAL_TEXT(j->sources, "r,s");
    EQUAL_INT(lm_graph_node(g, "b")->inputs[0].wires[0].port, 1);
    EQUAL_TEXT(lm_graph_node(g, "b")->join_on, "id");
    EQUAL_INT(m->inputs[0].n_wires, 3);
    EQUAL_INT(m->inputs[0].wires[0].port, 0); /* without "out": the first */
    EQUAL_INT(m->inputs[0].wires[2].port, LM_ERRORS_PORT);
    wrong("  r: {op: test.make}\n  j: {op: test.join, in: {left: r, right: r, table: r}}\n",
          "does not say by which key");
    wrong("  r: {op: test.make}\n  j: {op: test.join, in: {left: r}}\n", "nothing feeds the input \"right\"");
    wrong("  r: {op: test.make}\n  j: {op: test.join, in: r}\n", "several inputs");
    wrong("  r: {op: test.make}\n  j: {op: test.join, in: {left: r, right: r, modl: r}}\n", "Did you mean \"model\"");
    wrong("  r: {op: test.make}\n  j: {op: test.join, in: {left: [r, r], right: r}}\n", "not a list");
    wrong("  r: {op: test.make}\n  j: {op: test.join, in: {left: r, right: r}}\n  k: {op: test.blur, in: j.goood}\n",
          "Did you mean \"good\"");
}

TEST(sources_that_never_end_are_followed)
{
    LM_OWN(lm_graph) g = graph_of("lensmill: 1\nnodes:\n  r: {op: test.read, with: {watch: true}}\n"
                                  "  a: {op: test.filter, in: r, with: {where: \"true\"}}\n"
                                  "  j: {op: test.join, in: {left: a, right: r}}\n"
                                  "  w: {op: test.all, in: j, window: {count: 3}}\n");
    CHECK(lm_graph_node(g, "w")->endless);
    wrong("  r: {op: test.read, with: {watch: true}}\n  a: {op: test.filter, in: r, with: {where: \"true\"}}\n"
          "  w: {op: test.all, in: a}\n",
          "node \"w\" waits for all records, and \"r\" never ends");
    const char *two = "  r: {op: test.read, with: {watch: true}}\n  s: {op: test.read, with: {watch: true}}\n"
                      "  j: {op: test.join, in: {left: r, right: s}}\n";
    wrong(two, "joins sources that never end (\"r\" and \"s\")");
    wrong("  r: {op: test.make}\n  t: {op: test.read, with: {watch: true}}\n"
          "  j: {op: test.join, in: {left: r, right: r, table: t}, on: id}\n",
          "looks records up at \"table\", and \"t\" never ends");
}

TEST(tensors_are_followed_along_edges)
{
    LM_OWN(lm_graph) g =
        graph_of("lensmill: 1\nnodes:\n  r: {op: test.make}\n  b: {op: test.blur, in: r}\n"
                 "  f: {op: test.filter, in: b, with: {where: \"true\"}}\n  c: {op: test.blur, in: f, salt: c}\n"
                 "  x: {op: test.read}\n  l: {op: test.lost, in: x}\n"); /* who knows what is read? */
    EQUAL_INT(g->n_nodes, 6);
    wrong("  r: {op: test.make}\n  b: {op: test.blur, in: r}\n  d: {op: test.doubles, in: b}\n",
          "tensor \"blurred\" is float32, and node \"d\" (test.doubles) needs float64");
    wrong("  r: {op: test.make}\n  d: {op: test.square, in: r}\n", "has length 32 on axis 1, and N = 64 is needed");
    wrong("  r: {op: test.make}\n  d: {op: test.flat, in: r}\n", "has 3 axes, and 2 (H W) are needed");
    wrong("  r: {op: test.make}\n  d: {op: test.unit, in: r}\n", "is in Jy, and node \"d\" (test.unit) needs mag");
    wrong("  r: {op: test.make}\n  f: {op: test.filter, in: r, with: {where: \"true\"}}\n  d: {op: test.lost, in: f}\n",
          "needs the tensor \"lost\" (gone), and nothing before it makes one");
}

TEST(expressions_are_told_apart_though_compiled_together)
{
    LM_OWN(lm_graph) g =
        graph_of(HEAD "  a: {op: test.filter, in: r, with: {where: '.attrs.a < 1 and (.attrs.b | not)'}}\n"
                      "  b: {op: test.filter, in: a, with: {where: '.attrs.n == \"(\" # \"'}}\n"
                      "  c: {op: test.filter, in: b, with: {where: 'def f: 1; .attrs.x > f'}}\n"
                      "  d: {op: test.filter, in: c, with: {where: '\"\\(.id)\" == \"x\"'}}\n"
                      "  e: {op: test.filter, in: d, with: {where: 'pow(.attrs.x; 2) < 3'}}\n");
    EQUAL_INT(g->n_nodes, 6);
    wrong(HEAD_NODES "  a: {op: test.filter, in: r, with: {where: \"true\"}}\n"
                     "  b: {op: test.filter, in: a, with: {where: \"true) , (true\"}}\n",
          "g.yaml:5:45: \"where\" is not a jq expression");
    wrong(HEAD_NODES "  a: {op: test.filter, in: r, with: {where: \"(true\"}}\n"
                     "  b: {op: test.filter, in: a, with: {where: \"true)\"}}\n",
          "g.yaml:5:45: \"where\" is not a jq expression");
    wrong(HEAD_NODES "  a: {op: test.filter, in: r, with: {where: \"\"}}\n"
                     "  b: {op: test.filter, in: a, with: {where: \"true\"}}\n",
          "g.yaml:4:45: \"where\"");
}

TEST(an_operators_own_check_is_asked)
{
    wrong("  r: {op: test.make}\n  b: {op: test.blur, in: r, with: {sigma: 20, draws: 20}}\n",
          "g.yaml:4:29: sigma and draws are both large");
}

TEST(subgraphs_become_nodes)
{
    const char *folder = test_folder();
    char sub[512];
    snprintf(sub, sizeof sub, "%s/parts", folder);
    CHECK(mkdir(sub, 0700) == 0);
    fixture_file(folder, "parts/inner.yaml",
                 "lensmill: 1\nparams: {w: {type: real}}\ninputs: {image: [one.in, two.in], more: deep.x}\n"
                 "outputs: {out: two, lost: one.errors}\n"
                 "nodes:\n  one: {op: test.blur, with: {sigma: \"${w}\", draws: 1}}\n"
                 "  two: {op: test.merge}\n  deep: {op: ./deepest.yaml, with: {}}\n");
    fixture_file(folder, "parts/deepest.yaml",
                 "lensmill: 1\ninputs: {x: f.in}\nnodes:\n  f: {op: test.filter, with: {where: \"true\"}}\n");
    const char *path = fixture_file(folder, "outer.yaml",
                                    "lensmill: 1\nnodes:\n  r: {op: test.make}\n"
                                    "  a: {op: ./parts/inner.yaml, in: {image: r, more: r}, with: {w: 3}}\n"
                                    "  b: {op: parts/inner.yaml, in: {image: a, more: a.lost}, with: {w: 4}}\n");
    LM_OWN(lm_graph) g = graph_of_file(path, NULL, 0);
    EQUAL_INT(g->n_nodes, 7);
    const lm_node *one = lm_graph_node(g, "b/one"), *deep = lm_graph_node(g, "b/deep/f");
    CHECK(one && deep);
    NEAR(((const blur_state *)one->self)->sigma, 4, ABS(0)); /* given */
    CHECK(one->inputs[0].wires[0].from == lm_graph_node(g, "a/two"));
    CHECK(deep->inputs[0].wires[0].from == lm_graph_node(g, "a/one") &&
          deep->inputs[0].wires[0].port == LM_ERRORS_PORT);
    CONTAINS(one->place.file, "parts/inner.yaml");
    EQUAL_INT(one->place.line, 6);

    snprintf(sub, sizeof sub, "%s/parts/inner.yaml", folder);
    lm_setting w[] = {{"w", "1"}};
    wrong_file(sub, w, 1, "a part for other graphs");
    lm_graph *part = NULL;
    char *errors = NULL;
    lm_status status = lm_graph_look(sub, w, 1, &part, &errors, NULL);
    if (status) FAIL("%s", errors);
    EQUAL_INT(part->n_nodes, 3);
    lm_graph_free(part);
}

TEST(a_graph_cannot_contain_itself)
{
    const char *folder = test_folder();
    fixture_file(folder, "a.yaml", "lensmill: 1\nnodes:\n  b: {op: ./b.yaml}\n");
    fixture_file(folder, "b.yaml", "lensmill: 1\nnodes:\n  a: {op: ./a.yaml}\n");
    char path[512];
    snprintf(path, sizeof path, "%s/a.yaml", folder);
    wrong_file(path, NULL, 0, "would contain itself");
}

TEST(doubling_subgraphs_end)
{
    /* Each file holds the next one ten times: 10^12 nodes, if nobody counted. */
    const char *folder = test_folder();
    for (int level = 0; level < 12; level++) {
        char name[32], text[1024] = "lensmill: 1\nnodes:\n";
        snprintf(name, sizeof name, "l%d.yaml", level);
        for (int i = 0; i < 10; i++) {
            size_t n = strlen(text);
            if (level < 11) snprintf(text + n, sizeof text - n, "  n%d: {op: ./l%d.yaml}\n", i, level + 1);
            else snprintf(text + n, sizeof text - n, "  n%d: {op: test.make}\n", i);
        }
        fixture_file(folder, name, text);
    }
    char path[512];
    snprintf(path, sizeof path, "%s/l0.yaml", folder);
    wrong_file(path, NULL, 0, "more than 10000 nodes");
}

TEST(long_chains_and_wide_graphs_load)
{
    enum { LENGTH = 3000 };
    lm_text text;
    lm_text_init(&text);
    lm_text_add(&text, "lensmill: 1\nnodes:\n");
    for (int i = LENGTH; i > 0; i--) /* declared backwards */
        lm_text_format(&text, "  n%d: {op: test.blur, in: n%d, salt: %d}\n", i, i - 1, i);
    lm_text_add(&text, "  n0: {op: test.make}\n");
    LM_OWN(lm_graph) g = graph_of(lm_text_peek(&text));
    lm_text_done(&text);
    EQUAL_INT(g->n_nodes, LENGTH + 1);
    EQUAL_TEXT(g->nodes[LENGTH]->name, "n3000");
    EQUAL_TEXT(g->nodes[LENGTH]->sources, "n0");
}

TEST(a_graph_that_cannot_be_read_says_why)
{
    lm_graph *graph = NULL;
    char *errors = NULL;
    EQUAL_INT(lm_graph_load("/nowhere/graph.yaml", NULL, 0, &graph, &errors), LM_EIO);
    CONTAINS(errors, "/nowhere/graph.yaml: cannot be read: No such file");
    lm_free(errors);
}

TEST(every_failed_allocation_is_survived)
{
    lm_registry_builtin(fixture_ops);
    const char *folder = test_folder();
    fixture_file(folder, "in.yaml",
                 "lensmill: 1\nparams: {w: {type: real, default: 2}}\ninputs: {i: b.in}\noutputs: {out: b}\n"
                 "nodes: {b: {op: test.blur, with: {sigma: \"${w}\"}}}\n");
    const char *good =
        fixture_file(folder, "g.yaml",
                     "lensmill: 1\nparams: {p: {type: path, default: x}}\nnodes:\n"
                     "  r: {op: test.read, with: {path: \"${p}/y\", tensors: {a: [1, 2]}}}\n"
                     "  s: {op: ./in.yaml, in: r, with: {w: 3}}\n  j: {op: test.join, in: {left: s, right: r}}\n"
                     "  w: {op: test.write, in: j.bad, with: {path: \"{id}\"}}\n");
    const char *bad = fixture_file(
        folder, "b.yaml",
        "lensmill: 1\nnodes:\n  r: {op: test.raed}\n  s: {op: test.blur, in: q, with: {sigm: 1, draws: 0}}\n"
        "  c: {op: test.blur, in: c}\n");
    for (int which = 0; which < 2; which++) {
        uint64_t n = 1;
        for (; n < 5000; n++) {
            lm_graph *graph = NULL;
            char *errors = NULL;
            lm_alloc_fail_at(n);
            lm_status status = lm_graph_load(which ? bad : good, NULL, 0, &graph, &errors);
            bool fired = lm_alloc_count() >= n;
            lm_alloc_fail_at(0);
            /* a hint may be lost on the way, an error or a graph never */
            if (!fired) EQUAL_INT(status, which ? LM_EGRAPH : LM_OK);
            else if (status == LM_OK) CHECK(!which && graph->n_nodes == 4);
            CHECK(status != LM_OK || graph);
            lm_graph_free(graph);
            lm_free(errors);
            if (!fired) break;
        }
        CHECK(n > 20 && n < 5000);
    }
}
