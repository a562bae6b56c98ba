/* fits.write: a record as a FITS file. An empty primary HDU with the attributes as cards, then an image HDU a tensor. */
#include "operators/io/_fits.h"
#include "operators/io/_fits_out.h"
#include "runtime/operator.h"
#include "runtime/text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    const char *path;
    lm_texts tensors;
    int compress;
} fits_write;

enum { NONE, RICE, GZIP }; /* of codecs[] */
static const char *const codecs[] = {"none", "rice", "gzip", NULL};

static const lm_param params[] = {
    LM_PATH(fits_write, path, NULL, .required = true, .output = true, .per_record = true,
            .doc = "file to write, with {id} or {NAME} in it so that each record has its own"),
    LM_TEXTS(fits_write, tensors, "[]", .doc = "tensors to write, in this order; all of the record if not given"),
    LM_CHOICE(fits_write, compress, "none", codecs,
              .doc = "compression of the images in tiles, always without loss: rice (of integers; floating point as "
                     "gzip) or gzip; 64-bit integers stay as they are"),
    {0}};

static const lm_port ports[] = {{"in", LM_PORT_STREAM, "records, a file each", false}, {0}};

/* ---- which cards belong to the sky ------------------------------------------------------------------------------ */

/* The name is `stem`, digits ('_' and digits if `two`), and perhaps the letter of an alternate system. */
static bool is_axis_card(const char *name, const char *stem, bool two)
{
    size_t n = strlen(stem);
    if (strncmp(name, stem, n) != 0) return false;
    const char *p = name + n;
    if (!isdigit((unsigned char)*p)) return false;
    while (isdigit((unsigned char)*p)) p++;
    if (two) {
        if (*p++ != '_' || !isdigit((unsigned char)*p)) return false;
        while (isdigit((unsigned char)*p)) p++;
    }
    if (*p >= 'A' && *p <= 'Z') p++;
    return !*p;
}

static bool is_wcs(const char *name)
{
    static const char *const one[] = {"CTYPE", "CRVAL", "CRPIX", "CDELT", "CROTA", "CUNIT", "CNAME", NULL};
    static const char *const two[] = {"CD", "PC", "PV", "PS", "A_", "B_", "AP_", "BP_", NULL};
    static const char *const whole[] = {"LONPOLE", "LATPOLE",  "RADESYS",  "RADECSYS", "EQUINOX", "WCSNAME", "A_ORDER",
                                        "B_ORDER", "AP_ORDER", "BP_ORDER", "A_DMAX",   "B_DMAX",  "WCSAXES", NULL};
    for (size_t i = 0; whole[i]; i++) {
        size_t n = strlen(whole[i]);
        if (strncmp(name, whole[i], n) == 0 && (!name[n] || (name[n] >= 'A' && name[n] <= 'Z' && !name[n + 1])))
            return true;
    }
    for (size_t i = 0; one[i]; i++)
        if (is_axis_card(name, one[i], false)) return true;
    for (size_t i = 0; two[i]; i++)
        if (is_axis_card(name, two[i], true)) return true;
    return false;
}

static void add_wcs(lm_header *header, const lm_record *record)
{
    const lm_attr *axes = lm_record_attr(record, "WCSAXES"); /* has to come first */
    if (axes) lm_header_add(header, axes->name, axes->value, axes->comment);
    for (size_t i = 0; i < lm_record_attr_count(record); i++) {
        const lm_attr *attr = lm_record_attr_at(record, i);
        if (attr != axes && is_wcs(attr->name)) lm_header_add(header, attr->name, attr->value, attr->comment);
    }
}

static bool same_sky(const lm_tensor *a, const lm_tensor *b)
{
    if (!a || a->ndim < 2 || b->ndim < 2) return false;
    return a->shape[a->ndim - 1] == b->shape[b->ndim - 1] && a->shape[a->ndim - 2] == b->shape[b->ndim - 2];
}

/* ---- the file --------------------------------------------------------------------------------------------------- */

static void add_attributes(lm_header *header, const lm_record *record, lm_step *step)
{
    if (!lm_record_attr(record, "ID"))
        lm_header_add(header, "ID", lm_text_value(lm_record_id(record)), "id of the record");
    for (size_t i = 0; i < lm_record_attr_count(record); i++) {
        const lm_attr *attr = lm_record_attr_at(record, i);
        if (lm_card_is_structural(attr->name)) continue; /* HISTORY and COMMENT too: below */
        if (!lm_header_add(header, attr->name, attr->value, attr->comment))
            lm_step_warn(step, "attribute \"%s\" cannot be the name of a card: it is not written", attr->name);
    }
    const lm_attr *comment = lm_record_attr(record, "COMMENT"), *history = lm_record_attr(record, "HISTORY");
    if (comment && comment->value.kind == LM_KIND_TEXT) lm_header_lines(header, "COMMENT", comment->value.text);
    if (history && history->value.kind == LM_KIND_TEXT) lm_header_lines(header, "HISTORY", history->value.text);
    /* a card has 72 characters for the words and the 64 digits: two lines */
    lm_header_lines(header, "HISTORY", "lensmill step");
    lm_header_lines(header, "HISTORY", lm_step_key_text(step));
}

static lm_status write_tiles(lm_fits_out *out, lm_header *header, const lm_record *record, const lm_tensor *tensor,
                             const lm_tiled *tiled, const char *name, bool sky, lm_error *err)
{
    lm_header_tiled(header, tensor, tiled, name);
    if (sky) add_wcs(header, record);
    LM_TRY(lm_fits_out_begin(out, header, err));
    LM_TRY(lm_fits_out_tiled(out, tiled, err));
    return lm_fits_out_end(out, err);
}

static lm_status write_tensor(const fits_write *s, lm_fits_out *out, lm_header *header, const lm_record *record,
                              const char *name, lm_error *err)
{
    const lm_tensor *tensor = lm_record_tensor(record, name), *image = lm_record_tensor(record, "image");
    if (!tensor) {
        lm_nearest nearest;
        lm_nearest_init(&nearest, name);
        for (size_t i = 0; i < lm_record_tensor_count(record); i++)
            lm_nearest_offer(&nearest, lm_record_tensor_at(record, i)->name);
        char hint[160] = "";
        if (nearest.best) snprintf(hint, sizeof hint, "Did you mean \"%s\"?", nearest.best);
        return LM_FAIL_HINT(err, LM_EINPUT, hint[0] ? hint : NULL, "the record has no tensor \"%s\"", name);
    }
    if (!image && lm_record_tensor_count(record)) image = lm_record_tensor_at(record, 0)->tensor;
    bool sky = same_sky(image, tensor);
    if (s->compress && lm_tiled_can(tensor)) {
        lm_tiled tiled = {0};
        lm_status status = lm_tiled_make(tensor, s->compress == RICE, &tiled, err);
        if (!status) status = write_tiles(out, header, record, tensor, &tiled, name, sky, err);
        lm_tiled_done(&tiled);
        return status;
    }
    lm_header_image(header, false, tensor, name);
    if (sky) add_wcs(header, record);
    LM_TRY(lm_fits_out_begin(out, header, err));
    LM_TRY(lm_fits_out_tensor(out, tensor, err));
    return lm_fits_out_end(out, err);
}

static lm_status write_all(const fits_write *s, lm_step *step, const lm_record *record, lm_fits_out *out,
                           lm_header *header, lm_error *err)
{
    lm_header_image(header, true, NULL, NULL);
    add_attributes(header, record, step);
    LM_TRY(lm_fits_out_begin(out, header, err));
    LM_TRY(lm_fits_out_end(out, err));
    size_t n = s->tensors.n ? s->tensors.n : lm_record_tensor_count(record);
    for (size_t i = 0; i < n; i++) {
        const char *name = s->tensors.n ? s->tensors.at[i] : lm_record_tensor_at(record, i)->name;
        LM_TRY(write_tensor(s, out, header, record, name, err));
    }
    return LM_OK;
}

static lm_status step(const void *self, lm_step *step, lm_error *err)
{
    const fits_write *s = self;
    const lm_record *record = lm_step_record(step, "in");
    const char *path, *temporary;
    LM_TRY(lm_step_text(step, "path", &path, err));
    LM_TRY(lm_step_file(step, path, &temporary, err));
    LM_OWN(lm_fits_out) out = NULL;
    LM_TRY(lm_fits_out_open(temporary, &out, err));
    lm_header header;
    lm_header_init(&header);
    lm_status status = write_all(s, step, record, out, &header, err);
    lm_header_done(&header);
    return status;
}

const lm_operator lm_op_fits_write = {
    .struct_size = sizeof(lm_operator),
    .name = "fits.write",
    .version = 1,
    .summary = "Write each record as a FITS file: attributes as cards, tensors as HDUs",
    .doc = "The primary HDU is empty and holds the attributes; each tensor is an image HDU whose EXTNAME is its name "
           "in upper "
           "case and whose BUNIT is its unit. World coordinates (CTYPE, CRVAL, CD, SIP, ...) are repeated in the HDUs "
           "that have "
           "the shape of \"image\". HISTORY names the step that wrote the file. Equal records give equal bytes.",
    .example = "path: \"out/{id}.fits\"\n",
    .shape = LM_SINK,
    .size = sizeof(fits_write),
    .params = params,
    .ports = ports,
    .step = step,
};
