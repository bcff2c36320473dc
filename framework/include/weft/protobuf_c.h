/* weft/protobuf_c.h: protobuf-c's own service stubs, served and called without protoc-gen-weft. Unary only:
 * protobuf-c's descriptors do not know streaming. */
#ifndef WEFT_PROTOBUF_C_H
#define WEFT_PROTOBUF_C_H

#include <protobuf-c/protobuf-c.h>

#include <weft/channel.h>
#include <weft/server.h>

WEFT_BEGIN_DECLS

/**
 * Serves a protobuf-c service. Its functions run on workers; each calls its closure once, before or after it returns,
 * with the response, or with NULL for a failure (what weft_fail said on weft_protobuf_c_call(), else INTERNAL). A
 * function left NULL is UNIMPLEMENTED. A service with an `invoke` of its own (one of weft_protobuf_c_service_new, say)
 * gets all calls by that.
 *
 * @param service outlives the server.
 * @return as weft_server_add; -EINVAL no service or descriptor; -ENOTSUP when it was generated with optimize_for =
 * CODE_SIZE (no method names).
 */
WEFT_API int weft_server_add_protobuf_c(weft_server *server, ProtobufCService *service);

/**
 * The call a protobuf-c service function is serving, for its metadata, deadline and status; NULL outside of one.
 *
 * Thread: the one that the function was called on, until it returns.
 */
WEFT_API weft_call *weft_protobuf_c_call(void);

/**
 * Makes a service whose generated functions are calls over a channel: `user__user_service__get_user(service, &request,
 * closure, data)` blocks and calls the closure before it returns, with the response (valid during the closure) or NULL.
 *
 * @param channel    outlives the service.
 * @param timeout_ms of each call; 0: the channel's; -1: none.
 * @return 0; -EINVAL no channel, no descriptor, or timeout_ms below -1; -ENOMEM; -ENOTSUP no method names. Free it with
 *         protobuf_c_service_destroy.
 */
WEFT_API int weft_protobuf_c_service_new(ProtobufCService **out, weft_channel *channel,
                                         const ProtobufCServiceDescriptor *descriptor, int64_t timeout_ms);

/* How this thread's last call ended, if it went through this service; else UNKNOWN. The message (cut to 255 bytes) is
 * valid until the thread's next call. Thread: any. */
WEFT_API weft_status weft_protobuf_c_status(const ProtobufCService *service);

WEFT_END_DECLS
#endif
