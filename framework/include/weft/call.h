/* weft/call.h: one call, as its handler sees it. */
#ifndef WEFT_CALL_H
#define WEFT_CALL_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weft/arena.h>
#include <weft/compression.h>
#include <weft/engine.h>
#include <weft/metadata.h>
#include <weft/method.h>
#include <weft/status.h>
#include <weft/version.h>

WEFT_BEGIN_DECLS

/* A `weft_call *` is valid in its handler until that returns, or, after weft_call_defer, until weft_call_finish. Debug
 * builds (without NDEBUG) log an error that names the method when it is used after that, as far as they can tell, and
 * when a server cannot stop because a deferred call was never finished.
 *
 * The hooks of a channel's interceptors (weft/interceptor.h) see one too: there headers are those of the request that
 * is sent, and metadata those that came with the answer. */

/* The arena that lives as long as the call. Never NULL. Limit: max_call_bytes. Thread: the one that runs the handler.
 */
WEFT_API weft_arena *weft_call_arena(weft_call *call);

/* The engine that carries the call, whose clock its times are of. */
WEFT_API weft_engine *weft_call_engine(const weft_call *call);

/* "/user.UserService/GetUser". Lives as long as the call. */
WEFT_API const char *weft_call_method(const weft_call *call);

/**
 * The address of the peer: "ipv4:127.0.0.1:50000", "ipv6:[::1]:50000", "unix:". Allocated in the call's arena.
 *
 * @return the text; "" when it is not known or memory is short.
 */
WEFT_API const char *weft_call_peer(weft_call *call);

/* When the call expires, in nanoseconds of the engine's monotonic clock; INT64_MAX when it never does. */
WEFT_API int64_t weft_call_deadline_ns(const weft_call *call);

/* What is left until then: 0 when it has passed, INT64_MAX when there is no deadline. */
WEFT_API int64_t weft_call_remaining_ns(const weft_call *call);

/* Whether nobody waits for the answer any more: cancelled by the peer, expired, or the connection is lost. An inline
 * handler is told of more than its deadline only after weft_call_defer; a deferred one whose peer still streams to it,
 * by its receives, or once it has made a call for this one. Thread: any. */
WEFT_API bool weft_call_cancelled(const weft_call *call);

/* Why nobody waits for the answer of a call any more. */
typedef enum weft_cancel_cause {
    WEFT_NOT_CANCELLED = 0,
    WEFT_CANCELLED_BY_PEER = 1,     /* the caller gave up, or the connection is lost */
    WEFT_CANCELLED_BY_DEADLINE = 2, /* the call's deadline has passed */
    WEFT_CANCELLED_BY_STOP = 3,     /* the server stops, and the grace is over */
    WEFT_CANCELLED_BY_STALL = 4     /* the peer took nothing of a stream for send_stall_ms */
} weft_cancel_cause;

/* What weft_call_cancelled is true for. Thread: any. */
WEFT_API weft_cancel_cause weft_call_cancel_cause(const weft_call *call);
/* What is called when nobody waits for an answer any more. On the engine's thread, or the loop's that the server was
 * given: it must not block. It may answer the call. */
typedef void (*weft_cancelled_fn)(void *arg);

/**
 * Has `cancelled` called once, when nobody waits for the answer any more, or when the call has ended otherwise. For
 * handlers that defer: what they keep of a call is not needed any more.
 *
 * The call may be answered on another thread at the same time: whoever may answer takes a lock of its own to see who
 * does. What lives in the call's arena is there until `cancelled` has returned (not so with a loop), the call only if
 * it was not answered.
 *
 * @return 0: it will be called, exactly once, never from inside this function; 1: weft_call_cancelled holds already,
 *         and it is not called; -EALREADY it was asked for before; -ENOMEM (with a loop only). Thread: the handler's,
 *         before the call may be answered.
 */
WEFT_API int weft_call_when_cancelled(weft_call *call, weft_cancelled_fn cancelled, void *arg);

/* The value of the first request metadatum with this key, or an absent view. Lives as long as the call. */
WEFT_API weft_sv weft_call_metadata(const weft_call *call, const char *key);

/* How many metadata the request carries. */
WEFT_API size_t weft_call_metadata_count(const weft_call *call);

/* The metadatum at `index` (below the count), in the order of arrival. */
WEFT_API weft_metadatum weft_call_metadata_at(const weft_call *call, size_t index);

/**
 * Adds a pair to the response headers (…_trailer: to the trailers). Key and value are copied into the call's arena.
 *
 * @return 0; -EINVAL illegal key or value, or a trailer of a channel's call; -EPERM reserved key; -ENOMEM; -E2BIG over
 *         the metadata limit; -EALREADY (a header) a stream has sent its headers.
 */
WEFT_API int weft_call_add_header(weft_call *call, const char *key, weft_sv value);
WEFT_API int weft_call_add_trailer(weft_call *call, const char *key, weft_sv value);

/**
 * Compresses the call's answer, or does not: the response, or all messages of a stream. To a peer that does not take
 * gzip everything is sent as it is.
 *
 * @return 0; -EINVAL no weft_compression, or a call on the client; -EALREADY a stream has sent its headers. Thread: the
 *         handler's.
 */
WEFT_API int weft_call_set_compression(weft_call *call, weft_compression compression);

/* Whether the one request of a unary or server-streaming call came compressed. */
WEFT_API bool weft_call_request_compressed(const weft_call *call);

/**
 * Sets the message that goes with a failing status (cut to 2048 bytes; what is not UTF-8 becomes '?') and returns
 * `code`, so that a handler can end with `return weft_fail(call, WEFT_NOT_FOUND, "user %s does not exist", id);`. The
 * text goes to the peer: keep secrets out. More about it, for programs, goes with weft_fail_detail (weft/details.h).
 *
 * @return `code`; WEFT_INTERNAL when it is WEFT_OK or no gRPC code.
 */
WEFT_API weft_code weft_fail(weft_call *call, weft_code code, const char *format, ...) WEFT_PRINTF(3, 4);

/**
 * The status for a local error: -ENOMEM is RESOURCE_EXHAUSTED, -ETIMEDOUT DEADLINE_EXCEEDED, -ECANCELED CANCELLED, all
 * else INTERNAL. The peer gets a fixed text; the detail goes to the log, as an error unless the call is cancelled, or
 * a message that the peer has sent is what failed.
 */
WEFT_API weft_code weft_fail_errno(weft_call *call, int rc);

/**
 * The status for what a store could not do (weft/sqlite.h): -ENOSPC is RESOURCE_EXHAUSTED, -EBUSY and -EROFS are
 * UNAVAILABLE, each with a fixed text; all else as weft_fail_errno.
 */
WEFT_API weft_code weft_fail_store(weft_call *call, int rc);

/* Passes on the status of a call that was made for this one, with its details if they can be read and the metadata
 * limit has room for them. @return its code; WEFT_INTERNAL when it was OK. */
WEFT_API weft_code weft_fail_from(weft_call *call, const weft_status *status);

/**
 * Lets the handler return before the call is answered: its return value is then ignored; request, response and arena
 * live on until weft_call_finish, which must follow exactly once, from any thread. Once it may have been called, the
 * handler touches the call and its arena no more.
 *
 * @return 0; -EALREADY when it was deferred before.
 */
WEFT_API int weft_call_defer(weft_call *call);

/**
 * Answers a deferred call. The call must not be touched afterwards.
 *
 * Does nothing but log an error for a call that was not deferred, and for a second finish while the handler still runs
 * (in debug builds: also later, until the object is used for another call).
 *
 * @param code     as a handler would return it; for WEFT_OK, `response` is sent.
 * @param response the response message the handler was given, or another of its type; NULL unless `code` is WEFT_OK.
 *                 It is packed before this returns. Thread: any, one at a time; does not block.
 */
WEFT_API void weft_call_finish(weft_call *call, weft_code code, const ProtobufCMessage *response);

WEFT_END_DECLS
#endif
