/* Calls of which a second copy goes out before the first has failed: what is answered first wins. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <weft/testing.h>

#include "integration/retry/rig.h"

static const char *const late = CONFIG(HEDGE(3, "10s", UNAVAILABLE));
static const char *const at_once = CONFIG(HEDGE(4, "0s", UNAVAILABLE));

/* A delay that is not over before an answer can be there, where time is real. */
static const char *soon(const struct rig *rig)
{
    return rig->core ? CONFIG(HEDGE(3, "0.5s", UNAVAILABLE)) : CONFIG(HEDGE(3, "0.05s", UNAVAILABLE));
}

/* After it, and before the next. */
static int64_t after_soon_ms(const struct rig *rig)
{
    return rig->core ? 700 : 70;
}

static int64_t gap_ns(struct rig *rig, size_t before)
{
    return rig_seen(rig, before + 1).at_ns - rig_seen(rig, before).at_ns;
}

static unsigned nodes_of(struct rig *rig, size_t count)
{
    unsigned nodes = 0;
    for (size_t i = 0; i < count; i++)
        nodes |= 1U << rig_seen(rig, i).node;
    return nodes;
}

/* ---- unary ------------------------------------------------------------------------------------------------------- */

static void who_is_slow_gets_company_and_the_first_answer_wins(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    char node[16];
    rig_open(rig, soon(rig), "abcd");
    ACT(rig, {.after_ms = -1}, {.code = WEFT_OK});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_OK);
    assert_attempts(rig, 2);
    assert_int_equal(outcome.number, rig_seen(rig, 1).node);
    snprintf(node, sizeof node, "%d", rig_seen(rig, 1).node);
    assert_string_equal(outcome.header, node);
    assert_string_equal(outcome.trailer, node);
    assert_int_not_equal(rig_seen(rig, 0).node, rig_seen(rig, 1).node);
    assert_string_equal(rig_seen(rig, 0).previous, "");
    assert_string_equal(rig_seen(rig, 1).previous, "1");
    if (rig->stepped)
        assert_int_equal(gap_ns(rig, 0), 50 * MS);
    rig_await_cancelled(rig, 1);
    assert_true(rig_seen(rig, 0).cancelled);
}

static void the_first_may_still_win(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    rig_open(rig, soon(rig), "abcd");
    ACT(rig, {.after_ms = after_soon_ms(rig)}, {.after_ms = -1});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_OK);
    assert_int_equal(outcome.number, rig_seen(rig, 0).node);
    assert_true(rig_attempts(rig) >= 2);
    rig_await_cancelled(rig, rig_attempts(rig) - 1);
}

static void an_answer_within_the_delay_is_the_only_one(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    rig_open(rig, late, "abcd");
    ACT(rig, {.after_ms = 20});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_OK);
    assert_attempts(rig, 1);
}

static void a_failure_that_is_not_fatal_brings_the_next_forward(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    rig_open(rig, late, "abcd");
    ACT(rig, {.code = WEFT_UNAVAILABLE}, {.code = WEFT_UNAVAILABLE}, {.code = WEFT_OK});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_OK);
    assert_attempts(rig, 3);
    assert_true(gap_ns(rig, 0) < 5000 * MS && gap_ns(rig, 1) < 5000 * MS);
    if (rig->stepped)
        assert_int_equal(gap_ns(rig, 0) + gap_ns(rig, 1), 0);
}

static void a_failure_that_is_fatal_ends_the_others(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    rig_open(rig, soon(rig), "abcd");
    ACT(rig, {.after_ms = -1}, {.code = WEFT_INTERNAL});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_INTERNAL);
    assert_attempts(rig, 2);
    rig_await_cancelled(rig, 1);
}

static void without_a_delay_all_go_out_at_once_to_different_endpoints(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    rig_open(rig, at_once, "abcd");
    ACT(rig, {.after_ms = -1}, {.after_ms = -1}, {.after_ms = -1}, {.code = WEFT_OK});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_OK);
    assert_attempts(rig, 4);
    assert_int_equal(nodes_of(rig, 4), 15);
    if (rig->stepped)
        assert_int_equal(gap_ns(rig, 0) + gap_ns(rig, 1) + gap_ns(rig, 2), 0);
    rig_await_cancelled(rig, 3);
}

static void there_are_no_more_than_the_policy_allows_and_the_deadline_ends_all(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    rig_open(rig, soon(rig), "abcd");
    ACT(rig, {.after_ms = -1});
    assert_int_equal(rig_say(rig, &outcome, rig->core ? 3000 : 1000), WEFT_DEADLINE_EXCEEDED);
    assert_attempts(rig, 3);
    assert_int_not_equal(rig_seen(rig, 0).node, rig_seen(rig, 1).node);
    rig_await_cancelled(rig, 3);
}

static void when_all_fail_the_call_ends_as_the_last_one_did(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    char message[64];
    rig_open(rig, late, "abcd");
    ACT(rig, {.code = WEFT_UNAVAILABLE});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_UNAVAILABLE);
    assert_attempts(rig, 3);
    snprintf(message, sizeof message, "node %d fails", rig_seen(rig, 2).node);
    assert_string_equal(outcome.message, message);
}

static void the_servers_pushback_puts_the_next_off(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    rig_open(rig, late, "abcd");
    ACT(rig, {.code = WEFT_UNAVAILABLE, .pushback = "70"}, {.code = WEFT_OK});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_OK);
    assert_attempts(rig, 2);
    assert_true(gap_ns(rig, 0) >= 69 * MS);
    if (rig->stepped)
        assert_int_equal(gap_ns(rig, 0), 70 * MS);
}

static void who_wants_no_more_ends_a_call_of_which_nothing_runs_at_once(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    rig_open(rig, late, "abcd");
    ACT(rig, {.code = WEFT_UNAVAILABLE, .pushback = "-1"}, {.code = WEFT_OK});
    int64_t began_ns = weft_engine_now_ns(rig->engine);
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_UNAVAILABLE);
    assert_attempts(rig, 1);
    assert_true(outcome.at_ns - began_ns < 5000 * MS); /* the delay is not waited for */
}

static void who_wants_no_more_leaves_those_that_run(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    rig_open(rig, soon(rig), "abcd");
    ACT(rig, {.after_ms = after_soon_ms(rig)}, {.code = WEFT_UNAVAILABLE, .pushback = "-1"});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_OK);
    assert_attempts(rig, 2);
    assert_int_equal(outcome.number, rig_seen(rig, 0).node);
}

static void the_throttle_stops_hedging(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    rig_open(rig,
             CONFIG_WITH(HEDGE(3, "0.5s", UNAVAILABLE), ",\"retryThrottling\":{\"maxTokens\":2,\"tokenRatio\":0.5}"),
             "abcd");
    ACT(rig, {.code = WEFT_UNAVAILABLE});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_UNAVAILABLE); /* 2, 1: half is too little */
    assert_attempts(rig, 1);
    ACT(rig, {.after_ms = 700});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_OK); /* 1.5 from now on */
    assert_attempts(rig, 1);
    ACT(rig, {.after_ms = -1}, {.code = WEFT_OK});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_OK);
    assert_attempts(rig, 2);
    rig_await_cancelled(rig, 1);
}

struct dropping {
    weft_picker base;
    atomic_int picks;
};

/* The first copy gets through, all others are dropped. */
static weft_pick drop_others(weft_picker *self, const weft_pick_args *args, weft_endpoint **out)
{
    if (atomic_fetch_add(&((struct dropping *)self)->picks, 1) > 0)
        return WEFT_PICK_DROP;
    *out = args->endpoints[0];
    return WEFT_PICK_ENDPOINT;
}

static void a_copy_that_is_refused_here_does_not_end_the_others(void **state)
{
    struct rig *rig = *state;
    static const weft_picker_vtable vtable = {.struct_size = sizeof vtable, .name = "drop", .pick = drop_others};
    struct dropping dropping = {.base = {&vtable}};
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    struct outcome outcome;
    options.service_config = soon(rig);
    options.picker = &dropping.base;
    rig_open_with(rig, &options);
    rig_tell(rig, "ab");
    assert_int_equal(weft_channel_connect(rig->channel, 10000), 0);
    ACT(rig, {.after_ms = after_soon_ms(rig)});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_OK);
    assert_int_equal(dropping.picks, 2);
    assert_attempts(rig, 1);
    rig_close(rig);
}

static void a_channel_is_freed_while_its_calls_are_hedged(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    rig_open(rig, at_once, "abcd");
    ACT(rig, {.after_ms = -1});
    rig_begin_say(rig, &outcome, &options);
    rig_await_attempts(rig, rig->stepped ? 1 : 2);
    rig_close(rig);
    assert_int_equal(weft__event_wait(&outcome.over, rig->stepped ? 0 : INT64_MAX), 0);
    assert_int_equal(outcome.code, WEFT_CANCELLED);
    rig_await_cancelled(rig, rig_attempts(rig));
    weft__event_fini(&outcome.over);
}

/* ---- streams ----------------------------------------------------------------------------------------------------- */

static weft_call_options minute(void)
{
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    options.timeout_ms = 60000;
    return options;
}

static void all_copies_of_a_client_stream_get_all_messages_in_order(void **state)
{
    struct rig *rig = *state;
    const weft_call_options options = minute();
    chat_Chat_Gather_client *stream = NULL;
    Chat__Text message = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    rig_open(rig, at_once, "abcd");
    ACT(rig, {.after_ms = -1}, {.after_ms = -1}, {.code = WEFT_OK}, {.after_ms = -1});
    assert_int_equal(chat_Chat_Gather(&stream, rig->channel, &options), 0);
    for (message.number = 1; message.number <= 5; message.number++)
        assert_int_equal(chat_Chat_Gather_client_send(stream, &message), 0);
    rig_settle(rig);
    rig_await_attempts(rig, 4);
    assert_int_equal(chat_Chat_Gather_client_finish(stream, rig->arena, &response).code, WEFT_OK);
    assert_int_equal(response->number, 15);
    assert_attempts(rig, 4);
    assert_int_equal(nodes_of(rig, 4), 15);
    assert_int_equal(rig_seen(rig, 2).sum, 1 + 4 + 9 + 16 + 25);
    rig_await_cancelled(rig, 3);
    for (size_t i = 0; i < 4; i++) { /* what the others got by then is the beginning of the same */
        struct seen seen = rig_seen(rig, i);
        assert_int_equal(seen.sum, seen.received * (seen.received + 1) * (2 * seen.received + 1) / 6);
    }
}

static void a_hedged_server_stream_is_all_of_one_attempt(void **state)
{
    struct rig *rig = *state;
    const weft_call_options options = minute();
    chat_Chat_Spread_client *stream = NULL;
    Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *message = NULL;
    rig_open(rig, at_once, "abcd");
    ACT(rig, {.code = WEFT_OK});
    request.number = 200;
    for (int round = 0; round < 20; round++) {
        assert_int_equal(chat_Chat_Spread(&stream, rig->channel, &options, &request), 0);
        for (int64_t i = 0; i < request.number; i++) {
            assert_int_equal(chat_Chat_Spread_client_recv(stream, &message), 1);
            assert_int_equal(message->number, i);
        }
        assert_int_equal(chat_Chat_Spread_client_recv(stream, &message), 0);
        assert_int_equal(chat_Chat_Spread_client_finish(stream, rig->arena).code, WEFT_OK);
    }
}

static void a_hedged_talk_goes_on_with_whoever_answers_first(void **state)
{
    struct rig *rig = *state;
    const weft_call_options options = minute();
    chat_Chat_Talk_client *stream = NULL;
    Chat__Text message = CHAT__TEXT__INIT;
    Chat__Text *echo = NULL;
    rig_open(rig, at_once, "abcd");
    for (int round = 0; round < 20; round++) {
        ACT(rig, {.after_ms = -1}, {.code = WEFT_OK}, {.after_ms = -1}, {.code = WEFT_OK});
        assert_int_equal(chat_Chat_Talk(&stream, rig->channel, &options), 0);
        for (message.number = 1; message.number <= 20; message.number++) {
            assert_int_equal(chat_Chat_Talk_client_send(stream, &message), 0);
            assert_int_equal(chat_Chat_Talk_client_recv(stream, &echo), 1);
            assert_int_equal(echo->number, message.number);
        }
        assert_int_equal(chat_Chat_Talk_client_finish(stream, rig->arena).code, WEFT_OK);
        rig_await_cancelled(rig, 1);
    }
}

#define CASE(name, setup) cmocka_unit_test_setup_teardown(name, setup, rig_teardown)
#define CASES(setup)                                                                                                   \
    CASE(who_is_slow_gets_company_and_the_first_answer_wins, setup), CASE(the_first_may_still_win, setup),             \
        CASE(an_answer_within_the_delay_is_the_only_one, setup),                                                       \
        CASE(a_failure_that_is_not_fatal_brings_the_next_forward, setup),                                              \
        CASE(a_failure_that_is_fatal_ends_the_others, setup),                                                          \
        CASE(without_a_delay_all_go_out_at_once_to_different_endpoints, setup),                                        \
        CASE(there_are_no_more_than_the_policy_allows_and_the_deadline_ends_all, setup),                               \
        CASE(when_all_fail_the_call_ends_as_the_last_one_did, setup),                                                  \
        CASE(the_servers_pushback_puts_the_next_off, setup),                                                           \
        CASE(who_wants_no_more_ends_a_call_of_which_nothing_runs_at_once, setup),                                      \
        CASE(who_wants_no_more_leaves_those_that_run, setup), CASE(the_throttle_stops_hedging, setup),                 \
        CASE(a_copy_that_is_refused_here_does_not_end_the_others, setup),                                              \
        CASE(a_channel_is_freed_while_its_calls_are_hedged, setup),                                                    \
        CASE(all_copies_of_a_client_stream_get_all_messages_in_order, setup),                                          \
        CASE(a_hedged_server_stream_is_all_of_one_attempt, setup),                                                     \
        CASE(a_hedged_talk_goes_on_with_whoever_answers_first, setup)

int main(int argc, char **argv)
{
    static const struct CMUnitTest core[] = {CASES(rig_setup_core)};
    static const struct CMUnitTest threaded[] = {CASES(rig_setup_threaded)};
    static const struct CMUnitTest stepped[] = {CASES(rig_setup_stepped)};
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    if (argc > 1 && strcmp(argv[1], "threaded") == 0)
        return cmocka_run_group_tests(threaded, NULL, NULL);
    if (argc > 1 && strcmp(argv[1], "stepped") == 0)
        return cmocka_run_group_tests(stepped, NULL, NULL);
    return cmocka_run_group_tests(core, NULL, NULL);
}
