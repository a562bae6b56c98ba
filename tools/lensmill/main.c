/* lensmill: the command line. */
#include "operators/builtin.h"
#include "runtime/cpu.h"
#include "runtime/registry.h"
#include "runtime/text.h"
#include "tools/lensmill/options.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>

/* Weak: a build may leave a subcommand out (no file cmd_<name>.c); it is then not offered. */
#pragma weak lm_cmd_bench
#pragma weak lm_cmd_dead
#pragma weak lm_cmd_plan
#pragma weak lm_cmd_run
#pragma weak lm_cmd_store
#pragma weak lm_cmd_submit
#pragma weak lm_cmd_tap
#pragma weak lm_cmd_test
#pragma weak lm_cmd_worker

static const struct {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
    bool computes; /* runs operators: worth a better BLAS */
} commands[] = {
    {"run", "run a graph", lm_cmd_run, true},
    {"check", "say what is wrong with a graph, or that it is right", lm_cmd_check, false},
    {"plan", "say what a run would do, and why", lm_cmd_plan, false},
    {"show", "draw a graph: text, dot or svg", lm_cmd_show, false},
    {"ops", "list the operators, or explain one", lm_cmd_ops, false},
    {"schema", "print the JSON Schema of graph files, for editors", lm_cmd_schema, false},
    {"store", "look into the store, export, verify, collect, merge", lm_cmd_store, false},
    {"dead", "list what could not be processed, or try it again", lm_cmd_dead, false},
    {"tap", "print the records that pass an edge", lm_cmd_tap, true},
    {"demo-data", "make the input of the example graphs", lm_cmd_demo_data, false},
    {"test", "run a graph and compare what comes out", lm_cmd_test, true},
    {"bench", "measure this machine", lm_cmd_bench, true},
    {"worker", "take shards of a survey from a queue", lm_cmd_worker, true},
    {"submit", "hand shards of a survey out", lm_cmd_submit, false},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void print_help(FILE *to)
{
    fputs("lensmill " LM_VERSION ": a dataflow engine for strong gravitational lensing\n\n"
          "Usage: lensmill COMMAND [arguments]\n\n",
          to);
    for (size_t i = 0; i < COMMANDS; i++)
        if (commands[i].run) fprintf(to, "  %-9s %s\n", commands[i].name, commands[i].summary);
    fputs("\n\"lensmill help COMMAND\" tells more; \"lensmill --version\" the version.\n", to);
}

static int unknown_command(const char *name)
{
    char hint[96] = "\"lensmill help\" lists the commands.";
    lm_nearest nearest;
    lm_nearest_init(&nearest, name);
    for (size_t i = 0; i < COMMANDS; i++)
        if (commands[i].run) lm_nearest_offer(&nearest, commands[i].name);
    if (nearest.best) snprintf(hint, sizeof hint, "Did you mean \"lensmill %s\"?", nearest.best);
    return lm_usage_error("", hint, "unknown command \"%s\"", name);
}

static int run_command(int argc, char **argv)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (commands[i].run && strcmp(commands[i].name, argv[0]) == 0) {
            if (commands[i].computes) lm_cpu_choose_blas();
            return commands[i].run(argc, argv);
        }
    return unknown_command(argv[0]);
}

static int dispatch(int argc, char **argv)
{
    const char *first = argc > 1 ? argv[1] : NULL;
    if (!first) {
        print_help(stderr);
        return LM_EXIT_USAGE;
    }
    if (strcmp(first, "--version") == 0) {
        puts("lensmill " LM_VERSION);
        return LM_EXIT_OK;
    }
    bool help = strcmp(first, "help") == 0 || strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0;
    if (help && argc > 2) {
        char option[] = "--help", *words[] = {argv[2], option, NULL};
        return run_command(2, words);
    }
    if (help) {
        print_help(stdout);
        return LM_EXIT_OK;
    }
    return run_command(argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
    /* What one record gives back the next one takes: memory of a run's working size stays with the process. */
    mallopt(M_MMAP_THRESHOLD, 4 << 20);
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
    lm_registry_builtin(lm_builtin_operators);
    int status = dispatch(argc, argv);
    /* A result that did not reach the disk or the pipe is no result. */
    if ((fflush(stdout) || ferror(stdout)) && status == LM_EXIT_OK) {
        perror("lensmill: standard output");
        status = LM_EXIT_FAILED;
    }
    return status;
}
