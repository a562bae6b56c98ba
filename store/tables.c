/* The small tables, and the journal rows that make their entries as durable as rows.
 *
 * Entries are written to the log first, as one row of kind "journal" for each group of writes, and then put into the index
 * environment: a crash in between loses nothing, and an index that is lost can be made again. A journal row is
 *   u8 table, u32 key size, u32 value size or 0xffffffff (remove), key, value
 * repeated, little-endian. Checkpoints, which may be large, are put into the log environment itself.
 *
 * LMDB takes keys of 1 to 511 bytes, and paths are longer than that: of a long key the first 479 bytes and the SHA-256 of
 * all are the key, and the whole key stands before the value, after its size.
 */
#include "store/internal.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

enum { LONG_KEY = 511, LONG_PREFIX = LONG_KEY - 32, ENTRY_HEAD = 9 };
static const uint32_t REMOVED = UINT32_MAX;

static uint32_t read_u32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return le32toh(value);
}

static uint8_t *write_u32(uint8_t *to, size_t value)
{
    uint32_t le = htole32((uint32_t)value);
    memcpy(to, &le, sizeof le);
    return to + sizeof le;
}

bool lm_journal_next(const uint8_t **at, const uint8_t *end, lm_entry *ret, bool *damaged)
{
    *damaged = false;
    if (*at == end) return false;
    *damaged = true;
    if (end - *at < ENTRY_HEAD) return false;
    uint32_t key_size = read_u32(*at + 1), value_size = read_u32(*at + 5);
    bool removes = value_size == REMOVED;
    size_t room = (size_t)(end - *at) - ENTRY_HEAD, bytes = (size_t)key_size + (removes ? 0 : value_size);
    if (**at >= LM_TABLES || !key_size || bytes > room) return false;
    *damaged = false;
    const uint8_t *key = *at + ENTRY_HEAD;
    *ret = (lm_entry){.table = (lm_table) * *at,
                      .key = {key, key_size},
                      .value = {removes ? NULL : key + key_size, removes ? 0 : value_size}};
    *at = key + bytes;
    return true;
}

size_t lm_journal_size(size_t key_size, const void *value, size_t value_size)
{
    return ENTRY_HEAD + key_size + (value ? value_size : 0);
}

uint8_t *lm_journal_put(uint8_t *to, lm_table table, const void *key, size_t key_size, const void *value,
                        size_t value_size)
{
    *to++ = (uint8_t)table;
    to = write_u32(to, key_size);
    to = write_u32(to, value ? value_size : REMOVED);
    memcpy(to, key, key_size);
    to += key_size;
    if (value && value_size) memcpy(to, value, value_size);
    return to + (value ? value_size : 0);
}

/* The key as LMDB has it. buffer: LONG_KEY bytes. */
static MDB_val stored_key(const void *key, size_t key_size, uint8_t *buffer)
{
    if (key_size < LONG_KEY) return (MDB_val){key_size, (void *)(uintptr_t)key};
    lm_digest digest = lm_digest_of(key, key_size);
    memcpy(buffer, key, LONG_PREFIX);
    memcpy(buffer + LONG_PREFIX, digest.bytes, sizeof digest.bytes);
    return (MDB_val){LONG_KEY, buffer};
}

int lm_table_apply(lm_generation *generation, MDB_txn *txn, const uint8_t *entries, size_t size)
{
    const uint8_t *end = entries + size;
    lm_entry entry;
    bool damaged;
    while (lm_journal_next(&entries, end, &entry, &damaged)) {
        uint8_t buffer[LONG_KEY];
        MDB_val key = stored_key(entry.key.data, entry.key.size, buffer);
        MDB_dbi table = generation->tables[entry.table];
        if (!entry.value.data) {
            int code = lm_os_del(txn, table, &key);
            if (code && code != MDB_NOTFOUND) return code;
            continue;
        }
        bool is_long = key.mv_size == LONG_KEY;
        MDB_val value = {entry.value.size + (is_long ? 4 + entry.key.size : 0), NULL};
        int code = lm_os_put(txn, table, &key, &value, MDB_RESERVE);
        if (code) return code;
        uint8_t *to = value.mv_data;
        if (is_long) {
            to = write_u32(to, entry.key.size);
            memcpy(to, entry.key.data, entry.key.size);
            to += entry.key.size;
        }
        if (entry.value.size) memcpy(to, entry.value.data, entry.value.size);
    }
    return damaged ? MDB_CORRUPTED : 0;
}

bool lm_table_decode(const MDB_val *key, const MDB_val *value, lm_view *ret_key, lm_view *ret_value)
{
    if (key->mv_size != LONG_KEY) {
        *ret_key = (lm_view){key->mv_data, key->mv_size};
        *ret_value = (lm_view){value->mv_data, value->mv_size};
        return true;
    }
    if (value->mv_size < 4) return false;
    const uint8_t *at = value->mv_data;
    uint32_t key_size = read_u32(at);
    if (key_size > value->mv_size - 4) return false;
    *ret_key = (lm_view){at + 4, key_size};
    *ret_value = (lm_view){at + 4 + key_size, value->mv_size - 4 - key_size};
    return true;
}

int lm_table_get(lm_generation *generation, MDB_txn *txn, lm_table table, const void *key, size_t key_size,
                 lm_view *ret)
{
    uint8_t buffer[LONG_KEY];
    MDB_val stored = stored_key(key, key_size, buffer), value;
    int code = lm_os_get(txn, generation->tables[table], &stored, &value);
    if (code) return code;
    lm_view whole, bytes;
    if (!lm_table_decode(&stored, &value, &whole, &bytes)) return MDB_CORRUPTED;
    if (whole.size != key_size || memcmp(whole.data, key, key_size) != 0) return MDB_NOTFOUND;
    *ret = bytes;
    return 0;
}
