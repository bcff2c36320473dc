/* Calls of every kind on the memory engine, with every allocation failing in turn: an error comes back, nothing leaks,
 * and server and channel go on. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/event.h"
#include "chat.weft.h"
#include "support/alloc_fault.h"

#include <weft/testing.h>
#include <weft/weft.h>

enum {
    MESSAGES = 3,
    PAYLOAD_BYTES = 10000 /* more than the first block of any arena, so that all of them go to the heap */
};

static uint8_t payload[PAYLOAD_BYTES];

static void fill(Chat__Text *message, int64_t number)
{
    *message = (Chat__Text)CHAT__TEXT__INIT;
    message->number = number;
    message->payload.len = sizeof payload;
    message->payload.data = payload;
}

/* ---- handlers that pull ------------------------------------------------------------------------------------------ */

/* What every handler does besides: some memory, a header, a trailer. 0; -ENOMEM. */
static int prepare(weft_call *call)
{
    if (weft_arena_alloc(weft_call_arena(call), PAYLOAD_BYTES) == NULL || *weft_call_peer(call) == '\0')
        return -ENOMEM;
    int rc = weft_call_add_header(call, "x-header", weft_sv_from("h"));
    return rc == 0 ? weft_call_add_trailer(call, "x-trailer", weft_sv_from("t")) : rc;
}

static weft_code outcome(weft_call *call, int rc)
{
    return rc < 0 ? weft_fail_errno(call, rc) : WEFT_OK;
}

static weft_code say(weft_call *call, const Chat__Text *request, Chat__Text *response, void *self)
{
    (void)self;
    response->number = request->number;
    response->payload = request->payload;
    return outcome(call, prepare(call));
}

static weft_code gather(weft_call *call, chat_Chat_Gather_server *stream, Chat__Text *response, void *self)
{
    Chat__Text *message;
    (void)self;
    int rc = prepare(call);
    while (rc == 0 && (rc = chat_Chat_Gather_server_recv(stream, &message)) > 0) {
        response->number += message->number;
        rc = 0;
    }
    return outcome(call, rc);
}

static weft_code spread(weft_call *call, const Chat__Text *request, chat_Chat_Spread_server *stream, void *self)
{
    Chat__Text message;
    (void)self;
    int rc = prepare(call);
    for (int64_t i = 0; rc == 0 && i < request->number; i++) {
        fill(&message, i);
        rc = chat_Chat_Spread_server_send(stream, &message);
    }
    return outcome(call, rc);
}

static weft_code talk(weft_call *call, chat_Chat_Talk_server *stream, void *self)
{
    Chat__Text *message;
    (void)self;
    int rc = prepare(call);
    while (rc == 0 && (rc = chat_Chat_Talk_server_recv(stream, &message)) > 0)
        rc = chat_Chat_Talk_server_send(stream, message);
    return outcome(call, rc);
}

static const chat_Chat_ops pull_ops = {.Say = say, .Gather = gather, .Spread = spread, .Talk = talk};

/* ---- handlers that are told -------------------------------------------------------------------------------------- */

typedef struct session {
    weft_call *call;
    Chat__Text *response; /* of Gather */
    Chat__Text *unsent;   /* of Talk */
    Chat__Text message;   /* of Spread */
    int64_t wanted;       /* of Spread */
    int64_t count;
    int (*step)(struct session *session); /* 1: go on; 0: the end; or -errno */
} session;

static void go_on(void *arg)
{
    session *s = arg;
    weft_stream *stream = weft_call_stream(s->call);
    int rc;
    do {
        rc = s->step(s);
        if (rc == -EAGAIN)
            rc = s->unsent != NULL || s->wanted > 0 ? weft_stream_when_writable(stream, go_on, s)
                                                    : weft_stream_when_readable(stream, go_on, s);
        else if (rc == 0)
            break;
        if (rc == 0)
            return;
    } while (rc > 0);
    weft_call_finish(s->call, outcome(s->call, rc), rc == 0 ? (const ProtobufCMessage *)s->response : NULL);
}

static weft_code begin(weft_call *call, int (*step)(session *), Chat__Text *response, int64_t wanted)
{
    session *s = weft_arena_zalloc(weft_call_arena(call), sizeof *s);
    int rc = s != NULL ? prepare(call) : -ENOMEM;
    if (rc < 0)
        return weft_fail_errno(call, rc);
    s->call = call;
    s->step = step;
    s->response = response;
    s->wanted = wanted;
    weft_call_defer(call);
    go_on(s);
    return WEFT_OK;
}

static int gather_step(session *s)
{
    ProtobufCMessage *message;
    int rc = weft_stream_recv(weft_call_stream(s->call), &message);
    if (rc > 0)
        s->response->number += ((Chat__Text *)message)->number;
    return rc;
}

static weft_code gather_told(weft_call *call, chat_Chat_Gather_server *stream, Chat__Text *response, void *self)
{
    (void)stream;
    (void)self;
    return begin(call, gather_step, response, 0);
}

static int spread_step(session *s)
{
    if (s->count == s->wanted)
        return 0;
    fill(&s->message, s->count);
    int rc = weft_stream_send(weft_call_stream(s->call), (const ProtobufCMessage *)&s->message);
    if (rc == 0)
        s->count++;
    return rc == 0 ? 1 : rc;
}

static weft_code spread_told(weft_call *call, const Chat__Text *request, chat_Chat_Spread_server *stream, void *self)
{
    (void)stream;
    (void)self;
    return begin(call, spread_step, NULL, request->number);
}

static int talk_step(session *s)
{
    weft_stream *stream = weft_call_stream(s->call);
    int rc = s->unsent == NULL ? weft_stream_recv(stream, (ProtobufCMessage **)(void *)&s->unsent) : 1;
    if (rc <= 0)
        return rc;
    rc = weft_stream_send(stream, (const ProtobufCMessage *)s->unsent);
    if (rc == 0)
        s->unsent = NULL;
    return rc == 0 ? 1 : rc;
}

static weft_code talk_told(weft_call *call, chat_Chat_Talk_server *stream, void *self)
{
    (void)stream;
    (void)self;
    return begin(call, talk_step, NULL, 0);
}

static const chat_Chat_ops told_ops = {.Say = say, .Gather = gather_told, .Spread = spread_told, .Talk = talk_told};

/* ---- callers ----------------------------------------------------------------------------------------------------- */

enum mode {
    STEPPED,  /* all on one thread, handlers that are told */
    THREADED, /* handlers that pull on workers */
    LOOP      /* all handlers and callbacks in a loop */
};

struct world {
    enum mode mode;
    weft_engine *engine;
    weft_loop *loop;
    weft_server *server;
    weft_channel *channel;
    weft_arena *arena;
    char block[WEFT_ARENA_MIN_BLOCK];
    /* Of a call that is told. */
    weft_stream *stream;
    weft_code code;
    int64_t sum;
    atomic_int rc;
    bool asked_end;
    weft__event over;
    bool is_over;
};

static const weft_metadatum metadata = {{"x-key", 5}, {"value", 5}};

static weft_call_options call_options(weft_call_info *info)
{
    weft_call_options options = WEFT_CALL_OPTIONS_INIT;
    options.metadata = &metadata;
    options.metadata_count = 1;
    options.info = info;
    options.timeout_ms = 1000;
    return options;
}

/* 0 when the call succeeded, -ENOMEM when it failed for that. */
static int result_of(weft_status status)
{
    bool expected = status.code == WEFT_OK || status.code == WEFT_RESOURCE_EXHAUSTED ||
                    status.code == WEFT_UNAVAILABLE || /* no connection */
                    status.code == WEFT_CANCELLED;     /* no memory even for a status */
    if (!expected)
        fail_msg("%s: %s", weft_code_name(status.code), status.message);
    return status.code == WEFT_OK ? 0 : -ENOMEM;
}

static int call_say(struct world *w)
{
    weft_call_info info = WEFT_CALL_INFO_INIT;
    weft_call_options options = call_options(&info);
    Chat__Text request, *response = NULL;
    fill(&request, 42);
    int rc = result_of(chat_Chat_Say(w->channel, w->arena, &options, &request, &response));
    if (rc == 0)
        assert_int_equal(response->number, 42);
    return rc;
}

static int call_gather(struct world *w)
{
    weft_call_info info = WEFT_CALL_INFO_INIT;
    weft_call_options options = call_options(&info);
    chat_Chat_Gather_client *stream;
    Chat__Text message, *response = NULL;
    int rc = chat_Chat_Gather(&stream, w->channel, &options);
    if (rc < 0)
        return rc;
    for (int i = 1; rc == 0 && i <= MESSAGES; i++) {
        fill(&message, i);
        rc = chat_Chat_Gather_client_send(stream, &message);
    }
    if (rc == -ENOMEM) /* the call is as good as before, but the message is missing */
        weft_stream_cancel(WEFT_STREAM(stream));
    weft_status status = chat_Chat_Gather_client_finish(stream, w->arena, &response);
    if (rc == -ENOMEM) { /* unless it has failed itself, for the same reason */
        assert_true(status.code == WEFT_CANCELLED || status.code == WEFT_RESOURCE_EXHAUSTED);
        return rc;
    }
    rc = result_of(status);
    if (rc == 0) {
        assert_int_equal(response->number, 6);
        assert_true(weft_sv_is(weft_metadata_find(&info.headers, "x-header"), "h"));
        assert_true(weft_sv_is(weft_metadata_find(&info.trailers, "x-trailer"), "t"));
    }
    return rc;
}

static int call_spread(struct world *w)
{
    weft_call_info info = WEFT_CALL_INFO_INIT;
    weft_call_options options = call_options(&info);
    chat_Chat_Spread_client *stream;
    Chat__Text request, *message;
    int64_t count = 0;
    fill(&request, MESSAGES);
    int rc = chat_Chat_Spread(&stream, w->channel, &options, &request);
    if (rc < 0)
        return rc;
    while ((rc = chat_Chat_Spread_client_recv(stream, &message)) > 0)
        assert_int_equal(message->number, count++);
    int status = result_of(chat_Chat_Spread_client_finish(stream, w->arena));
    if (status == 0) {
        assert_int_equal(count, MESSAGES);
        assert_true(weft_sv_is(weft_metadata_find(&info.headers, "x-header"), "h"));
    }
    if (rc < 0)
        assert_int_equal(status, rc);
    return status;
}

static int call_talk(struct world *w)
{
    weft_call_info info = WEFT_CALL_INFO_INIT;
    weft_call_options options = call_options(&info);
    chat_Chat_Talk_client *stream;
    Chat__Text message, *answer = &message;
    int rc = chat_Chat_Talk(&stream, w->channel, &options);
    if (rc < 0)
        return rc;
    for (int i = 0; i < MESSAGES; i++) {
        fill(&message, i);
        rc = chat_Chat_Talk_client_send(stream, &message);
        if (rc == 0)
            rc = chat_Chat_Talk_client_recv(stream, &answer);
        if (rc != 1)
            break;
        assert_int_equal(answer->number, i);
    }
    bool unsent = rc == -ENOMEM;
    if (unsent)
        weft_stream_cancel(WEFT_STREAM(stream));
    weft_status status = chat_Chat_Talk_client_finish(stream, w->arena);
    if (unsent) {
        assert_true(status.code == WEFT_CANCELLED || status.code == WEFT_RESOURCE_EXHAUSTED);
        return -ENOMEM;
    }
    return result_of(status);
}

static void told_over(struct world *w)
{
    w->is_over = true;
    weft__event_post(&w->over);
}

static void on_said(const weft_status *status, Chat__Text *response, weft_result *result, void *arg)
{
    struct world *w = arg;
    (void)result;
    w->code = status->code;
    w->sum = response != NULL ? response->number : 0;
    told_over(w);
}

/* Lets the engine and the loop work until the call is over. */
static void turn_until_over(struct world *w)
{
    while (w->mode == LOOP && !w->is_over) {
        struct pollfd fd = {.fd = weft_loop_fd(w->loop), .events = POLLIN};
        assert_int_equal(poll(&fd, 1, 20000), 1);
        (void)weft_loop_dispatch(w->loop, SIZE_MAX);
    }
    if (w->mode == STEPPED)
        (void)weft_test_step(w->engine, SIZE_MAX);
    assert_int_equal(weft__event_wait(&w->over, w->mode == THREADED ? INT64_MAX : 0), 0);
    weft__event_reset(&w->over);
    assert_true(w->is_over);
    w->is_over = false;
}

static int call_say_async(struct world *w)
{
    weft_call_options options = call_options(NULL);
    Chat__Text request;
    fill(&request, 42);
    int rc = chat_Chat_Say_async(w->channel, &options, &request, on_said, w);
    if (rc < 0)
        return rc;
    turn_until_over(w);
    assert_int_equal(w->code == WEFT_OK ? w->sum : 42, 42);
    return result_of((weft_status){.code = w->code, .message = "of an asynchronous call"});
}

static void finish_talk(struct world *w)
{
    w->code = weft_stream_finish(w->stream, w->arena, NULL).code;
    told_over(w);
}

/* A talk of which the client is told. Whatever cannot be asked for cancels it. */
static void talk_on(void *arg)
{
    struct world *w = arg;
    ProtobufCMessage *answer;
    Chat__Text message;
    int rc = 1;
    while (!w->asked_end && rc == 1) {
        rc = weft_stream_recv(w->stream, &answer);
        if (rc == 1 && ++w->sum < MESSAGES) {
            fill(&message, w->sum);
            rc = weft_stream_send(w->stream, (const ProtobufCMessage *)&message);
            rc = rc == 0 ? 1 : rc;
        } else if (rc == 1) {
            (void)weft_stream_close_send(w->stream);
        } else if (rc == -EAGAIN) {
            rc = weft_stream_when_readable(w->stream, talk_on, w);
            if (rc == 0)
                return;
        }
    }
    if (rc == -ENOMEM && w->rc == 0) {
        w->rc = rc;
        weft_stream_cancel(w->stream);
    }
    if (!w->asked_end) {
        w->asked_end = true;
        rc = weft_stream_when_ended(w->stream, talk_on, w);
        if (rc == 0)
            return;
        if (rc == -ENOMEM) /* the status does not show that */
            w->rc = rc;
    }
    finish_talk(w);
}

static int call_talk_told(struct world *w)
{
    weft_call_options options = call_options(NULL);
    chat_Chat_Talk_client *stream;
    Chat__Text message;
    int rc = chat_Chat_Talk(&stream, w->channel, &options);
    if (rc < 0)
        return rc;
    w->stream = WEFT_STREAM(stream);
    w->sum = 0;
    w->rc = 0;
    w->asked_end = false;
    fill(&message, 0);
    rc =
        weft_stream_send(w->stream, (const ProtobufCMessage *)&message); /* before talk_on may come, which sends, too */
    if (rc == -ENOMEM) {                                                 /* talk_on sees the end of it */
        w->rc = rc;
        weft_stream_cancel(w->stream);
    }
    rc = weft_stream_when_readable(w->stream, talk_on, w);
    if (rc == -ENOMEM) {
        weft_stream_cancel(w->stream);
        (void)weft_stream_finish(w->stream, w->arena, NULL);
        return rc;
    }
    if (rc == 1)
        talk_on(w);
    turn_until_over(w);
    if (w->rc < 0)
        return w->rc;
    if (w->code == WEFT_OK)
        assert_int_equal(w->sum, MESSAGES);
    return result_of((weft_status){.code = w->code, .message = "of a talk"});
}

/* ---- the sweeps -------------------------------------------------------------------------------------------------- */

typedef int (*caller)(struct world *w);
static const caller blocking_callers[] = {call_say,       call_gather,    call_spread, call_talk,
                                          call_say_async, call_talk_told, NULL};
static const caller loop_callers[] = {call_say_async, call_talk_told, NULL};

static int start_server(struct world *w)
{
    weft_server_options server = WEFT_SERVER_OPTIONS_INIT;
    weft_channel_options channel = WEFT_CHANNEL_OPTIONS_INIT;
    const chat_Chat_ops *ops = w->mode == THREADED ? &pull_ops : &told_ops;
    server.workers = 2;
    server.loop = w->loop;
    channel.loop = w->loop;
    int rc = weft_server_new(&w->server, w->engine, &server);
    if (rc == 0)
        rc = chat_Chat_register(w->server, ops, NULL, NULL);
    if (rc == 0)
        rc = weft_server_listen(w->server, "chat:50051");
    if (rc == 0)
        rc = weft_server_start(w->server);
    if (rc == 0)
        rc = weft_channel_new(&w->channel, w->engine, "chat:50051", &channel);
    return rc;
}

static int open_world(struct world *w, enum mode mode)
{
    weft_memory_engine_options options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
    memset(w, 0, sizeof *w);
    w->mode = mode;
    options.threaded = mode != STEPPED;
    assert_int_equal(weft__event_init(&w->over), 0);
    assert_int_equal(weft_arena_init(&w->arena, w->block, sizeof w->block, 0), 0);
    int rc = weft_memory_engine_new(&w->engine, &options);
    if (rc == 0 && mode == LOOP)
        rc = weft_loop_new(&w->loop);
    return rc == 0 ? start_server(w) : rc;
}

static void close_world(struct world *w)
{
    weft_channel_free(w->channel);
    weft_server_free(w->server);
    assert_int_equal(weft_loop_free(w->loop), 0);
    assert_int_equal(weft_engine_free(w->engine), 0);
    weft_arena_fini(w->arena);
    weft__event_fini(&w->over);
}

static int live_and_call(void *context)
{
    struct world w;
    int rc = open_world(&w, STEPPED);
    if (rc == 0)
        rc = (*(const caller *)context)(&w);
    close_world(&w);
    return rc;
}

static void a_life_with_one_call_survives_the_failure_of_each_allocation(void **state)
{
    (void)state;
    for (const caller *call = blocking_callers; *call != NULL; call++)
        assert_true(weft_test_oom_sweep_mending(live_and_call, (void *)(uintptr_t)call) > 20);
}

/* Lets what follows a call happen, so that nothing but the next call allocates. */
static void settle(struct world *w)
{
    weft_arena_reset(w->arena);
    do
        weft_test_advance(w->engine, 0);
    while (w->mode == LOOP && weft_loop_dispatch(w->loop, SIZE_MAX) > 0);
}

/* One allocation of a call fails after the other; after each the next call succeeds. @return how many there were. */
static long sweep(struct world *w, caller call, bool and_later)
{
    for (long failures = 0;; failures++) {
        assert_int_equal(call(w), 0);
        settle(w);
        long before = weft_test_alloc_live();
        if (and_later)
            weft_test_alloc_fail_from(failures + 1);
        else
            weft_test_alloc_fail_at(failures + 1);
        int rc = call(w);
        bool struck = weft_test_alloc_failed();
        weft_test_alloc_fail_at(0);
        settle(w);
        if (rc != (struck ? -ENOMEM : 0))
            fail_msg("allocation %ld fails: returned %d", failures + 1, rc);
        if (w->mode == STEPPED) /* else the engine may keep more blocks for later than before */
            assert_true(weft_test_alloc_live() <= before);
        if (!struck)
            return failures;
    }
}

static void sweep_all(enum mode mode, const caller *callers)
{
    struct world w;
    long live = weft_test_alloc_live();
    assert_int_equal(open_world(&w, mode), 0);
    for (const caller *call = callers; *call != NULL; call++) {
        assert_in_range(sweep(&w, *call, false), 2, 1000);
        assert_in_range(sweep(&w, *call, true), 2, 1000);
    }
    close_world(&w);
    assert_int_equal(weft_test_alloc_live(), live);
}

static void handlers_that_are_told_survive_the_failure_of_each_allocation(void **state)
{
    (void)state;
    sweep_all(STEPPED, blocking_callers);
}

static void handlers_that_pull_survive_the_failure_of_each_allocation(void **state)
{
    (void)state;
    sweep_all(THREADED, blocking_callers);
}

static void a_loop_survives_the_failure_of_each_allocation(void **state)
{
    (void)state;
    sweep_all(LOOP, loop_callers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_life_with_one_call_survives_the_failure_of_each_allocation),
        cmocka_unit_test(handlers_that_are_told_survive_the_failure_of_each_allocation),
        cmocka_unit_test(handlers_that_pull_survive_the_failure_of_each_allocation),
        cmocka_unit_test(a_loop_survives_the_failure_of_each_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
