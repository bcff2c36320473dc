/*
 * bench-stream-weft: bench.Streamer on Weft over its engine on gRPC core, written in the two ways that Weft has.
 *
 * worker: a handler is a loop, on a worker of its own.
 * inline: a handler defers and is called when its stream can go on, all on the engine's thread.
 */
#include <errno.h>
#include <string.h>

#include <weft/weft.h>

#include "stream.weft.h"
#include "weft_server.h"

enum {
    WORKERS = 128
};

/* ---- what both ways share ---------------------------------------------------------------------------------------- */

/* A message to send again and again, in the call's arena: 0; -ENOMEM. */
static int make_chunk(weft_call *call, size_t size, Bench__Chunk *out)
{
    bench__chunk__init(out);
    out->data.len = size;
    out->data.data = weft_arena_alloc(weft_call_arena(call), size);
    if (out->data.data == NULL)
        return -ENOMEM;
    memset(out->data.data, 'w', size);
    return 0;
}

static void number(const Bench__Chunk *chunk, uint32_t number)
{
    if (chunk->data.len > 0)
        chunk->data.data[chunk->data.len - 1] = (uint8_t)number;
}

static void sum_up(Bench__SinkSummary *summary, const Bench__Chunk *chunk)
{
    summary->messages++;
    summary->bytes += chunk->data.len;
    if (chunk->data.len > 0)
        summary->sum += chunk->data.data[chunk->data.len - 1];
}

/* ---- on workers -------------------------------------------------------------------------------------------------- */

static weft_code echo_loop(weft_call *call, bench_Streamer_Echo_server *stream, void *self)
{
    Bench__Chunk *chunk;
    int rc;
    (void)self;
    while ((rc = bench_Streamer_Echo_server_recv(stream, &chunk)) > 0)
        if ((rc = bench_Streamer_Echo_server_send(stream, chunk)) < 0)
            break;
    return rc < 0 ? weft_fail_errno(call, rc) : WEFT_OK;
}

static weft_code source_loop(weft_call *call, const Bench__SourceRequest *request, bench_Streamer_Source_server *stream,
                             void *self)
{
    Bench__Chunk chunk;
    (void)self;
    int rc = make_chunk(call, request->size, &chunk);
    for (uint32_t i = 0; rc == 0 && i < request->count; i++) {
        number(&chunk, i);
        rc = bench_Streamer_Source_server_send(stream, &chunk);
    }
    return rc < 0 ? weft_fail_errno(call, rc) : WEFT_OK;
}

static weft_code sink_loop(weft_call *call, bench_Streamer_Sink_server *stream, Bench__SinkSummary *summary, void *self)
{
    Bench__Chunk *chunk;
    int rc;
    (void)self;
    while ((rc = bench_Streamer_Sink_server_recv(stream, &chunk)) > 0)
        sum_up(summary, chunk);
    return rc < 0 ? weft_fail_errno(call, rc) : WEFT_OK;
}

static const bench_Streamer_ops loops = {.Echo = echo_loop, .Source = source_loop, .Sink = sink_loop};

/* ---- inline ------------------------------------------------------------------------------------------------------ */

/* What the handler of a stream would have as local variables. */
struct state {
    weft_call *call;
    weft_stream *stream;
    Bench__Chunk chunk;          /* Source */
    uint32_t sent;               /* Source */
    uint32_t count;              /* Source */
    ProtobufCMessage *held;      /* Echo: received and not sent yet */
    Bench__SinkSummary *summary; /* Sink */
};

static void finish(const struct state *state, int rc, const ProtobufCMessage *response)
{
    weft_call_finish(state->call, rc < 0 ? weft_fail_errno(state->call, rc) : WEFT_OK, rc < 0 ? NULL : response);
}

/* After -EAGAIN: true: `go_on` will be called; false: it was just about to be. */
static bool waits_to_receive(struct state *state, weft_ready_fn go_on)
{
    return weft_stream_when_readable(state->stream, go_on, state) == 0;
}

static bool waits_to_send(struct state *state, weft_ready_fn go_on)
{
    return weft_stream_when_writable(state->stream, go_on, state) == 0;
}

static void echo_on(void *arg)
{
    struct state *state = arg;
    for (;;) {
        bool sends = state->held != NULL;
        int rc = sends ? weft_stream_send(state->stream, state->held) : weft_stream_recv(state->stream, &state->held);
        if (rc == -EAGAIN && (sends ? waits_to_send(state, echo_on) : waits_to_receive(state, echo_on)))
            return;
        if (rc == -EAGAIN)
            continue;
        if (rc < 0 || (rc == 0 && !sends)) {
            finish(state, rc, NULL);
            return;
        }
        if (sends)
            state->held = NULL;
    }
}

static void source_on(void *arg)
{
    struct state *state = arg;
    int rc = 0;
    while (rc == 0 && state->sent < state->count) {
        number(&state->chunk, state->sent);
        rc = weft_stream_send(state->stream, &state->chunk.base);
        if (rc == 0)
            state->sent++;
        if (rc == -EAGAIN && waits_to_send(state, source_on))
            return;
        if (rc == -EAGAIN)
            rc = 0;
    }
    finish(state, rc, NULL);
}

static void sink_on(void *arg)
{
    struct state *state = arg;
    ProtobufCMessage *message;
    int rc;
    do {
        rc = weft_stream_recv(state->stream, &message);
        if (rc > 0)
            sum_up(state->summary, (const Bench__Chunk *)message);
        if (rc == -EAGAIN && waits_to_receive(state, sink_on))
            return;
    } while (rc > 0 || rc == -EAGAIN);
    finish(state, rc, &state->summary->base);
}

static struct state *make_state(weft_call *call)
{
    struct state *state = weft_arena_zalloc(weft_call_arena(call), sizeof *state);
    if (state == NULL)
        return NULL;
    state->call = call;
    state->stream = weft_call_stream(call);
    return state;
}

static weft_code start(struct state *state, weft_ready_fn go_on)
{
    (void)weft_call_defer(state->call);
    go_on(state);
    return WEFT_OK;
}

static weft_code echo_inline(weft_call *call, bench_Streamer_Echo_server *stream, void *self)
{
    struct state *state = make_state(call);
    (void)stream;
    (void)self;
    return state != NULL ? start(state, echo_on) : weft_fail_errno(call, -ENOMEM);
}

static weft_code source_inline(weft_call *call, const Bench__SourceRequest *request,
                               bench_Streamer_Source_server *stream, void *self)
{
    struct state *state = make_state(call);
    (void)stream;
    (void)self;
    if (state == NULL || make_chunk(call, request->size, &state->chunk) < 0)
        return weft_fail_errno(call, -ENOMEM);
    state->count = request->count;
    return start(state, source_on);
}

static weft_code sink_inline(weft_call *call, bench_Streamer_Sink_server *stream, Bench__SinkSummary *summary,
                             void *self)
{
    struct state *state = make_state(call);
    (void)stream;
    (void)self;
    if (state == NULL)
        return weft_fail_errno(call, -ENOMEM);
    state->summary = summary;
    return start(state, sink_on);
}

static const bench_Streamer_ops inlines = {.Echo = echo_inline, .Source = source_inline, .Sink = sink_inline};

/* ---- the program ------------------------------------------------------------------------------------------------- */

static int add_service(weft_server *server, bool run_inline)
{
    static const char *const names[] = {"Echo", "Source", "Sink"};
    enum {
        COUNT = sizeof names / sizeof *names
    };
    weft_method_options methods[COUNT];
    weft_service_options service = WEFT_SERVICE_OPTIONS_INIT;
    for (size_t i = 0; i < COUNT; i++) {
        methods[i] = (weft_method_options)WEFT_METHOD_OPTIONS_INIT;
        methods[i].method = names[i];
        methods[i].run_inline = run_inline;
    }
    service.methods = methods;
    service.method_count = COUNT;
    return bench_Streamer_register(server, run_inline ? &inlines : &loops, NULL, &service);
}

int main(int argc, char **argv)
{
    static const bench_weft_server program = {"bench-stream-weft", WORKERS, add_service};
    return bench_weft_server_main(&program, argc, argv);
}
