/* CFITSIO beside our own reader and writer: two programs that share no code must agree on every pixel, unit and card.
 *
 * CFITSIO works in a child, so that a crash of it is seen as one. Pixels are compared bit by bit (any NaN equals any other):
 * scaling, BLANK, dithering and the unpacking of tiles are sums of doubles whose order the standard fixes.
 */
#include "operators/io/_fits.h"
#include "runtime/text.h"
#include "tests/apply.h"
#include "tests/test.h"

#include <fitsio.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern const lm_operator lm_op_fits_write;
extern const lm_operator lm_op_table_write;

/* ---- a child that reports ----------------------------------------------------------------------------------------- */

static struct {
    long images, cards, sums, rows;
    char fault[900]; /* "": none */
} * seen;            /* in the child; comes back through a pipe */
static typeof(*seen) counted;

static void wrong(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static int report_to;

static void report_and_leave(void)
{
    ssize_t done = write(report_to, seen, sizeof *seen);
    _exit(done == (ssize_t)sizeof *seen ? 0 : 3);
}

static void wrong(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(seen->fault, sizeof seen->fault, format, args);
    va_end(args);
    report_and_leave();
    abort();
}

/* Runs work(path) in a child. Returns the signal that ended it, or 0; what it saw is in `counted`. */
static int in_child(void (*work)(const char *path), const char *path)
{
    int ends[2], status = 0;
    CHECK(pipe(ends) == 0);
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(ends[0]);
        report_to = ends[1];
        const struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        alarm(120);
        seen = calloc(1, sizeof *seen);
        if (!seen) _exit(3);
        work(path);
        report_and_leave();
    }
    close(ends[1]);
    memset(&counted, 0, sizeof counted);
    ssize_t n = read(ends[0], &counted, sizeof counted);
    close(ends[0]);
    CHECK(waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status)) return WTERMSIG(status);
    if (n != (ssize_t)sizeof counted)
        FAIL("%s: the child ended with status %d and no report", path, WEXITSTATUS(status));
    return 0;
}

static void must_agree(void (*work)(const char *path), const char *path)
{
    int ended_by = in_child(work, path);
    if (ended_by) FAIL("%s: ended by signal %d", path, ended_by);
    if (counted.fault[0]) FAIL("%s: %s", path, counted.fault);
}

/* ---- what is compared --------------------------------------------------------------------------------------------- */

/* The last thing that CFITSIO complained of: before it, it also lists what it looked for and did not need. */
static const char *why(int status)
{
    static char text[FLEN_STATUS + FLEN_ERRMSG + 8];
    char message[FLEN_ERRMSG] = "", last[FLEN_ERRMSG] = "";
    fits_get_errstatus(status, text);
    while (fits_read_errmsg(message)) snprintf(last, sizeof last, "%s", message);
    if (last[0]) snprintf(text + strlen(text), FLEN_ERRMSG + 4, " (%s)", last);
    return text;
}

static int cfitsio_type(lm_dtype dtype)
{
    switch (dtype) {
    case LM_U8: return TBYTE;
    case LM_I16: return TSHORT;
    case LM_U16: return TUSHORT;
    case LM_I32: return TINT;
    case LM_U32: return TUINT;
    case LM_I64: return TLONGLONG;
    case LM_F32: return TFLOAT;
    default: return TDOUBLE;
    }
}

static bool same_pixel(const lm_tensor *tensor, const char *theirs, size_t i)
{
    size_t size = lm_dtype_size(tensor->dtype);
    const char *ours = (const char *)tensor->data + i * size;
    if (memcmp(ours, theirs + i * size, size) == 0) return true;
    double a = lm_tensor_get(tensor, i), b = 0;
    if (tensor->dtype == LM_F32) {
        float x;
        memcpy(&x, theirs + i * size, sizeof x);
        b = (double)x;
    } else if (tensor->dtype == LM_F64) {
        memcpy(&b, theirs + i * size, sizeof b);
    }
    return isnan(a) && isnan(b);
}

static void compare_pixels(fitsfile *file, size_t hdu, bool checked, const lm_tensor *tensor)
{
    int status = 0, type = cfitsio_type(tensor->dtype), naxis = 0;
    LONGLONG axes[LM_MAX_DIMS] = {0};
    fits_get_img_dim(file, &naxis, &status);
    fits_get_img_sizell(file, LM_MAX_DIMS, axes, &status);
    if (status) wrong("HDU %zu: CFITSIO does not tell its axes: %s", hdu, why(status));
    if (naxis != (int)tensor->ndim) wrong("HDU %zu: %u axes, CFITSIO has %d", hdu, tensor->ndim, naxis);
    for (int i = 0; i < naxis; i++)
        if ((size_t)axes[i] != tensor->shape[naxis - 1 - i]) wrong("HDU %zu: NAXIS%d differs", hdu, i + 1);

    /* asked to look for undefined pixels, CFITSIO takes infinities and denormal numbers for them */
    size_t n = lm_tensor_count(tensor);
    char *theirs = malloc(tensor->bytes);
    if (!theirs) wrong("out of memory");
    float nan_float = NAN;
    double nan_double = (double)NAN;
    void *undefined = !checked          ? NULL
                      : type == TFLOAT  ? (void *)&nan_float
                      : type == TDOUBLE ? (void *)&nan_double
                                        : NULL;
    int any = 0;
    fits_read_img(file, type, 1, (LONGLONG)n, undefined, theirs, &any, &status);
    if (status) wrong("HDU %zu: CFITSIO does not read its pixels: %s", hdu, why(status));
    for (size_t i = 0; i < n; i++) {
        if (same_pixel(tensor, theirs, i)) continue;
        double b = 0;
        if (type == TFLOAT) b = (double)((float *)(void *)theirs)[i];
        else if (type == TDOUBLE) b = ((double *)(void *)theirs)[i];
        wrong("HDU %zu (%s): pixel %zu of %zu is %.17g, CFITSIO has %.17g (0: another integer)", hdu,
              lm_dtype_name(tensor->dtype), i, n, lm_tensor_get(tensor, i), b);
    }
    free(theirs);

    char unit[FLEN_VALUE] = "";
    if (fits_read_key(file, TSTRING, "BUNIT", unit, NULL, &status)) status = 0, fits_clear_errmsg();
    if (strcmp(unit, tensor->unit ? tensor->unit : "") != 0)
        wrong("HDU %zu: unit \"%s\", CFITSIO has \"%s\"", hdu, tensor->unit ? tensor->unit : "", unit);
    seen->images++;
}

/* One value: theirs is what stands between '=' and '/'. */
static bool same_value(fitsfile *file, const lm_card *card, const char *theirs)
{
    int status = 0;
    if (card->value.kind == LM_KIND_NULL)
        return true; /* NaN and what else is no number of the standard are undefined to us */
    if (card->value.kind == LM_KIND_BOOL) return theirs[0] == (card->value.boolean ? 'T' : 'F');
    if (card->value.kind == LM_KIND_INT) return strtoll(theirs, NULL, 10) == card->value.integer;
    if (card->value.kind == LM_KIND_REAL) {
        char number[FLEN_VALUE];
        snprintf(number, sizeof number, "%s", theirs);
        for (char *c = number; *c; c++)
            if (*c == 'D' || *c == 'd') *c = 'E';
        return strtod(number, NULL) == card->value.real;
    }
    char *text = NULL, one[FLEN_VALUE];
    if (theirs[0] == '(') return strcmp(card->value.text, theirs) == 0; /* a complex number */
    if (theirs[0] != '\'') return false;
    /* the first of its name, with what CONTINUE cards add */
    if (fits_read_key_longstr(file, card->name, &text, NULL, &status) == 0 && text) {
        bool same = strcmp(text, card->value.text) == 0;
        fits_free_memory(text, &status);
        if (same) return true;
    }
    fits_clear_errmsg();
    /* another card of that name comes first: this one without its continuation */
    const char *c = theirs + 1;
    size_t n = 0;
    while (*c && n < sizeof one - 1) {
        if (*c == '\'' && *++c != '\'') break;
        one[n++] = *c++;
    }
    while (n && one[n - 1] == ' ') n--;
    one[n] = 0;
    if (n && one[n - 1] == '&') return strncmp(one, card->value.text, n - 1) == 0;
    return strcmp(one, card->value.text) == 0;
}

/* Each of our cards is the next one of that name in CFITSIO's list. */
static void compare_cards(fitsfile *file, size_t hdu, const lm_cards *cards)
{
    int status = 0, n = 0, at = 1;
    fits_get_hdrspace(file, &n, NULL, &status);
    for (size_t i = 0; i < cards->n; i++) {
        const lm_card *card = &cards->at[i];
        char name[FLEN_KEYWORD], value[FLEN_VALUE], comment[FLEN_COMMENT];
        bool found = false;
        while (!found && at <= n) {
            status = 0;
            if (fits_read_keyn(file, at++, name, value, comment, &status) == 0)
                found = strcasecmp(name, card->name) == 0;
            else fits_clear_errmsg();
        }
        if (!found) wrong("HDU %zu: CFITSIO has no card \"%s\" behind the one before", hdu, card->name);
        if (!same_value(file, card, value)) wrong("HDU %zu: card \"%s\" is %s to CFITSIO", hdu, card->name, value);
        seen->cards++;
    }
}

static fitsfile *open_with_cfitsio(const char *path)
{
    fitsfile *file = NULL;
    int status = 0;
    /* without the extended syntax of file names; files compressed as a whole need it switched on */
    if (lm_ends_with(path, ".fits") || lm_ends_with(path, ".fit")) fits_open_diskfile(&file, path, READONLY, &status);
    else fits_open_file(&file, path, READONLY, &status);
    if (status) wrong("CFITSIO does not open it: %s", why(status));
    return file;
}

/* Every HDU that has pixels for us. */
static void agree(const char *path)
{
    lm_error err = {0};
    lm_fits *fits = NULL;
    size_t n = 0;
    if (lm_fits_open(path, &fits, &err) || lm_fits_count(fits, &n, &err)) wrong("we do not open it: %s", err.text);
    fitsfile *file = open_with_cfitsio(path);
    for (size_t i = 0; i < n; i++) {
        int status = 0;
        lm_hdu hdu;
        if (lm_fits_hdu(fits, i, &hdu, &err)) wrong("HDU %zu: %s", i, err.text);
        if (hdu.kind != LM_HDU_IMAGE && hdu.kind != LM_HDU_TILES) continue;
        if (fits_movabs_hdu(file, (int)i + 1, NULL, &status)) wrong("CFITSIO has no HDU %zu: %s", i, why(status));
        lm_arena arena;
        lm_arena_init(&arena);
        lm_cards cards;
        if (lm_fits_cards(fits, &hdu, &arena, &cards, &err)) wrong("HDU %zu: %s", i, err.text);
        compare_cards(file, i, &cards);
        lm_arena_done(&arena);
        if (hdu.empty) continue;
        lm_tensor *tensor = NULL;
        if (lm_fits_image(fits, &hdu, &tensor, &err)) wrong("HDU %zu: we do not read it: %s", i, err.text);
        compare_pixels(file, i, hdu.kind == LM_HDU_TILES || hdu.bitpix > 0, tensor);
        lm_tensor_unref(tensor);
    }
    int status = 0;
    fits_close_file(file, &status);
    lm_fits_close(fits);
}

/* The same for a file of ours, whose sums must hold in every HDU, tables included. */
static void agree_and_sums_hold(const char *path)
{
    agree(path);
    fitsfile *file = open_with_cfitsio(path);
    int status = 0, n = 0;
    fits_get_num_hdus(file, &n, &status);
    for (int i = 1; i <= n; i++) {
        int data = 0, all = 0;
        LONGLONG rows = 0;
        fits_movabs_hdu(file, i, NULL, &status);
        fits_verify_chksum(file, &data, &all, &status);
        if (status || data != 1 || all != 1)
            wrong("HDU %d: DATASUM %d, CHECKSUM %d (1: right, 0: none)", i - 1, data, all);
        seen->sums++;
        int kind = IMAGE_HDU;
        fits_get_hdu_type(file, &kind, &status);
        if (kind == BINARY_TBL && !fits_is_compressed_image(file, &status)) {
            fits_get_num_rowsll(file, &rows, &status);
            seen->rows += (long)rows;
        }
    }
    if (status) wrong("CFITSIO: %s", why(status));
    fits_close_file(file, &status);
}

/* ---- the shared data ---------------------------------------------------------------------------------------------- */

/* Files that one of the two does not read: no second opinion. test_fits_torture.c says what we make of them. */
static const struct {
    const char *ends_with, *because;
} left_out[] = {
    {"derived/empty.fits", "is empty"},
    {"derived/m13_cut_mid_data.fits", "is cut off"},
    {"derived/m13_cut_gz.fits.gz", "is cut off"},
    {"derived/m13_naxis_huge.fits", "promises 1 TB"},
    {"derived/m13_rice_zeroed_tile.fits", "has a broken tile; CFITSIO 4.2 reads past its end"},
    {"derived/decam_ood_nocompress.fits", "CFITSIO 4.2 does not know NOCOMPRESS"},
    {"astropy/verify.fits", "breaks the standard; CFITSIO does not open it"},
    {"astropy/header_with_time.fits", "SIMPLE = F, which we refuse"},
};

static long files, images, cards;
static bool torture;

static bool is_fits(const char *path)
{
    static const char *const ends[] = {".fits", ".fit", ".fits.gz", ".fits.fz", ".fits.Z", ".fits.bz2"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (lm_ends_with(path, ends[i])) return true;
    return false;
}

static int visit(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info, (void)place;
    if (kind != FTW_F || !is_fits(path) || torture != !!strstr(path, "/fits_torture/")) return 0;
    for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++)
        if (lm_ends_with(path, left_out[i].ends_with)) return 0;
    must_agree(agree, path);
    files++;
    images += counted.images;
    cards += counted.cards;
    return 0;
}

TEST(the_torture_collection)
{
    torture = true, files = images = cards = 0;
    CHECK(nftw(test_shared("data/fits_torture"), visit, 16, FTW_PHYS) == 0);
    EQUAL_INT(files, 85 - (long)(sizeof left_out / sizeof *left_out));
    CHECK(images >= 190 && cards >= 4400); /* of all kinds; fewer would mean that they are no longer looked at */
}

TEST(the_surveys)
{
    torture = false, files = images = cards = 0;
    CHECK(nftw(test_shared("data"), visit, 16, FTW_PHYS) == 0);
    CHECK(files >= 100 && images >= 600 && cards >= 25000);
}

/* ---- files that CFITSIO writes ------------------------------------------------------------------------------------ */

enum { WIDTH = 73, HEIGHT = 41, DEPTH = 3 }; /* no multiple of a tile or of a Rice block */

typedef struct writing {
    const char *name;
    int codec;  /* 0: not compressed */
    int bitpix; /* CFITSIO's, with USHORT_IMG and the like */
    float quantize;
    int dither; /* 0: NOCOMPRESS of quantisation is `quantize` 0 */
    int naxis;
    bool nan;
    float hcomp_scale;
} writing;

static writing now;

/* A galaxy on noise, in the range of the type. */
static double sky(size_t i)
{
    static uint32_t state;
    if (i == 0) state = 12345;
    state = state * 1664525u + 1013904223u;
    double x = (double)(i % WIDTH) - 30, y = (double)(i / WIDTH % HEIGHT) - 20;
    return 1000 * exp(-(x * x + y * y) / 50) + (double)(state >> 24) / 16;
}

/* In the type that the image has: CFITSIO converts nothing on its way into tiles. */
static void write_pixels(fitsfile *file, const double *pixels, size_t n, int *status)
{
    union {
        uint8_t b;
        signed char sb;
        short s;
        unsigned short us;
        int i;
        unsigned u;
        LONGLONG ll;
        float f;
        double d;
    } one, nan = {.d = (double)NAN};
    int type = 0;
    size_t size = 0;
    char *bytes = malloc(n * sizeof one);
    if (!bytes) wrong("out of memory");
    for (size_t i = 0; i < n; i++) {
        switch (now.bitpix) {
        case BYTE_IMG: one.b = (uint8_t)pixels[i], type = TBYTE, size = 1; break;
        case SBYTE_IMG: one.sb = (signed char)pixels[i], type = TSBYTE, size = 1; break;
        case SHORT_IMG: one.s = (short)pixels[i], type = TSHORT, size = 2; break;
        case USHORT_IMG: one.us = (unsigned short)pixels[i], type = TUSHORT, size = 2; break;
        case LONG_IMG: one.i = (int)pixels[i], type = TINT, size = 4; break;
        case ULONG_IMG: one.u = (unsigned)pixels[i], type = TUINT, size = 4; break;
        case LONGLONG_IMG: one.ll = (LONGLONG)pixels[i], type = TLONGLONG, size = 8; break;
        case FLOAT_IMG: one.f = (float)pixels[i], type = TFLOAT, size = 4; break;
        default: one.d = pixels[i], type = TDOUBLE, size = 8; break;
        }
        memcpy(bytes + i * size, &one, size);
    }
    if (type == TFLOAT) nan.f = NAN;
    if (now.nan) fits_write_imgnull(file, type, 1, (LONGLONG)n, bytes, &nan, status);
    else fits_write_img(file, type, 1, (LONGLONG)n, bytes, status);
    free(bytes);
}

static void write_with_cfitsio(const char *path)
{
    fitsfile *file = NULL;
    int status = 0;
    long axes[3] = {WIDTH, HEIGHT, DEPTH}, tile[3] = {WIDTH, now.codec == HCOMPRESS_1 ? 16 : 7, 1};
    size_t n = now.naxis == 1 ? WIDTH : now.naxis == 2 ? WIDTH * HEIGHT : WIDTH * HEIGHT * DEPTH;
    fits_create_diskfile(&file, path, &status);
    if (now.codec) {
        fits_set_compression_type(file, now.codec, &status);
        fits_set_tile_dim(file, now.naxis, tile, &status);
        if (now.codec == HCOMPRESS_1) fits_set_hcomp_scale(file, now.hcomp_scale, &status);
        if (now.bitpix < 0) {
            fits_set_quantize_level(file, now.quantize, &status);
            fits_set_quantize_dither(file, now.dither, &status);
            fits_set_dither_seed(file, 42, &status);
        }
    }
    fits_create_img(file, now.bitpix, now.naxis, axes, &status);
    fits_write_key(file, TSTRING, "BUNIT", (char[]){"electron/s"}, "unit", &status);
    double *pixels = malloc(n * sizeof *pixels);
    if (!pixels) wrong("out of memory");
    double part = now.bitpix == BYTE_IMG || now.bitpix == SBYTE_IMG ? 0.1 : 1;
    for (size_t i = 0; i < n; i++) pixels[i] = now.bitpix > 0 ? round(part * sky(i)) : sky(i);
    if (now.bitpix == USHORT_IMG) pixels[0] = 65535;
    if (now.bitpix == ULONG_IMG) pixels[0] = now.codec ? 3e9 : 4294967295.0;
    if (now.bitpix == SHORT_IMG && now.codec != PLIO_1 && now.hcomp_scale == 0.0F)
        pixels[1] = -32768, pixels[2] = 32767;
    if (now.bitpix == LONG_IMG && now.codec != PLIO_1 && now.codec != HCOMPRESS_1) pixels[1] = -2147483648.0;
    if (now.dither == SUBTRACTIVE_DITHER_2)
        for (size_t i = 0; i < n; i += 11) pixels[i] = 0; /* which this kind of dither keeps */
    if (now.nan)
        for (size_t i = 5; i < n; i += 97) pixels[i] = (double)NAN;
    write_pixels(file, pixels, n, &status);
    fits_close_file(file, &status);
    free(pixels);
    if (status) wrong("CFITSIO does not write it: %s", why(status));
}

static void write_and_agree(writing w)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s-%d-%dd-q%g-d%d%s.fits", test_folder(), w.name, w.bitpix, w.naxis,
             (double)w.quantize, w.dither, w.nan ? "-nan" : "");
    now = w;
    must_agree(write_with_cfitsio, path);
    must_agree(agree, path);
    EQUAL_INT(counted.images, 1);
}

static const int integers[] = {BYTE_IMG, SHORT_IMG, USHORT_IMG, LONG_IMG, ULONG_IMG, SBYTE_IMG, LONGLONG_IMG};
static const int floats[] = {FLOAT_IMG, DOUBLE_IMG};
static const struct {
    const char *name;
    int codec;
} codecs[] = {{"rice", RICE_1}, {"gzip1", GZIP_1}, {"gzip2", GZIP_2}, {"hcompress", HCOMPRESS_1}, {"plio", PLIO_1}};
enum { N_INTEGERS = sizeof integers / sizeof *integers, N_CODECS = sizeof codecs / sizeof *codecs };

TEST(plain_images_that_cfitsio_writes)
{
    for (int naxis = 1; naxis <= 3; naxis++) {
        for (size_t i = 0; i < N_INTEGERS; i++) write_and_agree((writing){"plain", 0, integers[i], .naxis = naxis});
        for (size_t i = 0; i < 4; i++)
            write_and_agree((writing){"plain", 0, floats[i % 2], .naxis = naxis, .nan = i >= 2});
    }
}

TEST(integers_in_tiles_that_cfitsio_writes)
{
    for (size_t c = 0; c < N_CODECS; c++)
        for (int naxis = 1; naxis <= 3; naxis++)
            for (size_t i = 0; i < N_INTEGERS - 1; i++) { /* 64 bits: in no codec of CFITSIO */
                int codec = codecs[c].codec, bitpix = integers[i];
                if (codec == HCOMPRESS_1 && naxis == 1) continue;                              /* planes only */
                if (codec == PLIO_1 && (bitpix == ULONG_IMG || bitpix == SBYTE_IMG)) continue; /* masks: 0 to 2^24 */
                write_and_agree((writing){codecs[c].name, codec, bitpix, .naxis = naxis});
                bool wide = bitpix == SHORT_IMG || bitpix == LONG_IMG; /* it overflows near the ends of others */
                if (codec == HCOMPRESS_1 && wide)
                    write_and_agree((writing){"lossy", codec, bitpix, .naxis = naxis, .hcomp_scale = 4});
            }
}

TEST(floats_in_tiles_that_cfitsio_writes)
{
    static const int dithers[] = {NO_DITHER, SUBTRACTIVE_DITHER_1, SUBTRACTIVE_DITHER_2};
    for (size_t c = 0; c < 4; c++)
        for (int naxis = 1; naxis <= 3; naxis++)
            for (int k = 0; k < 4; k++) {
                int codec = codecs[c].codec;
                if (codec == HCOMPRESS_1 && naxis == 1) continue;
                writing w = {codecs[c].name, codec, floats[k % 2], .naxis = naxis, .nan = k >= 2};
                for (int d = 0; d < 3; d++) {
                    if (codec == HCOMPRESS_1 && dithers[d] == SUBTRACTIVE_DITHER_2) continue; /* not done */
                    w.dither = dithers[d];
                    w.quantize = 4;
                    write_and_agree(w);
                    w.quantize = -0.5F; /* an absolute step */
                    write_and_agree(w);
                }
                w.quantize = 0; /* without loss: gzip alone */
                w.dither = NO_DITHER;
                if (codec == GZIP_1 || codec == GZIP_2) write_and_agree(w);
            }
}

/* ---- files that we write ------------------------------------------------------------------------------------------ */

static lm_record *all_dtypes(void)
{
    static const lm_dtype dtypes[] = {LM_U8, LM_I16, LM_U16, LM_I32, LM_U32, LM_I64, LM_F32, LM_F64, LM_C64, LM_BOOL8};
    lm_record *record = record_new("all");
    lm_error err = {0};
    for (size_t t = 0; t < sizeof dtypes / sizeof *dtypes; t++)
        for (unsigned ndim = 1; ndim <= 3; ndim++) {
            const size_t shape[3] = {DEPTH, HEIGHT, WIDTH};
            if (dtypes[t] == LM_C64 && ndim == 3) continue; /* four axes: CFITSIO unpacks up to three */
            lm_tensor *tensor = NULL;
            OK(lm_tensor_new(dtypes[t], ndim, shape + 3 - ndim, &tensor, &err), &err);
            uint32_t state = 1; /* any bytes: NaN with payloads, infinities, denormal numbers, the ends of integers */
            uint8_t *bytes = tensor->data;
            for (size_t i = 0; i < tensor->bytes; i++)
                bytes[i] =
                    (uint8_t)((state = state * 1664525u + 1013904223u) >> 24) & (dtypes[t] == LM_BOOL8 ? 1 : 255);
            if (dtypes[t] == LM_F32) ((float *)tensor->data)[3] = INFINITY;
            if (dtypes[t] == LM_F64) ((double *)tensor->data)[3] = -(double)INFINITY;
            OK(lm_tensor_set_unit(tensor, "10**-17 erg/s/cm**2", &err), &err);
            char name[32];
            snprintf(name, sizeof name, "%s_%u", lm_dtype_name(dtypes[t]), ndim);
            OK(lm_record_put(record, name, tensor, &err), &err);
        }
    record_set(record, "EXPTIME", lm_real(0.1));
    record_set(record, "TINY", lm_real(5e-324));
    record_set(record, "BIG", lm_int(INT64_MAX));
    record_set(record, "FLAG", lm_bool(true));
    record_set(record, "NOTHING", lm_real((double)NAN));
    record_set(record, "OBJECT", lm_text_value("it's a lens"));
    record_set(record, "LONGTEXT",
               lm_text_value("A text that does not fit on one card goes on in others, where each ends in an "
                             "ampersand; and it may have 'quotes' && ampersands of its own at any place."));
    record_set(record, "a longer name", lm_real(1.5));
    record_set(record, "HISTORY", lm_text_value("one\ntwo"));
    return record;
}

TEST(cfitsio_reads_what_we_write)
{
    static const char *const compress[] = {"none", "rice", "gzip"};
    for (size_t i = 0; i < 3; i++) {
        char path[600], params[800];
        snprintf(path, sizeof path, "%s/ours-%s.fits", test_folder(), compress[i]);
        snprintf(params, sizeof params, "{\"path\": \"%s\", \"compress\": \"%s\"}", path, compress[i]);
        LM_OWN(lm_record) record = all_dtypes();
        lm_record_unref(apply(&lm_op_fits_write, params, record));
        must_agree(agree_and_sums_hold, path);
        EQUAL_INT(counted.images, 29);
        EQUAL_INT(counted.sums, 30); /* the primary HDU holds the attributes */
    }
}

TEST(cfitsio_reads_our_tables)
{
    lm_record *rows[50];
    for (size_t i = 0; i < 50; i++) {
        char id[32];
        snprintf(id, sizeof id, "row%zu", i);
        rows[i] = record_new(id);
        record_set(rows[i], "MAG", i % 7 ? lm_real(20 + (double)i / 8) : lm_null());
        record_set(rows[i], "NUMBER", lm_int((int64_t)i));
    }
    char path[600], params[800];
    snprintf(path, sizeof path, "%s/ours-table.fits", test_folder());
    snprintf(params, sizeof params, "{\"path\": \"%s\"}", path);
    lm_record_unref(apply_gather(&lm_op_table_write, params, (const lm_record *const *)rows, 50));
    must_agree(agree_and_sums_hold, path);
    EQUAL_INT(counted.rows, 50);
    for (size_t i = 0; i < 50; i++) lm_record_unref(rows[i]);
}
