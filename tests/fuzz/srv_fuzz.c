/* Whatever a name server answers: an error, or records within the room, each with a host and a port. */
#include <errno.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "resolve/srv.h"
#include "resolve/target.h"

#define ROOM 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    weft__srv records[ROOM];
    size_t count = 0;
    uint32_t ttl = 0;
    uint8_t *copy = malloc(len + (len == 0)); /* its end is the heap's, so that reading past it is seen */
    if (copy == NULL)
        return 0;
    if (len > 0)
        memcpy(copy, data, len);
    int rc = weft__srv_parse(copy, len, records, ROOM, &count, &ttl);
    FUZZ_REQUIRE(rc == 0 || rc == -EBADMSG || rc == -ENOMEM);
    FUZZ_REQUIRE(count <= ROOM && (rc == 0 || count == 0));
    for (size_t i = 0; i < count; i++)
        FUZZ_REQUIRE(records[i].port != 0 && weft__is_name(records[i].host, strlen(records[i].host)));
    free(copy);
    return 0;
}
