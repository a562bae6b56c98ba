/* count: how many records there are, of each kind. */
#include "runtime/operator.h"
#include "runtime/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *by;
    int64_t groups;
} counting;

static const lm_param params[] = {
    LM_TEXT(counting, by, NULL,
            .doc = "attribute to count by: with `by: BAND` the result has an attribute count_F814W, "
                   "count_F606W, ... for each value that occurs, and count_undefined for records where it is "
                   "undefined or absent"),
    LM_INT(counting, groups, 100, .min = 1, .max = 10000,
           .doc = "most different values that are counted; more of them make an error, since an attribute of "
                  "real numbers is rarely what one means to count by"),
    {0}};

static const lm_port ports[] = {{.name = "in", .kind = LM_PORT_GATHER, .doc = "records to count"},
                                {.name = "out", .kind = LM_PORT_OUT, .doc = "one record with the numbers"},
                                {0}};

static const lm_field fields[] = {
    LM_IN("in", "*", LM_ANY_DTYPE, "*", "*", "any records"),
    LM_OUT_ATTR("out", "count", LM_KIND_INT, "", "number of records"),
    LM_OUT_ATTR("out", "missing", LM_KIND_INT, "", "number of records that failed before they came here"),
    {0}};

typedef struct {
    char *value; /* owned */
    int64_t n;
} group;

typedef struct {
    group *at;
    size_t n, cap;
} groups;

static int by_value(const void *a, const void *b)
{
    return strcmp(((const group *)a)->value, ((const group *)b)->value);
}

static lm_status add(groups *g, const char *value, size_t most, const char *by, lm_error *err)
{
    for (size_t i = g->n; i--;) /* neighbours are often alike */
        if (strcmp(g->at[i].value, value) == 0) {
            g->at[i].n++;
            return LM_OK;
        }
    if (g->n == most)
        return LM_FAIL_HINT(err, LM_EINPUT, "Raise `groups`, or count by an attribute with few values.",
                            "attribute \"%s\" has more than %zu different values", by, most);
    if (!lm_grow(&g->at, g->n, &g->cap, sizeof *g->at)) return LM_NOMEM(err);
    char *copy = lm_strdup(value);
    if (!copy) return LM_NOMEM(err);
    g->at[g->n++] = (group){.value = copy, .n = 1};
    return LM_OK;
}

static lm_status count_groups(const counting *c, lm_step *step, groups *g, int64_t *undefined, lm_error *err)
{
    size_t n = lm_step_count(step, "in");
    for (size_t i = 0; i < n; i++) {
        const lm_record *member;
        LM_TRY(lm_step_member(step, "in", i, &member, err));
        char buffer[64];
        lm_value value = lm_record_value(member, c->by);
        if (value.kind == LM_KIND_NULL || (value.kind == LM_KIND_REAL && isnan(value.real))) ++*undefined;
        else LM_TRY(add(g, lm_value_text(value, buffer), (size_t)c->groups, c->by, err));
        if (i % 1024 == 0 && lm_step_stopped(step)) return LM_ESTOP(step, err);
    }
    if (g->n) qsort(g->at, g->n, sizeof *g->at, by_value);
    for (size_t i = 0; i < g->n; i++) {
        size_t room = strlen(g->at[i].value) + sizeof "count_";
        char *name = lm_step_scratch(step, room, 1);
        if (!name) return LM_NOMEM(err);
        snprintf(name, room, "count_%s", g->at[i].value);
        LM_TRY(lm_step_set(step, NULL, name, lm_int(g->at[i].n), NULL, err));
    }
    return *undefined ? lm_step_set(step, NULL, "count_undefined", lm_int(*undefined), NULL, err) : LM_OK;
}

static lm_status count_step(const void *self, lm_step *step, lm_error *err)
{
    const counting *c = self;
    LM_TRY(lm_step_base(step, NULL, NULL, err));
    LM_TRY(lm_step_set(step, NULL, "count", lm_int((int64_t)lm_step_count(step, "in")), "number of records", err));
    LM_TRY(lm_step_set(step, NULL, "missing", lm_int((int64_t)lm_step_missing(step, "in")),
                       "records that failed before", err));
    if (!c->by) return LM_OK;
    groups g = {0};
    int64_t undefined = 0;
    lm_status status = count_groups(c, step, &g, &undefined, err);
    for (size_t i = 0; i < g.n; i++) lm_free(g.at[i].value);
    lm_free(g.at);
    return status;
}

const lm_operator lm_op_count = {
    .name = "count",
    .version = 1,
    .summary = "Count the records of a window, all of them or by an attribute",
    .example = "by: BAND",
    .shape = LM_GATHER,
    .flags = LM_HEADER,
    .size = sizeof(counting),
    .params = params,
    .ports = ports,
    .fields = fields,
    .step = count_step,
};
