/* Any text as a jq expression: the rewriter must end, stay inside its input, and own what it returns. jq itself is not run. */
#include "runtime/jq_rewrite.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text) return 0;
    if (size) memcpy(text, data, size);
    text[size] = 0;
    lm_jq_source source;
    lm_error err = {0};
    if (lm_jq_rewrite(text, &source, &err)) {
        if (!*err.text) abort();
    } else {
        if (!source.program || strlen(source.program) < strlen(text)) abort(); /* it adds, and takes nothing away */
        lm_jq_source_done(&source);
    }
    free(text);
    return 0;
}
