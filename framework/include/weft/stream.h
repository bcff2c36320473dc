/* weft/stream.h: calls that carry more than one message in a direction, seen from either side.
 *
 * Generated code gives every streaming method two types, …_server for its handler and …_client for its caller, with
 * typed functions to receive and send. Both are a weft_stream by another name: WEFT_STREAM(stream) for the functions
 * below.
 *
 *              receiving half                                   sending half
 *     idle ──recv──▶ waiting ──message──▶ readable      writable ──send──▶ busy ──peer reads──▶ writable
 *              └────── no more: 0; broken: negative               └────── broken: negative
 *
 * The two halves do not know each other: one thread may receive while another one sends. One at a time each.
 *
 * Blocking or not. On a thread that may block, receive and send wait. Elsewhere (an inline handler, a callback, a loop)
 * they return -EAGAIN instead; weft_stream_when_readable and weft_stream_when_writable tell when to try again. A stream
 * that waits for its callback holds no thread.
 */
#ifndef WEFT_STREAM_H
#define WEFT_STREAM_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

#include <weft/arena.h>
#include <weft/call.h>
#include <weft/channel.h>
#include <weft/method.h>
#include <weft/status.h>

WEFT_BEGIN_DECLS

typedef struct weft_stream weft_stream;

/* A generated …_server or …_client as a weft_stream. */
#define WEFT_STREAM(stream) ((weft_stream *)(stream))

/* ---- both sides -------------------------------------------------------------------------------------------------- */

/**
 * Receives one message.
 *
 * @param out the message, which lives in the stream's scratch memory until the next receive (or the call's end).
 * @return 1; 0 there are no more: the peer has sent all (on the client: or the call has failed; weft_stream_finish
 *         tells); -EAGAIN nothing has come and this thread must not block; -ECANCELED (server) nobody waits for the
 *         answer any more, or what the handler follows has ended (weft/feed.h); -ETIMEDOUT (server) the deadline has
 *         passed; -EBADMSG the bytes are no such message, or more of it than the limits allow, or an interceptor
 *         refused it; -EMSGSIZE larger than the method takes (on the client: than max_message_bytes), decompressed;
 *         -ENOMEM the message needs more than max_call_bytes, or memory is short. After a negative result other than
 *         -EAGAIN every further receive returns the same, and the call cannot succeed any more.
 *         Thread: one at a time; blocks.
 */
WEFT_API int weft_stream_recv(weft_stream *stream, ProtobufCMessage **out);

/* Whether the message received last came compressed. Thread: the receiver's. */
WEFT_API bool weft_stream_recv_compressed(const weft_stream *stream);

/**
 * Sends one message. It is packed before this returns. The first send of a server carries the headers.
 *
 * Returns as soon as the message is on its way, and waits only for the one before it: until the peer has taken enough
 * of what was sent (flow control). A peer that takes nothing for send_stall_ms loses the call.
 *
 * @return 0; -EAGAIN the one before is under way and this thread must not block; -EPIPE (client) the call has ended, or
 *         the stream was half-closed; -ECANCELED, -ETIMEDOUT (server) as for receive, or the peer took nothing for too
 *         long; -EPERM an interceptor refused it; -EINVAL not a message of this method; -EMSGSIZE too large for gRPC;
 *         -ENOMEM. Thread: one at a time; blocks.
 */
WEFT_API int weft_stream_send(weft_stream *stream, const ProtobufCMessage *message);

/* The same, not compressed even if the stream's messages are. */
WEFT_API int weft_stream_send_plain(weft_stream *stream, const ProtobufCMessage *message);

/* What is called when a stream can go on. On the engine's thread, or the loop's that server or channel was given: it
 * must not block. */
typedef void (*weft_ready_fn)(void *arg);

/**
 * Has `ready` called once, when a receive will not block.
 *
 * It is called also when the call ends, and even after weft_stream_finish or weft_call_finish, if it was asked for
 * before: `arg` must live until then, and the stream must not be touched in it.
 *
 * @return 0: it will be called, exactly once, never from inside this function; 1: there is something already, and it is
 *         not called; -EALREADY it was asked for before; -ENOMEM (with a loop only). Thread: the receiver's.
 */
WEFT_API int weft_stream_when_readable(weft_stream *stream, weft_ready_fn ready, void *arg);

/* The same for a send. Thread: the sender's. */
WEFT_API int weft_stream_when_writable(weft_stream *stream, weft_ready_fn ready, void *arg);

/* ---- one message to many streams --------------------------------------------------------------------------------- */

/* A message that is packed once. */
typedef struct weft_packed weft_packed;

/**
 * Packs a message, to be sent by weft_stream_send_packed on any number of streams of one engine.
 *
 * @param engine the streams' engine; outlives the packed message.
 * @return 0; -EMSGSIZE; -ENOMEM. Free it with weft_packed_free. Thread: any.
 */
WEFT_API int weft_packed_new(weft_packed **out, weft_engine *engine, const ProtobufCMessage *message);

/**
 * Compresses it too, once for all streams: those that compress send it so, the others as it is.
 *
 * @return 0, also when gzip would not make it smaller; -ENOMEM. Thread: one, before it is sent.
 */
WEFT_API int weft_packed_compress(weft_packed *packed);

/* Drops it; what is being sent is sent all the same. NULL is fine. Thread: any. */
WEFT_API void weft_packed_free(weft_packed *packed);

/* As weft_stream_send, without packing or compressing; `packed` stays the caller's. Costs a reference, whatever its
 * size. */
WEFT_API int weft_stream_send_packed(weft_stream *stream, const weft_packed *packed);

/* ---- the server -------------------------------------------------------------------------------------------------- */

/* The stream of a call to a streaming method; NULL for a unary one. */
WEFT_API weft_stream *weft_call_stream(weft_call *call);

/* ---- the client -------------------------------------------------------------------------------------------------- */

/**
 * Begins a streaming call; generated code calls this. Does not wait: what goes wrong with the call is told by
 * weft_stream_finish.
 *
 * @param options may be NULL. `info` is filled by weft_stream_finish.
 * @param request the one request of a server-streaming method; NULL for the other kinds.
 * @return 0; -EINVAL illegal options, metadata or request; -EPERM a reserved metadata key; -EMSGSIZE; -ENOMEM;
 *         -ESHUTDOWN the channel is being freed; -ECHILD after fork. Thread: any; does not block.
 */
WEFT_API int weft_channel_stream(weft_stream **out, weft_channel *channel, const weft_call_options *options,
                                 const weft_method *method, const ProtobufCMessage *request);

/**
 * Half-closes: nothing more will be sent.
 *
 * @return 0, also when it was before; -EAGAIN a send is under way and this thread must not block; -EPIPE the call has
 *         ended. Thread: the sender's; blocks.
 */
WEFT_API int weft_stream_close_send(weft_stream *stream);

/* Ends the call here with CANCELLED; weft_stream_finish must still follow. What has not been received yet may be lost.
 * The status is another one only if it came before the cancel, and OK only if no message is missing. Thread: any. */
WEFT_API void weft_stream_cancel(weft_stream *stream);

/**
 * Has `ready` called once, when the status is there and weft_stream_finish will not block. It is there only after all
 * messages have been received; the response of a client-streaming method this receives itself, for weft_stream_finish.
 *
 * @return as weft_stream_when_readable. Thread: the receiver's.
 */
WEFT_API int weft_stream_when_ended(weft_stream *stream, weft_ready_fn ready, void *arg);

/**
 * Ends the use of a stream: half-closes, receives what is left and drops it (the one response of a client-streaming
 * method it keeps), waits for the status, and frees the stream. Every stream that was begun is finished, once.
 *
 * To leave an endless stream, cancel it first. OK means that all messages of the answer have been received, here or
 * before, also after a cancel, and when the deadline has passed.
 *
 * @param arena    where status texts, info and response are allocated.
 * @param response for a client-streaming method: set when the status is OK. Else NULL.
 * @return the status. On a thread that must not block, before the end: the call is cancelled, and the status CANCELLED
 *         comes at once. Thread: one, after sender and receiver have stopped; blocks.
 */
WEFT_API weft_status weft_stream_finish(weft_stream *stream, weft_arena *arena, ProtobufCMessage **response);

WEFT_END_DECLS
#endif
