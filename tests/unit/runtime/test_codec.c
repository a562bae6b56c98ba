/* Stored records and tensors: their bytes never change, since their digests are names. */
#include "runtime/codec.h"
#include "tests/apply.h"
#include "tests/test.h"

#include <string.h>

static lm_error *err = &(lm_error){0};

static lm_tensor *counting(lm_dtype dtype, unsigned ndim, const size_t *shape, const char *unit, const char *axes)
{
    lm_tensor *tensor = NULL;
    OK(lm_tensor_new(dtype, ndim, shape, &tensor, err), err);
    size_t n = lm_tensor_count(tensor);
    for (size_t i = 0; i < n; i++) {
        if (dtype == LM_F32) ((float *)tensor->data)[i] = (float)i;
        else ((double *)tensor->data)[i] = (double)i;
    }
    if (unit) OK(lm_tensor_set_unit(tensor, unit, err), err);
    if (axes) OK(lm_tensor_set_axes(tensor, axes, err), err);
    return tensor;
}

static lm_tensor *small(void)
{
    return counting(LM_F32, 2, (size_t[]){2, 3}, "ct", "y x");
}

static lm_tensor *large(void)
{
    return counting(LM_F64, 2, (size_t[]){30, 40}, NULL, NULL);
}

static lm_record *galaxy(void)
{
    lm_record *r = record_new("g1");
    OK(lm_record_set(r, "MAG", lm_real(21.5), "[mag]", err), err);
    record_set(r, "N", lm_int(-3));
    record_set(r, "BAND", lm_text_value("F814W"));
    record_set(r, "OK", lm_bool(true));
    record_set(r, "Z", lm_null());
    OK(lm_record_put(r, "image", small(), err), err);
    OK(lm_record_put(r, "cube", large(), err), err);
    return r;
}

static void check_digest(const lm_digest *digest, const char *expected)
{
    char text[65];
    EQUAL_TEXT(lm_digest_text(text, digest), expected);
}

/* The digests are those of the same messages made with Google's protobuf for Python (4.21.12). */
TEST(digests_stay_what_they_are)
{
    LM_OWN(lm_tensor) image = small();
    LM_OWN(lm_tensor) cube = large();
    lm_digest digest;
    OK(lm_tensor_digest(image, &digest, err), err);
    check_digest(&digest, "beea6de57af4f57f23f1b3cd6e9166cb4919223197cb0bee1b16e2f6f7acf183");
    OK(lm_tensor_digest(cube, &digest, err), err);
    check_digest(&digest, "28679be43923ddc805a557292d8687ed88ca11262794b295b85cf1cc81158197");
    LM_OWN(lm_record) record = galaxy();
    lm_arena arena;
    lm_arena_init(&arena);
    lm_bytes bytes;
    OK(lm_record_encode(record, false, &arena, &bytes, err), err);
    digest = lm_digest_of(bytes.data, bytes.size);
    check_digest(&digest, "8b732ed183fcdac91fed675c697af92e31559601e99eed40c2674410bb5ce2aa");
    lm_arena_done(&arena);
}

/* LMDB hands a large value out at 16 mod 4096. */
TEST(payloads_lie_at_multiples_of_64)
{
    const char *const units[] = {NULL, "s", "electron/s", "10**(-20)erg/s/cm2/Angstrom"};
    for (size_t u = 0; u < 4; u++)
        for (size_t n = 1; n < 5000; n = n * 3 + 1) {
            LM_OWN(lm_tensor) tensor = counting(LM_F32, 1, &n, units[u], u % 2 ? "time" : NULL);
            uint8_t prefix[LM_TENSOR_PREFIX];
            size_t size;
            OK(lm_tensor_prefix(tensor, prefix, &size, err), err);
            EQUAL_INT((16 + size) % 64, 0);
        }
}

TEST(a_record_comes_back)
{
    LM_OWN(lm_record) record = galaxy();
    for (int whole = 0; whole < 2; whole++) {
        lm_arena arena;
        lm_arena_init(&arena);
        lm_bytes bytes;
        OK(lm_record_encode(record, whole, &arena, &bytes, err), err);
        LM_OWN(lm_record) back = NULL;
        OK(lm_record_decode(bytes, &back, err), err);
        EQUAL_TEXT(lm_record_id(back), "g1");
        EQUAL_INT(lm_record_attr_count(back), 5);
        for (size_t i = 0; i < 5; i++) {
            const lm_attr *a = lm_record_attr_at(record, i), *b = lm_record_attr_at(back, i);
            EQUAL_TEXT(a->name, b->name);
            if (a->value.kind != b->value.kind || (a->value.kind && !lm_value_equal(a->value, b->value)))
                FAIL("attribute %s changed", a->name);
        }
        EQUAL_TEXT(lm_record_attr(back, "MAG")->comment, "[mag]");
        const lm_tensor *image = lm_record_tensor(back, "image"), *cube = lm_record_tensor(back, "cube");
        EQUAL_TEXT(image->unit, "ct");
        EQUAL_TEXT(image->axes, "y x");
        for (size_t i = 0; i < 6; i++) NEAR(lm_tensor_get(image, i), (double)i, ABS(0)); /* copied bytes */
        EQUAL_INT(lm_tensor_is_absent(cube), !whole);
        EQUAL_INT(cube->shape[1], 40);
        if (whole) NEAR(lm_tensor_get(cube, 1199), 1199, ABS(0));
        lm_arena_done(&arena);
    }
}

TEST(a_newer_format_is_refused_by_its_number)
{
    LM_OWN(lm_record) record = galaxy();
    lm_arena arena;
    lm_arena_init(&arena);
    lm_bytes bytes;
    OK(lm_record_encode(record, false, &arena, &bytes, err), err);
    uint8_t *changed = lm_arena_data(&arena, bytes.size, 1);
    memcpy(changed, bytes.data, bytes.size);
    EQUAL_INT(changed[0], 8); /* field 1, varint: format */
    changed[1] = LM_FORMAT + 1;
    LM_OWN(lm_record) back = NULL;
    EQUAL_INT(lm_record_decode((lm_bytes){changed, bytes.size}, &back, err), LM_EINPUT);
    CONTAINS(err->text, "format 2");
    lm_arena_done(&arena);
}

TEST(cut_messages_are_errors_not_crashes)
{
    LM_OWN(lm_record) record = galaxy();
    lm_arena arena;
    lm_arena_init(&arena);
    lm_bytes bytes;
    OK(lm_record_encode(record, true, &arena, &bytes, err), err);
    size_t bad = 0;
    for (size_t n = 0; n < bytes.size; n += 1 + n / 64) {
        lm_record *back = NULL;
        lm_error_clear(err);
        if (lm_record_decode((lm_bytes){bytes.data, n}, &back, err)) bad++;
        lm_record_unref(back);
    }
    if (bad < 50) FAIL("only %zu cut messages were refused", bad);
    lm_arena_done(&arena);
}
