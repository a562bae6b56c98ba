/* Opening and closing. */
#include "store/internal.h"

#include "runtime/log.h"

#include <errno.h>
#include <string.h>

static lm_status open_to_read(lm_store *store, lm_error *err)
{
    for (int attempt = 0;; attempt++) {
        uint64_t number;
        LM_TRY(lm_folder_current(store->folder, &number, err));
        if (!number)
            return LM_FAIL_HINT(err, LM_ESTORE, "Name the folder of a store with --store, or run a graph first.",
                                "there is no store in \"%s\"", store->folder);
        lm_status status = lm_generation_open(store->folder, number, LM_STORE_READ, &store->now, err);
        uint64_t again;
        if (!status || attempt == 3 || lm_folder_current(store->folder, &again, NULL) || again == number) return status;
        /* it was replaced by a collection while we opened it */
    }
}

static lm_status open_to_write(lm_store *store, const char *holder, lm_error *err)
{
    LM_TRY(lm_folder_lock(store->folder, holder, &store->lock_fd, err));
    uint64_t number;
    LM_TRY(lm_folder_current(store->folder, &number, err));
    LM_TRY(lm_folder_tidy(store->folder, number, err));
    if (number) {
        LM_TRY(lm_generation_open(store->folder, number, LM_STORE_WRITE, &store->now, err));
    } else {
        LM_TRY(lm_generation_make(store->folder, 1, err));
        LM_TRY(lm_generation_open(store->folder, 1, LM_STORE_WRITE, &store->now, err));
        LM_TRY(lm_generation_settle(store->folder, 1, err));
        LM_TRY(lm_folder_set_current(store->folder, 1, err));
    }
    LM_TRY(lm_generation_catch_up(&store->now, store->folder, store->pending, err));
    int code = pthread_create(&store->thread, NULL, lm_writer_run, store);
    if (code) return LM_FAIL(err, LM_EMEMORY, "no thread for the store \"%s\": %s", store->folder, strerror(code));
    store->started = true;
    return LM_OK;
}

static lm_status open_folder(lm_store *store, const char *holder, lm_error *err)
{
    if (store->mode == LM_STORE_WRITE) {
        int code = lm_os_mkdir(store->folder);
        if (code) return lm_store_fail(err, store->folder, "make", code);
    }
    LM_TRY(lm_folder_check_fs(store->folder, err));
    return store->mode == LM_STORE_WRITE ? open_to_write(store, holder, err) : open_to_read(store, err);
}

lm_status lm_store_open(const char *folder, lm_store_mode mode, const char *holder, lm_store **ret, lm_error *err)
{
    LM_OWN(lm_store) store = lm_alloc(1, sizeof *store);
    if (!store) return LM_NOMEM(err);
    store->mode = mode;
    store->lock_fd = -1;
    pthread_mutex_init(&store->mutex, NULL);
    pthread_cond_init(&store->work, NULL);
    pthread_cond_init(&store->done, NULL);
    store->scanned_from = UINT64_MAX;
    store->folder = lm_strdup(folder);
    store->pending = lm_pending_new();
    if (!store->folder || !store->pending) return LM_NOMEM(err);
    LM_TRY(open_folder(store, holder, err));
    *ret = lm_take(store);
    return LM_OK;
}

lm_store *lm_store_close(lm_store *store)
{
    if (!store) return NULL;
    if (store->started) {
        pthread_mutex_lock(&store->mutex);
        store->stopping = true;
        pthread_cond_signal(&store->work);
        pthread_mutex_unlock(&store->mutex);
        pthread_join(store->thread, NULL);
        int code = store->failed ? 0 : lm_writer_flush(store);
        /* Nothing is lost by it: what the index lacks is read from the log at the next opening. */
        if (code) lm_log(LM_LOG_WARN, "store", "event=index_not_written reason=\"%s\"", mdb_strerror(code));
    }
    lm_generation_close(&store->now);
    lm_folder_unlock(store->lock_fd);
    lm_pending_unref(store->pending);
    lm_filter_unref(store->filter);
    pthread_cond_destroy(&store->done);
    pthread_cond_destroy(&store->work);
    pthread_mutex_destroy(&store->mutex);
    lm_free(store->folder);
    return lm_free(store);
}

const char *lm_store_folder(const lm_store *store)
{
    return store->folder;
}
