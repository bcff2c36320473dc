/* base/event.h */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/event.h"
#include "base/thread.h"

static int64_t now_ns(void)
{
    weft__clock *clock = weft__clock_system();

    return clock->now_ns(clock);
}

static void a_past_deadline_only_asks(void **state)
{
    (void)state;
    weft__event event;

    assert_int_equal(weft__event_init(&event), 0);
    assert_int_equal(weft__event_wait(&event, 0), -ETIMEDOUT);
    assert_int_equal(weft__event_wait(&event, INT64_MIN), -ETIMEDOUT);
    weft__event_post(&event);
    assert_int_equal(weft__event_wait(&event, 0), 0);
    weft__event_fini(&event);
}

static void a_post_lasts_until_a_reset(void **state)
{
    (void)state;
    weft__event event;

    assert_int_equal(weft__event_init(&event), 0);
    weft__event_post(&event);
    assert_int_equal(weft__event_wait(&event, INT64_MAX), 0);
    assert_int_equal(weft__event_wait(&event, INT64_MAX), 0);
    weft__event_reset(&event);
    assert_int_equal(weft__event_wait(&event, 0), -ETIMEDOUT);
    weft__event_post(&event);
    weft__event_post(&event);
    weft__event_reset(&event); /* nobody had waited for them */
    assert_int_equal(weft__event_wait(&event, 0), -ETIMEDOUT);
    weft__event_fini(&event);
}

static void a_wait_ends_at_its_deadline_and_not_before(void **state)
{
    (void)state;
    weft__event event;
    int64_t deadline_ns = now_ns() + 20 * 1000000;

    assert_int_equal(weft__event_init(&event), 0);
    assert_int_equal(weft__event_wait(&event, deadline_ns), -ETIMEDOUT);
    assert_true(now_ns() >= deadline_ns);
    weft__event_fini(&event);
}

static void *post(void *event)
{
    weft__event_post(event);
    return NULL;
}

/* A local event, gone as soon as it has been posted: AddressSanitizer and valgrind see a poster that still touches it.
 */
static void wait_for_a_thread(int64_t deadline_ns)
{
    weft__event *event = malloc(sizeof *event);
    pthread_t thread;

    assert_non_null(event);
    assert_int_equal(weft__event_init(event), 0);
    assert_int_equal(weft__thread_start(&thread, 0, "poster", post, event), 0);
    assert_int_equal(weft__event_wait(event, deadline_ns), 0);
    weft__event_fini(event);
    memset(event, 0xff, sizeof *event);
    free(event);
    pthread_join(thread, NULL);
}

static void the_waiter_may_leave_as_soon_as_it_knows(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++)
        wait_for_a_thread(i % 2 == 0 ? INT64_MAX : INT64_MAX - 1);
}

/* What the poster did before is seen by the waiter; ThreadSanitizer would tell. */
struct delivery {
    weft__event arrived;
    int content;
};

static void *deliver(void *arg)
{
    struct delivery *delivery = arg;

    delivery->content = 42;
    weft__event_post(&delivery->arrived);
    return NULL;
}

static void the_waiter_sees_what_the_poster_wrote(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        struct delivery delivery = {.content = 0};
        pthread_t thread;

        assert_int_equal(weft__event_init(&delivery.arrived), 0);
        assert_int_equal(weft__thread_start(&thread, 0, "deliver", deliver, &delivery), 0);
        assert_int_equal(weft__event_wait(&delivery.arrived, i % 2 == 0 ? INT64_MAX : INT64_MAX - 1), 0);
        assert_int_equal(delivery.content, 42);
        pthread_join(thread, NULL);
        weft__event_fini(&delivery.arrived);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_past_deadline_only_asks),
        cmocka_unit_test(a_post_lasts_until_a_reset),
        cmocka_unit_test(a_wait_ends_at_its_deadline_and_not_before),
        cmocka_unit_test(the_waiter_may_leave_as_soon_as_it_knows),
        cmocka_unit_test(the_waiter_sees_what_the_poster_wrote),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
