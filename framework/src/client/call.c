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

int64_t weft__client_deadline(const weft_channel *channel, const weft_call_options *options)
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

bool weft__client_gzip(const weft_channel *channel, const weft_call_options *options)
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

int weft__client_call_begin(weft__client_call *call, weft_channel *channel, const weft_method *method,
                            const weft_call_options *options)
{
    memset(call, 0, sizeof *call);
    call->channel = channel;
    call->method = method;
    call->info = options->info;
    call->child.cancel = on_parent_cancelled;
    int rc = weft__channel_enter(channel, &call->running);
    if (rc < 0)
        return rc;
    rc = channel->transport->vtable->call_new(channel->transport, &call->transport);
    if (rc < 0) {
        weft__channel_leave(channel, &call->running);
        return rc;
    }
    if (weft__channel_started(channel, &call->running, call->transport) < 0)
        call->transport->vtable->cancel(call->transport, WEFT_CANCELLED, "the channel was closed");
    if (options->parent != NULL && weft__call_adopt(options->parent, &call->child) < 0)
        on_parent_cancelled(&call->child);
    return 0;
}

void weft__client_call_end(weft__client_call *call)
{
    weft__call_release(&call->child);
    weft__channel_forget(call->channel, &call->running);
    call->transport->vtable->free(call->transport);
    weft__channel_leave(call->channel, &call->running);
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
        return weft__client_local_status(WEFT_RESOURCE_EXHAUSTED, "the request is larger than gRPC can frame");
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

static void fill_info(weft__client_call *call, const weft__result *result, const weft__rx *response, weft_arena *arena)
{
    weft_engine *engine = call->channel->engine;
    weft_call_info filled = WEFT_CALL_INFO_INIT;
    char peer[256];
    size_t len = call->transport->vtable->peer(call->transport, peer, sizeof peer);
    const char *copy = len > 0 ? weft_arena_strdup(arena, peer) : NULL;
    filled.struct_size = call->info->struct_size;
    filled.peer = copy != NULL ? copy : "";
    filled.compressed = response->impl != NULL && response->coding != WEFT__CODING_NONE;
    (void)copy_metadata(engine, &result->headers, arena, &filled.headers);
    (void)copy_metadata(engine, &result->trailers, arena, &filled.trailers);
    memcpy(call->info, &filled, filled.struct_size < sizeof filled ? filled.struct_size : sizeof filled);
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

weft_code weft__client_bad_response(int rc)
{
    return rc == -ENOMEM || rc == -EMSGSIZE ? WEFT_RESOURCE_EXHAUSTED : WEFT_INTERNAL;
}

/* Reads the response of a successful call; a call whose response cannot be read has failed here. */
static weft_status read_response(weft__client_call *call, weft__rx *rx, weft_arena *arena, ProtobufCMessage **response)
{
    weft_channel *channel = call->channel;
    weft__guard_error error;
    int rc = weft__message_unpack(channel->engine, rx, call->method->response, &channel->guard,
                                  channel->options.max_message_bytes, arena, response, &error);
    if (rc == 0)
        return (weft_status){.code = WEFT_OK, .from_peer = true, .message = ""};
    if (rc == -ENOMEM)
        return weft__client_local_status(WEFT_RESOURCE_EXHAUSTED,
                                         "the response needs more memory than the arena may use");
    const char *text = weft_arena_printf(arena, "bad response: %s", error.text);
    return weft__client_local_status(weft__client_bad_response(rc), text != NULL ? text : "bad response");
}

weft_status weft__client_call_finish(weft__client_call *call, weft_arena *arena, weft__rx *streamed,
                                     ProtobufCMessage **response)
{
    weft_engine *engine = call->channel->engine;
    weft__result result;
    call->transport->vtable->result(call->transport, &result);
    weft__rx *rx = streamed != NULL ? streamed : &result.response;
    if (call->info != NULL)
        fill_info(call, &result, rx, arena);
    if (result.code == WEFT_OK && response != NULL) {
        if (rx->impl != NULL)
            return read_response(call, rx, arena, response);
        return weft__client_local_status(WEFT_INTERNAL, "the server answered OK without a response");
    }
    if (rx->impl != NULL)
        engine->vtable->rx_release(rx);
    return status_of(engine, &result, arena);
}
