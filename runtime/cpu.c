#include "runtime/cpu.h"

#include <cblas.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The sanitizers set up their address space before main() and must not be started twice. */
#if defined __x86_64__ && !defined LM_SANITIZED
#    define CHOOSES 1
/* The best kernels for what the processor can do. On AMD's processors with AVX-512 the AVX2 kernels are as fast or faster
 * (sgemm 88 to 95 against 75 to 86 GFLOP/s), so those are chosen there. */
static const char *best_core(void)
{
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    bool amd = __builtin_cpu_is("amd");
    if (avx512 && !amd) return "SKYLAKEX";
    if (avx2) return amd ? "ZEN" : "HASWELL";
    return NULL;
}

static bool is_good(const char *core, const char *best)
{
    static const char *const avx512[] = {"SkylakeX", "Cooperlake", "SapphireRapids", NULL};
    static const char *const avx2[] = {"Haswell", "Zen", NULL};
    for (const char *const *name = strcmp(best, "SKYLAKEX") == 0 ? avx512 : avx2; *name; name++)
        if (strcasecmp(core, *name) == 0) return true;
    return false;
}

/* The words of our own command line. */
static char **read_arguments(void)
{
    static char text[1 << 16], *words[4096];
    FILE *f = fopen("/proc/self/cmdline", "re");
    if (!f) return NULL;
    size_t n = fread(text, 1, sizeof text - 1, f), k = 0;
    fclose(f);
    if (n == sizeof text - 1) return NULL;
    for (size_t at = 0; at < n && k + 1 < sizeof words / sizeof *words; at += strlen(text + at) + 1)
        words[k++] = text + at;
    return k ? words : NULL;
}
#endif

void lm_cpu_choose_blas(void)
{
#ifdef CHOOSES
    if (getenv("OPENBLAS_CORETYPE")) return;
    const char *best = best_core(), *core = openblas_get_corename();
    if (!best || is_good(core, best)) return;
    setenv("OPENBLAS_CORETYPE", best, 1);
    setenv("OPENBLAS_NUM_THREADS", "1", 0); /* the engine's workers are the threads */
    char **arguments = read_arguments();
    if (arguments) execv("/proc/self/exe", arguments);
        /* It could not be started again: then it is slower, not wrong. */
#endif
}
