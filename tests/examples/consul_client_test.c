/* examples/clients/c-consul beside an agent at which two processes of user-service are registered:
 * test_examples_client_c-consul [CONSUL]. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "integration/rolling/agency.h"
#include "integration/rolling/users.h"

#define PROCESSES 2
#define ID_BYTES  37

static const char *binary; /* of Consul; NULL: the fake agent */

struct rig {
    struct agency *agency;
    struct users users[PROCESSES];
};

static int set_up(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    *state = rig;
    rig->agency = agency_new(binary);
    agency_start(rig->agency);
    assert_int_equal(setenv("CONSUL_HTTP_ADDR", agency_address(rig->agency), 1), 0);
    users_init(rig->users, PROCESSES);
    for (int i = 0; i < PROCESSES; i++) {
        users_start(&rig->users[i], rig->agency, NULL);
        agency_await(rig->agency, USERS, rig->users[i].port, WELL);
    }
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    users_fini(rig->users, PROCESSES);
    agency_free(rig->agency);
    free(rig);
    return 0;
}

/* Runs the client, which is to end with this code. */
static void run(const char *name, const char *email, int wanted, char *output, size_t size)
{
    char command[512];
    snprintf(command, sizeof command, "'" CLIENT "' consul:///" USERS " '%s' '%s' 2>&1", name, email);
    FILE *stream = popen(command, "r");
    assert_non_null(stream);
    size_t length = fread(output, 1, size - 1, stream);
    output[length] = '\0';
    int status = pclose(stream);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != wanted)
        fail_msg("it ended with %d, and said: %s", status, output);
}

static void it_does_what_all_clients_do(void **state)
{
    (void)state;
    char output[4096], wanted[1024], id[ID_BYTES];
    run("Ada Lovelace", "ada@example.org", 0, output, sizeof output);
    assert_int_equal(sscanf(output, "created: %36s", id), 1);
    snprintf(wanted, sizeof wanted,
             "created: %s Ada Lovelace <ada@example.org>\n"
             "got: %s Ada Lovelace <ada@example.org>\n"
             "page 1: %s Ada Lovelace <ada@example.org>\n"
             "NOT_FOUND: user no-such-user does not exist\n"
             "  ResourceInfo: user no-such-user\n",
             id, id, id);
    assert_string_equal(output, wanted);
    run("Another Ada", "ADA@example.org", 1, output, sizeof output);
    assert_string_equal(output, "ALREADY_EXISTS: email belongs to another user\n");
}

static void a_dead_instance_costs_no_call(void **state)
{
    struct rig *rig = *state;
    char output[8192], email[32];
    assert_int_equal(kill(rig->users[0].pid, SIGKILL), 0);
    assert_int_equal(users_wait(&rig->users[0]), -1);
    for (int i = 1; i <= 8; i++) { /* each is a channel of its own, which does not know yet */
        snprintf(email, sizeof email, "%d@example.org", i);
        run("Somebody", email, 0, output, sizeof output);
        assert_null(strstr(output, "UNAVAILABLE"));
    }
    assert_non_null(strstr(output, "\npage 4: "));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_does_what_all_clients_do, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_dead_instance_costs_no_call, set_up, tear_down),
    };
    binary = argc > 1 ? argv[1] : NULL;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
