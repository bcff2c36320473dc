/* Planted faults: at every point, of every kind. */
#include <errno.h>

#include "rig.h"

static void step(struct rig *rig)
{
    (void)weft_test_step(rig->engine, SIZE_MAX);
}

static void plant(struct rig *rig, weft_test_point point, weft_test_fault_kind kind)
{
    weft_test_fault fault = WEFT_TEST_FAULT_INIT;
    fault.point = point;
    fault.kind = kind;
    assert_int_equal(weft_test_inject(rig->engine, &fault), 0);
}

/* A bidirectional stream that has begun. */
static weft__ccall *open_stream(struct rig *rig, rig_op *end)
{
    weft__ccall *call = rig_call_new(rig);
    const weft__call_args args = {.method = &rig_bidi, .deadline_ns = INT64_MAX};
    rig_op_init(end);
    assert_int_equal(call->vtable->start(call, &args, &end->op), 0);
    step(rig);
    assert_int_equal(rig->call->transport->vtable->watch(rig->call->transport), 0);
    return call;
}

static void assert_ended(struct rig *rig, weft__ccall *call, const rig_op *end, weft_code code, weft__seen seen)
{
    weft__result result;
    step(rig);
    assert_int_equal(end->completed, 1);
    call->vtable->result(call, &result);
    assert_int_equal(result.code, code);
    assert_int_equal(result.seen, seen);
    assert_false(result.from_peer);
    rig_free(call);
}

/* The connection is gone; the server learned it, and the next call makes another one. */
static void assert_lost_and_found(struct rig *rig)
{
    weft__result result;
    assert_int_equal(rig->server->vtable->connections(rig->server), 0);
    if (rig->begun > rig->ended) {
        assert_int_equal(rig->cancelled, 1);
        rig_finish(rig->call, WEFT_OK, NULL);
    }
    rig->handler = rig_echo;
    weft__ccall *call = rig_unary_run(rig, "again", &result);
    assert_rig_received(rig, &result.response, "again");
    rig_free(call);
}

static void a_refused_connection_fails_the_call_before_the_server_sees_it(void **state)
{
    (void)state;
    static const weft_test_fault_kind kinds[] = {WEFT_TEST_REFUSE, WEFT_TEST_BREAK};
    for (int i = 0; i < 2; i++) {
        struct rig rig;
        rig_op end;
        rig_start(&rig, NULL, NULL);
        plant(&rig, WEFT_TEST_CONNECT, kinds[i]);
        weft__ccall *call = rig_unary_start(&rig, "?", INT64_MAX, &end);
        assert_ended(&rig, call, &end, WEFT_UNAVAILABLE, WEFT__SEEN_NO);
        assert_lost_and_found(&rig);
        rig_stop(&rig);
    }
}

static void a_hanging_connection_fails_the_call_after_the_timeout(void **state)
{
    (void)state;
    struct rig rig;
    rig_op end, patient_end;
    rig_start(&rig, NULL, NULL);
    rig.handler = rig_echo;
    plant(&rig, WEFT_TEST_CONNECT, WEFT_TEST_SWALLOW);
    weft__ccall *call = rig_unary_start(&rig, "?", INT64_MAX, &end);
    weft__ccall *patient = rig_call_new(&rig);
    weft__tx message = rig_message(&rig, "patient");
    const weft__call_args args = {
        .method = &rig_unary, .deadline_ns = INT64_MAX, .message = &message, .wait_for_ready = true};
    rig_op_init(&patient_end);
    assert_int_equal(patient->vtable->unary(patient, &args, &patient_end.op), 0);
    weft_test_advance(rig.engine, INT64_C(20000) * RIG_MS - 1);
    assert_int_equal(end.completed, 0);
    weft_test_advance(rig.engine, 1);
    assert_ended(&rig, call, &end, WEFT_UNAVAILABLE, WEFT__SEEN_NO);
    assert_int_equal(patient_end.completed, 0);
    weft_test_advance(rig.engine, INT64_C(1200) * RIG_MS); /* the backoff */
    assert_int_equal(patient_end.completed, 1);
    weft__result result;
    patient->vtable->result(patient, &result);
    assert_rig_received(&rig, &result.response, "patient");
    rig_free(patient);
    rig_stop(&rig);
}

static void a_refused_start_leaves_the_call_and_its_message_to_the_caller(void **state)
{
    (void)state;
    struct rig rig;
    rig_op end;
    rig_start(&rig, NULL, NULL);
    rig.handler = rig_echo;
    plant(&rig, WEFT_TEST_START, WEFT_TEST_REFUSE);
    weft__ccall *call = rig_call_new(&rig);
    weft__tx message = rig_message(&rig, "?");
    const weft__call_args args = {.method = &rig_unary, .deadline_ns = INT64_MAX, .message = &message};
    rig_op_init(&end);
    assert_int_equal(call->vtable->unary(call, &args, &end.op), -ENOMEM);
    step(&rig);
    assert_int_equal(end.completed, 0);
    assert_int_equal(call->vtable->unary(call, &args, &end.op), 0);
    step(&rig);
    assert_int_equal(end.completed, 1);
    weft__result result;
    call->vtable->result(call, &result);
    assert_rig_received(&rig, &result.response, "?");
    rig_free(call);
    rig_stop(&rig);
}

static void a_connection_lost_at_the_start_leaves_open_what_the_server_saw(void **state)
{
    (void)state;
    struct rig rig;
    rig_op other_end, end;
    rig_start(&rig, NULL, NULL);
    weft__ccall *other = open_stream(&rig, &other_end);
    plant(&rig, WEFT_TEST_START, WEFT_TEST_BREAK);
    weft__ccall *call = rig_unary_start(&rig, "?", INT64_MAX, &end);
    assert_ended(&rig, call, &end, WEFT_UNAVAILABLE, WEFT__SEEN_MAYBE);
    assert_ended(&rig, other, &other_end, WEFT_UNAVAILABLE, WEFT__SEEN_MAYBE);
    assert_lost_and_found(&rig);
    rig_stop(&rig);
}

static void a_swallowed_start_ends_with_the_deadline(void **state)
{
    (void)state;
    struct rig rig;
    rig_op end;
    rig_start(&rig, NULL, NULL);
    plant(&rig, WEFT_TEST_START, WEFT_TEST_SWALLOW);
    weft__ccall *call = rig_unary_start(&rig, "?", weft_engine_now_ns(rig.engine) + 5, &end);
    weft_test_advance(rig.engine, 4);
    assert_int_equal(end.completed, 0);
    weft_test_advance(rig.engine, 1);
    assert_ended(&rig, call, &end, WEFT_DEADLINE_EXCEEDED, WEFT__SEEN_MAYBE);
    assert_int_equal(rig.begun, 0);
    rig_stop(&rig);
}

/* The client's operation `send` or `recv`, and the server's. */
static int client_op(struct rig *rig, weft__ccall *call, weft_test_point point, rig_op *op)
{
    rig_op_init(op);
    if (point == WEFT_TEST_RECV)
        return call->vtable->recv(call, &op->op);
    weft__tx message = rig_message(rig, "?");
    int rc = call->vtable->send(call, &message, false, &op->op);
    if (rc < 0)
        rig->engine->vtable->tx_unref(&message);
    return rc;
}

static int server_op(struct rig *rig, weft_test_point point, rig_op *op)
{
    weft__scall *call = rig->call->transport;
    rig_op_init(op);
    if (point == WEFT_TEST_RECV)
        return call->vtable->recv(call, &op->op);
    weft__tx message = rig_message(rig, "?");
    const weft__send send = {.message = &message};
    int rc = call->vtable->send(call, &send, &op->op);
    if (rc < 0)
        rig->engine->vtable->tx_unref(&message);
    return rc;
}

static int run_op(struct rig *rig, bool on_server, weft__ccall *call, weft_test_point point, rig_op *op)
{
    return on_server ? server_op(rig, point, op) : client_op(rig, call, point, op);
}

/* Runs `check` for a send and a receive, by the client and by the server, on a stream that has begun. */
static void for_each_operation(weft_test_fault_kind kind, void (*check)(struct rig *rig, weft__ccall *call, rig_op *end,
                                                                        bool on_server, weft_test_point point))
{
    static const weft_test_point points[] = {WEFT_TEST_SEND, WEFT_TEST_RECV};
    for (int i = 0; i < 4; i++) {
        struct rig rig;
        rig_op end;
        rig_start(&rig, NULL, NULL);
        weft__ccall *call = open_stream(&rig, &end);
        plant(&rig, points[i / 2], kind);
        check(&rig, call, &end, i % 2 == 1, points[i / 2]);
        rig_stop(&rig);
    }
}

static void check_refused(struct rig *rig, weft__ccall *call, rig_op *end, bool on_server, weft_test_point point)
{
    rig_op op;
    assert_int_equal(run_op(rig, on_server, call, point, &op), -ENOMEM);
    step(rig);
    assert_int_equal(op.completed, 0);
    assert_int_equal(run_op(rig, on_server, call, point, &op), 0);
    step(rig);
    assert_int_equal(op.completed, point == WEFT_TEST_SEND);
    call->vtable->cancel(call, WEFT_CANCELLED, "");
    assert_ended(rig, call, end, WEFT_CANCELLED, WEFT__SEEN_MAYBE);
    assert_int_equal(op.completed, 1);
    rig_finish(rig->call, WEFT_OK, NULL);
}

static void a_refused_operation_can_be_tried_again(void **state)
{
    (void)state;
    for_each_operation(WEFT_TEST_REFUSE, check_refused);
}

static void check_broken(struct rig *rig, weft__ccall *call, rig_op *end, bool on_server, weft_test_point point)
{
    rig_op op;
    assert_int_equal(run_op(rig, on_server, call, point, &op), 0);
    assert_int_equal(op.completed, 0);
    assert_ended(rig, call, end, WEFT_UNAVAILABLE, WEFT__SEEN_MAYBE);
    assert_int_equal(op.completed, 1);
    assert_int_equal(op.result, -ECANCELED);
    assert_lost_and_found(rig);
}

static void a_lost_connection_is_seen_by_both_sides(void **state)
{
    (void)state;
    for_each_operation(WEFT_TEST_BREAK, check_broken);
}

static void check_swallowed(struct rig *rig, weft__ccall *call, rig_op *end, bool on_server, weft_test_point point)
{
    rig_op op, other;
    assert_int_equal(run_op(rig, on_server, call, point, &op), 0);
    step(rig);
    assert_int_equal(run_op(rig, !on_server, call, point == WEFT_TEST_SEND ? WEFT_TEST_RECV : WEFT_TEST_SEND, &other),
                     0);
    step(rig);
    assert_int_equal(op.completed, 0);
    assert_int_equal(other.completed, point == WEFT_TEST_RECV); /* it is sent, and nobody receives it; or nothing is */
    call->vtable->cancel(call, WEFT_CANCELLED, "");
    assert_ended(rig, call, end, WEFT_CANCELLED, WEFT__SEEN_MAYBE);
    assert_int_equal(op.completed, 1);
    assert_int_equal(op.result, -ECANCELED);
    assert_int_equal(other.completed, 1);
    rig_finish(rig->call, WEFT_OK, NULL);
}

static void a_swallowed_operation_completes_with_the_end_of_the_call(void **state)
{
    (void)state;
    for_each_operation(WEFT_TEST_SWALLOW, check_swallowed);
}

static void a_refused_finish_can_be_tried_again(void **state)
{
    (void)state;
    struct rig rig;
    rig_op end;
    weft__result result;
    rig_start(&rig, NULL, NULL);
    weft__ccall *call = rig_unary_start(&rig, "?", INT64_MAX, &end);
    step(&rig);
    plant(&rig, WEFT_TEST_FINISH, WEFT_TEST_REFUSE);
    weft__tx message = rig_message(&rig, "!");
    const weft__finish answer = {.message = &message, .code = WEFT_OK};
    assert_int_equal(rig.call->transport->vtable->finish(rig.call->transport, &answer), -ENOMEM);
    step(&rig);
    assert_int_equal(rig.ended, 0);
    assert_int_equal(rig.call->transport->vtable->finish(rig.call->transport, &answer), 0);
    step(&rig);
    assert_int_equal(end.completed, 1);
    call->vtable->result(call, &result);
    assert_rig_received(&rig, &result.response, "!");
    rig_free(call);
    rig_stop(&rig);
}

static void a_connection_lost_at_the_finish_loses_the_answer(void **state)
{
    (void)state;
    struct rig rig;
    rig_op end;
    rig_start(&rig, NULL, NULL);
    weft__ccall *call = rig_unary_start(&rig, "?", INT64_MAX, &end);
    step(&rig);
    plant(&rig, WEFT_TEST_FINISH, WEFT_TEST_BREAK);
    rig_finish(rig.call, WEFT_OK, "!");
    assert_ended(&rig, call, &end, WEFT_UNAVAILABLE, WEFT__SEEN_MAYBE);
    assert_int_equal(rig.ended, 1);
    assert_lost_and_found(&rig);
    rig_stop(&rig);
}

static void a_swallowed_finish_ends_with_the_clients_call(void **state)
{
    (void)state;
    struct rig rig;
    rig_op end;
    rig_start(&rig, NULL, NULL);
    weft__ccall *call = rig_unary_start(&rig, "?", weft_engine_now_ns(rig.engine) + 5, &end);
    step(&rig);
    assert_int_equal(rig.call->transport->vtable->watch(rig.call->transport), 0);
    plant(&rig, WEFT_TEST_FINISH, WEFT_TEST_SWALLOW);
    rig_finish(rig.call, WEFT_OK, "!");
    step(&rig);
    assert_int_equal(rig.ended, 0);
    weft_test_advance(rig.engine, 5);
    assert_ended(&rig, call, &end, WEFT_DEADLINE_EXCEEDED, WEFT__SEEN_MAYBE);
    assert_int_equal(rig.ended, 1);
    assert_int_equal(rig.cancelled, 0);
    rig_stop(&rig);
}

static void a_fault_waits_its_turn_and_strikes_as_often_as_told(void **state)
{
    (void)state;
    struct rig rig;
    weft_test_fault fault = WEFT_TEST_FAULT_INIT;
    rig_start(&rig, NULL, NULL);
    rig.handler = rig_echo;
    fault.point = WEFT_TEST_START;
    fault.kind = WEFT_TEST_REFUSE;
    fault.after = 2;
    fault.times = 2;
    fault.error = -EIO;
    assert_int_equal(weft_test_inject(rig.engine, &fault), 0);
    fault.after = 5;
    fault.times = -1;
    fault.error = -EPERM;
    assert_int_equal(weft_test_inject(rig.engine, &fault), 0);
    /* The second one counts only what the first lets pass. */
    static const int expected[] = {0, 0, -EIO, -EIO, 0, 0, 0, -EPERM, -EPERM, -EPERM};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        rig_op op;
        weft__ccall *call = rig_call_new(&rig);
        weft__tx message = rig_message(&rig, "?");
        const weft__call_args args = {.method = &rig_unary, .deadline_ns = INT64_MAX, .message = &message};
        rig_op_init(&op);
        assert_int_equal(call->vtable->unary(call, &args, &op.op), expected[i]);
        if (expected[i] < 0)
            rig.engine->vtable->tx_unref(&message);
        step(&rig);
        rig_free(call);
    }
    rig_stop(&rig);
}

static void a_fault_out_of_range_is_refused(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, NULL, NULL);
    const weft_test_fault good = {
        .struct_size = sizeof good, .point = WEFT_TEST_SEND, .kind = WEFT_TEST_BREAK, .after = 1000};
    weft_test_fault bad = good;
    assert_int_equal(weft_test_inject(rig.engine, NULL), -EINVAL);
    bad.struct_size = 0;
    assert_int_equal(weft_test_inject(rig.engine, &bad), -EINVAL);
    bad = good;
    memset(&bad.point, 0, sizeof bad.point);
    assert_int_equal(weft_test_inject(rig.engine, &bad), -EINVAL);
    bad = good;
    memset(&bad.kind, 0, sizeof bad.kind);
    assert_int_equal(weft_test_inject(rig.engine, &bad), -EINVAL);
    bad = good;
    bad.after = -1;
    assert_int_equal(weft_test_inject(rig.engine, &bad), -EINVAL);
    bad = good;
    bad.times = -2;
    assert_int_equal(weft_test_inject(rig.engine, &bad), -EINVAL);
    bad = good;
    bad.error = 1;
    assert_int_equal(weft_test_inject(rig.engine, &bad), -EINVAL);
    assert_int_equal(weft_test_inject(rig.engine, &good), 0); /* freed with the engine */
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refused_connection_fails_the_call_before_the_server_sees_it),
        cmocka_unit_test(a_hanging_connection_fails_the_call_after_the_timeout),
        cmocka_unit_test(a_refused_start_leaves_the_call_and_its_message_to_the_caller),
        cmocka_unit_test(a_connection_lost_at_the_start_leaves_open_what_the_server_saw),
        cmocka_unit_test(a_swallowed_start_ends_with_the_deadline),
        cmocka_unit_test(a_refused_operation_can_be_tried_again),
        cmocka_unit_test(a_lost_connection_is_seen_by_both_sides),
        cmocka_unit_test(a_swallowed_operation_completes_with_the_end_of_the_call),
        cmocka_unit_test(a_refused_finish_can_be_tried_again),
        cmocka_unit_test(a_connection_lost_at_the_finish_loses_the_answer),
        cmocka_unit_test(a_swallowed_finish_ends_with_the_clients_call),
        cmocka_unit_test(a_fault_waits_its_turn_and_strikes_as_often_as_told),
        cmocka_unit_test(a_fault_out_of_range_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
