/* Runs a fuzz target on files: replay_x FILE_OR_FOLDER...  so that every build meets the corpus, without the fuzzer. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t runs;

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) return perror(path), 1;
    uint8_t *bytes = NULL;
    size_t n = 0, cap = 0, got = 0;
    do {
        n += got;
        if (n == cap) {
            cap = cap ? 2 * cap : 4096;
            uint8_t *grown = realloc(bytes, cap);
            if (!grown) return fclose(file), free(bytes), 1;
            bytes = grown;
        }
        got = fread(bytes + n, 1, cap - n, file);
    } while (got > 0);
    fclose(file);
    /* an allocation of exactly n bytes, so that reading one too many is seen */
    uint8_t *exact = malloc(n ? n : 1);
    if (!exact) return free(bytes), 1;
    for (size_t i = 0; i < n; i++) exact[i] = bytes[i];
    free(bytes);
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    runs++;
    return 0;
}

static int replay(const char *path)
{
    struct stat st;
    if (stat(path, &st)) return perror(path), 1;
    if (!S_ISDIR(st.st_mode)) return replay_file(path);
    DIR *folder = opendir(path);
    if (!folder) return perror(path), 1;
    int failed = 0;
    for (struct dirent *entry = readdir(folder); entry && !failed; entry = readdir(folder)) {
        if (entry->d_name[0] == '.') continue;
        char full[4096];
        snprintf(full, sizeof full, "%s/%s", path, entry->d_name);
        failed = replay_file(full);
    }
    closedir(folder);
    return failed;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (replay(argv[i])) return 1;
    printf("%zu inputs\n", runs);
    if (!runs) fprintf(stderr, "no inputs: a corpus must hold at least one\n");
    return runs ? 0 : 1;
}
