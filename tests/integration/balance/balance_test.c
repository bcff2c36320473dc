/* A channel over several servers: it picks among those that it is connected to, and waits or fails when there are none.
 * Resolver and picker are the test's own, written as a program would. */
#include <errno.h>
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

#include "base/event.h"
#include "chat.weft.h"

enum {
    SERVERS = 4
};

static const int64_t ns_per_ms = 1000000;

/* ---- a resolver that says what the test says --------------------------------------------------------------------- */

struct told {
    weft_resolver base;
    weft_sink *sink;
    char path[64];
    int hints;
    int watches;
};

static int told_watch(weft_resolver *self, const weft_target *target, weft_sink *sink, weft_watch **out, char *reason,
                      size_t reason_size)
{
    struct told *told = (struct told *)self;
    if (strcmp(target->path, "nobody") == 0) {
        snprintf(reason, reason_size, "nobody is nobody");
        return -EINVAL;
    }
    told->sink = sink;
    told->watches++;
    snprintf(told->path, sizeof told->path, "%s|%s|%s", target->authority, target->path, target->query);
    *out = (weft_watch *)told;
    return 0;
}

static void told_hint(weft_resolver *self, weft_watch *watch)
{
    struct told *told = (struct told *)self;
    assert_ptr_equal(watch, told);
    told->hints++;
}

static void told_unwatch(weft_resolver *self, weft_watch *watch)
{
    struct told *told = (struct told *)self;
    assert_ptr_equal(watch, told);
    told->watches--;
    told->sink = NULL;
}

static const weft_resolver_vtable told_vtable = {
    .struct_size = sizeof told_vtable,
    .scheme = "told",
    .watch = told_watch,
    .hint = told_hint,
    .unwatch = told_unwatch,
};

/* ---- a round robin that notes what it is told -------------------------------------------------------------------- */

struct turn {
    weft_picker base;
    atomic_uint next;
    atomic_int joined;
    atomic_int done;
    atomic_int failures;
    atomic_int cancels;
    weft_pick answer;
};

static void turn_join(weft_picker *self, weft_endpoint *endpoint, weft_endpoint *const *peers, size_t peer_count)
{
    (void)endpoint;
    (void)peers;
    (void)peer_count;
    ((struct turn *)self)->joined++;
}

static weft_pick turn_pick(weft_picker *self, const weft_pick_args *args, weft_endpoint **out)
{
    struct turn *turn = (struct turn *)self;
    if (turn->answer != WEFT_PICK_ENDPOINT)
        return turn->answer;
    for (size_t i = 0; i < args->endpoint_count; i++) {
        *out = args->endpoints[atomic_fetch_add(&turn->next, 1) % args->endpoint_count];
        bool tried = false;
        for (size_t k = 0; k < args->tried_count; k++)
            tried = tried || args->tried[k] == *out;
        if (!tried)
            break;
    }
    ++*(int *)weft_endpoint_state(*out);
    return WEFT_PICK_ENDPOINT;
}

static void turn_done(weft_picker *self, weft_endpoint *endpoint, const weft_pick_result *result)
{
    struct turn *turn = (struct turn *)self;
    assert_true(weft_endpoint_calls(endpoint) > 0);
    turn->done++;
    if (result->caller_cancelled)
        turn->cancels++;
    else if (result->code != WEFT_OK)
        turn->failures++;
}

static const weft_picker_vtable turn_vtable = {
    .struct_size = sizeof turn_vtable,
    .name = "turn",
    .endpoint_size = sizeof(int),
    .join = turn_join,
    .pick = turn_pick,
    .done = turn_done,
};

/* ---- the rig ----------------------------------------------------------------------------------------------------- */

struct node {
    weft_server *server;
    char address[128]; /* as a resolver tells it */
    int number;
    atomic_int calls;
    _Atomic(weft_code) code; /* of what it answers */
};

struct rig {
    bool core;
    bool stepped;
    weft_engine *engine;
    struct node nodes[SERVERS];
    struct told told;
    struct turn turn;
    weft_channel *channel;
    weft_arena *arena;
};

static weft_code say(weft_call *call, const Chat__Text *request, Chat__Text *response, void *self)
{
    struct node *node = self;
    weft_code code = node->code;
    node->calls++;
    if (code != WEFT_OK)
        return weft_fail(call, code, "node %d is not well", node->number);
    response->number = node->number;
    response->text = request->text;
    return WEFT_OK;
}

static weft_code talk(weft_call *call, chat_Chat_Talk_server *stream, void *self)
{
    struct node *node = self;
    Chat__Text *message;
    int rc;
    node->calls++;
    while ((rc = chat_Chat_Talk_server_recv(stream, &message)) > 0) {
        message->number = node->number;
        if ((rc = chat_Chat_Talk_server_send(stream, message)) < 0)
            break;
    }
    return rc < 0 ? weft_fail_errno(call, rc) : WEFT_OK;
}

static const chat_Chat_ops ops = {.Say = say, .Talk = talk};

static void start_node(struct rig *rig, int i)
{
    struct node *node = &rig->nodes[i];
    weft_server_options options = WEFT_SERVER_OPTIONS_INIT;
    options.workers = rig->stepped ? -1 : 4;
    options.quiet_ms = 20;
    node->number = i;
    assert_int_equal(weft_server_new(&node->server, rig->engine, &options), 0);
    assert_int_equal(chat_Chat_register(node->server, &ops, node, NULL), 0);
    assert_int_equal(weft_server_listen(node->server, node->address[0] != '\0' ? node->address + 5 : "127.0.0.1:0"), 0);
    assert_int_equal(weft_server_start(node->server), 0);
    snprintf(node->address, sizeof node->address, "ipv4:%s", weft_server_address(node->server, 0));
}

static void stop_node(struct rig *rig, int i)
{
    assert_int_equal(weft_server_stop(rig->nodes[i].server, 0), 0);
    weft_server_free(rig->nodes[i].server);
    rig->nodes[i].server = NULL;
}

/* Tells the channel of these nodes: a letter each, "ac". */
static void tell(struct rig *rig, const char *letters)
{
    weft_address addresses[SERVERS];
    const weft_resolution resolution = {
        .struct_size = sizeof resolution, .addresses = addresses, .address_count = strlen(letters)};
    memset(addresses, 0, sizeof addresses);
    for (size_t i = 0; letters[i] != '\0'; i++)
        addresses[i].address = rig->nodes[letters[i] - 'a'].address;
    weft_sink_publish(rig->told.sink, &resolution);
}

static void open_channel(struct rig *rig)
{
    weft_resolver *const resolvers[] = {&rig->told.base};
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    options.resolvers = resolvers;
    options.resolver_count = 1;
    options.picker = &rig->turn.base;
    options.min_backoff_ms = 20;
    options.max_backoff_ms = 50;
    options.max_waiting_calls = 2;
    assert_int_equal(weft_channel_new(&rig->channel, rig->engine, "told://someone/users?x=1", &options), 0);
    assert_string_equal(rig->told.path, "someone|users|x=1");
}

static void pass_ms(struct rig *rig, int64_t ms)
{
    weft__event never;
    if (!rig->core) {
        weft_test_advance(rig->engine, ms * ns_per_ms);
        return;
    }
    assert_int_equal(weft__event_init(&never), 0);
    assert_int_equal(weft__event_wait(&never, weft_engine_now_ns(rig->engine) + ms * ns_per_ms), -ETIMEDOUT);
    weft__event_fini(&never);
}

/* One unary call. @return the number of the node that answered; -1: it failed. */
static int call_one(struct rig *rig, int64_t timeout_ms, bool wait_for_ready, weft_status *status)
{
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    options.timeout_ms = timeout_ms;
    options.wait_for_ready = wait_for_ready;
    weft_arena_reset(rig->arena);
    *status = chat_Chat_Say(rig->channel, rig->arena, &options, &request, &response);
    return status->code == WEFT_OK ? (int)response->number : -1;
}

static int call_ok(struct rig *rig)
{
    weft_status status;
    int number = call_one(rig, 10000, true, &status);
    if (number < 0)
        print_error("%s: %s\n", weft_code_name(status.code), status.message);
    assert_true(number >= 0);
    return number;
}

struct late {
    weft__event over;
    weft_code code;
};

static void on_late(const weft_status *status, Chat__Text *response, weft_result *result, void *arg)
{
    struct late *late = arg;
    (void)response;
    (void)result;
    late->code = status->code;
    weft__event_post(&late->over);
}

/* One call whose deadline passes. */
static void assert_late(struct rig *rig, bool wait_for_ready)
{
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    Chat__Text request = CHAT__TEXT__INIT;
    struct late late = {.code = WEFT_OK};
    options.timeout_ms = 30;
    options.wait_for_ready = wait_for_ready;
    assert_int_equal(weft__event_init(&late.over), 0);
    assert_int_equal(chat_Chat_Say_async(rig->channel, &options, &request, on_late, &late), 0);
    pass_ms(rig, 31);
    assert_int_equal(weft__event_wait(&late.over, rig->stepped ? 0 : INT64_MAX), 0);
    assert_int_equal(late.code, WEFT_DEADLINE_EXCEEDED);
    weft__event_fini(&late.over);
}

/* Calls until only these nodes have answered for a while, or too many calls were made. A call that its server may have
 * seen, when the connection was lost, fails. */
static void await_only(struct rig *rig, const char *letters)
{
    weft_status status;
    int good = 0;
    for (int i = 0; i < 2000 && good < 12; i++) {
        int number = call_one(rig, 10000, true, &status);
        good = number >= 0 && strchr(letters, 'a' + number) != NULL ? good + 1 : 0;
        if (good == 0)
            pass_ms(rig, 1);
    }
    assert_int_equal(good, 12);
}

/* Calls until all of these have answered. */
static void await_all(struct rig *rig, const char *letters)
{
    unsigned seen = 0;
    unsigned wanted = 0;
    for (size_t i = 0; letters[i] != '\0'; i++)
        wanted |= 1U << (letters[i] - 'a');
    weft_status status;
    for (int i = 0; i < 2000 && seen != wanted; i++) {
        int number = call_one(rig, 10000, true, &status);
        seen |= number >= 0 ? 1U << number : 0;
        if (seen != wanted)
            pass_ms(rig, 1);
    }
    assert_int_equal(seen, wanted);
}

static struct rig *new_rig(bool core, bool stepped)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    rig->core = core;
    rig->stepped = stepped;
    rig->told.base.vtable = &told_vtable;
    rig->turn.base.vtable = &turn_vtable;
    if (core) {
        weft_core_engine_options options = WEFT_CORE_ENGINE_OPTIONS_INIT;
        options.threads = 2;
        assert_int_equal(weft_core_engine_new(&rig->engine, &options), 0);
    } else {
        weft_memory_engine_options options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
        options.threaded = !stepped;
        assert_int_equal(weft_memory_engine_new(&rig->engine, &options), 0);
    }
    assert_int_equal(weft_arena_new(&rig->arena, 0), 0);
    for (int i = 0; i < SERVERS; i++)
        start_node(rig, i);
    return rig;
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
    assert_int_equal(rig->told.watches, 0);
    for (int i = 0; i < SERVERS; i++)
        weft_server_free(rig->nodes[i].server);
    assert_int_equal(weft_engine_free(rig->engine), 0);
    weft_arena_free(rig->arena);
    free(rig);
    return 0;
}

/* ---- the cases --------------------------------------------------------------------------------------------------- */

static void calls_go_to_every_address_of_the_list(void **state)
{
    struct rig *rig = *state;
    open_channel(rig);
    tell(rig, "abc");
    await_all(rig, "abc");
    assert_int_equal(rig->turn.joined, 3);
    int before[SERVERS];
    for (int i = 0; i < SERVERS; i++)
        before[i] = rig->nodes[i].calls;
    for (int i = 0; i < 30; i++)
        (void)call_ok(rig);
    for (int i = 0; i < 3; i++)
        assert_int_equal(rig->nodes[i].calls - before[i], 10);
    assert_int_equal(rig->nodes[3].calls, 0);
    assert_int_equal(rig->turn.failures, 0);
}

static void an_endpoint_keeps_its_statistics_when_the_list_changes(void **state)
{
    struct rig *rig = *state;
    open_channel(rig);
    tell(rig, "ab");
    await_all(rig, "ab");
    tell(rig, "bcd");
    await_only(rig, "bcd");
    await_all(rig, "bcd");
    tell(rig, "bcd");
    (void)call_ok(rig);
    assert_int_equal(rig->turn.joined, 4); /* b is the same as before */
}

static void an_address_that_is_not_listed_any_more_gets_no_call(void **state)
{
    struct rig *rig = *state;
    open_channel(rig);
    tell(rig, "abcd");
    await_all(rig, "abcd");
    tell(rig, "c");
    int before = rig->nodes[0].calls;
    for (int i = 0; i < 20; i++)
        assert_int_equal(call_ok(rig), 2);
    assert_int_equal(rig->nodes[0].calls, before);
}

static void a_call_that_runs_outlives_its_address(void **state)
{
    struct rig *rig = *state;
    chat_Chat_Talk_client *stream = NULL;
    if (rig->stepped) /* the handler is a loop */
        skip();
    Chat__Text message = CHAT__TEXT__INIT;
    Chat__Text *answer = NULL;
    open_channel(rig);
    tell(rig, "a");
    assert_int_equal(chat_Chat_Talk(&stream, rig->channel, NULL), 0);
    assert_int_equal(chat_Chat_Talk_client_send(stream, &message), 0);
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &answer), 1);
    assert_int_equal(answer->number, 0);
    tell(rig, "b");
    await_only(rig, "b");
    assert_int_equal(chat_Chat_Talk_client_send(stream, &message), 0);
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &answer), 1);
    assert_int_equal(answer->number, 0);
    assert_int_equal(chat_Chat_Talk_client_finish(stream, rig->arena).code, WEFT_OK);
}

static void a_dead_address_is_not_picked(void **state)
{
    struct rig *rig = *state;
    open_channel(rig);
    tell(rig, "abc");
    await_all(rig, "abc");
    stop_node(rig, 1);
    await_only(rig, "ac");
    assert_true(rig->told.hints > 0);
    start_node(rig, 1);
    await_all(rig, "abc");
}

static void a_call_that_did_not_reach_its_server_goes_to_another(void **state)
{
    struct rig *rig = *state;
    if (rig->core) /* where nobody knows whether a call on a connection that was lost was seen */
        skip();
    open_channel(rig);
    tell(rig, "abc");
    await_all(rig, "abc");
    stop_node(rig, 1);
    for (int i = 0; i < 12; i++) {
        weft_status status;
        int number = call_one(rig, 10000, false, &status); /* b is picked until it is known to be gone */
        if (number < 0)
            print_error("%s: %s\n", weft_code_name(status.code), status.message);
        assert_true(number == 0 || number == 2);
    }
}

static void calls_wait_until_the_addresses_are_known(void **state)
{
    struct rig *rig = *state;
    weft_status status;
    open_channel(rig);
    assert_late(rig, false);
    assert_late(rig, true);
    tell(rig, "a");
    assert_int_equal(call_one(rig, 5000, false, &status), 0);
}

static void an_empty_list_is_unavailable_but_for_who_waits(void **state)
{
    struct rig *rig = *state;
    weft_status status;
    open_channel(rig);
    tell(rig, "");
    assert_int_equal(call_one(rig, 5000, false, &status), -1);
    assert_int_equal(status.code, WEFT_UNAVAILABLE);
    assert_string_equal(status.message, "the service has no instance");
    assert_late(rig, true);
}

static void a_directory_that_fails_says_why(void **state)
{
    struct rig *rig = *state;
    weft_status status;
    open_channel(rig);
    weft_sink_fail(rig->told.sink, "the directory is on fire");
    assert_int_equal(call_one(rig, 5000, false, &status), -1);
    assert_int_equal(status.code, WEFT_UNAVAILABLE);
    assert_string_equal(status.message, "the directory is on fire");
    tell(rig, "b");
    assert_int_equal(call_one(rig, 5000, false, &status), 1);
    weft_sink_fail(rig->told.sink, "again"); /* the last list stays */
    assert_int_equal(call_one(rig, 5000, false, &status), 1);
}

static void nobody_there_is_unavailable_and_names_an_address(void **state)
{
    struct rig *rig = *state;
    weft_status status;
    char wanted[256];
    open_channel(rig);
    stop_node(rig, 2);
    tell(rig, "c");
    assert_int_equal(call_one(rig, 10000, false, &status), -1);
    assert_int_equal(status.code, WEFT_UNAVAILABLE);
    snprintf(wanted, sizeof wanted, "none of 1 addresses can be reached (%s): ", rig->nodes[2].address);
    assert_memory_equal(status.message, wanted, strlen(wanted)); /* and then the engine's reason */
    assert_true(strlen(status.message) > strlen(wanted));
}

static void a_stream_may_begin_before_the_addresses_are_known(void **state)
{
    struct rig *rig = *state;
    chat_Chat_Talk_client *stream = NULL;
    if (rig->stepped) /* the handler is a loop */
        skip();
    Chat__Text message = CHAT__TEXT__INIT;
    Chat__Text *answer = NULL;
    open_channel(rig);
    assert_int_equal(chat_Chat_Talk(&stream, rig->channel, NULL), 0);
    assert_int_equal(chat_Chat_Talk_client_send(stream, &message), 0);
    tell(rig, "d");
    if (chat_Chat_Talk_client_recv(stream, &answer) != 1) {
        weft_status status = chat_Chat_Talk_client_finish(stream, rig->arena);
        fail_msg("%s: %s", weft_code_name(status.code), status.message);
    }
    assert_int_equal(answer->number, 3);
    assert_int_equal(chat_Chat_Talk_client_finish(stream, rig->arena).code, WEFT_OK);
}

static void a_waiting_stream_can_be_cancelled(void **state)
{
    struct rig *rig = *state;
    chat_Chat_Talk_client *stream = NULL;
    if (rig->stepped) /* the handler is a loop */
        skip();
    Chat__Text message = CHAT__TEXT__INIT;
    Chat__Text *answer = NULL;
    open_channel(rig);
    assert_int_equal(chat_Chat_Talk(&stream, rig->channel, NULL), 0);
    assert_int_equal(chat_Chat_Talk_client_send(stream, &message), 0);
    weft_stream_cancel(WEFT_STREAM(stream));
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &answer), 0);
    assert_int_equal(chat_Chat_Talk_client_finish(stream, rig->arena).code, WEFT_CANCELLED);
    assert_int_equal(rig->turn.done, 0);
}

static void no_more_calls_wait_than_may(void **state)
{
    struct rig *rig = *state;
    chat_Chat_Talk_client *streams[2] = {NULL};
    weft_status status;
    if (rig->stepped)
        skip();
    open_channel(rig);
    for (int i = 0; i < 2; i++)
        assert_int_equal(chat_Chat_Talk(&streams[i], rig->channel, NULL), 0);
    assert_int_equal(call_one(rig, 5000, true, &status), -1);
    assert_int_equal(status.code, WEFT_RESOURCE_EXHAUSTED);
    assert_string_equal(status.message, "too many calls wait for a connection");
    tell(rig, "a");
    for (int i = 0; i < 2; i++)
        assert_int_equal(chat_Chat_Talk_client_finish(streams[i], rig->arena).code, WEFT_OK);
    assert_int_equal(call_ok(rig), 0);
}

static _Thread_local bool starting;

struct outside {
    atomic_int over;
    atomic_int inside; /* told while this thread was starting a call */
};

static void on_outside(const weft_status *status, Chat__Text *response, weft_result *result, void *arg)
{
    struct outside *outside = arg;
    (void)status;
    (void)response;
    (void)result;
    outside->inside += starting;
    outside->over++;
}

static void a_callback_never_comes_from_inside_the_start(void **state)
{
    enum {
        CALLS = 2000
    };
    struct rig *rig = *state;
    struct outside outside = {0};
    const Chat__Text request = CHAT__TEXT__INIT;
    open_channel(rig);
    tell(rig, "a");
    (void)call_ok(rig);
    for (int i = 0; i < CALLS; i++) {
        starting = true;
        assert_int_equal(chat_Chat_Say_async(rig->channel, NULL, &request, on_outside, &outside), 0);
        starting = false;
        if (i % 20 == 19)
            (void)call_ok(rig); /* not too many at once for the server's queue */
    }
    weft_channel_free(rig->channel); /* waits for all of them */
    rig->channel = NULL;
    assert_int_equal(outside.over, CALLS);
    assert_int_equal(outside.inside, 0);
}

static void a_callers_cancel_is_told_as_such(void **state)
{
    struct rig *rig = *state;
    chat_Chat_Talk_client *stream = NULL;
    if (rig->stepped) /* the handler is a loop */
        skip();
    Chat__Text message = CHAT__TEXT__INIT;
    Chat__Text *answer = NULL;
    open_channel(rig);
    tell(rig, "a");
    assert_int_equal(chat_Chat_Talk(&stream, rig->channel, NULL), 0);
    assert_int_equal(chat_Chat_Talk_client_send(stream, &message), 0);
    assert_int_equal(chat_Chat_Talk_client_recv(stream, &answer), 1);
    weft_stream_cancel(WEFT_STREAM(stream));
    assert_int_equal(chat_Chat_Talk_client_finish(stream, rig->arena).code, WEFT_CANCELLED);
    assert_int_equal(rig->turn.done, 1);
    assert_int_equal(rig->turn.cancels, 1);
    assert_int_equal(rig->turn.failures, 0);
}

static void a_picker_may_refuse_drop_or_put_off(void **state)
{
    struct rig *rig = *state;
    weft_status status;
    open_channel(rig);
    tell(rig, "a");
    (void)call_ok(rig);
    rig->turn.answer = WEFT_PICK_DROP;
    assert_int_equal(call_one(rig, 5000, true, &status), -1);
    assert_int_equal(status.code, WEFT_UNAVAILABLE);
    rig->turn.answer = WEFT_PICK_FAIL;
    assert_int_equal(call_one(rig, 5000, false, &status), -1);
    assert_int_equal(status.code, WEFT_UNAVAILABLE);
    assert_late(rig, true);
    rig->turn.answer = WEFT_PICK_QUEUE;
    assert_late(rig, false);
    rig->turn.answer = WEFT_PICK_ENDPOINT;
    assert_int_equal(call_ok(rig), 0);
}

/* Calls once for each of three nodes. @return how many failed. */
static int call_round(struct rig *rig)
{
    weft_status status;
    int failed = 0;
    for (int i = 0; i < 3; i++)
        failed += call_one(rig, 0, false, &status) < 0;
    return failed;
}

static void who_fails_again_and_again_is_left_out_for_a_while(void **state)
{
    struct rig *rig = *state;
    if (rig->core) /* in virtual time only: it takes half a minute */
        skip();
    open_channel(rig);
    tell(rig, "abc");
    await_all(rig, "abc");
    rig->nodes[1].code = WEFT_INTERNAL;
    for (int i = 0; i < 5; i++)
        assert_int_equal(call_round(rig), 1);
    for (int i = 0; i < 10; i++)
        assert_int_equal(call_round(rig), 0);
    pass_ms(rig, 29000);
    assert_int_equal(call_round(rig), 0);
    pass_ms(rig, 11000); /* the end of the ejection, and of the interval after it */
    for (int i = 0; i < 5; i++)
        assert_int_equal(call_round(rig), 1);
    assert_int_equal(call_round(rig), 0);
    pass_ms(rig, 40000); /* the second time is twice as long */
    assert_int_equal(call_round(rig), 0);
    rig->nodes[1].code = WEFT_OK;
    pass_ms(rig, 31000);
    await_all(rig, "abc");
}

static void not_all_are_left_out(void **state)
{
    struct rig *rig = *state;
    int failed = 0;
    if (rig->core)
        skip();
    open_channel(rig);
    tell(rig, "abc");
    await_all(rig, "abc");
    for (int i = 0; i < 3; i++)
        rig->nodes[i].code = WEFT_UNKNOWN;
    for (int i = 0; i < 20; i++)
        failed += call_round(rig);
    assert_int_equal(failed, 60); /* somebody was asked every time */
    int asked = 0;
    for (int i = 0; i < 3; i++)
        asked += rig->nodes[i].calls > 20;
    assert_int_equal(asked, 2); /* half of three may be ejected: one */
}

static void an_answer_that_is_no_failure_of_the_instance_ejects_nobody(void **state)
{
    struct rig *rig = *state;
    open_channel(rig);
    tell(rig, "abc");
    await_all(rig, "abc");
    rig->nodes[1].code = WEFT_NOT_FOUND;
    for (int i = 0; i < 12; i++)
        assert_int_equal(call_round(rig), 1);
}

/* The target of these nodes: "static:///…". */
static const char *static_target(struct rig *rig, const char *letters)
{
    char *target = weft_arena_strdup(rig->arena, "static:///");
    for (size_t i = 0; letters[i] != '\0'; i++)
        target = weft_arena_printf(rig->arena, "%s%s%s", target, i > 0 ? "," : "",
                                   rig->nodes[letters[i] - 'a'].address + strlen("ipv4:"));
    return target;
}

static void a_static_target_needs_nothing_but_itself(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(weft_channel_new(&rig->channel, rig->engine, static_target(rig, "abd"), NULL), 0);
    await_all(rig, "abd"); /* by power of two choices */
    stop_node(rig, 1);
    await_only(rig, "ad");
}

static void a_static_target_is_checked(void **state)
{
    static const char *const wrong[] = {"static:///", "static:///users:50051", "static:///10.0.0.1",
                                        "static:///10.0.0.1:1,10.0.0.1:1", "static:10.0.0.1:1;"};
    struct rig *rig = *state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(weft_channel_new(&rig->channel, rig->engine, wrong[i], NULL), -EINVAL);
    assert_null(rig->channel);
}

static void a_program_adds_and_removes_backends(void **state)
{
    struct rig *rig = *state;
    weft_resolver *list = NULL;
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    weft_address addresses[SERVERS];
    memset(addresses, 0, sizeof addresses);
    for (int i = 0; i < SERVERS; i++)
        addresses[i].address = rig->nodes[i].address;
    assert_int_equal(weft_list_resolver_new(&list), 0);
    weft_resolver *const resolvers[] = {list};
    options.resolvers = resolvers;
    options.resolver_count = 1;
    assert_int_equal(weft_channel_new(&rig->channel, rig->engine, "list:///", &options), 0);
    assert_int_equal(weft_list_resolver_add(list, &addresses[0]), 0);
    await_only(rig, "a");
    assert_int_equal(weft_list_resolver_add(list, &addresses[0]), -EEXIST);
    assert_int_equal(weft_list_resolver_add(list, &addresses[2]), 0);
    await_all(rig, "ac");
    assert_int_equal(weft_list_resolver_remove(list, addresses[0].address), 0);
    assert_int_equal(weft_list_resolver_remove(list, addresses[0].address), -ENOENT);
    await_only(rig, "c");
    assert_int_equal(weft_list_resolver_set(list, addresses, SERVERS), 0);
    await_all(rig, "abcd");
    const weft_address wrong = {.address = "10.0.0.1:50051"};
    assert_int_equal(weft_list_resolver_add(list, &wrong), -EINVAL);
    weft_channel_free(rig->channel);
    rig->channel = NULL;
    weft_resolver_free(list);
}

static void an_instance_that_drains_gets_no_call_and_an_unhealthy_one_if_it_must(void **state)
{
    struct rig *rig = *state;
    weft_address addresses[2];
    const weft_resolution resolution = {.struct_size = sizeof resolution, .addresses = addresses, .address_count = 2};
    open_channel(rig);
    memset(addresses, 0, sizeof addresses);
    addresses[0].address = rig->nodes[0].address;
    addresses[1].address = rig->nodes[1].address;
    addresses[0].health = WEFT_INSTANCE_DRAINING;
    weft_sink_publish(rig->told.sink, &resolution);
    await_only(rig, "b");
    addresses[1].health = WEFT_INSTANCE_UNHEALTHY;
    weft_sink_publish(rig->told.sink, &resolution);
    await_only(rig, "b"); /* better than none */
    addresses[0].health = WEFT_INSTANCE_HEALTHY;
    weft_sink_publish(rig->told.sink, &resolution);
    await_only(rig, "a");
}

static void connect_waits_for_the_first_connection(void **state)
{
    struct rig *rig = *state;
    open_channel(rig);
    if (rig->core || rig->stepped)
        assert_int_equal(weft_channel_connect(rig->channel, 20), -ETIMEDOUT);
    tell(rig, "ab");
    assert_int_equal(weft_channel_connect(rig->channel, 10000), 0);
    assert_int_equal(weft_channel_connect(rig->channel, 10000), 0);
}

static void a_target_that_its_resolver_refuses_makes_no_channel(void **state)
{
    struct rig *rig = *state;
    weft_resolver *const resolvers[] = {&rig->told.base};
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    options.resolvers = resolvers;
    options.resolver_count = 1;
    options.picker = &rig->turn.base;
    assert_int_equal(weft_channel_new(&rig->channel, rig->engine, "told:///nobody", &options), -EINVAL);
    assert_null(rig->channel);
}

static void a_channel_is_freed_while_its_connections_come_and_go(void **state)
{
    struct rig *rig = *state;
    for (int i = 0; i < 10; i++) {
        open_channel(rig);
        tell(rig, i % 2 == 0 ? "abcd" : "a");
        if (i % 3 == 0)
            (void)call_ok(rig);
        weft_channel_free(rig->channel);
        rig->channel = NULL;
    }
}

#define CASE(name, setup) cmocka_unit_test_setup_teardown(name, setup, tear_down)
#define CASES(setup)                                                                                                   \
    CASE(calls_go_to_every_address_of_the_list, setup),                                                                \
        CASE(an_endpoint_keeps_its_statistics_when_the_list_changes, setup),                                           \
        CASE(an_address_that_is_not_listed_any_more_gets_no_call, setup),                                              \
        CASE(a_call_that_runs_outlives_its_address, setup), CASE(a_dead_address_is_not_picked, setup),                 \
        CASE(a_call_that_did_not_reach_its_server_goes_to_another, setup),                                             \
        CASE(calls_wait_until_the_addresses_are_known, setup),                                                         \
        CASE(an_empty_list_is_unavailable_but_for_who_waits, setup), CASE(a_directory_that_fails_says_why, setup),     \
        CASE(nobody_there_is_unavailable_and_names_an_address, setup),                                                 \
        CASE(a_stream_may_begin_before_the_addresses_are_known, setup),                                                \
        CASE(a_waiting_stream_can_be_cancelled, setup), CASE(no_more_calls_wait_than_may, setup),                      \
        CASE(a_callback_never_comes_from_inside_the_start, setup), CASE(a_callers_cancel_is_told_as_such, setup),      \
        CASE(a_picker_may_refuse_drop_or_put_off, setup),                                                              \
        CASE(who_fails_again_and_again_is_left_out_for_a_while, setup), CASE(not_all_are_left_out, setup),             \
        CASE(an_answer_that_is_no_failure_of_the_instance_ejects_nobody, setup),                                       \
        CASE(a_static_target_needs_nothing_but_itself, setup), CASE(a_static_target_is_checked, setup),                \
        CASE(a_program_adds_and_removes_backends, setup),                                                              \
        CASE(an_instance_that_drains_gets_no_call_and_an_unhealthy_one_if_it_must, setup),                             \
        CASE(connect_waits_for_the_first_connection, setup),                                                           \
        CASE(a_target_that_its_resolver_refuses_makes_no_channel, setup),                                              \
        CASE(a_channel_is_freed_while_its_connections_come_and_go, setup)

int main(int argc, char **argv)
{
    static const struct CMUnitTest core[] = {CASES(set_up_core)};
    static const struct CMUnitTest threaded[] = {CASES(set_up_threaded)};
    static const struct CMUnitTest stepped[] = {CASES(set_up_stepped)};
    const char *engine = argc > 1 ? argv[1] : "core";
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    if (strcmp(engine, "threaded") == 0)
        return cmocka_run_group_tests(threaded, NULL, NULL);
    if (strcmp(engine, "stepped") == 0)
        return cmocka_run_group_tests(stepped, NULL, NULL);
    return cmocka_run_group_tests(core, NULL, NULL);
}
