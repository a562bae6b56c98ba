/* Arrays of a reference case: a named image HDU as doubles, or the test is skipped. */
#ifndef LM_TESTS_DIAGNOSE_REFERENCE_H
#define LM_TESTS_DIAGNOSE_REFERENCE_H

#include "runtime/alloc.h"
#include "tests/test.h"

#include <fitsio.h>

typedef struct {
    double *at; /* row-major, slowest axis first */
    size_t shape[4], n;
} reference;

static reference reference_read(const char *name, const char *hdu)
{
    reference r = {.n = 1};
    fitsfile *file = NULL;
    int status = 0, naxis = 0;
    long naxes[4] = {0};
    char path[1024], extension[80];
    snprintf(path, sizeof path, "%s", test_shared(name));
    snprintf(extension, sizeof extension, "%s", hdu);
    fits_open_file(&file, path, READONLY, &status);
    fits_movnam_hdu(file, IMAGE_HDU, extension, 0, &status);
    fits_get_img_dim(file, &naxis, &status);
    fits_get_img_size(file, 4, naxes, &status);
    if (status || naxis < 1 || naxis > 4) FAIL("%s[%s]: cfitsio status %d", path, hdu, status);
    for (int i = 0; i < naxis; i++) {
        r.shape[i] = (size_t)naxes[naxis - 1 - i];
        r.n *= r.shape[i];
    }
    r.at = lm_alloc(r.n, sizeof *r.at);
    CHECK(r.at);
    fits_read_img(file, TDOUBLE, 1, (LONGLONG)r.n, NULL, r.at, NULL, &status);
    fits_close_file(file, &status);
    if (status) FAIL("%s[%s]: cfitsio status %d", path, hdu, status);
    return r;
}

#endif
