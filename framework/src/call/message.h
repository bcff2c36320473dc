/* message.h: protobuf-c messages to and from an engine's bytes. */
#ifndef WEFT_CALL_MESSAGE_H
#define WEFT_CALL_MESSAGE_H

#include <protobuf-c/protobuf-c.h>

#include <weft/arena.h>
#include <weft/compression.h>

#include "call/guard.h"
#include "transport/transport.h"

static inline bool weft__is_compression(weft_compression compression)
{
    return (int)compression >= WEFT_COMPRESSION_DEFAULT && (int)compression <= WEFT_COMPRESSION_GZIP;
}

/* Packs a message into one block of the engine, compressed where that is wanted and makes it smaller. 0; -ENOMEM;
 * -EMSGSIZE over 2^32-1 bytes, which gRPC cannot frame. */
int weft__message_pack(weft_engine *engine, const ProtobufCMessage *message, bool gzip, int64_t max_bytes,
                       weft__tx *out);

/* Replaces a packed message by its compressed form, if that is smaller. 0; -ENOMEM, and it is what it was. */
int weft__message_compress(weft_engine *engine, weft__tx *tx);

/**
 * Unpacks a received message into the arena, decompressed, and after the guard has passed it; releases `rx` in any
 * case.
 *
 * @param max_bytes of the message, decompressed. INT64_MAX: none.
 * @return 0; or `error->text` says why not, but for the last: -EBADMSG the bytes are no such message; -EMSGSIZE more
 *         than max_bytes; -EPROTO broken gzip, or compressed by nobody knows what; -ENOTSUP compressed by what Weft
 *         does not know; -ENOMEM the arena or its limit is exhausted, or the heap.
 */
int weft__message_unpack(weft_engine *engine, weft__rx *rx, const ProtobufCMessageDescriptor *type,
                         const weft__guard_limits *limits, int64_t max_bytes, weft_arena *arena, ProtobufCMessage **out,
                         weft__guard_error *error);

/* What a call fails with for a message that weft__message_unpack gave `rc` for: on the server the client's fault. */
weft_code weft__message_code(int rc, bool on_server);

#endif
