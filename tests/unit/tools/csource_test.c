/* tools/weft/csource.h: places in C that somebody else wrote. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "csource.h"

/* ---- Tables of handlers ------------------------------------------------------------------------------------------ */

/* Finds x_ops in a text: its declaration begins with `declaration`, and `behind` follows its last token. */
static csource_table assert_found(const char *text, const char *declaration, const char *behind)
{
    csource_table table = {0};
    assert_int_equal(csource_find_table(text, strlen(text), "x_ops", &table), 1);
    if (strncmp(text + table.declaration, declaration, strlen(declaration)) != 0)
        fail_msg("declared at: %s", text + table.declaration);
    if (strncmp(text + table.last, behind, strlen(behind)) != 0)
        fail_msg("last token before: %s", text + table.last);
    assert_int_equal(text[table.open], '{');
    assert_int_equal(text[table.close], '}');
    return table;
}

static void assert_not_found(const char *text)
{
    csource_table table;
    if (csource_find_table(text, strlen(text), "x_ops", &table) == 1)
        fail_msg("found in: %s", text);
}

static void a_table_is_found_with_its_places(void **state)
{
    (void)state;
    csource_table table =
        assert_found("int a;\n\nstatic const x_ops t = {\n    .A = a,\n};\n", "static const x_ops", "\n};");
    assert_true(table.comma);
    table = assert_found("const x_ops t = {.A = a, .B = b};", "const x_ops", "};");
    assert_false(table.comma);
    table = assert_found("x_ops const t = {};", "x_ops const", "};");
    assert_true(table.comma);
    table = assert_found("static const x_ops t = { /* none */ };", "static", " /* none */ }");
    assert_true(table.comma);
}

static void a_table_in_a_function_is_declared_where_the_function_is(void **state)
{
    (void)state;
    assert_found("int a;\n\n/* Registers. */\nint r(void)\n{\n    int b;\n    static const x_ops t = {.A = a};\n}\n",
                 "/* Registers. */\nint r", "};");
    assert_found("int a(void) { return 1; }\nint r(void)\n{\n    static const x_ops t = {.A = a};\n}\n", "int r(void)",
                 "};");
}

static void the_comment_before_belongs_to_the_table(void **state)
{
    (void)state;
    assert_found("int a;\n/* One. */\n\n/* Two,\n * long. */\n// three\nstatic const x_ops t = {.A = a};\n", "/* Two,",
                 "};");
    assert_found("/* A file. */\n\nstatic const x_ops t = {.A = a};\n", "static", "};");
    assert_found("int a; /* of a */\nstatic const x_ops t = {.A = a};\n", "static", "};");
    assert_found("int a; static const x_ops t = {.A = a};\n", "static", "};");
    assert_found("#include <a.h>\n\n  /* In. */\n  static const x_ops t = {.A = a};\n", "  /* In. */", "};");
}

static void nested_braces_belong_to_the_table(void **state)
{
    (void)state;
    const char *text = "static const x_ops t = {.A = a, .B = {1, {2}}, };";
    csource_table table = assert_found(text, "static", " };");
    assert_string_equal(text + table.close, "};");
    assert_true(table.comma);
}

static void comments_literals_and_directives_are_no_code(void **state)
{
    (void)state;
    assert_not_found("/* static const x_ops t = {.A = a}; */");
    assert_not_found("// static const x_ops t = {.A = a};\n");
    assert_not_found("const char *s = \"x_ops t = {.A = a};\";");
    assert_not_found("#define T static const x_ops t = { \\\n .A = a};\n");
    assert_found("#define OPEN {\n#define TWO { \\\n  {\nconst char *s = \"}\\\"}\"; char c = '}';\n"
                 "// } it's\n/* }} */\nstatic const x_ops t = {.A = a};\n",
                 "// } it's", "};");
}

static void what_is_no_table_is_not_found(void **state)
{
    (void)state;
    assert_not_found("");
    assert_not_found("extern const x_ops t;");
    assert_not_found("typedef struct x_ops {int a;} x_ops;");
    assert_not_found("static const x_ops *t = {0};");
    assert_not_found("static const x_ops t[] = {{0}};");
    assert_not_found("static const my_x_ops t = {0};");
    assert_not_found("static const x_ops_2 t = {0};");
    assert_not_found("x_ops t = make();");
    assert_not_found("x_ops f(void) { return (x_ops){0}; }");
}

static void a_text_whose_braces_do_not_match_has_no_table(void **state)
{
    (void)state;
    assert_not_found("static const x_ops t = {.A = a");
    assert_not_found("}\nstatic const x_ops t = {.A = a};");
    assert_not_found("#if A\nint f(void) {\n#else\nint f(int a) {\n#endif\n}\nstatic const x_ops t = {.A = a};");
}

static void two_tables_are_counted(void **state)
{
    (void)state;
    const char *text = "static const x_ops a = {.A = a};\nstatic const x_ops b = {.B = b};\n";
    csource_table table;
    assert_int_equal(csource_find_table(text, strlen(text), "x_ops", &table), 2);
    assert_int_equal(table.declaration, 0);
}

static void an_entry_is_one_that_a_member_begins(void **state)
{
    (void)state;
    const char *text = "static const x_ops t = {\n    .Get = put, /* .List = list */\n    . Put = (f)Get, g.Other,\n};";
    csource_table table = assert_found(text, "static", "\n}");
    assert_true(csource_has_entry(text, &table, "Get"));
    assert_true(csource_has_entry(text, &table, "Put"));
    assert_false(csource_has_entry(text, &table, "List"));
    assert_false(csource_has_entry(text, &table, "put"));
    assert_false(csource_has_entry(text, &table, "Ge"));
    assert_false(csource_has_entry(text, &table, "Other"));
    const char *member;
    size_t at = table.open;
    assert_int_equal(csource_next_entry(text, &table, &at, &member), 3);
    assert_memory_equal(member, "Get", 3);
    assert_int_equal(csource_next_entry(text, &table, &at, &member), 3);
    assert_memory_equal(member, "Put", 3);
    assert_int_equal(csource_next_entry(text, &table, &at, &member), 0);
}

static void a_word_is_one_of_the_program(void **state)
{
    (void)state;
    const char *text = "int get_user; /* get_order */ const char *s = \"get_item\";";
    assert_true(csource_has_word(text, strlen(text), "get_user"));
    assert_false(csource_has_word(text, strlen(text), "get"));
    assert_false(csource_has_word(text, strlen(text), "get_order"));
    assert_false(csource_has_word(text, strlen(text), "get_item"));
}

static void an_include_is_a_directive_and_no_comment(void **state)
{
    (void)state;
    static const char text[] = "/* Mine:\n#include \"a.h\"\n*/\n// #include \"a.h\"\nint i; #include \"a.h\"\n"
                               "const char *s = \"\\\n#include\";\n#include \"ba.h\"\n#include \"a.hh\"\n"
                               "#included \"a.h\"\n#define A \\\n#include \"a.h\"\n";
    char whole[sizeof text + 64];
    assert_true(csource_find_include(text, strlen(text), "a.h") == SIZE_MAX);
    assert_true(csource_find_include("#include \"a.h", strlen("#include \"a.h"), "a.h") == SIZE_MAX);
    assert_true(csource_find_include("#", 1, "a.h") == SIZE_MAX);
    snprintf(whole, sizeof whole, "%s  # include \t\"a.h\" // it\n#include \"a.h\"\n", text);
    assert_string_equal(whole + csource_find_include(whole, strlen(whole), "a.h"), " // it\n#include \"a.h\"\n");
}

/* ---- Calls ------------------------------------------------------------------------------------------------------- */

static void assert_call(const char *text, const char *result, const char *arguments, const char *behind)
{
    csource_call call;
    assert_int_equal(csource_find_call(text, strlen(text), "f", &call), 1);
    assert_int_equal(call.result_size, strlen(result));
    assert_memory_equal(text + call.result, result, strlen(result));
    assert_int_equal(call.arguments_size, strlen(arguments));
    assert_memory_equal(text + call.arguments, arguments, strlen(arguments));
    assert_string_equal(text + call.end, behind);
    assert_true(call.line == 0 || text[call.line - 1] == '\n');
}

static void a_call_whose_result_is_kept_is_found(void **state)
{
    (void)state;
    assert_call("a();\n    rc = f(server);\nb();", "rc", "server", "\nb();");
    assert_call("{ int rc = f(g(1), h); }", "rc", "g(1), h", " }");
    assert_call("if (x) {}\nresult /* of it */ = f ( ) ; ", "result", " ", " ");
}

static void a_call_behind_a_condition_begins_where_the_condition_does(void **state)
{
    (void)state;
    csource_call call;
    const char *text = "a();\n    if (rc == 0)\n        rc = f(server);\n";
    assert_call(text, "rc", "server", "\n");
    assert_int_equal(csource_find_call(text, strlen(text), "f", &call), 1);
    assert_int_equal(call.line, strlen("a();\n"));
}

static void another_form_of_call_is_not_found(void **state)
{
    (void)state;
    static const char *const texts[] = {"; f(a);",         "; return f(a);",   "; if ((rc = f(a)) < 0) return;",
                                        "; x->rc = f(a);", "; rc = f(a) + 1;", "; rc = f;",
                                        "; rc = f(a",      "; rc = 1 + f(a);", "/* ; rc = f(a); */"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        csource_call call;
        if (csource_find_call(texts[i], strlen(texts[i]), "f", &call) != 0)
            fail_msg("found in: %s", texts[i]);
    }
}

/* Behind it another statement would be no part of the loop, or part the `else` from its `if`. */
static void a_call_in_a_loop_or_before_an_else_is_not_found(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "; while (rc != 0) rc = f(a);", "; for (;;) rc = f(a);",         "; WHEN(x) rc = f(a);",
        "; while (if_(x)) rc = f(a);",  "; if (x) rc = f(a); else g();", "; if (x) rc = f(a); /* or */\nelse g();",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        csource_call call;
        if (csource_find_call(texts[i], strlen(texts[i]), "f", &call) != 0)
            fail_msg("found in: %s", texts[i]);
    }
    assert_call("; if ((a) && while_((b))) rc = f(s);", "rc", "s", "");
    assert_call("; while (x) { rc = f(s); }", "rc", "s", " }");
    assert_call("; if (x) { rc = f(s); } else g();", "rc", "s", " } else g();");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_is_found_with_its_places),
        cmocka_unit_test(a_table_in_a_function_is_declared_where_the_function_is),
        cmocka_unit_test(the_comment_before_belongs_to_the_table),
        cmocka_unit_test(nested_braces_belong_to_the_table),
        cmocka_unit_test(comments_literals_and_directives_are_no_code),
        cmocka_unit_test(what_is_no_table_is_not_found),
        cmocka_unit_test(a_text_whose_braces_do_not_match_has_no_table),
        cmocka_unit_test(two_tables_are_counted),
        cmocka_unit_test(an_entry_is_one_that_a_member_begins),
        cmocka_unit_test(a_word_is_one_of_the_program),
        cmocka_unit_test(an_include_is_a_directive_and_no_comment),
        cmocka_unit_test(a_call_whose_result_is_kept_is_found),
        cmocka_unit_test(a_call_behind_a_condition_begins_where_the_condition_does),
        cmocka_unit_test(another_form_of_call_is_not_found),
        cmocka_unit_test(a_call_in_a_loop_or_before_an_else_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
