/* Whatever the file says: nothing or a list within its limits comes out, and a mistake is told with its line. */
#include <errno.h>
#include <string.h>

#include <weft/resolver.h>

#include "fuzz/fuzz.h"
#include "resolve/instances.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    weft__addresses list = {NULL, 0};
    char reason[256] = "";
    int rc = weft__instances_parse("f", weft_sv_of(data, len), &list, reason, sizeof reason);
    FUZZ_REQUIRE(rc == 0 || rc == -EINVAL || rc == -ENOMEM);
    FUZZ_REQUIRE(rc != -EINVAL || strncmp(reason, "f:", 2) == 0);
    FUZZ_REQUIRE(rc == 0 || (list.items == NULL && list.count == 0));
    FUZZ_REQUIRE(list.count <= WEFT_FILE_RESOLVER_MAX_ADDRESSES);
    for (size_t i = 0; i < list.count; i++) {
        FUZZ_REQUIRE(weft__is_address(list.items[i].address));
        FUZZ_REQUIRE(list.items[i].weight <= WEFT__WEIGHT_MAX);
        FUZZ_REQUIRE(list.items[i].zone == NULL || list.items[i].zone[0] != '\0');
    }
    weft__addresses_fini(&list);
    return 0;
}
