/* table.write, read back with our own reader: types, undefined values, vectors, quoting. */
#include "operators/io/_table.h"
#include "tests/apply.h"
#include "tests/test.h"

extern const lm_operator lm_op_table_write;

static char path[512];

static const char *write_table(const char *name, const char *more, lm_record *const *records, size_t n)
{
    char params[900];
    snprintf(path, sizeof path, "%s/%s", test_folder(), name);
    snprintf(params, sizeof params, "{\"path\": \"%s\"%s}", path, more);
    lm_record_unref(apply_gather(&lm_op_table_write, params, (const lm_record *const *)records, n));
    return path;
}

static lm_table *read_table(void)
{
    lm_table *table = NULL;
    lm_error err = {0};
    OK(lm_table_open(path, NULL, &table, &err), &err);
    return table;
}

static lm_value at(lm_table *table, size_t row, size_t column)
{
    lm_value value;
    lm_error err = {0};
    OK(lm_table_cell(table, row, column, &value, &err), &err);
    return value;
}

/* Two records: all kinds in the first; in the second some are missing, and NUMBER is a real. */
static void two(lm_record *records[2])
{
    records[0] = record_new("a/1");
    records[1] = record_new("b,2");
    lm_error err = {0};
    OK(lm_record_set(records[0], "MAG", lm_real(0.1), "[mag] of the galaxy", &err), &err);
    record_set(records[0], "COUNT", lm_int(INT64_MAX));
    record_set(records[0], "NUMBER", lm_int(3));
    record_set(records[0], "FLAG", lm_bool(true));
    record_set(records[0], "NOTE", lm_text_value("he said \"no\",\nand left"));
    record_set(records[1], "MAG", lm_real((double)NAN));
    record_set(records[1], "NUMBER", lm_real(2.5));
    record_set(records[1], "NOTE", lm_text_value(""));
    record_set(records[1], "LATE", lm_text_value("x"));
}

static void check_two(lm_table *table, bool csv)
{
    static const char *const names[] = {"id", "MAG", "COUNT", "NUMBER", "FLAG", "NOTE", "LATE"};
    static const lm_kind kinds[] = {LM_KIND_TEXT, LM_KIND_REAL, LM_KIND_INT, LM_KIND_REAL,
                                    LM_KIND_BOOL, LM_KIND_TEXT, LM_KIND_TEXT};
    EQUAL_INT(lm_table_rows(table), 2);
    EQUAL_INT(lm_table_columns(table), 7);
    for (size_t i = 0; i < 7; i++) {
        EQUAL_TEXT(lm_table_column(table, i)->name, names[i]);
        EQUAL_INT(lm_table_column(table, i)->kind, kinds[i]);
    }
    EQUAL_TEXT(at(table, 0, 0).text, "a/1");
    EQUAL_TEXT(at(table, 1, 0).text, "b,2");
    NEAR(at(table, 0, 1).real, 0.1, ABS(0));
    EQUAL_INT(at(table, 1, 1).kind, LM_KIND_NULL);
    CHECK(at(table, 0, 2).integer == INT64_MAX);
    EQUAL_INT(at(table, 1, 2).kind, LM_KIND_NULL);
    NEAR(at(table, 0, 3).real, 3, ABS(0));
    NEAR(at(table, 1, 3).real, 2.5, ABS(0));
    CHECK(at(table, 0, 4).boolean);
    EQUAL_INT(at(table, 1, 4).kind, LM_KIND_NULL);
    EQUAL_TEXT(at(table, 0, 5).text, csv ? "he said \"no\",\nand left" : "he said \"no\",?and left");
    EQUAL_TEXT(at(table, 1, 6).text, "x");
}

TEST(scalars_as_fits)
{
    lm_record *records[2];
    two(records);
    write_table("two.fits", "", records, 2);
    LM_OWN(lm_table) table = read_table();
    check_two(table, false);
    EQUAL_TEXT(lm_table_column(table, 1)->unit, "mag");
    lm_record_unref(records[0]);
    lm_record_unref(records[1]);
}

TEST(scalars_as_csv_and_tsv)
{
    lm_record *records[2];
    two(records);
    write_table("two.csv", "", records, 2);
    LM_OWN(lm_table) csv = read_table();
    check_two(csv, true);
    write_table("two.tsv", "", records, 2);
    LM_OWN(lm_table) tsv = read_table();
    check_two(tsv, true);
    lm_record_unref(records[0]);
    lm_record_unref(records[1]);
}

TEST(bytes_of_a_csv_file)
{
    lm_record *records[2];
    two(records);
    write_table("two.csv", ", \"columns\": [\"id\", \"NOTE\", \"MAG\", \"LATE\"]", records, 2);
    FILE *file = fopen(path, "rb");
    char text[200] = {0};
    CHECK(file && fread(text, 1, sizeof text - 1, file));
    fclose(file);
    EQUAL_TEXT(text, "id,NOTE,MAG,LATE\na/1,\"he said \"\"no\"\",\nand left\",0.1,\n\"b,2\",,nan,x\n");
    lm_record_unref(records[0]);
    lm_record_unref(records[1]);
}

TEST(vectors_give_a_row_an_element)
{
    const double alpha[3] = {0, 0.5, 1}, ecp[3] = {0, 0.25, 1};
    const size_t three = 3;
    lm_record *record = record_new("all");
    record_f64(record, "alpha", alpha, 1, &three);
    record_f64(record, "ecp", ecp, 1, &three);
    record_set(record, "bins", lm_int(20));
    write_table("curve.fits", ", \"columns\": [\"alpha\", \"ecp\", \"bins\"]", &record, 1);
    LM_OWN(lm_table) table = read_table();
    EQUAL_INT(lm_table_rows(table), 3);
    for (size_t i = 0; i < 3; i++) {
        NEAR(at(table, i, 0).real, alpha[i], ABS(0));
        NEAR(at(table, i, 1).real, ecp[i], ABS(0));
        EQUAL_INT(at(table, i, 2).integer, 20);
    }
    lm_record_unref(record);
}

static lm_status try_table(const char *name, const char *more, lm_record *const *records, size_t n, lm_error *err)
{
    char params[900];
    snprintf(path, sizeof path, "%s/%s", test_folder(), name);
    snprintf(params, sizeof params, "{\"path\": \"%s\"%s}", path, more);
    apply_input inputs[] = {{"in", (const lm_record *const *)records, n}, {NULL, NULL, 0}};
    lm_record *outputs[LM_MAX_PORTS];
    return apply_step(&lm_op_table_write, params, inputs, 0, outputs, NULL, err);
}

TEST(faults_are_named)
{
    const double values[3] = {0, 0.5, 1};
    const size_t three = 3, two_long = 2, square[2] = {1, 3};
    lm_error err = {0};
    lm_record *record = record_new("r");
    record_f64(record, "alpha", values, 1, &three);
    record_f64(record, "beta", values, 1, &two_long);
    record_f64(record, "image", values, 2, square);
    EQUAL_INT(try_table("x.csv", ", \"columns\": [\"alpha\", \"beta\"]", &record, 1, &err), LM_EINPUT);
    CONTAINS(err.text, "\"beta\" has 2 elements, but column \"alpha\" has 3");
    EQUAL_INT(try_table("x.csv", ", \"columns\": [\"image\"]", &record, 1, &err), LM_EINPUT);
    CONTAINS(err.text, "[1, 3]");
    EQUAL_INT(try_table("x.csv", ", \"columns\": [\"alpah\"]", &record, 1, &err), LM_EINPUT);
    CONTAINS(err.text, "\"alpah\"");
    CONTAINS(err.hint, "\"alpha\"");
    EQUAL_INT(try_table("x.dat", "", &record, 1, &err), LM_EGRAPH);
    CONTAINS(err.text, "x.dat");
    lm_record_unref(record);
}

TEST(no_record_gives_the_header_alone)
{
    write_table("none.csv", ", \"columns\": [\"id\", \"error\"]", NULL, 0);
    FILE *file = fopen(path, "rb");
    char text[40] = {0};
    CHECK(file && fread(text, 1, sizeof text - 1, file));
    fclose(file);
    EQUAL_TEXT(text, "id,error\n");
    write_table("none.fits", ", \"columns\": [\"id\", \"error\", \"MAG\"]", NULL, 0);
    LM_OWN(lm_table) table = read_table();
    EQUAL_INT(lm_table_rows(table), 0);
    EQUAL_INT(lm_table_columns(table), 3);
    EQUAL_INT(lm_table_column(table, 2)->kind, LM_KIND_REAL);
}
