/* A channel over Consul: three servers that are registered, drain, go and come back; and an agent that dies. With the
 * name of a real agent's binary against that, without against one of the test's.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <weft/consul.h>
#include <weft/core.h>
#include <weft/weft.h>

#include "chat.weft.h"
#include "integration/consul/agent.h"
#include "integration/consul/directory.h"

enum {
    NODES = 3,
    ALL = 7 /* a bit each */
};

static const char *binary; /* NULL: the test's own agent */

struct node {
    weft_server *server;
    weft_registration *registration;
    atomic_int calls;
    int number;
};

struct rig {
    struct agent agent;
    struct directory *directory;
    weft_engine *engine;
    struct node nodes[NODES];
    weft_arena *arena;
    weft_consul *consul;
    weft_picker *picker;
    weft_channel *channel;
    char folder[64]; /* of snapshots */
};

static weft_code say(weft_call *call, const Chat__Text *request, Chat__Text *response, void *self)
{
    struct node *node = self;
    (void)call;
    atomic_fetch_add(&node->calls, 1);
    response->number = node->number;
    response->text = request->text;
    return WEFT_OK;
}

static const chat_Chat_ops ops = {.Say = say};

/* ---- the rig ----------------------------------------------------------------------------------------------------- */

static void stop_agent(struct rig *rig)
{
    if (binary != NULL)
        agent_stop(&rig->agent);
    else
        directory_stop(rig->directory);
}

static void start_agent(struct rig *rig)
{
    if (binary != NULL)
        agent_start(&rig->agent);
    else
        directory_start(rig->directory);
}

static weft_consul *make_client(const struct rig *rig)
{
    weft_consul *consul;
    weft_consul_options options = WEFT_CONSUL_OPTIONS_INIT;
    options.no_environment = true;
    options.address = binary != NULL ? rig->agent.address : directory_address(rig->directory);
    options.snapshot_folder = rig->folder;
    options.query_interval_ms = 1;
    options.backoff_ms = 10;
    options.max_backoff_ms = 100;
    options.empty_grace_ms = -1;
    assert_int_equal(weft_consul_new(&consul, &options, NULL, 0), 0);
    return consul;
}

static void start_servers(struct rig *rig)
{
    for (int i = 0; i < NODES; i++) {
        struct node *node = &rig->nodes[i];
        node->number = i;
        assert_int_equal(weft_server_new(&node->server, rig->engine, NULL), 0);
        assert_int_equal(chat_Chat_register(node->server, &ops, node, NULL), 0);
        assert_int_equal(weft_server_listen(node->server, "127.0.0.1:0"), 0);
        assert_int_equal(weft_server_start(node->server), 0);
    }
}

/* Registers those nodes; node N has the weight N + 1. */
static void enlist(struct rig *rig, unsigned nodes)
{
    for (int i = 0; i < NODES; i++) {
        weft_instance instance = WEFT_INSTANCE_INIT;
        if ((nodes & 1U << i) == 0)
            continue;
        instance.service = "users";
        instance.address = "127.0.0.1";
        instance.port = weft_server_port(rig->nodes[i].server, 0);
        instance.weight = (uint32_t)i + 1;
        assert_int_equal(
            weft_registry_register(weft_consul_registry(rig->consul), &instance, &rig->nodes[i].registration, NULL, 0),
            0);
    }
}

static void delist(struct rig *rig, unsigned nodes)
{
    for (int i = 0; i < NODES; i++) {
        if ((nodes & 1U << i) == 0)
            continue;
        assert_int_equal(weft_registry_deregister(weft_consul_registry(rig->consul), rig->nodes[i].registration, 20000),
                         0);
        rig->nodes[i].registration = NULL;
    }
}

static weft_channel *open_channel(const struct rig *rig, weft_consul *consul, weft_picker *picker)
{
    weft_channel *channel;
    weft_resolver *resolver = weft_consul_resolver(consul);
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    options.resolvers = &resolver;
    options.resolver_count = 1;
    options.picker = picker;
    assert_int_equal(weft_channel_new(&channel, rig->engine, "consul:///users", &options), 0);
    return channel;
}

static int set_up(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    *state = rig;
    snprintf(rig->folder, sizeof rig->folder, "/tmp/weft-consul.XXXXXX");
    assert_non_null(mkdtemp(rig->folder));
    if (binary != NULL) {
        agent_init(&rig->agent, binary);
        agent_start(&rig->agent);
    } else {
        rig->directory = directory_new();
    }
    assert_int_equal(weft_core_engine_new(&rig->engine, NULL), 0);
    assert_int_equal(weft_arena_new(&rig->arena, 0), 0);
    assert_int_equal(weft_round_robin_new(&rig->picker), 0);
    start_servers(rig);
    rig->consul = make_client(rig);
    rig->channel = open_channel(rig, rig->consul, rig->picker);
    enlist(rig, ALL);
    return 0;
}

static void remove_folder(const char *path)
{
    char file[512];
    const struct dirent *entry;
    DIR *folder = opendir(path);
    assert_non_null(folder);
    while ((entry = readdir(folder)) != NULL) {
        snprintf(file, sizeof file, "%s/%.255s", path, entry->d_name);
        if (entry->d_name[0] != '.')
            unlink(file);
    }
    closedir(folder);
    rmdir(path);
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    weft_channel_free(rig->channel);
    for (int i = 0; i < NODES; i++)
        delist(rig, rig->nodes[i].registration != NULL ? 1U << i : 0);
    assert_int_equal(weft_consul_free(rig->consul), 0);
    weft_picker_free(rig->picker);
    weft_arena_free(rig->arena);
    for (int i = 0; i < NODES; i++) {
        assert_int_equal(weft_server_stop(rig->nodes[i].server, 1000), 0);
        weft_server_free(rig->nodes[i].server);
    }
    assert_int_equal(weft_engine_free(rig->engine), 0);
    agent_stop(&rig->agent);
    if (rig->directory != NULL)
        directory_free(rig->directory);
    remove_folder(rig->folder);
    free(rig);
    return 0;
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

/* @return the node that has answered; -1: the call failed, as `status` says. */
static int call_any(struct rig *rig, weft_channel *channel, bool patient, weft_status *status)
{
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    options.timeout_ms = 20000;
    options.wait_for_ready = patient;
    weft_arena_reset(rig->arena);
    *status = chat_Chat_Say(channel, rig->arena, &options, &request, &response);
    return status->code == WEFT_OK ? (int)response->number : -1;
}

/* Calls until 30 in a row were answered by those nodes, all of them and no other. None fails meanwhile. */
static void await_nodes(struct rig *rig, weft_channel *channel, unsigned wanted)
{
    unsigned seen = 0;
    int good = 0;
    for (int i = 0; i < 200000 && !(good >= 30 && seen == wanted); i++) {
        weft_status status;
        int node = call_any(rig, channel, true, &status);
        if (node < 0) {
            fail_msg("%s: %s", weft_code_name(status.code), status.message);
            return;
        }
        bool other = (wanted & 1U << node) == 0;
        seen = other ? 0 : seen | 1U << node;
        good = other ? 0 : good + 1;
    }
    assert_int_equal(seen, wanted);
}

/* Once a list has arrived, nobody else gets a call. */
static void assert_only(struct rig *rig, weft_channel *channel, unsigned wanted)
{
    weft_status status;
    await_nodes(rig, channel, wanted);
    for (int i = 0; i < 60; i++) {
        int node = call_any(rig, channel, false, &status);
        assert_int_equal(status.code, WEFT_OK);
        assert_true(node >= 0 && (wanted & 1U << node) != 0);
    }
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void calls_go_to_all_that_are_registered_but_those_that_drain_or_went(void **state)
{
    struct rig *rig = *state;
    weft_registry *registry = weft_consul_registry(rig->consul);
    assert_only(rig, rig->channel, ALL);
    delist(rig, 1);
    assert_only(rig, rig->channel, 6);
    assert_int_equal(weft_registration_drain(registry, rig->nodes[1].registration, true, "an update"), 0);
    assert_only(rig, rig->channel, 4);
    assert_int_equal(weft_registration_drain(registry, rig->nodes[1].registration, false, NULL), 0);
    assert_only(rig, rig->channel, 6);
    enlist(rig, 1);
    assert_only(rig, rig->channel, ALL);
}

static void weights_of_the_directory_count(void **state)
{
    struct rig *rig = *state;
    weft_picker *picker;
    weft_status status;
    int before[NODES];
    assert_int_equal(weft_weighted_round_robin_new(&picker), 0);
    weft_channel *channel = open_channel(rig, rig->consul, picker);
    await_nodes(rig, channel, ALL);
    for (int i = 0; i < NODES; i++)
        before[i] = atomic_load(&rig->nodes[i].calls);
    for (int i = 0; i < 60; i++)
        assert_true(call_any(rig, channel, false, &status) >= 0);
    for (int i = 0; i < NODES; i++)
        assert_in_range(atomic_load(&rig->nodes[i].calls) - before[i], 10 * (i + 1) - 1, 10 * (i + 1) + 1);
    weft_channel_free(channel);
    weft_picker_free(picker);
}

static void when_all_are_gone_calls_say_so_until_one_is_back(void **state)
{
    struct rig *rig = *state;
    weft_status status;
    await_nodes(rig, rig->channel, ALL);
    delist(rig, ALL);
    for (int i = 0; i < 200000 && call_any(rig, rig->channel, false, &status) >= 0; i++)
        ; /* until the news are here */
    assert_int_equal(status.code, WEFT_UNAVAILABLE);
    assert_non_null(strstr(status.message, "the service has no instance"));
    enlist(rig, 2);
    assert_only(rig, rig->channel, 2);
}

static void an_agent_that_dies_takes_no_call_along_and_is_told_anew_when_it_is_back(void **state)
{
    struct rig *rig = *state;
    weft_picker *picker;
    weft_consul_counters counters = WEFT_CONSUL_COUNTERS_INIT;
    weft_registration_counters told = WEFT_REGISTRATION_COUNTERS_INIT;
    await_nodes(rig, rig->channel, ALL);
    stop_agent(rig);
    assert_only(rig, rig->channel, ALL);

    /* A program that starts now finds what the last one knew. */
    weft_consul *other = make_client(rig);
    assert_int_equal(weft_round_robin_new(&picker), 0);
    weft_channel *channel = open_channel(rig, other, picker);
    assert_only(rig, channel, ALL);
    assert_int_equal(weft_consul_count(other, &counters), 0);
    assert_int_equal(counters.snapshots, 1);
    assert_int_equal(counters.queries, 0);

    start_agent(rig);
    while (told.registrations < 2) { /* once before it died, once after */
        await_nodes(rig, rig->channel, ALL);
        assert_int_equal(weft_registration_count(weft_consul_registry(rig->consul), rig->nodes[2].registration, &told),
                         0);
    }
    await_nodes(rig, channel, ALL);
    delist(rig, 1);
    assert_only(rig, channel, 6);
    weft_channel_free(channel);
    weft_picker_free(picker);
    assert_int_equal(weft_consul_free(other), 0);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(calls_go_to_all_that_are_registered_but_those_that_drain_or_went),
        CASE(weights_of_the_directory_count),
        CASE(when_all_are_gone_calls_say_so_until_one_is_back),
        CASE(an_agent_that_dies_takes_no_call_along_and_is_told_anew_when_it_is_back),
    };
    binary = argc > 1 ? argv[1] : NULL;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
