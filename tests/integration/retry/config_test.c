/* What a service config asks for besides retries, and who may say so: the program, and the resolver, which counts more.
 */
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
#include "pick/pick.h"
#include "support/kept_log.h"

/* ---- by method --------------------------------------------------------------------------------------------------- */

static void the_earlier_timeout_counts(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    rig_open(rig, CONFIG("\"timeout\":\"0.9s\""), "ab");
    ACT(rig, {.after_ms = -1});
    int64_t began_ns = weft_engine_now_ns(rig->engine);
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_DEADLINE_EXCEEDED);
    if (rig->stepped)
        assert_int_equal(outcome.at_ns - began_ns, 900 * MS);
    assert_true(outcome.at_ns - began_ns < 30000 * MS);
    began_ns = weft_engine_now_ns(rig->engine);
    assert_int_equal(rig_say(rig, &outcome, 300), WEFT_DEADLINE_EXCEEDED);
    if (rig->stepped)
        assert_int_equal(outcome.at_ns - began_ns, 300 * MS);
}

static void who_waits_for_ready_does_not_fail_while_there_is_nobody(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    weft_call_options call = WEFT_CALL_OPTIONS_INIT;
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    rig_open_with(rig, &options);
    rig_tell(rig, "");
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_UNAVAILABLE);
    rig_close(rig);
    options.service_config = CONFIG("\"waitForReady\":true");
    rig_open_with(rig, &options);
    rig_tell(rig, "");
    call.timeout_ms = 60000;
    rig_begin_say(rig, &outcome, &call);
    rig_tell(rig, "a");
    rig_end_say(rig, &outcome);
    assert_int_equal(outcome.code, WEFT_OK);
}

/* A call with a text of that length, which the server sends back. */
static weft_code say_long(struct rig *rig, size_t length)
{
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    request.text = calloc(1, length + 1);
    assert_non_null(request.text);
    memset(request.text, 'x', length);
    options.timeout_ms = 60000;
    weft_status status = chat_Chat_Say(rig->channel, rig->arena, &options, &request, &response);
    free(request.text);
    weft_arena_reset(rig->arena);
    return status.code;
}

static void messages_are_limited(void **state)
{
    struct rig *rig = *state;
    rig_open(rig, CONFIG("\"maxRequestMessageBytes\":100"), "a");
    assert_int_equal(say_long(rig, 90), WEFT_OK);
    assert_int_equal(say_long(rig, 200), WEFT_RESOURCE_EXHAUSTED);
    assert_attempts(rig, 1);
    rig_close(rig);
    rig_open(rig, CONFIG("\"maxResponseMessageBytes\":100"), "a");
    assert_int_equal(say_long(rig, 90), WEFT_OK);
    assert_int_equal(say_long(rig, 200), WEFT_RESOURCE_EXHAUSTED);
    assert_attempts(rig, 2);
}

static void messages_of_streams_are_limited(void **state)
{
    struct rig *rig = *state;
    chat_Chat_Talk_client *stream = NULL;
    Chat__Text message = CHAT__TEXT__INIT;
    Chat__Text *echo = NULL;
    uint8_t payload[200] = {0};
    rig_open(rig, CONFIG("\"maxRequestMessageBytes\":100"), "a");
    assert_int_equal(chat_Chat_Talk(&stream, rig->channel, NULL), 0);
    assert_int_equal(chat_Chat_Talk_client_send(stream, &message), 0);
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &echo), 1);
    message.payload = (ProtobufCBinaryData){sizeof payload, payload};
    assert_int_equal(chat_Chat_Talk_client_send(stream, &message), -EMSGSIZE);
    weft_stream_cancel(WEFT_STREAM(stream));
    (void)chat_Chat_Talk_client_finish(stream, rig->arena);
    rig_close(rig);
    rig_open(rig, CONFIG("\"maxResponseMessageBytes\":100"), "a");
    assert_int_equal(chat_Chat_Talk(&stream, rig->channel, NULL), 0);
    assert_int_equal(chat_Chat_Talk_client_send(stream, &message), 0);
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &echo), -EMSGSIZE);
    assert_int_equal(chat_Chat_Talk_client_finish(stream, rig->arena).code, WEFT_RESOURCE_EXHAUSTED);
}

static size_t say_and_count(struct rig *rig)
{
    struct outcome outcome;
    ACT(rig, {.code = WEFT_UNAVAILABLE, .pushback = "0"});
    assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_UNAVAILABLE);
    return rig_attempts(rig);
}

static size_t gather_and_count(struct rig *rig)
{
    chat_Chat_Gather_client *stream = NULL;
    Chat__Text *response = NULL;
    ACT(rig, {.code = WEFT_UNAVAILABLE, .pushback = "0"});
    assert_int_equal(chat_Chat_Gather(&stream, rig->channel, NULL), 0);
    assert_int_equal(chat_Chat_Gather_client_finish(stream, rig->arena, &response).code, WEFT_UNAVAILABLE);
    return rig_attempts(rig);
}

#define NAMED(names, attempts) "{\"name\":[" names "]," RETRY(attempts, UNAVAILABLE, "") "}"

static void a_method_counts_before_its_service_and_that_before_all_others(void **state)
{
    struct rig *rig = *state;
    rig_open(rig,
             "{\"methodConfig\":[" NAMED("{}", 2) "," NAMED("{\"service\":\"chat.Chat\"}", 3) "," NAMED(
                 "{\"service\":\"chat.Chat\",\"method\":\"Say\"}", 4) "]}",
             "ab");
    assert_int_equal(say_and_count(rig), 4);
    assert_int_equal(gather_and_count(rig), 3);
    rig_close(rig);
    rig_open(rig,
             "{\"methodConfig\":[" NAMED("{}", 2) "," NAMED("{\"service\":\"chat.Other\"}", 3) "," NAMED(
                 "{\"service\":\"chat.Chat\",\"method\":\"Say\"}", 4) "]}",
             "ab");
    assert_int_equal(say_and_count(rig), 4);
    assert_int_equal(gather_and_count(rig), 2);
}

/* ---- by whom ----------------------------------------------------------------------------------------------------- */

static void publish(struct rig *rig, const char *config)
{
    rig->published = config;
    rig_tell(rig, "ab");
}

static void what_the_resolver_says_counts_until_it_says_nothing_any_more(void **state)
{
    struct rig *rig = *state;
    rig_open(rig, CONFIG(RETRY(3, UNAVAILABLE, "")), "ab");
    assert_int_equal(say_and_count(rig), 3);
    publish(rig, CONFIG(RETRY(2, UNAVAILABLE, "")));
    assert_int_equal(say_and_count(rig), 2);
    publish(rig, "{}");
    assert_int_equal(say_and_count(rig), 1);
    publish(rig, NULL);
    assert_int_equal(say_and_count(rig), 3);
    rig_close(rig);
    rig->published = NULL;
    rig_open(rig, NULL, "ab");
    assert_int_equal(say_and_count(rig), 1);
    publish(rig, CONFIG(RETRY(4, UNAVAILABLE, "")));
    assert_int_equal(say_and_count(rig), 4);
    publish(rig, NULL);
    assert_int_equal(say_and_count(rig), 1);
}

static void a_call_goes_on_by_the_policy_that_it_began_with(void **state)
{
    struct rig *rig = *state;
    struct outcome outcome;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    options.timeout_ms = 60000;
    rig_open(rig, CONFIG(RETRY(3, UNAVAILABLE, "")), "ab");
    ACT(rig, {.code = WEFT_UNAVAILABLE, .pushback = "50"}, {.code = WEFT_OK});
    rig_begin_say(rig, &outcome, &options);
    rig_await_attempts(rig, 1);
    publish(rig, "{}");
    publish(rig, CONFIG(RETRY(2, "\"INTERNAL\"", "")));
    rig_end_say(rig, &outcome);
    assert_int_equal(outcome.code, WEFT_OK);
    assert_attempts(rig, 2);
}

static void a_wrong_one_of_the_resolver_changes_nothing_and_is_logged(void **state)
{
    struct rig *rig = *state;
    struct kept_log kept;
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    kept_log_open(&kept);
    options.log = kept.log;
    options.service_config = CONFIG(RETRY(3, UNAVAILABLE, ""));
    rig_open_with(rig, &options);
    publish(rig, "{\"methodConfig\":[{\"name\":[{}],\"timeout\":\"250ms\"}]}");
    assert_int_equal(say_and_count(rig), 3);
    publish(rig, CONFIG(RETRY(2, UNAVAILABLE, "")));
    assert_int_equal(say_and_count(rig), 2);
    publish(rig, "not even JSON");
    assert_int_equal(say_and_count(rig), 2);
    rig_close(rig);
    assert_int_equal(kept_log_count(&kept, "a mistake in the service config"), 2);
}

static void a_wrong_one_of_the_program_makes_no_channel_and_all_mistakes_are_logged(void **state)
{
    struct rig *rig = *state;
    struct kept_log kept;
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    weft_channel *channel = NULL;
    kept_log_open(&kept);
    options.log = kept.log;
    options.service_config = "{\"methodConfig\":[{\"name\":[{}],\"timeout\":\"250ms\"},\n"
                             "{\"name\":[{\"service\":\"a.B\"}]," RETRY(1, UNAVAILABLE, "") "}]}";
    assert_int_equal(weft_channel_new(&channel, rig->engine, rig->nodes[0].address, &options), -EINVAL);
    assert_null(channel);
    char *huge = malloc(300000);
    assert_non_null(huge);
    memset(huge, ' ', 300000);
    huge[299999] = '\0';
    options.service_config = huge;
    assert_int_equal(weft_channel_new(&channel, rig->engine, rig->nodes[0].address, &options), -EINVAL);
    free(huge);
    assert_int_equal(kept_log_count(&kept, "service config"), 3); /* two mistakes, and one that is too long */
}

/* ---- of the channel ---------------------------------------------------------------------------------------------- */

static unsigned nodes_of_calls(struct rig *rig, int calls)
{
    struct outcome outcome;
    unsigned nodes = 0;
    ACT(rig, {.code = WEFT_OK});
    for (int i = 0; i < calls; i++) {
        assert_int_equal(rig_say(rig, &outcome, 60000), WEFT_OK);
        nodes |= 1U << outcome.number;
    }
    return nodes;
}

static void the_load_balancing_config_names_the_picker(void **state)
{
    struct rig *rig = *state;
    rig_open(rig, "{\"loadBalancingConfig\":[{\"nobody_knows_it\":{}},{\"round_robin\":{}}]}", "abcd");
    assert_int_equal(nodes_of_calls(rig, 4), 15);
    rig_close(rig);
    rig_open(rig, "{\"loadBalancingConfig\":[{\"pick_first\":{}}]}", "b");
    rig_tell(rig, "bac");
    assert_int_equal(nodes_of_calls(rig, 20), 2);
}

/* The nodes that ten channels go to, by a picker of whose kind this is. */
static unsigned nodes_of_channels(struct rig *rig, const char *config)
{
    weft__random_seeded source;
    unsigned nodes = 0;
    weft__pick_random = weft__random_seed(&source, 20261129);
    for (int i = 0; i < 10; i++) {
        weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
        weft_channel_stats stats = WEFT_CHANNEL_STATS_INIT;
        options.service_config = config;
        rig_open_with(rig, &options);
        rig_tell(rig, "abcd");
        for (int tries = 0; tries < 10000 && stats.ready < 4; tries++) {
            rig_pass_ms(rig, 1);
            assert_int_equal(weft_channel_read_stats(rig->channel, &stats), 0);
        }
        assert_int_equal(stats.ready, 4);
        unsigned some = nodes_of_calls(rig, 5);
        assert_int_equal(some & (some - 1), 0); /* one of them */
        nodes |= some;
        rig_close(rig);
    }
    weft__pick_random = NULL;
    return nodes;
}

static void pick_first_may_shuffle_the_list(void **state)
{
    struct rig *rig = *state;
    static const char *const plain = "{\"loadBalancingConfig\":[{\"pick_first\":{\"shuffleAddressList\":false}}]}";
    static const char *const shuffled = "{\"loadBalancingConfig\":[{\"pick_first\":{\"shuffleAddressList\":true}}]}";
    assert_int_equal(nodes_of_channels(rig, plain), 1);
    assert_int_equal(nodes_of_channels(rig, shuffled), 15);
}

static void the_health_check_config_leaves_out_who_does_not_serve(void **state)
{
    struct rig *rig = *state;
    static const char *const config = "{" IN_TURN ",\"healthCheckConfig\":{\"serviceName\":\"chat.Chat\"}}";
    for (int i = 0; i < NODES; i++)
        assert_int_equal(weft_health_set(rig->nodes[i].health, "chat.Chat", WEFT_SERVING), 0);
    rig_open(rig, config, "abc");
    assert_int_equal(weft_health_set(rig->nodes[1].health, "chat.Chat", WEFT_NOT_SERVING), 0);
    unsigned nodes = 0;
    for (int tries = 0; tries < 1000 && nodes != 5; tries++)
        nodes = nodes_of_calls(rig, 6);
    assert_int_equal(nodes, 5);
    assert_int_equal(weft_health_set(rig->nodes[1].health, "chat.Chat", WEFT_SERVING), 0);
    for (int tries = 0; tries < 1000 && nodes != 7; tries++)
        nodes = nodes_of_calls(rig, 6);
    assert_int_equal(nodes, 7);
}

#define CASE(name, setup) cmocka_unit_test_setup_teardown(name, setup, rig_teardown)
#define CASES(setup)                                                                                                   \
    CASE(the_earlier_timeout_counts, setup), CASE(who_waits_for_ready_does_not_fail_while_there_is_nobody, setup),     \
        CASE(messages_are_limited, setup), CASE(messages_of_streams_are_limited, setup),                               \
        CASE(a_method_counts_before_its_service_and_that_before_all_others, setup),                                    \
        CASE(what_the_resolver_says_counts_until_it_says_nothing_any_more, setup),                                     \
        CASE(a_call_goes_on_by_the_policy_that_it_began_with, setup),                                                  \
        CASE(a_wrong_one_of_the_resolver_changes_nothing_and_is_logged, setup),                                        \
        CASE(a_wrong_one_of_the_program_makes_no_channel_and_all_mistakes_are_logged, setup),                          \
        CASE(the_load_balancing_config_names_the_picker, setup), CASE(pick_first_may_shuffle_the_list, setup),         \
        CASE(the_health_check_config_leaves_out_who_does_not_serve, setup)

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
