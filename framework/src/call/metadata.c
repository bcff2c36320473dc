/* metadata.c: what may be sent as custom metadata. Source: gRPC over HTTP2, "Requests", Custom-Metadata. */
#include <errno.h>
#include <string.h>

#include <weft/metadata.h>

weft_sv weft_metadata_find(const weft_metadata *metadata, const char *key)
{
    for (size_t i = 0; i < metadata->count; i++)
        if (weft_sv_is(metadata->items[i].key, key))
            return metadata->items[i].value;
    return (weft_sv){NULL, 0};
}

static bool starts_with(weft_sv text, const char *prefix)
{
    size_t len = strlen(prefix);
    return text.len >= len && memcmp(text.data, prefix, len) == 0;
}

static bool ends_with(weft_sv text, const char *suffix)
{
    size_t len = strlen(suffix);
    return text.len >= len && memcmp(text.data + text.len - len, suffix, len) == 0;
}

/* HTTP/2's own, and what describes the connection (RFC 9113, 8.2.2). The core drops some of them silently: refuse them
 * aloud. */
static bool reserved(weft_sv key)
{
    static const char *const names[] = {"te",         "content-type",     "user-agent",        "host",   "connection",
                                        "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"};
    if (starts_with(key, "grpc-"))
        return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (weft_sv_is(key, names[i]))
            return true;
    return false;
}

int weft_metadata_check(weft_sv key, weft_sv value)
{
    if (key.len == 0 || key.data == NULL)
        return -EINVAL;
    if (key.data[0] == ':')
        return -EPERM;
    for (size_t i = 0; i < key.len; i++) {
        char c = key.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))
            return -EINVAL;
    }
    if (reserved(key))
        return -EPERM;
    if (value.data == NULL && value.len != 0)
        return -EINVAL;
    if (!ends_with(key, "-bin"))
        for (size_t i = 0; i < value.len; i++)
            if (value.data[i] < 0x20 || value.data[i] > 0x7e)
                return -EINVAL;
    return 0;
}
