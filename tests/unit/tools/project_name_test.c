/* tools/weft/project_name.h: what a project may be called. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "project_name.h"

static pool p;

static int set_up(void **state)
{
    (void)state;
    pool_init(&p);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pool_fini(&p);
    return 0;
}

static void assert_refused(const char *name, const char *reason)
{
    project_name out = {.given = "untouched"};
    const char *why = NULL;
    if (project_name_parse(&p, name, &out, &why))
        fail_msg("%s was taken", name);
    if (strstr(why, reason) == NULL)
        fail_msg("%s: \"%s\" does not say \"%s\"", name, why, reason);
    assert_string_equal(out.given, "untouched");
}

static void a_name_has_a_form_for_each_place(void **state)
{
    (void)state;
    static const project_name cases[] = {
        {"greeter", "greeter", "Greeter", "GREETER", "greeter"},
        {"my-greeter", "my_greeter", "MyGreeter", "MY_GREETER", "my-greeter"},
        {"my_greeter-2", "my_greeter_2", "MyGreeter2", "MY_GREETER_2", "my-greeter-2"},
        {"x", "x", "X", "X", "x"},
        {"a1b2", "a1b2", "A1b2", "A1B2", "a1b2"},
        {"user", "user", "User", "USER", "user"},
        {"order", "order", "Order", "ORDER", "order"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        project_name name;
        const char *why = NULL;
        if (!project_name_parse(&p, cases[i].given, &name, &why))
            fail_msg("%s %s", cases[i].given, why);
        assert_string_equal(name.given, cases[i].given);
        assert_string_equal(name.c, cases[i].c);
        assert_string_equal(name.camel, cases[i].camel);
        assert_string_equal(name.upper, cases[i].upper);
        assert_string_equal(name.dashed, cases[i].dashed);
    }
}

static void letters_that_are_none_of_a_name_are_refused_with_the_reason(void **state)
{
    (void)state;
    assert_refused("", "is empty");
    assert_refused("Greeter", "upper-case");
    assert_refused("greetEr", "upper-case");
    assert_refused("1st", "does not begin with a letter");
    assert_refused("_greeter", "does not begin with a letter");
    assert_refused("-greeter", "does not begin with a letter");
    assert_refused("--help", "does not begin with a letter");
    assert_refused("gr eeter", "has a ' '");
    assert_refused("greeter!", "has a '!'");
    assert_refused("$(id)", "has a '$'");
    assert_refused("gr\neeter", "control character");
    assert_refused("gr\x7f", "control character");
    assert_refused("gr\xc3\xbc\xc3\x9f", "not ASCII");
    assert_refused("\xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82", "not ASCII");
    assert_refused("\xff", "not ASCII");
}

static void paths_are_refused(void **state)
{
    (void)state;
    static const char *const paths[] = {".", "..", "/", "a/b", "../greeter", "/tmp/greeter", "greeter/", "./greeter"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        assert_refused(paths[i], "is a path");
}

static void a_separator_stands_alone_between_others(void **state)
{
    (void)state;
    assert_refused("a__b", "that no letter or digit follows");
    assert_refused("a-_b", "that no letter or digit follows");
    assert_refused("a_", "that no letter or digit follows");
    assert_refused("a-", "that no letter or digit follows");
}

static void words_of_c_and_cpp_and_names_of_others_are_refused(void **state)
{
    (void)state;
    static const char *const words[] = {"int", "struct", "class", "new", "nullptr", "restrict", "linux", "co-await"};
    static const char *const taken[] = {"main", "test",   "tests",     "weft",      "google",
                                        "grpc", "weft_x", "weft-core", "protobuf-c"};
    static const char *const headers[] = {"string", "stdio", "time", "errno", "math", "signal", "sqlite3", "pthread"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        assert_refused(words[i], "word of C or C++");
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
        assert_refused(taken[i], "is taken");
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        assert_refused(headers[i], strcmp(headers[i], "errno") == 0 ? "word of C" : "is a header of the system");
}

static void a_name_has_40_letters_at_most(void **state)
{
    (void)state;
    project_name name;
    const char *why = NULL;
    char letters[42];
    memset(letters, 'x', 41);
    letters[41] = '\0';
    assert_refused(letters, "too long");
    letters[40] = '\0';
    assert_true(project_name_parse(&p, letters, &name, &why));
}

/* What stands in a list that is searched by halves and out of order is not found. */
static void every_listed_name_is_found(void **state)
{
    (void)state;
    static const char *const some[] = {"aio",     "wordexp",  "link",     "limits", "langinfo", "stdnoreturn", "string",
                                       "strings", "monetary", "byteswap", "dlfcn",  "getopt",   "poll",        "wait"};
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++)
        assert_refused(some[i], "is a header of the system");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_name_has_a_form_for_each_place),
        TEST(letters_that_are_none_of_a_name_are_refused_with_the_reason),
        TEST(paths_are_refused),
        TEST(a_separator_stands_alone_between_others),
        TEST(words_of_c_and_cpp_and_names_of_others_are_refused),
        TEST(a_name_has_40_letters_at_most),
        TEST(every_listed_name_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
