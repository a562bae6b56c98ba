#include "tests/test.h"

#include <ftw.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

static test_case *first, **last = &first;
static jmp_buf out;
static char reason[4096], folder[256];
enum { PASSED, FAILED, SKIPPED };

void test_register(test_case *test)
{
    *last = test;
    last = &test->next;
}

void test_fail(const char *file, int line, const char *format, ...)
{
    int n = snprintf(reason, sizeof reason, "%s:%d: ", file, line);
    va_list args;
    va_start(args, format);
    vsnprintf(reason + n, sizeof reason - (size_t)n, format, args);
    va_end(args);
    longjmp(out, FAILED);
}

void test_skip(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    longjmp(out, SKIPPED);
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

const char *test_folder(void)
{
    if (*folder) nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/lensmill-test-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(folder)) test_fail(__FILE__, __LINE__, "no temporary folder %s", folder);
    return folder;
}

const char *test_shared(const char *path)
{
    static char paths[4][1024];
    static unsigned turn;
    const char *shared = getenv("LENSMILL_SHARED");
    char *full = paths[turn++ % 4];
    if (!shared) shared = LM_SOURCE_DIR "/../shared";
    snprintf(full, sizeof paths[0], "%s/%s", shared, path);
    if (access(full, R_OK)) test_skip("no shared data at %s (set LENSMILL_SHARED)", full);
    return full;
}

void test_near(const char *file, int line, const char *what, double a, double b, test_tolerance tolerance)
{
    double allowed = tolerance.absolute + tolerance.relative * fabs(b);
    if (!(fabs(a - b) <= allowed))
        test_fail(file, line, "%s is %.17g, expected %.17g within %g (differs by %g)", what, a, b, allowed, a - b);
}

void test_near_array(const char *file, int line, const char *what, const double *a, const double *b, size_t n,
                     test_tolerance tolerance)
{
    double peak = 0;
    for (size_t i = 0; i < n; i++) peak = fmax(peak, fabs(b[i]));
    double allowed = tolerance.absolute + tolerance.relative * peak;
    for (size_t i = 0; i < n; i++)
        if (!(fabs(a[i] - b[i]) <= allowed))
            test_fail(file, line, "%s[%zu] is %.17g, expected %.17g within %g", what, i, a[i], b[i], allowed);
}

void test_equal_int(const char *file, int line, const char *what, long long a, long long b)
{
    if (a != b) test_fail(file, line, "%s is %lld, expected %lld", what, a, b);
}

void test_equal_text(const char *file, int line, const char *what, const char *a, const char *b)
{
    if (!a || !b || strcmp(a, b) != 0)
        test_fail(file, line, "%s is \"%s\", expected \"%s\"", what, a ? a : "(null)", b ? b : "(null)");
}

void test_contains(const char *file, int line, const char *text, const char *part)
{
    if (!text || !strstr(text, part))
        test_fail(file, line, "\"%s\" does not hold \"%s\"", text ? text : "(null)", part);
}

/* A function of its own: nothing in it changes between setjmp and longjmp. */
static int outcome_of(const test_case *test)
{
    int outcome = setjmp(out);
    if (!outcome) test->run();
    return outcome;
}

int main(int argc, char **argv)
{
    int counts[3] = {0};
    for (test_case *test = first; test; test = test->next) {
        bool wanted = argc < 2;
        for (int i = 1; i < argc; i++) wanted |= strcmp(argv[i], test->name) == 0;
        if (!wanted) continue;
        int outcome = outcome_of(test);
        static const char *const words[] = {"ok", "FAILED", "skipped"};
        printf("%-8s %s%s%s\n", words[outcome], test->name, outcome ? ": " : "", outcome ? reason : "");
        fflush(stdout);
        counts[outcome]++;
    }
    if (*folder) nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    printf("%d passed, %d failed, %d skipped\n", counts[PASSED], counts[FAILED], counts[SKIPPED]);
    if (counts[FAILED] || counts[PASSED] + counts[SKIPPED] == 0) return 1;
    return counts[PASSED] ? 0 : 77;
}
