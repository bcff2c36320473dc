/* user-service as its operator sees it: a process with a command line, signals, exit codes and a log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>

#include "support/service.h"
#include "support/temp_dir.h"
#include "user.weft.h"

#define start(process, ...) start_program((process), USER_SERVICE, __VA_ARGS__)

static char database[TEMP_PATH_BYTES];

static int make(void **state)
{
    (void)state;
    temp_dir_make();
    temp_path("users.db", database);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    temp_dir_remove();
    return 0;
}

/* ---- Serving ----------------------------------------------------------------------------------------------------- */

static weft_status create(struct client *client, char *email, char **id)
{
    User__CreateUserRequest request = USER__CREATE_USER_REQUEST__INIT;
    User__CreateUserResponse *response = NULL;
    request.name = "Ada";
    request.email = email;
    request.password = "analytical engine";
    weft_status status = user_UserService_CreateUser(client->channel, client->arena, NULL, &request, &response);
    if (status.code == WEFT_OK)
        *id = response->id;
    return status;
}

static weft_status get(struct client *client, char *id)
{
    User__GetUserRequest request = USER__GET_USER_REQUEST__INIT;
    User__GetUserResponse *response = NULL;
    request.id = id;
    return user_UserService_GetUser(client->channel, client->arena, NULL, &request, &response);
}

static void it_answers_on_every_address_until_sigterm_and_ends_with_0(void **state)
{
    (void)state;
    struct process process;
    struct client client;
    char address[128];
    char set[TEMP_PATH_BYTES + 16];
    char *id = NULL;
    snprintf(set, sizeof set, "database.path=%s", database);
    start(&process, "--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--set", set, NULL);
    read_address(&process, 0, address, sizeof address);
    client_open(&client, address);
    assert_code(create(&client, "ada@example.org", &id), WEFT_OK);
    assert_code(create(&client, "ADA@example.org", &id), WEFT_ALREADY_EXISTS);
    struct client other;
    read_address(&process, 1, address, sizeof address);
    client_open(&other, address);
    assert_code(get(&other, id), WEFT_OK);
    assert_code(get(&other, "nobody"), WEFT_NOT_FOUND);
    client_close(&other);
    client_close(&client);
    assert_int_equal(kill(process.pid, SIGTERM), 0);
    assert_int_equal(wait_for_end(&process), 0);
    assert_non_null(strstr(process.text, "\"phase\":\"stopped\""));
    assert_null(strstr(process.text, "analytical"));
}

static void users_outlive_a_killed_process(void **state)
{
    (void)state;
    struct process process;
    struct client client;
    char address[128];
    char *id = NULL;
    char keep[40];
    assert_int_equal(setenv("USER_DATABASE_PATH", database, 1), 0);
    start(&process, "--listen", "127.0.0.1:0", NULL);
    read_address(&process, 0, address, sizeof address);
    client_open(&client, address);
    assert_code(create(&client, "ada@example.org", &id), WEFT_OK);
    snprintf(keep, sizeof keep, "%s", id);
    client_close(&client);
    assert_int_equal(kill(process.pid, SIGKILL), 0);
    assert_int_equal(wait_for_end(&process), -1);

    start(&process, "--listen", "127.0.0.1:0", NULL);
    read_address(&process, 0, address, sizeof address);
    client_open(&client, address);
    assert_code(get(&client, keep), WEFT_OK);
    client_close(&client);
    assert_int_equal(kill(process.pid, SIGINT), 0);
    assert_int_equal(wait_for_end(&process), 0);
    assert_int_equal(unsetenv("USER_DATABASE_PATH"), 0);
}

typedef user_UserService_WatchUsers_client watcher;

/* Watches from where a token says, and takes the first message. */
static watcher *watch(struct client *client, char *token)
{
    User__WatchUsersRequest request = USER__WATCH_USERS_REQUEST__INIT;
    User__WatchUsersResponse *first;
    watcher *stream = NULL;
    request.resume_token = token;
    assert_int_equal(user_UserService_WatchUsers(&stream, client->channel, NULL, &request), 0);
    assert_int_equal(user_UserService_WatchUsers_client_recv(stream, &first), 1);
    assert_null(first->user);
    return stream;
}

/* Takes the next change, which is that a user was created. */
static void assert_created(watcher *stream, const char *id, char *token, size_t size)
{
    User__WatchUsersResponse *message;
    assert_int_equal(user_UserService_WatchUsers_client_recv(stream, &message), 1);
    assert_int_equal(message->change, USER__USER_CHANGE__USER_CHANGE_CREATED);
    assert_string_equal(message->user->id, id);
    snprintf(token, size, "%s", message->resume_token);
}

static void a_process_tells_what_another_one_does_and_ends_its_watches_with_sigterm(void **state)
{
    (void)state;
    struct process processes[2];
    struct client clients[2];
    char address[128];
    char set[TEMP_PATH_BYTES + 16];
    char token[64];
    char *ids[2] = {NULL, NULL};
    snprintf(set, sizeof set, "database.path=%s", database);
    for (int i = 0; i < 2; i++) {
        start(&processes[i], "--listen", "127.0.0.1:0", "--set", set, "--set", "server.drain=1h", NULL);
        read_address(&processes[i], 0, address, sizeof address);
        client_open(&clients[i], address);
    }
    watcher *stream = watch(&clients[0], "");
    assert_code(create(&clients[1], "ada@example.org", &ids[0]), WEFT_OK);
    assert_created(stream, ids[0], token, sizeof token);
    assert_code(create(&clients[0], "bob@example.org", &ids[1]), WEFT_OK);

    /* The first process goes. Its watch ends long before the time is over that calls have; the other goes on. */
    assert_int_equal(kill(processes[0].pid, SIGTERM), 0);
    User__WatchUsersResponse *message;
    while (user_UserService_WatchUsers_client_recv(stream, &message) == 1)
        continue;
    assert_code(user_UserService_WatchUsers_client_finish(stream, clients[0].arena), WEFT_UNAVAILABLE);
    assert_int_equal(wait_for_end(&processes[0]), 0);
    stream = watch(&clients[1], token);
    assert_created(stream, ids[1], token, sizeof token);
    weft_stream_cancel(WEFT_STREAM(stream));
    assert_code(user_UserService_WatchUsers_client_finish(stream, clients[1].arena), WEFT_CANCELLED);

    assert_int_equal(kill(processes[1].pid, SIGTERM), 0);
    assert_int_equal(wait_for_end(&processes[1]), 0);
    for (int i = 0; i < 2; i++)
        client_close(&clients[i]);
}

static void what_it_cannot_do_is_logged_and_ends_with_1(void **state)
{
    (void)state;
    struct process first;
    struct process second;
    char address[128];
    char set[TEMP_PATH_BYTES + 16];
    snprintf(set, sizeof set, "database.path=%s", database);
    start(&first, "--listen", "127.0.0.1:0", "--set", set, NULL);
    read_address(&first, 0, address, sizeof address);
    start(&second, "--listen", address, "--set", set, NULL);
    assert_int_equal(wait_for_end(&second), 1);
    assert_non_null(strstr(second.text, "Address already in use"));
    assert_non_null(strstr(second.text, address));
    start(&second, "--listen", "127.0.0.1:0", "--set", "database.path=/nonexistent/users.db", NULL);
    assert_int_equal(wait_for_end(&second), 1);
    assert_non_null(strstr(second.text, "/nonexistent/users.db"));
    assert_int_equal(kill(first.pid, SIGTERM), 0);
    assert_int_equal(wait_for_end(&first), 0);
}

/* ---- Command line ------------------------------------------------------------------------------------------------ */

static void mistakes_in_the_configuration_are_all_told_and_end_with_2(void **state)
{
    (void)state;
    struct process process;
    char file[TEMP_PATH_BYTES];
    char expected[2 * TEMP_PATH_BYTES + 200];
    temp_path("user.yaml", file);
    write_file(file, "database:\n  pth: x\nserver: {workers: many}\n");
    snprintf(expected, sizeof expected,
             "%s:2: unknown key \"database.pth\"; did you mean \"database.path\"?\n"
             "%s:3: server.workers: expected an integer, found \"many\"\n"
             "--set: unknown key \"x\"\n",
             file, file);
    start(&process, "--config", file, "--set", "x=1", NULL);
    assert_int_equal(wait_for_end(&process), 2);
    assert_string_equal(process.text, expected);
    start(&process, "--config", "/nonexistent.yaml", "--check", NULL);
    assert_int_equal(wait_for_end(&process), 2);
    assert_string_equal(process.text, "/nonexistent.yaml: No such file or directory\n");
}

static void a_registry_that_is_none_is_told_with_its_place_and_ends_with_2(void **state)
{
    (void)state;
    struct process process;
    char file[TEMP_PATH_BYTES];
    char expected[3 * TEMP_PATH_BYTES];
    temp_path("user.yaml", file);
    write_file(file, "registry:\n  consul: gopher://x\n  address: users.example.org\n");
    snprintf(expected, sizeof expected,
             "%s:3: registry.address: expected an IP address, found \"users.example.org\"\n"
             "%s:2: registry.consul: address gopher://x: write host:port, http://host:port, https://host:port or "
             "unix:///path\n",
             file, file);
    start(&process, "--config", file, "--check", NULL);
    assert_int_equal(wait_for_end(&process), 2);
    assert_string_equal(process.text, expected);
    start(&process, "--set", "registry.consul=http://ada:analytical@consul:8500", "--check", NULL);
    assert_int_equal(wait_for_end(&process), 2);
    assert_string_equal(process.text, "--set: registry.consul: address ...@consul:8500: write user and password into "
                                      "CONSUL_HTTP_AUTH, and host:port here\n");
    write_file(file, "registry: {weight: 0, check_interval: 10ms}\n");
    snprintf(expected, sizeof expected,
             "%s:1: registry.weight: must lie between 1 and 65535\n"
             "%s:1: registry.check_interval: must lie between 1000 and 3600000 ms\n",
             file, file);
    start(&process, "--config", file, NULL);
    assert_int_equal(wait_for_end(&process), 2);
    assert_string_equal(process.text, expected);
}

static void who_serves_no_port_cannot_be_registered_and_ends_with_2(void **state)
{
    (void)state;
    struct process process;
    char listen[TEMP_PATH_BYTES + 8];
    char socket[TEMP_PATH_BYTES];
    char set[TEMP_PATH_BYTES + 16];
    snprintf(listen, sizeof listen, "unix:%s", temp_path("users.sock", socket));
    snprintf(set, sizeof set, "database.path=%s", database);
    start(&process, "--listen", listen, "--set", set, "--set", "registry.consul=127.0.0.1:1", NULL);
    assert_int_equal(wait_for_end(&process), 2);
    assert_non_null(strstr(process.text, "\"msg\":\"cannot register\""));
    assert_non_null(strstr(process.text, "port: 1 to 65535 is required"));
    assert_non_null(strstr(process.text, "\"phase\":\"stopped\""));
}

static void a_wrong_command_line_ends_with_2(void **state)
{
    (void)state;
    static char *const wrong[][3] = {{"--bogus", NULL, NULL}, {"--set", "x", NULL},   {"--set", NULL, NULL},
                                     {"extra", NULL, NULL},   {"--check", "x", NULL}, {"--listen", NULL, NULL}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct process process;
        start(&process, wrong[i][0], wrong[i][1], wrong[i][2], NULL);
        assert_int_equal(wait_for_end(&process), 2);
        assert_true(process.len > 0);
    }
}

static void flags_win_over_environment_over_file_over_defaults(void **state)
{
    (void)state;
    struct process process;
    char file[TEMP_PATH_BYTES];
    char from_file[TEMP_PATH_BYTES + 64];
    temp_path("user.json", file);
    write_file(file, "{\"database\": {\"path\": \"a\", \"readers\": 2, \"busy_timeout\": \"1s\"}}");
    assert_int_equal(setenv("USER_DATABASE_PATH", "b", 1), 0);
    assert_int_equal(setenv("USER_DATABASE_READERS", "3", 1), 0);
    start(&process, "--set", "database.path=c", "--config", file, "--print-config", NULL);
    assert_int_equal(unsetenv("USER_DATABASE_PATH"), 0);
    assert_int_equal(unsetenv("USER_DATABASE_READERS"), 0);
    assert_int_equal(wait_for_end(&process), 0);
    assert_non_null(strstr(process.text, "\ndatabase.path: \"c\"  # --set\n"));
    assert_non_null(strstr(process.text, "\ndatabase.readers: 3  # environment USER_DATABASE_READERS\n"));
    snprintf(from_file, sizeof from_file, "\ndatabase.busy_timeout: 1s  # %s:1\n", file);
    assert_non_null(strstr(process.text, from_file));
    assert_non_null(strstr(process.text, "\nserver.drain: 10s  # default\n"));
}

static void what_is_only_asked_for_ends_with_0(void **state)
{
    (void)state;
    static char *const asked[][2] = {
        {"--check", ""}, {"--version", "user-service 0"}, {"--help", "Usage: user-service"}, {"--print-config", "# "}};
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        struct process process;
        start(&process, asked[i][0], NULL);
        assert_int_equal(wait_for_end(&process), 0);
        assert_int_equal(strncmp(process.text, asked[i][1], strlen(asked[i][1])), 0);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)
    const struct CMUnitTest tests[] = {
        TEST(it_answers_on_every_address_until_sigterm_and_ends_with_0),
        TEST(users_outlive_a_killed_process),
        TEST(a_process_tells_what_another_one_does_and_ends_its_watches_with_sigterm),
        TEST(what_it_cannot_do_is_logged_and_ends_with_1),
        TEST(mistakes_in_the_configuration_are_all_told_and_end_with_2),
        TEST(a_registry_that_is_none_is_told_with_its_place_and_ends_with_2),
        TEST(who_serves_no_port_cannot_be_registered_and_ends_with_2),
        TEST(a_wrong_command_line_ends_with_2),
        TEST(flags_win_over_environment_over_file_over_defaults),
        TEST(what_is_only_asked_for_ends_with_0),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
