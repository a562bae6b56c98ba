/* Any bytes as a graph file's YAML: a tree or errors with their places; what is JSON comes back the same from JSON. */
#include "runtime/yaml.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct faults {
    size_t n;
} faults;

static void count(void *arg, unsigned line, unsigned column, const char *text, const char *hint)
{
    (void)column, (void)hint;
    if (!line || !text || !*text) abort(); /* an error names its place and its reason */
    ((faults *)arg)->n++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lm_arena arena;
    lm_arena_init(&arena);
    lm_yaml *tree = NULL;
    faults seen = {0};
    lm_status status = lm_yaml_parse((const char *)data, size, &arena, &tree, count, &seen);
    if (status == LM_EGRAPH && !seen.n) abort(); /* refused without saying why */
    if (status == LM_OK && (seen.n || !tree)) abort();
    if (status == LM_OK) {
        json_t *json = lm_yaml_json(tree);
        if (json) {
            lm_yaml *back = lm_yaml_from_json(json, 1, 1, &arena);
            json_t *again = back ? lm_yaml_json(back) : NULL;
            if (back && !again) abort();
            if (again && !json_equal(json, again)) abort();
            json_decref(again);
        }
        json_decref(json);
    }
    lm_arena_done(&arena);
    return 0;
}
