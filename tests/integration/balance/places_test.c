/* Places on connections: a channel makes further connections to an instance, and lets calls wait where they are seen.
 * The servers answer when the test says so: until then a call keeps its place. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <weft/core.h>
#include <weft/testing.h>
#include <weft/weft.h>

#include "base/clock.h"
#include "base/event.h"
#include "chat.weft.h"

enum {
    SERVERS = 2,
    MAX_HELD = 16,
    THREADS = 8,
    CALLS = 200
};

static const int64_t ns_per_ms = 1000000;

struct node {
    struct rig *rig;
    weft_server *server;
    char address[128];
    atomic_int calls;
};

struct rig {
    bool core;
    bool stepped;
    weft_engine *engine;
    struct node nodes[SERVERS];
    atomic_bool holds; /* calls are kept, not answered */
    pthread_mutex_t lock;
    weft_call *held[MAX_HELD];
    int held_count;
    weft_resolver *list;
    weft_channel_options options;
    weft_channel *channel;
    weft_arena *arena;
};

static weft_code say(weft_call *call, const Chat__Text *request, Chat__Text *response, void *self)
{
    struct node *node = self;
    struct rig *rig = node->rig;
    node->calls++;
    response->number = node - rig->nodes;
    (void)request;
    if (!rig->holds)
        return WEFT_OK;
    pthread_mutex_lock(&rig->lock);
    assert_true(rig->held_count < MAX_HELD);
    assert_int_equal(weft_call_defer(call), 0);
    rig->held[rig->held_count++] = call;
    pthread_mutex_unlock(&rig->lock);
    return WEFT_OK;
}

static const chat_Chat_ops ops = {.Say = say};

/* ---- the rig ----------------------------------------------------------------------------------------------------- */

static void start_node(struct rig *rig, int i)
{
    struct node *node = &rig->nodes[i];
    weft_server_options options = WEFT_SERVER_OPTIONS_INIT;
    options.workers = -1;
    options.quiet_ms = 20;
    node->rig = rig;
    assert_int_equal(weft_server_new(&node->server, rig->engine, &options), 0);
    assert_int_equal(chat_Chat_register(node->server, &ops, node, NULL), 0);
    assert_int_equal(weft_server_listen(node->server, "127.0.0.1:0"), 0);
    assert_int_equal(weft_server_start(node->server), 0);
    snprintf(node->address, sizeof node->address, "ipv4:%s", weft_server_address(node->server, 0));
}

static struct rig *new_rig(bool core, bool stepped)
{
    struct rig *rig = calloc(1, sizeof *rig);
    weft_core_engine_options core_options = WEFT_CORE_ENGINE_OPTIONS_INIT;
    weft_memory_engine_options memory_options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
    assert_non_null(rig);
    rig->core = core;
    rig->stepped = stepped;
    memory_options.threaded = !stepped;
    assert_int_equal(core ? weft_core_engine_new(&rig->engine, &core_options)
                          : weft_memory_engine_new(&rig->engine, &memory_options),
                     0);
    assert_int_equal(pthread_mutex_init(&rig->lock, NULL), 0);
    assert_int_equal(weft_arena_new(&rig->arena, 0), 0);
    assert_int_equal(weft_list_resolver_new(&rig->list), 0);
    rig->options = (weft_channel_options)WEFT_CHANNEL_OPTIONS_INIT;
    for (int i = 0; i < SERVERS; i++)
        start_node(rig, i);
    return rig;
}

static void list_node(struct rig *rig, int i)
{
    const weft_address address = {.address = rig->nodes[i].address};
    assert_int_equal(weft_list_resolver_add(rig->list, &address), 0);
}

/* A channel to the first `count` nodes, by the rig's options. */
static void open_channel(struct rig *rig, int count)
{
    rig->options.resolvers = &rig->list;
    rig->options.resolver_count = 1;
    for (int i = 0; i < count; i++)
        list_node(rig, i);
    assert_int_equal(weft_channel_new(&rig->channel, rig->engine, "list:///", &rig->options), 0);
    assert_int_equal(weft_channel_connect(rig->channel, 10000), 0);
}

static int set_up_core(void **state)
{
    *state = new_rig(true, false);
    return 0;
}

static int set_up_threaded(void **state)
{
    *state = new_rig(false, false);
    return 0;
}

static int set_up_stepped(void **state)
{
    *state = new_rig(false, true);
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    weft_channel_free(rig->channel);
    for (int i = 0; i < SERVERS; i++)
        weft_server_free(rig->nodes[i].server);
    weft_resolver_free(rig->list);
    weft_arena_free(rig->arena);
    assert_int_equal(weft_engine_free(rig->engine), 0);
    pthread_mutex_destroy(&rig->lock);
    free(rig);
    return 0;
}

/* Lets things happen, for a moment. */
static void turn(struct rig *rig)
{
    if (rig->stepped)
        (void)weft_test_step(rig->engine, SIZE_MAX);
    else
        (void)sched_yield();
}

static void pass_ms(struct rig *rig, int64_t ms)
{
    weft__event never;
    if (!rig->core) {
        weft_test_advance(rig->engine, ms * ns_per_ms);
        return;
    }
    assert_int_equal(weft__event_init(&never), 0);
    assert_int_equal(weft__event_wait(&never, weft_engine_now_ns(rig->engine) + ms * ns_per_ms), -ETIMEDOUT);
    weft__event_fini(&never);
}

static int held(struct rig *rig)
{
    pthread_mutex_lock(&rig->lock);
    int count = rig->held_count;
    pthread_mutex_unlock(&rig->lock);
    return count;
}

static void await_held(struct rig *rig, int count)
{
    weft__clock *clock = weft__clock_system();
    int64_t until_ns = clock->now_ns(clock) + 20000 * ns_per_ms;
    while (held(rig) < count && clock->now_ns(clock) < until_ns)
        turn(rig);
    assert_int_equal(held(rig), count);
}

/* Has the server answer the call that it has kept for the longest. */
static void let_go(struct rig *rig)
{
    Chat__Text response = CHAT__TEXT__INIT;
    pthread_mutex_lock(&rig->lock);
    assert_true(rig->held_count > 0);
    weft_call *first = rig->held[0];
    memmove(rig->held, rig->held + 1, (size_t)--rig->held_count * sizeof *rig->held);
    pthread_mutex_unlock(&rig->lock);
    weft_call_finish(first, WEFT_OK, &response.base);
}

static weft_channel_stats stats_of(struct rig *rig)
{
    weft_channel_stats stats = WEFT_CHANNEL_STATS_INIT;
    assert_int_equal(weft_channel_read_stats(rig->channel, &stats), 0);
    return stats;
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static atomic_int order; /* of ends */

struct asked {
    weft__event over;
    weft_code code;
    char message[128];
    int64_t waited_ns;
    uint32_t attempts;
    int place; /* in the order of ends */
};

static void on_answer(const weft_status *status, Chat__Text *response, weft_result *result, void *arg)
{
    struct asked *asked = arg;
    (void)response;
    asked->code = status->code;
    snprintf(asked->message, sizeof asked->message, "%s", status->message);
    asked->waited_ns = weft_result_info(result)->waited_ns;
    asked->attempts = weft_result_info(result)->attempts;
    asked->place = order++;
    weft__event_post(&asked->over);
}

static void ask(struct rig *rig, struct asked *asked, int64_t timeout_ms)
{
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    Chat__Text request = CHAT__TEXT__INIT;
    options.timeout_ms = timeout_ms;
    assert_int_equal(weft__event_init(&asked->over), 0);
    assert_int_equal(chat_Chat_Say_async(rig->channel, &options, &request, on_answer, asked), 0);
}

static void assert_ends(struct rig *rig, struct asked *asked, weft_code code)
{
    if (rig->stepped)
        (void)weft_test_step(rig->engine, SIZE_MAX);
    assert_int_equal(weft__event_wait(&asked->over, rig->stepped ? 0 : INT64_MAX), 0);
    assert_int_equal(asked->code, code);
    assert_int_equal(asked->attempts, 1);
    weft__event_fini(&asked->over);
}

static int64_t answering_node(struct rig *rig)
{
    Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    weft_arena_reset(rig->arena);
    weft_status status = chat_Chat_Say(rig->channel, rig->arena, NULL, &request, &response);
    assert_int_equal(status.code, WEFT_OK);
    return response->number;
}

/* ---- further connections ----------------------------------------------------------------------------------------- */

static void a_full_connection_gets_company(void **state)
{
    struct rig *rig = *state;
    struct asked asked[6];
    rig->options.max_streams = 2;
    rig->options.max_connections = 3;
    rig->holds = true;
    open_channel(rig, 1);
    assert_int_equal(stats_of(rig).connections, 1);
    for (int i = 0; i < 6; i++)
        ask(rig, &asked[i], 60000);
    await_held(rig, 6);
    assert_int_equal(stats_of(rig).connections, 3);
    assert_int_equal(stats_of(rig).waiting, 0);
    for (int i = 0; i < 6; i++)
        let_go(rig);
    for (int i = 0; i < 6; i++)
        assert_ends(rig, &asked[i], WEFT_OK);
}

static void few_calls_need_one_connection(void **state)
{
    struct rig *rig = *state;
    open_channel(rig, 1);
    for (int i = 0; i < 100; i++)
        (void)answering_node(rig);
    assert_int_equal(stats_of(rig).connections, 1);
    assert_int_equal(stats_of(rig).waits, 0);
}

static void an_instance_without_a_place_is_passed_by(void **state)
{
    struct rig *rig = *state;
    struct asked asked[2];
    rig->options.max_streams = 1;
    rig->options.max_connections = 1;
    rig->holds = true;
    open_channel(rig, 2);
    while (stats_of(rig).ready < 2)
        turn(rig);
    for (int i = 0; i < 2; i++)
        ask(rig, &asked[i], 60000);
    await_held(rig, 2);
    assert_int_equal(rig->nodes[0].calls, 1);
    assert_int_equal(rig->nodes[1].calls, 1);
    for (int i = 0; i < 2; i++)
        let_go(rig);
    for (int i = 0; i < 2; i++)
        assert_ends(rig, &asked[i], WEFT_OK);
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

static void open_full(struct rig *rig, struct asked *first)
{
    rig->options.max_streams = 1;
    rig->options.max_connections = 1;
    rig->holds = true;
    open_channel(rig, 1);
    ask(rig, first, 60000);
    await_held(rig, 1);
}

static void calls_without_a_place_wait_in_order_and_tell_how_long(void **state)
{
    struct rig *rig = *state;
    struct asked asked[4];
    order = 0;
    open_full(rig, &asked[0]);
    for (int i = 1; i < 4; i++)
        ask(rig, &asked[i], 60000);
    assert_int_equal(stats_of(rig).waiting, 3);
    pass_ms(rig, 20);
    for (int i = 0; i < 4; i++) {
        await_held(rig, 1);
        let_go(rig);
        assert_ends(rig, &asked[i], WEFT_OK);
        assert_int_equal(asked[i].place, i);
        assert_true(i == 0 ? asked[i].waited_ns == 0 : asked[i].waited_ns >= 20 * ns_per_ms);
    }
    weft_channel_stats stats = stats_of(rig);
    assert_int_equal(stats.waiting, 0);
    assert_int_equal(stats.waits, 3);
    assert_true(stats.longest_wait_ns >= 20 * ns_per_ms);
    assert_true(stats.waited_ns >= 3 * 20 * ns_per_ms);
}

static void who_waits_for_a_place_may_run_out_of_time(void **state)
{
    struct rig *rig = *state;
    struct asked first, late;
    open_full(rig, &first);
    ask(rig, &late, 30);
    pass_ms(rig, 31);
    assert_ends(rig, &late, WEFT_DEADLINE_EXCEEDED);
    assert_true(late.waited_ns >= 30 * ns_per_ms);
    let_go(rig);
    assert_ends(rig, &first, WEFT_OK);
    assert_int_equal(rig->nodes[0].calls, 1);
}

static void a_stream_that_waits_for_a_place_can_be_cancelled(void **state)
{
    struct rig *rig = *state;
    struct asked first;
    chat_Chat_Talk_client *stream;
    open_full(rig, &first);
    assert_int_equal(chat_Chat_Talk(&stream, rig->channel, NULL), 0);
    assert_int_equal(stats_of(rig).waiting, 1);
    weft_stream_cancel(WEFT_STREAM(stream));
    assert_int_equal(chat_Chat_Talk_client_finish(stream, rig->arena).code, WEFT_CANCELLED);
    assert_int_equal(stats_of(rig).waiting, 0);
    let_go(rig);
    assert_ends(rig, &first, WEFT_OK);
}

static void no_more_wait_for_a_place_than_may(void **state)
{
    struct rig *rig = *state;
    struct asked asked[3];
    rig->options.max_waiting_calls = 1;
    open_full(rig, &asked[0]);
    for (int i = 1; i < 3; i++)
        ask(rig, &asked[i], 60000);
    assert_ends(rig, &asked[2], WEFT_RESOURCE_EXHAUSTED);
    assert_string_equal(asked[2].message, "too many calls wait for a place on a connection");
    assert_int_equal(stats_of(rig).refused, 1);
    for (int i = 0; i < 2; i++) {
        await_held(rig, 1);
        let_go(rig);
        assert_ends(rig, &asked[i], WEFT_OK);
    }
}

static void no_more_calls_run_than_may(void **state)
{
    struct rig *rig = *state;
    struct asked asked[3];
    rig->options.max_concurrent_calls = 2;
    rig->holds = true;
    open_channel(rig, 1);
    for (int i = 0; i < 3; i++)
        ask(rig, &asked[i], 60000);
    assert_ends(rig, &asked[2], WEFT_RESOURCE_EXHAUSTED);
    assert_string_equal(asked[2].message, "too many calls run on the channel");
    assert_int_equal(stats_of(rig).refused, 1);
    await_held(rig, 2);
    for (int i = 0; i < 2; i++)
        let_go(rig);
    for (int i = 0; i < 2; i++)
        assert_ends(rig, &asked[i], WEFT_OK);
    ask(rig, &asked[0], 60000);
    await_held(rig, 1);
    let_go(rig);
    assert_ends(rig, &asked[0], WEFT_OK);
}

static void a_channel_is_freed_while_calls_wait_for_places(void **state)
{
    struct rig *rig = *state;
    struct asked asked[3];
    open_full(rig, &asked[0]);
    for (int i = 1; i < 3; i++)
        ask(rig, &asked[i], 60000);
    rig->holds = false; /* one of those that wait may get the place of the first, and an answer */
    weft_channel_free(rig->channel);
    rig->channel = NULL;
    assert_ends(rig, &asked[0], WEFT_CANCELLED);
    let_go(rig);
    for (int i = 1; i < 3; i++) {
        assert_int_equal(weft__event_wait(&asked[i].over, rig->stepped ? 0 : INT64_MAX), 0);
        assert_true(asked[i].code == WEFT_CANCELLED || asked[i].code == WEFT_OK);
        weft__event_fini(&asked[i].over);
    }
}

static void *ask_many(void *arg)
{
    struct rig *rig = arg;
    weft_arena *arena;
    intptr_t failed = 0;
    if (weft_arena_new(&arena, 0) < 0)
        return (void *)(intptr_t)CALLS;
    for (int i = 0; i < CALLS; i++) {
        Chat__Text request = CHAT__TEXT__INIT;
        Chat__Text *response = NULL;
        weft_arena_reset(arena);
        failed += chat_Chat_Say(rig->channel, arena, NULL, &request, &response).code != WEFT_OK;
    }
    weft_arena_free(arena);
    return (void *)failed;
}

static void many_threads_share_few_places(void **state)
{
    struct rig *rig = *state;
    pthread_t threads[THREADS];
    rig->options.max_streams = 1;
    rig->options.max_connections = 2;
    open_channel(rig, 2);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_many, rig), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(rig->nodes[0].calls + rig->nodes[1].calls, THREADS * CALLS);
    assert_int_equal(stats_of(rig).waiting, 0);
}

/* ---- slow start -------------------------------------------------------------------------------------------------- */

/* How many of 400 calls the second node answers. */
static int share_of_second(struct rig *rig)
{
    int second = 0;
    for (int i = 0; i < 400; i++)
        second += answering_node(rig) == 1;
    return second;
}

static void a_new_instance_starts_slowly(void **state)
{
    struct rig *rig = *state;
    weft_picker *picker;
    assert_int_equal(weft_round_robin_new(&picker), 0);
    rig->options.picker = picker;
    rig->options.slow_start_ms = 10000;
    open_channel(rig, 1);
    assert_int_equal(share_of_second(rig), 0);
    pass_ms(rig, 10000);
    list_node(rig, 1);
    while (stats_of(rig).ready < 2)
        turn(rig);
    assert_in_range(share_of_second(rig), 12, 70); /* passed by nine times, and each time the turn is the other's: 36 */
    pass_ms(rig, 5000);
    assert_in_range(share_of_second(rig), 95, 175); /* once: 133 */
    pass_ms(rig, 5001);
    assert_int_equal(share_of_second(rig), 200);
    weft_channel_free(rig->channel);
    rig->channel = NULL;
    weft_picker_free(picker);
}

/* ---- in virtual time --------------------------------------------------------------------------------------------- */

/* Nothing else is left to happen, and no deadline moves the time. */
static void a_patient_call_sees_the_backoff_pass(void **state)
{
    struct rig *rig = *state;
    weft_test_fault fault = WEFT_TEST_FAULT_INIT;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    fault.point = WEFT_TEST_CONNECT;
    fault.kind = WEFT_TEST_REFUSE;
    fault.times = 1;
    options.wait_for_ready = true;
    assert_int_equal(weft_test_inject(rig->engine, &fault), 0);
    assert_int_equal(weft_channel_new(&rig->channel, rig->engine, rig->nodes[0].address, NULL), 0);
    int64_t begun_ns = weft_engine_now_ns(rig->engine);
    assert_int_equal(chat_Chat_Say(rig->channel, rig->arena, &options, &request, &response).code, WEFT_OK);
    assert_in_range(weft_engine_now_ns(rig->engine) - begun_ns, 800 * ns_per_ms, 1200 * ns_per_ms);
}

/* ---- the call's hash --------------------------------------------------------------------------------------------- */

static int64_t node_for(struct rig *rig, uint64_t hash)
{
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    options.hash = hash;
    weft_arena_reset(rig->arena);
    assert_int_equal(chat_Chat_Say(rig->channel, rig->arena, &options, &request, &response).code, WEFT_OK);
    return response->number;
}

static void calls_of_one_hash_go_to_one_instance(void **state)
{
    struct rig *rig = *state;
    weft_picker *picker;
    int seconds = 0;
    assert_int_equal(weft_ring_hash_new(&picker, NULL), 0);
    rig->options.picker = picker;
    open_channel(rig, 2);
    while (stats_of(rig).ready < 2)
        turn(rig);
    for (uint64_t i = 0; i < 64; i++) {
        uint64_t hash = weft_hash(weft_sv_of((const char *)&i, sizeof i));
        int64_t node = node_for(rig, hash);
        seconds += node == 1;
        for (int k = 0; k < 5; k++)
            assert_int_equal(node_for(rig, hash), node);
    }
    assert_in_range(seconds, 10, 54); /* both have some */
    weft_channel_free(rig->channel);
    rig->channel = NULL;
    weft_picker_free(picker);
}

static void options_of_places_are_checked(void **state)
{
    struct rig *rig = *state;
    const struct {
        int64_t *option;
        int64_t bad;
    } cases[] = {{&rig->options.max_streams, -2},
                 {&rig->options.max_connections, 1001},
                 {&rig->options.max_connections, -1},
                 {&rig->options.slow_start_ms, -1},
                 {&rig->options.max_concurrent_calls, -2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        *cases[i].option = cases[i].bad;
        assert_int_equal(weft_channel_new(&rig->channel, rig->engine, "10.0.0.1:1", &rig->options), -EINVAL);
        *cases[i].option = 0;
    }
}

#define CASE(name, setup) cmocka_unit_test_setup_teardown(name, setup, tear_down)
#define CASES(setup)                                                                                                   \
    CASE(a_full_connection_gets_company, setup), CASE(few_calls_need_one_connection, setup),                           \
        CASE(an_instance_without_a_place_is_passed_by, setup),                                                         \
        CASE(calls_without_a_place_wait_in_order_and_tell_how_long, setup),                                            \
        CASE(who_waits_for_a_place_may_run_out_of_time, setup),                                                        \
        CASE(a_stream_that_waits_for_a_place_can_be_cancelled, setup), CASE(no_more_wait_for_a_place_than_may, setup), \
        CASE(no_more_calls_run_than_may, setup), CASE(a_channel_is_freed_while_calls_wait_for_places, setup)

int main(int argc, char **argv)
{
    static const struct CMUnitTest core[] = {CASES(set_up_core), CASE(many_threads_share_few_places, set_up_core)};
    static const struct CMUnitTest threaded[] = {CASES(set_up_threaded),
                                                 CASE(many_threads_share_few_places, set_up_threaded)};
    static const struct CMUnitTest stepped[] = {CASES(set_up_stepped),
                                                CASE(a_new_instance_starts_slowly, set_up_stepped),
                                                CASE(a_patient_call_sees_the_backoff_pass, set_up_stepped),
                                                CASE(calls_of_one_hash_go_to_one_instance, set_up_stepped),
                                                CASE(options_of_places_are_checked, set_up_stepped)};
    const char *engine = argc > 1 ? argv[1] : "core";
    if (strcmp(engine, "threaded") == 0)
        return cmocka_run_group_tests_name("threaded", threaded, NULL, NULL);
    if (strcmp(engine, "stepped") == 0)
        return cmocka_run_group_tests_name("stepped", stepped, NULL, NULL);
    return cmocka_run_group_tests_name("core", core, NULL, NULL);
}
