/* Columns by name, truths that come as attributes, and thinning. */
#include "operators/diagnose/_posterior_draws.h"

#include "runtime/text.h"

#include <stdio.h>
#include <string.h>

enum { CERTAIN = 10 }; /* simulations after which a truth that is always the median is no accident */

static lm_status names_differ(const lm_texts *names, const char *what, lm_error *err)
{
    for (size_t i = 0; i < names->n; i++) {
        if (!*names->at[i]) return LM_FAIL(err, LM_EGRAPH, "\"%s\" has an empty name", what);
        for (size_t k = 0; k < i; k++)
            if (strcmp(names->at[i], names->at[k]) == 0)
                return LM_FAIL(err, LM_EGRAPH, "\"%s\" names \"%s\" twice", what, names->at[i]);
    }
    return LM_OK;
}

lm_status lm_draws_check(const lm_draws_spec *spec, lm_error *err)
{
    LM_TRY(names_differ(&spec->parameters, "parameters", err));
    LM_TRY(names_differ(&spec->truths, "truths", err));
    if (spec->truths.n && spec->truths.n != spec->parameters.n)
        return LM_FAIL_HINT(err, LM_EGRAPH, "Write one for each of \"parameters\", in their order.",
                            "\"truths\" has %zu names, and \"parameters\" %zu", spec->truths.n, spec->parameters.n);
    return LM_OK;
}

/* ---- tensors and truths ---- */

static lm_status tensor_of(const lm_record *member, const char *name, const lm_tensor **ret, lm_error *err)
{
    const lm_tensor *tensor = lm_record_tensor(member, name);
    if (!tensor)
        return LM_FAIL_HINT(err, LM_EINPUT, "Rename tensors with set or select, or name them in fits.read.",
                            "simulation \"%s\" has no tensor \"%s\"", lm_record_id(member), name);
    if (!lm_dtype_fits(tensor->dtype, LM_NUMBERS))
        return LM_FAIL(err, LM_EINPUT, "tensor \"%s\" of simulation \"%s\" is of type %s: real numbers are wanted",
                       name, lm_record_id(member), lm_dtype_name(tensor->dtype));
    *ret = tensor;
    return LM_OK;
}

lm_status lm_draws_dims(const lm_draws_spec *spec, const lm_record *member, size_t *ret, lm_error *err)
{
    const lm_tensor *truth;
    *ret = spec->parameters.n;
    if (*ret) return LM_OK;
    if (!lm_record_tensor(member, "truth") && lm_record_tensor(member, spec->samples))
        return LM_FAIL_HINT(err, LM_EINPUT, "Name the columns to test in \"parameters\".",
                            "simulation \"%s\" has no tensor \"truth\", but \"%s\"", lm_record_id(member),
                            spec->samples);
    LM_TRY(tensor_of(member, "truth", &truth, err));
    *ret = lm_tensor_count(truth);
    if (*ret == 0) return LM_FAIL(err, LM_EINPUT, "simulation \"%s\" has no parameters", lm_record_id(member));
    return LM_OK;
}

lm_status lm_draws_point(const lm_record *member, const char *name, size_t dims, double *ret, lm_error *err)
{
    const lm_tensor *tensor;
    LM_TRY(tensor_of(member, name, &tensor, err));
    if (lm_tensor_count(tensor) != dims)
        return LM_FAIL(err, LM_EINPUT,
                       "tensor \"%s\" of simulation \"%s\" has %zu numbers: the first simulation has %zu parameters",
                       name, lm_record_id(member), lm_tensor_count(tensor), dims);
    lm_tensor_to_f64(tensor, ret);
    for (size_t k = 0; k < dims; k++)
        if (!isfinite(ret[k]))
            return LM_FAIL_HINT(err, LM_EINPUT, "Filter out what has no truth or no estimate.",
                                "parameter %zu of tensor \"%s\" of simulation \"%s\" is not finite", k, name,
                                lm_record_id(member));
    return LM_OK;
}

static const char *truth_name(const lm_draws_spec *spec, size_t k)
{
    return (spec->truths.n ? spec->truths : spec->parameters).at[k];
}

static lm_status number_of(const lm_record *member, const char *name, const char *why, double *ret, lm_error *err)
{
    const lm_attr *attr = lm_record_attr(member, name);
    if (!attr) {
        lm_nearest nearest;
        lm_nearest_init(&nearest, name);
        for (size_t i = 0; i < lm_record_attr_count(member); i++)
            lm_nearest_offer(&nearest, lm_record_attr_at(member, i)->name);
        char hint[160] = "";
        if (nearest.best) snprintf(hint, sizeof hint, "Did you mean \"%.100s\"?", nearest.best);
        return LM_FAIL_HINT(err, LM_EINPUT, hint, "simulation \"%s\" has no attribute \"%s\", %s", lm_record_id(member),
                            name, why);
    }
    bool number = attr->value.kind == LM_KIND_REAL || attr->value.kind == LM_KIND_INT;
    double value = number ? lm_value_real(attr->value) : (double)NAN;
    char text[64];
    if (!isfinite(value))
        return LM_FAIL(err, LM_EINPUT, "attribute \"%s\" of simulation \"%s\", %s, is \"%.40s\": no finite number",
                       name, lm_record_id(member), why, lm_value_text(attr->value, text));
    *ret = value;
    return LM_OK;
}

lm_status lm_draws_truth(const lm_draws_spec *spec, const lm_record *member, size_t dims, double *ret, lm_error *err)
{
    if (!spec->parameters.n) return lm_draws_point(member, "truth", dims, ret, err);
    for (size_t k = 0; k < dims; k++) LM_TRY(number_of(member, truth_name(spec, k), "a true value", &ret[k], err));
    return LM_OK;
}

/* ---- columns ---- */

/* The next name of a list parted by commas, without the blanks around it; *at behind it, NULL at the end. */
static const char *next_name(const char **at, size_t *ret_length)
{
    const char *name = *at, *comma = strchr(name, ','), *end = comma ? comma : name + strlen(name);
    while (name < end && *name == ' ') name++;
    while (end > name && end[-1] == ' ') end--;
    *at = comma ? comma + 1 : NULL;
    *ret_length = (size_t)(end - name);
    return name;
}

/* Where a name stands among `names`. */
static lm_status column_of(const lm_record *member, const char *names, const char *wanted, size_t *ret, lm_error *err)
{
    size_t length, column = 0, found = 0;
    for (const char *at = names; at; column++) {
        const char *name = next_name(&at, &length);
        if (strlen(wanted) != length || memcmp(name, wanted, length) != 0) continue;
        *ret = column;
        found++;
    }
    if (found > 1)
        return LM_FAIL(err, LM_EINPUT, "\"%s\" stands %zu times in the attribute \"names\" of simulation \"%s\"",
                       wanted, found, lm_record_id(member));
    if (found) return LM_OK;
    char hint[280];
    snprintf(hint, sizeof hint, "It has %.250s%s", names, strlen(names) > 250 ? ", ..." : "");
    return LM_FAIL_HINT(err, LM_EINPUT, hint, "simulation \"%s\" has no parameter \"%s\" in its attribute \"names\"",
                        lm_record_id(member), wanted);
}

static lm_status names_of(const lm_record *member, size_t columns, const char **ret, lm_error *err)
{
    const lm_attr *attr = lm_record_attr(member, "names");
    if (!attr || attr->value.kind != LM_KIND_TEXT)
        return LM_FAIL_HINT(err, LM_EINPUT, "Write one with set: names: \"theta_E,e1,e2\"; infer.mcmc does.",
                            "simulation \"%s\" has no text attribute \"names\" that tells the columns of its draws",
                            lm_record_id(member));
    size_t length, n = 0;
    for (const char *at = attr->value.text; at; n++) (void)next_name(&at, &length);
    if (n != columns)
        return LM_FAIL(err, LM_EINPUT, "attribute \"names\" of simulation \"%s\" has %zu names for %zu columns",
                       lm_record_id(member), n, columns);
    *ret = attr->value.text;
    return LM_OK;
}

/* ---- thinning ---- */

static size_t common_factor(size_t a, size_t b)
{
    while (b) {
        size_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* A stride of at least `least` through n rows. Rows that take W walkers by turns (n is a multiple of W) would give one walker alone if
 * the stride were a multiple of W too. */
static size_t stride_of(size_t least, size_t n)
{
    if (least >= n) return n;
    size_t stride = least;
    while (common_factor(stride, n) != 1) stride++; /* n - 1 at last */
    return stride;
}

static lm_status stride_for(const lm_draws_spec *spec, const lm_record *member, size_t n, size_t *ret, lm_error *err)
{
    size_t least = (size_t)spec->thin;
    if (*spec->thin_to) {
        double keep;
        LM_TRY(number_of(member, spec->thin_to, "the number of draws to thin to", &keep, err));
        double stride = ceil((double)n / fmax(keep, 1));
        if (stride > (double)least) least = (size_t)stride; /* n at most */
    }
    *ret = least > 1 ? stride_of(least, n) : 1;
    return LM_OK;
}

/* ---- draws ---- */

static lm_status reserve(lm_draws *draws, size_t count, lm_error *err)
{
    if (count <= draws->room) return LM_OK;
    draws->converted = lm_free(draws->converted);
    draws->room = 0;
    draws->converted = count < SIZE_MAX / sizeof(double) ? lm_alloc_data(count * sizeof(double)) : NULL;
    if (!draws->converted) return LM_NOMEM(err);
    draws->room = count;
    return LM_OK;
}

/* Columns of the tensor: a copy, every row. */
static lm_status choose_columns(const lm_draws_spec *spec, const lm_record *member, const lm_tensor *tensor,
                                lm_draws *draws, lm_error *err)
{
    size_t dims = spec->parameters.n, columns = tensor->ndim == 2 ? tensor->shape[1] : 1, n = tensor->shape[0];
    const char *names;
    LM_TRY(names_of(member, columns, &names, err));
    LM_TRY(reserve(draws, n * (dims + (tensor->dtype == LM_F64 ? 0 : columns)), err));
    const double *from = tensor->data;
    if (tensor->dtype != LM_F64) {
        lm_tensor_to_f64(tensor, draws->converted + n * dims);
        from = draws->converted + n * dims;
    }
    for (size_t k = 0; k < dims; k++) {
        size_t column;
        LM_TRY(column_of(member, names, spec->parameters.at[k], &column, err));
        for (size_t i = 0; i < n; i++) draws->converted[i * dims + k] = from[i * columns + column];
    }
    draws->at = draws->converted;
    draws->n = n;
    return LM_OK;
}

static lm_status whole_tensor(const lm_tensor *tensor, lm_draws *draws, lm_error *err)
{
    draws->at = tensor->data;
    draws->n = tensor->shape[0];
    if (tensor->dtype == LM_F64) return LM_OK;
    LM_TRY(reserve(draws, lm_tensor_count(tensor), err));
    lm_tensor_to_f64(tensor, draws->converted);
    draws->at = draws->converted;
    return LM_OK;
}

/* Is a true value the median of the draws to the last bit? Of an even number, that is either of the middle ones, or half their sum. A
 * quantity that is not on a grid is equal to a draw only if it was copied from one; many equal draws are a grid. */
static bool is_median(const lm_draws *draws, size_t dims, size_t k, double truth)
{
    size_t below = 0, equal = 0, n = draws->n;
    double left = -INFINITY, right = INFINITY;
    for (size_t i = 0; i < n; i++) {
        double x = draws->at[i * dims + k];
        below += x < truth;
        equal += x == truth;
        if (x < truth) left = fmax(left, x);
        if (x > truth) right = fmin(right, x);
    }
    if (equal) return 2 * equal < n && below <= n / 2 && below + equal >= (n + 1) / 2;
    return n % 2 == 0 && below == n / 2 && truth == (left + right) / 2;
}

static lm_status watch(lm_draws *draws, size_t dims, const double *truth, lm_error *err)
{
    if (!draws->copy) {
        draws->copy = lm_alloc(dims, sizeof *draws->copy);
        if (!draws->copy) return LM_NOMEM(err);
        memset(draws->copy, 1, dims);
    }
    for (size_t k = 0; k < dims; k++) draws->copy[k] = draws->copy[k] && is_median(draws, dims, k, truth[k]);
    return LM_OK;
}

static bool all_finite(const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

/* Every stride-th row, at the front of the operator's own memory. */
static lm_status thin(const lm_record *member, size_t dims, size_t stride, lm_draws *draws, lm_error *err)
{
    if (!all_finite(draws->at, draws->n * dims)) return lm_draws_explain(member, draws, dims, "", err);
    size_t kept = (draws->n - 1) / stride + 1;
    if (draws->at != draws->converted) LM_TRY(reserve(draws, kept * dims, err));
    for (size_t i = 0; i < kept; i++) /* nothing is overwritten before it was moved */
        memmove(draws->converted + i * dims, draws->at + i * stride * dims, dims * sizeof(double));
    draws->at = draws->converted;
    draws->n = kept;
    return LM_OK;
}

static lm_status table_of(const lm_draws_spec *spec, const lm_record *member, size_t dims, const lm_tensor **ret,
                          lm_error *err)
{
    bool named = spec->parameters.n > 0;
    const char *name = named ? spec->samples : "draws";
    LM_TRY(tensor_of(member, name, ret, err));
    const lm_tensor *tensor = *ret;
    size_t count = lm_tensor_count(tensor);
    bool good = tensor->ndim > 0 && count > 0 && (named ? tensor->ndim <= 2 : tensor->shape[0] * dims == count);
    if (good) return LM_OK;
    char shape[192], wanted[32] = "all parameters";
    if (!named) snprintf(wanted, sizeof wanted, "%zu", dims);
    return LM_FAIL(err, LM_EINPUT, "tensor \"%s\" of simulation \"%s\" is %s: [draws, %s] is wanted", name,
                   lm_record_id(member), lm_tensor_shape_text(shape, tensor), wanted);
}

lm_status lm_draws_take(const lm_draws_spec *spec, const lm_record *member, size_t dims, const double *truth,
                        lm_draws *draws, lm_error *err)
{
    const lm_tensor *tensor;
    LM_TRY(table_of(spec, member, dims, &tensor, err));
    if (spec->parameters.n) {
        LM_TRY(choose_columns(spec, member, tensor, draws, err));
        LM_TRY(watch(draws, dims, truth, err));
    } else {
        LM_TRY(whole_tensor(tensor, draws, err));
    }
    draws->seen++;
    size_t stride;
    LM_TRY(stride_for(spec, member, draws->n, &stride, err));
    return stride == 1 ? LM_OK : thin(member, dims, stride, draws, err);
}

void lm_draws_done(lm_draws *draws)
{
    draws->converted = lm_free(draws->converted);
    draws->copy = lm_free(draws->copy);
    draws->at = NULL;
    draws->room = 0;
}

lm_status lm_draws_verdict(const lm_draws_spec *spec, const lm_draws *draws, lm_error *err)
{
    if (!draws->copy || draws->seen < CERTAIN) return LM_OK;
    for (size_t k = 0; k < spec->parameters.n; k++)
        if (draws->copy[k])
            return LM_FAIL_HINT(
                err, LM_EINPUT,
                "Keep the true value under another name before the inference, and name it in \"truths\".",
                "attribute \"%s\" is the median of the draws in each of %zu simulations: it holds what "
                "the inference found, not the truth",
                truth_name(spec, k), draws->seen);
    return LM_OK;
}

lm_status lm_draws_explain(const lm_record *member, const lm_draws *draws, size_t dims, const char *otherwise,
                           lm_error *err)
{
    for (size_t i = 0; i < draws->n * dims; i++)
        if (!isfinite(draws->at[i]))
            return LM_FAIL_HINT(err, LM_EINPUT, "A sampler that diverged? Filter such simulations out, and count them.",
                                "parameter %zu of draw %zu of simulation \"%s\" is not finite", i % dims, i / dims,
                                lm_record_id(member));
    return LM_FAIL_HINT(err, LM_EINPUT, "Give the parameters units in which they are of order one.",
                        "%s of simulation \"%s\" are too large for double precision", otherwise, lm_record_id(member));
}
