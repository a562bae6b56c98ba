/* lens.prior: parameters drawn from distributions, a record each. */
#include "operators/_index_id.h"
#include "operators/lens/_distribution.h"
#include "operators/lens/_population.h"
#include "runtime/operator.h"

#include <math.h>
#include <string.h>

typedef struct {
    json_t *draw, *correlated, *subhaloes, *line_of_sight, *z_lens, *z_source;
    lm_texts rows;
    const char *id;
    int64_t count;
    double H0, Omega_m, Omega_de, w, Omega_b, sigma8, n_s;
    lm_populations *populations; /* NULL: neither is wanted */
} prior;

#define CORRELATED_SCHEMA                                                                                              \
    "{\"type\": \"array\", \"items\": {\"type\": \"object\", \"required\": [\"names\", \"mean\", \"covariance\"], "    \
    "\"properties\": {\"names\": {\"type\": \"array\"}, \"mean\": {\"type\": \"array\"}, \"covariance\": {\"type\": "  \
    "\"array\"}, \"min\": {\"type\": \"array\"}, \"max\": {\"type\": \"array\"}}, \"additionalProperties\": false}}"

#define REDSHIFT_SCHEMA "{\"type\": [\"number\", \"string\"]}"

static const lm_param params[] = {
    LM_INT(prior, count, 1, .min = 0, .max = 1e12, .extent = true, .doc = "how many records are made of each input"),
    LM_TREE(
        prior, draw, NULL, .per_record = true,
        .schema = "{\"type\": \"object\", \"additionalProperties\": " LM_DISTRIBUTION_SCHEMA "}",
        .doc =
            "names of attributes and what they are drawn from: {uniform: [0.5, 2]}, {normal: [2, 0.1], min: 1.5, max: "
            "2.5}, {loguniform: [a, b]}, {lognormal: [mean of ln x, its standard deviation]}, {power: slope, min: a, "
            "max: "
            "b}, {table: [values]} or {table: TENSOR}; a number stays as it is. A \"{NAME}\" in place of a number is "
            "the "
            "input's attribute: so a first lens.prior draws hyper-parameters, and a second one from what they say"),
    LM_TREE(prior, correlated, NULL, .per_record = true, .schema = CORRELATED_SCHEMA,
            .doc = "list of normal distributions of several attributes together: [{names: [a, b], mean: [0, 0], "
                   "covariance: [[1, "
                   "0.5], [0.5, 1]], min: [-2, -2], max: [2, 2]}]"),
    LM_TEXTS(prior, rows, NULL,
             .doc = "tensors of one axis and one length, such as the columns of a catalogue: one place is drawn, and "
                    "their values "
                    "there become attributes of the same names, so that they stay correlated as they are"),
    LM_TEXT(prior, id, "{id}-{index}", .per_record = true,
            .doc = "id of each record; {index} is its number from 0, with zeros in front (000017), other {NAME}s are "
                   "attributes "
                   "of the input"),
    LM_TREE(prior, subhaloes, NULL, .per_record = true, .schema = LM_POPULATION_SCHEMA, .doc = LM_SUBHALOES_DOC),
    LM_TREE(prior, line_of_sight, NULL, .per_record = true, .schema = LM_POPULATION_SCHEMA,
            .doc = LM_LINE_OF_SIGHT_DOC),
    LM_TREE(prior, z_lens, "\"{z_lens}\"", .per_record = true, .schema = REDSHIFT_SCHEMA,
            .doc = "of haloes: redshift of the lens, or the name of a draw or an attribute as a template"),
    LM_TREE(prior, z_source, "\"{z_source}\"", .per_record = true, .schema = REDSHIFT_SCHEMA,
            .doc = "of haloes: redshift of the source, for which their strengths are reduced"),
    LM_REAL(prior, H0, 70, .min = 1e-3, .max = 1e6, .unit = "km/s/Mpc",
            .doc = "of haloes: Hubble constant, the expansion rate today"),
    LM_REAL(prior, Omega_m, 0.3, .min = 0, .max = 100, .doc = "of haloes: density of matter today"),
    LM_REAL(prior, Omega_de, NAN, .doc = "of haloes: density of dark energy today; unset: 1 - Omega_m, flat"),
    LM_REAL(prior, w, -1, .min = -100, .max = 100, .doc = "of haloes: equation of state of dark energy"),
    LM_REAL(prior, Omega_b, 0.049, .min = 0, .max = 100, .doc = "of haloes: baryons, which are part of Omega_m"),
    LM_REAL(prior, sigma8, 0.81, .min = 0, .max = 100,
            .doc = "of haloes: scatter of the density of matter in spheres of 8 Mpc/h"),
    LM_REAL(prior, n_s, 0.965, .min = 0, .max = 2, .doc = "of haloes: slope of the primordial fluctuations"),
    {0}};

static const lm_port ports[] = {
    {"in", LM_PORT_STREAM,
     "records whose attributes and tensors the distributions name; left open, there is one empty one", true},
    {"out", LM_PORT_OUT, "the input's attributes and what was drawn", false},
    {0}};

static const lm_field fields[] = {
    LM_IN_OPT("in", "*", LM_ANY_DTYPE, "*", "*", "tables that are drawn from"),
    LM_OUT("out", "*", LM_SAME_DTYPE, "*", "=", "the same, but for those of `rows`"),
    LM_OUT_OPT("out", "subhaloes", LM_F64, "N 8", "",
               "a row for each halo of the lens, in arcsec and M_sun: kappa_s, theta_s, tau, x, y, z, M200, c"),
    LM_OUT_OPT("out", "line_of_sight", LM_F64, "M 8", "", "the same for each halo of the field, by redshift"),
    LM_OUT_OPT("out", "sheets", LM_F64, "P 5", "",
               "by redshift, a row for each plane of haloes: kappa, the convergence that makes up for their mean "
               "(below 0), its centre x, y, z, and the radius in arcsec within which they are"),
    {0}};

enum { MOST_TOGETHER = 32, TRIES = 100000 };

/* A stream for a name: what is drawn for one does not depend on the others (FNV-1a). */
static uint64_t stream_of(const char *name)
{
    uint64_t hash = 14695981039346656037u;
    for (; *name; name++) hash = (hash ^ (unsigned char)*name) * 1099511628211u;
    return hash;
}

/* What was drawn for this record. */
typedef struct {
    lm_drawn *at;
    size_t n;
} draws;

static lm_status set(lm_step *step, draws *all, const char *name, lm_value value, lm_error *err)
{
    all->at[all->n++] = (lm_drawn){name, lm_value_real(value)};
    return lm_step_set(step, NULL, name, value, NULL, err);
}

/* ---- several together ---- */

typedef struct {
    size_t n;
    double mean[MOST_TOGETHER], min[MOST_TOGETHER], max[MOST_TOGETHER];
    double root[MOST_TOGETHER][MOST_TOGETHER]; /* lower: covariance = root root^T */
} together;

static lm_status numbers(const json_t *list, size_t n, const char *what, lm_step *step, double *ret, bool *known,
                         lm_error *err)
{
    if (json_array_size(list) != n) return LM_FAIL(err, LM_EINPUT, "\"%s\" needs %zu numbers", what, n);
    for (size_t i = 0; i < n; i++) {
        lm_distribution one;
        bool here;
        LM_TRY_IN(lm_distribution_read(json_array_get(list, i), "rad", step, &one, &here, err), err, "\"%s\"", what);
        *known &= here;
        if (here && one.kind != LM_DISTRIBUTION_FIXED) return LM_FAIL(err, LM_EINPUT, "\"%s\" holds numbers", what);
        if (here) ret[i] = one.a;
    }
    return LM_OK;
}

static lm_status cholesky(together *t, lm_error *err)
{
    for (size_t i = 0; i < t->n; i++)
        for (size_t j = 0; j <= i; j++) {
            if (!(fabs(t->root[i][j] - t->root[j][i]) <= 1e-9 * (fabs(t->root[i][j]) + fabs(t->root[j][i]))))
                return LM_FAIL(err, LM_EINPUT, "the covariance is not symmetric in row %zu, column %zu", i + 1, j + 1);
        }
    for (size_t i = 0; i < t->n; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = t->root[i][j];
            for (size_t k = 0; k < j; k++) sum -= t->root[i][k] * t->root[j][k];
            if (i == j && !(sum > 0)) return LM_FAIL(err, LM_EINPUT, "the covariance is not positive definite");
            t->root[i][j] = i == j ? sqrt(sum) : sum / t->root[j][j];
        }
    return LM_OK;
}

static lm_status read_together(const json_t *map, lm_step *step, together *t, bool *known, lm_error *err)
{
    const json_t *names = json_object_get(map, "names"), *rows = json_object_get(map, "covariance"),
                 *min = json_object_get(map, "min"), *max = json_object_get(map, "max");
    *known = true;
    t->n = json_array_size(names);
    if (t->n < 1 || t->n > MOST_TOGETHER)
        return LM_FAIL(err, LM_EINPUT, "\"names\" is a list of 1 to %d names", MOST_TOGETHER);
    for (size_t i = 0; i < t->n; i++) {
        if (!json_is_string(json_array_get(names, i))) return LM_FAIL(err, LM_EINPUT, "\"names\" is a list of names");
        t->min[i] = -INFINITY;
        t->max[i] = INFINITY;
    }
    LM_TRY(numbers(json_object_get(map, "mean"), t->n, "mean", step, t->mean, known, err));
    if (min) LM_TRY(numbers(min, t->n, "min", step, t->min, known, err));
    if (max) LM_TRY(numbers(max, t->n, "max", step, t->max, known, err));
    if (json_array_size(rows) != t->n) return LM_FAIL(err, LM_EINPUT, "\"covariance\" needs %zu rows", t->n);
    for (size_t i = 0; i < t->n; i++)
        LM_TRY(numbers(json_array_get(rows, i), t->n, "covariance", step, t->root[i], known, err));
    return *known ? cholesky(t, err) : LM_OK;
}

static lm_status draw_together(const json_t *map, lm_step *step, draws *all, lm_error *err)
{
    together t;
    bool known;
    LM_TRY(read_together(map, step, &t, &known, err));
    const json_t *names = json_object_get(map, "names");
    lm_random random = lm_step_random(step, stream_of(json_string_value(json_array_get(names, 0))));
    double x[MOST_TOGETHER], w[MOST_TOGETHER];
    bool inside = false;
    for (int tries = 0; tries < TRIES && !inside; tries++) {
        inside = true;
        for (size_t i = 0; i < t.n; i++) w[i] = lm_random_normal(&random);
        for (size_t i = 0; i < t.n; i++) {
            x[i] = t.mean[i];
            for (size_t k = 0; k <= i; k++) x[i] += t.root[i][k] * w[k];
            inside &= x[i] >= t.min[i] && x[i] <= t.max[i];
        }
    }
    if (!inside) return LM_FAIL(err, LM_EINPUT, "none of %d draws lies between \"min\" and \"max\"", TRIES);
    for (size_t i = 0; i < t.n; i++)
        LM_TRY(set(step, all, json_string_value(json_array_get(names, i)), lm_real(x[i]), err));
    return LM_OK;
}

/* ---- the others ---- */

static size_t count_names(const prior *s)
{
    size_t n = json_object_size(s->draw) + s->rows.n;
    for (size_t i = 0; i < json_array_size(s->correlated); i++)
        n += json_array_size(json_object_get(json_array_get(s->correlated, i), "names"));
    return n;
}

/* The k-th of all names, in the order of `draw`, `correlated`, `rows`. */
static const char *name_at(const prior *s, size_t k)
{
    const char *name;
    json_t *value;
    json_object_foreach(s->draw, name, value) if (!k--) return name;
    for (size_t i = 0; i < json_array_size(s->correlated); i++) {
        const json_t *names = json_object_get(json_array_get(s->correlated, i), "names");
        if (k < json_array_size(names)) return json_string_value(json_array_get(names, k));
        k -= json_array_size(names);
    }
    return s->rows.at[k];
}

/* Each name is drawn once. */
static lm_status check_names(const prior *s, lm_error *err)
{
    size_t n = count_names(s);
    for (size_t i = 0; i < n; i++) {
        const char *name = name_at(s, i);
        if (!*name) return LM_FAIL(err, LM_EINPUT, "an empty name is drawn");
        if (strcmp(name, "id") == 0)
            return LM_FAIL_HINT(err, LM_EINPUT, "Write `id:` beside `draw`.",
                                "the id is no attribute, and cannot be drawn");
        for (size_t k = 0; k < i; k++)
            if (strcmp(name, name_at(s, k)) == 0) return LM_FAIL(err, LM_EINPUT, "\"%s\" is drawn twice", name);
    }
    return LM_OK;
}

static lm_status read_populations(const prior *s, lm_populations **ret, lm_error *err)
{
    if (!s->subhaloes && !s->line_of_sight) return LM_OK;
    const lm_matter_params matter = {{s->H0, s->Omega_m, isnan(s->Omega_de) ? 1 - s->Omega_m : s->Omega_de, s->w},
                                     s->Omega_b,
                                     s->sigma8,
                                     s->n_s,
                                     2.7255};
    const lm_population_trees trees = {s->subhaloes, s->line_of_sight, s->z_lens, s->z_source};
    return lm_populations_new(&trees, &matter, ret, err);
}

static lm_status prior_open(void *self, lm_error *err)
{
    prior *s = self;
    return read_populations(s, &s->populations, err);
}

static lm_status prior_check(const void *self, lm_error *err)
{
    const prior *s = self;
    const char *name;
    json_t *value;
    lm_distribution d;
    bool known;
    if (s->draw && !json_is_object(s->draw))
        return LM_FAIL_HINT(err, LM_EINPUT, "For example: draw: {theta_E: {uniform: [0.5, 2]}}",
                            "\"draw\" must be a map of names");
    json_object_foreach(s->draw, name, value)
        LM_TRY_IN(lm_distribution_read(value, "rad", NULL, &d, &known, err), err, "\"draw\", \"%s\"", name);
    for (size_t i = 0; i < json_array_size(s->correlated); i++) {
        together t;
        LM_TRY_IN(read_together(json_array_get(s->correlated, i), NULL, &t, &known, err), err, "\"correlated\", %zu",
                  i + 1);
    }
    if (s->correlated && !json_is_array(s->correlated)) return LM_FAIL(err, LM_EINPUT, "\"correlated\" must be a list");
    if (!count_names(s) && !s->subhaloes && !s->line_of_sight)
        return LM_FAIL_HINT(err, LM_EINPUT, "For example: draw: {theta_E: {uniform: [0.5, 2]}}", "nothing is drawn");
    LM_TRY(check_names(s, err));
    LM_OWN(lm_populations) populations = NULL;
    return read_populations(s, &populations, err);
}

static lm_status draw_one(const char *name, const json_t *value, lm_step *step, draws *all, lm_error *err)
{
    lm_distribution d;
    bool known;
    LM_TRY(lm_distribution_read(value, "rad", step, &d, &known, err));
    lm_random random = lm_step_random(step, stream_of(name));
    return set(step, all, name, lm_real(lm_distribution_quantile(&d, lm_random_uniform(&random))), err);
}

static lm_status draw_row(const prior *s, lm_step *step, draws *all, lm_error *err)
{
    size_t n = 0, at = 0;
    lm_random random = lm_step_random(step, stream_of("rows"));
    for (size_t i = 0; i < s->rows.n; i++) {
        const char *name = s->rows.at[i];
        const lm_tensor *tensor = lm_step_peek(step, "in", name);
        if (!tensor || tensor->ndim != 1 || !tensor->shape[0])
            return LM_FAIL(err, LM_EINPUT, "the record has no tensor \"%s\" with one axis and values", name);
        if (i && tensor->shape[0] != n)
            return LM_FAIL(err, LM_EINPUT, "\"%s\" has %zu values, and \"%s\" has %zu", name, tensor->shape[0],
                           s->rows.at[0], n);
        n = tensor->shape[0];
        if (!i) at = lm_random_below(&random, n);
        double value = lm_tensor_get(tensor, at);
        bool whole = !lm_dtype_is_float(tensor->dtype) && fabs(value) < 0x1p53;
        LM_TRY(lm_step_drop(step, NULL, name, err));
        LM_TRY(set(step, all, name, whole ? lm_int((int64_t)value) : lm_real(value), err));
    }
    return LM_OK;
}

static lm_status prior_step(const void *self, lm_step *step, lm_error *err)
{
    const prior *s = self;
    draws all = {lm_step_scratch(step, count_names(s), sizeof(lm_drawn)), 0};
    const char *name;
    json_t *value;
    if (!all.at) return LM_NOMEM(err);
    json_object_foreach(s->draw, name, value)
        LM_TRY_IN(draw_one(name, value, step, &all, err), err, "\"draw\", \"%s\"", name);
    for (size_t i = 0; i < json_array_size(s->correlated); i++)
        LM_TRY_IN(draw_together(json_array_get(s->correlated, i), step, &all, err), err, "\"correlated\", %zu", i + 1);
    LM_TRY(draw_row(s, step, &all, err));
    if (s->populations) LM_TRY(lm_populations_draw(s->populations, step, all.at, all.n, err));
    return lm_step_id_of_index(step, s->id, 6, err);
}

static void prior_close(void *self)
{
    prior *s = self;
    s->populations = lm_populations_free(s->populations);
}

const lm_operator lm_op_lens_prior = {
    .struct_size = sizeof(lm_operator),
    .name = "lens.prior",
    .version = 1,
    .summary = "Draw parameters of lenses, and dark haloes",
    .doc = "Makes `count` records of each input, each with its own draws as attributes, for lens.simulate and others "
           "to name: {theta_E}. More draws change none of the first ones.\n\n"
           "Hyper-parameters, drawn once for a survey, are those of a lens.prior before: its record's attributes stand "
           "in the distributions of this one, as in {normal: [\"{mu}\", \"{sigma}\"]}.\n\n"
           "With `subhaloes` or `line_of_sight` each record also has its own dark haloes, thousands of them, as rows "
           "of a tensor. Their numbers may be templates over what is drawn here: {sigma_sub: \"{sigma_sub}\"}. The "
           "tensor `sheets` makes up for the mass that they add on the mean: a convergence for each plane.",
    .example =
        "{count: 3, draw: {theta_E: {normal: [1.1, 0.15], min: 0.3}, q: {uniform: [0.4, 1]}, phi: {uniform: [0, 180 "
        "deg]}, z_lens: {uniform: [0.3, 0.6]}}, correlated: [{names: [gamma1, gamma2], mean: [0, 0], covariance: "
        "[[0.0025, 0], [0, 0.0025]]}], z_source: 1.5, subhaloes: {m_min: 1e8}, line_of_sight: {m_min: 1e8, dz: 0.1}}",
    .shape = LM_GENERATOR,
    .flags = LM_RANDOM,
    .size = sizeof(prior),
    .params = params,
    .ports = ports,
    .fields = fields,
    .check = prior_check,
    .open = prior_open,
    .step = prior_step,
    .close = prior_close,
};
