/* plot.corner: the corner plot of posterior draws. */
#include "operators/plot/_corner.h"
#include "runtime/operator.h"
#include "runtime/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    const char *path, *tensor, *names, *weights, *title;
    lm_texts show;
    json_t *labels, *truth;
    lm_reals levels;
    int64_t bins;
    double smooth, size;
    bool titles, points;
} corner;

#define NAMES_SCHEMA(values) "{\"type\": \"object\", \"additionalProperties\": {\"type\": " values "}}"

static const lm_param params[] = {
    LM_PATH(corner, path, NULL, .required = true, .output = true, .per_record = true,
            .doc = "picture to write, .png or .svg, with {id} in it so that each record has its own"),
    LM_TEXT(corner, tensor, "samples", .doc = "tensor of draws: a row each, a column a parameter"),
    LM_TEXT(corner, names, "",
            .doc =
                "names of the columns, separated by commas; by default the attribute \"names\", otherwise p1, p2, ..."),
    LM_TEXT(corner, weights, "weights", .doc = "tensor with the weight of each draw, where the record has one"),
    LM_TEXTS(corner, show, "[]", .doc = "parameters to show, in this order; all if not given"),
    LM_TREE(corner, labels, NULL, .schema = NAMES_SCHEMA("\"string\""),
            .doc = "words for names, e.g. {theta_E: \"Einstein radius [arcsec]\"}; without, theta_E is set as a Greek "
                   "letter with an index"),
    LM_TREE(corner, truth, NULL, .per_record = true, .schema = NAMES_SCHEMA("[\"number\", \"string\"]"),
            .doc = "true values by name, as numbers or \"{NAME}\" for an attribute: lines across the panels"),
    LM_REALS(corner, levels, "[0.393, 0.865]",
             .doc =
                 "parts of the distribution within the contours; the default is 1 and 2 sigma of two dimensions, 0.68 "
                 "and 0.95 is the other custom"),
    LM_INT(corner, bins, 0, .min = 0, .max = 200, .doc = "bins of a histogram; 0: by number and spread of the draws"),
    LM_REAL(corner, smooth, 1, .min = 0, .max = 10,
            .doc = "width of the kernel that smooths the densities, in units of Scott's rule"),
    LM_BOOL(corner, titles, true, .doc = "median and 16th, 84th percentile above each histogram"),
    LM_BOOL(corner, points, true, .doc = "show the draws that lie outside the outermost contour"),
    LM_REAL(corner, size, 0, .min = 0, .max = 1000, .unit = "pix",
            .doc = "side of a panel, a PNG has twice as many dots; 0: by the number of parameters"),
    LM_TEXT(corner, title, "", .per_record = true, .doc = "words in the empty corner of the picture"),
    {0}};

static const lm_port ports[] = {{"in", LM_PORT_STREAM, "records with draws, a picture each", false}, {0}};

static const lm_field fields[] = {
    LM_IN_OPT("in", "*", LM_ANY_DTYPE, "*", "*", "draws [draws, parameters], and weights [draws]"), {0}};

/* The columns of a record, and which of them are shown. */
typedef struct {
    size_t dim, n_shown;
    const char **names; /* [dim] */
    size_t shown[LM_CORNER_PARAMS];
} columns;

static lm_status check(const void *self, lm_error *err)
{
    const corner *s = self;
    lm_format format;
    size_t length = strlen(s->path);
    if (length && s->path[length - 1] != '}') LM_TRY(lm_format_of_path(s->path, &format, err));
    if (s->levels.n > LM_CORNER_LEVELS)
        return LM_FAIL(err, LM_EGRAPH, "\"levels\": %zu contours are more than %d", s->levels.n, LM_CORNER_LEVELS);
    for (size_t i = 0; i < s->levels.n; i++)
        if (!(s->levels.at[i] > (i ? s->levels.at[i - 1] : 0) && s->levels.at[i] < 1))
            return LM_FAIL(err, LM_EGRAPH, "\"levels\" must rise, between 0 and 1");
    if (s->show.n > LM_CORNER_PARAMS)
        return LM_FAIL(err, LM_EGRAPH, "\"show\": %zu parameters are more than %d", s->show.n, LM_CORNER_PARAMS);
    return LM_OK;
}

static lm_status split_names(lm_step *step, const char *text, const char **names, size_t dim, lm_error *err)
{
    size_t length = strlen(text) + 1, n = 0;
    char *copy = lm_step_scratch(step, length, 1);
    if (!copy) return LM_NOMEM(err);
    memcpy(copy, text, length);
    for (char *at = copy, *next; at; at = next) {
        if ((next = strchr(at, ','))) *next++ = 0;
        at += strspn(at, " \t\n");
        for (size_t k = strlen(at); k && strchr(" \t\n", at[k - 1]);) at[--k] = 0;
        if (n < dim) names[n] = at;
        n++;
    }
    if (n == dim) return LM_OK;
    return LM_FAIL(err, LM_EINPUT, "%zu names for %zu columns of draws: \"%.200s\"", n, dim, text);
}

static lm_status name_columns(const corner *s, lm_step *step, const lm_record *record, columns *c, lm_error *err)
{
    lm_value given = lm_record_value(record, "names");
    c->names = lm_step_scratch(step, c->dim + 1, sizeof *c->names);
    char *room = lm_step_scratch(step, c->dim + 1, 24);
    if (!c->names || !room) return LM_NOMEM(err);
    if (*s->names) return split_names(step, s->names, c->names, c->dim, err);
    if (given.kind == LM_KIND_TEXT) return split_names(step, given.text, c->names, c->dim, err);
    for (size_t k = 0; k < c->dim; k++) {
        snprintf(room + 24 * k, 24, "p%zu", k + 1);
        c->names[k] = room + 24 * k;
    }
    return LM_OK;
}

/* Its column; SIZE_MAX: there is none of that name. */
static size_t column_named(const columns *c, const char *name)
{
    for (size_t k = 0; k < c->dim; k++)
        if (strcmp(c->names[k], name) == 0) return k;
    return SIZE_MAX;
}

static lm_status unknown(const columns *c, const char *where, const char *name, lm_error *err)
{
    lm_nearest nearest;
    lm_nearest_init(&nearest, name);
    for (size_t k = 0; k < c->dim; k++) lm_nearest_offer(&nearest, c->names[k]);
    char hint[200];
    snprintf(hint, sizeof hint, "Did you mean \"%.100s\"?", nearest.best ? nearest.best : "");
    return LM_FAIL_HINT(err, LM_EINPUT, nearest.best ? hint : NULL, "\"%s\": the draws have no parameter \"%s\"", where,
                        name);
}

static lm_status choose_columns(const corner *s, columns *c, lm_error *err)
{
    c->n_shown = s->show.n ? s->show.n : c->dim;
    if (c->n_shown > LM_CORNER_PARAMS)
        return LM_FAIL_HINT(err, LM_EINPUT, "Name those to show with \"show\".", "%zu parameters are more than %d",
                            c->n_shown, LM_CORNER_PARAMS);
    for (size_t i = 0; i < c->n_shown; i++) {
        c->shown[i] = s->show.n ? column_named(c, s->show.at[i]) : i;
        if (c->shown[i] == SIZE_MAX) return unknown(c, "show", s->show.at[i], err);
    }
    return LM_OK;
}

/* A number, or a template that an attribute fills in. */
static lm_status truth_of(const corner *s, lm_step *step, const char *name, double *ret, lm_error *err)
{
    const json_t *value = json_object_get(s->truth, name);
    const char *text = json_string_value(value);
    char *end;
    *ret = json_is_number(value) ? json_number_value(value) : (double)NAN;
    if (!text) return LM_OK;
    LM_TRY_IN(lm_step_expand(step, text, NULL, &text, err), err, "the truth of \"%s\"", name);
    *ret = strtod(text, &end);
    if (end == text || *end)
        return LM_FAIL(err, LM_EINPUT, "the truth of \"%s\" is \"%s\": a number is wanted", name, text);
    return LM_OK;
}

static lm_status set_params(const corner *s, lm_step *step, const columns *c, lm_corner_param *to, lm_error *err)
{
    const char *name;
    json_t *value;
    json_object_foreach(s->truth, name, value)
    {
        if (column_named(c, name) == SIZE_MAX) return unknown(c, "truth", name, err);
    }
    json_object_foreach(s->labels, name, value)
    {
        if (column_named(c, name) == SIZE_MAX) return unknown(c, "labels", name, err);
    }
    for (size_t i = 0; i < c->n_shown; i++) {
        to[i].name = c->names[c->shown[i]];
        to[i].label = json_string_value(json_object_get(s->labels, to[i].name));
        LM_TRY(truth_of(s, step, to[i].name, &to[i].truth, err));
    }
    return LM_OK;
}

static lm_status find_weights(const corner *s, lm_step *step, size_t n, const double **ret, lm_error *err)
{
    const lm_tensor *tensor = lm_step_peek(step, "in", s->weights);
    *ret = NULL;
    if (!tensor) return LM_OK;
    if (lm_tensor_count(tensor) != n)
        return LM_FAIL(err, LM_EINPUT, "\"%s\" has %zu weights for %zu draws", s->weights, lm_tensor_count(tensor), n);
    *ret = lm_step_peek_f64(step, tensor);
    return *ret || !n ? LM_OK : LM_NOMEM(err);
}

/* Columns of the draws that are finite in all that is shown and have a weight. */
static lm_status gather(lm_step *step, const double *values, const double *weights, size_t n, const columns *c,
                        lm_corner *to, lm_error *err)
{
    double *room = lm_step_scratch(step, (c->n_shown + 1) * (n + 1), sizeof *room), *w = room + c->n_shown * (n + 1);
    const double **draws = lm_step_scratch(step, c->n_shown + 1, sizeof *draws);
    size_t kept = 0;
    if (!room || !draws) return LM_NOMEM(err);
    for (size_t i = 0; i < n; i++) {
        bool good = !weights || (weights[i] > 0 && isfinite(weights[i]));
        for (size_t k = 0; k < c->n_shown; k++) {
            double value = values[i * c->dim + c->shown[k]];
            room[k * (n + 1) + kept] = value;
            good = good && isfinite(value);
        }
        if (weights) w[kept] = weights[i];
        kept += good;
    }
    if (kept < n)
        lm_step_warn(step, "%zu of %zu draws are left out: %s", n - kept, n,
                     weights ? "they are not finite, or have no weight" : "they are not finite");
    for (size_t k = 0; k < c->n_shown; k++) draws[k] = room + k * (n + 1);
    to->draws = draws;
    to->weights = weights ? w : NULL;
    to->n = kept;
    return LM_OK;
}

static lm_status corner_step(const void *self, lm_step *step, lm_error *err)
{
    const corner *s = self;
    const lm_record *record = lm_step_record(step, "in");
    const lm_tensor *samples = lm_step_peek(step, "in", s->tensor);
    const char *path, *temporary, *title;
    char shape[192];
    LM_TRY(lm_step_text(step, "path", &path, err));
    LM_TRY(lm_step_text(step, "title", &title, err));
    lm_format format;
    LM_TRY(lm_format_of_path(path, &format, err));
    if (!samples)
        return LM_FAIL_HINT(err, LM_EINPUT, "Name it with \"tensor\".", "the record has no tensor \"%s\" of draws",
                            s->tensor);
    if (samples->ndim != 2 && samples->ndim != 1)
        return LM_FAIL(err, LM_EINPUT, "draws \"%s\" have shape %s, where [draws, parameters] is wanted", s->tensor,
                       lm_tensor_shape_text(shape, samples));
    columns c = {.dim = samples->ndim == 2 ? samples->shape[1] : 1};
    size_t n = samples->shape[0];
    const double *values = lm_step_peek_f64(step, samples), *weights;
    if (!values && n && c.dim) return LM_NOMEM(err);
    LM_TRY(name_columns(s, step, record, &c, err));
    LM_TRY(choose_columns(s, &c, err));
    LM_TRY(find_weights(s, step, n, &weights, err));
    lm_corner_param shown[LM_CORNER_PARAMS];
    LM_TRY(set_params(s, step, &c, shown, err));
    lm_corner plot = {.n_params = c.n_shown,
                      .params = shown,
                      .levels = s->levels.at,
                      .n_levels = s->levels.n,
                      .bins = (size_t)s->bins,
                      .smooth = s->smooth,
                      .size = s->size,
                      .titles = s->titles,
                      .points = s->points,
                      .title = title};
    LM_TRY(gather(step, values, weights, n, &c, &plot, err));
    LM_OWN(lm_canvas) canvas = NULL;
    LM_TRY(lm_corner_draw(&plot, &canvas, err));
    LM_TRY(lm_step_file(step, path, &temporary, err));
    return lm_canvas_write(canvas, format, temporary, err);
}

const lm_operator lm_op_plot_corner = {
    .struct_size = sizeof(lm_operator),
    .name = "plot.corner",
    .version = 1,
    .summary = "Corner plot of posterior draws",
    .doc =
        "On the diagonal the histogram of each parameter, with lines at the median and the 16th and 84th percentile; "
        "below it, for each two, the regions of highest density that hold `levels` of the distribution, and the draws "
        "outside them as points. Densities are histograms on a grid, smoothed with a Gaussian that follows the number "
        "of draws and, for two parameters that hang together, the width of one at a fixed other.\n\n"
        "Axes cover the middle 99.7 % of the draws, and the truth. Draws that are not finite in what is shown are left "
        "out and counted in the log. With fewer than 20 draws, or a parameter that does not vary, there are points "
        "alone.",
    .example = "{path: \"out/{id}.png\", names: \"theta_E, q, phi\", truth: {theta_E: 0.1}, size: 90}",
    .shape = LM_SINK,
    .size = sizeof(corner),
    .params = params,
    .ports = ports,
    .fields = fields,
    .check = check,
    .step = corner_step,
};
