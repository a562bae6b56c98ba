/* Values of a graph against an operator's table. */
#include "runtime/param_internal.h"
#include "tests/test.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    double sigma, angle, wait, unset;
    int64_t count, draws;
    bool flag;
    const char *text, *path, *out, *where;
    int edge;
    lm_texts names;
    lm_reals levels;
    json_t *tree, *wheres;
} all;

static const char *const edges[] = {"mirror", "zero", NULL};
static const lm_param params[] = {
    LM_REAL(all, sigma, 1.5, .min = 0.1, .max = 64, .unit = "pix", .per_record = true, .doc = "width"),
    LM_REAL(all, angle, 0.0, .unit = "rad", .doc = "angle"),
    LM_DURATION(all, wait, 2.0, .doc = "time"),
    LM_REAL(all, unset, (double)NAN, .doc = "none"),
    LM_INT(all, count, 3, .min = 1, .doc = "how many"),
    LM_INT(all, draws, 64, .extent = true, .doc = "draws"),
    LM_BOOL(all, flag, true, .doc = "flag"),
    LM_TEXT(all, text, "none", .doc = "text"),
    LM_PATH(all, path, NULL, .doc = "input"),
    LM_PATH(all, out, NULL, .output = true, .per_record = true, .doc = "output"),
    LM_WHERE(all, where, .doc = "condition"),
    LM_CHOICE(all, edge, "mirror", edges, .doc = "edge"),
    LM_TEXTS(all, names, "[\"image\"]", .doc = "names"),
    LM_REALS(all, levels, "[0.5, 2]", .min = 0, .max = 10, .doc = "levels"),
    LM_TREE(all, tree, NULL, .doc = "tree"),
    LM_WHERES(all, wheres, .doc = "conditions"),
    {0}};
static const lm_operator op = {
    .name = "all", .version = 1, .summary = "all types", .size = sizeof(all), .params = params};

typedef struct {
    char text[4096];
    size_t n;
} seen;

static void report(void *arg, const char *path, const char *text, const char *hint)
{
    seen *s = arg;
    size_t used = strlen(s->text);
    s->n++;
    snprintf(s->text + used, sizeof s->text - used, "[%s] %s (%s)\n", path, text, hint ? hint : "");
}

typedef struct {
    lm_arena arena;
    all self;
    json_t *complete;
    const char *canonical;
    seen faults;
    lm_status status;
} filled;

static filled *fill(const char *with)
{
    static filled f;
    f = (filled){0};
    lm_arena_init(&f.arena);
    json_t *given = with ? json_loads(with, 0, NULL) : NULL;
    CHECK(!with || given);
    const lm_param_reporter reporter = {.report = report, .arg = &f.faults};
    f.status = lm_params_fill(&op, given, "/data/survey", &f.arena, &f.self, &f.complete, &f.canonical, &reporter);
    json_decref(given);
    return &f;
}

static void drop(filled *f)
{
    json_decref(f->complete);
    lm_arena_done(&f->arena);
}

static void refused(const char *with, const char *part)
{
    filled *f = fill(with);
    EQUAL_INT(f->status, LM_EGRAPH);
    EQUAL_INT(f->faults.n, 1);
    CONTAINS(f->faults.text, part);
    drop(f);
}

TEST(defaults_fill_the_struct_and_the_key)
{
    filled *f = fill(NULL);
    EQUAL_INT(f->status, LM_OK);
    NEAR(f->self.sigma, 1.5, ABS(0)); /* a copy of the default */
    CHECK(isnan(f->self.unset));
    EQUAL_INT(f->self.count, 3);
    CHECK(f->self.flag);
    EQUAL_TEXT(f->self.text, "none");
    CHECK(!f->self.path && !f->self.where && !f->self.tree && !f->self.wheres);
    EQUAL_INT(f->self.edge, 0);
    EQUAL_INT(f->self.names.n, 1);
    EQUAL_TEXT(f->self.names.at[0], "image");
    EQUAL_INT(f->self.levels.n, 2);
    EQUAL_INT(json_object_size(f->complete), sizeof params / sizeof *params - 1);
    /* no paths, no extent; sorted; shortest numbers */
    EQUAL_TEXT(f->canonical, "{\"angle\":0,\"count\":3,\"edge\":\"mirror\",\"flag\":true,\"levels\":[0.5,2],"
                             "\"names\":[\"image\"],\"sigma\":1.5,\"text\":\"none\",\"tree\":null,\"unset\":null,"
                             "\"wait\":2,\"where\":null,\"wheres\":null}");
    drop(f);
}

TEST(one_value_has_one_canonical_text)
{
    const char *forms[][2] = {{"{\"sigma\": 2}", "{\"sigma\": 2.0}"},
                              {"{\"angle\": \"180 deg\"}", "{\"angle\": 3.14159265358979323846}"},
                              {"{\"wait\": \"1.5min\"}", "{\"wait\": 90}"},
                              {"{\"count\": 1000}", "{\"count\": 1e3}"},
                              {"{\"names\": \"image\"}", "{}"},
                              {"{\"tree\": {\"b\": 1, \"a\": 2.0}}", "{\"tree\": {\"a\": 2, \"b\": 1.0}}"},
                              {"{\"sigma\": null}", "{\"sigma\": 1.5}"},
                              {"{\"angle\": -0.0}", "{\"angle\": 0}"},
                              {"{\"path\": \"a\", \"draws\": 3}", "{\"path\": \"b\", \"draws\": 256}"}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        filled *f = fill(forms[i][0]);
        EQUAL_INT(f->status, LM_OK);
        char *first = lm_strdup(f->canonical);
        drop(f);
        f = fill(forms[i][1]);
        EQUAL_INT(f->status, LM_OK);
        EQUAL_TEXT(f->canonical, first);
        lm_free(first);
        drop(f);
    }
}

TEST(inputs_are_relative_to_the_graph_and_outputs_to_us)
{
    char here[PATH_MAX], wanted[PATH_MAX + 64];
    CHECK(getcwd(here, sizeof here));
    filled *f = fill("{\"path\": \"../other/./x/../y*.fits\", \"out\": \"out/{id}.fits\"}");
    EQUAL_INT(f->status, LM_OK);
    EQUAL_TEXT(f->self.path, "/data/other/./x/../y*.fits"); /* what is behind a name may be a link: left as it is */
    snprintf(wanted, sizeof wanted, "%s/out/{id}.fits", here);
    EQUAL_TEXT(f->self.out, wanted);
    drop(f);
    f = fill("{\"path\": \"/abs/file\", \"out\": \"s3://bucket/x\"}");
    EQUAL_TEXT(f->self.path, "/abs/file");
    EQUAL_TEXT(f->self.out, "s3://bucket/x");
    drop(f);
}

TEST(paths_join)
{
    lm_arena arena;
    lm_arena_init(&arena);
    EQUAL_TEXT(lm_path_under("/", "a", false, &arena), "/a");
    EQUAL_TEXT(lm_path_under("/a/b", "../../../c", false, &arena), "/c");
    EQUAL_TEXT(lm_path_under("/a/b", ".", false, &arena), "/a/b");
    EQUAL_TEXT(lm_path_under("/a/b/", "./c", false, &arena), "/a/b/c");
    EQUAL_TEXT(lm_path_under("/a", "..", false, &arena), "/");
    EQUAL_TEXT(lm_path_under("/a{b}", "c{d}", true, &arena), "/a{{b}}/c{d}");
    EQUAL_TEXT(lm_path_under("/a", "...", false, &arena), "/a/...");
    lm_arena_done(&arena);
}

TEST(per_record_templates_only_where_the_table_says)
{
    filled *f = fill("{\"sigma\": \"{SIGMA}\"}");
    EQUAL_INT(f->status, LM_OK);
    CHECK(isnan(f->self.sigma));
    EQUAL_TEXT(json_string_value(json_object_get(f->complete, "sigma")), "{SIGMA}");
    CONTAINS(f->canonical, "\"sigma\":\"{SIGMA}\"");
    drop(f);
    refused("{\"sigma\": \"{SIGMA}0\"}", "one {NAME} alone");
    refused("{\"angle\": \"{PHI}\"}", "cannot differ by record");
    refused("{\"text\": \"a {B}\"}", "cannot differ by record");
    refused("{\"edge\": \"{EDGE}\"}", "cannot differ by record");
    f = fill("{\"text\": \"$\\\\theta_{{E}}$\"}");
    EQUAL_TEXT(f->self.text, "$\\theta_{E}$");
    drop(f);
}

TEST(faults_say_what_where_and_what_to_do)
{
    refused("{\"sigma\": 0}", "[sigma] \"sigma\" is 0, and must be between 0.1 and 64 pix");
    refused("{\"count\": 0}", "at least 1");
    refused("{\"count\": 1.5}", "wants a whole number, not the number 1.5");
    refused("{\"sigma\": \"2\"}", "Remove the quotes");
    refused("{\"sigma\": [2]}", "not a list");
    refused("{\"angle\": \"3 parsec\"}", "wants a number");
    refused("{\"wait\": \"soon\"}", "duration");
    refused("{\"wait\": -1}", "duration");
    refused("{\"flag\": \"yes\"}", "only true and false");
    refused("{\"text\": 7}", "quotes");
    refused("{\"edge\": \"miror\"}", "Did you mean \"mirror\"");
    refused("{\"path\": \"\"}", "empty");
    refused("{\"names\": [\"a\", 3]}", "[names.1] \"names.1\" wants a text");
    refused("{\"levels\": [1, 11]}", "[levels.1] \"levels.1\" is 11, and must be between 0 and 10");
    refused("{\"where\": \".attrs.MAG <\"}", "jq");
    refused("{\"wheres\": {\"A\": \".id\", \"B\": \".attrs.MAG <\"}}",
            "[wheres.B] \"wheres.B\" is not a jq expression");
    refused("{\"wheres\": {\"A\": 3}}", "[wheres.A] \"wheres.A\" wants a jq expression, not the number 3");
    refused("{\"wheres\": \".id\"}", "[wheres] \"wheres\" wants a map of names to jq expressions");
    refused("{\"sigm\": 2}", "Did you mean \"sigma\"");
    filled *f = fill("{\"sigma\": 0, \"count\": 0, \"nonsense\": 1, \"flag\": 2}");
    EQUAL_INT(f->status, LM_EGRAPH);
    EQUAL_INT(f->faults.n, 4); /* all at once */
    drop(f);
}

TEST(every_failed_allocation_is_survived)
{
    json_t *with =
        json_loads("{\"names\": [\"a\", \"b\"], \"levels\": [1, 2], \"path\": \"x\", \"tree\": {\"a\": [1]}, "
                   "\"wheres\": {\"a\": \".id\"}}",
                   0, NULL);
    uint64_t n = 1;
    for (; n < 1000; n++) {
        lm_arena arena;
        all self = {0};
        json_t *complete = NULL;
        const char *canonical = NULL;
        lm_arena_init(&arena);
        lm_alloc_fail_at(n);
        lm_status status = lm_params_fill(&op, with, "/data", &arena, &self, &complete, &canonical, NULL);
        bool fired = lm_alloc_count() >= n;
        lm_alloc_fail_at(0);
        if (fired) EQUAL_INT(status, LM_EMEMORY);
        else EQUAL_INT(status, LM_OK);
        json_decref(complete);
        lm_arena_done(&arena);
        if (!fired) break;
    }
    CHECK(n > 5 && n < 1000);
    json_decref(with);
}
