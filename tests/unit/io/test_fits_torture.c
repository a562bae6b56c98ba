/* Every file of the torture collection: it agrees with what astropy reads, or it is an error that names the fault. */
#include "operators/io/_fits.h"
#include "tests/test.h"

#include <jansson.h>
#include <sys/stat.h>

/* Files whose first image cannot be read, and what the error must say. astropy reads some of them: not as an image. */
static const struct {
    const char *file, *says;
} faults[] = {
    {"astropy/ascii.fits", "no HDU with pixels"},
    {"astropy/chandra_time.fits", "no HDU with pixels"},
    {"astropy/example_4d_tab.fits", "no HDU with pixels"},
    {"astropy/group.fits", "random groups"},
    {"astropy/group_invalid.fits", "random groups"},
    {"astropy/header_with_time.fits", "SIMPLE = F"},
    {"astropy/memtest.fits", "no HDU with pixels"},
    {"astropy/random_groups.fits", "random groups"},
    {"astropy/sip.fits", "no HDU with pixels"},
    {"astropy/stddata.fits", "no HDU with pixels"},
    {"astropy/tb.fits", "no HDU with pixels"},
    {"astropy/theap-gap.fits", "no HDU with pixels"},
    {"astropy/verify.fits", "no HDU with pixels"},
    {"astropy/vla_logical_null.fits", "no HDU with pixels"},
    {"astropy/zerowidth.fits", "no HDU with pixels"},
    {"cfitsio/iter_a.fit", "no HDU with pixels"},
    {"cfitsio/iter_c.fit", "no HDU with pixels"},
    {"derived/empty.fits", "is empty"},
    {"derived/m13_cut_gz.fits.gz", "gzip stream is cut off"},
    {"derived/m13_cut_mid_data.fits", "the header promises 182880 bytes, the file has 100000"},
    {"derived/m13_naxis_huge.fits", "truncated"},
    {"derived/m13_rice_zeroed_tile.fits", "cannot be decompressed"},
    {"nomtam/bt12.fits", "no HDU with pixels"},
    {"nomtam/bt12.fits.fz", "no HDU with pixels"},
    {"nomtam/issue49test.fits", "no HDU with pixels"},
};

static const char *fault_of(const char *file)
{
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        if (strcmp(faults[i].file, file) == 0) return faults[i].says;
    return NULL;
}

/* astropy keeps integers where a BLANK card names a value that no pixel has; our dtype does not hang on the pixels. */
static bool dtype_agrees(const char *ours, const char *theirs, bool has_blank)
{
    if (strcmp(ours, theirs) == 0) return true;
    return has_blank && strncmp(theirs, "int", 3) == 0 && strncmp(ours, "float", 5) == 0;
}

static json_t *first_image(json_t *file)
{
    size_t i;
    json_t *hdu;
    json_array_foreach(json_object_get(file, "hdus"), i, hdu)
    {
        const char *type = json_string_value(json_object_get(hdu, "type"));
        if (!strcmp(type, "BinTableHDU") || !strcmp(type, "TableHDU")) continue;
        if (json_object_get(hdu, "sum")) return hdu;
    }
    return NULL;
}

static void compare(const char *file, const lm_tensor *tensor, bool has_blank, json_t *want)
{
    const char *dtype = json_string_value(json_object_get(want, "dtype"));
    if (!dtype_agrees(lm_dtype_name(tensor->dtype), dtype, has_blank))
        FAIL("%s: dtype %s, astropy reads %s", file, lm_dtype_name(tensor->dtype), dtype);
    json_t *shape = json_object_get(want, "shape");
    if (json_array_size(shape) != tensor->ndim) FAIL("%s: %u axes", file, tensor->ndim);
    for (unsigned i = 0; i < tensor->ndim; i++)
        if ((size_t)json_integer_value(json_array_get(shape, i)) != tensor->shape[i]) FAIL("%s: another shape", file);
    double sum = 0, minimum = HUGE_VAL, maximum = -HUGE_VAL;
    long long odd = 0;
    size_t n = lm_tensor_count(tensor);
    for (size_t i = 0; i < n; i++) {
        double x = lm_tensor_get(tensor, i);
        if (!isfinite(x)) {
            odd++;
            continue;
        }
        sum += x;
        minimum = fmin(minimum, x);
        maximum = fmax(maximum, x);
    }
    long long want_odd = json_integer_value(json_object_get(want, "nonfinite"));
    if (odd != want_odd) FAIL("%s: %lld pixels are not finite, astropy has %lld", file, odd, want_odd);
    if ((size_t)odd == n) return;
    double want_sum = json_number_value(json_object_get(want, "sum"));
    double want_min = json_number_value(json_object_get(want, "min"));
    double want_max = json_number_value(json_object_get(want, "max"));
    /* sums of up to 262144 float32 pixels, added in another order */
    if (!(fabs(sum - want_sum) <= 1e-6 * fabs(want_sum))) FAIL("%s: sum %.17g, astropy has %.17g", file, sum, want_sum);
    /* dequantised and scaled pixels: one rounding to float32 may differ */
    if (!(fabs(minimum - want_min) <= 1e-6 * fabs(want_min)))
        FAIL("%s: minimum %.17g, not %.17g", file, minimum, want_min);
    if (!(fabs(maximum - want_max) <= 1e-6 * fabs(want_max)))
        FAIL("%s: maximum %.17g, not %.17g", file, maximum, want_max);
}

static lm_status read_first(const char *path, lm_tensor **ret, bool *has_blank, lm_error *err)
{
    LM_OWN(lm_fits) fits = NULL;
    lm_hdu hdu;
    LM_TRY(lm_fits_open(path, &fits, err));
    LM_TRY(lm_fits_first(fits, &hdu, err));
    LM_TRY(lm_fits_image(fits, &hdu, ret, err));
    lm_arena arena;
    lm_arena_init(&arena);
    lm_cards cards;
    lm_status status = lm_fits_cards(fits, &hdu, &arena, &cards, err);
    *has_blank = !status && lm_cards_find(&cards, "BLANK");
    lm_arena_done(&arena);
    return status;
}

TEST(fits_torture)
{
    json_t *expected = json_load_file(test_shared("data/fits_torture/EXPECTED.json"), 0, NULL);
    CHECK(expected);
    const char *file;
    json_t *want;
    int read = 0, refused = 0;
    json_object_foreach(expected, file, want)
    {
        char path[512];
        snprintf(path, sizeof path, "data/fits_torture/%s", file);
        lm_error err;
        lm_error_clear(&err);
        lm_tensor *tensor = NULL;
        bool has_blank = false;
        lm_status status = read_first(test_shared(path), &tensor, &has_blank, &err);
        const char *says = fault_of(file);
        if (says) {
            if (!status) FAIL("%s was read, but should say \"%s\"", file, says);
            EQUAL_INT(status, LM_EINPUT);
            if (!strstr(err.text, says)) FAIL("%s: says \"%s\", not \"%s\"", file, err.text, says);
            if (!strstr(err.text, file)) FAIL("%s: the error does not name the file: %s", file, err.text);
            refused++;
        } else {
            if (status) FAIL("%s: %s", file, err.text);
            json_t *image = first_image(want);
            if (image) compare(file, tensor, has_blank, image);
            else if (!strstr(file, ".Z")) /* astropy has no module for these */
                FAIL("%s: astropy reads no image", file);
            read++;
        }
        lm_tensor_unref(tensor);
    }
    EQUAL_INT(read + refused, 85);
    json_decref(expected);
}

/* Each allocation of a read fails in turn: out of memory is said, nothing leaks, and the read works again. */
TEST(memory_may_run_out)
{
    static const char *const files[] = {
        "astropy/m13_rice.fits", "astropy/m13_hcomp.fits", "derived/decam_oow_gzip_2.fits",
        "galsim/testD.fits.gz",  "galsim/testD.fits.bz2",  "astropy/lzw.fits.Z",
        "astropy/test0.fits"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[512];
        snprintf(path, sizeof path, "data/fits_torture/%s", files[i]);
        snprintf(path, sizeof path, "%s", test_shared(path));
        for (uint64_t n = 1; n < 10000; n++) {
            lm_error err = {0};
            lm_tensor *tensor = NULL;
            bool has_blank = false;
            lm_alloc_fail_at(n);
            lm_status status = read_first(path, &tensor, &has_blank, &err);
            bool fired = lm_alloc_count() >= n;
            lm_alloc_fail_at(0);
            lm_tensor_unref(tensor);
            if (fired && status && status != LM_EMEMORY) FAIL("%s, allocation %d: %s", files[i], (int)n, err.text);
            if (!fired) {
                OK(status, &err);
                break;
            }
        }
    }
}
