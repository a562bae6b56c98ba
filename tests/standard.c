#include "tests/standard.h"
#include "operators/builtin.h"
#include "runtime/codec.h"
#include "runtime/plugin.h"
#include "runtime/registry.h"
#include "runtime/text.h"
#include "runtime/yaml.h"
#include "tests/apply.h"
#include "tests/test.h"

#include <ftw.h>
#include <glob.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- tensors by name -------------------------------------------------------------------------------------------- */

/* A number in [0, 1) of two integers, the same everywhere. */
static double uniform(uint64_t a, uint64_t b)
{
    uint64_t x = (a + 1) * 0x9e3779b97f4a7c15u ^ (b + 1) * 0xc2b2ae3d27d4eb4fu;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return (double)((x ^ x >> 31) >> 11) * 0x1p-53;
}

/* Sum of three uniform numbers, of mean 0 and variance 1. */
static double noise(uint64_t a, uint64_t b)
{
    return 2 * (uniform(a, 3 * b) + uniform(a, 3 * b + 1) + uniform(a, 3 * b + 2) - 1.5);
}

/* A source of a given core radius (pixels) in the middle of an h x w image. */
static double source(size_t k, size_t h, size_t w, double core)
{
    double y = (double)(k / w) - (double)((h - 1) / 2), x = (double)(k % w) - (double)((w - 1) / 2);
    double t = 1 + (x * x + y * y) / (core * core);
    return 1 / (t * t);
}

typedef struct {
    const char *op, *name; /* op NULL: any */
    lm_dtype dtype;        /* where the operator takes any of several */
    unsigned ndim;
    size_t shape[4];
} known;

/* Shapes of what operators name without telling a shape, and of what they leave open. The first that fits counts. */
static const known tensors[] = {
    {"unstack", "draws", LM_F64, 3, {20, 6, 3}},
    {"unstack", "truth", LM_F64, 2, {6, 3}},
    {"unstack", "reference", LM_F64, 2, {6, 3}},
    {NULL, "image", LM_F32, 2, {24, 32}},
    {NULL, "SCI", LM_F32, 2, {24, 32}},
    {NULL, "psf", LM_F32, 2, {9, 9}},
    {NULL, "model", LM_F32, 2, {24, 32}},
    {NULL, "residual", LM_F32, 2, {24, 32}},
    {NULL, "surround", LM_F32, 2, {24, 32}},
    {NULL, "mask", LM_U8, 2, {24, 32}},
    {NULL, "variance", LM_F64, 2, {24, 32}},
    {NULL, "samples", LM_F64, 2, {240, 3}},
    {NULL, "draws", LM_F64, 2, {20, 3}},
    {NULL, "truth", LM_F64, 1, {3}},
    {NULL, "reference", LM_F64, 1, {3}},
    {NULL, "alpha", LM_F64, 1, {11}},
    {NULL, "ecp", LM_F64, 1, {11}},
    {NULL, "ecp_low", LM_F64, 1, {11}},
    {NULL, "ecp_high", LM_F64, 1, {11}},
};
enum { N_TENSORS = sizeof tensors / sizeof *tensors };

static const known *known_of(const lm_operator *op, const char *name)
{
    for (size_t i = 0; i < N_TENSORS; i++)
        if ((!tensors[i].op || strcmp(tensors[i].op, op->name) == 0) && strcmp(tensors[i].name, name) == 0)
            return &tensors[i];
    return NULL;
}

static double element(const char *name, unsigned ndim, const size_t *shape, size_t k, size_t i)
{
    size_t h = ndim > 1 ? shape[ndim - 2] : 1, w = ndim ? shape[ndim - 1] : 1;
    if (strcmp(name, "image") == 0 || strcmp(name, "SCI") == 0)
        return source(k, h, w, 3 + 0.25 * (double)i) + 0.003 * noise(i, k);
    if (strcmp(name, "psf") == 0) return source(k, h, w, 1.5);
    if (strcmp(name, "model") == 0) return source(k, h, w, 2) + 0.001;
    if (strcmp(name, "residual") == 0) return 0.003 * noise(i + 100, k);
    if (strcmp(name, "surround") == 0) return 1e-4 * uniform(i, k);
    if (strcmp(name, "mask") == 0) return k % 97 == 5;
    if (strcmp(name, "variance") == 0) return 1e-5;
    if (strcmp(name, "noise") == 0) return 0.003;
    if (strcmp(name, "alpha") == 0) return (double)k / (double)(w > 1 ? w - 1 : 1);
    if (strncmp(name, "ecp", 3) == 0) {
        double alpha = (double)k / (double)(w > 1 ? w - 1 : 1), bend = alpha * (1 - alpha);
        return alpha + bend * (strcmp(name, "ecp_low") == 0 ? -0.2 : strcmp(name, "ecp_high") == 0 ? 0.3 : 0.1);
    }
    return noise(i + 1000 + strlen(name), k);
}

lm_tensor *standard_tensor(const char *name, lm_dtype dtype, unsigned ndim, const size_t *shape, size_t i)
{
    lm_tensor *tensor = NULL;
    lm_error err = {0};
    OK(lm_tensor_new(dtype, ndim, shape, &tensor, &err), &err);
    size_t n = lm_tensor_count(tensor);
    double *values = calloc(n ? n : 1, sizeof *values);
    if (!values) FAIL("out of memory");
    for (size_t k = 0; k < n; k++) values[k] = element(name, ndim, shape, k, i);
    lm_tensor_from_f64(tensor, values);
    free(values);
    return tensor;
}

/* The length that stands for a symbol of a shape, or the number that it is. */
static size_t length_of(const char *word, size_t n)
{
    if (*word >= '0' && *word <= '9') return strtoul(word, NULL, 10);
    if (n == 1 && *word == 'H') return 24;
    if (n == 1 && *word == 'W') return 32;
    return n == 1 && (*word == 'P' || *word == 'Q') ? 9 : 5 + (size_t)*word % 4;
}

static void put_tensor(lm_record *record, const lm_operator *op, const lm_field *field, const char *name, size_t i)
{
    const known *as = known_of(op, name);
    lm_dtype dtype = field ? field->dtype : LM_ANY_DTYPE;
    unsigned ndim = 0;
    size_t shape[LM_MAX_DIMS];
    if (!lm_dtype_size(dtype)) dtype = as ? as->dtype : LM_F64;
    if (as) {
        ndim = as->ndim;
        memcpy(shape, as->shape, sizeof as->shape);
    } else if (strpbrk(field->shape, "*.")) {
        shape[ndim++] = 4;
    } else {
        for (const char *at = field->shape; *at; at += strspn(at, " ")) {
            size_t n = strcspn(at, " ");
            shape[ndim++] = length_of(at, n);
            at += n;
        }
    }
    lm_error err = {0};
    OK(lm_record_put(record, name, standard_tensor(name, dtype, ndim, shape, i), &err), &err);
}

enum { BANDS = 3 };

size_t standard_records(const lm_operator *op, const lm_port *port)
{
    if (strcmp(op->name, "compare.pqmass") == 0) return 1; /* a record of many samples */
    return port->kind == LM_PORT_BROADCAST ? 1 : port->kind == LM_PORT_LOOKUP ? BANDS : STANDARD_RECORDS;
}

static void put_attributes(lm_record *record, size_t i)
{
    static const char *const bands[BANDS] = {"F814W", "F606W", "F475W"};
    record_set(record, "MAG", lm_real(21.5 + 0.75 * (double)i));
    record_set(record, "Z", lm_real(0.25 + 0.125 * (double)i));
    record_set(record, "BAND", lm_text_value(bands[i % BANDS]));
    record_set(record, "FILTER", lm_text_value(bands[i % BANDS]));
    record_set(record, "SEEING", lm_real(0.75 + 0.0625 * (double)i));
    record_set(record, "GOOD", lm_bool(i % 2 == 0));
    record_set(record, "n_sims", lm_int(100));
    record_set(record, "minimum", lm_real(-0.5));
    record_set(record, "maximum", lm_real(1 + (double)i));
    record_set(record, "HISTORY", lm_text_value("made by hand"));
    record_set(record, "NOTHING", lm_null());
}

lm_record *standard_record(const lm_operator *op, const char *port, size_t i)
{
    char id[32];
    snprintf(id, sizeof id, "lens-%04zu", i);
    lm_record *record = record_new(id);
    put_attributes(record, i);
    bool all = true;
    /* What comes to the second port is something else under the same id. */
    const lm_port *ports[LM_MAX_PORTS];
    size_t n_ports = lm_operator_inputs(op, ports);
    for (size_t p = 0; p < n_ports && strcmp(ports[p]->name, port) != 0; p++) i += 16;
    record_set(record, "FLUX", lm_real(1.5 + (double)i));
    for (const lm_field *f = op->fields; f && f->port; f++) {
        if (f->out || strcmp(f->port, port) != 0 || strcmp(f->name, "*") == 0) continue;
        if (!f->attribute) {
            all = false;
            put_tensor(record, op, f, f->name, i);
        } else if (!lm_record_attr(record, f->name)) {
            record_set(record, f->name,
                       f->kind == LM_KIND_TEXT   ? lm_text_value("text")
                       : f->kind == LM_KIND_REAL ? lm_real(1 + (double)i)
                       : f->kind == LM_KIND_INT  ? lm_int(1 + (int64_t)i)
                                                 : lm_bool(true));
        }
    }
    for (size_t k = 0; all && k < N_TENSORS; k++)
        if (known_of(op, tensors[k].name) == &tensors[k]) put_tensor(record, op, NULL, tensors[k].name, i);
    return record;
}

/* ---- the source ------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *of, *port;
    int64_t records;
} records;

static const lm_param records_params[] = {
    LM_TEXT(records, of, NULL, .required = true, .doc = "operator whose input is wanted"),
    LM_TEXT(records, port, "in", .doc = "its input port"),
    LM_INT(records, records, STANDARD_RECORDS, .min = 0, .max = 1000, .doc = "number of records"),
    {0}};

static lm_status records_list(void *self, lm_items *items, lm_error *err)
{
    const records *s = self;
    for (int64_t i = 0; i < s->records; i++) {
        char id[32], spec[32];
        snprintf(id, sizeof id, "lens-%04d", (int)i);
        snprintf(spec, sizeof spec, "%d", (int)i);
        LM_TRY(lm_items_add(items, id, spec, NULL, 0, err));
    }
    return LM_OK;
}

/* Filled before a run: a step must not end a test, and an allocation may fail in it. */
static lm_record *stock[LM_MAX_PORTS][STANDARD_RECORDS];
static const lm_port *stock_ports[LM_MAX_PORTS];

static void clear_stock(void)
{
    for (size_t p = 0; p < LM_MAX_PORTS; p++)
        for (size_t i = 0; i < STANDARD_RECORDS; i++) stock[p][i] = lm_record_unref(stock[p][i]);
}

static lm_status records_step(const void *self, lm_step *step, lm_error *err)
{
    const records *s = self;
    size_t p = 0;
    while (strcmp(stock_ports[p]->name, s->port) != 0) p++;
    return lm_step_base(step, NULL, stock[p][strtoul(lm_step_item(step), NULL, 10)], err);
}

static const lm_operator op_records = {
    .struct_size = sizeof(lm_operator),
    .name = "standard.records",
    .version = 1,
    .summary = "Records for trying an operator on",
    .shape = LM_SOURCE,
    .size = sizeof(records),
    .params = records_params,
    .list = records_list,
    .step = records_step,
};

/* ---- the operators ---------------------------------------------------------------------------------------------- */

static const lm_operator *list[256];
static size_t n_list;

size_t standard_count(void)
{
    if (n_list) return n_list;
    lm_registry_builtin(lm_builtin_operators);
    lm_error err = {0};
    glob_t found = {0};
    if (glob(LM_PLUGIN_FOLDER "/*.so", 0, NULL, &found) != 0) FAIL("no plugin in %s", LM_PLUGIN_FOLDER);
    for (size_t i = 0; i < found.gl_pathc; i++) OK(lm_plugin_load(found.gl_pathv[i], &err), &err);
    globfree(&found);
    for (size_t i = 0; i < lm_registry_count() && i < sizeof list / sizeof *list; i++)
        list[n_list++] = lm_registry_at(i);
    OK(lm_registry_add((const lm_operator *const[]){&op_records}, 1, NULL, &err), &err);
    return n_list;
}

const lm_operator *standard_at(size_t i)
{
    return i < standard_count() ? list[i] : NULL;
}

const char *standard_cannot_run(const lm_operator *op)
{
    static int python = -1;
    if (!(op->flags & LM_PROGRAM)) return NULL;
    if (python < 0) {
        /* Debian's own Python has Debian's numpy and protobuf; another one that stands before it in PATH may not. */
        char path[4096];
        snprintf(path, sizeof path, "/usr/bin:%s", getenv("PATH") ? getenv("PATH") : "/bin");
        setenv("PATH", path, 1);
        python = system("python3 -c 'import numpy, google.protobuf' > /dev/null 2>&1 && "
                        "protoc --version > /dev/null 2>&1") == 0;
    }
    return python ? NULL : "there is no python3 with numpy and protobuf, or no protoc";
}

/* ---- hashing ---------------------------------------------------------------------------------------------------- */

static void hash_real(lm_hash *hash, double value, double quantum)
{
    if (quantum > 0 && isfinite(value)) value = rint(value / quantum) + 0.0; /* -0 becomes 0 */
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    lm_hash_add_u64(hash, isnan(value) ? UINT64_MAX : bits);
}

/* Of a tensor's values, as they are stored (of one that lies in the store no more is at hand) or rounded. */
static lm_digest tensor_digest(lm_tensor *tensor, bool rounded, uint64_t *nans)
{
    lm_digest digest = {{0}};
    lm_error err = {0};
    size_t n = lm_tensor_is_absent(tensor) || !lm_dtype_is_float(tensor->dtype) ? 0 : lm_tensor_count(tensor);
    double largest = 0, part = tensor->dtype == LM_F32 ? 1e-5 : 1e-9;
    for (size_t k = 0; k < n; k++) {
        double value = lm_tensor_get(tensor, k);
        if (!isfinite(value)) ++*nans;
        else largest = fmax(largest, fabs(value));
    }
    if (!rounded || !n) {
        lm_status status = lm_tensor_digest(tensor, &digest, &err);
        return status ? (lm_digest){{0}} : digest;
    }
    lm_hash hash;
    lm_hash_init(&hash);
    lm_hash_add_u64(&hash, tensor->dtype);
    for (unsigned k = 0; k < tensor->ndim; k++) lm_hash_add_u64(&hash, tensor->shape[k]);
    lm_hash_add_text(&hash, tensor->unit ? tensor->unit : "");
    for (size_t k = 0; k < n; k++) hash_real(&hash, lm_tensor_get(tensor, k), largest * part);
    return lm_hash_finish(&hash);
}

lm_digest standard_digest(const lm_record *record, bool rounded, uint64_t *nans)
{
    enum { MOST = 64 };
    lm_digest digests[MOST];
    size_t n = lm_record_tensor_count(record), n_attrs = lm_record_attr_count(record);
    for (size_t i = 0; i < n && i < MOST; i++)
        digests[i] = tensor_digest(lm_record_tensor_at(record, i)->tensor, rounded, nans);
    lm_hash hash; /* a thread has one at a time */
    lm_hash_init(&hash);
    lm_hash_add_text(&hash, lm_record_id(record));
    lm_hash_add_u64(&hash, n_attrs);
    for (size_t i = 0; i < n_attrs; i++) {
        const lm_attr *attr = lm_record_attr_at(record, i);
        char buffer[64];
        const char *text = lm_value_text(attr->value, buffer);
        if (attr->value.kind == LM_KIND_REAL) {
            snprintf(buffer, sizeof buffer, rounded ? "%.8e" : "%.17e", attr->value.real + 0.0);
            text = buffer;
            *nans += isfinite(attr->value.real) ? 0 : 1;
        }
        lm_hash_add_text(&hash, attr->name);
        lm_hash_add_u64(&hash, attr->value.kind);
        lm_hash_add_text(&hash, text);
        lm_hash_add_text(&hash, attr->comment ? attr->comment : "");
    }
    lm_hash_add_u64(&hash, n);
    for (size_t i = 0; i < n && i < MOST; i++) {
        lm_hash_add_text(&hash, lm_record_tensor_at(record, i)->name);
        lm_hash_add(&hash, &digests[i], sizeof digests[i]);
    }
    return lm_hash_finish(&hash);
}

/* ---- the example, run ------------------------------------------------------------------------------------------- */

static void put_card(char *block, unsigned n, const char *text)
{
    memcpy(block + 80 * (size_t)n, text, strlen(text));
}

/* A FITS file as telescopes leave them: an image in the primary HDU, its PSF behind it. For operators that read files. */
static void write_cutout(const char *path, size_t i)
{
    static const char *const names[] = {"image", "psf"};
    FILE *file = fopen(path, "w");
    if (!file) FAIL("cannot create %s", path);
    for (unsigned hdu = 0; hdu < 2; hdu++) {
        const known *as = known_of(&op_records, names[hdu]);
        char block[2880], text[81];
        memset(block, ' ', sizeof block);
        put_card(block, 0, hdu ? "XTENSION= 'IMAGE   '" : "SIMPLE  =                    T");
        put_card(block, 1, "BITPIX  =                  -32");
        put_card(block, 2, "NAXIS   =                    2");
        snprintf(text, sizeof text, "NAXIS1  = %20zu", as->shape[1]);
        put_card(block, 3, text);
        snprintf(text, sizeof text, "NAXIS2  = %20zu", as->shape[0]);
        put_card(block, 4, text);
        put_card(block, 5, hdu ? "PCOUNT  =                    0" : "EXTEND  =                    T");
        put_card(block, 6, hdu ? "GCOUNT  =                    1" : "BUNIT   = 'ct/s    '");
        put_card(block, 7, hdu ? "EXTNAME = 'PSF     '" : "MAG     =                 21.5");
        put_card(block, 8, "END");
        fwrite(block, sizeof block, 1, file);
        lm_tensor *tensor = standard_tensor(names[hdu], LM_F32, 2, as->shape, i);
        size_t n = lm_tensor_count(tensor);
        for (size_t k = 0; k < n; k++) {
            uint32_t word;
            memcpy(&word, (const char *)tensor->data + 4 * k, 4);
            word = __builtin_bswap32(word);
            fwrite(&word, 4, 1, file);
        }
        lm_tensor_unref(tensor);
        memset(block, 0, sizeof block);
        if (4 * n % 2880) fwrite(block, 2880 - 4 * n % 2880, 1, file);
    }
    if (fclose(file)) FAIL("cannot write %s", path);
}

/* A lens model of the COOLEST standard. */
static void write_model(const char *path, size_t i)
{
    static const char *const names[] = {"theta_E", "q", "phi", "center_x", "center_y"};
    const double values[] = {1 + 0.125 * (double)i, 0.75, 30, 0, 0.0625};
    FILE *file = fopen(path, "w");
    if (!file) FAIL("cannot create %s", path);
    fprintf(
        file,
        "{\"standard\": \"COOLEST\", \"instrument\": {\"pixel_size\": 0.05}, \"lensing_entities\": [{\"type\": "
        "\"Galaxy\", \"redshift\": 0.5, \"light_model\": [], \"mass_model\": [{\"type\": \"SIE\", \"parameters\": {");
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        fprintf(file, "%s\"%s\": {\"point_estimate\": {\"value\": %.17g}}", k ? ", " : "", names[k], values[k]);
    fprintf(file, "}}]}]}\n");
    if (fclose(file)) FAIL("cannot write %s", path);
}

static void write_inputs(void)
{
    char path[64];
    if (mkdir("cutouts", 0777) || mkdir("models", 0777)) FAIL("cannot make a folder");
    for (size_t i = 0; i < STANDARD_RECORDS; i++) {
        snprintf(path, sizeof path, "cutouts/lens-%04zu.fits", i);
        write_cutout(path, i);
        snprintf(path, sizeof path, "models/lens-%04zu.json", i);
        write_model(path, i);
    }
    if (symlink(LM_SOURCE_DIR "/tools", "tools")) FAIL("cannot make a link");
}

static void yaml_fault(void *arg, unsigned line, unsigned column, const char *text, const char *hint)
{
    (void)line, (void)column, (void)hint;
    snprintf(arg, 256, "%s", text);
}

static bool has_param(const lm_operator *op, const char *name)
{
    for (const lm_param *p = op->params; p && p->name; p++)
        if (strcmp(p->name, name) == 0) return true;
    return false;
}

/* The example as a node's body without `in:`, a new object: as it stands, or with itself as `with:`. */
static json_t *body_of(const lm_operator *op)
{
    const char *example = op->example ? op->example : "{}";
    char fault[256] = "no YAML";
    lm_arena arena;
    lm_yaml *yaml = NULL;
    lm_arena_init(&arena);
    lm_status status = lm_yaml_parse(example, strlen(example), &arena, &yaml, yaml_fault, fault);
    json_t *json = status ? NULL : lm_yaml_json(yaml);
    lm_arena_done(&arena);
    if (!json_is_object(json)) FAIL("%s: its example: %s", op->name, json ? "no map" : fault);
    if (!json_object_get(json, "with") || has_param(op, "with")) json = json_pack("{s:o}", "with", json);
    json_object_del(json, "in");
    return json;
}

static void write_graph(const lm_operator *op)
{
    const lm_port *ports[LM_MAX_PORTS];
    size_t n = lm_operator_inputs(op, ports);
    json_t *body = body_of(op), *value;
    const char *key;
    FILE *file = fopen("graph.yaml", "w");
    if (!file) FAIL("cannot create a graph");
    fprintf(file, "lensmill: 1\nname: standard\nseed: 7\nnodes:\n");
    for (size_t i = 0; i < n; i++) {
        fprintf(file, "  from_%s: {op: standard.records, with: {of: %s, port: %s, records: %zu}}\n", ports[i]->name,
                op->name, ports[i]->name, standard_records(op, ports[i]));
        if (ports[i]->kind == LM_PORT_GATHER) json_object_set_new(body, "window", json_string("all"));
    }
    fprintf(file, "  tried:\n    op: %s\n", op->name);
    if (n == 1 && ports[0]->kind == LM_PORT_MERGE) fprintf(file, "    in: [from_%s]\n", ports[0]->name);
    else if (n) fprintf(file, "    in:\n");
    for (size_t i = 0; i < n && ports[0]->kind != LM_PORT_MERGE; i++)
        fprintf(file, "      %s: from_%s\n", ports[i]->name, ports[i]->name);
    json_object_foreach(body, key, value)
    {
        char *text = json_dumps(value, JSON_ENCODE_ANY); /* JSON is YAML */
        fprintf(file, "    %s: %s\n", key, text);
        free(text);
    }
    json_decref(body);
    if (fclose(file)) FAIL("cannot write a graph");
}

static lm_graph *load(const lm_operator *op, char **ret_errors)
{
    lm_graph *graph = NULL;
    standard_count();
    if (chdir(test_folder())) FAIL("no way into the test's folder");
    write_inputs();
    write_graph(op);
    return lm_graph_load("graph.yaml", NULL, 0, &graph, ret_errors) ? NULL : graph;
}

bool standard_example_fits(const lm_operator *op, char fault[512])
{
    char *errors = NULL;
    LM_OWN(lm_graph) graph = load(op, &errors);
    snprintf(fault, 512, "%s", errors ? errors : "");
    lm_free(errors);
    return graph != NULL;
}

/* A fresh working folder with the inputs and the graph. */
static lm_graph *prepare(const lm_operator *op)
{
    char *errors = NULL;
    lm_graph *graph = load(op, &errors);
    if (!graph) FAIL("%s: its example is no good: %s", op->name, errors);
    clear_stock();
    size_t n = lm_operator_inputs(op, stock_ports);
    for (size_t p = 0; p < n; p++)
        for (size_t i = 0; i < STANDARD_RECORDS; i++) stock[p][i] = standard_record(op, stock_ports[p]->name, i);
    return graph;
}

char *standard_params(const lm_operator *op)
{
    LM_OWN(lm_graph) graph = prepare(op);
    char *text = json_dumps(lm_graph_node(graph, "tried")->params, 0);
    if (!text) FAIL("%s: no parameters", op->name);
    return text;
}

/* Of each record, in order, and of each file. */
static lm_digest digests[4096];
static size_t n_digests;
static standard_run *tapped;

static void keep_digest(lm_digest digest)
{
    if (n_digests < sizeof digests / sizeof *digests) digests[n_digests++] = digest;
}

static void see(void *arg, const lm_record *record, const char *order)
{
    (void)arg;
    keep_digest(lm_digest_of(order, strlen(order)));
    keep_digest(standard_digest(record, tapped->rounded, &tapped->nans));
    tapped->records++;
}

static int by_digest(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(lm_digest));
}

/* A file under out/: its name and bytes. */
static int see_file(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    if (flag != FTW_F) return 0;
    const char *name = path + ftw->base;
    tapped->temporaries += *name == '.' || strstr(name, ".tmp") || strstr(name, ".part");
    FILE *file = fopen(path, "r");
    if (!file) return 1;
    static char bytes[1 << 22];
    size_t n = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    lm_hash hash;
    lm_hash_init(&hash);
    lm_hash_add_text(&hash, path);
    lm_hash_add(&hash, bytes, n);
    keep_digest(lm_hash_finish(&hash));
    return 0;
}

static void run_once(const lm_operator *op, const lm_graph *graph, standard_run *run, lm_store *store)
{
    const lm_port *ports[LM_MAX_PORTS];
    size_t n = lm_operator_outputs(op, ports);
    n_digests = 0;
    run->records = run->nans = run->temporaries = run->cached = 0;
    tapped = run;
    for (size_t i = 0; i < (n ? n : 1); i++) { /* one run a port: a run has one tap */
        char node[64];
        lm_run_report report = {0};
        lm_error_clear(&run->err);
        snprintf(node, sizeof node, "tried.%s", n ? ports[i]->name : "");
        lm_run_options options = {.store = store,
                                  .workers = run->workers,
                                  .edge_records = run->edge_records,
                                  .limit = run->limit,
                                  .tap = n ? node : NULL,
                                  .tap_fn = see};
        lm_alloc_fail_at(run->fail_at);
        keep_digest(lm_digest_of(node, strlen(node)));
        run->status = lm_run_graph(graph, &options, &report, &run->err);
        run->allocations = lm_alloc_count();
        lm_alloc_fail_at(0);
        run->exit_status = report.status;
        run->dead = report.dead;
        snprintf(run->first_dead, sizeof run->first_dead, "%s", report.first_dead ? report.first_dead : "");
        for (size_t k = 0; k < report.n_nodes && report.nodes; k++)
            if (report.nodes[k].node && report.nodes[k].node->op == op) run->cached += report.nodes[k].cached;
        lm_run_report_done(&report);
        if (run->status) break;
    }
    size_t records_end = n_digests;
    if (access("out", F_OK) == 0 && nftw("out", see_file, 16, FTW_PHYS)) FAIL("cannot read what was written");
    qsort(digests + records_end, n_digests - records_end, sizeof *digests, by_digest);
    if (n_digests == sizeof digests / sizeof *digests) FAIL("%s: more results than this test counts on", op->name);
    run->digest = lm_digest_of(digests, n_digests * sizeof *digests);
}

void standard_run_example(const lm_operator *op, standard_run *run)
{
    LM_OWN(lm_graph) graph = prepare(op);
    LM_OWN(lm_store) store = NULL;
    lm_operator other = *op;
    if (run->batch) {
        other.batch = run->batch;
        graph->nodes[lm_graph_node(graph, "tried")->index]->op = &other;
    }
    if (run->stored) {
        OK(lm_store_open("store", LM_STORE_WRITE, "conformance", &store, &run->err), &run->err);
        run_once(op, graph, run, store);
    }
    run_once(op, graph, run, store);
    clear_stock();
}
