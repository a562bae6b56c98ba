/* What every operator is tried on unasked (unit/conformance): the list of operators, records made from their own tables, and
 * a run of their examples.
 *
 * The records come from a source of their own, `standard.records`, so that a graph can name it. They are made of integers
 * and quotients alone: the same bits on every machine.
 */
#ifndef LM_TESTS_STANDARD_H
#define LM_TESTS_STANDARD_H

#include "runtime/operator.h"
#include "runtime/run.h"

enum { STANDARD_RECORDS = 6 };

/* The built-in operators and those of the plugins that the build made; operators made of others are no part of it. Fails
 * the test where a plugin cannot be loaded. */
size_t standard_count(void);
const lm_operator *standard_at(size_t i);
/* Why the example of an operator cannot run on this machine (no Python for `process`), or NULL. */
const char *standard_cannot_run(const lm_operator *op);

/* Is the example good for a graph? It is what stands under `with:`; or, where wires belong to it, the node without its
 * `op:`. What it names in `in:` is replaced by standard records. */
bool standard_example_fits(const lm_operator *op, char fault[512]);

/* How many records a port gets: one record of a broadcast port serves all, a lookup has one for each of its keys. */
size_t standard_records(const lm_operator *op, const lm_port *port);
/* Record i for an input port: a tensor for each that the operator's table names there, or all standard ones. */
lm_record *standard_record(const lm_operator *op, const char *port, size_t i);
/* The same tensor with another shape, dtype or contents. All: a new tensor, owned by the caller. */
lm_tensor *standard_tensor(const char *name, lm_dtype dtype, unsigned ndim, const size_t *shape, size_t i);

/* The parameters of an operator's example as JSON, defaults filled in: from the graph below. Owned by the caller. */
char *standard_params(const lm_operator *op);

typedef struct standard_run {
    unsigned workers;
    size_t edge_records;
    uint64_t limit;
    bool stored;          /* with a store, twice: the second run is the one that is told of */
    size_t batch;         /* the most records of one call of an operator that takes batches; 0: as it says */
    bool rounded;         /* hash values after rounding: double to 1e-9, float to 1e-5 of a tensor's largest */
    uint64_t fail_at;     /* the allocation of the run that fails; 0: none */
    lm_status status;     /* result: of lm_run_graph */
    lm_error err;         /* result */
    int exit_status;      /* result: of the report */
    char first_dead[512]; /* result */
    uint64_t allocations; /* result: of the run */
    uint64_t records, nans, cached, dead; /* result */
    lm_digest digest;     /* result: of all records of all output ports in order, and of the files under out/ */
    uint64_t temporaries; /* result: files under out/ that no sink meant to leave */
} standard_run;

/* Runs the example of an operator in the working folder, which becomes a fresh one. Everything in it is of this run. */
void standard_run_example(const lm_operator *op, standard_run *run);

/* Of a record: id, attributes, tensors. Adds to *nans how many of its numbers are not finite. */
lm_digest standard_digest(const lm_record *record, bool rounded, uint64_t *nans);

#endif
