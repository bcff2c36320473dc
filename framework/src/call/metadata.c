/* metadata.c: what may be sent as custom metadata. Source: gRPC over HTTP2, "Requests", Custom-Metadata. */
#include <errno.h>
#include <string.h>

#include <weft/metadata.h>

#include "transport/transport.h"

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

/* HTTP/2's own, what describes the connection (RFC 9113, 8.2.2) or the body. The core drops some of them silently, and
 * peers end calls over others: refuse them aloud. */
static bool reserved(weft_sv key)
{
    static const char *const names[] = {
        "te",      "content-type",   "content-length",   "user-agent",       "host", "connection", "keep-alive",
        "upgrade", "http2-settings", "proxy-connection", "transfer-encoding"};
    if (weft_sv_is(key, "grpc-retry-pushback-ms")) /* gRFC A6: the handler's to say */
        return false;
    if (starts_with(key, "grpc-"))
        return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (weft_sv_is(key, names[i]))
            return true;
    return false;
}

static bool is_key(weft_sv key)
{
    for (size_t i = 0; i < key.len; i++) {
        char c = key.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))
            return false;
    }
    return key.len > 0;
}

/* Looks at every byte, since that is done many at a time. */
static bool is_printable(weft_sv text)
{
    bool bad = false;
    for (size_t i = 0; i < text.len; i++)
        bad |= text.data[i] < 0x20 || text.data[i] > 0x7e;
    return !bad;
}

/* HTTP wants no space at the ends of a value (RFC 9113, 8.2.1), and some peers end the call over it. */
static bool is_trimmed(weft_sv text)
{
    return text.len == 0 || (text.data[0] != ' ' && text.data[text.len - 1] != ' ');
}

/* "-bin" alone is neither: gRPC core takes it for a text, grpc-go for binary. */
bool weft__metadata_is_legal(weft_sv key, weft_sv value)
{
    if (!is_key(key))
        return false;
    if (ends_with(key, "-bin"))
        return key.len > strlen("-bin");
    return is_printable(value) && is_trimmed(value);
}

int weft_metadata_check(weft_sv key, weft_sv value)
{
    if (key.data == NULL || (value.data == NULL && value.len != 0))
        return -EINVAL;
    if (key.len > 0 && key.data[0] == ':')
        return -EPERM;
    if (!weft__metadata_is_legal(key, value))
        return -EINVAL;
    return reserved(key) ? -EPERM : 0;
}
