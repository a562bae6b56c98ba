/* A small test harness: a test file is TEST(name) { ... } blocks, linked with tests/test_main.c.
 *
 *   test_image_smooth [name ...]    runs all tests, or those named; exit status 1 if one failed, 77 if all were skipped
 *
 * A failed check ends its test. Comparisons are written so that NaN fails.
 */
#ifndef LM_TESTS_TEST_H
#define LM_TESTS_TEST_H

#include <math.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct test_case {
    const char *name;
    void (*run)(void);
    struct test_case *next;
} test_case;
void test_register(test_case *test);
void test_fail(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4), noreturn));
void test_skip(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/* A fresh folder for this test, removed when the program ends. Static storage. */
const char *test_folder(void);
/* A path under the shared reference data (LENSMILL_SHARED, default ../shared beside the source tree), or the test is
 * skipped, saying so. Static storage, good for four calls. */
const char *test_shared(const char *path);

#define TEST(name)                                                                                                     \
    static void test_##name(void);                                                                                     \
    __attribute__((constructor)) static void test_register_##name(void)                                                \
    {                                                                                                                  \
        static test_case test = {#name, test_##name, NULL};                                                            \
        test_register(&test);                                                                                          \
    }                                                                                                                  \
    static void test_##name(void)

typedef struct {
    double absolute, relative;
} test_tolerance;
#define ABS(x) ((test_tolerance){.absolute = (x)})
#define REL(x) ((test_tolerance){.relative = (x)})

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) test_fail(__FILE__, __LINE__, "%s", #condition);                                             \
    } while (0)
#define FAIL(...) test_fail(__FILE__, __LINE__, __VA_ARGS__)
#define SKIP(...) test_skip(__VA_ARGS__)
/* A call that must succeed: OK(lm_foo(&x, err), err) */
#define OK(call, err)                                                                                                  \
    do {                                                                                                               \
        lm_status test_status_ = (call);                                                                               \
        if (test_status_) test_fail(__FILE__, __LINE__, "%s: %s", #call, (err)->text);                                 \
    } while (0)
#define NEAR(a, b, ...) test_near(__FILE__, __LINE__, #a, (a), (b), __VA_ARGS__)
#define EQUAL_INT(a, b) test_equal_int(__FILE__, __LINE__, #a, (long long)(a), (long long)(b))
#define EQUAL_TEXT(a, b) test_equal_text(__FILE__, __LINE__, #a, (a), (b))
#define CONTAINS(text, part) test_contains(__FILE__, __LINE__, (text), (part))
/* Largest |a - b| over an array against absolute + relative * max |b|. */
#define NEAR_ARRAY(a, b, n, ...) test_near_array(__FILE__, __LINE__, #a, (a), (b), (n), __VA_ARGS__)

void test_near(const char *file, int line, const char *what, double a, double b, test_tolerance tolerance);
void test_near_array(const char *file, int line, const char *what, const double *a, const double *b, size_t n,
                     test_tolerance tolerance);
void test_equal_int(const char *file, int line, const char *what, long long a, long long b);
void test_equal_text(const char *file, int line, const char *what, const char *a, const char *b);
void test_contains(const char *file, int line, const char *text, const char *part);

#endif
