/* lensmill demo-data: input for the example graphs, made by the program itself. */
#include "operators/io/_fits_out.h"
#include "runtime/random.h"
#include "tools/lensmill/demo_sky.h"
#include "tools/lensmill/options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { OBJECTS = 24, SIMULATIONS = 300, DRAWS = 100, PARAMETERS = 3, GALAXIES = 2000, PROPERTIES = 4 };
enum { FRAME = LM_DEMO_SIZE + LM_DEMO_PSF - 1, PATH = 4096, NAME = 24 };

static const lm_option options[] = {{0}};
static const lm_command command = {
    .name = "demo-data",
    .usage = "DIR",
    .summary = "Make the input of the example graphs",
    .doc =
        "DIR/cutouts: 24 simulated galaxies of 96 x 96 pixels (0.05 arcsec, electrons/s), six of them gravitational "
        "lenses: a Sersic source behind a singular isothermal ellipsoid. Each file has the image, with Poisson noise "
        "of "
        "object and sky and Gaussian read-out noise, and the PSF of its own place on the detector: the diffraction of "
        "an "
        "obstructed 2.4 m mirror at 814 nm, stretched by up to 12 %. The cards MAG, NOISE_VARIANCE (of the sky and the "
        "read-out, in a pixel), EXPTIME and KIND say the rest; catalog.fits has them as a table.\n\n"
        "DIR/posteriors: draws from two inferences of the same 300 simulations, one right, one with error bars that "
        "are "
        "too small by a third. DIR/populations.fits: magnitude, logarithm of the radius, axis ratio and Sersic index "
        "of "
        "2000 galaxies each: OBSERVED, SIMULATED (the same law) and SWOLLEN (radii 12 % larger).\n\n"
        "Every call draws the same random numbers. About 2.5 MB.",
    .options = options,
    .least = 1,
    .most = 1,
};

static lm_random stream(const char *what, uint64_t index)
{
    lm_digest key = lm_digest_of(what, strlen(what));
    return lm_random_stream(&key, index);
}

static lm_status make_folder(char path[PATH], const char *folder, const char *name, lm_error *err)
{
    int n = snprintf(path, PATH, "%s%s%s", folder, *name ? "/" : "", name);
    if (n >= PATH - 64) return LM_FAIL(err, LM_EIO, "the name of the folder is too long: \"%.60s...\"", folder);
    if (mkdir(path, 0777) && errno != EEXIST)
        return LM_FAIL(err, LM_EIO, "cannot make the folder \"%s\": %s", path, strerror(errno));
    return LM_OK;
}

/* What the catalogue says of an object. */
typedef struct {
    char file[NAME]; /* filled up with zeros: a cell of the table */
    lm_demo_kind kind;
    double mag, noise_variance;
} entry;

/* An HDU with an array of floats, and the cards of an object (or NULL). */
static lm_status write_array(lm_fits_out *out, bool primary, const char *name, const float *data, unsigned ndim,
                             const size_t *shape, const entry *object, lm_error *err)
{
    LM_OWN(lm_tensor) tensor = NULL;
    LM_TRY(lm_tensor_new(LM_F32, ndim, shape, &tensor, err));
    if (object) LM_TRY(lm_tensor_set_unit(tensor, "electron/s", err));
    memcpy(tensor->data, data, tensor->bytes);
    lm_header header;
    lm_header_init(&header);
    lm_header_image(&header, primary, tensor, name);
    if (object) {
        lm_header_add(&header, "MAG", lm_real(object->mag), "[mag] F814W, of the whole object");
        lm_header_add(&header, "NOISE_VARIANCE", lm_real(object->noise_variance), "of sky and read-out, in a pixel");
        lm_header_add(&header, "EXPTIME", lm_real(LM_DEMO_EXPOSURE), "[s]");
        lm_header_add(&header, "KIND", lm_text_value(lm_demo_kind_names[object->kind]), "lens, spiral, ...");
        lm_header_add(&header, "SIMULATE", lm_bool(true), "no real sky: lensmill demo-data");
    }
    lm_status status = header.failed ? LM_NOMEM(err) : lm_fits_out_begin(out, &header, err);
    lm_header_done(&header);
    LM_TRY(status);
    LM_TRY(lm_fits_out_tensor(out, tensor, err));
    return lm_fits_out_end(out, err);
}

/* ---- cutouts ---- */

static lm_status make_cutout(const char *folder, size_t i, double *sky, entry *ret, lm_error *err)
{
    static float image[LM_DEMO_SIZE * LM_DEMO_SIZE], psf_pixels[LM_DEMO_PSF * LM_DEMO_PSF];
    static double psf[LM_DEMO_PSF * LM_DEMO_PSF];
    lm_random random = stream("cutout", i);
    *ret = (entry){.kind = (lm_demo_kind)(i % LM_DEMO_KINDS)};
    snprintf(ret->file, sizeof ret->file, "galaxy-%02zu.fits", i + 1);
    double bright = ret->kind == LM_DEMO_LENS ? 19.3 : 20.2;
    ret->mag = round(100 * (bright + 1.8 * lm_random_uniform(&random))) / 100;
    ret->noise_variance = LM_DEMO_SKY / LM_DEMO_EXPOSURE + pow(LM_DEMO_READ / LM_DEMO_EXPOSURE, 2);
    double stretch = 1.02 + 0.1 * lm_random_uniform(&random);
    double angle = M_PI * lm_random_uniform(&random);
    lm_demo_psf(stretch, angle, psf);
    for (size_t k = 0; k < LM_DEMO_PSF * LM_DEMO_PSF; k++) psf_pixels[k] = (float)psf[k];
    lm_demo_object(ret->kind, ret->mag, &random, FRAME, sky);
    LM_TRY(lm_demo_observe(sky, psf, &random, image, err));

    char path[PATH + 64];
    snprintf(path, sizeof path, "%s/%.*s", folder, NAME, ret->file);
    LM_OWN(lm_fits_out) out = NULL;
    LM_TRY(lm_fits_out_open(path, &out, err));
    LM_TRY(write_array(out, true, NULL, image, 2, (size_t[]){LM_DEMO_SIZE, LM_DEMO_SIZE}, ret, err));
    return write_array(out, false, "PSF", psf_pixels, 2, (size_t[]){LM_DEMO_PSF, LM_DEMO_PSF}, NULL, err);
}

static uint8_t *put_real(uint8_t *to, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits = __builtin_bswap64(bits); /* FITS is big-endian */
    memcpy(to, &bits, sizeof bits);
    return to + sizeof bits;
}

static lm_status write_catalog(const char *folder, const entry *entries, lm_error *err)
{
    enum { KIND = 10, ROW = NAME + KIND + 2 * 8 };
    static const char *const columns[][3] = {
        {"FILE", "24A", NULL}, {"KIND", "10A", NULL}, {"MAG", "D", "mag"}, {"NOISE_VARIANCE", "D", "electron2/s2"}};
    char path[PATH + 64];
    snprintf(path, sizeof path, "%s/catalog.fits", folder);
    LM_OWN(lm_fits_out) out = NULL;
    LM_TRY(lm_fits_out_open(path, &out, err));
    lm_header header;
    lm_header_init(&header);
    lm_header_image(&header, true, NULL, NULL);
    lm_status status = lm_fits_out_begin(out, &header, err);
    if (!status) status = lm_fits_out_end(out, err);
    lm_header_add(&header, "XTENSION", lm_text_value("BINTABLE"), "binary table");
    lm_header_add(&header, "BITPIX", lm_int(8), NULL);
    lm_header_add(&header, "NAXIS", lm_int(2), NULL);
    lm_header_add(&header, "NAXIS1", lm_int(ROW), "bytes in a row");
    lm_header_add(&header, "NAXIS2", lm_int(OBJECTS), "rows");
    lm_header_add(&header, "PCOUNT", lm_int(0), NULL);
    lm_header_add(&header, "GCOUNT", lm_int(1), NULL);
    lm_header_add(&header, "TFIELDS", lm_int(sizeof columns / sizeof *columns), "columns");
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        static const char *const words[] = {"TTYPE", "TFORM", "TUNIT"};
        for (size_t k = 0; k < 3; k++) {
            char name[16];
            snprintf(name, sizeof name, "%s%zu", words[k], i + 1);
            if (columns[i][k]) lm_header_add(&header, name, lm_text_value(columns[i][k]), NULL);
        }
    }
    if (!status) status = header.failed ? LM_NOMEM(err) : lm_fits_out_begin(out, &header, err);
    lm_header_done(&header);
    LM_TRY(status);
    for (size_t i = 0; i < OBJECTS; i++) {
        uint8_t row[ROW] = {0};
        memcpy(row, entries[i].file, NAME);
        memcpy(row + NAME, lm_demo_kind_names[entries[i].kind], strlen(lm_demo_kind_names[entries[i].kind]));
        put_real(put_real(row + NAME + KIND, entries[i].mag), entries[i].noise_variance);
        LM_TRY(lm_fits_out_bytes(out, row, sizeof row, err));
    }
    return lm_fits_out_end(out, err);
}

/* ---- arrays for the statistical tests ---- */

/* A parameter t ~ N(0, 1), a measurement d ~ N(t, s^2): the posterior is N(d / (1 + s^2), s^2 / (1 + s^2)). The inference
 * believes in error bars `believed` times as large. */
static lm_status write_posteriors(const char *folder, const char *name, double believed, lm_error *err)
{
    const double s2[PARAMETERS] = {0.1, 0.3, 1.0};
    size_t n = (size_t)SIMULATIONS * PARAMETERS;
    LM_OWN(lm_memory) memory = lm_alloc(n * (DRAWS + 1), sizeof(float));
    if (!memory) return LM_NOMEM(err);
    float *draws = memory, *truth = draws + n * DRAWS;
    for (size_t i = 0; i < SIMULATIONS; i++) {
        lm_random random = stream(name, i);
        for (size_t p = 0; p < PARAMETERS; p++) {
            double t = lm_random_normal(&random);
            double d = t + sqrt(s2[p]) * lm_random_normal(&random);
            double mean = d / (1 + s2[p]), sd = believed * sqrt(s2[p] / (1 + s2[p]));
            truth[i * PARAMETERS + p] = (float)t;
            for (size_t k = 0; k < DRAWS; k++)
                draws[(k * SIMULATIONS + i) * PARAMETERS + p] = (float)(mean + sd * lm_random_normal(&random));
        }
    }
    char path[PATH + 64];
    snprintf(path, sizeof path, "%s/%s.fits", folder, name);
    LM_OWN(lm_fits_out) out = NULL;
    LM_TRY(lm_fits_out_open(path, &out, err));
    LM_TRY(write_array(out, true, "DRAWS", draws, 3, (size_t[]){DRAWS, SIMULATIONS, PARAMETERS}, NULL, err));
    return write_array(out, false, "TRUTH", truth, 2, (size_t[]){SIMULATIONS, PARAMETERS}, NULL, err);
}

/* Magnitude, ln(radius / pix), axis ratio, ln(Sersic index): fainter galaxies are smaller, round ones more concentrated. */
static lm_status write_populations(const char *folder, lm_error *err)
{
    static const struct {
        const char *name;
        double larger;
    } sets[] = {{"OBSERVED", 1}, {"SIMULATED", 1}, {"SWOLLEN", 1.12}};
    LM_OWN(lm_memory) memory = lm_alloc((size_t)GALAXIES * PROPERTIES, sizeof(float));
    if (!memory) return LM_NOMEM(err);
    float *values = memory;
    char path[PATH + 64];
    snprintf(path, sizeof path, "%s/populations.fits", folder);
    LM_OWN(lm_fits_out) out = NULL;
    LM_TRY(lm_fits_out_open(path, &out, err));
    for (size_t s = 0; s < sizeof sets / sizeof *sets; s++) {
        for (size_t i = 0; i < GALAXIES; i++) {
            lm_random random = stream(sets[s].name, i);
            double mag = 24.5 + log(1 - lm_random_uniform(&random)) / 0.8; /* counts rise as 10^(0.35 mag) */
            double q = 0.2 + 0.8 * lm_random_uniform(&random);
            double radius = log(8 * sets[s].larger) - 0.25 * (mag - 22) + 0.35 * lm_random_normal(&random);
            double index = log(1.2) + 0.8 * (q - 0.5) + 0.3 * lm_random_normal(&random);
            const double row[PROPERTIES] = {mag, radius, q, index};
            for (size_t p = 0; p < PROPERTIES; p++) values[i * PROPERTIES + p] = (float)row[p];
        }
        LM_TRY(write_array(out, s == 0, sets[s].name, values, 2, (size_t[]){GALAXIES, PROPERTIES}, NULL, err));
    }
    return LM_OK;
}

static lm_status make_all(const char *folder, lm_error *err)
{
    char cutouts[PATH], posteriors[PATH], top[PATH];
    entry entries[OBJECTS];
    LM_TRY(make_folder(top, folder, "", err));
    LM_TRY(make_folder(cutouts, folder, "cutouts", err));
    LM_TRY(make_folder(posteriors, folder, "posteriors", err));
    LM_OWN(lm_memory) sky = lm_alloc((size_t)FRAME * FRAME, sizeof(double));
    if (!sky) return LM_NOMEM(err);
    for (size_t i = 0; i < OBJECTS; i++) LM_TRY(make_cutout(cutouts, i, sky, &entries[i], err));
    LM_TRY(write_posteriors(posteriors, "right", 1, err));
    LM_TRY(write_posteriors(posteriors, "too-narrow", 0.67, err));
    LM_TRY(write_populations(top, err));
    return write_catalog(top, entries, err); /* last: where it is, all is there */
}

int lm_cmd_demo_data(int argc, char **argv)
{
    lm_arguments arguments;
    int status = 0;
    if (!lm_options_parse(&command, argc, argv, &arguments, &status)) return status;
    const char *folder = arguments.at[0];
    lm_error err = {0};
    if (make_all(folder, &err)) {
        lm_print_error("lensmill demo-data", &err);
        return LM_EXIT_FAILED;
    }
    printf("%s: cutouts/ (%d galaxies), catalog.fits, posteriors/, populations.fits\n", folder, OBJECTS);
    return LM_EXIT_OK;
}
