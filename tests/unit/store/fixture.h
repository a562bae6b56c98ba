/* What the tests of the store share. */
#ifndef LM_TESTS_STORE_FIXTURE_H
#define LM_TESTS_STORE_FIXTURE_H

#include "store/store.h"
#include "tests/test.h"

#include <signal.h>

#define FIXTURE static inline __attribute__((unused))

/* test_folder(), remembered: folder_of_test() is the fresh folder that this test has taken. */
static char fixture_folder[512];
FIXTURE const char *folder_of_test(void)
{
    return fixture_folder;
}
FIXTURE const char *new_folder(void)
{
    snprintf(fixture_folder, sizeof fixture_folder, "%s", test_folder());
    return fixture_folder;
}

FIXTURE lm_store *open_store(const char *folder, lm_store_mode mode)
{
    lm_error err;
    lm_store *store = NULL;
    OK(lm_store_open(folder, mode, "a test", &store, &err), &err);
    return store;
}

/* The digest of a test's row: any number has one. */
FIXTURE lm_digest digest_of(unsigned n)
{
    return lm_digest_of(&n, sizeof n);
}

FIXTURE void hand_in(lm_store *store, lm_write *take)
{
    lm_error err;
    uint64_t ticket = 0;
    OK(lm_store_hand_in(store, take, &ticket, &err), &err);
    OK(lm_store_wait(store, ticket, &err), &err);
}

FIXTURE void put_bytes(lm_store *store, lm_row_kind kind, unsigned n, const void *bytes, size_t size)
{
    lm_error err;
    lm_write *write;
    lm_digest digest = digest_of(n);
    OK(lm_write_new(&write, &err), &err);
    OK(lm_write_row(write, kind, &digest, &(lm_part){bytes, size}, 1, NULL, NULL, &err), &err);
    hand_in(store, write);
}

FIXTURE void put_text(lm_store *store, lm_row_kind kind, unsigned n, const char *text)
{
    put_bytes(store, kind, n, text, strlen(text));
}

FIXTURE void replace_text(lm_store *store, lm_row_kind kind, unsigned n, const char *text)
{
    lm_error err;
    lm_write *write;
    lm_digest digest = digest_of(n);
    OK(lm_write_new(&write, &err), &err);
    OK(lm_write_replace_row(write, kind, &digest, &(lm_part){text, strlen(text)}, 1, NULL, NULL, &err), &err);
    hand_in(store, write);
}

FIXTURE void put_entry(lm_store *store, lm_table table, const char *key, const char *value)
{
    lm_error err;
    lm_write *write;
    OK(lm_write_new(&write, &err), &err);
    OK(lm_write_entry(write, table, key, strlen(key), value, value ? strlen(value) : 0, &err), &err);
    hand_in(store, write);
}

FIXTURE lm_snapshot *snapshot_of(lm_store *store)
{
    lm_error err;
    lm_snapshot *snapshot = NULL;
    OK(lm_store_snapshot(store, &snapshot, &err), &err);
    return snapshot;
}

/* A row's bytes as text, NULL if it is not there. Static storage. */
FIXTURE const char *find_in(lm_snapshot *snapshot, lm_row_kind kind, unsigned n)
{
    static char text[4096];
    lm_error err;
    lm_digest digest = digest_of(n);
    lm_view view;
    OK(lm_snapshot_find(snapshot, kind, &digest, &view, &err), &err);
    if (!view.data) return NULL;
    size_t size = view.size < sizeof text - 1 ? view.size : sizeof text - 1;
    memcpy(text, view.data, size);
    text[size] = 0;
    return text;
}

FIXTURE const char *find_text(lm_store *store, lm_row_kind kind, unsigned n)
{
    lm_snapshot *snapshot = snapshot_of(store);
    const char *text = find_in(snapshot, kind, n);
    lm_snapshot_unref(snapshot);
    return text;
}

FIXTURE const char *get_text(lm_store *store, lm_table table, const char *key)
{
    static char text[4096];
    lm_error err;
    LM_OWN(lm_snapshot) snapshot = snapshot_of(store);
    lm_view view;
    OK(lm_snapshot_get(snapshot, table, key, strlen(key), &view, &err), &err);
    if (!view.data) return NULL;
    snprintf(text, sizeof text, "%.*s", (int)view.size, (const char *)view.data);
    return text;
}

FIXTURE bool count_row(void *arg, lm_row_kind kind, const lm_digest *digest, lm_view value, uint64_t sequence)
{
    (void)kind, (void)digest, (void)value, (void)sequence;
    ++*(unsigned *)arg;
    return true;
}

FIXTURE unsigned count_rows(lm_store *store, lm_row_kind kind)
{
    lm_error err;
    unsigned n = 0;
    LM_OWN(lm_snapshot) snapshot = snapshot_of(store);
    OK(lm_snapshot_rows(snapshot, kind, false, count_row, &n, &err), &err);
    return n;
}

FIXTURE void write_file(const char *name, const char *text)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder_of_test(), name);
    FILE *file = fopen(path, "w");
    if (!file) FAIL("cannot write %s", path);
    fputs(text, file);
    fclose(file);
}

#endif
