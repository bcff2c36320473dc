/* What balancers of others got wrong (docs/internals/balancing.md), through a channel over six servers in virtual time:
 * they take exponentially distributed times, callers come at random, and all of it is the same each time. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <weft/testing.h>
#include <weft/weft.h>

#include "base/list.h"
#include "base/random.h"
#include "chat.weft.h"
#include "pick/pick.h"
#include "transport/transport.h"

enum {
    NODES = 6
};

static const int64_t ns_per_ms = 1000000;
static const double usual_ms = 5;

/* ---- servers ----------------------------------------------------------------------------------------------------- */

struct node {
    struct rig *rig;
    weft_server *server;
    char address[64];
    uint32_t weight;
    weft_instance_health health;
    double mean_ms; /* of what it takes for a call; 0: it never answers */
    int64_t calls;  /* that have come to it */
};

struct rig {
    weft_engine *engine;
    struct node nodes[NODES];
    weft_resolver *list;
    weft_picker *picker;
    weft_channel *channel;
    weft_arena *arena;
    weft__random_seeded source;
    weft__random_seeded picks;
    bool hashes; /* each call has a hash of its own */
    int64_t begun;
    int64_t ended;
    int64_t failed;
};

/* A call at its server. Lives in the call's arena. */
struct job {
    struct node *node;
    weft_call *call;
    Chat__Text *response;
    weft__alarm due;
    bool answered;
};

static int64_t exponential_ns(struct rig *rig, double mean_ms)
{
    return (int64_t)(-log(1 - weft__random_unit(&rig->source.base)) * mean_ms * (double)ns_per_ms);
}

static void on_due(weft__alarm *alarm)
{
    struct job *job = WEFT__CONTAINER_OF(alarm, struct job, due);
    job->answered = true;
    weft_call_finish(job->call, WEFT_OK, &job->response->base);
}

/* Nobody waits any more; or it was answered. */
static void on_gone(void *arg)
{
    struct job *job = arg;
    weft_engine *engine = job->node->rig->engine;
    if (job->answered)
        return;
    if (job->node->mean_ms > 0)
        (void)engine->vtable->alarm_cancel(engine, &job->due);
    weft_call_finish(job->call, WEFT_CANCELLED, NULL);
}

/* Answers after a while, or not at all. */
static void take(struct node *node, weft_call *call, Chat__Text *response)
{
    struct job *job = weft_arena_zalloc(weft_call_arena(call), sizeof *job);
    weft_engine *engine = node->rig->engine;
    assert_non_null(job);
    node->calls++;
    job->node = node;
    job->call = call;
    job->response = response;
    job->due.run = on_due;
    assert_int_equal(weft_call_defer(call), 0);
    assert_int_equal(weft_call_when_cancelled(call, on_gone, job), 0);
    int64_t at_ns = weft_engine_now_ns(engine) + exponential_ns(node->rig, node->mean_ms);
    if (response != NULL && node->mean_ms > 0)
        assert_int_equal(engine->vtable->alarm_set(engine, &job->due, at_ns), 0);
}

static weft_code say(weft_call *call, const Chat__Text *request, Chat__Text *response, void *self)
{
    (void)request;
    take(self, call, response);
    return WEFT_OK;
}

/* A stream that its caller ends. */
static weft_code spread(weft_call *call, const Chat__Text *request, chat_Chat_Spread_server *stream, void *self)
{
    (void)request;
    (void)stream;
    take(self, call, NULL);
    return WEFT_OK;
}

static void start_node(struct rig *rig, int i)
{
    static const chat_Chat_ops ops = {.Say = say, .Spread = spread};
    struct node *node = &rig->nodes[i];
    weft_server_options options = WEFT_SERVER_OPTIONS_INIT;
    options.workers = -1;
    node->rig = rig;
    node->mean_ms = usual_ms;
    assert_int_equal(weft_server_new(&node->server, rig->engine, &options), 0);
    assert_int_equal(chat_Chat_register(node->server, &ops, node, NULL), 0);
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

/* ---- the channel ------------------------------------------------------------------------------------------------- */

/* The channel's list from now on: a letter for each node, "ac". */
static void tell(struct rig *rig, const char *letters)
{
    weft_address addresses[NODES];
    memset(addresses, 0, sizeof addresses);
    for (size_t i = 0; letters[i] != '\0'; i++) {
        const struct node *node = &rig->nodes[letters[i] - 'a'];
        addresses[i].address = node->address;
        addresses[i].weight = node->weight;
        addresses[i].health = node->health;
    }
    assert_int_equal(weft_list_resolver_set(rig->list, addresses, strlen(letters)), 0);
    weft_test_advance(rig->engine, ns_per_ms);
}

/* `picker` is the rig's from now on. NULL: what the service config says. */
static void open_channel(struct rig *rig, weft_picker *picker, const char *service_config, const char *letters)
{
    weft_resolver *const resolvers[] = {rig->list};
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    options.resolvers = resolvers;
    options.resolver_count = 1;
    options.picker = picker;
    options.service_config = service_config;
    options.min_backoff_ms = 20;
    options.max_backoff_ms = 50;
    rig->picker = picker;
    assert_int_equal(weft_channel_new(&rig->channel, rig->engine, "list:///", &options), 0);
    tell(rig, letters);
}

static void close_channel(struct rig *rig)
{
    weft_channel_free(rig->channel);
    weft_picker_free(rig->picker);
    rig->channel = NULL;
    rig->picker = NULL;
}

static void on_answer(const weft_status *status, Chat__Text *response, weft_result *result, void *arg)
{
    struct rig *rig = arg;
    (void)response;
    (void)result;
    rig->ended++;
    rig->failed += status->code != WEFT_OK;
}

/* Lets so many calls come, one each `every_ms` on average. Then counts anew what comes to the nodes. */
static void load(struct rig *rig, int calls, double every_ms)
{
    const Chat__Text request = CHAT__TEXT__INIT;
    for (int i = 0; i < NODES; i++)
        rig->nodes[i].calls = 0;
    for (int i = 0; i < calls; i++) {
        weft_call_options options = WEFT_CALL_OPTIONS_INIT;
        options.hash = rig->hashes ? rig->source.base.next(&rig->source.base) | 1 : 0;
        weft_test_advance(rig->engine, exponential_ns(rig, every_ms));
        rig->begun++;
        assert_int_equal(chat_Chat_Say_async(rig->channel, &options, &request, on_answer, rig), 0);
    }
    (void)weft_test_step(rig->engine, SIZE_MAX);
}

static void await_all(struct rig *rig)
{
    for (int i = 0; i < 1000 && rig->ended < rig->begun; i++)
        weft_test_advance(rig->engine, 10 * ns_per_ms);
    assert_int_equal(rig->ended, rig->begun);
}

static int set_up(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    assert_int_equal(weft_memory_engine_new(&rig->engine, NULL), 0);
    assert_int_equal(weft_arena_new(&rig->arena, 0), 0);
    assert_int_equal(weft_list_resolver_new(&rig->list), 0);
    (void)weft__random_seed(&rig->source, 20261129);
    weft__pick_random = weft__random_seed(&rig->picks, 6);
    for (int i = 0; i < NODES; i++)
        start_node(rig, i);
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    close_channel(rig);
    for (int i = 0; i < NODES; i++)
        weft_server_free(rig->nodes[i].server);
    weft_resolver_free(rig->list);
    assert_int_equal(weft_engine_free(rig->engine), 0);
    weft_arena_free(rig->arena);
    weft__pick_random = NULL;
    free(rig);
    return 0;
}

static weft_picker *new_p2c(void)
{
    weft_picker *picker = NULL;
    assert_int_equal(weft_p2c_new(&picker, NULL), 0);
    return picker;
}

/* ---- an update of the list --------------------------------------------------------------------------------------- */

static void statistics_survive_an_update_of_the_list(void **state)
{
    static const char *const updates[] = {"fedcba", "bcdef", "dabcef", "abcdef"}; /* order, neighbours, weights */
    struct rig *rig = *state;
    rig->nodes[3].mean_ms = 50;
    open_channel(rig, new_p2c(), NULL, "abcdef");
    load(rig, 5000, 1);
    for (size_t i = 0; i < sizeof updates / sizeof *updates; i++) {
        rig->nodes[i].weight = 2 - rig->nodes[i].weight;
        tell(rig, updates[i]);
        load(rig, 60, 1);
        assert_in_range(rig->nodes[3].calls, 0, 1); /* it is known to be slow */
    }
    tell(rig, "abcef");
    tell(rig, "abcdef");
    load(rig, 60, 1);
    assert_in_range(rig->nodes[3].calls, 3, 12); /* who was away is tried anew */
    await_all(rig);
    assert_int_equal(rig->failed, 0);
}

/* ---- a caller that cancels --------------------------------------------------------------------------------------- */

/* A call that its caller cancels after 200 ms. */
static void call_and_cancel(struct rig *rig)
{
    const Chat__Text request = CHAT__TEXT__INIT;
    chat_Chat_Spread_client *stream = NULL;
    assert_int_equal(chat_Chat_Spread(&stream, rig->channel, NULL, &request), 0);
    weft_test_advance(rig->engine, 200 * ns_per_ms);
    weft_stream_cancel(WEFT_STREAM(stream));
    weft_arena_reset(rig->arena);
    assert_int_equal(chat_Chat_Spread_client_finish(stream, rig->arena).code, WEFT_CANCELLED);
}

static void the_callers_cancel_is_no_penalty(void **state)
{
    struct rig *rig = *state;
    open_channel(rig, new_p2c(), NULL, "ab");
    load(rig, 1000, 2);
    await_all(rig);
    rig->nodes[1].health = WEFT_INSTANCE_DRAINING; /* all go to the other one, and what is known of this one stays */
    tell(rig, "ab");
    rig->nodes[0].calls = 0;
    for (int i = 0; i < 10; i++)
        call_and_cancel(rig);
    assert_int_equal(rig->nodes[0].calls, 10); /* in a row, and five failures eject */
    rig->nodes[1].health = WEFT_INSTANCE_UNKNOWN;
    tell(rig, "ab");
    load(rig, 1000, 2);
    await_all(rig);
    assert_in_range(rig->nodes[0].calls, 400, 600);
    assert_int_equal(rig->failed, 0);
}

/* ---- one that dies ----------------------------------------------------------------------------------------------- */

/* A round robin that counts how often it picks one of them. */
struct spy {
    weft_picker base;
    size_t next;
    const char *watched;
    int64_t seen;
};

static weft_pick spy_pick(weft_picker *self, const weft_pick_args *args, weft_endpoint **out)
{
    struct spy *spy = WEFT__CONTAINER_OF(self, struct spy, base);
    *out = args->endpoints[spy->next++ % args->endpoint_count];
    spy->seen += strcmp(weft_endpoint_address(*out), spy->watched) == 0;
    return WEFT_PICK_ENDPOINT;
}

static void spy_destroy(weft_picker *self)
{
    free(WEFT__CONTAINER_OF(self, struct spy, base));
}

static void one_that_is_dead_is_not_picked_though_it_is_listed(void **state)
{
    static const weft_picker_vtable vtable = {
        .struct_size = sizeof vtable, .name = "spy", .pick = spy_pick, .destroy = spy_destroy};
    struct rig *rig = *state;
    struct spy *spy = calloc(1, sizeof *spy);
    assert_non_null(spy);
    spy->base.vtable = &vtable;
    spy->watched = rig->nodes[2].address;
    open_channel(rig, &spy->base, NULL, "abcdef");
    load(rig, 600, 1);
    assert_int_equal(spy->seen, 100);
    stop_node(rig, 2);
    (void)weft_test_step(rig->engine, SIZE_MAX);
    int64_t lost = rig->failed; /* those that it had */
    spy->seen = 0;
    load(rig, 2000, 1);
    await_all(rig);
    assert_int_equal(spy->seen, 0);
    assert_int_equal(rig->failed, lost);
    start_node(rig, 2);
    weft_test_advance(rig->engine, 100 * ns_per_ms); /* more than the backoff */
    load(rig, 600, 1);
    await_all(rig);
    assert_int_equal(spy->seen, 100);
}

/* ---- one that is new --------------------------------------------------------------------------------------------- */

static int new_least_request(weft_picker **out)
{
    return weft_least_request_new(out, 2);
}

static int new_default_p2c(weft_picker **out)
{
    return weft_p2c_new(out, NULL);
}

static int new_ring(weft_picker **out)
{
    return weft_ring_hash_new(out, NULL);
}

static void one_that_is_new_is_neither_flooded_nor_starved(void **state)
{
    int (*const makers[])(weft_picker **) = {new_default_p2c, new_least_request, weft_round_robin_new};
    struct rig *rig = *state;
    for (size_t i = 0; i < sizeof makers / sizeof *makers; i++) {
        weft_picker *picker = NULL;
        assert_int_equal(makers[i](&picker), 0);
        open_channel(rig, picker, NULL, "abcde");
        load(rig, 5000, 1);
        tell(rig, "abcdef"); /* while calls are under way */
        load(rig, 120, 1);
        assert_in_range(rig->nodes[5].calls, 8, 40); /* 20 is its share */
        load(rig, 6000, 1);
        assert_in_range(rig->nodes[5].calls, 800, 1200);
        await_all(rig);
        close_channel(rig);
    }
    assert_int_equal(rig->failed, 0);
}

/* ---- who gets how much ------------------------------------------------------------------------------------------- */

enum {
    CALLS = 12000
};

/* How far a picker is off the shares that the weights say: Pearson's statistic. For independent picks its mean is 5,
 * and one of a thousand is above 20.5; what takes turns is near 0. */
static double distance(const struct rig *rig)
{
    double statistic = 0;
    double weights = 0;
    for (int i = 0; i < NODES; i++)
        weights += rig->nodes[i].weight;
    for (int i = 0; i < NODES; i++) {
        double expected = CALLS * rig->nodes[i].weight / weights;
        double off = (double)rig->nodes[i].calls - expected;
        statistic += off * off / expected;
    }
    return statistic;
}

static void each_picker_gives_the_shares_that_it_says(void **state)
{
    static const struct {
        const char *name;
        int (*make)(weft_picker **out);
        bool weighted;
        bool hashes;
        double limit;
    } pickers[] = {
        {"random", weft_random_new, false, false, 20.5},
        {"round_robin", weft_round_robin_new, false, false, 0.01},
        {"weighted_round_robin", weft_weighted_round_robin_new, true, false, 0.01},
        {"least_request", new_least_request, false, false, 20.5},
        /* Not independent: shares that differ by a tenth, as a standard deviation, make a hundredth of the calls. */
        {"p2c", new_default_p2c, false, false, 0.01 * CALLS},
        {"ring_hash", new_ring, false, true, 0.02 * CALLS}, /* 100 points of random distances: a tenth */
    };
    struct rig *rig = *state;
    for (size_t i = 0; i < sizeof pickers / sizeof *pickers; i++) {
        weft_picker *picker = NULL;
        rig->hashes = pickers[i].hashes;
        for (int k = 0; k < NODES; k++)
            rig->nodes[k].weight = pickers[i].weighted ? (uint32_t)k % 3 + 1 : 1;
        assert_int_equal(pickers[i].make(&picker), 0);
        open_channel(rig, picker, NULL, "abcdef");
        load(rig, CALLS, 1);
        double off = distance(rig);
        print_message("    %s: %.3f of at most %.3f\n", pickers[i].name, off, pickers[i].limit);
        assert_true(off <= pickers[i].limit);
        await_all(rig);
        close_channel(rig);
    }
    assert_int_equal(rig->failed, 0);
}

/* ---- one that hangs ---------------------------------------------------------------------------------------------- */

static void one_that_hangs_is_ejected_when_attempts_are_given_up(void **state)
{
    struct rig *rig = *state;
    rig->nodes[1].mean_ms = 0;
    open_channel(rig, NULL,
                 "{\"loadBalancingConfig\": [{\"round_robin\": {}}], \"methodConfig\": [{\"name\": [{}], "
                 "\"retryPolicy\": {\"maxAttempts\": 3, \"initialBackoff\": \"0.001s\", \"maxBackoff\": \"0.001s\", "
                 "\"backoffMultiplier\": 1, \"perAttemptRecvTimeout\": \"0.1s\"}}]}",
                 "abcdef");
    load(rig, 120, 5);
    assert_true(rig->nodes[1].calls >= 5);
    load(rig, 2000, 5); /* 10 s, and 30 s is the first ejection */
    await_all(rig);
    assert_int_equal(rig->nodes[1].calls, 0);
    assert_int_equal(rig->failed, 0);
}

static void one_that_hangs_is_slow_when_hedges_overtake_it(void **state)
{
    struct rig *rig = *state;
    rig->nodes[1].mean_ms = 0;
    open_channel(rig, NULL,
                 "{\"loadBalancingConfig\": [{\"p2c\": {}}], \"methodConfig\": [{\"name\": [{}], "
                 "\"hedgingPolicy\": {\"maxAttempts\": 2, \"hedgingDelay\": \"0.05s\"}}]}",
                 "abcdef");
    load(rig, 120, 5);
    assert_true(rig->nodes[1].calls > 0);
    load(rig, 2000, 5);
    await_all(rig);
    assert_in_range(rig->nodes[1].calls, 0, 20); /* a sixth would be 333 */
    assert_int_equal(rig->failed, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(statistics_survive_an_update_of_the_list),
        CASE(the_callers_cancel_is_no_penalty),
        CASE(one_that_is_dead_is_not_picked_though_it_is_listed),
        CASE(one_that_is_new_is_neither_flooded_nor_starved),
        CASE(each_picker_gives_the_shares_that_it_says),
        CASE(one_that_hangs_is_ejected_when_attempts_are_given_up),
        CASE(one_that_hangs_is_slow_when_hedges_overtake_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
