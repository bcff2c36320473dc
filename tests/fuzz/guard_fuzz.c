/* What the guard accepts, protobuf-c unpacks or refuses without harm, also when memory runs out half-way; and what
 * comes out of it is packed and accepted again. The first two bytes of an input choose the type, the limits and the
 * memory.
 */
#include <errno.h>
#include <string.h>

#include "call/guard.h"
#include "fuzz/fuzz.h"
#include "support/messages.pb-c.h"

/* An allocator with an end, over malloc: a sanitizer sees each block, and what is not freed. */
static void *limited_alloc(void *user, size_t size)
{
    size_t *left = user;
    if (size > *left)
        return NULL;
    *left -= size;
    return malloc(size);
}

static void limited_free(void *user, void *memory)
{
    (void)user;
    free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const ProtobufCMessageDescriptor *const types[] = {
        &weft__test__everything__descriptor, &weft__test__sparse__descriptor, &weft__test__outer__descriptor,
        &weft__test__empty__descriptor};
    if (len < 2)
        return 0;
    const ProtobufCMessageDescriptor *type = types[data[0] & 3];
    weft__guard_limits limits = {.max_depth = data[0] & 4 ? 3 : -1, .max_fields = data[0] & 8 ? 20 : -1};
    size_t memory = data[1] == 0 ? (size_t)1 << 22 : (size_t)data[1] * 64;
    data += 2;
    len -= 2;

    weft__guard_error error = {.offset = SIZE_MAX};
    int rc = weft__guard_check(type, data, len, &limits, &error);
    if (rc != 0) {
        FUZZ_REQUIRE(rc == -EBADMSG || rc == -ELOOP || rc == -E2BIG || rc == -EILSEQ);
        FUZZ_REQUIRE(rc != -ELOOP || limits.max_depth == 3 || len > (size_t)2 * WEFT__GUARD_MAX_DEPTH);
        FUZZ_REQUIRE(rc != -E2BIG || limits.max_fields == 20);
        FUZZ_REQUIRE(error.offset < len);
        FUZZ_REQUIRE(memchr(error.text, '\0', sizeof error.text) != NULL && error.text[0] != '\0');
        return 0;
    }
    FUZZ_REQUIRE(error.offset == SIZE_MAX);

    ProtobufCAllocator allocator = {limited_alloc, limited_free, &memory};
    ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, len, data);
    if (message != NULL) {
        size_t packed_len = protobuf_c_message_get_packed_size(message);
        uint8_t *packed = malloc(packed_len + 1);
        if (packed != NULL) {
            FUZZ_REQUIRE(protobuf_c_message_pack(message, packed) == packed_len);
            limits.max_fields = -1; /* it may have grown: the value of a map's entry is always packed */
            FUZZ_REQUIRE(weft__guard_check(type, packed, packed_len, &limits, &error) == 0);
            free(packed);
        }
        protobuf_c_message_free_unpacked(message, &allocator);
    }
    return 0;
}
