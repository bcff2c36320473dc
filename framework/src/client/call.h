/* client/call.h: what the calls of all kinds share on the client: unary.c (blocking and asynchronous) and stream.c. */
#ifndef WEFT_CLIENT_CALL_H
#define WEFT_CLIENT_CALL_H

#include "call/call.h"
#include "client/channel.h"

/* One call. Lies in the caller's object. */
typedef struct weft__client_call {
    weft_channel *channel;
    const weft_method *method;
    weft__ccall *transport;
    weft__running running; /* in the channel */
    weft__child child;     /* of the call it is made for */
    weft_call_info *info;  /* to fill; or NULL */
} weft__client_call;

/* Copies and checks the caller's options. 0; -EINVAL, -E2BIG, -EPERM (a reserved metadata key), -ECHILD; `reason` is a
 * static text then. */
int weft__client_options(weft_call_options *out, const weft_channel *channel, const weft_call_options *options,
                         const char **reason);

/* The earliest of the call's own timeout (or the channel's, for a call without a parent) and the parent's deadline. */
int64_t weft__client_deadline(const weft_channel *channel, const weft_call_options *options);

/* Whether the call compresses what it sends. */
bool weft__client_gzip(const weft_channel *channel, const weft_call_options *options);

/* Makes the transport's call, known to channel and parent, which may cancel it from now on. 0; -ESHUTDOWN; -ENOMEM.
 * What begins well ends with weft__client_call_end. */
int weft__client_call_begin(weft__client_call *call, weft_channel *channel, const weft_method *method,
                            const weft_call_options *options);

/* The code for a message that weft__message_unpack could not read, by its result. */
weft_code weft__client_bad_response(int rc);

/* What a call that is not begun, or not started, ends with. */
weft_status weft__client_local_status(weft_code code, const char *message);
weft_status weft__client_failed(int rc);

/**
 * How the call ended, once its end has been told. Texts, info and response are allocated in the arena.
 *
 * @param streamed the response of a client-streaming call; NULL for other kinds. It is released.
 * @param response for a method with one response; else NULL.
 */
weft_status weft__client_call_finish(weft__client_call *call, weft_arena *arena, weft__rx *streamed,
                                     ProtobufCMessage **response);

/* Lets go of parent, transport and channel, which may be gone afterwards. */
void weft__client_call_end(weft__client_call *call);

#endif
