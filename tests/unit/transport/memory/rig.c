#include "rig.h"

#include <errno.h>

/* ---- methods ----------------------------------------------------------------------------------------------------- */

const weft_method rig_unary = {.struct_size = sizeof rig_unary, .path = "/rig/Unary", .kind = WEFT_UNARY};
const weft_method rig_client_stream = {
    .struct_size = sizeof rig_client_stream, .path = "/rig/ClientStream", .kind = WEFT_CLIENT_STREAM};
const weft_method rig_server_stream = {
    .struct_size = sizeof rig_server_stream, .path = "/rig/ServerStream", .kind = WEFT_SERVER_STREAM};
const weft_method rig_bidi = {.struct_size = sizeof rig_bidi, .path = "/rig/Bidi", .kind = WEFT_BIDI_STREAM};
const weft_method rig_unknown = {.struct_size = sizeof rig_unknown, .path = "/rig/Unknown", .kind = WEFT_UNARY};

static const weft__server_method served[] = {
    {"/rig/Unary", WEFT_UNARY, 1000, true},
    {"/rig/ClientStream", WEFT_CLIENT_STREAM, 1 << 20, true},
    {"/rig/ServerStream", WEFT_SERVER_STREAM, 1 << 20, true},
    {"/rig/Bidi", WEFT_BIDI_STREAM, 1 << 20, true},
};
static const weft__server_method *const all_served[] = {&served[0], &served[1], &served[2], &served[3]};

/* ---- the server's upper side ------------------------------------------------------------------------------------- */

static int on_init(void *user, weft__scall *transport)
{
    struct rig *rig = user;
    rig_call *call = transport->state;
    if (rig->init_error != 0)
        return rig->init_error;
    memset(call, 0, sizeof *call);
    call->rig = rig;
    call->transport = transport;
    return 0;
}

static void on_fini(void *user, weft__scall *transport)
{
    rig_call *call = transport->state;
    assert_ptr_equal(call->rig, user);
    assert_int_equal(call->begun, call->ended);
}

static void on_begin(void *user, weft__scall *transport, const weft__call_start *start)
{
    struct rig *rig = user;
    rig_call *call = transport->state;
    assert_int_equal(call->begun, call->ended);
    call->begun++;
    call->cancelled = 0;
    call->start = *start;
    rig_op_init(&call->recv);
    rig_op_init(&call->send);
    rig->begun++;
    rig->call = call;
    if (rig->handler != NULL)
        rig->handler(rig, call);
}

static void on_cancelled(void *user, weft__scall *transport)
{
    struct rig *rig = user;
    rig_call *call = transport->state;
    assert_int_equal(call->begun, call->ended + 1);
    call->cancelled++;
    rig->cancelled++;
}

static void on_ended(void *user, weft__scall *transport)
{
    struct rig *rig = user;
    rig_call *call = transport->state;
    call->ended++;
    rig->ended++;
    assert_int_equal(call->begun, call->ended);
    if (call->start.message.impl != NULL)
        rig->engine->vtable->rx_release(&call->start.message);
}

static void on_closed(void *user)
{
    struct rig *rig = user;
    rig->closed++;
}

static const weft__server_events events = {
    .init = on_init,
    .fini = on_fini,
    .begin = on_begin,
    .cancelled = on_cancelled,
    .ended = on_ended,
    .closed = on_closed,
};

/* ---- the rig ----------------------------------------------------------------------------------------------------- */

void rig_serve(struct rig *rig)
{
    static const char *names[1];
    char bound[64];
    assert_int_equal(rig->engine->vtable->bind_name(rig->engine, rig->name, bound, sizeof bound), 0);
    memcpy(rig->name, bound, sizeof bound);
    names[0] = rig->name;
    rig->server_config.names = names;
    rig->server_config.name_count = 1;
    rig->closed = 0;
    assert_int_equal(rig->engine->vtable->server_new(rig->engine, &rig->server_config, &rig->server), 0);
}

void rig_start(struct rig *rig, const weft_memory_engine_options *options, void (*prepare)(struct rig *rig))
{
    memset(rig, 0, sizeof *rig);
    memcpy(rig->name, "127.0.0.1:0", sizeof "127.0.0.1:0");
    assert_int_equal(weft_memory_engine_new(&rig->engine, options), 0);
    rig->server_config = (weft__server_config){
        .events = &events,
        .user = rig,
        .call_size = sizeof(rig_call),
        .methods = all_served,
        .method_count = sizeof all_served / sizeof *all_served,
        .max_connections = INT64_MAX,
        .max_streams = INT64_MAX,
        .max_message_bytes = 1 << 20,
        .max_metadata_bytes = 1000,
        .keepalive_ms = INT64_MAX,
        .keepalive_timeout_ms = INT64_MAX,
        .max_connection_age_ms = INT64_MAX,
        .max_connection_age_grace_ms = INT64_MAX,
        .max_connection_idle_ms = INT64_MAX,
    };
    rig->channel_config = (weft__channel_config){
        .target = rig->name,
        .max_message_bytes = 1000,
        .max_metadata_bytes = 1000,
        .connect_timeout_ms = 20000,
        .min_backoff_ms = 1000,
        .max_backoff_ms = 120000,
        .keepalive_ms = INT64_MAX,
        .keepalive_timeout_ms = INT64_MAX,
    };
    if (prepare != NULL)
        prepare(rig);
    rig_serve(rig);
    assert_int_equal(rig->engine->vtable->channel_new(rig->engine, &rig->channel_config, &rig->channel), 0);
}

void rig_stop_server(struct rig *rig)
{
    rig->server->vtable->shutdown(rig->server);
    rig->server->vtable->cancel_all(rig->server);
    weft_test_advance(rig->engine, 0);
    assert_int_equal(rig->closed, 1);
    assert_int_equal(rig->begun, rig->ended);
    rig->server->vtable->destroy(rig->server);
    rig->engine->vtable->unbind_name(rig->engine, rig->name);
    rig->server = NULL;
}

void rig_stop(struct rig *rig)
{
    if (rig->channel != NULL)
        rig->channel->vtable->destroy(rig->channel);
    if (rig->server != NULL)
        rig_stop_server(rig);
    assert_int_equal(weft_engine_free(rig->engine), 0);
}

/* ---- operations and messages ------------------------------------------------------------------------------------- */

static void op_done(weft__op *op, int result)
{
    rig_op *self = WEFT__CONTAINER_OF(op, rig_op, op);
    self->completed++;
    self->result = result;
    if (self->event != NULL)
        self->engine->vtable->post(self->engine, self->event);
}

void rig_op_init(rig_op *op)
{
    *op = (rig_op){.op = {op_done}, .result = 1};
}

weft__tx rig_big_message(struct rig *rig, size_t len)
{
    weft__tx tx;
    assert_int_equal(rig->engine->vtable->tx_alloc(rig->engine, len, &tx), 0);
    assert_int_equal(tx.len, len);
    if (len > 0)
        memset(tx.data, 'x', len);
    return tx;
}

weft__tx rig_message(struct rig *rig, const char *text)
{
    weft__tx tx = rig_big_message(rig, strlen(text));
    memcpy(tx.data, text, strlen(text));
    return tx;
}

void assert_rig_received(struct rig *rig, weft__rx *rx, const char *text)
{
    char bytes[64];
    assert_non_null(rx->impl);
    assert_int_equal(rx->total, strlen(text));
    assert_in_range(rx->total, 0, sizeof bytes);
    rig->engine->vtable->rx_gather(rx, (uint8_t *)bytes);
    assert_memory_equal(bytes, text, rx->total);
    rig->engine->vtable->rx_release(rx);
    assert_null(rx->impl);
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

void rig_finish(rig_call *call, weft_code code, const char *text)
{
    weft__tx message;
    weft__finish answer = {.code = code};
    if (text != NULL) {
        message = rig_message(call->rig, text);
        answer.message = &message;
    }
    assert_int_equal(call->transport->vtable->finish(call->transport, &answer), 0);
}

void rig_echo(struct rig *rig, rig_call *call)
{
    const weft__rx *request = &call->start.message;
    if (request->impl == NULL) {
        rig_finish(call, call->start.refuse != WEFT_OK ? call->start.refuse : WEFT_UNIMPLEMENTED, NULL);
        return;
    }
    weft__tx message = rig_big_message(rig, request->total);
    rig->engine->vtable->rx_gather(request, message.data);
    const weft__finish answer = {.message = &message, .code = WEFT_OK};
    assert_int_equal(call->transport->vtable->finish(call->transport, &answer), 0);
}

weft__ccall *rig_call_new(struct rig *rig)
{
    weft__ccall *call;
    assert_int_equal(rig->channel->vtable->call_new(rig->channel, &call), 0);
    return call;
}

weft__ccall *rig_unary_start(struct rig *rig, const char *text, int64_t deadline_ns, rig_op *op)
{
    weft__ccall *call = rig_call_new(rig);
    weft__tx message = rig_message(rig, text);
    const weft__call_args args = {.method = &rig_unary, .deadline_ns = deadline_ns, .message = &message};
    rig_op_init(op);
    assert_int_equal(call->vtable->unary(call, &args, &op->op), 0);
    assert_int_equal(op->completed, 0);
    return call;
}

weft__ccall *rig_unary_run(struct rig *rig, const char *text, weft__result *result)
{
    rig_op op;
    weft__ccall *call = rig_unary_start(rig, text, INT64_MAX, &op);
    (void)weft_test_step(rig->engine, SIZE_MAX);
    assert_int_equal(op.completed, 1);
    call->vtable->result(call, result);
    return call;
}

void rig_free(weft__ccall *call)
{
    call->vtable->free(call);
}
