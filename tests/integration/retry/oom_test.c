/* Calls that are tried again and hedged, with every allocation failing in turn: each ends, right or with an error,
 * nothing leaks, and once there is memory again all goes well. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <weft/testing.h>
#include <weft/weft.h>

#include "chat.weft.h"
#include "integration/retry/rig.h"
#include "support/alloc_fault.h"

static const char *const retrying = CONFIG(RETRY(3, UNAVAILABLE, ",\"perAttemptRecvTimeout\":\"5s\""));
static const char *const hedging = CONFIG(HEDGE(2, "0.01s", UNAVAILABLE));

struct world {
    weft_engine *engine;
    weft_server *servers[2];
    weft_channel *channel;
    weft_arena *arena;
    int failures; /* of the next calls, before one goes well */
};

/* ---- servers ----------------------------------------------------------------------------------------------------- */

/* What the next call ends with. */
static weft_code verdict(struct world *w, weft_call *call)
{
    if (w->failures == 0)
        return WEFT_OK;
    w->failures--;
    int rc = weft_call_add_trailer(call, "grpc-retry-pushback-ms", weft_sv_from("20"));
    return rc < 0 ? weft_fail_errno(call, rc) : weft_fail(call, WEFT_UNAVAILABLE, "not yet");
}

static weft_code say(weft_call *call, const Chat__Text *request, Chat__Text *response, void *self)
{
    response->number = request->number;
    return verdict(self, call);
}

static weft_code spread(weft_call *call, const Chat__Text *request, chat_Chat_Spread_server *stream, void *self)
{
    weft_code code = verdict(self, call);
    if (code != WEFT_OK)
        return code;
    int rc = chat_Chat_Spread_server_send(stream, request);
    return rc < 0 ? weft_fail_errno(call, rc) : WEFT_OK;
}

struct gathering {
    weft_call *call;
    weft_stream *stream;
    Chat__Text *response;
    struct world *world;
};

static void gather_more(void *arg)
{
    struct gathering *g = arg;
    Chat__Text *message;
    int rc;
    while ((rc = chat_Chat_Gather_server_recv((chat_Chat_Gather_server *)g->stream, &message)) != 0) {
        if (rc == -EAGAIN && weft_stream_when_readable(g->stream, gather_more, g) != 1)
            return;
        if (rc < 0 && rc != -EAGAIN) {
            weft_call_finish(g->call, weft_fail_errno(g->call, rc), NULL);
            return;
        }
        if (rc > 0)
            g->response->number += message->number;
    }
    weft_code code = verdict(g->world, g->call);
    weft_call_finish(g->call, code, code == WEFT_OK ? &g->response->base : NULL);
}

static weft_code gather(weft_call *call, chat_Chat_Gather_server *stream, Chat__Text *response, void *self)
{
    struct gathering *g = weft_arena_zalloc(weft_call_arena(call), sizeof *g);
    (void)stream;
    if (g == NULL)
        return weft_fail_errno(call, -ENOMEM);
    int rc = weft_call_defer(call);
    if (rc < 0)
        return weft_fail_errno(call, rc);
    *g = (struct gathering){call, weft_call_stream(call), response, self};
    gather_more(g);
    return WEFT_OK;
}

static int serve(struct world *w, int i)
{
    static const chat_Chat_ops ops = {.Say = say, .Gather = gather, .Spread = spread};
    static const char *const addresses[] = {"10.0.0.1:50051", "10.0.0.2:50051"};
    weft_server_options options = WEFT_SERVER_OPTIONS_INIT;
    options.workers = -1;
    int rc = weft_server_new(&w->servers[i], w->engine, &options);
    if (rc == 0)
        rc = chat_Chat_register(w->servers[i], &ops, w, NULL);
    if (rc == 0)
        rc = weft_server_listen(w->servers[i], addresses[i]);
    return rc == 0 ? weft_server_start(w->servers[i]) : rc;
}

static int open_world(struct world *w, const char *config)
{
    weft_channel_options options = WEFT_CHANNEL_OPTIONS_INIT;
    *w = (struct world){.engine = NULL};
    options.service_config = config;
    int rc = weft_memory_engine_new(&w->engine, NULL);
    for (int i = 0; i < 2 && rc == 0; i++)
        rc = serve(w, i);
    if (rc == 0)
        rc = weft_arena_new(&w->arena, 0);
    if (rc == 0)
        rc = weft_channel_new(&w->channel, w->engine, "static:///10.0.0.1:50051,10.0.0.2:50051", &options);
    return rc;
}

static void close_world(struct world *w)
{
    weft_channel_free(w->channel);
    weft_arena_free(w->arena);
    for (int i = 0; i < 2; i++)
        weft_server_free(w->servers[i]);
    assert_int_equal(weft_engine_free(w->engine), 0);
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static int outcome(const weft_status *status)
{
    if (status->code == WEFT_OK)
        return 0;
    if (status->code != WEFT_RESOURCE_EXHAUSTED && status->code != WEFT_UNAVAILABLE && status->code != WEFT_CANCELLED)
        fail_msg("%s: %s", weft_code_name(status->code), status->message);
    return -ENOMEM;
}

static weft_call_options minute(void)
{
    static const weft_metadatum pair = {{"x-key", 5}, {"value", 5}};
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    options.timeout_ms = 60000;
    options.metadata = &pair;
    options.metadata_count = 1;
    return options;
}

static int call_say(struct world *w)
{
    const weft_call_options options = minute();
    Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    request.number = 42;
    weft_status status = chat_Chat_Say(w->channel, w->arena, &options, &request, &response);
    if (status.code == WEFT_OK)
        assert_int_equal(response->number, 42);
    return outcome(&status);
}

static int call_gather(struct world *w)
{
    const weft_call_options options = minute();
    chat_Chat_Gather_client *stream = NULL;
    Chat__Text message = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    int rc = chat_Chat_Gather(&stream, w->channel, &options);
    if (rc < 0)
        return rc;
    for (message.number = 1; message.number <= 6 && rc == 0; message.number++)
        rc = chat_Chat_Gather_client_send(stream, &message);
    if (rc < 0)
        weft_stream_cancel(WEFT_STREAM(stream));
    weft_status status = chat_Chat_Gather_client_finish(stream, w->arena, &response);
    if (status.code == WEFT_OK)
        assert_int_equal(response->number, 21);
    return outcome(&status);
}

static int call_spread(struct world *w)
{
    const weft_call_options options = minute();
    chat_Chat_Spread_client *stream = NULL;
    Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *message = NULL;
    request.number = 7;
    int rc = chat_Chat_Spread(&stream, w->channel, &options, &request);
    if (rc < 0)
        return rc;
    int received = chat_Chat_Spread_client_recv(stream, &message);
    if (received == 1)
        assert_int_equal(message->number, 7);
    weft_status status = chat_Chat_Spread_client_finish(stream, w->arena);
    if (status.code == WEFT_OK && received == 0)
        fail_msg("OK without the message");
    return received < 0 ? -ENOMEM : outcome(&status);
}

/* ---- sweeps ------------------------------------------------------------------------------------------------------ */

struct scenario {
    const char *config;
    int (*call)(struct world *w);
    int failures;
};

static int live_and_call(void *context)
{
    const struct scenario *scenario = context;
    struct world w;
    int rc = open_world(&w, scenario->config);
    w.failures = scenario->failures;
    if (rc == 0)
        rc = scenario->call(&w);
    close_world(&w);
    return rc;
}

/* All kinds of calls, that fail and do not. */
static size_t scenarios(struct scenario *out)
{
    int (*const calls[])(struct world *) = {call_say, call_gather, call_spread};
    size_t count = 0;
    for (size_t i = 0; i < 3; i++)
        for (int failures = 0; failures < 2; failures++) {
            out[count++] = (struct scenario){retrying, calls[i], failures};
            out[count++] = (struct scenario){hedging, calls[i], failures};
        }
    return count;
}

static void a_life_with_one_call_survives_the_failure_of_each_allocation(void **state)
{
    struct scenario all[12];
    (void)state;
    for (size_t i = scenarios(all); i-- > 0;)
        assert_true(weft_test_oom_sweep_mending(live_and_call, &all[i]) > 50);
}

/* Each allocation of a call fails, and all after it if that `lasts`; the next call goes well. @return how many. */
static long sweep(struct world *w, const struct scenario *scenario, bool lasts)
{
    for (long n = 1;; n++) {
        w->failures = scenario->failures;
        if (lasts)
            weft_test_alloc_fail_from(n);
        else
            weft_test_alloc_fail_at(n);
        int rc = scenario->call(w);
        bool struck = weft_test_alloc_failed();
        weft_test_alloc_fail_at(0);
        if (rc != 0 && !(struck && rc == -ENOMEM))
            fail_msg("allocation %ld fails: returned %d", n, rc);
        weft_arena_reset(w->arena);
        w->failures = scenario->failures;
        assert_int_equal(scenario->call(w), 0);
        weft_arena_reset(w->arena);
        if (!struck)
            return n - 1;
    }
}

static void a_channel_goes_on_when_there_is_memory_again(void **state)
{
    struct scenario all[12];
    struct world w;
    long live = weft_test_alloc_live();
    (void)state;
    for (size_t i = scenarios(all); i-- > 0;) {
        assert_int_equal(open_world(&w, all[i].config), 0);
        assert_int_equal(all[i].call(&w), 0);
        assert_in_range(sweep(&w, &all[i], false), 3, 1000);
        assert_in_range(sweep(&w, &all[i], true), 3, 1000);
        close_world(&w);
        assert_int_equal(weft_test_alloc_live(), live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_life_with_one_call_survives_the_failure_of_each_allocation),
        cmocka_unit_test(a_channel_goes_on_when_there_is_memory_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
