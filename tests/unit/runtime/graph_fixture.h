/* Small operators of every shape, and graphs from text, for the tests of the graph front end. */
#ifndef LM_TESTS_GRAPH_FIXTURE_H
#define LM_TESTS_GRAPH_FIXTURE_H

#include "runtime/graph.h"
#include "runtime/registry.h"
#include "runtime/text.h"
#include "tests/test.h"

#include <math.h>
#include <string.h>

static lm_status fixture_step(const void *self, lm_step *step, lm_error *err)
{
    (void)self, (void)step, (void)err;
    return LM_OK;
}
static lm_status fixture_list(void *self, lm_items *items, lm_error *err)
{
    (void)self, (void)items, (void)err;
    return LM_OK;
}

typedef struct {
    const char *path, *id;
    json_t *tensors;
    bool watch;
} read_state;
static const lm_param read_params[] = {LM_PATH(read_state, path, NULL, .doc = "files"),
                                       LM_TEXT(read_state, id, NULL, .per_record = true, .doc = "id"),
                                       LM_TREE(read_state, tensors, NULL, .doc = "tensors"),
                                       LM_BOOL(read_state, watch, false, .doc = "go on"),
                                       {0}};
static const lm_operator read_op = {.name = "test.read",
                                    .version = 1,
                                    .summary = "Read",
                                    .shape = LM_SOURCE,
                                    .flags = LM_ENDLESS,
                                    .size = sizeof(read_state),
                                    .params = read_params,
                                    .list = fixture_list,
                                    .step = fixture_step};

/* A source of which everything is known: image [64, 64] in Jy, mask [64, 32], cube of three axes. */
static const lm_field make_fields[] = {LM_OUT("out", "image", LM_F32, "64 64", "Jy", "image"),
                                       LM_OUT("out", "mask", LM_U8, "64 32", "", "mask"),
                                       LM_OUT("out", "cube", LM_F64, "N H W", "Jy", "cube"),
                                       {0}};
static const lm_operator make_op = {.name = "test.make",
                                    .version = 1,
                                    .summary = "Make",
                                    .shape = LM_SOURCE,
                                    .fields = make_fields,
                                    .list = fixture_list,
                                    .step = fixture_step};

typedef struct {
    double sigma;
    int64_t draws;
} blur_state;
static lm_status blur_check(const void *self, lm_error *err)
{
    const blur_state *s = self;
    if (s->sigma > 10 && s->draws > 10)
        return LM_FAIL_HINT(err, LM_EGRAPH, "Lower one of them.", "sigma and draws are both large");
    return LM_OK;
}
static const lm_param blur_params[] = {
    LM_REAL(blur_state, sigma, 1.5, .min = 0.1, .max = 64, .per_record = true, .doc = "width"),
    LM_INT(blur_state, draws, 4, .min = 1, .extent = true, .doc = "draws"),
    {0}};
static const lm_field blur_fields[] = {LM_IN("in", "image", LM_F32, "H W", "*", "image"),
                                       LM_OUT("out", "blurred", LM_SAME_DTYPE, "H W", "=", "blurred"),
                                       {0}};
static const lm_operator blur_op = {.name = "test.blur",
                                    .version = 1,
                                    .summary = "Blur",
                                    .flags = LM_RANDOM,
                                    .size = sizeof(blur_state),
                                    .params = blur_params,
                                    .fields = blur_fields,
                                    .check = blur_check,
                                    .step = fixture_step};

static const lm_port join_ports[] = {{"left", LM_PORT_STREAM, "left", false},
                                     {"right", LM_PORT_STREAM, "right", false},
                                     {"model", LM_PORT_BROADCAST, "model", true},
                                     {"table", LM_PORT_LOOKUP, "table", true},
                                     {"good", LM_PORT_OUT, "good", false},
                                     {"bad", LM_PORT_OUT, "bad", false},
                                     {0}};
static const lm_operator join_op = {
    .name = "test.join", .version = 1, .summary = "Join", .ports = join_ports, .step = fixture_step};

typedef struct {
    const char *where;
} filter_state;
static const lm_param filter_params[] = {LM_WHERE(filter_state, where, .required = true, .doc = "condition"), {0}};
static const lm_operator filter_op = {.name = "test.filter",
                                      .version = 1,
                                      .summary = "Filter",
                                      .flags = LM_PASSES | LM_HEADER,
                                      .size = sizeof(filter_state),
                                      .params = filter_params,
                                      .step = fixture_step};

static const lm_port merge_ports[] = {{"in", LM_PORT_MERGE, "nodes", false}, {0}};
static const lm_operator merge_op = {.name = "test.merge",
                                     .version = 1,
                                     .summary = "Merge",
                                     .flags = LM_PASSES,
                                     .ports = merge_ports,
                                     .step = fixture_step};

static const lm_operator all_op = {
    .name = "test.all", .version = 1, .summary = "All", .shape = LM_GATHER, .step = fixture_step};

typedef struct {
    const char *path;
} write_state;
static const lm_param write_params[] = {
    LM_PATH(write_state, path, NULL, .required = true, .output = true, .per_record = true, .doc = "file"), {0}};
static const lm_operator write_op = {.name = "test.write",
                                     .version = 1,
                                     .summary = "Write",
                                     .shape = LM_SINK,
                                     .size = sizeof(write_state),
                                     .params = write_params,
                                     .step = fixture_step};

/* Needs what nothing makes, and what other things make otherwise. */
static const lm_field fussy_fields[] = {LM_IN("in", "blurred", LM_F64, "H W", "*", "b"), {0}};
static const lm_operator fussy_op = {
    .name = "test.doubles", .version = 1, .summary = "Doubles", .fields = fussy_fields, .step = fixture_step};
static const lm_field square_fields[] = {LM_IN("in", "mask", LM_U8, "N N", "*", "m"), {0}};
static const lm_operator square_op = {
    .name = "test.square", .version = 1, .summary = "Square", .fields = square_fields, .step = fixture_step};
static const lm_field flat_fields[] = {LM_IN("in", "cube", LM_FLOATS, "H W", "*", "c"), {0}};
static const lm_operator flat_op = {
    .name = "test.flat", .version = 1, .summary = "Flat", .fields = flat_fields, .step = fixture_step};
static const lm_field unit_fields[] = {LM_IN("in", "image", LM_F32, "H W", "mag", "i"), {0}};
static const lm_operator unit_op = {
    .name = "test.unit", .version = 1, .summary = "Unit", .fields = unit_fields, .step = fixture_step};
static const lm_field lost_fields[] = {LM_IN("in", "lost", LM_F32, "H W", "*", "gone"), {0}};
static const lm_operator lost_op = {
    .name = "test.lost", .version = 1, .summary = "Lost", .fields = lost_fields, .step = fixture_step};

static const lm_operator *const fixture_ops[] = {&read_op,  &make_op, &blur_op,  &join_op,  &filter_op,
                                                 &merge_op, &all_op,  &write_op, &fussy_op, &square_op,
                                                 &flat_op,  &unit_op, &lost_op,  NULL};

/* Writes a file into the test's folder; its path, in static storage, good for four calls. */
static inline const char *fixture_file(const char *folder, const char *name, const char *text)
{
    static char paths[4][512];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (!file || fputs(text, file) < 0 || fclose(file)) FAIL("cannot write %s", path);
    return path;
}

static inline lm_graph *graph_of_file(const char *path, const lm_setting *settings, size_t n)
{
    lm_graph *graph = NULL;
    char *errors = NULL;
    lm_registry_builtin(fixture_ops);
    if (lm_graph_load(path, settings, n, &graph, &errors)) FAIL("%s", errors);
    return graph;
}

static inline lm_graph *graph_of(const char *text)
{
    return graph_of_file(fixture_file(test_folder(), "g.yaml", text), NULL, 0);
}

static inline void wrong_file(const char *path, const lm_setting *settings, size_t n, const char *part)
{
    lm_graph *graph = NULL;
    char *errors = NULL;
    lm_registry_builtin(fixture_ops);
    lm_status status = lm_graph_load(path, settings, n, &graph, &errors);
    if (status != LM_EGRAPH) FAIL("status %d, and not \"%s\"", (int)status, part);
    CONTAINS(errors, part);
    lm_free(errors);
}

/* A graph of these nodes is refused, and the errors hold part. */
static inline void wrong(const char *nodes, const char *part)
{
    char text[4096];
    snprintf(text, sizeof text, "lensmill: 1\nnodes:\n%s", nodes);
    wrong_file(fixture_file(test_folder(), "g.yaml", text), NULL, 0, part);
}

#endif
