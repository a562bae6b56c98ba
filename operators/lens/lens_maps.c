/* lens.maps: deflection, convergence, potential, shear and magnification of a lens on a grid. */
#include "operators/lens/_components.h"
#include "operators/lens/_grid.h"

#include <string.h>

typedef struct {
    json_t *grid, *mass;
} maps;

static const lm_param params[] = {
    LM_TREE(maps, grid, NULL, .required = true, .schema = LM_GRID_SCHEMA, .doc = LM_GRID_DOC),
    LM_TREE(maps, mass, NULL, .required = true, .per_record = true, .schema = LM_COMPONENTS_SCHEMA,
            .doc = LM_MASSES_DOC),
    {0}};

static const lm_port ports[] = {
    {"in", LM_PORT_STREAM, "records whose attributes the templates in `mass` name; left open, there is one set of maps",
     true},
    {"out", LM_PORT_OUT, "the record with the maps", false},
    {0}};

static const lm_field fields[] = {
    LM_IN_OPT("in", "*", LM_ANY_DTYPE, "*", "*", "any tensors; they stay, but for those named as a map"),
    LM_OUT("out", "alpha_x", LM_F64, "H W", "arcsec", "reduced deflection along x: beta = theta - alpha"),
    LM_OUT("out", "alpha_y", LM_F64, "H W", "arcsec", "reduced deflection along y"),
    LM_OUT("out", "kappa", LM_F64, "H W", "", "convergence"),
    LM_OUT("out", "psi", LM_F64, "H W", "arcsec^2", "potential; its zero point has no meaning"),
    LM_OUT("out", "gamma1", LM_F64, "H W", "", "shear along the axes"),
    LM_OUT("out", "gamma2", LM_F64, "H W", "", "shear along the diagonals"),
    LM_OUT("out", "magnification", LM_F64, "H W", "",
           "1/((1 - kappa)^2 - gamma^2): negative where images are mirrored"),
    LM_OUT_ATTR("out", "pixel", LM_KIND_REAL, "arcsec", "size of a pixel, as in the parameter"),
    {0}};

static lm_status maps_check(const void *self, lm_error *err)
{
    const maps *s = self;
    lm_frame g;
    LM_TRY(lm_grid_read(s->grid, &g, err));
    return lm_masses_check(s->mass, "mass", err);
}

static lm_status maps_step(const void *self, lm_step *step, lm_error *err)
{
    static const char *const names[] = {"alpha_x", "alpha_y", "kappa", "psi", "gamma1", "gamma2", "magnification"};
    enum { AX, AY, KAPPA, PSI, GAMMA1, GAMMA2, MU, MAPS };
    const maps *s = self;
    lm_frame g;
    lm_mass *masses;
    size_t n_masses;
    LM_TRY(lm_grid_read(s->grid, &g, err));
    LM_TRY(lm_masses_read(s->mass, "mass", step, &masses, &n_masses, err));
    const size_t shape[] = {g.h, g.w};
    double *map[MAPS], *x = lm_step_scratch(step, g.w, sizeof *x), *y = lm_step_scratch(step, g.w, sizeof *y),
                       *rows = lm_step_scratch(step, g.h, sizeof *rows);
    if (!x || !y || !rows) return LM_NOMEM(err);
    lm_grid_axes(&g, x, rows);
    for (int k = 0; k < MAPS; k++) {
        lm_tensor *tensor;
        LM_TRY(lm_step_out(step, NULL, names[k], shape, &tensor, err));
        map[k] = tensor->data;
        memset(map[k], 0, g.h * g.w * sizeof *map[k]);
    }
    for (size_t j = 0; j < g.h; j++) {
        if (lm_step_stopped(step)) return LM_ESTOP(step, err);
        size_t row = j * g.w;
        for (size_t i = 0; i < g.w; i++) y[i] = rows[j];
        lm_mass_maps to = {map[PSI] + row,   map[AX] + row,     map[AY] + row,
                           map[KAPPA] + row, map[GAMMA1] + row, map[GAMMA2] + row};
        for (size_t m = 0; m < n_masses; m++) lm_mass_add(&masses[m], g.w, x, y, &to);
        for (size_t i = row; i < row + g.w; i++) {
            double inner = 1 - map[KAPPA][i];
            map[MU][i] = 1 / (inner * inner - map[GAMMA1][i] * map[GAMMA1][i] - map[GAMMA2][i] * map[GAMMA2][i]);
        }
    }
    return lm_step_set(step, NULL, "pixel", lm_real(g.pixel), "[arcsec]", err);
}

const lm_operator lm_op_lens_maps = {
    .struct_size = sizeof(lm_operator),
    .name = "lens.maps",
    .version = 1,
    .summary = "Deflection, convergence, potential and shear of a lens on a grid",
    .doc = "The sum of mass components at the centres of a grid's pixels, in closed form and double precision: no "
           "pixel averages, no "
           "interpolation. The components lie in one plane; their strengths are reduced, for one source redshift.",
    .example = "{grid: {shape: [32, 32], pixel: 0.1}, mass: [{type: epl, theta_E: 1.2, t: 1.1, q: 0.7, phi: 23 deg}, "
               "{type: shear, gamma1: "
               "0.03, gamma2: -0.02}]}",
    .shape = LM_MAP,
    .size = sizeof(maps),
    .params = params,
    .ports = ports,
    .fields = fields,
    .check = maps_check,
    .step = maps_step,
};
