/* Elliptical multipoles against lenstronomy, against their definition, and against their own derivatives. */
#include "tests/test.h"

#include "operators/core/lensing/multipole_ell.h"

#include <math.h>
#include <string.h>

enum { PLACES = 240, MAPS = 6 };
static const double axis_ratios[] = {0.03, 0.1, 0.25, 0.41, 0.43, 0.6, 0.8, 0.95, 0.999999, 1};
enum { RATIOS = sizeof axis_ratios / sizeof *axis_ratios };

/* All around, from 0.05 to 5 arcsec, some on the axes. */
static void places(double *x, double *y)
{
    for (size_t i = 0; i < PLACES; i++) {
        double r = 0.05 * pow(100, (double)i / PLACES),
               turn = i % 12 == 0 ? M_PI / 2 * (double)(i / 12) : 2.39996 * (double)i;
        x[i] = r * cos(turn);
        y[i] = r * sin(turn);
    }
}

static lm_mass_maps maps_in(double *to, size_t n)
{
    memset(to, 0, MAPS * n * sizeof *to);
    return (lm_mass_maps){to, to + n, to + 2 * n, to + 3 * n, to + 4 * n, to + 5 * n};
}

/* ---- references -------------------------------------------------------------------------------------------------- */

/* MULTIPOLE_ELL of lenstronomy 1.14.2 with a_m = 0.05, r_E = 1: function, derivatives, and (f_xx + f_yy)/2,
 * (f_xx - f_yy)/2, f_xy of its hessian, in closed forms of their own. */
static const struct {
    unsigned m;
    double q, phi_m, x, y, want[MAPS]; /* psi, alpha_x, alpha_y, kappa, gamma1, gamma2 */
} golden[] = {
    {1,
     0.8,
     0.3,
     0.8,
     -0.45,
     {-0.00022678681505704167, 0.01296734403182985, -0.011297205168913544, 0.017477615095842933, 0.0173839530804702,
      0.009230508089474124}},
    {1,
     0.8,
     0.3,
     -1.3,
     0.2,
     {-0.008659190682536051, 0.028765524165891235, -0.0032587061248421896, -0.01862949866396013, -0.0009167413805903982,
      -0.008372930785642706}},
    {1,
     0.8,
     0.3,
     0.1,
     1.7,
     {0.0077955366451745315, 0.015824107168862185, 0.012393245928406878, 0.004468517286558789, 0.0009520837294632249,
      0.013643215175991149}},
    {1,
     0.8,
     0.3,
     -0.6,
     -0.9,
     {-0.0024661244792687402, 0.01310066629286368, 0.017172303280242492, -0.015571872958973396, -0.012513355268217867,
      -0.007649321071635991}},
    {3,
     0.7,
     0.5,
     0.8,
     -0.45,
     {0.005763735467723896, 0.007713937501485958, -0.002880187895597014, -0.02693843438518289, 0.011383478845192696,
      -0.02697063619615042}},
    {3,
     0.7,
     0.5,
     -1.3,
     0.2,
     {-0.0038201209862958724, 3.954709681050741e-05, -0.021178538871253375, 0.012269453859212177, -0.010970484208212731,
      0.0069074120128740845}},
    {3,
     0.7,
     0.5,
     0.1,
     1.7,
     {0.0036438577574693536, -0.0013542214518841732, -0.002126611480730546, -0.012276363091010132, -0.00966304893481185,
      0.0011098606228574957}},
    {3,
     0.7,
     0.5,
     -0.6,
     -0.9,
     {0.0010555170035195787, -0.01536626157403515, 0.0045349442797118274, 0.00685849423027532, -0.0005366272761261762,
      -0.0038732689208500286}},
    {4,
     0.7,
     0.5,
     0.8,
     -0.45,
     {-0.0027505332133428875, 0.0039293833313107296, 0.01309786639642549, -0.00013770268691735808,
      7.150733000159543e-05, -0.00011768063451691134}},
    {4,
     0.7,
     0.5,
     -1.3,
     0.2,
     {0.00010654458104447806, -5.568043065335942e-05, 0.00017080010597555413, -0.02159832445492647,
      0.020599558006143746, -0.0064919819170877234}},
    {4,
     0.7,
     0.5,
     0.1,
     1.7,
     {0.005828279029165003, 0.01459285066271142, 0.002569996448761096, -0.006878508904860735, -0.006831070912413421,
      0.000806445871604361}},
    {4,
     0.7,
     0.5,
     -0.6,
     -0.9,
     {0.005804879606814347, 0.004206994539126926, -0.009254529255878339, -0.017323065186973494, -0.006662717379605186,
      0.015990521711052457}},
    {4,
     0.3,
     -0.2,
     0.8,
     -0.45,
     {0.01209047256036122, 0.01310133431365651, -0.003576455798746693, -0.024916251671274585, 0.0129387063574868,
      -0.021293413891178278}},
    {4,
     0.3,
     -0.2,
     -1.3,
     0.2,
     {0.013618634511778702, -0.008015737409167332, 0.01599087939930584, 0.014298967689232498, -0.013637743749846025,
      0.00429795560601208}},
    {4,
     0.3,
     -0.2,
     0.1,
     1.7,
     {-0.005349459452734661, -0.011491104248877561, -0.002470793545792298, 0.006004373123685265, 0.005962963653866746,
      -0.0007039609869148232}},
    {4,
     0.3,
     -0.2,
     -0.6,
     -0.9,
     {-0.005491729152975254, -0.0015429032163358657, 0.0071305234253075285, 0.014918250302329147, 0.005737788577818899,
      -0.013770692586765368}},
    {1,
     0.5,
     -1,
     0.8,
     -0.45,
     {-0.0047899961298722565, 0.014594340464263111, -0.0058838157219120914, 0.02900517224387997, -0.01356305337262419,
      -0.0008474497377741554}},
    {1,
     0.5,
     -1,
     -1.3,
     0.2,
     {-0.0033209440980191698, 0.0185186026485398, 0.0011547267942471865, -0.01985596722953706, 0.011660992178937287,
      0.010407899566116405}},
    {1,
     0.5,
     -1,
     0.1,
     1.7,
     {-0.010114648144439303, 0.009949357490908651, -0.025619590226840235, -0.00857747757978783, 0.0035474460545206524,
      0.007787088606782185}},
    {1,
     0.5,
     -1,
     -0.6,
     -0.9,
     {-0.005995606510487535, 0.0011250485727898733, -0.005431877035184629, 0.011691484118483902, -0.017290731470056095,
      -0.01041722118673298}},
};
enum { GOLDEN = sizeof golden / sizeof *golden };

TEST(values_equal_lenstronomys)
{
    for (size_t i = 0; i < GOLDEN; i++) {
        double got[MAPS];
        lm_mass_maps maps = maps_in(got, 1);
        lm_multipole_ell(golden[i].m, 0.05, golden[i].phi_m, golden[i].q, 0, 1, &golden[i].x, &golden[i].y, &maps);
        for (size_t k = golden[i].m % 2 ? 3 : 0; k < MAPS; k++) NEAR(got[k], golden[i].want[k], ABS(1e-15));
    }
    /* an odd one's deflection is free up to a constant: alpha - constant, psi - constant . x */
    double off[2] = {0};
    for (size_t i = 0; i < GOLDEN; i++) {
        if (golden[i].m % 2 == 0) continue;
        bool first = i == 0 || golden[i].q != golden[i - 1].q;
        double got[MAPS];
        lm_mass_maps maps = maps_in(got, 1);
        lm_multipole_ell(golden[i].m, 0.05, golden[i].phi_m, golden[i].q, 0, 1, &golden[i].x, &golden[i].y, &maps);
        if (first) off[0] = golden[i].want[1] - got[1], off[1] = golden[i].want[2] - got[2];
        NEAR(got[1] + off[0], golden[i].want[1], ABS(1e-15));
        NEAR(got[2] + off[1], golden[i].want[2], ABS(1e-15));
        NEAR(got[0] + off[0] * golden[i].x + off[1] * golden[i].y, golden[i].want[0], ABS(1e-15));
    }
}

/* Laplace psi = 2 kappa and grad psi = alpha, from values of psi, with kappa as it is defined. */
TEST(the_potential_has_the_convergence_that_defines_it)
{
    double x[PLACES], y[PLACES], got[MAPS * PLACES], around[8][PLACES], a = 0.7, phi_m = 0.4, phi = -0.6;
    places(x, y);
    for (unsigned m = 1; m <= 7; m++)
        for (size_t k = 0; k < RATIOS; k++) {
            double q = axis_ratios[k];
            lm_mass_maps maps = maps_in(got, PLACES);
            lm_multipole_ell(m, a, phi_m, q, phi, PLACES, x, y, &maps);
            for (size_t i = 0; i < PLACES; i++) {
                double along = x[i] * cos(phi) + y[i] * sin(phi), across = y[i] * cos(phi) - x[i] * sin(phi);
                double R = sqrt(q * along * along + across * across / q), angle = atan2(across, q * along);
                double kappa = a * cos(m * (angle - (phi_m - phi))) / (2 * R);
                /* an angle near 0 on the other side of a flat ellipse has few digits, times m */
                NEAR(maps.kappa[i], kappa, ABS(1e-13 * a * m / R));
                /* by steps of a fraction of how far psi is smooth */
                double h = 2e-3 * q * hypot(x[i], y[i]);
                static const double steps[8][2] = {{-2, 0}, {-1, 0}, {1, 0}, {2, 0}, {0, -2}, {0, -1}, {0, 1}, {0, 2}};
                for (size_t s = 0; s < 8; s++) {
                    double at_x = x[i] + h * steps[s][0], at_y = y[i] + h * steps[s][1];
                    around[s][i] = 0;
                    lm_multipole_ell(m, a, phi_m, q, phi, 1, &at_x, &at_y, &(lm_mass_maps){.psi = &around[s][i]});
                }
                double psi = maps.psi[i], f[8];
                for (size_t s = 0; s < 8; s++) f[s] = around[s][i];
                double xx = (16 * (f[1] + f[2]) - f[0] - f[3] - 30 * psi) / (12 * h * h);
                double yy = (16 * (f[5] + f[6]) - f[4] - f[7] - 30 * psi) / (12 * h * h);
                double size = a / hypot(x[i], y[i]) / (q * q);
                double loose = 1e-13 * (1 + fabs(psi)) / (h * h) + 1e-7 * m * m * size; /* rounding, and the step */
                NEAR((xx + yy) / 2, kappa, ABS(loose));
                NEAR((xx - yy) / 2, maps.gamma1[i], ABS(loose));
                NEAR((8 * (f[2] - f[1]) - (f[3] - f[0])) / (12 * h), maps.alpha_x[i],
                     ABS(1e-14 * (1 + fabs(psi)) / h + 1e-8 * m * a / q));
                NEAR((8 * (f[6] - f[5]) - (f[7] - f[4])) / (12 * h), maps.alpha_y[i],
                     ABS(1e-14 * (1 + fabs(psi)) / h + 1e-8 * m * a / q));
            }
        }
}

/* ---- derivatives ------------------------------------------------------------------------------------------------- */

TEST(maps_are_derivatives_of_the_potential)
{
    double x[PLACES], y[PLACES], value[MAPS * PLACES], by_x[MAPS * PLACES], by_y[MAPS * PLACES];
    static const unsigned orders[] = {1, 2, 3, 4, 5, 8, 13, 64};
    places(x, y);
    for (size_t o = 0; o < sizeof orders / sizeof *orders; o++)
        for (size_t k = 0; k < RATIOS; k++) {
            unsigned m = orders[o];
            double q = axis_ratios[k], a = 0.1, p = 0.3, turn = 0.9;
            lm_mass_maps v = maps_in(value, PLACES), dx = maps_in(by_x, PLACES), dy = maps_in(by_y, PLACES);
            lm_multipole_ell(m, a, p, q, turn, PLACES, x, y, &v);
            lm_multipole_ell_derive(m, a, p, q, turn, LM_BY_X, PLACES, x, y, &dx);
            lm_multipole_ell_derive(m, a, p, q, turn, LM_BY_Y, PLACES, x, y, &dy);
            for (size_t i = 0; i < PLACES; i++) {
                double r = hypot(x[i], y[i]), R = sqrt(q) * r;
                /* two digits may be lost where closed forms take over; kappa reaches a/(2 R) */
                test_tolerance t = ABS(2e-13 * a * m), loose = ABS(2e-12 * a * m / R);
                NEAR(dx.psi[i], v.alpha_x[i], t);
                NEAR(dy.psi[i], v.alpha_y[i], t);
                NEAR(dx.alpha_x[i], v.kappa[i] + v.gamma1[i], loose);
                NEAR(dy.alpha_y[i], v.kappa[i] - v.gamma1[i], loose);
                NEAR(dy.alpha_x[i], v.gamma2[i], loose);
                NEAR(dx.alpha_y[i], v.gamma2[i], loose);
            }
        }
}

TEST(derivatives_by_parameters_equal_finite_differences)
{
    double x[PLACES], y[PLACES], got[MAPS * PLACES], at[4][MAPS * PLACES];
    places(x, y);
    for (unsigned m = 1; m <= 5; m++)
        for (size_t k = 1; k < 8; k++)
            for (int by = LM_ELL_BY_A; by <= LM_ELL_BY_PHI; by++) {
                double p[] = {0.3, 0.4, axis_ratios[k], -0.8}, h = 1e-4 * (by == LM_ELL_BY_Q ? p[2] : 1);
                lm_mass_maps to = maps_in(got, PLACES);
                lm_multipole_ell_derive(m, p[0], p[1], p[2], p[3], by, PLACES, x, y, &to);
                for (int step = 0; step < 4; step++) {
                    double there[] = {p[0], p[1], p[2], p[3]};
                    there[by] += (step < 2 ? step - 2 : step - 1) * h;
                    lm_mass_maps maps = maps_in(at[step], PLACES);
                    lm_multipole_ell(m, there[0], there[1], there[2], there[3], PLACES, x, y, &maps);
                }
                for (size_t i = 0; i < MAPS * PLACES; i++) {
                    double want = (8 * (at[2][i] - at[1][i]) - (at[3][i] - at[0][i])) / (12 * h);
                    double allowed = 1e-6 * fabs(want) + 1e-14 * (1 + fabs(at[1][i])) / h + 1e-8 / p[2];
                    if (!(fabs(got[i] - want) <= allowed))
                        FAIL("m = %u, q = %g, map %zu by %d at (%g, %g): %.12g, differences give %.12g", m, p[2],
                             i / PLACES, by, x[i % PLACES], y[i % PLACES], got[i], want);
                }
            }
    /* at q = 1, one-sided */
    lm_mass_maps to = maps_in(got, PLACES), one = maps_in(at[0], PLACES), less = maps_in(at[1], PLACES);
    lm_multipole_ell_derive(3, 0.3, 0.4, 1, 0, LM_ELL_BY_Q, PLACES, x, y, &to);
    lm_multipole_ell(3, 0.3, 0.4, 1, 0, PLACES, x, y, &one);
    lm_multipole_ell(3, 0.3, 0.4, 1 - 1e-7, 0, PLACES, x, y, &less);
    for (size_t i = 0; i < MAPS * PLACES; i++)
        NEAR((at[0][i] - at[1][i]) / 1e-7, got[i], ABS(1e-5 * (1 + fabs(got[i]))));
}

/* ---- symmetries and limits --------------------------------------------------------------------------------------- */

TEST(the_sky_can_be_turned)
{
    double x[PLACES], y[PLACES], x2[PLACES], y2[PLACES], one[MAPS * PLACES], other[MAPS * PLACES], turn = 0.77;
    places(x, y);
    for (size_t i = 0; i < PLACES; i++) {
        x2[i] = x[i] * cos(turn) - y[i] * sin(turn);
        y2[i] = x[i] * sin(turn) + y[i] * cos(turn);
    }
    for (unsigned m = 1; m <= 6; m++)
        for (size_t k = 0; k < RATIOS; k++) {
            lm_mass_maps a = maps_in(one, PLACES), b = maps_in(other, PLACES);
            double q = axis_ratios[k];
            lm_multipole_ell(m, 0.2, 0.3, q, 0.5, PLACES, x, y, &a);
            lm_multipole_ell(m, 0.2, 0.3 + turn, q, 0.5 + turn, PLACES, x2, y2, &b);
            double c = cos(turn), s = sin(turn), c2 = cos(2 * turn), s2 = sin(2 * turn);
            for (size_t i = 0; i < PLACES; i++) {
                /* a rounding of the position is an angle of 1/q times as much */
                test_tolerance t = ABS(3e-15 * m / q), loose = ABS(3e-15 * m * m / (q * q * hypot(x[i], y[i])));
                NEAR(b.psi[i], a.psi[i], ABS(3e-15 * m / q * (1 + hypot(x[i], y[i]))));
                NEAR(b.alpha_x[i], c * a.alpha_x[i] - s * a.alpha_y[i], t);
                NEAR(b.alpha_y[i], s * a.alpha_x[i] + c * a.alpha_y[i], t);
                NEAR(b.kappa[i], a.kappa[i], loose);
                NEAR(b.gamma1[i], c2 * a.gamma1[i] - s2 * a.gamma2[i], loose);
                NEAR(b.gamma2[i], s2 * a.gamma1[i] + c2 * a.gamma2[i], loose);
            }
        }
}

/* What fixes the constant of an even one; alpha of an even one does not change along a ray. */
TEST(even_ones_are_odd_through_the_centre)
{
    double x[PLACES], y[PLACES], x2[PLACES], y2[PLACES], one[MAPS * PLACES], other[MAPS * PLACES];
    places(x, y);
    for (size_t i = 0; i < PLACES; i++) x2[i] = -3 * x[i], y2[i] = -3 * y[i];
    for (unsigned m = 2; m <= 12; m += 2)
        for (size_t k = 0; k < RATIOS; k++) {
            lm_mass_maps a = maps_in(one, PLACES), b = maps_in(other, PLACES);
            lm_multipole_ell(m, 0.2, 0.3, axis_ratios[k], 0.5, PLACES, x, y, &a);
            lm_multipole_ell(m, 0.2, 0.3, axis_ratios[k], 0.5, PLACES, x2, y2, &b);
            for (size_t i = 0; i < PLACES; i++) {
                NEAR(b.alpha_x[i], -a.alpha_x[i], ABS(1e-13));
                NEAR(b.alpha_y[i], -a.alpha_y[i], ABS(1e-13));
            }
        }
}

TEST(round_ones_are_circular_multipoles)
{
    double x[PLACES], y[PLACES], one[MAPS * PLACES], other[MAPS * PLACES];
    places(x, y);
    for (unsigned m = 2; m <= 9; m++)
        for (int nearly = 0; nearly < 2; nearly++) {
            lm_mass circular = {LM_MASS_MULTIPOLE, {m, 0.2, 0.3, 0, 0}};
            lm_mass_maps a = maps_in(one, PLACES), b = maps_in(other, PLACES);
            lm_mass_add(&circular, PLACES, x, y, &a);
            lm_multipole_ell(m, 0.2, 0.3, nearly ? 1 - 1e-10 : 1, 1.1, PLACES, x, y, &b);
            NEAR_ARRAY(other, one, MAPS * PLACES, REL((nearly ? 1e-9 : 2e-15) * m));
        }
    lm_mass_maps b = maps_in(other, PLACES); /* m = 1: psi = a/2 r log r cos(phi - phi_1) */
    lm_multipole_ell(1, 0.2, 0.3, 1, 1.1, PLACES, x, y, &b);
    for (size_t i = 0; i < PLACES; i++)
        NEAR(b.psi[i], 0.1 * log(hypot(x[i], y[i])) * (x[i] * cos(0.3) + y[i] * sin(0.3)), ABS(2e-15));
}

TEST(extreme_places_and_shapes_are_finite)
{
    double x[] = {0, 1e-12, 0, -1e-12, 1e-6, 1e4, 1, 0}, y[] = {0, 0, 1e-12, -1e-12, 1e-6, -1e4, 0, 1}, got[MAPS * 8];
    static const double q[] = {0.01, 0.3, 1};
    for (unsigned m = 1; m <= 64; m++)
        for (size_t k = 0; k < 3; k++)
            for (int by = -3; by <= LM_ELL_BY_PHI; by++) {
                lm_mass_maps maps = maps_in(got, 8);
                if (by == -3) lm_multipole_ell(m, 0.2, 0.3, q[k], 0.1, 8, x, y, &maps);
                else lm_multipole_ell_derive(m, 0.2, 0.3, q[k], 0.1, by, 8, x, y, &maps);
                for (size_t i = 0; i < MAPS * 8; i++)
                    if (!isfinite(got[i]))
                        FAIL("m = %u, q = %g, by %d: map %zu at (%g, %g) is %g", m, q[k], by, i / 8, x[i % 8], y[i % 8],
                             got[i]);
            }
}
