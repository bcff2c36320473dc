/* The memory engine when memory is short, and how little it takes. */
#include <errno.h>

#include "rig.h"
#include "support/alloc_fault.h"

/* ---- every allocation fails once --------------------------------------------------------------------------------- */

static void no_done(weft__op *op, int result)
{
    rig_op *self = WEFT__CONTAINER_OF(op, rig_op, op);
    self->completed++;
    self->result = result;
}

static int on_init(void *user, weft__scall *call)
{
    (void)user;
    (void)call;
    return 0;
}

static void on_fini(void *user, weft__scall *call)
{
    (void)user;
    (void)call;
}

static const weft_metadatum pair = {{"key", 3}, {"value", 5}};

/* Answers a unary call with headers, a message if there is memory for one, and trailers. */
static void answer(weft_engine *engine, weft__scall *call)
{
    weft__tx message;
    weft__finish finish = {.headers = &pair, .header_count = 1, .trailers = &pair, .trailer_count = 1};
    if (engine->vtable->tx_alloc(engine, 0, &message) == 0)
        finish.message = &message;
    else
        finish.code = WEFT_RESOURCE_EXHAUSTED;
    if (call->vtable->finish(call, &finish) < 0) {
        if (finish.message != NULL)
            engine->vtable->tx_unref(&message);
        call->vtable->cancel(call);
    }
}

/* Answers a stream with headers and one message; what the client has sent stays unread. */
static void answer_stream(weft_engine *engine, weft__scall *call)
{
    static rig_op op;
    weft__tx message;
    const weft__send send = {.headers = &pair, .header_count = 1, .message = &message};
    weft__finish finish = {.code = WEFT_OK};
    op.op.done = no_done;
    if (engine->vtable->tx_alloc(engine, 0, &message) < 0) {
        finish.code = WEFT_RESOURCE_EXHAUSTED;
    } else if (call->vtable->send(call, &send, &op.op) < 0) {
        engine->vtable->tx_unref(&message);
        finish.code = WEFT_RESOURCE_EXHAUSTED;
    }
    if (call->vtable->finish(call, &finish) < 0)
        call->vtable->cancel(call);
}

static void on_begin(void *user, weft__scall *call, const weft__call_start *start)
{
    weft_engine *engine = user;
    weft__rx request = start->message;
    engine->vtable->rx_release(&request);
    if (start->method->kind == WEFT_UNARY)
        answer(engine, call);
    else
        answer_stream(engine, call);
}

static void on_call(void *user, weft__scall *call)
{
    (void)user;
    (void)call;
}

static void on_closed(void *user)
{
    (void)user;
}

static const weft__server_events events = {on_init, on_fini, on_begin, on_call, on_call, on_closed};
static const weft__server_method unary = {"/rig/Unary", WEFT_UNARY, 1000, true};
static const weft__server_method bidi = {"/rig/Bidi", WEFT_BIDI_STREAM, 1000, true};
static const weft__server_method *const methods[] = {&unary, &bidi};

/* Starts a call with metadata and a message: 0, or -ENOMEM. */
static int start(weft_engine *engine, weft__ccall *call, const weft_method *method, rig_op *op)
{
    weft__tx message;
    *op = (rig_op){.op = {no_done}};
    if (engine->vtable->tx_alloc(engine, 10, &message) < 0)
        return -ENOMEM;
    const weft__call_args args = {.method = method,
                                  .deadline_ns = INT64_MAX,
                                  .metadata = &pair,
                                  .metadata_count = 1,
                                  .message = &message,
                                  .half_close = true};
    int rc = method->kind == WEFT_UNARY ? call->vtable->unary(call, &args, &op->op)
                                        : call->vtable->start(call, &args, &op->op);
    if (rc < 0)
        engine->vtable->tx_unref(&message);
    return rc;
}

/* One call of a method, up to its end: 0, or -ENOMEM for any failure. */
static int run_call(weft_engine *engine, weft__tchannel *channel, const weft_method *method)
{
    weft__ccall *call;
    weft__result result;
    rig_op op, recv = {.op = {no_done}};
    if (channel->vtable->call_new(channel, &call) < 0)
        return -ENOMEM;
    int rc = start(engine, call, method, &op);
    if (rc == 0) {
        if (method->kind != WEFT_UNARY)
            assert_int_equal(call->vtable->recv(call, &recv.op), 0);
        (void)weft_test_step(engine, SIZE_MAX);
        assert_int_equal(op.completed, 1);
        assert_int_equal(recv.completed, method->kind != WEFT_UNARY);
        call->vtable->result(call, &result); /* a stream's message is left to the engine */
        if (result.response.impl != NULL)
            engine->vtable->rx_release(&result.response);
        rc = result.code == WEFT_OK ? 0 : -ENOMEM;
    }
    call->vtable->free(call);
    return rc;
}

static int call_both(weft_engine *engine, weft__tchannel *channel)
{
    int rc = run_call(engine, channel, &rig_bidi);
    return rc == 0 ? run_call(engine, channel, &rig_unary) : rc;
}

static int connect_and_call(weft_engine *engine, weft__tchannel *channel)
{
    int state = -1;
    for (int i = 0; i < 10 && state != WEFT__LINK_READY; i++) {
        rig_op op = {.op = {no_done}};
        assert_int_equal(channel->vtable->watch(channel, state, &op.op), 0);
        weft_test_advance(engine, INT64_C(10000) * RIG_MS);
        if (op.completed == 0) { /* all attempts fail */
            channel->vtable->close(channel);
            (void)weft_test_step(engine, SIZE_MAX);
        }
        assert_int_equal(op.completed, 1);
        state = op.result;
        if (state < 0)
            return -ENOMEM;
    }
    /* An attempt that fails for lack of memory is made again, and may succeed. */
    return state == WEFT__LINK_READY && !weft_test_alloc_failed() ? call_both(engine, channel) : -ENOMEM;
}

static int serve_and_call(weft_engine *engine)
{
    char bound[64];
    weft__tserver *server;
    weft__tchannel *channel;
    int rc = engine->vtable->bind_name(engine, "test:0", bound, sizeof bound);
    if (rc < 0)
        return rc;
    const char *const names[] = {bound};
    const weft__server_config server_config = {
        .events = &events,
        .user = engine,
        .call_size = 10,
        .methods = methods,
        .method_count = 2,
        .names = names,
        .name_count = 1,
        .max_connections = INT64_MAX,
        .max_streams = INT64_MAX,
        .max_message_bytes = INT64_MAX,
        .max_metadata_bytes = INT64_MAX,
        .max_connection_age_ms = INT64_MAX,
        .max_connection_age_grace_ms = INT64_MAX,
        .max_connection_idle_ms = INT64_MAX,
    };
    const weft__channel_config channel_config = {.target = bound,
                                                 .max_message_bytes = INT64_MAX,
                                                 .max_metadata_bytes = INT64_MAX,
                                                 .connect_timeout_ms = 1000,
                                                 .min_backoff_ms = 1000,
                                                 .max_backoff_ms = 1000};
    rc = engine->vtable->server_new(engine, &server_config, &server);
    if (rc < 0)
        goto fail_server;
    rc = engine->vtable->channel_new(engine, &channel_config, &channel);
    if (rc < 0)
        goto fail_channel;
    rc = connect_and_call(engine, channel);
    channel->vtable->destroy(channel);
fail_channel:
    server->vtable->shutdown(server);
    (void)weft_test_step(engine, SIZE_MAX);
    server->vtable->destroy(server);
fail_server:
    engine->vtable->unbind_name(engine, bound);
    return rc;
}

static int run_all(void *context)
{
    (void)context;
    weft_engine *engine;
    int rc = weft_memory_engine_new(&engine, NULL);
    if (rc < 0)
        return rc;
    weft_test_fault fault = WEFT_TEST_FAULT_INIT;
    fault.point = WEFT_TEST_SEND; /* which never strikes */
    fault.after = 1000;
    fault.kind = WEFT_TEST_REFUSE;
    rc = weft_test_inject(engine, &fault);
    if (rc == 0)
        rc = serve_and_call(engine);
    assert_int_equal(weft_engine_free(engine), 0);
    return rc;
}

static void a_call_survives_the_failure_of_any_allocation(void **state)
{
    (void)state;
    assert_in_range(weft_test_oom_sweep(run_all, NULL), 15, 40);
}

static void a_thread_that_does_not_start_is_reported(void **state)
{
    (void)state;
    weft_engine *engine;
    weft_memory_engine_options options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
    options.threaded = true;
    long before = weft_test_alloc_live();
    weft_test_thread_fail_at(1);
    assert_int_equal(weft_memory_engine_new(&engine, &options), -EAGAIN);
    weft_test_thread_fail_at(0);
    assert_int_equal(weft_test_alloc_live(), before);
}

static void a_call_object_whose_set_up_fails_ends_the_call(void **state)
{
    (void)state;
    struct rig rig;
    weft__result result;
    rig_start(&rig, NULL, NULL);
    rig.init_error = -ENOMEM;
    weft__ccall *call = rig_unary_run(&rig, "?", &result);
    assert_int_equal(result.code, WEFT_RESOURCE_EXHAUSTED);
    assert_int_equal(result.seen, WEFT__SEEN_NO);
    rig_free(call);
    rig_stop(&rig);
}

/* ---- nothing after warm-up --------------------------------------------------------------------------------------- */

static void call_with_everything(struct rig *rig)
{
    const weft_metadatum pairs[] = {{weft_sv_from("key"), weft_sv_from("value")}};
    rig_op op;
    weft__result result;
    weft__ccall *call = rig_call_new(rig);
    weft__tx message = rig_big_message(rig, 700);
    const weft__call_args args = {.method = &rig_unary,
                                  .deadline_ns = weft_engine_now_ns(rig->engine) + RIG_MS,
                                  .metadata = pairs,
                                  .metadata_count = 1,
                                  .message = &message};
    rig_op_init(&op);
    assert_int_equal(call->vtable->unary(call, &args, &op.op), 0);
    (void)weft_test_step(rig->engine, SIZE_MAX);
    const weft__finish answer = {.headers = pairs,
                                 .header_count = 1,
                                 .code = WEFT_NOT_FOUND,
                                 .status_message = weft_sv_from("no"),
                                 .trailers = pairs,
                                 .trailer_count = 1};
    assert_int_equal(rig->call->transport->vtable->finish(rig->call->transport, &answer), 0);
    (void)weft_test_step(rig->engine, SIZE_MAX);
    assert_int_equal(op.completed, 1);
    call->vtable->result(call, &result);
    assert_int_equal(result.code, WEFT_NOT_FOUND);
    rig_free(call);
}

static void stream_messages(struct rig *rig)
{
    rig_op end, recv, send;
    weft__ccall *call = rig_call_new(rig);
    const weft__call_args args = {.method = &rig_bidi, .deadline_ns = INT64_MAX};
    rig_op_init(&end);
    assert_int_equal(call->vtable->start(call, &args, &end.op), 0);
    (void)weft_test_step(rig->engine, SIZE_MAX);
    weft__scall *server = rig->call->transport;
    for (int i = 0; i < 10; i++) {
        weft__rx rx;
        weft__tx message = rig_big_message(rig, 900);
        rig_op_init(&send);
        assert_int_equal(call->vtable->send(call, &message, false, &send.op), 0);
        rig_op_init(&recv);
        assert_int_equal(server->vtable->recv(server, &recv.op), 0);
        (void)weft_test_step(rig->engine, SIZE_MAX);
        server->vtable->take(server, &rx);
        rig->engine->vtable->rx_release(&rx);
    }
    rig_finish(rig->call, WEFT_OK, NULL);
    (void)weft_test_step(rig->engine, SIZE_MAX);
    assert_int_equal(end.completed, 1);
    rig_free(call);
}

static void after_warm_up_a_call_allocates_nothing(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, NULL, NULL);
    call_with_everything(&rig);
    stream_messages(&rig);
    long before = weft_test_alloc_count();
    for (int i = 0; i < 100; i++) {
        call_with_everything(&rig);
        stream_messages(&rig);
    }
    assert_int_equal(weft_test_alloc_count(), before);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_survives_the_failure_of_any_allocation),
        cmocka_unit_test(a_thread_that_does_not_start_is_reported),
        cmocka_unit_test(a_call_object_whose_set_up_fails_ends_the_call),
        cmocka_unit_test(after_warm_up_a_call_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
