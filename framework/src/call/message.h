/* message.h: protobuf-c messages to and from an engine's bytes. */
#ifndef WEFT_CALL_MESSAGE_H
#define WEFT_CALL_MESSAGE_H

#include <protobuf-c/protobuf-c.h>

#include <weft/arena.h>

#include "call/guard.h"
#include "transport/transport.h"

/* Packs a message into one block of the engine. 0; -ENOMEM; -EMSGSIZE over 2^32-1 bytes, which gRPC cannot frame. */
int weft__message_pack(weft_engine *engine, const ProtobufCMessage *message, weft__tx *out);

/* Unpacks a received message into the arena, after the guard has passed it; releases `rx` in any case.
   0; -EBADMSG the bytes are no such message (`error->text` says why); -ENOMEM the arena or its limit is exhausted. */
int weft__message_unpack(weft_engine *engine, weft__rx *rx, const ProtobufCMessageDescriptor *type,
                         const weft__guard_limits *limits, weft_arena *arena, ProtobufCMessage **out,
                         weft__guard_error *error);

#endif
