/* What ends a call from outside (its caller, its deadline, a lost connection, the server's stop) reaches every handler
 * and every call that was made for it:
 *
 *     the test ──Talk or Say──▶ A ──▶ B ──▶ C, which waits
 *
 * A and B pass the call on by a call of one kind with the inbound one for its parent, and wait for its end. The same on
 * gRPC core and on the memory engine.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include <weft/core.h>
#include <weft/testing.h>
#include <weft/weft.h>

#include "base/event.h"
#include "chat.weft.h"
#include "transport/transport.h"

enum {
    A,
    B,
    C,
    HOPS,
    TIMEOUT_MS = 600, /* on gRPC core the call must have come to C by then */
    PAYLOAD_BYTES = 100000
};

/* How a call is passed on. What it says is what its handler waits in. */
enum way {
    BY_SAY,    /* a blocking unary call; C's handler is deferred */
    BY_ASYNC,  /* an asynchronous one, by a worker that waits for its callback */
    BY_GATHER, /* C receives */
    BY_SPREAD, /* C sends, and B does not receive */
    BY_TALK,   /* C receives, and so do A and B */
    BY_EVENTS, /* an asynchronous unary call by a deferred handler that waits for nothing else */
    WAYS
};

struct world;

struct hop {
    struct world *world;
    weft_server *server;
    weft_channel *channel; /* to it */
    struct hop *next;      /* NULL: C */
    weft__event began;
    weft__event left;
    atomic_int cause;     /* weft_cancel_cause when it left */
    atomic_int next_code; /* how the call that it made ended */
    weft_call *_Atomic deferred;
};

struct world {
    bool core;
    enum way way;
    weft_engine *engine;
    weft_arena *arena;
    struct hop hops[HOPS];
};

/* ---- passing on -------------------------------------------------------------------------------------------------- */

/* Something that a handler waits for and a callback ends. */
struct waiting {
    weft_engine *engine;
    weft__event over;
    weft_code code;
};

static void on_said(const weft_status *status, Chat__Text *response, weft_result *result, void *arg)
{
    struct waiting *waiting = arg;
    (void)response;
    (void)result;
    waiting->code = status->code;
    waiting->engine->vtable->post(waiting->engine, &waiting->over);
}

static void on_ended(void *arg)
{
    struct waiting *waiting = arg;
    waiting->engine->vtable->post(waiting->engine, &waiting->over);
}

static void wait_for(struct waiting *waiting)
{
    (void)weft__engine_wait(waiting->engine, &waiting->over, INT64_MAX);
}

static weft_code by_spread(struct hop *hop, const weft_call_options *options, weft_arena *arena,
                           struct waiting *waiting)
{
    chat_Chat_Spread_client *stream;
    Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *message;
    request.number = -1;
    request.payload.len = PAYLOAD_BYTES;
    request.payload.data = weft_arena_zalloc(arena, PAYLOAD_BYTES);
    if (chat_Chat_Spread(&stream, hop->next->channel, options, &request) < 0)
        return WEFT_INTERNAL;
    if (chat_Chat_Spread_client_recv(stream, &message) == 1 && hop->next->next != NULL)
        return WEFT_INTERNAL; /* B has nothing to say */
    if (weft_stream_when_ended(WEFT_STREAM(stream), on_ended, waiting) == 0)
        wait_for(waiting);
    return chat_Chat_Spread_client_finish(stream, arena).code;
}

static weft_code by_talk(struct hop *hop, const weft_call_options *options, weft_arena *arena)
{
    chat_Chat_Talk_client *stream;
    Chat__Text message = CHAT__TEXT__INIT;
    Chat__Text *answer;
    if (chat_Chat_Talk(&stream, hop->next->channel, options) < 0)
        return WEFT_INTERNAL;
    (void)chat_Chat_Talk_client_send(stream, &message); /* fails if the call has ended already; finish tells how */
    while (chat_Chat_Talk_client_recv(stream, &answer) == 1)
        continue;
    return chat_Chat_Talk_client_finish(stream, arena).code;
}

static weft_code by_gather(struct hop *hop, const weft_call_options *options, weft_arena *arena)
{
    chat_Chat_Gather_client *stream;
    Chat__Text *response = NULL;
    if (chat_Chat_Gather(&stream, hop->next->channel, options) < 0)
        return WEFT_INTERNAL;
    /* Not half-closed, so that C has something to wait for. */
    struct waiting waiting = {.engine = hop->world->engine};
    if (weft__event_init(&waiting.over) < 0)
        return WEFT_INTERNAL;
    if (weft_stream_when_ended(WEFT_STREAM(stream), on_ended, &waiting) == 0)
        wait_for(&waiting);
    weft__event_fini(&waiting.over);
    return chat_Chat_Gather_client_finish(stream, arena, &response).code;
}

static weft_code by_say(struct hop *hop, const weft_call_options *options, weft_arena *arena)
{
    Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    return chat_Chat_Say(hop->next->channel, arena, options, &request, &response).code;
}

static weft_code by_async(struct hop *hop, const weft_call_options *options, struct waiting *waiting)
{
    Chat__Text request = CHAT__TEXT__INIT;
    if (chat_Chat_Say_async(hop->next->channel, options, &request, on_said, waiting) < 0)
        return WEFT_INTERNAL;
    wait_for(waiting);
    return waiting->code;
}

/* Makes the next call and waits for its end. */
static weft_code pass_on(weft_call *call, struct hop *hop)
{
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    weft_arena *arena = weft_call_arena(call);
    struct waiting waiting = {.engine = hop->world->engine};
    weft_code code = WEFT_INTERNAL;
    if (weft__event_init(&waiting.over) < 0)
        return code;
    options.parent = call;
    switch (hop->world->way) {
    case BY_SAY:
        code = by_say(hop, &options, arena);
        break;
    case BY_ASYNC:
        code = by_async(hop, &options, &waiting);
        break;
    case BY_GATHER:
        code = by_gather(hop, &options, arena);
        break;
    case BY_SPREAD:
        code = by_spread(hop, &options, arena, &waiting);
        break;
    case BY_TALK:
        code = by_talk(hop, &options, arena);
        break;
    case BY_EVENTS:
    case WAYS:
        break;
    }
    weft__event_fini(&waiting.over);
    return code;
}

/* ---- handlers ---------------------------------------------------------------------------------------------------- */

static weft_code leave(struct hop *hop, weft_call *call, weft_code code)
{
    atomic_store(&hop->cause, (int)weft_call_cancel_cause(call));
    weft__event_post(&hop->left);
    return weft_fail(call, code, "left");
}

/* Passes on, or, at C, waits: 1: it is to wait, in its own way. */
static bool enter(struct hop *hop, weft_call *call, weft_code *code)
{
    weft__event_post(&hop->began);
    if (hop->next == NULL)
        return true;
    *code = pass_on(call, hop);
    atomic_store(&hop->next_code, (int)*code);
    *code = leave(hop, call, *code);
    return false;
}

static weft_code say(weft_call *call, const Chat__Text *request, Chat__Text *response, void *self)
{
    struct hop *hop = self;
    weft_code code = WEFT_OK;
    (void)request;
    (void)response;
    if (enter(hop, call, &code)) {
        (void)weft_call_defer(call);
        atomic_store(&hop->deferred, call);
    }
    return code;
}

static weft_code gather(weft_call *call, chat_Chat_Gather_server *stream, Chat__Text *response, void *self)
{
    struct hop *hop = self;
    Chat__Text *message;
    weft_code code;
    (void)response;
    if (!enter(hop, call, &code))
        return code;
    int rc = chat_Chat_Gather_server_recv(stream, &message);
    return leave(hop, call, rc == -ETIMEDOUT ? WEFT_DEADLINE_EXCEEDED : WEFT_CANCELLED);
}

static weft_code spread(weft_call *call, const Chat__Text *request, chat_Chat_Spread_server *stream, void *self)
{
    struct hop *hop = self;
    weft_code code;
    if (!enter(hop, call, &code))
        return code;
    int rc = 0;
    while (rc == 0)
        rc = chat_Chat_Spread_server_send(stream, request);
    return leave(hop, call, rc == -ETIMEDOUT ? WEFT_DEADLINE_EXCEEDED : WEFT_CANCELLED);
}

static weft_code talk(weft_call *call, chat_Chat_Talk_server *stream, void *self)
{
    struct hop *hop = self;
    Chat__Text *message;
    weft_code code;
    if (!enter(hop, call, &code))
        return code;
    int rc = 1;
    while (rc > 0)
        rc = chat_Chat_Talk_server_recv(stream, &message);
    return leave(hop, call, rc == -ETIMEDOUT ? WEFT_DEADLINE_EXCEEDED : WEFT_CANCELLED);
}

static const chat_Chat_ops ops = {.Say = say, .Gather = gather, .Spread = spread, .Talk = talk};

/* The same without a thread that waits, by an asynchronous call: no receive is under way meanwhile. */
struct passing {
    struct hop *hop;
    weft_call *call;
};

static void on_passed(const weft_status *status, Chat__Text *response, weft_result *result, void *arg)
{
    struct passing *passing = arg;
    (void)response;
    (void)result;
    atomic_store(&passing->hop->next_code, (int)status->code);
    weft_call_finish(passing->call, leave(passing->hop, passing->call, status->code), NULL);
}

static void pass_on_later(weft_call *call, struct hop *hop)
{
    struct passing *passing = weft_arena_zalloc(weft_call_arena(call), sizeof *passing);
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    Chat__Text request = CHAT__TEXT__INIT;
    *passing = (struct passing){hop, call};
    options.parent = call;
    if (chat_Chat_Say_async(hop->next->channel, &options, &request, on_passed, passing) < 0)
        weft_call_finish(call, leave(hop, call, WEFT_INTERNAL), NULL);
}

static weft_code say_later(weft_call *call, const Chat__Text *request, Chat__Text *response, void *self)
{
    struct hop *hop = self;
    (void)request;
    (void)response;
    weft__event_post(&hop->began);
    (void)weft_call_defer(call);
    if (hop->next != NULL)
        pass_on_later(call, hop);
    else
        atomic_store(&hop->deferred, call);
    return WEFT_OK;
}

static weft_code talk_later(weft_call *call, chat_Chat_Talk_server *stream, void *self)
{
    (void)stream;
    (void)weft_call_defer(call);
    pass_on_later(call, self);
    return WEFT_OK;
}

static const chat_Chat_ops later_ops = {.Say = say_later, .Talk = talk_later};

/* ---- the world --------------------------------------------------------------------------------------------------- */

static void open_hop(struct world *w, int i)
{
    struct hop *hop = &w->hops[i];
    weft_server_options options = WEFT_SERVER_OPTIONS_INIT;
    weft_method_options methods[2] = {WEFT_METHOD_OPTIONS_INIT, WEFT_METHOD_OPTIONS_INIT};
    weft_service_options service = WEFT_SERVICE_OPTIONS_INIT;
    bool later = w->way == BY_EVENTS;
    methods[0].method = "Say";
    methods[1].method = "Talk";
    methods[0].run_inline = methods[1].run_inline = later;
    service.methods = methods;
    service.method_count = 2;
    options.workers = 2;
    options.quiet_ms = 20;
    hop->world = w;
    hop->next = i < C ? hop + 1 : NULL;
    assert_int_equal(weft__event_init(&hop->began), 0);
    assert_int_equal(weft__event_init(&hop->left), 0);
    assert_int_equal(weft_server_new(&hop->server, w->engine, &options), 0);
    assert_int_equal(chat_Chat_register(hop->server, later ? &later_ops : &ops, hop, &service), 0);
    assert_int_equal(weft_server_listen(hop->server, "127.0.0.1:0"), 0);
    assert_int_equal(weft_server_start(hop->server), 0);
    assert_int_equal(weft_channel_new(&hop->channel, w->engine, weft_server_address(hop->server, 0), NULL), 0);
    assert_int_equal(weft_channel_connect(hop->channel, -1), 0);
}

static void open_world(struct world *w, bool core, enum way way)
{
    memset(w, 0, sizeof *w);
    w->core = core;
    w->way = way;
    if (core) {
        weft_core_engine_options options = WEFT_CORE_ENGINE_OPTIONS_INIT;
        options.threads = 2;
        assert_int_equal(weft_core_engine_new(&w->engine, &options), 0);
    } else {
        weft_memory_engine_options options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
        options.threaded = true;
        assert_int_equal(weft_memory_engine_new(&w->engine, &options), 0);
    }
    assert_int_equal(weft_arena_new(&w->arena, 0), 0);
    for (int i = A; i <= C; i++)
        open_hop(w, i);
}

static void close_world(struct world *w)
{
    for (int i = A; i <= C; i++)
        weft_channel_free(w->hops[i].channel);
    for (int i = A; i <= C; i++) {
        weft_server_free(w->hops[i].server);
        weft__event_fini(&w->hops[i].began);
        weft__event_fini(&w->hops[i].left);
    }
    assert_int_equal(weft_engine_free(w->engine), 0);
    weft_arena_free(w->arena);
}

/* Shuts the sockets that are connected to a hop. */
static void cut_sockets(const struct hop *hop)
{
    int port = weft_server_port(hop->server, 0);
    int cut = 0;
    for (int fd = 3; fd < 1024; fd++) {
        struct sockaddr_in6 peer; /* gRPC core's sockets are of both families, and the port is where it is in IPv4 */
        socklen_t len = sizeof peer;
        memset(&peer, 0, sizeof peer);
        if (getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && ntohs(peer.sin6_port) == port)
            cut += shutdown(fd, SHUT_RDWR) == 0;
    }
    assert_true(cut > 0);
}

/* The connection to a hop is lost. */
static void cut(struct world *w, int hop)
{
    if (w->core) {
        cut_sockets(&w->hops[hop]);
        return;
    }
    /* A call that begins on it breaks it, and all that is on it. */
    weft_test_fault fault = WEFT_TEST_FAULT_INIT;
    Chat__Text request = CHAT__TEXT__INIT;
    Chat__Text *response = NULL;
    fault.point = WEFT_TEST_START;
    fault.kind = WEFT_TEST_BREAK;
    assert_int_equal(weft_test_inject(w->engine, &fault), 0);
    assert_int_equal(chat_Chat_Say(w->hops[hop].channel, w->arena, NULL, &request, &response).code, WEFT_UNAVAILABLE);
}

static void await(weft__event *event)
{
    assert_int_equal(weft__event_wait(event, INT64_MAX), 0);
}

/* Waits until every handler has left; the one at C that is deferred is seen off here. */
static void await_all_left(struct world *w)
{
    struct hop *last = &w->hops[C];
    if (w->way == BY_SAY || w->way == BY_ASYNC || w->way == BY_EVENTS) {
        weft_call *call;
        while ((call = atomic_load(&last->deferred)) == NULL || !weft_call_cancelled(call))
            sched_yield();
        bool expired = weft_call_cancel_cause(call) == WEFT_CANCELLED_BY_DEADLINE;
        weft_call_finish(call, leave(last, call, expired ? WEFT_DEADLINE_EXCEEDED : WEFT_CANCELLED), NULL);
    }
    for (int i = A; i <= C; i++)
        await(&w->hops[i].left);
}

static void assert_cause(struct world *w, int hop, weft_cancel_cause cause)
{
    int found = atomic_load(&w->hops[hop].cause);
    /* On gRPC core a deadline starts anew when a call arrives; on a busy machine that is later than the caller's, which
     * then looks like one who has given up. */
    if (w->core && cause == WEFT_CANCELLED_BY_DEADLINE && found == WEFT_CANCELLED_BY_PEER)
        return;
    assert_int_equal(found, cause);
}

static void assert_causes(struct world *w, weft_cancel_cause a, weft_cancel_cause b, weft_cancel_cause c)
{
    assert_cause(w, A, a);
    assert_cause(w, B, b);
    assert_cause(w, C, c);
}

static void assert_passed_on_ended_by_parent(struct world *w)
{
    for (int i = A; i < C; i++) {
        int code = atomic_load(&w->hops[i].next_code);
        assert_true(code == WEFT_CANCELLED || code == WEFT_DEADLINE_EXCEEDED);
    }
}

/* A stream to A that has arrived at C. */
static chat_Chat_Talk_client *begin(struct world *w, int64_t timeout_ms)
{
    chat_Chat_Talk_client *stream = NULL;
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    options.timeout_ms = timeout_ms;
    assert_int_equal(chat_Chat_Talk(&stream, w->hops[A].channel, &options), 0);
    await(&w->hops[C].began);
    return stream;
}

static weft_code finish(struct world *w, chat_Chat_Talk_client *stream)
{
    return chat_Chat_Talk_client_finish(stream, w->arena).code;
}

/* ---- the cases --------------------------------------------------------------------------------------------------- */

static void callers_cancel(struct world *w)
{
    chat_Chat_Talk_client *stream = begin(w, 0);
    weft_stream_cancel(WEFT_STREAM(stream));
    await_all_left(w);
    assert_causes(w, WEFT_CANCELLED_BY_PEER, WEFT_CANCELLED_BY_PEER, WEFT_CANCELLED_BY_PEER);
    assert_passed_on_ended_by_parent(w);
    assert_int_equal(finish(w, stream), WEFT_CANCELLED);
}

static void deadline_passes(struct world *w)
{
    chat_Chat_Talk_client *stream = begin(w, TIMEOUT_MS);
    if (!w->core)
        weft_test_advance(w->engine, (TIMEOUT_MS + 1) * INT64_C(1000000));
    await_all_left(w);
    assert_causes(w, WEFT_CANCELLED_BY_DEADLINE, WEFT_CANCELLED_BY_DEADLINE, WEFT_CANCELLED_BY_DEADLINE);
    assert_passed_on_ended_by_parent(w);
    assert_int_equal(finish(w, stream), WEFT_DEADLINE_EXCEEDED);
}

static void first_connection_is_lost(struct world *w)
{
    chat_Chat_Talk_client *stream = begin(w, 0);
    cut(w, A);
    await_all_left(w);
    assert_causes(w, WEFT_CANCELLED_BY_PEER, WEFT_CANCELLED_BY_PEER, WEFT_CANCELLED_BY_PEER);
    assert_passed_on_ended_by_parent(w);
    assert_int_equal(finish(w, stream), WEFT_UNAVAILABLE);
}

/* What lies behind the break is cancelled, what lies before it is told. */
static void middle_connection_is_lost(struct world *w)
{
    chat_Chat_Talk_client *stream = begin(w, 0);
    cut(w, B);
    await_all_left(w);
    assert_causes(w, WEFT_NOT_CANCELLED, WEFT_CANCELLED_BY_PEER, WEFT_CANCELLED_BY_PEER);
    assert_int_equal(w->hops[A].next_code, WEFT_UNAVAILABLE);
    assert_int_equal(w->hops[B].next_code, WEFT_CANCELLED);
    assert_int_equal(finish(w, stream), WEFT_UNAVAILABLE);
}

static void *stop_server(void *arg)
{
    (void)weft_server_stop(arg, 0);
    return NULL;
}

static void first_server_stops(struct world *w)
{
    pthread_t stopper;
    chat_Chat_Talk_client *stream = begin(w, 0);
    assert_int_equal(pthread_create(&stopper, NULL, stop_server, w->hops[A].server), 0);
    await_all_left(w);
    assert_int_equal(pthread_join(stopper, NULL), 0);
    assert_causes(w, WEFT_CANCELLED_BY_STOP, WEFT_CANCELLED_BY_PEER, WEFT_CANCELLED_BY_PEER);
    assert_passed_on_ended_by_parent(w);
    assert_int_not_equal(finish(w, stream), WEFT_OK);
}

static void last_server_stops(struct world *w)
{
    pthread_t stopper;
    if (w->way == BY_SPREAD) /* B, which does not receive, is not told of the end behind the messages */
        return;
    chat_Chat_Talk_client *stream = begin(w, 0);
    assert_int_equal(pthread_create(&stopper, NULL, stop_server, w->hops[C].server), 0);
    await_all_left(w);
    assert_int_equal(pthread_join(stopper, NULL), 0);
    assert_causes(w, WEFT_NOT_CANCELLED, WEFT_NOT_CANCELLED, WEFT_CANCELLED_BY_STOP);
    assert_int_not_equal(finish(w, stream), WEFT_OK);
}

/* A unary call all the way: nobody can cancel it but its deadline and its channel. */
static void unary_deadline_passes(struct world *w)
{
    struct waiting waiting = {.engine = w->engine};
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    Chat__Text request = CHAT__TEXT__INIT;
    options.timeout_ms = TIMEOUT_MS;
    assert_int_equal(weft__event_init(&waiting.over), 0);
    assert_int_equal(chat_Chat_Say_async(w->hops[A].channel, &options, &request, on_said, &waiting), 0);
    await(&w->hops[C].began);
    if (!w->core)
        weft_test_advance(w->engine, (TIMEOUT_MS + 1) * INT64_C(1000000));
    await_all_left(w);
    assert_causes(w, WEFT_CANCELLED_BY_DEADLINE, WEFT_CANCELLED_BY_DEADLINE, WEFT_CANCELLED_BY_DEADLINE);
    wait_for(&waiting);
    assert_int_equal(waiting.code, WEFT_DEADLINE_EXCEEDED);
    weft__event_fini(&waiting.over);
}

static void channel_is_freed(struct world *w)
{
    struct waiting waiting = {.engine = w->engine};
    Chat__Text request = CHAT__TEXT__INIT;
    assert_int_equal(weft__event_init(&waiting.over), 0);
    assert_int_equal(chat_Chat_Say_async(w->hops[A].channel, NULL, &request, on_said, &waiting), 0);
    await(&w->hops[C].began);
    weft_channel_free(w->hops[A].channel);
    w->hops[A].channel = NULL;
    await_all_left(w);
    assert_causes(w, WEFT_CANCELLED_BY_PEER, WEFT_CANCELLED_BY_PEER, WEFT_CANCELLED_BY_PEER);
    assert_int_equal(waiting.code, WEFT_CANCELLED); /* told before the channel was gone */
    weft__event_fini(&waiting.over);
}

/* ---- ways and engines -------------------------------------------------------------------------------------------- */

static bool on_core;

static void in_every_way(void (*run)(struct world *w))
{
    static const char *const names[] = {"say", "async", "gather", "spread", "talk", "events"};
    for (enum way way = BY_SAY; way < WAYS; way++) {
        struct world w;
        print_message("by %s\n", names[way]);
        open_world(&w, on_core, way);
        run(&w);
        close_world(&w);
    }
}

#define IN_EVERY_WAY(name, run)                                                                                        \
    static void name(void **state)                                                                                     \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        in_every_way(run);                                                                                             \
    }

IN_EVERY_WAY(a_callers_cancel_reaches_all_that_follows, callers_cancel)
IN_EVERY_WAY(a_deadline_reaches_all_that_follows, deadline_passes)
IN_EVERY_WAY(a_unary_deadline_reaches_all_that_follows, unary_deadline_passes)
IN_EVERY_WAY(a_lost_connection_reaches_all_that_follows, first_connection_is_lost)
IN_EVERY_WAY(a_connection_lost_in_the_middle_is_seen_on_both_sides, middle_connection_is_lost)
IN_EVERY_WAY(a_stop_of_the_first_server_reaches_all_that_follows, first_server_stops)
IN_EVERY_WAY(a_stop_of_the_last_server_comes_back_as_a_failure, last_server_stops)
IN_EVERY_WAY(freeing_the_channel_reaches_all_that_follows, channel_is_freed)

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_callers_cancel_reaches_all_that_follows),
        cmocka_unit_test(a_deadline_reaches_all_that_follows),
        cmocka_unit_test(a_unary_deadline_reaches_all_that_follows),
        cmocka_unit_test(a_lost_connection_reaches_all_that_follows),
        cmocka_unit_test(a_connection_lost_in_the_middle_is_seen_on_both_sides),
        cmocka_unit_test(a_stop_of_the_first_server_reaches_all_that_follows),
        cmocka_unit_test(a_stop_of_the_last_server_comes_back_as_a_failure),
        cmocka_unit_test(freeing_the_channel_reaches_all_that_follows),
    };
    on_core = argc < 2 || strcmp(argv[1], "core") == 0;
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
