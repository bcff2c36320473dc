/* tools/protoc-gen-weft/names.h. That protobuf-c makes the same names is what tests/golden/names shows, by compiling.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "names.h"

static pool names;

static int set_up(void **state)
{
    (void)state;
    pool_init(&names);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pool_fini(&names);
    return 0;
}

static void types_functions_and_macros_have_protobuf_c_names(void **state)
{
    (void)state;
    static const struct {
        const char *full, *type, *lower, *upper;
    } cases[] = {
        {"user.GetUserRequest", "User__GetUserRequest", "user__get_user_request", "USER__GET_USER_REQUEST"},
        {"a.URLShortenerV2", "A__URLShortenerV2", "a__urlshortener_v2", "A__URLSHORTENER_V2"},
        {"HTTPRule2D", "HTTPRule2D", "httprule2_d", "HTTPRULE2_D"},
        {"my_pkg.v1.fooBar", "MyPkg__V1__FooBar", "my_pkg__v1__foo_bar", "MY_PKG__V1__FOO_BAR"},
        {"A.B_c._d_", "A__BC__D", "a__b_c___d_", "A__B_C___D_"},
        {".Top", "Top", "top", "TOP"},
        {"", "", "", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_string_equal(name_type(&names, cases[i].full), cases[i].type);
        assert_string_equal(name_lower(&names, cases[i].full), cases[i].lower);
        assert_string_equal(name_upper(&names, cases[i].full), cases[i].upper);
    }
}

static void every_path_has_a_name_of_its_own(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"user.proto", "user_proto"},
        {"google/protobuf/any.proto", "google__protobuf__any_proto"},
        {"a_b.proto", "a_b_proto"},
        {"a-b.proto", "a___2db_proto"},
        {"a.b.proto", "a___2eb_proto"},
        {"a__b.proto", "a___5f___5fb_proto"},
        {"a/_b.proto", "a_____5fb_proto"},
        {"a_/b.proto", "a___5f__b_proto"},
        {"1.proto", "___31_proto"},
        {"v1/2.proto", "v1__2_proto"},
        {"\xc3\xbc.proto", "___c3___bc_proto"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(name_file(&names, cases[i][0]), cases[i][1]);
}

static void keywords_of_c_and_cpp_are_known(void **state)
{
    (void)state;
    static const char *const keywords[] = {
        "_Alignas",
        "_Alignof",
        "_Atomic",
        "_Bool",
        "_Complex",
        "_Generic",
        "_Imaginary",
        "_Noreturn",
        "_Static_assert",
        "_Thread_local",
        "alignas",
        "alignof",
        "and",
        "and_eq",
        "asm",
        "assert",
        "auto",
        "bitand",
        "bitor",
        "bool",
        "break",
        "case",
        "catch",
        "char",
        "char16_t",
        "char32_t",
        "char8_t",
        "class",
        "co_await",
        "co_return",
        "co_yield",
        "compl",
        "concept",
        "const",
        "const_cast",
        "consteval",
        "constexpr",
        "constinit",
        "continue",
        "decltype",
        "default",
        "delete",
        "do",
        "double",
        "dynamic_cast",
        "else",
        "enum",
        "errno",
        "explicit",
        "export",
        "extern",
        "false",
        "float",
        "for",
        "friend",
        "goto",
        "if",
        "inline",
        "int",
        "linux",
        "long",
        "mutable",
        "namespace",
        "new",
        "noexcept",
        "not",
        "not_eq",
        "NULL",
        "nullptr",
        "operator",
        "or",
        "or_eq",
        "private",
        "protected",
        "public",
        "register",
        "reinterpret_cast",
        "requires",
        "restrict",
        "return",
        "short",
        "signed",
        "sizeof",
        "static",
        "static_assert",
        "static_cast",
        "struct",
        "switch",
        "template",
        "this",
        "thread_local",
        "throw",
        "true",
        "try",
        "typedef",
        "typeid",
        "typename",
        "typeof",
        "union",
        "unix",
        "unsigned",
        "using",
        "virtual",
        "void",
        "volatile",
        "wchar_t",
        "while",
        "xor",
        "xor_eq",
    };
    for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++) {
        assert_true(name_is_keyword(keywords[i]));
        assert_string_equal(name_method(&names, keywords[i]), pool_printf(&names, "%s_", keywords[i]));
    }
    static const char *const others[] = {"", "GetUser", "Register", "Default", "a", "zzz", "ints"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_false(name_is_keyword(others[i]));
        assert_string_equal(name_method(&names, others[i]), others[i]);
    }
}

static void words_of_the_glue_are_no_method_names(void **state)
{
    (void)state;
    assert_string_equal(name_method(&names, "ops"), "ops_");
    assert_string_equal(name_method(&names, "service"), "service_");
    assert_string_equal(name_method(&names, "methods"), "methods_");
    assert_string_equal(name_method(&names, "register"), "register_");
}

static void macros_of_libc_are_no_method_names(void **state)
{
    (void)state;
    assert_string_equal(name_method(&names, "offsetof"), "offsetof_");
    assert_string_equal(name_method(&names, "EOF"), "EOF_");
    assert_string_equal(name_method(&names, "INT_MAX"), "INT_MAX_");
    assert_string_equal(name_method(&names, "LLONG_MIN"), "LLONG_MIN_");
    assert_string_equal(name_method(&names, "PING"), "PING");
    assert_string_equal(name_method(&names, "_MAX"), "_MAX");
    assert_string_equal(name_method(&names, "get_MAX"), "get_MAX");
}

static void fields_have_protobuf_c_names(void **state)
{
    (void)state;
    assert_string_equal(name_field(&names, "fooBar"), "foobar");
    assert_string_equal(name_field(&names, "Class"), "class_");
    assert_string_equal(name_field(&names, "restrict"), "restrict"); /* it overlooks this one */
    assert_true(name_is_bad_field("restrict"));
    assert_false(name_is_bad_field("foobar"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(types_functions_and_macros_have_protobuf_c_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_path_has_a_name_of_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keywords_of_c_and_cpp_are_known, set_up, tear_down),
        cmocka_unit_test_setup_teardown(words_of_the_glue_are_no_method_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(macros_of_libc_are_no_method_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(fields_have_protobuf_c_names, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
