/* What weft_metadata_check lets pass, gRPC core takes too, and it is what the rules say; what it refuses breaks one. An
 * input is a byte with the length of the key, the key, and the value.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <grpc/grpc.h>
#include <weft/metadata.h>

#include "fuzz/fuzz.h"
#include "transport/transport.h"

/* The rules once more, as gRPC over HTTP2 and RFC 9113 write them. */

static bool is_one_of(weft_sv text, const char *words)
{
    for (size_t len; *words != '\0'; words += len + (words[len] != '\0')) {
        len = strcspn(words, " ");
        if (weft_sv_equal(text, weft_sv_of(words, len)))
            return true;
    }
    return false;
}

static bool all_in(weft_sv text, const char *legal)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] == '\0' || strchr(legal, text.data[i]) == NULL)
            return false;
    return true;
}

static bool is_binary(weft_sv key)
{
    return key.len >= 4 && memcmp(key.data + key.len - 4, "-bin", 4) == 0;
}

static bool is_text(weft_sv value)
{
    static const char printable[] = " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`"
                                    "abcdefghijklmnopqrstuvwxyz{|}~";
    return all_in(value, printable) && (value.len == 0 || (value.data[0] != ' ' && value.data[value.len - 1] != ' '));
}

static int expected(weft_sv key, weft_sv value)
{
    if (key.len > 0 && key.data[0] == ':')
        return -EPERM;
    if (key.len == 0 || !all_in(key, "abcdefghijklmnopqrstuvwxyz0123456789-_."))
        return -EINVAL;
    if (is_binary(key) ? key.len == 4 : !is_text(value))
        return -EINVAL;
    if (weft_sv_is(key, "grpc-retry-pushback-ms")) /* gRFC A6: a handler's */
        return 0;
    if ((key.len >= 5 && memcmp(key.data, "grpc-", 5) == 0) ||
        is_one_of(key, "te content-type content-length user-agent host connection keep-alive proxy-connection "
                       "transfer-encoding upgrade http2-settings"))
        return -EPERM;
    return 0;
}

/* gRPC core would let the whole batch fail, and burn the call with it. */
static void require_that_core_takes_it(weft_sv key, weft_sv value)
{
    grpc_slice core_key = grpc_slice_from_static_buffer(key.data, key.len);
    grpc_slice core_value = grpc_slice_from_static_buffer(value.data, value.len);
    FUZZ_REQUIRE(grpc_header_key_is_legal(core_key));
    FUZZ_REQUIRE((grpc_is_binary_header(core_key) != 0) == is_binary(key));
    FUZZ_REQUIRE(is_binary(key) || grpc_header_nonbin_value_is_legal(core_value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    size_t key_len = data[0] < len ? data[0] : len - 1;
    weft_sv key = weft_sv_of(data + 1, key_len);
    weft_sv value = weft_sv_of(data + 1 + key_len, len - 1 - key_len);
    int rc = weft_metadata_check(key, value);
    FUZZ_REQUIRE(rc == expected(key, value));
    FUZZ_REQUIRE(weft__metadata_is_legal(key, value) == (rc == 0 || (rc == -EPERM && key.data[0] != ':')));
    if (rc == 0)
        require_that_core_takes_it(key, value);
    return 0;
}
