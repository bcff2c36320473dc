/* weft/metadata.h: the key-value pairs that travel before and after the messages of a call.
 *
 * Keys are lower-case ASCII letters, digits, '-', '_' and '.'; a key that ends in "-bin" carries any bytes (raw here,
 * base64 on the wire), any other key printable ASCII without spaces at its ends. Values may be empty. Keys may repeat
 * and order is kept; peers promise it for values of one key only. Keys that start with "grpc-" (but for
 * the trailer "grpc-retry-pushback-ms", by which a handler tells when to try again) or ':' and those of HTTP/2 itself
 * (te, content-type, user-agent, host, connection …) are reserved. What a peer sends against these rules
 * is dropped, and spaces at the ends of a value with it, so what is received may be sent on, but for reserved keys.
 * Source: gRPC over HTTP2, "Custom-Metadata".
 */
#ifndef WEFT_METADATA_H
#define WEFT_METADATA_H

#include <stddef.h>

#include <weft/sv.h>
#include <weft/version.h>

WEFT_BEGIN_DECLS

/* One pair. */
typedef struct weft_metadatum {
    weft_sv key;
    weft_sv value;
} weft_metadatum;

/* A list of pairs: `count` of them at `items`. */
typedef struct weft_metadata {
    const weft_metadatum *items;
    size_t count;
} weft_metadata;

/**
 * The value of the first pair with this key, or an absent view.
 */
WEFT_API weft_sv weft_metadata_find(const weft_metadata *metadata, const char *key);

/**
 * Whether a program may send this pair.
 *
 * @return 0; -EINVAL for an illegal key or value; -EPERM for a reserved key. Thread: any.
 */
WEFT_API int weft_metadata_check(weft_sv key, weft_sv value);

WEFT_END_DECLS
#endif
