/* Priors of a source. See regularisation.h. */
#include "operators/core/lensing/regularisation.h"

#include "operators/core/fft.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

extern void dpotri_(const char *uplo, const int *n, double *a, const int *lda, int *info);

const char *const lm_prior_kind_names[] = {"zeroth",   "gradient", "curvature", "exponential", "squared_exponential",
                                           "matern32", "matern52", "power",     NULL};

#define JITTER 1e-8

static bool is_process(lm_prior_kind kind)
{
    return kind >= LM_PRIOR_EXPONENTIAL;
}

lm_status lm_prior_check(const lm_prior *p, const lm_source_shape *shape, lm_error *err)
{
    if (!(p->jitter >= 0) || !(p->jitter < 1))
        return LM_FAIL(err, LM_EINPUT, "a jitter of %g: it must be 0 to 1", p->jitter);
    if (!is_process(p->kind)) return LM_OK;
    if (p->kind == LM_PRIOR_POWER) {
        if (!(p->slope >= 0 && p->slope <= 10))
            return LM_FAIL(err, LM_EINPUT, "a power spectrum as k^-n with n = %g: it must be 0 to 10", p->slope);
        if (shape->kind != LM_SOURCE_REGULAR)
            return LM_FAIL_HINT(err, LM_EINPUT, "Take a regular grid, or another prior.",
                                "a power spectrum is a prior of regular grids alone");
    } else if (!(p->length > 0) || !isfinite(p->length))
        return LM_FAIL_HINT(err, LM_EINPUT, "Give a \"length\" in arcsec, such as the size of the source's clumps.",
                            "a correlation length of %g arcsec is none", p->length);
    size_t n = shape->kind == LM_SOURCE_REGULAR ? shape->h * shape->w : shape->n;
    if (n > LM_PRIOR_DENSE_MOST)
        return LM_FAIL_HINT(err, LM_EINPUT, "Take fewer unknowns, or the prior \"curvature\".",
                            "a Gaussian process of %zu unknowns: %d can be", n, LM_PRIOR_DENSE_MOST);
    return LM_OK;
}

void lm_regularisation_done(lm_regularisation *r)
{
    lm_symmetric_done(&r->H);
    lm_free(r->dense);
    *r = (lm_regularisation){0};
}

/* ---- regular grids ---------------------------------------------------------------------------------------------- */

/* Elements of one axis' form between places i and i + k of n. */
static double gradient_of(size_t i, size_t k)
{
    return k == 0 ? (i > 0 ? 2 : 1) : k == 1 ? -1 : 0;
}

static double curvature_of(size_t i, size_t k, size_t n)
{
    return k == 0 ? 4.0 + (i > 0) + (i + 1 < n) : k == 1 ? -4 : 1;
}

static lm_status make_regular(lm_regularisation *r, lm_prior_kind kind, size_t h, size_t w, lm_error *err)
{
    size_t n = h * w, reach = kind == LM_PRIOR_ZEROTH ? 0 : kind == LM_PRIOR_GRADIENT ? 1 : 2;
    LM_TRY(lm_symmetric_room(&r->H, n, n * (1 + 2 * reach), err));
    int used = 0;
    for (size_t s = 0; s < n; s++) {
        size_t i = s % w, j = s / w;
        r->H.start[s] = used;
        for (size_t axis = 0; axis < 2; axis++) /* the diagonal, its row, then the rows above: ascending */
            for (size_t k = axis; k <= reach; k++) {
                size_t at = axis ? j : i, length = axis ? h : w, step = axis ? w : 1;
                if (at + k >= length) continue;
                double value = kind == LM_PRIOR_ZEROTH     ? 1
                               : kind == LM_PRIOR_GRADIENT ? gradient_of(at, k)
                                                           : curvature_of(at, k, length);
                if (k == 0 && kind == LM_PRIOR_GRADIENT) value += gradient_of(j, 0);
                if (k == 0 && kind == LM_PRIOR_CURVATURE) value += curvature_of(j, 0, h);
                r->H.row[used] = (int)(s + k * step);
                r->H.value[used++] = value;
            }
    }
    r->H.start[n] = used;
    return LM_OK;
}

/* ---- triangles -------------------------------------------------------------------------------------------------- */

typedef struct {
    size_t n;
    int *start; /* [n + 1]: all of a symmetric matrix, by columns */
    int *row;
    double *value;
} whole;

/* The stiffness matrix, each triangle's 3 x 3 elements added to those that are there; mass: the area that belongs to a
 * vertex. */
static void stiffness(const lm_delaunay *mesh, whole *k, double *mass)
{
    for (size_t t = 0; t < mesh->n_triangles; t++) {
        const int *corner = mesh->corner[t];
        const double *unit = mesh->unit[t];
        double g[3][2] = {{-unit[2] - unit[4], -unit[3] - unit[5]}, {unit[2], unit[3]}, {unit[4], unit[5]}};
        double area = 0.5 / fabs(unit[2] * unit[5] - unit[3] * unit[4]);
        for (int a = 0; a < 3; a++) {
            mass[corner[a]] += area / 3;
            for (int b = 0; b < 3; b++) {
                double value = area * (g[a][0] * g[b][0] + g[a][1] * g[b][1]);
                if (a == b) /* the ends of a side of the hull are held to zero */
                    for (int c = 1; c < 3; c++)
                        if (mesh->neighbour[t][(a + c) % 3] < 0) value += 0.5;
                for (int e = k->start[corner[b]]; e < k->start[corner[b] + 1]; e++)
                    if (k->row[e] == corner[a]) {
                        k->value[e] += value;
                        break;
                    }
            }
        }
    }
}

static int smaller(const void *a, const void *b)
{
    int p = *(const int *)a, q = *(const int *)b;
    return p < q ? -1 : p > q;
}

/* The places of a matrix with an element for each vertex and each pair that a side joins. memory is scratch to free. */
static lm_status places(const lm_delaunay *mesh, whole *k, void **memory, lm_error *err)
{
    size_t n = mesh->n, most = n + 6 * mesh->n_triangles;
    char *block = lm_alloc(1, (n + 1) * sizeof(int) + 8 + most * (sizeof(int) + sizeof(double)) + 8);
    if (!block) return LM_NOMEM(err);
    *memory = block;
    *k = (whole){.n = n, .value = (double *)(void *)block};
    k->start = (int *)(k->value + most);
    k->row = k->start + n + 1;
    int *fill = k->start; /* counts, then ends, then starts */
    for (size_t i = 0; i < n; i++) fill[i] = 1;
    for (size_t t = 0; t < mesh->n_triangles; t++)
        for (int a = 0; a < 3; a++) fill[mesh->corner[t][a]] += 2;
    int sum = 0;
    for (size_t i = 0; i < n; i++) fill[i] = sum += fill[i];
    fill[n] = sum;
    for (size_t t = 0; t < mesh->n_triangles; t++)
        for (int a = 0; a < 3; a++)
            for (int b = 1; b < 3; b++) k->row[--fill[mesh->corner[t][a]]] = mesh->corner[t][(a + b) % 3];
    for (size_t i = 0; i < n; i++) k->row[--fill[i]] = (int)i;
    int used = 0;
    for (size_t i = 0; i < n; i++) {
        int from = k->start[i], end = k->start[i + 1];
        qsort(k->row + from, (size_t)(end - from), sizeof(int), smaller);
        k->start[i] = used;
        for (int e = from; e < end; e++)
            if (e == from || k->row[e] != k->row[e - 1]) k->row[used++] = k->row[e];
    }
    k->start[n] = used;
    return LM_OK;
}

/* Adds column j of K M^-1 K, or of K, to H. */
static lm_status add_column(lm_regularisation *r, const whole *k, const double *mass, size_t j, double *sum, int *list,
                            int *used, lm_error *err)
{
    size_t n = 0;
    for (int e = k->start[j]; e < k->start[j + 1]; e++) {
        int m = k->row[e];
        if (!mass) {
            if (m >= (int)j) {
                sum[m] = k->value[e];
                list[n++] = m;
            }
            continue;
        }
        for (int f = k->start[m]; f < k->start[m + 1]; f++) {
            int i = k->row[f];
            if (i < (int)j) continue;
            bool there = false;
            for (size_t p = 0; p < n && !there; p++) there = list[p] == i;
            if (!there) {
                list[n++] = i;
                sum[i] = 0;
            }
            sum[i] += k->value[f] * k->value[e] / mass[m];
        }
    }
    qsort(list, n, sizeof *list, smaller);
    if ((size_t)*used + n > r->H.room)
        return LM_FAIL(err, LM_EBUG, "a prior on %zu vertices has more elements than were counted", k->n);
    r->H.start[j] = *used;
    for (size_t p = 0; p < n; p++) {
        r->H.row[*used] = list[p];
        r->H.value[(*used)++] = sum[list[p]];
    }
    return LM_OK;
}

static lm_status make_triangles(lm_regularisation *r, lm_prior_kind kind, const lm_delaunay *mesh, lm_error *err)
{
    size_t n = mesh->n;
    LM_OWN(lm_memory) memory = NULL;
    LM_OWN(lm_memory) work = lm_alloc(n, 2 * sizeof(double) + sizeof(int));
    if (!work) return LM_NOMEM(err);
    double *mass = work, *sum = mass + n, total = 0;
    int *list = (int *)(sum + n), used = 0;
    whole k;
    LM_TRY(places(mesh, &k, &memory, err));
    stiffness(mesh, &k, mass);
    size_t elements = 0, kept = 0;
    for (size_t j = 0; j < n; j++) {
        total += mass[j];
        kept += mass[j] > 0;
        if (kind == LM_PRIOR_GRADIENT) elements += (size_t)(k.start[j + 1] - k.start[j]);
        else
            for (int e = k.start[j]; e < k.start[j + 1]; e++)
                elements += (size_t)(k.start[k.row[e] + 1] - k.start[k.row[e]]);
    }
    for (size_t j = 0; j < n; j++) {
        if (!(mass[j] > 0)) k.value[k.start[j]] = 1; /* the double of another vertex: nothing sees it */
        mass[j] = mass[j] > 0 ? mass[j] * (double)kept / total : 1;
    }
    LM_TRY(lm_symmetric_room(&r->H, n, elements, err));
    for (size_t j = 0; j < n; j++)
        LM_TRY(add_column(r, &k, kind == LM_PRIOR_CURVATURE ? mass : NULL, j, sum, list, &used, err));
    r->H.start[n] = used;
    return LM_OK;
}

/* ---- Gaussian processes ----------------------------------------------------------------------------------------- */

static double correlation(const lm_prior *p, double d)
{
    double x = d / p->length;
    switch (p->kind) {
    case LM_PRIOR_EXPONENTIAL: return exp(-x);
    case LM_PRIOR_SQUARED_EXPONENTIAL: return exp(-x * x / 2);
    case LM_PRIOR_MATERN32: x *= sqrt(3); return (1 + x) * exp(-x);
    default: x *= sqrt(5); return (1 + x + x * x / 3) * exp(-x);
    }
}

/* c [2h][2w]: the correlation at each offset, of a power spectrum |k|^-slope, k in cycles per pixel. */
static lm_status power_correlation(double slope, size_t h, size_t w, double *c, lm_error *err)
{
    size_t n1 = 2 * h, n2 = 2 * w;
    LM_OWN(lm_fft) fft = NULL;
    LM_TRY(lm_fft_open(n1, n2, false, &fft, err));
    size_t stride = lm_fft_stride(fft);
    LM_OWN(lm_memory) spectrum = lm_alloc_data(lm_fft_spectrum_bytes(fft));
    LM_OWN(lm_memory) row = lm_alloc_data(n2 * sizeof(double));
    if (!spectrum || !row) return LM_NOMEM(err);
    memset(spectrum, 0, lm_fft_spectrum_bytes(fft));
    double longest = 1 / (double)(n1 > n2 ? n1 : n2), *s = spectrum, *real = row;
    for (size_t j = 0; j < n1; j++)
        for (size_t i = 0; i <= w; i++) {
            double ky = (double)(j <= h ? j : n1 - j) / (double)n1, kx = (double)i / (double)n2, k = hypot(kx, ky);
            s[2 * (j * stride + i)] = pow((k > longest ? k : longest) / longest, -slope);
        }
    lm_fft_columns_f64(fft, s, true);
    for (size_t j = 0; j < n1; j++) {
        lm_fft_row_back_f64(fft, s + 2 * j * stride, real);
        memcpy(c + j * n2, real, n2 * sizeof *c);
    }
    double peak = c[0];
    for (size_t k = 0; k < n1 * n2; k++) c[k] /= peak;
    return LM_OK;
}

static lm_status correlate(const lm_prior *p, const lm_source_grid *g, double *C, lm_error *err)
{
    size_t n = g->n;
    if (p->kind != LM_PRIOR_POWER) {
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j <= i; j++)
                C[i * n + j] = correlation(p, hypot(g->vx[i] - g->vx[j], g->vy[i] - g->vy[j]));
        return LM_OK;
    }
    LM_OWN(lm_memory) memory = lm_alloc_data(4 * n * sizeof(double));
    if (!memory) return LM_NOMEM(err);
    const double *c = memory;
    LM_TRY(power_correlation(p->slope, g->h, g->w, memory, err));
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            size_t up = i / g->w - j / g->w, a = i % g->w, b = j % g->w;
            C[i * n + j] = c[up * 2 * g->w + (a >= b ? a - b : 2 * g->w - (b - a))];
        }
    return LM_OK;
}

static lm_status make_process(lm_regularisation *r, const lm_prior *p, const lm_source_grid *g, lm_cholesky *cholesky,
                              lm_error *err)
{
    size_t n = g->n;
    r->dense = lm_alloc_data(n * n * sizeof *r->dense);
    if (!r->dense) return LM_NOMEM(err);
    LM_TRY(correlate(p, g, r->dense, err));
    for (size_t i = 0; i < n; i++) r->dense[i * n + i] += p->jitter > 0 ? p->jitter : JITTER;
    LM_TRY_IN(lm_cholesky_dense(cholesky, r->dense, n, "the correlation of the source's pixels", err), err,
              "a larger jitter, or a shorter correlation length, makes it so");
    r->ln_H = -lm_cholesky_ln_det(cholesky);
    int order = (int)n, info = 0;
    dpotri_("U", &order, r->dense, &order, &info);
    if (info) return LM_FAIL(err, LM_EBUG, "a factor of %zu x %zu has no inverse (%d)", n, n, info);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++) r->dense[j * n + i] = r->dense[i * n + j];
    return LM_OK;
}

/* ---- */

lm_status lm_regularisation_make(lm_regularisation *r, const lm_prior *p, const lm_source_grid *g, lm_error *err)
{
    bool process = is_process(p->kind), scaled = process && p->kind != LM_PRIOR_POWER;
    if (r->reusable && g->kind == LM_SOURCE_REGULAR && r->h == g->h && r->w == g->w && r->prior.kind == p->kind &&
        (!process || (r->prior.length == p->length && r->prior.slope == p->slope && r->prior.jitter == p->jitter)) &&
        (!scaled || r->pixel == g->pixel))
        return LM_OK;
    r->reusable = false;
    r->dense = lm_free(r->dense);
    r->n = g->n;
    LM_OWN(lm_cholesky) cholesky = NULL;
    LM_TRY(lm_cholesky_new(&cholesky, err));
    if (process) {
        if (p->kind == LM_PRIOR_POWER && g->kind != LM_SOURCE_REGULAR)
            return LM_FAIL(err, LM_EINPUT, "a power spectrum is a prior of regular grids alone");
        LM_TRY(make_process(r, p, g, cholesky, err));
    } else {
        if (g->kind == LM_SOURCE_REGULAR) LM_TRY(make_regular(r, p->kind, g->h, g->w, err));
        else if (p->kind == LM_PRIOR_ZEROTH) LM_TRY(make_regular(r, p->kind, 1, g->n, err));
        else LM_TRY(make_triangles(r, p->kind, g->mesh, err));
        LM_TRY(lm_cholesky_sparse(cholesky, &r->H, "the prior", err));
        r->ln_H = lm_cholesky_ln_det(cholesky);
    }
    r->prior = *p;
    r->h = g->h;
    r->w = g->w;
    r->pixel = g->pixel;
    r->reusable = g->kind == LM_SOURCE_REGULAR;
    return LM_OK;
}

void lm_regularisation_apply(const lm_regularisation *r, const double *v, double *ret)
{
    if (!r->dense) {
        lm_symmetric_apply(&r->H, v, ret);
        return;
    }
    cblas_dsymv(CblasRowMajor, CblasLower, (int)r->n, 1, r->dense, (int)r->n, v, 1, 0, ret, 1);
}
