/* lensmill store: look into the store and look after it. Each verb is in store_<name>.c. */
#include "runtime/text.h"
#include "tools/lensmill/store_verbs.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
} verbs[] = {
    {"ls", "what is there: totals, runs, steps by operator", lm_store_ls},
    {"show", "a step, artifact, tensor or recipe in full", lm_store_show},
    {"export", "the stored bytes of an artifact or tensor, or a tensor as .npy or FITS", lm_store_export},
    {"trace", "from a file that a run wrote back to its sources", lm_store_trace},
    {"verify", "re-hash everything and say what is damaged", lm_store_verify},
    {"gc", "drop what the last runs do not use", lm_store_gc},
    {"merge", "take over what another store has", lm_store_union},
};
enum { VERBS = sizeof verbs / sizeof *verbs };

static void print_help(FILE *to)
{
    fputs("Look into the store, and look after it.\n\nUsage: lensmill store VERB [arguments]\n\n", to);
    for (size_t i = 0; i < VERBS; i++) fprintf(to, "  %-7s %s\n", verbs[i].name, verbs[i].summary);
    fputs("\nEvery verb takes --store DIR (default .lensmill) and --help. Reading verbs work while a run writes.\n",
          to);
}

int lm_cmd_store(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;
    if (!name || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_help(name ? stdout : stderr);
        return name ? LM_EXIT_OK : LM_EXIT_USAGE;
    }
    lm_nearest nearest;
    lm_nearest_init(&nearest, name);
    for (size_t i = 0; i < VERBS; i++) {
        if (strcmp(verbs[i].name, name) == 0) return verbs[i].run(argc - 1, argv + 1);
        lm_nearest_offer(&nearest, verbs[i].name);
    }
    char hint[96] = "\"lensmill store --help\" lists the verbs.";
    if (nearest.best) snprintf(hint, sizeof hint, "Did you mean \"lensmill store %s\"?", nearest.best);
    return lm_usage_error("store", hint, "unknown verb \"%s\"", name);
}
