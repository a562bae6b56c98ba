/* lens.maps: deflection, convergence, potential, shear and magnification of a lens on a grid. */
#include "operators/lens/_mass.h"

#include <string.h>

typedef struct {
    json_t *grid, *mass;
} maps;

static const lm_param params[] = {
    LM_TREE(
        maps, grid, NULL, .required = true,
        .schema =
            "{\"type\": \"object\", \"required\": [\"shape\", \"pixel\"], \"additionalProperties\": false, "
            "\"properties\": "
            "{\"shape\": {\"type\": \"array\", \"items\": {\"type\": \"integer\", \"minimum\": 1}, \"minItems\": 2, "
            "\"maxItems\": 2}, \"pixel\": {\"type\": \"number\", \"exclusiveMinimum\": 0}, \"offset\": {\"type\": "
            "\"array\", "
            "\"items\": {\"type\": \"number\"}, \"minItems\": 2, \"maxItems\": 2}}}",
        .doc =
            "the places: {shape: [rows, columns], pixel: arcsec, offset: [x, y]}. Pixel centres are at x = (column - "
            "(columns - 1)/2) pixel + offset x, and y the same of rows; the first row is the lowest y"),
    LM_TREE(maps, mass, NULL, .required = true, .per_record = true, .schema = LM_MASSES_SCHEMA, .doc = LM_MASSES_DOC),
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

enum { MOST_SIDE = 1 << 15 };

typedef struct {
    size_t shape[2];
    double pixel, offset[2];
} grid;

static lm_status read_grid(const json_t *tree, grid *ret, lm_error *err)
{
    const json_t *shape = json_object_get(tree, "shape"), *pixel = json_object_get(tree, "pixel"),
                 *offset = json_object_get(tree, "offset");
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)tree, name, value)
    {
        if (value != shape && value != pixel && value != offset)
            return LM_FAIL_HINT(err, LM_EINPUT, "It takes shape, pixel and offset.", "\"grid\" has no \"%s\"", name);
    }
    for (size_t i = 0; i < 2; i++) {
        const json_t *side = json_array_get(shape, i), *at = json_array_get(offset, i);
        if (json_array_size(shape) != 2 || !json_is_integer(side) || json_integer_value(side) < 1 ||
            json_integer_value(side) > MOST_SIDE)
            return LM_FAIL_HINT(err, LM_EINPUT, "For example: grid: {shape: [128, 128], pixel: 0.05}",
                                "\"grid\" needs a \"shape\" of two whole numbers from 1 to %d, rows and columns",
                                MOST_SIDE);
        ret->shape[i] = (size_t)json_integer_value(side);
        if (offset && (json_array_size(offset) != 2 || !json_is_number(at)))
            return LM_FAIL(err, LM_EINPUT, "the \"offset\" of \"grid\" is a list of two numbers, x and y in arcsec");
        ret->offset[i] = at ? json_number_value(at) : 0;
    }
    ret->pixel = json_number_value(pixel);
    if (!(ret->pixel > 0) || !isfinite(ret->pixel))
        return LM_FAIL_HINT(err, LM_EINPUT, "For example: grid: {shape: [128, 128], pixel: 0.05}",
                            "\"grid\" needs the size of a \"pixel\" in arcsec, above 0");
    return LM_OK;
}

static lm_status maps_check(const void *self, lm_error *err)
{
    const maps *s = self;
    grid g;
    LM_TRY(read_grid(s->grid, &g, err));
    return lm_masses_check(s->mass, err);
}

static lm_status maps_step(const void *self, lm_step *step, lm_error *err)
{
    static const char *const names[] = {"alpha_x", "alpha_y", "kappa", "psi", "gamma1", "gamma2", "magnification"};
    enum { AX, AY, KAPPA, PSI, GAMMA1, GAMMA2, MU, MAPS };
    const maps *s = self;
    grid g;
    lm_mass *masses;
    size_t n_masses;
    LM_TRY(read_grid(s->grid, &g, err));
    LM_TRY(lm_masses_read(s->mass, step, &masses, &n_masses, err));
    double *map[MAPS], *x = lm_step_scratch(step, g.shape[1], sizeof *x),
                       *y = lm_step_scratch(step, g.shape[1], sizeof *y);
    if (!x || !y) return LM_NOMEM(err);
    for (int k = 0; k < MAPS; k++) {
        lm_tensor *tensor;
        LM_TRY(lm_step_out(step, NULL, names[k], g.shape, &tensor, err));
        map[k] = tensor->data;
        memset(map[k], 0, g.shape[0] * g.shape[1] * sizeof *map[k]);
    }
    for (size_t i = 0; i < g.shape[1]; i++) x[i] = ((double)i - (double)(g.shape[1] - 1) / 2) * g.pixel + g.offset[0];
    for (size_t j = 0; j < g.shape[0]; j++) {
        if (lm_step_stopped(step)) return LM_ESTOP(step, err);
        size_t row = j * g.shape[1];
        for (size_t i = 0; i < g.shape[1]; i++)
            y[i] = ((double)j - (double)(g.shape[0] - 1) / 2) * g.pixel + g.offset[1];
        lm_mass_maps to = {map[PSI] + row,   map[AX] + row,     map[AY] + row,
                           map[KAPPA] + row, map[GAMMA1] + row, map[GAMMA2] + row};
        for (size_t m = 0; m < n_masses; m++) lm_mass_add(&masses[m], g.shape[1], x, y, &to);
        for (size_t i = row; i < row + g.shape[1]; i++) {
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
    .flags = LM_HEADER,
    .size = sizeof(maps),
    .params = params,
    .ports = ports,
    .fields = fields,
    .check = maps_check,
    .step = maps_step,
};
