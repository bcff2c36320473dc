/* dispatch.c: the life of one call on the server.
 *
 *                      ┌── refused (unknown, draining, over a limit) ───────────────────┐
 *   begin ─────────────┤                                                                ▼
 *   (loop thread)      ├── inline method ──────────────▶ run ──▶ handler ──returned──▶ answer ──▶ ended
 *                      └── queue ──▶ worker ──▶ run ─────┘ │        │                    ▲
 *                                                          │        └── deferred ········┤ weft_call_finish,
 *                                                          └── expired, cancelled ──────┘ any thread
 *
 * Design notes
 * - The thread that holds the call is: the loop thread in begin; then the worker; then whoever calls weft_call_finish.
 *   Only `cancelled` may come beside it, and touches only the cancelled flag, the children, and what
 *   weft_call_when_cancelled left.
 * - answer() hands the call to the engine, which may end and reuse it on another thread before answer() returns:
 *   nothing touches the call after that.
 * - A deferred call is answered by the later of two parties, the returning handler and weft_call_finish, because either
 *   may be the last that touches the call: each sets its bit in `handover`, and who finds the other's bit set answers.
 * - The request's bytes are released as soon as they are unpacked; what the handler sees lies in the arena.
 * - Nothing here takes a lock but the pool's: inline calls of different connections share only the counters.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/thread.h"
#include "call/loop.h"
#include "call/message.h"
#include "server/server.h"
#include "server/stream.h"

/* The arena's first block, inside the call object: enough for small messages, so that such calls never touch the heap.
 */
enum {
    FIRST_BLOCK = 4096
};

typedef struct call_state {
    weft_call call;
    weft__server_stream stream;
    _Alignas(max_align_t) char block[FIRST_BLOCK];
} call_state;

/* Bits of weft_call.handover. */
enum {
    HANDLER_RETURNED = 1,
    FINISH_CALLED = 2
};

/* Bits of weft_call.telling. */
enum {
    TOLD_OF = 1,    /* somebody asked by weft_call_when_cancelled */
    TELLS_NONE = 2, /* too late: the time to tell has come */
};

size_t weft__server_call_size(void)
{
    return sizeof(call_state);
}

static void count(atomic_uint_least64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static bool streams(const weft_call *call)
{
    return call->method != NULL && call->method->method->kind != WEFT_UNARY;
}

static bool draining(const weft_server *server)
{
    return atomic_load_explicit(&server->state, memory_order_relaxed) > WEFT__SERVER_SERVING;
}

/* A caller whose deadline has passed resets the call, which may come before the deadline does here: it is rounded up
 * for the wire. */
static const int64_t deadline_slack_ns = 20000000;

void weft__server_call_cancelled(weft_call *call)
{
    weft_cancel_cause cause = WEFT_CANCELLED_BY_PEER;
    if (weft__call_remaining_ns(call) <= deadline_slack_ns)
        cause = WEFT_CANCELLED_BY_DEADLINE;
    else if (atomic_load_explicit(&call->server->cancelling, memory_order_relaxed))
        cause = WEFT_CANCELLED_BY_STOP;
    weft__call_cancelled(call, cause);
}

/* Compresses what is sent, if the peer takes it. */
static void set_gzip(weft_call *call, weft_compression compression)
{
    call->gzip = compression == WEFT_COMPRESSION_GZIP && call->transport->vtable->takes_gzip(call->transport);
    call->stream->gzip = call->gzip;
}

/* ---- what debug builds look after
 * --------------------------------------------------------------------------------------- */

#ifndef NDEBUG

static void defer_begins(weft_call *call)
{
    pthread_mutex_lock(&call->server->deferred_lock);
    weft__list_push_back(&call->server->deferred_calls, &call->deferred_node);
    pthread_mutex_unlock(&call->server->deferred_lock);
}

static void about_to_answer(weft_call *call)
{
    if (call->deferred) {
        pthread_mutex_lock(&call->server->deferred_lock);
        weft__list_remove(&call->deferred_node);
        pthread_mutex_unlock(&call->server->deferred_lock);
    }
    atomic_store_explicit(&call->answered, true, memory_order_relaxed);
}

void weft__server_tell_unfinished(weft_server *server)
{
    pthread_mutex_lock(&server->deferred_lock);
    for (weft__list_node *node = weft__list_first(&server->deferred_calls); node != NULL;
         node = weft__list_next(&server->deferred_calls, node)) {
        weft_call *call = WEFT__CONTAINER_OF(node, weft_call, deferred_node);
        if (!(atomic_load_explicit(&call->handover, memory_order_relaxed) & FINISH_CALLED))
            weft_log_error(server->options.log, "a deferred call was never finished: the server cannot stop",
                           WEFT_FIELDS(WEFT_STR("grpc.method", call->path)));
    }
    pthread_mutex_unlock(&server->deferred_lock);
}

#else

static inline void defer_begins(weft_call *call)
{
    (void)call;
}

static inline void about_to_answer(weft_call *call)
{
    (void)call;
}

void weft__server_tell_unfinished(weft_server *server)
{
    (void)server;
}

#endif

/* ---- answering --------------------------------------------------------------------------------------------------- */

/* A stream does not hold a worker any more. */
static void release_worker(weft_call *call)
{
    if (call->holds_worker)
        atomic_fetch_sub_explicit(&call->server->worker_streams, 1, memory_order_relaxed);
    call->holds_worker = false;
}

/* Gives back what the call held of the server's limits: before its caller knows the answer, and makes the next one. */
static void leave(weft_server *server, weft_call *call)
{
    release_worker(call);
    atomic_fetch_sub_explicit(&server->calls, 1, memory_order_relaxed);
    if (call->method != NULL && call->method->max_concurrent_calls != INT64_MAX)
        atomic_fetch_sub_explicit(&call->method->calls, 1, memory_order_relaxed);
}

/* Tells interceptors and observers how the call ends. */
static void end_hooks(weft_call *call, weft_code code)
{
    if (call->started == 0 && call->chain->observer_count == 0)
        return;
    char *text = code != WEFT_OK ? weft_arena_svdup(call->arena, call->message) : NULL;
    const weft_status status = {.code = code, .message = text != NULL ? text : "", .details = call->details};
    weft__intercept_end(call, &status, call->handled);
}

/* Sends the status, and the response if there is one. The call is the engine's afterwards. */
static void answer_now(weft_call *call, weft_code code)
{
    weft__scall *transport = call->transport;
    weft__call_orphan(call);
    end_hooks(call, code);
    if (code != WEFT_OK)
        weft__details_tell(call, code);
    weft__finish finish = {
        .headers = call->response_headers.items,
        .header_count = call->response_headers.count,
        .message = call->has_response ? &call->response : NULL,
        .code = code,
        .status_message = code != WEFT_OK ? call->message : (weft_sv){NULL, 0},
        .trailers = call->response_trailers.items,
        .trailer_count = call->response_trailers.count,
    };
    leave(call->server, call);
    about_to_answer(call);
    if (transport->vtable->finish(transport, &finish) == 0)
        return;
    if (call->has_response)
        call->engine->vtable->tx_unref(&call->response);
    /* Memory is short: a status with nothing about it says more than a reset. */
    weft__finish bare = {.code = code != WEFT_OK ? code : WEFT_RESOURCE_EXHAUSTED};
    if (transport->vtable->finish(transport, &bare) < 0)
        transport->vtable->cancel(transport);
}

/* The same, after what a stream still sends. `wait`: by waiting for it, if the thread may. */
static void answer_after_stream(weft_call *call, weft_code code, bool wait)
{
    if (streams(call)) {
        code = weft__server_stream_outcome(call, code);
        call->code = code; /* for answer_streamed */
        if (weft__server_stream_flush(call, wait))
            return;
    }
    answer_now(call, code);
}

static void answer(weft_call *call, weft_code code)
{
    answer_after_stream(call, code, true);
}

/* weft_call_finish does not block, on whatever thread. */
static void answer_deferred(weft_call *call)
{
    answer_after_stream(call, call->code, false);
}

/* The last send is done. */
static void answer_streamed(void *owner)
{
    weft_call *call = owner;
    answer_now(call, call->code);
}

/* Packs the response of a successful call; what cannot be packed makes it a failed one. Returns the code to answer
 * with. */
static weft_code pack_response(weft_call *call, weft_code code, const ProtobufCMessage *response)
{
    if ((int)code < 0 || (int)code > 16)
        return weft_fail(call, WEFT_INTERNAL, "the handler returned %d, which is no gRPC code", (int)code);
    weft_method_kind kind = call->method->method->kind;
    if (code != WEFT_OK || kind == WEFT_SERVER_STREAM || kind == WEFT_BIDI_STREAM)
        return code;
    if (response == NULL)
        return weft_fail(call, WEFT_INTERNAL, "the handler gave no response");
    const ProtobufCMessageDescriptor *type = call->method->method->response;
    if (response->descriptor != type)
        return weft_fail(call, WEFT_INTERNAL, "the handler's response is not initialized as a %s", type->name);
    code = weft__intercept_send(call, response);
    if (code != WEFT_OK)
        return code;
    int rc = weft__message_pack(call->engine, response, call->gzip, INT64_MAX, &call->response);
    if (rc == -EMSGSIZE)
        return weft_fail(call, WEFT_RESOURCE_EXHAUSTED, "the response is larger than gRPC can frame");
    if (rc < 0)
        return weft_fail_errno(call, rc);
    call->has_response = true;
    return WEFT_OK;
}

static void drop_request(weft_call *call)
{
    if (call->request.impl != NULL)
        call->engine->vtable->rx_release(&call->request);
}

static void refuse(weft_call *call, weft_code code, const char *message)
{
    drop_request(call);
    call->message = weft_sv_from(message);
    answer(call, code);
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

static bool expired(weft_call *call)
{
    return call->deadline_ns != INT64_MAX && call->engine->clock->now_ns(call->engine->clock) >= call->deadline_ns;
}

/* Unpacks the one request of a method that has one: 0, or -errno, and the call is answered. */
static int read_request(weft_call *call, ProtobufCMessage **request)
{
    weft__guard_error error;
    int rc = weft__message_unpack(call->engine, &call->request, call->method->method->request, &call->server->guard,
                                  call->method->transport.max_message_bytes, call->arena, request, &error);
    call->request.impl = NULL;
    if (rc == -ENOMEM)
        refuse(call, WEFT_RESOURCE_EXHAUSTED, "the request needs more memory than a call may use");
    else if (rc < 0)
        answer(call, weft_fail(call, weft__message_code(rc, true), "%s", error.text));
    if (rc < 0)
        return rc;
    weft_code code = weft__intercept_recv(call, *request);
    if (code == WEFT_OK)
        return 0;
    answer(call, code);
    return -EPERM;
}

/* An empty response for a method that has one: 0, or -ENOMEM, and the call is answered. */
static int make_response(weft_call *call, ProtobufCMessage **response)
{
    const ProtobufCMessageDescriptor *type = call->method->method->response;
    *response = weft_arena_alloc(call->arena, type->sizeof_message);
    if (*response == NULL) {
        refuse(call, WEFT_RESOURCE_EXHAUSTED, "the response needs more memory than a call may use");
        return -ENOMEM;
    }
    protobuf_c_message_init(type, *response);
    return 0;
}

/* Unpacks the request and runs the handler. The call may be gone when this returns. */
static void run(weft_call *call)
{
    weft_server *server = call->server;
    const weft__served_method *served = call->method;
    if (expired(call)) {
        count(&server->expired_calls);
        refuse(call, WEFT_DEADLINE_EXCEEDED, "the deadline passed before the call could start");
        return;
    }
    if (weft_call_cancelled(call)) {
        refuse(call, WEFT_CANCELLED, "cancelled before the call could start");
        return;
    }
    weft_code code = weft__intercept_start(call);
    if (code != WEFT_OK) {
        drop_request(call);
        answer(call, code);
        return;
    }
    weft_method_kind kind = served->method->kind;
    ProtobufCMessage *request = NULL;
    ProtobufCMessage *response = NULL;
    if ((kind == WEFT_UNARY || kind == WEFT_SERVER_STREAM) && read_request(call, &request) < 0)
        return;
    if ((kind == WEFT_UNARY || kind == WEFT_CLIENT_STREAM) && make_response(call, &response) < 0)
        return;
    count(&server->calls_handled);
    call->handled = true;
    code = served->method->handler(call, request, response, served->ops, served->self);
    if (!call->deferred) {
        answer(call, pack_response(call, code, response));
        return;
    }
    release_worker(call);
    unsigned before = atomic_fetch_or_explicit(&call->handover, HANDLER_RETURNED, memory_order_acq_rel);
    if (before & FINISH_CALLED)
        answer_deferred(call);
}

/* The server whose handler runs on this thread's worker, for weft_server_stop, which must not wait for itself. */
static _Thread_local const weft_server *working_for;

bool weft__server_on_worker(const weft_server *server)
{
    return working_for == server;
}

static void refuse_draining(weft__job *job)
{
    refuse(WEFT__CONTAINER_OF(job, weft_call, job), WEFT_UNAVAILABLE, "the server is shutting down");
}

static void run_on_worker(weft__job *job)
{
    weft_call *call = WEFT__CONTAINER_OF(job, weft_call, job);
    weft_server *server = call->server;
    working_for = server;
    if (draining(server))
        refuse_draining(job);
    else
        run(call);
    working_for = NULL;
}

static void run_on_loop(weft__job *job)
{
    weft_call *call = WEFT__CONTAINER_OF(job, weft_call, job);
    atomic_fetch_sub_explicit(&call->server->loop_queued, 1, memory_order_relaxed);
    if (draining(call->server))
        refuse_draining(job);
    else
        run(call);
}

void weft__server_refuse_queued(weft_server *server)
{
    weft__pool_drop_queued(server->pool, refuse_draining);
}

int weft_call_set_compression(weft_call *call, weft_compression compression)
{
    if (!weft__is_compression(compression) || call->client != NULL)
        return -EINVAL;
    if (call->sent_headers)
        return -EALREADY;
    set_gzip(call, compression != WEFT_COMPRESSION_DEFAULT ? compression : call->server->options.compression);
    return 0;
}

int weft_call_defer(weft_call *call)
{
    if (weft__call_misused(call, __func__) || call->deferred)
        return -EALREADY;
    call->deferred = true;
    defer_begins(call);
    /* A stream that receives is told by that: an idle one has one operation outstanding, not two. */
    bool told_by_receive = streams(call) && !call->stream->in_over;
    if (!told_by_receive &&
        weft__call_watch(call) < 0) /* the call is lost already: the answer will go nowhere, but must still come */
        weft__server_call_cancelled(call);
    return 0;
}

int weft_call_when_cancelled(weft_call *call, weft_cancelled_fn cancelled, void *arg)
{
    weft_loop *loop = call->server->options.loop;
    weft__told *told = NULL;
    if (weft__call_watch(call) < 0)
        weft__server_call_cancelled(call);
    if (weft_call_cancelled(call))
        return 1;
    if (atomic_load_explicit(&call->telling, memory_order_relaxed) & TOLD_OF)
        return -EALREADY;
    if (loop != NULL && weft__told_new(&told, loop, cancelled, arg) < 0)
        return -ENOMEM;
    call->cancelled_fn = told != NULL ? weft__told_post : cancelled;
    call->cancelled_arg = told != NULL ? told : arg;
    unsigned before = atomic_fetch_or_explicit(&call->telling, TOLD_OF, memory_order_acq_rel);
    if ((before & TELLS_NONE) == 0)
        return 0;
    weft__told_free(told);
    return 1;
}

/* Tells who asked, if it was in time. The call may be gone after. */
static void tell_cancelled(weft_call *call)
{
    unsigned before = atomic_fetch_or_explicit(&call->telling, TELLS_NONE, memory_order_acq_rel);
    if (before == TOLD_OF)
        call->cancelled_fn(call->cancelled_arg);
}

void weft_call_finish(weft_call *call, weft_code code, const ProtobufCMessage *response)
{
    if (weft__call_misused(call, __func__))
        return;
    if (!call->deferred) {
        weft_log_error(call->log, "weft_call_finish on a call that was not deferred",
                       WEFT_FIELDS(WEFT_STR("grpc.method", call->path)));
        return;
    }
    if (atomic_load_explicit(&call->handover, memory_order_relaxed) & FINISH_CALLED) {
        weft_log_error(call->log, "weft_call_finish twice on one call",
                       WEFT_FIELDS(WEFT_STR("grpc.method", call->path)));
        return;
    }
    call->code = pack_response(call, code, response);
    unsigned before = atomic_fetch_or_explicit(&call->handover, FINISH_CALLED, memory_order_acq_rel);
    if (before & HANDLER_RETURNED)
        answer_deferred(call);
}

/* ---- what the engine tells --------------------------------------------------------------------------------------- */

static int on_init(void *user, weft__scall *transport)
{
    weft_server *server = user;
    call_state *state = transport->state;
    weft_call *call = &state->call;
    memset(call, 0, sizeof *call);
    call->transport = transport;
    call->server = server;
    call->engine = server->engine;
    call->log = server->options.log;
    call->chain = &server->chain;
    call->job.run = server->options.loop != NULL ? run_on_loop : run_on_worker;
    weft__list_init(&call->children);
    int rc = weft_arena_init(&call->arena, state->block, sizeof state->block, (size_t)server->options.max_call_bytes);
    return rc == 0 ? weft__server_stream_init(&state->stream, call, answer_streamed) : rc;
}

static void on_fini(void *user, weft__scall *transport)
{
    (void)user;
    call_state *state = transport->state;
    weft_arena_fini(state->call.arena);
    weft__server_stream_fini(&state->stream);
}

/* A call that nobody registered, or that came broken. */
static void begin_refused(weft_call *call, const weft__call_start *start)
{
    if (start->refuse != WEFT_OK) {
        if (start->method != NULL)
            call->path = start->method->path;
        refuse(call, start->refuse, start->refuse_message);
        return;
    }
    drop_request(call);
    if (call->chain->observer_count > 0) {
        const char *path = weft_arena_svdup(call->arena, start->path);
        call->path = path != NULL ? path : "";
    }
    answer(call, weft_fail(call, WEFT_UNIMPLEMENTED, "unknown method %.*s", WEFT_SV_ARG(start->path)));
}

/* Whether one more call of this method may run beside `others`. What is admitted counts until leave(). */
static bool admit(weft_server *server, weft__served_method *served, uint64_t others)
{
    if (others >= (uint64_t)server->options.max_concurrent_calls)
        return false;
    if (served->max_concurrent_calls == INT64_MAX)
        return true;
    if (atomic_fetch_add_explicit(&served->calls, 1, memory_order_relaxed) < (uint64_t)served->max_concurrent_calls)
        return true;
    atomic_fetch_sub_explicit(&served->calls, 1, memory_order_relaxed);
    return false;
}

/* Whether one more stream may hold a worker. */
static bool admit_stream(weft_call *call)
{
    weft_server *server = call->server;
    uint64_t others = atomic_fetch_add_explicit(&server->worker_streams, 1, memory_order_relaxed);
    call->holds_worker = true;
    if (others < (uint64_t)server->options.max_worker_streams)
        return true;
    release_worker(call);
    return false;
}

/* Hands a call to the program's loop: 0; -EAGAIN too many wait. */
static int submit_to_loop(weft_call *call)
{
    weft_server *server = call->server;
    uint64_t others = atomic_fetch_add_explicit(&server->loop_queued, 1, memory_order_relaxed);
    if (others >= (uint64_t)server->options.max_queued_calls) {
        atomic_fetch_sub_explicit(&server->loop_queued, 1, memory_order_relaxed);
        return -EAGAIN;
    }
    weft__loop_post(server->options.loop, &call->job);
    return 0;
}

static int submit(weft_call *call)
{
    return call->server->options.loop != NULL ? submit_to_loop(call)
                                              : weft__pool_submit(call->server->pool, &call->job);
}

/* Hands a call to a worker or the loop, or refuses it. */
static void queue(weft_call *call)
{
    weft_server *server = call->server;
    bool stream = streams(call) && server->options.loop == NULL && !call->method->defers;
    weft_code code = WEFT_OK;
    const char *message = NULL;
    if (stream && !admit_stream(call)) {
        code = WEFT_RESOURCE_EXHAUSTED;
        message = "too many streams hold workers";
    } else if (weft__call_watch(call) < 0) {
        code = WEFT_UNAVAILABLE;
        message = "the call was lost";
    } else if (submit(call) < 0) {
        code = WEFT_RESOURCE_EXHAUSTED;
        message = "too many calls are waiting for a worker";
    }
    if (code == WEFT_OK)
        return;
    if (code == WEFT_RESOURCE_EXHAUSTED)
        count(&server->refused_calls);
    refuse(call, code, message);
}

static void on_begin(void *user, weft__scall *transport, const weft__call_start *start)
{
    weft_server *server = user;
    call_state *state = transport->state;
    weft_call *call = &state->call;
    weft__call_reset(call);
    call->headers = start->headers;
    call->deadline_ns = start->deadline_ns;
    call->request = start->message;
    call->request_compressed = start->message.coding != WEFT__CODING_NONE;
    call->metadata_left = (size_t)server->options.max_metadata_bytes;
    if (server->chain.observer_count > 0)
        call->began_ns = weft_engine_now_ns(server->engine);
    count(&server->calls_started);
    uint64_t others = atomic_fetch_add_explicit(&server->calls, 1, memory_order_relaxed);
    if (start->method == NULL || start->refuse != WEFT_OK) {
        begin_refused(call, start);
        return;
    }
    weft__served_method *served = WEFT__CONTAINER_OF(start->method, weft__served_method, transport);
    call->path = served->method->path;
    call->definition = served->method;
    if (draining(server)) {
        atomic_store_explicit(&server->last_call_ns, weft_engine_now_ns(server->engine), memory_order_relaxed);
        refuse(call, WEFT_UNAVAILABLE, "the server is shutting down");
        return;
    }
    if (!served->has_handler) {
        refuse(call, WEFT_UNIMPLEMENTED, "the service does not implement this method");
        return;
    }
    if (start->message.total > (uint64_t)served->transport.max_message_bytes) {
        refuse(call, WEFT_RESOURCE_EXHAUSTED, "the request is larger than the method takes");
        return;
    }
    if (!admit(server, served, others)) {
        count(&server->refused_calls);
        refuse(call, WEFT_RESOURCE_EXHAUSTED, "too many concurrent calls");
        return;
    }
    call->method = served;
    call->mask = served->mask;
    if (streams(call))
        weft__server_stream_reset(call);
    set_gzip(call, server->options.compression);
    if (served->transport.run_inline) {
        run(call);
    } else {
        queue(call);
    }
}

static void on_cancelled(void *user, weft__scall *transport)
{
    (void)user;
    call_state *state = transport->state;
    weft__server_call_cancelled(&state->call);
    tell_cancelled(&state->call);
}

static void on_ended(void *user, weft__scall *transport)
{
    (void)user;
    call_state *state = transport->state;
    if (atomic_load_explicit(&state->call.telling, memory_order_relaxed) != 0)
        tell_cancelled(&state->call);
    weft_arena_reset(state->call.arena);
    weft__server_stream_ended(&state->stream);
}

static void on_closed(void *user)
{
    weft_server *server = user;
    if (server->options.loop != NULL)
        weft__loop_post(server->options.loop, &server->closed_job);
    else
        server->engine->vtable->post(server->engine, &server->closed);
}

const weft__server_events weft__server_events_table = {
    .init = on_init,
    .fini = on_fini,
    .begin = on_begin,
    .cancelled = on_cancelled,
    .ended = on_ended,
    .closed = on_closed,
};
