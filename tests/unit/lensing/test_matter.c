/* Fluctuations, growth, haloes and concentrations against integrals and differential equations solved by SciPy 1.17 to 1e-9, with the transfer
 * function of colossus 1.4.0 (Diemer 2018, arXiv:1712.04512), and against colossus itself, whose splines are good to about 1e-3. */
#include "operators/core/lensing/matter.h"
#include "tests/test.h"

#include <math.h>

static const lm_matter_params universe = {{70, 0.3, 0.7, -1}, 0.045, 0.8, 0.96, 2.7255};

static lm_matter *made(const lm_matter_params *params)
{
    lm_matter *m = NULL;
    lm_error err = {0};
    OK(lm_matter_new(params, &m, &err), &err);
    return m;
}

/* Simpson's rule over 2 million points up to kR = 2000; the slope from its differences, good to 1e-7. Ours replaces the last 1e-6 of the
 * window by its means. */
TEST(sigma_is_the_integral)
{
    static const double want[][3] = {{1e6, 7.857044065, -0.062474361}, {1e8, 5.69022028, -0.078701454},
                                     {1e10, 3.759217158, -0.10302726}, {1e12, 2.157951688, -0.14110001},
                                     {1e13, 1.511876495, -0.16938408}, {1e15, 0.5731460148, -0.26101776}};
    LM_OWN(lm_matter) m = made(&universe);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        NEAR(lm_matter_sigma(m, want[i][0]), want[i][1], REL(2e-6));
        NEAR(lm_matter_slope(m, want[i][0]), want[i][2], REL(1e-5));
    }
    double eight = lm_matter_density(m) * 4 * M_PI / 3 * pow(8 / 0.7, 3);
    NEAR(lm_matter_sigma(m, eight), 0.8, REL(1e-6));
    for (double mass = 1.3e2; mass < 1e17; mass *= 7.7) { /* the slope is that of sigma */
        double step = 1e-3, up = lm_matter_sigma(m, mass * exp(step)), down = lm_matter_sigma(m, mass * exp(-step));
        NEAR(lm_matter_slope(m, mass), log(up / down) / (2 * step), REL(1e-5));
    }
    CHECK(isnan(lm_matter_sigma(m, 10)) && isnan(lm_matter_sigma(m, 1e18)) && isnan(lm_matter_sigma(m, NAN)));
}

TEST(growth_in_many_universes)
{
    static const double z[] = {0.2, 0.5, 1, 2, 9},
                        want[] = {0.9015436123, 0.7731811502, 0.6118057533, 0.4214456967, 0.1283184315};
    LM_OWN(lm_matter) m = made(&universe);
    for (int i = 0; i < 5; i++) NEAR(lm_matter_growth(m, z[i]), want[i], REL(1e-8)); /* the integral of Heath 1977 */
    NEAR(lm_matter_growth(m, 0), 1, REL(1e-12));
    CHECK(isnan(lm_matter_growth(m, -0.5)) && isnan(lm_matter_growth(m, 1e9)) && isnan(lm_matter_growth(m, NAN)));

    lm_matter_params other = universe;
    other.cosmology.Omega_de = 0;
    LM_OWN(lm_matter) open = made(&other);
    NEAR(lm_matter_growth(open, 0.5), 0.8051394937, REL(1e-8));
    NEAR(lm_matter_growth(open, 2), 0.5136441033, REL(1e-8));
    other.cosmology = (lm_cosmology){70, 1, 0, -1}; /* Einstein-de Sitter: D = a, to the precision of the steps */
    LM_OWN(lm_matter) flat = made(&other);
    for (int i = 0; i < 5; i++) NEAR(lm_matter_growth(flat, z[i]), 1 / (1 + z[i]), REL(1e-8));
    /* the differential equation, by an eighth-order method: the integral holds for w = -1 alone */
    other.cosmology = (lm_cosmology){70, 0.3, 0.7, -0.8};
    LM_OWN(lm_matter) quint = made(&other);
    NEAR(lm_matter_growth(quint, 0.5), 0.7817009048, REL(1e-8));
    NEAR(lm_matter_growth(quint, 2), 0.4406436448, REL(1e-8));
}

TEST(haloes_are_as_many_as_elsewhere)
{
    static const double mass[] = {1e6, 1e8, 1e10, 1e13}, z[] = {0.1, 0.5, 1.5};
    static const double want[4][3] = {{453.51083, 505.15415, 629.73934},
                                      {6.762904, 7.5082391, 9.1483295},
                                      {0.10869029, 0.11879705, 0.13394765},
                                      {0.00021627896, 0.00019521374, 9.6938281e-05}};
    static const double colossus[4][3] = {{453.496764, 505.133653, 629.719643},
                                          {6.75864657, 7.50344939, 9.14259782},
                                          {0.108618378, 0.118717769, 0.133860281},
                                          {0.000216540002, 0.000195464046, 9.70886553e-05}};
    LM_OWN(lm_matter) m = made(&universe);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 3; k++) {
            NEAR(lm_matter_haloes(m, mass[i], z[k]), want[i][k],
                 REL(2e-5)); /* the slope's 1e-5, and nu^2 in the exponent */
            NEAR(lm_matter_haloes(m, mass[i], z[k]), colossus[i][k], REL(2e-3));
        }
    NEAR(lm_matter_density(m), 40797884205.5, REL(1e-8)); /* digits of G */
}

TEST(concentrations)
{
    static const double
        mass[] = {1e7, 1e8, 1e10, 1e13},
        z[] = {0.1, 0.5, 1.5},
        fit[3][4] = {{17.2171577, 15.5026984, 11.9691304, 6.62018408},
                     {14.7123409, 13.2686559, 10.2877243, 5.77793252},
                     {10.4452659, 9.45339184, 7.40778509, 4.3753783}},
        /* the physical model of the same paper, solved by colossus: the fit was made to that, in another cosmology */
        model[3][4] = {{16.5426343, 14.8856088, 11.4511544, 6.36504373},
                       {14.3179169, 12.9041064, 9.97969834, 5.69362024},
                       {9.76505793, 8.8343003, 6.93760964, 4.24298105}};
    LM_OWN(lm_matter) m = made(&universe);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 4; k++) {
            double c = lm_matter_concentration(m, LM_CONCENTRATION_LUDLOW16, mass[k], z[i]);
            NEAR(c, fit[i][k], REL(1e-7));
            NEAR(c, model[i][k], REL(0.08));
        }
    NEAR(lm_matter_concentration(m, LM_CONCENTRATION_DUFFY08, 1e13, 0.5), 4.247872772452432, REL(1e-12));
    NEAR(lm_matter_concentration(m, LM_CONCENTRATION_DUFFY08, 1e8, 1.5), 8.788253756008743, REL(1e-12));
}

TEST(warm_dark_matter_has_fewer_and_looser_haloes)
{
    LM_OWN(lm_matter) m = made(&universe);
    NEAR(lm_matter_half_mode(m, 3), 5.1e8, REL(0.02)); /* two digits are known */
    NEAR(lm_matter_half_mode(m, 10), 9.3e6, REL(0.02));
    NEAR(lm_matter_half_mode(m, 6) / lm_matter_half_mode(m, 3), pow(2, -3.33), REL(1e-12));
    CHECK(isnan(lm_matter_half_mode(m, 0)) && isnan(lm_matter_half_mode(m, -1)) && isnan(lm_matter_half_mode(m, NAN)));
    static const double sub[] = {4.2, 2.5, -0.2}, field[] = {2.3, 0.8, -1};
    NEAR(lm_warm_number(sub, 1e8, 4.2e8), pow(2, -0.2), REL(1e-14));
    NEAR(lm_warm_number(field, 1e8, 2.3e8), 0.5, REL(1e-14));
    NEAR(lm_warm_number(sub, 0, 1e6), 1, ABS(0));
    NEAR(lm_warm_number(field, 1e8, 1e16), 1, ABS(1e-6));
    NEAR(lm_warm_number(field, 1e300, 1), 0, ABS(1e-9));
    NEAR(lm_warm_concentration(0, 1e6, 3), 1, ABS(0));
    NEAR(lm_warm_concentration(1e8, 6e9, 0), pow(2, -0.17), REL(1e-14));
    NEAR(lm_warm_concentration(1e8, 6e9, 1) / lm_warm_concentration(1e8, 6e9, 0), pow(2, -0.014), REL(1e-14));
}

static void refused(const lm_matter_params *params, const char *why)
{
    lm_matter *m = NULL;
    lm_error err = {0};
    EQUAL_INT(lm_matter_new(params, &m, &err), LM_EINPUT);
    CONTAINS(err.text, why);
    CHECK(!m);
}

TEST(a_universe_without_meaning_is_refused)
{
    lm_matter_params p = universe;
    p.Omega_b = 0.3;
    refused(&p, "Omega_b = 0.3");
    p = universe;
    p.sigma8 = 0;
    refused(&p, "sigma8 = 0");
    p.sigma8 = NAN;
    refused(&p, "sigma8");
    p = universe;
    p.n_s = INFINITY;
    refused(&p, "n_s");
    p = universe;
    p.cosmology.Omega_m = 0;
    p.Omega_b = 0;
    refused(&p, "Omega_m");
    p = universe;
    p.cosmology.H0 = -70;
    refused(&p, "H0");
    p = universe;
    p.T_cmb = 0;
    refused(&p, "T_cmb");
}
