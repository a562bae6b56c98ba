/* The store's folder: who holds it, which generation is current, where it may lie, and what a failure there means.
 *
 *   lock             the one writer, held with flock: free again as soon as its process is gone, however it went
 *   current          "lensmill store, format 1, generation 3": replaced as a whole (rename), so that at every instant
 *                    exactly one generation is the store
 *   generation-3/log, generation-3/index
 */
#include "store/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

lm_status lm_store_damaged(lm_error *err, const char *folder, const char *format, ...)
{
    char what[512];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return LM_FAIL_HINT(err, LM_ESTORE,
                        "Move the folder away and run again (everything is computed anew), or take it from a backup.",
                        "the store \"%s\" is damaged: %s", folder, what);
}

lm_status lm_store_fail(lm_error *err, const char *folder, const char *doing, int code)
{
    switch (code) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case MDB_MAP_FULL:
        return LM_FAIL_HINT(
            err, LM_ESTORE,
            "Free some space, or use a store on another disk. What was committed is safe: run again and "
            "it goes on from there.",
            "cannot %s the store \"%s\": the disk is full (%s)", doing, folder, mdb_strerror(code));
    case ENOMEM:
        return LM_FAIL_HINT(err, LM_EMEMORY, "Free memory, or run with fewer workers.",
                            "cannot %s the store \"%s\": out of memory", doing, folder);
    case EROFS:
    case EACCES:
    case EPERM:
        return LM_FAIL_HINT(err, LM_ESTORE,
                            "Name a store in a folder that you may write to, or ask for the right to this one.",
                            "cannot %s the store \"%s\": %s", doing, folder, mdb_strerror(code));
    case ENOENT:
    case ENOTDIR:
        return LM_FAIL_HINT(err, LM_ESTORE, "Check the path: a run makes the store, but not the folders above it.",
                            "cannot %s the store \"%s\": %s", doing, folder, mdb_strerror(code));
    case MDB_READERS_FULL:
        return LM_FAIL_HINT(err, LM_ESTORE, "End some of the programs that read it.",
                            "cannot %s the store \"%s\": more than 1024 readers", doing, folder);
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_PANIC:
    case MDB_INCOMPATIBLE:
    case MDB_NOTFOUND: return lm_store_damaged(err, folder, "%s", mdb_strerror(code));
    case EIO:
        return LM_FAIL_HINT(err, LM_EIO,
                            "Look at the system's log: the disk may be failing. What was committed is safe.",
                            "cannot %s the store \"%s\": %s", doing, folder, mdb_strerror(code));
    default:
        return LM_FAIL(err, code > 0 ? LM_EIO : LM_ESTORE, "cannot %s the store \"%s\": %s", doing, folder,
                       mdb_strerror(code));
    }
}

/* ---- where ------------------------------------------------------------------------------------------------------- */

lm_status lm_folder_check_fs(const char *folder, lm_error *err)
{
    const char *name;
    int code = lm_os_network_fs(folder, &name);
    if (code) return lm_store_fail(err, folder, "open", code);
    const char *allowed = getenv("LENSMILL_ALLOW_NETWORK_FS");
    if (!name || (allowed && strcmp(allowed, "1") == 0)) return LM_OK;
    return LM_FAIL_HINT(err, LM_ESTORE,
                        "Use --store with a folder on a local disk. If only this machine ever opens it and your file "
                        "system keeps locks and memory maps coherent, set LENSMILL_ALLOW_NETWORK_FS=1.",
                        "the store \"%s\" lies on a network file system (%s): its locks and memory maps do not hold "
                        "between machines, and two of them could destroy it",
                        folder, name);
}

/* ---- whose ------------------------------------------------------------------------------------------------------- */

static lm_status refuse_locked(const char *folder, int fd, lm_error *err)
{
    char who[512] = "";
    size_t n = 0;
    if (lm_os_read_at(fd, who, sizeof who - 1, 0, &n)) n = 0;
    who[n] = 0;
    who[strcspn(who, "\n")] = 0;
    return LM_FAIL_HINT(err, LM_ESTORE,
                        "Wait for it to end, stop it, or name another --store. Reading works meanwhile.",
                        "the store \"%s\" is being written by %s", folder, *who ? who : "another lensmill");
}

lm_status lm_folder_lock(const char *folder, const char *holder, int *ret_fd, lm_error *err)
{
    LM_OWN(lm_chars) path = lm_alloc_raw(strlen(folder) + sizeof "/lock");
    if (!path) return LM_NOMEM(err);
    sprintf(path, "%s/lock", folder);
    int fd, code = lm_os_open(path, O_RDWR | O_CREAT, &fd);
    if (code) return lm_store_fail(err, folder, "write to", code);
    if ((code = lm_os_lock(fd))) {
        lm_status status =
            code == EWOULDBLOCK ? refuse_locked(folder, fd, err) : lm_store_fail(err, folder, "lock", code);
        lm_os_close(fd);
        return status;
    }
    char text[512], host[128] = "?", since[32] = "?";
    gethostname(host, sizeof host - 1);
    time_t now = time(NULL);
    struct tm utc;
    if (gmtime_r(&now, &utc)) strftime(since, sizeof since, "%Y-%m-%d %H:%M:%S", &utc);
    int n = snprintf(text, sizeof text, "%.200s (process %d on %s, since %s UTC)\n",
                     holder && *holder ? holder : "lensmill", (int)getpid(), host, since);
    if ((code = lm_os_truncate(fd, 0)) || (code = lm_os_write_at(fd, text, (size_t)n, 0))) {
        lm_os_close(fd);
        return lm_store_fail(err, folder, "write to", code);
    }
    *ret_fd = fd;
    return LM_OK;
}

void lm_folder_unlock(int fd)
{
    if (fd < 0) return;
    (void)lm_os_truncate(fd, 0); /* nobody holds it: a name left behind would only confuse */
    lm_os_close(fd);
}

/* ---- which ------------------------------------------------------------------------------------------------------- */

char *lm_folder_path(const char *folder, uint64_t number, const char *below)
{
    size_t room = strlen(folder) + strlen(below) + 40;
    char *path = lm_alloc_raw(room);
    if (path) snprintf(path, room, "%s/generation-%" PRIu64 "%s", folder, number, below);
    return path;
}

static char *in_folder(const char *folder, const char *name)
{
    size_t room = strlen(folder) + strlen(name) + 2;
    char *path = lm_alloc_raw(room);
    if (path) snprintf(path, room, "%s/%s", folder, name);
    return path;
}

lm_status lm_folder_current(const char *folder, uint64_t *ret_number, lm_error *err)
{
    LM_OWN(lm_chars) path = in_folder(folder, "current");
    if (!path) return LM_NOMEM(err);
    int fd, code = lm_os_open(path, O_RDONLY, &fd);
    if (code == ENOENT) {
        *ret_number = 0;
        return LM_OK;
    }
    if (code) return lm_store_fail(err, folder, "open", code);
    char text[256];
    size_t n = 0;
    code = lm_os_read_at(fd, text, sizeof text - 1, 0, &n);
    lm_os_close(fd);
    if (code) return lm_store_fail(err, folder, "read", code);
    text[n] = 0;
    uint64_t format, number;
    if (sscanf(text, "lensmill store, format %" SCNu64, &format) != 1)
        return lm_store_damaged(err, folder, "its file \"current\" does not say which generation it is");
    if (format > LM_STORE_FORMAT)
        return LM_FAIL_HINT(err, LM_ESTORE, "Use the lensmill that wrote it, or a newer one, or name another --store.",
                            "the store \"%s\" has format %" PRIu64 ", and this lensmill reads formats up to %d", folder,
                            format, LM_STORE_FORMAT);
    if (sscanf(text, "lensmill store, format %*u, generation %" SCNu64, &number) != 1 || number == 0)
        return lm_store_damaged(err, folder, "its file \"current\" does not say which generation it is");
    *ret_number = number;
    return LM_OK;
}

lm_status lm_folder_set_current(const char *folder, uint64_t number, lm_error *err)
{
    LM_OWN(lm_chars) path = in_folder(folder, "current");
    LM_OWN(lm_chars) fresh = in_folder(folder, "current.new");
    if (!path || !fresh) return LM_NOMEM(err);
    char text[128];
    int n = snprintf(text, sizeof text, "lensmill store, format %d, generation %" PRIu64 "\n", LM_STORE_FORMAT, number);
    int fd, code = lm_os_open(fresh, O_WRONLY | O_CREAT | O_TRUNC, &fd);
    if (code) return lm_store_fail(err, folder, "write to", code);
    code = lm_os_write_at(fd, text, (size_t)n, 0);
    if (!code) code = lm_os_sync(fd);
    lm_os_close(fd);
    if (!code)
        code = lm_os_sync_folder(folder); /* the generation's own name must be there before it is called current */
    if (!code) code = lm_os_rename(fresh, path);
    if (!code) code = lm_os_sync_folder(folder);
    return code ? lm_store_fail(err, folder, "write to", code) : LM_OK;
}

lm_status lm_folder_remove_generation(const char *folder, uint64_t number, lm_error *err)
{
    static const char *const below[] = {"/log", "/index", ""};
    for (size_t i = 0; i < sizeof below / sizeof *below; i++) {
        LM_OWN(lm_chars) path = lm_folder_path(folder, number, below[i]);
        if (!path) return LM_NOMEM(err);
        int code = lm_os_remove_folder(path);
        if (code) return lm_store_fail(err, folder, "remove an old generation of", code);
    }
    return LM_OK;
}

typedef struct tidying {
    uint64_t keep, old[64];
    size_t n_old;
    char unknown[256];
} tidying;

static bool see_name(void *arg, const char *name)
{
    tidying *t = arg;
    uint64_t number;
    int used = 0;
    if (sscanf(name, "generation-%" SCNu64 "%n", &number, &used) == 1 && !name[used]) {
        if (number != t->keep && t->n_old < 64) t->old[t->n_old++] = number;
    } else if (strcmp(name, "lock") != 0 && strncmp(name, "inflight", 8) != 0 && strncmp(name, "current", 7) != 0 &&
               !*t->unknown) {
        snprintf(t->unknown, sizeof t->unknown, "%s", name);
    }
    return true;
}

lm_status lm_folder_tidy(const char *folder, uint64_t keep, lm_error *err)
{
    tidying t = {.keep = keep};
    int code = lm_os_list(folder, see_name, &t);
    if (code) return lm_store_fail(err, folder, "open", code);
    if (!keep && *t.unknown)
        return LM_FAIL_HINT(err, LM_ESTORE, "Name a folder that is not there yet, or an empty one.",
                            "\"%s\" is not a store: it holds \"%s\"", folder, t.unknown);
    for (size_t i = 0; i < t.n_old; i++) LM_TRY(lm_folder_remove_generation(folder, t.old[i], err));
    return LM_OK;
}
