/* Galaxies, lenses, a point spread function, and the noise of an exposure. */
#include "tools/lensmill/demo_sky.h"

#include "operators/core/convolve.h"

#include <math.h>
#include <string.h>

enum { FINE = 4, FRAME = LM_DEMO_SIZE + LM_DEMO_PSF - 1 }; /* places within a pixel, along each axis */

const char *const lm_demo_kind_names[] = {"lens", "spiral", "elliptical", "clumpy", NULL};

static double between(lm_random *random, double low, double high)
{
    return low + (high - low) * lm_random_uniform(random);
}

/* ---- light ---- */

typedef struct {
    double x, y;         /* centre */
    double radius;       /* half-light, along the geometric mean of the axes */
    double q, phi;       /* axis ratio, angle of the long axis */
    double index;        /* Sersic's n */
    double b, at_radius; /* b_n; brightness at the radius */
} sersic;

/* b_n after Ciotti & Bertin 1999, A&A 352, 447. */
static sersic sersic_of(double x, double y, double radius, double q, double phi, double index, double light)
{
    double b = 2 * index - 1.0 / 3 + 4 / (405 * index) + 46 / (25515 * index * index);
    double over = 2 * M_PI * index * radius * radius * exp(b - 2 * index * log(b) + lgamma(2 * index));
    return (sersic){x, y, radius, q, phi, index, b, light / over};
}

/* Surface brightness (Sersic 1963). r2: elliptical radius squared */
static double sersic_profile(const sersic *s, double r2)
{
    return s->at_radius * exp(-s->b * (pow(r2 / (s->radius * s->radius), 0.5 / s->index) - 1));
}

/* Coordinates in the object's own frame: u along its long axis. */
static void own_frame(double x, double y, double phi, double *u, double *v)
{
    *u = cos(phi) * x + sin(phi) * y;
    *v = -sin(phi) * x + cos(phi) * y;
}

static double sersic_at(const sersic *s, double x, double y)
{
    double u, v;
    own_frame(x - s->x, y - s->y, s->phi, &u, &v);
    return sersic_profile(s, s->q * u * u + v * v / s->q);
}

/* ---- objects ---- */

enum { MOST_PARTS = 16 };

typedef struct {
    lm_demo_kind kind;
    sersic parts[MOST_PARTS];
    size_t n;
    double arm_strength, arm_pitch, arm_phase; /* of a spiral: on part 0 */
    double theta_E, mass_q, mass_phi;          /* of a lens: part 0 is the lens, the others the source */
} object;

/* Deflection of a singular isothermal ellipsoid (Kormann, Schneider & Bartelmann 1994, A&A 284, 285) */
static void deflect(const object *o, double x, double y, double *to_x, double *to_y)
{
    double u, v, q = o->mass_q, f = sqrt(1 - q * q);
    own_frame(x, y, o->mass_phi, &u, &v);
    double psi = sqrt(q * q * u * u + v * v) + 1e-9, scale = o->theta_E * sqrt(q) / f;
    double au = scale * atan(f * u / psi), av = scale * atanh(f * v / psi);
    *to_x = cos(o->mass_phi) * au - sin(o->mass_phi) * av;
    *to_y = sin(o->mass_phi) * au + cos(o->mass_phi) * av;
}

/* Two logarithmic arms: brightness times 1 + strength cos(2 (angle - ln r / tan pitch)) outside of the bulge. */
static double arms(const object *o, double x, double y)
{
    const sersic *disc = &o->parts[0];
    double u, v;
    own_frame(x - disc->x, y - disc->y, disc->phi, &u, &v);
    v /= disc->q;
    double r = sqrt(u * u + v * v) + 1e-9, angle = atan2(v, u);
    double grown = 1 - exp(-(r / (0.5 * disc->radius)) * (r / (0.5 * disc->radius)));
    return 1 + o->arm_strength * grown * cos(2 * (angle - o->arm_phase - log(r) / tan(o->arm_pitch)));
}

static double brightness(const object *o, double x, double y)
{
    double light = 0, sx = x, sy = y;
    if (o->kind == LM_DEMO_LENS) {
        double ax, ay;
        deflect(o, x, y, &ax, &ay);
        sx -= ax, sy -= ay;
    }
    for (size_t i = 0; i < o->n; i++) {
        bool lensed = o->kind == LM_DEMO_LENS && i > 0;
        light += sersic_at(&o->parts[i], lensed ? sx : x, lensed ? sy : y) *
                 (o->kind == LM_DEMO_SPIRAL && i == 0 ? arms(o, x, y) : 1);
    }
    return light;
}

/* Each number is drawn in a statement of its own: C does not say in which order arguments are evaluated. */
static void draw_lens(object *o, lm_random *random)
{
    double phi = between(random, 0, M_PI), mass_q = between(random, 0.6, 0.95), tilt = between(random, -0.2, 0.2);
    double lens_radius = between(random, 7, 11), lens_q = between(random, 0.7, 0.95), index = between(random, 3, 4.5);
    o->theta_E = between(random, 16, 26);
    o->mass_q = mass_q;
    o->mass_phi = phi + tilt;
    double distance = o->theta_E * between(random, 0.02, 0.3), at = between(random, 0, 2 * M_PI);
    double x = distance * cos(at), y = distance * sin(at), radius = between(random, 2, 3.5);
    double q = between(random, 0.5, 0.9), source_phi = between(random, 0, M_PI);
    double knot_x = between(random, -3, 3), knot_y = between(random, -3, 3);
    o->parts[o->n++] = sersic_of(0, 0, lens_radius, lens_q, phi, index, 0.62);
    o->parts[o->n++] = sersic_of(x, y, radius, q, source_phi, 1, 0.035);
    o->parts[o->n++] = sersic_of(x + knot_x, y + knot_y, 0.8, 0.8, 0, 1, 0.006);
}

static void draw_spiral(object *o, lm_random *random)
{
    double phi = between(random, 0, M_PI), q = between(random, 0.45, 0.95);
    double disc = between(random, 13, 19), bulge = between(random, 2, 3.5), side = lm_random_uniform(random);
    o->arm_strength = between(random, 0.6, 0.85);
    o->arm_pitch = between(random, 0.25, 0.45);
    o->arm_phase = between(random, 0, M_PI);
    if (side < 0.5) o->arm_pitch = -o->arm_pitch;
    o->parts[o->n++] = sersic_of(0, 0, disc, q, phi, 1, 0.85);
    o->parts[o->n++] = sersic_of(0, 0, bulge, 0.5 + q / 2, phi, 2.5, 0.15);
}

static void draw_elliptical(object *o, lm_random *random)
{
    double radius = between(random, 6, 11), q = between(random, 0.5, 0.95), phi = between(random, 0, M_PI);
    double index = between(random, 2.5, 4.5), at = between(random, 0, 2 * M_PI), distance = between(random, 14, 30);
    o->parts[o->n++] = sersic_of(0, 0, radius, q, phi, index, 0.85);
    radius = between(random, 1.5, 4), q = between(random, 0.4, 0.9), phi = between(random, 0, M_PI);
    index = between(random, 1, 2);
    o->parts[o->n++] = sersic_of(distance * cos(at), distance * sin(at), radius, q, phi, index, 0.15);
}

static void draw_clumpy(object *o, lm_random *random)
{
    double phi = between(random, 0, M_PI), q = between(random, 0.25, 0.6), radius = between(random, 9, 14);
    size_t clumps = 6 + (size_t)lm_random_below(random, 6);
    o->parts[o->n++] = sersic_of(0, 0, radius, q, phi, 1, 0.6);
    for (size_t i = 0; i < clumps; i++) {
        double u = radius * lm_random_normal(random), v = q * radius * lm_random_normal(random);
        double x = cos(phi) * u - sin(phi) * v, y = sin(phi) * u + cos(phi) * v, size = between(random, 0.7, 1.8);
        o->parts[o->n++] = sersic_of(x, y, size, 0.9, 0, 1, 0.4 / (double)clumps);
    }
}

void lm_demo_object(lm_demo_kind kind, double mag, lm_random *random, size_t n, double *sky)
{
    static void (*const draw[])(object *, lm_random *) = {draw_lens, draw_spiral, draw_elliptical, draw_clumpy};
    object o = {.kind = kind};
    draw[kind](&o, random);
    double dx = between(random, -0.5, 0.5), dy = between(random, -0.5, 0.5), middle = (double)(n - 1) / 2, sum = 0;
    for (size_t y = 0; y < n; y++)
        for (size_t x = 0; x < n; x++) {
            double light = 0;
            for (int i = 0; i < FINE; i++)
                for (int j = 0; j < FINE; j++)
                    light += brightness(&o, (double)x - middle - dx + (j + 0.5) / FINE - 0.5,
                                        (double)y - middle - dy + (i + 0.5) / FINE - 0.5);
            sky[y * n + x] = light;
            sum += light;
        }
    double scale = pow(10, -0.4 * (mag - LM_DEMO_ZERO)) / sum;
    for (size_t i = 0; i < n * n; i++) sky[i] *= scale;
}

/* ---- telescope ---- */

void lm_demo_psf(double stretch, double angle, double *psf)
{
    /* 814 nm, a mirror of 2.4 m whose middle 0.33 is in shadow, pixels of 0.05 arcsec */
    const double per_pixel = M_PI * 2.4 / 814e-9 * (0.05 / 3600) * M_PI / 180, shadow = 0.33;
    double sum = 0;
    for (int y = 0; y < LM_DEMO_PSF; y++)
        for (int x = 0; x < LM_DEMO_PSF; x++) {
            double light = 0;
            for (int i = 0; i < FINE; i++)
                for (int j = 0; j < FINE; j++) {
                    double u, v, half = (LM_DEMO_PSF - 1) / 2.0;
                    own_frame(x - half + (j + 0.5) / FINE - 0.5, y - half + (i + 0.5) / FINE - 0.5, angle, &u, &v);
                    double r = sqrt(u * u / stretch + v * v * stretch), k = r * per_pixel + 1e-9;
                    double field =
                        (2 * j1(k) / k - shadow * shadow * 2 * j1(shadow * k) / (shadow * k)) / (1 - shadow * shadow);
                    light += field * field + 0.004 * pow(1 + r * r / 16, -1.75); /* halo: a Moffat */
                }
            psf[y * LM_DEMO_PSF + x] = light;
            sum += light;
        }
    for (int i = 0; i < LM_DEMO_PSF * LM_DEMO_PSF; i++) psf[i] /= sum;
}

/* Small means: products of uniform numbers (Knuth). Others: transformed rejection (Hoermann 1993, PTRS). */
double lm_demo_poisson(lm_random *random, double mean)
{
    if (mean < 30) {
        double limit = exp(-mean), product = lm_random_uniform(random);
        int k = 0;
        for (; product > limit; k++) product *= lm_random_uniform(random);
        return k;
    }
    double root = sqrt(mean), b = 0.931 + 2.53 * root, a = -0.059 + 0.02483 * b;
    double inverse_alpha = 1.1239 + 1.1328 / (b - 3.4), v_r = 0.9277 - 3.6224 / (b - 2);
    for (;;) {
        double u = lm_random_uniform(random) - 0.5, v = lm_random_uniform(random);
        double us = 0.5 - fabs(u), k = floor((2 * a / us + b) * u + mean + 0.43);
        if (us >= 0.07 && v <= v_r) return k;
        if (k < 0 || (us < 0.013 && v > us)) continue;
        if (log(v) + log(inverse_alpha) - log(a / (us * us) + b) <= k * log(mean) - mean - lgamma(k + 1)) return k;
    }
}

lm_status lm_demo_observe(const double *sky, const double *psf, lm_random *random, float *image, lm_error *err)
{
    lm_psf kernel = {0};
    LM_OWN(lm_convolver) convolver = NULL;
    lm_status status = lm_psf_init(&kernel, psf, LM_DEMO_PSF, LM_DEMO_PSF, LM_PSF_MIDDLE, true, err);
    if (!status) status = lm_convolver_new(&kernel, FRAME, FRAME, LM_EDGE_ZERO, false, &convolver, err);
    lm_psf_done(&kernel);
    if (status) return status;
    double *blurred = lm_alloc((size_t)FRAME * FRAME, sizeof *blurred);
    if (!blurred) return LM_NOMEM(err);
    lm_convolve_f64(convolver, sky, blurred);
    size_t border = (FRAME - LM_DEMO_SIZE) / 2;
    for (size_t y = 0; y < LM_DEMO_SIZE; y++)
        for (size_t x = 0; x < LM_DEMO_SIZE; x++) {
            double rate = fmax(blurred[(y + border) * FRAME + x + border], 0) + LM_DEMO_SKY;
            double electrons = lm_demo_poisson(random, rate * LM_DEMO_EXPOSURE);
            electrons += LM_DEMO_READ * lm_random_normal(random);
            image[y * LM_DEMO_SIZE + x] = (float)(electrons / LM_DEMO_EXPOSURE - LM_DEMO_SKY);
        }
    lm_free(blurred);
    return LM_OK;
}
