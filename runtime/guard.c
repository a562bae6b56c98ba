#include "runtime/guard.h"
#include "runtime/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAGIC = 0x6c6d6766, VERSION = 1, CRASHES = 2 };

typedef struct header {
    uint32_t magic, version;
    uint32_t open;      /* 1 while a process uses it */
    uint32_t crashed;   /* the deadly signal, if the process caught one */
    uint64_t oom_kills; /* of the machine, when the process started */
    char boot[40];
    char pad[256 - 64];
} header;

typedef struct suspect {
    uint64_t recipe;
    char id[GUARD_ID];
    uint32_t crashes;
} suspect;

struct guard {
    lm_store *store;
    header *map;
    size_t size;
    suspect *suspects;
    size_t n_suspects;
};

static header *volatile mapped; /* for the handler of deadly signals */
static const int deadly[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
static struct sigaction before[sizeof deadly / sizeof *deadly];

static void on_deadly_signal(int number)
{
    if (mapped) mapped->crashed = (uint32_t)number;
    for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++)
        if (deadly[i] == number) sigaction(number, &before[i], NULL);
    raise(number);
}

static void read_line(const char *path, char *line, size_t size)
{
    line[0] = 0;
    FILE *f = fopen(path, "re");
    if (!f) return;
    if (!fgets(line, (int)size, f)) line[0] = 0;
    line[strcspn(line, "\n")] = 0;
    fclose(f);
}

/* How many processes the kernel has killed for want of memory, by the control group's count or the machine's. */
static uint64_t count_oom_kills(void)
{
    static const char *const files[] = {"/sys/fs/cgroup/memory.events", "/proc/vmstat"};
    uint64_t kills = 0;
    for (size_t i = 0; i < 2; i++) {
        FILE *f = fopen(files[i], "re");
        char name[64];
        unsigned long long value;
        while (f && fscanf(f, "%63s %llu", name, &value) == 2)
            if (strcmp(name, "oom_kill") == 0) kills += value;
        if (f) fclose(f);
    }
    return kills;
}

static size_t suspect_key(char *key, size_t size, uint64_t recipe, const char *id)
{
    return (size_t)snprintf(key, size, "suspect:%016llx:%.*s", (unsigned long long)recipe, GUARD_ID, id);
}

static bool collect_suspect(void *arg, lm_view key, lm_view value)
{
    guard *g = arg;
    unsigned long long recipe;
    char id[GUARD_ID] = "", text[256];
    if (key.size >= sizeof text || value.size != sizeof(uint32_t)) return true;
    memcpy(text, key.data, key.size);
    text[key.size] = 0;
    int at = 0;
    if (sscanf(text, "suspect:%16llx:%n", &recipe, &at) != 1 || !at) return true;
    snprintf(id, sizeof id, "%s", text + at);
    suspect *grown = lm_realloc(g->suspects, g->n_suspects + 1, sizeof *grown);
    if (!grown) return false;
    g->suspects = grown;
    suspect *s = &g->suspects[g->n_suspects++];
    s->recipe = recipe;
    memcpy(s->id, id, sizeof s->id);
    memcpy(&s->crashes, value.data, sizeof s->crashes);
    return true;
}

static lm_status load_suspects(guard *g, lm_error *err)
{
    LM_OWN(lm_snapshot) snapshot = NULL;
    LM_TRY(lm_store_snapshot(g->store, &snapshot, err));
    return lm_snapshot_entries(snapshot, LM_TABLE_META, collect_suspect, g, err);
}

/* Counts what was under way in the crash that the file tells of. */
static lm_status count_crash(guard *g, lm_error *err)
{
    LM_OWN(lm_write) write = NULL;
    LM_TRY(lm_write_new(&write, err));
    const guard_slot *slots = (const guard_slot *)(const void *)(g->map + 1);
    for (size_t i = 0; i < GUARD_SLOTS; i++) {
        if (!slots[i].active) continue;
        uint32_t crashes = 1;
        for (size_t k = 0; k < g->n_suspects; k++)
            if (g->suspects[k].recipe == slots[i].recipe && strncmp(g->suspects[k].id, slots[i].id, GUARD_ID - 1) == 0)
                crashes = g->suspects[k].crashes + 1;
        char key[256], id[GUARD_ID];
        snprintf(id, sizeof id, "%s", slots[i].id);
        lm_log(LM_LOG_WARN, "guard",
               "an earlier run died (signal %u) while node \"%.47s\" worked on record \"%s\" (%u of %d)",
               g->map->crashed, slots[i].node, id, crashes, CRASHES);
        size_t n = suspect_key(key, sizeof key, slots[i].recipe, id);
        LM_TRY(lm_write_entry(write, LM_TABLE_META, key, n, &crashes, sizeof crashes, err));
    }
    uint64_t ticket;
    LM_TRY(lm_store_hand_in(g->store, lm_take(write), &ticket, err));
    return lm_store_wait(g->store, ticket, err);
}

static lm_status map_file(guard *g, lm_error *err)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/inflight", lm_store_folder(g->store));
    g->size = sizeof(header) + GUARD_SLOTS * sizeof(guard_slot);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) return LM_FAIL(err, LM_EIO, "cannot open \"%s\": %s", path, strerror(errno));
    /* Written rather than extended: a sparse file on a full disk would be a SIGBUS later. */
    int failed = posix_fallocate(fd, 0, (off_t)g->size);
    void *map = failed ? MAP_FAILED : mmap(NULL, g->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED && !failed) failed = errno;
    close(fd);
    if (failed) return LM_FAIL(err, LM_EIO, "cannot map \"%s\": %s", path, strerror(failed));
    g->map = map;
    return LM_OK;
}

lm_status guard_open(lm_store *store, guard **ret, lm_error *err)
{
    guard *g = lm_alloc(1, sizeof *g);
    if (!g) return LM_NOMEM(err);
    g->store = store;
    lm_status status = map_file(g, err);
    if (!status) status = load_suspects(g, err);
    if (!status) {
        char boot[40];
        read_line("/proc/sys/kernel/random/boot_id", boot, sizeof boot);
        uint64_t kills = count_oom_kills();
        bool ours = g->map->magic == MAGIC && g->map->version == VERSION;
        bool same_boot = ours && strncmp(g->map->boot, boot, sizeof boot) == 0;
        if (ours && g->map->open && (g->map->crashed || (same_boot && kills > g->map->oom_kills))) {
            status = count_crash(g, err);
            g->n_suspects = 0;
            if (!status) status = load_suspects(g, err);
        }
        memset(g->map, 0, g->size);
        *g->map = (header){.magic = MAGIC, .version = VERSION, .open = 1, .oom_kills = kills};
        memcpy(g->map->boot, boot, sizeof boot);
    }
    if (status) {
        guard_close(g);
        return status;
    }
    mapped = g->map;
    struct sigaction action = {.sa_handler = on_deadly_signal, .sa_flags = (int)SA_NODEFER};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++) sigaction(deadly[i], &action, &before[i]);
    *ret = g;
    return LM_OK;
}

guard *guard_close(guard *g)
{
    if (!g) return NULL;
    if (mapped && mapped == g->map) {
        for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++) sigaction(deadly[i], &before[i], NULL);
        mapped = NULL;
    }
    if (g->map) {
        g->map->open = 0;
        munmap(g->map, g->size);
    }
    lm_free(g->suspects);
    return lm_free(g);
}

guard_slot *guard_slot_of(guard *g, unsigned worker)
{
    return g && worker < GUARD_SLOTS ? (guard_slot *)(void *)(g->map + 1) + worker : NULL;
}

bool guard_suspects(const guard *g, const lm_digest *recipe, const char *id)
{
    if (!g || !g->n_suspects) return false;
    uint64_t first;
    memcpy(&first, recipe->bytes, sizeof first);
    for (size_t i = 0; i < g->n_suspects; i++)
        if (g->suspects[i].recipe == first && g->suspects[i].crashes >= CRASHES &&
            strncmp(g->suspects[i].id, id, GUARD_ID - 1) == 0)
            return true;
    return false;
}

lm_status guard_forget(lm_store *store, lm_error *err)
{
    guard g = {.store = store};
    LM_OWN(lm_write) write = NULL;
    LM_TRY(lm_write_new(&write, err));
    lm_status status = load_suspects(&g, err);
    for (size_t i = 0; i < g.n_suspects && !status; i++) {
        char key[256];
        size_t n = suspect_key(key, sizeof key, g.suspects[i].recipe, g.suspects[i].id);
        status = lm_write_entry(write, LM_TABLE_META, key, n, NULL, 0, err);
    }
    lm_free(g.suspects);
    if (status) return status;
    uint64_t ticket;
    LM_TRY(lm_store_hand_in(store, lm_take(write), &ticket, err));
    return lm_store_wait(store, ticket, err);
}
