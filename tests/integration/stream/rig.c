#include "integration/stream/rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <weft/core.h>
#include <weft/testing.h>

#include "base/thread.h"

void rig_check(struct rig *rig, bool holds, const char *text)
{
    const char *none = NULL;
    if (!holds)
        (void)atomic_compare_exchange_strong(&rig->broken, &none, text);
}

/* ---- handlers ---------------------------------------------------------------------------------------------------- */

static void enter(struct rig *rig, weft_call *call)
{
    atomic_fetch_add(&rig->entered, 1);
    if (rig->header != NULL)
        RIG_CHECK(rig, weft_call_add_header(call, "x-header", weft_sv_from(rig->header)) == 0);
    RIG_CHECK(rig, weft_call_add_trailer(call, "x-trailer", weft_sv_from("end")) == 0);
    weft__event_post(&rig->began);
}

/* What a handler ends with whose last receive or send gave `rc`. */
static weft_code leave(struct rig *rig, weft_call *call, int rc)
{
    if (rc < 0) {
        atomic_store(&rig->last_error, rc);
        atomic_store(&rig->last_cause, (int)weft_call_cancel_cause(call));
    }
    weft_code code = rc < 0                     ? weft_fail_errno(call, rc)
                     : rig->end_with == WEFT_OK ? WEFT_OK
                                                : weft_fail(call, rig->end_with, "as told");
    atomic_fetch_add(&rig->left, 1);
    weft__event_post(&rig->over);
    return code;
}

static weft_code say(weft_call *call, const Chat__Text *request, Chat__Text *response, void *self)
{
    (void)call;
    (void)self;
    response->text = request->text;
    response->number = request->number;
    return WEFT_OK;
}

static weft_code gather(weft_call *call, chat_Chat_Gather_server *stream, Chat__Text *response, void *self)
{
    struct rig *rig = self;
    Chat__Text *message;
    int64_t count = 0;
    int rc;
    enter(rig, call);
    while ((rc = chat_Chat_Gather_server_recv(stream, &message)) > 0) {
        response->number += message->number;
        if (++count == rig->end_after)
            break;
    }
    return leave(rig, call, rc);
}

static weft_code spread(weft_call *call, const Chat__Text *request, chat_Chat_Spread_server *stream, void *self)
{
    struct rig *rig = self;
    Chat__Text message = CHAT__TEXT__INIT;
    int rc = 0;
    message.text = request->text;
    message.payload = request->payload;
    enter(rig, call);
    for (int64_t i = 0; rc == 0 && i != request->number; i++) {
        message.number = i;
        rc = chat_Chat_Spread_server_send(stream, &message);
    }
    return leave(rig, call, rc);
}

static weft_code talk(weft_call *call, chat_Chat_Talk_server *stream, void *self)
{
    struct rig *rig = self;
    Chat__Text *message;
    int64_t count = 0;
    int rc;
    enter(rig, call);
    while ((rc = chat_Chat_Talk_server_recv(stream, &message)) > 0) {
        rc = chat_Chat_Talk_server_send(stream, message);
        if (rc < 0 || ++count == rig->end_after)
            break;
    }
    return leave(rig, call, rc);
}

static const chat_Chat_ops pull_ops = {.Say = say, .Gather = gather, .Spread = spread, .Talk = talk};

/* The same, driven by callbacks. A session lives in its call's arena. */
typedef struct session {
    struct rig *rig;
    weft_call *call;
    weft_stream *stream;
    Chat__Text *response; /* of Gather */
    Chat__Text *unsent;   /* of Talk */
    Chat__Text message;   /* of Spread */
    int64_t wanted;       /* of Spread */
    int64_t count;
} session;

static session *begin(struct rig *rig, weft_call *call)
{
    session *s = weft_arena_zalloc(weft_call_arena(call), sizeof *s);
    if (s == NULL) /* never: a call's first block has room for it */
        abort();
    s->rig = rig;
    s->call = call;
    s->stream = weft_call_stream(call);
    enter(rig, call);
    RIG_CHECK(rig, weft_call_defer(call) == 0);
    return s;
}

static void end(session *s, int rc)
{
    weft_code code = leave(s->rig, s->call, rc);
    weft_call_finish(s->call, code, code == WEFT_OK ? (const ProtobufCMessage *)s->response : NULL);
}

static void gather_more(void *arg)
{
    session *s = arg;
    for (;;) {
        Chat__Text *message;
        int rc = chat_Chat_Gather_server_recv((chat_Chat_Gather_server *)s->stream, &message);
        if (rc == -EAGAIN) {
            if (weft_stream_when_readable(s->stream, gather_more, s) == 1)
                continue;
            return;
        }
        if (rc > 0)
            s->response->number += message->number;
        if (rc <= 0 || ++s->count == s->rig->end_after) {
            end(s, rc);
            return;
        }
    }
}

static weft_code gather_events(weft_call *call, chat_Chat_Gather_server *stream, Chat__Text *response, void *self)
{
    (void)stream;
    session *s = begin(self, call);
    s->response = response;
    gather_more(s);
    return WEFT_OK;
}

static void spread_more(void *arg)
{
    session *s = arg;
    while (s->count != s->wanted) {
        s->message.number = s->count;
        int rc = chat_Chat_Spread_server_send((chat_Chat_Spread_server *)s->stream, &s->message);
        if (rc == -EAGAIN) {
            if (weft_stream_when_writable(s->stream, spread_more, s) == 1)
                continue;
            return;
        }
        if (rc < 0) {
            end(s, rc);
            return;
        }
        s->count++;
    }
    end(s, 0);
}

static weft_code spread_events(weft_call *call, const Chat__Text *request, chat_Chat_Spread_server *stream, void *self)
{
    (void)stream;
    session *s = begin(self, call);
    s->message = (Chat__Text)CHAT__TEXT__INIT;
    s->message.text = request->text;
    s->message.payload = request->payload;
    s->wanted = request->number;
    spread_more(s);
    return WEFT_OK;
}

static void talk_more(void *arg)
{
    session *s = arg;
    chat_Chat_Talk_server *stream = (chat_Chat_Talk_server *)s->stream;
    for (;;) {
        bool reading = s->unsent == NULL;
        int rc =
            reading ? chat_Chat_Talk_server_recv(stream, &s->unsent) : chat_Chat_Talk_server_send(stream, s->unsent);
        if (rc == -EAGAIN) {
            rc = reading ? weft_stream_when_readable(s->stream, talk_more, s)
                         : weft_stream_when_writable(s->stream, talk_more, s);
            if (rc == 1)
                continue;
            return;
        }
        if (!reading)
            s->unsent = NULL;
        if (rc < 0 || (reading && rc == 0) || (!reading && ++s->count == s->rig->end_after)) {
            end(s, rc);
            return;
        }
    }
}

static weft_code talk_events(weft_call *call, chat_Chat_Talk_server *stream, void *self)
{
    (void)stream;
    talk_more(begin(self, call));
    return WEFT_OK;
}

static const chat_Chat_ops event_ops = {
    .Say = say, .Gather = gather_events, .Spread = spread_events, .Talk = talk_events};

/* ---- the rig ----------------------------------------------------------------------------------------------------- */

static int setup(void **state, bool core, bool threaded, bool event_driven)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    rig->core = core;
    rig->stepped = !core && !threaded;
    rig->event_driven = event_driven;
    rig->ops = event_driven ? &event_ops : &pull_ops;
    assert_int_equal(weft__event_init(&rig->began), 0);
    assert_int_equal(weft__event_init(&rig->over), 0);
    assert_int_equal(weft_arena_new(&rig->arena, 0), 0);
    if (core) {
        weft_core_engine_options options = WEFT_CORE_ENGINE_OPTIONS_INIT;
        options.threads = 2;
        assert_int_equal(weft_core_engine_new(&rig->engine, &options), 0);
    } else {
        weft_memory_engine_options options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
        options.threaded = threaded;
        assert_int_equal(weft_memory_engine_new(&rig->engine, &options), 0);
    }
    *state = rig;
    return 0;
}

int rig_setup_core(void **state)
{
    return setup(state, true, false, false);
}

int rig_setup_core_events(void **state)
{
    return setup(state, true, false, true);
}

int rig_setup_threaded(void **state)
{
    return setup(state, false, true, false);
}

int rig_setup_threaded_events(void **state)
{
    return setup(state, false, true, true);
}

int rig_setup_stepped(void **state)
{
    return setup(state, false, false, true);
}

int rig_teardown(void **state)
{
    struct rig *rig = *state;
    weft_channel_free(rig->channel);
    weft_server_free(rig->server);
    assert_int_equal(weft_engine_free(rig->engine), 0);
    weft_arena_free(rig->arena);
    weft__event_fini(&rig->began);
    weft__event_fini(&rig->over);
    const char *broken = atomic_load(&rig->broken);
    int entered = atomic_load(&rig->entered);
    int left = atomic_load(&rig->left);
    free(rig);
    if (broken != NULL)
        fail_msg("in a handler: %s", broken);
    assert_int_equal(entered, left);
    return 0;
}

rig_options rig_default_options(void)
{
    rig_options options = {WEFT_SERVER_OPTIONS_INIT, WEFT_CHANNEL_OPTIONS_INIT};
    options.server.workers = 4;
    options.server.quiet_ms = 20;
    return options;
}

void rig_start(struct rig *rig, const rig_options *options)
{
    const rig_options defaults = rig_default_options();
    static const char *const streams[] = {"Gather", "Spread", "Talk"};
    weft_method_options methods[3];
    weft_service_options service = WEFT_SERVICE_OPTIONS_INIT;
    if (options == NULL)
        options = &defaults;
    for (size_t i = 0; i < 3; i++) {
        methods[i] = (weft_method_options)WEFT_METHOD_OPTIONS_INIT;
        methods[i].method = streams[i];
        methods[i].run_inline = rig->event_driven;
    }
    service.methods = methods;
    service.method_count = 3;
    assert_int_equal(weft_server_new(&rig->server, rig->engine, &options->server), 0);
    assert_int_equal(chat_Chat_register(rig->server, rig->ops, rig, &service), 0);
    assert_int_equal(weft_server_listen(rig->server, "127.0.0.1:0"), 0);
    assert_int_equal(weft_server_start(rig->server), 0);
    snprintf(rig->target, sizeof rig->target, "%s", weft_server_address(rig->server, 0));
    assert_int_equal(weft_channel_new(&rig->channel, rig->engine, rig->target, &options->channel), 0);
}

void rig_pass_ms(struct rig *rig, int64_t ms)
{
    weft__event never;
    if (!rig->core) {
        weft_test_advance(rig->engine, ms * 1000000);
        return;
    }
    assert_int_equal(weft__event_init(&never), 0);
    assert_int_equal(weft__event_wait(&never, weft_engine_now_ns(rig->engine) + ms * 1000000), -ETIMEDOUT);
    weft__event_fini(&never);
}

void rig_await(struct rig *rig, weft__event *event)
{
    if (rig->stepped)
        (void)weft_test_step(rig->engine, SIZE_MAX);
    assert_int_equal(weft__event_wait(event, rig->stepped ? 0 : INT64_MAX), 0);
}

void rig_assert_status(weft_status status, weft_code code, const char *message)
{
    if (status.code != code || (message != NULL && strcmp(status.message, message) != 0))
        print_error("status %s: %s\n", weft_code_name(status.code), status.message);
    assert_int_equal(status.code, code);
    if (message != NULL)
        assert_string_equal(status.message, message);
}
