/* lm_graph_load: a graph from its file, or everything that is wrong with it. */
#include "runtime/graph_internal.h"

#include <string.h>

static bool keep_settings(lm_loader *l, const lm_scope *root)
{
    l->graph->settings = json_object();
    for (size_t i = 0; l->graph->settings && i < root->n_variables; i++) {
        const lm_variable *v = &root->variables[i];
        if (json_object_set_new(l->graph->settings, v->param.name, v->value ? lm_yaml_json(v->value) : json_null()))
            return false;
    }
    l->graph->plugins.at = lm_arena_alloc(l->arena, l->n_plugins, sizeof(char *));
    if (!l->graph->settings || !l->graph->plugins.at) return false;
    if (l->n_plugins) memcpy((void *)(uintptr_t)l->graph->plugins.at, l->plugins, l->n_plugins * sizeof(char *));
    l->graph->plugins.n = l->n_plugins;
    return true;
}

static void build(lm_loader *l, const char *path)
{
    lm_graph *graph = l->graph;
    graph->file = lm_arena_strdup(l->arena, path);
    if (!graph->file) {
        l->nomem = true;
        return;
    }
    lm_scope *root = lm_graph_scope(l, graph->file, NULL, NULL, NULL);
    if (!root || l->nomem) return;
    if (!graph->name) {
        const char *slash = strrchr(graph->file, '/'), *base = slash ? slash + 1 : graph->file;
        size_t n = strcspn(base, ".");
        graph->name = lm_arena_strndup(l->arena, base, n ? n : strlen(base));
    }
    if (!graph->doc) graph->doc = "";
    lm_graph_check_expressions(l);
    if (l->nomem) return;
    lm_graph_wire_all(l, root);
    if (!l->nomem) lm_graph_wire_exposed(l, root);
    bool whole = true;
    for (size_t i = 0; i < l->n_all && !l->nomem; i++) {
        lm_graph_node_settle(l, l->all[i]);
        whole &= !l->all[i]->broken && !l->all[i]->unwired;
    }
    if (l->nomem || !lm_graph_sort(l)) return;
    /* Where nodes are missing or unwired, the whole says nothing. In an open graph inputs are unwired on purpose. */
    if (l->n_errors == 0 || (whole && !root->broken)) lm_graph_check_whole(l);
    if (!graph->name || !keep_settings(l, root)) l->nomem = true;
}

static lm_status load(const char *path, const lm_setting *settings, size_t n_settings, bool open, lm_graph **ret,
                      char **ret_errors, json_t **ret_faults)
{
    lm_graph *graph = lm_alloc(1, sizeof *graph);
    if (!graph) return LM_EMEMORY;
    lm_arena_init(&graph->arena);
    lm_loader l = {
        .graph = graph, .arena = &graph->arena, .settings = settings, .n_settings = n_settings, .open = open};
    build(&l, path);
    lm_status status = l.nomem ? LM_EMEMORY : l.io ? LM_EIO : l.n_errors ? LM_EGRAPH : LM_OK;
    if (!status) {
        lm_graph_keep_warnings(&l);
        if (l.nomem) status = LM_EMEMORY;
    } else if (status != LM_EMEMORY) {
        char *errors = lm_graph_render(&l);
        json_t *faults = ret_faults && errors ? lm_graph_faults_json(&l) : NULL;
        if (errors && (faults || !ret_faults)) {
            *ret_errors = errors;
            if (ret_faults) *ret_faults = faults;
        } else {
            lm_free(errors);
            status = LM_EMEMORY;
        }
    }
    if (status) { /* the parameters are JSON, which an arena does not give back */
        for (size_t i = 0; i < l.n_all; i++) json_decref(l.all[i]->node->params);
        graph->n_nodes = 0;
        lm_graph_free(graph);
    } else {
        *ret = graph;
    }
    lm_free(l.faults);
    lm_free(l.sources);
    lm_free(l.all);
    lm_free(l.expressions);
    lm_free(l.plugins);
    return status;
}

lm_status lm_graph_load(const char *path, const lm_setting *settings, size_t n_settings, lm_graph **ret,
                        char **ret_errors)
{
    return load(path, settings, n_settings, false, ret, ret_errors, NULL);
}

lm_status lm_graph_look(const char *path, const lm_setting *settings, size_t n_settings, lm_graph **ret,
                        char **ret_errors, json_t **ret_faults)
{
    return load(path, settings, n_settings, true, ret, ret_errors, ret_faults);
}

lm_graph *lm_graph_free(lm_graph *graph)
{
    if (!graph) return NULL;
    for (size_t i = 0; i < graph->n_nodes; i++) json_decref(graph->nodes[i]->params);
    json_decref(graph->settings);
    lm_arena_done(&graph->arena);
    return lm_free(graph);
}

const lm_node *lm_graph_node(const lm_graph *graph, const char *name)
{
    for (size_t i = 0; i < graph->n_nodes; i++)
        if (strcmp(graph->nodes[i]->name, name) == 0) return graph->nodes[i];
    return NULL;
}
