/* unary.c: one blocking unary call.
 *
 * Design notes
 * - The engine enforces the deadline and tells the end by one completion; the caller waits for that and for nothing
 *   else, so that when it returns nothing refers to its stack any more.
 * - A parent (the inbound call this one is made for) gives its deadline, and its cancellation through weft__child. The
 *   child is joined after the call has started and before the wait: a parent cancelled earlier is seen by the join.
 * - What is returned lies in the caller's arena. Should that be full, a static text stands for the message.
 */
#include <errno.h>
#include <string.h>

#include "base/options.h"
#include "base/thread.h"
#include "base/utf8.h"
#include "call/call.h"
#include "call/message.h"
#include "client/channel.h"

static const int64_t ns_per_ms = 1000000;

struct unary {
    weft__op op;
    weft__event done;
    weft_engine *engine;
    weft__ccall *call;
    weft__child child;
    weft__running running;
};

static void on_done(weft__op *op, int result)
{
    (void)result;
    struct unary *unary = WEFT__CONTAINER_OF(op, struct unary, op);
    unary->engine->vtable->post(unary->engine, &unary->done);
}

static void on_parent_cancelled(weft__child *child)
{
    weft__ccall *call = WEFT__CONTAINER_OF(child, struct unary, child)->call;
    call->vtable->cancel(call, WEFT_CANCELLED, "the call it was made for was cancelled");
}

static weft_status local_status(weft_code code, const char *message)
{
    return (weft_status){.code = code, .message = message, .details = {NULL, 0}};
}

static int64_t after_ms(int64_t now_ns, int64_t ms)
{
    return ms > (INT64_MAX - now_ns) / ns_per_ms ? INT64_MAX : now_ns + ms * ns_per_ms;
}

/* The earliest of the call's own timeout (or the channel's, for a call without a parent) and the parent's deadline. */
static int64_t deadline_of(const weft_channel *channel, const weft_call_options *options)
{
    int64_t now = weft_engine_now_ns(channel->engine);
    int64_t deadline_ns = INT64_MAX;
    if (options->timeout_ms > 0)
        deadline_ns = after_ms(now, options->timeout_ms);
    else if (options->timeout_ms == 0 && options->parent == NULL && channel->options.timeout_ms != INT64_MAX)
        deadline_ns = after_ms(now, channel->options.timeout_ms);
    if (options->parent != NULL) {
        /* By what is left, not by the time itself: the parent's engine may have another clock. */
        int64_t left = weft_call_remaining_ns(options->parent);
        if (left != INT64_MAX && left < deadline_ns - now)
            deadline_ns = now + left;
    }
    return deadline_ns;
}

/* ---- what came back ---------------------------------------------------------------------------------------------- */

static int copy_metadata(weft_engine *engine, const weft__md *from, weft_arena *arena, weft_metadata *to)
{
    weft__pairs pairs = {NULL, 0, 0};
    for (size_t i = 0; i < from->count; i++) {
        weft_metadatum pair = engine->vtable->md_at(from, i);
        int rc = weft__pairs_add(arena, &pairs, pair.key, pair.value);
        if (rc < 0)
            return rc;
    }
    *to = (weft_metadata){pairs.items, pairs.count};
    return 0;
}

static void fill_info(weft_call_info *info, weft_engine *engine, weft__ccall *call, const weft__result *result,
                      weft_arena *arena)
{
    weft_call_info filled = WEFT_CALL_INFO_INIT;
    char peer[256];
    size_t len = call->vtable->peer(call, peer, sizeof peer);
    const char *copy = len > 0 ? weft_arena_strdup(arena, peer) : NULL;
    filled.struct_size = info->struct_size;
    filled.peer = copy != NULL ? copy : "";
    (void)copy_metadata(engine, &result->headers, arena, &filled.headers);
    (void)copy_metadata(engine, &result->trailers, arena, &filled.trailers);
    memcpy(info, &filled, info->struct_size < sizeof filled ? info->struct_size : sizeof filled);
}

static weft_status status_of(weft_engine *engine, const weft__result *result, weft_arena *arena)
{
    weft_status status = {.code = result->code, .from_peer = result->from_peer, .message = ""};
    if (result->code == WEFT_OK)
        return status;
    if (result->message.len > 0) {
        char *copy = weft_arena_svdup(arena, result->message);
        if (copy != NULL)
            weft__utf8_repair(copy, result->message.len);
        status.message = copy != NULL ? copy : "(no memory for the message)";
    }
    for (size_t i = 0; i < result->trailers.count; i++) {
        weft_metadatum pair = engine->vtable->md_at(&result->trailers, i);
        if (weft_sv_is(pair.key, "grpc-status-details-bin")) {
            const char *copy = weft_arena_svdup(arena, pair.value);
            status.details = copy != NULL ? weft_sv_of(copy, pair.value.len) : (weft_sv){NULL, 0};
        }
    }
    return status;
}

/* Reads the response of a successful call; a call whose response cannot be read has failed here. */
static weft_status read_response(weft_channel *channel, weft__result *result, const weft_method *method,
                                 weft_arena *arena, ProtobufCMessage **response)
{
    weft__guard_error error;
    int rc = weft__message_unpack(channel->engine, &result->response, method->response, &channel->guard, arena,
                                  response, &error);
    if (rc == 0)
        return (weft_status){.code = WEFT_OK, .from_peer = true, .message = ""};
    if (rc == -ENOMEM)
        return local_status(WEFT_RESOURCE_EXHAUSTED, "the response needs more memory than the arena may use");
    const char *text = weft_arena_printf(arena, "bad response: %s", error.text);
    return local_status(WEFT_INTERNAL, text != NULL ? text : "bad response");
}

/* ---- the call ---------------------------------------------------------------------------------------------------- */

static weft_status finish(weft_channel *channel, struct unary *unary, const weft_call_options *options,
                          const weft_method *method, weft_arena *arena, ProtobufCMessage **response)
{
    weft__ccall *call = unary->call;
    weft__result result;
    call->vtable->result(call, &result);
    if (options->info != NULL)
        fill_info(options->info, channel->engine, call, &result, arena);
    if (result.code != WEFT_OK) {
        if (result.response.impl != NULL)
            channel->engine->vtable->rx_release(&result.response);
        return status_of(channel->engine, &result, arena);
    }
    if (result.response.impl == NULL)
        return local_status(WEFT_INTERNAL, "the server answered OK without a response");
    return read_response(channel, &result, method, arena, response);
}

/* Starts the call and waits for its end. The transport's call is there and is freed by the caller. */
static weft_status run(weft_channel *channel, struct unary *unary, const weft_call_options *options,
                       const weft_method *method, const ProtobufCMessage *request, weft_arena *arena,
                       ProtobufCMessage **response)
{
    weft__ccall *call = unary->call;
    weft__tx message;
    if (weft__message_pack(channel->engine, request, &message) < 0)
        return local_status(WEFT_RESOURCE_EXHAUSTED, "no memory for the request");
    weft__call_args args = {
        .method = method,
        .deadline_ns = deadline_of(channel, options),
        .metadata = options->metadata,
        .metadata_count = options->metadata_count,
        .message = &message,
        .half_close = true,
        .wait_for_ready = options->wait_for_ready,
    };
    int rc = call->vtable->unary(call, &args, &unary->op);
    if (rc < 0) {
        channel->engine->vtable->tx_unref(&message);
        return local_status(rc == -ENOMEM ? WEFT_RESOURCE_EXHAUSTED : WEFT_INTERNAL, "the call could not be started");
    }
    if (weft__channel_started(channel, &unary->running, call) < 0)
        call->vtable->cancel(call, WEFT_CANCELLED, "the channel was closed");
    bool adopted = false;
    if (options->parent != NULL) {
        adopted = weft__call_adopt(options->parent, &unary->child) == 0;
        if (!adopted)
            on_parent_cancelled(&unary->child);
    }
    rc = weft__engine_wait(channel->engine, &unary->done, INT64_MAX);
    if (rc ==
        -EDEADLK) { /* a stepped engine in which nothing can happen any more: end the call, so that it completes */
        call->vtable->cancel(call, WEFT_INTERNAL,
                             "the call can never end: nothing is left to happen in the stepped engine");
        (void)weft__engine_wait(channel->engine, &unary->done, INT64_MAX);
    }
    if (adopted)
        weft__call_release(options->parent, &unary->child);
    return finish(channel, unary, options, method, arena, response);
}

static weft_status check(const weft_channel *channel, const weft_call_options *options, const weft_method *method,
                         const ProtobufCMessage *request)
{
    if (weft__engine_forked(channel->engine))
        return local_status(WEFT_FAILED_PRECONDITION, "the engine was made before fork()");
    if (weft__thread_is_loop())
        return local_status(WEFT_FAILED_PRECONDITION, "a blocking call on a thread that must not block");
    if (method->kind != WEFT_UNARY)
        return local_status(WEFT_INVALID_ARGUMENT, "not a unary method");
    if (request->descriptor != method->request)
        return local_status(WEFT_INVALID_ARGUMENT, "the request is not initialized as the method's type");
    if (options->timeout_ms < -1)
        return local_status(WEFT_INVALID_ARGUMENT, "timeout_ms is below -1");
    if (options->info != NULL && options->info->struct_size == 0)
        return local_status(WEFT_INVALID_ARGUMENT, "weft_call_info was not set up by WEFT_CALL_INFO_INIT");
    if (options->metadata == NULL && options->metadata_count > 0)
        return local_status(WEFT_INVALID_ARGUMENT, "metadata_count without metadata");
    for (size_t i = 0; i < options->metadata_count; i++) {
        int rc = weft_metadata_check(options->metadata[i].key, options->metadata[i].value);
        if (rc < 0)
            return local_status(WEFT_INVALID_ARGUMENT,
                                rc == -EPERM ? "a reserved metadata key" : "an illegal metadata key or value");
    }
    return local_status(WEFT_OK, "");
}

weft_status weft_channel_unary(weft_channel *channel, weft_arena *arena, const weft_call_options *options,
                               const weft_method *method, const ProtobufCMessage *request, ProtobufCMessage **response)
{
    weft_call_options o;
    memset(&o, 0, sizeof o);
    if (arena == NULL)
        return local_status(WEFT_INVALID_ARGUMENT, "a call needs an arena");
    int rc = weft__options_copy(&o, sizeof o, options);
    if (rc < 0)
        return local_status(WEFT_INVALID_ARGUMENT,
                            rc == -E2BIG ? "weft_call_options asks for what this version of the library does not know"
                                         : "weft_call_options was not set up by WEFT_CALL_OPTIONS_INIT");
    weft_status status = check(channel, &o, method, request);
    if (status.code != WEFT_OK)
        return status;
    struct unary unary = {.op = {on_done}, .engine = channel->engine, .child = {.cancel = on_parent_cancelled}};
    if (weft__event_init(&unary.done) < 0)
        return local_status(WEFT_RESOURCE_EXHAUSTED, "no memory for the call");
    if (weft__channel_enter(channel, &unary.running) < 0) {
        status = local_status(WEFT_CANCELLED, "the channel was closed");
    } else {
        if (channel->transport->vtable->call_new(channel->transport, &unary.call) < 0) {
            status = local_status(WEFT_RESOURCE_EXHAUSTED, "no memory for the call");
        } else {
            status = run(channel, &unary, &o, method, request, arena, response);
            unary.call->vtable->free(unary.call);
        }
        weft__channel_leave(channel, &unary.running); /* the channel may be gone afterwards */
    }
    weft__event_fini(&unary.done);
    return status;
}
