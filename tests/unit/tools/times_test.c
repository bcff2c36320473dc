/* The pauses of `weft run`, and the times of `weft discover`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "times.h"

static void pauses_double_up_to_the_longest(void **state)
{
    static const int64_t expected[] = {100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000};
    int64_t pause_ms = 0;
    (void)state;
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        pause_ms = pause_next_ms(pause_ms, 5);
        assert_int_equal(pause_ms, expected[i]);
    }
}

static void who_has_lived_for_long_enough_begins_anew(void **state)
{
    (void)state;
    assert_int_equal(pause_next_ms(6400, 9999), 10000);
    assert_int_equal(pause_next_ms(6400, 10000), 100);
    assert_int_equal(pause_next_ms(0, INT64_MAX), 100);
}

static void times_have_a_unit_or_are_seconds(void **state)
{
    static const char *const bad[] = {"",      "s",    "ms",  "5x",  "5 s",   "-1", "0",
                                      "0.1ms", "3601", "nan", "inf", "1e999", "5ss"};
    int64_t ms = 7;
    (void)state;
    assert_true(parse_time_ms("5", &ms));
    assert_int_equal(ms, 5000);
    assert_true(parse_time_ms("0.25s", &ms));
    assert_int_equal(ms, 250);
    assert_true(parse_time_ms("700ms", &ms));
    assert_int_equal(ms, 700);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ms = 7;
        assert_false(parse_time_ms(bad[i], &ms));
        assert_int_equal(ms, 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pauses_double_up_to_the_longest),
        cmocka_unit_test(who_has_lived_for_long_enough_begins_anew),
        cmocka_unit_test(times_have_a_unit_or_are_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
