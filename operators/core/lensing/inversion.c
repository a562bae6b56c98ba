/* Inverters: one data set, its rays, and what is asked of the last inversion. The inversion itself is
 * inversion_solve.c. */
#include "operators/core/lensing/_inversion.h"

#include <math.h>
#include <string.h>

const char *const lm_solver_names[] = {"auto", "dense", "sparse", "iterative", NULL};

enum { MOST_SUB = 64, MOST_RAYS = 1 << 27, MOST_ELEMENTS = 100 * 1000 * 1000 };

/* ---- a data set ------------------------------------------------------------------------------------------------- */

static lm_inverter_plan *plan_unref(lm_inverter_plan *p)
{
    if (!p || atomic_fetch_sub(&p->owners, 1) != 1) return NULL;
    lm_psf_done(&p->psf);
    lm_blur_normal_done(&p->normal);
    lm_free(p->data);
    lm_free(p->precision);
    lm_free(p->row);
    lm_free(p->column);
    lm_free(p->inside);
    lm_free(p->x);
    lm_free(p->y);
    lm_free(p->back);
    return lm_free(p);
}
typedef lm_inverter_plan plan;
LM_OWNABLE(plan, plan_unref)

static lm_status check_data(const lm_inverter_data *d, lm_error *err)
{
    const lm_frame *f = &d->frame;
    if (f->h == 0 || f->w == 0) return LM_FAIL(err, LM_EINPUT, "an image of %zu x %zu pixels has none", f->h, f->w);
    if (!(f->pixel > 0) || !isfinite(f->pixel) || !isfinite(f->x) || !isfinite(f->y))
        return LM_FAIL(err, LM_EINPUT, "a pixel of %g arcsec around (%g, %g) is no pixel", f->pixel, f->x, f->y);
    if (f->sub < 1 || f->sub > MOST_SUB)
        return LM_FAIL(err, LM_EINPUT, "%u rays along a pixel: it must be 1 to %d", f->sub, MOST_SUB);
    if (f->h > MOST_RAYS / f->sub / f->sub / f->w)
        return LM_FAIL_HINT(err, LM_EINPUT, "Take fewer pixels, or fewer rays in each.",
                            "%zu x %zu pixels of %u x %u rays are too many", f->h, f->w, f->sub, f->sub);
    return LM_OK;
}

/* Which pixels take part. */
static lm_status take_data(lm_inverter_plan *p, const lm_inverter_data *d, lm_error *err)
{
    p->data = lm_alloc(p->pixels, sizeof *p->data);
    p->precision = lm_alloc(p->pixels, sizeof *p->precision);
    if (!p->data || !p->precision) return LM_NOMEM(err);
    for (size_t i = 0; i < p->pixels; i++) {
        double sigma = d->noise[i], precision = 1 / (sigma * sigma);
        if ((d->mask && !d->mask[i]) || !isfinite(d->image[i]) || !(sigma > 0) || !(precision > 0) ||
            !isfinite(precision))
            continue;
        p->data[i] = d->image[i];
        p->precision[i] = precision;
        p->ln_noise += 2 * log(sigma) + log(2 * acos(-1));
        p->n_data++;
    }
    if (p->n_data == 0)
        return LM_FAIL_HINT(err, LM_EINPUT,
                            "A pixel takes part where the mask is not 0, and image and noise are numbers, noise > 0.",
                            "no pixel of %zu x %zu takes part", p->frame.h, p->frame.w);
    return LM_OK;
}

/* marks [sh][sw]: 1 where a sky pixel casts rays, 2 where it takes part itself. */
static void mark_sky(const lm_inverter_plan *p, bool masked_rays, unsigned char *marks)
{
    size_t w = p->frame.w;
    for (size_t i = 0; i < p->pixels; i++) {
        if (!(p->precision[i] > 0)) continue;
        size_t y = i / w + p->oy, x = i % w + p->ox;
        if (p->blurs && !masked_rays) /* data (y, x) see sky (y - a + cy, x - b + cx) */
            for (size_t a = 0; a < p->psf.h; a++)
                for (size_t b = 0; b < p->psf.w; b++)
                    if (p->psf.at[a * p->psf.w + b] != 0) {
                        size_t at = (y + p->psf.cy - a) * p->sw + (x + p->psf.cx - b);
                        if (!marks[at]) marks[at] = 1;
                    }
        marks[y * p->sw + x] = 2;
    }
}

static lm_status cast_rays(lm_inverter_plan *p, bool masked_rays, lm_error *err)
{
    LM_OWN(lm_memory) memory = lm_alloc(p->sh, p->sw);
    if (!memory) return LM_NOMEM(err);
    unsigned char *marks = memory;
    mark_sky(p, masked_rays, marks);
    for (size_t i = 0; i < p->sh * p->sw; i++) p->n += marks[i] != 0;
    size_t sub = p->frame.sub, n = 0;
    p->rays = sub * sub;
    if (p->n > MOST_RAYS / p->rays)
        return LM_FAIL_HINT(err, LM_EINPUT, "Take fewer rays in a pixel, or a smaller mask.",
                            "%zu pixels of %zu rays are too many", p->n, p->rays);
    p->row = lm_alloc(p->n, sizeof *p->row);
    p->column = lm_alloc(p->n, sizeof *p->column);
    p->inside = lm_alloc(p->n, 1);
    p->x = lm_alloc_data(p->n * p->rays * sizeof *p->x);
    p->y = lm_alloc_data(p->n * p->rays * sizeof *p->y);
    p->back = lm_alloc(p->n, sizeof *p->back);
    if (!p->row || !p->column || !p->inside || !p->x || !p->y || !p->back) return LM_NOMEM(err);
    const lm_frame *f = &p->frame;
    for (size_t i = 0; i < p->sh * p->sw; i++) {
        if (!marks[i]) continue;
        p->row[n] = i / p->sw;
        p->column[n] = i % p->sw;
        p->inside[n] = marks[i] == 2;
        double x = f->x + ((double)p->column[n] - (double)p->ox - (double)(f->w - 1) / 2) * f->pixel;
        double y = f->y + ((double)p->row[n] - (double)p->oy - (double)(f->h - 1) / 2) * f->pixel;
        for (size_t r = 0; r < p->rays; r++) {
            p->x[n * p->rays + r] = x + (((double)(r % sub) + 0.5) / (double)sub - 0.5) * f->pixel;
            p->y[n * p->rays + r] = y + (((double)(r / sub) + 0.5) / (double)sub - 0.5) * f->pixel;
        }
        n++;
    }
    return LM_OK;
}

static lm_status copy_psf(lm_inverter_plan *p, const lm_psf *psf, lm_error *err)
{
    for (size_t i = 0; i < psf->h * psf->w; i++)
        if (!isfinite(psf->at[i])) return LM_FAIL(err, LM_EINPUT, "pixel %zu of the PSF is not finite", i);
    double *at = lm_alloc_data(psf->h * psf->w * sizeof *at);
    if (!at) return LM_NOMEM(err);
    memcpy(at, psf->at, psf->h * psf->w * sizeof *at);
    p->psf = *psf;
    p->psf.at = at;
    p->blurs = true;
    return LM_OK;
}

/* ---- an inverter ------------------------------------------------------------------------------------------------ */

lm_inverter *lm_inverter_free(lm_inverter *v)
{
    if (!v) return NULL;
    plan_unref(v->plan);
    lm_convolver_free(v->convolver);
    lm_source_grid_done(&v->grid);
    lm_lensing_done(&v->lensing);
    lm_regularisation_done(&v->reg);
    lm_normal_done(&v->normal);
    lm_cholesky_free(v->cholesky);
    lm_cholesky_free(v->small);
    lm_free(v->sky);
    lm_free(v->image);
    lm_free(v->rays_work);
    lm_free(v->model);
    lm_free(v->pick);
    lm_free(v->positions.at);
    lm_free(v->matrix.at);
    lm_free(v->unknowns.at);
    lm_free(v->iteration.at);
    return lm_free(v);
}

/* The part of its own. */
static lm_status own_part(lm_inverter *v, lm_error *err)
{
    const lm_inverter_plan *p = v->plan;
    LM_TRY(lm_cholesky_new(&v->cholesky, err));
    LM_TRY(lm_cholesky_new(&v->small, err));
    if (p->blurs) LM_TRY(lm_convolver_new(&p->psf, p->frame.h, p->frame.w, LM_EDGE_OPEN, false, &v->convolver, err));
    return LM_OK;
}

static lm_status own_images(lm_inverter *v, lm_error *err)
{
    const lm_inverter_plan *p = v->plan;
    v->sky = lm_alloc(p->sh * p->sw, sizeof *v->sky);
    v->image = lm_alloc(p->pixels, sizeof *v->image);
    v->model = lm_alloc(p->pixels, sizeof *v->model);
    v->rays_work = lm_alloc(p->n, sizeof *v->rays_work);
    if (!v->sky || !v->image || !v->model || !v->rays_work) return LM_NOMEM(err);
    return LM_OK;
}

lm_status lm_inverter_new(const lm_inverter_data *d, lm_inverter **ret, lm_error *err)
{
    LM_TRY(check_data(d, err));
    LM_OWN(lm_inverter) v = lm_alloc(1, sizeof *v);
    if (!v) return LM_NOMEM(err);
    lm_inverter_plan *p = v->plan = lm_alloc(1, sizeof *p);
    if (!p) return LM_NOMEM(err);
    atomic_init(&p->owners, 1);
    p->frame = d->frame;
    p->pixels = d->frame.h * d->frame.w;
    p->sh = d->frame.h;
    p->sw = d->frame.w;
    if (d->psf) LM_TRY(copy_psf(p, d->psf, err));
    LM_TRY(take_data(p, d, err));
    LM_TRY(own_part(v, err));
    if (v->convolver) {
        p->sh = v->convolver->sh;
        p->sw = v->convolver->sw;
        p->oy = v->convolver->oy;
        p->ox = v->convolver->ox;
    }
    LM_TRY(cast_rays(p, d->masked_rays, err));
    LM_TRY(own_images(v, err));
    lm_blur_layout layout = {p->n, p->row, p->column, p->frame.h, p->frame.w, p->oy, p->ox};
    const lm_psf *psf = p->blurs ? &p->psf : NULL;
    p->n_elements = lm_blur_normal_size(&layout, psf);
    p->exact = p->n_elements <= MOST_ELEMENTS;
    if (p->exact) LM_TRY(lm_blur_normal_make(&p->normal, &layout, psf, p->precision, err));
    for (size_t i = 0; i < p->pixels; i++) v->image[i] = p->precision[i] * p->data[i];
    lm_inverter_blur_back(v, v->image, p->back);
    *ret = lm_take(v);
    return LM_OK;
}

lm_status lm_inverter_twin(const lm_inverter *inverter, lm_inverter **ret, lm_error *err)
{
    LM_OWN(lm_inverter) v = lm_alloc(1, sizeof *v);
    if (!v) return LM_NOMEM(err);
    atomic_fetch_add(&inverter->plan->owners, 1);
    v->plan = inverter->plan;
    LM_TRY(own_part(v, err));
    LM_TRY(own_images(v, err));
    *ret = lm_take(v);
    return LM_OK;
}

size_t lm_inverter_rays(const lm_inverter *v, const double **ret_x, const double **ret_y)
{
    *ret_x = v->plan->x;
    *ret_y = v->plan->y;
    return v->plan->n * v->plan->rays;
}

size_t lm_inverter_pixels(const lm_inverter *v)
{
    return v->plan->n_data;
}

lm_status lm_room_make(lm_room *room, size_t n, lm_error *err)
{
    if (n <= room->n && room->at) return LM_OK;
    room->at = lm_free(room->at);
    room->n = 0;
    if (n > SIZE_MAX / sizeof *room->at) return LM_NOMEM(err);
    room->at = lm_alloc_data((n ? n : 1) * sizeof *room->at);
    if (!room->at) return LM_NOMEM(err);
    room->n = n;
    return LM_OK;
}

void lm_inverter_blur(lm_inverter *v, const double *seen, double *image)
{
    const lm_inverter_plan *p = v->plan;
    double *sky = v->convolver ? v->sky : image;
    memset(sky, 0, p->sh * p->sw * sizeof *sky);
    for (size_t i = 0; i < p->n; i++) sky[p->row[i] * p->sw + p->column[i]] = seen[i];
    if (v->convolver) lm_convolve_f64(v->convolver, sky, image);
}

void lm_inverter_blur_back(lm_inverter *v, const double *image, double *seen)
{
    const lm_inverter_plan *p = v->plan;
    const double *sky = image;
    if (v->convolver) {
        lm_convolve_adjoint_f64(v->convolver, image, v->sky);
        sky = v->sky;
    }
    for (size_t i = 0; i < p->n; i++) seen[i] = sky[p->row[i] * p->sw + p->column[i]];
}

/* ---- of the last inversion -------------------------------------------------------------------------------------- */

static lm_status check_solved(const lm_inverter *v, bool posterior, lm_error *err)
{
    if (!v->solved) return LM_FAIL(err, LM_EBUG, "an inverter is asked for a result before its first inversion");
    if (posterior && v->last.solver == LM_SOLVER_ITERATIVE)
        return LM_FAIL_HINT(
            err, LM_EINPUT, "Choose the solver \"sparse\" or \"dense\".",
            "errors and draws need a factor of the posterior's matrix, which the iterative solver has not");
    return LM_OK;
}

lm_status lm_inverter_image(lm_inverter *v, double *ret, lm_error *err)
{
    LM_TRY(check_solved(v, false, err));
    for (size_t i = 0; i < v->plan->pixels; i++) ret[i] = v->plan->precision[i] > 0 ? v->model[i] : (double)NAN;
    return LM_OK;
}

/* The covariance of source and amplitudes: A^-1 + G K^-1 G^T and K^-1, K the Schur complement. */
lm_status lm_inverter_error(lm_inverter *v, double *ret_source, double *ret_amplitudes, lm_error *err)
{
    LM_TRY(check_solved(v, true, err));
    size_t n = v->last.n_source, k = v->k;
    LM_OWN(lm_memory) memory = lm_alloc_data((n + k * k + 1) * sizeof(double));
    if (!memory) return LM_NOMEM(err);
    double *variance = memory, *inverse = variance + n;
    LM_TRY(lm_cholesky_inverse(v->cholesky, variance, NULL, NULL, NULL, err));
    for (size_t i = 0; i < k * k; i++) inverse[i] = i % (k + 1) == 0;
    LM_TRY(lm_cholesky_solve(v->small, inverse, k, err));
    for (size_t p = 0; p < k; p++)
        for (size_t q = 0; q < k; q++)
            for (size_t i = 0; i < n; i++) variance[i] += v->G[p * n + i] * inverse[p * k + q] * v->G[q * n + i];
    for (size_t i = 0; i < n; i++) ret_source[i] = sqrt(variance[i]);
    for (size_t p = 0; ret_amplitudes && p < k; p++) ret_amplitudes[p] = sqrt(inverse[p * k + p]);
    return LM_OK;
}

size_t lm_inverter_white(const lm_inverter *v)
{
    return v->solved ? v->last.n_source + v->k : 0;
}

lm_status lm_inverter_draw(lm_inverter *v, const double *white, double *ret_source, double *ret_amplitudes,
                           lm_error *err)
{
    LM_TRY(check_solved(v, true, err));
    size_t n = v->last.n_source, k = v->k;
    double *source = v->work, *amplitudes = source + n;
    memcpy(source, white, (n + k) * sizeof *source);
    LM_TRY(lm_cholesky_draw(v->cholesky, source, err));
    LM_TRY(lm_cholesky_draw(v->small, amplitudes, err));
    for (size_t p = 0; p < k; p++)
        for (size_t i = 0; i < n; i++) source[i] -= v->G[p * n + i] * amplitudes[p];
    for (size_t i = 0; i < n; i++) ret_source[i] = v->s[i] + source[i];
    for (size_t p = 0; ret_amplitudes && p < k; p++) ret_amplitudes[p] = v->a[p] + amplitudes[p];
    return LM_OK;
}

lm_status lm_inverter_picture(lm_inverter *v, const double *values, size_t h, size_t w, double pixel, double x,
                              double y, double *ret, lm_error *err)
{
    LM_TRY(check_solved(v, false, err));
    lm_source_grid_picture(&v->grid, values, h, w, pixel, x, y, ret);
    return LM_OK;
}
