/* Any bytes as a graph file: a graph whose parts fit together, or errors, each with a line of the file. */
#include "operators/builtin.h"
#include "runtime/graph.h"
#include "runtime/registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at(const lm_graph *graph)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const lm_node *node = graph->nodes[i];
        if (node->index != i || !node->op || !node->name || !node->canonical) abort();
        if (lm_graph_node(graph, node->name) != node) abort();
        for (size_t p = 0; p < node->n_inputs; p++) {
            const lm_input *input = &node->inputs[p];
            if (!input->n_wires && !input->port->optional) abort();
            for (size_t w = 0; w < input->n_wires; w++)
                if (input->wires[w].from->index >= i) abort(); /* topological order */
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int file = -1;
    static char path[64];
    if (file < 0) {
        lm_registry_builtin(lm_builtin_operators);
        file = memfd_create("graph.yaml", MFD_CLOEXEC);
        if (file < 0) abort();
        snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    }
    if (ftruncate(file, 0) || pwrite(file, data, size, 0) != (ssize_t)size) abort();
    lm_graph *graph = NULL;
    char *errors = NULL;
    lm_status status = lm_graph_load(path, NULL, 0, &graph, &errors);
    if (status == LM_OK) look_at(graph);
    else if (!errors || !*errors || graph) abort(); /* refused without saying why */
    lm_graph_free(graph);
    lm_free(errors);
    return 0;
}
