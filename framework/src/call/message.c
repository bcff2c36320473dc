#include "call/message.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "call/gzip.h"

/* gzip adds 18 bytes: shorter messages are not worth the try. */
enum {
    MIN_COMPRESSED = 64
};

int weft__message_compress(weft_engine *engine, weft__tx *tx)
{
    weft__tx compressed;
    if (tx->len < MIN_COMPRESSED)
        return 0;
    int rc = engine->vtable->tx_alloc(engine, tx->len - 1, &compressed);
    if (rc < 0)
        return rc;
    rc = weft__gzip_deflate(tx->data, tx->len, compressed.data, compressed.len, &compressed.len);
    if (rc < 0) {
        engine->vtable->tx_unref(&compressed);
        return rc == -ENOSPC ? 0 : rc;
    }
    compressed.gzip = true;
    engine->vtable->tx_unref(tx);
    *tx = compressed;
    return 0;
}

int weft__message_pack(weft_engine *engine, const ProtobufCMessage *message, bool gzip, int64_t max_bytes,
                       weft__tx *out)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    if (size > UINT32_MAX || (uint64_t)size > (uint64_t)max_bytes)
        return -EMSGSIZE;
    weft__tx tx;
    int rc = engine->vtable->tx_alloc(engine, size, &tx);
    if (rc < 0)
        return rc;
    protobuf_c_message_pack(message, tx.data);
    rc = gzip ? weft__message_compress(engine, &tx) : 0;
    if (rc < 0) {
        engine->vtable->tx_unref(&tx);
        return rc;
    }
    *out = tx;
    return 0;
}

static int say(weft__guard_error *error, int rc, const char *text)
{
    (void)snprintf(error->text, sizeof error->text, "%s", text);
    return rc;
}

static int say_too_large(weft__guard_error *error, const char *how, int64_t max_bytes)
{
    (void)snprintf(error->text, sizeof error->text, "a message is larger than %" PRId64 " bytes%s", max_bytes, how);
    return -EMSGSIZE;
}

/* Gathers a message of several pieces where `memory` is. */
static const uint8_t *gather(weft_engine *engine, const weft__rx *rx, uint8_t *memory)
{
    if (memory != NULL)
        engine->vtable->rx_gather(rx, memory);
    return memory;
}

/* Decompresses into a block of malloc. As weft__message_unpack. */
static int inflate_message(weft_engine *engine, const weft__rx *rx, int64_t max_bytes, uint8_t **out, size_t *len,
                           weft__guard_error *error)
{
    uint8_t *whole = rx->pieces > 1 ? malloc(rx->total) : NULL;
    const uint8_t *data = rx->pieces > 1 ? gather(engine, rx, whole) : rx->data;
    int rc = data != NULL ? weft__gzip_inflate(data, rx->total, max_bytes, out, len) : -ENOMEM;
    free(whole);
    if (rc == -EMSGSIZE)
        return say_too_large(error, ", decompressed", max_bytes);
    return rc == -EBADMSG ? say(error, -EPROTO, "a message is not gzip, as it says, or not whole") : rc;
}

/* The bytes of a message: where they were received, or gathered or decompressed into `block`. */
static int read_bytes(weft_engine *engine, const weft__rx *rx, int64_t max_bytes, const uint8_t **data, size_t *len,
                      uint8_t **block, weft__guard_error *error)
{
    static const uint8_t nothing[1] = {0};
    switch (rx->coding) {
    case WEFT__CODING_NONE:
        break;
    case WEFT__CODING_GZIP: {
        int rc = inflate_message(engine, rx, max_bytes, block, len, error);
        *data = *block;
        return rc;
    }
    case WEFT__CODING_OTHER:
        return say(error, -ENOTSUP, "a message is compressed by other than gzip, which is not supported");
    case WEFT__CODING_UNNAMED:
        return say(error, -EPROTO, "a message is compressed, but grpc-encoding names no encoding that is known");
    }
    if (rx->total > (uint64_t)max_bytes)
        return say_too_large(error, "", max_bytes);
    *len = rx->total;
    *data = rx->total > 0 ? rx->data : nothing;
    if (rx->pieces > 1 && rx->total > 0) { /* not in the arena, where it would stay as long as what is made of it */
        *block = malloc(rx->total);
        *data = gather(engine, rx, *block);
    }
    return *data != NULL ? 0 : -ENOMEM;
}

int weft__message_unpack(weft_engine *engine, weft__rx *rx, const ProtobufCMessageDescriptor *type,
                         const weft__guard_limits *limits, int64_t max_bytes, weft_arena *arena, ProtobufCMessage **out,
                         weft__guard_error *error)
{
    const uint8_t *data;
    size_t len;
    uint8_t *block = NULL;
    int rc = read_bytes(engine, rx, max_bytes, &data, &len, &block, error);
    if (rc < 0)
        goto done;
    if (weft__guard_check(type, data, len, limits, error) < 0) {
        rc = -EBADMSG;
        goto done;
    }
    ProtobufCMessage *message = protobuf_c_message_unpack(type, weft_arena_allocator(arena), len, data);
    if (message == NULL) {
        rc = weft_arena_failed(arena) ? -ENOMEM : -EBADMSG;
        (void)snprintf(error->text, sizeof error->text, "not a valid %s", type->name);
        goto done;
    }
    *out = message;
done:
    free(block);
    engine->vtable->rx_release(rx);
    return rc;
}

weft_code weft__message_code(int rc, bool on_server)
{
    switch (rc) {
    case -EBADMSG:
        return on_server ? WEFT_INVALID_ARGUMENT : WEFT_INTERNAL;
    case -ENOTSUP:
        return on_server ? WEFT_UNIMPLEMENTED : WEFT_INTERNAL;
    case -EPROTO:
        return WEFT_INTERNAL;
    default:
        return WEFT_RESOURCE_EXHAUSTED;
    }
}
