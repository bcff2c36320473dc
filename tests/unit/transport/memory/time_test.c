/* Virtual time, stepping and connecting in the memory engine, stepped. */
#include <errno.h>

#include "rig.h"

/* A rig whose calls never arrive, so that only their deadlines end them. */
static void start_without_arrivals(struct rig *rig)
{
    weft_test_fault fault = WEFT_TEST_FAULT_INIT;
    rig_start(rig, NULL, NULL);
    fault.point = WEFT_TEST_START;
    fault.kind = WEFT_TEST_SWALLOW;
    fault.times = -1;
    assert_int_equal(weft_test_inject(rig->engine, &fault), 0);
}

static void timers_fire_in_order_each_at_its_time(void **state)
{
    (void)state;
    static const int64_t after_ms[] = {30, 10, 20, 10};
    static const size_t order[] = {1, 3, 2, 0}; /* of the same time: as they were set */
    struct rig rig;
    rig_op ops[4];
    weft__ccall *calls[4];
    start_without_arrivals(&rig);
    const int64_t start_ns = weft_engine_now_ns(rig.engine);
    for (size_t i = 0; i < 4; i++)
        calls[i] = rig_unary_start(&rig, "?", start_ns + after_ms[i] * RIG_MS, &ops[i]);
    (void)weft_test_step(rig.engine, SIZE_MAX);
    assert_int_equal(weft_engine_now_ns(rig.engine), start_ns);
    for (size_t i = 0; i < 4; i++) {
        weft__event done;
        assert_int_equal(weft__event_init(&done), 0);
        ops[order[i]].event = &done;
        ops[order[i]].engine = rig.engine;
        assert_int_equal(weft__engine_wait(rig.engine, &done, INT64_MAX), 0);
        assert_int_equal(weft_engine_now_ns(rig.engine), start_ns + after_ms[order[i]] * RIG_MS);
        for (size_t j = i + 1; j < 4; j++)
            assert_int_equal(ops[order[j]].completed, 0);
        weft__event_fini(&done);
        rig_free(calls[order[i]]);
    }
    rig_stop(&rig);
}

static void advancing_stops_at_each_timer_on_the_way(void **state)
{
    (void)state;
    struct rig rig;
    rig_op first, second;
    start_without_arrivals(&rig);
    const int64_t start_ns = weft_engine_now_ns(rig.engine);
    weft__ccall *a = rig_unary_start(&rig, "?", start_ns + 10, &first);
    weft__ccall *b = rig_unary_start(&rig, "?", start_ns + 21, &second);
    weft_test_advance(rig.engine, 20);
    assert_int_equal(weft_engine_now_ns(rig.engine), start_ns + 20);
    assert_int_equal(first.completed, 1);
    assert_int_equal(second.completed, 0);
    weft_test_advance(rig.engine, -5);
    assert_int_equal(weft_engine_now_ns(rig.engine), start_ns + 20);
    weft_test_advance(rig.engine, INT64_MAX);
    assert_int_equal(weft_engine_now_ns(rig.engine), INT64_MAX);
    assert_int_equal(second.completed, 1);
    rig_free(a);
    rig_free(b);
    rig_stop(&rig);
}

static void waiting_ends_at_its_time_or_when_nothing_can_happen(void **state)
{
    (void)state;
    struct rig rig;
    weft__event event;
    rig_start(&rig, NULL, NULL);
    assert_int_equal(weft__event_init(&event), 0);
    const int64_t start_ns = weft_engine_now_ns(rig.engine);
    assert_int_equal(weft__engine_wait(rig.engine, &event, start_ns + 7), -ETIMEDOUT);
    assert_int_equal(weft_engine_now_ns(rig.engine), start_ns + 7);
    assert_int_equal(weft__engine_wait(rig.engine, &event, start_ns), -ETIMEDOUT);
    assert_int_equal(weft__engine_wait(rig.engine, &event, INT64_MAX), -EDEADLK);
    assert_int_equal(weft_engine_now_ns(rig.engine), start_ns + 7);
    rig.engine->vtable->post(rig.engine, &event);
    assert_int_equal(weft__engine_wait(rig.engine, &event, INT64_MAX), 0);
    weft__event_fini(&event);
    rig_stop(&rig);
}

static void block_and_step(struct rig *rig, rig_call *call)
{
    weft__event event;
    const int64_t now_ns = weft_engine_now_ns(rig->engine);
    assert_int_equal(weft__event_init(&event), 0);
    assert_int_equal(weft__engine_wait(rig->engine, &event, INT64_MAX), -EDEADLK);
    assert_int_equal(weft_test_step(rig->engine, SIZE_MAX), 0);
    weft_test_advance(rig->engine, 1);
    assert_int_equal(weft_engine_now_ns(rig->engine), now_ns);
    weft__event_fini(&event);
    rig_echo(rig, call);
}

static void a_handler_on_the_stepping_thread_cannot_block_or_step(void **state)
{
    (void)state;
    struct rig rig;
    weft__result result;
    rig_start(&rig, NULL, NULL);
    rig.handler = block_and_step;
    weft__ccall *call = rig_unary_run(&rig, "?", &result);
    assert_rig_received(&rig, &result.response, "?");
    rig_free(call);
    rig_stop(&rig);
}

static void events_are_stepped_one_by_one(void **state)
{
    (void)state;
    struct rig rig;
    rig_op op;
    rig_start(&rig, NULL, NULL);
    rig.handler = rig_echo;
    weft__ccall *call = rig_unary_start(&rig, "?", INT64_MAX, &op);
    assert_int_equal(weft_test_step(rig.engine, 0), 0);
    assert_int_equal(rig.begun, 0);
    assert_int_equal(weft_test_step(rig.engine, 1), 1);
    assert_int_equal(rig.begun, 1);
    assert_int_equal(op.completed, 0);
    assert_int_equal(weft_test_step(rig.engine, SIZE_MAX), 2); /* the client's end, the server's end */
    assert_int_equal(op.completed, 1);
    assert_int_equal(weft_test_step(rig.engine, SIZE_MAX), 0);
    rig_free(call);
    rig_stop(&rig);
}

static void options_are_checked(void **state)
{
    (void)state;
    weft_engine *engine = NULL;
    weft_memory_engine_options options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
    options.max_buffered_bytes = -1;
    assert_int_equal(weft_memory_engine_new(&engine, &options), -EINVAL);
    options.max_buffered_bytes = 0;
    options.struct_size = 0;
    assert_int_equal(weft_memory_engine_new(&engine, &options), -EINVAL);
    assert_null(engine);
}

static void clock_and_random_numbers_repeat(void **state)
{
    (void)state;
    int64_t first_wall_ns = 0;
    uint64_t first_number = 0;
    for (uint64_t i = 0; i < 3; i++) {
        weft_engine *engine;
        weft_memory_engine_options options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
        options.seed = i < 2 ? 5 : 6;
        assert_int_equal(weft_memory_engine_new(&engine, &options), 0);
        uint64_t number = engine->random->next(engine->random);
        int64_t wall_ns = engine->clock->wall_ns(engine->clock);
        weft_test_advance(engine, 3);
        assert_int_equal(engine->clock->wall_ns(engine->clock), wall_ns + 3);
        if (i > 0) {
            assert_int_equal(wall_ns, first_wall_ns);
            assert_true((number == first_number) == (i == 1));
        }
        first_wall_ns = wall_ns;
        first_number = number;
        assert_int_equal(weft_engine_free(engine), 0);
    }
}

static void another_engine_is_left_alone(void **state)
{
    (void)state;
    static const weft__engine_vtable vtable = {.name = "other"};
    weft_engine other = {.vtable = &vtable, .stepped = true};
    const weft_test_fault fault = {
        .struct_size = sizeof fault, .point = WEFT_TEST_START, .kind = WEFT_TEST_REFUSE, .times = 1};
    assert_int_equal(weft_test_step(&other, SIZE_MAX), 0);
    weft_test_advance(&other, 1);
    assert_int_equal(weft_test_inject(&other, &fault), -EINVAL);
}

/* ---- connecting -------------------------------------------------------------------------------------------------- */

/* The next state of the connection, another than `last`. */
static int next_state(struct rig *rig, int last)
{
    rig_op op;
    weft__event done;
    rig_op_init(&op);
    assert_int_equal(weft__event_init(&done), 0);
    op.engine = rig->engine;
    op.event = &done;
    assert_int_equal(rig->channel->vtable->watch(rig->channel, last, &op.op), 0);
    assert_int_equal(op.completed, 0);
    assert_int_equal(weft__engine_wait(rig->engine, &done, INT64_MAX), 0);
    assert_int_equal(op.completed, 1);
    weft__event_fini(&done);
    return op.result;
}

static void await_connection(struct rig *rig)
{
    int state = -1;
    while (state != WEFT__LINK_READY)
        state = next_state(rig, state);
}

static void watching_makes_the_connection(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, NULL, NULL);
    assert_int_equal(rig.server->vtable->connections(rig.server), 0);
    for (int i = 0; i < 2; i++) {
        await_connection(&rig);
        assert_int_equal(rig.server->vtable->connections(rig.server), 1);
    }
    rig_stop(&rig);
}

static void nobody_to_connect_to_is_nothing_that_can_happen(void **state)
{
    (void)state;
    struct rig rig;
    rig_op op;
    weft__event never;
    rig_start(&rig, NULL, NULL);
    rig_stop_server(&rig);
    assert_int_equal(next_state(&rig, -1), WEFT__LINK_BACKOFF);
    rig_op_init(&op);
    assert_int_equal(rig.channel->vtable->watch(rig.channel, WEFT__LINK_BACKOFF, &op.op), 0);
    assert_int_equal(weft__event_init(&never), 0);
    assert_int_equal(weft__engine_wait(rig.engine, &never, INT64_MAX), -EDEADLK);
    weft__event_fini(&never);
    assert_int_equal(op.completed, 0);
    rig_serve(&rig);
    (void)weft_test_step(rig.engine, SIZE_MAX);
    assert_int_equal(op.result, WEFT__LINK_READY);
    rig_stop(&rig);
}

/* How long it takes to connect when `failures` attempts fail first. */
static int64_t time_to_connect(uint64_t seed, int64_t failures)
{
    struct rig rig;
    weft_memory_engine_options options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
    weft_test_fault fault = WEFT_TEST_FAULT_INIT;
    options.seed = seed;
    rig_start(&rig, &options, NULL);
    fault.point = WEFT_TEST_CONNECT;
    fault.kind = WEFT_TEST_REFUSE;
    fault.times = failures;
    assert_int_equal(weft_test_inject(rig.engine, &fault), 0);
    int64_t before_ns = weft_engine_now_ns(rig.engine);
    await_connection(&rig);
    int64_t took_ns = weft_engine_now_ns(rig.engine) - before_ns;
    rig_stop(&rig);
    return took_ns;
}

static void failed_attempts_are_repeated_with_a_growing_pause(void **state)
{
    (void)state;
    assert_in_range(time_to_connect(1, 1), INT64_C(800) * RIG_MS, INT64_C(1200) * RIG_MS);
    /* 1 + 1.6 + 2.56 + 4.096 s, ±20 % */
    assert_in_range(time_to_connect(1, 4), INT64_C(7404) * RIG_MS, INT64_C(11108) * RIG_MS);
    /* The pause never grows over 120 s: after eleven, each is. */
    assert_in_range(time_to_connect(1, 111) - time_to_connect(1, 11), INT64_C(9600000) * RIG_MS,
                    INT64_C(14400000) * RIG_MS);
}

static void the_same_seed_gives_the_same_times(void **state)
{
    (void)state;
    const int64_t once_ns = time_to_connect(7, 5);
    assert_int_equal(time_to_connect(7, 5), once_ns);
    assert_int_not_equal(time_to_connect(8, 5), once_ns);
}

static void any_address_of_a_list_will_do(void **state)
{
    (void)state;
    static const char *const targets[] = {"ipv4:127.0.0.1:1,127.0.0.1:2", "ipv6:[::1]:2,127.0.0.1:2",
                                          "dns:///127.0.0.1:2", "127.0.0.1:2"};
    struct rig rig;
    weft__result result;
    weft__tchannel *channel;
    rig_start(&rig, NULL, NULL);
    rig.handler = rig_echo;
    rig_stop_server(&rig);
    memcpy(rig.name, "127.0.0.1:2", sizeof "127.0.0.1:2");
    rig_serve(&rig);
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        rig.channel_config.target = targets[i];
        assert_int_equal(rig.engine->vtable->channel_new(rig.engine, &rig.channel_config, &channel), 0);
        weft__tchannel *own = rig.channel;
        rig.channel = channel;
        weft__ccall *call = rig_unary_run(&rig, "?", &result);
        assert_rig_received(&rig, &result.response, "?");
        rig_free(call);
        channel->vtable->destroy(channel);
        rig.channel = own;
    }
    rig_stop(&rig);
}

/* ---- old and idle connections ------------------------------------------------------------------------------------ */

static void echo_once(struct rig *rig)
{
    weft__result result;
    weft__ccall *call = rig_unary_run(rig, "?", &result);
    assert_rig_received(rig, &result.response, "?");
    rig_free(call);
}

static void limit_idle_time(struct rig *rig)
{
    rig->server_config.max_connection_idle_ms = 100;
    rig->handler = rig_echo;
}

static void an_idle_connection_is_closed(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, NULL, limit_idle_time);
    for (int i = 0; i < 3; i++) {
        echo_once(&rig);
        weft_test_advance(rig.engine, 99 * RIG_MS);
        assert_int_equal(rig.server->vtable->connections(rig.server), 1);
    }
    weft_test_advance(rig.engine, RIG_MS);
    assert_int_equal(rig.server->vtable->connections(rig.server), 0);
    rig.handler = NULL;
    rig_op op;
    weft__ccall *call = rig_unary_start(&rig, "?", INT64_MAX, &op);
    weft_test_advance(rig.engine, 1000 * RIG_MS); /* it is in use */
    assert_int_equal(rig.server->vtable->connections(rig.server), 1);
    rig_finish(rig.call, WEFT_OK, "");
    weft_test_advance(rig.engine, 100 * RIG_MS);
    assert_int_equal(op.completed, 1);
    assert_int_equal(rig.server->vtable->connections(rig.server), 0);
    rig_free(call);
    rig_stop(&rig);
}

static void limit_age(struct rig *rig)
{
    rig->server_config.max_connection_age_ms = 1000;
    rig->server_config.max_connection_age_grace_ms = 50;
}

static void an_old_connection_takes_no_more_calls_and_its_last_get_the_grace(void **state)
{
    (void)state;
    struct rig rig;
    rig_op old, young;
    weft__result result;
    rig_start(&rig, NULL, limit_age);
    rig.handler = rig_echo;
    echo_once(&rig);
    weft_test_advance(rig.engine, 1100 * RIG_MS); /* it is 1 s old, ±10 %, and no call is on it */
    assert_int_equal(rig.server->vtable->connections(rig.server), 0);
    rig.handler = NULL;
    weft__ccall *call = rig_unary_start(&rig, "old", INT64_MAX, &old);
    weft_test_advance(rig.engine, 899 * RIG_MS);
    assert_int_equal(rig.server->vtable->connections(rig.server), 1);
    rig_call *on_server = rig.call;
    int64_t passed_ms = 899;
    weft__ccall *other = NULL;
    for (; rig.server->vtable->connections(rig.server) == 1 && passed_ms <= 1100; passed_ms++) {
        weft_test_advance(rig.engine, RIG_MS);
        if (other != NULL)
            rig_free(other);
        other = rig_unary_start(&rig, "young", INT64_MAX, &young); /* on the same connection, or on a new one */
        (void)weft_test_step(rig.engine, SIZE_MAX);
        rig_finish(rig.call, WEFT_OK, "");
        (void)weft_test_step(rig.engine, SIZE_MAX);
        assert_int_equal(young.completed, 1);
    }
    assert_in_range(passed_ms, 900, 1100);
    rig_free(other);
    assert_int_equal(old.completed, 0);
    weft_test_advance(rig.engine, 49 * RIG_MS);
    assert_int_equal(old.completed, 0);
    weft_test_advance(rig.engine, 2 * RIG_MS);
    assert_int_equal(old.completed, 1);
    call->vtable->result(call, &result);
    assert_int_equal(result.code, WEFT_UNAVAILABLE);
    rig_free(call);
    rig_finish(on_server, WEFT_OK, "");
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_in_order_each_at_its_time),
        cmocka_unit_test(advancing_stops_at_each_timer_on_the_way),
        cmocka_unit_test(waiting_ends_at_its_time_or_when_nothing_can_happen),
        cmocka_unit_test(a_handler_on_the_stepping_thread_cannot_block_or_step),
        cmocka_unit_test(events_are_stepped_one_by_one),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(clock_and_random_numbers_repeat),
        cmocka_unit_test(another_engine_is_left_alone),
        cmocka_unit_test(watching_makes_the_connection),
        cmocka_unit_test(nobody_to_connect_to_is_nothing_that_can_happen),
        cmocka_unit_test(failed_attempts_are_repeated_with_a_growing_pause),
        cmocka_unit_test(the_same_seed_gives_the_same_times),
        cmocka_unit_test(any_address_of_a_list_will_do),
        cmocka_unit_test(an_idle_connection_is_closed),
        cmocka_unit_test(an_old_connection_takes_no_more_calls_and_its_last_get_the_grace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
