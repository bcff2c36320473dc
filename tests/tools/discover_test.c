/* `weft discover` against processes of user-service, addresses where nobody is, a file, and a fake agent of Consul. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "integration/rolling/users.h"
#include "tools/tool.h"

enum {
    PROCESSES = 2 /* of which tests start what they need */
};

struct rig {
    struct agency *agency;
    struct users users[PROCESSES];
    char file[64]; /* a list of instances */
    char target[80];
};

static int set_up(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    rig->agency = agency_new(NULL);
    agency_start(rig->agency);
    users_init(rig->users, PROCESSES);
    snprintf(rig->file, sizeof rig->file, "/tmp/weft-discover-%d.yaml", (int)getpid());
    snprintf(rig->target, sizeof rig->target, "file://%s", rig->file);
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    users_fini(rig->users, PROCESSES);
    agency_free(rig->agency);
    (void)unlink(rig->file);
    free(rig);
    return 0;
}

static void start_users(struct rig *rig, int i)
{
    users_start(&rig->users[i], rig->agency, "1ms");
    agency_await(rig->agency, USERS, rig->users[i].port, WELL);
}

/* Writes the list by a rename, so that nobody sees half of it. */
static void write_file(const struct rig *rig, const char *list)
{
    char fresh[80];
    snprintf(fresh, sizeof fresh, "%s.new", rig->file);
    FILE *file = fopen(fresh, "w");
    assert_non_null(file);
    assert_true(fputs(list, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(fresh, rig->file), 0);
}

static void assert_said(const struct tool *tool, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void assert_said(const struct tool *tool, const char *format, ...)
{
    char what[256];
    va_list list;
    va_start(list, format);
    vsnprintf(what, sizeof what, format, list);
    va_end(list);
    if (!tool_said(tool, what))
        fail_msg("no \"%s\" in:\n%s", what, tool->text);
}

static void await_line(struct tool *tool, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void await_line(struct tool *tool, const char *format, ...)
{
    char what[256];
    va_list list;
    va_start(list, format);
    vsnprintf(what, sizeof what, format, list);
    va_end(list);
    tool_await(tool, what);
}

/* ---- once -------------------------------------------------------------------------------------------------------- */

static void a_server_is_told_from_an_address_where_nobody_is(void **state)
{
    struct rig *rig = *state;
    struct tool tool;
    char target[96];
    start_users(rig, 0);
    snprintf(target, sizeof target, "static:///127.0.0.1:%d;weight=3,127.0.0.1:%d", rig->users[0].port,
             rig->users[1].port);
    tool_start(&tool, NULL, false, "discover", target, NULL);
    assert_int_equal(tool_end(&tool), 0);
    assert_said(&tool, "ADDRESS");
    assert_said(&tool, "127.0.0.1:%d  ready   -       3       -     ", rig->users[0].port);
    assert_said(&tool, "127.0.0.1:%d  failed  -       1       -     ", rig->users[1].port);
    assert_false(tool_said(&tool, "\033"));
}

static void without_one_that_is_ready_it_ends_with_1(void **state)
{
    struct rig *rig = *state;
    struct tool tool;
    char target[64];
    snprintf(target, sizeof target, "ipv4:127.0.0.1:%d", rig->users[1].port);
    tool_start(&tool, NULL, false, "discover", target, NULL);
    assert_int_equal(tool_end(&tool), 1);
    assert_said(&tool, "127.0.0.1:%d  failed", rig->users[1].port);
}

static void json_has_all_that_is_known_of_an_instance(void **state)
{
    struct rig *rig = *state;
    struct tool tool;
    char list[128];
    start_users(rig, 0);
    snprintf(list, sizeof list, "- {address: \"127.0.0.1:%d\", weight: 7, zone: \"eu \\\"1a\", health: healthy}\n",
             rig->users[0].port);
    write_file(rig, list);
    tool_start(&tool, NULL, false, "discover", rig->target, "--json", "--check", "user.UserService", NULL);
    assert_int_equal(tool_end(&tool), 0);
    assert_said(&tool,
                "\"event\":\"new\",\"address\":\"127.0.0.1:%d\",\"state\":\"ready\",\"health\":\"healthy\","
                "\"check\":\"serving\",\"weight\":7,\"zone\":\"eu \\\"1a\",\"since\":\"2",
                rig->users[0].port);
}

static void an_instance_that_is_not_well_does_not_count(void **state)
{
    struct rig *rig = *state;
    struct tool tool;
    char list[128];
    start_users(rig, 0);
    snprintf(list, sizeof list, "- {address: \"127.0.0.1:%d\", health: draining}\n", rig->users[0].port);
    write_file(rig, list);
    tool_start(&tool, NULL, false, "discover", rig->target, NULL);
    assert_int_equal(tool_end(&tool), 1);
    assert_said(&tool, "ready  draining");
}

static void a_name_without_a_scheme_is_looked_up(void **state)
{
    struct rig *rig = *state;
    struct tool tool;
    char target[64];
    start_users(rig, 0);
    snprintf(target, sizeof target, "localhost:%d", rig->users[0].port);
    tool_start(&tool, NULL, false, "discover", target, NULL);
    assert_int_equal(tool_end(&tool), 0);
    assert_said(&tool, "127.0.0.1:%d", rig->users[0].port);
}

static void a_terminal_is_not_driven_by_what_a_list_says(void **state)
{
    struct rig *rig = *state;
    struct tool tool;
    write_file(rig, "- {address: \"127.0.0.1:1\", zone: \"a\\e[2Jb\"}\n");
    tool_start(&tool, NULL, false, "discover", rig->target, NULL);
    assert_int_equal(tool_end(&tool), 1);
    assert_said(&tool, "a?[2Jb");
}

static void mistakes_name_what_mends_them(void **state)
{
    struct rig *rig = *state;
    struct tool tool;
    char agent[64];
    snprintf(agent, sizeof agent, "127.0.0.1:%d", rig->users[1].port); /* where nobody is */
    tool_start(&tool, NULL, false, "discover", "nonsense", NULL);
    assert_int_equal(tool_end(&tool), 2);
    assert_said(&tool, "nonsense is no target. Targets are HOST:PORT");
    tool_start(&tool, NULL, false, "discover", "static:///nonsense", NULL);
    assert_int_equal(tool_end(&tool), 2);
    assert_said(&tool, "is no address: write 10.0.0.1:50051");
    tool_start(&tool, NULL, false, "discover", "consul:///users", "--consul", agent, NULL);
    assert_int_equal(tool_end(&tool), 1);
    assert_said(&tool, "consul at http://%s: ", agent);
    assert_said(&tool, "--consul HOST:PORT or CONSUL_HTTP_ADDR name the agent");
    tool_start(&tool, NULL, false, "discover", "file:///nowhere/at.all", NULL);
    assert_int_equal(tool_end(&tool), 1);
    assert_said(&tool, "/nowhere/at.all: No such file or directory");
    tool_start(&tool, NULL, false, "discover", "127.0.0.1:1", "--timeout", "soon", NULL);
    assert_int_equal(tool_end(&tool), 2);
    assert_said(&tool, "--timeout soon is no time");
    tool_start(&tool, NULL, false, "discover", "127.0.0.1:1", "--consul", agent, NULL);
    assert_int_equal(tool_end(&tool), 2);
    tool_start(&tool, NULL, false, "discover", "ipv4:127.0.0.1:1", "--cacert", "/nowhere/ca.pem", NULL);
    assert_int_equal(tool_end(&tool), 1);
    assert_said(&tool, "/nowhere/ca.pem: No such file or directory");
    tool_start(&tool, NULL, false, "discover", NULL);
    assert_int_equal(tool_end(&tool), 2);
}

/* ---- as it changes ----------------------------------------------------------------------------------------------- */

static void a_file_that_changes_is_shown_line_by_line(void **state)
{
    struct rig *rig = *state;
    struct tool tool;
    char list[128];
    int port = rig->users[0].port;
    start_users(rig, 0);
    snprintf(list, sizeof list, "- 127.0.0.1:%d\n", port);
    write_file(rig, list);
    tool_start(&tool, NULL, false, "discover", rig->target, "--watch", NULL);
    await_line(&tool, "127.0.0.1:%d  ready  health -  weight 1  zone -  since ", port);
    snprintf(list, sizeof list, "- {address: \"127.0.0.1:%d\", weight: 5, zone: eu-1a, health: unhealthy}\n", port);
    write_file(rig, list);
    await_line(&tool, "127.0.0.1:%d  ready  health unhealthy  weight 5  zone eu-1a  since ", port);
    write_file(rig, "[]\n");
    await_line(&tool, "127.0.0.1:%d  gone\n", port);
    tool_await(&tool, "none: the service has no instance\n");
    assert_int_equal(kill(tool.pid, SIGINT), 0);
    assert_int_equal(tool_end(&tool), 0);
}

static void a_server_that_goes_and_comes_back_is_seen(void **state)
{
    struct rig *rig = *state;
    struct tool tool;
    char target[64];
    int port = rig->users[0].port;
    snprintf(target, sizeof target, "static:///127.0.0.1:%d", port);
    tool_start(&tool, NULL, false, "discover", target, "--watch", "--json", NULL);
    await_line(&tool, "\"address\":\"127.0.0.1:%d\",\"state\":\"failed\"", port);
    start_users(rig, 0);
    await_line(&tool, "\"event\":\"changed\",\"address\":\"127.0.0.1:%d\",\"state\":\"ready\"", port);
    assert_int_equal(kill(rig->users[0].pid, SIGKILL), 0);
    (void)users_wait(&rig->users[0]);
    await_line(&tool, "\"address\":\"127.0.0.1:%d\",\"state\":\"failed\"", port);
    assert_int_equal(kill(tool.pid, SIGTERM), 0);
    assert_int_equal(tool_end(&tool), 0);
}

static void a_terminal_gets_the_table_anew(void **state)
{
    static const char clear[] = "\033[H\033[2J";
    struct rig *rig = *state;
    struct tool tool;
    write_file(rig, "- 127.0.0.1:1\n");
    tool_start(&tool, NULL, true, "discover", rig->target, "--watch", NULL);
    tool_await(&tool, clear);
    await_line(&tool, "127.0.0.1:1  \033[31mfailed\033[0m");
    write_file(rig, "- {address: \"127.0.0.1:1\", zone: eu-1b}\n");
    tool_await(&tool, clear);
    tool_await(&tool, "eu-1b");
    assert_int_equal(kill(tool.pid, SIGINT), 0);
    assert_int_equal(tool_end(&tool), 0);
}

static void consul_tells_who_comes_and_goes(void **state)
{
    struct rig *rig = *state;
    struct tool tool;
    const char *agent = agency_address(rig->agency);
    start_users(rig, 0);
    tool_start(&tool, NULL, false, "discover", "consul:///" USERS, "--consul", agent, "--watch", NULL);
    await_line(&tool, "127.0.0.1:%d  ready  health healthy", rig->users[0].port);
    start_users(rig, 1);
    await_line(&tool, "127.0.0.1:%d  ready  health healthy", rig->users[1].port);
    assert_int_equal(kill(rig->users[0].pid, SIGTERM), 0);
    await_line(&tool, "127.0.0.1:%d  gone", rig->users[0].port);
    assert_int_equal(users_wait(&rig->users[0]), 0);
    assert_int_equal(kill(tool.pid, SIGINT), 0);
    assert_int_equal(tool_end(&tool), 0);
}

static void a_service_that_consul_does_not_know_has_no_instance(void **state)
{
    struct rig *rig = *state;
    struct tool tool;
    tool_start(&tool, NULL, false, "discover", "consul:///" USERS, "--consul", agency_address(rig->agency), NULL);
    assert_int_equal(tool_end(&tool), 1);
    assert_said(&tool, "consul:///users: the service has no instance\n");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_server_is_told_from_an_address_where_nobody_is),
        CASE(without_one_that_is_ready_it_ends_with_1),
        CASE(json_has_all_that_is_known_of_an_instance),
        CASE(an_instance_that_is_not_well_does_not_count),
        CASE(a_name_without_a_scheme_is_looked_up),
        CASE(a_terminal_is_not_driven_by_what_a_list_says),
        CASE(mistakes_name_what_mends_them),
        CASE(a_file_that_changes_is_shown_line_by_line),
        CASE(a_server_that_goes_and_comes_back_is_seen),
        CASE(a_terminal_gets_the_table_anew),
        CASE(consul_tells_who_comes_and_goes),
        CASE(a_service_that_consul_does_not_know_has_no_instance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
