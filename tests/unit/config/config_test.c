#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    return weft_config_read_text(config, "user.yaml", weft_sv_from(text));
}

static void a_new_configuration_holds_the_defaults(void **state)
{
    (void)state;
    size_t count = 0;
    const char *const *listen = weft_config_list(config, "listen", &count);
    assert_int_equal(count, 1);
    assert_string_equal(listen[0], "127.0.0.1:50051");
    assert_string_equal(weft_config_string(config, "database.path"), "user.db");
    assert_int_equal(weft_config_int(config, "database.readers"), 4);
    assert_int_equal(weft_config_duration_ms(config, "database.busy_timeout"), 5000);
    assert_int_equal(weft_config_size_bytes(config, "server.max_message"), 4 << 20);
    assert_false(weft_config_bool(config, "server.reflection"));
    assert_string_equal(weft_config_source(config, "database.path"), "default");
    assert_int_equal(weft_config_check(config), 0);
    assert_string_equal(errors, "");
}

static void a_name_that_is_unknown_or_of_another_type_gives_nothing(void **state)
{
    (void)state;
    size_t count = 7;
    assert_null(weft_config_string(config, "database"));
    assert_null(weft_config_string(config, "database.readers"));
    assert_int_equal(weft_config_int(config, "database.path"), 0);
    assert_null(weft_config_list(config, "token", &count));
    assert_int_equal(count, 0);
    assert_null(weft_config_source(config, "nothing"));
}

static void later_layers_win_in_whatever_order_they_are_read(void **state)
{
    (void)state;
    setenv("USER_DATABASE_PATH", "/env.db", 1);
    assert_int_equal(weft_config_set(config, "--set", "database.readers", "8"), 0);
    assert_int_equal(weft_config_read_environment(config), 0);
    assert_int_equal(read_text("database: {path: /file.db, readers: 2, busy_timeout: 1s}"), 0);
    unsetenv("USER_DATABASE_PATH");
    assert_string_equal(weft_config_string(config, "database.path"), "/env.db");
    assert_string_equal(weft_config_source(config, "database.path"), "environment USER_DATABASE_PATH");
    assert_int_equal(weft_config_int(config, "database.readers"), 8);
    assert_string_equal(weft_config_source(config, "database.readers"), "--set");
    assert_int_equal(weft_config_duration_ms(config, "database.busy_timeout"), 1000);
    assert_string_equal(weft_config_source(config, "database.busy_timeout"), "user.yaml:1");
    assert_int_equal(weft_config_check(config), 0);
}

static void the_last_flag_counts(void **state)
{
    (void)state;
    assert_int_equal(weft_config_set(config, "--set", "database.path", "a"), 0);
    assert_int_equal(weft_config_set(config, "--set", "database.path", "b"), 0);
    assert_string_equal(weft_config_string(config, "database.path"), "b");
}

static void a_list_from_a_flag_is_split_at_commas(void **state)
{
    (void)state;
    size_t count = 0;
    assert_int_equal(weft_config_set(config, "--set", "listen", "127.0.0.1:1, [::1]:2,unix:/s"), 0);
    const char *const *listen = weft_config_list(config, "listen", &count);
    assert_int_equal(count, 3);
    assert_string_equal(listen[0], "127.0.0.1:1");
    assert_string_equal(listen[1], "[::1]:2");
    assert_string_equal(listen[2], "unix:/s");
    assert_int_equal(weft_config_set(config, "--set", "listen", ""), 0);
    (void)weft_config_list(config, "listen", &count);
    assert_int_equal(count, 0);
    assert_int_equal(weft_config_set(config, "--set", "listen", "a,,b"), -EINVAL);
    assert_string_equal(errors, "--set: listen: an entry of the list is empty\n");
}

static void mistakes_in_flags_and_environment_are_collected(void **state)
{
    (void)state;
    setenv("USER_DATABASE_READERS", "many", 1);
    assert_int_equal(weft_config_read_environment(config), -EINVAL);
    unsetenv("USER_DATABASE_READERS");
    assert_int_equal(weft_config_set(config, "--set", "databse.path", "x"), -EINVAL);
    assert_int_equal(weft_config_set(config, "--set", "zzzzzz", "x"), -EINVAL);
    assert_int_equal(weft_config_set(config, "--set", "log.level", "loud"), -EINVAL);
    assert_int_equal(weft_config_check(config), -EINVAL);
    assert_int_equal(weft_config_error_count(config), 4);
    assert_string_equal(errors,
                        "environment USER_DATABASE_READERS: database.readers: expected an integer, found \"many\"\n"
                        "--set: unknown key \"databse.path\"; did you mean \"database.path\"?\n"
                        "--set: unknown key \"zzzzzz\"\n"
                        "--set: log.level: expected one of debug|info|warn|error|off, found \"loud\"\n");
    assert_int_equal(weft_config_int(config, "database.readers"), 4);
}

static void variables_that_belong_to_no_key_are_left_alone(void **state)
{
    (void)state;
    setenv("USER_SERVICE_HOST", "10.0.0.1", 1);
    assert_int_equal(weft_config_read_environment(config), 0);
    unsetenv("USER_SERVICE_HOST");
    assert_string_equal(errors, "");
}

static void a_required_key_must_be_set(void **state)
{
    (void)state;
    static const weft_config_key required[] = {{.name = "database.path", .type = WEFT_CONFIG_STRING}};
    weft_config_options options = table_options();
    weft_config *other;
    options.keys = required;
    options.key_count = 1;
    assert_int_equal(weft_config_new(&other, &options), 0);
    assert_null(weft_config_string(other, "database.path"));
    assert_null(weft_config_source(other, "database.path"));
    assert_int_equal(weft_config_check(other), -EINVAL);
    assert_string_equal(errors, "database.path: is required and not set\n");
    weft_config_free(other);
}

static void errors_that_have_no_room_are_counted(void **state)
{
    (void)state;
    char small[64];
    weft_config_options options = table_options();
    weft_config *other;
    options.errors = small;
    options.errors_size = sizeof small;
    assert_int_equal(weft_config_new(&other, &options), 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(weft_config_set(other, "--set", "zzzzzzzzzzzzzzz", "x"), -EINVAL);
    assert_int_equal(weft_config_error_count(other), 10);
    assert_string_equal(small, "--set: unknown key \"zzzzzzzzzzzzzzz\"\n");
    weft_config_free(other);
    options.errors = NULL;
    options.errors_size = 0;
    assert_int_equal(weft_config_new(&other, &options), 0);
    assert_int_equal(weft_config_set(other, "--set", "zzzzzzzzzzzzzzz", "x"), -EINVAL);
    assert_int_equal(weft_config_check(other), -EINVAL);
    weft_config_free(other);
}

static void a_wrong_table_is_refused(void **state)
{
    (void)state;
    static const weft_config_key wrong[][2] = {
        {{.name = "a", .type = WEFT_CONFIG_INT, .fallback = "x"}, {.name = "b", .type = WEFT_CONFIG_INT}},
        {{.name = "a", .type = WEFT_CONFIG_INT}, {.name = "a", .type = WEFT_CONFIG_INT}},
        {{.name = "a.b_c", .type = WEFT_CONFIG_INT}, {.name = "a_b.c", .type = WEFT_CONFIG_INT}},
        {{.name = "a", .type = WEFT_CONFIG_INT}, {.name = "a.b", .type = WEFT_CONFIG_INT}},
        {{.name = "a.b", .type = WEFT_CONFIG_INT}, {.name = "a", .type = WEFT_CONFIG_INT}},
        {{.name = "a..b", .type = WEFT_CONFIG_INT}, {.name = "c", .type = WEFT_CONFIG_INT}},
        {{.name = "A", .type = WEFT_CONFIG_INT}, {.name = "c", .type = WEFT_CONFIG_INT}},
        {{.name = "a."}, {.name = "c", .type = WEFT_CONFIG_INT}},
        {{.name = "a"}, {.name = "c", .type = WEFT_CONFIG_INT}},
        {{.name = NULL}, {.name = "c", .type = WEFT_CONFIG_INT}},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        weft_config_options options = table_options();
        weft_config *other = NULL;
        options.keys = wrong[i];
        options.key_count = 2;
        assert_int_equal(weft_config_new(&other, &options), -EINVAL);
        assert_null(other);
        assert_true(strlen(errors) > 0);
    }
}

static void wrong_options_are_refused(void **state)
{
    (void)state;
    weft_config_options options = table_options();
    weft_config *other;
    assert_int_equal(weft_config_new(&other, NULL), -EINVAL);
    options.struct_size = 0;
    assert_int_equal(weft_config_new(&other, &options), -EINVAL);
    options = table_options();
    options.keys = NULL;
    assert_int_equal(weft_config_new(&other, &options), -EINVAL);
    weft_config_free(NULL);
}

static void the_whole_is_written_with_sources_and_read_back(void **state)
{
    (void)state;
    weft_arena *arena;
    weft_config *other;
    weft_config_options options = table_options();
    assert_int_equal(weft_arena_new(&arena, 0), 0);
    assert_int_equal(read_text("token: s3cret\ndatabase.path: \"a \\\"b\\\"\\n\"\nlisten: [a, 'b']\n"), 0);
    assert_int_equal(weft_config_set(config, "--set", "database.readers", "7"), 0);
    char *text = weft_config_format(config, arena);
    assert_non_null(text);
    assert_null(strstr(text, "s3cret"));
    assert_non_null(strstr(text, "# Where the users are kept\ndatabase.path: \"a \\\"b\\\"\\u000a\"  # user.yaml:2\n"));
    assert_non_null(strstr(text, "listen: [\"a\", \"b\"]  # user.yaml:3\n"));
    assert_non_null(strstr(text, "database.readers: 7  # --set\n"));
    assert_non_null(strstr(text, "database.busy_timeout: 5s  # default\n"));
    assert_non_null(strstr(text, "# token: ********  # user.yaml:1\n"));
    assert_int_equal(weft_config_new(&other, &options), 0);
    assert_int_equal(weft_config_read_text(other, "printed", weft_sv_from(text)), 0);
    assert_string_equal(weft_config_string(other, "database.path"), "a \"b\"\n");
    assert_int_equal(weft_config_int(other, "database.readers"), 7);
    weft_config_free(other);
    weft_arena_free(arena);
}

static void note_change(void *arg, const weft_config_key *key)
{
    char *names = arg;
    snprintf(names + strlen(names), 128 - strlen(names), "%s ", key->name);
}

static void a_comparison_tells_the_keys_whose_values_differ_wherever_they_come_from(void **state)
{
    (void)state;
    weft_config *other;
    weft_config_options options = table_options();
    char names[128] = "";
    assert_int_equal(weft_config_new(&other, &options), 0);
    assert_int_equal(weft_config_set(other, "--set", "database.readers", "4"), 0); /* as the default has it */
    assert_int_equal(weft_config_set(other, "--set", "server.max_message", "4096KiB"), 0);
    weft_config_compare(config, other, note_change, names);
    assert_string_equal(names, "");
    assert_int_equal(weft_config_set(other, "--set", "listen", "127.0.0.1:50051,:80"), 0);
    assert_int_equal(weft_config_set(other, "--set", "database.path", "x"), 0);
    assert_int_equal(weft_config_set(other, "--set", "database.busy_timeout", "6s"), 0);
    assert_int_equal(weft_config_set(other, "--set", "server.reflection", "true"), 0);
    weft_config_compare(config, other, note_change, names);
    assert_string_equal(names, "listen database.path database.busy_timeout server.reflection ");
    weft_config_free(other);
}

static void a_secret_is_not_shown_in_errors(void **state)
{
    (void)state;
    static const weft_config_key secret[] = {
        {.name = "pin", .type = WEFT_CONFIG_INT, .fallback = "0", .secret = true, .min = 0, .max = 9}};
    weft_config_options options = table_options();
    weft_config *other;
    options.keys = secret;
    options.key_count = 1;
    assert_int_equal(weft_config_new(&other, &options), 0);
    assert_int_equal(weft_config_set(other, "--set", "pin", "4711"), -EINVAL);
    assert_int_equal(weft_config_set(other, "--set", "pin", "4711x"), -EINVAL);
    assert_string_equal(errors, "--set: pin: must lie between 0 and 9\n--set: pin: expected an integer\n");
    weft_config_free(other);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)
    const struct CMUnitTest tests[] = {
        TEST(a_new_configuration_holds_the_defaults),
        TEST(a_name_that_is_unknown_or_of_another_type_gives_nothing),
        TEST(later_layers_win_in_whatever_order_they_are_read),
        TEST(the_last_flag_counts),
        TEST(a_list_from_a_flag_is_split_at_commas),
        TEST(mistakes_in_flags_and_environment_are_collected),
        TEST(variables_that_belong_to_no_key_are_left_alone),
        TEST(a_required_key_must_be_set),
        TEST(errors_that_have_no_room_are_counted),
        TEST(a_wrong_table_is_refused),
        TEST(wrong_options_are_refused),
        TEST(the_whole_is_written_with_sources_and_read_back),
        TEST(a_comparison_tells_the_keys_whose_values_differ_wherever_they_come_from),
        TEST(a_secret_is_not_shown_in_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
