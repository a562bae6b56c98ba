#include "operators/io/_paths.h"

#include "runtime/alloc.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { MAX_DEPTH = 64 };

/* Takes `ending` off the end, without regard to case. */
static bool cut(const char *name, size_t *length, const char *ending)
{
    size_t n = strlen(ending);
    if (*length <= n || strncasecmp(name + *length - n, ending, n) != 0) return false;
    *length -= n;
    return true;
}

static bool cut_fits(const char *name, size_t *length)
{
    size_t n = *length;
    if (!cut(name, &n, ".gz") && !cut(name, &n, ".fz") && !cut(name, &n, ".bz2")) cut(name, &n, ".Z");
    if (!cut(name, &n, ".fits") && !cut(name, &n, ".fit") && !cut(name, &n, ".fts")) return false;
    *length = n;
    return true;
}

bool lm_path_is_fits(const char *name)
{
    size_t n = strlen(name);
    return cut_fits(name, &n);
}

const char *lm_path_stem(const char *path, lm_arena *arena)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t n = strlen(name);
    if (!cut_fits(name, &n) && !cut(name, &n, ".csv")) cut(name, &n, ".tsv");
    return lm_arena_strndup(arena, name, n);
}

/* ---- matching --------------------------------------------------------------------------------------------------- */

/* One character against what stands at *p: moves *p behind it. Never matches '/'. */
static bool match_one(const char **p, char c)
{
    const char *q = *p;
    if (c == '/' || !c) return false;
    if (*q == '[') {
        const char *close = q[1] == '!' || q[1] == '^' ? strchr(q + 2 + (q[2] != 0), ']')
                            : q[1]                     ? strchr(q + 2, ']')
                                                       : NULL;
        if (close) {
            bool inverse = q[1] == '!' || q[1] == '^', found = false;
            for (q += 1 + inverse; q < close; q++) {
                if (q + 2 < close && q[1] == '-') {
                    found |= (unsigned char)q[0] <= (unsigned char)c && (unsigned char)c <= (unsigned char)q[2];
                    q += 2;
                } else {
                    found |= *q == c;
                }
            }
            *p = close + 1;
            return found != inverse;
        }
    }
    *p = q + 1;
    return *q == '?' || *q == c;
}

/* Backtracks to the last '*', and to the last "**" if that one cannot help. */
bool lm_path_matches(const char *pattern, const char *name)
{
    const char *star = NULL, *star_name = NULL, *stars = NULL, *stars_name = NULL;
    for (;;) {
        if (pattern[0] == '*' && pattern[1] == '*') {
            while (*pattern == '*') pattern++;
            if (*pattern == '/') { /* "**" stands for any number of folders, also none */
                pattern++;
                stars = pattern;
                stars_name = name;
            } else {
                stars = pattern;
                stars_name = name;
            }
            star = NULL;
            continue;
        }
        if (*pattern == '*') {
            star = ++pattern;
            star_name = name;
            continue;
        }
        if (!*pattern && !*name) return true;
        const char *p = pattern;
        if (*pattern && *name && ((*pattern == '/' && *name == '/') || match_one(&p, *name))) {
            pattern = *pattern == '/' ? pattern + 1 : p;
            name++;
            continue;
        }
        if (star && *star_name && *star_name != '/') {
            pattern = star;
            name = ++star_name;
            continue;
        }
        if (stars && *stars_name) {
            /* after a slash only folders' beginnings are tried: a slash stands before stars */
            if (stars[-1] == '/') {
                const char *slash = strchr(stars_name, '/');
                if (!slash) return false;
                stars_name = slash + 1;
            } else {
                stars_name++;
            }
            star = NULL;
            pattern = stars;
            name = stars_name;
            continue;
        }
        return false;
    }
}

/* ---- paths ------------------------------------------------------------------------------------------------------ */

const char *lm_path_join(const char *root, const char *name, lm_arena *arena)
{
    char *path = name[0] == '/' ? lm_arena_strdup(arena, name) : lm_arena_printf(arena, "%s/%s", root, name);
    if (!path) return NULL;
    char *to = path;
    for (const char *from = path; *from;) {
        while (*from == '/') from++;
        size_t n = strcspn(from, "/");
        if (n == 2 && from[0] == '.' && from[1] == '.') {
            while (to > path && *--to != '/') continue;
        } else if (n && !(n == 1 && from[0] == '.')) {
            *to++ = '/';
            memmove(to, from, n);
            to += n;
        }
        from += n;
    }
    *to = 0;
    return path;
}

const char *lm_path_relative(const char *root, const char *to, lm_arena *arena)
{
    size_t same = 0, i = 0;
    for (;; i++) { /* the longest common beginning that ends at a slash */
        bool root_ends = root[i] == '/' || !root[i], to_ends = to[i] == '/' || !to[i];
        if (root_ends && to_ends) same = i;
        if (!root[i] || root[i] != to[i]) break;
    }
    size_t up = 0;
    for (const char *p = root + same; *p; p++) up += *p == '/';
    const char *rest = to + same;
    while (*rest == '/') rest++;
    char *path = lm_arena_alloc(arena, 3 * up + strlen(rest) + 1, 1), *p = path;
    if (!path) return NULL;
    for (; up; up--, p += 3) memcpy(p, "../", 3);
    memcpy(p, rest, strlen(rest) + 1);
    return path;
}

/* ---- walking ---------------------------------------------------------------------------------------------------- */

typedef struct folder {
    dev_t device;
    ino_t inode;
    const struct folder *above;
} folder;

typedef struct {
    lm_arena *arena;
    const char *root, *pattern; /* pattern NULL: FITS files by name */
    const char **names, **folders;
    size_t n, capacity, n_folders, cap_folders;
    bool deep;
} walk;

static bool in_circle(const struct stat *st, const folder *above)
{
    for (; above; above = above->above)
        if (above->device == st->st_dev && above->inode == st->st_ino) return true;
    return false;
}

static bool push(lm_arena *arena, const char ***list, size_t *n, size_t *capacity, const char *text)
{
    if (*n == *capacity) {
        size_t larger = *capacity ? 2 * *capacity : 64;
        const char **grown = lm_arena_alloc(arena, larger, sizeof *grown);
        if (!grown) return false;
        if (*n) memcpy(grown, *list, *n * sizeof *grown);
        *list = grown;
        *capacity = larger;
    }
    (*list)[(*n)++] = text;
    return true;
}

static lm_status add(walk *w, const char *name, lm_error *err)
{
    if (w->pattern ? !lm_path_matches(w->pattern, name) : !lm_path_is_fits(name)) return LM_OK;
    return push(w->arena, &w->names, &w->n, &w->capacity, name) ? LM_OK : LM_NOMEM(err);
}

static lm_status walk_folder(walk *w, const char *under, const folder *above, unsigned depth, lm_error *err);

static lm_status walk_entry(walk *w, const char *name, const folder *above, unsigned depth, lm_error *err)
{
    struct stat st;
    const char *path = lm_arena_printf(w->arena, "%s/%s", w->root, name);
    if (!path) return LM_NOMEM(err);
    if (stat(path, &st) < 0) return LM_OK; /* gone meanwhile, or a link to nowhere */
    if (S_ISREG(st.st_mode)) return add(w, name, err);
    if (!S_ISDIR(st.st_mode) || !w->deep || depth >= MAX_DEPTH || in_circle(&st, above)) return LM_OK;
    folder here = {st.st_dev, st.st_ino, above};
    return walk_folder(w, name, &here, depth + 1, err);
}

static lm_status walk_open(walk *w, DIR *dir, const char *under, const folder *above, unsigned depth, lm_error *err)
{
    const struct dirent *entry;
    while ((entry = readdir(dir))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        const char *name = under[0] ? lm_arena_printf(w->arena, "%s/%s", under, entry->d_name)
                                    : lm_arena_strdup(w->arena, entry->d_name);
        if (!name) return LM_NOMEM(err);
        LM_TRY(walk_entry(w, name, above, depth, err));
    }
    return LM_OK;
}

static lm_status walk_folder(walk *w, const char *under, const folder *above, unsigned depth, lm_error *err)
{
    const char *path =
        under[0] ? lm_arena_printf(w->arena, "%s/%s", w->root, under) : lm_arena_printf(w->arena, "%s/", w->root);
    if (!path || !push(w->arena, &w->folders, &w->n_folders, &w->cap_folders, path)) return LM_NOMEM(err);
    DIR *dir = opendir(path);
    if (!dir) return LM_FAIL(err, LM_EIO, "cannot read the folder \"%s\": %s", path, strerror(errno));
    lm_status status = walk_open(w, dir, under, above, depth, err);
    closedir(dir);
    return status;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static lm_status single(const char *path, lm_arena *arena, lm_paths *ret, lm_error *err)
{
    const char *slash = strrchr(path, '/');
    const char **names = lm_arena_alloc(arena, 1, sizeof *names);
    const char *root = lm_arena_strndup(arena, path, slash ? (size_t)(slash - path) : 0);
    if (!names || !root) return LM_NOMEM(err);
    names[0] = slash ? slash + 1 : path;
    const char **folders = lm_arena_alloc(arena, 1, sizeof *folders);
    if (!folders) return LM_NOMEM(err);
    folders[0] = root[0] ? root : "/";
    *ret = (lm_paths){.root = root, .n = 1, .names = names, .n_folders = 1, .folders = folders};
    return LM_OK;
}

const char *lm_paths_root(const char *given, lm_arena *arena)
{
    struct stat st;
    const char *path = lm_path_join("", given, arena);
    if (!path) return NULL;
    bool there = stat(path[0] ? path : "/", &st) == 0;
    if (there && S_ISDIR(st.st_mode)) return path;
    const char *end = there ? NULL : strpbrk(path, "*?[");
    if (!end) end = path + strlen(path);
    while (end > path && *end != '/') end--;
    return lm_arena_strndup(arena, path, (size_t)(end - path));
}

lm_status lm_paths_list(const char *given, bool quiet, lm_arena *arena, lm_paths *ret, lm_error *err)
{
    const char *path = lm_path_join("", given, arena);
    if (!path) return LM_NOMEM(err);
    struct stat st;
    walk w = {.arena = arena, .deep = true};
    if (stat(path[0] ? path : "/", &st) == 0) {
        if (S_ISREG(st.st_mode)) return single(path, arena, ret, err);
        if (!S_ISDIR(st.st_mode)) return LM_FAIL(err, LM_EINPUT, "\"%s\" is neither a file nor a folder", path);
        w.root = path;
    } else if (strpbrk(path, "*?[")) {
        const char *magic = strpbrk(path, "*?["), *slash = magic;
        while (slash > path && *slash != '/') slash--;
        w.root = lm_arena_strndup(arena, path, (size_t)(slash - path));
        w.pattern = slash + 1;
        if (!w.root) return LM_NOMEM(err);
        w.deep = strstr(w.pattern, "**") || strchr(w.pattern, '/');
        if (stat(w.root[0] ? w.root : "/", &st) < 0)
            return LM_FAIL(err, LM_EINPUT, "\"%s\" matches nothing: there is no folder \"%s\"", path, w.root);
    } else {
        return LM_FAIL(err, LM_EINPUT, "there is no file or folder \"%s\"", path);
    }
    folder top = {st.st_dev, st.st_ino, NULL};
    LM_TRY(walk_folder(&w, "", &top, 0, err));
    if (!w.n && !quiet) {
        if (w.pattern) return LM_FAIL(err, LM_EINPUT, "\"%s\" matches no file", path);
        return LM_FAIL_HINT(
            err, LM_EINPUT, "Add \"/**\" to the path to take every file.",
            "the folder \"%s\" holds no FITS file (.fits, .fit, .fts, .fits.gz, .fits.fz, .fits.Z, .fits.bz2)", path);
    }
    if (w.n) qsort(w.names, w.n, sizeof *w.names, by_bytes);
    *ret = (lm_paths){w.root, w.n, w.names, w.n_folders, w.folders};
    return LM_OK;
}
