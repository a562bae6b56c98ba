/* lensmill ops: the operators, from their own tables. */
#include "runtime/param_internal.h"
#include "runtime/registry.h"
#include "tools/lensmill/ops_json.h"
#include "tools/lensmill/options.h"

#include <stdio.h>
#include <string.h>

enum { WIDTH = 100 };
static bool as_json;

static const lm_option options[] = {{"json", LM_OPTION_FLAG, &as_json, .doc = "print as JSON, for programs"}, {0}};

static const lm_command command = {
    .name = "ops",
    .usage = "[NAME...] [options]",
    .summary = "List the operators, or explain one",
    .doc = "Operators of plugins are listed too, if the environment names them: LENSMILL_PLUGINS=./libmine.so",
    .options = options,
    .most = LM_MOST_ARGUMENTS,
};

/* ---- the list ---- */

static void list_all(void)
{
    static const char *const rooms[] = {"io",    "flow",  "lens",     "deconvolve", "reconstruct",
                                        "learn", "infer", "diagnose", "plot",       "plugins"};
    size_t widest = 0, n = lm_registry_count();
    bool first = true;
    for (size_t i = 0; i < n; i++)
        if (strlen(lm_registry_at(i)->name) > widest) widest = strlen(lm_registry_at(i)->name);
    for (size_t r = 0; r < sizeof rooms / sizeof *rooms; r++) {
        bool any = false;
        for (size_t i = 0; i < n; i++) {
            const lm_operator *op = lm_registry_at(i);
            if (strcmp(lm_operator_room(op), rooms[r]) != 0) continue;
            if (!any) printf("%s%s\n", first ? "" : "\n", rooms[r]);
            first = false;
            any = true;
            printf("  %-*s  %s\n", (int)widest, op->name, op->summary);
        }
    }
}

/* ---- one operator ---- */

static void print_fields(const lm_operator *op, const char *port, bool out)
{
    for (const lm_field *f = op->fields; f && f->port; f++) {
        if (f->out != out || strcmp(f->port, port) != 0) continue;
        const char *name = strcmp(f->name, "*") == 0 ? "any tensor" : f->name;
        if (f->attribute) printf("      attribute %s (%s", f->name, lm_ops_kind(f->kind));
        else printf("      %s (%s", name, lm_ops_dtype(f->dtype));
        if (!f->attribute && strcmp(f->shape, "*") != 0) printf(" [%s]", f->shape);
        if (f->unit && *f->unit && strcmp(f->unit, "*") != 0 && strcmp(f->unit, "=") != 0) printf(", %s", f->unit);
        if (f->unit && strcmp(f->unit, "=") == 0) printf(", in the input's unit");
        if (f->optional) printf(", %s", out ? "not always" : "optional");
        puts(")");
        lm_print_wrapped(f->doc ? f->doc : "", 10, WIDTH);
    }
}

static void print_ports(const lm_operator *op, bool out)
{
    const lm_port *ports[16];
    size_t n = out ? lm_operator_outputs(op, ports) : lm_operator_inputs(op, ports);
    if (!n) return;
    puts(out ? "\nOutputs" : "\nInputs (in:)");
    for (size_t i = 0; i < n; i++) {
        printf("  %s%s%s%s: %s\n", ports[i]->name, out ? "" : ", ", out ? "" : lm_ops_port(ports[i]->kind),
               ports[i]->optional ? ", optional" : "", ports[i]->doc ? ports[i]->doc : "");
        print_fields(op, ports[i]->name, out);
    }
}

static void print_param(const lm_param *p)
{
    char range[128];
    lm_text line;
    lm_text_init(&line);
    lm_text_format(&line, "  %s: %s", p->name, lm_param_type_name(p->type));
    if (p->type == LM_P_CHOICE)
        for (size_t i = 0; p->choices[i]; i++) lm_text_format(&line, "%s%s", i ? " | " : " of ", p->choices[i]);
    if (lm_param_range(range, p)[0]) lm_text_format(&line, ", %s", range);
    else if (p->unit && *p->unit) lm_text_format(&line, ", %s", p->unit);
    char *value = lm_ops_default(p);
    if (p->required) lm_text_add(&line, ", required");
    else if (value && strcmp(value, "null") != 0) lm_text_format(&line, ", default %s", value);
    lm_free(value);
    if (p->per_record) lm_text_add(&line, ", per record");
    if (p->extent) lm_text_add(&line, ", more can be added later");
    if (p->output) lm_text_add(&line, ", is written");
    puts(lm_text_peek(&line));
    lm_text_done(&line);
    lm_print_wrapped(p->doc ? p->doc : "", 6, WIDTH);
}

static void print_operator(const lm_operator *op)
{
    printf("%s, version %d (%s)\n", op->name, op->version, lm_ops_shape(op->shape));
    lm_print_wrapped(op->summary, 2, WIDTH);
    if (op->doc) {
        putchar('\n');
        lm_print_wrapped(op->doc, 2, WIDTH);
    }
    print_ports(op, false);
    print_ports(op, true);
    if (op->params && op->params->name) puts("\nParameters (with:)");
    for (const lm_param *p = op->params; p && p->name; p++) print_param(p);
    if (op->flags & LM_RANDOM) puts("\nDraws random numbers from the graph's seed: give equal nodes a \"salt:\".");
    if (op->flags & LM_SPANS) puts("\nUses the whole machine for one step.");
    if (!op->example) return;
    if (strchr(op->example, '\n') || strchr(op->example, ':')) {
        puts("\nExample");
        for (const char *at = op->example; *at;) {
            size_t n = strcspn(at, "\n");
            printf("%s%.*s\n", n ? "  " : "", (int)n, at);
            at += n + (at[n] == '\n');
        }
    } else {
        printf("\nExample: %s\n", op->example);
    }
}

static int unknown(const char *name)
{
    char hint[160] = "\"lensmill ops\" lists all of them.";
    lm_nearest nearest;
    lm_nearest_init(&nearest, name);
    for (size_t i = 0; i < lm_registry_count(); i++) {
        const char *known = lm_registry_at(i)->name, *dot = strchr(known, '.');
        lm_nearest_offer(&nearest, known);
        if (!nearest.best && dot && strcmp(dot + 1, name) == 0) nearest.best = known;
    }
    if (nearest.best) snprintf(hint, sizeof hint, "Did you mean \"%s\"?", nearest.best);
    return lm_usage_error("ops", hint, "unknown operator \"%s\"", name);
}

static int load_plugins(void)
{
    const char *listed = getenv("LENSMILL_PLUGINS");
    while (listed && *listed) {
        size_t n = strcspn(listed, ":");
        LM_OWN(lm_chars) path = lm_strndup(listed, n);
        lm_error err;
        lm_error_clear(&err);
        if (path && n && lm_plugin_load(path, &err)) {
            lm_print_error("lensmill ops", &err);
            return LM_EXIT_USAGE;
        }
        listed += n + (listed[n] == ':');
    }
    return LM_EXIT_OK;
}

static int print_json(const lm_arguments *names)
{
    json_t *all = json_array();
    for (size_t i = 0; i < (names->n ? names->n : lm_registry_count()); i++) {
        const lm_operator *op = names->n ? lm_registry_find(names->at[i]) : lm_registry_at(i);
        json_array_append_new(all, names->n ? lm_ops_json(op) : lm_ops_json_short(op));
    }
    char *text = json_dumps(names->n == 1 ? json_array_get(all, 0) : all, JSON_INDENT(1));
    if (text) puts(text);
    free(text);
    json_decref(all);
    return text ? LM_EXIT_OK : LM_EXIT_FAILED;
}

int lm_cmd_ops(int argc, char **argv)
{
    lm_arguments names;
    int status = 0;
    if (!lm_options_parse(&command, argc, argv, &names, &status)) return status;
    status = load_plugins();
    for (size_t i = 0; i < names.n && !status; i++)
        if (!lm_registry_find(names.at[i])) status = unknown(names.at[i]);
    if (status) return status;
    if (as_json) return print_json(&names);
    if (!names.n) list_all();
    for (size_t i = 0; i < names.n; i++) {
        if (i) putchar('\n');
        print_operator(lm_registry_find(names.at[i]));
    }
    return LM_EXIT_OK;
}
