/* base/pool.h */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/event.h"
#include "base/list.h"
#include "base/pool.h"
#include "support/alloc_fault.h"

/* A job that says it has begun and waits to be let go. */
struct gate {
    weft__job job;
    weft__event begun;
    weft__event let_go;
};

static void pass_gate(weft__job *job)
{
    struct gate *gate = WEFT__CONTAINER_OF(job, struct gate, job);

    weft__event_post(&gate->begun);
    weft__event_wait(&gate->let_go, INT64_MAX);
}

static void gate_init(struct gate *gate)
{
    gate->job.run = pass_gate;
    assert_int_equal(weft__event_init(&gate->begun), 0);
    assert_int_equal(weft__event_init(&gate->let_go), 0);
}

static void gate_fini(struct gate *gate)
{
    weft__event_fini(&gate->begun);
    weft__event_fini(&gate->let_go);
}

static atomic_int ran;
static atomic_int dropped;

static void count_run(weft__job *job)
{
    (void)job;
    atomic_fetch_add(&ran, 1);
}

static void count_drop(weft__job *job)
{
    (void)job;
    atomic_fetch_add(&dropped, 1);
}

static int forget(void **state)
{
    (void)state;
    atomic_store(&ran, 0);
    atomic_store(&dropped, 0);
    return 0;
}

static weft__pool *make_pool(int64_t threads, int64_t max_queued, const weft__pool_hooks *hooks)
{
    weft__pool *pool = NULL;
    weft__pool_options options = {.threads = threads, .max_queued = max_queued, .hooks = hooks};

    assert_int_equal(weft__pool_new(&pool, &options), 0);
    return pool;
}

static void every_job_runs_once(void **state)
{
    (void)state;
    weft__pool *pool = make_pool(4, -1, NULL);
    static weft__job jobs[5000];

    for (int i = 0; i < 5000; i++) {
        jobs[i].run = count_run;
        assert_int_equal(weft__pool_submit(pool, &jobs[i]), 0);
    }
    weft__pool_free(pool); /* runs what is queued */
    assert_int_equal(ran, 5000);
}

static void a_submit_allocates_nothing(void **state)
{
    (void)state;
    weft__pool *pool = make_pool(1, 0, NULL);
    weft__job jobs[10];
    long before = weft_test_alloc_count();

    for (int i = 0; i < 10; i++) {
        jobs[i].run = count_run;
        assert_int_equal(weft__pool_submit(pool, &jobs[i]), 0);
    }
    assert_int_equal(weft_test_alloc_count(), before);
    weft__pool_free(pool);
    assert_int_equal(ran, 10);
}

static void jobs_that_block_run_side_by_side(void **state)
{
    (void)state;
    weft__pool *pool = make_pool(3, 0, NULL);
    struct gate gates[3];

    for (int i = 0; i < 3; i++) {
        gate_init(&gates[i]);
        assert_int_equal(weft__pool_submit(pool, &gates[i].job), 0);
    }
    for (int i = 0; i < 3; i++) /* all three have begun before any may end */
        assert_int_equal(weft__event_wait(&gates[i].begun, INT64_MAX), 0);
    for (int i = 0; i < 3; i++)
        weft__event_post(&gates[i].let_go);
    weft__pool_free(pool);
    for (int i = 0; i < 3; i++)
        gate_fini(&gates[i]);
}

static void a_full_queue_refuses(void **state)
{
    (void)state;
    weft__pool *pool = make_pool(1, 2, NULL);
    weft__job jobs[3] = {{.run = count_run}, {.run = count_run}, {.run = count_run}};
    struct gate gate;

    gate_init(&gate);
    assert_int_equal(weft__pool_submit(pool, &gate.job), 0);
    assert_int_equal(weft__event_wait(&gate.begun, INT64_MAX), 0);
    assert_int_equal(weft__pool_submit(pool, &jobs[0]), 0);
    assert_int_equal(weft__pool_submit(pool, &jobs[1]), 0);
    assert_int_equal(weft__pool_submit(pool, &jobs[2]), -EAGAIN);
    assert_int_equal(weft__pool_queued(pool), 2);
    weft__event_post(&gate.let_go);
    weft__pool_free(pool);
    assert_int_equal(ran, 2);
    gate_fini(&gate);
}

/* Stops a pool whose only worker is busy, from a thread that a job of the pool then lets go on. */
static void a_stop_drops_what_has_not_begun_and_waits_for_what_has(void **state)
{
    (void)state;
    weft__pool *pool = make_pool(1, 0, NULL);
    struct gate gate;
    weft__job jobs[2] = {{.run = count_run}, {.run = count_run}};

    gate_init(&gate);
    assert_int_equal(weft__pool_submit(pool, &gate.job), 0);
    assert_int_equal(weft__event_wait(&gate.begun, INT64_MAX), 0);
    assert_int_equal(weft__pool_submit(pool, &jobs[0]), 0);
    assert_int_equal(weft__pool_submit(pool, &jobs[1]), 0);
    weft__event_post(&gate.let_go);
    weft__pool_stop(pool, count_drop);
    assert_int_equal(ran + dropped, 2);
    assert_int_equal(weft__pool_queued(pool), 0);
    assert_int_equal(weft__pool_submit(pool, &jobs[0]), -ESHUTDOWN);
    weft__pool_stop(pool, count_drop); /* again: nothing happens */
    assert_int_equal(ran + dropped, 2);
    weft__pool_free(pool);
    gate_fini(&gate);
}

static weft__event *release_after_drop;

static void drop_and_release(weft__job *job)
{
    count_drop(job);
    weft__event_post(release_after_drop);
}

static void a_job_behind_a_busy_worker_is_dropped(void **state)
{
    (void)state;
    weft__pool *pool = make_pool(1, 0, NULL);
    struct gate gate;
    weft__job job = {.run = count_run};

    gate_init(&gate);
    release_after_drop = &gate.let_go; /* the worker is busy until the drop has happened */
    assert_int_equal(weft__pool_submit(pool, &gate.job), 0);
    assert_int_equal(weft__event_wait(&gate.begun, INT64_MAX), 0);
    assert_int_equal(weft__pool_submit(pool, &job), 0);
    weft__pool_stop(pool, drop_and_release);
    assert_int_equal(dropped, 1);
    assert_int_equal(ran, 0);
    weft__pool_free(pool);
    gate_fini(&gate);
}

/* What hooks saw. */
struct seen {
    atomic_int queued, dropped, begun, ended;
};

static void saw_queued(void *arg)
{
    atomic_fetch_add(&((struct seen *)arg)->queued, 1);
}

static void saw_dropped(void *arg)
{
    atomic_fetch_add(&((struct seen *)arg)->dropped, 1);
}

static void saw_begin(void *arg)
{
    atomic_fetch_add(&((struct seen *)arg)->begun, 1);
}

static void saw_end(void *arg)
{
    atomic_fetch_add(&((struct seen *)arg)->ended, 1);
}

static void hooks_see_every_job_begin_and_end_or_drop(void **state)
{
    (void)state;
    struct seen seen = {0};
    const weft__pool_hooks hooks = {saw_queued, saw_dropped, saw_begin, saw_end, &seen};
    weft__pool *pool = make_pool(1, 1, &hooks);
    struct gate gate;
    weft__job jobs[2] = {{.run = count_run}, {.run = count_run}};

    gate_init(&gate);
    release_after_drop = &gate.let_go;
    assert_int_equal(weft__pool_submit(pool, &gate.job), 0);
    assert_int_equal(weft__event_wait(&gate.begun, INT64_MAX), 0);
    assert_int_equal(weft__pool_submit(pool, &jobs[0]), 0);
    assert_int_equal(weft__pool_submit(pool, &jobs[1]), -EAGAIN);
    assert_int_equal(seen.queued, 3);
    assert_int_equal(seen.dropped, 1);
    assert_int_equal(seen.begun, 1);
    assert_int_equal(seen.ended, 0);
    weft__pool_stop(pool, drop_and_release);
    assert_int_equal(seen.dropped, 2);
    assert_int_equal(seen.begun, 1);
    assert_int_equal(seen.ended, 1);
    weft__pool_free(pool);
    gate_fini(&gate);
}

static void senseless_options_are_refused(void **state)
{
    (void)state;
    const weft__pool_options bad[] = {{.threads = 0},
                                      {.threads = -1},
                                      {.threads = 10001},
                                      {.threads = 1, .max_queued = -2},
                                      {.threads = 1, .stack_bytes = -1}};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        weft__pool *pool = NULL;
        assert_int_equal(weft__pool_new(&pool, &bad[i]), -EINVAL);
        assert_null(pool);
    }
    weft__pool_free(NULL);
}

static void a_thread_that_cannot_start_ends_those_that_did(void **state)
{
    (void)state;
    const weft__pool_options options = {.threads = 4};

    for (long n = 1; n <= 4; n++) {
        weft__pool *pool = NULL;
        long before = weft_test_alloc_live();
        weft_test_thread_fail_at(n);
        assert_int_equal(weft__pool_new(&pool, &options), -EAGAIN);
        assert_null(pool);
        assert_int_equal(weft_test_alloc_live(), before);
    }
    weft_test_thread_fail_at(0);
}

static int make_and_use(void *context)
{
    (void)context;
    weft__pool *pool = NULL;
    const weft__pool_options options = {.threads = 3};
    weft__job job = {.run = count_run};
    int rc = weft__pool_new(&pool, &options);

    if (rc < 0) {
        assert_null(pool);
        return rc;
    }
    rc = weft__pool_submit(pool, &job);
    weft__pool_free(pool);
    return rc;
}

static void every_failing_allocation_is_reported_and_nothing_leaks(void **state)
{
    (void)state;
    assert_int_equal(weft_test_oom_sweep(make_and_use, NULL), 4); /* the pool and what each thread is told */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_job_runs_once, forget),
        cmocka_unit_test_setup(a_submit_allocates_nothing, forget),
        cmocka_unit_test(jobs_that_block_run_side_by_side),
        cmocka_unit_test_setup(a_full_queue_refuses, forget),
        cmocka_unit_test_setup(a_stop_drops_what_has_not_begun_and_waits_for_what_has, forget),
        cmocka_unit_test_setup(a_job_behind_a_busy_worker_is_dropped, forget),
        cmocka_unit_test_setup(hooks_see_every_job_begin_and_end_or_drop, forget),
        cmocka_unit_test(senseless_options_are_refused),
        cmocka_unit_test(a_thread_that_cannot_start_ends_those_that_did),
        cmocka_unit_test(every_failing_allocation_is_reported_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
