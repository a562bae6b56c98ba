/* What run, plan and tap share: options, the store's folder, the summary. */
#ifndef LM_TOOLS_RUNNING_H
#define LM_TOOLS_RUNNING_H

#include "runtime/run.h"
#include "tools/lensmill/options.h"

/* Where the store lies: what --store says, or ".lensmill" in the working folder. Static storage. */
const char *lm_store_place(const char *given);
/* Loads a graph, printing its errors and warnings. NULL: *ret_status is the exit status. */
lm_graph *lm_load_graph(const char *file, const lm_settings *settings, int *ret_status);
/* The table of nodes that a run or a plan ends with. */
void lm_print_summary(FILE *to, const lm_run_report *report);
/* The report as one JSON object. */
void lm_print_report_json(FILE *to, const lm_graph *graph, const lm_run_report *report);

#endif
