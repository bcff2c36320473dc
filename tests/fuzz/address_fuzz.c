/* An address that parses is within its bounds, and its text means the same address. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "transport/listen/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char *text = malloc(len + 1);
    if (text == NULL)
        return 0;
    if (len > 0)
        memcpy(text, data, len);
    text[len] = '\0';

    weft__address address;
    const char *reason = NULL;
    if (weft__address_parse(text, &address, &reason) != 0) {
        FUZZ_REQUIRE(reason != NULL);
    } else {
        FUZZ_REQUIRE(reason == NULL);
        FUZZ_REQUIRE(memchr(address.name, '\0', sizeof address.name) != NULL);
        FUZZ_REQUIRE(address.kind != WEFT__ADDRESS_FD || address.fd >= 0);
        char again[WEFT__ADDRESS_TEXT_BYTES];
        weft__address same;
        weft__address_format(&address, again);
        FUZZ_REQUIRE(weft__address_parse(again, &same, &reason) == 0);
        FUZZ_REQUIRE(same.kind == address.kind && same.port == address.port && same.fd == address.fd);
        FUZZ_REQUIRE(strcmp(same.name, address.name) == 0);
    }
    free(text);
    return 0;
}
