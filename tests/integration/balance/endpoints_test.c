/* What a channel tells of its instances: one that is well, and one that nobody answers at. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <weft/core.h>
#include <weft/testing.h>
#include <weft/weft.h>

#include "base/clock.h"
#include "base/event.h"
#include "chat.weft.h"

static const int64_t ns_per_ms = 1000000;
static const int64_t longest_ns = 20000000000; /* to wait for anything */

struct rig {
    bool core;
    bool stepped;
    weft_engine *engine;
    weft_server *server;
    weft_health *health;
    char address[128];
    atomic_bool fails; /* calls do */
    atomic_bool holds; /* the next call is kept in `held` */
    _Atomic(weft_call *) held;
    weft_resolver *list;
    weft_channel_options options;
    weft_channel *channel;
    weft_arena *arena;
};

static weft_code say(weft_call *call, const Chat__Text *request, Chat__Text *response, void *self)
{
    struct rig *rig = self;
    (void)request, (void)response;
    if (rig->fails)
        return weft_fail(call, WEFT_UNAVAILABLE, "not today");
    if (!rig->holds)
        return WEFT_OK;
    assert_int_equal(weft_call_defer(call), 0);
    rig->held = call;
    return WEFT_OK;
}

/* ---- the rig ----------------------------------------------------------------------------------------------------- */

static void start_server(struct rig *rig)
{
    static const chat_Chat_ops ops = {.Say = say};
    weft_server_options options = WEFT_SERVER_OPTIONS_INIT;
    options.workers = rig->stepped ? -1 : 2;
    options.quiet_ms = 20;
    assert_int_equal(weft_server_new(&rig->server, rig->engine, &options), 0);
    assert_int_equal(weft_health_new(&rig->health, NULL), 0);
    assert_int_equal(weft_health_register(rig->server, rig->health), 0);
    assert_int_equal(chat_Chat_register(rig->server, &ops, rig, NULL), 0);
    assert_int_equal(weft_server_listen(rig->server, "127.0.0.1:0"), 0);
    assert_int_equal(weft_server_start(rig->server), 0);
    snprintf(rig->address, sizeof rig->address, "ipv4:%s", weft_server_address(rig->server, 0));
}

static struct rig *new_rig(bool core, bool stepped)
{
    struct rig *rig = calloc(1, sizeof *rig);
    weft_memory_engine_options memory_options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
    assert_non_null(rig);
    rig->core = core;
    rig->stepped = stepped;
    memory_options.threaded = !stepped;
    assert_int_equal(
        core ? weft_core_engine_new(&rig->engine, NULL) : weft_memory_engine_new(&rig->engine, &memory_options), 0);
    assert_int_equal(weft_arena_new(&rig->arena, 0), 0);
    assert_int_equal(weft_list_resolver_new(&rig->list), 0);
    rig->options = (weft_channel_options)WEFT_CHANNEL_OPTIONS_INIT;
    rig->options.resolvers = &rig->list;
    rig->options.resolver_count = 1;
    start_server(rig);
    return rig;
}

static void open_channel(struct rig *rig)
{
    assert_int_equal(weft_channel_new(&rig->channel, rig->engine, "list:///", &rig->options), 0);
}

static int set_up_core(void **state)
{
    *state = new_rig(true, false);
    return 0;
}

static int set_up_threaded(void **state)
{
    *state = new_rig(false, false);
    return 0;
}

static int set_up_stepped(void **state)
{
    *state = new_rig(false, true);
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    weft_channel_free(rig->channel);
    weft_server_free(rig->server);
    weft_health_free(rig->health);
    weft_resolver_free(rig->list);
    weft_arena_free(rig->arena);
    assert_int_equal(weft_engine_free(rig->engine), 0);
    free(rig);
    return 0;
}

static void list(struct rig *rig, const weft_address *addresses, size_t count)
{
    assert_int_equal(weft_list_resolver_set(rig->list, addresses, count), 0);
}

/* What the channel tells now; until the next question. */
static weft_endpoint_list look(struct rig *rig)
{
    weft_endpoint_list found = WEFT_ENDPOINT_LIST_INIT;
    weft_arena_reset(rig->arena);
    assert_int_equal(weft_channel_endpoints(rig->channel, rig->arena, &found), 0);
    for (size_t i = 0; i < found.count; i++)
        assert_int_equal(found.endpoints[i]->struct_size, sizeof(weft_endpoint_info));
    return found;
}

static int64_t now_ns(void)
{
    weft__clock *clock = weft__clock_system();
    return clock->now_ns(clock);
}

/* Lets things happen, for a moment. */
static void turn(struct rig *rig)
{
    if (!rig->stepped)
        (void)sched_yield();
    else if (weft_test_step(rig->engine, SIZE_MAX) == 0)
        weft_test_advance(rig->engine, 10 * ns_per_ms);
}

static void await_held(struct rig *rig)
{
    int64_t until_ns = now_ns() + longest_ns;
    while (rig->held == NULL && now_ns() < until_ns)
        turn(rig);
    assert_non_null(rig->held);
}

typedef bool condition(const weft_endpoint_info *info);

/* Looks until the instance at this place of the list is so. */
static const weft_endpoint_info *await(struct rig *rig, size_t at, condition *is_so)
{
    int64_t until_ns = now_ns() + longest_ns;
    weft_endpoint_list found = look(rig);
    while (!(at < found.count && is_so(found.endpoints[at])) && now_ns() < until_ns) {
        turn(rig);
        found = look(rig);
    }
    assert_true(at < found.count && is_so(found.endpoints[at]));
    return found.endpoints[at];
}

static bool is_ready(const weft_endpoint_info *info)
{
    return info->state == WEFT_LINK_READY && info->connections > 0;
}

static bool is_in_backoff(const weft_endpoint_info *info)
{
    return info->state == WEFT_LINK_BACKOFF;
}

static bool is_ill(const weft_endpoint_info *info)
{
    return info->check == WEFT_CHECKED_UNHEALTHY;
}

static bool is_well(const weft_endpoint_info *info)
{
    return info->check == WEFT_CHECKED_HEALTHY;
}

static bool is_idle(const weft_endpoint_info *info)
{
    return info->calls == 0;
}

static void on_answer(const weft_status *status, Chat__Text *response, weft_result *result, void *arg)
{
    (void)response, (void)result;
    assert_int_equal(status->code, WEFT_OK);
    weft__event_post(arg);
}

static weft_code call(struct rig *rig)
{
    char block[1024];
    weft_arena *arena;
    Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    assert_int_equal(weft_arena_init(&arena, block, sizeof block, 0), 0);
    weft_code code = chat_Chat_Say(rig->channel, arena, NULL, &request, &response).code;
    weft_arena_fini(arena);
    return code;
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void every_instance_is_told_with_what_its_directory_says(void **state)
{
    struct rig *rig = *state;
    const weft_address addresses[] = {
        {.address = rig->address, .zone = "eu-1a", .weight = 3, .health = WEFT_INSTANCE_HEALTHY},
        {.address = "ipv4:127.0.0.1:1", .health = WEFT_INSTANCE_DRAINING}};
    list(rig, addresses, 2);
    int64_t before_ns = weft_engine_now_ns(rig->engine);
    open_channel(rig);
    const weft_endpoint_info *one = await(rig, 0, is_ready);
    assert_string_equal(one->address, rig->address);
    assert_string_equal(one->zone, "eu-1a");
    assert_int_equal(one->weight, 3);
    assert_int_equal(one->health, WEFT_INSTANCE_HEALTHY);
    assert_int_equal(one->check, WEFT_CHECKED_NEVER);
    assert_false(one->ejected);
    assert_int_equal(one->connections, 1);
    assert_in_range(one->since_ns, before_ns, weft_engine_now_ns(rig->engine));
    const weft_endpoint_info *other = await(rig, 1, is_in_backoff);
    assert_string_equal(other->address, "ipv4:127.0.0.1:1");
    assert_null(other->zone);
    assert_int_equal(other->weight, 1);
    assert_int_equal(other->health, WEFT_INSTANCE_DRAINING);
    assert_int_equal(other->connections, 0);
    weft_endpoint_list found = look(rig);
    assert_int_equal(found.count, 2);
    assert_false(found.awaited);
    assert_string_equal(found.reason, "");
}

static void a_list_that_changes_is_told_as_it_is_now(void **state)
{
    struct rig *rig = *state;
    const weft_address addresses[] = {{.address = rig->address, .zone = "eu-1a"}, {.address = "ipv4:127.0.0.1:1"}};
    const weft_address moved = {.address = rig->address, .zone = "eu-1b", .weight = 7};
    const weft_address nowhere = {.address = rig->address};
    list(rig, addresses, 2);
    open_channel(rig);
    int64_t since_ns = await(rig, 0, is_ready)->since_ns;
    list(rig, &moved, 1);
    weft_endpoint_list found = look(rig);
    assert_int_equal(found.count, 1);
    assert_string_equal(found.endpoints[0]->zone, "eu-1b");
    assert_int_equal(found.endpoints[0]->weight, 7);
    assert_int_equal(found.endpoints[0]->since_ns, since_ns);
    list(rig, &nowhere, 1);
    assert_null(look(rig).endpoints[0]->zone);
    list(rig, NULL, 0);
    found = look(rig);
    assert_int_equal(found.count, 0);
    assert_false(found.awaited);
    assert_string_equal(found.reason, "the service has no instance");
}

static void calls_and_their_latency_are_told(void **state)
{
    struct rig *rig = *state;
    const weft_address address = {.address = rig->address};
    const Chat__Text answer = CHAT__TEXT__INIT;
    list(rig, &address, 1);
    open_channel(rig);
    (void)await(rig, 0, is_ready);
    assert_int_equal(look(rig).endpoints[0]->latency_ns, 0);
    rig->holds = true;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    Chat__Text request = CHAT__TEXT__INIT;
    weft__event over;
    assert_int_equal(weft__event_init(&over), 0);
    assert_int_equal(chat_Chat_Say_async(rig->channel, &options, &request, on_answer, &over), 0);
    await_held(rig);
    assert_int_equal(look(rig).endpoints[0]->calls, 1);
    weft_call_finish(rig->held, WEFT_OK, &answer.base);
    (void)await(rig, 0, is_idle);
    if (rig->stepped)
        (void)weft_test_step(rig->engine, SIZE_MAX);
    assert_int_equal(weft__event_wait(&over, now_ns() + longest_ns), 0);
    weft__event_fini(&over);
    assert_true(look(rig).endpoints[0]->latency_ns > 0);
}

static void an_ejected_instance_is_told_as_one(void **state)
{
    struct rig *rig = *state;
    const weft_address addresses[] = {{.address = rig->address}, {.address = "ipv4:127.0.0.1:1"}};
    list(rig, addresses, 2);
    open_channel(rig);
    (void)await(rig, 0, is_ready);
    rig->fails = true;
    for (int i = 0; i < 5; i++)
        assert_int_equal(call(rig), WEFT_UNAVAILABLE);
    assert_true(look(rig).endpoints[0]->ejected);
    assert_false(look(rig).endpoints[1]->ejected);
    assert_string_equal(look(rig).reason, ""); /* one that is ejected is better than none */
}

static void what_checks_say_is_told_beside_what_the_directory_does(void **state)
{
    struct rig *rig = *state;
    weft_health_check_options check = WEFT_HEALTH_CHECK_OPTIONS_INIT;
    const weft_address address = {.address = rig->address, .health = WEFT_INSTANCE_HEALTHY};
    check.kind = WEFT_HEALTH_CHECK_WATCH;
    check.service = "chat.Chat";
    rig->options.health_check = &check;
    list(rig, &address, 1);
    assert_int_equal(weft_health_set(rig->health, "chat.Chat", WEFT_NOT_SERVING), 0);
    open_channel(rig);
    assert_int_equal(await(rig, 0, is_ill)->health, WEFT_INSTANCE_HEALTHY);
    assert_int_equal(weft_health_set(rig->health, "chat.Chat", WEFT_SERVING), 0);
    (void)await(rig, 0, is_well);
}

static void an_address_that_the_engine_resolves_is_awaited_until_it_is_asked_for(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(weft_channel_new(&rig->channel, rig->engine, rig->address, NULL), 0);
    weft_endpoint_list found = look(rig);
    assert_true(found.awaited);
    assert_int_equal(found.count, 0);
    assert_string_equal(found.reason, "the addresses are not known yet");
    assert_int_equal(weft_channel_connect(rig->channel, 10000), 0);
    assert_string_equal(await(rig, 0, is_ready)->address, rig->address);
    assert_false(look(rig).awaited);
}

static void a_list_that_cannot_be_told_leaves_the_output_as_it_was(void **state)
{
    struct rig *rig = *state;
    char block[WEFT_ARENA_MIN_BLOCK];
    weft_arena *small;
    const weft_address address = {.address = rig->address};
    weft_endpoint_list found = WEFT_ENDPOINT_LIST_INIT;
    list(rig, &address, 1);
    open_channel(rig);
    found.count = 77;
    for (size_t max = 1; max <= 128; max += 16) {
        assert_int_equal(weft_arena_init(&small, block, sizeof block, max), 0);
        assert_int_equal(weft_channel_endpoints(rig->channel, small, &found), -ENOMEM);
        assert_int_equal(found.count, 77);
        weft_arena_fini(small);
    }
    found.struct_size = 0;
    assert_int_equal(weft_channel_endpoints(rig->channel, rig->arena, &found), -EINVAL);
    assert_int_equal(found.count, 77);
}

static void a_program_of_an_earlier_version_gets_what_it_knows(void **state)
{
    struct rig *rig = *state;
    const weft_address address = {.address = rig->address};
    weft_endpoint_list found = WEFT_ENDPOINT_LIST_INIT;
    list(rig, &address, 1);
    open_channel(rig);
    found.struct_size = offsetof(weft_endpoint_list, awaited);
    found.reason = "as it was";
    assert_int_equal(weft_channel_endpoints(rig->channel, rig->arena, &found), 0);
    assert_int_equal(found.struct_size, offsetof(weft_endpoint_list, awaited));
    assert_int_equal(found.count, 1);
    assert_string_equal(found.reason, "as it was");
}

/* One whose vtable ends before latency_ns. */
static weft_pick pick(weft_picker *self, const weft_pick_args *args, weft_endpoint **out)
{
    (void)self;
    *out = args->endpoints[0];
    return WEFT_PICK_ENDPOINT;
}

static int64_t nobody_asks(weft_picker *self, weft_endpoint *endpoint, int64_t now_ns)
{
    (void)self, (void)endpoint, (void)now_ns;
    fail();
    return 1;
}

static void a_picker_of_an_earlier_version_has_no_latency(void **state)
{
    static const weft_picker_vtable vtable = {.struct_size = offsetof(weft_picker_vtable, latency_ns),
                                              .name = "earlier",
                                              .pick = pick,
                                              .latency_ns = nobody_asks};
    struct rig *rig = *state;
    weft_picker picker = {&vtable};
    const weft_address address = {.address = rig->address};
    rig->options.picker = &picker;
    list(rig, &address, 1);
    open_channel(rig);
    assert_int_equal(await(rig, 0, is_ready)->latency_ns, 0);
    weft_channel_free(rig->channel);
    rig->channel = NULL;
}

#define CASE(name, setup) cmocka_unit_test_setup_teardown(name, setup, tear_down)
#define CASES(setup)                                                                                                   \
    CASE(every_instance_is_told_with_what_its_directory_says, setup),                                                  \
        CASE(a_list_that_changes_is_told_as_it_is_now, setup), CASE(calls_and_their_latency_are_told, setup),          \
        CASE(an_ejected_instance_is_told_as_one, setup),                                                               \
        CASE(what_checks_say_is_told_beside_what_the_directory_does, setup),                                           \
        CASE(an_address_that_the_engine_resolves_is_awaited_until_it_is_asked_for, setup),                             \
        CASE(a_list_that_cannot_be_told_leaves_the_output_as_it_was, setup),                                           \
        CASE(a_program_of_an_earlier_version_gets_what_it_knows, setup),                                               \
        CASE(a_picker_of_an_earlier_version_has_no_latency, setup)

int main(int argc, char **argv)
{
    static const struct CMUnitTest core[] = {CASES(set_up_core)};
    static const struct CMUnitTest threaded[] = {CASES(set_up_threaded)};
    static const struct CMUnitTest stepped[] = {CASES(set_up_stepped)};
    const char *engine = argc > 1 ? argv[1] : "core";
    if (strcmp(engine, "threaded") == 0)
        return cmocka_run_group_tests_name("threaded", threaded, NULL, NULL);
    if (strcmp(engine, "stepped") == 0)
        return cmocka_run_group_tests_name("stepped", stepped, NULL, NULL);
    return cmocka_run_group_tests_name("core", core, NULL, NULL);
}
