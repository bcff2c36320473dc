/* UTF-8: every boundary of Unicode's table 3-7. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/utf8.h"

static size_t sequence(const char *text)
{
    return weft__utf8_sequence(text, strlen(text));
}

static void the_first_and_last_of_each_length_are_valid(void **state)
{
    (void)state;
    assert_int_equal(weft__utf8_sequence("\0", 1), 1);
    assert_int_equal(sequence("\x7f"), 1);
    assert_int_equal(sequence("\xc2\x80"), 2);
    assert_int_equal(sequence("\xdf\xbf"), 2);
    assert_int_equal(sequence("\xe0\xa0\x80"), 3);
    assert_int_equal(sequence("\xed\x9f\xbf"), 3);
    assert_int_equal(sequence("\xee\x80\x80"), 3);
    assert_int_equal(sequence("\xef\xbf\xbf"), 3);
    assert_int_equal(sequence("\xf0\x90\x80\x80"), 4);
    assert_int_equal(sequence("\xf4\x8f\xbf\xbf"), 4);
}

static void overlong_surrogate_cut_and_too_high_are_not(void **state)
{
    static const char *const bad[] = {"\x80",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "\xc3",
                                      "\xe2\x82",
                                      "\xf0\x9f\x98",
                                      "\xc3(",
                                      "\xe2(\xa1",
                                      "\xe2\x82(",
                                      "\xf0\x9f\x98("};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(sequence(bad[i]), 0);
        assert_false(weft__is_utf8(bad[i], strlen(bad[i])));
    }
    assert_true(weft__is_utf8("", 0));
    assert_true(weft__is_utf8("a\xc3\xa9z", 4));
    assert_false(weft__is_utf8("a\xc3\xa9z", 2)); /* cut */
}

static void repair_replaces_just_the_bad_bytes(void **state)
{
    char text[] = "a\xff"
                  "b\xc3\xa9\xe2\x82z";
    (void)state;
    weft__utf8_repair(text, strlen(text));
    assert_string_equal(text, "a?b\xc3\xa9??z");
}

static void text_is_cut_between_two_characters(void **state)
{
    static const char text[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"; /* of 1, 2, 3 and 4 bytes */
    static const size_t cut[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};
    (void)state;
    for (size_t max = 0; max < sizeof cut / sizeof *cut; max++)
        assert_int_equal(weft__utf8_cut(text, strlen(text), max), cut[max]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_and_last_of_each_length_are_valid),
        cmocka_unit_test(overlong_surrogate_cut_and_too_high_are_not),
        cmocka_unit_test(repair_replaces_just_the_bad_bytes),
        cmocka_unit_test(text_is_cut_between_two_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
