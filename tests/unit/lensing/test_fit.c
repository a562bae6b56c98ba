/* The likelihood of parametric lens models: against sums written out, integrals over amplitudes, and differences. */
#include "tests/test.h"

#include "operators/core/lensing/fit.h"
#include "runtime/alloc.h"

#include <math.h>
#include <string.h>

enum { H = 14, W = 11, N = H * W, PH = 5, PW = 3 };

typedef struct {
    double image[N], noise[N];
    unsigned char mask[N];
    lm_psf psf;
    lm_mass masses[2];
    lm_fit_light lights[3];
    lm_fit_scene scene;
    lm_frame frame;
} fixture;

static double wave(size_t i)
{
    return sin(1.7 * (double)i + 0.3 * (double)(i % 7));
}

static fixture *setup(void)
{
    static fixture f;
    f = (fixture){.frame = {.h = H, .w = W, .pixel = 0.3, .x = 0.1, .y = -0.05, .sub = 2}};
    double pixels[PH * PW];
    for (size_t i = 0; i < PH * PW; i++) pixels[i] = 1 + 0.5 * wave(i) + (i == 7) * 4; /* skew */
    lm_error err = {0};
    OK(lm_psf_init(&f.psf, pixels, PH, PW, LM_PSF_MIDDLE, true, &err), &err);
    for (size_t i = 0; i < N; i++) {
        f.image[i] = 2 + wave(i);
        f.noise[i] = 0.5 + 0.1 * wave(3 * i);
        f.mask[i] = i % 13 != 5 && i / W > 1 && i % W < W - 1; /* part of the frame */
    }
    f.image[20] = NAN;
    f.noise[30] = 0;
    f.masses[0] = (lm_mass){LM_MASS_EPL, {1.0, 1.1, 0.7, 0.4, 0.05, -0.03}};
    f.masses[1] = (lm_mass){LM_MASS_SHEAR, {0.05, -0.03, 0, 0}};
    for (int l = 0; l < 3; l++)
        f.lights[l] = (lm_fit_light){.light = lm_light_of(lm_light_kind_of("sersic")), .linear = -1};
    static const double parameters[3][8] = {{3, 0.3, 1.2, 0.8, 0, 0.5, 0.1, 0.12},
                                            {2, 0.6, 2.5, 0.7, 0, 1.1, 0.02, 0.01},
                                            {1, 0.9, 0.9, 0.9, 0, 0.2, -0.2, 0.1}};
    for (int l = 0; l < 3; l++) memcpy(f.lights[l].light.param, parameters[l], sizeof parameters[l]);
    f.lights[0].lensed = true;
    f.scene = (lm_fit_scene){f.masses, 2, f.lights, 3};
    return &f;
}

static lm_fit *fit_of(const fixture *f)
{
    lm_fit *fit = NULL;
    lm_error err = {0};
    OK(lm_fit_new(&(lm_fit_data){f->frame, f->image, f->noise, f->mask, &f->psf}, &fit, &err), &err);
    return fit;
}

static bool used(const fixture *f, size_t p)
{
    return f->mask[p] && isfinite(f->image[p]) && f->noise[p] > 0;
}

/* The scene's blurred image by the renderer, on one pixel grid: sums written out. */
static void model_of(const fixture *f, double *ret)
{
    memset(ret, 0, N * sizeof *ret);
    for (size_t j = 0; j < H; j++)
        for (size_t i = 0; i < W; i++)
            for (size_t a = 0; a < PH; a++)
                for (size_t b = 0; b < PW; b++) {
                    double row = (double)j - ((double)a - 2), column = (double)i - ((double)b - 1), mean = 0;
                    for (int s = 0; s < 4; s++) {
                        double x = f->frame.x + (column - (W - 1) / 2.0 + (s % 2 ? 0.25 : -0.25)) * 0.3;
                        double y = f->frame.y + (row - (H - 1) / 2.0 + (s / 2 ? 0.25 : -0.25)) * 0.3, ax = 0, ay = 0;
                        const lm_mass_maps to = {.alpha_x = &ax, .alpha_y = &ay};
                        for (int m = 0; m < 2; m++) lm_mass_add(&f->masses[m], 1, &x, &y, &to);
                        double bx = x - ax, by = y - ay, sum = 0;
                        for (int l = 0; l < 3; l++)
                            lm_light_add(&f->lights[l].light, 1, f->lights[l].lensed ? &bx : &x,
                                         f->lights[l].lensed ? &by : &y, &sum);
                        mean += sum / 4;
                    }
                    ret[j * W + i] += f->psf.at[a * PW + b] * mean;
                }
}

TEST(a_likelihood_is_the_sum_over_pixels)
{
    fixture *f = setup();
    LM_OWN(lm_fit) fit = fit_of(f);
    double model[N], chi2 = 0, ln_noise = 0;
    size_t n = 0;
    model_of(f, model);
    for (size_t p = 0; p < N; p++)
        if (used(f, p)) {
            chi2 += pow((f->image[p] - model[p]) / f->noise[p], 2);
            ln_noise += log(2 * M_PI * f->noise[p] * f->noise[p]);
            n++;
        }
    lm_fit_result result;
    lm_error err = {0};
    OK(lm_fit_evaluate(fit, &f->scene, &result, NULL, &err), &err);
    EQUAL_INT(lm_fit_pixels(fit), n);
    NEAR(result.chi2, chi2, REL(1e-12));
    NEAR(result.ln_likelihood, -chi2 / 2 - ln_noise / 2, REL(1e-12));
    double columns[3 * N];
    OK(lm_fit_columns(fit, &f->scene, columns, &err), &err);
    for (size_t p = 0; p < N; p++)
        if (used(f, p)) NEAR(columns[p] + columns[N + p] + columns[2 * N + p], model[p], REL(1e-12));
        else NEAR(columns[p], 0, ABS(0));
    lm_psf_done(&f->psf);
}

/* ln of the integral of L over one amplitude, by the trapezoid rule, which is exact for Gaussians to rounding. */
TEST(linear_amplitudes_are_integrated_over)
{
    fixture *f = setup();
    LM_OWN(lm_fit) fit = fit_of(f);
    lm_fit_result result, at;
    lm_error err = {0};
    f->lights[1].linear = 0;
    OK(lm_fit_evaluate(fit, &f->scene, &result, NULL, &err), &err);
    double best = result.amplitude[1];
    f->lights[1].linear = -1;
    f->lights[1].light.param[0] = best;
    OK(lm_fit_evaluate(fit, &f->scene, &at, NULL, &err), &err);
    NEAR(at.chi2, result.chi2, REL(1e-12));
    double peak = at.ln_likelihood, sum = 0, step = 0.002;
    for (int k = -4000; k <= 4000; k++) {
        f->lights[1].light.param[0] = best + k * step;
        OK(lm_fit_evaluate(fit, &f->scene, &at, NULL, &err), &err);
        CHECK(at.ln_likelihood <= peak + 1e-9);
        sum += exp(at.ln_likelihood - peak) * step;
    }
    NEAR(result.ln_likelihood, peak + log(sum), REL(1e-10));
    lm_psf_done(&f->psf);
}

/* Two at once: the amplitudes meet the normal equations: no residual along a column. */
TEST(several_amplitudes_leave_no_residual_along_a_column)
{
    fixture *f = setup();
    LM_OWN(lm_fit) fit = fit_of(f);
    lm_fit_result result;
    lm_error err = {0};
    f->lights[0].linear = f->lights[2].linear = 0;
    OK(lm_fit_evaluate(fit, &f->scene, &result, NULL, &err), &err);
    NEAR(result.amplitude[1], 1, ABS(0));
    double columns[3 * N], along[2] = {0, 0}, norm[2] = {0, 0};
    OK(lm_fit_columns(fit, &f->scene, columns, &err), &err);
    for (size_t p = 0; p < N; p++) {
        if (!used(f, p)) continue;
        double r =
            f->image[p] - columns[N + p] - result.amplitude[0] * columns[p] - result.amplitude[2] * columns[2 * N + p];
        for (size_t l = 0; l < 2; l++) {
            double c = columns[2 * l * N + p] / (f->noise[p] * f->noise[p]);
            along[l] += r * c;
            norm[l] += fabs(f->image[p] * c);
        }
    }
    for (int l = 0; l < 2; l++) CHECK(fabs(along[l]) <= 1e-12 * norm[l]);
    lm_psf_done(&f->psf);
}

static void slopes_agree(fixture *f)
{
    LM_OWN(lm_fit) fit = fit_of(f);
    lm_fit_result result, up, down;
    lm_error err = {0};
    unsigned want_mass[2] = {0x3f, 0x3}, want_light[3] = {0xef, 0xef, 0xef}; /* all but R_min */
    double mass[2][LM_MASS_MOST], light[3][LM_LIGHT_PARAMS];
    const lm_fit_gradient gradient = {want_mass, want_light, mass, light};
    OK(lm_fit_evaluate(fit, &f->scene, &result, &gradient, &err), &err);
    for (size_t c = 0; c < 5; c++)
        for (int k = 0; k < (c < 2 ? LM_MASS_MOST : LM_LIGHT_PARAMS); k++) {
            if (!((c < 2 ? want_mass[c] : want_light[c - 2]) >> k & 1)) continue;
            if (c >= 2 && f->lights[c - 2].linear == k) continue;
            double *p = c < 2 ? &f->masses[c].p[k] : &f->lights[c - 2].light.param[k], was = *p, h = 1e-5;
            *p = was + h;
            OK(lm_fit_evaluate(fit, &f->scene, &up, NULL, &err), &err);
            *p = was - h;
            OK(lm_fit_evaluate(fit, &f->scene, &down, NULL, &err), &err);
            *p = was;
            double slope = (up.ln_likelihood - down.ln_likelihood) / (2 * h),
                   exact = c < 2 ? mass[c][k] : light[c - 2][k];
            CHECK(fabs(exact - slope) <= 1e-6 * (fabs(slope) + 10)); /* the likelihood is of the order of 1000 */
        }
}

TEST(the_gradient_is_that_of_differences)
{
    fixture *f = setup();
    slopes_agree(f);
    f->lights[0].linear = f->lights[1].linear = 0;
    slopes_agree(f);
    f->lights[2].linear = 0;
    slopes_agree(f);
    lm_psf_done(&f->psf);
}

/* F of given amplitudes by differences of images; of linear ones it is the Schur complement of the amplitudes' block. */
TEST(the_fisher_matrix_is_that_of_differences)
{
    fixture *f = setup();
    LM_OWN(lm_fit) fit = fit_of(f);
    lm_error err = {0};
    enum { P = 5 };
    static double up[3 * N], down[3 * N], slope[P][N];
    double *param[P] = {&f->masses[0].p[0], &f->masses[0].p[3], &f->masses[1].p[1], &f->lights[0].light.param[0],
                        &f->lights[0].light.param[1]};
    unsigned want_mass[2] = {0x9, 0x2}, want_light[3] = {0x3, 0, 0};
    double whole[P * P], F[P * P], schur[(P - 1) * (P - 1)];
    for (int i = 0; i < P; i++) {
        double was = *param[i], h = 1e-5;
        *param[i] = was + h;
        OK(lm_fit_columns(fit, &f->scene, up, &err), &err);
        *param[i] = was - h;
        OK(lm_fit_columns(fit, &f->scene, down, &err), &err);
        *param[i] = was;
        for (size_t p = 0; p < N; p++) {
            slope[i][p] = 0;
            for (size_t l = 0; l < 3; l++)
                if (used(f, p)) slope[i][p] += (up[l * N + p] - down[l * N + p]) / (2 * h) / f->noise[p];
        }
    }
    for (int i = 0; i < P; i++)
        for (int j = 0; j < P; j++) {
            whole[i * P + j] = 0;
            for (size_t p = 0; p < N; p++) whole[i * P + j] += slope[i][p] * slope[j][p];
        }
    OK(lm_fit_fisher(fit, &f->scene, want_mass, want_light, P, F, &err), &err);
    for (int i = 0; i < P; i++)
        for (int j = 0; j < P; j++)
            CHECK(fabs(F[i * P + j] - whole[i * P + j]) <= 1e-6 * sqrt(whole[i * P + i] * whole[j * P + j]));
    /* I_e of the source linear, at the value that it is found to have: */
    lm_fit_result result;
    f->lights[0].linear = 0;
    OK(lm_fit_evaluate(fit, &f->scene, &result, NULL, &err), &err);
    double a = result.amplitude[0] / f->lights[0].light.param[0]; /* other slopes grow with it */
    want_light[0] = 0x2;
    OK(lm_fit_fisher(fit, &f->scene, want_mass, want_light, P - 1, schur, &err), &err);
    static const int others[] = {0, 1, 2, 4};
    for (int i = 0; i < P - 1; i++)
        for (int j = 0; j < P - 1; j++) {
            int r = others[i], c = others[j];
            double expected = a * a * (whole[r * P + c] - whole[r * P + 3] * whole[3 * P + c] / whole[3 * P + 3]);
            CHECK(fabs(schur[i * (P - 1) + j] - expected) <= 1e-6 * a * a * sqrt(whole[r * P + r] * whole[c * P + c]));
        }
    lm_psf_done(&f->psf);
}

TEST(what_cannot_be_solved_is_told)
{
    fixture *f = setup();
    LM_OWN(lm_fit) fit = fit_of(f);
    lm_fit_result result;
    lm_error err = {0};
    f->lights[1] = f->lights[2];
    f->lights[1].linear = f->lights[2].linear = 0;
    EQUAL_INT(lm_fit_evaluate(fit, &f->scene, &result, NULL, &err), LM_EINPUT);
    CONTAINS(err.text, "depend on one another");
    f->lights[1].light.param[6] = 1e9; /* far away */
    EQUAL_INT(lm_fit_evaluate(fit, &f->scene, &result, NULL, &err), LM_EINPUT);
    CONTAINS(err.text, "component 2 shines nowhere");
    memset(f->mask, 0, sizeof f->mask);
    lm_fit *none = NULL;
    EQUAL_INT(lm_fit_new(&(lm_fit_data){f->frame, f->image, f->noise, f->mask, &f->psf}, &none, &err), LM_EINPUT);
    CHECK(!none);
    CONTAINS(err.text, "no pixel");
    lm_psf_done(&f->psf);
}
