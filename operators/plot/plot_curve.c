/* plot.curve: curves of one tensor over another, with bands.
 *
 * The band of a coverage curve. If the posteriors are right, the expected coverage is the empirical distribution of N uniform
 * numbers, and the largest distance of the whole curve from the diagonal is the statistic D_N of Kolmogorov and Smirnov. The
 * band y = x -+ d with P(D_N >= d) = 1 - band holds all of a right curve, end to end, with probability `band`: a curve
 * that leaves it anywhere is a finding at that level, which a band made point by point would not be.
 */
#include "operators/core/special.h"
#include "operators/plot/_chart.h"
#include "runtime/operator.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    const char *path, *x, *y, *title, *x_label, *y_label, *count;
    double band;
    int diagonal, mark;
    bool log_x, log_y;
    int64_t limit;
} curve;

static const char *const diagonals[] = {"auto", "yes", "no", NULL};
static const char *const marks[] = {"line", "points", "step", NULL}; /* as lm_chart_mark */

static const lm_param params[] = {
    LM_PATH(curve, path, NULL, .required = true, .output = true, .per_record = true,
            .doc = "picture to write, .png or .svg; {id} and attributes are those of the first record"),
    LM_TEXT(curve, x, "", .doc = "tensor or attribute along the horizontal axis; none: 0, 1, 2, ..."),
    LM_TEXT(curve, y, NULL, .required = true,
            .doc = "tensor or attribute along the vertical axis; tensors of its name with _low and _high are its band"),
    LM_REAL(curve, band, NAN, .min = 0.5, .max = 0.9999,
            .doc = "of a coverage curve: the probability that a right posterior's whole curve lies in the grey band"),
    LM_TEXT(curve, count, "",
            .doc = "attribute with the number of simulations, which the band follows; by default "
                   "\"simulations\", \"n_simulations\", \"n_sims\" or \"count\", the first there is"),
    LM_CHOICE(curve, diagonal, "auto", diagonals, .doc = "whether to draw y = x; auto: for coverage curves"),
    LM_CHOICE(curve, mark, "line", marks, .doc = "how points are shown"),
    LM_BOOL(curve, log_x, false, .doc = "a logarithmic horizontal axis"),
    LM_BOOL(curve, log_y, false, .doc = "a logarithmic vertical axis"),
    LM_TEXT(curve, title, "", .per_record = true, .doc = "words above the picture"),
    LM_TEXT(curve, x_label, "", .doc = "words below the horizontal axis; by default the name and the unit"),
    LM_TEXT(curve, y_label, "", .doc = "words beside the vertical axis; by default the name and the unit"),
    LM_INT(curve, limit, 50, .min = 1, .max = 1000, .doc = "the most curves in a picture; the first ones are shown"),
    {0}};

static const lm_port ports[] = {{"in", LM_PORT_GATHER, "a curve each; or, of attributes, a point each", false}, {0}};

/* What is collected over the records: the curves, and the points of records that have one only. */
typedef struct gathered {
    lm_curve *curves;
    size_t n;
    double *px, *py; /* of single points */
    size_t n_points;
    char x_unit[64], y_unit[64];
    int64_t simulations; /* of the record that has fewest; 0: none says */
} gathered;

static lm_status curve_check(const void *self, lm_error *err)
{
    const curve *s = self;
    lm_format format;
    size_t length = strlen(s->path);
    if (length && s->path[length - 1] != '}') LM_TRY(lm_format_of_path(s->path, &format, err));
    if (s->diagonal == 1 && s->log_x != s->log_y)
        return LM_FAIL(err, LM_EGRAPH, "\"diagonal\": y = x is no line where one axis alone is logarithmic");
    return LM_OK;
}

static void keep_unit(char unit[64], const char *found)
{
    if (!*unit && found && *found) snprintf(unit, 64, "%s", found);
}

/* The unit that an attribute's comment gives in brackets: "[pix] radius". */
static void unit_of_comment(char unit[64], const char *comment)
{
    const char *open = comment ? strchr(comment, '[') : NULL, *close = open ? strchr(open, ']') : NULL;
    if (!*unit && close) snprintf(unit, 64, "%.*s", (int)(close - open - 1), open + 1);
}

/* The values of a name: a tensor's (in the step's memory), or one of an attribute. *ret NULL: the record has neither. */
static lm_status values_of(lm_step *step, const lm_record *record, const char *name, char unit[64], const double **ret,
                           size_t *ret_n, lm_error *err)
{
    const lm_tensor *tensor = lm_record_tensor(record, name);
    *ret = NULL;
    *ret_n = 0;
    if (tensor) {
        size_t n = lm_tensor_count(tensor), longest = 1;
        for (unsigned i = 0; i < tensor->ndim; i++)
            if (tensor->shape[i] > longest) longest = tensor->shape[i];
        char shape[192];
        if (n > longest)
            return LM_FAIL_HINT(err, LM_EINPUT, "Choose one row of it with `unstack` first.",
                                "tensor \"%s\" has shape %s, which is no single curve", name,
                                lm_tensor_shape_text(shape, tensor));
        double *values = lm_step_scratch(step, n + 1, sizeof *values);
        if (!values) return LM_NOMEM(err);
        lm_tensor_to_f64(tensor, values);
        keep_unit(unit, tensor->unit);
        *ret = values;
        *ret_n = n;
        return LM_OK;
    }
    lm_value value = lm_record_value(record, name);
    const lm_attr *attr = lm_record_attr(record, name);
    if (value.kind == LM_KIND_NULL && !attr) return LM_OK;
    double *one = lm_step_scratch(step, 1, sizeof *one);
    if (!one) return LM_NOMEM(err);
    *one = lm_value_real(value);
    if (attr) unit_of_comment(unit, attr->comment);
    *ret = one;
    *ret_n = 1;
    return LM_OK;
}

static lm_status need(lm_step *step, const lm_record *record, const char *name, char unit[64], const double **ret,
                      size_t *ret_n, lm_error *err)
{
    LM_TRY(values_of(step, record, name, unit, ret, ret_n, err));
    if (*ret) return LM_OK;
    lm_nearest nearest;
    lm_nearest_init(&nearest, name);
    for (size_t i = 0; i < lm_record_tensor_count(record); i++)
        lm_nearest_offer(&nearest, lm_record_tensor_at(record, i)->name);
    for (size_t i = 0; i < lm_record_attr_count(record); i++)
        lm_nearest_offer(&nearest, lm_record_attr_at(record, i)->name);
    char hint[200];
    snprintf(hint, sizeof hint, "Did you mean \"%.100s\"?", nearest.best ? nearest.best : "");
    return LM_FAIL_HINT(err, LM_EINPUT, nearest.best ? hint : NULL, "there is no tensor or attribute \"%s\" to plot",
                        name);
}

/* The number of simulations behind a record's curve; 0: it does not say. */
static int64_t simulations(const curve *s, const lm_record *record)
{
    static const char *const usual[] = {"simulations", "n_simulations", "n_sims", "count"};
    if (*s->count) {
        double n = lm_value_real(lm_record_value(record, s->count));
        return n >= 1 && n < 1e15 ? (int64_t)n : 0;
    }
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        double n = lm_value_real(lm_record_value(record, usual[i]));
        if (n >= 1 && n < 1e15) return (int64_t)n;
    }
    return 0;
}

static lm_status add_record(const curve *s, lm_step *step, const lm_record *record, gathered *all, lm_error *err)
{
    const double *x = NULL, *y, *low, *high;
    size_t n_x, n_y, n_low, n_high;
    LM_TRY(need(step, record, s->y, all->y_unit, &y, &n_y, err));
    if (*s->x) {
        LM_TRY(need(step, record, s->x, all->x_unit, &x, &n_x, err));
        if (n_x != n_y)
            return LM_FAIL(err, LM_EINPUT, "\"%s\" has %zu values and \"%s\" has %zu: they cannot be plotted together",
                           s->x, n_x, s->y, n_y);
    }
    if (n_y == 1) {
        all->px[all->n_points] = x ? *x : (double)all->n_points;
        all->py[all->n_points++] = *y;
        return LM_OK;
    }
    if (!x) {
        double *index = lm_step_scratch(step, n_y + 1, sizeof *index);
        if (!index) return LM_NOMEM(err);
        for (size_t i = 0; i < n_y; i++) index[i] = (double)i;
        x = index;
    }
    char name[300];
    snprintf(name, sizeof name, "%s_low", s->y);
    LM_TRY(values_of(step, record, name, all->y_unit, &low, &n_low, err));
    snprintf(name, sizeof name, "%s_high", s->y);
    LM_TRY(values_of(step, record, name, all->y_unit, &high, &n_high, err));
    bool band = low && high && n_low == n_y && n_high == n_y;
    const char *id;
    LM_TRY(lm_step_expand(step, "{id}", record, &id, err)); /* lives as the step does */
    all->curves[all->n++] =
        (lm_curve){.name = id, .n = n_y, .x = x, .y = y, .low = band ? low : NULL, .high = band ? high : NULL};
    int64_t n = simulations(s, record);
    if (n && (!all->simulations || n < all->simulations)) all->simulations = n;
    return LM_OK;
}

/* The d with P(D_n >= d) = 1 - band, to 1e-9. */
static double half_width(double band, int64_t n)
{
    double low = 0, high = 1;
    for (int i = 0; i < 30; i++) {
        double middle = (low + high) / 2;
        if (lm_ks_tail(middle, (size_t)n) > 1 - band) low = middle;
        else high = middle;
    }
    return (low + high) / 2;
}

/* An axis's words: those given, or the name and the unit, with the usual quantities of diagnosis spelt out. */
static const char *label(char to[400], const char *given, const char *name, const char *unit)
{
    static const char *const spelt[][2] = {{"alpha", "credibility level α"}, {"ecp", "expected coverage"}};
    if (*given) return given;
    for (size_t i = 0; i < sizeof spelt / sizeof *spelt; i++)
        if (strcmp(name, spelt[i][0]) == 0) name = spelt[i][1];
    if (unit && *unit) snprintf(to, 400, "%.300s [%.64s]", name, unit);
    else snprintf(to, 400, "%.300s", name);
    return to;
}

static lm_status curve_step(const void *self, lm_step *step, lm_error *err)
{
    const curve *s = self;
    size_t of = lm_step_count(step, "in"), n = of < (size_t)s->limit ? of : (size_t)s->limit;
    gathered all = {.curves = lm_step_scratch(step, of + 1, sizeof(lm_curve)),
                    .px = lm_step_scratch(step, of + 1, sizeof(double)),
                    .py = lm_step_scratch(step, of + 1, sizeof(double))};
    if (!all.curves || !all.px || !all.py) return LM_NOMEM(err);
    const char *path = NULL, *title = NULL, *temporary;
    for (size_t i = 0; i < of; i++) {
        if (lm_step_stopped(step)) return LM_ESTOP(step, err);
        const lm_record *record;
        LM_TRY(lm_step_member(step, "in", i, &record, err));
        if (i == 0) {
            LM_TRY(lm_step_expand(step, s->path, record, &path, err));
            LM_TRY(lm_step_expand(step, s->title, record, &title, err));
        }
        if (all.n < n) LM_TRY_IN(add_record(s, step, record, &all, err), err, "record \"%s\"", lm_record_id(record));
    }
    if (!path) LM_TRY(lm_step_expand(step, s->path, NULL, &path, err));
    if (!title) LM_TRY(lm_step_expand(step, s->title, NULL, &title, err));
    lm_format format;
    LM_TRY(lm_format_of_path(path, &format, err));
    bool single = all.n_points > 0;
    if (single) all.curves[all.n++] = (lm_curve){.name = s->y, .n = all.n_points, .x = all.px, .y = all.py};

    bool coverage = isfinite(s->band) || (strcmp(s->x, "alpha") == 0 && strcmp(s->y, "ecp") == 0);
    bool own_bands = false;
    for (size_t i = 0; i < all.n; i++) own_bands |= all.curves[i].low != NULL;
    char x_label[400], y_label[400], band_label[300], diagonal_label[100];
    lm_chart chart = {.title = title,
                      .x_label = label(x_label, s->x_label, *s->x ? s->x : "index", all.x_unit),
                      .y_label = label(y_label, s->y_label, s->y, all.y_unit),
                      .curves = all.curves,
                      .n_curves = all.n,
                      .mark = (lm_chart_mark)s->mark,
                      .log_x = s->log_x,
                      .log_y = s->log_y,
                      .diagonal = s->diagonal == 1 || (s->diagonal == 0 && coverage && s->log_x == s->log_y)};
    if (isfinite(s->band) && all.simulations && chart.diagonal && !s->log_x) {
        chart.half_width = half_width(s->band, all.simulations);
        snprintf(diagonal_label, sizeof diagonal_label, "%.4g %% of calibrated curves, N = %lld", 100 * s->band,
                 (long long)all.simulations);
        chart.diagonal_label = diagonal_label;
    } else if (isfinite(s->band) && all.n) {
        lm_step_warn(step, "no band is drawn: %s",
                     all.simulations ? "it needs the diagonal and linear axes"
                                     : "no attribute gives the number of simulations; name it with \"count\"");
    }
    if (own_bands) {
        snprintf(band_label, sizeof band_label, "%.100s_low to %.100s_high", s->y, s->y);
        chart.band_label = band_label;
    }

    LM_OWN(lm_canvas) canvas = NULL;
    LM_TRY(lm_chart_draw(&chart, &canvas, err));
    LM_TRY(lm_step_file(step, path, &temporary, err));
    return lm_canvas_write(canvas, format, temporary, err);
}

const lm_operator lm_op_plot_curve = {
    .struct_size = sizeof(lm_operator),
    .name = "plot.curve",
    .version = 1,
    .summary = "Curves of one quantity over another, with bands",
    .doc =
        "Every record whose x and y are vectors is a curve, named after its id. Records with one value each are the\n"
        "points of one curve together. Tensors `<y>_low` and `<y>_high` shade a band about their curve.\n"
        "\n"
        "With `band`, y = x is drawn with the band that holds the whole coverage curve of N simulations with that\n"
        "probability if the posteriors are right (Kolmogorov and Smirnov): a curve that leaves it anywhere is a\n"
        "finding. Where alpha is above one half, a curve below the diagonal means posteriors that are too narrow or\n"
        "biased, one above it posteriors that are too wide.",
    .example = "{path: out/coverage.png, x: alpha, y: ecp, band: 0.99}",
    .shape = LM_SINK,
    .size = sizeof(curve),
    .params = params,
    .ports = ports,
    .check = curve_check,
    .step = curve_step,
};
