/* unary.c: unary calls, blocking and asynchronous.
 *
 * Design notes
 * - The engine enforces the deadline and tells the end by one completion. The blocking caller waits for that and for
 *   nothing else, so that when it returns nothing refers to its stack any more.
 * - An asynchronous call is an object of its own, with an arena. Its completion reads the result and calls the caller;
 *   what nobody has taken over is freed then.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "call/loop.h"
#include "call/message.h"
#include "client/call.h"

#include <weft/async.h>

static const char *check(const weft_method *method, const ProtobufCMessage *request)
{
    if (method->kind != WEFT_UNARY)
        return "not a unary method";
    if (request->descriptor != method->request)
        return "the request is not initialized as the method's type";
    return NULL;
}

/* Starts a call that has begun: 0; -errno. */
static int start(weft__client_call *call, const weft_call_options *options, const ProtobufCMessage *request,
                 weft__op *op)
{
    weft_channel *channel = call->channel;
    weft__tx message;
    int rc = weft__message_pack(channel->engine, request, &message);
    if (rc < 0)
        return rc;
    weft__call_args args = {
        .method = call->method,
        .deadline_ns = weft__client_deadline(channel, options),
        .metadata = options->metadata,
        .metadata_count = options->metadata_count,
        .message = &message,
        .half_close = true,
        .wait_for_ready = options->wait_for_ready,
    };
    rc = call->transport->vtable->unary(call->transport, &args, op);
    if (rc < 0)
        channel->engine->vtable->tx_unref(&message);
    return rc;
}

/* ---- blocking ---------------------------------------------------------------------------------------------------- */

struct blocking {
    weft__op op;
    weft__event done;
    weft__client_call call;
};

static void on_done(weft__op *op, int result)
{
    (void)result;
    struct blocking *blocking = WEFT__CONTAINER_OF(op, struct blocking, op);
    weft_engine *engine = blocking->call.channel->engine;
    engine->vtable->post(engine, &blocking->done);
}

static void wait_for_end(struct blocking *blocking)
{
    weft_engine *engine = blocking->call.channel->engine;
    weft__ccall *transport = blocking->call.transport;
    if (weft__engine_wait(engine, &blocking->done, INT64_MAX) == 0)
        return;
    /* A stepped engine in which nothing can happen any more: end the call, so that it completes. */
    transport->vtable->cancel(transport, WEFT_INTERNAL,
                              "the call can never end: nothing is left to happen in the stepped engine");
    (void)weft__engine_wait(engine, &blocking->done, INT64_MAX);
}

static weft_status run(struct blocking *blocking, weft_channel *channel, const weft_call_options *options,
                       const weft_method *method, const ProtobufCMessage *request, weft_arena *arena,
                       ProtobufCMessage **response)
{
    weft_status status;
    int rc = weft__client_call_begin(&blocking->call, channel, method, options);
    if (rc < 0)
        return weft__client_failed(rc);
    rc = start(&blocking->call, options, request, &blocking->op);
    if (rc < 0) {
        status = weft__client_failed(rc);
    } else {
        wait_for_end(blocking);
        status = weft__client_call_finish(&blocking->call, arena, NULL, response);
    }
    weft__client_call_end(&blocking->call, NULL);
    return status;
}

weft_status weft_channel_unary(weft_channel *channel, weft_arena *arena, const weft_call_options *options,
                               const weft_method *method, const ProtobufCMessage *request, ProtobufCMessage **response)
{
    weft_call_options o;
    const char *reason;
    struct blocking blocking = {.op = {on_done}};
    if (arena == NULL)
        return weft__client_local_status(WEFT_INVALID_ARGUMENT, "a call needs an arena");
    int rc = weft__client_options(&o, channel, options, &reason);
    if (rc < 0)
        return weft__client_local_status(rc == -ECHILD ? WEFT_FAILED_PRECONDITION : WEFT_INVALID_ARGUMENT, reason);
    if (weft__thread_is_loop())
        return weft__client_local_status(WEFT_FAILED_PRECONDITION, "a blocking call on a thread that must not block");
    reason = check(method, request);
    if (reason != NULL)
        return weft__client_local_status(WEFT_INVALID_ARGUMENT, reason);
    if (weft__event_init(&blocking.done) < 0)
        return weft__client_local_status(WEFT_RESOURCE_EXHAUSTED, "no memory for the call");
    weft_status status = run(&blocking, channel, &o, method, request, arena, response);
    weft__event_fini(&blocking.done);
    return status;
}

/* ---- asynchronous ------------------------------------------------------------------------------------------------ */

struct weft_result {
    weft__op op;
    weft__job job; /* in the channel's loop */
    weft__client_call call;
    weft_arena *arena;
    weft_call_info info;
    weft_status status;
    ProtobufCMessage *response;
    weft_result_fn deliver;
    void (*done)(void);
    void *arg;
    bool *taken; /* where deliver looks: whoever has taken the result may have freed it by then */
};

static void free_result(weft_result *result)
{
    weft_arena_free(result->arena);
    free(result);
}

static void deliver(weft__job *job)
{
    weft_result *result = WEFT__CONTAINER_OF(job, weft_result, job);
    bool taken = false;
    result->taken = &taken;
    result->deliver(result);
    if (!taken)
        free_result(result);
}

/* What is delivered does without the channel. */
static void on_async_done(weft__op *op, int ignored)
{
    weft_result *result = WEFT__CONTAINER_OF(op, weft_result, op);
    (void)ignored;
    result->status = weft__client_call_finish(&result->call, result->arena, NULL, &result->response);
    weft__client_call_end(&result->call, &result->job);
}

/* Copies the metadata into the call's arena: 0; -ENOMEM. */
static int copy_metadata(weft_result *result, weft_call_options *options)
{
    weft__pairs pairs = {NULL, 0, 0};
    for (size_t i = 0; i < options->metadata_count; i++)
        if (weft__pairs_add(result->arena, &pairs, options->metadata[i].key, options->metadata[i].value) < 0)
            return -ENOMEM;
    options->metadata = pairs.items;
    return 0;
}

static int make_result(weft_result **out, const weft_channel *channel)
{
    weft_result *result = calloc(1, sizeof *result);
    if (result == NULL)
        return -ENOMEM;
    int rc = weft_arena_new(&result->arena, (size_t)channel->options.max_call_bytes);
    if (rc < 0) {
        free(result);
        return rc;
    }
    result->op.done = on_async_done;
    result->job.run = deliver;
    result->info = (weft_call_info)WEFT_CALL_INFO_INIT;
    *out = result;
    return 0;
}

int weft_channel_unary_async(weft_channel *channel, const weft_call_options *options, const weft_method *method,
                             const ProtobufCMessage *request, weft_result_fn deliver_to, void (*done)(void), void *arg)
{
    weft_call_options o;
    const char *reason;
    weft_result *result = NULL;
    int rc = weft__client_options(&o, channel, options, &reason);
    if (rc == 0 && (check(method, request) != NULL || o.info != NULL))
        rc = -EINVAL;
    if (rc == 0)
        rc = make_result(&result, channel);
    if (rc != 0)
        return rc;
    result->deliver = deliver_to;
    result->done = done;
    result->arg = arg;
    rc = copy_metadata(result, &o);
    if (rc < 0)
        goto fail;
    o.info = &result->info;
    rc = weft__client_call_begin(&result->call, channel, method, &o);
    if (rc < 0)
        goto fail;
    rc = start(&result->call, &o, request, &result->op);
    if (rc == 0)
        return 0;
    weft__client_call_end(&result->call, NULL);
fail:
    free_result(result);
    return rc;
}

void (*weft_result_done(const weft_result *result))(void)
{
    return result->done;
}

void *weft_result_arg(const weft_result *result)
{
    return result->arg;
}

const weft_status *weft_result_status(const weft_result *result)
{
    return &result->status;
}

ProtobufCMessage *weft_result_response(const weft_result *result)
{
    return result->response;
}

const weft_call_info *weft_result_info(const weft_result *result)
{
    return &result->info;
}

weft_arena *weft_result_arena(const weft_result *result)
{
    return result->arena;
}

weft_result *weft_result_take(weft_result *result)
{
    *result->taken = true;
    return result;
}

void weft_result_free(weft_result *result)
{
    if (result != NULL)
        free_result(result);
}
