/* A channel that asks its instances for their health, in virtual time. The servers answer what the test says. */
#include <errno.h>
#include <pthread.h>
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

#include <weft/testing.h>
#include <weft/weft.h>

#include "chat.weft.h"
#include "grpc/health/v1/health.weft.h"

enum {
    SERVERS = 4
};

#define SERVING     GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
#define NOT_SERVING GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
#define SILENCE     (-1)

static const int64_t ns_per_ms = 1000000;

/* ---- servers ----------------------------------------------------------------------------------------------------- */

/* A call that waits for what the test says. Lives in the call's arena. */
struct held {
    struct node *node;
    weft_call *call;
    grpc_health_v1_Health_Watch_server *stream; /* of a watch */
};

struct node {
    weft_server *server;
    char address[64];
    int number;
    atomic_int calls;        /* of Say */
    atomic_int status;       /* that it tells; or SILENCE */
    _Atomic(weft_code) code; /* with which it refuses */
    atomic_int asked;
    atomic_int let_go; /* calls that were held, and are over */
    pthread_mutex_t lock;
    struct held *held;
    char service[32];
};

static weft_code say(weft_call *call, const Chat__Text *request, Chat__Text *response, void *self)
{
    struct node *node = self;
    (void)call;
    node->calls++;
    response->number = node->number;
    response->text = request->text;
    return WEFT_OK;
}

static void on_gone(void *arg)
{
    struct held *held = arg;
    struct node *node = held->node;
    pthread_mutex_lock(&node->lock);
    bool mine = node->held == held;
    if (mine)
        node->held = NULL;
    pthread_mutex_unlock(&node->lock);
    node->let_go++;
    if (mine)
        weft_call_finish(held->call, WEFT_CANCELLED, NULL);
}

static void hold(struct node *node, weft_call *call, grpc_health_v1_Health_Watch_server *stream)
{
    struct held *held = weft_arena_zalloc(weft_call_arena(call), sizeof *held);
    held->node = node;
    held->call = call;
    held->stream = stream;
    assert_int_equal(weft_call_defer(call), 0);
    pthread_mutex_lock(&node->lock);
    node->held = held;
    pthread_mutex_unlock(&node->lock);
    assert_int_equal(weft_call_when_cancelled(call, on_gone, held), 0);
}

static void note_question(struct node *node, const char *service)
{
    pthread_mutex_lock(&node->lock);
    (void)snprintf(node->service, sizeof node->service, "%s", service);
    pthread_mutex_unlock(&node->lock);
    node->asked++;
}

static weft_code check(weft_call *call, const Grpc__Health__V1__HealthCheckRequest *request,
                       Grpc__Health__V1__HealthCheckResponse *response, void *self)
{
    struct node *node = self;
    note_question(node, request->service);
    if (node->code != WEFT_OK)
        return weft_fail(call, node->code, "node %d does not know", node->number);
    if (node->status == SILENCE)
        hold(node, call, NULL);
    else
        response->status = (Grpc__Health__V1__HealthCheckResponse__ServingStatus)node->status;
    return WEFT_OK;
}

static void tell_watch(grpc_health_v1_Health_Watch_server *stream, int status)
{
    Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status = (Grpc__Health__V1__HealthCheckResponse__ServingStatus)status;
    assert_int_equal(grpc_health_v1_Health_Watch_server_send(stream, &response), 0);
}

static weft_code watch(weft_call *call, const Grpc__Health__V1__HealthCheckRequest *request,
                       grpc_health_v1_Health_Watch_server *stream, void *self)
{
    struct node *node = self;
    note_question(node, request->service);
    if (node->code != WEFT_OK)
        return weft_fail(call, node->code, "node %d does not know", node->number);
    if (node->status != SILENCE)
        tell_watch(stream, node->status);
    hold(node, call, stream);
    return WEFT_OK;
}

static struct held *take_held(struct node *node)
{
    pthread_mutex_lock(&node->lock);
    struct held *held = node->held;
    node->held = NULL;
    pthread_mutex_unlock(&node->lock);
    return held;
}

/* ---- the rig ----------------------------------------------------------------------------------------------------- */

/* One that takes them in turn, and counts what it is told. */
struct turn {
    weft_picker base;
    atomic_uint next;
    atomic_int done;
};

struct rig {
    bool stepped;
    weft_engine *engine;
    struct node nodes[SERVERS];
    weft_resolver *list;
    struct turn turn;
    weft_health_check_options check;
    weft_log *log;
    weft_channel *channel;
    weft_arena *arena;
};

static weft_pick turn_pick(weft_picker *self, const weft_pick_args *args, weft_endpoint **out)
{
    *out = args->endpoints[atomic_fetch_add(&((struct turn *)self)->next, 1) % args->endpoint_count];
    return WEFT_PICK_ENDPOINT;
}

static void turn_done(weft_picker *self, weft_endpoint *endpoint, const weft_pick_result *result)
{
    (void)result;
    assert_true(weft_endpoint_calls(endpoint) > 0);
    ((struct turn *)self)->done++;
}

static const weft_picker_vtable turn_vtable = {
    .struct_size = sizeof turn_vtable, .name = "turn", .pick = turn_pick, .done = turn_done};

static void start_node(struct rig *rig, int i)
{
    static const chat_Chat_ops chat = {.Say = say};
    static const grpc_health_v1_Health_ops health = {.Check = check, .Watch = watch};
    static const weft_method_options methods[] = {
        {.struct_size = sizeof *methods, .method = "Check", .run_inline = true},
        {.struct_size = sizeof *methods, .method = "Watch", .run_inline = true},
    };
    struct node *node = &rig->nodes[i];
    weft_service_options inlined = WEFT_SERVICE_OPTIONS_INIT;
    weft_server_options options = WEFT_SERVER_OPTIONS_INIT;
    inlined.methods = methods;
    inlined.method_count = 2;
    options.workers = rig->stepped ? -1 : 2;
    options.quiet_ms = 20;
    node->number = i;
    assert_int_equal(weft_server_new(&node->server, rig->engine, &options), 0);
    assert_int_equal(chat_Chat_register(node->server, &chat, node, NULL), 0);
    assert_int_equal(grpc_health_v1_Health_register(node->server, &health, node, &inlined), 0);
    assert_int_equal(weft_server_listen(node->server, node->address[0] != '\0' ? node->address + 5 : "10.0.0.1:0"), 0);
    assert_int_equal(weft_server_start(node->server), 0);
    (void)snprintf(node->address, sizeof node->address, "ipv4:%s", weft_server_address(node->server, 0));
}

static void stop_node(struct rig *rig, int i)
{
    assert_int_equal(weft_server_stop(rig->nodes[i].server, 0), 0);
    weft_server_free(rig->nodes[i].server);
    rig->nodes[i].server = NULL;
}

/* Lets happen what can happen within this time. */
static void pass_ms(struct rig *rig, int64_t ms)
{
    weft_test_advance(rig->engine, ms * ns_per_ms);
}

static void pass_intervals(struct rig *rig, int intervals)
{
    for (int i = 0; i < intervals; i++)
        pass_ms(rig, 30000);
}

/* The channel's instances from now on: a letter each, "ac". */
static void tell(struct rig *rig, const char *letters)
{
    weft_address addresses[SERVERS];
    memset(addresses, 0, sizeof addresses);
    for (size_t i = 0; letters[i] != '\0'; i++)
        addresses[i].address = rig->nodes[letters[i] - 'a'].address;
    assert_int_equal(weft_list_resolver_set(rig->list, addresses, strlen(letters)), 0);
    pass_ms(rig, 0);
}

static void open_channel(struct rig *rig, const char *letters)
{
    weft_resolver *const resolvers[] = {rig->list};
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    options.resolvers = resolvers;
    options.resolver_count = 1;
    options.picker = &rig->turn.base;
    options.max_backoff_ms = 4000;
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

/* One call. @return the number of the node that answered; -1: it failed. */
static int call_one(struct rig *rig, int64_t timeout_ms, weft_code *code)
{
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    options.timeout_ms = timeout_ms;
    weft_arena_reset(rig->arena);
    weft_status status = chat_Chat_Say(rig->channel, rig->arena, &options, &request, &response);
    *code = status.code;
    return status.code == WEFT_OK ? (int)response->number : -1;
}

/* Whether calls go to these instances, and no others. */
static void assert_used(struct rig *rig, const char *letters)
{
    char used[SERVERS + 1] = "";
    size_t count = 0;
    weft_code code;
    int before[SERVERS];
    for (int i = 0; i < SERVERS; i++)
        before[i] = rig->nodes[i].calls;
    for (int i = 0; i < 12; i++)
        assert_true(call_one(rig, -1, &code) >= 0);
    for (int i = 0; i < SERVERS; i++)
        if (rig->nodes[i].calls > before[i])
            used[count++] = (char)('a' + i);
    assert_string_equal(used, letters);
}

static struct rig *new_rig(bool stepped)
{
    struct rig *rig = calloc(1, sizeof *rig);
    weft_memory_engine_options options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
    assert_non_null(rig);
    rig->stepped = stepped;
    rig->turn.base.vtable = &turn_vtable;
    rig->check = (weft_health_check_options)WEFT_HEALTH_CHECK_OPTIONS_INIT;
    options.threaded = !stepped;
    assert_int_equal(weft_memory_engine_new(&rig->engine, &options), 0);
    assert_int_equal(weft_arena_new(&rig->arena, 0), 0);
    assert_int_equal(weft_list_resolver_new(&rig->list), 0);
    for (int i = 0; i < SERVERS; i++) {
        assert_int_equal(pthread_mutex_init(&rig->nodes[i].lock, NULL), 0);
        rig->nodes[i].status = SERVING;
        start_node(rig, i);
    }
    return rig;
}

static int set_up_stepped(void **state)
{
    *state = new_rig(true);
    return 0;
}

static int set_up_threaded(void **state)
{
    *state = new_rig(false);
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    close_channel(rig);
    weft_resolver_free(rig->list);
    for (int i = 0; i < SERVERS; i++) {
        weft_server_free(rig->nodes[i].server);
        assert_null(rig->nodes[i].held);
        pthread_mutex_destroy(&rig->nodes[i].lock);
    }
    assert_int_equal(weft_engine_free(rig->engine), 0);
    weft_arena_free(rig->arena);
    free(rig);
    return 0;
}

/* ---- Check ------------------------------------------------------------------------------------------------------- */

static void an_instance_is_asked_when_it_is_connected_and_then_at_every_interval(void **state)
{
    struct rig *rig = *state;
    rig->check.service = "users";
    open_channel(rig, "a");
    assert_int_equal(rig->nodes[0].asked, 1);
    assert_string_equal(rig->nodes[0].service, "users");
    for (int i = 2; i < 10; i++) {
        pass_ms(rig, 30000);
        assert_int_equal(rig->nodes[0].asked, i);
    }
}

static void the_checks_of_many_instances_do_not_come_all_at_once(void **state)
{
    struct rig *rig = *state;
    int64_t second_at[SERVERS] = {0};
    open_channel(rig, "abcd");
    for (int64_t ms = 100; ms <= 30000; ms += 100) {
        pass_ms(rig, 100);
        for (int i = 0; i < SERVERS; i++)
            if (rig->nodes[i].asked == 2 && second_at[i] == 0)
                second_at[i] = ms;
    }
    for (int i = 0; i < SERVERS; i++) {
        assert_true(second_at[i] > 0);
        for (int k = 0; k < i; k++)
            assert_int_not_equal(second_at[i], second_at[k]);
    }
}

/* Node b is not well in one way or another: after more than three failures it is left out, after one success it is
 * back. */
static void assert_leaves_and_returns(struct rig *rig)
{
    pass_intervals(rig, 2);
    assert_used(rig, "abc");
    pass_intervals(rig, 3); /* a silent one's last check takes its time */
    assert_used(rig, "ac");
    rig->nodes[1].status = SERVING;
    rig->nodes[1].code = WEFT_OK;
    pass_intervals(rig, 1);
    assert_used(rig, "abc");
}

static void who_fails_more_than_three_checks_is_left_out_until_one_succeeds(void **state)
{
    struct rig *rig = *state;
    open_channel(rig, "abc");
    rig->nodes[1].status = NOT_SERVING;
    assert_leaves_and_returns(rig);
    rig->nodes[1].status = 42; /* of a later protocol */
    assert_leaves_and_returns(rig);
    rig->nodes[1].code = WEFT_NOT_FOUND;
    assert_leaves_and_returns(rig);
}

static void who_does_not_answer_in_time_fails(void **state)
{
    struct rig *rig = *state;
    open_channel(rig, "abc");
    rig->nodes[1].status = SILENCE;
    assert_leaves_and_returns(rig);
    assert_true(rig->nodes[1].let_go >= 4);
}

static void a_success_in_between_starts_the_count_again(void **state)
{
    struct rig *rig = *state;
    open_channel(rig, "ab");
    for (int round = 0; round < 5; round++) {
        rig->nodes[1].status = NOT_SERVING;
        pass_intervals(rig, 3);
        rig->nodes[1].status = SERVING;
        pass_intervals(rig, 1);
    }
    assert_used(rig, "ab");
}

static void the_first_failure_may_be_one_too_many(void **state)
{
    struct rig *rig = *state;
    rig->check.unhealthy_after = -1;
    rig->check.healthy_after = 2;
    rig->check.interval_ms = 1000;
    rig->nodes[1].status = NOT_SERVING;
    open_channel(rig, "ab");
    assert_used(rig, "a");
    rig->nodes[1].status = SERVING;
    pass_ms(rig, 1000);
    assert_used(rig, "a");
    pass_ms(rig, 1000);
    assert_used(rig, "ab");
}

static void when_all_are_unhealthy_all_are_used(void **state)
{
    struct rig *rig = *state;
    rig->check.unhealthy_after = -1;
    for (int i = 0; i < 3; i++)
        rig->nodes[i].status = NOT_SERVING;
    open_channel(rig, "abc");
    assert_used(rig, "abc");
    rig->nodes[2].status = SERVING;
    pass_intervals(rig, 1);
    assert_used(rig, "c");
}

static void a_server_without_checks_is_well_and_not_asked_again(void **state)
{
    struct rig *rig = *state;
    rig->check.unhealthy_after = -1;
    rig->nodes[1].code = WEFT_UNIMPLEMENTED;
    open_channel(rig, "ab");
    pass_intervals(rig, 10);
    assert_used(rig, "ab");
    assert_int_equal(rig->nodes[1].asked, 1);
    rig->nodes[1].code = WEFT_OK; /* its next version knows them */
    stop_node(rig, 1);
    start_node(rig, 1);
    pass_ms(rig, 10000);
    assert_true(rig->nodes[1].asked >= 2);
}

static void a_server_that_comes_back_is_asked_at_once(void **state)
{
    struct rig *rig = *state;
    rig->check.unhealthy_after = -1;
    rig->check.interval_ms = 3600000;
    rig->nodes[1].status = NOT_SERVING;
    open_channel(rig, "ab");
    assert_used(rig, "a");
    stop_node(rig, 1);
    rig->nodes[1].status = SERVING;
    start_node(rig, 1);
    pass_ms(rig, 5000);
    assert_used(rig, "ab");
}

static void an_answer_over_a_connection_that_is_gone_counts_for_nothing(void **state)
{
    struct rig *rig = *state;
    rig->check.unhealthy_after = -1;
    rig->nodes[1].status = SILENCE;
    open_channel(rig, "ab");
    assert_int_equal(rig->nodes[1].asked, 1);
    stop_node(rig, 1); /* which cancels the check */
    rig->nodes[1].status = SERVING;
    start_node(rig, 1);
    pass_ms(rig, 5000);
    assert_int_equal(rig->nodes[1].asked, 2);
    assert_used(rig, "ab");
}

static void an_instance_may_leave_while_it_is_asked(void **state)
{
    struct rig *rig = *state;
    rig->nodes[1].status = SILENCE;
    open_channel(rig, "ab");
    assert_non_null(rig->nodes[1].held);
    tell(rig, "a");
    assert_null(rig->nodes[1].held);
    assert_int_equal(rig->nodes[1].let_go, 1);
    pass_intervals(rig, 3);
    assert_int_equal(rig->nodes[1].asked, 1);
    tell(rig, "ab"); /* and come back, as another */
    assert_int_equal(rig->nodes[1].asked, 2);
}

static void a_channel_may_be_freed_while_it_asks(void **state)
{
    struct rig *rig = *state;
    rig->nodes[1].status = SILENCE;
    for (int kind = WEFT_HEALTH_CHECK_GRPC; kind <= WEFT_HEALTH_CHECK_WATCH; kind++) {
        rig->check.kind = (weft_health_check_kind)kind;
        open_channel(rig, "abcd");
        assert_non_null(rig->nodes[1].held);
        close_channel(rig);
        pass_ms(rig, 0);
        assert_null(rig->nodes[1].held);
    }
}

static void pickers_and_outliers_do_not_see_checks(void **state)
{
    struct rig *rig = *state;
    rig->check.unhealthy_after = 100;
    rig->nodes[1].code = WEFT_UNAVAILABLE;
    open_channel(rig, "ab");
    pass_intervals(rig, 20); /* five failures in a row would eject it */
    assert_int_equal(rig->nodes[1].asked, 21);
    assert_int_equal(rig->turn.done, 0);
    assert_used(rig, "ab");
    assert_int_equal(rig->turn.done, 12);
}

static void a_change_is_logged_with_address_reason_and_count(void **state)
{
    struct rig *rig = *state;
    FILE *lines = tmpfile();
    weft_log_options options = WEFT_LOG_OPTIONS_INIT;
    char text[4096] = "";
    char expected[256];
    assert_non_null(lines);
    options.fd = fileno(lines);
    assert_int_equal(weft_log_new(&rig->log, &options), 0);
    open_channel(rig, "ab");
    rig->nodes[1].code = WEFT_INTERNAL;
    pass_intervals(rig, 8);
    rig->nodes[1].code = WEFT_OK;
    pass_intervals(rig, 2);
    close_channel(rig);
    weft_log_free(rig->log); /* all is written */
    rewind(lines);
    assert_true(fread(text, 1, sizeof text - 1, lines) > 0);
    (void)fclose(lines);
    (void)snprintf(
        expected, sizeof expected,
        "\"level\":\"warn\",\"msg\":\"an instance is unhealthy\",\"address\":\"%s\",\"reason\":\"INTERNAL: node 1 "
        "does not know\",\"failures_in_row\":4}",
        rig->nodes[1].address);
    char *first = strstr(text, expected);
    assert_non_null(first);
    assert_null(strstr(first + strlen(expected), "unhealthy")); /* once */
    (void)snprintf(expected, sizeof expected, "\"msg\":\"an instance is healthy again\",\"address\":\"%s\"",
                   rig->nodes[1].address);
    assert_non_null(strstr(first, expected));
}

/* ---- Watch ------------------------------------------------------------------------------------------------------- */

static void say_word(struct rig *rig, int i, int status)
{
    tell_watch(rig->nodes[i].held->stream, status);
    pass_ms(rig, 0);
}

static void break_watch(struct rig *rig, int i)
{
    struct held *held = take_held(&rig->nodes[i]);
    assert_non_null(held);
    weft_call_finish(held->call, WEFT_UNAVAILABLE, NULL);
    pass_ms(rig, 0);
}

static void a_watch_follows_every_word(void **state)
{
    struct rig *rig = *state;
    rig->check.kind = WEFT_HEALTH_CHECK_WATCH;
    rig->check.service = "users";
    open_channel(rig, "ab");
    assert_string_equal(rig->nodes[1].service, "users");
    assert_used(rig, "ab");
    for (int i = 0; i < 3; i++) {
        say_word(rig, 1, NOT_SERVING);
        assert_used(rig, "a");
        say_word(rig, 1, SERVING);
        assert_used(rig, "ab");
    }
    pass_intervals(rig, 10);
    assert_int_equal(rig->nodes[1].asked, 1);
}

static void on_word_heard(const weft_status *status, Chat__Text *response, weft_result *result, void *arg)
{
    (void)result;
    *(atomic_int *)arg = status->code == WEFT_OK ? (int)response->number : -1;
}

static void calls_wait_for_the_first_word(void **state)
{
    struct rig *rig = *state;
    const Chat__Text request = CHAT__TEXT__INIT;
    atomic_int answered = -2;
    weft_code code;
    rig->check.kind = WEFT_HEALTH_CHECK_WATCH;
    rig->nodes[0].status = SILENCE;
    open_channel(rig, "a");
    assert_int_equal(chat_Chat_Say_async(rig->channel, NULL, &request, on_word_heard, &answered), 0);
    pass_ms(rig, 1000);
    assert_int_equal(answered, -2);
    assert_int_equal(rig->nodes[0].calls, 0);
    say_word(rig, 0, SERVING);
    assert_int_equal(answered, 0);
    assert_int_equal(call_one(rig, 1000, &code), 0);
}

static void who_has_said_nothing_yet_is_not_used_beside_others(void **state)
{
    struct rig *rig = *state;
    rig->check.kind = WEFT_HEALTH_CHECK_WATCH;
    rig->check.timeout_ms = 1000000;
    rig->nodes[1].status = SILENCE;
    open_channel(rig, "ab");
    pass_intervals(rig, 2);
    assert_used(rig, "a");
    rig->nodes[0].status = NOT_SERVING;
    say_word(rig, 0, NOT_SERVING);
    assert_used(rig, "a"); /* it is connected, at least */
    say_word(rig, 1, SERVING);
    assert_used(rig, "b");
}

static void a_watch_that_breaks_is_opened_again(void **state)
{
    struct rig *rig = *state;
    rig->check.kind = WEFT_HEALTH_CHECK_WATCH;
    open_channel(rig, "ab");
    pass_ms(rig, 10000);
    rig->nodes[1].status = SILENCE;
    break_watch(rig, 1);
    assert_int_equal(rig->nodes[1].asked, 2); /* at once */
    assert_used(rig, "a");                    /* and its word is waited for */
    say_word(rig, 1, SERVING);
    assert_used(rig, "ab");
}

static void a_watch_that_breaks_again_and_again_is_not_opened_all_the_time(void **state)
{
    struct rig *rig = *state;
    rig->check.kind = WEFT_HEALTH_CHECK_WATCH;
    open_channel(rig, "ab");
    for (int ms = 0; ms < 10000; ms += 100) {
        if (rig->nodes[1].held != NULL)
            break_watch(rig, 1);
        pass_ms(rig, 100);
    }
    assert_in_range(rig->nodes[1].asked, 8, 14); /* one second apart, the jitter aside */
}

static void a_watch_that_fails_makes_unhealthy_and_is_tried_with_backoff(void **state)
{
    struct rig *rig = *state;
    rig->check.kind = WEFT_HEALTH_CHECK_WATCH;
    rig->nodes[1].code = WEFT_INTERNAL;
    open_channel(rig, "ab");
    assert_used(rig, "a");
    pass_ms(rig, 60000);
    assert_in_range(rig->nodes[1].asked, 15, 20); /* after 1, 1.6, 2.6, 4, 4 … seconds, the jitter aside */
    rig->nodes[1].code = WEFT_OK;
    pass_ms(rig, 5000);
    assert_used(rig, "ab");
}

static void a_watch_that_stays_silent_is_given_up_and_tried_again(void **state)
{
    struct rig *rig = *state;
    rig->check.kind = WEFT_HEALTH_CHECK_WATCH;
    rig->nodes[1].status = SILENCE;
    open_channel(rig, "ab");
    pass_ms(rig, 4999);
    assert_int_equal(rig->nodes[1].let_go, 0);
    pass_ms(rig, 1);
    assert_int_equal(rig->nodes[1].let_go, 1);
    assert_int_equal(rig->nodes[1].asked, 2);
    rig->nodes[0].status = NOT_SERVING;
    say_word(rig, 0, NOT_SERVING);
    assert_used(rig, "ab"); /* unhealthy both */
    rig->nodes[1].status = SERVING;
    pass_ms(rig, 10000);
    assert_used(rig, "b");
}

static void a_server_that_knows_no_watch_is_well_until_the_next_connection(void **state)
{
    struct rig *rig = *state;
    rig->check.kind = WEFT_HEALTH_CHECK_WATCH;
    rig->nodes[1].code = WEFT_UNIMPLEMENTED;
    open_channel(rig, "ab");
    assert_used(rig, "ab");
    pass_intervals(rig, 10);
    assert_int_equal(rig->nodes[1].asked, 1);
    stop_node(rig, 1);
    rig->nodes[1].code = WEFT_OK;
    rig->nodes[1].status = NOT_SERVING;
    start_node(rig, 1);
    pass_ms(rig, 10000);
    assert_int_equal(rig->nodes[1].asked, 2);
    assert_used(rig, "a");
}

static void a_lost_connection_ends_the_watch_and_the_next_one_begins_it_anew(void **state)
{
    struct rig *rig = *state;
    rig->check.kind = WEFT_HEALTH_CHECK_WATCH;
    open_channel(rig, "ab");
    stop_node(rig, 1);
    pass_ms(rig, 0);
    assert_null(rig->nodes[1].held);
    rig->nodes[1].status = SILENCE;
    start_node(rig, 1);
    pass_ms(rig, 4000);
    assert_int_equal(rig->nodes[1].asked, 2);
    assert_used(rig, "a"); /* what the last connection said is forgotten */
    say_word(rig, 1, SERVING);
    assert_used(rig, "ab");
}

static void an_instance_may_leave_while_it_is_watched(void **state)
{
    struct rig *rig = *state;
    rig->check.kind = WEFT_HEALTH_CHECK_WATCH;
    open_channel(rig, "ab");
    tell(rig, "a");
    assert_null(rig->nodes[1].held);
    assert_int_equal(rig->nodes[1].let_go, 1);
    pass_intervals(rig, 2);
    assert_int_equal(rig->nodes[1].asked, 1);
}

/* ---- what cannot be checked -------------------------------------------------------------------------------------- */

static void options_that_make_no_sense_make_no_channel(void **state)
{
    struct rig *rig = *state;
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    options.health_check = &rig->check;
    rig->check.timeout_ms = 60000; /* over the interval */
    assert_int_equal(weft_channel_new(&rig->channel, rig->engine, "static:///10.0.0.1:1", &options), -EINVAL);
    rig->check.timeout_ms = 0;
    rig->check.kind = WEFT_HEALTH_CHECK_HTTP; /* without an address, and without sockets */
    assert_int_equal(weft_channel_new(&rig->channel, rig->engine, "10.0.0.1:1", &options), -ENOTSUP);
    assert_int_equal(weft_channel_new(&rig->channel, rig->engine, "static:///10.0.0.1:1", &options), -ENOTSUP);
    assert_null(rig->channel);
}

#define CASE(name, setup) cmocka_unit_test_setup_teardown(name, setup, tear_down)
#define CASES(setup)                                                                                                   \
    CASE(an_instance_is_asked_when_it_is_connected_and_then_at_every_interval, setup),                                 \
        CASE(the_checks_of_many_instances_do_not_come_all_at_once, setup),                                             \
        CASE(who_fails_more_than_three_checks_is_left_out_until_one_succeeds, setup),                                  \
        CASE(who_does_not_answer_in_time_fails, setup), CASE(a_success_in_between_starts_the_count_again, setup),      \
        CASE(the_first_failure_may_be_one_too_many, setup), CASE(when_all_are_unhealthy_all_are_used, setup),          \
        CASE(a_server_without_checks_is_well_and_not_asked_again, setup),                                              \
        CASE(a_server_that_comes_back_is_asked_at_once, setup),                                                        \
        CASE(an_answer_over_a_connection_that_is_gone_counts_for_nothing, setup),                                      \
        CASE(an_instance_may_leave_while_it_is_asked, setup), CASE(a_channel_may_be_freed_while_it_asks, setup),       \
        CASE(pickers_and_outliers_do_not_see_checks, setup),                                                           \
        CASE(a_change_is_logged_with_address_reason_and_count, setup), CASE(a_watch_follows_every_word, setup),        \
        CASE(calls_wait_for_the_first_word, setup), CASE(who_has_said_nothing_yet_is_not_used_beside_others, setup),   \
        CASE(a_watch_that_breaks_is_opened_again, setup),                                                              \
        CASE(a_watch_that_breaks_again_and_again_is_not_opened_all_the_time, setup),                                   \
        CASE(a_watch_that_fails_makes_unhealthy_and_is_tried_with_backoff, setup),                                     \
        CASE(a_watch_that_stays_silent_is_given_up_and_tried_again, setup),                                            \
        CASE(a_server_that_knows_no_watch_is_well_until_the_next_connection, setup),                                   \
        CASE(a_lost_connection_ends_the_watch_and_the_next_one_begins_it_anew, setup),                                 \
        CASE(an_instance_may_leave_while_it_is_watched, setup),                                                        \
        CASE(options_that_make_no_sense_make_no_channel, setup)

int main(int argc, char **argv)
{
    static const struct CMUnitTest stepped[] = {CASES(set_up_stepped)};
    static const struct CMUnitTest threaded[] = {CASES(set_up_threaded)};
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    if (argc > 1 && strcmp(argv[1], "threaded") == 0)
        return cmocka_run_group_tests(threaded, NULL, NULL);
    return cmocka_run_group_tests(stepped, NULL, NULL);
}
