/* Reading FITS files: the list of HDUs, header cards, pixels.
 *
 * A file is read here from its bytes, without CFITSIO: what its headers promise is checked against the length of the file
 * before anything is allocated for it, and no name of a user meets CFITSIO's extended file name syntax. (CFITSIO 4.2 reads
 * past the end of a damaged Rice tile.) Files that are compressed as a whole (gzip, bzip2, Unix compress; known by their
 * first bytes, not by their names) are unpacked in memory, as far as they are needed.
 *
 * An lm_fits belongs to one thread at a time; any number of threads may have the same file open.
 */
#ifndef LM_OPERATORS_IO_FITS_H
#define LM_OPERATORS_IO_FITS_H

#include "runtime/arena.h"
#include "runtime/record.h"

#include <stdbool.h>

typedef struct lm_fits lm_fits;

typedef enum lm_hdu_kind {
    LM_HDU_IMAGE,    /* pixels, or a header alone */
    LM_HDU_TILES,    /* a tile-compressed image */
    LM_HDU_BINTABLE, /* binary table */
    LM_HDU_ASCII,    /* table of text */
    LM_HDU_GROUPS,   /* random groups */
    LM_HDU_OTHER,    /* an extension of a kind that is not known here */
} lm_hdu_kind;

enum { LM_FITS_MAX_AXES = 999, LM_FITS_BLOCK = 2880, LM_FITS_CARD = 80 };

/* What a header says of its data; for tiles, of the image inside. */
typedef struct lm_hdu {
    size_t number; /* from 0, the primary */
    lm_hdu_kind kind;
    char name[LM_FITS_CARD + 1]; /* EXTNAME, or "" */
    int bitpix;
    unsigned naxis;              /* as the header has it; up to 999 */
    uint64_t shape[LM_MAX_DIMS]; /* slowest axis first (the reverse of NAXISn); only if naxis <= LM_MAX_DIMS */
    bool empty;                  /* naxis is 0, or an axis has length 0 */
    uint64_t header_at, data_at, data_bytes; /* without padding */
    uint64_t row_bytes, rows;                /* of a table, and of the table that holds tiles: NAXIS1, NAXIS2 */
} lm_hdu;

/* A header card with a value. Text and names live in the arena of the call that read them. */
typedef struct lm_card {
    const char *name;    /* as written; of HIERARCH cards what follows that word */
    lm_value value;      /* LM_KIND_NULL: the value is undefined */
    const char *comment; /* NULL: none */
} lm_card;
typedef struct lm_cards {
    size_t n;
    lm_card *at;
    const char *history, *comment; /* the lines of HISTORY and COMMENT cards, joined by '\n'; NULL: none */
} lm_cards;

/* Opens a file for reading. LM_EIO: it cannot be read; LM_EINPUT: it is empty, no FITS file, or its first header is cut
 * off. Errors of all functions here name the file. */
lm_status lm_fits_open(const char *path, lm_fits **ret, lm_error *err);
/* The same for n bytes in memory, borrowed until the file is closed. `name` stands for the file in errors. */
lm_status lm_fits_open_bytes(const char *name, const void *bytes, size_t n, lm_fits **ret, lm_error *err);
lm_fits *lm_fits_close(lm_fits *fits);
LM_OWNABLE(lm_fits, lm_fits_close)
const char *lm_fits_path(const lm_fits *fits);
/* Is the file of that name still the one that was opened (the same place on disk, size and time)? False for files that are
 * unpacked or in memory. */
bool lm_fits_is_current(const lm_fits *fits);

/* The HDU of this number. LM_EINPUT if there are fewer (the text says how many) or a header before it is broken. */
lm_status lm_fits_hdu(lm_fits *fits, size_t number, lm_hdu *ret, lm_error *err);
/* The first HDU with this EXTNAME, without regard to case. LM_EINPUT names the nearest. */
lm_status lm_fits_find(lm_fits *fits, const char *name, lm_hdu *ret, lm_error *err);
/* The first HDU that has pixels. LM_EINPUT if there is none, saying what there is. */
lm_status lm_fits_first(lm_fits *fits, lm_hdu *ret, lm_error *err);
/* "first", a number (as text), or an EXTNAME. */
lm_status lm_fits_select(lm_fits *fits, const char *what, lm_hdu *ret, lm_error *err);
/* The first table; LM_EINPUT if there is none. */
lm_status lm_fits_first_table(lm_fits *fits, lm_hdu *ret, lm_error *err);

/* The number of HDUs. LM_EINPUT if a header is broken or the last data unit is cut off. */
lm_status lm_fits_count(lm_fits *fits, size_t *ret, lm_error *err);

/* All cards of an HDU that have a value, with long strings joined. Cards that do not follow the standard are left out.
 * Memory is the arena's. */
lm_status lm_fits_cards(lm_fits *fits, const lm_hdu *hdu, lm_arena *arena, lm_cards *ret, lm_error *err);
const lm_card *lm_cards_find(const lm_cards *cards, const char *name); /* NULL: none */
/* Does the card describe the file's layout (NAXIS1, TFORM2, ZCMPTYPE, CHECKSUM, ...) rather than the sky? */
bool lm_card_is_structural(const char *name);

/* The pixels of an image or a tile-compressed image: shape slowest axis first, unit from BUNIT. The rules of dtype and
 * scaling are in README.md of this folder. LM_EINPUT: no pixels, random groups, the file is shorter than the header
 * promises, tiles that cannot be decompressed. */
lm_status lm_fits_image(lm_fits *fits, const lm_hdu *hdu, lm_tensor **ret, lm_error *err);

/* Reads n bytes at `at`. LM_EINPUT: the file ends before. */
lm_status lm_fits_read(lm_fits *fits, uint64_t at, void *to, size_t n, lm_error *err);
/* Does the file hold at least `upto` bytes? Unpacks as far as needed. */
lm_status lm_fits_reaches(lm_fits *fits, uint64_t upto, bool *ret, lm_error *err);
/* LM_EINPUT, "truncated: ...", unless all of the HDU's data is in the file. */
lm_status lm_fits_complete(lm_fits *fits, const lm_hdu *hdu, lm_error *err);

/* How pixels of an image become numbers. */
typedef struct lm_scaling {
    lm_dtype dtype;     /* of the tensor */
    double scale, zero; /* BSCALE, BZERO; 1 and 0 if `dtype` keeps the integers */
    bool has_blank;
    int64_t blank;
    uint64_t flip; /* xor with the raw integer: turns a signed number into the unsigned one that is meant */
} lm_scaling;
void lm_fits_scaling(const lm_cards *cards, int bitpix, lm_scaling *ret);
/* For _fits_tiles.c: turns n raw big-endian pixels into the tensor's dtype. `to` may not overlap `from`. */
void lm_fits_convert(const uint8_t *from, int bitpix, const lm_scaling *scaling, size_t n, void *to);
/* In _fits_tiles.c. `dtype` and shape of the tensor are set; fills its data. */
lm_status lm_fits_tiles(lm_fits *fits, const lm_hdu *hdu, const lm_cards *cards, const lm_scaling *scaling,
                        lm_tensor *tensor, lm_error *err);

/* Big-endian memory of n elements of `size` bytes to or from this machine's order, in place. */
void lm_swap(void *data, size_t size, size_t n);

/* Bytes of one element of a binary table's column, by the letter of its TFORM; 0: bits, or no letter of the standard. */
static inline size_t lm_fits_type_size(char type)
{
    switch (type) {
    case 'L':
    case 'B':
    case 'A': return 1;
    case 'I': return 2;
    case 'J':
    case 'E': return 4;
    case 'K':
    case 'D':
    case 'C':
    case 'P': return 8;
    case 'M':
    case 'Q': return 16;
    default: return 0;
    }
}

#endif
