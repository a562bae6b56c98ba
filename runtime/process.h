/* Programs over pipes: somebody's own code, in any language, as a step.
 *
 * The program reads messages from its standard input and writes one answer to its standard output for each, in the same
 * order. A message is a length (4 bytes, little-endian) and a lensmill.Record of schemas/lensmill.proto with all tensors
 * inside. An answer is a Record too, or
 *   - a length of 0: no output for this record,
 *   - a Record with the attribute `error`: this record failed; `error` is the reason, `error_kind` its kind ("input" if absent).
 * What it writes to standard error goes to the log, line by line. At the end of its input it exits. It may answer late
 * and read ahead: several records are on their way at once.
 *
 * One program runs for each thread that has work, kept from batch to batch. When it dies (or writes what is no message), a
 * new one gets the record that was first on its way alone; dies that too, the record has failed with LM_ECRASH, and the others
 * go on. A record that is first for longer than its time is LM_ETIMEOUT, and the program is ended: SIGTERM, then SIGKILL,
 * to its whole process group. */
#ifndef LM_RUNTIME_PROCESS_H
#define LM_RUNTIME_PROCESS_H

#include "runtime/operator.h"

typedef struct lm_process lm_process;

typedef struct lm_process_options {
    const char *const *command; /* NULL-terminated */
    const char *folder;         /* where it runs */
    size_t in_flight;           /* the most records on their way, from 1 */
    double start_s;             /* what a new program may take to start, beside its first record's time */
} lm_process_options;

/* Starts nothing yet. LM_EGRAPH: there is no such program. Texts are copied. */
lm_status lm_process_new(const lm_process_options *options, lm_process **ret, lm_error *err);
/* Ends the programs: closes their input, and kills those that do not exit within two seconds. */
lm_process *lm_process_free(lm_process *process);
LM_OWNABLE(lm_process, lm_process_free)

/* Sends the record on each step's first port through the program; any thread. statuses[i], errs[i]: as step() would return. */
void lm_process_batch(lm_process *process, lm_step **steps, lm_status *statuses, lm_error *errs, size_t n);

/* The file that a command's first word names: itself if it has a slash (relative to folder), else searched in PATH. Returns false
 * if there is none that can be run. */
bool lm_process_find(const char *word, const char *folder, char *ret, size_t size);

/* Makes what an answer (size bytes; 0: none) says the step's output. Pure; for the fuzzer too. */
lm_status lm_process_answer(lm_step *step, const uint8_t *bytes, size_t size, lm_error *err);

#endif
