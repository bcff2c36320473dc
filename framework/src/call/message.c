#include "call/message.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int weft__message_pack(weft_engine *engine, const ProtobufCMessage *message, weft__tx *out)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    if (size > UINT32_MAX)
        return -EMSGSIZE;
    weft__tx tx;
    int rc = engine->vtable->tx_alloc(engine, size, &tx);
    if (rc < 0)
        return rc;
    protobuf_c_message_pack(message, tx.data);
    *out = tx;
    return 0;
}

int weft__message_unpack(weft_engine *engine, weft__rx *rx, const ProtobufCMessageDescriptor *type,
                         const weft__guard_limits *limits, weft_arena *arena, ProtobufCMessage **out,
                         weft__guard_error *error)
{
    static const uint8_t nothing[1] = {0};
    const uint8_t *data = rx->total > 0 ? rx->data : nothing;
    uint8_t *whole = NULL;
    int rc = 0;
    if (rx->pieces > 1 && rx->total > 0) {
        whole = malloc(rx->total); /* not from the arena, where it would stay for as long as what is made of it */
        if (whole == NULL) {
            rc = -ENOMEM;
            goto done;
        }
        engine->vtable->rx_gather(rx, whole);
        data = whole;
    }
    if (weft__guard_check(type, data, rx->total, limits, error) < 0) {
        rc = -EBADMSG;
        goto done;
    }
    ProtobufCMessage *message = protobuf_c_message_unpack(type, weft_arena_allocator(arena), rx->total, data);
    if (message == NULL) {
        rc = weft_arena_failed(arena) ? -ENOMEM : -EBADMSG;
        (void)snprintf(error->text, sizeof error->text, "not a valid %s", type->name);
        goto done;
    }
    *out = message;
done:
    free(whole);
    engine->vtable->rx_release(rx);
    return rc;
}
