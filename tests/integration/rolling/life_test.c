/* The life of a real process of user-service beside an agent: test_rolling_life [CONSUL]. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "integration/rolling/agency.h"
#include "integration/rolling/users.h"

static const char *binary; /* of Consul; NULL: the fake agent */

struct rig {
    struct agency *agency;
    struct users users;
    struct client client;
    bool connected;
};

static int set_up(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    rig->agency = agency_new(binary);
    users_init(&rig->users, 1);
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    if (rig->connected)
        client_close(&rig->client);
    users_fini(&rig->users, 1);
    agency_free(rig->agency);
    free(rig);
    return 0;
}

static void connect_client(struct rig *rig)
{
    char target[32];
    snprintf(target, sizeof target, "127.0.0.1:%d", rig->users.port);
    client_open(&rig->client, target, NULL);
    rig->connected = true;
}

/* The log has these phases one after the other. */
static void assert_phases(struct rig *rig)
{
    static const char *const phases[] = {"starting", "serving",   "not serving", "deregistering",
                                         "closing",  "lame duck", "draining",    "stopped"};
    char *log = users_log(&rig->users);
    const char *at = log;
    char line[64];
    assert_non_null(log);
    for (size_t i = 0; i < sizeof phases / sizeof *phases && at != NULL; i++) {
        snprintf(line, sizeof line, "\"msg\":\"phase\",\"phase\":\"%s\"", phases[i]);
        at = strstr(at, line);
    }
    if (at == NULL)
        fail_msg("not all phases are in: %s", log);
    free(log);
}

static void assert_listens_before_it_registers(struct rig *rig)
{
    char *log = users_log(&rig->users);
    assert_non_null(log);
    const char *listens = strstr(log, "\"msg\":\"listening\"");
    bool in_order = listens != NULL && strstr(listens, "consul: an instance is registered") != NULL;
    free(log);
    assert_true(in_order);
}

static void it_is_found_once_it_listens_and_serves_on_after_it_has_left(void **state)
{
    struct rig *rig = *state;
    weft_code code = WEFT_OK;
    int served_unlisted = 0;
    char id[64];
    agency_start(rig->agency);
    users_start(&rig->users, rig->agency, "1s");
    agency_await(rig->agency, USERS, rig->users.port, WELL);
    connect_client(rig);
    snprintf(id, sizeof id, "%s", client_create(&rig->client));
    assert_int_equal(kill(rig->users.pid, SIGTERM), 0);
    while (code == WEFT_OK) {
        bool listed = agency_ask(rig->agency, USERS, rig->users.port) != ABSENT;
        weft_arena_reset(rig->client.arena);
        code = client_get(&rig->client, id).code;
        served_unlisted += code == WEFT_OK && !listed;
        assert_true(code == WEFT_OK || !listed);
    }
    assert_int_equal(code, WEFT_UNAVAILABLE);
    assert_true(served_unlisted > 0);
    assert_int_equal(users_wait(&rig->users), 0);
    assert_phases(rig);
    assert_listens_before_it_registers(rig);
}

static void it_starts_while_the_agent_is_down_and_is_found_once_that_is_there(void **state)
{
    struct rig *rig = *state;
    users_start(&rig->users, rig->agency, "1ms");
    connect_client(rig);
    (void)client_create(&rig->client);
    agency_start(rig->agency);
    agency_await(rig->agency, USERS, rig->users.port, WELL);
    assert_int_equal(kill(rig->users.pid, SIGINT), 0);
    assert_int_equal(users_wait(&rig->users), 0);
    assert_int_equal(agency_ask(rig->agency, USERS, rig->users.port), ABSENT);
}

static void a_second_signal_ends_the_lame_duck(void **state)
{
    struct rig *rig = *state;
    agency_start(rig->agency);
    users_start(&rig->users, rig->agency, "1h");
    agency_await(rig->agency, USERS, rig->users.port, WELL);
    assert_int_equal(kill(rig->users.pid, SIGTERM), 0);
    agency_await(rig->agency, USERS, rig->users.port, ABSENT);
    assert_int_equal(kill(rig->users.pid, SIGTERM), 0);
    assert_int_equal(users_wait(&rig->users), 0);
    assert_phases(rig);
}

int main(int argc, char **argv)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(it_is_found_once_it_listens_and_serves_on_after_it_has_left),
        CASE(it_starts_while_the_agent_is_down_and_is_found_once_that_is_there),
        CASE(a_second_signal_ends_the_lame_duck),
    };
    binary = argc > 1 ? argv[1] : NULL;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
