#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <errno.h>

#include "config_table.h"

static weft_config *config;

static int make(void **state)
{
    (void)state;
    weft_config_options options = table_options();
    return weft_config_new(&config, &options);
}

static int drop(void **state)
{
    (void)state;
    weft_config_free(config);
    config = NULL;
    return 0;
}

static int read_text(const char *text)
{
    return weft_config_read_text(config, "f", weft_sv_from(text));
}

/* The text is wrong in the way that `expected` says, and in no other. */
static void assert_refused(const char *text, const char *expected)
{
    weft_config *fresh;
    weft_config_options options = table_options();
    assert_int_equal(weft_config_new(&fresh, &options), 0);
    assert_int_equal(weft_config_read_text(fresh, "f", weft_sv_from(text)), -EINVAL);
    assert_string_equal(errors, expected);
    weft_config_free(fresh);
}

static void assert_all_set(void)
{
    size_t count = 0;
    const char *const *listen = weft_config_list(config, "listen", &count);
    assert_int_equal(count, 2);
    assert_string_equal(listen[0], "127.0.0.1:1");
    assert_string_equal(listen[1], "[::1]:2");
    assert_string_equal(weft_config_string(config, "database.path"), "/x.db");
    assert_int_equal(weft_config_int(config, "database.readers"), 2);
    assert_int_equal(weft_config_duration_ms(config, "database.busy_timeout"), 250);
    assert_int_equal(weft_config_size_bytes(config, "server.max_message"), 4096);
    assert_true(weft_config_bool(config, "server.reflection"));
}

static void yaml_sets_every_type(void **state)
{
    (void)state;
    assert_int_equal(read_text("# a comment\n"
                               "listen:\n"
                               "  - 127.0.0.1:1\n"
                               "  - '[::1]:2'\n"
                               "database:\n"
                               "  path: /x.db\n"
                               "  readers: 2\n"
                               "  busy_timeout: 250ms\n"
                               "server.max_message: 4096\n"
                               "server.reflection: true\n"),
                     0);
    assert_all_set();
    assert_string_equal(weft_config_source(config, "listen"), "f:2");
    assert_string_equal(weft_config_source(config, "database.path"), "f:6");
}

static void json_sets_every_type(void **state)
{
    (void)state;
    assert_int_equal(read_text("{\n\t\"listen\": [\"127.0.0.1:1\", \"[::1]:2\"],\n"
                               "\t\"database\": {\"path\":\"\\/x.db\", \"readers\":2, \"busy_timeout\":\"250ms\"},\n"
                               "\t\"server\": {\"max_message\": \"4KiB\", \"reflection\": true}\n}\n"),
                     0);
    assert_all_set();
}

static void an_empty_file_and_an_empty_section_set_nothing(void **state)
{
    (void)state;
    assert_int_equal(weft_config_read_text(config, "f", weft_sv_of(NULL, 0)), 0);
    assert_int_equal(read_text("# nothing\n"), 0);
    assert_int_equal(read_text("---\n"), 0);
    assert_int_equal(read_text("database:\n  # path: x\n"), 0);
    assert_string_equal(weft_config_source(config, "database.path"), "default");
}

static void one_string_is_a_list_of_one(void **state)
{
    (void)state;
    size_t count = 0;
    assert_int_equal(read_text("listen: a:1,b:2"), 0);
    assert_string_equal(weft_config_list(config, "listen", &count)[0], "a:1,b:2");
    assert_int_equal(count, 1);
    assert_int_equal(read_text("listen: []"), 0);
    (void)weft_config_list(config, "listen", &count);
    assert_int_equal(count, 0);
}

static void a_long_list_keeps_its_order(void **state)
{
    (void)state;
    char text[1024] = "listen: [";
    size_t count = 0;
    for (int i = 0; i < 100; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "a%d,", i);
    snprintf(text + strlen(text), sizeof text - strlen(text), "]");
    assert_int_equal(read_text(text), 0);
    const char *const *listen = weft_config_list(config, "listen", &count);
    assert_int_equal(count, 100);
    assert_string_equal(listen[0], "a0");
    assert_string_equal(listen[63], "a63");
    assert_string_equal(listen[99], "a99");
}

static void every_mistake_is_reported_with_its_line(void **state)
{
    (void)state;
    assert_refused("database:\n"
                   "  path: [a]\n"
                   "  readers: many\n"
                   "  busytimeout: 1s\n"
                   "servr:\n"
                   "  max_message: 1\n"
                   "log:\n"
                   "  level: loud\n"
                   "qqqqqqqqq: 1\n",
                   "f:2: database.path: expected a string, found a list\n"
                   "f:3: database.readers: expected an integer, found \"many\"\n"
                   "f:4: unknown key \"database.busytimeout\"; did you mean \"database.busy_timeout\"?\n"
                   "f:5: unknown key \"servr\"; did you mean \"server\"?\n"
                   "f:8: log.level: expected one of debug|info|warn|error|off, found \"loud\"\n"
                   "f:9: unknown key \"qqqqqqqqq\"\n");
}

static void what_is_right_beside_a_mistake_is_taken(void **state)
{
    (void)state;
    assert_int_equal(read_text("nonsense: {a: [1, {b: 2}]}\ndatabase.readers: 9\n"), -EINVAL);
    assert_int_equal(weft_config_int(config, "database.readers"), 9);
}

static void wrong_types_are_refused(void **state)
{
    (void)state;
    assert_refused("database.path: 5", "f:1: database.path: expected a string, found a number: put it in quotes\n");
    assert_refused("database.path: true",
                   "f:1: database.path: expected a string, found a truth value: put it in quotes\n");
    assert_refused("database.path:", "f:1: database.path: expected a string, found nothing\n");
    assert_refused("database.path: null", "f:1: database.path: expected a string, found nothing\n");
    assert_refused("database.path: {a: b}", "f:1: database.path: expected a string, found a mapping\n");
    assert_refused("database.path: \"a\\0b\"", "f:1: database.path: contains a NUL character\n");
    assert_refused("database.readers: \"5\"", "f:1: database.readers: expected an integer, found a string\n");
    assert_refused("database.readers: 1.5", "f:1: database.readers: expected an integer, found \"1.5\"\n");
    assert_refused("database.readers: 0", "f:1: database.readers: must lie between 1 and 64 connections\n");
    assert_refused("server.reflection: \"true\"", "f:1: server.reflection: expected true or false, found a string\n");
    assert_refused("server.reflection: yes", "f:1: server.reflection: expected true or false, found \"yes\"\n");
    assert_refused("database.busy_timeout: 5",
                   "f:1: database.busy_timeout: expected a duration such as 250ms or 1h30m, found \"5\"\n");
    assert_refused("listen: [a, 1]", "f:1: listen: expected a string, found a number: put it in quotes\n");
    assert_refused("listen: [[a]]", "f:1: listen: expected a list of strings, found a list or mapping in it\n");
    assert_refused("listen: {a: b}", "f:1: listen: expected a list of strings, found a mapping\n");
    assert_refused("database: 5", "f:1: database: expected a mapping\n");
    assert_refused("- a\n", "f:1: expected keys and values\n");
    assert_refused("just text", "f:1: expected keys and values\n");
}

static void duplicate_keys_are_refused(void **state)
{
    (void)state;
    assert_refused("database:\n  path: a\n  path: b\n", "f:3: duplicate key \"database.path\", first on line 2\n");
    assert_refused("database: {path: a}\ndatabase.path: b\n",
                   "f:2: duplicate key \"database.path\", first on line 1\n");
    assert_refused("database: {path: a}\ndatabase: {readers: 1}\n",
                   "f:2: duplicate key \"database\", first on line 1\n");
}

static void two_files_may_set_the_same_key(void **state)
{
    (void)state;
    assert_int_equal(read_text("database: {path: a}"), 0);
    assert_int_equal(read_text("database: {path: b}"), 0);
    assert_string_equal(weft_config_string(config, "database.path"), "b");
}

static void anchors_aliases_and_tags_are_refused(void **state)
{
    (void)state;
    assert_refused("database: &d {path: a}", "f:1: anchors are not allowed here\n");
    assert_refused("database.path: &d a", "f:1: anchors are not allowed here\n");
    assert_refused("database.path: *d", "f:1: aliases are not allowed here\n");
    assert_refused("database: *d", "f:1: aliases are not allowed here\n");
    assert_refused("listen: [*d]", "f:1: aliases are not allowed here\n");
    assert_refused("*d : x", "f:1: aliases are not allowed here\n");
    assert_refused("database.path: !!str 5",
                   "f:1: tags are not allowed here\n"
                   "f:1: database.path: expected a string, found a number: put it in quotes\n");
    assert_refused("a: &a [x]\nb: &b [*a, *a]\n", "f:1: unknown key \"a\"\nf:1: anchors are not allowed here\n"
                                                  "f:2: unknown key \"b\"\nf:2: anchors are not allowed here\n"
                                                  "f:2: aliases are not allowed here\n"
                                                  "f:2: aliases are not allowed here\n");
}

static void odd_keys_are_refused(void **state)
{
    (void)state;
    assert_refused("? [a]\n: b\n", "f:1: a key must be a string\n");
    assert_refused("database:\n  ? {a: b}\n  : c\n", "f:2: a key must be a string\n");
    assert_refused("\"\": b\n", "f:1: unknown key \"\"\n");
    assert_refused("\"a\\0b\": b\n", "f:1: unknown key \"a\\u0000b\"\n");
    assert_refused("database: {database.path: b}\n", "f:1: unknown key \"database.database.path\"\n");
    char text[300] = "database:\n  ";
    char expected[300];
    memset(text + strlen(text), 'x', 200);
    strncat(text, ": 1\n", sizeof text - strlen(text) - 1);
    snprintf(expected, sizeof expected, "f:2: unknown key \"%.*s\"\n", WEFT_CONFIG_MAX_NAME, text + 12);
    assert_refused(text, expected);
}

static void bad_syntax_is_reported_with_its_line(void **state)
{
    (void)state;
    assert_int_equal(read_text("database.path: ok\nlisten: [a\nb: c"), -EINVAL);
    assert_int_equal(strncmp(errors, "f:3: ", 5), 0);
    assert_string_equal(weft_config_string(config, "database.path"), "ok");
    assert_int_equal(read_text("a: \"\xff\""), -EINVAL);
    assert_non_null(strstr(errors, "f:1: "));
}

static void only_one_document_is_taken(void **state)
{
    (void)state;
    assert_refused("database.path: a\n---\ndatabase.path: b\n", "f:2: expected one document, found another\n");
}

static void deep_nesting_ends_the_reading(void **state)
{
    (void)state;
    char text[128] = "listen: ";
    memset(text + strlen(text), '[', 100);
    assert_refused(text, "f:1: listen: expected a list of strings, found a list or mapping in it\n"
                         "f:1: nested deeper than 16\n");
    memcpy(text, "noth:   ", 8);
    assert_refused(text, "f:1: unknown key \"noth\"\nf:1: nested deeper than 16\n");
}

static void a_file_that_is_too_large_is_refused(void **state)
{
    (void)state;
    size_t size = WEFT_CONFIG_MAX_FILE_BYTES + 1;
    char *text = malloc(size);
    assert_non_null(text);
    memset(text, '\n', size);
    assert_int_equal(weft_config_read_text(config, "f", weft_sv_of(text, size)), -EFBIG);
    assert_string_equal(errors, "f: is larger than 1048576 bytes\n");
    assert_int_equal(weft_config_read_text(config, "f", weft_sv_of(text, size - 1)), 0);
    free(text);
}

static void a_file_is_read_and_named_in_errors(void **state)
{
    (void)state;
    char path[] = "/tmp/weft-config-XXXXXX";
    char expected[100];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "database.path: there\nx: 1\n", 26), 26);
    close(fd);
    assert_int_equal(weft_config_read_file(config, path), -EINVAL);
    snprintf(expected, sizeof expected, "%s:2: unknown key \"x\"\n", path);
    assert_string_equal(errors, expected);
    assert_string_equal(weft_config_string(config, "database.path"), "there");
    unlink(path);
}

static void a_file_that_cannot_be_read_is_an_error(void **state)
{
    (void)state;
    assert_int_equal(weft_config_read_file(config, "/nonexistent.yaml"), -ENOENT);
    assert_int_equal(weft_config_read_file(config, "/"), -EISDIR);
    assert_string_equal(errors, "/nonexistent.yaml: No such file or directory\n/: Is a directory\n");
    assert_int_equal(weft_config_check(config), -EINVAL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)
    const struct CMUnitTest tests[] = {
        TEST(yaml_sets_every_type),
        TEST(json_sets_every_type),
        TEST(an_empty_file_and_an_empty_section_set_nothing),
        TEST(one_string_is_a_list_of_one),
        TEST(a_long_list_keeps_its_order),
        TEST(every_mistake_is_reported_with_its_line),
        TEST(what_is_right_beside_a_mistake_is_taken),
        TEST(wrong_types_are_refused),
        TEST(duplicate_keys_are_refused),
        TEST(two_files_may_set_the_same_key),
        TEST(anchors_aliases_and_tags_are_refused),
        TEST(odd_keys_are_refused),
        TEST(bad_syntax_is_reported_with_its_line),
        TEST(only_one_document_is_taken),
        TEST(deep_nesting_ends_the_reading),
        TEST(a_file_that_is_too_large_is_refused),
        TEST(a_file_is_read_and_named_in_errors),
        TEST(a_file_that_cannot_be_read_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
