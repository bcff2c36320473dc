/* server/stream.h: the stream of a call on the server. */
#ifndef WEFT_SERVER_STREAM_H
#define WEFT_SERVER_STREAM_H

#include "call/call.h"
#include "call/stream.h"

typedef struct weft__server_stream {
    weft_stream base;
    weft_code failed; /* of a message that was refused; WEFT_OK: none */
    const char *failed_text;
} weft__server_stream;

/* Sets up the stream that lies beside a call object, and call->stream. `after_flush` gets the call. 0; -errno. */
int weft__server_stream_init(weft__server_stream *stream, weft_call *call, void (*after_flush)(void *call));
void weft__server_stream_fini(weft__server_stream *stream);

/* A call to a streaming method begins; it has ended. */
void weft__server_stream_reset(weft_call *call);
void weft__server_stream_ended(weft__server_stream *stream);

/* What the call ends with when its handler said `code`: a message that was refused counts for more than OK. */
weft_code weft__server_stream_outcome(weft_call *call, weft_code code);

/* Lets the last message go; `wait`: waits for it where the thread may block. true: it is still under way, and
 * after_flush will be called. */
bool weft__server_stream_flush(weft_call *call, bool wait);

#endif
