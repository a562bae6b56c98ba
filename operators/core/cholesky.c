/* Cholesky factors. See cholesky.h. */
#include "operators/core/cholesky.h"

#include <cblas.h>
#include <dlfcn.h>
#include <limits.h>
#include <math.h>
#include <string.h>
#include <suitesparse/amd.h>
#include <suitesparse/cholmod.h>

extern void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info);
extern void dpotri_(const char *uplo, const int *n, double *a, const int *lda, int *info);
extern void dtrtri_(const char *uplo, const char *diag, const int *n, double *a, const int *lda, int *info);

struct lm_cholesky {
    cholmod_common common;
    void (*set_levels)(int); /* omp_set_max_active_levels, where there is OpenMP */
    cholmod_factor *sparse;  /* analysed, or NULL */
    int *order, *place;      /* [n] column k of the factor is unknown order[k]; unknown i stands at place[i] */
    int *to;                 /* where each element of the matrix goes in `permuted` */
    lm_symmetric permuted;   /* in the factor's order, each column as it came */
    double *work;            /* [work_room] */
    size_t lists_room, to_room, work_room;
    bool factored; /* numbers are there too */
    double *dense; /* the caller's; NULL: the sparse factor counts. As LAPACK sees it: the upper half, A = U^T U */
    size_t n;
    double ln_det;
    double *inverse; /* room for elements of the inverse */
    size_t inverse_room;
};

/* ---- sparse symmetric matrices ---------------------------------------------------------------------------------- */

lm_status lm_symmetric_room(lm_symmetric *m, size_t n, size_t elements, lm_error *err)
{
    if (n >= INT_MAX || elements >= INT_MAX)
        return LM_FAIL(err, LM_EINPUT, "a matrix of %zu x %zu with %zu elements is too large", n, n, elements);
    if (!m->start || n != m->n) {
        m->start = lm_free(m->start);
        m->n = 0;
        m->start = lm_alloc(n + 1, sizeof *m->start);
        if (!m->start) return LM_NOMEM(err);
        m->n = n;
    }
    if (elements > m->room || !m->row) {
        m->row = lm_free(m->row);
        m->value = lm_free(m->value);
        m->room = 0;
        size_t room = elements + elements / 4 + 1;
        m->row = lm_alloc_data(room * sizeof *m->row);
        m->value = lm_alloc_data(room * sizeof *m->value);
        if (!m->row || !m->value) return LM_NOMEM(err);
        m->room = room;
    }
    return LM_OK;
}

void lm_symmetric_done(lm_symmetric *m)
{
    lm_free(m->start);
    lm_free(m->row);
    lm_free(m->value);
    *m = (lm_symmetric){0};
}

void lm_symmetric_apply(const lm_symmetric *m, const double *v, double *ret)
{
    memset(ret, 0, m->n * sizeof *ret);
    for (size_t j = 0; j < m->n; j++) {
        int e = m->start[j];
        double sum = m->value[e] * v[j]; /* the diagonal comes first */
        for (e++; e < m->start[j + 1]; e++) {
            ret[m->row[e]] += m->value[e] * v[j];
            sum += m->value[e] * v[m->row[e]];
        }
        ret[j] += sum;
    }
}

/* CHOLMOD starts OpenMP threads for its copying loops, whatever OMP_NUM_THREADS says; ours are the only threads that
 * there should be. The setting belongs to the calling thread. */
static void one_thread(const lm_cholesky *c)
{
    if (c->set_levels) c->set_levels(0);
}

/* ---- factors ---------------------------------------------------------------------------------------------------- */

lm_status lm_cholesky_new(lm_cholesky **ret, lm_error *err)
{
    lm_cholesky *c = lm_alloc(1, sizeof *c);
    if (!c) return LM_NOMEM(err);
    if (!cholmod_start(&c->common)) {
        lm_free(c);
        return LM_NOMEM(err);
    }
    *(void **)&c->set_levels = dlsym(RTLD_DEFAULT, "omp_set_max_active_levels");
    c->common.print = 0;
    c->common.nmethods = 1;
    c->common.method[0].ordering = CHOLMOD_NATURAL; /* matrices come to it in order */
    c->common.postorder = 0;
    c->common.supernodal = CHOLMOD_SUPERNODAL;
    c->common.final_ll = 1;
    c->common.quick_return_if_not_posdef = 1;
    *ret = c;
    return LM_OK;
}

lm_cholesky *lm_cholesky_free(lm_cholesky *c)
{
    if (!c) return NULL;
    cholmod_free_factor(&c->sparse, &c->common);
    cholmod_finish(&c->common);
    lm_symmetric_done(&c->permuted);
    lm_free(c->order);
    lm_free(c->place);
    lm_free(c->to);
    lm_free(c->work);
    lm_free(c->inverse);
    return lm_free(c);
}

static cholmod_sparse view(const lm_symmetric *m)
{
    return (cholmod_sparse){.nrow = m->n,
                            .ncol = m->n,
                            .nzmax = (size_t)m->start[m->n],
                            .p = m->start,
                            .i = m->row,
                            .x = m->value,
                            .stype = -1,
                            .itype = CHOLMOD_INT,
                            .xtype = CHOLMOD_REAL,
                            .dtype = CHOLMOD_DOUBLE,
                            .sorted = 0,
                            .packed = 1};
}

static lm_status explain(const lm_cholesky *c, lm_error *err)
{
    if (c->common.status == CHOLMOD_OUT_OF_MEMORY) return LM_NOMEM(err);
    if (c->common.status == CHOLMOD_TOO_LARGE)
        return LM_FAIL(err, LM_EINPUT, "a factor of a matrix of %zu x %zu is too large", c->n, c->n);
    return LM_FAIL(err, LM_EBUG, "CHOLMOD refused a matrix of %zu x %zu (status %d)", c->n, c->n, c->common.status);
}

static lm_status not_definite(const char *what, size_t n, size_t column, lm_error *err)
{
    return LM_FAIL_HINT(
        err, LM_EINPUT, "A stronger prior, or fewer unknowns, may help; a value that is no number does not.",
        "%s, a matrix of %zu x %zu, is not positive definite: its factor ends at column %zu", what, n, n, column);
}

static lm_status make_lists(lm_cholesky *c, size_t n, size_t elements, lm_error *err)
{
    if (n > c->lists_room) {
        c->lists_room = 0;
        c->order = lm_free(c->order);
        c->place = lm_free(c->place);
        c->order = lm_alloc(n, sizeof *c->order);
        c->place = lm_alloc(n, sizeof *c->place);
        if (!c->order || !c->place) return LM_NOMEM(err);
        c->lists_room = n;
    }
    if (elements > c->to_room) {
        c->to_room = 0;
        c->to = lm_free(c->to);
        c->to = lm_alloc_data((elements + elements / 4) * sizeof *c->to);
        if (!c->to) return LM_NOMEM(err);
        c->to_room = elements + elements / 4;
    }
    return lm_symmetric_room(&c->permuted, n, elements, err);
}

/* The matrix in approximate minimum degree order (Amestoy, Davis & Duff 2004, ACM TOMS 30, 381), still by its lower
 * half. */
static lm_status permute(lm_cholesky *c, const lm_symmetric *m, lm_error *err)
{
    size_t n = m->n;
    LM_TRY(make_lists(c, n, (size_t)m->start[n], err));
    int status = amd_order((int)n, m->start, m->row, c->order, NULL, NULL);
    if (status == AMD_OUT_OF_MEMORY) return LM_NOMEM(err);
    if (status < 0) return LM_FAIL(err, LM_EBUG, "AMD refused a matrix of %zu x %zu (status %d)", n, n, status);
    for (size_t k = 0; k < n; k++) c->place[c->order[k]] = (int)k;
    int *start = c->permuted.start, *place = c->place;
    memset(start, 0, (n + 1) * sizeof *start);
    for (size_t j = 0; j < n; j++)
        for (int e = m->start[j]; e < m->start[j + 1]; e++) {
            int row = place[m->row[e]];
            start[row < place[j] ? row : place[j]]++;
        }
    int sum = 0;
    for (size_t k = 0; k < n; k++) start[k] = sum += start[k]; /* ends, that become starts as the columns fill */
    start[n] = sum;
    for (size_t j = n; j-- > 0;)
        for (int e = m->start[j + 1]; e-- > m->start[j];) {
            int row = place[m->row[e]], column = place[j];
            int at = --start[row < column ? row : column];
            c->permuted.row[at] = row < column ? column : row;
            c->to[e] = at;
        }
    return LM_OK;
}

static void drop_factor(lm_cholesky *c)
{
    cholmod_free_factor(&c->sparse, &c->common);
    c->factored = false;
    c->dense = NULL;
}

lm_status lm_cholesky_analyse(lm_cholesky *c, const lm_symmetric *m, double *ret_work, lm_error *err)
{
    drop_factor(c);
    c->n = m->n;
    LM_TRY(permute(c, m, err));
    cholmod_sparse a = view(&c->permuted);
    c->sparse = cholmod_analyze(&a, &c->common);
    if (!c->sparse || c->common.status < CHOLMOD_OK) {
        drop_factor(c);
        return explain(c, err);
    }
    if (ret_work) *ret_work = c->common.fl;
    return LM_OK;
}

lm_status lm_cholesky_sparse(lm_cholesky *c, const lm_symmetric *m, const char *what, lm_error *err)
{
    c->dense = NULL;
    c->factored = false;
    if (!c->sparse || c->sparse->n != m->n || c->permuted.start[m->n] != m->start[m->n])
        LM_TRY(lm_cholesky_analyse(c, m, NULL, err));
    c->n = m->n;
    for (int e = 0; e < m->start[m->n]; e++) c->permuted.value[c->to[e]] = m->value[e];
    cholmod_sparse a = view(&c->permuted);
    one_thread(c);
    if (!cholmod_factorize(&a, c->sparse, &c->common) || c->common.status < CHOLMOD_OK) return explain(c, err);
    if (c->common.status == CHOLMOD_NOT_POSDEF || c->sparse->minor < c->sparse->n)
        return not_definite(what, c->n, c->sparse->minor + 1, err);
    const cholmod_factor *l = c->sparse;
    const int *super = l->super, *pi = l->pi, *px = l->px;
    const double *x = l->x;
    double sum = 0;
    for (size_t s = 0; s < l->nsuper; s++)
        for (int k = 0; k < super[s + 1] - super[s]; k++)
            sum += log(x[(size_t)px[s] + (size_t)k * (size_t)(pi[s + 1] - pi[s] + 1)]);
    if (!isfinite(sum)) return not_definite(what, c->n, c->n, err);
    c->ln_det = 2 * sum;
    c->factored = true;
    return LM_OK;
}

lm_status lm_cholesky_dense(lm_cholesky *c, double *matrix, size_t n, const char *what, lm_error *err)
{
    c->dense = NULL;
    c->factored = false;
    if (n > 46340) return LM_FAIL(err, LM_EINPUT, "a full matrix of %zu x %zu is too large", n, n);
    int order = (int)n, info = 0;
    if (n) dpotrf_("U", &order, matrix, &order, &info);
    if (info > 0) return not_definite(what, n, (size_t)info, err);
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += log(matrix[i * n + i]);
    if (!isfinite(sum)) return not_definite(what, n, n, err);
    c->n = n;
    c->dense = matrix;
    c->ln_det = 2 * sum;
    c->factored = true;
    return LM_OK;
}

double lm_cholesky_ln_det(const lm_cholesky *c)
{
    return c->ln_det;
}

enum { IN = 1, OUT = 2 };

/* x [m][n] becomes the solution of `system`, one of CHOLMOD's; IN: it comes in the unknowns' order, OUT: it is to be in
 * it. */
static lm_status solve_sparse(lm_cholesky *c, int system, int orders, double *x, size_t m, lm_error *err)
{
    size_t n = c->n;
    if (n * m > c->work_room) {
        c->work_room = 0;
        c->work = lm_free(c->work);
        c->work = lm_alloc_data(n * m * sizeof *c->work);
        if (!c->work) return LM_NOMEM(err);
        c->work_room = n * m;
    }
    for (size_t i = 0; i < n * m; i++) c->work[i] = orders & IN ? x[i / n * n + (size_t)c->order[i % n]] : x[i];
    cholmod_dense b = {
        .nrow = n, .ncol = m, .nzmax = n * m, .d = n, .x = c->work, .xtype = CHOLMOD_REAL, .dtype = CHOLMOD_DOUBLE};
    one_thread(c);
    cholmod_dense *got = cholmod_solve(system, c->sparse, &b, &c->common);
    if (!got || c->common.status < CHOLMOD_OK) {
        cholmod_free_dense(&got, &c->common);
        return explain(c, err);
    }
    const double *from = got->x;
    for (size_t i = 0; i < n * m; i++) x[orders & OUT ? i / n * n + (size_t)c->order[i % n] : i] = from[i];
    cholmod_free_dense(&got, &c->common);
    return LM_OK;
}

lm_status lm_cholesky_solve(lm_cholesky *c, double *x, size_t m, lm_error *err)
{
    if (!c->factored) return LM_FAIL(err, LM_EBUG, "a system is to be solved before its matrix was factored");
    if (c->n == 0 || m == 0) return LM_OK;
    if (!c->dense) return solve_sparse(c, CHOLMOD_A, IN | OUT, x, m, err);
    int n = (int)c->n;
    cblas_dtrsm(CblasColMajor, CblasLeft, CblasUpper, CblasTrans, CblasNonUnit, n, (int)m, 1, c->dense, n, x, n);
    cblas_dtrsm(CblasColMajor, CblasLeft, CblasUpper, CblasNoTrans, CblasNonUnit, n, (int)m, 1, c->dense, n, x, n);
    return LM_OK;
}

lm_status lm_cholesky_draw(lm_cholesky *c, double *x, lm_error *err)
{
    if (!c->factored) return LM_FAIL(err, LM_EBUG, "a draw is asked for before its matrix was factored");
    if (c->n == 0) return LM_OK;
    if (c->dense) {
        cblas_dtrsv(CblasColMajor, CblasUpper, CblasNoTrans, CblasNonUnit, (int)c->n, c->dense, (int)c->n, x, 1);
        return LM_OK;
    }
    return solve_sparse(c, CHOLMOD_Lt, OUT, x, 1, err);
}

lm_status lm_cholesky_whiten(lm_cholesky *c, double *x, lm_error *err)
{
    if (!c->factored) return LM_FAIL(err, LM_EBUG, "a vector is to be whitened before its matrix was factored");
    if (c->n == 0) return LM_OK;
    if (c->dense) {
        cblas_dtrsv(CblasColMajor, CblasUpper, CblasTrans, CblasNonUnit, (int)c->n, c->dense, (int)c->n, x, 1);
        return LM_OK;
    }
    return solve_sparse(c, CHOLMOD_L, IN, x, 1, err);
}

/* ---- elements of the inverse ------------------------------------------------------------------------------------ */

static lm_status inverse_room(lm_cholesky *c, size_t n, lm_error *err)
{
    if (n <= c->inverse_room) return LM_OK;
    c->inverse = lm_free(c->inverse);
    c->inverse_room = 0;
    c->inverse = lm_alloc_data(n * sizeof *c->inverse);
    if (!c->inverse) return LM_NOMEM(err);
    c->inverse_room = n;
    return LM_OK;
}

/* A^-1 = Y^T Y, where Y, the inverse of U^T, is lower triangular by rows; a full trace needs the product. */
static lm_status dense_inverse(lm_cholesky *c, double *diagonal, const lm_symmetric *sparse, const double *full,
                               double *trace, lm_error *err)
{
    size_t n = c->n;
    int order = (int)n, info = 0;
    LM_TRY(inverse_room(c, n * n, err));
    double *y = c->inverse, sum = 0;
    memcpy(y, c->dense, n * n * sizeof *y);
    if (full) {
        dpotri_("U", &order, y, &order, &info);
        for (size_t i = 0; i < n; i++) {
            for (size_t j = 0; j < i; j++) sum += 2 * y[i * n + j] * full[i * n + j];
            sum += y[i * n + i] * full[i * n + i];
            if (diagonal) diagonal[i] = y[i * n + i];
        }
    } else {
        dtrtri_("U", "N", &order, y, &order, &info);
        if (diagonal) memset(diagonal, 0, n * sizeof *diagonal);
        for (size_t k = 0; k < n; k++) {
            const double *row = y + k * n;
            for (size_t i = 0; diagonal && i <= k; i++) diagonal[i] += row[i] * row[i];
            for (size_t j = 0; sparse && j <= k; j++) {
                int e = sparse->start[j], end = sparse->start[j + 1];
                double inner = sparse->value[e] * row[j] / 2;
                for (e++; e < end && (size_t)sparse->row[e] <= k; e++) inner += sparse->value[e] * row[sparse->row[e]];
                sum += 2 * inner * row[j];
            }
        }
    }
    if (info) return LM_FAIL(err, LM_EBUG, "a factor of %zu x %zu has no inverse (%d)", n, n, info);
    if (trace) *trace = sum;
    return LM_OK;
}

/* The part of the inverse that has the factor's pattern, supernode by supernode from the last. With L = [L1; L2] of a
 * supernode's columns J and rows R below, and Y = L2 L1^-1:
 *   Z_RJ = -Z_RR Y,   Z_JJ = (L1 L1^T)^-1 - Y^T Z_RJ
 * Rows R lie in the patterns of later supernodes, so that Z_RR is there already. */
typedef struct {
    const cholmod_factor *l;
    const int *super, *pi, *px, *rows;
    double *z; /* as l->x */
    int *of;   /* [n] the supernode of a column */
    int *at;   /* [n] the place of a row in a supernode's list */
} takahashi;

static void gather(takahashi *t, const int *r, size_t nr, double *zrr)
{
    for (size_t a = 0; a < nr;) {
        int k = t->of[r[a]], first = t->super[k], end = t->super[k + 1];
        size_t m = (size_t)(t->pi[k + 1] - t->pi[k]);
        const int *list = t->rows + t->pi[k];
        for (size_t i = 0; i < m; i++) t->at[list[i]] = (int)i;
        for (; a < nr && r[a] < end; a++) {
            const double *column = t->z + t->px[k] + (size_t)(r[a] - first) * m;
            for (size_t b = a; b < nr; b++) zrr[a * nr + b] = column[t->at[r[b]]];
        }
    }
}

static void invert_supernode(takahashi *t, size_t s, double *y, double *zrr)
{
    size_t n1 = (size_t)(t->super[s + 1] - t->super[s]), m = (size_t)(t->pi[s + 1] - t->pi[s]), nr = m - n1;
    int order = (int)n1, lead = (int)m, below = (int)nr, info = 0;
    const double *l = (const double *)t->l->x + t->px[s];
    double *z = t->z + t->px[s];
    memcpy(z, l, n1 * m * sizeof *z);
    dpotri_("L", &order, z, &lead, &info); /* a factor's diagonal is positive: it cannot fail */
    if (nr == 0) return;
    for (size_t j = 0; j < n1; j++) memcpy(y + j * nr, l + j * m + n1, nr * sizeof *y);
    cblas_dtrsm(CblasColMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, below, order, 1, l, lead, y, below);
    gather(t, t->rows + t->pi[s] + n1, nr, zrr);
    cblas_dsymm(CblasColMajor, CblasLeft, CblasLower, below, order, -1, zrr, below, y, below, 0, z + n1, lead);
    /* only the lower half of Z_JJ counts; the product fills all of it */
    cblas_dgemm(CblasColMajor, CblasTrans, CblasNoTrans, order, order, below, -1, y, below, z + n1, lead, 1, z, lead);
}

static double element(const takahashi *t, int row, int column)
{
    if (row < column) {
        int swap = row;
        row = column;
        column = swap;
    }
    int k = t->of[column], m = t->pi[k + 1] - t->pi[k];
    const int *list = t->rows + t->pi[k];
    int low = 0, high = m - 1;
    while (low < high) {
        int middle = (low + high) / 2;
        if (list[middle] < row) low = middle + 1;
        else high = middle;
    }
    return list[low] == row ? t->z[(size_t)t->px[k] + (size_t)(column - t->super[k]) * (size_t)m + (size_t)low]
                            : (double)NAN;
}

static lm_status sparse_inverse(lm_cholesky *c, double *diagonal, const lm_symmetric *sparse, double *trace,
                                lm_error *err)
{
    const cholmod_factor *l = c->sparse;
    size_t n = c->n, most_y = 0, most_r = 0;
    takahashi t = {.l = l, .super = l->super, .pi = l->pi, .px = l->px, .rows = l->s};
    for (size_t s = 0; s < l->nsuper; s++) {
        size_t n1 = (size_t)(t.super[s + 1] - t.super[s]), nr = (size_t)(t.pi[s + 1] - t.pi[s]) - n1;
        if (n1 * nr > most_y) most_y = n1 * nr;
        if (nr > most_r) most_r = nr;
    }
    LM_TRY(inverse_room(c, l->xsize + most_y + most_r * most_r, err));
    LM_OWN(lm_memory) maps = lm_alloc(2 * n + 1, sizeof(int));
    if (!maps) return LM_NOMEM(err);
    t.z = c->inverse;
    t.of = maps;
    t.at = t.of + n;
    const int *place = c->place;
    for (size_t s = 0; s < l->nsuper; s++)
        for (int k = t.super[s]; k < t.super[s + 1]; k++) t.of[k] = (int)s;
    for (size_t s = l->nsuper; s-- > 0;) invert_supernode(&t, s, t.z + l->xsize, t.z + l->xsize + most_y);
    for (size_t i = 0; diagonal && i < n; i++) diagonal[i] = element(&t, place[i], place[i]);
    double sum = 0;
    for (size_t j = 0; sparse && j < n; j++)
        for (int e = sparse->start[j]; e < sparse->start[j + 1]; e++)
            sum +=
                ((size_t)sparse->row[e] == j ? 1 : 2) * sparse->value[e] * element(&t, place[sparse->row[e]], place[j]);
    if (trace) *trace = sum;
    return LM_OK;
}

lm_status lm_cholesky_inverse(lm_cholesky *c, double *diagonal, const lm_symmetric *sparse, const double *full,
                              double *ret_trace, lm_error *err)
{
    if (!c->factored || (full && !c->dense))
        return LM_FAIL(err, LM_EBUG, "an inverse is asked for that this factor does not have");
    double trace = 0;
    if (c->dense) LM_TRY(dense_inverse(c, diagonal, sparse, full, &trace, err));
    else LM_TRY(sparse_inverse(c, diagonal, sparse, &trace, err));
    if (ret_trace) *ret_trace = trace;
    return LM_OK;
}

/* ---- small ones: lower halves in rows are LAPACK's upper ones in columns ---- */

bool lm_lower_factor(size_t n, double *a)
{
    int order = (int)n, info = 0;
    if (n) dpotrf_("U", &order, a, &order, &info);
    return info == 0;
}

bool lm_lower_inverse(size_t n, double *factor)
{
    int order = (int)n, info = 0;
    if (n) dpotri_("U", &order, factor, &order, &info);
    return info == 0;
}
