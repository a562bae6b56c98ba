/* Convergence on pixels. Inside, a pixel's side is the unit of length; pi psi is the potential of a pixel of kappa = 1.
 *
 * Near a pixel, its potential is a difference over its corners (u, v) of
 *
 *   F = (u v ln(u^2 + v^2) - 3 u v + u^2 atan(v/u) + v^2 atan(u/v))/2,    d^2 F/du dv = ln r
 *
 * and its deflection and shear are differences of F's derivatives. From 3 sides on, where that would lose digits, it is
 * the real part of the series in its moments M_4k = mean of (x + i y)^4k = 2 (-1/4)^k/((4k+1)(4k+2)),
 *
 *   W(z) = ln z - sum_k M_4k/(4k z^4k),    psi = Re W, alpha_x - i alpha_y = W', gamma1 - i gamma2 = W''
 */
#include "operators/core/lensing/kappa_map.h"

#include "operators/core/fft.h"

#include <math.h>
#include <string.h>

#define TINY 1e-300                                /* added to squared distances from corners */
enum { NEAR = 2 };                                 /* pixels to each side that are summed one by one */
enum { ORDER = 16, COEFFICIENTS = 2 * ORDER + 1 }; /* of the Taylor series: c_0 is real */
enum { FAR_ORDER = 52 };                           /* of the moments of the frame: 2^-52 at twice its half diagonal */
enum { MOMENTS = 6 };

static const double moment[MOMENTS] = {
    -2.0 / 4 / (5 * 6),    2.0 / 16 / (9 * 10),     -2.0 / 64 / (13 * 14),
    2.0 / 256 / (17 * 18), -2.0 / 1024 / (21 * 22), 2.0 / 4096 / (25 * 26),
};

/* ---- one pixel --------------------------------------------------------------------------------------------------- */

typedef struct {
    double psi, ax, ay, kappa, g1, g2;
} place;

/* Adds weight times F and its derivatives at a corner, the position relative to it being (u, v). */
static inline void add_corner(place *to, double weight, double u, double v)
{
    double r2 = u * u + v * v + TINY, l = log(r2), a = atan2(fabs(v), fabs(u)), b = M_PI / 2 - a;
    double sign = u * v > 0 ? weight : u * v < 0 ? -weight : 0;
    double av = sign * a, au = sign * b; /* atan(v/u), atan(u/v) */
    to->psi += (weight * u * v * (l - 3) + u * u * av + v * v * au) / 2;
    to->ax += weight * v * (l / 2 - 1) + u * av;
    to->ay += weight * u * (l / 2 - 1) + v * au;
    to->kappa += (av + au) / 2;
    to->g1 += (av - au) / 2;
    to->g2 += weight * l / 2;
}

/* Adds weight times a pixel at the origin, seen from (x, y). */
static inline void add_pixel(place *to, double weight, double x, double y)
{
    double r2 = x * x + y * y;
    if (r2 < 9) {
        for (int corner = 0; corner < 4; corner++)
            add_corner(to, corner == 0 || corner == 3 ? weight : -weight, corner & 1 ? x - 0.5 : x + 0.5,
                       corner & 2 ? y - 0.5 : y + 0.5);
        return;
    }
    double re = x / r2, im = -y / r2, re2 = re * re - im * im, im2 = 2 * re * im; /* 1/z, 1/z^2, 1/z^4 */
    double re4 = re2 * re2 - im2 * im2, im4 = 2 * re2 * im2;
    double w[2] = {0, 0}, w1[2] = {0, 0}, w2[2] = {0, 0};
    for (int k = r2 < 64 ? MOMENTS : r2 < 1e4 ? 3 : 1; k > 0; k--) { /* Horner, in 1/z^4 */
        double m = moment[k - 1], n = 4 * k, keep;
        w[0] += m / n, w1[0] += m, w2[0] += m * (n + 1);
        keep = w[0], w[0] = keep * re4 - w[1] * im4, w[1] = keep * im4 + w[1] * re4;
        keep = w1[0], w1[0] = keep * re4 - w1[1] * im4, w1[1] = keep * im4 + w1[1] * re4;
        keep = w2[0], w2[0] = keep * re4 - w2[1] * im4, w2[1] = keep * im4 + w2[1] * re4;
    }
    w1[0] += 1, w2[0] += 1;
    to->psi += weight * (log(r2) / 2 - w[0]);
    to->ax += weight * (re * w1[0] - im * w1[1]);
    to->ay -= weight * (re * w1[1] + im * w1[0]);
    to->g1 -= weight * (re2 * w2[0] - im2 * w2[1]);
    to->g2 += weight * (re2 * w2[1] + im2 * w2[0]);
}

/* From sides of pixels to arcsec: psi is known up to what the unit of length adds, mass ln(pixel). */
static void put(const lm_mass_maps *to, size_t i, const place *at, double pixel, double mass)
{
    if (to->psi) to->psi[i] += pixel * pixel / M_PI * (at->psi + mass * log(pixel));
    if (to->alpha_x) to->alpha_x[i] += pixel / M_PI * at->ax;
    if (to->alpha_y) to->alpha_y[i] += pixel / M_PI * at->ay;
    if (to->kappa) to->kappa[i] += at->kappa / M_PI;
    if (to->gamma1) to->gamma1[i] += at->g1 / M_PI;
    if (to->gamma2) to->gamma2[i] += at->g2 / M_PI;
}

static double mass_of(const lm_kappa_grid *grid, const double *kappa)
{
    double sum = 0;
    for (size_t i = 0; i < grid->ny * grid->nx; i++) sum += kappa[i];
    return sum;
}

/* (x, y) in pixels from the centre of the first one. */
static place sum_at(const lm_kappa_grid *grid, const double *kappa, double x, double y)
{
    place at = {0};
    for (size_t j = 0; j < grid->ny; j++)
        for (size_t i = 0; i < grid->nx; i++)
            if (kappa[j * grid->nx + i] != 0) add_pixel(&at, kappa[j * grid->nx + i], x - (double)i, y - (double)j);
    return at;
}

static double in_pixels(double x, double centre, double pixel, size_t n)
{
    return (x - centre) / pixel + ((double)n - 1) / 2;
}

void lm_kappa_sum(const lm_kappa_grid *grid, const double *kappa, size_t n, const double *x, const double *y,
                  const lm_mass_maps *to)
{
    double mass = mass_of(grid, kappa);
    for (size_t i = 0; i < n; i++) {
        place at = sum_at(grid, kappa, in_pixels(x[i], grid->x, grid->pixel, grid->nx),
                          in_pixels(y[i], grid->y, grid->pixel, grid->ny));
        put(to, i, &at, grid->pixel, mass);
    }
}

/* ---- kernels ----------------------------------------------------------------------------------------------------- */

/* Those at the centres, then the real and imaginary parts of the Taylor coefficients. A kernel that is even or odd in x
 * and in y has a spectrum that is real, or imaginary if it is odd in one of them: one double a frequency. */
enum { PSI, ALPHA_X, ALPHA_Y, GAMMA_1, GAMMA_2, CENTRES, TAYLOR = CENTRES, KERNELS = CENTRES + COEFFICIENTS };

struct lm_kappa_kernel {
    lm_kappa_grid grid;
    lm_fft *fft;
    size_t rows, columns; /* of the transform */
    size_t n;             /* kernels */
    double *spectra;      /* [n][rows][columns/2 + 1], with the normalisation of the transform */
};

/* The index of Re (part 0) or Im (part 1) of coefficient k; c_0 has no imaginary part. */
static size_t taylor(size_t k, size_t part)
{
    return TAYLOR + (k ? 2 * k - 1 + part : 0);
}

static void parity(size_t kernel, bool *ret_odd_x, bool *ret_odd_y)
{
    *ret_odd_x = kernel == ALPHA_X || kernel == GAMMA_2;
    *ret_odd_y = kernel == ALPHA_Y || kernel == GAMMA_2;
    if (kernel <= TAYLOR) return;
    size_t k = (kernel - TAYLOR + 1) / 2, part = (kernel - TAYLOR + 1) % 2; /* z^-k: Re is even in y, Im odd */
    *ret_odd_y = part;
    *ret_odd_x = (k + part) % 2;
}

static bool imaginary(size_t kernel)
{
    bool odd_x, odd_y;
    parity(kernel, &odd_x, &odd_y);
    return odd_x != odd_y;
}

lm_kappa_kernel *lm_kappa_kernel_free(lm_kappa_kernel *kernel)
{
    if (!kernel) return NULL;
    lm_fft_close(kernel->fft);
    lm_free(kernel->spectra);
    return lm_free(kernel);
}

static size_t spectrum_size(const lm_kappa_kernel *kernel)
{
    return kernel->rows * (kernel->columns / 2 + 1);
}

/* From a quarter of a kernel, offsets 0 .. ny-1 and 0 .. nx-1, to its spectrum. row: [columns] */
static void transform(lm_kappa_kernel *kernel, size_t which, const double *quarter, double *spectrum, double *row)
{
    size_t ny = kernel->grid.ny, nx = kernel->grid.nx, stride = 2 * lm_fft_stride(kernel->fft);
    size_t half = kernel->columns / 2 + 1;
    bool odd_x, odd_y;
    parity(which, &odd_x, &odd_y);
    memset(spectrum, 0, lm_fft_spectrum_bytes(kernel->fft));
    for (size_t j = 0; j < ny; j++) {
        memset(row, 0, kernel->columns * sizeof *row);
        for (size_t i = 0; i < nx; i++) {
            row[i] = quarter[j * nx + i];
            if (i) row[kernel->columns - i] = odd_x ? -row[i] : row[i];
        }
        lm_fft_row_f64(kernel->fft, row, spectrum + j * stride);
        if (j) {
            double *mirror = spectrum + (kernel->rows - j) * stride;
            for (size_t i = 0; i < 2 * half; i++)
                mirror[i] = odd_y ? -spectrum[j * stride + i] : spectrum[j * stride + i];
        }
    }
    lm_fft_columns_f64(kernel->fft, spectrum, false);
    double scale = 1 / ((double)kernel->rows * (double)kernel->columns);
    double *to = kernel->spectra + which * spectrum_size(kernel);
    size_t part = imaginary(which) ? 1 : 0;
    for (size_t j = 0; j < kernel->rows; j++)
        for (size_t i = 0; i < half; i++) to[j * half + i] = scale * spectrum[j * stride + 2 * i + part];
}

/* The maps of one pixel at the centres of the others, in arcsec. quarter: [CENTRES][ny][nx] */
static void fill_centres(const lm_kappa_grid *grid, double *quarter)
{
    size_t n = grid->ny * grid->nx;
    memset(quarter, 0, CENTRES * n * sizeof *quarter);
    lm_mass_maps to = {.psi = quarter + PSI * n,
                       .alpha_x = quarter + ALPHA_X * n,
                       .alpha_y = quarter + ALPHA_Y * n,
                       .gamma1 = quarter + GAMMA_1 * n,
                       .gamma2 = quarter + GAMMA_2 * n};
    for (size_t j = 0; j < grid->ny; j++)
        for (size_t i = 0; i < grid->nx; i++) {
            place at = {0};
            add_pixel(&at, 1, (double)i, (double)j);
            put(&to, j * grid->nx + i, &at, grid->pixel, 1);
        }
    for (size_t i = 0; i < grid->nx; i++) to.alpha_y[i] = to.gamma2[i] = 0; /* odd in y: exactly */
    for (size_t j = 0; j < grid->ny; j++) to.alpha_x[j * grid->nx] = to.gamma2[j * grid->nx] = 0;
}

/* The coefficients of W about a centre that lies at d = (i, j) from a pixel's: with its place z_p = -d,
 *
 *   c_k = -z_p^-k (1/k + sum_l M_4l/(4l) binomial(4l + k - 1, k) z_p^-4l),    c_0 = Re W
 *
 * and 0 for what is near. power: [ny][nx][2], d^-k, which grows with k. */
static void fill_taylor(const lm_kappa_grid *grid, size_t k, double *power, double *re, double *im)
{
    double factor[MOMENTS];
    for (size_t l = 1; l <= MOMENTS; l++) {
        double binomial = 1;
        for (size_t a = 1; a <= k; a++) binomial *= (double)(4 * l - 1 + a) / (double)a;
        factor[l - 1] = moment[l - 1] / (double)(4 * l) * binomial;
    }
    for (size_t j = 0; j < grid->ny; j++)
        for (size_t i = 0; i < grid->nx; i++) {
            size_t at = j * grid->nx + i;
            re[at] = im[at] = 0;
            if (i <= NEAR && j <= NEAR) continue;
            double x = (double)i, y = (double)j, r2 = x * x + y * y, c = x / r2, s = -y / r2, *p = power + 2 * at;
            if (k == 0) {
                place one = {0};
                add_pixel(&one, 1, x, y);
                re[at] = one.psi;
                p[0] = 1, p[1] = 0;
                continue;
            }
            double keep = p[0];
            p[0] = keep * c - p[1] * s, p[1] = keep * s + p[1] * c;
            double c2 = c * c - s * s, s2 = 2 * c * s, c4 = c2 * c2 - s2 * s2, s4 = 2 * c2 * s2, sum[2] = {0, 0};
            for (size_t l = MOMENTS; l > 0; l--) {
                sum[0] += factor[l - 1];
                keep = sum[0], sum[0] = keep * c4 - sum[1] * s4, sum[1] = keep * s4 + sum[1] * c4;
            }
            sum[0] += 1 / (double)k;
            double sign = k % 2 ? 1 : -1; /* -(-1)^k */
            re[at] = sign * (p[0] * sum[0] - p[1] * sum[1]);
            im[at] = j && (i || k % 2) ? sign * (p[0] * sum[1] + p[1] * sum[0]) : 0;
            if (!i && k % 2) re[at] = 0; /* odd in x */
        }
}

static lm_status check_grid(const lm_kappa_grid *grid, lm_error *err)
{
    if (!grid->ny || !grid->nx)
        return LM_FAIL(err, LM_EINPUT, "a convergence of %zu x %zu pixels is empty", grid->ny, grid->nx);
    if (!(isfinite(grid->pixel) && grid->pixel > 0))
        return LM_FAIL(err, LM_EINPUT, "pixel of a convergence is %g arcsec: it must be above 0", grid->pixel);
    if (!(isfinite(grid->x) && isfinite(grid->y)))
        return LM_FAIL(err, LM_EINPUT, "centre of a convergence is (%g, %g): it must be finite", grid->x, grid->y);
    if (grid->ny > 1 << 20 || grid->nx > 1 << 20)
        return LM_FAIL_HINT(err, LM_EINPUT, "Cut the image into smaller stamps.",
                            "a convergence of %zu x %zu pixels is too large", grid->ny, grid->nx);
    return LM_OK;
}

lm_status lm_kappa_kernel_new(const lm_kappa_grid *grid, bool anywhere, lm_kappa_kernel **ret, lm_error *err)
{
    LM_TRY(check_grid(grid, err));
    LM_OWN(lm_kappa_kernel) k = lm_alloc(1, sizeof *k);
    if (!k) return LM_NOMEM(err);
    k->grid = *grid;
    k->rows = lm_fft_size(2 * grid->ny - 1);
    k->columns = lm_fft_size(2 * grid->nx - 1);
    k->n = anywhere ? KERNELS : CENTRES;
    LM_TRY(lm_fft_open(k->rows, k->columns, false, &k->fft, err));
    size_t pixels = grid->ny * grid->nx;
    k->spectra = lm_alloc(k->n * k->rows, (k->columns / 2 + 1) * sizeof *k->spectra);
    LM_OWN(lm_memory) spectrum = lm_alloc_data(lm_fft_spectrum_bytes(k->fft));
    LM_OWN(lm_memory) row = lm_alloc_data(k->columns * sizeof(double));
    LM_OWN(lm_memory) quarters = lm_alloc(CENTRES * pixels, sizeof(double));
    if (!k->spectra || !spectrum || !row || !quarters) return LM_NOMEM(err);
    double *quarter = quarters;
    fill_centres(grid, quarter);
    for (size_t which = 0; which < CENTRES; which++) transform(k, which, quarter + which * pixels, spectrum, row);
    for (size_t order = 0; anywhere && order <= ORDER; order++) {
        fill_taylor(grid, order, quarter + 2 * pixels, quarter, quarter + pixels);
        transform(k, taylor(order, 0), quarter, spectrum, row);
        if (order) transform(k, taylor(order, 1), quarter + pixels, spectrum, row);
    }
    *ret = lm_take(k);
    return LM_OK;
}

/* ---- convolutions ------------------------------------------------------------------------------------------------ */

/* What a convolution works in. */
typedef struct {
    double *image, *product; /* spectra */
    double *row;
} desk;

static void desk_done(desk *d)
{
    lm_free(d->image);
    lm_free(d->product);
    lm_free(d->row);
}

static lm_status desk_init(const lm_kappa_kernel *kernel, desk *d, lm_error *err)
{
    size_t bytes = lm_fft_spectrum_bytes(kernel->fft);
    *d = (desk){lm_alloc_data(bytes), lm_alloc_data(bytes), lm_alloc_data(kernel->columns * sizeof(double))};
    if (d->image && d->product && d->row) return LM_OK;
    desk_done(d);
    return LM_NOMEM(err);
}

static lm_status check_image(const lm_kappa_grid *grid, const double *image, const char *what, lm_error *err)
{
    for (size_t i = 0; i < grid->ny * grid->nx; i++)
        if (!isfinite(image[i]))
            return LM_FAIL(err, LM_EINPUT, "%s is %g at pixel (%zu, %zu)", what, image[i], i % grid->nx, i / grid->nx);
    return LM_OK;
}

static void forward(const lm_kappa_kernel *kernel, const double *image, const desk *d)
{
    size_t ny = kernel->grid.ny, nx = kernel->grid.nx, stride = 2 * lm_fft_stride(kernel->fft);
    memset(d->image + ny * stride, 0, (kernel->rows - ny) * stride * sizeof *d->image);
    memset(d->row, 0, kernel->columns * sizeof *d->row);
    for (size_t j = 0; j < ny; j++) {
        memcpy(d->row, image + j * nx, nx * sizeof *d->row);
        lm_fft_row_f64(kernel->fft, d->row, d->image + j * stride);
    }
    lm_fft_columns_f64(kernel->fft, d->image, false);
}

/* product (+)= kernel . image, or its adjoint's. */
static void multiply(const lm_kappa_kernel *kernel, size_t which, bool adjoint, bool add, const desk *d)
{
    size_t stride = 2 * lm_fft_stride(kernel->fft), half = kernel->columns / 2 + 1;
    bool turn = imaginary(which);
    double sign = turn && adjoint ? -1 : 1;
    for (size_t j = 0; j < kernel->rows; j++) {
        const double *by = kernel->spectra + which * spectrum_size(kernel) + j * half, *from = d->image + j * stride;
        double *to = d->product + j * stride;
        if (!add) memset(to, 0, stride * sizeof *to);
        if (turn) {
            for (size_t i = 0; i < half; i++) {
                double value = sign * by[i];
                to[2 * i] -= value * from[2 * i + 1];
                to[2 * i + 1] += value * from[2 * i];
            }
        } else {
            for (size_t i = 0; i < half; i++) {
                to[2 * i] += by[i] * from[2 * i];
                to[2 * i + 1] += by[i] * from[2 * i + 1];
            }
        }
    }
}

/* Adds the product's image to every `apart`-th number from `to` on. */
static void back(const lm_kappa_kernel *kernel, const desk *d, double *to, size_t apart)
{
    size_t ny = kernel->grid.ny, nx = kernel->grid.nx, stride = 2 * lm_fft_stride(kernel->fft);
    lm_fft_columns_f64(kernel->fft, d->product, true);
    for (size_t j = 0; j < ny; j++) {
        lm_fft_row_back_f64(kernel->fft, d->product + j * stride, d->row);
        for (size_t i = 0; i < nx; i++) to[(j * nx + i) * apart] += d->row[i];
    }
}

static void by_kernel(const lm_mass_maps *maps, double *ret[CENTRES])
{
    ret[PSI] = maps->psi;
    ret[ALPHA_X] = maps->alpha_x;
    ret[ALPHA_Y] = maps->alpha_y;
    ret[GAMMA_1] = maps->gamma1;
    ret[GAMMA_2] = maps->gamma2;
}

lm_status lm_kappa_at_centres(const lm_kappa_kernel *kernel, const double *kappa, const lm_mass_maps *to, lm_error *err)
{
    LM_TRY(check_image(&kernel->grid, kappa, "convergence", err));
    double *maps[CENTRES];
    by_kernel(to, maps);
    desk d;
    LM_TRY(desk_init(kernel, &d, err));
    forward(kernel, kappa, &d);
    for (size_t which = 0; which < CENTRES; which++) {
        if (!maps[which]) continue;
        multiply(kernel, which, false, false, &d);
        back(kernel, &d, maps[which], 1);
    }
    if (to->kappa)
        for (size_t i = 0; i < kernel->grid.ny * kernel->grid.nx; i++) to->kappa[i] += kappa[i];
    desk_done(&d);
    return LM_OK;
}

lm_status lm_kappa_adjoint(const lm_kappa_kernel *kernel, const lm_mass_maps *by, double *ret, lm_error *err)
{
    double *maps[CENTRES];
    by_kernel(by, maps);
    for (size_t which = 0; which < CENTRES; which++)
        if (maps[which]) LM_TRY(check_image(&kernel->grid, maps[which], "derivative by a map", err));
    if (by->kappa) LM_TRY(check_image(&kernel->grid, by->kappa, "derivative by the convergence", err));
    desk d;
    LM_TRY(desk_init(kernel, &d, err));
    bool any = false;
    for (size_t which = 0; which < CENTRES; which++) {
        if (!maps[which]) continue;
        forward(kernel, maps[which], &d);
        multiply(kernel, which, true, any, &d);
        any = true;
    }
    if (any) back(kernel, &d, ret, 1);
    if (by->kappa)
        for (size_t i = 0; i < kernel->grid.ny * kernel->grid.nx; i++) ret[i] += by->kappa[i];
    desk_done(&d);
    return LM_OK;
}

/* ---- anywhere ---------------------------------------------------------------------------------------------------- */

struct lm_kappa_field {
    lm_kappa_grid grid;
    double *kappa;                    /* [ny][nx] */
    double *c;                        /* [ny][nx][COEFFICIENTS]: Re c_0, Re c_1, Im c_1, ... */
    double mass, radius;              /* sum of kappa; half diagonal of the frame, pixels */
    double moments[FAR_ORDER + 1][2]; /* sums over pixels of kappa (z/radius)^k, about the frame's centre */
};

lm_kappa_field *lm_kappa_field_free(lm_kappa_field *field)
{
    if (!field) return NULL;
    lm_free(field->kappa);
    lm_free(field->c);
    return lm_free(field);
}

/* Of point masses at the centres, then of pixels around them: the mean of (z_p + z)^k is sum_l binomial(k, 4l)
 * z_p^(k-4l) M_4l. */
static void fill_moments(lm_kappa_field *f)
{
    size_t ny = f->grid.ny, nx = f->grid.nx;
    double points[FAR_ORDER + 1][2] = {{0}};
    f->radius = hypot((double)nx, (double)ny) / 2;
    for (size_t j = 0; j < ny; j++)
        for (size_t i = 0; i < nx; i++) {
            double x = ((double)i - ((double)nx - 1) / 2) / f->radius,
                   y = ((double)j - ((double)ny - 1) / 2) / f->radius;
            double re = f->kappa[j * nx + i], im = 0;
            for (size_t k = 0; k <= FAR_ORDER; k++) {
                points[k][0] += re, points[k][1] += im;
                double keep = re;
                re = keep * x - im * y, im = keep * y + im * x;
            }
        }
    for (size_t k = 0; k <= FAR_ORDER; k++) {
        double binomial = 1, unit = 1; /* (-1/4)^l/radius^4l */
        f->moments[k][0] = points[k][0], f->moments[k][1] = points[k][1];
        for (size_t l = 4; l <= k; l += 4) {
            for (size_t a = l - 3; a <= l; a++) binomial *= (double)(k - a + 1) / (double)a;
            unit *= -0.25 / (f->radius * f->radius * f->radius * f->radius);
            double factor = binomial * unit * 2 / (double)((l + 1) * (l + 2));
            f->moments[k][0] += factor * points[k - l][0], f->moments[k][1] += factor * points[k - l][1];
        }
    }
    f->mass = points[0][0];
}

static lm_status fail_anywhere(lm_error *err)
{
    return LM_FAIL(err, LM_EINPUT, "these kernels know a convergence at its pixels' centres only");
}

lm_status lm_kappa_field_new(const lm_kappa_kernel *kernel, const double *kappa, lm_kappa_field **ret, lm_error *err)
{
    if (kernel->n < KERNELS) return fail_anywhere(err);
    LM_TRY(check_image(&kernel->grid, kappa, "convergence", err));
    size_t pixels = kernel->grid.ny * kernel->grid.nx;
    LM_OWN(lm_kappa_field) f = lm_alloc(1, sizeof *f);
    if (!f) return LM_NOMEM(err);
    f->grid = kernel->grid;
    f->kappa = lm_alloc(pixels, sizeof *f->kappa);
    f->c = lm_alloc(pixels, COEFFICIENTS * sizeof *f->c);
    if (!f->kappa || !f->c) return LM_NOMEM(err);
    memcpy(f->kappa, kappa, pixels * sizeof *kappa);
    fill_moments(f);
    desk d;
    LM_TRY(desk_init(kernel, &d, err));
    forward(kernel, kappa, &d);
    for (size_t i = 0; i < COEFFICIENTS; i++) {
        multiply(kernel, TAYLOR + i, false, false, &d);
        back(kernel, &d, f->c + i, COEFFICIENTS);
    }
    desk_done(&d);
    *ret = lm_take(f);
    return LM_OK;
}

/* Re and derivatives of a complex potential and its first two derivatives. */
static void add_potential(place *to, const double w[2], const double w1[2], const double w2[2])
{
    to->psi += w[0];
    to->ax += w1[0], to->ay -= w1[1];
    to->g1 += w2[0], to->g2 -= w2[1];
}

/* The far pixels', by Horner's scheme for a polynomial and its derivatives; (x, y) from the pixel's centre. */
static void add_taylor(place *to, const double *c, double x, double y)
{
    double w[2] = {0}, w1[2] = {0}, w2[2] = {0}; /* w2: half the second derivative */
    for (size_t k = ORDER + 1; k-- > 0;) {
        double re = k ? c[2 * k - 1] : c[0], im = k ? c[2 * k] : 0, keep;
        keep = w2[0], w2[0] = keep * x - w2[1] * y + w1[0], w2[1] = keep * y + w2[1] * x + w1[1];
        keep = w1[0], w1[0] = keep * x - w1[1] * y + w[0], w1[1] = keep * y + w1[1] * x + w[1];
        keep = w[0], w[0] = keep * x - w[1] * y + re, w[1] = keep * y + w[1] * x + im;
    }
    w2[0] *= 2, w2[1] *= 2;
    add_potential(to, w, w1, w2);
}

/* From far outside: W = Q_0 ln z - sum_k Q_k/(k z^k); (x, y) from the frame's centre. */
static void add_moments(place *to, const lm_kappa_field *f, double x, double y)
{
    double r2 = x * x + y * y, re = x / r2, im = -y / r2, c = re * f->radius, s = im * f->radius;
    double w[2] = {0}, w1[2] = {0}, w2[2] = {0};
    for (size_t k = FAR_ORDER; k > 0; k--) {
        double n = (double)k, q[2] = {f->moments[k][0], f->moments[k][1]}, keep;
        w[0] -= q[0] / n, w[1] -= q[1] / n;
        w1[0] += q[0], w1[1] += q[1];
        w2[0] -= (n + 1) * q[0], w2[1] -= (n + 1) * q[1];
        keep = w[0], w[0] = keep * c - w[1] * s, w[1] = keep * s + w[1] * c;
        keep = w1[0], w1[0] = keep * c - w1[1] * s, w1[1] = keep * s + w1[1] * c;
        keep = w2[0], w2[0] = keep * c - w2[1] * s, w2[1] = keep * s + w2[1] * c;
    }
    w[0] += f->mass * log(r2) / 2;
    w1[0] += f->mass, w2[0] -= f->mass;
    double first[2] = {w1[0] * re - w1[1] * im, w1[0] * im + w1[1] * re};
    double re2 = re * re - im * im, im2 = 2 * re * im;
    double second[2] = {w2[0] * re2 - w2[1] * im2, w2[0] * im2 + w2[1] * re2};
    add_potential(to, w, first, second);
}

/* A pixel [row][column] and the position relative to its centre; false: outside the frame. */
typedef struct {
    size_t row, column;
    double x, y;
} cell;

static bool cell_of(const lm_kappa_grid *grid, double u, double v, cell *ret)
{
    double nx = (double)grid->nx, ny = (double)grid->ny;
    if (!(u >= -0.5 && u <= nx - 0.5 && v >= -0.5 && v <= ny - 0.5)) return false;
    double i = fmin(floor(u + 0.5), nx - 1), j = fmin(floor(v + 0.5), ny - 1);
    *ret = (cell){(size_t)j, (size_t)i, u - i, v - j};
    return true;
}

/* The near pixels, with a border of 0. */
enum { SIDE = 2 * NEAR + 1 };
typedef double window[SIDE + 2][SIDE + 2];

/* Pixel (a, b) of the window in the image. */
static bool near_pixel(const lm_kappa_grid *grid, const cell *at, size_t a, size_t b, size_t *ret)
{
    size_t i = at->column + a, j = at->row + b;
    if (i < NEAR || j < NEAR || i >= grid->nx + NEAR || j >= grid->ny + NEAR) return false;
    *ret = (j - NEAR) * grid->nx + i - NEAR;
    return true;
}

static void add_near_corner(place *to, double weight, const cell *at, size_t a, size_t b)
{
    add_corner(to, weight, at->x + NEAR + 0.5 - (double)a, at->y + NEAR + 0.5 - (double)b);
}

/* The near pixels': the corners between them count by how kappa changes across. */
static void add_near(place *to, const lm_kappa_field *f, const cell *at)
{
    window w = {{0}};
    size_t pixel;
    for (size_t b = 0; b < SIDE; b++)
        for (size_t a = 0; a < SIDE; a++)
            if (near_pixel(&f->grid, at, a, b, &pixel)) w[b + 1][a + 1] = f->kappa[pixel];
    for (size_t b = 0; b <= SIDE; b++)
        for (size_t a = 0; a <= SIDE; a++) {
            double weight = w[b + 1][a + 1] - w[b + 1][a] - w[b][a + 1] + w[b][a];
            if (weight != 0) add_near_corner(to, weight, at, a, b);
        }
}

void lm_kappa_field_add(const lm_kappa_field *f, size_t n, const double *x, const double *y, const lm_mass_maps *to)
{
    for (size_t p = 0; p < n; p++) {
        double u = in_pixels(x[p], f->grid.x, f->grid.pixel, f->grid.nx);
        double v = in_pixels(y[p], f->grid.y, f->grid.pixel, f->grid.ny);
        place at = {0};
        cell here;
        if (cell_of(&f->grid, u, v, &here)) {
            size_t pixel = here.row * f->grid.nx + here.column;
            add_near(&at, f, &here);
            add_taylor(&at, f->c + pixel * COEFFICIENTS, here.x, here.y);
            at.kappa = M_PI * f->kappa[pixel];
        } else {
            double dx = u - ((double)f->grid.nx - 1) / 2, dy = v - ((double)f->grid.ny - 1) / 2;
            if (dx * dx + dy * dy >= 4 * f->radius * f->radius) add_moments(&at, f, dx, dy);
            else at = sum_at(&f->grid, f->kappa, u, v);
        }
        put(to, p, &at, f->grid.pixel, f->mass);
    }
}

/* ---- its adjoint ------------------------------------------------------------------------------------------------- */

/* dL by the maps of one position, in the units of a place. */
static place slope_of(const lm_mass_maps *by, size_t i, double pixel)
{
    place s = {0};
    if (by->psi) s.psi = pixel * pixel / M_PI * by->psi[i];
    if (by->alpha_x) s.ax = pixel / M_PI * by->alpha_x[i];
    if (by->alpha_y) s.ay = pixel / M_PI * by->alpha_y[i];
    if (by->kappa) s.kappa = by->kappa[i];
    if (by->gamma1) s.g1 = by->gamma1[i] / M_PI;
    if (by->gamma2) s.g2 = by->gamma2[i] / M_PI;
    return s;
}

/* All but kappa. */
static double product(const place *a, const place *b)
{
    return a->psi * b->psi + a->ax * b->ax + a->ay * b->ay + a->g1 * b->g1 + a->g2 * b->g2;
}

static void near_adjoint(const lm_kappa_grid *grid, const cell *at, const place *slope, double *ret)
{
    window w = {{0}};
    size_t pixel;
    for (size_t b = 0; b <= SIDE; b++)
        for (size_t a = 0; a <= SIDE; a++) {
            place corner = {0};
            add_near_corner(&corner, 1, at, a, b);
            double value = product(slope, &corner);
            w[b + 1][a + 1] += value, w[b + 1][a] -= value, w[b][a + 1] -= value, w[b][a] += value;
        }
    for (size_t b = 0; b < SIDE; b++)
        for (size_t a = 0; a < SIDE; a++)
            if (near_pixel(grid, at, a, b, &pixel)) ret[pixel] += w[b + 1][a + 1];
}

/* L = Re sum_k c_k h_k with h_k = s_psi z^k + (s_x + i s_y) k z^(k-1) + (s_1 + i s_2) k (k-1) z^(k-2): adds Re h_k and
 * -Im h_k, the derivatives by Re c_k and Im c_k. by: [COEFFICIENTS] images, `apart` numbers from one to the next */
static void taylor_adjoint(const cell *at, const place *slope, double *by, size_t apart)
{
    double z[2] = {1, 0}, z1[2] = {0, 0}, z2[2] = {0, 0}; /* z^k and, for the derivatives, z^(k-1), z^(k-2) */
    for (size_t k = 0; k <= ORDER; k++) {
        double first = (double)k, second = first * (first - 1);
        double re = slope->psi * z[0] + first * (slope->ax * z1[0] - slope->ay * z1[1]) +
                    second * (slope->g1 * z2[0] - slope->g2 * z2[1]);
        double im = slope->psi * z[1] + first * (slope->ax * z1[1] + slope->ay * z1[0]) +
                    second * (slope->g1 * z2[1] + slope->g2 * z2[0]);
        by[(taylor(k, 0) - TAYLOR) * apart] += re;
        if (k) by[(taylor(k, 1) - TAYLOR) * apart] -= im;
        z2[0] = z1[0], z2[1] = z1[1];
        z1[0] = z[0], z1[1] = z[1];
        z[0] = z1[0] * at->x - z1[1] * at->y, z[1] = z1[0] * at->y + z1[1] * at->x;
    }
}

static void sum_adjoint(const lm_kappa_grid *grid, double u, double v, const place *slope, double *ret)
{
    for (size_t j = 0; j < grid->ny; j++)
        for (size_t i = 0; i < grid->nx; i++) {
            place one = {0};
            add_pixel(&one, 1, u - (double)i, v - (double)j);
            ret[j * grid->nx + i] += product(slope, &one);
        }
}

lm_status lm_kappa_field_adjoint(const lm_kappa_kernel *kernel, size_t n, const double *x, const double *y,
                                 const lm_mass_maps *by, double *ret, lm_error *err)
{
    if (kernel->n < KERNELS) return fail_anywhere(err);
    const lm_kappa_grid *grid = &kernel->grid;
    const double *const all[] = {by->psi, by->alpha_x, by->alpha_y, by->kappa, by->gamma1, by->gamma2};
    for (size_t m = 0; m < sizeof all / sizeof *all; m++)
        for (size_t i = 0; all[m] && i < n; i++)
            if (!(isfinite(all[m][i]) && isfinite(x[i]) && isfinite(y[i])))
                return LM_FAIL(err, LM_EINPUT, "derivative by a map is %g at position %zu, (%g, %g)", all[m][i], i,
                               x[i], y[i]);
    size_t pixels = grid->ny * grid->nx;
    LM_OWN(lm_memory) memory = lm_alloc(pixels, COEFFICIENTS * sizeof(double));
    double *c = memory, constant = 0;
    desk d;
    if (!c) return LM_NOMEM(err);
    LM_TRY(desk_init(kernel, &d, err));
    for (size_t p = 0; p < n; p++) {
        place slope = slope_of(by, p, grid->pixel);
        double u = in_pixels(x[p], grid->x, grid->pixel, grid->nx);
        double v = in_pixels(y[p], grid->y, grid->pixel, grid->ny);
        constant += slope.psi * log(grid->pixel);
        cell here;
        if (cell_of(grid, u, v, &here)) {
            size_t pixel = here.row * grid->nx + here.column;
            near_adjoint(grid, &here, &slope, ret);
            taylor_adjoint(&here, &slope, c + pixel, pixels);
            ret[pixel] += slope.kappa;
        } else sum_adjoint(grid, u, v, &slope, ret);
    }
    for (size_t i = 0; i < COEFFICIENTS; i++) {
        forward(kernel, c + i * pixels, &d);
        multiply(kernel, TAYLOR + i, true, i > 0, &d);
    }
    back(kernel, &d, ret, 1);
    for (size_t i = 0; i < pixels; i++) ret[i] += constant;
    desk_done(&d);
    return LM_OK;
}
