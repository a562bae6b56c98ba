/* Statistics of draws, in the parameters of the standard. See _coolest.h. */
#include "operators/io/_coolest.h"
#include "operators/lens/_components.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- which column is which parameter ---- */

static bool is_separator(char c)
{
    return c == '.' || c == '_' || c == '/' || c == ':' || c == '[' || c == ']' || c == ' ' || c == '-';
}

/* Takes `word` and then perhaps a number off the front of a prefix: true if it stood there. */
static bool take_word(const char **at, const char *end, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(end - *at) < n || strncmp(*at, word, n) != 0) return false;
    if (*at + n < end && !is_separator((*at)[n]) && !isdigit((unsigned char)(*at)[n])) return false;
    *at += n;
    return true;
}

static void skip(const char **at, const char *end)
{
    while (*at < end && is_separator(**at)) ++*at;
}

static const char *type_at(const json_t *components, size_t i)
{
    const char *type = json_string_value(json_object_get(json_array_get(components, i), "type"));
    return type ? type : "";
}

/* Does component i have a parameter of that name? By any of its names: an ellipse may be e1, e2. */
static bool has_slot(const json_t *components, size_t i, bool light, const char *name)
{
    lm_component c;
    if (lm_component_read(json_array_get(components, i), light, &c, NULL)) return false;
    for (unsigned k = 0; k < c.n_slots; k++)
        if (strcmp(c.slot[k].name, name) == 0) return true;
    return false;
}

/* Is the column `name` parameter `slot` of component `index` of a list, and of no other? */
static bool belongs(const char *name, const char *slot, json_t *const lists[LM_COOLEST_LISTS], lm_coolest_list list,
                    size_t index)
{
    size_t length = strlen(name), n = strlen(slot), matches = 0;
    if (length < n || strcmp(name + length - n, slot) != 0) return false;
    const char *at = name, *end = name + length - n;
    if (at < end && !is_separator(end[-1])) return false;
    const char *type = type_at(lists[list], index);
    bool mine = false, listed = take_word(&at, end, lm_coolest_list_names[list]);
    skip(&at, end);
    bool typed = take_word(&at, end, type);
    skip(&at, end);
    char *rest;
    unsigned long number = at < end && isdigit((unsigned char)*at) ? strtoul(at, &rest, 10) : 0;
    if (number) at = rest;
    skip(&at, end);
    if (at != end || (number && !listed && !typed)) return false; /* words that mean nothing here */
    for (int l = 0; l < LM_COOLEST_LISTS; l++) {
        size_t position = 0;
        if (listed && l != (int)list) continue;
        for (size_t i = 0; i < json_array_size(lists[l]); i++) {
            if (typed && strcmp(type_at(lists[l], i), type) != 0) continue;
            position++;
            if (number && position != number) continue;
            if (!has_slot(lists[l], i, l != LM_COOLEST_MASS, slot)) continue;
            matches++;
            mine = mine || (l == (int)list && i == index);
        }
    }
    return matches == 1 && mine;
}

static size_t column_of(const lm_coolest_draws *d, const char *slot, json_t *const lists[LM_COOLEST_LISTS],
                        lm_coolest_list list, size_t index)
{
    for (size_t k = 0; k < d->dim; k++)
        if (!d->used[k] && belongs(d->names[k], slot, lists, list, index)) {
            d->used[k] = true;
            return k;
        }
    return SIZE_MAX;
}

/* ---- statistics ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Of sorted values, with straight lines between them. */
static double quantile(const double *sorted, size_t n, double part)
{
    double at = part * (double)(n - 1);
    size_t i = (size_t)at;
    return i + 1 < n ? sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

json_t *lm_coolest_statistics(double *values, size_t n)
{
    double mean = 0;
    for (size_t i = 0; i < n; i++) mean += (values[i] - mean) / (double)(i + 1);
    qsort(values, n, sizeof *values, by_value);
    return json_pack("{s:f, s:f, s:f, s:f}", "mean", mean, "median", quantile(values, n, 0.5), "percentile_16th",
                     quantile(values, n, 0.16), "percentile_84th", quantile(values, n, 0.84));
}

/* One draw of a component as a profile; false: it cannot be one. */
static bool numbers_of(const lm_component *c, const double *values, const double shift[2], lm_coolest_profile *ret)
{
    lm_mass mass;
    lm_light light;
    if (!c->light) return !lm_component_mass(c, values, &mass, NULL) && !lm_coolest_of_mass(&mass, ret);
    if (lm_component_light(c, values, &light, NULL)) return false;
    light.array = NULL;
    light.h = light.w = 0;
    return !lm_coolest_of_light(&light, shift, ret);
}

static lm_status put_statistics(json_t *profile, const lm_coolest_profile *shape, double *columns, size_t n,
                                size_t most, lm_error *err)
{
    for (unsigned k = 0; k < shape->n; k++) {
        double *values = columns + k * most, least = HUGE_VAL, largest = -HUGE_VAL;
        json_t *parameter = json_object_get(json_object_get(profile, "parameters"), shape->name[k]);
        double about = lm_coolest_value(profile, shape->name[k]);
        for (size_t i = 0; i < n; i++) {
            if (shape->angle[k] && isfinite(about)) values[i] = about + remainder(values[i] - about, 180);
            least = fmin(least, values[i]);
            largest = fmax(largest, values[i]);
        }
        if (!parameter || !(largest > least)) continue; /* it was not drawn */
        json_t *statistics = lm_coolest_statistics(values, n);
        if (!statistics || json_object_set_new(parameter, "posterior_stats", statistics)) return LM_NOMEM(err);
    }
    return LM_OK;
}

lm_status lm_coolest_posterior(const lm_coolest_draws *draws, json_t *const lists[LM_COOLEST_LISTS],
                               lm_coolest_list list, size_t index, const double shift[2], json_t *profile,
                               lm_error *err)
{
    lm_component c;
    double point[LM_SLOTS], values[LM_SLOTS];
    size_t column[LM_SLOTS], n = 0;
    bool any = false, known;
    LM_TRY(lm_component_read(json_array_get(lists[list], index), list != LM_COOLEST_MASS, &c, err));
    if (c.table) return LM_OK;
    for (unsigned k = 0; k < c.n_slots; k++) {
        LM_TRY(lm_slot_number(&c.slot[k], NULL, &point[k], &known, err));
        column[k] = column_of(draws, c.slot[k].name, lists, list, index);
        any = any || column[k] != SIZE_MAX;
    }
    if (!any || !profile || !draws->n) return LM_OK;
    lm_coolest_profile shape, one;
    if (!numbers_of(&c, point, shift, &shape) || shape.grid) return LM_OK;
    LM_OWN(lm_memory) room = lm_alloc(LM_COOLEST_PARAMS * draws->n, sizeof(double));
    double *columns = room;
    if (!columns) return LM_NOMEM(err);
    for (size_t i = 0; i < draws->n; i++) {
        const double *row = draws->values + i * draws->dim;
        bool finite = true;
        for (size_t k = 0; k < draws->dim; k++) finite = finite && isfinite(row[k]);
        for (unsigned k = 0; k < c.n_slots; k++) values[k] = column[k] == SIZE_MAX ? point[k] : row[column[k]];
        if (!finite || !numbers_of(&c, values, shift, &one) || strcmp(one.type, shape.type) != 0) continue;
        for (unsigned k = 0; k < shape.n; k++) columns[k * draws->n + n] = one.value[k];
        n++;
    }
    return n ? put_statistics(profile, &shape, columns, n, draws->n, err) : LM_OK;
}
