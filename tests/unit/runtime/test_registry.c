/* The registry, and what makes an operator's table sound. */
#include "runtime/graph.h"
#include "runtime/registry.h"
#include "tests/test.h"

static lm_status step(const void *self, lm_step *s, lm_error *err)
{
    (void)self, (void)s, (void)err;
    return LM_OK;
}
static lm_status list(void *self, lm_items *items, lm_error *err)
{
    (void)self, (void)items, (void)err;
    return LM_OK;
}

typedef struct {
    double a;
    int b;
} state;
static const char *const words[] = {"one", "two", NULL};
static const lm_param good_params[] = {
    LM_REAL(state, a, 1.0, .min = 0.5, .max = 2, .doc = "a"), LM_CHOICE(state, b, "one", words, .doc = "b"), {0}};
static const lm_port good_ports[] = {{"data", LM_PORT_STREAM, "data", false},
                                     {"model", LM_PORT_BROADCAST, "model", true},
                                     {"best", LM_PORT_OUT, "best", false},
                                     {0}};
static const lm_field good_fields[] = {LM_IN("data", "image", LM_F32, "H W", "*", "image"),
                                       LM_OUT("best", "image", LM_SAME_DTYPE, "H W", "=", "image"),
                                       {0}};
static const lm_operator good = {.name = "a.good_one",
                                 .version = 1,
                                 .summary = "Does good",
                                 .size = sizeof(state),
                                 .params = good_params,
                                 .ports = good_ports,
                                 .fields = good_fields,
                                 .step = step};

static void unsound(lm_operator op, const char *part)
{
    lm_error err;
    lm_error_clear(&err);
    EQUAL_INT(lm_operator_check(&op, &err), LM_EGRAPH);
    CONTAINS(err.text, part);
}
#define UNSOUND(part, ...)                                                                                             \
    do {                                                                                                               \
        lm_operator op_ = good;                                                                                        \
        __VA_ARGS__;                                                                                                   \
        unsound(op_, part);                                                                                            \
    } while (0)

TEST(a_sound_table_passes)
{
    lm_error err;
    OK(lm_operator_check(&good, &err), &err);
}

TEST(unsound_tables_are_named)
{
    static const lm_param no_doc[] = {LM_REAL(state, a, 1.0), {0}};
    static const lm_param outside[] = {
        LM_REAL(state, a, 1.0, .doc = "a"), {.name = "far", .type = LM_P_REAL, .offset = 64, .doc = "x"}, {0}};
    static const lm_param twice[] = {LM_REAL(state, a, 1.0, .doc = "a"), LM_REAL(state, a, 1.0, .doc = "a"), {0}};
    static const lm_param bad_default[] = {LM_REAL(state, a, 3.0, .min = 0, .max = 2, .doc = "a"), {0}};
    static const lm_param bad_choice[] = {LM_CHOICE(state, b, "three", words, .doc = "b"), {0}};
    static const lm_param bad_schema[] = {{.name = "t", .type = LM_P_TREE, .doc = "t", .schema = "{"}, {0}};
    static const lm_port errors[] = {{"errors", LM_PORT_OUT, "x", false}, {0}};
    static const lm_port merges[] = {{"in", LM_PORT_MERGE, "x", false}, {"other", LM_PORT_STREAM, "x", false}, {0}};
    static const lm_field elsewhere[] = {LM_IN("nowhere", "image", LM_F32, "H W", "*", "image"), {0}};
    static const lm_field no_unit[] = {LM_IN("data", "image", LM_F32, "H W", NULL, "image"), {0}};
    UNSOUND("name", op_.name = "Upper.Case");
    UNSOUND("version", op_.version = 0);
    UNSOUND("full stop", op_.summary = "Does good.");
    UNSOUND("step()", op_.step = NULL);
    UNSOUND("no doc", op_.params = no_doc);
    UNSOUND("outside", op_.params = outside);
    UNSOUND("two parameters", op_.params = twice);
    UNSOUND("must be", op_.params = bad_default);
    UNSOUND("\"one\" or \"two\"", op_.params = bad_choice);
    UNSOUND("schema", op_.params = bad_schema);
    UNSOUND("\"errors\"", op_.ports = errors; op_.fields = NULL);
    UNSOUND("merge port", op_.ports = merges; op_.fields = NULL);
    UNSOUND("which it has not", op_.fields = elsewhere);
    UNSOUND("no unit", op_.fields = no_unit);
    UNSOUND("source with an input", op_.shape = LM_SOURCE; op_.list = list);
    UNSOUND("without list()", op_.shape = LM_SOURCE; op_.ports = NULL; op_.fields = NULL);
    UNSOUND("sink with an output", op_.shape = LM_SINK);
    UNSOUND("step_batch", op_.flags = LM_BATCH);
}

TEST(ports_have_defaults)
{
    const lm_port *ports[16];
    lm_operator op = {.name = "x", .shape = LM_MAP};
    EQUAL_INT(lm_operator_inputs(&op, ports), 1);
    EQUAL_TEXT(ports[0]->name, "in");
    EQUAL_INT(ports[0]->kind, LM_PORT_STREAM);
    EQUAL_INT(lm_operator_outputs(&op, ports), 1);
    EQUAL_TEXT(ports[0]->name, "out");
    op.shape = LM_GATHER;
    EQUAL_INT(lm_operator_inputs(&op, ports), 1);
    EQUAL_INT(ports[0]->kind, LM_PORT_GATHER);
    op.shape = LM_SOURCE;
    EQUAL_INT(lm_operator_inputs(&op, ports), 0);
    op.shape = LM_SINK;
    EQUAL_INT(lm_operator_outputs(&op, ports), 0);
    EQUAL_INT(lm_operator_inputs(&good, ports), 2);
    EQUAL_TEXT(ports[1]->name, "model");
    EQUAL_INT(lm_operator_outputs(&good, ports), 1);
}

TEST(operators_are_found_sorted_and_once)
{
    static const lm_operator b = {.name = "b", .version = 1, .summary = "B", .step = step};
    static const lm_operator c = {.name = "c", .version = 1, .summary = "C", .step = step};
    static const lm_operator bad = {.name = "d", .version = 0, .summary = "D", .step = step};
    static const lm_operator *const first[] = {&c, &good, NULL};
    const lm_operator *more[] = {&b}, *again[] = {&b, &c}, *some[] = {&bad};
    lm_digest code = lm_digest_of("library", 7);
    lm_error err;
    lm_registry_builtin(first);
    EQUAL_INT(lm_registry_count(), 2);
    OK(lm_registry_add(more, 1, &code, &err), &err);
    EQUAL_INT(lm_registry_count(), 3);
    EQUAL_TEXT(lm_registry_at(0)->name, "a.good_one");
    EQUAL_TEXT(lm_registry_at(1)->name, "b");
    CHECK(lm_registry_find("c") == &c && !lm_registry_find("d") && !lm_registry_at(3));
    CHECK(!lm_registry_code(&c));
    CHECK(lm_registry_code(&b) && lm_digest_equal(lm_registry_code(&b), &code));
    EQUAL_TEXT(lm_operator_room(&b), "plugins");
    EQUAL_TEXT(lm_operator_room(&c), "flow");
    EQUAL_INT(lm_registry_add(again, 2, &code, &err), LM_EGRAPH);
    CONTAINS(err.text, "already");
    EQUAL_INT(lm_registry_add(some, 1, &code, &err), LM_EGRAPH);
    EQUAL_INT(lm_registry_count(), 3); /* all or none */
}
