/* Loading plugins. All checks are made before the first operator of a library is registered; a library that is refused is
 * closed again, one that is accepted stays. */
#include "runtime/plugin.h"

#include "runtime/registry.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LM_FILL_(result, name, arguments) .name = name,
static const lm_host host = {.struct_size = sizeof(lm_host), .abi = LM_PLUGIN_ABI, LM_HOST_API(LM_FILL_)};

/* Loaded libraries, for the program's whole life. */
typedef struct library {
    struct library *next;
    char *path;
    lm_digest digest;
} library;
static library *libraries;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The first operators had all fields up to close(). */
enum { OLDEST_OPERATOR = offsetof(lm_operator, close) + sizeof(void (*)(void)) };

static lm_status digest_of_file(const char *path, lm_digest *ret, lm_error *err)
{
    enum { CHUNK = 1 << 16 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return LM_FAIL(err, LM_EGRAPH, "cannot open the plugin \"%s\": %s", path, strerror(errno));
    char *chunk = lm_alloc_raw(CHUNK);
    lm_status status = chunk ? LM_OK : LM_NOMEM(err);
    lm_hash hash;
    lm_hash_init(&hash);
    while (!status) {
        ssize_t n = read(fd, chunk, CHUNK);
        if (n > 0) lm_hash_add(&hash, chunk, (size_t)n);
        else if (n == 0) break;
        else if (errno != EINTR) status = LM_FAIL(err, LM_EIO, "cannot read \"%s\": %s", path, strerror(errno));
    }
    lm_digest digest = lm_hash_finish(&hash);
    close(fd);
    lm_free(chunk);
    if (!status) *ret = digest;
    return status;
}

static lm_status check(const char *path, const lm_plugin *plugin, lm_error *err)
{
    static const char rebuild[] = "Build the plugin again with the headers of this lensmill.";
    if (plugin->abi != LM_PLUGIN_ABI)
        return LM_FAIL_HINT(err, LM_EGRAPH,
                            plugin->abi > LM_PLUGIN_ABI ? "It is newer: use a newer lensmill, or build it again."
                                                        : rebuild,
                            "plugin \"%s\" speaks interface %u, this lensmill (%s) interface %u", path, plugin->abi,
                            LM_VERSION, (unsigned)LM_PLUGIN_ABI);
    if (plugin->struct_size < sizeof *plugin || !plugin->name || (plugin->n_operators && !plugin->operators))
        return LM_FAIL_HINT(err, LM_EGRAPH, rebuild, "plugin \"%s\" describes itself in %zu bytes instead of %zu", path,
                            plugin->struct_size, sizeof *plugin);
    if (plugin->host_size > sizeof(lm_host))
        return LM_FAIL_HINT(err, LM_EGRAPH, "Use a newer lensmill, or build the plugin with the headers of this one.",
                            "plugin \"%s\" wants more functions (%zu bytes of them) than this lensmill (%s) has (%zu)",
                            path, plugin->host_size, LM_VERSION, sizeof(lm_host));
    const lm_layout ours = LM_LAYOUT;
    if (memcmp(&plugin->layout, &ours, sizeof ours) != 0 || plugin->operator_size < OLDEST_OPERATOR)
        return LM_FAIL_HINT(
            err, LM_EGRAPH, rebuild,
            "plugin \"%s\" was built with headers whose structs differ from those of this lensmill (%s)", path,
            LM_VERSION);
    if (!plugin->n_operators) return LM_FAIL(err, LM_EGRAPH, "plugin \"%s\" has no operators", path);
    return LM_OK;
}

/* Operators of another size: copies as long as ours, with zeros for what the plugin does not know. What it knows beyond
 * ours must be unused. *ret is the library's own list if the sizes agree, else allocated (with the copies behind it). */
static lm_status adapt(const char *path, const lm_plugin *plugin, const lm_operator *const **ret, lm_error *err)
{
    if (plugin->operator_size == sizeof(lm_operator)) {
        *ret = plugin->operators;
        return LM_OK;
    }
    size_t n = plugin->n_operators, common = plugin->operator_size;
    if (common > sizeof(lm_operator)) common = sizeof(lm_operator);
    const lm_operator **list = lm_alloc(n, sizeof *list + sizeof(lm_operator));
    if (!list) return LM_NOMEM(err);
    lm_operator *copies = (lm_operator *)(void *)(list + n);
    for (size_t i = 0; i < n; i++) {
        const char *theirs = (const char *)plugin->operators[i];
        for (size_t k = common; k < plugin->operator_size; k++)
            if (theirs[k]) {
                lm_free(list);
                return LM_FAIL_HINT(err, LM_EGRAPH, "Use a newer lensmill.",
                                    "plugin \"%s\" uses parts of an operator that this lensmill (%s) does not know",
                                    path, LM_VERSION);
            }
        memcpy(&copies[i], theirs, common);
        list[i] = &copies[i];
    }
    *ret = list;
    return LM_OK;
}

static lm_status start(const char *path, void *handle, const lm_digest *digest, lm_error *err)
{
    void *symbol = dlsym(handle, "lm_plugin_entry");
    if (!symbol)
        return LM_FAIL_HINT(err, LM_EGRAPH, "One of its files must say LM_PLUGIN_EXPORT (runtime/plugin.h).",
                            "\"%s\" is no lensmill plugin: it has no symbol \"lm_plugin_entry\"", path);
    const lm_plugin *(*entry)(const lm_host *);
    memcpy(&entry, &symbol, sizeof entry); /* ISO C knows no cast from a data to a function pointer */
    const lm_plugin *plugin = entry(&host);
    if (!plugin) return LM_FAIL(err, LM_EGRAPH, "the plugin \"%s\" refuses to start", path);
    LM_TRY(check(path, plugin, err));
    const lm_operator *const *operators = NULL;
    LM_TRY(adapt(path, plugin, &operators, err));
    for (size_t i = 0; i < plugin->n_operators; i++)
        if (!operators[i]) return LM_FAIL(err, LM_EGRAPH, "operator %zu of plugin \"%s\" is missing", i, path);
    lm_status status = lm_registry_add(operators, plugin->n_operators, digest, err);
    if (status) {
        lm_error_in(err, "plugin \"%s\" (%s)", plugin->name, path);
        if (operators != plugin->operators) lm_free((void *)(uintptr_t)operators);
    }
    return status;
}

static lm_status load(const char *path, lm_error *err)
{
    for (const library *l = libraries; l; l = l->next)
        if (strcmp(l->path, path) == 0) return LM_OK;
    library *l = lm_alloc(1, sizeof *l);
    if (l) l->path = lm_strdup(path);
    lm_status status = l && l->path ? digest_of_file(path, &l->digest, err) : LM_NOMEM(err);
    void *handle = NULL;
    if (!status) {
        handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!handle) status = LM_FAIL(err, LM_EGRAPH, "cannot load the plugin: %s", dlerror());
        else status = start(path, handle, &l->digest, err);
    }
    if (status) {
        if (handle) dlclose(handle);
        if (l) lm_free(l->path);
        lm_free(l);
        return status;
    }
    l->next = libraries;
    libraries = l;
    return LM_OK;
}

lm_status lm_plugin_load(const char *path, lm_error *err)
{
    char real[PATH_MAX];
    if (!realpath(path, real))
        return LM_FAIL_HINT(err, LM_EGRAPH, "Build it first, or correct the path in `plugins:`.",
                            "cannot find the plugin \"%s\": %s", path, strerror(errno));
    pthread_mutex_lock(&lock);
    lm_status status = load(real, err);
    pthread_mutex_unlock(&lock);
    return status;
}
