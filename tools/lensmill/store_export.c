/* lensmill store export: stored bytes as they are, or a tensor as a file that other programs read. */
#include "operators/io/_fits_out.h"
#include "runtime/codec.h"
#include "runtime/text.h"
#include "tools/lensmill/running.h"
#include "tools/lensmill/store_find.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { AS_PROTO, AS_NPY, AS_FITS };
static const char *const formats[] = {"proto", "npy", "fits", NULL};

static const char *store_place, *to, *tensor_name;
static int format = -1;

static const lm_option options[] = {
    {"to", LM_OPTION_TEXT, &to, .value = "FILE", .doc = "where it goes; - is standard output (not for fits)"},
    {"format", LM_OPTION_CHOICE, &format, .choices = formats,
     .doc = "default: npy or fits if FILE ends so, else proto: the stored bytes"},
    {"tensor", LM_OPTION_TEXT, &tensor_name, .value = "NAME", .doc = "of an artifact: this tensor of it"},
    {"store", LM_OPTION_TEXT, &store_place, .value = "DIR", .doc = "the store; default .lensmill"},
    {0}};

static const lm_command command = {
    .name = "store export",
    .usage = "DIGEST --to FILE [options]",
    .summary = "Write an artifact or a tensor to a file",
    .doc = "As proto the file holds the stored bytes: a Record or a Tensor of schemas/lensmill.proto, which "
           "any protobuf library reads, and sha256sum of it is the digest. A tensor may also be written as "
           "NumPy's .npy, or as a FITS image. A damaged artifact or tensor is refused.\n\nDIGEST may be cut "
           "to its first digits, six at least.",
    .options = options,
    .least = 1,
    .most = 1,
};

/* ---- the file ------------------------------------------------------------------------------------------------------ */

typedef struct out {
    FILE *file;
    char *fresh; /* the temporary name; NULL: standard output */
} out;

static lm_status out_fail(const char *what, int code, lm_error *err)
{
    return LM_FAIL(err, LM_EIO, "cannot write \"%s\": %s", what, strerror(code));
}

static lm_status fresh_name(char **ret, lm_error *err)
{
    size_t room = strlen(to) + 32;
    if (!(*ret = lm_alloc_raw(room))) return LM_NOMEM(err);
    snprintf(*ret, room, "%s.%d.part", to, (int)getpid());
    return LM_OK;
}

static lm_status out_open(out *o, lm_error *err)
{
    *o = (out){stdout, NULL};
    if (strcmp(to, "-") == 0) return LM_OK;
    LM_TRY(fresh_name(&o->fresh, err));
    if ((o->file = fopen(o->fresh, "we"))) return LM_OK;
    int code = errno;
    o->fresh = lm_free(o->fresh);
    return out_fail(to, code, err);
}

/* Under its own name only when it is whole. */
static lm_status out_close(out *o, lm_status status, lm_error *err)
{
    int code = 0;
    if (!status && (ferror(o->file) || fflush(o->file) || (o->fresh && fsync(fileno(o->file)))))
        code = errno ? errno : EIO;
    if (!o->fresh) return status ? status : code ? out_fail("standard output", code, err) : LM_OK;
    if (fclose(o->file) && !code) code = errno;
    if (!status && !code && rename(o->fresh, to)) code = errno;
    if (status || code) unlink(o->fresh);
    lm_free(o->fresh);
    return status ? status : code ? out_fail(to, code, err) : LM_OK;
}

static lm_status write_parts(const lm_part *parts, size_t n, lm_error *err)
{
    out o;
    LM_TRY(out_open(&o, err));
    for (size_t i = 0; i < n; i++)
        if (parts[i].size && fwrite(parts[i].data, 1, parts[i].size, o.file) != parts[i].size) break;
    return out_close(&o, LM_OK, err);
}

/* ---- NumPy and FITS ------------------------------------------------------------------------------------------------ */

/* The format of NEP 1, version 1.0: magic, header length, a Python dictionary padded to 64 bytes, the data in C order. */
static lm_status write_npy(const lm_tensor *tensor, lm_error *err)
{
    static const char *const types[] = {
        [LM_U8] = "|u1",  [LM_I16] = "<i2", [LM_I32] = "<i4",   [LM_I64] = "<i8", [LM_F32] = "<f4",  [LM_F64] = "<f8",
        [LM_U16] = "<u2", [LM_U32] = "<u4", [LM_BOOL8] = "|b1", [LM_C64] = "<c8", [LM_C128] = "<c16"};
    char head[512] = "\x93NUMPY\x01";
    size_t n = 10;
    n += (size_t)snprintf(head + n, sizeof head - n, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                          types[tensor->dtype]);
    for (unsigned i = 0; i < tensor->ndim; i++)
        n += (size_t)snprintf(head + n, sizeof head - n, "%s%zu%s", i ? " " : "", tensor->shape[i],
                              i + 1 < tensor->ndim || tensor->ndim == 1 ? "," : "");
    n += (size_t)snprintf(head + n, sizeof head - n, "), }");
    while ((n + 1) % 64) head[n++] = ' ';
    head[n++] = '\n';
    head[8] = (char)((n - 10) & 0xFF);
    head[9] = (char)((n - 10) >> 8);
    const lm_part parts[] = {{head, n}, {tensor->data, tensor->bytes}};
    return write_parts(parts, 2, err);
}

static lm_status fill_fits(const char *path, const lm_tensor *tensor, const char *name, lm_error *err)
{
    LM_OWN(lm_fits_out) fits = NULL;
    LM_TRY(lm_fits_out_open(path, &fits, err));
    lm_header header;
    lm_header_init(&header);
    lm_header_image(&header, true, tensor, name);
    lm_status status = header.failed ? LM_NOMEM(err) : lm_fits_out_begin(fits, &header, err);
    lm_header_done(&header);
    LM_TRY(status);
    LM_TRY(lm_fits_out_tensor(fits, tensor, err));
    return lm_fits_out_end(fits, err);
}

static lm_status write_fits(const lm_tensor *tensor, const char *name, lm_error *err)
{
    LM_OWN(lm_chars) fresh = NULL;
    LM_TRY(fresh_name(&fresh, err));
    lm_status status = fill_fits(fresh, tensor, name, err);
    if (!status && rename(fresh, to)) status = out_fail(to, errno, err);
    if (status) unlink(fresh);
    return status;
}

/* ---- what ---------------------------------------------------------------------------------------------------------- */

static void release_nothing(void *owner)
{
    (void)owner;
}

static lm_status check_genuine(lm_view view, const lm_digest *digest, const char *what, lm_error *err)
{
    lm_digest is = lm_digest_of(view.data, view.size);
    if (lm_digest_equal(&is, digest)) return LM_OK;
    return LM_FAIL_HINT(err, LM_ESTORE, "A run that needs it computes it again; \"lensmill store verify\" tells more.",
                        "the %s is damaged: its bytes do not give its digest", what);
}

static lm_status write_tensor(lm_tensor *tensor, const char *name, lm_error *err)
{
    if (format == AS_NPY) return write_npy(tensor, err);
    if (format == AS_FITS) return write_fits(tensor, name, err);
    uint8_t prefix[LM_TENSOR_PREFIX];
    size_t n;
    LM_TRY(lm_tensor_prefix(tensor, prefix, &n, err));
    const lm_part parts[] = {{prefix, n}, {tensor->data, tensor->bytes}};
    return write_parts(parts, 2, err);
}

static lm_status export_row(lm_view view, const char *name, lm_error *err)
{
    if (format == AS_PROTO) {
        const lm_part part = {view.data, view.size};
        return write_parts(&part, 1, err);
    }
    LM_OWN(lm_tensor) tensor = NULL;
    lm_bytes stored = {view.data, view.size};
    LM_TRY(lm_tensor_decode(stored, release_nothing, NULL, &tensor, err));
    return write_tensor(tensor, name, err);
}

static lm_status no_such_tensor(const lm_record *record, lm_error *err)
{
    lm_text names;
    lm_nearest nearest;
    lm_nearest_init(&nearest, tensor_name);
    lm_text_init(&names);
    for (size_t i = 0; i < lm_record_tensor_count(record); i++) {
        lm_nearest_offer(&nearest, lm_record_tensor_at(record, i)->name);
        lm_text_format(&names, "%s\"%s\"", i ? ", " : "", lm_record_tensor_at(record, i)->name);
    }
    char hint[LM_ERROR_HINT];
    if (nearest.best) snprintf(hint, sizeof hint, "Did you mean \"%s\"?", nearest.best);
    else snprintf(hint, sizeof hint, "It has %s.", names.length ? lm_text_peek(&names) : "no tensors");
    lm_text_done(&names);
    return lm_fail(err, LM_EUSAGE, hint, "record \"%s\" has no tensor \"%s\"", lm_record_id(record), tensor_name);
}

static lm_status export_named(lm_snapshot *snapshot, const lm_found *found, lm_error *err)
{
    LM_OWN(lm_record) record = NULL;
    LM_TRY(lm_record_decode((lm_bytes){found->view.data, found->view.size}, &record, err));
    if (!tensor_name && lm_record_tensor_count(record) == 1) tensor_name = lm_record_tensor_at(record, 0)->name;
    if (!tensor_name)
        return LM_FAIL_HINT(err, LM_EUSAGE, "Name one with --tensor; \"lensmill store show\" lists them.",
                            "record \"%s\" has %zu tensors, and a file of this format holds one", lm_record_id(record),
                            lm_record_tensor_count(record));
    lm_tensor *tensor = lm_record_tensor(record, tensor_name);
    if (!tensor) return no_such_tensor(record, err);
    if (!lm_tensor_is_absent(tensor)) return write_tensor(tensor, tensor_name, err);
    lm_view view;
    LM_TRY(lm_snapshot_find(snapshot, LM_ROW_TENSOR, &tensor->digest, &view, err));
    if (!view.data)
        return LM_FAIL(err, LM_ESTORE, "tensor \"%s\" of record \"%s\" is not in the store", tensor_name,
                       lm_record_id(record));
    LM_TRY(check_genuine(view, &tensor->digest, "tensor", err));
    return export_row(view, tensor_name, err);
}

static lm_status export_found(lm_snapshot *snapshot, const lm_found *found, lm_error *err)
{
    if (!found->view.data)
        return LM_FAIL_HINT(err, LM_EINPUT, "Run the graph with \"cache: keep\" at this node.",
                            "record \"%s\" is not stored (cache: none)", found->id);
    if (found->kind != LM_ROW_ARTIFACT && found->kind != LM_ROW_TENSOR)
        return LM_FAIL_HINT(err, LM_EUSAGE,
                            "\"lensmill store show --json\" prints it; export the digests of its outputs.",
                            "this is a %s: artifacts and tensors can be exported", lm_kind_name(found->kind));
    LM_TRY(check_genuine(found->view, &found->digest, lm_kind_name(found->kind), err));
    if (found->kind == LM_ROW_ARTIFACT && (tensor_name || format != AS_PROTO))
        return export_named(snapshot, found, err);
    return export_row(found->view, NULL, err);
}

int lm_store_export(int argc, char **argv)
{
    lm_arguments arguments;
    int status = LM_EXIT_OK;
    if (!lm_options_parse(&command, argc, argv, &arguments, &status)) return status;
    if (!to) return lm_usage_error(command.name, "For example: --to galaxy.npy", "\"--to\" is missing");
    if (format < 0) format = lm_ends_with(to, ".npy") ? AS_NPY : lm_ends_with(to, ".fits") ? AS_FITS : AS_PROTO;
    if (format == AS_FITS && strcmp(to, "-") == 0)
        return lm_usage_error(command.name, "Name a file.", "a FITS file cannot be written to standard output");
    LM_OWN(lm_store) store = NULL;
    if (!lm_open_store(command.name, lm_store_place(store_place), LM_STORE_READ, NULL, &store, &status)) return status;
    lm_error err = {0};
    LM_OWN(lm_snapshot) snapshot = NULL;
    if (lm_store_snapshot(store, &snapshot, &err)) return lm_verb_failed(command.name, &err);
    lm_search search;
    const lm_found *found = lm_find_one(command.name, snapshot, arguments.at[0], &search, &status);
    lm_status failed = found ? export_found(snapshot, found, &err) : LM_OK;
    lm_search_done(&search);
    if (!failed) return status;
    lm_verb_failed(command.name, &err);
    return failed == LM_EUSAGE ? LM_EXIT_USAGE : LM_EXIT_FAILED;
}
