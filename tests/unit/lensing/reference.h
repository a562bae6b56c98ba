/* Reading the shared references: an HDU of a FITS file as doubles, and what its JSON says. They fail the test on an error. */
#ifndef LM_TESTS_LENSING_REFERENCE_H
#define LM_TESTS_LENSING_REFERENCE_H

#include "runtime/alloc.h"
#include "tests/test.h"

#include <fitsio.h>
#include <jansson.h>

/* All values of a named image HDU; *ret_n: how many. lm_free() it. */
static inline double *reference_hdu(const char *path, const char *name, size_t *ret_n)
{
    fitsfile *file = NULL;
    int status = 0, ndim = 0;
    long size[8] = {0};
    fits_open_file(&file, path, READONLY, &status);
    fits_movnam_hdu(file, IMAGE_HDU, (char *)(uintptr_t)name, 0, &status);
    fits_get_img_dim(file, &ndim, &status);
    fits_get_img_size(file, 8, size, &status);
    if (status) FAIL("%s has no image \"%s\"", path, name);
    size_t n = 1;
    for (int i = 0; i < ndim; i++) n *= (size_t)size[i];
    double *values = lm_alloc(n, sizeof *values);
    if (!values) FAIL("no memory");
    fits_read_img(file, TDOUBLE, 1, (long)n, NULL, values, NULL, &status);
    fits_close_file(file, &status);
    if (status) FAIL("%s: cannot read \"%s\"", path, name);
    *ret_n = n;
    return values;
}

static inline json_t *reference_json(const char *path)
{
    json_error_t error;
    json_t *about = json_load_file(path, 0, &error);
    if (!about) FAIL("%s:%d: %s", path, error.line, error.text);
    return about;
}

static inline double reference_number(const json_t *of, const char *key)
{
    const json_t *value = json_object_get(of, key);
    if (!json_is_number(value)) FAIL("the reference has no number \"%s\"", key);
    return json_number_value(value);
}

#endif
