/* The command line, the same way for every subcommand: a table of long options, from which --help is made.
 *
 *   static int64_t workers; static lm_settings settings;
 *   static const lm_option options[] = {
 *       {"workers", LM_OPTION_INT, &workers, .value = "N", .least = 1, .most = 4096, .doc = "steps at once"},
 *       {"set", LM_OPTION_SETTINGS, &settings, .value = "NAME=VALUE", .doc = "a param of the graph; may be repeated"},
 *       {0}};
 *   static const lm_command command = {"run", "GRAPH [options]", "Run a graph", NULL, options, 1, 1};
 *   lm_arguments arguments;
 *   int status;
 *   if (!lm_options_parse(&command, argc, argv, &arguments, &status)) return status;
 */
#ifndef LM_TOOLS_OPTIONS_H
#define LM_TOOLS_OPTIONS_H

#include "runtime/graph.h"

#include <stdbool.h>
#include <stdint.h>

/* Exit statuses: 0 all done, 1 the run failed, 2 the graph or the command line is wrong, 3 done but with dead letters. */
enum { LM_EXIT_OK = 0, LM_EXIT_FAILED = 1, LM_EXIT_USAGE = 2, LM_EXIT_DEAD = 3 };

enum { LM_MOST_SETTINGS = 64, LM_MOST_ARGUMENTS = 256 };

typedef struct lm_settings {
    lm_setting at[LM_MOST_SETTINGS];
    size_t n;
} lm_settings;

typedef enum lm_option_kind {
    LM_OPTION_FLAG,     /* bool *: set to true */
    LM_OPTION_TEXT,     /* const char ** */
    LM_OPTION_INT,      /* int64_t * */
    LM_OPTION_REAL,     /* double * */
    LM_OPTION_DURATION, /* double *, seconds */
    LM_OPTION_CHOICE,   /* int *: index into choices */
    LM_OPTION_SETTINGS, /* lm_settings *: NAME=VALUE, may be repeated */
} lm_option_kind;

/* What is not given keeps the value that it has: the default. */
typedef struct lm_option {
    const char *name; /* without its dashes */
    lm_option_kind kind;
    void *to;
    const char *value;          /* how the help names it: "N", "DIR" */
    const char *doc;            /* a line; defaults are said here */
    const char *const *choices; /* of a choice; NULL-terminated */
    int64_t least, most;        /* of an INT; none while both are 0 */
} lm_option;

typedef struct lm_command {
    const char *name;
    const char *usage;   /* what follows the name: "GRAPH [options]" */
    const char *summary; /* one line, no full stop */
    const char *doc;     /* paragraphs for --help, or NULL */
    const lm_option *options;
    size_t least, most; /* how many plain arguments */
} lm_command;

typedef struct lm_arguments {
    const char *at[LM_MOST_ARGUMENTS];
    size_t n;
} lm_arguments;

/* argv[0] is the subcommand's name. False: there is nothing more to do, and *ret_status is the exit status (0 after --help,
 * 2 after a mistake, which has been printed on stderr with the nearest name). */
bool lm_options_parse(const lm_command *command, int argc, char **argv, lm_arguments *ret, int *ret_status);

/* Prints "lensmill NAME: text" and a hint (or NULL) on stderr; returns LM_EXIT_USAGE. */
int lm_usage_error(const char *command, const char *hint, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Prints an error that the library filled, with its hint, on stderr. */
void lm_print_error(const char *before, const lm_error *err);
/* Prints text broken into lines of at most `width` characters, each after `indent` spaces; paragraphs stay apart. */
void lm_print_wrapped(const char *text, int indent, int width);

/* The subcommands: each in cmd_<name>.c. argv[0] is the subcommand's name; the result is the exit status. */
int lm_cmd_bench(int argc, char **argv);
int lm_cmd_check(int argc, char **argv);
int lm_cmd_dead(int argc, char **argv);
int lm_cmd_demo_data(int argc, char **argv);
int lm_cmd_ops(int argc, char **argv);
int lm_cmd_plan(int argc, char **argv);
int lm_cmd_run(int argc, char **argv);
int lm_cmd_schema(int argc, char **argv);
int lm_cmd_show(int argc, char **argv);
int lm_cmd_store(int argc, char **argv);
int lm_cmd_submit(int argc, char **argv);
int lm_cmd_tap(int argc, char **argv);
int lm_cmd_test(int argc, char **argv);
int lm_cmd_worker(int argc, char **argv);

#endif
