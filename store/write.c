/* Building a write: rows whose bytes stay with their owners, and entries, copied. */
#include "store/internal.h"

#include <inttypes.h>
#include <string.h>

struct lm_chunk {
    lm_chunk *next;
    size_t used, size;
    uint8_t bytes[];
};

enum { FIRST_CHUNK = 1024, LARGEST_CHUNK = 65536, ROW_COST = 64 };
static const size_t LARGEST_VALUE = UINT32_MAX - 4096; /* LMDB's own limit is 4 GiB */

lm_status lm_write_new(lm_write **ret, lm_error *err)
{
    lm_write *write = lm_alloc(1, sizeof *write);
    if (!write) return LM_NOMEM(err);
    *ret = write;
    return LM_OK;
}

lm_write *lm_write_free(lm_write *write)
{
    if (!write) return NULL;
    for (size_t i = 0; i < write->n_rows; i++)
        if (write->rows[i].release) write->rows[i].release(write->rows[i].owner);
    lm_free(write->rows);
    lm_free(write->entries.at);
    lm_free(write->checkpoints.at);
    for (lm_chunk *chunk = write->chunks; chunk;) {
        lm_chunk *next = chunk->next;
        lm_free(chunk);
        chunk = next;
    }
    return lm_free(write);
}

static lm_status add_row(lm_write *write, bool replaces, lm_row_kind kind, const lm_digest *digest,
                         const lm_part *parts, size_t n_parts, void (*release)(void *owner), void *owner, lm_error *err)
{
    if (kind < LM_ROW_TENSOR || kind > LM_ROW_RECIPE || n_parts > 4)
        return LM_FAIL(err, LM_EBUG, "a row of kind %d with %zu parts was handed to the store", (int)kind, n_parts);
    if (!lm_grow(&write->rows, write->n_rows, &write->rows_capacity, sizeof *write->rows)) return LM_NOMEM(err);
    lm_row *row = &write->rows[write->n_rows];
    *row = (lm_row){.digest = *digest,
                    .release = release,
                    .owner = owner,
                    .kind = (uint8_t)kind,
                    .n_parts = (uint8_t)n_parts,
                    .replaces = replaces};
    for (size_t i = 0; i < n_parts; i++) {
        row->parts[i] = parts[i];
        if (__builtin_add_overflow(row->size, parts[i].size, &row->size) || row->size > LARGEST_VALUE)
            return LM_FAIL_HINT(err, LM_EINPUT, "Cut it into several tensors.",
                                "a value of more than 4 GiB cannot be stored in one piece");
    }
    write->n_rows++;
    write->bytes += row->size + ROW_COST;
    return LM_OK;
}

lm_status lm_write_row(lm_write *write, lm_row_kind kind, const lm_digest *digest, const lm_part *parts, size_t n_parts,
                       void (*release)(void *owner), void *owner, lm_error *err)
{
    return add_row(write, false, kind, digest, parts, n_parts, release, owner, err);
}

lm_status lm_write_replace_row(lm_write *write, lm_row_kind kind, const lm_digest *digest, const lm_part *parts,
                               size_t n_parts, void (*release)(void *owner), void *owner, lm_error *err)
{
    return add_row(write, true, kind, digest, parts, n_parts, release, owner, err);
}

lm_status lm_write_entry(lm_write *write, lm_table table, const void *key, size_t key_size, const void *value,
                         size_t value_size, lm_error *err)
{
    if ((unsigned)table >= LM_TABLES || !key_size)
        return LM_FAIL(err, LM_EBUG, "an entry of table %d with a key of %zu bytes was handed to the store", (int)table,
                       key_size);
    if (key_size > LARGEST_VALUE / 2 || (value && value_size > LARGEST_VALUE / 2))
        return LM_FAIL(err, LM_EINPUT, "an entry of more than 2 GiB cannot be stored");
    struct lm_bytes *bytes = table == LM_TABLE_CHECKPOINTS ? &write->checkpoints : &write->entries;
    size_t size = lm_journal_size(key_size, value, value_size);
    if (size > LARGEST_VALUE - bytes->size)
        return LM_FAIL(err, LM_EINPUT, "the entries of one write come to more than 4 GiB");
    if (size > bytes->capacity - bytes->size) {
        size_t capacity = 2 * bytes->capacity + size;
        uint8_t *grown = lm_realloc(bytes->at, capacity, 1);
        if (!grown) return LM_NOMEM(err);
        bytes->at = grown;
        bytes->capacity = capacity;
    }
    lm_journal_put(bytes->at + bytes->size, table, key, key_size, value, value_size);
    bytes->size += size;
    write->bytes += size;
    return LM_OK;
}

void *lm_write_copy(lm_write *write, const void *bytes, size_t size)
{
    size_t need = (size + 15) & ~(size_t)15;
    if (need < size) return NULL;
    lm_chunk *chunk = write->chunks;
    if (!chunk || chunk->size - chunk->used < need) {
        size_t room = !chunk ? FIRST_CHUNK : chunk->size < LARGEST_CHUNK ? 2 * chunk->size : LARGEST_CHUNK;
        if (room < need) room = need;
        chunk = lm_alloc_raw(sizeof *chunk + room);
        if (!chunk) return NULL;
        *chunk = (lm_chunk){.next = write->chunks, .size = room};
        write->chunks = chunk;
    }
    void *copy = chunk->bytes + chunk->used;
    chunk->used += need;
    if (size && bytes) memcpy(copy, bytes, size);
    return copy;
}

size_t lm_write_bytes(const lm_write *write)
{
    return write->bytes;
}
