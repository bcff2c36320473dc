/* The domain: what a valid name is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "sample.h"

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
    assert_int_equal(sample_check_name(name, arena, &out, &why), 0);
    assert_string_equal(out, expected);
}

static void assert_bad_name(const char *name, const char *reason)
{
    const char *out = NULL;
    const char *why = NULL;
    assert_int_equal(sample_check_name(name, arena, &out, &why), -EINVAL);
    assert_null(out);
    assert_string_equal(why, reason);
}

static void a_name_loses_the_space_around_it(void **state)
{
    (void)state;
    assert_name("Ada", "Ada");
    assert_name(" \t Ada  Lovelace \r\n", "Ada  Lovelace");
    assert_name("Лев Толстой", "Лев Толстой");
}

static void a_name_has_1_to_100_characters_without_controls(void **state)
{
    (void)state;
    char text[102];
    assert_bad_name("", "must not be empty");
    assert_bad_name(" \t\n", "must not be empty");
    assert_bad_name("a\nb", "must not contain control characters");
    memset(text, 'x', sizeof text - 1);
    text[101] = '\0';
    assert_bad_name(text, "must not be longer than 100 characters");
    text[100] = '\0';
    assert_name(text, text);
}

static void a_greeting_names_whom_it_greets(void **state)
{
    (void)state;
    assert_string_equal(sample_greet("Good morning", "Ada", arena), "Good morning, Ada!");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_name_loses_the_space_around_it, make, drop),
        cmocka_unit_test_setup_teardown(a_name_has_1_to_100_characters_without_controls, make, drop),
        cmocka_unit_test_setup_teardown(a_greeting_names_whom_it_greets, make, drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
