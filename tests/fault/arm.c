/* Linked into the program by -DLM_FAULTS=ON only: makes its n-th allocation, or its n-th call of the store's door to the
 * system, fail, so that tests/fault can try every n from outside.
 *
 *   LENSMILL_FAIL_ALLOC=n    the n-th allocation
 *   LENSMILL_FAIL_OS=n       the n-th call to the system, once, with an I/O error
 *   LENSMILL_DISK_FULL=n     that call and all later ones that write, as on a full disk
 *   LENSMILL_FAULT_LOG=file  gets "alloc N\nos M\n" at exit: how many there were
 */
#include "runtime/alloc.h"
#include "store/os.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const char *report_to;

static uint64_t number(const char *name)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : 0;
}

static void report(void)
{
    FILE *file = fopen(report_to, "w");
    if (!file) return;
    fprintf(file, "alloc %llu\nos %llu\n", (unsigned long long)lm_alloc_count(), (unsigned long long)lm_os_count());
    fclose(file);
}

__attribute__((constructor)) static void arm(void)
{
    uint64_t alloc = number("LENSMILL_FAIL_ALLOC"), os = number("LENSMILL_FAIL_OS"),
             full = number("LENSMILL_DISK_FULL");
    if (alloc) lm_alloc_fail_at(alloc);
    if (os) lm_os_fail_at(os, EIO, false);
    if (full) lm_os_fail_at(full, ENOSPC, true);
    report_to = getenv("LENSMILL_FAULT_LOG");
    if (report_to) atexit(report);
}
