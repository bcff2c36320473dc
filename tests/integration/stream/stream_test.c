/* Streams through the public API: the same cases on gRPC core and on the memory engine, with handlers that pull on
 * workers and with handlers driven by callbacks. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "google/protobuf/empty.pb-c.h"
#include "integration/stream/rig.h"

#include <weft/testing.h>

enum {
    LONG_MS = 20000, /* a time-out that no test reaches unless something is broken */
    MANY = 100
};

static const weft_call_options *with_timeout(weft_call_options *options, int64_t ms)
{
    *options = (weft_call_options)WEFT_CALL_OPTIONS_INIT;
    options->timeout_ms = ms;
    return options;
}

static chat_Chat_Talk_client *talk(struct rig *rig, const weft_call_options *options)
{
    chat_Chat_Talk_client *stream = NULL;
    assert_int_equal(chat_Chat_Talk(&stream, rig->channel, options), 0);
    return stream;
}

static chat_Chat_Gather_client *gather(struct rig *rig, const weft_call_options *options)
{
    chat_Chat_Gather_client *stream = NULL;
    assert_int_equal(chat_Chat_Gather(&stream, rig->channel, options), 0);
    return stream;
}

static chat_Chat_Spread_client *spread(struct rig *rig, const weft_call_options *options, int64_t number,
                                       size_t payload_bytes)
{
    chat_Chat_Spread_client *stream = NULL;
    Chat__Text request = CHAT__TEXT__INIT;
    request.number = number;
    request.payload.len = payload_bytes;
    request.payload.data = calloc(1, payload_bytes + 1);
    assert_non_null(request.payload.data);
    assert_int_equal(chat_Chat_Spread(&stream, rig->channel, options, &request), 0);
    free(request.payload.data);
    return stream;
}

static int say_on(chat_Chat_Talk_client *stream, const char *text, int64_t number)
{
    Chat__Text message = CHAT__TEXT__INIT;
    message.text = (char *)(uintptr_t)text;
    message.number = number;
    return chat_Chat_Talk_client_send(stream, &message);
}

/* ---- the plain stream -------------------------------------------------------------------------------------------- */

static void both_sides_stream_message_by_message(void **state)
{
    struct rig *rig = *state;
    Chat__Text *message = NULL;
    char text[32];
    rig_start(rig, NULL);
    chat_Chat_Talk_client *stream = talk(rig, NULL);
    for (int i = 0; i < MANY; i++) {
        snprintf(text, sizeof text, "message %d", i);
        assert_int_equal(say_on(stream, text, i), 0);
        assert_int_equal(chat_Chat_Talk_client_recv(stream, &message), 1);
        assert_string_equal(message->text, text);
        assert_int_equal(message->number, i);
    }
    assert_int_equal(chat_Chat_Talk_client_close_send(stream), 0);
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &message), 0);
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &message), 0);
    rig_assert_status(chat_Chat_Talk_client_finish(stream, rig->arena), WEFT_OK, "");
}

static void a_server_streams_in_order_to_its_end(void **state)
{
    struct rig *rig = *state;
    Chat__Text *message = NULL;
    rig_start(rig, NULL);
    chat_Chat_Spread_client *stream = spread(rig, NULL, MANY, 10);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(chat_Chat_Spread_client_recv(stream, &message), 1);
        assert_int_equal(message->number, i);
        assert_int_equal(message->payload.len, 10);
    }
    assert_int_equal(chat_Chat_Spread_client_recv(stream, &message), 0);
    rig_assert_status(chat_Chat_Spread_client_finish(stream, rig->arena), WEFT_OK, "");
}

static void a_client_streams_and_gets_one_response(void **state)
{
    struct rig *rig = *state;
    Chat__Text message = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    rig_start(rig, NULL);
    chat_Chat_Gather_client *stream = gather(rig, NULL);
    for (int i = 1; i <= MANY; i++) {
        message.number = i;
        assert_int_equal(chat_Chat_Gather_client_send(stream, &message), 0);
    }
    rig_assert_status(chat_Chat_Gather_client_finish(stream, rig->arena, &response), WEFT_OK, "");
    assert_int_equal(response->number, MANY * (MANY + 1) / 2);
}

static void a_stream_may_be_empty(void **state)
{
    struct rig *rig = *state;
    Chat__Text *message = NULL;
    rig_start(rig, NULL);
    chat_Chat_Talk_client *stream = talk(rig, NULL);
    assert_int_equal(chat_Chat_Talk_client_close_send(stream), 0);
    assert_int_equal(chat_Chat_Talk_client_close_send(stream), 0);
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &message), 0);
    rig_assert_status(chat_Chat_Talk_client_finish(stream, rig->arena), WEFT_OK, "");
    rig_assert_status(chat_Chat_Spread_client_finish(spread(rig, NULL, 0, 0), rig->arena), WEFT_OK, "");
    rig_assert_status(chat_Chat_Gather_client_finish(gather(rig, NULL), rig->arena, &message), WEFT_OK, "");
    assert_int_equal(message->number, 0);
}

static void an_empty_message_is_a_message(void **state)
{
    struct rig *rig = *state;
    Chat__Text *message = NULL;
    rig_start(rig, NULL);
    chat_Chat_Talk_client *stream = talk(rig, NULL);
    assert_int_equal(say_on(stream, "", 0), 0);
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &message), 1);
    assert_string_equal(message->text, "");
    rig_assert_status(chat_Chat_Talk_client_finish(stream, rig->arena), WEFT_OK, "");
}

static void large_messages_travel_whole(void **state)
{
    struct rig *rig = *state;
    Chat__Text *message = NULL;
    enum {
        BYTES = 3 << 20
    };
    rig_start(rig, NULL);
    chat_Chat_Spread_client *stream = spread(rig, NULL, 3, BYTES);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(chat_Chat_Spread_client_recv(stream, &message), 1);
        assert_int_equal(message->payload.len, BYTES);
    }
    rig_assert_status(chat_Chat_Spread_client_finish(stream, rig->arena), WEFT_OK, "");
}

static void finish_drops_what_was_not_read(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL);
    rig_assert_status(chat_Chat_Spread_client_finish(spread(rig, NULL, 1000, 1000), rig->arena), WEFT_OK, "");
    chat_Chat_Talk_client *stream = talk(rig, NULL);
    for (int i = 0; i < 10; i++)
        assert_int_equal(say_on(stream, "unheard", i), 0);
    rig_assert_status(chat_Chat_Talk_client_finish(stream, rig->arena), WEFT_OK, "");
}

static void a_message_lives_until_the_next_receive(void **state)
{
    struct rig *rig = *state;
    Chat__Text *first = NULL;
    Chat__Text *second = NULL;
    rig_start(rig, NULL);
    chat_Chat_Talk_client *stream = talk(rig, NULL);
    assert_int_equal(say_on(stream, "first", 1), 0);
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &first), 1);
    assert_int_equal(say_on(stream, "second", 2), 0);
    assert_string_equal(first->text, "first");
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &second), 1);
    assert_string_equal(second->text, "second");
    assert_ptr_equal(first, second); /* scratch memory: used again, so a long stream does not grow */
    rig_assert_status(chat_Chat_Talk_client_finish(stream, rig->arena), WEFT_OK, "");
}

/* ---- status and metadata ----------------------------------------------------------------------------------------- */

static void headers_come_with_the_first_message_and_trailers_with_the_status(void **state)
{
    struct rig *rig = *state;
    weft_call_info info = WEFT_CALL_INFO_INIT;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    rig->header = "hello";
    rig_start(rig, NULL);
    options.info = &info;
    rig_assert_status(chat_Chat_Spread_client_finish(spread(rig, &options, 2, 0), rig->arena), WEFT_OK, "");
    assert_true(weft_sv_is(weft_metadata_find(&info.headers, "x-header"), "hello"));
    assert_true(weft_sv_is(weft_metadata_find(&info.trailers, "x-trailer"), "end"));
    info = (weft_call_info)WEFT_CALL_INFO_INIT;
    rig_assert_status(chat_Chat_Spread_client_finish(spread(rig, &options, 0, 0), rig->arena), WEFT_OK, "");
    assert_true(weft_sv_is(weft_metadata_find(&info.headers, "x-header"), "hello"));
}

static void a_status_may_come_in_the_middle(void **state)
{
    struct rig *rig = *state;
    Chat__Text *message = NULL;
    int rc = 0;
    rig->end_after = 3;
    rig->end_with = WEFT_ABORTED;
    rig_start(rig, NULL);
    chat_Chat_Talk_client *stream = talk(rig, NULL);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(say_on(stream, "heard", i), 0);
        assert_int_equal(chat_Chat_Talk_client_recv(stream, &message), 1);
    }
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &message), 0);
    for (int i = 0; i < 3 && rc == 0; i++) /* the first may still be on its way */
        rc = say_on(stream, "unheard", i);
    assert_int_equal(rc, -EPIPE);
    weft_status status = chat_Chat_Talk_client_finish(stream, rig->arena);
    rig_assert_status(status, WEFT_ABORTED, "as told");
    assert_true(status.from_peer);
}

static void a_response_needs_no_end_of_the_requests(void **state)
{
    struct rig *rig = *state;
    Chat__Text message = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    rig->end_after = 2;
    rig_start(rig, NULL);
    chat_Chat_Gather_client *stream = gather(rig, NULL);
    message.number = 21;
    assert_int_equal(chat_Chat_Gather_client_send(stream, &message), 0);
    assert_int_equal(chat_Chat_Gather_client_send(stream, &message), 0);
    rig_await(rig, &rig->over);
    rig_assert_status(chat_Chat_Gather_client_finish(stream, rig->arena, &response), WEFT_OK, "");
    assert_int_equal(response->number, 42);
}

static void a_failed_client_stream_has_no_response(void **state)
{
    struct rig *rig = *state;
    Chat__Text *response = NULL;
    rig->end_with = WEFT_PERMISSION_DENIED;
    rig_start(rig, NULL);
    rig_assert_status(chat_Chat_Gather_client_finish(gather(rig, NULL), rig->arena, &response), WEFT_PERMISSION_DENIED,
                      "as told");
    assert_null(response);
}

static void a_method_without_a_handler_is_unimplemented(void **state)
{
    static const chat_Chat_ops none = {.Say = NULL};
    struct rig *rig = *state;
    rig->ops = &none;
    rig_start(rig, NULL);
    rig_assert_status(chat_Chat_Talk_client_finish(talk(rig, NULL), rig->arena), WEFT_UNIMPLEMENTED, NULL);
    rig_assert_status(chat_Chat_Spread_client_finish(spread(rig, NULL, 3, 0), rig->arena), WEFT_UNIMPLEMENTED, NULL);
}

static void nobody_listening_is_unavailable(void **state)
{
    struct rig *rig = *state;
    weft_channel *channel = NULL;
    chat_Chat_Talk_client *stream = NULL;
    Chat__Text *message = NULL;
    rig_start(rig, NULL);
    assert_int_equal(weft_channel_new(&channel, rig->engine, "127.0.0.1:1", NULL), 0);
    assert_int_equal(chat_Chat_Talk(&stream, channel, NULL), 0);
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &message), 0);
    weft_status status = chat_Chat_Talk_client_finish(stream, rig->arena);
    rig_assert_status(status, WEFT_UNAVAILABLE, NULL);
    assert_false(status.from_peer);
    weft_channel_free(channel);
}

static void what_is_no_message_of_the_method_is_refused(void **state)
{
    struct rig *rig = *state;
    chat_Chat_Talk_client *stream = NULL;
    chat_Chat_Spread_client *spread_stream = NULL;
    Google__Protobuf__Empty other = GOOGLE__PROTOBUF__EMPTY__INIT;
    weft_metadatum reserved = {weft_sv_from("grpc-status"), weft_sv_from("0")};
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    rig_start(rig, NULL);
    assert_int_equal(chat_Chat_Spread(&spread_stream, rig->channel, NULL, (const Chat__Text *)(const void *)&other),
                     -EINVAL);
    options.metadata = &reserved;
    options.metadata_count = 1;
    assert_int_equal(chat_Chat_Talk(&stream, rig->channel, &options), -EPERM);
    assert_int_equal(
        weft_channel_stream((weft_stream **)(void *)&stream, rig->channel, NULL, &chat_Chat_Say_method, NULL), -EINVAL);
    assert_null(stream);
    stream = talk(rig, NULL);
    assert_int_equal(chat_Chat_Talk_client_send(stream, (const Chat__Text *)(const void *)&other), -EINVAL);
    assert_int_equal(say_on(stream, "fine", 1), 0);
    assert_int_equal(chat_Chat_Talk_client_close_send(stream), 0);
    assert_int_equal(say_on(stream, "too late", 1), -EPIPE);
    rig_assert_status(chat_Chat_Talk_client_finish(stream, rig->arena), WEFT_OK, "");
}

static void a_message_that_is_not_utf8_ends_the_stream_with_the_field_named(void **state)
{
    struct rig *rig = *state;
    Chat__Text *message = NULL;
    rig_start(rig, NULL);
    chat_Chat_Talk_client *stream = talk(rig, NULL);
    assert_int_equal(say_on(stream, "fine", 1), 0);
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &message), 1);
    assert_int_equal(say_on(stream, "\xff", 2), 0);
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &message), 0);
    rig_assert_status(chat_Chat_Talk_client_finish(stream, rig->arena), WEFT_INVALID_ARGUMENT,
                      "text: not UTF-8 (byte 2)");
    assert_int_equal(rig->last_error, -EBADMSG);
}

static void a_message_over_the_limit_ends_the_stream(void **state)
{
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    options.channel.max_message_bytes = 10000;
    rig_start(rig, &options);
    weft_status status = chat_Chat_Spread_client_finish(spread(rig, NULL, 3, 20000), rig->arena);
    rig_assert_status(status, WEFT_RESOURCE_EXHAUSTED, NULL);
    assert_false(status.from_peer);
}

static void a_message_that_needs_more_memory_than_allowed_ends_the_stream(void **state)
{
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    Chat__Text *message = NULL;
    options.channel.max_call_bytes = 5000;
    rig_start(rig, &options);
    chat_Chat_Spread_client *stream = spread(rig, NULL, 3, 20000);
    assert_int_equal(chat_Chat_Spread_client_recv(stream, &message), -ENOMEM);
    assert_int_equal(chat_Chat_Spread_client_recv(stream, &message), -ENOMEM);
    weft_status status = chat_Chat_Spread_client_finish(stream, rig->arena);
    rig_assert_status(status, WEFT_RESOURCE_EXHAUSTED, NULL);
    assert_false(status.from_peer);
}

/* Also the last one, behind which the server's OK has come already. */
static void a_last_message_that_cannot_be_read_fails_the_call(void **state)
{
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    Chat__Text *message = NULL;
    options.channel.max_call_bytes = 5000;
    options.server.max_worker_streams = -1; /* the call may be over here before its handler has returned */
    rig_start(rig, &options);
    for (int i = 0; i < MANY; i++) {
        chat_Chat_Spread_client *stream = spread(rig, NULL, 1, 20000);
        rig_await(rig, &rig->over);
        weft__event_reset(&rig->over);
        assert_int_equal(chat_Chat_Spread_client_recv(stream, &message), -ENOMEM);
        weft_status status = chat_Chat_Spread_client_finish(stream, rig->arena);
        rig_assert_status(status, WEFT_RESOURCE_EXHAUSTED, "a message needs more memory than a call may use");
    }
}

/* ---- cancel and deadline ----------------------------------------------------------------------------------------- */

static void cancel_reaches_a_handler_that_receives(void **state)
{
    struct rig *rig = *state;
    Chat__Text *message = NULL;
    rig_start(rig, NULL);
    chat_Chat_Talk_client *stream = talk(rig, NULL);
    assert_int_equal(say_on(stream, "hello", 1), 0);
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &message), 1);
    weft_stream_cancel(WEFT_STREAM(stream));
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &message), 0);
    weft_status status = chat_Chat_Talk_client_finish(stream, rig->arena);
    rig_assert_status(status, WEFT_CANCELLED, "cancelled by the caller");
    assert_false(status.from_peer);
    rig_await(rig, &rig->over);
    assert_int_equal(rig->last_error, -ECANCELED);
    assert_int_equal(rig->last_cause, WEFT_CANCELLED_BY_PEER);
}

/* Runs what a peer may do against a server, and expects that nothing is logged as a warning or worse. */
static void assert_logs_nothing(struct rig *rig, void (*misbehave)(struct rig *rig, chat_Chat_Talk_client *stream))
{
    rig_options options = rig_default_options();
    weft_log_options log_options = WEFT_LOG_OPTIONS_INIT;
    Chat__Text *message = NULL;
    FILE *file = tmpfile();
    assert_non_null(file);
    log_options.fd = fileno(file);
    log_options.level = WEFT_LOG_WARN;
    assert_int_equal(weft_log_new(&options.server.log, &log_options), 0);
    rig_start(rig, &options);
    chat_Chat_Talk_client *stream = talk(rig, NULL);
    assert_int_equal(say_on(stream, "hello", 1), 0);
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &message), 1);
    misbehave(rig, stream);
    rig_await(rig, &rig->over);
    weft_server_free(rig->server);
    rig->server = NULL;
    weft_log_free(options.server.log);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    assert_int_equal(ftell(file), 0);
    (void)fclose(file);
}

static void cancel_it(struct rig *rig, chat_Chat_Talk_client *stream)
{
    weft_stream_cancel(WEFT_STREAM(stream));
    assert_int_equal(chat_Chat_Talk_client_finish(stream, rig->arena).code, WEFT_CANCELLED);
}

static void a_peer_that_cancels_fills_no_log(void **state)
{
    assert_logs_nothing(*state, cancel_it);
}

static void send_rubbish(struct rig *rig, chat_Chat_Talk_client *stream)
{
    assert_int_equal(say_on(stream, "\xff", 2), 0);
    assert_int_equal(chat_Chat_Talk_client_finish(stream, rig->arena).code, WEFT_INVALID_ARGUMENT);
}

static void a_peer_that_sends_rubbish_fills_no_log(void **state)
{
    assert_logs_nothing(*state, send_rubbish);
}

static void cancel_reaches_a_handler_that_sends(void **state)
{
    struct rig *rig = *state;
    Chat__Text *message = NULL;
    rig_start(rig, NULL);
    chat_Chat_Spread_client *stream = spread(rig, NULL, -1, 100000);
    for (int i = 0; i < 3; i++)
        assert_int_equal(chat_Chat_Spread_client_recv(stream, &message), 1);
    weft_stream_cancel(WEFT_STREAM(stream));
    rig_assert_status(chat_Chat_Spread_client_finish(stream, rig->arena), WEFT_CANCELLED, "cancelled by the caller");
    rig_await(rig, &rig->over);
    assert_int_equal(rig->last_error, -ECANCELED);
    assert_int_equal(rig->last_cause, WEFT_CANCELLED_BY_PEER);
}

/* When the status is there already, behind messages that nobody has received, a cancel drops those. */
static void a_cancelled_stream_is_never_ok_and_short(void **state)
{
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *message = NULL;
    options.server.max_worker_streams = -1; /* the call may be over here before its handler has returned */
    rig_start(rig, &options);
    for (int i = 0; i < 5 * MANY; i++) {
        int received = 0;
        chat_Chat_Spread_client *stream = spread(rig, NULL, 3, 10);
        rig_await(rig, &rig->over);
        weft__event_reset(&rig->over);
        /* Comes back behind all that the stream has brought. */
        rig_assert_status(chat_Chat_Say(rig->channel, rig->arena, NULL, &request, &message), WEFT_OK, "");
        weft_stream_cancel(WEFT_STREAM(stream));
        while (chat_Chat_Spread_client_recv(stream, &message) == 1)
            received++;
        weft_status status = chat_Chat_Spread_client_finish(stream, rig->arena);
        if (status.code != WEFT_OK || received != 3)
            rig_assert_status(status, WEFT_CANCELLED, "cancelled by the caller");
    }
}

static void a_deadline_ends_the_stream_on_both_sides(void **state)
{
    struct rig *rig = *state;
    weft_call_options options;
    Chat__Text *message = NULL;
    rig_start(rig, NULL);
    /* The server's deadline begins when the call comes: connecting would put it off, past the client's reset. */
    assert_int_equal(weft_channel_connect(rig->channel, 10000), 0);
    chat_Chat_Talk_client *stream = talk(rig, with_timeout(&options, 300));
    assert_int_equal(say_on(stream, "hello", 1), 0);
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &message), 1);
    rig_pass_ms(rig, 301);
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &message), 0);
    weft_status status = chat_Chat_Talk_client_finish(stream, rig->arena);
    rig_assert_status(status, WEFT_DEADLINE_EXCEEDED, NULL);
    assert_false(status.from_peer);
    rig_await(rig, &rig->over);
    assert_int_equal(rig->last_error, -ETIMEDOUT);
    assert_int_equal(rig->last_cause, WEFT_CANCELLED_BY_DEADLINE);
}

static void a_stop_lets_streams_end_and_cancels_those_that_do_not(void **state)
{
    struct rig *rig = *state;
    Chat__Text *message = NULL;
    rig_start(rig, NULL);
    chat_Chat_Talk_client *stream = talk(rig, NULL);
    assert_int_equal(say_on(stream, "hello", 1), 0);
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &message), 1);
    assert_int_equal(weft_server_stop(rig->server, 0), 0);
    assert_int_equal(rig->left, 1);
    assert_int_equal(rig->last_error, -ECANCELED);
    assert_int_equal(rig->last_cause, WEFT_CANCELLED_BY_STOP);
    weft_status status = chat_Chat_Talk_client_finish(stream, rig->arena);
    assert_int_not_equal(status.code, WEFT_OK);
}

static void a_channel_that_is_freed_cancels_its_streams(void **state)
{
    struct rig *rig = *state;
    weft_channel *channel = NULL;
    chat_Chat_Talk_client *stream = NULL;
    Chat__Text *message = NULL;
    rig_start(rig, NULL);
    assert_int_equal(weft_channel_new(&channel, rig->engine, rig->target, NULL), 0);
    assert_int_equal(chat_Chat_Talk(&stream, channel, NULL), 0);
    assert_int_equal(say_on(stream, "hello", 1), 0);
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &message), 1);
    weft_stream_cancel(WEFT_STREAM(stream));
    rig_assert_status(chat_Chat_Talk_client_finish(stream, rig->arena), WEFT_CANCELLED, NULL);
    weft_channel_free(channel);
}

/* ---- flow control ------------------------------------------------------------------------------------------------ */

static void a_client_that_stops_reading_is_cancelled_after_the_stall_time(void **state)
{
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    options.server.send_stall_ms = 200;
    rig_start(rig, &options);
    chat_Chat_Spread_client *stream = spread(rig, NULL, -1, 100000);
    rig_await(rig, &rig->began);
    if (!rig->core)
        rig_pass_ms(rig, 201);
    rig_await(rig, &rig->over);
    assert_int_equal(rig->last_error, -ETIMEDOUT);
    assert_int_equal(rig->last_cause, WEFT_CANCELLED_BY_STALL);
    rig_assert_status(chat_Chat_Spread_client_finish(stream, rig->arena), WEFT_CANCELLED, NULL);
}

static void a_server_that_stops_reading_holds_back_the_client(void **state)
{
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    Chat__Text message = CHAT__TEXT__INIT;
    enum {
        BYTES = 64 << 10,
        BOUND = (16 << 20) / BYTES
    };
    int sent = 0;
    int rc = 0;
    options.channel.send_stall_ms = 200;
    rig_start(rig, &options);
    /* Talk answers each message, which we never take: it stops reading when its own sends stall. */
    chat_Chat_Talk_client *stream = talk(rig, NULL);
    message.payload.len = BYTES;
    message.payload.data = calloc(1, BYTES);
    assert_non_null(message.payload.data);
    while (rc == 0 && sent <= BOUND) {
        rc = chat_Chat_Talk_client_send(stream, &message);
        sent += rc == 0;
    }
    free(message.payload.data);
    assert_in_range(sent, 1, BOUND);
    assert_int_equal(rc, -ETIMEDOUT);
    rig_assert_status(chat_Chat_Talk_client_finish(stream, rig->arena), WEFT_CANCELLED, "the server takes nothing");
    rig_await(rig, &rig->over);
}

struct talker {
    chat_Chat_Talk_client *stream;
    int64_t count;
    int rc;
};

static void *send_all(void *arg)
{
    struct talker *talker = arg;
    for (int64_t i = 0; talker->rc == 0 && i < talker->count; i++)
        talker->rc = say_on(talker->stream, "one of many", i);
    if (talker->rc == 0)
        talker->rc = chat_Chat_Talk_client_close_send(talker->stream);
    return NULL;
}

static void one_thread_may_send_while_another_receives(void **state)
{
    struct rig *rig = *state;
    Chat__Text *message = NULL;
    pthread_t thread;
    int64_t received = 0;
    rig_start(rig, NULL);
    struct talker talker = {.stream = talk(rig, NULL), .count = 2000};
    assert_int_equal(pthread_create(&thread, NULL, send_all, &talker), 0);
    while (chat_Chat_Talk_client_recv(talker.stream, &message) == 1)
        assert_int_equal(message->number, received++);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(talker.rc, 0);
    assert_int_equal(received, 2000);
    rig_assert_status(chat_Chat_Talk_client_finish(talker.stream, rig->arena), WEFT_OK, "");
}

/* ---- limits ------------------------------------------------------------------------------------------------------ */

static void streams_over_the_cap_leave_workers_to_others(void **state)
{
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    chat_Chat_Talk_client *streams[3];
    Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    weft_server_stats stats = WEFT_SERVER_STATS_INIT;
    options.server.max_worker_streams = 2;
    rig_start(rig, &options);
    for (int i = 0; i < 3; i++) {
        streams[i] = talk(rig, NULL);
        int rc = say_on(streams[i], "hello", i);
        assert_true(rc == 0 || (i == 2 && rc == -EPIPE)); /* the third may be refused before it can say anything */
        if (i < 2)
            assert_int_equal(chat_Chat_Talk_client_recv(streams[i], &response), 1);
    }
    rig_assert_status(chat_Chat_Talk_client_finish(streams[2], rig->arena), WEFT_RESOURCE_EXHAUSTED,
                      "too many streams hold workers");
    rig_assert_status(chat_Chat_Say(rig->channel, rig->arena, NULL, &request, &response), WEFT_OK, "");
    for (int i = 0; i < 2; i++)
        rig_assert_status(chat_Chat_Talk_client_finish(streams[i], rig->arena), WEFT_OK, "");
    assert_int_equal(weft_server_read_stats(rig->server, &stats), 0);
    assert_int_equal(stats.refused_calls, 1);
}

/* A call gives back its place before its caller knows that it is over. */
static void streams_one_after_the_other_need_one_place(void **state)
{
    struct rig *rig = *state;
    rig_options options = rig_default_options();
    options.server.max_worker_streams = 1;
    rig_start(rig, &options);
    for (int i = 0; i < 10 * MANY; i++)
        rig_assert_status(chat_Chat_Spread_client_finish(spread(rig, NULL, 1, 0), rig->arena), WEFT_OK, "");
}

/* ---- packed once ------------------------------------------------------------------------------------------------- */

static void one_packed_message_goes_to_many_streams(void **state)
{
    struct rig *rig = *state;
    chat_Chat_Talk_client *streams[3];
    Chat__Text message = CHAT__TEXT__INIT;
    Google__Protobuf__Empty other = GOOGLE__PROTOBUF__EMPTY__INIT;
    Chat__Text *received = NULL;
    weft_packed *packed = NULL;
    char text[] = "for all";
    message.text = text;
    rig_start(rig, NULL);
    assert_int_equal(weft_packed_new(&packed, rig->engine, (const ProtobufCMessage *)&message), 0);
    for (int i = 0; i < 3; i++) {
        streams[i] = talk(rig, NULL);
        assert_int_equal(weft_stream_send_packed(WEFT_STREAM(streams[i]), packed), 0);
    }
    weft_packed_free(packed);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(chat_Chat_Talk_client_recv(streams[i], &received), 1);
        assert_string_equal(received->text, "for all");
    }
    assert_int_equal(weft_packed_new(&packed, rig->engine, (const ProtobufCMessage *)&other), 0);
    assert_int_equal(weft_stream_send_packed(WEFT_STREAM(streams[0]), packed), -EINVAL);
    weft_packed_free(packed);
    for (int i = 0; i < 3; i++)
        rig_assert_status(chat_Chat_Talk_client_finish(streams[i], rig->arena), WEFT_OK, "");
}

/* ---- told, not waited for ---------------------------------------------------------------------------------------- */

struct told {
    struct rig *rig;
    weft_stream *stream;
    weft__event over;
    int messages;
    weft_status status;
    bool leave_early;
    weft_arena *arena;
};

/* Receives all that is there, and finishes at the end: on the engine's thread, where nothing may block. */
static void on_readable(void *arg)
{
    struct told *told = arg;
    ProtobufCMessage *message;
    int rc;
    while ((rc = weft_stream_recv(told->stream, &message)) > 0)
        told->messages++;
    if (rc == -EAGAIN) {
        if (told->leave_early && told->messages > 0) {
            told->status = weft_stream_finish(told->stream, told->arena, NULL);
            weft__event_post(&told->over);
        } else if (weft_stream_when_readable(told->stream, on_readable, told) == 1) {
            on_readable(told);
        }
    } else if (weft_stream_when_ended(told->stream, on_readable, told) == 1) {
        told->status = weft_stream_finish(told->stream, told->arena, NULL);
        weft__event_post(&told->over);
    }
}

static void told_init(struct told *told, struct rig *rig, weft_stream *stream)
{
    *told = (struct told){.rig = rig, .stream = stream, .arena = rig->arena};
    assert_int_equal(weft__event_init(&told->over), 0);
}

static void a_client_may_be_told_instead_of_waiting(void **state)
{
    struct rig *rig = *state;
    struct told told;
    rig_start(rig, NULL);
    told_init(&told, rig, WEFT_STREAM(spread(rig, NULL, MANY, 10)));
    if (weft_stream_when_readable(told.stream, on_readable, &told) == 1) /* the first has come already */
        on_readable(&told);
    rig_await(rig, &told.over);
    assert_int_equal(told.messages, MANY);
    rig_assert_status(told.status, WEFT_OK, "");
    weft__event_fini(&told.over);
}

static void on_posted(void *arg)
{
    weft__event_post(arg);
}

static void who_is_told_already_cannot_be_told_twice(void **state)
{
    struct rig *rig = *state;
    weft__event told;
    Chat__Text *message = NULL;
    rig_start(rig, NULL);
    assert_int_equal(weft__event_init(&told), 0);
    chat_Chat_Talk_client *stream = talk(rig, NULL);
    assert_int_equal(weft_stream_when_writable(WEFT_STREAM(stream), on_posted, &told), 1);
    assert_int_equal(weft_stream_when_readable(WEFT_STREAM(stream), on_posted, &told), 0);
    assert_int_equal(weft_stream_when_readable(WEFT_STREAM(stream), on_posted, &told), -EALREADY);
    assert_int_equal(say_on(stream, "hello", 1), 0);
    rig_await(rig, &told);
    assert_int_equal(weft_stream_when_readable(WEFT_STREAM(stream), on_posted, &told), 1);
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &message), 1);
    rig_assert_status(chat_Chat_Talk_client_finish(stream, rig->arena), WEFT_OK, "");
    weft__event_fini(&told);
}

static void what_comes_after_the_end_is_harmless(void **state)
{
    static const chat_Chat_ops none = {.Say = NULL};
    struct rig *rig = *state;
    weft__event told;
    rig->ops = &none;
    rig_start(rig, NULL);
    assert_int_equal(weft__event_init(&told), 0);
    chat_Chat_Talk_client *stream = talk(rig, NULL);
    if (weft_stream_when_ended(WEFT_STREAM(stream), on_posted, &told) == 0)
        rig_await(rig, &told);
    weft_stream_cancel(WEFT_STREAM(stream));
    assert_in_range(-say_on(stream, "too late", 1), 0, EPIPE);
    assert_in_range(-chat_Chat_Talk_client_close_send(stream), 0, EPIPE);
    rig_assert_status(chat_Chat_Talk_client_finish(stream, rig->arena), WEFT_UNIMPLEMENTED, NULL);
    weft__event_fini(&told);
}

static void finishing_early_where_nothing_may_block_cancels_at_once(void **state)
{
    struct rig *rig = *state;
    struct told told;
    rig_start(rig, NULL);
    chat_Chat_Talk_client *stream = talk(rig, NULL);
    told_init(&told, rig, WEFT_STREAM(stream));
    told.leave_early = true;
    assert_int_equal(weft_stream_when_readable(told.stream, on_readable, &told), 0);
    assert_int_equal(say_on(stream, "hello", 1), 0);
    rig_await(rig, &told.over);
    rig_assert_status(told.status, WEFT_CANCELLED, "finished before the end");
    rig_await(rig, &rig->over);
    assert_int_equal(rig->last_error, -ECANCELED);
    weft__event_fini(&told.over);
}

static void on_gathered(void *arg)
{
    struct told *told = arg;
    ProtobufCMessage *response = NULL;
    told->status = weft_stream_finish(told->stream, told->arena, &response);
    told->messages = response != NULL ? (int)((Chat__Text *)response)->number : -1;
    weft__event_post(&told->over);
}

static void who_is_told_of_the_end_of_a_client_stream_finds_the_response(void **state)
{
    struct rig *rig = *state;
    struct told told;
    Chat__Text message = CHAT__TEXT__INIT;
    rig_start(rig, NULL);
    chat_Chat_Gather_client *stream = gather(rig, NULL);
    told_init(&told, rig, WEFT_STREAM(stream));
    message.number = 21;
    assert_int_equal(chat_Chat_Gather_client_send(stream, &message), 0);
    assert_int_equal(chat_Chat_Gather_client_send(stream, &message), 0);
    assert_int_equal(chat_Chat_Gather_client_close_send(stream), 0);
    if (weft_stream_when_ended(told.stream, on_gathered, &told) == 1)
        on_gathered(&told);
    rig_await(rig, &told.over);
    rig_assert_status(told.status, WEFT_OK, "");
    assert_int_equal(told.messages, 42);
    weft__event_fini(&told.over);
}

/* A receive that begins when the status is there already completes after it: the stream must live so long. */
static void a_stream_is_finished_while_a_late_receive_is_under_way(void **state)
{
    struct rig *rig = *state;
    rig_start(rig, NULL);
    for (int i = 0; i < MANY; i++) {
        weft__event ended, readable;
        assert_int_equal(weft__event_init(&ended), 0);
        assert_int_equal(weft__event_init(&readable), 0);
        chat_Chat_Spread_client *stream = spread(rig, NULL, 0, 0);
        if (weft_stream_when_ended(WEFT_STREAM(stream), on_posted, &ended) == 0)
            rig_await(rig, &ended);
        bool asked = weft_stream_when_readable(WEFT_STREAM(stream), on_posted, &readable) == 0;
        rig_assert_status(chat_Chat_Spread_client_finish(stream, rig->arena), WEFT_OK, "");
        if (asked)
            rig_await(rig, &readable);
        weft__event_fini(&ended);
        weft__event_fini(&readable);
    }
}

/* ---- faults ------------------------------------------------------------------------------------------------------ */

static void refuse_receive(struct rig *rig, int64_t after)
{
    weft_test_fault fault = WEFT_TEST_FAULT_INIT;
    fault.point = WEFT_TEST_RECV;
    fault.kind = WEFT_TEST_REFUSE;
    fault.after = after;
    assert_int_equal(weft_test_inject(rig->engine, &fault), 0);
}

static void a_receive_that_cannot_begin_fails_the_call(void **state)
{
    struct rig *rig = *state;
    Chat__Text *message = NULL;
    static const char text[] = "a message could not be received";
    rig_start(rig, NULL);
    chat_Chat_Spread_client *stream = spread(rig, NULL, MANY, 10000);
    refuse_receive(rig, 1);
    assert_int_equal(chat_Chat_Spread_client_recv(stream, &message), 1);
    assert_int_equal(chat_Chat_Spread_client_recv(stream, &message), -ENOMEM);
    assert_int_equal(chat_Chat_Spread_client_recv(stream, &message), -ENOMEM);
    rig_assert_status(chat_Chat_Spread_client_finish(stream, rig->arena), WEFT_RESOURCE_EXHAUSTED, text);
    stream = spread(rig, NULL, MANY, 10000);
    refuse_receive(rig, 0);
    rig_assert_status(chat_Chat_Spread_client_finish(stream, rig->arena), WEFT_RESOURCE_EXHAUSTED, text);
    refuse_receive(rig, 0); /* the handler's */
    chat_Chat_Gather_client *gathered = gather(rig, NULL);
    if (rig->stepped)
        (void)weft_test_step(rig->engine, SIZE_MAX);
    else
        weft_test_advance(rig->engine, 0);
    rig_assert_status(chat_Chat_Gather_client_finish(gathered, rig->arena, &message), WEFT_RESOURCE_EXHAUSTED, text);
}

/* ---- finishing elsewhere ----------------------------------------------------------------------------------------- */

struct parked {
    weft_call *call;
    int rc;
    weft__event there;
};

/* Sends one message that is more than the engine holds, and leaves the rest to the test. */
static weft_code park(weft_call *call, const Chat__Text *request, chat_Chat_Spread_server *stream, void *self)
{
    struct rig *rig = self;
    struct parked *parked = rig->user;
    Chat__Text message = CHAT__TEXT__INIT;
    message.payload = request->payload;
    RIG_CHECK(rig, weft_call_defer(call) == 0);
    parked->call = call;
    parked->rc = chat_Chat_Spread_server_send(stream, &message);
    weft__event_post(&parked->there);
    return WEFT_OK;
}

static void finishing_a_deferred_stream_does_not_wait_for_its_last_message(void **state)
{
    static const chat_Chat_ops ops = {.Spread = park};
    struct rig *rig = *state;
    struct parked parked = {.rc = -1};
    Chat__Text *message = NULL;
    assert_int_equal(weft__event_init(&parked.there), 0);
    rig->ops = &ops;
    rig->user = &parked;
    rig_start(rig, NULL);
    chat_Chat_Spread_client *stream = spread(rig, NULL, 1, 100000);
    rig_await(rig, &parked.there);
    assert_int_equal(parked.rc, 0);
    weft_call_finish(parked.call, WEFT_OK, NULL); /* on this thread, which might block */
    assert_int_equal(chat_Chat_Spread_client_recv(stream, &message), 1);
    assert_int_equal(message->payload.len, 100000);
    rig_assert_status(chat_Chat_Spread_client_finish(stream, rig->arena), WEFT_OK, "");
    weft__event_fini(&parked.there);
}

/* ---- asynchronous unary calls ------------------------------------------------------------------------------------ */

struct asked {
    weft__event over;
    weft_code code;
    char text[64];
    weft_result *taken;
    bool take;
    atomic_int times;
};

static void on_said(const weft_status *status, Chat__Text *response, weft_result *result, void *arg)
{
    struct asked *asked = arg;
    asked->code = status->code;
    snprintf(asked->text, sizeof asked->text, "%s", response != NULL ? response->text : status->message);
    if (asked->take)
        asked->taken = weft_result_take(result);
    atomic_fetch_add(&asked->times, 1);
    weft__event_post(&asked->over);
}

static void ask(struct rig *rig, struct asked *asked, const weft_call_options *options)
{
    Chat__Text request = CHAT__TEXT__INIT;
    char text[] = "hello";
    request.text = text;
    memset(asked, 0, sizeof *asked);
    asked->code = WEFT_UNKNOWN;
    assert_int_equal(weft__event_init(&asked->over), 0);
    assert_int_equal(chat_Chat_Say_async(rig->channel, options, &request, on_said, asked), 0);
}

static void an_asynchronous_call_calls_back_once(void **state)
{
    struct rig *rig = *state;
    struct asked asked[10];
    rig_start(rig, NULL);
    for (int i = 0; i < 10; i++)
        ask(rig, &asked[i], NULL);
    for (int i = 0; i < 10; i++) {
        rig_await(rig, &asked[i].over);
        assert_int_equal(asked[i].code, WEFT_OK);
        assert_string_equal(asked[i].text, "hello");
        assert_int_equal(asked[i].times, 1);
        weft__event_fini(&asked[i].over);
    }
}

static void a_result_may_be_taken_over(void **state)
{
    struct rig *rig = *state;
    struct asked asked;
    Chat__Text request = CHAT__TEXT__INIT;
    rig_start(rig, NULL);
    memset(&asked, 0, sizeof asked);
    asked.take = true;
    assert_int_equal(weft__event_init(&asked.over), 0);
    assert_int_equal(chat_Chat_Say_async(rig->channel, NULL, &request, on_said, &asked), 0);
    rig_await(rig, &asked.over);
    assert_non_null(asked.taken);
    assert_int_equal(weft_result_status(asked.taken)->code, WEFT_OK);
    assert_non_null(weft_result_response(asked.taken));
    assert_non_null(weft_arena_strdup(weft_result_arena(asked.taken), "mine"));
    weft_result_free(asked.taken);
    weft__event_fini(&asked.over);
}

static void an_asynchronous_call_that_cannot_be_made_calls_nobody(void **state)
{
    struct rig *rig = *state;
    struct asked asked = {.code = WEFT_OK};
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    weft_call_info info = WEFT_CALL_INFO_INIT;
    Chat__Text request = CHAT__TEXT__INIT;
    weft_metadatum illegal = {weft_sv_from("Upper"), weft_sv_from("case")};
    rig_start(rig, NULL);
    options.info = &info;
    assert_int_equal(chat_Chat_Say_async(rig->channel, &options, &request, on_said, &asked), -EINVAL);
    options.info = NULL;
    options.metadata = &illegal;
    options.metadata_count = 1;
    assert_int_equal(chat_Chat_Say_async(rig->channel, &options, &request, on_said, &asked), -EINVAL);
    assert_int_equal(asked.times, 0);
}

static void an_asynchronous_call_fails_by_its_callback(void **state)
{
    struct rig *rig = *state;
    struct asked asked;
    weft_channel *channel = NULL;
    rig_start(rig, NULL);
    assert_int_equal(weft_channel_new(&channel, rig->engine, "127.0.0.1:1", NULL), 0);
    weft_channel *served = rig->channel;
    rig->channel = channel;
    ask(rig, &asked, NULL);
    rig->channel = served;
    rig_await(rig, &asked.over);
    assert_int_equal(asked.code, WEFT_UNAVAILABLE);
    assert_int_equal(asked.times, 1);
    weft_channel_free(channel);
    weft__event_fini(&asked.over);
}

#define CASE(name, setup) cmocka_unit_test_setup_teardown(name, setup, rig_teardown)
#define CASES(setup)                                                                                                   \
    CASE(both_sides_stream_message_by_message, setup), CASE(a_server_streams_in_order_to_its_end, setup),              \
        CASE(a_client_streams_and_gets_one_response, setup), CASE(a_stream_may_be_empty, setup),                       \
        CASE(an_empty_message_is_a_message, setup), CASE(large_messages_travel_whole, setup),                          \
        CASE(finish_drops_what_was_not_read, setup), CASE(a_message_lives_until_the_next_receive, setup),              \
        CASE(headers_come_with_the_first_message_and_trailers_with_the_status, setup),                                 \
        CASE(a_status_may_come_in_the_middle, setup), CASE(a_response_needs_no_end_of_the_requests, setup),            \
        CASE(a_failed_client_stream_has_no_response, setup), CASE(a_method_without_a_handler_is_unimplemented, setup), \
        CASE(nobody_listening_is_unavailable, setup), CASE(what_is_no_message_of_the_method_is_refused, setup),        \
        CASE(a_message_that_is_not_utf8_ends_the_stream_with_the_field_named, setup),                                  \
        CASE(a_message_over_the_limit_ends_the_stream, setup),                                                         \
        CASE(a_message_that_needs_more_memory_than_allowed_ends_the_stream, setup),                                    \
        CASE(a_last_message_that_cannot_be_read_fails_the_call, setup),                                                \
        CASE(cancel_reaches_a_handler_that_receives, setup), CASE(cancel_reaches_a_handler_that_sends, setup),         \
        CASE(a_peer_that_cancels_fills_no_log, setup), CASE(a_peer_that_sends_rubbish_fills_no_log, setup),            \
        CASE(a_cancelled_stream_is_never_ok_and_short, setup), CASE(a_deadline_ends_the_stream_on_both_sides, setup),  \
        CASE(a_stop_lets_streams_end_and_cancels_those_that_do_not, setup),                                            \
        CASE(a_channel_that_is_freed_cancels_its_streams, setup),                                                      \
        CASE(one_packed_message_goes_to_many_streams, setup), CASE(a_client_may_be_told_instead_of_waiting, setup),    \
        CASE(who_is_told_already_cannot_be_told_twice, setup), CASE(what_comes_after_the_end_is_harmless, setup),      \
        CASE(finishing_early_where_nothing_may_block_cancels_at_once, setup),                                          \
        CASE(who_is_told_of_the_end_of_a_client_stream_finds_the_response, setup),                                     \
        CASE(a_stream_is_finished_while_a_late_receive_is_under_way, setup),                                           \
        CASE(an_asynchronous_call_calls_back_once, setup), CASE(a_result_may_be_taken_over, setup),                    \
        CASE(an_asynchronous_call_that_cannot_be_made_calls_nobody, setup),                                            \
        CASE(an_asynchronous_call_fails_by_its_callback, setup)

#define MEMORY_CASES(setup)                                                                                            \
    CASE(a_receive_that_cannot_begin_fails_the_call, setup),                                                           \
        CASE(finishing_a_deferred_stream_does_not_wait_for_its_last_message, setup)

/* Where other threads can be at work, and where handlers hold workers. */
#define THREAD_CASES(setup) CASE(one_thread_may_send_while_another_receives, setup)
#define WORKER_CASES(setup)                                                                                            \
    CASE(a_client_that_stops_reading_is_cancelled_after_the_stall_time, setup),                                        \
        CASE(streams_over_the_cap_leave_workers_to_others, setup),                                                     \
        CASE(streams_one_after_the_other_need_one_place, setup)

int main(int argc, char **argv)
{
    static const struct CMUnitTest core[] = {CASES(rig_setup_core), THREAD_CASES(rig_setup_core),
                                             WORKER_CASES(rig_setup_core),
                                             CASE(a_server_that_stops_reading_holds_back_the_client, rig_setup_core)};
    static const struct CMUnitTest core_events[] = {CASES(rig_setup_core_events), THREAD_CASES(rig_setup_core_events)};
    static const struct CMUnitTest threaded[] = {CASES(rig_setup_threaded), MEMORY_CASES(rig_setup_threaded),
                                                 THREAD_CASES(rig_setup_threaded), WORKER_CASES(rig_setup_threaded)};
    static const struct CMUnitTest threaded_events[] = {CASES(rig_setup_threaded_events),
                                                        MEMORY_CASES(rig_setup_threaded_events),
                                                        THREAD_CASES(rig_setup_threaded_events)};
    static const struct CMUnitTest stepped[] = {CASES(rig_setup_stepped), MEMORY_CASES(rig_setup_stepped)};
    const char *engine = argc > 1 ? argv[1] : "core";
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    if (strcmp(engine, "core-events") == 0)
        return cmocka_run_group_tests(core_events, NULL, NULL);
    if (strcmp(engine, "threaded") == 0)
        return cmocka_run_group_tests(threaded, NULL, NULL);
    if (strcmp(engine, "threaded-events") == 0)
        return cmocka_run_group_tests(threaded_events, NULL, NULL);
    if (strcmp(engine, "stepped") == 0)
        return cmocka_run_group_tests(stepped, NULL, NULL);
    return cmocka_run_group_tests(core, NULL, NULL);
}
