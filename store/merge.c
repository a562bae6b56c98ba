/* Merging: the union of two stores. Where both have a row under one digest, ours stays. */
#include "store/internal.h"

#include <string.h>

static const size_t WRITE_BYTES = (size_t)4 << 20, BACKLOG_BYTES = (size_t)128 << 20;

typedef struct merging {
    lm_store *into;
    lm_snapshot *ours;
    void (*differs)(void *arg, lm_row_kind kind, const lm_digest *digest);
    void *arg;
    lm_write *write; /* being built; its parts lie in the other store's map */
    uint64_t ticket, copied;
    lm_table table;
    lm_status status;
    lm_error *err;
} merging;

static bool hand_over(merging *m)
{
    if (!m->write) return true;
    while (lm_store_backlog(m->into) > BACKLOG_BYTES && !m->status)
        m->status = lm_store_wait(m->into, lm_store_committed(m->into) + 1, m->err);
    if (m->status) return false;
    m->status = lm_store_hand_in(m->into, lm_take(m->write), &m->ticket, m->err);
    return !m->status;
}

static bool have_write(merging *m)
{
    if (m->write && lm_write_bytes(m->write) > WRITE_BYTES && !hand_over(m)) return false;
    if (!m->write) m->status = lm_write_new(&m->write, m->err);
    return !m->status;
}

static bool merge_row(void *arg, lm_row_kind kind, const lm_digest *digest, lm_view value, uint64_t sequence)
{
    merging *m = arg;
    (void)sequence;
    lm_view mine;
    m->status = lm_snapshot_find(m->ours, kind, digest, &mine, m->err);
    if (m->status) return false;
    if (mine.data) {
        if ((mine.size != value.size || memcmp(mine.data, value.data, value.size) != 0) && m->differs)
            m->differs(m->arg, kind, digest);
        return true;
    }
    if (!have_write(m)) return false;
    lm_part part = {value.data, value.size};
    m->status = lm_write_row(m->write, kind, digest, &part, 1, NULL, NULL, m->err);
    m->copied += !m->status;
    return !m->status;
}

static bool merge_entry(void *arg, lm_view key, lm_view value)
{
    merging *m = arg;
    lm_view mine;
    m->status = lm_snapshot_get(m->ours, m->table, key.data, key.size, &mine, m->err);
    if (m->status || mine.data) return !m->status;
    if (!have_write(m)) return false;
    m->status = lm_write_entry(m->write, m->table, key.data, key.size, value.data, value.size, m->err);
    return !m->status;
}

static lm_status merge_all(merging *m, lm_snapshot *theirs)
{
    LM_TRY(lm_snapshot_rows(theirs, 0, false, merge_row, m, m->err));
    LM_TRY(m->status);
    for (m->table = 0; m->table < LM_TABLES; m->table++) {
        if (m->table == LM_TABLE_META) continue; /* what a store says of itself */
        LM_TRY(lm_snapshot_entries(theirs, m->table, merge_entry, m, m->err));
        LM_TRY(m->status);
    }
    hand_over(m);
    return m->status;
}

lm_status lm_store_merge(lm_store *into, lm_store *from,
                         void (*differs)(void *arg, lm_row_kind kind, const lm_digest *digest), void *arg,
                         uint64_t *ret_copied, lm_error *err)
{
    if (into == from) return LM_FAIL(err, LM_EUSAGE, "the store \"%s\" cannot be merged into itself", into->folder);
    LM_OWN(lm_snapshot) ours = NULL;
    LM_OWN(lm_snapshot) theirs = NULL;
    LM_TRY(lm_store_snapshot(into, &ours, err));
    LM_TRY(lm_store_snapshot(from, &theirs, err));
    merging m = {.into = into, .ours = ours, .differs = differs, .arg = arg, .err = err};
    lm_status status = merge_all(&m, theirs);
    lm_write_free(m.write);
    /* What was handed in lies in the other store's map: its snapshot must outlive the commit, also after a failure. */
    lm_status waited = m.ticket ? lm_store_wait(into, m.ticket, status ? NULL : err) : LM_OK;
    LM_TRY(status);
    LM_TRY(waited);
    *ret_copied = m.copied;
    return LM_OK;
}
