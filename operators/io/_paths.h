/* Which files a path means: a file, a folder (all FITS files below it), or a glob with *, ?, [...] and ** (any folders). */
#ifndef LM_OPERATORS_IO_PATHS_H
#define LM_OPERATORS_IO_PATHS_H

#include "runtime/arena.h"
#include "runtime/error.h"

#include <stdbool.h>

typedef struct lm_paths {
    const char *root; /* the folder that names are relative to, without a slash at its end ("" stands for "/") */
    size_t n;
    const char **names; /* relative to root, sorted by bytes */
    size_t n_folders;
    const char **folders; /* every folder that was looked at, absolute */
} lm_paths;

/* Memory is the arena's. LM_EINPUT: nothing is there, or nothing matches. With `quiet`, matching nothing is an empty list.
 * Links to folders are followed, but not in circles. */
lm_status lm_paths_list(const char *path, bool quiet, lm_arena *arena, lm_paths *ret, lm_error *err);

/* The root alone: a folder itself, otherwise what stands before the last slash before any *, ? or [. */
const char *lm_paths_root(const char *path, lm_arena *arena);

/* Does the name end as FITS files do (.fits, .fit, .fts, and with .gz, .fz, .Z, .bz2)? Without regard to case. */
bool lm_path_is_fits(const char *name);
/* The last component without the endings of lm_path_is_fits(), ".csv" and ".tsv". In the arena; NULL without memory. */
const char *lm_path_stem(const char *path, lm_arena *arena);
/* `name` matches the pattern, both with '/' between components. */
bool lm_path_matches(const char *pattern, const char *name);
/* root + "/" + name, unless name is absolute; with "." and ".." worked out. In the arena; NULL without memory. */
const char *lm_path_join(const char *root, const char *name, lm_arena *arena);
/* The way from the folder `root` to the absolute path `to`: "images.fits", "../psf/a.fits". In the arena; NULL without
 * memory. Both without "." and "..". */
const char *lm_path_relative(const char *root, const char *to, lm_arena *arena);

#endif
