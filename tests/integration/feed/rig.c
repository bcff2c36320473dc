#include "integration/feed/rig.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <weft/core.h>
#include <weft/testing.h>

/* ---- handlers ---------------------------------------------------------------------------------------------------- */

/* What a message asks for: the key in its text, "" for everything, the position in its number, and whether there is to
 * be a first message in its payload. */
static weft_follow_options read_options(const Chat__Text *message, const Chat__Text *first)
{
    weft_follow_options options = WEFT_FOLLOW_OPTIONS_INIT;
    if (message->text[0] != '\0')
        options.key = message->text;
    options.after = message->number;
    if (message->payload.len > 0)
        options.first = &first->base;
    return options;
}

static weft_code spread(weft_call *call, const Chat__Text *request, chat_Chat_Spread_server *stream, void *self)
{
    struct rig *rig = self;
    Chat__Text first = CHAT__TEXT__INIT;
    first.text = (char *)(uintptr_t) "first";
    weft_follow_options options = read_options(request, &first);
    if (strcmp(request->text, "gate") == 0) {
        weft__event_post(&rig->reached);
        (void)weft__event_wait(&rig->gate, INT64_MAX);
    }
    if (options.first != NULL) {
        Chat__Text own = first;
        own.text = (char *)(uintptr_t) "handler";
        int rc = chat_Chat_Spread_server_send(stream, &own);
        if (rc < 0)
            return weft_fail_errno(call, rc);
    }
    return weft_feed_follow(rig->feed, call, &options);
}

static int add(struct rig *rig, weft_follower *follower, const Chat__Text *message)
{
    Chat__Text first = CHAT__TEXT__INIT;
    first.text = (char *)(uintptr_t) "first";
    weft_follow_options options = read_options(message, &first);
    int rc = weft_follower_add(follower, &options);
    if (rc < 0)
        atomic_store(&rig->add_error, rc);
    return rc == -EEXIST ? 0 : rc;
}

static weft_code talk(weft_call *call, chat_Chat_Talk_server *stream, void *self)
{
    struct rig *rig = self;
    weft_follower *follower;
    weft_code code = weft_feed_join(rig->feed, call, &follower);
    if (code != WEFT_OK)
        return code;
    Chat__Text *message;
    bool leaves = false;
    int rc;
    while ((rc = chat_Chat_Talk_server_recv(stream, &message)) > 0) {
        leaves = strcmp(message->text, "leave") == 0;
        rc = leaves ? 0 : add(rig, follower, message);
        if (rc < 0 || leaves)
            break;
    }
    if (rc < 0)
        atomic_store(&rig->ended_with, rc);
    code = rc == 0 && !leaves ? weft_follower_stay(follower) : weft_follower_leave(follower, rc);
    atomic_fetch_add(&rig->left, 1);
    return code;
}

/* Where there are no workers: follows "a" and "b", and receives nothing. */
static weft_code talk_of_two(weft_call *call, chat_Chat_Talk_server *stream, void *self)
{
    struct rig *rig = self;
    uint8_t something[] = {1};
    weft_follower *follower;
    (void)stream;
    weft_code code = weft_feed_join(rig->feed, call, &follower);
    if (code != WEFT_OK)
        return code;
    Chat__Text wish = CHAT__TEXT__INIT;
    wish.payload = (ProtobufCBinaryData){1, something};
    int rc = 0;
    for (int i = 0; i < 2 && rc == 0; i++) {
        wish.text = (char *)(uintptr_t)(i == 0 ? "a" : "b");
        rc = add(rig, follower, &wish);
    }
    return rc == 0 ? weft_follower_stay(follower) : weft_follower_leave(follower, rc);
}

static weft_code say(weft_call *call, const Chat__Text *request, Chat__Text *response, void *self)
{
    (void)call;
    (void)self;
    response->number = request->number;
    return WEFT_OK;
}

static weft_code gather(weft_call *call, chat_Chat_Gather_server *stream, Chat__Text *response, void *self)
{
    struct rig *rig = self;
    (void)stream;
    (void)response;
    return weft_feed_follow(rig->feed, call, NULL); /* which it cannot: this method streams no answer */
}

/* ---- the rig ----------------------------------------------------------------------------------------------------- */

static int setup(void **state, bool core, bool threaded, bool run_inline)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    rig->core = core;
    rig->stepped = !core && !threaded;
    rig->run_inline = run_inline;
    assert_int_equal(weft__event_init(&rig->reached), 0);
    assert_int_equal(weft__event_init(&rig->gate), 0);
    if (core) {
        weft_core_engine_options options = WEFT_CORE_ENGINE_OPTIONS_INIT;
        options.threads = 2;
        assert_int_equal(weft_core_engine_new(&rig->engine, &options), 0);
    } else {
        weft_memory_engine_options options = WEFT_MEMORY_ENGINE_OPTIONS_INIT;
        options.threaded = threaded;
        options.max_buffered_bytes = 1; /* a message that is not read holds back the next */
        assert_int_equal(weft_memory_engine_new(&rig->engine, &options), 0);
    }
    *state = rig;
    return 0;
}

int rig_setup_core(void **state)
{
    return setup(state, true, false, false);
}

int rig_setup_stepped(void **state)
{
    return setup(state, false, false, true);
}

int rig_setup_threaded(void **state)
{
    return setup(state, false, true, false);
}

int rig_setup_threaded_inline(void **state)
{
    return setup(state, false, true, true);
}

rig_options rig_default_options(void)
{
    rig_options options = {WEFT_FEED_OPTIONS_INIT, WEFT_SERVER_OPTIONS_INIT};
    options.server.workers = 4;
    options.server.quiet_ms = 20;
    options.server.max_streams = -1;
    return options;
}

int rig_serve(struct rig *rig, const weft_server_options *options, weft_server **out)
{
    static const chat_Chat_ops stepped_ops = {.Gather = gather, .Spread = spread, .Talk = talk_of_two, .Say = say};
    static const chat_Chat_ops ops = {.Say = say, .Gather = gather, .Spread = spread, .Talk = talk};
    static const char *const names[] = {"Say", "Gather", "Spread", "Talk"};
    weft_method_options methods[4];
    weft_service_options service = WEFT_SERVICE_OPTIONS_INIT;
    for (size_t i = 0; i < 4; i++) {
        methods[i] = (weft_method_options)WEFT_METHOD_OPTIONS_INIT;
        methods[i].method = names[i];
        methods[i].run_inline = rig->stepped || (rig->run_inline && i == 2);
        methods[i].defers = i == 2;
    }
    service.methods = methods;
    service.method_count = 4;
    int rc = weft_server_new(out, rig->engine, options);
    if (rc == 0)
        rc = chat_Chat_register(*out, rig->stepped ? &stepped_ops : &ops, rig, &service);
    if (rc == 0)
        rc = weft_server_listen(*out, "127.0.0.1:0");
    return rc == 0 ? weft_server_start(*out) : rc;
}

int rig_make(struct rig *rig, const rig_options *options)
{
    rig_options o = options != NULL ? *options : rig_default_options();
    weft_channel_options channel = WEFT_CHANNEL_OPTIONS_INIT;
    o.feed.engine = rig->engine;
    channel.max_streams = -1; /* thousands on one connection */
    int rc = weft_arena_new(&rig->arena, 0);
    if (rc == 0)
        rc = weft_feed_new(&rig->feed, &o.feed);
    if (rc == 0)
        rc = rig_serve(rig, &o.server, &rig->server);
    if (rc == 0)
        rc = weft_channel_new(&rig->channel, rig->engine, weft_server_address(rig->server, 0), &channel);
    return rc;
}

void rig_start(struct rig *rig, const rig_options *options)
{
    assert_int_equal(rig_make(rig, options), 0);
}

void rig_unmake(struct rig *rig)
{
    weft_channel_free(rig->channel);
    weft_server_free(rig->server);
    weft_feed_free(rig->feed);
    weft_arena_free(rig->arena);
    rig->channel = NULL;
    rig->server = NULL;
    rig->feed = NULL;
    rig->arena = NULL;
}

int rig_teardown(void **state)
{
    struct rig *rig = *state;
    rig_unmake(rig);
    assert_int_equal(weft_engine_free(rig->engine), 0);
    weft__event_fini(&rig->reached);
    weft__event_fini(&rig->gate);
    free(rig);
    return 0;
}

int rig_publish_bytes(struct rig *rig, const char *key, int64_t position, bool last, size_t bytes)
{
    Chat__Text message = CHAT__TEXT__INIT;
    message.text = (char *)(uintptr_t)key;
    message.number = position;
    message.payload.len = bytes;
    message.payload.data = bytes > 0 ? calloc(1, bytes) : NULL;
    int rc = bytes > 0 && message.payload.data == NULL
                 ? -ENOMEM
                 : weft_feed_publish(rig->feed, key, position, &message.base, last);
    free(message.payload.data);
    return rc;
}

void rig_publish(struct rig *rig, const char *key, int64_t position)
{
    assert_int_equal(rig_publish_bytes(rig, key, position, false, 0), 0);
}

void rig_wait_for_calls(struct rig *rig, uint64_t calls)
{
    weft_server_stats stats = WEFT_SERVER_STATS_INIT;
    for (;;) {
        (void)weft_test_step(rig->engine, SIZE_MAX);
        assert_int_equal(weft_server_read_stats(rig->server, &stats), 0);
        if (stats.calls == calls)
            return;
        if (rig->stepped)
            fail_msg("%d calls run, not %d", (int)stats.calls, (int)calls);
        sched_yield();
    }
}
