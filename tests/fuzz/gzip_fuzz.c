/* Whatever comes: what inflates stays within the limit, deflates and inflates to the same; a limit one lower refuses
 * it. The first two bytes of an input are the limit, in units of 16 bytes.
 */
#include <errno.h>
#include <string.h>

#include "call/gzip.h"
#include "fuzz/fuzz.h"

enum {
    UNIT = 16,
    OVERHEAD = 1024 /* more than gzip makes of what it cannot compress, at this size */
};

static void there_and_back(const uint8_t *plain, size_t plain_len)
{
    size_t room = plain_len + plain_len / 8 + OVERHEAD;
    uint8_t *gzip = malloc(room);
    uint8_t *again = NULL;
    size_t len;
    size_t again_len;
    if (gzip == NULL)
        return;
    FUZZ_REQUIRE(weft__gzip_deflate(plain, plain_len, gzip, room, &len) == 0);
    FUZZ_REQUIRE(len <= room);
    FUZZ_REQUIRE(weft__gzip_inflate(gzip, len, (int64_t)plain_len, &again, &again_len) == 0);
    FUZZ_REQUIRE(again_len == plain_len && memcmp(again, plain, plain_len) == 0);
    free(again);
    again = NULL;
    if (plain_len > 0)
        FUZZ_REQUIRE(weft__gzip_inflate(gzip, len, (int64_t)plain_len - 1, &again, &again_len) == -EMSGSIZE);
    FUZZ_REQUIRE(again == NULL);
    free(gzip);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint8_t *out = NULL;
    size_t out_len = 0;
    if (len < 2)
        return 0;
    int64_t max = ((int64_t)data[0] << 8 | data[1]) * UNIT;
    int rc = weft__gzip_inflate(data + 2, len - 2, max, &out, &out_len);
    if (rc == 0) {
        FUZZ_REQUIRE(out != NULL && out_len <= (size_t)max);
        there_and_back(out, out_len);
    } else {
        FUZZ_REQUIRE(out == NULL && (rc == -EBADMSG || rc == -EMSGSIZE || rc == -ENOMEM));
    }
    free(out);
    there_and_back(data, len);
    return 0;
}
