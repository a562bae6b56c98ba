/* Plugins: the example of operators/plugins/image_smooth, compiled here as its README says, and libraries that must be refused. */
#include "operators/builtin.h"
#include "runtime/plugin.h"
#include "runtime/registry.h"
#include "tests/apply.h"
#include "tests/test.h"

#include <unistd.h>

static lm_error *err = &(lm_error){0};

static char folder[128];

static void remove_folder(void)
{
    char command[256];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    if (system(command) != 0) perror(folder);
}

/* Compiles sources (a shell pattern, or a file) to a library in a folder that lasts as long as the program. */
static const char *build(const char *name, const char *sources, const char *flags)
{
    static char paths[16][512];
    static unsigned n;
    if (!*folder) {
        snprintf(folder, sizeof folder, "%s/lensmill-plugin-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
        CHECK(mkdtemp(folder));
        atexit(remove_folder);
    }
    char *path = paths[n++ % 16], command[4096];
    snprintf(path, sizeof paths[0], "%s/%s.so", folder, name);
    snprintf(command, sizeof command,
             "cc -std=gnu17 -O1 -fPIC -shared -fvisibility=hidden -DLM_PLUGIN=1 -D_GNU_SOURCE %s -I'%s' %s "
             "-Wl,-z,defs -lm -o '%s'",
             flags, LM_SOURCE_DIR, sources, path);
    if (system("cc --version > /dev/null 2>&1") != 0) SKIP("no C compiler");
    if (system(command) != 0) FAIL("cannot compile %s", sources);
    return path;
}

static const char *example(void)
{
    static const char *path;
    if (!path) path = build("image_smooth", LM_SOURCE_DIR "/operators/plugins/image_smooth/*.c", "");
    return path;
}

static const lm_operator *op(const char *name)
{
    if (!lm_registry_count()) lm_registry_builtin(lm_builtin_operators);
    OK(lm_plugin_load(example(), err), err);
    const lm_operator *found = lm_registry_find(name);
    if (!found) FAIL("no operator \"%s\"", name);
    return found;
}

TEST(operators_of_a_library_are_registered_once)
{
    const lm_operator *smooth = op("image.smooth");
    CHECK(lm_registry_code(smooth) != NULL);
    CHECK(!lm_digest_is_zero(lm_registry_code(smooth)));
    CHECK(lm_digest_equal(lm_registry_code(smooth), lm_registry_code(op("image.noise"))));
    size_t n = lm_registry_count();
    OK(lm_plugin_load(example(), err), err);
    EQUAL_INT(lm_registry_count(), n);
    /* the digest is that of the file, as sha256sum prints it */
    char command[600], line[128] = "", text[65];
    snprintf(command, sizeof command, "sha256sum '%s'", example());
    FILE *sum = popen(command, "r");
    CHECK(sum && fgets(line, sizeof line, sum));
    pclose(sum);
    line[64] = 0;
    EQUAL_TEXT(lm_digest_text(text, lm_registry_code(smooth)), line);
}

TEST(library_needs_no_symbol_of_the_program)
{
    char command[700], line[512];
    snprintf(command, sizeof command, "nm -D '%s'", example());
    FILE *nm = popen(command, "r");
    CHECK(nm);
    int shown = 0;
    while (fgets(line, sizeof line, nm)) {
        if (!strstr(line, "lm_")) continue;
        shown++;
        CONTAINS(line, " T lm_plugin_entry");
    }
    pclose(nm);
    EQUAL_INT(shown, 1);
}

/* The definition, as a double sum over the plane. Beyond the border is the mirror image (mirror) or nothing. */
static double blurred(const double *image, int h, int w, int y, int x, double sigma, bool mirror)
{
    int half = (int)ceil(4 * sigma);
    double sum = 0, norm = 0;
    for (int i = -half; i <= half; i++)
        for (int j = -half; j <= half; j++) {
            double g = exp(-(i * i + j * j) / (2 * sigma * sigma));
            int yy = y + i, xx = x + j;
            norm += g;
            bool outside = yy < 0 || yy >= h || xx < 0 || xx >= w;
            if (outside && !mirror) continue;
            if (yy < 0) yy = -1 - yy;
            if (yy >= h) yy = 2 * h - 1 - yy;
            if (xx < 0) xx = -1 - xx;
            if (xx >= w) xx = 2 * w - 1 - xx;
            sum += g * image[yy * w + xx];
        }
    return sum / norm;
}

TEST(image_smooth_is_a_gaussian_blur)
{
    enum { H = 20, W = 23 };
    double image[H * W], expected[H * W], got[H * W];
    for (int k = 0; k < H * W; k++) image[k] = (k * 37 % 101) - 20;
    LM_OWN(lm_record) in = record_new("a");
    record_f32(in, "image", image, 2, (size_t[]){H, W});
    OK(lm_tensor_set_unit(lm_record_tensor(in, "image"), "ct / s", err), err);
    for (int mirror = 0; mirror < 2; mirror++) {
        LM_OWN(lm_record)
        out = apply(op("image.smooth"), mirror ? "{\"sigma\": 1.3}" : "{\"sigma\": 1.3, \"edge\": \"zero\"}", in);
        for (int k = 0; k < H * W; k++) expected[k] = blurred(image, H, W, k / W, k % W, 1.3, mirror);
        lm_tensor_to_f64(lm_record_tensor(out, "image"), got);
        NEAR_ARRAY(got, expected, H * W, REL(2e-7)); /* two roundings to float32 */
        EQUAL_TEXT(lm_record_tensor(out, "image")->unit, "ct / s");
        if (!mirror) continue;
        double before = 0, after = 0;
        for (int k = 0; k < H * W; k++) before += image[k], after += got[k];
        NEAR(after, before, REL(1e-6)); /* mirror images keep the flux; 460 float32 pixels */
    }
    LM_OWN(lm_record) small = record_new("b");
    record_f32(small, "image", image, 2, (size_t[]){8, 8});
    const lm_record *record = small;
    apply_input inputs[] = {{"in", &record, 1}, {NULL, NULL, 0}};
    lm_record *outputs[LM_MAX_PORTS] = {NULL};
    EQUAL_INT(apply_step(op("image.smooth"), "{}", inputs, 0, outputs, NULL, err), LM_EINPUT);
    EQUAL_TEXT(err->text, "image of 8 x 8 pixels is smaller than the 13-pixel kernel"); /* formatted in the plugin */
    CONTAINS(err->hint, "sigma");
}

static lm_record *draw(const char *params, const lm_record *in, uint64_t k, bool *ended)
{
    apply_input inputs[] = {{"in", &in, 1}, {NULL, NULL, 0}};
    lm_record *outputs[LM_MAX_PORTS] = {NULL};
    OK(apply_step(op("image.noise"), params, inputs, k, outputs, ended, err), err);
    return outputs[0];
}

TEST(image_noise_draws_by_index)
{
    enum { N = 64 * 64 };
    static double flat[N];
    LM_OWN(lm_record) in = record_new("flat");
    record_f32(in, "image", flat, 2, (size_t[]){64, 64});
    record_set(in, "RMS", lm_real(3));
    bool ended;
    LM_OWN(lm_record) a = draw("{\"sigma\": \"{RMS}\", \"draws\": 4}", in, 2, &ended);
    LM_OWN(lm_record) b = draw("{\"sigma\": \"{RMS}\", \"draws\": 8}", in, 2, &ended);
    EQUAL_TEXT(lm_record_id(a), "flat-0002");
    EQUAL_INT(lm_record_value(a, "draw").integer, 2);
    const lm_tensor *x = lm_record_tensor(a, "image"), *y = lm_record_tensor(b, "image");
    CHECK(memcmp(x->data, y->data, x->bytes) == 0); /* more draws change none of the first */
    double sum = 0, squares = 0;
    for (size_t i = 0; i < N; i++) {
        double v = lm_tensor_get(x, i);
        sum += v, squares += v * v;
    }
    NEAR(sum / N, 0, ABS(5 * 3 / sqrt(N)));             /* five standard errors of the mean */
    NEAR(sqrt(squares / N), 3, REL(5 / sqrt(2.0 * N))); /* and of the standard deviation */
    LM_OWN(lm_record) none = draw("{\"draws\": 4}", in, 4, &ended);
    CHECK(ended);
}

/* A library that describes itself as told. */
static const char *liar(const char *name, const char *abi, const char *host_size, const char *operator_size,
                        const char *op_name)
{
    static const char source[] =
        "#include \"runtime/plugin.h\"\n"
        "static lm_status step(const void *s, lm_step *t, lm_error *e) { (void)s, (void)t, (void)e; return LM_OK; }\n"
        "static const lm_operator op = {.name = NAME, .version = 1, .summary = \"x\", .step = step};\n"
        "static const lm_operator *const list[] = {&op};\n"
        "static const lm_plugin plugin = {.abi = ABI, .struct_size = sizeof(lm_plugin), .host_size = HOST,\n"
        "    .operator_size = OPERATOR, .layout = LM_LAYOUT, .name = \"liar\", .operators = list, .n_operators = 1};\n"
        "const lm_plugin *lm_plugin_entry(const lm_host *host) { (void)host; return &plugin; }\n";
    char path[512], flags[512];
    snprintf(path, sizeof path, "%s/%s.c", test_folder(), name);
    FILE *file = fopen(path, "w");
    CHECK(file && fputs(source, file) >= 0);
    fclose(file);
    snprintf(flags, sizeof flags, "-DABI='%s' -DHOST='%s' -DOPERATOR='%s' -DNAME='\"%s\"'", abi, host_size,
             operator_size, op_name);
    return build(name, path, flags);
}

TEST(what_does_not_fit_is_refused)
{
    char speaks[100];
    op("image.smooth");
    size_t n = lm_registry_count();
    EQUAL_INT(
        lm_plugin_load(liar("newer", "LM_PLUGIN_ABI+1", "sizeof(lm_host)", "sizeof(lm_operator)", "x.newer"), err),
        LM_EGRAPH);
    snprintf(speaks, sizeof speaks, "newer.so\" speaks interface %d, this lensmill", LM_PLUGIN_ABI + 1);
    CONTAINS(err->text, speaks);
    CONTAINS(err->hint, "newer");
    EQUAL_INT(
        lm_plugin_load(liar("older", "LM_PLUGIN_ABI-1", "sizeof(lm_host)", "sizeof(lm_operator)", "x.older"), err),
        LM_EGRAPH);
    snprintf(speaks, sizeof speaks, "speaks interface %d", LM_PLUGIN_ABI - 1);
    CONTAINS(err->text, speaks);
    EQUAL_INT(
        lm_plugin_load(liar("longer", "LM_PLUGIN_ABI", "sizeof(lm_host)+8", "sizeof(lm_operator)", "x.longer"), err),
        LM_EGRAPH);
    CONTAINS(err->text, "wants more functions");
    EQUAL_INT(lm_plugin_load(liar("short", "LM_PLUGIN_ABI", "sizeof(lm_host)", "8", "x.short"), err), LM_EGRAPH);
    CONTAINS(err->text, "structs differ");
    EQUAL_INT(
        lm_plugin_load(liar("twice", "LM_PLUGIN_ABI", "sizeof(lm_host)", "sizeof(lm_operator)", "image.smooth"), err),
        LM_EGRAPH);
    CONTAINS(err->text, "there is an operator \"image.smooth\" already");
    CONTAINS(err->text, "in plugin \"liar\"");
    EQUAL_INT(
        lm_plugin_load(liar("unsound", "LM_PLUGIN_ABI", "sizeof(lm_host)", "sizeof(lm_operator)", "Not Good"), err),
        LM_EGRAPH);
    EQUAL_INT(lm_registry_count(), n);
    OK(lm_plugin_load(liar("fits", "LM_PLUGIN_ABI", "sizeof(lm_host)-8", "sizeof(lm_operator)", "x.fits"), err), err);
    EQUAL_INT(lm_registry_count(), n + 1);
    CHECK(lm_registry_find("x.fits"));
}

TEST(what_is_no_plugin_is_refused)
{
    EQUAL_INT(lm_plugin_load("/nowhere/x.so", err), LM_EGRAPH);
    CONTAINS(err->text, "cannot find the plugin \"/nowhere/x.so\"");
    char path[512];
    snprintf(path, sizeof path, "%s/text.so", test_folder());
    FILE *file = fopen(path, "w");
    CHECK(file && fputs("not a library", file) >= 0);
    fclose(file);
    EQUAL_INT(lm_plugin_load(path, err), LM_EGRAPH);
    CONTAINS(err->text, "cannot load the plugin");
    snprintf(path, sizeof path, "%s/empty.c", test_folder());
    file = fopen(path, "w");
    CHECK(file && fputs("int x;\n", file) >= 0);
    fclose(file);
    EQUAL_INT(lm_plugin_load(build("empty", path, ""), err), LM_EGRAPH);
    CONTAINS(err->text, "is no lensmill plugin");
}
