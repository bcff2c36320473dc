/* What may be sent as metadata: every rule of weft_metadata_check, and the look-up. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

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
    static const char *const keys[] = {
        ":path", "grpc-status", "grpc-", "te", "content-type", "user-agent", "host", "connection", "transfer-encoding"};
    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_int_equal(check(keys[i], "v"), -EPERM);
    assert_int_equal(check("grp", "v"), 0);
    assert_int_equal(check("tea", "v"), 0);
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
        cmocka_unit_test(only_binary_keys_take_any_bytes),
        cmocka_unit_test(find_gives_the_first_of_repeated_keys_or_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
