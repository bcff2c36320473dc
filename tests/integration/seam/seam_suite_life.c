/* The life of servers, channels and call objects: many calls, shutdown, connections. */
#include "integration/seam/seam_suite.h"

static void ten_thousand_calls_leave_nothing(void **state)
{
    (void)state;
    enum {
        CALLS = 10000
    };
    struct seam seam;
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam_start(&seam);
    for (int i = 0; i < CALLS; i++) {
        weft__result result;
        weft__ccall *call = seam_unary_text(&seam, &seam_unary, "one of many", &result);
        assert_seam_code(&result, WEFT_OK);
        seam_call_free(&seam, call, &result);
    }
    seam_await(&seam, &seam.ended, CALLS);
    seam_await(&seam, &seam.begun, CALLS);
    assert_int_equal(seam.begun, CALLS);
    assert_in_range(seam.made, 1, 8); /* call objects are used again */
    seam_stop(&seam);
}

struct caller {
    struct seam *seam;
    int wrong;
};

static void *call_many(void *arg)
{
    struct caller *caller = arg;
    struct seam *seam = caller->seam;
    for (int i = 0; i < 200; i++) {
        weft__result result;
        seam_op end;
        weft__ccall *call;
        weft__tx message;
        if (seam->channel->vtable->call_new(seam->channel, &call) < 0 ||
            seam->engine->vtable->tx_alloc(seam->engine, 100, &message) < 0) {
            caller->wrong++;
            continue;
        }
        memset(message.data, i, 100);
        const weft__call_args args = {
            .method = &seam_unary, .deadline_ns = INT64_MAX, .message = &message, .half_close = true};
        seam_op_init(seam, &end);
        if (SEAM_START(call->vtable->unary(call, &args, &end.op)) < 0) {
            caller->wrong++;
            continue;
        }
        pthread_mutex_lock(&seam->lock);
        while (end.completed == 0)
            pthread_cond_wait(&seam->changed, &seam->lock);
        pthread_mutex_unlock(&seam->lock);
        call->vtable->result(call, &result);
        uint8_t expected[100];
        memset(expected, i, sizeof expected);
        caller->wrong += result.code != WEFT_OK || !seam_rx_is(seam, &result.response, expected, sizeof expected);
        call->vtable->free(call);
    }
    return NULL;
}

static void many_threads_share_a_channel(void **state)
{
    (void)state;
    enum {
        THREADS = 8
    };
    if (seam_kind_under_test == SEAM_STEPPED)
        skip();
    struct seam seam;
    pthread_t threads[THREADS];
    struct caller callers[THREADS];
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam_start(&seam);
    for (int i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){&seam, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, call_many, &callers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(callers[i].wrong, 0);
    }
    seam_stop(&seam);
}

/* A unary call that the server holds. */
static weft__ccall *start_held(struct seam *seam, seam_op *end)
{
    weft__tx message = seam_text(seam, "hold");
    const weft__call_args args = {
        .method = &seam_unary, .deadline_ns = INT64_MAX, .message = &message, .half_close = true};
    weft__ccall *call = seam_call_new(seam);
    int before = seam->begun;
    seam_op_init(seam, end);
    assert_int_equal(SEAM_START(call->vtable->unary(call, &args, &end->op)), 0);
    seam_await(seam, &seam->begun, before + 1);
    return call;
}

static void shutdown_closes_after_the_running_call(void **state)
{
    (void)state;
    struct seam seam;
    seam_op end;
    weft__result result;
    seam_init(&seam);
    seam.on_begin = seam_hold;
    seam_start(&seam);
    weft__ccall *call = start_held(&seam, &end);
    seam_stop_accepting(&seam);
    seam.server->vtable->shutdown(seam.server);
    weft__ccall *late = seam_unary_text(&seam, &seam_unary, "too late", &result);
    assert_int_not_equal(result.code, WEFT_OK);
    seam_call_free(&seam, late, &result);
    assert_int_equal(seam.closed, 0);
    weft__tx response = seam_text(&seam, "in time");
    assert_int_equal(seam_finish(seam.held, WEFT_OK, NULL, &response), 0);
    assert_int_equal(seam_op_wait(&end), 0);
    call->vtable->result(call, &result);
    assert_seam_code(&result, WEFT_OK);
    assert_true(seam_rx_is_text(&seam, &result.response, "in time"));
    seam_call_free(&seam, call, &result);
    seam_await(&seam, &seam.closed, 1);
    assert_int_equal(seam.ended, 1);
    assert_int_equal(seam.begun, 1);
    seam_stop(&seam);
}

static void cancel_all_ends_what_still_runs(void **state)
{
    (void)state;
    struct seam seam;
    seam_op end;
    weft__result result;
    seam_init(&seam);
    seam.on_begin = seam_hold;
    seam_start(&seam);
    weft__ccall *call = start_held(&seam, &end);
    seam_stop_accepting(&seam);
    seam.server->vtable->shutdown(seam.server);
    seam.server->vtable->cancel_all(seam.server);
    assert_int_equal(seam_op_wait(&end), 0);
    call->vtable->result(call, &result);
    assert_int_not_equal(result.code, WEFT_OK);
    seam_call_free(&seam, call, &result);
    seam_await(&seam, &seam.cancelled, 1);
    assert_int_equal(seam.closed, 0); /* the upper side has not let go of the call */
    assert_int_equal(seam_finish(seam.held, WEFT_OK, NULL, NULL), 0);
    seam_await(&seam, &seam.closed, 1);
    assert_int_equal(seam.ended, 1);
    seam_stop(&seam);
}

static void a_server_that_never_served_is_destroyed_without_a_word(void **state)
{
    (void)state;
    struct seam seam;
    seam_init(&seam);
    seam_bind(&seam);
    seam_start_server(&seam);
    seam_stop_accepting(&seam);
    seam.server->vtable->destroy(seam.server);
    seam.server = NULL;
    assert_int_equal(seam.closed, 0);
    seam_stop(&seam);
}

static void connections_are_counted_and_limited(void **state)
{
    (void)state;
    struct seam seam;
    weft__result result;
    weft__tchannel *second = NULL;
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam.server_config.max_connections = 1;
    seam_start(&seam);
    assert_int_equal(seam.server->vtable->connections(seam.server), 0);
    weft__ccall *call = seam_unary_text(&seam, &seam_unary, "?", &result);
    assert_seam_code(&result, WEFT_OK);
    seam_call_free(&seam, call, &result);
    assert_int_equal(seam.server->vtable->connections(seam.server), 1);

    /* A second one is turned away, … */
    assert_int_equal(seam.engine->vtable->channel_new(seam.engine, &seam.channel_config, &second), 0);
    weft__tchannel *first = seam.channel;
    seam.channel = second;
    call = seam_unary_text(&seam, &seam_unary, "?", &result);
    assert_seam_code(&result, WEFT_UNAVAILABLE);
    seam_call_free(&seam, call, &result);
    assert_int_equal(seam.server->vtable->connections(seam.server), 1);

    /* … until the first one is gone. */
    first->vtable->destroy(first);
    seam_watch_until(&seam, second, WEFT__LINK_READY);
    call = seam_unary_text(&seam, &seam_unary, "?", &result);
    assert_seam_code(&result, WEFT_OK);
    seam_call_free(&seam, call, &result);
    assert_int_equal(seam.server->vtable->connections(seam.server), 1);
    seam_stop(&seam);
}

static void two_servers_and_channels_share_an_engine(void **state)
{
    (void)state;
    struct seam one, two;
    weft__result result;
    seam_init(&one);
    seam_init(&two);
    one.on_begin = seam_echo;
    two.on_begin = seam_echo;
    seam_start(&one);
    weft_engine *own = two.engine;
    two.engine = one.engine;
    seam_start(&two);
    for (int i = 0; i < 10; i++) {
        struct seam *seam = i % 2 == 0 ? &one : &two;
        weft__ccall *call = seam_unary_text(seam, &seam_unary, "?", &result);
        assert_seam_code(&result, WEFT_OK);
        seam_call_free(seam, call, &result);
    }
    seam_await(&one, &one.begun, 5);
    seam_await(&two, &two.begun, 5);
    assert_int_equal(one.begun, 5);
    assert_int_equal(two.begun, 5);
    two.channel->vtable->destroy(two.channel);
    two.channel = NULL;
    seam_stop_accepting(&two);
    two.server->vtable->shutdown(two.server);
    seam_await(&two, &two.closed, 1);
    two.server->vtable->destroy(two.server);
    two.server = NULL;
    two.engine = own;
    seam_stop(&one);
    seam_stop(&two);
}

const struct CMUnitTest seam_life_cases[] = {
    cmocka_unit_test(ten_thousand_calls_leave_nothing),
    cmocka_unit_test(many_threads_share_a_channel),
    cmocka_unit_test(shutdown_closes_after_the_running_call),
    cmocka_unit_test(cancel_all_ends_what_still_runs),
    cmocka_unit_test(a_server_that_never_served_is_destroyed_without_a_word),
    cmocka_unit_test(connections_are_counted_and_limited),
    cmocka_unit_test(two_servers_and_channels_share_an_engine),
};
const size_t seam_life_case_count = sizeof seam_life_cases / sizeof *seam_life_cases;
