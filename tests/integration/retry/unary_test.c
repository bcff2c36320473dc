/* Unary calls that are made again, by the service config or because no server has seen them. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <weft/testing.h>

#include "integration/retry/rig.h"

static const char *const three = CONFIG(RETRY(3, UNAVAILABLE, ""));
static const char *const five = CONFIG(RETRY(5, UNAVAILABLE, ""));

/* ---- which attempts there are ------------------------------------------------------------------------------------ */

static void a_failure_is_tried_again_on_another_endpoint_while_there_is_one(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    rig_open(rig, five, "abcd");
    ACT(rig, {.code = WEFT_UNAVAILABLE}, {.code = WEFT_UNAVAILABLE}, {.code = WEFT_UNAVAILABLE}, {.code = WEFT_OK});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_OK);
    assert_attempts(rig, 4);
    unsigned nodes = 0;
    for (size_t i = 0; i < 4; i++)
        nodes |= 1U << rig_seen(rig, i).node;
    assert_int_equal(nodes, 15);
}

static void when_all_have_been_tried_they_are_tried_again(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    rig_open(rig, five, "ab");
    ACT(rig, {.code = WEFT_UNAVAILABLE});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_UNAVAILABLE);
    assert_attempts(rig, 5);
    assert_int_not_equal(rig_seen(rig, 0).node, rig_seen(rig, 1).node);
}

static void the_answer_is_that_of_the_last_attempt(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    char node[16];
    rig_open(rig, three, "abcd");
    ACT(rig, {.code = WEFT_UNAVAILABLE}, {.code = WEFT_OK});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_OK);
    int last = rig_seen(rig, 1).node;
    snprintf(node, sizeof node, "%d", last);
    assert_int_equal(outcome.number, last);
    assert_string_equal(outcome.text, "said");
    assert_string_equal(outcome.header, node);
    assert_string_equal(outcome.trailer, node);
    if (rig->core)
        assert_string_equal(outcome.peer, rig->nodes[last].address);
    else
        assert_non_null(strstr(outcome.peer, strchr(rig->nodes[last].address, ':') + 1));
}

static void the_failure_is_that_of_the_last_attempt(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    char message[64];
    rig_open(rig, three, "abcd");
    ACT(rig, {.code = WEFT_UNAVAILABLE}, {.code = WEFT_INTERNAL});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_INTERNAL);
    assert_attempts(rig, 2);
    snprintf(message, sizeof message, "node %d fails", rig_seen(rig, 1).node);
    assert_string_equal(outcome.message, message);
}

static void the_first_attempt_counts_among_those_that_the_policy_allows(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    rig_open(rig, three, "abcd");
    ACT(rig, {.code = WEFT_UNAVAILABLE});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_UNAVAILABLE);
    assert_attempts(rig, 3);
}

static void there_are_never_more_than_five_attempts(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    rig_open(rig, CONFIG(RETRY(9, UNAVAILABLE, "")), "abcd");
    ACT(rig, {.code = WEFT_UNAVAILABLE});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_UNAVAILABLE);
    assert_attempts(rig, 5);
}

static void a_code_that_the_policy_does_not_name_ends_the_call(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    rig_open(rig, three, "abcd");
    ACT(rig, {.code = WEFT_INTERNAL});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_INTERNAL);
    assert_attempts(rig, 1);
}

static void without_a_policy_what_a_server_has_answered_is_not_tried_again(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    rig_open(rig, NULL, "abcd");
    ACT(rig, {.code = WEFT_UNAVAILABLE});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_UNAVAILABLE);
    assert_attempts(rig, 1);
}

static void each_attempt_says_how_many_there_were_and_all_else_is_the_same(void **state)
{
    struct rig *rig = *state;
    const weft_metadatum pair = {.key = weft_sv_from("x-key"), .value = weft_sv_from("kept")};
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    struct outcome outcome;
    rig_open(rig, five, "abcd");
    ACT(rig, {.code = WEFT_UNAVAILABLE}, {.code = WEFT_UNAVAILABLE}, {.code = WEFT_OK});
    options.metadata = &pair;
    options.metadata_count = 1;
    rig_begin_say(rig, &outcome, &options);
    rig_end_say(rig, &outcome);
    assert_int_equal(outcome.code, WEFT_OK);
    assert_attempts(rig, 3);
    static const char *const previous[] = {"", "1", "2"};
    for (size_t i = 0; i < 3; i++) {
        struct seen seen = rig_seen(rig, i);
        assert_string_equal(seen.previous, previous[i]);
        assert_string_equal(seen.key, "kept");
        assert_string_equal(seen.text, "said");
    }
}

static void one_plain_address_is_tried_again_too(void **state)
{
    struct rig *rig = *state;
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    struct outcome outcome;
    options.service_config = three;
    assert_int_equal(weft_channel_new(&rig->channel, rig->engine,
                                      rig->core ? rig->nodes[1].address : rig->nodes[1].address + strlen("ipv4:"),
                                      &options),
                     0);
    ACT(rig, {.code = WEFT_UNAVAILABLE}, {.code = WEFT_OK});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_OK);
    assert_attempts(rig, 2);
    assert_int_equal(rig_seen(rig, 1).node, 1);
}

static void a_blocking_call_is_tried_again(void **state)
{
    struct rig *rig = *state;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    rig_open(rig, three, "abcd");
    ACT(rig, {.code = WEFT_UNAVAILABLE, .pushback = "0"}, {.code = WEFT_OK});
    options.timeout_ms = 60000;
    weft_status status = chat_Chat_Say(rig->channel, rig->arena, &options, &request, &response);
    assert_int_equal(status.code, WEFT_OK);
    assert_int_equal(response->number, rig_seen(rig, 1).node);
    assert_attempts(rig, 2);
}

struct dropping {
    weft_picker base;
    atomic_int picks;
};

static weft_pick drop_all(weft_picker *self, const weft_pick_args *args, weft_endpoint **out)
{
    (void)args;
    (void)out;
    atomic_fetch_add(&((struct dropping *)self)->picks, 1);
    return WEFT_PICK_DROP;
}

static void a_call_that_the_picker_drops_is_never_tried_again(void **state)
{
    struct rig *rig = *state;
    static const weft_picker_vtable vtable = {.struct_size = sizeof vtable, .name = "drop", .pick = drop_all};
    struct dropping dropping = {.base = {&vtable}};
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    struct outcome outcome;
    options.service_config = three;
    options.picker = &dropping.base;
    rig_open_with(rig, &options);
    rig_tell(rig, "ab");
    assert_int_equal(weft_channel_connect(rig->channel, 10000), 0);
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_UNAVAILABLE);
    assert_string_equal(outcome.message, "dropped by the picker");
    assert_int_equal(dropping.picks, 1);
    assert_attempts(rig, 0);
    rig_close(rig);
}

/* ---- when they are made ------------------------------------------------------------------------------------------ */

static int64_t gap_ns(struct rig *rig, size_t before)
{
    return rig_seen(rig, before + 1).at_ns - rig_seen(rig, before).at_ns;
}

static void backoffs_are_random_and_grow_to_their_bounds(void **state)
{
    struct rig *rig = *state;
    static const int64_t most_ms[] = {100, 200, 300, 300};
    int64_t longest[4] = {0};
    struct outcome outcome;
    rig_open(rig,
             CONFIG("\"retryPolicy\":{\"maxAttempts\":5,\"initialBackoff\":\"0.1s\",\"maxBackoff\":\"0.3s\","
                    "\"backoffMultiplier\":2,\"retryableStatusCodes\":[\"UNAVAILABLE\"]}"),
             "abcd");
    for (int i = 0; i < 40; i++) {
        ACT(rig, {.code = WEFT_UNAVAILABLE});
        assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_UNAVAILABLE);
        assert_attempts(rig, 5);
        for (size_t k = 0; k < 4; k++) {
            assert_true(gap_ns(rig, k) >= 0 && gap_ns(rig, k) <= most_ms[k] * MS);
            longest[k] = gap_ns(rig, k) > longest[k] ? gap_ns(rig, k) : longest[k];
        }
    }
    for (size_t k = 0; k < 4; k++) /* or one is unlucky once in 10^12 times */
        assert_true(longest[k] > most_ms[k] * MS / 2);
}

static void the_servers_pushback_is_waited_for(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    rig_open(rig, three, "abcd");
    ACT(rig, {.code = WEFT_UNAVAILABLE, .pushback = "250"}, {.code = WEFT_UNAVAILABLE, .pushback = "0"},
        {.code = WEFT_OK});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_OK);
    assert_attempts(rig, 3);
    if (rig->stepped) {
        assert_int_equal(gap_ns(rig, 0), 250 * MS);
        assert_int_equal(gap_ns(rig, 1), 0);
    }
    assert_true(gap_ns(rig, 0) >= 249 * MS); /* the engine's clock may tell whole milliseconds */
}

static void after_a_pushback_the_backoff_begins_anew(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    rig_open(rig, five, "abcd");
    for (int i = 0; i < 30; i++) {
        ACT(rig, {.code = WEFT_UNAVAILABLE}, {.code = WEFT_UNAVAILABLE}, {.code = WEFT_UNAVAILABLE, .pushback = "10"},
            {.code = WEFT_UNAVAILABLE}, {.code = WEFT_OK});
        assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_OK);
        assert_int_equal(gap_ns(rig, 2), 10 * MS);
        assert_true(gap_ns(rig, 3) <= 100 * MS); /* by the second step it would be longer three times out of four */
    }
}

static void a_server_that_wants_no_retry_gets_none(void **state)
{
    struct rig *rig = *state;
    static const char *const words[] = {"-1", "soon", "", "5000000000", "1.5"};
    struct outcome outcome;
    rig_open(rig, three, "abcd");
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        ACT(rig, {.code = WEFT_UNAVAILABLE, .pushback = words[i]});
        assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_UNAVAILABLE);
        assert_attempts(rig, 1);
    }
}

static void no_wait_goes_past_the_deadline(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    rig_open(rig, three, "abcd");
    ACT(rig, {.code = WEFT_UNAVAILABLE, .pushback = "60000"});
    int64_t began_ns = weft_engine_now_ns(rig->engine);
    assert_int_equal(rig_say(rig, &outcome, 59000), WEFT_UNAVAILABLE); /* now, instead of late */
    assert_attempts(rig, 1);
    assert_true(outcome.at_ns - began_ns < 30000 * MS);
}

static void the_deadline_ends_an_attempt_and_the_call(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    rig_open(rig, CONFIG(RETRY(3, "\"UNAVAILABLE\",\"DEADLINE_EXCEEDED\"", "")), "abcd");
    ACT(rig, {.code = WEFT_UNAVAILABLE, .pushback = "0"}, {.after_ms = -1});
    int64_t began_ns = weft_engine_now_ns(rig->engine);
    assert_int_equal(rig_say(rig, &outcome, 500), WEFT_DEADLINE_EXCEEDED);
    assert_attempts(rig, 2);
    if (rig->stepped)
        assert_int_equal(outcome.at_ns - began_ns, 500 * MS); /* all attempts share it */
    rig_await_cancelled(rig, 1);
}

/* ---- throttle ---------------------------------------------------------------------------------------------------- */

static void the_throttle_stops_retries_until_calls_succeed_again(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    rig_open(rig, CONFIG_WITH(RETRY(5, UNAVAILABLE, ""), ",\"retryThrottling\":{\"maxTokens\":4,\"tokenRatio\":1}"),
             "abcd");
    ACT(rig, {.code = WEFT_UNAVAILABLE});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_UNAVAILABLE); /* 4, 3: again, 2: not again */
    assert_attempts(rig, 2);
    ACT(rig, {.code = WEFT_UNAVAILABLE});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_UNAVAILABLE);
    assert_attempts(rig, 1);
    ACT(rig, {.code = WEFT_OK});
    for (int i = 0; i < 3; i++)
        assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_OK);
    ACT(rig, {.code = WEFT_UNAVAILABLE});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_UNAVAILABLE);
    assert_attempts(rig, 2);
}

static void a_server_that_wants_no_retry_counts_for_the_throttle_whatever_its_code(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    rig_open(rig, CONFIG_WITH(RETRY(5, UNAVAILABLE, ""), ",\"retryThrottling\":{\"maxTokens\":2,\"tokenRatio\":1}"),
             "abcd");
    ACT(rig, {.code = WEFT_INTERNAL, .pushback = "-1"});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_INTERNAL);
    ACT(rig, {.code = WEFT_UNAVAILABLE});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_UNAVAILABLE);
    assert_attempts(rig, 1);
}

/* ---- an attempt's own time --------------------------------------------------------------------------------------- */

static const char *const impatient = CONFIG(RETRY(3, UNAVAILABLE, ",\"perAttemptRecvTimeout\":\"0.5s\""));

static void an_attempt_without_an_answer_is_given_up(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    rig_open(rig, impatient, "abcd");
    ACT(rig, {.after_ms = -1}, {.code = WEFT_OK});
    int64_t began_ns = weft_engine_now_ns(rig->engine);
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_OK);
    assert_attempts(rig, 2);
    rig_await_cancelled(rig, 1);
    assert_true(rig_seen(rig, 0).cancelled);
    assert_int_not_equal(rig_seen(rig, 0).node, rig_seen(rig, 1).node);
    if (rig->stepped)
        assert_true(outcome.at_ns - began_ns >= 500 * MS && outcome.at_ns - began_ns <= 600 * MS);
}

static void when_no_attempt_is_answered_in_time_the_call_says_so(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    rig_open(rig, impatient, "abcd");
    ACT(rig, {.after_ms = -1});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_DEADLINE_EXCEEDED);
    assert_string_equal(outcome.message, "no answer within perAttemptRecvTimeout");
    assert_attempts(rig, 3);
    rig_await_cancelled(rig, 3);
}

struct judging {
    weft_picker base;
    atomic_int late; /* attempts that took too long, and were not the caller's cancel */
    atomic_int done;
};

static weft_pick pick_any(weft_picker *self, const weft_pick_args *args, weft_endpoint **out)
{
    (void)self;
    *out = args->endpoints[args->tried_count % args->endpoint_count];
    return WEFT_PICK_ENDPOINT;
}

static void count_late(weft_picker *self, weft_endpoint *endpoint, const weft_pick_result *result)
{
    struct judging *judging = (struct judging *)self;
    (void)endpoint;
    judging->late += result->code == WEFT_DEADLINE_EXCEEDED && !result->caller_cancelled;
    judging->done++;
}

static void an_endpoint_that_did_not_answer_in_time_is_blamed_for_it(void **state)
{
    struct rig *rig = *state;
    static const weft_picker_vtable vtable = {
        .struct_size = sizeof vtable, .name = "judge", .pick = pick_any, .done = count_late};
    struct judging judging = {.base = {&vtable}};
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    struct outcome outcome;
    options.service_config = impatient;
    options.picker = &judging.base;
    rig_open_with(rig, &options);
    rig_tell(rig, "ab");
    ACT(rig, {.after_ms = -1}, {.code = WEFT_OK});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_OK);
    rig_close(rig);
    assert_int_equal(judging.late, 1);
    assert_int_equal(judging.done, 2);
}

/* ---- instances that are full ------------------------------------------------------------------------------------- */

static bool was_tried(const weft_pick_args *args, const weft_endpoint *endpoint)
{
    bool found = false;
    for (size_t i = 0; i < args->tried_count; i++)
        found = found || args->tried[i] == endpoint;
    return found;
}

/* The first that was not tried; when all were, the last. */
static weft_pick pick_untried(weft_picker *self, const weft_pick_args *args, weft_endpoint **out)
{
    size_t i = 0;
    (void)self;
    while (i + 1 < args->endpoint_count && was_tried(args, args->endpoints[i]))
        i++;
    *out = args->endpoints[i];
    return WEFT_PICK_ENDPOINT;
}

/* A channel to a and b, each of which takes one call at a time, and a call that is on a for 50 ms. */
static void open_with_a_full(struct rig *rig, weft_picker *picker, struct outcome *first)
{
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    weft_channel_stats stats = WEFT_CHANNEL_STATS_INIT;
    weft_call_options call = WEFT_CALL_OPTIONS_INIT;
    options.service_config = three;
    options.picker = picker;
    options.max_streams = 1;
    options.max_connections = 1;
    rig_open_with(rig, &options);
    rig_tell(rig, "ab");
    for (int tries = 0; tries < 5000 && stats.ready < 2; tries++) {
        rig_pass_ms(rig, 1);
        assert_int_equal(weft_channel_read_stats(rig->channel, &stats), 0);
    }
    assert_int_equal(stats.ready, 2);
    rig_begin_say(rig, first, &call);
    rig_await_attempts(rig, 1);
    assert_int_equal(rig_seen(rig, 0).node, 0);
}

static void an_instance_that_was_full_has_not_been_tried(void **state)
{
    struct rig *rig = *state;
    static const weft_picker_vtable vtable = {.struct_size = sizeof vtable, .name = "untried", .pick = pick_untried};
    weft_picker picker = {&vtable};
    struct outcome first;
    struct outcome outcome;
    ACT(rig, {.after_ms = 50}, {.code = WEFT_UNAVAILABLE, .pushback = "500"}, {.code = WEFT_OK});
    open_with_a_full(rig, &picker, &first);
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_OK);
    rig_end_say(rig, &first);
    assert_attempts(rig, 3);
    assert_int_equal(rig_seen(rig, 1).node, 1);
    assert_int_equal(rig_seen(rig, 2).node, 0);
    rig_close(rig);
}

static void no_attempt_waits_for_a_place_while_one_that_was_tried_has_one(void **state)
{
    struct rig *rig = *state;
    weft_picker *picker = NULL;
    struct outcome first;
    struct outcome outcome;
    assert_int_equal(weft_pick_first_new(&picker), 0); /* when all were tried: the first, which is the full one */
    ACT(rig, {.after_ms = -1}, {.code = WEFT_UNAVAILABLE, .pushback = "0"}, {.code = WEFT_OK});
    open_with_a_full(rig, picker, &first);
    assert_int_equal(rig_say(rig, &outcome, 10000), WEFT_OK);
    assert_attempts(rig, 3);
    assert_int_equal(rig_seen(rig, 1).node, 1);
    assert_int_equal(rig_seen(rig, 2).node, 1);
    rig_close(rig);
    weft_picker_free(picker);
    assert_int_equal(weft__event_wait(&first.over, rig->stepped ? 0 : INT64_MAX), 0);
    weft__event_fini(&first.over);
}

/* ---- how it ends early ------------------------------------------------------------------------------------------- */

static void a_channel_is_freed_while_its_calls_are_attempted_or_wait(void **state)
{
    struct rig *rig = *state;
    struct outcome outcomes[6];
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    rig_open(rig, three, "abcd");
    ACT(rig, {.after_ms = -1}, {.code = WEFT_UNAVAILABLE, .pushback = "3600000"});
    for (size_t i = 0; i < 6; i++) { /* one is never answered, the others wait for an hour */
        rig_begin_say(rig, &outcomes[i], &options);
        rig_await_attempts(rig, i + 1);
    }
    rig_settle(rig);
    rig_close(rig);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(weft__event_wait(&outcomes[i].over, rig->stepped ? 0 : INT64_MAX), 0);
        assert_int_equal(outcomes[i].told, 1);
        rig_assert_cancelled(rig, outcomes[i].code);
        weft__event_fini(&outcomes[i].over);
    }
    assert_attempts(rig, 6);
}

struct relay {
    weft_channel *inner;
    struct outcome outcome;
    struct rig *rig;
    atomic_bool began;
};

static void relay(weft_call *call, void *arg)
{
    struct relay *relay = arg;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    if (atomic_exchange(&relay->began, true))
        return;
    options.parent = call;
    rig_begin_say_on(relay->rig, relay->inner, &relay->outcome, &options);
}

static void the_end_of_the_parent_ends_a_call_that_waits_to_be_made_again(void **state)
{
    struct rig *rig = *state;
    struct relay relayed = {.rig = rig};
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    chat_Chat_Spread_client *stream = NULL;
    Chat__Text request = CHAT__TEXT__INIT;
    rig_open(rig, three, "abcd");
    relayed.inner = rig->channel;
    rig_open(rig, NULL, "abcd");
    rig->relay_arg = &relayed;
    rig->relay = relay;
    ACT(rig, {.after_ms = -1}, {.code = WEFT_UNAVAILABLE, .pushback = "3600000"});
    assert_int_equal(chat_Chat_Spread(&stream, rig->channel, &options, &request), 0);
    rig_await_attempts(rig, 2);
    rig_settle(rig);
    weft_stream_cancel(WEFT_STREAM(stream));
    assert_int_equal(chat_Chat_Spread_client_finish(stream, rig->arena).code, WEFT_CANCELLED);
    if (rig->stepped)
        (void)weft_test_step(rig->engine, SIZE_MAX);
    assert_int_equal(weft__event_wait(&relayed.outcome.over, rig->stepped ? 0 : INT64_MAX), 0);
    rig_assert_cancelled(rig, relayed.outcome.code);
    weft__event_fini(&relayed.outcome.over);
    assert_attempts(rig, 2);
    rig->relay = NULL;
    weft_channel_free(relayed.inner);
}

/* ---- the program's own loop -------------------------------------------------------------------------------------- */

static void a_loop_is_told_once_of_a_call_that_was_made_again(void **state)
{
    struct rig *rig = *state;
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    weft_call_options call = WEFT_CALL_OPTIONS_INIT;
    struct outcome outcome;
    weft_loop *loop = NULL;
    if (rig->stepped) /* has nobody who would post to it */
        skip();
    assert_int_equal(weft_loop_new(&loop), 0);
    options.service_config = three;
    options.loop = loop;
    rig_open_with(rig, &options);
    rig_tell(rig, "ab");
    ACT(rig, {.code = WEFT_UNAVAILABLE, .pushback = "0"}, {.code = WEFT_OK});
    rig_begin_say(rig, &outcome, &call);
    struct pollfd fd = {.fd = weft_loop_fd(loop), .events = POLLIN};
    for (int i = 0; i < 1000 && outcome.told == 0; i++) {
        assert_true(poll(&fd, 1, 30000) >= 0);
        (void)weft_loop_dispatch(loop, SIZE_MAX);
    }
    assert_int_equal(outcome.told, 1);
    assert_int_equal(outcome.code, WEFT_OK);
    assert_attempts(rig, 2);
    weft__event_fini(&outcome.over);
    rig_close(rig);
    weft_loop_free(loop);
}

#define CASE(name, setup) cmocka_unit_test_setup_teardown(name, setup, rig_teardown)
#define CASES(setup)                                                                                                   \
    CASE(a_failure_is_tried_again_on_another_endpoint_while_there_is_one, setup),                                      \
        CASE(when_all_have_been_tried_they_are_tried_again, setup),                                                    \
        CASE(the_answer_is_that_of_the_last_attempt, setup), CASE(the_failure_is_that_of_the_last_attempt, setup),     \
        CASE(the_first_attempt_counts_among_those_that_the_policy_allows, setup),                                      \
        CASE(there_are_never_more_than_five_attempts, setup),                                                          \
        CASE(a_code_that_the_policy_does_not_name_ends_the_call, setup),                                               \
        CASE(without_a_policy_what_a_server_has_answered_is_not_tried_again, setup),                                   \
        CASE(each_attempt_says_how_many_there_were_and_all_else_is_the_same, setup),                                   \
        CASE(one_plain_address_is_tried_again_too, setup), CASE(a_blocking_call_is_tried_again, setup),                \
        CASE(a_call_that_the_picker_drops_is_never_tried_again, setup),                                                \
        CASE(the_servers_pushback_is_waited_for, setup), CASE(a_server_that_wants_no_retry_gets_none, setup),          \
        CASE(no_wait_goes_past_the_deadline, setup), CASE(the_deadline_ends_an_attempt_and_the_call, setup),           \
        CASE(the_throttle_stops_retries_until_calls_succeed_again, setup),                                             \
        CASE(a_server_that_wants_no_retry_counts_for_the_throttle_whatever_its_code, setup),                           \
        CASE(an_attempt_without_an_answer_is_given_up, setup),                                                         \
        CASE(when_no_attempt_is_answered_in_time_the_call_says_so, setup),                                             \
        CASE(an_endpoint_that_did_not_answer_in_time_is_blamed_for_it, setup),                                         \
        CASE(an_instance_that_was_full_has_not_been_tried, setup),                                                     \
        CASE(no_attempt_waits_for_a_place_while_one_that_was_tried_has_one, setup),                                    \
        CASE(a_channel_is_freed_while_its_calls_are_attempted_or_wait, setup),                                         \
        CASE(the_end_of_the_parent_ends_a_call_that_waits_to_be_made_again, setup),                                    \
        CASE(a_loop_is_told_once_of_a_call_that_was_made_again, setup)

int main(int argc, char **argv)
{
    static const struct CMUnitTest core[] = {CASES(rig_setup_core)};
    static const struct CMUnitTest threaded[] = {CASES(rig_setup_threaded)};
    static const struct CMUnitTest stepped[] = {
        CASES(rig_setup_stepped),
        CASE(backoffs_are_random_and_grow_to_their_bounds, rig_setup_stepped),
        CASE(after_a_pushback_the_backoff_begins_anew, rig_setup_stepped),
    };
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    if (argc > 1 && strcmp(argv[1], "threaded") == 0)
        return cmocka_run_group_tests(threaded, NULL, NULL);
    if (argc > 1 && strcmp(argv[1], "stepped") == 0)
        return cmocka_run_group_tests(stepped, NULL, NULL);
    return cmocka_run_group_tests(core, NULL, NULL);
}
