/* How a call ends early: deadlines, cancels of either side, lost connections. */
#include "integration/seam/seam_suite.h"

/* A unary call that the server holds. */
struct held {
    weft__ccall *call;
    seam_op end;
    weft__result result;
};

static void hold(struct seam *seam, struct held *held, int64_t deadline_ns)
{
    weft__tx message = seam_text(seam, "hold");
    const weft__call_args args = {
        .method = &seam_unary, .deadline_ns = deadline_ns, .message = &message, .half_close = true};
    int before = seam->begun;
    held->call = seam_call_new(seam);
    seam_op_init(seam, &held->end);
    assert_int_equal(SEAM_START(held->call->vtable->unary(held->call, &args, &held->end.op)), 0);
    seam_await(seam, &seam->begun, before + 1);
}

/* Waits for its end, and frees it. */
static void expect(struct seam *seam, struct held *held, weft_code code, const char *text)
{
    assert_int_equal(seam_op_wait(&held->end), 0);
    held->call->vtable->result(held->call, &held->result);
    assert_seam_code(&held->result, code);
    assert_false(held->result.from_peer);
    if (text != NULL)
        assert_true(weft_sv_is(held->result.message, text));
    seam_call_free(seam, held->call, &held->result);
}

/* The server was told; its answer goes nowhere, and still ends the call. */
static void expect_told(struct seam *seam, int ended)
{
    seam_await(seam, &seam->cancelled, 1);
    assert_int_equal(seam->ended, ended - 1);
    assert_int_equal(seam_finish(seam->held, WEFT_OK, NULL, NULL), 0);
    seam_await(seam, &seam->ended, ended);
    assert_int_equal(seam->cancelled, 1);
}

static void a_deadline_ends_the_call_on_both_sides(void **state)
{
    (void)state;
    struct seam seam;
    struct held held;
    seam_init(&seam);
    seam.on_begin = seam_hold;
    seam_start(&seam);
    hold(&seam, &held, seam_in_ms(&seam, 300));
    assert_int_equal(held.end.completed, 0);
    seam_pass_ms(&seam, 301);
    expect(&seam, &held, WEFT_DEADLINE_EXCEEDED, NULL);
    expect_told(&seam, 1);
    seam_stop(&seam);
}

static void a_deadline_that_has_passed_fails_the_call(void **state)
{
    (void)state;
    struct seam seam;
    weft__result result;
    seam_op end;
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam_start(&seam);
    weft__ccall *call = seam_call_new(&seam);
    weft__tx message = seam_text(&seam, "late");
    const weft__call_args args = {
        .method = &seam_unary, .deadline_ns = seam_in_ms(&seam, 0), .message = &message, .half_close = true};
    seam_op_init(&seam, &end);
    assert_int_equal(SEAM_START(call->vtable->unary(call, &args, &end.op)), 0);
    seam_pass_ms(&seam, 1);
    assert_int_equal(seam_op_wait(&end), 0);
    call->vtable->result(call, &result);
    assert_seam_code(&result, WEFT_DEADLINE_EXCEEDED);
    assert_false(result.from_peer);
    seam_call_free(&seam, call, &result);
    seam_stop(&seam);
}

static void cancel_ends_the_call_with_its_own_words(void **state)
{
    (void)state;
    struct seam seam;
    struct held held;
    seam_init(&seam);
    seam.on_begin = seam_hold;
    seam_start(&seam);
    hold(&seam, &held, INT64_MAX);
    seam_starting(NULL);
    held.call->vtable->cancel(held.call, WEFT_ABORTED, "not wanted any more");
    held.call->vtable->cancel(held.call, WEFT_CANCELLED, "too late to be heard");
    seam_started(0);
    expect(&seam, &held, WEFT_ABORTED, "not wanted any more");
    expect_told(&seam, 1);
    seam_stop(&seam);
}

static void each_cancel_has_its_own_words_when_calls_are_used_again(void **state)
{
    static const char *const words[] = {"the first", "the second"};
    (void)state;
    struct seam seam;
    struct held held;
    seam_init(&seam);
    seam.on_begin = seam_hold;
    seam_start(&seam);
    for (int i = 0; i < 2; i++) {
        hold(&seam, &held, INT64_MAX);
        held.call->vtable->cancel(held.call, WEFT_CANCELLED, words[i]);
        expect(&seam, &held, WEFT_CANCELLED, words[i]);
        seam_await(&seam, &seam.cancelled, i + 1);
        assert_int_equal(seam_finish(seam.held, WEFT_OK, NULL, NULL), 0);
        seam_await(&seam, &seam.ended, i + 1);
    }
    seam_stop(&seam);
}

static void cancel_before_the_start_is_remembered(void **state)
{
    (void)state;
    struct seam seam;
    weft__result result;
    seam_op end;
    seam_init(&seam);
    seam.on_begin = seam_hold;
    seam_start(&seam);
    weft__ccall *call = seam_call_new(&seam);
    weft__tx message = seam_text(&seam, "never");
    const weft__call_args args = {
        .method = &seam_unary, .deadline_ns = INT64_MAX, .message = &message, .half_close = true};
    call->vtable->cancel(call, WEFT_CANCELLED, "changed our mind");
    seam_op_init(&seam, &end);
    assert_int_equal(SEAM_START(call->vtable->unary(call, &args, &end.op)), 0);
    assert_int_equal(seam_op_wait(&end), 0);
    call->vtable->result(call, &result);
    assert_seam_code(&result, WEFT_CANCELLED);
    assert_true(weft_sv_is(result.message, "changed our mind"));
    assert_false(result.from_peer);
    seam_call_free(&seam, call, &result);
    assert_int_equal(seam.begun, 0);
    seam_stop(&seam);
}

static void cancel_after_the_end_changes_nothing(void **state)
{
    (void)state;
    struct seam seam;
    weft__result result;
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam_start(&seam);
    weft__ccall *call = seam_unary_text(&seam, &seam_unary, "done", &result);
    call->vtable->cancel(call, WEFT_CANCELLED, "too late");
    assert_true(seam_rx_is_text(&seam, &result.response, "done"));
    call->vtable->result(call, &result);
    assert_seam_code(&result, WEFT_OK);
    seam_call_free(&seam, call, &result);
    seam_stop(&seam);
}

static void *cancel_many_times(void *arg)
{
    struct held *held = arg;
    for (int i = 0; i < 100; i++)
        held->call->vtable->cancel(held->call, WEFT_CANCELLED, "by many");
    return NULL;
}

static void many_threads_may_cancel_the_same_call(void **state)
{
    (void)state;
    if (seam_kind_under_test == SEAM_STEPPED) /* has one thread */
        skip();
    struct seam seam;
    seam_init(&seam);
    seam.on_begin = seam_hold;
    seam_start(&seam);
    for (int round = 0; round < 20; round++) {
        struct held held;
        pthread_t threads[4];
        hold(&seam, &held, INT64_MAX);
        for (int i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, cancel_many_times, &held), 0);
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        expect(&seam, &held, WEFT_CANCELLED, "by many");
        seam_await(&seam, &seam.cancelled, round + 1);
        assert_int_equal(seam_finish(seam.held, WEFT_OK, NULL, NULL), 0);
        seam_await(&seam, &seam.ended, round + 1);
    }
    seam_stop(&seam);
}

static void cancel_may_race_with_the_end(void **state)
{
    (void)state;
    if (seam_kind_under_test == SEAM_STEPPED)
        skip();
    struct seam seam;
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam_start(&seam);
    for (int round = 0; round < 200; round++) {
        seam_op end;
        weft__result result;
        struct held held = {.call = seam_call_new(&seam)};
        weft__tx message = seam_text(&seam, "race");
        const weft__call_args args = {
            .method = &seam_unary, .deadline_ns = INT64_MAX, .message = &message, .half_close = true};
        pthread_t thread;
        seam_op_init(&seam, &end);
        assert_int_equal(pthread_create(&thread, NULL, cancel_many_times, &held), 0);
        assert_int_equal(SEAM_START(held.call->vtable->unary(held.call, &args, &end.op)), 0);
        assert_int_equal(seam_op_wait(&end), 0);
        held.call->vtable->result(held.call, &result);
        assert_true(result.code == WEFT_OK || result.code == WEFT_CANCELLED);
        assert_int_equal(result.from_peer, result.code == WEFT_OK);
        pthread_join(thread, NULL);
        seam_call_free(&seam, held.call, &result);
    }
    seam_stop(&seam);
}

static void a_watched_call_that_is_answered_is_not_told(void **state)
{
    (void)state;
    struct seam seam;
    struct held held;
    weft__tx response;
    seam_init(&seam);
    seam.on_begin = seam_hold;
    seam_start(&seam);
    hold(&seam, &held, INT64_MAX);
    response = seam_text(&seam, "at last");
    assert_int_equal(seam_finish(seam.held, WEFT_OK, NULL, &response), 0);
    assert_int_equal(seam_op_wait(&held.end), 0);
    held.call->vtable->result(held.call, &held.result);
    assert_seam_code(&held.result, WEFT_OK);
    assert_true(seam_rx_is_text(&seam, &held.result.response, "at last"));
    seam_call_free(&seam, held.call, &held.result);
    seam_await(&seam, &seam.ended, 1);
    assert_int_equal(seam.cancelled, 0);
    seam_stop(&seam);
}

static void the_server_may_drop_a_call(void **state)
{
    (void)state;
    struct seam seam;
    struct held held;
    seam_init(&seam);
    seam.on_begin = seam_hold;
    seam_start(&seam);
    hold(&seam, &held, INT64_MAX);
    seam.held->transport->vtable->cancel(seam.held->transport);
    assert_int_equal(seam_op_wait(&held.end), 0);
    held.call->vtable->result(held.call, &held.result);
    assert_int_not_equal(held.result.code, WEFT_OK);
    assert_null(held.result.response.impl);
    seam_call_free(&seam, held.call, &held.result);
    seam_await(&seam, &seam.ended, 1);
    assert_int_equal(seam.cancelled, 0);
    seam_stop(&seam);
}

static void drop(struct seam *seam, seam_call *call)
{
    seam->engine->vtable->rx_release(&call->message);
    call->transport->vtable->cancel(call->transport);
}

static void the_server_may_drop_a_call_at_once(void **state)
{
    (void)state;
    struct seam seam;
    weft__result result;
    seam_init(&seam);
    seam.on_begin = drop;
    seam_start(&seam);
    weft__ccall *call = seam_unary_text(&seam, &seam_unary, "?", &result);
    assert_int_not_equal(result.code, WEFT_OK);
    seam_call_free(&seam, call, &result);
    seam_await(&seam, &seam.ended, 1);
    seam_stop(&seam);
}

static void a_lost_connection_ends_its_calls_and_the_next_one_connects(void **state)
{
    (void)state;
    struct seam seam;
    struct held held;
    seam_init(&seam);
    seam.on_begin = seam_hold;
    seam_start(&seam);
    hold(&seam, &held, INT64_MAX);
    seam_break_connections(&seam);
    expect(&seam, &held, WEFT_UNAVAILABLE, NULL);
    assert_int_equal(held.result.seen, WEFT__SEEN_MAYBE);
    expect_told(&seam, 1);
    seam.on_begin = seam_echo;
    seam_recover(&seam);
    seam_stop(&seam);
}

static void nobody_there_is_unavailable_and_surely_not_seen(void **state)
{
    (void)state;
    struct seam seam;
    weft__result result;
    char peer[64];
    seam_init(&seam);
    seam_bind(&seam);
    seam_start_channel(&seam);
    weft__ccall *call = seam_unary_text(&seam, &seam_unary, "?", &result);
    assert_seam_code(&result, WEFT_UNAVAILABLE);
    assert_false(result.from_peer);
    assert_int_equal(result.seen, WEFT__SEEN_NO);
    assert_int_equal(call->vtable->peer(call, peer, sizeof peer), 0);
    assert_string_equal(peer, "");
    seam_call_free(&seam, call, &result);
    seam_stop(&seam);
}

static void a_call_that_waits_gets_through_once_somebody_is_there(void **state)
{
    (void)state;
    struct seam seam;
    weft__result result;
    seam_op end;
    seam_init(&seam);
    seam.on_begin = seam_echo;
    seam_bind(&seam);
    seam_start_channel(&seam);
    weft__ccall *failing = seam_unary_text(&seam, &seam_unary, "?", &result);
    assert_seam_code(&result, WEFT_UNAVAILABLE);
    seam_call_free(&seam, failing, &result);
    weft__ccall *call = seam_call_new(&seam);
    weft__tx message = seam_text(&seam, "patient");
    const weft__call_args args = {.method = &seam_unary,
                                  .deadline_ns = INT64_MAX,
                                  .message = &message,
                                  .half_close = true,
                                  .wait_for_ready = true};
    seam_op_init(&seam, &end);
    assert_int_equal(SEAM_START(call->vtable->unary(call, &args, &end.op)), 0);
    assert_int_equal(end.completed, 0);
    seam_start_server(&seam);
    seam_pass_ms(&seam, 2000); /* past the backoff */
    assert_int_equal(seam_op_wait(&end), 0);
    call->vtable->result(call, &result);
    assert_seam_code(&result, WEFT_OK);
    assert_true(seam_rx_is_text(&seam, &result.response, "patient"));
    seam_call_free(&seam, call, &result);
    seam_stop(&seam);
}

static void a_call_that_waits_in_vain_ends_at_its_deadline(void **state)
{
    (void)state;
    struct seam seam;
    weft__result result;
    seam_op end;
    seam_init(&seam);
    seam_bind(&seam);
    seam_start_channel(&seam);
    weft__ccall *call = seam_call_new(&seam);
    weft__tx message = seam_text(&seam, "patient");
    const weft__call_args args = {.method = &seam_unary,
                                  .deadline_ns = seam_in_ms(&seam, 200),
                                  .message = &message,
                                  .half_close = true,
                                  .wait_for_ready = true};
    seam_op_init(&seam, &end);
    assert_int_equal(SEAM_START(call->vtable->unary(call, &args, &end.op)), 0);
    seam_pass_ms(&seam, 201);
    assert_int_equal(seam_op_wait(&end), 0);
    call->vtable->result(call, &result);
    assert_seam_code(&result, WEFT_DEADLINE_EXCEEDED);
    assert_false(result.from_peer);
    assert_int_not_equal(result.seen, WEFT__SEEN_YES);
    seam_call_free(&seam, call, &result);
    seam_stop(&seam);
}

struct alarm {
    weft__alarm base;
    struct seam *seam;
    int *count;
    int64_t came_ns;
};

static void on_alarm(weft__alarm *base)
{
    struct alarm *alarm = WEFT__CONTAINER_OF(base, struct alarm, base);
    alarm->came_ns = seam_in_ms(alarm->seam, 0);
    seam_count(alarm->seam, alarm->count);
}

static void an_alarm_comes_at_its_time_unless_it_is_cancelled(void **state)
{
    struct seam seam;
    int came = 0;
    int never = 0;
    (void)state;
    seam_init(&seam);
    struct alarm first = {.base = {.run = on_alarm}, .seam = &seam, .count = &came};
    struct alarm second = {.base = {.run = on_alarm, .background = true}, .seam = &seam, .count = &came};
    struct alarm third = {.base = {.run = on_alarm}, .seam = &seam, .count = &never};
    weft_engine *engine = seam.engine;
    int64_t begin_ns = seam_in_ms(&seam, 0);
    assert_int_equal(engine->vtable->alarm_set(engine, &second.base, seam_in_ms(&seam, 40)), 0);
    assert_int_equal(engine->vtable->alarm_set(engine, &first.base, seam_in_ms(&seam, 20)), 0);
    assert_int_equal(engine->vtable->alarm_set(engine, &third.base, seam_in_ms(&seam, 30)), 0);
    assert_true(engine->vtable->alarm_cancel(engine, &third.base));
    seam_pass_ms(&seam, 41);
    seam_await(&seam, &came, 2);
    assert_int_equal(never, 0);
    assert_true(first.came_ns >= begin_ns + 20000000);
    assert_true(second.came_ns >= begin_ns + 40000000);
    assert_false(engine->vtable->alarm_cancel(engine, &first.base));
    seam_stop(&seam);
}

static void a_watch_tells_what_the_connection_does(void **state)
{
    struct seam seam;
    seam_op op;
    (void)state;
    seam_init(&seam);
    seam_start(&seam);
    seam_watch_until(&seam, seam.channel, WEFT__LINK_READY);
    seam_op_init(&seam, &op);
    assert_int_equal(SEAM_START(seam.channel->vtable->watch(seam.channel, WEFT__LINK_READY, &op.op)), 0);
    seam_break_connections(&seam);
    if (seam.kind == SEAM_CORE) { /* the memory engine has another one at once */
        assert_int_not_equal(seam_op_wait(&op), WEFT__LINK_READY);
        seam_watch_until(&seam, seam.channel, WEFT__LINK_READY);
        seam_op_init(&seam, &op);
        assert_int_equal(SEAM_START(seam.channel->vtable->watch(seam.channel, WEFT__LINK_READY, &op.op)), 0);
    }
    seam_starting(NULL);
    seam.channel->vtable->close(seam.channel);
    assert_int_equal(seam_started(0), 0);
    assert_int_equal(seam_op_wait(&op), -ESHUTDOWN);
    seam_op_init(&seam, &op);
    assert_int_equal(SEAM_START(seam.channel->vtable->watch(seam.channel, -1, &op.op)), -ESHUTDOWN);
    seam_stop(&seam);
}

const struct CMUnitTest seam_cancel_cases[] = {
    cmocka_unit_test(a_deadline_ends_the_call_on_both_sides),
    cmocka_unit_test(a_deadline_that_has_passed_fails_the_call),
    cmocka_unit_test(cancel_ends_the_call_with_its_own_words),
    cmocka_unit_test(each_cancel_has_its_own_words_when_calls_are_used_again),
    cmocka_unit_test(cancel_before_the_start_is_remembered),
    cmocka_unit_test(cancel_after_the_end_changes_nothing),
    cmocka_unit_test(many_threads_may_cancel_the_same_call),
    cmocka_unit_test(cancel_may_race_with_the_end),
    cmocka_unit_test(a_watched_call_that_is_answered_is_not_told),
    cmocka_unit_test(the_server_may_drop_a_call),
    cmocka_unit_test(the_server_may_drop_a_call_at_once),
    cmocka_unit_test(a_lost_connection_ends_its_calls_and_the_next_one_connects),
    cmocka_unit_test(nobody_there_is_unavailable_and_surely_not_seen),
    cmocka_unit_test(a_call_that_waits_gets_through_once_somebody_is_there),
    cmocka_unit_test(a_call_that_waits_in_vain_ends_at_its_deadline),
    cmocka_unit_test(a_watch_tells_what_the_connection_does),
    cmocka_unit_test(an_alarm_comes_at_its_time_unless_it_is_cancelled),
};
const size_t seam_cancel_case_count = sizeof seam_cancel_cases / sizeof *seam_cancel_cases;
