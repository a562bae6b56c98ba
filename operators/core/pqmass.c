/* Nearest references by a bounded matrix product, and the test on the counts. */
#include "operators/core/pqmass.h"

#include "operators/core/clones.h"

#include <cblas.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <string.h>

enum { ROWS = 512, LANES = 16 }; /* samples of one product; sums run in this many lanes, in a fixed order */

struct lm_cells {
    size_t n_sets, n_refs, dims;
    double *refs;    /* [sets, refs, dims], in the samples' units */
    double *inverse; /* [dims] 1/scale */
    double *centre;  /* [dims], in the samples' units */
    double *factor;  /* [dims] the packed value is (x - centre) * factor */
    bool direct;     /* float32 samples can be multiplied as they are: centre 0, factor 1 */
    double unit;     /* a packed distance is `unit` times the real one: a power of two */
    double reach;    /* largest norm of a packed reference */
    float *packed;   /* [sets * refs, dims] */
    float *norm2;    /* [sets * refs] */
    float *rows;     /* scratch [ROWS, dims] */
    float *product;  /* scratch [ROWS, sets * refs] */
    size_t doubts;
};

lm_cells *lm_cells_free(lm_cells *cells)
{
    if (!cells) return NULL;
    lm_free(cells->refs);
    lm_free(cells->inverse);
    lm_free(cells->packed);
    lm_free(cells->norm2);
    lm_free(cells->rows);
    lm_free(cells->product);
    return lm_free(cells);
}

/* Chooses centre and factor. Samples far from the origin compared with their spread lose digits in the product, and values
 * near the ends of float32's range overflow or vanish: both are cured by packing, which float32 samples of a good range do
 * without. */
static void choose_packing(lm_cells *c, bool scaled)
{
    size_t n = c->n_sets * c->n_refs, dims = c->dims;
    double about_zero = 0, about_centre = 0, largest = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < dims; k++) c->centre[k] += c->refs[i * dims + k] / (double)n;
    for (size_t i = 0; i < n; i++) {
        double zero = 0, centre = 0;
        for (size_t k = 0; k < dims; k++) {
            double r = c->refs[i * dims + k] * c->inverse[k], m = c->centre[k] * c->inverse[k];
            zero += r * r;
            centre += (r - m) * (r - m);
        }
        about_zero += zero / (double)n;
        about_centre += centre / (double)n;
        largest = fmax(largest, centre);
    }
    int exponent = 0;
    if (largest > 0 && isfinite(largest)) (void)frexp(sqrt(largest), &exponent);
    c->direct = !scaled && about_zero < 20 * about_centre && about_zero > 1e-16 && about_zero < 1e24;
    c->unit = c->direct ? 1 : ldexp(1, -exponent);
    for (size_t k = 0; k < dims; k++) {
        if (c->direct) c->centre[k] = 0;
        c->factor[k] = c->inverse[k] * c->unit;
    }
}

lm_status lm_cells_new(const double *refs, size_t n_sets, size_t n_refs, size_t dims, const double *scale,
                       lm_cells **ret, lm_error *err)
{
    size_t n = n_sets * n_refs;
    if (n_sets == 0 || n_refs == 0 || dims == 0 || n > INT_MAX || dims > INT_MAX)
        return LM_FAIL(err, LM_EINPUT, "no reference points, or more than a matrix product can hold");
    for (size_t i = 0; i < n * dims; i++)
        if (!isfinite(refs[i]))
            return LM_FAIL_HINT(err, LM_EINPUT, "Leave the point out, or mask it.",
                                "reference point %zu holds a value that is not finite", i / dims);
    LM_OWN(lm_cells) c = lm_alloc(1, sizeof *c);
    if (!c) return LM_NOMEM(err);
    c->n_sets = n_sets;
    c->n_refs = n_refs;
    c->dims = dims;
    c->refs = lm_alloc(n, dims * sizeof *c->refs);
    c->inverse = lm_alloc(3, dims * sizeof *c->inverse);
    c->packed = lm_alloc(n, dims * sizeof *c->packed);
    c->norm2 = lm_alloc(n, sizeof *c->norm2);
    c->rows = lm_alloc(ROWS, dims * sizeof *c->rows);
    c->product = lm_alloc(ROWS, n * sizeof *c->product);
    if (!c->refs || !c->inverse || !c->packed || !c->norm2 || !c->rows || !c->product) return LM_NOMEM(err);
    c->centre = c->inverse + dims;
    c->factor = c->centre + dims;
    memcpy(c->refs, refs, n * dims * sizeof *refs);
    for (size_t k = 0; k < dims; k++) c->inverse[k] = scale ? 1 / scale[k] : 1;
    choose_packing(c, scale != NULL);
    for (size_t i = 0; i < n; i++) {
        double norm2 = 0;
        for (size_t k = 0; k < dims; k++) {
            double r = (refs[i * dims + k] - c->centre[k]) * c->factor[k];
            c->packed[i * dims + k] = (float)r;
            norm2 += r * r;
        }
        c->norm2[i] = (float)norm2;
        c->reach = fmax(c->reach, sqrt(norm2));
    }
    *ret = lm_take(c);
    return LM_OK;
}

size_t lm_cells_doubts(const lm_cells *cells)
{
    return cells->doubts;
}

/* Sum of squares in LANES partial sums: good to (dims / LANES + LANES) * 2^-24, far inside the bound that it serves. */
LM_CLONES static float norm2_of(const float *restrict x, size_t n)
{
    float lane[LANES] = {0}, sum = 0;
    size_t k = 0;
    for (; k + LANES <= n; k += LANES)
        for (size_t l = 0; l < LANES; l++) lane[l] += x[k + l] * x[k + l];
    for (; k < n; k++) sum += x[k] * x[k];
    for (size_t l = 0; l < LANES; l++) sum += lane[l];
    return sum;
}

LM_CLONES static void pack_f32(const float *restrict x, const double *restrict centre, const double *restrict factor,
                               size_t n, float *restrict ret)
{
    for (size_t k = 0; k < n; k++) ret[k] = (float)(((double)x[k] - centre[k]) * factor[k]);
}
LM_CLONES static void pack_f64(const double *restrict x, const double *restrict centre, const double *restrict factor,
                               size_t n, float *restrict ret)
{
    for (size_t k = 0; k < n; k++) ret[k] = (float)((x[k] - centre[k]) * factor[k]);
}

/* The direct computation: sum of ((x - r) / scale)^2 in double precision. */
LM_CLONES static double distance_f32(const float *restrict x, const double *restrict r, const double *restrict inverse,
                                     size_t n)
{
    double lane[LANES] = {0}, sum = 0;
    size_t k = 0;
    for (; k + LANES <= n; k += LANES)
        for (size_t l = 0; l < LANES; l++) {
            double d = ((double)x[k + l] - r[k + l]) * inverse[k + l];
            lane[l] += d * d;
        }
    for (; k < n; k++) {
        double d = ((double)x[k] - r[k]) * inverse[k];
        sum += d * d;
    }
    for (size_t l = 0; l < LANES; l++) sum += lane[l];
    return sum;
}
LM_CLONES static double distance_f64(const double *restrict x, const double *restrict r, const double *restrict inverse,
                                     size_t n)
{
    double lane[LANES] = {0}, sum = 0;
    size_t k = 0;
    for (; k + LANES <= n; k += LANES)
        for (size_t l = 0; l < LANES; l++) {
            double d = (x[k + l] - r[k + l]) * inverse[k + l];
            lane[l] += d * d;
        }
    for (; k < n; k++) {
        double d = (x[k] - r[k]) * inverse[k];
        sum += d * d;
    }
    for (size_t l = 0; l < LANES; l++) sum += lane[l];
    return sum;
}

static const void *row_at(const void *samples, bool single, size_t i, size_t dims)
{
    return (const char *)samples + i * dims * (single ? sizeof(float) : sizeof(double));
}

static bool row_finite(const void *row, bool single, size_t dims)
{
    for (size_t k = 0; k < dims; k++)
        if (!isfinite(single ? (double)((const float *)row)[k] : ((const double *)row)[k])) return false;
    return true;
}

/* Smallest and second smallest of norm2 - 2 product: the first index among equals. Lane by lane, then over the lanes. */
typedef struct {
    float first, second;
    uint32_t index;
} smallest;
LM_CLONES static smallest smallest_two(const float *restrict product, const float *restrict norm2, size_t n_refs)
{
    float first[LANES], second[LANES];
    int32_t index[LANES];
    for (size_t l = 0; l < LANES; l++) {
        first[l] = second[l] = INFINITY;
        index[l] = INT32_MAX;
    }
    size_t j = 0;
    for (; j + LANES <= n_refs; j += LANES)
        for (size_t l = 0; l < LANES; l++) {
            float s = norm2[j + l] - 2 * product[j + l], f = first[l], larger = s < f ? f : s;
            index[l] = s < f ? (int32_t)(j + l) : index[l];
            first[l] = s < f ? s : f;
            second[l] = larger < second[l] ? larger : second[l];
        }
    smallest all = {INFINITY, INFINITY, 0};
    for (size_t l = 0; l < LANES; l++) {
        if (first[l] < all.first || (first[l] == all.first && index[l] < (int32_t)all.index)) {
            all.second = fminf(all.first, second[l]);
            all.first = first[l];
            all.index = (uint32_t)index[l];
        } else {
            all.second = fminf(all.second, first[l]);
        }
    }
    for (; j < n_refs; j++) {
        float s = norm2[j] - 2 * product[j];
        if (s < all.first) {
            all.second = all.first;
            all.first = s;
            all.index = (uint32_t)j;
        } else {
            all.second = fminf(all.second, s);
        }
    }
    return all;
}

/* The direct answer among the references j of a set whose bounded distance is at most `limit`. */
static uint32_t settle(lm_cells *c, size_t set, const void *row, bool single, size_t i, float limit)
{
    size_t dims = c->dims;
    double best = INFINITY;
    uint32_t index = 0;
    c->doubts++;
    for (size_t j = 0; j < c->n_refs; j++) {
        size_t at = set * c->n_refs + j;
        if (c->norm2[at] - 2 * c->product[i * c->n_sets * c->n_refs + at] > limit) continue; /* NaN stays in */
        const double *r = c->refs + at * dims;
        double d = single ? distance_f32(row, r, c->inverse, dims) : distance_f64(row, r, c->inverse, dims);
        if (d < best) {
            best = d;
            index = (uint32_t)j;
        }
    }
    return index;
}

static size_t find_block(lm_cells *c, const void *samples, bool single, size_t n, uint32_t *ret)
{
    size_t dims = c->dims, total = c->n_sets * c->n_refs;
    const float *rows = c->direct && single ? samples : c->rows;
    float norm[ROWS];
    for (size_t i = 0; i < n; i++) {
        const void *row = row_at(samples, single, i, dims);
        if (rows == c->rows) {
            float *packed = c->rows + i * dims;
            if (single) pack_f32(row, c->centre, c->factor, dims, packed);
            else pack_f64(row, c->centre, c->factor, dims, packed);
        }
        norm[i] = sqrtf(norm2_of(rows + i * dims, dims));
        if (!isfinite(norm[i]) && !row_finite(row, single, dims)) return i;
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)total, (int)dims, 1, rows, (int)dims, c->packed,
                (int)dims, 0, c->product, (int)total);

    /* |computed x.r - real x.r| <= (gamma_dims + 3u) |x| |r| for any order of summation (Higham 2002, eq. 3.5; 3u for the
     * rounding of packed values), twice that in 2 x.r, and a few u of the terms for norm2 and the difference. Values that
     * flush to zero lose less than 1.2e-38 each. A reference can be nearest only if its value is within twice the bound of
     * the smallest; 1.01 covers the rounding of the bound and of the norms. */
    const double u = 0x1p-24, nu = (double)dims * u, gamma = nu < 0.1 ? nu / (1 - nu) : HUGE_VAL;
    for (size_t i = 0; i < n; i++) {
        double x = 1.01 * (double)norm[i], r = c->reach;
        double bound = 2 * (gamma + 3 * u) * x * r + 8 * u * (r * r + 2 * x * r) + 4.8e-38 * (double)dims * (1 + x + r);
        for (size_t set = 0; set < c->n_sets; set++) {
            smallest least =
                smallest_two(c->product + i * total + set * c->n_refs, c->norm2 + set * c->n_refs, c->n_refs);
            float limit = nextafterf((float)((double)least.first + 2.02 * bound), INFINITY);
            bool bounded = x < 1e15 && isfinite(limit);
            uint32_t *answer = &ret[i * c->n_sets + set];
            if (bounded && least.second > limit) *answer = least.index;
            else *answer = settle(c, set, row_at(samples, single, i, dims), single, i, bounded ? limit : INFINITY);
        }
    }
    return n;
}

static void find(lm_cells *cells, const void *samples, bool single, size_t n, uint32_t *ret, size_t *ret_bad)
{
    for (size_t done = 0; done < n;) {
        size_t rows = n - done < ROWS ? n - done : ROWS;
        size_t good =
            find_block(cells, row_at(samples, single, done, cells->dims), single, rows, ret + done * cells->n_sets);
        done += good;
        if (good < rows) {
            *ret_bad = done;
            return;
        }
    }
    *ret_bad = n;
}

void lm_cells_find_f32(lm_cells *cells, const float *samples, size_t n, uint32_t *ret, size_t *ret_bad)
{
    find(cells, samples, true, n, ret, ret_bad);
}

void lm_cells_find_f64(lm_cells *cells, const double *samples, size_t n, uint32_t *ret, size_t *ret_bad)
{
    find(cells, samples, false, n, ret, ret_bad);
}

double lm_two_sample_chi2(const int64_t *x, const int64_t *y, size_t n, size_t *ret_filled)
{
    double sum_x = 0, sum_y = 0, chi2 = 0;
    size_t filled = 0;
    for (size_t i = 0; i < n; i++) {
        sum_x += (double)x[i];
        sum_y += (double)y[i];
        filled += x[i] || y[i];
    }
    *ret_filled = filled;
    double total = sum_x + sum_y;
    if (sum_x == 0 || sum_y == 0) return 0;
    for (size_t i = 0; i < n; i++) {
        double column = (double)x[i] + (double)y[i], ex = sum_x * column / total, ey = sum_y * column / total;
        if (column == 0) continue;
        chi2 += ((double)x[i] - ex) * ((double)x[i] - ex) / ex + ((double)y[i] - ey) * ((double)y[i] - ey) / ey;
    }
    return chi2;
}

lm_status lm_pqm_draw(lm_draw_below *below, void *random, size_t nx, size_t ny, size_t n_refs, size_t *ret,
                      uint8_t *taken, lm_error *err)
{
    if (nx < 2 || ny < 2 || n_refs > nx + ny - 2)
        return LM_FAIL_HINT(err, LM_EINPUT, "Lower \"regions\", or give more samples.",
                            "%zu regions cannot be drawn from %zu and %zu samples", n_refs, nx, ny);
    size_t from_x;
    int tries = 0;
    do { /* the draw is conditioned on both sets keeping a sample, which almost never matters */
        from_x = 0;
        for (size_t i = 0; i < n_refs; i++) from_x += below(random, nx + ny) < nx;
        if (++tries == 10000)
            return LM_FAIL_HINT(err, LM_EINPUT, "Lower \"regions\", or give more samples.",
                                "%zu regions leave none of %zu and %zu samples to count", n_refs, nx, ny);
    } while (from_x > nx - 1 || n_refs - from_x > ny - 1);
    for (size_t i = 0; i < n_refs; i++) {
        bool is_x = i < from_x;
        size_t base = is_x ? 0 : nx;
        size_t pick;
        do pick = base + below(random, is_x ? nx : ny);
        while (taken[pick]); /* a rejected draw costs less than a permutation of the whole set */
        taken[pick] = 1;
        ret[i] = pick;
    }
    return LM_OK;
}

LM_CLONES void lm_moments_add_f32(const float *row, size_t dims, size_t n, double *mean, double *square)
{
    double inverse = 1 / (double)n;
    for (size_t k = 0; k < dims; k++) {
        double x = (double)row[k], delta = x - mean[k];
        mean[k] += delta * inverse;
        square[k] += delta * (x - mean[k]);
    }
}
LM_CLONES void lm_moments_add_f64(const double *row, size_t dims, size_t n, double *mean, double *square)
{
    double inverse = 1 / (double)n;
    for (size_t k = 0; k < dims; k++) {
        double x = row[k], delta = x - mean[k];
        mean[k] += delta * inverse;
        square[k] += delta * (x - mean[k]);
    }
}
