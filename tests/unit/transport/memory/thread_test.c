/* The threaded memory engine: real workers, virtual time. */
#include <errno.h>
#include <pthread.h>

#include "base/thread.h"
#include "rig.h"

enum {
    THREADS = 4,
    CALLS = 200
};

static weft__pool *pool;

static void start_threaded(struct rig *rig)
{
    weft_memory_engine_options options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
    options.threaded = true;
    rig_start(rig, &options, NULL);
    const weft__pool_options pool_options = {.threads = 2, .hooks = rig->engine->pool_hooks};
    assert_int_equal(weft__pool_new(&pool, &pool_options), 0);
}

static void stop_threaded(struct rig *rig)
{
    weft_test_advance(rig->engine, 0);
    weft__pool_free(pool);
    rig_stop(rig);
}

static void submit(rig_call *call, void (*run)(weft__job *job))
{
    call->job = (weft__job){.run = run};
    assert_int_equal(weft__pool_submit(pool, &call->job), 0);
}

static void echo_job(weft__job *job)
{
    rig_call *call = WEFT__CONTAINER_OF(job, rig_call, job);
    rig_echo(call->rig, call);
}

static void echo_on_worker(struct rig *rig, rig_call *call)
{
    (void)rig;
    assert_true(weft__thread_is_loop());
    assert_int_equal(call->transport->vtable->watch(call->transport), 0);
    submit(call, echo_job);
}

/* A unary call that blocks its thread until the end or the deadline. */
static weft_code blocking_call(struct rig *rig, const char *text, int64_t deadline_ns)
{
    rig_op op;
    weft__event done;
    weft__result result;
    assert_int_equal(weft__event_init(&done), 0);
    weft__ccall *call = rig_call_new(rig);
    weft__tx message = rig_message(rig, text);
    const weft__call_args args = {.method = &rig_unary, .deadline_ns = deadline_ns, .message = &message};
    rig_op_init(&op);
    op.engine = rig->engine;
    op.event = &done;
    assert_int_equal(call->vtable->unary(call, &args, &op.op), 0);
    assert_int_equal(weft__engine_wait(rig->engine, &done, INT64_MAX), 0);
    weft__event_fini(&done);
    assert_int_equal(op.completed, 1);
    call->vtable->result(call, &result);
    if (result.response.impl != NULL)
        assert_rig_received(rig, &result.response, text);
    rig_free(call);
    return result.code;
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static void *call_often(void *arg)
{
    struct rig *rig = arg;
    int ok = 0;
    for (int i = 0; i < CALLS; i++)
        ok += blocking_call(rig, "hello", INT64_MAX) == WEFT_OK;
    return (void *)(intptr_t)ok;
}

static void run_callers(struct rig *rig)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_often, rig), 0);
    for (int i = 0; i < THREADS; i++) {
        void *ok;
        assert_int_equal(pthread_join(threads[i], &ok), 0);
        assert_int_equal((intptr_t)ok, CALLS);
    }
    weft_test_advance(rig->engine, 0);
    assert_int_equal(rig->begun, THREADS * CALLS);
    assert_int_equal(rig->ended, THREADS * CALLS);
}

static void many_threads_call_an_inline_handler(void **state)
{
    (void)state;
    struct rig rig;
    start_threaded(&rig);
    rig.handler = rig_echo;
    run_callers(&rig);
    stop_threaded(&rig);
}

static void many_threads_call_a_handler_on_a_worker(void **state)
{
    (void)state;
    struct rig rig;
    start_threaded(&rig);
    rig.handler = echo_on_worker;
    run_callers(&rig);
    stop_threaded(&rig);
}

static void cancels_may_race_with_the_answer(void **state)
{
    (void)state;
    struct rig rig;
    start_threaded(&rig);
    rig.handler = echo_on_worker;
    for (int i = 0; i < CALLS; i++) {
        rig_op op;
        weft__event done;
        weft__result result;
        weft__ccall *call = rig_call_new(&rig);
        weft__tx message = rig_message(&rig, "?");
        const weft__call_args args = {.method = &rig_unary, .deadline_ns = INT64_MAX, .message = &message};
        assert_int_equal(weft__event_init(&done), 0);
        rig_op_init(&op);
        op.engine = rig.engine;
        op.event = &done;
        assert_int_equal(call->vtable->unary(call, &args, &op.op), 0);
        call->vtable->cancel(call, WEFT_CANCELLED, "");
        assert_int_equal(weft__engine_wait(rig.engine, &done, INT64_MAX), 0);
        call->vtable->result(call, &result);
        assert_true(result.code == WEFT_OK || result.code == WEFT_CANCELLED);
        if (result.response.impl != NULL)
            rig.engine->vtable->rx_release(&result.response);
        weft__event_fini(&done);
        rig_free(call);
    }
    stop_threaded(&rig);
}

/* ---- streams ----------------------------------------------------------------------------------------------------- */

/* An operation whose thread waits for it. */
struct blocking_op {
    rig_op op;
    weft__event done;
};

static weft__op *block_on(struct rig *rig, struct blocking_op *op)
{
    rig_op_init(&op->op);
    assert_int_equal(weft__event_init(&op->done), 0);
    op->op.engine = rig->engine;
    op->op.event = &op->done;
    return &op->op.op;
}

static int wait_for(struct rig *rig, struct blocking_op *op)
{
    assert_int_equal(weft__engine_wait(rig->engine, &op->done, INT64_MAX), 0);
    weft__event_fini(&op->done);
    return op->op.result;
}

/* Sends back what it receives, until the client has no more. */
static void echo_stream_job(weft__job *job)
{
    rig_call *call = WEFT__CONTAINER_OF(job, rig_call, job);
    struct blocking_op op;
    for (;;) {
        weft__rx rx;
        assert_int_equal(call->transport->vtable->recv(call->transport, block_on(call->rig, &op)), 0);
        assert_int_equal(wait_for(call->rig, &op), 0);
        call->transport->vtable->take(call->transport, &rx);
        if (rx.impl == NULL)
            break;
        weft__tx message = rig_big_message(call->rig, rx.total);
        call->rig->engine->vtable->rx_gather(&rx, message.data);
        call->rig->engine->vtable->rx_release(&rx);
        const weft__send send = {.message = &message};
        assert_int_equal(call->transport->vtable->send(call->transport, &send, block_on(call->rig, &op)), 0);
        assert_int_equal(wait_for(call->rig, &op), 0);
    }
    rig_finish(call, WEFT_OK, NULL);
}

static void echo_stream_on_worker(struct rig *rig, rig_call *call)
{
    (void)rig;
    submit(call, echo_stream_job);
}

struct sending {
    struct rig *rig;
    weft__ccall *call;
};

static void *send_all(void *arg)
{
    struct sending *sending = arg;
    struct blocking_op op;
    for (int i = 0; i < CALLS; i++) {
        weft__tx message = rig_big_message(sending->rig, (size_t)i);
        assert_int_equal(sending->call->vtable->send(sending->call, &message, false, block_on(sending->rig, &op)), 0);
        assert_int_equal(wait_for(sending->rig, &op), 0);
    }
    assert_int_equal(sending->call->vtable->half_close(sending->call, block_on(sending->rig, &op)), 0);
    assert_int_equal(wait_for(sending->rig, &op), 0);
    return NULL;
}

static void both_directions_of_a_stream_run_at_the_same_time(void **state)
{
    (void)state;
    struct rig rig;
    struct blocking_op end, op;
    pthread_t sender;
    start_threaded(&rig);
    rig.handler = echo_stream_on_worker;
    weft__ccall *call = rig_call_new(&rig);
    const weft__call_args args = {.method = &rig_bidi, .deadline_ns = INT64_MAX};
    assert_int_equal(call->vtable->start(call, &args, block_on(&rig, &end)), 0);
    struct sending sending = {&rig, call};
    assert_int_equal(pthread_create(&sender, NULL, send_all, &sending), 0);
    for (size_t i = 0; i <= CALLS; i++) {
        weft__rx rx;
        int rc = call->vtable->recv(call, block_on(&rig, &op));
        if (rc == -ESHUTDOWN && i == CALLS) /* the end has been told already */
            break;
        assert_int_equal(rc, 0);
        assert_int_equal(wait_for(&rig, &op), 0);
        call->vtable->take(call, &rx);
        assert_true((rx.impl != NULL) == (i < CALLS));
        if (rx.impl != NULL) {
            assert_int_equal(rx.total, i);
            rig.engine->vtable->rx_release(&rx);
        }
    }
    assert_int_equal(pthread_join(sender, NULL), 0);
    assert_int_equal(wait_for(&rig, &end), 0);
    rig_free(call);
    stop_threaded(&rig);
}

/* ---- virtual time ------------------------------------------------------------------------------------------------ */

/* Makes two calls that never arrive, of 10 ms each, and then answers. */
static void wait_twice_job(weft__job *job)
{
    rig_call *call = WEFT__CONTAINER_OF(job, rig_call, job);
    for (int i = 0; i < 2; i++)
        assert_int_equal(blocking_call(call->rig, "void", weft_engine_now_ns(call->rig->engine) + 10 * RIG_MS),
                         WEFT_DEADLINE_EXCEEDED);
    rig_finish(call, WEFT_OK, "waited");
}

static void wait_twice_on_worker(struct rig *rig, rig_call *call)
{
    (void)rig;
    submit(call, wait_twice_job);
}

/* An operation that notes the virtual time of its completion. */
struct noting_op {
    weft__op op;
    weft_engine *engine;
    int64_t at_ns; /* 0: not yet */
};

static void note_time(weft__op *op, int result)
{
    (void)result;
    struct noting_op *self = WEFT__CONTAINER_OF(op, struct noting_op, op);
    self->at_ns = weft_engine_now_ns(self->engine);
}

static void advancing_waits_for_workers_at_every_timer(void **state)
{
    (void)state;
    struct rig rig;
    start_threaded(&rig);
    rig.handler = wait_twice_on_worker;
    weft_test_fault fault = WEFT_TEST_FAULT_INIT;
    fault.point = WEFT_TEST_START;
    fault.kind = WEFT_TEST_SWALLOW;
    fault.after = 1;
    fault.times = 2;
    assert_int_equal(weft_test_inject(rig.engine, &fault), 0);
    const int64_t start_ns = weft_engine_now_ns(rig.engine);
    weft__ccall *call = rig_call_new(&rig);
    weft__tx message = rig_message(&rig, "?");
    const weft__call_args args = {.method = &rig_unary, .deadline_ns = INT64_MAX, .message = &message};
    struct noting_op op = {.op = {note_time}, .engine = rig.engine};
    assert_int_equal(call->vtable->unary(call, &args, &op.op), 0);
    weft_test_advance(rig.engine, 19 * RIG_MS);
    assert_int_equal(op.at_ns, 0);
    assert_int_equal(weft_engine_now_ns(rig.engine), start_ns + 19 * RIG_MS);
    /* The second call started when the first one's deadline had fired, and not when that advance ended. */
    weft_test_advance(rig.engine, 30 * RIG_MS);
    assert_int_equal(op.at_ns, start_ns + 20 * RIG_MS);
    weft__result result;
    call->vtable->result(call, &result);
    assert_rig_received(&rig, &result.response, "waited");
    rig_free(call);
    stop_threaded(&rig);
}

/* A job that waits for an event, with a deadline or without. */
struct waiting {
    weft__job job;
    weft_engine *engine;
    weft__event event;
    int64_t deadline_ns;
    int result; /* 1: not yet */
};

static void wait_job(weft__job *job)
{
    struct waiting *waiting = WEFT__CONTAINER_OF(job, struct waiting, job);
    waiting->result = weft__engine_wait(waiting->engine, &waiting->event, waiting->deadline_ns);
}

static void start_waiting(struct rig *rig, struct waiting *waiting, int64_t deadline_ns)
{
    *waiting =
        (struct waiting){.job = {.run = wait_job}, .engine = rig->engine, .deadline_ns = deadline_ns, .result = 1};
    assert_int_equal(weft__event_init(&waiting->event), 0);
    assert_int_equal(weft__pool_submit(pool, &waiting->job), 0);
}

static void a_wait_ends_at_its_deadline_or_with_its_event(void **state)
{
    (void)state;
    struct rig rig;
    struct waiting timed, posted, late;
    start_threaded(&rig);
    start_waiting(&rig, &timed, weft_engine_now_ns(rig.engine) + 5);
    start_waiting(&rig, &posted, INT64_MAX);
    weft_test_advance(rig.engine, 4);
    assert_int_equal(timed.result, 1);
    assert_int_equal(posted.result, 1);
    weft_test_advance(rig.engine, 1);
    assert_int_equal(timed.result, -ETIMEDOUT);
    assert_int_equal(posted.result, 1);
    rig.engine->vtable->post(rig.engine, &posted.event);
    weft_test_advance(rig.engine, 0); /* the job counts as busy from the post on */
    assert_int_equal(posted.result, 0);
    start_waiting(&rig, &late, 1); /* long past */
    weft_test_advance(rig.engine, 0);
    assert_int_equal(late.result, -ETIMEDOUT);
    weft__event_fini(&timed.event);
    weft__event_fini(&posted.event);
    weft__event_fini(&late.event);
    stop_threaded(&rig);
}

static void step_and_advance(struct rig *rig, rig_call *call)
{
    const int64_t now_ns = weft_engine_now_ns(rig->engine);
    assert_int_equal(weft_test_step(rig->engine, SIZE_MAX), 0);
    weft_test_advance(rig->engine, 1); /* does nothing: it would wait for itself */
    assert_int_equal(weft_engine_now_ns(rig->engine), now_ns);
    weft__event event;
    assert_int_equal(weft__event_init(&event), 0);
    assert_int_equal(weft__engine_wait(rig->engine, &event, INT64_MAX), -EDEADLK);
    weft__event_fini(&event);
    rig_echo(rig, call);
}

static void a_handler_on_the_engines_thread_cannot_block_or_advance(void **state)
{
    (void)state;
    struct rig rig;
    start_threaded(&rig);
    rig.handler = step_and_advance;
    assert_int_equal(blocking_call(&rig, "?", INT64_MAX), WEFT_OK);
    assert_int_equal(weft_test_step(rig.engine, SIZE_MAX), 0); /* the engine has its own thread */
    stop_threaded(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_threads_call_an_inline_handler),
        cmocka_unit_test(many_threads_call_a_handler_on_a_worker),
        cmocka_unit_test(cancels_may_race_with_the_answer),
        cmocka_unit_test(both_directions_of_a_stream_run_at_the_same_time),
        cmocka_unit_test(advancing_waits_for_workers_at_every_timer),
        cmocka_unit_test(a_wait_ends_at_its_deadline_or_with_its_event),
        cmocka_unit_test(a_handler_on_the_engines_thread_cannot_block_or_advance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
