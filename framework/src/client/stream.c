/* client/stream.c: a streaming call on the client.
 *
 * Design notes
 * - The transport's call has three parties: the receiver and the sender, each a half of the stream, and the end, which
 *   is a half too. The engine tells the end last, and only after the last message has been received.
 * - finish() is the only way out: it receives what is left, so that the status can come, and waits for the end. On a
 *   thread that must not block it cancels instead.
 * - Something may still be under way then: the end, after that cancel; a receive that began when the end had been told.
 *   So the stream is freed by the last of these, or by finish when there are none.
 * - Half-closing is an operation of the seam like a send, and goes through the sender's half.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "call/message.h"
#include "call/stream.h"
#include "client/call.h"

typedef struct client_stream {
    weft_stream base;
    weft__client_call call;
    weft__half end;
    weft_code failed; /* the receiver's: of a message that could not be read; WEFT_OK: none */
    const char *failed_text;
    bool closed;       /* the sender's */
    weft_arena *arena; /* of the metadata that are sent */
    atomic_int parts;  /* of a stream that is left: what is still under way */
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

static void bad_message(weft_stream *base, int rc, const char *text)
{
    weft__ccall *transport = transport_of(base);
    client_stream *stream = from_base(base);
    stream->failed = rc == -EBADMSG ? WEFT_INTERNAL : WEFT_RESOURCE_EXHAUSTED;
    stream->failed_text = text;
    transport->vtable->cancel(transport, stream->failed, text); /* too late if it was the last message: see status_of */
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
    .bad_message = bad_message,
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

/* One part less of a stream that is left: the last one frees it. */
static void part(void *owner)
{
    client_stream *stream = owner;
    if (atomic_fetch_sub_explicit(&stream->parts, 1, memory_order_acq_rel) > 1)
        return;
    weft__client_call_end(&stream->call, NULL);
    unmake(stream);
}

/* Nobody uses the stream any more. */
static void leave(client_stream *stream)
{
    weft__half *const halves[] = {&stream->base.in, &stream->base.out, &stream->end};
    const int count = (int)(sizeof halves / sizeof *halves);
    atomic_store_explicit(&stream->parts, count + 1, memory_order_relaxed);
    for (int i = 0; i < count; i++)
        if (!weft__half_follow(halves[i]))
            part(stream);
    part(stream);
}

/* An object with nothing begun: 0; -errno. */
static int make(client_stream **out, weft_channel *channel, const weft_method *method)
{
    client_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL)
        return -ENOMEM;
    int rc = weft__stream_init(&stream->base, &vtable, channel->engine, channel->options.loop, part, stream);
    if (rc < 0)
        goto fail_stream;
    rc = weft__half_init(&stream->end, channel->engine, channel->options.loop, part, stream);
    if (rc < 0)
        goto fail_end;
    stream->base.guard = &channel->guard;
    stream->base.stall_ms = channel->options.send_stall_ms;
    stream->base.scratch_bytes = (size_t)channel->options.max_call_bytes;
    weft__stream_reset(&stream->base, method->response, method->request);
    *out = stream;
    return 0;

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

/* Copies the metadata, which must live as long as the call. 0; -ENOMEM. */
static int copy_metadata(client_stream *stream, weft_call_options *options)
{
    weft__pairs pairs = {NULL, 0, 0};
    int rc = options->metadata_count > 0 ? weft_arena_new(&stream->arena, 0) : 0;
    for (size_t i = 0; rc == 0 && i < options->metadata_count; i++)
        rc = weft__pairs_add(stream->arena, &pairs, options->metadata[i].key, options->metadata[i].value);
    options->metadata = pairs.items;
    return rc;
}

static int start(client_stream *stream, const weft_call_options *options, const ProtobufCMessage *request)
{
    weft_channel *channel = stream->call.channel;
    weft__ccall *transport = stream->call.transport;
    weft__tx message;
    int rc = request != NULL ? weft__message_pack(channel->engine, request, &message) : 0;
    if (rc < 0)
        return rc;
    weft__call_args args = {
        .method = stream->call.method,
        .deadline_ns = weft__client_deadline(channel, options),
        .metadata = options->metadata,
        .metadata_count = options->metadata_count,
        .message = request != NULL ? &message : NULL,
        .half_close = request != NULL,
        .wait_for_ready = options->wait_for_ready,
    };
    weft__half_begin(&stream->end);
    rc = transport->vtable->start(transport, &args, &stream->end.op);
    if (rc < 0 && request != NULL)
        channel->engine->vtable->tx_unref(&message);
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
    rc = copy_metadata(stream, &o);
    if (rc < 0)
        goto fail;
    rc = weft__client_call_begin(&stream->call, channel, method, &o);
    if (rc < 0)
        goto fail;
    rc = start(stream, &o, request);
    if (rc == 0) {
        *out = &stream->base;
        return 0;
    }
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
        return weft__client_local_status(WEFT_INTERNAL, "the server answered with more than one response");
    if (stream->failed == WEFT_OK)
        return status;
    const char *text = weft_arena_strdup(arena, stream->failed_text);
    return weft__client_local_status(stream->failed, text != NULL ? text : "a message could not be read");
}

weft_status weft_stream_finish(weft_stream *base, weft_arena *arena, ProtobufCMessage **response)
{
    client_stream *stream = from_base(base);
    weft__rx last = {.impl = NULL};
    int messages = 0;
    bool ended = weft__half_done(&stream->end);
    if (!ended && weft__thread_is_loop()) {
        weft_stream_cancel(base);
        leave(stream);
        return weft__client_local_status(WEFT_CANCELLED, "finished before the end");
    }
    if (!ended)
        messages = drain(stream, &last);
    else if (weft__half_done(&base->in)) /* received and not taken: by when_ended, the response */
        messages = next_message(base, &last);
    if (messages < 0) { /* a stepped engine in which nothing can happen any more */
        weft_stream_cancel(base);
        (void)weft__half_wait(&stream->end, INT64_MAX);
    }
    weft_status status = status_of(stream, arena, &last, messages, response);
    leave(stream);
    return status;
}
