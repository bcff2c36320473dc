/* weft/status.h, weft/version.h and weft/sv.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <weft/status.h>
#include <weft/sv.h>
#include <weft/version.h>

static void codes_have_the_names_and_numbers_of_grpc(void **state)
{
    (void)state;
    static const char *const names[] = {
        "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
        "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
        "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
        "DATA_LOSS", "UNAUTHENTICATED"};

    for (int i = 0; i < 17; i++)
        assert_string_equal(weft_code_name((weft_code)i), names[i]);
}

static void numbers_that_are_no_code_are_unknown(void **state)
{
    (void)state;
    static const int numbers[] = {-1, 17, 99, 1 << 30};

    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        assert_string_equal(weft_code_name((weft_code)numbers[i]), "UNKNOWN");
}

static void the_library_is_of_the_version_of_its_header(void **state)
{
    (void)state;
    char version[32];

    snprintf(version, sizeof version, "%d.%d.%d", WEFT_VERSION_MAJOR, WEFT_VERSION_MINOR, WEFT_VERSION_PATCH);
    assert_string_equal(weft_version(), version);
    assert_string_equal(weft_version(), WEFT_VERSION_STRING);
}

static void views_are_equal_when_their_bytes_are(void **state)
{
    (void)state;
    assert_true(weft_sv_equal(weft_sv_of("ab", 2), weft_sv_from("ab")));
    assert_false(weft_sv_equal(weft_sv_of("a\0", 2), weft_sv_from("a")));
    assert_false(weft_sv_is(weft_sv_from("ab"), "ac"));
    assert_true(weft_sv_is(weft_sv_from(""), ""));
    assert_null(weft_sv_from(NULL).data);
    assert_non_null(weft_sv_from("").data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_have_the_names_and_numbers_of_grpc),
        cmocka_unit_test(numbers_that_are_no_code_are_unknown),
        cmocka_unit_test(the_library_is_of_the_version_of_its_header),
        cmocka_unit_test(views_are_equal_when_their_bytes_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
