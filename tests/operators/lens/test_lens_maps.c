/* lens.maps: parameters by name and by record, what is refused, and a node whose input stays open. */
#include "tests/apply.h"
#include "tests/test.h"

#include "operators/builtin.h"
#include "operators/core/lensing/mass.h"
#include "runtime/log.h"
#include "runtime/registry.h"
#include "runtime/run.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

extern const lm_operator lm_op_lens_maps;

static lm_record *maps_of(const char *params, const lm_record *in)
{
    lm_record *out[LM_MAX_PORTS] = {NULL};
    const apply_input inputs[] = {{"in", &in, 1}, {NULL, NULL, 0}};
    lm_error err = {0};
    OK(apply_step(&lm_op_lens_maps, params, inputs, 0, out, NULL, &err), &err);
    return out[0];
}

static double at(const lm_record *record, const char *map, size_t i)
{
    const lm_tensor *tensor = lm_record_tensor(record, map);
    if (!tensor || tensor->dtype != LM_F64 || i >= lm_tensor_count(tensor)) FAIL("no map \"%s\"", map);
    return ((const double *)tensor->data)[i];
}

static bool same(const lm_record *a, const lm_record *b, const char *map, double tolerance)
{
    for (size_t i = 0; i < lm_tensor_count(lm_record_tensor(a, map)); i++)
        if (!(fabs(at(a, map, i) - at(b, map, i)) <= tolerance)) return false;
    return true;
}

TEST(a_grid_is_where_it_says)
{
    LM_OWN(lm_record) in = record_new("lens");
    LM_OWN(lm_record) out = maps_of("{\"grid\": {\"shape\": [3, 5], \"pixel\": 0.5, \"offset\": [0.25, -1]}, "
                                    "\"mass\": [{\"type\": \"sheet\", \"kappa\": 0.5}]}",
                                    in);
    for (size_t j = 0; j < 3; j++)
        for (size_t i = 0; i < 5; i++) { /* alpha = kappa theta: the grid shows itself */
            NEAR(at(out, "alpha_x", 5 * j + i), 0.5 * (((double)i - 2) * 0.5 + 0.25), ABS(1e-15));
            NEAR(at(out, "alpha_y", 5 * j + i), 0.5 * (((double)j - 1) * 0.5 - 1), ABS(1e-15));
            NEAR(at(out, "magnification", 5 * j + i), 4, ABS(1e-14));
        }
    NEAR(lm_value_real(lm_record_value(out, "pixel")), 0.5, ABS(0));
    EQUAL_TEXT(lm_record_id(out), "lens");
}

TEST(other_names_mean_the_same)
{
#define GRID "{\"grid\": {\"shape\": [8, 8], \"pixel\": 0.3}, \"mass\": "
    LM_OWN(lm_record) in = record_new("lens");
    record_set(in, "theta_E", lm_real(1.3));
    record_set(in, "angle", lm_real(0.4));
    LM_OWN(lm_record)
    plain = maps_of(GRID "[{\"type\": \"epl\", \"theta_E\": 1.3, \"t\": 0.9, \"q\": 0.7, \"phi\": 0.4}]}", in);
    double e = 0.3 / 1.7;
    char text[256];
    snprintf(text, sizeof text,
             GRID "[{\"type\": \"epl\", \"theta_E\": 1.3, \"gamma\": 1.9, \"e1\": %.17g, \"e2\": %.17g}]}",
             e * cos(0.8), e * sin(0.8));
    LM_OWN(lm_record) other = maps_of(text, in);
    LM_OWN(lm_record)
    templates = maps_of(
        GRID "[{\"type\": \"epl\", \"theta_E\": \"{theta_E}\", \"t\": 0.9, \"q\": 0.7, \"phi\": \"{angle}\"}]}", in);
    snprintf(text, sizeof text,
             GRID "[{\"type\": \"epl\", \"theta_E\": 1.3, \"t\": 0.9, \"q\": 0.7, \"phi\": \"%.15g deg\"}]}",
             0.4 * 180 / M_PI);
    LM_OWN(lm_record) degrees = maps_of(text, in);
    static const char *const maps[] = {"alpha_x", "alpha_y", "kappa", "psi", "gamma1", "gamma2"};
    for (size_t i = 0; i < 6; i++) {
        CHECK(same(plain, other, maps[i], 1e-12));
        CHECK(same(plain, templates, maps[i], 0));
        CHECK(same(plain, degrees, maps[i], 1e-12));
    }
}

static void refused_of(const char *params, const lm_record *in, const char *why)
{
    lm_record *out[LM_MAX_PORTS] = {NULL};
    const apply_input inputs[] = {{"in", &in, 1}, {NULL, NULL, 0}};
    lm_error err = {0};
    EQUAL_INT(apply_step(&lm_op_lens_maps, params, inputs, 0, out, NULL, &err), LM_EINPUT);
    CONTAINS(err.text, why);
    lm_record_unref(out[0]);
}

static void refused(const char *params, const char *why)
{
    LM_OWN(lm_record) in = record_new("lens");
    record_set(in, "word", lm_text_value("large"));
    refused_of(params, in, why);
}

TEST(a_list_may_come_with_the_record)
{
    LM_OWN(lm_record) in = record_new("lens");
    record_set(in, "mass", lm_text_value("[{\"type\": \"sie\", \"theta_E\": 1.2, \"q\": 0.7}]"));
    record_set(in, "bad", lm_text_value("[{\"type\": \"sie\", \"theta_E\": 1.2]"));
    LM_OWN(lm_tensor) table = NULL;
    const size_t shape[] = {2, 6};
    static const double rows[] = {0.1, 0.2, 5, 0.9, 0.4, 77, 0.3, 0.1, 2, -0.5, 0.6, 78};
    lm_error err = {0};
    OK(lm_tensor_new(LM_F64, 2, shape, &table, &err), &err);
    memcpy(table->data, rows, sizeof rows);
    OK(lm_record_put(in, "subhaloes", lm_tensor_ref(table), &err), &err);
    LM_OWN(lm_record) named = maps_of(GRID "\"{mass}\"}", in);
    LM_OWN(lm_record) written = maps_of(GRID "[{\"type\": \"sie\", \"theta_E\": 1.2, \"q\": 0.7}]}", in);
    CHECK(same(named, written, "alpha_x", 0));
    LM_OWN(lm_record) haloes = maps_of(GRID "[{\"type\": \"tnfw\", \"table\": \"subhaloes\"}]}", in);
    LM_OWN(lm_record) both =
        maps_of(GRID "[{\"type\": \"tnfw\", \"kappa_s\": 0.1, \"theta_s\": 0.2, \"tau\": 5, \"x\": 0.9, \"y\": 0.4},"
                     " {\"type\": \"tnfw\", \"kappa_s\": 0.3, \"theta_s\": 0.1, \"tau\": 2, \"x\": -0.5, \"y\": 0.6}]}",
                in);
    CHECK(same(haloes, both, "kappa", 1e-15));
    refused_of(GRID "\"{bad}\"}", in, "no list of components in JSON");
    refused_of(GRID "[{\"type\": \"tnfw\", \"table\": \"haloes\"}]}", in, "no tensor \"haloes\"");
    refused_of(GRID "[{\"type\": \"tnfw\", \"table\": \"subhaloes\", \"tau\": 5}]}", in, "\"tau\" is given twice");
}

TEST(components_add_up)
{
    LM_OWN(lm_record) in = record_new("lens");
    LM_OWN(lm_record) a = maps_of(GRID "[{\"type\": \"sis\", \"theta_E\": 1, \"x\": 0.07}]}", in);
    LM_OWN(lm_record) b = maps_of(GRID "[{\"type\": \"shear\", \"gamma1\": 0.1, \"gamma2\": -0.05}]}", in);
    LM_OWN(lm_record)
    both = maps_of(GRID "[{\"type\": \"sis\", \"theta_E\": 1, \"x\": 0.07}, "
                        "{\"type\": \"shear\", \"gamma1\": 0.1, \"gamma2\": -0.05}]}",
                   in);
    for (size_t i = 0; i < 64; i++) {
        NEAR(at(both, "alpha_x", i), at(a, "alpha_x", i) + at(b, "alpha_x", i), ABS(1e-15));
        NEAR(at(both, "gamma2", i), at(a, "gamma2", i) + at(b, "gamma2", i), ABS(1e-15));
        double inner = 1 - at(both, "kappa", i), g1 = at(both, "gamma1", i), g2 = at(both, "gamma2", i);
        NEAR(at(both, "magnification", i), 1 / (inner * inner - g1 * g1 - g2 * g2), REL(1e-12));
    }
}

TEST(a_record_that_does_not_fit_is_named)
{
    refused(GRID "[{\"type\": \"sis\", \"theta_E\": \"{word}\"}]}", "\"theta_E\" is \"large\"");
    refused(GRID "[{\"type\": \"sis\", \"theta_E\": \"{absent}\"}]}", "absent");
    refused(GRID "[{\"type\": \"sie\", \"theta_E\": 1, \"q\": 1.4}]}", "q of a mass of type \"sie\" is 1.4");
    refused(GRID
            "[{\"type\": \"sis\", \"theta_E\": 1}, {\"type\": \"sie\", \"theta_E\": 1, \"e1\": 0.9, \"e2\": 0.9}]}",
            "component 2");
}

/* ---- in a graph ---------------------------------------------------------------------------------------------------- */

static char *faults_of(const char *text)
{
    static bool ready;
    if (!ready) lm_registry_builtin(lm_builtin_operators);
    ready = true;
    if (chdir(test_folder())) FAIL("no way into the test's folder");
    FILE *file = fopen("graph.yaml", "w");
    if (!file || fputs(text, file) < 0 || fclose(file)) FAIL("cannot write a graph");
    lm_graph *graph = NULL;
    char *errors = NULL;
    (void)lm_graph_load("graph.yaml", NULL, 0, &graph, &errors);
    lm_graph_free(graph);
    return errors;
}

TEST(a_wrong_mass_is_found_before_the_run)
{
    static const struct {
        const char *mass, *fault, *hint;
    } cases[] = {
        {"[{type: eple, theta_E: 1}]", "unknown type \"eple\"", "Did you mean \"epl\"?"},
        {"[{theta_E: 1}]", "has no type", "Types are"},
        {"[{type: sis, thetaE: 1}]", "no parameter \"thetaE\"", "Did you mean \"theta_E\"?"},
        {"[{type: sie, theta_E: 1}]", "needs \"q\"", "axis ratio"},
        {"[{type: epl, theta_E: 1, q: 0.8, t: 1, gamma: 2}]", "a slope is given by t, or by gamma", ""},
        {"[{type: sie, theta_E: 1, q: 0.8, e1: 0.1, e2: 0}]", "an ellipse is given by q and phi, or by", ""},
        {"[{type: point, theta_E: -1}]", "theta_E of a mass of type \"point\" is -1", ""},
        {"[{type: sis, theta_E: {a: 1}}]", "theta_E", ""},
        {"[]", "a list of components", "For example"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        snprintf(text, sizeof text,
                 "lensmill: 1\nnodes:\n  m:\n    op: lens.maps\n    with:\n      grid: {shape: [4, 4], pixel: 1}\n"
                 "      mass: %s\n",
                 cases[i].mass);
        LM_OWN(lm_chars) faults = faults_of(text);
        if (!faults) FAIL("%s is taken", cases[i].mass);
        CONTAINS(faults, cases[i].fault);
        CONTAINS(faults, cases[i].hint);
    }
    LM_OWN(lm_chars)
    grid = faults_of("lensmill: 1\nnodes:\n  m: {op: lens.maps, with: {grid: {shape: [4, 0], pixel: 1}, mass: [{type: "
                     "sis, theta_E: 1}]}}\n");
    CHECK(grid);
    CONTAINS(grid, "\"shape\" of two whole numbers");
}

static void keep_id(void *arg, const lm_record *record, const char *order)
{
    (void)order;
    snprintf(arg, 64, "%s", lm_record_id(record));
}

TEST(an_open_input_is_one_record)
{
    LM_OWN(lm_chars)
    faults = faults_of("lensmill: 1\nnodes:\n  my-lens: {op: lens.maps, with: {grid: {shape: [4, 4], pixel: 1}, mass: "
                       "[{type: sis, theta_E: 1}]}}\n");
    CHECK(!faults);
    LM_OWN(lm_graph) graph = NULL;
    char *errors = NULL, id[64] = "";
    CHECK(!lm_graph_load("graph.yaml", NULL, 0, &graph, &errors));
    lm_run_options options = {.workers = 1, .tap = "my-lens", .tap_fn = keep_id, .tap_arg = id};
    lm_run_report report = {0};
    lm_error err = {0};
    OK(lm_run_graph(graph, &options, &report, &err), &err);
    EQUAL_TEXT(id, "my-lens");
    EQUAL_INT(report.dead, 0);
    EQUAL_INT(report.nodes[lm_graph_node(graph, "my-lens")->index].out, 1);
    lm_run_report_done(&report);
}
