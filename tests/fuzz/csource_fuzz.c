/* tools/weft/csource.h: whatever a C file holds, the places that are found lie in it, in order, and what stands there
 * is what was looked for. */
#include <string.h>

#include "csource.h"
#include "fuzz/fuzz.h"

static void check_table(const char *data, size_t size)
{
    csource_table table;
    if (csource_find_table(data, size, "a_ops", &table) == 0)
        return;
    FUZZ_REQUIRE(table.declaration <= table.open && table.open < table.close && table.close < size);
    FUZZ_REQUIRE(table.open < table.last && table.last <= table.close);
    FUZZ_REQUIRE(data[table.open] == '{' && data[table.close] == '}');
    FUZZ_REQUIRE(!table.comma || data[table.last - 1] == ',' || data[table.last - 1] == '{');
    FUZZ_REQUIRE(csource_has_word(data, size, "a_ops"));
    (void)csource_has_entry(data, &table, "A");
}

static void check_call(const char *data, size_t size)
{
    csource_call call;
    if (csource_find_call(data, size, "f", &call) == 0)
        return;
    FUZZ_REQUIRE(call.line <= call.result && call.result + call.result_size < call.arguments);
    FUZZ_REQUIRE(call.arguments + call.arguments_size < call.end && call.end <= size);
    FUZZ_REQUIRE(data[call.arguments - 1] == '(' && data[call.arguments + call.arguments_size] == ')');
    FUZZ_REQUIRE(data[call.end - 1] == ';');
}

static void check_include(const char *data, size_t size)
{
    size_t behind = csource_find_include(data, size, "a.h");
    if (behind != SIZE_MAX)
        FUZZ_REQUIRE(behind <= size && data[behind - 1] == '"' && data[behind - 5] == '"');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char *text = malloc(len + 1); /* of just that size, so that a byte too many is seen */
    if (text == NULL)
        return 0;
    if (len > 0)
        memcpy(text, data, len);
    text[len] = '\0';
    check_table(text, len);
    check_call(text, len);
    check_include(text, len);
    free(text);
    return 0;
}
