#include "tools/lensmill/plan_diff.h"
#include "tools/lensmill/store_verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST_VALUE = 60 };

typedef struct diff {
    lm_text *text;
    json_t *changes;
    size_t n;
} diff;

/* "50", "\"flat\"", "unset"; long values are cut. */
static void add_value(lm_text *text, const json_t *value)
{
    if (!value || json_is_null(value)) {
        lm_text_add(text, "unset");
        return;
    }
    if (json_is_real(value)) { /* the shortest digits that read back as the same number */
        char digits[32];
        lm_text_add(text, lm_text_real(digits, json_real_value(value)));
        return;
    }
    char *plain = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(12) | JSON_ENSURE_ASCII);
    size_t n = plain ? strlen(plain) : 0;
    if (n > LONGEST_VALUE) {
        lm_text_add_n(text, plain, LONGEST_VALUE);
        lm_text_add(text, "...");
    } else {
        lm_text_add(text, plain ? plain : "?");
    }
    free(plain);
}

static void say(diff *d, const char *what, const char *name, const json_t *is, const json_t *was)
{
    if (d->n++) lm_text_add(d->text, "; ");
    lm_text_add(d->text, what);
    if (name) lm_text_format(d->text, " \"%s\"", name);
    lm_text_add(d->text, " is ");
    add_value(d->text, is);
    lm_text_add(d->text, ", was ");
    add_value(d->text, was);
    if (!d->changes) return;
    json_t *change = json_pack("{s:s, s:O?, s:O?}", "what", what, "new", is, "old", was);
    if (name) json_object_set_new(change, "name", json_string(name));
    json_array_append_new(d->changes, change);
}

/* Objects and arrays are gone into, so that of a long list of mass components the one number is named that differs. */
static void compare(diff *d, const char *name, const json_t *is, const json_t *was)
{
    char path[256];
    if (json_equal(is, was)) return;
    if (json_is_object(is) && json_is_object(was)) {
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)(uintptr_t)is, key, value)
        {
            snprintf(path, sizeof path, "%.150s%s%.100s", name, *name ? "." : "", key);
            compare(d, path, value, json_object_get(was, key));
        }
        json_object_foreach((json_t *)(uintptr_t)was, key, value)
        {
            snprintf(path, sizeof path, "%.150s%s%.100s", name, *name ? "." : "", key);
            if (!json_object_get(is, key)) compare(d, path, NULL, value);
        }
        return;
    }
    size_t n = json_array_size(is);
    if (json_is_array(is) && json_is_array(was) && n == json_array_size(was)) {
        for (size_t i = 0; i < n; i++) {
            snprintf(path, sizeof path, "%.200s[%zu]", name, i);
            compare(d, path, json_array_get(is, i), json_array_get(was, i));
        }
        return;
    }
    if ((!is || json_is_null(is)) && (!was || json_is_null(was))) return;
    say(d, "parameter", name, is, was);
}

static void compare_numbers(diff *d, const char *what, uint64_t is, uint64_t was)
{
    if (is == was) return;
    json_t *new_value = json_integer((json_int_t)is), *old_value = json_integer((json_int_t)was);
    say(d, what, NULL, new_value, old_value);
    json_decref(new_value);
    json_decref(old_value);
}

static void compare_texts(diff *d, const char *what, const char *is, const char *was)
{
    if (strcmp(is, was) == 0) return;
    json_t *new_value = lm_json_text(is), *old_value = lm_json_text(was);
    say(d, what, NULL, new_value, old_value);
    json_decref(new_value);
    json_decref(old_value);
}

static void add_plain(diff *d, const char *what, const char *sentence)
{
    if (d->n++) lm_text_add(d->text, "; ");
    lm_text_add(d->text, sentence);
    if (d->changes) json_array_append_new(d->changes, json_pack("{s:s}", "what", what));
}

size_t lm_recipe_diff(const Lensmill__Recipe *is, const Lensmill__Recipe *was, lm_text *text, json_t *changes)
{
    diff d = {.text = text, .changes = changes};
    bool same_op = strcmp(is->op, was->op) == 0;
    compare_texts(&d, "operator", is->op, was->op);
    if (same_op) {
        compare_numbers(&d, "the operator's version", is->version, was->version);
        json_t *new_params = lm_json_params(is), *old_params = lm_json_params(was);
        compare(&d, "", new_params, old_params);
        json_decref(new_params);
        json_decref(old_params);
        if (is->random && was->random) compare_numbers(&d, "the graph's seed", is->seed, was->seed);
        else if (is->random != was->random)
            add_plain(&d, "random",
                      is->random ? "the operator draws random numbers now"
                                 : "the operator draws no random numbers any more");
        compare_texts(&d, "salt", is->salt, was->salt);
        size_t n = is->code.len;
        bool same_code = n == was->code.len && (!n || memcmp(is->code.data, was->code.data, n) == 0);
        if (!same_code) add_plain(&d, "code", "the code has changed: the plugin's library, or the program's files");
    }
    if (!d.n) add_plain(&d, "format", "the recipe is written another way: the format of the store has changed");
    return d.n;
}
