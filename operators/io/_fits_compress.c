/* Tile compression of whole files in memory, by CFITSIO. */
#include "operators/io/_fits.h"
#include "operators/io/_fits_out.h"

#include <fitsio.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* CFITSIO keeps a table of open files and a stack of messages for the whole process. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *grow(void *p, size_t n)
{
    return lm_realloc(p, n, 1);
}

/* DATASUM and CHECKSUM with comments that hold no date, unlike those of fits_write_chksum(). */
static void write_sums(fitsfile *out, int *status)
{
    unsigned long data = 0, all = 0;
    char text[24];
    char zeros[] = "0000000000000000";
    fits_update_key_str(out, "DATASUM", "0", "sum of the data", status);
    fits_update_key_str(out, "CHECKSUM", zeros, "sum of the HDU is all ones", status);
    fits_set_hdustruc(out, status);
    fits_get_chksum(out, &data, &all, status);
    snprintf(text, sizeof text, "%lu", data);
    fits_update_key_str(out, "DATASUM", text, "sum of the data", status);
    fits_get_chksum(out, &data, &all, status);
    fits_encode_chksum(all, 1, text);
    fits_update_key_str(out, "CHECKSUM", text, "sum of the HDU is all ones", status);
}

static void compress_all(fitsfile *in, fitsfile *out, int codec, int *status)
{
    int n = 0, kind = 0, bitpix = 0;
    fits_get_num_hdus(in, &n, status);
    fits_copy_header(in, out, status); /* the primary has no data */
    write_sums(out, status);
    for (int i = 2; i <= n && !*status; i++) {
        fits_movabs_hdu(in, i, &kind, status);
        fits_get_img_type(in, &bitpix, status);
        if (bitpix == LONGLONG_IMG) { /* CFITSIO has no codec for them */
            fits_copy_hdu(in, out, 0, status);
        } else {
            fits_set_compression_type(out, bitpix < 0 ? GZIP_2 : codec, status);
            fits_set_quantize_level(out, 0, status); /* no loss */
            fits_img_compress(in, out, status);
        }
        write_sums(out, status);
    }
}

lm_status lm_fits_compress(const uint8_t *bytes, size_t n, const char *codec, uint8_t **ret_bytes, size_t *ret_n,
                           lm_error *err)
{
    fitsfile *in = NULL, *out = NULL;
    int status = 0, closed = 0;
    void *from = (void *)(uintptr_t)bytes;
    size_t size = LM_FITS_BLOCK;
    void *to = lm_alloc_raw(size);
    if (!to) return LM_NOMEM(err);
    pthread_mutex_lock(&lock);
    fits_open_memfile(&in, "lensmill", READONLY, &from, &n, 0, NULL, &status);
    fits_create_memfile(&out, &to, &size, 1 << 16, grow, &status);
    if (!status) compress_all(in, out, strcmp(codec, "rice") == 0 ? RICE_1 : GZIP_2, &status);
    /* the length of the file is where its last HDU ends */
    LONGLONG head, data, end = 0;
    if (!status) fits_get_hduaddrll(out, &head, &data, &end, &status);
    char text[FLEN_STATUS] = "", line[FLEN_ERRMSG];
    fits_get_errstatus(status, text);
    if (out) fits_close_file(out, &closed);
    closed = 0;
    if (in) fits_close_file(in, &closed);
    while (fits_read_errmsg(line)) continue;
    pthread_mutex_unlock(&lock);
    if (status || (size_t)end > size) {
        lm_free(to);
        return LM_FAIL(err, LM_EBUG, "cannot compress: %s", text);
    }
    *ret_bytes = to;
    *ret_n = (size_t)end;
    return LM_OK;
}
