/* server/stream.c: what a stream on the server does with its call. */
#include "server/stream.h"

#include <errno.h>

#include "server/server.h"

static weft__server_stream *from_base(weft_stream *base)
{
    return WEFT__CONTAINER_OF(base, weft__server_stream, base);
}

static weft__scall *transport_of(weft_stream *base)
{
    return base->call->transport;
}

static int start_recv(weft_stream *base, weft__op *op)
{
    weft__scall *transport = transport_of(base);
    return transport->vtable->recv(transport, op);
}

static void take(weft_stream *base, weft__rx *out)
{
    weft__scall *transport = transport_of(base);
    transport->vtable->take(transport, out);
}

static int start_send(weft_stream *base, weft__tx *message, weft__op *op)
{
    weft_call *call = base->call;
    const weft__send send = {
        .headers = call->response_headers.items,
        .header_count = call->response_headers.count,
        .message = message,
        .gzip = base->gzip,
    };
    int rc = call->transport->vtable->send(call->transport, &send, op);
    call->sent_headers = call->sent_headers || rc == 0;
    return rc;
}

static void stalled(weft_stream *base)
{
    weft_call *call = base->call;
    weft_log_warn(call->log, "a stream's peer takes nothing: cancelled",
                  WEFT_FIELDS(WEFT_STR("grpc.method", call->path), WEFT_INT("send_stall_ms", base->stall_ms)));
    weft__call_cancelled(call, WEFT_CANCELLED_BY_STALL);
    call->transport->vtable->abort(call->transport);
}

/* A stream that is not watched learns by this that its call is cancelled. */
static int broken(weft_stream *base)
{
    weft_call *call = base->call;
    weft__server_call_cancelled(call);
    weft_cancel_cause cause = weft_call_cancel_cause(call);
    return cause == WEFT_CANCELLED_BY_DEADLINE || cause == WEFT_CANCELLED_BY_STALL ? -ETIMEDOUT : -ECANCELED;
}

static int over(weft_stream *base, int result)
{
    weft_call *call = base->call;
    if (result < 0)
        return broken(base);
    if (call->deferred) /* no receive will tell of a cancel any more */
        (void)weft__call_watch(call);
    return 0;
}

static void fail(weft_stream *base, weft_code code, const char *text)
{
    from_base(base)->failed = code;
    from_base(base)->failed_text = text;
}

#ifndef NDEBUG
static bool misused(const weft_stream *base, const char *function)
{
    return weft__call_misused(base->call, function);
}
#endif

static const weft__stream_vtable vtable = {
    .recv = start_recv,
    .take = take,
    .send = start_send,
    .stalled = stalled,
    .over = over,
    .fail = fail,
    .broken = broken,
#ifndef NDEBUG
    .misused = misused,
#endif
};

int weft__server_stream_init(weft__server_stream *stream, weft_call *call, void (*after_flush)(void *call))
{
    call->stream = &stream->base;
    stream->base.bad_code = WEFT_INVALID_ARGUMENT;
    stream->base.guard = &call->server->guard;
    stream->base.stall_ms = call->server->options.send_stall_ms;
    stream->base.scratch_bytes = (size_t)call->server->options.max_call_bytes;
    return weft__stream_init(&stream->base, &vtable, call, call->server->options.loop, after_flush, call);
}

void weft__server_stream_fini(weft__server_stream *stream)
{
    weft__stream_fini(&stream->base);
}

void weft__server_stream_reset(weft_call *call)
{
    weft__server_stream *stream = from_base(call->stream);
    const weft_method *method = call->method->method;
    stream->failed = WEFT_OK;
    weft__stream_reset(&stream->base, method->request, method->response);
    stream->base.max_message_bytes = call->method->transport.max_message_bytes;
    stream->base.in_over = method->kind == WEFT_SERVER_STREAM; /* its one request came with the call */
}

void weft__server_stream_ended(weft__server_stream *stream)
{
    if (stream->base.scratch != NULL)
        weft_arena_reset(stream->base.scratch);
}

weft_code weft__server_stream_outcome(weft_call *call, weft_code code)
{
    const weft__server_stream *stream = from_base(call->stream);
    if (stream->failed == WEFT_OK)
        return code;
    if (call->has_response)
        call->engine->vtable->tx_unref(&call->response);
    call->has_response = false;
    return weft_fail(call, stream->failed, "%s", stream->failed_text);
}

bool weft__server_stream_flush(weft_call *call, bool wait)
{
    if (wait && weft__stream_flush(call->stream) != -EAGAIN)
        return false;
    return weft__half_follow(&call->stream->out);
}

weft_stream *weft_call_stream(weft_call *call)
{
    return call->method != NULL && call->method->method->kind != WEFT_UNARY ? call->stream : NULL;
}
