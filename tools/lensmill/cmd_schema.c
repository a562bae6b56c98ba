/* lensmill schema: the JSON Schema of graph files, from the operators' own tables. */
#include "runtime/param.h"
#include "runtime/registry.h"
#include "tools/lensmill/options.h"

#include <stdio.h>

static const lm_command command = {
    .name = "schema",
    .usage = "[PLUGIN...]",
    .summary = "Print the JSON Schema of graph files",
    .doc =
        "Editors complete and check graph files with it. With the YAML extension of VS Code or a language server, put "
        "this line at the top of a graph:\n\n  # yaml-language-server: $schema=lensmill.schema.json\n\n"
        "Libraries that are named on the command line add their operators.",
    .options = NULL,
    .most = LM_MOST_ARGUMENTS,
};

int lm_cmd_schema(int argc, char **argv)
{
    lm_arguments plugins;
    int status = 0;
    if (!lm_options_parse(&command, argc, argv, &plugins, &status)) return status;
    for (size_t i = 0; i < plugins.n; i++) {
        lm_error err;
        lm_error_clear(&err);
        if (lm_plugin_load(plugins.at[i], &err)) {
            lm_print_error("lensmill schema", &err);
            return LM_EXIT_USAGE;
        }
    }
    json_t *schema = lm_graph_schema();
    char *text = schema ? json_dumps(schema, JSON_INDENT(1)) : NULL;
    if (text) puts(text);
    else fputs("lensmill schema: out of memory\n", stderr);
    free(text);
    json_decref(schema);
    return text ? LM_EXIT_OK : LM_EXIT_FAILED;
}
