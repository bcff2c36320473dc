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
    weft_call hooks; /* the call as interceptors see it */
    int64_t deadline_ns;
    const weft_metadatum *metadata; /* to send: the caller's, and what interceptors added */
    size_t metadata_count;
    bool gzip; /* compresses what it sends */
    bool wait_for_ready;
    uint64_t hash;              /* for pickers; 0: none */
    int64_t max_request_bytes;  /* by the service config; INT64_MAX: none */
    int64_t max_response_bytes; /* by the channel and the service config */
    weft__running running;      /* in the channel */
    weft__child child;          /* of the call it is made for */
    weft_call_info *info;       /* to fill; or NULL */
    bool ended;                 /* interceptors and observers have been told */
} weft__client_call;

/* Copies and checks the caller's options. 0; -EINVAL, -E2BIG, -EPERM (a reserved metadata key), -ECHILD; `reason` is a
 * static text then. */
int weft__client_options(weft_call_options *out, const weft_channel *channel, const weft_call_options *options,
                         const char **reason);

/* Makes the transport's call, known to channel and parent, which may cancel it from now on, and runs interceptors; what
 * one of them refuses is cancelled, too. 0; -ESHUTDOWN; -ENOMEM. What begins well ends with weft__client_call_end.
 *
 * @param arena where interceptors keep what the call lives by; outlives the call.
 * @param keep_metadata copies the caller's metadata into the arena, for calls that outlive their function. */
int weft__client_call_begin(weft__client_call *call, weft_channel *channel, const weft_method *method,
                            const weft_call_options *options, weft_arena *arena, bool keep_metadata);

/* What the transport's call starts with. */
weft__call_args weft__client_call_args(const weft__client_call *call, weft__tx *message, bool half_close);

/* Packs the one request of a unary or server-streaming call: 0; -EMSGSIZE; -ENOMEM. Interceptors see it; what they
 * refuse is cancelled. */
int weft__client_call_pack(weft__client_call *call, const ProtobufCMessage *request, weft__tx *out);

/* Tells interceptors and observers how the call ended, once; weft__client_call_finish does it, too. */
void weft__client_call_ended(weft__client_call *call, const weft_status *status);

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

/* Lets go of parent, transport and channel, which may be gone afterwards. `then` is as for weft__channel_leave. */
void weft__client_call_end(weft__client_call *call, weft__job *then);

#endif
