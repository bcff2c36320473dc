/* A channel over DNS and over a file: what they list gets calls, and what they list later gets them too. */
#include <errno.h>
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

#include <weft/core.h>
#include <weft/weft.h>

#include "chat.weft.h"
#include "unit/resolve/dns_server.h"

enum {
    NODES = 3
};

struct node {
    weft_server *server;
    char address[64]; /* "127.0.0.1:12345" */
    int number;
};

struct rig {
    weft_engine *engine;
    struct node nodes[NODES];
    weft_picker *picker;
    weft_resolver *resolver;
    weft_channel *channel;
    weft_arena *arena;
};

static weft_code say(weft_call *call, const Chat__Text *request, Chat__Text *response, void *self)
{
    const struct node *node = self;
    (void)call;
    response->number = node->number;
    response->text = request->text;
    return WEFT_OK;
}

static const chat_Chat_ops ops = {.Say = say};

static void set_up(struct rig *rig)
{
    *rig = (struct rig){.engine = NULL};
    assert_int_equal(weft_core_engine_new(&rig->engine, NULL), 0);
    assert_int_equal(weft_arena_new(&rig->arena, 0), 0);
    assert_int_equal(weft_round_robin_new(&rig->picker), 0);
    for (int i = 0; i < NODES; i++) {
        struct node *node = &rig->nodes[i];
        node->number = i;
        assert_int_equal(weft_server_new(&node->server, rig->engine, NULL), 0);
        assert_int_equal(chat_Chat_register(node->server, &ops, node, NULL), 0);
        assert_int_equal(weft_server_listen(node->server, "127.0.0.1:0"), 0);
        assert_int_equal(weft_server_start(node->server), 0);
        snprintf(node->address, sizeof node->address, "%s", weft_server_address(node->server, 0));
    }
}

static void open_channel(struct rig *rig, const char *target)
{
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    options.resolvers = &rig->resolver;
    options.resolver_count = 1;
    options.picker = rig->picker;
    assert_int_equal(weft_channel_new(&rig->channel, rig->engine, target, &options), 0);
}

static void tear_down(struct rig *rig)
{
    weft_channel_free(rig->channel);
    weft_resolver_free(rig->resolver);
    weft_picker_free(rig->picker);
    weft_arena_free(rig->arena);
    for (int i = 0; i < NODES; i++) {
        assert_int_equal(weft_server_stop(rig->nodes[i].server, 0), 0);
        weft_server_free(rig->nodes[i].server);
    }
    assert_int_equal(weft_engine_free(rig->engine), 0);
}

/* Calls until those and only those nodes (a bit each) have answered for 30 calls. No call fails meanwhile. */
static void await_nodes(struct rig *rig, unsigned wanted)
{
    unsigned seen = 0;
    int good = 0;
    for (int i = 0; i < 100000 && !(good >= 30 && seen == wanted); i++) {
        weft_call_options options = WEFT_CALL_OPTIONS_INIT;
        Chat__Text request = CHAT__TEXT__INIT;
        Chat__Text *response = NULL;
        options.timeout_ms = 10000;
        options.wait_for_ready = true;
        weft_arena_reset(rig->arena);
        weft_status status = chat_Chat_Say(rig->channel, rig->arena, &options, &request, &response);
        if (status.code != WEFT_OK)
            fail_msg("%s: %s", weft_code_name(status.code), status.message);
        seen |= 1U << response->number;
        good++;
        if (good > 30 && seen != wanted) {
            seen = 0;
            good = 0;
        }
    }
    assert_int_equal(seen, wanted);
}

static uint16_t port_of(const struct node *node)
{
    return (uint16_t)strtoul(strrchr(node->address, ':') + 1, NULL, 10);
}

static void a_name_in_dns_gets_calls_on_all_its_instances_and_on_new_ones(void **state)
{
    static const char name[] = "_grpc._tcp.users.test";
    struct rig rig;
    char servers[64];
    weft_dns_resolver_options options = WEFT_DNS_RESOLVER_OPTIONS_INIT;
    struct dns_server *dns = dns_server_start();
    (void)state;
    set_up(&rig);
    dns_server_add(dns, "host.test", "127.0.0.1", 86400);
    dns_server_add_srv(dns, name, 1, 1, port_of(&rig.nodes[0]), "host.test", 86400);
    dns_server_add_srv(dns, name, 1, 1, port_of(&rig.nodes[1]), "host.test", 86400);
    dns_server_add_srv(dns, name, 9, 1, port_of(&rig.nodes[2]), "host.test", 86400);
    snprintf(servers, sizeof servers, "127.0.0.1:%u", (unsigned)dns_server_port(dns));
    options.servers = servers;
    options.refresh_ms = 20;
    options.timeout_ms = 100;
    assert_int_equal(weft_dns_resolver_new(&rig.resolver, &options), 0);
    open_channel(&rig, "dns:///_grpc._tcp.users.test");
    await_nodes(&rig, 3); /* the third is spare */
    dns_server_answer(dns, DNS_SILENCE);
    dns_server_clear(dns);
    dns_server_add(dns, "host.test", "127.0.0.1", 86400);
    dns_server_add_srv(dns, name, 1, 1, port_of(&rig.nodes[0]), "host.test", 86400);
    dns_server_add_srv(dns, name, 1, 1, port_of(&rig.nodes[2]), "host.test", 86400);
    await_nodes(&rig, 3); /* what is not told changes nothing */
    dns_server_answer(dns, DNS_RECORDS);
    await_nodes(&rig, 5);
    tear_down(&rig);
    dns_server_stop(dns);
}

static void write_file(const char *path, const char *one, const char *other)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fprintf(file, "- %s\n- {address: %s, weight: 2}\n", one, other) > 0);
    assert_int_equal(fclose(file), 0);
}

static void a_file_gets_calls_on_what_it_says_now(void **state)
{
    struct rig rig;
    char folder[] = "/tmp/weft-channel.XXXXXX";
    char path[64], target[80];
    (void)state;
    set_up(&rig);
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/users.yaml", folder);
    snprintf(target, sizeof target, "file://%s", path);
    write_file(path, rig.nodes[0].address, rig.nodes[1].address);
    assert_int_equal(weft_file_resolver_new(&rig.resolver, NULL), 0);
    open_channel(&rig, target);
    await_nodes(&rig, 3);
    write_file(path, rig.nodes[2].address, rig.nodes[1].address);
    await_nodes(&rig, 6);
    write_file(path, "users", rig.nodes[0].address); /* a mistake changes nothing */
    await_nodes(&rig, 6);
    tear_down(&rig);
    unlink(path);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_in_dns_gets_calls_on_all_its_instances_and_on_new_ones),
        cmocka_unit_test(a_file_gets_calls_on_what_it_says_now),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
