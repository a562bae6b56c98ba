/* process: your own program, in any language, as a node. The protocol stands in runtime/process.h. */
#include "runtime/process.h"
#include "runtime/operator.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

typedef struct {
    lm_texts command, files;
    int64_t version, in_flight;
    double start;
    const char *folder;
    lm_process *program;
} process;

enum { BATCH = 64 };

static const lm_param params[] = {
    LM_TEXTS(process, command, NULL, .required = true,
             .doc = "the program and its arguments, as a list: [python3, denoise.py]. A program without a "
                    "slash is searched in PATH"),
    LM_INT(process, version, 1, .min = 0, .max = 1e9,
           .doc = "raise it when the program changes in a way that its files do not show: results are computed again"),
    LM_TEXTS(process, files, NULL,
             .doc = "files that the results depend on, such as a network's weights: when their contents "
                    "change, results are computed again. By default those arguments of the command that are "
                    "files"),
    LM_INT(process, in_flight, 32, .min = 1, .max = BATCH, .no_key = true,
           .doc = "the most records that are sent before the first of them is answered"),
    LM_DURATION(process, start, 30, .no_key = true,
                .doc = "time that the program may take to start (to import its libraries, to load its "
                       "weights), beside the node's `timeout:` for its first record"),
    LM_PATH(
        process, folder, ".",
        .doc = "folder in which the program runs and that its file names are relative to; by default the graph file's"),
    {0}};

static const lm_field fields[] = {
    LM_IN("in", "*", LM_ANY_DTYPE, "*", "*", "records, sent to the program with all their tensors and attributes"),
    LM_OUT("out", "*", LM_ANY_DTYPE, "*", "*", "what the program answers"),
    {0}};

static lm_status process_check(const void *self, lm_error *err)
{
    const process *p = self;
    if (!p->command.n || !*p->command.at[0])
        return LM_FAIL_HINT(err, LM_EGRAPH, "For example: command: [python3, denoise.py].", "the command is empty");
    return LM_OK;
}

static lm_status process_open(void *self, lm_error *err)
{
    process *p = self;
    const char **command = lm_alloc(p->command.n + 1, sizeof *command);
    if (!command) return LM_NOMEM(err);
    for (size_t i = 0; i < p->command.n; i++) command[i] = p->command.at[i];
    const lm_process_options options = {
        .command = command, .folder = p->folder, .in_flight = (size_t)p->in_flight, .start_s = p->start};
    lm_status status = lm_process_new(&options, &p->program, err);
    lm_free(command);
    return status;
}

static void process_step_batch(const void *self, lm_step **steps, lm_status *statuses, lm_error *errs, size_t n)
{
    const process *p = self;
    lm_process_batch(p->program, steps, statuses, errs, n);
}

static lm_status process_step(const void *self, lm_step *step, lm_error *err)
{
    lm_status status = LM_OK;
    lm_error unused;
    process_step_batch(self, &step, &status, err ? err : &unused, 1);
    return status;
}

static bool is_file(const char *name, const char *folder, char path[static PATH_MAX])
{
    struct stat st;
    int n = snprintf(path, PATH_MAX, "%s%s%s", *name == '/' ? "" : folder, *name == '/' ? "" : "/", name);
    return n > 0 && n < PATH_MAX && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static lm_status process_code_files(const void *self, void (*add)(void *arg, const char *path), void *arg,
                                    lm_error *err)
{
    const process *p = self;
    char path[PATH_MAX];
    for (size_t i = 0; i < p->files.n; i++) {
        if (!is_file(p->files.at[i], p->folder, path))
            return LM_FAIL(err, LM_EGRAPH, "files: there is no file \"%s\" in \"%s\"", p->files.at[i], p->folder);
        add(arg, path);
    }
    for (size_t i = 0; !p->files.n && i < p->command.n; i++) {
        /* A program that is searched in PATH is no part of the key: `version` is for that. */
        if (!i && !strchr(p->command.at[0], '/')) continue;
        if (is_file(p->command.at[i], p->folder, path)) add(arg, path);
    }
    return LM_OK;
}

static void process_close(void *self)
{
    process *p = self;
    p->program = lm_process_free(p->program);
}

const lm_operator lm_op_process = {
    .name = "process",
    .version = 1,
    .summary = "Send records through a program of your own, over pipes",
    .doc = "The program reads records from its standard input and writes one answer for each to its standard "
           "output, as protobuf messages (schemas/lensmill.proto) with their length in front; "
           "tools/examples/process_denoise.py is one in Python. It is started once for each thread and kept. "
           "A record of which it dies is tried once more alone and then is a dead letter; the node's "
           "`timeout:` ends it. What it writes to standard error goes to the log. Results are kept like "
           "those of any operator: the command, `version` and the contents of `files` decide what is "
           "computed again.",
    .example = "{command: [python3, tools/examples/process_denoise.py, \"5\"], version: 1}",
    .shape = LM_MAP,
    .flags = LM_BATCH | LM_PROGRAM,
    .size = sizeof(process),
    .params = params,
    .fields = fields,
    .check = process_check,
    .open = process_open,
    .step = process_step,
    .step_batch = process_step_batch,
    .batch = BATCH,
    .code_files = process_code_files,
    .close = process_close,
};
