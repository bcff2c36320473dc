/* A target that parses fits, is in full form, and parses to itself. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "resolve/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char *text = malloc(len + 1);
    if (text == NULL)
        return 0;
    if (len > 0)
        memcpy(text, data, len);
    text[len] = '\0';

    char full[WEFT__TARGET_MAX];
    char again[WEFT__TARGET_MAX];
    if (weft__target_parse(text, full) == 0) {
        FUZZ_REQUIRE(memchr(full, '\0', sizeof full) != NULL);
        FUZZ_REQUIRE(weft__target_parse(full, again) == 0);
        FUZZ_REQUIRE(strcmp(full, again) == 0);
    }
    free(text);
    return 0;
}
