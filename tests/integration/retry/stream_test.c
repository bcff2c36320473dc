/* Streams that are begun again: what they have sent by then is sent again, until the first message of the answer has
 * come. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <weft/testing.h>

#include "integration/retry/rig.h"

static const char *const five = CONFIG(RETRY(5, UNAVAILABLE, ""));

static weft_call_options minute(void)
{
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    options.timeout_ms = 60000;
    return options;
}

static chat_Chat_Spread_client *spread(struct rig *rig, int64_t count)
{
    const weft_call_options options = minute();
    chat_Chat_Spread_client *stream = NULL;
    Chat__Text request = CHAT__TEXT__INIT;
    request.number = count;
    request.text = (char *)"spread";
    assert_int_equal(chat_Chat_Spread(&stream, rig->channel, &options, &request), 0);
    return stream;
}

static chat_Chat_Gather_client *gather(struct rig *rig)
{
    const weft_call_options options = minute();
    chat_Chat_Gather_client *stream = NULL;
    assert_int_equal(chat_Chat_Gather(&stream, rig->channel, &options), 0);
    return stream;
}

static chat_Chat_Talk_client *talk(struct rig *rig)
{
    const weft_call_options options = minute();
    chat_Chat_Talk_client *stream = NULL;
    assert_int_equal(chat_Chat_Talk(&stream, rig->channel, &options), 0);
    return stream;
}

static int put(chat_Chat_Gather_client *stream, int64_t number)
{
    Chat__Text message = CHAT__TEXT__INIT;
    message.number = number;
    return chat_Chat_Gather_client_send(stream, &message);
}

static int tell(chat_Chat_Talk_client *stream, int64_t number)
{
    Chat__Text message = CHAT__TEXT__INIT;
    message.number = number;
    return chat_Chat_Talk_client_send(stream, &message);
}

static void expect_echo(chat_Chat_Talk_client *stream, int64_t number)
{
    Chat__Text *echo = NULL;
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &echo), 1);
    assert_int_equal(echo->number, number);
}

/* ---- server streams ---------------------------------------------------------------------------------------------- */

static void a_server_stream_is_begun_again_before_its_first_message(void **state)
{
    struct rig *rig = *state;
    Chat__Text *message = NULL;
    rig_open(rig, five, "abcd");
    ACT(rig, {.code = WEFT_UNAVAILABLE, .pushback = "0"}, {.code = WEFT_UNAVAILABLE, .pushback = "0"},
        {.code = WEFT_OK});
    chat_Chat_Spread_client *stream = spread(rig, 3);
    for (int64_t i = 0; i < 3; i++) {
        assert_int_equal(chat_Chat_Spread_client_recv(stream, &message), 1);
        assert_int_equal(message->number, i);
    }
    assert_int_equal(chat_Chat_Spread_client_recv(stream, &message), 0);
    assert_int_equal(chat_Chat_Spread_client_finish(stream, rig->arena).code, WEFT_OK);
    assert_attempts(rig, 3);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(rig_seen(rig, i).text, "spread");
    assert_string_equal(rig_seen(rig, 0).previous, "");
    assert_string_equal(rig_seen(rig, 2).previous, "2");
    assert_int_not_equal(rig_seen(rig, 0).node, rig_seen(rig, 1).node);
}

static void a_stream_whose_answer_has_begun_is_not_begun_again(void **state)
{
    struct rig *rig = *state;
    Chat__Text *message = NULL;
    rig_open(rig, five, "abcd");
    ACT(rig, {.code = WEFT_UNAVAILABLE, .pushback = "0", .send_first = 1}, {.code = WEFT_OK});
    chat_Chat_Spread_client *stream = spread(rig, 3);
    assert_int_equal(chat_Chat_Spread_client_recv(stream, &message), 1);
    assert_int_equal(chat_Chat_Spread_client_recv(stream, &message), 0);
    assert_int_equal(chat_Chat_Spread_client_finish(stream, rig->arena).code, WEFT_UNAVAILABLE);
    assert_attempts(rig, 1);
}

static void a_stream_that_is_finished_at_once_is_begun_again_too(void **state)
{
    struct rig *rig = *state;
    rig_open(rig, five, "abcd");
    ACT(rig, {.code = WEFT_UNAVAILABLE, .pushback = "0"}, {.code = WEFT_OK});
    assert_int_equal(chat_Chat_Spread_client_finish(spread(rig, 20), rig->arena).code, WEFT_OK);
    assert_attempts(rig, 2);
}

static void stop(struct rig *rig, int node)
{
    assert_int_equal(weft_server_stop(rig->nodes[node].server, 0), 0);
}

static void a_stream_that_no_server_has_seen_is_begun_again_without_any_policy(void **state)
{
    struct rig *rig = *state;
    Chat__Text *message = NULL;
    rig_open(rig, "{\"loadBalancingConfig\":[{\"pick_first\":{}}]}", "a");
    rig_tell(rig, "ab");
    rig_pass_ms(rig, 1);
    chat_Chat_Spread_client *stream = spread(rig, 1); /* on its way to a */
    stop(rig, 0);
    assert_int_equal(chat_Chat_Spread_client_recv(stream, &message), 1);
    assert_int_equal(chat_Chat_Spread_client_finish(stream, rig->arena).code, WEFT_OK);
    assert_attempts(rig, 1);
    assert_int_equal(rig_seen(rig, 0).node, 1);
    assert_string_equal(rig_seen(rig, 0).previous, "");
}

static void what_may_have_been_seen_is_not_begun_again_without_a_policy(void **state)
{
    struct rig *rig = *state;
    weft_test_fault fault = WEFT_TEST_FAULT_INIT;
    rig_open(rig, NULL, "abcd");
    fault.point = WEFT_TEST_START;
    fault.kind = WEFT_TEST_BREAK;
    assert_int_equal(weft_test_inject(rig->engine, &fault), 0);
    assert_int_equal(chat_Chat_Spread_client_finish(spread(rig, 1), rig->arena).code, WEFT_UNAVAILABLE);
    assert_attempts(rig, 0);
}

static void what_may_have_been_seen_is_begun_again_by_the_policy(void **state)
{
    struct rig *rig = *state;
    weft_test_fault fault = WEFT_TEST_FAULT_INIT;
    if (!rig->stepped) /* nobody would move the time */
        skip();
    rig_open(rig, five, "abcd");
    fault.point = WEFT_TEST_START;
    fault.kind = WEFT_TEST_BREAK;
    fault.times = 2;
    assert_int_equal(weft_test_inject(rig->engine, &fault), 0);
    assert_int_equal(chat_Chat_Spread_client_finish(spread(rig, 1), rig->arena).code, WEFT_OK);
    assert_attempts(rig, 1);
    assert_string_equal(rig_seen(rig, 0).previous, "2");
}

/* ---- client streams ---------------------------------------------------------------------------------------------- */

static void what_a_client_stream_has_sent_is_sent_again_in_order(void **state)
{
    struct rig *rig = *state;
    Chat__Text *response = NULL;
    rig_open(rig, five, "abcd");
    ACT(rig, {.code = WEFT_UNAVAILABLE, .pushback = "0", .read_first = 3},
        {.code = WEFT_UNAVAILABLE, .pushback = "0", .read_first = 1}, {.code = WEFT_OK});
    chat_Chat_Gather_client *stream = gather(rig);
    for (int64_t i = 1; i <= 5; i++)
        assert_int_equal(put(stream, i), 0);
    assert_int_equal(chat_Chat_Gather_client_finish(stream, rig->arena, &response).code, WEFT_OK);
    assert_int_equal(response->number, 15);
    assert_attempts(rig, 3);
    struct seen last = rig_seen(rig, 2);
    assert_int_equal(last.received, 5);
    assert_int_equal(last.sum, 1 + 4 + 9 + 16 + 25);
    assert_true(last.half_closed);
}

static void the_half_close_is_sent_again(void **state)
{
    struct rig *rig = *state;
    Chat__Text *response = NULL;
    rig_open(rig, five, "abcd");
    ACT(rig, {.code = WEFT_UNAVAILABLE, .pushback = "0", .read_first = FOREVER}, {.code = WEFT_OK});
    chat_Chat_Gather_client *stream = gather(rig);
    for (int64_t i = 1; i <= 3; i++)
        assert_int_equal(put(stream, i), 0);
    assert_int_equal(chat_Chat_Gather_client_close_send(stream), 0);
    assert_int_equal(chat_Chat_Gather_client_finish(stream, rig->arena, &response).code, WEFT_OK);
    assert_int_equal(response->number, 6);
    assert_attempts(rig, 2);
    assert_true(rig_seen(rig, 0).half_closed);
    assert_int_equal(rig_seen(rig, 1).sum, rig_seen(rig, 0).sum);
}

static void an_answer_before_the_last_message_was_sent_is_heard(void **state)
{
    struct rig *rig = *state;
    Chat__Text *response = NULL;
    rig_open(rig, five, "abcd");
    ACT(rig, {.code = WEFT_UNAVAILABLE, .pushback = "0", .read_first = 1}, {.code = WEFT_OK, .read_first = 2});
    chat_Chat_Gather_client *stream = gather(rig);
    int rc = 0;
    for (int64_t i = 1; i < 100000 && rc == 0; i++)
        rc = put(stream, i);
    assert_int_equal(rc, -EPIPE);
    assert_int_equal(chat_Chat_Gather_client_finish(stream, rig->arena, &response).code, WEFT_OK);
    assert_int_equal(response->number, 1 + 2);
    assert_attempts(rig, 2);
}

/* Sends so many, of that size, to a server that then fails. @return the attempts. */
static size_t attempts_after(struct rig *rig, int64_t count, size_t size)
{
    uint8_t *payload = calloc(1, size + 1);
    assert_non_null(payload);
    ACT(rig, {.code = WEFT_UNAVAILABLE, .pushback = "0", .read_first = count}, {.code = WEFT_OK});
    chat_Chat_Gather_client *stream = gather(rig);
    Chat__Text message = CHAT__TEXT__INIT;
    message.payload = (ProtobufCBinaryData){size, payload};
    for (int64_t i = 0; i < count; i++)
        assert_int_equal(chat_Chat_Gather_client_send(stream, &message), 0);
    Chat__Text *response = NULL;
    weft_status status = chat_Chat_Gather_client_finish(stream, rig->arena, &response);
    size_t attempts = rig_attempts(rig);
    assert_int_equal(status.code, attempts == 1 ? WEFT_UNAVAILABLE : WEFT_OK);
    free(payload);
    return attempts;
}

static void a_stream_that_has_sent_too_much_to_be_kept_is_not_begun_again(void **state)
{
    struct rig *rig = *state;
    rig_open(rig, five, "abcd");
    assert_int_equal(attempts_after(rig, 2, 100000), 2);
    assert_int_equal(attempts_after(rig, 3, 100000), 1);
    assert_int_equal(attempts_after(rig, 500, 0), 2);
    assert_int_equal(attempts_after(rig, 10000, 0), 1); /* empty ones are kept in memory, too */
}

/* ---- both sides -------------------------------------------------------------------------------------------------- */

static void a_stream_of_both_sides_is_begun_again_before_its_first_message(void **state)
{
    struct rig *rig = *state;
    Chat__Text *none = NULL;
    rig_open(rig, five, "abcd");
    ACT(rig, {.code = WEFT_UNAVAILABLE, .pushback = "0", .read_first = 2}, {.code = WEFT_OK});
    chat_Chat_Talk_client *stream = talk(rig);
    assert_int_equal(tell(stream, 7), 0);
    assert_int_equal(tell(stream, 8), 0);
    expect_echo(stream, 7);
    expect_echo(stream, 8);
    assert_int_equal(tell(stream, 9), 0);
    expect_echo(stream, 9);
    assert_int_equal(chat_Chat_Talk_client_close_send(stream), 0);
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &none), 0);
    assert_int_equal(chat_Chat_Talk_client_finish(stream, rig->arena).code, WEFT_OK);
    assert_attempts(rig, 2);
    assert_int_equal(rig_seen(rig, 1).sum, 7 + 2 * 8 + 3 * 9);
}

static void a_talk_that_has_begun_is_not_begun_again(void **state)
{
    struct rig *rig = *state;
    Chat__Text *none = NULL;
    rig_open(rig, five, "abcd");
    ACT(rig, {.code = WEFT_UNAVAILABLE, .pushback = "0", .read_first = 2, .send_first = 1}, {.code = WEFT_OK});
    chat_Chat_Talk_client *stream = talk(rig);
    assert_int_equal(tell(stream, 1), 0);
    expect_echo(stream, 1);
    (void)tell(stream, 2);
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &none), 0);
    assert_int_equal(chat_Chat_Talk_client_finish(stream, rig->arena).code, WEFT_UNAVAILABLE);
    assert_attempts(rig, 1);
}

struct sender {
    pthread_t thread;
    chat_Chat_Talk_client *stream;
    int64_t count;
    int rc;
};

static void *send_all(void *arg)
{
    struct sender *sender = arg;
    for (int64_t i = 1; i <= sender->count && sender->rc == 0; i++)
        sender->rc = tell(sender->stream, i);
    if (sender->rc == 0)
        sender->rc = chat_Chat_Talk_client_close_send(sender->stream);
    return NULL;
}

static void two_threads_send_and_receive_while_attempts_fail(void **state)
{
    struct rig *rig = *state;
    Chat__Text *none = NULL;
    if (rig->stepped)
        skip();
    rig_open(rig, five, "abcd");
    for (int round = 0; round < 300; round++) {
        struct sender sender = {.count = 12};
        ACT(rig, {.code = WEFT_UNAVAILABLE, .pushback = "0", .read_first = round % 3},
            {.code = WEFT_UNAVAILABLE, .pushback = "0", .read_first = round % 4 + 1}, {.code = WEFT_OK});
        sender.stream = talk(rig);
        assert_int_equal(pthread_create(&sender.thread, NULL, send_all, &sender), 0);
        for (int64_t i = 1; i <= sender.count; i++)
            expect_echo(sender.stream, i);
        assert_int_equal(chat_Chat_Talk_client_recv(sender.stream, &none), 0);
        assert_int_equal(pthread_join(sender.thread, NULL), 0);
        assert_int_equal(sender.rc, 0);
        assert_int_equal(chat_Chat_Talk_client_finish(sender.stream, rig->arena).code, WEFT_OK);
        assert_attempts(rig, 3);
        weft_arena_reset(rig->arena);
    }
}

/* ---- told -------------------------------------------------------------------------------------------------------- */

static void on_event(void *arg)
{
    weft__event_post(arg);
}

static void who_is_told_is_told_of_the_attempt_that_counts(void **state)
{
    struct rig *rig = *state;
    weft__event event;
    Chat__Text *message = NULL;
    if (rig->stepped) /* nobody would step */
        skip();
    rig_open(rig, five, "abcd");
    assert_int_equal(weft__event_init(&event), 0);
    ACT(rig, {.code = WEFT_UNAVAILABLE, .pushback = "0"}, {.code = WEFT_OK});
    chat_Chat_Spread_client *stream = spread(rig, 1);
    if (weft_stream_when_readable(WEFT_STREAM(stream), on_event, &event) == 0)
        assert_int_equal(weft__event_wait(&event, INT64_MAX), 0);
    assert_int_equal(chat_Chat_Spread_client_recv(stream, &message), 1);
    assert_attempts(rig, 2);
    weft__event_reset(&event);
    int rc = weft_stream_when_ended(WEFT_STREAM(stream), on_event, &event);
    assert_int_equal(chat_Chat_Spread_client_recv(stream, &message), 0);
    if (rc == 0)
        assert_int_equal(weft__event_wait(&event, INT64_MAX), 0);
    assert_int_equal(chat_Chat_Spread_client_finish(stream, rig->arena).code, WEFT_OK);
    weft__event_fini(&event);
}

/* ---- how it ends early ------------------------------------------------------------------------------------------- */

static void a_cancel_during_an_attempt_ends_the_call(void **state)
{
    struct rig *rig = *state;
    rig_open(rig, five, "abcd");
    ACT(rig, {.code = WEFT_UNAVAILABLE, .pushback = "0"}, {.after_ms = -1});
    chat_Chat_Spread_client *stream = spread(rig, 1);
    rig_await_attempts(rig, 2);
    weft_stream_cancel(WEFT_STREAM(stream));
    weft_status status = chat_Chat_Spread_client_finish(stream, rig->arena);
    assert_int_equal(status.code, WEFT_CANCELLED);
    assert_string_equal(status.message, "cancelled by the caller");
    rig_await_cancelled(rig, 1);
    assert_attempts(rig, 2);
}

/* Whether the server has ended the first attempt, within some time. */
static bool is_ended(struct rig *rig)
{
    for (int tries = 0; tries < 5000 && (rig_attempts(rig) == 0 || !rig_seen(rig, 0).ended); tries++)
        rig_pass_ms(rig, 1);
    return rig_seen(rig, 0).ended;
}

static void an_ok_is_none_once_a_cancel_has_come_before_the_last_message(void **state)
{
    struct rig *rig = *state;
    Chat__Text *message = NULL;
    rig_open(rig, five, "ab");
    for (int received = 0; received < 3; received++) {
        ACT(rig, {.code = WEFT_OK});
        chat_Chat_Spread_client *stream = spread(rig, 3);
        for (int i = 0; i < received; i++)
            assert_int_equal(chat_Chat_Spread_client_recv(stream, &message), 1);
        assert_true(is_ended(rig));
        weft_stream_cancel(WEFT_STREAM(stream));
        while (chat_Chat_Spread_client_recv(stream, &message) == 1)
            continue;
        weft_status status = chat_Chat_Spread_client_finish(stream, rig->arena);
        assert_int_equal(status.code, WEFT_CANCELLED);
        assert_string_equal(status.message, "cancelled by the caller");
    }
}

static void a_cancel_during_the_backoff_ends_the_call_at_once(void **state)
{
    struct rig *rig = *state;
    rig_open(rig, five, "abcd");
    ACT(rig, {.code = WEFT_UNAVAILABLE, .pushback = "30000"}, {.code = WEFT_OK});
    int64_t began_ns = weft_engine_now_ns(rig->engine);
    chat_Chat_Spread_client *stream = spread(rig, 1);
    rig_await_attempts(rig, 1);
    rig_settle(rig);
    weft_stream_cancel(WEFT_STREAM(stream));
    weft_status status = chat_Chat_Spread_client_finish(stream, rig->arena);
    rig_assert_cancelled(rig, status.code);
    assert_attempts(rig, 1);
    assert_true(weft_engine_now_ns(rig->engine) - began_ns < 20000 * MS);
}

static void a_stream_without_an_answer_is_given_up_and_begun_again(void **state)
{
    struct rig *rig = *state;
    Chat__Text *message = NULL;
    if (!rig->core && !rig->stepped) /* nobody would move the time */
        skip();
    rig_open(rig, CONFIG(RETRY(3, UNAVAILABLE, ",\"perAttemptRecvTimeout\":\"0.5s\"")), "abcd");
    ACT(rig, {.after_ms = -1}, {.code = WEFT_OK});
    chat_Chat_Spread_client *stream = spread(rig, 1);
    assert_int_equal(chat_Chat_Spread_client_recv(stream, &message), 1);
    assert_int_equal(chat_Chat_Spread_client_finish(stream, rig->arena).code, WEFT_OK);
    assert_attempts(rig, 2);
    rig_await_cancelled(rig, 1);
}

static void a_stream_that_is_answered_in_time_may_take_as_long_as_it_likes(void **state)
{
    struct rig *rig = *state;
    if (!rig->core && !rig->stepped)
        skip();
    rig_open(rig, CONFIG(RETRY(3, UNAVAILABLE, ",\"perAttemptRecvTimeout\":\"0.5s\"")), "abcd");
    chat_Chat_Talk_client *stream = talk(rig);
    assert_int_equal(tell(stream, 1), 0);
    expect_echo(stream, 1);
    rig_pass_ms(rig, 700);
    assert_int_equal(tell(stream, 2), 0);
    expect_echo(stream, 2);
    assert_int_equal(chat_Chat_Talk_client_finish(stream, rig->arena).code, WEFT_OK);
    assert_attempts(rig, 1);
}

#define CASE(name, setup) cmocka_unit_test_setup_teardown(name, setup, rig_teardown)
#define CASES(setup)                                                                                                   \
    CASE(a_server_stream_is_begun_again_before_its_first_message, setup),                                              \
        CASE(a_stream_whose_answer_has_begun_is_not_begun_again, setup),                                               \
        CASE(a_stream_that_is_finished_at_once_is_begun_again_too, setup),                                             \
        CASE(what_a_client_stream_has_sent_is_sent_again_in_order, setup), CASE(the_half_close_is_sent_again, setup),  \
        CASE(an_answer_before_the_last_message_was_sent_is_heard, setup),                                              \
        CASE(a_stream_that_has_sent_too_much_to_be_kept_is_not_begun_again, setup),                                    \
        CASE(a_stream_of_both_sides_is_begun_again_before_its_first_message, setup),                                   \
        CASE(a_talk_that_has_begun_is_not_begun_again, setup),                                                         \
        CASE(two_threads_send_and_receive_while_attempts_fail, setup),                                                 \
        CASE(who_is_told_is_told_of_the_attempt_that_counts, setup),                                                   \
        CASE(a_cancel_during_an_attempt_ends_the_call, setup),                                                         \
        CASE(an_ok_is_none_once_a_cancel_has_come_before_the_last_message, setup),                                     \
        CASE(a_cancel_during_the_backoff_ends_the_call_at_once, setup),                                                \
        CASE(a_stream_without_an_answer_is_given_up_and_begun_again, setup),                                           \
        CASE(a_stream_that_is_answered_in_time_may_take_as_long_as_it_likes, setup)
#define MEMORY_CASES(setup)                                                                                            \
    CASES(setup), CASE(what_may_have_been_seen_is_not_begun_again_without_a_policy, setup),                            \
        CASE(what_may_have_been_seen_is_begun_again_by_the_policy, setup)

int main(int argc, char **argv)
{
    static const struct CMUnitTest core[] = {CASES(rig_setup_core)};
    static const struct CMUnitTest threaded[] = {MEMORY_CASES(rig_setup_threaded)};
    static const struct CMUnitTest stepped[] = {
        MEMORY_CASES(rig_setup_stepped),
        CASE(a_stream_that_no_server_has_seen_is_begun_again_without_any_policy, rig_setup_stepped),
    };
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    if (argc > 1 && strcmp(argv[1], "threaded") == 0)
        return cmocka_run_group_tests(threaded, NULL, NULL);
    if (argc > 1 && strcmp(argv[1], "stepped") == 0)
        return cmocka_run_group_tests(stepped, NULL, NULL);
    return cmocka_run_group_tests(core, NULL, NULL);
}
