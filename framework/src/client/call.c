/* client/call.c: what calls of all kinds share: options, beginning, and what came back.
 *
 * Design notes
 * - Channel and parent know the call before it starts, because an asynchronous one may be over before its start has
 *   returned. A cancel that comes before the start is remembered by the engine.
 * - What is returned lies in the caller's arena. Should that be full, a static text stands for the message.
 */
#include "client/call.h"

#include <errno.h>
#include <string.h>

#include "base/options.h"
#include "base/utf8.h"
#include "call/message.h"
#include "client/balancer.h"
#include "client/retried_call.h"

static const int64_t ns_per_ms = 1000000;

/* ---- options ----------------------------------------------------------------------------------------------------- */

static int check_metadata(const weft_call_options *options, const char **reason)
{
    if (options->metadata == NULL && options->metadata_count > 0) {
        *reason = "metadata_count without metadata";
        return -EINVAL;
    }
    for (size_t i = 0; i < options->metadata_count; i++) {
        int rc = weft_metadata_check(options->metadata[i].key, options->metadata[i].value);
        if (rc < 0) {
            *reason = rc == -EPERM ? "a reserved metadata key" : "an illegal metadata key or value";
            return rc;
        }
    }
    return 0;
}

int weft__client_options(weft_call_options *out, const weft_channel *channel, const weft_call_options *options,
                         const char **reason)
{
    weft_call_options o;
    memset(&o, 0, sizeof o);
    int rc = weft__options_copy(&o, sizeof o, options);
    if (rc < 0) {
        *reason = rc == -E2BIG ? "weft_call_options asks for what this version of the library does not know"
                               : "weft_call_options was not set up by WEFT_CALL_OPTIONS_INIT";
        return rc;
    }
    if (weft__engine_forked(channel->engine)) {
        *reason = "the engine was made before fork()";
        return -ECHILD;
    }
    *reason = NULL;
    if (o.timeout_ms < -1)
        *reason = "timeout_ms is below -1";
    else if (!weft__is_compression(o.compression))
        *reason = "compression is no weft_compression";
    else if (o.info != NULL && o.info->struct_size == 0)
        *reason = "weft_call_info was not set up by WEFT_CALL_INFO_INIT";
    if (*reason != NULL)
        return -EINVAL;
    rc = check_metadata(&o, reason);
    if (rc == 0)
        *out = o;
    return rc;
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

/* Whether the call compresses what it sends. */
static bool compresses(const weft_channel *channel, const weft_call_options *options)
{
    weft_compression compression = options->compression;
    if (compression == WEFT_COMPRESSION_DEFAULT)
        compression = channel->options.compression;
    return compression == WEFT_COMPRESSION_GZIP;
}

/* ---- beginning and ending ---------------------------------------------------------------------------------------- */

static void on_parent_cancelled(weft__child *child)
{
    weft__ccall *transport = WEFT__CONTAINER_OF(child, weft__client_call, child)->transport;
    transport->vtable->cancel(transport, WEFT_CANCELLED, "the call it was made for was cancelled");
}

/* The call as hooks see it. */
static void init_hooks(weft__client_call *call, weft_arena *arena)
{
    weft_channel *channel = call->channel;
    weft_call *hooks = &call->hooks;
    hooks->engine = channel->engine;
    hooks->log = channel->options.log;
    hooks->arena = arena;
    hooks->chain = &channel->chain;
    weft__list_init(&hooks->children);
    weft__call_reset(hooks);
    hooks->client = call->transport;
    hooks->definition = call->method;
    hooks->path = call->method->path;
    hooks->deadline_ns = call->deadline_ns;
    hooks->metadata_left = SIZE_MAX;
    hooks->mask = weft__chain_mask(&channel->chain, call->method->path);
    if (channel->chain.observer_count > 0)
        hooks->began_ns = weft_engine_now_ns(channel->engine);
}

static void cancel(weft__client_call *call, weft_code code, const char *message)
{
    call->transport->vtable->cancel(call->transport, code, message);
}

/* Puts the caller's metadata and those that interceptors added into one array. 0; -ENOMEM. */
static int gather_metadata(weft__client_call *call, const weft_call_options *options, bool keep)
{
    weft__pairs *pairs = &call->hooks.response_headers;
    call->metadata = options->metadata;
    call->metadata_count = options->metadata_count;
    if (pairs->count == 0 && (!keep || options->metadata_count == 0))
        return 0;
    for (size_t i = 0; i < options->metadata_count; i++)
        if (weft__pairs_add(call->hooks.arena, pairs, options->metadata[i].key, options->metadata[i].value) < 0)
            return -ENOMEM;
    call->metadata = pairs->items;
    call->metadata_count = pairs->count;
    return 0;
}

/* Takes over what the service config says of the method. */
static void apply(weft__client_call *call, const weft__method_config *config)
{
    int64_t latest_ns = weft__clock_deadline_ns(weft_engine_now_ns(call->channel->engine), config->timeout_ns);
    if (latest_ns < call->deadline_ns)
        call->deadline_ns = latest_ns;
    if (config->max_request_bytes < call->max_request_bytes)
        call->max_request_bytes = config->max_request_bytes;
    if (config->max_response_bytes < call->max_response_bytes)
        call->max_response_bytes = config->max_response_bytes;
    call->wait_for_ready = call->wait_for_ready || config->wait_for_ready;
}

/* The call below: one that is retried where that is asked for. Streams always are, if only when no server has seen
 * them: what they have sent by then is kept. */
static int make_transport(weft__client_call *call)
{
    weft__tchannel *below = call->channel->transport;
    weft__method_config config;
    weft__policy *policy;
    if (weft__policies_find(weft__balancer_policies(below), call->method->path, &config, &policy))
        apply(call, &config);
    if (policy == NULL && call->method->kind == WEFT_UNARY)
        return below->vtable->call_new(below, &call->transport);
    int rc = weft__retried_call_new(call->channel->engine, below, &config, policy, &call->transport);
    if (rc < 0)
        weft__policy_unref(policy);
    return rc;
}

int weft__client_call_begin(weft__client_call *call, weft_channel *channel, const weft_method *method,
                            const weft_call_options *options, weft_arena *arena, bool keep_metadata)
{
    memset(call, 0, sizeof *call);
    call->channel = channel;
    call->method = method;
    call->info = options->info;
    call->child.cancel = on_parent_cancelled;
    call->deadline_ns = deadline_of(channel, options);
    call->wait_for_ready = options->wait_for_ready;
    call->hash = options->hash;
    call->max_request_bytes = INT64_MAX;
    call->max_response_bytes = channel->options.max_message_bytes;
    call->gzip = compresses(channel, options);
    int rc = weft__channel_enter(channel, &call->running);
    if (rc < 0)
        return rc;
    rc = make_transport(call);
    if (rc < 0) {
        weft__channel_leave(channel, &call->running, NULL);
        return rc;
    }
    if (weft__channel_started(channel, &call->running, call->transport) < 0)
        cancel(call, WEFT_CANCELLED, "the channel was closed");
    if (options->parent != NULL && weft__call_adopt(options->parent, &call->child) < 0)
        on_parent_cancelled(&call->child);
    init_hooks(call, arena);
    weft_code code = weft__intercept_start(&call->hooks);
    if (code != WEFT_OK)
        cancel(call, code, call->hooks.message.data);
    if (gather_metadata(call, options, keep_metadata) == 0)
        return 0;
    const weft_status status = weft__client_failed(-ENOMEM);
    weft__client_call_ended(call, &status);
    weft__client_call_end(call, NULL);
    return -ENOMEM;
}

weft__call_args weft__client_call_args(const weft__client_call *call, weft__tx *message, bool half_close)
{
    return (weft__call_args){
        .method = call->method,
        .deadline_ns = call->deadline_ns,
        .metadata = call->metadata,
        .metadata_count = call->metadata_count,
        .message = message,
        .half_close = half_close,
        .gzip = half_close ? message->gzip : call->gzip,
        .wait_for_ready = call->wait_for_ready,
        .hash = call->hash,
    };
}

int weft__client_call_pack(weft__client_call *call, const ProtobufCMessage *request, weft__tx *out)
{
    weft_code code = weft__intercept_send(&call->hooks, request);
    if (code != WEFT_OK)
        cancel(call, code, call->hooks.message.data);
    return weft__message_pack(call->channel->engine, request, call->gzip, call->max_request_bytes, out);
}

void weft__client_call_ended(weft__client_call *call, const weft_status *status)
{
    if (!call->ended)
        weft__intercept_end(&call->hooks, status, false);
    call->ended = true;
}

void weft__client_call_end(weft__client_call *call, weft__job *then)
{
    weft__call_release(&call->child);
    weft__channel_forget(call->channel, &call->running);
    call->transport->vtable->free(call->transport);
    weft__channel_leave(call->channel, &call->running, then);
}

/* ---- what came back ---------------------------------------------------------------------------------------------- */

weft_status weft__client_local_status(weft_code code, const char *message)
{
    return (weft_status){.code = code, .message = message, .details = {NULL, 0}};
}

weft_status weft__client_failed(int rc)
{
    if (rc == -ENOMEM)
        return weft__client_local_status(WEFT_RESOURCE_EXHAUSTED, "no memory for the call");
    if (rc == -EMSGSIZE)
        return weft__client_local_status(WEFT_RESOURCE_EXHAUSTED,
                                         "the request is larger than the service config, or gRPC, allows");
    if (rc == -ESHUTDOWN)
        return weft__client_local_status(WEFT_CANCELLED, "the channel was closed");
    return weft__client_local_status(WEFT_INTERNAL, "the call could not be started");
}

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

/* 0; -ENOMEM, and what there was no memory for is left out. */
static int fill_info(weft__client_call *call, const weft__result *result, const weft__rx *response, weft_arena *arena)
{
    weft_engine *engine = call->channel->engine;
    weft_call_info filled = WEFT_CALL_INFO_INIT;
    char peer[256];
    size_t len = call->transport->vtable->peer(call->transport, peer, sizeof peer);
    const char *copy = len > 0 ? weft_arena_strdup(arena, peer) : "";
    filled.struct_size = call->info->struct_size;
    filled.peer = copy != NULL ? copy : "";
    filled.compressed = response->impl != NULL && response->coding != WEFT__CODING_NONE;
    int rc = copy_metadata(engine, &result->headers, arena, &filled.headers);
    if (rc == 0)
        rc = copy_metadata(engine, &result->trailers, arena, &filled.trailers);
    memcpy(call->info, &filled, filled.struct_size < sizeof filled ? filled.struct_size : sizeof filled);
    return copy != NULL ? rc : -ENOMEM;
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
static weft_status read_response(weft__client_call *call, weft__rx *rx, weft_arena *arena, ProtobufCMessage **response)
{
    weft_channel *channel = call->channel;
    weft__guard_error error;
    ProtobufCMessage *message;
    int rc = weft__message_unpack(channel->engine, rx, call->method->response, &channel->guard,
                                  call->max_response_bytes, arena, &message, &error);
    if (rc == -ENOMEM)
        return weft__client_local_status(WEFT_RESOURCE_EXHAUSTED,
                                         "the response needs more memory than the arena may use");
    if (rc < 0) {
        const char *text = weft_arena_printf(arena, "bad response: %s", error.text);
        return weft__client_local_status(weft__message_code(rc, false), text != NULL ? text : "bad response");
    }
    weft_code code = weft__intercept_recv(&call->hooks, message);
    if (code != WEFT_OK)
        return weft__client_local_status(code, call->hooks.message.data);
    *response = message;
    return (weft_status){.code = WEFT_OK, .from_peer = true, .message = ""};
}

/* How the transport says that the call ended, and what came with it. */
static weft_status outcome(weft__client_call *call, weft_arena *arena, const weft__result *result, weft__rx *rx,
                           ProtobufCMessage **response)
{
    if (result->code == WEFT_OK && response != NULL) {
        if (rx->impl != NULL)
            return read_response(call, rx, arena, response);
        return weft__client_local_status(WEFT__CARDINALITY_VIOLATION, "the server answered OK without a response");
    }
    if (rx->impl != NULL)
        call->channel->engine->vtable->rx_release(rx);
    return status_of(call->channel->engine, result, arena);
}

weft_status weft__client_call_finish(weft__client_call *call, weft_arena *arena, weft__rx *streamed,
                                     ProtobufCMessage **response)
{
    weft__result result;
    call->transport->vtable->result(call->transport, &result);
    call->hooks.headers = result.headers;
    weft__rx *rx = streamed != NULL ? streamed : &result.response;
    int rc = call->info != NULL ? fill_info(call, &result, rx, arena) : 0;
    weft_status status = outcome(call, arena, &result, rx, response);
    if (rc < 0 && status.code == WEFT_OK)
        status = weft__client_local_status(WEFT_RESOURCE_EXHAUSTED, "no memory for the call's headers and trailers");
    weft__client_call_ended(call, &status);
    return status;
}
