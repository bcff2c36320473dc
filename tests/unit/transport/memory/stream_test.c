/* Streams at the seam of the memory engine, stepped. */
#include <errno.h>

#include "rig.h"

/* A stream of the client, with its operations. */
struct stream {
    weft__ccall *call;
    rig_op end;
    rig_op recv;
    rig_op send;
    weft__result result;
};

static void step(struct rig *rig)
{
    (void)weft_test_step(rig->engine, SIZE_MAX);
}

static void open_stream(struct rig *rig, struct stream *stream, const weft_method *method, const char *text,
                        bool half_close)
{
    weft__tx message;
    weft__call_args args = {.method = method, .deadline_ns = INT64_MAX, .half_close = half_close};
    if (text != NULL) {
        message = rig_message(rig, text);
        args.message = &message;
    }
    *stream = (struct stream){.call = rig_call_new(rig)};
    rig_op_init(&stream->end);
    rig_op_init(&stream->recv);
    rig_op_init(&stream->send);
    assert_int_equal(stream->call->vtable->start(stream->call, &args, &stream->end.op), 0);
    step(rig);
}

/* Sees the stream at its end, and frees it. */
static void close_stream(struct rig *rig, struct stream *stream, weft_code code)
{
    step(rig);
    assert_int_equal(stream->end.completed, 1);
    stream->call->vtable->result(stream->call, &stream->result);
    assert_int_equal(stream->result.code, code);
    rig_free(stream->call);
}

static void client_send(struct rig *rig, struct stream *stream, const char *text)
{
    weft__tx message = rig_message(rig, text);
    rig_op_init(&stream->send);
    assert_int_equal(stream->call->vtable->send(stream->call, &message, false, &stream->send.op), 0);
    assert_int_equal(stream->send.completed, 0);
}

static void client_half_close(struct rig *rig, struct stream *stream)
{
    rig_op_init(&stream->send);
    assert_int_equal(stream->call->vtable->half_close(stream->call, &stream->send.op), 0);
    step(rig);
    assert_int_equal(stream->send.completed, 1);
    assert_int_equal(stream->send.result, 0);
}

static void client_recv(struct stream *stream)
{
    rig_op_init(&stream->recv);
    assert_int_equal(stream->call->vtable->recv(stream->call, &stream->recv.op), 0);
    assert_int_equal(stream->recv.completed, 0);
}

/* The next message, or no more (`text` is NULL), which after the end the start of the receive tells. */
static void client_expect(struct rig *rig, struct stream *stream, const char *text)
{
    weft__rx rx;
    if (text == NULL && stream->end.completed > 0) {
        assert_int_equal(stream->call->vtable->recv(stream->call, &stream->recv.op), -ESHUTDOWN);
        return;
    }
    client_recv(stream);
    step(rig);
    assert_int_equal(stream->recv.completed, 1);
    assert_int_equal(stream->recv.result, 0);
    stream->call->vtable->take(stream->call, &rx);
    if (text == NULL)
        assert_null(rx.impl);
    else
        assert_rig_received(rig, &rx, text);
}

static void server_send(rig_call *call, const char *text)
{
    weft__tx message = rig_message(call->rig, text);
    const weft__send send = {.message = &message};
    rig_op_init(&call->send);
    assert_int_equal(call->transport->vtable->send(call->transport, &send, &call->send.op), 0);
    assert_int_equal(call->send.completed, 0);
}

static void server_recv(rig_call *call)
{
    rig_op_init(&call->recv);
    assert_int_equal(call->transport->vtable->recv(call->transport, &call->recv.op), 0);
    assert_int_equal(call->recv.completed, 0);
}

static void server_expect(rig_call *call, const char *text)
{
    weft__rx rx;
    server_recv(call);
    step(call->rig);
    assert_int_equal(call->recv.completed, 1);
    assert_int_equal(call->recv.result, 0);
    call->transport->vtable->take(call->transport, &rx);
    if (text == NULL)
        assert_null(rx.impl);
    else
        assert_rig_received(call->rig, &rx, text);
}

/* ---- the four kinds ---------------------------------------------------------------------------------------------- */

static void both_sides_send_and_receive_in_turn(void **state)
{
    (void)state;
    struct rig rig;
    struct stream s;
    rig_start(&rig, NULL, NULL);
    open_stream(&rig, &s, &rig_bidi, NULL, false);
    assert_int_equal(rig.begun, 1);
    client_send(&rig, &s, "one");
    server_expect(rig.call, "one");
    server_send(rig.call, "eins");
    client_expect(&rig, &s, "eins");
    client_send(&rig, &s, "two");
    step(&rig);
    client_send(&rig, &s, "three");
    server_expect(rig.call, "two");
    server_expect(rig.call, "three");
    client_half_close(&rig, &s);
    server_expect(rig.call, NULL);
    server_expect(rig.call, NULL);
    rig_finish(rig.call, WEFT_OK, NULL);
    client_expect(&rig, &s, NULL);
    close_stream(&rig, &s, WEFT_OK);
    rig_stop(&rig);
}

static void receives_may_be_waiting_before_anything_is_sent(void **state)
{
    (void)state;
    struct rig rig;
    struct stream s;
    weft__rx rx;
    rig_start(&rig, NULL, NULL);
    open_stream(&rig, &s, &rig_bidi, NULL, false);
    client_recv(&s);
    server_recv(rig.call);
    step(&rig);
    assert_int_equal(s.recv.completed, 0);
    assert_int_equal(rig.call->recv.completed, 0);
    client_send(&rig, &s, "ping");
    server_send(rig.call, "pong");
    step(&rig);
    assert_int_equal(rig.call->recv.completed, 1);
    rig.call->transport->vtable->take(rig.call->transport, &rx);
    assert_rig_received(&rig, &rx, "ping");
    assert_int_equal(s.recv.completed, 1);
    s.call->vtable->take(s.call, &rx);
    assert_rig_received(&rig, &rx, "pong");
    client_recv(&s);
    rig_finish(rig.call, WEFT_OK, NULL);
    step(&rig);
    assert_int_equal(s.recv.completed, 1);
    assert_int_equal(s.recv.result, 0);
    s.call->vtable->take(s.call, &rx);
    assert_null(rx.impl);
    close_stream(&rig, &s, WEFT_OK);
    rig_stop(&rig);
}

static void a_server_stream_begins_with_its_request_and_ends_when_all_is_read(void **state)
{
    (void)state;
    struct rig rig;
    struct stream s;
    rig_start(&rig, NULL, NULL);
    open_stream(&rig, &s, &rig_server_stream, "list", true);
    assert_rig_received(&rig, &rig.call->start.message, "list");
    server_send(rig.call, "a");
    step(&rig);
    server_send(rig.call, "b");
    step(&rig);
    rig_finish(rig.call, WEFT_OK, NULL);
    step(&rig);
    assert_int_equal(rig.ended, 1);
    assert_int_equal(s.end.completed, 0); /* two messages are left */
    client_expect(&rig, &s, "a");
    assert_int_equal(s.end.completed, 0);
    client_expect(&rig, &s, "b");
    client_expect(&rig, &s, NULL);
    close_stream(&rig, &s, WEFT_OK);
    rig_stop(&rig);
}

static void a_client_stream_is_answered_with_one_message(void **state)
{
    (void)state;
    struct rig rig;
    struct stream s;
    rig_start(&rig, NULL, NULL);
    open_stream(&rig, &s, &rig_client_stream, "1", false);
    assert_null(rig.call->start.message.impl);
    client_send(&rig, &s, "2");
    step(&rig);
    client_half_close(&rig, &s);
    server_expect(rig.call, "1");
    server_expect(rig.call, "2");
    server_expect(rig.call, NULL);
    rig_finish(rig.call, WEFT_OK, "3");
    client_expect(&rig, &s, "3");
    close_stream(&rig, &s, WEFT_OK);
    rig_stop(&rig);
}

static void headers_go_with_the_first_send_and_only_once(void **state)
{
    (void)state;
    struct rig rig;
    struct stream s;
    const weft_metadatum first = {weft_sv_from("h"), weft_sv_from("first")};
    const weft_metadatum second = {weft_sv_from("h"), weft_sv_from("second")};
    rig_start(&rig, NULL, NULL);
    open_stream(&rig, &s, &rig_bidi, NULL, true);
    const weft__send send = {.headers = &first, .header_count = 1}; /* and no message */
    rig_op_init(&rig.call->send);
    assert_int_equal(rig.call->transport->vtable->send(rig.call->transport, &send, &rig.call->send.op), 0);
    step(&rig);
    assert_int_equal(rig.call->send.completed, 1);
    assert_int_equal(rig.call->send.result, 0);
    const weft__finish answer = {.headers = &second, .header_count = 1, .code = WEFT_OK};
    assert_int_equal(rig.call->transport->vtable->finish(rig.call->transport, &answer), 0);
    step(&rig);
    s.call->vtable->result(s.call, &s.result);
    assert_int_equal(s.result.headers.count, 1);
    assert_true(weft_sv_is(rig.engine->vtable->md_at(&s.result.headers, 0).value, "first"));
    close_stream(&rig, &s, WEFT_OK);
    rig_stop(&rig);
}

static void headers_over_the_channels_limit_end_the_stream(void **state)
{
    (void)state;
    struct rig rig;
    struct stream s;
    char value[1000];
    memset(value, 'v', sizeof value);
    const weft_metadatum large = {weft_sv_from("k"), weft_sv_of(value, sizeof value)};
    rig_start(&rig, NULL, NULL);
    open_stream(&rig, &s, &rig_bidi, NULL, true);
    weft__tx message = rig_message(&rig, "?");
    const weft__send send = {.headers = &large, .header_count = 1, .message = &message};
    rig_op_init(&rig.call->send);
    assert_int_equal(rig.call->transport->vtable->send(rig.call->transport, &send, &rig.call->send.op), 0);
    close_stream(&rig, &s, WEFT_RESOURCE_EXHAUSTED);
    assert_false(s.result.from_peer);
    assert_int_equal(rig.call->send.completed, 1);
    assert_int_equal(rig.call->send.result, -ECANCELED);
    rig_finish(rig.call, WEFT_OK, NULL);
    rig_stop(&rig);
}

static void a_message_can_go_to_many_streams(void **state)
{
    (void)state;
    struct rig rig;
    struct stream s[3];
    rig_call *calls[3];
    rig_start(&rig, NULL, NULL);
    weft__tx message = rig_message(&rig, "news");
    for (size_t i = 0; i < 3; i++) {
        open_stream(&rig, &s[i], &rig_server_stream, "", true);
        calls[i] = rig.call;
        weft__tx copy = message;
        const weft__send send = {.message = &copy};
        rig_op_init(&calls[i]->send);
        rig.engine->vtable->tx_ref(&message);
        assert_int_equal(calls[i]->transport->vtable->send(calls[i]->transport, &send, &calls[i]->send.op), 0);
    }
    rig.engine->vtable->tx_unref(&message);
    for (size_t i = 0; i < 3; i++) {
        client_expect(&rig, &s[i], "news");
        rig_finish(calls[i], WEFT_OK, NULL);
        close_stream(&rig, &s[i], WEFT_OK);
    }
    rig_stop(&rig);
}

/* ---- exactly one request ----------------------------------------------------------------------------------------- */

static void a_unary_handler_begins_after_the_half_close(void **state)
{
    (void)state;
    struct rig rig;
    struct stream s;
    rig_start(&rig, NULL, NULL);
    open_stream(&rig, &s, &rig_unary, NULL, false);
    client_send(&rig, &s, "late");
    step(&rig);
    assert_int_equal(rig.begun, 0);
    client_half_close(&rig, &s);
    assert_int_equal(rig.begun, 1);
    assert_int_equal(rig.call->start.refuse, WEFT_OK);
    rig_echo(&rig, rig.call);
    client_expect(&rig, &s, "late");
    close_stream(&rig, &s, WEFT_OK);
    rig_stop(&rig);
}

static void no_request_and_two_requests_are_refused(void **state)
{
    (void)state;
    struct rig rig;
    struct stream s;
    rig_start(&rig, NULL, NULL);
    rig.handler = rig_echo; /* which finishes with what the engine found */
    open_stream(&rig, &s, &rig_unary, NULL, true);
    assert_int_equal(rig.call->start.refuse, WEFT_UNIMPLEMENTED);
    assert_non_null(rig.call->start.refuse_message);
    close_stream(&rig, &s, WEFT_UNIMPLEMENTED);

    open_stream(&rig, &s, &rig_server_stream, "one", false);
    assert_int_equal(rig.begun, 1);
    client_send(&rig, &s, "two");
    step(&rig);
    assert_int_equal(rig.begun, 2);
    assert_int_equal(rig.call->start.refuse, WEFT_UNIMPLEMENTED);
    assert_null(rig.call->start.message.impl);
    close_stream(&rig, &s, WEFT_UNIMPLEMENTED);
    rig_stop(&rig);
}

static void answer_twice(struct rig *rig, rig_call *call)
{
    (void)rig;
    server_send(call, "one");
    rig_finish(call, WEFT_OK, "two");
}

static void more_than_one_response_to_a_unary_call_is_unimplemented(void **state)
{
    (void)state;
    struct rig rig;
    weft__result result;
    rig_start(&rig, NULL, NULL);
    rig.handler = answer_twice;
    weft__ccall *call = rig_unary_run(&rig, "?", &result);
    assert_int_equal(result.code, WEFT_UNIMPLEMENTED);
    assert_false(result.from_peer);
    if (result.response.impl != NULL)
        rig.engine->vtable->rx_release(&result.response);
    rig_free(call);
    rig_stop(&rig);
}

/* ---- flow -------------------------------------------------------------------------------------------------------- */

static void a_sender_waits_while_too_much_is_buffered(void **state)
{
    (void)state;
    struct rig rig;
    struct stream s;
    weft_memory_engine_options options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
    options.max_buffered_bytes = 2 * (3 + 5); /* of two messages, with what gRPC puts before each */
    rig_start(&rig, &options, NULL);
    open_stream(&rig, &s, &rig_bidi, NULL, false);
    for (int i = 0; i < 2; i++) {
        client_send(&rig, &s, "123");
        server_send(rig.call, "123");
        step(&rig);
        assert_int_equal(s.send.completed, i == 0); /* the second one fills it */
        assert_int_equal(rig.call->send.completed, i == 0);
    }
    server_expect(rig.call, "123");
    assert_int_equal(s.send.completed, 1);
    assert_int_equal(rig.call->send.completed, 0);
    client_expect(&rig, &s, "123");
    assert_int_equal(rig.call->send.completed, 1);
    assert_int_equal(rig.call->send.result, 0);
    s.call->vtable->cancel(s.call, WEFT_CANCELLED, "");
    close_stream(&rig, &s, WEFT_CANCELLED);
    rig_finish(rig.call, WEFT_OK, NULL);
    rig_stop(&rig);
}

static void empty_messages_fill_the_buffer_too(void **state)
{
    (void)state;
    struct rig rig;
    struct stream s;
    weft_memory_engine_options options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
    options.max_buffered_bytes = 100;
    rig_start(&rig, &options, NULL);
    open_stream(&rig, &s, &rig_bidi, NULL, false);
    for (int i = 1; i <= 20; i++) {
        client_send(&rig, &s, "");
        step(&rig);
        assert_int_equal(s.send.completed, i < 20);
    }
    rig_finish(rig.call, WEFT_OK, NULL);
    close_stream(&rig, &s, WEFT_OK);
    rig_stop(&rig);
}

static void a_message_larger_than_the_buffer_passes_alone(void **state)
{
    (void)state;
    struct rig rig;
    struct stream s;
    weft_memory_engine_options options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
    options.max_buffered_bytes = 1;
    rig_start(&rig, &options, NULL);
    open_stream(&rig, &s, &rig_bidi, NULL, false);
    client_send(&rig, &s, "large");
    step(&rig);
    assert_int_equal(s.send.completed, 0);
    server_expect(rig.call, "large");
    assert_int_equal(s.send.completed, 1);
    rig_finish(rig.call, WEFT_OK, NULL);
    close_stream(&rig, &s, WEFT_OK);
    rig_stop(&rig);
}

static void one_send_and_one_receive_may_be_outstanding(void **state)
{
    (void)state;
    struct rig rig;
    struct stream s;
    weft_memory_engine_options options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
    options.max_buffered_bytes = 1;
    rig_start(&rig, &options, NULL);
    open_stream(&rig, &s, &rig_bidi, NULL, false);
    rig_op other;
    rig_op_init(&other);
    client_recv(&s);
    assert_int_equal(s.call->vtable->recv(s.call, &other.op), -EBUSY);
    server_recv(rig.call);
    assert_int_equal(rig.call->transport->vtable->recv(rig.call->transport, &other.op), -EBUSY);
    server_send(rig.call, "full");
    weft__tx message = rig_message(&rig, "over");
    const weft__send send = {.message = &message};
    assert_int_equal(rig.call->transport->vtable->send(rig.call->transport, &send, &other.op), -EBUSY);
    client_send(&rig, &s, "full");
    assert_int_equal(s.call->vtable->send(s.call, &message, false, &other.op), -EBUSY);
    assert_int_equal(s.call->vtable->half_close(s.call, &other.op), -EBUSY);
    step(&rig);
    client_half_close(&rig, &s);
    assert_int_equal(s.call->vtable->send(s.call, &message, false, &other.op), -EPIPE);
    assert_int_equal(s.call->vtable->half_close(s.call, &other.op), -EPIPE);
    rig.engine->vtable->tx_unref(&message); /* none of these took it */
    rig_finish(rig.call, WEFT_OK, NULL);
    step(&rig);
    assert_int_equal(other.completed, 0);
    close_stream(&rig, &s, WEFT_OK);
    rig_stop(&rig);
}

/* ---- ends -------------------------------------------------------------------------------------------------------- */

/* Opens a stream of which both sides wait for room to send. */
static void open_stuck_stream(struct rig *rig, struct stream *stream)
{
    weft_memory_engine_options options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
    options.max_buffered_bytes = 1;
    rig_start(rig, &options, NULL);
    open_stream(rig, stream, &rig_bidi, NULL, false);
    server_send(rig->call, "x");
    client_send(rig, stream, "x");
    assert_int_equal(rig->call->transport->vtable->watch(rig->call->transport), 0);
    step(rig);
    assert_int_equal(stream->send.completed, 0);
    assert_int_equal(rig->call->send.completed, 0);
}

static void a_cancel_completes_the_sends_that_wait(void **state)
{
    (void)state;
    struct rig rig;
    struct stream s;
    open_stuck_stream(&rig, &s);
    s.call->vtable->cancel(s.call, WEFT_CANCELLED, "enough");
    close_stream(&rig, &s, WEFT_CANCELLED);
    assert_int_equal(s.send.completed, 1);
    assert_int_equal(s.send.result, -ECANCELED);
    assert_int_equal(rig.call->send.completed, 1);
    assert_int_equal(rig.call->send.result, -ECANCELED);
    assert_int_equal(rig.cancelled, 1);
    rig_finish(rig.call, WEFT_OK, NULL);
    step(&rig);
    assert_int_equal(rig.ended, 1);
    rig_stop(&rig);
}

static void a_cancel_completes_the_receives_that_wait(void **state)
{
    (void)state;
    struct rig rig;
    struct stream s;
    rig_start(&rig, NULL, NULL);
    open_stream(&rig, &s, &rig_bidi, NULL, false);
    client_recv(&s);
    server_recv(rig.call);
    s.call->vtable->cancel(s.call, WEFT_CANCELLED, "enough");
    close_stream(&rig, &s, WEFT_CANCELLED);
    assert_int_equal(s.recv.completed, 1);
    assert_int_equal(s.recv.result, -ECANCELED);
    assert_int_equal(rig.call->recv.completed, 1);
    assert_int_equal(rig.call->recv.result, -ECANCELED);
    assert_int_equal(rig.cancelled, 0); /* nobody watched */
    server_recv(rig.call);
    server_send(rig.call, "into the void");
    step(&rig);
    assert_int_equal(rig.call->recv.result, -ECANCELED);
    assert_int_equal(rig.call->send.result, -ECANCELED);
    assert_int_equal(rig.ended, 0);
    rig_finish(rig.call, WEFT_OK, "too late");
    step(&rig);
    assert_int_equal(rig.ended, 1);
    rig_stop(&rig);
}

static void a_finish_completes_the_sends_that_wait(void **state)
{
    (void)state;
    struct rig rig;
    struct stream s;
    open_stuck_stream(&rig, &s);
    rig_finish(rig.call, WEFT_ABORTED, NULL);
    step(&rig);
    assert_int_equal(rig.ended, 1);
    assert_int_equal(rig.cancelled, 0);
    assert_int_equal(rig.call->send.completed, 1);
    assert_int_equal(s.send.completed, 1);
    assert_int_equal(s.send.result, -ECANCELED);
    client_send(&rig, &s, "too late");
    client_expect(&rig, &s, "x");
    assert_int_equal(s.send.completed, 1);
    assert_int_equal(s.send.result, -ECANCELED);
    client_expect(&rig, &s, NULL);
    close_stream(&rig, &s, WEFT_ABORTED);
    rig_stop(&rig);
}

static void a_receive_started_between_the_status_and_the_end_comes_before_the_end(void **state)
{
    (void)state;
    struct rig rig;
    struct stream s;
    rig_start(&rig, NULL, NULL);
    open_stream(&rig, &s, &rig_bidi, NULL, false);
    rig_finish(rig.call, WEFT_OK, NULL); /* the end is queued now */
    client_recv(&s);
    client_send(&rig, &s, "?");
    while (s.end.completed == 0) {
        assert_int_equal(weft_test_step(rig.engine, 1), 1);
        if (s.end.completed == 1) {
            assert_int_equal(s.recv.completed, 1);
            assert_int_equal(s.send.completed, 1);
        }
    }
    assert_int_equal(s.recv.result, 0);
    assert_int_equal(s.send.result, -ECANCELED);
    close_stream(&rig, &s, WEFT_OK);
    rig_stop(&rig);
}

static void a_message_over_the_limit_ends_the_stream(void **state)
{
    (void)state;
    struct rig rig;
    struct stream s;
    rig_start(&rig, NULL, NULL);
    /* The channel's limit is 1000 bytes. */
    open_stream(&rig, &s, &rig_bidi, NULL, false);
    weft__tx large = rig_big_message(&rig, 1001);
    const weft__send send = {.message = &large};
    assert_int_equal(rig.call->transport->vtable->watch(rig.call->transport), 0);
    rig_op_init(&rig.call->send);
    assert_int_equal(rig.call->transport->vtable->send(rig.call->transport, &send, &rig.call->send.op), 0);
    client_recv(&s);
    step(&rig);
    assert_int_equal(s.recv.completed, 1);
    assert_int_equal(s.recv.result, -ECANCELED);
    close_stream(&rig, &s, WEFT_RESOURCE_EXHAUSTED);
    assert_false(s.result.from_peer);
    assert_int_equal(rig.cancelled, 1);
    rig_finish(rig.call, WEFT_OK, NULL);
    /* The server's limit is 1 MiB. */
    open_stream(&rig, &s, &rig_bidi, NULL, false);
    large = rig_big_message(&rig, (1 << 20) + 1);
    assert_int_equal(s.call->vtable->send(s.call, &large, false, &s.send.op), 0);
    server_recv(rig.call);
    step(&rig);
    assert_int_equal(rig.call->recv.completed, 1);
    assert_int_equal(rig.call->recv.result, -ECANCELED);
    rig_finish(rig.call, WEFT_OK, NULL);
    close_stream(&rig, &s, WEFT_RESOURCE_EXHAUSTED);
    assert_false(s.result.from_peer); /* a reset, and no answer */
    rig_stop(&rig);
}

static void operations_out_of_place_are_refused(void **state)
{
    (void)state;
    struct rig rig;
    rig_op op;
    rig_start(&rig, NULL, NULL);
    rig.handler = rig_echo;
    rig_op_init(&op);
    weft__ccall *call = rig_call_new(&rig);
    weft__tx message = rig_message(&rig, "?");
    assert_int_equal(call->vtable->recv(call, &op.op), -EINVAL); /* not started */
    assert_int_equal(call->vtable->send(call, &message, false, &op.op), -EINVAL);
    rig_free(call);
    rig_op unary;
    call = rig_unary_start(&rig, "?", INT64_MAX, &unary);
    assert_int_equal(call->vtable->recv(call, &op.op), -EINVAL); /* not a stream */
    assert_int_equal(call->vtable->half_close(call, &op.op), -EINVAL);
    const weft__call_args args = {.method = &rig_unary, .deadline_ns = INT64_MAX, .message = &message};
    assert_int_equal(call->vtable->unary(call, &args, &op.op), -EALREADY);
    rig.engine->vtable->tx_unref(&message);
    step(&rig);
    assert_int_equal(op.completed, 0);
    assert_int_equal(unary.completed, 1);
    rig_free(call);
    rig_stop(&rig);
}

/* ---- limits and the end of a server ------------------------------------------------------------------------------ */

static void limit_streams(struct rig *rig)
{
    rig->server_config.max_streams = 2;
}

static void calls_over_max_streams_wait_for_a_place(void **state)
{
    (void)state;
    struct rig rig;
    struct stream s[4];
    rig_call *calls[4];
    rig_start(&rig, NULL, limit_streams);
    for (size_t i = 0; i < 4; i++) {
        open_stream(&rig, &s[i], &rig_bidi, NULL, true);
        calls[i] = rig.call;
    }
    assert_int_equal(rig.begun, 2);
    assert_int_equal(rig.server->vtable->connections(rig.server), 1);
    s[2].call->vtable->cancel(s[2].call, WEFT_CANCELLED, "tired of waiting");
    close_stream(&rig, &s[2], WEFT_CANCELLED);
    assert_int_equal(s[2].result.seen, WEFT__SEEN_NO);
    rig_finish(calls[0], WEFT_OK, NULL);
    close_stream(&rig, &s[0], WEFT_OK);
    assert_int_equal(rig.begun, 3);
    rig_finish(rig.call, WEFT_OK, NULL);
    close_stream(&rig, &s[3], WEFT_OK);
    rig_finish(calls[1], WEFT_OK, NULL);
    close_stream(&rig, &s[1], WEFT_OK);
    rig_stop(&rig);
}

static void limit_connections(struct rig *rig)
{
    rig->server_config.max_connections = 1;
}

static void connections_over_the_limit_are_refused_until_one_ends(void **state)
{
    (void)state;
    struct rig rig;
    weft__result result;
    rig_start(&rig, NULL, limit_connections);
    rig.handler = rig_echo;
    weft__tchannel *first = rig.channel, *second;
    assert_int_equal(rig.engine->vtable->channel_new(rig.engine, &rig.channel_config, &second), 0);
    weft__ccall *call = rig_unary_run(&rig, "1", &result);
    rig.engine->vtable->rx_release(&result.response);
    rig_free(call);
    rig.channel = second;
    call = rig_unary_run(&rig, "2", &result);
    assert_int_equal(result.code, WEFT_UNAVAILABLE);
    assert_int_equal(result.seen, WEFT__SEEN_NO);
    rig_free(call);
    first->vtable->destroy(first);
    assert_int_equal(rig.server->vtable->connections(rig.server), 0);
    call = rig_unary_run(&rig, "3", &result);
    assert_rig_received(&rig, &result.response, "3");
    rig_free(call);
    rig_stop(&rig);
}

static void a_shutdown_lets_running_calls_end_and_refuses_others(void **state)
{
    (void)state;
    struct rig rig;
    struct stream s, refused;
    rig_start(&rig, NULL, NULL);
    open_stream(&rig, &s, &rig_bidi, NULL, false);
    rig_call *running = rig.call;
    rig.server->vtable->shutdown(rig.server);
    open_stream(&rig, &refused, &rig_bidi, NULL, false);
    close_stream(&rig, &refused, WEFT_UNAVAILABLE);
    assert_int_equal(refused.result.seen, WEFT__SEEN_NO);
    client_send(&rig, &s, "still there?");
    server_expect(running, "still there?");
    assert_int_equal(rig.closed, 0);
    assert_int_equal(rig.server->vtable->connections(rig.server), 1);
    rig_finish(running, WEFT_OK, NULL);
    close_stream(&rig, &s, WEFT_OK);
    assert_int_equal(rig.closed, 1);
    assert_int_equal(rig.server->vtable->connections(rig.server), 0);
    rig.server->vtable->destroy(rig.server);
    rig.server = NULL;
    rig_stop(&rig);
}

static void cancel_all_ends_what_still_runs(void **state)
{
    (void)state;
    struct rig rig;
    struct stream s[2];
    rig_start(&rig, NULL, NULL);
    open_stream(&rig, &s[0], &rig_bidi, NULL, false);
    open_stream(&rig, &s[1], &rig_unary, NULL, false); /* has not begun */
    assert_int_equal(rig.call->transport->vtable->watch(rig.call->transport), 0);
    rig.server->vtable->shutdown(rig.server);
    rig.server->vtable->cancel_all(rig.server);
    for (int i = 0; i < 2; i++) {
        close_stream(&rig, &s[i], WEFT_UNAVAILABLE);
        assert_true(s[i].result.from_peer);
    }
    assert_int_equal(rig.cancelled, 1);
    assert_int_equal(rig.closed, 0);
    rig_finish(rig.call, WEFT_OK, NULL);
    step(&rig);
    assert_int_equal(rig.closed, 1);
    rig.server->vtable->destroy(rig.server);
    rig.server = NULL;
    rig_stop(&rig);
}

static void a_shutdown_refuses_what_waits_for_a_place(void **state)
{
    (void)state;
    struct rig rig;
    struct stream s[3];
    rig_call *calls[3];
    rig_start(&rig, NULL, limit_streams);
    for (size_t i = 0; i < 3; i++) {
        open_stream(&rig, &s[i], &rig_bidi, NULL, true);
        calls[i] = rig.call;
    }
    rig.server->vtable->shutdown(rig.server);
    close_stream(&rig, &s[2], WEFT_UNAVAILABLE);
    assert_int_equal(s[2].result.seen, WEFT__SEEN_NO);
    rig.server->vtable->cancel_all(rig.server);
    for (size_t i = 0; i < 2; i++) {
        close_stream(&rig, &s[i], WEFT_UNAVAILABLE);
        calls[i]->transport->vtable->cancel(calls[i]->transport);
    }
    step(&rig);
    assert_int_equal(rig.closed, 1);
    rig.server->vtable->destroy(rig.server);
    rig.server = NULL;
    rig_stop(&rig);
}

static void a_server_without_calls_can_go_at_once(void **state)
{
    (void)state;
    struct rig rig;
    struct stream s;
    rig_op op;
    rig_start(&rig, NULL, NULL);
    rig_op_init(&op);
    assert_int_equal(rig.channel->vtable->watch(rig.channel, -1, &op.op), 0);
    step(&rig);
    assert_int_equal(op.result, WEFT__LINK_READY);
    rig.server->vtable->destroy(rig.server); /* as when a start fails half-way */
    rig.server = NULL;
    open_stream(&rig, &s, &rig_bidi, NULL, true);
    close_stream(&rig, &s, WEFT_UNAVAILABLE);
    assert_int_equal(rig.closed, 0);
    rig_stop(&rig);
}

static void use_a_unix_path(struct rig *rig)
{
    memcpy(rig->name, "unix:/run/rig", sizeof "unix:/run/rig");
}

static void peers_on_a_unix_path_have_that_name(void **state)
{
    (void)state;
    struct rig rig;
    struct stream s;
    char peer[64];
    rig_start(&rig, NULL, use_a_unix_path);
    open_stream(&rig, &s, &rig_bidi, NULL, false);
    (void)s.call->vtable->peer(s.call, peer, sizeof peer);
    assert_string_equal(peer, "unix:/run/rig");
    (void)rig.call->transport->vtable->peer(rig.call->transport, peer, sizeof peer);
    assert_string_equal(peer, "unix:");
    rig_finish(rig.call, WEFT_OK, NULL);
    close_stream(&rig, &s, WEFT_OK);
    rig_stop(&rig);
}

static void peers_have_names(void **state)
{
    (void)state;
    struct rig rig;
    struct stream s;
    char peer[64];
    rig_start(&rig, NULL, NULL);
    weft__ccall *call = rig_call_new(&rig);
    assert_int_equal(call->vtable->peer(call, peer, sizeof peer), 0);
    assert_string_equal(peer, "");
    rig_free(call);
    open_stream(&rig, &s, &rig_bidi, NULL, false);
    assert_int_equal(s.call->vtable->peer(s.call, peer, sizeof peer), strlen(rig.name));
    assert_string_equal(peer, rig.name);
    assert_int_equal(s.call->vtable->peer(s.call, peer, 4), strlen(rig.name));
    assert_string_equal(peer, "127");
    size_t len = rig.call->transport->vtable->peer(rig.call->transport, peer, sizeof peer);
    assert_int_equal(len, strlen(peer));
    assert_memory_equal(peer, "ipv4:127.0.0.1:", 15);
    rig_finish(rig.call, WEFT_OK, NULL);
    close_stream(&rig, &s, WEFT_OK);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_send_and_receive_in_turn),
        cmocka_unit_test(receives_may_be_waiting_before_anything_is_sent),
        cmocka_unit_test(a_server_stream_begins_with_its_request_and_ends_when_all_is_read),
        cmocka_unit_test(a_client_stream_is_answered_with_one_message),
        cmocka_unit_test(headers_go_with_the_first_send_and_only_once),
        cmocka_unit_test(headers_over_the_channels_limit_end_the_stream),
        cmocka_unit_test(a_message_can_go_to_many_streams),
        cmocka_unit_test(a_unary_handler_begins_after_the_half_close),
        cmocka_unit_test(no_request_and_two_requests_are_refused),
        cmocka_unit_test(more_than_one_response_to_a_unary_call_is_unimplemented),
        cmocka_unit_test(a_sender_waits_while_too_much_is_buffered),
        cmocka_unit_test(empty_messages_fill_the_buffer_too),
        cmocka_unit_test(a_message_larger_than_the_buffer_passes_alone),
        cmocka_unit_test(one_send_and_one_receive_may_be_outstanding),
        cmocka_unit_test(a_cancel_completes_the_sends_that_wait),
        cmocka_unit_test(a_cancel_completes_the_receives_that_wait),
        cmocka_unit_test(a_finish_completes_the_sends_that_wait),
        cmocka_unit_test(a_receive_started_between_the_status_and_the_end_comes_before_the_end),
        cmocka_unit_test(a_message_over_the_limit_ends_the_stream),
        cmocka_unit_test(operations_out_of_place_are_refused),
        cmocka_unit_test(calls_over_max_streams_wait_for_a_place),
        cmocka_unit_test(connections_over_the_limit_are_refused_until_one_ends),
        cmocka_unit_test(a_shutdown_lets_running_calls_end_and_refuses_others),
        cmocka_unit_test(cancel_all_ends_what_still_runs),
        cmocka_unit_test(a_shutdown_refuses_what_waits_for_a_place),
        cmocka_unit_test(a_server_without_calls_can_go_at_once),
        cmocka_unit_test(peers_have_names),
        cmocka_unit_test(peers_on_a_unix_path_have_that_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
