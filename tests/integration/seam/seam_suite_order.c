/* What comes before what in a stream whose both ends the test's thread drives. */
#include <errno.h>

#include "integration/seam/seam_suite.h"

/* A stream, and the server's call that seam_hold kept. */
struct driven {
    struct seam *seam;
    weft__ccall *client;
    weft__scall *server;
    seam_op end;
    weft__result result;
};

static void drive(struct driven *driven, struct seam *seam, const weft_method *method, int64_t deadline_ns)
{
    const weft__call_args args = {.method = method, .deadline_ns = deadline_ns};
    driven->seam = seam;
    driven->client = seam_call_new(seam);
    seam_op_init(seam, &driven->end);
    assert_int_equal(SEAM_START(driven->client->vtable->start(driven->client, &args, &driven->end.op)), 0);
    seam_await(seam, &seam->begun, 1);
    driven->server = seam->held->transport;
}

static void setup(struct seam *seam)
{
    seam_init(seam);
    seam->on_begin = seam_hold;
    seam_start(seam);
}

static int server_send(struct driven *driven, const weft__send *send)
{
    seam_op op;
    seam_op_init(driven->seam, &op);
    assert_int_equal(SEAM_MOVE(&op, driven->server->vtable->send(driven->server, send, &op.op)), 0);
    return seam_op_wait(&op);
}

static void server_say(struct driven *driven, const char *text)
{
    weft__tx message = seam_text(driven->seam, text);
    const weft__send send = {.message = &message};
    assert_int_equal(server_send(driven, &send), 0);
}

static void start_client_recv(struct driven *driven, seam_op *op)
{
    seam_op_init(driven->seam, op);
    assert_int_equal(SEAM_MOVE(op, driven->client->vtable->recv(driven->client, &op->op)), 0);
}

/* `impl` is NULL when there is no more, which after the end the start of the receive tells. */
static weft__rx client_recv(struct driven *driven)
{
    seam_op op;
    weft__rx rx = {.impl = NULL};
    seam_op_init(driven->seam, &op);
    int rc = SEAM_MOVE(&op, driven->client->vtable->recv(driven->client, &op.op));
    if (rc == -ESHUTDOWN)
        return rx;
    assert_int_equal(rc, 0);
    assert_int_equal(seam_op_wait(&op), 0);
    driven->client->vtable->take(driven->client, &rx);
    return rx;
}

static void finish(struct driven *driven, weft_code code)
{
    const weft__finish answer = {.code = code};
    assert_int_equal(driven->server->vtable->finish(driven->server, &answer), 0);
}

static void expect_end(struct driven *driven, weft_code code)
{
    assert_int_equal(seam_op_wait(&driven->end), 0);
    driven->client->vtable->result(driven->client, &driven->result);
    assert_seam_code(&driven->result, code);
    assert_int_equal(driven->end.completed, 1);
}

static void the_end_waits_until_every_message_is_received(void **state)
{
    (void)state;
    struct seam seam;
    struct driven driven;
    setup(&seam);
    drive(&driven, &seam, &seam_bidi, INT64_MAX);
    server_say(&driven, "one");
    server_say(&driven, "two");
    finish(&driven, WEFT_ABORTED);
    seam_await(&seam, &seam.ended, 1);
    assert_int_equal(driven.end.completed, 0);
    weft__rx rx = client_recv(&driven);
    assert_true(seam_rx_is_text(&seam, &rx, "one"));
    assert_int_equal(driven.end.completed, 0);
    rx = client_recv(&driven);
    assert_true(seam_rx_is_text(&seam, &rx, "two"));
    expect_end(&driven, WEFT_ABORTED);
    seam_call_free(&seam, driven.client, NULL);
    seam_stop(&seam);
}

static void an_empty_message_is_not_the_end(void **state)
{
    (void)state;
    struct seam seam;
    struct driven driven;
    setup(&seam);
    drive(&driven, &seam, &seam_bidi, INT64_MAX);
    server_say(&driven, "");
    weft__rx rx = client_recv(&driven);
    assert_non_null(rx.impl);
    assert_true(seam_rx_is_text(&seam, &rx, ""));
    finish(&driven, WEFT_OK);
    rx = client_recv(&driven);
    assert_null(rx.impl);
    expect_end(&driven, WEFT_OK);
    seam_call_free(&seam, driven.client, NULL);
    seam_stop(&seam);
}

static void headers_go_once_with_what_is_sent_first(void **state)
{
    (void)state;
    struct seam seam;
    struct driven driven;
    const weft_metadatum first = {weft_sv_from("x-from"), weft_sv_from("send")};
    const weft_metadatum second = {weft_sv_from("x-from"), weft_sv_from("finish")};
    setup(&seam);
    drive(&driven, &seam, &seam_bidi, INT64_MAX);
    const weft__send headers = {.headers = &first, .header_count = 1}; /* and no message */
    assert_int_equal(server_send(&driven, &headers), 0);
    const weft__finish answer = {.code = WEFT_OK, .headers = &second, .header_count = 1};
    assert_int_equal(driven.server->vtable->finish(driven.server, &answer), 0);
    expect_end(&driven, WEFT_OK);
    assert_true(weft_sv_is(seam_md(&seam, &driven.result.headers, "x-from", 0), "send"));
    assert_null(seam_md(&seam, &driven.result.headers, "x-from", 1).data);
    seam_call_free(&seam, driven.client, NULL);
    seam_stop(&seam);
}

static void a_deadline_ends_the_receives_of_both_sides(void **state)
{
    (void)state;
    struct seam seam;
    struct driven driven;
    seam_op client, server;
    weft__rx rx;
    setup(&seam);
    drive(&driven, &seam, &seam_bidi, seam_in_ms(&seam, 300));
    start_client_recv(&driven, &client);
    seam_op_init(&seam, &server);
    assert_int_equal(SEAM_MOVE(&server, driven.server->vtable->recv(driven.server, &server.op)), 0);
    seam_pass_ms(&seam, 301);
    (void)seam_op_wait(&client);
    driven.client->vtable->take(driven.client, &rx);
    assert_null(rx.impl);
    expect_end(&driven, WEFT_DEADLINE_EXCEEDED);
    assert_false(driven.result.from_peer);
    (void)seam_op_wait(&server);
    driven.server->vtable->take(driven.server, &rx);
    assert_null(rx.impl);
    seam_await(&seam, &seam.cancelled, 1);
    assert_int_equal(seam.ended, 0); /* that is for the server to say */
    finish(&driven, WEFT_OK);
    seam_await(&seam, &seam.ended, 1);
    seam_call_free(&seam, driven.client, NULL);
    seam_stop(&seam);
}

static void a_finish_ends_the_receive_that_is_outstanding(void **state)
{
    (void)state;
    struct seam seam;
    struct driven driven;
    seam_op server;
    setup(&seam);
    drive(&driven, &seam, &seam_bidi, INT64_MAX);
    seam_op_init(&seam, &server);
    assert_int_equal(SEAM_MOVE(&server, driven.server->vtable->recv(driven.server, &server.op)), 0);
    finish(&driven, WEFT_OK);
    seam_await(&seam, &seam.ended, 1);
    assert_int_equal(server.completed, 1);
    assert_int_equal(seam.cancelled, 0);
    expect_end(&driven, WEFT_OK);
    seam_call_free(&seam, driven.client, NULL);
    seam_stop(&seam);
}

const struct CMUnitTest seam_order_cases[] = {
    cmocka_unit_test(the_end_waits_until_every_message_is_received),
    cmocka_unit_test(an_empty_message_is_not_the_end),
    cmocka_unit_test(headers_go_once_with_what_is_sent_first),
    cmocka_unit_test(a_deadline_ends_the_receives_of_both_sides),
    cmocka_unit_test(a_finish_ends_the_receive_that_is_outstanding),
};
const size_t seam_order_case_count = sizeof seam_order_cases / sizeof *seam_order_cases;
