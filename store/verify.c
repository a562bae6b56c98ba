/* Walks the pages of an LMDB file without LMDB, which trusts what it finds there: a damaged page would end the program.
 *
 * The format is that of LMDB 0.9, data version 1 (lmdb.h and mdb.c of OpenLDAP):
 *   page: u64 number, u16 pad, u16 flags, u16 lower, u16 upper (overflow: u32 pages); then u16 node offsets
 *   node: u16 low, u16 high, u16 flags, u16 key size, key, data. Of a branch low, high and flags are the child's number;
 *         of a leaf low and high are the data's size, and the data are a page number if they are large
 *   page 0 or 1, after 16 bytes: u32 magic, u32 version, 2 x u64, two tables of 48 bytes, u64 last page, u64 transaction
 *   table: u32 pad, u16 flags, u16 depth, 3 x u64, u64 entries, u64 root
 */
#include "store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    PAGE_HEAD = 16,
    NODE_HEAD = 8,
    TABLE_SIZE = 48,
    BRANCH = 1,
    LEAF = 2,
    OVERFLOW = 4,
    KINDS = 0x2f, /* branch, leaf, overflow, meta, fixed-size leaf */
    BIG = 1,
    SUBTABLE = 2,
    DEEPEST = 32,
    LARGEST_PAGE = 65536
};
static const uint64_t NO_PAGE = UINT64_MAX;

typedef struct file {
    int fd;
    size_t page_size;
    uint64_t last;
    uint8_t *seen; /* a bit a page */
    bool whole;    /* every page, or only the way to the ends of each table */
    bool integer_keys;
    uint64_t bad_page;
    const char *what;
} file;

static uint16_t u16(const uint8_t *at)
{
    uint16_t v;
    memcpy(&v, at, sizeof v);
    return v;
}
static uint32_t u32(const uint8_t *at)
{
    uint32_t v;
    memcpy(&v, at, sizeof v);
    return v;
}
static uint64_t u64(const uint8_t *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return v;
}

static int bad(file *f, uint64_t page, const char *what)
{
    f->bad_page = page;
    f->what = what;
    return MDB_CORRUPTED;
}

/* Reads a page and marks it as used: each belongs to one place only. */
static int read_page(file *f, uint64_t number, uint8_t *page)
{
    if (number > f->last) return bad(f, number, "lies beyond the end");
    uint8_t bit = (uint8_t)(1u << (number % 8));
    if (f->seen[number / 8] & bit) return bad(f, number, "is used twice");
    f->seen[number / 8] |= bit;
    size_t n;
    int code = lm_os_read_at(f->fd, page, f->page_size, (int64_t)(number * f->page_size), &n);
    if (code) return code;
    if (n < f->page_size) return bad(f, number, "lies beyond the end");
    if (u64(page) != number) return bad(f, number, "has another page's number");
    return 0;
}

/* A value on pages of its own: all of it can be read. */
static int check_large(file *f, uint64_t number, uint64_t size)
{
    uint8_t *page = lm_alloc_raw(f->page_size);
    if (!page) return ENOMEM;
    int code = read_page(f, number, page);
    uint64_t need = (PAGE_HEAD + size + f->page_size - 1) / f->page_size;
    if (!code && ((u16(page + 10) & KINDS) != OVERFLOW || u32(page + 12) < need))
        code = bad(f, number, "is not the large value that it should be");
    if (!code && need > f->last - number + 1) code = bad(f, number, "runs beyond the end");
    for (uint64_t i = 1; !code && i < need; i++) {
        size_t n;
        uint8_t bit = (uint8_t)(1u << ((number + i) % 8));
        if (f->seen[(number + i) / 8] & bit) code = bad(f, number + i, "is used twice");
        f->seen[(number + i) / 8] |= bit;
        if (!code) code = lm_os_read_at(f->fd, page, f->page_size, (int64_t)((number + i) * f->page_size), &n);
        if (!code && n < f->page_size) code = bad(f, number + i, "lies beyond the end");
    }
    lm_free(page);
    return code;
}

static int compare_keys(const file *f, const uint8_t *a, size_t n, const uint8_t *b, size_t m)
{
    if (f->integer_keys) return (u64(a) > u64(b)) - (u64(a) < u64(b));
    int order = memcmp(a, b, n < m ? n : m);
    return order ? order : (n > m) - (n < m);
}

static int check_table(file *f, const uint8_t *table, bool tables_inside, bool integer_keys);

static int check_leaf(file *f, uint64_t number, const uint8_t *node, size_t room, bool tables_inside)
{
    size_t key_size = u16(node + 6), size = u16(node) | (size_t)u16(node + 2) << 16;
    unsigned flags = u16(node + 4);
    const uint8_t *data = node + NODE_HEAD + key_size;
    size_t inside = flags & BIG ? 8 : size;
    if (NODE_HEAD + key_size + inside > room) return bad(f, number, "has an entry that does not fit");
    if (flags & ~(unsigned)(BIG | SUBTABLE)) return bad(f, number, "has an entry of unknown form");
    if (!!(flags & SUBTABLE) != tables_inside) return bad(f, number, "has an entry of the wrong form");
    if (flags & SUBTABLE) {
        if (size != TABLE_SIZE || flags & BIG) return bad(f, number, "has an entry of the wrong form");
        bool rows = key_size == 4 && memcmp(node + NODE_HEAD, "rows", 4) == 0;
        return check_table(f, data, false, rows);
    }
    return flags & BIG && f->whole ? check_large(f, u64(data), size) : 0;
}

/* A subtree: pages in bounds, keys in order, the depth that was promised. */
static int check_tree(file *f, uint64_t number, unsigned depth, bool tables_inside, uint64_t *entries)
{
    uint8_t *page = lm_alloc_raw(f->page_size);
    if (!page) return ENOMEM;
    int code = read_page(f, number, page);
    size_t lower = u16(page + 12), upper = u16(page + 14), n = (lower - PAGE_HEAD) / 2;
    unsigned kind = u16(page + 10) & KINDS;
    if (!code && kind != (depth > 1 ? BRANCH : LEAF)) code = bad(f, number, "is of the wrong kind");
    if (!code && (lower < PAGE_HEAD || lower > upper || upper > f->page_size || lower % 2 || n == 0 ||
                  (kind == BRANCH && n < 2)))
        code = bad(f, number, "has a damaged head");
    if (!code && kind == LEAF) *entries += n;
    const uint8_t *former = NULL;
    size_t former_size = 0;
    for (size_t i = 0; !code && i < n; i++) {
        size_t offset = u16(page + PAGE_HEAD + 2 * i), room = f->page_size - offset;
        const uint8_t *node = page + offset;
        if (offset < upper || offset + NODE_HEAD > f->page_size || NODE_HEAD + (size_t)u16(node + 6) > room) {
            code = bad(f, number, "has an entry that does not fit");
            break;
        }
        const uint8_t *key = node + NODE_HEAD;
        size_t key_size = u16(node + 6);
        bool has_key = kind == LEAF || i > 0; /* a branch's first key is never read */
        if (has_key && (f->integer_keys ? key_size != 8 : !key_size || key_size > 511)) {
            code = bad(f, number, "has a key of impossible size");
            break;
        }
        if (has_key && former && compare_keys(f, former, former_size, key, key_size) >= 0) {
            code = bad(f, number, "has keys out of order");
            break;
        }
        if (has_key) former = key, former_size = key_size;
        bool visit = f->whole || i == 0 || i + 1 == n;
        uint64_t child = u16(node) | (uint64_t)u16(node + 2) << 16 | (uint64_t)u16(node + 4) << 32;
        if (kind == BRANCH && visit) code = check_tree(f, child, depth - 1, tables_inside, entries);
        else if (kind == LEAF) code = check_leaf(f, number, node, room, tables_inside);
    }
    lm_free(page);
    return code;
}

static int check_table(file *f, const uint8_t *table, bool tables_inside, bool integer_keys)
{
    unsigned depth = u16(table + 6);
    uint64_t promised = u64(table + 32), root = u64(table + 40), entries = 0;
    if (root == NO_PAGE) return depth == 0 && promised == 0 ? 0 : bad(f, root, "is missing");
    if (!depth || depth > DEEPEST) return bad(f, root, "is the root of a tree of impossible depth");
    bool outer = f->integer_keys;
    f->integer_keys = integer_keys;
    int code = check_tree(f, root, depth, tables_inside, &entries);
    f->integer_keys = outer;
    if (!code && f->whole && entries != promised) code = bad(f, root, "is the root of a tree that lost entries");
    return code;
}

/* The newer of the two meta pages. */
static int read_meta(file *f, uint8_t meta[256], uint64_t *ret_txn)
{
    int found = 0;
    for (int i = 0; i < 2; i++) {
        uint8_t page[256];
        size_t n;
        int code = lm_os_read_at(f->fd, page, sizeof page, (int64_t)((size_t)i * f->page_size), &n);
        if (code) return code;
        if (n < sizeof page || u32(page + 16) != 0xBEEFC0DEu) continue;
        uint64_t txn = u64(page + 16 + 24 + 2 * TABLE_SIZE + 8);
        if (found++ && txn <= *ret_txn) continue;
        memcpy(meta, page, sizeof page);
        *ret_txn = txn;
    }
    return found ? 0 : bad(f, 0, "is no start of an LMDB file");
}

static int check_file(file *f, MDB_env *env)
{
    MDB_stat stat;
    int code = mdb_env_stat(env, &stat);
    if (code) return code;
    f->page_size = stat.ms_psize;
    if (f->page_size < 512 || f->page_size > LARGEST_PAGE) return bad(f, 0, "has an impossible page size");
    uint8_t meta[256] = {0};
    uint64_t newest = 0;
    MDB_txn *txn;
    if ((code = lm_os_begin(env, false, &txn))) return code; /* so that no page is used again while we look */
    code = read_meta(f, meta, &newest);
    bool moved = !code && newest != mdb_txn_id(txn);
    f->last = u64(meta + 16 + 24 + 2 * TABLE_SIZE);
    if (!code && moved) code = EAGAIN;
    if (!code && f->last > (uint64_t)1 << 46) code = bad(f, 0, "has an impossible size");
    if (!code) {
        f->seen = lm_alloc(f->last / 8 + 1, 1);
        if (!f->seen) code = ENOMEM;
    }
    if (!code) code = check_table(f, meta + 16 + 24, false, true); /* the list of free pages */
    if (!code) code = check_table(f, meta + 16 + 24 + TABLE_SIZE, true, false);
    mdb_txn_abort(txn);
    f->seen = lm_free(f->seen);
    return code;
}

lm_status lm_verify(const char *folder, uint64_t generation, const char *env_name, MDB_env *env, bool whole,
                    lm_error *err)
{
    char below[32];
    snprintf(below, sizeof below, "/%s/data.mdb", env_name);
    LM_OWN(lm_chars) path = lm_folder_path(folder, generation, below);
    if (!path) return LM_NOMEM(err);
    file f = {.whole = whole};
    int code = lm_os_open(path, O_RDONLY, &f.fd);
    if (code) return lm_store_fail(err, folder, "read", code);
    for (int attempt = 0; attempt < 100; attempt++) /* another process may be writing */
        if ((code = check_file(&f, env)) != EAGAIN) break;
    lm_os_close(f.fd);
    if (f.what) return lm_store_damaged(err, folder, "page %" PRIu64 " of its %s %s", f.bad_page, env_name, f.what);
    return code ? lm_store_fail(err, folder, "read", code) : LM_OK;
}
