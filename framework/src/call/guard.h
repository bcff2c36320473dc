/* call/guard.h: looks over a peer's bytes before protobuf-c unpacks them.
 *
 * protobuf-c recurses without a limit, spends up to a hundred times the input's size in memory, takes any bytes as a
 * string and cuts strings at a NUL. Whatever the guard lets pass is within the limits below; protobuf-c may still
 * refuse it (a required field is missing), and then fails cleanly.
 */
#ifndef WEFT_CALL_GUARD_H
#define WEFT_CALL_GUARD_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

/* No message nests deeper than this, whatever the limits say: protobuf-c takes 960 bytes of stack a level to unpack
   (measured, 1.4.1 on x86-64), and a worker's stack is 256 KiB. */
#define WEFT__GUARD_MAX_DEPTH 200

/* What an unpack may cost; -1: none of its own. The number of bytes is for the engines to limit. */
typedef struct weft__guard_limits {
    /* Sub-messages within one another; a message without sub-messages has depth 0. */
    int64_t max_depth;

    /* Field occurrences, in all sub-messages together, in units of 32 to 128 bytes of protobuf-c's memory: a field,
       known or not, is 1; a sub-message 1 and 1 for each 64 bytes of its struct; packed numbers are 1 and 1 for every
       eight. */
    int64_t max_fields;
} weft__guard_limits;

#define WEFT__GUARD_TEXT_BYTES 160

/* Why a message was refused, for the peer: "order.items.name: not UTF-8 (byte 17)". */
typedef struct weft__guard_error {
    size_t offset; /* of the field's tag in the message */
    char text[WEFT__GUARD_TEXT_BYTES];
} weft__guard_error;

/**
 * Checks a serialized message against its type. Allocates nothing, and reads each byte once.
 *
 * @param data  `len` bytes; may be NULL when `len` is 0.
 * @param error filled on failure only.
 * @return 0; -EBADMSG not a message of this type (malformed, a group, or a field of another wire type); -ELOOP deeper
 *         than max_depth; -E2BIG over max_fields; -EILSEQ a string that is not UTF-8 or holds a NUL. Thread: any.
 */
int weft__guard_check(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t len,
                      const weft__guard_limits *limits, weft__guard_error *error);

#endif
