/* Light profiles against images of caustics and lenstronomy, closed forms, quadrature, and finite differences. */
#include "tests/test.h"

#include "operators/core/lensing/light.h"
#include "runtime/alloc.h"
#include "runtime/random.h"

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_sf_gamma.h>
#include <gsl/gsl_sf_hermite.h>

static lm_light light_of(const char *kind)
{
    CHECK(lm_light_kind_of(kind));
    return lm_light_of(lm_light_kind_of(kind));
}

static size_t index_of(const lm_light *light, const char *name)
{
    int index = lm_light_param_of(light->kind, name);
    if (index < 0) FAIL("no parameter \"%s\" of \"%s\"", name, light->kind->name);
    return (size_t)index;
}

static void set(lm_light *light, const char *name, double value)
{
    light->param[index_of(light, name)] = value;
}

static void choose(lm_light *light, const char *name, const char *word)
{
    int option = lm_light_option_of(light->kind, name);
    CHECK(option >= 0);
    int index = lm_light_word_of(&light->kind->options[option], word);
    CHECK(index >= 0);
    light->option[option] = index;
}

static void check(const lm_light *light)
{
    lm_error err = {0};
    OK(lm_light_check(light, &err), &err);
}

static double at(const lm_light *light, double x, double y)
{
    double ret = 0;
    lm_light_add(light, 1, &x, &y, &ret);
    return ret;
}

static lm_light sersic_of(double n, double q)
{
    lm_light light = light_of("sersic");
    set(&light, "I_e", 1.7);
    set(&light, "R_e", 0.4);
    set(&light, "n", n);
    set(&light, "q", q);
    check(&light);
    return light;
}

enum { N_MAX = 7, COEFFICIENTS = (N_MAX + 1) * (N_MAX + 2) / 2, NX = 7, NY = 5 };

/* One light of each kind and choice of options, off centre and turned, with arrays of random numbers. */
enum { LIGHTS = 10 };
static void lights_init(lm_light lights[LIGHTS])
{
    static double coefficients[COEFFICIENTS], image[NY * NX];
    lm_digest key = lm_digest_of("light", 5);
    lm_random random = lm_random_stream(&key, 0);
    for (size_t i = 0; i < COEFFICIENTS; i++) coefficients[i] = lm_random_normal(&random);
    for (size_t i = 0; i < NY * NX; i++) image[i] = 1 + lm_random_normal(&random);
    static const double indices[] = {0.3, 1, 2.5, 4, 8};
    for (size_t i = 0; i < 5; i++) {
        lights[i] = sersic_of(indices[i], 0.6);
        if (i & 1) choose(&lights[i], "radius", "major");
        if (i & 2) choose(&lights[i], "b_n", "linear");
    }
    lights[5] = light_of("gaussian");
    set(&lights[5], "flux", 2.3);
    set(&lights[5], "sigma", 0.35);
    set(&lights[5], "q", 0.55);
    for (size_t i = 6; i < 8; i++) {
        lights[i] = light_of("shapelets");
        set(&lights[i], "n_max", N_MAX);
        set(&lights[i], "beta", 0.3);
        choose(&lights[i], "norm", i == 6 ? "orthonormal" : "bare");
        lights[i].array = coefficients;
        lights[i].h = 1;
        lights[i].w = COEFFICIENTS;
    }
    for (size_t i = 8; i < 10; i++) {
        lights[i] = light_of("pixels");
        set(&lights[i], "amp", 1.4);
        set(&lights[i], "scale", 0.21);
        choose(&lights[i], "interpolation", i == 8 ? "bilinear" : "bicubic");
        lights[i].array = image;
        lights[i].h = NY;
        lights[i].w = NX;
    }
    for (size_t i = 0; i < LIGHTS; i++) {
        set(&lights[i], "x", 0.13);
        set(&lights[i], "y", -0.07);
        set(&lights[i], "phi", 0.8);
        check(&lights[i]);
    }
}

TEST(tables_are_complete)
{
    size_t kinds = 0;
    for (; lm_light_kinds[kinds]; kinds++) {
        const lm_light_kind_info *kind = lm_light_kinds[kinds];
        CHECK(lm_light_kind_of(kind->name) == kind);
        CHECK(kind->doc[0] && kind->value && kind->slope && kind->by && kind->flux);
        CHECK(kind->n_params >= 3 && kind->n_params <= LM_LIGHT_PARAMS && kind->n_options <= LM_LIGHT_OPTIONS);
        static const char *const last[] = {"phi", "x", "y"};
        for (unsigned i = 0; i < 3; i++) EQUAL_TEXT(kind->params[kind->n_params - 3 + i].name, last[i]);
        for (unsigned i = 0; i < kind->n_params; i++) {
            const lm_light_param *p = &kind->params[i];
            EQUAL_INT(lm_light_param_of(kind, p->name), i);
            CHECK(p->doc[0] && p->unit && p->min < p->max);
            CHECK(isnan(p->otherwise) || (p->otherwise >= p->min && p->otherwise <= p->max));
        }
        for (unsigned i = 0; i < kind->n_options; i++) {
            EQUAL_INT(lm_light_option_of(kind, kind->options[i].name), i);
            CHECK(kind->options[i].doc[0] && kind->options[i].words[0] && kind->options[i].words[1]);
        }
    }
    EQUAL_INT(kinds, 4);
    CHECK(!lm_light_kind_of("disc"));
    CHECK(lm_light_param_of(lm_light_kind_of("sersic"), "radius") == -1); /* an option, no parameter */
    CHECK(lm_light_option_of(lm_light_kind_of("gaussian"), "b_n") == -1);
    CHECK(lm_light_word_of(&lm_light_kind_of("sersic")->options[0], "exact") == -1);
}

static void refuses(const lm_light *light, const char *reason)
{
    lm_error err = {0};
    EQUAL_INT(lm_light_check(light, &err), LM_EINPUT);
    CONTAINS(err.text, reason);
}

TEST(check_says_what_is_wrong)
{
    lm_light lights[LIGHTS];
    lights_init(lights);
    lm_light light = light_of("sersic");
    refuses(&light, "needs \"I_e\"");
    light = lights[1];
    set(&light, "n", NAN);
    refuses(&light, "needs \"n\"");
    set(&light, "n", 0.1);
    refuses(&light, "\"n\" of light \"sersic\" is 0.1, and must be from 0.2 to 50");
    light = lights[1];
    set(&light, "q", 1.2);
    refuses(&light, "\"q\"");
    light = lights[5];
    set(&light, "flux", INFINITY);
    refuses(&light, "\"flux\"");
    light = lights[1];
    light.option[1] = 2;
    refuses(&light, "\"radius\"");
    light = lights[6];
    light.array = NULL;
    refuses(&light, "needs \"coefficients\"");
    light = lights[6];
    light.w--;
    refuses(&light, "\"n_max\" 7 needs 36 coefficients, and has 35");
    set(&light, "n_max", 6.5);
    refuses(&light, "whole number");
    light = lights[8];
    light.w = (size_t)1 << 31;
    refuses(&light, "too large");
    double image[] = {1, 2, INFINITY, 4};
    light.array = image;
    light.h = light.w = 2;
    refuses(&light, "row 1, column 0");
}

/* b against the median of the gamma distribution. The bounds are what the header says of each form. */
TEST(sersic_b_holds_half_of_the_light)
{
    for (double n = 0.36; n < 20; n *= 1.01) {
        double exact = gsl_cdf_gamma_Pinv(0.5, 2 * n, 1);
        NEAR(gsl_sf_gamma_inc_P(2 * n, exact), 0.5, ABS(1e-12)); /* the judge itself */
        double series = n < 1   ? 6e-4
                        : n < 4 ? 2.6e-5
                                : 7.2e-8,
               linear = n < 0.5   ? 0.08
                        : n < 1   ? 0.03
                        : n < 1.5 ? 4e-3
                                  : 9e-4;
        NEAR(lm_sersic_b(n, LM_SERSIC_SERIES), exact, REL(series));
        NEAR(lm_sersic_b(n, LM_SERSIC_LINEAR), exact, REL(linear));
    }
    NEAR(lm_sersic_b(0.3, LM_SERSIC_SERIES), gsl_cdf_gamma_Pinv(0.5, 0.6, 1), REL(2.2e-3));
    CHECK(lm_sersic_b(0.2, LM_SERSIC_SERIES) > 0 && lm_sersic_b(0.2, LM_SERSIC_LINEAR) > 0); /* the least n */
    NEAR(lm_sersic_b(4, LM_SERSIC_LINEAR), 7.6697, REL(1e-15));
}

/* Radii on the intermediate axis: the ellipse R = R_e has the area pi R_e^2, and passes where it should on both axes.
 * */
TEST(sersic_radii)
{
    lm_light light = sersic_of(3, 0.5);
    set(&light, "phi", M_PI / 2); /* the major axis is y */
    double root = sqrt(0.5);
    NEAR(at(&light, 0, 0.4 / root), 1.7, REL(1e-14)); /* R/R_e = 1 within an ulp, times b/n = 2 */
    NEAR(at(&light, 0.4 * root, 0), 1.7, REL(1e-14));
    choose(&light, "radius", "major");
    NEAR(at(&light, 0, 0.4), 1.7, REL(1e-14));
    NEAR(at(&light, 0.2, 0), 1.7, REL(1e-14));
    set(&light, "R_min", 0.1);
    double on = at(&light, 0.06, 0.1);
    NEAR(at(&light, 0, 0), at(&light, 0, 0.1 / root), REL(1e-14)); /* flat out to R = 0.1 */
    CHECK(on < at(&light, 0, 0) && at(&light, 0.03, -0.02) == at(&light, 0, 0));
}

/* Flux within the profile's own ellipses, R = exp(s): the integral of I 2 pi R^2 ds by the trapezoidal rule, which
 * converges geometrically for a function that dies away at both ends. The sum over angles checks the turn and the axis
 * ratio. */
static double flux_by_rings(const lm_light *light, double q, double phi, double n)
{
    double b = lm_sersic_b(n, LM_SERSIC_SERIES), end = n * log(800 / b), sum = 0;
    enum { STEPS = 6000, ANGLES = 7 };
    double begin = -25, step = (end - begin) / STEPS; /* exp(-50) of the light is within */
    for (size_t i = 0; i <= STEPS; i++) {
        double R = 0.4 * exp(begin + step * (double)i), I = 0;
        for (size_t a = 0; a < ANGLES; a++) {
            double u = R / sqrt(q) * cos((double)a), v = R * sqrt(q) * sin((double)a);
            I += at(light, u * cos(phi) - v * sin(phi), u * sin(phi) + v * cos(phi)) / ANGLES;
        }
        sum += I * 2 * M_PI * R * R * step;
    }
    return sum;
}

TEST(sersic_flux_meets_quadrature)
{
    for (double n = 0.3; n < 8.5; n += 0.7) {
        lm_light light = sersic_of(n, 0.45);
        set(&light, "phi", 1.1);
        NEAR(lm_light_flux(&light), flux_by_rings(&light, 0.45, 1.1, n), REL(1e-12)); /* 6000 terms, exp(16) */
        choose(&light, "radius", "major");
        NEAR(lm_light_flux(&light), flux_by_rings(&light, 0.45, 1.1, n), REL(1e-12));
    }
}

/* A fine grid sums smooth light to rounding (Gaussian, shapelets), and pixels to the order of their kinks. */
TEST(flux_of_the_others_meets_a_sum)
{
    lm_light lights[LIGHTS];
    lights_init(lights);
    for (size_t i = 5; i < LIGHTS; i++) {
        enum { N = 1000 };
        double sum = 0, step = 0.006, x[N], y[N], row[N];
        for (size_t j = 0; j < N; j++) {
            for (size_t k = 0; k < N; k++) {
                x[k] = ((double)k - N / 2.0) * step;
                y[k] = ((double)j - N / 2.0) * step;
                row[k] = 0;
            }
            lm_light_add(&lights[i], N, x, y, row);
            for (size_t k = 0; k < N; k++) sum += row[k] * step * step;
        }
        NEAR(lm_light_flux(&lights[i]), sum,
             REL(i < 8 ? 1e-12 : 1e-4)); /* kinks: (step/scale)^2 = 8e-4, of either sign */
    }
}

/* phi_n of GSL, and the functions' order and norm. */
TEST(shapelets_meet_gsl)
{
    enum { MOST = LM_SHAPELETS_MOST, ALL = (MOST + 1) * (MOST + 2) / 2 };
    static double one[ALL];
    lm_light light = light_of("shapelets");
    set(&light, "n_max", MOST);
    set(&light, "beta", 0.25);
    light.array = one;
    light.h = 1;
    light.w = ALL;
    size_t element = 0;
    for (size_t order = 0; order <= MOST; order++)
        for (size_t n2 = 0; n2 <= order; n2++, element++) {
            if (order > 6 && element % 97) continue;
            one[element] = 1;
            for (double x = -4; x < 4.5; x += 1.31) { /* u to 16: beyond sqrt(2 * 100 + 1) too */
                double y = 0.3 - 0.8 * x;
                double want = gsl_sf_hermite_func((int)(order - n2), x / 0.25) * gsl_sf_hermite_func((int)n2, y / 0.25);
                double by, scale = 1e-14; /* steps of the recurrence, a tenth of an ulp each, of values up to 0.6 */
                choose(&light, "norm", "bare");
                NEAR(at(&light, x, y), want, ABS(scale));
                lm_light_by(&light, light.kind->n_params + element, 1, &x, &y, &by);
                NEAR(by, want, ABS(scale));
                choose(&light, "norm", "orthonormal");
                NEAR(at(&light, x, y), want / 0.25, ABS(4 * scale));
                lm_light_by(&light, light.kind->n_params + element, 1, &x, &y, &by);
                NEAR(by, want / 0.25, ABS(4 * scale));
            }
            one[element] = 0;
        }
    EQUAL_INT(element, ALL);
    check(&light);
}

/* The trapezoidal rule is exact to rounding for Hermite functions once the step is below pi / sqrt(2n). */
TEST(shapelets_are_orthonormal)
{
    enum { MOST = 9, ALL = (MOST + 1) * (MOST + 2) / 2, SIDE = 80, POINTS = SIDE * SIDE };
    static double coefficients[ALL], basis[ALL][POINTS], x[POINTS], y[POINTS];
    lm_light light = light_of("shapelets");
    set(&light, "n_max", MOST);
    set(&light, "beta", 0.25);
    set(&light, "phi", 0.4);
    light.array = coefficients;
    light.h = 1;
    light.w = ALL;
    double step = 0.25 * 0.3; /* u to 12 */
    for (size_t i = 0; i < POINTS; i++) {
        x[i] = ((double)(i % SIDE) - SIDE / 2) * step;
        y[i] = ((double)(i / SIDE) - SIDE / 2) * step;
    }
    for (size_t e = 0; e < ALL; e++) lm_light_by(&light, light.kind->n_params + e, POINTS, x, y, basis[e]);
    for (size_t e = 0; e < ALL; e++)
        for (size_t f = 0; f <= e; f++) {
            double sum = 0;
            for (size_t i = 0; i < POINTS; i++) sum += basis[e][i] * basis[f][i] * step * step;
            NEAR(sum, e == f, ABS(1e-13)); /* 6400 terms of up to 0.02 */
        }
}

TEST(high_shapelets_are_of_unit_norm)
{
    enum { MOST = LM_SHAPELETS_MOST, ALL = (MOST + 1) * (MOST + 2) / 2 };
    static double coefficients[ALL];
    coefficients[ALL - 1 - MOST / 2] = 0.6; /* (50, 50) and (100, 0) */
    coefficients[ALL - 1 - MOST] = 0.8;
    lm_light light = light_of("shapelets");
    set(&light, "n_max", MOST);
    set(&light, "beta", 1);
    light.array = coefficients;
    light.h = 1;
    light.w = ALL;
    check(&light);
    enum { SIDE = 320 }; /* u to 24 by 0.15, well below pi / sqrt(200) = 0.22 */
    double sum = 0;
    for (size_t j = 0; j < SIDE; j++) {
        double x[SIDE], y[SIDE], row[SIDE] = {0};
        for (size_t i = 0; i < SIDE; i++) {
            x[i] = ((double)i - SIDE / 2) * 0.15;
            y[i] = ((double)j - SIDE / 2) * 0.15;
        }
        lm_light_add(&light, SIDE, x, y, row);
        for (size_t i = 0; i < SIDE; i++) sum += row[i] * row[i] * 0.15 * 0.15;
    }
    NEAR(sum, 1, ABS(1e-12)); /* the recurrence, 100 steps of an ulp */
}

/* 100 positions within 0.7 arcsec; for pixels, none within a tenth of a pixel of a line of centres, where bilinear
 * kinks. */
enum { PLACES = 100 };
static void places_init(const lm_light *light, double x[PLACES], double y[PLACES])
{
    lm_digest key = lm_digest_of("places", 6);
    lm_random random = lm_random_stream(&key, 0);
    bool pixels = strcmp(light->kind->name, "pixels") == 0;
    for (size_t i = 0; i < PLACES;) {
        double u = 1.4 * (lm_random_uniform(&random) - 0.5), v = 1.4 * (lm_random_uniform(&random) - 0.5);
        double a = u / 0.21 - floor(u / 0.21), b = v / 0.21 - floor(v / 0.21);
        if (pixels && !(a > 0.1 && a < 0.9 && b > 0.1 && b < 0.9)) continue;
        if (hypot(u, v) < 0.05) continue; /* off a Sersic profile's cusp */
        x[i] = 0.13 + cos(0.8) * u - sin(0.8) * v;
        y[i] = -0.07 + sin(0.8) * u + cos(0.8) * v;
        i++;
    }
}

/* f'(0) from f at -2h, -h, h, 2h: (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h, off by h^4 f'''''/30 */
static const double stencil[] = {-2, -1, 1, 2}, weights[] = {1, -8, 8, -1};

/* Every derivative within 1e-6 of the difference's own size, and 1e-10 of the largest one where it passes through 0. */
static void compare(const lm_light *light, const char *what, const double *got, const double *want)
{
    double largest = 0;
    for (size_t i = 0; i < PLACES; i++) largest = fmax(largest, fabs(want[i]));
    CHECK(largest > 0);
    for (size_t i = 0; i < PLACES; i++)
        if (!(fabs(got[i] - want[i]) <= 1e-6 * fabs(want[i]) + 1e-10 * largest))
            FAIL("%s by %s: %.17g, not %.17g (largest %g)", light->kind->name, what, got[i], want[i], largest);
}

TEST(gradients_meet_differences)
{
    lm_light lights[LIGHTS];
    lights_init(lights);
    for (size_t i = 0; i < LIGHTS; i++) {
        double x[PLACES], y[PLACES], by_x[PLACES], by_y[PLACES], want_x[PLACES] = {0}, want_y[PLACES] = {0};
        places_init(&lights[i], x, y);
        lm_light_gradient(&lights[i], PLACES, x, y, by_x, by_y);
        for (size_t s = 0; s < 4; s++) {
            double h = 3e-4; /* (h/R)^4 = 1e-9 at R = 0.05 */
            for (size_t k = 0; k < PLACES; k++) {
                want_x[k] += weights[s] * at(&lights[i], x[k] + h * stencil[s], y[k]) / (12 * h);
                want_y[k] += weights[s] * at(&lights[i], x[k], y[k] + h * stencil[s]) / (12 * h);
            }
        }
        compare(&lights[i], "position x", by_x, want_x);
        compare(&lights[i], "position y", by_y, want_y);
    }
}

static void check_parameter(const lm_light *light, size_t index, double h)
{
    double x[PLACES], y[PLACES], got[PLACES], want[PLACES] = {0};
    places_init(light, x, y);
    lm_light_by(light, index, PLACES, x, y, got);
    for (size_t s = 0; s < 4; s++) {
        double there[PLACES] = {0};
        lm_light moved = *light;
        moved.param[index] += h * stencil[s];
        lm_light_add(&moved, PLACES, x, y, there);
        for (size_t k = 0; k < PLACES; k++) want[k] += weights[s] * there[k] / (12 * h);
    }
    compare(light, light->kind->params[index].name, got, want);
}

TEST(parameter_derivatives_meet_differences)
{
    lm_light lights[LIGHTS];
    lights_init(lights);
    for (size_t i = 0; i < LIGHTS; i++)
        for (size_t p = 0; p < lights[i].kind->n_params; p++) {
            const char *name = lights[i].kind->params[p].name;
            if (strcmp(name, "n_max") == 0 || strcmp(name, "R_min") == 0) continue;
            check_parameter(&lights[i], p, 3e-4);
        }
    for (size_t i = 0; i < 5; i++) { /* some places within, some outside; those on the rim are 0.001 off it */
        set(&lights[i], "R_min", 0.21);
        for (size_t p = 0; p < lights[i].kind->n_params; p++) check_parameter(&lights[i], p, 1e-4);
    }
    double x = 0.2, y = 0.1, by = 1;
    lm_light_by(&lights[6], index_of(&lights[6], "n_max"), 1, &x, &y, &by);
    CHECK(by == 0);
}

/* Brightness is linear in amplitudes and arrays: it is the sum of elements times their derivatives, to rounding. */
TEST(elements_sum_to_the_light)
{
    lm_light lights[LIGHTS];
    lights_init(lights);
    for (size_t i = 6; i < LIGHTS; i++) {
        double x[PLACES], y[PLACES], sum[PLACES] = {0}, whole[PLACES] = {0}, one[PLACES];
        places_init(&lights[i], x, y);
        lm_light_add(&lights[i], PLACES, x, y, whole);
        for (size_t e = 0; e < lights[i].w * lights[i].h; e++) {
            lm_light_by(&lights[i], lights[i].kind->n_params + e, PLACES, x, y, one);
            for (size_t k = 0; k < PLACES; k++) sum[k] += lights[i].array[e] * one[k];
        }
        NEAR_ARRAY(sum, whole, PLACES, REL(1e-14)); /* 36 terms */
    }
}

/* An image of 9 x 9 pixels that samples a polynomial, met where no pixel outside takes part. */
static void check_polynomial(const char *interpolation, double xx, double xy)
{
    enum { SIDE = 9 };
    double image[SIDE * SIDE], scale = 0.5;
    for (int j = 0; j < SIDE; j++)
        for (int i = 0; i < SIDE; i++) {
            double x = (i - 4) * scale, y = (j - 4) * scale;
            image[j * SIDE + i] = 1 + 0.5 * x - 0.7 * y + xy * x * y + xx * (x * x - 2 * y * y);
        }
    lm_light light = light_of("pixels");
    choose(&light, "interpolation", interpolation);
    set(&light, "scale", scale);
    light.array = image;
    light.h = light.w = SIDE;
    check(&light);
    for (double x = -1.5; x <= 1.5; x += 0.125) /* the lines of centres too */
        for (double y = -1.5; y <= 1.5; y += 0.07) {
            double by_x, by_y;
            NEAR(at(&light, x, y), 1 + 0.5 * x - 0.7 * y + xy * x * y + xx * (x * x - 2 * y * y), ABS(1e-14));
            lm_light_gradient(&light, 1, &x, &y, &by_x, &by_y);
            NEAR(by_x, 0.5 + xy * y + 2 * xx * x, ABS(5e-14)); /* differences of values to 8, over the scale */
            NEAR(by_y, -0.7 + xy * x - 4 * xx * y, ABS(5e-14));
        }
}

TEST(pixels_are_exact_for_polynomials)
{
    check_polynomial("bilinear", 0, 0.3);
    check_polynomial("bicubic", 0.4, 0.3);
}

TEST(pixels_pass_through_the_image)
{
    lm_light lights[LIGHTS];
    lights_init(lights);
    for (size_t l = 8; l < LIGHTS; l++) {
        set(&lights[l], "phi", 0);
        double reach = l == 8 ? 1 : 2, eps = 1e-9;
        for (int j = 0; j < NY; j++)
            for (int i = 0; i < NX; i++) { /* row 0 is the lowest, column 0 the leftmost */
                double x = 0.13 + (i - 3) * 0.21, y = -0.07 + (j - 2) * 0.21;
                NEAR(at(&lights[l], x, y), 1.4 * lights[l].array[j * NX + i],
                     ABS(2e-14)); /* x is off by an ulp or two */
            }
        for (double t = -1; t < 1; t += 0.1) { /* nothing from `reach` pixels beyond the outermost centres on */
            CHECK(at(&lights[l], 0.13 + (3 + reach + eps) * 0.21, t) == 0);
            CHECK(at(&lights[l], 0.13 - (3 + reach + eps) * 0.21, t) == 0);
            CHECK(at(&lights[l], t, -0.07 + (2 + reach + eps) * 0.21) == 0);
            CHECK(at(&lights[l], t, -0.07 - (2 + reach + eps) * 0.21) == 0);
        }
        CHECK(at(&lights[l], 0.13 + (3 + reach - 0.5) * 0.21, -0.07) != 0);
    }
}

/* Across a line of centres, bicubic has one slope and bilinear two; also where the image ends. */
TEST(bicubic_is_smooth)
{
    lm_light lights[LIGHTS];
    lights_init(lights);
    for (size_t l = 8; l < LIGHTS; l++) {
        set(&lights[l], "phi", 0);
        double most = 0;
        for (int i = -2; i < NX + 2; i++) {
            double middle = 0.13 + (i - 3) * 0.21;
            double x[] = {middle - 1e-11, middle + 1e-11}, y[] = {0.02, 0.02}, by_x[2], by_y[2];
            lm_light_gradient(&lights[l], 2, x, y, by_x, by_y);
            CHECK(isfinite(by_x[0]) && isfinite(by_x[1]));
            most = fmax(most, fabs(by_x[1] - by_x[0]));
            NEAR(by_y[1], by_y[0], ABS(1e-7));
        }
        if (l == 9) NEAR(most, 0, ABS(1e-7)); /* second derivatives to 1e3, times 2e-11 */
        else CHECK(most > 1);
    }
}

TEST(all_is_finite)
{
    static const double indices[] = {0.2, 0.3, 0.5, 1, 2.7, 4, 8, 50}, ratios[] = {0.01, 0.05, 0.5, 1 - 1e-9, 1};
    static const double far[] = {0, 1e-320, 1e-200, 1e-12, 1e-4, 1, 30, 1e5, 1e30, 1e100, 1e200, 1e300};
    enum { FAR = sizeof far / sizeof *far };
    lm_light cases[8 * 5 * 4 + LIGHTS];
    size_t n = 0;
    for (size_t i = 0; i < 8 * 5 * 4; i++) {
        cases[n] = sersic_of(indices[i / 20], ratios[i / 4 % 5]);
        if (i & 1) set(&cases[n], "R_min", 1e-4);
        if (i & 2) choose(&cases[n], "radius", "major");
        if (i & 2) choose(&cases[n], "b_n", "linear");
        set(&cases[n], "phi", i % 3 ? 0.7 : 0);
        CHECK(isfinite(lm_light_flux(&cases[n])) && lm_light_flux(&cases[n]) > 0);
        check(&cases[n++]);
    }
    lights_init(cases + n);
    n += LIGHTS;
    for (size_t c = 0; c < n; c++) {
        double x[2 * FAR], y[2 * FAR], value[2 * FAR] = {0}, by_x[2 * FAR], by_y[2 * FAR];
        for (size_t i = 0; i < 2 * FAR; i++) {
            x[i] = i < FAR ? far[i] : -far[i - FAR];
            y[i] = i < FAR ? -0.7 * far[i] : 0;
        }
        lm_light_add(&cases[c], 2 * FAR, x, y, value);
        lm_light_gradient(&cases[c], 2 * FAR, x, y, by_x, by_y);
        for (size_t i = 0; i < 2 * FAR; i++)
            if (!isfinite(value[i]) || !isfinite(by_x[i]) || !isfinite(by_y[i]))
                FAIL("%s %zu at (%g, %g): %g, (%g, %g)", cases[c].kind->name, c, x[i], y[i], value[i], by_x[i],
                     by_y[i]);
        CHECK(c >= 160 || value[0] > 1.7); /* brighter than at R_e */
        CHECK(c / 20 == 7 || value[FAR - 1] == 0);
        CHECK(c >= 160 || (by_x[0] == 0 && by_y[0] == 0));
        for (size_t p = 0; p < cases[c].kind->n_params + (cases[c].array ? 3 : 0); p++) {
            lm_light_by(&cases[c], p, 2 * FAR, x, y, value);
            for (size_t i = 0; i < 2 * FAR; i++)
                if (!isfinite(value[i]))
                    FAIL("%s %zu by %zu at (%g, %g): %g", cases[c].kind->name, c, p, x[i], y[i], value[i]);
        }
    }
}

/* A position that is NaN gives NaN, in each coordinate, everywhere. */
TEST(nan_stays)
{
    lm_light lights[LIGHTS];
    lights_init(lights);
    for (size_t l = 0; l < LIGHTS; l++)
        for (size_t turn = 0; turn < 2; turn++) {
            if (turn) set(&lights[l], "phi", 0);
            double x[] = {NAN, 0.2, NAN}, y[] = {0.1, NAN, NAN}, value[3] = {0}, by_x[3], by_y[3];
            lm_light_add(&lights[l], 3, x, y, value);
            lm_light_gradient(&lights[l], 3, x, y, by_x, by_y);
            for (size_t i = 0; i < 3; i++) CHECK(isnan(value[i]) && isnan(by_x[i]) && isnan(by_y[i]));
            for (size_t p = 0; p < lights[l].kind->n_params + (lights[l].array ? 3 : 0); p++) {
                lm_light_by(&lights[l], p, 3, x, y, value);
                for (size_t i = 0; i < 3; i++) CHECK(isnan(value[i]));
            }
        }
}

/* The same bits however positions are grouped, and lm_light_add adds. */
TEST(grouping_changes_nothing)
{
    lm_light lights[LIGHTS];
    lights_init(lights);
    for (size_t l = 0; l < LIGHTS; l++) {
        double x[PLACES], y[PLACES], value[PLACES] = {0}, by_x[PLACES], by_y[PLACES], by[PLACES];
        places_init(&lights[l], x, y);
        lm_light_add(&lights[l], PLACES, x, y, value);
        lm_light_gradient(&lights[l], PLACES, x, y, by_x, by_y);
        lm_light_by(&lights[l], 1, PLACES, x, y, by);
        for (size_t i = 0; i < PLACES; i++) {
            double one_x, one_y, one;
            CHECK(at(&lights[l], x[i], y[i]) == value[i]);
            lm_light_gradient(&lights[l], 1, x + i, y + i, &one_x, &one_y);
            CHECK(one_x == by_x[i] && one_y == by_y[i]);
            lm_light_by(&lights[l], 1, 1, x + i, y + i, &one);
            CHECK(one == by[i]);
        }
        double twice = 5;
        lm_light_add(&lights[l], 1, x, y, &twice);
        CHECK(twice == 5 + value[0]);
        lm_light_add(&lights[l], 0, x, y, &twice);
    }
}

/* q to 1 and Sersic of n = 1/2 lead to the round Gaussian: exp(-b R^2/R_e^2), sigma^2 = R_e^2 / 2b. */
TEST(sersic_of_a_half_is_gaussian)
{
    lm_light sersic = sersic_of(0.5, 0.7), gaussian = light_of("gaussian");
    set(&gaussian, "flux", lm_light_flux(&sersic));
    set(&gaussian, "sigma", 0.4 / sqrt(2 * lm_sersic_b(0.5, LM_SERSIC_SERIES)));
    set(&gaussian, "q", 0.7);
    check(&gaussian);
    for (double x = -1; x < 1; x += 0.13) NEAR(at(&sersic, x, 0.4 - x), at(&gaussian, x, 0.4 - x), REL(1e-13));
    lm_light round = sersic_of(2, 1), nearly = sersic_of(2, 1 - 1e-9);
    for (double x = 0; x < 1; x += 0.13) {
        NEAR(at(&nearly, x, 0.1), at(&round, x, 0.1), REL(1e-8));  /* dI/dq q is of the size of I */
        NEAR(at(&round, x, 0.1), at(&round, 0.1, -x), REL(1e-14)); /* no axes */
    }
}
