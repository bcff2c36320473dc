/* A channel that asks its instances for their health, with every allocation failing in turn: nothing leaks, nobody
 * hangs, and once there is memory again the checks go on. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <weft/testing.h>
#include <weft/weft.h>

#include "chat.weft.h"
#include "support/alloc_fault.h"

static const int64_t interval_ns = INT64_C(30000000000);

struct rig {
    weft_engine *engine;
    weft_server *server;
    weft_health *health;
    weft_resolver *list;
    weft_channel *channel;
    weft_arena *arena;
};

static weft_code say(weft_call *call, const Chat__Text *request, Chat__Text *response, void *self)
{
    (void)call;
    (void)self;
    response->number = request->number;
    return WEFT_OK;
}

static const chat_Chat_ops ops = {.Say = say};

static int serve(struct rig *rig)
{
    weft_server_options options = WEFT_SERVER_OPTIONS_INIT;
    options.workers = -1;
    int rc = weft_memory_engine_new(&rig->engine, NULL);
    if (rc == 0)
        rc = weft_server_new(&rig->server, rig->engine, &options);
    if (rc == 0)
        rc = weft_health_new(&rig->health, NULL);
    if (rc == 0)
        rc = weft_health_register(rig->server, rig->health);
    if (rc == 0)
        rc = chat_Chat_register(rig->server, &ops, NULL, NULL);
    if (rc == 0)
        rc = weft_server_listen(rig->server, "10.0.0.1:0");
    return rc == 0 ? weft_server_start(rig->server) : rc;
}

static int connect_to(struct rig *rig, weft_health_check_kind kind)
{
    weft_health_check_options check = WEFT_HEALTH_CHECK_OPTIONS_INIT;
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    check.kind = kind;
    check.unhealthy_after = -1;
    options.health_check = &check;
    int rc = weft_list_resolver_new(&rig->list);
    weft_resolver *const resolvers[] = {rig->list};
    options.resolvers = resolvers;
    options.resolver_count = 1;
    if (rc == 0)
        rc = weft_arena_new(&rig->arena, 0);
    return rc == 0 ? weft_channel_new(&rig->channel, rig->engine, "list:///", &options) : rc;
}

static int tell(struct rig *rig)
{
    char text[64];
    weft_address address;
    memset(&address, 0, sizeof address);
    (void)snprintf(text, sizeof text, "ipv4:%s", weft_server_address(rig->server, 0));
    address.address = text;
    return weft_list_resolver_set(rig->list, &address, 1);
}

static weft_code ask(struct rig *rig)
{
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    const Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    options.timeout_ms = 60000;
    return chat_Chat_Say(rig->channel, rig->arena, &options, &request, &response).code;
}

/* Both verdicts, and what comes in between. */
static int check(struct rig *rig)
{
    int rc = tell(rig);
    for (int i = 0; i < 4 && rc == 0; i++) {
        weft_test_advance(rig->engine, interval_ns);
        int set = weft_health_set(rig->health, "", i % 2 == 0 ? WEFT_NOT_SERVING : WEFT_SERVING);
        assert_int_equal(set, 0); /* "" is known, and takes no memory */
    }
    if (rc == 0)
        weft_test_advance(rig->engine, interval_ns);
    return rc;
}

static void go_on(struct rig *rig)
{
    assert_int_equal(tell(rig), 0); /* an address that there was no memory for */
    weft_test_advance(rig->engine, 3 * interval_ns);
    assert_int_equal(ask(rig), WEFT_OK);
}

static void end(struct rig *rig)
{
    weft_channel_free(rig->channel);
    weft_resolver_free(rig->list);
    weft_arena_free(rig->arena);
    weft_server_free(rig->server);
    weft_health_free(rig->health);
    assert_int_equal(weft_engine_free(rig->engine), 0);
}

static int run(void *context)
{
    struct rig rig = {.engine = NULL};
    int rc = serve(&rig);
    if (rc == 0)
        rc = connect_to(&rig, *(weft_health_check_kind *)context);
    if (rc == 0)
        rc = check(&rig);
    end(&rig);
    return weft_test_alloc_failed() ? -ENOMEM : rc; /* a check gets over it */
}

static void checks_survive_the_failure_of_each_allocation(void **state)
{
    weft_health_check_kind kind = WEFT_HEALTH_CHECK_GRPC;
    (void)state;
    assert_true(weft_test_oom_sweep(run, &kind) > 50);
}

static void watches_survive_the_failure_of_each_allocation(void **state)
{
    weft_health_check_kind kind = WEFT_HEALTH_CHECK_WATCH;
    (void)state;
    assert_true(weft_test_oom_sweep(run, &kind) > 50);
}

/* The `n`-th allocation, and all after it if it `lasts`, fail for five intervals. @return whether there were so
 * many. */
static bool lack_memory(weft_health_check_kind kind, long n, bool lasts)
{
    struct rig rig = {.engine = NULL};
    assert_int_equal(serve(&rig), 0);
    assert_int_equal(connect_to(&rig, kind), 0);
    if (lasts)
        weft_test_alloc_fail_from(n);
    else
        weft_test_alloc_fail_at(n);
    (void)check(&rig);
    bool struck = weft_test_alloc_failed();
    weft_test_alloc_fail_at(0);
    assert_int_equal(weft_health_set(rig.health, "", WEFT_SERVING), 0);
    go_on(&rig);
    end(&rig);
    return struck;
}

static void checks_go_on_when_there_is_memory_again(void **state)
{
    (void)state;
    for (int kind = WEFT_HEALTH_CHECK_GRPC; kind <= WEFT_HEALTH_CHECK_WATCH; kind++) {
        long n = 1;
        while (lack_memory((weft_health_check_kind)kind, n, false)) {
            assert_true(lack_memory((weft_health_check_kind)kind, n, true));
            n++;
        }
        assert_true(n > 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checks_survive_the_failure_of_each_allocation),
        cmocka_unit_test(watches_survive_the_failure_of_each_allocation),
        cmocka_unit_test(checks_go_on_when_there_is_memory_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
