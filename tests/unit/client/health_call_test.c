/* client/health_call.c over a transport of the test's, whose calls end when the test says: what a real one does too
 * fast to be seen. The time is the memory engine's. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <weft/testing.h>

#include "client/health_check.h"

static const int64_t ns_per_ms = 1000000;

/* ---- a transport with one call at a time ------------------------------------------------------------------------- */

struct rig {
    weft_engine *engine;
    weft__tchannel transport;
    weft__ccall call;
    weft__health_checks *checks;
    weft__checker *checker;
    int asked;
    int cancels;
    int freed;
    int changes;
    int gone;
    int call_new_rc;
    int start_rc;
    int recv_rc;
    weft_code code; /* that the call ends with */
    weft__op *end;  /* outstanding; or NULL */
    weft__op *recv;
    char path[64];
    int64_t deadline_ns;
};

static int call_new(weft__tchannel *transport, weft__ccall **out)
{
    struct rig *rig = WEFT__CONTAINER_OF(transport, struct rig, transport);
    if (rig->call_new_rc == 0)
        *out = &rig->call;
    return rig->call_new_rc;
}

static struct rig *rig_of(weft__ccall *call)
{
    return WEFT__CONTAINER_OF(call, struct rig, call);
}

static int begin(weft__ccall *call, const weft__call_args *args, weft__op *op)
{
    struct rig *rig = rig_of(call);
    if (rig->start_rc < 0)
        return rig->start_rc;
    assert_null(rig->end);
    rig->asked++;
    rig->end = op;
    rig->deadline_ns = args->deadline_ns;
    (void)snprintf(rig->path, sizeof rig->path, "%s", args->method->path);
    rig->engine->vtable->tx_unref(args->message);
    return 0;
}

static int receive(weft__ccall *call, weft__op *op)
{
    struct rig *rig = rig_of(call);
    if (rig->recv_rc == 0)
        rig->recv = op;
    return rig->recv_rc;
}

static void take(weft__ccall *call, weft__rx *out)
{
    (void)call;
    *out = (weft__rx){.impl = NULL};
}

static void cancel(weft__ccall *call, weft_code code, const char *message)
{
    (void)code;
    assert_non_null(message);
    assert_non_null(rig_of(call)->end); /* not one that has ended */
    rig_of(call)->cancels++;
}

static void result(weft__ccall *call, weft__result *out)
{
    *out = (weft__result){.code = rig_of(call)->code, .message = weft_sv_from("so it is")};
}

static void free_call(weft__ccall *call)
{
    rig_of(call)->freed++;
}

static const weft__tchannel_vtable transport_vtable = {.call_new = call_new};
static const weft__ccall_vtable call_vtable = {.unary = begin,
                                               .start = begin,
                                               .recv = receive,
                                               .take = take,
                                               .cancel = cancel,
                                               .result = result,
                                               .free = free_call};

/* ---- the rig ----------------------------------------------------------------------------------------------------- */

static void on_changed(void *owner)
{
    ((struct rig *)owner)->changes++;
}

static void on_gone(void *owner)
{
    ((struct rig *)owner)->gone++;
}

static void set_up(struct rig *rig, weft_health_check_kind kind)
{
    const weft__channel_config config = {.min_backoff_ms = 1000, .max_backoff_ms = 4000};
    const weft_health_check_options options = {
        .struct_size = sizeof options, .kind = kind, .unhealthy_after = -1, .interval_ms = 10000, .timeout_ms = 2000};
    weft_health_check_options read;
    *rig = (struct rig){.transport = {&transport_vtable}, .call = {&call_vtable}};
    const weft__checked about = {"ipv4:10.0.0.1:1", &rig->transport, rig, on_changed, on_gone};
    assert_int_equal(weft_memory_engine_new(&rig->engine, NULL), 0);
    assert_int_equal(weft__health_check_options(&read, &options), 0);
    assert_int_equal(weft__health_checks_new(&rig->checks, rig->engine, &config, &read, NULL), 0);
    assert_int_equal(weft__checker_new(&rig->checker, rig->checks, &about), 0);
}

static void tear_down(struct rig *rig)
{
    assert_int_equal(rig->gone, 1);
    weft__checker_free(rig->checker);
    weft__health_checks_free(rig->checks);
    assert_int_equal(weft_engine_free(rig->engine), 0);
}

static void pass_ms(struct rig *rig, int64_t ms)
{
    weft_test_advance(rig->engine, ms * ns_per_ms);
}

static void link_it(struct rig *rig, bool ready)
{
    weft__checker_link(rig->checker, ready);
    pass_ms(rig, 0);
}

/* What is outstanding completes, and the call with it. */
static void end_call(struct rig *rig, weft_code code)
{
    weft__op *recv = rig->recv;
    weft__op *end = rig->end;
    assert_non_null(end);
    rig->recv = NULL;
    rig->code = code;
    if (recv != NULL)
        recv->done(recv, -ECANCELED);
    rig->end = NULL;
    if (end != NULL)
        end->done(end, 0);
}

static void leave(struct rig *rig)
{
    weft__checker_close(rig->checker);
    weft__checker_leave(rig->checker);
}

/* ---- the cases --------------------------------------------------------------------------------------------------- */

static void what_was_begun_before_another_connection_counts_for_nothing(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, WEFT_HEALTH_CHECK_GRPC);
    link_it(&rig, true);
    assert_string_equal(rig.path, "/grpc.health.v1.Health/Check");
    assert_int_equal(rig.deadline_ns - weft_engine_now_ns(rig.engine), 2000 * ns_per_ms);
    link_it(&rig, false);
    assert_int_equal(rig.cancels, 1);
    link_it(&rig, true);
    assert_int_equal(rig.asked, 1); /* the old one has not ended */
    end_call(&rig, WEFT_CANCELLED);
    assert_int_equal(weft__checker_verdict(rig.checker), WEFT__VERDICT_WELL);
    assert_int_equal(rig.changes, 0);
    pass_ms(&rig, 0);
    assert_int_equal(rig.asked, 2); /* at once */
    end_call(&rig, WEFT_UNAVAILABLE);
    assert_int_equal(weft__checker_verdict(rig.checker), WEFT__VERDICT_ILL);
    assert_int_equal(rig.changes, 1);
    leave(&rig);
    tear_down(&rig);
}

static void a_check_that_ends_while_there_is_no_connection_is_the_last_one(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, WEFT_HEALTH_CHECK_GRPC);
    link_it(&rig, true);
    link_it(&rig, false);
    end_call(&rig, WEFT_CANCELLED);
    pass_ms(&rig, 100000);
    assert_int_equal(rig.asked, 1);
    assert_int_equal(rig.changes, 0);
    leave(&rig);
    tear_down(&rig);
}

static void a_checker_is_gone_only_when_its_call_has_ended(void **state)
{
    struct rig rig;
    (void)state;
    for (int kind = WEFT_HEALTH_CHECK_GRPC; kind <= WEFT_HEALTH_CHECK_WATCH; kind++) {
        set_up(&rig, (weft_health_check_kind)kind);
        link_it(&rig, true);
        leave(&rig);
        assert_int_equal(rig.cancels, 1);
        assert_int_equal(rig.gone, 0);
        end_call(&rig, WEFT_UNAVAILABLE);
        assert_int_equal(rig.freed, 1);
        assert_int_equal(rig.changes, 0);
        pass_ms(&rig, 100000);
        assert_int_equal(rig.asked, 1);
        tear_down(&rig);
    }
}

static void a_checker_is_gone_though_its_alarm_was_set(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, WEFT_HEALTH_CHECK_GRPC);
    weft__checker_link(rig.checker, true); /* the alarm has not come yet */
    leave(&rig);
    assert_int_equal(rig.gone, 1);
    pass_ms(&rig, 100000);
    assert_int_equal(rig.asked, 0);
    tear_down(&rig);
}

static void a_watch_that_cannot_receive_is_cancelled_and_tried_again(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, WEFT_HEALTH_CHECK_WATCH);
    rig.recv_rc = -ENOMEM;
    link_it(&rig, true);
    assert_string_equal(rig.path, "/grpc.health.v1.Health/Watch");
    assert_int_equal(rig.deadline_ns, INT64_MAX);
    assert_int_equal(rig.cancels, 1);
    rig.recv_rc = 0;
    end_call(&rig, WEFT_INTERNAL);
    assert_int_equal(weft__checker_verdict(rig.checker), WEFT__VERDICT_ILL);
    pass_ms(&rig, 1200);
    assert_int_equal(rig.asked, 2);
    assert_int_equal(rig.cancels, 1);
    leave(&rig);
    end_call(&rig, WEFT_CANCELLED);
    tear_down(&rig);
}

static void a_call_that_cannot_begin_says_nothing_of_the_backend(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, WEFT_HEALTH_CHECK_GRPC);
    rig.call_new_rc = -ENOMEM;
    link_it(&rig, true);
    rig.call_new_rc = 0;
    rig.start_rc = -ENOMEM;
    pass_ms(&rig, 10000);
    assert_int_equal(rig.freed, 1);
    assert_int_equal(rig.asked, 0);
    assert_int_equal(rig.changes, 0);
    rig.start_rc = 0;
    pass_ms(&rig, 10000);
    assert_int_equal(rig.asked, 1);
    leave(&rig);
    end_call(&rig, WEFT_CANCELLED);
    tear_down(&rig);
}

static void a_call_that_ends_as_unimplemented_here_is_a_failure(void **state)
{
    struct rig rig;
    (void)state;
    set_up(&rig, WEFT_HEALTH_CHECK_GRPC);
    link_it(&rig, true);
    end_call(&rig, WEFT_UNIMPLEMENTED); /* not the peer's word: two answers, or none */
    assert_int_equal(weft__checker_verdict(rig.checker), WEFT__VERDICT_ILL);
    pass_ms(&rig, 10000);
    assert_int_equal(rig.asked, 2);
    leave(&rig);
    end_call(&rig, WEFT_CANCELLED);
    tear_down(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_begun_before_another_connection_counts_for_nothing),
        cmocka_unit_test(a_check_that_ends_while_there_is_no_connection_is_the_last_one),
        cmocka_unit_test(a_checker_is_gone_only_when_its_call_has_ended),
        cmocka_unit_test(a_checker_is_gone_though_its_alarm_was_set),
        cmocka_unit_test(a_watch_that_cannot_receive_is_cancelled_and_tried_again),
        cmocka_unit_test(a_call_that_cannot_begin_says_nothing_of_the_backend),
        cmocka_unit_test(a_call_that_ends_as_unimplemented_here_is_a_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
