/* A target that parses fits, is in full form, and parses to itself; the parts of any target lie within it; what a
 * target lists are addresses, each once.
 */
#include <errno.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "resolve/address.h"
#include "resolve/list.h"
#include "resolve/target.h"

static void check_addresses(const char *text)
{
    weft__addresses list = {NULL, 0};
    char full[WEFT__TARGET_MAX];
    int rc = weft__addresses_add_target(&list, text);
    if (rc == -ENOMEM) {
        weft__addresses_fini(&list);
        return;
    }
    FUZZ_REQUIRE(rc == 0 || !weft__is_address_list(text));
    FUZZ_REQUIRE((rc == 0) == (list.count > 0));
    FUZZ_REQUIRE(rc < 0 || weft__target_parse(text, full) == 0);
    for (size_t i = 0; i < list.count; i++) {
        FUZZ_REQUIRE(weft__is_address(list.items[i].address));
        FUZZ_REQUIRE(strncmp(list.items[i].address, text, 5) == 0); /* of the target's scheme */
        for (size_t j = 0; j < i; j++)
            FUZZ_REQUIRE(strcmp(list.items[i].address, list.items[j].address) != 0);
    }
    weft__addresses_fini(&list);
}

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
    check_addresses(text);
    if (len < sizeof full) {
        weft_target target;
        weft__target_split(text, again, &target);
        const char *const parts[] = {target.scheme, target.authority, target.path, target.query};
        size_t total = 0;
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
            total += strlen(parts[i]);
        FUZZ_REQUIRE(total <= strlen(text));
        FUZZ_REQUIRE(strchr(target.scheme, ':') == NULL && strchr(target.path, '?') == NULL);
    }
    free(text);
    return 0;
}
