#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "user.h"

static weft_arena *arena;

static int make(void **state)
{
    (void)state;
    return weft_arena_new(&arena, 64 << 10);
}

static int drop(void **state)
{
    (void)state;
    weft_arena_free(arena);
    return 0;
}

static void assert_name(const char *name, const char *expected)
{
    const char *out = NULL;
    const char *why = NULL;
    assert_int_equal(user_check_name(name, arena, &out, &why), 0);
    assert_string_equal(out, expected);
}

static void assert_bad_name(const char *name, const char *reason)
{
    const char *out = NULL;
    const char *why = NULL;
    assert_int_equal(user_check_name(name, arena, &out, &why), -EINVAL);
    assert_null(out);
    assert_string_equal(why, reason);
}

static void a_name_loses_the_space_around_it(void **state)
{
    (void)state;
    assert_name("Ada", "Ada");
    assert_name(" \t Ada  Lovelace \r\n", "Ada  Lovelace");
    assert_name("Лев Толстой", "Лев Толстой");
    assert_name("\u3000\u00a0Лев\u3000Толстой\u2003\u2029 ", "Лев\u3000Толстой");
    assert_name("\u1680\u2028\u202f\u205f\u2000\u200a\u2010\u200a", "\u2010");
    assert_name("O'Brien-Ünal, Jr.", "O'Brien-Ünal, Jr.");
}

static void a_name_has_1_to_200_characters_without_controls(void **state)
{
    (void)state;
    char text[2 * 201 + 1];
    assert_bad_name("", "must not be empty");
    assert_bad_name(" \t\n", "must not be empty");
    assert_bad_name("\u3000\u2003 \u2009", "must not be empty");
    assert_bad_name("a\nb", "must not contain control characters");
    assert_bad_name("a\x7f", "must not contain control characters");
    assert_bad_name("a\xc2\x85", "must not contain control characters");
    for (size_t i = 0; i < 201; i++)
        memcpy(text + 2 * i, "\xc3\xa9", 2);
    text[2 * 201] = '\0';
    assert_bad_name(text, "must not be longer than 200 characters");
    text[2 * 200] = '\0';
    assert_name(text, text);
}

static void a_name_that_the_arena_cannot_hold_is_an_error(void **state)
{
    (void)state;
    const char *out = NULL;
    const char *why = NULL;
    while (!weft_arena_failed(arena))
        (void)weft_arena_alloc(arena, 4096);
    assert_int_equal(user_check_name("Ada", arena, &out, &why), -ENOMEM);
    assert_null(user_email_key("ada@example.org", arena));
}

static void usual_addresses_are_taken(void **state)
{
    (void)state;
    const char *why = NULL;
    static const char *const good[] = {
        "ada@example.org",
        "a@b.co",
        "first.last+tag@sub.example.co.uk",
        "o'brien@example.org",
        "#!$%&'*+-/=?^_`{|}~@example.org",
        "1234567890@example.org",
        "x@1.example",
        "x@ex-ample.org",
        "x@xn--bcher-kva.example",
        "jörg@bücher.example",
        "用户@例子.广告",
        "0123456789012345678901234567890123456789012345678901234567890123@example.org",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (user_check_email(good[i], &why) != 0)
            fail_msg("%s: %s", good[i], why);
}

static void what_is_no_address_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "ada",
        "@",
        "ada@",
        "@example.org",
        "ada@example",
        "ada@localhost",
        "ada@example..org",
        "ada@.example.org",
        "ada@example.org.",
        "ada@-example.org",
        "ada@example-.org",
        "ada@exam_ple.org",
        "ada@exam ple.org",
        "ada@192.0.2.1",
        "ada@[192.0.2.1]",
        "ada lovelace@example.org",
        " ada@example.org",
        "ada@example.org ",
        ".ada@example.org",
        "ada.@example.org",
        "a..da@example.org",
        "ada@lovelace@example.org",
        "\"ada\"@example.org",
        "Ada <ada@example.org>",
        "ada@example.org\n",
        "a\x01@example.org",
        "ada,bob@example.org",
        "01234567890123456789012345678901234567890123456789012345678901234@example.org",
        "a@0123456789012345678901234567890123456789012345678901234567890123.org",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *why = NULL;
        if (user_check_email(bad[i], &why) != -EINVAL)
            fail_msg("\"%s\" was taken", bad[i]);
        assert_non_null(why);
    }
}

static void an_address_has_254_bytes_at_most(void **state)
{
    (void)state;
    const char *why = NULL;
    char text[USER_EMAIL_MAX_BYTES + 2] = "a@";
    for (size_t i = 2; i < USER_EMAIL_MAX_BYTES + 1; i++)
        text[i] = i % 60 == 50 ? '.' : 'x';
    assert_int_equal(user_check_email(text, &why), -EINVAL);
    assert_string_equal(why, "must not be longer than 254 bytes");
    text[USER_EMAIL_MAX_BYTES] = '\0';
    assert_int_equal(user_check_email(text, &why), 0);
}

static void addresses_that_differ_in_ascii_case_have_one_key(void **state)
{
    (void)state;
    assert_string_equal(user_email_key("Ada.Lovelace@Example.ORG", arena), "ada.lovelace@example.org");
    assert_string_equal(user_email_key("JÖRG@example.org", arena), "jÖrg@example.org");
}

static void a_password_has_8_to_1024_bytes(void **state)
{
    (void)state;
    char text[USER_PASSWORD_MAX_BYTES + 2];
    const char *why = NULL;
    memset(text, 'x', sizeof text);
    text[USER_PASSWORD_MAX_BYTES + 1] = '\0';
    assert_int_equal(user_check_password(text, &why), -EINVAL);
    assert_string_equal(why, "must not be longer than 1024 bytes");
    text[USER_PASSWORD_MAX_BYTES] = '\0';
    assert_int_equal(user_check_password(text, &why), 0);
    text[USER_PASSWORD_MIN_BYTES] = '\0';
    assert_int_equal(user_check_password(text, &why), 0);
    text[USER_PASSWORD_MIN_BYTES - 1] = '\0';
    assert_int_equal(user_check_password(text, &why), -EINVAL);
    assert_string_equal(why, "must not be shorter than 8 bytes");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)
    const struct CMUnitTest tests[] = {
        TEST(a_name_loses_the_space_around_it),
        TEST(a_name_has_1_to_200_characters_without_controls),
        TEST(a_name_that_the_arena_cannot_hold_is_an_error),
        TEST(usual_addresses_are_taken),
        TEST(what_is_no_address_is_refused),
        TEST(an_address_has_254_bytes_at_most),
        TEST(addresses_that_differ_in_ascii_case_have_one_key),
        TEST(a_password_has_8_to_1024_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
