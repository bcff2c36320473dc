/* What may be sent as metadata: every rule of weft_metadata_check, and the look-up. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <weft/metadata.h>

static int check(const char *key, const char *value)
{
    return weft_metadata_check(weft_sv_from(key), weft_sv_from(value));
}

static void lower_case_keys_with_printable_values_pass(void **state)
{
    (void)state;
    assert_int_equal(check("x", ""), 0);
    assert_int_equal(check("x-request-id", "a b~!"), 0);
    assert_int_equal(check("a.b_c-0", "1"), 0);
    assert_int_equal(check("authorization", "Bearer t"), 0);
}

static void keys_with_other_bytes_are_illegal(void **state)
{
    static const char *const keys[] = {"", "Upper", "sp ace", "caf\xc3\xa9", "a/b", "a:b", "tab\t"};
    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_int_equal(check(keys[i], "v"), -EINVAL);
    assert_int_equal(weft_metadata_check(weft_sv_of("a\0b", 3), weft_sv_from("v")), -EINVAL);
    assert_int_equal(weft_metadata_check((weft_sv){NULL, 0}, weft_sv_from("v")), -EINVAL);
}

static void keys_of_grpc_and_http2_are_reserved(void **state)
{
    static const char *const keys[] = {":path",
                                       "grpc-status",
                                       "grpc-",
                                       "grpc-trace-bin",
                                       "te",
                                       "content-type",
                                       "content-length",
                                       "user-agent",
                                       "host",
                                       "connection",
                                       "keep-alive",
                                       "upgrade",
                                       "http2-settings",
                                       "transfer-encoding",
                                       "proxy-connection"};
    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_int_equal(check(keys[i], "v"), -EPERM);
    assert_int_equal(check("grp", "v"), 0);
    assert_int_equal(check("tea", "v"), 0);
    assert_int_equal(check("grpc-retry-pushback-ms", "100"), 0); /* a handler's to say */
}

static void every_byte_of_a_key_is_looked_at(void **state)
{
    static const char legal[] = "abcdefghijklmnopqrstuvwxyz0123456789-_.";
    (void)state;
    for (int c = 0; c < 256; c++) {
        const char key[] = {'x', (char)c, 'x'};
        bool allowed = c != 0 && strchr(legal, c) != NULL;
        assert_int_equal(weft_metadata_check(weft_sv_of(key, 3), weft_sv_from("v")), allowed ? 0 : -EINVAL);
        assert_int_equal(weft_metadata_check(weft_sv_of(key, 2), weft_sv_from("v")), allowed ? 0 : -EINVAL);
    }
}

static void every_byte_of_a_text_is_looked_at(void **state)
{
    char value[64];
    (void)state;
    for (int c = 0; c < 256; c++) {
        int expected = c >= 0x20 && c <= 0x7e ? 0 : -EINVAL;
        memset(value, 'v', sizeof value);
        for (size_t i = 1; i < sizeof value - 1; i++) {
            value[i] = (char)c;
            assert_int_equal(weft_metadata_check(weft_sv_from("x"), weft_sv_of(value, sizeof value)), expected);
            assert_int_equal(weft_metadata_check(weft_sv_from("x-bin"), weft_sv_of(value, sizeof value)), 0);
            value[i] = 'v';
        }
    }
}

static void a_text_neither_begins_nor_ends_with_a_space(void **state)
{
    static const char *const values[] = {" ", " v", "v ", " v ", "  "};
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        assert_int_equal(check("x", values[i]), -EINVAL);
        assert_int_equal(check("x-bin", values[i]), 0);
    }
    assert_int_equal(check("x", "v  v"), 0);
}

static void an_empty_value_and_an_absent_one_are_the_same(void **state)
{
    (void)state;
    assert_int_equal(weft_metadata_check(weft_sv_from("x"), (weft_sv){NULL, 0}), 0);
    assert_int_equal(weft_metadata_check(weft_sv_from("x-bin"), (weft_sv){NULL, 0}), 0);
    assert_int_equal(check("x-bin", ""), 0);
}

static void a_binary_key_is_more_than_its_suffix(void **state)
{
    (void)state;
    assert_int_equal(check("-bin", ""), -EINVAL);
    assert_int_equal(check("a-bin", ""), 0);
    assert_int_equal(check("bin", ""), 0);
}

static void an_illegal_value_of_a_reserved_key_is_illegal(void **state)
{
    (void)state;
    assert_int_equal(check("te", "\n"), -EINVAL);
    assert_int_equal(check("grpc-Status", "0"), -EINVAL);
}

static void only_binary_keys_take_any_bytes(void **state)
{
    static const char bytes[] = {0, '\n', (char)0xff};
    (void)state;
    assert_int_equal(weft_metadata_check(weft_sv_from("x-bin"), weft_sv_of(bytes, sizeof bytes)), 0);
    assert_int_equal(weft_metadata_check(weft_sv_from("x-binary"), weft_sv_of(bytes, sizeof bytes)), -EINVAL);
    assert_int_equal(check("x", "line\n"), -EINVAL);
    assert_int_equal(check("x", "\x7f"), -EINVAL);
    assert_int_equal(check("x", "caf\xc3\xa9"), -EINVAL);
    assert_int_equal(weft_metadata_check(weft_sv_from("x-bin"), (weft_sv){NULL, 4}), -EINVAL);
}

static void find_gives_the_first_of_repeated_keys_or_nothing(void **state)
{
    const weft_metadatum items[] = {{weft_sv_from("a"), weft_sv_from("1")},
                                    {weft_sv_from("b"), weft_sv_from("2")},
                                    {weft_sv_from("b"), weft_sv_from("3")}};
    const weft_metadata metadata = {items, 3};
    (void)state;
    assert_true(weft_sv_is(weft_metadata_find(&metadata, "b"), "2"));
    assert_null(weft_metadata_find(&metadata, "c").data);
    assert_null(weft_metadata_find(&(weft_metadata){NULL, 0}, "a").data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lower_case_keys_with_printable_values_pass),
        cmocka_unit_test(keys_with_other_bytes_are_illegal),
        cmocka_unit_test(keys_of_grpc_and_http2_are_reserved),
        cmocka_unit_test(every_byte_of_a_key_is_looked_at),
        cmocka_unit_test(every_byte_of_a_text_is_looked_at),
        cmocka_unit_test(a_text_neither_begins_nor_ends_with_a_space),
        cmocka_unit_test(an_empty_value_and_an_absent_one_are_the_same),
        cmocka_unit_test(a_binary_key_is_more_than_its_suffix),
        cmocka_unit_test(an_illegal_value_of_a_reserved_key_is_illegal),
        cmocka_unit_test(only_binary_keys_take_any_bytes),
        cmocka_unit_test(find_gives_the_first_of_repeated_keys_or_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
