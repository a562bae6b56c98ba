#include "tools/lensmill/options.h"
#include "runtime/text.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 100 };

int lm_usage_error(const char *command, const char *hint, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "lensmill%s%s: ", *command ? " " : "", command);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    if (hint && *hint) fprintf(stderr, "  hint: %s\n", hint);
    return LM_EXIT_USAGE;
}

void lm_print_error(const char *before, const lm_error *err)
{
    fprintf(stderr, "%s%s%s\n", before, *before ? ": " : "", err->text);
    if (err->hint[0]) fprintf(stderr, "  hint: %s\n", err->hint);
}

void lm_print_wrapped(const char *text, int indent, int width)
{
    int column = 0;
    while (*text) {
        if (*text == '\n') {
            bool paragraph = text[1] == '\n';
            text += 1 + paragraph;
            if (column && paragraph) putchar('\n');
            if (column) putchar('\n');
            column = 0;
            if (*text != ' ') continue;
            /* A line that is indented stands as it is: an example. */
            size_t n = strcspn(text, "\n");
            printf("%*s%.*s\n", indent, "", (int)n, text);
            text += n;
            continue;
        }
        if (*text == ' ') {
            text++;
            continue;
        }
        size_t n = strcspn(text, " \n");
        int letters = 0;
        for (size_t i = 0; i < n; i++) letters += ((unsigned char)text[i] & 0xC0) != 0x80;
        if (column && column + 1 + letters > width) {
            putchar('\n');
            column = 0;
        }
        if (!column) {
            printf("%*s", indent, "");
            column = indent;
        } else {
            putchar(' ');
            column++;
        }
        printf("%.*s", (int)n, text);
        column += letters;
        text += n;
    }
    if (column) putchar('\n');
}

/* ---- help ---- */

static size_t label(char buffer[96], const lm_option *o)
{
    const char *value = o->value ? o->value : "VALUE";
    if (o->kind == LM_OPTION_FLAG) return (size_t)snprintf(buffer, 96, "--%s", o->name);
    size_t n = (size_t)snprintf(buffer, 96, "--%s ", o->name);
    if (o->kind != LM_OPTION_CHOICE) return n + (size_t)snprintf(buffer + n, 96 - n, "%s", value);
    for (size_t i = 0; o->choices[i] && n < 90; i++)
        n += (size_t)snprintf(buffer + n, 96 - n, "%s%s", i ? "|" : "", o->choices[i]);
    return n;
}

static void print_help(const lm_command *command)
{
    char buffer[96];
    printf("%s.\n\nUsage: lensmill %s %s\n", command->summary, command->name, command->usage);
    if (command->doc) {
        putchar('\n');
        lm_print_wrapped(command->doc, 0, WIDTH);
    }
    size_t widest = strlen("--help");
    for (const lm_option *o = command->options; o && o->name; o++) {
        size_t n = label(buffer, o);
        if (n > widest) widest = n;
    }
    puts("\nOptions:");
    for (const lm_option *o = command->options; o && o->name; o++) {
        label(buffer, o);
        printf("  %-*s  %s\n", (int)widest, buffer, o->doc);
    }
    printf("  %-*s  this text\n", (int)widest, "--help");
}

/* ---- values ---- */

static int bad_value(const lm_command *command, const lm_option *o, const char *value, const char *wants)
{
    return lm_usage_error(command->name, NULL, "\"--%s\" wants %s, not \"%s\"", o->name, wants, value);
}

static int read_int(const lm_command *command, const lm_option *o, const char *value)
{
    char *end, wants[96] = "a whole number";
    errno = 0;
    long long number = strtoll(value, &end, 10);
    bool bounded = o->least || o->most;
    if (bounded && o->most > o->least)
        snprintf(wants, sizeof wants, "a whole number from %lld to %lld", (long long)o->least, (long long)o->most);
    else if (bounded) snprintf(wants, sizeof wants, "a whole number from %lld on", (long long)o->least);
    bool outside = bounded && (number < o->least || (o->most > o->least && number > o->most));
    if (errno || end == value || *end || outside) return bad_value(command, o, value, wants);
    *(int64_t *)o->to = number;
    return 0;
}

static int read_real(const lm_command *command, const lm_option *o, const char *value)
{
    char *end;
    double number = strtod(value, &end);
    if (end == value || *end || !isfinite(number)) return bad_value(command, o, value, "a number");
    *(double *)o->to = number;
    return 0;
}

static int read_choice(const lm_command *command, const lm_option *o, const char *value)
{
    lm_nearest nearest;
    char all[256] = "", hint[96];
    size_t used = 0;
    lm_nearest_init(&nearest, value);
    for (int i = 0; o->choices[i]; i++) {
        if (strcmp(o->choices[i], value) == 0) {
            *(int *)o->to = i;
            return 0;
        }
        lm_nearest_offer(&nearest, o->choices[i]);
        const char *join = !i ? "" : o->choices[i + 1] ? ", " : " or ";
        if (used < sizeof all) used += (size_t)snprintf(all + used, sizeof all - used, "%s\"%s\"", join, o->choices[i]);
    }
    snprintf(hint, sizeof hint, "Did you mean \"%.64s\"?", nearest.best ? nearest.best : "");
    return lm_usage_error(command->name, nearest.best ? hint : NULL, "\"--%s\" wants %s, not \"%s\"", o->name, all,
                          value);
}

static int read_setting(const lm_command *command, const lm_option *o, char *value)
{
    lm_settings *settings = o->to;
    char *equals = strchr(value, '=');
    if (!equals || equals == value)
        return lm_usage_error(command->name, "For example: --set iterations=50",
                              "\"--%s\" wants NAME=VALUE, not \"%s\"", o->name, value);
    if (settings->n == LM_MOST_SETTINGS)
        return lm_usage_error(command->name, NULL, "more than %d times \"--%s\"", LM_MOST_SETTINGS, o->name);
    *equals = 0; /* argv is ours to write in */
    settings->at[settings->n++] = (lm_setting){.name = value, .value = equals + 1};
    return 0;
}

static int read_value(const lm_command *command, const lm_option *o, char *value)
{
    switch (o->kind) {
    case LM_OPTION_TEXT: *(const char **)o->to = value; return 0;
    case LM_OPTION_INT: return read_int(command, o, value);
    case LM_OPTION_REAL: return read_real(command, o, value);
    case LM_OPTION_DURATION:
        return lm_parse_duration(value, o->to) ? 0
                                               : bad_value(command, o, value, "a duration such as 30s, 10min or 2h");
    case LM_OPTION_CHOICE: return read_choice(command, o, value);
    case LM_OPTION_SETTINGS: return read_setting(command, o, value);
    default: *(bool *)o->to = true; return 0;
    }
}

/* ---- parsing ---- */

static int unknown_option(const lm_command *command, const char *name, size_t n)
{
    char wanted[64], hint[160];
    snprintf(wanted, sizeof wanted, "%.*s", (int)n, name);
    lm_nearest nearest;
    lm_nearest_init(&nearest, wanted);
    lm_nearest_offer(&nearest, "help");
    for (const lm_option *o = command->options; o && o->name; o++) lm_nearest_offer(&nearest, o->name);
    if (nearest.best) snprintf(hint, sizeof hint, "Did you mean \"--%s\"?", nearest.best);
    else snprintf(hint, sizeof hint, "\"lensmill %s --help\" lists the options.", command->name);
    return lm_usage_error(command->name, hint, "unknown option \"--%s\"", wanted);
}

/* One option at argv[*i]; moves *i over its value. Returns an exit status, or -1 after --help. */
static int take_option(const lm_command *command, int argc, char **argv, int *i)
{
    char shown[96];
    char *name = argv[*i] + 2, *equals = strchr(name, '=');
    size_t n = equals ? (size_t)(equals - name) : strlen(name);
    if (n == 4 && strncmp(name, "help", 4) == 0) {
        print_help(command);
        return -1;
    }
    const lm_option *o = command->options;
    for (; o && o->name; o++)
        if (strlen(o->name) == n && strncmp(o->name, name, n) == 0) break;
    if (!o || !o->name) return unknown_option(command, name, n);
    if (o->kind == LM_OPTION_FLAG) {
        if (equals) return lm_usage_error(command->name, NULL, "\"--%s\" takes no value", o->name);
        return read_value(command, o, NULL);
    }
    if (equals) return read_value(command, o, equals + 1);
    label(shown, o);
    if (*i + 1 >= argc)
        return lm_usage_error(command->name, NULL, "\"--%s\" wants a value: %s", o->name, shown + strlen(o->name) + 3);
    return read_value(command, o, argv[++*i]);
}

bool lm_options_parse(const lm_command *command, int argc, char **argv, lm_arguments *ret, int *ret_status)
{
    char hint[200];
    bool plain = false; /* after "--" */
    ret->n = 0;
    for (int i = 1; i < argc; i++) {
        char *word = argv[i];
        if (plain || word[0] != '-' || !word[1]) {
            if (ret->n < LM_MOST_ARGUMENTS) ret->at[ret->n++] = word;
            continue;
        }
        int status = 0;
        if (strcmp(word, "--") == 0) plain = true;
        else if (strcmp(word, "-h") == 0) status = (print_help(command), -1);
        else if (word[1] != '-')
            status = lm_usage_error(command->name, "Options are whole words with two dashes.", "unknown option \"%s\"",
                                    word);
        else status = take_option(command, argc, argv, &i);
        if (status) {
            *ret_status = status < 0 ? LM_EXIT_OK : status;
            return false;
        }
    }
    if (ret->n >= command->least && ret->n <= command->most) return true;
    snprintf(hint, sizeof hint, "Usage: lensmill %s %s", command->name, command->usage);
    if (ret->n < command->least) *ret_status = lm_usage_error(command->name, hint, "something is missing");
    else *ret_status = lm_usage_error(command->name, hint, "\"%s\" is one argument too many", ret->at[command->most]);
    return false;
}
