/* call/stream.h: a stream as both sides share it: server/stream.c and client/stream.c give it a vtable. */
#ifndef WEFT_CALL_STREAM_H
#define WEFT_CALL_STREAM_H

#include <stdatomic.h>

#include <weft/stream.h>

#include "base/event.h"
#include "base/list.h"
#include "call/guard.h"
#include "call/loop.h"
#include "transport/transport.h"

/* One direction of a stream, or the end of one: at most one operation of the seam at a time. See stream.c. */
typedef struct weft__half {
    weft__op op;
    weft_engine *engine;
    weft__event done;        /* for who waits */
    atomic_uint state;       /* bits: see stream.c */
    atomic_bool interrupted; /* nobody is to wait for it any more */
    int result;              /* of the operation, once it is done */
    weft_loop *loop;         /* where it is told; NULL: on the engine's thread */
    weft_ready_fn ready;     /* who is told */
    void *arg;
    void (*after)(void *owner); /* called when an operation is done that weft__half_follow was asked for */
    void *owner;
} weft__half;

/* 0, or -errno of the event. */
int weft__half_init(weft__half *half, weft_engine *engine, weft_loop *loop, void (*after)(void *owner), void *owner);
void weft__half_fini(weft__half *half);

/* Before an operation starts with &half->op, which nothing is under way of; and when it did not start. */
void weft__half_begin(weft__half *half);
void weft__half_abandon(weft__half *half);

bool weft__half_idle(const weft__half *half);
bool weft__half_done(const weft__half *half); /* and not reaped */

/* Waits until the operation is done: 0; -ETIMEDOUT; -EDEADLK; -EINTR it was interrupted. */
int weft__half_wait(weft__half *half, int64_t deadline_ns);

/* Ends the wait that is under way, and every further one; the operation goes on. On the receiving half: every receive
 * returns -ECANCELED. Thread: any, while the half's user does not leave. */
void weft__half_interrupt(weft__half *half);

/* Makes it idle again: the result of the operation that is done. */
int weft__half_reap(weft__half *half);

/* As weft_stream_when_readable, for an operation that is under way or done. */
int weft__half_tell(weft__half *half, weft_ready_fn ready, void *arg);

/* Has `after` called when the operation is done: true; false: none is under way. */
bool weft__half_follow(weft__half *half);

typedef struct weft__stream_vtable {
    int (*recv)(weft_stream *stream, weft__op *op);
    void (*take)(weft_stream *stream, weft__rx *out);
    int (*send)(weft_stream *stream, weft__tx *message, weft__op *op);
    /* The peer has taken nothing for too long: what is under way must complete soon. */
    void (*stalled)(weft_stream *stream);
    /* A receive has brought no message: 0 there are no more, or -errno. */
    int (*over)(weft_stream *stream, int result);
    /* A message cannot be read, or was refused by an interceptor: the call fails. `text` lives as long as the
     * stream. */
    void (*fail)(weft_stream *stream, weft_code code, const char *text);
    /* Why nothing can be sent any more: -errno. */
    int (*broken)(weft_stream *stream);
#ifndef NDEBUG
    bool (*misused)(const weft_stream *stream, const char *function); /* as weft__call_misused; or NULL */
#endif
} weft__stream_vtable;

struct weft_stream {
    const weft__stream_vtable *vtable;
    weft_call *call;
    weft_engine *engine;
    const weft__guard_limits *guard;
    const ProtobufCMessageDescriptor *receives;
    const ProtobufCMessageDescriptor *sends;
    weft_code bad_code; /* what bytes that are no message make of the call */
    int64_t stall_ms;
    size_t scratch_bytes;      /* the most that a received message may need */
    int64_t max_message_bytes; /* of one received; the engine may let larger ones pass. INT64_MAX: none */

    weft__half in; /* the receiver's, as is what follows */
    weft_arena *scratch;
    bool in_over;
    bool in_compressed; /* the message received last came so */
    int in_error;
    weft__guard_error bad;

    weft__half out; /* the sender's, as is what follows */
    int out_error;
    bool gzip;              /* messages are compressed */
    int64_t max_send_bytes; /* of one sent, not compressed. INT64_MAX: none but gRPC's own */
};

/* Sets up what lasts as long as the object, which may carry one stream after another. `after` and `owner` are those of
 * both halves. 0; -errno. */
int weft__stream_init(weft_stream *stream, const weft__stream_vtable *vtable, weft_call *call, weft_loop *loop,
                      void (*after)(void *owner), void *owner);
void weft__stream_fini(weft_stream *stream);

/* Makes it ready for a call, which does not compress. */
void weft__stream_reset(weft_stream *stream, const ProtobufCMessageDescriptor *receives,
                        const ProtobufCMessageDescriptor *sends);

/* Starts a receive unless one is under way, or done, or the input is over: 0; what it is over with. */
int weft__stream_begin_recv(weft_stream *stream);

/* Bytes that a packed message takes. */
int64_t weft__packed_bytes(const weft_packed *packed);

/* Waits until nothing is being sent: 0; -errno nothing can be sent any more; -EAGAIN. */
int weft__stream_flush(weft_stream *stream);

/* Sends bytes, which the stream owns from now on in any case (NULL: headers alone). After a successful flush. */
int weft__stream_send_tx(weft_stream *stream, weft__tx *message);

#endif
