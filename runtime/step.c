#include "runtime/step.h"
#include "runtime/graph.h"
#include "runtime/log.h"
#include "runtime/param.h"
#include "runtime/random.h"
#include "runtime/text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

double lm_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- life ---------------------------------------------------------------------------------------------------------- */

void lm_step_init(lm_step *step)
{
    memset(step, 0, sizeof *step);
    lm_arena_init(&step->arena);
}

static void forget(lm_step *step)
{
    for (unsigned i = 0; i < step->n_inputs; i++) step->inputs[i].member = lm_record_unref(step->inputs[i].member);
    for (unsigned i = 0; i < step->n_outputs; i++) step->outputs[i].record = lm_record_unref(step->outputs[i].record);
}

void lm_step_done(lm_step *step)
{
    forget(step);
    lm_arena_done(&step->arena);
}

void lm_step_begin(lm_step *step, const lm_operator *op, const void *self, const json_t *params, const char *node)
{
    forget(step);
    if (step->arena.first) lm_arena_reset(&step->arena);
    if (op != step->op) {
        const lm_port *ports[LM_MAX_PORTS];
        step->op = op;
        step->n_inputs = (unsigned)lm_operator_inputs(op, ports);
        for (unsigned i = 0; i < step->n_inputs; i++) step->inputs[i] = (lm_step_input){.port = ports[i]};
        step->n_outputs = (unsigned)lm_operator_outputs(op, ports);
        for (unsigned i = 0; i < step->n_outputs; i++) step->outputs[i] = (lm_step_output){.port = ports[i]};
    }
    for (unsigned i = 0; i < step->n_inputs; i++) {
        step->inputs[i].record = NULL;
        step->inputs[i].count = step->inputs[i].missing = 0;
    }
    for (unsigned i = 0; i < step->n_outputs; i++) step->outputs[i].emitted = false;
    step->self = self;
    step->params = params;
    step->node = node;
    step->id = step->item = NULL;
    step->index = 0;
    step->merge_port = 0;
    step->skipped = step->ended = false;
    step->files = NULL;
    step->n_files = 0;
    step->deadline_s = 0;
}

/* ---- inputs -------------------------------------------------------------------------------------------------------- */

/* Names are a few letters: a loop is faster than a call. */
static inline bool same(const char *a, const char *b)
{
    while (*a && *a == *b) a++, b++;
    return *a == *b;
}

static lm_step_input *find_input(lm_step *step, const char *port)
{
    if (!port) return step->n_inputs ? &step->inputs[0] : NULL;
    for (unsigned i = 0; i < step->n_inputs; i++)
        if (same(step->inputs[i].port->name, port)) return &step->inputs[i];
    return NULL;
}

const lm_record *lm_step_first(const lm_step *step)
{
    for (unsigned i = 0; i < step->n_inputs; i++)
        if (step->inputs[i].port->kind == LM_PORT_STREAM || step->inputs[i].port->kind == LM_PORT_MERGE)
            return step->inputs[i].record;
    return NULL;
}

const lm_record *lm_step_record(lm_step *step, const char *port)
{
    const lm_step_input *input = find_input(step, port);
    return input ? input->record : NULL;
}

const lm_tensor *lm_step_peek(lm_step *step, const char *port, const char *tensor)
{
    const lm_record *record = lm_step_record(step, port);
    return record ? lm_record_tensor(record, tensor) : NULL;
}

const double *lm_step_peek_f64(lm_step *step, const lm_tensor *tensor)
{
    if (tensor->dtype == LM_F64) return tensor->data;
    double *converted = lm_step_scratch(step, lm_tensor_count(tensor), sizeof *converted);
    if (converted) lm_tensor_to_f64(tensor, converted);
    return converted;
}

const float *lm_step_peek_f32(lm_step *step, const lm_tensor *tensor)
{
    if (tensor->dtype == LM_F32) return tensor->data;
    float *converted = lm_step_scratch(step, lm_tensor_count(tensor), sizeof *converted);
    if (converted) lm_tensor_to_f32(tensor, converted);
    return converted;
}

size_t lm_step_count(lm_step *step, const char *port)
{
    const lm_step_input *input = find_input(step, port);
    return input ? input->count : 0;
}

size_t lm_step_missing(lm_step *step, const char *port)
{
    const lm_step_input *input = find_input(step, port);
    return input ? input->missing : 0;
}

lm_status lm_step_member(lm_step *step, const char *port, size_t i, const lm_record **ret, lm_error *err)
{
    lm_step_input *input = find_input(step, port);
    if (!input || i >= input->count)
        return LM_FAIL(err, LM_EBUG, "member %zu of port \"%s\" was asked for: there are %zu", i, port ? port : "in",
                       input ? input->count : 0);
    input->member = lm_record_unref(input->member);
    LM_TRY(step->host->member(step->host_arg, (unsigned)(input - step->inputs), i, &input->member, err));
    *ret = input->member;
    return LM_OK;
}

size_t lm_step_merge_port(lm_step *step)
{
    return step->merge_port;
}

const char *lm_step_item(const lm_step *step)
{
    return step->item;
}

uint64_t lm_step_index(const lm_step *step)
{
    return step->index;
}

/* Symbols of a step's shapes ("H", "W") and the lengths that they stand for. */
typedef struct {
    const char *name;
    size_t n_name, length;
    const char *tensor;
} symbol;

static lm_status check_shape(const char *shape, const lm_tensor *tensor, const char *name, symbol *symbols,
                             unsigned *n_symbols, lm_error *err)
{
    if (!shape || strcmp(shape, "*") == 0) return LM_OK;
    char text[192];
    unsigned axis = 0;
    for (const char *word = shape; *word;) {
        size_t n = strcspn(word, " ");
        if (n == 3 && strncmp(word, "...", 3) == 0) return LM_OK;
        if (axis == tensor->ndim)
            return LM_FAIL(err, LM_EINPUT, "tensor \"%s\" has shape %s: \"%s\" is wanted", name,
                           lm_tensor_shape_text(text, tensor), shape);
        size_t length = tensor->shape[axis++];
        if (*word >= '0' && *word <= '9') {
            if (strtoul(word, NULL, 10) != length)
                return LM_FAIL(err, LM_EINPUT, "tensor \"%s\" has shape %s: \"%s\" is wanted", name,
                               lm_tensor_shape_text(text, tensor), shape);
        } else {
            unsigned s = 0;
            while (s < *n_symbols && !(symbols[s].n_name == n && strncmp(symbols[s].name, word, n) == 0)) s++;
            if (s == *n_symbols) {
                if (s < 32) symbols[(*n_symbols)++] = (symbol){word, n, length, name};
            } else if (symbols[s].length != length) {
                return LM_FAIL(err, LM_EINPUT, "tensor \"%s\" has shape %s: its %.*s should be %zu, as in \"%s\"", name,
                               lm_tensor_shape_text(text, tensor), (int)n, word, symbols[s].length, symbols[s].tensor);
            }
        }
        word += n + (word[n] == ' ');
    }
    if (axis != tensor->ndim)
        return LM_FAIL(err, LM_EINPUT, "tensor \"%s\" has shape %s: \"%s\" is wanted", name,
                       lm_tensor_shape_text(text, tensor), shape);
    return LM_OK;
}

static lm_status missing_tensor(const lm_record *record, const char *name, lm_error *err)
{
    lm_nearest nearest;
    lm_nearest_init(&nearest, name);
    lm_text have;
    lm_text_init(&have);
    for (size_t i = 0; i < lm_record_tensor_count(record); i++) {
        const char *other = lm_record_tensor_at(record, i)->name;
        lm_nearest_offer(&nearest, other);
        lm_text_format(&have, "%s\"%s\"", i ? ", " : "", other);
    }
    char hint[LM_ERROR_HINT];
    if (nearest.best) snprintf(hint, sizeof hint, "Did you mean \"%s\"? Rename it with select.", nearest.best);
    else snprintf(hint, sizeof hint, "Name it in the `tensors:` of fits.read, or rename one with select.");
    lm_fail(err, LM_EINPUT, hint, "the record has no tensor \"%s\" (it has %s)", name,
            have.length ? lm_text_peek(&have) : "none");
    lm_text_done(&have);
    return LM_EINPUT;
}

lm_status lm_step_check_inputs(lm_step *step, lm_error *err)
{
    const lm_field *fields = step->op->fields;
    symbol symbols[32];
    unsigned n_symbols = 0;
    for (const lm_field *field = fields; field && field->port; field++) {
        if (field->out || strcmp(field->name, "*") == 0) continue;
        const lm_step_input *input = find_input(step, field->port);
        if (!input || !input->record) continue;
        if (field->attribute) {
            if (!field->optional && lm_record_value(input->record, field->name).kind == LM_KIND_NULL)
                return LM_FAIL(err, LM_EINPUT, "the record has no attribute \"%s\"", field->name);
            continue;
        }
        const lm_tensor *tensor = lm_record_tensor(input->record, field->name);
        if (!tensor) {
            if (field->optional) continue;
            return missing_tensor(input->record, field->name, err);
        }
        if (!lm_dtype_fits(tensor->dtype, field->dtype))
            return LM_FAIL(err, LM_EINPUT, "tensor \"%s\" is of type %s: %s is wanted", field->name,
                           lm_dtype_name(tensor->dtype), lm_dtype_name(field->dtype));
        LM_TRY(check_shape(field->shape, tensor, field->name, symbols, &n_symbols, err));
    }
    return LM_OK;
}

/* ---- parameters by record ------------------------------------------------------------------------------------------ */

static lm_status param_value(lm_step *step, const char *param, lm_value *ret, lm_error *err)
{
    const json_t *json = json_object_get(step->params, param);
    if (!json || json_is_null(json)) *ret = lm_null();
    else if (json_is_integer(json)) *ret = lm_int(json_integer_value(json));
    else if (json_is_real(json)) *ret = lm_real(json_real_value(json));
    else if (json_is_boolean(json)) *ret = lm_bool(json_is_true(json));
    else if (json_is_string(json)) {
        const char *text = json_string_value(json);
        const lm_record *first = lm_step_first(step);
        if (!first || !lm_template_is(text)) *ret = lm_text_value(text);
        else LM_TRY_IN(lm_template_value(text, first, &step->arena, ret, err), err, "parameter \"%s\"", param);
    } else {
        return LM_FAIL(err, LM_EBUG, "parameter \"%s\" is not a scalar", param);
    }
    return LM_OK;
}

lm_status lm_step_real(lm_step *step, const char *param, double *ret, lm_error *err)
{
    lm_value value;
    LM_TRY(param_value(step, param, &value, err));
    double real = lm_value_real(value);
    if (value.kind == LM_KIND_TEXT && !lm_parse_angle(value.text, &real) && !lm_parse_duration(value.text, &real))
        return LM_FAIL(err, LM_EINPUT, "parameter \"%s\" is \"%s\" for this record: a number is wanted", param,
                       value.text);
    const lm_param *entry = step->op->params;
    while (entry && entry->name && strcmp(entry->name, param) != 0) entry++;
    if (entry && entry->name && (entry->min != 0 || entry->max != 0) && value.kind != LM_KIND_NULL) {
        double max = entry->max > entry->min ? entry->max : (double)INFINITY;
        if (!(real >= entry->min && real <= max))
            return LM_FAIL(err, LM_EINPUT, "parameter \"%s\" is %g for this record: it must lie between %g and %g",
                           param, real, entry->min, max);
    }
    *ret = real;
    return LM_OK;
}

lm_status lm_step_int(lm_step *step, const char *param, int64_t *ret, lm_error *err)
{
    double real;
    LM_TRY(lm_step_real(step, param, &real, err));
    if (!(real == floor(real) && fabs(real) < 9.0e15))
        return LM_FAIL(err, LM_EINPUT, "parameter \"%s\" is %g for this record: a whole number is wanted", param, real);
    *ret = (int64_t)real;
    return LM_OK;
}

lm_status lm_step_text(lm_step *step, const char *param, const char **ret, lm_error *err)
{
    const json_t *json = json_object_get(step->params, param);
    if (!json_is_string(json)) {
        *ret = NULL;
        return LM_OK;
    }
    LM_TRY_IN(lm_step_expand(step, json_string_value(json), NULL, ret, err), err, "parameter \"%s\"", param);
    return LM_OK;
}

lm_status lm_step_expand(lm_step *step, const char *text, const lm_record *record, const char **ret, lm_error *err)
{
    if (!record) record = lm_step_first(step);
    if (record) return lm_template_expand(text, record, &step->arena, ret, err);
    LM_OWN(lm_record) only_id = NULL;
    LM_TRY(lm_record_new(step->id ? step->id : "", &only_id, err));
    return lm_template_expand(text, only_id, &step->arena, ret, err);
}

/* ---- outputs ------------------------------------------------------------------------------------------------------- */

static lm_status find_output(lm_step *step, const char *port, lm_step_output **ret, lm_error *err)
{
    for (unsigned i = 0; i < step->n_outputs; i++)
        if (!port || strcmp(step->outputs[i].port->name, port) == 0) {
            *ret = &step->outputs[i];
            return LM_OK;
        }
    return LM_FAIL(err, LM_EBUG, "operator \"%s\" has no output port \"%s\"", step->op->name, port ? port : "out");
}

/* The record of a port, made on first use: a copy of the first input, or an empty one. */
static lm_status touch(lm_step *step, const char *port, lm_step_output **ret, lm_error *err)
{
    lm_step_output *output;
    LM_TRY(find_output(step, port, &output, err));
    if (!output->record) {
        const lm_record *base = lm_step_first(step);
        if (base) LM_TRY(lm_record_copy(base, &output->record, err));
        else LM_TRY(lm_record_new(step->id ? step->id : "", &output->record, err));
    }
    output->emitted = true;
    *ret = output;
    return LM_OK;
}

lm_status lm_step_id(lm_step *step, const char *port, const char *id, lm_error *err)
{
    lm_step_output *output;
    LM_TRY(touch(step, port, &output, err));
    return lm_record_set_id(output->record, id, err);
}

lm_status lm_step_base(lm_step *step, const char *port, const lm_record *record, lm_error *err)
{
    lm_step_output *output;
    LM_TRY(find_output(step, port, &output, err));
    lm_record *copy;
    if (record) LM_TRY(lm_record_copy(record, &copy, err));
    else LM_TRY(lm_record_new(step->id ? step->id : "", &copy, err));
    lm_record_unref(output->record);
    output->record = copy;
    output->emitted = true;
    return LM_OK;
}

lm_status lm_step_out_as(lm_step *step, const char *port, const char *tensor, lm_dtype dtype, unsigned ndim,
                         const size_t *shape, lm_tensor **ret, lm_error *err)
{
    lm_step_output *output;
    LM_TRY(touch(step, port, &output, err));
    LM_OWN(lm_tensor) made = NULL;
    LM_TRY_IN(lm_tensor_new(dtype, ndim, shape, &made, err), err, "output tensor \"%s\"", tensor);
    lm_tensor *kept = made;
    LM_TRY(lm_record_put(output->record, tensor, lm_take(made), err));
    *ret = kept;
    return LM_OK;
}

/* The input tensor whose dtype and unit an output follows: of the same name, or the first one that is declared. */
static const lm_tensor *model_tensor(lm_step *step, const char *tensor)
{
    const lm_record *first = lm_step_first(step);
    if (!first) return NULL;
    const lm_tensor *same = lm_record_tensor(first, tensor);
    if (same) return same;
    for (const lm_field *field = step->op->fields; field && field->port; field++)
        if (!field->out && !field->attribute && (same = lm_record_tensor(first, field->name))) return same;
    return NULL;
}

static unsigned count_axes(const char *shape)
{
    unsigned n = 0;
    for (const char *word = shape; *word;) {
        size_t length = strcspn(word, " ");
        n++;
        word += length + (word[length] == ' ');
    }
    return n;
}

lm_status lm_step_out(lm_step *step, const char *port, const char *tensor, const size_t *shape, lm_tensor **ret,
                      lm_error *err)
{
    const lm_field *field = step->op->fields;
    while (field && field->port &&
           !(field->out && !field->attribute && strcmp(field->name, tensor) == 0 &&
             (!port || strcmp(field->port, port) == 0)))
        field++;
    if (!field || !field->port)
        return LM_FAIL(err, LM_EBUG, "operator \"%s\" declares no output tensor \"%s\"", step->op->name, tensor);
    const lm_tensor *model = model_tensor(step, tensor);
    lm_dtype dtype = field->dtype;
    if (!lm_dtype_size(dtype)) dtype = model && lm_dtype_fits(model->dtype, dtype) ? model->dtype : LM_F64;
    const lm_tensor *source = model; /* what "=" and free shapes follow */
    unsigned ndim = 0;
    if (!field->shape || strchr(field->shape, '*') || strstr(field->shape, "...")) ndim = source ? source->ndim : 1;
    else ndim = count_axes(field->shape);
    char unit[256] = "";
    if (field->unit && strcmp(field->unit, "=") == 0)
        snprintf(unit, sizeof unit, "%s", source && source->unit ? source->unit : "");
    else if (field->unit && strcmp(field->unit, "*") != 0) snprintf(unit, sizeof unit, "%s", field->unit);
    LM_TRY(lm_step_out_as(step, port, tensor, dtype, ndim, shape, ret, err));
    return *unit ? lm_tensor_set_unit(*ret, unit, err) : LM_OK;
}

lm_status lm_step_put(lm_step *step, const char *port, const char *tensor, lm_tensor *take, lm_error *err)
{
    lm_step_output *output;
    lm_status status = touch(step, port, &output, err);
    if (status) {
        lm_tensor_unref(take);
        return status;
    }
    return lm_record_put(output->record, tensor, take, err);
}

lm_status lm_step_drop(lm_step *step, const char *port, const char *tensor, lm_error *err)
{
    lm_step_output *output;
    LM_TRY(touch(step, port, &output, err));
    lm_record_drop(output->record, tensor);
    return LM_OK;
}

lm_status lm_step_set(lm_step *step, const char *port, const char *name, lm_value value, const char *comment,
                      lm_error *err)
{
    lm_step_output *output;
    LM_TRY(touch(step, port, &output, err));
    return lm_record_set(output->record, name, value, comment, err);
}

lm_status lm_step_unset(lm_step *step, const char *port, const char *name, lm_error *err)
{
    lm_step_output *output;
    LM_TRY(touch(step, port, &output, err));
    lm_record_remove(output->record, name);
    return LM_OK;
}

lm_status lm_step_emit(lm_step *step, const char *port, lm_error *err)
{
    lm_step_output *output;
    LM_TRY(find_output(step, port, &output, err));
    output->emitted = true;
    return LM_OK;
}

void lm_step_skip(lm_step *step)
{
    step->skipped = true;
}

void lm_step_end(lm_step *step)
{
    step->ended = true;
}

lm_status lm_step_finish(lm_step *step, lm_error *err)
{
    if (step->skipped || step->ended) {
        for (unsigned i = 0; i < step->n_outputs; i++) step->outputs[i].emitted = false;
        return LM_OK;
    }
    if (step->n_outputs == 1) step->outputs[0].emitted = true;
    for (unsigned i = 0; i < step->n_outputs; i++) {
        lm_step_output *output = &step->outputs[i];
        if (output->emitted && !output->record && !lm_step_first(step))
            LM_TRY(touch(step, output->port->name, &output, err));
    }
    return LM_OK;
}

/* ---- files --------------------------------------------------------------------------------------------------------- */

/* Folds "." and ".." of an absolute path, as text. */
static char *fold_path(lm_arena *arena, const char *path)
{
    char *folded = lm_arena_alloc(arena, strlen(path) + 2, 1);
    if (!folded) return NULL;
    size_t n = 0;
    for (const char *part = path; *part;) {
        while (*part == '/') part++;
        size_t length = strcspn(part, "/");
        if (length == 2 && part[0] == '.' && part[1] == '.') {
            while (n && folded[n - 1] != '/') n--;
            if (n) n--;
        } else if (length && !(length == 1 && part[0] == '.')) {
            folded[n++] = '/';
            memcpy(folded + n, part, length);
            n += length;
        }
        part += length;
    }
    folded[n] = 0;
    return folded;
}

/* An id may name folders below the fixed part of the path parameter, and nothing else. */
static lm_status check_inside(lm_step *step, const char *folded, lm_error *err)
{
    for (const lm_param *param = step->op->params; param && param->name; param++) {
        const char *template = json_string_value(json_object_get(step->params, param->name));
        if (param->type != LM_P_PATH || !param->output || !template) continue;
        size_t n = strcspn(template, "{");
        while (n && template[n - 1] != '/') n--;
        char *fixed = lm_arena_strndup(&step->arena, template, n);
        char *folder = fixed ? fold_path(&step->arena, fixed) : NULL;
        if (!folder) return LM_NOMEM(err);
        size_t length = strlen(folder);
        if (strncmp(folded, folder, length) == 0 && folded[length] == '/') return LM_OK;
    }
    return LM_FAIL_HINT(err, LM_EINPUT, "Give the record another id with set, or write {id} into a longer name.",
                        "\"%s\" would be written outside of the node's output folder (id \"%s\")", folded,
                        step->id ? step->id : "");
}

static lm_status make_folders(char *path, lm_error *err)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        int failed = mkdir(path, 0777) && errno != EEXIST;
        int cause = errno;
        lm_status status =
            failed ? LM_FAIL(err, LM_EIO, "cannot make folder \"%s\": %s", path, strerror(cause)) : LM_OK;
        *slash = '/';
        if (status) return status;
    }
    return LM_OK;
}

lm_status lm_step_file(lm_step *step, const char *path, const char **ret_temporary, lm_error *err)
{
    lm_step_path *file = lm_arena_alloc(&step->arena, 1, sizeof *file);
    char cwd[PATH_MAX] = "";
    if (path[0] != '/' && !getcwd(cwd, sizeof cwd))
        return LM_FAIL(err, LM_EIO, "no working folder: %s", strerror(errno));
    const char *absolute = path[0] == '/' ? path : lm_arena_printf(&step->arena, "%s/%s", cwd, path);
    if (!file || !absolute || !(file->path = fold_path(&step->arena, absolute))) return LM_NOMEM(err);
    LM_TRY(check_inside(step, file->path, err));
    LM_TRY(make_folders(file->path, err));
    const char *base = strrchr(file->path, '/') + 1;
    /* named by the step's key: what a killed run left half done, its next run writes over. Without a store there are no
     * keys, and two records with one path must not write to one file. */
    char mine[40];
    if (lm_digest_is_zero(&step->key))
        snprintf(mine, sizeof mine, "%x.%llx", (unsigned)getpid(), (unsigned long long)(uintptr_t)step);
    else snprintf(mine, sizeof mine, "%.16s", lm_step_key_text(step));
    file->temporary = lm_arena_printf(&step->arena, "%.*s.tmp-%s-%s", (int)(base - file->path), file->path, mine, base);
    if (!file->temporary) return LM_NOMEM(err);
    file->next = step->files;
    step->files = file;
    step->n_files++;
    *ret_temporary = file->temporary;
    return LM_OK;
}

static lm_status flush_to_disk(const char *path, int flags, lm_error *err)
{
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0) return LM_FAIL(err, LM_EIO, "cannot open \"%s\": %s", path, strerror(errno));
    int failed = fsync(fd), cause = errno;
    close(fd);
    return failed ? LM_FAIL(err, LM_EIO, "cannot write \"%s\" to disk: %s", path, strerror(cause)) : LM_OK;
}

lm_status lm_step_publish(lm_step *step, lm_error *err)
{
    for (lm_step_path *file = step->files; file; file = file->next)
        LM_TRY(flush_to_disk(file->temporary, O_RDONLY, err));
    for (lm_step_path *file = step->files; file; file = file->next) {
        if (rename(file->temporary, file->path))
            return LM_FAIL(err, LM_EIO, "cannot name \"%s\": %s", file->path, strerror(errno));
        char *slash = strrchr(file->path, '/');
        *slash = 0;
        lm_status status = flush_to_disk(*file->path ? file->path : "/", O_RDONLY | O_DIRECTORY, err);
        *slash = '/';
        LM_TRY(status);
    }
    return LM_OK;
}

void lm_step_discard(lm_step *step)
{
    for (lm_step_path *file = step->files; file; file = file->next) unlink(file->temporary);
    step->files = NULL;
    step->n_files = 0;
}

const char *lm_step_key_text(lm_step *step)
{
    char *text = lm_arena_alloc(&step->arena, 65, 1);
    return text ? lm_digest_text(text, &step->key) : "";
}

/* ---- work ---------------------------------------------------------------------------------------------------------- */

void *lm_step_scratch(lm_step *step, size_t n, size_t size)
{
    return lm_arena_data(&step->arena, n ? n : 1, size);
}

bool lm_step_stopped(const lm_step *step)
{
    if (step->cancelled && atomic_load_explicit(step->cancelled, memory_order_relaxed)) return true;
    return step->deadline_s > 0 && lm_now_s() > step->deadline_s;
}

lm_status lm_step_stop_reason(const lm_step *step, lm_error *err)
{
    if (step->cancelled && atomic_load(step->cancelled)) return LM_FAIL(err, LM_ECANCEL, "the run is being stopped");
    return LM_FAIL_HINT(err, LM_ETIMEOUT, "Raise the node's `timeout:`.", "the step took longer than its timeout");
}

lm_random lm_step_random(lm_step *step, uint64_t stream)
{
    return lm_random_stream(&step->key, stream);
}

lm_status lm_step_checkpoint_save(lm_step *step, const void *bytes, size_t n, lm_error *err)
{
    if (!step->host || !step->host->checkpoint_save) return LM_OK;
    return step->host->checkpoint_save(step->host_arg, &step->key, bytes, n, err);
}

lm_status lm_step_checkpoint_load(lm_step *step, const void **ret, size_t *ret_n, lm_error *err)
{
    *ret = NULL;
    *ret_n = 0;
    if (!step->host || !step->host->checkpoint_load) return LM_OK;
    return step->host->checkpoint_load(step->host_arg, &step->key, &step->arena, ret, ret_n, err);
}

void lm_step_warn(lm_step *step, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    lm_log(LM_LOG_WARN, step->node ? step->node : step->op->name, "%s (record \"%s\")", text, step->id ? step->id : "");
}
