/* fits.write, read back with our own reader: pixels, types, units, cards, sums; and bytes that never change. */
#include "operators/builtin.h"
#include "operators/io/_fits.h"
#include "operators/io/_item.h"
#include "runtime/registry.h"
#include "tests/apply.h"
#include "tests/test.h"

#include <stdint.h>

extern const lm_operator lm_op_fits_write;

static const char *out_path(char path[512], const char *name)
{
    snprintf(path, 512, "%s/%s", test_folder(), name);
    return path;
}

static void write_to(const char *path, const char *more, const lm_record *record)
{
    char params[700];
    snprintf(params, sizeof params, "{\"path\": \"%s\"%s}", path, more);
    lm_record_unref(apply(&lm_op_fits_write, params, record));
}

static void put_values(lm_record *record, const char *name, lm_dtype dtype, const char *unit)
{
    const double values[6] = {0, 1, 200, 0, 3, 127};
    const size_t shape[2] = {2, 3};
    lm_error err = {0};
    lm_tensor *tensor = NULL;
    OK(lm_tensor_new(dtype, 2, shape, &tensor, &err), &err);
    lm_tensor_from_f64(tensor, values);
    if (dtype == LM_I16) ((int16_t *)tensor->data)[5] = INT16_MIN;
    if (dtype == LM_U16) ((uint16_t *)tensor->data)[5] = UINT16_MAX;
    if (dtype == LM_I32) ((int32_t *)tensor->data)[5] = INT32_MIN;
    if (dtype == LM_U32) ((uint32_t *)tensor->data)[5] = UINT32_MAX;
    if (dtype == LM_I64) ((int64_t *)tensor->data)[5] = INT64_MIN + 1;
    if (dtype == LM_F32) ((float *)tensor->data)[5] = NAN;
    if (dtype == LM_F64) ((double *)tensor->data)[4] = (double)INFINITY, ((double *)tensor->data)[5] = 0.1;
    OK(lm_tensor_set_unit(tensor, unit, &err), &err);
    OK(lm_record_put(record, name, tensor, &err), &err);
}

static const struct {
    const char *name;
    lm_dtype dtype;
} kinds[] = {{"u8", LM_U8},   {"i16", LM_I16}, {"u16", LM_U16}, {"i32", LM_I32},
             {"u32", LM_U32}, {"i64", LM_I64}, {"f32", LM_F32}, {"f64", LM_F64}};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

static lm_record *all_kinds(void)
{
    lm_record *record = record_new("kinds");
    for (size_t i = 0; i < N_KINDS; i++) put_values(record, kinds[i].name, kinds[i].dtype, "electron/s");
    return record;
}

static void same_pixels(const char *path, const lm_record *record)
{
    lm_error err = {0};
    LM_OWN(lm_fits) fits = NULL;
    OK(lm_fits_open(path, &fits, &err), &err);
    size_t n = 0;
    OK(lm_fits_count(fits, &n, &err), &err);
    EQUAL_INT(n, 1 + N_KINDS);
    for (size_t i = 0; i < N_KINDS; i++) {
        lm_hdu hdu;
        LM_OWN(lm_tensor) tensor = NULL;
        const lm_tensor *want = lm_record_tensor(record, kinds[i].name);
        OK(lm_fits_find(fits, kinds[i].name, &hdu, &err), &err); /* EXTNAME is upper case; names are found in any */
        EQUAL_INT(hdu.number, i + 1);
        OK(lm_fits_image(fits, &hdu, &tensor, &err), &err);
        EQUAL_TEXT(lm_dtype_name(tensor->dtype), lm_dtype_name(want->dtype));
        CHECK(lm_tensor_same_shape(tensor, want));
        EQUAL_TEXT(tensor->unit, "electron/s");
        CHECK(memcmp(tensor->data, want->data, want->bytes) == 0);
    }
}

TEST(every_dtype_comes_back)
{
    char path[512];
    LM_OWN(lm_record) record = all_kinds();
    write_to(out_path(path, "kinds.fits"), "", record);
    same_pixels(path, record);
}

TEST(compression_loses_nothing)
{
    char path[512];
    LM_OWN(lm_record) record = all_kinds();
    write_to(out_path(path, "rice.fits"), ", \"compress\": \"rice\"", record);
    same_pixels(path, record);
    write_to(out_path(path, "gzip.fits"), ", \"compress\": \"gzip\"", record);
    same_pixels(path, record);
}

static char *slurp(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rb");
    CHECK(file);
    fseek(file, 0, SEEK_END);
    *n = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*n + 1);
    CHECK(bytes && fread(bytes, 1, *n, file) == *n);
    fclose(file);
    return bytes;
}

TEST(equal_records_give_equal_bytes)
{
    static const char *const more[] = {"", ", \"compress\": \"rice\"", ", \"compress\": \"gzip\""};
    LM_OWN(lm_record) record = all_kinds();
    for (size_t i = 0; i < 3; i++) {
        char path[512];
        size_t n[2];
        char *bytes[2];
        for (int k = 0; k < 2; k++) {
            write_to(out_path(path, "same.fits"), more[i], record);
            bytes[k] = slurp(path, &n[k]);
            EQUAL_INT(n[k] % 2880, 0);
        }
        /* the path, and so the key in HISTORY, differs by the random name of the folder */
        EQUAL_INT(n[0], n[1]);
        size_t differ = 0;
        for (size_t k = 0; k < n[0]; k++) differ += bytes[0][k] != bytes[1][k];
        CHECK(differ <= 64 + 16 + 16);
        free(bytes[0]);
        free(bytes[1]);
    }
}

/* All 32-bit words of an HDU with a right CHECKSUM add up to all ones, those of its data to DATASUM. */
TEST(sums_are_right)
{
    char path[512];
    LM_OWN(lm_record) record = all_kinds();
    lm_error err = {0};
    write_to(out_path(path, "sums.fits"), "", record);
    size_t n;
    unsigned char *bytes = (unsigned char *)slurp(path, &n);
    LM_OWN(lm_fits) fits = NULL;
    OK(lm_fits_open(path, &fits, &err), &err);
    for (size_t i = 0; i <= N_KINDS; i++) {
        lm_hdu hdu;
        lm_cards cards;
        lm_arena arena;
        OK(lm_fits_hdu(fits, i, &hdu, &err), &err);
        lm_arena_init(&arena);
        OK(lm_fits_cards(fits, &hdu, &arena, &cards, &err), &err);
        uint64_t sum = 0, data = 0, end = hdu.data_at + (hdu.data_bytes + 2879) / 2880 * 2880;
        for (uint64_t at = hdu.header_at; at < end; at += 4) {
            uint64_t word = (uint64_t)bytes[at] << 24 | (uint64_t)bytes[at + 1] << 16 | (uint64_t)bytes[at + 2] << 8 |
                            bytes[at + 3];
            sum += word;
            if (at >= hdu.data_at) data += word;
            sum = (sum & 0xffffffff) + (sum >> 32);
            data = (data & 0xffffffff) + (data >> 32);
        }
        EQUAL_INT(sum, 0xffffffff);
        char text[24];
        snprintf(text, sizeof text, "%llu", (unsigned long long)data);
        CHECK(lm_cards_find(&cards, "CHECKSUM"));
        EQUAL_TEXT(lm_cards_find(&cards, "DATASUM")->value.text, text);
        lm_arena_done(&arena);
    }
    free(bytes);
}

static void read_back(const char *path, lm_record **ret)
{
    lm_error err = {0};
    LM_OWN(lm_fits) fits = NULL;
    lm_hdu hdu;
    OK(lm_fits_open(path, &fits, &err), &err);
    OK(lm_fits_hdu(fits, 0, &hdu, &err), &err);
    OK(lm_item_add_cards(fits, &hdu, *ret, &err), &err);
}

TEST(attributes_come_back)
{
    char path[512], longer[400];
    memset(longer, 'x', sizeof longer - 1);
    for (size_t i = 0; i < sizeof longer - 1; i += 7) longer[i] = i % 2 ? ' ' : '\'';
    longer[sizeof longer - 2] = '.';
    longer[sizeof longer - 1] = 0;
    LM_OWN(lm_record) record = record_new("attributes");
    lm_error err = {0};
    OK(lm_record_set(record, "EXPTIME", lm_real(2028.5), "[s] exposure", &err), &err);
    record_set(record, "TINY", lm_real(1e-300));
    record_set(record, "THIRD", lm_real(1.0 / 3));
    record_set(record, "WHOLE", lm_real(4));
    record_set(record, "COUNT", lm_int(INT64_MAX));
    record_set(record, "FLAG", lm_bool(true));
    record_set(record, "TARGET", lm_text_value("O'Neill"));
    record_set(record, "EMPTY", lm_text_value(""));
    record_set(record, "LONGTEXT", lm_text_value(longer));
    record_set(record, "stamp_flux", lm_real(12.25));
    record_set(record, "a name with blanks", lm_int(-1));
    record_set(record, "long_text_name", lm_text_value(longer));
    record_set(record, "NOTHING", lm_null());
    record_set(record, "NOTANUM", lm_real((double)NAN));
    record_set(record, "HISTORY", lm_text_value("first\nsecond"));
    put_values(record, "image", LM_F32, NULL);
    write_to(out_path(path, "attributes.fits"), "", record);

    LM_OWN(lm_record) back = record_new("back");
    read_back(path, &back);
    static const char *const same[] = {"EXPTIME",
                                       "TINY",
                                       "THIRD",
                                       "WHOLE",
                                       "COUNT",
                                       "FLAG",
                                       "TARGET",
                                       "EMPTY",
                                       "LONGTEXT",
                                       "stamp_flux",
                                       "a name with blanks",
                                       "long_text_name"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        const lm_attr *a = lm_record_attr(record, same[i]), *b = lm_record_attr(back, same[i]);
        if (!b) FAIL("%s did not come back", same[i]);
        if (!lm_value_equal(a->value, b->value)) FAIL("%s changed", same[i]);
        EQUAL_INT(a->value.kind, b->value.kind);
    }
    EQUAL_TEXT(lm_record_attr(back, "EXPTIME")->comment, "[s] exposure");
    EQUAL_INT(lm_record_attr(back, "NOTHING")->value.kind, LM_KIND_NULL);
    EQUAL_INT(lm_record_attr(back, "NOTANUM")->value.kind, LM_KIND_NULL);
    EQUAL_TEXT(lm_record_attr(back, "ID")->value.text, "attributes");
    const char *history = lm_record_attr(back, "HISTORY")->value.text;
    CHECK(strncmp(history, "first\nsecond\nlensmill step\n", 27) == 0);
    EQUAL_INT(strspn(history + 27, "0123456789abcdef"), 64);
}

TEST(sky_goes_with_images_of_its_shape)
{
    char path[512];
    LM_OWN(lm_record) record = record_new("sky");
    const double row[3] = {1, 2, 3};
    const size_t three = 3;
    lm_error err = {0};
    record_set(record, "CTYPE1", lm_text_value("RA---TAN-SIP"));
    record_set(record, "CD1_2", lm_real(1e-5));
    record_set(record, "A_0_2", lm_real(1e-7));
    record_set(record, "CDATE", lm_text_value("no coordinate"));
    put_values(record, "image", LM_F32, NULL);
    put_values(record, "model", LM_F64, NULL);
    record_f64(record, "psf", row, 1, &three);
    write_to(out_path(path, "sky.fits"), "", record);
    LM_OWN(lm_fits) fits = NULL;
    OK(lm_fits_open(path, &fits, &err), &err);
    for (size_t i = 1; i <= 3; i++) {
        lm_hdu hdu;
        lm_cards cards;
        lm_arena arena;
        lm_arena_init(&arena);
        OK(lm_fits_hdu(fits, i, &hdu, &err), &err);
        OK(lm_fits_cards(fits, &hdu, &arena, &cards, &err), &err);
        EQUAL_INT(lm_cards_find(&cards, "CTYPE1") != NULL, i < 3);
        EQUAL_INT(lm_cards_find(&cards, "CD1_2") != NULL, i < 3);
        EQUAL_INT(lm_cards_find(&cards, "A_0_2") != NULL, i < 3);
        CHECK(!lm_cards_find(&cards, "CDATE"));
        lm_arena_done(&arena);
    }
}

TEST(a_missing_tensor_is_named)
{
    char path[512], params[700];
    LM_OWN(lm_record) record = record_new("x");
    put_values(record, "residual", LM_F32, NULL);
    snprintf(params, sizeof params, "{\"path\": \"%s\", \"tensors\": [\"residuals\"]}", out_path(path, "x.fits"));
    const lm_record *in = record;
    apply_input inputs[] = {{"in", &in, 1}, {NULL, NULL, 0}};
    lm_record *outputs[LM_MAX_PORTS];
    lm_error err = {0};
    EQUAL_INT(apply_step(&lm_op_fits_write, params, inputs, 0, outputs, NULL, &err), LM_EINPUT);
    CONTAINS(err.text, "no tensor \"residuals\"");
    CONTAINS(err.hint, "\"residual\"");
    CHECK(fopen(path, "rb") == NULL);
}
