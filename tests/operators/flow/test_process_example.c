/* The operator `process` with the Python example, and a stored record read by Google's protobuf and NumPy. */
#include "operators/builtin.h"
#include "runtime/codec.h"
#include "runtime/registry.h"
#include "tests/apply.h"
#include "tests/test.h"

#include <unistd.h>

static lm_error *err = &(lm_error){0};

static const lm_operator *op(const char *name)
{
    if (!lm_registry_count()) lm_registry_builtin(lm_builtin_operators);
    const lm_operator *found = lm_registry_find(name);
    if (!found) FAIL("no operator \"%s\"", name);
    return found;
}

/* Debian's own Python has Debian's numpy and protobuf; another one that stands before it in PATH may not. */
static void need_python(void)
{
    char path[4096];
    snprintf(path, sizeof path, "/usr/bin:%s", getenv("PATH") ? getenv("PATH") : "/bin");
    setenv("PATH", path, 1);
    if (system("python3 -c 'import numpy, google.protobuf' > /dev/null 2>&1 && protoc --version > /dev/null 2>&1") != 0)
        SKIP("no python3 with numpy and protobuf, or no protoc");
}

enum { H = 7, W = 9 };
static double image[H * W];

static lm_record *galaxy(const char *id)
{
    lm_record *r = record_new(id);
    for (int k = 0; k < H * W; k++) image[k] = (k * 37 % 101) * 0.25;
    record_f32(r, "image", image, 2, (size_t[]){H, W});
    OK(lm_tensor_set_unit(lm_record_tensor(r, "image"), "ct / s", err), err);
    record_f64(r, "psf", (double[]){0.25, 0.75}, 1, (size_t[]){2});
    record_set(r, "MAG", lm_real(22.5));
    record_set(r, "N", lm_int(-3));
    record_set(r, "GOOD", lm_bool(1));
    record_set(r, "UNDEF", lm_null());
    return r;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median9(int y, int x)
{
    double nine[9];
    int n = 0;
    for (int j = -1; j <= 1; j++)
        for (int i = -1; i <= 1; i++) {
            int yy = y + j < 0 ? 0 : y + j >= H ? H - 1 : y + j; /* mirrored: the border pixel again */
            int xx = x + i < 0 ? 0 : x + i >= W ? W - 1 : x + i;
            nine[n++] = image[yy * W + xx];
        }
    qsort(nine, 9, sizeof *nine, by_size);
    return nine[4];
}

static const char *params(const char *more)
{
    static char text[1024];
    snprintf(text, sizeof text,
             "{\"folder\": \"%s/tools/examples\", \"command\": [\"python3\", \"process_denoise.py\", \"3\"]%s}",
             LM_SOURCE_DIR, more);
    return text;
}

static lm_status run(const char *with, const lm_record *in, lm_record **ret)
{
    lm_record *outputs[LM_MAX_PORTS] = {NULL};
    apply_input inputs[] = {{"in", &in, 1}, {NULL, NULL, 0}};
    lm_status status = apply_step(op("process"), with, inputs, 0, outputs, NULL, err);
    *ret = outputs[0];
    return status;
}

TEST(the_python_example_takes_a_running_median)
{
    need_python();
    LM_OWN(lm_record) in = galaxy("cosmos-1");
    LM_OWN(lm_record) out = NULL;
    OK(run(params(""), in, &out), err);
    EQUAL_TEXT(lm_record_id(out), "cosmos-1");
    const lm_tensor *smooth = lm_record_tensor(out, "image");
    EQUAL_INT(smooth->dtype, LM_F32);
    EQUAL_TEXT(smooth->unit, "ct / s");
    for (int k = 0; k < H * W; k++)
        NEAR(lm_tensor_get(smooth, (size_t)k), median9(k / W, k % W), ABS(0)); /* picks values */
    EQUAL_INT(lm_record_value(out, "median_width").integer, 3);
    CHECK(lm_value_equal(lm_record_value(out, "MAG"), lm_real(22.5)));
    CHECK(lm_value_equal(lm_record_value(out, "N"), lm_int(-3)));
    CHECK(lm_value_equal(lm_record_value(out, "GOOD"), lm_bool(1)));
    CHECK(lm_record_attr(out, "UNDEF") && lm_record_value(out, "UNDEF").kind == LM_KIND_NULL);
    const lm_tensor *psf = lm_record_tensor(out, "psf");
    CHECK(psf->dtype == LM_F64 && lm_tensor_get(psf, 1) == 0.75);
}

TEST(the_python_example_refuses_and_skips)
{
    need_python();
    LM_OWN(lm_record) no_image = record_new("empty");
    lm_record *none = NULL;
    EQUAL_INT(run(params(""), no_image, &none), LM_EINPUT);
    CONTAINS(err->text, "no tensor \"image\"");
    LM_OWN(lm_record) blank = record_new("blank");
    double nan[9];
    for (int k = 0; k < 9; k++) nan[k] = NAN;
    record_f64(blank, "image", nan, 2, (size_t[]){3, 3});
    OK(run(params(""), blank, &none), err);
    CHECK(!none); /* a tombstone */
}

TEST(parameters_of_process)
{
    LM_OWN(lm_record) in = galaxy("a");
    lm_record *none = NULL;
    EQUAL_INT(run("{\"command\": []}", in, &none), LM_EGRAPH);
    EQUAL_INT(run("{}", in, &none), LM_EGRAPH);
    EQUAL_INT(run("{\"command\": [\"./no_such_program\"]}", in, &none), LM_EGRAPH);
    CONTAINS(err->text, "no_such_program");
    OK(lm_operator_check(op("process"), err), err);
}

static char added[8][1024];
static int n_added;
static void add(void *arg, const char *path)
{
    (void)arg;
    snprintf(added[n_added++ % 8], sizeof added[0], "%s", path);
}

/* The first fields of the operator's struct, filled by hand as the engine would. */
TEST(files_of_the_command_are_part_of_the_key)
{
    const lm_operator *process = op("process");
    char *self = calloc(1, process->size);
    CHECK(self);
    const char *command[] = {"python3", "tools/examples/process_denoise.py", "3"}, *files[] = {"README.nowhere"},
               *folder = LM_SOURCE_DIR;
    for (const lm_param *p = process->params; p->name; p++) {
        if (strcmp(p->name, "command") == 0) memcpy(self + p->offset, &(lm_texts){3, command}, sizeof(lm_texts));
        if (strcmp(p->name, "folder") == 0) memcpy(self + p->offset, &folder, sizeof folder);
    }
    n_added = 0;
    OK(process->code_files(self, add, NULL, err), err);
    EQUAL_INT(n_added, 1);
    EQUAL_TEXT(added[0], LM_SOURCE_DIR "/tools/examples/process_denoise.py");
    for (const lm_param *p = process->params; p->name; p++)
        if (strcmp(p->name, "files") == 0) memcpy(self + p->offset, &(lm_texts){1, files}, sizeof(lm_texts));
    EQUAL_INT(process->code_files(self, add, NULL, err), LM_EGRAPH);
    CONTAINS(err->text, "no file \"README.nowhere\"");
    free(self);
}

static void save(const char *path, const void *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    CHECK(file && fwrite(bytes, 1, n, file) == n && fclose(file) == 0);
}

static const char *output_of(const char *command)
{
    static char text[4096];
    FILE *pipe = popen(command, "r");
    CHECK(pipe);
    size_t n = fread(text, 1, sizeof text - 1, pipe);
    text[n] = 0;
    EQUAL_INT(pclose(pipe), 0);
    return text;
}

TEST(google_protobuf_reads_what_is_stored)
{
    need_python();
    LM_OWN(lm_record) in = galaxy("cosmos-1");
    lm_arena arena;
    lm_arena_init(&arena);
    lm_bytes bytes;
    OK(lm_record_encode(in, true, &arena, &bytes, err), err);
    char path[512], command[2048];
    snprintf(path, sizeof path, "%s/record", test_folder());
    save(path, bytes.data, bytes.size);
    snprintf(command, sizeof command, "python3 '%s/tools/read_artifact.py' '%s' --npz '%s.npz'", LM_SOURCE_DIR, path,
             path);
    EQUAL_TEXT(output_of(command), "record cosmos-1\n  MAG = 22.5\n  N = -3\n  GOOD = True\n  UNDEF = undefined\n"
                                   "  image: float32 [7, 9], 0 to 25\n  psf: float64 [2], 0.25 to 0.75\n");
    snprintf(command, sizeof command,
             "python3 -c \"import numpy; a = numpy.load('%s.npz')['image']; "
             "print((a.ravel() == numpy.arange(63) * 37 %% 101 * 0.25).all())\"",
             path);
    EQUAL_TEXT(output_of(command), "True\n");

    /* a tensor as the store keeps it: its prefix, then the payload */
    uint8_t stored[LM_TENSOR_PREFIX + sizeof(float) * H * W];
    size_t n;
    const lm_tensor *tensor = lm_record_tensor(in, "image");
    OK(lm_tensor_prefix(tensor, stored, &n, err), err);
    memcpy(stored + n, tensor->data, tensor->bytes);
    save(path, stored, n + tensor->bytes);
    snprintf(command, sizeof command, "python3 '%s/tools/read_artifact.py' '%s'", LM_SOURCE_DIR, path);
    EQUAL_TEXT(output_of(command), "  tensor: float32 [7, 9], 0 to 25\n");
    lm_arena_done(&arena);
}
