/* client/stream.c: a streaming call on the client.
 *
 * Design notes
 * - The transport's call has three parties: the receiver and the sender, each a half of the stream, and the end, which
 *   is a half too. The engine tells the end last, and only after the last message has been received; then it starts
 *   nothing more, so that a stream whose end is done has nothing outstanding.
 * - finish() is the only way out: it receives what is left, so that the status can come, and waits for the end. So when
 *   the stream is freed nothing is outstanding, and no callback follows.
 * - On a thread that must not block, finish cancels and leaves; the completion of the end then frees the stream.
 * - Half-closing is an operation of the seam like a send, and goes through the sender's half.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "call/stream.h"
#include "client/call.h"

typedef struct client_stream {
    weft_stream base;
    weft__client_call call;
    weft__half end;
    weft_code failed; /* the receiver's: of a message that could not be read; WEFT_OK: none */
    const char *failed_text;
    bool closed;       /* the sender's */
    weft_arena *arena; /* of what lives as long as the call: its metadata, and what interceptors keep */
} client_stream;

static client_stream *from_base(weft_stream *base)
{
    return WEFT__CONTAINER_OF(base, client_stream, base);
}

static weft__ccall *transport_of(weft_stream *base)
{
    return from_base(base)->call.transport;
}

/* ---- what the stream asks of the call ---------------------------------------------------------------------------- */

static int start_recv(weft_stream *base, weft__op *op)
{
    weft__ccall *transport = transport_of(base);
    return transport->vtable->recv(transport, op);
}

static void take(weft_stream *base, weft__rx *out)
{
    weft__ccall *transport = transport_of(base);
    transport->vtable->take(transport, out);
}

static int start_send(weft_stream *base, weft__tx *message, weft__op *op)
{
    weft__ccall *transport = transport_of(base);
    if (from_base(base)->closed)
        return -EPIPE;
    return transport->vtable->send(transport, message, false, op);
}

static void stalled(weft_stream *base)
{
    weft__ccall *transport = transport_of(base);
    transport->vtable->cancel(transport, WEFT_CANCELLED, "the server takes nothing");
}

static int over(weft_stream *base, int result)
{
    (void)base;
    (void)result;
    return 0; /* finish tells how it ended */
}

static void fail(weft_stream *base, weft_code code, const char *text)
{
    weft__ccall *transport = transport_of(base);
    client_stream *stream = from_base(base);
    stream->failed = code;
    stream->failed_text = text;
    transport->vtable->cancel(transport, code, text); /* too late if it was the last message: see status_of */
}

static int broken(weft_stream *base)
{
    (void)base;
    return -EPIPE;
}

static const weft__stream_vtable vtable = {
    .recv = start_recv,
    .take = take,
    .send = start_send,
    .stalled = stalled,
    .over = over,
    .fail = fail,
    .broken = broken,
};

/* ---- beginning --------------------------------------------------------------------------------------------------- */

static void unmake(client_stream *stream)
{
    weft_arena_free(stream->arena);
    weft__half_fini(&stream->end);
    weft__stream_fini(&stream->base);
    free(stream);
}

/* Frees a stream that its user has finished with, at its end. */
static void let_go(void *owner)
{
    client_stream *stream = owner;
    if (weft__half_follow(&stream->end))
        return; /* it goes on from here */
    weft__client_call_end(&stream->call, NULL);
    unmake(stream);
}

/* An object with nothing begun: 0; -errno. */
static int make(client_stream **out, weft_channel *channel, const weft_method *method)
{
    client_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL)
        return -ENOMEM;
    stream->call.hooks.engine = channel->engine;
    int rc = weft__stream_init(&stream->base, &vtable, &stream->call.hooks, channel->options.loop, NULL, NULL);
    if (rc < 0)
        goto fail_stream;
    rc = weft__half_init(&stream->end, channel->engine, channel->options.loop, let_go, stream);
    if (rc < 0)
        goto fail_end;
    rc = weft_arena_new(&stream->arena, (size_t)channel->options.max_call_bytes);
    if (rc < 0)
        goto fail_arena;
    stream->base.bad_code = WEFT_INTERNAL;
    stream->base.guard = &channel->guard;
    stream->base.stall_ms = channel->options.send_stall_ms;
    stream->base.scratch_bytes = (size_t)channel->options.max_call_bytes;
    weft__stream_reset(&stream->base, method->response, method->request);
    *out = stream;
    return 0;

fail_arena:
    weft__half_fini(&stream->end);
fail_end:
    weft__stream_fini(&stream->base);
fail_stream:
    free(stream);
    return rc;
}

static int check(const weft_method *method, const ProtobufCMessage *request)
{
    if (method->kind == WEFT_UNARY || (method->kind == WEFT_SERVER_STREAM) != (request != NULL))
        return -EINVAL;
    return request != NULL && request->descriptor != method->request ? -EINVAL : 0;
}

static int start(client_stream *stream, const ProtobufCMessage *request)
{
    weft__ccall *transport = stream->call.transport;
    weft__tx message;
    int rc = request != NULL ? weft__client_call_pack(&stream->call, request, &message) : 0;
    if (rc < 0)
        return rc;
    weft__call_args args = weft__client_call_args(&stream->call, request != NULL ? &message : NULL, request != NULL);
    stream->base.gzip = stream->call.gzip;
    weft__half_begin(&stream->end);
    rc = transport->vtable->start(transport, &args, &stream->end.op);
    if (rc < 0 && request != NULL)
        stream->base.engine->vtable->tx_unref(&message);
    return rc;
}

int weft_channel_stream(weft_stream **out, weft_channel *channel, const weft_call_options *options,
                        const weft_method *method, const ProtobufCMessage *request)
{
    weft_call_options o;
    client_stream *stream = NULL;
    const char *reason;
    int rc = weft__client_options(&o, channel, options, &reason);
    if (rc == 0)
        rc = check(method, request);
    if (rc == 0)
        rc = make(&stream, channel, method);
    if (rc != 0)
        return rc;
    stream->closed = request != NULL;
    rc = weft__client_call_begin(&stream->call, channel, method, &o, stream->arena, true);
    if (rc < 0)
        goto fail;
    stream->base.max_message_bytes = stream->call.max_response_bytes;
    stream->base.max_send_bytes = stream->call.max_request_bytes;
    rc = start(stream, request);
    if (rc == 0) {
        *out = &stream->base;
        return 0;
    }
    const weft_status status = weft__client_failed(rc);
    weft__client_call_ended(&stream->call, &status);
    weft__client_call_end(&stream->call, NULL);
fail:
    unmake(stream);
    return rc;
}

/* ---- ending ------------------------------------------------------------------------------------------------------ */

int weft_stream_close_send(weft_stream *base)
{
    client_stream *stream = from_base(base);
    weft__ccall *transport = stream->call.transport;
    if (stream->closed)
        return 0;
    int rc = weft__stream_flush(base);
    if (rc < 0)
        return rc;
    stream->closed = true;
    weft__half_begin(&base->out);
    if (transport->vtable->half_close(transport, &base->out.op) == 0)
        return 0;
    weft__half_abandon(&base->out);
    return -EPIPE;
}

void weft_stream_cancel(weft_stream *base)
{
    weft__ccall *transport = transport_of(base);
    transport->vtable->cancel(transport, WEFT_CANCELLED, "cancelled by the caller");
}

int weft_stream_when_ended(weft_stream *base, weft_ready_fn ready, void *arg)
{
    if (from_base(base)->call.method->kind == WEFT_CLIENT_STREAM) /* else who would receive the response? */
        (void)weft__stream_begin_recv(base);
    return weft__half_tell(&from_base(base)->end, ready, arg);
}

/* Waits for a message: 1; 0 no more; -errno nothing can be waited for. */
static int next_message(weft_stream *base, weft__rx *out)
{
    (void)weft__stream_begin_recv(base);
    if (base->in_over)
        return 0;
    int rc = weft__half_wait(&base->in, INT64_MAX);
    if (rc < 0)
        return rc;
    (void)weft__half_reap(&base->in);
    base->vtable->take(base, out);
    base->in_over = out->impl == NULL;
    return out->impl != NULL;
}

/* Receives what is left, until the status is there; the first message is the response of a client-streaming call.
 * @return how many came; -errno the status cannot be waited for. */
static int drain(client_stream *stream, weft__rx *response)
{
    weft_stream *base = &stream->base;
    weft__rx rx;
    int messages = 0;
    int rc;
    (void)weft_stream_close_send(base);
    while ((rc = next_message(base, &rx)) > 0) {
        if (messages < 2)
            messages++;
        if (messages == 1)
            *response = rx;
        else
            base->engine->vtable->rx_release(&rx);
    }
    if (rc == 0)
        rc = weft__half_wait(&stream->end, INT64_MAX);
    return rc < 0 ? rc : messages;
}

static weft_status status_of(client_stream *stream, weft_arena *arena, weft__rx *response, int messages,
                             ProtobufCMessage **out)
{
    weft_status status = weft__client_call_finish(&stream->call, arena, response, messages < 2 ? out : NULL);
    if (status.code != WEFT_OK)
        return status;
    if (messages == 2 && out != NULL)
        return weft__client_local_status(WEFT__CARDINALITY_VIOLATION,
                                         "the server answered with more than one response");
    if (stream->failed == WEFT_OK)
        return status;
    const char *text = weft_arena_strdup(arena, stream->failed_text);
    return weft__client_local_status(stream->failed, text != NULL ? text : "a message could not be read");
}

weft_status weft_stream_finish(weft_stream *base, weft_arena *arena, ProtobufCMessage **response)
{
    client_stream *stream = from_base(base);
    weft__rx last = {.impl = NULL};
    weft_status status;
    int messages = 0;
    bool over = weft__half_done(&stream->end);
    if (!over && weft__thread_is_loop()) {
        weft_stream_cancel(base);
        status = weft__client_local_status(WEFT_CANCELLED, "finished before the end");
        weft__client_call_ended(&stream->call, &status);
    } else {
        if (!over)
            messages = drain(stream, &last);
        else if (weft__half_done(&base->in)) /* received and not taken: by when_ended, the response */
            messages = next_message(base, &last);
        if (messages < 0) { /* a stepped engine in which nothing can happen any more */
            weft_stream_cancel(base);
            (void)weft__half_wait(&stream->end, INT64_MAX);
        }
        status = status_of(stream, arena, &last, messages, response);
    }
    let_go(stream);
    return status;
}
