/* lensmill store show: a step, artifact, tensor or recipe in full. */
#include "runtime/codec.h"
#include "runtime/text.h"
#include "tools/lensmill/columns.h"
#include "tools/lensmill/running.h"
#include "tools/lensmill/store_find.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FEW_NUMBERS = 24, MOST_INPUTS = 20 };

static const char *store_place;
static bool as_json;

static const lm_option options[] = {
    {"store", LM_OPTION_TEXT, &store_place, .value = "DIR", .doc = "the store; default .lensmill"},
    {"json", LM_OPTION_FLAG, &as_json, .doc = "print JSON, with the values of small tensors"},
    {0}};

static const lm_command command = {
    .name = "store show",
    .usage = "DIGEST [options]",
    .summary = "Show a step, artifact, tensor or recipe in full",
    .doc = "A digest may be cut to its first digits, six at least.",
    .options = options,
    .least = 1,
    .most = 1,
};

/* ---- numbers ------------------------------------------------------------------------------------------------------- */

typedef struct numbers {
    size_t n, finite;
    double least, most, mean;
} numbers;

static numbers measure(const lm_tensor *tensor)
{
    numbers r = {.n = lm_tensor_count(tensor), .least = INFINITY, .most = -INFINITY};
    double sum = 0;
    for (size_t i = 0; i < r.n; i++) {
        double value = lm_tensor_get(tensor, i);
        if (!isfinite(value)) continue;
        r.finite++;
        r.least = fmin(r.least, value);
        r.most = fmax(r.most, value);
        sum += value;
    }
    r.mean = r.finite ? sum / (double)r.finite : (double)NAN;
    return r;
}

/* A float32 has 7 digits that mean something: the rest is noise to a reader. */
static const char *number_text(char buffer[32], const lm_tensor *tensor, double value)
{
    bool single = tensor->dtype == LM_F32 || tensor->dtype == LM_C64;
    if (single) snprintf(buffer, 32, "%.7g", value);
    else lm_text_real(buffer, value);
    return buffer;
}

static void print_numbers(const lm_tensor *tensor, int indent)
{
    char a[32], b[32], c[32];
    numbers r = measure(tensor);
    bool complex = tensor->dtype == LM_C64 || tensor->dtype == LM_C128;
    printf("%*s", indent, "");
    if (!r.n) {
        puts("no elements");
    } else if (r.n <= FEW_NUMBERS && !complex) {
        for (size_t i = 0; i < r.n; i++) printf("%s%s", i ? " " : "", number_text(a, tensor, lm_tensor_get(tensor, i)));
        putchar('\n');
    } else if (!r.finite) {
        printf("%zu elements, none of them finite\n", r.n);
    } else {
        printf("%s%s to %s, mean %s", complex ? "real parts " : "", number_text(a, tensor, r.least),
               number_text(b, tensor, r.most), (snprintf(c, sizeof c, "%.6g", r.mean), c));
        if (r.finite < r.n) printf(", %zu of %zu elements are not finite", r.n - r.finite, r.n);
        putchar('\n');
    }
}

static json_t *json_shape(const lm_tensor *tensor)
{
    json_t *shape = json_array();
    for (unsigned i = 0; i < tensor->ndim; i++)
        json_array_append_new(shape, json_integer((json_int_t)tensor->shape[i]));
    return shape;
}

static json_t *json_real_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *json_tensor(const lm_tensor *tensor)
{
    json_t *about = json_pack("{s:s, s:o}", "dtype", lm_dtype_name(tensor->dtype), "shape", json_shape(tensor));
    if (tensor->unit) json_object_set_new(about, "unit", lm_json_text(tensor->unit));
    if (tensor->axes) json_object_set_new(about, "axes", lm_json_text(tensor->axes));
    if (lm_tensor_is_absent(tensor)) return about;
    numbers r = measure(tensor);
    json_object_set_new(about, "bytes", json_integer((json_int_t)tensor->bytes));
    json_object_set_new(about, "finite", json_integer((json_int_t)r.finite));
    json_object_set_new(about, "minimum", json_real_or_null(r.finite ? r.least : (double)NAN));
    json_object_set_new(about, "maximum", json_real_or_null(r.finite ? r.most : (double)NAN));
    json_object_set_new(about, "mean", json_real_or_null(r.mean));
    if (r.n <= FEW_NUMBERS) {
        json_t *values = json_array();
        for (size_t i = 0; i < r.n; i++) json_array_append_new(values, json_real_or_null(lm_tensor_get(tensor, i)));
        json_object_set_new(about, "values", values);
    }
    return about;
}

/* ---- heads --------------------------------------------------------------------------------------------------------- */

static void print_head(const lm_found *found)
{
    char digest[65], bytes[32];
    printf("%s %s", lm_kind_name(found->kind), lm_digest_text(digest, &found->digest));
    if (found->view.data) printf(", %s", lm_text_bytes(bytes, (double)found->view.size));
    if (found->in_step && found->view.data)
        printf(", inside step %s", lm_digits(digest, &found->step, LM_SHORT_DIGEST));
    putchar('\n');
}

/* Only of what is named by its bytes: a step is named by what it was made from. */
static bool is_genuine(const lm_found *found)
{
    lm_digest is = lm_digest_of(found->view.data, found->view.size);
    return found->kind == LM_ROW_STEP || lm_digest_equal(&is, &found->digest);
}

static void warn_damaged(const lm_found *found)
{
    if (!is_genuine(found))
        fputs("  damaged: its bytes do not give its digest; it is computed again when a run needs it\n", stdout);
}

static json_t *json_head(const lm_found *found)
{
    char digest[65];
    json_t *head =
        json_pack("{s:s, s:s}", "kind", lm_kind_name(found->kind), "digest", lm_digest_text(digest, &found->digest));
    json_object_set_new(head, "stored", json_boolean(found->view.data != NULL));
    if (found->view.data) json_object_set_new(head, "stored_bytes", json_integer((json_int_t)found->view.size));
    if (found->in_step) json_object_set_new(head, "step", json_string(lm_digest_text(digest, &found->step)));
    if (found->view.data) json_object_set_new(head, "genuine", json_boolean(is_genuine(found)));
    return head;
}

/* ---- each kind ----------------------------------------------------------------------------------------------------- */

static int unreadable(const lm_found *found)
{
    char digest[65];
    lm_error err = {0};
    lm_fail(&err, LM_ESTORE, "\"lensmill store verify\" tells more.",
            "%s %s cannot be read: it is damaged, or of a newer format", lm_kind_name(found->kind),
            lm_digits(digest, &found->digest, LM_SHORT_DIGEST));
    return lm_verb_failed(command.name, &err);
}

/* The bytes are the store's: nothing to let go of. */
static void release_nothing(void *owner)
{
    (void)owner;
}

static lm_status show_tensor(const lm_found *found, int *ret_status, lm_error *err)
{
    LM_OWN(lm_tensor) tensor = NULL;
    char shape[192];
    lm_bytes stored = {found->view.data, found->view.size};
    LM_TRY(lm_tensor_decode(stored, release_nothing, NULL, &tensor, err));
    if (as_json) {
        json_t *head = json_head(found), *about = json_tensor(tensor);
        json_object_update(head, about);
        json_decref(about);
        *ret_status = lm_print_json(command.name, head, LM_EXIT_OK);
        return LM_OK;
    }
    print_head(found);
    warn_damaged(found);
    printf("  %s %s", lm_dtype_name(tensor->dtype), lm_tensor_shape_text(shape, tensor));
    if (tensor->axes) printf(", axes %s", tensor->axes);
    if (tensor->unit) printf(", unit %s", tensor->unit);
    putchar('\n');
    print_numbers(tensor, 2);
    return LM_OK;
}

static json_t *json_value(lm_value value)
{
    switch (value.kind) {
    case LM_KIND_BOOL: return json_boolean(value.boolean);
    case LM_KIND_INT: return json_integer(value.integer);
    case LM_KIND_REAL: return json_real_or_null(value.real);
    case LM_KIND_TEXT: return lm_json_text(value.text);
    case LM_KIND_NULL: break;
    }
    return json_null();
}

static json_t *json_record(const lm_found *found, const lm_record *record)
{
    json_t *head = json_head(found), *attrs = json_object(), *tensors = json_array();
    for (size_t i = 0; i < lm_record_attr_count(record); i++) {
        const lm_attr *attr = lm_record_attr_at(record, i);
        json_object_set_new(attrs, attr->name, json_value(attr->value));
    }
    for (size_t i = 0; i < lm_record_tensor_count(record); i++) {
        const lm_named *named = lm_record_tensor_at(record, i);
        json_t *about = json_tensor(named->tensor);
        char digest[65];
        json_object_set_new(about, "name", lm_json_text(named->name));
        if (lm_tensor_is_absent(named->tensor))
            json_object_set_new(about, "digest", json_string(lm_digest_text(digest, &named->tensor->digest)));
        json_array_append_new(tensors, about);
    }
    json_object_set_new(head, "id", lm_json_text(lm_record_id(record)));
    json_object_set_new(head, "attrs", attrs);
    json_object_set_new(head, "tensors", tensors);
    return head;
}

static void print_record(const lm_record *record)
{
    char buffer[64], shape[192], digest[65];
    lm_columns columns;
    printf("  record \"%s\"\n", lm_record_id(record));
    lm_columns_init(&columns, 3, NULL);
    for (size_t i = 0; i < lm_record_attr_count(record); i++) {
        const lm_attr *attr = lm_record_attr_at(record, i);
        lm_columns_add(&columns, "%s", attr->name);
        lm_columns_add(&columns, attr->value.kind == LM_KIND_TEXT ? "\"%s\"" : "%s",
                       lm_value_text(attr->value, buffer));
        lm_columns_add(&columns, "%s", attr->comment ? attr->comment : "");
    }
    if (lm_record_attr_count(record)) puts("\n  attributes");
    lm_columns_print(&columns, stdout, 4, lm_terminal_width(stdout));
    lm_columns_init(&columns, 5, NULL);
    for (size_t i = 0; i < lm_record_tensor_count(record); i++) {
        const lm_named *named = lm_record_tensor_at(record, i);
        bool apart = lm_tensor_is_absent(named->tensor);
        lm_columns_add(&columns, "%s", named->name);
        lm_columns_add(&columns, "%s", lm_dtype_name(named->tensor->dtype));
        lm_columns_add(&columns, "%s", lm_tensor_shape_text(shape, named->tensor));
        lm_columns_add(&columns, "%s", apart ? lm_digits(digest, &named->tensor->digest, LM_SHORT_DIGEST) : "inside");
        lm_columns_add(&columns, "%s", named->tensor->unit ? named->tensor->unit : "");
    }
    if (lm_record_tensor_count(record)) puts("\n  tensors");
    lm_columns_print(&columns, stdout, 4, lm_terminal_width(stdout));
}

static lm_status show_artifact(const lm_found *found, int *ret_status, lm_error *err)
{
    if (!found->view.data) {
        char digest[65];
        if (as_json) {
            json_t *head = json_head(found);
            json_object_set_new(head, "id", lm_json_text(found->id));
            *ret_status = lm_print_json(command.name, head, LM_EXIT_OK);
            return LM_OK;
        }
        print_head(found);
        printf(
            "  record \"%s\" of step %s, which is not stored (cache: none): it is computed again where it is needed\n",
            found->id, lm_digits(digest, &found->step, LM_SHORT_DIGEST));
        return LM_OK;
    }
    LM_OWN(lm_record) record = NULL;
    LM_TRY(lm_record_decode((lm_bytes){found->view.data, found->view.size}, &record, err));
    if (as_json) {
        *ret_status = lm_print_json(command.name, json_record(found, record), LM_EXIT_OK);
        return LM_OK;
    }
    print_head(found);
    warn_damaged(found);
    print_record(record);
    return LM_OK;
}

static json_t *json_recipe(const Lensmill__Recipe *recipe)
{
    json_t *about = json_pack("{s:o, s:i, s:o}", "op", lm_json_text(recipe->op), "version", (int)recipe->version,
                              "params", lm_json_params(recipe));
    if (recipe->random) json_object_set_new(about, "seed", json_integer((json_int_t)recipe->seed));
    if (*recipe->salt) json_object_set_new(about, "salt", lm_json_text(recipe->salt));
    if (recipe->code.len) json_object_set_new(about, "code", lm_json_digest(recipe->code));
    return about;
}

static void print_recipe(const Lensmill__Recipe *recipe)
{
    char digest[65];
    printf("  %s, version %u\n", recipe->op, recipe->version);
    if (recipe->random)
        printf("  random, seed %llu%s%s\n", (unsigned long long)recipe->seed, *recipe->salt ? ", salt " : "",
               recipe->salt);
    if (recipe->code.len == sizeof(lm_digest)) printf("  code %s\n", lm_digits(digest, recipe->code.data, 64));
    json_t *params = lm_json_params(recipe), *value;
    const char *name;
    if (!json_is_object(params) || !json_object_size(params)) {
        json_decref(params);
        return;
    }
    lm_columns columns;
    lm_columns_init(&columns, 2, NULL);
    json_object_foreach(params, name, value)
    {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        lm_columns_add(&columns, "%s", name);
        lm_columns_add(&columns, "%s", text ? text : "?");
        free(text);
    }
    lm_columns_print(&columns, stdout, 4, lm_terminal_width(stdout));
    json_decref(params);
}

static int show_recipe(const lm_found *found)
{
    lm_arena arena;
    int status = LM_EXIT_OK;
    lm_arena_init(&arena);
    const Lensmill__Recipe *recipe = lm_unpack_recipe(&arena, found->view);
    if (!recipe) {
        status = unreadable(found);
    } else if (as_json) {
        json_t *head = json_head(found), *about = json_recipe(recipe);
        json_object_update(head, about);
        json_decref(about);
        status = lm_print_json(command.name, head, LM_EXIT_OK);
    } else {
        print_head(found);
        warn_damaged(found);
        print_recipe(recipe);
    }
    lm_arena_done(&arena);
    return status;
}

static int print_json_step(const lm_found *found, const Lensmill__Step *step, const Lensmill__Recipe *recipe,
                           const Lensmill__Run *run)
{
    json_t *head = json_head(found), *inputs = json_array(), *outputs = json_array();
    const char *node = lm_run_node(run, step->recipe);
    for (size_t i = 0; i < step->n_inputs; i++) json_array_append_new(inputs, lm_json_digest(step->inputs[i]));
    for (size_t i = 0; i < step->n_outputs; i++) {
        const Lensmill__Output *output = step->outputs[i];
        json_array_append_new(outputs, json_pack("{s:i, s:i, s:o, s:o, s:b}", "port", (int)output->port, "index",
                                                 (int)output->index, "id", lm_json_text(output->id), "digest",
                                                 lm_json_digest(output->digest), "inside", output->artifact.len > 0));
    }
    json_object_set_new(head, "recipe", lm_json_digest(step->recipe));
    if (recipe) {
        json_t *about = json_recipe(recipe);
        json_object_update(head, about);
        json_decref(about);
    }
    json_object_set_new(head, "id", lm_json_text(step->id));
    json_object_set_new(head, "run", json_integer((json_int_t)step->run));
    if (run) json_object_set_new(head, "graph", lm_json_text(run->graph));
    if (node) json_object_set_new(head, "node", lm_json_text(node));
    json_object_set_new(head, "seconds", json_real(step->seconds));
    if (step->complete) json_object_set_new(head, "count", json_integer(step->count));
    json_object_set_new(head, "inputs", inputs);
    json_object_set_new(head, "outputs", outputs);
    return lm_print_json(command.name, head, LM_EXIT_OK);
}

static void print_step(const Lensmill__Step *step, const Lensmill__Recipe *recipe, const Lensmill__Run *run)
{
    char digest[65], time[32];
    const char *node = lm_run_node(run, step->recipe);
    if (recipe) print_recipe(recipe);
    else puts("  its recipe is not in the store");
    if (step->recipe.len == sizeof(lm_digest))
        printf("  recipe %s\n", lm_digits(digest, step->recipe.data, LM_SHORT_DIGEST));
    if (*step->id) printf("  record \"%s\"\n", step->id);
    printf("  run %llu", (unsigned long long)step->run);
    if (run) printf(" of %s", run->graph);
    if (node) printf(", node \"%s\"", node);
    if (run) printf(", started %s", lm_when(time, run->started_s));
    printf("\n  took %s\n", lm_text_duration(time, step->seconds));
    if (step->complete) printf("  gave %u records, each in a step of its own\n", step->count);
    if (step->n_inputs) printf("\n  %zu input%s\n", step->n_inputs, step->n_inputs == 1 ? "" : "s");
    for (size_t i = 0; i < step->n_inputs && i < MOST_INPUTS; i++)
        if (step->inputs[i].len == sizeof(lm_digest))
            printf("    %s\n", lm_digits(digest, step->inputs[i].data, LM_SHORT_DIGEST));
    if (step->n_inputs > MOST_INPUTS) printf("    and %zu more: --json lists them\n", step->n_inputs - MOST_INPUTS);
    if (step->n_outputs) printf("\n  %zu output%s\n", step->n_outputs, step->n_outputs == 1 ? "" : "s");
    lm_columns columns;
    lm_columns_init(&columns, 3, NULL);
    for (size_t i = 0; i < step->n_outputs; i++) {
        const Lensmill__Output *output = step->outputs[i];
        bool whole = output->digest.len == sizeof(lm_digest);
        lm_columns_add(&columns, "%s", whole ? lm_digits(digest, output->digest.data, LM_SHORT_DIGEST) : "?");
        lm_columns_add(&columns, "port %u", output->port);
        lm_columns_add(&columns, "%s", output->id);
    }
    lm_columns_print(&columns, stdout, 4, lm_terminal_width(stdout));
}

static lm_status show_step(lm_snapshot *snapshot, const lm_found *found, int *ret_status, lm_error *err)
{
    lm_catalog catalog = {0};
    lm_status status = lm_catalog_load(snapshot, &catalog, err);
    const Lensmill__Step *step = status ? NULL : lm_unpack_step(&catalog.arena, found->view);
    if (!status && !step) {
        *ret_status = unreadable(found);
    } else if (step) {
        const Lensmill__Recipe *recipe = lm_catalog_recipe(&catalog, step->recipe, NULL);
        const Lensmill__Run *run = lm_catalog_run(&catalog, step->run);
        if (run && !lm_run_node(run, step->recipe)) run = NULL; /* a merged store's: another run had this number */
        if (as_json) {
            *ret_status = print_json_step(found, step, recipe, run);
        } else {
            print_head(found);
            print_step(step, recipe, run);
        }
    }
    lm_catalog_done(&catalog);
    return status;
}

int lm_store_show(int argc, char **argv)
{
    lm_arguments arguments;
    int status = LM_EXIT_OK;
    if (!lm_options_parse(&command, argc, argv, &arguments, &status)) return status;
    LM_OWN(lm_store) store = NULL;
    if (!lm_open_store(command.name, lm_store_place(store_place), LM_STORE_READ, NULL, &store, &status)) return status;
    lm_error err = {0};
    LM_OWN(lm_snapshot) snapshot = NULL;
    if (lm_store_snapshot(store, &snapshot, &err)) return lm_verb_failed(command.name, &err);
    lm_search search;
    const lm_found *found = lm_find_one(command.name, snapshot, arguments.at[0], &search, &status);
    lm_status failed = LM_OK;
    if (found && found->kind == LM_ROW_TENSOR) failed = show_tensor(found, &status, &err);
    else if (found && found->kind == LM_ROW_ARTIFACT) failed = show_artifact(found, &status, &err);
    else if (found && found->kind == LM_ROW_STEP) failed = show_step(snapshot, found, &status, &err);
    else if (found) status = show_recipe(found);
    lm_search_done(&search);
    return failed ? lm_verb_failed(command.name, &err) : status;
}
