/* fits.read: which items it lists, and the records that come of them. The test stands in for the engine's list. */
#include "operators/io/_fits.h"
#include "runtime/param.h"
#include "runtime/step.h"
#include "tests/apply.h"
#include "tests/test.h"

#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

extern const lm_operator lm_op_fits_read, lm_op_fits_write;

/* ---- the list --------------------------------------------------------------------------------------------------- */

typedef struct {
    char *id, *spec, *files[4], *why;
    size_t n_files;
} listed;

struct lm_items {
    listed at[2048];
    size_t n, n_folders;
    char *folders[64];
};

lm_status lm_items_add(lm_items *items, const char *id, const char *spec, const char *const *files, size_t n_files,
                       lm_error *err)
{
    (void)err;
    listed *to = &items->at[items->n++];
    *to = (listed){.id = strdup(id), .spec = strdup(spec), .n_files = n_files};
    for (size_t i = 0; i < n_files && i < 4; i++) to->files[i] = strdup(files[i]);
    return LM_OK;
}

lm_status lm_items_fail(lm_items *items, const char *id, const lm_error *why, lm_error *err)
{
    (void)err;
    items->at[items->n++] = (listed){.id = strdup(id), .why = strdup(why->text)};
    return LM_OK;
}

lm_status lm_items_watch(lm_items *items, const char *folder, lm_error *err)
{
    (void)err;
    items->folders[items->n_folders++] = strdup(folder);
    return LM_OK;
}

typedef struct {
    lm_arena arena;
    json_t *with, *complete;
    void *self;
    lm_items items;
} reader;

static void report(void *arg, const char *path, const char *text, const char *hint)
{
    (void)path;
    lm_error *err = arg;
    if (!err->status) lm_fail(err, LM_EGRAPH, hint, "%s", text);
}

/* Fills the parameters and lists. */
static lm_status list(reader *r, const char *params, lm_error *err)
{
    const lm_operator *op = &lm_op_fits_read;
    const char *canonical;
    lm_error_clear(err);
    memset(r, 0, sizeof *r);
    lm_arena_init(&r->arena);
    r->with = json_loads(params, 0, NULL);
    CHECK(r->with);
    r->self = lm_arena_alloc(&r->arena, 1, op->size);
    lm_param_reporter reporter = {.report = report, .arg = err};
    LM_TRY(lm_params_fill(op, r->with, ".", &r->arena, r->self, &r->complete, &canonical, &reporter));
    EQUAL_TEXT(canonical, "{}"); /* the key knows a record by its item and the bytes of its files alone */
    LM_TRY(op->check(r->self, err));
    LM_TRY(op->open(r->self, err));
    return op->list(r->self, &r->items, err);
}

static lm_status read_item(reader *r, size_t i, lm_record **ret, lm_error *err)
{
    lm_step step;
    lm_step_init(&step);
    lm_step_begin(&step, &lm_op_fits_read, r->self, r->complete, "test");
    step.item = r->items.at[i].spec;
    step.id = r->items.at[i].id;
    lm_error_clear(err);
    lm_status status = lm_op_fits_read.step(r->self, &step, err);
    if (!status) status = lm_step_finish(&step, err);
    if (!status) *ret = lm_take(step.outputs[0].record);
    lm_step_done(&step);
    return status;
}

static void done(reader *r)
{
    lm_op_fits_read.close(r->self);
    for (size_t i = 0; i < r->items.n; i++) {
        listed *at = &r->items.at[i];
        for (size_t k = 0; k < at->n_files && k < 4; k++) free(at->files[k]);
        free(at->id), free(at->spec), free(at->why);
    }
    for (size_t i = 0; i < r->items.n_folders; i++) free(r->items.folders[i]);
    json_decref(r->with);
    json_decref(r->complete);
    lm_arena_done(&r->arena);
}

static reader the_reader; /* too large for a stack */

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

/* A small image, with two cards. */
static void write_image(const char *path, double value)
{
    char params[700];
    const double pixels[6] = {value, 1, 2, 3, 4, 5};
    const size_t shape[2] = {2, 3};
    LM_OWN(lm_record) record = record_new("image");
    record_set(record, "OBJECT", lm_text_value("galaxy"));
    record_set(record, "MAG", lm_real(99));
    record_f32(record, "image", pixels, 2, shape);
    record_f64(record, "psf", pixels, 1, (size_t[]){6});
    snprintf(params, sizeof params, "{\"path\": \"%s\"}", path);
    lm_record_unref(apply(&lm_op_fits_write, params, record));
}

/* ---- tables ----------------------------------------------------------------------------------------------------- */

TEST(cosmos_galaxies_with_their_own_psf)
{
    char params[2000], folder[512];
    lm_error err;
    reader *r = &the_reader;
    snprintf(folder, sizeof folder, "%s", test_shared("data/cosmos_hst"));
    snprintf(params, sizeof params,
             "{\"table\": \"%s/catalog.fits\", \"id\": \"cosmos-{IDENT}\", \"tensors\": {\"image\": {\"file\": "
             "\"%s/{GAL_FILENAME}\", \"hdu\": \"{GAL_HDU}\"}, \"psf\": {\"file\": \"%s/{PSF_FILENAME}\", \"hdu\": "
             "\"{PSF_HDU}\"}}}",
             folder, folder, folder);
    OK(list(r, params, &err), &err);
    EQUAL_INT(r->items.n, 70);
    double psf_sum = 0;
    int near = 0;
    for (size_t i = 0; i < 70; i++) {
        LM_OWN(lm_record) record = NULL;
        CHECK(!r->items.at[i].why);
        CHECK(!strstr(r->items.at[i].spec, folder)); /* the same on every machine */
        EQUAL_INT(r->items.at[i].n_files, 2);
        OK(read_item(r, i, &record, &err), &err);
        EQUAL_TEXT(lm_record_id(record), r->items.at[i].id);
        CHECK(strncmp(lm_record_id(record), "cosmos-", 7) == 0);
        const lm_tensor *image = lm_record_tensor(record, "image"), *psf = lm_record_tensor(record, "psf");
        CHECK(image && psf);
        EQUAL_INT(psf->ndim, 2);
        EQUAL_INT(psf->shape[0] * psf->shape[1], 65 * 51);
        /* SOURCE.md: AB zero point 25.94. Neighbours and the stamp's edge change the flux: most agree to 0.6 mag, which
         * rows and images that were mixed up would not. */
        double sum = 0, mag = lm_value_real(lm_record_value(record, "MAG"));
        for (size_t k = 0; k < lm_tensor_count(image); k++) sum += lm_tensor_get(image, k);
        near += fabs(25.94 - 2.5 * log10(sum) - mag) < 0.6;
        for (size_t k = 0; k < lm_tensor_count(psf); k++) psf_sum += lm_tensor_get(psf, k) / 70;
        EQUAL_INT(lm_record_value(record, "GAL_HDU").kind, LM_KIND_INT);
        EQUAL_INT(lm_record_value(record, "finite").integer, lm_tensor_count(image));
        CHECK(lm_record_attr(record, "ORIGHDU")); /* a card of the image's HDU */
        CHECK(lm_value_real(lm_record_value(record, "MAG")) < 26.1);
    }
    NEAR(psf_sum, 0.981, ABS(1e-3)); /* three digits are given */
    CHECK(near >= 66);
    done(r);
}

TEST(a_broken_row_is_its_own_dead_letter)
{
    char path[512], params[1600];
    lm_error err;
    reader *r = &the_reader;
    const char *folder = test_folder();
    snprintf(path, sizeof path, "%s/a.fits", folder);
    write_image(path, 7);
    snprintf(path, sizeof path, "%s/list.csv", folder);
    write_file(path, "NAME,FILE,HDU,MAG,note\n"
                     "one,a.fits,1,21.5,\"a, \"\"b\"\"\"\n"
                     "two,missing.fits,1,22,\n"
                     "three,a.fits,,23,\n"
                     "four,a.fits\n"
                     "five,a.fits,9,24,\n");
    snprintf(params, sizeof params,
             "{\"table\": \"%s\", \"id\": \"{NAME}\", \"tensors\": {\"image\": {\"file\": \"{FILE}\", \"hdu\": "
             "\"{HDU}\"}}, \"attrs\": {\"pixel\": 0.05}}",
             path);
    OK(list(r, params, &err), &err);
    EQUAL_INT(r->items.n, 5);
    LM_OWN(lm_record) record = NULL;
    OK(read_item(r, 0, &record, &err), &err);
    EQUAL_TEXT(lm_record_id(record), "one");
    EQUAL_TEXT(lm_record_value(record, "note").text, "a, \"b\"");
    NEAR(lm_record_value(record, "MAG").real, 21.5, ABS(0)); /* the table wins over the card */
    NEAR(lm_record_value(record, "pixel").real, 0.05, ABS(0));
    EQUAL_TEXT(lm_record_value(record, "OBJECT").text, "galaxy"); /* of the primary HDU */
    EQUAL_TEXT(lm_record_value(record, "shape").text, "[2, 3]");
    EQUAL_TEXT(lm_record_value(record, "dtype").text, "float32");
    NEAR(lm_record_value(record, "maximum").real, 7, ABS(0));
    CONTAINS(r->items.at[1].why, "no file");
    CONTAINS(r->items.at[1].why, "missing.fits");
    CONTAINS(r->items.at[1].why, "row 2");
    CONTAINS(r->items.at[2].why, "HDU");
    CONTAINS(r->items.at[3].why, "2 cells, but 5 columns");
    CHECK(!r->items.at[4].why);
    lm_record *none = NULL;
    EQUAL_INT(read_item(r, 4, &none, &err), LM_EINPUT);
    CONTAINS(err.text, "no HDU 9: it has 3");
    done(r);
}

/* Files stay open between steps, but not when they have changed. */
TEST(a_file_that_changes_is_opened_again)
{
    char path[512], params[700];
    lm_error err;
    reader *r = &the_reader;
    snprintf(path, sizeof path, "%s/a.fits", test_folder());
    write_image(path, 7);
    snprintf(params, sizeof params, "{\"path\": \"%s\"}", path);
    OK(list(r, params, &err), &err);
    for (int i = 0; i < 3; i++) {
        LM_OWN(lm_record) record = NULL;
        if (i == 2) write_image(path, 8);
        OK(read_item(r, 0, &record, &err), &err);
        NEAR(lm_record_value(record, "maximum").real, i < 2 ? 7 : 8, ABS(0));
    }
    done(r);
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

static void list_ids(const char *path, const char *more, char *ids, size_t size)
{
    char params[1200];
    lm_error err;
    reader *r = &the_reader;
    snprintf(params, sizeof params, "{\"path\": \"%s\"%s}", path, more);
    OK(list(r, params, &err), &err);
    ids[0] = 0;
    for (size_t i = 0; i < r->items.n; i++) {
        size_t n = strlen(ids);
        snprintf(ids + n, size - n, "%s%s", n ? " " : "", r->items.at[i].id);
    }
    done(r);
}

TEST(files_folders_and_globs)
{
    char folder[300], path[512], ids[1000];
    snprintf(folder, sizeof folder, "%s", test_folder());
    snprintf(path, sizeof path, "%s/sub", folder);
    CHECK(mkdir(path, 0700) == 0);
    snprintf(path, sizeof path, "%s/sub/deep", folder);
    CHECK(mkdir(path, 0700) == 0);
    snprintf(path, sizeof path, "%s/sub/loop", folder);
    CHECK(symlink(folder, path) == 0); /* a circle */
    static const char *const names[] = {"b.fits",          "a.FITS",    "sub/c.fit",
                                        "sub/deep/d.fits", "notes.txt", ".hidden.fits"};
    for (size_t i = 0; i < 6; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        write_image(path, 1);
    }
    list_ids(folder, "", ids, sizeof ids);
    EQUAL_TEXT(ids, ".hidden.fits a.FITS b.fits sub/c.fit sub/deep/d.fits");
    snprintf(path, sizeof path, "%s/**", folder);
    list_ids(path, "", ids, sizeof ids);
    EQUAL_TEXT(ids, ".hidden.fits a.FITS b.fits notes.txt sub/c.fit sub/deep/d.fits");
    snprintf(path, sizeof path, "%s/*.fits", folder);
    list_ids(path, "", ids, sizeof ids);
    EQUAL_TEXT(ids, ".hidden.fits b.fits");
    snprintf(path, sizeof path, "%s/**/[c-d].fit*", folder);
    list_ids(path, "", ids, sizeof ids);
    EQUAL_TEXT(ids, "sub/c.fit sub/deep/d.fits");
    snprintf(path, sizeof path, "%s/b.fits", folder);
    list_ids(path, "", ids, sizeof ids);
    EQUAL_TEXT(ids, "b.fits");
    snprintf(path, sizeof path, "%s/s*/*.fit", folder);
    list_ids(path, ", \"id\": \"{OBJECT}-{stem}\"", ids, sizeof ids);
    EQUAL_TEXT(ids, "galaxy-c");

    char params[700];
    lm_error err;
    snprintf(params, sizeof params, "{\"path\": \"%s/*.fitz\"}", folder);
    EQUAL_INT(list(&the_reader, params, &err), LM_EINPUT);
    CONTAINS(err.text, "*.fitz\" matches no file");
    done(&the_reader);
    snprintf(params, sizeof params, "{\"path\": \"%s/nowhere\"}", folder);
    EQUAL_INT(list(&the_reader, params, &err), LM_EINPUT);
    CONTAINS(err.text, "nowhere");
    done(&the_reader);
}

TEST(files_named_one_by_one)
{
    char params[1600], folder[512];
    lm_error err;
    reader *r = &the_reader;
    snprintf(folder, sizeof folder, "%s", test_shared("data/lens_slacs0946"));
    snprintf(params, sizeof params,
             "{\"id\": \"J0946+1006\", \"tensors\": {\"image\": {\"file\": \"%s/data.fits\"}, \"noise\": {\"file\": "
             "\"%s/noise_map.fits\", \"dtype\": \"float32\"}}, \"attrs\": {\"pixel\": 0.05, \"z_lens\": 0.222}}",
             folder, folder);
    OK(list(r, params, &err), &err);
    EQUAL_INT(r->items.n, 1);
    EQUAL_INT(r->items.at[0].n_files, 2);
    CHECK(!strstr(r->items.at[0].spec, folder));
    LM_OWN(lm_record) record = NULL;
    OK(read_item(r, 0, &record, &err), &err);
    EQUAL_TEXT(lm_record_id(record), "J0946+1006");
    EQUAL_TEXT(lm_record_value(record, "shape").text, "[281, 281]");
    EQUAL_INT(lm_record_tensor(record, "noise")->dtype, LM_F32);
    EQUAL_INT(lm_record_tensor(record, "image")->dtype, LM_F64);
    done(r);
}

TEST(watching_waits_for_a_whole_file)
{
    char folder[300], path[512], ids[400], more[] = ", \"watch\": true, \"settle\": 2";
    snprintf(folder, sizeof folder, "%s", test_folder());
    struct utimbuf old = {time(NULL) - 100, time(NULL) - 100};
    list_ids(folder, more, ids, sizeof ids); /* nothing yet is no error */
    EQUAL_TEXT(ids, "");
    snprintf(path, sizeof path, "%s/a.fits", folder);
    write_image(path, 1);
    list_ids(folder, more, ids, sizeof ids);
    EQUAL_TEXT(ids, ""); /* too young */
    CHECK(utime(path, &old) == 0);
    list_ids(folder, more, ids, sizeof ids);
    EQUAL_TEXT(ids, "a.fits");
    struct stat st;
    CHECK(stat(path, &st) == 0 && truncate(path, st.st_size - 2880) == 0 && utime(path, &old) == 0);
    list_ids(folder, more, ids, sizeof ids);
    EQUAL_TEXT(ids, ""); /* a multiple of 2880 bytes, but less than the headers promise */
    snprintf(path, sizeof path, "%s/b.fits.part", folder);
    write_image(path, 1);
    CHECK(utime(path, &old) == 0);
    snprintf(path, sizeof path, "%s/**", folder);
    list_ids(path, more, ids, sizeof ids);
    EQUAL_TEXT(ids, "");
}

TEST(wrong_parameters_are_refused)
{
    static const struct {
        const char *params, *says;
    } wrong[] = {
        {"{\"path\": \"a\", \"table\": \"b\"}", "both given"},
        {"{}", "nothing says which file"},
        {"{\"tensors\": {\"image\": {\"file\": \"a.fits\"}}}", "relative, but to nothing"},
        {"{\"path\": \"a\", \"tensors\": {\"image\": {\"hdv\": 1}}}", "hdv"},
        {"{\"path\": \"a\", \"tensors\": {\"image\": {\"dtype\": \"float33\"}}}", "float33"},
        {"{\"table\": \"a.csv\", \"tensors\": {\"image\": 1}}", "each tensor names its file"},
        {"{\"path\": \"a\", \"hdu\": 1}", "no \"table\""},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        lm_error err;
        reader *r = &the_reader;
        lm_status status = list(r, wrong[i].params, &err);
        if (status != LM_EGRAPH) FAIL("%s is not refused", wrong[i].params);
        CONTAINS(err.text, wrong[i].says);
        done(r);
    }
}
