#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "config/value.h"

/* -1 when the text is refused; no test expects it as a value. */
static int64_t parsed(weft_config_type type, const char *text)
{
    weft_config_key key = {.name = "k", .type = type};
    char message[128];
    weft__buf why;
    weft__buf_init_block(&why, sizeof message - 1, message, sizeof message);
    int64_t number = -7;
    if (weft__config_parse_value(&key, text, &number, &why) < 0) {
        assert_int_equal(number, -7);
        assert_true(why.len > 0);
        return -1;
    }
    return number;
}

static void integers_are_decimal_and_fit_64_bits(void **state)
{
    (void)state;
    assert_int_equal(parsed(WEFT_CONFIG_INT, "0"), 0);
    assert_int_equal(parsed(WEFT_CONFIG_INT, "-42"), -42);
    assert_true(parsed(WEFT_CONFIG_INT, "9223372036854775807") == INT64_MAX);
    static const char *const wrong[] = {"",   "-", "+1", "1 ", " 1", "0x10", "1e3", "1_000", "9223372036854775808",
                                        "--1"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(parsed(WEFT_CONFIG_INT, wrong[i]), -1);
}

static void truth_values_are_two_words(void **state)
{
    (void)state;
    assert_int_equal(parsed(WEFT_CONFIG_BOOL, "true"), 1);
    assert_int_equal(parsed(WEFT_CONFIG_BOOL, "false"), 0);
    static const char *const wrong[] = {"", "yes", "no", "on", "1", "0", "TRUE", "truex"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(parsed(WEFT_CONFIG_BOOL, wrong[i]), -1);
}

static void durations_are_numbers_with_units(void **state)
{
    (void)state;
    assert_int_equal(parsed(WEFT_CONFIG_DURATION, "0"), 0);
    assert_int_equal(parsed(WEFT_CONFIG_DURATION, "250ms"), 250);
    assert_int_equal(parsed(WEFT_CONFIG_DURATION, "5s"), 5000);
    assert_int_equal(parsed(WEFT_CONFIG_DURATION, "1h30m"), 5400000);
    assert_int_equal(parsed(WEFT_CONFIG_DURATION, "1d1h1m1s1ms"), 90061001);
    static const char *const wrong[] = {
        "",     "5",    "s",   "5 s", "-5s", "1.5s", "5us",           "5S",
        "5m1h", "1s1s", "5s ", "5sx", "00",  "1h30", "106751991168d", "9223372036854775807ms1"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(parsed(WEFT_CONFIG_DURATION, wrong[i]), -1);
    assert_int_equal(parsed(WEFT_CONFIG_DURATION, "106751991167d9223372036854775807ms"), -1);
}

static void sizes_are_bytes_or_binary_multiples(void **state)
{
    (void)state;
    assert_int_equal(parsed(WEFT_CONFIG_SIZE, "0"), 0);
    assert_int_equal(parsed(WEFT_CONFIG_SIZE, "4096"), 4096);
    assert_int_equal(parsed(WEFT_CONFIG_SIZE, "3KiB"), 3072);
    assert_int_equal(parsed(WEFT_CONFIG_SIZE, "4MiB"), 4 << 20);
    assert_true(parsed(WEFT_CONFIG_SIZE, "2GiB") == INT64_C(2) << 30);
    assert_true(parsed(WEFT_CONFIG_SIZE, "1TiB") == INT64_C(1) << 40);
    static const char *const wrong[] = {"", "KiB", "-1", "4MB", "4M", "4mib", "1.5MiB", "4MiB ", "9007199254740992KiB"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(parsed(WEFT_CONFIG_SIZE, wrong[i]), -1);
}

static void choices_are_whole_words(void **state)
{
    (void)state;
    weft_config_key key = {.name = "k", .type = WEFT_CONFIG_STRING, .choices = "debug|info"};
    char message[128];
    int64_t number;
    static const char *const wrong[] = {"", "d", "debugger", "debug|info", "nfo"};
    weft__buf why;
    weft__buf_init_block(&why, sizeof message - 1, message, sizeof message);
    assert_int_equal(weft__config_parse_value(&key, "debug", &number, &why), 0);
    assert_int_equal(weft__config_parse_value(&key, "info", &number, &why), 0);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(weft__config_parse_value(&key, wrong[i], &number, &why), -EINVAL);
}

static void plain_scalars_are_told_apart_as_yaml_does(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        weft__scalar kind;
    } cases[] = {
        {"", WEFT__SCALAR_NULL},        {"~", WEFT__SCALAR_NULL},       {"null", WEFT__SCALAR_NULL},
        {"nulls", WEFT__SCALAR_STRING}, {"true", WEFT__SCALAR_BOOL},    {"False", WEFT__SCALAR_BOOL},
        {"yes", WEFT__SCALAR_STRING},   {"5", WEFT__SCALAR_NUMBER},     {"-5", WEFT__SCALAR_NUMBER},
        {"+5.5", WEFT__SCALAR_NUMBER},  {".5", WEFT__SCALAR_NUMBER},    {"5.", WEFT__SCALAR_NUMBER},
        {"1e3", WEFT__SCALAR_NUMBER},   {"1e+3", WEFT__SCALAR_NUMBER},  {"1e", WEFT__SCALAR_STRING},
        {"0x1f", WEFT__SCALAR_NUMBER},  {"0xg", WEFT__SCALAR_STRING},   {"0x", WEFT__SCALAR_STRING},
        {".", WEFT__SCALAR_STRING},     {"-", WEFT__SCALAR_STRING},     {"e3", WEFT__SCALAR_STRING},
        {".inf", WEFT__SCALAR_NUMBER},  {"1.2.3", WEFT__SCALAR_STRING}, {"127.0.0.1:1", WEFT__SCALAR_STRING},
        {"5s", WEFT__SCALAR_STRING},    {"1 2", WEFT__SCALAR_STRING},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (weft__scalar_kind(cases[i].text) != cases[i].kind)
            fail_msg("\"%s\" is read as %s", cases[i].text, weft__scalar_name(weft__scalar_kind(cases[i].text)));
}

static void text_is_escaped_so_that_yaml_reads_it_back(void **state)
{
    (void)state;
    weft__buf buf;
    weft__buf_init(&buf, 0);
    weft__config_escape(
        &buf, weft_sv_from("a\"\\\n\x7f \xc2\x85 \xe2\x80\xa8 \xef\xbb\xbf \xef\xbf\xbf \xc3\xa9 \xe2\x82\xac"));
    assert_string_equal(buf.data, "a\\\"\\\\\\u000a\\u007f \\u0085 \\u2028 \\ufeff \\uffff \xc3\xa9 \xe2\x82\xac");
    weft__buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_decimal_and_fit_64_bits),
        cmocka_unit_test(truth_values_are_two_words),
        cmocka_unit_test(durations_are_numbers_with_units),
        cmocka_unit_test(sizes_are_bytes_or_binary_multiples),
        cmocka_unit_test(choices_are_whole_words),
        cmocka_unit_test(plain_scalars_are_told_apart_as_yaml_does),
        cmocka_unit_test(text_is_escaped_so_that_yaml_reads_it_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
