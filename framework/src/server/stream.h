/* server/stream.h: the stream of a call on the server. */
#ifndef WEFT_SERVER_STREAM_H
#define WEFT_SERVER_STREAM_H

#include "call/call.h"
#include "call/stream.h"

typedef struct weft__server_stream {
    weft_stream base;
    weft_call *call;
    weft_code failed; /* of a message that could not be read; WEFT_OK: none */
    const char *failed_text;
} weft__server_stream;

/* Sets up the stream that lies beside a call object, and call->stream. `after_flush` gets the half that
 * weft__server_stream_call knows. 0; -errno. */
int weft__server_stream_init(weft__server_stream *stream, weft_call *call, void (*after_flush)(weft__half *half));
void weft__server_stream_fini(weft__server_stream *stream);

/* A call to a streaming method begins; it has ended. */
void weft__server_stream_reset(weft_call *call);
void weft__server_stream_ended(weft__server_stream *stream);

weft_call *weft__server_stream_call(weft__half *out);

/* What the call ends with when its handler said `code`: a message that could not be read counts for more than OK. */
weft_code weft__server_stream_outcome(weft_call *call, weft_code code);

/* Lets the last message go: waits for it where a handler returns that may block; whoever answers a deferred call does
 * not wait. true: it is still under way, and after_flush will be called. */
bool weft__server_stream_flush(weft_call *call);

#endif
