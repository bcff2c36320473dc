/* base/clock.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"

static void the_system_clock_never_goes_back(void **state)
{
    (void)state;
    weft__clock *clock = weft__clock_system();
    int64_t last_ns = clock->now_ns(clock);

    for (int i = 0; i < 10000; i++) {
        int64_t now_ns = clock->now_ns(clock);
        assert_true(now_ns >= last_ns);
        last_ns = now_ns;
    }
}

static void wall_time_is_the_time_of_day(void **state)
{
    (void)state;
    weft__clock *clock = weft__clock_system();
    int64_t before_s = (int64_t)time(NULL);
    int64_t wall_s = clock->wall_ns(clock) / 1000000000;

    assert_true(wall_s >= before_s - 1 && wall_s <= (int64_t)time(NULL) + 1); /* time() may lag by a tick */
}

static void a_deadline_that_overflows_is_never(void **state)
{
    (void)state;
    assert_int_equal(weft__clock_deadline_ns(1000, 234), 1234);
    assert_int_equal(weft__clock_deadline_ns(1000, -1000), 0);
    assert_int_equal(weft__clock_deadline_ns(1000, INT64_MAX), INT64_MAX);
    assert_int_equal(weft__clock_deadline_ns(1000, INT64_MAX - 999), INT64_MAX);
    assert_int_equal(weft__clock_deadline_ns(1000, INT64_MAX - 1000), INT64_MAX);
    assert_int_equal(weft__clock_deadline_ns(1000, INT64_MAX - 1001), INT64_MAX - 1);
}

static void a_wall_time_is_written_with_as_many_digits_as_asked(void **state)
{
    (void)state;
    char text[WEFT__WALL_SIZE];

    assert_int_equal(weft__wall_format(text, INT64_C(1767323045678901234), 9), 30);
    assert_string_equal(text, "2026-01-02T03:04:05.678901234Z");
    assert_int_equal(weft__wall_format(text, INT64_C(1767323045678901234), 3), 24);
    assert_string_equal(text, "2026-01-02T03:04:05.678Z");
    weft__wall_format(text, 0, 1);
    assert_string_equal(text, "1970-01-01T00:00:00.0Z");
    weft__wall_format(text, -5, 1);
    assert_string_equal(text, "1970-01-01T00:00:00.0Z");
    weft__wall_format(text, INT64_MAX, 9);
    assert_string_equal(text, "2262-04-11T23:47:16.854775807Z");
}

/* Every day from 1970 to 2200, each at another second, against libc. */
static void dates_agree_with_libc(void **state)
{
    (void)state;
    for (int64_t day = 0; day < 84006; day++) {
        time_t at = (time_t)(day * 86400 + day % 86400);
        struct tm parts;
        char expected[WEFT__WALL_SIZE], text[WEFT__WALL_SIZE];

        assert_non_null(gmtime_r(&at, &parts));
        assert_true(strftime(expected, sizeof expected, "%Y-%m-%dT%H:%M:%S.0Z", &parts) > 0);
        weft__wall_format(text, (int64_t)at * 1000000000, 1);
        assert_string_equal(text, expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_system_clock_never_goes_back),
        cmocka_unit_test(wall_time_is_the_time_of_day),
        cmocka_unit_test(a_deadline_that_overflows_is_never),
        cmocka_unit_test(a_wall_time_is_written_with_as_many_digits_as_asked),
        cmocka_unit_test(dates_agree_with_libc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
