/* lens.points: the images of a point source: where they are, how bright, and when they come. */
#include "operators/core/lensing/points.h"
#include "operators/lens/_components.h"

#include <string.h>

typedef struct {
    json_t *mass;
    double beta_x, beta_y, z_lens, z_source, H0, Omega_m, Omega_de, w, half, step;
} points;

static const lm_param params[] = {
    LM_TREE(points, mass, NULL, .required = true, .per_record = true, .schema = LM_COMPONENTS_SCHEMA,
            .doc = LM_MASSES_DOC),
    LM_REAL(points, beta_x, 0, .unit = "arcsec", .per_record = true, .doc = "where the source is, unlensed"),
    LM_REAL(points, beta_y, 0, .unit = "arcsec", .per_record = true, .doc = "where the source is, unlensed"),
    LM_REAL(points, z_lens, NAN, .per_record = true, .doc = "redshift of the lens; with z_source there are times"),
    LM_REAL(points, z_source, NAN, .per_record = true, .doc = "redshift of the source"),
    LM_REAL(points, H0, 70, .min = 1e-3, .max = 1e6, .unit = "km/s/Mpc", .per_record = true,
            .doc = "Hubble constant, the expansion rate today"),
    LM_REAL(points, Omega_m, 0.3, .min = 0, .max = 100, .per_record = true, .doc = "density of matter today"),
    LM_REAL(points, Omega_de, NAN, .per_record = true, .doc = "density of dark energy today; unset: 1 - Omega_m, flat"),
    LM_REAL(points, w, -1, .min = -100, .max = 100, .per_record = true, .doc = "equation of state of dark energy"),
    LM_REAL(
        points, half, NAN, .unit = "arcsec", .per_record = true,
        .doc =
            "images are sought in a square of twice this side around the lens; unset: as large as they can be apart"),
    LM_REAL(
        points, step, 0, .min = 0, .max = 1e3, .unit = "arcsec", .per_record = true,
        .doc =
            "side of the cells that are searched, refined where needed; 0: by the window, at most 0.05 for small ones"),
    {0}};

static const lm_port ports[] = {
    {"in", LM_PORT_STREAM, "records whose attributes the templates name; left open, there is one source", true},
    {"out", LM_PORT_OUT, "the record with its images, in the order in which they arrive", false},
    {0}};

static const lm_field fields[] = {
    LM_IN_OPT("in", "*", LM_ANY_DTYPE, "*", "*", "any tensors; they stay, but for those named here"),
    LM_OUT("out", "x", LM_F64, "N", "arcsec", "position of each image"),
    LM_OUT("out", "y", LM_F64, "N", "arcsec", "position of each image"),
    LM_OUT("out", "magnification", LM_F64, "N", "",
           "1/det A: negative where the image is mirrored, a saddle of the arrival time"),
    LM_OUT("out", "fermat", LM_F64, "N", "arcsec^2", "|theta - beta|^2/2 - psi; only its differences have a meaning"),
    LM_OUT_OPT("out", "delay", LM_F64, "N", "day", "after the first image; where redshifts are given"),
    LM_OUT_ATTR("out", "n_images", LM_KIND_INT, "", "how many images there are"),
    LM_OUT_ATTR("out", "D_dt", LM_KIND_REAL, "Mpc", "time-delay distance, where redshifts are given"),
    {0}};

static lm_status points_check(const void *self, lm_error *err)
{
    const points *s = self;
    return lm_masses_check(s->mass, "mass", err);
}

/* *ret_timed: there are redshifts, and *ret is filled in. */
static lm_status read_geometry(lm_step *step, lm_lens_geometry *ret, bool *ret_timed, lm_error *err)
{
    double z_l, z_s;
    lm_cosmology c;
    LM_TRY(lm_step_real(step, "z_lens", &z_l, err));
    LM_TRY(lm_step_real(step, "z_source", &z_s, err));
    LM_TRY(lm_step_real(step, "H0", &c.H0, err));
    LM_TRY(lm_step_real(step, "Omega_m", &c.Omega_m, err));
    LM_TRY(lm_step_real(step, "Omega_de", &c.Omega_de, err));
    LM_TRY(lm_step_real(step, "w", &c.w, err));
    *ret_timed = !isnan(z_l) || !isnan(z_s);
    if (!*ret_timed) return LM_OK;
    if (isnan(z_l) || isnan(z_s))
        return LM_FAIL(err, LM_EINPUT, "delays need both redshifts: z_lens is %g and z_source %g", z_l, z_s);
    if (isnan(c.Omega_de)) c.Omega_de = 1 - c.Omega_m;
    return lm_lens_geometry_of(&c, z_l, z_s, ret, err);
}

static lm_status find(lm_step *step, const lm_mass *masses, size_t n_masses, const lm_lens_geometry *g, lm_image **ret,
                      size_t *ret_n, lm_error *err)
{
    double x, y;
    lm_window window;
    LM_TRY(lm_step_real(step, "beta_x", &x, err));
    LM_TRY(lm_step_real(step, "beta_y", &y, err));
    LM_TRY(lm_step_real(step, "half", &window.half, err));
    LM_TRY(lm_step_real(step, "step", &window.step, err));
    double half = window.half, side = window.step;
    if (isnan(half)) LM_TRY(lm_window_of(masses, n_masses, x, y, &window, err));
    else
        window.x = masses[0].p[lm_mass_model_of(masses[0].kind)->centre],
        window.y = masses[0].p[lm_mass_model_of(masses[0].kind)->centre + 1];
    if (side > 0 || !isnan(half)) window.step = side;
    return lm_images_find(masses, n_masses, x, y, &window, g, ret, ret_n, err);
}

static lm_status put(lm_step *step, const char *name, const lm_image *images, size_t n, size_t offset, lm_error *err)
{
    lm_tensor *tensor;
    LM_TRY(lm_step_out(step, NULL, name, &n, &tensor, err));
    for (size_t i = 0; i < n; i++)
        memcpy((double *)tensor->data + i, (const char *)&images[i] + offset, sizeof(double));
    return LM_OK;
}

static lm_status points_step(const void *self, lm_step *step, lm_error *err)
{
    const points *s = self;
    lm_mass *masses;
    size_t n_masses, n;
    lm_lens_geometry g;
    bool timed;
    lm_image *images = NULL;
    LM_TRY(lm_masses_read(s->mass, "mass", step, &masses, &n_masses, err));
    LM_TRY(read_geometry(step, &g, &timed, err));
    LM_TRY(find(step, masses, n_masses, timed ? &g : NULL, &images, &n, err));
    LM_OWN(lm_memory) list = images;
    (void)list; /* freed on every way out */
    if (!n)
        return LM_FAIL_HINT(err, LM_EINPUT, "Give a larger \"half\", or a smaller \"step\".",
                            "no image was found in the window");
    LM_TRY(put(step, "x", images, n, offsetof(lm_image, x), err));
    LM_TRY(put(step, "y", images, n, offsetof(lm_image, y), err));
    LM_TRY(put(step, "magnification", images, n, offsetof(lm_image, magnification), err));
    LM_TRY(put(step, "fermat", images, n, offsetof(lm_image, fermat), err));
    if (timed) {
        LM_TRY(put(step, "delay", images, n, offsetof(lm_image, delay), err));
        LM_TRY(lm_step_set(step, NULL, "D_dt", lm_real(g.D_dt), "[Mpc] time-delay distance", err));
    }
    return lm_step_set(step, NULL, "n_images", lm_int((int64_t)n), "images of the source", err);
}

const lm_operator lm_op_lens_points = {
    .struct_size = sizeof(lm_operator),
    .name = "lens.points",
    .version = 1,
    .summary = "Images of a point source: positions, magnifications, delays",
    .doc =
        "Every solution of beta = theta - alpha(theta), found on a grid of triangles that is refined where images may "
        "merge, and polished by "
        "Newton's method to 1e-10 arcsec. Images within 1e-3 arcsec of the centre of a singular mass do not count.\n\n"
        "With the redshifts of lens and source there are delays, in a universe of matter and dark energy (no "
        "radiation).",
    .example = "{mass: [{type: sie, theta_E: 1.2, q: 0.7}, {type: shear, gamma1: 0.03, gamma2: -0.02}], beta_x: 0.05, "
               "beta_y: 0.08, z_lens: "
               "0.5, z_source: 1.5}",
    .shape = LM_MAP,
    .size = sizeof(points),
    .params = params,
    .ports = ports,
    .fields = fields,
    .check = points_check,
    .step = points_step,
};
