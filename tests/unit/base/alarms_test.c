/* base/alarms.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/alarms.h"
#include "base/clock.h"
#include "base/event.h"
#include "base/list.h"
#include "base/thread.h"

static const int64_t ns_per_ms = 1000000;

/* An alarm that notes when it came, and as which one. */
struct noted {
    weft__alarm alarm;
    weft__event came;
    int64_t at_ns;
    int turn;
    bool on_loop;
};

static int turns; /* the thread of alarms' */

static int64_t now_ns(void)
{
    weft__clock *clock = weft__clock_system();
    return clock->now_ns(clock);
}

static void note(weft__alarm *alarm)
{
    struct noted *noted = WEFT__CONTAINER_OF(alarm, struct noted, alarm);
    noted->at_ns = now_ns();
    noted->turn = ++turns;
    noted->on_loop = weft__thread_is_loop();
    weft__event_post(&noted->came);
}

static void init(struct noted *noted)
{
    *noted = (struct noted){.alarm = {.run = note}};
    assert_int_equal(weft__event_init(&noted->came), 0);
}

static void await(struct noted *noted)
{
    assert_int_equal(weft__event_wait(&noted->came, now_ns() + 60000 * ns_per_ms), 0);
    weft__event_fini(&noted->came);
}

static void alarms_come_in_order_and_not_before_their_time(void **state)
{
    weft__alarms *alarms = NULL;
    struct noted late;
    struct noted early;
    struct noted past;
    (void)state;
    turns = 0;
    assert_int_equal(weft__alarms_new(&alarms), 0);
    init(&late);
    init(&early);
    init(&past);
    int64_t begin_ns = now_ns();
    assert_int_equal(weft__alarms_set(alarms, &late.alarm, begin_ns + 60 * ns_per_ms), 0);
    assert_int_equal(weft__alarms_set(alarms, &early.alarm, begin_ns + 30 * ns_per_ms), 0);
    assert_int_equal(weft__alarms_set(alarms, &past.alarm, begin_ns - 1), 0);
    await(&late);
    await(&early);
    await(&past);
    assert_int_equal(past.turn, 1);
    assert_int_equal(early.turn, 2);
    assert_int_equal(late.turn, 3);
    assert_true(early.at_ns >= begin_ns + 30 * ns_per_ms);
    assert_true(late.at_ns >= begin_ns + 60 * ns_per_ms);
    assert_true(late.on_loop);
    weft__alarms_free(alarms);
}

static void a_cancelled_alarm_does_not_come(void **state)
{
    weft__alarms *alarms = NULL;
    struct noted never;
    struct noted then;
    (void)state;
    turns = 0;
    assert_int_equal(weft__alarms_new(&alarms), 0);
    init(&never);
    init(&then);
    assert_false(weft__alarms_cancel(alarms, &never.alarm));
    assert_int_equal(weft__alarms_set(alarms, &never.alarm, now_ns() + 3600000 * ns_per_ms), 0);
    assert_true(weft__alarms_cancel(alarms, &never.alarm));
    assert_false(weft__alarms_cancel(alarms, &never.alarm));
    assert_int_equal(weft__alarms_set(alarms, &then.alarm, now_ns()), 0);
    await(&then);
    assert_false(weft__alarms_cancel(alarms, &then.alarm));
    assert_int_equal(turns, 1);
    weft__alarms_free(alarms);
    weft__event_fini(&never.came);
}

static void alarms_that_were_never_used_are_freed(void **state)
{
    weft__alarms *alarms = NULL;
    (void)state;
    assert_int_equal(weft__alarms_new(&alarms), 0);
    weft__alarms_free(alarms);
    weft__alarms_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alarms_come_in_order_and_not_before_their_time),
        cmocka_unit_test(a_cancelled_alarm_does_not_come),
        cmocka_unit_test(alarms_that_were_never_used_are_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
