#include "store/os.h"

#include "runtime/alloc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* ---- faults ------------------------------------------------------------------------------------------------------ */

static _Atomic uint64_t fail_at, made; /* fail_at 0: never */
static _Atomic int fail_code;
static _Atomic bool fail_stays;
static const char *_Atomic pretended;

void lm_os_fail_at(uint64_t n, int code, bool stays)
{
    atomic_store(&made, 0);
    atomic_store(&fail_code, code);
    atomic_store(&fail_stays, stays);
    atomic_store(&fail_at, n);
}

uint64_t lm_os_count(void)
{
    return atomic_load(&made);
}

void lm_os_pretend_fs(const char *type)
{
    atomic_store(&pretended, type);
}

/* The code that this call must fail with, or 0. */
static int fault(bool writes)
{
    uint64_t at = atomic_load_explicit(&fail_at, memory_order_relaxed);
    if (!at) return 0;
    uint64_t n = atomic_fetch_add(&made, 1) + 1;
    bool now = n == at || (n > at && writes && atomic_load(&fail_stays));
    return now ? atomic_load(&fail_code) : 0;
}

#define TRY_FAULT(writes)                                                                                              \
    do {                                                                                                               \
        int fault_ = fault(writes);                                                                                    \
        if (fault_) return fault_;                                                                                     \
    } while (0)

/* ---- files ------------------------------------------------------------------------------------------------------- */

int lm_os_mkdir(const char *path)
{
    TRY_FAULT(true);
    if (mkdir(path, 0777) == 0) return 0;
    if (errno != EEXIST) return errno;
    struct stat st;
    if (stat(path, &st)) return errno;
    return S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
}

int lm_os_open(const char *path, int flags, int *ret_fd)
{
    TRY_FAULT(flags & O_CREAT);
    int fd = open(path, flags | O_CLOEXEC, 0666);
    if (fd < 0) return errno;
    *ret_fd = fd;
    return 0;
}

void lm_os_close(int fd)
{
    if (fd >= 0) close(fd);
}

int lm_os_write_at(int fd, const void *bytes, size_t n, int64_t offset)
{
    TRY_FAULT(true);
    const char *from = bytes;
    while (n) {
        ssize_t wrote = pwrite(fd, from, n, offset);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) return errno;
        from += wrote, offset += wrote, n -= (size_t)wrote;
    }
    return 0;
}

int lm_os_read_at(int fd, void *bytes, size_t n, int64_t offset, size_t *ret_n)
{
    TRY_FAULT(false);
    char *to = bytes;
    size_t done = 0;
    while (done < n) {
        ssize_t got = pread(fd, to + done, n - done, offset + (int64_t)done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return errno;
        if (got == 0) break;
        done += (size_t)got;
    }
    *ret_n = done;
    return 0;
}

int lm_os_truncate(int fd, int64_t size)
{
    TRY_FAULT(true);
    return ftruncate(fd, size) ? errno : 0;
}

int lm_os_allocate(int fd, int64_t size)
{
    TRY_FAULT(true);
    if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, size) == 0) return 0;
    return errno == EOPNOTSUPP || errno == ENOSYS ? 0 : errno;
}

int lm_os_sync(int fd)
{
    TRY_FAULT(true);
    return fsync(fd) ? errno : 0;
}

int lm_os_sync_folder(const char *path)
{
    int fd = -1, code = lm_os_open(path, O_RDONLY | O_DIRECTORY, &fd);
    if (code) return code;
    code = lm_os_sync(fd);
    lm_os_close(fd);
    return code == EINVAL ? 0 : code; /* some file systems cannot sync a folder, and need not */
}

int lm_os_rename(const char *from, const char *to)
{
    TRY_FAULT(true);
    return rename(from, to) ? errno : 0;
}

int lm_os_remove_folder(const char *path)
{
    TRY_FAULT(true);
    DIR *dir = opendir(path);
    if (!dir) return errno == ENOENT ? 0 : errno;
    int code = 0;
    for (struct dirent *entry; !code && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (unlinkat(dirfd(dir), entry->d_name, 0) && errno != ENOENT) code = errno;
    }
    closedir(dir);
    if (!code && rmdir(path) && errno != ENOENT) code = errno;
    return code;
}

int lm_os_lock(int fd)
{
    TRY_FAULT(true);
    return flock(fd, LOCK_EX | LOCK_NB) ? errno : 0;
}

int lm_os_list(const char *path, bool (*fn)(void *arg, const char *name), void *arg)
{
    TRY_FAULT(false);
    DIR *dir = opendir(path);
    if (!dir) return errno;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && !fn(arg, entry->d_name)) break;
    closedir(dir);
    return 0;
}

int lm_os_file_size(const char *path, uint64_t *ret_size, uint64_t *ret_on_disk)
{
    TRY_FAULT(false);
    struct stat st;
    if (stat(path, &st)) return errno;
    *ret_size = (uint64_t)st.st_size;
    *ret_on_disk = 512 * (uint64_t)st.st_blocks;
    return 0;
}

/* Several machines may write these at once, or their memory maps and locks do not hold across machines. */
static const char *const network[] = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "afs",
    "ncpfs",
    "coda",
    "ceph",
    "lustre",
    "gpfs",
    "beegfs",
    "glusterfs",
    "orangefs",
    "pvfs2",
    "ocfs2",
    "gfs2",
    "9p",
    "panfs",
    "fuse.sshfs",
    "fuse.glusterfs",
    "fuse.s3fs",
    "fuse.gcsfuse",
    "fuse.rclone",
    "fuse.ceph-fuse",
    "fuse.davfs",
    "davfs",
    "fuse.juicefs",
};

static const char *network_name(const char *type)
{
    for (size_t i = 0; i < sizeof network / sizeof *network; i++)
        if (strcmp(type, network[i]) == 0) return network[i];
    return NULL;
}

/* The kernel's list of mounts names the type of each (statfs has a number only, one for all of FUSE):
 *   36 35 98:0 /root /mount/point rw,noatime shared:1 - ext3 /dev/root rw */
int lm_os_network_fs(const char *path, const char **ret_name)
{
    TRY_FAULT(false);
    const char *type = atomic_load(&pretended);
    if (type) {
        *ret_name = network_name(type);
        return 0;
    }
    struct stat st;
    if (stat(path, &st)) return errno;
    *ret_name = NULL;
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    if (!mounts) return 0; /* no /proc: nothing is known, and nothing refused */
    char line[4096];
    while (fgets(line, sizeof line, mounts)) {
        unsigned major_number, minor_number;
        if (sscanf(line, "%*d %*d %u:%u", &major_number, &minor_number) != 2) continue;
        if (major_number != major(st.st_dev) || minor_number != minor(st.st_dev)) continue;
        char name[64];
        const char *dash = strstr(line, " - ");
        if (dash && sscanf(dash, " - %63s", name) == 1) {
            *ret_name = network_name(name);
            break;
        }
    }
    fclose(mounts);
    return 0;
}

/* ---- LMDB -------------------------------------------------------------------------------------------------------- */

int lm_os_env_open(const char *path, unsigned flags, size_t map_size, unsigned tables, MDB_env **ret)
{
    TRY_FAULT(true);
    for (;;) {
        MDB_env *env;
        int code = mdb_env_create(&env);
        if (code) return code;
        if (!(code = mdb_env_set_maxdbs(env, tables)) && !(code = mdb_env_set_maxreaders(env, 1024)) &&
            !(code = mdb_env_set_mapsize(env, map_size)) && !(code = mdb_env_open(env, path, flags, 0666))) {
            *ret = env;
            return 0;
        }
        mdb_env_close(env);
        if ((code != ENOMEM && code != EINVAL && code != EAGAIN) || map_size <= (size_t)1 << 30) return code;
        map_size /= 4; /* a limit on the address space */
    }
}

int lm_os_env_sync(MDB_env *env)
{
    TRY_FAULT(true);
    return mdb_env_sync(env, 1);
}

int lm_os_begin(MDB_env *env, bool writing, MDB_txn **ret)
{
    TRY_FAULT(writing);
    return mdb_txn_begin(env, NULL, writing ? 0 : MDB_RDONLY, ret);
}

/* LMDB says EIO where a write came out shorter than asked, which is how a disk runs full. */
static bool is_full(MDB_env *env)
{
    int fd;
    struct statvfs fs;
    return mdb_env_get_fd(env, &fd) == 0 && fstatvfs(fd, &fs) == 0 && fs.f_bavail * fs.f_frsize < 1 << 20;
}

int lm_os_commit(MDB_txn *txn)
{
    int code = fault(true);
    if (code) {
        mdb_txn_abort(txn);
        return code;
    }
    MDB_env *env = mdb_txn_env(txn);
    code = mdb_txn_commit(txn);
    return code == EIO && is_full(env) ? ENOSPC : code;
}

int lm_os_table(MDB_txn *txn, const char *name, unsigned flags, MDB_dbi *ret)
{
    TRY_FAULT(flags & MDB_CREATE);
    return mdb_dbi_open(txn, name, flags, ret);
}

int lm_os_get(MDB_txn *txn, MDB_dbi table, MDB_val *key, MDB_val *ret)
{
    TRY_FAULT(false);
    return mdb_get(txn, table, key, ret);
}

int lm_os_put(MDB_txn *txn, MDB_dbi table, MDB_val *key, MDB_val *value, unsigned flags)
{
    TRY_FAULT(true);
    return mdb_put(txn, table, key, value, flags);
}

int lm_os_del(MDB_txn *txn, MDB_dbi table, MDB_val *key)
{
    TRY_FAULT(true);
    return mdb_del(txn, table, key, NULL);
}

int lm_os_empty(MDB_txn *txn, MDB_dbi table)
{
    TRY_FAULT(true);
    return mdb_drop(txn, table, 0);
}

int lm_os_cursor(MDB_txn *txn, MDB_dbi table, MDB_cursor **ret)
{
    TRY_FAULT(false);
    return mdb_cursor_open(txn, table, ret);
}

int lm_os_cursor_get(MDB_cursor *cursor, MDB_val *key, MDB_val *value, MDB_cursor_op op)
{
    TRY_FAULT(false);
    return mdb_cursor_get(cursor, key, value, op);
}

int lm_os_cursor_put(MDB_cursor *cursor, MDB_val *key, MDB_val *value, unsigned flags)
{
    TRY_FAULT(true);
    return mdb_cursor_put(cursor, key, value, flags);
}
