/* Normal equations of blurred images. See blur_normal.h. */
#include "operators/core/lensing/blur_normal.h"

#include "operators/core/clones.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* ---- W ---------------------------------------------------------------------------------------------------------- */

/* The first pixel from `low` on that lies at or behind (row, column). */
static size_t find_pixel(const lm_blur_layout *l, size_t low, size_t row, size_t column)
{
    size_t high = l->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        bool before = l->row[middle] < row || (l->row[middle] == row && l->column[middle] < column);
        if (before) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* The run of pixels that share data with pixel i, `up` rows above it. */
static lm_blur_run run_of(const lm_blur_layout *l, const lm_psf *psf, size_t i, size_t up)
{
    size_t reach = psf ? psf->w - 1 : 0, row = l->row[i] + up, column = l->column[i];
    size_t first = up ? find_pixel(l, i, row, column > reach ? column - reach : 0) : i;
    size_t end = find_pixel(l, first, row, column + reach + 1);
    return (lm_blur_run){(int)first, (int)(end - first), 0};
}

static size_t rows_of(const lm_psf *psf)
{
    return psf ? psf->h : 1;
}

static size_t blocks_of(size_t n)
{
    return (n + LM_BLUR_LANES - 1) / LM_BLUR_LANES;
}

/* What the runs of a block's lanes cover. */
static lm_blur_run block_of(const lm_blur_layout *l, const lm_psf *psf, size_t block, size_t up)
{
    int first = INT_MAX, end = 0;
    for (size_t i = block * LM_BLUR_LANES; i < l->n && i < (block + 1) * LM_BLUR_LANES; i++) {
        lm_blur_run run = run_of(l, psf, i, up);
        if (run.n == 0) continue;
        if (run.first < first) first = run.first;
        if (run.first + run.n > end) end = run.first + run.n;
    }
    return end > first ? (lm_blur_run){first, end - first, 0} : (lm_blur_run){0};
}

size_t lm_blur_normal_size(const lm_blur_layout *l, const lm_psf *psf)
{
    size_t sum = 0;
    for (size_t b = 0; b < blocks_of(l->n); b++)
        for (size_t up = 0; up < rows_of(psf); up++) sum += (size_t)block_of(l, psf, b, up).n * LM_BLUR_LANES;
    return sum;
}

void lm_blur_normal_done(lm_blur_normal *b)
{
    lm_free(b->run);
    lm_free(b->element);
    *b = (lm_blur_normal){0};
}

/* part [ph][pw]: the PSF of a pixel at (row, column), times the precision of the data under it. */
static void weigh_psf(const lm_blur_layout *l, const lm_psf *psf, const double *precision, size_t row, size_t column,
                      double *part)
{
    for (size_t a = 0; a < psf->h; a++)
        for (size_t b = 0; b < psf->w; b++) {
            size_t y = row + a, x = column + b; /* of the data, + oy + cy, + ox + cx */
            bool inside = y >= l->oy + psf->cy && y - l->oy - psf->cy < l->h && x >= l->ox + psf->cx &&
                          x - l->ox - psf->cx < l->w;
            part[a * psf->w + b] =
                inside ? psf->at[a * psf->w + b] * precision[(y - l->oy - psf->cy) * l->w + (x - l->ox - psf->cx)] : 0;
        }
}

/* sums [2 pw - 1]: what pixels `up` rows above share with the pixel of `part`, by offset + pw - 1. mirrored: the PSF,
 * rows reversed. */
LM_CLONES static void share_row(size_t ph, size_t pw, const double *part, const double *mirrored, size_t up,
                                double *sums)
{
    memset(sums, 0, (2 * pw - 1) * sizeof *sums);
    for (size_t a = up; a < ph; a++)
        for (size_t b = 0; b < pw; b++) {
            double q = part[a * pw + b];
            const double *other = mirrored + (a - up) * pw;
            if (q == 0) continue;
            for (size_t s = 0; s < pw; s++) sums[b + s] += q * other[s];
        }
}

/* The elements of pixel i, into its lane. */
static void fill_pixel(lm_blur_normal *w, const lm_blur_layout *l, const lm_psf *psf, const double *precision, size_t i,
                       double *part, const double *mirrored, double *sums)
{
    size_t block = i / LM_BLUR_LANES, lane = i % LM_BLUR_LANES;
    if (psf) weigh_psf(l, psf, precision, l->row[i], l->column[i], part);
    for (size_t up = 0; up < w->rows; up++) {
        const lm_blur_run *run = &w->run[block * w->rows + up];
        lm_blur_run own = run_of(l, psf, i, up);
        if (own.n == 0) continue;
        double *to = w->element + run->at + (size_t)(own.first - run->first) * LM_BLUR_LANES + lane;
        if (!psf) to[0] = precision[(l->row[i] - l->oy) * l->w + l->column[i] - l->ox];
        else {
            share_row(psf->h, psf->w, part, mirrored, up, sums);
            for (int j = 0; j < own.n; j++)
                to[j * LM_BLUR_LANES] = sums[l->column[(size_t)(own.first + j)] + psf->w - 1 - l->column[i]];
        }
        if (up == 0) to[0] /= 2;
    }
}

lm_status lm_blur_normal_make(lm_blur_normal *w, const lm_blur_layout *l, const lm_psf *psf, const double *precision,
                              lm_error *err)
{
    size_t rows = rows_of(psf), pixels = psf ? psf->h * psf->w : 1, total = lm_blur_normal_size(l, psf);
    lm_blur_normal_done(w);
    w->run = lm_alloc(blocks_of(l->n) * rows + 1, sizeof *w->run);
    w->element = lm_alloc(total + 1, sizeof *w->element);
    LM_OWN(lm_memory) work = lm_alloc_data((2 * pixels + 2 * (psf ? psf->w : 1)) * sizeof(double));
    if (!w->run || !w->element || !work) return LM_NOMEM(err);
    w->n = l->n;
    w->rows = rows;
    w->n_elements = total;
    size_t at = 0;
    for (size_t k = 0; k < blocks_of(l->n) * rows; k++) {
        w->run[k] = block_of(l, psf, k / rows, k % rows);
        w->run[k].at = at;
        at += (size_t)w->run[k].n * LM_BLUR_LANES;
    }
    double *part = work, *mirrored = part + pixels, *sums = mirrored + pixels;
    for (size_t a = 0; psf && a < psf->h; a++)
        for (size_t b = 0; b < psf->w; b++) mirrored[a * psf->w + b] = psf->at[a * psf->w + psf->w - 1 - b];
    for (size_t i = 0; i < l->n; i++) fill_pixel(w, l, psf, precision, i, part, mirrored, sums);
    return LM_OK;
}

/* ---- F ---------------------------------------------------------------------------------------------------------- */

void lm_normal_done(lm_normal *n)
{
    lm_symmetric_done(&n->A);
    lm_lensing_done(&n->flipped);
    lm_free(n->F);
    lm_free(n->H);
    lm_free(n->t_start);
    lm_free(n->t_runs);
    lm_free(n->m_start);
    lm_free(n->fill);
    lm_free(n->t_column);
    lm_free(n->m_column);
    lm_free(n->m_row);
    lm_free(n->t_value);
    lm_free(n->m_value);
    lm_free(n->sum);
    *n = (lm_normal){0};
}

/* Room for at least `want` columns with `lanes` values each, or, of several lanes, as many runs; what is there stays.
 * */
static lm_status pairs_room(int **column, double **value, size_t *room, size_t want, size_t lanes, lm_error *err)
{
    if (want <= *room) return LM_OK;
    size_t more = want + want / 2 + 64;
    int *c = lm_realloc(*column, more, (lanes > 1 ? 2 : 1) * sizeof *c);
    if (!c) return LM_NOMEM(err);
    *column = c;
    double *v = lm_realloc(*value, more, lanes * sizeof *v);
    if (!v) return LM_NOMEM(err);
    *value = v;
    *room = more;
    return LM_OK;
}

static lm_status make_room(lm_normal *n, size_t rows, size_t columns, lm_error *err)
{
    if (rows + 1 > n->rows_room) {
        n->rows_room = 0;
        n->t_start = lm_free(n->t_start);
        n->t_runs = lm_free(n->t_runs);
        n->t_start = lm_alloc(rows + 1, sizeof *n->t_start);
        n->t_runs = lm_alloc(rows + 1, sizeof *n->t_runs);
        if (!n->t_start || !n->t_runs) return LM_NOMEM(err);
        n->rows_room = rows + 1;
    }
    if (columns + 2 > n->columns_room) {
        n->columns_room = 0;
        n->m_start = lm_free(n->m_start);
        n->fill = lm_free(n->fill);
        n->sum = lm_free(n->sum);
        n->m_start = lm_alloc(columns + 2, sizeof *n->m_start);
        n->fill = lm_alloc(columns + 2, sizeof *n->fill);
        n->sum = lm_alloc(columns + 2, sizeof *n->sum);
        if (!n->m_start || !n->fill || !n->sum) return LM_NOMEM(err);
        n->columns_room = columns + 2;
    }
    memset(n->sum, 0, columns * sizeof *n->sum);
    return LM_OK;
}

enum { LANES = LM_BLUR_LANES, GROUP = 8 };

/* sum [columns][LANES] += the rows start[0], start[1], ... of L, each times its w; touched: which groups of columns. */
LM_CLONES static void add_rows(const size_t *start, int n, const int *column, const double *weight, const double *w,
                               double *sum, unsigned char *touched)
{
    for (int j = 0; j < n; j++, w += LANES)
        for (size_t e = start[j]; e < start[j + 1]; e++) {
            double *to = sum + (size_t)column[e] * LANES, by = weight[e];
            for (int lane = 0; lane < LANES; lane++) to[lane] += w[lane] * by;
            touched[column[e] / GROUP] = 1;
        }
}

/* The columns of which one lane at least is not zero, ascending; touched is cleared. */
static size_t list_columns(const double *sum, unsigned char *touched, size_t columns, int *list)
{
    size_t m = 0;
    for (size_t g = 0; g * GROUP < columns; g++) {
        if (!touched[g]) continue;
        touched[g] = 0;
        for (size_t c = g * GROUP; c < columns && c < (g + 1) * GROUP; c++) {
            const double *at = sum + c * LANES;
            if (at[0] != 0 || at[1] != 0 || at[2] != 0 || at[3] != 0) list[m++] = (int)c;
        }
    }
    return m;
}

/* Columns that follow each other as runs {first, how many}. Returns the number of runs. */
static size_t make_runs(const int *list, size_t m, int *run)
{
    size_t n = 0;
    for (size_t k = 0; k < m; k++) {
        if (k > 0 && list[k] == list[k - 1] + 1) run[2 * n - 1]++;
        else {
            run[2 * n] = list[k];
            run[2 * n++ + 1] = 1;
        }
    }
    return n;
}

/* value [LANES][m] of the columns of a list, which become zero in sum. */
static void take_lanes(const int *list, size_t m, double *sum, double *value)
{
    for (size_t k = 0; k < m; k++) {
        double *from = sum + (size_t)list[k] * LANES;
        for (size_t lane = 0; lane < LANES; lane++) {
            value[lane * m + k] = from[lane];
            from[lane] = 0;
        }
    }
}

/* T = U L, U the upper half of W: blocks of LANES rows with the same columns. Of block b, t_value[LANES t_start[b] ...]
 * are its rows, one after the other, and t_column[2 t_start[b] ...] its t_runs[b] runs. */
static lm_status gather_pixels(lm_normal *n, const lm_blur_normal *blur, const lm_lensing *l, lm_error *err)
{
    size_t used = 0, blocks = blocks_of(l->rows), columns = l->columns;
    LM_OWN(lm_memory) memory = lm_alloc(columns, LANES * sizeof(double) + sizeof(int) + 1);
    if (!memory) return LM_NOMEM(err);
    double *sum = memory;
    int *list = (int *)(sum + LANES * columns);
    unsigned char *touched = (unsigned char *)(list + columns);
    for (size_t b = 0; b < blocks; b++) {
        size_t i = b * LANES, lanes = l->rows - i < LANES ? l->rows - i : LANES;
        n->t_start[b] = used;
        n->t_runs[b] = 0;
        if (l->start[i] == l->start[i + lanes]) continue; /* they see nothing: their rows of T are not asked for */
        for (const lm_blur_run *run = blur->run + b * blur->rows; run < blur->run + (b + 1) * blur->rows; run++)
            add_rows(l->start + run->first, run->n, l->column, l->weight, blur->element + run->at, sum, touched);
        LM_TRY(pairs_room(&n->t_column, &n->t_value, &n->t_room, used + columns, LANES, err));
        size_t m = list_columns(sum, touched, columns, list);
        n->t_runs[b] = make_runs(list, m, n->t_column + 2 * used);
        take_lanes(list, m, sum, n->t_value + LANES * used);
        used += m;
    }
    n->t_start[blocks] = used;
    return LM_OK;
}

/* L^T by rows: pixels ascending. */
static lm_status flip(const lm_lensing *l, lm_lensing *t, size_t *fill, lm_error *err)
{
    size_t used = l->start[l->rows];
    t->rows = t->columns = 0;
    if (l->columns + 1 > t->row_room) {
        t->row_room = 0;
        t->start = lm_free(t->start);
        t->start = lm_alloc(l->columns + 1, sizeof *t->start);
        if (!t->start) return LM_NOMEM(err);
        t->row_room = l->columns + 1;
    }
    LM_TRY(pairs_room(&t->column, &t->weight, &t->room, used, 1, err));
    memset(fill, 0, (l->columns + 1) * sizeof *fill);
    for (size_t e = 0; e < used; e++) fill[l->column[e]]++;
    size_t sum = 0;
    for (size_t c = 0; c < l->columns; c++) {
        t->start[c] = sum;
        sum += fill[c];
        fill[c] = t->start[c];
    }
    t->start[l->columns] = sum;
    for (size_t i = 0; i < l->rows; i++)
        for (size_t e = l->start[i]; e < l->start[i + 1]; e++) {
            size_t to = fill[l->column[e]]++;
            t->column[to] = (int)i;
            t->weight[to] = l->weight[e];
        }
    t->rows = l->columns;
    t->columns = l->rows;
    return LM_OK;
}

/* sum += by times a row of T, run after run. */
LM_CLONES static void add_runs(const int *run, size_t n, const double *value, double by, double *sum)
{
    for (size_t k = 0; k < n; k++) {
        double *to = sum + run[2 * k];
        int length = run[2 * k + 1];
        for (int c = 0; c < length; c++) to[c] += by * value[c];
        value += length;
    }
}

/* Moves what is not zero in sum[low .. high] behind `used`. */
static size_t take_row(double *sum, int low, int high, int *column, double *value, size_t used)
{
    for (int c = low; c <= high; c++) {
        if (sum[c] == 0) continue;
        column[used] = c;
        value[used++] = sum[c];
        sum[c] = 0;
    }
    return used;
}

/* M = L^T T by rows: F = M + M^T. */
static lm_status gather_sources(lm_normal *n, lm_error *err)
{
    const lm_lensing *t = &n->flipped;
    size_t used = 0;
    for (size_t s = 0; s < t->rows; s++) {
        n->m_start[s] = used;
        int low = INT_MAX, high = -1;
        for (size_t e = t->start[s]; e < t->start[s + 1]; e++) {
            size_t block = (size_t)t->column[e] / LANES, lane = (size_t)t->column[e] % LANES;
            size_t from = n->t_start[block], m = n->t_start[block + 1] - from, runs = n->t_runs[block];
            if (m == 0) continue;
            const int *run = n->t_column + 2 * from, *last = run + 2 * (runs - 1);
            if (run[0] < low) low = run[0];
            if (last[0] + last[1] - 1 > high) high = last[0] + last[1] - 1;
            add_runs(run, runs, n->t_value + LANES * from + lane * m, t->weight[e], n->sum);
        }
        if (high < low) continue;
        LM_TRY(pairs_room(&n->m_column, &n->m_value, &n->m_room, used + (size_t)(high - low + 1), 1, err));
        used = take_row(n->sum, low, high, n->m_column, n->m_value, used);
    }
    n->m_start[t->rows] = used;
    return LM_OK;
}

/* Adds to the lower half: column c gets what row c of M has at or behind c, and what later rows have at c. `fill` holds
 * how far those have been read. */
static lm_status lay(lm_normal *n, size_t size, const lm_symmetric *H, lm_error *err)
{
    size_t most = n->m_start[size] + size + (H ? (size_t)H->start[size] : 0);
    if (most >= INT_MAX)
        return LM_FAIL(err, LM_EINPUT, "the normal equations of %zu source pixels are too large", size);
    LM_TRY(lm_symmetric_room(&n->A, size, most, err));
    if (n->A.room > n->room) {
        n->room = 0;
        n->F = lm_free(n->F);
        n->H = lm_free(n->H);
        n->F = lm_alloc_data(n->A.room * sizeof *n->F);
        n->H = lm_alloc_data(n->A.room * sizeof *n->H);
        if (!n->F || !n->H) return LM_NOMEM(err);
        n->room = n->A.room;
    }
    /* M's part below the diagonal, by columns: counted, then linked as the rows come */
    int *start = n->A.start;
    memset(start, 0, (size + 1) * sizeof *start);
    size_t *fill = n->fill;
    for (size_t s = 0; s < size; s++) { /* fill[s]: the first element of row s at or behind its diagonal */
        size_t e = n->m_start[s], end = n->m_start[s + 1];
        while (e < end && n->m_column[e] < (int)s) start[n->m_column[e++]]++;
        fill[s] = e;
    }
    size_t below = 0; /* elements under the diagonal, gathered by columns behind F */
    LM_OWN(lm_memory) memory = lm_alloc(size + 1, sizeof(size_t));
    if (!memory) return LM_NOMEM(err);
    size_t *at = memory;
    for (size_t c = 0; c < size; c++) {
        at[c] = below;
        below += (size_t)start[c];
    }
    at[size] = below;
    LM_OWN(lm_memory) rows_memory = lm_alloc_data((below + 1) * sizeof(int));
    LM_OWN(lm_memory) values_memory = lm_alloc_data((below + 1) * sizeof(double));
    if (!rows_memory || !values_memory) return LM_NOMEM(err);
    int *rows = rows_memory;
    double *values = values_memory;
    for (size_t s = 0; s < size; s++)
        for (size_t e = n->m_start[s]; e < fill[s]; e++) {
            size_t to = at[n->m_column[e]]++;
            rows[to] = (int)s;
            values[to] = n->m_value[e];
        }
    int used = 0;
    size_t from = 0;
    for (size_t c = 0; c < size; c++) { /* at[c] is the end of column c now */
        size_t a = fill[c], a_end = n->m_start[c + 1], b = from, b_end = at[c];
        int h = H ? H->start[c] : 0, h_end = H ? H->start[c + 1] : 0;
        from = b_end;
        start[c] = used;
        for (int row = (int)c;;) {
            double f = 0, prior = 0;
            if (a < a_end && n->m_column[a] == row) f += (row == (int)c ? 2 : 1) * n->m_value[a++];
            if (b < b_end && rows[b] == row) f += values[b++];
            if (h < h_end && H->row[h] == row) prior = H->value[h++];
            n->A.row[used] = row;
            n->F[used] = f;
            n->H[used++] = prior;
            row = INT_MAX;
            if (a < a_end) row = n->m_column[a];
            if (b < b_end && rows[b] < row) row = rows[b];
            if (h < h_end && H->row[h] < row) row = H->row[h];
            if (row == INT_MAX) break;
        }
    }
    start[size] = used;
    return LM_OK;
}

lm_status lm_normal_make(lm_normal *n, const lm_blur_normal *blur, const lm_lensing *l, const lm_symmetric *H,
                         lm_error *err)
{
    LM_TRY(make_room(n, l->rows, l->columns, err));
    LM_TRY(gather_pixels(n, blur, l, err));
    LM_TRY(flip(l, &n->flipped, n->fill, err));
    LM_TRY(gather_sources(n, err));
    return lay(n, l->columns, H, err);
}

void lm_normal_sum(lm_normal *n, double lambda)
{
    for (int e = 0; e < n->A.start[n->A.n]; e++) n->A.value[e] = n->F[e] + lambda * n->H[e];
}

void lm_normal_spread(const lm_normal *n, const double *value, bool both, double *full)
{
    size_t size = n->A.n;
    memset(full, 0, size * size * sizeof *full);
    for (size_t c = 0; c < size; c++)
        for (int e = n->A.start[c]; e < n->A.start[c + 1]; e++) {
            full[(size_t)n->A.row[e] * size + c] = value[e];
            if (both) full[c * size + (size_t)n->A.row[e]] = value[e];
        }
}
