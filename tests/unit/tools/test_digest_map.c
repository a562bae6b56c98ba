/* The map from digests to numbers, and the tables that the verbs of the store print. */
#include "tests/test.h"
#include "tools/lensmill/columns.c"
#include "tools/lensmill/digest_map.c"

#include <stdlib.h>

static lm_digest digest_of(uint64_t n)
{
    return lm_digest_of(&n, sizeof n);
}

TEST(digest_map_finds_what_was_put)
{
    lm_digest_map map = {0};
    for (uint64_t i = 0; i < 10000; i++) {
        lm_digest digest = digest_of(i);
        CHECK(!lm_digest_map_get(&map, &digest, NULL));
        CHECK(lm_digest_map_put(&map, &digest, i));
    }
    CHECK(map.n == 10000);
    for (uint64_t i = 0; i < 20000; i++) {
        lm_digest digest = digest_of(i);
        uint64_t value = 77;
        bool there = lm_digest_map_get(&map, &digest, &value);
        CHECK(there == (i < 10000));
        CHECK(value == (there ? i : 77));
    }
    lm_digest_map_done(&map);
}

TEST(digest_map_replaces)
{
    lm_digest_map map = {0};
    lm_digest digest = digest_of(1);
    uint64_t value;
    CHECK(lm_digest_map_put(&map, &digest, 5) && lm_digest_map_put(&map, &digest, 0));
    CHECK(map.n == 1 && lm_digest_map_get(&map, &digest, &value) && value == 0);
    lm_digest_map_done(&map);
}

TEST(digest_map_takes_digests_that_begin_alike)
{
    lm_digest_map map = {0};
    for (unsigned i = 0; i < 200; i++) { /* all in one place of the table */
        lm_digest digest = {{0}};
        digest.bytes[9] = (uint8_t)i;
        CHECK(lm_digest_map_put(&map, &digest, i));
    }
    for (unsigned i = 0; i < 256; i++) {
        lm_digest digest = {{0}};
        uint64_t value = 999;
        digest.bytes[9] = (uint8_t)i;
        CHECK(lm_digest_map_get(&map, &digest, &value) == (i < 200));
        CHECK(value == (i < 200 ? i : 999));
    }
    lm_digest_map_done(&map);
}

TEST(digest_map_survives_want_of_memory)
{
    lm_digest_map map = {0};
    size_t kept = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        lm_digest digest = digest_of(i);
        lm_alloc_fail_at(i % 3 ? 1 : 0);
        bool put = lm_digest_map_put(&map, &digest, i);
        lm_alloc_fail_at(0);
        CHECK(lm_digest_map_get(&map, &digest, NULL) == put);
        kept += put;
    }
    CHECK(map.n == kept && kept > 300);
    lm_digest_map_done(&map);
}

static void print(char *text, size_t size, size_t width)
{
    static const char *const heads[] = {"name", ">n", "note"};
    static const char *const rows[][3] = {
        {"a", "1", ""},
        {"galaxié", "1000", "a note that is longer than the line of a narrow terminal may be"},
        {"b\033[2J\n", "", "x"}};
    FILE *to = tmpfile();
    lm_columns columns;
    lm_columns_init(&columns, 3, heads);
    for (size_t i = 0; i < 9; i++) lm_columns_add(&columns, "%s", rows[i / 3][i % 3]);
    lm_columns_print(&columns, to, 2, width);
    rewind(to);
    text[fread(text, 1, size - 1, to)] = 0;
    fclose(to);
}

TEST(columns_align)
{
    char text[1024];
    print(text, sizeof text, 0);
    CHECK(strcmp(text, "  name        n  note\n"
                       "  a           1\n"
                       "  galaxié  1000  a note that is longer than the line of a narrow terminal may be\n"
                       "  b?[2J?         x\n") == 0);
    print(text, sizeof text, 60);
    CHECK(strstr(text, "galaxié  1000  a note that is longer than the line of a...\n"));
}
