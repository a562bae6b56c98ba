#include "tools/lensmill/store_find.h"
#include "tools/lensmill/columns.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

const char *lm_kind_name(lm_row_kind kind)
{
    switch (kind) {
    case LM_ROW_TENSOR: return "tensor";
    case LM_ROW_ARTIFACT: return "artifact";
    case LM_ROW_STEP: return "step";
    case LM_ROW_RECIPE: return "recipe";
    }
    return "row";
}

typedef struct wanted {
    uint8_t bytes[32];
    size_t digits;
    lm_search *search;
    lm_arena arena; /* of one step */
    bool failed;
} wanted;

static bool read_digits(const char *digits, wanted *w)
{
    w->digits = strlen(digits);
    if (w->digits > 64) return false;
    for (size_t i = 0; i < w->digits; i++) {
        int c = tolower((unsigned char)digits[i]);
        if (!isxdigit(c)) return false;
        unsigned value = (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
        w->bytes[i / 2] |= (uint8_t)(i % 2 ? value : value << 4);
    }
    return true;
}

static bool matches(const wanted *w, const void *digest)
{
    const uint8_t *bytes = digest;
    size_t whole = w->digits / 2;
    if (memcmp(bytes, w->bytes, whole) != 0) return false;
    return w->digits % 2 == 0 || (bytes[whole] & 0xF0) == w->bytes[whole];
}

/* A place for one more, unless it is known: a record passes several steps, each of which names it. */
static lm_found *add(wanted *w, lm_row_kind kind, const lm_digest *digest, lm_view view)
{
    lm_search *s = w->search;
    for (size_t i = 0; i < s->n && i < LM_MOST_FOUND; i++) {
        lm_found *f = &s->found[i];
        if (f->kind != kind || !lm_digest_equal(&f->digest, digest)) continue;
        if (f->view.data || !view.data) return NULL;
        f->view = view; /* until now it was only named */
        return f;
    }
    if (s->n++ >= LM_MOST_FOUND) return NULL;
    lm_found *f = &s->found[s->n - 1];
    *f = (lm_found){.kind = kind, .digest = *digest, .view = view};
    return f;
}

static bool see_row(void *arg, lm_row_kind kind, const lm_digest *digest, lm_view value, uint64_t sequence)
{
    wanted *w = arg;
    (void)sequence;
    lm_found *found = matches(w, digest) ? add(w, kind, digest, value) : NULL;
    if (kind != LM_ROW_STEP) {
        if (found) found->in_step = false;
        return w->search->n <= LM_MOST_FOUND;
    }
    lm_arena_reset(&w->arena);
    const Lensmill__Step *step = lm_unpack_step(&w->arena, value);
    if (found && step) snprintf(found->id, sizeof found->id, "%s", step->id);
    for (size_t i = 0; step && i < step->n_outputs; i++) {
        const Lensmill__Output *output = step->outputs[i];
        lm_digest named;
        if (!lm_digest_from(output->digest, &named) || !matches(w, &named)) continue;
        lm_view view = {NULL, 0};
        if (output->artifact.len) {
            void *copy = lm_arena_data(&w->search->arena, output->artifact.len, 1);
            if (!(w->failed = !copy)) memcpy(copy, output->artifact.data, output->artifact.len);
            view = (lm_view){copy, copy ? output->artifact.len : 0};
        }
        if (!(found = add(w, LM_ROW_ARTIFACT, &named, view))) continue;
        found->in_step = true;
        found->step = *digest;
        snprintf(found->id, sizeof found->id, "%s", output->id);
    }
    return !w->failed && w->search->n <= LM_MOST_FOUND;
}

static lm_status find_whole(wanted *w, lm_snapshot *snapshot, lm_error *err)
{
    static const lm_row_kind kinds[] = {LM_ROW_STEP, LM_ROW_ARTIFACT, LM_ROW_TENSOR, LM_ROW_RECIPE};
    lm_digest digest;
    memcpy(digest.bytes, w->bytes, sizeof digest.bytes);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        lm_view view;
        LM_TRY(lm_snapshot_find(snapshot, kinds[i], &digest, &view, err));
        if (view.data) add(w, kinds[i], &digest, view);
    }
    return LM_OK;
}

static void print_several(const char *command, const char *digits, const lm_search *search)
{
    lm_usage_error(command, "Give more digits.", "\"%s\" begins %s digests:", digits,
                   search->n > LM_MOST_FOUND ? "many" : "several");
    lm_columns columns;
    char text[65];
    size_t most = 16;
    lm_columns_init(&columns, 3, NULL);
    for (size_t i = 0; i < search->n && i < LM_MOST_FOUND; i++) {
        lm_columns_add(&columns, "%s", lm_digits(text, &search->found[i].digest, most));
        lm_columns_add(&columns, "%s", lm_kind_name(search->found[i].kind));
        lm_columns_add(&columns, "%s", search->found[i].id);
    }
    lm_columns_print(&columns, stderr, 2, lm_terminal_width(stderr));
    if (search->n > LM_MOST_FOUND) fputs("  ...\n", stderr);
}

const lm_found *lm_find_one(const char *command, lm_snapshot *snapshot, const char *digits, lm_search *search,
                            int *ret_status)
{
    wanted w = {.search = search};
    lm_error err = {0};
    search->n = 0;
    lm_arena_init(&search->arena);
    *ret_status = LM_EXIT_USAGE;
    if (!read_digits(digits, &w)) {
        lm_usage_error(command, "\"lensmill store ls --records\" lists the digests of steps and of what they gave.",
                       "\"%s\" is no digest: up to 64 hexadecimal digits are wanted", digits);
        return NULL;
    }
    if (w.digits < LM_LEAST_DIGITS) {
        lm_usage_error(command, NULL, "\"%s\" is too short: the first %d digits of a digest are wanted at least",
                       digits, LM_LEAST_DIGITS);
        return NULL;
    }
    lm_arena_init(&w.arena);
    lm_status status = w.digits == 64 ? find_whole(&w, snapshot, &err) : LM_OK;
    if (!status && !search->n) status = lm_snapshot_rows(snapshot, 0, false, see_row, &w, &err);
    if (!status && w.failed) status = LM_NOMEM(&err);
    lm_arena_done(&w.arena);
    if (status) {
        *ret_status = lm_verb_failed(command, &err);
    } else if (!search->n) {
        lm_usage_error(command, "\"lensmill store ls --records\" lists the digests of steps and of what they gave.",
                       "nothing in the store has the digest \"%s\"%s", digits, w.digits < 64 ? "..." : "");
    } else if (search->n > 1) {
        print_several(command, digits, search);
    } else {
        *ret_status = LM_EXIT_OK;
        return &search->found[0];
    }
    return NULL;
}

void lm_search_done(lm_search *search)
{
    lm_arena_done(&search->arena);
}
