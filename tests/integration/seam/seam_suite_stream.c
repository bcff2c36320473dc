/* Streams, and what a unary method makes of a peer that streams. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "integration/seam/seam_suite.h"

/* ---- the server's handlers: driven by completions, on the engine's thread ---- */

static void say(struct seam *seam, seam_call *call, const char *text, weft__op *op)
{
    weft__tx message;
    size_t len = strlen(text);
    seam_check(seam, seam->engine->vtable->tx_alloc(seam->engine, len, &message) == 0, "no memory");
    memcpy(message.data, text, len);
    const weft__send send = {.message = &message};
    if (call->transport->vtable->send(call->transport, &send, op) < 0)
        seam->engine->vtable->tx_unref(&message);
}

static void echo_on_sent(weft__op *op, int result)
{
    seam_call *call = WEFT__CONTAINER_OF(op, seam_call, send);
    (void)result; /* if it failed, the receive will find the end */
    seam_check(call->seam, call->transport->vtable->recv(call->transport, &call->recv) == 0, "recv did not start");
}

static void echo_on_received(weft__op *op, int result)
{
    seam_call *call = WEFT__CONTAINER_OF(op, seam_call, recv);
    struct seam *seam = call->seam;
    weft__rx rx;
    call->transport->vtable->take(call->transport, &rx);
    if (rx.impl == NULL) {
        const weft_metadatum trailer = {weft_sv_from("x-end"), weft_sv_from("of stream")};
        const weft__finish answer = {.trailers = &trailer, .trailer_count = 1};
        seam_check(seam, call->transport->vtable->finish(call->transport, &answer) == 0, "finish failed");
        return;
    }
    seam_check(seam, result == 0, "a message from a failed receive");
    weft__tx message;
    seam_check(seam, seam->engine->vtable->tx_alloc(seam->engine, rx.total, &message) == 0, "no memory");
    seam->engine->vtable->rx_gather(&rx, message.data);
    seam->engine->vtable->rx_release(&rx);
    const weft_metadatum header = {weft_sv_from("x-start"), weft_sv_from("of stream")};
    const weft__send send = {.headers = &header, .header_count = 1, .message = &message};
    int rc = call->transport->vtable->send(call->transport, &send, &call->send);
    if (rc < 0) {
        seam->engine->vtable->tx_unref(&message);
        call->transport->vtable->cancel(call->transport);
    }
}

/* Sends back every message, and ends after the peer. */
static void echo_stream(struct seam *seam, seam_call *call)
{
    call->recv.done = echo_on_received;
    call->send.done = echo_on_sent;
    seam_check(seam, call->transport->vtable->recv(call->transport, &call->recv) == 0, "recv did not start");
}

enum {
    ROUNDS = 100
};

static void count_on_sent(weft__op *op, int result)
{
    seam_call *call = WEFT__CONTAINER_OF(op, seam_call, send);
    char text[16];
    if (result < 0 || call->rounds == ROUNDS) {
        seam_check(call->seam, seam_finish(call, WEFT_OK, NULL, NULL) == 0, "finish failed");
        return;
    }
    snprintf(text, sizeof text, "%d", call->rounds++);
    say(call->seam, call, text, op);
}

/* Sends ROUNDS numbers. */
static void count_up(struct seam *seam, seam_call *call)
{
    seam_check(seam, seam_rx_is_text(seam, &call->message, "count"), "the request of a server stream");
    call->send.done = count_on_sent;
    const weft__send headers = {.message = NULL}; /* headers alone */
    seam_check(seam, call->transport->vtable->send(call->transport, &headers, &call->send) == 0, "send headers");
}

static void sum_on_received(weft__op *op, int result)
{
    seam_call *call = WEFT__CONTAINER_OF(op, seam_call, recv);
    struct seam *seam = call->seam;
    weft__rx rx;
    (void)result;
    call->transport->vtable->take(call->transport, &rx);
    if (rx.impl != NULL) {
        call->rounds += (int)rx.total;
        seam->engine->vtable->rx_release(&rx);
        seam_check(seam, call->transport->vtable->recv(call->transport, op) == 0, "recv did not start");
        return;
    }
    char text[16];
    weft__tx message;
    int len = snprintf(text, sizeof text, "%d", call->rounds);
    seam_check(seam, seam->engine->vtable->tx_alloc(seam->engine, (size_t)len, &message) == 0, "no memory");
    memcpy(message.data, text, (size_t)len);
    if (seam_finish(call, WEFT_OK, NULL, &message) < 0)
        seam->engine->vtable->tx_unref(&message);
}

/* Counts the bytes it is sent. */
static void sum(struct seam *seam, seam_call *call)
{
    call->recv.done = sum_on_received;
    seam_check(seam, call->transport->vtable->recv(call->transport, &call->recv) == 0, "recv did not start");
}

/* ---- the client's side ---- */

static weft__ccall *start(struct seam *seam, const weft_method *method, const char *text, bool half_close, seam_op *end)
{
    weft__tx message;
    weft__call_args args = {.method = method, .deadline_ns = INT64_MAX, .half_close = half_close};
    if (text != NULL) {
        message = seam_text(seam, text);
        args.message = &message;
    }
    weft__ccall *call = seam_call_new(seam);
    seam_op_init(seam, end);
    assert_int_equal(SEAM_START(call->vtable->start(call, &args, &end->op)), 0);
    return call;
}

static void send_text(struct seam *seam, weft__ccall *call, const char *text)
{
    seam_op op;
    weft__tx message = seam_text(seam, text);
    seam_op_init(seam, &op);
    assert_int_equal(SEAM_MOVE(&op, call->vtable->send(call, &message, false, &op.op)), 0);
    assert_int_equal(seam_op_wait(&op), 0);
}

static void half_close(struct seam *seam, weft__ccall *call)
{
    seam_op op;
    seam_op_init(seam, &op);
    assert_int_equal(SEAM_MOVE(&op, call->vtable->half_close(call, &op.op)), 0);
    assert_int_equal(seam_op_wait(&op), 0);
}

/* `impl` is NULL when there is no more, which after the end the start of the receive tells. */
static weft__rx receive(struct seam *seam, weft__ccall *call)
{
    seam_op op;
    weft__rx rx = {.impl = NULL};
    seam_op_init(seam, &op);
    int rc = SEAM_MOVE(&op, call->vtable->recv(call, &op.op));
    if (rc == -ESHUTDOWN)
        return rx;
    assert_int_equal(rc, 0);
    (void)seam_op_wait(&op);
    call->vtable->take(call, &rx);
    return rx;
}

static void expect_text(struct seam *seam, weft__ccall *call, const char *text)
{
    weft__rx rx = receive(seam, call);
    assert_non_null(rx.impl);
    assert_true(seam_rx_is_text(seam, &rx, text));
}

static void expect_no_more(struct seam *seam, weft__ccall *call)
{
    weft__rx rx = receive(seam, call);
    assert_null(rx.impl);
}

static void expect_end(struct seam *seam, weft__ccall *call, seam_op *end, weft_code code, weft__result *result)
{
    (void)seam;
    assert_int_equal(seam_op_wait(end), 0);
    call->vtable->result(call, result);
    assert_seam_code(result, code);
    assert_null(result->response.impl);
}

/* ---- the cases ---- */

static void a_bidirectional_stream_plays_ping_pong(void **state)
{
    (void)state;
    struct seam seam;
    seam_op end;
    weft__result result;
    char text[32];
    seam_init(&seam);
    seam.on_begin = echo_stream;
    seam_start(&seam);
    weft__ccall *call = start(&seam, &seam_bidi, NULL, false, &end);
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(text, sizeof text, "ping %d", i);
        send_text(&seam, call, text);
        expect_text(&seam, call, text);
    }
    half_close(&seam, call);
    expect_no_more(&seam, call);
    expect_end(&seam, call, &end, WEFT_OK, &result);
    assert_true(weft_sv_is(seam_md(&seam, &result.headers, "x-start", 0), "of stream"));
    assert_true(weft_sv_is(seam_md(&seam, &result.trailers, "x-end", 0), "of stream"));
    seam_call_free(&seam, call, NULL);
    seam_stop(&seam);
}

static void a_server_streams_in_order_to_its_end(void **state)
{
    (void)state;
    struct seam seam;
    seam_op end;
    weft__result result;
    char text[32];
    seam_init(&seam);
    seam.on_begin = count_up;
    seam_start(&seam);
    weft__ccall *call = start(&seam, &seam_server_stream, "count", true, &end);
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(text, sizeof text, "%d", i);
        expect_text(&seam, call, text);
    }
    expect_no_more(&seam, call);
    expect_end(&seam, call, &end, WEFT_OK, &result);
    seam_call_free(&seam, call, NULL);
    seam_stop(&seam);
}

static void a_client_streams_and_gets_one_response(void **state)
{
    (void)state;
    struct seam seam;
    seam_op end;
    weft__result result;
    seam_init(&seam);
    seam.on_begin = sum;
    seam_start(&seam);
    weft__ccall *call = start(&seam, &seam_client_stream, NULL, false, &end);
    for (int i = 0; i < ROUNDS; i++)
        send_text(&seam, call, "ten bytes.");
    half_close(&seam, call);
    expect_text(&seam, call, "1000");
    expect_no_more(&seam, call);
    expect_end(&seam, call, &end, WEFT_OK, &result);
    seam_call_free(&seam, call, NULL);
    seam_stop(&seam);
}

static void a_send_may_follow_a_start_with_a_message_at_once(void **state)
{
    (void)state;
    struct seam seam;
    seam_init(&seam);
    seam.on_begin = echo_stream;
    seam_start(&seam);
    for (int i = 0; i < 50; i++) {
        seam_op end;
        weft__result result;
        weft__ccall *call = start(&seam, &seam_bidi, "first", false, &end);
        send_text(&seam, call, "second");
        half_close(&seam, call);
        expect_text(&seam, call, "first");
        expect_text(&seam, call, "second");
        expect_no_more(&seam, call);
        expect_end(&seam, call, &end, WEFT_OK, &result);
        seam_call_free(&seam, call, NULL);
    }
    seam_stop(&seam);
}

static void cancel_completes_what_is_outstanding(void **state)
{
    (void)state;
    struct seam seam;
    seam_op end, recv;
    weft__result result;
    weft__rx rx;
    seam_init(&seam);
    seam.on_begin = echo_stream;
    seam_start(&seam);
    weft__ccall *call = start(&seam, &seam_bidi, "hello", false, &end);
    expect_text(&seam, call, "hello");
    seam_op_init(&seam, &recv);
    assert_int_equal(SEAM_MOVE(&recv, call->vtable->recv(call, &recv.op)), 0);
    assert_int_equal(recv.completed, 0);
    call->vtable->cancel(call, WEFT_CANCELLED, "enough");
    (void)seam_op_wait(&recv);
    call->vtable->take(call, &rx);
    assert_null(rx.impl);
    expect_end(&seam, call, &end, WEFT_CANCELLED, &result);
    assert_false(result.from_peer);
    seam_await(&seam, &seam.ended, 1);
    seam_call_free(&seam, call, NULL);
    seam_stop(&seam);
}

static void refuse_stream(struct seam *seam, seam_call *call)
{
    seam_check(seam, seam_finish(call, WEFT_PERMISSION_DENIED, "not for you", NULL) == 0, "finish failed");
}

static void an_early_status_ends_a_stream_in_the_middle(void **state)
{
    (void)state;
    struct seam seam;
    seam_op end;
    weft__result result;
    seam_init(&seam);
    seam.on_begin = refuse_stream;
    seam_start(&seam);
    weft__ccall *call = start(&seam, &seam_bidi, "hello", false, &end);
    expect_no_more(&seam, call);
    expect_end(&seam, call, &end, WEFT_PERMISSION_DENIED, &result);
    assert_true(weft_sv_is(result.message, "not for you"));
    assert_true(result.from_peer);
    seam_call_free(&seam, call, NULL);
    seam_stop(&seam);
}

static void after_the_end_nothing_starts(void **state)
{
    (void)state;
    struct seam seam;
    seam_op end, op;
    weft__result result;
    seam_init(&seam);
    seam.on_begin = refuse_stream;
    seam_start(&seam);
    weft__ccall *call = start(&seam, &seam_bidi, NULL, false, &end);
    expect_end(&seam, call, &end, WEFT_PERMISSION_DENIED, &result);
    weft__tx message = seam_text(&seam, "late");
    seam_op_init(&seam, &op);
    assert_int_equal(SEAM_MOVE(&op, call->vtable->recv(call, &op.op)), -ESHUTDOWN);
    assert_int_equal(SEAM_MOVE(&op, call->vtable->send(call, &message, false, &op.op)), -ESHUTDOWN);
    assert_int_equal(SEAM_MOVE(&op, call->vtable->half_close(call, &op.op)), -ESHUTDOWN);
    seam.engine->vtable->tx_unref(&message);
    assert_int_equal(op.completed, 0);
    assert_int_equal(end.completed, 1);
    seam_call_free(&seam, call, NULL);
    seam_stop(&seam);
}

/* The sender of a stream that nobody reads stalls, after a bounded number of bytes. */
static void a_sender_feels_that_nobody_reads(void **state)
{
    (void)state;
    enum {
        PIECE = 64 << 10,
        BOUND = 8 << 20
    };
    struct seam seam;
    seam_op end, op;
    weft__result result;
    size_t sent = 0;
    uint8_t *bytes = calloc(1, PIECE);
    assert_non_null(bytes);
    seam_init(&seam);
    seam.on_begin = seam_hold;
    seam_start(&seam);
    weft__ccall *call = start(&seam, &seam_bidi, NULL, false, &end);
    seam_await(&seam, &seam.begun, 1);
    for (;;) {
        weft__tx message = seam_tx(&seam, bytes, PIECE);
        seam_op_init(&seam, &op);
        assert_int_equal(SEAM_MOVE(&op, call->vtable->send(call, &message, false, &op.op)), 0);
        if (!seam_completes_soon(&op))
            break;
        assert_int_equal(op.result, 0);
        sent += PIECE;
        assert_in_range(sent, 1, BOUND);
    }
    call->vtable->cancel(call, WEFT_CANCELLED, "enough");
    (void)seam_op_wait(&op);
    expect_end(&seam, call, &end, WEFT_CANCELLED, &result);
    seam_await(&seam, &seam.cancelled, 1);
    assert_int_equal(seam_finish(seam.held, WEFT_OK, NULL, NULL), 0);
    seam_call_free(&seam, call, NULL);
    free(bytes);
    seam_stop(&seam);
}

/* ---- a unary method and a peer that streams: exactly one request ---- */

/* Calls a unary method as if it were a stream, with this many requests. */
static weft__result unary_with(struct seam *seam, int requests, weft__ccall **out)
{
    weft_method streamed = seam_unary;
    weft__result result;
    seam_op end;
    streamed.kind = WEFT_BIDI_STREAM;
    weft__ccall *call = start(seam, &streamed, requests > 0 ? "one" : NULL, requests <= 1, &end);
    for (int i = 1; i < requests; i++) {
        seam_op op;
        weft__tx message = seam_text(seam, "more");
        seam_op_init(seam, &op);
        if (SEAM_MOVE(&op, call->vtable->send(call, &message, false, &op.op)) < 0) {
            seam->engine->vtable->tx_unref(&message);
            break;
        }
        (void)seam_op_wait(&op);
    }
    while (receive(seam, call).impl != NULL)
        fail_msg("a response");
    assert_int_equal(seam_op_wait(&end), 0);
    call->vtable->result(call, &result);
    *out = call;
    return result;
}

static void a_unary_handler_gets_exactly_one_request(void **state)
{
    (void)state;
    struct seam seam;
    weft__ccall *call;
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam_start(&seam);
    for (int requests = 0; requests <= 3; requests++) {
        if (requests == 1)
            continue;
        weft__result result = unary_with(&seam, requests, &call);
        assert_seam_code(&result, WEFT_UNIMPLEMENTED);
        assert_true(result.from_peer);
        seam_call_free(&seam, call, NULL);
    }
    assert_int_equal(seam.handled, 0);
    seam_stop(&seam);
}

static void a_unary_handler_waits_for_the_half_close(void **state)
{
    (void)state;
    struct seam seam;
    weft_method streamed = seam_unary;
    seam_op end;
    weft__result result;
    streamed.kind = WEFT_BIDI_STREAM;
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam_start(&seam);
    weft__ccall *call = start(&seam, &streamed, "request", false, &end);
    /* Another call overtakes it. */
    seam_recover(&seam);
    assert_int_equal(seam.handled, 1);
    half_close(&seam, call);
    expect_text(&seam, call, "request");
    expect_no_more(&seam, call);
    expect_end(&seam, call, &end, WEFT_OK, &result);
    seam_call_free(&seam, call, NULL);

    /* A call that is cancelled before its half-close reaches no handler. */
    call = start(&seam, &streamed, "request", false, &end);
    seam_recover(&seam);
    call->vtable->cancel(call, WEFT_CANCELLED, "changed our mind");
    expect_end(&seam, call, &end, WEFT_CANCELLED, &result);
    seam_recover(&seam);
    assert_int_equal(seam.handled, 4);
    seam_call_free(&seam, call, NULL);
    seam_stop(&seam);
}

static void two_on_sent(weft__op *op, int result)
{
    seam_call *call = WEFT__CONTAINER_OF(op, seam_call, send);
    if (result == 0 && call->rounds++ < 2)
        say(call->seam, call, "again", op);
    else
        seam_check(call->seam, seam_finish(call, WEFT_OK, NULL, NULL) == 0, "finish failed");
}

static void answer_thrice(struct seam *seam, seam_call *call)
{
    call->send.done = two_on_sent;
    say(seam, call, "once", &call->send);
}

static void more_than_one_response_is_unimplemented(void **state)
{
    (void)state;
    struct seam seam;
    weft__result result;
    weft_method unary = seam_bidi;
    unary.kind = WEFT_UNARY; /* the server streams; we do not know */
    seam_init(&seam);
    seam.on_begin = answer_thrice;
    seam_start(&seam);
    weft__ccall *call = seam_unary_text(&seam, &unary, "?", &result);
    assert_seam_code(&result, WEFT_UNIMPLEMENTED);
    assert_false(result.from_peer);
    seam_call_free(&seam, call, &result);
    seam_stop(&seam);
}

const struct CMUnitTest seam_stream_cases[] = {
    cmocka_unit_test(a_bidirectional_stream_plays_ping_pong),
    cmocka_unit_test(a_server_streams_in_order_to_its_end),
    cmocka_unit_test(a_client_streams_and_gets_one_response),
    cmocka_unit_test(a_send_may_follow_a_start_with_a_message_at_once),
    cmocka_unit_test(cancel_completes_what_is_outstanding),
    cmocka_unit_test(an_early_status_ends_a_stream_in_the_middle),
    cmocka_unit_test(after_the_end_nothing_starts),
    cmocka_unit_test(a_sender_feels_that_nobody_reads),
    cmocka_unit_test(a_unary_handler_gets_exactly_one_request),
    cmocka_unit_test(a_unary_handler_waits_for_the_half_close),
    cmocka_unit_test(more_than_one_response_is_unimplemented),
};
const size_t seam_stream_case_count = sizeof seam_stream_cases / sizeof *seam_stream_cases;
