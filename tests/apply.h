/* Runs one operator on records, without an engine: parameters from YAML-like JSON, inputs by port, outputs taken. */
#ifndef LM_TESTS_APPLY_H
#define LM_TESTS_APPLY_H

#include "runtime/operator.h"
#include "runtime/step.h"

typedef struct apply_input {
    const char *port;
    const lm_record *const *records; /* one, or the members of a gather port */
    size_t n;
} apply_input;

/* Runs step `index` of an operator. params: a JSON object ("{}" for none; relative paths are relative to the working
 * folder). inputs: terminated by a port NULL. ret_outputs[i]: the record of output port i, or NULL where nothing was
 * emitted (owned by the caller; room for LM_MAX_PORTS). ret_ended: a generator has no output for this index. The key is
 * the digest of the parameters and the index: random streams are the same in every run. Files of sinks are published. */
lm_status apply_step(const lm_operator *op, const char *params, const apply_input *inputs, uint64_t index,
                     lm_record **ret_outputs, bool *ret_ended, lm_error *err);
/* The checkpoint that steps load and save while this is set; its bytes are the test's to lm_free(). */
typedef struct apply_kept {
    void *bytes;
    size_t n;
    unsigned saves, loads;
} apply_kept;
extern apply_kept *apply_checkpoint;
/* One input record on the first port, one output: NULL where it was skipped. Fails the test on an error. */
lm_record *apply(const lm_operator *op, const char *params, const lm_record *in);
/* A gather (or sink) over members on port "in". Fails the test on an error. */
lm_record *apply_gather(const lm_operator *op, const char *params, const lm_record *const *members, size_t n);

/* Records for tests. They fail the test when memory runs out. */
lm_record *record_new(const char *id);
void record_set(lm_record *record, const char *name, lm_value value);
void record_f64(lm_record *record, const char *name, const double *data, unsigned ndim, const size_t *shape);
void record_f32(lm_record *record, const char *name, const double *data, unsigned ndim, const size_t *shape);

#endif
