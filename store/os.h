/* The store's one door to files and to LMDB, so that a test can make the n-th call fail as a disk would.
 *
 * Every function returns 0 or a code: an errno (> 0) or LMDB's own (< 0). Nothing here knows what the store is for.
 */
#ifndef LM_STORE_OS_H
#define LM_STORE_OS_H

#include <lmdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Fault injection for tests: the n-th call from now on (counted over all threads, from 1) fails with `code` (EIO, ENOSPC,
 * ...). With `stays`, every later call that writes fails too, as on a disk that is full. n = 0 switches it off. */
void lm_os_fail_at(uint64_t n, int code, bool stays);
uint64_t lm_os_count(void); /* calls since */
/* For tests: every folder seems to lie on a file system of this name; NULL: none does. */
void lm_os_pretend_fs(const char *type);

/* ---- files ------------------------------------------------------------------------------------------------------ */

int lm_os_mkdir(const char *path);                        /* 0 also if the folder is there */
int lm_os_open(const char *path, int flags, int *ret_fd); /* close-on-exec, mode 0666 before the umask */
void lm_os_close(int fd);
int lm_os_write_at(int fd, const void *bytes, size_t n, int64_t offset);
int lm_os_read_at(int fd, void *bytes, size_t n, int64_t offset, size_t *ret_n); /* *ret_n < n at the end of the file */
int lm_os_truncate(int fd, int64_t size);
/* Gives the file's first bytes their place on the disk, so that writing them through a map cannot fail. */
int lm_os_allocate(int fd, int64_t size);
int lm_os_sync(int fd);
int lm_os_sync_folder(const char *path);
int lm_os_rename(const char *from, const char *to);
/* Removes a folder with the plain files in it; 0 also if it is not there. */
int lm_os_remove_folder(const char *path);
int lm_os_lock(int fd); /* EWOULDBLOCK: somebody else holds it. Given back when fd is closed or its process dies. */
/* fn for each name in a folder, but "." and ".."; it returns false to stop. */
int lm_os_list(const char *path, bool (*fn)(void *arg, const char *name), void *arg);
int lm_os_file_size(const char *path, uint64_t *ret_size, uint64_t *ret_on_disk);
/* The name of the network file system that a path lies on ("nfs", "fuse.sshfs"); *ret_name NULL: it is a local one. */
int lm_os_network_fs(const char *path, const char **ret_name);

/* ---- LMDB ------------------------------------------------------------------------------------------------------- */

/* Opens an environment with the largest map that the machine grants, from `map_size` downwards. */
int lm_os_env_open(const char *path, unsigned flags, size_t map_size, unsigned tables, MDB_env **ret);
int lm_os_env_sync(MDB_env *env);
int lm_os_begin(MDB_env *env, bool writing, MDB_txn **ret);
int lm_os_commit(MDB_txn *txn); /* txn is gone, also on failure */
int lm_os_table(MDB_txn *txn, const char *name, unsigned flags, MDB_dbi *ret);
int lm_os_get(MDB_txn *txn, MDB_dbi table, MDB_val *key, MDB_val *ret);
int lm_os_put(MDB_txn *txn, MDB_dbi table, MDB_val *key, MDB_val *value, unsigned flags);
int lm_os_del(MDB_txn *txn, MDB_dbi table, MDB_val *key);
int lm_os_empty(MDB_txn *txn, MDB_dbi table);
int lm_os_cursor(MDB_txn *txn, MDB_dbi table, MDB_cursor **ret);
int lm_os_cursor_get(MDB_cursor *cursor, MDB_val *key, MDB_val *value, MDB_cursor_op op);
int lm_os_cursor_put(MDB_cursor *cursor, MDB_val *key, MDB_val *value, unsigned flags);

#endif
