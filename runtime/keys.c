/* Keys: what a step's result depends on, and nothing else (runtime/KEYS.md). */
#include "runtime/engine.h"
#include "runtime/registry.h"

#include "schemas/lensmill.pb-c.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_AT_ONCE = 1 << 20 };

static lm_status hash_file(const char *path, lm_digest *ret, lm_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return LM_FAIL(err, LM_EIO, "cannot open \"%s\": %s", path, strerror(errno));
    uint8_t *buffer = lm_alloc_raw(READ_AT_ONCE);
    if (!buffer) {
        close(fd);
        return LM_NOMEM(err);
    }
    lm_hash hash;
    lm_hash_init(&hash);
    ssize_t n;
    while ((n = read(fd, buffer, READ_AT_ONCE)) > 0) lm_hash_add(&hash, buffer, (size_t)n);
    int cause = errno;
    close(fd);
    lm_free(buffer);
    *ret = lm_hash_finish(&hash);
    return n < 0 ? LM_FAIL(err, LM_EIO, "cannot read \"%s\": %s", path, strerror(cause)) : LM_OK;
}

typedef struct {
    lm_digest digests[64];
    size_t n;
    lm_status status;
    lm_error *err;
} code_files;

static void add_code_file(void *arg, const char *path)
{
    code_files *files = arg;
    if (files->status || files->n == 64) return;
    files->status = hash_file(path, &files->digests[files->n++], files->err);
}

lm_status lm_node_recipe(const lm_graph *graph, const lm_node *node, lm_arena *arena, lm_digest *ret_digest,
                         const void **ret_bytes, size_t *ret_size, lm_error *err)
{
    Lensmill__Recipe recipe = LENSMILL__RECIPE__INIT;
    recipe.format = LM_STORE_FORMAT;
    recipe.op = (char *)(uintptr_t)node->op->name;
    recipe.version = (uint32_t)node->op->version;
    recipe.params = (char *)(uintptr_t)node->canonical;
    recipe.random = (node->op->flags & LM_RANDOM) != 0;
    if (recipe.random) {
        recipe.seed = graph->seed;
        recipe.salt = (char *)(uintptr_t)node->salt;
    }
    lm_digest code;
    const lm_digest *library = lm_registry_code(node->op);
    if (library) {
        recipe.code.data = (uint8_t *)(uintptr_t)library->bytes;
        recipe.code.len = sizeof library->bytes;
    } else if (node->op->code_files) {
        code_files files = {.n = 0, .status = LM_OK, .err = err};
        LM_TRY(node->op->code_files(node->self, add_code_file, &files, err));
        LM_TRY(files.status);
        code = lm_digest_of(files.digests, files.n * sizeof *files.digests);
        recipe.code.data = code.bytes;
        recipe.code.len = sizeof code.bytes;
    }
    size_t size = lensmill__recipe__get_packed_size(&recipe);
    uint8_t *bytes = lm_arena_data(arena, size, 1);
    if (!bytes) return LM_NOMEM(err);
    lensmill__recipe__pack(&recipe, bytes);
    *ret_digest = lm_digest_of(bytes, size);
    *ret_bytes = bytes;
    *ret_size = size;
    return LM_OK;
}

lm_digest key_of_index(const lm_digest *key, uint64_t index)
{
    lm_hash hash;
    lm_hash_init(&hash);
    lm_hash_add(&hash, key, sizeof *key);
    lm_hash_add_text(&hash, "index");
    lm_hash_add_u64(&hash, index);
    return lm_hash_finish(&hash);
}

lm_digest ident_virtual(const lm_digest *key, unsigned port, uint64_t index)
{
    lm_hash hash;
    lm_hash_init(&hash);
    lm_hash_add(&hash, key, sizeof *key);
    lm_hash_add_text(&hash, "output");
    lm_hash_add_u64(&hash, port);
    lm_hash_add_u64(&hash, index);
    return lm_hash_finish(&hash);
}

/* A file that has the size, times and inode that it had when it was last read has the same digest. */
static lm_status known_file(worker *w, const lm_digest *at, const struct stat *st, lm_digest *ret, bool *ret_known,
                            lm_error *err)
{
    *ret_known = false;
    if (!w->snapshot) return LM_OK;
    lm_view view;
    LM_TRY(lm_snapshot_get(w->snapshot, LM_TABLE_FILES, at, sizeof *at, &view, err));
    if (!view.data) return LM_OK;
    Lensmill__File *file = lensmill__file__unpack(NULL, view.size, view.data);
    if (!file) return LM_OK;
    int64_t mtime = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
    if (file->size == (uint64_t)st->st_size && file->mtime_ns == mtime && file->inode == (uint64_t)st->st_ino &&
        file->digest.len == sizeof ret->bytes) {
        memcpy(ret->bytes, file->digest.data, sizeof ret->bytes);
        *ret_known = true;
    }
    lensmill__file__free_unpacked(file, NULL);
    return LM_OK;
}

static lm_status remember_file(work *k, const char *path, const lm_digest *at, const struct stat *st,
                               const lm_digest *digest, lm_error *err)
{
    LM_TRY(work_writing(k, err));
    Lensmill__File file = LENSMILL__FILE__INIT;
    file.format = LM_STORE_FORMAT;
    file.path = (char *)(uintptr_t)path;
    file.size = (uint64_t)st->st_size;
    file.mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
    file.inode = (uint64_t)st->st_ino;
    file.digest.data = (uint8_t *)(uintptr_t)digest->bytes;
    file.digest.len = sizeof digest->bytes;
    size_t size = lensmill__file__get_packed_size(&file);
    uint8_t *bytes = lm_arena_data(&k->w->arena, size, 1);
    if (!bytes) return LM_NOMEM(err);
    lensmill__file__pack(&file, bytes);
    return lm_write_entry(k->write, LM_TABLE_FILES, at, sizeof *at, bytes, size, err);
}

lm_status key_of_file(work *k, const char *path, lm_digest *ret, lm_error *err)
{
    engine *e = k->w->engine;
    pthread_mutex_lock(&e->files_lock);
    lm_digest *known = lm_map_get(&e->file_digests, path);
    if (known) *ret = *known;
    pthread_mutex_unlock(&e->files_lock);
    if (known) return LM_OK;

    struct stat st, after;
    if (stat(path, &st)) return LM_FAIL(err, LM_EIO, "cannot read \"%s\": %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode)) return LM_FAIL(err, LM_EINPUT, "\"%s\" is a folder, not a file", path);
    lm_digest at = lm_digest_of(path, strlen(path)), digest;
    bool same;
    LM_TRY(known_file(k->w, &at, &st, &digest, &same, err));
    if (!same) {
        LM_TRY(hash_file(path, &digest, err));
        if (stat(path, &after) || after.st_size != st.st_size || after.st_mtim.tv_nsec != st.st_mtim.tv_nsec ||
            after.st_mtim.tv_sec != st.st_mtim.tv_sec)
            return LM_FAIL_HINT(err, LM_EIO, "Run again when the program that writes it is done.",
                                "\"%s\" changed while it was being read", path);
        /* A file touched within the last seconds may change again without a new time: it is not remembered. */
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        if (e->options.store && !e->plan && now.tv_sec - st.st_mtim.tv_sec >= 2)
            LM_TRY(remember_file(k, path, &at, &st, &digest, err));
    }
    lm_digest *copy = lm_alloc(1, sizeof *copy);
    if (!copy) return LM_NOMEM(err);
    *copy = digest;
    pthread_mutex_lock(&e->files_lock);
    void *old = NULL;
    if (!lm_map_put(&e->file_digests, path, copy, &old)) old = copy;
    pthread_mutex_unlock(&e->files_lock);
    lm_free(old);
    *ret = digest;
    return LM_OK;
}

lm_digest lm_source_key(const lm_digest *recipe, const char *id, const char *spec, const lm_digest *files, size_t n)
{
    lm_hash hash;
    lm_hash_init(&hash);
    lm_hash_add(&hash, recipe, sizeof *recipe);
    lm_hash_add_text(&hash, id);
    lm_hash_add_text(&hash, spec);
    lm_hash_add(&hash, files, n * sizeof *files);
    return lm_hash_finish(&hash);
}

lm_status key_of_call(work *k, call *c, lm_error *err)
{
    rt_node *node = k->b->node;
    lm_digest files[16];
    size_t n_files = c->source ? c->source->n_files : 0;
    if (n_files > 16) return LM_FAIL(err, LM_EBUG, "an item of more than 16 files");
    for (size_t i = 0; i < n_files; i++) LM_TRY(key_of_file(k, c->source->files[i], &files[i], err));
    c->has_key = true;
    if (c->source) {
        c->key = c->told = lm_source_key(&node->recipe, c->source->id, c->source->spec, files, n_files);
        return LM_OK;
    }
    lm_hash hash;
    lm_hash_init(&hash); /* nothing between here and finish may hash something else in this thread */
    lm_hash_add(&hash, &node->recipe, sizeof node->recipe);
    for (unsigned i = 0; i < node->n_inputs; i++) {
        const members *in = &c->in[i];
        lm_hash_add_u64(&hash, (uint64_t)i << 48 | in->n);
        for (size_t j = 0; j < in->n; j++) lm_hash_add(&hash, &in->items[j]->ident, sizeof in->items[j]->ident);
        if (node->is_gather || node->is_sink) lm_hash_add_u64(&hash, in->missing);
    }
    if (node->is_gather) lm_hash_add_text(&hash, c->id); /* the window: its result has this id */
    c->key = c->told = lm_hash_finish(&hash);
    if (node->is_sink) { /* the same input written to another place is another step */
        lm_hash_init(&hash);
        lm_hash_add(&hash, &c->told, sizeof c->told);
        for (const lm_param *param = node->op->params; param && param->name; param++)
            if (param->type == LM_P_PATH && param->output) {
                const char *path = json_string_value(json_object_get(node->def->params, param->name));
                lm_hash_add_text(&hash, path ? path : "");
            }
        c->key = lm_hash_finish(&hash);
    }
    if (node->def->length) { /* its random streams and its checkpoint are those of the step without */
        lm_hash_init(&hash);
        lm_hash_add(&hash, &c->key, sizeof c->key);
        lm_hash_add_text(&hash, node->def->length);
        c->key = lm_hash_finish(&hash);
    }
    return LM_OK;
}
