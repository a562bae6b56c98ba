/* Tables of the torture collection, with the values that astropy 8.0.2 reads. */
#include "operators/io/_table.h"
#include "tests/test.h"

static lm_table *open_table(const char *file, const char *hdu)
{
    char path[512];
    lm_error err = {0};
    lm_table *table = NULL;
    snprintf(path, sizeof path, "data/%s", file);
    OK(lm_table_open(test_shared(path), hdu, &table, &err), &err);
    return table;
}

static lm_value at(lm_table *table, size_t row, const char *column)
{
    lm_value value = lm_null();
    lm_error err = {0};
    for (size_t i = 0; i < lm_table_columns(table); i++)
        if (strcmp(lm_table_column(table, i)->name, column) == 0) {
            OK(lm_table_cell(table, row, i, &value, &err), &err);
            return value;
        }
    FAIL("no column %s", column);
}

TEST(binary_columns)
{
    LM_OWN(lm_table) table = open_table("fits_torture/astropy/tb.fits", NULL);
    EQUAL_INT(lm_table_rows(table), 2);
    EQUAL_INT(at(table, 0, "c1").integer, 1);
    EQUAL_INT(at(table, 1, "c1").integer, 2);
    EQUAL_TEXT(at(table, 0, "c2").text, "abc");
    EQUAL_TEXT(at(table, 1, "c2").text, "xy");
    NEAR(at(table, 0, "c3").real, 3.70000007, REL(1e-7)); /* float32, with TSCAL and TZERO; nine digits are printed */
    CHECK(!at(table, 0, "c4").boolean && at(table, 1, "c4").boolean);
}

TEST(text_columns)
{
    LM_OWN(lm_table) table = open_table("fits_torture/astropy/ascii.fits", NULL);
    EQUAL_INT(lm_table_rows(table), 5);
    NEAR(at(table, 0, "a").real, 10.123, ABS(1e-12));
    NEAR(at(table, 2, "a").real, 15.61, ABS(1e-12));
    EQUAL_INT(at(table, 1, "b").integer, 23);
    EQUAL_TEXT(lm_table_column(table, 0)->unit, "pixels");
}

TEST(a_cell_as_a_tensor)
{
    const double want[5] = {233.11823217, -87.5001828, 24.96, 28.5, 213.68268286};
    const size_t shape[5] = {2, 3, 4, 5, 4}; /* TDIM (4,5,4,3,2) */
    LM_OWN(lm_table) table = open_table("fits_torture/astropy/example_4d_tab.fits", "1");
    LM_OWN(lm_tensor) tensor = NULL;
    lm_error err = {0};
    CHECK(!lm_table_column(table, 0)->scalar);
    OK(lm_table_tensor(table, 0, "coordinates", &tensor, &err), &err);
    EQUAL_INT(tensor->ndim, 5);
    for (unsigned i = 0; i < 5; i++) EQUAL_INT(tensor->shape[i], shape[i]);
    NEAR_ARRAY(tensor->data, want, 5, ABS(1e-8)); /* ten digits are printed */
    double sum = 0;
    for (size_t i = 0; i < lm_tensor_count(tensor); i++) sum += lm_tensor_get(tensor, i);
    NEAR(sum, 16611.986821146318, REL(1e-12));
    lm_tensor *none = NULL;
    EQUAL_INT(lm_table_tensor(table, 0, "cordinates", &none, &err), LM_EINPUT);
    CONTAINS(err.hint, "\"coordinates\"");
}

TEST(columns_of_other_kinds_are_no_attributes)
{
    LM_OWN(lm_table) table = open_table("fits_torture/cfitsio/testprog_std.fits", "5"); /* variable length, all of it */
    EQUAL_INT(lm_table_rows(table), 20);
    for (size_t i = 0; i < lm_table_columns(table); i++) CHECK(!lm_table_column(table, i)->scalar);
}

TEST(a_wrong_hdu_is_named)
{
    lm_error err = {0};
    lm_table *none = NULL;
    const char *path = test_shared("data/fits_torture/cfitsio/testprog_std.fits");
    EQUAL_INT(lm_table_open(path, "2", &none, &err), LM_EINPUT);
    CONTAINS(err.text, "HDU 2: not a table");
    EQUAL_INT(lm_table_open(path, "Test-ASCI", &none, &err), LM_EINPUT);
    CONTAINS(err.hint, "\"Test-ASCII\"");
    EQUAL_INT(lm_table_open(path, "31", &none, &err), LM_EINPUT);
    CONTAINS(err.text, "no HDU 31: it has 8");
}

TEST(a_list_in_csv)
{
    lm_error err = {0};
    LM_OWN(lm_table) table = NULL;
    OK(lm_table_open(test_shared("data/cosmos_hst/MANIFEST.csv"), NULL, &table, &err), &err);
    EQUAL_INT(lm_table_rows(table), 15);
    for (size_t row = 0; row < 15; row++) EQUAL_INT(strlen(at(table, row, "sha256").text), 64);
}
