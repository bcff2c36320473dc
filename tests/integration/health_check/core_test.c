/* A channel that asks its instances for their health, on gRPC core: real servers with weft_health, and HTTP servers of
 * the test's beside them. */
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

#include "base/event.h"
#include "chat.weft.h"
#include "integration/health_check/http_server.h"

enum {
    SERVERS = 3
};

static const int64_t ns_per_ms = 1000000;

/* ---- the rig ----------------------------------------------------------------------------------------------------- */

struct node {
    weft_server *server;
    weft_health *health;
    struct http_server *http;
    char address[128];
    int number;
};

struct rig {
    weft_engine *engine;
    struct node nodes[SERVERS];
    weft_resolver *list;
    weft_picker *picker;
    weft_health_check_options check;
    weft_log *log;
    weft_channel *channel;
    weft_arena *arena;
};

static weft_code say(weft_call *call, const Chat__Text *request, Chat__Text *response, void *self)
{
    (void)call;
    response->number = ((struct node *)self)->number;
    response->text = request->text;
    return WEFT_OK;
}

/* At 127.0.0.1, .2 and .3, so that they can have one port for HTTP. */
static void start_node(struct rig *rig, int i)
{
    static const chat_Chat_ops ops = {.Say = say};
    struct node *node = &rig->nodes[i];
    char address[32];
    weft_server_options options = WEFT_SERVER_OPTIONS_INIT;
    options.workers = 2;
    options.quiet_ms = 20;
    node->number = i;
    (void)snprintf(address, sizeof address, "127.0.0.%d:0", i + 1);
    assert_int_equal(weft_server_new(&node->server, rig->engine, &options), 0);
    assert_int_equal(weft_health_new(&node->health, NULL), 0);
    assert_int_equal(weft_health_register(node->server, node->health), 0);
    assert_int_equal(chat_Chat_register(node->server, &ops, node, NULL), 0);
    assert_int_equal(weft_server_listen(node->server, node->address[0] != '\0' ? node->address + 5 : address), 0);
    assert_int_equal(weft_server_start(node->server), 0);
    (void)snprintf(node->address, sizeof node->address, "ipv4:%s", weft_server_address(node->server, 0));
}

static void stop_node(struct rig *rig, int i)
{
    struct node *node = &rig->nodes[i];
    if (node->server != NULL)
        assert_int_equal(weft_server_stop(node->server, 0), 0);
    weft_server_free(node->server);
    weft_health_free(node->health);
    node->server = NULL;
    node->health = NULL;
}

static void stop_http(struct rig *rig)
{
    for (int i = 0; i < SERVERS; i++) {
        if (rig->nodes[i].http != NULL)
            http_server_stop(rig->nodes[i].http);
        rig->nodes[i].http = NULL;
    }
}

/* Beside each node, all at one port, which is not always easy to find. */
static void start_http(struct rig *rig)
{
    for (int attempt = 0; attempt < 100 && rig->nodes[SERVERS - 1].http == NULL; attempt++) {
        uint16_t port = 0;
        stop_http(rig);
        for (int i = 0; i < SERVERS; i++) {
            rig->nodes[i].http = http_server_start(i + 1, port);
            if (rig->nodes[i].http == NULL)
                break;
            port = http_server_port(rig->nodes[i].http);
        }
        rig->check.port = port;
    }
    assert_non_null(rig->nodes[SERVERS - 1].http);
    rig->check.kind = WEFT_HEALTH_CHECK_HTTP;
}

static void tell(struct rig *rig, const char *letters)
{
    weft_address addresses[SERVERS];
    memset(addresses, 0, sizeof addresses);
    for (size_t i = 0; letters[i] != '\0'; i++)
        addresses[i].address = rig->nodes[letters[i] - 'a'].address;
    assert_int_equal(weft_list_resolver_set(rig->list, addresses, strlen(letters)), 0);
}

static void open_channel(struct rig *rig, const char *letters)
{
    weft_resolver *const resolvers[] = {rig->list};
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    options.resolvers = resolvers;
    options.resolver_count = 1;
    options.picker = rig->picker;
    options.min_backoff_ms = 20;
    options.max_backoff_ms = 50;
    options.log = rig->log;
    options.health_check = &rig->check;
    assert_int_equal(weft_channel_new(&rig->channel, rig->engine, "list:///", &options), 0);
    tell(rig, letters);
}

static void close_channel(struct rig *rig)
{
    weft_channel_free(rig->channel);
    rig->channel = NULL;
}

static void pass_ms(struct rig *rig, int64_t ms)
{
    weft__event never;
    assert_int_equal(weft__event_init(&never), 0);
    assert_int_equal(weft__event_wait(&never, weft_engine_now_ns(rig->engine) + ms * ns_per_ms), -ETIMEDOUT);
    weft__event_fini(&never);
}

/* @return the number of the node that answered; -1: the call failed. */
static int call_one(struct rig *rig)
{
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    options.timeout_ms = 10000;
    options.wait_for_ready = true;
    weft_arena_reset(rig->arena);
    weft_status status = chat_Chat_Say(rig->channel, rig->arena, &options, &request, &response);
    return status.code == WEFT_OK ? (int)response->number : -1;
}

/* Calls until these, all of them and no others, have answered for a while. They are called in turn. */
static void await_used(struct rig *rig, const char *letters)
{
    unsigned wanted = 0;
    unsigned seen = ~0U;
    for (size_t i = 0; letters[i] != '\0'; i++)
        wanted |= 1U << (letters[i] - 'a');
    for (int round = 0; round < 5000 && seen != wanted; round++) {
        seen = 0;
        for (int i = 0; i < 9; i++) {
            int number = call_one(rig);
            seen |= number >= 0 ? 1U << number : 1U << SERVERS;
        }
        if (seen != wanted)
            pass_ms(rig, 2);
    }
    assert_int_equal(seen, wanted);
}

static int set_up(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    weft_core_engine_options options = WEFT_CORE_ENGINE_OPTIONS_INIT;
    assert_non_null(rig);
    options.threads = 2;
    rig->check = (weft_health_check_options)WEFT_HEALTH_CHECK_OPTIONS_INIT;
    rig->check.interval_ms = 20;
    assert_int_equal(weft_core_engine_new(&rig->engine, &options), 0);
    assert_int_equal(weft_arena_new(&rig->arena, 0), 0);
    assert_int_equal(weft_list_resolver_new(&rig->list), 0);
    assert_int_equal(weft_round_robin_new(&rig->picker), 0);
    for (int i = 0; i < SERVERS; i++)
        start_node(rig, i);
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    close_channel(rig);
    weft_picker_free(rig->picker);
    weft_resolver_free(rig->list);
    for (int i = 0; i < SERVERS; i++)
        stop_node(rig, i);
    stop_http(rig);
    assert_int_equal(weft_engine_free(rig->engine), 0);
    weft_arena_free(rig->arena);
    free(rig);
    return 0;
}

/* ---- gRPC -------------------------------------------------------------------------------------------------------- */

static void assert_follows_the_servers_word(struct rig *rig)
{
    rig->check.service = "chat.Chat";
    rig->check.timeout_ms = rig->check.kind == WEFT_HEALTH_CHECK_WATCH ? 5000 : 0;
    open_channel(rig, "abc");
    await_used(rig, "abc");
    assert_int_equal(weft_health_set(rig->nodes[1].health, "chat.Chat", WEFT_NOT_SERVING), 0);
    await_used(rig, "ac");
    assert_int_equal(weft_health_set(rig->nodes[2].health, "chat.Chat", WEFT_NOT_SERVING), 0);
    await_used(rig, "a");
    assert_int_equal(weft_health_set(rig->nodes[0].health, "chat.Chat", WEFT_NOT_SERVING), 0);
    await_used(rig, "abc"); /* better than none */
    assert_int_equal(weft_health_set(rig->nodes[1].health, "chat.Chat", WEFT_SERVING), 0);
    await_used(rig, "b");
    stop_node(rig, 1);
    await_used(rig, "ac");
    start_node(rig, 1);
    await_used(rig, "b");
}

static void checks_follow_what_a_server_says_of_a_service(void **state)
{
    assert_follows_the_servers_word(*state);
}

static void watches_follow_what_a_server_says_of_a_service(void **state)
{
    struct rig *rig = *state;
    rig->check.kind = WEFT_HEALTH_CHECK_WATCH;
    assert_follows_the_servers_word(rig);
}

static void an_unknown_service_is_not_healthy_until_it_is_known(void **state)
{
    struct rig *rig = *state;
    rig->check.service = "warm";
    for (int kind = WEFT_HEALTH_CHECK_GRPC; kind <= WEFT_HEALTH_CHECK_WATCH; kind++) {
        rig->check.kind = (weft_health_check_kind)kind;
        open_channel(rig, "abc");
        assert_int_equal(weft_health_set(rig->nodes[2].health, "warm", WEFT_SERVING), 0);
        await_used(rig, "c");
        close_channel(rig);
    }
}

static void instances_come_and_go_while_they_are_asked(void **state)
{
    static const char *const lists[] = {"abc", "a", "bc", "", "c", "ab"};
    struct rig *rig = *state;
    rig->check.interval_ms = 1;
    for (int i = 0; i < 60; i++) {
        rig->check.kind = i % 2 == 0 ? WEFT_HEALTH_CHECK_GRPC : WEFT_HEALTH_CHECK_WATCH;
        open_channel(rig, "abc");
        for (int k = 0; k < 6; k++) {
            tell(rig, lists[(i + k) % 6]);
            if (i % 5 == k)
                pass_ms(rig, 1);
        }
        if (i % 3 == 0) {
            tell(rig, "b");
            await_used(rig, "b");
        }
        close_channel(rig);
    }
}

/* ---- HTTP -------------------------------------------------------------------------------------------------------- */

static void http_asks_for_a_path_at_a_port(void **state)
{
    struct rig *rig = *state;
    char request[1024];
    char host[64];
    start_http(rig);
    rig->check.path = "/status?of=me";
    open_channel(rig, "abc");
    await_used(rig, "abc");
    for (int i = 0; i < 5000 && http_server_asked(rig->nodes[1].http) < 3; i++)
        pass_ms(rig, 1);
    assert_true(http_server_asked(rig->nodes[1].http) >= 3);
    http_server_request(rig->nodes[1].http, request);
    assert_memory_equal(request, "GET /status?of=me HTTP/1.1\r\n", 28);
    (void)snprintf(host, sizeof host, "\r\nHost: 127.0.0.2:%u\r\n", (unsigned)rig->check.port);
    assert_non_null(strstr(request, host));
}

static void an_answer_by_http_other_than_2xx_is_a_failure(void **state)
{
    static const enum http_answer bad[] = {HTTP_ERROR, HTTP_GARBAGE, HTTP_CUT, HTTP_SILENCE, HTTP_CLOSE};
    struct rig *rig = *state;
    start_http(rig);
    http_server_answer(rig->nodes[0].http, HTTP_PIECES);
    open_channel(rig, "abc");
    await_used(rig, "abc");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        http_server_answer(rig->nodes[1].http, bad[i]);
        await_used(rig, "ac");
        http_server_answer(rig->nodes[1].http, HTTP_GOOD);
        await_used(rig, "abc");
    }
    http_server_stop(rig->nodes[1].http); /* refuses */
    rig->nodes[1].http = NULL;
    await_used(rig, "ac");
    assert_true(http_server_asked(rig->nodes[2].http) > 3);
}

static void a_silent_check_ends_with_its_instance(void **state)
{
    struct rig *rig = *state;
    start_http(rig);
    rig->check.interval_ms = 60000;
    rig->check.timeout_ms = 60000;
    for (int i = 0; i < SERVERS; i++)
        http_server_answer(rig->nodes[i].http, HTTP_SILENCE);
    open_channel(rig, "abc");
    for (int i = 0; i < SERVERS; i++)
        for (int ms = 0; ms < 10000 && http_server_waiting(rig->nodes[i].http) == 0; ms++)
            pass_ms(rig, 1);
    tell(rig, "bc");
    for (int ms = 0; ms < 10000 && http_server_waiting(rig->nodes[0].http) > 0; ms++)
        pass_ms(rig, 1);
    assert_int_equal(http_server_waiting(rig->nodes[0].http), 0);
    assert_int_equal(http_server_waiting(rig->nodes[1].http), 1);
    await_used(rig, "bc"); /* without a verdict they are used */
    close_channel(rig);
    for (int ms = 0; ms < 10000 && http_server_waiting(rig->nodes[1].http) > 0; ms++)
        pass_ms(rig, 1);
    assert_int_equal(http_server_waiting(rig->nodes[1].http), 0);
}

static void instances_come_and_go_while_they_are_asked_by_http(void **state)
{
    static const char *const lists[] = {"abc", "a", "bc", "", "c", "ab"};
    struct rig *rig = *state;
    start_http(rig);
    http_server_answer(rig->nodes[0].http, HTTP_ERROR);
    http_server_answer(rig->nodes[2].http, HTTP_CLOSE);
    rig->check.interval_ms = 1;
    rig->check.unhealthy_after = -1;
    for (int i = 0; i < 60; i++) {
        open_channel(rig, "abc");
        for (int k = 0; k < 6; k++) {
            tell(rig, lists[(i + k) % 6]);
            if (i % 5 == k)
                pass_ms(rig, 1);
        }
        if (i % 3 == 0) {
            tell(rig, "abc");
            await_used(rig, "b");
        }
        close_channel(rig);
    }
}

/* A port for gRPC, and a socket for it: what answers there is no HTTP/1, and that is found out. */
static void where_nobody_speaks_http_an_instance_is_unhealthy(void **state)
{
    struct rig *rig = *state;
    FILE *lines = tmpfile();
    weft_log_options options = WEFT_LOG_OPTIONS_INIT;
    char text[8192] = "";
    char path[64];
    assert_non_null(lines);
    options.fd = fileno(lines);
    assert_int_equal(weft_log_new(&rig->log, &options), 0);
    rig->check.kind = WEFT_HEALTH_CHECK_HTTP;
    rig->check.unhealthy_after = -1;
    stop_node(rig, 1);
    (void)snprintf(path, sizeof path, "unix:/tmp/weft-health-check-%ld", (long)getpid());
    (void)snprintf(rig->nodes[1].address, sizeof rig->nodes[1].address, "ipv4:%s", path);
    start_node(rig, 1);
    (void)snprintf(rig->nodes[1].address, sizeof rig->nodes[1].address, "%s", path);
    open_channel(rig, "ab");
    await_used(rig, "ab");
    for (int ms = 0; ms < 10000 && (strstr(text, path) == NULL || strstr(text, "ipv4:127.0.0.1") == NULL); ms++) {
        pass_ms(rig, 1);
        ssize_t len = pread(fileno(lines), text, sizeof text - 1, 0);
        text[len > 0 ? len : 0] = '\0';
    }
    assert_non_null(strstr(text, path));
    assert_non_null(strstr(text, "ipv4:127.0.0.1"));
    assert_null(strstr(text, "cannot be asked"));
    close_channel(rig);
    weft_log_free(rig->log);
    (void)fclose(lines);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(checks_follow_what_a_server_says_of_a_service, set_up, tear_down),
        cmocka_unit_test_setup_teardown(watches_follow_what_a_server_says_of_a_service, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_unknown_service_is_not_healthy_until_it_is_known, set_up, tear_down),
        cmocka_unit_test_setup_teardown(instances_come_and_go_while_they_are_asked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(http_asks_for_a_path_at_a_port, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_answer_by_http_other_than_2xx_is_a_failure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_silent_check_ends_with_its_instance, set_up, tear_down),
        cmocka_unit_test_setup_teardown(instances_come_and_go_while_they_are_asked_by_http, set_up, tear_down),
        cmocka_unit_test_setup_teardown(where_nobody_speaks_http_an_instance_is_unhealthy, set_up, tear_down),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
