/* base/json_read.h */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json_read.h"
#include "support/alloc_fault.h"

static weft_arena *arena;
static weft__buf errors;
static char block[512];

static int setup(void **state)
{
    (void)state;
    weft__buf_init_block(&errors, sizeof block - 1, block, sizeof block);
    return weft_arena_new(&arena, 0);
}

static int teardown(void **state)
{
    (void)state;
    weft_arena_free(arena);
    weft__buf_fini(&errors);
    return 0;
}

static const weft__json_node *read_good(const char *text)
{
    weft__json_node *root = NULL;
    assert_int_equal(weft__json_read(&root, arena, weft_sv_from(text), &errors), 0);
    assert_int_equal(errors.len, 0);
    return root;
}

static void assert_refused(weft_sv text, const char *expected)
{
    weft__json_node *root = NULL;
    weft__buf_reset(&errors);
    assert_int_equal(weft__json_read(&root, arena, text, &errors), -EINVAL);
    assert_null(root);
    assert_string_equal(errors.data, expected);
    weft__buf_reset(&errors);
}

static void values_of_all_kinds_know_where_they_stood(void **state)
{
    (void)state;
    const weft__json_node *root =
        read_good(" {\"a\": [true,false , null],\r\n\t\"b\":{ } , \"c\" : \"x\", \"d\":-2.5e1}\n");
    assert_int_equal(root->kind, WEFT__JSON_OBJECT);
    assert_int_equal(root->line, 1);
    assert_int_equal(root->column, 2);
    const weft__json_node *a = root->first;
    assert_true(weft_sv_is(a->key, "a"));
    assert_int_equal(a->kind, WEFT__JSON_LIST);
    assert_int_equal(a->column, 8);
    assert_int_equal(a->first->kind, WEFT__JSON_BOOL);
    assert_true(a->first->number > 0);
    assert_false(a->first->next->number > 0);
    assert_int_equal(a->first->next->next->kind, WEFT__JSON_NULL);
    assert_null(a->first->next->next->next);
    const weft__json_node *b = a->next;
    assert_int_equal(b->kind, WEFT__JSON_OBJECT);
    assert_null(b->first);
    assert_int_equal(b->line, 2);
    assert_int_equal(b->column, 6);
    assert_true(weft_sv_is(b->next->text, "x"));
    const weft__json_node *d = b->next->next;
    assert_int_equal(d->kind, WEFT__JSON_NUMBER);
    assert_true(weft_sv_is(d->text, "-2.5e1"));
    assert_true(d->number > -25.1 && d->number < -24.9);
}

static void numbers_come_out_as_they_were_written(void **state)
{
    (void)state;
    static const char *const same[] = {"0",     "-0",         "7",
                                       "1.6",   "0.1",        "123456789012345",
                                       "1e3",   "2E+2",       "25e-2",
                                       "0.0",   "4294967295", "0e9",
                                       "1e400", "1e-400",     "123456789012345678901234567890"};
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        double wanted = strtod(same[i], NULL);
        double found = read_good(same[i])->number;
        assert_true(found >= wanted * (1 - 1e-15) && found <= wanted * (1 + 1e-15));
    }
    static const char *const wrong[] = {"01", "1.", "-", "1.e3", "1e", "1e+", "-01", "1.2.3"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        weft__json_node *root;
        assert_int_equal(weft__json_read(&root, arena, weft_sv_from(wrong[i]), &errors), -EINVAL);
    }
}

static void a_string_loses_its_escapes(void **state)
{
    (void)state;
    const weft__json_node *root =
        read_good("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20AC\\ud83d\\ude00 \xc3\xa9\"");
    assert_true(weft_sv_is(root->text, "\"\\/\b\f\n\r\tA\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 \xc3\xa9"));
    assert_int_equal(read_good("\"\"")->text.len, 0);
}

static void each_mistake_is_told_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *expected;
    } wrong[] = {
        {"", "1:1: expected a value, found the end\n"},
        {"\n  ", "2:3: expected a value, found the end\n"},
        {"{} {}", "1:4: expected the end\n"},
        {"[1,\n 2", "2:3: expected ',' or ']'\n"},
        {"[1,]", "1:4: expected a value\n"},
        {"{\"a\" 1}", "1:6: expected ':'\n"},
        {"{\"a\":1 \"b\":2}", "1:8: expected ',' or '}'\n"},
        {"{a:1}", "1:2: expected a key in double quotes\n"},
        {"{\"a\":1,}", "1:8: expected a key in double quotes\n"},
        {"{\"a\":1,\n\"b\":2,\"a\":3}", "2:7: this key is there already, with the value at 1:6\n"},
        {"[tru]", "1:2: expected a value\n"},
        {"\"abc", "1:1: this string has no end\n"},
        {"\"abc\\\"", "1:1: this string has no end\n"},
        {"\"a\nb\"", "1:3: a control character in a string: write it as an escape, such as \\n\n"},
        {"\"\\x\"", "1:2: not an escape of JSON\n"},
        {"\"\\u12g4\"", "1:2: not an escape of JSON\n"},
        {"\"\\u1\"", "1:2: not an escape of JSON\n"},
        {"\"\\ud800\"", "1:2: not an escape of JSON\n"},
        {"\"\\ud800\\n\"", "1:2: not an escape of JSON\n"},
        {"\"\\ud800\\u0041\"", "1:2: not an escape of JSON\n"},
        {"\"\\udc00\"", "1:2: not an escape of JSON\n"},
        {"\"\\u0000\"", "1:2: a NUL character in a string\n"},
        {"\"\xff\"", "1:2: not UTF-8\n"},
        {"{\"\xff\":1}", "1:3: not UTF-8\n"},
        {"01", "1:1: not a number of JSON\n"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_refused(weft_sv_from(wrong[i].text), wrong[i].expected);
    assert_refused(weft_sv_of(NULL, 0), "1:1: expected a value, found the end\n");
    assert_refused(weft_sv_of("1\0", 2), "1:2: expected the end\n");
}

static void depth_and_members_have_limits(void **state)
{
    (void)state;
    char text[20000];
    for (int depth = WEFT__JSON_MAX_DEPTH; depth <= WEFT__JSON_MAX_DEPTH + 1; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        text[2 * depth] = '\0';
        if (depth == WEFT__JSON_MAX_DEPTH)
            (void)read_good(text);
        else
            assert_refused(weft_sv_from(text), "1:33: nested too deep\n");
    }
    for (int count = WEFT__JSON_MAX_MEMBERS; count <= WEFT__JSON_MAX_MEMBERS + 1; count++) {
        size_t len = 0;
        for (int i = 0; i < count; i++)
            len += (size_t)snprintf(text + len, sizeof text - len, "%c\"%d\":0", i > 0 ? ',' : '{', i);
        snprintf(text + len, sizeof text - len, "}");
        if (count == WEFT__JSON_MAX_MEMBERS)
            (void)read_good(text);
        else
            assert_refused(weft_sv_from(text), "1:7892: too many keys in one object\n");
    }
}

static void a_line_of_the_errors_is_there_whole_or_not_at_all(void **state)
{
    (void)state;
    char small[24];
    weft__buf little;
    weft__buf_init_block(&little, sizeof small - 1, small, sizeof small);
    weft__json_report(&little, 1, 2, "", "%s", "short");
    weft__json_report(&little, 3, 4, "path", "%s", "longer"); /* fits up to the path */
    assert_string_equal(little.data, "1:2: short\n");
    weft__json_report(&little, 5, 6, "", "x");
    assert_string_equal(little.data, "1:2: short\n");
    weft__buf_fini(&little);
}

static void values_are_shown_cut_and_escaped(void **state)
{
    (void)state;
    const weft__json_node *node = read_good("[null, true, false, 1.50, \"a\\nb\", [], {}]")->first;
    static const char *const shown[] = {"null", "true", "false", "1.50", "\"a\\nb\"", "a list", "an object"};
    for (size_t i = 0; node != NULL; node = node->next, i++) {
        weft__buf_reset(&errors);
        weft__json_show(&errors, node);
        assert_string_equal(errors.data, shown[i]);
    }
    weft__buf_reset(&errors);
    char text[128];
    memset(text, 'x', sizeof text);
    weft__json_node longer = {.kind = WEFT__JSON_STRING, .text = weft_sv_of(text, sizeof text)};
    weft__json_show(&errors, &longer);
    assert_int_equal(errors.len, 42);
}

static int read_big(void *context)
{
    weft_arena *own;
    weft__json_node *root;
    int rc = weft_arena_new(&own, 0);
    if (rc < 0)
        return rc;
    rc = weft__json_read(&root, own, weft_sv_from(context), &errors);
    weft_arena_free(own);
    return rc;
}

static void memory_that_fails_is_no_mistake_of_the_text(void **state)
{
    (void)state;
    char text[4096] = "[\"";
    memset(text + 2, 'x', 2000);
    snprintf(text + 2002, sizeof text - 2002, "\",{\"a\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]}]");
    assert_true(weft_test_oom_sweep(read_big, text) >= 2);
    assert_int_equal(errors.len, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(values_of_all_kinds_know_where_they_stood),
        TEST(numbers_come_out_as_they_were_written),
        TEST(a_string_loses_its_escapes),
        TEST(each_mistake_is_told_with_its_place),
        TEST(depth_and_members_have_limits),
        TEST(a_line_of_the_errors_is_there_whole_or_not_at_all),
        TEST(values_are_shown_cut_and_escaped),
        TEST(memory_that_fails_is_no_mistake_of_the_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
