/* base/json_write.h */
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json_write.h"
#include "support/alloc_fault.h"

static weft__buf buf;
static weft__json json;

static int setup(void **state)
{
    (void)state;
    weft__buf_init(&buf, 0);
    json = (weft__json){.buf = &buf};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    weft__buf_fini(&buf);
    return 0;
}

static void commas_stand_between_values_and_nowhere_else(void **state)
{
    (void)state;
    weft__json_begin_object(&json);
    weft__json_key(&json, weft_sv_from("a"));
    weft__json_int(&json, -1);
    weft__json_key(&json, weft_sv_from("b"));
    weft__json_begin_array(&json);
    weft__json_uint(&json, 18446744073709551615u);
    weft__json_begin_array(&json);
    weft__json_end_array(&json);
    weft__json_begin_object(&json);
    weft__json_end_object(&json);
    weft__json_string(&json, weft_sv_from("x"));
    weft__json_string(&json, (weft_sv){NULL, 0});
    weft__json_end_array(&json);
    weft__json_key(&json, weft_sv_from("c\"d"));
    weft__json_bool(&json, true);
    weft__json_key(&json, weft_sv_from(""));
    weft__json_bool(&json, false);
    weft__json_end_object(&json);
    assert_int_equal(buf.failed, 0);
    assert_string_equal(buf.data,
                        "{\"a\":-1,\"b\":[18446744073709551615,[],{},\"x\",null],\"c\\\"d\":true,\"\":false}");
}

static void strings_are_escaped(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t len;
        const char *json;
    } cases[] = {
        {"", 0, "\"\""},
        {"plain", 5, "\"plain\""},
        {"\"\\/", 3, "\"\\\"\\\\/\""},
        {"\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\""},
        {"a\0b", 3, "\"a\\u0000b\""},
        {"\x1f\x7f", 2, "\"\\u001f\\u007f\""},
        {"\xc2\x80\xc2\x9f\xc2\xa0", 6, "\"\\u0080\\u009f\xc2\xa0\""},          /* C1 is, the no-break space is not */
        {"gr\xc3\xbc\xc3\x9f", 6, "\"gr\xc3\xbc\xc3\x9f\""},                    /* two bytes */
        {"\xe2\x82\xac", 3, "\"\xe2\x82\xac\""},                                /* three */
        {"\xf0\x9f\x98\x80", 4, "\"\xf0\x9f\x98\x80\""},                        /* four */
        {"\xff", 1, "\"\\ufffd\""},                                             /* never in UTF-8 */
        {"a\x80z", 3, "\"a\\ufffdz\""},                                         /* a continuation on its own */
        {"\xc0\xaf", 2, "\"\\ufffd\\ufffd\""},                                  /* overlong */
        {"\xe0\x80\xaf", 3, "\"\\ufffd\\ufffd\\ufffd\""},                       /* overlong */
        {"\xf0\x80\x80\xaf", 4, "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},            /* overlong */
        {"\xed\xa0\x80", 3, "\"\\ufffd\\ufffd\\ufffd\""},                       /* a surrogate */
        {"\xf4\x90\x80\x80", 4, "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},            /* above U+10FFFF */
        {"\xe2\x82", 2, "\"\\ufffd\\ufffd\""},                                  /* cut short by the end */
        {"\xe2\x82z", 3, "\"\\ufffd\\ufffdz\""},                                /* cut short by another */
        {"\xf4\x8f\xbf\xbf\xee\x80\x80", 7, "\"\xf4\x8f\xbf\xbf\xee\x80\x80\""} /* the edges */
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        weft__buf_reset(&buf);
        json.comma = false;
        weft__json_string(&json, weft_sv_of(cases[i].text, cases[i].len));
        assert_string_equal(buf.data, cases[i].json);
    }
}

static void an_escape_or_a_character_is_never_cut_in_two(void **state)
{
    (void)state;
    const char text[] = "a\xe2\x82\xac\n\x01z";
    static const struct {
        size_t room, taken;
        const char *out;
    } cases[] = {{0, 0, ""},
                 {1, 1, "a"},
                 {3, 1, "a"},
                 {4, 4, "a\xe2\x82\xac"},
                 {5, 4, "a\xe2\x82\xac"},
                 {6, 5, "a\xe2\x82\xac\\n"},
                 {11, 5, "a\xe2\x82\xac\\n"},
                 {12, 6, "a\xe2\x82\xac\\n\\u0001"},
                 {13, 7, "a\xe2\x82\xac\\n\\u0001z"}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        weft__buf_reset(&buf);
        assert_int_equal(weft__json_escape(&buf, weft_sv_from(text), cases[i].room), cases[i].taken);
        assert_string_equal(buf.data, cases[i].out);
    }
}

static void numbers_read_back_as_what_they_were(void **state)
{
    (void)state;
    static const double numbers[] = {
        0, 1, -1, 0.1, 1.0 / 3, 1e300, 5e-324, 1.7976931348623157e308, 1e15, 1e16, 123456, 0.30000000000000004};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        weft__buf_reset(&buf);
        json.comma = false;
        weft__json_double(&json, numbers[i]);
        assert_true(strtod(buf.data, NULL) == numbers[i]);
    }
    weft__buf_reset(&buf);
    json.comma = false;
    weft__json_begin_array(&json);
    weft__json_double(&json, 0.1);
    weft__json_int(&json, INT64_MIN);
    weft__json_double(&json, (double)NAN);
    weft__json_double(&json, (double)INFINITY);
    weft__json_double(&json, -(double)INFINITY);
    weft__json_end_array(&json);
    assert_string_equal(buf.data, "[0.1,-9223372036854775808,\"NaN\",\"Infinity\",\"-Infinity\"]");
}

static void a_locale_with_a_decimal_comma_changes_nothing(void **state)
{
    (void)state;
    static const char *const locales[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "ps_AF.UTF-8"};
    const char *set = NULL;

    for (size_t i = 0; set == NULL && i < sizeof locales / sizeof locales[0]; i++)
        set = setlocale(LC_NUMERIC, locales[i]);
    if (set == NULL) {
        print_message("no locale with a decimal comma is installed\n");
        skip();
    }
    weft__json_double(&json, 1.5);
    setlocale(LC_NUMERIC, "C");
    assert_string_equal(buf.data, "1.5");
}

static int write_some(void *context)
{
    (void)context;
    weft__buf out;
    weft__json writer = {.buf = &out};

    weft__buf_init(&out, 0);
    weft__json_begin_array(&writer);
    for (int i = 0; i < 100; i++)
        weft__json_string(&writer, weft_sv_from("some text\n"));
    weft__json_end_array(&writer);
    int rc = out.failed;
    weft__buf_fini(&out);
    return rc;
}

static void every_failing_allocation_is_reported_and_nothing_leaks(void **state)
{
    (void)state;
    assert_true(weft_test_oom_sweep(write_some, NULL) >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(commas_stand_between_values_and_nowhere_else, setup, teardown),
        cmocka_unit_test_setup_teardown(strings_are_escaped, setup, teardown),
        cmocka_unit_test_setup_teardown(an_escape_or_a_character_is_never_cut_in_two, setup, teardown),
        cmocka_unit_test_setup_teardown(numbers_read_back_as_what_they_were, setup, teardown),
        cmocka_unit_test_setup_teardown(a_locale_with_a_decimal_comma_changes_nothing, setup, teardown),
        cmocka_unit_test(every_failing_allocation_is_reported_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
